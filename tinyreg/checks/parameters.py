"""The parameters of an object with a forward and a backward method, by where they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinyreg import validate
from tinyreg.checks.function import alike, as_point, to_numpy
from tinyreg.validate import Array, describe


class Parameters:
    """An object's parameters: moved while its forward runs, their gradients read afterwards."""

    def __init__(
        self, layer: Any, places: Mapping[str, str], n: int, forward: str, backward: str
    ) -> None:
        self.layer, self.n, self.names, self.clears = layer, n, (forward, backward), True
        for name in self.names:
            if not callable(getattr(layer, str(name), None)):
                raise TypeError(f"layer must have a method {name!r}, got {describe(layer)}")
        self.method = getattr(layer, forward)
        self.places = validate.check_type("params", places, dict, "a dict of places")
        for place in [*places, *places.values()]:
            validate.check_type("each place in params", place, str, 'a name such as "grads.W"')
        self.points = {place: as_point(place, _get(layer, place)) for place in places}

    def forward(self, *values: Any) -> Any:
        """Its forward pass, with these values of the inputs and the parameters."""
        with self._moved(values[self.n :]):
            return getattr(self.layer, self.names[0])(*values[: self.n])

    def backward(self, *given: Any) -> Any:
        """Its backward pass, from gradients of 0."""
        for place in self.places.values() if self.clears else ():
            with contextlib.suppress(ValueError):  # the backward pass may make it
                gradient = _get(self.layer, place)
                if not _write(gradient, np.zeros((), bool)):
                    _put(self.layer, place, 0 * gradient)
        with self._moved(list(self.points.values())):
            return getattr(self.layer, self.names[1])(*given)

    def gradients(self) -> dict[str, Any]:
        """Those of the parameters, from their places."""
        return {name: _get(self.layer, place) for name, place in self.places.items()}

    @contextlib.contextmanager
    def _moved(self, values: Sequence[Array]) -> Iterator[None]:
        """The layer with these values, and in the end as it was.

        An array is written to where it can hold them, as other names may stand for it too; else
        there is another object in its place meanwhile.
        """
        before = [(place, _get(self.layer, place)) for place in self.places]
        kept = [np.array(to_numpy(own)) for _, own in before]
        try:
            for (place, own), value in zip(before, values, strict=True):
                if not _write(own, value):
                    _put(self.layer, place, alike(value, own)[()])
            yield
        finally:
            for (place, own), value in zip(before, kept, strict=True):
                _write(own, value)
                if _get(self.layer, place) is not own:
                    _put(self.layer, place, own)


def _write(own: Any, value: Array) -> bool:
    """Write to an array, if it can hold the value."""
    fits = isinstance(own, np.ndarray) and own.flags.writeable
    if fits := fits and np.can_cast(value.dtype, own.dtype):
        own[...] = value
    return fits


def _get(layer: Any, place: str) -> Any:
    """What lies at a place, and is not None."""
    found = layer
    try:
        for step in place.split("."):
            if isinstance(found, Mapping):
                found = found[step]
            else:
                row = isinstance(found, list | tuple)
                found = found[int(step)] if row else getattr(found, step)
        if found is None:
            raise LookupError("None lies there")
    except (AttributeError, LookupError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"params must name places in the layer, got {place!r}: {told}") from error
    return found


def _put(layer: Any, place: str, value: Any) -> None:
    """Let it lie there."""
    way, _, last = place.rpartition(".")
    owner = _get(layer, way) if way else layer
    if isinstance(owner, dict):
        owner[last] = value
    elif isinstance(owner, list):
        owner[int(last)] = value
    else:
        setattr(owner, last, value)
