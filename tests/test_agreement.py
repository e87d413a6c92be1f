"""tinyreg agrees with PyTorch, Keras and scikit-learn: the same gradients, the same training, and
what each calls the penalty. The table of conventions in tests/README.md names these tests."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support import frameworks
from tests.support.frameworks import (
    ADAM_RATE,
    BATCH,
    CASES,
    LAM,
    NO_EPS,
    OPTIMIZERS,
    STEPS,
    largest_difference,
)
from tinyreg.core.layers import ACTIVATIONS
from tinyreg.core.objective import Problem
from tinyreg.core.training import batches
from tinyreg.datasets.labels import class_weights

# One part in 2²³ of the largest parameter for each step. That much may add up: the decoupled steps
# of AdamW, here a few millionths of a weight, are rounded the same way 200 times (a fifth of the
# bound, by Keras and by tinyreg), and Keras' Adam has 1 − β₂ᵗ in float32 (a fifteenth).
FLOAT32 = STEPS * np.finfo("float32").eps


def names(case):
    return f"{case.optimizer}, {case.told}"


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch", reason="torch is in the bench extra")
    threads = module.get_num_threads()
    module.set_num_threads(1)  # on arrays this small, threads mostly wait for one another
    yield module
    module.set_num_threads(threads)


@pytest.fixture(scope="module")
def keras(torch):
    return pytest.importorskip("keras", reason="keras is in the bench extra")


@pytest.fixture(scope="module")
def neural_network():
    return pytest.importorskip("sklearn.neural_network", reason="needs the sklearn extra")


# ------------------------------------------------------------ gradients


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("layer", ["affine", "dropout", *ACTIVATIONS])
def test_every_layers_backward_is_pytorchs(layer):
    assert largest_difference(*frameworks.layer_pairs()[layer]) <= 1e-12


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("loss", frameworks.LOSSES)
def test_every_losss_value_and_gradient_are_pytorchs(loss):
    for pair in frameworks.loss_pairs(loss).values():
        assert largest_difference(*pair) <= 1e-12


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("penalty", frameworks.PENALTIES)
def test_every_penaltys_value_and_subgradient_are_pytorchs(penalty):
    for pair in frameworks.penalty_pairs(penalty).values():
        assert largest_difference(*pair) <= 1e-12


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", frameworks.LOSSES)
def test_every_networks_gradient_is_pytorchs(activation, loss):
    for penalty in frameworks.PENALTIES:
        for dropout in (False, True):
            pair = frameworks.network_pair(activation, loss, penalty, dropout)
            assert largest_difference(*pair) <= 1e-12, (penalty, dropout)


# ------------------------------------------------------------ 200 steps


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("case", [c for c in CASES if "torch" in c.peers], ids=names)
def test_training_ends_where_pytorch_ends(case):
    assert frameworks.torch_difference(case) <= 1e-10


@pytest.mark.usefixtures("keras")
@pytest.mark.parametrize("case", [c for c in CASES if "keras" in c.peers], ids=names)
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", FLOAT32)])
def test_training_ends_where_keras_ends(case, dtype, bound):
    assert frameworks.keras_difference(case, dtype) <= bound


@pytest.mark.parametrize("case", CASES, ids=names)
def test_float32_ends_where_float64_ends(case):
    assert frameworks.rounding(case) <= FLOAT32


# ------------------------------------------------------------ what others call it


def test_half_reg_is_l2_with_half_of_reg():
    reg, w = 0.3, np.array([1.0, -2.0, 0.5])
    assert tr.L2(reg / 2).value(w) == pytest.approx(0.5 * reg * np.sum(w**2), rel=1e-15)
    assert tr.L2(reg / 2).subgradient(w) == pytest.approx(reg * w, rel=1e-15)


@pytest.mark.usefixtures("torch")
def test_no_coupled_l2_is_adamw():
    # Of all λ, 0 among them, the nearest leaves most of what the decay does.
    adamw = frameworks.train_torch("AdamW", weight_decay=2 * LAM)
    lams = [0.0, *np.geomspace(1e-7, 1, 15)]
    coupled = [frameworks.train_tinyreg("Adam", tr.L2(lam)) for lam in lams]
    distances = [np.abs(params - adamw).max() for params in coupled]
    assert min(distances) > 0.5 * distances[0] > 1e-4


@pytest.mark.usefixtures("keras")
def test_keras_adams_epsilon_grows_by_the_bias_correction():
    import keras

    epsilon, beta2 = 1e-2, 0.999  # so large that it matters
    start, g = np.array([1.0, -2.0, 0.5]), np.array([1.0, -0.1, 0.01])
    with frameworks.keras_dtype("float64"):
        variable = keras.Variable(start, dtype="float64")
        theirs = keras.optimizers.Adam(ADAM_RATE, epsilon=epsilon)
        params = start.copy()
        state = tr.Adam().start(params)
        for t in range(1, 11):
            theirs.apply([keras.ops.convert_to_tensor(g / t)], [variable])
            ours = tr.Adam(ADAM_RATE, eps=epsilon / np.sqrt(1 - beta2**t))
            ours.step(params, g / t, state)
        assert params == pytest.approx(variable.value.detach().numpy(), rel=1e-13)


def test_pytorch_averages_over_outputs_where_tinyreg_adds(torch):
    z, y = outputs_and_answers()
    target = torch.tensor(y)
    (squared,) = frameworks.autograd(lambda z: torch.nn.MSELoss()(z, target), z)
    (sigmoid,) = frameworks.autograd(lambda z: torch.nn.BCEWithLogitsLoss()(z, target), z)
    assert largest_difference(tr.SquaredError().gradient(z, y) * 2 / 3, squared) <= 1e-12
    assert largest_difference(tr.SigmoidCrossEntropy().gradient(z, y) / 3, sigmoid) <= 1e-12


def test_keras_averages_over_outputs_where_tinyreg_adds(keras, torch):
    z, y = outputs_and_answers()
    target, losses = torch.tensor(y), keras.losses
    (squared,) = frameworks.autograd(lambda z: losses.MeanSquaredError()(target, z), z)
    cross_entropy = losses.BinaryCrossentropy(from_logits=True)
    (sigmoid,) = frameworks.autograd(lambda z: cross_entropy(target, z), z)
    few_roundings = 4 * np.finfo("float32").eps
    assert largest_difference(tr.SquaredError().gradient(z, y) * 2 / 3, squared) <= few_roundings
    assert largest_difference(tr.SigmoidCrossEntropy().gradient(z, y) / 3, sigmoid) <= few_roundings


def outputs_and_answers():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 3)).astype(float)


@pytest.mark.usefixtures("neural_network")
@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_scikit_learns_alpha_is_2_lam_b(optimizer, regression):
    # Three outputs in the regression: its gradient adds over them, as tinyreg's.
    assert frameworks.sklearn_difference(optimizer, regression) <= 1e-10


@pytest.mark.usefixtures("neural_network")
def test_scikit_learns_alpha_means_more_in_a_smaller_batch():
    # Batches of 32 and a last one of 16, whose penalty is twice that of the others.
    ours = frameworks.train_tinyreg("SGD", tr.L2(LAM), eps=NO_EPS)
    theirs = frameworks.train_sklearn("SGD", 2 * LAM * BATCH, BATCH)
    assert largest_difference(ours, theirs) > 1e-3


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_scikit_learns_alpha_is_2_lam_n_for_lbfgs(neural_network, task):
    X, y = frameworks.problem()
    if task == "classification":
        loss, model, n_outputs = tr.SoftmaxCrossEntropy(), neural_network.MLPClassifier, 3
    else:
        y = frameworks.real_targets()[:, 0]
        loss, model, n_outputs = tr.SquaredError(), neural_network.MLPRegressor, 1
    peer = lbfgs(model, X, y)
    params = frameworks.flat(peer.coefs_, peer.intercepts_)
    net = tr.MLP((X.shape[1], 8, 6, n_outputs), "tanh")
    objective = tr.Objective(net, loss, tr.L2(LAM))
    assert objective.value(X, y, params) == pytest.approx(peer.loss_, rel=1e-12)
    assert objective.stationarity(X, y, params) < 1e-4
    assert tr.Objective(net, loss, tr.L2(LAM / 2)).stationarity(X, y, params) > 1e-3


def lbfgs(model, X, y):
    return model(
        hidden_layer_sizes=(8, 6), activation="tanh", solver="lbfgs", alpha=2 * LAM * len(X),
        tol=1e-9, max_iter=10_000, max_fun=100_000, random_state=0,
    ).fit(X, y)  # fmt: skip


def test_scikit_learn_reports_the_mean_over_outputs_and_descends_their_sum(neural_network):
    X, Y = frameworks.problem()[0], frameworks.real_targets()
    model = neural_network.MLPRegressor(
        hidden_layer_sizes=(8,), activation="tanh", solver="sgd", learning_rate_init=1e-12,
        alpha=2 * LAM * len(X), batch_size=len(X),
    ).partial_fit(X, Y)  # fmt: skip
    net = tr.MLP((X.shape[1], 8, Y.shape[1]), "tanh")
    net.params = frameworks.flat(model.coefs_, model.intercepts_)
    data, penalty = tr.Objective(net, tr.SquaredError(), tr.L2(LAM)).terms(X, Y)
    assert model.loss_ == pytest.approx(data / Y.shape[1] + penalty, rel=1e-8)


def test_scikit_learns_lbfgs_breaks_off_with_several_real_outputs(neural_network):
    # As a value and the gradient of another function must make it.
    from sklearn.exceptions import ConvergenceWarning

    with pytest.warns(ConvergenceWarning, match="ABNORMAL"):
        lbfgs(neural_network.MLPRegressor, frameworks.problem()[0], frameworks.real_targets())


# ------------------------------------------------------------ class weights


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 7.5}, None], ids=str)
@pytest.mark.parametrize("loss", [tr.SigmoidCrossEntropy(), tr.SoftmaxCrossEntropy()], ids=repr)
def test_scikit_learns_c_is_one_over_lam_and_the_sum_of_the_weights(loss, class_weight):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="needs the sklearn extra")
    (X, y), lam = rare_classes(2), 0.05
    weight = np.ones(len(y)) if class_weight is None else class_weights(y, class_weight)
    model = linear_model.LogisticRegression(
        C=1 / (lam * weight.sum()), class_weight=class_weight, l1_ratio=1, solver="saga",
        tol=1e-8, max_iter=10_000,
    ).fit(X, y)  # fmt: skip
    n_outputs = 1 if isinstance(loss, tr.SigmoidCrossEntropy) else 2
    net = tr.MLP((6, n_outputs))
    F = tr.Objective(net, loss, tr.L1(lam))
    result = tr.minimize(F, X, y, tol=1e-10, max_iter=5000, sample_weight=weight)
    assert result.success
    # Of two logits the difference counts; as |w₁| + |w₀| ≥ |w₁ − w₀|, the least of F is the same.
    coef = net.weights[0] @ ([1] if n_outputs == 1 else [-1, 1])
    np.testing.assert_allclose(coef, model.coef_[0], atol=1e-6)
    assert 0 < np.count_nonzero(model.coef_) < 6
    one = tr.Objective(tr.MLP((6, 1)), tr.SigmoidCrossEntropy(), tr.L1(lam))
    theirs = np.append(model.coef_, model.intercept_)
    assert one.value(X, y, theirs, weight) == pytest.approx(result.fun, rel=1e-9)
    # N in the place of the sum is right where that is N.
    assert (weight.sum() == pytest.approx(len(y))) == (class_weight in ("balanced", None))
    assert (one.stationarity(X, y, theirs) < 1e-6) == (class_weight is None)


def rare_classes(n_classes):
    """80 samples of 6 standardised inputs; the classes are unlike in size."""
    X = np.random.default_rng(3).normal(size=(80, 6))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    score = X[:, 0] + 0.5 * np.random.default_rng(4).normal(size=80)
    return X, np.digitize(score, [1.0, 1.6][: n_classes - 1])


def test_pytorch_divides_by_the_weights_of_each_batch_and_tinyreg_by_those_of_all(torch):
    X, y = rare_classes(3)
    weight, n = class_weights(y), len(y)
    per_class = [weight[y == k][0] for k in range(3)]
    net = tr.MLP((6, 3))
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor(per_class))

    def theirs(X, y):
        def mean(W, b):
            return loss(torch.tensor(X) @ W + b, torch.tensor(y))

        return np.concatenate(
            [g.ravel() for g in frameworks.autograd(mean, *net.weights, *net.biases)]
        )

    problem = tr.Objective(net, tr.SoftmaxCrossEntropy()).on(X, y, weight)
    assert largest_difference(problem.data_gradient(), theirs(X, y)) <= 1e-12
    ours, others = [], []
    for batch in batches(problem, 10, np.random.default_rng(0)):
        ours.append(Problem(problem.objective, batch).data_gradient())
        others.append(theirs(batch.X, batch.targets))
        of_batch = sum(per_class[k] for k in batch.targets) / 10
        assert largest_difference(ours[-1], others[-1] * of_batch / (weight.sum() / n)) <= 1e-12
    assert largest_difference(np.mean(ours, axis=0), problem.data_gradient()) <= 1e-12
    assert largest_difference(np.mean(others, axis=0), problem.data_gradient()) > 0.02
