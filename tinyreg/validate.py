"""The checks of arguments that several modules share.

Every check names the argument, says what came and what is wanted, and runs before any work: a
call that is refused has changed nothing. A value of the wrong kind is a `TypeError`, a value of
the right kind outside its range a `ValueError`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinyreg.core.mapped import file_of, let_go

#: Real in everyday use; complex where a complex step (see `tinyreg.checks.objective`) passes through.
Array: TypeAlias = NDArray[Any]

T = TypeVar("T")

ROWS_AT_ONCE = 1024  # finiteness is tested in pieces, so that a memory-mapped X stays on disk


def describe(value: object) -> str:
    """A value in a few characters, for an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else text[:77] + "..."


def check_number(
    name: str, value: object, *, above: float | None = None, least: float | None = None
) -> float:
    """`value` as a finite float that is > `above`, or >= `least`."""
    wanted = "a finite number"
    wanted += f" > {above:g}" if above is not None else ""
    wanted += f" >= {least:g}" if least is not None else ""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {wanted}, got {describe(value)}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond the largest float
        number = math.inf
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (least is not None and number < least)
    ):
        raise ValueError(f"{name} must be {wanted}, got {repr(value)[:80]}")
    return number


def check_integer(name: str, value: object, *, least: int) -> int:
    """`value` as an int >= `least`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer >= {least}, got {describe(value)}")
    if value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(value)


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """`value` if it is one of `choices`."""
    wanted = f"{name} must be one of {', '.join(choices)}"
    if not isinstance(value, str):
        raise TypeError(f"{wanted}, got {describe(value)}")
    if value not in choices:
        raise ValueError(f"{wanted}, got {value!r}")
    return value


def check_list(name: str, value: Any) -> list[Any]:
    """`value` as a list, from a sequence that is not a string."""
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence | np.ndarray)
        or np.ndim(value) != 1
    ):
        raise TypeError(f"{name} must be a sequence, got {describe(value)}")
    return list(value)


def check_each(name: str, values: Any, check: Callable[[Any], T]) -> list[T]:
    """One or more values, each of which passes `check`, and none of them twice."""
    checked = [check(value) for value in check_list(name, values)]
    if len(set(checked)) < max(len(checked), 1):
        raise ValueError(f"{name} must be one or more, each once, got {tuple(checked)}")
    return checked


def check_array(name: str, value: ArrayLike, dtype: DTypeLike, in_file: bool = False) -> Array:
    """`value` as an array of finite real numbers of `dtype`, not copied where it is one already.

    With `in_file`, an array whose numbers are in a file stays there, with the dtype that it has:
    whoever takes samples of it casts those.
    """
    try:
        array = np.asarray(value)
    except ValueError as e:  # rows of different lengths
        raise ValueError(f"{name} must be a rectangular array: {e}") from None
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must not have masked entries; fill or drop them")
    if array.dtype.kind not in "fiub":
        came = describe(array) if array.ndim else describe(value)
        raise TypeError(f"{name} must be a dense array of real numbers, got {came}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got {describe(array)}")
    file = file_of(array)
    if file is None or not in_file:
        array = _cast(array, dtype)
    for start in range(0, len(array) if array.ndim else 1, ROWS_AT_ONCE):
        part = _cast(array[start : start + ROWS_AT_ONCE] if array.ndim else array, dtype)
        finite = np.isfinite(part)
        let_go(file)
        if not finite.all():
            where = np.argwhere(~finite)[0]
            came = part[tuple(where)]
            if array.ndim:
                where[0] += start
            index = ", ".join(map(str, where))
            raise ValueError(f"{name} must be finite in {part.dtype}, got {came} at [{index}]")
    return array


def _cast(array: Array, dtype: DTypeLike) -> Array:
    with np.errstate(over="ignore"):  # what is too large becomes an infinity, and is caught as one
        return array.astype(dtype, copy=False)


def check_features(
    X: ArrayLike, n_features: int, dtype: DTypeLike, name: str = "X", in_file: bool = False
) -> Array:
    """`X` as a finite (n_samples, n_features) array of `dtype`; `in_file` as in `check_array`."""
    array = check_array(name, X, dtype, in_file)
    if array.ndim != 2 or array.shape[1] != n_features:
        raise ValueError(f"{name} must have shape (n_samples, {n_features}), got {np.shape(X)}")
    return array


def check_pairs(X: Array, y: Array, X_name: str = "X", y_name: str = "y") -> None:
    """X must be a table of samples, and y must have a target for each."""
    if X.dtype == object:  # a sparse matrix, say, which NumPy takes for one thing
        came = describe(X if X.ndim else X.item())
        raise TypeError(f"{X_name} must be a dense array of real numbers, got {came}")
    if X.ndim != 2 or not X.size:
        raise ValueError(f"{X_name} must have shape (n_samples, n_features), got {X.shape}")
    if y.shape[:1] != X.shape[:1]:
        raise ValueError(
            f"{y_name} must hold a target for each of the {len(X)} samples, got shape {y.shape}"
        )


def check_sample_weight(sample_weight: ArrayLike | None, n_samples: int) -> float | Array:
    """The weight of each sample in the mean: 1/N, or `sample_weight` over its sum."""
    if sample_weight is None:
        return 1.0 / n_samples
    weight = check_array("sample_weight", sample_weight, np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weight.shape}")
    if weight.min() < 0 or weight.max() == 0:
        raise ValueError(
            f"sample_weight must be >= 0 with a positive sum, got weights from {weight.min():g} "
            f"to {weight.max():g}"
        )
    weight = weight / weight.max()  # first, so that no sum overflows
    return weight / weight.sum()
