"""A penalty's derivatives from its values: proved for all weights at once, or weight by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tinyreg.checks.differences import (
    Differences,
    Measured,
    attempt,
    branch_slope,
    complex_slope,
    from_lines,
    generator,
    unit_vectors,
)
from tinyreg.checks.steps import EPS, SHRINK, Line, along, power_of_2, sizes
from tinyreg.core.penalties import Penalty
from tinyreg.validate import Array

Value = Callable[[Array], float]
One = Callable[[Any], Any]  # R₁, of one number


def penalty_slopes(R: Penalty, w: Array) -> Measured:
    """The derivative of R.value at each weight, and D⁻ and D⁺ where a weight sits on its kink.

    R gives one number for all weights, so n derivatives need n values of it. But a guess can be
    proved with a few: if s is the gradient, the complex-step derivative along any v is s·v, and
    for v with random signs and v_i ≈ 1/|s_i| a single wrong coordinate shows. The guess is
    R.subgradient. If the proof fails, or R drops imaginary parts, each weight is measured.
    """
    at_kink = np.zeros(w.shape, bool) if R.smooth else w == 0
    guess = np.asarray(R.subgradient(w.copy()), dtype=np.float64)
    value = partial(guarded, R)
    if guess.shape != w.shape or not _proved(R, w, guess, ~at_kink):
        return one_by_one(value, w)
    out = Measured.smooth(guess, 1e-9 * np.abs(guess), np.abs(guess))
    if at_kink.any():
        out.put(at_kink, one_by_one(value, w, at_kink))
    return out


def guarded(R: Penalty, w: Array) -> Any:
    """R.value, infinite outside of its domain, where it may raise or be NaN; complex steps pass."""
    value = attempt(lambda w: np.asarray(R.value(w)).item(), w.copy())
    return np.inf if np.isnan(value) else value


def _proved(R: Penalty, w: Array, guess: Array, where: Array) -> bool:
    rng = generator(0)
    if not np.isfinite(guess).all():
        return False
    size = np.abs(guess)
    typical = size.max() or 1.0
    for _ in range(2):
        v = where * rng.choice([-1.0, 1.0], w.shape) * rng.uniform(1, 2, w.shape)
        nudge = v / np.where(size > 1e-30 * typical, size, typical)
        slope = complex_slope(R.value, w, nudge)
        if not abs(slope - np.vdot(guess, nudge)) <= 64 * EPS * np.vdot(size, np.abs(nudge)):
            return False
        # By real differences too: weights are stretched by 1 ± h, so that none crosses 0.
        h, stretch = 1e-4, v * sizes(w)
        up, down = R.value(w + h * stretch), R.value(w - h * stretch)
        error = 1e-6 * np.vdot(size, np.abs(stretch)) + 64 * EPS * abs(up) / h
        if not abs((up - down) / (2 * h) - np.vdot(guess, stretch)) <= error:
            return False
    return True


def one_by_one(value: Value, w: Array, where: Array | None = None) -> Measured:
    """Each weight measured alone; or only those `where`, in one row."""
    shape = w.shape if where is None else (np.count_nonzero(where),)
    where = np.ones(w.shape, bool) if where is None else where
    one = of_one_number(value, w)
    if one:
        return by_numbers(one, w[where], float(np.max(sizes(w)))).each(lambda a: a.reshape(shape))
    unit = unit_of(w)
    real = Differences(lambda u: value(unit * u), w / unit, generator(0))
    lines = [_one_weight(real, e) for i, e in unit_vectors(w.shape) if where[i]]
    return times(1 / unit, from_lines(lines, shape))


def unit_of(w: Array) -> float:
    """About the largest weight: steps are to be in proportion to it. It divides exactly."""
    return power_of_2(float(np.max(sizes(w))))


def times(factor: float, slopes: Measured) -> Measured:
    """The slopes in other units."""
    return slopes.each(lambda array: array if array.dtype == object else factor * array)


def of_one_number(value: Value, w: Array) -> One | None:
    """R₁ if R(w) = Σ R₁(w_i), for arrays of one number as well; else None.

    If so, the numbers of two arrays can be dealt out anew among them.
    """
    for dealt in deals(w):
        a, b = (sum(float(value(half)) for half in pair) for pair in dealt)
        if np.isfinite(a) and not abs(b - a) <= 1e-10 * abs(a):
            return None

    def one(u: Any) -> Any:
        return value(np.full(1, u))

    several = ((one(u), value(np.full(w.shape, u)) / w.size) for u in [*w[w != 0][:3], 1.0])
    return one if all(abs(a - b) <= 1e-12 * abs(b) for a, b in several) else None


def deals(w: Array) -> Iterator[tuple[Array, Array]]:
    """Two arrays of numbers like those of w, and the same dealt out anew: both (2, *w.shape)."""
    rng, shape = generator(0), (2, *w.shape)
    nonzero = w[w != 0] if w.any() else np.ones(1)
    spread = (size * rng.uniform(0.5, 1.0, shape) for size in np.geomspace(1e-3, 1e3, 13))
    for drawn in np.array([w, w]), *(rng.choice(nonzero, shape) * factor for factor in spread):
        yield drawn, rng.permutation(drawn.ravel()).reshape(shape)


def by_numbers(one: One, w: Array, size: float) -> Measured:
    """R₁' at each number; equal ones agree."""
    values, inverse = np.unique(w, return_inverse=True)
    lines = [_one_number(one, u, size) for u in values]
    return from_lines([lines[i] for i in inverse.ravel()], w.shape)


def _one_number(one: One, u: float, size: float) -> Line:
    """R₁' at u by steps in proportion to u, so that none crosses 0."""
    base, first = float(one(u)), 1e-5 * (abs(u) or size)
    steps = [first * SHRINK**-k for k in range(4)]
    noise = EPS * max(abs(base), float(np.finfo(float).tiny))
    line = along(lambda t: float(one(u + t)), base, [*steps, first], noise)
    return _at_kink(line, one, np.array(u), np.array(1.0), first)


def _one_weight(real: Differences, e: Array) -> Line:
    at = abs(float(np.vdot(e, real.x))) or float(np.max(sizes(real.x)))
    return _at_kink(real.along(e), real.f, real.x, e, 1e-5 * at)


def _at_kink(line: Line, f: One, x: Array, e: Array, h: float) -> Line:
    """With the branch's slope at a kink; and D± infinite where f jumps, or rises as √|t| does."""
    if line.kink:
        branch = branch_slope(f, x, e)
        return line if np.isnan(branch) else line._replace(value=branch, error=line.side_error)
    if not line.reason:
        return line
    sides, base = [], float(f(x))
    for step in (-h, h):
        near, far = ((float(f(x + t * e)) - base) / t for t in (step / SHRINK**2, step / SHRINK))
        steep = not np.isfinite(near) or abs(near) > 1.1 * abs(far)
        sides.append((np.sign(near) * np.inf if steep else near, 0.0 if steep else abs(near - far)))
    (left, off), (right, other) = sides
    if np.isnan([left, right]).any() or np.isfinite([left, right]).all():
        return line
    return Line(left=left, right=right, side_error=off + other)
