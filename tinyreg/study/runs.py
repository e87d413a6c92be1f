"""One run, and what all runs share: data, network and training; how it is measured and titled."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from timeit import timeit
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.checkpoint import rates, told
from tinyreg.core.losses import Loss, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective, Problem
from tinyreg.core.optimizers import Adam, Optimizer
from tinyreg.core.penalties import Penalty
from tinyreg.core.training import History, fit
from tinyreg.datasets.labels import encode_labels
from tinyreg.errors import DivergenceError
from tinyreg.files import replacing
from tinyreg.solvers.duality import is_convex
from tinyreg.solvers.minimize import minimize
from tinyreg.sparsity.measures import (
    active_inputs,
    active_units,
    dead_share,
    near_zero_share,
    zero_share,
)
from tinyreg.validate import Array

FORWARD_REPEATS = 20
# In the order in which they are written; a study has some of them.
SETTINGS = """
    n_train n_validation n_test task sizes activation loss penalty lams methods optimizer
    first_epochs epochs batch_size seeds dtype convergence python numpy
"""


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
        self.sizes, self.activation, self.dtype = list(net.sizes), activation, net.dtype.name
        self.penalty = penalty

    def objective(self, seed: int, penalty: Penalty) -> Objective:
        """F for a new network."""
        return Objective(MLP(self.sizes, self.activation, self.dtype, seed), self.loss, penalty)

    def on(self, part: str, objective: Objective) -> Problem:
        """F on one part of the data; where the data are refused, the error names the arguments."""
        with validate.named(", ".join(names(part))):
            return objective.on(*self.parts[part])

    def fit(self, net: MLP, **own: Any) -> History:
        """Train a network, with settings of its `own` beside those of all runs."""
        X, y = self.parts["train"]
        return fit(
            net, X, y, loss=self.loss, optimizer=self.optimizer, batch_size=self.batch_size, **own
        )

    def settings(self, **own: Any) -> dict[str, Any]:
        """All of this, and what a study has of its `own`, in numbers and strings."""
        counts = {"n_test": 0} | {f"n_{part}": len(X) for part, (X, _) in self.parts.items()}
        texts = {name: repr(getattr(self, name)) for name in ("loss", "penalty", "optimizer")}
        values = vars(self) | counts | texts | own
        return {name: values[name] for name in SETTINGS.split() if name in values}

    def told(self, **own: Any) -> dict[str, str]:
        """All that a run depends on beside its method and its seed, in words; of arrays a hash."""
        values = vars(self) | own | {"numpy": np.__version__}
        del values["parts"], values["methods"], values["seeds"]
        for part, (X, y) in self.parts.items():
            values |= zip(names(part), (X, y), strict=True)
        epochs = max(self.epochs, own.get("first_epochs", 1))
        steps = epochs * math.ceil(len(self.parts["train"][0]) / self.batch_size)
        words = {name: told(value) for name, value in values.items()}
        return words | {"lr": rates(getattr(self.optimizer, "lr", None), steps)}


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
    n_classes, *labels = encode_labels(**{names(part)[1]: y for part, (_, y) in arrays.items()})
    pairs = zip(arrays.items(), labels, strict=True)
    return {part: (X, y) for (part, (X, _)), y in pairs}, loss, n_classes


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
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with replacing(path) as file:
        file.write(text.encode())


def decimals(x: float, form: str) -> str:
    """A number in a form such as ".4f", but in powers of ten where that makes a row of digits.

    >>> decimals(0.25, ".4f"), decimals(1e24, ".4f")
    ('0.2500', '1.000e+24')
    """
    return f"{x:{form if abs(x) < 1e6 or form.endswith('e') else '.3e'}}"


def measured(train: Problem, history: History) -> dict[str, Any]:
    """What is measured of every trained network, on the training data."""
    return {
        "objective": history.total[-1],
        "data_loss": history.data_loss[-1],
        "penalty": history.penalty[-1],
        "exact_zeros": history.exact_zeros[-1],
        "near_zeros": near_zero_share(train.objective.net),
        "stationarity": train.stationarity(),
        "train_score": train.value_and_score()[1],
    }


@dataclass(frozen=True)
class Run:
    """One method with one seed, measured after the last epoch.

    F = L + R is of the training data, with the compared penalty for every method, "none" too. The
    scores are accuracy or R². `exact_zeros` and `near_zeros` are the shares of the weights with
    w == 0 and |w| < 1e-3; `dead_inputs` and `dead_hidden` those of the inputs without a nonzero
    weight and of the hidden units without one on both sides. `stationarity` is the largest distance
    of −∇L to ∂R. `seconds` are for an epoch and its measurements, `forward_seconds` and
    `compact_seconds` for `forward` on the training data before and after `MLP.compact()`.
    `fista_zeros` is the share of exact zeros after `fista_steps` of FISTA, on all samples, from the
    run's end (None without), and `fista_success` whether that is a stationary point.
    """

    method: str
    seed: int
    objective: float
    data_loss: float
    penalty: float
    train_score: float
    test_score: float
    exact_zeros: float
    near_zeros: float
    dead_inputs: float
    dead_hidden: float
    stationarity: float
    seconds: float
    n_params: int
    n_bytes: int
    compact_params: int
    compact_bytes: int
    forward_seconds: float
    compact_seconds: float
    history: History
    fista_zeros: float | None = None
    fista_steps: int = 0
    fista_success: bool = False

    @property
    def speed_up(self) -> float:
        """How many times faster `forward` is after `compact()`."""
        return self.forward_seconds / self.compact_seconds


def train_and_measure(
    setup: Setup, method: str, seed: int, convergence: int, progress: Callable[[str], None]
) -> tuple[Run, MLP]:
    """The run of one method with one seed, and its network; see `compare` for `convergence`."""
    objective = setup.objective(seed, setup.penalty)
    net = objective.net
    train = objective.on(*setup.parts["train"])
    setup.on("test", objective)  # refused, if it is, before any work

    def at_epoch_end(epoch: int, history: History) -> None:
        if method == "none":  # trained on L alone, measured on F = L + R like the others
            history.penalty[-1] = objective.penalty_value(net.params)
            history.total[-1] = history.data_loss[-1] + history.penalty[-1]
        progress(f"seed {seed}, {method}: epoch {epoch} of {setup.epochs}")

    how: dict[str, Any] = {} if method == "none" else {"penalty": setup.penalty, "method": method}
    if method == "svrg":
        how |= {"method": "proximal", "variance_reduction": True}
    began = time.perf_counter()
    try:
        history = setup.fit(
            net, epochs=setup.epochs, seed=seed, validation_data=setup.parts["test"],
            callback=at_epoch_end, **how,
        )  # fmt: skip
    except DivergenceError as e:
        raise DivergenceError(f"{method}, seed {seed}: {e}", e.epoch, e.batch) from e
    seconds = (time.perf_counter() - began) / setup.epochs

    small, inputs = net.compact()
    X, X_small = train.samples.X, np.ascontiguousarray(train.samples.X[:, inputs])
    times = [  # in turn, so that what else the machine does slows both
        (timeit(lambda: net.forward(X), number=1), timeit(lambda: small.forward(X_small), number=1))
        for _ in range(FORWARD_REPEATS)
    ]
    forward_seconds, compact_seconds = np.min(times, axis=0).tolist()
    further: dict[str, Any] = {}
    if convergence and method != "none":
        progress(f"seed {seed}, {method}: FISTA goes on")
        further = _fista_from(objective, *setup.parts["train"], convergence)
    run = Run(
        method, seed, **measured(train, history), test_score=history.validation_score[-1],
        dead_inputs=dead_share(active_inputs(net)), dead_hidden=dead_share(active_units(net)),
        seconds=seconds, n_params=net.n_params, n_bytes=net.params.nbytes,
        compact_params=small.n_params, compact_bytes=small.params.nbytes,
        forward_seconds=forward_seconds, compact_seconds=compact_seconds, history=history,
        **further,
    )  # fmt: skip
    return run, net


def _fista_from(
    objective: Objective, X: ArrayLike, y: ArrayLike, convergence: int
) -> dict[str, Any]:
    """Where FISTA ends from the network's parameters on, in float64; the network is left alone."""
    net = MLP(objective.net.sizes, objective.net.activation)
    net.params = objective.net.params
    own = Objective(net, objective.loss, objective.penalty)
    steps = 5 * convergence if is_convex(own) else (convergence + 1) // 2
    end = minimize(own, X, y, max_iter=steps)
    return {"fista_zeros": zero_share(net), "fista_steps": end.nit, "fista_success": end.success}
