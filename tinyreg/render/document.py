"""What a result says: its title and the pieces below it, before they are text, Markdown or LaTeX.

A formula is written once, as it stands in docstrings (dW1 = xᵀ dz1). In paragraphs, headings and
the cells of tables it stands between backticks, so that each renderer can set it in its own way.
Titles, lines, captions and notes are plain: nothing in them is a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.validate import Array

WHOLE = 12  # an array of more numbers is shown by its first ROWS rows and COLUMNS columns
ROWS, COLUMNS = 3, 4


def number(x: float) -> str:
    """Four significant digits; 0 is the number 0 and no other.

    >>> [number(x) for x in (0.25, -0.0, 1e-17, 1 / 3)]
    ['0.25', '0', '1e-17', '0.3333']
    """
    return f"{x + 0.0:.4g}"  # −0.0 + 0.0 is 0.0


def marked(text: str, formula: Callable[[str], str], prose: Callable[[str], str] = str) -> str:
    """The text with its formulas, between backticks, and the words around them translated."""
    parts = text.split("`")
    return "".join(formula(p) if i % 2 else prose(p) for i, p in enumerate(parts))


def leading(array: Array) -> Array:
    """What is shown of an array: all of it, or its first rows and columns.

    >>> leading(np.zeros((64, 10))).shape
    (3, 4)
    """
    if array.size <= WHOLE:
        return array
    return array[:ROWS, :COLUMNS] if array.ndim == 2 else array[:COLUMNS]


class Heading(NamedTuple):
    """The title of a section; headings are numbered."""

    text: str


class Lines(NamedTuple):
    """Lines that stand as they are, however long."""

    lines: Sequence[str]


class Table(NamedTuple):
    """Rows of texts and numbers under headers; the first `left` columns are flush left.

    The caption is a line directly above, the notes are lines directly below. `rule` asks for a
    line under the headers of a table in text.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    left: int = 1
    rule: bool = False
    caption: str = ""
    notes: Sequence[str] = ()

    def cells(
        self,
        formula: Callable[[str], str] = str,
        prose: Callable[[str], str] = str,
        value: Callable[[float], str] = number,
    ) -> list[list[str]]:
        """Headers and rows in the words of a renderer."""
        return [
            [marked(c, formula, prose) if isinstance(c, str) else value(c) for c in row]
            for row in (self.headers, *self.rows)
        ]


class Equation(NamedTuple):
    """A formula, and what it equals in numbers: signs and arrays of at most two dimensions."""

    formula: str
    numbers: Sequence[str | Array]

    def shapes(self) -> str:
        """(1×2)(2×3) + (3) = (1×3); nothing for single numbers."""
        if all(isinstance(item, str) or not item.shape for item in self.numbers):
            return ""
        return "".join(
            f" {item} " if isinstance(item, str) else f"({'×'.join(map(str, item.shape))})"
            for item in self.numbers
            if not isinstance(item, str) or item in "+−⊙="
        )

    def cells(
        self, sign: Callable[[str], str] = str, value: Callable[[float], str] = number
    ) -> list[str | list[list[str]]]:
        """Signs, single numbers, and arrays as rows of cells, in the words of a renderer."""
        return [sign(n) if isinstance(n, str) else _in_words(n, value) for n in self.numbers]


#: A str is a paragraph.
Piece: TypeAlias = str | Heading | Lines | Table | Equation


class Document(NamedTuple):
    """A title, of one line or more or none (""), and what stands below it."""

    title: str
    pieces: Sequence[Piece]


def equation(formula: str, *numbers: str | ArrayLike) -> Equation:
    """The formula, and what it equals: signs and arrays in turn."""
    return Equation(formula, [n if isinstance(n, str) else np.asarray(n) for n in numbers])


def plain(thing: object) -> str:
    """The repr on one line, without the backticks that would begin a formula."""
    return " ".join(repr(thing).replace("`", "'").split())


def _in_words(array: Array, value: Callable[[float], str]) -> str | list[list[str]]:
    """What is shown of an array, with dots … and ⋮ where some are left out."""
    if not array.shape:
        return value(array.item())
    array = np.atleast_2d(array)
    part = leading(array)
    dots = ["…"] if part.shape[1] < array.shape[1] else []
    rows = [[*map(value, row), *dots] for row in part]
    return [*rows, ["⋮"] * len(rows[0])] if len(part) < len(array) else rows
