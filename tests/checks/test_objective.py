"""`check_gradients`: its two ways of measuring, odd objectives, and bad arguments."""

import numpy as np
import pytest
from scipy.special import expit

import tinyreg as tr
from tests.support.nets import random_case, small_problem
from tinyreg.core import layers


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


class MeanAbsolute(tr.SquaredError):
    """A smooth loss whose code drops imaginary parts."""

    def per_sample(self, outputs, targets):
        return np.sqrt(np.abs(outputs - targets) ** 2 + 1.0).sum(axis=1)

    def delta(self, outputs, targets, weight):
        error = outputs - targets
        return weight[:, np.newaxis] * error / np.sqrt(error**2 + 1.0)


class RefusesComplex(MeanAbsolute):
    def per_sample(self, outputs, targets):
        if np.iscomplexobj(outputs):
            raise TypeError("real numbers only")
        return super().per_sample(outputs, targets)


@pytest.mark.parametrize("loss", [MeanAbsolute(), RefusesComplex()])
def test_where_the_complex_step_does_not_work_real_differences_decide(loss):
    F, X, _ = small_problem(loss=loss)
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
    F, X, y = small_problem(penalty=tr.L2(0.1))
    wrong = tr.check_gradients(Scaled(F.net, F.loss, F.penalty), X, y)
    assert not wrong.ok
    assert any("objective.value is not that of" in note for note in wrong.notes)
    assert wrong.rows[0]["diagnosis"].startswith("constant factor 0.5")
    assert tr.check_gradients(ScaledRightly(F.net, F.loss, F.penalty), X, y).ok


def test_a_forward_pass_with_a_broken_layer_is_judged_as_it_is(monkeypatch):
    """Both sides of the fast evaluation would be wrong here, in different ways."""
    monkeypatch.setattr("tinyreg.core.layers.affine_forward", lambda x, W, b: x @ W)
    F, X, y = small_problem()
    report = tr.check_gradients(F, X, y)
    assert [row["block"] for row in report.rows if row["mismatch"]] == ["b1", "b2"]
    assert any("layers that it should be made of" in note for note in report.notes)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_group_lasso_with_dead_groups_is_checked_by_its_matrices(axis):
    net = tr.MLP((3, 4, 2), "tanh", seed=1)
    net.weights[0][1] = 0
    net.weights[0][:, 2] = 0
    R = tr.GroupLasso(0.1, axis, l1=0.01)
    objective = tr.Objective(net, tr.SquaredError(), R)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    assert (report := tr.check_gradients(objective, X, y)).ok, report
    wrong = objective.gradient(X, y)
    wrong[objective.net.n_weights - 1] *= 1.001
    assert not tr.check_gradients(objective, X, y, gradient=wrong).ok
    assert (report := tr.check_penalty(R, net.weights[0])).ok, report


def test_params_elsewhere_and_sample_weights():
    F, X, y = small_problem(penalty=tr.ElasticNet(0.1, 0.2))
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
    F, X, y = small_problem(penalty=tr.L1(0.1))
    assert tr.check_gradients(F, X, y, gradient=lambda p: F.gradient(X, y, params=p)).ok
    assert not tr.check_gradients(F, X, y, gradient=lambda p: F.data_gradient(X, y, params=p)).ok


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("plain", [False, True])
def test_dropout_is_checked_with_its_masks_frozen(activation, plain):
    F, X, y = small_problem(activation, penalty=tr.L2(0.1), sizes=(4, 6, 5, 3))
    rng = np.random.default_rng(4)
    masks = [layers.dropout_mask((len(X), n), 0.5, rng) for n in (6, 5)]
    report = tr.check_gradients(F, X, y, masks=masks, plain=plain)
    assert report.ok, str(report)
    assert report.notes == []
    # The gradient without dropout is another one.
    assert not tr.check_gradients(F, X, y, masks=masks, gradient=F.gradient(X, y)).ok


def test_a_float32_net_is_checked_in_float64_and_its_rounding_is_measured():
    F, X, y = small_problem(dtype="float32", penalty=tr.L2(0.01))
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
    F, X, y = small_problem("relu", penalty=tr.L1(0.1))
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
    F, X, y = small_problem()
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
