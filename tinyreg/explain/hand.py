"""A network small enough to be worked by hand."""

from __future__ import annotations

import numpy as np

from tinyreg.core.losses import Loss, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.penalties import L1, Penalty
from tinyreg.validate import Array

HAND_PENALTY = L1(0.5)


def hand_example(
    activation: str = "relu", loss: Loss | None = None, penalty: Penalty | None = HAND_PENALTY
) -> tuple[Objective, Array, Array]:
    """A 2-2-2 network, a sample and its target, with numbers that can be worked by hand.

    Under relu the second hidden unit is off, so that its weights feel the penalty only. With
    L1(0.5) and steps of 0.1 each step moves those by 0.05: W2[1,0] goes from 0.08 to 0.03, and
    then the subgradient moves it to −0.02 and back for ever.

    Parameters
    ----------
    activation : str
        As for `MLP`.
    loss : Loss, optional
        SquaredError() if left out; the target (1, 0) suits all three.
    penalty : Penalty or None
        As for `Objective`.

    Returns
    -------
    objective : Objective
    X, y : (1, 2) arrays

    Examples
    --------
    >>> objective, X, y = hand_example()
    >>> objective.net.forward(X).round(12), round(objective.value(X, y), 12)
    (array([[ 1.5, -0.5]]), 2.29)
    """
    net = MLP((2, 2, 2), activation)
    W1, W2 = [[0.1, -1.0], [0.9, 0.25]], [[0.5, -0.25], [0.08, 1.0]]
    net.params = np.ravel([*W1, *W2, [0.1, 0.0], [0.5, 0.0]])
    objective = Objective(net, SquaredError() if loss is None else loss, penalty)
    return objective, np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])
