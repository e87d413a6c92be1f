"""What a comparison takes: sparse tables, frames, memmaps, rare classes; what it says of inputs."""

import json
import tracemalloc

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.study.runs import balanced_accuracy

rng = np.random.default_rng(0)
X = np.where(rng.random((90, 6)) < 0.4, rng.normal(size=(90, 6)), 0.0)
RARE = np.where(X[:, 0] + X[:, 1] > 0.8, "yes", "no")  # 14 of 90
PARTS = X[:60], RARE[:60], X[60:], RARE[60:]
SETTINGS = {"hidden": (3,), "epochs": 4, "seeds": (1,), "penalty": tr.L1(3e-3)}
TIMES = ("seconds", "forward_seconds", "compact_seconds")


def compare(*parts, **changes):
    return tr.compare(*(parts or PARTS), **SETTINGS | changes)


def numbers(result):
    """All that was measured, without the times."""
    runs = result.to_dict()["runs"]
    flat = [value for run in runs for name, value in run.items() if name not in TIMES]
    histories = [values for h in flat if isinstance(h, dict) for values in h.values() if values]
    plain = [value for value in flat if isinstance(value, float | int)]
    return np.concatenate([plain, *histories, *(net.params for net in result.networks.values())])


# ------------------------------------------------------------ tables


@pytest.mark.parametrize(
    ("kind", "dtype"), [(sparse.csc_matrix, "float64"), (sparse.coo_array, "float32")]
)
def test_a_sparse_table_gives_the_numbers_of_a_dense_one(kind, dtype):
    methods = ("none", "proximal", "svrg")
    dense = compare(dtype=dtype, methods=methods, convergence=6)
    other = compare(
        kind(PARTS[0]), PARTS[1], kind(PARTS[2]), PARTS[3], dtype=dtype, methods=methods,
        convergence=6,
    )  # fmt: skip
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-3}
    np.testing.assert_allclose(numbers(other), numbers(dense), **tolerance)
    np.testing.assert_allclose(
        *([c.objective[-1] for c in r.convergence.curves] for r in (other, dense)), rtol=1e-3
    )


@pytest.mark.parametrize("given", ["float64", "float32", "<i8", "read-only", "memmap"])
def test_a_table_of_any_kind_gives_the_numbers_of_an_array(given, tmp_path):
    table = np.round(8 * X)
    expected = compare(table[:60], RARE[:60], table[60:], RARE[60:])
    if given == "memmap":
        stored = np.memmap(tmp_path / "X", "f4", "w+", shape=table.shape)
        stored[...] = table
        table = np.memmap(tmp_path / "X", "f4", "r", shape=table.shape)
    elif given == "read-only":
        table.setflags(write=False)
    else:
        table = table.astype(given)
    result = compare(table[:60], RARE[:60], table[60:], RARE[60:])
    np.testing.assert_array_equal(numbers(result), numbers(expected))


@pytest.mark.parametrize(
    ("given", "dtype", "copies"), [("f8", "float64", 0), ("f4", "float64", 2), ("f4", "float32", 2)]
)
def test_at_most_one_converted_copy_of_a_table_is_held(given, dtype, copies, monkeypatch):
    monkeypatch.setattr("tinyreg.study.runs.SAMPLE", 10)  # for what `forward` is timed on
    table = np.random.default_rng(1).normal(size=(6_000, 40)).astype(given)
    parts = table, np.arange(6_000) % 2, table[:9], np.arange(9) % 2
    tracemalloc.start()
    compare(*parts, epochs=1, batch_size=200, dtype=dtype, methods=["proximal"], convergence=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (copies + 0.9) * table.nbytes  # float64 is twice float32


def test_forward_is_timed_on_a_thousand_samples_at_most(monkeypatch):
    seen, forward = [], tr.MLP.forward
    monkeypatch.setattr(
        tr.MLP, "forward", lambda net, X: seen.append(X.shape[0]) or forward(net, X)
    )
    table = sparse.csr_array(np.tile(X, (30, 1)))
    compare(table, np.tile(RARE, 30), table[:1200], np.tile(RARE, 30)[:1200], epochs=1)
    assert max(seen) == 1000


def test_a_data_frame_lends_the_names_of_its_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    names = ["age", "height", "a b", "ä", "5", "last"]
    frame, y = pandas.DataFrame(X, columns=names), pandas.Series(RARE, index=np.arange(90)[::-1])
    parts = frame[:60], y[:60], frame[60:], y[60:]
    result = compare(*parts, penalty=tr.L1(0.03), epochs=60)
    arrays = compare(penalty=tr.L1(0.03), epochs=60)
    np.testing.assert_array_equal(numbers(result), numbers(arrays))
    sums = np.abs(result.networks["proximal"].weights[0]).sum(axis=1)
    kept = result.inputs("proximal")
    assert 0 < len(kept) < 6
    assert kept == [names[i] for i in np.argsort(-sums)[: np.count_nonzero(sums)]]
    assert arrays.inputs("proximal") == [f"x{names.index(name)}" for name in kept]
    assert set(kept) == set(result.model("proximal").inputs())
    line = f"proximal (seed 1) keeps {len(kept)} of 6 inputs: {', '.join(kept)}"
    assert line in str(result).splitlines()
    assert "none (seed 1)" not in str(result)
    result.to_json(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert content["inputs"] == {"proximal": kept}  # the others keep them all


def test_of_many_inputs_the_table_names_the_heaviest_and_of_none_none():
    wide = np.random.default_rng(1).normal(size=(50, 40))
    parts = wide, np.arange(50) % 2, wide, np.arange(50) % 2
    changes = {"hidden": (), "methods": ["proximal"], "optimizer": tr.SGD(0.5)}
    result = compare(*parts, penalty=tr.L1(0.05), epochs=30, **changes)
    kept = result.inputs("proximal")
    assert 10 < len(kept) < 40
    said = f"keeps {len(kept)} of 40 inputs, most weight on {', '.join(kept[:5])}\n"
    assert f"proximal (seed 1) {said}" in str(result)
    result = compare(*parts, penalty=tr.L1(1.0), epochs=30, **changes)
    assert result.inputs("proximal") == []
    assert "proximal (seed 1) keeps 0 of 40 inputs\n" in str(result)


def test_data_frames_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    other = frame[list("fbacde")].assign(more="text", last=np.nan)
    result = compare(frame[:60], RARE[:60], other[60:], RARE[60:])
    np.testing.assert_array_equal(numbers(result), numbers(compare()))
    for columns, words in [
        ("acdef", "X_test: the data frame has no .*column 'b', only 'a', 'c', "),
        ("aabcdef", "X_test: the data frame has more than one column 'a'"),
    ]:
        with pytest.raises(ValueError, match=words):
            compare(frame[:60], RARE[:60], frame[list(columns)][60:], RARE[60:])
    with pytest.raises(ValueError, match="X: the data frame has more than one column 'b'"):
        compare(frame[list("abcbef")][:60], RARE[:60], frame[60:], RARE[60:])
    with pytest.raises(ValueError, match="X: the data frame has no name for column 1, as the row"):
        compare(frame.rename(columns={"a": "Unnamed: 0"})[:60], *PARTS[1:])


def test_a_data_frame_may_have_columns_of_several_dtypes_and_one_without_numbers_is_named():
    pandas = pytest.importorskip("pandas")
    table = np.round(8 * X)
    table[:, 0] = table[:, 0] > 0
    frame = pandas.DataFrame(table, columns=list("abcdef"))
    frame = frame.astype({"a": bool, "b": "i2", "c": "Float64", "d": "Int64", "e": "f4"})
    parts = frame[:60], RARE[:60], frame[60:], RARE[60:]
    expected = compare(table[:60], RARE[:60], table[60:], RARE[60:])
    np.testing.assert_array_equal(numbers(compare(*parts)), numbers(expected))
    for column, kind in [
        (["x"] * 90, "be .* real numbers"),
        (pandas.Categorical(RARE), "be .* real numbers"),
        ([pandas.Timestamp("2020-01-01")] * 90, "be .* real numbers"),
        ([np.nan] * 90, r"be finite in float64, got nan at \[0\]"),
    ]:
        with pytest.raises((TypeError, ValueError), match=f"^X_test: column 'd' must {kind}"):
            compare(*parts[:2], frame.assign(d=column)[60:], RARE[60:])


MASKED = np.ma.masked_array(X[:60], X[:60] > 1)
CASES = [
    ({"X": MASKED}, "X must not have masked entries"),
    ({"X_test": np.ma.masked_array(X[60:], X[60:] > 1)}, "X_test must not have masked entries"),
    ({"y": np.ma.masked_array(np.arange(60) % 2, X[:60, 0] > 1)}, "y must not have masked entries"),
    ({"X": X[:60].astype(object)}, "X must be .* array of real numbers, got .* dtype object"),
    ({"X": sparse.csr_array(X[:60, :3])}, r"X_test must have shape \(n_samples, 3\)"),
    ({"X": sparse.csr_array(np.where(X[:60] > 1, np.nan, 0))}, "X must be finite .* got nan at"),
    ({"class_weight": "even"}, "class_weight must be .*balanced.* or a dict"),
    ({"class_weight": {"maybe": 2}}, "class_weight is for the class 'maybe', which y does not"),
    ({"y": X[:60, 0], "y_test": X[60:, 0], "class_weight": {}}, "class_weight .* not with regr"),
    ({"y": np.arange(60) * 100}, 'say task="classification" or task="regression"'),
    ({"y": [[1, 2], [3]]}, "y: .*inhomogeneous"),
    ({"y": sparse.csr_array(np.eye(60))}, "y must .*got a sparse array"),
    ({"y_test": "target"}, r"y_test must have shape \(N,\) or \(N, k\), got \(\)"),
    ({"y_test": None}, "y_test must be .* got NoneType None"),
]


@pytest.mark.parametrize(("changes", "words"), CASES, ids=[words for _, words in CASES])
def test_what_it_cannot_take_is_named(changes, words):
    arguments = dict(zip(("X", "y", "X_test", "y_test"), PARTS, strict=True)) | SETTINGS
    with pytest.raises((ValueError, TypeError), match=words):
        tr.compare(**arguments | changes)


# ------------------------------------------------------------ targets


def test_what_targets_say_of_the_task():
    rows = np.eye(2, dtype=int)[(RARE == "yes").astype(int)]
    for y, task, n_outputs in [
        (RARE[:, np.newaxis], "classification", 2),
        (2.0 * (RARE == "yes") - 1, "classification", 2),
        (rows.astype(float), "classification", 2),
        (X[:, :1], "regression", 1),
        ((X[:, :3] > 0).astype(int), "multilabel", 3),
    ]:
        result = compare(X[:60], y[:60], X[60:], y[60:], epochs=1)
        assert (result.settings["task"], result.settings["sizes"][-1]) == (task, n_outputs)
    told = compare(X[:60], np.arange(60) * 100, X[60:], np.arange(30) * 100, task="classification")
    assert told.settings["sizes"][-1] == 60


def test_several_answers_are_scored_by_the_share_of_right_ones():
    Y = (X[:, :3] > [0.0, 0.5, -1.0]).astype(int)
    result = compare(X[:60], Y[:60], X[60:], Y[60:], penalty=tr.L1(1e-3), epochs=40)
    right = (result.networks["proximal"].forward(X[60:]) > 0) == Y[60:]
    assert result.of("proximal", "test_score") == right.mean() > 0.7
    assert result.of("proximal", "test_balanced").tolist() == [None]
    lines = str(result).splitlines()
    common = np.mean(Y[60:] == (Y[:60].mean(axis=0) > 0.5))
    assert f"always the commonest answer: test right answers {100 * common:.1f} %" in lines
    assert not any(line.startswith("test balanced") for line in lines)
    assert any(line.startswith("test right answers ") for line in lines)
    assert "their test right answers lie within" in result.verdict()
    np.testing.assert_array_equal(result.model("none").predict(X).shape, (90, 3))


def test_a_model_says_classes_by_their_names():
    result = compare(epochs=80, optimizer=tr.Adam(0.05), class_weight="balanced")
    net = result.networks["proximal"]
    said = result.model("proximal").predict(X[60:])
    np.testing.assert_array_equal(said, np.array(["no", "yes"])[net.forward(X[60:]).argmax(axis=1)])
    assert np.mean(said == RARE[60:]) == result.of("proximal", "test_score")
    assert {*said} == {"no", "yes"}


@pytest.mark.parametrize(
    ("scale", "columns"), [((1e-3, 0), 1), ((1, 5), 1), ((1, 5), 2), ((100, 0), 2), ((1e200, 0), 1)]
)
def test_a_target_in_other_units_is_warned_of_where_compare_is_called(scale, columns):
    factor, shift = scale
    y = np.random.default_rng(1).normal(size=(90, columns))
    settings = {"hidden": (), "epochs": 1, "optimizer": tr.SGD(1e-9), "task": "regression"}
    compare(X[:60], y[:60], X[60:], y[60:], **settings)
    y[:, -1] = factor * y[:, -1] + shift
    with (
        np.errstate(over="ignore"),
        pytest.warns(UserWarning, match=r"y has mean .* and deviation .*tr.datasets.standard") as w,
        pytest.raises(tr.DivergenceError) if factor > 1e100 else np.errstate(),
    ):
        compare(X[:60], y[:60], X[60:], y[60:], **settings)
    assert [warning.filename for warning in w] == [__file__]
    scaled = tr.datasets.standardise(y[:60], y[60:])
    compare(X[:60], scaled[0], X[60:], scaled[1], **settings)
    compare(X[:60], np.full(60, 0.5), X[60:], np.full(30, 0.5), **settings)  # nothing to scale


# ------------------------------------------------------------ rare classes


def test_the_balanced_accuracy_is_the_mean_recall_of_the_classes_there():
    labels, said = np.random.default_rng(1).integers(0, 4, (2, 200))
    labels[labels == 2] = 5  # a class that is not there, and one that is never said
    recalls = [np.mean(said[labels == k] == k) for k in (0, 1, 3, 5)]
    assert balanced_accuracy(labels, said) == pytest.approx(np.mean(recalls), rel=1e-14)


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_table_holds_the_scores_against_always_the_commonest_class(one_hot):
    y = np.eye(2)[(RARE == "yes").astype(int)] if one_hot else RARE
    result = compare(X[:60], y[:60], X[60:], y[60:])
    net = result.networks["proximal"]
    said = np.where(net.forward(X[60:]).argmax(axis=1) == 1, "yes", "no")
    recalls = [np.mean(said[RARE[60:] == name] == name) for name in ("no", "yes")]
    assert result.of("proximal", "test_balanced") == pytest.approx(np.mean(recalls))
    share, name = np.mean(RARE[60:] == "no"), 0 if one_hot else "'no'"
    assert share > 0.7
    said = f"test accuracy {100 * share:.1f} %, balanced 50.0 %"
    assert f"always {name}, the commonest class: {said}" in str(result).splitlines()
    row = next(line for line in str(result).splitlines() if line.startswith("test balanced acc"))
    assert row.split()[3::2] == [
        f"{100 * result.of(method, 'test_balanced')[0]:.1f}" for method in result.networks
    ]


METHODS = ("none", "proximal", "svrg")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_class_weights_are_the_weights_of_every_training_objective(dtype):
    counts = {name: np.sum(RARE[:60] == name) for name in ("no", "yes")}
    by_hand = {name: 60 / (2 * count) for name, count in counts.items()}
    weight = np.array([by_hand[name] for name in RARE[:60]])
    changes = {"dtype": dtype, "methods": METHODS, "convergence": 10, "hidden": ()}
    result = compare(class_weight="balanced", **changes)
    np.testing.assert_allclose(numbers(result), numbers(compare(class_weight=by_hand, **changes)))
    labels = (RARE[:60] == "yes").astype(int)
    for run in result.runs:
        F = tr.Objective(result.networks[run.method], tr.SoftmaxCrossEntropy(), tr.L1(3e-3))
        few = {"rel": 1e-12 if dtype == "float64" else 1e-5}
        assert run.objective == pytest.approx(F.value(X[:60], labels, sample_weight=weight), **few)
        assert run.stationarity == pytest.approx(
            F.stationarity(X[:60], labels, sample_weight=weight), **few
        )
        assert run.train_score == np.mean(F.net.forward(X[:60]).argmax(axis=1) == labels)
    net = tr.MLP((6, 2), dtype=dtype, seed=1)
    F = tr.Objective(net, tr.SoftmaxCrossEntropy(), tr.L1(3e-3))
    for curve in result.convergence.curves:
        assert curve.objective[0] == pytest.approx(
            F.value(X[:60], labels, sample_weight=weight), rel=1e-6
        )
    tr.fit(
        net, X[:60], labels, loss=F.loss, penalty=F.penalty, method="proximal", epochs=4, seed=1,
        sample_weight=weight,
    )  # fmt: skip
    np.testing.assert_allclose(result.networks["proximal"].params, net.params, rtol=1e-6)
    own = tr.Objective(net.astype("float64"), F.loss, F.penalty)
    tr.minimize(own, X[:60], labels, max_iter=50, sample_weight=weight)
    zeros = np.mean(own.net.weights[0] == 0)
    assert result.of("proximal", "fista_zeros") == zeros
    assert result.settings["class_weight"] == "balanced"
    assert "eps=1e-08), class weights balanced\n" in str(result)
    assert "class weights" not in str(compare(epochs=1))


def test_weights_find_a_rare_class_that_goes_unseen_without():
    parts = np.random.default_rng(0).normal(size=(2, 400, 4))
    y, y_test = (x[:, 0] + 0.5 * x[:, 3] > 1.9 for x in parts)  # the last is not shown
    X, X_test = parts[:, :, :3]
    changes = {"epochs": 30, "methods": ["proximal"], "optimizer": tr.Adam(0.02)}
    results = [
        compare(X, y, X_test, y_test, hidden=(), class_weight=w, **changes)
        for w in (None, "balanced", {True: 12.0})
    ]
    plain, weighted, by_hand = (r.of("proximal", "test_balanced")[0] for r in results)
    assert plain < 0.75 < 0.85 < min(weighted, by_hand)
