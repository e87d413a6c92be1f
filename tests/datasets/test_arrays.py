"""Sparse tables are read as they were written; none of what a damaged file says is believed."""

import sys
import tracemalloc

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.datasets.tables import load_rows, read_table

FORMATS = ("csr", "csc", "coo", "bsr", "dia")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 6)) * (RNG.random((12, 6)) < 0.3)
X[3] = X[:, 2] = 0
Y = np.arange(12) % 3
NAMES = list("abcdef")


def members(tmp_path, whole):
    """The arrays of the file that SciPy writes."""
    sparse.save_npz(tmp_path / "x.npz", whole)
    with np.load(tmp_path / "x.npz") as content:
        return dict(content)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("kind", "dtype"), [("array", np.float32), ("matrix", np.int8)])
def test_a_sparse_file_is_read_in_each_format_of_scipy(tmp_path, form, kind, dtype):
    of = (10 * X).astype(dtype)
    content = members(tmp_path, getattr(sparse, f"{form}_{kind}")(of))
    np.savez_compressed(tmp_path / "all.npz", y=Y, columns=NAMES, **content)
    table = read_table(tmp_path / "all.npz")
    assert isinstance(table.X, sparse.csr_array)
    assert (table.X.dtype, table.columns, table.target) == (np.float64, NAMES, "y")
    np.testing.assert_array_equal(table.X.toarray(), of)
    np.testing.assert_array_equal(table.y, Y)
    picked = load_rows(tmp_path / "all.npz", ["e", "a"])
    np.testing.assert_array_equal(picked.toarray(), of[:, [4, 0]])
    np.testing.assert_array_equal(load_rows(tmp_path / "x.npz", NAMES).toarray(), of)


@pytest.mark.parametrize("labels", [Y, Y + 0.5, np.array(["no", "yes, sure", "a b"])[Y]], ids=str)
def test_the_targets_may_lie_in_a_file_of_their_own(tmp_path, labels):
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_array(X))
    text, array = str(tmp_path / "y.txt"), str(tmp_path / "y.npy")
    np.save(array, labels)
    quoted = [f'"{label}"' if "," in str(label) else str(label) for label in labels]
    (tmp_path / "y.txt").write_text("\n".join(quoted) + "\n")
    for target in (text, array):
        table = read_table(tmp_path / "x.npz", target)
        np.testing.assert_array_equal(table.y, labels)
        assert (table.y.dtype.kind, table.target) == (labels.dtype.kind, target)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1\n2\n", "y.any must hold a target for each of the 3 samples in X, got shape .2,."),
        (b"1\nx\n2\n", "line 2 of .*y.any has 'x' in the target column '0', wanted a finite num"),
        (b"1,2\n3,4\n", "target: line 1 of .*y.any has 2 cells, wanted 1"),
        (b"", "y.any is empty"),
    ],
)
def test_a_bad_file_of_targets_is_named(tmp_path, content, words):
    np.savez(tmp_path / "x.npz", X=np.eye(3))
    (tmp_path / "y.any").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / "x.npz", str(tmp_path / "y.any"))


HUGE = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"


@pytest.mark.parametrize("content", [b"", b"none" * 9, HUGE.ljust(127) + b"\n"])
def test_a_damaged_array_of_targets_is_refused(tmp_path, content):
    np.savez(tmp_path / "x.npz", X=np.eye(3))
    (tmp_path / "y.npy").write_bytes(content)
    with pytest.raises(ValueError, match="target must be a file of plain numbers, got"):
        read_table(tmp_path / "x.npz", str(tmp_path / "y.npy"))


def test_a_sparse_file_without_targets_says_where_they_may_be(tmp_path):
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_array(X))
    with pytest.raises(ValueError, match=r"no array 'y' in .*; it names an array, or a file"):
        read_table(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"columns": ["a", "b"]}, "'columns' in .* must be 3 names, got an array of shape .2,."),
        ({"columns": [1, 2, 3]}, "'columns' in .* must be 3 names, got .* dtype int"),
        ({"columns": ["a", "b", "a"]}, "has more than one column 'a'"),
        ({"columns": ["a", "", "b"]}, "has no name for column 2"),
        ({"columns": np.array(["a", "b", "c"], object)}, "its array 'columns' holds no num"),
        ({"X": np.float64(3)}, "X must have shape .n_samples, n_features., got"),
        ({"X": np.array([[1.0, np.nan]])}, "X must be finite in float64, got nan at .0, 1."),
    ],
)
def test_a_bad_dense_file_is_named(tmp_path, content, words):
    np.savez(tmp_path / "x.npz", **{"X": np.eye(3), "y": [0, 1, 2]} | content)
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / "x.npz")


def test_a_dense_file_gives_its_columns_by_name_or_all(tmp_path):
    np.savez(tmp_path / "x.npz", X=[[1, 2, 3]], y=[0], columns=["a", "b", "c"])
    assert load_rows(tmp_path / "x.npz", ["c", "a"]).tolist() == [[3, 1]]
    table = read_table(tmp_path / "x.npz", columns=["c", "a"])
    assert (table.X.tolist(), table.columns) == ([[3, 1]], ["c", "a"])
    with pytest.raises(ValueError, match=r"no input column 'd', only 'a', 'b', 'c'"):
        load_rows(tmp_path / "x.npz", ["d"])
    assert load_rows(tmp_path / "x.npz", ["x0", "x1", "x2"]).tolist() == [[1, 2, 3]]
    np.savez(tmp_path / "x.npz", X=[[1, 2, 3]])
    assert load_rows(tmp_path / "x.npz", ["c", "a", "b"]).tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match=r"has 3 columns, .* the 2 inputs 'a', 'b' and"):
        load_rows(tmp_path / "x.npz", ["a", "b"])


SMALL = np.array([[1.0, 0, 2], [0, 0, 0], [0, 3, 0], [4, 0, 0]])
# Each changes the members of a file that holds `SMALL`.
DAMAGED = {
    "index too large": ("csr", {"indices": [0, 2, 3, 0]}, "indices must be < 3|index values must"),
    "index negative": ("csr", {"indices": [0, 2, -1, 0]}, "must be >= 0"),
    "index beyond 32 bits": ("csr", {"indices": [0, 2, 2**32 + 1, 0]}, "indices must be < 3|index"),
    "indices with fractions": (
        "csr",
        {"indices": [0.0, 2, 1, 0]},
        "indices and indptr must be arrays of int",
    ),
    "too few indices": ("csr", {"indices": [0, 2, 1]}, "should have the same size"),
    "indptr decreases": (
        "csr",
        {"indptr": [0, 2, 1, 3, 4]},
        "non-decreasing|must not fall",
    ),
    "indptr ends with none": ("csr", {"indptr": [0, 9, 9, 9, 0]}, "index pointers must not fall"),
    "indptr starts late": ("csr", {"indptr": [1, 2, 2, 3, 4]}, "should start with 0"),
    "indptr too short": ("csr", {"indptr": [0, 2, 4]}, "index pointer size"),
    "indptr too large": ("csr", {"indptr": [0, 2, 2, 3, 99]}, "Last value of index pointer"),
    "indptr in rows": ("csr", {"indptr": [[0, 2, 2, 3, 4]]}, "should be 1-D"),
    "data in rows": ("csr", {"data": [[1.0, 2, 3, 4]]}, "should be 1-D"),
    "data are text": ("csr", {"data": ["a", "b", "c", "d"]}, "X must be|dtype|type"),
    "data are complex": ("csr", {"data": [1j, 2, 3, 4]}, "X must be an array of real numbers"),
    "NaN": ("csr", {"data": [1, 2, np.nan, 4]}, r"X must be finite .* got nan at \[2, 1\]"),
    "infinite": ("coo", {"data": [1, 2, np.inf, 4]}, r"X must be finite .* got inf at \[2, 1\]"),
    "no indices": ("csr", {"indices": None}, "indices and indptr must be arrays of int"),
    "no shape": ("csr", {"shape": None}, "there is no array 'X' in .*, which has"),
    "a shape of one": ("csr", {"shape": [4]}, "its shape .4,. is too large"),
    "no rows": ("csr", {"shape": [0, 3], "indptr": [0]}, "X must have shape .* got .0, 3.|size"),
    "a negative shape": ("csr", {"shape": [4, -3]}, "cannot be negative"),
    "a huge shape": ("csr", {"shape": [4, 10**12]}, "its shape .4, 1000000000000. is too large"),
    "a huge shape of COO": ("coo", {"shape": [10**12, 3]}, "its shape .10*, 3. is too large"),
    "a huge shape of CSC": ("csc", {"shape": [2**62, 3]}, "its shape .* is too large for 4 data"),
    "another format": ("csr", {"format": b"lil"}, "its format is 'lil'"),
    "formats": ("csr", {"format": [b"csr", b"csr"]}, "path must be an NPZ file"),
    "row too large": ("coo", {"row": [0, 0, 2, 4]}, "index 4 exceeds matrix dimension 4"),
    "row negative": ("coo", {"row": [0, 0, 2, -1]}, "negative axis 0 index|negative row"),
    "column too large": ("csc", {"indices": [0, 3, 2, 4]}, "indices must be < 4|index"),
    "no blocks": ("bsr", {"data": np.zeros((4, 0, 0))}, "path must be an NPZ file"),
    "blocks beyond": ("bsr", {"data": np.ones((4, 3, 1)), "indptr": [0, 4]}, "blocks of .* do not"),
    "an offset beyond": ("dia", {"offsets": [-3, 0, 2**40]}, "its offsets lie outside"),
    "an offset too few": ("dia", {"offsets": [-3, 0]}, "does not match the number of offsets"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_sparse_file_is_refused_in_one_line(tmp_path, kind):
    form, change, words = DAMAGED[kind]
    content = members(tmp_path, getattr(sparse, f"{form}_array")(SMALL)) | {"y": np.arange(4)}
    content |= change
    np.savez(tmp_path / "x.npz", **{name: a for name, a in content.items() if a is not None})
    tracemalloc.start()
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        read_table(tmp_path / "x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < 2**20


def svmlight(tmp_path, text):
    (tmp_path / "x.svm").write_text(text)
    return tmp_path / "x.svm"


def test_svmlight_names_a_column_by_its_number(tmp_path):
    pytest.importorskip("sklearn")
    table = read_table(svmlight(tmp_path, "1 1:0.5 3:2 # one\n-1 2:1\n"))
    assert isinstance(table.X, sparse.csr_array)
    assert (table.X.toarray().tolist(), table.y.tolist()) == ([[0.5, 0, 2], [0, 1, 0]], [1, -1])
    assert (table.columns, table.y.dtype) == (["1", "2", "3"], np.int64)
    from_0 = read_table(svmlight(tmp_path, "1.5 0:0.5\n-1 2:1\n"))
    assert (from_0.columns, from_0.y.tolist()) == (["0", "1", "2"], [1.5, -1])
    # Columns that another file has not, or has too many of, or that count from elsewhere.
    path = svmlight(tmp_path, "1 1:5 4:2\n0 2:6\n")
    assert load_rows(path, from_0.columns).toarray().tolist() == [[0, 5, 0], [0, 0, 6]]
    assert load_rows(path, ["4", "9"]).toarray().tolist() == [[2, 0], [0, 0]]
    assert read_table(path, None, table.columns).X.toarray().tolist() == [[5, 0, 0], [0, 6, 0]]
    X, y = tr.load_table(path, "y")  # which is what a model has as its name
    assert (X.shape, y.tolist()) == ((2, 4), [1, 0])


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", None, "path must be an svmlight file, got"),
        ("1 a:1\n", None, "path must be an svmlight file, got"),
        ("x 1:1\n", None, "path must be an svmlight file, got"),
        ("1 1:1 99999999999999999999:1\n", None, "path must be an svmlight file, got"),
        ("1 999999999:1\n", None, "a column has the number 999999999"),
        ("1 1:nan\n", None, "X must be finite in float64, got nan at .0, 0."),
        ("nan 1:1\n", None, "y must be finite in float64, got nan"),
        ("1 1:1\n", ["a", "b"], "its columns are numbers, it has none named 'a', 'b'"),
    ],
)
def test_a_bad_svmlight_file_is_named(tmp_path, text, columns, words):
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=words):
        read_table(svmlight(tmp_path, text), None, columns)


def test_svmlight_without_scikit_learn_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match=r"takes scikit-learn: pip install 'tinyreg\[sklearn\]'"):
        tr.load_table(svmlight(tmp_path, "1 1:1\n"))
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"target: each line of .* begins with it, got 'price'"):
        tr.load_table(tmp_path / "x.svm", "price")
