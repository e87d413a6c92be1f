"""Sentences, equations and tables, with numbers as they are, as text, Markdown or LaTeX.

A formula is written once, as it stands in docstrings (dW1 = xᵀ dz1), and between backticks where
it is part of a sentence or a header. Text shows it so; `_tex` translates it for the other two.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.render.table import text_table
from tinyreg.validate import Array

WHOLE = 12  # an array of more numbers is shown by its first ROWS rows and COLUMNS columns
ROWS, COLUMNS = 3, 4
WIDTH = 98


@dataclass(frozen=True)
class Block:
    """The numbers of an array that are shown (all, or the leading ones), and its whole shape."""

    shown: Array
    shape: tuple[int, ...]


class Equation(NamedTuple):
    """A formula, and what it equals in numbers: signs and blocks in turn."""

    formula: str
    numbers: list[str | Block]


class Table(NamedTuple):
    """Rows under headers; the first column holds names."""

    headers: list[str]
    rows: list[list[str | float]]


Piece: TypeAlias = str | Equation | Table


class Section(NamedTuple):
    """A title, and what stands below it."""

    title: str
    pieces: list[Piece]


def block(array: ArrayLike) -> Block:
    """What is shown of an array of at most two dimensions.

    Examples
    --------
    >>> block(np.zeros((64, 10))).shown.shape
    (3, 4)
    """
    array = np.asarray(array)
    if array.size <= WHOLE or array.ndim == 0:
        return Block(array, array.shape)
    return Block(array[:ROWS, :COLUMNS] if array.ndim == 2 else array[:COLUMNS], array.shape)


def equation(formula: str, *numbers: str | ArrayLike) -> Equation:
    """The formula, and what it equals: signs and arrays in turn."""
    return Equation(formula, [n if isinstance(n, str) else block(n) for n in numbers])


def number(x: float) -> str:
    """Four significant digits; 0 is the number 0 and no other.

    Examples
    --------
    >>> [number(x) for x in (0.25, -0.0, 1e-17, 1 / 3)]
    ['0.25', '0', '1e-17', '0.3333']
    """
    return f"{x + 0.0:.4g}"  # −0.0 + 0.0 is 0.0


def plain(thing: object) -> str:
    """The repr on one line, without the backticks that would begin a formula."""
    return " ".join(repr(thing).replace("`", "'").split())


def to_text(title: str, sections: Sequence[Section]) -> str:
    """For a terminal: at most about 100 characters wide."""
    parts = [f"{title}\n{'=' * len(title)}"]
    for i, (heading, pieces) in enumerate(sections, start=1):
        heading = f"{i}  {heading}"
        parts.append(f"\n{heading}\n{'-' * len(heading)}")
        for piece in pieces:
            if isinstance(piece, str):
                # A no-break space keeps a formula on one line.
                text = _words(piece, lambda formula: formula.replace(" ", "\u00a0"))
                parts.append(textwrap.fill(text, WIDTH).replace("\u00a0", " "))
            elif isinstance(piece, Table):
                parts.append(_indented(text_table(_cells(piece, str, str), rule=True)))
            else:
                parts.append(_text_equation(piece))
    return "\n\n".join(parts) + "\n"


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """GitHub's Markdown: pipes for tables, dollars and `math` blocks for formulas."""
    parts = [f"# {title}"]
    for i, (heading, pieces) in enumerate(sections, start=1):
        parts.append(f"## {i}. {heading}")
        for piece in pieces:
            if isinstance(piece, str):
                parts.append(_words(piece, _dollars, _markdown_prose))
            elif isinstance(piece, Table):
                head, *rows = _cells(piece, _dollars, _markdown_prose)
                rule = ["---", *["---:"] * (len(head) - 1)]
                parts.append("\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows)))
            else:
                parts.append(f"```math\n{_tex_equation(piece)}\n```")
    return "\n\n".join(parts) + "\n"


def to_latex(title: str, sections: Sequence[Section]) -> str:
    """A whole document, which needs no more than amsmath."""
    parts = [
        "\\documentclass{article}\n\\usepackage[a4paper,margin=2cm]{geometry}\n"
        "\\usepackage{amsmath}\n\\setlength{\\parindent}{0pt}\n\\setlength{\\parskip}{1ex}\n"
        f"\\begin{{document}}\n\\section*{{{_latex_prose(title)}}}"
    ]
    for heading, pieces in sections:
        parts.append(f"\\section{{{_latex_prose(heading)}}}")
        for piece in pieces:
            if isinstance(piece, str):
                parts.append(_words(piece, _dollars, _latex_prose))
            elif isinstance(piece, Table):
                cells = _cells(piece, _dollars, _latex_prose, lambda x: f"${_tex_number(x)}$")
                head, *rows = [" & ".join(row) + r" \\" for row in cells]
                columns = "l" + "r" * (len(piece.headers) - 1)
                parts.append(
                    f"\\begin{{center}}\\small\n\\begin{{tabular}}{{{columns}}}\n"
                    + "\n".join([head, r"\hline", *rows])
                    + "\n\\end{tabular}\n\\end{center}"
                )
            else:
                parts.append(f"\\[\n{_tex_equation(piece)}\n\\]")
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def _words(text: str, formula: Callable[[str], str], prose: Callable[[str], str] = str) -> str:
    """Every second part, between backticks, is a formula."""
    parts = text.split("`")
    return "".join(formula(p) if i % 2 else prose(p) for i, p in enumerate(parts))


def _cells(
    table: Table,
    formula: Callable[[str], str],
    prose: Callable[[str], str],
    value: Callable[[float], str] = number,
) -> list[list[str]]:
    return [
        [_words(cell, formula, prose) if isinstance(cell, str) else value(cell) for cell in row]
        for row in [list[str | float](table.headers), *table.rows]
    ]


def _shapes(equation: Equation) -> str:
    """(1×2)(2×3) + (3) = (1×3); nothing for a single number."""
    if all(isinstance(item, str) or not item.shape for item in equation.numbers):
        return ""
    return "".join(
        f"({'×'.join(map(str, item.shape))})" if isinstance(item, Block) else f" {item} "
        for item in equation.numbers
        if isinstance(item, Block) or item in "+−⊙="
    )


def _text_equation(equation: Equation) -> str:
    """On one line where that is enough, else with the matrices below."""
    lines, shapes = _in_a_row(equation.numbers), _shapes(equation)
    one_line = f"{equation.formula} {lines[0]}"
    if len(lines) == 1 and len(one_line) + len(shapes) < WIDTH - 8:
        return f"{one_line}        {shapes}".rstrip()
    return f"{equation.formula}        {shapes}".rstrip() + f"\n\n{_indented(lines)}"


def _grid(block: Block, value: Callable[[float], str], right: str, below: str) -> list[list[str]]:
    """The numbers as rows of cells, with dots where some are left out."""
    shown = np.atleast_2d(block.shown)
    n_rows, n_columns = (1, 1, *block.shape)[-2:]
    rows = [[value(x) for x in row] for row in shown]
    if shown.shape[1] < n_columns:
        rows = [[*row, right] for row in rows]
    if shown.shape[0] < n_rows:
        rows.append([below] * len(rows[0]))
    return rows


def _in_a_row(numbers: Sequence[str | Block]) -> list[str]:
    """Matrices side by side with the signs between; a new line where they grow too wide."""
    lines: list[str] = []
    row: list[str] = []
    for item in ["=", *numbers]:
        if isinstance(item, str):
            box = [item]
        elif not item.shape:
            box = [number(item.shown.item())]
        else:
            box = [f"[ {line} ]" for line in text_table(_grid(item, number, "…", "⋮"), left=0)]
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


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"  {line}".rstrip() for line in lines)


SYMBOLS = {
    "λ": r"\lambda ", "η": r"\eta ", "θ": r"\theta ", "σ": r"\sigma ", "Φ": r"\Phi ",
    "φ": r"\varphi ", "ℓ": r"\ell ", "∂": r"\partial ", "Σ": r"\sum ", "⊙": r"\odot ",
    "·": r"\cdot ", "×": r"\times ", "−": "-", "±": r"\pm ", "½": r"\tfrac12 ", "²": "^2 ",
    "ᵀ": r"^\top ", "⁻⁵": "^{-5}", "₊": "_+ ", "√": r"\sqrt{\lvert g\rvert}", "⌊": r"\lvert ",
    "⌋": r"\rvert ", "⌈": r"\lVert ", "⌉": r"\rVert ", "…": r"\dots ", "←": r"\leftarrow ",
}  # fmt: skip
TOKEN = re.compile(
    r"(?P<d>d?)(?P<letter>[A-Za-z])(?P<index>\d+)"
    r"|d(?=[zW]\b)"
    r"|(?P<words>[A-Za-z]{2,}(?: (?!d[a-z]\d)[a-z]{2,})*)"
    r"|⁻⁵|[^\x00-\x7f]"
)


def _tex(formula: str) -> str:
    """The formula in TeX.

    >>> _tex("dW1 = xᵀ dz1"), _tex("λ|w|"), _tex("clip(u, −ηλ, ηλ)")
    ('\\\\mathrm{d}W_{1} = x^\\\\top  \\\\mathrm{d}z_{1}', '\\\\lambda \\\\lvert w\\\\rvert ', \
'\\\\operatorname{clip}(u, -\\\\eta \\\\lambda , \\\\eta \\\\lambda )')
    """
    formula = re.sub(r"\|(.*?)\|", r"⌊\1⌋", formula.replace("√|g|", "√"))
    formula = re.sub("‖(.*?)‖", r"⌈\1⌉", formula)

    def translate(token: re.Match[str]) -> str:
        if token["letter"]:
            d = r"\mathrm{d}" if token["d"] else ""
            return f"{d}{token['letter']}_{{{token['index']}}}"
        if token[0] == "d":
            return r"\mathrm{d}"
        if token["words"]:
            words = token["words"]
            prose = " " in words or "where" in words
            return rf"\text{{ {words} }}" if prose else rf"\operatorname{{{words}}}"
        return SYMBOLS[token[0]]

    return TOKEN.sub(translate, formula)


def _dollars(formula: str) -> str:
    return f"${_tex(formula).strip()}$"


def _tex_number(x: float) -> str:
    mantissa, _, exponent = number(x).partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa


def _tex_equation(equation: Equation) -> str:
    """The formula, its shapes, and the numbers, with a new line for the result."""
    left, _, right = _tex(equation.formula).partition("=")
    shapes = _shapes(equation)
    first = [right.strip() + (r" \qquad " + _tex(shapes) if shapes else "")] if right else []
    lines: list[list[str]] = [[]]
    for item in equation.numbers:
        if item == "=":
            lines.append([])
        elif isinstance(item, str):
            lines[-1].append(_tex(item))
        elif not item.shape:
            lines[-1].append(_tex_number(item.shown.item()))
        else:
            rows = _grid(item, _tex_number, r"\cdots", r"\vdots")
            inner = r" \\ ".join(" & ".join(row) for row in rows)
            lines[-1].append(rf"\begin{{pmatrix}} {inner} \end{{pmatrix}}")
    sides = " \\\\\n".join(f"&= {side}" for side in [*first, *(" ".join(line) for line in lines)])
    return f"\\begin{{aligned}}\n{left.strip()} {sides}\n\\end{{aligned}}"


def _markdown_prose(text: str) -> str:
    return re.sub(r"([\\*_|$<])", r"\\\1", text)


def _latex_prose(text: str) -> str:
    text = re.sub(r"[\\{}$&#^_%~]", _latex_escape, text)
    for symbol, tex in SYMBOLS.items():
        text = text.replace(symbol, rf"\ensuremath{{{tex.strip()}}}")
    return text.encode("ascii", "replace").decode()


def _latex_escape(match: re.Match[str]) -> str:
    named = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    return named.get(match[0], f"\\{match[0]}")
