"""Files written whole or not at all; NPZ files of plain arrays, read without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import secrets
import shutil
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

SLACK = 2**20  # bytes that arrays may declare beyond the size of their file
AT_ONCE = 2**18  # bytes read at a time; no archive's directory may be longer


@contextlib.contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` once all of it is on the disk.

    Whoever reads `path` finds the old content or the new, whenever the process or the machine
    stops; an error leaves the old one and nothing beside it.
    """
    exists = os.path.exists(path)
    if exists and not os.path.isfile(path):  # a device or a pipe: to be written, not replaced
        with open(path, "wb") as file:
            yield file
        return
    if exists:
        with open(path, "ab"):  # refuses a read-only file, which a rename would replace
            pass
    target = os.path.realpath(path)  # a link stays a link
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{temporary_stem(name)}-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if exists:
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as e:
        if e.filename in (None, temporary):  # the caller has never heard of the temporary file
            raise OSError(e.errno, e.strerror, os.fspath(path)) from e
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    with contextlib.suppress(OSError):  # not every system can open or sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def temporary_stem(name: str) -> str:
    """The begin of a temporary file's name, of bounded length and another for each name."""
    return f"{name[:40]}-{hashlib.blake2b(os.fsencode(name), digest_size=4).hexdigest()}"


def clear_up(folder: str | PathLike[str], stem: str) -> None:
    """Remove what processes left that were killed as they wrote; the stem is a pattern."""
    for path in Path(folder).glob(f".{stem}-{'[0-9a-f]' * 16}.tmp"):
        path.unlink(missing_ok=True)


def write_arrays(path: str | PathLike[str], kind: str, version: int, **arrays: ArrayLike) -> None:
    """Write an NPZ file of this kind and version at just this path, whole or not at all."""
    content = {"format": kind, "version": version, **arrays}
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:  # closed on errors too
        for name, value in content.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, np.asanyarray(value), allow_pickle=False)


def read_arrays(
    path: str | PathLike[str], kind: str, names: Sequence[str], version: int
) -> dict[str, NDArray[Any]]:
    """The arrays of these names in a file that `write_arrays` wrote.

    A `ValueError` says what is wrong with any other file ("its version is 2, …"); `reading` adds
    which file that is, and what was wanted of it. What a file declares is not believed: the memory
    taken is bounded by twice its size and 16 MiB.
    """
    try:
        head = load_npz(path, ("format", "version"), most=1024)
        file_kind, file_version = head["format"].tolist(), head["version"].tolist()
        if file_kind != kind:
            raise ValueError(f"its format is {file_kind!r:.60}")
        if file_version != version:
            raise ValueError(f"its version is {file_version!r:.60}, this tinyreg reads {version}")
        arrays = load_npz(path, names, most=os.path.getsize(path) + SLACK)
        return {name: arrays[name] for name in names}
    except KeyError as e:
        raise ValueError(f"it has no {e}") from e


@contextlib.contextmanager
def reading(path: str | PathLike[str], wanted: str, name: str = "path") -> Iterator[None]:
    """Whatever proves wrong with the file inside is a `ValueError` about the argument `name`."""
    try:
        yield
    except (ArithmeticError, MemoryError, TypeError, ValueError) as e:  # a missing file stays that
        raise ValueError(f"{name} must be {wanted}, got {str(path)!r}: {e}") from e


def load_npz(
    path: str | PathLike[str], names: Sequence[str], most: float = math.inf
) -> dict[str, Any]:
    """All names in an NPZ file, with the arrays of those asked for, of at most so many bytes.

    A `ValueError` says what is wrong with a file that is no NPZ, is damaged or holds objects.
    """
    if os.path.isdir(path):
        raise ValueError("it is a folder")
    with _Bounded(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python or NumPy about an odd header
        try:
            archive = zipfile.ZipFile(file)
        except Exception as e:  # a broken archive can fail in any way; each means the same here
            raise ValueError("it is no NPZ file, or a damaged one") from e
        members = [name for name in archive.NameToInfo if name.endswith(".npy")]
        arrays: dict[str, Any] = dict.fromkeys(name.removesuffix(".npy") for name in members)
        for name in filter(arrays.__contains__, names):
            arrays[name] = _array(archive, name, most)
            most -= arrays[name].nbytes
    return arrays


class _Bounded(io.FileIO):
    """A file that gives no more at once, whatever an archive's directory says of its own length."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(AT_ONCE if size is None or size < 0 else min(size, AT_ONCE))


def _array(archive: zipfile.ZipFile, name: str, most: float) -> NDArray[Any]:
    """One array; its header is looked at before memory is taken for it."""
    info, it = archive.NameToInfo[f"{name}.npy"], f"its array {name!r}"
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{it} is encrypted, or compressed in another way than NumPy's")
    try:
        member = archive.open(info)
        npy.read_magic(member)
        # The header of other versions, which are for structures, may be of any length.
        shape, fortran, dtype = npy.read_array_header_1_0(member, max_header_size=1024)
    except Exception as e:
        raise ValueError(f"{it} is damaged, or none") from e
    if dtype.kind not in "biufcSU" or not dtype.itemsize:
        raise ValueError(f"{it} holds no numbers or text; objects and structures are not read")
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(f"{it} is declared larger than the file")
    try:
        content = np.empty(size, np.uint8)
        for start in range(0, size + 1, AT_ONCE):  # to the end, where the checksum is compared
            content.data[start : start + AT_ONCE] = member.read(AT_ONCE)  # no more and no less
        if dtype.kind == "U" and content.view(f"{dtype.str[0]}u4").max(initial=0) > sys.maxunicode:
            raise ValueError("a character that does not exist")  # to NumPy a system error
        return content.view(dtype).reshape(shape, order="F" if fortran else "C")
    except Exception as e:
        raise ValueError(f"{it} is damaged, or too large for the memory") from e
