"""Targets are taken for what they are, or a question is asked; rare classes get their weight."""

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.datasets.labels import class_weights, encode_labels, task_of

RNG = np.random.default_rng(0)
CLASSES = {
    "text": ["b", "a", "b"],
    "objects": np.array(["b", "a"], object),
    "yes or no": [True, False, True],
    "0 and 1": [0.0, 1.0, 1.0],
    "two values": np.array([-1, 1], np.int8),
    "any two": [7.0, 250.0, 7.0],
    "one": [3],
    "from -1": [-1, 0, 1] * 2,
    "from 1": np.tile(np.arange(1.0, 5), 2),
    "twenty": np.tile(np.arange(20, dtype=np.uint8), 2),
    "a column": [[0], [1], [1]],
    "one-hot": np.eye(3)[[0, 2, 2]],
    "one-hot, integers": np.eye(2, dtype=int),
    "one-hot, yes or no": np.eye(2, dtype=bool),
    "digits": tr.load_digits()[1],
}
MULTILABEL = {
    "two": [[1, 0], [1, 1]],
    "none": [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
    "yes or no": np.array([[True, True], [False, True]]),
}
REGRESSION = {
    "fractions": [0.5, 1.0, 2.0],
    "a column": [[0.5], [1.5]],
    "several": [[0.5, 1.0], [0.5, 2.0]],
    "float32": np.float32([0.1, 0.2, 0.3]),
    "negative rows that sum to 1": [[-0.5, 1.5], [0.5, 0.5]],
}
DOUBTFUL = {
    "prices": (RNG.integers(100, 900, 50), r"4\d different whole numbers from 1\d\d to 8"),
    "prices as floats": (RNG.integers(100, 900, 50) * 1.0, ".. different whole numbers"),
    "a gap": ([0, 1, 3] * 5, "3 different whole numbers from 0 to 3"),
    "from 2": ([2, 3, 4] * 5, "3 different whole numbers from 2 to 4"),
    "21": (list(range(21)) * 5, "21 different whole numbers"),
    "few of each": ([0, 1, 2, 2, 1], "3 different whole numbers"),
    "counts": ([[1, 2], [3, 0]], "4 different whole numbers"),
    "yes and no as 1 and -1": ([[1, -1], [1, 1]], "2 different whole numbers from -1 to 1"),
    "huge": ([1e300, 2e300, 3e300], "3 different whole numbers"),
    "shares": ([[0.25, 0.75], [0.5, 0.5]], "rows that sum to 1, which may be probabilities"),
}


@pytest.mark.parametrize(
    ("task", "y"),
    [("classification", y) for y in CLASSES.values()]
    + [("multilabel", y) for y in MULTILABEL.values()]
    + [("regression", y) for y in REGRESSION.values()],
    ids=[*CLASSES, *MULTILABEL, *REGRESSION],
)
def test_the_task_is_told_by_the_targets(task, y):
    assert task_of(y) == task


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_a_doubtful_target_is_asked_about(kind):
    y, words = DOUBTFUL[kind]
    with pytest.raises(ValueError, match=f"^target holds {words}.*--task on the command line"):
        task_of(y, "target")


BAD = {
    "missing text": (np.array(["a", None], object), "none missing, got NoneType None at .1."),
    "missing number": ([1.0, np.nan], "y must be finite in float64, got nan at .1."),
    "objects": (np.array([1, 2], object), "y must be strings, or numbers of one dtype"),
    "masked": (np.ma.masked_equal([1, 2], 2), "y must not have masked entries"),
    "ragged": ([[1], [1, 2]], "^y: "),
    "no axis": (1, r"y must have shape \(N,\) or \(N, k\), got \(\)"),
    "three axes": (np.zeros((2, 2, 2)), "y must have shape"),
    "empty": ([], "y must have shape"),
    "complex": ([1j], "y must be .* of real numbers"),
    "rows of text": ([["a", "b"]], "y must be .* of real numbers"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("f", [task_of, lambda y: encode_labels(y=y), class_weights])
def test_targets_that_are_none_are_refused(kind, f):
    y, words = BAD[kind]
    with pytest.raises((TypeError, ValueError), match=words):
        f(y)


def test_labels_count_from_0_in_the_order_of_the_first_array():
    classes, y, other = encode_labels(y=np.array([7, -2, 7]), other=np.array([[-2.0], [-2.0]]))
    assert (classes.tolist(), y.tolist(), other.tolist()) == ([-2, 7], [1, 0, 1], [0, 0])
    classes, y = encode_labels(y=np.array(["b", "a"], object))
    assert (classes.tolist(), y.tolist()) == (["a", "b"], [1, 0])
    classes, y = encode_labels(y=[1.0, -1.0])
    assert (classes.tolist(), classes.dtype, y.tolist()) == ([-1, 1], np.int64, [1, 0])
    rows = np.eye(3)[[2, 0]]
    classes, same, labels = encode_labels(y=rows, other=np.array([2, 1]))
    assert (classes.tolist(), same is rows, labels.tolist()) == ([0, 1, 2], True, [2, 1])


def test_labels_of_a_frame_are_taken():
    pd = pytest.importorskip("pandas")
    for y in (["b", "a"], pd.Series(["b", "a"]), pd.Series(pd.Categorical(["b", "a"]))):
        classes, codes = encode_labels(y=y)
        assert (classes.tolist(), codes.tolist()) == (["a", "b"], [1, 0])
    with pytest.raises(ValueError, match="none missing, got"):
        encode_labels(y=pd.Series(["a", None]))


@pytest.mark.parametrize(
    ("y", "other", "words"),
    [
        (["a", "b"], ["a", "c"], "other must hold labels that y has too, got 'c'"),
        ([0, 1], [0.0, 2.0], "other must hold labels that y has too, got 2"),
        (["0", "1"], [0, 1], "other must hold labels that y has too, got 0"),
        ([0.5, 1.5], [0], "y must be class labels .* got 0.5; real targets are for regression"),
        ([1e300, 1], [1], "y must be class labels .* got 1e.300"),
    ],
)
def test_labels_that_are_none_or_unknown_are_refused(y, other, words):
    with pytest.raises(ValueError, match=words):
        encode_labels(y=y, other=other)


@pytest.mark.parametrize("kind", CLASSES)
def test_balanced_weights_are_those_of_scikit_learn(kind):
    peer = pytest.importorskip("sklearn.utils.class_weight")
    y = np.asarray(CLASSES[kind])
    labels = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.ravel()
    expected = peer.compute_sample_weight("balanced", labels)
    np.testing.assert_allclose(class_weights(y), expected)
    some = {np.unique(labels)[0]: 2.5}
    expected = np.where(labels == np.unique(labels)[0], 2.5, 1)
    np.testing.assert_array_equal(class_weights(y, some), expected)


def test_balanced_classes_weigh_the_same_in_all():
    y = RNG.permutation(np.repeat([0, 1, 2], [70, 25, 5]))
    sums = np.bincount(y, class_weights(y))
    np.testing.assert_allclose(sums, 100 / 3)


@pytest.mark.parametrize(
    ("y", "weight", "error", "words"),
    [
        ([0, 1], {2: 1.0}, ValueError, "class_weight is for the class 2, which y does not have"),
        (["a", "b"], {"c": 1}, ValueError, "for the class 'c', which y does not have"),
        ([0, 1], {1: -1}, ValueError, r"class_weight\[1\] must be a finite number >= 0, got -1"),
        ([0, 1], {1: np.nan}, ValueError, r"class_weight\[1\] must be a finite number"),
        ([0, 1], {1: "2"}, TypeError, r"class_weight\[1\] must be a finite number"),
        ([0, 1], "equal", ValueError, 'class_weight must be "balanced" or a dict'),
        ([0, 1], 3, ValueError, 'class_weight must be "balanced" or a dict'),
        ([[1, 1], [0, 1]], "balanced", ValueError, "y must be class labels or one-hot rows"),
        ([[0.5, 0.5]], "balanced", ValueError, "y must be class labels or one-hot rows"),
        ([0.5, 1.0], "balanced", ValueError, "y must be class labels"),
    ],
)
def test_weights_of_no_class_are_refused(y, weight, error, words):
    with pytest.raises(error, match=words):
        class_weights(y, weight)
