"""NPZ files of plain arrays: written whole or not at all, read without pickle."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def write_arrays(path: str | PathLike[str], kind: str, version: int, **arrays: ArrayLike) -> None:
    """Write an NPZ file of this kind and version at just this path, whole or not at all."""
    content: dict[str, Any] = {"format": kind, "version": version, **arrays}
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    _write_whole(path, buffer.getvalue())


def read_arrays(
    path: str | PathLike[str], kind: str, names: Sequence[str], version: int
) -> dict[str, NDArray[Any]]:
    """The arrays of these names in a file that `write_arrays` wrote.

    A `ValueError` says what is wrong with any other file ("its version is 2, …"); `reading` adds
    which file that is, and what was wanted of it.
    """
    arrays = load_npz(path)
    try:
        file_kind, file_version = arrays["format"].item(), arrays["version"].item()
        if file_kind != kind:
            raise ValueError(f"its format is {file_kind!r}")
        if file_version != version:
            raise ValueError(f"its version is {file_version!r}, this tinyreg reads {version}")
        return {name: arrays[name] for name in names}
    except KeyError as e:
        raise ValueError(f"it has no {e}") from e


@contextlib.contextmanager
def reading(path: str | PathLike[str], wanted: str) -> Iterator[None]:
    """Whatever proves wrong with the file inside is a `ValueError` about `path`."""
    try:
        yield
    except (ArithmeticError, MemoryError, TypeError, ValueError) as e:  # a missing file stays that
        raise ValueError(f"path must be {wanted}, got {str(path)!r}: {e}") from e


def load_npz(path: str | PathLike[str]) -> dict[str, NDArray[Any]]:
    """All arrays of an NPZ file; a `ValueError` where it is none, or holds a pickle."""
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as content:
                return {name: np.asarray(content[name]) for name in content.files}
        except Exception as e:  # a broken archive can fail in any way; each means the same here
            raise ValueError(str(e)) from e


def _write_whole(path: str | PathLike[str], content: bytes) -> None:
    """A new file that takes the place of `path` once it is on the disk.

    Whoever reads `path` finds the old content or the new, whenever the process or the machine
    stops; an error leaves the old one and nothing beside it.
    """
    exists = os.path.exists(path)
    if exists and not os.path.isfile(path):  # a device or a pipe: to be written, not replaced
        with open(path, "wb") as file:
            file.write(content)
        return
    if exists:
        with open(path, "ab"):  # refuses a read-only file, which a rename would replace
            pass
    target = os.path.realpath(path)  # a link stays a link
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".tinyreg-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if exists:
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as e:
        if e.filename is not None:  # the caller has never heard of the temporary file
            e.filename, e.filename2 = os.fspath(path), None
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
