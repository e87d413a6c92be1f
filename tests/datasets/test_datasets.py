"""The digits are those of the UCI repository; splits, scales and teachers do what they say."""

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.datasets import sparse_teacher, standardise, train_test_split
from tinyreg.datasets.labels import encode_labels


def test_the_digits_are_whole():
    X, y = tr.load_digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1797, 64), np.float64, (1797,), np.int64)
    assert (X.min(), X.max()) == (0, 1)
    np.testing.assert_array_equal(X * 16, np.round(X * 16))
    # The published class counts of optdigits.tes, and its first image.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (X[0].reshape(8, 8) * 16)[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert y[:10].tolist() == list(range(10))


def test_each_call_gives_arrays_of_its_own():
    tr.load_digits()[0][:] = -1
    assert tr.load_digits()[0].min() == 0


def test_a_split_keeps_rows_together_and_loses_none():
    X = np.arange(20.0).reshape(10, 2)
    parts = train_test_split(X, X[:, 0], 0.3, seed=1)
    assert [len(part) for part in parts] == [7, 7, 3, 3]
    np.testing.assert_array_equal(parts[0][:, 0], parts[1])
    np.testing.assert_array_equal(parts[2][:, 0], parts[3])
    assert sorted(np.concatenate([parts[1], parts[3]])) == X[:, 0].tolist()
    again = train_test_split(X, X[:, 0], 0.3, seed=1)
    np.testing.assert_array_equal(parts[0], again[0])


def test_a_split_shuffles():
    X = np.arange(100.0)[:, np.newaxis]
    train, _, test, _ = train_test_split(X, X[:, 0])
    assert (np.diff(train[:, 0]) < 0).sum() > 20
    assert test.min() < 20 < 80 < test.max()


def test_a_split_of_unequal_parts_is_refused():
    with pytest.raises(ValueError, match="y must hold a target for each of the 10 samples"):
        train_test_split(np.zeros((10, 2)), np.zeros(5))


@pytest.mark.parametrize("share", [0.01, 0.99, 1.0, 3.0])
def test_a_split_with_an_empty_side_is_refused(share):
    with pytest.raises(ValueError, match="test_share must leave samples on both sides"):
        train_test_split(np.zeros((10, 2)), np.zeros(10), share)


def test_standardise_uses_the_training_part_alone():
    rng = np.random.default_rng(0)
    train, test = rng.normal(5, 3, (50, 2)), rng.normal(0, 1, (9, 2))
    a, b = standardise(train, test)
    np.testing.assert_allclose(a.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(a.std(axis=0), 1, rtol=1e-14)
    np.testing.assert_allclose(b * train.std(axis=0) + train.mean(axis=0), test)


def test_a_constant_column_is_only_shifted():
    (a,) = standardise(np.array([[0.1, 0.0], [0.1, 0.0], [0.1, 0.0]]))
    np.testing.assert_allclose(a, 0, atol=1e-16)


def test_labels_count_from_0_in_the_order_of_the_first_array():
    n, y, other = encode_labels(y=np.array([7, -2, 7]), other=np.array([-2, -2]))
    assert (n, y.tolist(), other.tolist()) == (2, [1, 0, 1], [0, 0])
    n, y = encode_labels(y=np.array(["b", "a"], object))
    assert (n, y.tolist()) == (2, [1, 0])
    rows = np.eye(3)[[2, 0]]
    n, same, labels = encode_labels(y=rows, other=np.array([2, 1]))
    assert (n, same is rows, labels.tolist()) == (3, True, [2, 1])


def test_labels_that_are_none_or_unknown_are_refused():
    with pytest.raises(TypeError, match=r"y must be class labels .* got dtype float64; real targ"):
        encode_labels(y=np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match="other must hold labels that y has too, got c"):
        encode_labels(y=np.array(["a", "b"]), other=np.array(["a", "c"]))


def test_a_sparse_teacher_reads_only_its_own_inputs():
    X, y, relevant = sparse_teacher(400, 12, 3, noise=0.0, seed=5)
    again, same, _ = sparse_teacher(400, 12, 3, noise=0.0, seed=5)
    np.testing.assert_array_equal(X, again)
    np.testing.assert_array_equal(y, same)
    assert len(set(relevant)) == 3
    assert (y.mean(), y.var()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    noisy = sparse_teacher(400, 12, 3, noise=0.5, seed=5)[1]
    assert np.std(noisy - y) == pytest.approx(0.5, rel=0.15)
    # Linear least squares already sees the three: the others correlate by chance only.
    coefficients = np.abs(np.linalg.lstsq(X, y, rcond=None)[0])
    assert np.sort(np.argsort(coefficients)[-3:]).tolist() == relevant.tolist()


def test_a_teacher_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="n_relevant must be <= n_features=4, got 5"):
        sparse_teacher(10, 4, 5)
    with pytest.raises(ValueError, match="noise must be a finite number >= 0"):
        sparse_teacher(10, 4, 2, noise=-1)


@pytest.mark.parametrize("penalty", [tr.L1(0.04), tr.GroupLasso(0.01, axis=1)], ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_the_prox_finds_the_inputs_that_matter(penalty, seed):
    X, y, relevant = sparse_teacher(1500, 30, 5, seed=seed)
    net = tr.MLP((30, 16, 1), "tanh", seed=0)
    objective = tr.Objective(net, tr.SquaredError(), [penalty, tr.L2(1e-2)])
    tr.minimize(objective, X, y, tol=1e-4, max_iter=2000)
    assert np.flatnonzero(net.weights[0].any(axis=1)).tolist() == relevant.tolist()
