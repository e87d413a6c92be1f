"""Each forward against another formula for the same function, each backward against its forward."""

import numpy as np
import pytest
from scipy import special

from tests.support.derivatives import central, complex_step, relative_error
from tinyreg.core.layers import (
    ACTIVATIONS,
    affine_backward,
    affine_forward,
    dropout_backward,
    dropout_forward,
    dropout_mask,
)

SHAPES = [(1, 1), (2, 3), (33, 5)]

# The same functions in SciPy's and NumPy's own words.
REFERENCES = {
    "relu": lambda z: np.where(z > 0, z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    "sigmoid": special.expit,
    "softplus": lambda z: np.logaddexp(0, z),
    "gelu": lambda z: 0.5 * z * (1 + special.erf(z / np.sqrt(2))),
    "silu": lambda z: z * special.expit(z),
    "identity": lambda z: z,
}


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_every_activation_has_a_reference():
    assert REFERENCES.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_forward_is_the_function_of_that_name(name):
    z = np.linspace(-6, 6, 241)
    np.testing.assert_allclose(
        ACTIVATIONS[name].forward(z), REFERENCES[name](z), rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_backward_is_the_derivative_of_its_forward(name, shape):
    forward, backward = ACTIVATIONS[name]
    z, da = 2 * random(shape), random(shape, 1)

    def f(z):
        return np.sum(da * forward(z))

    dz = backward(da, z, forward(z))
    assert relative_error(dz, central(f, z)) <= 1e-7
    assert relative_error(dz, complex_step(f, z)) <= 1e-12
    np.testing.assert_array_equal(backward(da, z), dz)  # the output is recomputed if not given


@pytest.mark.parametrize("step", [1e-30, -1e-30])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_complex_step_takes_the_branch_of_backward_at_a_kink(name, step):
    forward, backward = ACTIVATIONS[name]
    z = np.array([0.0, -0.0])
    derivative = forward(z + step * 1j).imag / step
    np.testing.assert_allclose(backward(np.ones(2), z), derivative, rtol=1e-15)


@pytest.mark.parametrize(("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_derivative_at_a_kink_is_the_one_from_the_left(name, slope):
    assert ACTIVATIONS[name].backward(np.ones(1), np.zeros(1)) == slope


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_saturates_without_overflow(name):
    forward, backward = ACTIVATIONS[name]
    z = np.array([-1e4, -745.0, -40.0, 40.0, 745.0, 1e4])
    a, dz = forward(z), backward(np.ones_like(z), z)
    assert np.isfinite(a).all()
    assert np.isfinite(dz).all()
    derivative = forward(z + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(dz, derivative, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    forward, backward = ACTIVATIONS[name]
    z = np.array([np.nan, 1.0])
    assert np.isnan(forward(z)).tolist() == [True, False]
    assert np.isnan(backward(z, np.ones(2))).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_keeps_the_dtype_and_its_arguments(name, dtype):
    forward, backward = ACTIVATIONS[name]
    z, da = random((4, 3)).astype(dtype), random((4, 3), 1).astype(dtype)
    z.flags.writeable = da.flags.writeable = False
    a = forward(z)
    dz = backward(da, z, a)
    assert a.dtype == dz.dtype == dtype
    assert not np.shares_memory(a, z)
    assert not np.shares_memory(dz, da)


@pytest.mark.parametrize("n", [1, 2, 33])
def test_affine_backward_is_the_derivative_of_affine_forward(n):
    x, W, b, dz = random((n, 4)), random((4, 3), 1), random(3, 2), random((n, 3), 3)
    inputs = [x, W, b]
    gradients = affine_backward(dz, x, W, b)
    for i, gradient in enumerate(gradients):

        def f(value, i=i):
            return np.sum(dz * affine_forward(*inputs[:i], value, *inputs[i + 1 :]))

        assert gradient.shape == inputs[i].shape
        assert relative_error(gradient, central(f, inputs[i])) <= 1e-7
        assert relative_error(gradient, complex_step(f, inputs[i])) <= 1e-12


def test_affine_backward_writes_to_out_and_skips_dx_when_told():
    x, W, b, dz = random((5, 4)), random((4, 3), 1), random(3, 2), random((5, 3), 3)
    out = np.empty((4, 3)), np.empty(3)
    got = affine_backward(dz, x, W, b, out=out)
    assert got[1] is out[0]
    assert got[2] is out[1]
    for array, expected in zip(got, affine_backward(dz, x, W, b), strict=True):
        np.testing.assert_array_equal(array, expected)
    assert affine_backward(dz, x, W, with_dx=False)[0] is None


def test_dropout_keeps_the_mean_and_the_named_share():
    mask = dropout_mask((200_000,), 0.3, np.random.default_rng(0))
    assert set(np.unique(mask)) == {0.0, 1 / 0.7}
    assert abs(np.mean(mask == 0) - 0.3) < 0.005  # five standard deviations
    assert abs(mask.mean() - 1) < 0.008


def test_dropout_backward_is_the_derivative_of_dropout_forward():
    a, dout = random((6, 5)), random((6, 5), 1)
    mask = dropout_mask((6, 5), 0.5, np.random.default_rng(0))

    def f(a):
        return np.sum(dout * dropout_forward(a, mask))

    assert relative_error(dropout_backward(dout, a, mask), complex_step(f, a)) <= 1e-14
    assert relative_error(dropout_backward(dout, a, mask), central(f, a)) <= 1e-7
