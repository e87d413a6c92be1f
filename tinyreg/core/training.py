"""The minibatch loop: shuffle, forward, backward, step; and the history of a run.

The penalty meets the optimizer in one of these ways:

==============  ================================================================================
"subgradient"   its (sub)gradient is added to the data gradient, then the optimizer steps
"proximal"      the optimizer steps on the data gradient (plus smooth penalties), then the prox
                with the step that was really taken
"decoupled"     w ← w − η ∂R(w) beside the optimizer's step on the data gradient: with Adam and
                L2 this is AdamW (Loshchilov and Hutter 2019)
"naive"         a known error, kept as a control: the optimizer steps, then a prox with η in
                place of the step really taken, and behind the momentum's back
==============  ================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.layers import dropout_mask
from tinyreg.core.losses import Loss
from tinyreg.core.mapped import Rows
from tinyreg.core.network import MLP, Trace, backward_pass, forward_pass
from tinyreg.core.objective import Data, Objective
from tinyreg.core.optimizers import Adam, Optimizer, learning_rate
from tinyreg.core.penalties import Penalty
from tinyreg.errors import DivergenceError
from tinyreg.sparsity.measures import exact_zeros
from tinyreg.validate import Array, check_choice, check_integer, check_number, describe

METHODS = ("subgradient", "proximal", "decoupled", "naive")


@dataclass
class History:
    """What was measured at the end of each epoch, on all samples, each in a list of its own.

    Attributes
    ----------
    data_loss, penalty, total : list of float
        L, R and F = L + R, exact for the parameters at the end of the epoch (no running mean over
        batches that saw other parameters).
    exact_zeros : list of float
        The share of weights that equal 0.
    validation_loss, validation_score : list of float
        L and accuracy or R² on the validation data; empty without.

    Examples
    --------
    >>> from tinyreg import L2, SquaredError
    >>> X, y = [[1.0], [-1.0]], [2.0, -2.0]
    >>> history = fit(MLP((1, 1)), X, y, loss=SquaredError(), penalty=L2(0.1), epochs=3)
    >>> len(history.total), history.total[-1] == history.data_loss[-1] + history.penalty[-1]
    (3, True)
    """

    data_loss: list[float] = field(default_factory=list)
    penalty: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    exact_zeros: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)


class Workspace:
    """The arrays of a training step, made once: the batch, its trace, the gradients.

    A smaller batch uses the leading rows.
    """

    def __init__(self, net: MLP, data: Data, batch_size: int) -> None:
        def rows(n: int) -> Array:
            return np.empty((batch_size, n), net.dtype)

        n_hidden = net.sizes[1:-1]
        outputs = rows(net.sizes[-1])
        self.X = rows(net.sizes[0])
        self.targets = np.empty((batch_size, *data.targets.shape[1:]), data.targets.dtype)
        self.trace = Trace(
            [*(rows(n) for n in n_hidden), outputs],
            [self.X, *(rows(n) for n in n_hidden), outputs],
        )
        self.dout = rows(net.sizes[-1])
        self.scratch = [rows(n) for n in n_hidden]
        self.gradient = np.empty_like(net.params)
        # Views, made once: of the network, of the gradient, of the leading rows for each size.
        self.weights, self.biases = net.unpack(net.params)
        self.dweights, self.dbiases = net.unpack(self.gradient)
        self.leading: dict[int, tuple[Trace, Array, list[Array]]] = {}
        self.samples = Rows(data.X, batch_size)

    def gather(self, data: Data, rows: Array) -> Data:
        """The samples `rows` of the data, copied into the workspace, with their mean's weights."""
        n = len(rows)
        X, targets = self.X[:n], self.targets[:n]
        self.samples.take(rows, X)
        np.take(data.targets, rows, axis=0, out=targets, mode="clip")
        if isinstance(data.weight, float):
            return Data(X, targets, 1.0 / n)
        # Divided by n/N and not by the batch's own sum, so that batches average to the whole.
        return Data(X, targets, data.weight[rows] * (len(data.X) / n))

    def data_gradient(self, objective: Objective, batch: Data, masks: list[Array] | None) -> Array:
        """∇L on the batch, in `gradient`."""
        n, activation = len(batch.X), objective.net.activation
        if n not in self.leading:
            scratch = [delta[:n] for delta in self.scratch]
            self.leading[n] = self.trace.rows(n), self.dout[:n], scratch
        out, dout, scratch = self.leading[n]
        trace = forward_pass(batch.X, self.weights, self.biases, activation, masks, out)
        objective.loss.delta(trace.outputs, batch.targets, batch.weight, out=dout)
        backward_pass(
            trace, dout, self.weights, activation, self.dweights, self.dbiases, scratch
        )  # fmt: skip
        return self.gradient


def fit(
    net: MLP,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: Loss,
    penalty: Penalty | Sequence[Penalty | None] | None = None,
    bias_penalty: Penalty | None = None,
    method: str = "subgradient",
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    sample_weight: ArrayLike | None = None,
    dropout: float = 0.0,
    validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    callback: Callable[[int, History], None] | None = None,
) -> History:
    """Train `net` in place.

    Parameters
    ----------
    net : MLP
    X : (N, n_in) array
        An `np.memmap` of any dtype may be larger than memory: batches are read from the file.
    y : array
        The targets, as the loss wants them.
    loss : Loss
    penalty, bias_penalty : see `Objective`
    method : "subgradient", "proximal", "decoupled" or "naive"
        How the penalty meets the optimizer; see the module's docstring.
    optimizer : SGD or Adam
        Adam(1e-3) if left out. It is not changed: each call begins with a fresh state.
    epochs, batch_size : int
        The last batch of an epoch holds what is left, and its gradient is the mean over that.
    seed : int
        Of the shuffling (and the dropout). The same seed gives the same batches, whatever the
        method, and on one machine bit-identical results.
    sample_weight : (N,) array, optional
        How much each sample counts in the mean.
    dropout : float
        0 ≤ rate < 1: the share of hidden activations that each step drops. The history, and the
        network afterwards, are without dropout.
    validation_data : (X, y), optional
        Measured at the end of each epoch.
    callback : function of (epoch, history), optional
        Called at the end of each epoch; epochs count from 1.

    Returns
    -------
    History

    Raises
    ------
    DivergenceError
        If a loss, a gradient or a weight becomes NaN or infinite. The network is left at its last
        finite parameters: those before the batch that is named, or, where it was the step itself
        that overflowed, those at the start of the epoch.
    ValueError, TypeError
        If an argument is not as it should be; the network is then unchanged.

    Examples
    --------
    >>> from tinyreg import L1, SGD, SquaredError
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    >>> net = MLP((2, 1), seed=0)
    >>> history = fit(net, X, 3 * X[:, 0], loss=SquaredError(), penalty=L1(0.01),
    ...               method="proximal", optimizer=SGD(0.5), epochs=100, batch_size=4)
    >>> net.weights[0].ravel().round(2), history.exact_zeros[-1]
    (array([2.96, 0.  ]), 0.5)
    """
    objective = Objective(net, loss, penalty, bias_penalty)
    check_choice("method", method, METHODS)
    optimizer = Adam() if optimizer is None else optimizer
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "step", None)):
        raise TypeError(f"optimizer must be SGD(...) or Adam(...), got {describe(optimizer)}")
    check_integer("epochs", epochs, least=1)
    check_integer("batch_size", batch_size, least=1)
    check_integer("seed", seed, least=0)
    if check_number("dropout", dropout, least=0) >= 1:
        raise ValueError(f"dropout must be < 1, got {dropout!r}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function, got {describe(callback)}")
    data = objective.check(X, y, sample_weight, in_file=True)
    validation = None
    if validation_data is not None:
        if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
            raise TypeError(
                f"validation_data must be a pair (X, y), got {describe(validation_data)}"
            )
        try:
            validation = objective.check(*validation_data, in_file=True)
        except (TypeError, ValueError) as e:
            raise type(e)(f"validation_data: {e}") from e

    n_samples = len(data.X)
    shuffling, dropping = np.random.default_rng(seed).spawn(2)
    workspace = Workspace(net, data, min(batch_size, n_samples))
    states = start_states(objective, optimizer)
    before = np.empty_like(net.params)
    history = History()
    for epoch in range(1, epochs + 1):
        order = shuffling.permutation(n_samples)
        before[...] = net.params
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for number, start in enumerate(range(0, n_samples, batch_size), start=1):
                batch = workspace.gather(data, order[start : start + batch_size])
                masks = _draw_masks(net, len(batch.X), dropout, dropping)
                gradient = workspace.data_gradient(objective, batch, masks)
                # The product is finite where all of it is, unless the product itself overflows.
                if not math.isfinite(gradient.dot(gradient)) and not np.isfinite(gradient).all():
                    raise _diverged(objective, batch, before, optimizer, states, epoch, number)
                step(objective, optimizer, states, gradient, method)
            _record(history, objective, data, validation)
            # A saturated activation can hide an infinite weight from the loss.
            if not np.isfinite(history.total[-1] + net.params.sum()):
                raise _diverged(objective, data, before, optimizer, states, epoch, number)
        if callback is not None:
            callback(epoch, history)
    return history


def start_states(objective: Objective, optimizer: Optimizer) -> list[Any]:
    """The optimizer's state before the first step, one for each piece of the parameters."""
    return [optimizer.start(objective.net.params[piece.block]) for piece in objective.pieces]


def step(
    objective: Objective, optimizer: Optimizer, states: list[Any], gradient: Array, method: str
) -> None:
    """One step of the network's parameters, given the data gradient, which is overwritten."""
    for piece, state in zip(objective.pieces, states, strict=True):
        params, g = objective.net.params[piece.block], gradient[piece.block]
        if method == "proximal":
            piece.add_subgradient(g, params, smooth_only=True)
            optimizer.step(params, g, state, piece.prox)
        elif method == "subgradient":
            piece.add_subgradient(g, params)
            optimizer.step(params, g, state)
        elif method == "decoupled":
            lr = learning_rate(optimizer.lr, state.steps)
            piece.add_subgradient(params, params, scale=-lr)
            optimizer.step(params, g, state)
        else:
            lr = learning_rate(optimizer.lr, state.steps)
            piece.add_subgradient(g, params, smooth_only=True)
            optimizer.step(params, g, state)
            piece.prox(params, lr)


def _draw_masks(net: MLP, n: int, rate: float, rng: np.random.Generator) -> list[Array] | None:
    if rate == 0:
        return None
    return [dropout_mask((n, width), rate, rng, net.dtype) for width in net.sizes[1:-1]]


def _record(history: History, objective: Objective, data: Data, validation: Data | None) -> None:
    net = objective.net
    history.data_loss.append(objective.data_value(data, net.params))
    history.penalty.append(objective.penalty_value(net.params))
    history.total.append(history.data_loss[-1] + history.penalty[-1])
    history.exact_zeros.append(exact_zeros(net))
    if validation is not None:
        value, score = objective.value_and_score(validation, net.params)
        history.validation_loss.append(value)
        history.validation_score.append(score)


def _diverged(
    objective: Objective,
    data: Data,
    before: Array,
    optimizer: Optimizer,
    states: list[Any],
    epoch: int,
    batch: int,
) -> DivergenceError:
    """The error, with the network put back to finite parameters where it has lost them."""
    net = objective.net
    loss, penalty = objective.data_value(data, net.params), objective.penalty_value(net.params)
    size = np.abs(net.params).max()
    if not np.isfinite(size):
        net.params[...] = before
    lr = learning_rate(optimizer.lr, max(states[0].steps - 1, 0))
    return DivergenceError(
        f"training diverged in epoch {epoch}, batch {batch}: data loss {loss:.3g}, penalty "
        f"{penalty:.3g}, largest |parameter| {size:.3g}; try a learning rate below {lr:g}, or "
        f"inputs and targets scaled to about 1. The network keeps its last finite parameters",
        epoch,
        batch,
    )
