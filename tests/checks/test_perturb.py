"""One pre-activation moved by itself, many at once: the loss is that of a whole forward pass."""

import tracemalloc

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import random_case, small_problem
from tinyreg.checks.perturb import Perturbations
from tinyreg.core import layers


@pytest.mark.parametrize("activation", sorted(layers.ACTIVATIONS))
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_perturbed_networks_is_what_each_of_them_gives_alone(activation, seed):
    objective, X, y, sample_weight, _ = random_case(seed, 6, 3, activation=activation)
    net = objective.net
    problem = objective.on(X, y, sample_weight)
    network = Perturbations(net, objective.loss, problem.samples, net.params)
    for layer, W in enumerate(net.weights):
        n, j = (index.ravel() for index in np.indices((len(X), W.shape[1])))
        for step in (0.3, 1e-30j):
            change, _, _ = network.change(layer, n, j, np.full(len(n), step))
            for sample, unit, got in zip(n, j, change, strict=True):
                alone = loss_of_one(
                    objective, X[sample], problem.samples, sample, layer, unit, step
                )
                base = loss_of_one(objective, X[sample], problem.samples, sample, layer, unit, 0.0)
                if isinstance(step, complex):
                    size = 1e-30 * (1 + abs(net.params).max())
                    assert got.imag == pytest.approx(alone.imag, rel=1e-9, abs=1e-12 * size)
                else:
                    assert got == pytest.approx(alone - base, rel=1e-9, abs=1e-12 * (1 + abs(base)))


def loss_of_one(objective, x, samples, sample, layer, unit, step):
    """The loss of one sample, in a forward pass of it alone with a bias that moved for it."""
    net, a = objective.net, x
    for index, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        moved = b + step * (np.arange(len(b)) == unit) * (index == layer)
        z = a @ W + moved
        a = layers.ACTIVATIONS[net.activation].forward(z)
    return objective.loss.per_sample(z[np.newaxis], samples.targets[[sample]])[0]


def test_a_chunk_of_one_gives_what_a_chunk_of_all_gives(monkeypatch):
    F, X, y = small_problem("relu", sizes=(4, 6, 5, 3))
    whole = tr.check_gradients(F, X, y)
    monkeypatch.setattr("tinyreg.checks.perturb.AT_ONCE", 1)
    pieces = tr.check_gradients(F, X, y)
    for name, details in whole.details.items():
        np.testing.assert_allclose(pieces.details[name].numeric, details.numeric, rtol=1e-12)
        assert (pieces.details[name].verdict == details.verdict).all()


@pytest.mark.slow
def test_all_parameters_of_a_larger_net_in_bounded_memory():
    """50,890 parameters on 32 samples: as one batch that would be 130 MB for each array."""
    rng = np.random.default_rng(0)
    X, y = rng.random((32, 784)), rng.integers(0, 10, 32)
    F = tr.Objective(tr.MLP((784, 64, 10)), tr.SoftmaxCrossEntropy(), tr.L1(1e-4))
    tracemalloc.start()
    report = tr.check_gradients(F, X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(row["match"] for row in report.rows) == 50_890
    assert peak < 100 * 2**20
