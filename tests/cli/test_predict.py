"""`compare --out`, then `predict` and `check`: a model that is used on raw rows."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.cli.main import main
from tinyreg.datasets.labels import class_weights
from tinyreg.datasets.splits import split_rows
from tinyreg.study.model import Model

NAMES = ["age", "size, cm", 'a "b"', "noise"]
CLASSES = np.array(['no, "never"', "yes", "<script>&λ"])
QUICK = ["--hidden", "0", "--seeds", "0", "--convergence", "0", "--methods", "svrg"]
QUICK += ["--optimizer", "sgd", "--lr", "0.3", "--lam", "0.05", "--epochs"]
N = 90


def run(*arguments):
    """The standard output of a command that ends well."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        assert main([str(argument) for argument in arguments]) == 0
    return out.getvalue()


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinyreg.cli.options.find_spec", lambda name: None)
        yield


@pytest.fixture
def refused(capsys):
    """The one line of a command that does not."""

    def of(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (status, out, err.count("\n")) == (2, "", 1)
        return err

    return of


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def write(path, names, *columns):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *zip(*columns, strict=True)])
    return path


def raw(seed=0):
    """Inputs in units of their own, the last of which does not matter."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, 4)) * [10, 1e3, 1e-3, 1] + [40, 1e4, 0, 0]


X = raw()
Z = (X - X.mean(axis=0)) / X.std(axis=0)
LABELS = CLASSES[np.digitize(Z[:, 0] - Z[:, 1], [-0.7, 0.7])]
PRICE = 1e5 + 2e4 * (Z[:, 0] - Z[:, 2])
TARGETS = {"class": LABELS, "price": PRICE}


@pytest.fixture(params=TARGETS, scope="module")
def trained(request, tmp_path_factory):
    """A table, its target, the saved model, and the one run that the JSON has."""
    folder, y = tmp_path_factory.mktemp("trained"), TARGETS[request.param]
    table = write(folder / "table.csv", [*NAMES, request.param], *X.T, y)
    text = run(
        "compare", "--data", table, *QUICK, 100, "--split-seed", 3, "--out", folder, "--json"
    )
    (kept,) = json.loads(text)["runs"]
    return table, request.param, folder / "svrg.npz", kept


def test_predict_makes_the_scores_of_the_comparison(trained, tmp_path):
    _, target, model, kept = trained
    classes = target == "class"
    y = TARGETS[target]
    _, test = split_rows(y, 0.2, 3, stratify=classes)
    # In another order, with columns that the model does not know, and without the target.
    new = write(
        tmp_path / "new.csv", ["id", *NAMES[::-1]], [f"no {i}" for i in test], *X[test].T[::-1]
    )
    header, *predicted = rows(run("predict", "--model", model, "--data", new))
    assert header == [*sorted(CLASSES), "prediction"] if classes else ["prediction"]
    last = np.array([row[-1] for row in predicted])
    if classes:
        p = np.array([row[:-1] for row in predicted], dtype=float)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
        assert last.tolist() == np.sort(CLASSES)[p.argmax(axis=1)].tolist()
        score = np.mean(last == y[test])
    else:
        error, spread = y[test] - last.astype(float), y[test] - y[test].mean()
        score = 1 - np.sum(error**2) / np.sum(spread**2)
    assert score == pytest.approx(kept["test_score"], rel=1e-9)
    assert score > 0.8


def test_predict_gives_all_digits_of_what_the_model_gives(trained):
    table, target, file, _ = trained
    model = Model.load(file)
    _, *predicted = rows(run("predict", "--model", file, "--data", table))
    wanted = [[value] for value in model.predict(X).tolist()]
    if target == "class":
        wanted = [[*p, *c] for p, c in zip(model.probabilities(X).tolist(), wanted, strict=True)]
    assert predicted == [[str(cell) for cell in row] for row in wanted]


def test_predict_lists_the_inputs_that_keep_a_weight(trained):
    _, target, file, _ = trained
    header, *listed = rows(run("predict", "--model", file, "--inputs"))
    W = tr.MLP.load(file).weights[0]
    assert header == ["input", "norm"]
    wanted = [name for name, row in zip(NAMES, W, strict=True) if row.any()]
    assert [name for name, _ in listed] == wanted
    assert {*NAMES[:1], NAMES[1 if target == "class" else 2]} <= {*wanted} < {*NAMES}
    norms = [np.linalg.norm(W[NAMES.index(name)]) for name in wanted]
    assert [float(norm) for _, norm in listed] == pytest.approx(norms)


def test_check_has_the_loss_of_the_run_and_its_zeros_at_rest(trained):
    table, _, model, kept = trained
    report = json.loads(run("check", "--model", model, "--data", table, "--json"))
    assert report["data_loss"] == pytest.approx(kept["data_loss"], rel=1e-9)
    assert report["penalty"] == pytest.approx(kept["penalty"], rel=1e-9)
    zeros = report["rows"][0]["zeros"]
    assert zeros["count"] == zeros["stationary"] == np.sum(tr.MLP.load(model).weights[0] == 0) > 0
    assert report["notes"][-1] == f"data: 72 samples, all of the training part of {table}"
    some = json.loads(run("check", "--model", model, "--data", table, "--json", "--batch", "5"))
    assert some["notes"][-1].startswith("data: 5 samples, the first of the training part of ")
    heavier = run("check", "--model", model, "--data", table, "--json", "--lam", "0.1")
    assert json.loads(heavier)["penalty"] == pytest.approx(2 * kept["penalty"], rel=1e-9)


def test_check_says_when_the_data_are_others_and_scales_as_the_model_does(trained, tmp_path):
    _, target, file, _ = trained
    y = TARGETS[target]
    order = np.random.default_rng(0).permutation(N)
    others = {"fewer": slice(N // 2), "another order": order}
    for name, which in others.items():
        path = write(tmp_path / f"{name}.csv", [target, *NAMES], y[which], *X[which].T)
        command = ["check", "--model", file, "--data", path, "--json"]
        report = json.loads(run(*command, "--batch", N))
        assert report["notes"][-1].endswith("other data than the model was trained on")
        model = Model.load(file)
        if target == "class":
            p = model.probabilities(X[which])
            L = -np.log(p[np.arange(len(p)), np.searchsorted(np.sort(CLASSES), y[which])]).mean()
        else:
            L = 0.5 * np.mean((model.predict(X[which]) - y[which]) ** 2)
            L /= model.target_scaling.scale**2
        assert report["data_loss"] == pytest.approx(L, rel=1e-9)


def test_rows_that_a_model_cannot_take_are_refused(trained, tmp_path, refused):
    _, target, file, _ = trained
    new = tmp_path / "new.csv"
    for left_out in (1, 3):
        columns = [*np.delete(X, left_out, axis=1).T, TARGETS[target]]
        write(new, [*np.delete(NAMES, left_out), target], *columns)
        for command in ("predict", "check"):
            assert repr(NAMES[left_out]) in refused(command, "--model", file, "--data", new)
    np.savez(tmp_path / "new.npz", X=X[:, :2])  # without names
    assert "4" in refused("predict", "--model", file, "--data", tmp_path / "new.npz")
    if target == "class":
        write(new, [*NAMES, target], *X.T, ["perhaps"] * N)
        assert "perhaps" in refused("check", "--model", file, "--data", new)
    assert "--data" in refused("predict", "--model", file)
    assert "missing.csv" in refused("predict", "--model", file, "--data", "missing.csv")
    assert "missing.npz" in refused("predict", "--model", "missing.npz", "--data", new)
    tr.MLP((4, 1)).save(tmp_path / "bare.npz")
    assert "network alone" in refused("predict", "--model", tmp_path / "bare.npz", "--data", new)


def test_class_weights_are_part_of_the_loss_that_is_checked(tmp_path):
    y = np.where(Z[:, 0] - Z[:, 1] > 1.5, "yes, sure", "no")
    table = write(tmp_path / "table.csv", [*NAMES, "class"], *X.T, y)
    losses = []
    for weight in ("balanced", '"yes, sure=3",no=0.5'):
        options = ["--data", table, *QUICK, 5, "--class-weight", weight, "--out", tmp_path]
        (kept,) = json.loads(run("compare", *options, "--json"))["runs"]
        command = ["check", "--model", tmp_path / "svrg.npz", "--data", table, "--json"]
        losses.append((json.loads(run(*command))["data_loss"], kept["data_loss"]))
        model, (train, _) = Model.load(tmp_path / "svrg.npz"), split_rows(y, 0.2, 0, True)
        own = weight if "=" not in weight else {"yes, sure": 3.0, "no": 0.5}
        w, where = class_weights(y[train], own), (y[train] != "no").astype(int)
        p = model.probabilities(X[train])[np.arange(len(train)), where]
        assert losses[-1] == pytest.approx([w @ -np.log(p) / w.sum()] * 2, rel=1e-9)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("weight", ["perhaps=2", "yes", "yes=much", "yes=-1", "yes=1,yes=2", ""])
def test_bad_class_weights_are_refused(weight, tmp_path, refused):
    y = np.where(Z[:, 1] > 0, "yes", "no")
    table = write(tmp_path / "table.csv", ["a", "class"], Z[:, 0], y)
    told = refused("compare", "--data", table, *QUICK, 5, "--class-weight", weight)
    assert "class-weight" in told.replace("_", "-")


def test_class_weights_go_with_classes(tmp_path, refused):
    table = write(tmp_path / "table.csv", ["a", "price"], Z[:, 0], PRICE)
    assert "class" in refused("compare", "--data", table, *QUICK, 5, "--class-weight", "balanced")


# ------------------------------------------------------------ columns without names


def test_where_one_side_has_no_names_columns_go_by_position(trained, tmp_path, refused):
    table, target, named, _ = trained
    bare = write(tmp_path / "bare.csv", [], *X.T, TARGETS[target])  # after a blank line
    run("compare", "--data", bare, *QUICK, 100, "--split-seed", 3, "--out", tmp_path)
    nameless = tmp_path / "svrg.npz"
    assert Model.load(nameless).columns == ["x0", "x1", "x2", "x3"]
    inputs = write(tmp_path / "inputs.csv", NAMES, *X.T)
    one, other = (run("predict", "--model", model, "--data", inputs) for model in (named, nameless))
    assert one == other
    for model, data in ((named, bare), (nameless, bare), (nameless, table)):
        command = ["check", "--model", model, "--data", data, "--json"]
        report = json.loads(run(*command, *["--target", "4"] * (model is named)))
        assert report["notes"][-1] == f"data: 72 samples, all of the training part of {data}"
        # The target is in the way where no names tell what is an input.
        told = refused("predict", "--model", model, "--data", data)
        assert "has 5 columns, without names it must have the 4 inputs" in told


# ------------------------------------------------------------ other files


def test_several_yes_or_no_questions_at_once(tmp_path):
    Y = np.column_stack([Z[:, 0] > 0, Z[:, 1] > 0, Z[:, 2] > 1]).astype(int)
    np.savez(tmp_path / "d.npz", X=X, y=Y)
    options = ["--data", tmp_path / "d.npz", *QUICK, 5, "--out", tmp_path, "--json"]
    content = json.loads(run("compare", *options))
    assert content["settings"]["task"] == "multilabel"
    model = tmp_path / "svrg.npz"
    header, *predicted = rows(run("predict", "--model", model, "--data", tmp_path / "d.npz"))
    assert header == ["y0", "y1", "y2", *(f"prediction y{i}" for i in range(3))]
    cells = np.array(predicted, dtype=float)
    np.testing.assert_array_equal(cells[:, 3:], cells[:, :3] > 0.5)
    _, test = split_rows(Y, 0.2)
    right = np.mean(cells[test, 3:] == Y[test])
    assert right == pytest.approx(content["runs"][0]["test_score"])
    report = json.loads(run("check", "--model", model, "--data", tmp_path / "d.npz", "--json"))
    assert report["data_loss"] == pytest.approx(content["runs"][0]["data_loss"], rel=1e-9)


def sparse_data():
    """Counts of 300 words, of which two decide."""
    rng = np.random.default_rng(0)
    counts = np.where(rng.random((N, 300)) < 0.05, rng.integers(1, 9, (N, 300)), 0.0)
    counts[:, :2] = rng.integers(0, 4, (N, 2))
    return sparse.csr_matrix(counts), (counts[:, 0] > 1).astype(int)


def assert_the_whole_way_of_sparse_data(path, more, folder, y):
    options = ["--data", path, *more, *QUICK, 5, "--out", folder, "--json"]
    (kept,) = json.loads(run("compare", *options))["runs"]
    model = Model.load(folder / "svrg.npz")
    assert not model.scaling.shift.any()
    _, *predicted = rows(run("predict", "--model", folder / "svrg.npz", "--data", path))
    _, test = split_rows(y, 0.2, stratify=True)
    score = np.mean(np.array([row[-1] for row in predicted], dtype=int)[test] == y[test])
    assert score == pytest.approx(kept["test_score"])
    command = ["check", "--model", folder / "svrg.npz", "--data", path, *more, "--json"]
    report = json.loads(run(*command))
    assert report["data_loss"] == pytest.approx(kept["data_loss"], rel=1e-9)
    assert "training part" in report["notes"][-1]


def test_the_whole_way_of_a_sparse_npz(tmp_path):
    counts, y = sparse_data()
    sparse.save_npz(tmp_path / "d.npz", counts)
    np.save(tmp_path / "y.npy", y)
    more = ["--target", tmp_path / "y.npy"]
    assert_the_whole_way_of_sparse_data(tmp_path / "d.npz", more, tmp_path, y)


def test_the_whole_way_of_svmlight(tmp_path):
    datasets = pytest.importorskip("sklearn.datasets", reason="needs the sklearn extra")
    counts, y = sparse_data()
    datasets.dump_svmlight_file(counts, y, str(tmp_path / "d.svm"))
    assert_the_whole_way_of_sparse_data(tmp_path / "d.svm", [], tmp_path, y)


def test_the_digits_are_predicted_and_checked_as_they_are(tmp_path):
    text = run("compare", *QUICK[:-1], "--epochs", 1, "--out", tmp_path, "--json")
    (kept,) = json.loads(text)["runs"]
    model = tmp_path / "svrg.npz"
    header, *predicted = rows(run("predict", "--model", model, "--data", "digits"))
    assert header == [*map(str, range(10)), "prediction"]
    _, y = tr.load_digits()
    _, test = split_rows(y, 0.2, stratify=True)
    right = np.mean(np.array([row[-1] for row in predicted], dtype=int)[test] == y[test])
    assert right == pytest.approx(kept["test_score"])
    report = json.loads(run("check", "--model", model, "--json"))
    assert report["data_loss"] == pytest.approx(kept["data_loss"], rel=1e-9)
