"""The samples that the commands work on: the digits, a file, or random numbers."""

from __future__ import annotations

import argparse

import numpy as np

from tinyreg.core.losses import Loss, SoftmaxCrossEntropy
from tinyreg.core.network import MLP
from tinyreg.datasets.digits import load_digits
from tinyreg.datasets.labels import encode_labels
from tinyreg.datasets.scaling import standardise
from tinyreg.datasets.tables import load_table
from tinyreg.validate import Array


def load(data: str, target: str | None, task: str | None = None) -> tuple[Array, Array, str]:
    """Features, targets and the task that they are for."""
    if data == "digits":
        if target is not None:
            raise ValueError(f"--target goes with a file, not with digits, got {target}")
        X, y = load_digits()
    else:
        X, y = load_table(data, target)
    task = task or ("regression" if y.dtype.kind == "f" else "classification")
    if task == "regression" and y.dtype.kind == "U":
        raise ValueError(f"--task regression needs numbers in the target, got text such as {y[0]}")
    return X, y, task


def standardised(arguments: argparse.Namespace, task: str, *parts: Array) -> list[Array]:
    """X, y, X_other, y_other, …: a table's columns come in any unit, a target to regress on too."""
    if arguments.data == "digits":
        return list(parts)
    features, targets = standardise(*parts[::2]), parts[1::2]
    if task == "regression":
        targets = standardise(*targets)
    return [array for pair in zip(features, targets, strict=True) for array in pair]


def samples(
    arguments: argparse.Namespace, net: MLP, loss: Loss, n: int | None = None
) -> tuple[Array, Array, str | None]:
    """Samples that fit the network, targets as the loss takes them, and where they are from.

    The first n, or all; without data n random ones, or one, from nowhere.
    """
    n_in, n_out = net.sizes[0], net.sizes[-1]
    data = arguments.data or ("digits" if (n_in, n_out) == (64, 10) else None)
    if data is None:
        if arguments.target is not None:
            raise ValueError(f"--target goes with --data, got {arguments.target}")
        n, rng = n or 1, np.random.default_rng(0)
        X: Array = rng.normal(size=(n, n_in))
        y: Array = rng.integers(0, max(n_out, 2 - isinstance(loss, SoftmaxCrossEntropy)), n)
    else:
        X, y, task = load(data, arguments.target)
        if task == "classification":
            _, y = encode_labels(y=y)
        if data != "digits":
            (X,) = standardise(X)
        X, y = X[:n], y[:n]
    if not isinstance(loss, SoftmaxCrossEntropy) and y.dtype.kind == "i" and n_out > 1:
        y = np.eye(max(n_out, y.max() + 1))[y]  # a yes-or-no column for each class
    return X, y, data
