"""Data larger than memory: arrays whose numbers stay in a file (`np.memmap`).

A page of the file that was touched counts as memory of the process until the system runs short.
So who reads such an array in order lets go of what lies behind (`let_go`), and who reads samples
here and there reads them past the mapping (`Rows`): the file stays in the system's cache, and the
process keeps no more of it than a few samples. Letting go after every batch would do as well, and
took 1.45 times as long as data in memory, where `Rows` takes 1.1 times.
"""

from __future__ import annotations

import mmap
import os
import weakref

import numpy as np
from numpy.typing import NDArray


def file_of(array: NDArray[np.generic]) -> mmap.mmap | None:
    """The mapped file in which the array's numbers are, or None where they are in memory.

    None as well where pages can not be let go: changes to a copy-on-write array (mode "c") live
    in its pages alone, and some systems have no such call.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode == "c":
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) and hasattr(base, "madvise") else None


def let_go(file: mmap.mmap | None) -> None:
    """Keep none of the file's pages; the next read fetches what it needs."""
    if file is not None:
        file.madvise(mmap.MADV_DONTNEED)


class Rows:
    """Rows of a (N, d) array in any order; those of a mapped file are read past the mapping.

    Parameters
    ----------
    array : (N, d) array
    at_most : int
        So many rows are taken at once.

    Examples
    --------
    >>> out = np.empty((2, 1))
    >>> Rows(np.array([[1.0], [2.0], [3.0]]), at_most=2).take(np.array([2, 0]), out)
    >>> out.tolist()
    [[3.0], [1.0]]
    """

    def __init__(self, array: NDArray[np.generic], at_most: int) -> None:
        self.array = array
        self.start: int | None = None  # where in the file the first row is
        mapped = array
        while isinstance(mapped.base, np.ndarray) and not isinstance(mapped, np.memmap):
            mapped = mapped.base
        file = file_of(array)
        if file is None or not isinstance(mapped, np.memmap) or not hasattr(os, "preadv"):
            return
        if mapped.filename is None or array.strides[1] != array.itemsize:
            return
        self.buffer = np.empty((at_most, array.shape[1]), array.dtype)
        self.descriptor = os.open(mapped.filename, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)
        page = mmap.ALLOCATIONGRANULARITY  # a mapping starts at a page
        within = array.ctypes.data - np.frombuffer(file, np.uint8).ctypes.data
        self.start = mapped.offset // page * page + within
        ends = np.array([0, len(array) - 1])
        if self._read(ends[-at_most:]).tobytes() != array[ends[-at_most:]].tobytes():
            self.start = None  # another file has the name by now

    def _read(self, rows: NDArray[np.intp]) -> NDArray[np.generic]:
        assert self.start is not None
        buffer = self.buffer[: len(rows)]
        for place, row in zip(buffer, rows.tolist(), strict=True):
            os.preadv(self.descriptor, [place], self.start + row * self.array.strides[0])
        return buffer

    def take(self, rows: NDArray[np.intp], out: NDArray[np.generic]) -> None:
        """Copy the rows to `out`, cast to its dtype."""
        if self.start is not None:
            out[...] = self._read(rows)
        elif self.array.dtype == out.dtype:
            # mode="clip" lets take write straight to out; rows are never outside.
            np.take(self.array, rows, axis=0, out=out, mode="clip")
        else:
            out[...] = self.array[rows]
