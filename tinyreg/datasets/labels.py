"""Targets: the task that they ask for, classes as integers, weights for rare classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.validate import Array, check_array, check_number, describe, named

MOST_CLASSES = 20  # that whole numbers are taken for without being asked


def task_of(y: ArrayLike, name: str = "y") -> str:
    """ "classification", "multilabel" or "regression", where the targets leave no doubt.

    Text and booleans are classes; so are whole numbers, of any dtype, of at most two values, or
    that count from −1, 0 or 1 to at most 20 values, each twice on average. Rows of 0 and 1 are
    one-hot if each has a single 1, else multilabel. Numbers with a fraction are a regression.
    Of anything else (prices in whole euros, say) a `ValueError` asks which it is.

    >>> task_of([0.0, 1.0, 1.0]), task_of([[1, 0], [1, 1]]), task_of([0.5, 2.0])
    ('classification', 'multilabel', 'regression')
    """
    array = as_targets(name, y)
    if array.ndim == 1 and array.dtype.kind in "bU":
        return "classification"
    array = check_array(name, array, array.dtype)
    sums = array.sum(axis=1) if array.ndim == 2 else np.zeros(1)
    if array.ndim == 2 and np.isin(array, (0, 1)).all():
        return "classification" if (sums == 1).all() else "multilabel"
    values = np.unique(array)
    n, low, high = len(values), values[0].item(), values[-1].item()
    if (values != np.round(values)).any():
        if low < 0 or (np.abs(sums - 1) > 1e-5).any():
            return "regression"
        came = "rows that sum to 1, which may be probabilities of classes or shares"
    else:
        few = n <= min(MOST_CLASSES, len(array) / 2) and low in (-1, 0, 1) and high - low == n - 1
        if array.ndim == 1 and (n <= 2 or few):
            return "classification"
        numbers = f"{n} different whole numbers from {low:g} to {high:g}"
        came = f"{numbers}, which may be classes or amounts"
    ask = 'say task="classification" or task="regression" (--task on the command line)'
    raise ValueError(f"{name} holds {came}; {ask}")


def encode_labels(**labels: ArrayLike) -> tuple[Any, ...]:
    """The classes in order, and each array of class labels as integers 0 … K−1.

    Labels are whole numbers or strings, (N,) or (N, 1), and the first array says which classes
    there are. One-hot rows stay as they are; of them the classes are 0 … K−1.

    >>> encode_labels(y=np.array(["b", "a", "b"]), y_test=np.array(["a"]))
    (array(['a', 'b'], dtype='<U1'), array([1, 0, 1]), array([0]))
    """
    arrays = {name: _labels(name, array) for name, array in labels.items()}
    first, of_first = next(iter(arrays.items()))
    if of_first.ndim == 2:
        return np.arange(of_first.shape[1]), *arrays.values()
    classes = np.unique(of_first)
    for name, array in arrays.items():
        if array.ndim == 1:
            alike = (array.dtype.kind == "U") == (classes.dtype.kind == "U")
            if (unknown := np.setdiff1d(array, classes) if alike else array).size:
                came = repr(unknown[0].item())
                raise ValueError(f"{name} must hold labels that {first} has too, got {came}")
            arrays[name] = np.searchsorted(classes, array)
    return classes, *arrays.values()


def class_of_each(y: ArrayLike) -> tuple[Array, Array]:
    """The classes that occur in labels or one-hot rows, and the place of each sample's among them.

    >>> class_of_each([[0, 0, 1], [1, 0, 0]])
    (array([0, 2]), array([1, 0]))
    """
    labels = _labels("y", y)
    if labels.ndim == 2:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise ValueError("y must be class labels or one-hot rows, got rows of another kind")
        labels = labels.argmax(axis=1)
    classes, places = np.unique(labels, return_inverse=True)
    return classes, places


def class_weights(y: ArrayLike, class_weight: str | Mapping[Any, float] = "balanced") -> Array:
    """Sample weights by class, so that rare classes count as much as common ones.

    Parameters
    ----------
    y : (N,) or (N, 1) class labels, or (N, K) one-hot rows
    class_weight : "balanced" or dict
        "balanced" gives each of the n_k samples of a class N/(K n_k), K being the number of
        classes in y. A dict has a weight >= 0 for each class; one that it leaves out weighs 1.

    Returns
    -------
    weights : (N,) float64 array
        To be passed as `sample_weight`. Only their ratios matter there, as L is a weighted mean.

    Raises
    ------
    ValueError
        If y is not made of classes, or a weight is for a class that y does not have.

    Examples
    --------
    >>> class_weights(["no", "no", "no", "yes"])
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    >>> class_weights([0, 0, 0, 1], {1: 3.0})
    array([1., 1., 1., 3.])
    """
    classes, places = class_of_each(y)
    if isinstance(class_weight, str) and class_weight == "balanced":
        weights = len(places) / (len(classes) * np.bincount(places))
    elif isinstance(class_weight, Mapping):
        names = classes.tolist()
        for name, weight in class_weight.items():
            if name not in names:
                raise ValueError(f"class_weight is for the class {name!r}, which y does not have")
            check_number(f"class_weight[{name!r}]", weight, least=0)
        weights = np.array([class_weight.get(name, 1.0) for name in names], dtype=np.float64)
    else:
        came = describe(class_weight)
        raise ValueError(f'class_weight must be "balanced" or a dict of weights, got {came}')
    return weights[places]


def as_targets(name: str, y: ArrayLike) -> Array:
    """Targets as a (N,) or (N, k) array, k > 1; strings in an array of objects as text."""
    with named(name):  # rows of different lengths
        array = np.asarray(y)
    if np.ma.is_masked(y):
        raise ValueError(f"{name} must not have masked entries; fill or drop them")
    if array.dtype.kind in "OT":
        for i, label in enumerate(array.flat):
            if not isinstance(label, str):
                came = f"{describe(label)} at [{i}] of an array of objects"
                wanted = "strings, or numbers of one dtype, and none missing"
                raise ValueError(f"{name} must be {wanted}, got {came}")
        array = array.astype(str)
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"{name} must have shape (N,) or (N, k), got {array.shape}")
    return array[:, 0] if array.shape[1:] == (1,) else array


def _labels(name: str, y: ArrayLike) -> Array:
    """Class labels as integers, booleans or text, or the rows of a table of numbers."""
    array = as_targets(name, y)
    if array.dtype.kind == "U" and array.ndim == 1:
        return array
    array = check_array(name, array, array.dtype)
    if array.ndim == 2 or array.dtype.kind != "f":
        return array
    if len(other := array[(array != np.round(array)) | (np.abs(array) >= 2**53)]):
        wanted = "class labels (whole numbers or strings)"
        raise ValueError(
            f"{name} must be {wanted}, got {other[0]}; real targets are for regression"
        )
    return array.astype(np.int64)
