"""The minibatch loop: shuffle, forward, backward, step; and the history of a run.

How the penalty meets the optimizer:

==============  ================================================================================
"subgradient"   its (sub)gradient is added to the data gradient, then the optimizer steps
"proximal"      the optimizer steps on the data gradient (plus smooth penalties), then the prox
                with the step that was really taken
"decoupled"     w ← w − η ∂R(w) beside the optimizer's step on the data gradient: with Adam and
                L2 this is AdamW (Loshchilov and Hutter 2019)
"naive"         a known error, kept as a control: the prox with η, whatever step was taken
==============  ================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.core.layers import dropout_mask
from tinyreg.core.losses import Loss
from tinyreg.core.network import MLP, backward_pass, forward_pass
from tinyreg.core.objective import Objective, Penalties, Problem, Samples
from tinyreg.core.optimizers import Adam, Optimizer, learning_rate
from tinyreg.core.penalties import Penalty
from tinyreg.errors import DivergenceError
from tinyreg.validate import Array, Maybe

METHODS = ("subgradient", "proximal", "decoupled", "naive")


@dataclass
class History:
    """What was measured at the end of each epoch, on all samples, each in a list of its own.

    Attributes
    ----------
    data_loss, penalty, total : list of float, L, R and F = L + R: no running mean over batches
    exact_zeros : list of float, the share of weights that equal 0
    validation_loss, validation_score : list of float, L and accuracy or R² on the validation data

    Examples
    --------
    >>> from tinyreg import L2, SquaredError
    >>> history = fit(MLP((1, 1)), [[1.0]], [2.0], loss=SquaredError(), penalty=L2(0.1), epochs=3)
    >>> len(history.total), history.total[-1] == history.data_loss[-1] + history.penalty[-1]
    (3, True)
    """

    data_loss: list[float] = field(default_factory=list)
    penalty: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    exact_zeros: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)


def fit(
    net: MLP,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: Loss,
    penalty: Penalties = None,
    bias_penalty: Penalty | None = None,
    method: str = "subgradient",
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    sample_weight: Maybe = None,
    dropout: float = 0.0,
    validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    callback: Callable[[int, History], None] | None = None,
) -> History:
    """Train `net` in place.

    Parameters
    ----------
    net : MLP
    X, y : (N, n_in) array, which may be an `np.memmap` larger than memory; the loss's targets
    loss, penalty, bias_penalty : see `Objective`
    method : "subgradient", "proximal", "decoupled" or "naive"; see the module's docstring
    optimizer : SGD or Adam; Adam(1e-3) if left out. Each call begins with a fresh state
    epochs, batch_size : int; the last batch holds what is left, and is the mean over that
    seed : int; the same seed gives the same batches, and on one machine bit-identical results
    sample_weight : (N,) array, optional: how much each sample counts in the mean
    dropout : float, 0 ≤ rate < 1, the share of hidden activations that each step drops
    validation_data : (X, y), optional, measured at the end of each epoch
    callback : function of (epoch, history), optional, called at the end of each epoch 1, 2, …

    Returns
    -------
    History

    Raises
    ------
    DivergenceError
        If a loss, a gradient or a weight becomes NaN or infinite. The network keeps its last finite
        parameters: those before the batch named, or, if the step overflowed, before the epoch.
    ValueError, TypeError : if an argument is not as it should be; nothing has changed then

    Examples
    --------
    >>> from tinyreg import L1, SGD, SquaredError
    >>> X, net = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), MLP((2, 1), seed=0)
    >>> history = fit(net, X, 3 * X[:, 0], loss=SquaredError(), penalty=L1(0.01),
    ...               method="proximal", optimizer=SGD(0.5), epochs=100, batch_size=4)
    >>> net.weights[0].ravel().round(2), history.exact_zeros[-1]
    (array([2.96, 0.  ]), 0.5)
    """
    objective = Objective(net, loss, penalty, bias_penalty)
    validate.check_choice("method", method, METHODS)
    optimizer = validate.check_optimizer(Adam() if optimizer is None else optimizer, method)
    validate.check_loop(epochs, batch_size, seed, dropout, callback)
    problem = objective.on(X, y, sample_weight)
    validation = None
    if validation_data is not None:
        pair = validate.check_pair("validation_data", validation_data)
        with validate.named("validation_data"):
            validation = objective.on(*pair)

    shuffling, dropping = np.random.default_rng(seed).spawn(2)
    state, gradient, history = optimizer.start(net.params), np.empty_like(net.params), History()
    layers, into, before = net.unpack(net.params), net.unpack(gradient), net.params.copy()
    for epoch in range(1, epochs + 1):
        before[...] = net.params
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for number, batch in enumerate(batches(problem, batch_size, shuffling), start=1):
                shapes = [(len(batch.X), width) for width in net.sizes[1:-1]] if dropout else []
                masks = [dropout_mask(shape, dropout, dropping, net.dtype) for shape in shapes]
                run = forward_pass(batch.X, *layers, net.activation, masks or None)
                dout = loss.delta(run.outputs, batch.targets, batch.weight)
                backward_pass(run, dout, layers[0], net.activation, *into)
                # The product is finite where all of it is, unless the product itself overflows.
                if not math.isfinite(gradient.dot(gradient)) and not np.isfinite(gradient).all():
                    where = Problem(objective, batch), epoch, number
                    raise _diverged(*where, before, optimizer, state)
                step(objective, optimizer, state, gradient, method)
            _record(history, problem, validation)
            # A saturated activation can hide an infinite weight from the loss.
            if not np.isfinite(history.total[-1] + net.params.sum()):
                raise _diverged(problem, epoch, number, before, optimizer, state)
        if callback is not None:
            callback(epoch, history)
    return history


def batches(problem: Problem, size: int, rng: np.random.Generator) -> Iterator[Samples]:
    """The samples in random order, `size` at a time, each batch with the weights of its mean."""
    n, dtype = len(problem.samples.targets), problem.objective.net.dtype
    order = rng.permutation(n)
    for start in range(0, n, size):
        X, targets, weight = problem.samples.take(order[start : start + size])
        # Times N/n, and not divided by the batch's own sum, so that batches average to the whole.
        yield Samples(X.astype(dtype, copy=False), targets, weight * (n / len(targets)))


def step(
    objective: Objective, optimizer: Optimizer, state: Any, gradient: Array, method: str
) -> None:
    """One step of the network's parameters, given the data gradient, which is overwritten."""
    params = objective.net.params
    lr = learning_rate(optimizer.lr, state.steps) if method in ("decoupled", "naive") else 0.0
    if method == "decoupled":
        objective.add_subgradient(params, params, scale=-lr)
    else:
        objective.add_subgradient(gradient, params, smooth_only=method != "subgradient")
    prox = (objective.prox,) if method == "proximal" else ()
    optimizer.step(params, gradient, state, *prox)
    if method == "naive":
        objective.prox(params, lr)


def _record(history: History, problem: Problem, validation: Problem | None) -> None:
    net = problem.objective.net
    L, R = problem.terms()
    history.data_loss.append(L)
    history.penalty.append(R)
    history.total.append(L + R)
    history.exact_zeros.append(float(np.mean(net.params[: net.n_weights] == 0)))
    if validation is not None:
        value, score = validation.value_and_score()
        history.validation_loss.append(value)
        history.validation_score.append(score)


def _diverged(
    problem: Problem, epoch: int, batch: int, before: Array, optimizer: Optimizer, state: Any
) -> DivergenceError:
    """The error, with the network put back to finite parameters where it has lost them."""
    params, lr = problem.objective.net.params, None
    if hasattr(optimizer, "lr") and hasattr(state, "steps"):
        lr = learning_rate(optimizer.lr, max(state.steps - 1, 0))
    error = DivergenceError.in_training(epoch, batch, *problem.terms(), np.abs(params).max(), lr)
    if not np.isfinite(params).all():
        params[...] = before
    return error
