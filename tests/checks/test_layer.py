"""`check_backward`: layers in several styles, and bad arguments."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.planted import batch_norm, batch_norm_backward
from tinyreg.core import layers


def softmax_loss(z, labels):
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return np.array(-np.log(p[np.arange(len(z)), labels]).mean())


def softmax_loss_backward(dout, z, labels):
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    p[np.arange(len(z)), labels] -= 1
    return dout * p / len(z), None


def two_layers_forward(x, W1, b1, W2, b2):
    """In the style of CS231n: the output, and a cache for the way back."""
    hidden = x @ W1 + b1
    active = np.maximum(hidden, 0)
    return active @ W2 + b2, (x, W1, W2, hidden, active)


def two_layers_backward(dout, cache):
    x, W1, W2, hidden, active = cache
    dactive = dout @ W2.T
    dhidden = dactive * (hidden > 0)
    return dhidden @ W1.T, x.T @ dhidden, dhidden.sum(0), active.T @ dout, dout.sum(0)


def test_layers_in_the_style_of_a_course():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((5, 4), (4, 6), 6, (6, 3), 3)]

    def forward(*a):
        return two_layers_forward(*a)[0]

    def backward(dout, *a):
        return two_layers_backward(dout, two_layers_forward(*a)[1])

    names = ("x", "W1", "b1", "W2", "b2")
    report = tr.check_backward(forward, backward, *arrays, names=names)
    assert [row["block"] for row in report.rows] == list(names)
    assert [row["match"] for row in report.rows] == [20, 24, 6, 18, 3]

    labels = rng.integers(0, 3, 5)
    report = tr.check_backward(softmax_loss, softmax_loss_backward, arrays[0][:, :3], labels)
    assert [row["match"] for row in report.rows] == [15]

    report = tr.check_backward(
        batch_norm, batch_norm_backward, arrays[0], rng.normal(size=4), rng.normal(size=4)
    )
    assert [row["match"] for row in report.rows] == [20, 4, 4]


@pytest.mark.parametrize("name", sorted(layers.ACTIVATIONS))
def test_every_pair_of_this_package(name):
    z = np.concatenate([np.linspace(-6, 6, 21), [-300.0, 300.0, 1e-9]])
    pair = layers.ACTIVATIONS[name]
    report = tr.check_backward(pair.forward, pair.backward, z)
    assert report.ok, str(report)
    assert report.rows[0]["kink"] == (name in ("relu", "leaky_relu"))
    rng = np.random.default_rng(0)
    x, W, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=2)
    tr.check_backward(layers.affine_forward, layers.affine_backward, x, W, b).raise_if_failed()
    mask = layers.dropout_mask((3, 4), 0.5, rng)
    tr.check_backward(
        layers.dropout_forward, layers.dropout_backward, x, mask, wrt=(0,)
    ).raise_if_failed()


def test_a_backward_that_changes_its_arguments_is_reported_and_harmless():
    def backward(dout, x):
        dout *= 2 * x
        return dout

    x = np.array([1.0, 2.0])
    report = tr.check_backward(lambda x: x**2, backward, x)
    assert report.ok
    assert report.notes == ["backward changes dout in place"]
    np.testing.assert_array_equal(x, [1.0, 2.0])


def test_a_forward_with_a_cache_is_pointed_to_the_adapter():
    for cache in (None, np.ones((5, 4))):
        with pytest.raises(TypeError, match="forward must return one array, got a tuple"):
            tr.check_backward(lambda z, c=cache: (z, c), lambda d, z: d, np.ones((5, 4)))


def test_bad_arguments_of_check_backward_are_named():
    x = np.ones((2, 2))
    with pytest.raises(ValueError, match="backward must return 2 gradients"):
        tr.check_backward(np.add, lambda d, a, b: d, x, x)
    with pytest.raises(ValueError, match=r"the gradient of b must have shape \(2,\), got \(2, 2\)"):
        tr.check_backward(np.add, lambda d, a, b: (d, d), x, x[0], names=("a", "b"))
    with pytest.raises(TypeError, match="at least one array of floats"):
        tr.check_backward(np.negative, lambda d, a: -d, np.array([1, 2]))
    with pytest.raises(ValueError, match="arrays must not be empty"):
        tr.check_backward(np.negative, lambda d, a: -d)
    with pytest.raises(ValueError, match="names must have 1 entries"):
        tr.check_backward(np.negative, lambda d, a: -d, x, names=("a", "b"))
    with pytest.raises(ValueError, match="forward must give the same result"):
        tr.check_backward(lambda a: a * np.random.default_rng().random(a.shape), lambda d, a: d, x)


@pytest.mark.parametrize("wrt", [0, [3], [-1], [0, 7], ["x"]])
def test_a_bad_wrt_is_named(wrt):
    with pytest.raises((TypeError, ValueError), match="wrt must"):
        tr.check_backward(np.tanh, lambda d, z: d * (1 - np.tanh(z) ** 2), np.ones(3), wrt=wrt)
