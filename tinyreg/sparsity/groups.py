"""Groups of weights that become zero together: the group lasso of a weight matrix.

    R(W) = λ Σ_g √|g| ‖w_g‖₂        subgradient  λ √|g| w_g/‖w_g‖, 0 at 0
                                     prox_{tR}    w_g (1 − tλ√|g|/‖w_g‖), or 0 where that is < 0

The groups g are the rows or the columns of W, and |g| is the number of weights in one (Yuan and Lin
2006; for networks Scardapane et al. 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyreg.core.penalties import ElasticNet, l1_l2, soft_threshold
from tinyreg.validate import Array, check_integer, check_nonnegative, check_step, unknown_sum

NEWTON_STEPS = 50  # never needed: about five are


def _scaled(rows: Array) -> tuple[Array, Array, Array]:
    """Each real row over its largest number s, and as columns s and the quotient's norm r.

    So no square leaves the range of floats: ‖w_g‖ = s r. Of a row of zeros, s = 1 and r = 0.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True)
    s = np.where((largest > 0) & (largest < np.inf), largest, 1)
    scaled = rows / s
    return scaled, s, np.sqrt(np.sum(scaled * scaled, axis=1, keepdims=True))


def _norms(rows: Array) -> Array:
    """‖w_g‖ of each row, as a column; of w + iv to first order in v, and 0 at w = 0."""
    scaled, s, r = _scaled(rows.real)
    if not np.iscomplexobj(rows):
        return s * r
    return s * r + 1j * np.sum(scaled * rows.imag, axis=1, keepdims=True) / np.where(r, r, 1)


def block_soft_threshold(rows: Array, threshold: float) -> Array:
    """Move each row towards 0 by `threshold`, and no further: the prox of threshold·‖w_g‖₂.

    Where u ≠ 0, τ u/‖u‖ + u − w = 0: u points where w does and ‖u‖ = ‖w‖ − τ, so that
    u = w (1 − τ/‖w‖). At u = 0 the condition is w ∈ τ·(the unit ball), that is ‖w‖ ≤ τ (Parikh
    and Boyd, section 6.5). rows is (n, d), a group in each row.

    >>> block_soft_threshold(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    array([[2.4, 3.2],
           [0. , 0. ]])
    """
    _, s, r = _scaled(rows)
    with np.errstate(over="ignore"):  # the threshold may be huge beside a row
        share = threshold / s / np.where(r, r, 1)  # τ/‖w‖
    # "not >=" and never "<": the norm of a row with NaN is NaN, and the row shall stay so.
    return np.where((share >= 1) | (r == 0), 0, rows * (1 - np.minimum(share, 1)))


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
    1983). rows and thresholds c ≥ 0 are (n, d), a group in each row.

    >>> w, c = np.array([[3.0, 4.0]]), np.array([[1.0, 2.0]])
    >>> u = scaled_block_threshold(w, c)
    >>> (u / np.linalg.norm(u) + (u - w) / c).round(12)  # the slope at the minimum
    array([[0., 0.]])
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
    out[alive] = rows[alive] * (nu / (nu + c)) + 0.0  # which makes −0.0 a +0.0
    return out


@dataclass(frozen=True)
class GroupLasso:
    """R(W) = λ Σ_g √|g| ‖w_g‖₂ (+ l1 Σ|w| + l2 Σw²): whole groups of weights become zero.

    The norm pulls at a group with one slope, λ√|g|, in whatever direction the group lies; so all
    of it goes to 0 together, as a single weight does under |w|. With l1 > 0 it is the sparse group
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
    w, step, g : a weight matrix, else a `ValueError`; t ≥ 0, one or an array; ∇L at w

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
        check_nonnegative(self)

    def __add__(self, other: object) -> GroupLasso:
        """The sum with what adds to l1 and l2, or with groups along the same axis."""
        lam, more = self.lam, None if other is None else l1_l2(other)
        if type(other) is GroupLasso and other.axis == self.axis:
            lam, more = lam + other.lam, (other.l1, other.l2)
        # Of a subclass, which may have a prox of its own, nothing is known.
        if type(self) is not GroupLasso or more is None:
            raise unknown_sum(self, other)
        return GroupLasso(lam, self.axis, self.l1 + more[0], self.l2 + more[1])

    __radd__ = __add__

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
        scaled, s, r = _scaled(rows.real)
        r = np.where(r, r, np.inf)  # no pull and no curvature at 0
        u = scaled / r
        if np.iscomplexobj(rows):
            v = rows.imag
            u = u + 1j * ((v - u * np.sum(u * v, axis=1, keepdims=True)) / s / r)
        return self._groups(weight * u)

    @np.errstate(over="ignore")  # of a huge step: what is 0 then, is 0
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
        weight, t = self._weight(w), check_step(step, w)
        if self.l1:
            w = soft_threshold(w, t * self.l1)
        if self.l2:
            divisor = 1 + t * self.l2 * 2
            w, t = w / divisor, t / divisor
        rows, thresholds = self._groups(w), weight * t
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
