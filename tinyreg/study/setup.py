"""What all runs of a comparison or of a path have in common, and what is measured of each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.core.losses import Loss, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective, Problem
from tinyreg.core.optimizers import Adam, Optimizer
from tinyreg.core.penalties import Penalty
from tinyreg.core.training import History
from tinyreg.datasets.labels import encode_labels
from tinyreg.sparsity.measures import near_zero_share
from tinyreg.validate import Array


class Setup:
    """The data, the network before training, and how it is trained; checked when it is made.

    `parts` has X and y under "train", and under "validation" and "test" where there are such;
    without a loss, the targets say which. The methods are of `choices`.
    """

    def __init__(
        self,
        parts: Mapping[str, tuple[ArrayLike, ArrayLike]],
        choices: Collection[str],
        *,
        loss: Loss | None,
        penalty: Penalty,
        methods: Sequence[str],
        hidden: Sequence[int],
        activation: str,
        dtype: str,
        optimizer: Optimizer | None,
        epochs: int,
        batch_size: int,
        seeds: Sequence[int],
    ) -> None:
        self.methods = validate.check_each(
            "methods", methods, lambda m: validate.check_choice("methods", m, choices)
        )
        self.seeds = validate.check_each(
            "seeds", seeds, lambda s: validate.check_integer("seeds", s, least=0)
        )
        self.epochs = validate.check_integer("epochs", epochs, least=1)
        self.batch_size = validate.check_integer("batch_size", batch_size, least=1)
        self.optimizer = Adam() if optimizer is None else optimizer
        for method in self.methods:
            validate.check_optimizer(self.optimizer, method)
        self.parts, self.loss, n_outputs = prepare(parts, loss)
        n_inputs = self.parts["train"][0].shape[1]
        net = MLP([n_inputs, *validate.check_list("hidden", hidden), n_outputs], activation, dtype)
        self.sizes, self.activation, self.dtype = net.sizes, activation, net.dtype.name
        self.penalty = penalty

    def objective(self, seed: int, penalty: Penalty) -> Objective:
        """F for a new network."""
        return Objective(MLP(self.sizes, self.activation, self.dtype, seed), self.loss, penalty)

    def on(self, part: str, objective: Objective) -> Problem:
        """F on one part of the data; where the data are refused, the error names the arguments."""
        with validate.named(", ".join(names(part))):
            return objective.on(*self.parts[part])

    def settings(self) -> dict[str, Any]:
        """All of this in numbers and strings."""
        return {
            **{f"n_{part}": len(X) for part, (X, _) in self.parts.items()},
            "sizes": list(self.sizes),
            "activation": self.activation,
            "loss": repr(self.loss),
            "penalty": repr(self.penalty),
            "methods": self.methods,
            "optimizer": repr(self.optimizer),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seeds": self.seeds,
            "dtype": self.dtype,
        }


def names(part: str) -> tuple[str, str]:
    """The arguments that hold a part of the data: X and y, or X_test and y_test."""
    end = "" if part == "train" else f"_{part}"
    return f"X{end}", f"y{end}"


def prepare(
    parts: Mapping[str, tuple[ArrayLike, ArrayLike]], loss: Loss | None
) -> tuple[dict[str, tuple[Array, Array]], Loss, int]:
    """The parts as arrays, with class labels 0 … K−1; a loss that fits; the number of outputs."""
    arrays = {part: (np.asarray(X), np.asarray(y)) for part, (X, y) in parts.items()}
    for part, (X, y) in arrays.items():
        validate.check_pairs(X, y, *names(part))
    y = arrays["train"][1]
    if loss is None:
        loss = SquaredError() if y.dtype.kind == "f" else SoftmaxCrossEntropy()
    if not isinstance(loss, SoftmaxCrossEntropy):
        return arrays, loss, 1 if y.ndim == 1 else y.shape[1]
    labels = {names(part)[1]: y for part, (_, y) in arrays.items()}
    n_classes, *encoded = encode_labels(**labels)
    pairs = zip(arrays.items(), encoded, strict=True)
    return {part: (X, y) for (part, (X, _)), y in pairs}, loss, n_classes


def measured(train: Problem, history: History) -> dict[str, Any]:
    """What is measured of every trained network, on the training data."""
    return {
        "objective": history.total[-1],
        "data_loss": history.data_loss[-1],
        "penalty": history.penalty[-1],
        "exact_zeros": history.exact_zeros[-1],
        "near_zeros": near_zero_share(train.objective.net),
        "stationarity": train.stationarity(),
    }


def title(settings: Mapping[str, Any], samples: str, training: str) -> str:
    """Three lines above a result: the data, the network, how it was trained."""
    sizes = "-".join(map(str, settings["sizes"]))
    return (
        f"{settings.get('data', 'data')}: {samples} samples\n"
        f"{sizes} {settings['activation']} net, {settings['loss']}, {settings['penalty']}, "
        f"{settings['optimizer']}\n"
        f"{training} {', '.join(map(str, settings['seeds']))}"
    )


def write_json(path: str | PathLike[str], content: Mapping[str, Any]) -> None:
    """The content as a JSON file."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")
