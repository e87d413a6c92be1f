"""Data larger than memory: arrays whose numbers stay in a file (`np.memmap`).

A page of the file that was touched counts as memory of the process until the system runs short.
So who reads such an array in order lets go of what lies behind (`let_go`), and who reads samples
here and there reads them past the mapping (`Rows`): the file stays in the system's cache, and the
process keeps no more of it than a few samples. Letting go after every batch would do as well, and
took 1.45 times as long as data in memory, where `Rows` takes 1.1 to 1.35 times.

Pages of a private mapping may hold changes that are nowhere else, and must not be let go. Which
mappings are shared with their file only the system knows; where it does not tell (outside Linux),
every array counts as one in memory.
"""

from __future__ import annotations

import mmap
import os
import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class MappedFile(NamedTuple):
    """Where the numbers of an array are: in which mapping, in which file, from which byte on."""

    mapping: mmap.mmap
    path: str
    inode: int
    start: int


def file_of(array: NDArray[Any]) -> MappedFile | None:
    """The file that the array's numbers are shared with; None where they are in memory.

    Examples
    --------
    >>> file_of(np.zeros(3)) is None
    True
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if not isinstance(base, mmap.mmap):
        return None
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            regions = [line.rstrip("\n").split(maxsplit=5) for line in maps]
    except OSError:
        return None
    low, high = np.lib.array_utils.byte_bounds(array)
    for span, mode, offset, _, inode, *path in regions:
        first, end = (int(address, 16) for address in span.split("-"))
        if first <= low and high <= end and mode[3] == "s" and path:
            start = int(offset, 16) + array.ctypes.data - first
            return MappedFile(base, path[0], int(inode), start)
    return None


def let_go(file: MappedFile | None) -> None:
    """Keep none of the file's pages; the next read fetches what it needs."""
    if file is not None:
        file.mapping.madvise(mmap.MADV_DONTNEED)


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

    def __init__(self, array: NDArray[Any], at_most: int) -> None:
        self.array, self.file = array, file_of(array)
        self.descriptor: int | None = None
        (stride, step), n_columns = array.strides, array.shape[1]
        span = (n_columns - 1) * abs(step) + array.itemsize  # bytes from a row's first to its last
        if self.file is None or span > abs(stride):  # rows that interleave, as in a transposed file
            return
        try:
            descriptor = os.open(self.file.path, os.O_RDONLY)
        except OSError:  # it was deleted since, and is there for those only who have it open
            return
        closing = weakref.finalize(self, os.close, descriptor)
        if os.fstat(descriptor).st_ino != self.file.inode:  # another file has the name by now
            closing()
            return
        self.descriptor = descriptor
        behind = (n_columns - 1) * max(-step, 0)  # where the first column is, if they go backwards
        self.start, self.stride = self.file.start - behind, stride
        spans = np.empty((at_most, span), np.uint8)
        self.places = [[memoryview(place)] for place in spans]
        shape, strides = (at_most, n_columns), (span, step)
        self.buffer = np.ndarray(shape, array.dtype, spans, behind, strides)

    def take(self, rows: NDArray[np.intp], out: NDArray[Any]) -> None:
        """Copy the rows to `out`, cast to its dtype; an OSError if the file became shorter."""
        if self.file is None:
            # mode="clip" lets take write straight to out; rows are never outside.
            np.take(self.array, rows, axis=0, out=out, mode="clip")
        elif self.descriptor is None:
            out[...] = self.array[rows]
            let_go(self.file)
        else:
            for place, row in zip(self.places, rows.tolist(), strict=False):
                got = os.preadv(self.descriptor, place, self.start + row * self.stride)
                if got < place[0].nbytes:
                    raise OSError(f"{self.file.path} has become shorter")
            out[...] = self.buffer[: len(rows)]
