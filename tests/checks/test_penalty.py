"""`check_penalty`, and the derivatives of a penalty from its values."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import small_problem
from tinyreg.checks.penalty import penalty_slopes


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


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("factor", [0.0, 0.999, 2.0])
def test_a_wrong_residual_of_a_matrix_penalty_is_found(axis, factor):
    class Wrong(tr.GroupLasso):
        def residual(self, w, g):
            return factor * super().residual(w, g)

    w = np.random.default_rng(0).normal(size=(5, 4))
    report = tr.check_penalty(Wrong(0.3, axis, l1=0.1), w)
    assert [row["block"] for row in report.rows if row["mismatch"]] == ["residual"], report
    assert tr.check_penalty(tr.GroupLasso(0.3, axis, l1=0.1, l2=0.2), w).ok


def test_bad_arguments_of_check_penalty_are_named():
    with pytest.raises(TypeError, match="w must be an array of floats"):
        tr.check_penalty(tr.L1(1.0), [1, 2])
    with pytest.raises(ValueError, match="step must be a finite number > 0"):
        tr.check_penalty(tr.L1(1.0), np.ones(2), 0.0)


@pytest.mark.parametrize("penalty", [3, tr.L1, None])
def test_what_is_no_penalty_is_named(penalty):
    with pytest.raises(TypeError, match=r"penalty must be a penalty such as L1\(1e-3\)"):
        tr.check_penalty(penalty, np.ones(3))
