"""Tables of your own: text in columns, arrays in an NPZ file, svmlight files."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyreg.datasets.arrays import FEW, SVMLIGHT, FilePath, Read, read_npz, read_svmlight, some
from tinyreg.files import reading
from tinyreg.validate import Array, Sparse, check_array, check_pairs, describe

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
        int64 where every target is a whole number, float64 where all are numbers, else strings
        (`np.unique(y, return_inverse=True)` makes labels of them; `compare` and `path` do so
        themselves). (N, k) if an NPZ file has it so.

    Raises
    ------
    ValueError
        If the file has no such column, is ragged, damaged or empty, has a column without a name
        or two of one name, or a cell is not a finite number (in the target column: not a number
        where others are); the line and the column are named.
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
    if _is_text(path):
        text = _text(path, target, columns)
        t = _target_column(text, target)
        (names, X), y, target = _inputs(text, columns, t), _targets(text, t), text.name(t)
    else:
        if target is not None and _suffix(path) in SVMLIGHT:
            raise ValueError(f"target: each line of {path} begins with it, got {target!r}")
        target = "y" if target is None else str(target)
        names, X, found = _arrays(path, target, columns)
        y = _target_file(target) if found is None else found
        y = y if y.dtype.kind == "U" else _whole(check_array(target, y, np.float64))
    check_pairs(X, y, "X", target)
    return Table(X, y, names or [f"x{i}" for i in range(X.shape[1])], target)


def load_rows(path: FilePath, columns: Sequence[str]) -> Array | Sparse:
    """The inputs of these names alone, from a file with or without targets.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "new.csv")
    ...     _ = path.write_text("name,weight,age\\nTom,4.2,3\\n")
    ...     load_rows(path, ["age", "weight"])
    array([[3. , 4.2]])
    """
    if _is_text(path):
        return _inputs(_text(path, None, columns), columns)[1]
    return _arrays(path, None, columns)[1]


def _suffix(path: FilePath) -> str:
    return Path(path).suffix.lower()


def _is_text(path: FilePath) -> bool:
    return _suffix(path) not in (".npz", *SVMLIGHT)


def _arrays(path: FilePath, target: str | None, columns: Sequence[str] | None) -> Read:
    """The names that are there, the inputs that are wanted, the targets that are there."""
    if _suffix(path) in SVMLIGHT:
        return read_svmlight(path, columns)
    names, X, y = read_npz(path, target)
    places = _places(path, names, [*range(X.shape[1])], columns)
    if names is not None and places != list(range(X.shape[1])):
        names, X = [names[i] for i in places], X[:, places]
    return names if columns is None else list(columns), X, y


def _places(
    path: FilePath, names: list[str] | None, inputs: list[int], columns: Sequence[str] | None
) -> list[int]:
    """Which of the inputs are wanted: all, those of these names, or as many without names."""
    if names is None:
        if columns is not None and len(columns) != len(inputs):
            wanted = f"the {len(columns)} inputs {some(columns)}"
            raise ValueError(f"path must have {wanted}, {path} has {len(inputs)}, without names")
        return inputs
    if twice := [name for name, n in Counter(filter(None, names)).items() if n > 1]:
        raise ValueError(f"path: each column must have its own name, {path} repeats {some(twice)}")
    if columns is None:
        for i, name in enumerate(names):
            if name == "" or name.startswith("Unnamed: "):
                index = ", as the row index of a pandas frame: write it with index=False" * (i == 0)
                raise ValueError(f"path: column {i + 1} of {path} has no name{index}")
        return inputs
    where = {names[i]: i for i in inputs}
    if missing := [name for name in columns if name not in where]:
        has = f"{path}, which has {some(where)}"
        raise ValueError(f"path: there is no column {some(missing)} in {has}")
    return [where[name] for name in columns]


# Text


class Text(NamedTuple):
    """The cells of a file, line by line with the line's number, and what names the columns."""

    path: FilePath
    delimiter: str
    lines: list[tuple[int, list[str]]]
    names: list[str] | None = None

    def name(self, column: int) -> str:
        """What messages call a column."""
        return str(column) if self.names is None else self.names[column]


def _text(path: FilePath, target: str | int | None, columns: Sequence[str] | None) -> Text:
    """A file's cells, all lines of one length, without the line of names."""
    text = _cells(path)
    first = text.lines[0][1]
    if _is_header(first, target, columns):
        text = text._replace(names=first, lines=text.lines[1:])
    if not text.lines:
        raise ValueError(f"path must be a table with rows, {path} has only column names")
    for number, cells in text.lines:
        if len(cells) != len(first):
            came = f"line {number} of {path} has {len(cells)} cells"
            raise ValueError(f"path: {came}, the others have {len(first)}")
    return text


def _cells(path: FilePath) -> Text:
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(f"path must be a CSV (UTF-8 text) or NPZ file, {path} is neither") from e
    first = re.sub('"[^"]*"', "", content.lstrip().partition("\n")[0])
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(content.splitlines(), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as e:
        raise ValueError(f"path must be a table, {path} is not: line {reader.line_num}: {e}") from e
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise ValueError(f"path must be a table with rows, {path} is empty")
    return Text(path, delimiter, lines)


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
    n = len(text.lines[0][1])
    if n < 2:
        came = f"{text.path} has 1 column"
        raise ValueError(f"path must be a table with a feature and a target, {came}")
    names = [text.name(i) for i in range(n)]
    if target is None:
        return n - 1
    if target in names:
        return names.index(str(target))
    index = int(target) if re.fullmatch(r"-?[0-9]{1,9}", str(target)) else n
    if not -n <= index < n:
        raise ValueError(
            f"target: there is no column {target!r:.60} in {text.path}, which has {some(names)}"
        )
    return index % n


def _inputs(
    text: Text, columns: Sequence[str] | None, target: int | None = None
) -> tuple[list[str] | None, Array]:
    """The names that there are, and the inputs that are wanted."""
    inputs = [i for i in range(len(text.lines[0][1])) if i != target]
    places = _places(text.path, text.names, inputs, columns)
    X = _numbers(text, places, "feature")
    if columns is None and text.names is not None:
        columns = [text.names[i] for i in places]
    return None if columns is None else list(columns), X


def _targets(text: Text, column: int) -> Array:
    """As integers or numbers, or as text where none is a number."""
    cells = [cells[column] for _, cells in text.lines]
    if any(_number(cell) is not None for cell in cells):
        return _whole(_numbers(text, [column], "target")[:, 0])
    if empty := [(row, column) for row, cell in enumerate(cells) if cell == ""]:
        raise _bad_cells(text, empty, "target", "a class")
    return np.array(cells)


def _target_file(target: str) -> Array:
    """Targets that lie in a file of their own."""
    if target.endswith(".npy"):
        with reading(target, "a file of plain numbers", "target"):
            # A mapping is no larger than the file, whatever that declares.
            return np.array(np.lib.format.open_memmap(target, mode="r"))
    text = _cells(target)
    for number, cells in text.lines:
        if len(cells) != 1:
            raise ValueError(f"target: line {number} of {target} has {len(cells)} cells, wanted 1")
    return _targets(text, 0)


def _numbers(text: Text, columns: list[int], kind: str) -> Array:
    """The cells of these columns as finite numbers."""
    table = np.array([[_number(line[i]) for i in columns] for _, line in text.lines], np.float64)
    bad = np.argwhere(~np.isfinite(table))  # None, where a cell is no number, became NaN
    if len(bad):
        raise _bad_cells(text, [(row, columns[i]) for row, i in bad], kind, "a finite number")
    return table


def _bad_cells(text: Text, bad: list[tuple[int, int]], kind: str, wanted: str) -> ValueError:
    """An error that has the first of these cells, how many there are and where, and a way out."""
    found: dict[str, Counter[str]] = {}
    for row, column in bad:
        cell = text.lines[row][1][column]
        what = "text" if _number(cell) is None else "infinite"
        what = "missing" if cell.lower() in MISSING else what
        found.setdefault(what, Counter())[text.name(column)] += 1
    counts = ", ".join(f"{names.total()} {what} ({some(names)})" for what, names in found.items())
    row, column = bad[0]
    number, cells = text.lines[row]
    columns = [*found.get("text", ())] if kind == "feature" else []
    return ValueError(
        f"path: line {number} of {text.path} has {cells[column]!r:.60} in the {kind} column "
        f"{text.name(column)!r}, wanted {wanted}; such cells in all: {counts}"
        f"{_way_out(text, 'missing' in found, columns)}"
    )


def _way_out(text: Text, missing: bool, columns: list[str]) -> str:
    """What makes numbers of a table with missing cells, and with text in these columns."""
    if not missing and not columns:
        return ""
    options = "" if text.delimiter == "," else f", sep={text.delimiter!r}"
    options += ", na_values='?'" if missing else ""
    options += "" if text.names else ", header=None).add_prefix('x'"
    way = f"pd.read_csv({str(text.path)!r}{options})" + ".dropna()" * missing
    if columns:
        names = [repr(name if text.names else f"x{name}") for name in columns]
        listed = ", ".join(names[:FEW] + ["..."] * (len(names) > FEW))
        way = f"pd.get_dummies({way}, columns=[{listed}], dtype=int)"
    moved = ", in which the target is to be named" if columns else ""
    return f"; a way out, with pandas: {way}.to_csv('new.csv', index=False){moved}"


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
