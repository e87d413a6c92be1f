"""The penalties R of the objective F = L + R: value, subgradient, proximal operator, residual.

==============  ====================  =====================  ====================================
penalty         R(w)                  subgradient            prox_{tR}(w)
==============  ====================  =====================  ====================================
`L2`            λ Σ w²                2λw                    w/(1 + 2tλ)
`L1`            λ Σ |w|               λ sign(w), 0 at 0      S_{tλ}(w) = w − clip(w, −tλ, tλ)
`ElasticNet`    l1 Σ |w| + l2 Σ w²    l1 sign(w) + 2 l2 w    S_{t l1}(w)/(1 + 2t l2)
`GroupLasso`    λ Σ_g √|g| ‖w_g‖₂     λ √|g| w_g/‖w_g‖       w_g (1 − tλ√|g|/‖w_g‖), or 0 if < 0
==============  ====================  =====================  ====================================

Three ways of looking at one convex function R, number by number (`GroupLasso`: by groups):

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

A λ that is no finite number ≥ 0, and a step that is negative or of another shape than w, are
refused by a `TypeError` or `ValueError`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from tinyreg.validate import Array, check_integer, check_number, describe

NEWTON_STEPS = 50  # never needed: about five are


class Penalty(Protocol):
    """What a penalty offers; write a class with these five and it can be used everywhere.

    It is handed the network's weights in flat blocks, and so must act on each number alone. One
    that does not says `elementwise = False`, and is handed each layer's (n_in, n_out) matrix.
    `tinyreg.check_penalty` tells whether the five fit together.

    Notes
    -----
    w : array
        Weights; complex ones in a complex step, but for `prox` and `residual`.
    step : float or array of w's shape
        t ≥ 0, one for all numbers or one for each.
    g : array of w's shape
        The gradient of L at w.

    Examples
    --------
    A prox is a step along a subgradient s at the point of arrival u. So −s leaves no residual:

    >>> R, w, t = L1(1.0), np.array([2.0, -0.25]), 0.5
    >>> R.smooth, R.value(w), R.subgradient(w)
    (False, 2.25, array([ 1., -1.]))
    >>> u = R.prox(w, t)
    >>> s = (w - u) / t
    >>> u, s, R.residual(u, -s)
    (array([1.5, 0. ]), array([ 1. , -0.5]), array([0., 0.]))
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


def check_penalty_type(name: str, penalty: object) -> None:
    """Whether `penalty` has what a `Penalty` has; a clear error if not."""
    wanted = ("value", "subgradient", "prox", "residual", "smooth")
    if isinstance(penalty, type) or not all(hasattr(penalty, method) for method in wanted):
        raise TypeError(f"{name} must be a penalty such as L1(1e-3), got {describe(penalty)}")


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
        τ ≥ 0, which is not checked.

    Returns
    -------
    array of w's shape

    Examples
    --------
    >>> soft_threshold(np.array([-3.0, -0.5, 0.5, 3.0]), 1.0)
    array([-2.,  0.,  0.,  2.])
    """
    clipped = np.asarray(np.maximum(w, -threshold))
    np.minimum(clipped, threshold, out=clipped)
    return np.subtract(w, clipped, out=clipped)


def _check_step(step: float | Array, w: Array) -> float | Array:
    if type(step) is float and 0 <= step < math.inf:  # each training step comes by here
        return step
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


class _Sum:
    """R + Q for the penalties below; see `add`."""

    elementwise: ClassVar[bool] = True

    def __add__(self, other: object) -> L1 | L2 | ElasticNet | GroupLasso:
        return add(self, other)


@dataclass(frozen=True)
class L2(_Sum):
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
    >>> R.residual(w, np.array([-1.0, 0.0]))  # the first is at rest, the second is not
    array([0., 2.])
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
class L1(_Sum):
    """R(w) = λ Σ |w|, the lasso's penalty (Tibshirani 1996): it makes weights exactly zero.

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
class ElasticNet(_Sum):
    """R(w) = l1 Σ |w| + l2 Σ w² (Zou and Hastie 2005): zeros, and shrinkage of what remains.

    Parameters
    ----------
    l1, l2 : float
        The λ of the two parts, each ≥ 0.

    Examples
    --------
    >>> R = ElasticNet(l1=1.0, l2=0.5)
    >>> w = np.array([3.0, 0.5])
    >>> R.value(w), R.subgradient(w), R.prox(w, 1.0)
    (8.125, array([4. , 1.5]), array([1., 0.]))
    >>> R.residual(np.zeros(2), np.array([0.9, 1.5]))  # at 0 a slope within l1 moves nothing
    array([0. , 0.5])
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


def _norms(rows: Array) -> Array:
    """‖w_g‖ = √Σw² of each row, as a column; complex for complex rows, and 0 at Re w = 0.

    Each row is divided by its largest number first, so that no square leaves the range of floats.
    """
    largest = np.abs(rows.real).max(axis=1, keepdims=True)
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1)
    scaled = rows / scale
    root = np.sqrt(np.sum(scaled * scaled, axis=1, keepdims=True))
    return np.where(largest == 0, 0, scale * root)


def block_soft_threshold(rows: Array, threshold: float) -> Array:
    """Move each row towards 0 by `threshold`, and no further: the prox of threshold·‖w_g‖₂.

    Where u ≠ 0, τ u/‖u‖ + u − w = 0: u points where w does and ‖u‖ = ‖w‖ − τ, so that
    u = w (1 − τ/‖w‖). At u = 0 the condition is w ∈ τ·(the unit ball), that is ‖w‖ ≤ τ (Parikh
    and Boyd, section 6.5).

    Parameters
    ----------
    rows : (n, d) array
        A group in each row.
    threshold : float
        τ ≥ 0, which is not checked.

    Returns
    -------
    (n, d) array

    Examples
    --------
    >>> block_soft_threshold(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    array([[2.4, 3.2],
           [0. , 0. ]])
    """
    norms = _norms(rows)
    # "not <=" and never ">": the norm of a row with NaN is NaN, and the row shall stay so.
    return np.where(norms <= threshold, 0, rows * (1 - threshold / np.where(norms, norms, 1)))


def scaled_block_threshold(rows: Array, thresholds: Array) -> Array:
    """argmin_u ‖u‖₂ + Σ_j (u_j − w_j)²/(2 c_j) for each row: one threshold for each number.

    Derivation. u = 0 just when the slopes w_j/c_j lie in the unit ball, ‖w/c‖ ≤ 1. Otherwise,
    with ν = ‖u‖ > 0, the condition u_j/ν + (u_j − w_j)/c_j = 0 gives

        u_j = w_j/(1 + c_j/ν) = ν r_j,    r_j = w_j/(ν + c_j),    and ‖u‖ = ν says ‖r(ν)‖ = 1.

    ‖r‖ falls as ν grows, so that there is one root. 1/‖r(ν)‖ is concave, and nearly straight (it
    is straight for equal c_j): Newton's method on 1/‖r‖ − 1,

        ν ← ν + (‖r‖ − 1) ‖r‖² / Σ_j r_j²/(ν + c_j),

    goes up to the root from any start below it, and never past it. Two bounds from below are
    ‖w‖ − max c_j and max_j(|w_j| − c_j), as no |r_j| exceeds 1 at the root. This is the secular
    equation of the trust-region subproblem (Moré and Sorensen, SIAM J. Sci. Stat. Comput. 4,
    1983).

    Parameters
    ----------
    rows : (n, d) array
        A group in each row.
    thresholds : (n, d) array
        c_j ≥ 0, which is not checked; where all of a row are equal, it is
        `block_soft_threshold`.

    Returns
    -------
    (n, d) array

    Examples
    --------
    >>> w, c = np.array([[3.0, 4.0]]), np.array([[1.0, 2.0]])
    >>> u = scaled_block_threshold(w, c)
    >>> (u / np.linalg.norm(u) + (u - w) / c).round(12)  # the slope at the minimum
    array([[0., 0.]])
    >>> np.allclose(scaled_block_threshold(w, np.ones((1, 2))), block_soft_threshold(w, 1.0))
    True
    """

    out = np.zeros_like(rows)
    with np.errstate(over="ignore", divide="ignore"):  # c may be 0, and tiny beside w or huge
        slopes = np.divide(rows, thresholds, out=np.zeros_like(rows), where=rows != 0)
        alive = ~(_norms(slopes) <= 1)[:, 0]
        if not alive.any():
            return out
        scale = np.abs(rows[alive]).max(axis=1, keepdims=True)
        w, c = rows[alive] / scale, thresholds[alive] / scale
    c_max = c.max(axis=1, keepdims=True)
    below = np.maximum((np.abs(w) - c).max(axis=1, keepdims=True), 0)
    c = np.where(w == 0, c_max, c)  # it does not matter there, and now ν + c > 0 everywhere
    nu = np.maximum(_norms(w) - c_max, below)
    for _ in range(NEWTON_STEPS):
        inverse = 1 / (nu + c)
        terms = np.square(w * inverse)
        square = terms.sum(axis=1, keepdims=True)
        excess = np.sqrt(square) - 1
        if not np.any(excess > 8 * np.finfo(w.dtype).eps):
            break
        nu = np.maximum(nu + excess * square / (terms * inverse).sum(axis=1, keepdims=True), below)
    out[alive] = scale * nu * (w * inverse) + 0.0  # which makes −0.0 a +0.0
    return out


@dataclass(frozen=True)
class GroupLasso(_Sum):
    """R(W) = λ Σ_g √|g| ‖w_g‖₂ (+ l1 Σ|w| + l2 Σw²): whole groups of weights become zero.

    The groups g are the rows or the columns of a weight matrix W of shape (n_in, n_out), and |g|
    is the number of weights in one (Yuan and Lin 2006; for networks Scardapane et al. 2017). The
    norm pulls at a group with one slope, λ√|g|, in whatever direction the group lies; so all of
    it goes to 0 together, as a single weight does under |w|. With l1 > 0 it is the sparse group
    lasso (Simon et al. 2013): zeros inside the groups that stay as well.

    Parameters
    ----------
    lam : float
        λ ≥ 0.
    axis : 0 or 1
        The axis along which each norm runs, as in numpy.linalg.norm. 1: each row is a group, an
        input or hidden unit with all its outgoing weights. 0: each column is a group, a unit or
        output with all its incoming weights.
    l1, l2 : float
        As in `ElasticNet`, each ≥ 0. `GroupLasso(lam, axis) + L1(l1)` says the same.

    Notes
    -----
    It is a penalty of a matrix: every method refuses a w without two dimensions (`ValueError`).

    Examples
    --------
    >>> R = GroupLasso(1.0, axis=1)
    >>> W = np.array([[3.0, 4.0], [0.3, 0.4]])
    >>> round(R.value(W) / math.sqrt(2), 12)  # ‖(3, 4)‖ + ‖(0.3, 0.4)‖
    5.5
    >>> R.prox(W, 1.0).round(4)
    array([[2.1515, 2.8686],
           [0.    , 0.    ]])
    >>> R.residual(0 * W, W).round(4)  # ‖(3, 4)‖ is more than √2 and pulls free, the other not
    array([[2.1515, 2.8686],
           [0.    , 0.    ]])
    """

    lam: float
    axis: int
    l1: float = 0.0
    l2: float = 0.0
    smooth: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if check_integer("axis", self.axis, least=0) > 1:
            raise ValueError(f"axis must be 0 (columns) or 1 (rows), got {self.axis!r}")
        for name in ("lam", "l1", "l2"):
            object.__setattr__(self, name, check_number(name, getattr(self, name), least=0))

    def _groups(self, w: Array) -> Array:
        """w with a group in each row; of the result, w's own layout again."""
        return w if self.axis == 1 else w.T

    def _weight(self, w: Array) -> float:
        """λ√|g|, after a check of w."""
        if np.ndim(w) != 2:
            raise ValueError(
                f"w must be a weight matrix with two dimensions for {self!r}, got shape "
                f"{np.shape(w)}"
            )
        return self.lam * math.sqrt(w.shape[self.axis])

    @property
    def _rest(self) -> ElasticNet:
        return ElasticNet(self.l1, self.l2)

    def value(self, w: Array) -> float:
        """λ Σ √|g| ‖w_g‖ + l1 Σ |w| + l2 Σ w²."""
        weight = self._weight(w)
        return (weight * np.sum(_norms(self._groups(w)))).item() + self._rest.value(w)

    def subgradient(self, w: Array) -> Array:
        """λ √|g| w_g/‖w_g‖, 0 for a group at 0; plus l1 sign(w) + 2 l2 w."""
        return self._pull(w) + self._rest.subgradient(w)

    def _pull(self, w: Array) -> Array:
        weight, rows = self._weight(w), self._groups(w)
        norms = _norms(rows)
        pull = np.where(norms == 0, 0, weight * (rows / np.where(norms == 0, 1, norms)))
        return self._groups(pull)

    def prox(self, w: Array, step: float | Array) -> Array:
        """Soft threshold at t·l1, divide by 1 + 2t·l2, then shrink the groups.

        Write κ = λ√|g|, ν = ‖u_g‖. Where ν > 0, the condition for number j of a group is

            κ u_j/ν + l1 s_j + 2 l2 u_j + (u_j − w_j)/t_j = 0,    s_j ∈ ∂|u_j|.

        As in `ElasticNet` this is u_j (1 + 2 t_j l2 + t_j κ/ν) = S_{t_j l1}(w_j). Divided by
        1 + 2 t_j l2, it is the condition of the group's norm alone,

            u_j (1 + t'_j κ/ν) = w'_j,    w' = S_{t l1}(w)/(1 + 2t l2),    t' = t/(1 + 2t l2).

        u_g = 0 wants w/t in the sum of κ·ball and l1·box, that is ‖S_l1(w/t)‖ ≤ κ; and as
        S_l1(w/t) = w'/t', this too is the norm's own condition. What is left is
        `block_soft_threshold` for one step, `scaled_block_threshold` for one per number.
        """
        weight, t = self._weight(w), _check_step(step, w)
        divisor = 1 + 2 * t * self.l2
        rows = self._groups(soft_threshold(w, t * self.l1) / divisor)
        thresholds = weight * (t / divisor)
        if isinstance(thresholds, float):
            return self._groups(block_soft_threshold(rows, thresholds))
        return self._groups(scaled_block_threshold(rows, self._groups(thresholds)))

    def residual(self, w: Array, g: Array) -> Array:
        """The distance of −g to ∂R(w), coordinate by coordinate.

        In a group that is not 0 the norm has a gradient, and the rest is as for `ElasticNet`. In
        a group at 0, ∂R is κ·ball + l1·box. The point of the box nearest to −g leaves S_l1(−g),
        the point of the ball nearest to that leaves its block soft threshold at κ; and what
        both leave is the vector from ∂R to −g.
        """
        weight, rows = self._weight(w), self._groups(w)
        at_zero = block_soft_threshold(self._groups(soft_threshold(g, self.l1)), weight)
        elsewhere = self._rest.residual(w, g + self._pull(w))
        dead = ~rows.any(axis=1, keepdims=True)
        return self._groups(np.where(dead, np.abs(at_zero), self._groups(elsewhere)))


def add(a: object, b: object) -> L1 | L2 | ElasticNet | GroupLasso:
    """a + b as one penalty, where the prox of the sum is known.

    The prox of a sum is in general no composition of the two proxes. It is one for the sums that
    `ElasticNet` and `GroupLasso` stand for; two ways of grouping overlap, and are refused.

    Parameters
    ----------
    a, b : L1, L2, ElasticNet or GroupLasso
        No subclasses: they may have a prox of their own.

    Returns
    -------
    L1, L2, ElasticNet or GroupLasso

    Raises
    ------
    TypeError
        If the prox of the sum is not known.

    Examples
    --------
    >>> L1(1.0) + L2(0.5)  # which calls add
    ElasticNet(l1=1.0, l2=0.5)
    >>> add(GroupLasso(1.0, axis=1), L1(0.25))
    GroupLasso(lam=1.0, axis=1, l1=0.25, l2=0.0)
    """
    lam = l1 = l2 = 0.0
    axes = set()
    for R in (a, b):
        # The type itself: of a subclass, which may have a prox of its own, nothing is known.
        if type(R) is L1:
            l1 += R.lam
        elif type(R) is L2:
            l2 += R.lam
        elif type(R) is ElasticNet or type(R) is GroupLasso:
            l1, l2 = l1 + R.l1, l2 + R.l2
        if type(R) is GroupLasso:
            lam += R.lam
            axes.add(R.axis)
    kinds = {type(a), type(b)}
    if not kinds <= {L1, L2, ElasticNet, GroupLasso} or len(axes) > 1:
        raise TypeError(
            f"a + b must be of L1, L2, ElasticNet and GroupLasso of one axis, as the prox of "
            f"other sums is not known; got {describe(a)} + {describe(b)}"
        )
    if axes:
        return GroupLasso(lam, axes.pop(), l1, l2)
    if len(kinds) == 1 and ElasticNet not in kinds:
        return L1(l1) if L1 in kinds else L2(l2)
    return ElasticNet(l1, l2)
