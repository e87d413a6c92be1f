"""SciPy's L-BFGS-B for penalties with l1 Σ|w|, by the split w = u − v with u, v ≥ 0.

Of all such u, v the smallest u + v is |w|. So

    min_w f(w) + l1 Σ|w|  =  min_{u, v ≥ 0} f(u − v) + l1 Σ(u + v),

where the right side is smooth, with bounds in place of the kink (Schmidt, Fung and Rosales 2007).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import optimize

from tinyreg.core.objective import Objective
from tinyreg.core.penalties import Penalty, l1_l2
from tinyreg.solvers.run import Point, Run
from tinyreg.validate import Array


def unsplittable(objective: Objective) -> list[Penalty]:
    """The penalties that it cannot take: neither smooth nor L1 nor ElasticNet."""
    return [R for _, R in objective.penalised if not R.smooth and l1_l2(R) is None]


def lbfgs(run: Run, max_iter: int) -> tuple[int, str]:
    """L-BFGS-B over (u, v): w = u − v where l1 > 0, else w = u."""
    start, n = run.start.theta, run.objective.net.n_params
    l1, l2 = np.zeros(n), np.zeros(n)  # of the penalties that f does not have
    for block, R in run.objective.penalised:
        if not R.smooth:
            l1[block.span], l2[block.span] = l1_l2(R) or (0.0, 0.0)
    kinked = np.flatnonzero(l1)
    weight = l1[kinked]

    def at(q: Array) -> Point:
        w = q[:n].copy()
        w[kinked] -= q[n:]
        return run.evaluate(w.astype(start.dtype, copy=False))

    last, done = (np.empty(0), run.start), False

    def value_and_gradient(q: Array) -> tuple[float, Array]:
        nonlocal last
        last = q.copy(), at(q)
        w, _, f, slope, _ = last[1]
        slope = slope + 2 * l2 * w
        value = f + np.sum(l2 * w * w) + weight @ (q[kinked] + q[n:])
        return float(value), np.concatenate([slope + l1, weight - slope[kinked]])

    def at_iterate(q: Array) -> None:
        nonlocal done
        # The line search may end on an earlier trial.
        done = run.record(last[1] if np.array_equal(q, last[0]) else at(q))
        if done:
            raise StopIteration

    lower = np.concatenate([np.where(l1 > 0, 0, -np.inf), np.zeros(len(kinked))])
    settings: dict[str, Any] = {
        "jac": True,
        "method": "L-BFGS-B",
        "bounds": optimize.Bounds(lower, np.inf),
        "callback": at_iterate,
        # The tolerances of its own are off: `record` decides.
        "options": {"maxfun": 10**9, "ftol": 0, "gtol": 0, "maxcor": 30},
    }
    nit, before = 0, np.inf
    # It stops at the first step that does not lower F. Without the memory of those before, from
    # where it is, it often finds another.
    while not done and nit < max_iter and run.best.value < before:
        before, w = run.best.value, run.best.theta.astype(np.float64)
        q0 = np.concatenate([np.where(l1 > 0, np.maximum(w, 0), w), np.maximum(-w[kinked], 0)])
        settings["options"]["maxiter"] = max_iter - nit
        found = optimize.minimize(value_and_gradient, q0, **settings)
        nit += found.nit
    if done or nit >= max_iter:
        return nit, ""
    return nit, f"L-BFGS-B stopped, and a new start lowers F no more: {found.message}"
