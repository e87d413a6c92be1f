"""Groups of weights: right answers for one group, and a problem whose minimum is proved."""

from decimal import Decimal, localcontext

import numpy as np

DIGITS = 50
SLACK = Decimal("1e-40")  # of the proof: far above the rounding, far below any float's

LAM = 0.05
N, D, K = 24, 8, 3


def norm(numbers):
    return sum(x * x for x in numbers).sqrt()


def exact_prox(w, t, kappa, l1=0.0, l2=0.0):
    """argmin_u κ‖u‖ + l1 Σ|u| + l2 Σu² + Σ(u − w)²/(2t) of one group, to all digits of a float.

    Were ν = ‖u‖ > 0 known, the slope of ‖u‖ would be u/ν, and each number alone would be

        u = S(w, t l1)/(1 + 2t l2 + tκ/ν),    S the soft threshold.

    The norm of that over ν falls as ν grows: bisection, with 50 digits. The answer is proved:
    c = (w − u)/t − 2 l2 u is a slope of κ‖u‖ + l1 Σ|u| at u just where c lies in the set
    κ·ball + l1·box and no point of it has a larger product with u, which κ‖u‖ + l1 Σ|u| is.
    For t = 1, l2 = 0 the same says that c is the point of the set that is nearest to w.
    """
    with localcontext(prec=DIGITS):
        w, t = ([Decimal(float(x)) for x in numbers] for numbers in (w, t))
        kappa, l1, l2 = (Decimal(float(x)) for x in (kappa, l1, l2))
        shrunk = [max(abs(x) - s * l1, Decimal(0)).copy_sign(x) for x, s in zip(w, t, strict=True)]

        def at(nu):
            return [x / (1 + 2 * s * l2 + s * kappa / nu) for x, s in zip(shrunk, t, strict=True)]

        u = [Decimal(0)] * len(w)
        if norm(x / s for x, s in zip(shrunk, t, strict=True)) > kappa:
            low, high = Decimal(0), norm(shrunk)
            for _ in range(4 * DIGITS):
                nu = (low + high) / 2
                low, high = (nu, high) if norm(at(nu)) > nu else (low, nu)
            u = at(high)
        c = [(x - y) / s - 2 * l2 * y for x, y, s in zip(w, u, t, strict=True)]
        assert norm(max(abs(x) - l1, Decimal(0)) for x in c) <= kappa + SLACK
        product = sum(x * y for x, y in zip(c, u, strict=True))
        assert product >= kappa * norm(u) + l1 * sum(map(abs, u)) - SLACK
    return np.array([float(x) for x in u]) + 0.0


def least_squares():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    W = np.zeros((D, K))
    W[:3] = [[1.0, -0.5, 0.3], [-0.4, 0.8, 0.2], [0.3, 0.2, -0.6]]
    return X, X @ W + 0.1 * rng.normal(size=(N, K)) + [0.5, -0.3, 0.1]


def proved_minimum(W, b):
    """A bound of min F from below, and the rows that are not zero at the minimum, from one near it.

    F = ‖XW + b − Y‖²/2N + κ Σ ‖w_g‖ over the rows. With μ and M, the least and the largest
    eigenvalue of [X 1]ᵀ[X 1]/N, it is μ-strongly convex, and the gradient of its first term
    changes by at most M times the way. So with a subgradient s of F at (W, b),

        min F ≥ F(W, b) − ‖s‖²/(2μ), at a distance r ≤ ‖s‖/μ from (W, b).

    There a row with ‖w_g‖ > r is not zero, and one with ‖∇_g‖ + M r < κ, ∇ at (W, b), is.
    """
    X, Y = least_squares()
    kappa = LAM * np.sqrt(K)
    ones = np.hstack([X, np.ones((N, 1))])
    mu, *_, M = np.linalg.eigvalsh(ones.T @ ones / N)
    error = X @ W + b - Y
    slopes = ones.T @ error / N
    gradient, norms = np.linalg.norm(slopes[:-1], axis=1), np.linalg.norm(W, axis=1)
    s = slopes.copy()
    for g in range(D):
        pull = W[g] / norms[g] if norms[g] else -slopes[g] / max(gradient[g], kappa)
        s[g] += kappa * pull
    r = np.linalg.norm(s) / mu
    alive, dead = norms > r, gradient + M * r < kappa
    np.testing.assert_array_equal(dead, ~alive)  # all rows are known
    value = (error**2).sum() / (2 * N) + kappa * norms.sum()
    return value - (s**2).sum() / (2 * mu), alive
