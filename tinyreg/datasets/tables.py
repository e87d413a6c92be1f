"""Tables of your own: CSV text, or arrays in an NPZ file."""

from __future__ import annotations

import csv
import re
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tinyreg.files import load_npz
from tinyreg.validate import Array, check_array, check_pairs, describe

FilePath: TypeAlias = str | PathLike[str]


def load_table(path: FilePath, target: str | int | None = None) -> tuple[Array, Array]:
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
        return _from_npz(path, "y" if target is None else str(target))
    return _from_csv(path, target)


def _from_npz(path: FilePath, target: str) -> tuple[Array, Array]:
    try:
        arrays = load_npz(path, ("X", target))
    except ValueError as e:
        raise ValueError(f"path must be an NPZ file of plain arrays, {path} is not: {e}") from e
    for argument, name in (("path", "X"), ("target", target)):
        if name not in arrays:
            has = ", ".join(arrays) or "none"
            raise ValueError(f"{argument}: there is no array {name!r} in {path}, which has {has}")
    X, y = check_array("X", arrays["X"], np.float64), arrays[target]
    check_pairs(X, y, "X", target)
    return X, y if y.dtype.kind == "U" else _whole(check_array(target, y, np.float64))


def _from_csv(path: FilePath, target: str | int | None) -> tuple[Array, Array]:
    lines = _lines(path)
    names = [str(i) for i in range(len(lines[0][1]))]
    if _is_header(lines[0][1], target):
        names = lines.pop(0)[1]
    if not lines:
        raise ValueError(f"path must be a table with rows, {path} has only column names")
    n = len(names)
    if n < 2:
        raise ValueError(f"path must be a table with a feature and a target, {path} has 1 column")
    for number, cells in lines:
        if len(cells) != n:
            came = f"line {number} of {path} has {len(cells)} cells"
            raise ValueError(f"path: {came}, the others have {n}")

    column = _column(names, target, path)
    table = np.array([[_number(cell) for cell in cells] for _, cells in lines], np.float64)
    targets = [cells[column] for _, cells in lines]
    numeric = any(_number(cell) is not None for cell in targets)
    bad = ~np.isfinite(table)  # None, where a cell is no number, became NaN
    if not numeric:
        bad[:, column] = [cell == "" for cell in targets]
    if bad.any():
        row, i = np.argwhere(bad)[0]
        number, cells = lines[row]
        kind, wanted = "feature", "a number" if _number(cells[i]) is None else "a finite number"
        if i == column:
            kind, wanted = "target", "a finite number" if numeric else "a class"
        raise ValueError(
            f"path: line {number} of {path} has {cells[i]!r} in the {kind} column {names[i]!r}, "
            f"wanted {wanted}"
        )
    y = _whole(table[:, column]) if numeric else np.array(targets)
    return np.delete(table, column, axis=1), y


def _lines(path: FilePath) -> list[tuple[int, list[str]]]:
    """The cells of each line that is not blank, and the line's number."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(f"path must be a CSV (UTF-8 text) or NPZ file, {path} is neither") from e
    first = re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0])
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as e:
        raise ValueError(f"path must be a table, {path} is not: line {reader.line_num}: {e}") from e
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise ValueError(f"path must be a table with rows, {path} is empty")
    return lines


def _is_header(cells: list[str], target: str | int | None) -> bool:
    """Whether a table's first line holds names: see `load_table`."""
    is_name = [_number(cell) is None for cell in cells]
    counted = [str(i) for i in range(len(cells) - 1)]
    return (
        all(is_name)
        or (isinstance(target, str) and _number(target) is None and target in cells)
        or (len(cells) > 1 and cells[:-1] == counted and is_name[-1])
    )


def _column(names: list[str], target: str | int | None, path: FilePath) -> int:
    if target is None:
        return len(names) - 1
    if target in names:
        return names.index(str(target))
    index = int(target) if re.fullmatch(r"-?\d+", str(target)) else len(names)
    if not -len(names) <= index < len(names):
        raise ValueError(
            f"target: there is no column {target!r} in {path}, which has {', '.join(names)}"
        )
    return index % len(names)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _whole(numbers: Array) -> Array:
    """As int64 where all are whole numbers that float64 holds exactly."""
    if (numbers == np.round(numbers)).all() and np.abs(numbers).max() < 2**53:
        return numbers.astype(np.int64)
    return numbers
