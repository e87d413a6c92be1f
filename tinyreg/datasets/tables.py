"""Tables of your own: text in columns, arrays in an NPZ file, svmlight files."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyreg.datasets.arrays import FEW, FilePath, places, read_npz, read_svmlight, some, unnamed
from tinyreg.files import reading
from tinyreg.validate import Array, Sparse, check_array, check_pairs, describe

SVMLIGHT = (".svm", ".svmlight", ".libsvm")
MISSING = {"", "?", "na", "n/a", "nan", "<na>", "null", "none"}


class Table(NamedTuple):
    """Inputs and targets, and their names: x0, x1, … of inputs that have none."""

    X: Array | Sparse
    y: Array
    columns: list[str]
    target: str


def load_table(path: FilePath, target: str | int | None = None) -> tuple[Array | Sparse, Array]:
    """Features and targets from a CSV, an NPZ or an svmlight file.

    Parameters
    ----------
    path : path
        A `.npz` file holds arrays: the features under "X", the targets under `target` and, if
        they have any, the names of the features under "columns"; or it is a file of
        `scipy.sparse.save_npz`. A `.svm`, `.svmlight` or `.libsvm` file takes scikit-learn. Any
        other file is read as UTF-8 text in columns separated by commas, semicolons or tabs, all
        features numbers. A first line without a number, or with `target` in it, holds the names
        of the columns; so does one that counts 0, 1, 2, … and then names the target.
    target : str or int, optional
        The target's array name ("y" if left out), or its column by name or by number from 0 (the
        last column if left out). If an NPZ file has no such array, the path of a `.npy` file or
        of a text with a target on each line.

    Returns
    -------
    X : (N, d) float64 array, of a sparse file a `scipy.sparse.csr_array`
    y : (N,) array
        int64 where every target is a whole number, float64 where all are numbers, else strings.
        (N, k) if an NPZ file has it so.

    Raises
    ------
    ValueError
        If the file has no such column, is ragged, damaged or empty, has a column without a name
        or two of one name, or a cell is no finite number (of the target: where others are).
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
    return read_table(path, target)[:2]


def read_table(
    path: FilePath, target: str | int | None = None, columns: Sequence[str] | None = None
) -> Table:
    """What `load_table` reads, with the names.

    `columns` are the inputs to take, in this order, from a file that names its columns; what else
    it has is left unread. A file without names must have as many inputs.
    """
    if target is not None and (isinstance(target, bool) or not isinstance(target, str | int)):
        raise TypeError(f"target must be a column's name or number, got {describe(target)}")
    suffix, name = Path(path).suffix.lower(), "y" if target is None else str(target)
    y: Array | None
    if suffix in SVMLIGHT:
        if name != "y":
            raise ValueError(f"target: each line of {path} begins with it, got {target!r}")
        names, X, y = read_svmlight(path, columns)
    elif suffix == ".npz":
        names, X, y = read_npz(path, name, columns)
    else:
        text = _text(path, target, columns)
        t = _target_column(text, target)
        (names, X), y, name = _inputs(text, columns, t), _targets(text, t), text.names[t]
    y = _target_file(name) if y is None else y
    y = y if y.dtype.kind == "U" else _whole(check_array(name, y, np.float64))
    check_pairs(X, y, "X", name)
    return Table(X, y, [*(names or unnamed(X.shape[1]))], name)


def load_rows(path: FilePath, columns: Sequence[str]) -> Array | Sparse:
    """The inputs of these names alone, from a file with or without targets."""
    suffix = Path(path).suffix.lower()
    if suffix in SVMLIGHT:
        return read_svmlight(path, columns)[1]
    if suffix == ".npz":
        return read_npz(path, None, columns)[1]
    return _inputs(_text(path, None, columns), columns)[1]


# Text


class Text(NamedTuple):
    """The cells of a file, (N, d), the numbers of their lines, and the names of the columns."""

    path: FilePath
    delimiter: str
    lines: tuple[int, ...]
    cells: Array
    names: list[str]  # 0, 1, … if the file has none
    nameless: bool = True


def _text(path: FilePath, target: str | int | None, columns: Sequence[str] | None) -> Text:
    """A file's cells without the line of names."""
    text = _cells(path)
    first = text.cells[0].tolist()
    if not _is_header(first, target, columns):
        return text
    if len(text.lines) == 1:
        raise ValueError(f"path must be a table with rows, {path} has only column names")
    return text._replace(lines=text.lines[1:], cells=text.cells[1:], names=first, nameless=False)


def _cells(path: FilePath) -> Text:
    """All lines that are not blank, which must be of one length."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = re.sub('"[^"]*"', "", next(filter(str.strip, file), ""))
            delimiter = max("\t;,", key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except UnicodeDecodeError as e:
        raise ValueError(f"path must be a CSV (UTF-8 text) or NPZ file, {path} is neither") from e
    except csv.Error as e:
        raise ValueError(f"path must be a table, {path} is not: line {reader.line_num}: {e}") from e
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise ValueError(f"path must be a table with rows, {path} is empty")
    n = len(rows[0][1])
    for i, row in rows:
        if len(row) != n:
            raise ValueError(f"path: line {i} of {path} has {len(row)} cells, the others have {n}")
    lines, cells = zip(*rows, strict=True)
    return Text(path, delimiter, lines, np.array(cells, object), [*map(str, range(n))])


def _is_header(cells: list[str], target: str | int | None, columns: Sequence[str] | None) -> bool:
    """Whether a table's first line holds names: see `load_table`."""
    index = cells[0] == "" and len(cells) > 2  # as pandas writes a frame with its index
    names = cells[index:]
    counted = [str(i) for i in range(len(names))]
    is_name = [_number(name) is None for name in names]
    return (
        all(is_name)
        or (isinstance(target, str) and _number(target) is None and target in names)
        or (columns is not None and set(columns) <= set(names))
        or (len(names) > 1 and names[:-1] == counted[:-1] and is_name[-1])
        or (index and names == counted)
    )


def _target_column(text: Text, target: str | int | None) -> int:
    n = len(text.names)
    if n < 2:
        came = f"{text.path} has 1 column"
        raise ValueError(f"path must be a table with a feature and a target, {came}")
    if target is None:
        return n - 1
    if target in text.names:
        return text.names.index(str(target))
    index = int(target) if re.fullmatch(r"-?[0-9]{1,9}", str(target)) else n
    if not -n <= index < n:
        has = f"{text.path}, which has {some(text.names)}"
        raise ValueError(f"target: there is no column {target!r:.60} in {has}")
    return index % n


def _inputs(
    text: Text, columns: Sequence[str] | None, target: int | None = None
) -> tuple[Sequence[str], Array]:
    """The names that there are, and the inputs that are wanted."""
    inputs = [i for i in range(len(text.names)) if i != target]
    names = [] if text.nameless else text.names
    where = places(f"path: {text.path}", names, inputs, columns)
    return columns or [names[i] for i in where if names], _numbers(text, where, "feature")


def _targets(text: Text, column: int) -> Array:
    """As numbers, or as text where none is a number."""
    cells = text.cells[:, column]
    if any(_number(cell.replace(",", ".")) is not None for cell in cells):
        return _numbers(text, [column], "target")[:, 0]
    if (cells == "").any():
        raise _bad_cells(text, [(row, column) for row in np.flatnonzero(cells == "")], "target")
    return cells.astype(str)


def _target_file(path: str) -> Array:
    """Targets that lie in a file of their own."""
    if path.endswith(".npy"):
        with reading(path, "a file of plain numbers", "target"):
            # A mapping is no larger than the file, whatever that declares.
            return np.array(np.lib.format.open_memmap(path, mode="r"))
    text = _cells(path)
    if len(text.names) > 1:
        raise ValueError(f"target: line 1 of {path} has {len(text.names)} cells, wanted 1")
    return _targets(text, 0)


def _numbers(text: Text, columns: list[int], kind: str) -> Array:
    """The cells of these columns as finite numbers."""
    numbers = np.vectorize(_number, otypes=[float])(text.cells.take(columns, axis=1))
    bad = np.argwhere(~np.isfinite(numbers))  # None, where a cell is no number, became NaN
    if len(bad):
        raise _bad_cells(text, [(row, columns[i]) for row, i in bad], kind)
    return numbers


def _bad_cells(text: Text, bad: list[tuple[Any, int]], kind: str) -> ValueError:
    """An error that has the first of these cells, how many there are and where, and a way out."""
    found: dict[str, Counter[str]] = {}
    for row, i in bad:
        found.setdefault(_what(text.cells[row, i]), Counter())[text.names[i]] += 1
    counts = ", ".join(f"{names.total()} {what} ({some(names)})" for what, names in found.items())
    row, i = bad[0]
    return ValueError(
        f"path: line {text.lines[row]} of {text.path} has {text.cells[row, i]!r:.60} in the {kind} "
        f"column {text.names[i]!r}, wanted a finite number{' or a class' * (kind == 'target')}; "
        f"such cells in all: {counts}{_way_out(text, found, kind)}"
    )


def _what(cell: str) -> str:
    """What is wrong with a cell."""
    if cell.lower() in MISSING:
        return "missing"
    if _number(cell) is not None:
        return "infinite"
    return "text" if _number(cell.replace(",", ".")) is None else "with a comma"


def _way_out(text: Text, found: dict[str, Counter[str]], kind: str) -> str:
    """What makes numbers of a table with such cells."""
    columns = [*found.get("text", ())] if kind == "feature" else []
    decimal = "with a comma" in found and text.delimiter != ","
    if not columns and not decimal and "missing" not in found:
        return ""
    options = f"{str(text.path)!r}, sep={text.delimiter!r}, na_values=['?', 'na', 'none']"
    options += ", decimal=','" * decimal + ", header=None" * text.nameless
    way = f"pd.read_csv({options})" + ".add_prefix('x')" * text.nameless + ".dropna()"
    if columns:
        names = [repr("x" * text.nameless + name) for name in columns[:FEW]]
        listed = ", ".join(names + ["..."] * (len(columns) > FEW))
        way = f"pd.get_dummies({way}, columns=[{listed}], dtype=int)"
    return f"; a way out, with pandas, then name the target: {way}.to_csv('new.csv', index=False)"


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # to Python 1_000 is a number
    except ValueError:
        return None


def _whole(numbers: Array) -> Array:
    """As int64 where all are whole numbers that float64 holds exactly."""
    if (numbers == np.round(numbers)).all() and np.abs(numbers).max() < 2**53:
        return numbers.astype(np.int64)
    return numbers
