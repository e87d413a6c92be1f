"""How sparse a network is: zeros counted exactly, and what they switch off.

A weight is a zero if it equals 0, never if it merely rounds to it; what is small is counted apart.
"""

from __future__ import annotations

import itertools

import numpy as np

from tinyreg.core.network import MLP
from tinyreg.validate import Array

NEAR_ZERO = 1e-3


def exact_zeros(net: MLP) -> float:
    """The share of weights with w == 0.

    Parameters
    ----------
    net : MLP

    Returns
    -------
    float

    Examples
    --------
    >>> net = MLP((2, 2))
    >>> net.params = [0.0, 1e-4, 1.0, 2.0, 0.0, 0.0]
    >>> exact_zeros(net)  # of the four weights; biases do not count
    0.25
    """
    return float(np.count_nonzero(net.params[: net.n_weights] == 0) / net.n_weights)


def near_zeros(net: MLP) -> float:
    """The share of weights with |w| < 1e-3, the exact zeros among them.

    Parameters
    ----------
    net : MLP

    Returns
    -------
    float

    Examples
    --------
    >>> net = MLP((2, 2))
    >>> net.params = [0.0, 1e-4, 1.0, 2.0, 0.0, 0.0]
    >>> near_zeros(net)
    0.5
    """
    return float(np.mean(np.abs(net.params[: net.n_weights]) < NEAR_ZERO))


def active_inputs(net: MLP) -> Array:
    """Which inputs have a nonzero weight.

    Parameters
    ----------
    net : MLP

    Returns
    -------
    (n_in,) array of bool

    Examples
    --------
    >>> net = MLP((3, 2))
    >>> net.weights[0][1] = 0  # an input is a row of the first W
    >>> active_inputs(net)
    array([ True, False,  True])
    """
    return np.any(net.weights[0] != 0, axis=1)


def active_units(net: MLP) -> Array:
    """Which hidden units, of all layers, have nonzero weights on both sides.

    Parameters
    ----------
    net : MLP

    Returns
    -------
    (n_hidden,) array of bool

    Examples
    --------
    >>> net = MLP((2, 3, 1))
    >>> net.weights[0][:, 0] = 0  # the first sees nothing
    >>> net.weights[1][1] = 0  # nobody listens to the second
    >>> active_units(net), dead_share(active_units(net))
    (array([False, False,  True]), 0.6666666666666666)
    """
    sides = [
        into.any(axis=0) & out_of.any(axis=1) for into, out_of in itertools.pairwise(net.weights)
    ]
    return np.concatenate([np.zeros(0, bool), *sides])


def dead_share(active: Array) -> float:
    """The share that is not active; 0 of nothing.

    Parameters
    ----------
    active : (n,) array of bool

    Returns
    -------
    float

    Examples
    --------
    >>> dead_share(np.array([True, False, True, True]))
    0.25
    """
    return float(np.mean(~active)) if active.size else 0.0
