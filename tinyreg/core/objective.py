"""The objective F(θ) = L(θ) + R(θ): the data loss of a network plus the penalty of its weights.

    L(θ) = (weighted) mean over the samples,    R(θ) = Σ_l R_l(W_l)

λ stands in the penalty and nowhere else: F is L + R, whatever the batch size or the number of
samples. Biases are not penalised unless a penalty for them is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.blocks import SIZE, blocks
from tinyreg.core.losses import Loss
from tinyreg.core.mapped import file_of, let_go
from tinyreg.core.network import MLP, backward_pass, forward_pass, outputs
from tinyreg.core.penalties import Penalty, check_penalty_type
from tinyreg.validate import Array, check_array, check_features, check_sample_weight, describe

# Samples at once in a pass over all of them. Fewer make small matrix products, and the arrays of
# more go back to the system after each pass, which then hands out zeroed pages anew: a 64-64-10
# network takes twice as long with all digits at once.
ROWS = 256
COMPLEX_STEP = 1e-30


class Terms(NamedTuple):
    """The two parts of the objective.

    Attributes
    ----------
    data, penalty : float
        L and R; complex at complex parameters.

    Examples
    --------
    >>> Terms(data=2.0, penalty=0.5).total
    2.5
    """

    data: float
    penalty: float

    @property
    def total(self) -> float:
        """F = L + R."""
        return self.data + self.penalty


class Data(NamedTuple):
    """Samples that were checked: what the methods below that take `data` trust."""

    X: Array
    targets: Array
    weight: float | Array

    def rows(self, part: slice) -> Data:
        """Some of the samples, each with the weight that it has among all."""
        weight = self.weight
        return Data(
            self.X[part],
            self.targets[part],
            weight if isinstance(weight, float) else weight[part],
        )


@dataclass(frozen=True)
class OfMatrix:
    """A penalty of a matrix, for those who hold the matrix as a block of the flat vector."""

    penalty: Penalty
    shape: tuple[int, ...]

    @property
    def smooth(self) -> bool:
        """As the penalty says."""
        return self.penalty.smooth

    def value(self, w: Array) -> float:
        """R(W)."""
        return self.penalty.value(w.reshape(self.shape))

    def subgradient(self, w: Array) -> Array:
        """The subgradient at W, flat."""
        return self.penalty.subgradient(w.reshape(self.shape)).reshape(-1)

    def prox(self, w: Array, step: float | Array) -> Array:
        """The prox of W, flat."""
        step = step.reshape(self.shape) if isinstance(step, np.ndarray) and step.ndim else step
        return self.penalty.prox(w.reshape(self.shape), step).reshape(-1)

    def residual(self, w: Array, g: Array) -> Array:
        """The residual at W, flat."""
        return self.penalty.residual(w.reshape(self.shape), g.reshape(self.shape)).reshape(-1)


@dataclass(frozen=True)
class Piece:
    """A block of the parameter vector, and the penalties of what lies in it.

    A training step goes over the vector once, piece by piece, with everything that it does to a
    piece (penalty, optimizer, prox) while the piece is in the cache.
    """

    block: slice
    penalised: list[tuple[slice, Penalty]]  # places within the piece

    def add_subgradient(
        self, gradient: Array, params: Array, scale: float = 1.0, smooth_only: bool = False
    ) -> None:
        """gradient += scale · ∂R(params), of all penalties or of the smooth ones only."""
        for place, R in self.penalised:
            if R.smooth or not smooth_only:
                slope, part = R.subgradient(params[place]), gradient[place]
                part += slope if scale == 1.0 else scale * slope

    def prox(self, params: Array, steps: float | Array) -> None:
        """params ← prox(params), of the penalties that are not smooth, in place."""
        for place, R in self.penalised:
            if not R.smooth:
                step = steps[place] if isinstance(steps, np.ndarray) and steps.ndim else steps
                params[place] = R.prox(params[place], step)


class Objective:
    """F = L + R for one network, loss and penalty.

    Parameters
    ----------
    net : MLP
    loss : Loss
        `SoftmaxCrossEntropy()`, `SigmoidCrossEntropy()` or `SquaredError()`.
    penalty : Penalty, sequence of (Penalty or None), or None
        Of all weights, or one for each layer. One that is not elementwise (`GroupLasso`) is
        applied to the weight matrix of each layer.
    bias_penalty : Penalty, optional
        Of all biases; it must be elementwise.

    Attributes
    ----------
    penalised : list of (slice, Penalty)
        Blocks of the parameter vector, each with the penalty of the numbers in it.
    pieces : list of Piece
        The whole parameter vector in pieces that fit into the cache.

    Raises
    ------
    ValueError, TypeError
        By this and by every method that takes X, if an argument is not as it should be.

    Notes
    -----
    Methods that take X and y check all of their arguments each time:

    X : (N, n_in) array
    y : array
        The targets, as the loss wants them.
    params : (n_params,) array, optional
        In place of the network's own. Complex ones are fine where it is said.
    sample_weight : (N,) array, optional
        How much each sample counts in the mean.

    A loop checks its samples once, by `check`. The methods that take `data` trust it, and what
    else they take:

    data : Data
        From `check`.
    params, gradient, data_gradient : (n_params,) arrays
        θ, ∇F or a part of it, ∇L.
    scale : float
    smooth_only : bool
        Leave out the penalties with a kink.
    steps : float or (n_params,) array
        The step size of the prox.

    Examples
    --------
    >>> from tinyreg import L2, SquaredError
    >>> net = MLP((1, 1))
    >>> net.params = [3.0, 0.0]
    >>> F = Objective(net, SquaredError(), penalty=L2(0.1))
    >>> X, y = [[1.0]], [1.0]
    >>> F.terms(X, y)  # ½(3 − 1)² and 0.1·3²
    Terms(data=2.0, penalty=0.9)
    >>> F.data_gradient(X, y), F.gradient(X, y)  # (3 − 1)·x and 3 − 1; plus 2·0.1·3
    (array([2., 2.]), array([2.6, 2. ]))
    >>> F.value(X, y, net.params + [1e-30j, 0]).imag / 1e-30  # the first again, by complex step
    2.6
    >>> F.hessian_vector(X, y, v=[1.0, 0.0])  # of ½(w + b − 1)² + 0.1 w²
    array([1.2, 1. ])
    >>> F.example_gradients([[1.0], [2.0]], [1.0, 5.0])
    array([[2., 2.],
           [2., 1.]])

    Proximal gradient descent (ISTA), by hand:

    >>> from tinyreg import L1
    >>> F = Objective(MLP((2, 1)), SquaredError(), penalty=L1(0.1))
    >>> X, y = [[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [4.0, -4.0, 0.1, -0.1]
    >>> data, theta = F.check(X, y), np.zeros(3)
    >>> for _ in range(100):
    ...     theta -= 0.5 * F.data_pass(data, theta)
    ...     F.prox(theta, 0.5)
    >>> theta.round(4)  # W = S_λ(Xᵀy/N)/(XᵀX/N) = (4 − 0.1)/2, and 0, as 0.05 ≤ λ; b = 0
    array([1.95, 0.  , 0.  ])
    >>> F.residual(X, y, theta + [0.0, 0.0, 1.0]).round(4)  # another b is not at rest
    array([0., 0., 1.])
    >>> float(F.residual_of(F.data_pass(data, theta), theta).max()) == F.stationarity(X, y, theta)
    True
    >>> L, R = F.data_value(data, theta), F.penalty_value(theta)
    >>> L + R == F.value(X, y, theta), F.penalty_value(theta, smooth_only=True)
    (True, 0.0)
    >>> F.value_and_score(data, theta) == (L, F.score(data, theta))
    True
    >>> L, slope = F.data_value_and_gradient(data, theta)
    >>> F.add_subgradient(slope, theta)
    >>> np.array_equal(slope, F.gradient(X, y, theta))
    True
    """

    def __init__(
        self,
        net: MLP,
        loss: Loss,
        penalty: Penalty | Sequence[Penalty | None] | None = None,
        bias_penalty: Penalty | None = None,
    ) -> None:
        if not isinstance(net, MLP):
            raise TypeError(f"net must be an MLP, got {describe(net)}")
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a loss such as SquaredError(), got {describe(loss)}")
        self.net = net
        self.loss = loss
        self.penalty = penalty
        self.bias_penalty = bias_penalty
        self.penalised: list[tuple[slice, Penalty]] = []
        _check_penalty("bias_penalty", bias_penalty)
        if not _elementwise(bias_penalty):
            raise TypeError(
                f"bias_penalty must act on each number alone, as biases are no matrix; got "
                f"{describe(bias_penalty)}"
            )
        if isinstance(penalty, Sequence):
            if len(penalty) != len(net.sizes) - 1:
                raise ValueError(
                    f"penalty must have one entry for each of the {len(net.sizes) - 1} layers, "
                    f"got {len(penalty)}"
                )
            for layer, R in enumerate(penalty):
                _check_penalty(f"penalty[{layer}]", R)
            self._penalise_layers(penalty)
        else:
            _check_penalty("penalty", penalty)
            if _elementwise(penalty):
                self._penalise(0, net.n_weights, penalty)
            else:
                self._penalise_layers([penalty] * (len(net.sizes) - 1))
        self._penalise(net.n_weights, net.n_params, bias_penalty)
        self.pieces = _pieces(self.penalised, net.n_params)

    def _penalise_layers(self, penalties: Sequence[Penalty | None]) -> None:
        start = 0
        for W, R in zip(self.net.weights, penalties, strict=True):
            stop = start + W.size
            if R is None or _elementwise(R):
                self._penalise(start, stop, R)
            else:
                self.penalised.append((slice(start, stop), OfMatrix(R, W.shape)))
            start = stop

    def _penalise(self, start: int, stop: int, penalty: Penalty | None) -> None:
        if penalty is None:
            return
        self.penalised += [(block, penalty) for block in blocks(start, stop)]

    def value(
        self,
        X: ArrayLike,
        y: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """F = L + R; complex at complex `params`.

        So value(X, y, params + 1j·h·v).imag / h with h = 1e-30 is the derivative along v, exact to
        rounding: no difference of two near numbers is taken.
        """
        return self.terms(X, y, params, sample_weight).total

    def terms(
        self,
        X: ArrayLike,
        y: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Terms:
        """L and R apart."""
        data = self.check(X, y, sample_weight, in_file=True)
        vector = self.net.check_params(params)
        return Terms(self.data_value(data, vector), self.penalty_value(vector))

    def data_gradient(
        self,
        X: ArrayLike,
        y: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """∇L, (n_params,). Complex `params` are fine."""
        data = self.check(X, y, sample_weight, in_file=True)
        return self.data_pass(data, self.net.check_params(params))

    def gradient(
        self,
        X: ArrayLike,
        y: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """∇L plus the penalty's subgradient, (n_params,). Complex `params` are fine."""
        vector = self.net.check_params(params)
        gradient = self.data_pass(self.check(X, y, sample_weight, in_file=True), vector)
        self.add_subgradient(gradient, vector)
        return gradient

    def hessian_vector(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """∇²F v, (n_params,), with no second backward pass.

        The gradient at θ + ihv is ∇F + ih ∇²F v + O(h²), so its imaginary part over h is the
        product, exact to rounding for h = 1e-30. |w| has second derivative 0 wherever it has one,
        so only L and the smooth part of the penalty contribute. A group's norm does curve away
        from 0, by λ√|g| (I − w wᵀ/‖w‖²)/‖w‖, and that is part of the product; a group at 0, where
        there is no second derivative, contributes 0.

        Parameters
        ----------
        v : (n_params,) array
            The direction.
        """
        vector = self.net.check_params(params).real
        direction = self.net.check_params(check_array("v", v, np.float64), "v")
        size = np.abs(direction).max() or 1.0  # so that h·v neither vanishes nor bends
        nudged = vector.astype(np.float64) + 1j * COMPLEX_STEP * (direction / size)
        product = self.gradient(X, y, nudged, sample_weight).imag / COMPLEX_STEP * size
        return product.astype(self.net.dtype, copy=False)

    def example_gradients(
        self,
        X: ArrayLike,
        y: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """The data gradient of each sample apart, (N, n_params); their mean is `data_gradient`.

        For sample n, dW_l is the outer product of the layer's input and its dz.
        """
        data, vector = self.check(X, y, sample_weight), self.net.check_params(params)
        n_samples = len(data.X)
        gradients = np.empty((n_samples, self.net.n_params), vector.dtype)
        for n in range(n_samples):
            sample = data.rows(slice(n, n + 1))
            np.multiply(self.data_pass(sample, vector), n_samples, out=gradients[n])
        return gradients

    def residual(
        self,
        X: ArrayLike,
        y: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """The distance of −∇L to ∂R, coordinate by coordinate, (n_params,).

        It is 0 everywhere just at a stationary point: for L1, ∇L = −λ sign(w) where w ≠ 0 and
        |∇L| ≤ λ where w = 0, and ∇L = 0 for a parameter without a penalty.
        """
        vector = self.net.check_params(params)
        data = self.check(X, y, sample_weight, in_file=True)
        return self.residual_of(self.data_pass(data, vector), vector)

    def stationarity(
        self,
        X: ArrayLike,
        y: ArrayLike,
        params: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """The largest coordinate of `residual`; 0 at a stationary point."""
        return float(self.residual(X, y, params, sample_weight).max())

    # Below: the same for arguments that were checked once, for loops that call many times.

    def check(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        in_file: bool = False,
    ) -> Data:
        """The samples as arrays of the right shape and dtype, or a clear error.

        Parameters
        ----------
        in_file : bool
            Leave an X that is in a file (`np.memmap`) there, with its own dtype.
        """
        sizes, dtype = self.net.sizes, self.net.dtype
        X = check_features(X, sizes[0], dtype, in_file=in_file)
        targets = self.loss.check_targets(y, len(X), sizes[-1], dtype)
        return Data(X, targets, check_sample_weight(sample_weight, len(X)))

    def _chunks(self, data: Data) -> Iterator[Data]:
        file = file_of(data.X)
        for start in range(0, len(data.X), ROWS):
            part = data.rows(slice(start, start + ROWS))
            yield part._replace(X=part.X.astype(self.net.dtype, copy=False))
            let_go(file)

    def data_value(self, data: Data, params: Array) -> float:
        """L."""
        layers = *self.net.unpack(params), self.net.activation
        return sum(
            self.loss.weighted_sum(outputs(part.X, *layers), part.targets, part.weight)
            for part in self._chunks(data)
        )

    def score(self, data: Data, params: Array) -> float:
        """Accuracy or R², as the loss has it; not weighted."""
        return self.value_and_score(data, params)[1]

    def value_and_score(self, data: Data, params: Array) -> tuple[float, float]:
        """L, and accuracy or R²."""
        layers = *self.net.unpack(params), self.net.activation
        whole = np.concatenate([outputs(part.X, *layers) for part in self._chunks(data)])
        value = self.loss.weighted_sum(whole, data.targets, data.weight)
        return value, self.loss.score(whole, data.targets)

    def data_value_and_gradient(self, data: Data, params: Array) -> tuple[float, Array]:
        """L and ∇L: forward, the loss and its gradient at the outputs, backward."""
        weights, biases = self.net.unpack(params)
        gradient = np.zeros_like(params)
        piece = np.empty_like(params)
        value = 0.0
        for part in self._chunks(data):
            trace = forward_pass(part.X, weights, biases, self.net.activation)
            value += self.loss.weighted_sum(trace.outputs, part.targets, part.weight)
            dout = self.loss.delta(trace.outputs, part.targets, part.weight)
            backward_pass(trace, dout, weights, self.net.activation, *self.net.unpack(piece))
            gradient += piece
        return value, gradient

    def data_pass(self, data: Data, params: Array) -> Array:
        """∇L."""
        return self.data_value_and_gradient(data, params)[1]

    def penalty_value(self, params: Array, smooth_only: bool = False) -> float:
        """R, or what the smooth penalties have of it."""
        return sum(
            (R.value(params[block]) for block, R in self.penalised if R.smooth or not smooth_only),
            0.0,
        )

    def add_subgradient(
        self, gradient: Array, params: Array, scale: float = 1.0, smooth_only: bool = False
    ) -> None:
        """gradient += scale · ∂R(params), of all penalties or of the smooth ones only."""
        for piece in self.pieces:
            piece.add_subgradient(gradient[piece.block], params[piece.block], scale, smooth_only)

    def prox(self, params: Array, steps: float | Array) -> None:
        """params ← prox(params), of the penalties that are not smooth, in place."""
        for piece in self.pieces:
            own = steps[piece.block] if isinstance(steps, np.ndarray) and steps.ndim else steps
            piece.prox(params[piece.block], own)

    def residual_of(self, data_gradient: Array, params: Array) -> Array:
        """The residual, given ∇L at params."""
        residual = np.abs(data_gradient)
        for block, R in self.penalised:
            residual[block] = R.residual(params[block], data_gradient[block])
        return residual


def _pieces(penalised: list[tuple[slice, Penalty]], n_params: int) -> list[Piece]:
    """All blocks, those without a penalty too: neighbours together up to SIZE numbers."""
    starts, stops = [block.start for block, _ in penalised], [block.stop for block, _ in penalised]
    between = zip([0, *stops], [*starts, n_params], strict=True)
    free = [block for start, stop in between for block in blocks(start, stop)]
    spans: list[slice] = []
    for block in sorted([*free, *(block for block, _ in penalised)], key=lambda block: block.start):
        if spans and block.stop - spans[-1].start <= SIZE:
            spans[-1] = slice(spans[-1].start, block.stop)
        else:
            spans.append(block)
    return [
        Piece(
            span,
            [
                (slice(block.start - span.start, block.stop - span.start), R)
                for block, R in penalised
                if span.start <= block.start < span.stop
            ],
        )
        for span in spans
    ]


def _check_penalty(name: str, penalty: object) -> None:
    if penalty is not None:
        check_penalty_type(name, penalty)


def _elementwise(penalty: Penalty | None) -> bool:
    return getattr(penalty, "elementwise", True)
