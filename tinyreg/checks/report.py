"""From a given gradient and a measured one to verdicts, a diagnosis and a report.

A coordinate is judged by this rule. Let v be the measured derivative with its error e, and g the
given value.

============== ====================================================================================
match          |g − v| ≤ rtol · max(|g|, |v|) + e
kink           the function has a kink here, and g is v, the slope of the branch that the forward
               pass takes (the convention relu'(0) = 0, say), or lies between D⁻ and D⁺
mismatch       neither: g is the derivative of another function
inconclusive   there is no v to compare with, or e is as large as the gradient; the reason is told
============== ====================================================================================

At a kink the branch's slope may lie outside [D⁻, D⁺]: relu(t) − relu(−t) is t, and with
relu'(0) = 0 its backward pass says 0. That is the convention at work and no slip of the pen, so the
verdict is kink; but it is no subgradient either, and the report says that too.

Only a mismatch makes a report fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinyreg.checks.differences import Measured
from tinyreg.errors import GradientCheckError
from tinyreg.render.table import text_table
from tinyreg.validate import Array

VERDICTS = ("match", "kink", "inconclusive", "mismatch")  # from the best to the worst
MATCH, KINK, INCONCLUSIVE, MISMATCH = range(4)


class Part(NamedTuple):
    """A gradient, or a term of it, and what was measured: arrays of one shape."""

    name: str
    given: Array
    measured: Measured


class Coordinates(NamedTuple):
    """A block, coordinate by coordinate; `left` and `right` are NaN where there is no kink."""

    verdict: Array
    given: Array
    numeric: Array
    error: Array
    left: Array
    right: Array


@dataclass(frozen=True)
class Report:
    """The outcome of a check: prints as a table, holds all of it as data.

    Attributes
    ----------
    title : str
        What was checked.
    rows : list of dict
        One for each block of parameters, of plain numbers, strings, lists and dicts:

        block, shape, size : which parameters
        match, kink, inconclusive, mismatch : how many coordinates of each verdict
        worst, index, given, numeric : the worst relative error, where it is, the two values there
        part : which term of the objective the worst error is in
        diagnosis : what the pattern of the errors says, or ""
        reason : why coordinates are inconclusive, or ""
        kinks : None, or the worst kink's index, given, left (D⁻), right (D⁺), and between (does the
            given value lie between them); outside, the number of kinks where it does not
        zeros : None, or for weights at 0 with a kink in their penalty: count, and stationary, the
            number of them at which −∇L is a subgradient of the penalty (lies in λ[−1, 1] for L1)
        precision : None, or the largest error of the float32 gradient, as a share of the block's
            largest entry
    notes : list of str
        What concerns more than one block.
    details : dict of Coordinates
        For each block, arrays with the verdict and the numbers of each coordinate.

    Examples
    --------
    >>> from tinyreg import check_gradient
    >>> report = check_gradient(lambda x: np.sum(x**2), lambda x: x, np.array([3.0, 4.0]))
    >>> report.ok, report.rows[0]["given"], round(report.rows[0]["numeric"], 6)
    (False, 4.0, 8.0)
    >>> report.raise_if_failed()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tinyreg.errors.GradientCheckError: ...
    """

    title: str
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    details: dict[str, Coordinates] = field(default_factory=dict, compare=False)

    @property
    def ok(self) -> bool:
        """True if no coordinate is a mismatch."""
        return not any(row["mismatch"] for row in self.rows)

    def raise_if_failed(self) -> None:
        """Raise `GradientCheckError`, with the table as its message, unless `ok`."""
        if not self.ok:
            raise GradientCheckError(f"\n{self}")

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [self._headline(), "", *self._table()]
        for row in self.rows:
            lines += [f"{row['block']}: {text}" for text in _remarks(row)]
        return "\n".join([*lines, *self.notes])

    def _headline(self) -> str:
        counts = [(sum(row[name] for row in self.rows), name) for name in VERDICTS]
        told = ", ".join(f"{n} {name}" for n, name in counts if n)
        return f"{'ok' if self.ok else 'FAILED'}: {self.title}: {told}"

    def _table(self) -> list[str]:
        titles = ["block", "shape", *VERDICTS, "worst rel. error", "at", "given", "numeric"]
        cells = [titles]
        for row in self.rows:
            cells.append(
                [
                    row["block"],
                    " × ".join(map(str, row["shape"])) or "scalar",
                    *(str(row[name]) if row[name] else "·" for name in VERDICTS),
                    _number(row["worst"], 2),
                    str(row["index"]) if row["index"] is not None else "",
                    _number(row["given"], 7),
                    _number(row["numeric"], 7),
                ]
            )
        return text_table(cells)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value + 0.0:.{digits}g}"


def _remarks(row: dict[str, Any]) -> list[str]:
    remarks = []
    if row["diagnosis"]:
        remarks.append(row["diagnosis"])
    if row["reason"]:
        remarks.append(f"inconclusive: {row['reason']}")
    kinks, zeros = row["kinks"], row["zeros"]
    if kinks:
        where = f"kink at {kinks['index']}: D⁻ = {kinks['left']:.6g}, D⁺ = {kinks['right']:.6g}, "
        lies = (
            "lies between them"
            if kinks["between"]
            else "lies outside: it is the slope of the branch taken, and no subgradient"
            if row["mismatch"] == 0
            else "lies outside"
        )
        remarks.append(f"{where}the given {kinks['given']:.6g} {lies}")
        if kinks["outside"] and row["kink"] > 1:
            remarks.append(f"the given value lies outside at {kinks['outside']} kinks")
    if zeros:
        remarks.append(
            f"{zeros['count']} penalised weights at 0, −∇L a subgradient of the penalty at "
            f"{zeros['stationary']} of them"
        )
    if row["precision"] is not None:
        remarks.append(f"float32 gradient: off by {row['precision']:.1e} of its largest entry")
    return remarks


# ---------------------------------------------------------------- verdicts


def judge(part: Part, rtol: float) -> tuple[Array, Array, Array]:
    """Verdict (0 to 3), relative error, and whether the given value lies in [D⁻, D⁺]."""
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
    verdict[unknown] = INCONCLUSIVE
    off[unknown] = 0.0
    wild = ~np.isfinite(given)
    verdict[wild], off[wild] = MISMATCH, np.inf
    return verdict, off, between


def block_row(
    name: str,
    parts: Sequence[Part],
    rtol: float,
    *,
    whole: Part | None = None,
    n_samples: int | None = None,
    terms: Sequence[tuple[str, Array]] = (),
) -> tuple[dict[str, Any], Coordinates]:
    """The row of one block, and its coordinates.

    Parameters
    ----------
    name : str
    parts : sequence of Part
        Judged apart; a coordinate's verdict is its worst.
    rtol : float
    whole : Part, optional
        Their sum, for the coordinates' numbers; the first part if left out.
    n_samples : int, optional
        For the diagnosis of a factor N.
    terms : sequence of (str, array)
        What a wrong gradient may have too much or too little of.
    """
    labelled = whole is not None and len(parts) > 1
    whole = parts[0] if whole is None else whole
    judged = [judge(part, rtol) for part in parts]
    verdict = np.maximum.reduce([v for v, _, _ in judged])
    shape = verdict.shape
    worst = max(
        range(len(parts)),
        key=lambda i: (judged[i][0].max() == MISMATCH, float(judged[i][1].max())),
    )
    place = np.unravel_index(int(np.argmax(judged[worst][1])), shape)
    at = parts[worst]
    error = judged[worst][1][place]
    if judged[worst][0][place] == MISMATCH and np.isfinite(error) and not at.measured.kink[place]:
        g, v = at.given[place], at.measured.value[place]
        error = abs(g - v) / max(abs(g), abs(v))  # beyond all rounding: the plain relative error
    texts = []
    for part, (v, _, _) in zip(parts, judged, strict=True):
        wrong = v == MISMATCH
        if wrong.any():
            text = diagnose(part, wrong, n_samples, terms)
            texts.append(f"{part.name}: {text}" if text and labelled else text)
    row = {
        "block": name,
        "shape": list(shape),
        "size": int(verdict.size),
        **{told: int(np.sum(verdict == code)) for code, told in enumerate(VERDICTS)},
        "worst": _plain(error),
        "index": [int(i) for i in place],
        "given": _plain(at.given[place]),
        "numeric": _plain(at.measured.value[place]),
        "part": at.name,
        "diagnosis": "; ".join(dict.fromkeys(text for text in texts if text)),
        "reason": _reason(whole.measured.reason, verdict),
        "kinks": _kinks(whole, verdict, rtol),
        "zeros": None,
        "precision": None,
    }
    measured = whole.measured
    told = np.array(VERDICTS)[verdict]
    return row, Coordinates(
        told, whole.given, measured.value, measured.error, measured.left, measured.right
    )


def _plain(value: float) -> float | None:
    """A number as JSON has it."""
    return float(value) if np.isfinite(value) else None


def _reason(reasons: Array, verdict: Array) -> str:
    if not np.any(verdict == INCONCLUSIVE):
        return ""
    told = [str(reason) for reason in reasons.ravel() if reason]
    return told[0] if told else "the gradient is no larger than rounding errors may be"


def _kinks(whole: Part, verdict: Array, rtol: float) -> dict[str, Any] | None:
    kink = whole.measured.kink
    if not kink.any():
        return None
    _, _, between = judge(whole, rtol)
    outside = kink & ~between
    bad = outside & (verdict == MISMATCH)
    show = bad if bad.any() else outside if outside.any() else kink
    place = tuple(int(i) for i in np.argwhere(show)[0])
    return {
        "index": list(place),
        "given": _plain(whole.given[place]),
        "left": _plain(whole.measured.left[place]),
        "right": _plain(whole.measured.right[place]),
        "between": bool(between[place]),
        "outside": int(outside.sum()),
    }


# ---------------------------------------------------------------- the diagnosis


def diagnose(
    part: Part, wrong: Array, n_samples: int | None, terms: Sequence[tuple[str, Array]]
) -> str:
    """What the pattern of the errors says, or "" where none fits."""
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
    if factor is not None and (v.size > 1 or _name(factor, n_samples)):
        known = _name(factor, n_samples)
        return f"constant factor {factor:.6g}" + (f": {known}" if known else "")
    transposed = _transposed(given, value)
    if transposed:
        return transposed
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
    return k if k != 0 and off <= 1e-5 * abs(k) * np.abs(b).max() else None


def _name(factor: float, n_samples: int | None) -> str:
    known = {-1.0: "the sign is wrong", 2.0: "a 2 too much", 0.5: "a 2 is missing"}
    if n_samples is not None and n_samples > 2:
        known[float(n_samples)] = "N: a sum in place of the mean over samples"
        known[1.0 / n_samples] = "1/N: a mean over samples taken once too often"
    for value, name in known.items():
        if abs(factor - value) <= 1e-4 * abs(value):
            return name
    return ""


def _transposed(given: Array, value: Array) -> str:
    if given.ndim != 2 or 1 in given.shape or not np.isfinite(value).all():
        return ""
    close = 1e-5 * np.abs(value).max()
    if np.abs(given.ravel() - value.T.ravel()).max() <= close:
        return "transposed: the given array is the transpose of the right one"
    return ""


def _place(wrong: Array) -> str:
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
