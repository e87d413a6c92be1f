"""A walk over λ: one method and one seed, each λ starting from where the last one ended.

Without hidden layers F is convex, and "proximal" goes to its minimum by `minimize`, on all samples:
with L1 that is the lasso path. All else trains by `fit`.

A walk is one task.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective, Penalties
from tinyreg.core.training import History
from tinyreg.errors import DivergenceError
from tinyreg.solvers.duality import duality_gap
from tinyreg.solvers.minimize import minimize
from tinyreg.sparsity.measures import active_inputs, active_units, zero_share
from tinyreg.study.runs import Setup, balanced, measured
from tinyreg.study.workers import Workers, name
from tinyreg.validate import Array, describe

STRENGTHS = ("lam", "l1", "l2")  # the fields of a penalty that are λs; the first is walked
TOLERANCE = 1e-6  # of `minimize`, or 1e-3 λ if that is less
MOST_STEPS = 10_000  # of `minimize`, at each λ


@dataclass(frozen=True)
class Point:
    """One stop of a walk: a method, a seed, a λ, and the network measured there, as in a `Run`.

    `active_inputs` and `active_units` count the inputs with a nonzero weight and the hidden units
    with one on both sides; `test_score` is None without test data, the balanced accuracies without
    classes. `gap` is a bound of F − min F, None where there is none; `certified` says that
    `minimize` went there and reached the gap that it was to reach.
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
    validation_balanced: float | None = None
    test_balanced: float | None = None
    gap: float | None = None
    certified: bool = False


@dataclass(frozen=True)
class Failure:
    """A walk that ended before its time: the points before `lam` were kept."""

    method: str
    seed: int
    lam: float
    reason: str


@dataclass(frozen=True)
class Walk:
    """The arguments of one task; `setup.epochs` are for each λ but the first.

    From `largest` on, λ leaves no weight at the minimum.
    """

    setup: Setup
    method: str
    seed: int
    lams: tuple[float, ...]
    first_epochs: int
    largest: float


class Walked(NamedTuple):
    """The stops of a walk, the parameters at each, (n_points, n_params), and why it broke off."""

    points: list[Point]
    params: Array
    failure: Failure | None = None


def with_lam(penalty: Penalties, lam: float) -> Any:
    """The same penalty at another λ; all of it keeps its ratio to the λ that is walked.

    That is the field `lam` of a penalty, the `l1` of an elastic net, and the largest of several.

    >>> from tinyreg import L1, ElasticNet
    >>> with_lam(ElasticNet(1.0, 0.5), 0.1)
    ElasticNet(l1=0.1, l2=0.05)
    >>> with_lam([L1(4.0), None, L1(1.0)], 0.1)
    [L1(lam=0.1), None, L1(lam=0.025)]
    """
    each: list[Any] = [*penalty] if isinstance(penalty, Sequence) else [penalty]
    own = [{} if R is None else _strengths(R) for R in each]
    walked = max((next(iter(numbers.values())) for numbers in own if numbers), default=0)
    if not walked > 0:
        raise ValueError(f"penalty must have λ > 0 (l1 > 0 of an elastic net), got {penalty!r}")
    for i, numbers in enumerate(own):
        if numbers:
            changes = {name: lam * (number / walked) for name, number in numbers.items()}
            each[i] = dataclasses.replace(each[i], **changes)
    return each if isinstance(penalty, Sequence) else each[0]


def _strengths(R: Any) -> dict[str, float]:
    """The fields of a penalty that are λs, the one that is walked first."""
    fields = dataclasses.fields(R) if dataclasses.is_dataclass(R) else ()
    found = [name for name in STRENGTHS if name in {field.name for field in fields}]
    if isinstance(R, type) or found in ([], ["l2"]):
        raise TypeError(f"penalty must be a dataclass with a field lam, got {describe(R)}")
    return {name: getattr(R, name) for name in found}


def visit(task: Walk, i: int, params: Array | None) -> tuple[Point, Array, bool]:
    """Train at the i-th λ from the parameters of the last one; measure; is the network dead?"""
    began = time.perf_counter()
    setup, lam = task.setup, task.lams[i]
    objective = setup.objective(task.seed, with_lam(setup.penalty, lam))
    net, certified, solved = objective.net, False, is_solved(setup.sizes, task.method)
    if params is not None or solved:
        net.params = np.zeros(net.n_params) if params is None else params
    if solved:
        certified = solve(task, net, lam)
        L, R = setup.on("train", objective).terms()
        history = History([L], [R], [L + R], [zero_share(net)])
    else:
        history = setup.fit(
            net, penalty=objective.penalty, method=task.method, seed=task.seed + i,
            epochs=setup.epochs if i else task.first_epochs,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    point = measure(task, lam, objective, history, seconds, certified)
    return point, net.params, is_dead(net)


def is_solved(sizes: Sequence[int], method: str) -> bool:
    """Whether a walk goes by `minimize`, to the same minimum for every seed."""
    return method == "proximal" and len(sizes) == 2


def solve(task: Walk, net: MLP, lam: float) -> bool:
    """Go to the minimum at λ; whether a gap proves that it is one.

    Where the residual is at most tol, a weight whose slope is more than tol below λ is exactly 0:
    with a tol far below λ, the support is that of the minimum. From `task.largest` on the minimum
    is W = 0 for every λ, and with a λ well above it no tiny weight is left over.

    Most inputs have no weight at the minimum. So with L1 it is first sought among those that have
    one, or a slope beyond λ, until there are no more (a working set, as glmnet has it: Friedman,
    Hastie and Tibshirani, J. Stat. Softw. 33, 2010). From there `minimize` on all inputs has little
    to do but to prove it.
    """
    setup, (X, y) = task.setup, task.setup.parts["train"]
    penalty = with_lam(setup.penalty, lam if lam < task.largest else max(lam, 10 * task.largest))
    tol = max(min(TOLERANCE, 1e-3 * lam), 50 * float(np.finfo(net.dtype).eps))
    how: dict[str, Any] = {"tol": tol, "max_iter": MOST_STEPS, "sample_weight": setup.weight}
    objective, (W,), (b,) = Objective(net, setup.loss, penalty), net.weights, net.biases
    problem, kept = setup.on("train", objective), np.zeros(len(W), dtype=bool)
    while task.largest < np.inf:  # L1, by itself or in an elastic net
        (residual,), _ = net.unpack(problem.residual())
        new = (residual.max(axis=1) > tol) & ~kept
        kept |= new | W.any(axis=1)
        if not new.any() or 2 * kept.sum() > len(W):
            break
        few = MLP((int(kept.sum()), len(b)), dtype=net.dtype.name)
        few.params = np.concatenate([W[kept].ravel(), b])
        minimize(Objective(few, setup.loss, penalty), X[:, kept], y, **how)
        W[kept], b[...] = few.weights[0], few.biases[0]
    end = minimize(objective, X, y, **how)
    return bool(end.success and end.gap is not None)


def measure(
    task: Walk, lam: float, objective: Objective, history: History, seconds: float,
    certified: bool = False,
) -> Point:  # fmt: skip
    """The stop of a walk at λ, given the network that was trained there."""
    setup, net = task.setup, objective.net
    problems = {part: setup.on(part, objective) for part in setup.parts}
    own: dict[str, Any] = {"test_score": None, "test_balanced": None}
    for part in {*problems} - {"train"}:
        own[f"{part}_score"] = problems[part].value_and_score()[1]
        own[f"{part}_balanced"] = balanced(setup, net, part)
    return Point(
        task.method, task.seed, lam, **measured(problems["train"], history), **own,
        active_inputs=int(active_inputs(net).sum()), active_units=int(active_units(net).sum()),
        gap=duality_gap(problems["train"], net.params, history.total[-1]), certified=certified,
        seconds=seconds,
    )  # fmt: skip


def is_dead(net: MLP) -> bool:
    """Whether some layer has no nonzero weight, so that the outputs do not depend on the inputs."""
    return not all(W.any() for W in net.weights)


def walk(
    task: Walk,
    progress: Callable[[str], None] = lambda text: None,
    visit: Callable[..., tuple[Point, Array, bool]] = visit,
) -> Walked:
    """The stops of one task, warm started; a failure is returned, with what came before it.

    Upwards, or where minima are solved for downwards: the first of them are nearly empty.
    """
    points: list[Point] = []
    path: list[Array] = []
    failure = None
    down = is_solved(task.setup.sizes, task.method)
    for i in sorted(range(len(task.lams)), reverse=down):
        try:
            point, params, dead = visit(task, i, path[-1] if path else None)
        except Exception as e:  # whatever went wrong, what came before it is worth keeping
            died = "the worker died: " if isinstance(e, BrokenExecutor) else ""
            why = str(e) if isinstance(e, DivergenceError) else f"{died}{type(e).__name__}: {e}"
            failure = Failure(task.method, task.seed, task.lams[i], why)
            break
        if down and dead:  # of the λ that leave nothing, the smallest counts
            points, path = [], []
        points.append(point)
        path.append(params)
        progress(f"{name(task)}, λ = {point.lam:.2e}")
        if dead and not down:
            break
    order = slice(None, None, -1 if down else 1)
    return Walked(points[order], np.array(path)[order], failure)


def lost(task: Walk, error: Exception) -> Walked:
    """What came of a walk that was cancelled, or taken along by a worker that died.

    It may not have been this walk that killed it: in a process of its own, λ by λ, that shows.
    """
    if isinstance(error, CancelledError):
        return Walked([], np.array([]), Failure(task.method, task.seed, task.lams[0], "cancelled"))
    with Workers(1) as alone:
        return walk(task, visit=lambda *arguments: alone.submit(visit, *arguments).result())
