"""A path over λ, dense to sparse: what does a zero cost?

For each method and seed one network walks up a list of λ, each time starting from where the last
one left it. Upwards, because all-zero weights and biases are stationary for every λ (in a ReLU or
tanh net no gradient gets through them): a walk down from the sparse end would never leave it. A
walk ends early where its network is dead.

A walk is one task, a function of its arguments alone. Any PEP 3148 executor can run the tasks, and
which one does not change the results.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.losses import Loss, SoftmaxCrossEntropy, SquaredError, encode_labels
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import Adam, Optimizer
from tinyreg.core.penalties import L1, ElasticNet, Penalty
from tinyreg.core.training import METHODS, fit
from tinyreg.errors import DivergenceError
from tinyreg.render.table import text_table
from tinyreg.solvers.duality import lambda_max
from tinyreg.sparsity.measures import active_inputs, active_units, exact_zeros, near_zeros
from tinyreg.validate import (
    Array,
    check_choice,
    check_each,
    check_integer,
    check_list,
    check_pairs,
    describe,
)

SHARES_SHOWN = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Point:
    """One stop of a walk: a method, a seed, a λ, and the network measured there.

    The scores are accuracy or R²; `test_score` is None without test data. `active_inputs` and
    `active_units` count the inputs with a nonzero weight and the hidden units with a nonzero
    weight on both sides. `exact_zeros` and `near_zeros` are shares of the weights (w == 0 and
    |w| < 1e-3), `stationarity` is the largest distance of −∇L to ∂R on the training data.
    """

    method: str
    seed: int
    lam: float
    objective: float
    data_loss: float
    penalty: float
    exact_zeros: float
    near_zeros: float
    active_inputs: int
    active_units: int
    train_score: float
    validation_score: float
    test_score: float | None
    stationarity: float
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A walk that ended before its time: the points before `lam` were kept."""

    method: str
    seed: int
    lam: float
    reason: str


@dataclass(frozen=True)
class Walk:
    """The arguments of one task."""

    method: str
    seed: int
    lams: tuple[float, ...]
    penalty: Penalty
    loss: Loss
    sizes: tuple[int, ...]
    activation: str
    dtype: str
    optimizer: Optimizer
    first_epochs: int
    epochs: int
    batch_size: int
    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    test: tuple[Array, Array] | None


def walk(
    task: Walk, visited: Callable[[Point], None] | None = None
) -> tuple[list[Point], Failure | None]:
    """Walk up the λ of one task, warm started; a failure is returned, with what came before it."""
    points: list[Point] = []
    params: Array | None = None
    for i, lam in enumerate(task.lams):
        try:
            point, params, dead = visit(task, i, params)
        except Exception as e:  # whatever went wrong, what came before it is worth keeping
            told = str(e) if isinstance(e, DivergenceError) else f"{type(e).__name__}: {e}"
            return points, Failure(task.method, task.seed, lam, told)
        points.append(point)
        if visited is not None:
            visited(point)
        if dead:
            break
    return points, None


def visit(task: Walk, i: int, params: Array | None) -> tuple[Point, Array, bool]:
    """Train at the i-th λ from the parameters of the last one; measure; is the network dead?"""
    began = time.perf_counter()
    net = MLP(task.sizes, task.activation, task.dtype, task.seed)
    if params is not None:
        net.params = params
    penalty = with_lam(task.penalty, task.lams[i])
    fit(
        net,
        *task.train,
        loss=task.loss,
        penalty=penalty,
        method=task.method,
        optimizer=task.optimizer,
        epochs=task.epochs if i else task.first_epochs,
        batch_size=task.batch_size,
        seed=task.seed + i,
    )
    objective = Objective(net, task.loss, penalty)
    point = _measure(task, objective, task.lams[i], time.perf_counter() - began)
    return point, net.params, _is_dead(net)


def _is_dead(net: MLP) -> bool:
    """Whether some layer has no nonzero weight, so that the outputs do not depend on the inputs."""
    return not all(W.any() for W in net.weights)


def _measure(task: Walk, objective: Objective, lam: float, seconds: float) -> Point:
    net = objective.net
    train = objective.check(*task.train)

    def score(part: tuple[Array, Array]) -> float:
        return objective.score(objective.check(*part), net.params)

    data_loss, gradient = objective.data_value_and_gradient(train, net.params)
    penalty = objective.penalty_value(net.params)
    return Point(
        method=task.method,
        seed=task.seed,
        lam=lam,
        objective=data_loss + penalty,
        data_loss=data_loss,
        penalty=penalty,
        exact_zeros=exact_zeros(net),
        near_zeros=near_zeros(net),
        active_inputs=int(active_inputs(net).sum()),
        active_units=int(active_units(net).sum()),
        train_score=objective.score(train, net.params),
        validation_score=score(task.validation),
        test_score=None if task.test is None else score(task.test),
        stationarity=float(objective.residual_of(gradient, net.params).max()),
        seconds=seconds,
    )


def with_lam(penalty: Penalty, lam: float) -> Penalty:
    """The same penalty at another λ; an elastic net keeps the ratio of its parts.

    Examples
    --------
    >>> with_lam(L1(1.0), 0.1), with_lam(ElasticNet(1.0, 0.5), 0.1)
    (L1(lam=0.1), ElasticNet(l1=0.1, l2=0.05))
    """
    if isinstance(penalty, ElasticNet):
        if penalty.l1 == 0:
            raise ValueError(f"penalty must have l1 > 0 for a path over λ, got {penalty!r}")
        return ElasticNet(lam, lam * penalty.l2 / penalty.l1)
    if not dataclasses.is_dataclass(penalty) or not hasattr(penalty, "lam"):
        raise TypeError(f"penalty must be a dataclass with a field lam, got {describe(penalty)}")
    changed: Any = dataclasses.replace(penalty, lam=lam)
    return changed


@dataclass
class LambdaPath:
    """What `path` returns: print it, or take the numbers from `points`.

    Attributes
    ----------
    settings : dict
    points : list of Point
        In the order of methods, seeds and λ.
    failures : list of Failure
        Walks that broke off, and where.

    Notes
    -----
    method, name : str
        One of the methods walked; an attribute of `Point`.
    lam, share : float
        One of `lams(method)`; between 0 and 1.
    path : str or path

    Examples
    --------
    >>> from tinyreg import SGD
    >>> from tinyreg.datasets.tables import sparse_teacher
    >>> X, y, relevant = sparse_teacher(80, 5, 1)  # one of the five inputs matters
    >>> walked = path(X[:60], y[:60], X[60:], y[60:], lams=(0.01, 0.2, 1.0), hidden=(),
    ...               methods=("proximal",), first_epochs=100, epochs=100, seeds=(0, 1),
    ...               batch_size=60, optimizer=SGD(0.1))
    >>> walked.lams("proximal"), walked.mean("proximal", "active_inputs")
    ([0.01, 0.2, 1.0], array([3., 1., 0.]))
    >>> walked.of("proximal", 0.2, "exact_zeros"), walked.best("proximal")
    (array([0.8, 0.8]), (0.01, 0.01))
    >>> lam, score = walked.at_zeros("proximal", share=0.8)
    >>> lam, round(score, 3), len(walked.to_dict()["points"])
    (0.2, 0.823, 6)
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     walked.to_json(f"{folder}/path.json")
    """

    settings: dict[str, Any]
    points: list[Point]
    failures: list[Failure]

    def lams(self, method: str) -> list[float]:
        """The λ that every walk of a method has reached, in ascending order.

        Walks that broke off do not count; one that ended dead does, and ends the list.
        """
        broken = {(failure.method, failure.seed) for failure in self.failures}
        reached = [
            {point.lam for point in self.points if (point.method, point.seed) == (method, seed)}
            for seed in self.settings["seeds"]
            if (method, seed) not in broken
        ]
        return sorted(set.intersection(*reached or [set()]))

    def of(self, method: str, lam: float, name: str) -> Array:
        """One measure at one stop, an entry for each seed."""
        return np.array(
            [
                getattr(point, name)
                for point in self.points
                if point.method == method
                and point.lam == lam
                and (method, point.seed) not in {(f.method, f.seed) for f in self.failures}
            ],
            dtype=float,
        )

    def mean(self, method: str, name: str) -> Array:
        """One measure along the path, averaged over the seeds."""
        return np.array([self.of(method, lam, name).mean() for lam in self.lams(method)])

    def best(self, method: str) -> tuple[float, float]:
        """The λ with the best mean validation score, and the one-standard-error λ.

        The latter is the largest λ whose mean score is no worse than the best one's less its
        standard error over the seeds (Hastie, Tibshirani and Friedman, The Elements of
        Statistical Learning, section 7.10): sparser, and no worse as far as the seeds can tell.
        """
        lams, scores = self.lams(method), self.mean(method, "validation_score")
        if not lams:
            raise ValueError(f"method: no λ was reached by every seed of {method!r}")
        top = int(np.argmax(scores))
        at_top = self.of(method, lams[top], "validation_score")
        error = at_top.std(ddof=1) / np.sqrt(len(at_top)) if len(at_top) > 1 else 0.0
        within = [
            lam for lam, score in zip(lams, scores, strict=True) if score >= scores[top] - error
        ]
        return lams[top], max(within)

    def at_zeros(self, method: str, share: float) -> tuple[float, float] | None:
        """(λ, mean test score) at the smallest λ with at least this share of exact zeros."""
        name = "test_score" if self.settings["n_test"] else "validation_score"
        for lam, zeros, score in zip(
            self.lams(method),
            self.mean(method, "exact_zeros"),
            self.mean(method, name),
            strict=True,
        ):
            if zeros >= share:
                return lam, float(score)
        return None

    def __str__(self) -> str:
        parts = [self._title()]
        parts += [self._table(method) for method in self.settings["methods"] if self.lams(method)]
        parts.append(self._cost_of_zeros())
        parts += [
            f"broke off: {f.method}, seed {f.seed}, λ = {f.lam:.3g}: {f.reason}"
            for f in self.failures
        ]
        return "\n\n".join(parts)

    def _title(self) -> str:
        s = self.settings
        sizes = "-".join(map(str, s["sizes"]))
        seeds = ", ".join(map(str, s["seeds"]))
        return (
            f"{s.get('data', 'data')}: {s['n_train']} training, {s['n_validation']} validation and "
            f"{s['n_test']} test samples\n"
            f"{sizes} {s['activation']} net, {s['loss']}, {s['penalty']}, {s['optimizer']}\n"
            f"{s['first_epochs']} epochs at the first λ, {s['epochs']} at each later one; "
            f"means over seeds {seeds}"
        )

    def _table(self, method: str) -> str:
        best, one_se = self.best(method)
        header = "λ,F,zeros,|w|<1e-3,inputs,units,train,valid,test,resid"
        rows = [header.split(",")]
        for lam in self.lams(method):
            value = {
                name: float(self.of(method, lam, name).mean())
                for name in (
                    "objective", "exact_zeros", "near_zeros", "active_inputs", "active_units",
                    "train_score", "validation_score", "test_score", "stationarity",
                )
            }  # fmt: skip
            mark = ("*" if lam == best else "") + ("+" if lam == one_se else "")
            rows.append(
                [
                    f"{mark}{lam:.2e}",
                    f"{value['objective']:.4f}",
                    f"{100 * value['exact_zeros']:.1f} %",
                    f"{100 * value['near_zeros']:.1f} %",
                    f"{value['active_inputs']:.1f}",
                    f"{value['active_units']:.1f}",
                    f"{value['train_score']:.3f}",
                    f"{value['validation_score']:.3f}",
                    "-" if np.isnan(value["test_score"]) else f"{value['test_score']:.3f}",
                    f"{value['stationarity']:.0e}",
                ]
            )
        title = f"{method}  (* best validation score, + one-standard-error choice)"
        return "\n".join([title, *text_table(rows, left=0)])

    def _cost_of_zeros(self) -> str:
        kind = "test" if self.settings["n_test"] else "validation"
        lines = [f"mean {kind} score at the smallest λ whose share of exact zeros is at least"]
        for method in self.settings["methods"]:
            cells = []
            for share in SHARES_SHOWN:
                found = self.at_zeros(method, share)
                cells.append(
                    f"{100 * share:.0f} %: " + ("never" if found is None else f"{found[1]:.3f}")
                )
            lines.append(f"  {method:<12} " + "   ".join(cells))
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Settings, choices, points and failures as plain numbers, lists and strings."""
        return {
            "settings": self.settings,
            "best": {
                method: dict(zip(("best", "one_standard_error"), self.best(method), strict=True))
                for method in self.settings["methods"]
                if self.lams(method)
            },
            "points": [dataclasses.asdict(point) for point in self.points],
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
        }

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict()` to a file."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw score against sparsity to a file; needs matplotlib (the extra `plot`)."""
        from tinyreg.render.plots import plot_path

        plot_path(self, path)


def path(
    X: ArrayLike,
    y: ArrayLike,
    X_validation: ArrayLike,
    y_validation: ArrayLike,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    *,
    lams: Sequence[float] | None = None,
    loss: Loss | None = None,
    penalty: Penalty | None = None,
    methods: Sequence[str] = ("subgradient", "proximal"),
    hidden: Sequence[int] = (64,),
    activation: str = "relu",
    optimizer: Optimizer | None = None,
    first_epochs: int = 40,
    epochs: int = 20,
    batch_size: int = 32,
    seeds: Sequence[int] = (0, 1, 2),
    dtype: str = "float64",
    executor: Executor | None = None,
    progress: Callable[[str], None] | None = None,
) -> LambdaPath:
    """Walk up a list of λ with each method and seed.

    Parameters
    ----------
    X, y, X_validation, y_validation, X_test, y_test : arrays
        The validation data choose λ; the test data only look on.
    lams : sequence of float
        Ascending, each > 0; 17 from 1e-5 to 1e-1 if left out. Without hidden layers and with
        L1, the list is cut behind the first that is at least `lambda_max`: there all weights are 0.
    loss : Loss
        SquaredError() for real y, else SoftmaxCrossEntropy(), if left out.
    penalty : Penalty
        Whose λ is walked: L1 if left out. A dataclass with a field `lam` (the only one that is
        changed), or an ElasticNet (whose parts keep their ratio).
    methods : sequence of str
        Of "subgradient", "proximal", "decoupled", "naive".
    hidden : sequence of int
        Units in each hidden layer; () for none.
    activation, optimizer : see `MLP` and `fit`
    first_epochs, epochs : int
        At the first λ, and at each later one.
    batch_size : int
    seeds : sequence of int
    dtype : "float64" or "float32"
    executor : concurrent.futures.Executor, optional
        Any PEP 3148 executor; a walk (method, seed) is one task. Left out, they run here.
    progress : function of a line of text, optional

    Returns
    -------
    LambdaPath
        A walk that diverges, or whose worker dies, is in `failures`, with the λ where it did; what
        came before, and all other walks, are kept.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be, before anything is trained.

    Examples
    --------
    >>> from tinyreg import SGD
    >>> X, y = [[1.0], [-1.0]], [2.0, -2.0]  # F = ½(w − 2)² + ½b² + λ|w|
    >>> walked = path(X, y, X, y, lams=(0.5, 1.0, 4.0), hidden=(), methods=("proximal",),
    ...               seeds=(0,), first_epochs=50, epochs=50, optimizer=SGD(0.5))
    >>> [(point.lam, round(point.objective, 6), point.exact_zeros) for point in walked.points]
    [(0.5, 0.875, 0.0), (1.0, 1.5, 0.0), (4.0, 2.0, 1.0)]
    """
    loss, train, validation, test, n_outputs = _check_data(
        X, y, X_validation, y_validation, X_test, y_test, loss
    )
    penalty = L1(1.0) if penalty is None else penalty
    optimizer = Adam() if optimizer is None else optimizer
    lams = _check_lams(np.geomspace(1e-5, 1e-1, 17).tolist() if lams is None else lams)
    methods = check_each("methods", methods, lambda m: check_choice("methods", m, METHODS))
    seeds = check_each("seeds", seeds, lambda s: check_integer("seeds", s, least=0))
    check_integer("first_epochs", first_epochs, least=1)
    check_integer("epochs", epochs, least=1)
    check_integer("batch_size", batch_size, least=1)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must be a PEP 3148 executor, got {describe(executor)}")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a function, got {describe(progress)}")
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "step", None)):
        raise TypeError(f"optimizer must be SGD(...) or Adam(...), got {describe(optimizer)}")
    sizes = (train[0].shape[1], *check_list("hidden", hidden), n_outputs)
    objective = Objective(MLP(sizes, activation, dtype), loss, with_lam(penalty, lams[0]))
    for name, part in (
        ("X, y", train),
        ("X_validation, y_validation", validation),
        ("X_test, y_test", test),
    ):
        if part is not None:
            try:
                objective.check(*part)
            except (TypeError, ValueError) as e:
                raise type(e)(f"{name}: {e}") from e

    if len(sizes) == 2 and type(penalty) is L1:
        largest = lambda_max(train[0], train[1], loss)
        lams = lams[: 1 + sum(lam < largest for lam in lams)]

    tasks = [
        Walk(
            method, seed, tuple(lams), penalty, loss, sizes, activation, objective.net.dtype.name,
            optimizer, first_epochs, epochs, batch_size, train, validation, test,
        )
        for method in methods
        for seed in seeds
    ]  # fmt: skip
    points: list[Point] = []
    failures: list[Failure] = []
    for some, failure in _run(tasks, executor, progress):
        points += some
        failures += [] if failure is None else [failure]
    settings = {
        "n_train": len(train[0]),
        "n_validation": len(validation[0]),
        "n_test": 0 if test is None else len(test[0]),
        "sizes": list(sizes),
        "activation": activation,
        "loss": repr(loss),
        "penalty": type(penalty).__name__,
        "lams": lams,
        "methods": methods,
        "optimizer": repr(optimizer),
        "first_epochs": first_epochs,
        "epochs": epochs,
        "batch_size": batch_size,
        "seeds": seeds,
        "dtype": objective.net.dtype.name,
    }
    return LambdaPath(settings, points, failures)


def _run(
    tasks: list[Walk], executor: Executor | None, progress: Callable[[str], None] | None
) -> list[tuple[list[Point], Failure | None]]:
    """The results of all tasks in their order, wherever they ran."""

    def say(text: str) -> None:
        if progress is not None:
            progress(text)

    if executor is None:
        return [
            walk(task, lambda p: say(f"{p.method}, seed {p.seed}, λ = {p.lam:.2e}"))
            for task in tasks
        ]
    futures: list[Future[Any] | None] = []
    for task in tasks:
        try:
            futures.append(executor.submit(walk, task))
        except BrokenExecutor:
            futures.append(None)
    results = []
    for task, future in zip(tasks, futures, strict=True):
        try:
            result = _walk_alone(task) if future is None else future.result()
        except Exception:  # a worker died, and took this walk along, its own or another's
            result = _walk_alone(task)
        results.append(result)
        say(f"{task.method}, seed {task.seed} done")
    return results


def _walk_alone(task: Walk) -> tuple[list[Point], Failure | None]:
    """A walk once more, in a process of its own, λ by λ: to know where it dies, if it does."""
    points: list[Point] = []
    params: Array | None = None
    with ProcessPoolExecutor(1) as alone:
        for i, lam in enumerate(task.lams):
            try:
                point, params, dead = alone.submit(visit, task, i, params).result()
            except Exception as e:
                died = "the worker died: " if isinstance(e, BrokenExecutor) else ""
                reason = f"{died}{type(e).__name__}: {e}"
                return points, Failure(task.method, task.seed, lam, reason)
            points.append(point)
            if dead:
                break
    return points, None


def _check_lams(lams: Sequence[float]) -> list[float]:
    array = np.asarray(lams)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "fiu":
        raise ValueError(f"lams must be one or more numbers, got {describe(lams)}")
    if not (np.isfinite(array).all() and array[0] > 0 and (np.diff(array) > 0).all()):
        raise ValueError(f"lams must be finite, > 0 and strictly ascending, got {array.tolist()}")
    return [float(lam) for lam in array]


def _check_data(
    X: ArrayLike,
    y: ArrayLike,
    X_validation: ArrayLike,
    y_validation: ArrayLike,
    X_test: ArrayLike | None,
    y_test: ArrayLike | None,
    loss: Loss | None,
) -> tuple[Loss, tuple[Array, Array], tuple[Array, Array], tuple[Array, Array] | None, int]:
    """The three parts as arrays, the loss that fits the targets, and the number of outputs."""
    if (X_test is None) != (y_test is None):
        raise ValueError("X_test and y_test go together, got one of them")
    features = [np.asarray(part) for part in (X, X_validation, X_test) if part is not None]
    targets = [np.asarray(part) for part in (y, y_validation, y_test) if part is not None]
    suffixes = ("", "_validation", "_test")[: len(targets)]
    for suffix, some, some_targets in zip(suffixes, features, targets, strict=True):
        check_pairs(some, some_targets, f"X{suffix}", f"y{suffix}")
    if loss is None:
        loss = SquaredError() if targets[0].dtype.kind == "f" else SoftmaxCrossEntropy()
    n_outputs = 1 if targets[0].ndim == 1 else targets[0].shape[1]
    if isinstance(loss, SoftmaxCrossEntropy):
        names = [f"y{suffix}" for suffix in suffixes]
        n_outputs, *targets = encode_labels(**dict(zip(names, targets, strict=True)))
    parts = list(zip(features, targets, strict=True))
    return loss, parts[0], parts[1], parts[2] if len(parts) > 2 else None, n_outputs
