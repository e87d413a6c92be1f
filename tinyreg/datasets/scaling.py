"""Columns on one scale, so that one λ suits the weights of all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyreg import validate
from tinyreg.validate import Array, Data, Sparse, as_numbers, is_sparse

CENTRING = "taking its mean from each column would make every entry nonzero"
TINY = np.nextafter(0, 1)


class Scaling(NamedTuple):
    """(x − shift) / scale of each column, and its inverse.

    `shift` and `scale` are (d,), or 0-d for a single column. Both methods take (N, d), or (N,) for
    a single column, and give float64.

    >>> scaling = Scaling.of([[1.0], [3.0]])
    >>> scaling.shift, scaling.scale, scaling.apply([[5.0]]), scaling.undo([[3.0]])
    (array([2.]), array([1.]), array([[3.]]), array([[5.]]))
    """

    shift: Array
    scale: Array

    @classmethod
    def of(cls, X: Data, name: str = "X") -> Scaling:
        """To mean 0 and variance 1; sparse columns, not shifted, by their largest absolute value.

        A column that does not vary is only shifted; one without entries stays as it is.
        """
        if is_sparse(X):
            sizes = abs(validate.check_features(X, None, np.float64, name))
            top = sizes.max(axis=0).toarray().ravel()
            return cls(np.zeros_like(top), np.where(top > 0, top, 1.0))
        X = as_numbers(name, X)
        validate.check_array(name, X, X.dtype)
        low, high = (np.asarray(f(X, axis=0), dtype=np.float64) for f in (np.min, np.max))
        # In units of a power of two, which rounds nothing, no square is too large or too small.
        unit = np.frexp(np.maximum(-low, high))[1]
        units = np.ldexp(X, -unit, dtype=np.float64)
        mean = units.mean(axis=0)
        units -= mean
        deviation = np.sqrt(np.square(units, out=units).mean(axis=0))
        # A constant column's deviation is rounding noise, which must not be blown up to 1.
        noise = 1e-12 * np.abs(mean)
        shift, scale, most = (np.ldexp(a, unit) for a in (mean, deviation, noise))
        scale = np.where(deviation > noise, np.maximum(scale, TINY), np.maximum(most, 1.0))
        return cls(np.where(low < high, shift, low), scale)

    def apply(self, X: Data) -> Array | Sparse:
        """X on this scale."""
        X, numbers, scale = self._copy(X)
        if not is_sparse(X):
            X -= self.shift
        with np.errstate(over="ignore"):  # an infinity is refused by what takes it
            numbers /= scale
        return X

    def undo(self, X: Data) -> Array | Sparse:
        """X in the units of before."""
        X, numbers, scale = self._copy(X)
        numbers *= scale
        if not is_sparse(X):
            X += self.shift
        return X

    def _copy(self, X: Data) -> tuple[Any, Array, Array]:
        """X as float64, its numbers, and the scale of each; its columns must be as many as ours."""
        X = validate.as_table("X", X) if is_sparse(X) else as_numbers("X", X)
        shapes = [self.shift.shape] if self.shift.ndim else [(), (1,)]
        if not X.ndim or X.shape[1:] not in shapes:
            wanted = f"(N, {self.shift.size})" + ("" if self.shift.ndim else " or (N,)")
            raise ValueError(f"X must have shape {wanted}, as the scaling has, got {X.shape}")
        if not is_sparse(X):
            return (copy := np.array(X, dtype=np.float64)), copy, self.scale
        if self.shift.any():
            raise ValueError(f"X must be dense, as {CENTRING}; Scaling.of a sparse X does not")
        return (copy := X.astype(np.float64)), copy.data, self.scale[copy.indices]


def standardise(train: Data, *others: Data) -> tuple[Array, ...]:
    """Shift and scale each column to mean 0 and variance 1 on `train`; `others` follow suit.

    All are (N, d), or (N,) for one column; a constant column is only shifted. What the test data
    look like changes nothing: a model that is judged on them must not have seen them.

    >>> train, test = standardise([[1.0], [3.0]], [[5.0]])
    >>> train.ravel(), test.ravel()
    (array([-1.,  1.]), array([3.]))
    """
    if is_sparse(train):
        raise ValueError(f"train must be dense, as {CENTRING}; Scaling.of(train) only scales")
    scaling = Scaling.of(train, "train")
    return tuple(scaling.apply(part) for part in (train, *others))
