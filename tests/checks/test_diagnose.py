"""The pattern of the errors is named, and the place where they are."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import small_problem
from tests.support.planted import BUGS, problem


def find(name):
    (bug,) = [bug for bug in BUGS if bug.name == name]
    with bug.plant():
        return bug.report()


@pytest.mark.parametrize(
    ("name", "block", "told"),
    [
        ("affine: dW twice", "W2", "data: constant factor 2"),
        ("affine: dW half", "W1", "constant factor 0.5"),
        ("affine: dW times N", "W3", "N: a sum in place of the mean"),
        ("affine: dW over N", "W3", "1/N: a mean over samples taken once too often"),
        ("affine: db a mean", "b1", "1/N"),
        ("affine: dW with the wrong sign", "W1", "the sign is wrong"),
        ("affine: dW transposed", "W2", "transpose"),
        ("affine: db dropped", "b3", "the term is missing"),
        ("affine: one wrong coordinate of thousands", "W1", "one coordinate of 4096 only"),
        ("relu: mask >= in place of >", "W1", "wrong at kinks only"),
        ("L2: without its 2", "W1", "penalty: constant factor 0.5: a 2 is missing"),
        ("penalty: not at all", "W1", "penalty: the given gradient is 0: the term is missing"),
        ("penalty: twice", "W2", "penalty: constant factor 2"),
        (
            "penalty: of the biases too",
            "b1",
            "a term too much: the error is the penalty's gradient",
        ),
    ],
)
def test_the_diagnosis_names_the_pattern(name, block, told):
    report = find(name)
    (row,) = [row for row in report.rows if row["block"] == block]
    assert told in row["diagnosis"]
    assert row["diagnosis"] in str(report)


def test_one_wrong_coordinate_is_shown_with_its_index_and_both_values():
    report = find("affine: one wrong coordinate of thousands")
    row = report.rows[0]
    assert (row["block"], row["index"], row["mismatch"]) == ("W1", [17, 3], 1)
    assert row["given"] == pytest.approx(1.001 * row["numeric"], rel=1e-9)
    assert row["worst"] == pytest.approx(0.001 / 1.001, rel=1e-3)
    assert report.details["W1"].verdict[17, 3] == "mismatch"
    assert "only W1 is wrong" in report.notes


def test_a_wrong_activation_is_located_between_two_layers():
    report = find("tanh: 1 - a")
    assert [row["block"] for row in report.rows if row["mismatch"]] == ["W1", "b1", "W2", "b2"]
    assert any("from layer 3 back to layer 2" in note for note in report.notes)


def test_a_wrong_row_is_named():
    rng = np.random.default_rng(0)
    F, X, y = problem()
    gradient = F.gradient(X, y)
    W1 = F.net.unpack(gradient)[0][0]
    W1[2] += rng.normal(size=5)
    assert tr.check_gradients(F, X, y, gradient=gradient).rows[0]["diagnosis"] == "row 2 only"
    W1[...] = F.net.unpack(F.gradient(X, y))[0][0]
    W1[:, 4] += rng.normal(size=4)
    assert tr.check_gradients(F, X, y, gradient=gradient).rows[0]["diagnosis"] == "column 4 only"


def test_a_missing_term_is_named_where_only_the_whole_gradient_is_handed_in():
    F, X, y = problem(penalty=tr.L1(0.01))
    report = tr.check_gradients(F, X, y, gradient=F.data_gradient(X, y))
    assert report.rows[0]["diagnosis"] == "missing term: the error is minus the penalty's gradient"


def test_a_gradient_with_nan_is_a_mismatch_that_says_so():
    F, X, y = small_problem()
    gradient = F.gradient(X, y)
    gradient[0] = np.nan
    row = tr.check_gradients(F, X, y, gradient=gradient).rows[0]
    assert (row["mismatch"], row["index"], row["given"]) == (1, [0, 0], None)
    assert "not finite" in row["diagnosis"]
