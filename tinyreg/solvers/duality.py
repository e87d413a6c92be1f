"""How far from the optimum, without knowing it: the duality gap of a net without hidden layers.

Then z_n = x_n W + b is linear in the parameters, and F is convex:

    F(W, b) = Σ_n ω_n ℓ(z_n, y_n) + R(W),        ω_n = 1/N, or the sample's weight over their sum

Fenchel's inequality ℓ(z) ≥ u·z − ℓ*(u), used with any u_n for each sample, and its like for R give,
after minimising over W and b, a lower bound of every value of F:

    F(W, b) ≥ D(u) = −Σ_n ω_n ℓ*(u_n) − R*(−Xᵀθ),      θ_n = ω_n u_n,   if Σ_n θ_n = 0

(the condition is the price of a bias without a penalty: else the minimum over b is −∞). So
F(W, b) − D(u) is at least the distance of F(W, b) from the minimum of F, and it is 0 at the minimum
for u_n = ∂ℓ/∂z_n = prediction_n − y_n. Away from it, that u is made feasible: the bias is fitted
anew for the given W, what is then left of Σθ is taken off, so that it is 0 to the last digit, and θ
is scaled into the domain of R*. With q = u + y:

    SquaredError           ℓ*(u) = ½‖u‖² + u·y
    SoftmaxCrossEntropy    ℓ*(u) = Σ_k q_k log q_k,  ∞ unless q is a probability
    SigmoidCrossEntropy    ℓ*(u) = Σ_k q_k log q_k + (1 − q_k) log(1 − q_k),  ∞ outside [0, 1]
    λ Σ|w|                 R*(v) = 0 where all |v| ≤ λ, else ∞
    l1 Σ|w| + l2 Σw²       R*(v) = Σ max(|v| − l1, 0)²/(4 l2)

Source: Boyd and Vandenberghe, Convex Optimization, sections 3.3 and 5.1; for the scaling of the
dual point, El Ghaoui, Viallon and Rabbani, Pacific J. Optim. 8 (2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from tinyreg.core.losses import (
    Loss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
    one_hot,
)
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective, Problem
from tinyreg.core.penalties import l1_l2
from tinyreg.validate import Array, Data, Maybe, as_table, check_type, is_sparse

NEWTON_STEPS = 50
BALANCED = 1e-13  # |Σθ| at which Newton's method for the bias may end
ROUNDING = 4 * np.finfo(np.float64).eps  # of a sum, as a share of the sum of the sizes


def is_convex(objective: Objective) -> bool:
    """Whether F is convex, as all losses and penalties here are: the net has no hidden layer."""
    return len(objective.net.sizes) == 2


def dual_penalty(objective: Objective) -> tuple[float, float] | None:
    """(l1, l2) of the only layer's penalty, or None where there is no gap to be had."""
    known = type(objective.loss) in (SquaredError, SigmoidCrossEntropy, SoftmaxCrossEntropy)
    if not known or not is_convex(objective) or objective.bias_penalty is not None:
        return None
    penalty = objective.penalty
    found = l1_l2(penalty[0] if isinstance(penalty, Sequence) else penalty)
    return found if found and any(found) else None


def duality_gap(problem: Problem, params: Array, value: float) -> float | None:
    """A bound of F(params) − min F, or None where there is none.

    Parameters
    ----------
    problem : Problem
        Of a net without hidden layers, with L1, L2 or ElasticNet on its weights.
    params : (n_params,) array
    value : float
        F(params).

    Returns
    -------
    float or None
        None for a net with hidden layers, another loss or penalty, or no penalty. Else finite
        wherever F is, and a bound up to the rounding of F.

    Examples
    --------
    >>> from tinyreg import L1
    >>> F = Objective(MLP((1, 1)), SquaredError(), L1(0.5))
    >>> problem = F.on([[1.0], [-1.0]], [2.0, -2.0])  # F = ½(w − 2)² + ½b² + ½|w|, least at w = 1.5
    >>> for w in (1.0, 1.5):
    ...     params = np.array([w, 0.0])
    ...     value = problem.value(params)
    ...     print(value, value - 0.875, round(duality_gap(problem, params, value), 12))
    1.0 0.125 0.125
    0.875 0.0 0.0
    """
    dual = Dual.of(problem)
    return None if dual is None else dual.gap(params, value)


class Dual(NamedTuple):
    """The dual problem: what of it does not depend on the parameters, in float64."""

    problem: Problem
    X: Array
    y: Array  # one-hot for classes, (N, K)
    omega: Array  # (N, 1)
    reach: Array  # max |x| of each column of X, (d,)
    penalty: tuple[float, float]  # (l1, l2)

    @classmethod
    def of(cls, problem: Problem) -> Dual | None:
        """The dual of a problem, or None where there is none."""
        penalty, (X, targets, weight) = dual_penalty(problem.objective), problem.samples
        if penalty is None:
            return None
        X = X.astype(np.float64, copy=False)
        y = one_hot(targets, problem.objective.net.sizes[-1]).astype(np.float64, copy=False)
        if is_sparse(X):
            reach = abs(X).max(axis=0).toarray().ravel()
        else:  # without a copy of X
            reach = np.maximum(X.max(axis=0), -X.min(axis=0))
        return cls(problem, X, y, weight[:, np.newaxis], reach, penalty)

    def gap(self, params: Array, value: float) -> float:
        """A bound of F(params) − min F, given F(params)."""
        objective, (X, y, omega) = self.problem.objective, self[1:4]
        loss, ((W,), (b,)) = objective.loss, objective.net.unpack(params.astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):
            if isinstance(loss, SquaredError):
                y = y - np.sum(omega * y, axis=0)  # b takes up an offset of y, which costs digits
                u = X @ W - y
                for _ in range(2):  # the second time takes what rounding has left of Σωu
                    u -= np.sum(omega * u, axis=0)
            else:
                u = _balanced(loss, X @ W, b, y, omega)
            bound = max(0.0, self._value(u, y))  # F ≥ 0 needs no proof
            return float(max(value - bound, 0.0))

    def _value(self, u: Array, y: Array) -> float:
        """D at u, scaled down where R* would be infinite; v is as large as rounding allows."""
        (l1, l2), theta = self.penalty, self.omega * u
        v = np.abs(self.X.T @ theta)
        v += ROUNDING * np.outer(self.reach, np.sum(np.abs(theta), axis=0))
        if l2 == 0:
            # u may shrink: y and the prediction are in the domain of ℓ*, and so is all between.
            u, of_penalty = u * (l1 / max(v.max(), l1)), 0.0
        else:
            of_penalty = float(np.sum(np.maximum(v - l1, 0) ** 2) / (4 * l2))
        loss = self.problem.objective.loss
        return -float(np.sum(self.omega * _conjugate(loss, u, y))) - of_penalty


def _balanced(loss: Loss, z: Array, b: Array, y: Array, omega: Array) -> Array:
    """u = α (p − p̄) − (y − ȳ) of a cross-entropy, with predictions p from a bias fitted anew.

    Its mean is 0 whatever p is, and where p̄ = ȳ it is p − y. The largest α ≤ 1 is taken with
    which q = u + y = α p + ȳ − α p̄ stays in the domain: α p̄ ≤ ȳ, and for yes-or-no questions
    α (1 − p̄) ≤ 1 − ȳ too. So Newton's method for the bias may end where it likes.
    """
    mean = np.sum(omega * y, axis=0)
    # The best bias of a class that no sample has is −∞.
    p = _fit_bias(loss, z, np.where(mean == 0, -np.inf, b), y, omega)
    average = np.sum(omega * p, axis=0)
    alpha = np.divide(mean, average, out=np.ones_like(mean), where=average > mean)
    if isinstance(loss, SigmoidCrossEntropy):
        rest, others = np.sum(omega * (1 - y), axis=0), np.sum(omega * (1 - p), axis=0)
        np.divide(rest, others, out=alpha, where=others > rest)
    else:
        alpha = alpha.min()
    return alpha * (p - average) - (y - mean)


def _fit_bias(loss: Loss, z: Array, c: Array, y: Array, omega: Array) -> Array:
    """The predictions at z + c with Σωp = Σωy, as nearly as Newton's method gets from c.

    Such a c minimises the convex Σ ω ℓ(z + c, y). Steps that overshoot are halved.
    """
    p = loss.predict(z + c)
    for _ in range(NEWTON_STEPS):
        imbalance = np.sum(omega * (p - y), axis=0)
        if (size := np.abs(imbalance).max()) <= BALANCED:
            break
        # The softmax Hessian is singular along (1, …, 1), which changes nothing: least squares.
        step = np.linalg.lstsq(_curvature(loss, p, omega), -imbalance, rcond=None)[0]
        for _ in range(30):
            shifted = loss.predict(z + c + step)
            if np.abs(np.sum(omega * (shifted - y), axis=0)).max() < size:
                break
            step /= 2
        else:
            break
        c, p = c + step, shifted
    return p


def _curvature(loss: Loss, p: Array, omega: Array) -> Array:
    """The Hessian of Σ ω ℓ(z + c, y) with respect to c, (K, K), where the predictions are p."""
    if isinstance(loss, SigmoidCrossEntropy):
        return np.diag(np.sum(omega * p * (1 - p), axis=0))
    return np.diag(np.sum(omega * p, axis=0)) - (omega * p).T @ p


def _conjugate(loss: Loss, u: Array, y: Array) -> Array:
    """ℓ*(u) of each sample and output; they sum to that of the sample."""
    if isinstance(loss, SquaredError):
        return 0.5 * u * u + u * y
    q = u + y
    of_q = -entr(np.clip(q, 0, 1))
    return of_q - entr(np.clip(1 - q, 0, 1)) if isinstance(loss, SigmoidCrossEntropy) else of_q


def lambda_max(X: Data, y: ArrayLike, loss: Loss, sample_weight: Maybe = None) -> float:
    """The smallest λ at which L1 leaves no weight of a net without hidden layers.

    With W = 0 and the bias fitted, every prediction is the mean target ȳ, and 0 is optimal just
    when |Xᵀω(ȳ − y)| ≤ λ for every weight. So λ_max = max |Σ_n ω_n x_ni (ȳ_k − y_nk)| (Friedman,
    Hastie and Tibshirani, J. Stat. Softw. 33, 2010, for the lasso).

    Parameters
    ----------
    X : (N, d) array or `scipy.sparse` matrix
    y : array
        The targets, as the loss wants them.
    loss : Loss
    sample_weight : (N,) array, optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [-1.0, 1.0]])
    >>> lambda_max(X, [3.0, 1.0], SquaredError())  # ½|1·(2 − 3) + (−1)·(2 − 1)|
    1.0
    """
    check_type("loss", loss, Loss, "a loss such as SquaredError()")
    X, targets, n_outputs = as_table("X", X), np.asarray(y), 1
    if targets.ndim == 2:
        n_outputs = targets.shape[1]
    elif isinstance(loss, SoftmaxCrossEntropy) and targets.dtype.kind in "iub":
        n_outputs = int(targets.max(initial=0)) + 1
    net = MLP((X.shape[1], n_outputs))
    features, targets, weight = Objective(net, loss).on(X, y, sample_weight).samples
    hot, omega = one_hot(targets, n_outputs), weight[:, np.newaxis]
    mean = np.sum(omega * hot, axis=0)
    return float(np.abs(features.T @ (omega * (mean - hot))).max())
