"""The digits that come with the package, and tables of your own."""

from __future__ import annotations

import csv
import io
import re
from importlib import resources
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.validate import Array, check_array, check_integer, check_number, check_pairs, describe

PIXEL_MAX = 16  # the digits' pixels are integers from 0 to 16


def load_digits() -> tuple[Array, Array]:
    """The UCI handwritten digits, 8×8 pixels each.

    Returns
    -------
    X : (1797, 64) float64 array
        Pixels, row by row, scaled to [0, 1].
    y : (1797,) int64 array
        Labels 0 to 9.

    Notes
    -----
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository (1998), CC BY 4.0.

    Examples
    --------
    >>> X, y = load_digits()
    >>> X.shape, X.min().item(), X.max().item(), np.bincount(y).tolist()
    ((1797, 64), 0.0, 1.0, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    """
    file = resources.files("tinyreg.datasets") / "data" / "digits.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        return content["images"] / PIXEL_MAX, content["labels"].astype(np.int64)


def load_table(path: str | PathLike[str], target: str | int | None = None) -> tuple[Array, Array]:
    """Features and targets from a CSV or an NPZ file.

    Parameters
    ----------
    path : path
        A `.npz` file holds arrays: the features under "X" and the targets under `target`. Any
        other file is read as UTF-8 text in columns separated by commas, semicolons or tabs, all
        features numbers. A first line without a number, or with `target` in it, holds the names
        of the columns; so does one that counts 0, 1, 2, … and then names the target.
    target : str or int, optional
        The target's array name ("y" if left out), or its column by name or by number from 0 (the
        last column if left out).

    Returns
    -------
    X : (N, d) float64 array
    y : (N,) array
        int64 where every target is a whole number, float64 where all are numbers, else strings
        (`np.unique(y, return_inverse=True)` makes labels of them; `compare` and `path` do so
        themselves). (N, k) if an NPZ file has it so.

    Raises
    ------
    ValueError
        If the file has no such column, is ragged or empty, or a cell is not a finite number (in
        the target column: not a number where others are); the line and the column are named.
    FileNotFoundError

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "pets.csv")
    ...     _ = path.write_text("age;kind;weight\\n3;cat;4.2\\n1;dog;8.5\\n")
    ...     X, y = load_table(path, target="kind")
    >>> X.tolist(), y.tolist()
    ([[3.0, 4.2], [1.0, 8.5]], ['cat', 'dog'])
    """
    if target is not None and (isinstance(target, bool) or not isinstance(target, str | int)):
        raise TypeError(f"target must be a column's name or number, got {describe(target)}")
    if Path(path).suffix.lower() == ".npz":
        return _load_npz(path, "y" if target is None else str(target))
    return _load_csv(path, target)


def _load_npz(path: str | PathLike[str], target: str) -> tuple[Array, Array]:
    with open(path, "rb") as stream:
        file = io.BytesIO(stream.read())
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except Exception as e:  # a broken archive can fail in any way
        raise ValueError(f"path must be an NPZ file of plain arrays, {path} is not: {e}") from e
    for argument, name in (("path", "X"), ("target", target)):
        if name not in arrays:
            raise ValueError(
                f"{argument}: there is no array {name!r} in {path}, which has {', '.join(arrays)}"
            )
    X, y = check_array("X", arrays["X"], np.float64), arrays[target]
    check_pairs(X, y, "X", target)
    return X, y if y.dtype.kind == "U" else _whole(check_array(target, y, np.float64))


def _load_csv(path: str | PathLike[str], target: str | int | None) -> tuple[Array, Array]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(f"path must be a CSV (UTF-8 text) or NPZ file, {path} is neither") from e
    first = re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0])
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as e:
        raise ValueError(f"path must be a table, {path} is not: line {reader.line_num}: {e}") from e
    if not lines:
        raise ValueError(f"path must be a table with rows, {path} is empty")

    names = [str(i) for i in range(len(lines[0][1]))]
    if _is_header(lines[0][1], target):
        names = [cell.strip() for cell in lines.pop(0)[1]]
    if not lines:
        raise ValueError(f"path must be a table with rows, {path} has only column names")
    if len(names) < 2:
        raise ValueError(f"path must be a table with a feature and a target, {path} has 1 column")
    for number, row in lines:
        if len(row) != len(names):
            raise ValueError(
                f"path: line {number} of {path} has {len(row)} cells, the others have {len(names)}"
            )

    column = _column(names, target, path)
    features = [name for i, name in enumerate(names) if i != column]
    X = np.empty((len(lines), len(features)))
    for n, (number, row) in enumerate(lines):
        cells = [cell for i, cell in enumerate(row) if i != column]
        try:
            X[n] = cells
        except ValueError:
            bad = next(i for i, cell in enumerate(cells) if not _is_number(cell))
            raise ValueError(
                f"path: line {number} of {path} has {cells[bad]!r} in the feature column "
                f"{features[bad]!r}, wanted a number"
            ) from None
        if not np.isfinite(X[n]).all():
            bad = int(np.argmin(np.isfinite(X[n])))
            raise ValueError(
                f"path: line {number} of {path} has {cells[bad]!r} in the feature column "
                f"{features[bad]!r}, wanted a finite number"
            )
    cells = [row[column].strip() for _, row in lines]
    numeric = any(_is_number(cell) for cell in cells)
    for (number, _), cell in zip(lines, cells, strict=True):
        if (numeric and not _is_finite(cell)) or cell == "":
            raise ValueError(
                f"path: line {number} of {path} has {cell!r} in the target column "
                f"{names[column]!r}, wanted " + ("a finite number" if numeric else "a class")
            )
    return X, _whole(np.array(cells, np.float64)) if numeric else np.array(cells)


def _is_header(first: list[str], target: str | int | None) -> bool:
    """Whether a table's first line holds names: see `load_table`."""
    cells = [cell.strip() for cell in first]
    if not any(_is_number(cell) for cell in cells):
        return True
    if isinstance(target, str) and not _is_number(target) and target in cells:
        return True
    counted = [str(i) for i in range(len(cells) - 1)]
    return len(cells) > 1 and cells[:-1] == counted and not _is_number(cells[-1])


def _column(names: list[str], target: str | int | None, path: str | PathLike[str]) -> int:
    if target is None:
        return len(names) - 1
    if target in names:
        return names.index(str(target))
    index = int(target) if str(target).lstrip("-").isdigit() else None
    if index is None or not -len(names) <= index < len(names):
        raise ValueError(
            f"target: there is no column {target!r} in {path}, which has {', '.join(names)}"
        )
    return index % len(names)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_finite(cell: str) -> bool:
    return _is_number(cell) and np.isfinite(float(cell))


def _whole(numbers: Array) -> Array:
    """As int64 where all are whole numbers that float64 holds exactly."""
    if (numbers == np.round(numbers)).all() and np.abs(numbers).max() < 2**53:
        return numbers.astype(np.int64)
    return numbers


def sparse_teacher(
    n_samples: int,
    n_features: int,
    n_relevant: int,
    *,
    hidden: int = 8,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[Array, Array, Array]:
    """Data of which the truth is known: only some inputs matter, and one can ask who finds them.

    A fixed tanh network reads `n_relevant` of the inputs, drawn at random, all with weights of the
    same norm; its output has mean 0 and variance 1 over the samples, before noise is added.

    Parameters
    ----------
    n_samples, n_features, n_relevant : int
        n_relevant ≤ n_features.
    hidden : int
        Units of the teacher.
    noise : float
        Standard deviation of the normal noise on the targets.
    seed : int

    Returns
    -------
    X : (n_samples, n_features) array
        Standard normal.
    y : (n_samples,) array
    relevant : (n_relevant,) array of int
        The inputs that matter, in ascending order.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be.

    Examples
    --------
    >>> X, y, relevant = sparse_teacher(100, 20, 3)
    >>> X.shape, y.shape, relevant
    ((100, 20), (100,), array([ 1, 10, 17]))
    """
    check_integer("n_samples", n_samples, least=2)
    check_integer("n_features", n_features, least=1)
    check_integer("n_relevant", n_relevant, least=1)
    check_integer("hidden", hidden, least=1)
    check_number("noise", noise, least=0)
    if n_relevant > n_features:
        raise ValueError(f"n_relevant must be <= n_features={n_features}, got {n_relevant}")
    rng = np.random.default_rng(check_integer("seed", seed, least=0))
    X = rng.normal(size=(n_samples, n_features))
    relevant = np.sort(rng.choice(n_features, n_relevant, replace=False))
    W = rng.normal(size=(n_relevant, hidden))
    W *= np.sqrt(hidden / n_relevant) / np.linalg.norm(W, axis=1, keepdims=True)
    y = np.tanh(X[:, relevant] @ W) @ rng.choice([-1.0, 1.0], hidden)
    y = (y - y.mean()) / y.std()
    return X, y + noise * rng.normal(size=n_samples), relevant


def train_test_split(
    X: ArrayLike, y: ArrayLike, test_share: float = 0.2, seed: int = 0
) -> tuple[Array, Array, Array, Array]:
    """Shuffle the samples and hold some back: X_train, y_train, X_test, y_test.

    Parameters
    ----------
    X : (N, d) array
    y : (N,) or (N, k) array
    test_share : float
        Between 0 and 1, so that samples remain on both sides; a `ValueError` if not.
    seed : int

    Returns
    -------
    X_train, y_train, X_test, y_test : arrays
        Copies; round(test_share · N) samples are held back.

    Examples
    --------
    >>> X, y, X_test, y_test = train_test_split(np.zeros((10, 2)), np.arange(10), 0.3)
    >>> len(X), len(X_test), sorted([*y.tolist(), *y_test.tolist()])
    (7, 3, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    X, y = np.asarray(X), np.asarray(y)
    check_pairs(X, y)
    share = check_number("test_share", test_share, above=0)
    n_test = round(len(X) * share)
    if not 0 < n_test < len(X):
        raise ValueError(
            f"test_share must leave samples on both sides, got {share:g} of {len(X)} samples"
        )
    order = np.random.default_rng(check_integer("seed", seed, least=0)).permutation(len(X))
    test, train = order[:n_test], order[n_test:]
    return X[train], y[train], X[test], y[test]


def standardise(train: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """Each column shifted and scaled to mean 0 and variance 1 on `train`; `others` follow suit.

    A constant column is only shifted. What the test data look like changes nothing: a model that
    is judged on them must not have seen them.

    Parameters
    ----------
    train : (N, d) or (N,) array
    *others : (n, d) or (n,) arrays

    Returns
    -------
    tuple of float64 arrays
        `train` and each of `others`.

    Examples
    --------
    >>> train, test = standardise([[1.0], [3.0]], [[5.0]])
    >>> train.ravel(), test.ravel()
    (array([-1.,  1.]), array([3.]))
    """
    train = np.asarray(train, dtype=np.float64)
    mean, scale = train.mean(axis=0), train.std(axis=0)
    # A constant column's deviation is rounding noise, which must not be blown up to 1.
    scale = np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)
    scale = np.where(scale > 0, scale, 1.0)
    return tuple((np.asarray(part) - mean) / scale for part in (train, *others))
