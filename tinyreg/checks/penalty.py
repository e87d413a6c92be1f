"""A penalty's methods checked against one another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from tinyreg.checks.differences import Measured, generator, quiet, unit_vectors
from tinyreg.checks.function import RTOL, as_gradient, as_point, call, check_repeats, number
from tinyreg.checks.judge import SMALL, Part
from tinyreg.checks.kinks import settle
from tinyreg.checks.report import Report, add_row
from tinyreg.checks.slopes import (
    by_numbers,
    deals,
    guarded,
    of_one_number,
    one_by_one,
    times,
    unit_of,
)  # fmt: skip
from tinyreg.checks.steps import EPS, sizes
from tinyreg.core.penalties import Penalty
from tinyreg.validate import Array, check_integer, check_number, describe


def check_penalty(
    penalty: Penalty, w: ArrayLike, step: float = 0.1, *, seed: int = 0, rtol: float = RTOL
) -> Report:
    """Check a penalty's value, subgradient, prox and residual against one another.

    `value` is taken to be right, and the others have to fit it:

    - the subgradient is its derivative, or lies between D⁻ and D⁺ at a kink;
    - prox(w, t) minimises R(u) + Σ (u − w)²/(2t): no other u is better, and (w − u)/t lies between
      D⁻ and D⁺ at u. Of several minimisers any may be returned;
    - residual(w, g) is the distance of −g to [D⁻, D⁺], it is 0 for −g = the subgradient, and 0
      at u = prox(w, t) for −g = (w − u)/t: the prox is a step along a subgradient at arrival;
    - `smooth` is False where there is a kink at 0, and NaN weights stay NaN.

    Each is looked at for w, for w with half of its weights at 0, and at numbers of all sizes and
    signs, some of them close to where prox or subgradient change their formula.

    A note says what was not asked: `residual` and `smooth` where there are none, an array of steps
    where prox refuses it, the subgradient where the value is infinite, as an indicator's is. A prox
    that turns NaN into a number fails if the penalty's class is derived from one of tinyreg's,
    whose training relies on it, and else is told in a note.

    Parameters
    ----------
    penalty : Penalty
        value, subgradient and prox, and perhaps residual and smooth
    w : array of floats
        Any shape that the penalty takes; some dozen numbers of different sizes and signs will do.
    step : float, t > 0
    seed : int, of the random directions, zeros and steps
    rtol : float, the relative error allowed, beyond what the measurements leave open

    Returns
    -------
    Report, with a row for each method, and for `smooth` and NaN

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be, if value is not finite at w, or if a method raises
        or returns something of another shape.

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
    wanted = ("value", "subgradient", "prox")
    if isinstance(penalty, type) or not all(callable(getattr(penalty, m, None)) for m in wanted):
        told = "with the methods value, subgradient and prox"
        raise TypeError(
            f"penalty must be a penalty such as L1(1e-3), {told}, got {describe(penalty)}"
        )
    point = as_point("w", w)
    t = check_number("step", step, above=0)
    check_number("rtol", rtol, above=0)
    check_integer("seed", seed, least=0)
    name = "penalty.value"
    check_repeats(name, lambda w: number(name, call(name, penalty.value, w)), point, finite=True)
    report = Report(f"penalty {penalty!r}, step {t:g}", [])
    with quiet():
        tries = _Tries(penalty, point, t, generator(seed), rtol)
        tries.everywhere()
        for block, parts in tries.parts.items():
            # What prox returned was judged in `_Tries.prox`, as a step from w and with rtol.
            add_row(report, block, parts, EPS if block in PROX else rtol)
        _add_facts(report, penalty, tries)
    return report


PROX = ("prox", "prox, a step each")
NEAR = 10.0 ** -np.array([6.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.5])  # from a change of formula, × w
MOST = 300  # probes, in at most 60 arrays


class _Tries:
    """What the methods return at several weights, beside what it should be: `parts` by block."""

    def __init__(
        self, penalty: Penalty, w: Array, t: float, rng: np.random.Generator, rtol: float
    ) -> None:
        self.penalty, self.w, self.t, self.rng, self.rtol = penalty, w, t, rng, rtol
        self.parts: dict[str, list[Part]] = {}
        self.notes: list[str] = []
        self.value = partial(guarded, penalty)
        self.has_residual = hasattr(penalty, "residual")
        self.one = None if self.mixes() else of_one_number(self.value, w)
        self.steps = t * rng.uniform(0.5, 1.5, w.shape)
        self.size = float(np.max(sizes(w)))
        self.slope = float(np.abs(np.nan_to_num(self.ask("subgradient", w))).max())
        nonzero = np.append(np.abs(w[w != 0]), [self.size, t * self.slope or self.size])
        scan = np.geomspace(nonzero.min() * 1e-3, nonzero.max() * 1e3, 1500)
        self.scan = np.concatenate([-scan[::-1], scan])
        if self.one:
            pool = np.append(self.scan[::8], 0.0)
            pool = np.concatenate([pool, self.each("prox", pool, t), w.ravel()])
            self.pool = np.unique(pool[np.isfinite(pool)])
            self.heights = np.array([float(self.one(u)) for u in self.pool])

    def everywhere(self) -> None:
        """Ask everything at w, with half of the weights at 0, and at probes."""
        half = self.rng.permutation(self.w.size) < self.w.size / 2
        own = [self.w, np.where(half.reshape(self.w.shape), self.w, 0.0)]
        for k, w in enumerate([*own, *self.probes()]):
            inside = np.isfinite(self.value(w))
            if inside:
                given, slopes = self.subgradient(w, own=k < 2)
            self.prox("prox", w, self.t)
            if not self.notes and (self.one or k < 2):
                self.prox("prox, a step each", w, self.steps)
            if inside and self.has_residual:
                self.residual(w, given, slopes)

    def ask(self, method: str, *arguments: Any) -> Array:
        """What a method returns, of w's shape."""
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        result = call(f"penalty.{method}", getattr(self.penalty, method), *copies)
        return as_gradient(result, self.w.shape, f"penalty.{method}").astype(np.float64)

    def each(self, method: str, numbers: Array, *arguments: Any) -> Array:
        """The same for any array of numbers, handed in by arrays of w's shape."""
        came = [self.ask(method, w, *arguments) for w in self.packed(numbers)]
        return np.ravel(came)[: numbers.size].reshape(numbers.shape)

    def packed(self, numbers: Array) -> Array:
        """As arrays of w's shape, the last of them filled up."""
        return np.resize(numbers, (-(-numbers.size // self.w.size), *self.w.shape))

    def finite(self, numbers: Array) -> Array:
        """Which are in the domain."""
        assert self.one
        return np.array([np.isfinite(self.one(u)) for u in numbers], bool)

    def mixes(self) -> bool:
        """Does the prox of a number depend on the others? An indicator of a ball is no sum."""
        for first, second in deals(self.w):
            proxes = ([self.ask("prox", w, self.t) for w in pair] for pair in (first, second))
            a, b = (np.sort(each, axis=None) for each in proxes)
            if np.abs(a - b).max() > 1e-9 * np.abs(first).max():
                return True
        return False

    def probes(self) -> list[Array]:
        """Arrays of all sizes, and close to where prox or subgradient changes its formula."""
        if not self.one:
            ray = np.where(self.w == 0, 1.0, self.w / self.size)

            def on_ray(c: Array) -> Array:
                return np.array([self.ask("prox", x * ray, self.t).ravel() for x in c])

            breaks = _breaks(on_ray, self.scan[self.scan.size // 2 :: 12])[:4]
            spread = np.array([-1.0, 1e-2, 1e2]) * self.size
            tried = [c * ray for c in np.concatenate([spread, 0.99 * breaks, 1.01 * breaks])]
            # Where the prox takes these, groups are 0 and others not.
            return [0 * ray, *(self.ask("prox", x, self.t) for x in tried[3:]), *tried]

        def asked(method: str, *arguments: Any) -> Callable[[Array], Array]:
            return lambda numbers: self.each(method, numbers, *arguments)[:, np.newaxis]

        breaks = _breaks(asked("prox", self.t), self.scan)
        inside = self.scan[self.finite(self.scan[::8]).repeat(8)[: self.scan.size]]
        if inside.size > 5:
            breaks = np.concatenate([breaks, _breaks(asked("subgradient"), inside)])
        breaks = np.concatenate([breaks, self.each("prox", breaks, self.t)])
        near = [breaks * (1 + off) for off in (*NEAR, *-NEAR)]
        numbers = np.unique(np.concatenate([*near, self.scan[::75]]))
        numbers = self.rng.permutation(numbers)[: min(MOST, 60 * self.w.size)]
        inside = self.finite(numbers)
        return [w for u in (numbers[inside], numbers[~inside]) if u.size for w in self.packed(u)]

    def add(self, block: str, given: Array, measured: Measured) -> None:
        """One more try."""
        self.parts.setdefault(block, []).append(Part(block, given, measured))

    def add_zero(self, block: str, given: Array, error: Array) -> None:
        """`given` should be 0."""
        given = np.where(np.abs(given) <= error, 0.0, given)
        self.add(block, given, Measured.smooth(np.zeros(error.shape), error))

    def subgradient(self, w: Array, *, own: bool) -> tuple[Array, Measured]:
        """It is the derivative of the value."""
        given, one = self.ask("subgradient", w), self.one
        slopes = by_numbers(one, w, self.size) if one else one_by_one(self.value, w)
        if not own:  # a probe that cannot be measured is none
            size = np.maximum(np.abs(slopes.value), slopes.scale)
            unknown = (slopes.reason != "") | (~slopes.kink & ~(slopes.error <= SMALL * size))
            slopes.put(unknown, Measured.smooth(given[unknown]))
        # Within an infinite side lies any slope.
        left = np.where(slopes.left == -np.inf, np.fmin(given, slopes.right), slopes.left)
        right = np.where(slopes.right == np.inf, np.fmax(given, left), slopes.right)
        part = Part("subgradient", given, slopes._replace(left=left, right=right))
        if not one:
            unit = unit_of(w)  # settled in units of the weights
            scaled = Part(part.name, unit * given, times(unit, part.measured))
            scaled = settle(scaled, lambda u: self.value(unit * u), w / unit, self.rng, self.rtol)
            part = scaled._replace(given=given, measured=times(1 / unit, scaled.measured))
        self.parts.setdefault("subgradient", []).append(part)
        return given, slopes

    def residual(self, w: Array, given: Array, slopes: Measured) -> None:
        """It is 0 for −g = the subgradient, and the distance to [D⁻, D⁺] for a random g."""
        size = np.maximum(np.abs(np.nan_to_num(given)), self.slope or 1.0)
        self.add_zero("residual", self.ask("residual", w, -given), 64 * EPS * size)
        for spread in (0.3, 3.0):
            g = spread * size * self.rng.standard_normal(w.shape)
            self.add("residual", self.ask("residual", w, g), self.distance(slopes, w, g))

    def distance(self, slopes: Measured, w: Array, g: Array) -> Measured:
        """The distance of −g to ∂R(w); at the kinks of what is no sum over weights by its prox.

        There |w − prox(w − tg, t)|/t tends to it as t → 0. The first error term, in t, cancels.
        """
        left, right, error = slopes.one_sided()
        beyond = np.maximum(np.minimum(left, right) + g, -g - np.maximum(left, right))
        error, scale = error + 8 * EPS * np.abs(g), np.abs(g) + slopes.scale
        measured = Measured.smooth(np.maximum(beyond, 0.0), error, scale)
        measured = measured._replace(reason=slopes.reason)
        if self.one or not slopes.kink.any():
            return measured
        largest = float(np.abs(g).max())
        t = 1e-4 * float(np.min(np.abs(w[w != 0]), initial=self.size)) / largest
        far, near = (np.abs(w - self.ask("prox", w - s * g, s)) / s for s in (t, t / 2))
        limit = Measured.smooth(2 * near - far, np.abs(near - far) / 10 + 1e-7 * largest, largest)
        measured.put(slopes.kink, limit.each(lambda array: array[slopes.kink]))
        return measured

    def prox(self, block: str, w: Array, step: float | Array) -> None:
        """It minimises R(u) + Σ (u − w)²/(2t), and (w − u)/t is a subgradient where it arrives."""
        try:
            u = self.ask("prox", w, step)
        except (TypeError, ValueError):
            if isinstance(step, float):
                raise
            self.notes.append("array steps were not asked: penalty.prox refuses them")
            return
        t = np.broadcast_to(np.asarray(step, dtype=np.float64), w.shape)
        best = self.best_numbers(w, t, u) if self.one else self.best(w, t, u)
        self.add(block, u, Measured.smooth(best))
        if self.has_residual and np.isfinite(self.value(u)):
            slope = (u - w) / t
            error = 64 * EPS * (np.abs(w) + np.abs(u)) / t + self.rtol * np.abs(slope)
            self.add_zero("prox and residual", self.ask("residual", u, slope), error)

    def best_numbers(self, w: Array, t: Array, u: Array) -> Array:
        """The minimiser, number by number; u itself unless something better is found."""
        one, slope = self.one, (w - u) / t
        assert one
        height = np.array([float(one(v)) for v in u.flat]).reshape(u.shape)
        slack = 64 * EPS * (np.abs(height) + (np.abs(w) + np.abs(u - w)) * np.abs(slope))
        slack = np.where(np.isfinite(height), slack, 0.0)
        pooled = self.heights + (self.pool - w[..., np.newaxis]) ** 2 / (2 * t[..., np.newaxis])
        lowest = self.pool[pooled.argmin(axis=-1)]
        better = ~(height + (u - w) * -slope / 2 <= pooled.min(axis=-1) + slack)
        # Where nothing is better far off, the slopes on both sides tell if u is a minimum.
        slopes = by_numbers(one, np.where(np.isfinite(height), u, np.nan), self.size)
        left, right, error = slopes.one_sided()
        error = error + 64 * EPS * (np.abs(w) + np.abs(u)) / t + self.rtol * np.abs(slope)
        beyond = np.where(slope < left, left - slope, np.minimum(right - slope, 0.0))
        steep = (slopes.reason == "") & (np.abs(beyond) > error)
        best = np.where(steep, u - t * beyond, u)
        for i in map(tuple, np.argwhere(better)):
            near = lowest[i]

            def at(v: float, w: float = w[i], t: float = t[i]) -> float:
                return float(one(v)) + (v - w) ** 2 / (2 * t)

            best[i] = _lowest(at, near, 0.2 * abs(near) or abs(self.pool).min())
        return best

    def best(self, w: Array, t: Array, u: Array) -> Array:
        """The same along each coordinate and along random directions."""

        def height(v: Array) -> float:
            return float(self.value(v)) + float(np.sum((v - w) ** 2 / (2 * t)))

        def on_line(e: Array, way: float) -> float:
            return height(u + way * e)

        best, now = u.copy(), height(u)
        rounding = np.abs(self.value(u)) + np.sum((np.abs(w) + np.abs(u - w)) * np.abs(u - w) / t)
        highest = now - 64 * EPS * rounding
        size = float(np.abs(w).max()) or self.size
        for i, e in unit_vectors(w.shape):
            off = w[i] - u[i]
            ways = [off, -u[i], 0.3 * off, -0.3 * off, 0.01 * off, -0.01 * off]
            ways += [0.01 * u[i], -0.01 * u[i], 0.1 * size, -0.1 * size, 1e-4 * size, -1e-4 * size]
            lowest, way = min((on_line(e, way), way) for way in ways)
            if not lowest >= highest:
                best[i] = u[i] + _lowest(partial(on_line, e), way, abs(way))
        if np.array_equal(best, u):
            for way in [w - u, -u, *size * self.rng.standard_normal((20, *w.shape))]:
                for share in (1e-4, 1e-2, 0.5):
                    if height(u + share * way) < highest:
                        best, highest = u + share * way, height(u + share * way)
        return best


def _breaks(f: Callable[[Array], Array], x: Array) -> Array:
    """Where the slopes of a curve f(x)[:, …] of one number change at once: the sharpest bends."""

    def bends(x: Array) -> Array:
        """Of points in rows, between each and the next but one."""
        curve = f(x.ravel()).reshape(*x.shape, -1)
        slopes = np.diff(curve, axis=-2) / np.diff(x)[..., np.newaxis]
        return np.nan_to_num(np.abs(np.diff(slopes, axis=-2)).sum(axis=-1))

    bent = bends(x) * np.abs(x[1:-1])
    inner = bent[1:-1]
    noise = 1e-11 * np.abs(f(x)).max(axis=-1)[2:-2]
    peaks = np.flatnonzero((inner > noise) & (inner >= bent[:-2]) & (inner >= bent[2:])) + 1
    peaks = peaks[np.argsort(-bent[peaks], kind="stable")][:12]
    low, high = x[peaks], x[peaks + 2]
    for _ in range(20 if len(peaks) else 0):
        points = np.linspace(low, high, 5, axis=-1)
        sharpest = bends(points).argmax(axis=-1)[:, np.newaxis]
        low, high = (np.take_along_axis(points, sharpest + k, 1)[:, 0] for k in (0, 2))
    return (low + high) / 2


def _lowest(height: Callable[[float], float], near: float, reach: float) -> float:
    """The minimum within that reach."""
    bounds = near - reach, near + reach
    fine = minimize_scalar(height, bounds=bounds, options={"xatol": 1e-12 * reach})
    return float(fine.x) if fine.fun < height(near) else near


def _add_facts(report: Report, penalty: Penalty, tries: _Tries) -> None:
    """Rows for what is either so or not so, and notes on what was not asked."""
    report.notes.extend(tries.notes)
    if not tries.has_residual:
        report.notes.append("residual was not asked: the penalty has none")

    def add(name: str, holds: bool, text: str) -> None:
        part = Part(name, np.array([float(holds)]), Measured.smooth([1.0]))
        add_row(report, name, [part], RTOL)["diagnosis"] = "" if holds else text

    if not hasattr(penalty, "smooth"):
        report.notes.append("smooth was not asked: the penalty has none")
    else:
        zero = np.zeros_like(tries.w)
        kinked = np.isfinite(tries.value(zero)) and one_by_one(tries.value, zero).kink.any()
        text = "penalty.smooth is True, but the value has a kink at 0"
        add("smooth", not (penalty.smooth and kinked), text)
    text = "penalty.prox turns NaN into a number, and hides that training has diverged"
    sick = tries.w.copy()
    sick.flat[0] = np.nan
    try:
        keeps = bool(np.isnan(tries.ask("prox", sick, tries.t).flat[0]))
    except (TypeError, ValueError):
        report.notes.append("NaN: penalty.prox raises, which hides nothing")
        return
    if keeps or any(kind.__module__.startswith("tinyreg.") for kind in type(penalty).__mro__):
        add("NaN", keeps, text)
    else:
        report.notes.append(text)
