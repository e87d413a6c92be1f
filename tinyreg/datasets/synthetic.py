"""Data of which the truth is known."""

from __future__ import annotations

import numpy as np

from tinyreg.validate import Array, check_integer, check_number


def sparse_teacher(
    n_samples: int,
    n_features: int,
    n_relevant: int,
    *,
    hidden: int = 8,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[Array, Array, Array]:
    """Samples of which only some inputs matter, so that one can ask which method finds them.

    y = Σ_k ± tanh(Σ_j x_j W_jk) over the inputs j that matter, drawn at random; their rows of W
    have one norm. y is scaled to mean 0 and variance 1 before normal noise of this deviation is
    added; X is standard normal. The third array says which inputs matter, in ascending order.

    >>> X, y, relevant = sparse_teacher(100, 20, 3)
    >>> X.shape, y.shape, relevant
    ((100, 20), (100,), array([ 1, 10, 17]))
    """
    check_integer("n_samples", n_samples, least=2)
    check_integer("n_features", n_features, least=1)
    check_integer("n_relevant", n_relevant, least=1)
    check_integer("hidden", hidden, least=1)
    check_number("noise", noise, least=0)
    if n_relevant > n_features:
        raise ValueError(f"n_relevant must be <= n_features={n_features}, got {n_relevant}")
    rng = np.random.default_rng(check_integer("seed", seed, least=0))
    X = rng.normal(size=(n_samples, n_features))
    relevant = np.sort(rng.choice(n_features, n_relevant, replace=False))
    W = rng.normal(size=(n_relevant, hidden))
    W *= np.sqrt(hidden / n_relevant) / np.linalg.norm(W, axis=1, keepdims=True)
    y = np.tanh(X[:, relevant] @ W) @ rng.choice([-1.0, 1.0], hidden)
    y = (y - y.mean()) / y.std()
    return X, y + noise * rng.normal(size=n_samples), relevant
