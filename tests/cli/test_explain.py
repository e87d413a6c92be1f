"""`tinyreg explain` on numbers of one's own: a sample, weights, a table, a saved model."""

import json
import re

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.cli.main import main
from tinyreg.datasets.scaling import Scaling
from tinyreg.study.model import Model

HAND = "W1 = 0.1 -1; 0.9 0.25\nb1 = 0.1 0\nW2 = 0.5 -0.25; 0.08 1\nb2 = 0.5 0\n"
TABLE = "age,size,kind,price\n1,2,bee,0.5\n3,6.25,ant,1.5\n\n8,-7,bee,4\n"
X, PRICE = np.array([[1, 2], [3, 6.25], [8, -7]]), np.array([0.5, 1.5, 4])
KINDS = np.array(["bee", "ant", "bee"])


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hand.txt").write_text(HAND)
    (tmp_path / "one.txt").write_text("W1 = 2 -1; 0.5 3\nb1 = 0 1\nW2 = 1; 2\n")
    (tmp_path / "two.csv").write_text("a,b,y\n1,2,0.5\n3,6,1.5\n")
    lines = [line.split(",") for line in TABLE.split() if line]
    for name, skipped in (("prices.csv", 2), ("kinds.csv", 3)):
        rows = [",".join(c for i, c in enumerate(cells) if i != skipped) for cells in lines]
        (tmp_path / name).write_text("\n".join([*rows[:2], "", *rows[2:]]) + "\n")


@pytest.fixture
def page(capsys):
    def run(*options):
        assert main(["explain", *options]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def content(page):
    """The sections by title, each a list of pieces."""

    def run(*options):
        sections = json.loads(page(*options, "--json"))["sections"]
        return {section["title"]: section["pieces"] for section in sections}

    return run


def numbers(sections, title, formula):
    """What an equation equals."""
    (found,) = (p for p in sections[title] if p.get("formula", "").startswith(formula))
    return found["numbers"][-1]["shown"]


def rows(sections):
    """The table of The sample: {column: the numbers beside it}."""
    table = next(piece for piece in sections["The sample"] if "rows" in piece)
    return {name: [float(cell) for cell in cells] for name, *cells in table["rows"]}


def where(sections):
    return sections["The network"][-1]["text"]


def test_the_hand_example_in_numbers_of_ones_own(page):
    by_hand = page().replace("made to be worked by hand", "given by --x and --target")
    assert page("--x", "1,2", "--target", "1,0") == by_hand
    assert page("--weights", "hand.txt", "--x", "1,2", "--target", "1,0", "--lam", "0.5") == by_hand


@pytest.mark.parametrize(
    ("options", "prediction", "cost"),
    [
        # z1 = [2 + 1, −1 + 6 + 1] = [3, 6], z2 = 3 + 12
        ([], 15, (15 - 0.5) ** 2 / 2),
        (["--activation", "identity", "--dtype", "float32"], 15, (15 - 0.5) ** 2 / 2),
        (["--loss", "sigmoid"], 1 / (1 + np.exp(-15)), np.log1p(np.exp(15)) - 7.5),
    ],
)
def test_a_sample_and_weights_of_ones_own(options, prediction, cost, content):
    sections = content("--weights", "one.txt", "--x", "1,2", "--target", "0.5", *options)
    assert "The sample" not in sections
    assert numbers(sections, "Forward", "z2") == [[15]]
    assert numbers(sections, "The loss", "p") == [[pytest.approx(prediction)]]
    assert numbers(sections, "The loss", "ℓ") == pytest.approx(cost)


def test_a_class_of_ones_own(content):
    sections = content(
        "--sizes", "2,3", "--x", "-1.5,2e1", "--target", "2", "--loss", "softmax", "--seed", "4"
    )
    (W,), x = tr.MLP((2, 3), seed=4).weights, np.array([[-1.5, 20.0]])
    np.testing.assert_allclose(numbers(sections, "Forward", "z1"), x @ W)
    assert numbers(sections, "The loss", "y") == [[0, 0, 1]]
    z = (x @ W)[0]
    cost = np.log(np.exp(z - z.max()).sum()) + z.max() - z[2]
    assert numbers(sections, "The loss", "ℓ") == pytest.approx(cost)


def test_a_table_of_two_rows_shows_its_numbers(page, content):
    options = ["--data", "two.csv", "--sizes", "2,2,1", "--loss", "squared"]
    sections = content(*options)
    assert rows(sections) == {"a": [1, 2, 1, -1], "b": [2, 4, 2, -1]}
    assert numbers(sections, "The sample", "y = (target − mean)/deviation") == -1
    assert numbers(sections, "The loss", "y") == [[-1]]
    W, _ = tr.MLP((2, 2, 1)).weights
    np.testing.assert_allclose(numbers(sections, "Forward", "z1"), [-W.sum(axis=0)])
    assert where(sections) == (
        "The sample: row 0 of two.csv, scaled by the columns of all its 2 rows."
    )
    text = page(*options)
    assert re.search(r"^  a +1 +2 +1 +-1$", text, re.MULTILINE)
    assert "= ( 0.5 − 1 ) / 0.5 = -1" in text

    sections = content(*options, "--no-standardise")
    assert rows(sections) == {"a": [1, 1], "b": [2, 2]}
    assert numbers(sections, "The loss", "y") == [[0.5]]
    np.testing.assert_allclose(numbers(sections, "Forward", "z1"), np.array([[1, 2]]) @ W)
    assert where(sections) == "The sample: row 0 of two.csv, as it stands."


def test_a_file_without_names_has_columns_x0_x1(content, tmp_path):
    np.savez(tmp_path / "t.npz", X=X, y=PRICE)
    sections = content("--data", "t.npz", "--sizes", "2,1", "--loss", "squared", "--row", "2")
    assert [cells[0] for cells in rows(sections).values()] == [8, -7]
    assert list(rows(sections)) == ["x0", "x1"]


def saved(kind):
    """A model of other data than the tables here."""
    scaling = Scaling(np.array([2.0, -1.0]), np.array([4.0, 0.5]))
    names = ["age", "size"]
    if kind == "price":
        model = Model(tr.MLP((2, 3, 1), "tanh", seed=5), tr.SquaredError(), names, None, scaling,
                      Scaling(np.array(10.0), np.array(4.0)), "price")  # fmt: skip
    else:
        model = Model(tr.MLP((2, 3, 3), "tanh", seed=5), tr.SoftmaxCrossEntropy(), names,
                      np.array(["ant", "bee", "cat"]), scaling, None, "kind")  # fmt: skip
    model.save("model.npz")
    return model, (X[2:] - scaling.shift) / scaling.scale


def test_a_model_scales_a_row_as_it_was_trained(content):
    model, x = saved("price")
    sections = content("--model", "model.npz", "--data", "prices.csv", "--row", "2")
    assert rows(sections) == {"age": [8, 2, 4, x[0, 0]], "size": [-7, -1, 0.5, x[0, 1]]}
    assert numbers(sections, "The sample", "y = ") == (4 - 10) / 4
    assert numbers(sections, "The loss", "y") == [[(4 - 10) / 4]]
    z = numbers(sections, "Forward", "z2")
    np.testing.assert_allclose(z, model.net.forward(x))
    np.testing.assert_allclose(4 * z[0][0] + 10, model.predict(X[2:]))
    assert where(sections).endswith("scaled as the data that the model was trained on.")


def test_a_model_has_its_own_classes(content):
    model, x = saved("kind")
    np.testing.assert_allclose(model.probabilities(X[2:]), model.loss.predict(model.net.forward(x)))
    sections = content("--model", "model.npz", "--data", "kinds.csv", "--row", "2")
    told = "The target kind is bee, number 1 of the classes ant, bee, cat, counted from 0."
    assert sections["The sample"][-1]["text"] == told
    assert numbers(sections, "The loss", "y") == [[0, 1, 0]]
    np.testing.assert_allclose(numbers(sections, "The loss", "p"), model.probabilities(X[2:]))


@pytest.mark.parametrize("kind", ["price", "kind"])
def test_numbers_for_a_model_are_in_the_units_of_its_data(kind, content):
    saved(kind)
    target = "4" if kind == "price" else "bee"
    own = content("--model", "model.npz", "--x", "8,-7", "--target", target)
    row = content("--model", "model.npz", "--data", f"{kind}s.csv", "--row", "2")
    assert where(own) == "The sample: given by --x and --target."
    assert own["The network"][:-1] == row["The network"][:-1]
    assert {**own, "The network": 0} == {**row, "The network": 0}


def test_a_file_with_a_network_alone_takes_the_scaling_of_the_table(content):
    net = tr.MLP((2, 3, 1), "tanh", seed=4)
    net.save("net.npz")
    options = ["--model", "net.npz", "--loss", "squared"]
    sections = content(*options, "--data", "prices.csv", "--row", "1")
    x = ((X - X.mean(axis=0)) / X.std(axis=0))[1:2]
    np.testing.assert_allclose(numbers(sections, "Forward", "z2"), net.forward(x))
    y = (1.5 - PRICE.mean()) / PRICE.std()
    assert numbers(sections, "The loss", "y") == [[pytest.approx(y)]]
    sections = content(*options, "--x", "3,6.25", "--target", "1.5")
    np.testing.assert_allclose(numbers(sections, "Forward", "z2"), net.forward(X[1:2]))


def test_of_a_sparse_table_the_numbers_that_are_not_0_are_shown(content):
    S = sparse.random(8, 30, 0.2, format="csr", random_state=3)
    sparse.save_npz("s.npz", S)
    np.save("y.npy", np.arange(8) % 2)
    sections = content("--data", "s.npz", "--target", "y.npy", "--sizes", "30,2", "--row", "5")
    row, largest = S.toarray()[5], np.abs(S.toarray()).max(axis=0)
    expected = {f"x{i}": [row[i], largest[i], row[i] / largest[i]] for i in np.flatnonzero(row)}
    assert rows(sections) == expected
    x = np.divide(row, largest, out=np.zeros(30), where=largest > 0)
    (W,) = tr.MLP((30, 2)).weights
    np.testing.assert_allclose(numbers(sections, "Forward", "z1"), [x @ W])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--row", "-1"], "--row must be an integer >= 0, got -1"),
        (["--row", "1"], "--row must be below 1"),
        (["--data", "digits", "--row", "1797"], "--row must be below 1797"),
        (["--data", "two.csv", "--sizes", "2,1", "--loss", "squared", "--row", "2"],
         "--row must be below 2"),
        (["--sizes", "2,2", "--target", "q"], "--target goes with --x, a sample of your own"),
        (["--target", "1,0"], "--target goes with"),
        (["--seed", "1"], "--seed goes with"),
        (["--model", "x.npz", "--seed", "1"], "--seed does not go with --model"),
        (["--model", "missing.npz"], "missing.npz"),
        (["--sizes", "3,x"], "--sizes must be integers"),
        (["--lr", "0"], "lr must be"),
        (["--steps", "0"], "steps must be"),
        (["--lam", "-1"], "lam must be"),
        (["--lr", "1e100"], "diverged"),
        (["--x", "1e200,2", "--target", "1,0"], "diverged"),
        (["--format", "pdf"], "--format"),
        (["--x", "1,2"], "--x goes with --target"),
        (["--x", "1,2", "--target", "1,0", "--data", "two.csv"], "--x does not go with --data"),
        (["--x", "1,2", "--target", "1,0", "--row", "1"], "--row must be below 1"),
        (["--x", "1", "--target", "1,0"], "--x must have 2 numbers, one for each input, got 1"),
        (["--x", "1,2", "--target", "1,0,0"], "--target must have 2 numbers"),
        (["--x", "1,2", "--target", "1"], "or a class, with --loss softmax"),
        (["--x", "1,two", "--target", "1,0"], "--x must be finite numbers with commas between"),
        (["--x", "1,nan", "--target", "1,0"], "--x must be finite numbers"),
        (["--x", "1,", "--target", "1,0"], "--x must be finite numbers"),
        (["--x", "1,²", "--target", "1,0"], "--x must be finite numbers"),
        (["--x", "1,2", "--target", "1e999,0"], "--target must be finite numbers"),
        (["--x", "1,2", "--target", "2", "--loss", "softmax"], "labels from 0 to 1"),
        (["--x", "1,2", "--target", "0.5", "--loss", "softmax"], "--target must be integers"),
        (["--x", "1,2", "--target", "2,1", "--loss", "softmax"], "--target: y must have one-hot"),
        (["--x", "1,2", "--target", "2,1", "--loss", "sigmoid"], "--target: y must be 0 or 1"),
        (["--x", "1e39,2", "--target", "1,0", "--sizes", "2,2", "--dtype", "float32"],
         "X must be finite in float32"),
        (["--x", "1,2", "--target", "dog", "--model", "model.npz"],
         "--target must be one of ant, bee, cat, got 'dog'"),
        (["--data", "two.csv"], "columns for this network, got 2; --sizes 2,... makes another"),
        (["--data", "kinds.csv", "--no-standardise", "--model", "model.npz"],
         "--no-standardise does not go with a model"),
        (["--no-standardise"], "--no-standardise goes with --data and a file"),
        (["--no-standardise", "--data", "digits"], "--no-standardise goes with --data"),
        (["--weights", "hand.txt", "--sizes", "2,2"], "--sizes does not go with --weights"),
        (["--weights", "hand.txt", "--model", "m.npz"], "--model does not go with --weights"),
        (["--weights", "hand.txt", "--seed", "1"], "--seed does not go with --weights"),
        (["--weights", "missing.txt"], "missing.txt"),
        (["--weights", "."], "directory"),
        (["--weights", "two.csv"], "it begins with 'a,b,y' and not with a name and ="),
        (["--weights", "model.npz"], "it has 'format'"),
    ],
)  # fmt: skip
def test_bad_commands_are_one_line_and_status_2(options, message, capsys):
    saved("kind")
    try:
        status = main(["explain", *options])
    except SystemExit as e:
        status = e.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("tinyreg explain: error: ")
    assert message in err


@pytest.mark.parametrize(
    "options",
    [
        ["--target", "y", "--data", "two.csv", "--sizes", "2,2,1", "--loss", "squared"],
        ["--target", "1,0", "--x", "1,2"],
        ["--target", "1", "--x", "1,2", "--loss", "softmax"],
    ],
)
def test_the_advice_for_a_target_alone_can_be_followed(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.csv").write_text("a,b,y\n1,2,0.5\n-1,0,0.25\n0,1,2\n")
    assert main(["explain", *options]) == 0
    assert "one pass forward, one pass back" in capsys.readouterr().out
