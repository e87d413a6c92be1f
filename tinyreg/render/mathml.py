"""Formulas, as they stand in docstrings, in MathML: browsers set it without any library."""

from __future__ import annotations

import re
from html import escape

TOKEN = re.compile(
    r"(?P<d>d)(?=[A-Za-z]\d|[zW]\b)"
    r"|(?P<base>[A-Za-z])(?P<index>\d+)"  # W1
    r"|(?P<of>[A-Za-z]+|[Σℓ])_(?P<letter>[a-z])"  # y_k, Σ_n, argmin_v
    r"|(?P<words>[A-Za-z]{2,}(?: (?!d[a-z]\d)[a-z]{2,})*)"
    r"|(?P<root>√\|[a-z]\|)"  # √|g|
    r"|(?P<name>[A-Za-zλησθℓφΦ∂])"
    r"|(?P<number>\d+(?:\.\d+)?|½)"
    r"|(?P<above>[²ᵀ']|⁻⁵)"
    r"|(?P<below>₊)"
    r"|(?P<space> +)"
    r"|(?P<sign>.)"
)
ABOVE = {"²": "<mn>2</mn>", "ᵀ": "<mo>\u22a4</mo>", "'": "<mo>′</mo>", "⁻⁵": "<mn>−5</mn>"}
SPACED = "=+−⊙·←<>/"  # signs that have a space of their own
THIN = '<mspace width="0.2em"/>'
SUM = '<mo lspace="0" rspace="0">Σ</mo>'


def mathml(formula: str) -> str:
    """The formula as a part of a sentence.

    >>> mathml("W1 = x²")
    '<math><msub><mi>W</mi><mn>1</mn></msub><mo>=</mo><msup><mi>x</mi><mn>2</mn></msup></math>'
    """
    row: list[str] = []
    before = ""
    for token in TOKEN.finditer(formula):
        text, after = token[0], formula[token.end() :]
        match token.lastgroup:
            case "d":
                row.append('<mi mathvariant="normal">d</mi>')
            case "index":
                row.append(f"<msub>{_name(token['base'])}<mn>{token['index']}</mn></msub>")
            case "letter":
                row.append(f"<msub>{_name(token['of'])}{_name(token['letter'])}</msub>")
            case "words" if " " in text or "where" in text:
                row.append(f"<mtext>{text}</mtext>")
            case "words" | "name":
                row.append(_name(text))
            case "number":
                row.append(f"<mn>{text}</mn>")
            case "root":
                bar = _sign("|", first=False)
                row.append(f"<msqrt>{bar}{_name(text[2])}{bar}</msqrt>")
            case "above" if row:
                row[-1] = f"<msup>{row[-1]}{ABOVE[text]}</msup>"
            case "below" if row:
                row[-1] = f"<msub>{row[-1]}<mo>+</mo></msub>"
            case "space":
                if before not in SPACED and after[:1] not in SPACED:
                    row.append(THIN)
            case _:
                row.append(_sign(text, first=before == "" or before in "(=,"))
        before = text if text.strip() else before
    return f"<math>{''.join(row)}</math>"


def _name(name: str) -> str:
    """A letter in italics; Σ; a word, such as exp, upright."""
    return SUM if name == "Σ" else f"<mi>{name}</mi>"


def _sign(sign: str, first: bool) -> str:
    """An operator or a bracket; a minus with nothing before it belongs to what follows."""
    if sign == "−" and first:
        return '<mo form="prefix">−</mo>'
    close = ' stretchy="false" lspace="0" rspace="0"' if sign in "()[]|‖/√" else ""
    return f"<mo{close}>{escape(sign)}</mo>"
