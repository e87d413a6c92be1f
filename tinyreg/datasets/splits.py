"""Samples to train on, and samples that are held back."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.datasets.labels import as_targets, class_of_each
from tinyreg.validate import Array, Data, Sparse


def split_rows(
    y: ArrayLike, test_share: float, seed: int = 0, stratify: bool = False
) -> tuple[Array, Array]:
    """The rows of the training part and of the test part, as `train_test_split` takes them.

    >>> split_rows(["a", "b", "a", "b", "a", "b"], 1 / 3, stratify=True)
    (array([5, 4, 0, 1]), array([3, 2]))
    """
    n = len(as_targets("y", y))
    share = validate.check_number("test_share", test_share, above=0)
    validate.check_flag("stratify", stratify)
    n_test = round(n * share)
    if not 0 < n_test < n:
        came = f"{share:g} of {n} samples"
        raise ValueError(f"test_share must leave samples on both sides, got {came}")
    order = np.random.default_rng(validate.check_integer("seed", seed, least=0)).permutation(n)
    if not stratify:
        return order[n_test:], order[:n_test]
    classes, places = class_of_each(y)
    held = np.zeros(n, dtype=bool)
    for k, few in enumerate(_shares(classes, np.bincount(places), n_test)):
        held[np.flatnonzero(places[order] == k)[:few]] = True
    return order[~held], order[held]


def _shares(classes: Array, counts: Array, n_test: int) -> Array:
    """How many samples of each class make n_test: in proportion, of each at least one, not all."""
    n, k, least = counts.sum(), len(classes), counts.argmin()
    if counts[least] < 2:
        came = f"{counts[least]} of the class {classes[least].item()!r}"
        wanted = "2 or more samples of each class for a stratified split"
        raise ValueError(f"y must have {wanted}, got {came}")
    if min(n_test, n - n_test) < k:
        wanted = f"a sample of each of the {k} classes on both sides"
        raise ValueError(f"test_share must leave {wanted}, got {n - n_test} and {n_test} samples")
    exact = counts * n_test / n
    shares = np.clip(np.floor(exact), 1, counts - 1)
    while missing := n_test - shares.sum():
        step = np.sign(missing)
        free = (shares + step >= 1) & (shares + step < counts)
        shares[np.where(free, step * (exact - shares), -np.inf).argmax()] += step
    return shares.astype(int)


def train_test_split(
    X: Data, y: ArrayLike, test_share: float = 0.2, seed: int = 0, stratify: bool = False
) -> tuple[Array | Sparse, Array, Array | Sparse, Array]:
    """Shuffle the samples and hold round(test_share · N) of them back, at least one, not all.

    X is (N, d), y (N,) or (N, k). Back come copies: X_train, y_train, X_test, y_test. With
    `stratify`, each class has its share in both parts, as closely as whole samples allow.

    >>> X, y, X_test, y_test = train_test_split(np.zeros((10, 2)), np.arange(10), 0.3)
    >>> len(X), len(X_test), sorted([*y.tolist(), *y_test.tolist()])
    (7, 3, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    X, (train, test) = validate.as_table("X", X), split_rows(y, test_share, seed, stratify)
    y = np.asarray(y)
    validate.check_pairs(X, y)
    return X[train], y[train], X[test], y[test]
