"""A walk over λ: one method and one seed, each λ starting from where the last one ended.

A walk is one task, a function of its arguments alone. Any PEP 3148 executor can run the tasks, and
which one does not change the results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.penalties import ElasticNet, Penalty, l1_l2
from tinyreg.core.training import History
from tinyreg.errors import DivergenceError
from tinyreg.sparsity.measures import active_inputs, active_units
from tinyreg.study.runs import Setup, measured
from tinyreg.validate import Array, describe


@dataclass(frozen=True)
class Point:
    """One stop of a walk: a method, a seed, a λ, and the network measured there, as in a `Run`.

    `active_inputs` and `active_units` count the inputs with a nonzero weight and the hidden units
    with one on both sides; `test_score` is None without test data.
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
    """The arguments of one task; `setup.epochs` are for each λ but the first."""

    setup: Setup
    method: str
    seed: int
    lams: tuple[float, ...]
    first_epochs: int


Walked: TypeAlias = tuple[list[Point], Failure | None]


def with_lam(penalty: Penalty, lam: float) -> Penalty:
    """The same penalty at another λ; an elastic net keeps the ratio of its parts.

    >>> with_lam(ElasticNet(1.0, 0.5), 0.1)
    ElasticNet(l1=0.1, l2=0.05)
    """
    if dataclasses.is_dataclass(penalty) and hasattr(penalty, "lam"):
        changed: Any = dataclasses.replace(penalty, lam=lam)
        return changed
    parts = l1_l2(penalty)
    if parts is None:
        raise TypeError(f"penalty must be a dataclass with a field lam, got {describe(penalty)}")
    l1, l2 = parts
    if l1 == 0:
        raise ValueError(f"penalty must have l1 > 0 for a path over λ, got {penalty!r}")
    return ElasticNet(lam, lam * l2 / l1)


def visit(task: Walk, i: int, params: Array | None) -> tuple[Point, Array, bool]:
    """Train at the i-th λ from the parameters of the last one; measure; is the network dead?"""
    began = time.perf_counter()
    setup, lam = task.setup, task.lams[i]
    objective = setup.objective(task.seed, with_lam(setup.penalty, lam))
    net = objective.net
    if params is not None:
        net.params = params
    history = setup.fit(
        net, penalty=objective.penalty, method=task.method, seed=task.seed + i,
        epochs=setup.epochs if i else task.first_epochs,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return measure(task, lam, objective, history, seconds), net.params, is_dead(net)


def measure(
    task: Walk, lam: float, objective: Objective, history: History, seconds: float
) -> Point:
    """The stop of a walk at λ, given the network that was trained there."""
    problems = {part: objective.on(*samples) for part, samples in task.setup.parts.items()}
    return Point(
        task.method, task.seed, lam, **measured(problems["train"], history),
        active_inputs=int(active_inputs(objective.net).sum()),
        active_units=int(active_units(objective.net).sum()),
        validation_score=problems["validation"].value_and_score()[1],
        test_score=problems["test"].value_and_score()[1] if "test" in problems else None,
        seconds=seconds,
    )  # fmt: skip


def is_dead(net: MLP) -> bool:
    """Whether some layer has no nonzero weight, so that the outputs do not depend on the inputs."""
    return not all(W.any() for W in net.weights)


def walk(
    task: Walk,
    visited: Callable[[Point], None] = lambda point: None,
    visit: Callable[..., tuple[Point, Array, bool]] = visit,
) -> Walked:
    """Walk up the λ of one task, warm started; a failure is returned, with what came before it."""
    points: list[Point] = []
    params: Array | None = None
    for i, lam in enumerate(task.lams):
        try:
            point, params, dead = visit(task, i, params)
        except Exception as e:  # whatever went wrong, what came before it is worth keeping
            died = "the worker died: " if isinstance(e, BrokenExecutor) else ""
            why = str(e) if isinstance(e, DivergenceError) else f"{died}{type(e).__name__}: {e}"
            return points, Failure(task.method, task.seed, lam, why)
        points.append(point)
        visited(point)
        if dead:
            break
    return points, None


def walk_alone(task: Walk) -> Walked:
    """A walk in a process of its own, λ by λ: to know where it dies, if it does."""
    with ProcessPoolExecutor(1) as alone:
        return walk(task, visit=lambda *arguments: alone.submit(visit, *arguments).result())


def walk_all(
    tasks: list[Walk], executor: Executor | None, progress: Callable[[str], None]
) -> list[Walked]:
    """The results of all tasks in their order, wherever they ran."""
    if executor is None:
        return [
            walk(task, lambda p: progress(f"{p.method}, seed {p.seed}, λ = {p.lam:.2e}"))
            for task in tasks
        ]
    futures: list[Future[Walked]] = []
    with contextlib.suppress(BrokenExecutor):  # by one of the tasks: the rest walk alone
        for task in tasks:
            futures.append(executor.submit(walk, task))
    results = []
    for task, future in itertools.zip_longest(tasks, futures):
        try:
            result = walk_alone(task) if future is None else future.result()
        except Exception:  # a worker died, and took this walk along, its own or another's
            result = walk_alone(task)
        results.append(result)
        progress(f"{task.method}, seed {task.seed} done")
    return results
