"""φ'(0) from values of φ near 0: the step, the noise, and whether there is a kink.

The central difference at h errs by h²φ'''/6 from the series and by about noise/h from rounding. A
pair of steps h and h/2 cancels the first error term, (4 d(h/2) − d(h))/3, and what it changes is
the error estimate. The same pair on one side gives D⁺ = 2 d⁺(h/2) − d⁺(h), and D⁻ likewise: one
`rung` of a ladder of steps. How much the values scatter decides which of them can be read.

For a smooth φ the difference D⁺ − D⁻ is O(h³). Where it stays put while h shrinks, over three rungs
and down to the last that the noise leaves readable, φ has a kink.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tinyreg.validate import Array

EPS = float(np.finfo(np.float64).eps)
SHRINK = 8.0  # from one step of the ladder to the next
NEAREST = 1e-10  # of max(|x|, 1): about the shortest step
FARTHEST = 0.25  # of max(|x|, 1): the longest, taken where shorter ones show only noise
NOISE = "the rounding of the function's values hides the slope"
SMOOTH = 1e-5  # D⁺ − D⁻ below this share of the slopes is no kink
READABLE = 1e-2  # a rung is read where its rounding is below this share of its slopes


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
    the ladder, where these show only noise. `noise` is the size of the errors in the values of φ,
    and `guess` a proved complex step: a first step that does not refute it is enough.

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

    The shortest that can be read tell whether φ is smooth; of the smooth ones next to them, the one
    with the smallest error is taken. Slopes over steps up to `near` are the natural scale.
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
    """D⁻ and D⁺, shown by three rungs on which each side keeps its slope: not of √|t| and jumps."""
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

    The first is about ε^⅓ of `coarse`; where `fine`, the size of x itself, is far below it, ε^⅓ of
    that comes too, for functions such as log. A coordinate moves by just the step: a power of 2.
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


def sizes(x: Array) -> Array:
    """|x|, and for its zeros the largest of them that is no larger than 1, or 1."""
    size = np.abs(x)
    return np.where(size > 0, size, min(size.max(), 1.0) or 1.0)


def noise_of(f: Callable[[Array], float], x: Array, f0: float, rng: np.random.Generator) -> Array:
    """How much the values of f scatter: one number, or two where larger steps show more noise.

    From values at eight equally spaced points on one side of x, where no kink at x is seen. Larger
    spacings may show the rounding of a part in single precision, or a wave too short to resolve.

    >>> x, rng = np.array([0.3, -0.2]), np.random.default_rng(1)
    >>> bool(noise_of(lambda x: float(np.sum(x**2)), x, 0.13, rng)[0] < 1e-16)
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
    first = max(sigma for sigma in known if sigma <= 30 * known[0])
    levels = 2 * first, 2 * max([first, *single])
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
