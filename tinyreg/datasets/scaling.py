"""Columns on one scale, so that one λ suits the weights of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.validate import Array


def standardise(train: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """Shift and scale each column to mean 0 and variance 1 on `train`; `others` follow suit.

    All are (N, d), or (N,) for one column; a constant column is only shifted. What the test data
    look like changes nothing: a model that is judged on them must not have seen them.

    >>> train, test = standardise([[1.0], [3.0]], [[5.0]])
    >>> train.ravel(), test.ravel()
    (array([-1.,  1.]), array([3.]))
    """
    train = np.asarray(train, dtype=np.float64)
    mean, scale = train.mean(axis=0), train.std(axis=0)
    # A constant column's deviation is rounding noise, which must not be blown up to 1.
    scale = np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)
    return tuple((np.asarray(part) - mean) / scale for part in (train, *others))
