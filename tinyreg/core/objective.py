"""The objective F(θ) = L(θ) + R(θ): the data loss of a network plus the penalty of its weights.

    L(θ) = (weighted) mean over the samples,    R(θ) = Σ_l R_l(W_l)

λ stands in the penalty and nowhere else: F is L + R, whatever the batch size or the number of
samples. Biases are not penalised unless a penalty for them is given.

`Objective` is F for any samples. `Objective.on(X, y)` checks the samples once and returns a
`Problem`, F as a function of θ: loops, solvers and checks work on that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from tinyreg import validate
from tinyreg.core.losses import Loss
from tinyreg.core.network import MLP, Block, Trace, backward_pass, forward_pass
from tinyreg.core.penalties import Penalty
from tinyreg.validate import Array, Data, Maybe

ROWS, SPARSE_ROWS = 256, 4_096  # samples at once in a pass over all; dense ones fit the cache
STRETCH = 32_768  # numbers at once in a penalty that acts on each: likewise
COMPLEX_STEP = 1e-30
Penalties: TypeAlias = Penalty | Sequence[Penalty | None] | None


class Terms(NamedTuple):
    """L and R, which add up to F."""

    data: float
    penalty: float

    @property
    def total(self) -> float:
        return self.data + self.penalty


class Samples(NamedTuple):
    """Checked samples, and the weights of their mean, (N,)."""

    X: Array
    targets: Array
    weight: Array

    def take(self, rows: slice | Array) -> Samples:
        """Some of them, each with the weight that it has among all."""
        return Samples(self.X[rows], self.targets[rows], self.weight[rows])


class Objective:
    """F = L + R for one network, loss and penalty.

    Bad arguments, of this and where X is taken, are refused by a `ValueError` or `TypeError`.

    Parameters
    ----------
    net : MLP
    loss : Loss: `SoftmaxCrossEntropy()`, `SigmoidCrossEntropy()` or `SquaredError()`
    penalty : Penalty of all weights, or a sequence with one (or None) for each layer, or None
    bias_penalty : Penalty of all biases, which must be elementwise, or None

    Notes
    -----
    X, y, sample_weight : (N, n_in) array or `scipy.sparse`, targets for the loss, (N,) array
    params, v, gradient, data_gradient : (n_params,) arrays; params may be complex
    scale, smooth_only, t : a factor; True leaves out penalties with a kink; steps of the prox

    Examples
    --------
    >>> from tinyreg import L1, L2, SquaredError
    >>> net = MLP((1, 1))
    >>> net.params = [3.0, 0.0]
    >>> F, X, y = Objective(net, SquaredError(), penalty=L2(0.1)), [[1.0]], [1.0]
    >>> F.terms(X, y)  # ½(3 − 1)² and 0.1·3²
    Terms(data=2.0, penalty=0.9)
    >>> F.data_gradient(X, y), F.gradient(X, y)  # (3 − 1)·x and 3 − 1; plus 2·0.1·3
    (array([2., 2.]), array([2.6, 2. ]))
    >>> F.value(X, y, net.params + [1e-30j, 0]).imag / 1e-30  # the first again, by complex step
    2.6

    Proximal gradient descent (ISTA), by hand:

    >>> F = Objective(MLP((2, 1)), SquaredError(), penalty=L1(0.1))
    >>> f, theta = F.on([[2, 0], [-2, 0], [0, 1], [0, -1]], [4, -4, 0.1, -0.1]), np.zeros(3)
    >>> for _ in range(100):
    ...     theta = F.prox(theta - 0.5 * f.data_gradient(theta), 0.5)
    >>> theta.round(4), f.stationarity(theta) < 1e-12  # W_1 = (4 − 0.1)/2; 0.05 ≤ λ
    (array([1.95, 0.  , 0.  ]), True)
    """

    def __init__(
        self, net: MLP, loss: Loss, penalty: Penalties = None, bias_penalty: Penalty | None = None
    ) -> None:
        self.net = validate.check_type("net", net, MLP, "an MLP")
        self.loss = validate.check_type("loss", loss, Loss, "a loss such as SquaredError()")
        self.penalty, self.bias_penalty = penalty, bias_penalty
        each = validate.check_penalties(penalty, bias_penalty, n_layers=len(net.weights))
        self.penalised = _penalised(net.blocks, each)  # blocks of θ, each with its penalty

    def on(self, X: Data, y: Data, sample_weight: Maybe = None) -> Problem:
        """F on these samples, as a function of θ. An `np.memmap` stays in its file."""
        X = validate.check_features(X, self.net.sizes[0], self.net.dtype)
        targets = self.loss.check_targets(y, X.shape[0], self.net.sizes[-1], self.net.dtype)
        weight = validate.check_sample_weight(sample_weight, X.shape[0])
        return Problem(self, Samples(X, targets, weight))

    def penalty_value(self, params: Array, smooth_only: bool = False) -> float:
        """R(θ), or what the smooth penalties have of it."""
        parts = (R.value(B.of(params)) for B, R in self.penalised if R.smooth or not smooth_only)
        return sum(parts, 0.0)

    def add_subgradient(
        self, gradient: Array, params: Array, scale: float = 1.0, smooth_only: bool = False
    ) -> None:
        """gradient += scale · s with s ∈ ∂R(θ), of all penalties or of the smooth ones only."""
        for B, R in self.penalised:
            if R.smooth or not smooth_only:
                s, part = R.subgradient(B.of(params)), B.of(gradient)
                part += s if scale == 1.0 else scale * s

    def prox(self, params: Array, t: float | Array) -> Array:
        """θ ← prox_{tR}(θ) of the penalties that are not smooth, in place; returns θ."""
        for B, R in self.penalised:
            if not R.smooth:
                w = B.of(params)
                w[...] = R.prox(w, B.of(t) if isinstance(t, np.ndarray) and t.ndim else t)
        return params

    def residual_of(self, data_gradient: Array, params: Array) -> Array:
        """The distance of −∇L to ∂R(θ), coordinate by coordinate, given ∇L."""
        residual = np.abs(data_gradient)
        for B, R in self.penalised:
            B.of(residual)[...] = R.residual(B.of(params), B.of(data_gradient))
        return residual

    def value(self, X: Data, y: Data, params: Maybe = None, sample_weight: Maybe = None) -> float:
        """F = L + R; so value(X, y, θ + 1j·h·v).imag/h, h = 1e-30, is its slope along v."""
        return self.on(X, y, sample_weight).value(params)

    def terms(self, X: Data, y: Data, params: Maybe = None, sample_weight: Maybe = None) -> Terms:
        """L and R apart."""
        return self.on(X, y, sample_weight).terms(params)

    def data_gradient(
        self, X: Data, y: Data, params: Maybe = None, sample_weight: Maybe = None
    ) -> Array:
        """∇L, (n_params,)."""
        return self.on(X, y, sample_weight).data_gradient(params)

    def gradient(
        self, X: Data, y: Data, params: Maybe = None, sample_weight: Maybe = None
    ) -> Array:
        """∇L plus the penalty's subgradient, (n_params,)."""
        return self.on(X, y, sample_weight).gradient(params)

    def hessian_vector(
        self, X: Data, y: Data, v: Data, params: Maybe = None, sample_weight: Maybe = None
    ) -> Array:
        """∇²F v, (n_params,), with no second backward pass."""
        return self.on(X, y, sample_weight).hessian_vector(v, params)

    def example_gradients(
        self, X: Data, y: Data, params: Maybe = None, sample_weight: Maybe = None
    ) -> Array:
        """The data gradient of each sample apart, (N, n_params); their mean is `data_gradient`."""
        return self.on(X, y, sample_weight).example_gradients(params)

    def residual(
        self, X: Data, y: Data, params: Maybe = None, sample_weight: Maybe = None
    ) -> Array:
        """The distance of −∇L to ∂R, coordinate by coordinate: 0 just at a stationary point."""
        return self.on(X, y, sample_weight).residual(params)

    def stationarity(
        self, X: Data, y: Data, params: Maybe = None, sample_weight: Maybe = None
    ) -> float:
        """The largest coordinate of `residual`."""
        return self.on(X, y, sample_weight).stationarity(params)


@dataclass(frozen=True)
class Problem:
    """F on checked samples, as a function of θ: the methods of `Objective` without X and y."""

    objective: Objective
    samples: Samples

    def value(self, params: Maybe = None) -> float:
        return self.terms(params).total

    def terms(self, params: Maybe = None) -> Terms:
        theta = self.objective.net.check_params(params)
        return Terms(self.data_value(theta), self.objective.penalty_value(theta))

    def data_value(self, params: Maybe = None) -> float:
        loss, passes = self.objective.loss, self._passes(params)
        return sum(loss.weighted_sum(run.outputs, y, weight) for (_, y, weight), run in passes)

    def value_and_score(self, params: Maybe = None) -> tuple[float, float]:
        """L, and accuracy or R² (not weighted), from one forward pass."""
        loss, (_, targets, weight) = self.objective.loss, self.samples
        outputs = np.concatenate([run.outputs for _, run in self._passes(params)])
        return loss.weighted_sum(outputs, targets, weight), loss.score(outputs, targets)

    def data_value_and_gradient(self, params: Maybe = None) -> tuple[float, Array]:
        objective, theta = self.objective, self.objective.net.check_params(params)
        weights, _ = objective.net.unpack(theta)
        L, gradient, of_part = 0.0, np.zeros_like(theta), np.empty_like(theta)
        into = objective.net.unpack(of_part)
        for part, run in self._passes(theta):
            L += objective.loss.weighted_sum(run.outputs, part.targets, part.weight)
            dout = objective.loss.delta(run.outputs, part.targets, part.weight)
            backward_pass(run, dout, weights, objective.net.activation, *into)
            gradient += of_part
        return L, gradient

    def data_gradient(self, params: Maybe = None) -> Array:
        return self.data_value_and_gradient(params)[1]

    def gradient(self, params: Maybe = None) -> Array:
        theta = self.objective.net.check_params(params)
        gradient = self.data_gradient(theta)
        self.objective.add_subgradient(gradient, theta)
        return gradient

    def residual(self, params: Maybe = None) -> Array:
        theta = self.objective.net.check_params(params)
        return self.objective.residual_of(self.data_gradient(theta), theta)

    def stationarity(self, params: Maybe = None) -> float:
        return float(self.residual(params).max())

    def hessian_vector(self, v: Data, params: Maybe = None) -> Array:
        """By ∇F(θ + ihv) = ∇F + ih ∇²F v + O(h²). |w| adds 0, the norm of a group its curvature."""
        net = self.objective.net
        theta = net.check_params(params).real.astype(np.float64)
        direction = net.check_params(validate.check_array("v", v, np.float64), "v")
        size = np.abs(direction).max() or 1.0  # so that h·v neither vanishes nor bends
        nudged = theta + 1j * COMPLEX_STEP * (direction / size)
        product = self.gradient(nudged).imag / COMPLEX_STEP * size
        return product.astype(net.dtype, copy=False)

    def example_gradients(self, params: Maybe = None) -> Array:
        n, samples = len(self.samples.targets), self.samples
        alone = (Problem(self.objective, samples.take(slice(i, i + 1))) for i in range(n))
        return np.stack([n * one.data_gradient(params) for one in alone])

    def _passes(self, params: Maybe) -> Iterator[tuple[Samples, Trace]]:
        """Forward passes over all samples: many at once of sparse X, as each ∇L has n_params."""
        net = self.objective.net
        weights, biases = net.unpack(net.check_params(params))
        rows = ROWS if isinstance(self.samples.X, np.ndarray) else SPARSE_ROWS
        for start in range(0, len(self.samples.targets), rows):
            part = self.samples.take(slice(start, start + rows))
            X = part.X.astype(net.dtype, copy=False)
            yield part, forward_pass(X, weights, biases, net.activation)


def _penalised(
    blocks: Sequence[Block], penalties: Sequence[Penalty | None]
) -> list[tuple[Block, Penalty]]:
    """The blocks with a penalty; neighbours as one, in stretches, if it acts on each number."""
    found: list[tuple[Block, Penalty]] = []
    pairs = zip(blocks, penalties, strict=True)
    for _, same in itertools.groupby(pairs, key=lambda pair: id(pair[1])):
        near, (R, *_) = zip(*same, strict=True)
        if R is not None and getattr(R, "elementwise", False):
            cuts = [*range(near[0].span.start, near[-1].span.stop, STRETCH), near[-1].span.stop]
            near = [Block("", slice(a, b), (b - a,)) for a, b in itertools.pairwise(cuts)]
        found += [(block, R) for block in near if R is not None]
    return found
