"""No `ok` without proof, and no alarm without a mistake: functions whose verdict is known.

Each case is a function with its gradient, derived on paper, at a point where values alone say
little: huge constants, coordinates of very different size, sharp bends, minima, waves, rounding.
"""

import warnings

import numpy as np
import pytest

import tinyreg as tr

FACTORS = (0.0, 2.0, -1.0, -5.0, 1.01)


def real(f):
    """The same function in code that keeps no imaginary part."""
    return lambda x: float(np.real(f(x)))


def normalised(x):
    c = x - x.mean()
    return c / np.sqrt((c * c).mean() + 1e-12)


def normalised_gradient(d, x):
    """Of d·normalised(x): s(d − mean d − y mean(d y)) with y the result and s its scale."""
    y = normalised(x)
    s = 1 / np.sqrt(x.var() + 1e-12)
    return s * (d - d.mean() - y * (d * y).mean())


d6 = np.array([0.3, -1.2, 0.7, 2.0, -0.4, 0.9])
bent = np.array([100.00003, 99.99993])
scales = np.array([1e8, 1.0, 1e-8])

# name: function, gradient, point
JUDGED = {
    "a linear function over 1e12": (lambda x: 1e12 + np.sum(x), np.ones_like, np.ones(3)),
    "a square over 1e8": (lambda x: 1e8 + x @ x, lambda x: 2 * x, np.array([1.0, -3.0])),
    "a bend of width 1e-4 at 100": (
        lambda x: np.sum(np.sqrt((x - 100) ** 2 + 1e-8)),
        lambda x: (x - 100) / np.sqrt((x - 100) ** 2 + 1e-8),
        bent,
    ),
    "a bend of width 1e-6 at 1": (
        lambda x: np.sum(np.sqrt((x - 1) ** 2 + 1e-12)),
        lambda x: (x - 1) / np.sqrt((x - 1) ** 2 + 1e-12),
        np.array([1 + 3e-7, 1 - 2e-6]),
    ),
    "layer normalisation at 5 + 1e-5 noise": (
        lambda x: d6 @ normalised(x),
        lambda x: normalised_gradient(d6, x),
        5 + 1e-5 * np.array([0.1, -0.7, 1.3, 0.4, -2.0, 0.6]),
    ),
    "waves of cos(1e8 x)": (
        lambda x: np.sum(np.cos(1e8 * x)),
        lambda x: -1e8 * np.sin(1e8 * x),
        np.array([1.0, 1.01, 0.99]),
    ),
    "squares of 1e-22": (lambda x: x @ x, lambda x: 2 * x, np.array([1e-22, 2e-22])),
    "squares of 1e150": (lambda x: x @ x, lambda x: 2 * x, np.array([1e150, -2e150])),
    "a logarithm at 1e-13": (
        lambda x: np.log(x).sum(), lambda x: 1 / x, np.array([1e-13, 2.0])
    ),
    "a log-sum-exp": (
        lambda x: np.log(np.exp(x - 30).sum()) + 30,
        lambda x: np.exp(x) / np.exp(x).sum(),
        np.array([30.0, 10.0, 29.0]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("keeps_imaginary_parts", [True, False])
def test_what_is_hard_to_read_is_judged_rightly(name, keeps_imaginary_parts):
    f, gradient, x = JUDGED[name]
    f = f if keeps_imaginary_parts else real(f)
    report = tr.check_gradient(f, gradient, x)
    assert report.ok, report
    assert report.rows[0]["match"] == x.size
    for factor in FACTORS if keeps_imaginary_parts else FACTORS[:-1]:
        assert tr.check_gradient(f, lambda x, k=factor: k * gradient(x), x).mismatches, factor


@pytest.mark.parametrize("keeps_imaginary_parts", [True, False])
@pytest.mark.parametrize("constant", [1e16, 1e17, -1e16])
def test_slopes_below_the_rounding_of_the_values_are_no_match(constant, keeps_imaginary_parts):
    def f(x):
        return np.sum(x**2) + constant

    f = f if keeps_imaginary_parts else real(f)
    x = np.ones(3)
    for factor in (0.0, 2 * 1.5, -200.0):
        assert not tr.check_gradient(f, lambda x, k=factor: k * x, x).ok
    report = tr.check_gradient(f, lambda x: 2 * x, x)
    assert report.mismatches == 0
    # The complex step is exact, and agrees; values alone say nothing.
    assert report.ok == keeps_imaginary_parts
    assert report.inconclusive == (0 if keeps_imaginary_parts else 3)


@pytest.mark.parametrize(
    ("f", "gradient", "x"),
    [
        (lambda x: 1e12 * x[0] ** 2 + 1e-12 * x[1] ** 2,
         lambda x: 2 * x * np.array([1e12, 1e-12]), np.ones(2)),
        (lambda x: scales @ np.sin(x), lambda x: scales * np.cos(x), np.array([0.3, -1.0, 2.0])),
        (lambda x: scales @ x, lambda x: scales, np.ones(3)),
        (lambda x: np.exp(50 * x[0]) + np.exp(-50 * x[1]),
         lambda x: 50 * np.array([np.exp(50 * x[0]), -np.exp(-50 * x[1])]), np.ones(2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("factor", [0.0, 2.0, -5.0, 1.01])
def test_a_coordinate_far_below_another_counts_as_much(f, gradient, x, factor):
    assert tr.check_gradient(f, gradient, x).rows[0]["match"] == x.size
    wrong = gradient(x).copy()
    wrong[-1] *= factor
    report = tr.check_gradient(f, wrong, x)
    # A 0 may be a slope that was rounded to it.
    assert report.details["x"].verdict[-1] == ("mismatch" if factor else "inconclusive")
    assert report.mismatches + report.inconclusive == 1
    assert not tr.check_gradient(real(f), wrong, x).ok or factor in (0, 1.01)


def test_at_a_minimum_zero_is_a_match_beside_the_slopes_near_by():
    x = np.zeros(3)
    f = real(lambda x: 3.0 + x @ x)
    assert tr.check_gradient(f, x, x).rows[0]["match"] == 3
    assert tr.check_gradient(f, np.full(3, 1e-7), x).mismatches == 3


def test_a_coordinate_that_f_does_not_use_has_the_slope_zero():
    f, x = real(lambda x: 5 + x[0] ** 2), np.array([1.0, 2.0])
    assert tr.check_gradient(f, np.array([2.0, 0.0]), x).rows[0]["match"] == 2
    assert tr.check_gradient(f, np.array([2.0, 1e-3]), x).mismatches == 1


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("f", [lambda x: np.maximum(x, 0.01).sum() + 3, np.max])
def test_a_kink_farther_off_leaves_a_flat_place_flat(f, method):
    x = np.array([0.0, -0.005, 0.02])
    gradient = np.array([0.0, 0.0, 1.0])
    assert tr.check_gradient(f, gradient, x, method=method).rows[0]["match"] == 3
    report = tr.check_gradient(f, np.ones(3), x, method=method)
    assert (report.mismatches, report.inconclusive) == (2, 0)


@pytest.mark.parametrize("factor", [0.0, 2.0, -1.0])
def test_directions_are_none_that_a_user_has_made_x_of(factor):
    """f(x) = c·x/‖x‖ does not change along x; default_rng(0) is what most x are made of."""
    c = np.array([1.0, -2.0, 0.5, 3.0, 1.0])

    def f(x):
        return c @ x / np.linalg.norm(x)

    def gradient(x):
        r = np.linalg.norm(x)
        return c / r - x * (c @ x) / r**3

    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=5)
        for directions in (None, 1):
            keywords = {"seed": seed, "directions": directions}
            assert tr.check_gradient(f, gradient, x, **keywords).ok
            assert not tr.check_gradient(f, lambda x: factor * gradient(x), x, **keywords).ok


# ------------------------------------------------------------ kinks


@pytest.mark.parametrize(
    ("f", "x", "given", "belongs"),
    [
        (np.max, np.ones(3), [1, 1, 1], False),
        (np.max, np.ones(3), [0, 1, 0], True),
        (np.max, np.ones(3), [1 / 3, 1 / 3, 1 / 3], True),
        (np.max, np.ones(3), [0.5, 0.6, 0], False),
        (np.linalg.norm, np.zeros(4), [0.9] * 4, False),
        (np.linalg.norm, np.zeros(4), [0.5] * 4, True),
        (np.linalg.norm, np.zeros(4), [0.9, 0, 0, 0.4], True),
        (lambda x: 0.05 * np.abs(x).sum(), np.zeros(3), [0.05, -0.05, 0.01], True),
        (lambda x: 0.05 * np.abs(x).sum(), np.zeros(3), [0.06, 0, 0], False),
        (lambda x: np.abs(x[0]) - np.abs(x[1]), np.zeros(2), [1, 1], True),
        (lambda x: np.abs(x[0]) - np.abs(x[1]), np.zeros(2), [1, 1.1], False),
        (lambda x: np.abs(x[0] - x[1]), np.ones(2), [1, -1], True),
        (lambda x: np.abs(x[0] - x[1]), np.ones(2), [1, 1], False),
        (lambda x: np.array([1.0, 5.0, 2.0]) @ np.sort(x), np.full(3, 2.0), [5, 1, 2], True),
        (lambda x: np.array([1.0, 5.0, 2.0]) @ np.sort(x), np.full(3, 2.0), [5, 5, 5], False),
        (lambda x: np.median(x), np.full(3, 2.0), [0, 1, 0], True),
        (lambda x: np.median(x), np.full(3, 2.0), [1, 1, 0], False),
        (lambda x: np.abs(x).max(), np.array([1.0, -1.0, 0.3]), [0.5, -0.5, 0], True),
        (lambda x: np.abs(x).max(), np.array([1.0, -1.0, 0.3]), [0.5, 0.5, 0], False),
    ],
)  # fmt: skip
def test_a_gradient_belongs_to_a_kink_or_not(f, x, given, belongs):
    """Clarke's set: the convex hull of the gradients near by."""
    report = tr.check_gradient(f, np.array(given, float), x)
    assert report.ok == belongs, report
    assert report.inconclusive == 0


@pytest.mark.parametrize(("g", "belongs"), [([1, 1, 1], False), ([1, 0, 0], True)])
def test_waves_near_a_kink_hide_no_gradient_that_does_not_belong(g, belongs):
    """max(x) at a tie, plus waves of 1e-4 sin(1e7 x), whose slopes are a thousand times larger."""
    x = np.ones(3)

    def f(x):
        return np.max(x) + 1e-4 * np.sum(np.sin(1e7 * x))

    report = tr.check_gradient(real(f), np.array(g) + 1e3 * np.cos(1e7 * x), x)
    assert report.ok == belongs, report


def test_a_complex_step_that_differs_to_both_sides_is_no_slope():
    """np.maximum goes by imaginary parts at a tie of real ones: D⁺, as the step is upwards."""
    x = np.array([0.0, 1.0])
    report = tr.check_gradient(lambda x: np.maximum(x, 0).sum(), np.ones(2), x, method="complex")
    assert report.details["x"].verdict.tolist() == ["inconclusive", "match"]
    assert "kink" in report.rows[0]["reason"]


def test_a_kink_that_noise_suggests_is_none():
    """Values with an error of 1e-9 (a wave of period 1e-13 that no step resolves)."""

    def f(x):
        return x @ x + 1e-9 * np.sin(1e13 * x[0])

    report = tr.check_gradient(real(f), np.array([4.0, 2.0]), np.array([1.0, 1.0]))
    assert not report.ok
    assert report.rows[0]["kink"] == 0
    assert not tr.check_gradient(real(f), np.array([-2.0, -2.0]), np.array([1.0, 1.0])).ok


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_jump_has_no_slope(value):
    report = tr.check_gradient(lambda x: (x > 0).sum(), np.full(3, value), np.zeros(3))
    assert not report.ok
    assert "jump" in report.rows[0]["reason"]


# ------------------------------------------------------------ near the point


def log_loss(p):
    assert ((np.real(p) > 0) & (np.real(p) < 1)).all()
    return -np.mean(np.log(p[:3])) - np.mean(np.log(1 - p[3:]))


def log_loss_gradient(p):
    return np.concatenate([-1 / p[:3] / 3, 1 / (1 - p[3:]) / 3])


P = np.array([0.02, 0.5, 0.98, 0.02, 0.3, 0.98])


@pytest.mark.parametrize("method", ["auto", "central", "complex"])
@pytest.mark.parametrize("f", [log_loss, real(log_loss)])
def test_no_step_leaves_the_neighbourhood_of_the_point(method, f):
    if method == "complex" and f is not log_loss:
        pytest.skip("it keeps no imaginary part")
    seen = []

    def recorded(p):
        seen.append(np.abs(np.real(p) - P).max())
        return f(p)

    assert tr.check_gradient(recorded, log_loss_gradient, P, method=method).ok
    assert max(seen) < 0.02
    assert not tr.check_gradient(f, lambda p: 2 * log_loss_gradient(p), P, method=method).ok


def test_no_warning_of_the_check_leaves_it_and_none_becomes_an_error():
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert tr.check_gradient(lambda x: np.log(x).sum(), lambda x: 1 / x, np.full(3, 1e-9)).ok
        assert tr.check_gradient(lambda x: np.sqrt(x).sum(), lambda x: 0.5 / np.sqrt(x), P).ok
        report = tr.check_gradient(np.linalg.norm, lambda x: x / np.linalg.norm(x), np.zeros(3))
        assert not report.ok
        assert "not finite" in str(report)


# ------------------------------------------------------------ precision and tolerances


def test_code_in_half_precision_is_not_ok_unless_its_coarseness_is_allowed():
    def f(x):
        return np.sum(np.sin(x.astype(np.float16)))

    x = np.array([0.3, -1.1, 2.0, 0.7])
    for factor in (0.0, -1.0, 3.0, 1.0):
        report = tr.check_gradient(f, lambda x, k=factor: k * np.cos(x), x)
        assert not report.ok
        assert bool(report.mismatches) == (factor != 1)
    assert tr.check_gradient(f, np.cos, x, atol=0.5).ok


def test_a_part_in_single_precision_is_noise_and_no_kink():
    A = np.random.default_rng(5).normal(size=(6, 4)).astype(np.float32)

    def f(x):
        return float(np.tanh(A @ x.astype(np.float32)).sum()) + x @ x

    def gradient(x):
        return A.T.astype(float) @ (1 - np.tanh(A @ x) ** 2) + 2 * x

    x = np.array([0.3, -1.1, 2.0, 0.7])
    assert (report := tr.check_gradient(f, gradient, x)).ok, report
    for factor in (0.0, 2.0, -1.0, 1.05):
        assert tr.check_gradient(f, lambda x, k=factor: k * gradient(x), x).mismatches


def test_small_entries_of_a_gradient_in_single_precision_are_inconclusive():
    x = np.array([1.0, 1.0])

    def f(x):
        return x[0] ** 2 + 1e-9 * x[1] ** 2

    right = np.array([2.0, 2e-9], np.float32)
    assert tr.check_gradient(f, right, x).ok
    report = tr.check_gradient(f, np.array([2.0, -1e-8], np.float32), x)
    assert (report.mismatches, report.inconclusive) == (0, 1)
    assert "precision" in report.rows[0]["reason"]
    assert tr.check_gradient(f, np.array([2.0, 1e-4], np.float32), x).mismatches == 1


def test_an_absolute_tolerance_is_in_units_of_the_gradient():
    """exp(x)/(Σ exp + 1e-10): the usual gradient leaves the 1e-10 out."""
    x = np.array([-3.0, 1.0, 0.5])

    def f(x):
        e = np.exp(x)
        return (e / (e.sum() + 1e-10)).sum()

    assert tr.check_gradient(f, np.zeros(3), x).mismatches
    assert tr.check_gradient(f, np.zeros(3), x, atol=1e-10).ok
    assert tr.check_gradient(f, np.full(3, 1e-6), x, atol=1e-10).mismatches == 3
    with pytest.raises(ValueError, match="atol must be a finite number >= 0"):
        tr.check_gradient(f, np.zeros(3), x, atol=-1)
