"""The group lasso against exact minimisers, convexity, and a problem with a proved minimum."""

import itertools

import numpy as np
import pytest

import tinyreg as tr
from tests.support.derivatives import central, complex_step, relative_error
from tests.support.groups import LAM, D, K, N, exact_prox, least_squares, proved_minimum
from tests.support.problems import assert_gradient_is_right, problem
from tinyreg import L1, L2, ElasticNet, GroupLasso
from tinyreg.sparsity import groups as groups_module
from tinyreg.sparsity.groups import scaled_block_threshold

PENALTIES = [
    GroupLasso(0.7, axis=1),
    GroupLasso(0.7, axis=0),
    GroupLasso(0.4, axis=1, l1=0.3),
    GroupLasso(0.4, axis=0, l2=0.3),
    GroupLasso(0.5, axis=1, l1=0.2, l2=0.4),
    GroupLasso(0.0, axis=0, l1=0.5, l2=0.1),
    GroupLasso(0.0, axis=1),
]
penalties = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)


def random(shape=(4, 3), seed=0):
    return 2 * np.random.default_rng(seed).normal(size=shape)


def steps(shape=(4, 3), seed=0, low=0.02, high=2.0):
    rng = np.random.default_rng(100 + seed)
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def groups(R, W):
    """The rows or columns of W, one after the other."""
    return list(W if R.axis == 1 else W.T)


def with_zeros(W):
    """W with a row and a column of zeros, and one more single zero."""
    W = W.copy()
    W[1], W[:, 2], W[0, 0] = 0, 0, 0
    return W


def test_value_by_hand():
    W = np.array([[3.0, 4.0], [0.0, 0.0], [5.0, -12.0]])
    root2, root3 = np.sqrt(2), np.sqrt(3)
    assert GroupLasso(0.5, axis=1).value(W) == pytest.approx(0.5 * root2 * 18, rel=1e-15)
    columns = np.sqrt(34) + np.sqrt(160)
    assert GroupLasso(0.5, axis=0).value(W) == pytest.approx(0.5 * root3 * columns, rel=1e-15)
    both = GroupLasso(0.5, axis=1, l1=0.1, l2=0.01).value(W)
    assert both == pytest.approx(0.5 * root2 * 18 + 0.1 * 24 + 0.01 * 194, rel=1e-15)


def test_subgradient_by_hand():
    W = np.array([[3.0, -4.0], [0.0, 0.0]])
    root2 = np.sqrt(2)
    expected = [[0.6 * root2, -0.8 * root2], [0, 0]]
    np.testing.assert_allclose(GroupLasso(1.0, axis=1).subgradient(W), expected, rtol=1e-15)
    np.testing.assert_array_equal(GroupLasso(1.0, axis=0).subgradient(W) / root2, np.sign(W))


@penalties
def test_axis_is_that_of_numpys_norm(penalty):
    W = random()
    norms = np.linalg.norm(W, axis=penalty.axis) * np.sqrt(W.shape[penalty.axis])
    rest = penalty.l1 * np.abs(W).sum() + penalty.l2 * (W**2).sum()
    assert penalty.value(W) == pytest.approx(penalty.lam * norms.sum() + rest, rel=1e-14)


@penalties
def test_the_other_axis_is_the_transposed_matrix(penalty):
    other = GroupLasso(penalty.lam, 1 - penalty.axis, penalty.l1, penalty.l2)
    W, t, g = with_zeros(random()), steps(), random(seed=1)
    assert penalty.value(W) == pytest.approx(other.value(W.T), rel=1e-15)
    for mine, theirs in [
        (penalty.subgradient(W), other.subgradient(W.T)),
        (penalty.prox(W, 0.3), other.prox(W.T, 0.3)),
        (penalty.prox(W, t), other.prox(W.T, t.T)),
        (penalty.residual(W, g), other.residual(W.T, g.T)),
    ]:
        np.testing.assert_allclose(mine, theirs.T, rtol=1e-13, atol=1e-15)


@penalties
def test_subgradient_is_the_derivative_away_from_zero(penalty):
    W = random()
    assert relative_error(penalty.subgradient(W), central(penalty.value, W)) <= 1e-7
    assert relative_error(penalty.subgradient(W), complex_step(penalty.value, W)) <= 1e-12


@penalties
def test_the_complex_step_takes_the_subgradients_branch_at_zero(penalty):
    # A group at 0 has subgradient 0; a number at 0 in a group that is not, the norm's slope 0.
    W = with_zeros(random())
    slope = complex_step(penalty.value, W)
    np.testing.assert_allclose(slope, penalty.subgradient(W), rtol=1e-12, atol=1e-14)
    zeros = np.zeros((4, 3))
    assert not complex_step(penalty.value, zeros).any()
    nudged = penalty.subgradient(zeros + 1e-30j * random())
    np.testing.assert_allclose(nudged.imag / 1e-30, 2 * penalty.l2 * random(), rtol=1e-15)
    assert not nudged.real.any()


@penalties
def test_subgradient_inequality(penalty):
    # R(V) ≥ R(W) + s·(V − W), at W = 0 and with groups at 0 as well.
    points = [random(seed=seed) for seed in range(20)]
    points += [np.zeros((4, 3)), with_zeros(random()), 1e-12 * random(), 100 * random(seed=1)]
    for W, V in itertools.product(points, points):
        lower = penalty.value(W) + np.vdot(penalty.subgradient(W), V - W)
        assert penalty.value(V) >= lower - 1e-12 * (1 + abs(lower))


@penalties
@pytest.mark.parametrize("kind", ["small step", "step", "large step", "a step for each"])
def test_prox_is_the_minimiser(penalty, kind):
    for seed in range(3):
        W = random(seed=seed)
        t = {"small step": 0.05, "step": 0.4, "large step": 1.5}.get(kind, steps(seed=seed))
        found, each = np.empty_like(W), np.broadcast_to(t, W.shape)
        for w, c, u in zip(*(groups(penalty, a) for a in (W, each, found)), strict=True):
            u[:] = exact_prox(w, c, penalty.lam * np.sqrt(len(w)), penalty.l1, penalty.l2)
        p = penalty.prox(W, t)

        def f(U, W=W, t=t):
            return penalty.value(U) + ((U - W) ** 2 / (2 * np.broadcast_to(t, W.shape))).sum()

        assert f(p) <= f(found) + 1e-12
        np.testing.assert_allclose(p, found, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(p == 0, found == 0)
        # And nothing near it is better.
        rng = np.random.default_rng(seed)
        for size in (1e-6, 1e-3, 0.1):
            for _ in range(20):
                assert f(p) <= f(p + size * rng.normal(size=p.shape)) + 1e-13


@penalties
@pytest.mark.parametrize("t", [0.05, 0.4, 1.5, None])
def test_prox_meets_its_optimality_condition(penalty, t):
    # (W − P)/t ∈ ∂R(P), that is: −g has distance 0 to ∂R(P) for g = (P − W)/t.
    for seed in range(20):
        W = random(seed=seed)
        t_each = steps(seed=seed) if t is None else t
        p = penalty.prox(W, t_each)
        assert penalty.residual(p, (p - W) / t_each).max() <= 1e-12 / np.min(t_each)


@pytest.mark.parametrize("n", [1, 2, 10, 300])
@pytest.mark.parametrize("spread", [0, 1, 4, 8])
def test_the_root_is_found_for_thresholds_of_any_size(monkeypatch, n, spread):
    monkeypatch.setattr(groups_module, "NEWTON_STEPS", 12)
    rng = np.random.default_rng(n)
    w = rng.normal(size=(200, n)) * 10 ** rng.uniform(-spread, spread, (200, n))
    c = 10 ** rng.uniform(-spread, spread, (200, n))
    w[rng.random(w.shape) < 0.2] = 0
    c[rng.random(c.shape) < 0.1] = 0
    u = scaled_block_threshold(w, c)
    alive = u.any(axis=1)
    slopes = np.divide(w, c, out=np.where(w == 0, 0.0, np.inf), where=c > 0)
    np.testing.assert_array_equal(alive, (slopes**2).sum(axis=1) > 1)
    u, w, c = u[alive], w[alive], c[alive]
    error = c * u / np.linalg.norm(u, axis=1, keepdims=True) + u - w
    assert np.all(np.abs(error) <= 1e-14 * (np.abs(w) + c))


def test_a_zero_with_threshold_zero_is_no_division_by_zero():
    # ν starts at 0 here: no bound from below is positive.
    u = scaled_block_threshold(np.array([[0.0, 1.0, 1.0]]), np.array([[0.0, 1.0, 3.0]]))
    assert u[0, 0] == 0
    w, c, u = np.array([1.0, 1.0]), np.array([1.0, 3.0]), u[0, 1:]
    np.testing.assert_allclose(c * u / np.linalg.norm(u) + u, w, rtol=1e-14)


@penalties
def test_one_step_is_that_step_for_each(penalty):
    for seed, t in itertools.product(range(10), [0.0, 0.05, 0.4, 1.5]):
        W = with_zeros(random(seed=seed)) if seed % 2 else random(seed=seed)
        one, each = penalty.prox(W, t), penalty.prox(W, np.full(W.shape, t))
        np.testing.assert_allclose(each, one, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(each == 0, one == 0)


@penalties
def test_the_groups_do_not_see_one_another(penalty):
    W, t = random(), steps()
    together = groups(penalty, penalty.prox(W, t))
    for i, (w, c) in enumerate(zip(groups(penalty, W), groups(penalty, t), strict=True)):
        alone = GroupLasso(penalty.lam, 1, penalty.l1, penalty.l2).prox(w[None], c[None])
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-13, atol=1e-16)


@penalties
def test_prox_is_firmly_nonexpansive(penalty):
    # In the metric of the steps: Σ (p − q)²/t ≤ Σ (p − q)(a − b)/t.
    for seed in range(50):
        a, b, t = random(seed=seed), random(seed=seed + 1000), steps(seed=seed)
        for step in (0.4, t):
            difference = penalty.prox(a, step) - penalty.prox(b, step)
            left, right = (difference**2 / step).sum(), (difference * (a - b) / step).sum()
            assert left <= right + 1e-12 * (1 + abs(right))


@penalties
def test_three_point_inequality(penalty):
    # For P = prox(W) and any U:  R(P) + |P−W|²/2t + |U−P|²/2t ≤ R(U) + |U−W|²/2t.
    for seed in range(50):
        W, U, t = random(seed=seed), random(seed=seed + 1000), steps(seed=seed)
        for step in (0.4, t):
            P = penalty.prox(W, step)
            left = penalty.value(P) + (((P - W) ** 2 + (U - P) ** 2) / (2 * step)).sum()
            assert left <= penalty.value(U) + ((U - W) ** 2 / (2 * step)).sum() + 1e-11


@pytest.mark.parametrize("axis", [0, 1])
def test_a_group_within_reach_becomes_exactly_zero_and_no_other_does(axis):
    R = GroupLasso(1.0, axis)
    W = np.array([[3.0, 4.0], [-0.6, 0.8], [1.01, -1.0], [0.0, 0.0]])
    W = W if axis == 1 else W.T
    root2 = np.sqrt(2)
    for t in (1.0, np.ones(W.shape)):
        p = groups(R, R.prox(W, t))
        np.testing.assert_allclose(p[0], [3 * (1 - root2 / 5), 4 * (1 - root2 / 5)], rtol=1e-13)
        for zero in (p[1], p[3]):
            np.testing.assert_array_equal(zero, [0, 0])
            assert not np.signbit(zero).any()
        assert np.all(p[2] != 0)  # ‖(1.01, −1)‖ is beyond √2, but not by much
    # One step each: number 1 is hardly held by its own step, and keeps the group alive.
    t = np.array([[1.0, 1.0], [1.0, 1e-3], [1.0, 1.0], [1.0, 1.0]])
    p = groups(R, R.prox(W, t if axis == 1 else t.T))
    assert np.all(p[1] != 0)
    assert abs(p[1][1]) > 0.79


def test_the_prox_of_a_subset_is_not_the_step_of_another():
    # The slip to beware of: √|g| forgotten, or one step for the whole group.
    W, t = np.array([[2.0, 2.0]]), np.array([[0.1, 1.0]])
    p = GroupLasso(1.0, axis=1).prox(W, t)
    for wrong in (0.1, 1.0, 0.55):
        assert np.abs(p - GroupLasso(1.0, axis=1).prox(W, wrong)).max() > 0.05


def test_group_of_one_is_l1():
    W, t = random((6, 1)), steps((6, 1))
    group, single = GroupLasso(0.5, axis=1), L1(0.5)
    g = random((6, 1), 1)
    W[2] = 0
    assert group.value(W) == pytest.approx(single.value(W), rel=1e-15)
    np.testing.assert_array_equal(group.subgradient(W), single.subgradient(W))
    np.testing.assert_allclose(group.residual(W, g), single.residual(W, g), rtol=1e-14)
    for step in (0.4, t):
        np.testing.assert_allclose(group.prox(W, step), single.prox(W, step), rtol=1e-13)
    at_the_edge = group.prox(np.array([[-0.5], [0.5], [-0.0]]), 1.0)
    assert not at_the_edge.any()
    assert not np.signbit(at_the_edge).any()


def test_lambda_zero_is_elastic_net():
    W, t, g = with_zeros(random()), steps(), random(seed=1)
    group, plain = GroupLasso(0.0, 1, 0.3, 0.2), ElasticNet(0.3, 0.2)
    assert group.value(W) == plain.value(W)
    np.testing.assert_array_equal(group.subgradient(W), plain.subgradient(W))
    np.testing.assert_allclose(group.residual(W, g), plain.residual(W, g), rtol=1e-14)
    for step in (0.4, t):
        np.testing.assert_allclose(group.prox(W, step), plain.prox(W, step), rtol=1e-13)


@penalties
def test_residual_is_the_distance_to_the_set_of_subgradients(penalty):
    # At a group that is 0: κ·ball + l1·box, from whose nearest point to −g an exact prox leads to
    # −g. Elsewhere one slope, but for a single 0 under l1, where it is an interval.
    W, g = with_zeros(random((5, 4))), random((5, 4), 1)
    got = groups(penalty, penalty.residual(W, g))
    zero_groups = 0
    for w, g_g, r in zip(groups(penalty, W), groups(penalty, g), got, strict=True):
        n, kappa = len(w), penalty.lam * np.sqrt(len(w))
        if w.any():
            pull = kappa * w / np.linalg.norm(w) + 2 * penalty.l2 * w
            low = pull + penalty.l1 * np.where(w == 0, -1, np.sign(w))
            high = pull + penalty.l1 * np.where(w == 0, 1, np.sign(w))
            expected = np.abs(-g_g - np.clip(-g_g, low, high))
            np.testing.assert_allclose(r, expected, rtol=1e-12, atol=1e-14)
            continue
        zero_groups += 1
        expected = np.abs(exact_prox(-g_g, np.ones(n), kappa, penalty.l1))
        np.testing.assert_allclose(r, expected, rtol=1e-12, atol=1e-14)
    assert zero_groups == 1


def test_residual_by_hand():
    R, zeros = GroupLasso(1.0, axis=1), np.zeros((1, 2))
    root2 = np.sqrt(2)
    np.testing.assert_array_equal(R.residual(zeros, np.array([[1.0, -1.0]])), zeros)
    g = np.array([[6.0, -8.0]])  # 10 − √2 beyond the ball, in the direction of g
    np.testing.assert_allclose(R.residual(zeros, g), (10 - root2) * np.array([[0.6, 0.8]]))
    assert R.residual(np.array([[3.0, 4.0]]), -root2 * np.array([[0.6, 0.8]])).max() <= 1e-15


@penalties
def test_moreau(penalty):
    # The distance vector to ∂R(0) is a prox as well: that of −g with step 1, without l2.
    g = random(seed=4)
    R = GroupLasso(penalty.lam, penalty.axis, penalty.l1)
    np.testing.assert_allclose(
        penalty.residual(np.zeros_like(g), g), np.abs(R.prox(-g, 1.0)), rtol=1e-14
    )


@penalties
def test_prox_of_step_zero_is_the_identity(penalty):
    for W in (random(), with_zeros(random()), np.zeros((4, 3))):
        np.testing.assert_array_equal(penalty.prox(W, 0.0), W)
        np.testing.assert_allclose(penalty.prox(W, np.zeros_like(W)), W, rtol=1e-15)


@penalties
def test_nan_stays_nan_and_in_its_group(penalty):
    W = random()
    W[1, 2] = np.nan
    ill = np.zeros((4, 3), bool)
    ill[(1, slice(None)) if penalty.axis == 1 else (slice(None), 2)] = True
    assert np.isnan(penalty.value(W))
    for p in (penalty.prox(W, 0.4), penalty.prox(W, steps()), penalty.residual(W, W)):
        assert np.isnan(p[1, 2])
        assert not np.isnan(p[~ill]).any()


@penalties
@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e150])
def test_squares_neither_overflow_nor_vanish(penalty, size):
    W = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    R = GroupLasso(penalty.lam, penalty.axis)
    assert R.value(size * W) == pytest.approx(size * R.value(W), rel=1e-3)
    np.testing.assert_allclose(R.subgradient(size * W), R.subgradient(W), rtol=1e-3)
    for t in (0.1, steps((3, 2))):
        np.testing.assert_allclose(
            R.prox(size * W, size * t) / size, R.prox(W, t), rtol=2e-3, atol=1e-3
        )


@penalties
@pytest.mark.parametrize("exponent", [-1022, -300, 300, 1018])
def test_nothing_but_the_scale_changes_with_the_scale(penalty, exponent):
    # A power of 2 changes no digit of ‖w‖, of w/‖w‖ or of the prox, as long as all are floats.
    W, t, g = with_zeros(random()), steps(), random(seed=1)
    R, c = GroupLasso(penalty.lam, penalty.axis, penalty.l1), 2.0**exponent
    big, few = c * W, c * t
    W, t = big / c, few / c  # with the digits that a number near 1e-308 has
    assert R.value(big) / c == pytest.approx(R.value(W), rel=1e-12)
    np.testing.assert_allclose(R.subgradient(big), R.subgradient(W), rtol=1e-15)
    np.testing.assert_array_equal(R.residual(big, g), R.residual(W, g))
    zeros = np.zeros_like(W)
    same = GroupLasso(c * penalty.lam, penalty.axis, c * penalty.l1).residual(zeros, big)
    np.testing.assert_allclose(same / c, R.residual(zeros, W), rtol=1e-12, atol=1e-15)
    for one, many in ((c * 0.5, 0.5), (few, t)):
        scaled, plain = R.prox(big, one) / c, R.prox(W, many)
        np.testing.assert_allclose(scaled, plain, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(scaled == 0, plain == 0)


@penalties
@pytest.mark.parametrize("size", [5e-324, 1e-320, 1e-300, 1e300, 1e308])
def test_the_smallest_and_the_largest_rows_go_through_everything(penalty, size):
    W = size * np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    R, n = GroupLasso(penalty.lam, penalty.axis, penalty.l1), W.shape[penalty.axis]
    lengths = np.sqrt((np.sign(W) ** 2).sum(axis=penalty.axis, keepdims=True))
    pull = penalty.lam * np.sqrt(n) * np.sign(W) / np.where(lengths, lengths, 1)
    np.testing.assert_allclose(R.subgradient(W) - penalty.l1 * np.sign(W), pull, rtol=1e-14)
    np.testing.assert_array_equal(R.residual(W, 0 * W), np.abs(R.subgradient(W)))
    if size < 1e307:
        whole = (penalty.lam * np.sqrt(n) * lengths).sum() + penalty.l1 * np.abs(np.sign(W)).sum()
        assert R.value(W) == pytest.approx(whole * size, rel=1e-3, abs=1e-323)
    for step in (0.0, np.zeros_like(W), 1e-323, np.full_like(W, 5e-324)):
        np.testing.assert_allclose(R.prox(W, step), W, rtol=1e-14, atol=1e-322)
    reach = penalty.lam or penalty.l1
    for step in (1.7e308, np.full_like(W, 1.7e308)):
        if reach and size < 1e307:
            assert not R.prox(W, step).any()
        elif not reach:
            np.testing.assert_array_equal(R.prox(W, step), W)
    if size < 1e307:
        at_zero = R.residual(0 * W, W)
        assert np.isfinite(at_zero).all()
        assert at_zero.any() == (size > 1 or reach == 0)


@penalties
def test_steps_from_nothing_to_the_largest_side_by_side(penalty):
    # A number that costs nothing to move is free, one that costs all stays; a row mixes them.
    W, t = random(), np.full((4, 3), 0.3)
    t[::2, 1], t[1::2, 2], t[3, 0] = 0.0, 1.7e308, 1e-320
    p = penalty.prox(W, t)
    assert np.isfinite(p).all()
    assert np.all(np.abs(p) <= np.abs(W))
    np.testing.assert_allclose(p[t == 0], W[t == 0], rtol=1e-15)
    for zeros in (p[p == 0], penalty.prox(-W, t)[p == 0]):
        assert not np.signbit(zeros).any()
    if penalty.lam or penalty.l1 or penalty.l2:
        assert np.abs(p[t > 1e300]).max() <= 1e-300
    for R in (penalty, penalty + L1(0.1), penalty + L2(0.1), penalty + ElasticNet(0.1, 0.1)):
        for bad in (np.inf, np.nan, -1.0):
            t[2, 2] = bad
            with pytest.raises(ValueError, match="step must be finite numbers >= 0"):
                R.prox(W, t)


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-31, 1.0, 1e200, 1e307])
def test_the_complex_step_is_right_beside_a_row_of_any_size(size):
    W, v = size * random(), random(seed=1)
    for R in PENALTIES:
        R = GroupLasso(R.lam, R.axis, R.l1)
        slope = R.value(W + 1e-30j * v).imag / 1e-30
        assert slope == pytest.approx(np.vdot(R.subgradient(W), v), rel=1e-12, abs=1e-13)
    # The curvature κ (I − w wᵀ/‖w‖²)/‖w‖ falls as ‖w‖ grows.
    R, nudge = GroupLasso(0.7, axis=1), 1e-30j * v
    if not 1e-300 <= size <= 1e200:
        return
    curved = R.subgradient(W + nudge).imag * size
    np.testing.assert_allclose(curved, R.subgradient(W / size + nudge).imag, rtol=1e-12, atol=1e-42)


@penalties
def test_float32_stays_float32_and_nothing_is_changed(penalty):
    W = with_zeros(random()).astype(np.float32)
    g, t = random(seed=1).astype(np.float32), steps().astype(np.float32)
    for array in (W, g, t):
        array.flags.writeable = False
    exact = W.astype(float), g.astype(float), t.astype(float)
    for single, double in [
        (penalty.subgradient(W), penalty.subgradient(exact[0])),
        (penalty.prox(W, 0.1), penalty.prox(exact[0], 0.1)),
        (penalty.prox(W, t), penalty.prox(exact[0], exact[2])),
        (penalty.residual(W, g), penalty.residual(exact[0], exact[1])),
    ]:
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-6)


def test_it_is_neither_smooth_nor_elementwise_and_the_others_are():
    assert (GroupLasso(1.0, 1).smooth, GroupLasso(1.0, 1).elementwise) == (False, False)
    assert all(R.elementwise for R in (L1(1.0), L2(1.0), ElasticNet(1.0, 1.0)))
    with pytest.raises(AttributeError):
        GroupLasso(1.0, 1).lam = 2.0


# Sums of penalties


GROUP = GroupLasso(0.5, 1, 0.25, 0.125)


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (L1(0.5), L1(0.25), L1(0.75)),
        (L2(0.5), L2(0.25), L2(0.75)),
        (L1(0.5), L2(0.25), ElasticNet(0.5, 0.25)),
        (L1(0.5), ElasticNet(0.25, 1.0), ElasticNet(0.75, 1.0)),
        (L2(0.5), ElasticNet(0.25, 1.0), ElasticNet(0.25, 1.5)),
        (ElasticNet(0.5, 2.0), ElasticNet(0.25, 1.0), ElasticNet(0.75, 3.0)),
        (GROUP, L1(0.5), GroupLasso(0.5, 1, 0.75, 0.125)),
        (GROUP, L2(0.5), GroupLasso(0.5, 1, 0.25, 0.625)),
        (GROUP, ElasticNet(0.5, 1.0), GroupLasso(0.5, 1, 0.75, 1.125)),
        (GROUP, GroupLasso(1.0, 1), GroupLasso(1.5, 1, 0.25, 0.125)),
        (GroupLasso(1.0, 0), GroupLasso(1.0, 0, 0.5), GroupLasso(2.0, 0, 0.5)),
    ],
)
def test_sums_with_a_known_prox(a, b, total):
    assert a + b == b + a == total
    W = with_zeros(random())
    assert total.value(W) == pytest.approx(a.value(W) + b.value(W), rel=1e-14)
    np.testing.assert_allclose(
        total.subgradient(W), a.subgradient(W) + b.subgradient(W), rtol=1e-13
    )


class MyL1(L1):
    """May have a prox of its own."""


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (GroupLasso(1.0, 0), GroupLasso(1.0, 1)),
        (L1(1.0), MyL1(2.0)),
        (MyL1(2.0), GroupLasso(1.0, 1)),
        (L2(1.0), 3),
        (ElasticNet(1.0, 1.0), None),
        (GroupLasso(1.0, 1), "l1"),
        (L1(1.0), L2),
    ],
)
def test_other_sums_are_refused_by_name(a, b):
    with pytest.raises(TypeError, match="a \\+ b must be of L1, L2, ElasticNet and Group") as e:
        a + b
    for R in (a, b):
        assert (R.__name__ if isinstance(R, type) else type(R).__name__) in str(e.value)


def test_a_sum_from_nothing_is_refused():
    with pytest.raises(TypeError, match=r"int.*L1"):
        sum([L1(1.0), L2(1.0)])


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"lam": -1e-9}, ValueError, "lam must be a finite number >= 0, got"),
        ({"lam": np.nan}, ValueError, "lam must be a finite number >= 0, got nan"),
        ({"lam": "1"}, TypeError, "lam must be a finite number >= 0, got str '1'"),
        ({"lam": [0.1, 0.2]}, TypeError, "lam must be a finite number >= 0, got list"),
        ({"l1": -1.0}, ValueError, "l1 must be a finite number >= 0, got -1.0"),
        ({"l2": np.inf}, ValueError, "l2 must be a finite number >= 0, got inf"),
        ({"l2": None}, TypeError, "l2 must be a finite number >= 0, got NoneType"),
        ({"axis": 2}, ValueError, r"axis must be 0 \(columns\) or 1 \(rows\), got 2"),
        ({"axis": -1}, ValueError, "axis must be an integer >= 0, got -1"),
        ({"axis": 1.0}, TypeError, "axis must be an integer >= 0, got float 1.0"),
        ({"axis": "rows"}, TypeError, "axis must be an integer >= 0, got str 'rows'"),
        ({"axis": True}, TypeError, "axis must be an integer >= 0, got bool True"),
        ({"axis": None}, TypeError, "axis must be an integer >= 0, got NoneType"),
    ],
)
def test_a_bad_argument_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        GroupLasso(**{"lam": 1.0, "axis": 1} | arguments)


def test_axis_has_to_be_said():
    with pytest.raises(TypeError, match="axis"):
        GroupLasso(1.0)


@pytest.mark.parametrize("w", [np.ones(4), np.ones((2, 2, 2)), np.array(1.0)])
def test_anything_but_a_matrix_is_refused(w):
    R = GroupLasso(1.0, axis=1)
    for call in (R.value, R.subgradient, lambda w: R.prox(w, 0.1), lambda w: R.residual(w, w)):
        with pytest.raises(ValueError, match="w must be a weight matrix with two dimensions"):
            call(w)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (-0.1, ValueError),
        (np.nan, ValueError),
        ("1", TypeError),
        (np.array([[1.0, -1.0]]), ValueError),
        (np.array([[1.0, np.nan]]), ValueError),
        (np.ones(2), ValueError),
        (np.ones((2, 1)), ValueError),
    ],
)
def test_a_bad_step_is_named(step, error):
    with pytest.raises(error, match="step must"):
        GroupLasso(1.0, axis=1).prox(np.array([[1.0, 2.0]]), step)


# In the objective


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("loss", [tr.SoftmaxCrossEntropy(), tr.SquaredError()], ids=repr)
def test_gradient_of_the_objective(loss, penalty):
    assert_gradient_is_right(*problem(loss=loss, penalty=penalty))


def test_each_layers_matrix_is_handed_over():
    penalty = GroupLasso(0.1, axis=1)
    objective, X, y = problem((4, 5, 4, 3), penalty=penalty)
    net = objective.net
    rows = sum(np.sqrt(W.shape[1]) * np.linalg.norm(W, axis=1).sum() for W in objective.net.weights)
    assert objective.terms(X, y).penalty == pytest.approx(0.1 * rows, rel=1e-14)
    p, t = net.params.copy(), steps(net.n_params)
    for step, parts in [(0.7, [0.7] * 3), (t, net.unpack(t)[0])]:
        p = net.params.copy()
        objective.prox(p, step)
        for W, new, c in zip(net.weights, net.unpack(p)[0], parts, strict=True):
            np.testing.assert_array_equal(new, penalty.prox(W, c))
        np.testing.assert_array_equal(p[net.n_weights :], net.params[net.n_weights :])
    g = net.unpack(objective.data_gradient(X, y))[0]
    residual = net.unpack(objective.residual(X, y))[0]
    for W, g_l, r in zip(net.weights, g, residual, strict=True):
        np.testing.assert_array_equal(r, penalty.residual(W, g_l))


def test_lists_mix_groups_with_others():
    mixed = [GroupLasso(0.1, axis=1), L1(0.2), None, GroupLasso(0.3, axis=0) + L2(0.05)]
    objective, X, y = problem((4, 5, 4, 3, 3), penalty=mixed, bias_penalty=L2(0.4))
    W, b = objective.net.weights, objective.net.biases
    expected = 0.1 * np.sqrt(5) * np.linalg.norm(W[0], axis=1).sum()
    expected += 0.2 * np.abs(W[1]).sum()
    expected += 0.3 * np.sqrt(3) * np.linalg.norm(W[3], axis=0).sum() + 0.05 * (W[3] ** 2).sum()
    expected += 0.4 * sum((x**2).sum() for x in b)
    assert objective.terms(X, y).penalty == pytest.approx(expected, rel=1e-14)
    assert_gradient_is_right(objective, X, y)


class Nuclear:
    """A penalty of a user's own that sees the matrix as a whole: λ times its singular values."""

    smooth = False
    elementwise = False

    def value(self, w):
        return 0.1 * np.linalg.svd(w, compute_uv=False).sum()

    def subgradient(self, w):
        u, _, v = np.linalg.svd(w, full_matrices=False)
        return 0.1 * u @ v

    def prox(self, w, step):
        u, s, v = np.linalg.svd(w, full_matrices=False)
        return (u * np.maximum(s - 0.1 * step, 0)) @ v

    def residual(self, w, g):
        return np.abs(g + self.subgradient(w))


def test_a_matrix_penalty_of_ones_own():
    objective, X, y = problem(penalty=Nuclear())
    singular = sum(np.linalg.svd(W, compute_uv=False).sum() for W in objective.net.weights)
    assert objective.terms(X, y).penalty == pytest.approx(0.1 * singular, rel=1e-13)
    gradient = objective.gradient(X, y)
    measured = central(lambda p: objective.value(X, y, p), objective.net.params.copy())
    assert relative_error(gradient, measured) <= 1e-6
    net = objective.net
    tr.fit(
        net, X, y, loss=objective.loss, penalty=Nuclear(), method="proximal",
        optimizer=tr.SGD(0.5), epochs=300, batch_size=6,
    )  # fmt: skip
    assert min(np.linalg.svd(W, compute_uv=False)[-1] for W in net.weights) <= 1e-14


def test_biases_have_no_groups():
    for penalty in (GroupLasso(0.1, axis=1), Nuclear()):
        with pytest.raises(
            TypeError, match=rf"bias_penalty must act on each .*got {type(penalty).__name__}"
        ):
            tr.Objective(tr.MLP((4, 3)), tr.SquaredError(), bias_penalty=penalty)


@pytest.mark.parametrize("axis", [0, 1])
def test_hessian_vector_has_the_curvature_of_the_norms(axis):
    objective, X, y = problem(penalty=GroupLasso(0.1, axis))
    params, v = objective.net.params, np.random.default_rng(9).normal(size=objective.net.n_params)
    h = 1e-6
    difference = (
        objective.gradient(X, y, params + h * v) - objective.gradient(X, y, params - h * v)
    ) / (2 * h)
    assert relative_error(objective.hessian_vector(X, y, v), difference, floor=1.0) <= 1e-7
    # By hand: κ (I − w wᵀ/‖w‖²)/‖w‖ for each group that is not 0, nothing for one that is.
    objective.net.weights[0][1] = 0
    plain = tr.Objective(objective.net, objective.loss)
    product = objective.hessian_vector(X, y, v) - plain.hessian_vector(X, y, v)
    weights, directions = objective.net.weights, objective.net.unpack(v)[0]
    for W, V, part in zip(weights, directions, objective.net.unpack(product)[0], strict=True):
        for w, d, q in zip(*(groups(objective.penalty, a) for a in (W, V, part)), strict=True):
            norm = np.linalg.norm(w)
            if norm == 0:
                np.testing.assert_allclose(q, 0, atol=1e-14)
            else:
                curved = 0.1 * np.sqrt(len(w)) * (d - w * (w @ d) / norm**2) / norm
                np.testing.assert_allclose(q, curved, rtol=1e-9, atol=1e-13)


# A problem with one right answer: no hidden layer, several outputs, least squares.


def train(optimizer, n_steps, method="proximal"):
    X, Y = least_squares()
    net = tr.MLP((D, K), seed=3)
    penalty = GroupLasso(LAM, axis=1)
    tr.fit(
        net, X, Y, loss=tr.SquaredError(), penalty=penalty, method=method, optimizer=optimizer,
        epochs=n_steps, batch_size=N,
    )  # fmt: skip
    objective = tr.Objective(net, tr.SquaredError(), penalty)
    return net, objective.stationarity(X, Y), objective.value(X, Y)


PROXIMAL = {
    "sgd": (tr.SGD(0.2), 2000),
    "heavy ball": (tr.SGD(0.1, momentum=0.9), 1000),
    "nesterov": (tr.SGD(0.1, momentum=0.9, nesterov=True), 1000),
    "adam": (tr.Adam(lambda step: 0.05 * 0.995**step), 3000),
}


@pytest.mark.parametrize("name", PROXIMAL)
def test_every_optimizer_with_a_prox_rests_at_the_solution(name):
    net, stationarity, value = train(*PROXIMAL[name])
    (W,), (b,) = net.weights, net.biases
    best, alive = proved_minimum(W, b)
    assert stationarity <= 1e-8
    assert value == pytest.approx(best, rel=1e-12)
    np.testing.assert_array_equal(W.any(axis=1), alive)
    assert 0 < alive.sum() < D
    assert np.all(W[alive] != 0)  # rows live or die as a whole


@pytest.mark.parametrize("name", ["heavy ball", "nesterov", "adam"])
def test_the_naive_control_does_not(name):
    _, stationarity, _ = train(*PROXIMAL[name], method="naive")
    assert stationarity > 0.1 * LAM


def test_a_subgradient_makes_no_row_zero():
    net, _, _ = train(*PROXIMAL["sgd"], method="subgradient")
    assert net.weights[0].all()


def test_scikit_learns_multi_task_lasso_is_the_same():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="needs the bench extra")
    X, Y = least_squares()
    # (1/2n) ‖Y − X W − b‖² + α Σ ‖w_g‖, so α = λ√K.
    model = linear_model.MultiTaskLasso(LAM * np.sqrt(K), tol=1e-14, max_iter=100_000).fit(X, Y)
    net, _, value = train(*PROXIMAL["heavy ball"])
    W = net.weights[0]
    np.testing.assert_allclose(W, model.coef_.T, atol=1e-7)
    np.testing.assert_array_equal(W == 0, model.coef_.T == 0)
    error = Y - model.predict(X)
    theirs = (error**2).sum() / (2 * N)
    theirs += LAM * np.sqrt(K) * np.linalg.norm(model.coef_, axis=0).sum()
    assert value == pytest.approx(theirs, rel=1e-10)


@pytest.mark.filterwarnings("ignore")  # numba's own, while it compiles
def test_skglms_multi_task_lasso_is_the_same():
    skglm = pytest.importorskip("skglm", reason="needs the bench extra")
    X, Y = least_squares()
    X_centred, Y_centred = X - X.mean(axis=0), Y - Y.mean(axis=0)
    model = skglm.MultiTaskLasso(LAM * np.sqrt(K), tol=1e-12, fit_intercept=False)
    model.fit(X_centred, Y_centred)
    W = train(*PROXIMAL["heavy ball"])[0].weights[0]
    np.testing.assert_allclose(W, model.coef_.T, atol=1e-7)
    np.testing.assert_array_equal(W == 0, model.coef_.T == 0)


def test_the_solution_in_columns_is_that_of_each_output_alone():
    # With axis=0 an output's weights are one group, and least squares has no link between outputs.
    X, Y = least_squares()
    penalty = GroupLasso(0.1, axis=0)
    settings = {
        "loss": tr.SquaredError(), "penalty": penalty, "method": "proximal", "epochs": 1000,
        "optimizer": tr.SGD(0.1, momentum=0.9), "batch_size": N,
    }  # fmt: skip
    net = tr.MLP((D, K), seed=3)
    tr.fit(net, X, Y, **settings)
    assert tr.Objective(net, tr.SquaredError(), penalty).stationarity(X, Y) <= 1e-10
    for k in range(K):
        one = tr.MLP((D, 1), seed=3)
        tr.fit(one, X, Y[:, k], **settings)
        np.testing.assert_allclose(one.weights[0][:, 0], net.weights[0][:, k], atol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_proximal_training_on_digits_kills_whole_rows(dtype):
    X, y = tr.load_digits()
    X, y = X[:300], y[:300]
    net = tr.MLP((64, 16, 10), dtype=dtype, seed=0)
    tr.fit(
        net, X, y, loss=tr.SoftmaxCrossEntropy(), penalty=GroupLasso(3e-3, axis=1),
        method="proximal", epochs=20,
    )  # fmt: skip
    assert net.params.dtype == dtype
    W = net.weights[0]
    dead = ~W.any(axis=1)
    assert 10 <= dead.sum() < 64
    unused = ~X.any(axis=0)  # pixels that are never inked
    assert np.all(dead[unused])
    # Rows live or die as a whole; what else is 0 are the weights into units that are silent.
    heard = W.any(axis=0)
    assert np.all(W[~dead][:, heard] != 0)
