"""Every planted bug is found by the check that a user would call, and none by a crash."""

import numpy as np
import pytest

from tests.support.planted import BUGS

KINK_FREE = [bug for bug in BUGS if bug.pair is not None and ">=" not in bug.name]


def test_there_are_many_bugs_and_their_names_differ():
    assert len(BUGS) >= 40
    assert len({bug.name for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug):
    with bug.plant():
        report = bug.report()
    assert not report.ok, str(report)


@pytest.mark.parametrize(
    "bug", [b for b in BUGS if not b.name.startswith(("layer", "penalty's"))], ids=lambda b: b.name
)
def test_without_the_bug_the_same_check_passes(bug):
    report = bug.report()
    assert report.ok, str(report)
    assert all(row["inconclusive"] == 0 for row in report.rows)


@pytest.mark.parametrize("bug", KINK_FREE, ids=lambda bug: bug.name)
def test_each_planted_gradient_really_is_wrong(bug):
    """Told apart from the derivative along one direction, by differences written out here."""
    with bug.plant():
        f, gradient, x = bug.pair()
        g = gradient(x)
        off = 0.0
        for seed in range(4):
            v = np.random.default_rng(seed).normal(size=x.shape)
            h = 1e-5
            slope = (8 * (f(x + h * v) - f(x - h * v)) - f(x + 2 * h * v) + f(x - 2 * h * v)) / (
                12 * h
            )
            off = max(off, abs(slope - g @ v))
    assert off > 1e-9, bug.name
