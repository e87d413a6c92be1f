"""Random objectives with right gradients, at the places where checks go wrong: zeros, dead units,
saturated outputs, weights next to 0. Shared by the tests and the benchmark."""

from __future__ import annotations

import numpy as np

import tinyreg as tr
from tinyreg.core.layers import ACTIVATIONS

STATES = ("dense", "sparse", "dead", "tiny", "saturated", "zero samples", "all of it")


def small_problem(
    activation="tanh", penalty=None, loss=None, dtype="float64", sizes=(4, 5, 3), n=7
):
    """An objective with its X and labels, always the same."""
    rng = np.random.default_rng(0)
    net = tr.MLP(sizes, activation, dtype=dtype, seed=1)
    X = rng.normal(size=(n, sizes[0]))
    return tr.Objective(net, loss or tr.SoftmaxCrossEntropy(), penalty), X, rng.integers(0, 3, n)


def random_targets(loss, n_samples, n_outputs, rng):
    if isinstance(loss, tr.SoftmaxCrossEntropy):
        return rng.integers(0, n_outputs, n_samples)
    if isinstance(loss, tr.SigmoidCrossEntropy):
        return rng.integers(0, 2, (n_samples, n_outputs)).astype(float)
    return rng.normal(size=(n_samples, n_outputs))


def random_penalty(rng, n_layers):
    lam, other = 10.0 ** rng.uniform(-6, 0, 2)
    kinds = [None, tr.L1(lam), tr.L2(lam), tr.ElasticNet(lam, other)]
    kind = int(rng.integers(0, len(kinds) + 1))
    if kind < len(kinds):
        return kinds[kind]
    return [kinds[int(rng.integers(0, len(kinds)))] for _ in range(n_layers)]


def random_case(seed, max_width=40, max_depth=4, activation=None):
    """(objective, X, y, sample_weight, state) of case number `seed`."""
    rng = np.random.default_rng([2024, seed])
    depth = int(rng.integers(0, max_depth + 1))
    # Small widths as often as large ones.
    sizes = np.exp(rng.uniform(0, np.log(max_width + 1), depth + 2)).astype(int)
    if activation is None:
        activation = sorted(ACTIVATIONS)[seed % len(ACTIVATIONS)]
    net = tr.MLP(tuple(sizes.tolist()), activation, seed=rng)
    losses = (tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError())
    loss = losses[int(rng.integers(0, 3))]
    n_samples = int(rng.integers(1, 13))
    X = rng.normal(size=(n_samples, net.sizes[0]))
    state = STATES[int(rng.integers(0, len(STATES)))]
    every = state == "all of it"
    for b in net.biases:
        b[...] = rng.normal(size=b.shape) * (rng.random() < 0.5)
    if state == "saturated" or every:
        largest = np.abs(net.forward(X)).max()
        scale = 10.0 ** rng.uniform(1, 3) / max(largest, 1e-3)
        net.weights[-1][...] *= scale
        net.biases[-1][...] *= scale
    if state == "sparse" or every:
        weights = net.params[: net.n_weights]
        weights[rng.random(weights.size) < 0.8] = 0.0
    if (state == "dead" or every) and depth:
        layer = int(rng.integers(0, depth))
        dead = rng.random(net.sizes[layer + 1]) < 0.5
        net.weights[layer][:, dead] = 0.0
        net.biases[layer][dead] = 0.0 if rng.random() < 0.7 else -5.0
    if state == "tiny" or every:
        weights = net.params[: net.n_weights]
        some = rng.random(weights.size) < 0.3
        weights[some] = rng.choice([-1e-12, 1e-12], weights.size)[some]
    if state == "zero samples" or every:
        X[rng.random(n_samples) < 0.5] = 0.0
    objective = tr.Objective(
        net,
        loss,
        random_penalty(rng, depth + 1),
        bias_penalty=tr.L1(1e-3) if rng.random() < 0.2 else None,
    )
    sample_weight = rng.random(n_samples) + 0.1 if rng.random() < 0.3 else None
    return objective, X, random_targets(loss, n_samples, net.sizes[-1], rng), sample_weight, state


def trained_case(seed, steps=40, **sizes):
    """The network of `random_case(seed)`, trained by proximal L1 until weights are exactly 0."""
    objective, X, y, sample_weight, _ = random_case(seed, **sizes)
    net, loss = objective.net, objective.loss
    lam = float(np.random.default_rng([77, seed]).choice([3e-3, 3e-2, 0.1]))
    tr.fit(
        net, X, y, loss=loss, penalty=tr.L1(lam), method="proximal", optimizer=tr.Adam(0.02),
        epochs=steps, batch_size=len(X), seed=seed, sample_weight=sample_weight,
    )  # fmt: skip
    return tr.Objective(net, loss, tr.L1(lam)), X, y, sample_weight
