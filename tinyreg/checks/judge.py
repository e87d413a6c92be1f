"""Is a given gradient the one that was measured? The verdict, coordinate by coordinate.

Let v be the measured derivative with its error e, s its natural scale, and g the given value.

============== ====================================================================================
match          |g − v| ≤ rtol · max(|g|, |v|) + e + atol, and e is small enough to have said
               otherwise: at most 2 % of |v| or of s, or at most atol; or g agrees with a complex
               step that real differences could neither prove nor refute
kink           the function has a kink here, and g is v, the slope of the branch that the forward
               pass takes (the convention relu'(0) = 0, say), or belongs to the kink: it lies
               between D⁻ and D⁺, and along other directions as well (`tinyreg.checks.kinks`)
mismatch       neither: g is the derivative of another function
inconclusive   there is no v to compare with, or e is too large; the reason is told
============== ====================================================================================

At a kink the branch's slope may lie outside [D⁻, D⁺]: relu(t) − relu(−t) is t, and with
relu'(0) = 0 its backward pass says 0. That follows the convention and is no mistake, so the verdict
is kink; but it is no subgradient either, and the report says that too.

A gradient computed in single precision carries the rounding of its largest entries. A small entry
that is off by no more than that is inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinyreg.checks.differences import Measured
from tinyreg.checks.steps import EPS, NOISE
from tinyreg.validate import Array

VERDICTS = ("match", "kink", "inconclusive", "mismatch")  # from the best to the worst
MATCH, KINK, INCONCLUSIVE, MISMATCH = range(4)
SMALL = 0.02  # a measurement with a larger error says nothing
COARSE = "the gradient is in low precision, too coarse for its small entries: atol= allows for it"
HIDDEN = NOISE + ": atol= says how much may be lost"


class Part(NamedTuple):
    """A gradient, or a term of it, and what was measured: arrays of one shape.

    `clarke` says what `tinyreg.checks.kinks` found at kinks: 1 where the gradient belongs to the
    kink, −1 where it does not, for the reason in `refused`, and 0 where it was not asked.
    """

    name: str
    given: Array
    measured: Measured
    clarke: Array | float = 0.0
    refused: str = ""

    def each(self, change: Callable[[Array], Array]) -> Part:
        """The same with every array changed."""
        clarke = change(self.clarke) if isinstance(self.clarke, np.ndarray) else self.clarke
        return Part(self.name, change(self.given), self.measured.each(change), clarke, self.refused)


class Judged(NamedTuple):
    """For each coordinate: verdict (0 to 3), relative error, is D⁻ ≤ g ≤ D⁺?, reason."""

    verdict: Array
    error: Array
    between: Array
    reason: Array


def judge(part: Part, rtol: float, atol: float = 0.0, precision: float = EPS) -> Judged:
    """Each coordinate by the rule above; `precision` is the epsilon of the given gradient."""
    given, m = part.given, part.measured
    kink, value = m.kink, m.value
    # What rounding in the given precision may have done, by the entry and by the largest one.
    coarse = 0.0 if precision <= EPS else 16 * precision
    slopes = np.array([value, m.left, m.right])
    largest = coarse * np.max(np.abs(slopes), initial=0.0, where=np.isfinite(slopes))

    def relative(distance: Array, size: Array, error: Array) -> Array:
        # distance / (size + slack/rtol) > rtol just when distance > rtol size + slack
        size = np.maximum(np.abs(given), size)
        floor = size + (error + atol + coarse * size) / rtol
        return np.divide(distance, floor, out=np.zeros_like(distance), where=distance != 0)

    with np.errstate(invalid="ignore", over="ignore"):
        off = relative(np.abs(given - value), np.abs(value), m.error)
        low, high = (f(m.left, m.right) for f in (np.minimum, np.maximum))
        outside = np.maximum(np.maximum(low - given, given - high), 0.0)
        size = np.maximum(np.abs(low), np.abs(high))
        outside = np.where(kink, relative(outside, size, m.side_error), np.inf)
        near = np.abs(given - value) <= m.error + atol + largest
        agreed = np.abs(given - m.unproved) <= max(rtol, 1e-3) * np.abs(given)
    between = kink & (outside <= rtol)
    outside = np.where(part.clarke == 0, outside, np.where(part.clarke > 0, 0.0, np.inf))
    off = np.where(np.isnan(off), np.inf, off)
    off = np.where(kink, np.minimum(off, outside), off)
    verdict = np.where(off <= rtol, np.where(kink, KINK, MATCH), MISMATCH)

    # A formula such as 1 − tanh² may round a slope to 0; beside larger slopes near by it is 0.
    zero = (verdict == MISMATCH) & (given == 0) & ~kink & (np.abs(value) <= m.floor)
    verdict[zero & (m.floor <= 1e-7 * m.scale)] = MATCH
    # Agreement to within an error as large as the slopes says nothing.
    small = m.error <= np.maximum(SMALL * np.maximum(np.abs(value), m.scale), atol)
    known = (m.reason == "") & (kink | small | ((given == 0) & (value == 0)))
    reason = np.where(m.reason == "", HIDDEN, m.reason)
    reason[(verdict == MISMATCH) & near] = COARSE
    wrong = (verdict == MISMATCH) & ~near & ~zero & (known | (np.isfinite(value) & ~kink))
    judged = wrong | ((verdict != MISMATCH) & known)
    verdict[agreed & ~judged] = MATCH
    reason[judged | agreed] = ""
    verdict[reason != ""], off[(reason != "") | (agreed & ~judged)] = INCONCLUSIVE, 0.0
    wild = ~np.isfinite(given)
    verdict[wild], off[wild], reason[wild] = MISMATCH, np.inf, ""
    return Judged(verdict, off, between, reason)
