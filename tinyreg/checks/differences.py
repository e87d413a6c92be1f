"""Derivatives measured from the values of a function, of which nothing else is known.

**The complex step.** f(x + ih) = f(x) + ih f'(x) − h²f''(x)/2 − …, so f' is the imaginary part over
h; no two near numbers are subtracted, h may be 1e-30, and the result is exact to rounding (Squire
and Trapp 1998). It needs code that keeps the imaginary part, and at a kink it gives the slope of
the branch that the code takes.

**Real differences.** With φ(t) = f(x + tv), the central difference at h errs by h²φ'''/6 from the
series and by about ε|f|/h from rounding; both are small for h ≈ ε^⅓. A pair of steps h and h/2
cancels the first error term, (4 d(h/2) − d(h))/3, and what it changes is the error estimate. The
same pair on one side gives D⁺ = 2 d⁺(h/2) − d⁺(h), and D⁻ likewise.

**Kinks.** For a smooth φ the difference D⁺ − D⁻ is O(h³). Where it stays put while h shrinks, φ has
a kink (`along`).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.objective import COMPLEX_STEP
from tinyreg.validate import Array

EPS = float(np.finfo(np.float64).eps)
SHRINK = 8.0  # from one step of the ladder to the next
RUNGS = 7
SMOOTH = 1e-5  # D⁺ − D⁻ below this share of the slopes is no kink


class Measured(NamedTuple):
    """Measured derivatives, in arrays of one shape.

    value : the derivative; at a kink the slope of the branch taken, NaN where that is not known
    error : a bound or an estimate of its error
    left, right : D⁻ and D⁺ at a kink, NaN elsewhere
    side_error : the error of D⁻ and D⁺
    reason : why there is no value, "" where there is one

    >>> line, kink = Measured.smooth([2.0]), Measured.smooth([0.0])
    >>> kink.left[0], kink.right[0] = -1.0, 1.0
    >>> total = line.plus(kink)  # of 2x + |x| at 0
    >>> total.kink, total.left, total.right
    (array([ True]), array([1.]), array([3.]))
    """

    value: Array
    error: Array
    left: Array
    right: Array
    side_error: Array
    reason: Array

    @classmethod
    def smooth(cls, value: ArrayLike, error: ArrayLike = 0.0) -> Measured:
        """Known derivatives without kinks."""
        value = np.array(value, dtype=np.float64)

        def full(fill: ArrayLike) -> Array:
            return np.full(value.shape, fill, dtype=np.float64)

        reason = np.full(value.shape, "", dtype=object)
        return cls(value, full(error), full(np.nan), full(np.nan), full(0.0), reason)

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
            np.where(kink, left, np.nan),
            np.where(kink, right, np.nan),
            side_error,
            np.where(self.reason != "", self.reason, other.reason),
        )

    def widened(self, eps: float) -> Measured:
        """Larger errors for a gradient that was computed in float32, say.

        In proportion to the largest entry, as small ones may be sums that cancelled.
        """
        if eps <= EPS:
            return self
        slopes = np.array([self.value, self.left, self.right])
        more = 16 * eps * np.abs(np.nan_to_num(slopes)).max()
        return self._replace(error=self.error + more, side_error=self.side_error + more)


class Line(NamedTuple):
    """The derivative of φ at 0, as in `Measured`; `left` and `right` only at a kink."""

    value: float = np.nan
    error: float = np.nan
    left: float = np.nan
    right: float = np.nan
    side_error: float = 0.0
    reason: str = ""

    @property
    def kink(self) -> bool:
        """Is there a kink?"""
        return not np.isnan(self.left)


def from_lines(lines: Sequence[Line], shape: tuple[int, ...]) -> Measured:
    """The same as arrays."""
    kinds = 5 * [np.float64] + [object]  # numbers, and the reason
    columns = zip(zip(*lines, strict=True), kinds, strict=True)
    return Measured(*(np.array(column, dtype=kind).reshape(shape) for column, kind in columns))


# ---------------------------------------------------------------- along a line


def along(phi: Callable[[float], float], phi0: float, steps: list[float], noise: float) -> Line:
    """φ'(0) from values of φ, or D⁻ and D⁺ if φ has a kink there.

    The steps are tried from the largest to the smallest; the first at which φ looks smooth
    decides, if the next one confirms it: a step longer than the waves of φ may find any slope. If
    φ looks kinked at all steps that the noise leaves readable, the kink is real (or nearer than
    the smallest of them), provided that D⁻ and D⁺ have settled.

    phi0 is φ(0), and `noise` the size of the errors in the values of φ.

    >>> steps = ladder(0.0, EPS)
    >>> round(along(lambda t: 3 * t + t**3, 0.0, steps, EPS).value, 9)
    3.0
    >>> [round(side, 9) for side in along(abs, 0.0, steps, EPS)[2:4]]
    [-1.0, 1.0]
    """
    seen: list[tuple[float, float, float]] = []  # D⁻, D⁺ and their rounding error
    bad, size = "", 0.0  # size: the largest slope seen, to which a jump of the slope is compared
    for h, finer in itertools.pairwise([*steps, steps[-1]]):
        values = [phi(h), phi(-h), phi(h / 2), phi(-h / 2)]
        if not np.isfinite(values).all():
            bad = bad or f"the function is not finite within {h:.1g} of this point"
            continue
        up, down, up2, down2 = values
        wide, narrow = (up - down) / (2 * h), (up2 - down2) / h
        value = (4 * narrow - wide) / 3
        right = (4 * (up2 - phi0) - (up - phi0)) / h
        left = ((down - phi0) - 4 * (down2 - phi0)) / h
        rounding = 8 * noise / h
        size = max(size, abs(left), abs(right), abs(up - phi0) / h, abs(down - phi0) / h)
        if rounding > 1e-2 * size:
            if seen:
                break
            # Nothing but noise: a slope of 0, up to the error.
            return Line(value, abs(wide - narrow) + rounding)
        jump = abs(right - left)
        if jump > 2 * rounding + SMOOTH * size:
            seen.append((left, right, rounding))
            continue
        error = abs(wide - narrow) + (rounding + jump) / 2
        if noise / finer > 1e-2 * size:  # the finer step could not tell
            return Line(value, error)
        confirmed = (phi(finer) - phi(-finer)) / (2 * finer)
        if abs(confirmed - value) <= error + 2 * noise / finer + 1e-3 * abs(value):
            return Line(value, error)
        bad = "the slopes do not settle: the function varies faster than the steps resolve"
    return _kink(seen) if seen else Line(reason=bad or "no step gave a difference")


def _kink(seen: list[tuple[float, float, float]]) -> Line:
    """D⁻ and D⁺ from the neighbouring steps that agree best; those of √|t| and jumps never do."""
    if len(seen) < 2:
        return Line(reason="noise hides whether there is a kink here")
    changes = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) + b[2] for a, b in itertools.pairwise(seen)]
    best = int(np.argmin(changes))
    left, right, _ = seen[best + 1]
    error = changes[best]
    if error <= 1e-2 * max(abs(left), abs(right)):
        return Line(np.nan, np.nan, left, right, error)
    first, last = (max(abs(left), abs(right)) for left, right, _ in (seen[0], seen[-1]))
    if last > 2 * first:
        reason = "the slopes grow without bound as the step shrinks: a jump or a vertical tangent"
    else:
        reason = "the one-sided slopes do not settle as the step shrinks"
    return Line(reason=reason)


def ladder(x: float, relative_noise: float) -> list[float]:
    """Steps for a coordinate at x: about ε^⅓ of its scale, and down from there.

    Where x is much smaller than 1 the last step is ε^⅓|x|, for functions such as log.
    """
    cube_root = max(relative_noise, EPS) ** (1 / 3)
    steps = [cube_root * max(abs(x), 1.0) * SHRINK**-k for k in range(RUNGS)]
    if 0 < cube_root * abs(x) < steps[-1]:
        steps.append(cube_root * abs(x))
    return steps


def noise_of(f: Callable[[Array], float], x: Array, f0: float, rng: np.random.Generator) -> float:
    """How much the values of f scatter, from third differences at 16 near points.

    In third differences what is smooth has vanished and what scatters by σ scatters by √20 σ
    (Moré and Wild, SIAM J. Sci. Comput. 33, 2011). Their median is not moved by a kink or two,
    and the points lie on one side of x, where the kink would be.
    """
    direction = 1e-6 * rng.choice([-1.0, 1.0], x.shape) * np.where(x == 0, 1.0, np.abs(x))
    scatter = np.inf
    for nearer in (1, 8, 64, 512):
        values = np.array([f(x + k / nearer * direction) for k in range(1, 17)])
        before, scatter = scatter, 0.0
        if np.isfinite(values).all():
            scatter = float(np.median(np.abs(np.diff(values, 3)))) / np.sqrt(20)
        if scatter > before / 50 or scatter <= EPS * abs(f0):
            break
    return max(2 * min(scatter, before), EPS * abs(f0))


def complex_slope(f: Callable[[Array], complex], x: Array, direction: Array) -> float:
    """The complex-step derivative of f along a direction; NaN where f refuses complex numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = f(x + 1j * COMPLEX_STEP * direction)
        except Exception:  # anything may go wrong in code that was not written for complex numbers
            return np.nan
    return float(np.imag(value)) / COMPLEX_STEP


# ---------------------------------------------------------------- in every coordinate


def unit_vectors(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Each index, with the array that is 1 there and 0 elsewhere (one array, reused)."""
    e = np.zeros(shape)
    for index in np.ndindex(shape):
        e[index] = 1.0
        yield index, e
        e[index] = 0.0


def measure(
    f: Callable[[Array], Any],
    x: Array,
    method: str,
    rng: np.random.Generator,
    vectors: Array | None = None,
    precision: float = EPS,
) -> tuple[Measured, list[str]]:
    """The derivatives of f at x along each coordinate, or along each of `vectors`; and notes.

    With method="auto" the complex step is used where it is valid for f, and believed where real
    differences confirm it. `precision` is the relative error of f's values.
    """
    f0 = float(np.real(f(x)))
    noise = noise_of(f, x, f0, rng)
    if precision > EPS:
        noise = max(noise, precision * abs(f0))
    relative = min(max(noise / abs(f0) if f0 else EPS, precision), 1e-6)
    valid = method != "central" and _complex_works(f, x, f0, noise, relative, rng)
    if method == "complex" and not valid:
        raise ValueError(
            'method="complex" needs an f that keeps imaginary parts, and this one loses them (as '
            'np.abs, norms and float(...) do), or is flat: use method="central"'
        )
    # Each direction, with the size of x along it, to which steps are scaled.
    axes = ((float(x[index]), e) for index, e in unit_vectors(x.shape))
    ways = axes if vectors is None else ((0.0, v) for v in vectors)
    lines, refuted = [], 0
    for size, v in ways:
        if method == "complex":
            slope = complex_slope(f, x, v)
            lines.append(Line(slope, 64 * EPS * (abs(f0) + abs(slope))))
            continue
        line = along(_on_line(f, x, v), f0, ladder(size, relative), noise)
        if valid and not line.reason:
            branch = complex_slope(f, x, v)
            if line.kink:
                line = line._replace(value=branch, error=line.side_error)
            elif _agree(branch, line):
                line = line._replace(value=branch)
            else:
                refuted += 1
        lines.append(line)
    measured = from_lines(lines, x.shape if vectors is None else (len(vectors),))
    return measured, refuted_notes(refuted, len(lines))


def refuted_notes(refuted: int, size: int) -> list[str]:
    """A note that the complex step was given up at some coordinates, if at any."""
    if not refuted:
        return []
    return [
        f"the complex step is wrong at {refuted} of {size} coordinates, by the real "
        "differences: some forward code drops imaginary parts. The real differences decide"
    ]


def _agree(slope: float, line: Line) -> bool:
    return abs(slope - line.value) <= 1e-5 * abs(slope) + 10 * line.error


def _on_line(f: Callable[[Array], Any], x: Array, v: Array) -> Callable[[float], float]:
    """t ↦ f(x + tv)."""
    return lambda t: float(np.real(f(x + t * v)))


def _complex_works(
    f: Callable[[Array], Any],
    x: Array,
    f0: float,
    noise: float,
    relative: float,
    rng: np.random.Generator,
) -> bool:
    """Is the complex step of f its derivative, along random directions at x and near it?

    Near it, because x itself may be a kink, and those prove nothing.
    """
    proofs = 0
    for spread in (0.0, 1e-2, 0.3):
        point = x + spread * np.maximum(np.abs(x), 1e-3) * rng.standard_normal(x.shape)
        v = rng.choice([-1.0, 1.0], x.shape) / np.sqrt(x.size)
        at = float(np.real(f(point))) if spread else f0
        if not np.isfinite(at):
            continue
        line = along(_on_line(f, point, v), at, ladder(0.0, relative), noise)
        if line.reason or line.kink:
            continue
        slope = complex_slope(f, point, v)
        if not _agree(slope, line):
            return False
        proofs += abs(slope) > 100 * line.error
    return proofs > 0
