"""One run, and what all runs share: data, network and training; how it is measured and titled."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from timeit import timeit
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.checkpoint import rates, told
from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective, Penalties, Problem
from tinyreg.core.optimizers import Adam, Optimizer
from tinyreg.core.training import History, fit
from tinyreg.datasets.arrays import in_order, unnamed
from tinyreg.datasets.labels import as_targets, class_weights, encode_labels, task_of
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
from tinyreg.study.sharing import Shared, place
from tinyreg.validate import Array, Data, Sparse

NAMED = 10  # inputs at most, in a line
FORWARD_REPEATS = 20
SAMPLE = 1000  # samples at once, and those that `forward` is timed on
# In the order in which they are written; a study has some of them.
SETTINGS = """
    n_train n_validation n_test task class_weight sizes activation loss penalty lams methods
    optimizer first_epochs epochs batch_size seeds dtype convergence always python numpy
"""
TASKS: dict[str, Loss] = {
    "classification": SoftmaxCrossEntropy(),
    "regression": SquaredError(),
    "multilabel": SigmoidCrossEntropy(),
}


class Setup:
    """The data, the network before training, and how it is trained; checked when it is made.

    `parts` has X and y under "train", and under "validation" and "test" where there are such, each
    X converted once to the network's dtype. A loss or a task says what the targets are, or they do
    themselves. `weight` are the weights of the training samples. The methods are of `choices`.
    """

    def __init__(
        self,
        parts: Mapping[str, tuple[Data, ArrayLike]],
        choices: Collection[str],
        *,
        loss: Loss | None = None,
        task: str | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        penalty: Penalties,
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
        self.dtype = validate.check_dtype("dtype", dtype).name
        tables, targets, self.columns = _samples(parts, self.dtype)
        self.task, self.loss = _task_and_loss(targets["y"], task, loss)
        self.classes: Array | None = None
        self.class_weight, weight = class_weight, None
        if self.task == "classification":
            self.classes, *arrays = encode_labels(**targets)
            if class_weight is not None:
                weight = class_weights(targets["y"], class_weight)
        elif class_weight is not None:
            raise ValueError(f"class_weight goes with classes, not with {self.task}")
        else:
            arrays = [validate.as_numbers(name, y) for name, y in targets.items()]
        self.data = Shared(
            (dict(zip(parts, zip(tables, arrays, strict=True), strict=True)), weight)
        )
        n_outputs = math.prod(arrays[0].shape[1:]) if self.classes is None else len(self.classes)
        layers = [len(self.columns), *validate.check_list("hidden", hidden), n_outputs]
        net = MLP(layers, activation, self.dtype)
        self.sizes, self.activation, self.penalty = list(net.sizes), activation, penalty

    @property
    def parts(self) -> dict[str, tuple[Array | Sparse, Array]]:
        return self.data.read()[0]

    @property
    def weight(self) -> Array | None:
        return self.data.read()[1]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"columns": []}  # there may be many, and none is needed to train

    def objective(self, seed: int, penalty: Penalties) -> Objective:
        """F for a new network."""
        return Objective(MLP(self.sizes, self.activation, self.dtype, seed), self.loss, penalty)

    def on(self, part: str, objective: Objective) -> Problem:
        """F on one part of the data; where the data are refused, the error names the arguments."""
        with validate.named(", ".join(names(part))):
            return objective.on(*self.parts[part], self.weight if part == "train" else None)

    def fit(self, net: MLP, **own: Any) -> History:
        """Train a network, with settings of its `own` beside those of all runs."""
        X, y = self.parts["train"]
        return fit(
            net, X, y, loss=self.loss, optimizer=self.optimizer, batch_size=self.batch_size,
            sample_weight=self.weight, **own,
        )  # fmt: skip

    def settings(self, **own: Any) -> dict[str, Any]:
        """All of this, and what a study has of its `own`, in numbers and strings."""
        counts = {"n_test": 0} | {f"n_{part}": len(y) for part, (_, y) in self.parts.items()}
        texts = {name: repr(getattr(self, name)) for name in ("loss", "penalty", "optimizer")}
        if self.class_weight is not None:
            texts["class_weight"] = str(self.class_weight)
        values = vars(self) | counts | texts | own
        return {name: values[name] for name in SETTINGS.split() if name in values}

    def told(self, **own: Any) -> dict[str, str]:
        """All that a run depends on beside its method and its seed, in words; of arrays a hash."""
        values = vars(self) | own | {"numpy": np.__version__, "weight": self.weight}
        for name in ("data", "methods", "seeds", "columns", "classes", "class_weight"):
            del values[name]
        for part, (X, y) in self.parts.items():
            values |= zip(names(part), (X, y), strict=True)
        epochs = max(self.epochs, own.get("first_epochs", 1))
        steps = epochs * math.ceil(len(self.parts["train"][1]) / self.batch_size)
        words = {name: told(value) for name, value in values.items()}
        return words | {"lr": rates(getattr(self.optimizer, "lr", None), steps)}


def names(part: str) -> tuple[str, str]:
    """The arguments that hold a part of the data: X and y, or X_test and y_test."""
    end = "" if part == "train" else f"_{part}"
    return f"X{end}", f"y{end}"


def _samples(
    parts: Mapping[str, tuple[Data, ArrayLike]], dtype: str
) -> tuple[list[Array | Sparse], dict[str, Array], list[str]]:
    """X of each part in this dtype, the targets by name, and the columns' names: x0, … without any.

    There must be a target for each sample.
    """
    tables: list[Array | Sparse] = []
    targets: dict[str, Array] = {}
    columns: list[str] | None = None
    for part, (X, y) in parts.items():
        (name, y_name), own = names(part), validate.column_names(X)
        width = None if columns is None else len(columns)
        table = validate.check_features(in_order(name, X, columns, dtype), width, dtype, name)
        columns = columns or own or unnamed(table.shape[1])
        if isinstance(table, np.ndarray) and not table.flags.forc and place(table) is None:
            table = np.array(table)  # products of the same numbers differ where strides do
        tables.append(table)
        targets[y_name] = as_targets(y_name, y)
        validate.check_pairs(table, targets[y_name], name, y_name)
    return tables, targets, columns or []


def _task_and_loss(y: ArrayLike, task: str | None, loss: Loss | None) -> tuple[str, Loss]:
    """The one that is given says the other; without any, the targets do."""
    if loss is None:
        task = task_of(y) if task is None else validate.check_choice("task", task, TASKS)
        return task, TASKS[task]
    validate.check_type("loss", loss, Loss, "a loss such as SquaredError()")
    if task is not None:
        raise ValueError(f"task says which loss, so give one of them, got {task!r} and {loss!r}")
    fits = (task for task, known in TASKS.items() if isinstance(loss, type(known)))
    return next(fits, "regression"), loss


def warn_if_unscaled(y: Array) -> None:
    """λ is in the units of the target, and a step of Adam is about lr, whatever these are."""
    with np.errstate(all="ignore"):
        mean, deviation = np.atleast_1d(y.mean(axis=0), y.std(axis=0))
    scaled = (np.abs(mean) <= 3) & (deviation <= 10) & ((deviation >= 0.1) | (deviation == 0))
    if not scaled.all():
        i = np.argmin(scaled)
        warnings.warn(
            f"y has mean {mean[i]:.3g} and deviation {deviation[i]:.3g}; λ and learning rates suit "
            "targets of mean 0 and deviation 1, as y, y_test = "
            "tr.datasets.standardise(y, y_test) makes them",
            stacklevel=3,
        )


def labels_of(y: Array) -> Array:
    """Class labels, (N,), from one-hot rows too."""
    return y if y.ndim == 1 else y.argmax(axis=1)


def balanced_accuracy(labels: Array, predicted: Array) -> float:
    """The mean, over the classes among the labels, of the share of each that was found.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    _, codes = np.unique(labels, return_inverse=True)
    found = np.bincount(codes, weights=labels == predicted)
    return float(np.mean(found / np.bincount(codes)))


def balanced(setup: Setup, net: MLP, part: str) -> float | None:
    """The balanced accuracy on one part of the data, or None where there are no classes."""
    if setup.classes is None:
        return None
    X, y = setup.parts[part]
    starts = range(0, len(y), SAMPLE)
    outputs = np.concatenate([net.forward(X[start : start + SAMPLE]) for start in starts])
    return balanced_accuracy(labels_of(y), outputs.argmax(axis=1))


def always(setup: Setup, part: str) -> dict[str, Any] | None:
    """The scores on a part of the data of saying what is commonest in the training data."""
    y, held_back = setup.parts["train"][1], setup.parts[part][1]
    if setup.task == "regression":
        return None
    if setup.classes is None:
        right = (y.mean(axis=0) > 0.5) == (held_back > 0.5)
        return {"says": "the commonest answer", "score": float(right.mean()), "balanced": None}
    labels = labels_of(held_back)
    top = np.bincount(labels_of(y)).argmax()
    return {
        "says": f"{setup.classes[top].item()!r}, the commonest class",
        "score": float(np.mean(labels == top)),
        "balanced": balanced_accuracy(labels, np.full_like(labels, top)),
    }


def note_of(always: Mapping[str, Any], score: str, shown: Callable[[float], str]) -> str:
    """What `always` found, in a line."""
    note = f"always {always['says']}: {score}{shown(always['score'])}"
    return note if always["balanced"] is None else f"{note}, balanced {shown(always['balanced'])}"


def keeps(kept: Sequence[str], n: int) -> str:
    """How many of n inputs keep a weight, and the heaviest of them by name.

    >>> keeps(["age", "height"], 5)
    'keeps 2 of 5 inputs: age, height'
    """
    which, shown = (": ", kept) if len(kept) <= NAMED else (", most weight on ", kept[:5])
    return f"keeps {len(kept)} of {n} inputs" + bool(kept) * (which + ", ".join(shown))


def by_weight(net: MLP, columns: Sequence[str]) -> list[str]:
    """The inputs with a nonzero weight, from the largest sum of |w| down."""
    size = np.abs(net.weights[0]).sum(axis=1)
    return [columns[i] for i in np.argsort(-size, kind="stable") if size[i] > 0]


def title(settings: Mapping[str, Any], samples: str, training: str) -> str:
    """Three lines above a result: the data, the network, how it was trained."""
    sizes, weights = "-".join(map(str, settings["sizes"])), settings["class_weight"]
    return (
        f"{settings.get('data', 'data')}: {samples} samples\n"
        f"{sizes} {settings['activation']} net, {settings['loss']}, {settings['penalty']}, "
        f"{settings['optimizer']}{f', class weights {weights}' if weights else ''}\n"
        f"{training} {', '.join(map(str, settings['seeds']))}"
    )


def write_json(path: str | PathLike[str], content: Mapping[str, Any]) -> None:
    """The content as a JSON file."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # a path need not be UTF-8


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
    scores are accuracy, the share of right answers or R²; `test_balanced` is the balanced accuracy
    (None without classes). `exact_zeros` and `near_zeros` are the shares of the weights with w == 0
    and |w| < 1e-3; `dead_inputs` and `dead_hidden` those of the inputs without a nonzero weight and
    of the hidden units without one on both sides. `stationarity` is the largest distance of −∇L to
    ∂R. `seconds` are for an epoch and its measurements, `forward_seconds` and `compact_seconds` for
    `forward` on at most 1000 training samples before and after `MLP.compact()`. `fista_zeros` is
    the share of exact zeros after `fista_steps` of FISTA, on all samples, from the run's end (None
    without), and `fista_success` whether that is a stationary point.
    """

    method: str
    seed: int
    objective: float
    data_loss: float
    penalty: float
    train_score: float
    test_score: float
    test_balanced: float | None
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
    train = setup.on("train", objective)

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
    X = train.samples.X[:SAMPLE].astype(net.dtype, copy=False)
    X_small = X[:, inputs].copy()  # in rows again
    times = [  # in turn, so that what else the machine does slows both
        (timeit(lambda: net.forward(X), number=1), timeit(lambda: small.forward(X_small), number=1))
        for _ in range(FORWARD_REPEATS)
    ]
    forward_seconds, compact_seconds = np.min(times, axis=0).tolist()
    further: dict[str, Any] = {}
    if convergence and method != "none":
        progress(f"seed {seed}, {method}: FISTA goes on")
        further = _fista_from(setup, net, convergence)
    run = Run(
        method, seed, **measured(train, history), test_score=history.validation_score[-1],
        test_balanced=balanced(setup, net, "test"),
        dead_inputs=dead_share(active_inputs(net)), dead_hidden=dead_share(active_units(net)),
        seconds=seconds, n_params=net.n_params, n_bytes=net.params.nbytes,
        compact_params=small.n_params, compact_bytes=small.params.nbytes,
        forward_seconds=forward_seconds, compact_seconds=compact_seconds, history=history,
        **further,
    )  # fmt: skip
    return run, net


def _fista_from(setup: Setup, net: MLP, convergence: int) -> dict[str, Any]:
    """Where FISTA ends from the network's parameters on, in float64; the network is left alone."""
    own = Objective(net.astype("float64"), setup.loss, setup.penalty)
    steps = 5 * convergence if is_convex(own) else (convergence + 1) // 2
    end = minimize(own, *setup.parts["train"], max_iter=steps, sample_weight=setup.weight)
    zeros = zero_share(own.net)
    return {"fista_zeros": zeros, "fista_steps": end.nit, "fista_success": end.success}
