"""A document as text for a terminal: at most about 100 characters wide, unless lines are given."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tinyreg.render.document import Document, Equation, Heading, Lines, Piece, Table, marked

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
    title, count = document.title, 0
    if any(isinstance(piece, Heading) for piece in document.pieces):
        title = _underlined(title, "=")
    parts = [title] if title else []
    for piece in document.pieces:
        count += isinstance(piece, Heading)
        parts.append(_text(piece, count))
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


def _text(piece: Piece, section: int) -> str:
    """A piece of section 1, 2, … (0: of no section); tables of a section are indented."""
    match piece:
        case str():
            # A no-break space keeps a formula on one line.
            text = marked(piece, lambda formula: formula.replace(" ", "\u00a0"))
            return textwrap.fill(text, WIDTH).replace("\u00a0", " ")
        case Heading(text):
            return "\n" + _underlined(f"{section}  {marked(text, str)}", "-")
        case Lines(lines):
            return "\n".join(lines)
        case Table():
            above = [piece.caption] if piece.caption else []
            lines = [*above, *text_table(piece.cells(), piece.left, piece.rule), *piece.notes]
            return "\n".join(f"  {line}" if section else line for line in lines)
        case Equation():
            return _equation(piece)


def _underlined(title: str, stroke: str) -> str:
    return f"{title}\n{stroke * len(title)}"


def _equation(equation: Equation) -> str:
    """On one line where that is enough, else with the matrices below."""
    lines, told = _in_a_row(equation), equation.shapes()
    one_line = f"{equation.formula} {lines[0]}"
    if len(lines) == 1 and len(one_line) + len(told) < WIDTH - 8:
        return f"{one_line}        {told}".rstrip()
    below = "\n".join(f"  {line}".rstrip() for line in lines)
    return f"{equation.formula}        {told}".rstrip() + f"\n\n{below}"


def _in_a_row(equation: Equation) -> list[str]:
    """Matrices side by side with the signs between; a new line where they grow too wide."""
    lines: list[str] = []
    row = ["="]
    for item in equation.cells():
        box = [item] if isinstance(item, str) else [f"[ {x} ]" for x in text_table(item, left=0)]
        if len(row[0]) + len(box[0]) + 3 > WIDTH:  # and a sign may follow
            lines += [*row, ""]
            row = box
        else:
            height = max(len(row), len(box))
            sides = zip(_centred(row, height), _centred(box, height), strict=True)
            row = [" ".join(side) for side in sides]
    return [*lines, *row]


def _centred(lines: list[str], height: int) -> list[str]:
    blank = " " * len(lines[0])
    above = (height - len(lines)) // 2
    return [blank] * above + lines + [blank] * (height - len(lines) - above)
