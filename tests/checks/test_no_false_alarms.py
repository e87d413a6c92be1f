"""Right gradients pass whole, wherever they are taken; and what passes there is not blind."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import STATES, random_case, trained_case
from tinyreg.core.layers import ACTIVATIONS

NETS = 120  # benchmarks/gradient_check.py takes more


@pytest.mark.slow
def test_no_false_alarm_on_a_random_net_of_each_kind():
    seen = set()
    for seed in range(1000):
        objective, X, y, sample_weight, state = random_case(seed)
        kind = state, objective.net.activation, type(objective.loss)
        if kind in seen:
            continue
        seen.add(kind)
        report = tr.check_gradients(objective, X, y, sample_weight=sample_weight)
        assert report.ok, f"case {seed}, {state}: {report}"
        assert report.notes == [], f"case {seed}, {state}"
    assert len(seen) == len(STATES) * len(ACTIVATIONS) * 3


@pytest.mark.slow
def test_no_false_alarm_on_nets_trained_to_sparsity():
    zeros = kinks = 0
    for seed in range(NETS):
        objective, X, y, sample_weight = trained_case(seed)
        report = tr.check_gradients(objective, X, y, sample_weight=sample_weight)
        assert report.ok, f"case {seed}: {report}"
        assert report.notes == [], f"case {seed}"
        net = objective.net
        zeros += np.mean(net.params[: net.n_weights] == 0) / NETS
        kinks += sum(row["kink"] for row in report.rows)
    assert zeros > 0.5
    assert kinks > 1_200


@pytest.mark.slow
def test_one_coordinate_off_by_a_thousandth_is_found_on_the_same_nets():
    tried = 0
    for seed in range(40):
        objective, X, y, sample_weight, state = random_case(seed)
        gradient = objective.gradient(X, y, sample_weight=sample_weight)
        right = tr.check_gradients(objective, X, y, sample_weight=sample_weight, gradient=gradient)
        smooth = np.concatenate(
            [right.details[f"W{i + 1}"].verdict.ravel() for i in range(len(objective.net.weights))]
            + [right.details[f"b{i + 1}"].verdict for i in range(len(objective.net.weights))]
        )
        size = np.abs(gradient) * (smooth == "match")
        large = np.flatnonzero(size > 1e-3 * max(size.max(), 1e-6))
        if not large.size:
            continue
        tried += 1
        place = np.random.default_rng(seed).choice(large)
        gradient[place] *= 1.001
        wrong = tr.check_gradients(objective, X, y, sample_weight=sample_weight, gradient=gradient)
        found = sum(row["mismatch"] for row in wrong.rows)
        assert found == 1, f"case {seed}, {state}: {wrong}"
    assert tried > 24


@pytest.mark.slow
def test_no_false_alarm_where_only_values_are_known():
    """The same on small nets, each parameter perturbed through objective.value."""
    for seed in range(60):
        objective, X, y, sample_weight, state = random_case(seed, max_width=4, max_depth=2)
        report = tr.check_gradients(objective, X, y, sample_weight=sample_weight, plain=True)
        assert report.ok, f"case {seed}, {state}: {report}"


@pytest.mark.parametrize("seed", range(24))
def test_a_sample_of_them(seed):
    objective, X, y, sample_weight, _ = random_case(seed, max_width=12, max_depth=3)
    tr.check_gradients(objective, X, y, sample_weight=sample_weight).raise_if_failed()
