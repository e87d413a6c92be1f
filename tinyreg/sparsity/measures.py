"""How sparse a network is: zeros counted exactly, and what they switch off.

A weight is a zero if it equals 0, never if it merely rounds to it; what is small is counted apart.
All shares are of the weights, without the biases.

>>> net = MLP((2, 3, 1))
>>> net.params = [0.0, 1e-4, 2.0, 0.0, 3.0, 4.0, 5.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0]
>>> zero_share(net), near_zero_share(net)  # of nine weights
(0.3333333333333333, 0.4444444444444444)
>>> active_inputs(net), active_units(net), dead_share(active_units(net))
(array([ True,  True]), array([False, False,  True]), 0.6666666666666666)
"""

from __future__ import annotations

import itertools

import numpy as np

from tinyreg.core.network import MLP
from tinyreg.validate import Array

NEAR_ZERO = 1e-3


def zero_share(net: MLP) -> float:
    """The share of weights with w == 0."""
    return float(np.mean(net.params[: net.n_weights] == 0))


def near_zero_share(net: MLP) -> float:
    """The share of weights with |w| < 1e-3, the exact zeros among them."""
    return float(np.mean(np.abs(net.params[: net.n_weights]) < NEAR_ZERO))


def active_inputs(net: MLP) -> Array:
    """Which inputs have a nonzero weight, a row of the first W: (n_in,) of bool."""
    return np.any(net.weights[0] != 0, axis=1)


def active_units(net: MLP) -> Array:
    """Which hidden units, of all layers, have nonzero weights on both sides: (n_hidden,), bool."""
    sides = [
        into.any(axis=0) & out_of.any(axis=1) for into, out_of in itertools.pairwise(net.weights)
    ]
    return np.concatenate([np.zeros(0, bool), *sides])


def dead_share(active: Array) -> float:
    """The share that is not active; 0 of nothing."""
    return float(np.mean(~active)) if active.size else 0.0
