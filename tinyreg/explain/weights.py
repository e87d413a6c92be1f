"""A network whose weights stand in a file: lines written by hand, or arrays in an NPZ.

    W1 = 0.1 -1; 0.9 0.25    # a row for each input, a column for each unit
    b1 = 0.1 0
    W2 = 0.5 -0.25; 0.08 1
    b2 = 0.5 0

A row ends with a semicolon or with its line. The sizes of the network follow from the weights.
"""

from __future__ import annotations

import itertools
import re
from os import PathLike
from pathlib import Path

import numpy as np

from tinyreg.core.network import MLP
from tinyreg.files import load_npz, reading
from tinyreg.validate import Array, check_array


def read_network(
    path: str | PathLike[str], activation: str = "relu", dtype: str = "float64"
) -> MLP:
    """The network with the weights W1, W2, … and the biases b1, b2, … (0 if left out) of a file.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "net.txt")
    ...     _ = path.write_text("W1 = 1 2; 3 4\\nb1 = 0 -9\\nW2 = 1; 1")
    ...     net = read_network(path)
    >>> net.sizes, net.forward([[1, 1]])  # relu(4) + relu(6 − 9)
    ((2, 2, 1), array([[4.]]))
    """
    with reading(path, "a file of weights W1, b1, W2, b2, …"):
        is_npz = Path(path).suffix.lower() == ".npz"
        found = load_npz(path, [*load_npz(path, ())]) if is_npz else _in_text(path)
        if others := [name for name in found if not re.fullmatch(r"[Wb][1-9]\d{,3}", name)]:
            raise ValueError(f"it has {others[0]!r:.60}")
        last = max((int(name[1:]) for name in found), default=1)
        names = [f"W{layer}" for layer in range(1, last + 1)]
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"it has no {missing[0]}")
        arrays = {name: np.atleast_2d(check_array(name, a, dtype)) for name, a in found.items()}
        _check_shapes(arrays, names)
        sizes = [len(arrays["W1"]), *(arrays[name].shape[1] for name in names)]
        net = MLP(sizes, activation, dtype)
        for B in net.blocks:
            B.of(net.params)[...] = arrays.get(B.name, 0)
    return net


def _check_shapes(arrays: dict[str, Array], names: list[str]) -> None:
    """Each b has a number for each column of its W, and the next W a row."""
    told = {name: " × ".join(map(str, a.shape)) for name, a in arrays.items()}
    for name, following in itertools.zip_longest(names, names[1:]):
        b, units = name.replace("W", "b"), arrays[name].shape[-1]
        if arrays[name].ndim != 2:
            raise ValueError(f"{name} is {told[name]}, no matrix")
        if b in arrays and arrays[b].shape != (1, units):
            raise ValueError(f"{b} is {told[b]}, wanted 1 × {units} as {name} is {told[name]}")
        if following and len(arrays[following]) != units:
            rows = f"wanted {units} rows as {name} is {told[name]}"
            raise ValueError(f"{following} is {told[following]}, {rows}")


def _in_text(path: str | PathLike[str]) -> dict[str, list[list[float]]]:
    text = re.sub("#.*", "", Path(path).read_text(encoding="utf-8-sig"))
    before, *parts = re.split(r"([^\s=;,]+)\s*=", text)
    if before.strip():
        raise ValueError(f"it begins with {before.split()[0]!r:.60} and not with a name and =")
    found: dict[str, list[list[float]]] = {}
    for name, matrix in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise ValueError(f"it has {name!r:.60} twice")
        rows = [row.replace(",", " ").split() for row in re.split("[;\n]", matrix) if row.strip()]
        if len(lengths := sorted({len(row) for row in rows})) > 1:
            raise ValueError(f"{name} has rows of {lengths[0]} and of {lengths[1]} numbers")
        try:
            found[name] = [[float(cell) for cell in row] for row in rows]
        except ValueError as e:  # "could not convert string to float: 'two'"
            raise ValueError(f"{name}: {e!s:.90}") from None
    return found
