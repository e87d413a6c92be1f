"""Activations and losses by their definitions, in decimal arithmetic of 400 digits.

Of these, 1 − σ(z) and the like lose up to 308 before a float64 underflows, and a central difference
30 more; so 60 are right, of values and of first derivatives.
"""

import decimal
import functools
from decimal import Decimal

import numpy as np

DIGITS = 400
STEP = Decimal("1e-30")
CONTEXT = decimal.Context(prec=DIGITS, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
exp = functools.cache(CONTEXT.exp)


@functools.cache
def pi():
    """By the arithmetic-geometric mean (Salamin 1976; Brent 1976)."""
    a, b, t, p = Decimal(1), Decimal("0.5").sqrt(), Decimal("0.25"), 1
    while a - b > Decimal(10) ** (5 - DIGITS):
        a, b, last = (a + b) / 2, (a * b).sqrt(), a
        t, p = t - p * (last - a) ** 2, 2 * p
    return (a + b) ** 2 / (4 * t)


def sigmoid(z):
    return exp(z) / (1 + exp(z))


@functools.cache
def log_sum_exp(z):
    return sum(map(exp, z)).ln()


def softplus(z):
    return log_sum_exp((Decimal(0), z))


@functools.cache
def normal_distribution(z):
    """Φ(z) = ½ + φ(z) (z + z³/3 + z⁵/(3·5) + …) (Marsaglia 2004)."""
    if abs(z) > 40:  # Φ(−40) < 1e-349
        return Decimal(int(z > 0))
    term, total, k = z, z, 1
    while abs(term) > abs(total) * Decimal(10) ** -DIGITS:
        k += 2
        term *= z * z / k
        total += term
    return Decimal("0.5") + exp(-z * z / 2) / (2 * pi()).sqrt() * total


def dot(y, z):
    return sum(a * b for a, b in zip(y, z, strict=True))


ACTIVATIONS = {
    "relu": lambda z: max(z, Decimal(0)),
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "tanh": lambda z: (exp(z) ** 2 - 1) / (exp(z) ** 2 + 1),
    "sigmoid": sigmoid,
    "softplus": softplus,
    "gelu": lambda z: z * normal_distribution(z),
    "silu": lambda z: z * sigmoid(z),
    "identity": lambda z: z,
}
# Of the logits and the targets of one sample; for softmax these are probabilities.
LOSSES = {
    "SoftmaxCrossEntropy": lambda z, y: log_sum_exp(z) - dot(y, z),
    "SigmoidCrossEntropy": lambda z, y: sum(map(softplus, z)) - dot(y, z),
    "SquaredError": lambda z, y: sum((a - b) ** 2 for a, b in zip(z, y, strict=True)) / 2,
}


def three(f, z, step):
    """f, f' and f'' by central differences. The step of an f with a kink may not cross it."""
    down, here, up = f(z - step), f(z), f(z + step)
    return here, (up - down) / (2 * step), (up - 2 * here + down) / step**2


@functools.cache
def activation(name, points):
    """f, f' and f'' at each of some numbers other than 0, (3, N), rounded to float64."""
    with decimal.localcontext(CONTEXT):
        rows = [three(ACTIVATIONS[name], z, abs(z) * STEP) for z in map(Decimal, points)]
    return np.array(rows, dtype=np.float64).T


@functools.cache
def loss(name, z, y):
    """ℓ and ∂ℓ/∂z of one sample, (1 + K,), rounded to float64."""
    with decimal.localcontext(CONTEXT):
        z, y, f = tuple(map(Decimal, z)), tuple(map(Decimal, y)), LOSSES[name]

        def along(k):
            return lambda z_k: f((*z[:k], z_k, *z[k + 1 :]), y)

        slopes = [three(along(k), z_k, STEP)[1] for k, z_k in enumerate(z)]
        return np.array([f(z, y), *slopes], dtype=np.float64)
