"""One run of a comparison: a network is trained by one method, and measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyreg.core.network import MLP
from tinyreg.core.training import History, fit
from tinyreg.errors import DivergenceError
from tinyreg.sparsity.measures import active_inputs, active_units, dead_share
from tinyreg.study.setup import Setup, measured
from tinyreg.validate import Array

FORWARD_REPEATS = 20


@dataclass(frozen=True)
class Run:
    """One method with one seed, measured after the last epoch.

    F = L + R is of the training data, with the compared penalty for every method, "none" too. The
    scores are accuracy or R². `exact_zeros` and `near_zeros` are the shares of the weights with
    w == 0 and |w| < 1e-3; `dead_inputs` and `dead_hidden` those of the inputs without a nonzero
    weight and of the hidden units without one on both sides. `stationarity` is the largest distance
    of −∇L to ∂R. `seconds` are for an epoch and its measurements, `forward_seconds` and
    `compact_seconds` for `forward` on the training data before and after `MLP.compact()`.
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


def train_and_measure(
    setup: Setup, method: str, seed: int, progress: Callable[[str], None] | None
) -> tuple[Run, MLP]:
    """The run of one method with one seed, and its network."""
    objective = setup.objective(seed, setup.penalty)
    net = objective.net
    train, test = objective.on(*setup.parts["train"]), setup.on("test", objective)

    def at_epoch_end(epoch: int, history: History) -> None:
        if method == "none":  # trained on L alone, measured on F = L + R like the others
            history.penalty[-1] = objective.penalty_value(net.params)
            history.total[-1] = history.data_loss[-1] + history.penalty[-1]
        if progress is not None:
            progress(f"seed {seed}, {method}: epoch {epoch} of {setup.epochs}")

    began = time.perf_counter()
    try:
        history = fit(
            net,
            train.samples.X,
            train.samples.targets,
            loss=setup.loss,
            penalty=None if method == "none" else setup.penalty,
            method="subgradient" if method == "none" else method,
            optimizer=setup.optimizer,
            epochs=setup.epochs,
            batch_size=setup.batch_size,
            seed=seed,
            validation_data=(test.samples.X, test.samples.targets),
            callback=at_epoch_end,
        )
    except DivergenceError as e:
        raise DivergenceError(f"{method}, seed {seed}: {e}", e.epoch, e.batch) from e
    seconds = (time.perf_counter() - began) / setup.epochs

    small, inputs = net.compact()
    forward_seconds, compact_seconds = fastest_forward(
        (net, train.samples.X), (small, np.ascontiguousarray(train.samples.X[:, inputs]))
    )
    run = Run(
        method=method,
        seed=seed,
        **measured(train, history),
        train_score=train.value_and_score()[1],
        test_score=history.validation_score[-1],
        dead_inputs=dead_share(active_inputs(net)),
        dead_hidden=dead_share(active_units(net)),
        seconds=seconds,
        n_params=net.n_params,
        n_bytes=net.params.nbytes,
        compact_params=small.n_params,
        compact_bytes=small.params.nbytes,
        forward_seconds=forward_seconds,
        compact_seconds=compact_seconds,
        history=history,
    )
    return run, net


def fastest_forward(*pairs: tuple[MLP, Array]) -> list[float]:
    """The seconds of the fastest of a few forward passes of each pair, taken in turn."""
    best = [math.inf] * len(pairs)
    for _ in range(FORWARD_REPEATS):
        for i, (net, X) in enumerate(pairs):
            began = time.perf_counter()
            net.forward(X)
            best[i] = min(best[i], time.perf_counter() - began)
    return best
