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


class Numbers(NamedTuple):
    """The numbers of an array that are shown (all, or the leading ones), and its whole shape."""

    shown: Array
    shape: tuple[int, ...]

    def grid(self, value: Callable[[float], str], right: str, below: str) -> list[list[str]]:
        """The numbers as rows of cells, with dots where some are left out."""
        shown = np.atleast_2d(self.shown)
        n_rows, n_columns = (1, 1, *self.shape)[-2:]
        rows = [[value(x) for x in row] for row in shown]
        if shown.shape[1] < n_columns:
            rows = [[*row, right] for row in rows]
        if shown.shape[0] < n_rows:
            rows.append([below] * len(rows[0]))
        return rows


class Equation(NamedTuple):
    """A formula, and what it equals in numbers: signs and arrays in turn."""

    formula: str
    numbers: Sequence[str | Numbers]

    def shapes(self) -> str:
        """(1×2)(2×3) + (3) = (1×3); nothing for a single number."""
        if all(isinstance(item, str) or not item.shape for item in self.numbers):
            return ""
        return "".join(
            f"({'×'.join(map(str, item.shape))})" if isinstance(item, Numbers) else f" {item} "
            for item in self.numbers
            if isinstance(item, Numbers) or item in "+−⊙="
        )


#: A str is a paragraph.
Piece: TypeAlias = str | Heading | Lines | Table | Equation


class Document(NamedTuple):
    """A title, of one line or more or none (""), and what stands below it."""

    title: str
    pieces: Sequence[Piece]


def block(array: ArrayLike) -> Numbers:
    """What is shown of an array of at most two dimensions.

    >>> block(np.zeros((64, 10))).shown.shape
    (3, 4)
    """
    array = np.asarray(array)
    if array.size <= WHOLE or array.ndim == 0:
        return Numbers(array, array.shape)
    return Numbers(array[:ROWS, :COLUMNS] if array.ndim == 2 else array[:COLUMNS], array.shape)


def equation(formula: str, *numbers: str | ArrayLike) -> Equation:
    """The formula, and what it equals: signs and arrays in turn."""
    return Equation(formula, [n if isinstance(n, str) else block(n) for n in numbers])


def plain(thing: object) -> str:
    """The repr on one line, without the backticks that would begin a formula."""
    return " ".join(repr(thing).replace("`", "'").split())
