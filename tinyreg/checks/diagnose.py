"""What the pattern of the errors says: a factor, a transpose, a missing term, a place.

Each usual mistake is a guess at what was given. It is named if it is right at every coordinate, and
with it all that are as simple: a factor 2 in a mean over two samples has two readings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tinyreg.checks.differences import quiet
from tinyreg.checks.judge import Part
from tinyreg.checks.steps import EPS
from tinyreg.validate import Array

CLOSE = 1e-6  # a guess may leave this share of an error
ENOUGH = 3  # so many numbers tell a pattern from an accident
FACTOR = re.compile(r"(?:data: )?constant factor ([-+.e\d]+)")
Sizes: TypeAlias = Mapping[str, int]
Terms: TypeAlias = Sequence[tuple[str, Array]]
Guesses: TypeAlias = list[tuple[str, Array]]  # equally simple ones, and the gradients they give


def diagnose(
    part: Part, wrong: Array, sizes: Sizes | None = None, terms: Terms = (), x: Array | None = None
) -> str:
    """What the coordinates that are `wrong` have in common, or "" where no pattern fits.

    In a network `sizes` are what a factor may be, such as {"N": 32}. `terms` are what the gradient
    may lack or have too much; x is the point.

    >>> from tinyreg.checks.differences import Measured
    >>> part = Part("f", np.array([2.0, 4.0]), Measured.smooth([1.0, 2.0]))
    >>> diagnose(part, np.array([True, True]), {"K": 2})
    'constant factor 2: a 2 too much, or it is K'
    """
    given, m = part.given, part.measured
    if not np.isfinite(given).all():
        return f"the given gradient is not finite at {np.count_nonzero(~np.isfinite(given))} places"
    plain = ~m.kink & (m.reason == "") & np.isfinite(m.value)
    if not (wrong & plain).any():
        neither = (
            "neither the slope of the branch that the forward pass takes nor between D⁻ and D⁺"
        )
        return f"wrong at kinks only: {part.refused or neither}"
    value = np.where(plain, m.value, np.nan)
    error, size = np.abs(given - value), np.maximum(np.abs(given), np.abs(value))
    slack = np.where(wrong, CLOSE * np.minimum(error, np.abs(given)), 1e-6 * size)
    slack += m.error + 16 * EPS * size

    def explains(guess: Array) -> bool:
        off, known = np.abs(given - guess), plain & np.isfinite(guess)
        if (wrong & plain & ~known).any() or (off > slack)[known].any():
            return False
        return bool(off[known].max() <= 1e-3 * error[known].max())

    terms = [(name, term) for name, term in terms if np.any(term)]
    with quiet():
        for guesses in _guesses(given, value, sizes or {}, terms, x):
            told = list(dict.fromkeys(text for text, guess in guesses if explains(guess)))
            if told:
                clear = all(told) and len(told) < ENOUGH
                return ", or ".join(told) if clear else _place(wrong)
    return _place(wrong)


def _guesses(
    given: Array, value: Array, sizes: Sizes, terms: Terms, x: Array | None
) -> Iterator[Guesses]:
    """From the simplest on."""
    yield _changed(given, value, 0 * value, sizes, "")
    for name, term in terms:
        yield _multiple(given, value, term, sizes, name)
    for name, term in terms:
        yield _changed(given, value - term, term, sizes, name)
    if x is None or np.count_nonzero(x) < ENOUGH:
        return
    shapes = {"times x": x, "times sign(x)": np.sign(x), "times |x|": np.abs(x)}
    whole = ("", _ratio(given, value) * value)  # no sooner than a factor of any size
    yield [whole, *_multiples("the error is {} {}", given, value, shapes)]
    shapes["everywhere"] = np.ones_like(x)
    for name, term in terms:
        yield [whole, *_multiples("{} {} in place of " + name, given, value - term, shapes)]


def _multiples(told: str, given: Array, base: Array, shapes: Mapping[str, Array]) -> Guesses:
    """A multiple of one of the shapes on top of `base`."""
    multiples = [(name, _ratio(given - base, shape), shape) for name, shape in shapes.items()]
    return [(told.format(f"{k:.4g}", name), base + k * shape) for name, k, shape in multiples]


def _changed(given: Array, right: Array, rest: Array, sizes: Sizes, name: str) -> Guesses:
    """The gradient without `rest`, which is called `name`, multiplied or with its numbers moved."""
    largest, beside = (np.abs(np.nan_to_num(a)).max() for a in (right, rest))
    if not largest > 1e-9 * beside:
        return []
    if not (np.abs(given - rest) > 4 * EPS * np.abs(rest)).any():
        told = f"only {name} is there: the rest" if name else "the given gradient is 0: the term"
        return [(f"{told} is missing, or is multiplied by 0", rest)]
    k, guesses = _ratio(given - rest, right), []
    reading = _reading(k, sizes)
    if reading or _shows_a_factor(k, right):
        guesses += [(f"constant factor {_number(k)}{reading}", k * right)]
    if right.ndim == 2 and min(right.shape) > 1:
        # Of any shape: a transpose may have been written to the right one number by number.
        told = "transposed: the given array is the transpose of the right one"
        guesses += [(told, right.T.reshape(right.shape))]
    for axis, n in enumerate(right.shape):
        along = f" along axis {axis}" if right.ndim > 1 else ""
        guesses += [(f"reversed{along}", np.flip(right, axis))]
        if n > 2:  # with two, reversed and shifted are the same
            guesses += [(f"shifted by one{along}", np.roll(right, by, axis)) for by in (1, -1)]
    where = f" (in all but {name})" if name else ""
    return [(told + where, rest + guess) for told, guess in guesses]


def _multiple(given: Array, value: Array, term: Array, sizes: Sizes, name: str) -> Guesses:
    """A term left out, there twice, or multiplied."""
    k = _ratio(given - value, term)
    reading = _reading(1 + k, sizes)
    if abs(k + 1) < CLOSE:
        told = f"missing term: the error is minus {name}"
    elif abs(k - 1) < CLOSE:
        told = f"a term too much: the error is {name}, which has no place here or is there twice"
    elif reading:
        told = f"constant factor {_number(1 + k)}{reading} (in {name})"
    else:
        told = f"the error is {k:.4g} times {name}"
    known = reading or np.count_nonzero(term) >= ENOUGH or abs(abs(k) - 1) < CLOSE
    return [(told, value + k * term)] if known else []


def _ratio(a: Array, b: Array) -> float:
    """The k for which k b is nearest to a, or 0 if b is 0."""
    known = np.isfinite(a) & np.isfinite(b)
    largest = np.abs(b[known]).max(initial=0.0) or 1.0  # no square leaves the range of floats
    a, b = a[known] / largest, b[known] / largest
    return float(np.vdot(b, a) / np.vdot(b, b)) if b.any() else 0.0


def _reading(factor: float, sizes: Sizes) -> str:
    """What such a factor usually is, after a colon, or ""."""
    known = [("the sign is wrong", -1.0), ("a 2 too much", 2.0), ("a 2 is missing", 0.5)]
    for name, n in sizes.items():
        over, under = f"it is {name}", f"it is 1/{name}"
        if name == "N":
            over = "N: a sum in place of the mean over samples"
            under = "1/N: a mean over samples taken once too often"
        known += [(over, float(n)), (under, 1 / n)]
        if n != 4:  # a 2 is a 2
            known += [(f"it is √{name}", n**0.5), (f"it is 1/√{name}", n**-0.5)]
    near = [told for told, k in known if k != 1 and abs(factor - k) <= 1e-6 * abs(k)]
    return ": " + ", or ".join(near) if near else ""


def _shows_a_factor(k: float, right: Array) -> bool:
    """Is a factor that may be any number no accident?

    In a network the gradients of one sample, or of layers behind a single unit, are outer products,
    and any mistake further on looks like a factor.
    """
    right = np.nan_to_num(right)
    if not 1e-3 < abs(k) < 1e3 or np.count_nonzero(right) < ENOUGH:
        return False
    if right.ndim != 2:
        return True
    i, j = np.unravel_index(np.argmax(np.abs(right)), right.shape)
    outer = np.outer(right[:, j], right[i]) / right[i, j]
    return bool(np.abs(right - outer).max() > 1e-2 * abs(right[i, j]))


def _number(k: float) -> str:
    return f"{k:.{6 if abs(k - 1) > 1e-5 else 10}g}"


def _place(wrong: Array) -> str:
    """Where the errors are, if not everywhere."""
    count = int(wrong.sum())
    if count == 1 and wrong.size > 1:
        return f"one coordinate of {wrong.size} only"
    if count == wrong.size:
        return ""
    for axis, places in enumerate(map(np.unique, np.nonzero(wrong))):
        if len(places) == 1 < wrong.shape[axis] and wrong.ndim > 1:
            line = ("row", "column")[axis] if wrong.ndim == 2 else f"axis {axis}: index"
            return f"{line} {places[0]} only"
    return f"{count} of {wrong.size} coordinates"


def locate(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A note on what the pattern over the blocks W1, b1, W2, b2, … says, if there is one."""
    bad = [i for i, row in enumerate(rows) if row["mismatch"]]
    if not bad or len(rows) <= 2:
        return []
    kinds, top = {i % 2 for i in bad}, bad[-1] // 2 + 1  # of weights, of biases; the layer
    k = _compounded([(top - i // 2, rows[i]) for i in bad]) if len(kinds) == 2 else None
    if k is not None:
        return [f"a factor {k:.4g} in every step from a layer back to the one before"]
    if 1 in kinds:
        _doubt(rows)
    if len(bad) == 1:
        return [f"only {rows[bad[0]]['block']} is wrong"]
    if len(kinds) == 1:
        return ["only biases are wrong" if 1 in kinds else "only weights are wrong"]
    of_data = all(rows[i]["part"] != "penalty" for i in bad)
    if not of_data or bad != list(range(2 * top)) or 2 * top == len(rows):
        return []
    return [
        f"all is right from layer {top + 1} on and wrong before: look at what carries the "
        f"gradient from layer {top + 1} back to layer {top}"
    ]


def _doubt(rows: Sequence[dict[str, Any]]) -> None:
    """Drop factors without a reading, unless the last layer has them too.

    Behind a single live unit any mistake is a factor; what is wrong everywhere begins at the end.
    """
    told = [FACTOR.match(row["diagnosis"]) for row in rows]
    last = [factor[1] for factor in told[-2:] if factor]
    for row, factor in zip(rows, told, strict=True):
        if factor and factor[1] not in last and ":" not in row["diagnosis"][factor.end() :]:
            row["diagnosis"] = ""


def _compounded(rows: Sequence[tuple[int, dict[str, Any]]]) -> float | None:
    """The k of factors k, k², k³, … after so many steps back; the rows are told so."""
    told = [(steps, row, FACTOR.match(row["diagnosis"])) for steps, row in rows]
    found = [(steps, row, float(factor[1])) for steps, row, factor in told if factor]
    if len({steps for steps, _, _ in found}) < 2:
        return None
    least, _, first = found[-1]
    for k in (abs(first) ** (1 / least), -(abs(first) ** (1 / least))):
        fits = (abs(f - k**steps) <= 1e-4 * abs(f) for steps, _, f in found)
        if abs(k - 1) > 0.01 and all(fits):
            for steps, row, f in found:
                row["diagnosis"] = f"constant factor {f:.6g}: {k:.4g} to the power {steps}"
            return k
    return None
