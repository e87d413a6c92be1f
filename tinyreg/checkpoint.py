"""Runs that stop, survive and go on: callbacks, and the file that a run is taken up from.

What a run changes in place are its parts: arrays, generators, and objects with attributes. A
checkpoint is an NPZ file with the parts as they were at the end of an epoch, and the settings of
the run: the same call goes on from there, and on the same machine with the same number of threads
ends bit for bit as if it had never been broken off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from tinyreg.errors import DivergenceError
from tinyreg.files import clear_up, read_arrays, reading, temporary_stem, write_arrays
from tinyreg.validate import Array, check_integer, check_number, describe, is_sparse

KIND, VERSION = "tinyreg checkpoint", 1
# What may differ when a run goes on.
FREE = ("objective", "epochs", "callback", "checkpoint", "checkpoint_every", "resume")
ROWS_AT_ONCE = 1024  # an array to be hashed may be larger than memory


class Memory(NamedTuple):
    """What a run knows beside its parameters, changed in place: another call goes on with it.

    As with a checkpoint, `epochs` then counts from the first call on.

    >>> from tinyreg import MLP, SGD, SquaredError, fit
    >>> from tinyreg.core.training import History
    >>> net, sgd = MLP((1, 1)), SGD(0.1)
    >>> memory = Memory.new(net.params, sgd, 0, History())
    >>> how = {"loss": SquaredError(), "optimizer": sgd, "resume": memory}
    >>> for X, y in ([[1.0]], [2.0]), ([[3.0]], [4.0]):  # an epoch for each
    ...     history = fit(net, X, y, epochs=len(memory.history.total) + 1, **how)
    >>> len(history.total), memory.state.steps
    (2, 2)
    """

    state: Any  # of the optimizer
    history: Any
    random: list[np.random.Generator]  # for the order of the samples, and for dropout

    @classmethod
    def new(cls, params: Array, optimizer: Any, seed: int, history: Any) -> Memory:
        """That of a run before its first epoch."""
        return cls(optimizer.start(params), history, np.random.default_rng(seed).spawn(2))

    @classmethod
    def check(cls, resume: object) -> Memory | None:
        """The argument `resume` of `fit`."""
        if resume is None or isinstance(resume, cls):
            return resume
        raise TypeError(f"resume must be a Memory, got {describe(resume)}")


def epochs_left(
    epochs: int, history: Any, params: Array, callbacks: Sequence[Any], file: Checkpoint | None
) -> Iterator[int]:
    """The epochs still to run, from 1; after each the callbacks are asked and the file is written.

    A callback with a memory has `start(params)` and `finish()`, called before the first epoch and
    after the last one; its attributes go into the file.
    """
    with_memory = [e for e in callbacks if hasattr(e, "start") and hasattr(e, "finish")]
    for each in with_memory:
        each.start(params)
    if file is not None:
        file.take_up(with_memory)
    check_integer("epochs", epochs, least=len(history.total))
    done = len(history.total)
    if file is not None and done < epochs and history.stopped_epoch is None:
        file.save(0, is_last=True)  # what cannot be kept or written fails before any work
    for epoch in range(done + 1, epochs + 1):
        if history.stopped_epoch is not None:
            break
        yield epoch
        answers = [each(epoch, history) for each in callbacks]  # of all, whatever the first says
        if any(answer is True or answer is np.True_ for answer in answers):
            history.stopped_epoch = epoch
        if file is not None:
            file.save(epoch, is_last=epoch == epochs or history.stopped_epoch is not None)
    for each in with_memory:
        each.finish()


@contextlib.contextmanager
def restoring(params: Array, always: bool) -> Iterator[None]:
    """Put θ back where an argument proves bad on the way, or where any run is cut short."""
    before = params.copy()
    try:
        yield
    except DivergenceError:
        raise
    except BaseException as e:
        if always or isinstance(e, TypeError | ValueError):
            params[...] = before
        raise


class Checkpoint:
    """The file of a run: `given` are the arguments of `fit`, the samples those that it checked.

    An array, a `numpy.random.Generator` or an object is one part each; of an object its attributes
    are kept: numbers, texts, None, arrays; lists, dicts or objects of these.
    """

    def __init__(
        self, given: Mapping[str, Any], samples: Sequence[Array], validation: Any,
        parts: dict[str, Any],
    ) -> None:  # fmt: skip
        self.path, self.every, self.parts = given["checkpoint"], given["checkpoint_every"], parts
        if not isinstance(self.path, str | PathLike):
            raise TypeError(f"checkpoint must be a path, got {describe(self.path)}")
        fixed = {name: value for name, value in given.items() if name not in FREE}
        fixed |= zip(("X", "y", "sample_weight"), samples, strict=True)
        fixed |= {"validation_data": validation, "params": parts["params"]}
        fixed["net"] = repr(given["net"])
        self.settings = {name: told(value) for name, value in fixed.items()}
        self.lr = getattr(given["optimizer"], "lr", None)
        self.steps = given["epochs"] * math.ceil(samples[0].shape[0] / given["batch_size"])
        self.settings["lr"] = rates(self.lr, self.steps)

    @classmethod
    def of(cls, given: Mapping[str, Any], *more: Any) -> Checkpoint | None:
        """None where no file is asked for."""
        if given["checkpoint"] is None:
            return None
        if given["resume"] is not None:
            raise ValueError("checkpoint is such a memory already: resume does not go with it")
        return cls(given, *more)

    def take_up(self, callbacks: Sequence[Any]) -> None:
        """Put the parts, and these callbacks, back as the file has them, if there is one."""
        self.parts["callback"] = list(callbacks)
        self.settings["callback"] = told([repr(each) for each in callbacks])
        folder, name = os.path.split(os.path.realpath(self.path))
        clear_up(folder, glob.escape(temporary_stem(name)))
        if os.path.exists(self.path):
            self._load()

    def save(self, epoch: int, is_last: bool) -> None:
        """Write the parts as they are now, if it is time."""
        if is_last or epoch % self.every == 0:
            arrays: dict[str, Array] = {}
            parts = _plain("", self.parts, arrays)
            run = {"settings": self.settings, "steps": self.steps, "parts": parts}
            text = json.dumps(run | {"arrays": list(arrays)}).encode()
            write_arrays(self.path, KIND, VERSION, run=np.frombuffer(text, "u1"), **arrays)

    def _load(self) -> None:
        with reading(self.path, "a file that fit wrote", "checkpoint"):
            run = json.loads(read_arrays(self.path, KIND, ["run"], VERSION)["run"].tobytes())
            arrays = read_arrays(self.path, KIND, run["arrays"], VERSION)
        ends = [told(a) for name, a in arrays.items() if not name.startswith("state")]
        if self.settings["params"] in ends:  # the network of the file's run, maybe at its best
            self.settings["params"] = run["settings"]["params"]
        now = self.settings | {"lr": rates(self.lr, run["steps"])}  # which may be fewer, or more
        difference = first_difference(run["settings"], now)
        if difference:
            raise ValueError(f"checkpoint {os.fspath(self.path)!r} is of another run: {difference}")
        _restored(self.parts, run["parts"], arrays)


def _plain(name: str, part: Any, arrays: dict[str, Any]) -> Any:
    """A part in the types of JSON, others as {type: content}, with its arrays by name in `arrays`.

    The same array in two places stays one. A NumPy number is an array: it is no float in float32.
    """
    kind, items = type(part).__name__, part
    if isinstance(part, np.ndarray | np.generic):
        name = next((known for known, array in arrays.items() if array is part), name)
        if part.dtype.kind in "biufcSU" and arrays.setdefault(name, part) is part:
            return {"array": name}
    elif part is None or isinstance(part, bool | int | float | str):
        return part
    elif isinstance(part, list | tuple):
        items = [_plain(f"{name}[{i}]", item, arrays) for i, item in enumerate(part)]
        return items if isinstance(part, list) else {"tuple": items}
    elif isinstance(part, np.random.Generator):
        items = part.bit_generator.state
    elif not isinstance(part, dict):
        items = _attributes(part)
    if isinstance(items, dict) and all(isinstance(key, str) for key in items):
        plain = {key: _plain(f"{name}.{key}".strip("."), items[key], arrays) for key in items}
        return {kind: plain}
    wanted = "arrays of numbers, numbers, texts, None, and lists, dicts and objects of these"
    raise TypeError(f"checkpoint can keep {wanted}; {name} is {describe(part)}")


def _attributes(part: Any) -> dict[str, Any] | None:
    """The attributes of an object that is no more than these, as pickle sees it, else None."""
    attributes = getattr(part, "__dict__", None)
    try:
        reduced = object.__reduce_ex__(part, 2)  # from what it is made, its arguments, its state
    except TypeError:  # a function, a generator, an open file
        return None
    return attributes if reduced[2:3] == (attributes or None,) else None


def _restored(part: Any, saved: Any, arrays: Mapping[str, Array]) -> Any:
    """What was saved, put into the part itself where that can be changed."""
    if isinstance(saved, list):
        part = part if isinstance(part, list) else []
        pairs = itertools.zip_longest(part[: len(saved)], saved)
        part[:] = [_restored(*pair, arrays) for pair in pairs]
        return part
    if not isinstance(saved, dict):
        return saved
    ((kind, content),) = saved.items()
    if kind == "array":
        array = arrays[content]
        if type(part) is not np.ndarray or (part.shape, part.dtype) != (array.shape, array.dtype):
            return array[()]
        part[...] = array
    elif kind == "tuple":
        make = getattr(part, "_make", tuple)  # of a named one
        old = part if isinstance(part, tuple) else ()
        return make(_restored(list(old), content, arrays))
    else:
        part = {} if part is None and kind == "dict" else part
        if type(part).__name__ != kind:
            raise TypeError(f"a {kind} made during the run cannot be made again")
        if isinstance(part, np.random.Generator):
            part.bit_generator.state = _restored({}, {"dict": content}, arrays)
            return part
        items = part if isinstance(part, dict) else vars(part)
        content = {key: _restored(items.get(key), item, arrays) for key, item in content.items()}
        items.clear()
        items.update(content)
    return part


def rates(lr: Any, steps: int) -> str:
    """What a schedule returns at the first steps, by a hash; of another learning rate nothing."""
    if not callable(lr):
        return "constant"
    return told(np.array([check_number(f"lr({n})", lr(n), least=0) for n in range(steps)]))


def told(value: Any) -> str:
    """A setting in words that another process would repeat: no address, of an array a hash."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(told, value))}]"
    if is_sparse(value):
        parts = told([value.indptr, value.indices, value.data]).encode()
        return f"sparse {value.shape} {told(np.frombuffer(parts, 'u1'))}"
    if not isinstance(value, np.ndarray):
        text = value if isinstance(value, str) else repr(value)
        words = re.sub(r" at 0x[0-9a-f]+", "", text)
        if isinstance(value, type):
            return words
        attributes = getattr(value, "__dict__", {}).items()
        if dataclasses.is_dataclass(value):  # whose repr has all but the middle of a long array
            attributes = [item for item in attributes if isinstance(item[1], np.ndarray)]
        return f"{words} with {told([*attributes])}" if attributes else words
    digest, rows = hashlib.blake2b(digest_size=8), np.atleast_1d(value)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        digest.update(np.ascontiguousarray(rows[start : start + ROWS_AT_ONCE]).tobytes())
    return f"{value.dtype} {value.shape} {digest.hexdigest()}"


def first_difference(saved: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The first setting that both have and that differs, in words."""
    for name, value in now.items():
        if saved.get(name, value) != value:
            return f"{name} was {saved[name]}, and is {value}"
    return None
