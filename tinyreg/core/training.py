"""The minibatch loop: shuffle, forward, backward, step; and the history of a run.

How the penalty meets the optimizer:

    "subgradient"   its (sub)gradient is added to the data gradient, then the optimizer steps
    "proximal"      the optimizer steps on the data gradient (plus smooth penalties), then the prox
                    with the step that was really taken
    "decoupled"     w ← w − η ∂R(w) beside the step; for Adam and L2, AdamW (Loshchilov and Hutter)
    "naive"         a known error, kept as a control: the prox with η, whatever step was taken

**Variance reduction.** The noise of a batch's ∇L_B exceeds λ again and again, so weights that are 0
at the optimum leave 0 (Lee and Wright, JMLR 13, 2012). SVRG takes ∇L(w̃) at the parameters w̃ with
which an epoch begins, and in each step

    ∇L_B(w) − ∇L_B(w̃) + ∇L(w̃),    whose mean over the batches is ∇L(w)

and whose noise vanishes as w settles (Johnson and Zhang, NIPS 2013; with a prox, Xiao and Zhang,
SIAM J. Optim. 24, 2014): the zeros are those of the optimum (Poon, Liang and Schönlieb, ICML 2018),
for three gradients a sample in an epoch. Proved for SGD; Adam and momentum take the same gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypeAlias

import numpy as np

from tinyreg import validate
from tinyreg.checkpoint import Checkpoint, Memory, epochs_left, restoring
from tinyreg.core.layers import dropout_mask
from tinyreg.core.losses import Loss
from tinyreg.core.network import MLP, PerLayer, backward_pass, forward_pass
from tinyreg.core.objective import Objective, Penalties, Problem, Samples
from tinyreg.core.optimizers import Adam, Optimizer, learning_rate
from tinyreg.core.penalties import Penalty
from tinyreg.errors import DivergenceError
from tinyreg.validate import Array, Data, Maybe

METHODS = ("subgradient", "proximal", "decoupled", "naive")


@dataclass
class History:
    """What was measured at the end of each epoch, on all samples, each in a list of its own.

    Attributes
    ----------
    data_loss, penalty, total : list of float, L, R and F = L + R: no running mean over batches
    exact_zeros : list of float, the share of weights that equal 0
    validation_loss, validation_score : list of float, L and accuracy or R² on the validation data
    best_epoch, stopped_epoch : int, from 1: `EarlyStopping`'s best one, and the one after which a
        callback stopped the run; None where there is none

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
    best_epoch: int | None = None
    stopped_epoch: int | None = None


Callback: TypeAlias = Callable[[int, History], object]
Layers: TypeAlias = tuple[PerLayer, PerLayer]  # weights, biases


def fit(
    net: MLP, X: Data, y: Data, *, loss: Loss, penalty: Penalties = None,
    bias_penalty: Penalty | None = None, method: str = "subgradient",
    variance_reduction: bool = False, optimizer: Optimizer | None = None,
    epochs: int = 10, batch_size: int = 32, seed: int = 0, sample_weight: Maybe = None,
    dropout: float = 0.0, validation_data: tuple[Data, ...] | None = None,
    callback: Callback | Sequence[Callback] | None = None,
    checkpoint: str | PathLike[str] | None = None, checkpoint_every: int = 1,
    resume: Memory | None = None,
) -> History:  # fmt: skip
    """Train `net` in place.

    Parameters
    ----------
    net : MLP
    X, y : (N, n_in) array, `np.memmap` or `scipy.sparse` matrix; the loss's targets
    loss, penalty, bias_penalty : see `Objective`
    method : "subgradient", "proximal", "decoupled" or "naive"; see the module's docstring
    variance_reduction : bool, SVRG; see the module's docstring. It takes no dropout
    optimizer : SGD or Adam; Adam(1e-3) if left out. Each call begins with a fresh state
    epochs, batch_size : int; the last batch holds what is left, and is the mean over that
    seed : int; the same seed, machine and number of threads give bit-identical results
    sample_weight : (N,) array, optional: how much each sample counts in the mean
    dropout : float, 0 ≤ rate < 1, the share of hidden activations that each step drops
    validation_data : (X, y) or (X, y, sample_weight), optional, measured after each epoch
    callback : function of (epoch, history), or several, for the end of each epoch 1, 2, …; where
        one returns True, as `EarlyStopping` does, the run stops
    checkpoint, checkpoint_every : path, optional, for a file that is written after each so many
        epochs and at the end; the same call, or one of more epochs, goes on from it
    resume : Memory, optional: what the run knows, as in a checkpoint; the samples may be others

    Returns
    -------
    History

    Raises
    ------
    DivergenceError : if a loss, a gradient or a weight becomes NaN or infinite; `net` keeps its
        last finite parameters: before the batch named, or, if a step overflowed, before the epoch
    ValueError, TypeError : if an argument is not as it should be, the checkpoint is of another run,
        or a schedule or callback raises them; `net` is then as it was

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
    given = dict(locals())  # for a checkpoint, which another call must agree with
    callbacks = validate.check_callbacks(callback, validated=validation_data is not None)
    validate.check_loop(epochs, batch_size, seed, dropout, variance_reduction, checkpoint_every)
    problem = objective.on(X, y, sample_weight)
    validation = None
    if validation_data is not None:
        with validate.named("validation_data"):
            validation = objective.on(*validate.check_pair(validation_data))

    memory = Memory.check(resume) or Memory.new(net.params, optimizer, seed, History())
    state, history, (shuffling, dropping) = memory
    parts = {"params": net.params, **memory._asdict()}
    file = Checkpoint.of(given, problem.samples, validation and validation.samples, parts)
    gradient, anchor = np.empty_like(net.params), net.params.copy()
    at_anchor = np.empty_like(gradient) if variance_reduction else gradient
    w, dw, w_anchor, dw_anchor = map(net.unpack, (net.params, gradient, anchor, at_anchor))
    with restoring(net.params, always=file is not None):
        for epoch in epochs_left(epochs, history, net.params, callbacks, file):
            anchor[...] = net.params
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                whole = problem.data_gradient() if variance_reduction else None
                for number, batch in enumerate(batches(problem, batch_size, shuffling), start=1):
                    shapes = [(batch.weight.size, n) for n in net.sizes[1:-1]] if dropout else []
                    masks = [dropout_mask(shape, dropout, dropping, net.dtype) for shape in shapes]
                    _pass(objective, batch, w, dw, masks or None)
                    if whole is not None:
                        _pass(objective, batch, w_anchor, dw_anchor)
                        gradient += whole - at_anchor
                    # The product is finite where all of it is, unless the product overflows.
                    if not (math.isfinite(gradient @ gradient) or np.isfinite(gradient).all()):
                        where = Problem(objective, batch), epoch, number
                        raise _diverged(*where, anchor, optimizer, state)
                    step(objective, optimizer, state, gradient, method)
                _record(history, problem, validation)
                # A saturated activation can hide an infinite weight from the loss.
                if not np.isfinite(history.total[-1] + net.params.sum()):
                    raise _diverged(problem, epoch, number, anchor, optimizer, state)
    return history


def _pass(objective: Objective, batch: Samples, w: Layers, dw: Layers, masks: Any = None) -> None:
    """∇L_B at the weights and biases w, into dw: once forward and once back."""
    run = forward_pass(batch.X, *w, objective.net.activation, masks)
    dout = objective.loss.delta(run.outputs, batch.targets, batch.weight)
    backward_pass(run, dout, w[0], objective.net.activation, *dw)


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
    net, (L, R) = problem.objective.net, problem.terms()
    zeros = float(np.mean(net.params[: net.n_weights] == 0))
    measured = {"data_loss": L, "penalty": R, "total": L + R, "exact_zeros": zeros}
    if validation is not None:
        measured["validation_loss"], measured["validation_score"] = validation.value_and_score()
    for name, number in measured.items():
        getattr(history, name).append(number)


def _diverged(
    problem: Problem, epoch: int, batch: int, before: Array, optimizer: Optimizer, state: Any
) -> DivergenceError:
    """The error, with the network put back to finite parameters where it has lost them."""
    params = problem.objective.net.params
    error = DivergenceError.in_training(epoch, batch, *problem.terms(), params, optimizer, state)
    if not np.isfinite(params).all():
        params[...] = before
    return error
