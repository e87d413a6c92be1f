"""The report: a table to read, data to work with, and a failure in a test of one's own."""

import json

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import small_problem


def test_the_report_is_data_and_a_table():
    F, X, y = small_problem("relu", penalty=tr.L1(0.01))
    F.net.weights[0][:, 0] = 0.0
    report = tr.check_gradients(F, X, y, precision=True)
    back = json.loads(json.dumps(report.rows, allow_nan=False))
    assert back == report.rows
    assert [row["block"] for row in report.rows] == ["W1", "b1", "W2", "b2"]
    for row in report.rows:
        assert row["match"] + row["kink"] + row["inconclusive"] + row["mismatch"] == row["size"]
        assert report.details[row["block"]].verdict.shape == tuple(row["shape"])
    lines = str(report).splitlines()
    assert lines[0].startswith("ok: gradient of SoftmaxCrossEntropy()")
    assert lines[2].split()[:2] == ["block", "shape"]
    assert [line.split()[0] for line in lines[3:7]] == ["W1", "b1", "W2", "b2"]
    assert report.raise_if_failed() is None
    assert bool(report) is True


def test_a_failed_report_raises_with_its_table():
    F, X, y = small_problem()
    report = tr.check_gradients(F, X, y, gradient=-F.gradient(X, y))
    with pytest.raises(tr.GradientCheckError) as caught:
        report.raise_if_failed()
    assert str(report) in str(caught.value)
    assert isinstance(caught.value, AssertionError)
    assert bool(report) is False


def test_as_the_message_of_an_assert_the_table_is_the_failure():
    """pytest rewrites this assert as it does that of a test of one's own."""
    x = np.array([1.0, 2.0, 3.0])
    report = tr.check_gradient(lambda x: np.sum(x**2), lambda x: x, x)
    with pytest.raises(AssertionError) as caught:
        assert report.ok, report
    assert "constant factor 0.5: a 2 is missing" in str(caught.value)
    assert "worst rel. error" in str(caught.value)


def test_a_gradient_that_is_not_finite_at_a_kink_is_reported():
    with np.errstate(invalid="ignore"):
        report = tr.check_gradient(np.linalg.norm, lambda x: x / np.linalg.norm(x), np.zeros(3))
    assert not report.ok
    assert "the given value, which is not finite, lies outside" in str(report)
