"""Tables are read as their owner meant them, and refused by line and column."""

import zipfile

import numpy as np
import pytest

import tinyreg as tr


def table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_a_csv_is_read_in_every_common_form(tmp_path, delimiter, header, ending):
    rows = [["a", "b", "label"]] * header + [["1", "2.5", "0"], ["-3e2", "4", "1"]]
    path = table(tmp_path, ending.join(delimiter.join(row) for row in rows) + ending)
    X, y = tr.load_table(path)
    np.testing.assert_array_equal(X, [[1, 2.5], [-300, 4]])
    assert y.tolist() == [0, 1]
    assert y.dtype == np.int64


@pytest.mark.parametrize(
    ("target", "column"), [("b", 1), (1, 1), ("1", 1), (-2, 1), ("c", 2), (None, 2), (0, 0)]
)
def test_the_target_is_a_name_or_a_number(tmp_path, target, column):
    path = table(tmp_path, "a,b,c\n1,2,3\n4,5,6\n")
    X, y = tr.load_table(path, target)
    whole = np.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(y, whole[:, column])
    np.testing.assert_array_equal(X, np.delete(whole, column, axis=1))


@pytest.mark.parametrize(
    ("cells", "expected", "kind"),
    [
        (["1", "0", "1"], [1, 0, 1], "i"),
        (["1.0", "0.0", "2.0"], [1, 0, 2], "i"),
        (["1.5", "0", "2"], [1.5, 0, 2], "f"),
        (["6e23", "1", "2"], [6e23, 1, 2], "f"),  # not an int64
        (["setosa", "virginica", "setosa"], ["setosa", "virginica", "setosa"], "U"),
    ],
)
def test_targets_are_integers_numbers_or_names_of_classes(tmp_path, cells, expected, kind):
    path = table(tmp_path, "x,y\n" + "".join(f"1,{cell}\n" for cell in cells))
    _, y = tr.load_table(path)
    assert y.tolist() == expected
    assert y.dtype.kind == kind


@pytest.mark.parametrize(
    ("text", "target", "X", "y"),
    [
        # As pandas writes a frame whose columns were never named, with a target.
        ("0,1,price\n.1,.2,1.5\n.2,.1,2.5\n", None, [[0.1, 0.2], [0.2, 0.1]], [1.5, 2.5]),
        ("0,1,kind\n.1,.2,a\n.2,.1,b\n", None, [[0.1, 0.2], [0.2, 0.1]], ["a", "b"]),
        ("1990,1991,price\n.1,.2,1.5\n.2,.1,2.5\n", "price", [[0.1, 0.2], [0.2, 0.1]], [1.5, 2.5]),
        # Without names: text in the first line's target is a class like any other.
        ("3,4,a\n5,6,b\n", None, [[3, 4], [5, 6]], ["a", "b"]),
        ('"a, b, c";"d";y\n1;2;3\n', None, [[1, 2]], [3]),
    ],
)
def test_a_line_of_names_is_told_from_a_sample(tmp_path, text, target, X, y):
    features, targets = tr.load_table(table(tmp_path, text), target)
    assert (features.tolist(), targets.tolist()) == (X, y)


def test_quoted_cells_and_a_byte_order_mark(tmp_path):
    path = table(tmp_path, '\ufeff"a, b","label"\n"1","yes, sure"\n2,no\n')
    X, y = tr.load_table(path, "label")
    assert (X.ravel().tolist(), y.tolist()) == ([1, 2], ["yes, sure", "no"])


def test_an_npz_has_its_arrays_by_name(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.arange(6).reshape(3, 2), y=np.array([0.5, 1, 2]), k=np.array([0, 1, 1]))
    X, y = tr.load_table(path)
    assert (X.dtype, X.shape, y.tolist()) == (np.float64, (3, 2), [0.5, 1, 2])
    assert tr.load_table(path, "k")[1].tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"target: there is no array 'z' .* has X, y, k"):
        tr.load_table(path, "z")


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        ("", None, "is empty"),
        ("\n \n", None, "is empty"),
        ("a,b\n", None, "has only column names"),
        ("a\n1\n", None, "has 1 column"),
        ("a,b\n1,2\n3\n", None, "line 3 of .* has 1 cells, the others have 2"),
        ("a,b\n1,2\nx,4\n", None, "line 3 of .* has 'x' in the feature column 'a', wanted a num"),
        ("a,b\n1,2\n,4\n", None, "line 3 of .* has '' in the feature column 'a', wanted a number"),
        ("a,b\n1,2\nnan,4\n", None, "line 3 .* 'nan' in the feature column 'a', wanted a finite"),
        ("a,b\n1,2\n-inf,4\n", None, "line 3 .* '-inf' .* wanted a finite number"),
        ("x,y\n1,1.5\n2,NA\n3,2\n", None, "line 3 .* 'NA' in the target column 'y', wanted a fin"),
        ("0,1,price\n1,2,3\n4,5,low\n", None, "line 3 .* 'low' in the target column 'price'"),
        ('a,b\n1,"2\n' + "x" * 140_000, None, "path must be a table, .* is not: line 3"),
        ("a,b\n1,2\n3,\n", None, "line 3 of .* has '' in the target column 'b'"),
        ("a,b\n1,2\n3,nan\n", None, "line 3 of .* has 'nan' in the target column 'b'"),
        ("a,b\n1,2\n", "c", "target: there is no column 'c' in .* which has a, b"),
        ("a,b\n1,2\n", 2, "target: there is no column 2"),
        ("a,b\n1,2\n", "--1", "target: there is no column '--1'"),
        ("1,2\n3,4\n", "label", "target: there is no column 'label'"),
    ],
)
def test_a_bad_table_is_named(tmp_path, text, target, words):
    with pytest.raises(ValueError, match=words):
        tr.load_table(table(tmp_path, text), target)


def test_files_that_are_no_tables_are_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        tr.load_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="path must be an NPZ file of plain arrays"):
        tr.load_table(table(tmp_path, "hello", "data.npz"))
    binary = tmp_path / "data.csv"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"path must be a CSV \(UTF-8 text\) or NPZ file"):
        tr.load_table(binary)
    np.savez(tmp_path / "x.npz", X=np.array([["a"]]), y=np.array([1]))
    with pytest.raises(TypeError, match=r"X must be .* numbers"):
        tr.load_table(tmp_path / "x.npz")
    for y in (np.zeros(3), np.array(1.0)):
        np.savez(tmp_path / "x.npz", X=np.zeros((2, 2)), y=y)
        with pytest.raises(ValueError, match="y must hold a target for each of the 2 samples"):
            tr.load_table(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("X", "no array")
        archive.writestr("y", "no array")
    with pytest.raises(ValueError, match=r"there is no array 'X' in .* has none"):
        tr.load_table(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", X=np.array([[1.0]]), y=np.array([np.nan]))
    with pytest.raises(ValueError, match="y must be finite"):
        tr.load_table(tmp_path / "y.npz")
    with pytest.raises(TypeError, match="target must be a column's name or number, got float"):
        tr.load_table(tmp_path / "x.npz", 1.5)
