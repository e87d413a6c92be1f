"""The data losses: a mean over samples, and its gradient at the network's outputs z (N, K).

    L = Σ_n w_n ℓ(z_n, y_n),    w_n = 1/N, or the sample weights divided by their sum
    ∂L/∂z_n = w_n (prediction_n − y_n),    the prediction being softmax(z), σ(z) or z itself

The gradient is the same because each ℓ is the negative log-likelihood of an exponential family
(categorical, Bernoulli, Gaussian) in its natural parameter z: ℓ = A(z) − y·z + const, and the
gradient of A is the mean of the distribution, which is the prediction (McCullagh and Nelder,
Generalized Linear Models, section 2.2). Nothing is clipped, and in saturation nothing cancels:
value and gradient are of the same function to rounding, in float32 too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinyreg import validate
from tinyreg.core.layers import sigmoid_forward, softplus_forward
from tinyreg.validate import Array, Maybe


class Loss:
    """What the three share; another needs `per_sample`, `predict` and, if it is not ours, `error`.

    Notes
    -----
    outputs, y, sample_weight : (N, K), the targets, (N,); `value` and `gradient` check them
    targets, weight : from `check_targets`, and (N,) weights that sum to 1, which are trusted
    n, k, dtype : N, K and the dtype of real targets
    """

    def value(self, outputs: Array, y: ArrayLike, sample_weight: Maybe = None) -> float:
        """L of outputs (N, K), targets y and sample weights (N,); complex if the outputs are."""
        return self.weighted_sum(*self._check(outputs, y, sample_weight))

    def gradient(self, outputs: Array, y: ArrayLike, sample_weight: Maybe = None) -> Array:
        """∂L/∂outputs, (N, K)."""
        return self.delta(*self._check(outputs, y, sample_weight))

    def _check(self, outputs: Array, y: ArrayLike, weight: Maybe) -> tuple[Array, Array, Array]:
        z = validate.check_outputs(outputs)
        targets = self.check_targets(y, len(z), z.shape[1], z.real.dtype)
        return z, targets, validate.check_sample_weight(weight, len(z))

    def weighted_sum(self, outputs: Array, targets: Array, weight: Array) -> float:
        """Σ_n w_n ℓ_n."""
        return (weight @ self.per_sample(outputs, targets)).item()

    def delta(self, outputs: Array, targets: Array, weight: Array) -> Array:
        """w_n (prediction_n − target_n), the gradient of `weighted_sum`, (N, K)."""
        error = self.error(outputs, targets)
        return np.multiply(error, weight[:, np.newaxis], out=error)  # which keeps its dtype

    def check_targets(self, y: ArrayLike, n: int, k: int, dtype: DTypeLike) -> Array:
        """y as (N, K) numbers, or a clear error; (N,) will do where K = 1."""
        return validate.check_columns("y", y, n, k, dtype)

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        """ℓ(z_n, y_n), (N,)."""
        raise NotImplementedError

    def predict(self, outputs: Array) -> Array:
        """The mean of the distribution whose natural parameter is z, (N, K)."""
        raise NotImplementedError

    def error(self, outputs: Array, targets: Array) -> Array:
        """prediction − target = ∂ℓ/∂z, (N, K)."""
        return self.predict(outputs) - targets

    def score(self, outputs: Array, targets: Array) -> float:
        """How good the outputs are, as a person would say it: accuracy or R²."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxCrossEntropy(Loss):
    """One of K classes: ℓ = −log softmax(z)_y = log Σ_k exp z_k − z_y.

    Targets are labels 0 … K−1, (N,), or (N, K) rows that are one-hot (or any probabilities p, for
    which ℓ = log Σ_k exp z_k − p·z). The score is the accuracy. The gradient of the log-sum-exp is
    exp z_k/Σ exp z = softmax(z)_k, so that ∂ℓ/∂z = softmax(z) − one-hot(y). The largest logit is
    subtracted first, so that nothing overflows (Goodfellow et al., sections 4.1 and 6.2.2.3).

    Examples
    --------
    >>> loss, z = SoftmaxCrossEntropy(), np.log(np.array([[1.0, 1.0, 2.0], [8.0, 1.0, 1.0]]))
    >>> loss.predict(z).round(12).tolist(), round(loss.value(z[:1], [2]), 6)  # which is log 2
    ([[0.25, 0.25, 0.5], [0.8, 0.1, 0.1]], 0.693147)
    >>> loss.gradient(z, [2, 1]).round(12).tolist()  # half of (prediction − one-hot)
    [[0.125, 0.125, -0.25], [0.4, -0.45, 0.05]]
    """

    def check_targets(self, y: ArrayLike, n: int, k: int, dtype: DTypeLike) -> Array:
        return validate.check_labels("y", y, n, k, dtype)

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        z, n = outputs.T.copy(), np.arange(len(outputs))
        top = z.real.argmax(axis=0)
        z -= z[top, n]
        e = np.exp(z)
        e[top, n] = 0  # the 1 that log1p adds, without rounding 1 + Σ
        log_sum = np.log1p(e.sum(axis=0))
        return log_sum - (z[targets, n] if targets.ndim == 1 else (targets.T * z).sum(axis=0))

    def predict(self, outputs: Array) -> Array:
        z = outputs.T.copy()  # (K, N): NumPy reduces few long rows faster
        e = np.exp(z - z.real.max(axis=0))
        e /= e.sum(axis=0)
        return e.T

    def error(self, outputs: Array, targets: Array) -> Array:
        error, n, y = self.predict(outputs), np.arange(len(targets)), targets
        if targets.ndim == 2:
            error -= targets
            y = targets.argmax(axis=1)
        # p_y − 1 is minus the sum of the others, which is not 0 where p_y rounds to 1.
        error[n, y] = 0
        error[n, y] = 0 - error.sum(axis=1)
        return error

    def score(self, outputs: Array, targets: Array) -> float:
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return float(np.mean(outputs.argmax(axis=1) == labels))


class SigmoidCrossEntropy(Loss):
    """K yes-or-no questions (binary for K = 1): ℓ = −Σ_k (y_k log p_k + (1 − y_k) log(1 − p_k)).

    Targets are 0 or 1 (or between), (N, K), or (N,) where K = 1. The score is the share of right
    answers. With p = σ(z), 1 − p = σ(−z), −log p = softplus(−z) and −log(1 − p) = softplus(z). As
    softplus' = σ, ∂ℓ/∂z = (1 − y) σ(z) − y σ(−z), which is σ(z) − y.

    Examples
    --------
    >>> loss, z = SigmoidCrossEntropy(), np.array([[1000.0], [0.0]])  # sure, and undecided
    >>> round(loss.value(z, [1, 1]), 6), loss.gradient(z, [1, 1]).ravel()  # (0 + log 2)/2
    (0.346574, array([ 0.  , -0.25]))
    """

    def check_targets(self, y: ArrayLike, n: int, k: int, dtype: DTypeLike) -> Array:
        return validate.check_columns("y", y, n, k, dtype, probabilities=True)

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        yes, no = softplus_forward(-outputs), softplus_forward(outputs)
        return np.sum(targets * yes + (1 - targets) * no, axis=1)

    def predict(self, outputs: Array) -> Array:
        return sigmoid_forward(outputs)

    def error(self, outputs: Array, targets: Array) -> Array:
        return (1 - targets) * self.predict(outputs) - targets * self.predict(-outputs)

    def score(self, outputs: Array, targets: Array) -> float:
        return float(np.mean((outputs > 0) == (targets > 0.5)))


class SquaredError(Loss):
    """Real targets: ℓ = ½ ‖z − y‖², so that L = (1/2N) Σ_n ‖z_n − y_n‖² and ∂ℓ/∂z = z − y.

    A sum over the K outputs and a mean over the samples only. Targets are real, (N, K), or (N,)
    where K = 1. The score is R² = 1 − Σ(y − z)²/Σ(y − ȳ)², averaged over the outputs.

    Examples
    --------
    >>> loss, z, y = SquaredError(), np.array([[3.0, 0.0], [0.0, 1.0]]), np.zeros((2, 2))
    >>> loss.value(z, y), loss.gradient(z, y).tolist()
    (2.5, [[1.5, 0.0], [0.0, 0.5]])
    """

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        return 0.5 * np.sum((outputs - targets) ** 2, axis=1)

    def predict(self, outputs: Array) -> Array:
        return outputs.copy()

    def score(self, outputs: Array, targets: Array) -> float:
        error = np.sum((targets - outputs) ** 2, axis=0)
        total = np.sum((targets - targets.mean(axis=0)) ** 2, axis=0)
        # A constant target has no variance to explain: 1 if it is met, else 0.
        r2 = np.where(total > 0, 1 - error / np.where(total > 0, total, 1), error == 0)
        return float(r2.mean())


def one_hot(targets: Array, n_outputs: int) -> Array:
    """Labels as one-hot rows, (N, K); rows stay as they are."""
    return np.eye(n_outputs)[targets] if targets.ndim == 1 else targets
