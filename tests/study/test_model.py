"""A model takes raw rows, keeps all that it needs in its file, and refuses what does not fit."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.datasets.scaling import Scaling
from tinyreg.files import read_arrays, write_arrays
from tinyreg.study.model import Model

LOSSES = [tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError()]
COLUMNS = ["age", "größe, cm", '<script>"']
CLASSES = np.array(['a "b"', "c,d", "e\nf"])
X = np.random.default_rng(0).normal(size=(7, 3)) * [10, 1e3, 1e-3] + [40, 170, 1]
SCALING = Scaling(np.array([40.0, 170.0, 1.0]), np.array([10.0, 1e3, 1e-3]))


def of(loss, k=3, dtype="float64", **own):
    net = tr.MLP((3, 4, k), "tanh", dtype, seed=1)
    classes = {"classes": CLASSES} if loss is LOSSES[0] else {}
    return Model(net, loss, COLUMNS, **{"scaling": SCALING, "target": "y"} | classes | own)


def outputs(model):
    """By hand: scaled, then through the layers."""
    (W1, W2), (b1, b2) = model.net.weights, model.net.biases
    return np.tanh((X - SCALING.shift) / SCALING.scale @ W1 + b1) @ W2 + b2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def test_softmax_gives_the_likeliest_class_and_all_probabilities():
    model = of(LOSSES[0])
    e = np.exp(outputs(model))
    np.testing.assert_allclose(model.probabilities(X), e / e.sum(axis=1, keepdims=True), rtol=1e-12)
    assert model.predict(X).tolist() == CLASSES[e.argmax(axis=1)].tolist()
    bare = dataclasses.replace(model, classes=None)
    assert bare.predict(X).tolist() == e.argmax(axis=1).tolist()


@pytest.mark.parametrize("k", [1, 3])
def test_sigmoid_says_yes_where_it_is_likelier_than_not(k):
    model = of(LOSSES[1], k)
    p = 1 / (1 + np.exp(-outputs(model)))
    np.testing.assert_allclose(model.probabilities(X), p, rtol=1e-12)
    assert set((p > 0.5).ravel()) == {True, False}
    assert model.predict(X).tolist() == (p[:, 0] if k == 1 else p).round().tolist()


@pytest.mark.parametrize(
    ("k", "scaling"),
    [
        (1, Scaling(np.array(5.0), np.array(100.0))),
        (1, Scaling(np.array([5.0]), np.array([100.0]))),
        (2, Scaling(np.array([5.0, -1.0]), np.array([100.0, 1e-6]))),
    ],
)
def test_a_regression_is_in_the_units_of_the_target(k, scaling):
    model = of(LOSSES[2], k, target_scaling=scaling)
    wanted = outputs(model) * scaling.scale + scaling.shift
    np.testing.assert_allclose(model.predict(X), wanted[:, 0] if k == 1 else wanted, rtol=1e-12)
    with pytest.raises(ValueError, match=r"^probabilities are of classes"):
        model.probabilities(X)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_file_brings_all_of_it_back(loss, dtype, path):
    own = {"target_scaling": Scaling(np.array(3.0), np.array(1e200))} if loss is LOSSES[2] else {}
    model = of(loss, 1 if own else 3, dtype, settings={"lam": 0.1, "λ": [1]}, **own)
    model.save(path)
    again = Model.load(path)
    assert (repr(again.loss), again.columns, again.target) == (repr(loss), COLUMNS, "y")
    assert again.settings == model.settings
    assert again.net.dtype == dtype
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(tr.MLP.load(path).params, model.net.params)


@pytest.mark.parametrize("classes", [[0, 1, 7], ["", "λ", "μ"], [False, True], [0.5, 1.0, 2.0]])
def test_classes_keep_their_kind(classes, path):
    net = tr.MLP((3, len(classes)))
    Model(net, LOSSES[0], COLUMNS, classes).save(path)
    loaded = Model.load(path).classes
    assert loaded.tolist() == classes
    assert loaded.dtype == np.array(classes).dtype


@pytest.mark.parametrize(
    "same", [list, np.asfortranarray, sparse.csr_matrix, sparse.coo_array, sparse.lil_array]
)
def test_rows_may_come_in_any_form(same):
    model = of(LOSSES[0], scaling=Scaling(np.zeros(3), SCALING.scale))
    np.testing.assert_allclose(model.probabilities(same(X)), model.probabilities(X), rtol=1e-12)
    alone = model.probabilities(same(X[:1]))
    np.testing.assert_allclose(alone, model.probabilities(X[:1]), rtol=1e-12)


def test_a_data_frame_is_matched_by_name():
    pandas = pytest.importorskip("pandas")
    model, frame = of(LOSSES[0]), pandas.DataFrame(X, columns=COLUMNS)
    wanted = model.predict(X).tolist()
    mixed = frame[COLUMNS[::-1]].assign(text="a", age2=np.nan)
    for same in (frame, mixed):
        assert model.predict(same).tolist() == wanted
    with pytest.raises(ValueError, match=r"^X: the data frame has no input column 'age', '<scr"):
        model.predict(frame[COLUMNS[1:2]])
    with pytest.raises(ValueError, match=r"^X: the data frame has more than one column 'age'"):
        model.predict(frame[[*COLUMNS, "age"]])
    unnamed = dataclasses.replace(model, columns=np.array(["x0", "x1", "x2"]))
    assert unnamed.columns == ["x0", "x1", "x2"]
    with pytest.raises(ValueError, match="has 4 columns, without names it must have the 3 inputs"):
        unnamed.predict(frame.assign(more=1))
    assert unnamed.predict(frame).tolist() == wanted
    swapped = frame.set_axis(["x2", "x1", "x0"], axis=1)
    assert unnamed.predict(swapped).tolist() == model.predict(X[:, ::-1]).tolist()


def test_the_inputs_that_have_a_weight_are_named():
    model = of(LOSSES[0])
    assert model.inputs() == COLUMNS
    model.net.weights[0][1] = 0
    assert model.inputs() == [COLUMNS[0], COLUMNS[2]]
    model.net.weights[0][...] = 0
    assert model.inputs() == []


def test_what_is_too_large_for_float32_is_refused_and_what_is_scaled_is_not():
    model = of(LOSSES[0], dtype="float32", scaling=Scaling(np.zeros(3), np.full(3, 1e300)))
    assert model.predict(np.full((1, 3), 1e300)).shape == (1,)
    with pytest.raises(ValueError, match="must be finite in float32"):
        dataclasses.replace(model, scaling=None).predict(np.full((1, 3), 1e300))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (X[:, :2], r"X must have shape \(n_samples, 3\)"),
        (X[0], r"X must have shape \(n_samples, 3\)"),
        (np.where(X > 180, np.nan, X), "X must be finite"),
        (sparse.csr_array(np.full((2, 3), np.inf)), "X must be finite"),
        (np.empty((0, 3)), "X must not be empty"),
    ],
    ids=["columns", "one row", "nan", "sparse inf", "no rows"],
)
def test_rows_that_do_not_fit_are_refused(bad, told):
    with pytest.raises(ValueError, match=told):
        of(LOSSES[0]).predict(bad)


@pytest.mark.parametrize(
    ("own", "error", "told"),
    [
        ({"net": "net"}, TypeError, "net must be an MLP"),
        ({"loss": "softmax"}, TypeError, "loss must be a loss"),
        ({"columns": COLUMNS[:2]}, ValueError, "columns must have shape"),
        ({"columns": ["a", "a", "b"]}, ValueError, "columns must be names, each once"),
        ({"columns": [1, 2, 3]}, ValueError, "columns must be names, each once"),
        ({"columns": "abc"}, TypeError, "columns must be a sequence"),
        ({"classes": CLASSES[:2]}, ValueError, "classes must have shape"),
        ({"classes": ["a", "b", "a"]}, ValueError, "classes must be numbers or names, each once"),
        ({"classes": [None, 1, 2]}, ValueError, "classes must be numbers or names"),
        ({"scaling": 2.0}, TypeError, "scaling must be a Scaling"),
        ({"scaling": Scaling(np.zeros(2), np.ones(2))}, ValueError, "scaling must have arrays of"),
        ({"scaling": Scaling(np.zeros(3), np.zeros(3))}, ValueError, "scaling.scale must be > 0"),
        ({"target_scaling": Scaling(np.nan, 1.0)}, ValueError, "target_scaling.shift must be fin"),
        ({"target": None}, TypeError, "target must be a name"),
        ({"settings": []}, TypeError, "settings must be a dict"),
    ],
    ids=str,
)
def test_a_model_that_does_not_fit_together_is_refused(own, error, told):
    with pytest.raises(error, match=told):
        dataclasses.replace(of(LOSSES[0]), **own)


def test_what_cannot_be_written_leaves_no_file(path):
    class Hinge(tr.SquaredError):
        """Another loss."""

    with pytest.raises(ValueError, match=r"^loss must be one of .* to be saved, got Hinge\(\)"):
        of(Hinge()).save(path)
    with pytest.raises(TypeError, match=r"^settings: "):
        of(LOSSES[2], settings={"net": np.zeros(2)}).save(path)
    assert not path.exists()


# ------------------------------------------------------------ damaged files


def test_a_network_alone_is_refused_with_what_is_missing(path):
    tr.MLP((3, 2)).save(path)
    with pytest.raises(ValueError, match=r"network alone, without its loss.* adds what is missing"):
        Model.load(path)


def rewritten(path, about=None, **arrays):
    """The file of a model with some of it changed."""
    names = ("sizes", "activation", "params", "model", "scaling")
    saved = read_arrays(path, "tinyreg MLP", names, 1)
    if about is not None:
        saved["model"] = json.dumps(json.loads(saved["model"].item()) | about).encode()
    write_arrays(path, "tinyreg MLP", 1, **saved | arrays)


@pytest.mark.parametrize(
    "damage",
    [
        {"about": {"loss": "Hinge()"}},
        {"about": {"loss": ["a"]}},
        {"about": {"columns": 3}},
        {"about": {"columns": ["a"]}},
        {"about": {"classes": [[1], [2], [3]]}},
        {"about": {"classes": {}}},
        {"about": {"more": 1}},
        {"about": {"net": 1}},
        {"about": {"settings": None}},
        {"model": b"{}"},
        {"model": b"[]"},
        {"model": b"{"},
        {"model": b"[" * 100_000},
        {"model": np.zeros(2)},
        {"model": 1.0},
        {"model": np.full(3, b"x")},
        {"scaling": np.zeros((2, 3))},
        {"scaling": np.ones((3, 3))},
        {"scaling": 1.0},
        {"scaling": np.full((2, 3), "a")},
        {"scaling": np.full((2, 3), np.nan)},
    ],
    ids=lambda damage: f"{damage!s:.40}",
)
def test_a_damaged_model_is_one_line_that_names_the_file(damage, path):
    of(LOSSES[0]).save(path)
    rewritten(path, **damage)
    with pytest.raises(ValueError, match=r"^path must be a model saved by .*model\.npz") as refused:
        Model.load(path)
    assert len(str(refused.value)) < 1000


def test_a_file_that_is_cut_short_or_missing_is_refused(path):
    of(LOSSES[0]).save(path)
    content = path.read_bytes()
    for end in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"^path must be a .*model\.npz"):
            Model.load(path)
    with pytest.raises(FileNotFoundError):
        Model.load(path.with_name("missing.npz"))


def test_a_frame_of_several_dtypes_is_taken_by_name():
    pandas = pytest.importorskip("pandas")
    model = Model(tr.MLP((3, 2)), tr.SoftmaxCrossEntropy(), ["size", "red", "n"])
    frame = pandas.DataFrame({"n": [1, 2], "red": [True, False], "size": [0.5, 1.5]})
    frame["note"] = ["a", "b"]
    rows = [[0.5, 1, 1], [1.5, 0, 2]]
    np.testing.assert_array_equal(model.probabilities(frame), model.probabilities(rows))
    with pytest.raises((TypeError, ValueError), match="X: column 'red' must"):
        model.predict(frame.assign(red=["yes", "no"]))
