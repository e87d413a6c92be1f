"""Does a gradient belong to a kink? Membership as Clarke defines it, by slopes at points near by.

Clarke's generalised gradient ∂F(x) is the convex hull of the limits of ∇F(y) as y → x over points
where F has a derivative (Clarke 1983, section 2.5). A vector g belongs to it just if for every
direction v

    min_y ∇F(y)·v  ≤  g·v  ≤  max_y ∇F(y)·v.

So this is asked for a few v: along the axes of the kinks, along all-ones, and along random signs.
Axes alone are not enough: of max(x₁, x₂, x₃) at a tie each coordinate of (1, 1, 1) lies in
[0, 1], but along all-ones every ∇F(y) gives 1, and g gives 3.

A layer is asked output by output. max(xW, 0) with two outputs at 0 has slopes in [0, W_1] and in
[0, W_2]. The 0 that every framework takes lies in both, and yet need not lie among the slopes of
their sum (it is a conservative gradient: Bolte and Pauwels, Math. Programming 188, 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyreg.checks.differences import Differences, attempt, quiet
from tinyreg.checks.judge import MISMATCH, Part, judge
from tinyreg.checks.steps import EPS
from tinyreg.validate import Array

WAYS = 3  # random directions
POINTS, MORE = 12, 240  # points near x, and further ones before a gradient is refused
UNREAD = "there is a kink here, and no slope near by can be read"
Outputs = Callable[[Array], Array]  # x ↦ (m,)


class Slopes:
    """The slopes of m outputs along v at points near x that differ from it in the kinked places."""

    def __init__(
        self, f: Outputs, x: Array, kinks: Array, rng: np.random.Generator, precision: float
    ) -> None:
        self.f, self.x, self.kinks, self.rng = f, x, kinks, rng
        self.radius = max(precision, EPS) ** 0.25 * max(np.abs(x.flat[kinks]).max(), 1.0)
        self.noise = 4 * max(precision, EPS) * np.abs(f(x))

    def _at(self, move: Array) -> Any:
        point = self.x.copy()
        point.flat[self.kinks] += move
        return attempt(self.f, point)

    def _slope(self, way: Array, v: Array, radius: float) -> Array:
        h = radius / 64
        up, down = (self._at(radius * way + t * v) for t in (h, -h))
        return np.asarray((up - down) / (2 * h))

    def near(self, way: Array, v: Array) -> tuple[Array, Array]:
        """The slope along v at a generic point that way, (m,), and how far it may be off.

        The slopes at a radius and at an eighth of it tell what curvature adds. Where they differ,
        for another kink or for sharp curvature, the point moves closer to x; NaN where none tells.
        """
        slope, error = np.full(self.noise.shape, np.nan), np.zeros(self.noise.shape)
        for radius in self.radius / 2.0 ** np.array([0, 9, 18]):
            far, near = (self._slope(way, v, r) for r in (radius, radius / 8))
            slack, rounding = np.abs(far - near), 64 * 8 * self.noise / radius
            largest = np.maximum(np.abs(near), np.abs(far).max(initial=0.0))
            fits = np.isnan(slope) & (slack <= 1e-2 * largest + rounding)
            slope = np.where(fits, near + (near - far) / 7, slope)
            error = np.where(fits, slack / 32 + rounding, error)
            if not np.isnan(slope).any():
                break
        return slope, error

    def range(self, v: Array, towards: list[Array], count: int) -> tuple[Array, Array]:
        """The least and the largest slope along v, (m,), over points `towards` and random ones."""
        low, high = np.array([np.inf]), np.array([-np.inf])
        ways = [way + off * self.random(len(v)) for way in towards for off in (0.3, 0.01)]
        for way in [*ways, *(self.random(len(v)) for _ in range(count))]:
            slope, slack = self.near(way, v)
            low, high = np.fmin(low, slope - slack), np.fmax(high, slope + slack)
        return low, high

    def reach(self, gradient: Array) -> bool:
        """Is it the gradient at one of the points near by, of a function of one output?"""
        n = len(self.kinks)
        ramp = np.arange(n) / n
        for way in [ramp, -ramp, *(self.random(n) for _ in range(2 * POINTS))]:
            for e, wanted in zip(np.eye(n), gradient, strict=True):
                slope, slack = self.near(way, e)
                if not abs(slope.item() - wanted) <= slack.item() + 1e-5 * abs(wanted):
                    break
            else:
                return True
        return False

    def random(self, n: int) -> Array:
        """One way from x."""
        return self.rng.uniform(-1, 1, n)


def belongs(
    slopes: Slopes, gradients: Array, jumps: Array, inside: Array, rtol: float
) -> tuple[Array, str]:
    """Which of the kinked coordinates belong, and why the others do not.

    gradients : (m, kinks), of each output in the kinked coordinates
    jumps : D⁺ − D⁻ at the kinks, whose signs tell where a sum of kinks is steepest
    inside : where the axis itself need not be asked again

    >>> x, rng = np.ones(3), np.random.default_rng(0)
    >>> slopes = Slopes(lambda x: np.array([x.max()]), x, np.arange(3), rng, EPS)
    >>> for g in np.array([[1.0, 0, 0], [1, 1, 1]]):
    ...     belongs(slopes, g[np.newaxis], np.ones(3), np.ones(3, bool), 1e-6)
    (array([ True,  True,  True]), '')
    (array([False, False, False]), 'along all-ones its slope is 3, and those near by 1 to 1')
    """
    n = len(jumps)
    bent = np.where(jumps < 0, -1.0, 1.0)

    def refused(v: Array, share: float = 0.0) -> str:
        """Beside which slopes g·v does not lie, by more than a share of their range; or ""."""
        along = gradients @ v
        slack = rtol * (np.abs(gradients) @ np.abs(v))
        towards = [v, -v, v * bent, -v * bent, np.arange(n) / n, -np.arange(n) / n]
        low, high = slopes.range(v, towards, POINTS)
        if not (low <= high).all():
            return UNREAD
        for _ in range(4):
            off = np.maximum(low - along, along - high) - slack - share * (high - low)
            if not (off > 0).any():
                return ""
            more = slopes.range(v, [], MORE // 4)
            low, high = np.minimum(low, more[0]), np.maximum(high, more[1])
        k = int(np.argmax(off))
        which = f" of output {k}" if len(gradients) > 1 else ""
        near = f"those near by {low[k]:.6g} to {high[k]:.6g}"
        return f"its slope{which} is {along[k]:.6g}, and {near}"

    axes = ["" if known else refused(e) for e, known in zip(np.eye(n), inside, strict=True)]
    alone = np.array([not told for told in axes])
    if UNREAD in axes:
        return alone, UNREAD
    if not alone.all():
        return alone, next(f"along its own axis {told}" for told in axes if told)
    ways = [("all-ones", np.ones(n))]
    ways += [("random signs", slopes.rng.choice([-1.0, 1.0], n)) for _ in range(WAYS)]
    for name, v in ways if n > 1 else []:
        # The points are near the steepest ones only: those of a norm are attained at one point.
        if told := refused(v, 1e-3):
            return np.zeros(n, bool), UNREAD if told == UNREAD else f"along {name} {told}"
    return alone, ""


@quiet()
def settle(
    part: Part,
    value: Callable[[Array], Any],
    x: Array,
    rng: np.random.Generator,
    rtol: float,
    precision: float = EPS,
    outputs: Outputs | None = None,
    gradients: Callable[[], Array] | None = None,
) -> Part:
    """The part with `clarke` and `refused` filled in.

    value : the function that was measured
    outputs, gradients : of a layer, x ↦ (m,), of which value is a sum; () ↦ (m, x.size), of each
    Where the gradient is the slope of the branch that the forward pass takes, nothing is asked.
    """
    given, measured = part.given, part.measured
    plain = judge(part, rtol, precision=precision)
    with np.errstate(invalid="ignore"):
        size = rtol * np.maximum(np.abs(given), np.abs(measured.value))
        branch = np.abs(given - measured.value) <= size + measured.error
    asked = measured.kink & ~branch & np.isfinite(given)
    f = outputs or (lambda p: np.array([value(p)]))
    wrong = (plain.verdict == MISMATCH) & ~measured.kink
    if not asked.any() and wrong.any() and gradients is None:
        # Along no line is a median of three equal numbers bent, and yet its slopes do not add up.
        v = ~measured.kink * rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)
        line, parts = Differences(value, x, rng, precision).along(v), measured.value * v
        bent = line.kink or abs(line.value - parts.sum()) > 1e-3 * np.abs(parts).sum() + line.error
        if bent and Slopes(f, x, np.arange(x.size), rng, precision).reach(given.ravel()):
            sides = {"left": measured.value.copy(), "right": measured.value.copy()}
            measured = measured._replace(**sides, side_error=measured.error)
            return part._replace(measured=measured, clarke=np.ones(given.shape))
    if not asked.any():
        return part
    kinks = np.flatnonzero(asked)
    slopes = Slopes(f, x, kinks, rng, precision)
    jumps = (measured.right - measured.left)[asked]
    own = (gradients() if gradients else given.reshape(1, -1))[:, kinks]
    inside = plain.between[asked] if len(own) == 1 else np.zeros(len(kinks), bool)
    held, told = belongs(slopes, own, jumps, inside, max(rtol, 16 * precision))
    if told == UNREAD:
        reason = np.where(asked, UNREAD, measured.reason)
        return part._replace(measured=measured._replace(reason=reason))
    clarke = np.zeros(given.shape)
    clarke[asked] = np.where(held, 1.0, -1.0)
    return part._replace(clarke=clarke, refused=told)
