"""How far from the optimum, without knowing it: the duality gap of a net without hidden layers.

Then z_n = x_n W + b is linear in the parameters, and F is convex:

    F(W, b) = Σ_n ω_n ℓ(z_n, y_n) + R(W),        ω_n = 1/N, or the sample's weight over their sum

Fenchel's inequality ℓ(z) ≥ u·z − ℓ*(u), used with any u_n for each sample, and its like for R give,
after minimising over W and b, a lower bound of every value of F:

    F(W, b) ≥ D(u) = −Σ_n ω_n ℓ*(u_n) − R*(−Xᵀθ),      θ_n = ω_n u_n,   if Σ_n θ_n = 0

(the condition is the price of a bias without a penalty: else the minimum over b is −∞). So
F(W, b) − D(u) is at least as large as the distance of F(W, b) from the minimum of F, and it is 0
at the minimum for u_n = ∂ℓ/∂z_n = prediction_n − y_n. Away from it, that u is made feasible: the
bias is fitted anew for the given W, which makes Σθ = 0, and θ is scaled into the domain of R*.

==========================  ==========================================  ======================
loss                        conjugate ℓ*(u), with q = u + y             domain
==========================  ==========================================  ======================
SquaredError                ½‖u‖² + u·y                                 everywhere
SoftmaxCrossEntropy         Σ_k q_k log q_k                             q a probability
SigmoidCrossEntropy         Σ_k q_k log q_k + (1 − q_k) log(1 − q_k)    q_k in [0, 1]
==========================  ==========================================  ======================

For R = λΣ|w|, R*(v) = 0 where all |v| ≤ λ, else ∞; for l1 Σ|w| + l2 Σw² it is
Σ max(|v| − l1, 0)²/(4 l2).

Source: Boyd and Vandenberghe, Convex Optimization, sections 3.3 and 5.1; for the scaling of the
dual point, El Ghaoui, Viallon and Rabbani, Pacific J. Optim. 8 (2012).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Data, Objective
from tinyreg.core.penalties import L1, L2, ElasticNet
from tinyreg.validate import Array, check_sample_weight, describe

NEWTON_STEPS = 50
BALANCED = 1e-13  # |Σθ|, as a share of Σ|θ| if that is large, at which the bias counts as fitted


def is_convex(objective: Objective) -> bool:
    """Whether F is convex: the network has no hidden layer (every penalty here is convex)."""
    return len(objective.net.sizes) == 2


def dual_penalty(objective: Objective) -> tuple[float, float] | None:
    """(l1, l2) of the only layer's penalty, or None where there is no gap to be had."""
    penalty = objective.penalty
    if not is_convex(objective) or objective.bias_penalty is not None:
        return None
    if isinstance(penalty, list | tuple):
        (penalty,) = penalty
    if type(penalty) is L1:  # a subclass may be another function
        l1, l2 = penalty.lam, 0.0
    elif type(penalty) is L2:
        l1, l2 = 0.0, penalty.lam
    elif type(penalty) is ElasticNet:
        l1, l2 = penalty.l1, penalty.l2
    else:
        return None
    return (l1, l2) if l1 > 0 or l2 > 0 else None


def duality_gap(objective: Objective, data: Data, params: Array, value: float) -> float | None:
    """A bound of F(params) − min F, or None where there is none.

    Parameters
    ----------
    objective : Objective
        Of a net without hidden layers, with L1, L2 or ElasticNet on its weights.
    data : Data
        From `objective.check`.
    params : (n_params,) array
    value : float
        F(params).

    Returns
    -------
    float or None
        None for a net with hidden layers, another penalty, or none; ∞ if Newton's method finds no
        bias (where a cross-entropy is so saturated that no curvature is left).

    Examples
    --------
    >>> F = Objective(MLP((1, 1)), SquaredError(), L1(0.5))
    >>> X, y = [[1.0], [-1.0]], [2.0, -2.0]  # F = ½(w − 2)² + ½b² + ½|w|, least at w = 1.5
    >>> for w in (1.0, 1.5):
    ...     params = np.array([w, 0.0])
    ...     value = F.value(X, y, params)
    ...     print(value, value - 0.875, duality_gap(F, F.check(X, y), params, value))
    1.0 0.125 0.125
    0.875 0.0 0.0
    """
    penalty = dual_penalty(objective)
    if penalty is None:
        return None
    (W,), (b,) = objective.net.unpack(params.astype(np.float64))
    X, omega = data.X.astype(np.float64), _omega(data.weight, len(data.X))
    y = _one_hot(data.targets, W.shape[1]).astype(np.float64)
    u = _balanced_dual(objective.loss, X @ W + b, y, omega)
    if u is None:
        return float("inf")
    return float(max(value - _dual_value(objective.loss, X, y, omega, u, *penalty), 0.0))


def _omega(weight: float | Array, n_samples: int) -> Array:
    return np.broadcast_to(np.asarray(weight, np.float64), (n_samples,))[:, np.newaxis]


def _one_hot(targets: Array, n_outputs: int) -> Array:
    return np.eye(n_outputs)[targets] if targets.ndim == 1 else targets


def _balanced_dual(loss: Loss, z: Array, y: Array, omega: Array) -> Array | None:
    """u = prediction − y at the logits z + c, with the shift c of the bias for which Σωu = 0.

    c minimises the convex Σ ω ℓ(z + c, y): Newton's method, with halved steps while it overshoots.
    """
    c = np.zeros(z.shape[1])
    u = loss.predict(z) - y
    for _ in range(NEWTON_STEPS):
        imbalance = np.sum(omega * u, axis=0)
        if np.abs(imbalance).max() <= BALANCED * max(1.0, float(np.sum(omega * np.abs(u)))):
            return u
        p = u + y
        if isinstance(loss, SquaredError):
            hessian = np.eye(len(c))
        elif isinstance(loss, SigmoidCrossEntropy):
            hessian = np.diag(np.sum(omega * p * (1 - p), axis=0))
        else:
            hessian = np.diag(np.sum(omega * p, axis=0)) - (omega * p).T @ p
        # The softmax Hessian is singular along (1, …, 1), which changes nothing: least squares.
        step = np.linalg.lstsq(hessian, -imbalance, rcond=None)[0]
        size = np.abs(imbalance).max()
        for _ in range(30):
            u = loss.predict(z + c + step) - y
            if np.abs(np.sum(omega * u, axis=0)).max() < size:
                break
            step /= 2
        c = c + step
    return None


def _dual_value(
    loss: Loss, X: Array, y: Array, omega: Array, u: Array, l1: float, l2: float
) -> float:
    """D at u, scaled down where R* would be infinite."""
    v = np.abs(X.T @ (omega * u))
    if l2 == 0:
        # y and the prediction are both in the domain of ℓ*, and so is all between: u may shrink.
        scale = min(1.0, l1 / v.max()) if v.max() > 0 else 1.0
        u, conjugate = scale * u, 0.0
    else:
        conjugate = float(np.sum(np.maximum(v - l1, 0) ** 2) / (4 * l2))
    q = u + y
    if isinstance(loss, SquaredError):
        per_number = 0.5 * u * u + u * y
    elif isinstance(loss, SigmoidCrossEntropy):
        per_number = -entr(np.clip(q, 0, 1)) - entr(np.clip(1 - q, 0, 1))
    else:
        per_number = -entr(np.clip(q, 0, 1))
    return -float(np.sum(omega * per_number)) - conjugate


def lambda_max(
    X: ArrayLike, y: ArrayLike, loss: Loss, sample_weight: ArrayLike | None = None
) -> float:
    """The smallest λ at which L1 leaves no weight of a net without hidden layers.

    With W = 0 and the bias fitted, every prediction is the mean target ȳ, and 0 is optimal just
    when |Xᵀω(ȳ − y)| ≤ λ for every weight. So λ_max = max |Σ_n ω_n x_ni (ȳ_k − y_nk)| (Friedman,
    Hastie and Tibshirani, J. Stat. Softw. 33, 2010, for the lasso).

    Parameters
    ----------
    X : (N, d) array
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
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a loss such as SquaredError(), got {describe(loss)}")
    features, targets = np.asarray(X), np.asarray(y)
    if features.ndim != 2:
        raise ValueError(f"X must have shape (n_samples, n_features), got {features.shape}")
    if targets.ndim == 2:
        n_outputs = targets.shape[1]
    elif isinstance(loss, SoftmaxCrossEntropy) and targets.dtype.kind in "iub":
        n_outputs = int(targets.max(initial=0)) + 1
    else:
        n_outputs = 1
    data = Objective(MLP((features.shape[1] or 1, n_outputs)), loss).check(X, y)
    hot = _one_hot(data.targets, n_outputs)
    omega = _omega(check_sample_weight(sample_weight, len(hot)), len(hot))
    mean = np.sum(omega * hot, axis=0)
    return float(np.abs(data.X.T @ (omega * (mean - hot))).max())
