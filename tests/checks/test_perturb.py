"""One parameter moved by itself, many at once: the loss is that of the whole forward pass."""

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
    weights, biases = net.unpack(np.arange(net.n_params))
    base = problem.data_value()
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        places = np.concatenate([W.ravel(), b])
        k = np.arange(len(places))
        for step in (0.3, 1e-30j):
            change, _, _ = network.change(layer, k, np.full(len(k), step))
            for place, got in zip(places, change, strict=True):
                moved = net.params + step * (np.arange(net.n_params) == place)
                alone = problem.data_value(moved)
                if isinstance(step, complex):
                    size = abs(net.params).max() * 1e-30
                    assert got.imag == pytest.approx(alone.imag, rel=1e-9, abs=1e-12 * size)
                else:
                    assert got == pytest.approx(alone - base, rel=1e-9, abs=1e-12 * (1 + abs(base)))


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
