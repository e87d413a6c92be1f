"""Mutants of right gradients are all found, and none is given a cause that is not its own."""

from collections import Counter

import numpy as np
import pytest

import tinyreg as tr
from tests.support.mutants import Case, mutants, random_network, right_gradient, score


def check(case: Case, gradient):
    return tr.check_gradients(
        case.objective, case.X, case.y, sample_weight=case.weight, masks=case.masks,
        gradient=gradient,
    )  # fmt: skip


def scores(count, seed):
    """How often each score, for mutants that are all found."""
    counts = Counter()
    for mutant in mutants(count, seed):
        report = check(mutant.case, mutant.given)
        assert not report.ok, mutant.name
        told = score(mutant, report)
        assert told != "false", f"{mutant.name}: {mutant.cause}\n{report}"
        counts[told] += 1
    return counts


@pytest.mark.slow
def test_mutants_are_found_and_seven_in_ten_are_told_their_true_cause_and_none_a_false_one():
    n = 160  # benchmarks/gradient_check.py takes more
    counts = scores(n, seed=2)
    assert counts["cause"] >= 0.7 * n, counts
    assert counts["cause"] + counts["place"] >= 0.85 * n, counts


@pytest.mark.parametrize("seed", range(20))
def test_the_right_gradients_of_the_same_networks_pass(seed):
    case = random_network(np.random.default_rng(seed))
    report = check(case, right_gradient(case))
    assert report.ok, str(report)


@pytest.mark.parametrize("seed", range(20))
def test_the_backward_pass_that_is_mutated_is_right(seed):
    case = random_network(np.random.default_rng([seed, 1]))
    F, params = case.objective, case.objective.net.params
    trace = F.net.trace(case.X, params, case.masks)
    gradient = F.net.backward(trace, F.loss.gradient(trace.outputs, case.y, case.weight))
    F.add_subgradient(gradient, params)
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(right_gradient(case), gradient, rtol=1e-10, atol=1e-13 * largest)
