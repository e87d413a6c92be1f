"""The checks themselves: against plain loops, closed forms, other libraries, and bad input."""

import json
import os
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from scipy.special import expit

import tinyreg as tr
from tests.support.nets import random_case
from tinyreg.checks.differences import Perturbations, noise_of, penalty_slopes
from tinyreg.core import layers


def small(activation="tanh", penalty=None, loss=None, dtype="float64", sizes=(4, 5, 3), n=7):
    rng = np.random.default_rng(0)
    net = tr.MLP(sizes, activation, dtype=dtype, seed=1)
    X = rng.normal(size=(n, sizes[0]))
    return tr.Objective(net, loss or tr.SoftmaxCrossEntropy(), penalty), X, rng.integers(0, 3, n)


# ------------------------------------------------------------ the judges


@pytest.mark.parametrize("activation", sorted(layers.ACTIVATIONS))
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_perturbed_networks_is_what_each_of_them_gives_alone(activation, seed):
    objective, X, y, sample_weight, _ = random_case(seed, 6, 3, activation=activation)
    net = objective.net
    data = objective.check(X, y, sample_weight)
    stencil = Perturbations(net, objective.loss, data, net.params)
    weights, biases = net.unpack(np.arange(net.n_params))
    base = objective.data_value(data, net.params)
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        places = np.concatenate([W.ravel(), b])
        k = np.arange(len(places))
        for step in (0.3, 1e-30j):
            change, _, _ = stencil.change(layer, k, np.full(len(k), step))
            for place, got in zip(places, change, strict=True):
                moved = net.params + step * (np.arange(net.n_params) == place)
                alone = objective.data_value(data, moved)
                if isinstance(step, complex):
                    size = abs(net.params).max() * 1e-30
                    assert got.imag == pytest.approx(alone.imag, rel=1e-9, abs=1e-12 * size)
                else:
                    assert got == pytest.approx(alone - base, rel=1e-9, abs=1e-12 * (1 + abs(base)))


def test_a_chunk_of_one_gives_what_a_chunk_of_all_gives(monkeypatch):
    F, X, y = small("relu", sizes=(4, 6, 5, 3))
    whole = tr.check_gradients(F, X, y)
    monkeypatch.setattr("tinyreg.checks.differences.AT_ONCE", 1)
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


@pytest.mark.parametrize("seed", range(40))
def test_the_fast_judges_and_the_plain_one_agree(seed):
    objective, X, y, sample_weight, _ = random_case(seed, 6, 2)
    fast = tr.check_gradients(objective, X, y, sample_weight=sample_weight)
    plain = tr.check_gradients(objective, X, y, sample_weight=sample_weight, plain=True)
    assert fast.ok
    assert plain.ok
    size = 1 + abs(objective.value(X, y, sample_weight=sample_weight))
    for name, quick in fast.details.items():
        slow = plain.details[name]
        both = (quick.verdict == "match") & (slow.verdict == "match")
        np.testing.assert_allclose(
            quick.numeric[both], slow.numeric[both], rtol=1e-6, atol=1e-8 * size
        )
        both = (quick.verdict == "kink") & (slow.verdict == "kink")
        np.testing.assert_allclose(quick.left[both], slow.left[both], rtol=1e-4, atol=1e-5 * size)
        np.testing.assert_allclose(quick.right[both], slow.right[both], rtol=1e-4, atol=1e-5 * size)


def test_numeric_derivatives_are_closed_forms():
    """Logistic regression: ∇L = Xᵀ(σ(Xw + b) − y)/N, and 2λw."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(9, 4)), rng.integers(0, 2, 9).astype(float)
    net = tr.MLP((4, 1), seed=2)
    report = tr.check_gradients(tr.Objective(net, tr.SigmoidCrossEntropy(), tr.L2(0.3)), X, y)
    w = net.weights[0]
    off = expit(X @ w)[:, 0] - y
    np.testing.assert_allclose(
        report.details["W1"].numeric[:, 0], X.T @ off / 9 + 0.6 * w[:, 0], rtol=1e-12
    )
    np.testing.assert_allclose(report.details["b1"].numeric, [off.mean()], rtol=1e-12)


@pytest.mark.parametrize("penalty", [tr.L1(0.2), tr.L2(0.2), tr.ElasticNet(0.2, 0.3)])
def test_penalty_slopes_are_closed_forms(penalty):
    w = np.array([-2.0, -1e-12, 0.0, 1e-12, 1e-3, 3.0])
    l1 = getattr(penalty, "l1", penalty.lam if isinstance(penalty, tr.L1) else 0.0)
    l2 = getattr(penalty, "l2", penalty.lam if isinstance(penalty, tr.L2) else 0.0)
    got = penalty_slopes(penalty, w)
    np.testing.assert_allclose(got.value, l1 * np.sign(w) + 2 * l2 * w, rtol=1e-9)
    assert got.kink.tolist() == [False, False, not penalty.smooth, False, False, False]
    if not penalty.smooth:
        np.testing.assert_allclose([got.left[2], got.right[2]], [-l1, l1], rtol=1e-6)


class NumpyL1(tr.L1):
    """|w| by np.abs, through which no imaginary part passes."""

    def value(self, w):
        return self.lam * np.abs(w).sum()


class WrongNumpyL1(NumpyL1):
    def subgradient(self, w):
        return 2 * super().subgradient(w)


def test_a_penalty_that_drops_imaginary_parts_is_measured_weight_by_weight():
    w = np.array([-2.0, -1e-12, 0.0, 1e-12, 1e-3, 3.0])
    for penalty in (NumpyL1(0.5), WrongNumpyL1(0.5)):
        got = penalty_slopes(penalty, w)
        np.testing.assert_allclose(got.value[w != 0], 0.5 * np.sign(w[w != 0]), rtol=1e-6)
        np.testing.assert_allclose([got.left[2], got.right[2]], [-0.5, 0.5])
    F, X, y = small(penalty=NumpyL1(0.01))
    assert tr.check_gradients(F, X, y).ok
    F, X, y = small(penalty=WrongNumpyL1(0.01))
    report = tr.check_gradients(F, X, y)
    assert report.rows[0]["diagnosis"] == "penalty: constant factor 2: a 2 too much"


def test_noise_is_estimated_and_a_kink_is_not_taken_for_noise():
    rng = np.random.default_rng(0)
    x = np.array([0.3, -0.2])
    assert noise_of(lambda x: float(np.sum(x**2)), x, 0.13, rng) < 1e-15
    assert noise_of(lambda x: float(np.abs(x - 0.3).sum()), x, 0.5, rng) < 1e-15
    draws = np.random.default_rng(1)
    noisy = noise_of(lambda x: float(np.sum(x)) + 1e-6 * draws.normal(), x, 0.1, rng)
    assert 2e-7 < noisy < 1e-5


# ------------------------------------------------------------ objectives that are not plain


class MeanAbsolute(tr.SquaredError):
    """A smooth loss whose code drops imaginary parts."""

    def per_sample(self, outputs, targets):
        return np.sqrt(np.abs(outputs - targets) ** 2 + 1.0).sum(axis=1)

    def delta(self, outputs, targets, weight, out=None):
        error = outputs - targets
        return weight * error / np.sqrt(error**2 + 1.0)


class RefusesComplex(MeanAbsolute):
    def per_sample(self, outputs, targets):
        if np.iscomplexobj(outputs):
            raise TypeError("real numbers only")
        return super().per_sample(outputs, targets)


@pytest.mark.parametrize("loss", [MeanAbsolute(), RefusesComplex()])
def test_where_the_complex_step_does_not_work_real_differences_decide(loss):
    F, X, _ = small(loss=loss)
    y = np.random.default_rng(0).normal(size=(7, 3))
    report = tr.check_gradients(F, X, y)
    assert report.ok, str(report)
    assert not any(row["inconclusive"] or row["kink"] for row in report.rows)
    assert any("real differences decide" in note for note in report.notes)
    wrong = F.gradient(X, y)
    wrong[3] *= 1.0001
    assert sum(r["mismatch"] for r in tr.check_gradients(F, X, y, gradient=wrong).rows) == 1


class Scaled(tr.Objective):
    """An objective that says something else than its layers compute."""

    def value(self, X, y, params=None, sample_weight=None):
        return 2 * super().value(X, y, params, sample_weight)


class ScaledRightly(Scaled):
    def gradient(self, X, y, params=None, sample_weight=None):
        return 2 * super().gradient(X, y, params, sample_weight)


def test_a_subclass_with_another_value_is_judged_by_that_value():
    F, X, y = small(penalty=tr.L2(0.1))
    wrong = tr.check_gradients(Scaled(F.net, F.loss, F.penalty), X, y)
    assert not wrong.ok
    assert any("objective.value is not that of" in note for note in wrong.notes)
    assert wrong.rows[0]["diagnosis"].startswith("constant factor 0.5")
    assert tr.check_gradients(ScaledRightly(F.net, F.loss, F.penalty), X, y).ok


def test_a_forward_pass_with_a_broken_layer_is_judged_as_it_is(monkeypatch):
    """Both sides of the fast evaluation would be wrong here, in different ways."""
    monkeypatch.setattr(
        "tinyreg.core.network.affine_forward", lambda x, W, b, out=None: np.matmul(x, W, out=out)
    )
    F, X, y = small()
    report = tr.check_gradients(F, X, y)
    assert [row["block"] for row in report.rows if row["mismatch"]] == ["b1", "b2"]
    assert any("layers that it should be made of" in note for note in report.notes)


# ------------------------------------------------------------ arguments of check_gradients


def test_params_elsewhere_and_sample_weights():
    F, X, y = small(penalty=tr.ElasticNet(0.1, 0.2))
    before = F.net.params.copy()
    p = np.random.default_rng(9).normal(size=F.net.n_params)
    weight = np.arange(7.0)
    report = tr.check_gradients(F, X, y, params=p, sample_weight=weight)
    assert report.ok
    W1 = F.net.unpack(F.gradient(X, y, params=p, sample_weight=weight))[0][0]
    np.testing.assert_allclose(report.details["W1"].numeric, W1, rtol=1e-9)
    np.testing.assert_array_equal(F.net.params, before)
    unweighted = F.gradient(X, y, params=p)
    assert not tr.check_gradients(F, X, y, params=p, sample_weight=weight, gradient=unweighted).ok


def test_a_gradient_from_elsewhere_may_be_a_function():
    F, X, y = small(penalty=tr.L1(0.1))
    assert tr.check_gradients(F, X, y, gradient=lambda p: F.gradient(X, y, params=p)).ok
    assert not tr.check_gradients(F, X, y, gradient=lambda p: F.data_gradient(X, y, params=p)).ok


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("plain", [False, True])
def test_dropout_is_checked_with_its_masks_frozen(activation, plain):
    F, X, y = small(activation, penalty=tr.L2(0.1), sizes=(4, 6, 5, 3))
    rng = np.random.default_rng(4)
    masks = [layers.dropout_mask((len(X), n), 0.5, rng) for n in (6, 5)]
    report = tr.check_gradients(F, X, y, masks=masks, plain=plain)
    assert report.ok, str(report)
    assert report.notes == []
    # The gradient without dropout is another one.
    assert not tr.check_gradients(F, X, y, masks=masks, gradient=F.gradient(X, y)).ok


def test_a_float32_net_is_checked_in_float64_and_its_rounding_is_measured():
    F, X, y = small(dtype="float32", penalty=tr.L2(0.01))
    before = F.net.params.copy()
    report = tr.check_gradients(F, X, y, precision=True)
    assert report.ok
    assert F.net.dtype == np.float32
    assert F.net.params.dtype == np.float32
    np.testing.assert_array_equal(F.net.params, before)
    assert all(row["worst"] < 1e-9 for row in report.rows)
    assert all(0 < row["precision"] < 1e-5 for row in report.rows)
    assert "float32 gradient: off by" in str(report)
    assert all(row["precision"] is None for row in tr.check_gradients(F, X, y).rows)
    # A gradient computed in float32 passes with its rounding, and not with more.
    single = F.gradient(X, y)
    assert single.dtype == np.float32
    assert tr.check_gradients(F, X, y, gradient=single).ok
    assert not tr.check_gradients(F, X, y, gradient=single * np.float32(1.001)).ok


def test_nothing_that_was_handed_in_is_changed():
    F, X, y = small("relu", penalty=tr.L1(0.1))
    kept = F.net.params.copy(), X.copy(), y.copy()
    gradient = F.gradient(X, y)
    tr.check_gradients(F, X, y, gradient=gradient)
    tr.check_gradients(F, X, y, plain=True)
    for now, before in zip((F.net.params, X, y), kept, strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_array_equal(gradient, F.gradient(X, y))


class RandomObjective(tr.Objective):
    def gradient(self, *args, **keywords):
        noise = np.random.default_rng().normal(size=self.net.n_params)
        return super().gradient(*args, **keywords) + noise


def test_bad_arguments_of_check_gradients_are_named():
    F, X, y = small()
    n = F.net.n_params
    with pytest.raises(TypeError, match="objective must be an Objective, got"):
        tr.check_gradients(F.net, X, y)
    with pytest.raises(ValueError, match=rf"params must have shape \({n},\)"):
        tr.check_gradients(F, X, y, params=np.zeros(3))
    with pytest.raises(ValueError, match="params must be finite"):
        tr.check_gradients(F, X, y, params=np.full(n, np.nan))
    with pytest.raises(TypeError, match="params must be real"):
        tr.check_gradients(F, X, y, params=np.zeros(n, complex))
    with pytest.raises(ValueError, match=rf"gradient must have shape \({n},\), got \(2,\)"):
        tr.check_gradients(F, X, y, gradient=np.zeros(2))
    with pytest.raises(ValueError, match="masks must have the shapes"):
        tr.check_gradients(F, X, y, masks=[np.ones((2, 2))])
    with pytest.raises(ValueError, match="X must be finite"):
        tr.check_gradients(F, np.full_like(X, np.inf), y)
    with pytest.raises(ValueError, match="rtol"):
        tr.check_gradients(F, X, y, rtol=0)
    with pytest.raises(ValueError, match=r"objective\.gradient must give the same result"):
        tr.check_gradients(RandomObjective(F.net, F.loss), X, y)
    with (
        pytest.raises(ValueError, match=r"objective\.value must be finite"),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        tr.check_gradients(F, X, y, params=np.full(n, 1e308))


def test_a_gradient_with_nan_is_a_mismatch_that_says_so():
    F, X, y = small()
    gradient = F.gradient(X, y)
    gradient[0] = np.nan
    row = tr.check_gradients(F, X, y, gradient=gradient).rows[0]
    assert (row["mismatch"], row["index"], row["given"]) == (1, [0, 0], None)
    assert "not finite" in row["diagnosis"]


# ------------------------------------------------------------ any function


def test_rosenbrock_of_scipy():
    x = np.random.default_rng(0).normal(size=12)
    rosen, der = scipy.optimize.rosen, scipy.optimize.rosen_der
    for method in ("auto", "central", "complex"):
        assert tr.check_gradient(rosen, der, x, method=method).rows[0]["match"] == 12
        assert (
            tr.check_gradient(rosen, lambda x: 2 * der(x), x, method=method)
            .rows[0]["diagnosis"]
            .startswith("constant factor 2")
        )
    assert tr.check_gradient(rosen, der, np.ones(5)).ok  # the minimum, all slopes 0


@pytest.mark.parametrize("method", ["auto", "central", "complex"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2, 1, 2)])
def test_x_of_any_shape(method, shape):
    x = np.random.default_rng(1).normal(size=shape)

    def f(x):
        return np.sum(np.sin(x) * np.exp(x))

    def gradient(x):
        return np.exp(x) * (np.sin(x) + np.cos(x))

    report = tr.check_gradient(f, gradient, x, method=method)
    assert report.ok, str(report)
    assert report.rows[0]["size"] == x.size
    assert not tr.check_gradient(f, lambda x: gradient(x) * (1 + 1e-4), x, method=method).ok


def test_random_directions_find_one_wrong_coordinate_of_many():
    x = np.random.default_rng(2).normal(size=5000)
    g = 2 * x
    report = tr.check_gradient(lambda x: x @ x, g, x, directions=3)
    assert (report.rows[0]["block"], report.rows[0]["match"]) == ("directions", 3)
    g[4321] += 1.0
    assert not tr.check_gradient(lambda x: x @ x, g, x, directions=3).ok


@pytest.mark.parametrize(
    "f", [lambda x: np.abs(x).sum(), np.linalg.norm, lambda x: float(np.real(x @ x)),
          lambda x: sum(float(v) ** 2 for v in x)],
)  # fmt: skip
def test_the_complex_step_is_used_only_where_it_is_valid(f):
    x = np.array([1.0, -2.0, 0.5])
    exact = np.array([(f(x + e) - f(x - e)) / 2e-6 for e in 1e-6 * np.eye(3)])
    assert tr.check_gradient(f, exact, x, rtol=1e-5).ok
    with pytest.raises(ValueError, match="complex"):
        tr.check_gradient(f, exact, x, method="complex")


def test_a_branch_that_drops_imaginary_parts_is_not_believed():
    def f(x):
        return x[0] ** 2 + (x[1] ** 2).real

    x = np.array([3.0, 1.0])
    assert tr.check_gradient(f, 2 * x, x).ok
    assert not tr.check_gradient(f, np.array([6.0, 0.0]), x).ok


def test_a_function_in_single_precision():
    A = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)

    def f(x):
        return np.tanh(A @ x.astype(np.float32)).sum()

    def gradient(x):
        return A.T @ (1 - np.tanh(A @ x.astype(np.float32)) ** 2)

    x = np.random.default_rng(1).normal(size=6)
    assert tr.check_gradient(f, gradient, x, method="central").ok
    assert not tr.check_gradient(f, lambda x: 1.05 * gradient(x), x, method="central").ok
    # the same where the function hides its precision
    assert tr.check_gradient(lambda x: float(f(x)), gradient, x, method="central").ok


def test_x_is_not_changed_by_a_function_that_changes_its_argument():
    def f(x):
        x *= 2
        return x.sum()

    x = np.ones(3)
    assert tr.check_gradient(f, np.full(3, 2.0), x).ok
    np.testing.assert_array_equal(x, np.ones(3))


def test_bad_arguments_of_check_gradient_are_named():
    def f(x):
        return np.sum(x)

    one = np.ones(2)
    with pytest.raises(TypeError, match="x must be an array of floats"):
        tr.check_gradient(f, one, np.array([1, 2]))
    with pytest.raises(TypeError, match="x must be an array of floats"):
        tr.check_gradient(f, one, [1, 2])
    with pytest.raises(ValueError, match="x must not be empty"):
        tr.check_gradient(f, one, np.zeros(0))
    with pytest.raises(ValueError, match=r"x must be finite in float64, got inf at \[1\]"):
        tr.check_gradient(f, one, np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="f must return one number"):
        tr.check_gradient(lambda x: x, one, one)
    with pytest.raises(TypeError, match="f must return a number"):
        tr.check_gradient(lambda x: "1", one, one)
    with pytest.raises(ValueError, match="f must be finite"):
        tr.check_gradient(lambda x: np.nan, one, one)
    with pytest.raises(ValueError, match="same result for the same argument, got"):
        tr.check_gradient(lambda x: np.sum(x) + np.random.default_rng().normal(), one, one)
    with pytest.raises(ValueError, match="gradient must give the same result"):
        tr.check_gradient(f, lambda x: np.random.default_rng().normal(size=2), one)
    with pytest.raises(ValueError, match=r"gradient must have shape \(2,\), got \(3,\)"):
        tr.check_gradient(f, np.ones(3), one)
    with pytest.raises(TypeError, match="gradient must be an array of real numbers"):
        tr.check_gradient(f, None, one)
    with pytest.raises(ValueError, match="method must be one of auto, central, complex"):
        tr.check_gradient(f, one, one, method="forward")
    with pytest.raises(ValueError, match="directions must be an integer >= 1"):
        tr.check_gradient(f, one, one, directions=0)


def test_a_function_that_is_not_finite_on_one_side_is_inconclusive():
    def f(x):
        return x[0] ** 2 + (np.nan if x[1] < 1 else x[1])

    report = tr.check_gradient(f, np.array([2.0, 1.0]), np.ones(2))
    assert report.ok
    assert report.details["x"].verdict.tolist() == ["match", "inconclusive"]
    assert "not finite" in report.rows[0]["reason"]


def test_a_domain_that_ends_close_by_is_no_obstacle():
    x = np.array([1e-9, 1e-13, 2.0])
    with np.errstate(invalid="ignore"):
        assert (
            tr.check_gradient(lambda x: np.log(x).sum(), lambda x: 1 / x, x).rows[0]["match"] == 3
        )


# ------------------------------------------------------------ any layer


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

    from planted import batch_norm, batch_norm_backward

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


# ------------------------------------------------------------ penalties


@pytest.mark.parametrize(
    "penalty", [tr.L1(0.5), tr.L1(0.0), tr.L2(0.5), tr.ElasticNet(0.3, 0.2), tr.ElasticNet(0, 0.2),
                NumpyL1(0.4)],
)  # fmt: skip
@pytest.mark.parametrize("step", [1e-3, 0.1, 10.0])
def test_right_penalties_pass(penalty, step):
    w = np.array([-30.0, -1.0, -0.02, 0.0, 1e-12, 0.4, 2.0])
    report = tr.check_penalty(penalty, w, step)
    assert report.ok, str(report)
    assert [row["block"] for row in report.rows] == [
        "subgradient", "prox", "prox and residual", "prox, a step each",
        "residual", "smooth", "NaN",
    ]  # fmt: skip
    assert not any(row["inconclusive"] for row in report.rows)


class Minimax:
    """The minimax concave penalty: not convex, prox a firm threshold (for step < gamma)."""

    lam, gamma, smooth = 0.5, 3.0, False

    def value(self, w):
        a = np.abs(w)
        inner = self.lam * a - a**2 / (2 * self.gamma)
        return float(
            np.where(a <= self.gamma * self.lam, inner, self.gamma * self.lam**2 / 2).sum()
        )

    def subgradient(self, w):
        return np.sign(w) * np.maximum(self.lam - np.abs(w) / self.gamma, 0)

    def prox(self, w, step):
        shrunk = np.sign(w) * np.maximum(np.abs(w) - step * self.lam, 0) / (1 - step / self.gamma)
        return np.where(np.abs(w) <= self.gamma * self.lam, shrunk, w)

    def residual(self, w, g):
        return np.where(
            w == 0, np.maximum(np.abs(g) - self.lam, 0), np.abs(g + self.subgradient(w))
        )


class Group:
    """λ‖w‖₂ of all weights: no sum over weights."""

    lam, smooth = 0.5, False

    def value(self, w):
        return float(self.lam * np.sqrt(np.sum(w * w)))

    def subgradient(self, w):
        norm = np.sqrt(np.sum(w * w))
        return self.lam * w / norm if norm else 0 * w

    def prox(self, w, step):
        norm = np.sqrt(np.sum(w * w))
        return w * max(0.0, 1 - np.mean(step) * self.lam / norm) if norm else 0 * w

    def residual(self, w, g):
        if np.any(w):
            return np.abs(g + self.subgradient(w))
        norm = np.sqrt(np.sum(g * g))
        return np.abs(g) * max(0.0, 1 - self.lam / norm) if norm else 0 * g


def test_penalties_of_other_kinds():
    w = np.array([-2.0, -0.3, 0.0, 0.04, 1.0])
    report = tr.check_penalty(Minimax(), w, 0.2)
    assert report.ok, str(report)
    report = tr.check_penalty(Group(), w, 0.2)
    wrong = [row["block"] for row in report.rows if row["mismatch"]]
    # Its prox takes the mean of the steps, and is found out.
    assert wrong == ["prox and residual", "prox, a step each"]


class Rows:
    """λ Σ_i ‖W_i‖₂ over the rows of a matrix, and of nothing else."""

    lam, smooth = 0.5, False

    def norms(self, W):
        if W.ndim != 2:
            raise ValueError("W must be a matrix")
        return np.sqrt(np.sum(W * W, axis=1, keepdims=True))

    def value(self, W):
        return self.lam * self.norms(W).sum()

    def subgradient(self, W):
        norms = self.norms(W)
        return self.lam * W / np.where(norms == 0, 1.0, norms)

    def prox(self, W, step):
        norms = self.norms(W)
        return W * np.maximum(1 - step * self.lam / np.where(norms == 0, 1.0, norms), 0)

    def residual(self, W, g):
        size = self.norms(g)
        beyond = np.maximum(1 - self.lam / np.where(size == 0, 1.0, size), 0) * np.abs(g)
        return np.where(self.norms(W) == 0, beyond, np.abs(g + self.subgradient(W)))


def test_a_penalty_of_a_matrix():
    W = np.array([[3.0, -0.2], [0.03, 0.04], [0.0, 0.0], [0.0, 1.0]])
    report = tr.check_penalty(Rows(), W, 0.2)
    by_block = {row["block"]: row for row in report.rows}
    assert [name for name, row in by_block.items() if row["mismatch"]] == [
        "prox and residual", "prox, a step each",
    ]  # fmt: skip  # a step for each number is not what this prox is for
    assert by_block["subgradient"]["kink"] >= 2
    assert by_block["prox"]["match"] == 8

    class Doubled(Rows):
        def subgradient(self, W):
            return 2 * super().subgradient(W)

    assert tr.check_penalty(Doubled(), W, 0.2).rows[0]["mismatch"] > 0


def test_bad_arguments_of_check_penalty_are_named():
    with pytest.raises(TypeError, match="w must be an array of floats"):
        tr.check_penalty(tr.L1(1.0), [1, 2])
    with pytest.raises(ValueError, match="step must be a finite number > 0"):
        tr.check_penalty(tr.L1(1.0), np.ones(2), 0.0)


# ------------------------------------------------------------ the report


def test_the_report_is_data_and_a_table():
    F, X, y = small("relu", penalty=tr.L1(0.01))
    F.net.weights[0][:, 0] = 0.0
    report = tr.check_gradients(F, X, y, precision=True)
    back = json.loads(json.dumps(report.rows, allow_nan=False))
    assert back == report.rows
    assert [row["block"] for row in report.rows] == ["W1", "b1", "W2", "b2"]
    for row in report.rows:
        assert row["match"] + row["kink"] + row["inconclusive"] + row["mismatch"] == row["size"]
        assert report.details[row["block"]].verdict.shape == tuple(row["shape"])
    lines = str(report).splitlines()
    assert lines[0].startswith("ok: gradient of SoftmaxCrossEntropy()")
    assert lines[2].split()[:2] == ["block", "shape"]
    assert [line.split()[0] for line in lines[3:7]] == ["W1", "b1", "W2", "b2"]
    assert report.raise_if_failed() is None
    assert bool(report) is True


def test_a_failed_report_raises_with_its_table():
    F, X, y = small()
    report = tr.check_gradients(F, X, y, gradient=-F.gradient(X, y))
    with pytest.raises(tr.GradientCheckError) as caught:
        report.raise_if_failed()
    assert str(report) in str(caught.value)
    assert isinstance(caught.value, AssertionError)
    assert bool(report) is False


def test_in_a_test_of_ones_own_the_table_is_the_failure(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(
            """
            import numpy as np
            import tinyreg as tr

            def test_my_gradient():
                x = np.array([1.0, 2.0, 3.0])
                report = tr.check_gradient(lambda x: np.sum(x**2), lambda x: x, x)
                assert report.ok, report
            """
        )
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(tr.__file__).parents[1])},
    )  # fmt: skip
    assert run.returncode == 1
    assert "constant factor 0.5: a 2 is missing" in run.stdout
    assert "worst rel. error" in run.stdout


# ------------------------------------------------------------ torch


def test_gradients_of_a_torch_model():
    torch = pytest.importorskip("torch", reason="torch is in the bench extra")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Softplus(), torch.nn.Linear(5, 3)
    ).double()
    X, y = torch.randn(6, 4).double(), torch.tensor([0, 1, 2, 0, 1, 2])
    parameters = list(model.parameters())
    sizes = [p.numel() for p in parameters]

    def loss(x):
        vector = torch.as_tensor(x)
        parts = vector.split(sizes)
        named = {
            name: part.reshape(p.shape)
            for (name, p), part in zip(model.named_parameters(), parts, strict=True)
        }
        return torch.nn.functional.cross_entropy(torch.func.functional_call(model, named, X), y)

    def gradient(x):
        vector = torch.tensor(x, requires_grad=True)
        (g,) = torch.autograd.grad(loss(vector), vector)
        return g

    x = torch.cat([p.flatten() for p in parameters])  # part of a graph, as a user has it
    report = tr.check_gradient(loss, gradient, x)
    assert report.rows[0]["match"] == sum(sizes)
    assert not tr.check_gradient(loss, lambda x: 2 * gradient(x), x).ok

    def f(x):  # what torch returns may still require a gradient
        return loss(torch.tensor(x, requires_grad=True))

    assert tr.check_gradient(f, gradient, x, directions=2).ok


# ------------------------------------------------------------ random functions


def random_function(kind, seed):
    """A function of up to five numbers, its gradient and a point, on scales from 1e-8 to 1e8."""
    rng = np.random.default_rng([kind, seed])
    d = int(rng.integers(1, 6))
    A, b = rng.normal(size=(7, d)) * 10 ** rng.uniform(-2, 2), rng.normal(size=7)
    c, x = (
        rng.normal(size=7) * 10 ** rng.uniform(-6, 6),
        rng.normal(size=d) * 10 ** rng.uniform(-3, 2),
    )
    pairs = (
        (lambda z: c @ np.tanh(z), lambda z: c * (1 - np.tanh(z) ** 2)),
        (lambda z: c @ np.maximum(z, 0), lambda z: c * (z > 0)),
        (lambda z: 1e3 + np.abs(z).sum(), np.sign),
        (lambda z: z @ z, lambda z: 2 * z),
        (lambda z: np.log(np.exp(z - z.max()).sum()) + z.max(),
         lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum()),
    )  # fmt: skip
    value, slope = pairs[kind]
    return (lambda x: value(A @ x + b)), (lambda x: A.T @ slope(A @ x + b)), x


@pytest.mark.parametrize("kind", range(5), ids=["tanh", "relu", "abs", "square", "log-sum-exp"])
def test_random_functions_pass_and_wrong_gradients_of_them_do_not(kind):
    found = 0
    for seed in range(40):
        f, gradient, x = random_function(kind, seed)
        report = tr.check_gradient(f, gradient, x)
        assert report.ok, f"{seed}: {report}"
        details = report.details["x"]
        if np.any(details.error < 1e-4 * np.abs(details.given)):  # else 1.001 is within the noise
            wrong = tr.check_gradient(f, lambda x, g=gradient: 1.001 * g(x), x)
            assert not wrong.ok, f"{seed}: {wrong}"
            found += 1
    assert found > 25


def test_a_gradient_lost_in_the_noise_is_inconclusive():
    def f(x):
        return 1e12 + x[0]

    report = tr.check_gradient(f, np.array([1e-3]), np.zeros(1), method="central")
    assert report.rows[0]["inconclusive"] == 1
    assert "rounding errors" in report.rows[0]["reason"]
    assert not tr.check_gradient(f, np.array([1e6]), np.zeros(1), method="central").ok


@pytest.mark.parametrize("axis", [0, 1])
def test_a_group_lasso_with_dead_groups_is_checked_by_its_matrices(axis):
    net = tr.MLP((5, 4, 3), "tanh", seed=1)
    net.weights[0][1] = 0
    net.weights[0][:, 2] = 0
    R = tr.GroupLasso(0.1, axis, l1=0.01)
    objective = tr.Objective(net, tr.SquaredError(), R)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    assert (report := tr.check_gradients(objective, X, y)).ok, report
    wrong = objective.gradient(X, y)
    wrong[objective.net.n_weights - 1] *= 1.001
    assert not tr.check_gradients(objective, X, y, gradient=wrong).ok
    assert (report := tr.check_penalty(R, net.weights[0])).ok, report


@pytest.mark.parametrize("k", [1e3, 1e4, 1e5, 1e6])
def test_waves_shorter_than_the_first_step_are_no_false_alarm(k):
    def f(x):
        return np.sin(k * x).sum()

    x = np.linspace(0.5, 2, 20)
    assert (report := tr.check_gradient(f, lambda x: k * np.cos(k * x), x)).ok, report
    assert report.rows[0]["match"] == 20
    assert not tr.check_gradient(f, lambda x: 1.001 * k * np.cos(k * x), x).ok


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("factor", [0.0, 0.999, 2.0])
def test_a_wrong_residual_of_a_matrix_penalty_is_found(axis, factor):
    class Wrong(tr.GroupLasso):
        def residual(self, w, g):
            return factor * super().residual(w, g)

    w = np.random.default_rng(0).normal(size=(5, 4))
    report = tr.check_penalty(Wrong(0.3, axis, l1=0.1), w)
    assert [row["block"] for row in report.rows if row["mismatch"]] == ["residual"], report
    assert tr.check_penalty(tr.GroupLasso(0.3, axis, l1=0.1, l2=0.2), w).ok


def test_a_forward_with_a_cache_is_pointed_to_the_adapter():
    for cache in (None, np.ones((5, 4))):
        with pytest.raises(TypeError, match="forward must return one array, got a tuple"):
            tr.check_backward(lambda z, c=cache: (z, c), lambda d, z: d, np.ones((5, 4)))


@pytest.mark.parametrize("wrt", [0, [3], [-1], [0, 7], ["x"]])
def test_a_bad_wrt_is_named(wrt):
    with pytest.raises((TypeError, ValueError), match="wrt must"):
        tr.check_backward(np.tanh, lambda d, z: d * (1 - np.tanh(z) ** 2), np.ones(3), wrt=wrt)


@pytest.mark.parametrize("penalty", [3, tr.L1, None])
def test_what_is_no_penalty_is_named(penalty):
    with pytest.raises(TypeError, match=r"penalty must be a penalty such as L1\(1e-3\)"):
        tr.check_penalty(penalty, np.ones(3))
