"""Any function and its gradient, anyone's; and how what was handed in is turned into NumPy.

Nothing is known of a function but its values: see `tinyreg.checks.differences`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.checks.differences import EPS, measure
from tinyreg.checks.judge import Part
from tinyreg.checks.report import Report, add_row
from tinyreg.validate import Array, check_array, check_choice, check_integer, check_number, describe

RTOL = 1e-6
METHODS = ("auto", "central", "complex")


def check_gradient(
    f: Callable[[Array], Any],
    gradient: ArrayLike | Callable[[Array], ArrayLike],
    x: ArrayLike,
    *,
    method: str = "auto",
    directions: int | None = None,
    seed: int = 0,
    rtol: float = RTOL,
) -> Report:
    """Check the gradient of any scalar function of an array.

    Nothing is known of f but its values, so kinks are judged from one-sided differences with
    smaller and smaller steps; see `tinyreg.checks.differences.along`.

    Parameters
    ----------
    f : function of an array of x's shape, returning one number
        It is handed float64 copies. What it returns may be anything that turns into NumPy, such
        as a torch tensor.
    gradient : array of x's shape, or function of x that returns one
    x : array of floats
    method : "auto", "central" or "complex"
        "central" uses real differences. "auto" also uses the complex step, where it is proved
        valid for f: it has to agree with real differences along random directions, and again at
        each coordinate. "complex" uses it alone, one call per coordinate; kinks are then not
        looked for.
    directions : int, optional
        Check the derivative along so many random directions in place of each coordinate.
    seed : int
    rtol : float, the relative error allowed, beyond the estimated error of the differences

    Returns
    -------
    Report, with one row, "x" or "directions"

    Raises
    ------
    ValueError, TypeError
        If x is empty, not finite or of integers; if f does not return one finite number at x, or
        not the same number twice; if the gradient has another shape; if method="complex" does
        not work for f.

    Examples
    --------
    >>> def f(x):
    ...     return np.sum(x**3)
    >>> check_gradient(f, lambda x: 3 * x**2, np.array([1.0, 2.0])).ok
    True
    >>> report = check_gradient(lambda x: np.abs(x).sum(), np.sign, np.array([1.5, 0.0]))
    >>> report.ok, report.rows[0]["kink"], report.rows[0]["kinks"]["between"]
    (True, 1, True)
    """
    check_choice("method", method, METHODS)
    check_integer("seed", seed, least=0)
    check_number("rtol", rtol, above=0)
    if directions is not None:
        check_integer("directions", directions, least=1)
    point = as_point("x", x)
    value = scalar_function("f", f)
    check_repeats("f", value, point, finite=True)
    if callable(gradient):
        gradient = check_repeats("gradient", gradient, point)
    given = as_gradient(gradient, point.shape)
    eps = precision_of(given, f(point.copy()))
    rng = np.random.default_rng(seed)
    name, vectors, wide = "x", None, given.astype(np.float64)
    if directions is not None:
        name = "directions"
        vectors = rng.standard_normal((directions, *point.shape))
        vectors /= np.sqrt(np.sum(vectors**2, axis=tuple(range(1, vectors.ndim)), keepdims=True))
        wide = np.array([np.vdot(wide, v) for v in vectors])
    measured, notes = measure(value, point, method, rng, vectors, eps)
    report = Report(f"gradient of {name_of(f)}", [], notes)
    add_row(report, name, [Part("f", wide, measured.widened(eps))], rtol)
    return report


# ---------------------------------------------------------------- what was handed in


def name_of(f: object) -> str:
    """What a function is called in a report."""
    name = getattr(f, "__name__", type(f).__name__)
    return "f" if name == "<lambda>" else str(name)


def as_point(name: str, x: ArrayLike) -> Array:
    """`x` as a float64 copy of an array of floats, or a clear error."""
    array = to_numpy(x)
    if array.dtype.kind in "iub":
        raise TypeError(
            f"{name} must be an array of floats, got {describe(array)}: integers cannot be moved "
            "by a small step"
        )
    return np.array(check_array(name, array, np.float64))


def to_numpy(value: Any) -> Array:
    """An array of what may be a torch tensor that is still part of a graph."""
    if hasattr(value, "detach"):
        value = value.detach()
    return np.asarray(value)


def scalar_function(name: str, f: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """f on a copy of its argument, returning a Python number, or a clear error."""

    def value(x: Array) -> Any:
        result = to_numpy(f(x.copy()))
        if result.size != 1:
            raise ValueError(f"{name} must return one number, got {describe(result)}")
        if result.dtype.kind not in "fciub":
            raise TypeError(f"{name} must return a number, got {describe(result)}")
        return result.reshape(()).item()

    return value


def check_repeats(name: str, f: Callable[[Array], Any], x: Array, *, finite: bool = False) -> Array:
    """f(x), after a second call: another result could not be checked."""
    first, second = (np.array(to_numpy(f(x.copy()))) for _ in range(2))
    if first.dtype.kind not in "fiubc":
        raise TypeError(f"{name} must return numbers, got {describe(first)}")
    if finite and not np.isfinite(first).all():
        raise ValueError(f"{name} must be finite at this point, got {first}")
    if first.shape != second.shape:
        raise ValueError(f"{name} returned {describe(first)} and then {describe(second)}")
    eps = np.finfo(first.dtype).eps if first.dtype.kind in "fc" else EPS
    close = np.isclose(first, second, rtol=16 * eps, atol=0.0, equal_nan=True)
    if not close.all():
        place = tuple(np.argwhere(~close)[0])
        raise ValueError(
            f"{name} must give the same result for the same argument, got {first[place]} and then "
            f"{second[place]}: fix what changes in it (a seed, a dropout mask, a cache)"
        )
    return first


def as_gradient(gradient: Any, shape: tuple[int, ...], name: str = "gradient") -> Array:
    """`gradient` as an array of floats of that shape, float32 if it came so, or a clear error."""
    array = to_numpy(gradient)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, got {describe(array)}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def precision_of(*values: Any) -> float:
    """The coarsest machine epsilon among the arrays."""
    kinds = [to_numpy(value).dtype for value in values]
    return max([float(np.finfo(kind).eps) for kind in kinds if kind.kind in "fc"], default=EPS)
