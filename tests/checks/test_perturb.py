"""One pre-activation moved by itself, many at once: the loss is that of a whole forward pass."""

import tracemalloc

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import random_case, small_problem
from tinyreg.checks.judge import SMALL
from tinyreg.checks.perturb import Perturbations, measure_network
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


EXACT = {  # f and f' in extended precision, neither from tinyreg
    "relu": lambda z: (np.maximum(z, 0), 1.0 * (z > 0)),
    "tanh": lambda z: (np.tanh(z), 1 / np.cosh(z) ** 2),
    "sigmoid": lambda z: (1 / (1 + np.exp(-z)), 1 / (2 + np.exp(z) + np.exp(-z))),
}


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision here")
@pytest.mark.parametrize("activation", sorted(EXACT))
@pytest.mark.parametrize("weights", ["of both signs", "positive", "small", "large"])
@pytest.mark.parametrize(("depth", "width"), [(1, 256), (3, 64), (20, 32), (50, 8)])
def test_the_error_is_larger_than_that_of_the_rounding_and_small(activation, weights, depth, width):
    rng = np.random.default_rng(depth)
    net = tr.MLP((10, *[width] * depth, 3), activation, seed=depth)
    scale = {"positive": 0.5, "small": 0.1, "large": 3.0}.get(weights, 1.0)
    for W in net.weights:
        W[...] = scale * (np.abs(W) if weights == "positive" else W)
    X, y = rng.normal(size=(5, 10)), rng.normal(size=(5, 3))
    samples = tr.Objective(net, tr.SquaredError()).on(X, y).samples
    measured, _ = measure_network(Perturbations(net, tr.SquaredError(), samples, net.params))
    exact = exact_gradient(net, X.astype(np.longdouble), y)
    off = np.abs(measured.value - exact)
    assert (off <= measured.error / 2).all()
    size = np.maximum(np.abs(measured.value), measured.scale)
    assert (measured.error <= SMALL / 1000 * size).all()  # the tanh of large weights is chaotic


def exact_gradient(net, x, y):
    """Of the mean of ½‖z − y‖², by the chain rule."""
    inputs, slopes, gradient = [x], [], np.empty(net.n_params, np.longdouble)
    for W, b in zip(net.weights, net.biases, strict=True):
        z = inputs[-1] @ W.astype(np.longdouble) + b
        a, slope = EXACT[net.activation](z)
        inputs.append(a)
        slopes.append(slope)
    d = (z - y) / len(x)
    for layer in reversed(range(len(slopes))):
        if layer < len(slopes) - 1:
            d = slopes[layer] * (d @ net.weights[layer + 1].T.astype(np.longdouble))
        net.blocks[layer].of(gradient)[...] = inputs[layer].T @ d
        net.blocks[len(slopes) + layer].of(gradient)[...] = d.sum(axis=0)
    return gradient


def test_imaginary_parts_off_by_a_thousandth_are_refuted_and_a_right_gradient_passes(monkeypatch):
    right = layers.ACTIVATIONS["tanh"]

    def forward(z):
        a = right.forward(z)
        return a + 1e-3j * a.imag if np.iscomplexobj(a) else a

    monkeypatch.setitem(layers.ACTIVATIONS, "tanh", right._replace(forward=forward))
    F, X, y = small_problem("tanh", sizes=(4, 6, 5, 3))
    report = tr.check_gradients(F, X, y)
    assert report.ok, report
    assert any("the complex step is wrong" in note for note in report.notes)


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
