"""Derivatives from values alone."""

import numpy as np

from tinyreg.checks.steps import noise_of


def test_noise_is_estimated_and_a_kink_is_not_taken_for_noise():
    rng = np.random.default_rng(0)
    x = np.array([0.3, -0.2])
    assert noise_of(lambda x: float(np.sum(x**2)), x, 0.13, rng)[0] < 1e-15
    assert noise_of(lambda x: float(np.abs(x - 0.3).sum()), x, 0.5, rng)[0] < 1e-15
    draws = np.random.default_rng(1)
    noisy = noise_of(lambda x: float(np.sum(x)) + 1e-6 * draws.normal(), x, 0.1, rng)[0]
    assert 2e-7 < noisy < 1e-5
