"""Full-batch solvers against proved optima, other libraries, their own bounds, and at kinks."""

import functools

import numpy as np
import pytest
from scipy import special

import tinyreg as tr
from tests.support import groups
from tinyreg.datasets.scaling import standardise
from tinyreg.solvers.duality import duality_gap, lambda_max
from tinyreg.solvers.schedules import inverse_sqrt

SQUARED, SIGMOID, SOFTMAX = tr.SquaredError(), tr.SigmoidCrossEntropy(), tr.SoftmaxCrossEntropy()
PENALTIES = [tr.L1(0.02), tr.ElasticNet(0.02, 0.01), tr.L2(0.01)]
DESCENDING = ["ista", "fista", "lbfgs"]


def data(loss, n=60, d=12, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    w = np.zeros((d, 3))
    w[:4] = rng.normal(size=(4, 3))
    z = X @ w + 0.5 + 0.3 * rng.normal(size=(n, 3))
    return X, {SQUARED: z, SIGMOID: (z > 0).astype(int), SOFTMAX: z.argmax(axis=1)}[loss]


def objective_of(loss, penalty, d=12, seed=1):
    return tr.Objective(tr.MLP((d, 3), seed=seed), loss, penalty)


def derivatives(loss, z, y):
    """The mean loss at the outputs z, (N, 3), with its gradient and the Hessian of each sample."""
    if loss is SQUARED:
        value, u, hessian = 0.5 * (z - y) ** 2, z - y, np.eye(3)[np.newaxis]
    elif loss is SIGMOID:
        p = special.expit(z)
        value, u = np.logaddexp(0, z) - y * z, p - y
        hessian = (p * (1 - p))[:, :, np.newaxis] * np.eye(3)
    else:
        p = special.softmax(z, axis=1)
        value, u = special.logsumexp(z, axis=1) - z[np.arange(len(z)), y], p - np.eye(3)[y]
        hessian = p[:, :, np.newaxis] * (np.eye(3) - p[:, np.newaxis])
    return value.sum() / len(z), u / len(z), hessian / len(z)


def optimum(loss, penalty, X, y, W, b):
    """min F and its weights, from the weights that a solver found: only their signs matter.

    Newton's method on the numbers that are not 0, where F is smooth; then the conditions that
    prove the minimum of a convex F: ∇L + 2 l2 w = −l1 sign(w) there, and |∇L| < l1 at w = 0.
    """
    l1, l2 = dict(zip(PENALTIES, [(0.02, 0.0), (0.02, 0.01), (0.0, 0.01)], strict=True))[penalty]
    ones, theta = np.hstack([X, np.ones((len(X), 1))]), np.vstack([W, b])
    sign, l2 = np.sign(theta), np.full_like(theta, l2)
    sign[-1] = l2[-1] = 0  # b has no penalty
    free = sign != 0
    free[-1] = True

    def at(theta):
        value, u, each = derivatives(loss, ones @ theta, y)
        hessian = np.einsum("ni,nj,nkl->ikjl", ones, ones, np.broadcast_to(each, (len(X), 3, 3)))
        return (
            value + l1 * (sign * theta).sum() + (l2 * theta**2).sum(),
            ones.T @ u + 2 * l2 * theta + l1 * sign,
            hessian.reshape(theta.size, theta.size) + np.diag(2 * l2.ravel()),
        )

    chosen = np.flatnonzero(free)
    for _ in range(8):
        _, slope, hessian = at(theta)
        # Softmax does not see a number that is added to all of b: least squares.
        theta[free] -= np.linalg.lstsq(hessian[np.ix_(chosen, chosen)], slope[free], rcond=1e-12)[0]
    value, slope, _ = at(theta)
    assert np.abs(slope[free]).max() <= 1e-14
    assert np.abs(slope[~free]).max(initial=0) <= (1 - 1e-4) * l1
    assert (np.sign(theta[:-1]) == sign[:-1]).all()
    return value, theta[:-1]


losses = pytest.mark.parametrize("loss", [SQUARED, SIGMOID, SOFTMAX], ids=repr)
penalties = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)


@losses
@penalties
@pytest.mark.parametrize("solver", DESCENDING)
def test_each_solver_finds_the_optimum(loss, penalty, solver):
    X, y = data(loss)
    objective = objective_of(loss, penalty)
    # L-BFGS-B's line search compares values of F, which bounds its reach near √ε.
    tol = 1e-7 if solver == "lbfgs" else 1e-9
    result = tr.minimize(objective, X, y, solver, tol=tol, max_iter=20_000)
    assert result.success, result.message
    assert result.message.startswith("optimal")
    (W,), (b,) = objective.net.weights, objective.net.biases
    best, expected = optimum(loss, penalty, X, y, W, b)
    assert result.fun == pytest.approx(best, rel=1e-11)
    np.testing.assert_allclose(W, expected, atol=1e-5 if solver == "lbfgs" else 1e-6)
    assert (W == 0).any() == (not penalty.smooth)
    assert result.stationarity == objective.stationarity(X, y) <= tol
    np.testing.assert_array_equal(result.x, objective.net.params)


@functools.cache
def weighted(loss, penalty):
    """Data, sample weights, and min F."""
    X, y = data(loss)
    weight = np.random.default_rng(5).uniform(0.1, 2, len(X))
    best = tr.minimize(
        objective_of(loss, penalty), X, y, tol=1e-12, max_iter=20_000, sample_weight=weight
    )
    # Where the last digits of F are noise the tolerance is out of reach, and the bound not in play.
    assert best.gap <= 1e-11
    return X, y, weight, best.fun


@losses
@penalties
@pytest.mark.parametrize("solver", [*DESCENDING, "subgradient"])
def test_the_gap_bounds_the_distance_from_the_optimum_at_every_iterate(loss, penalty, solver):
    X, y, weight, best = weighted(loss, penalty)
    result = tr.minimize(
        objective_of(loss, penalty), X, y, solver, tol=1e-7, max_iter=300, sample_weight=weight
    )
    gap, value = np.array(result.history["gap"]), np.array(result.history["objective"])
    assert len(gap) == result.nit + 1 or solver == "fista"
    assert np.all(gap >= value - best - 1e-13)
    assert gap[0] > 1e-3
    if solver in DESCENDING:
        assert result.success
        assert gap[-1] <= 1e-7


@losses
@penalties
def test_the_gap_is_zero_at_the_optimum_and_a_bound_beside_it(loss, penalty):
    X, y = data(loss)
    objective = objective_of(loss, penalty)
    tr.minimize(objective, X, y, tol=1e-11, max_iter=20_000)
    problem = objective.on(X, y)
    params = objective.net.params + 1e-3
    value = problem.value(params)
    (W,), (b,) = objective.net.weights, objective.net.biases
    best, _ = optimum(loss, penalty, X, y, W, b)
    assert duality_gap(problem, params, value) >= value - best - 1e-13
    at_optimum = duality_gap(problem, objective.net.params, problem.value())
    assert at_optimum <= 1e-10


def lipschitz(X):
    """Of the squared error's gradient: the largest eigenvalue of [X 1]ᵀ[X 1]/N."""
    ones = np.hstack([X, np.ones((len(X), 1))])
    return np.linalg.eigvalsh(ones.T @ ones / len(X)).max()


@penalties
@pytest.mark.parametrize("backtracking", [False, True])
def test_ista_and_fista_keep_their_bounds_at_every_iterate(penalty, backtracking):
    X, y = data(SQUARED)
    L = lipschitz(X) + 2 * getattr(penalty, "lam", 0.0) * penalty.smooth
    best = tr.minimize(objective_of(SQUARED, penalty), X, y, tol=1e-13, max_iter=50_000)
    start = tr.MLP((12, 3), seed=1).params
    distance = np.sum((start - best.x) ** 2)
    settings = {"tol": 1e-15, "max_iter": 300} | ({} if backtracking else {"step": 1 / L})
    L *= 2 if backtracking else 1  # halving stops at a step of at least 1/(2L)
    ista = tr.minimize(objective_of(SQUARED, penalty), X, y, "ista", **settings).history
    fista = tr.minimize(objective_of(SQUARED, penalty), X, y, "fista", **settings).history
    for history, bound in (
        (ista, lambda k: L * distance / (2 * k)),
        (fista, lambda k: 2 * L * distance / (k + 1) ** 2),
    ):
        k = np.arange(1, len(history["objective"]))
        assert len(k) > 10
        assert np.all(np.array(history["objective"])[1:] - best.fun <= bound(k) + 1e-13)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("solver", ["ista", "fista"])
def test_on_a_network_the_objective_never_rises(activation, solver):
    X, y = data(SOFTMAX)
    objective = tr.Objective(tr.MLP((12, 8, 3), activation, seed=1), SOFTMAX, tr.L1(5e-3))
    result = tr.minimize(objective, X, y, solver, tol=1e-9, max_iter=150)
    values = np.array(result.history["objective"])
    assert np.all(np.diff(values) <= 1e-12 * values[0])
    assert values[-1] < 0.8 * values[0]
    assert result.gap is None
    assert result.fun == values[-1] == pytest.approx(objective.value(X, y), rel=1e-13)


def test_a_smooth_network_reaches_a_stationary_point_with_exact_zeros():
    X, y = data(SOFTMAX)
    objective = tr.Objective(tr.MLP((12, 8, 3), "tanh", seed=1), SOFTMAX, tr.L1(0.01))
    result = tr.minimize(objective, X, y, tol=1e-7, max_iter=5000)
    assert result.success
    assert result.message.startswith("stationary")  # and not optimal
    assert objective.stationarity(X, y) <= 1e-7
    assert np.mean(objective.net.params[: objective.net.n_weights] == 0) > 0.3


def test_a_kink_of_the_data_loss_is_named():
    # The minimum of a small ReLU net lies on kinks: pre-activations at 0, to which ever shorter
    # steps lead. The same problem with tanh has none, and is solved.
    X, y = (part[:200] for part in tr.load_digits())
    for activation in ("relu", "tanh"):
        net = tr.MLP((64, 8, 10), activation, seed=0)
        objective = tr.Objective(net, SOFTMAX, tr.L1(3e-3))
        result = tr.minimize(objective, X, y, tol=1e-6, max_iter=3000)
        nearest = np.abs(net.trace(X).pre_activations[0]).min()
        if activation == "tanh":
            assert result.success
        else:
            assert not result.success
            assert result.message.startswith("stalled at a kink of the data loss: the nearest")
            assert nearest < 1e-6
            assert f"{nearest:.1e} from 0" in result.message
            assert result.stationarity > 1e-4


def test_subgradient_returns_its_best_point_and_no_zeros():
    X, y = data(SQUARED)
    for step in (0.3, inverse_sqrt(0.3), None):
        objective = objective_of(SQUARED, tr.L1(0.02))
        result = tr.minimize(objective, X, y, "subgradient", max_iter=400, step=step)
        assert not result.success
        assert "max_iter=400 reached; the stationarity residual is" in result.message
        assert result.fun == min(result.history["objective"])
        assert result.fun == pytest.approx(objective.value(X, y), rel=1e-14)
        assert np.all(objective.net.weights[0] != 0)
        assert result.stationarity > 1e-3


def test_the_decaying_subgradient_step_goes_on_where_the_constant_one_stops():
    X, y = data(SQUARED)
    best = tr.minimize(objective_of(SQUARED, tr.L1(0.1)), X, y, tol=1e-12).fun
    value = {}
    for name, step in (("constant", 0.5), ("decaying", inverse_sqrt(0.5))):
        objective = objective_of(SQUARED, tr.L1(0.1))
        value[name] = tr.minimize(objective, X, y, "subgradient", max_iter=1000, step=step).fun
    assert 0 < value["decaying"] - best < 0.1 * (value["constant"] - best)


def test_a_start_that_is_optimal_is_left_alone():
    X, y = data(SQUARED)
    objective = objective_of(SQUARED, tr.L1(0.02))
    tr.minimize(objective, X, y, tol=1e-10)
    before = objective.net.params.copy()
    for solver in ("ista", "fista", "lbfgs", "subgradient"):
        result = tr.minimize(objective, X, y, solver, tol=1e-9)
        assert (result.success, result.nit, result.nfev) == (True, 0, 1)
        np.testing.assert_array_equal(objective.net.params, before)


def test_at_lambda_max_and_no_earlier_all_weights_are_zero():
    for loss in (SQUARED, SIGMOID, SOFTMAX):
        X, y = data(loss)
        weight = np.random.default_rng(5).uniform(0.1, 2, len(X))
        for w in (None, weight):
            largest = lambda_max(X, y, loss, w)
            for factor, dead in ((1.0001, True), (0.999, False)):
                objective = objective_of(loss, tr.L1(factor * largest))
                result = tr.minimize(objective, X, y, tol=1e-10, max_iter=5000, sample_weight=w)
                assert result.success
                assert (not objective.net.weights[0].any()) == dead


def test_lambda_max_names_bad_targets():
    X, _ = data(SOFTMAX)
    for y, error in ((["a"] * 60, TypeError), (np.full(60, -1), ValueError)):
        with pytest.raises(error, match="y must be"):
            lambda_max(X, y, SOFTMAX)


def test_penalties_for_each_layer_and_for_biases():
    X, y = data(SQUARED)
    for penalty in ([tr.L1(0.05)], [None]):
        objective = tr.Objective(tr.MLP((12, 3)), SQUARED, penalty, bias_penalty=tr.L1(0.1))
        values = [
            tr.minimize(objective, X, y, solver, tol=1e-9, max_iter=5000) for solver in DESCENDING
        ]
        assert all(result.success and result.gap is None for result in values)
        assert np.ptp([result.fun for result in values]) < 1e-12


def test_float32_is_solved_to_its_own_precision():
    X, y = data(SOFTMAX)
    for solver in DESCENDING:
        net = tr.MLP((12, 3), dtype="float32", seed=1)
        objective = tr.Objective(net, SOFTMAX, tr.L1(0.02))
        result = tr.minimize(objective, X, y, solver, tol=2e-3, max_iter=2000)
        assert result.success, result.message
        assert net.params.dtype == result.x.dtype == np.float32


def test_a_step_that_is_too_long_fails_with_the_best_finite_point():
    X, y = data(SQUARED)
    for solver in ("ista", "fista", "subgradient"):
        objective = objective_of(SQUARED, tr.L1(0.02))
        start = objective.value(X, y)
        result = tr.minimize(objective, X, y, solver, step=1e3, max_iter=2000)
        assert not result.success
        assert np.isfinite(result.x).all()
        assert result.fun <= start
        assert result.fun == pytest.approx(objective.value(X, y))


def test_a_start_without_a_finite_objective_is_divergence():
    X, y = data(SQUARED)
    objective = objective_of(SQUARED, None)
    objective.net.params[0] = np.inf
    with pytest.raises(tr.DivergenceError, match="at the start"):
        tr.minimize(objective, X, y)


class Bumpy:
    """A penalty of a user's own, with a prox (of |w|/10) but unknown to L-BFGS-B."""

    smooth = False

    def value(self, w):
        return tr.L1(0.1).value(w)

    def subgradient(self, w):
        return tr.L1(0.1).subgradient(w)

    def prox(self, w, step):
        return tr.L1(0.1).prox(w, step)

    def residual(self, w, g):
        return tr.L1(0.1).residual(w, g)


def test_a_penalty_of_ones_own_is_solved_by_prox_and_refused_by_lbfgs():
    X, y = data(SQUARED)
    own, known = objective_of(SQUARED, Bumpy()), objective_of(SQUARED, tr.L1(0.1))
    assert tr.minimize(own, X, y, tol=1e-10).fun == pytest.approx(
        tr.minimize(known, X, y, tol=1e-10).fun, rel=1e-12
    )
    with pytest.raises(ValueError, match="solver 'lbfgs' takes smooth penalties, L1 and Elastic"):
        tr.minimize(own, X, y, "lbfgs")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"solver": "adam"}, ValueError, "solver must be one of subgradient, ista, fista, lbfgs"),
        ({"tol": 0}, ValueError, "tol must be a finite number > 0, got 0"),
        ({"tol": -1e-6}, ValueError, "tol must be a finite number > 0"),
        ({"tol": np.nan}, ValueError, "tol must be a finite number > 0, got nan"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer >= 1"),
        ({"step": 0.0}, ValueError, "step must be a finite number > 0"),
        ({"step": "0.1"}, TypeError, "step must be a finite number > 0, got str"),
        ({"step": inverse_sqrt(1.0)}, TypeError, "step must be a number for fista"),
        ({"step": 0.1, "solver": "lbfgs"}, ValueError, "step goes with subgradient, ista"),
        ({"X": np.full((60, 12), np.nan)}, ValueError, "X must be finite"),
        ({"y": np.zeros((60, 2))}, ValueError, "y must have shape"),
        ({"sample_weight": [1.0]}, ValueError, "sample_weight must have shape"),
        ({"objective": tr.MLP((12, 3))}, TypeError, "objective must be an Objective, got MLP"),
    ],
)
def test_bad_arguments_are_named_and_change_nothing(settings, error, words):
    X, y = data(SQUARED)
    objective = objective_of(SQUARED, tr.L1(0.02))
    before = objective.net.params.copy()
    with pytest.raises(error, match=words):
        tr.minimize(**{"objective": objective, "X": X, "y": y} | settings)
    np.testing.assert_array_equal(objective.net.params, before)


@pytest.mark.parametrize("scale", [1e-6, 1e4, 1e7])
def test_the_gap_knows_no_units(scale):
    X, y = data(SQUARED)
    objective = objective_of(SQUARED, tr.L1(0.02 * scale))
    result = tr.minimize(objective, X, scale * y, tol=1e-6 * max(scale, 1), max_iter=5000)
    assert result.success, result.message
    assert np.isfinite(result.history["gap"]).all()


def test_a_step_may_be_any_number():
    X, y = data(SQUARED)
    values = [
        tr.minimize(objective_of(SQUARED, tr.L1(0.02)), X, y, "ista", step=step, max_iter=3).fun
        for step in (0.25, np.float32(0.25), np.float64(0.25))
    ]
    assert values[0] == values[1] == values[2]
    whole = [
        tr.minimize(objective_of(SQUARED, tr.L2(0.0)), X / 9, y, "ista", step=step, max_iter=3).fun
        for step in (2, np.int64(2), 2.0)
    ]
    assert whole[0] == whole[1] == whole[2]


def test_the_clock_of_the_history_adds_up():
    X, y = data(SQUARED)
    for solver in ("ista", "fista", "lbfgs", "subgradient"):
        result = tr.minimize(objective_of(SQUARED, tr.L1(0.02)), X, y, solver, max_iter=30)
        seconds = np.array(result.history["seconds"])
        assert np.all(np.diff(seconds) > 0)


def test_a_subclass_is_a_penalty_of_its_own():
    class Fivefold(tr.L1):
        def value(self, w):
            return 5 * super().value(w)

        def subgradient(self, w):
            return 5 * super().subgradient(w)

        def prox(self, w, step):
            return super().prox(w, 5 * step)

        def residual(self, w, g):
            return tr.L1(5 * self.lam).residual(w, g)

    X, y = data(SQUARED)
    own, plain = objective_of(SQUARED, Fivefold(0.01)), objective_of(SQUARED, tr.L1(0.05))
    result = tr.minimize(own, X, y, tol=1e-10)
    assert result.success
    assert result.gap is None
    assert result.fun == pytest.approx(tr.minimize(plain, X, y, tol=1e-10).fun, rel=1e-12)
    with pytest.raises(ValueError, match="solver 'lbfgs' takes"):
        tr.minimize(own, X, y, "lbfgs")


def test_a_first_step_at_a_kink_ends_at_once():
    net = tr.MLP((2, 1, 1))
    net.params = [1.0, 1.0, 1.0, -1.0, 0.0]
    objective = tr.Objective(net, SQUARED)
    X, y = [[1.0, 0.0], [1.0, 1.0], [-5.0, -5.0]], [-10.0, 3.0, 10.0]
    result = tr.minimize(objective, X, y, "ista", max_iter=400)
    assert result.nit == 1
    assert "stalled at a kink of the data loss: the nearest pre-activation is 0.0e+00" in (
        result.message
    )


def test_a_change_of_scale_is_not_called_a_kink():
    net = tr.MLP((2, 1, 1))
    net.params = [1.0, 1.0, 1.0, 1.0, 0.0]
    objective = tr.Objective(net, SQUARED)
    result = tr.minimize(objective, [[1.0, 0.0], [1.0, 1.0]], [-1e6, 3.0], max_iter=50)
    assert "kink" not in result.message


# The same problems as others solve them. tinyreg's data loss is a mean, so that λ converts as said.


def sklearn(module):
    return pytest.importorskip(f"sklearn.{module}", reason="needs the sklearn extra")


def solve(X, y, loss, penalty, n_outputs):
    objective = tr.Objective(tr.MLP((X.shape[1], n_outputs)), loss, penalty)
    result = tr.minimize(objective, X, y, tol=1e-8, max_iter=50_000)
    assert result.success, result.message
    return objective, result.fun


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_scikit_learns_lasso_and_elastic_net_on_diabetes(alpha, l1_ratio):
    linear = sklearn("linear_model")
    X, y = sklearn("datasets").load_diabetes(return_X_y=True)
    X, y = standardise(X)[0], standardise(y)[0]
    peer = linear.ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-14, max_iter=100_000).fit(X, y)
    penalty = tr.ElasticNet(alpha * l1_ratio, alpha * (1 - l1_ratio) / 2)
    objective, value = solve(X, y, SQUARED, tr.L1(alpha) if l1_ratio == 1 else penalty, 1)
    at_peer = objective.value(X, y, np.append(peer.coef_, peer.intercept_))
    assert value == pytest.approx(at_peer, rel=1e-8)
    assert ((objective.net.weights[0].ravel() == 0) == (peer.coef_ == 0)).all()


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_scikit_learns_logistic_regression_on_breast_cancer(kind):
    linear = sklearn("linear_model")
    X, y = sklearn("datasets").load_breast_cancer(return_X_y=True)
    X, lam = standardise(X)[0], 0.01
    # C multiplies the sum over samples there; its L2 is ½‖w‖².
    C = 1 / (len(X) * lam) if kind == "l1" else 1 / (2 * len(X) * lam)
    settings = {"solver": "saga", "l1_ratio": 1.0} if kind == "l1" else {"solver": "newton-cg"}
    peer = linear.LogisticRegression(C=C, tol=1e-11, max_iter=200_000, **settings).fit(X, y)
    penalty = tr.L1(lam) if kind == "l1" else tr.L2(lam)
    objective, value = solve(X, y, SIGMOID, penalty, 1)
    at_peer = objective.value(X, y, np.append(peer.coef_.ravel(), peer.intercept_))
    assert value == pytest.approx(at_peer, rel=1e-8)
    if kind == "l1":
        assert ((objective.net.weights[0].ravel() == 0) == (peer.coef_.ravel() == 0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [tr.L1(0.01), tr.ElasticNet(0.01, 0.005), tr.L2(0.01)])
def test_digits_by_prox_and_by_lbfgs_agree(penalty):
    X, y = (part[:300] for part in tr.load_digits())
    objective, value = solve(X, y, SOFTMAX, penalty, 10)
    other = tr.Objective(tr.MLP((64, 10), seed=5), SOFTMAX, penalty)
    result = tr.minimize(other, X, y, "lbfgs", tol=1e-6, max_iter=5000)
    assert result.fun == pytest.approx(value, rel=1e-8)
    if not penalty.smooth:
        assert ((other.net.weights[0] == 0) == (objective.net.weights[0] == 0)).all()


@pytest.mark.parametrize("solver", ["ista", "fista"])
def test_the_group_lasso_is_solved(solver):
    X, Y = groups.least_squares()
    objective = tr.Objective(
        tr.MLP((groups.D, groups.K), seed=2), SQUARED, tr.GroupLasso(groups.LAM, axis=1)
    )
    result = tr.minimize(objective, X, Y, solver, tol=1e-9, max_iter=20_000)
    assert result.success
    (W,), (b,) = objective.net.weights, objective.net.biases
    value, alive = groups.proved_minimum(W, b)
    assert result.fun == pytest.approx(value, rel=1e-12)
    assert (W.any(axis=1) == alive).all()


@pytest.mark.filterwarnings("ignore")  # numba's own, while it compiles
@pytest.mark.parametrize("library", ["sklearn.linear_model", "skglm"])
def test_the_group_lasso_of_others_on_digits(library):
    peer = pytest.importorskip(library, reason="needs the bench extra")
    X, labels = tr.load_digits()
    X, Y = X - X.mean(axis=0), np.eye(10)[labels] - np.eye(10)[labels].mean(axis=0)
    # (1/2n)‖Y − XW‖² + α Σ ‖w_g‖, so that α = λ√10.
    lam = 5e-3
    model = peer.MultiTaskLasso(lam * np.sqrt(10), fit_intercept=False, tol=1e-10, max_iter=50_000)
    W = model.fit(X, Y).coef_.T
    objective, value = solve(X, Y, SQUARED, tr.GroupLasso(lam, axis=1), 10)
    at_peer = objective.value(X, Y, np.append(W.ravel(), np.zeros(10)))
    assert value == pytest.approx(at_peer, rel=1e-8)
    alive = W.any(axis=1)
    assert (objective.net.weights[0].any(axis=1) == alive).all()
    assert 0 < alive.sum() < 64
