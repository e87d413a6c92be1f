"""The objective and its gradients against differences of the objective itself."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.derivatives import complex_step, relative_error
from tests.support.problems import assert_gradient_is_right, problem
from tinyreg.core import objective as objective_module
from tinyreg.core.layers import ACTIVATIONS

LOSSES = [tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError()]
PENALTIES = [
    None,
    tr.L1(0.0),
    tr.L1(0.05),
    tr.L2(0.05),
    tr.ElasticNet(0.05, 0.02),
]


@pytest.mark.parametrize("n", [1, 2, 33])
@pytest.mark.parametrize("sizes", [(4, 3), (4, 5, 3), (4, 5, 4, 3), (3, 4, 2, 3, 3)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_at_every_depth_and_activation(activation, sizes, n):
    assert_gradient_is_right(*problem(sizes, n, activation, penalty=tr.ElasticNet(0.05, 0.02)))


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradient_of_every_loss_and_penalty(loss, penalty):
    assert_gradient_is_right(*problem(loss=loss, penalty=penalty))
    assert_gradient_is_right(
        *problem(loss=loss, penalty=penalty), sample_weight=[1, 0, 2, 3, 0.5, 1]
    )


@pytest.mark.parametrize("penalty", PENALTIES[1:], ids=repr)
def test_the_penalty_alone_is_of_the_weights_and_not_of_the_biases(penalty):
    objective, X, y = problem(penalty=penalty)
    net = objective.net
    assert objective.terms(X, y).penalty == pytest.approx(
        sum(penalty.value(W) for W in net.weights), rel=1e-14
    )
    alone = objective.gradient(X, y) - objective.data_gradient(X, y)
    slope = complex_step(lambda p: objective.terms(X, y, p).penalty, net.params)
    np.testing.assert_allclose(alone, slope, atol=1e-15)
    assert not alone[net.n_weights :].any()


def test_value_is_data_plus_penalty_and_lambda_counts_once():
    objective, X, y = problem(penalty=tr.L1(0.25))
    data, penalty = objective.terms(X, y)
    assert data == objective.loss.value(objective.net.forward(X), y)
    assert penalty == pytest.approx(
        0.25 * np.abs(objective.net.params[: objective.net.n_weights]).sum(), rel=1e-14
    )
    assert objective.value(X, y) == data + penalty


@pytest.mark.parametrize("times", [2, 5])
def test_lambda_does_not_depend_on_the_number_of_samples(times):
    objective, X, y = problem(penalty=tr.L2(0.1))
    repeated = np.tile(X, (times, 1)), np.tile(y, times)
    np.testing.assert_allclose(objective.terms(*repeated), objective.terms(X, y), rtol=1e-13)
    np.testing.assert_allclose(
        objective.gradient(*repeated), objective.gradient(X, y), rtol=1e-11, atol=1e-15
    )


def test_one_penalty_for_each_layer_and_one_for_the_biases():
    objective, X, y = problem(
        (4, 5, 4, 3), penalty=[tr.L1(0.1), None, tr.L2(0.2)], bias_penalty=tr.L2(0.3)
    )
    net = objective.net
    expected = 0.1 * np.abs(net.weights[0]).sum() + 0.2 * (net.weights[2] ** 2).sum()
    expected += 0.3 * sum((b**2).sum() for b in net.biases)
    assert objective.terms(X, y).penalty == pytest.approx(expected, rel=1e-14)
    assert_gradient_is_right(objective, X, y)


@pytest.mark.parametrize("penalty", [None, tr.L1(0.1), tr.L2(0.1), tr.ElasticNet(0.1, 0.2)])
@pytest.mark.parametrize("activation", ["tanh", "gelu", "relu"])
def test_hessian_vector_is_the_derivative_of_the_gradient_along_v(activation, penalty):
    objective, X, y = problem(activation=activation, penalty=penalty)
    params, v = objective.net.params, np.random.default_rng(9).normal(size=objective.net.n_params)
    h = 1e-6
    difference = (
        objective.gradient(X, y, params + h * v) - objective.gradient(X, y, params - h * v)
    ) / (2 * h)
    product = objective.hessian_vector(X, y, v)
    assert relative_error(product, difference, floor=1.0) <= 1e-7
    # The Hessian is symmetric: u·Hv = v·Hu.
    u = np.random.default_rng(10).normal(size=len(v))
    assert u @ product == pytest.approx(v @ objective.hessian_vector(X, y, u), rel=1e-12)


def test_hessian_of_a_linear_least_squares_is_known():
    objective, X, y = problem((4, 1), loss=tr.SquaredError(), penalty=tr.L2(0.3))
    ones = np.hstack([X, np.ones((len(X), 1))])
    H = ones.T @ ones / len(X) + 2 * 0.3 * np.diag([1, 1, 1, 1, 0])
    v = np.arange(5.0)
    np.testing.assert_allclose(objective.hessian_vector(X, y, v), H @ v, rtol=1e-13)


def test_complex_step_on_the_gradient_is_exact_where_differences_are_not():
    objective, X, y = problem()
    v = np.eye(objective.net.n_params)[0]
    params = objective.net.params
    for scale in (1e-290, 1e-8, 1.0, 1e8, 1e30):  # the product is linear in v, at any scale
        np.testing.assert_allclose(
            objective.hessian_vector(X, y, scale * v, params) / scale,
            objective.hessian_vector(X, y, v, params),
            rtol=1e-12,
            atol=1e-18,
        )


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("sample_weight", [None, [1, 0, 2, 3, 0.5, 1]])
def test_example_gradients_average_to_the_data_gradient(loss, sample_weight):
    objective, X, y = problem(loss=loss, penalty=tr.L1(0.1))
    each = objective.example_gradients(X, y, sample_weight=sample_weight)
    assert each.shape == (6, objective.net.n_params)
    np.testing.assert_allclose(
        each.mean(axis=0), objective.data_gradient(X, y, sample_weight=sample_weight), atol=1e-15
    )
    scale = (
        np.ones(6) if sample_weight is None else np.array(sample_weight) / np.mean(sample_weight)
    )
    for n in range(6):
        alone = objective.data_gradient(X[n : n + 1], y[n : n + 1])
        np.testing.assert_allclose(each[n], scale[n] * alone, atol=1e-15)


def test_residual_is_the_distance_to_a_stationary_point():
    objective, X, y = problem(penalty=tr.L1(0.05), activation="relu")
    net = objective.net
    net.weights[0][1] = 0
    g = objective.data_gradient(X, y)
    w = net.params[: net.n_weights]
    residual = objective.residual(X, y)
    for i in range(net.n_weights):
        slopes = 0.05 * (np.linspace(-1, 1, 3) if w[i] == 0 else np.sign(w[i : i + 1]))
        nearest = np.clip(-g[i], slopes.min(), slopes.max())
        assert residual[i] == pytest.approx(abs(-g[i] - nearest), abs=1e-16)
    np.testing.assert_array_equal(residual[net.n_weights :], np.abs(g[net.n_weights :]))
    assert objective.stationarity(X, y) == residual.max()


def test_the_ridge_solution_is_stationary():
    objective, X, y = problem((4, 1), n=20, loss=tr.SquaredError(), penalty=tr.L2(0.1))
    ones = np.hstack([X, np.ones((20, 1))])
    H = ones.T @ ones / 20 + 0.2 * np.diag([1, 1, 1, 1, 0])
    solution = np.linalg.solve(H, ones.T @ y.ravel() / 20)
    assert objective.stationarity(X, y, solution) <= 1e-15
    assert objective.stationarity(X, y, solution + 0.1) > 1e-3


@pytest.mark.parametrize("rows", [1, 7, 32])
def test_a_pass_in_chunks_is_the_pass_as_a_whole(monkeypatch, rows):
    objective, X, y = problem(n=100, penalty=tr.L2(0.1))
    w = np.arange(1.0, 101.0)
    whole = objective.value(X, y, sample_weight=w), objective.gradient(X, y, sample_weight=w)
    score = objective.on(X, y).value_and_score()[1]
    monkeypatch.setattr(objective_module, "ROWS", rows)
    assert len(list(objective.on(X, y)._passes(None))) > 1
    assert objective.value(X, y, sample_weight=w) == pytest.approx(whole[0], rel=1e-14)
    np.testing.assert_allclose(
        objective.gradient(X, y, sample_weight=w), whole[1], rtol=1e-10, atol=1e-15
    )
    assert objective.on(X, y).value_and_score()[1] == score


def test_a_penalty_in_blocks_is_the_penalty_as_a_whole(monkeypatch):
    penalty = tr.ElasticNet(0.1, 0.2)
    whole, X, y = problem(penalty=penalty)
    monkeypatch.setattr(objective_module, "STRETCH", 7)
    pieces, _, _ = problem(penalty=penalty)
    assert len(pieces.penalised) == 5
    np.testing.assert_array_equal(pieces.gradient(X, y), whole.gradient(X, y))
    np.testing.assert_array_equal(pieces.residual(X, y), whole.residual(X, y))
    assert pieces.value(X, y) == pytest.approx(whole.value(X, y), rel=1e-15)
    a, b = whole.net.params.copy(), pieces.net.params.copy()
    steps = np.linspace(0.1, 2, len(a))
    whole.prox(a, steps)
    pieces.prox(b, steps)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a[:35], penalty.prox(whole.net.params[:35], steps[:35]))


def test_params_stand_in_for_the_networks_own():
    objective, X, y = problem(penalty=tr.L1(0.1))
    other = np.random.default_rng(5).normal(size=objective.net.n_params)
    at_other = objective.value(X, y, other), objective.gradient(X, y, other)
    objective.net.params = other
    assert objective.value(X, y) == at_other[0]
    np.testing.assert_array_equal(objective.gradient(X, y), at_other[1])


def test_float32_objective_is_the_float64_one_to_its_own_rounding():
    objective, X, y = problem(penalty=tr.ElasticNet(0.05, 0.02))
    net = tr.MLP((4, 5, 3), "tanh", "float32")
    net.params = objective.net.params
    single = tr.Objective(net, objective.loss, objective.penalty)
    gradient = single.gradient(X, y, sample_weight=[1, 2, 3, 4, 5, 6])
    assert gradient.dtype == np.float32
    expected = objective.gradient(X, y, sample_weight=[1, 2, 3, 4, 5, 6])
    assert relative_error(gradient, expected, floor=0.1) <= 3e-6
    assert single.hessian_vector(X, y, np.ones(net.n_params)).dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"net": None}, TypeError, "net must be an MLP, got NoneType"),
        ({"loss": tr.SquaredError}, TypeError, "loss must be a loss such as"),
        ({"loss": "mse"}, TypeError, "loss must be a loss such as"),
        ({"penalty": 0.1}, TypeError, "penalty must be a penalty such as"),
        ({"penalty": tr.L1}, TypeError, "penalty must be a penalty such as"),
        ({"penalty": [tr.L1(0.1)]}, ValueError, "penalty must have one entry .* 2 layers, got 1"),
        ({"penalty": [tr.L1(0.1), "l2"]}, TypeError, r"penalty\[1\] must be a penalty such as"),
        ({"bias_penalty": 1}, TypeError, "bias_penalty must be a penalty such as"),
    ],
)
def test_a_bad_objective_is_named(arguments, error, words):
    good = {"net": tr.MLP((4, 5, 3)), "loss": tr.SquaredError(), "penalty": None}
    with pytest.raises(error, match=words):
        tr.Objective(**good | arguments)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (np.ones((3, 4)), [0, 1], r"y must have shape \(3,\)"),
        (np.ones((3, 4)), [0, 1, 3], "y must be labels from 0 to 2"),
        (np.ones((3, 5)), [0, 1, 2], "X must have shape"),
        (np.full((3, 4), np.nan), [0, 1, 2], "X must be finite"),
        (np.ones((0, 4)), [], "X must not be empty"),
    ],
)
def test_every_method_names_bad_samples(X, y, words):
    objective, _, _ = problem()
    v = np.zeros(objective.net.n_params)
    calls = [
        objective.value,
        objective.terms,
        objective.data_gradient,
        objective.gradient,
        objective.example_gradients,
        objective.residual,
        objective.stationarity,
        lambda X, y: objective.hessian_vector(X, y, v),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=words):
            call(X, y)


def test_a_bad_vector_is_named():
    objective, X, y = problem()
    with pytest.raises(ValueError, match="params must have shape"):
        objective.value(X, y, params=np.zeros(3))
    with pytest.raises(TypeError, match="v must be a dense array of real numbers"):
        objective.hessian_vector(X, y, np.ones(objective.net.n_params) * 1j)
    assert not objective.hessian_vector(X, y, np.zeros(objective.net.n_params)).any()
    with pytest.raises(ValueError, match="v must have shape"):
        objective.hessian_vector(X, y, np.zeros(3))
