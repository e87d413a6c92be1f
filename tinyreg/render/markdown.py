"""A document as GitHub's Markdown: pipes for tables, dollars and `math` blocks for formulas."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinyreg.render.document import Document, Equation, Heading, Lines, Piece, Table, marked
from tinyreg.render.latex import aligned, in_line


def to_markdown(document: Document) -> str:
    """The pieces with a blank line between.

    >>> print(to_markdown(Document("Ran", [Table(["", "F"], [["prox", 0.5]], notes=["one seed"])])))
    # Ran
    <BLANKLINE>
    |  | F |
    | --- | ---: |
    | prox | 0.5 |
    <BLANKLINE>
    one seed
    """
    parts, count = [f"# {_lines(document.title.splitlines())}"] if document.title else [], 0
    for piece in document.pieces:
        count += isinstance(piece, Heading)
        parts.append(_markdown(piece, count))
    return "\n\n".join(parts)


def _markdown(piece: Piece, count: int) -> str:
    match piece:
        case str():
            return marked(piece, in_line, _prose)
        case Heading(text):
            return f"## {count}. {marked(text, in_line, _prose)}"
        case Lines(lines):
            return _lines(lines)
        case Equation():
            return f"```math\n{aligned(piece)}\n```"
        case Table():
            head, *rows = piece.cells(in_line, _prose)
            sides = ["---" if i < piece.left else "---:" for i in range(len(head))]
            table = "\n".join(f"| {' | '.join(row)} |" for row in (head, sides, *rows))
            return "\n\n".join(filter(None, [_prose(piece.caption), table, _lines(piece.notes)]))


def _lines(lines: Sequence[str]) -> str:
    return "  \n".join(map(_prose, lines))  # two blanks at its end break a line


def _prose(text: str) -> str:
    return re.sub(r"([\\*_|$<])", r"\\\1", text)
