"""Where each number of an equation comes from: the sum that made it, written out with its numbers.

What is written is added up again, and offered only if it gives the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from tinyreg.render.document import Equation, leading, number
from tinyreg.validate import Array

TERMS = 3  # that are written of a sum of more than twice as many


class Place(NamedTuple):
    """An array of two dimensions, and where it stands."""

    where: str
    numbers: Array


class Part(NamedTuple):
    """Entries that a number was made of: a row, a column or one entry of an array."""

    where: str
    row: int | None = None  # None for all of them
    column: int | None = None


class Origin(NamedTuple):
    """A number by row, column and name; the sum that made it, and what that was made of."""

    row: int
    column: int
    name: str
    told: str
    parts: Sequence[Part]


#: The terms as they are written, the numbers that add up, and what they were made of.
Sum: TypeAlias = tuple[list[str], list[float], list[Part]]


def origins(equation: Equation, here: list[Place], known: Mapping[str, Place]) -> Iterator[Origin]:
    """For the numbers that are shown of the result, where they come from.

    `here` are the equation's own arrays, the result last; `known` are earlier results by name.

    >>> from tinyreg.render.document import equation
    >>> x, dz = np.array([[1.0], [2.0]]), np.array([[0.375, -1]])
    >>> here = [Place("A", x), Place("B", dz), Place("C", x @ dz)]
    >>> origin = list(origins(equation("dW = xᵀ dz", x, dz, "=", x @ dz), here, {}))[2]
    >>> origin.name, origin.told, origin.parts[0]
    ('dW[1,0]', '2 · 0.375 = 0.75', Part(where='A', row=1, column=None))
    """
    result, name = equation.numbers[-1], equation.formula.partition(" = ")[0]
    if isinstance(result, str):
        return
    for i, j in np.ndindex(leading(here[-1].numbers).shape):
        said, terms, parts = _made(equation, here, known, i, j)
        value = float(here[-1].numbers[i, j])
        if said and abs(sum(terms) - value) <= 1e-9 * sum(map(abs, terms)) < np.inf:
            index = ("", f"[{j}]", f"[{i},{j}]")[result.ndim]
            yield Origin(i, j, name + index, f"{_added(said)} = {number(value)}", parts)


def _made(equation: Equation, here: list[Place], known: Mapping[str, Place], i: int, j: int) -> Sum:
    """What gives the number in row i and column j; nothing for an equation of another kind."""
    signs = "".join(item if isinstance(item, str) else "#" for item in equation.numbers)
    if signs in ("##=#", "##+#=#"):  # a product of matrices, and perhaps a bias
        A, B, *rest = here
        pairs = list(zip(A.numbers[i].tolist(), B.numbers[:, j].tolist(), strict=True))
        said = [f"{_signed(a)} · {_signed(b)}" for a, b in pairs]
        terms, parts = [a * b for a, b in pairs], [Part(A.where, row=i), Part(B.where, column=j)]
        if "+" in signs:
            bias = rest[0].numbers[0, j]
            said, terms = [*said, _signed(bias)], [*terms, bias]
            parts.append(Part(rest[0].where, 0, j))
        return said, terms, parts
    if signs == "#":
        return _from_earlier(equation.formula, known, i, j)
    a, b, *_ = (place.numbers[i, j] for place in here)
    parts = [Part(place.where, i, j) for place in here[:-1]]
    if signs == "f#=#":
        return [f"f({number(a)})"], [b], parts
    if signs == "#⊙#=#":
        return [f"{_signed(a)} · {_signed(b)}"], [a * b], parts
    if quotient := re.fullmatch(r"\(#−#\)/(#|\d+)=#", signs):
        over = here[2].numbers[i, j] if quotient[1] == "#" else float(quotient[1])
        return [f"({number(a)} − {_signed(b)})/{number(over)}"], [a / over, -b / over], parts
    return [], [], []


def _from_earlier(formula: str, known: Mapping[str, Place], i: int, j: int) -> Sum:
    """Of a result that stands alone: its formula names the array that it was made of."""
    if formula.startswith("ℓ = ") and {"p", "y"} <= known.keys():
        return _cost(formula, known["p"], known["y"], j)
    kind = re.search(r"(column sums of |softmax\(|σ\(|Σ_n |= )(\w+?)(_n/N|\)|)$", formula)
    if kind is None or kind[2] not in known:
        return [], [], []
    name, (where, z) = kind[2], known[kind[2]]
    row, column = z[i].tolist(), z[:, j].tolist()
    match kind[1]:
        case "column sums of ":
            said = [*map(_signed, column)] if len(column) > 1 else [f"{name}[0,{j}]"]
            return said, column, [Part(where, column=j)]
        case "softmax(":
            powers = [f"exp({number(x)})" for x in row]
            share = np.exp(z[i, j] - z[i].max()) / np.exp(z[i] - z[i].max()).sum()
            return [f"{powers[j]}/({_added(powers)})"], [share], [Part(where, row=i)]
        case "σ(":
            share = np.exp(-np.logaddexp(0, -row[j]))
            return [f"1/(1 + exp({number(-row[j])}))"], [share], [Part(where, i, j)]
        case "Σ_n ":
            n = len(row)
            return [f"{number(x)}/{n}" for x in row], [x / n for x in row], [Part(where)]
    return [f"{name}[{i},{j}]"], [row[j]], [Part(where, i, j)]


def _cost(formula: str, p: Place, y: Place, n: int) -> Sum:
    """Of sample n, what each output adds to its loss."""
    pairs = list(zip(p.numbers[n].tolist(), y.numbers[n].tolist(), strict=True))
    parts = [Part(p.where, row=n), Part(y.where, row=n)]
    if "½" in formula:
        said = [f"½ · ({number(a)} − {_signed(b)})²" for a, b in pairs]
        return said, [(a - b) * (a - b) / 2 for a, b in pairs], parts
    logs = [(b, a, number(a)) for a, b in pairs]
    if "(1 − y_k)" in formula:
        logs += [(1 - b, 1 - a, f"1 − {number(a)}") for a, b in pairs]
    logs = [log for log in logs if log[0]]
    if any(a == 0 for _, a, _ in logs):  # p is rounded; ℓ, which comes of z, is not infinite
        return [], [], []
    said = [f"(-{f'{number(b)} · ' * (b != 1)}log({told}))" for b, _, told in logs]
    return said, [float(-b * np.log(a)) for b, a, _ in logs], parts


def _added(terms: Sequence[str]) -> str:
    """The terms as a sum; of a long one the first few."""
    if len(terms) > 2 * TERMS:
        terms = [*terms[:TERMS], f"… ({len(terms)} terms)"]
    return " + ".join(terms)


def _signed(x: float) -> str:
    """A number as a factor or a term."""
    return f"({number(x)})" if x < 0 else number(x)
