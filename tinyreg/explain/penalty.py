"""The penalty: its value, its slope beside that of L, its prox."""

from __future__ import annotations

import numpy as np

from tinyreg.core.network import Block
from tinyreg.core.penalties import Penalty
from tinyreg.explain.difference import beside
from tinyreg.explain.formulas import penalty_formulas
from tinyreg.explain.onepass import OnePass, Written, shown, with_count
from tinyreg.render.document import Table, equation, number, plain
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.validate import Array


def penalty(this: OnePass, lr: float) -> list[Written]:
    """R and F in numbers, and then each penalty that R is made of."""
    parts = [(B, found[1]) for B in this.blocks if (found := this.penalty_at(B.span.start))]
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
    slopes = _slopes(this, R, blocks)
    pieces: list[Written] = [
        f"{plain(R)}, of {', '.join(B.name for B in blocks)}.{_groups(R)} Its slope adds to that "
        "of L. Beside the sum `∂F/∂w` stands the central difference of F.",
        *with_count(slopes, blocks),
    ]
    if any("kink" in row for row in slopes.rows):
        pieces.append(
            "kink: between `w − h` and `w + h` the penalty (or a unit) has a corner, and a central "
            "difference is no judge. At 0 the library takes the slope 0."
        )
    prox = penalty_formulas(R).prox
    aside = " Here clip(u, a, b) is u, limited to [a, b]." if "clip" in prox else ""
    if R.smooth:
        aside += " (Training needs no prox of a penalty that is smooth, and goes by its slope.)"
    return [
        *pieces,
        "The prox trades a small R against staying near u: `prox(u)` is the v with the least "
        f"`R(v) + ‖v − u‖²/2η`. With η = {number(lr)}, first a step on L alone, "
        f"`u = w − η ∂L/∂w`, then `prox(u) = {prox}`.{aside}",
        *with_count(_proxes(this, R, blocks, lr), blocks),
    ]


def _slopes(this: OnePass, R: Penalty, blocks: list[Block]) -> Table:
    """Each weight's slope of R, and ∂F/∂w beside its central difference."""
    whole, rows = this.problem.gradient(), []
    for B in blocks:
        w, g = B.of(this.net.params), B.of(this.gradient)
        pull = R.subgradient(w)
        for name, i, k in shown(B):
            judged = beside(this, k, whole, penalty=True)
            rows.append([f"`{name}`", w[i], _cost(R, w, i), pull[i], g[i], *judged])
    value, slope = penalty_formulas(R)[:2]
    headers = ["", "`w`", f"`{value}`", f"`{slope}`", "`∂L/∂w`", "`∂F/∂w`", "difference", "gap"]
    return Table(headers, rows, rule=True)


def _proxes(this: OnePass, R: Penalty, blocks: list[Block], lr: float) -> Table:
    """Each weight after a step on L alone, and after the prox."""
    headers, rows = [], []
    for B in blocks:
        w, g = B.of(this.net.params), B.of(this.gradient)
        u = w - lr * g
        after, between = R.prox(u, lr), penalty_formulas(R).within(R, u, lr)
        headers = ["", "`w`", "`∂L/∂w`", "`u`", *between, "`prox(u)`"]
        columns = [w, g, u, *between.values(), after]
        for name, i, _ in shown(B):
            rows.append([f"`{name}`", *(np.broadcast_to(c, w.shape)[i] for c in columns)])
    return Table(headers, rows, rule=True)


def _cost(R: Penalty, w: Array, i: tuple[int, ...]) -> str | float:
    """What one weight costs; the norm of its group, where groups are what costs."""
    if isinstance(R, GroupLasso):
        return float(np.linalg.norm(w[i[0]] if R.axis == 1 else w[:, i[1]]))
    return R.value(w[i].reshape(1)) if getattr(R, "elementwise", True) else "·"


def _groups(R: Penalty) -> str:
    if not isinstance(R, GroupLasso):
        return ""
    rest = " + l1 Σ|w| + l2 Σw²" if R.l1 or R.l2 else ""
    group = "row" if R.axis == 1 else "column"
    return f" `R(W) = λ Σ_g √|g| ‖w_g‖{rest}`, and a group g is a {group} of W."
