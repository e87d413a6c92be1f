"""A document as a LaTeX file, which needs no more than amsmath."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinyreg.render.document import Document, Equation, Heading, Lines, Piece, Table, marked
from tinyreg.render.tex import SYMBOLS, in_line, tex_equation, tex_number

PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{amsmath}
\setlength{\parindent}{0pt}
\setlength{\parskip}{1ex}
\begin{document}
"""


def to_latex(document: Document) -> str:
    """A whole file."""
    title = f"\\section*{{{_lines(document.title.splitlines())}}}" if document.title else ""
    parts = [_latex(piece) for piece in document.pieces]
    return "\n\n".join([PREAMBLE + title, *parts, r"\end{document}"])


def _latex(piece: Piece) -> str:
    match piece:
        case str():
            return marked(piece, in_line, _prose)
        case Heading(text):
            return f"\\section{{{marked(text, in_line, _prose)}}}"
        case Lines(lines):
            return _lines(lines)
        case Equation():
            return f"\\[\n{tex_equation(piece)}\n\\]"
        case Table():
            return _table(piece)


def _table(table: Table) -> str:
    cells = table.cells(in_line, _prose, lambda x: f"${tex_number(x)}$")
    head, *rows = [" & ".join(row) + r" \\" for row in cells]
    columns = "l" * table.left + "r" * (len(table.headers) - table.left)
    return "\n".join(
        [
            r"\begin{center}\small",
            *([_prose(table.caption) + r" \\"] if table.caption else []),
            f"\\begin{{tabular}}{{{columns}}}",
            *[head, r"\hline", *rows],
            r"\end{tabular}",
            *([r"\\ " + _lines(table.notes)] if table.notes else []),
            r"\end{center}",
        ]
    )


def _lines(lines: Sequence[str]) -> str:
    return " \\\\\n".join(map(_prose, lines))


def _prose(text: str) -> str:
    text = re.sub(r"[\\{}$&#^_%~]", _escaped, text)
    for symbol, meaning in SYMBOLS.items():
        text = text.replace(symbol, rf"\ensuremath{{{meaning.strip()}}}")
    return text.encode("ascii", "replace").decode()


def _escaped(match: re.Match[str]) -> str:
    named = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    return named.get(match[0], f"\\{match[0]}")
