"""The central difference that stands beside a gradient, and where it is no judge."""

from __future__ import annotations

import numpy as np

from tinyreg.core.penalties import Penalty
from tinyreg.explain.onepass import OnePass
from tinyreg.validate import Array


def beside(this: OnePass, k: int, gradient: Array, penalty: bool) -> list[str | float]:
    """A gradient, the central difference of L (or of F, with the penalty), and the gap."""
    g, theta = float(gradient[k]), this.net.params
    h = 1e-5 * max(1.0, abs(theta[k]))
    plus, minus = theta.copy(), theta.copy()
    plus[k] += h
    minus[k] -= h
    if _unit_switches(this, plus, minus) or (penalty and _at_corner(this, k, plus, minus)):
        return [g, "kink", "·"]
    above, below = this.problem.terms(plus), this.problem.terms(minus)
    change = above.total - below.total if penalty else above.data - below.data
    measured = change / (plus[k] - minus[k])
    return [g, measured, abs(g - measured)]


def _unit_switches(this: OnePass, plus: Array, minus: Array) -> bool:
    """Does a unit go on or off between two parameter vectors?"""
    if this.net.activation not in ("relu", "leaky_relu"):
        return False
    below, above = (this.net.trace(this.X, p).pre_activations[:-1] for p in (minus, plus))
    return any(np.any((a > 0) != (b > 0)) for a, b in zip(below, above, strict=True))


def _at_corner(this: OnePass, k: int, plus: Array, minus: Array) -> bool:
    """Does the penalty's slope jump between two parameter vectors that differ in θ_k?"""
    found = this.penalty_at(k)
    if found is None or found[1].smooth:
        return False
    block, R = found
    return _jumps(R, block.of(plus), k - block.span.start, minus[k])


def _jumps(R: Penalty, w: Array, i: int, low: float) -> bool:
    """Does the slope of R in w_i jump between `low` and w_i, with the other weights as they are?

    The interval is halved towards the greater change. After 40 times nothing is left of the change
    of a smooth slope, and of a jump all.
    """

    def slope(at: float) -> float:
        w.flat[i] = at
        return float(R.subgradient(w).flat[i])

    w, high = w.copy(), float(w.flat[i])
    at_high, at_low = slope(high), slope(low)
    whole = at_high - at_low
    for _ in range(40):
        middle = (low + high) / 2
        at_middle = slope(middle)
        if at_middle - at_low > at_high - at_middle:
            high, at_high = middle, at_middle
        else:
            low, at_low = middle, at_middle
    return at_high - at_low > 1e-6 * whole
