"""Tables as arrays: data frames, NPZ files (those of scipy.sparse.save_npz too), svmlight files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from tinyreg.files import SLACK, load_npz, reading
from tinyreg.validate import (
    Array,
    Sparse,
    check_array,
    check_features,
    column_names,
    describe,
    named,
)

FilePath: TypeAlias = str | PathLike[str]
# The names of the columns, none if they have none; the features; the targets if there are any.
Read: TypeAlias = tuple[Sequence[str], Array | Sparse, Array | None]

FEW = 5
FORMATS: dict[str, tuple[Any, ...]] = {  # and the arrays that say where the data lie
    "csr": (sparse.csr_array, "indices", "indptr"),
    "csc": (sparse.csc_array, "indices", "indptr"),
    "bsr": (sparse.bsr_array, "indices", "indptr"),
    "coo": (sparse.coo_array, "row", "col"),
    "dia": (sparse.dia_array, "offsets"),
}
PARTS = ("format", "shape", "data", "indices", "indptr", "row", "col", "offsets")


def some(names: Iterable[str]) -> str:
    """At most a handful of names, for an error message.

    >>> some("abcdefg"), some([])
    ("'a', 'b', 'c', 'd', 'e' and 2 more", 'none')
    """
    quoted = [repr(str(name)) for name in names]
    more = f" and {len(quoted) - FEW} more" if len(quoted) > FEW else ""
    return ", ".join(quoted[:FEW]) + more or "none"


def unnamed(n: int) -> list[str]:
    """x0, x1, …, which stand for the names of columns that have none."""
    return [f"x{i}" for i in range(n)]


def places(
    whose: str, names: Sequence[str], inputs: Sequence[int], columns: Sequence[str] | None
) -> list[int]:
    """Which of the `inputs` are wanted: all, or these columns by name.

    `names` are those of all columns, none if a table has no names. Then, and where the wanted
    columns have none (x0, x1, …), it goes by position. `whose` names the argument and the table.

    >>> places("", ["a", "b", "y"], [0, 1], ["b"]), places("", [], [0, 1], ["b", "a"])
    ([1], [0, 1])
    """
    for i, name in enumerate(names if columns is None else ()):
        if name == "" or name.startswith("Unnamed: "):
            index = ", as the row index of a pandas frame: write it with index=False" * (i == 0)
            raise ValueError(f"{whose} has no name for column {i + 1}{index}")
    wanted = {*(names if columns is None else columns)}
    if twice := [name for name, n in Counter(names).items() if n > 1 and name in wanted]:
        raise ValueError(f"{whose} has more than one column {some(twice)}")
    if columns is None:
        return [*inputs]
    where = {names[i]: i for i in inputs if names}
    missing = [name for name in columns if name not in where]
    if not missing:
        return [where[name] for name in columns]
    if names and missing != unnamed(len(columns)):
        raise ValueError(f"{whose} has no input column {some(missing)}, only {some(where)}")
    if len(columns) != len(inputs):
        told = f"the {len(columns)} inputs {some(columns)} and no other column"
        raise ValueError(f"{whose} has {len(inputs)} columns, without names it must have {told}")
    return [*inputs]


def in_order(name: str, X: Any, columns: Sequence[str] | None, dtype: str = "float64") -> Any:
    """X, or of a data frame these columns, or all, as an array; one without numbers is named.

    Frames mix dtypes, with booleans and integers beside fractions, which as one array are objects.
    """
    if (names := column_names(X)) is None:
        return X
    order = places(f"{name}: the data frame", names, range(len(names)), columns)
    labels, table = [*X.columns], np.empty((len(X), len(order)), dtype)
    for k, i in enumerate(order):
        table[:, k] = check_array(f"{name}: column {names[i]!r}", X[labels[i]], dtype)
    return table


def read_npz(path: FilePath, target: str | None, columns: Sequence[str] | None) -> Read:
    """The array "X", or the sparse array that the file is; `target` and "columns" if it has them.

    A `target` that is no array here must be a file.
    """
    with reading(path, "an NPZ file of plain arrays"):
        known = load_npz(path, ())
        is_sparse = "X" not in known and {"format", "shape", "data"} <= known.keys()
        wanted = ["columns", target or "", *(PARTS if is_sparse else ["X"])]
        arrays = {name: a for name, a in load_npz(path, wanted).items() if a is not None}
        X = _sparse(arrays) if is_sparse else arrays.get("X")
    if X is None:
        raise ValueError(f"path: there is no array 'X' in {path}, which has {some(known)}")
    if target is not None and target not in known and not Path(target).is_file():
        own = "it names an array, or a file: .npy, or text with a target on each line"
        has = f"{path}, which has {some(known)}"
        raise ValueError(f"target: there is no array {target!r} in {has}; {own}")
    with named(f"path: {path}"):
        X = check_features(X, None, np.float64)
    width = X.shape[1]
    names = arrays.get("columns")
    if names is not None and (names.dtype.kind != "U" or names.shape != (width,)):
        raise ValueError(f"path: 'columns' in {path} must be {width} names, got {describe(names)}")
    names = [] if names is None else names.tolist()
    where = places(f"path: {path}", names, range(width), columns)
    if where != [*range(width)]:
        X = X[:, where]
    return columns or names, X, arrays.get(target or "")


def _sparse(arrays: dict[str, Array]) -> Sparse:
    """The array of which these are the parts, none of which is believed; `as_table` looks again."""
    kind, shape = str(arrays["format"].astype(str).item()), tuple(arrays["shape"].tolist())
    if kind not in FORMATS:
        raise ValueError(f"its format is {kind[:20]!r}")
    make, *names = FORMATS[kind]
    if not all(name in arrays and arrays[name].dtype.kind in "iu" for name in ("shape", *names)):
        raise ValueError(f"its shape, {' and '.join(names)} must be arrays of integers")
    where = [arrays[name].astype(np.int64) for name in names]
    data, block = arrays["data"], arrays["data"].shape[1:] if kind == "bsr" else (1, 1)
    if len(shape) != 2 or max(shape) > data.size + SLACK:
        raise ValueError(f"its shape {str(shape)[:60]} is too large for {data.size} data, or none")
    # What SciPy does not look at: diagonals outside, blocks that do not fit.
    if kind == "dia" and (where[0] != np.clip(where[0], 1 - shape[0], shape[1] - 1)).any():
        raise ValueError("its offsets lie outside")
    if any(n % size for n, size in zip(shape, block, strict=True)):
        raise ValueError(f"its blocks of {block} do not fill its shape {shape}")
    return make((data, tuple(where)) if kind == "coo" else (data, *where), shape=shape)


def read_svmlight(path: FilePath, columns: Sequence[str] | None) -> Read:
    """Columns are named by their number in the file, from 1, or from 0 if it has a column 0.

    Of the `columns` that are asked for, those without an entry in the file are all zeros.
    """
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as e:
        wanted = "scikit-learn: pip install 'tinyreg[sklearn]'"
        raise ValueError(f"path: to read the svmlight file {path} takes {wanted}") from e
    with reading(path, "an svmlight file"):
        X, y = load_svmlight_file(str(path), zero_based=True)
        if X.shape[1] > X.nnz + SLACK:
            raise ValueError(f"a column has the number {X.shape[1] - 1}")
        if columns is None:
            columns = [str(i) for i in range(0 if (X.indices == 0).any() else 1, X.shape[1])]
        if unknown := [name for name in columns if not name.isdecimal()]:
            raise ValueError(f"its columns are numbers, it has none named {some(unknown)}")
        numbers = [int(name) for name in columns]
        X.resize(len(y), max(X.shape[1], *numbers) + 1)
        X = X[:, numbers]
    return columns, check_features(X, len(numbers), np.float64), y
