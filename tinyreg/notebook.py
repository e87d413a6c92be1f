"""What a notebook shows of results, networks and histories: their `_repr_html_`, set from here.

So core needs to know nothing of HTML, and the results no more than their documents. Where
matplotlib is there, pictures stand below the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tinyreg.checks.report import Report
from tinyreg.core.network import MLP
from tinyreg.core.training import History
from tinyreg.explain.explanation import Explanation
from tinyreg.render.document import Document, Table, number
from tinyreg.render.html import for_notebook, picture
from tinyreg.render.plots import plot_history
from tinyreg.study.comparison import Comparison
from tinyreg.study.path import LambdaPath

METHOD = "_repr_html_"
SHOWN = 8  # epochs at most, in a table
WIDTH, MARGIN = 460, 60  # of a number line, in pixels
ALIKE = 1e-6  # a difference below this share is rounding, and not drawn


def show_in_notebooks() -> None:
    """Give each class the method that notebooks look for."""
    shown: dict[type, Callable[[Any], str]] = {
        Explanation: lambda it: for_notebook(it.document()),
        Report: lambda report: for_notebook(report.document(), _worst(report)),
        Comparison: lambda it: for_notebook(it.document(), inline(it.plot)),
        LambdaPath: lambda it: for_notebook(it.document(), inline(it.plot)),
        History: _history,
        MLP: lambda net: for_notebook(_network(net)),
    }
    for kind, method in shown.items():
        setattr(kind, METHOD, method)


def inline(plot: Callable[[Path], str]) -> str:
    """The picture that `plot` draws into a file, with the words that it returns; or nothing."""
    if find_spec("matplotlib") is None:
        return ""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        alternative = plot(file)
        return picture(file.read_bytes(), alternative)


def _network(net: MLP) -> Document:
    rows: list[list[str | float]] = []
    for layer, W in enumerate(net.weights, start=1):
        zeros, size = f"{100 * np.mean(W == 0):.1f} %", float(np.abs(W).max())
        unused = f"{np.count_nonzero(~W.any(axis=1))} of {len(W)}"
        rows.append([f"W{layer}", " × ".join(map(str, W.shape)), zeros, unused, size])
    headers = ["", "shape", "exactly 0", "rows of zeros", "largest |w|"]
    note = f"{net.n_params} parameters, {net.n_weights} of them weights"
    return Document(repr(net), [Table(headers, rows, notes=[note])])


def _history(history: History) -> str:
    n = len(history.total)
    epochs = {*np.linspace(1, n, min(n, SHOWN)).astype(int).tolist(), history.best_epoch or n}
    columns = {
        "L": history.data_loss, "R": history.penalty, "F": history.total,
        "exactly 0": history.exact_zeros, "validation loss": history.validation_loss,
        "validation score": history.validation_score,
    }  # fmt: skip
    columns = {name: values for name, values in columns.items() if len(values) == n}
    rows = [
        [f"{epoch}{' (best)' * (epoch == history.best_epoch)}"]
        + [
            f"{100 * v[epoch - 1]:.1f} %" if k == "exactly 0" else v[epoch - 1]
            for k, v in columns.items()
        ]
        for epoch in sorted(epochs - {0})
    ]
    document = Document(f"{n} epochs", [Table(["epoch", *columns], rows)])
    return for_notebook(document, inline(lambda path: plot_history(path, columns)) if n else "")


def _worst(report: Report) -> str:
    """The worst coordinate on a number line: the given value, the numeric one, or the kink."""
    rows = [row for row in report.rows if row["given"] is not None]
    if not rows:
        return ""
    row = max(rows, key=lambda row: (row["mismatch"], row["worst"] or 0))
    kink = row["kinks"]
    if kink and not (row["mismatch"] and kink["between"]) and kink["given"] is not None:
        marks = {"D⁻": kink["left"], "D⁺": kink["right"], "given": kink["given"]}
        return number_line(f"{row['block']}{kink['index']}, at a kink", marks, ("D⁻", "D⁺"))
    marks = {"given": row["given"], "numeric": row["numeric"]}
    return number_line(f"{row['block']}{row['index']}", marks)


def number_line(
    title: str, marks: Mapping[str, float | None], between: tuple[str, str] | None = None
) -> str:
    """Numbers by name along a line, and what lies between two of them as a bar.

    >>> line = number_line("W1[0, 2]", {"given": 1.0, "numeric": 2.0})
    >>> 'aria-label="W1[0, 2]: given 1, numeric 2"' in line
    True
    """
    known = {name: x for name, x in marks.items() if x is not None and np.isfinite(x)}
    low, high = min(known.values(), default=0.0), max(known.values(), default=0.0)
    apart = high - low > ALIKE * max(abs(low), abs(high))
    place = {
        name: MARGIN + (WIDTH - 2 * MARGIN) * ((x - low) / (high - low) if apart else 0.5)
        for name, x in known.items()
    }
    told = ", ".join(f"{name} {number(x)}" for name, x in known.items())
    parts = [f'<path d="M0 40H{WIDTH}" stroke="currentColor"/>']
    if between and {*between} <= {*place}:
        left, right = sorted(place[name] for name in between)
        bar = f'x="{left:.1f}" y="36" width="{right - left:.1f}" height="8"'
        parts.append(f'<rect {bar} fill="currentColor" opacity=".35"/>')
    for i, (name, x) in enumerate(place.items()):
        y = 22 if name == "given" else 62 + 14 * (i % 2)
        parts.append(f'<path d="M{x:.1f} 34v12" stroke="currentColor" stroke-width="2"/>')
        label = f"{name} {number(known[name])}"
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{label}</text>')
    return (
        f'<p>{escape(title)}</p><svg role="img" aria-label="{escape(f"{title}: {told}")}" '
        f'viewBox="0 0 {WIDTH} 84" width="{WIDTH}" font-size="13" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )
