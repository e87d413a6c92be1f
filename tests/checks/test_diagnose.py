"""The pattern of the errors is named, and the place where they are."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import small_problem
from tests.support.planted import BUGS, problem
from tinyreg.checks.diagnose import diagnose
from tinyreg.checks.differences import Measured
from tinyreg.checks.judge import Part


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


# ------------------------------------------------------------ one block, and its right gradient


def told(given, right, sizes=None, terms=(), x=None):
    given, right = np.asarray(given, dtype=float), np.asarray(right, dtype=float)
    wrong = np.abs(given - right) > 1e-6 * np.maximum(np.abs(given), np.abs(right))
    return diagnose(Part("f", given, Measured.smooth(right)), wrong, sizes, terms, x)


RNG = np.random.default_rng(3)
V, W, T = (RNG.normal(size=shape) for shape in (5, (4, 5), (4, 5)))
PENALTY = [("the penalty's gradient", T)]


@pytest.mark.parametrize(
    ("given", "right", "expected"),
    [
        (1.3 * V, V, "constant factor 1.3"),
        ((1 + 3e-6) * V, V, "constant factor 1.000003"),
        (-V, V, "constant factor -1: the sign is wrong"),
        (W[:, ::-1], W, "reversed along axis 1"),
        (np.roll(W, 1, axis=0), W, "shifted by one along axis 0"),
        ([1.3], [1.0], ""),  # any two numbers have a ratio
        ([-2.0], [2.0], "constant factor -1: the sign is wrong"),
        (1.3 * np.outer(V, V), np.outer(V, V), ""),  # of one sample: any mistake in dz does that
        ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 5.0, 3.0], ""),
    ],
)
def test_the_pattern_of_a_block(given, right, expected):
    assert told(given, right) == expected


def test_a_factor_that_has_several_readings_is_told_all_of_them():
    mean = "N: a sum in place of the mean over samples"
    assert told(7 * V, V, {"N": 7, "K": 3}) == f"constant factor 7: {mean}"
    assert told(2 * V, V, {"N": 2}) == f"constant factor 2: a 2 too much, or {mean}"
    assert told(V / 10, V, {"N": 7, "K": 10}) == "constant factor 0.1: it is 1/K"
    assert told(3 * V, V, {"n_out": 3, "n_in": 9}) == (
        "constant factor 3: it is n_out, or it is √n_in"
    )


def test_a_part_of_the_gradient_may_be_wrong_alone():
    right = W + T
    two = "constant factor 2: a 2 too much"
    assert told(2 * W + T, right, terms=PENALTY) == f"{two} (in all but the penalty's gradient)"
    half = "constant factor 0.5: a 2 is missing"
    assert told(W + T / 2, right, terms=PENALTY) == f"{half} (in the penalty's gradient)"
    assert told(W + 3 * T, right, terms=PENALTY) == "the error is 2 times the penalty's gradient"
    assert told(T, right, terms=PENALTY).startswith("only the penalty's gradient is there")


def test_errors_are_compared_with_the_point():
    x, lam = np.random.default_rng(4).normal(size=(4, 5)), 0.01
    sign = [("the penalty's gradient", lam * np.sign(x))]
    assert told(W + lam * x, W, x=x) == "the error is 0.01 times x"
    assert told(W + lam * np.abs(x), W + sign[0][1], terms=sign, x=x) == (
        "0.01 times |x| in place of the penalty's gradient"
    )
    assert told(W + lam, W + sign[0][1], terms=sign, x=x) == (
        "0.01 everywhere in place of the penalty's gradient"
    )
    assert told(W + lam, W, x=np.ones((4, 5))) == ""  # x, sign(x), |x| and 1 are all the same


def test_a_place_in_more_than_two_dimensions_is_named():
    right = np.random.default_rng(5).normal(size=(2, 3, 4))
    given = right.copy()
    given[:, 2] += np.random.default_rng(6).normal(size=(2, 4))
    assert told(given, right) == "axis 1: index 2 only"


# ------------------------------------------------------------ all blocks


def wrong_report(change, **settings):
    """The report on a gradient of which change(dW, db) has spoilt the blocks."""
    F, X, y = problem(**settings)
    gradient = F.gradient(X, y)
    change(*F.net.unpack(gradient))
    return tr.check_gradients(F, X, y, gradient=gradient)


def test_a_penalty_forgotten_in_lower_layers_sends_nobody_to_the_backward_pass():
    F, _, _ = problem(penalty=tr.L2(0.01))

    def forget(dW, db):
        for gradient, weights in zip(dW[:2], F.net.weights[:2], strict=True):
            gradient -= 0.02 * weights

    report = wrong_report(forget, penalty=tr.L2(0.01))
    assert report.notes == ["only weights are wrong"]
    for row in report.rows[0], report.rows[2]:
        assert row["diagnosis"] == "missing term: the error is minus the penalty's gradient"


def test_a_factor_in_every_step_back_is_told_once():
    def double(dW, db):
        for steps, layer in ((1, 1), (2, 0)):
            dW[layer][...] *= 2.0**steps
            db[layer][...] *= 2.0**steps

    report = wrong_report(double, sizes=(4, 5, 5, 4))  # K = 4 is not the reason of the second 2²
    assert report.notes == ["a factor 2 in every step from a layer back to the one before"]
    assert report.rows[0]["diagnosis"] == "constant factor 4: 2 to the power 2"
