"""The operations of a network: each a forward and its backward, as pure functions.

A backward pass is the transposed Jacobian of its forward, applied to `dout` = ∂L/∂out. Applied
layer by layer, from the last to the first, this is back-propagation (Goodfellow, Bengio and
Courville, Deep Learning, 2016, section 6.5). Neither changes its arguments, or checks them. Shapes:
x (N, n_in), W (n_in, n_out), b (n_out,), z and a (N, n_out).

- An activation f acts on each number, so its Jacobian is diagonal: dz = da ⊙ f'(z). Its backward
  takes a = f(z) as well, from which tanh' and σ' are cheaper, with an absolute error of ε. All
  else errs by a few roundings of z and of the result, in the tails too.
- Branches (and NumPy's min and max) go by the real part and nothing drops the imaginary part, so
  that f(z + 1e-30j) has f'(z) as its imaginary part over 1e-30 (the complex step; Squire and Trapp,
  SIAM Review 40, 1998). At a kink it is the one from the left, as it is to the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike
from scipy import special

from tinyreg.validate import Array

Pair: TypeAlias = tuple[Array | None, Array | None]
NEW: Pair = (None, None)


def affine_forward(x: Array, W: Array, b: Array) -> Array:
    """z = x W + b."""
    return x @ W + b


def affine_backward(
    dz: Array, x: Array, W: Array, b: Array | None = None, *, with_dx: bool = True, out: Pair = NEW
) -> tuple[Array | None, Array, Array]:
    """(dx, dW, db) of z = x W + b, with dW and db in `out` if given, and dx None if not wanted.

    In coordinates z_nj = Σ_i x_ni W_ij + b_j, so by the chain rule

        dW_ij = Σ_n dz_nj ∂z_nj/∂W_ij = Σ_n x_ni dz_nj      dW = xᵀ dz
        db_j  = Σ_n dz_nj                                   db = the column sums of dz
        dx_ni = Σ_j dz_nj ∂z_nj/∂x_ni = Σ_j dz_nj W_ij      dx = dz Wᵀ

    >>> x, W, b = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([0.5])
    >>> affine_forward(x, W, b), *(g.tolist() for g in affine_backward(np.array([[10.0]]), x, W))
    (array([[11.5]]), [[30.0, 40.0]], [[10.0], [20.0]], [10.0])
    """
    dx = dz @ W.T if with_dx else None
    dW = np.matmul(x.T, dz, out=out[0]) if isinstance(x, np.ndarray) else x.T @ dz
    if out[0] is not None and dW is not out[0]:  # x is sparse
        out[0][...] = dW
    return dx, dW, np.add.reduce(dz, axis=0, out=out[1])


def relu_forward(z: Array) -> Array:
    """f(z) = max(z, 0) (Nair and Hinton 2010)."""
    # At z.real = 0 NumPy's maximum goes by the imaginary part: right for a smooth f only.
    return z * (z.real > 0) if np.iscomplexobj(z) else np.maximum(z, 0)


def relu_backward(da: Array, z: Array, a: Array | None = None) -> Array:
    """f'(z) = 1 where z > 0, else 0; at the kink z = 0 the choice is 0."""
    return da * (z.real > 0)


def leaky_relu_forward(z: Array) -> Array:
    """f(z) = z where z > 0, else 0.01 z (Maas, Hannun and Ng 2013)."""
    return np.where(z.real > 0, z, 0.01 * z)


def leaky_relu_backward(da: Array, z: Array, a: Array | None = None) -> Array:
    """f'(z) = 1 where z > 0, else 0.01; at the kink z = 0 the choice is 0.01."""
    return np.where(z.real > 0, da, 0.01 * da)


def tanh_forward(z: Array) -> Array:
    """f(z) = tanh z."""
    return np.tanh(z)


def tanh_backward(da: Array, z: Array, a: Array | None = None) -> Array:
    """f'(z) = (cosh² z − sinh² z)/cosh² z = 1 − a², with a = tanh z."""
    a = np.tanh(z) if a is None else a
    return da * (1 - a * a)


def sigmoid_forward(z: Array) -> Array:
    """σ(z) = 1/(1 + exp(−z)) = exp(min(z, 0))/(1 + exp(−|z|)), the form that cannot overflow."""
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(np.minimum(z, -z)))


def sigmoid_backward(da: Array, z: Array, a: Array | None = None) -> Array:
    """σ'(z) = exp(−z)/(1 + exp(−z))² = a (1 − a), with a = σ(z)."""
    a = sigmoid_forward(z) if a is None else a
    return da * (a * (1 - a))


def softplus_forward(z: Array) -> Array:
    """f(z) = log(1 + exp z) = max(z, 0) + log(1 + exp(−|z|)), the form that cannot overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(np.minimum(z, -z)))


def softplus_backward(da: Array, z: Array, a: Array | None = None) -> Array:
    """f'(z) = exp z/(1 + exp z) = σ(z)."""
    return da * sigmoid_forward(z)


def gelu_forward(z: Array) -> Array:
    """f(z) = z Φ(z), Φ the normal distribution function (Hendrycks and Gimpel 2016): exact."""
    return z * special.ndtr(z)


def gelu_backward(da: Array, z: Array, a: Array | None = None) -> Array:
    """f'(z) = Φ(z) + z φ(z), by the product rule, with φ(z) = Φ'(z) = exp(−z²/2)/√(2π)."""
    density = np.exp(-0.5 * z * z) / (2 * np.pi) ** 0.5
    return da * (special.ndtr(z) + z * density)


def silu_forward(z: Array) -> Array:
    """f(z) = z σ(z) (Elfwing, Uchibe and Doya 2018), also called swish."""
    return z * sigmoid_forward(z)


def silu_backward(da: Array, z: Array, a: Array | None = None) -> Array:
    """f'(z) = σ + z σ', by the product rule, with σ' = σ(z) σ(−z) = e/(1 + e)², e = exp(−|z|)."""
    e = np.exp(np.minimum(z, -z))
    return da * (np.exp(np.minimum(z, 0)) + z * e / (1 + e)) / (1 + e)


def dropout_mask(
    shape: tuple[int, ...], rate: float, rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> Array:
    """0 with probability `rate`, else 1/(1 − rate): E[mask] = 1 (Srivastava et al. 2014)."""
    keep = rng.random(shape) >= rate
    return (keep / (1.0 - rate)).astype(dtype, copy=False)


def dropout_forward(a: Array, mask: Array) -> Array:
    """a ⊙ mask: with the mask given, a linear map like any other."""
    return a * mask


def dropout_backward(dout: Array, a: Array, mask: Array) -> Array:
    """da = dout ⊙ mask."""
    return dout * mask


class Activation(NamedTuple):
    """a = f(z), and dz from (da, z, a)."""

    forward: Callable[[Array], Array]
    backward: Callable[..., Array]


ACTIVATIONS = {
    "relu": Activation(relu_forward, relu_backward),
    "leaky_relu": Activation(leaky_relu_forward, leaky_relu_backward),
    "tanh": Activation(tanh_forward, tanh_backward),
    "sigmoid": Activation(sigmoid_forward, sigmoid_backward),
    "softplus": Activation(softplus_forward, softplus_backward),
    "gelu": Activation(gelu_forward, gelu_backward),
    "silu": Activation(silu_forward, silu_backward),
    "identity": Activation(np.positive, lambda da, z, a=None: +da),
}
