"""Class labels as integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyreg.validate import Array


def encode_labels(**labels: Array) -> tuple[Any, ...]:
    """The number of classes K, and each array of class labels as integers 0 … K−1.

    Labels are integers or strings, and the first array says which classes there are. One-hot rows
    stay as they are.

    >>> encode_labels(y=np.array(["b", "a", "b"]), y_test=np.array(["a"]))
    (2, array([1, 0, 1]), array([0]))
    """
    for name, array in labels.items():
        if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat):
            labels[name] = array = array.astype(str)
        if array.ndim == 1 and array.dtype.kind not in "iubU":
            raise TypeError(
                f"{name} must be class labels (integers or strings), got dtype {array.dtype}; "
                f"real targets are for regression"
            )
    first = next(iter(labels))
    if labels[first].ndim == 2:
        return labels[first].shape[1], *labels.values()
    classes = np.unique(labels[first])
    for name, array in labels.items():
        if array.ndim == 1:
            unknown = np.setdiff1d(array, classes)
            if unknown.size:
                raise ValueError(f"{name} must hold labels that {first} has too, got {unknown[0]}")
            labels[name] = np.searchsorted(classes, array)
    return len(classes), *labels.values()
