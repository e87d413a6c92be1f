"""The samples as they stand in their file, and the step from there to the network's numbers."""

from __future__ import annotations

import numpy as np

from tinyreg.core.losses import SoftmaxCrossEntropy
from tinyreg.datasets.arrays import in_order
from tinyreg.datasets.labels import encode_labels
from tinyreg.explain.onepass import OnePass, Written
from tinyreg.render.document import ROWS, WHOLE, Table, equation
from tinyreg.study.model import Model
from tinyreg.validate import Array, Data, Sparse, as_table, check_array, check_features, is_sparse

LONGEST = 40  # characters of a name that are shown


def prepared(model: Model, X: Data, y: Data) -> tuple[Array | Sparse, Array]:
    """Samples in the units of the model's data, as its network and its loss take them."""
    X = check_features(in_order("X", X, model.columns), model.net.sizes[0], np.float64)
    y = np.asarray(y)
    if model.scaling is not None:
        X = model.scaling.apply(X)
    if model.target_scaling is not None:
        y = model.target_scaling.apply(check_array("y", y, np.float64))
    elif (classes := _classes(model, y)) is not None:
        _, places, y = encode_labels(classes=classes, y=y)
        y = np.argsort(places)[y]  # the model's classes may stand in any order
        if not isinstance(model.loss, SoftmaxCrossEntropy):
            y = np.eye(model.net.sizes[-1])[y]  # a yes-or-no column for each class
    return X, y


def sample(this: OnePass, model: Model, X: Data, y: Data) -> list[Written]:
    """Each row with the names of its columns, what scales it, and x; then the target."""
    rows = as_table("X", in_order("X", X, model.columns))
    told, factors = "`x = row`, the numbers as they stand.", {}
    if model.scaling is not None:
        shift, scale = (np.broadcast_to(part, rows.shape[1]) for part in model.scaling)
        told, factors = "`x = row/scale`, by the scale of each column.", {"scale": scale}
        if shift.any():
            told = "`x = (row − mean)/deviation`; a deviation of 0 counts as 1."
            factors = {"mean": shift, "deviation": scale}
        elif is_sparse(rows):
            told = "`x = row/largest`, by the largest absolute value of each column."
            factors = {"largest": scale}
    pieces: list[Written] = [f"What the network takes is {told}"]
    for n, x in enumerate(this.X[:ROWS]):
        row = rows[[n]].toarray()[0] if is_sparse(rows) else rows[n]
        shown = np.flatnonzero(row) if is_sparse(rows) else np.arange(len(row))
        cells: list[list[str | float]] = [
            [_name(model.columns[i]), _raw(row[i]), *(f[i] for f in factors.values()), x[i]]
            for i in shown[:WHOLE]
        ]
        pieces.append(Table(["column", "row", *factors, "`x`"], cells, rule=True))
        if len(shown) > WHOLE:
            which = " that are not 0" * is_sparse(rows)
            pieces.append(f"{WHOLE} of {len(shown)} columns{which} are shown.")
    return [*pieces, *_target(this, model, np.asarray(y))]


def _target(this: OnePass, model: Model, y: Array) -> list[Written]:
    """The targets as they stand, and y: scaled, or the number of a class."""
    told = f"The target {_name(model.target)}".rstrip() + f" is {_listed(y.ravel())}"
    if model.target_scaling is not None:
        parts = (y.reshape(this.targets.shape), *model.target_scaling, this.targets)
        raw, shift, scale, scaled = map(np.squeeze, np.broadcast_arrays(*parts))
        numbers = ("(", raw, "−", shift, ")", "/", scale, "=", scaled)
        formula = equation("y = (target − mean)/deviation", *numbers)
        return [f"{told} and is scaled likewise.", formula]
    if (classes := _classes(model, y)) is not None:
        places = this.targets if this.targets.ndim == 1 else this.targets.argmax(axis=1)
        told += f", number {_listed(places)} of the classes {_listed(classes)}, counted from 0"
    return [f"{told}."]


def _classes(model: Model, y: Array) -> Array | None:
    """Those that y holds labels of; None where it holds a number for each output."""
    several = y.ndim == 2 and y.shape[1] > 1
    return None if several or model.net.sizes[-1] == 1 else model.classes


def _listed(values: Array) -> str:
    return ", ".join([*map(_raw, values[:WHOLE]), *["…"] * (len(values) > WHOLE)])


def _raw(value: object) -> str:
    """A number in as many digits as it takes, or a name."""
    return _name(value if isinstance(value, str) else str(value).removesuffix(".0"))


def _name(text: str) -> str:
    """On one line of some width, and without the backticks that would begin a formula."""
    text = " ".join(text.replace("`", "'").split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
