"""The penalties R of the objective F = L + R: value, subgradient, proximal operator, residual.

Three ways of looking at one convex function R, for arrays of any shape, number by number:

- the subgradient: any slope s with R(v) ≥ R(w) + s·(v − w) for all v. Where R is smooth it is the
  gradient; at the kink of |w| every slope in λ[−1, 1] is one, and `subgradient` returns 0. The
  set of all of them is written ∂R(w).
- the proximal operator: prox_{tR}(v) = argmin_w R(w) + (w − v)²/(2t), the point that trades a
  small R against staying near v; t > 0 is the step size. Setting the derivative to zero,
  (v − w)/t ∈ ∂R(w): it is a subgradient step taken with the slope at the point of arrival.
- the residual: the distance of −g to ∂R(w). With g = ∇L(w) it is zero for every coordinate just
  where w is stationary for L + R, so it is a stopping rule and a proof of the answer in one.

Why does a proximal step give exact zeros and a subgradient step none? |w| pulls with slope λ
wherever w ≠ 0. A subgradient step moves w by tλ towards 0 and, when less than tλ is left, past
it, to the other side, and back again in the next step. The proximal step knows that the pull
ends at 0: whatever lies within tλ of 0 becomes 0.

>>> w = np.array([-0.25, -0.05, 0.0, 0.05, 0.25])
>>> R, t = L1(1.0), 0.1
>>> w - t * R.subgradient(w)
array([-0.15,  0.05,  0.  , -0.05,  0.15])
>>> R.prox(w, t)
array([-0.15,  0.  ,  0.  ,  0.  ,  0.15])

Source for all three: Parikh and Boyd, Proximal Algorithms (2014), sections 1.1, 2.3, 6.5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from tinyreg.errors import Array, check_number, describe


class Penalty(Protocol):
    """What a penalty offers; write a class with these five and it can be used everywhere.

    It is handed the network's weights in blocks, and so must act on each number alone.
    """

    @property
    def smooth(self) -> bool:
        """True where R is differentiable everywhere, so that no prox is needed."""

    def value(self, w: Array) -> float:
        """R(w)."""

    def subgradient(self, w: Array) -> Array:
        """A subgradient of R at w, of w's shape."""

    def prox(self, w: Array, step: float | Array) -> Array:
        """argmin_u R(u) + Σ (u − w)²/(2 step), of w's shape."""

    def residual(self, w: Array, g: Array) -> Array:
        """The distance of −g to ∂R(w), coordinate by coordinate."""


def soft_threshold(w: Array, threshold: float | Array) -> Array:
    """Move w towards 0 by `threshold`, and no further than 0: the prox of threshold·|w|.

    Derivation. Minimise h(u) = τ|u| + (u − w)²/2. For u > 0, h' = τ + u − w vanishes at
    u = w − τ, which is > 0 just when w > τ. For u < 0 likewise u = w + τ, when w < −τ. Otherwise
    the minimum is at the kink: 0 ∈ τ[−1, 1] − w, that is |w| ≤ τ. The three cases in one:

        S_τ(w) = w − clip(w, −τ, τ)

    In the middle case this is w − w, an exact +0.0; and NaN stays NaN, where the textbook
    sign(w)·max(|w| − τ, 0) gives −0.0 for w < 0 and may turn NaN into 0.

    Parameters
    ----------
    w : array
    threshold : float or array of w's shape
        τ ≥ 0.

    Returns
    -------
    array of w's shape

    Examples
    --------
    >>> soft_threshold(np.array([-3.0, -0.5, 0.5, 3.0]), 1.0)
    array([-2.,  0.,  0.,  2.])
    """
    return w - np.minimum(np.maximum(w, -threshold), threshold)


def _check_step(step: float | Array, w: Array) -> float | Array:
    if isinstance(step, np.ndarray) and step.ndim:
        if step.shape != w.shape:
            raise ValueError(
                f"step must be a number or have w's shape {w.shape}, got {describe(step)}"
            )
        if not step.min(initial=0.0) >= 0:
            raise ValueError(f"step must be >= 0, got a minimum of {step.min()}")
        return step
    return check_number("step", step.item() if isinstance(step, np.ndarray) else step, least=0)


def _sign(w: Array) -> Array:
    """sign(w), 0 at 0; of the real part, so that a complex step can pass."""
    return np.sign(w.real)


@dataclass(frozen=True)
class L2:
    """R(w) = λ Σ w², also called ridge or (with plain SGD only) weight decay.

    The gradient is 2λw: mind the 2, which libraries that write ½λΣw² do not have.

    Parameters
    ----------
    lam : float
        λ ≥ 0.

    Examples
    --------
    >>> R = L2(0.5)
    >>> w = np.array([1.0, -2.0])
    >>> R.value(w), R.subgradient(w), R.prox(w, 1.0)
    (2.5, array([ 1., -2.]), array([ 0.5, -1. ]))
    """

    lam: float
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_number("lam", self.lam, least=0))

    def value(self, w: Array) -> float:
        """λ Σ w²."""
        return (self.lam * np.sum(w * w)).item()

    def subgradient(self, w: Array) -> Array:
        """The gradient 2λw."""
        return 2 * self.lam * w

    def prox(self, w: Array, step: float | Array) -> Array:
        """w / (1 + 2tλ), from 2λu + (u − w)/t = 0."""
        return w / (1 + 2 * _check_step(step, w) * self.lam)

    def residual(self, w: Array, g: Array) -> Array:
        """|g + 2λw|."""
        return np.abs(g + self.subgradient(w))


@dataclass(frozen=True)
class L1:
    """R(w) = λ Σ |w|, the lasso's penalty: the one that makes weights exactly zero.

    Parameters
    ----------
    lam : float
        λ ≥ 0.

    Examples
    --------
    >>> R = L1(0.5)
    >>> w = np.array([2.0, -0.1, 0.0])
    >>> R.value(w), R.subgradient(w), R.prox(w, 1.0)
    (1.05, array([ 0.5, -0.5,  0. ]), array([1.5, 0. , 0. ]))
    >>> R.residual(w, np.array([-0.5, 0.0, 0.4]))  # right, 0.5 off, and within λ of 0 at w = 0
    array([0. , 0.5, 0. ])
    """

    lam: float
    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", check_number("lam", self.lam, least=0))

    def value(self, w: Array) -> float:
        """λ Σ |w|, with |w| = w sign(w)."""
        return (self.lam * np.sum(w * _sign(w))).item()

    def subgradient(self, w: Array) -> Array:
        """λ sign(w), 0 at w = 0."""
        return self.lam * _sign(w)

    def prox(self, w: Array, step: float | Array) -> Array:
        """The soft threshold at tλ; see `soft_threshold`."""
        return soft_threshold(w, _check_step(step, w) * self.lam)

    def residual(self, w: Array, g: Array) -> Array:
        """|g + λ sign(w)| where w ≠ 0; what |g| has beyond λ where w = 0."""
        at_zero = np.maximum(np.abs(g) - self.lam, 0)
        return np.where(w == 0, at_zero, np.abs(g + self.subgradient(w)))


@dataclass(frozen=True)
class ElasticNet:
    """R(w) = l1 Σ |w| + l2 Σ w² (Zou and Hastie 2005): zeros, and shrinkage of what remains.

    Parameters
    ----------
    l1, l2 : float
        The weights of the two parts, each ≥ 0.

    Examples
    --------
    >>> R = ElasticNet(l1=1.0, l2=0.5)
    >>> w = np.array([3.0, 0.5])
    >>> R.value(w), R.subgradient(w), R.prox(w, 1.0)
    (8.125, array([4. , 1.5]), array([1., 0.]))
    """

    l1: float
    l2: float
    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "l1", check_number("l1", self.l1, least=0))
        object.__setattr__(self, "l2", check_number("l2", self.l2, least=0))

    def value(self, w: Array) -> float:
        """l1 Σ |w| + l2 Σ w²."""
        return L1(self.l1).value(w) + L2(self.l2).value(w)

    def subgradient(self, w: Array) -> Array:
        """l1 sign(w) + 2 l2 w."""
        return self.l1 * _sign(w) + 2 * self.l2 * w

    def prox(self, w: Array, step: float | Array) -> Array:
        """The soft threshold at t·l1, divided by 1 + 2t·l2.

        For u > 0 the condition l1 + 2 l2 u + (u − w)/t = 0 gives u = (w − t l1)/(1 + 2t l2); the
        other cases are those of the soft threshold. The order matters: threshold, then divide.
        """
        t = _check_step(step, w)
        return soft_threshold(w, t * self.l1) / (1 + 2 * t * self.l2)

    def residual(self, w: Array, g: Array) -> Array:
        """As for L1, with the smooth part 2 l2 w added to g."""
        return L1(self.l1).residual(w, g + 2 * self.l2 * w)
