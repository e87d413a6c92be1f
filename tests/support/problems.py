"""Objectives of random networks away from every kink, and a judge of their gradients."""

import numpy as np

import tinyreg as tr
from tests.support.derivatives import central, complex_step, relative_error


def problem(sizes=(4, 5, 3), n=6, activation="tanh", loss=None, penalty=None, **settings):
    """An objective with random parameters, biases included, and data for it."""
    loss = tr.SoftmaxCrossEntropy() if loss is None else loss
    net = tr.MLP(sizes, activation)
    for seed in range(1000):  # until no kink lies within the reach of the differences
        rng = np.random.default_rng(seed)
        net.params = rng.normal(size=net.n_params)
        X = rng.normal(size=(n, sizes[0]))
        hidden = net.trace(X).pre_activations[:-1]
        if all(np.abs(z).min() > 5e-3 for z in hidden) and np.abs(net.params).min() > 1e-3:
            break
    else:
        raise AssertionError("no seed without kinks")
    if isinstance(loss, tr.SoftmaxCrossEntropy):
        y = rng.integers(0, sizes[-1], n)
    else:
        y = rng.integers(0, 2, (n, sizes[-1]))
    return tr.Objective(net, loss, penalty, **settings), X, y


def assert_gradient_is_right(objective, X, y, sample_weight=None):
    params = objective.net.params.copy()

    def f(params):
        return objective.value(X, y, params, sample_weight)

    gradient = objective.gradient(X, y, sample_weight=sample_weight)
    assert relative_error(gradient, complex_step(f, params)) <= 1e-12
    assert relative_error(gradient, central(f, params)) <= 1e-7
    np.testing.assert_array_equal(objective.net.params, params)
