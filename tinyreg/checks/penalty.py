"""A penalty's derivatives from its values, and its four methods checked against one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from tinyreg.checks.differences import (
    EPS,
    SHRINK,
    Line,
    Measured,
    along,
    complex_slope,
    from_lines,
    ladder,
    measure,
    unit_vectors,
)
from tinyreg.checks.function import (
    RTOL,
    as_gradient,
    as_point,
    check_repeats,
    scalar_function,
    to_numpy,
)
from tinyreg.checks.judge import Part
from tinyreg.checks.report import Report, add_row
from tinyreg.core.penalties import Penalty
from tinyreg.validate import Array, check_integer, check_number, check_penalty_type

# ---------------------------------------------------------------- its derivatives


def penalty_slopes(R: Penalty, w: Array) -> Measured:
    """The derivative of R.value at each weight, and D⁻ and D⁺ where a weight sits on its kink.

    R gives one number for all weights, so n derivatives need n values of it. But a guess can be
    proved with a few: if s is the gradient, the complex-step derivative along any v is s·v, and
    for v with random signs and v_i ≈ 1/|s_i| a single wrong coordinate shows. The guess is
    R.subgradient. If the proof fails, or R drops imaginary parts, each weight is measured.
    """
    at_kink = np.zeros(w.shape, bool) if R.smooth else w == 0
    guess = np.asarray(R.subgradient(w.copy()), dtype=np.float64)
    if guess.shape != w.shape or not _proved(R, w, guess, ~at_kink):
        return one_by_one(R, w)
    out = Measured.smooth(guess, 1e-9 * np.abs(guess))
    if at_kink.any():
        out.put(at_kink, one_by_one(R, w, at_kink))
    return out


def _proved(R: Penalty, w: Array, guess: Array, where: Array) -> bool:
    rng = np.random.default_rng(0)
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
        h = 1e-4
        stretch = v * np.where(w == 0, 1.0, w)
        up, down = R.value(w + h * stretch), R.value(w - h * stretch)
        error = 1e-6 * np.vdot(size, np.abs(stretch)) + 64 * EPS * abs(up) / h
        if not abs((up - down) / (2 * h) - np.vdot(guess, stretch)) <= error + h * h:
            return False
    return True


def one_by_one(R: Penalty, w: Array, where: Array | None = None) -> Measured:
    """Each weight measured alone; or only those `where`, in one row."""
    shape = w.shape if where is None else (np.count_nonzero(where),)
    where = np.ones(w.shape, bool) if where is None else where
    flat = w.ravel()
    halves = [half for half in (flat[::2], flat[1::2]) if half.size]
    if w.ndim == 1 and _is_sum(R.value, w, halves):
        # One number alone says it, and equal weights agree.
        values, inverse = np.unique(w[where], return_inverse=True)
        lines = [_one_weight(R.value, np.array([u]), np.ones(1), alone=True) for u in values]
        return from_lines([lines[i] for i in inverse], shape)
    units = unit_vectors(w.shape)
    return from_lines([_one_weight(R.value, w, e) for i, e in units if where[i]], shape)


def _is_sum(value: Callable[[Array], float], w: Array, pieces: Sequence[Array]) -> bool:
    """Is R(w) the sum of R of these pieces of w?"""
    try:
        whole, parts = value(w), sum(value(piece) for piece in pieces)
    except (TypeError, ValueError, IndexError):
        return False
    return bool(abs(whole - parts) <= 1e-10 * max(abs(whole), abs(parts)))


def _one_weight(
    value: Callable[[Array], float], w: Array, e: Array, *, alone: bool = False
) -> Line:
    base, at = float(value(w)), abs(float(np.vdot(e, w)))
    noise = EPS * max(abs(base), float(np.finfo(float).tiny))
    steps = ladder(at, EPS)
    if alone:  # R(w) ≈ 0 is exact then, so the steps may be in proportion to w, never crossing 0
        steps = [1e-5 * (at or 1.0) * SHRINK**-k for k in range(4)]
    line = along(lambda t: float(value(w + t * e)), base, steps, noise)
    branch = complex_slope(value, w, e)
    if not line.kink or not np.isfinite(branch):
        return line
    return line._replace(value=branch, error=line.side_error)


# ---------------------------------------------------------------- its four methods


def check_penalty(
    penalty: Penalty, w: ArrayLike, step: float = 0.1, *, seed: int = 0, rtol: float = RTOL
) -> Report:
    """Check a penalty's value, subgradient, prox and residual against one another.

    `value` is taken to be right, and the others have to fit it:

    - the subgradient is its derivative, or lies between D⁻ and D⁺ at a kink;
    - prox(w, t) minimises R(u) + Σ (u − w)²/(2t): no other u, tried coordinate by coordinate and
      along random directions, is better;
    - residual(w, g) is the distance of −g to [D⁻, D⁺], it is 0 for −g = the subgradient, and 0
      at u = prox(w, t) for −g = (w − u)/t: the prox is a step along a subgradient at arrival;
    - `smooth` is False where there is a kink at 0, and NaN weights stay NaN.

    Each is looked at for w, and again with half of the weights at 0.

    Parameters
    ----------
    penalty : Penalty
    w : array of floats
        One-dimensional, or a matrix for a penalty of matrices; some dozen numbers of different
        sizes and signs are enough.
    step : float, t > 0
    seed : int, of the random directions, zeros and steps
    rtol : float, the relative error allowed, beyond what the measurements leave open

    Returns
    -------
    Report, with a row for each of the four, and for `smooth` and NaN

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be, or a method returns something of another shape.

    Examples
    --------
    >>> from tinyreg import L1
    >>> w = np.array([-2.0, -0.01, 0.0, 0.03, 1.0])
    >>> check_penalty(L1(0.5), w, step=0.1).ok
    True
    >>> class Forgetful(L1):
    ...     def prox(self, w, step):
    ...         return super().prox(w, 1.0)
    >>> report = check_penalty(Forgetful(0.5), w, step=0.1)
    >>> [row["block"] for row in report.rows if row["mismatch"]]
    ['prox', 'prox and residual', 'prox, a step each']
    """
    if penalty is None:
        raise TypeError("penalty must be a penalty such as L1(1e-3), got NoneType None")
    check_penalty_type("penalty", penalty)
    point = as_point("w", w)
    t = check_number("step", step, above=0)
    check_number("rtol", rtol, above=0)
    check_integer("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    value = scalar_function("penalty.value", penalty.value)
    check_repeats("penalty.value", value, point, finite=True)
    sparse = point * (rng.permutation(point.size) < point.size / 2).reshape(point.shape)
    steps = t * rng.uniform(0.5, 1.5, point.shape)
    separable = point.ndim == 1 and _is_sum(value, point, np.split(point, point.size))
    tries = _Tries(penalty, value, separable, rng)
    for u in (point, sparse if sparse.any() else np.zeros_like(point)):
        subgradient, slopes = tries.subgradient(u)
        tries.prox("prox", u, t, subgradient)
        tries.prox("prox, a step each", u, steps, subgradient)
        tries.residual(u, subgradient, slopes)
    if not tries.separable:
        tries.residual_at_zero(point)

    report = Report(f"penalty {penalty!r}, step {t:g}", [])
    for block, parts in tries.parts.items():
        add_row(report, block, parts, rtol)
    kinked, _ = measure(value, np.zeros_like(point), "central", rng)
    text = "penalty.smooth is True, but the value has a kink at 0"
    _add_fact(report, "smooth", not (penalty.smooth and kinked.kink.any()), text)
    text = "penalty.prox turns NaN into a number, and hides that training has diverged"
    _add_fact(report, "NaN", _keeps_nan(penalty, point, t), text)
    return report


@dataclass
class _Tries:
    """What the methods return at several weights, beside what it should be: `parts` by block."""

    penalty: Penalty
    value: Callable[[Array], float]
    separable: bool  # a sum over weights
    rng: np.random.Generator
    parts: dict[str, list[Part]] = field(default_factory=dict)

    def _add(self, block: str, given: Any, measured: Measured) -> None:
        array = as_gradient(given, measured.value.shape, f"penalty.{block.split(',')[0]}")
        tried = self.parts.setdefault(block, [])
        tried.append(Part(f"try {len(tried) + 1}", array.astype(np.float64), measured))

    def _add_zero(self, block: str, given: Any, error: Array) -> None:
        """`given` should be 0."""
        given = np.where(np.abs(given) <= error, 0.0, given)
        self._add(block, given, Measured.smooth(np.zeros(error.shape), error))

    def subgradient(self, w: Array) -> tuple[Array, Measured]:
        """It is the derivative of the value."""
        given = to_numpy(self.penalty.subgradient(w.copy()))
        slopes = one_by_one(self.penalty, w)
        self._add("subgradient", given, slopes)
        return given, slopes

    def prox(self, block: str, w: Array, step: float | Array, subgradient: Array) -> None:
        """It minimises, and (w − u)/t is a subgradient where it arrives."""
        u = to_numpy(self.penalty.prox(w.copy(), step if isinstance(step, float) else step.copy()))
        u = as_gradient(u, w.shape, "penalty.prox")
        self._add(block, u, self._best(w, step, u))
        error = 64 * EPS * np.abs(w) / step + 1e-12 * (1 + np.abs(subgradient))
        self._add_zero("prox and residual", self.penalty.residual(u.copy(), (u - w) / step), error)

    def residual(self, w: Array, subgradient: Array, slopes: Measured) -> None:
        """It is 0 for −g = the subgradient, and the distance to [D⁻, D⁺] for a random g."""
        size = np.abs(np.nan_to_num(subgradient))
        self._add_zero("residual", self.penalty.residual(w.copy(), -subgradient), 64 * EPS * size)
        for spread in (0.3, 3.0):
            g = spread * (1e-3 + size.max()) * self.rng.standard_normal(w.shape)
            if self.separable or not slopes.kink.any():
                given = self.penalty.residual(w.copy(), g.copy())
                self._add("residual", given, _distance(slopes, g))

    def residual_at_zero(self, w: Array) -> None:
        """It is the distance to ∂R(0) as a vector, where R is no sum over weights."""
        size = np.abs(np.nan_to_num(self.penalty.subgradient(w.copy()))).max()
        for spread in (1.0, 10.0):
            g = spread * (1e-3 + size) * self.rng.standard_normal(w.shape)
            given = self.penalty.residual(np.zeros_like(w), g.copy())
            given = np.asarray(given, np.float64)
            self._add("residual", given, self._distance_at_zero(g, given))

    def _distance_at_zero(self, g: Array, given: Array) -> Measured:
        """The distance of −g to ∂R(0) as a vector, proved by directional derivatives.

        A convex R has R'(0; v) = max s·v over s ∈ ∂R(0), so that for each unit v the number
        −g·v − R'(0; v) is a lower bound of ‖−g − s‖. It is attained along the vector from the
        nearest s to −g. So the given vector r (with the signs of −g, which every s nearest to −g
        keeps where R is even) is right if the bound along it is its length, and no other direction
        has more.
        """
        h, at_zero = 1e-6, self.value(np.zeros_like(g))

        def bound(v: Array) -> float:
            v = v / np.sqrt(np.sum(v * v))
            return float(np.vdot(-g, v)) - (self.value(h * v) - at_zero) / h

        length, size = (float(np.sqrt(np.sum(vector * vector))) for vector in (given, g))
        ways = [-g, *(size * self.rng.standard_normal((50, *g.shape)) / np.sqrt(g.size) - g)]
        highest = max(bound(v) for v in ways)
        attained = bound(-np.sign(g) * given) if length > 0 else 0.0
        if abs(attained - length) > 1e-4 * size or highest > length + 1e-4 * size:
            # The right vector is not known from this, but its length is: at least the bound.
            right = max(attained, highest)
            given = given * right / length if length > 0 else np.abs(g) * right / size
        return Measured.smooth(given, 1e-6 * size)

    def _best(self, w: Array, step: float | Array, arrived: Array) -> Measured:
        """The minimiser of h(u) = R(u) + Σ (u − w)²/(2t), by brute force around `arrived`.

        What was handed in is the answer unless something better is found, so that a minimiser that
        is not the only one passes.
        """
        t = np.broadcast_to(np.asarray(step, dtype=np.float64), w.shape)
        out, start = Measured.smooth(arrived), np.nan_to_num(arrived)

        def h(u: Array, where: Any = ...) -> float:
            return float(self.value(u)) + float(np.sum((u - w[where]) ** 2 / (2 * t[where])))

        def in_one(index: tuple[int, ...], e: Array) -> Callable[[float], float]:
            """h as a function of one coordinate."""
            if self.separable:  # of it alone, without the rounding of the others
                return lambda u: h(np.array([u]), index)
            return lambda u: h(start + (u - start[index]) * e)

        for index, e in unit_vectors(w.shape):
            height = in_one(index, e)
            now, (lowest, best) = height(start[index]), _lowest(height, w[index], start[index])
            slack = 64 * EPS * max(abs(now), w[index] ** 2 / t[index] * EPS)
            # Closer than this, two points are equally high in floating point.
            out.error[index] = np.sqrt(2 * t[index] * slack)
            if now > lowest + slack:
                out.value[index] = best
        if not self.separable and np.array_equal(out.value, arrived):
            now = h(start)
            for size in (1e-4, 1e-2, 1.0):
                for way in [w - start, -start, *self.rng.standard_normal((20, *w.shape))]:
                    u = start + size * way
                    if h(u) < now - 64 * EPS * abs(now):
                        out.value[...], now = u, h(u)
        return out


def _lowest(height: Callable[[float], float], w: float, start: float) -> tuple[float, float]:
    """The minimum and where it is: the best point of a grid, refined."""
    reach = 2 * abs(w) + abs(start) + 1e-3
    grid = np.concatenate([np.linspace(-reach, reach, 201), [0.0, w, start]])
    best = min((height(u), float(u)) for u in grid)
    bounds = best[1] - reach / 100, best[1] + reach / 100
    fine = minimize_scalar(
        height, bounds=bounds, method="bounded", options={"xatol": 1e-12 * reach}
    )
    return min(best, (float(fine.fun), float(fine.x)))


def _distance(slopes: Measured, g: Array) -> Measured:
    """The distance of −g to [D⁻, D⁺], or to the derivative where there is no kink."""
    left, right, error = slopes.one_sided()
    beyond = np.maximum(np.minimum(left, right) + g, -g - np.maximum(left, right))
    measured = Measured.smooth(np.maximum(beyond, 0.0), error + 8 * EPS * np.abs(g))
    return measured._replace(reason=slopes.reason)


def _add_fact(report: Report, name: str, holds: bool, text: str) -> None:
    """A row for what is either so or not so."""
    part = Part(name, np.array([float(holds)]), Measured.smooth([1.0]))
    add_row(report, name, [part], RTOL)["diagnosis"] = "" if holds else text


def _keeps_nan(penalty: Penalty, w: Array, step: float) -> bool:
    sick = w.copy()
    sick.flat[0] = np.nan
    try:
        arrived = to_numpy(penalty.prox(sick, step))
    except (ValueError, ArithmeticError):  # refused by name: that hides nothing
        return True
    return bool(np.isnan(arrived.flat[0]))
