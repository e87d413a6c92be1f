"""The penalty: its value, its slope beside that of L, its prox."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.network import Block
from tinyreg.core.penalties import L1, L2, ElasticNet, Penalty
from tinyreg.explain.onepass import OnePass, Written, entries, has_kink, shown
from tinyreg.render.document import equation, number, plain
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.validate import Array

#: What a weight costs (of a group: its norm), the slope, the prox of u with step η.
FORMULAS: dict[type, tuple[str, str, str]] = {
    L1: ("λ|w|", "λ sign(w)", "u − clip(u, −ηλ, ηλ)"),
    L2: ("λw²", "2λw", "u/(1 + 2ηλ)"),
    ElasticNet: (
        "l1|w| + l2 w²",
        "l1 sign(w) + 2 l2 w",
        "(u − clip(u, −η l1, η l1))/(1 + 2η l2)",
    ),
    GroupLasso: ("‖w_g‖", "λ√|g| w/‖w_g‖", "u_g (1 − ηλ√|g|/‖u_g‖)₊"),
}
ANY_PROX = "argmin_v R(v) + ‖v − u‖²/2η"


def formulas(R: Penalty) -> tuple[str, str, str]:
    """By its type itself: a subclass may be another function.

    >>> formulas(L2(0.1))[1], formulas(GroupLasso(0.1, axis=1, l2=0.1))[1]
    ('2λw', '∂R(w)')
    """
    if isinstance(R, GroupLasso) and (R.l1 or R.l2):
        return "‖w_g‖", "∂R(w)", ANY_PROX
    return FORMULAS.get(type(R), ("R(w)", "∂R(w)", ANY_PROX))


def _within(R: Penalty, u: Array, lr: float) -> dict[str, ArrayLike]:
    """What the prox of u computes on its way, as columns."""
    match R:
        case _ if formulas(R)[2] == ANY_PROX:
            return {}
        case L1(lam):
            return {"threshold `ηλ`": lr * lam}
        case L2(lam):
            return {"divisor `1 + 2ηλ`": 1 + 2 * lr * lam}
        case ElasticNet(l1, l2):
            return {"threshold `η l1`": lr * l1, "divisor `1 + 2η l2`": 1 + 2 * lr * l2}
        case GroupLasso(lam, axis):
            norms = np.linalg.norm(u, axis=axis, keepdims=True)
            return {"threshold `ηλ√|g|`": lr * lam * u.shape[axis] ** 0.5, "`‖u_g‖`": norms}
    return {}


def penalty(this: OnePass, lr: float) -> list[Written]:
    """R and F in numbers, and then each penalty that R is made of."""
    parts = [
        (B, R)
        for B in this.blocks
        for stretch, R in this.problem.objective.penalised
        if stretch.span.start <= B.span.start < stretch.span.stop
    ]
    if not parts:
        return ["There is none: `R = 0` and `F = L`, and each step follows the gradient of L."]
    L, total = this.problem.terms()
    values = [R.value(B.of(this.net.params)) for B, R in parts]
    summed = [item for value in values for item in ("+", value)][1:]
    kinds = {B.name[0]: "weights" if B.name[0] == "W" else "biases" for B, _ in parts}
    pieces: list[Written] = [
        f"R is a function of the {' and of the '.join(kinds.values())}; its strength stands in R "
        "and nowhere else.",
        equation(f"R = {' + '.join(f'R({B.name})' for B, _ in parts)}", *summed, "=", total),
        equation("F = L + R", L, "+", total, "=", L + total),
    ]
    for told, R in {repr(R): R for _, R in parts}.items():
        pieces += _of_one_penalty(this, R, [B for B, other in parts if repr(other) == told], lr)
    return pieces


def _of_one_penalty(this: OnePass, R: Penalty, blocks: list[Block], lr: float) -> list[Written]:
    slopes, proxes = _tables(this, R, blocks, lr)
    kink = (
        "kink: between `w − h` and `w + h` the penalty (or a unit) has a corner, and a central "
        "difference is no judge. At 0 the library takes the slope 0."
    )
    prox = formulas(R)[2]
    aside = " Here clip(u, a, b) is u, limited to [a, b]." if "clip" in prox else ""
    if R.smooth:
        aside += " (Training needs no prox of a penalty that is smooth, and goes by its slope.)"
    return [
        f"{plain(R)}, of {', '.join(B.name for B in blocks)}.{_groups(R)} Its slope adds to that "
        "of L. Beside the sum `∂F/∂w` stands the central difference of F.",
        *slopes,
        *([kink] if has_kink(slopes) else []),
        "The prox trades a small R against staying near u: `prox(u)` is the v with the least "
        f"`R(v) + ‖v − u‖²/2η`. With η = {number(lr)}, first a step on L alone, "
        f"`u = w − η ∂L/∂w`, then `prox(u) = {prox}`.{aside}",
        *proxes,
    ]


def _groups(R: Penalty) -> str:
    if not isinstance(R, GroupLasso):
        return ""
    rest = " + l1 Σ|w| + l2 Σw²" if R.l1 or R.l2 else ""
    group = "row" if R.axis == 1 else "column"
    return f" `R(W) = λ Σ_g √|g| ‖w_g‖{rest}`, and a group g is a {group} of W."


def _tables(
    this: OnePass, R: Penalty, blocks: list[Block], lr: float
) -> tuple[list[Written], list[Written]]:
    """Each weight's slope of R, and ∂F/∂w beside its difference; then a step on L, and the prox."""
    slopes: list[list[str | float]] = []
    proxes: list[list[str | float]] = []
    whole = this.problem.gradient()
    for B in blocks:
        w, g = B.of(this.net.params), B.of(this.gradient)
        u, pull = w - lr * g, R.subgradient(w)
        within = _within(R, u, lr)
        columns = np.broadcast_arrays(w, g, u, *within.values(), R.prox(u, lr))
        for i, k in shown(B):
            name = f"`{this.name(k)}`"
            judged = this.beside(k, whole, R)
            slopes.append([name, w[i], _cost(R, w, i), pull[i], g[i], *judged])
            proxes.append([name, *(column[i] for column in columns)])
    value, slope, _ = formulas(R)
    headers = ["", "`w`", f"`{value}`", f"`{slope}`", "`∂L/∂w`", "`∂F/∂w`", "difference", "gap"]
    to_prox = ["", "`w`", "`∂L/∂w`", "`u`", *within, "`prox(u)`"]
    return entries(headers, slopes, blocks), entries(to_prox, proxes, blocks)


def _cost(R: Penalty, w: Array, i: tuple[int, ...]) -> str | float:
    """What one weight costs; the norm of its group, where groups are what costs."""
    if isinstance(R, GroupLasso):
        return float(np.linalg.norm(w[i[0]] if R.axis == 1 else w[:, i[1]]))
    return R.value(w[i].reshape(1)) if getattr(R, "elementwise", True) else "·"
