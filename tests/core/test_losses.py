"""Each loss against another formula, each gradient against its own loss, and bad targets."""

import numpy as np
import pytest
from scipy import special

import tinyreg as tr
from tests.support.derivatives import central, complex_step, relative_error

SOFTMAX, SIGMOID, SQUARED = tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError()


def case(loss, n, k, seed=0):
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(n, k))
    y = {
        SOFTMAX: rng.integers(0, k, n),
        SIGMOID: rng.integers(0, 2, (n, k)),
        SQUARED: rng.normal(size=(n, k)),
    }[loss]
    return z, y


def reference(loss, z, y):
    if loss is SOFTMAX:
        return -special.log_softmax(z, axis=1)[np.arange(len(y)), y]
    if loss is SIGMOID:
        return -np.where(y, special.log_expit(z), special.log_expit(-z)).sum(axis=1)
    return np.array([0.5 * np.linalg.norm(row) ** 2 for row in z - y])


cases = pytest.mark.parametrize("loss", [SOFTMAX, SIGMOID, SQUARED], ids=repr)
sizes = pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 4), (2, 3), (33, 10)])


@cases
@sizes
def test_value_is_the_mean_over_samples_of_the_textbook_loss(loss, n, k):
    z, y = case(loss, n, k)
    np.testing.assert_allclose(loss.value(z, y), reference(loss, z, y).mean(), rtol=1e-13)


@cases
@sizes
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_derivative_of_the_value(loss, n, k, weighted):
    z, y = case(loss, n, k)
    w = np.random.default_rng(1).uniform(0, 2, n) if weighted else None

    def f(z):
        return loss.value(z, y, w)

    gradient = loss.gradient(z, y, w)
    assert relative_error(gradient, central(f, z)) <= 1e-7
    assert relative_error(gradient, complex_step(f, z)) <= 1e-12


@cases
def test_gradient_is_prediction_minus_target_over_n(loss):
    z, y = case(loss, 5, 3)
    target = np.eye(3)[y] if loss is SOFTMAX else y
    prediction = {SOFTMAX: lambda z: special.softmax(z, axis=1), SIGMOID: special.expit}
    expected = (prediction.get(loss, lambda z: z)(z) - target) / 5
    np.testing.assert_allclose(loss.gradient(z, y), expected, rtol=1e-12, atol=1e-16)


@cases
def test_an_integer_weight_counts_a_sample_that_often(loss):
    z, y = case(loss, 4, 3)
    counts = [2, 0, 1, 3]
    repeated = np.repeat(np.arange(4), counts)
    np.testing.assert_allclose(
        loss.value(z, y, counts), loss.value(z[repeated], y[repeated]), rtol=1e-14
    )


def test_huge_weights_do_not_overflow():
    z, y = case(SQUARED, 4, 3)
    assert SQUARED.value(z, y, np.full(4, 1e308)) == pytest.approx(SQUARED.value(z, y), rel=1e-14)


def test_a_matrix_is_an_array_here():
    z = np.arange(9.0).reshape(3, 3)
    with pytest.warns(PendingDeprecationWarning):
        y = np.matrix(np.zeros((3, 3)))
    assert SQUARED.value(z, y) == 34


@cases
def test_value_and_gradient_agree_in_saturation(loss):
    # A clipped loss with an unclipped gradient would part here.
    z, y = case(loss, 6, 3)
    z *= 300
    gradient = loss.gradient(z, y)
    np.testing.assert_allclose(
        gradient, complex_step(lambda z: loss.value(z, y), z), rtol=1e-12, atol=1e-270
    )
    assert np.isfinite(loss.value(z, y))


def test_saturated_cross_entropies_are_linear_in_the_logits():
    assert SOFTMAX.value(np.array([[0.0, 1000.0]]), [0]) == 1000
    assert SOFTMAX.value(np.array([[0.0, 1000.0]]), [1]) == 0
    assert SIGMOID.value(np.array([[-1000.0]]), [1]) == 1000
    assert SIGMOID.value(np.array([[1000.0]]), [1]) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sure_right_answer_still_costs_something(dtype):
    # 1 + exp(−40) rounds to 1 in float64, and 1 + exp(−17) in float32.
    for z in (17, 40):
        yes, two = np.array([[z]], dtype), np.array([[z, 0]], dtype)
        values = SIGMOID.value(yes, [1]), SOFTMAX.value(two, [0]), SOFTMAX.value(two, [[1, 0]])
        np.testing.assert_allclose(values, np.exp(-z), rtol=1e-6)
        for y in ([0], [[1, 0]]):
            gradients = SIGMOID.gradient(yes, [1]).item(), *SOFTMAX.gradient(two, y).ravel()
            np.testing.assert_allclose(gradients, np.exp(-z) * np.array([-1, -1, 1]), rtol=1e-6)


def test_softmax_ignores_a_shift_of_the_logits_and_knows_the_two_class_case():
    z, y = case(SOFTMAX, 7, 4)
    np.testing.assert_allclose(SOFTMAX.value(z + 50, y), SOFTMAX.value(z, y), rtol=1e-13)
    binary = np.random.default_rng(2).normal(size=(7, 1))
    labels = np.arange(7) % 2
    two = np.hstack([np.zeros((7, 1)), binary])
    np.testing.assert_allclose(SOFTMAX.value(two, labels), SIGMOID.value(binary, labels))


def test_one_hot_rows_are_the_labels_and_probabilities_are_their_mixture():
    z, y = case(SOFTMAX, 6, 4)
    hot = np.eye(4)[y]
    np.testing.assert_allclose(SOFTMAX.value(z, hot), SOFTMAX.value(z, y), rtol=1e-14)
    np.testing.assert_allclose(SOFTMAX.gradient(z, hot), SOFTMAX.gradient(z, y), atol=1e-16)
    other = np.roll(hot, 1, axis=1)
    mixture = SOFTMAX.value(z, 0.25 * other + 0.75 * hot)
    expected = 0.25 * SOFTMAX.value(z, other) + 0.75 * SOFTMAX.value(z, hot)
    np.testing.assert_allclose(mixture, expected, rtol=1e-14)


def test_probabilities_that_miss_1_by_rounding_are_those_that_do_not():
    z = np.array([[1000.0, 0.0]])
    y = np.array([[0.5, 0.500009]])
    exact = y / y.sum()
    assert SOFTMAX.value(z, y) == pytest.approx(1000 - 1000 * exact[0, 0], rel=1e-12)
    np.testing.assert_allclose(SOFTMAX.gradient(z, y), [[1 - exact[0, 0], -exact[0, 1]]])


def test_column_targets_of_one_output_may_be_flat():
    z, y = case(SQUARED, 5, 1)
    assert SQUARED.value(z, y.ravel()) == SQUARED.value(z, y)


def test_squared_error_of_many_outputs_is_a_sum_over_outputs():
    z, y = case(SQUARED, 5, 3)
    apart = sum(SQUARED.value(z[:, [j]], y[:, j]) for j in range(3))
    np.testing.assert_allclose(SQUARED.value(z, y), apart, rtol=1e-14)


def test_scores_are_accuracy_and_r2():
    z = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    assert SOFTMAX.score(z, np.array([0, 1, 1])) == pytest.approx(2 / 3)
    assert SOFTMAX.score(z, np.eye(2)[[0, 1, 1]]) == pytest.approx(2 / 3)
    assert SIGMOID.score(z - 1.5, np.array([[1, 0], [0, 1], [1, 0]])) == pytest.approx(5 / 6)
    y = np.array([[1.0], [2.0], [3.0]])
    assert SQUARED.score(y, y) == 1
    assert SQUARED.score(np.full((3, 1), 2.0), y) == 0
    assert SQUARED.score(y + 1, y) == pytest.approx(1 - 3 / 2)
    assert SQUARED.score(np.ones((3, 1)), np.ones((3, 1))) == 1
    assert SQUARED.score(y, np.ones((3, 1))) == 0


@cases
def test_float32_stays_float32_and_nothing_is_changed(loss):
    z, y = case(loss, 4, 3)
    z = z.astype(np.float32)
    kept_z, kept_y = z.copy(), y.copy()
    assert loss.gradient(z, y).dtype == np.float32
    assert loss.gradient(z, y, [1, 2, 3, 4]).dtype == np.float32
    np.testing.assert_array_equal(z, kept_z)
    np.testing.assert_array_equal(y, kept_y)


@pytest.mark.parametrize(
    ("loss", "y", "error", "words"),
    [
        (SOFTMAX, [0, 1, 3], ValueError, "labels from 0 to 2 .* got labels from 0 to 3"),
        (SOFTMAX, [0, -1, 2], ValueError, "got labels from -1 to 2"),
        (SOFTMAX, [0.0, 1.0, 2.0], TypeError, "integer labels .* got dtype float64"),
        (SOFTMAX, ["a", "b", "c"], TypeError, "integer labels"),
        (SOFTMAX, [0, 1], ValueError, r"shape \(3,\) or \(3, 3\), got \(2,\)"),
        (SOFTMAX, np.eye(3)[:, :2], ValueError, r"got \(3, 2\)"),
        (SOFTMAX, np.ones((3, 3)), ValueError, "one-hot"),
        (SOFTMAX, 1.001 * np.eye(3), ValueError, "one-hot"),
        (SQUARED, np.ma.masked_less(np.eye(3), 0.5), ValueError, "y must not have masked"),
        (SOFTMAX, np.eye(3) * 2 - np.eye(3)[[1, 2, 0]], ValueError, "one-hot"),
        (SIGMOID, np.full((3, 3), 2), ValueError, "y must be 0 or 1 .* got values from 2 to 2"),
        (SIGMOID, np.full((3, 3), np.nan), ValueError, "y must be finite"),
        (SQUARED, np.full((3, 3), np.inf), ValueError, r"y must be finite .* got inf at \[0, 0\]"),
        (SQUARED, [1.0, 2.0, 3.0], ValueError, r"y must have shape \(3, 3\), got \(3,\)"),
        (SQUARED, [["a"] * 3] * 3, TypeError, "y must be a dense array of real numbers"),
        (SQUARED, [], ValueError, "y must not be empty"),
    ],
)
def test_bad_targets_are_named(loss, y, error, words):
    with pytest.raises(error, match=words):
        loss.value(np.zeros((3, 3)), y)


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ([1.0, 2.0], r"sample_weight must have shape \(3,\), got \(2,\)"),
        ([1.0, -1.0, 1.0], "sample_weight must be >= 0"),
        ([0.0, 0.0, 0.0], "positive sum"),
        ([1.0, np.nan, 1.0], "sample_weight must be finite"),
    ],
)
def test_bad_weights_are_named(weight, words):
    with pytest.raises(ValueError, match=words):
        SQUARED.value(np.zeros((3, 1)), [1.0, 2.0, 3.0], weight)


def test_outputs_must_be_a_matrix():
    with pytest.raises(ValueError, match=r"outputs must be a \(N, K\) array"):
        SQUARED.value(np.zeros(3), [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "loss", [tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError()]
)
def test_whole_numbers_are_outputs_as_any(loss):
    z, y = np.array([[1, 2, 3], [-1, 0, 5]]), np.eye(3)[[0, 2]]
    assert loss.value(z, y) == loss.value(z.astype(float), y)
    np.testing.assert_array_equal(loss.gradient(z, y), loss.gradient(z.astype(float), y))
    with pytest.raises(TypeError, match="outputs must be numbers"):
        loss.gradient(z.astype(object), y)
