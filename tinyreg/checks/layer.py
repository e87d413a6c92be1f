"""Any layer, anyone's: is its backward pass that of its forward pass?

With an upstream gradient D, the function Σ D ⊙ forward(x) has the gradient backward(D) in every
input and parameter: that is what a backward pass means. So each is checked as in `check_gradient`,
for several random D. As many layers keep in forward what backward needs, forward is called on the
plain inputs right before backward, and complex numbers are given to a copy of the layer.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.checks.differences import generator, quiet
from tinyreg.checks.function import (
    RTOL,
    How,
    Variables,
    alike,
    as_gradient,
    as_point,
    call,
    check_repeats,
    name_of,
    precision_of,
    to_numpy,
)
from tinyreg.checks.judge import SMALL, Part
from tinyreg.checks.kinks import Outputs, settle
from tinyreg.checks.parameters import Parameters
from tinyreg.checks.report import Report, add_row
from tinyreg.validate import Array, describe


def check_backward(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *arrays: ArrayLike,
    wrt: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    cache: bool = False,
    upstreams: int = 2,
    directions: int | None = None,
    method: str = "auto",
    seed: int = 0,
    rtol: float = RTOL,
    atol: float = 0.0,
) -> Report:
    """Check a layer's backward pass against its forward pass, for all inputs.

    Give every axis another size, so that no transpose can hide. Where a layer acts on each number
    by itself, an error of a few ε of its slopes near by is allowed: 1 − tanh² has it.

    Parameters
    ----------
    forward : function of the inputs, returning an array, or a tuple or dict of arrays
    backward : function of (dout, *inputs)
        dout has the form of what forward returned. The gradients come in the order of the inputs,
        in a dict by name, or as one array where there is one input. None is not checked.
    *arrays : the inputs
        What is not of floats (labels, settings) is handed on but not checked.
    wrt : sequence of int, optional
        Which of the inputs `backward` returns gradients of; all, or all of floats, if left out.
    names : sequence of str, optional: of the inputs; as forward has them, if left out
    cache : bool
        True: forward returns (out, cache), and backward is a function of (dout, cache).
    upstreams : int, how many random dout are tried
    directions : int, optional
        Check along so many random directions of each input in place of each coordinate.
    method, seed, rtol, atol : as for `check_gradient`

    Returns
    -------
    Report, with a row for each input

    Raises
    ------
    ValueError, TypeError
        If forward or backward raises, or gives something else in a second call; if the output is
        not finite, or gradients do not fit the inputs; if an argument is not as it should be.

    Examples
    --------
    >>> from tinyreg.core.layers import affine_backward, affine_forward
    >>> rng = np.random.default_rng(0)
    >>> x, W, b = rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
    >>> check_backward(affine_forward, affine_backward, x, W, b, names=("x", "W", "b")).ok
    True

    With a cache, in the style of CS231n:

    >>> def square_forward(x):
    ...     return x**2, x
    >>> def square_backward(dout, cache):
    ...     return 2 * cache * dout
    >>> check_backward(square_forward, square_backward, x, cache=True).ok
    True
    """
    how = How(directions, method, seed, rtol, atol, upstreams).checked()
    layer = _Layer(forward, backward, arrays, names, cache, wrt)
    return _judge(f"backward of {name_of(forward)}", layer, how)


def check_layer(
    layer: Any,
    *inputs: ArrayLike,
    params: Mapping[str, str] | None = None,
    forward: str = "forward",
    backward: str = "backward",
    names: Sequence[str] | None = None,
    cache: bool = False,
    upstreams: int = 2,
    directions: int | None = None,
    method: str = "auto",
    seed: int = 0,
    rtol: float = RTOL,
    atol: float = 0.0,
) -> Report:
    """Check the backward pass of an object, for its inputs and its parameters.

    Parameters are moved while it runs, and put back. Gradients are set to 0 before each backward
    pass, as some layers add to them. Give every axis another size, so that no transpose can hide.

    Parameters
    ----------
    layer : object with methods forward(*inputs) and backward(dout)
        What they take and return is as in `check_backward`; backward may also return None.
    *inputs : x, and more if forward takes more
    params : dict of str to str, optional
        The place of each parameter, and of its gradient after a backward pass: an attribute, or a
        way by dots through attributes, dicts and lists, such as "layers.0.grads.W".
    forward, backward : str, the names of the methods
    names, cache, upstreams, directions, method, seed, rtol, atol : as for `check_backward`

    Returns
    -------
    Report, with a row for each input and each parameter

    Raises
    ------
    ValueError, TypeError
        As `check_backward`; and if a place does not exist, or does not hold an array of floats.

    Examples
    --------
    >>> class Scale:
    ...     def __init__(self):
    ...         self.w, self.grads = np.array([2.0, 3.0]), {}
    ...     def forward(self, x):
    ...         self.x = x
    ...         return self.w * x
    ...     def backward(self, dout):
    ...         self.grads["w"] = dout.sum(axis=0)  # it should be (self.x * dout).sum(axis=0)
    ...         return self.w * dout
    >>> x = np.array([[1.0, -1.0], [0.5, 2.0], [3.0, 1.0]])
    >>> report = check_layer(Scale(), x, params={"w": "grads.w"})
    >>> [(row["block"], row["match"], row["mismatch"]) for row in report.rows]
    [('x', 6, 0), ('w', 0, 2)]
    """
    how = How(directions, method, seed, rtol, atol, upstreams).checked()
    own = Parameters(layer, params or {}, len(inputs), forward, backward)
    whole = _Layer(own.forward, own.backward, inputs, names, cache, own=own)
    _look_for_sums(whole, own)
    return _judge(f"backward of {type(layer).__name__}", whole, how)


def _look_for_sums(layer: _Layer, own: Parameters) -> None:
    """A note where a second backward pass adds to a gradient."""
    dout = generator(0).standard_normal(layer.form.vector.size)
    once, own.clears = layer.pull(dout), False
    twice, own.clears = layer.pull(dout), True
    for name, a, b in zip(layer.names, once, twice, strict=True):
        if name in own.places and not np.allclose(a, b, equal_nan=True):
            told = f"backward adds to {own.places[name]}: it is set to 0 before each call"
            layer.notes.append(told)


def _judge(title: str, layer: _Layer, how: How) -> Report:
    """A row for each block: its gradients for several upstreams, against those measured."""
    report, rng = Report(title, [], layer.notes), generator(how.seed)
    out = check_repeats("forward", lambda _: layer.run(layer.points), layer.points[0])
    size = how.upstreams, out.size
    douts = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.0, size)  # no output counts little
    precision = precision_of(out, *(g for g in layer.pull(douts[0]) if g is not None))
    for i, (name, x) in enumerate(zip(layer.names, layer.points, strict=True)):
        if layer.pull(douts[0])[i] is None:
            report.notes.append(f"{name} is not checked: backward returned no gradient of it")
            continue
        parts = [_compare(layer, i, dout, rng, how, precision) for dout in douts]
        sizes, at = {"N": layer.n_samples}, None if how.directions else x
        add_row(
            report, name, parts, how.rtol, atol=how.atol, precision=precision, sizes=sizes, x=at
        )
    if not report.rows:
        raise ValueError("backward returned no gradient of an array of floats")
    layer.run(layer.points)  # what it keeps is of plain inputs again
    report.notes[:] = dict.fromkeys(report.notes)
    return report


def _compare(
    layer: _Layer, i: int, dout: Array, rng: np.random.Generator, how: How, precision: float
) -> Part:
    """One block's gradient for an upstream, and the one measured."""
    name, x = layer.names[i], layer.points[i]

    def outputs(x: Array) -> Array:
        return layer.run([*layer.points[:i], x, *layer.points[i + 1 :]])

    def f(x: Array) -> Any:
        return dout @ outputs(x)

    told = f"backward, in the gradient of {name},"
    given = check_repeats(told, lambda _: layer.pull(dout)[i], x).astype(np.float64)
    part, notes = how.measured(f, x, given, rng, precision)
    layer.notes.extend(f"{name}: {note}" for note in notes)
    if how.directions is not None:
        return part
    m, slack = part.measured, 16 * precision * _slopes_near(outputs, dout, x)
    m = m._replace(
        error=m.error + slack,
        scale=np.maximum(m.scale, 2 / SMALL * slack),  # for such an error, and no larger
        unproved=np.where(np.abs(given - m.unproved) <= slack, given, m.unproved),
    )
    part = settle(
        part._replace(measured=m), f, x, rng, how.rtol, precision, outputs, lambda: layer.units[i]
    )
    if np.any(part.clarke):  # what the units say is true of `dout` if backward is linear
        slack = max(how.rtol, 16 * precision) * (np.abs(dout) @ np.abs(layer.units[i]))
        bent = np.abs(given.ravel() - dout @ layer.units[i]) > slack
        bent = bent.reshape(x.shape) & (part.clarke > 0)
        if bent.any():
            told = "backward is not linear in dout"
            part = part._replace(clarke=np.where(bent, -1.0, part.clarke), refused=told)
    return part


def _slopes_near(outputs: Outputs, dout: Array, x: Array) -> Array:
    """The largest slopes between x and 0, of a layer that acts on each number by itself; else 0.

    Where tanh or σ is flat, 1 − a² and a(1 − a) are off by ε of such slopes.
    """
    none, drawn = np.zeros(x.shape), generator(0).random((4, *x.shape)) < 0.5
    if dout.size != x.size:
        return none
    with quiet():
        try:
            outs = np.array([outputs(share * x) for share in np.linspace(0, 1, 17)])
            mixed = np.array([outputs(kept * x) for kept in drawn])
        except ValueError:  # away from x a layer may refuse
            return none
        alone = np.where(drawn.reshape(mixed.shape), outs[-1], outs[0])
        slopes = np.abs(dout * np.diff(outs, axis=0) / (x.ravel() / 16)).max(axis=0)
        slopes = np.nan_to_num(slopes, posinf=0.0).reshape(x.shape)
        return slopes if np.allclose(mixed, alone, equal_nan=True) else none


class _Layer:
    """The two passes between vectors: from values to outputs, from an upstream to gradients.

    Backward takes what forward returned last, with `cache`; nothing more, where an object keeps its
    `own` parameters; and else the inputs once more.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        arrays: Sequence[Any],
        names: Sequence[str] | None,
        cache: bool,
        wrt: Sequence[int] | None = None,
        own: Parameters | None = None,
    ) -> None:
        n = len(arrays)
        if not n:
            raise ValueError("arrays must not be empty: hand in the inputs of forward")
        self.forward, self.backward, self.cache, self.own = forward, backward, cache, own
        self.inputs = _names(own.method if own else forward, n, names)
        told = "wrt must hold positions of inputs; each"
        self.chosen = list(range(n)) if wrt is None else validate.check_list("wrt", wrt)
        for i in self.chosen:
            if validate.check_integer(told, i, least=0) >= n:
                raise ValueError(f"wrt must hold positions below {n}, got {i}")
        with validate.named(", ".join(self.inputs)):  # rows of different lengths are refused
            self.arrays = [to_numpy(a) if isinstance(a, list | tuple) else a for a in arrays]
        self.moved = [i for i in self.chosen if to_numpy(self.arrays[i]).dtype.kind == "f"]
        blocks = {self.inputs[i]: as_point(self.inputs[i], arrays[i]) for i in self.moved}
        params = own.points if own else {}
        if both := set(self.inputs) & set(params):
            raise ValueError(f"names must not be those of params, got {', '.join(both)}")
        self.names, self.points = [*blocks, *params], [*blocks.values(), *params.values()]
        if not self.points:
            raise TypeError("arrays must hold at least one array of floats to differentiate by")
        left = [self.inputs[i] for i in self.chosen if i not in self.moved]
        self.notes = [f"{name} is not checked: it is no array of floats" for name in left]
        out, _ = self._outputs(forward, self._handed(self.points))
        try:
            self.form = Variables("the output of forward", out)
            self.pull(np.zeros(self.form.vector.size))
        except (TypeError, ValueError) as error:
            if cache or not isinstance(out, tuple):
                raise
            text = f"{error} (where forward returns (out, cache), say cache=True)"
            raise type(error)(text) from error.__cause__
        self.n_samples = (*self.form.blocks[0].shape, 1)[0]

    def _handed(self, values: Sequence[Array]) -> list[Any]:
        """What forward takes, in copies of its own, with these values for what is moved."""
        fresh = [copy.deepcopy(a) if isinstance(a, np.ndarray | dict) else a for a in self.arrays]
        for i, value in zip(self.moved, values, strict=False):
            fresh[i] = alike(value.copy(), self.arrays[i])
        return fresh + [value.copy() for value in values[len(self.moved) :]]

    def _outputs(self, forward: Callable[..., Any], handed: Sequence[Any]) -> tuple[Any, Any]:
        """What forward returned, and the cache."""
        result = call("forward", forward, *handed)
        if not self.cache:
            return result, None
        if not isinstance(result, tuple | list) or len(result) < 2:
            came = describe(result)
            raise TypeError(f"with cache=True forward must return (out, cache), got {came}")
        *outs, kept = result
        return (outs[0] if len(outs) == 1 else tuple(outs)), kept

    @functools.cached_property
    def twin(self) -> Callable[..., Any]:
        """A forward that may keep complex numbers: if it is a method, that of a copied object."""
        return copy.deepcopy(self.forward)

    def run(self, values: Sequence[Array]) -> Array:
        """All outputs as one vector."""
        forward = self.twin if any(map(np.iscomplexobj, values)) else self.forward
        out, _ = self._outputs(forward, self._handed(values))
        out = list(out.values()) if isinstance(out, Mapping) else out
        several = out if isinstance(out, tuple | list) else [out]
        return np.concatenate([np.ravel(to_numpy(each)) for each in several])

    def pull(self, dout: Array) -> list[Any]:
        """The gradients, by a forward pass on the plain inputs and then the backward pass."""
        handed, upstream = self._handed(self.points), dout.copy()
        _, kept = self._outputs(self.forward, handed)
        self._look("forward", handed)
        given = self.form.like(upstream)
        given = tuple(given) if isinstance(given, list) else given
        rest = [kept] if self.cache else []
        if not self.cache and not self.own:
            rest = handed = self._handed(self.points)
        found = self._by_name(call("backward", self.backward, given, *rest))
        self._look("backward", handed)
        if not np.array_equal(upstream, dout):
            self.notes.append("backward changes dout in place")
        if self.own:
            found |= self.own.gradients()
        gradients: list[Array | None] = []
        for name, point in zip(self.names, self.points, strict=True):
            g, told = found.get(name), f"the gradient of {name}"
            gradients.append(None if g is None else as_gradient(g, point.shape, told).copy())
        return gradients

    @functools.cached_property
    def units(self) -> list[Array]:
        """For each block the gradients of each output alone, in rows."""
        pulled = [self.pull(unit) for unit in np.eye(self.form.vector.size)]
        return [np.array([np.ravel(each) for each in block]) for block in zip(*pulled, strict=True)]

    def _look(self, who: str, handed: Sequence[Any]) -> None:
        """A note for each input that was changed."""
        fresh = self._handed(self.points)
        for i in self.moved:
            told = f"changes {self.inputs[i]} in place"
            known = any(note.endswith(told) for note in self.notes)
            if not known and not np.array_equal(to_numpy(handed[i]), to_numpy(fresh[i])):
                self.notes.append(f"{who} {told}")

    def _by_name(self, came: Any) -> dict[str, Any]:
        """What backward returned, by the names of the inputs."""
        if isinstance(came, Mapping):
            if other := [str(name) for name in came if name not in self.inputs]:
                wanted = f"name its gradients as the inputs, {', '.join(self.inputs)} (see names=)"
                raise ValueError(f"backward must {wanted}, got {', '.join(other)}")
            return dict(came)
        if came is None:
            return {}
        came = came if isinstance(came, tuple | list) else [came]
        belongs = self.moved if len(came) == len(self.moved) else self.chosen
        if len(came) != len(belongs):
            raise ValueError(
                f"backward must return {len(belongs)} gradients, one for each input, got "
                f"{len(came)} (wrt= says which inputs they belong to)"
            )
        return {self.inputs[i]: gradient for i, gradient in zip(belongs, came, strict=True)}


def _names(forward: Callable[..., Any], n: int, names: Sequence[str] | None) -> list[str]:
    """A name for each input: as forward itself has them, if none are given."""
    if names is not None:
        names = validate.check_list("names", names)
        if len(names) != n or len(set(names)) != n:
            raise ValueError(f"names must have {n} entries, each once, got {names}")
        return names
    with contextlib.suppress(TypeError, ValueError):  # some functions do not tell
        own = inspect.signature(forward).parameters.values()
        told = [each.name for each in own if each.kind <= each.POSITIONAL_OR_KEYWORD]
        if len(told) >= n:
            return told[:n]
    return [f"input {i}" for i in range(n)]
