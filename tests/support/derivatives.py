"""Two ways to differentiate that know nothing of the code under test."""

import numpy as np


def central(f, x, h=3e-4):
    """Central differences of a scalar function, extrapolated once: error O(h⁴) + O(ε f/h)."""

    def difference(h):
        gradient = np.empty_like(x)
        for i in np.ndindex(x.shape):
            plus, minus = x.copy(), x.copy()
            plus[i] += h
            minus[i] -= h
            gradient[i] = (f(plus) - f(minus)) / (plus[i] - minus[i])
        return gradient

    return (4 * difference(h) - difference(2 * h)) / 3


def complex_step(f, x, h=1e-30):
    """The derivative as the imaginary part of f(x + ih) over h, exact to rounding."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        nudged = x.astype(complex)
        nudged[i] += 1j * h
        gradient[i] = f(nudged).imag / h
    return gradient


def relative_error(a, b, floor=1e-3):
    """The largest |a − b|/max(|a|, |b|, floor): small numbers are compared on the floor's scale."""
    return np.max(np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), floor))
