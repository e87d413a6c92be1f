"""Is a given gradient the one that was measured? The verdict, coordinate by coordinate.

Let v be the measured derivative with its error e, and g the given value.

============== ====================================================================================
match          |g − v| ≤ rtol · max(|g|, |v|) + e
kink           the function has a kink here, and g is v, the slope of the branch that the forward
               pass takes (the convention relu'(0) = 0, say), or lies between D⁻ and D⁺
mismatch       neither: g is the derivative of another function
inconclusive   there is no v to compare with, or e is as large as the gradient; the reason is told
============== ====================================================================================

At a kink the branch's slope may lie outside [D⁻, D⁺]: relu(t) − relu(−t) is t, and with
relu'(0) = 0 its backward pass says 0. That follows the convention and is no mistake, so the verdict
is kink; but it is no subgradient either, and the report says that too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyreg.checks.differences import Measured
from tinyreg.validate import Array

VERDICTS = ("match", "kink", "inconclusive", "mismatch")  # from the best to the worst
MATCH, KINK, INCONCLUSIVE, MISMATCH = range(4)


class Part(NamedTuple):
    """A gradient, or a term of it, and what was measured: arrays of one shape."""

    name: str
    given: Array
    measured: Measured


class Judged(NamedTuple):
    """For each coordinate: the verdict (0 to 3), the relative error, and is D⁻ ≤ g ≤ D⁺?"""

    verdict: Array
    error: Array
    between: Array


def judge(part: Part, rtol: float) -> Judged:
    """Each coordinate by the rule above."""
    given, measured = part.given, part.measured
    kink, value = measured.kink, measured.value

    def relative(distance: Array, size: Array, error: Array) -> Array:
        # distance / (size + error/rtol) > rtol just when distance > rtol size + error
        floor = np.maximum(np.abs(given), size) + error / rtol
        return np.divide(distance, floor, out=np.zeros_like(distance), where=distance != 0)

    with np.errstate(invalid="ignore", over="ignore"):
        off = relative(np.abs(given - value), np.abs(value), measured.error)
        low, high = (f(measured.left, measured.right) for f in (np.minimum, np.maximum))
        outside = np.maximum(np.maximum(low - given, given - high), 0.0)
        size = np.maximum(np.abs(low), np.abs(high))
        outside = np.where(kink, relative(outside, size, measured.side_error), np.inf)
    between = kink & (outside <= rtol)
    off = np.where(np.isnan(off), np.inf, off)
    off = np.where(kink, np.minimum(off, outside), off)
    verdict = np.where(off <= rtol, np.where(kink, KINK, MATCH), MISMATCH)
    # Agreement to within an error as large as the gradient itself says nothing.
    size = np.max(np.abs(given), initial=0.0, where=np.isfinite(given))
    hidden = (given != 0) & (measured.error >= np.maximum(np.abs(given), 1e-2 * size))
    verdict[hidden & (verdict == MATCH)] = INCONCLUSIVE
    unknown = measured.reason != ""
    verdict[unknown], off[unknown] = INCONCLUSIVE, 0.0
    wild = ~np.isfinite(given)
    verdict[wild], off[wild] = MISMATCH, np.inf
    return Judged(verdict, off, between)
