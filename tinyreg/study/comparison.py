"""The main job: train with no penalty, with subgradient and with proximal L1, and compare.

Every method starts from the same weights and sees the same batches in the same order.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.network import MLP
from tinyreg.core.optimizers import Optimizer
from tinyreg.core.penalties import L1, Penalty
from tinyreg.core.training import METHODS, History
from tinyreg.render.document import Document, Lines, Table
from tinyreg.render.plots import plot_comparison
from tinyreg.render.text import to_text
from tinyreg.sparsity.measures import NEAR_ZERO
from tinyreg.study.convergence import RATES, Convergence, converge
from tinyreg.study.model import Model
from tinyreg.study.runs import (
    TASKS,
    Run,
    Setup,
    always,
    by_weight,
    decimals,
    keeps,
    note_of,
    title,
    train_and_measure,
    warn_if_unscaled,
    write_json,
)
from tinyreg.study.store import Store
from tinyreg.study.workers import check_executor, name, run_all, run_alone
from tinyreg.validate import Array, Data, check_choice, check_function, check_integer

COMPARED = ("none", *METHODS, "svrg")
SCORES = {"classification": "accuracy", "multilabel": "right answers", "regression": "R²"}


@dataclass
class Comparison:
    """What `compare` returns: print it, or take the numbers from `runs`.

    Attributes
    ----------
    settings : dict, everything that the runs had in common
    runs : list of Run
    networks : dict, the trained network of each method for the first seed
    columns : list of str, the names of the inputs; x0, x1, … where X has none
    classes : array or None, the classes in the order of the outputs
    convergence : Convergence or None
        The full-batch solvers on the same problem, if asked for.

    Notes
    -----
    method, name : str, one of the methods compared; an attribute of `Run`
    path : str or path; the ending of a picture's says the format: .png, .pdf, .svg
    image_shape : (height, width), optional
        If each row of X is an image: each hidden unit's weights are then drawn as one.

    Examples
    --------
    >>> X, y = [[1.0, 0.0], [0.0, 1.0]], ["left", "right"]
    >>> comparison = compare(X, y, X, y, hidden=(), epochs=3, seeds=(0, 1))
    >>> comparison.of("proximal", "test_score").shape, sorted(comparison.networks)
    ((2,), ['none', 'proximal', 'subgradient'])
    >>> comparison.to_dict()["settings"]["sizes"], comparison.verdict().endswith("points.")
    ([2, 2], True)
    >>> comparison.document().pieces[0].headers
    ['', 'none', 'subgradient', 'proximal']
    >>> comparison.inputs("none"), comparison.model("none").classes
    (['x1', 'x0'], array(['left', 'right'], dtype='<U5'))
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     comparison.to_json(f"{folder}/comparison.json")
    """

    settings: dict[str, Any]
    runs: list[Run]
    networks: dict[str, MLP]
    columns: list[str]
    classes: Array | None
    convergence: Convergence | None = None

    def of(self, method: str, name: str) -> Array:
        """One measure of one method, an entry for each seed."""
        check_choice("method", method, list(self.networks))
        measures = [*(field.name for field in dataclasses.fields(Run)), "speed_up"]
        check_choice("name", name, measures)
        return np.array([getattr(run, name) for run in self.runs if run.method == method])

    def model(self, method: str) -> Model:
        """The first seed's network of one method, with what it takes to predict by it."""
        net = self.networks[check_choice("method", method, list(self.networks))]
        loss = TASKS[self.settings["task"]]
        return Model(net, loss, self.columns, self.classes, settings=self.settings)

    def inputs(self, method: str) -> list[str]:
        """The inputs with a nonzero weight in `networks`, from the largest sum of |w| down."""
        return by_weight(self.model(method).net, self.columns)

    def __str__(self) -> str:
        return to_text(self.document())

    def document(self) -> Document:
        """A table of the measures, mean and spread over the seeds, and the verdict."""
        s = self.settings
        samples = f"{s['n_train']} training and {s['n_test']} test"
        training = f"{s['epochs']} epochs of batches of {s['batch_size']}, {s['dtype']}, seeds"
        above = title(s, samples, training) + " (mean ± standard deviation)"
        more = self.convergence.document().pieces if self.convergence else []
        return Document(above, [self._table(), Lines([self.verdict()]), *more])

    @property
    def _score(self) -> str:
        return SCORES[self.settings["task"]]

    def _table(self) -> Table:
        plain, percent = (".4f", 1, ""), (".1f", 100, " %")
        score = plain if self._score == "R²" else percent
        shown = [
            ("objective F = L + R", "objective", plain),
            ("  data loss L", "data_loss", plain),
            ("  penalty R", "penalty", plain),
            (f"train {self._score}", "train_score", score),
            (f"test {self._score}", "test_score", score),
            ("test balanced accuracy", "test_balanced", percent),
            ("weights exactly 0", "exact_zeros", percent),
            ("  after FISTA from there", "fista_zeros", percent),
            (f"weights with |w| < {NEAR_ZERO:g}", "near_zeros", percent),
            ("dead inputs", "dead_inputs", percent),
            ("dead hidden units", "dead_hidden", percent),
            ("parameters after compact()", "compact_params", (".0f", 1, "")),
            ("speed-up of forward()", "speed_up", (".1f", 1, "")),
            ("stationarity residual", "stationarity", (".1e", 1, "")),
            ("milliseconds per epoch", "seconds", (".1f", 1e3, "")),
        ]
        methods = self.settings["methods"]
        rows = [
            [label, *(_mean_and_spread(self.of(method, name), *form) for method in methods)]
            for label, name, form in shown
            if any(getattr(run, name) is not None for run in self.runs)
        ]
        notes, seed, n = self._how_far(), self.settings["seeds"][0], len(self.columns)
        if (held := self.settings["always"]) is not None:
            note = note_of(held, f"test {self._score} ", lambda score: f"{100 * score:.1f} %")
            notes = [note, *notes]
        notes += [f"{m} (seed {seed}) {keeps(kept, n)}" for m, kept in self._dropping().items()]
        return Table(["", *methods], rows, rule=True, notes=notes)

    def _dropping(self) -> dict[str, list[str]]:
        """The inputs of each method that does not keep them all."""
        kept = {method: self.inputs(method) for method in self.networks}
        return {m: names for m, names in kept.items() if len(names) < len(self.columns)}

    def _how_far(self) -> list[str]:
        """A note of how many steps FISTA took, and how often it arrived."""
        if not (runs := [run for run in self.runs if run.fista_zeros is not None]):
            return []
        steps, arrived = max(r.fista_steps for r in runs), sum(r.fista_success for r in runs)
        gaps = [curve.gap for curve in self.convergence.curves] if self.convergence else []
        end = "stationary" if None in gaps else "optimal"
        return [
            f"FISTA: at most {steps} full-batch steps from where each run ended; "
            f"{arrived or 'none'} of {len(runs)} ended {end}"
        ]

    def verdict(self) -> str:
        """One sentence on what these runs showed."""
        penalised = [m for m in self.settings["methods"] if m != "none"]
        if not penalised:
            return "Nothing was penalised, so there is nothing to compare."
        sentence = self._zeros_made(penalised)
        if self.settings["convergence"]:
            zeros = self._means(penalised, "fista_zeros").values()
            span = " to ".join(dict.fromkeys(map(_share, (min(zeros), max(zeros)))))
            sentence += f"; FISTA, going on from there, makes {span}"
        if len(penalised) > 1:
            sentence += f"; {self._cost(penalised)}"
        return sentence[0].upper() + sentence[1:] + "."

    def _means(self, methods: list[str], name: str) -> dict[str, float]:
        return {method: float(self.of(method, name).mean()) for method in methods}

    def _zeros_made(self, methods: list[str]) -> str:
        zeros, near = self._means(methods, "exact_zeros"), self._means(methods, "near_zeros")
        parts: list[str] = []
        for method in sorted(methods, key=lambda m: -zeros[m]):
            text = f"{method} made {_share(zeros[method])}"
            text += "" if parts else " of the weights exactly 0"
            more = near[method] - zeros[method]
            if more > 0.01:
                text += f" (with {_share(more)} more below {NEAR_ZERO:g} in size)"
            parts.append(text)
        return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))

    def _cost(self, methods: list[str]) -> str:
        F = self._means(methods, "objective")
        best, worst = min(methods, key=F.__getitem__), max(methods, key=F.__getitem__)
        text = f"the objective ends between {F[best]:.4g} ({best}) and {F[worst]:.4g} ({worst})"
        if F[worst] - F[best] <= 1e-3 * abs(F[best]):
            text = f"the objective is {F[best]:.4g} for all of them"
        gap = np.ptp(list(self._means(methods, "test_score").values()))
        if self._score == "R²":
            return f"{text}, and the test R² lie within {decimals(gap, '.3f')}"
        scores = self._score.replace("accuracy", "accuracies")
        return f"{text}, and their test {scores} lie within {100 * gap:.1f} points"

    def to_dict(self) -> dict[str, Any]:
        """Settings, runs and `inputs` (where some are dropped) as numbers, lists and strings."""
        runs = [dataclasses.asdict(run) for run in self.runs]
        content = {"settings": self.settings, "inputs": self._dropping(), "runs": runs}
        if self.convergence is not None:
            content["convergence"] = self.convergence.to_dict()
        return content

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict()` to a file."""
        write_json(path, self.to_dict())

    def plot(self, path: str | PathLike[str], image_shape: tuple[int, int] | None = None) -> str:
        """Draw it to a file; returns what that shows in words. Needs matplotlib (extra `plot`)."""

        def curves(name: str) -> dict[str, Array]:
            of_all = {method: self.of(method, "history") for method in self.networks}
            return {m: np.array([getattr(h, name) for h in of_m]) for m, of_m in of_all.items()}

        solvers = {
            c.solver: ([], [], []) if c.diverged else (c.objective, c.stationarity, c.seconds)
            for c in (self.convergence.curves if self.convergence else [])
        }
        return plot_comparison(
            path, objectives=curves("total"), zeros=curves("exact_zeros"),
            scores=curves("validation_score"), score=self._score,
            weights={method: net.weights for method, net in self.networks.items()},
            seed=self.settings["seeds"][0], image_shape=image_shape, solvers=solvers,
            rates=RATES if self.convergence and self.convergence.convex else {},
            names=self.columns, bound=self.convergence.bound if self.convergence else None,
        )  # fmt: skip


class Task(NamedTuple):
    """The arguments of a run; as method "convergence" that of the full-batch solvers."""

    setup: Setup
    method: str
    seed: int
    convergence: int


def perform(
    task: Task, progress: Callable[[str], None] = lambda text: None
) -> tuple[Run | Convergence, Array]:
    """What is measured, and the parameters in the end, none of the full-batch solvers."""
    setup, method, seed, convergence = task
    if method != "convergence":
        run, net = train_and_measure(setup, method, seed, convergence, progress)
        return run, net.params
    start, (X, y) = setup.objective(seed, setup.penalty), setup.parts["train"]
    return converge(start, X, y, convergence, progress, setup.weight), np.empty(0)


def lost(task: Task, error: Exception) -> tuple[Run | Convergence, Array]:
    """As `run_all` asks it: a worker that died may have died of another task."""
    if isinstance(error, CancelledError):
        raise CancelledError(f"{name(task)}: cancelled by the executor") from error
    try:
        return run_alone(perform, task)
    except BrokenExecutor as e:
        told = f"{name(task)}: the worker died: {type(e).__name__}: {e}"
        raise ChildProcessError(told) from e


def compare(
    X: Data,
    y: ArrayLike,
    X_test: Data,
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
    class_weight: str | Mapping[Any, float] | None = None,
    batch_size: int = 32,
    dtype: str = "float64",
    convergence: int = 0,
    executor: Executor | None = None,
    out: str | PathLike[str] | None = None,
    fresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Train the same network by several methods and hold the results side by side.

    Parameters
    ----------
    X, y, X_test, y_test : arrays; class labels may be any integers or strings
        X and X_test may be of `scipy.sparse`, or data frames, whose columns lend their names.
    penalty : Penalty; L1(1e-3) if left out
    hidden : sequence of int, the units of each hidden layer; () for none
    epochs : int
    seeds : sequence of int, of the initial weights and the batches; each method runs once for each
    methods : sequence of "none", "subgradient", "proximal", "decoupled", "naive", "svrg"
        See `fit`; "svrg" is "proximal" with variance_reduction=True, whose epochs take three
        gradients of each sample in place of one.
    optimizer, activation, batch_size, dtype : see `fit` and `MLP`
    task : "classification", "regression" or "multilabel"; left out, as y says, or an error asks
    class_weight : "balanced" or dict, optional; see `class_weights`. In L and all that is made of
        it on the training data; no score is weighted
    convergence : int
        > 0: also run the full-batch solvers for so many steps, from the first seed's weights (see
        `tinyreg.study.convergence`). And FISTA goes on from the end of each penalised run, for half
        as many steps at most, or where F is convex five times as many, which reach an optimum as a
        rule: the noise of batches keeps weights away from 0 that are 0 there.
    executor : concurrent.futures.Executor, optional
        As `path` takes it; each run is one task, and so are the full-batch solvers. Times of runs
        beside each other are of a busy machine.
    out : path, optional
        A folder, in whose `runs` each run is kept as it ends. The same call again, with more or
        fewer methods and seeds, takes the runs of the same settings from there, and removes others.
    fresh : bool, whether to begin anew whatever `out` holds
    progress : function of a line of text, called after each epoch, and for each solver;
        with an executor after each run

    Returns
    -------
    Comparison

    Raises
    ------
    DivergenceError : if a run diverges; its message names the method and the seed
    ValueError, TypeError
        If an argument is not as it should be or `out` cannot be written, before anything is
        trained; or the executor cannot take a run
    OSError, CancelledError
        If a worker dies or cannot read the data; if the executor cancels a run. As for any error,
        the runs before it, and others that had begun, come to their end, and are kept in `out`.

    Warns
    -----
    UserWarning : if y is to be regressed on and far from mean 0 and deviation 1

    Examples
    --------
    >>> from tinyreg import SGD
    >>> from tinyreg.datasets.synthetic import sparse_teacher
    >>> X, y, relevant = sparse_teacher(80, 5, 1)  # one of the five inputs matters
    >>> comparison = compare(X[:60], y[:60], X[60:], y[60:], penalty=L1(0.2), hidden=(),
    ...                      epochs=50, seeds=(2,), batch_size=60, optimizer=SGD(0.1))
    >>> for method, net in comparison.networks.items():
    ...     print(f"{method:<12}", net.weights[0].ravel().round(3))
    none         [-0.105  0.021  1.014 -0.039  0.022]
    subgradient  [-0.015 -0.005  0.794  0.008 -0.002]
    proximal     [0.    0.    0.795 0.    0.   ]
    """
    check_integer("convergence", convergence, least=0)
    check_function("progress", progress)
    check_executor(executor)
    progress = progress or (lambda text: None)
    setup = Setup(
        {"train": (X, y), "test": (X_test, y_test)}, COMPARED,
        task=task, class_weight=class_weight,
        penalty=L1(1e-3) if penalty is None else penalty,
        methods=methods, hidden=hidden, activation=activation, dtype=dtype,
        optimizer=optimizer, epochs=epochs, batch_size=batch_size, seeds=seeds,
    )  # fmt: skip
    first = setup.seeds[0]
    start = setup.objective(first, setup.penalty)
    for part in setup.parts:
        setup.on(part, start)  # refused, if they are, before any work
    if setup.task == "regression":
        warn_if_unscaled(setup.parts["train"][1])
    store = Store(out, fresh, "comparison", setup, progress, convergence=convergence)

    tasks = [
        Task(setup, method, seed, convergence)
        for seed, method in itertools.product(setup.seeds, setup.methods)
    ]
    if convergence:
        tasks.append(Task(setup, "convergence", first, convergence))
    found: dict[Task, Any] = {}
    networks = {method: start.net.copy() for method in setup.methods}

    def take(task: Task, result: tuple[Any, Array]) -> None:
        found[task], params = result
        if task.seed == first and task.method in networks:
            networks[task.method].params = params

    def keep(task: Task, result: tuple[Any, Array]) -> None:
        store.keep(task.method, task.seed, dataclasses.asdict(result[0]), result[1])
        take(task, result)

    def restored(kept: dict[str, Any], params: Array) -> tuple[Any, Array]:
        if "history" not in kept:
            return Convergence.from_dict(kept), params
        start.net.check_params(params)
        return Run(**kept | {"history": History(**kept["history"])}), params

    for each in tasks:
        if (kept := store.find(each.method, each.seed, restored)) is not None:
            take(each, kept)
    left = [each for each in tasks if each not in found]
    run_all(perform, left, executor, store, keep, lost)
    store.prune()
    full_batch = found[tasks.pop()] if convergence else None
    runs = [found[each] for each in tasks]

    versions = {"python": platform.python_version(), "numpy": np.__version__}
    settings = setup.settings(convergence=convergence, always=always(setup, "test"), **versions)
    return Comparison(settings, runs, networks, setup.columns, setup.classes, full_batch)


def _mean_and_spread(values: Array, form: str, scale: float, unit: str) -> str:
    """Mean ± standard deviation over the seeds; one seed has no spread."""
    if values[0] is None:
        return "-"
    values = scale * values.astype(float)
    with np.errstate(over="ignore", invalid="ignore"):
        text = decimals(values.mean(), form)
        if len(values) > 1:
            rough = ".0e" if "e" in text else form  # of a spread the power of ten says enough
            text += f" ± {decimals(values.std(ddof=1), rough)}"
    return text + unit


def _share(value: float) -> str:
    """A share in words that do not round a few to none or nearly all to all.

    >>> _share(0.5), _share(0.00012), _share(0.99988)
    ('50.0 %', '0.012 %', '99.988 %')
    """
    if value in (0, 1):
        return "none" if value == 0 else "all"
    least = 100 * min(value, 1 - value)
    places = 1 if least >= 0.05 else 1 - math.floor(math.log10(least))
    return f"{100 * value:.{places}f} %"
