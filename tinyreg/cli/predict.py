"""`tinyreg predict`: a saved model applied to raw rows."""

from __future__ import annotations

import csv
import io
import sys
from argparse import Namespace

import numpy as np

from tinyreg.cli import options
from tinyreg.core.losses import SquaredError
from tinyreg.datasets.digits import load_digits
from tinyreg.datasets.tables import load_rows
from tinyreg.study.model import Model

SUMMARY = "apply a saved model to new rows"
DESCRIPTION = (
    "Apply a model that `tinyreg compare --out` saved to new rows, in the units of the data that "
    "it was trained on, and write CSV to standard output: a column with the probability of each "
    "class, where there are classes, and the prediction."
)
EXAMPLE = "tinyreg predict --model comparison/proximal.npz --data digits"


def add_options(add: options.Add) -> None:
    """Its options."""
    add("--model", metavar="FILE", required=True, help="what `tinyreg compare --out` saved")
    named = "columns are found by name, in any order, and others are left out"
    add("--data", metavar="FILE", help=f"digits or {options.FILES}; {named}")
    add("--inputs", action="store_true", help="print the inputs that have a nonzero weight instead")


def run(arguments: Namespace) -> int:
    """Print the predictions, or the inputs; 0."""
    model = Model.load(arguments.model)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # as files are read
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if arguments.inputs:
        norms = dict(zip(model.columns, np.linalg.norm(model.net.weights[0], axis=1), strict=True))
        writer.writerow(["input", "norm"])
        writer.writerows([name, norms[name].item()] for name in model.inputs())
        return 0
    if arguments.data is None:
        raise ValueError("--data must be a file of rows to predict, or --inputs be given")
    digits = arguments.data == "digits"
    X = load_digits()[0] if digits else load_rows(arguments.data, model.columns)
    predicted, k, target = model.predict(X), model.net.sizes[-1], model.target or "y"
    names = [target] if k == 1 else [f"{target}{i}" for i in range(k)]
    if model.classes is not None:
        names = [str(name) for name in model.classes]
    header, columns = ["prediction"], [predicted]
    if predicted.ndim == 2:
        header, columns = [f"prediction {name}" for name in names], [*predicted.T]
    if not isinstance(model.loss, SquaredError):
        header, columns = [*names, *header], [*model.probabilities(X).T, *columns]
    writer.writerow(header)
    writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    return 0
