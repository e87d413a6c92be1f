"""Any function and its gradient, anyone's; and how what was handed in is turned into NumPy.

Nothing is known of a function but its values: see `tinyreg.checks.differences`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.checks.differences import generator, measure, quiet
from tinyreg.checks.judge import Part
from tinyreg.checks.kinks import settle
from tinyreg.checks.report import Report, add_row
from tinyreg.checks.steps import EPS
from tinyreg.core.network import Block
from tinyreg.validate import (
    Array,
    check_array,
    check_choice,
    check_function,
    check_integer,
    check_number,
    describe,
)

RTOL = 1e-6
METHODS = ("auto", "central", "complex")
Arrays = ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike]


def check_gradient(
    f: Callable[[Any], Any],
    gradient: Arrays | Callable[[Any], Arrays] | Literal[True],
    x: Arrays,
    *,
    method: str = "auto",
    directions: int | None = None,
    seed: int = 0,
    rtol: float = RTOL,
    atol: float = 0.0,
) -> Report:
    """Check the gradient of any scalar function of an array, or of several.

    Nothing is known of f but its values. So kinks are judged from one-sided differences with
    smaller and smaller steps, and whether a gradient belongs to one from the slopes at points near
    by; see `tinyreg.checks.differences` and `tinyreg.checks.kinks`.

    Parameters
    ----------
    f : function of x, returning one number
        It is handed float64 copies of the arrays, in a dict or list where x is one, and tensors
        where x is a torch tensor or a JAX array. What it returns may be anything that turns into
        NumPy. It is called near x as well, where it may raise: such steps are left out.
    gradient : array of x's shape, or function of x that returns one; or True
        A dict or list where x is one. True: f returns the pair (value, gradient), as with SciPy's
        ``jac=True``.
    x : array of floats, or a dict or list of such arrays
    method : "auto", "central" or "complex"
        "central" uses real differences. "auto" also uses the complex step, where it is proved
        valid for f: it has to agree with real differences along random directions, and must not
        disagree with them at any coordinate. "complex" uses it alone; of kinks it knows no more
        than that it differs to both sides, which is then inconclusive.
    directions : int, optional
        Check the derivative along so many random directions in place of each coordinate.
    seed : int
    rtol : float, the relative error allowed, beyond the estimated error of the differences
    atol : float, the absolute error allowed, in units of the gradient

    Returns
    -------
    Report, with a row "x", or one for each array of x, or the row "directions"

    Raises
    ------
    ValueError, TypeError
        If x is empty, not finite or of integers; if f raises at x, does not return one finite
        number there, or not the same number twice; if the gradient has another shape; if
        method="complex" does not work for f.

    Examples
    --------
    >>> def f(x):
    ...     return np.sum(x**3)
    >>> check_gradient(f, lambda x: 3 * x**2, np.array([1.0, 2.0])).ok
    True
    >>> report = check_gradient(lambda x: np.abs(x).sum(), np.sign, np.array([1.5, 0.0]))
    >>> report.ok, report.rows[0]["kink"], report.rows[0]["kinks"]["between"]
    (True, 1, True)

    Several arrays, with value and gradient from one function; in a test of your own, write
    ``assert report.ok, report``:

    >>> def loss(p):
    ...     return p["b"] + p["w"] @ p["w"], {"w": p["w"], "b": 1.0}
    >>> report = check_gradient(loss, True, {"w": np.array([1.0, 2.0]), "b": 0.5})
    >>> [(row["block"], row["diagnosis"]) for row in report.rows]
    [('w', 'constant factor 0.5: a 2 is missing'), ('b', '')]
    """
    check_function("f", f)
    check_settings(directions, method, seed, rtol, atol)
    variables, notes = Variables("x", x), []
    point = variables.vector

    def ask(name: str, function: Callable[[Any], Any], p: Array) -> Any:
        handed = p.copy()
        result = call(name, function, variables.like(handed))
        told = f"{name} changes its argument in place"
        if told not in notes and not np.array_equal(handed, p):
            notes.append(told)
        return result

    def value(p: Array) -> Any:
        result = ask("f", f, p)
        return number("f", pair(result)[0] if gradient is True else result)

    def slopes(p: Array) -> list[Array]:
        if gradient is True:
            return variables.rows("gradient", pair(ask("f", f, p))[1])
        came = ask("gradient", gradient, p) if callable(gradient) else gradient
        return variables.rows("gradient", came)

    if np.imag(check_repeats("f", value, point, finite=True)):
        raise TypeError(f"f must return a real number at this point, got {value(point)}")
    check_repeats("gradient", lambda p: join(slopes(p)), point)
    given = slopes(point)
    result = ask("f", f, point)
    precision = precision_of(*given, result[0] if gradient is True else result)
    rng = generator(seed)
    whole, vectors, blocks = join(given), None, variables.blocks
    if directions is not None:
        vectors = rng.standard_normal((directions, point.size))
        vectors /= np.sqrt(np.sum(vectors**2, axis=1, keepdims=True))
        blocks = [Block("directions", slice(None), (directions,))]
    measured, told = measure(value, point, method, rng, vectors, precision)
    part, refused = Part("f", whole if vectors is None else vectors @ whole, measured), ""
    if vectors is None:
        part, refused = settle(part, value, None, point, None, rng, rtol, precision)
    report = Report(f"gradient of {name_of(f)}", [], notes + told)
    for block in blocks:
        at = None if vectors is not None else block.of(point)
        own = [part.each(block.of)]
        add_row(
            report, block.name, own, rtol, atol=atol, precision=precision, x=at, refused=refused
        )
    return report


def pair(result: Any) -> Any:
    """What f returned with gradient=True, or a clear error."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(
            f"with gradient=True f must return (value, gradient), got {describe(result)}"
        )
    return result


# ---------------------------------------------------------------- what was handed in


def check_settings(
    directions: int | None, method: str, seed: int, rtol: float, atol: float
) -> None:
    """The settings that checks of functions and of layers share."""
    if directions is not None:
        check_integer("directions", directions, least=1)
    check_choice("method", method, METHODS)
    check_integer("seed", seed, least=0)
    check_number("rtol", rtol, above=0)
    check_number("atol", atol, least=0)


class Variables:
    """What a function is differentiated by: an array, or a dict or list of them, as one vector."""

    def __init__(self, name: str, x: Arrays) -> None:
        self.keys: list[Any] | None = None
        arrays: list[Any] = [x]
        if isinstance(x, Mapping):
            self.keys, arrays = list(x), list(x.values())
        elif isinstance(x, list | tuple) and any(np.ndim(to_numpy(a)) for a in _arrays(x)):
            self.keys, arrays = list(range(len(x))), list(x)
        if not arrays:
            raise ValueError(f"{name} must not be empty")
        self.kinds = arrays
        self.by_name = isinstance(x, Mapping)
        self.names = [name] if self.keys is None else [f"{name}[{key!r}]" for key in self.keys]
        points = [as_point(each, array) for each, array in zip(self.names, arrays, strict=True)]
        ends = np.cumsum([0, *(point.size for point in points)])
        told = [str(key) for key in self.keys] if self.by_name and self.keys else self.names
        spans = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        shapes = [point.shape for point in points]
        self.blocks = [Block(*each) for each in zip(told, spans, shapes, strict=True)]
        self.vector = join(points)

    def like(self, vector: Array) -> Any:
        """A vector in the form in which x came."""
        pairs = zip(self.blocks, self.kinds, strict=True)
        arrays = [alike(block.of(vector), kind) for block, kind in pairs]
        if self.keys is None:
            return arrays[0]
        return dict(zip(self.keys, arrays, strict=True)) if self.by_name else arrays

    def rows(self, name: str, gradient: Any) -> list[Array]:
        """A gradient that came in the form of x, as an array for each block."""
        if self.keys is None:
            return [as_gradient(gradient, self.blocks[0].shape, name)]
        if self.by_name:
            if not isinstance(gradient, Mapping) or set(gradient) != set(self.keys):
                came = sorted(gradient) if isinstance(gradient, Mapping) else describe(gradient)
                raise ValueError(f"{name} must be a dict with the keys {self.keys}, got {came}")
            gradient = [gradient[key] for key in self.keys]
        if not isinstance(gradient, list | tuple) or len(gradient) != len(self.keys):
            raise ValueError(
                f"{name} must be a list of {len(self.keys)} arrays, got {describe(gradient)}"
            )
        pairs = zip(self.keys, self.blocks, gradient, strict=True)
        return [as_gradient(g, block.shape, f"{name}[{key!r}]") for key, block, g in pairs]


def _arrays(values: Sequence[Any]) -> list[Any]:
    """Those that are arrays or tensors, and not lists or numbers."""
    return [value for value in values if hasattr(value, "shape")]


def join(arrays: Sequence[Array]) -> Array:
    """One vector of all their numbers, in float64."""
    return np.concatenate([np.ravel(array).astype(np.float64) for array in arrays])


def call(name: str, f: Callable[..., Any], *arguments: Any) -> Any:
    """f(*arguments), or a `ValueError` that says what it raised."""
    with quiet():
        try:
            return f(*arguments)
        except Exception as error:
            told = f"{type(error).__name__}: {error}".rstrip(": ")
            raise ValueError(f"{name} must not raise at this point, got {told}") from error


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
        value = value.detach().cpu()
    return np.asarray(value)


def alike(array: Array, kind: Any) -> Any:
    """`array` as a torch tensor or a JAX array where `kind` is one, which their code asks for."""
    if hasattr(kind, "detach"):
        dtype = kind.dtype.to_complex() if np.iscomplexobj(array) else kind.dtype
        return sys.modules["torch"].from_numpy(np.ascontiguousarray(array)).to(kind.device, dtype)
    if isinstance(kind, np.ndarray) or not hasattr(kind, "__array_namespace__"):
        return array
    return kind.__array_namespace__().asarray(array)


def number(name: str, result: Any) -> Any:
    """What a scalar function returned as a Python number, or a clear error."""
    if isinstance(result, tuple | list):
        wanted = "one number (where it returns (value, gradient), say gradient=True)"
        raise TypeError(f"{name} must return {wanted}, got {describe(result)}")
    array = to_numpy(result)
    if array.size != 1:
        raise ValueError(f"{name} must return one number, got {describe(array)}")
    if array.dtype.kind not in "fciub":
        raise TypeError(f"{name} must return a number, got {describe(array)}")
    return array.reshape(()).item()


def scalar_function(name: str, f: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """f on a copy of its argument, returning a Python number, or a clear error."""
    return lambda x: number(name, call(name, f, x.copy()))


def check_repeats(name: str, f: Callable[[Array], Any], x: Array, *, finite: bool = False) -> Array:
    """f(x), after a second call: another result could not be checked."""
    with quiet():
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
