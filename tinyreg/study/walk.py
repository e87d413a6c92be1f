"""A walk over λ: one method and one seed, each λ starting from where the last one ended.

A walk is one task, a function of its arguments alone. Any PEP 3148 executor can run the tasks, and
which one does not change the results.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeAlias

from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.penalties import ElasticNet, Penalty, l1_l2
from tinyreg.core.training import History
from tinyreg.errors import DivergenceError
from tinyreg.sparsity.measures import active_inputs, active_units
from tinyreg.study.runs import Setup, measured
from tinyreg.study.workers import Workers
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
    with Workers(1) as alone:
        return walk(task, visit=lambda *arguments: alone.submit(visit, *arguments).result())


def walk_all(
    tasks: Sequence[Walk], executor: Executor | None, progress: Callable[[str], None]
) -> Iterator[tuple[Walk, Walked]]:
    """Each task and its result, as they end, wherever they ran."""
    if executor is None:
        for task in tasks:
            yield task, walk(task, lambda p: progress(f"{_name(p)}, λ = {p.lam:.2e}"))
        return
    of: dict[Future[Walked], Walk] = {}
    ended: SimpleQueue[Future[Walked]] = SimpleQueue()  # `as_completed` waits for cancelled ones
    try:
        for task in tasks:
            future = _submit(executor, task)
            of[future] = task
            future.add_done_callback(ended.put)
        for _ in tasks:
            future = ended.get()
            result = _result(of[future], future)
            progress(f"{_name(of[future])} done")
            yield of[future], result
    finally:
        if not isinstance(executor, Workers):  # whose processes are ended
            for future in of:
                future.cancel()


def _name(one: Walk | Point) -> str:
    return f"{one.method}, seed {one.seed}"


def _submit(executor: Executor, task: Walk) -> Future[Walked]:
    try:
        return executor.submit(walk, task)
    except BrokenExecutor as e:  # by one of the tasks before
        future: Future[Walked] = Future()
        future.set_exception(e)
        return future


def _result(task: Walk, future: Future[Walked]) -> Walked:
    """What came of a task. `walk` never raises, so that an error is one of the executor."""
    try:
        return future.result()
    except CancelledError:
        return [], Failure(task.method, task.seed, task.lams[0], "cancelled")
    except BrokenExecutor:  # a worker died, and took this walk along, its own or another's
        return walk_alone(task)
    except Exception as e:
        wanted = "one that can run a walk; loss, penalty and optimizer go to processes by pickle"
        raise TypeError(f"executor must be {wanted}; got {type(e).__name__}: {e}") from e
