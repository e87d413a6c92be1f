"""Finished runs on the disk: a study that was cut short goes on from them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from tinyreg.checkpoint import first_difference
from tinyreg.files import clear_up, read_arrays, write_arrays
from tinyreg.study.runs import Setup
from tinyreg.validate import Array, describe

KIND, VERSION = "tinyreg run", 1
PROBE = 2**16  # bytes that a folder must have room for
T = TypeVar("T")


def check_folder(name: str, out: str | PathLike[str]) -> Path:
    """The folder, made if it is not there, in which files can be written, and in its `runs` too."""
    if not isinstance(out, str | PathLike):
        raise TypeError(f"{name} must be the path of a folder, got {describe(out)}")
    folder = Path(out)
    try:
        for place in (folder, folder / "runs"):
            place.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=place) as file:
                file.write(bytes(PROBE))
                file.flush()
                os.fsync(file.fileno())
    except OSError as e:
        wanted = f"{name} must be a folder that can be written"
        raise ValueError(f"{wanted}, got {str(out)!r}: {e.strerror}") from e
    return folder


class Store:
    """The finished runs of a study in `out`/runs, a file each; without `out` there are none.

    A run is taken from there if it is of the same setup, in words, with the same settings of the
    study's `own`. `fresh` begins anew.
    """

    def __init__(
        self, out: str | PathLike[str] | None, fresh: bool, study: str, setup: Setup,
        progress: Callable[[str], None], **own: Any,
    ) -> None:  # fmt: skip
        if fresh and out is None:
            raise ValueError("fresh goes with out, the folder whose runs are not to be used")
        self.folder = None if out is None else check_folder("out", out) / "runs"
        self.study, self.progress, self.data = study, progress, setup.data
        self.settings = {} if out is None else setup.told(**own)
        self.current: set[Path] = set()  # the files of this call
        for place in () if self.folder is None else (self.folder.parent, self.folder):
            clear_up(place, f"{study}[-.]*")
        if fresh:
            self.prune()

    def _path(self, method: str, seed: int) -> Path | None:
        return self.folder and self.folder / f"{self.study}-{method}-{seed}.npz"

    def find(self, method: str, seed: int, make: Callable[[Any, Array], T]) -> T | None:
        """What `make` makes of the content and the parameters of a run that was kept, if it was."""
        path, name = self._path(method, seed), f"{method}, seed {seed}"
        if path is None or not path.exists():
            return None
        try:
            saved = read_arrays(path, KIND, ("settings", "content", "params"), VERSION)
            settings, content = (json.loads(saved[part].item()) for part in ("settings", "content"))
            found = make(content, saved["params"]) if settings == self.settings else None
        except Exception as e:  # whatever it is, the run can be made again
            self.progress(f"{name}: begun anew, as {path} is damaged: {e}")
            return None
        if found is None:
            why = first_difference(settings, self.settings) or "the settings are others"
            self.progress(f"{name}: begun anew, as {why}")
            return None
        self.progress(f"{name}: kept from before")
        self.current.add(path)
        return found

    def keep(self, method: str, seed: int, content: Any, params: ArrayLike = ()) -> None:
        """Write a finished run."""
        if (path := self._path(method, seed)) is not None:
            texts = {"settings": self.settings, "content": content}
            arrays: dict[str, Any] = {name: json.dumps(texts[name]).encode() for name in texts}
            write_arrays(path, KIND, VERSION, **arrays, params=params)
            self.current.add(path)

    def shared(self) -> contextlib.AbstractContextManager[None]:
        """Within it the data of the setup go to processes by a file, which lies here."""
        return self.data.by_file(self.folder, self.study)

    def prune(self) -> None:
        """Remove the runs of this study that are not of this call."""
        if self.folder is not None:
            for path in {*self.folder.glob(f"{self.study}-*.npz")} - self.current:
                path.unlink(missing_ok=True)
