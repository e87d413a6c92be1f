"""Formulas, as they stand in docstrings, in TeX."""

from __future__ import annotations

import re

from tinyreg.render.document import Equation, number

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
    if token["letter"]:
        d = r"\mathrm{d}" if token["d"] else ""
        return f"{d}{token['letter']}_{{{token['index']}}}"
    if token[0] == "d":
        return r"\mathrm{d}"
    if words := token["words"]:
        prose = " " in words or "where" in words
        return rf"\text{{ {words} }}" if prose else rf"\operatorname{{{words}}}"
    return SYMBOLS[token[0]]


def in_line(formula: str) -> str:
    """The formula as a part of a sentence."""
    return f"${tex(formula).strip()}$"


def tex_number(x: float) -> str:
    """Four digits, and a power of ten in place of e-17."""
    mantissa, _, exponent = number(x).partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa


def tex_equation(equation: Equation) -> str:
    """The formula, its shapes, and the numbers, with a new line for the result."""
    left, _, right = tex(equation.formula).partition("=")
    shapes = equation.shapes()
    first = [right.strip() + (r" \qquad " + tex(shapes) if shapes else "")] if right else []
    lines: list[list[str]] = [[]]
    for item in equation.numbers:
        if item == "=":
            lines.append([])
        elif isinstance(item, str):
            lines[-1].append(tex(item))
        elif not item.shape:
            lines[-1].append(tex_number(item.shown.item()))
        else:
            rows = item.grid(tex_number, r"\cdots", r"\vdots")
            inner = r" \\ ".join(" & ".join(row) for row in rows)
            lines[-1].append(rf"\begin{{pmatrix}} {inner} \end{{pmatrix}}")
    sides = " \\\\\n".join(f"&= {side}" for side in [*first, *(" ".join(line) for line in lines)])
    return f"\\begin{{aligned}}\n{left.strip()} {sides}\n\\end{{aligned}}"
