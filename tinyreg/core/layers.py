"""The operations of a network: each a pair of pure functions, a forward and its backward.

A backward pass answers one question: if the loss changes by `dout` for each unit of change of
the output, by how much does it change for each unit of change of every input? It is the
transposed Jacobian of the forward, applied to `dout`, written out by hand. Applied layer by
layer, from the last to the first, this is reverse-mode differentiation, or back-propagation
(Griewank and Walther, Evaluating Derivatives, 2008, chapter 3; Goodfellow, Bengio and Courville,
Deep Learning, 2016, section 6.5).

Conventions, for every pair below:

- forward(inputs) -> out, backward(dout, inputs) -> gradients. Neither changes what it is given.
- Arguments are trusted; `MLP` and `Objective` check them.
- Branches look at the real part, and nothing drops the imaginary part: a forward pass on
  z + 1e-30j gives f'(z) as its imaginary part over 1e-30 (the complex step; Squire and Trapp,
  SIAM Review 40, 1998), and the branch taken is the one that the backward pass takes.
- At a kink the derivative is the one from the left: relu'(0) = 0.

Elementwise
-----------
An activation acts on each number alone, so its Jacobian is diagonal and its backward a product:
f_forward(z, out) -> a = f(z), and f_backward(da, z, a, out) -> dz = da ⊙ f'(z). So does dropout:
a ⊙ mask, and da = dout ⊙ mask. All are arrays of one shape, any at all.

z : array
    The pre-activations; complex in a complex step.
da, dout : array
    ∂L/∂a and ∂L/∂(a ⊙ mask), the gradients at the outputs.
a : array
    f(z). An activation's backward does without, but tanh' and sigmoid' are cheaper from it; that
    of dropout takes it so that the pair fits together.
mask : array
    From `dropout_mask`.
out : array, optional
    Where to write the result, as in NumPy; it may be z or a in a forward, da or dout in a backward.

>>> z, da = np.array([-1.0, 0.0, 2.0]), np.array([10.0, 20.0, 30.0])
>>> (silu_forward(z + 1e-30j).imag / 1e-30 * da).round(6)  # from forward code alone
array([ 0.723295, 10.      , 32.723527])
>>> silu_backward(da, z).round(6)
array([ 0.723295, 10.      , 32.723527])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from scipy import special

from tinyreg.validate import Array

LEAKY_SLOPE = 0.01


def affine_forward(x: Array, W: Array, b: Array, out: Array | None = None) -> Array:
    """z = x W + b: every output is a weighted sum of the inputs, plus a bias.

    Parameters
    ----------
    x : (N, n_in) array
    W : (n_in, n_out) array
    b : (n_out,) array
    out : (N, n_out) array, optional
        Where to write z; a new array if left out.

    Returns
    -------
    z : (N, n_out) array

    Examples
    --------
    >>> affine_forward(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5]))
    array([[11.5]])
    """
    z = np.matmul(x, W, out=out)
    return np.add(z, b, out=out)


def affine_backward(
    dz: Array,
    x: Array,
    W: Array,
    b: Array | None = None,
    *,
    out: tuple[Array | None, Array | None, Array | None] = (None, None, None),
    with_dx: bool = True,
) -> tuple[Array | None, Array, Array]:
    """The gradients of z = x W + b.

    In coordinates z_nj = Σ_i x_ni W_ij + b_j, so by the chain rule

        dW_ij = Σ_n dz_nj ∂z_nj/∂W_ij = Σ_n x_ni dz_nj      dW = xᵀ dz
        db_j  = Σ_n dz_nj                                   db = the column sums of dz
        dx_ni = Σ_j dz_nj ∂z_nj/∂x_ni = Σ_j dz_nj W_ij      dx = dz Wᵀ

    Shapes leave no other choice: dW must be (n_in, n_out), from (N, n_in) and (N, n_out).

    Parameters
    ----------
    dz : (N, n_out) array
        ∂L/∂z.
    x, W, b : arrays
        The forward's inputs. No gradient depends on b: it is taken so that the pair fits together.
    out : (dx, dW, db), optional
        Arrays to write to; a new one for each None.
    with_dx : bool
        False skips dx (the first layer has no use for it) and returns None in its place.

    Returns
    -------
    dx : (N, n_in) array or None
    dW : (n_in, n_out) array
    db : (n_out,) array

    Examples
    --------
    >>> x, W = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])
    >>> dx, dW, db = affine_backward(np.array([[10.0]]), x, W)  # each unit of z costs 10
    >>> dx.tolist(), dW.tolist(), db.tolist()
    ([[30.0, 40.0]], [[10.0], [20.0]], [10.0])
    """
    dx_out, dW_out, db_out = out
    dx = np.matmul(dz, W.T, out=dx_out) if with_dx else None
    dW = np.matmul(x.T, dz, out=dW_out)
    db = np.add.reduce(dz, axis=0, out=db_out)
    return dx, dW, db


def identity_forward(z: Array, out: Array | None = None) -> Array:
    """f(z) = z."""
    return np.positive(z, out=out)


def identity_backward(
    da: Array, z: Array, a: Array | None = None, out: Array | None = None
) -> Array:
    """f'(z) = 1.

    >>> z = np.array([-1.0, 2.0])
    >>> identity_forward(z), identity_backward(np.array([3.0, 4.0]), z)
    (array([-1.,  2.]), array([3., 4.]))
    """
    return np.positive(da, out=out)


def relu_forward(z: Array, out: Array | None = None) -> Array:
    """f(z) = max(z, 0) (Nair and Hinton 2010)."""
    if np.iscomplexobj(z):  # NumPy's maximum orders complex numbers by both parts
        return np.multiply(z, z.real > 0, out=out)
    return np.maximum(z, 0, out=out)


def relu_backward(da: Array, z: Array, a: Array | None = None, out: Array | None = None) -> Array:
    """f'(z) = 1 where z > 0, else 0; at the kink z = 0 the choice is 0.

    >>> z = np.array([-1.0, 0.0, 2.0])
    >>> relu_forward(z), relu_backward(np.ones(3), z)
    (array([0., 0., 2.]), array([0., 0., 1.]))
    """
    return np.multiply(da, z.real > 0, out=out)


def _leaky_slope(z: Array) -> Array:
    return np.where(z.real > 0, 1.0, LEAKY_SLOPE).astype(z.real.dtype, copy=False)


def leaky_relu_forward(z: Array, out: Array | None = None) -> Array:
    """f(z) = z where z > 0, else 0.01 z (Maas, Hannun and Ng 2013): no unit is ever quite off."""
    return np.multiply(z, _leaky_slope(z), out=out)


def leaky_relu_backward(
    da: Array, z: Array, a: Array | None = None, out: Array | None = None
) -> Array:
    """f'(z) = 1 where z > 0, else 0.01; at the kink z = 0 the choice is 0.01.

    >>> z = np.array([-100.0, 0.0, 2.0])
    >>> leaky_relu_forward(z), leaky_relu_backward(np.ones(3), z)
    (array([-1.,  0.,  2.]), array([0.01, 0.01, 1.  ]))
    """
    return np.multiply(da, _leaky_slope(z), out=out)


def tanh_forward(z: Array, out: Array | None = None) -> Array:
    """f(z) = tanh z."""
    return np.tanh(z, out=out)


def tanh_backward(da: Array, z: Array, a: Array | None = None, out: Array | None = None) -> Array:
    """f'(z) = 1 − a², with a = tanh z.

    tanh = sinh/cosh, so tanh' = (cosh² − sinh²)/cosh² = 1 − tanh².

    >>> z = np.log([1.0, 2.0])  # tanh log 2 = (2 − ½)/(2 + ½)
    >>> tanh_forward(z).round(12), tanh_backward(np.ones(2), z).round(12)
    (array([0. , 0.6]), array([1.  , 0.64]))
    """
    a = np.tanh(z) if a is None else a
    return np.multiply(da, 1 - a * a, out=out)


def _exp_minus_abs(z: Array) -> Array:
    """exp(−|z|), which cannot overflow; |z| by the sign of the real part."""
    return np.exp(np.where(z.real > 0, -z, z))


def sigmoid_forward(z: Array, out: Array | None = None) -> Array:
    """σ(z) = 1/(1 + exp(−z)).

    Computed as 1/(1 + e) for z > 0 and e/(1 + e) otherwise, with e = exp(−|z|): no overflow, and
    full relative precision in both tails.
    """
    e = _exp_minus_abs(z)
    return np.divide(np.where(z.real > 0, 1, e), 1 + e, out=out)


def sigmoid_backward(
    da: Array, z: Array, a: Array | None = None, out: Array | None = None
) -> Array:
    """σ'(z) = a (1 − a), with a = σ(z).

    σ' = exp(−z)/(1 + exp(−z))² = σ(z) · exp(−z)/(1 + exp(−z)), and the last factor is 1 − σ(z).

    >>> z = np.log([1.0, 3.0])  # σ(log 3) = 3/(3 + 1)
    >>> sigmoid_forward(z).round(12), sigmoid_backward(np.ones(2), z).round(12)
    (array([0.5 , 0.75]), array([0.25  , 0.1875]))
    """
    a = sigmoid_forward(z) if a is None else a
    return np.multiply(da, a * (1 - a), out=out)


def softplus_forward(z: Array, out: Array | None = None) -> Array:
    """f(z) = log(1 + exp z) = max(z, 0) + log(1 + exp(−|z|)), the form that cannot overflow."""
    return np.add(relu_forward(z), np.log1p(_exp_minus_abs(z)), out=out)


def softplus_backward(
    da: Array, z: Array, a: Array | None = None, out: Array | None = None
) -> Array:
    """f'(z) = exp z/(1 + exp z) = σ(z).

    >>> z = np.log([1.0, 3.0])  # exp f(z) = 1 + exp z
    >>> np.exp(softplus_forward(z)).round(12), softplus_backward(np.ones(2), z).round(12)
    (array([2., 4.]), array([0.5 , 0.75]))
    """
    return np.multiply(da, sigmoid_forward(z), out=out)


def gelu_forward(z: Array, out: Array | None = None) -> Array:
    """f(z) = z Φ(z), with Φ(z) = (1 + erf(z/√2))/2 the normal distribution function.

    The exact form of Hendrycks and Gimpel (Gaussian Error Linear Units, 2016, section 2), not
    its tanh approximation.
    """
    return np.multiply(z, special.ndtr(z), out=out)


def gelu_backward(da: Array, z: Array, a: Array | None = None, out: Array | None = None) -> Array:
    """f'(z) = Φ(z) + z φ(z), by the product rule, with φ(z) = Φ'(z) = exp(−z²/2)/√(2π).

    As Φ(z) + Φ(−z) = 1 and φ is even, f'(z) + f'(−z) = 1.

    >>> z = np.array([-2.0, 0.0, 2.0])
    >>> gelu_forward(z).round(4), gelu_backward(np.ones(3), z).round(4)
    (array([-0.0455,  0.    ,  1.9545]), array([-0.0852,  0.5   ,  1.0852]))
    """
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi).astype(z.real.dtype)
    return np.multiply(da, special.ndtr(z) + z * density, out=out)


def silu_forward(z: Array, out: Array | None = None) -> Array:
    """f(z) = z σ(z) (Elfwing, Uchibe and Doya 2018), also called swish."""
    return np.multiply(z, sigmoid_forward(z), out=out)


def silu_backward(da: Array, z: Array, a: Array | None = None, out: Array | None = None) -> Array:
    """f'(z) = σ(z) + z σ(z) (1 − σ(z)), by the product rule and σ' = σ (1 − σ).

    >>> z = np.array([-2.0, 0.0, 2.0])
    >>> silu_forward(z).round(4), silu_backward(np.ones(3), z).round(4)
    (array([-0.2384,  0.    ,  1.7616]), array([-0.0908,  0.5   ,  1.0908]))
    """
    s = sigmoid_forward(z)
    return np.multiply(da, s + z * s * (1 - s), out=out)


def dropout_mask(
    shape: tuple[int, ...], rate: float, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    """Draw which units stay: 0 with probability `rate`, else 1/(1 − rate).

    The division keeps the mean: E[mask] = 1, so nothing has to be rescaled when the trained
    network is used without dropout (Srivastava et al., JMLR 15, 2014, in its inverted form).

    Parameters
    ----------
    shape : tuple of int
    rate : float
        0 ≤ rate < 1.
    rng : numpy.random.Generator
    dtype : "float64" or "float32", or NumPy's own

    Returns
    -------
    mask : array of `shape` and `dtype`

    Examples
    --------
    >>> dropout_mask((8,), 0.5, np.random.default_rng(0))
    array([2., 0., 0., 0., 2., 2., 2., 2.])
    """
    keep = rng.random(shape) >= rate
    return (keep / (1.0 - rate)).astype(dtype, copy=False)


def dropout_forward(a: Array, mask: Array, out: Array | None = None) -> Array:
    """a ⊙ mask: with the mask given, a linear map like any other."""
    return np.multiply(a, mask, out=out)


def dropout_backward(dout: Array, a: Array, mask: Array, out: Array | None = None) -> Array:
    """da = dout ⊙ mask: what was dropped has no influence, and what stayed has 1/(1 − rate).

    >>> a, mask = np.array([[5.0, 7.0]]), np.array([[0.0, 2.0]])  # the first is dropped
    >>> dropout_forward(a, mask), dropout_backward(np.ones((1, 2)), a, mask)
    (array([[ 0., 14.]]), array([[0., 2.]]))
    """
    return np.multiply(dout, mask, out=out)


class Activation(NamedTuple):
    """A forward and its backward, as `ACTIVATIONS` holds them by name.

    Attributes
    ----------
    forward : function of (z, out)
    backward : function of (da, z, a, out)

    Examples
    --------
    >>> relu = Activation(relu_forward, relu_backward)
    >>> relu == ACTIVATIONS["relu"], relu.forward(np.array([-1.0, 1.0]))
    (True, array([0., 1.]))
    """

    forward: Callable[..., Array]
    backward: Callable[..., Array]


ACTIVATIONS = {
    "relu": Activation(relu_forward, relu_backward),
    "leaky_relu": Activation(leaky_relu_forward, leaky_relu_backward),
    "tanh": Activation(tanh_forward, tanh_backward),
    "sigmoid": Activation(sigmoid_forward, sigmoid_backward),
    "softplus": Activation(softplus_forward, softplus_backward),
    "gelu": Activation(gelu_forward, gelu_backward),
    "silu": Activation(silu_forward, silu_backward),
    "identity": Activation(identity_forward, identity_backward),
}
