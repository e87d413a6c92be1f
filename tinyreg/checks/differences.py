"""Derivatives measured from the values of a function, of which nothing else is known.

The complex step: f(x + ih) = f(x) + ih f'(x) − h²f''(x)/2 − …, so f' is the imaginary part over h.
No two near numbers are subtracted, h may be 1e-30, and the result is exact to rounding (Squire and
Trapp 1998). It needs code that keeps imaginary parts; at a kink it gives the slope of one branch.

Real differences (`tinyreg.checks.steps`) need nothing but values, and find kinks. They say where
the complex step may be believed; where they cannot tell, it may confirm a gradient, not refute one.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.checks.steps import EPS, NOISE, Line, along, ladder, noise_of, reach, sizes
from tinyreg.core.objective import COMPLEX_STEP
from tinyreg.validate import Array

BENT = "the complex step says one slope this way and one that way: there is a kink here"


class Measured(NamedTuple):
    """Measured derivatives, in arrays of one shape.

    value : the derivative; at a kink the slope of the branch taken, NaN where that is not known
    error : a bound or an estimate of its error
    scale : the natural scale, which is the largest slope seen over steps near by
    left, right : D⁻ and D⁺ at a kink, NaN elsewhere
    side_error : the error of D⁻ and D⁺
    floor : a slope below it may have been rounded to 0 by a formula such as 1 − tanh²
    unproved : what the complex step says where real differences can neither confirm nor refute it
    reason : why the value is not known, "" where it is
    """

    value: Array
    error: Array
    scale: Array
    left: Array
    right: Array
    side_error: Array
    floor: Array
    unproved: Array
    reason: Array

    @classmethod
    def smooth(cls, value: ArrayLike, error: ArrayLike = 0.0, scale: ArrayLike = 0.0) -> Measured:
        """Known derivatives without kinks."""
        full = partial(np.full, np.shape(value), dtype=np.float64)
        none = full(np.nan), full(np.nan), full(0.0), full(0.0), full(np.nan)
        reason = np.full(np.shape(value), "", dtype=object)
        return cls(full(value), full(error), full(scale), *none, reason)

    @property
    def kink(self) -> Array:
        """Where there is a kink."""
        return ~np.isnan(self.left)

    def put(self, where: Any, part: Measured) -> None:
        """Write `part` to the coordinates `where`."""
        for own, new in zip(self, part, strict=True):
            own[where] = new

    def each(self, change: Callable[[Array], Array]) -> Measured:
        """The same with every array changed."""
        return Measured(*map(change, self))

    def one_sided(self) -> tuple[Array, Array, Array]:
        """D⁻, D⁺ and their error; where there is no kink both are the derivative."""
        pairs = (self.left, self.value), (self.right, self.value), (self.side_error, self.error)
        left, right, error = (np.where(self.kink, a, b) for a, b in pairs)
        return left, right, error

    def plus(self, other: Measured) -> Measured:
        """The derivative of the sum of two functions."""
        kink = self.kink | other.kink
        sides = zip(self.one_sided(), other.one_sided(), strict=True)
        left, right, side_error = (own + others for own, others in sides)
        return Measured(
            self.value + other.value,
            self.error + other.error,
            self.scale + other.scale,
            np.where(kink, left, np.nan),
            np.where(kink, right, np.nan),
            side_error,
            self.floor + other.floor,
            np.full(kink.shape, np.nan),
            np.where(self.reason != "", self.reason, other.reason),
        )


def from_lines(lines: Sequence[Line], shape: tuple[int, ...]) -> Measured:
    """The same as arrays."""
    kinds = 8 * [np.float64] + [object]  # numbers, and the reason
    columns = zip(zip(*lines, strict=True), kinds, strict=True)
    return Measured(*(np.array(column, dtype=kind).reshape(shape) for column, kind in columns))


def generator(seed: int) -> np.random.Generator:
    """Random numbers that no x of a user's own is likely to be made of."""
    return np.random.default_rng([seed, 0x7472])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warning leaves, and none is raised as an error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def attempt(f: Callable[[Array], Any], x: Array) -> Any:
    """f(x); NaN where it raises, as it may away from the point and for complex numbers."""
    try:
        return f(x)
    except Exception:  # an assertion of a user's own, say
        return np.nan


def complex_slope(f: Callable[[Array], complex], x: Array, direction: Array) -> float:
    """The complex-step derivative of f along a direction; NaN where f takes or gives none."""
    value = attempt(f, x + 1j * COMPLEX_STEP * direction)
    return float(np.imag(value)) / COMPLEX_STEP if np.iscomplexobj(value) else np.nan


def branch_slope(f: Callable[[Array], complex], x: Array, direction: Array) -> float:
    """The same, if it is the slope of one branch on both sides; else NaN.

    np.maximum goes by imaginary parts where real ones are equal: D⁺ one way, D⁻ the other.
    """
    slope = complex_slope(f, x, direction)
    odd = abs(complex_slope(f, x, -direction) + slope) <= 1e-9 * abs(slope)
    return slope if odd else np.nan


def unit_vectors(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Each index, with the array that is 1 there and 0 elsewhere (one array, reused)."""
    e = np.zeros(shape)
    for index in np.ndindex(shape):
        e[index] = 1.0
        yield index, e
        e[index] = 0.0


class Differences:
    """A function near a point: its noise, and its real differences along any line through it."""

    def __init__(
        self, f: Callable[[Array], Any], x: Array, rng: np.random.Generator, precision: float = EPS
    ) -> None:
        self.f, self.x = f, x
        self.f0 = float(np.real(f(x)))
        found = noise_of(self.value, x, self.f0, rng)
        self.noise = np.unique(np.maximum(found, precision / 2 * abs(self.f0)))

    def value(self, x: Array) -> float:
        """The real part of f."""
        return float(np.real(attempt(self.f, x)))

    def along(self, v: Array, guess: float = np.nan) -> Line:
        """The derivative along v; by the larger noise, if that is one and leaves it readable."""
        for noise in self.noise[::-1]:
            relative = float(noise / abs(self.f0)) if self.f0 else EPS
            steps = ladder(*reach(self.x, v), relative)
            line = along(lambda t: self.value(self.x + t * v), self.f0, steps, float(noise), guess)
            if line.sure:
                break
        return line

    def complex_step(self, v: Array, near: Array) -> Line:
        """The same by the complex step; it errs by what it changes at `near`, within rounding.

        A sum of large terms changes by their rounding, a small term by its own. The rounding of f
        over x is allowed for up to a thousandth of the slope: formulas such as 1 − tanh² have it.
        """
        slope = complex_slope(self.f, self.x, v)
        change = abs(complex_slope(self.f, near, v) - slope)
        size = float(abs(self.f0) / reach(self.x, v)[0])
        error = 8 * (change + EPS * abs(slope)) + min(8 * EPS * size, 1e-3 * abs(slope))
        error += EPS**4 * size  # so far below all rounding a slope is 0
        return Line(slope, error, 0.1 * np.sqrt(EPS) * size, floor=8 * EPS * size)


@quiet()
def measure(
    f: Callable[[Array], Any],
    x: Array,
    method: str,
    rng: np.random.Generator,
    vectors: Array | None = None,
    precision: float = EPS,
) -> tuple[Measured, list[str]]:
    """The derivatives of f at x along each coordinate, or along each of `vectors`; and notes.

    `precision` is the relative error of f's values. Steps where f raises or is not finite are left
    out.
    """
    real = Differences(f, x, rng, precision)
    possible, proved = _complex_works(real, rng) if method != "central" else (False, False)
    if method == "complex" and not possible:
        raise ValueError(
            'method="complex" needs an f that keeps imaginary parts, and this one loses them (as '
            'np.abs, norms and float(...) do), or is flat: use method="central"'
        )
    near = x * (1 + EPS * rng.choice([-1.0, 1.0], x.shape))
    ways = (e for _, e in unit_vectors(x.shape)) if vectors is None else iter(vectors)
    lines, refuted = [], 0
    for v in ways:
        exact = real.complex_step(v, near) if possible else Line()
        if method == "complex":
            bent = np.isfinite(exact.value) and np.isnan(branch_slope(f, x, v))
            lines.append(Line(reason=BENT) if bent else exact)
            continue
        line = real.along(v, exact.value if proved else np.nan)
        if possible and line.reason in ("", NOISE):
            if line.kink:
                branch = branch_slope(f, x, v) if proved else np.nan
                line = line._replace(value=branch, error=line.side_error)
            elif line.sure and not _agree(exact.value, line):
                refuted += 1
            elif proved and (line.sure or exact.value):
                line = exact._replace(scale=max(line.scale, exact.scale))
            elif not abs(exact.value - line.value) > 10 * line.error:
                # Below the square of all rounding it is 0.
                tiny = abs(exact.value) <= EPS**1.5 * exact.scale
                line = line._replace(unproved=0.0 if tiny else exact.value)
        lines.append(line)
    flat = all(line.value == line.scale == 0 and line.error for line in lines)
    # Is it flat, or does its rounding hide the slopes? Then no 0 is a match.
    if flat and not all(
        abs(complex_slope(f, x, e)) <= EPS * lines[0].error for _, e in unit_vectors(x.shape)
    ):
        lines = [line._replace(reason=NOISE) for line in lines]
    measured = from_lines(lines, x.shape if vectors is None else (len(vectors),))
    return measured, refuted_notes(refuted, len(lines))


def refuted_notes(refuted: int, size: int) -> list[str]:
    """A note that the complex step was given up at some coordinates, if at any."""
    told = (
        f"the complex step is wrong at {refuted} of {size} coordinates, by the real "
        "differences: some forward code drops imaginary parts. The real differences decide"
    )
    return [told] if refuted else []


def _agree(slope: float, line: Line) -> bool:
    return abs(slope - line.value) <= 1e-5 * abs(slope) + 10 * line.error


def _complex_works(real: Differences, rng: np.random.Generator) -> tuple[bool, bool]:
    """May the complex step of f be its derivative, and do random directions prove it?

    At x and near it, because x itself may be a kink, and those prove nothing.
    """
    possible = proved = False
    for spread in (0.0, 1e-6, 1e-4):
        point = real.x + spread * sizes(real.x) * rng.standard_normal(real.x.shape)
        v = rng.choice([-1.0, 1.0], real.x.shape) * sizes(real.x) / np.sqrt(real.x.size)
        if not np.isfinite(real.value(point)):
            continue
        slope = complex_slope(real.f, point, v)
        line = (Differences(real.value, point, rng) if spread else real).along(v)
        smooth = not (line.reason or line.kink)
        if np.isnan(slope) or (smooth and not _agree(slope, line)):
            return False, False
        possible |= slope != 0
        proved |= smooth and line.sure and slope != 0
    return possible, proved
