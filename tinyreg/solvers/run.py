"""What a solver sees: F and its gradients at a point, and the record that judges its iterates.

A solver is a function of a `Run` and the most iterations that it may take. It returns how many it
took and, if it gave up before, why.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np

from tinyreg.core.objective import Problem
from tinyreg.solvers.duality import Dual
from tinyreg.validate import Array


class Point(NamedTuple):
    """θ, and there F, its smooth part f = L + the smooth penalties, ∇f and ∇L."""

    theta: Array
    value: float
    smooth: float
    slope: Array
    data_gradient: Array

    @property
    def is_finite(self) -> bool:
        """Whether F and ∇f are."""
        return bool(np.isfinite(self.value) and np.isfinite(self.slope).all())


class Run:
    """F on its samples from the network's parameters on, and the iterates, the best one kept."""

    def __init__(self, problem: Problem, tol: float) -> None:
        self.problem, self.objective, self.tol = problem, problem.objective, tol
        self.rounding = 500 * float(np.finfo(self.objective.net.dtype).eps)
        self.dual = Dual.of(problem)
        self.largest_target = float(np.abs(problem.samples.targets).max())
        self.nfev, self.seconds, self.began = 0, 0.0, time.perf_counter()
        self.history: dict[str, list[float]] = {}
        self.start = self.best = self.evaluate(self.objective.net.params.copy())
        # A gap is a share of |F|, or of this if |F| is less: L at θ = 0 (or 1), but 1 at most.
        self.unit = min(problem.data_value(np.zeros_like(self.start.theta)) or 1.0, 1.0)

    def evaluate(self, theta: Array) -> Point:
        """F at θ, with all that a solver needs there."""
        self.nfev += 1
        L, data_gradient = self.problem.data_value_and_gradient(theta)
        slope = data_gradient.copy()
        self.objective.add_subgradient(slope, theta, smooth_only=True)
        smooth = L + self.objective.penalty_value(theta, smooth_only=True)
        value = L + self.objective.penalty_value(theta)
        return Point(theta, value, smooth, slope, data_gradient)

    def noise(self, a: Point, b: Point) -> float:
        """What f(b) − f(a) may be by rounding alone, with a large offset in y and so in z too."""
        f = max(abs(a.smooth), abs(b.smooth))
        return self.rounding * (f + self.largest_target * math.sqrt(f))

    def judge(self, x: Point) -> tuple[float, float | None, bool]:
        """The largest residual, the duality gap if there is one, and whether `tol` is met."""
        stationarity = float(self.objective.residual_of(x.data_gradient, x.theta).max())
        gap = None if self.dual is None else self.dual.gap(x.theta, x.value)
        share = (gap or 0) / max(self.unit, abs(x.value))
        return stationarity, gap, max(stationarity, share) <= self.tol

    def record(self, x: Point) -> bool:
        """Note an iterate, outside the clock; True if `tol` is met."""
        self.seconds += time.perf_counter() - self.began
        stationarity, gap, done = self.judge(x)
        entry = {"objective": x.value, "stationarity": stationarity, "seconds": self.seconds}
        for name, number in (entry if gap is None else entry | {"gap": gap}).items():
            self.history.setdefault(name, []).append(number)
        if done or x.value < self.best.value:
            self.best = x
        self.began = time.perf_counter()
        return done
