"""Checks of anyone's code: a function and its gradient, a layer and its backward pass.

Nothing is known here but values, so derivatives are measured as in `tinyreg.checks.differences.along`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.checks.differences import (
    EPS,
    Line,
    Measured,
    along,
    complex_slope,
    from_lines,
    ladder,
    noise_of,
    unit_vectors,
)
from tinyreg.checks.report import Part, Report, block_row
from tinyreg.validate import (
    Array,
    check_array,
    check_choice,
    check_integer,
    check_list,
    check_number,
    describe,
)

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

    Nothing is known of f but its values, so kinks are judged from one-sided differences at a
    shrinking ladder of steps; see `tinyreg.checks.differences.along`.

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
    rtol : float
        The relative error allowed, beyond the estimated error of the differences.

    Returns
    -------
    Report
        With one row, "x" or "directions".

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
    low = precision_of(given, f(point.copy()))
    rng = np.random.default_rng(seed)
    notes: list[str] = []
    name = "x"
    vectors = None
    wide = given.astype(np.float64)
    if directions is not None:
        name = "directions"
        vectors = rng.standard_normal((directions, *point.shape))
        vectors /= np.sqrt(np.sum(vectors**2, axis=tuple(range(1, vectors.ndim)), keepdims=True))
        wide = np.array([np.vdot(wide, v) for v in vectors])
    measured, refuted = measure(value, point, method, rng, vectors, low)
    note_refuted(notes, refuted, wide.size)
    row, details = block_row(name, [Part("f", wide, widened(measured, low))], rtol)
    return Report(f"gradient of {name_of(f)}", [row], notes, {name: details})


def check_backward(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *arrays: ArrayLike,
    wrt: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    upstreams: int = 2,
    method: str = "auto",
    seed: int = 0,
    rtol: float = RTOL,
) -> Report:
    """Check a layer's backward pass against its forward pass, for all inputs.

    With a random upstream gradient D, the function Σ D ⊙ forward(x) has the gradient
    backward(D, x) in every input x: that is what a backward pass means. So each input is checked
    as in `check_gradient`, for several D.

    Parameters
    ----------
    forward : function of the arrays, returning one array
    backward : function of (dout, *arrays)
        Returns the gradients of the inputs in their order: a tuple or list, or a single array
        where there is one input.
    *arrays : the inputs
        Arrays that are not of floats (labels, say) are handed on but not checked.
    wrt : sequence of int, optional
        Which of the inputs `backward` returns gradients of; all, if left out. A gradient of None
        is not checked.
    names : sequence of str, optional
        Of the inputs, for the report.
    upstreams : int
    method, seed, rtol : as for `check_gradient`

    Returns
    -------
    Report
        With a row for each input.

    Raises
    ------
    ValueError, TypeError
        If the number of gradients is not that of the inputs, a gradient has another shape than
        its input, the forward is random or not finite, or an argument is not as it should be.

    Examples
    --------
    >>> from tinyreg.core.layers import affine_backward, affine_forward
    >>> rng = np.random.default_rng(0)
    >>> x, W, b = rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
    >>> check_backward(affine_forward, affine_backward, x, W, b, names=("x", "W", "b")).ok
    True

    A pair in the style of CS231n, `forward(x, …) -> out, cache` and `backward(dout, cache)`,
    needs an adapter of two lines:

    >>> def square_forward(x):
    ...     return x**2, x
    >>> def square_backward(dout, cache):
    ...     return 2 * cache * dout
    >>> forward = lambda *a: square_forward(*a)[0]
    >>> backward = lambda dout, *a: square_backward(dout, square_forward(*a)[1])
    >>> check_backward(forward, backward, x).ok
    True
    """
    check_choice("method", method, METHODS)
    check_integer("seed", seed, least=0)
    check_integer("upstreams", upstreams, least=1)
    check_number("rtol", rtol, above=0)
    if not arrays:
        raise ValueError("arrays must not be empty: hand in the inputs of forward")
    inputs = [to_numpy(array) for array in arrays]
    floats = [i for i, array in enumerate(inputs) if array.dtype.kind == "f"]
    chosen = list(range(len(inputs))) if wrt is None else check_list("wrt", wrt)
    for i in chosen:
        if check_integer("wrt must hold positions of inputs; each", i, least=0) >= len(inputs):
            raise ValueError(f"wrt must hold positions below {len(inputs)}, got {i}")
    if not set(chosen) & set(floats):
        raise TypeError("arrays must hold at least one array of floats to differentiate by")
    names = [f"input {i}" for i in range(len(inputs))] if names is None else list(names)
    if len(names) != len(inputs):
        raise ValueError(f"names must have {len(inputs)} entries, got {len(names)}")
    inputs = [as_point(names[i], a) if i in floats else a for i, a in enumerate(inputs)]

    def run(*values: Array) -> Array:
        result = forward(*(value.copy() for value in values))
        if isinstance(result, tuple):
            raise TypeError(
                f"forward must return one array, got a tuple of {len(result)}; the docstring of "
                "check_backward has the adapter for a pair with a cache"
            )
        return to_numpy(result)

    out = run(*inputs)
    if out.dtype.kind not in "fiu":
        raise TypeError(f"forward must return an array of real numbers, got {describe(out)}")
    rng = np.random.default_rng(seed)
    notes: list[str] = []
    found: dict[int, list[Part]] = {}
    for trial in range(upstreams):
        dout = rng.standard_normal(out.shape)
        gradients = _run_backward(backward, dout, inputs, len(chosen), notes)
        for i, gradient in zip(chosen, gradients, strict=True):
            if gradient is None or i not in floats:
                continue
            given = as_gradient(gradient, inputs[i].shape, f"the gradient of {names[i]}")

            def f(x: Array, i: int = i, dout: Array = dout) -> Any:
                return np.sum(dout * run(*inputs[:i], x, *inputs[i + 1 :]))

            check_repeats("forward", f, inputs[i], finite=True)
            low = precision_of(given, out)
            measured, refuted = measure(f, inputs[i], method, rng, None, low)
            note_refuted(notes, refuted, given.size)
            wide = given.astype(np.float64)
            part = Part(f"upstream {trial + 1}", wide, widened(measured, low))
            found.setdefault(i, []).append(part)
    if not found:
        raise ValueError("backward returned no gradient of an array of floats")
    report = Report(f"backward of {name_of(forward)}", [], notes)
    for i, parts in found.items():
        row, report.details[names[i]] = block_row(
            names[i], parts, rtol, n_samples=len(out) if out.ndim else None
        )
        report.rows.append(row)
    return report


def _run_backward(
    backward: Callable[..., Any],
    dout: Array,
    inputs: Sequence[Array],
    wanted: int,
    notes: list[str],
) -> list[Any]:
    handed = [dout.copy(), *(array.copy() for array in inputs)]
    gradients = backward(*handed)
    if not isinstance(gradients, tuple | list):
        gradients = [gradients]
    if len(gradients) != wanted:
        raise ValueError(
            f"backward must return {wanted} gradients, one for each input, got {len(gradients)} "
            "(wrt= says which inputs they belong to)"
        )
    for name, before, after in zip(
        ["dout", *(f"input {i}" for i in range(len(inputs)))], [dout, *inputs], handed, strict=True
    ):
        told = f"backward changes {name} in place"
        if not np.array_equal(before, after) and told not in notes:
            notes.append(told)
    # A gradient may be a view of what was handed in.
    return [None if g is None else np.array(to_numpy(g)) for g in gradients]


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


def widened(measured: Measured, eps: float) -> Measured:
    """Larger errors for a gradient that was computed in float32, say.

    In proportion to the largest entry of the block: small entries are sums that cancelled.
    """
    if eps <= EPS:
        return measured
    wide = copy.copy(measured)
    slopes = np.array([measured.value, measured.left, measured.right])
    more = 16 * eps * np.abs(np.nan_to_num(slopes)).max()
    wide.error, wide.side_error = measured.error + more, measured.side_error + more
    return wide


# ---------------------------------------------------------------- the measuring


def note_refuted(notes: list[str], refuted: int, size: int) -> None:
    """Note at how many coordinates the complex step was given up, if at any."""
    if refuted:
        notes.append(
            f"the complex step is wrong at {refuted} of {size} coordinates, by the real "
            "differences: some forward code drops imaginary parts. The real differences decide"
        )


def measure(
    f: Callable[[Array], Any],
    x: Array,
    method: str,
    rng: np.random.Generator,
    vectors: Array | None = None,
    precision: float = EPS,
) -> tuple[Measured, int]:
    """The derivatives of f at x, along each coordinate or each of `vectors`.

    Also returned: how many derivatives the complex step got wrong.
    """
    f0 = float(np.real(f(x)))
    noise = noise_of(f, x, f0, rng)
    if precision > EPS:
        noise = max(noise, precision * abs(f0))
    relative = max(noise / abs(f0) if f0 else EPS, precision)
    relative = min(relative, 1e-6)
    valid = method != "central" and _complex_works(f, x, f0, noise, relative, rng)
    if method == "complex" and not valid:
        raise ValueError(
            'method="complex" needs an f that keeps imaginary parts, and this one loses them (as '
            'np.abs, norms and float(...) do), or is flat: use method="central"'
        )
    lines, refuted = [], 0
    for at, e in _directions(x, vectors):
        if method == "complex":
            slope = complex_slope(f, x, e)
            lines.append(Line(slope, 64 * EPS * (abs(f0) + abs(slope))))
            continue
        line = along(_on_line(f, x, e), f0, ladder(at, relative), noise)
        if valid and not line.reason:
            branch = complex_slope(f, x, e)
            if not np.isnan(line.left):
                line = line._replace(value=branch, error=line.side_error)
            elif abs(branch - line.value) <= 1e-5 * abs(branch) + 10 * line.error:
                line = line._replace(value=branch)
            else:
                refuted += 1
        lines.append(line)
    measured = from_lines(lines)
    return measured.reshape(x.shape if vectors is None else (len(vectors),)), refuted


def _on_line(f: Callable[[Array], Any], x: Array, v: Array) -> Callable[[float], float]:
    """t ↦ f(x + tv)."""
    direction = v.copy()
    return lambda t: float(np.real(f(x + t * direction)))


def _directions(x: Array, vectors: Array | None) -> Iterator[tuple[float, Array]]:
    """Each direction, with the size of x along it, to which the step is scaled."""
    if vectors is not None:
        yield from ((0.0, v) for v in vectors)
    else:
        yield from ((float(x[index]), e) for index, e in unit_vectors(x.shape))


def _complex_works(
    f: Callable[[Array], Any],
    x: Array,
    f0: float,
    noise: float,
    relative: float,
    rng: np.random.Generator,
) -> bool:
    """Is the complex step of f its derivative, along random directions at x and near it?

    Near it, because x itself may be a kink, and those prove nothing.
    """
    proofs = 0
    for spread in (0.0, 1e-2, 0.3):
        point = x + spread * np.maximum(np.abs(x), 1e-3) * rng.standard_normal(x.shape)
        v = rng.choice([-1.0, 1.0], x.shape) / np.sqrt(x.size)
        at = float(np.real(f(point))) if spread else f0
        if not np.isfinite(at):
            continue
        line = along(_on_line(f, point, v), at, ladder(0.0, relative), noise)
        if line.reason or not np.isnan(line.left):
            continue
        slope = complex_slope(f, point, v)
        if not abs(slope - line.value) <= 1e-5 * abs(slope) + 10 * line.error:
            return False
        proofs += abs(slope) > 100 * line.error
    return proofs > 0
