"""The proximal gradient method, plain (ISTA) and accelerated (FISTA), and the subgradient method.

**Backtracking.** t is right when f lies below its quadratic model at the point of arrival:
f(x₊) ≤ f(y) + ∇f(y)·d + ‖d‖²/(2t), d = x₊ − y. It is halved until that holds, and lengthened a
little after each step, so that it follows the curvature. (The O(1/k²) bound is proved for steps
that never grow. Scheinberg, Goldfarb and Bai (2014) keep it for growing ones by damping the
momentum; on the digits with 64 tanh units, 6000 iterations then end at a residual of 2e-4, without
it below 1e-6.)

**On networks** F is not convex and no bound is known. Two safeguards make FISTA a descent method
all the same: where the extrapolated step raises F it is taken back and the next one starts from x
itself, which is a plain proximal step; and momentum restarts when it points uphill (O'Donoghue and
Candès, Found. Comput. Math. 15, 2015).
"""

from __future__ import annotations

import math

import numpy as np

from tinyreg.core.network import MLP
from tinyreg.core.optimizers import Schedule, learning_rate
from tinyreg.solvers.run import Point, Run

LENGTHEN = 1.1  # the step after an accepted one
STALLED = 1e-8  # a step this much shorter than the first: the quadratic model has no scale here
CRAWLING, PATIENCE = 1e-4, 500  # so short, and F falling by so small a share, for so long: as well
TINY = 1e-14  # of the largest parameter: the shortest first move worth trying
AT_KINK = 1e-6  # of the largest pre-activation: one this near to 0 is on its kink


def subgradient(run: Run, max_iter: int, step: float | Schedule) -> tuple[int, str]:
    """x ← x − t_k s with s ∈ ∂F(x)."""
    x = run.start
    for k in range(max_iter):
        s = x.data_gradient.copy()
        run.objective.add_subgradient(s, x.theta)
        x = run.evaluate(x.theta - learning_rate(step, k) * s)
        if not x.is_finite:
            return k + 1, _diverged(x, k + 1)
        if run.record(x):
            return k + 1, ""
    return max_iter, ""


def proximal(
    run: Run, max_iter: int, step: float | Schedule | None, accelerated: bool
) -> tuple[int, str]:
    """x ← prox_{t r}(y − t∇f(y)), with y = x in ISTA, and in FISTA a y beyond x."""
    fixed, kinked = step is not None, has_kinks(run.objective.net)
    t = 1.0 if step is None else learning_rate(step, 0)
    x = y = run.start
    first_t, shortest = 0.0, 0.0  # a smooth f has a step that is right: halving ends, at any scale
    if kinked:
        shortest = TINY * float(np.abs(x.theta).max() / (np.abs(x.slope).max() or 1.0))
    ahead, pace, rises = False, 1.0, 0
    crawled, value_then = 0, x.value
    for k in range(1, max_iter + 1):
        tried = t
        while True:
            new = run.evaluate(run.objective.prox(y.theta - t * y.slope, t))
            if fixed or _below_model(run, y, new, t):
                break
            t /= 2
            if t <= shortest:
                return k, _why_stalled(run, x)
        if kinked and k == 1:
            first_t, shortest = t, STALLED * t
        crawled += 1
        if t >= CRAWLING * first_t:
            crawled, value_then = 1, x.value
        elif crawled > PATIENCE:
            if value_then - x.value < CRAWLING * abs(x.value):
                return k, _why_stalled(run, x)
            crawled, value_then = 0, x.value
        if not new.is_finite:
            return k, _diverged(new, k)

        d = new.theta - x.theta
        rough = (new.value - new.smooth) - (x.value - x.smooth)
        rise = _excess(run, x, new) + float(x.slope @ d) + rough  # F(new) − F(x)
        if ahead and rise > run.rounding * abs(x.value):
            y, ahead, pace = x, False, 1.0  # y was too far ahead: again from x
            continue
        rises += rise > run.noise(x, new)
        if run.record(new):
            return k, ""
        if t == tried and not fixed:
            t *= LENGTHEN
        uphill = float((y.theta - new.theta) @ d) > 0
        y, ahead = new, accelerated and not uphill
        if ahead:
            grown = (1 + math.sqrt(1 + 4 * pace**2)) / 2
            if pace > 1:
                y = run.evaluate(new.theta + (pace - 1) / grown * d)
            pace = grown
        else:
            pace = 1.0
        x = new
    too_long = f"max_iter={max_iter} reached, and F rose in {rises} steps: a smaller step"
    return max_iter, too_long if fixed and rises else ""


def _excess(run: Run, y: Point, new: Point) -> float:
    """f(x₊) − f(y) − ∇f(y)·d, d = x₊ − y.

    Where that may be rounding it is ½ d·(∇f(x₊) − ∇f(y)), equal to third order: no cancellation.
    """
    d = new.theta - y.theta
    excess = new.smooth - y.smooth - float(y.slope @ d)
    return excess if abs(excess) > run.noise(y, new) else 0.5 * float((new.slope - y.slope) @ d)


def _below_model(run: Run, y: Point, new: Point, t: float) -> bool:
    """Whether f(x₊) ≤ f(y) + ∇f(y)·d + ‖d‖²/(2t)."""
    d = new.theta - y.theta
    return bool(np.isfinite(new.smooth) and _excess(run, y, new) <= float(d @ d) / (2 * t))


def _diverged(x: Point, k: int) -> str:
    return f"the objective became {x.value} in iteration {k}: a smaller step"


def has_kinks(net: MLP) -> bool:
    """Whether the data loss is not differentiable everywhere."""
    return net.activation in ("relu", "leaky_relu") and len(net.sizes) > 2


def _why_stalled(run: Run, x: Point) -> str:
    """A line search without end: at a kink of the data loss, or for no reason that is known."""
    net = run.objective.net
    if has_kinks(net):
        hidden = net.trace(run.problem.samples.X, x.theta).pre_activations[:-1]
        nearest = min(float(np.abs(z).min()) for z in hidden)
        if nearest <= AT_KINK * max(float(np.abs(z).max()) for z in hidden):
            return (
                f"stalled at a kink of the data loss: the nearest pre-activation is {nearest:.1e} "
                f"from 0, where {net.activation} is not differentiable, and steps of useful size "
                "raise F"
            )
    return "the line search failed: steps of useful size raise F"
