"""Where a function has no derivative: D⁻ and D⁺ are right, and so is the verdict."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import random_case
from tinyreg.checks.judge import VERDICTS


def verdict(report):
    (row,) = report.rows
    return [v for v in VERDICTS if row[v]]


def sides(report, block="x"):
    details = report.details[block]
    return details.left, details.right


# ------------------------------------------------------------ functions known by their values only


@pytest.mark.parametrize(
    ("given", "wanted"), [(0.0, "kink"), (0.5, "kink"), (-1.0, "kink"), (1.0, "kink"),
                          (1.01, "mismatch"), (-2.0, "mismatch")],
)  # fmt: skip
def test_the_absolute_value_at_zero(given, wanted):
    report = tr.check_gradient(lambda w: abs(w[0]), np.array([given]), np.zeros(1))
    left, right = sides(report)
    assert left == pytest.approx([-1.0])
    assert right == pytest.approx([1.0])
    assert verdict(report) == [wanted]
    assert report.rows[0]["kinks"]["between"] == (wanted == "kink")


@pytest.mark.parametrize(("given", "wanted"), [(0.0, "kink"), (1.0, "kink"), (-0.1, "mismatch")])
def test_relu_at_zero(given, wanted):
    report = tr.check_gradient(lambda t: np.maximum(t[0], 0), np.array([given]), np.zeros(1))
    left, right = sides(report)
    assert left == pytest.approx([0.0], abs=1e-12)
    assert right == pytest.approx([1.0])
    assert verdict(report) == [wanted]


def test_two_kinks_at_once():
    def f(x):
        return abs(x[0]) + abs(x[0] - x[1])

    report = tr.check_gradient(f, np.zeros(2), np.zeros(2))
    left, right = sides(report)
    assert left == pytest.approx([-2.0, -1.0])
    assert right == pytest.approx([2.0, 1.0])
    assert verdict(report) == ["kink"]


def test_two_kinks_that_cancel_leave_a_derivative():
    def f(t):
        return np.maximum(t[0], 0) - np.maximum(-t[0], 0)  # it is t

    wrong = tr.check_gradient(f, np.zeros(1), np.zeros(1))
    assert verdict(wrong) == ["mismatch"]
    assert wrong.rows[0]["numeric"] == pytest.approx(1.0)
    assert tr.check_gradient(f, np.ones(1), np.zeros(1)).ok


@pytest.mark.parametrize(
    ("given", "ok"), [([1.0, 0.0], True), ([0.0, 1.0], True), ([0.5, 0.5], True),
                      ([2.0, -1.0], False)],
)  # fmt: skip
def test_max_pooling_at_a_tie(given, ok):
    report = tr.check_gradient(
        lambda x: np.maximum(x[0], x[1]), np.array(given), np.array([0.7, 0.7])
    )
    left, right = sides(report)
    assert left == pytest.approx([0.0, 0.0], abs=1e-9)
    assert right == pytest.approx([1.0, 1.0])
    assert report.ok == ok


def test_a_max_pooling_layer_with_ties_and_without():
    def forward(x):
        return np.maximum(x[:, 0::2], x[:, 1::2])

    def backward(dout, x):
        first = x[:, 0::2] >= x[:, 1::2]
        dx = np.zeros_like(x)
        dx[:, 0::2], dx[:, 1::2] = dout * first, dout * ~first
        return dx

    x = np.array([[1.0, 2.0, 0.5, 0.5], [3.0, 1.0, -1.0, -1.0]])
    report = tr.check_backward(forward, backward, x)
    assert report.ok
    assert report.rows[0]["kink"] == 4
    assert report.rows[0]["match"] == 4
    shared = tr.check_backward(forward, lambda d, x: 2 * backward(d, x), x)
    assert not shared.ok


def test_the_euclidean_norm_at_zero():
    x = np.zeros(3)
    report = tr.check_gradient(np.linalg.norm, x, x)
    left, right = sides(report)
    assert left == pytest.approx(-np.ones(3))
    assert right == pytest.approx(np.ones(3))
    assert verdict(report) == ["kink"]
    assert not tr.check_gradient(np.linalg.norm, np.array([2.0, 0, 0]), x).ok


@pytest.mark.parametrize("t", [1e-3, 1e-5, 1e-7, -1e-7, -1e-5, -1e-3])
def test_a_kink_beside_the_point_is_left_behind_by_a_smaller_step(t):
    point = np.array([t])

    def f(x):
        return 3 * np.maximum(x[0], 0)

    right = np.array([3.0 if t > 0 else 0.0])
    assert verdict(tr.check_gradient(f, right, point)) == ["match"]
    assert verdict(tr.check_gradient(f, np.array([1.5]), point)) == ["mismatch"]


@pytest.mark.parametrize(
    ("f", "told"),
    [
        (lambda x: np.floor(x[0]), "jump"),
        (lambda x: np.sqrt(abs(x[0] - 1)), "vertical tangent"),
        (lambda x: abs(x[0] - 1) ** 0.25, "vertical tangent"),
    ],
)
def test_no_slopes_at_all_are_inconclusive(f, told):
    report = tr.check_gradient(f, np.zeros(1), np.ones(1))
    assert not report.ok
    assert verdict(report) == ["inconclusive"]
    assert told in report.rows[0]["reason"]
    assert told in str(report)


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda x: np.exp(40 * x[0]), 40 * np.exp(40.0)),
        (lambda x: np.sin(300 * x[0]), 300 * np.cos(300.0)),
        (lambda x: 1e8 + x[0] ** 2, 2.0),
        (lambda x: np.sqrt(1e-8 + (x[0] - 1) ** 2), 0.0),
        (lambda x: abs(x[0] - 1) * (x[0] - 1), 0.0),
    ],
)
def test_what_is_steep_or_bends_sharply_is_not_called_a_kink(f, slope):
    report = tr.check_gradient(f, np.array([slope]), np.ones(1))
    assert verdict(report) == ["match"], str(report)


# ------------------------------------------------------------ networks


def test_relu_at_zero_with_inputs_of_both_signs():
    """L = ½ mean (v relu(w x) − y)²; at w = 0 only the samples on one side see a step of w."""
    x, y, v = np.array([2.0, -3.0, 1.0]), np.array([1.0, 2.0, -0.5]), 0.7
    net = tr.MLP((1, 1, 1))
    net.params = [0.0, v, 0.0, 0.0]
    F = tr.Objective(net, tr.SquaredError())
    report = tr.check_gradients(F, x[:, np.newaxis], y)
    terms = -v * y * x / 3
    details = report.details["W1"]
    assert details.right[0, 0] == pytest.approx(terms[x > 0].sum(), rel=1e-6)
    assert details.left[0, 0] == pytest.approx(terms[x < 0].sum(), rel=1e-6)
    assert details.verdict[0, 0] == "kink"
    # v meets activations of 0, and the output's bias no kink at all
    assert report.details["W2"].verdict[0, 0] == "match"
    assert report.details["b2"].verdict[0] == "match"


def tie():
    """relu(t) − relu(−t) with t = w − 1, at w = 1: it is t, and its backward pass says 0."""
    net = tr.MLP((1, 1, 2, 1))
    (W1, W2, W3), (_, b2, _) = net.weights, net.biases
    W1[...], W2[...], W3[...] = 1.0, [[1.0, -1.0]], [[1.0], [-1.0]]
    b2[...] = [-1.0, 1.0]
    return tr.Objective(net, tr.SquaredError()), np.ones((1, 1)), np.array([-1.0])


def test_where_the_convention_gives_no_subgradient_the_report_says_so():
    F, X, y = tie()
    assert F.gradient(X, y)[0] == 0.0
    report = tr.check_gradients(F, X, y)
    row = report.rows[0]
    assert row["block"] == "W1"
    assert row["kinks"]["left"] == pytest.approx(1.0, rel=1e-6)
    assert row["kinks"]["right"] == pytest.approx(1.0, rel=1e-6)
    assert row["kinks"]["between"] is False
    assert (row["kink"], row["mismatch"]) == (1, 0)
    assert "no subgradient" in str(report)
    wrong = F.gradient(X, y)
    wrong[0] = 0.3  # neither the convention's 0 nor the true slope 1
    assert tr.check_gradients(F, X, y, gradient=wrong).rows[0]["mismatch"] == 1
    true = F.gradient(X, y)
    true[0] = 1.0
    assert tr.check_gradients(F, X, y, gradient=true).rows[0]["mismatch"] == 0


def test_a_dead_unit_that_changes_no_output_is_no_kink():
    net = tr.MLP((2, 3, 1), seed=3)
    net.weights[0][:, 1] = 0.0
    net.weights[1][1, 0] = 0.0
    F = tr.Objective(net, tr.SquaredError())
    X, y = np.random.default_rng(0).normal(size=(5, 2)), np.ones(5)
    report = tr.check_gradients(F, X, y)
    assert [row["kink"] for row in report.rows[:2]] == [0, 0]
    # as soon as it changes one, it is
    net.weights[1][1, 0] = 1.0
    assert tr.check_gradients(F, X, y).details["b1"].verdict.tolist() == ["match", "kink", "match"]


@pytest.mark.parametrize("gap", [1e-6, -1e-6, 1e-9, -1e-9])
def test_a_pre_activation_next_to_zero_is_resolved(gap):
    net = tr.MLP((2, 3, 1), seed=3)
    X = np.array([[1.0, 0.5], [-0.3, 2.0]])
    net.biases[0][0] = gap - X[0] @ net.weights[0][:, 0]
    F = tr.Objective(net, tr.SquaredError())
    report = tr.check_gradients(F, X, np.array([1.0, -1.0]))
    assert [row["match"] for row in report.rows] == [6, 3, 3, 1]
    wrong = F.gradient(X, np.array([1.0, -1.0]))
    wrong[0] += 1e-3
    assert not tr.check_gradients(F, X, np.array([1.0, -1.0]), gradient=wrong).ok


@pytest.mark.parametrize("penalty", [tr.L1(0.1), tr.ElasticNet(0.1, 0.2)])
def test_weights_next_to_zero_are_no_kinks_of_the_penalty_and_weights_at_zero_are(penalty):
    net = tr.MLP((4, 1), seed=0)
    net.weights[0][:, 0] = [1e-12, -1e-12, 0.0, 0.5]
    F = tr.Objective(net, tr.SquaredError(), penalty)
    X, y = np.random.default_rng(1).normal(size=(6, 4)), np.arange(6.0)
    report = tr.check_gradients(F, X, y)
    details = report.details["W1"]
    assert details.verdict[:, 0].tolist() == ["match", "match", "kink", "match"]
    data = F.data_gradient(X, y)[2]
    assert details.left[2, 0] == pytest.approx(data - 0.1, rel=1e-6)
    assert details.right[2, 0] == pytest.approx(data + 0.1, rel=1e-6)
    wrong = F.gradient(X, y)
    wrong[0] = data + 0.1 - 0.2  # the other side of the kink that lies 1e-12 away
    assert tr.check_gradients(F, X, y, gradient=wrong).rows[0]["mismatch"] == 1


def test_at_weights_that_are_zero_it_is_told_whether_they_may_stay_there():
    """L = ½ mean (Xw − y)² with orthogonal columns: ∇L = −Xᵀy/N at w = 0."""
    net = tr.MLP((3, 1))
    net.params[...] = 0.0
    X, y = np.diag([3.0, 3.0, 3.0]), np.array([0.05, -0.3, 0.09])
    F = tr.Objective(net, tr.SquaredError(), tr.L1(0.1))  # −∇L = 0.05, −0.3, 0.09
    row = tr.check_gradients(F, X, y).rows[0]
    assert row["zeros"] == {"count": 3, "stationary": 2}
    assert row["kinks"]["between"] is True
    assert "3 penalised weights at 0" in str(tr.check_gradients(F, X, y))


class Hinge(tr.SquaredError):
    """A loss with a kink of its own, of which a network's pre-activations say nothing."""

    def per_sample(self, outputs, targets):
        margin = 1 - targets * outputs
        return np.sum(np.where(margin.real > 0, margin, 0), axis=1)

    def predict(self, outputs):
        raise NotImplementedError

    def delta(self, outputs, targets, weight):
        return -targets * (1 - targets * outputs > 0) * weight[:, np.newaxis]


def test_a_kink_in_a_loss_of_ones_own():
    net = tr.MLP((2, 1))
    net.params = [1.0, 0.0, 0.0]
    F = tr.Objective(net, Hinge())
    X, y = np.array([[1.0, 2.0], [3.0, 1.0]]), np.array([1.0, 1.0])  # the first sits on the hinge
    report = tr.check_gradients(F, X, y)
    details = report.details["W1"]
    assert report.ok
    assert details.verdict[:, 0].tolist() == ["kink", "kink"]
    assert details.left[:, 0] == pytest.approx([-0.5, -1.0])
    assert details.right[:, 0] == pytest.approx([0.0, 0.0], abs=1e-9)


# Seeds where no pre-activation lies so near to 0, but not at it, that the step h crosses it.
@pytest.mark.parametrize("seed", [10, 16, 17, 18, 27, 31, 42, 45, 50, 53, 55, 56, 58])
def test_one_sided_derivatives_are_those_of_small_steps_of_the_whole_objective(seed):
    """By brute force: objective.value at θ ± h e_k. For nets with dead units and sparse weights."""
    kind = "relu" if seed % 2 else "leaky_relu"
    objective, X, y, sample_weight, _ = random_case(seed, 7, 3, activation=kind)
    net = objective.net
    rng = np.random.default_rng(seed)
    net.params[: net.n_weights][rng.random(net.n_weights) < 0.4] = 0.0
    net.params[net.n_weights :] = 0.0
    report = tr.check_gradients(objective, X, y, sample_weight=sample_weight)
    left, right = np.empty(net.n_params), np.empty(net.n_params)
    (Wl, bl), (Wr, br) = net.unpack(left), net.unpack(right)
    for i in range(len(Wl)):
        for block, target_l, target_r in ((f"W{i + 1}", Wl[i], Wr[i]), (f"b{i + 1}", bl[i], br[i])):
            target_l[...], target_r[...] = report.details[block].left, report.details[block].right
    kinks = np.flatnonzero(~np.isnan(left))
    assert kinks.size

    def F(p):
        return objective.value(X, y, params=p, sample_weight=sample_weight)

    base, h = F(net.params), 1e-7
    for k in rng.permutation(kinks)[:12]:
        e = np.zeros(net.n_params)
        e[k] = h
        slack = 1e-4 * (1 + abs(base))
        assert (F(net.params + e) - base) / h == pytest.approx(right[k], abs=slack, rel=1e-4)
        assert (base - F(net.params - e)) / h == pytest.approx(left[k], abs=slack, rel=1e-4)
