"""Tables as arrays: NPZ files, dense or those of scipy.sparse.save_npz, and svmlight files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from tinyreg.files import SLACK, load_npz, reading
from tinyreg.validate import Array, Sparse, as_table, check_array, check_features

FilePath: TypeAlias = str | PathLike[str]
# The names of the columns if there are any, the features, the targets if there are any.
Read: TypeAlias = tuple[list[str] | None, Array | Sparse, Array | None]

FEW = 5
SVMLIGHT = (".svm", ".svmlight", ".libsvm")
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


def read_npz(path: FilePath, target: str | None) -> Read:
    """The array "X", or the sparse array that the file is; `target` and "columns" if it has them.

    A `target` that is no array here must be a file.
    """
    with reading(path, "an NPZ file of plain arrays"):
        known = load_npz(path, ())
        is_sparse = "X" not in known and {"format", "shape", "data"} <= known.keys()
        wanted = {"columns", target or "", *(PARTS if is_sparse else ["X"])}
        arrays = {name: a for name, a in load_npz(path, [*wanted]).items() if a is not None}
        X = _sparse(arrays) if is_sparse else arrays.get("X")
    if X is None:
        raise ValueError(f"path: there is no array 'X' in {path}, which has {some(known)}")
    if target is not None and target not in known and not Path(target).is_file():
        own = "it names an array, or a file: .npy, or text with a target on each line"
        has = f"{path}, which has {some(known)}"
        raise ValueError(f"target: there is no array {target!r} in {has}; {own}")
    X = as_table("X", X)
    X = check_features(X, X.shape[1], np.float64)
    columns = arrays.get("columns")
    if columns is not None and (columns.dtype.kind != "U" or columns.shape != X.shape[1:]):
        came = f"an array of shape {columns.shape} and dtype {columns.dtype}"
        raise ValueError(f"path: 'columns' in {path} must be {X.shape[1]} names, got {came}")
    return None if columns is None else columns.tolist(), X, arrays.get(target or "")


def _sparse(arrays: dict[str, Array]) -> Sparse:
    """The array of which these are the parts, none of which is believed."""
    kind, shape = str(arrays["format"].astype(str).item()), tuple(arrays["shape"].tolist())
    data = arrays["data"]
    if kind not in FORMATS:
        raise ValueError(f"its format is {kind[:20]!r}")
    make, *names = FORMATS[kind]
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"it has no array {missing[0]!r}")
    if any(arrays[name].dtype.kind not in "iu" for name in ("shape", *names)):
        raise ValueError(f"its shape, {' and '.join(names)} are not integers")
    if len(shape) != 2 or max(shape) > data.size + SLACK:
        raise ValueError(f"its shape {str(shape)[:60]} is too large for {data.size} data, or none")
    places = [arrays[name].astype(np.int64) for name in names]
    if kind == "coo":
        return make((data, tuple(places)), shape=shape)
    if kind == "dia":
        if (places[0] != np.clip(places[0], 1 - shape[0], shape[1] - 1)).any():
            raise ValueError("its offsets lie outside")
        return make((data, *places), shape=shape)
    # What SciPy does not look at: places where the last row has none, blocks that do not fit.
    if (np.diff(places[1]) < 0).any():
        raise ValueError("its indptr decreases")
    if any(n % block for n, block in zip(shape, data.shape[1:], strict=False)):
        raise ValueError(f"its blocks of {data.shape[1:]} do not fill its shape {shape}")
    array = make((data, *places), shape=shape)
    array.check_format()
    return array


def read_svmlight(path: FilePath, columns: Sequence[str] | None) -> Read:
    """Columns are named by their number in the file, from 1, or from 0 if it has a column 0.

    Of the `columns` that are asked for, those without an entry in the file are all zeros.
    """
    try:
        from sklearn.datasets import load_svmlight_file  # type: ignore[import-untyped]
    except ImportError as e:
        wanted = "scikit-learn: pip install 'tinyreg[sklearn]'"
        raise ValueError(f"path: to read the svmlight file {path} takes {wanted}") from e
    with reading(path, "an svmlight file"):
        X, y = load_svmlight_file(str(path), zero_based=True)
        n, width = X.shape
        if width > X.nnz + SLACK:
            raise ValueError(f"a column has the number {width - 1}")
        if columns is None:
            start = 0 if (X.indices == 0).any() else 1
            columns = [str(i) for i in range(start, width)]
        if unknown := [name for name in columns if not name.isdecimal()]:
            raise ValueError(f"its columns are numbers, it has none named {some(unknown)}")
        places = [int(name) for name in columns]
        X.resize(n, max(width, *places) + 1)
        X = X[:, places]
    return list(columns), check_features(X, len(places), np.float64), check_array("y", y, y.dtype)
