"""The minibatch loop: one step by hand, the batches, the history, divergence and bad input."""

import math
import tracemalloc
import warnings
from functools import partial

import numpy as np
import pytest
from scipy import special

import tinyreg as tr
from tinyreg.core import objective as objective_module
from tinyreg.core import optimizers as optimizers_module
from tinyreg.core.training import step

SQUARED, SOFTMAX = tr.SquaredError(), tr.SoftmaxCrossEntropy()


def worked_net():
    """2-2-1, ReLU, as worked out on paper below."""
    net = tr.MLP((2, 2, 1))
    net.weights[0][:] = [[1.0, -1.0], [0.5, 1.0]]
    net.biases[0][:] = [0.0, -2.0]
    net.weights[1][:] = [[0.5], [3.0]]
    net.biases[1][:] = [0.25]
    return net


# x = (1, 2), y = 1:  z₁ = (1·1 + 2·0.5 + 0, −1·1 + 2·1 − 2) = (2, −1),  a₁ = (2, 0)
#                     z₂ = 2·0.5 + 0·3 + 0.25 = 1.25,  L = ½·0.25² = 0.03125
# dz₂ = 0.25          dW₂ = (2·0.25, 0) = (0.5, 0),  db₂ = 0.25
# da₁ = 0.25·(0.5, 3) = (0.125, 0.75),  dz₁ = (0.125, 0)
#                     dW₁ = [[1·0.125, 0], [2·0.125, 0]],  db₁ = (0.125, 0)
X_WORKED, Y_WORKED = [[1.0, 2.0]], [1.0]


def test_forward_and_gradient_by_hand():
    objective = tr.Objective(worked_net(), SQUARED)
    trace = objective.net.trace(X_WORKED)
    np.testing.assert_array_equal(trace.pre_activations[0], [[2, -1]])
    np.testing.assert_array_equal(trace.activations[1], [[2, 0]])
    np.testing.assert_array_equal(trace.outputs, [[1.25]])
    assert objective.value(X_WORKED, Y_WORKED) == 0.03125
    np.testing.assert_array_equal(
        objective.gradient(X_WORKED, Y_WORKED), [0.125, 0, 0.25, 0, 0.5, 0, 0.125, 0, 0.25]
    )


@pytest.mark.parametrize(
    ("penalty", "method", "W1", "W2"),
    [
        # η = 0.1, and the biases as in every row: b₁ = (−0.0125, −2), b₂ = 0.225
        (None, "subgradient", [[0.9875, -1], [0.475, 1]], [[0.45], [3]]),
        # 2λw = 0.2 w more in the gradient: 1 − 0.1(0.125 + 0.2), −1 + 0.1·0.2, …
        (tr.L2(0.1), "subgradient", [[0.9675, -0.98], [0.465, 0.98]], [[0.44], [2.94]]),
        (tr.L2(0.1), "proximal", [[0.9675, -0.98], [0.465, 0.98]], [[0.44], [2.94]]),
        (tr.L2(0.1), "decoupled", [[0.9675, -0.98], [0.465, 0.98]], [[0.44], [2.94]]),
        # ηλ = 0.48 towards 0, past it where less is left
        (tr.L1(4.8), "subgradient", [[0.5075, -0.52], [-0.005, 0.52]], [[-0.03], [2.52]]),
        (tr.L1(4.8), "decoupled", [[0.5075, -0.52], [-0.005, 0.52]], [[-0.03], [2.52]]),
        (tr.L1(4.8), "proximal", [[0.5075, -0.52], [0, 0.52]], [[0], [2.52]]),
        # threshold 0.48, then divide by 1 + 2·0.1·0.1 = 1.02
        (
            tr.ElasticNet(4.8, 0.1),
            "proximal",
            [[0.5075 / 1.02, -0.52 / 1.02], [0, 0.52 / 1.02]],
            [[0], [2.52 / 1.02]],
        ),
    ],
)
def test_one_training_step_by_hand(penalty, method, W1, W2):
    net = worked_net()
    tr.fit(
        net,
        X_WORKED,
        Y_WORKED,
        loss=SQUARED,
        penalty=penalty,
        method=method,
        optimizer=tr.SGD(0.1),
        epochs=1,
    )
    np.testing.assert_allclose(net.weights[0], W1, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(net.weights[1], W2, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(net.biases[0], [-0.0125, -2], rtol=1e-13)
    np.testing.assert_allclose(net.biases[1], [0.225], rtol=1e-13)
    if method == "proximal" and not penalty.smooth:
        assert net.weights[0][1, 0] == 0
        assert net.weights[1][0, 0] == 0


def test_adam_with_decoupled_l2_is_adamw():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), rng.normal(size=8)
    net = tr.MLP((3, 1), seed=1)
    w, b = net.weights[0].ravel().copy(), 0.0
    m, v = np.zeros(4), np.zeros(4)
    for t in range(1, 21):
        error = X @ w + b - y
        g = np.append(X.T @ error / 8, error.mean())
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w * (1 - 0.01 * 2 * 0.3) - step[:3]  # weight decay 2λ
        b -= step[3]
    tr.fit(
        net,
        X,
        y,
        loss=SQUARED,
        penalty=tr.L2(0.3),
        method="decoupled",
        optimizer=tr.Adam(0.01),
        epochs=20,
        batch_size=8,
    )
    np.testing.assert_allclose(net.params, np.append(w, b), rtol=1e-11)


@pytest.mark.parametrize("method", ["subgradient", "decoupled", "proximal"])
@pytest.mark.parametrize("penalty", [tr.L1(0.8), tr.L2(0.3)], ids=repr)
def test_lambda_is_the_same_in_every_batch(method, penalty):
    # Two samples in batches of one: λ is halved nowhere, and counts in both steps.
    X, y = np.array([[1.0], [2.0]]), np.array([1.0, 3.0])
    net = tr.MLP((1, 1))
    net.params = [0.5, 0.0]
    w, b = 0.5, 0.0
    order = np.random.default_rng(0).spawn(2)[0].permutation(2)
    for n in order:
        g = X[n, 0] * w + b - y[n]
        slope = 0.8 * np.sign(w) if penalty == tr.L1(0.8) else 0.6 * w
        w_new = w - 0.1 * g * X[n, 0]
        if method == "proximal" and penalty == tr.L1(0.8):
            w = np.sign(w_new) * max(abs(w_new) - 0.08, 0)
        else:
            w = w_new - 0.1 * slope
        b -= 0.1 * g
    tr.fit(
        net, X, y, loss=SQUARED, penalty=penalty, method=method, optimizer=tr.SGD(0.1), epochs=1,
        batch_size=1,
    )  # fmt: skip
    np.testing.assert_allclose(net.params, [w, b], rtol=1e-13)


def test_naive_leaves_smooth_penalties_as_they_are():
    results = []
    for method in ("naive", "subgradient"):
        net = worked_net()
        tr.fit(net, X_WORKED, Y_WORKED, loss=SQUARED, penalty=tr.L2(0.1), method=method)
        results.append(net.params)
    np.testing.assert_array_equal(*results)


def test_small_weights_are_no_zeros():
    net = tr.MLP((2, 1))
    net.params = [1e-12, 1e-300, 0.0]
    history = tr.fit(
        net, [[0.0, 0.0]], [0.0], loss=SQUARED, optimizer=tr.SGD(0.1), epochs=1
    )  # fmt: skip
    assert history.exact_zeros == [0.0]


def data(n=23, d=5, k=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, (X @ rng.normal(size=(d, k))).argmax(axis=1)


def fit(net, X, y, loss=SOFTMAX, **settings):
    return tr.fit(net, X, y, **{"loss": loss, "epochs": 3, "batch_size": 8} | settings)


@pytest.mark.parametrize("batch_size", [1, 7, 8, 23, 100])
def test_an_epoch_visits_every_sample_once_and_a_short_batch_is_its_own_mean(batch_size):
    X, y = data()
    net = tr.MLP((5, 4, 3), "tanh", seed=1)
    plain = net.copy()
    objective = tr.Objective(plain, SOFTMAX)
    fit(net, X, y, batch_size=batch_size, epochs=2, optimizer=tr.SGD(0.1), seed=4)
    shuffling, _ = np.random.default_rng(4).spawn(2)
    for _ in range(2):
        order = shuffling.permutation(23)
        assert sorted(order) == list(range(23))
        for start in range(0, 23, batch_size):
            rows = order[start : start + batch_size]
            plain.params -= 0.1 * objective.data_gradient(X[rows], y[rows])
    np.testing.assert_allclose(net.params, plain.params, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("method", ["subgradient", "proximal", "decoupled", "naive"])
@pytest.mark.parametrize("optimizer", [tr.SGD(0.1, momentum=0.9), tr.Adam(0.01)])
def test_the_same_seed_gives_the_same_bits(method, optimizer):
    X, y = data()
    runs = []
    for seed in (0, 0, 1):
        net = tr.MLP((5, 4, 3), seed=2)
        history = fit(
            net,
            X,
            y,
            penalty=tr.L1(0.01),
            method=method,
            optimizer=optimizer,
            seed=seed,
            dropout=0.3,
            validation_data=(X, y),
        )
        runs.append((net.params, history))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert (runs[0][0] != runs[2][0]).any()


def test_the_history_is_exact_at_the_end_of_each_epoch():
    X, y = data()
    X_val, y_val = data(seed=1)
    net = tr.MLP((5, 4, 3), seed=2)
    objective = tr.Objective(net, SOFTMAX, tr.L1(0.05))
    seen = []

    def callback(epoch, history):
        assert epoch == len(history.total)
        seen.append(
            [
                *objective.terms(X, y),
                objective.value(X, y),
                np.mean(net.params[: net.n_weights] == 0),
                SOFTMAX.value(net.forward(X_val), y_val),
                np.mean(net.forward(X_val).argmax(axis=1) == y_val),
            ]
        )

    history = fit(
        net,
        X,
        y,
        penalty=tr.L1(0.05),
        method="proximal",
        optimizer=tr.SGD(0.5),
        epochs=4,
        validation_data=(X_val, y_val),
        callback=callback,
    )
    got = [
        history.data_loss,
        history.penalty,
        history.total,
        history.exact_zeros,
        history.validation_loss,
        history.validation_score,
    ]
    np.testing.assert_allclose(np.transpose(got), seen, rtol=1e-13)
    assert history.exact_zeros[-1] > 0
    assert not fit(net, X, y).validation_loss


def test_training_lowers_the_objective_and_learns():
    X, y = data(200)
    net = tr.MLP((5, 16, 3), seed=0)
    history = fit(net, X, y, penalty=tr.L2(1e-4), optimizer=tr.Adam(0.01), epochs=60)
    assert history.total[-1] < 0.3 * history.total[0]
    assert np.mean(net.forward(X).argmax(axis=1) == y) > 0.95


def test_one_hot_labels_train_like_labels():
    X, y = data()
    a, b = tr.MLP((5, 4, 3)), tr.MLP((5, 4, 3))
    fit(a, X, y)
    fit(b, X, np.eye(3)[y])
    np.testing.assert_allclose(a.params, b.params, rtol=1e-12)


def test_sample_weights_in_one_batch_are_the_weighted_objectives_gradient():
    X, y = data()
    weight = np.random.default_rng(1).uniform(0, 3, 23)
    net = tr.MLP((5, 4, 3), "tanh")
    expected = net.params - 0.1 * tr.Objective(net, SOFTMAX).data_gradient(
        X, y, sample_weight=weight
    )
    fit(net, X, y, sample_weight=weight, batch_size=23, epochs=1, optimizer=tr.SGD(0.1))
    np.testing.assert_allclose(net.params, expected, rtol=1e-12, atol=1e-15)


def test_sample_weights_of_batches_average_to_the_weighted_gradient():
    X, y = data(24)
    weight = np.random.default_rng(1).uniform(0, 3, 24)
    net = tr.MLP((5, 3), "tanh")
    start = net.params.copy()
    expected = tr.Objective(net, SOFTMAX).data_gradient(X, y, sample_weight=weight)
    # With a tiny rate the parameters hardly move, so that an epoch adds up its batches' gradients.
    fit(net, X, y, sample_weight=weight, batch_size=8, epochs=1, optimizer=tr.SGD(1e-6))
    np.testing.assert_allclose((start - net.params) / 3e-6, expected, rtol=1e-4, atol=1e-6)


def test_dropout_trains_with_masks_and_ends_without():
    X, y = data()
    a, b = tr.MLP((5, 40, 3), "tanh"), tr.MLP((5, 40, 3), "tanh")
    fit(a, X, y, dropout=0.0)
    fit(b, X, y, dropout=0.5)
    assert (a.params != b.params).all()
    np.testing.assert_array_equal(b.forward(X), tr.MLP.forward(b.copy(), X))
    h = np.tanh(X @ b.weights[0] + b.biases[0])
    np.testing.assert_allclose(b.forward(X), h @ b.weights[1] + b.biases[1], rtol=1e-12)


def test_dropout_of_one_batch_is_the_gradient_under_its_masks():
    X, y = data(6)
    net = tr.MLP((5, 4, 3), "tanh")
    _, dropping = np.random.default_rng(0).spawn(2)
    mask = (dropping.random((6, 4)) >= 0.4) / 0.6
    order = np.random.default_rng(0).spawn(2)[0].permutation(6)
    h = np.tanh(X[order] @ net.weights[0]) * mask
    p = special.softmax(h @ net.weights[1], axis=1)
    expected = net.weights[1] - 0.1 * h.T @ (p - np.eye(3)[y[order]]) / 6
    fit(net, X, y, batch_size=6, epochs=1, optimizer=tr.SGD(0.1), dropout=0.4)
    np.testing.assert_allclose(net.weights[1], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("method", ["subgradient", "proximal", "decoupled", "naive"])
@pytest.mark.parametrize("sizes", [(5, 3), (5, 4, 3), (5, 4, 6, 4, 3)], ids=str)
def test_any_depth_any_method_any_layout_in_both_dtypes(sizes, method):
    X, y = data()
    wide = np.zeros((46, 10))
    wide[::2, ::2] = X
    X.flags.writeable = y.flags.writeable = False
    results = []
    for features in (X, np.asfortranarray(X), wide[::2, ::2], X.tolist()):
        net = tr.MLP(sizes, seed=1)
        fit(net, features, y, penalty=tr.ElasticNet(0.01, 0.01), method=method)
        results.append(net.params)
    for params in results[1:]:
        np.testing.assert_array_equal(params, results[0])
    single = tr.MLP(sizes, dtype="float32", seed=1)
    fit(single, X, y, penalty=tr.ElasticNet(0.01, 0.01), method=method)
    assert single.params.dtype == np.float32
    np.testing.assert_allclose(single.params, results[0], atol=2e-4)


@pytest.mark.parametrize(
    ("X", "y", "sizes", "loss"),
    [
        (np.ones((1, 4)), [2], (4, 3, 3), SOFTMAX),
        (np.ones((7, 1)), np.arange(7.0), (1, 3, 1), SQUARED),
        (np.ones((7, 1)), np.ones((7, 1)), (1, 1), SQUARED),
        (np.ones((5, 2)), np.ones((5, 3)), (2, 3), SQUARED),
        (np.ones((5, 2)), [0, 1, 1, 0, 1], (2, 4, 1), tr.SigmoidCrossEntropy()),
        (np.ones((5, 2)), np.eye(5)[:, :3], (2, 4, 3), tr.SigmoidCrossEntropy()),
    ],
)
def test_small_shapes_train(X, y, sizes, loss):
    net = tr.MLP(sizes, seed=1)
    history = fit(net, X, y, loss=loss, epochs=20, batch_size=2, optimizer=tr.SGD(0.01))
    assert history.total[-1] < history.total[0]


def test_divergence_says_where_and_leaves_finite_parameters():
    X, y = data()
    net = tr.MLP((5, 4, 3), "identity", seed=1)
    with pytest.raises(tr.DivergenceError) as caught:
        tr.fit(
            net,
            1e3 * X,
            1e3 * np.eye(3)[y],
            loss=SQUARED,
            penalty=tr.L2(0.1),
            optimizer=tr.SGD(1.0),
            epochs=50,
            batch_size=8,
        )
    message = str(caught.value)
    assert caught.value.epoch >= 1
    assert f"epoch {caught.value.epoch}, batch {caught.value.batch}" in message
    assert "data loss" in message
    assert "penalty" in message
    assert "learning rate below 1" in message
    assert np.isfinite(net.params).all()


@pytest.mark.parametrize("lr", [1e150, 1e300])
@pytest.mark.parametrize("optimizer", [tr.SGD, tr.Adam])
def test_a_step_that_overflows_is_divergence_too(optimizer, lr):
    X, y = data()
    net = tr.MLP((5, 4, 3), "identity", seed=1)
    with pytest.raises(tr.DivergenceError):
        fit(net, X, np.eye(3)[y], loss=SQUARED, optimizer=optimizer(lr), epochs=5)
    assert np.isfinite(net.params).all()


def test_parameters_that_overflow_go_back_to_the_start_of_the_epoch():
    net = tr.MLP((1, 1), seed=1)
    start = net.params.copy()
    with pytest.raises(tr.DivergenceError, match=r"epoch 1, batch .* rate below 1e\+300"):
        tr.fit(
            net, [[1e10], [1e10]], [1.0, 2.0], loss=SQUARED, optimizer=tr.SGD(1e300), epochs=1,
            batch_size=1,
        )  # fmt: skip
    np.testing.assert_array_equal(net.params, start)


def test_an_infinite_weight_behind_a_saturated_activation_is_found():
    rng = np.random.default_rng(0)
    X = np.abs(rng.normal(size=(8, 3))) * 1e150
    net = tr.MLP((3, 4, 2), "tanh")
    net.weights[0][:] /= 1e150
    with pytest.raises(tr.DivergenceError):
        fit(net, X, np.arange(8) % 2, optimizer=tr.SGD(1e300))
    assert np.isfinite(net.params).all()


def test_divergence_names_the_rate_of_the_step_that_diverged():
    def schedule(step):
        return 1e200 if step == 5 else 1e-3

    X, y = data()
    with pytest.raises(tr.DivergenceError, match=r"epoch 2, batch 3: .* below 1e\+200"):
        fit(tr.MLP((5, 3)), X, np.eye(3)[y], loss=SQUARED, optimizer=tr.SGD(schedule))


def test_divergence_raises_no_warnings_of_its_own():
    X, y = data()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(tr.DivergenceError):
            fit(tr.MLP((5, 3)), X, np.eye(3)[y], loss=SQUARED, optimizer=tr.SGD(1e200))
    assert not caught


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"X": np.full((23, 5), np.nan)}, ValueError, r"X must be finite .* got nan at \[0, 0\]"),
        ({"X": np.full((23, 5), -np.inf)}, ValueError, "X must be finite .* got -inf"),
        ({"X": np.ones((23, 4))}, ValueError, r"X must have shape \(n_samples, 5\)"),
        ({"X": np.ones(23)}, ValueError, "X must have shape"),
        ({"X": np.ones((0, 5)), "y": []}, ValueError, "X must not be empty"),
        ({"y": np.arange(23)}, ValueError, "y must be labels from 0 to 2"),
        ({"y": np.ones(23)}, TypeError, "y must be integer labels"),
        ({"y": np.zeros(22, int)}, ValueError, r"y must have shape \(23,\)"),
        ({"net": "net"}, TypeError, "net must be an MLP"),
        ({"loss": "mse"}, TypeError, "loss must be a loss"),
        ({"penalty": 0.1}, TypeError, "penalty must be a penalty"),
        ({"method": "prox"}, ValueError, "method must be one of subgradient, .* got 'prox'"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be SGD.* got str 'adam'"),
        ({"optimizer": tr.Adam}, TypeError, "optimizer must be SGD"),
        ({"epochs": 0}, ValueError, "epochs must be an integer >= 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer >= 1, got float 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": "32"}, TypeError, "batch_size must be an integer"),
        ({"seed": -1}, ValueError, "seed must be an integer >= 0"),
        ({"callback": "print"}, TypeError, "callback must be a function of .*got str"),
        ({"dropout": 1.0}, ValueError, "dropout must be < 1"),
        ({"dropout": -0.1}, ValueError, "dropout must be a finite number >= 0"),
        ({"sample_weight": np.ones(3)}, ValueError, "sample_weight must have shape"),
        ({"validation_data": np.ones(3)}, TypeError, r"validation_data: must be \(X, y\) or"),
        (
            {"validation_data": (np.ones((3, 4)), [0, 1, 2])},
            ValueError,
            "validation_data: X must have shape",
        ),
    ],
)
def test_a_bad_argument_is_named_before_any_training(changes, error, words):
    X, y = data()
    net = tr.MLP((5, 4, 3))
    before = net.params.copy()
    arguments = {"net": net, "X": X, "y": y, "loss": SOFTMAX} | changes
    with pytest.raises(error, match=words):
        tr.fit(**arguments)
    np.testing.assert_array_equal(net.params, before)


def test_a_schedule_that_goes_wrong_is_named():
    X, y = data()
    with pytest.raises(ValueError, match=r"lr\(2\) must be a finite number >= 0, got -1"):
        fit(tr.MLP((5, 3)), X, y, optimizer=tr.SGD(lambda t: 0.1 if t < 2 else -1))


def test_a_penalty_of_ones_own_trains():
    class Huberised:
        """|w| with its kink rounded off: smooth, and written by a user."""

        smooth = True

        def value(self, w):
            return float(np.sum(np.sqrt(w * w + 1e-4)))

        def subgradient(self, w):
            return w / np.sqrt(w * w + 1e-4)

        def prox(self, w, step):
            raise AssertionError("a smooth penalty needs no prox")

        def residual(self, w, g):
            return np.abs(g + self.subgradient(w))

    X, y = data()
    net = tr.MLP((5, 3))
    history = fit(net, X, y, penalty=Huberised(), method="proximal", optimizer=tr.SGD(0.05))
    assert history.total[-1] < history.total[0]
    assert math.isclose(history.penalty[-1], Huberised().value(net.weights[0]))


def test_a_large_gradient_is_no_divergence_though_its_square_overflows():
    net = tr.MLP((1, 1), dtype="float32")
    net.params = [0.0, 0.0]
    x = np.array([[1e10]], np.float32)
    tr.fit(net, x, [1e10], loss=SQUARED, optimizer=tr.SGD(1e-21), epochs=1)
    # The gradient is (0 − 10¹⁰)·10¹⁰ = −10²⁰, whose square is beyond float32.
    np.testing.assert_allclose(net.params, [1e-1, 1e-11], rtol=1e-6)


# ------------------------------------------------------------ pieces and memory

STEPS = {
    "SGD, subgradient": (tr.SGD(0.1), "subgradient"),
    "SGD, proximal": (tr.SGD(0.1), "proximal"),
    "momentum, proximal": (tr.SGD(0.1, 0.9), "proximal"),
    "Nesterov, proximal": (tr.SGD(0.1, 0.9, nesterov=True), "proximal"),
    "Adam, subgradient": (tr.Adam(0.01), "subgradient"),
    "Adam, proximal": (tr.Adam(0.01), "proximal"),
    "Adam, decoupled": (tr.Adam(0.01), "decoupled"),
    "Adam, naive": (tr.Adam(0.01), "naive"),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    ("penalty", "bias_penalty"),
    [
        (tr.ElasticNet(0.01, 0.02), None),
        (tr.L1(0.01), tr.L1(0.003)),
        ([None, tr.L1(0.01)], tr.L2(0.1)),
        (tr.GroupLasso(0.01, axis=1), None),
        ([tr.L2(0.1), tr.GroupLasso(0.01, axis=0)], tr.L1(0.01)),
        (None, None),
    ],
)
def test_a_step_in_pieces_is_the_step_as_a_whole(monkeypatch, name, penalty, bias_penalty):
    optimizer, method = STEPS[name]
    X, y = data()
    results = []
    for size in (1000, 7, 3):
        monkeypatch.setattr(objective_module, "STRETCH", size)
        monkeypatch.setattr(optimizers_module, "CACHED", size)
        net = tr.MLP((5, 4, 3), seed=2)
        penalties = {"penalty": penalty, "bias_penalty": bias_penalty}
        fit(net, X, y, method=method, optimizer=optimizer, **penalties)
        results.append(net.params.copy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def traced(run):
    """The most memory that `run` held at once, in bytes, beyond what was there before."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_training_holds_less_than_6_times_its_parameters_and_4_times_a_batch(name):
    optimizer, method = STEPS[name]
    sizes, batch_size = (784, 256, 256, 10), 128
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2 * batch_size, 784)), rng.integers(0, 10, 2 * batch_size)
    net = tr.MLP(sizes)
    peaks = []

    def callback(epoch, history):
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()

    def run():
        fit(
            net,
            X,
            y,
            penalty=tr.L1(1e-4),
            method=method,
            optimizer=optimizer,
            batch_size=batch_size,
            epochs=3,
            callback=callback,
        )

    traced(run)
    assert peaks[0] < 8 * (6 * net.n_params + 4 * batch_size * sum(sizes))
    # Flat: a later epoch needs nothing more (but for the few numbers of the history).
    assert max(peaks[1:]) < peaks[0] + 4096


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_step_allocates_at_most_three_vectors_of_parameters(name):
    optimizer, method = STEPS[name]
    net = tr.MLP((784, 512, 512, 10))
    objective = tr.Objective(net, SOFTMAX, tr.L1(1e-4))
    state, gradient = optimizer.start(net.params), np.ones(net.n_params)
    run = partial(step, objective, optimizer, state, gradient, method)
    run()
    assert traced(run) < 3.5 * 8 * net.n_params


def test_validation_samples_may_have_weights():
    net, weight = tr.MLP((4, 3, 1), seed=0), np.array([1.0, 0.0, 3.0])
    X, y = np.random.default_rng(0).normal(size=(3, 4)), np.array([1.0, 2.0, 3.0])
    held_out = (X, y, weight)
    history = tr.fit(net, X, y, loss=tr.SquaredError(), epochs=2, validation_data=held_out)
    errors = 0.5 * (net.forward(X).ravel() - y) ** 2
    assert history.validation_loss[-1] == pytest.approx((errors[0] + 3 * errors[2]) / 4, rel=1e-12)
