"""`explain` on rows in their own units: the scaling is the first step, and columns have names."""

import json
import re

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.datasets.scaling import Scaling
from tinyreg.explain.sample import prepared
from tinyreg.render.document import Equation, Table, number
from tinyreg.study.model import Model

X = np.array([[1.0, 2.0, 7.0], [3.0, 12345.678, 7.0], [8.0, -2.5, 7.0]])
PRICE = np.array([10.5, 20.0, 123456.75])


def model_of(loss, n_out, columns=("age", "size", "same"), seed=3, **parts):
    return Model(tr.MLP((len(columns), 4, n_out), "tanh", seed=seed), loss, [*columns], **parts)


def explained(model, X, y):
    return tr.explain(tr.Objective(model.net, model.loss, tr.L1(0.1)), X, y, model=model)


def section(explanation, title="The sample"):
    return next(s for s in explanation.sections if s.title == title)


def tables(explanation):
    return [piece for piece in section(explanation).pieces if isinstance(piece, Table)]


def sentences(explanation):
    return [piece for piece in section(explanation).pieces if isinstance(piece, str)]


def regression():
    return model_of(tr.SquaredError(), 1, scaling=Scaling.of(X), target_scaling=Scaling.of(PRICE),
                    target="price")  # fmt: skip


def test_a_row_stands_as_it_is_and_its_scaling_is_the_first_step():
    explanation = explained(regression(), X[1:2], PRICE[1:2])
    assert [s.title for s in explanation.sections[:3]] == ["The network", "The sample", "Forward"]
    (table,) = tables(explanation)
    mean, deviation = X.mean(axis=0), np.array([*X.std(axis=0)[:2], 1.0])
    x = (X[1] - mean) / deviation
    assert table.headers == ["column", "row", "mean", "deviation", "`x`"]
    assert [row[:2] for row in table.rows] == [["age", "3"], ["size", "12345.678"], ["same", "7"]]
    numbers = np.array([row[2:] for row in table.rows], dtype=float)
    np.testing.assert_allclose(numbers, np.transpose([mean, deviation, x]), atol=1e-12)
    forward = section(explanation, "Forward").pieces[2]
    np.testing.assert_allclose(forward.numbers[0], [x], rtol=1e-12)

    (equation,) = (p for p in section(explanation).pieces if isinstance(p, Equation))
    raw, shift, scale, y = (n.item() for n in equation.numbers if not isinstance(n, str))
    assert (raw, shift, scale) == (20.0, pytest.approx(PRICE.mean()), pytest.approx(PRICE.std()))
    assert y == pytest.approx((20 - PRICE.mean()) / PRICE.std())
    assert section(explanation, "The loss").pieces[2].numbers[0].item() == y
    assert "The target price is 20 and is scaled likewise." in sentences(explanation)


def test_the_pass_is_that_of_scaled_numbers():
    model = regression()
    raw = explained(model, X, PRICE)
    scaled = tr.explain(
        tr.Objective(model.net, model.loss, tr.L1(0.1)), *map(_standard, (X, PRICE))
    )
    assert section(raw).title not in [s.title for s in scaled.sections]
    assert [str(s) for s in raw.sections if s.title != "The sample"] == [
        str(s) for s in scaled.sections
    ]
    assert len(tables(raw)) == 3  # one for each row


def _standard(values):
    return (values - values.mean(axis=0)) / np.where(np.ptp(values, axis=0), values.std(axis=0), 1)


@pytest.mark.parametrize(
    ("loss", "n_out", "y", "told", "targets"),
    [
        (tr.SoftmaxCrossEntropy(), 3, ["bee"], "is bee, number 1 of the classes ant, bee, cat,",
         [[0, 1, 0]]),
        (tr.SquaredError(), 3, [["cat"]], "is cat, number 2 of the classes", [[0, 0, 1]]),
        (tr.SoftmaxCrossEntropy(), 3, [[0, 1, 0]], "is 0, 1, 0.", [[0, 1, 0]]),
        (tr.SigmoidCrossEntropy(), 3, [[1, 1, 0]], "is 1, 1, 0.", [[1, 1, 0]]),
    ],
)  # fmt: skip
def test_a_class_is_shown_by_name_and_by_number(loss, n_out, y, told, targets):
    model = model_of(loss, n_out, classes=np.array(["ant", "bee", "cat"]), target="kind")
    explanation = explained(model, X[:1], y)
    assert told in sentences(explanation)[-1]
    assert sentences(explanation)[-1].startswith("The target kind is ")
    np.testing.assert_array_equal(
        section(explanation, "The loss").pieces[2].numbers[0], np.array(targets)
    )


def test_without_a_scaling_the_numbers_go_in_as_they_stand():
    explanation = explained(model_of(tr.SquaredError(), 1), X[1:2], [2.5])
    (table,) = tables(explanation)
    assert table.headers == ["column", "row", "`x`"]
    assert [row[1:] for row in table.rows] == [["3", 3.0], ["12345.678", 12345.678], ["7", 7.0]]
    assert sentences(explanation)[-1] == "The target is 2.5."


def wide(d=400):
    rng = np.random.default_rng(0)
    S = sparse.random(6, d, 0.1, format="csr", random_state=rng)
    S.data[0] = -3.0
    names = [f"word{i}" for i in range(d)]
    return S, model_of(tr.SoftmaxCrossEntropy(), 2, names, scaling=Scaling.of(S))


def test_of_a_sparse_row_the_words_that_occur_are_shown():
    S, model = wide()
    explanation = explained(model, S[:1], [1])
    row, largest = S.toarray()[0], np.abs(S.toarray()).max(axis=0)
    occur = np.flatnonzero(row)
    (table,) = tables(explanation)
    assert table.headers == ["column", "row", "largest", "`x`"]
    assert [cells[0] for cells in table.rows] == [f"word{i}" for i in occur[:12]]
    assert [float(cells[1]) for cells in table.rows] == row[occur[:12]].tolist()
    np.testing.assert_allclose([c[3] for c in table.rows], (row[occur] / largest[occur])[:12])
    assert f"12 of {len(occur)} columns that are not 0 are shown." in sentences(explanation)
    assert max(map(len, explanation.text().splitlines())) <= 104


def test_a_sparse_row_goes_through_the_network_as_the_dense_one_does():
    S, model = wide()
    objective, rows = tr.Objective(model.net, model.loss, tr.L1(0.1)), S.toarray()[:2]
    for form in (S[:2], sparse.coo_matrix(rows), sparse.csc_array(rows)):
        assert str(tr.explain(objective, form, [0, 1])) == str(tr.explain(objective, rows, [0, 1]))
    dense = explained(model, rows, [0, 1])
    for ours, theirs in zip(explained(model, S[:2], [0, 1]).sections, dense.sections, strict=True):
        assert ours.title == "The sample" or str(ours) == str(theirs)
    assert tables(dense)[0].headers == ["column", "row", "scale", "`x`"]


def test_float32_and_integers_are_shown_in_their_own_digits():
    model = model_of(tr.SquaredError(), 1)
    for row, shown in (
        (np.array([[0.1, 12345.678, -2.0]], np.float32), ["0.1", "12345.678", "-2"]),
        (np.array([[1, -2, 10**15]]), ["1", "-2", "1000000000000000"]),
    ):
        assert [cells[1] for cells in tables(explained(model, row, [1.0]))[0].rows] == shown


NAMES = ["50%_a&b", "#1 <$x>", "a|b`c`", r"\x{y}^~", "line\nbreak", "é" * 60]


def test_names_of_columns_mean_nothing_to_latex_and_markdown():
    model = model_of(tr.SquaredError(), 1, NAMES, target="y_`1`%", scaling=Scaling.of(np.eye(6)))
    explanation = explained(model, np.eye(6)[:1], [1.0])
    latex = explanation.latex()
    assert r"50\%\_a\&b & 1 &" in latex
    assert r"\textbackslash{}x\{y\}\textasciicircum{}\textasciitilde{} & 0 &" in latex
    assert r"The target y\_'1'\% is 1" in latex
    table = latex[latex.index("column & row") :].partition(r"\end{tabular}")[0]
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 7
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {4}
    markdown = explanation.markdown()
    rows = markdown[markdown.index("| column | row") :].partition("\n\n")[0].splitlines()
    assert len(rows) == 8
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert r"| 50%\_a&b | 1 |" in markdown
    assert r"| a\|b'c' |" in markdown
    assert "| line break |" in markdown
    assert f"| {'é' * 39}… |" in markdown
    assert max(map(len, explanation.text().splitlines())) <= 104
    assert json.loads(json.dumps(explanation.to_dict()))


def test_the_numbers_of_the_section_are_the_same_in_each_format():
    explanation = explained(regression(), X[1:2], PRICE[1:2])
    latex = re.sub(r" \\times 10\^\{(-?)(\d)\}", r"e\1\2", explanation.latex())
    for name, raw, *numbers in tables(explanation)[0].rows:
        shown = [float(number(n)) for n in numbers]
        for text, mark in ((explanation.text(), None), (explanation.markdown(), "|"), (latex, "&")):
            (line,) = re.findall(rf"^\W*({name}\b.*?)[\\| ]*$", text, re.MULTILINE)
            cells = [cell.strip(" $") for cell in line.split(mark)]
            assert cells[:2] == [name, raw]
            assert [float(cell) for cell in cells[2:]] == shown


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "model.npz"}, TypeError, "model must be a Model"),
        ({"model": model_of(tr.SquaredError(), 1, ["a"])}, ValueError, "model: columns must have"),
        ({"X": X[:1, :2]}, ValueError, r"X must have shape \(n_samples, 3\)"),
        ({"X": [[1.0, np.nan, 1.0]]}, ValueError, "X must be finite"),
        ({"y": ["dog"]}, ValueError, "y must hold labels that classes has too, got 'dog'"),
        ({"y": ["ant", "ant"]}, ValueError, "y must have shape"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    classes = np.array(["ant", "bee"])
    model = model_of(tr.SoftmaxCrossEntropy(), 2, classes=classes, scaling=Scaling.of(X))
    objective = tr.Objective(model.net, model.loss)
    given = {"objective": objective, "X": X[:1], "y": ["bee"], "model": model} | change
    with pytest.raises(error, match=message):
        tr.explain(given.pop("objective"), given.pop("X"), given.pop("y"), **given)


def test_the_columns_of_a_data_frame_are_found_by_name():
    pandas = pytest.importorskip("pandas")
    model, frame = regression(), pandas.DataFrame(X, columns=["age", "size", "same"])
    mixed = frame[["size", "same", "age"]].assign(text="a")
    assert str(explained(model, mixed[:1], PRICE[:1])) == str(explained(model, X[:1], PRICE[:1]))
    with pytest.raises(ValueError, match="X: the data frame has no input column 'age'"):
        explained(model, frame[["size", "same"]], PRICE)


def test_the_classes_of_a_model_may_stand_in_any_order():
    model = model_of(tr.SoftmaxCrossEntropy(), 3, classes=np.array(["b", "c", "a"]))
    _, y = prepared(model, np.ones((4, 3)), ["a", "b", "c", "b"])
    assert y.tolist() == [2, 0, 1, 0]
