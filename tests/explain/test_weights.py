"""Networks whose weights are written by hand, in text or as arrays of an NPZ file."""

import numpy as np
import pytest

from tinyreg.explain.explanation import hand_example
from tinyreg.explain.weights import read_network

LINES = """# by hand
W1 = 0.1 -1; 0.9 0.25   # a comment
b1 = 0.1, 0
W2 = 0.5 -0.25; 0.08 1
b2 = .5 0
"""
ROWS = """\ufeffb2 =
  0.5 0
W2=
  0.5, -25e-2
  0.08, 1

W1 = 0.1 -1;
     0.9 0.25
b1 = 0.1 0"""
ARRAYS = {"W1": [[0.1, -1], [0.9, 0.25]], "b1": [0.1, 0], "W2": [[0.5, -0.25], [0.08, 1]]}


@pytest.fixture
def net_of(tmp_path):
    def read(content, **settings):
        if isinstance(content, dict):
            path = tmp_path / "net.NPZ"
            with open(path, "wb") as file:  # np.savez would add .npz
                np.savez(file, **content)
        else:
            path = tmp_path / "net.txt"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_network(path, **settings)

    return read


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        ROWS,
        LINES.replace("\n", "\r\n"),
        ARRAYS | {"b2": [0.5, 0]},
        ARRAYS | {"b2": np.array([[0.5, 0]], np.float32), "b1": np.array([0.1, 0])},
    ],
    ids=["lines", "rows", "lines of Windows", "NPZ", "NPZ of other dtypes"],
)
def test_what_is_written_is_the_network(content, net_of):
    net = net_of(content)
    assert net.sizes == (2, 2, 2)
    np.testing.assert_array_equal(net.params, hand_example()[0].net.params)


def test_settings_are_the_networks_and_biases_that_are_left_out_are_0(net_of):
    net = net_of("W1 = 1 2 3\nb2 = 5\nW2 = 1;2;4", activation="tanh", dtype="float32")
    assert (net.sizes, net.activation, net.dtype.name) == ((1, 3, 1), "tanh", "float32")
    assert net.params.tolist() == [1, 2, 3, 1, 2, 4, 0, 0, 0, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no W1"),
        ("# W1 = 1", "it has no W1"),
        ("b1 = 1", "it has no W1"),
        ("W1 = 1\nW3 = 1", "it has no W2"),
        ("W1 = 1\nb2 = 1", "it has no W2"),
        ("1 2; 3 4", "it begins with '1' and not with a name"),
        ("W1 = 1\nw2 = 1", "it has 'w2'"),
        ("W0 = 1", "it has 'W0'"),
        ("W1 = 1\nW1 = 2", "it has 'W1' twice"),
        ("W1 =\nb1 = 1", "W1 must not be empty"),
        ("W1 = 1 2; 3", "W1 has rows of 1 and of 2 numbers"),
        ("W1 = 1 two", "W1: could not convert string to float: 'two'"),
        ("W1 = ²", "W1: could not convert string to float: '²'"),
        ("W1 = 1 nan", "W1 must be finite in float64, got nan at [0, 1]"),
        ("W1 = 1e999", "W1 must be finite"),
        ("W1 = 1 2; 3 4\nW2 = 1; 2; 3", "W2 is 3 × 1, wanted 2 rows as W1 is 2 × 2"),
        ("W1 = 1\nW2 = 1 2\nW3 = 3", "W3 is 1 × 1, wanted 2 rows as W2 is 1 × 2"),
        ("W1 = 1 2\nb1 = 1", "b1 is 1 × 1, wanted 1 × 2 as W1 is 1 × 2"),
        ("W1 = 1 2\nb1 = 1; 2", "b1 is 2 × 1, wanted 1 × 2 as W1 is 1 × 2"),
        (b"W1 = \xff", "can't decode"),
        ({"W1": np.ones((1, 2, 2))}, "W1 is 1 × 2 × 2, no matrix"),
        ({"W1": [["a"]]}, "W1 must be a dense array of real numbers"),
        ({"W1": [[1j]]}, "W1 must be a dense array of real numbers"),
        ({"W1": [[1]], "weights": [[1]]}, "it has 'weights'"),
        ({"W1": np.array([[None]])}, "objects and structures are not read"),
    ],
)
def test_other_files_are_refused_in_one_line(content, message, net_of, tmp_path):
    with pytest.raises(ValueError, match=r"^path must be a file of weights W1, b1, ") as e:
        net_of(content)
    assert message in str(e.value)
    assert str(tmp_path) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_damaged_npz_file_is_refused(tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, W1=np.ones((20, 20)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="no NPZ file, or a damaged one"):
        read_network(path)


def test_weights_that_overflow_float32_are_refused(net_of):
    with pytest.raises(ValueError, match="W1 must be finite in float32"):
        net_of("W1 = 1e39", dtype="float32")
