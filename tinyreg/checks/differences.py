"""Derivatives measured from the values of a function, of which nothing else is known.

**The complex step.** f(x + ih) = f(x) + ih f'(x) − h²f''(x)/2 − …, so f' is the imaginary part over
h; no two near numbers are subtracted, h may be 1e-30, and the result is exact to rounding (Squire
and Trapp 1998). It needs code that keeps the imaginary part, and at a kink it gives the slope of
the branch that the code takes.

**Real differences.** With φ(t) = f(x + tv), the central difference at h errs by h²φ'''/6 from the
series and by about noise/h from rounding. A pair of steps h and h/2 cancels the first error term,
(4 d(h/2) − d(h))/3, and what it changes is the error estimate. The same pair on one side gives
D⁺ = 2 d⁺(h/2) − d⁺(h), and D⁻ likewise: one `rung` of a ladder of steps.

**Noise.** The values of f scatter by rounding, and by how much decides which steps can be read.
A table of differences tells it from curvature (`noise_of`).

**Kinks.** For a smooth φ the difference D⁺ − D⁻ is O(h³). Where it stays put while h shrinks, over
three rungs and down to the last that the noise leaves readable, φ has a kink (`along`).
"""

from __future__ import annotations

import contextlib
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
NEAREST = 1e-10  # of max(|x|, 1): about the shortest step
FARTHEST = 0.25  # of max(|x|, 1): the longest, taken where shorter ones show only noise
NOISE = "the rounding of the function's values hides the slope"
SMOOTH = 1e-5  # D⁺ − D⁻ below this share of the slopes is no kink
READABLE = 1e-2  # a rung is read where its rounding is below this share of its slopes


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

    >>> line, kink = Measured.smooth([2.0]), Measured.smooth([0.0])
    >>> kink.left[0], kink.right[0] = -1.0, 1.0
    >>> total = line.plus(kink)  # of 2x + |x| at 0
    >>> total.kink, total.left, total.right
    (array([ True]), array([1.]), array([3.]))
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
        value = np.array(value, dtype=np.float64)

        def full(fill: ArrayLike) -> Array:
            return np.full(value.shape, fill, dtype=np.float64)

        reason = np.full(value.shape, "", dtype=object)
        none = full(np.nan), full(np.nan), full(0.0), full(0.0), full(np.nan)
        return cls(value, full(error), full(scale), *none, reason)

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


class Line(NamedTuple):
    """The derivative of φ at 0, as in `Measured`; `left` and `right` only at a kink."""

    value: float = np.nan
    error: float = np.nan
    scale: float = 0.0
    left: float = np.nan
    right: float = np.nan
    side_error: float = 0.0
    floor: float = 0.0
    unproved: float = np.nan
    reason: str = ""

    @property
    def kink(self) -> bool:
        """Is there a kink?"""
        return not np.isnan(self.left)

    @property
    def sure(self) -> bool:
        """Is it known to a thousandth of its own size, or of the natural scale?"""
        return not self.reason and (
            self.kink or self.error <= 1e-3 * max(abs(self.value), self.scale)
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


# ---------------------------------------------------------------- along a line


class Rung(NamedTuple):
    """What the steps ±h and ±h/2 say of φ."""

    h: float
    value: float  # (4 d(h/2) − d(h))/3
    left: float
    right: float
    truncation: float
    rounding: float
    slope: float  # the largest difference quotient of one side

    @property
    def error(self) -> float:
        """Of the value, where φ is smooth; its rounding is 3 noise/h, that of a side 8 noise/h."""
        jump = abs(self.right - self.left) - self.rounding
        return self.truncation + 3 / 8 * self.rounding + max(jump, 0.0) / 2

    @property
    def readable(self) -> bool:
        """Is there more than noise?"""
        return self.rounding <= READABLE * self.slope

    @property
    def smooth(self) -> bool:
        """Do both sides have one slope?"""
        size = max(abs(self.left), abs(self.right), self.slope)
        return abs(self.right - self.left) <= 2 * self.rounding + SMOOTH * size


def rung(phi: Callable[[float], float], phi0: float, h: float, noise: float) -> Rung | None:
    """The rung of a step h, or None where φ is not finite at it."""
    values = [phi(h), phi(-h), phi(h / 2), phi(-h / 2)]
    if not np.isfinite(values).all():
        return None
    up, down, up2, down2 = (value - phi0 for value in values)
    wide, narrow = (up - down) / (2 * h), (up2 - down2) / h
    rounding = 8 * max(noise, EPS * max(abs(up), abs(down))) / h
    return Rung(
        h,
        (4 * narrow - wide) / 3,
        (down - 4 * down2) / h,
        (4 * up2 - up) / h,
        abs(wide - narrow),
        rounding,
        max(abs(up), abs(down)) / h,
    )


def along(
    phi: Callable[[float], float],
    phi0: float,
    steps: Sequence[float],
    noise: float,
    guess: float = np.nan,
) -> Line:
    """φ'(0) from values of φ, or D⁻ and D⁺ if φ has a kink there.

    The first step decides if φ is smooth at it and a finer step confirms that: a step longer than
    the waves of φ may find any slope. Else all steps are taken, and longer ones, up to the last of
    the ladder, where these show only noise.

    phi0 is φ(0), `noise` the size of the errors in the values of φ, `steps` as in `ladder`, and
    `guess` a proved complex step, which needs no more than a first step that does not refute it.

    >>> steps = ladder(1.0, 0.0, EPS)
    >>> round(along(lambda t: 3 * t + t**3, 0.0, steps, EPS).value, 9)
    3.0
    >>> [round(side, 9) for side in along(abs, 0.0, steps, EPS)[3:5]]
    [-1.0, 1.0]
    """
    first, *finer, longest = steps
    start = rung(phi, phi0, first, noise)
    if start and start.smooth:
        line = Line(start.value, start.error, start.slope)
        if abs(guess - start.value) <= start.error:
            return line
    if start and start.smooth and start.error <= 1e-5 * abs(start.value):
        h = finer[0]
        confirmed = (phi(h) - phi(-h)) / (2 * h)
        slack = start.error + 2 * noise / h + 1e-6 * abs(start.value)
        if abs(confirmed - start.value) <= slack:
            return line
    rungs = [start, *(rung(phi, phi0, h, noise) for h in finer)]
    line = _decide([r for r in rungs if r], first)
    h = first
    while not line.sure and rungs[0] and h * SHRINK <= longest:
        h *= SHRINK
        rungs.insert(0, rung(phi, phi0, h, noise))
        longer = _decide([r for r in rungs if r], first)
        if longer.reason and not line.reason:  # there is a kink farther off
            break
        line = longer
    if line.reason and None in rungs:
        near = min(h for h, r in zip([h, *finer], rungs, strict=False) if r is None)
        return Line(reason=f"the function is not finite within {near:.1g} of this point")
    return line


def _decide(rungs: list[Rung], near: float) -> Line:
    """What the rungs say, from the longest step to the shortest.

    The shortest that can be read tell whether φ is smooth; of the smooth ones next to them, the
    one with the smallest error is taken. Slopes over steps up to `near` are the natural scale.
    """
    if not rungs:
        return Line(reason="the function is not finite near this point")
    readable = [r for r in rungs if r.readable]
    if not readable:
        best = min(rungs, key=lambda r: r.error)  # a slope of 0, up to the error
        return Line(best.value, best.error + best.rounding)
    smooth = list(itertools.takewhile(lambda r: r.smooth, reversed(readable)))
    if not smooth:
        return _kink(list(itertools.takewhile(lambda r: not r.smooth, reversed(readable))))
    best = min(smooth, key=lambda r: r.error)
    scale = max(r.slope for r in readable if r.h <= max(near, best.h))
    rival = min(smooth, key=lambda r: r.h)
    if abs(rival.value - best.value) > best.error + rival.error + 1e-3 * abs(best.value):
        return Line(reason="the slopes do not settle: the function varies faster than the steps")
    return Line(best.value, best.error, scale)


def _kink(seen: list[Rung]) -> Line:
    """D⁻ and D⁺ from neighbouring steps that agree; those of √|t| and jumps never do.

    A kink is shown by three rungs on which the slopes of each side stay the same and differ
    from those of the other side by far more than the noise.
    """
    shown = [r for r in seen if abs(r.right - r.left) > 8 * r.rounding]
    if len(shown) < 3:
        return Line(reason=NOISE)
    best = Line(side_error=np.inf)
    for fine, middle, coarse in zip(shown, shown[1:], shown[2:], strict=False):
        change = max(abs(fine.left - middle.left), abs(fine.right - middle.right))
        further = max(abs(middle.left - coarse.left), abs(middle.right - coarse.right))
        error = change + middle.rounding
        settled = further <= READABLE * max(abs(middle.left), abs(middle.right)) + coarse.rounding
        if settled and error < best.side_error:
            best = Line(scale=middle.slope, left=middle.left, right=middle.right, side_error=error)
    if best.side_error <= READABLE * max(abs(best.left), abs(best.right)):
        return best
    first, last = (max(abs(r.left), abs(r.right)) for r in (shown[-1], shown[0]))
    if last > 2 * first:
        reason = "the slopes grow without bound as the step shrinks: a jump or a vertical tangent"
    else:
        reason = "the one-sided slopes do not settle as the step shrinks"
    return Line(reason=reason)


def ladder(coarse: float, fine: float, relative_noise: float) -> list[float]:
    """The first step, finer ones, and last the longest that may be tried.

    The first is about ε^⅓ of `coarse`; where `fine`, the size of x itself, is far below it, a step
    of ε^⅓ of that comes too, for functions such as log. All are powers of 2, so that a coordinate
    moves by just the step.
    """
    cube_root = min(max(relative_noise, EPS), 1e-3) ** (1 / 3)
    first = power_of_2(cube_root * coarse)
    steps = [first]
    while steps[-1] > NEAREST * coarse:
        steps.append(steps[-1] / SHRINK)
    if 0 < cube_root * fine < steps[-1]:
        least = power_of_2(cube_root * fine)
        steps += [least * SHRINK, least, least / SHRINK]
    return [*steps, FARTHEST * coarse]


def power_of_2(h: float) -> float:
    """The power of 2 below h."""
    return float(2.0 ** np.floor(np.log2(h)))


def reach(x: Array, v: Array) -> tuple[float, float]:
    """How far t may go in x + tv till a coordinate moves by max(|x_i|, 1), and by |x_i| ≠ 0."""
    size, moved = np.abs(x), np.abs(v)
    coarse = 1 / np.max(moved / np.maximum(size, 1.0))
    fine = np.max(np.divide(moved, size, out=np.zeros(x.shape), where=size > 0))
    return float(coarse), float(1 / fine) if fine else 0.0


# ---------------------------------------------------------------- noise


def sizes(x: Array) -> Array:
    """|x|, and for its zeros the largest of them that is no larger than 1, or 1."""
    size = np.abs(x)
    return np.where(size > 0, size, min(size.max(), 1.0) or 1.0)


def noise_of(f: Callable[[Array], float], x: Array, f0: float, rng: np.random.Generator) -> Array:
    """How much the values of f scatter: one number, or two where larger steps show more noise.

    From values at eight equally spaced points on one side of x, where no kink at x is seen, for
    several spacings. What is found first is the rounding of f; at larger spacings there may be that
    of a part in single precision, or a wave that the points are too far apart to resolve.

    >>> x = np.array([0.3, -0.2])
    >>> bool(noise_of(lambda x: float(np.sum(x**2)), x, 0.13, generator(0))[0] < 1e-16)
    True
    """
    direction = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape) * sizes(x)
    found, quantum = [], 0.0
    for spacing in 2.0 ** np.arange(-44, -8, 8):
        values = np.array([f(x + k * spacing * direction) for k in range(1, 9)])
        if not np.isfinite(values).all():
            break
        if len(np.unique(values)) > 4:
            found.append(_scatter(values))
        else:
            quantum = max(quantum, float(np.abs(np.diff(values)).max()))
    known = [sigma for sigma in found if sigma] or [quantum]
    single = [sigma for sigma in known if sigma <= 1e-5 * abs(f0)]
    levels = 2 * known[0], 2 * max([known[0], *single])
    return np.unique(np.maximum(levels, EPS / 2 * abs(f0)))


def _scatter(values: Array) -> float:
    """σ of the errors in equally spaced values of a smooth function, 0 where none is told.

    Differences of order k multiply independent errors of size σ to σ √((2k)!)/k!, and those of a
    smooth function vanish with k. Where three orders tell one σ, and the differences change their
    sign, that is the noise (Moré and Wild, SIAM J. Sci. Comput. 33, 2011, section 5).
    """
    levels, signs, factor = [], [], 1.0
    size = float(np.abs(values).max()) or 1.0
    values = values / size
    for k in range(1, len(values) - 1):
        values = np.diff(values)
        factor *= k / (2 * (2 * k - 1))
        levels.append(float(np.sqrt(factor * np.mean(values**2))))
        signs.append(bool(values.min() < 0 < values.max()))
    for k in range(len(levels) - 2):
        near = levels[k : k + 3]
        if signs[k] and max(near) <= 4 * min(near):
            return size * near[0]
    return 0.0


# ---------------------------------------------------------------- the complex step


def complex_slope(f: Callable[[Array], complex], x: Array, direction: Array) -> float:
    """The complex-step derivative of f along a direction; NaN where f takes or gives none."""
    with quiet():
        try:
            value = f(x + 1j * COMPLEX_STEP * direction)
        except Exception:  # anything may go wrong in code that was not written for complex numbers
            return np.nan
    return float(np.imag(value)) / COMPLEX_STEP if np.iscomplexobj(value) else np.nan


# ---------------------------------------------------------------- in every coordinate


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
        """The real part of f; NaN where f raises, as it may away from x."""
        with quiet():
            try:
                return float(np.real(self.f(x)))
            except Exception:  # an assertion of a user's own, say
                return np.nan

    def along(self, v: Array, guess: float = np.nan) -> Line:
        """The derivative along v; by the larger noise, if that is one and leaves it readable."""
        lines = []
        for noise in self.noise[::-1]:
            relative = float(noise / abs(self.f0)) if self.f0 else EPS
            steps = ladder(*reach(self.x, v), relative)
            line = along(lambda t: self.value(self.x + t * v), self.f0, steps, float(noise), guess)
            if line.sure:
                return line
            lines.append(line)
        return lines[-1]

    def complex_step(self, v: Array, near: Sequence[Array]) -> Line:
        """The same by the complex step; it errs by what it changes as x moves by rounding.

        `near` are such points. A sum of large terms changes by their rounding, a small term by its
        own. The rounding of f over x is allowed for up to a thousandth of the slope, as formulas
        such as 1 − tanh² have it.
        """
        slope = complex_slope(self.f, self.x, v)
        change = max(abs(complex_slope(self.f, point, v) - slope) for point in near)
        size = float(abs(self.f0) / reach(self.x, v)[0])
        error = 8 * (change + EPS * abs(slope)) + min(8 * EPS * size, 1e-3 * abs(slope))
        error += EPS**4 * size  # so far below all rounding a slope is 0
        return Line(slope, error, np.sqrt(EPS) * size, floor=8 * EPS * size)

    def odd(self, v: Array, slope: float) -> bool:
        """Is it the slope of one branch, on both sides?

        np.maximum goes by imaginary parts where real ones are equal: D⁺ one way, D⁻ the other.
        """
        return abs(complex_slope(self.f, self.x, -v) + slope) <= 1e-9 * abs(slope)


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
    differences do not contradict it. `precision` is the relative error of f's values. Away from x
    the function may raise, or be not finite: those steps are left out.
    """
    real = Differences(f, x, rng, precision)
    possible, proved = _complex_works(real, rng) if method != "central" else (False, False)
    if method == "complex" and not possible:
        raise ValueError(
            'method="complex" needs an f that keeps imaginary parts, and this one loses them (as '
            'np.abs, norms and float(...) do), or is flat: use method="central"'
        )
    jitter = [x * (1 + EPS * rng.choice([-1.0, 1.0], x.shape))]
    ways = (e for _, e in unit_vectors(x.shape)) if vectors is None else iter(vectors)
    lines, refuted = [], 0
    for v in ways:
        exact = real.complex_step(v, jitter) if possible else Line()
        if method == "complex":
            lines.append(exact)
            continue
        line = real.along(v, exact.value if proved else np.nan)
        if possible and line.reason in ("", NOISE):
            if line.kink:
                branch = exact.value if proved and real.odd(v, exact.value) else np.nan
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
    if not refuted:
        return []
    return [
        f"the complex step is wrong at {refuted} of {size} coordinates, by the real "
        "differences: some forward code drops imaginary parts. The real differences decide"
    ]


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
