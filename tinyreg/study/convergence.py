"""How fast, and how far: the full-batch solvers on one problem, from one start.

On a convex problem (no hidden layer) the theory promises, for the distance F − F* after k steps,

    subgradient, step ∝ 1/√k    O(1/√k)
    ISTA                        O(1/k)
    FISTA                       O(1/k²)

(Beck and Teboulle 2009; Nesterov, Introductory Lectures on Convex Optimization, section 3.2). A
subgradient method with a constant step goes on stepping to and fro at a distance that the step
sets. On networks nothing is promised, and each solver may find a stationary point of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import Schedule
from tinyreg.render.document import Document, Table
from tinyreg.render.text import to_text
from tinyreg.solvers.duality import is_convex
from tinyreg.solvers.lbfgs import unsplittable
from tinyreg.solvers.minimize import minimize
from tinyreg.solvers.schedules import inverse_sqrt
from tinyreg.sparsity.measures import zero_share
from tinyreg.study.runs import decimals
from tinyreg.validate import Data, Maybe, check_integer

POWER_STEPS = 20
TOLERANCE = 1e-9  # beyond what the picture can show
DIVERGED = 1e3  # times F at the start
RATES = {"subgradient, 1/√k": 0.5, "ista": 1.0, "fista": 2.0}  # the power of 1/k if F is convex


@dataclass(frozen=True)
class Curve:
    """One solver's iterates: entry 0 of each list is the start, entry k is after the k-th step.

    `seconds` is the solver's own time, without the measurements. `residual` (the stationarity),
    `exact_zeros` and `gap` are of the point returned, the best one.
    """

    solver: str
    objective: list[float]
    stationarity: list[float]
    seconds: list[float]
    residual: float
    exact_zeros: float
    gap: float | None
    message: str

    @property
    def diverged(self) -> bool:
        """Whether F became infinite, or ended far above its start."""
        rose = self.objective[-1] > DIVERGED * max(1, abs(self.objective[0]))
        return rose or "the objective became" in self.message


@dataclass(frozen=True)
class Convergence:
    """What `converge` returns: whether the rates of the theory apply, and a curve for each solver.

    `step` is 1/L, the subgradient method's constant step, with L the largest curvature at the
    start; the decaying one is 10/(L√k). `best` is F_best, the lowest objective of all curves.
    """

    convex: bool
    step: float
    curves: list[Curve]
    best: float

    @property
    def bound(self) -> float | None:
        """What F cannot fall below, where a duality gap proves one."""
        ends = [min(c.objective) - c.gap for c in self.curves if c.gap is not None]
        return max(ends, default=None)

    def __str__(self) -> str:
        return to_text(self.document())

    def document(self) -> Document:
        """A table of the solvers, and how far from optimal the best of them is at most."""
        headers = ["full batch", "steps", "F − F_best", "stationarity", "weights 0", "seconds"]
        rows = []
        for curve in self.curves:
            above, zeros = min(curve.objective) - self.best, 100 * curve.exact_zeros
            end = [f"{above:.1e}", f"{curve.residual:.1e}", f"{zeros:.1f} %"]
            end = ["diverged", "-", "-"] if curve.diverged else end
            steps, seconds = str(len(curve.objective) - 1), f"{curve.seconds[-1]:.2f}"
            rows.append([curve.solver, steps, *end, seconds])
        kind = "no end is known to be optimal"
        if gaps := [curve.gap for curve in self.curves if curve.gap is not None]:
            # Each gap is measured from its own end, and F_best is no higher than that.
            kind = f"at most {min(gaps):.1e} above the optimum, by the smallest duality gap"
        note = f"F_best = {decimals(self.best, '.6f')}, {kind}"
        return Document("", [Table(headers, rows, rule=True, notes=[note])])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Convergence:
        """What `to_dict` made numbers of."""
        return cls(**{**content, "curves": [Curve(**curve) for curve in content["curves"]]})


def converge(
    objective: Objective,
    X: Data,
    y: ArrayLike,
    iterations: int = 200,
    progress: Callable[[str], None] = lambda text: None,
    sample_weight: Maybe = None,
) -> Convergence:
    """Run every full-batch solver from the network's parameters; the network is left alone.

    Parameters
    ----------
    objective : Objective
    X, y : arrays
    iterations : int, the steps of each at most
    progress : function of a line of text, optional
    sample_weight : (N,) array, optional

    Returns
    -------
    Convergence, without "lbfgs" where it cannot take the penalty

    Examples
    --------
    >>> from tinyreg import L1, MLP, SquaredError
    >>> X = np.vander([-1.0, -0.5, 0.5, 1.0], 3)[:, :2]  # x², x
    >>> F = Objective(MLP((2, 1)), SquaredError(), L1(0.01))
    >>> result = converge(F, X, [1.0, 0.2, 0.3, 1.0], iterations=60)
    >>> for curve in result.curves:
    ...     print(f"{curve.solver:<21}", min(curve.objective) - result.best < 1e-9)
    subgradient, constant False
    subgradient, 1/√k     False
    ista                  True
    fista                 True
    lbfgs                 True
    """
    check_integer("iterations", iterations, least=1)
    step = 1 / largest_curvature(objective, X, y, sample_weight)
    steps: dict[str, float | Schedule | None] = {
        "subgradient, constant": step,
        "subgradient, 1/√k": inverse_sqrt(10 * step),
        "ista": None,
        "fista": None,
    }
    if not unsplittable(objective):
        steps["lbfgs"] = None
    curves = []
    for name, t in steps.items():
        progress(f"full batch: {name}")
        F, solver = objective, name.partition(",")[0]
        own = Objective(F.net.copy(), F.loss, F.penalty, F.bias_penalty)
        end = minimize(
            own, X, y, solver, tol=TOLERANCE, max_iter=iterations, step=t,
            sample_weight=sample_weight,
        )  # fmt: skip
        past = end.history
        curve = Curve(
            name, past["objective"], past["stationarity"], past["seconds"],
            end.stationarity, zero_share(own.net), end.gap, end.message,
        )  # fmt: skip
        curves.append(curve)
    best = min(min(curve.objective) for curve in curves)
    return Convergence(is_convex(objective), step, curves, best)


def largest_curvature(
    objective: Objective, X: Data, y: ArrayLike, sample_weight: Maybe = None
) -> float:
    """The size of the largest eigenvalue of ∇²F at the network's parameters, by power iteration.

    v ← Hv/‖Hv‖ turns towards the eigenvector whose eigenvalue is largest in size, and ‖Hv‖
    towards that size; H enters through products alone.

    >>> from tinyreg import MLP, SquaredError
    >>> F = Objective(MLP((2, 1)), SquaredError())
    >>> X = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(largest_curvature(F, X, np.zeros(4)), 4)  # XᵀX/4 = diag(2, ½)
    2.0
    """
    problem = objective.on(X, y, sample_weight)
    v = np.random.default_rng(0).normal(size=objective.net.n_params)
    size = 1.0
    for _ in range(POWER_STEPS):
        v = problem.hessian_vector(v / np.linalg.norm(v))
        size = float(np.linalg.norm(v))
        if size == 0:
            return 1.0
    return size
