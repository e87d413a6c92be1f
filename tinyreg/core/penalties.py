"""The penalties R of F = L + R: value, subgradient, proximal operator, residual.

    penalty       R(w)                  subgradient            prox_{tR}(w)

    L2            λ Σ w²                2λw                    w/(1 + 2tλ)
    L1            λ Σ |w|               λ sign(w), 0 at 0      S_{tλ}(w) = w − clip(w, −tλ, tλ)
    ElasticNet    l1 Σ |w| + l2 Σ w²    l1 sign(w) + 2 l2 w    S_{t l1}(w)/(1 + 2t l2)

- subgradient: any slope s with R(v) ≥ R(w) + s·(v − w) for all v; ∂R(w) is the set of them. Where
  R is smooth it is the gradient; at the kink of |w| all of λ[−1, 1] are, and 0 is returned.
- prox_{tR}(w) = argmin_u R(u) + ‖u − w‖²/(2t), t > 0. There s = (w − u)/t ∈ ∂R(u): a subgradient
  step with the slope at the point of arrival (Parikh and Boyd, Proximal Algorithms, 2014, 6.5.2).
- residual: the distance of −g to ∂R(w). With g = ∇L(w) it is 0 just where w is stationary.

Why does a prox give exact zeros and a subgradient none? |w| pulls with slope λ wherever w ≠ 0. A
subgradient step moves w by tλ towards 0, or past it when less is left. The prox stops at 0.

>>> w, R, t = np.array([-0.25, -0.05, 0.0, 0.05, 0.25]), L1(1.0), 0.1
>>> w - t * R.subgradient(w)
array([-0.15,  0.05,  0.  , -0.05,  0.15])
>>> R.prox(w, t)
array([-0.15,  0.  ,  0.  ,  0.  ,  0.15])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from tinyreg.validate import Array, check_nonnegative, check_step, unknown_sum


class Penalty(Protocol):
    """What a penalty needs; one of each number alone may say `elementwise = True`.

    Notes
    -----
    w, step, g : a layer's W (or long vectors, if elementwise); t ≥ 0, one or an array; ∇L at w
    """

    @property
    def smooth(self) -> bool: ...  # differentiable everywhere, so that no prox is needed
    def value(self, w: Array) -> float: ...
    def subgradient(self, w: Array) -> Array: ...
    def prox(self, w: Array, step: float | Array) -> Array: ...
    def residual(self, w: Array, g: Array) -> Array: ...


def sign(w: Array) -> Array:
    """sign(w), 0 at 0; of the real part, so that a complex step can pass."""
    return np.sign(np.real(w))


def soft_threshold(w: Array, threshold: float | Array) -> Array:
    """S_τ(w): w moved towards 0 by τ, and no further; the prox of τ|w|.

    Minimise h(u) = τ|u| + (u − w)²/2. For u > 0, h' = τ + u − w vanishes at u = w − τ, which is
    > 0 just when w > τ. For u < 0 likewise u = w + τ, when w < −τ. Otherwise the minimum is at
    the kink: |w| ≤ τ. In one: w − clip(w, −τ, τ), which there is an exact +0.0; NaN stays NaN.
    """
    return w - np.minimum(np.maximum(w, -threshold), threshold)


class Elementwise:
    """A penalty of each number alone; R + Q is one too, where the prox of the sum is known."""

    elementwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_nonnegative(self)

    def __add__(self, other: object) -> L1 | L2 | ElasticNet:
        mine, others = l1_l2(self), None if other is None else l1_l2(other)
        if mine is not None and others is not None:
            l1, l2, kinds = mine[0] + others[0], mine[1] + others[1], {type(self), type(other)}
            return L1(l1) if kinds == {L1} else L2(l2) if kinds == {L2} else ElasticNet(l1, l2)
        if hasattr(other, "prox") and hasattr(other, "__radd__"):  # `GroupLasso` adds itself
            return NotImplemented
        raise unknown_sum(self, other)


@dataclass(frozen=True)
class L2(Elementwise):
    """R(w) = λ Σ w². The gradient is 2λw: mind the 2, which ½λΣw² does not have.

    Parameters
    ----------
    lam : float, λ ≥ 0

    Examples
    --------
    >>> R, w = L2(0.5), np.array([1.0, -2.0])
    >>> R.value(w), R.subgradient(w), R.prox(w, 1.0), R.residual(w, np.array([-1.0, 0.0]))
    (2.5, array([ 1., -2.]), array([ 0.5, -1. ]), array([0., 2.]))
    """

    lam: float
    smooth: ClassVar[bool] = True

    def value(self, w: Array) -> float:
        """λ Σ w²."""
        return (self.lam * np.sum(np.square(w))).item()

    def subgradient(self, w: Array) -> Array:
        """The gradient 2λw."""
        return np.multiply(2 * self.lam, w)

    @np.errstate(over="ignore")
    def prox(self, w: Array, step: float | Array) -> Array:
        """w/(1 + 2tλ), from 2λu + (u − w)/t = 0; 0 where tλ is beyond all floats."""
        return np.divide(w, 1 + check_step(step, w) * self.lam * 2)

    def residual(self, w: Array, g: Array) -> Array:
        """|g + 2λw|."""
        return np.abs(g + self.subgradient(w))


@dataclass(frozen=True)
class L1(Elementwise):
    """R(w) = λ Σ |w|, the lasso's penalty (Tibshirani 1996): it makes weights exactly zero.

    Parameters
    ----------
    lam : float, λ ≥ 0

    Examples
    --------
    >>> R, w = L1(0.5), np.array([2.0, -0.1])
    >>> R.value(w), R.subgradient(w), R.prox(w, 1.0), R.residual(w, np.array([-0.5, 0.0]))
    (1.05, array([ 0.5, -0.5]), array([1.5, 0. ]), array([0. , 0.5]))
    """

    lam: float
    smooth: ClassVar[bool] = False

    def value(self, w: Array) -> float:
        """λ Σ |w|, with |w| = w sign(w)."""
        return (self.lam * np.sum(w * sign(w))).item()

    def subgradient(self, w: Array) -> Array:
        """λ sign(w), 0 at w = 0."""
        return self.lam * sign(w)

    @np.errstate(over="ignore")
    def prox(self, w: Array, step: float | Array) -> Array:
        """The soft threshold at tλ."""
        return soft_threshold(w, check_step(step, w) * self.lam)

    def residual(self, w: Array, g: Array) -> Array:
        """|g + λ sign(w)| where w ≠ 0; what |g| has beyond λ where w = 0."""
        at_zero = np.maximum(np.abs(g) - self.lam, 0)
        return np.where(np.equal(w, 0), at_zero, np.abs(g + self.subgradient(w)))


@dataclass(frozen=True)
class ElasticNet(Elementwise):
    """R(w) = l1 Σ |w| + l2 Σ w² (Zou and Hastie 2005): zeros, and shrinkage of what remains.

    Parameters
    ----------
    l1, l2 : float, the λ of the two parts, each ≥ 0

    Examples
    --------
    >>> R, w = L1(1.0) + L2(0.5), np.array([3.0, 0.5])
    >>> R, R.value(w), R.subgradient(w), R.prox(w, 1.0)
    (ElasticNet(l1=1.0, l2=0.5), 8.125, array([4. , 1.5]), array([1., 0.]))
    """

    l1: float
    l2: float
    smooth: ClassVar[bool] = False

    def value(self, w: Array) -> float:
        """l1 Σ |w| + l2 Σ w²."""
        return L1(self.l1).value(w) + (L2(self.l2).value(w) if self.l2 else 0.0)

    def subgradient(self, w: Array) -> Array:
        """l1 sign(w) + 2 l2 w."""
        return self.l1 * sign(w) + np.multiply(2 * self.l2, w)

    @np.errstate(over="ignore")
    def prox(self, w: Array, step: float | Array) -> Array:
        """Threshold at t·l1, then divide: u > 0 solves l1 + 2 l2 u + (u − w)/t = 0."""
        t = check_step(step, w)
        return soft_threshold(w, t * self.l1) / (1 + t * self.l2 * 2)

    def residual(self, w: Array, g: Array) -> Array:
        """As for L1, with the smooth part 2 l2 w added to g."""
        return L1(self.l1).residual(w, np.add(g, np.multiply(2 * self.l2, w)))


def l1_l2(penalty: object) -> tuple[float, float] | None:
    """(l1, l2) of a penalty l1 Σ|w| + l2 Σw², (0, 0) for None; None for another function."""
    # The type itself is asked: a subclass may be another function.
    if type(penalty) is L1:
        return penalty.lam, 0.0
    if type(penalty) is L2:
        return 0.0, penalty.lam
    if type(penalty) is ElasticNet:
        return penalty.l1, penalty.l2
    return (0.0, 0.0) if penalty is None else None
