"""Activations and losses against decimal arithmetic, from 1e-300 to 1e3, in float64 and float32.

A result may be off by as much as if its argument and it were rounded 8 times (NumPy's own functions
are off by up to three), and by the smallest normal number of the dtype, as it may underflow.
"""

import numpy as np
import pytest

import tinyreg as tr
from tests.support import exact
from tinyreg.core.layers import ACTIVATIONS

ROUNDINGS, STEP = 8, 1e-30


def numbers(*sizes):
    """Of both signs; float32 numbers where these reach so far, so that both dtypes share them."""
    sizes = np.array(sizes)
    sizes = np.where(sizes > 1e-37, sizes.astype(np.float32), sizes).astype(float)
    return np.concatenate([-sizes[::-1], sizes])


SATURATED = 10, 17, 40, 700, 1000
# Near 0, between (with the slopes of silu and gelu that are near 0), and in the tails.
Z = numbers(
    1e-300, 1e-100, 1e-36, 1e-10, 1e-5, *np.geomspace(1e-3, 8, 14), 0.752, 1.278,
    16, 20, 36, 88, 104, 745, *SATURATED,
)  # fmt: skip
SCALES = numbers(1e-300, 1e-36, 1e-10, 0.5, 2, *SATURATED)

dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])
activations = pytest.mark.parametrize("name", ACTIVATIONS)


@pytest.fixture(autouse=True)
def nothing_overflows():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        yield


def of(dtype, z):
    """Those of the numbers (or rows) that the dtype has."""
    return z[np.abs(z).reshape(len(z), -1).max(axis=1) > np.finfo(dtype).tiny]


def assert_close(got, right, size, dtype, floor=1.0):
    """Off by a few roundings of `size`, or by underflow."""
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    far = np.abs(got.astype(np.float64) - right) > ROUNDINGS * eps * size + floor * tiny
    assert not far.any(), f"{got[far]} for {right[far]}"


# ------------------------------------------------------------ activations


@dtypes
@activations
def test_an_activation_is_right_to_rounding(name, dtype):
    z = of(dtype, Z)
    f, slope, _ = exact.activation(name, tuple(z))
    a = ACTIVATIONS[name].forward(z.astype(dtype))
    assert_close(a, f, np.abs(f) + np.abs(z * slope), dtype)


@dtypes
@activations
def test_a_backward_pass_is_right_to_rounding(name, dtype):
    z = of(dtype, Z)
    _, slope, bend = exact.activation(name, tuple(z))
    forward, backward = ACTIVATIONS[name]
    single = z.astype(dtype)
    got = backward(np.ones_like(single), single, forward(single))
    # tanh' = 1 − a² and σ' = a (1 − a) are right to rounding of the largest slope only where a
    # rounds to ±1. Forms that do not cancel need an exp, and so three times as long, for digits
    # that are lost as soon as the slope of a unit that is not saturated is added.
    largest = {"tanh": 1.0, "sigmoid": 0.25 * (z > 0)}.get(name, 0.0)
    assert_close(got, slope, np.maximum(np.abs(slope) + np.abs(z * bend), largest), dtype)


@activations
def test_the_complex_step_of_an_activation_is_its_slope(name):
    _, slope, bend = exact.activation(name, tuple(Z))
    got = ACTIVATIONS[name].forward(Z + STEP * 1j).imag / STEP
    assert_close(got, slope, np.abs(slope) + np.abs(Z * bend), np.float64, floor=1 / STEP)


# ------------------------------------------------------------ losses

SOFTMAX, SIGMOID, SQUARED = tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError()
# Of one sample, up to a scale; the second has no largest or two. All but 0.3 are short binary
# numbers, so that neither dtype rounds them or their differences.
LOGITS = {1: [[1]], 2: [[1, -1], [0.5, 0.5]], 5: [[1, 0.5, -1, 0.25, 0], [1, 1, 0, -0.5, -1]]}
SURE = 1 - 2**-8
PROBABILITIES = {
    1: [[1]],
    2: [[0.5, 0.5], [SURE, 2**-8]],
    5: [[0.5, 0.25, 0.25, 0, 0], [0, SURE, 0, 0, 2**-8]],
}
TARGETS = {
    "labels": lambda k: np.eye(k),
    "one-hot": lambda k: np.eye(k),
    "probabilities": lambda k: PROBABILITIES[k],
    "numbers": lambda k: [np.resize(row, k) for row in ([0], [1], [0.3, 1, 0])],
}
losses = pytest.mark.parametrize(
    ("loss", "kind"),
    [*((SOFTMAX, kind) for kind in list(TARGETS)[:3]), (SIGMOID, "numbers"), (SQUARED, "numbers")],
)
outputs = pytest.mark.parametrize("k", LOGITS)


def case(loss, kind, k, dtype):
    """Logits (N, K), targets as the loss has them, ℓ and ∂ℓ/∂z, and what these are sums of."""
    logits = of(dtype, np.array([scale * np.array(row) for scale in SCALES for row in LOGITS[k]]))
    rows = np.array(TARGETS[kind](k), dtype)
    z, y = np.repeat(logits, len(rows), axis=0), np.tile(rows, (len(logits), 1))
    name = type(loss).__name__
    right = np.array(
        [exact.loss(name, *map(tuple, pair)) for pair in zip(z, y.astype(float), strict=True)]
    )
    value, gradient = right[:, 0], right[:, 1:]
    targets = loss.check_targets(y.argmax(axis=1) if kind == "labels" else y, *z.shape, dtype)
    sizes = np.abs(value) + np.sum(np.abs(z * gradient), axis=1), np.abs(gradient)
    if loss is not SQUARED:  # p − y = (1 − y) p − y (1 − p), which cancels where 0 < y < 1
        sizes[1][...] += 2 * y * (1 - y)
    return z, targets, value, gradient, *sizes


@dtypes
@losses
@outputs
def test_a_loss_and_its_gradient_are_right_to_rounding(loss, kind, k, dtype):
    z, targets, value, gradient, value_size, gradient_size = case(loss, kind, k, dtype)
    z = z.astype(dtype)
    assert_close(loss.per_sample(z, targets), value, value_size, dtype)
    assert_close(loss.delta(z, targets, np.ones(len(z))), gradient, gradient_size, dtype)


@losses
@outputs
def test_the_complex_step_of_a_loss_is_its_gradient(loss, kind, k):
    z, targets, _, gradient, _, size = case(loss, kind, k, np.float64)
    got = np.array([loss.per_sample(z + STEP * 1j * e, targets).imag / STEP for e in np.eye(k)]).T
    assert_close(got, gradient, size, np.float64, floor=1 / STEP)


# ------------------------------------------------------------ checks


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [100, 1000])
@pytest.mark.parametrize("loss", [SOFTMAX, SIGMOID])
def test_the_right_gradient_of_sure_answers_is_called_right(loss, scale, dtype):
    # Where p − 1 rounds to 0 in one of value and gradient only, they are of different functions.
    rng = np.random.default_rng(0)
    net, X = tr.MLP((4, 6, 3), dtype=dtype, seed=2), rng.normal(size=(5, 4))
    net.weights[-1][...] *= scale
    z = net.forward(X).astype(np.float64)
    y = z.argmax(axis=1) if loss is SOFTMAX else (z > 0).astype(float)
    assert tr.check_gradients(tr.Objective(net, loss), X, y).ok
    plain = tr.check_gradients(tr.Objective(net, loss), X, y, plain=True)
    alone = tr.check_gradient(lambda z: loss.value(z, y), lambda z: loss.gradient(z, y), z)
    assert plain.mismatches == alone.mismatches == 0
