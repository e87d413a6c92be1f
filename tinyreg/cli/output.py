"""Progress on a terminal, and the files of `compare` and `path`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tinyreg.cli.options import Add
from tinyreg.study.comparison import Comparison
from tinyreg.study.path import LambdaPath


def add_output_options(add: Add, name: str, more: str = "") -> None:
    """--out and --json."""
    add("--out", metavar="DIR", help=f"write {name}.json, {name}.png{more} there")
    add("--json", action="store_true", help="print the JSON in place of the table")


def folder(name: str | None) -> Path | None:
    """The folder of --out, made before any work."""
    if name is None:
        return None
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ValueError(f"--out must be a folder, got {name!r}: {e.strerror}") from e
    return Path(name)


def progress() -> Callable[[str], None] | None:
    """A line on standard error that is written over; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        return None
    return lambda text: print(f"\r\033[K{text}", end="\r", file=sys.stderr, flush=True)


def finish(
    arguments: argparse.Namespace,
    result: Comparison | LambdaPath,
    out: Path | None,
    name: str,
    *plot_settings: Any,
) -> None:
    """Write the files, then print the result: a reader who hangs up early has them all the same."""
    result.settings |= {"data": arguments.data, "standardised": arguments.data != "digits"}
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if out is not None:
        result.to_json(out / f"{name}.json")
        if find_spec("matplotlib") is None:
            note = f"wrote {out / name}.json; for the picture install tinyreg[plot]"
        else:
            result.plot(out / f"{name}.png", *plot_settings)
            note = f"wrote {out / name}.json and {out / name}.png"
        print(note, file=sys.stderr)
    print(json.dumps(result.to_dict()) if arguments.json else result)
