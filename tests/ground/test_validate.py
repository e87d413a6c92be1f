"""A bad argument is refused before any work, by its name, what came and what is wanted.

What the public functions refuse is tested beside them; here is what several of them share.
"""

import numpy as np
import pytest

from tinyreg.files import reading
from tinyreg.validate import (
    check_array,
    check_features,
    check_fraction,
    check_sample_weight,
    check_step,
    check_vector,
    describe,
    named,
)


@pytest.mark.parametrize("kind", ["float64", "float32", "uint8"])
def test_a_memory_map_is_neither_copied_nor_cast(tmp_path, kind):
    np.arange(12, dtype=kind).reshape(4, 3).tofile(tmp_path / "X.dat")
    X = np.memmap(tmp_path / "X.dat", kind, "r", shape=(4, 3))
    for view in (X, X[1:], X[:, :2], X[::-1]):
        features = check_features(view, view.shape[1], np.float64)
        assert np.shares_memory(features, X)
        assert features.dtype == kind
    assert check_array("X", X, np.float64).dtype == np.float64
    assert check_features(np.asarray(X), 3, np.float64).dtype == np.float64


@pytest.mark.parametrize("row", [0, 1023, 1024, 4999])
def test_a_number_of_a_memory_map_that_is_too_large_for_the_network_is_named(tmp_path, row):
    X = np.memmap(tmp_path / "X.dat", np.float64, "w+", shape=(5000, 2))
    X[row, 1] = 1e300
    assert check_features(X, 2, np.float64).base is not None
    with pytest.raises(ValueError, match=rf"Z must be finite in float32, got inf at \[{row}, 1\]"):
        check_features(X, 2, np.float32, "Z")


def test_an_array_of_the_right_dtype_is_not_copied():
    X = np.ones((3, 2))
    assert np.shares_memory(check_features(X, 2, np.float64), X)
    assert np.shares_memory(check_array("X", X, np.float64), X)
    assert check_features([[1, 2]], 2, np.float32).dtype == np.float32


def test_weights_of_samples_are_one_for_each_and_sum_to_1(tmp_path):
    np.testing.assert_array_equal(check_sample_weight(None, 4), [0.25] * 4)
    stored = np.memmap(tmp_path / "w.dat", np.float32, "w+", shape=(2,))
    stored[:] = [1, 3]
    for weight in ([1, 3], np.array([5e307, 1.5e308]), stored):
        checked = check_sample_weight(weight, 2)
        assert checked.dtype == np.float64
        np.testing.assert_allclose(checked, [0.25, 0.75], rtol=1e-15)


@pytest.mark.parametrize("bad", [-1e-300, -np.inf, np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("where", [(0, 0), (1, 2), ...])
def test_steps_are_finite_numbers_from_0_on(bad, dtype, where):
    w, step = np.zeros((2, 3), dtype), np.full((2, 3), 0.1, dtype)
    assert check_step(step, w) is step
    assert check_step(step[:0], w[:0]).size == 0
    step[where] = bad
    if dtype == "float32" and abs(bad) < 1e-100:  # −0.0 is 0
        assert check_step(step, w) is step
        return
    with pytest.raises(
        ValueError, match=r"step must be finite numbers >= 0, got numbers from \S+ to"
    ):
        check_step(step, w)
    with pytest.raises(ValueError, match="step must be a finite number >= 0, got"):
        check_step(bad, w)


@pytest.mark.parametrize("bad", [1, 1.0, 2.5])
def test_a_fraction_is_below_1(bad):
    assert check_fraction("x", 0) == 0
    with pytest.raises(ValueError, match=f"^x must be < 1, got {bad}$"):
        check_fraction("x", bad)
    with pytest.raises(ValueError, match=r"^x must be a finite number >= 0, got -1$"):
        check_fraction("x", -1)


def test_a_vector_may_be_complex_and_integers_become_floats():
    assert check_vector("v", [1, 2], 2).dtype == np.float64
    assert check_vector("v", [1j, 2], 2).dtype == np.complex128
    single = np.ones(2, np.float32)
    assert check_vector("v", single, 2) is single
    with pytest.raises(ValueError, match=r"^v must have shape \(3,\), got \(2,\)$"):
        check_vector("v", [1, 2], 3)
    with pytest.raises(TypeError, match=r"^v must be numbers, got an array of shape"):
        check_vector("v", ["a", "b"], 2)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_an_error_says_which_of_several_arguments_it_is_about(error):
    with pytest.raises(error, match=r"^X_test, y_test: no$"), named("X_test, y_test"):
        raise error("no")


@pytest.mark.parametrize("error", [TypeError, ValueError, MemoryError, OverflowError])
def test_whatever_is_wrong_with_a_file_is_an_error_about_its_path(error):
    wanted = "^path must be a network, got 'x.npz': no$"
    with pytest.raises(ValueError, match=wanted), reading("x.npz", "a network"):
        raise error("no")
    with pytest.raises(FileNotFoundError, match=r"^no$"), reading("x.npz", "a network"):
        raise FileNotFoundError("no")


def test_a_value_is_described_in_a_few_characters():
    assert describe(np.zeros((2, 3), np.float32)) == "an array of shape (2, 3) and dtype float32"
    assert describe(1.5) == "float 1.5"
    assert len(describe("x" * 1000)) == 80
