"""A path over λ, dense to sparse: what does a zero cost?

For each method and seed one network walks up a list of λ. Upwards, because all-zero weights and
biases are stationary for every λ (in a ReLU or tanh net no gradient gets through them): a walk down
from the sparse end would never leave it. A walk ends early where its network is dead.

Without hidden layers "proximal" goes down, to the minimum at each λ, and proves it by a duality gap
where there is one: with L1 its walk is the lasso path, with the same inputs left at each λ.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.core.losses import Loss
from tinyreg.core.objective import Penalties
from tinyreg.core.optimizers import Optimizer
from tinyreg.core.penalties import L1
from tinyreg.core.training import METHODS
from tinyreg.render.document import Document, Lines, Table
from tinyreg.render.plots import plot_path
from tinyreg.render.text import to_text
from tinyreg.solvers.duality import dual_penalty, lambda_max
from tinyreg.study.model import Model
from tinyreg.study.runs import (
    Setup,
    always,
    by_weight,
    decimals,
    keeps,
    note_of,
    title,
    warn_if_unscaled,
    write_json,
)
from tinyreg.study.store import Store
from tinyreg.study.walk import Failure, Point, Walk, Walked, is_solved, lost, walk, with_lam
from tinyreg.study.workers import check_executor, run_all
from tinyreg.validate import Array, Data

SHARES_SHOWN = (0.5, 0.8, 0.9, 0.95)
COLUMNS = {  # header: measure, scale (100 for percents), form
    "F": ("objective", 1, ".4f"),
    "zeros": ("exact_zeros", 100, ".1f"),
    "|w|<1e-3": ("near_zeros", 100, ".1f"),
    "inputs": ("active_inputs", 1, ".1f"),
    "units": ("active_units", 1, ".1f"),
    "train": ("train_score", 1, ".3f"),
    "valid": ("validation_score", 1, ".3f"),
    "test": ("test_score", 1, ".3f"),
    "balanced": ("test_balanced", 1, ".3f"),
    "resid": ("stationarity", 1, ".0e"),
    "gap": ("gap", 1, ".0e"),
}


@dataclass
class LambdaPath:
    """What `path` returns: print it, or take the numbers from `points`.

    Attributes
    ----------
    settings : dict
    points : list of Point, in the order of methods, seeds and λ
    failures : list of Failure, the walks that broke off, and where
    template : Model, of the network before training: its names of columns and classes
    params : dict, of each method the first seed's parameters at each λ, a dict

    Notes
    -----
    method, name : str, one of the methods walked; an attribute of `Point`
    lam, share : float, one of `lams(method)`; between 0 and 1
    path : str or path

    Examples
    --------
    >>> from tinyreg.datasets.synthetic import sparse_teacher
    >>> X, y, relevant = sparse_teacher(80, 5, 1)  # one of the five inputs matters
    >>> walked = path(X[:60], y[:60], X[60:], y[60:], lams=(0.01, 0.2, 1.0), hidden=(),
    ...               methods=("proximal",))
    >>> walked.lams("proximal"), walked.mean("proximal", "active_inputs")
    ([0.01, 0.2, 1.0], array([3., 1., 0.]))
    >>> walked.of("proximal", 0.2, "exact_zeros"), walked.best("proximal")
    (array([0.8]), (0.01, 0.01))
    >>> relevant, walked.inputs("proximal", 0.2), walked.model("proximal", 0.2).net.sizes
    (array([2]), ['x2'], (5, 1))
    >>> lam, score = walked.at_zeros("proximal", share=0.8)
    >>> lam, round(score, 3), len(walked.to_dict()["points"])
    (0.2, 0.823, 3)
    """

    settings: dict[str, Any]
    points: list[Point]
    failures: list[Failure]
    template: Model
    params: dict[str, dict[float, Array]]

    def _stops(self, method: str) -> list[Point]:
        """The points of the walks of a method that did not break off."""
        broken = [failure.seed for failure in self.failures if failure.method == method]
        return [p for p in self.points if p.method == method and p.seed not in broken]

    def lams(self, method: str) -> list[float]:
        """The λ that every walk of a method has reached, in ascending order.

        Walks that broke off do not count; one that ended dead does, and ends the list.
        """
        counts = Counter(stop.lam for stop in self._stops(method))  # all reach the first λ
        return sorted(lam for lam, n in counts.items() if n == max(counts.values()))

    def of(self, method: str, lam: float, name: str) -> Array:
        """One measure at one stop, an entry for each seed."""
        stops = [stop for stop in self._stops(method) if stop.lam == lam]
        validate.check_choice("name", name, [field.name for field in dataclasses.fields(Point)])
        if not stops:
            raise ValueError(f"method and lam must be ones walked, got {method!r} and {lam!r}")
        return np.array([getattr(stop, name) for stop in stops], dtype=float)

    def mean(self, method: str, name: str) -> Array:
        """One measure along the path, averaged over the seeds."""
        return np.array([self.of(method, lam, name).mean() for lam in self.lams(method)])

    def best(self, method: str) -> tuple[float, float]:
        """The λ with the best mean validation score, and the one-standard-error λ.

        With class weights the score is the balanced accuracy. The latter λ is the largest whose
        mean score is no worse than the best one's less its standard error over the seeds (Hastie,
        Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10): sparser, and
        no worse as far as the seeds can tell.
        """
        name = "validation_balanced" if self._weighted else "validation_score"
        lams, scores = self.lams(method), self.mean(method, name)
        if not lams:
            raise ValueError(f"method: no λ was reached by every seed of {method!r}")
        top = int(np.argmax(scores))
        at_top = self.of(method, lams[top], name)
        error = at_top.std(ddof=1) / np.sqrt(len(at_top)) if len(at_top) > 1 else 0.0
        within = np.flatnonzero(scores >= scores[top] - error)
        return lams[top], lams[within[-1]]

    @property
    def _weighted(self) -> bool:
        return self.settings["class_weight"] is not None

    @property
    def _score(self) -> str:
        return "test" if self.settings["n_test"] else "validation"

    def at_zeros(self, method: str, share: float) -> tuple[float, float] | None:
        """(λ, mean test score) at the smallest λ with at least this share of exact zeros."""
        scores = self.mean(method, f"{self._score}_score")
        for i in np.flatnonzero(self.mean(method, "exact_zeros") >= share):
            return self.lams(method)[i], float(scores[i])
        return None

    def model(self, method: str, lam: float) -> Model:
        """The first seed's network at one stop, with the names of its columns and classes."""
        if lam not in self.params.get(method, {}):
            raise ValueError(f"method and lam must be ones walked, got {method!r} and {lam!r}")
        net = self.template.net.copy()
        net.params = self.params[method][lam]
        return dataclasses.replace(self.template, net=net)

    def inputs(self, method: str, lam: float) -> list[str]:
        """The first seed's inputs with a nonzero weight, from the largest sum of |w| down."""
        return by_weight(self.model(method, lam).net, self.template.columns)

    def __str__(self) -> str:
        return to_text(self.document())

    def document(self) -> Document:
        """A table for each method, the score at a few shares of zeros, the walks that broke off."""
        s = self.settings
        samples = f"{s['n_train']} training, {s['n_validation']} validation and {s['n_test']} test"
        epochs = f"{s['first_epochs']} epochs at the first λ, {s['epochs']} at each later one"
        above = title(s, samples, f"{epochs}; means over seeds")
        tables = [self._table(method) for method in self._walked()]
        broken = [
            Lines([f"broke off: {f.method}, seed {f.seed}, λ = {f.lam:.3g}: {f.reason}"])
            for f in self.failures
        ]
        return Document(above, [*tables, self._cost_of_zeros(), *broken])

    def _walked(self) -> list[str]:
        """The methods with a λ that every walk has reached."""
        return [method for method in self.settings["methods"] if self.lams(method)]

    def _table(self, method: str) -> Table:
        best, one_se = self.best(method)
        measures = COLUMNS | {"balanced": (f"{self._score}_balanced", 1, ".3f")}
        shown = {}
        for header, (name, scale, form) in measures.items():
            if not np.isnan(means := self.mean(method, name)).all():
                shown[header] = [decimals(scale * x, form) + " %" * (scale == 100) for x in means]
        marks = ["*" * (lam == best) + "+" * (lam == one_se) for lam in self.lams(method)]
        lams = [f"{mark}{lam:.2e}" for mark, lam in zip(marks, self.lams(method), strict=True)]
        score = "balanced accuracy" if self._weighted else "score"
        caption = f"{method}  (* best validation {score}, + one-standard-error choice)"
        rows = list(zip(lams, *shown.values(), strict=True))
        return Table(["λ", *shown], rows, left=0, caption=caption, notes=[*self._notes(method)])

    def _notes(self, method: str) -> Iterator[str]:
        """Which inputs are left at the choice, and whether the walk is at the minimum."""
        if is_solved(self.settings["sizes"], method):
            proofs = [p.certified for p in self.points if p.method == method]
            known = f"optimal, by the gap, at {sum(proofs)} of {len(proofs)} λ"
            yield f"FISTA to the minimum of F, once for all seeds; {known}"
        if (kept := self._kept(method)) is not None:
            n = len(self.template.columns)
            yield f"at + seed {self.settings['seeds'][0]} {keeps(kept, n)}"

    def _kept(self, method: str) -> list[str] | None:
        """The first seed's inputs at the choice; None where all are left, or it is not reached."""
        lam = self.best(method)[1]
        kept = self.inputs(method, lam) if lam in self.params[method] else self.template.columns
        return kept if len(kept) < len(self.template.columns) else None

    def _cost_of_zeros(self) -> Lines:
        where = "at the smallest λ whose share of exact zeros is at least"
        lines = [f"mean {self._score} score {where}"]
        for method in self.settings["methods"]:
            line = f"  {method:<12}"
            for share in SHARES_SHOWN:
                at = self.at_zeros(method, share)
                line += f" {100 * share:.0f} %: {decimals(at[1], '.3f') if at else 'never'}  "
            lines.append(line.rstrip())
        if held := self.settings["always"]:
            lines.append(f"  {note_of(held, '', '{:.3f}'.format)}")
        return Lines(lines)

    def to_dict(self) -> dict[str, Any]:
        """Settings, choices (and their inputs, if some are dropped), points and failures."""
        chosen = {}
        for method in self._walked():
            best, one_se = self.best(method)
            names = {"best": best, "one_standard_error": one_se, "inputs": self._kept(method)}
            chosen[method] = names
        return {
            "settings": self.settings,
            "best": chosen,
            "points": [dataclasses.asdict(point) for point in self.points],
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
        }

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict()` to a file."""
        write_json(path, self.to_dict())

    def plot(self, path: str | PathLike[str]) -> str:
        """Draw score against sparsity, and the weights along the path, to a file.

        Without hidden layers each weight of the first seed is a curve, with them each input: the
        norm of its weights. Needs matplotlib (the extra `plot`). Returns in words what is shown.
        """
        measures = (f"{self._score}_score", "exact_zeros", "near_zeros")
        walks = {
            method: [np.array(self.lams(method)), *(self.mean(method, m) for m in measures)]
            for method in self._walked()
        }
        columns, classes = self.template.columns, self.template.classes
        n_outputs, deep = self.settings["sizes"][-1], len(self.settings["sizes"]) > 2
        names = columns
        if not deep and n_outputs > 1:
            outputs = range(n_outputs) if classes is None else classes.tolist()
            names = [f"{column}: {output}" for column in columns for output in outputs]
        curves = {}
        for method in walks:
            layers = {lam: self.model(method, lam).net.weights[0] for lam in self.params[method]}
            rows = [np.linalg.norm(W, axis=1) if deep else W.ravel() for W in layers.values()]
            if rows:
                curves[method] = np.array([*layers]), np.array(rows)
        return plot_path(
            path, score=self._score, walks=walks, curves=curves, names=names,
            chosen={method: self.best(method) for method in walks},
            title="norm of each input's weights" if deep else "weights",
        )  # fmt: skip


def path(
    X: Data,
    y: ArrayLike,
    X_validation: Data,
    y_validation: ArrayLike,
    X_test: Data | None = None,
    y_test: ArrayLike | None = None,
    *,
    lams: Sequence[float] | None = None,
    loss: Loss | None = None,
    task: str | None = None,
    class_weight: str | Mapping[Any, float] | None = None,
    penalty: Penalties = None,
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
    out: str | PathLike[str] | None = None,
    fresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> LambdaPath:
    """Walk up a list of λ with each method and seed.

    Parameters
    ----------
    X, y, X_validation, y_validation, X_test, y_test : arrays
        X dense, `scipy.sparse` or a data frame, whose columns give the inputs their names. The
        validation data choose λ; the test data only look on.
    lams : sequence of float
        Ascending, each > 0; 17 from 1e-5 to 1e-1 if left out. Without hidden layers and with L1 or
        ElasticNet, the list is cut behind the first that is at least `lambda_max`: there all
        weights are 0.
    loss, task : Loss; or "classification", "regression" or "multilabel"; y says which, if it can
    class_weight : "balanced" or dict, optional; see `class_weights`
    penalty : Penalty, or a sequence with one (or None) for each layer; L1 if left out
        A dataclass with a field `lam`, which is walked, or an ElasticNet, whose `l1` is; of several
        the largest. `lam`, `l1` and `l2` of all of them keep their ratios to it.
    methods : sequence of "subgradient", "proximal", "decoupled", "naive"
        Without hidden layers "proximal" goes by `minimize`, from the largest λ down, and so once
        for all seeds; epochs and optimizer are then for the other methods.
    hidden : sequence of int, the units of each hidden layer; () for none
    activation, optimizer, batch_size, dtype : see `MLP` and `fit`
    first_epochs, epochs : int; at the first λ, and at each later one
    seeds : sequence of int; each method walks once for each
    executor : concurrent.futures.Executor, optional
        Any PEP 3148 executor; a walk (method, seed) is one task. Left out, they run here. Data of
        more than 1 MiB go to other processes by a file, once: in `out`, which workers on other
        machines must see, or in a temporary folder. An `np.memmap` goes by its own file. With
        OMP_NUM_THREADS=1 in the environment, workers do not fight over the cores.
    out : path, optional
        A folder, in whose `runs` each walk is kept as it ends. The same call again, with more or
        fewer methods and seeds, takes the walks of the same settings from there, and removes others
    fresh : bool, whether to begin anew whatever `out` holds
    progress : function of a line of text, optional

    Returns
    -------
    LambdaPath
        A walk that diverges, whose worker dies, or that `executor.shutdown` cancels, is in
        `failures`, with the λ where it did; what came before, and all other walks, are kept.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be, `out` cannot be written, or the executor cannot take
        a walk (processes need a loss, a penalty and an optimizer that can be pickled).
    OSError : if the file of the data cannot be written, or a worker cannot read it

    Warns
    -----
    UserWarning : as `compare`, but where all methods go by `minimize`

    Examples
    --------
    >>> X, y = [[1.0], [-1.0]], [2.0, -2.0]  # F = ½(w − 2)² + ½b² + λ|w|
    >>> walked = path(X, y, X, y, task="regression", lams=(0.5, 1.0, 4.0), hidden=(),
    ...               methods=("proximal",))
    >>> [(point.lam, round(point.objective, 6), point.exact_zeros) for point in walked.points]
    [(0.5, 0.875, 0.0), (1.0, 1.5, 0.0), (4.0, 2.0, 1.0)]
    """
    if (X_test is None) != (y_test is None):
        raise ValueError("X_test and y_test go together, got one of them")
    given = {"train": (X, y), "validation": (X_validation, y_validation)}
    if X_test is not None and y_test is not None:
        given["test"] = (X_test, y_test)
    validate.check_function("progress", progress)
    progress = progress or (lambda text: None)
    setup = Setup(
        given, METHODS, loss=loss, task=task, class_weight=class_weight,
        penalty=with_lam(L1(1.0) if penalty is None else penalty, 1.0),
        methods=methods, hidden=hidden, activation=activation, dtype=dtype,
        optimizer=optimizer, epochs=epochs, batch_size=batch_size, seeds=seeds,
    )  # fmt: skip
    lams = _check_lams(np.geomspace(1e-5, 1e-1, 17) if lams is None else lams)
    first_epochs = validate.check_integer("first_epochs", first_epochs, least=1)
    check_executor(executor)
    first = setup.seeds[0]
    start = setup.objective(first, with_lam(setup.penalty, lams[0]))
    for part in setup.parts:
        setup.on(part, start)
    solved = {method for method in setup.methods if is_solved(setup.sizes, method)}
    if setup.task == "regression" and solved != {*setup.methods}:
        warn_if_unscaled(setup.parts["train"][1])

    largest = np.inf
    if (found := dual_penalty(start)) and found[0] > 0:
        largest = lambda_max(*setup.parts["train"], setup.loss, setup.weight)
        lams = lams[: 1 + sum(lam < largest for lam in lams)]
    settings = setup.settings(
        penalty=f"λ × {setup.penalty}", lams=lams, first_epochs=first_epochs,
        always=always(setup, "test" if "test" in setup.parts else "validation"),
    )  # fmt: skip
    template = Model(start.net, setup.loss, setup.columns, setup.classes, settings=settings)
    store = Store(out, fresh, "path", setup, progress, lams=lams, first_epochs=first_epochs)
    tasks = [
        Walk(setup, method, seed, tuple(lams), first_epochs, largest)
        for method, seed in itertools.product(setup.methods, setup.seeds)
        if seed == first or method not in solved
    ]
    walked: dict[Walk, Walked] = {}

    def take(task: Walk, result: Walked) -> None:  # of later seeds without the parameters
        walked[task] = result if task.seed == first else result._replace(params=np.empty(0))

    def keep(task: Walk, result: Walked) -> None:
        take(task, result)
        if result.failure is None:
            points = [dataclasses.asdict(point) for point in result.points]
            store.keep(task.method, task.seed, points, result.params)

    def restored(kept: list[dict[str, Any]], params: Array) -> Walked:
        return Walked([Point(**p) for p in kept], params.reshape(len(kept), start.net.n_params))

    for each in tasks:
        if (kept := store.find(each.method, each.seed, restored)) is not None:
            take(each, kept)
    left = [each for each in tasks if each not in walked]
    run_all(walk, left, executor, store, keep, lost)
    store.prune()
    return LambdaPath(
        settings,
        points=[point for each in tasks for point in walked[each].points],
        failures=[failure for each in tasks if (failure := walked[each].failure) is not None],
        template=template,
        params={
            each.method: {p.lam: params for p, params in zip(*walked[each][:2], strict=True)}
            for each in tasks
            if each.seed == first
        },
    )


def _check_lams(lams: ArrayLike) -> list[float]:
    array = validate.check_array("lams", lams, np.float64)
    if array.ndim != 1 or not (array[0] > 0 and (np.diff(array) > 0).all()):
        came = validate.describe(lams)
        raise ValueError(f"lams must be numbers > 0, strictly ascending, got {came}")
    return array.tolist()
