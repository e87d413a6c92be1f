"""Tables are read as their owner meant them, and refused by line and column."""

import zipfile

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.datasets.tables import load_rows, read_table


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
    cells = '"1","yes, sure"\n2,"two\nlines"\n3,f\x0cg\x85h\u2028i\n'  # which pandas keeps too
    X, y = tr.load_table(table(tmp_path, f'\ufeff"a, b","label"\n{cells}'), "label")
    assert X.ravel().tolist() == [1, 2, 3]
    assert y.tolist() == ["yes, sure", "two\nlines", "f\x0cg\x85h\u2028i"]


def test_an_npz_has_its_arrays_by_name(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.arange(6).reshape(3, 2), y=np.array([0.5, 1, 2]), k=np.array([0, 1, 1]))
    X, y = tr.load_table(path)
    assert (X.dtype, X.shape, y.tolist()) == (np.float64, (3, 2), [0.5, 1, 2])
    assert tr.load_table(path, "k")[1].tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"target: there is no array 'z' .* has 'X', 'y', 'k'; "):
        tr.load_table(path, "z")


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        ("", None, "is empty"),
        ("\n \n", None, "is empty"),
        ("a,b\n", None, "has only column names"),
        ("a\n1\n", None, "has 1 column"),
        ("a,b\n1,2\n3\n", None, "line 3 of .* has 1 cells, the others have 2"),
        ("a,b\n1,2\nx,4\n", None, "line 3 of .* has 'x' in the feature column 'a', wanted a fin"),
        ("a,b\n1,2\n,4\n", None, "line 3 of .* has '' in the feature column 'a', wanted a fin"),
        ("a,b\n1,2\nnan,4\n", None, "line 3 .* 'nan' in the feature column 'a', wanted a finite"),
        ("a,b\n1,2\n-inf,4\n", None, "line 3 .* '-inf' .* wanted a finite number"),
        ("x,y\n1,1.5\n2,NA\n3,2\n", None, "line 3 .* 'NA' in the target column 'y', wanted a fin"),
        ("0,1,price\n1,2,3\n4,5,low\n", None, "line 3 .* 'low' in the target column 'price'"),
        ('a,b\n1,"2\n' + "x" * 140_000, None, "path must be a table, .* is not: line 3"),
        ('a,b\n1,"x\n2,z\n', None, "path must be a table, .* is not: line 3: unexpected end"),
        ("a,b\n1,2\n3,\n", None, "line 3 of .* has '' in the target column 'b'"),
        ("a,b\n1,2\n3,nan\n", None, "line 3 of .* has 'nan' in the target column 'b'"),
        ("a,b\n1,2\n", "c", "target: there is no column 'c' in .* which has 'a', 'b'"),
        ("a,b\n1,2\n", 2, "target: there is no column 2"),
        ("a,b\n1,2\n", "--1", "target: there is no column '--1'"),
        ("1,2\n3,4\n", "label", "target: there is no column 'label'"),
        ("a,b\n1,2\n", "²", "target: there is no column '²'"),
        ("a,b\n1,2\n", "1" * 5000, "target: there is no column '1{50,59} in"),
        ("a,b\n1,²\n3,4\n", None, "line 2 of .* has '²' in the target column 'b'"),
        ("a,b\n1_000,2\n", None, "line 2 of .* has '1_000' in the feature column 'a'"),
        ("a,b,a\n1,2,3\n", None, "has more than one column 'a'"),
        ("b,a,b\n1,2,3\n", "b", "has more than one column 'b'"),
        (
            ",a,b\n0,2,3\n1,5,6\n",
            None,
            "table.csv has no name for column 1, as the row index .* index=F",
        ),
        (",0,1\n0,2,3\n1,5,6\n", None, "has no name for column 1, as the row index"),
        (",0,y\n0,2,3\n1,5,6\n", "y", "has no name for column 1, as the row index"),
        ("Unnamed: 0,a,b\n0,2,3\n1,5,6\n", None, "has no name for column 1, as the row index"),
        ("a,b,\n0,2,3\n1,5,6\n", None, "has no name for column 3$"),
        ('a,b\n"1,000",2\n3,4\n', None, r"'1,000' in .*: 1 with a comma \('a'\)$"),
        ('a,b\n3,"1,5"\n4,"2,5"\n', None, r"'1,5' in the target .*: 2 with a comma \('b'\)$"),
        ("1,5;2,5;0\n2,5;3,5;1\n", None, r"'1,5' in .*: 4 with a comma \('0', '1'\); a way out"),
        (",2,3\n1,5,6\n", None, "line 1 of .* has '' in the feature column '0'"),
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


MIXED = """age,city,wage,kind,label
3,Oslo,1.5,r,0
?,Rome,2,s,1
5,Oslo,NA,r,1
7,,inf,s,0
"""


def test_all_bad_cells_are_counted_and_their_columns_named(tmp_path):
    told = (
        r"line 2 .*'Oslo' in the feature column 'city'.* in all: 7 text \('city', 'kind'\), "
        r"3 missing \('age', 'wage', 'city'\), 1 infinite \('wage'\); a way out"
    )
    with pytest.raises(ValueError, match=told):
        read_table(table(tmp_path, MIXED))
    wide = ",".join("abcdefgh") + "\n" + ",".join("ppppppp1") + "\n"
    told = r"7 text \('a', 'b', 'c', 'd', 'e' and 2 more\); .* 'e', \.\.\.\]"
    with pytest.raises(ValueError, match=told):
        read_table(table(tmp_path, wide))


def way_out(path):
    """Do as the message says."""
    pandas = pytest.importorskip("pandas")
    with pytest.raises(
        ValueError, match="a way out, with pandas, then name the target: "
    ) as caught:
        read_table(path)
    exec(str(caught.value).partition("name the target: ")[2], {"pd": pandas})


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("header", [True, False])
def test_the_way_out_of_the_message_leads_out(tmp_path, monkeypatch, delimiter, header):
    monkeypatch.chdir(tmp_path)
    text = MIXED.replace("inf", "2").replace(",", delimiter)
    way_out(table(tmp_path, text if header else text.partition("\n")[2]))
    whole = read_table("new.csv", "label" if header else "x4")
    assert (whole.X.tolist(), whole.y.tolist()) == ([[3, 1.5, 1, 1]], [0])


@pytest.mark.parametrize("cells", ["1,1.5 ,2 na,2 3,2.5", "1;1,5 3;2,5", "1,0;1,5 ?;7,0 3,0;2,5"])
def test_missing_cells_and_decimal_commas_have_a_way_out(tmp_path, monkeypatch, cells):
    monkeypatch.chdir(tmp_path)
    way_out(table(tmp_path, f"a{';' if ';' in cells else ','}b {cells}".replace(" ", "\n")))
    whole = read_table("new.csv")
    assert (whole.X.tolist(), whole.y.tolist()) == ([[1], [3]], [1.5, 2.5])


def test_a_table_has_the_names_of_its_columns(tmp_path):
    named = read_table(table(tmp_path, "a,b,c\n1,2,0\n3,4,1\n"), "b")
    assert (named.columns, named.target) == (["a", "c"], "b")
    nameless = read_table(table(tmp_path, "1,2,0\n3,4,1\n"), 0)
    assert (nameless.columns, nameless.target) == (["x0", "x1"], "0")


PETS = "name,b,a,label\nTom,2,1,0\nAnn,4,3,1\n"


def test_columns_are_taken_by_name_and_others_left_unread(tmp_path):
    path = table(tmp_path, PETS)
    picked = read_table(path, "label", ["a", "b"])
    assert (picked.X.tolist(), picked.y.tolist()) == ([[1, 2], [3, 4]], [0, 1])
    assert picked.columns == ["a", "b"]
    assert load_rows(path, ["a", "b"]).tolist() == [[1, 2], [3, 4]]
    assert load_rows(path, ["b"]).tolist() == [[2], [4]]
    years = table(tmp_path, "1990,1991\n1,2\n", "years.csv")
    assert load_rows(years, ["1991", "1990"]).tolist() == [[2, 1]]
    frame = table(tmp_path, ",a,b\n0,1,2\n", "frame.csv")
    assert load_rows(frame, ["a", "b"]).tolist() == [[1, 2]]


def test_columns_without_names_are_taken_by_position(tmp_path):
    path = table(tmp_path, "1,2\n3,4\n")
    assert load_rows(path, ["a", "b"]).tolist() == [[1, 2], [3, 4]]
    one = read_table(path, 0, ["a"])
    assert (one.X.tolist(), one.y.tolist(), one.columns) == ([[2], [4]], [1, 3], ["a"])
    assert load_rows(table(tmp_path, "5\n"), ["a"]).tolist() == [[5]]
    # The other way round: names in the file alone.
    named = table(tmp_path, "b,a\n1,2\n3,4\n")
    assert load_rows(named, ["x0", "x1"]).tolist() == [[1, 2], [3, 4]]
    assert read_table(named, "b", ["x0"]).X.tolist() == [[2], [4]]
    assert load_rows(table(tmp_path, "x1,x0,y\n1,2,3\n"), ["x0", "x1"]).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        (PETS, "cad", "no input column 'c', 'd', only 'name', 'b', 'a', 'label'"),
        (PETS, "cdefghi", "no input column 'c', 'd', 'e', 'f', 'g' and 2 more, only"),
        ("1,2,0\n", "ab", "has 3 columns, without names it must have the 2 inputs 'a', 'b' and no"),
        (
            "Tom,2,0\n",
            "ab",
            "has 3 columns, without names it must have the 2 inputs 'a', 'b' and no",
        ),
        (PETS, ["x0", "x1"], "has 4 columns, without names it must have the 2 inputs 'x0', 'x1'"),
        ("x0,a\n1,2\n", ["x0", "x1"], "has no input column 'x1', only 'x0', 'a'"),
        ("a,b\n1,x\n", "ab", "line 2 of .* has 'x' in the feature column 'b'"),
        ("a,b,a\n1,2,3\n", "ab", "has more than one column 'a'"),
        ("a,b\n", "ab", "has only column names"),
        ("", "ab", "is empty"),
        ("a,b\n1\n", "ab", "line 2 of .* has 1 cells, the others have 2"),
    ],
)
def test_rows_without_the_wanted_columns_are_refused(tmp_path, text, columns, words):
    with pytest.raises(ValueError, match=words):
        load_rows(table(tmp_path, text), list(columns))
