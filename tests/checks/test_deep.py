"""Deep networks: every gradient is judged, right ones pass, and wrong ones do not."""

import numpy as np
import pytest

import tinyreg as tr


def case(sizes, activation, samples, seed=0, loss=None):
    rng = np.random.default_rng([17, seed])
    net = tr.MLP(sizes, activation, seed=seed)
    for b in net.biases:
        b[...] = 0.1 * rng.normal(size=b.shape)
    X, y = rng.normal(size=(samples, sizes[0])), rng.integers(0, sizes[-1], samples)
    return tr.Objective(net, tr.SoftmaxCrossEntropy() if loss is None else loss), X, y


def judged_whole(F, X, y):
    report = tr.check_gradients(F, X, y)
    assert report.ok, report
    assert sum(row["match"] for row in report.rows) == F.net.n_params
    assert report.notes == []


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid"])
@pytest.mark.parametrize(("depth", "width"), [(1, 8), (5, 64), (20, 32), (50, 8)])
def test_right_gradients_are_judged_whole(activation, depth, width):
    F, X, y = case((12, *[width] * depth, 5), activation, 6)
    judged_whole(F, X, y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "depth", "width", "samples"),
    [("relu", 4, 256, 2), ("gelu", 4, 256, 2), ("relu", 50, 128, 1), ("gelu", 50, 64, 1)],
)
def test_right_gradients_of_wide_networks_are_judged_whole(activation, depth, width, samples):
    F, X, y = case((20, *[width] * depth, 5), activation, samples)
    judged_whole(F, X, y)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid"])
@pytest.mark.parametrize(("depth", "width"), [(2, 16), (20, 16), (50, 8)])
def test_one_coordinate_off_by_a_thousandth_is_found_at_every_depth(activation, depth, width):
    """Where gradients vanish (|g| ~ 1e-30 behind 50 sigmoids) as well."""
    F, X, y = case((12, *[width] * depth, 3), activation, 3)
    gradient, rng = F.gradient(X, y), np.random.default_rng(3)
    for block in F.net.blocks[:: max(1, 2 * depth // 3)]:  # weights and biases, the first W too
        flat = np.flatnonzero(
            np.abs(block.of(gradient)).ravel() > 1e-3 * np.abs(block.of(gradient)).max()
        )
        place = np.unravel_index(rng.choice(flat), block.shape)
        wrong = gradient.copy()
        block.of(wrong)[place] *= 1.001
        report = tr.check_gradients(F, X, y, gradient=wrong)
        assert report.mismatches == 1, (block.name, report)
        assert report.details[block.name].verdict[place] == "mismatch"


@pytest.mark.parametrize("factor", [0.0, 2.0, -1.0, 1.01])
def test_the_first_of_seven_layers_is_not_passed_unseen(factor):
    X, y = tr.load_digits()
    F = tr.Objective(tr.MLP((64, *[128] * 6, 10), seed=0), tr.SoftmaxCrossEntropy())
    X, y = X[:4], y[:4]
    gradient = F.gradient(X, y)
    W1 = F.net.blocks[0]
    right = np.count_nonzero(W1.of(gradient))
    W1.of(gradient)[...] *= factor
    report = tr.check_gradients(F, X, y, gradient=gradient)
    assert report.rows[0]["mismatch"] == right == report.mismatches
    assert report.inconclusive == 0


class Doubled(tr.SoftmaxCrossEntropy):
    def delta(self, outputs, targets, weight):
        return 2 * super().delta(outputs, targets, weight)


def test_a_loss_with_a_doubled_gradient_under_fifteen_layers_is_found():
    F, X, y = case((20, *[64] * 15, 2), "tanh", 3, loss=Doubled())
    report = tr.check_gradients(F, X, y)
    assert report.mismatches == F.net.n_params
    assert all("factor 2" in row["diagnosis"] for row in report.rows)


class RealOnly(tr.SquaredError):
    """Its code drops imaginary parts."""

    def per_sample(self, outputs, targets):
        return super().per_sample(outputs.real, targets)


def test_slopes_that_vanish_are_judged_under_a_loss_that_drops_imaginary_parts():
    """No real difference sees slopes of 1e-22: those of the loss are carried down."""
    F, X, y = case((12, *[8] * 35, 2), "sigmoid", 6, loss=RealOnly())
    targets = np.stack([y, 1 - y], axis=1).astype(float)
    gradient = F.gradient(X, targets)
    W1 = F.net.blocks[0]
    assert 0 < np.abs(W1.of(gradient)).max() < 1e-20
    report = tr.check_gradients(F, X, targets)
    assert report.ok, report
    assert any("real differences decide" in note for note in report.notes)
    W1.of(gradient)[...] *= 1.001
    assert tr.check_gradients(F, X, targets, gradient=gradient).rows[0]["mismatch"] == 12 * 8


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_badly_scaled_and_positive_weights(activation, scale):
    F, X, y = case((6, *[12] * 10, 3), activation, 5)
    for W in F.net.weights:
        W[...] = scale * np.abs(W)
    report = tr.check_gradients(F, X, y)
    assert report.ok, report
    assert tr.check_gradients(F, X, y, gradient=1.01 * F.gradient(X, y)).mismatches
