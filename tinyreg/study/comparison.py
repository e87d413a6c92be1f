"""The main job: train with no penalty, with subgradient and with proximal L1, and compare.

Every method starts from the same weights and sees the same batches in the same order, so what
differs in the end is the method's doing alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.losses import Loss, SoftmaxCrossEntropy, SquaredError, encode_labels
from tinyreg.core.network import MLP
from tinyreg.core.objective import Data, Objective
from tinyreg.core.optimizers import Adam, Optimizer
from tinyreg.core.penalties import L1, Penalty
from tinyreg.core.training import METHODS, History, fit
from tinyreg.errors import DivergenceError
from tinyreg.render.table import text_table
from tinyreg.sparsity.measures import NEAR_ZERO, active_inputs, active_units, dead_share, near_zeros
from tinyreg.study.convergence import Convergence, converge
from tinyreg.validate import (
    Array,
    check_choice,
    check_each,
    check_integer,
    check_list,
    check_pairs,
    describe,
)

FORWARD_REPEATS = 20
COMPARED = ("none", *METHODS)
TASKS = ("classification", "regression")


@dataclass(frozen=True)
class Run:
    """One method with one seed, measured after the last epoch.

    Attributes
    ----------
    method, seed
    objective, data_loss, penalty : float
        F = L + R, L and R on the training data. R is the compared penalty for every method, so
        that "none" can be held against the others.
    train_score, test_score : float
        Accuracy, or R² in regression.
    exact_zeros, near_zeros : float
        Share of the weights with w == 0, and with |w| < 1e-3 (which includes w == 0).
    dead_inputs, dead_hidden : float
        Share of the inputs without a nonzero weight, and of the hidden units without a nonzero
        incoming or without a nonzero outgoing weight.
    stationarity : float
        The largest distance of −∇L to ∂R over the coordinates, on the training data.
    seconds : float
        For each epoch of the training, with its measurements.
    n_params, n_bytes : int
        Of the trained network.
    compact_params, compact_bytes : int
        Of the same network after `MLP.compact()`.
    forward_seconds, compact_seconds : float
        For `forward` on the training data, before and after `compact()`: the fastest of a few.
    history : History
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

    @property
    def speed_up(self) -> float:
        """How many times faster `forward` is after `compact()`."""
        return self.forward_seconds / self.compact_seconds


@dataclass
class Comparison:
    """What `compare` returns: print it, or take the numbers from `runs`.

    Attributes
    ----------
    settings : dict
        Everything that the runs had in common.
    runs : list of Run
    networks : dict
        The trained network of each method for the first seed.
    convergence : Convergence or None
        The full-batch solvers on the same problem, if asked for.

    Examples
    --------
    >>> X, y = [[1.0, 0.0], [0.0, 1.0]], ["left", "right"]
    >>> comparison = compare(X, y, X, y, hidden=(), epochs=3, seeds=(0, 1))
    >>> comparison.of("proximal", "test_score").shape, sorted(comparison.networks)
    ((2,), ['none', 'proximal', 'subgradient'])
    >>> comparison.to_dict()["settings"]["sizes"], comparison.verdict().endswith("points.")
    ([2, 2], True)
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     comparison.to_json(f"{folder}/comparison.json")
    """

    settings: dict[str, Any]
    runs: list[Run]
    networks: dict[str, MLP]
    convergence: Convergence | None = None

    def of(self, method: str, name: str) -> Array:
        """One measure of one method, an entry for each seed.

        Parameters
        ----------
        method : str
        name : str
            An attribute of `Run`.
        """
        return np.array([getattr(run, name) for run in self.runs if run.method == method])

    def __str__(self) -> str:
        parts = [self._title(), self._table(), self.verdict()]
        if self.convergence is not None:
            parts.append(str(self.convergence))
        return "\n\n".join(parts)

    def _title(self) -> str:
        s = self.settings
        sizes = "-".join(map(str, s["sizes"]))
        seeds = ", ".join(map(str, s["seeds"]))
        return (
            f"{s.get('data', 'data')}: {s['n_train']} training and {s['n_test']} test samples\n"
            f"{sizes} {s['activation']} net, {s['loss']}, {s['penalty']}, {s['optimizer']}\n"
            f"{s['epochs']} epochs of batches of {s['batch_size']}, {s['dtype']}, seeds {seeds} "
            f"(mean ± standard deviation)"
        )

    def _table(self) -> str:
        score = "accuracy" if self.settings["task"] == "classification" else "R²"
        in_percent = self.settings["task"] == "classification"
        rows: list[tuple[str, str, Callable[[Array], str]]] = [
            ("objective F = L + R", "objective", _plain),
            ("  data loss L", "data_loss", _plain),
            ("  penalty R", "penalty", _plain),
            (f"train {score}", "train_score", _percent if in_percent else _plain),
            (f"test {score}", "test_score", _percent if in_percent else _plain),
            ("weights exactly 0", "exact_zeros", _percent),
            (f"weights with |w| < {NEAR_ZERO:g}", "near_zeros", _percent),
            ("dead inputs", "dead_inputs", _percent),
            ("dead hidden units", "dead_hidden", _percent),
            ("parameters after compact()", "compact_params", lambda x: _plain(x, 0)),
            ("speed-up of forward()", "speed_up", lambda x: _plain(x, 1)),
            ("stationarity residual", "stationarity", _scientific),
            ("milliseconds per epoch", "seconds", lambda x: _plain(1e3 * x, 1)),
        ]
        methods = self.settings["methods"]
        table = [["", *methods]]
        table += [
            [label, *(show(self.of(method, name)) for method in methods)]
            for label, name, show in rows
        ]
        return "\n".join(text_table(table, rule=True))

    def verdict(self) -> str:
        """One sentence on what these runs showed."""
        penalised = [m for m in self.settings["methods"] if m != "none"]
        if not penalised:
            return "Nothing was penalised, so there is nothing to compare."
        mean = {
            (m, name): float(self.of(m, name).mean())
            for m in penalised
            for name in ("objective", "test_score", "exact_zeros", "near_zeros")
        }
        parts: list[str] = []
        for method in sorted(penalised, key=lambda m: -mean[m, "exact_zeros"]):
            zeros, near = mean[method, "exact_zeros"], mean[method, "near_zeros"]
            text = f"{method} made {_share(zeros)}"
            text += "" if parts else " of the weights exactly 0"
            if near - zeros > 0.01:
                text += f" (with {_share(near - zeros)} more below {NEAR_ZERO:g} in size)"
            parts.append(text)
        sentence = _join(parts)
        if len(penalised) > 1:
            best = min(penalised, key=lambda m: mean[m, "objective"])
            worst = max(penalised, key=lambda m: mean[m, "objective"])
            low, high = mean[best, "objective"], mean[worst, "objective"]
            if high - low <= 1e-3 * abs(low):
                sentence += f"; the objective is {low:.4g} for all of them"
            else:
                sentence += f"; the objective ends between {low:.4g} ({best}) and "
                sentence += f"{high:.4g} ({worst})"
            scores = [mean[m, "test_score"] for m in penalised]
            gap = max(scores) - min(scores)
            if self.settings["task"] == "classification":
                sentence += f", and their test accuracies lie within {100 * gap:.1f} points"
            else:
                sentence += f", and the test R² lie within {gap:.3f}"
        return sentence[0].upper() + sentence[1:] + "."

    def to_dict(self) -> dict[str, Any]:
        """Settings and runs as plain numbers, lists and strings."""
        content = {"settings": self.settings, "runs": [dataclasses.asdict(r) for r in self.runs]}
        if self.convergence is not None:
            content["convergence"] = self.convergence.to_dict()
        return content

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict()` to a file.

        Parameters
        ----------
        path : str or path
        """
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def plot(self, path: str | PathLike[str], image_shape: tuple[int, int] | None = None) -> None:
        """Draw the comparison to a file; needs matplotlib (the extra `plot`).

        Parameters
        ----------
        path : path
            The ending says the format: .png, .pdf, .svg.
        image_shape : (height, width), optional
            If each row of X is an image: each hidden unit's weights are then drawn as one.
        """
        from tinyreg.render.plots import plot_comparison

        plot_comparison(self, path, image_shape)


def compare(
    X: ArrayLike,
    y: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    penalty: Penalty | None = None,
    hidden: Sequence[int] = (64,),
    epochs: int = 60,
    seeds: Sequence[int] = (0, 1, 2),
    methods: Sequence[str] = ("none", "subgradient", "proximal"),
    optimizer: Optimizer | None = None,
    activation: str = "relu",
    task: str | None = None,
    batch_size: int = 32,
    dtype: str = "float64",
    convergence: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Train the same network by several methods and hold the results side by side.

    Parameters
    ----------
    X, y, X_test, y_test : arrays
        Training and test data. Class labels may be any integers or strings.
    penalty : Penalty
        L1(1e-3) if left out.
    hidden : sequence of int
        Units in each hidden layer; () for none.
    epochs : int
    seeds : sequence of int
        One run of each method for each; the seed sets the initial weights and the batches.
    methods : sequence of str
        Of "none", "subgradient", "proximal", "decoupled", "naive"; see `fit`.
    optimizer, activation : see `fit` and `MLP`
    task : "classification" or "regression", optional
        If left out: regression for floating-point y, else classification.
    batch_size, dtype : see `fit` and `MLP`
    convergence : int
        > 0: also run the full-batch solvers for so many steps, on the training data from the
        first seed's weights (see `tinyreg.study.convergence`).
    progress : function of a line of text, optional
        Called at the end of each epoch, and for each solver.

    Returns
    -------
    Comparison

    Raises
    ------
    DivergenceError
        If a run diverges, with the method and the seed in its message.
    ValueError, TypeError
        If an argument is not as it should be, before anything is trained.

    Examples
    --------
    >>> from tinyreg import SGD
    >>> from tinyreg.datasets.tables import sparse_teacher
    >>> X, y, relevant = sparse_teacher(80, 5, 1)  # one of the five inputs matters
    >>> comparison = compare(X[:60], y[:60], X[60:], y[60:], penalty=L1(0.2), hidden=(),
    ...                      epochs=50, seeds=(2,), batch_size=60, optimizer=SGD(0.1))
    >>> for method, net in comparison.networks.items():
    ...     print(f"{method:<12}", net.weights[0].ravel().round(3))
    none         [-0.105  0.021  1.014 -0.039  0.022]
    subgradient  [-0.015 -0.005  0.794  0.008 -0.002]
    proximal     [0.    0.    0.795 0.    0.   ]
    """
    penalty = L1(1e-3) if penalty is None else penalty
    optimizer = Adam() if optimizer is None else optimizer
    methods = check_each("methods", methods, lambda m: check_choice("methods", m, COMPARED))
    seeds = check_each("seeds", seeds, lambda s: check_integer("seeds", s, least=0))
    epochs = check_integer("epochs", epochs, least=1)
    batch_size = check_integer("batch_size", batch_size, least=1)
    check_integer("convergence", convergence, least=0)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a function, got {describe(progress)}")
    if task is None:
        task = "regression" if np.asarray(y).dtype.kind == "f" else "classification"
    X, y, X_test, y_test = map(np.asarray, (X, y, X_test, y_test))
    check_pairs(X, y)
    check_pairs(X_test, y_test, "X_test", "y_test")
    loss: Loss
    if check_choice("task", task, TASKS) == "classification":
        loss = SoftmaxCrossEntropy()
        n_outputs, y, y_test = encode_labels(y=y, y_test=y_test)
    else:
        loss = SquaredError()
        n_outputs = 1 if y.ndim < 2 else y.shape[1]
    sizes = (X.shape[1], *check_list("hidden", hidden), n_outputs)

    runs: list[Run] = []
    networks: dict[str, MLP] = {}
    for seed in seeds:
        start = MLP(sizes, activation, dtype, seed)
        train, test = _check_both(Objective(start, loss, penalty), (X, y), (X_test, y_test))
        for method in methods:
            net = start.copy()
            settings_of_fit = {
                "optimizer": optimizer,
                "epochs": epochs,
                "batch_size": batch_size,
                "seed": seed,
            }
            objective = Objective(net, loss, penalty)
            runs.append(_run(objective, method, train, test, settings_of_fit, progress))
            networks.setdefault(method, net)

    settings = {
        "n_train": len(X),
        "n_test": len(X_test),
        "task": task,
        "sizes": list(start.sizes),
        "activation": activation,
        "loss": repr(loss),
        "penalty": repr(penalty),
        "methods": methods,
        "optimizer": repr(optimizer),
        "epochs": epochs,
        "batch_size": batch_size,
        "seeds": seeds,
        "dtype": start.dtype.name,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    full_batch = None
    if convergence:
        start = MLP(sizes, activation, dtype, seeds[0])
        full_batch = converge(Objective(start, loss, penalty), X, y, convergence, progress)
    return Comparison(settings, runs, networks, full_batch)


def _check_both(
    objective: Objective,
    train: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
) -> tuple[Data, Data]:
    checked = objective.check(*train)
    try:
        return checked, objective.check(*test)
    except (TypeError, ValueError) as e:
        raise type(e)(f"X_test, y_test: {e}") from e


def _run(
    objective: Objective,
    method: str,
    train: Data,
    test: Data,
    settings: dict[str, Any],
    progress: Callable[[str], None] | None,
) -> Run:
    """Train the objective's network by one method, and measure it."""
    net, seed = objective.net, settings["seed"]
    penalties: list[float] = []

    def at_epoch_end(epoch: int, history: History) -> None:
        # "none" trains on L alone, and is measured on F = L + R like the others.
        penalties.append(objective.penalty_value(net.params))
        if progress is not None:
            progress(f"seed {seed}, {method}: epoch {epoch} of {settings['epochs']}")

    began = time.perf_counter()
    try:
        history = fit(
            net,
            train.X,
            train.targets,
            loss=objective.loss,
            penalty=None if method == "none" else objective.penalty,
            method="subgradient" if method == "none" else method,
            validation_data=(test.X, test.targets),
            callback=at_epoch_end,
            **settings,
        )
    except DivergenceError as e:
        raise DivergenceError(f"{method}, seed {seed}: {e}", e.epoch, e.batch) from e
    seconds = (time.perf_counter() - began) / len(penalties)

    history.penalty = penalties
    history.total = [L + R for L, R in zip(history.data_loss, penalties, strict=True)]
    residual = objective.residual_of(objective.data_pass(train, net.params), net.params)
    small, inputs = net.compact()
    forward_seconds, compact_seconds = _forward_seconds(
        (net, train.X), (small, np.ascontiguousarray(train.X[:, inputs]))
    )
    return Run(
        method=method,
        seed=seed,
        objective=history.total[-1],
        data_loss=history.data_loss[-1],
        penalty=history.penalty[-1],
        train_score=objective.score(train, net.params),
        test_score=history.validation_score[-1],
        exact_zeros=history.exact_zeros[-1],
        near_zeros=near_zeros(net),
        dead_inputs=dead_share(active_inputs(net)),
        dead_hidden=dead_share(active_units(net)),
        stationarity=float(residual.max()),
        seconds=seconds,
        n_params=net.n_params,
        n_bytes=net.params.nbytes,
        compact_params=small.n_params,
        compact_bytes=small.params.nbytes,
        forward_seconds=forward_seconds,
        compact_seconds=compact_seconds,
        history=history,
    )


def _forward_seconds(*pairs: tuple[MLP, Array]) -> list[float]:
    """The fastest of a few forward passes of each pair, taken in turn."""
    best = [math.inf] * len(pairs)
    for _ in range(FORWARD_REPEATS):
        for i, (net, X) in enumerate(pairs):
            began = time.perf_counter()
            net.forward(X)
            best[i] = min(best[i], time.perf_counter() - began)
    return best


def _plain(values: Array, digits: int = 4) -> str:
    return f"{values.mean():.{digits}f}{_spread(values, f'.{digits}f')}"


def _percent(values: Array) -> str:
    return f"{100 * values.mean():.1f}{_spread(100 * values, '.1f')} %"


def _scientific(values: Array) -> str:
    return f"{values.mean():.1e}{_spread(values, '.0e')}"


def _spread(values: Array, form: str) -> str:
    return f" ± {values.std(ddof=1):{form}}" if len(values) > 1 else ""


def _share(value: float) -> str:
    """A share in words that do not round a few to none or nearly all to all."""
    if value in (0, 1):
        return "none" if value == 0 else "all"
    return f"{100 * value:.1f} %" if 0.0005 <= value <= 0.9995 else f"{100 * value:.2g} %"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
