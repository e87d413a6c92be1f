"""SVRG: each step's mean is the full gradient, and the zeros are those of the optimum.

The optimum comes from a coordinate descent of this file, and its conditions are the proof: −∇L is
λ sign(w) at a weight, and short of ±λ by a margin at a zero. So every optimum has those zeros.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.solvers.schedules import cosine, inverse_sqrt

SQUARED, SOFTMAX, SIGMOID = tr.SquaredError(), tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy()
LAM, N, D = 0.1, 60, 10
METHODS = ["subgradient", "proximal", "decoupled", "naive"]


def fit(net, X, y, loss, **settings):
    return tr.fit(net, X, y, loss=loss, **{"variance_reduction": True} | settings)


# ------------------------------------------------------------ the support

# The prediction as a function of the logits, and the most that it changes with one of them.
PREDICTION = {
    "lasso": (lambda z: z, 1.0),
    "logistic": (lambda z: 1 / (1 + np.exp(-z)), 0.25),
    "multinomial": (lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), 0.25),
}
LOSSES = {"lasso": SQUARED, "logistic": SIGMOID, "multinomial": SOFTMAX}
RATES = {"lasso": 0.02, "logistic": 0.1, "multinomial": 0.1}  # for batches of one
EPOCHS = {1: 15, 8: 40, 32: 60, N: 80}
FASTER = {1: 1, 8: 2, 32: 10, N: 10}
STEPS = {
    "constant": lambda lr, epoch, last: lr,
    "inverse root": lambda lr, epoch, last: inverse_sqrt(lr, warm=10 * epoch),
    "cosine": lambda lr, epoch, last: cosine(2 * lr, last),
}


def problem(kind):
    rng = np.random.default_rng(2)
    W = np.zeros((D, 3))
    W[:3] = [[2, -1, 0], [-1, 1, 1], [1, 0, -2]]
    X = rng.normal(size=(N, D))
    Z = X @ W + 0.3 * rng.normal(size=(N, 3))
    return X, {"lasso": Z[:, 0], "logistic": Z[:, 0] > 0, "multinomial": Z.argmax(axis=1)}[kind]


@pytest.fixture(scope="module", params=PREDICTION)
def solved(request):
    """A problem, the weights of its optimum, and the least F."""
    kind = request.param
    (X, y), (prediction, curvature) = problem(kind), PREDICTION[kind]
    Y = np.eye(3)[y] if kind == "multinomial" else y[:, np.newaxis] * 1.0
    A, lam = np.column_stack([X, np.ones(N)]), np.append(np.full(D, LAM), 0)  # the bias is free
    W, Z = np.zeros((D + 1, Y.shape[1])), np.zeros_like(Y)
    t = 1 / (curvature * np.mean(A**2, axis=0))
    for _ in range(150):
        for j, k in itertools.product(*map(range, W.shape)):
            w = W[j, k] - t[j] * A[:, j] @ (prediction(Z) - Y)[:, k] / N
            w = np.sign(w) * max(abs(w) - t[j] * lam[j], 0)
            Z[:, k] += A[:, j] * (w - W[j, k])
            W[j, k] = w
    slope, W, b = A.T @ (prediction(A @ W) - Y) / N, W[:D], W[D]
    np.testing.assert_allclose(slope[D], 0, atol=1e-12)
    np.testing.assert_allclose(slope[:D][W != 0], -LAM * np.sign(W[W != 0]), rtol=1e-11)
    assert np.abs(slope[:D][W == 0]).max() < 0.9 * LAM
    assert np.abs(W[W != 0]).min() > 0.2
    assert 3 <= np.count_nonzero(W) <= 4
    per_sample = {
        "lasso": lambda z: 0.5 * (z - Y) ** 2,
        "logistic": lambda z: np.log1p(np.exp(z)) - Y * z,
        "multinomial": lambda z: np.log(np.exp(z).sum(axis=1)) - (Y * z).sum(axis=1),
    }[kind]
    return kind, X, y, W, per_sample(X @ W + b).mean() + LAM * np.abs(W).sum()


def train(kind, X, y, batch, step="constant", **settings):
    """The network, and where its weights were not 0 after each epoch."""
    net, found = tr.MLP((D, {"multinomial": 3}.get(kind, 1))), []
    epochs, per_epoch = EPOCHS[batch] * (1 if kind == "lasso" else 2), -(-N // batch)
    lr = STEPS[step](FASTER[batch] * RATES[kind], per_epoch, epochs * per_epoch)
    settings = {"optimizer": tr.SGD(lr), "penalty": tr.L1(LAM), "method": "proximal"} | settings
    settings["callback"] = lambda epoch, history: found.append(net.weights[0] != 0)
    history = fit(net, X, y, LOSSES[kind], epochs=epochs, batch_size=batch, **settings)
    return net, np.array(found), history


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("batch", EPOCHS)
def test_the_support_is_that_of_the_optimum_at_any_batch_size_and_stays(solved, batch, step):
    kind, X, y, W, best = solved
    net, found, history = train(kind, X, y, batch, step)
    assert (found[len(found) // 2 :] == (W != 0)).all()
    np.testing.assert_allclose(net.weights[0], W, atol=0.02)
    assert history.total[-1] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("step", STEPS)
def test_without_it_weights_stay_that_the_optimum_has_at_0(solved, batch, step):
    kind, X, y, W, _ = solved
    _, found, _ = train(kind, X, y, batch, step, variance_reduction=False)
    assert (found[-1] > (W != 0)).sum() >= 3


def test_a_decaying_step_without_it_reaches_the_least_f_with_no_zero_at_all():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    y = X[:, :3] @ [2, -1, 1] + 0.3 * rng.normal(size=400)
    net, F = tr.MLP((30, 1)), {}
    for decay in (False, True):
        lr = cosine(0.005, 12 * 400) if decay else 0.005
        settings = {"penalty": tr.L1(0.1), "method": "proximal", "optimizer": tr.SGD(lr)}
        history = fit(
            net, X, y, SQUARED, epochs=12, batch_size=1, variance_reduction=not decay, **settings
        )
        F[decay] = history.total[-1]
        assert np.count_nonzero(net.weights[0]) == (30 if decay else 3)
    assert F[True] == pytest.approx(F[False], rel=1e-3)


OPTIMIZERS = {
    "heavy ball": tr.SGD(0.002, momentum=0.9),
    "nesterov": tr.SGD(0.002, momentum=0.9, nesterov=True),
    "adam": tr.Adam(inverse_sqrt(0.02, warm=100)),
    "adam, large eps": tr.Adam(0.02, eps=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_momentum_and_adam_find_the_support_too(solved, name):
    kind, X, y, W, best = solved
    _, found, history = train(kind, X, y, 1, optimizer=OPTIMIZERS[name])
    np.testing.assert_array_equal(found[-1], W != 0)
    assert history.total[-1] == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("kind", PREDICTION)
def test_scikit_learn_finds_the_same_support(kind):
    linear = pytest.importorskip("sklearn.linear_model", reason="needs the sklearn extra")
    X, y = problem(kind)
    settings = {"solver": "saga", "l1_ratio": 1.0, "tol": 1e-12, "max_iter": 20_000}
    if kind == "lasso":
        peer = linear.Lasso(alpha=LAM, tol=1e-12)
    else:
        peer = linear.LogisticRegression(C=1 / (N * LAM), **settings)
    W = np.reshape(peer.fit(X, y).coef_, (-1, D)).T
    for batch in (1, 8):
        np.testing.assert_array_equal(train(kind, X, y, batch)[1][-1], W != 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numba's own, while it compiles
@pytest.mark.parametrize("kind", ["lasso", "logistic"])
def test_skglm_finds_the_same_support(kind):
    skglm = pytest.importorskip("skglm", reason="needs the bench extra")
    X, y = problem(kind)
    peer = {"lasso": skglm.Lasso, "logistic": skglm.SparseLogisticRegression}[kind]
    W = np.reshape(peer(alpha=LAM, tol=1e-12).fit(X, y * 1.0).coef_, (1, D)).T
    np.testing.assert_array_equal(train(kind, X, y, 8)[1][-1], W != 0)


# ------------------------------------------------------------ the gradient of a step


class Walk:
    """An optimizer that goes to given places, whatever the gradient, and keeps each gradient."""

    def __init__(self, *places):
        self.places = places

    def start(self, params):
        self.gradients = []

    def step(self, params, gradient, state, prox=None):
        params[...] = self.places[len(self.gradients) % len(self.places)]
        self.gradients.append(gradient.copy())
        return 0.0


def small(n=4, sizes=(3, 4, 2), dtype="float64"):
    rng = np.random.default_rng(5)
    net = tr.MLP(sizes, "tanh", dtype=dtype, seed=1)
    places = rng.normal(size=(4, net.n_params)).astype(dtype)
    return net, rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], n), places


def seeds_of_all_orders(n):
    """A seed of `fit` for each order in which an epoch may take n samples."""
    seeds, tried = dict.fromkeys(itertools.permutations(range(n))), itertools.count()
    while None in seeds.values():
        seed = next(tried)
        seeds[tuple(np.random.default_rng(seed).spawn(2)[0].permutation(n).tolist())] = seed
    return list(seeds.values())


@pytest.mark.parametrize("weight", [None, [1.0, 3.0, 0.0, 0.5]])
@pytest.mark.parametrize("batch", [1, 2, 3])  # of 4: with 3 the last batch has one
def test_the_mean_over_all_batches_is_the_full_gradient(batch, weight):
    net, X, y, places = small()
    at = [net.params.copy(), *places]
    seen = []
    for seed in seeds_of_all_orders(4):
        settings = {"batch_size": batch, "sample_weight": weight, "optimizer": Walk(*places)}
        net.params = at[0]
        fit(net, X, y, SOFTMAX, epochs=1, seed=seed, **settings)
        seen.append(settings["optimizer"].gradients)
    full = [tr.Objective(net, SOFTMAX).data_gradient(X, y, p, weight) for p in at]
    for mean, expected in zip(np.mean(seen, axis=0), full, strict=False):
        np.testing.assert_allclose(mean, expected, rtol=1e-12, atol=1e-14)
    assert np.std(seen, axis=0)[0].max() < 1e-15  # the first step has no noise, the second has
    assert np.std(seen, axis=0)[1].max() > 1e-2


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_first_step_of_each_epoch_takes_the_full_gradient(dtype):
    net, X, y, places = small(n=7, dtype=dtype)
    before, walk = net.params.copy(), Walk(*places)
    fit(net, X, y, SOFTMAX, epochs=3, batch_size=2, optimizer=walk)  # four steps in each
    F = tr.Objective(net, SOFTMAX)
    for start, gradient in zip([before, places[3], places[3]], walk.gradients[::4], strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_allclose(
            gradient, F.data_gradient(X, y, start), atol=4 * np.finfo(dtype).eps
        )


def test_the_noise_of_a_step_goes_with_the_distance_from_the_epochs_start():
    net, X, y, places = small(n=40)
    start, direction = net.params.copy(), places[0]
    full, noise = tr.Objective(net, SOFTMAX), []
    for distance in (1e-2, 1e-3, 1e-4):
        net.params, walk = start, Walk(start + distance * direction)
        fit(net, X, y, SOFTMAX, epochs=1, batch_size=1, optimizer=walk)
        expected = full.data_gradient(X, y, start + distance * direction)
        noise.append(np.std(walk.gradients[1:] - expected))
    assert noise[0] / noise[1] == pytest.approx(10, rel=0.05)
    assert noise[1] / noise[2] == pytest.approx(10, rel=0.05)


def test_one_epoch_by_hand():
    # ŷ = wx + b from w = 1, b = 0; η = 3/10, λ = 1; batches {1, 2} and {3}.
    #   x = (1, 2, −1), y = (0, 1, 1): the errors are (1, 1, −2) and ∇L = (1 + 2 + 2, 1 + 1 − 2)/3
    # Step 1: −∇L/η is all of it: w = 1 − 3/10·5/3 = 1/2, by the prox 1/2 − 3/10 = 1/5; b = 0.
    # Step 2: sample 3 has the error −1/5 − 1 = −6/5 here and −2 at the start:
    #   (6/5 − 2 + 5/3, −6/5 + 2 + 0) = (13/15, 4/5)
    #   w = 1/5 − 3/10·13/15 = −3/50, by the prox 0;  b = −3/10·4/5 = −6/25
    X, y, order = [[1.0], [2.0], [-1.0]], [0.0, 1.0, 1.0], [0, 1, 2]
    seed = seeds_of_all_orders(3)[0]
    assert np.random.default_rng(seed).spawn(2)[0].permutation(3).tolist() == order
    settings = {"penalty": tr.L1(1.0), "method": "proximal", "optimizer": tr.SGD(0.3)}
    net = tr.MLP((1, 1))
    net.params = [1.0, 0.0]
    fit(net, X, y, SQUARED, epochs=1, batch_size=2, seed=seed, **settings)
    assert net.params[0] == 0
    assert net.params[1] == pytest.approx(-6 / 25, rel=1e-14)


def exactly(X, Y, weight, theta, *, orders, batch, eta, lam, mu, method):
    """Epochs of SVRG with a linear model, in rational numbers; θ has the bias in its last row."""
    fractions = np.vectorize(Fraction, otypes=[object])
    A = fractions(np.column_stack([X, np.ones(len(X))]))
    Y, weight, theta = fractions(Y), fractions(weight), fractions(theta)
    weight, penalised = weight / weight.sum(), np.ones_like(theta)
    penalised[-1] = 0
    u = 0 * theta

    def gradient(theta, rows):
        factor = weight[rows][:, np.newaxis] * Fraction(len(X), len(rows))
        return A[rows].T @ (factor * (A[rows] @ theta - Y[rows]))

    def soft(theta, t):
        return np.sign(theta) * np.maximum(abs(theta) - t * lam * penalised, 0)

    for order in orders:
        anchor = theta
        for start in range(0, len(X), batch):
            rows = order[start : start + batch]
            g = gradient(theta, rows) - gradient(anchor, rows) + gradient(anchor, order)
            s = lam * penalised * np.sign(theta)
            if method == "proximal":  # heavy ball: −ηu is the step really taken
                new = soft(theta - eta * (g + mu * u), eta)
                theta, u = new, (theta - new) / eta
            elif method == "naive":
                u = mu * u + g
                theta = soft(theta - eta * u, eta)
            else:
                u = mu * u + g + (s if method == "subgradient" else 0)
                theta = theta - eta * u - (eta * s if method == "decoupled" else 0)
    return theta


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mu", [0, Fraction(1, 2)])
@pytest.mark.parametrize(("outputs", "weighted"), [(1, False), (2, True)])
def test_epochs_in_exact_rationals(method, mu, outputs, weighted):
    rng = np.random.default_rng(3)
    X, Y = rng.integers(-4, 5, (5, 3)) / 4, rng.integers(-8, 9, (5, outputs)) / 4
    weight = [1.0, 0.5, 2.0, 0.0, 1.5] if weighted else np.ones(5)
    theta = rng.integers(-4, 5, (4, outputs)) / 4
    net, shuffling = tr.MLP((3, outputs)), np.random.default_rng(6).spawn(2)[0]
    net.params = theta.ravel()
    fit(
        net, X, Y, SQUARED, penalty=tr.L1(0.25), method=method, seed=6, epochs=3, batch_size=2,
        optimizer=tr.SGD(0.125, momentum=float(mu)), sample_weight=weight if weighted else None,
    )  # fmt: skip
    expected = exactly(
        X, Y, weight, theta, orders=[shuffling.permutation(5) for _ in range(3)], batch=2,
        eta=Fraction(1, 8), lam=Fraction(1, 4), mu=mu, method=method,
    )  # fmt: skip
    np.testing.assert_allclose(net.params, expected.ravel().astype(float), rtol=1e-13, atol=1e-15)
    assert ((net.params == 0) == (expected.ravel() == 0)).all()


# ------------------------------------------------------------ what it changes and what not


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "optimizer", [tr.SGD(0.1), tr.SGD(0.05, 0.9), tr.SGD(0.05, 0.9, nesterov=True), tr.Adam(0.01)]
)
def test_with_all_samples_in_one_batch_it_changes_nothing(method, optimizer):
    ends = []
    for variance_reduction in (False, True):
        net, X, y, _ = small(n=9)
        settings = {"penalty": tr.L1(0.01), "method": method, "optimizer": optimizer}
        fit(
            net, X, y, SOFTMAX, epochs=10, batch_size=9, variance_reduction=variance_reduction,
            **settings,
        )  # fmt: skip
        ends.append(net.params)
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-10, atol=1e-12)


def test_a_single_sample_trains_as_without_it():
    ends = []
    for variance_reduction in (False, True):
        net, X, y, _ = small(n=1)
        fit(net, X, y, SOFTMAX, epochs=5, variance_reduction=variance_reduction)
        ends.append(net.params)
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_seed_gives_the_same_bits(method, dtype):
    runs = []
    for seed in (4, 4, 5):
        net, X, y, _ = small(n=9, dtype=dtype)
        settings = {"penalty": tr.L1(0.01), "method": method, "optimizer": tr.SGD(0.1, 0.5)}
        history = fit(net, X, y, SOFTMAX, epochs=3, batch_size=2, seed=seed, **settings)
        assert net.params.dtype == dtype
        runs.append((net.params, history))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert (runs[0][0] != runs[2][0]).any()


def test_float32_finds_the_support():
    X, y = problem("lasso")
    zeros = []
    for dtype in ("float64", "float32"):
        net = tr.MLP((D, 1), dtype=dtype)
        settings = {"penalty": tr.L1(LAM), "method": "proximal", "optimizer": tr.SGD(0.02)}
        fit(net, X, y, SQUARED, epochs=15, batch_size=1, **settings)
        zeros.append(net.weights[0] == 0)
    np.testing.assert_array_equal(zeros[1], zeros[0])
    assert zeros[0].sum() == D - 3


@pytest.mark.parametrize(("variance_reduction", "gradients"), [(False, 1), (True, 3)])
def test_an_epoch_costs_three_gradients_of_each_sample(variance_reduction, gradients):
    class Counting(tr.SoftmaxCrossEntropy):
        def delta(self, outputs, targets, weight):
            rows.append(len(outputs))
            return super().delta(outputs, targets, weight)

    rows = []
    net, X, y, _ = small(n=7)
    fit(net, X, y, Counting(), epochs=4, batch_size=3, variance_reduction=variance_reduction)
    assert sum(rows) == 4 * 7 * gradients


def test_a_step_too_long_is_divergence_and_leaves_finite_parameters():
    net, X, y, _ = small(n=9)
    with pytest.raises(tr.DivergenceError, match="epoch"):
        fit(net, X, np.eye(2)[y], SQUARED, optimizer=tr.SGD(1e6), epochs=50, batch_size=2)
    assert np.isfinite(net.params).all()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"dropout": 0.5}, ValueError, "variance_reduction needs dropout=0, got 0.5"),
        ({"variance_reduction": 1}, TypeError, "variance_reduction must be True or False, got int"),
        ({"variance_reduction": "yes"}, TypeError, "variance_reduction must be .* got str 'yes'"),
        ({"variance_reduction": None}, TypeError, "variance_reduction must be True or False"),
    ],
)
def test_what_it_does_not_take_is_named_before_any_training(settings, error, words):
    net, X, y, _ = small()
    before = net.params.copy()
    with pytest.raises(error, match=words):
        fit(net, X, y, SOFTMAX, **settings)
    np.testing.assert_array_equal(net.params, before)
