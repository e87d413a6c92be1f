"""The digits are those of the UCI repository; splits, scales and teachers do what they say."""

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.datasets import Scaling, sparse_teacher, standardise, train_test_split
from tinyreg.datasets.splits import split_rows


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


def test_sparse_samples_are_split_as_dense_ones_are():
    X, y = np.random.default_rng(0).integers(0, 3, (30, 4)), np.arange(30.0)
    dense = train_test_split(X, y, seed=2)
    for make in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        parts = train_test_split(make(X), y, seed=2)
        for one, other in zip(parts, dense, strict=True):
            np.testing.assert_array_equal(one.toarray() if sparse.issparse(one) else one, other)


@pytest.mark.parametrize("counts", [(60, 30, 10), (50, 3, 2, 45), (2, 2, 2), (97, 3), (333, 334)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.61])
@pytest.mark.parametrize("kind", ["numbers", "text", "one-hot"])
def test_a_stratified_split_has_each_class_by_its_share(counts, share, kind):
    counts, n = np.array(counts), sum(counts)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    y = {
        "numbers": labels * 2.0,
        "text": labels.astype(str),
        "one-hot": np.eye(len(counts))[labels],
    }
    n_test = round(n * share)
    if min(n_test, n - n_test) < len(counts):
        with pytest.raises(ValueError, match=f"a sample of each of the {len(counts)} classes"):
            split_rows(y[kind], share, 3, stratify=True)
        return
    train, test = split_rows(y[kind], share, 3, stratify=True)
    assert sorted([*train, *test]) == list(range(n))
    assert len(test) == n_test
    held = np.bincount(labels[test], minlength=len(counts))
    exact = counts * n_test / n
    ordinary = (exact >= 1) & (exact <= counts - 1)
    assert (np.abs(held - exact)[ordinary] < (1 if ordinary.all() else 2)).all()
    assert (held >= 1).all()
    assert (held < counts).all()
    again = split_rows(labels, share, 3, stratify=True)
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate([train, test]))


def test_the_samples_of_a_class_that_are_held_back_are_drawn_at_random():
    y = np.repeat([0, 1], 50)
    train, test = split_rows(y, 0.2, stratify=True)
    assert test[y[test] == 1].max() > 70
    assert 0 < np.flatnonzero(y[train])[0] < 10  # the parts are shuffled too
    assert set(test) != set(split_rows(y, 0.2, seed=1, stratify=True)[1])


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a", "b", "b", "b", "a", "c"], "2 or more samples of each class .* 1 of the class 'c'"),
        (np.eye(3)[[0, 1, 1, 0, 2]], "got 1 of the class 2"),
        ([0.5, 1.5, 2.5], "y must be class labels"),
        ([[1, 1], [0, 1], [1, 0]], "y must be class labels or one-hot rows"),
    ],
)
def test_what_cannot_be_stratified_is_refused(y, words):
    with pytest.raises(ValueError, match=words):
        train_test_split(np.zeros((len(y), 1)), y, 0.5, stratify=True)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros(5), "y must hold a target for each of the 10 samples"),
        (np.ma.masked_equal(np.arange(10), 3), "y must not have masked entries"),
        (3.0, r"y must have shape \(N,\) or"),
    ],
)
def test_targets_that_do_not_fit_are_not_split(y, words):
    with pytest.raises(ValueError, match=words):
        train_test_split(np.zeros((10, 2)), y)


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
    assert standardise(np.array([[3, 1e300]], dtype=np.float64))[0].tolist() == [[0, 0]]


@pytest.mark.parametrize("unit", [1e200, -1e300, 1e-200, 1e-300, 2.0**-1022])
def test_columns_of_any_size_are_scaled_alike(unit):
    X = np.random.default_rng(0).integers(-9, 10, (40, 3)).astype(float)
    X[:, 2] = 5
    for scaled in (standardise(X * unit)[0], Scaling.of(X * unit).apply(X * unit)):
        np.testing.assert_allclose(scaled, np.sign(unit) * standardise(X)[0], atol=1e-12)
    largest = np.abs(X).max(axis=0)
    scaled = Scaling.of(sparse.csr_array(X * unit)).apply(sparse.csr_array(X * unit))
    np.testing.assert_allclose(scaled.toarray(), np.sign(unit) * X / largest, rtol=1e-15)


def test_what_is_too_large_for_a_scale_becomes_infinite_without_a_warning():
    assert Scaling.of([1e-300, 2e-300]).apply([1e300]).tolist() == [np.inf]
    tiny, large = (sparse.csr_array([[value]]) for value in (1e-300, 1e300))
    assert Scaling.of(tiny).apply(large).data.tolist() == [np.inf]


def test_the_smallest_numbers_stay_finite():
    assert standardise([0.0, 5e-324])[0].tolist() == [0, 1]  # the deviation itself is no float
    X = np.array([[0.0], [5e-324], [1e-323]])
    assert np.ptp(standardise(X)[0]) > 1
    assert Scaling.of(sparse.csr_array(X)).apply(X).ravel().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint64, bool])
def test_numbers_of_any_kind_are_scaled_in_float64(tmp_path, dtype):
    X = np.array([[-128, 3], [127, 2], [0, 2]]).astype(dtype)
    X.flags.writeable = False
    mapped = np.memmap(tmp_path / "X", dtype, "w+", shape=X.shape)
    mapped[:] = X
    whole = X.astype(np.float64)
    for given in (X, mapped, np.asfortranarray(X), X.tolist()):
        scaled = standardise(given)[0]
        assert (type(scaled), scaled.dtype) == (np.ndarray, np.float64)
        np.testing.assert_array_equal(scaled, standardise(whole)[0])
    by_largest = Scaling.of(sparse.coo_array(X))
    np.testing.assert_array_equal(by_largest.scale, np.maximum(np.abs(whole).max(axis=0), 1e-9))


def test_a_scaling_is_undone():
    rng = np.random.default_rng(0)
    X, y = rng.normal(5, 3, (9, 3)), rng.normal(2, 7, 9)
    scaling = Scaling.of(X)
    np.testing.assert_allclose(scaling.undo(scaling.apply(X)), X)
    of_one = Scaling.of(y)
    assert (of_one.shift.ndim, of_one.scale.ndim) == (0, 0)
    np.testing.assert_allclose(of_one.undo(of_one.apply(y)[:, np.newaxis]).ravel(), y)
    thin = sparse.csc_array(np.where(X > 5, X, 0))
    scaling = Scaling.of(thin)
    np.testing.assert_allclose(scaling.undo(scaling.apply(thin)).toarray(), thin.toarray())
    assert scaling.apply(thin).nnz == thin.nnz


@pytest.mark.parametrize(
    ("train", "X", "words"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], np.ones((4, 3)), r"shape \(N, 2\), as the scaling .* \(4, 3\)"),
        ([[1.0, 2.0], [3.0, 4.0]], np.ones(2), r"shape \(N, 2\), as the scaling has, got \(2,\)"),
        ([1.0, 2.0], np.ones((4, 2)), r"shape \(N, 1\) or \(N,\), as the scaling .* \(4, 2\)"),
        ([[1.0], [2.0]], sparse.eye_array(1), "X must be dense, as taking its mean from each col"),
        ([[1.0], [np.nan]], None, r"train must be finite in float64, got nan at \[1, 0\]"),
        (sparse.eye_array(2), None, "train must be dense, .* every entry nonzero; Scaling.of"),
        (np.ma.masked_equal([[1.0], [2.0]], 2), None, "train must not have masked entries"),
    ],
)
def test_what_does_not_fit_a_scaling_is_refused(train, X, words):
    with pytest.raises(ValueError, match=words):
        standardise(train) if X is None else Scaling.of(train).apply(X)


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
