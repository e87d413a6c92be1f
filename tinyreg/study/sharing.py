"""Data that many tasks take, in other processes or on other machines: sent once, by a file.

The file is written where the data are pickled for the first time; from then on they are pickled as
places in it. A worker maps them: all on one machine read one copy, which is the system's.
"""

from __future__ import annotations

import contextlib
import io
import math
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
AT_ONCE = 2**24  # bytes written at a time
ALIGNED = 64
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
        dtype = np.dtype(self.dtype)
        first = held[: dtype.itemsize].view(dtype)
        array = np.lib.stride_tricks.as_strided(first, self.shape, self.strides, subok=True)
        return array if self.mapped else array.view(np.ndarray)


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
                return head.getvalue(), *(_place(a) or _write(a, file) for a in arrays)
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


def _place(array: Array) -> Place | None:
    """Where an `np.memmap`, or a view of one, lies already."""
    root: Any = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap.mmap):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode == "c" or not root.filename:
        return None
    low, high = byte_bounds(array)
    if low != array.ctypes.data or not os.path.exists(root.filename):  # backwards, or removed
        return None
    if root.mode != "r":
        root.flush()
    start = root.offset + low - root.ctypes.data
    return _told(array, str(root.filename), start, high - low, array.strides)


def _write(array: Array, file: BinaryIO) -> Place:
    """Write an array at the end, by rows or by columns as it lies in memory, in no second copy."""
    by_columns = array.ndim == 2 and abs(array.strides[0]) < abs(array.strides[1])
    rows = array.T if by_columns else array
    start = file.seek(-file.tell() % ALIGNED, os.SEEK_CUR)
    step = math.ceil(AT_ONCE * len(rows) / rows.nbytes)
    for i in range(0, len(rows), step):
        file.write(np.ascontiguousarray(rows[i : i + step]).data)
    strides = tuple(array.itemsize * math.prod(rows.shape[k + 1 :]) for k in range(rows.ndim))
    return _told(array, file.name, start, array.nbytes, strides[:: -1 if by_columns else 1])


def _told(array: Array, path: str, start: int, size: int, strides: tuple[int, ...]) -> Place:
    mapped = isinstance(array, np.memmap)
    return Place(path, start, size, array.dtype.str, array.shape, strides, mapped)
