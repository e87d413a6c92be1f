"""Data that many tasks take, in other processes or on other machines: sent once, by a file.

The file is written where the data are pickled for the first time; from then on they are pickled as
places in it. A worker maps them: all on one machine read one copy, which is the system's.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import pickle
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinyreg.validate import Array

SMALL = 2**20  # bytes that go with each task, without a file
ALIGNED = 64
SEEN = 1000  # rows that are compared with the file of an `np.memmap`, which may have been replaced
T = TypeVar("T")


class Place(NamedTuple):
    """Where an array lies in a file: its first byte, and how many; an `np.memmap` is `mapped`."""

    path: str
    start: int
    size: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    mapped: bool

    def array(self) -> Array:
        """The array, read-only, in the file."""
        try:
            held = np.memmap(self.path, np.uint8, "r", self.start, (self.size,))
        except (OSError, ValueError) as e:  # no file, or one that is too short
            why = f"{socket.gethostname()} cannot read {self.path}: {e}"
            raise OSError(f"{why}; it must lie where all workers see it, as out= says") from e
        array: Array = np.ndarray(self.shape, self.dtype, held, 0, self.strides)
        return array.view(np.memmap) if self.mapped else array


class Shared(Generic[T]):
    """Content whose arrays are pickled as places in a file, within `by_file`."""

    def __init__(self, content: T | None, *pieces: Any) -> None:
        self._content, self._pieces = content, pieces
        self.file: str | None = None
        self._lock = threading.Lock()  # executors pickle in threads of their own

    def read(self) -> T:
        """The content; in a worker the file is opened here, within the task that fails if not."""
        if self._content is None:
            head, *arrays = self._pieces
            self._content = _Together(head, arrays).load()
        return self._content

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            self._pieces = self._pieces or self._apart()
        return Shared, (None, *self._pieces)

    def _apart(self) -> tuple[Any, ...]:
        """The content pickled without its arrays, and these or their places."""
        pickler = _Apart(head := io.BytesIO())
        pickler.dump(self._content)
        arrays = [*pickler.arrays.values()]
        if self.file is None or sum(array.nbytes for array in arrays) <= SMALL:
            return head.getvalue(), *arrays
        try:
            with open(self.file, "r+b") as file:
                return head.getvalue(), *(place(a) or _written(a, file) for a in arrays)
        except OSError as e:
            raise OSError(e.errno, e.strerror, self.file) from e

    @contextlib.contextmanager
    def by_file(self, folder: Path | None, stem: str) -> Iterator[None]:
        """With a file in the folder, or a temporary one, which is removed at the end.

        By its name `files.clear_up` knows one that a killed process has left.
        """
        end = f"-{secrets.token_hex(8)}.tmp"
        descriptor, self.file = tempfile.mkstemp(end, f".{stem}-", folder)
        os.close(descriptor)
        self._pieces = ()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps what is mapped
                os.unlink(self.file)
            self.file, self._pieces = None, ()


class _Apart(pickle.Pickler):
    """Arrays of numbers are left out, and told by their number."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.arrays: dict[int, Array] = {}

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, np.ndarray) or obj.dtype.kind not in "biuf" or not obj.size:
            return None
        self.arrays.setdefault(id(obj), obj)
        return [*self.arrays].index(id(obj))


class _Together(pickle.Unpickler):
    """What `_Apart` took apart."""

    def __init__(self, head: bytes, arrays: list[Array | Place]) -> None:
        super().__init__(io.BytesIO(head))
        self.arrays = [a.array() if isinstance(a, Place) else a for a in arrays]

    def persistent_load(self, pid: int) -> Array:
        return self.arrays[pid]


def place(array: Array) -> Place | None:
    """Where an `np.memmap`, or a view of one, lies already, if its file is still that one."""
    root: Any = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap.mmap):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode == "c" or not root.filename:
        return None
    low, high = byte_bounds(array)
    if low != array.ctypes.data:  # backwards
        return None
    if root.mode != "r":
        root.flush()
    start = root.offset + low - root.ctypes.data
    found = _at(str(root.filename), start, high - low, array, array)
    some = slice(None, None, 1 + len(array) // SEEN)
    with contextlib.suppress(OSError):
        if np.array_equal(found.array()[some], array[some]):
            return found
    return None


def _written(array: Array, file: BinaryIO) -> Place:
    """Its place at the end of the file: by rows or by columns, as in memory, without gaps."""
    by_columns = array.ndim == 2 and abs(array.strides[0]) < abs(array.strides[1])
    dense = np.asarray(array, order="F" if by_columns else "C")  # a copy only where it has gaps
    start = file.seek(-file.tell() % ALIGNED, os.SEEK_CUR)
    file.write((dense.T if by_columns else dense).data)
    return _at(file.name, start, dense.nbytes, dense, array)


def _at(path: str, start: int, size: int, laid: Array, array: Array) -> Place:
    mapped = isinstance(array, np.memmap)
    return Place(path, start, size, laid.dtype.str, laid.shape, laid.strides, mapped)
