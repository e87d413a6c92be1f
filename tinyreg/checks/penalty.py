"""A penalty's value, subgradient, prox and residual, checked against one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from tinyreg.checks.differences import EPS, Measured, one_by_one, unit_vectors
from tinyreg.checks.function import (
    RTOL,
    as_gradient,
    as_point,
    check_repeats,
    measure,
    scalar_function,
    to_numpy,
)
from tinyreg.checks.report import Coordinates, Part, Report, block_row
from tinyreg.core.penalties import Penalty, check_penalty_type
from tinyreg.validate import Array, check_integer, check_number


def check_penalty(
    penalty: Penalty,
    w: ArrayLike,
    step: float = 0.1,
    *,
    seed: int = 0,
    rtol: float = RTOL,
) -> Report:
    """Check a penalty's value, subgradient, prox and residual against one another.

    `value` is taken at its word, and the others have to fit it:

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
    step : float
        t > 0.
    seed : int
        Of the random directions, zeros and steps.
    rtol : float
        The relative error allowed, beyond what the measurements leave open.

    Returns
    -------
    Report
        With a row for each of the four, and for `smooth` and NaN.

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
    check_penalty_type("penalty", penalty)
    point = as_point("w", w)
    t = check_number("step", step, above=0)
    check_number("rtol", rtol, above=0)
    check_integer("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    value = scalar_function("penalty.value", penalty.value)
    check_repeats("penalty.value", value, point, finite=True)
    sparse = point * (rng.permutation(point.size) < point.size / 2).reshape(point.shape)
    points = [point, sparse] if sparse.any() else [point, np.zeros_like(point)]
    steps = t * rng.uniform(0.5, 1.5, point.shape)
    separable = _is_separable(value, point)
    parts: dict[str, list[Part]] = {}

    def add(block: str, given: Any, measured: Measured) -> None:
        array = as_gradient(given, measured.value.shape, f"penalty.{block.split(',')[0]}")
        parts.setdefault(block, []).append(
            Part(f"try {len(parts.get(block, [])) + 1}", array.astype(np.float64), measured)
        )

    for u in points:
        subgradient = to_numpy(penalty.subgradient(u.copy()))
        slopes = one_by_one(penalty, u, np.ones(u.shape, bool)).reshape(u.shape)
        add("subgradient", subgradient, slopes)
        for block, s in (("prox", t), ("prox, a step each", steps)):
            arrived = to_numpy(penalty.prox(u.copy(), s if isinstance(s, float) else s.copy()))
            arrived = as_gradient(arrived, u.shape, "penalty.prox")
            add(block, arrived, _best(value, u, s, arrived, separable, rng))
            left = penalty.residual(arrived.copy(), (arrived - u) / s)
            zero = Measured.blank(u.shape)
            zero.error += 64 * EPS * np.abs(u) / s + 1e-12 * (1 + np.abs(subgradient))
            add("prox and residual", np.where(np.abs(left) <= zero.error, 0.0, left), zero)
        zero = Measured.blank(u.shape)
        zero.error += 64 * EPS * np.abs(np.nan_to_num(subgradient))
        left = penalty.residual(u.copy(), -subgradient)
        add("residual", np.where(np.abs(left) <= zero.error, 0.0, left), zero)
        for spread in (0.3, 3.0):
            g = spread * (1e-3 + np.abs(np.nan_to_num(subgradient)).max())
            g = g * rng.standard_normal(u.shape)
            if separable or not slopes.kink.any():
                add("residual", penalty.residual(u.copy(), g.copy()), _distance(slopes, g))
    if not separable:
        nothing = np.zeros_like(point)
        for spread in (1.0, 10.0):
            g = spread * (1e-3 + np.abs(np.nan_to_num(penalty.subgradient(point.copy()))).max())
            g = g * rng.standard_normal(point.shape)
            given = np.asarray(penalty.residual(nothing.copy(), g.copy()), np.float64)
            add("residual", given, _distance_at_zero(value, g, given, rng))

    report = Report(f"penalty {penalty!r}, step {t:g}", [])
    for block, tried in parts.items():
        row, report.details[block] = block_row(block, tried, rtol)
        report.rows.append(row)
    kinked, _ = measure(value, np.zeros_like(point), "central", rng)
    facts = [
        (
            "smooth",
            not (penalty.smooth and kinked.kink.any()),
            "penalty.smooth is True, but the value has a kink at 0",
        ),
        (
            "NaN",
            _keeps_nan(penalty, point, t),
            "penalty.prox turns NaN into a number, and hides that training has diverged",
        ),
    ]
    for block, holds, text in facts:
        row, report.details[block] = _fact(block, holds, text)
        report.rows.append(row)
    return report


def _fact(name: str, holds: bool, text: str) -> tuple[dict[str, Any], Coordinates]:
    """A row for what is either so or not so."""
    given = Part(name, np.array([float(holds)]), Measured.blank(1))
    given.measured.value += 1.0
    row, details = block_row(name, [given], RTOL)
    row["diagnosis"] = "" if holds else text
    return row, details


def _keeps_nan(penalty: Penalty, w: Array, step: float) -> bool:
    sick = w.copy()
    sick.flat[0] = np.nan
    try:
        arrived = to_numpy(penalty.prox(sick, step))
    except (ValueError, ArithmeticError):  # refused by name: that hides nothing
        return True
    return bool(np.isnan(arrived.flat[0]))


def _is_separable(value: Callable[[Array], float], w: Array) -> bool:
    """Is R(w) the sum of R of each number alone?"""
    if w.ndim != 1:
        return False
    try:
        parts = sum(value(np.array([u])) for u in w)
    except (TypeError, ValueError, IndexError):
        return False
    whole = value(w)
    return bool(abs(whole - parts) <= 1e-10 * max(abs(whole), abs(parts)))


def _distance(slopes: Measured, g: Array) -> Measured:
    """The distance of −g to [D⁻, D⁺], or to the derivative where there is no kink."""
    out = Measured.blank(g.shape)
    low = np.where(slopes.kink, np.minimum(slopes.left, slopes.right), slopes.value)
    high = np.where(slopes.kink, np.maximum(slopes.left, slopes.right), slopes.value)
    out.value[...] = np.maximum(np.maximum(low + g, -g - high), 0.0)
    out.error[...] = np.where(slopes.kink, slopes.side_error, slopes.error) + 8 * EPS * np.abs(g)
    out.reason[...] = slopes.reason
    return out


def _distance_at_zero(
    value: Callable[[Array], float], g: Array, given: Array, rng: np.random.Generator
) -> Measured:
    """The distance of −g to ∂R(0) as a vector, proved by directional derivatives.

    A convex R has R'(0; v) = max s·v over s ∈ ∂R(0), so that for each unit v the number
    −g·v − R'(0; v) is a lower bound of ‖−g − s‖. It is attained along the vector from the nearest
    s to −g. So the given vector r (with the signs of −g, which every s nearest to −g keeps where
    R is even) is right if the bound along it is its length, and no other direction has more.
    """
    h = 1e-6
    at_zero = value(np.zeros_like(g))

    def bound(v: Array) -> float:
        v = v / np.sqrt(np.sum(v * v))
        return float(np.vdot(-g, v)) - (value(h * v) - at_zero) / h

    length = float(np.sqrt(np.sum(given * given)))
    size = float(np.sqrt(np.sum(g * g)))
    ways = [-g, *(size * rng.standard_normal((50, *g.shape)) / np.sqrt(g.size) - g)]
    highest = max(bound(v) for v in ways)
    attained = bound(-np.sign(g) * given) if length > 0 else 0.0
    out = Measured.blank(g.shape)
    out.value[...] = given
    out.error += 1e-6 * size
    if abs(attained - length) > 1e-4 * size or highest > length + 1e-4 * size:
        # The right vector is not known from this, but its length is: at least the bound.
        right = max(attained, highest)
        out.value[...] = given * right / length if length > 0 else np.abs(g) * right / size
    return out


def _best(
    value: Callable[[Array], float],
    w: Array,
    step: float | Array,
    arrived: Array,
    separable: bool,
    rng: np.random.Generator,
) -> Measured:
    """The minimiser of h(u) = R(u) + Σ (u − w)²/(2t), by brute force around `arrived`.

    What was handed in is the answer unless something better is found, so that a minimiser that is
    not the only one passes.
    """
    t = np.broadcast_to(np.asarray(step, dtype=np.float64), w.shape)
    out = Measured.blank(w.shape)
    out.value[...] = arrived
    start = np.nan_to_num(arrived)

    def h(u: Array, where: Any = ...) -> float:
        return float(value(u)) + float(np.sum((u - w[where]) ** 2 / (2 * t[where])))

    def in_one(index: tuple[int, ...], e: Array) -> Callable[[float], float]:
        """h as a function of one coordinate."""
        if separable:  # of that number alone, so that large weights do not drown small ones
            return lambda u: h(np.array([u]), index)
        return lambda u: h(start + (u - start[index]) * e)

    for index, e in unit_vectors(w.shape):
        height = in_one(index, e)
        reach = 2 * abs(w[index]) + abs(start[index]) + 1e-3
        grid = np.concatenate([np.linspace(-reach, reach, 201), [0.0, w[index], start[index]]])
        heights = [height(u) for u in grid]
        around, width = float(grid[int(np.argmin(heights))]), reach / 100
        fine = minimize_scalar(
            height, bounds=(around - width, around + width), method="bounded",
            options={"xatol": 1e-12 * reach},
        )  # fmt: skip
        best = min([(height, u) for height, u in zip(heights, grid, strict=True)])
        best = min(best, (float(fine.fun), float(fine.x)))
        now = height(start[index])
        slack = 64 * EPS * max(abs(now), w[index] ** 2 / t[index] * EPS)
        # Closer than this, two points are equally high in floating point.
        out.error[index] = np.sqrt(2 * t[index] * slack)
        if now > best[0] + slack:
            out.value[index] = best[1]
    if not separable and np.array_equal(out.value, arrived):
        now = h(start)
        for size in (1e-4, 1e-2, 1.0):
            for way in [w - start, -start, *rng.standard_normal((20, *w.shape))]:
                u = start + size * way
                if h(u) < now - 64 * EPS * abs(now):
                    out.value[...], now = u, h(u)
    return out
