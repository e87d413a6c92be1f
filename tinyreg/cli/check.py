"""`tinyreg check`: every coordinate of a gradient against its own difference."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np

from tinyreg.checks.objective import check_gradients
from tinyreg.cli import options
from tinyreg.core.losses import SoftmaxCrossEntropy
from tinyreg.core.objective import Objective
from tinyreg.datasets.labels import class_weights
from tinyreg.datasets.scaling import Scaling
from tinyreg.datasets.splits import split_rows
from tinyreg.explain.sample import prepared
from tinyreg.study.model import Model
from tinyreg.validate import Array, Sparse, check_integer

BATCH = 32
SMALL = 2e7  # samples times parameters, which take some seconds

SUMMARY = "check every gradient of a network against its own differences"
DESCRIPTION = (
    "Check every coordinate of the gradient of a network, new or saved, and say where and why "
    "one is wrong. The exit status is 0 only if all were judged and are right."
)
EXAMPLE = "tinyreg check --sizes 64,32,10 --activation gelu --penalty elasticnet"


def add_options(add: options.Add) -> None:
    """Its options."""
    add("--sizes", metavar="N,...", help="units by layer (default 64,64,10)")
    options.add_objective_options(add)
    add("--data", metavar="FILE", help=options.DATA)
    whole = "all that a small model was trained on"
    add("--batch", type=int, help=f"samples to check on (default 32, or {whole})")
    add("--json", action="store_true", help="print the JSON in place of the table")


def run(arguments: Namespace) -> int:
    """Print the report; 1 unless all is right."""
    model = options.model(arguments)
    objective = options.objective(arguments, model)
    X, y, weight, told = _samples(arguments, model, objective)
    precision = objective.net.dtype == np.float32
    report = check_gradients(objective, X, y, sample_weight=weight, precision=precision)
    L, R = objective.terms(X, y, sample_weight=weight)
    report.notes.append(f"loss L = {L:.4g}, penalty R = {R:.4g}")
    report.notes.append(f"data: {len(y)} {told}")
    if arguments.json:
        content = {"ok": report.ok, "data_loss": L, "penalty": R, "rows": report.rows}
        print(json.dumps(content | {"notes": report.notes}))
    else:
        print(report)
    return 0 if report.ok else 1


def _samples(
    arguments: Namespace, model: Model | None, objective: Objective
) -> tuple[Array | Sparse, Array, Array | None, str]:
    """Samples, targets and weights as the objective takes them, and where they are from."""
    n = BATCH if arguments.batch is None else check_integer("--batch", arguments.batch, least=1)
    raw = options.raw(arguments, objective, model, n)
    rows, weight, whole = np.arange(raw.X.shape[0]), None, raw.origin
    if model is not None and raw.origin is not None:
        train = _training_rows(model, raw)
        if train is None:
            whole = f"{raw.origin}, other data than the model was trained on"
        else:
            rows, whole = train, f"the training part of {raw.origin}"
            if arguments.batch is None and len(rows) * objective.net.n_params <= SMALL:
                n = len(rows)
            if (text := options.command_of(model)["class_weight"]) is not None:
                weight = class_weights(raw.y[rows], options.class_weight(text, raw.y))[:n]
    told = f"samples, {'all' if n >= len(rows) else 'the first'} of {whole}"
    if whole is None:
        told = "random normal samples" + (", no data of the model (see --data)" if model else "")
    X, y = prepared(raw.model, raw.X[rows[:n]], raw.y[rows[:n]])
    return X, y, weight, told


def _training_rows(model: Model, raw: options.Raw) -> Array | None:
    """The rows that the model was trained on, if these are the data; None where they are not.

    There must be as many rows, and those that the split puts into training must have the scaling
    that the model has; a model without one was trained on the digits.
    """
    command = options.command_of(model)
    if command.get("rows") != len(raw.y):
        return None
    try:
        stratify = isinstance(model.loss, SoftmaxCrossEntropy)
        train, _ = split_rows(raw.y, command["test_share"], command["split_seed"], stratify)
    except ValueError:  # the classes are others
        return None
    if model.scaling is None:
        return train if raw.origin == command["data"] else None
    near = 1e-9 * model.scaling.scale
    same = np.allclose(Scaling.of(raw.X[train]), model.scaling, rtol=1e-9, atol=near)
    return train if same else None
