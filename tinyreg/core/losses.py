"""The data losses: a mean over samples, and its gradient at the network's outputs.

    L = (1/N) Σ_n ℓ(z_n, y_n)        with sample weights  L = Σ_n w_n ℓ(z_n, y_n) / Σ_n w_n

z is the (N, K) output of the last affine layer (for the cross-entropies: the logits). All three
losses have the same gradient there:

    ∂L/∂z_n = (prediction_n − y_n) / N

with softmax(z), σ(z) or z itself as the prediction. That is no accident. Each is the negative
log-likelihood of an exponential family (categorical, Bernoulli, Gaussian) in its natural
parameter z: ℓ = A(z) − y·z + const, and the gradient of the log-partition function A is the mean
of the distribution, which is the prediction (McCullagh and Nelder, Generalized Linear Models,
section 2.2).

Nothing is clipped and no epsilon stands inside a logarithm: value and gradient belong to the
same function, in saturation too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinyreg.core.layers import sigmoid_forward, softplus_forward
from tinyreg.validate import Array, check_array, check_sample_weight, describe


class Loss:
    """What the three losses share: the check of the arguments, and the weighted mean.

    A loss says how targets look (`check_targets`), what one sample costs (`per_sample`), what
    the network predicts (`predict`) and how good that is (`score`). `value`, `gradient` and
    `check_targets` refuse what does not fit, by a `ValueError` or `TypeError` that names it; the
    others trust their arguments.

    Notes
    -----
    outputs : (N, K) array
        z, the network's outputs; complex in a complex step.
    y : array
        The targets, in any form that the loss knows.
    sample_weight : (N,) array, optional
        How much each sample counts in the mean: ≥ 0, and not all 0. Only their ratios matter.
    n_samples, n_outputs, dtype : int, int, dtype
        N, K, and the dtype of real targets.
    targets : array
        y as `check_targets` returns it.
    weight : float or (N,) array
        1/N, or sample_weight over its sum.
    out : (N, K) array, optional
        Where to write the result.

    Examples
    --------
    >>> loss, y = SoftmaxCrossEntropy(), [2, 1]
    >>> z = np.log(np.array([[1.0, 1.0, 2.0], [8.0, 1.0, 1.0]]))
    >>> targets = loss.check_targets(y, n_samples=2, n_outputs=3, dtype=z.dtype)
    >>> np.exp(-loss.per_sample(z, targets)).round(12)  # the probabilities of the labels
    array([0.5, 0.1])
    >>> loss.predict(z).round(12)
    array([[0.25, 0.25, 0.5 ],
           [0.8 , 0.1 , 0.1 ]])
    >>> loss.delta(z, targets, weight=0.5).round(12)  # half of (prediction − one-hot)
    array([[ 0.125,  0.125, -0.25 ],
           [ 0.4  , -0.45 ,  0.05 ]])
    >>> np.array_equal(loss.gradient(z, y), loss.delta(z, targets, 0.5)), loss.score(z, targets)
    (True, 0.5)
    >>> loss.value(z, y) == loss.weighted_sum(z, targets, 0.5)
    True
    """

    def value(self, outputs: Array, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """L, the (weighted) mean of the loss over the samples; complex if the outputs are."""
        targets, weight = self._check(outputs, y, sample_weight)
        return self.weighted_sum(outputs, targets, weight)

    def gradient(
        self, outputs: Array, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Array:
        """∂L/∂outputs, (N, K): weight_n (prediction_n − target_n)."""
        targets, weight = self._check(outputs, y, sample_weight)
        return self.delta(outputs, targets, weight)

    def _check(
        self, outputs: Array, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[Array, float | Array]:
        if not isinstance(outputs, np.ndarray) or outputs.ndim != 2 or outputs.size == 0:
            raise ValueError(f"outputs must be a (N, K) array, got {describe(outputs)}")
        n_samples, n_outputs = outputs.shape
        targets = self.check_targets(y, n_samples, n_outputs, outputs.real.dtype)
        return targets, check_sample_weight(sample_weight, n_samples)

    def weighted_sum(self, outputs: Array, targets: Array, weight: float | Array) -> float:
        """Σ_n weight_n ℓ_n, with weights that sum to 1 over all samples (1/N for a plain mean)."""
        return np.sum(weight * self.per_sample(outputs, targets)).item()

    def delta(
        self,
        outputs: Array,
        targets: Array,
        weight: float | Array,
        out: Array | None = None,
    ) -> Array:
        """weight_n (prediction_n − target_n), the gradient of `weighted_sum` at the outputs."""
        delta = self.predict(outputs, out=out)
        if targets.ndim == 1:  # labels: the one-hot row has its 1 in column y_n
            delta[np.arange(len(targets)), targets] -= 1
        else:
            delta -= targets
        delta *= weight if isinstance(weight, float) else weight[:, np.newaxis]
        return delta

    def check_targets(
        self, y: ArrayLike, n_samples: int, n_outputs: int, dtype: DTypeLike
    ) -> Array:
        """`y` in the form that `per_sample` and `delta` take, or a clear error."""
        raise NotImplementedError

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        """ℓ(z_n, y_n) for each sample, (N,)."""
        raise NotImplementedError

    def predict(self, outputs: Array, out: Array | None = None) -> Array:
        """The mean of the distribution with natural parameter z, (N, K); a fresh array or `out`."""
        raise NotImplementedError

    def score(self, outputs: Array, targets: Array) -> float:
        """How good the outputs are, as a person would say it: accuracy or R²."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxCrossEntropy(Loss):
    """One of K classes: ℓ = −log softmax(z)_y = log Σ_k exp z_k − z_y.

    Targets are integer labels 0 … K−1 of shape (N,), or (N, K) rows that are one-hot (or any
    probabilities p, for which ℓ = log Σ_k exp z_k − p·z).

    The log-sum-exp is shifted by the largest logit, so that nothing overflows. Its gradient is
    exp z_k / Σ exp z = softmax(z)_k, so ∂ℓ/∂z = softmax(z) − one-hot(y) (Goodfellow, Bengio and
    Courville, Deep Learning, 2016, sections 4.1 and 6.2.2.3). The score is the accuracy.

    Examples
    --------
    >>> loss = SoftmaxCrossEntropy()
    >>> z = np.log(np.array([[1.0, 1.0, 2.0]]))
    >>> round(loss.value(z, [2]), 6), round(np.log(2), 6).item()
    (0.693147, 0.693147)
    >>> loss.gradient(z, [2]).round(3)
    array([[ 0.25,  0.25, -0.5 ]])
    """

    def check_targets(
        self, y: ArrayLike, n_samples: int, n_outputs: int, dtype: DTypeLike
    ) -> Array:
        array = np.asarray(y)
        if array.ndim == 2:
            array = check_array("y", array, dtype)
            if array.shape != (n_samples, n_outputs):
                raise ValueError(
                    f"y must have shape ({n_samples},) or ({n_samples}, {n_outputs}), "
                    f"got {array.shape}"
                )
            sums = array.sum(axis=1)
            if array.min() < 0 or np.any(np.abs(sums - 1) > 1e-5):
                raise ValueError(
                    "y must have one-hot rows (or rows of probabilities that sum to 1), got "
                    f"row {array[np.argmax((array.min(axis=1) < 0) + np.abs(sums - 1))]}"
                )
            return array / sums[:, np.newaxis]  # else −p·z would not be −p·(z − max z)
        if array.shape != (n_samples,):
            raise ValueError(
                f"y must have shape ({n_samples},) or ({n_samples}, {n_outputs}), got {array.shape}"
            )
        if array.dtype.kind not in "iub":
            raise TypeError(
                f"y must be integer labels 0 to {n_outputs - 1} or one-hot rows, "
                f"got dtype {array.dtype}"
            )
        low, high = array.min(), array.max()
        if low < 0 or high >= n_outputs:
            raise ValueError(
                f"y must be labels from 0 to {n_outputs - 1} (the network has {n_outputs} "
                f"outputs), got labels from {low} to {high}"
            )
        return array.astype(np.intp, copy=False)

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        z = _by_class(outputs)
        log_sum = np.log(np.exp(z).sum(axis=0))
        if targets.ndim == 1:
            return log_sum - z[targets, np.arange(len(targets))]
        return log_sum - (targets.T * z).sum(axis=0)

    def predict(self, outputs: Array, out: Array | None = None) -> Array:
        z = _by_class(outputs)
        np.exp(z, out=z)
        p = np.empty_like(outputs) if out is None else out
        np.divide(z, np.add.reduce(z, axis=0), out=p.T)
        return p

    def score(self, outputs: Array, targets: Array) -> float:
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return float(np.mean(outputs.argmax(axis=1) == labels))


class SigmoidCrossEntropy(Loss):
    """K yes-or-no questions (binary for K = 1): ℓ = Σ_k softplus(z_k) − y_k z_k.

    Targets are 0 or 1 (or a probability between), of shape (N, K), or (N,) where K = 1. The
    score is the share of right answers.

    With p = σ(z), −log p = softplus(−z) = softplus(z) − z and −log(1 − p) = softplus(z); the
    cross-entropy −y log p − (1 − y) log(1 − p) is then softplus(z) − y z. softplus' = σ, so
    ∂ℓ/∂z = σ(z) − y.

    Examples
    --------
    >>> loss = SigmoidCrossEntropy()
    >>> z = np.array([[1000.0], [0.0]])  # sure, and undecided: (0 + log 2)/2
    >>> round(loss.value(z, [1, 1]), 6), loss.gradient(z, [1, 1]).ravel()
    (0.346574, array([ 0.  , -0.25]))
    """

    def check_targets(
        self, y: ArrayLike, n_samples: int, n_outputs: int, dtype: DTypeLike
    ) -> Array:
        array = _columns(check_array("y", y, dtype), n_samples, n_outputs)
        if array.min() < 0 or array.max() > 1:
            raise ValueError(
                f"y must be 0 or 1 (or between), got values from {array.min():g} to {array.max():g}"
            )
        return array

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        return np.sum(softplus_forward(outputs) - targets * outputs, axis=1)

    def predict(self, outputs: Array, out: Array | None = None) -> Array:
        return sigmoid_forward(outputs, out=out)

    def score(self, outputs: Array, targets: Array) -> float:
        return float(np.mean((outputs > 0) == (targets > 0.5)))


class SquaredError(Loss):
    """Real targets: ℓ = ½ ‖z − y‖², so that L = (1/2N) Σ_n ‖z_n − y_n‖² and ∂ℓ/∂z = z − y.

    A sum over the K outputs and a mean over the samples only. Targets are real, of shape (N, K),
    or (N,) where K = 1. The score is R² = 1 − Σ(y − z)²/Σ(y − ȳ)², averaged over the outputs.

    Examples
    --------
    >>> loss = SquaredError()
    >>> z = np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> loss.value(z, np.zeros((2, 2)))
    2.5
    >>> loss.gradient(z, np.zeros((2, 2)))
    array([[1.5, 0. ],
           [0. , 0.5]])
    """

    def check_targets(
        self, y: ArrayLike, n_samples: int, n_outputs: int, dtype: DTypeLike
    ) -> Array:
        return _columns(check_array("y", y, dtype), n_samples, n_outputs)

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        error = outputs - targets
        return 0.5 * np.sum(error * error, axis=1)

    def predict(self, outputs: Array, out: Array | None = None) -> Array:
        return np.positive(outputs, out=out)

    def score(self, outputs: Array, targets: Array) -> float:
        residual = np.sum((targets - outputs) ** 2, axis=0)
        total = np.sum((targets - targets.mean(axis=0)) ** 2, axis=0)
        # A constant target has no variance to explain: 1 if it is met, else 0.
        safe = np.where(total > 0, total, 1)
        r2 = np.where(total > 0, 1 - residual / safe, residual == 0)
        return float(r2.mean())


def _by_class(outputs: Array) -> Array:
    """The logits less their sample's largest, (K, N): NumPy reduces few long rows faster."""
    z = outputs.T.copy()
    z -= np.maximum.reduce(z.real, axis=0)
    return z


def _columns(array: Array, n_samples: int, n_outputs: int) -> Array:
    """(N,) targets of a network with one output as (N, 1); anything else must be (N, K)."""
    if n_outputs == 1 and array.shape == (n_samples,):
        array = array[:, np.newaxis]
    if array.shape != (n_samples, n_outputs):
        wanted = f"({n_samples}, {n_outputs})" + (f" or ({n_samples},)" if n_outputs == 1 else "")
        raise ValueError(f"y must have shape {wanted}, got {array.shape}")
    return array


def encode_labels(**labels: Array) -> tuple[Any, ...]:
    """The number of classes, and each array of class labels as integers 0 … K−1.

    Labels may be integers or strings; the first array says which classes there are. One-hot rows
    are left as they are.

    Examples
    --------
    >>> encode_labels(y=np.array(["b", "a", "b"]), y_test=np.array(["a"]))
    (2, array([1, 0, 1]), array([0]))
    """
    arrays = []
    for name, array in labels.items():
        if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat):
            array = array.astype(str)
        if array.ndim == 1 and array.dtype.kind not in "iubU":
            raise TypeError(
                f"{name} must be class labels (integers or strings), got dtype {array.dtype}; "
                f"real targets are for regression"
            )
        arrays.append(array)
    if arrays[0].ndim == 2:
        return arrays[0].shape[1], *arrays
    classes = np.unique(arrays[0])
    for name, array in zip(labels, arrays, strict=True):
        unknown = np.setdiff1d(array, classes)
        if array.ndim == 1 and unknown.size:
            raise ValueError(
                f"{name} must hold labels that {next(iter(labels))} has too, got {unknown[0]}"
            )
    return len(classes), *(
        np.searchsorted(classes, array) if array.ndim == 1 else array for array in arrays
    )
