"""Values, subgradients, proxes and residuals against minimisation and against convexity itself."""

from fractions import Fraction

import numpy as np
import pytest

from tests.support.derivatives import central, complex_step, relative_error
from tinyreg import L1, L2, ElasticNet
from tinyreg.core.penalties import l1_l2, soft_threshold

PENALTIES = [L1(0.7), L2(0.7), ElasticNet(0.7, 0.3), ElasticNet(0.0, 0.4), L1(0.0)]
penalties = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
POINTS = np.array([-3.0, -0.71, -0.3, -1e-12, 0.0, 1e-12, 0.2, 0.7, 1.5, 40.0])


def random(n, seed=0):
    return 2 * np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(
    ("penalty", "value"),
    [(L1(0.5), 0.5 * 4.5), (L2(0.5), 0.5 * 7.25), (ElasticNet(2.0, 0.5), 9.0 + 0.5 * 7.25)],
)
def test_value_by_hand(penalty, value):
    assert penalty.value(np.array([1.5, -2.0, 0.0, -1.0])) == pytest.approx(value, rel=1e-15)


def test_l2_gradient_is_exactly_two_lambda_w():
    w, lam = random(1000), 0.123
    np.testing.assert_array_equal(L2(lam).subgradient(w), 2 * lam * w)


def test_l1_subgradient_is_exactly_lambda_sign_w():
    np.testing.assert_array_equal(
        L1(0.3).subgradient(np.array([-2.0, -0.0, 0.0, 1e-300])), [-0.3, 0, 0, 0.3]
    )


@penalties
def test_subgradient_is_the_derivative_away_from_zero(penalty):
    w = random(50)
    assert relative_error(penalty.subgradient(w), central(penalty.value, w)) <= 1e-7
    assert relative_error(penalty.subgradient(w), complex_step(penalty.value, w)) <= 1e-12


@penalties
def test_subgradient_inequality(penalty):
    # R(v) ≥ R(w) + s (v − w), number by number, at w = 0 as well.
    for w in POINTS:
        s = penalty.subgradient(np.array([w]))[0]
        for v in [*random(200, 1), *POINTS]:
            R_v, R_w = penalty.value(np.array([v])), penalty.value(np.array([w]))
            assert R_v >= R_w + s * (v - w) - 1e-12 * (1 + abs(R_v))


def minimiser(l1, l2, w, t):
    """argmin_u l1|u| + l2 u² + (u − w)²/(2t), bisected in exact fractions: the slope rises."""
    l1, l2, w, t = (Fraction(float(x)) for x in (l1, l2, w, t))
    low, high = -abs(w), abs(w)
    for _ in range(100):
        u = (low + high) / 2
        slope = l1 * ((u > 0) - (u < 0)) + 2 * l2 * u + (u - w) / t
        low, high = (u, high) if slope < 0 else (low, u)
    return float(high)


@penalties
@pytest.mark.parametrize("step", [0.05, 1.0, 7.0])
def test_prox_is_the_minimiser(penalty, step):
    for w in POINTS:
        found = minimiser(*l1_l2(penalty), w, step)
        assert penalty.prox(np.array([w]), step)[0] == pytest.approx(found, rel=1e-14, abs=1e-15)


@penalties
@pytest.mark.parametrize("step", [0.05, 1.0, 7.0])
def test_prox_meets_its_optimality_condition(penalty, step):
    # (w − p)/t ∈ ∂R(p), that is: −g has distance 0 to ∂R(p) for g = (p − w)/t.
    w = np.concatenate([POINTS, random(100)])
    p = penalty.prox(w, step)
    assert penalty.residual(p, (p - w) / step).max() <= 1e-12 * 40 / step


@penalties
def test_prox_is_firmly_nonexpansive(penalty):
    a, b = random(500), random(500, 1)
    p, q = penalty.prox(a, 0.8), penalty.prox(b, 0.8)
    assert np.all(np.abs(p - q) <= np.abs(a - b) + 1e-15)
    assert np.all((p - q) ** 2 <= (p - q) * (a - b) + 1e-14)


@penalties
def test_three_point_inequality(penalty):
    # For p = prox_tR(w) and any u:  t R(p) + (p−w)²/2 + (u−p)²/2 ≤ t R(u) + (u−w)²/2.
    t, w, u = 0.8, random(300), random(300, 1)
    p = penalty.prox(w, t)
    for w_i, u_i, p_i in zip(w, u, p, strict=True):
        left = t * penalty.value(np.array([p_i])) + (p_i - w_i) ** 2 / 2 + (u_i - p_i) ** 2 / 2
        assert left <= t * penalty.value(np.array([u_i])) + (u_i - w_i) ** 2 / 2 + 1e-12


def test_moreau_identity_of_l1():
    # The conjugate of λ‖·‖₁ is the indicator of [−λ, λ], whose prox is the clip:
    # w = prox_{tR}(w) + t Π_{[−λ,λ]}(w/t).
    w, lam, t = random(300), 0.7, 0.4
    np.testing.assert_allclose(
        L1(lam).prox(w, t) + t * np.clip(w / t, -lam, lam), w, rtol=1e-14, atol=1e-16
    )


@penalties
def test_a_step_for_each_coordinate_is_that_step_in_each_coordinate(penalty):
    w, steps = random((4, 5)), np.random.default_rng(1).uniform(0.01, 3, (4, 5))
    together = penalty.prox(w, steps)
    for i in np.ndindex(w.shape):
        assert together[i] == penalty.prox(w, steps[i])[i]


@penalties
def test_prox_of_step_zero_is_the_identity(penalty):
    np.testing.assert_array_equal(penalty.prox(POINTS, 0.0), POINTS)


SIZES = [0.0, 5e-324, 1e-310, 1e-200, 1e-3, 1.0, 1e200, 1.7e308]


# Where tλ is beyond all floats, w/(1 + 2tλ) is 0, and less than this in truth.
@pytest.mark.parametrize(("lam", "atol"), [(0.0, 0), (1e-300, 0), (0.3, 2e-323), (1e300, 1e-190)])
def test_prox_is_right_for_numbers_and_steps_of_any_size(lam, atol):
    # In fractions, S_{t l1}(w)/(1 + 2t l2) neither overflows nor vanishes.
    w, t = (a.ravel() for a in np.meshgrid(SIZES, SIZES))
    for penalty in (
        L1(lam),
        L2(lam),
        ElasticNet(lam, lam),
        ElasticNet(0.0, lam),
        ElasticNet(lam, 0.0),
    ):
        l1, l2 = map(Fraction, l1_l2(penalty))
        pairs = [(Fraction(a), Fraction(s)) for a, s in zip(w, t, strict=True)]
        exact = [float(max(a - s * l1, Fraction(0)) / (1 + 2 * s * l2)) for a, s in pairs]
        for sign in (1, -1):
            each = penalty.prox(sign * w, t)
            np.testing.assert_allclose(each, sign * np.array(exact), rtol=1e-15, atol=atol)
            alone = [penalty.prox(np.array([sign * a]), s)[0] for a, s in zip(w, t, strict=True)]
            np.testing.assert_array_equal(alone, each)
            if penalty.smooth is False and l2 == 0:
                np.testing.assert_array_equal(each == 0, np.array(exact) == 0)


def test_a_step_beyond_float32_makes_zeros_in_float32():
    w = np.array([1.0, -2.0, 0.0], np.float32)
    for penalty in (L1(0.5), L2(0.5), ElasticNet(0.5, 0.5)):
        for step in (1e300, np.full(3, 3e38, np.float32)):
            p = penalty.prox(w, step)
            assert p.dtype == np.float32
            assert np.abs(p).max() <= 1e-38


def test_a_part_with_lambda_zero_adds_nothing_to_a_value_that_is_finite():
    w = np.array([1e300, -1e200])
    assert ElasticNet(0.5, 0.0).value(w) == L1(0.5).value(w) == 0.5 * (1e300 + 1e200)


def test_zeros_are_positive_and_nan_stays_nan():
    w = np.array([-0.5, -0.0, 0.0, 0.5, np.nan, -np.inf])
    p = L1(1.0).prox(w, 1.0)
    np.testing.assert_array_equal(p, [0, 0, 0, 0, np.nan, -np.inf])
    assert not np.signbit(p[:4]).any()
    for penalty in PENALTIES:
        assert np.isnan(penalty.prox(w, 0.5)[4])
        assert np.isnan(penalty.value(w))


def test_soft_threshold_is_sign_times_excess():
    w = random(200)
    expected = np.sign(w) * np.maximum(np.abs(w) - 0.6, 0)
    np.testing.assert_allclose(soft_threshold(w, 0.6), expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_residual_is_the_distance_to_the_set_of_subgradients(lam):
    # Brute force: the set at 0 is sampled, elsewhere it is one slope.
    w, g = np.repeat([-1.0, 0.0, 2.0], 5), np.tile([-2.0, -0.5, 0.1, 0.5, 0.9], 3)
    for penalty, slope in [(L1(lam), 0.0), (ElasticNet(lam, 0.3), 0.6), (L2(0.3), 0.6)]:
        kink = 0.0 if isinstance(penalty, L2) else lam
        expected = []
        for w_i, g_i in zip(w, g, strict=True):
            signs = np.linspace(-1, 1, 2001) if w_i == 0 else np.array([np.sign(w_i)])
            expected.append(np.min(np.abs(-g_i - (kink * signs + slope * w_i))))
        np.testing.assert_allclose(penalty.residual(w, g), expected, atol=1e-3 * lam + 1e-15)


@penalties
def test_float32_stays_float32_and_nothing_is_changed(penalty):
    w = random(6).astype(np.float32)
    w.flags.writeable = False
    g = np.ones(6, np.float32)
    assert penalty.subgradient(w).dtype == np.float32
    assert penalty.prox(w, 0.1).dtype == np.float32
    assert penalty.prox(w, np.full(6, 0.1, np.float32)).dtype == np.float32
    assert penalty.residual(w, g).dtype == np.float32


def test_a_numpy_number_as_lambda_keeps_float32_and_prints_plainly():
    w = random(6).astype(np.float32)
    for penalty in (L1(np.float64(0.5)), L2(np.float64(0.5)), ElasticNet(np.float64(0.5), 0.1)):
        assert penalty.prox(w, 0.1).dtype == penalty.subgradient(w).dtype == np.float32
        assert "np." not in repr(penalty)


def test_only_l2_is_smooth():
    assert [p.smooth for p in (L1(1.0), L2(1.0), ElasticNet(1.0, 1.0))] == [False, True, False]


def test_penalties_are_frozen():
    with pytest.raises(AttributeError):
        L1(0.1).lam = 0.2


@pytest.mark.parametrize(
    "make", [L1, L2, lambda lam: ElasticNet(lam, 1.0), lambda lam: ElasticNet(1.0, lam)]
)
@pytest.mark.parametrize(
    ("lam", "error"),
    [
        (-1e-9, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ("0.1", TypeError),
        (None, TypeError),
        (True, TypeError),
        (10**400, ValueError),
        ([0.1], TypeError),
        (1j, TypeError),
    ],
)
def test_a_bad_lambda_is_named(make, lam, error):
    with pytest.raises(error, match=r"(lam|l1|l2) must be a finite number >= 0, got"):
        make(lam)


@penalties
@pytest.mark.parametrize(
    ("step", "error"),
    [
        (-0.1, ValueError),
        (np.nan, ValueError),
        ("1", TypeError),
        (np.array([1.0, -1.0]), ValueError),
        (np.array([1.0, np.nan]), ValueError),
        (np.array([np.nan, 1.0]), ValueError),
        (np.array([1.0, np.inf]), ValueError),
        (np.array([-np.inf, np.inf]), ValueError),
        (np.array([np.inf, np.nan], np.float32), ValueError),
        (np.inf, ValueError),
        (np.ones(3), ValueError),
    ],
)
def test_a_bad_step_is_named(penalty, step, error):
    with pytest.raises(error, match="step must"):
        penalty.prox(np.array([1.0, 2.0]), step)


@pytest.mark.parametrize("R", [L1(0.1), L2(0.1), ElasticNet(0.1, 0.2)], ids=repr)
def test_a_list_is_as_good_as_an_array(R):
    w, g = [1, -2, 0], [0.3, 0.0, 0.1]
    as_arrays = np.array(w, float), np.array(g)
    assert R.value(w) == R.value(as_arrays[0])
    np.testing.assert_array_equal(R.subgradient(w), R.subgradient(as_arrays[0]))
    np.testing.assert_array_equal(R.prox(w, 0.5), R.prox(as_arrays[0], 0.5))
    np.testing.assert_array_equal(R.residual(w, g), R.residual(*as_arrays))
