"""Formulas, as they stand in docstrings, in TeX, and a document as a LaTeX file with amsmath."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinyreg.render.document import Document, Equation, Heading, Lines, Piece, Table, marked, number

PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{amsmath}
\setlength{\parindent}{0pt}
\setlength{\parskip}{1ex}
\begin{document}
"""
SYMBOLS = {
    "λ": r"\lambda ", "η": r"\eta ", "θ": r"\theta ", "σ": r"\sigma ", "Φ": r"\Phi ",
    "φ": r"\varphi ", "ℓ": r"\ell ", "∂": r"\partial ", "Σ": r"\sum ", "⊙": r"\odot ",
    "·": r"\cdot ", "×": r"\times ", "−": "-", "±": r"\pm ", "½": r"\tfrac12 ", "²": "^2 ",
    "ᵀ": r"^\top ", "⁻⁵": "^{-5}", "₊": "_+ ", "√": r"\sqrt{\lvert g\rvert}", "⌊": r"\lvert ",
    "⌋": r"\rvert ", "⌈": r"\lVert ", "⌉": r"\rVert ", "…": r"\dots ", "←": r"\leftarrow ",
}  # fmt: skip
TOKEN = re.compile(
    r"d(?=[A-Za-z]\d|[zW]\b)"
    r"|(?P<letter>[A-Za-z])(?P<index>\d+)"
    r"|(?P<words>[A-Za-z]{2,}(?: (?!d[a-z]\d)[a-z]{2,})*)"
    r"|⁻⁵|[^\x00-\x7f]"
)
#: What means something else to TeX, or nothing, outside of formulas.
SPECIAL = re.compile(r"[\\{}$&#^_%~<>|]|⁻⁵|[^\x00-\x7f]")
IN_PROSE = {
    **{character: f"\\{character}" for character in "{}$&#_%"},
    **{character: rf"\ensuremath{{{character}}}" for character in "<>|"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{symbol: rf"\ensuremath{{{meaning.strip()}}}" for symbol, meaning in SYMBOLS.items()},
}


def to_latex(document: Document) -> str:
    """A whole file."""
    title = f"\\section*{{{_lines(document.title.splitlines())}}}" if document.title else ""
    parts = [_latex(piece) for piece in document.pieces]
    return "\n\n".join([PREAMBLE + title, *parts, r"\end{document}"])


def in_line(formula: str) -> str:
    """A formula as a part of a sentence."""
    return f"${tex(formula).strip()}$"


def aligned(equation: Equation) -> str:
    """The formula, its shapes, and the numbers, with a new line for the result."""
    left, _, right = tex(equation.formula).partition("=")
    shapes, cells = tex(equation.shapes()), equation.cells(tex, _number)
    first = [right.strip() + (r" \qquad " + shapes if shapes else "")] if right else []
    numbers = " ".join(n if isinstance(n, str) else _matrix(n) for n in cells)
    sides = [*first, *numbers.split(" = ")]
    lines = " \\\\\n".join(f"&= {side}" for side in sides)
    return f"\\begin{{aligned}}\n{left.strip()} {lines}\n\\end{{aligned}}"


def tex(formula: str) -> str:
    """The formula in TeX.

    >>> tex("dW1 = xᵀ dz1"), tex("λ|w|"), tex("clip(u, −ηλ, ηλ)")
    ('\\\\mathrm{d}W_{1} = x^\\\\top  \\\\mathrm{d}z_{1}', '\\\\lambda \\\\lvert w\\\\rvert ', \
'\\\\operatorname{clip}(u, -\\\\eta \\\\lambda , \\\\eta \\\\lambda )')
    """
    formula = re.sub(r"\|(.*?)\|", r"⌊\1⌋", formula.replace("√|g|", "√"))
    formula = re.sub("‖(.*?)‖", r"⌈\1⌉", formula)
    return TOKEN.sub(_token, formula)


def _token(token: re.Match[str]) -> str:
    if token[0] == "d":
        return r"\mathrm{d}"
    if token["letter"]:
        return f"{token['letter']}_{{{token['index']}}}"
    if words := token["words"]:
        prose = " " in words or "where" in words
        return rf"\text{{ {words} }}" if prose else rf"\operatorname{{{words}}}"
    return SYMBOLS[token[0]]


def _number(x: float) -> str:
    """Four digits, and a power of ten in place of e-17."""
    mantissa, _, exponent = number(x).partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa


def _matrix(cells: list[list[str]]) -> str:
    rows = r" \\ ".join(" & ".join(row) for row in cells)
    rows = rows.replace("…", r"\cdots").replace("⋮", r"\vdots")
    return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}"


def _latex(piece: Piece) -> str:
    match piece:
        case str():
            return marked(piece, in_line, _prose)
        case Heading(text):
            return f"\\section{{{marked(text, in_line, _prose)}}}"
        case Lines(lines):
            return _lines(lines)
        case Equation():
            return f"\\[\n{aligned(piece)}\n\\]"
        case Table():
            return _table(piece)


def _table(table: Table) -> str:
    head, *rows = [
        " & ".join(row) + r" \\"
        for row in table.cells(in_line, _prose, lambda x: f"${_number(x)}$")
    ]
    columns = "l" * table.left + "r" * (len(table.headers) - table.left)
    above = [_prose(table.caption) + r" \\"] if table.caption else []
    below = [r"\\ " + _lines(table.notes)] if table.notes else []
    begin = [r"\begin{center}\small", *above, f"\\begin{{tabular}}{{{columns}}}"]
    end = [r"\end{tabular}", *below, r"\end{center}"]
    return "\n".join([*begin, head, r"\hline", *rows, *end])


def _lines(lines: Sequence[str]) -> str:
    return " \\\\\n".join(map(_prose, lines))


def _prose(text: str) -> str:
    return SPECIAL.sub(lambda special: IN_PROSE.get(special[0], "?"), text)
