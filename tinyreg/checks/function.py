"""Any function and its gradient, anyone's; and how what was handed in is turned into NumPy."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.checks.differences import generator, measure, quiet
from tinyreg.checks.judge import Part
from tinyreg.checks.kinks import settle
from tinyreg.checks.report import Report, add_row
from tinyreg.checks.steps import EPS
from tinyreg.core.network import Block
from tinyreg.validate import Array, describe

RTOL = 1e-6
METHODS = ("auto", "central", "complex")
Value = Callable[[Array], Any]
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

    Nothing is known of f but its values. A kink is told by one-sided differences with smaller and
    smaller steps, and whether a gradient belongs to it by the slopes at points near by.

    Parameters
    ----------
    f : function of x, returning one number
        It is handed float64 copies in the form of x. It is called near x as well, where it may
        raise: such steps are left out.
    gradient : array of x's shape, or function of x that returns one; or True
        A dict or list where x is one. True: f returns the pair (value, gradient), as with SciPy's
        ``jac=True``.
    x : array of floats, torch tensor or JAX array, or a dict or list of them
    method : "auto", "central" or "complex"
        "central" uses real differences. "auto" also uses the complex step, where it agrees with
        them along random directions. "complex" uses it alone; a kink is then inconclusive.
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
        If x is empty, not finite or of integers; if f raises at x, or does not return one finite
        number, the same twice; if the gradient has another shape; if method="complex" does not
        work for f.

    Examples
    --------
    >>> def f(x):
    ...     return np.sum(x**3)
    >>> check_gradient(f, lambda x: 3 * x**2, np.array([1.0, 2.0])).ok
    True
    >>> report = check_gradient(lambda x: np.abs(x).sum(), np.sign, np.array([1.5, 0.0]))
    >>> report.ok, report.rows[0]["kink"], report.rows[0]["kinks"]["between"]
    (True, 1, True)

    Several arrays, with value and gradient from one function:

    >>> def loss(p):
    ...     return p["b"] + p["w"] @ p["w"], {"w": p["w"], "b": 1.0}
    >>> report = check_gradient(loss, True, {"w": np.array([1.0, 2.0]), "b": 0.5})
    >>> [(row["block"], row["diagnosis"]) for row in report.rows]
    [('w', 'constant factor 0.5: a 2 is missing'), ('b', '')]
    """
    validate.check_function("f", f)
    how = How(directions, method, seed, rtol, atol).checked()
    variables, notes = Variables("x", x), []
    point = variables.vector

    def ask(name: str, function: Callable[[Any], Any], p: Array) -> Any:
        handed = p.copy()
        result = call(name, function, variables.like(handed))
        note = f"{name} changes its argument in place"
        if note not in notes and not np.array_equal(handed, p):
            notes.append(note)
        return result

    def told(p: Array) -> Any:
        """What f returns, and the gradient if that comes with it."""
        result = ask("f", f, p)
        if gradient is not True:
            return result, None
        if not isinstance(result, tuple | list) or len(result) != 2:
            wanted = "with gradient=True f must return (value, gradient)"
            raise TypeError(f"{wanted}, got {describe(result)}")
        return result

    def value(p: Array) -> Any:
        return number("f", told(p)[0])

    def slopes(p: Array) -> list[Array]:
        came = ask("gradient", gradient, p) if callable(gradient) else gradient
        return variables.rows("gradient", told(p)[1] if gradient is True else came)

    if np.imag(check_repeats("f", value, point, finite=True)):
        raise TypeError(f"f must return a real number at this point, got {value(point)}")
    check_repeats("gradient", lambda p: join(slopes(p)), point)
    given, rng = slopes(point), generator(seed)
    precision = precision_of(*given, told(point)[0])
    part, more = how.measured(value, point, join(given), rng, precision)
    report = Report(f"gradient of {name_of(f)}", [], notes + more)
    if directions is not None:
        add_row(report, "directions", [part], rtol, atol=atol, precision=precision)
        return report
    part = settle(part, value, point, rng, rtol, precision)
    for block in variables.blocks:
        own, at = [part.each(block.of)], block.of(point)
        add_row(report, block.name, own, rtol, atol=atol, precision=precision, x=at)
    return report


class How(NamedTuple):
    """The settings that checks of functions and of layers share."""

    directions: int | None
    method: str
    seed: int
    rtol: float
    atol: float
    upstreams: int = 1

    def checked(self) -> How:
        """The same, or an error that names one."""
        if self.directions is not None:
            validate.check_integer("directions", self.directions, least=1)
        validate.check_choice("method", self.method, METHODS)
        validate.check_integer("seed", self.seed, least=0)
        validate.check_number("rtol", self.rtol, above=0)
        validate.check_number("atol", self.atol, least=0)
        validate.check_integer("upstreams", self.upstreams, least=1)
        return self

    def measured(
        self, f: Value, x: Array, given: Array, rng: np.random.Generator, precision: float
    ) -> tuple[Part, list[str]]:
        """A gradient beside the slopes of f, or both along random directions; and notes."""
        vectors = None
        if self.directions is not None:
            vectors = rng.standard_normal((self.directions, *x.shape)) / np.sqrt(x.size)
            given = np.tensordot(vectors, given, x.ndim)
        slopes, notes = measure(f, x, self.method, rng, vectors, precision)
        return Part("gradient", given, slopes), notes


class Variables:
    """What a function is differentiated by: an array, or a dict or list of them, as one vector."""

    def __init__(self, name: str, x: Arrays) -> None:
        self.form: type | None = dict if isinstance(x, Mapping) else None
        self.kinds: dict[Any, Any] = dict(x) if isinstance(x, Mapping) else {"": x}
        if isinstance(x, list | tuple) and any(getattr(a, "ndim", 0) for a in x):
            self.form, self.kinds = list, dict(enumerate(x))
        if not self.kinds:
            raise ValueError(f"{name} must not be empty")
        names = [name + self.at(key) for key in self.kinds]
        points = [as_point(*pair) for pair in zip(names, self.kinds.values(), strict=True)]
        ends = np.cumsum([0, *(point.size for point in points)]).tolist()
        told = map(str, self.kinds) if self.form is dict else names
        spans = [slice(*pair) for pair in itertools.pairwise(ends)]
        shapes = [point.shape for point in points]
        self.blocks = [Block(*each) for each in zip(told, spans, shapes, strict=True)]
        self.vector = join(points)

    def at(self, key: Any) -> str:
        """How one of several is written after the name of all."""
        return f"[{key!r}]" if self.form else ""

    def like(self, vector: Array) -> Any:
        """A vector in the form in which x came."""
        pairs = zip(self.blocks, self.kinds.items(), strict=True)
        arrays = {key: alike(block.of(vector), kind) for block, (key, kind) in pairs}
        return arrays if self.form is dict else list(arrays.values()) if self.form else arrays[""]

    def rows(self, name: str, gradient: Any) -> list[Array]:
        """A gradient that came in the form of x, as an array for each block."""
        if self.form is dict:
            if not isinstance(gradient, Mapping) or set(gradient) != set(self.kinds):
                came = sorted(gradient) if isinstance(gradient, Mapping) else describe(gradient)
                raise ValueError(f"{name} must be a dict with the keys {[*self.kinds]}, got {came}")
        elif self.form is None:
            gradient = {"": gradient}
        elif isinstance(gradient, list | tuple) and len(gradient) == len(self.kinds):
            gradient = dict(enumerate(gradient))
        else:
            wanted = f"{name} must be a list of {len(self.kinds)} arrays"
            raise ValueError(f"{wanted}, got {describe(gradient)}")
        pairs = zip(self.kinds, self.blocks, strict=True)
        return [as_gradient(gradient[key], own.shape, name + self.at(key)) for key, own in pairs]


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
    return np.array(validate.check_array(name, array, np.float64))


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
    close = np.isclose(first, second, rtol=16 * precision_of(first), atol=0.0, equal_nan=True)
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
