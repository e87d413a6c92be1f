"""Samples to train on, and samples that are held back."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.validate import Array, check_integer, check_number, check_pairs


def train_test_split(
    X: ArrayLike, y: ArrayLike, test_share: float = 0.2, seed: int = 0
) -> tuple[Array, Array, Array, Array]:
    """Shuffle the samples and hold round(test_share · N) of them back, at least one, not all.

    X is (N, d), y (N,) or (N, k). Back come copies: X_train, y_train, X_test, y_test.

    >>> X, y, X_test, y_test = train_test_split(np.zeros((10, 2)), np.arange(10), 0.3)
    >>> len(X), len(X_test), sorted([*y.tolist(), *y_test.tolist()])
    (7, 3, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    X, y = np.asarray(X), np.asarray(y)
    check_pairs(X, y)
    share = check_number("test_share", test_share, above=0)
    n_test = round(len(X) * share)
    if not 0 < n_test < len(X):
        raise ValueError(
            f"test_share must leave samples on both sides, got {share:g} of {len(X)} samples"
        )
    order = np.random.default_rng(check_integer("seed", seed, least=0)).permutation(len(X))
    test, train = order[:n_test], order[n_test:]
    return X[train], y[train], X[test], y[test]
