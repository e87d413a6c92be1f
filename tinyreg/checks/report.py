"""The report of a check: a row for each block, verdict and numbers for each coordinate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinyreg.checks.diagnose import diagnose
from tinyreg.checks.judge import MISMATCH, VERDICTS, Part, judge
from tinyreg.checks.steps import EPS
from tinyreg.errors import GradientCheckError
from tinyreg.render.document import Document, Table
from tinyreg.render.text import to_text
from tinyreg.validate import Array


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

    It is `ok` if every coordinate was judged and is right: what is inconclusive was not, and the
    table says why. The verdicts are those of `tinyreg.checks.judge`.

    Attributes
    ----------
    title : str, what was checked
    rows : list of dict
        One for each block of parameters, of plain numbers, strings, lists and dicts:

        block, shape, size : which parameters
        match, kink, inconclusive, mismatch : how many coordinates of each verdict
        worst, index, given, numeric : the worst relative error, where it is, the two values there
        part : which term of the objective the worst error is in
        diagnosis : what the pattern of the errors says, or ""
        reason : why coordinates are inconclusive, or ""
        kinks : None, or the worst kink's index, given, left (D⁻), right (D⁺), between (does the
            given value lie between them) and belongs (is it held by the slopes near by all the
            same); outside, the number of kinks where it does not lie between
        zeros : None, or for weights at 0 with a kink in their penalty: count, and stationary, the
            number of them at which −∇L is a subgradient of the penalty (lies in λ[−1, 1] for L1)
        precision : None, or the largest error of the float32 gradient, as a share of the block's
            largest entry
    notes : list of str, what concerns more than one block
    details : dict of Coordinates
        For each block, arrays with the verdict and the numbers of each coordinate.

    Examples
    --------
    >>> from tinyreg import check_gradient
    >>> report = check_gradient(lambda x: np.sum(x**2), lambda x: x, np.array([3.0, 4.0]))
    >>> report.ok, report.mismatches, report.inconclusive
    (False, 2, 0)
    >>> report.rows[0]["given"], round(report.rows[0]["numeric"], 6)
    (4.0, 8.0)
    >>> report.raise_if_failed()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tinyreg.errors.GradientCheckError: ...
    """

    title: str
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    details: dict[str, Coordinates] = field(default_factory=dict, compare=False)

    @property
    def mismatches(self) -> int:
        """How many coordinates are wrong."""
        return sum(row["mismatch"] for row in self.rows)

    @property
    def inconclusive(self) -> int:
        """How many coordinates could not be judged."""
        return sum(row["inconclusive"] for row in self.rows)

    @property
    def ok(self) -> bool:
        """True if every coordinate was judged and is right."""
        return not self.mismatches and not self.inconclusive

    def raise_if_failed(self) -> None:
        """Raise `GradientCheckError` with the table unless `ok`: for a test of your own."""
        if not self.ok:
            raise GradientCheckError(f"\n{self}")

    def document(self) -> Document:
        """The headline, the table, and below it remarks and notes."""
        counts = [(sum(row[name] for row in self.rows), name) for name in VERDICTS]
        told = ", ".join(f"{n} {name}" for n, name in counts if n)
        headers = ["block", "shape", *VERDICTS, "worst rel. error", "at", "given", "numeric"]
        remarks = [f"{row['block']}: {text}" for row in self.rows for text in _remarks(row)]
        table = Table(headers, [_cells(row) for row in self.rows], notes=[*remarks, *self.notes])
        outcome = "ok" if self.ok else "FAILED" if self.mismatches else "inconclusive"
        return Document(f"{outcome}: {self.title}: {told}", [table])

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return to_text(self.document())

    __repr__ = __str__


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["block"],
        " × ".join(map(str, row["shape"])) or "scalar",
        *(str(row[name]) if row[name] else "·" for name in VERDICTS),
        _number(row["worst"], 2),
        str(row["index"]) if row["index"] is not None else "",
        _number(row["given"], 7),
        _number(row["numeric"], 7),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value + 0.0:.{digits}g}"


def _remarks(row: dict[str, Any]) -> list[str]:
    remarks = [row["diagnosis"]] if row["diagnosis"] else []
    if row["reason"]:
        remarks.append(f"inconclusive: {row['reason']}")
    kinks, zeros = row["kinks"], row["zeros"]
    if kinks:
        lies = "lies between them" if kinks["between"] else "lies outside"
        if kinks["belongs"] and not kinks["between"]:
            lies += ", and belongs to the kink: slopes near by reach it"
        elif not kinks["between"] and row["mismatch"] == 0:
            lies += ": it is the slope of the branch taken, and no subgradient"
        remarks.append(
            f"kink at {kinks['index']}: D⁻ = {kinks['left']:.6g}, D⁺ = {kinks['right']:.6g}, "
            f"the given {_number(kinks['given'], 6) or 'value, which is not finite,'} {lies}"
        )
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


def add_row(
    report: Report,
    name: str,
    parts: Sequence[Part],
    rtol: float,
    *,
    atol: float = 0.0,
    precision: float = EPS,
    whole: Part | None = None,
    sizes: Mapping[str, int] | None = None,
    x: Array | None = None,
    terms: Sequence[tuple[str, Array]] = (),
) -> dict[str, Any]:
    """Judge one block and add it to the report; returns its row.

    Parts are judged apart, and a coordinate's verdict is its worst. `whole` is their sum, for the
    coordinates' numbers (the first part if left out); sizes, x and terms are for `diagnose`.
    """
    labelled = whole is not None and len(parts) > 1
    whole = parts[0] if whole is None else whole
    judged = [judge(part, rtol, atol, precision) for part in parts]
    verdict = np.maximum.reduce([each.verdict for each in judged])
    at, worst = max(
        zip(parts, judged, strict=True),
        key=lambda pair: (pair[1].verdict.max() == MISMATCH, pair[1].error.max()),
    )
    place = tuple(int(i) for i in np.unravel_index(worst.error.argmax(), verdict.shape))
    error, g, v = worst.error[place], at.given[place], at.measured.value[place]
    if worst.verdict[place] == MISMATCH and np.isfinite(error) and not at.measured.kink[place]:
        error = abs(g - v) / max(abs(g), abs(v))  # beyond all rounding: the plain relative error
    texts = []
    for part, own in zip(parts, judged, strict=True):
        wrong = own.verdict == MISMATCH
        if wrong.any():
            text = diagnose(part, wrong, sizes, terms, x)
            texts.append(f"{part.name}: {text}" if text and labelled else text)
    row = {
        "block": name,
        "shape": list(verdict.shape),
        "size": int(verdict.size),
        **{told: int(np.sum(verdict == code)) for code, told in enumerate(VERDICTS)},
        "worst": _plain(error),
        "index": list(place),
        "given": _plain(g),
        "numeric": _plain(v),
        "part": at.name,
        "diagnosis": "; ".join(dict.fromkeys(text for text in texts if text)),
        "reason": next((told for each in judged for told in each.reason.ravel() if told), ""),
        "kinks": _kinks(whole, verdict, rtol),
        "zeros": None,
        "precision": None,
    }
    report.rows.append(row)
    m, told = whole.measured, np.array(VERDICTS)[verdict]
    shown = np.where(np.isnan(m.value), m.unproved, m.value)
    report.details[name] = Coordinates(told, whole.given, shown, m.error, m.left, m.right)
    return row


def _plain(value: float) -> float | None:
    """A number as JSON has it."""
    return float(value) if np.isfinite(value) else None


def _kinks(whole: Part, verdict: Array, rtol: float) -> dict[str, Any] | None:
    """The kink to show: a wrong one, else one where g lies outside [D⁻, D⁺], else the first."""
    kink = whole.measured.kink
    if not kink.any():
        return None
    between = judge(whole, rtol).between
    outside = kink & ~between
    bad = kink & (verdict == MISMATCH)
    show = bad if bad.any() else outside if outside.any() else kink
    place = tuple(int(i) for i in np.argwhere(show)[0])
    return {
        "index": list(place),
        "given": _plain(whole.given[place]),
        "left": _plain(whole.measured.left[place]),
        "right": _plain(whole.measured.right[place]),
        "between": bool(between[place]),
        "belongs": bool(np.broadcast_to(whole.clarke, kink.shape)[place] > 0),
        "outside": int(outside.sum()),
    }
