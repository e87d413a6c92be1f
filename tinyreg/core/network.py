"""The multilayer perceptron: affine maps with an activation between them, forward and backward.

    a_0 = X,    z_l = a_{l−1} W_l + b_l,    a_l = f(z_l) for l < L,    outputs = z_L

All parameters are one flat vector, all weights first, then all biases, and `weights` and
`biases` are views into it. So a penalty of the weights is a penalty of `params[:n_weights]`, an
optimizer is a few operations on one array, and a gradient has the layout of what it belongs to.

The backward pass is back-propagation as in Goodfellow, Bengio and Courville, Deep Learning (2016),
section 6.5; it is put together in `backward_pass` from the pairs in `tinyreg.core.layers`.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.layers import (
    ACTIVATIONS,
    affine_backward,
    affine_forward,
    dropout_backward,
    dropout_forward,
)
from tinyreg.validate import (
    Array,
    check_array,
    check_choice,
    check_features,
    check_integer,
    check_list,
    describe,
)

FILE_FORMAT = "tinyreg MLP"
FILE_VERSION = 1
RELU_FAMILY = ("relu", "leaky_relu", "softplus", "gelu", "silu")


class Trace(NamedTuple):
    """Everything that a forward pass computed, kept for the backward pass and for the reader.

    Attributes
    ----------
    pre_activations : list of (N, n_l) arrays
        z_1 … z_L.
    activations : list of (N, n_l) arrays
        a_0 = X, a_1 … a_{L−1}, and last the outputs, which are z_L itself.
    masks : list of (N, n_l) arrays, or None
        The dropout masks of the hidden layers, where there were any.

    Examples
    --------
    >>> trace = MLP((2, 3, 1)).trace(np.ones((5, 2)))
    >>> [a.shape for a in trace.activations], trace.outputs is trace.pre_activations[-1]
    ([(5, 2), (5, 3), (5, 1)], True)
    >>> [z.shape for z in trace.rows(2).pre_activations]
    [(2, 3), (2, 1)]
    """

    pre_activations: list[Array]
    activations: list[Array]
    masks: list[Array] | None = None

    @property
    def outputs(self) -> Array:
        """(N, n_out), the network's outputs."""
        return self.activations[-1]

    def rows(self, n: int) -> Trace:
        """Views of the first n samples.

        Parameters
        ----------
        n : int
        """
        return Trace(
            [z[:n] for z in self.pre_activations],
            [a[:n] for a in self.activations],
            None if self.masks is None else [mask[:n] for mask in self.masks],
        )


def forward_pass(
    X: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    activation: str,
    masks: list[Array] | None = None,
    out: Trace | None = None,
) -> Trace:
    """Run the network and keep every layer. Arguments are trusted; `MLP.trace` checks them."""
    activate = ACTIVATIONS[activation].forward
    last = len(weights) - 1
    pre_activations: list[Array] = []
    activations = [X]
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        x = activations[layer]
        if masks is not None and layer > 0:
            x = dropout_forward(x, masks[layer - 1])
        z = affine_forward(x, W, b, out=out and out.pre_activations[layer])
        pre_activations.append(z)
        activations.append(
            z if layer == last else activate(z, out=out and out.activations[layer + 1])
        )
    return Trace(pre_activations, activations, masks)


def outputs(X: Array, weights: Sequence[Array], biases: Sequence[Array], activation: str) -> Array:
    """Run the network and keep the outputs only: each activation overwrites its pre-activation."""
    activate = ACTIVATIONS[activation].forward
    x = affine_forward(X, weights[0], biases[0])
    for W, b in zip(weights[1:], biases[1:], strict=True):
        x = affine_forward(activate(x, out=x), W, b)
    return x


def backward_pass(
    trace: Trace,
    dout: Array,
    weights: Sequence[Array],
    activation: str,
    dweights: Sequence[Array],
    dbiases: Sequence[Array],
    scratch: Sequence[Array] | None = None,
) -> None:
    """The chain rule, from the last layer to the first; `dweights` and `dbiases` are filled in.

    dz_L = ∂L/∂outputs. Each layer turns its dz_l into dW_l, db_l and the gradient of its input,
    which the activation's backward turns into dz_{l−1}. `scratch` holds one (N, n_l) array for
    each hidden layer; the trace and `dout` are left as they are.
    """
    backward = ACTIVATIONS[activation].backward
    dz = dout
    for layer in range(len(weights) - 1, -1, -1):
        x = a = trace.activations[layer]
        mask = trace.masks[layer - 1] if trace.masks is not None and layer > 0 else None
        if mask is not None:
            x = dropout_forward(a, mask)
        dx, _, _ = affine_backward(
            dz,
            x,
            weights[layer],
            out=(
                scratch[layer - 1] if scratch is not None and layer > 0 else None,
                dweights[layer],
                dbiases[layer],
            ),
            with_dx=layer > 0,
        )
        if dx is None:
            return
        if mask is not None:
            dx = dropout_backward(dx, a, mask, out=dx)
        dz = backward(dx, trace.pre_activations[layer - 1], a, out=dx)


class MLP:
    """A multilayer perceptron with hand-written gradients.

    Parameters
    ----------
    sizes : sequence of int
        The number of inputs, of units in each hidden layer (none at all is fine), and of outputs.
    activation : str
        Of the hidden layers: relu, leaky_relu, tanh, sigmoid, softplus, gelu, silu or identity.
        The outputs are affine.
    dtype : "float64" or "float32"
    seed : int or numpy.random.Generator
        Weights start normal with mean 0 and variance 2/n_in for the relu family (relu,
        leaky_relu, softplus, gelu, silu), so that the signal keeps its size on its way forward
        (He et al. 2015, section 2.2); else 2/(n_in + n_out), a compromise between the ways
        forward and back (Glorot and Bengio 2010, section 4.2). Biases start at 0. Drawn in
        float64, so that both dtypes start from the same numbers.

    Attributes
    ----------
    params : (n_params,) array
        All weights, then all biases.
    weights, biases : list of (n_in, n_out) and of (n_out,) arrays
        Views into `params`, made anew each time.
    n_weights, n_params : int

    Raises
    ------
    ValueError, TypeError
        By this and by the methods that take X, params or a path, if one is not as it should be.

    Notes
    -----
    What the methods take, where it is not said there:

    params, vector : (n_params,) array
        The former in place of the network's own; both may be complex.
    name : str
        What an error calls it.
    path : str or path

    Examples
    --------
    >>> net = MLP((2, 3, 1), seed=0)
    >>> net.n_weights, net.n_params
    (9, 13)
    >>> net.weights[0][0, 0] = 5.0
    >>> net.params[0].item(), [b.shape for b in net.biases]
    (5.0, [(3,), (1,)])
    >>> other = net.copy()
    >>> other.params = [1, -1, 0, 1, -1, 0, 2, 3, 0, 0, 0, 0, 0.5]
    >>> other.forward([[1.0, 4.0]])  # 2·relu(5) + 3·relu(−5) + ½
    array([[10.5]])
    >>> net.params[0].item()
    5.0
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        dtype: str = "float64",
        seed: int | np.random.Generator = 0,
    ) -> None:
        sizes = check_list("sizes", sizes)
        if len(sizes) < 2:
            raise ValueError(f"sizes must have at least inputs and outputs, got {tuple(sizes)}")
        self.sizes = tuple(check_integer(f"sizes[{i}]", n, least=1) for i, n in enumerate(sizes))
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        name = getattr(dtype, "__name__", str(dtype))  # np.float32 and np.dtype("float32") as well
        self.dtype = np.dtype(check_choice("dtype", name, ("float64", "float32")))
        if not isinstance(seed, np.random.Generator):
            seed = np.random.default_rng(check_integer("seed", seed, least=0))

        self._shapes = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        self.n_weights = sum(n_in * n_out for n_in, n_out in self._shapes)
        self.n_params = self.n_weights + sum(self.sizes[1:])
        self._params = np.zeros(self.n_params, self.dtype)
        for W in self.weights:
            n_in, n_out = W.shape
            variance = 2 / n_in if self.activation in RELU_FAMILY else 2 / (n_in + n_out)
            W[...] = seed.normal(0.0, np.sqrt(variance), W.shape)

    def __repr__(self) -> str:
        return f"MLP({self.sizes}, activation={self.activation!r}, dtype={self.dtype.name!r})"

    @property
    def params(self) -> Array:
        """The (n_params,) vector itself: writing into it changes the network."""
        return self._params

    @params.setter
    def params(self, values: ArrayLike) -> None:
        array = check_array("params", values, self.dtype)
        self._params[...] = self.check_params(array)

    @property
    def weights(self) -> list[Array]:
        """W_1 … W_L, views into `params`."""
        return self.unpack(self._params)[0]

    @property
    def biases(self) -> list[Array]:
        """b_1 … b_L, views into `params`."""
        return self.unpack(self._params)[1]

    def unpack(self, vector: Array) -> tuple[list[Array], list[Array]]:
        """The weights and biases in a vector of parameters (or in a gradient), as views.

        >>> weights, biases = MLP((2, 1)).unpack(np.array([1.0, 2.0, 3.0]))
        >>> weights[0].tolist(), biases[0].tolist()
        ([[1.0], [2.0]], [3.0])
        """
        weights, biases = [], []
        start, bias_start = 0, self.n_weights
        for n_in, n_out in self._shapes:
            weights.append(vector[start : start + n_in * n_out].reshape(n_in, n_out))
            biases.append(vector[bias_start : bias_start + n_out])
            start += n_in * n_out
            bias_start += n_out
        return weights, biases

    def check_params(self, params: ArrayLike | None, name: str = "params") -> Array:
        """`params` as a vector of this network's length, or the network's own if None.

        >>> MLP((2, 1)).check_params([1.0, 2.0])
        Traceback (most recent call last):
        ValueError: params must have shape (3,), got (2,)
        """
        if params is None:
            return self._params
        array = np.asarray(params)
        if array.dtype.kind not in "fciu":
            raise TypeError(f"{name} must be numbers, got {describe(array)}")
        if array.shape != (self.n_params,):
            raise ValueError(f"{name} must have shape ({self.n_params},), got {array.shape}")
        return array if array.dtype.kind in "fc" else array.astype(self.dtype)

    def forward(self, X: ArrayLike) -> Array:
        """The outputs (logits) for each row of X, (N, n_out), in a fresh array.

        Parameters
        ----------
        X : (N, n_in) array of finite numbers
        """
        X = check_features(X, self.sizes[0], self.dtype)
        return outputs(X, self.weights, self.biases, self.activation)

    def trace(
        self, X: ArrayLike, params: ArrayLike | None = None, masks: list[Array] | None = None
    ) -> Trace:
        """The pre-activations and activations of every layer, in fresh arrays (after X itself).

        Parameters
        ----------
        X : (N, n_in) array of finite numbers
        params : (n_params,) array, optional
        masks : list of (N, n_l) arrays, optional
            Dropout masks, one for each hidden layer.

        Examples
        --------
        >>> net = MLP((1, 1, 1), activation="tanh")
        >>> net.params = [2.0, 3.0, 0.0, 1.0]
        >>> trace = net.trace([[0.0]])
        >>> [z.item() for z in trace.pre_activations]
        [0.0, 1.0]
        """
        X = check_features(X, self.sizes[0], self.dtype)
        weights, biases = self.unpack(self.check_params(params))
        if masks is not None:
            got = [np.shape(mask) for mask in masks]
            wanted = [(len(X), n) for n in self.sizes[1:-1]]
            if got != wanted:
                raise ValueError(f"masks must have the shapes {wanted}, got {got}")
        return forward_pass(X, weights, biases, self.activation, masks)

    def backward(self, trace: Trace, dout: Array, params: ArrayLike | None = None) -> Array:
        """The gradient with respect to the parameters, (n_params,).

        Parameters
        ----------
        trace : Trace
            From `trace`, with the same params.
        dout : (N, n_out) array
            The gradient with respect to the outputs.
        params : (n_params,) array, optional

        Examples
        --------
        >>> net = MLP((1, 1))
        >>> net.backward(net.trace([[3.0]]), np.array([[2.0]]))  # dW = xᵀ dz, db = dz
        array([6., 2.])
        """
        vector = self.check_params(params)
        if np.shape(dout) != trace.outputs.shape:
            raise ValueError(
                f"dout must have the outputs' shape {trace.outputs.shape}, got {np.shape(dout)}"
            )
        weights, _ = self.unpack(vector)
        gradient = np.empty(self.n_params, np.result_type(vector, trace.outputs, dout))
        backward_pass(trace, dout, weights, self.activation, *self.unpack(gradient))
        return gradient

    def copy(self) -> MLP:
        """A network of its own with the same parameters."""
        net = copy.copy(self)
        net._params = self._params.copy()
        return net

    def compact(self) -> tuple[MLP, Array]:
        """A smaller network with the same outputs, without dead hidden units and dead inputs.

        A unit is dead if nothing goes in or nothing comes out of it:

        - without a nonzero incoming weight it always says f(b), so that f(b) times its outgoing
          weights belongs into the biases of the next layer. One pass from the first layer to the
          last finds all of these, as a unit that is taken out may leave the next without inputs;
        - without a nonzero outgoing weight nobody listens. One pass from the last layer to the
          first finds all of these, as a unit that is taken out may have been the only listener.
          It leaves no unit without inputs that had some, so that two passes are enough.

        A layer needs one unit at least: where all are dead, the first is kept (with weights 0).

        Returns
        -------
        small : MLP
            With the activation and dtype of this one, which is left as it is.
        inputs : (small.sizes[0],) array of int
            The columns of X that `small` takes: small.forward(X[:, inputs]) equals
            self.forward(X) to rounding.

        Examples
        --------
        >>> net = MLP((3, 2, 1))
        >>> net.params = np.ones(net.n_params)
        >>> net.weights[0][:, 0] = 0  # the first unit sees nothing, and says relu(1)
        >>> net.weights[0][1] = 0  # the second input is not used
        >>> small, inputs = net.compact()
        >>> small, inputs.tolist(), small.biases[1].item()
        (MLP((2, 1, 1), activation='relu', dtype='float64'), [0, 2], 2.0)
        """
        net = self.copy()
        W, b = net.weights, net.biases
        activate = ACTIVATIONS[self.activation].forward
        for layer in range(1, len(W)):
            constant = ~W[layer - 1].any(axis=0)
            b[layer] += activate(b[layer - 1][constant]) @ W[layer][constant]
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
        """Write architecture and parameters to an NPZ file at just this path.

        Plain arrays and no pickle, so that a file from a stranger is safe to load.

        >>> from tempfile import TemporaryDirectory
        >>> net = MLP((2, 3, 1), activation="gelu", seed=1)
        >>> with TemporaryDirectory() as folder:
        ...     net.save(f"{folder}/net.npz")
        ...     loaded = MLP.load(f"{folder}/net.npz")
        >>> loaded, np.array_equal(loaded.params, net.params)
        (MLP((2, 3, 1), activation='gelu', dtype='float64'), True)
        """
        with open(path, "wb") as file:
            np.savez(
                file,
                format=FILE_FORMAT,
                version=FILE_VERSION,
                sizes=np.array(self.sizes),
                activation=self.activation,
                params=self.params,
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> MLP:
        """The network in a file that `save` wrote.

        Raises
        ------
        ValueError
            If the file is damaged, was not written by `save`, or is of a newer version.
        FileNotFoundError
        """
        wrong = f"path must be a network saved by MLP.save, got {str(path)!r}"
        with open(path, "rb") as stream:
            file = io.BytesIO(stream.read())
        try:
            with np.load(file, allow_pickle=False) as content:
                saved = {key: content[key] for key in content.files}
            file_format, version = saved["format"].item(), saved["version"].item()
            if file_format != FILE_FORMAT:
                raise ValueError(f"its format is {file_format!r}")
            if version != FILE_VERSION:
                raise ValueError(f"its version is {version!r}, this tinyreg reads {FILE_VERSION}")
            params = check_array("params", saved["params"], saved["params"].dtype)
            net = cls(saved["sizes"].tolist(), saved["activation"].item(), params.dtype.name)
            net.params = params
        except Exception as e:  # a broken archive can fail in any way; each means the same here
            reason = f"it has no {e}" if isinstance(e, KeyError) else e
            raise ValueError(f"{wrong}: {reason}") from e
        return net
