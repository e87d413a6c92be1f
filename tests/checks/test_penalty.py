"""`check_penalty`, and the derivatives of a penalty from its values."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import small_problem
from tinyreg.checks.slopes import penalty_slopes


@pytest.mark.parametrize("penalty", [tr.L1(0.2), tr.L2(0.2), tr.ElasticNet(0.2, 0.3)])
def test_penalty_slopes_are_closed_forms(penalty):
    w = np.array([-2.0, -1e-12, 0.0, 1e-12, 1e-3, 3.0])
    l1 = getattr(penalty, "l1", penalty.lam if isinstance(penalty, tr.L1) else 0.0)
    l2 = getattr(penalty, "l2", penalty.lam if isinstance(penalty, tr.L2) else 0.0)
    got = penalty_slopes(penalty, w)
    np.testing.assert_allclose(got.value, l1 * np.sign(w) + 2 * l2 * w, rtol=1e-9)
    assert got.kink.tolist() == [False, False, not penalty.smooth, False, False, False]
    if not penalty.smooth:
        np.testing.assert_allclose([got.left[2], got.right[2]], [-l1, l1], rtol=1e-6)


class NumpyL1(tr.L1):
    """|w| by np.abs, through which no imaginary part passes."""

    def value(self, w):
        return self.lam * np.abs(w).sum()


class WrongNumpyL1(NumpyL1):
    def subgradient(self, w):
        return 2 * super().subgradient(w)


def test_a_penalty_that_drops_imaginary_parts_is_measured_weight_by_weight():
    w = np.array([-2.0, -1e-12, 0.0, 1e-12, 1e-3, 3.0])
    for penalty in (NumpyL1(0.5), WrongNumpyL1(0.5)):
        got = penalty_slopes(penalty, w)
        np.testing.assert_allclose(got.value[w != 0], 0.5 * np.sign(w[w != 0]), rtol=1e-6)
        np.testing.assert_allclose([got.left[2], got.right[2]], [-0.5, 0.5])
    F, X, y = small_problem(penalty=NumpyL1(0.01))
    assert tr.check_gradients(F, X, y).ok
    F, X, y = small_problem(penalty=WrongNumpyL1(0.01))
    report = tr.check_gradients(F, X, y)
    assert report.rows[0]["diagnosis"] == "penalty: constant factor 2: a 2 too much"


@pytest.mark.parametrize(
    "penalty", [tr.L1(0.5), tr.L1(0.0), tr.L2(0.5), tr.ElasticNet(0.3, 0.2), tr.ElasticNet(0, 0.2),
                NumpyL1(0.4)],
)  # fmt: skip
@pytest.mark.parametrize("step", [1e-3, 0.1, 10.0])
def test_right_penalties_pass(penalty, step):
    w = np.array([-30.0, -1.0, -0.02, 0.0, 1e-12, 0.4, 2.0])
    report = tr.check_penalty(penalty, w, step)
    assert report.ok, str(report)
    assert [row["block"] for row in report.rows] == [
        "subgradient", "prox", "prox and residual", "prox, a step each",
        "residual", "smooth", "NaN",
    ]  # fmt: skip
    assert not any(row["inconclusive"] for row in report.rows)


class Minimax:
    """The minimax concave penalty: not convex, prox a firm threshold (for step < gamma)."""

    lam, gamma, smooth = 0.5, 3.0, False

    def value(self, w):
        a = np.abs(w)
        inner = self.lam * a - a**2 / (2 * self.gamma)
        return float(
            np.where(a <= self.gamma * self.lam, inner, self.gamma * self.lam**2 / 2).sum()
        )

    def subgradient(self, w):
        return np.sign(w) * np.maximum(self.lam - np.abs(w) / self.gamma, 0)

    def prox(self, w, step):
        shrunk = np.sign(w) * np.maximum(np.abs(w) - step * self.lam, 0) / (1 - step / self.gamma)
        return np.where(np.abs(w) <= self.gamma * self.lam, shrunk, w)

    def residual(self, w, g):
        return np.where(
            w == 0, np.maximum(np.abs(g) - self.lam, 0), np.abs(g + self.subgradient(w))
        )


class Group:
    """λ‖w‖₂ of all weights: no sum over weights."""

    lam, smooth = 0.5, False

    def value(self, w):
        return float(self.lam * np.sqrt(np.sum(w * w)))

    def subgradient(self, w):
        norm = np.sqrt(np.sum(w * w))
        return self.lam * w / norm if norm else 0 * w

    def prox(self, w, step):
        norm = np.sqrt(np.sum(w * w))
        return w * max(0.0, 1 - np.mean(step) * self.lam / norm) if norm else 0 * w

    def residual(self, w, g):
        if np.any(w):
            return np.abs(g + self.subgradient(w))
        norm = np.sqrt(np.sum(g * g))
        return np.abs(g) * max(0.0, 1 - self.lam / norm) if norm else 0 * g


def test_penalties_of_other_kinds():
    w = np.array([-2.0, -0.3, 0.0, 0.04, 1.0])
    report = tr.check_penalty(Minimax(), w, 0.2)
    assert report.ok, str(report)
    report = tr.check_penalty(Group(), w, 0.2)
    wrong = [row["block"] for row in report.rows if row["mismatch"]]
    # Its prox takes the mean of the steps, and is found out.
    assert wrong == ["prox and residual", "prox, a step each"]


class Rows:
    """λ Σ_i ‖W_i‖₂ over the rows of a matrix, and of nothing else."""

    lam, smooth = 0.5, False

    def norms(self, W):
        if W.ndim != 2:
            raise ValueError("W must be a matrix")
        return np.sqrt(np.sum(W * W, axis=1, keepdims=True))

    def value(self, W):
        return self.lam * self.norms(W).sum()

    def subgradient(self, W):
        norms = self.norms(W)
        return self.lam * W / np.where(norms == 0, 1.0, norms)

    def prox(self, W, step):
        norms = self.norms(W)
        return W * np.maximum(1 - step * self.lam / np.where(norms == 0, 1.0, norms), 0)

    def residual(self, W, g):
        size = self.norms(g)
        beyond = np.maximum(1 - self.lam / np.where(size == 0, 1.0, size), 0) * np.abs(g)
        return np.where(self.norms(W) == 0, beyond, np.abs(g + self.subgradient(W)))


def test_a_penalty_of_a_matrix():
    W = np.array([[3.0, -0.2], [0.03, 0.04], [0.0, 0.0], [0.0, 1.0]])
    report = tr.check_penalty(Rows(), W, 0.2)
    by_block = {row["block"]: row for row in report.rows}
    assert [name for name, row in by_block.items() if row["mismatch"]] == [
        "prox and residual", "prox, a step each",
    ]  # fmt: skip  # a step for each number is not what this prox is for
    assert by_block["subgradient"]["kink"] >= 2
    assert by_block["prox"]["match"] == 8

    class Doubled(Rows):
        def subgradient(self, W):
            return 2 * super().subgradient(W)

    assert tr.check_penalty(Doubled(), W, 0.2).rows[0]["mismatch"] > 0


@pytest.mark.parametrize(("axis", "factor"), [(1, 0.999), (0, 2.0)])
def test_a_wrong_residual_of_a_matrix_penalty_is_found(axis, factor):
    class Wrong(tr.GroupLasso):
        def residual(self, w, g):
            return factor * super().residual(w, g)

    w = np.random.default_rng(0).normal(size=(3, 2))
    report = tr.check_penalty(Wrong(0.3, axis, l1=0.1), w)
    assert [row["block"] for row in report.rows if row["mismatch"]] == ["residual"], report
    assert tr.check_penalty(tr.GroupLasso(0.3, axis, l1=0.1, l2=0.2), w).ok


# ---------------------------------------------------------------- other penalties, and mistakes in
# narrow windows. Each prox is the closed form of argmin_u r(u) + (u - w)²/(2t).


def soft(w, t):
    return np.sign(w) * np.maximum(np.abs(w) - t, 0)


class Sum:
    """Σ r(w_i); λ = 0.5."""

    lam, smooth = 0.5, False

    def value(self, w):
        return float(np.sum(self.r(w)))

    def residual(self, w, g):
        at_zero = np.maximum(np.abs(g) - self.lam, 0)
        return np.where(w == 0, at_zero, np.abs(g + self.subgradient(w)))


class Huber(Sum):
    smooth, residual = True, lambda self, w, g: np.abs(g + self.subgradient(w))

    def r(self, w):
        return self.lam * np.where(np.abs(w) <= 1, w * w / 2, np.abs(w) - 0.5)

    def subgradient(self, w):
        return self.lam * np.clip(w, -1, 1)

    def prox(self, w, t, beyond=1.0):
        tau = t * self.lam
        return np.where(np.abs(w) <= 1 + beyond * tau, w / (1 + tau), w - tau * np.sign(w))


class Scad(Sum):
    a = 3.7

    def r(self, w):
        x, k, a = np.abs(w), self.lam, self.a
        middle = (2 * a * k * x - x * x - k * k) / (2 * (a - 1))
        return np.where(x <= k, k * x, np.where(x <= a * k, middle, k * k * (a + 1) / 2))

    def subgradient(self, w):
        x, k, a = np.abs(w), self.lam, self.a
        return np.sign(w) * np.where(x <= k, k, np.maximum(a * k - x, 0) / (a - 1))

    def prox(self, w, t, knot=0.0):
        x, k, a = np.abs(w), self.lam, self.a
        middle = np.sign(w) * ((a - 1) * x - t * a * k) / (a - 1 - t)
        outer = np.where(x <= a * k, middle, w)
        return np.where(x <= (knot or k + t * k), soft(w, t * k), outer)


class CappedL1(Sum):
    def r(self, w):
        return self.lam * np.minimum(np.abs(w), 1)

    def subgradient(self, w):
        return self.lam * np.sign(w) * (np.abs(w) < 1)

    def prox(self, w, t):
        low = np.sign(w) * np.clip(np.abs(w) - t * self.lam, 0, 1)
        high = np.sign(w) * np.maximum(np.abs(w), 1)
        heights = (self.r(u) + (u - w) ** 2 / (2 * t) for u in (low, high))
        return np.where(np.less_equal(*heights), low, high)


class Log(Sum):
    def r(self, w):
        return 0.5 * self.lam * np.log1p(np.abs(w) / 0.5)

    def subgradient(self, w):
        return 0.5 * self.lam * np.sign(w) / (np.abs(w) + 0.5)

    def prox(self, w, t):
        x = np.abs(w)
        d = (x - 0.5) ** 2 + 4 * (0.5 * x - 0.5 * t * self.lam)
        return np.sign(w) * np.maximum((x - 0.5 + np.sqrt(np.maximum(d, 0))) / 2, 0)


class Root(Sum):
    """λ Σ √|w|: vertical at 0 (Xu et al., IEEE TNNLS 23, 2012, for the prox)."""

    def r(self, w):
        return self.lam * np.sqrt(np.abs(w))

    def subgradient(self, w):
        size = np.where(w == 0, 1.0, np.abs(w))
        return self.lam * np.sign(w) / (2 * np.sqrt(size))

    def prox(self, w, t, factor=1.0):
        x, k = np.maximum(np.abs(w), 1e-300), 2 * t * self.lam
        phi = np.arccos(np.clip(k / 8 * (x / 3) ** -1.5, -1, 1))
        moved = 2 / 3 * w * (1 + np.cos(2 * np.pi / 3 - 2 * phi / 3))
        return np.where(x > factor * 54 ** (1 / 3) / 4 * k ** (2 / 3), moved, 0)

    def residual(self, w, g):
        return np.where(w == 0, 0, np.abs(g + self.subgradient(w)))


class Nonnegative(Sum):
    def r(self, w):
        return np.where(w < 0, np.inf, self.lam * w)

    def subgradient(self, w):
        return self.lam + 0 * w

    def prox(self, w, t):
        return np.maximum(w - t * self.lam, 0)

    def residual(self, w, g):
        return np.where(w == 0, np.maximum(-g - self.lam, 0), np.abs(g + self.lam))


class Box(Sum):
    def r(self, w):
        return np.where((w < 0) | (w > 1), np.inf, 0.0)

    def subgradient(self, w):
        return 0 * w

    def prox(self, w, t, top=1.0):
        return np.clip(w, 0, top)

    def residual(self, w, g):
        at_ends = np.where(w == 0, np.maximum(-g, 0), np.maximum(g, 0))
        return np.where((w == 0) | (w == 1), at_ends, np.abs(g))


class Pinball(Sum):
    """0.5 w for w > 0, −0.2 w for w < 0."""

    def r(self, w):
        return np.where(w > 0, 0.5 * w, -0.2 * w)

    def subgradient(self, w):
        return np.where(w > 0, 0.5, np.where(w < 0, -0.2, 0))

    def prox(self, w, t, low=0.2):
        return np.maximum(w - 0.5 * t, 0) + np.minimum(w + low * t, 0)

    def residual(self, w, g):
        at_zero = np.maximum(np.maximum(-g - 0.5, g - 0.2), 0)
        return np.where(w == 0, at_zero, np.abs(g + self.subgradient(w)))


class Weighted(Sum):
    """A λ for each weight: made for six of them."""

    lam = np.linspace(0.1, 1, 6)

    def r(self, w):
        return self.lam * np.abs(w)

    def subgradient(self, w):
        return self.lam * np.sign(w)

    def prox(self, w, t):
        return soft(w, t * self.lam)


class Pairs(Group):
    """Groups of two in one dimension; scalar steps only."""

    def norms(self, w):
        return np.repeat(np.sqrt(np.sum(np.square(w).reshape(-1, 2), axis=1)), 2)

    def value(self, w):
        return float(self.lam * self.norms(w)[::2].sum())

    def subgradient(self, w):
        norms = self.norms(w)
        return self.lam * w / np.where(norms == 0, 1, norms)

    def prox(self, w, step):
        norms = self.norms(w)
        return w * np.maximum(1 - float(step) * self.lam / np.where(norms == 0, 1, norms), 0)

    def residual(self, w, g):
        sizes = self.norms(g)
        at_zero = np.abs(g) * np.maximum(1 - self.lam / np.where(sizes == 0, 1, sizes), 0)
        return np.where(self.norms(w) == 0, at_zero, np.abs(g + self.subgradient(w)))


MIXED = np.array([-2.0, -0.3, 0.0, 0.04, 0.9, -0.07])
KINDS = (Huber, Scad, CappedL1, Log, Root, Nonnegative, Box, Pinball, Weighted, Pairs, Minimax)


def weights_for(kind):
    return np.abs(MIXED) * (0.4 if issubclass(kind, Box) else 1) if issubclass(
        kind, Nonnegative | Box
    ) else MIXED  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0.01, 0.2])
def test_right_penalties_of_many_kinds_pass(kind, step):
    report = tr.check_penalty(kind(), weights_for(kind), step)
    assert report.ok, report


def inside(low, high, right, wrong):
    """A method that is wrong where low < |w| < high."""
    return lambda self, w, *more: np.where(
        (np.abs(w) > low) & (np.abs(w) < high), wrong(self, w, *more), right(self, w, *more)
    )


@pytest.mark.parametrize(
    ("base", "block", "methods"),
    [
        (Huber, "prox", {"prox": lambda self, w, t: Huber.prox(self, w, t, 0.0)}),
        (Huber, "subgradient", {"subgradient": inside(
            1.45, 1.5, Huber.subgradient, lambda self, w: 0.499 * np.sign(w))}),
        (Huber, "residual", {"residual": inside(
            0.99, 1.0, Huber.residual, lambda self, w, g: np.abs(g))}),
        (Minimax, "prox", {"prox": inside(1.5, 1.53, Minimax.prox, lambda self, w, t: 0.999 * w)}),
        (Scad, "prox", {"prox": lambda self, w, t: Scad.prox(self, w, t, 1.0)}),
        (CappedL1, "prox, a step each", {"prox": lambda self, w, t: np.where(
            np.abs(w) <= 1, soft(w, 0.5 * t), w)}),
        (Log, "prox", {"prox": inside(0.7, 0.72, Log.prox, lambda self, w, t: soft(w, t))}),
        (Root, "prox", {"prox": lambda self, w, t: Root.prox(self, w, t, 1.03)}),
        (Nonnegative, "prox", {"prox": lambda self, w, t: np.maximum(np.abs(w) - 0.5 * t, 0)}),
        (Nonnegative, "subgradient", {"subgradient": lambda self, w: 0.5 + 0.5 * (w == 0)}),
        (Nonnegative, "residual", {"residual": lambda self, w, g: np.abs(g + 0.5)}),
        (Box, "prox", {"prox": lambda self, w, t: Box.prox(self, w, t, 1.001)}),
        (Box, "prox", {"prox": lambda self, w, t: Box.prox(self, w, t, 0.999)}),
        (Pinball, "prox", {"prox": lambda self, w, t: Pinball.prox(self, w, t, 0.5)}),
        (Pinball, "residual", {"residual": Sum.residual}),
        (Weighted, "prox", {"prox": lambda self, w, t: soft(w, 1.01 * t * self.lam)}),
        (Pairs, "prox", {"prox": lambda self, w, t: np.where(
            (self.norms(w) > 0.3) & (self.norms(w) < 0.32), 1.001, 1.0) * Pairs.prox(self, w, t)}),
        (Pairs, "residual", {"residual": lambda self, w, g: 1.001 * Pairs.residual(self, w, g)}),
    ],
)  # fmt: skip
def test_mistakes_in_narrow_windows_are_found(base, block, methods):
    report = tr.check_penalty(type("Wrong", (base,), methods)(), weights_for(base), step=0.05)
    assert block in [row["block"] for row in report.rows if row["mismatch"]], report


@pytest.mark.parametrize(("scale", "step"), [(1e-9, 1e3), (1e-3, 0.1), (1e6, 1e-8)])
def test_weights_and_steps_of_any_size(scale, step):
    w = scale * MIXED
    W = scale * np.array([[0.3, -0.2], [0.0, 0.0], [1.0, 0.0]])
    groups = tr.GroupLasso(0.3, 0), tr.GroupLasso(0.3, 1) + tr.L1(0.1) + tr.L2(0.2)
    cases = [(R, w) for R in (tr.L1(0.5), tr.L2(0.5), tr.L1(1e-3) + tr.L2(1e-4))]
    for R, weights in [*cases, *((R, W) for R in groups)]:
        report = tr.check_penalty(R, weights, step)
        assert report.ok, report
    for R in (tr.L1(0.5), tr.ElasticNet(0.3, 0.2)):
        wrong = type("Wrong", (type(R),), {"prox": lambda self, w, t, R=R: R.prox(w, 1.2 * t)})
        report = tr.check_penalty(wrong(*vars(R).values()), w, step)
        assert "prox" in [row["block"] for row in report.rows if row["mismatch"]], report


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_a_subgradient_of_a_norm_at_zero_is_held_against_all_directions(scale):
    class Corner(Group):
        def prox(self, w, step):
            return Group.prox(self, w, float(step))

        def subgradient(self, w):  # each entry is in λ[−1, 1], the vector is not in λ·ball
            return Group.subgradient(self, w) if w.any() else 0.9 * self.lam + 0 * w

    for w in (np.zeros(4), scale * np.ones(4)):
        report = tr.check_penalty(Corner(), w)
        assert report.rows[0]["mismatch"] > 0, report  # probes lie at 0 as well
    assert "all-ones" in tr.check_penalty(Corner(), np.zeros(4)).rows[0]["diagnosis"]


@pytest.mark.parametrize("radius", [1.0, 3.0, 100.0])
def test_the_indicator_of_a_ball_is_no_sum_over_weights(radius):
    """Its value is: 0 and 0 are 0."""

    class Ball:
        def value(self, w):
            return 0.0 if np.linalg.norm(w) <= radius * (1 + 1e-12) else np.inf

        def subgradient(self, w):
            return 0 * w

        def prox(self, w, step, factor=1.0):
            return w * min(1.0, factor * radius / np.linalg.norm(w)) if w.any() else w

    class Short(Ball):
        def prox(self, w, step):
            return super().prox(w, step, 0.99)

    w = MIXED * min(1.0, radius / 2.5)
    assert (report := tr.check_penalty(Ball(), w, 0.2)).ok, report
    assert tr.check_penalty(Short(), w, 0.2).mismatches


def test_a_prox_that_no_single_coordinate_improves_is_found():
    """λ|u₁ − u₂| pulls both to (w₁ + w₂)/2: from (0, 0) no step along an axis goes down."""

    class Fused:
        def value(self, w):
            return 50 * float(np.abs(np.diff(w)).sum())

        def subgradient(self, w):
            return 50 * np.sign(w[0] - w[1]) * np.array([1.0, -1.0])

        def prox(self, w, step):
            off = (w[0] - w[1]) / 2
            move = off - np.sign(off) * max(abs(off) - 50 * float(step), 0)
            return w - move * np.array([1.0, -1.0])

    class Stuck(Fused):
        def prox(self, w, step):
            u = super().prox(w, step)
            return u if np.abs(w).max() > 10 else 0 * u

    w = np.array([1.0, 1.3])
    assert (report := tr.check_penalty(Fused(), w, 0.2)).ok, report
    report = tr.check_penalty(Stuck(), w, 0.2)
    assert [row["block"] for row in report.rows if row["mismatch"]] == ["prox"], report


def test_a_term_that_drops_imaginary_parts_is_missed_by_no_proof():
    """Of λ|w| + w² by np.abs the complex step sees w² alone, as this subgradient does."""

    class Forgets(tr.L1):
        def value(self, w):
            return self.lam * np.abs(w).sum() + (w * w).sum()

        def subgradient(self, w):
            return 2 * w

    got = penalty_slopes(Forgets(0.5), np.array([-2.0, 0.3]))
    np.testing.assert_allclose(got.value, [-4.5, 1.1], rtol=1e-6)


def test_what_a_penalty_does_not_have_is_told_and_not_asked():
    class Bare:
        def value(self, w):
            return 0.5 * np.abs(w).sum()

        def subgradient(self, w):
            return 0.5 * np.sign(w)

        def prox(self, w, step):  # a number for NaN
            tau = 0.5 * float(step)
            return np.array([v - tau * np.sign(v) if abs(v) > tau else 0.0 for v in w])

    report = tr.check_penalty(Bare(), MIXED)
    assert report.ok, report
    assert [row["block"] for row in report.rows] == ["subgradient", "prox"]
    assert report.notes == [
        "array steps were not asked: penalty.prox refuses them",
        "residual was not asked: the penalty has none",
        "smooth was not asked: the penalty has none",
        "penalty.prox turns NaN into a number, and hides that training has diverged",
    ]


@pytest.mark.parametrize(
    ("methods", "error", "text"),
    [
        ({"value": lambda self, w: 1 / 0}, ValueError, "penalty.value must not raise"),
        ({"value": lambda self, w: np.nan}, ValueError, "penalty.value must be finite"),
        ({"value": lambda self, w: np.abs(w)}, ValueError, "penalty.value must return one number"),
        ({"prox": lambda self, w, t: w[:3]}, ValueError, r"penalty.prox must have shape \(6,\)"),
        ({"prox": lambda self, w, t: 1 / 0}, ValueError, "penalty.prox must not raise"),
        ({"subgradient": lambda self, w: None}, TypeError, "penalty.subgradient must be an array"),
        ({"residual": lambda self, w, g: 0.0}, ValueError, r"penalty.residual must have shape"),
        ({"prox": None}, TypeError, "with the methods value, subgradient and prox"),
    ],
)
def test_methods_that_fail_are_named(methods, error, text):
    with pytest.raises(error, match=text) as caught:
        tr.check_penalty(type("Broken", (tr.L1,), methods)(0.5), MIXED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_results_that_are_not_finite_are_mismatches(fill):
    for method in ("prox", "subgradient", "residual"):
        wild = type("Wild", (tr.L1,), {method: lambda self, w, *more: np.full_like(w, fill)})
        report = tr.check_penalty(wild(0.5), MIXED)
        assert any(row["block"] == method and row["mismatch"] for row in report.rows), report


def test_bad_arguments_of_check_penalty_are_named():
    with pytest.raises(TypeError, match="w must be an array of floats"):
        tr.check_penalty(tr.L1(1.0), [1, 2])
    with pytest.raises(ValueError, match="step must be a finite number > 0"):
        tr.check_penalty(tr.L1(1.0), np.ones(2), 0.0)


@pytest.mark.parametrize("penalty", [3, tr.L1, None])
def test_what_is_no_penalty_is_named(penalty):
    with pytest.raises(TypeError, match=r"penalty must be a penalty such as L1\(1e-3\)"):
        tr.check_penalty(penalty, np.ones(3))
