"""Formulas, as they stand in docstrings, in TeX, and a document as a LaTeX file with amsmath."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tinyreg.render.document import Document, Equation, Heading, Lines, Piece, Table, marked, number

# What is wider than a line is made smaller.
PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{amsmath,graphicx}
\newsavebox{\whole}
\newcommand{\least}{\ifdim\width>\linewidth\linewidth\else\width\fi}
\newcommand{\narrowed}{\resizebox{\least}{!}{\usebox{\whole}}}
\newenvironment{fit}{\begin{lrbox}{\whole}}{\end{lrbox}\narrowed}
\setcounter{MaxMatrixCols}{20}
\setlength{\parindent}{0pt}
\setlength{\parskip}{1ex}
\sloppy
\begin{document}
"""
LINE = 84  # digits in a line of formulas, about
ROWS = 40  # of a table on one page
WORD = 24  # letters, after which a word may be broken
BREAK = "\u200b"  # where
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
    **{
        BREAK: r"\allowbreak{}",
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
    },
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
    """The formula, its shapes, and the numbers, with a new line for the result.

    Long lines are broken before a sign, and in a product of arrays before a dot.
    """
    left, _, right = tex(equation.formula).partition("=")
    shapes = tex(equation.shapes())
    formula = [*re.split(r" (?=\+ )", right.strip()), *([rf"\qquad {shapes}"] if shapes else [])]
    sides, signs = [formula, [""]] if right else [[""]], ""
    for item, cell in zip(equation.numbers, equation.cells(tex, _number), strict=True):
        if not isinstance(item, str):
            sides[-1].append(signs + (cell if isinstance(cell, str) else _matrix(cell)))
            signs = ""
        elif item == "=":
            sides[-1][-1] = f"{sides[-1][-1]} {signs}".strip()
            sides.append([])
            signs = ""
        else:
            signs += f"{cell} "
    lines = " \\\\\n".join(line for side in sides for line in _broken(side))
    return f"\\begin{{aligned}}\n{left.strip()} {lines}\n\\end{{aligned}}"


def _broken(side: Sequence[str]) -> Iterator[str]:
    """One side of an equation, in lines that are not too long if its parts are not."""
    line, width = "&=", 0
    for part in filter(None, side):
        rows = re.sub(r"\\(begin|end){pmatrix}", "", part).split(r" \\ ")
        cells = [re.sub(r"\\[A-Za-z]+|[{}^_ ]", "", row).split("&") for row in rows]
        needed = sum(max(map(len, column)) + 2 for column in zip(*cells, strict=True))
        if width > 0 and width + needed > LINE:
            yield line
            line, width = r"&\quad" + r" \cdot" * part.startswith(r"\begin"), 0
        line, width = f"{line} {part}", width + needed
    yield line


def tex(formula: str) -> str:
    """The formula in TeX.

    >>> tex("dW1 = xᵀ dz1"), tex("λ|w|"), tex("clip(u, −ηλ, ηλ)")
    ('\\\\mathrm{d}W_{1} = x^\\\\top  \\\\mathrm{d}z_{1}', '\\\\lambda \\\\lvert w\\\\rvert ', \
'\\\\operatorname{clip}(u, -\\\\eta \\\\lambda , \\\\eta \\\\lambda )')
    """
    formula = re.sub(r"\|(.*?)\|", r"⌊\1⌋", formula.replace("√|g|", "√"))
    formula = re.sub("‖(.*?)‖", r"⌈\1⌉", formula)
    translated = TOKEN.sub(_token, formula)
    return translated.replace(", ", r"\text{, }") if r"\text{" in translated else translated


def _token(token: re.Match[str]) -> str:
    if token[0] == "d":
        return r"\mathrm{d}"
    if token["letter"]:
        return f"{token['letter']}_{{{token['index']}}}"
    if words := token["words"]:
        prose = " " in words or words in ("where", "elsewhere")
        before = " " * (token.start() > 0 and token.string[token.start() - 2] != "=")
        after = " " * (token.end() < len(token.string))
        return rf"\text{{{before}{words}{after}}}" if prose else rf"\operatorname{{{words}}}"
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
            return f"\\[\\begin{{fit}}\\(\\displaystyle\n{aligned(piece)}\n\\)\\end{{fit}}\\]"
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
    begin, end = f"\\begin{{fit}}\\begin{{tabular}}{{{columns}}}", r"\end{tabular}\end{fit}"
    for i in range(0, len(rows), ROWS):
        part = [head, r"\hline", *rows[i : i + ROWS]]
        above += [begin, *part, end]
    return "\n".join([r"\begin{center}\small", *above, *below, r"\end{center}"])


def _lines(lines: Sequence[str]) -> str:
    return " \\\\\n".join(map(_prose, lines))


def _prose(text: str) -> str:
    text = re.sub(rf"\S{{{WORD}}}(?=\S)", rf"\g<0>{BREAK}", text)
    return SPECIAL.sub(lambda special: IN_PROSE.get(special[0], "?"), text)
