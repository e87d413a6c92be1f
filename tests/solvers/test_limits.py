"""Solvers at the limits: huge and tiny numbers, offsets, rounding, no proof, long steps, Ctrl-C."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import linalg, optimize, special

import tinyreg as tr
from tinyreg.core.objective import Problem
from tinyreg.solvers import duality, lbfgs
from tinyreg.solvers.duality import duality_gap
from tinyreg.solvers.schedules import inverse_sqrt

SQUARED, SIGMOID, SOFTMAX = tr.SquaredError(), tr.SigmoidCrossEntropy(), tr.SoftmaxCrossEntropy()
WEIGHTS = [1.0, 3.0, 2.0, 0.0, 1.0, 5.0, 1.0, 1e-6]


def design(scales):
    """Columns of ±s, each of mean 0 and orthogonal to the others, without any rounding."""
    return linalg.hadamard(8)[:, 1 : len(scales) + 1] * np.array(scales, float)


def targets(n_outputs=1, seed=0):
    return np.random.default_rng(seed).normal(size=(8, n_outputs)) + design([1, 1, 1])[:, :1]


def penalty_of(l1, l2):
    return tr.L1(l1) if l2 == 0 else tr.L2(l2) if l1 == 0 else tr.ElasticNet(l1, l2)


def exact_minimum(X, y, l1, l2, weight=None):
    """min F of least squares, and its weights, if the features are orthogonal about their means.

    Then each weight alone is S(c, l1)/(s + 2 l2), with the variance s of its feature and the
    covariance c with the target, and the bias makes the mean residual 0: all in fractions.
    """
    exact = np.vectorize(Fraction, otypes=[object])
    X, y = exact(X), exact(y)
    omega = exact(np.ones(len(X)) if weight is None else weight)
    omega = omega / omega.sum()
    X, y = X - omega @ X, y - omega @ y
    gram, c = (X.T * omega) @ X, (X.T * omega) @ y
    assert not (gram - np.diag(np.diag(gram))).any()
    l1, l2 = Fraction(l1), Fraction(l2)
    shrunk = [[max(abs(b) - l1, Fraction(0)) * (1 if b > 0 else -1) for b in row] for row in c]
    W = np.array(shrunk, object) / (np.diag(gram)[:, np.newaxis] + 2 * l2)
    data = (omega @ (X @ W - y) ** 2).sum() / 2
    return data + l1 * np.abs(W).sum() + l2 * (W**2).sum(), W.astype(float)


# No proof, no "optimal"


def centred():
    """F = ½(1e-7 w − 1)² + ½b²: 0.5 and a slope of 1e-7 at 0, least and 0 at w = 1e7."""
    return [[1e-7], [-1e-7]], [1.0, -1.0]


class Huber(tr.SquaredError):
    """Another loss with the same base, of which no dual function is known."""

    def per_sample(self, outputs, targets):
        e = np.abs(outputs - targets)
        return np.where(e < 1, e * e / 2, e - 0.5).sum(axis=1)

    def delta(self, outputs, targets, weight):
        return weight[:, np.newaxis] * np.clip(outputs - targets, -1, 1)


@pytest.mark.parametrize("solver", ["subgradient", "ista", "fista", "lbfgs"])
@pytest.mark.parametrize(
    ("loss", "penalty", "bias_penalty"),
    [
        (SQUARED, None, None),
        (SQUARED, tr.L1(0.0), None),
        (SQUARED, tr.GroupLasso(1e-12, axis=1), None),
        (SQUARED, tr.L1(1e-12), tr.L2(0.1)),
        (Huber(), tr.L1(1e-12), None),
    ],
    ids=str,
)
def test_without_a_gap_a_small_slope_is_not_called_optimal(loss, penalty, bias_penalty, solver):
    if solver == "lbfgs" and isinstance(penalty, tr.GroupLasso):
        solver = "fista"
    objective = tr.Objective(tr.MLP((1, 1)), loss, penalty, bias_penalty)
    objective.net.params = [0.0, 0.0]
    result = tr.minimize(objective, *centred(), solver)
    assert (result.fun, result.gap, result.success) == (0.5, None, True)
    assert result.message.startswith("stationary: the stationarity residual is 1.0e-07; how far")


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-9])
@pytest.mark.parametrize("penalty", [tr.L1(1e-30), tr.L2(1e-30), tr.ElasticNet(1e-30, 1e-30)])
def test_with_a_gap_it_is_no_success_in_any_unit_of_the_targets(penalty, scale):
    X, y = centred()
    objective = tr.Objective(tr.MLP((1, 1)), SQUARED, penalty)
    for solver in ("subgradient", "ista", "fista"):
        objective.net.params = [0.0, 0.0]
        result = tr.minimize(objective, X, np.multiply(scale, y), solver, max_iter=5)
        assert not result.success
        assert result.gap == pytest.approx(0.5 * scale**2, rel=1e-6)
        assert "the duality gap" in result.message


def test_targets_that_are_all_the_same_are_fitted_and_proved():
    for loss, y in (
        (SQUARED, [3.0] * 8),
        (SQUARED, [0.0] * 8),
        (SIGMOID, [1] * 8),
        (SOFTMAX, [0] * 8),
    ):
        for penalty in (tr.L1(0.1), tr.L2(0.1)):
            net = tr.MLP((2, 3 if loss is SOFTMAX else 1), seed=1)
            objective = tr.Objective(net, loss, penalty)
            result = tr.minimize(objective, design([1, 2]), y, tol=1e-4)
            assert result.message.startswith("optimal"), result.message
            assert result.fun <= 2e-4


# The gap


POWERS, OFFSETS = (1e-8, 1.0, 1e8), (0.0, 1e5, -1e8, 1e12)
UNITS = [(sx, sy, 0.0, offset) for sx in POWERS for sy in POWERS for offset in OFFSETS]
UNITS += [(1.0, 1.0, 2.0**26, offset) for offset in OFFSETS]  # features with an offset


@pytest.mark.parametrize(("sx", "sy", "offset_x", "offset_y"), UNITS)
@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["equal", "weighted"])
def test_the_gap_is_finite_and_a_bound_in_any_units(sx, sy, offset_x, offset_y, weight):
    X = design([sx, 4 * sx, sx / 4])[:, : 1 if weight else 3] + offset_x
    Y = sy * (targets(2) + np.array([offset_y, -offset_y / 3]))
    rng, digits = np.random.default_rng(1), 1e-16 * (1 + abs(offset_y) + offset_x)
    for l1, l2 in ((0.1, 0.0), (1e-6, 0.0), (0.0, 0.02), (0.1, 0.02)):
        l1, l2 = l1 * sx * sy, l2 * sx * sx
        least, best = exact_minimum(X, Y, l1, l2, weight)
        objective = tr.Objective(tr.MLP((X.shape[1], 2)), SQUARED, penalty_of(l1, l2))
        problem = objective.on(X, Y, weight)
        for spread in (0.0, 1e-9, 1e-3, 1.0, 1e9):
            W = best + rng.normal(size=best.shape) * spread * sy / sx
            b = np.average(Y, axis=0, weights=weight) - np.average(X, axis=0, weights=weight) @ W
            params = np.concatenate([W.ravel(), b])
            value = problem.value(params)
            gap = duality_gap(problem, params, value)
            assert np.isfinite(gap)
            # What is claimed is a number that min F does not go below, to the digits of F.
            slack = Fraction(1e-14 if gap else 1e3 * digits)
            assert Fraction(value) - Fraction(gap) <= least * (1 + slack)
            if spread == 0 and not offset_x:
                assert gap <= 1e3 * digits * sy**2


@pytest.mark.parametrize(
    ("offset", "dtype"),
    [(1e3, "float32"), (1e3, "float64"), (-1e5, "float64"), (1e8, "float64")],
)
@pytest.mark.parametrize("solver", ["ista", "fista", "lbfgs"])
def test_an_offset_of_the_targets_is_no_obstacle(solver, offset, dtype):
    X, y = design([1.0, 2.0, 0.5]), np.round(targets() * 2**10) / 2**10 + offset
    least, _ = exact_minimum(X, y, 0.1, 0.0)
    objective = tr.Objective(tr.MLP((3, 1), dtype=dtype, seed=2), SQUARED, tr.L1(0.1))
    tol = 1e-6 if dtype == "float64" else 2e-3
    result = tr.minimize(objective, X, y, solver, tol=tol)
    assert result.message.startswith("optimal"), result.message
    assert np.isfinite(result.history["gap"]).all()
    assert result.fun == pytest.approx(float(least), rel=10 * tol)
    assert objective.net.biases[0][0] == pytest.approx(y.mean(), rel=1e-6)


@pytest.mark.parametrize("loss", [SIGMOID, SOFTMAX], ids=repr)
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.25, 0.75), (1.0, 0.0), (1e-9, 1 - 1e-9)])
def test_where_all_weights_are_zero_the_gap_is_proved_by_the_entropy_of_the_classes(
    monkeypatch, loss, shares
):
    # A λ beyond all slopes: the minimum has W = 0, and F there is the entropy of the shares.
    X, y, weight = [[1.0], [2.0], [-3.0]], [0, 1, 1], [shares[0], shares[1] / 2, shares[1] / 2]
    least = special.entr(shares).sum()
    objective = tr.Objective(tr.MLP((1, 2 if loss is SOFTMAX else 1)), loss, tr.L1(10.0))
    problem = objective.on(X, y, weight)
    with np.errstate(divide="ignore"):
        logits = np.maximum(np.log(shares), -50)
    b = logits if loss is SOFTMAX else [logits[1] - logits[0]]
    at_best = np.concatenate([np.zeros(len(b)), b])
    value = problem.value(at_best)
    assert value == pytest.approx(least, rel=1e-13, abs=1e-15)
    assert duality_gap(problem, at_best, value) <= 1e-14
    for shift in (0.0, 1.0, -30.0):
        params = at_best + 0.0
        params[-1] += shift
        value = problem.value(params)  # the bias is fitted anew: the bound is as good
        assert value - duality_gap(problem, params, value) == pytest.approx(least, abs=1e-13)
    for steps in (0, 1, duality.NEWTON_STEPS):
        monkeypatch.setattr(duality, "NEWTON_STEPS", steps)  # however far Newton's method gets
        for W in (0.0, 1e-3, 1.0, 1e8, -1e300):
            for shift in (0.0, 0.3, -1.0, -1e4):
                params = np.concatenate([np.full(len(b), W), np.add(b, shift)])
                params[[0, -1]] += 1e-3, shift
                value = problem.value(params)
                gap = duality_gap(problem, params, value)
                assert value - least - 1e-13 <= gap < np.inf


@pytest.mark.parametrize("loss", [SIGMOID, SOFTMAX], ids=repr)
@pytest.mark.parametrize("steps", [0, 1, 2, duality.NEWTON_STEPS])
def test_a_dual_point_is_balanced_and_in_the_domain_however_far_newton_gets(
    monkeypatch, loss, steps
):
    monkeypatch.setattr(duality, "NEWTON_STEPS", steps)
    rng = np.random.default_rng(steps)
    for spread in (0.1, 3.0, 1e2, 1e6):
        z, b = spread * rng.normal(size=(20, 3)), spread * rng.normal(size=3)
        y, omega = rng.dirichlet([0.2] * 3, 20), rng.dirichlet([0.5] * 20)[:, np.newaxis]
        u = duality._balanced(loss, z, b, y, omega)
        q = u + y
        assert q.min() >= -1e-15
        assert q.max() <= 1 + 1e-15
        np.testing.assert_allclose(np.sum(omega * u, axis=0), 0, atol=1e-15)
        if loss is SOFTMAX:
            np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-14)


def test_an_output_that_no_sample_has_costs_the_gap_nothing():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(2, size=40)
    two = tr.minimize(tr.Objective(tr.MLP((3, 2)), SOFTMAX, tr.L1(0.02)), X, y, tol=1e-10)
    problem = tr.Objective(tr.MLP((3, 3)), SOFTMAX, tr.L1(0.02)).on(X, y)
    W, b = np.insert(two.x[:6].reshape(3, 2), 2, 0, axis=1), np.append(two.x[6:], -5.0)
    params = np.concatenate([W.ravel(), b])
    value = problem.value(params)
    assert value - duality_gap(problem, params, value) == pytest.approx(two.fun, rel=1e-8)
    yes = tr.Objective(tr.MLP((3, 2)), SIGMOID, tr.L1(0.02)).on(X, np.stack([y, 0 * y + 1], axis=1))
    one = tr.minimize(tr.Objective(tr.MLP((3, 1)), SIGMOID, tr.L1(0.02)), X, y, tol=1e-10)
    params = np.concatenate([np.stack([one.x[:3], np.zeros(3)], axis=1).ravel(), one.x[3:], [5.0]])
    value = yes.value(params)
    assert value - duality_gap(yes, params, value) == pytest.approx(one.fun, rel=1e-8)


@pytest.mark.parametrize("loss", [SIGMOID, SOFTMAX], ids=repr)
def test_a_saturated_net_has_a_gap_that_holds(loss):
    # Every answer is wrong and no curvature is left, so that Newton's method finds no bias.
    X, y = [[1.0], [-1.0], [2.0], [-3.0]], [0, 1, 0, 1]
    for penalty in (tr.L1(0.1), tr.L2(1e-9), tr.ElasticNet(1e-3, 1e-3)):
        objective = tr.Objective(tr.MLP((1, 2 if loss is SOFTMAX else 1)), loss, penalty)
        problem, n = objective.on(X, y), objective.net.n_params
        for size in (1e3, 1e6, 1e100):
            params = np.zeros(n)
            params[n // 2 - 1] = size
            value = problem.value(params)
            assert (
                value - problem.value(np.zeros(n)) <= duality_gap(problem, params, value) < np.inf
            )


# Scales


@pytest.mark.parametrize("solver", ["ista", "fista"])
@pytest.mark.parametrize("scales", [[1e7] * 3, [1e10] * 3, [1e-3] * 3, [1, 2, 8], [1e9, 3e8, 1e9]])
@pytest.mark.parametrize(
    "penalty", [(0.1, 0.0), (0.0, 0.02), (0.05, 0.01)], ids=["L1", "L2", "both"]
)
def test_prox_gradient_steps_find_a_scale_of_any_size(solver, scales, penalty):
    X, y = design(scales), targets()
    y -= y.mean()
    l1, l2 = penalty[0] * min(scales), penalty[1] * min(scales) ** 2
    objective = tr.Objective(tr.MLP((3, 1), seed=1), SQUARED, penalty_of(l1, l2))
    tol = max(1e-6, 1e-15 * max(scales))
    result = tr.minimize(objective, X, y, solver, tol=tol)
    if max(scales) < 1:  # the bias holds the step back
        assert "line search" not in result.message
    else:
        assert result.message.startswith("optimal"), result.message
        least, _ = exact_minimum(X, y, l1, l2)
        assert result.fun == pytest.approx(float(least), rel=1e-5)


@pytest.mark.parametrize("loss", [SQUARED, SIGMOID, SOFTMAX], ids=repr)
@pytest.mark.parametrize("scale", [1e-8, 1e4, 1e8, 1e12])
def test_no_scale_is_blamed_on_the_function(loss, scale):
    rng = np.random.default_rng(0)
    X, y = scale * rng.normal(size=(30, 4)), rng.integers(2, size=30)
    for penalty in (tr.L1(0.01 * scale), tr.L2(0.01), None):
        for target in (y, y * 1e12 + 1e12) if loss is SQUARED else (y,):
            for solver in ("ista", "fista"):
                net = tr.MLP((4, 2 if loss is SOFTMAX else 1), seed=3)
                result = tr.minimize(
                    tr.Objective(net, loss, penalty), X, target, solver, max_iter=80
                )
                assert "line search" not in result.message
                assert result.fun <= result.history["objective"][0]


# Steps that are too long


def quadratic():
    """A lasso whose data loss has the largest curvature 4."""
    return design([2.0, 1.0, 0.5]), targets(), tr.Objective(tr.MLP((3, 1)), SQUARED, tr.L1(0.01))


@pytest.mark.parametrize("solver", ["ista", "fista"])
def test_a_fixed_step_beyond_two_over_the_curvature_is_told_to_be_smaller(solver):
    for factor in (2.1, 2.5, 10.0, 1e8):
        X, y, objective = quadratic()
        start = objective.value(X, y)
        result = tr.minimize(objective, X, y, solver, step=factor / 4, max_iter=400)
        assert not result.success
        assert "a smaller step" in result.message
        assert result.fun <= start
    for factor in (0.5, 1.0, 1.9):
        X, y, objective = quadratic()
        assert tr.minimize(objective, X, y, solver, step=factor / 4).success
        result = tr.minimize(objective, X, y, solver, step=factor / 4, tol=1e-300, max_iter=200)
        assert "smaller step" not in result.message  # what rises there is rounding


@pytest.mark.parametrize("solver", ["ista", "fista"])
def test_a_fixed_step_that_swings_for_ever_is_told_to_be_smaller(solver):
    # The slopes of a cross-entropy are bounded: F does not grow beyond all bounds.
    X = np.random.default_rng(0).normal(size=(40, 3))
    objective = tr.Objective(tr.MLP((3, 1)), SIGMOID, tr.L1(0.01))
    result = tr.minimize(objective, X, (X[:, 0] > 0).astype(int), solver, step=1e4, max_iter=100)
    assert "max_iter=100 reached, and F rose in" in result.message
    assert "steps: a smaller step" in result.message


def test_an_exact_fit_is_not_called_a_step_too_long():
    X = design([1.0, 1.0, 1.0])
    y = X @ [1 / 3, 1 / 7, 0.1] + 1 / 9
    for solver in ("ista", "fista"):
        objective = tr.Objective(tr.MLP((3, 1)), SQUARED)
        result = tr.minimize(objective, X, y, solver, step=0.9, tol=1e-300, max_iter=300)
        assert result.message.startswith(("stationary", "max_iter=300 reached; "))


# L-BFGS


@pytest.mark.parametrize("penalty", [tr.L1(0.02), tr.L2(0.01), None], ids=repr)
def test_lbfgs_goes_on_from_where_it_stopped(monkeypatch, penalty):
    stops, original = [], optimize.minimize

    def stopping(f, q0, **settings):
        most = min(3, settings["options"]["maxiter"])
        settings["options"] = settings["options"] | {"maxiter": most}
        stops.append(q0)
        return original(f, q0, **settings)

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 6)), rng.integers(3, size=60)
    whole = tr.Objective(tr.MLP((6, 3), seed=1), SOFTMAX, penalty)
    best = tr.minimize(whole, X, y, "lbfgs", tol=1e-7)
    monkeypatch.setattr(lbfgs.optimize, "minimize", stopping)
    objective = tr.Objective(tr.MLP((6, 3), seed=1), SOFTMAX, penalty)
    result = tr.minimize(objective, X, y, "lbfgs", tol=1e-7)
    assert result.success, result.message
    assert result.fun == pytest.approx(best.fun, rel=1e-10)
    assert len(stops) > 2
    assert len(result.history["objective"]) == result.nit + 1
    few = tr.minimize(
        tr.Objective(tr.MLP((6, 3), seed=1), SOFTMAX, penalty), X, y, "lbfgs", max_iter=8
    )
    assert few.nit == 8


def test_lbfgs_gives_up_once_a_new_start_brings_nothing():
    rng = np.random.default_rng(0)
    X, y = 1e3 * rng.normal(size=(60, 6)), rng.normal(size=60)
    objective = tr.Objective(tr.MLP((6, 1), seed=1), SQUARED, tr.L1(100.0))
    result = tr.minimize(objective, X, y, "lbfgs", tol=1e-300)
    assert not result.success
    assert "L-BFGS-B stopped, and a new start lowers F no more: " in result.message
    again = tr.minimize(objective, X, y, "lbfgs", tol=1e-300)
    assert again.fun == result.fun


# Interrupted


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("solver", ["subgradient", "ista", "fista", "lbfgs"])
def test_an_interrupted_run_keeps_its_best_point(monkeypatch, solver, kind):
    X, y, objective = quadratic()
    start = objective.net.params.copy()
    history = tr.minimize(objective, X, y, solver, tol=1e-12, max_iter=30).history["objective"]
    passes, original = [], Problem.data_value_and_gradient

    def interrupted(problem, params=None):
        passes.append(params)
        if len(passes) == 12:
            raise kind
        return original(problem, params)

    objective.net.params = start
    monkeypatch.setattr(Problem, "data_value_and_gradient", interrupted)
    with pytest.raises(kind):
        tr.minimize(objective, X, y, solver, tol=1e-12, max_iter=30)
    value = objective.value(X, y)
    assert value < history[0]
    assert value == min(value, *history[:4])  # 12 passes are more than 4 steps
    assert any(value == pytest.approx(entry, rel=1e-14) for entry in history)


class Broken:
    """A schedule that is fine for three steps."""

    def __init__(self, end):
        self.end = end

    def __call__(self, step):
        if step < 3:
            return 0.01
        if isinstance(self.end, type):
            raise self.end("no more")
        return self.end


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (np.nan, ValueError), (np.inf, ValueError), (-0.1, ValueError), ("0.1", TypeError),
        (None, TypeError), (ValueError, ValueError), (TypeError, TypeError), (OSError, OSError),
    ],
)  # fmt: skip
def test_a_schedule_that_breaks_leaves_the_network_as_it_was(end, error):
    X, y, objective = quadratic()
    before = objective.net.params.copy()
    with pytest.raises(error, match=r"lr\(3\) must be|no more"):
        tr.minimize(objective, X, y, "subgradient", step=Broken(end))
    np.testing.assert_array_equal(objective.net.params, before)
    assert tr.minimize(objective, X, y, "subgradient", step=inverse_sqrt(0.01), max_iter=5).nit == 5
