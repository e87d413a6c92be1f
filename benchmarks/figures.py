"""The pictures of the README, made anew and kept small.

    python -m benchmarks.figures

They are what `tinyreg compare --out DIR` and `tinyreg path --out DIR` draw, in 64 colours, which
makes a third of the size (about two minutes; it needs the extra `plot`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from tinyreg.cli.main import main

COLOURS = 64


def draw(command: str, folder: Path) -> None:
    """Run the command with its defaults, and put its picture into `folder`."""
    with tempfile.TemporaryDirectory() as out:
        if main([command, "--out", out]):
            raise SystemExit(f"tinyreg {command} failed")
        (picture,) = Path(out).glob("*.png")
        shrink(picture, folder / picture.name)


def shrink(picture: Path, into: Path) -> None:
    """The same picture in few colours."""
    with Image.open(picture) as image:
        few = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)  # rare ones too
        few.save(into, optimize=True)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    figures = Path(__file__).parent / "figures"
    for command in ("compare", "path"):
        draw(command, figures)
