"""What the pattern of the errors says: a factor, a transpose, a missing term, a place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyreg.checks.judge import Part
from tinyreg.validate import Array

CLOSE = 1e-5  # a pattern has to explain the errors to this share of the largest number


def diagnose(
    part: Part, wrong: Array, n_samples: int | None, terms: Sequence[tuple[str, Array]]
) -> str:
    """What the coordinates that are `wrong` have in common, or "" where no pattern fits.

    n_samples is N, for a factor N; `terms` are what the gradient may have too much or too little.

    >>> from tinyreg.checks.differences import Measured
    >>> part = Part("f", np.array([2.0, 4.0]), Measured.smooth([1.0, 2.0]))
    >>> diagnose(part, np.array([True, True]), None, [])
    'constant factor 2: a 2 too much'
    """
    plain = ~part.measured.kink & (part.measured.reason == "")
    given, value = part.given, part.measured.value
    if not np.isfinite(given).all():
        return f"the given gradient is not finite at {np.count_nonzero(~np.isfinite(given))} places"
    if not (wrong & plain).any():
        return (
            "wrong at kinks only: neither the slope of the branch that the forward pass takes nor "
            "between D⁻ and D⁺"
        )
    g, v = given[plain], value[plain]
    if not g.any():
        return "the given gradient is 0: the term is missing"
    factor = _factor(g, v)
    if factor is not None:
        known = _known(factor, n_samples)
        if known or v.size > 1:
            return f"constant factor {factor:.6g}" + (f": {known}" if known else "")
    if _transposed(given, value):
        return "transposed: the given array is the transpose of the right one"
    for name, term in terms:
        k = _factor(g - v, term[plain])
        if k is None:
            continue
        if abs(k + 1) < 1e-4:
            return f"missing term: the error is minus {name}"
        if abs(k - 1) < 1e-4:
            return (
                f"a term too much: the error is {name}, which has no place here or is there twice"
            )
        return f"the error is {k:.4g} times {name}"
    return _place(wrong)


def _factor(a: Array, b: Array) -> float | None:
    """k with a = k b, or None."""
    square = float(np.vdot(b, b))
    if square == 0 or not np.isfinite(square):
        return None
    k = float(np.vdot(b, a)) / square
    off = np.abs(a - k * b).max()
    return k if k != 0 and off <= CLOSE * abs(k) * np.abs(b).max() else None


def _known(factor: float, n_samples: int | None) -> str:
    """The usual reason for such a factor, or ""."""
    known = {-1.0: "the sign is wrong", 2.0: "a 2 too much", 0.5: "a 2 is missing"}
    if n_samples is not None and n_samples > 2:
        known[float(n_samples)] = "N: a sum in place of the mean over samples"
        known[1.0 / n_samples] = "1/N: a mean over samples taken once too often"
    close = (told for k, told in known.items() if abs(factor - k) <= 1e-4 * abs(k))
    return next(close, "")


def _transposed(given: Array, value: Array) -> bool:
    if given.ndim != 2 or 1 in given.shape or not np.isfinite(value).all():
        return False
    # Of any shape: a transpose may have been written to the right one number by number.
    off = np.abs(given.ravel() - value.T.ravel()).max()
    return bool(off <= CLOSE * np.abs(value).max())


def _place(wrong: Array) -> str:
    """Where the errors are, if not everywhere."""
    count = int(wrong.sum())
    if count == 1 and wrong.size > 1:
        return f"one coordinate of {wrong.size} only"
    if count == wrong.size:
        return ""
    for axis, name in enumerate(("row", "column") if wrong.ndim == 2 else ()):
        lines = wrong.any(axis=1 - axis)
        if lines.sum() == 1 and wrong.shape[axis] > 1:
            return f"{name} {int(np.argmax(lines))} only"
    return f"{count} of {wrong.size} coordinates"


def locate(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A note on what the pattern over the blocks W1, b1, W2, b2, … says, if there is one."""
    bad = [i for i, row in enumerate(rows) if row["mismatch"]]
    if not bad or len(rows) <= 2:
        return []
    if len(bad) == 1:
        return [f"only {rows[bad[0]]['block']} is wrong"]
    n_layers, top = len(rows) // 2, bad[-1] // 2 + 1
    layers = {i // 2 + 1 for i in bad}
    of_data = all(rows[i]["part"] != "penalty" for i in bad)
    if not of_data or layers != set(range(1, top + 1)) or top == n_layers:
        return []
    return [
        f"all is right from layer {top + 1} on and wrong before: look at what carries the "
        f"gradient from layer {top + 1} back to layer {top}"
    ]
