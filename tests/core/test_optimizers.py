"""Each optimizer against its formulas in scalars, and against the points where it must rest."""

import math

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.core.optimizers import SGDState, learning_rate
from tinyreg.solvers.schedules import cosine, inverse_sqrt

SGD, Adam = tr.SGD, tr.Adam


def run(optimizer, gradients, start=1.0):
    """The parameter after each step along the given gradients."""
    params, path = np.array([start]), []
    state = optimizer.start(params)
    for g in gradients:
        optimizer.step(params, np.array([g]), state)
        path.append(params.item())
    return path


GRADIENTS = [0.5, -0.25, 2.0, 0.0, 1.0, -3.0]


def test_plain_sgd():
    w, expected = 1.0, []
    for g in GRADIENTS:
        w = w - 0.1 * g
        expected.append(w)
    assert run(SGD(0.1), GRADIENTS) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("rates", [[0.1] * 6, [0.0, 0.1, 0.0, 0.0, 0.1, 0.1]], ids=str)
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_pytorchs_at_a_rate_of_0_too(nesterov, rates):
    w, buffer, expected = 1.0, None, []
    for g, lr in zip(GRADIENTS, rates, strict=True):
        buffer = g if buffer is None else 0.9 * buffer + g
        w -= lr * (g + 0.9 * buffer if nesterov else buffer)
        expected.append(w)
    got = run(SGD(lambda step: rates[step], momentum=0.9, nesterov=nesterov), GRADIENTS)
    assert got == pytest.approx(expected, rel=1e-14)


def test_adam_is_the_papers():
    w, m, v, expected = 1.0, 0.0, 0.0, []
    for t, g in enumerate(GRADIENTS, start=1):
        m = 0.8 * m + 0.2 * g
        v = 0.99 * v + 0.01 * g * g
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.99**t)
        w -= 0.1 * m_hat / (math.sqrt(v_hat) + 1e-3)
        expected.append(w)
    got = run(Adam(0.1, betas=(0.8, 0.99), eps=1e-3), GRADIENTS)
    assert got == pytest.approx(expected, rel=1e-13)


def test_the_step_sizes_returned_are_those_taken():
    params = np.array([1.0, 2.0])
    g = np.array([0.5, -4.0])
    assert SGD(0.1).step(params, g, SGD(0.1).start(params)) == 0.1
    adam = Adam(0.1)
    state = adam.start(params)
    for _ in range(3):
        before = params.copy()
        sizes = adam.step(params, g, state)
        # The gradient is constant, so m̂ = g: what was taken is sizes · g.
        np.testing.assert_allclose(before - params, sizes * g, rtol=1e-12)


def test_an_optimizer_remembers_nothing_itself():
    for optimizer in (SGD(0.1, momentum=0.9), Adam(0.1)):
        assert run(optimizer, GRADIENTS) == run(optimizer, GRADIENTS)


def test_a_schedule_is_a_function_of_the_steps_done():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.1 / (step + 1)

    assert run(SGD(schedule), [1.0, 1.0, 1.0]) == pytest.approx([0.9, 0.85, 0.85 - 0.1 / 3])
    assert seen == [0, 1, 2]
    run(Adam(schedule), [1.0])
    assert seen == [0, 1, 2, 0]


def test_momentum_multiplies_its_buffer_by_the_present_rate():
    # PyTorch's convention: the buffer holds gradients, not steps.
    rates = [0.1, 0.01]
    got = run(SGD(lambda step: rates[step], momentum=0.5), [1.0, 0.0])
    assert got == pytest.approx([0.9, 0.9 - 0.01 * 0.5])


def test_schedules():
    assert inverse_sqrt(0.2, warm=4)(12) == pytest.approx(0.2 * math.sqrt(4 / 16))
    assert cosine(0.2, 8)(2) == pytest.approx(0.1 * (1 + math.cos(math.pi / 4)))
    assert cosine(0.2, 8)(20) == 0
    assert learning_rate(0.3, 5) == 0.3


# The lasso: no hidden layer, squared error, L1. Convex, so that there is one right answer.
LAM = 0.05


def lasso():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20))
    w = np.zeros(20)
    w[:5] = [2.0, -1.5, 1.0, -0.5, 0.25]
    return X, X @ w + 0.1 * rng.normal(size=60) + 0.7


def lasso_optimum():
    """min F and its weights: for given signs the conditions are linear, and they are the proof."""
    X, y = lasso()
    X, y, sign = X - X.mean(axis=0), y - y.mean(), np.array([1, -1, 1, -1, 1])  # b takes the means
    w, live = np.zeros(20), X[:, :5]
    w[:5] = np.linalg.solve(live.T @ live / 60, live.T @ y / 60 - LAM * sign)
    error = X @ w - y
    assert (np.sign(w[:5]) == sign).all()
    assert np.abs(X[:, 5:].T @ error / 60).max() < 0.9 * LAM
    return 0.5 * error @ error / 60 + LAM * np.abs(w).sum(), w


def train(optimizer, method, steps):
    X, y = lasso()
    net = tr.MLP((20, 1), seed=3)
    tr.fit(
        net,
        X,
        y,
        loss=tr.SquaredError(),
        penalty=tr.L1(LAM),
        method=method,
        optimizer=optimizer,
        epochs=steps,
        batch_size=60,
    )
    objective = tr.Objective(net, tr.SquaredError(), tr.L1(LAM))
    return net.weights[0].ravel(), objective.stationarity(X, y), objective.value(X, y)


# Adam at a constant rate circles its optimum, as it does without a prox; so its rate decays.
PROXIMAL = {
    "sgd": (SGD(0.1), 2000),
    "heavy ball": (SGD(0.05, momentum=0.9), 2000),
    "nesterov": (SGD(0.05, momentum=0.9, nesterov=True), 2000),
    "adam": (Adam(lambda step: 0.05 * 0.996**step), 4000),
    "adam, large eps": (Adam(1e-3, eps=1e-3), 6000),
}


@pytest.mark.parametrize("name", PROXIMAL)
def test_every_optimizer_with_a_prox_rests_at_the_lasso_solution(name):
    w, stationarity, value = train(PROXIMAL[name][0], "proximal", PROXIMAL[name][1])
    best, expected = lasso_optimum()
    assert stationarity <= 1e-8
    assert value == pytest.approx(best, rel=1e-12)
    np.testing.assert_allclose(w, expected, atol=1e-7)
    assert np.flatnonzero(w).tolist() == [0, 1, 2, 3, 4]  # all others are exactly 0


@pytest.mark.parametrize("name", ["heavy ball", "nesterov", "adam", "adam, large eps"])
def test_the_naive_control_does_not(name):
    w, stationarity, _ = train(PROXIMAL[name][0], "naive", PROXIMAL[name][1])
    assert stationarity > 0.5 * LAM
    assert np.flatnonzero(w == 0).tolist() != list(range(5, 20))
    if "adam" in name:
        assert np.all(w != 0)  # next to nothing is left of the penalty
    else:
        # A prox behind the momentum's back enforces (1 − μ)λ, so 0.9 λ is missing.
        assert stationarity == pytest.approx(0.9 * LAM, rel=1e-10)


@pytest.mark.parametrize("name", PROXIMAL)
def test_a_subgradient_never_makes_a_weight_exactly_zero(name):
    w, stationarity, _ = train(PROXIMAL[name][0], "subgradient", PROXIMAL[name][1])
    assert np.all(w != 0)
    assert stationarity > 0.5 * LAM  # a weight beside 0 misses λ by up to 2λ


@pytest.mark.parametrize("optimizer", [SGD(0.05, momentum=0.9), SGD(0.05, 0.9, nesterov=True)])
def test_a_prox_that_does_nothing_leaves_momentum_as_it_is(optimizer):
    rng = np.random.default_rng(0)
    a, b = np.ones(5), np.ones(5)
    state_a, state_b = optimizer.start(a), optimizer.start(b)
    for _ in range(20):
        g = rng.normal(size=5)
        optimizer.step(a, g, state_a)
        optimizer.step(b, g, state_b, lambda params, steps: None)
    np.testing.assert_array_equal(a, b)


def test_the_heavy_balls_velocity_is_the_step_really_taken():
    # v = w_new − w_old, prox included: y = w − η g + μ v, w_new = prox(y).
    optimizer, penalty, rng = SGD(0.1, momentum=0.8), tr.L1(0.5), np.random.default_rng(1)
    params = rng.normal(size=6)
    state = optimizer.start(params)
    w, v = params.copy(), np.zeros(6)
    for _ in range(30):
        g = w - 0.3 + 0.1 * rng.normal(size=6)
        new = penalty.prox(w - 0.1 * g + 0.8 * v, 0.1)
        w, v = new, new - w

        def prox(params, step):
            params[:] = penalty.prox(params, step)

        optimizer.step(params, g, state, prox)
        np.testing.assert_allclose(params, w, rtol=1e-10, atol=1e-14)
        np.testing.assert_array_equal(params == 0, w == 0)
    assert (w == 0).any()


# ------------------------------------------------------------ rates of 0

# The factor of the rate at step t.
TOUCHING = {
    "every other step": lambda t: float(t % 2 == 0),
    "every third step, the first too": lambda t: float(t % 3 > 0),
    "long runs": lambda t: float(t % 60 >= 30),
    "cosine with restarts": lambda t: (1 + math.cos(math.pi * (t % 21) / 20)) / 2,
    "the first hundred steps": lambda t: float(t >= 100),
}
RESTING = {
    "heavy ball": lambda s: SGD(lambda t: 0.3 * s(t), 0.6),
    "nesterov": lambda s: SGD(lambda t: 0.3 * s(t), 0.6, nesterov=True),
    "adam": lambda s: Adam(lambda t: 0.3 * s(t), betas=(0.6, 0.9), eps=0.5),
}


def l1_conditions(G, W, l1, l2=0.0):
    """How far −G is from l1 ∂|W| + 2 l2 W, at the weights and at the zeros."""
    slope, alive = G + 2 * l2 * W, W != 0
    at_zeros = np.maximum(np.abs(slope[~alive]) - l1, 0)
    return np.append(np.abs(slope + l1 * np.sign(W))[alive], at_zeros)


def row_conditions(G, W):
    """The same for rows of two, with λ√2: −G has their direction, and at most that norm at 0."""
    alive, lam = W.any(axis=1), LAM * math.sqrt(2)
    unit = W[alive] / np.linalg.norm(W[alive], axis=1, keepdims=True)
    at_zeros = np.maximum(np.linalg.norm(G[~alive], axis=1) - lam, 0)
    return np.append(np.abs(G[alive] + lam * unit), at_zeros)


PENALTIES = {
    "L1": (tr.L1(LAM), lambda G, W: l1_conditions(G, W, LAM)),
    "elastic net": (tr.ElasticNet(LAM, 0.1), lambda G, W: l1_conditions(G, W, LAM, 0.1)),
    "group lasso": (tr.GroupLasso(LAM, axis=1), row_conditions),
}


@pytest.mark.parametrize("touching", TOUCHING)
@pytest.mark.parametrize("optimizer", RESTING)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_schedule_that_touches_0_changes_no_rest_point(penalty, optimizer, touching):
    # L = ½ tr WᵀHW − tr BᵀW with H = I + vvᵀ
    rng = np.random.default_rng(4)
    v, B = rng.normal(size=(6, 1)), np.outer([1, -1, 0.5, 0.02, -0.02, 0.01], [1, 2])
    H, W = np.eye(6) + v @ v.T / 6, rng.normal(size=(6, 2))
    params, (R, conditions) = W.reshape(-1), PENALTIES[penalty]

    def prox(params, t):
        W[...] = R.prox(W, t.reshape(6, 2) if isinstance(t, np.ndarray) else t)

    sgd = RESTING[optimizer](TOUCHING[touching])
    state = sgd.start(params)
    for _ in range(300):
        sgd.step(params, (H @ W - B).ravel(), state, prox)
    assert conditions(H @ W - B, W).max() <= 1e-9
    assert 2 <= np.count_nonzero(W) <= 10


@pytest.mark.parametrize("nesterov", [False, True])
def test_fit_rests_at_the_lasso_solution_though_every_other_step_is_0(nesterov):
    w, stationarity, _ = train(SGD(lambda t: 0.1 * (t % 2), 0.8, nesterov), "proximal", 800)
    assert stationarity <= 1e-9
    np.testing.assert_allclose(w, lasso_optimum()[1], atol=1e-8)


@pytest.mark.parametrize("optimizer", [SGD(lambda t: 0.0, 0.9), SGD(lambda t: 0.0, 0.9, True)])
def test_a_step_of_0_with_a_prox_changes_nothing_but_the_count(optimizer):
    params, state = np.ones(3), SGDState(7, np.full(3, 0.5))
    assert optimizer.step(params, np.ones(3), state, tr.L1(0.1).prox) == 0
    np.testing.assert_array_equal(params, 1)
    np.testing.assert_array_equal(state.velocity, 0.5)
    assert state.steps == 8


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, True), Adam(0.1)])
def test_float32_stays_float32_and_the_gradient_is_left_alone(optimizer):
    params, g = np.ones(4, np.float32), np.arange(4, dtype=np.float32)
    g.flags.writeable = False
    state = optimizer.start(params)
    for _ in range(2):
        sizes = optimizer.step(params, g, state)
    assert params.dtype == np.float32
    assert isinstance(sizes, float) or sizes.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: SGD(0), ValueError, "lr must be a finite number > 0, got 0"),
        (lambda: SGD(-0.1), ValueError, "lr must be a finite number > 0, got -0.1"),
        (lambda: Adam(math.nan), ValueError, "lr must be a finite number > 0, got nan"),
        (lambda: Adam("1e-3"), TypeError, "lr must be a finite number > 0, got str '1e-3'"),
        (lambda: SGD(0.1, momentum=1.0), ValueError, "momentum must be < 1, got 1.0"),
        (lambda: SGD(0.1, momentum=-0.5), ValueError, "momentum must be a finite number >= 0"),
        (lambda: SGD(0.1, nesterov=True), ValueError, "nesterov=True needs a momentum > 0"),
        (lambda: SGD(0.1, 0.9, "yes"), TypeError, "nesterov must be True or False, got str 'yes'"),
        (lambda: Adam(betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be < 1"),
        (lambda: Adam(betas=0.9), TypeError, "betas must be a pair of numbers, got 0.9"),
        (lambda: Adam(eps=0), ValueError, "eps must be a finite number > 0, got 0"),
        (lambda: learning_rate(lambda t: math.inf, 3), ValueError, r"lr\(3\) must be a finite"),
        (lambda: learning_rate(lambda t: None, 3), TypeError, r"lr\(3\) must be a finite"),
        (lambda: inverse_sqrt(-1), ValueError, "lr must be a finite number > 0"),
        (lambda: cosine(0.1, 0), ValueError, "steps must be a finite number > 0"),
    ],
)
def test_bad_settings_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()
