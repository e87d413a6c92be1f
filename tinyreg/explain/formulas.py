"""What activations, losses and penalties are in formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.penalties import L1, L2, ElasticNet, Penalty
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.validate import Array

#: f(z) and f'(z).
ACTIVATIONS = {
    "relu": ("max(z, 0)", "1 where z > 0, 0 elsewhere"),
    "leaky_relu": ("z where z > 0, 0.01 z elsewhere", "1 where z > 0, 0.01 elsewhere"),
    "tanh": ("tanh z", "1 − tanh² z"),
    "sigmoid": ("1/(1 + exp(−z))", "f(z) (1 − f(z))"),
    "softplus": ("log(1 + exp z)", "1/(1 + exp(−z))"),
    "gelu": ("z Φ(z)", "Φ(z) + z φ(z)"),
    "silu": ("z σ(z)", "σ(z) + z σ(z) (1 − σ(z))"),
    "identity": ("z", "1"),
}
#: The prediction, and what a sample costs.
LOSSES: dict[type[Loss], tuple[str, str]] = {
    SoftmaxCrossEntropy: ("softmax({z})", "−Σ_k y_k log p_k"),
    SigmoidCrossEntropy: ("σ({z})", "−Σ_k (y_k log p_k + (1 − y_k) log(1 − p_k))"),
    SquaredError: ("{z}", "½ Σ_k (p_k − y_k)²"),
}


class PenaltyFormulas(NamedTuple):
    """What a weight costs (of a group: its norm), the slope, the prox of u with step η.

    `within(R, u, η)` is what the prox computes on its way, as columns.
    """

    value: str
    slope: str
    prox: str
    within: Callable[[Any, Array, float], dict[str, ArrayLike]] = lambda R, u, lr: {}


PENALTIES: dict[type, PenaltyFormulas] = {
    L1: PenaltyFormulas(
        "λ|w|", "λ sign(w)", "u − clip(u, −ηλ, ηλ)", lambda R, u, lr: {"threshold `ηλ`": lr * R.lam}
    ),
    L2: PenaltyFormulas(
        "λw²", "2λw", "u/(1 + 2ηλ)", lambda R, u, lr: {"divisor `1 + 2ηλ`": 1 + 2 * lr * R.lam}
    ),
    ElasticNet: PenaltyFormulas(
        "l1|w| + l2 w²",
        "l1 sign(w) + 2 l2 w",
        "(u − clip(u, −η l1, η l1))/(1 + 2η l2)",
        lambda R, u, lr: {"threshold `η l1`": lr * R.l1, "divisor `1 + 2η l2`": 1 + 2 * lr * R.l2},
    ),
    GroupLasso: PenaltyFormulas(
        "‖w_g‖",
        "λ√|g| w/‖w_g‖",
        "u_g (1 − ηλ√|g|/‖u_g‖)₊",
        lambda R, u, lr: {
            "threshold `ηλ√|g|`": lr * R.lam * u.shape[R.axis] ** 0.5,
            "`‖u_g‖`": np.linalg.norm(u, axis=R.axis, keepdims=True),
        },
    ),
}
ANY_PENALTY = PenaltyFormulas("R(w)", "∂R(w)", "argmin_v R(v) + ‖v − u‖²/2η")


def penalty_formulas(R: Penalty) -> PenaltyFormulas:
    """By its type itself: a subclass may be another function.

    >>> penalty_formulas(L2(0.1)).slope, penalty_formulas(GroupLasso(0.1, axis=1, l2=0.1)).slope
    ('2λw', '∂R(w)')
    """
    if isinstance(R, GroupLasso) and (R.l1 or R.l2):
        return ANY_PENALTY._replace(value="‖w_g‖")
    return PENALTIES.get(type(R), ANY_PENALTY)
