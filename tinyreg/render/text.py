"""A document as text for a terminal: at most about 100 characters wide, unless lines are given."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tinyreg.render.document import (
    Document,
    Equation,
    Heading,
    Lines,
    Numbers,
    Piece,
    Table,
    marked,
    number,
)

WIDTH = 98


def to_text(document: Document) -> str:
    """The pieces with a blank line between; in a document of sections, titles are underlined.

    >>> print(to_text(Document("Ran", [Table(["", "F"], [["prox", 0.5]], notes=["one seed"])])))
    Ran
    <BLANKLINE>
            F
    prox  0.5
    one seed
    """
    headings = [piece for piece in document.pieces if isinstance(piece, Heading)]
    title = _underlined(document.title, "=") if headings else document.title
    parts, count = [title] if title else [], 0
    for piece in document.pieces:
        if isinstance(piece, Heading):
            count += 1
            parts.append("\n" + _underlined(f"{count}  {piece.text}".replace("`", ""), "-"))
        else:
            parts.append(_text(piece, indent="  " if count else ""))
    return "\n\n".join(parts)


def text_table(rows: Sequence[Sequence[str]], left: int = 1, rule: bool = False) -> list[str]:
    """The rows as lines of columns, the first `left` of them flush left, the others flush right.

    The first row is the header; `rule` draws a line under it.

    >>> print("\\n".join(text_table([["", "F"], ["proximal", "0.43"]], rule=True)))
                 F
    --------  ----
    proximal  0.43
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if rule:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _text(piece: Piece, indent: str) -> str:
    """A piece; tables of a section are indented."""
    match piece:
        case str():
            # A no-break space keeps a formula on one line.
            text = marked(piece, lambda formula: formula.replace(" ", "\u00a0"))
            return textwrap.fill(text, WIDTH).replace("\u00a0", " ")
        case Table():
            lines = text_table(piece.cells(), piece.left, piece.rule)
            above = [piece.caption] if piece.caption else []
            return "\n".join(f"{indent}{line}" for line in [*above, *lines, *piece.notes])
        case Equation():
            return _equation(piece)
        case Heading(text):
            return text
        case Lines(lines):
            return "\n".join(lines)


def _underlined(title: str, stroke: str) -> str:
    return f"{title}\n{stroke * len(title)}"


def _equation(equation: Equation) -> str:
    """On one line where that is enough, else with the matrices below."""
    lines, shapes = _in_a_row(equation.numbers), equation.shapes()
    one_line = f"{equation.formula} {lines[0]}"
    if len(lines) == 1 and len(one_line) + len(shapes) < WIDTH - 8:
        return f"{one_line}        {shapes}".rstrip()
    below = "\n".join(f"  {line}".rstrip() for line in lines)
    return f"{equation.formula}        {shapes}".rstrip() + f"\n\n{below}"


def _in_a_row(numbers: Sequence[str | Numbers]) -> list[str]:
    """Matrices side by side with the signs between; a new line where they grow too wide."""
    lines: list[str] = []
    row: list[str] = []
    for item in ["=", *numbers]:
        if isinstance(item, str):
            box = [item]
        elif not item.shape:
            box = [number(item.shown.item())]
        else:
            box = [f"[ {line} ]" for line in text_table(item.grid(number, "…", "⋮"), left=0)]
        if row and max(map(len, row)) + len(box[0]) + 3 > WIDTH:  # and a sign may follow
            lines += [*row, ""]
            row = []
        height = max(len(row), len(box))
        left, right = _centred(row, height), _centred(box, height)
        row = [f"{a} {b}" if row else b for a, b in zip(left, right, strict=True)]
    return [*lines, *row]


def _centred(lines: list[str], height: int) -> list[str]:
    blank = " " * max(map(len, lines), default=0)
    above = (height - len(lines)) // 2
    return [blank] * above + lines + [blank] * (height - len(lines) - above)
