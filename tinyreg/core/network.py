"""The multilayer perceptron: affine maps with an activation between them, forward and backward.

    a_0 = X,    z_l = a_{l−1} W_l + b_l,    a_l = f(z_l) for l < L,    outputs = z_L

All parameters are one flat vector θ, first all weights, then all biases; `MLP.blocks` says where
each W_l and b_l lies in it. So an optimizer is a few operations on one array.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.core import layers
from tinyreg.core.layers import ACTIVATIONS
from tinyreg.files import read_arrays, reading, write_arrays
from tinyreg.validate import Array, Data, Maybe

FILE, VERSION = "tinyreg MLP", 1
RELU_FAMILY = ("relu", "leaky_relu", "softplus", "gelu", "silu")
PerLayer: TypeAlias = Sequence[Array]
Seed: TypeAlias = int | np.random.Generator


class Block(NamedTuple):
    """Where a weight matrix W1, W2, … or a bias vector b1, b2, … lies in the parameter vector."""

    name: str
    span: slice
    shape: tuple[int, ...]

    def of(self, vector: Array) -> Array:
        """This block of a vector of parameters, as a view."""
        return vector[self.span].reshape(self.shape)


class Trace(NamedTuple):
    """What a forward pass computed."""

    pre_activations: list[Array]  # z_1 … z_L
    activations: list[Array]  # a_0 = X, a_1 … a_{L−1}, z_L
    masks: PerLayer | None = None  # of dropout, for a_1 … a_{L−1}

    @property
    def outputs(self) -> Array:
        return self.activations[-1]

    def input(self, layer: int) -> Array:
        """What goes into layer 0, 1, …: the activation below it, after dropout."""
        a, masks = self.activations[layer], self.masks
        return a if masks is None or layer == 0 else layers.dropout_forward(a, masks[layer - 1])


def forward_pass(
    X: Array, weights: PerLayer, biases: PerLayer, activation: str, masks: PerLayer | None = None
) -> Trace:
    """Run the network and keep every layer."""
    trace, f = Trace([], [X], masks), ACTIVATIONS[activation].forward
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        z = layers.affine_forward(trace.input(layer), W, b)
        trace.pre_activations.append(z)
        trace.activations.append(z if layer == len(weights) - 1 else f(z))
    return trace


def backward_pass(
    trace: Trace, dout: Array, weights: PerLayer, activation: str, dW: PerLayer, db: PerLayer
) -> None:
    """The chain rule, from dz_L = ∂L/∂outputs back to the first layer; fills in `dW` and `db`."""
    f_backward, dz = ACTIVATIONS[activation].backward, dout
    for layer in reversed(range(len(weights))):
        x, W, out = trace.input(layer), weights[layer], (dW[layer], db[layer])
        da, _, _ = layers.affine_backward(dz, x, W, with_dx=layer > 0, out=out)
        if da is not None:
            z, a = trace.pre_activations[layer - 1], trace.activations[layer]
            if trace.masks is not None:
                da = layers.dropout_backward(da, a, trace.masks[layer - 1])
            dz = f_backward(da, z, a)


class MLP:
    """A multilayer perceptron with hand-written gradients.

    Bad arguments, of this and of the methods, are refused by a `ValueError` or `TypeError`.

    Parameters
    ----------
    sizes : sequence of int: inputs, units of each hidden layer (if any), outputs
    activation : str, of the hidden layers, a name in `ACTIVATIONS`; the outputs are affine
    dtype : "float64" or "float32"
    seed : int or numpy.random.Generator
        Weights start normal with variance 2/n_in for the relu family (He et al. 2015), else
        2/(n_in + n_out) (Glorot and Bengio 2010): the signal keeps its size. Biases start at 0.

    Attributes
    ----------
    params : (n_params,) array, all weights, then all biases; writing into it changes the network
    weights, biases : tuples of views into `params`, (n_in, n_out) and (n_out,)
    blocks : list of `Block`: where W1, W2, …, b1, b2, … lie in `params`
    n_weights, n_params : int

    Notes
    -----
    X, masks : (N, n_in) array or `scipy.sparse`, all finite; (N, n_l) dropout masks by hidden layer
    params, vector, name : (n_params,) array in place of the network's own; what errors call it
    trace, dout, path : from `trace` with the same params; ∂L/∂outputs, (N, n_out); a file

    Examples
    --------
    >>> net = MLP((2, 2, 1))
    >>> net.params = [1, -1, 1, -1, 2, 3, 0, 0, 0.5]
    >>> net.forward([[1.0, 4.0]])  # 2·relu(5) + 3·relu(−5) + ½
    array([[10.5]])
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "relu", dtype: str = "float64", seed: Seed = 0
    ) -> None:
        self._lay_out(sizes, activation, dtype)
        if not isinstance(seed, np.random.Generator):
            seed = np.random.default_rng(validate.check_integer("seed", seed, least=0))
        self._params = np.zeros(self.n_params, self.dtype)
        for W in self.weights:
            n_in, n_out = W.shape
            variance = 2 / n_in if self.activation in RELU_FAMILY else 2 / (n_in + n_out)
            W[...] = seed.normal(0.0, np.sqrt(variance), W.shape)

    def _lay_out(self, sizes: Sequence[int], activation: str, dtype: str) -> None:
        self.sizes = validate.check_sizes("sizes", sizes)
        self.activation = validate.check_choice("activation", activation, ACTIVATIONS)
        self.dtype = validate.check_dtype("dtype", dtype)
        # W1 … WL, then b1 … bL, one after the other.
        shapes = [*itertools.pairwise(self.sizes), *((n,) for n in self.sizes[1:])]
        names = [f"{letter}{layer}" for letter in "Wb" for layer in range(1, len(self.sizes))]
        stops = list(itertools.accumulate(math.prod(shape) for shape in shapes))
        spans = [slice(start, stop) for start, stop in itertools.pairwise([0, *stops])]
        self.blocks = [Block(*block) for block in zip(names, spans, shapes, strict=True)]
        self.n_weights = self.blocks[len(self.sizes) - 1].span.start
        self.n_params = self.blocks[-1].span.stop

    def __repr__(self) -> str:
        return f"MLP({self.sizes}, activation={self.activation!r}, dtype={self.dtype.name!r})"

    @property
    def params(self) -> Array:
        """θ itself, (n_params,)."""
        return self._params

    @params.setter
    def params(self, values: ArrayLike) -> None:
        self._params[...] = self.check_params(validate.check_array("params", values, self.dtype))

    @property
    def weights(self) -> tuple[Array, ...]:
        """W_1 … W_L, views into `params`."""
        return self.unpack(self._params)[0]

    @property
    def biases(self) -> tuple[Array, ...]:
        """b_1 … b_L, views into `params`."""
        return self.unpack(self._params)[1]

    def unpack(self, vector: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The weights and biases in a vector of parameters (or in a gradient), as views."""
        views = tuple(block.of(vector) for block in self.blocks)
        return views[: len(views) // 2], views[len(views) // 2 :]

    def check_params(self, params: Maybe, name: str = "params") -> Array:
        """`params` as a vector of this network's length, or the network's own if None."""
        if params is None:
            return self._params
        return validate.check_vector(name, params, self.n_params)

    def forward(self, X: Data) -> Array:
        """The outputs (logits) for each row of X, (N, n_out), in a fresh array."""
        return self.trace(X).outputs

    def trace(self, X: Data, params: Maybe = None, masks: PerLayer | None = None) -> Trace:
        """The pre-activations and activations of every layer, in fresh arrays (after X itself)."""
        X = validate.check_features(X, self.sizes[0], self.dtype).astype(self.dtype, copy=False)
        weights, biases = self.unpack(self.check_params(params))
        validate.check_masks(masks, [(X.shape[0], n) for n in self.sizes[1:-1]])
        return forward_pass(X, weights, biases, self.activation, masks)

    def backward(self, trace: Trace, dout: Array, params: Maybe = None) -> Array:
        """The gradient with respect to the parameters, (n_params,)."""
        vector, dout = self.check_params(params), np.asarray(dout)
        validate.check_trace(trace, dout, self.sizes)
        gradient = np.empty(self.n_params, np.result_type(vector, trace.outputs, dout))
        weights, _ = self.unpack(vector)
        backward_pass(trace, dout, weights, self.activation, *self.unpack(gradient))
        return gradient

    def copy(self) -> MLP:
        """A network of its own with the same parameters."""
        return self.astype(self.dtype.name)

    def astype(self, dtype: str) -> MLP:
        """A network of its own with the same parameters, in another precision."""
        net = copy.copy(self)
        net.dtype = validate.check_dtype("dtype", dtype)
        net._params = self._params.astype(net.dtype)
        return net

    def compact(self) -> tuple[MLP, Array]:
        """A smaller network with the same outputs, and the columns of X that it takes.

        A unit without a nonzero incoming weight is the constant f(b), which goes into the next
        biases: one pass up finds all of these. One without a nonzero outgoing weight changes no
        output: one pass back finds all of these, and leaves no unit without inputs that had some.
        Where a whole layer is dead, its first unit is kept.
        """
        net = self.copy()
        W, b, f = net.weights, net.biases, ACTIVATIONS[self.activation].forward
        for layer in range(1, len(W)):
            constant = ~W[layer - 1].any(axis=0)
            b[layer][...] += f(b[layer - 1][constant]) @ W[layer][constant]
            W[layer][constant] = 0
        for layer in range(len(W) - 1, 0, -1):
            W[layer - 1][:, ~W[layer].any(axis=1)] = 0
        kept = [np.flatnonzero(out_of.any(axis=1)) for out_of in W]
        kept = [units if units.size else np.zeros(1, units.dtype) for units in kept]
        kept.append(np.arange(self.sizes[-1]))
        small = MLP([len(units) for units in kept], self.activation, self.dtype.name)
        for layer, (W_small, b_small) in enumerate(zip(small.weights, small.biases, strict=True)):
            W_small[...] = W[layer][np.ix_(kept[layer], kept[layer + 1])]
            b_small[...] = b[layer][kept[layer + 1]]
        return small, kept[0]

    def save(self, path: str | PathLike[str]) -> None:
        """Write architecture and parameters to an NPZ file at just this path."""
        write_arrays(
            path, FILE, VERSION, sizes=self.sizes, activation=self.activation, params=self.params
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> MLP:
        """The network in a file that `save` wrote; a `ValueError` if it is another or damaged."""
        with reading(path, "a network saved by MLP.save"):
            saved = read_arrays(path, FILE, ("sizes", "activation", "params"), VERSION)
            net, params = cls.__new__(cls), saved["params"]
            params = validate.check_array("params", params, params.dtype)
            net._lay_out(saved["sizes"].tolist(), saved["activation"].item(), params.dtype.name)
            validate.check_shape("params", params, "shape", (net.n_params,))
            net._params = params.astype(net.dtype, copy=False)
        return net
