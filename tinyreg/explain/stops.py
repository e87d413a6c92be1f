"""What is seen at each stop of the sliders of λ and η: the prox, and a few steps by each method.

Everything is computed here, at each stop, by the penalties and by SGD; the page only picks.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.network import Block
from tinyreg.core.objective import Problem
from tinyreg.core.penalties import Penalty, l1_l2
from tinyreg.errors import DivergenceError
from tinyreg.explain.onepass import OnePass
from tinyreg.explain.penalty import FORMULAS
from tinyreg.explain.steps import most_telling, path_by
from tinyreg.render.document import WHOLE, number
from tinyreg.validate import Array

FACTORS = [2.0**k for k in range(-3, 4)]  # powers of two: a product with one is exact
LARGE = 100_000  # numbers (parameters × samples); beyond it there are fewer stops
FEW = 6  # weights that are shown where there are more than WHOLE
STEPS = 12  # at most that are shown
SEEN = 25  # times the threshold: how far the curve goes at most
BEYOND = 1e9  # a walk that goes there is said to diverge, and is not shown


class Stops(NamedTuple):
    """The stops of λ and η in words, methods and weights by name, and a stop as `at[λ][η]`.

    A stop has u and prox(u) of each weight, the curve of the prox as points (if it has one), the
    walks by method and weight (None for one that diverges), and a sentence.
    """

    lam: list[str]
    eta: list[str]
    methods: list[str]
    weights: list[str]
    steps: int
    at: list[list[dict[str, Any]]]

    @property
    def own(self) -> dict[str, Any]:
        """The explanation's own λ and η are in the middle."""
        return self.at[len(self.lam) // 2][len(self.eta) // 2]


def stops(this: OnePass, lr: float, n: int) -> Stops:
    """Of a network with a penalty."""
    n, penalised = min(n, STEPS), this.problem.objective.penalised
    among = np.r_[tuple(B.span for B, _ in penalised)]
    by_prox = path_by(this.problem, lr, n, "proximal")
    chosen = among.tolist() if len(among) <= WHOLE else most_telling(by_prox, among, FEW)
    factors = FACTORS if this.net.n_params * len(this.X) <= LARGE else FACTORS[1::2]
    scalable = all(type(R) in FORMULAS for _, R in penalised)
    lams = {k: [(B, _times(R, k)) for B, R in penalised] for k in (factors if scalable else [1.0])}
    u = this.net.params[chosen] - lr * this.gradient[chosen]
    frame = _frame(u, penalised[0][1], lr)
    methods = {"by subgradient": "subgradient", "by prox": "proximal"}
    if all(R.smooth for _, R in penalised):
        methods = {"by gradient": "subgradient"}
    return Stops(
        [_strength([R for _, R in parts], k) for k, parts in lams.items()],
        [f"η = {number(lr * k)}" for k in factors],
        list(methods),
        [this.name(k) for k in chosen],
        n,
        [
            [_stop(this, parts, lr * k, n, methods, chosen, frame) for k in factors]
            for parts in lams.values()
        ],
    )


def _times(R: Penalty, k: float) -> Penalty:
    """k R: each λ in it times k."""
    kind: Any = type(R)
    return R if k == 1 else kind(**{s: x if s == "axis" else k * x for s, x in vars(R).items()})


def _strength(penalties: list[Penalty], k: float) -> str:
    if len({repr(R) for R in penalties}) > 1 or type(penalties[0]) not in FORMULAS:
        return f"each penalty times {number(k)}"
    parts = {s: x for s, x in vars(penalties[0]).items() if s != "axis" and (x or s == "lam")}
    return ", ".join(f"{'λ' if s == 'lam' else s} = {number(x)}" for s, x in parts.items())


def _stop(
    this: OnePass,
    penalised: list[tuple[Block, Penalty]],
    lr: float,
    n: int,
    methods: dict[str, str],
    chosen: list[int],
    frame: float,
) -> dict[str, Any]:
    u = this.net.params - lr * this.gradient
    after = u.copy()
    for B, R in penalised:
        B.of(after)[...] = R.prox(B.of(u), lr)
    curve = _curve([R for _, R in penalised], lr, frame)
    walks, zeros = [], []
    for name, method in methods.items():
        path = _walk(this, penalised, lr, n, method)
        walks.append(None if path is None else _rounded(path[:, chosen].T))
        n_zeros = 0 if path is None else sum(int(np.sum(B.of(path[-1]) == 0)) for B, _ in penalised)
        zeros.append(f"{name} {'it diverges' if path is None else n_zeros or 'none'}")
    all_weights = sum(B.span.stop - B.span.start for B, _ in penalised)
    told = f"Of {all_weights} weights, exactly 0 after {n} steps: {', '.join(zeros)}."
    if curve.size and curve[2, 0]:
        told = f"The threshold is {number(curve[2, 0])}. {told}"
    stop = {"u": u[chosen], "prox": after[chosen], "curve": curve}
    return {k: _rounded(x) for k, x in stop.items()} | {"walks": walks, "told": told}


def _walk(
    this: OnePass, penalised: list[tuple[Block, Penalty]], lr: float, n: int, method: str
) -> Array | None:
    objective = copy.copy(this.problem.objective)
    objective.net, objective.penalised = this.net.copy(), penalised
    try:
        path = path_by(Problem(objective, this.problem.samples), lr, n, method)
    except DivergenceError:
        return None
    return path if np.abs(path).max() < BEYOND else None


def _curve(penalties: list[Penalty], lr: float, frame: float) -> Array:
    """Points of the prox of one number; none where it is not the same for all, or of groups."""
    parts = l1_l2(penalties[0])
    if parts is None or len({repr(R) for R in penalties}) > 1:
        return np.empty((0, 2))
    threshold = lr * parts[0]
    end = max(frame, 1.15 * threshold)
    x = np.array([-end, -threshold, threshold, end])
    return np.stack([x, penalties[0].prox(x, lr)], axis=1)


def _frame(u: Array, R: Penalty, lr: float) -> float:
    """Where the curve ends: beyond the weights, but for those from which no threshold is seen."""
    threshold = lr * (l1_l2(R) or (0.0, 0.0))[0]
    near = np.abs(u)[np.abs(u) <= (SEEN * threshold or np.inf)]
    return 1.15 * float(near.max(initial=threshold)) or 1.0


def _rounded(numbers: ArrayLike) -> Any:
    """Lists of numbers with six significant digits."""
    flat = [float(f"{x + 0.0:.6g}") for x in np.ravel(numbers).tolist()]
    return np.reshape(flat, np.shape(numbers)).tolist()
