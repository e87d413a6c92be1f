"""Any layer, anyone's: is its backward pass that of its forward pass?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.checks.differences import measure
from tinyreg.checks.function import (
    METHODS,
    RTOL,
    as_gradient,
    as_point,
    check_repeats,
    name_of,
    precision_of,
    to_numpy,
)
from tinyreg.checks.judge import Part
from tinyreg.checks.report import Report, add_row
from tinyreg.validate import Array


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
        where there is one input. A gradient of None is not checked.
    *arrays : the inputs
        Arrays that are not of floats (labels, say) are handed on but not checked.
    wrt : sequence of int, optional
        Which of the inputs `backward` returns gradients of; all, if left out.
    names : sequence of str, optional: of the inputs, for the report
    upstreams : int, how many D are tried
    method, seed, rtol : as for `check_gradient`

    Returns
    -------
    Report, with a row for each input

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
    validate.check_choice("method", method, METHODS)
    validate.check_integer("seed", seed, least=0)
    validate.check_integer("upstreams", upstreams, least=1)
    validate.check_number("rtol", rtol, above=0)
    inputs, names, chosen, floats = _inputs(arrays, wrt, names)

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
        came = validate.describe(out)
        raise TypeError(f"forward must return an array of real numbers, got {came}")
    rng = np.random.default_rng(seed)
    report = Report(f"backward of {name_of(forward)}", [])
    found: dict[int, list[Part]] = {}
    for trial in range(upstreams):
        dout = rng.standard_normal(out.shape)
        gradients = _run_backward(backward, dout, inputs, len(chosen), report.notes)
        for i, gradient in zip(chosen, gradients, strict=True):
            if gradient is None or i not in floats:
                continue
            given = as_gradient(gradient, inputs[i].shape, f"the gradient of {names[i]}")

            def f(x: Array, i: int = i, dout: Array = dout) -> Any:
                return np.sum(dout * run(*inputs[:i], x, *inputs[i + 1 :]))

            check_repeats("forward", f, inputs[i], finite=True)
            eps = precision_of(given, out)
            measured, notes = measure(f, inputs[i], method, rng, precision=eps)
            report.notes.extend(notes)
            part = Part(f"upstream {trial + 1}", given.astype(np.float64), measured.widened(eps))
            found.setdefault(i, []).append(part)
    if not found:
        raise ValueError("backward returned no gradient of an array of floats")
    n_samples = len(out) if out.ndim else None
    for i, parts in found.items():
        add_row(report, names[i], parts, rtol, n_samples=n_samples)
    return report


def _inputs(
    arrays: Sequence[ArrayLike], wrt: Sequence[int] | None, names: Sequence[str] | None
) -> tuple[list[Array], list[str], list[int], list[int]]:
    """The inputs with their names; positions of those with a gradient, and of those of floats."""
    if not arrays:
        raise ValueError("arrays must not be empty: hand in the inputs of forward")
    inputs = [to_numpy(array) for array in arrays]
    floats = [i for i, array in enumerate(inputs) if array.dtype.kind == "f"]
    chosen = list(range(len(inputs))) if wrt is None else validate.check_list("wrt", wrt)
    for i in chosen:
        validate.check_integer("wrt must hold positions of inputs; each", i, least=0)
        if i >= len(inputs):
            raise ValueError(f"wrt must hold positions below {len(inputs)}, got {i}")
    if not set(chosen) & set(floats):
        raise TypeError("arrays must hold at least one array of floats to differentiate by")
    names = [f"input {i}" for i in range(len(inputs))] if names is None else list(names)
    if len(names) != len(inputs):
        raise ValueError(f"names must have {len(inputs)} entries, got {len(names)}")
    inputs = [as_point(names[i], a) if i in floats else a for i, a in enumerate(inputs)]
    return inputs, names, chosen, floats


def _run_backward(
    backward: Callable[..., Any],
    dout: Array,
    inputs: Sequence[Array],
    wanted: int,
    notes: list[str],
) -> list[Any]:
    """The gradients; a note is added for each argument that `backward` changes."""
    handed = [dout.copy(), *(array.copy() for array in inputs)]
    gradients = backward(*handed)
    if not isinstance(gradients, tuple | list):
        gradients = [gradients]
    if len(gradients) != wanted:
        raise ValueError(
            f"backward must return {wanted} gradients, one for each input, got {len(gradients)} "
            "(wrt= says which inputs they belong to)"
        )
    names = ["dout", *(f"input {i}" for i in range(len(inputs)))]
    for name, before, after in zip(names, [dout, *inputs], handed, strict=True):
        told = f"backward changes {name} in place"
        if not np.array_equal(before, after) and told not in notes:
            notes.append(told)
    # A gradient may be a view of what was handed in.
    return [None if g is None else np.array(to_numpy(g)) for g in gradients]
