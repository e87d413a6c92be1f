"""The network: its parameter vector, its passes, its files, and what it refuses."""

import copy
import io
import pickle
import zipfile

import numpy as np
import pytest
from scipy import sparse, special

import tinyreg as tr
from tests.support.derivatives import complex_step, relative_error
from tinyreg.core.layers import ACTIVATIONS

FOREIGN = r"path must be a network saved by MLP\.save"


def data(n=5, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_weights_come_first_then_biases_and_all_are_views():
    net = tr.MLP((2, 3, 1))
    assert (net.n_weights, net.n_params) == (2 * 3 + 3 * 1, 2 * 3 + 3 * 1 + 3 + 1)
    net.params = np.arange(13.0)
    np.testing.assert_array_equal(net.weights[0], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(net.weights[1], [[6], [7], [8]])
    np.testing.assert_array_equal(net.biases[0], [9, 10, 11])
    np.testing.assert_array_equal(net.biases[1], [12])
    net.biases[1][0] = -1
    net.weights[0][1, 2] = -2
    assert net.params[12] == -1
    assert net.params[5] == -2


def test_assigning_params_copies_into_the_same_vector():
    net = tr.MLP((2, 1))
    vector, values = net.params, np.ones(3)
    net.params = values
    values[0] = 5
    assert net.params is vector
    assert net.params[0] == 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(4, 2), (4, 3, 2), (4, 5, 3, 2)])
def test_forward_is_the_formula(activation, sizes):
    f = {
        "relu": lambda z: z * (z > 0),
        "leaky_relu": lambda z: np.where(z > 0, z, z / 100),
        "tanh": np.tanh,
        "sigmoid": special.expit,
        "softplus": lambda z: np.logaddexp(z, 0),
        "gelu": lambda z: z * special.ndtr(z),
        "silu": lambda z: z * special.expit(z),
        "identity": lambda z: z,
    }[activation]
    net, X = tr.MLP(sizes, activation, seed=1), data()
    net.params = np.random.default_rng(2).normal(size=net.n_params)
    for n, x in enumerate(X):
        a = x
        for layer in range(len(sizes) - 1):
            z = np.array(
                [
                    sum(a[i] * net.weights[layer][i, j] for i in range(len(a)))
                    + net.biases[layer][j]
                    for j in range(sizes[layer + 1])
                ]
            )
            a = f(z)
        np.testing.assert_allclose(net.forward(X)[n], z, rtol=1e-12)


def test_trace_holds_every_layer_in_fresh_arrays():
    net, X = tr.MLP((4, 3, 2), "tanh"), data()
    trace = net.trace(X)
    assert [z.shape for z in trace.pre_activations] == [(5, 3), (5, 2)]
    assert [a.shape for a in trace.activations] == [(5, 4), (5, 3), (5, 2)]
    np.testing.assert_array_equal(trace.activations[1], np.tanh(trace.pre_activations[0]))
    np.testing.assert_array_equal(trace.outputs, net.forward(X))
    kept = trace.outputs.copy()
    net.trace(X + 1)
    np.testing.assert_array_equal(trace.outputs, kept)


def test_backward_changes_nothing_that_it_was_handed():
    net, X = tr.MLP((4, 3, 3, 2), "relu"), data()
    trace = net.trace(X)
    dout = data(5, 2, 1)
    for array in (X, dout, net.params, *trace.pre_activations, *trace.activations):
        array.flags.writeable = False
    net.backward(trace, dout)


def test_dropout_masks_act_on_the_hidden_activations():
    net, X = tr.MLP((4, 3, 2), "tanh"), data()
    mask = np.array([0.0, 2.0, 2.0]) * np.ones((5, 1))
    expected = (np.tanh(X @ net.weights[0]) * mask) @ net.weights[1]
    np.testing.assert_allclose(net.trace(X, masks=[mask]).outputs, expected, rtol=1e-14)
    with pytest.raises(ValueError, match=r"masks must have the shapes \[\(5, 3\)\]"):
        net.trace(X, masks=[mask[:2]])


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_backward_is_right_under_dropout_masks(activation):
    rng = np.random.default_rng(3)
    net, X, dout = tr.MLP((4, 5, 6, 2), activation, seed=1), data(), data(5, 2, 1)
    net.params = rng.normal(size=net.n_params)
    masks = [(rng.random((5, n)) > 0.4) / 0.6 for n in (5, 6)]

    def f(params):
        return np.sum(dout * net.trace(X, params, masks).outputs)

    gradient = net.backward(net.trace(X, masks=masks), dout)
    assert relative_error(gradient, complex_step(f, net.params)) <= 1e-12


def test_a_good_x_is_not_copied():
    X = data()
    trace = tr.MLP((4, 2)).trace(X)
    assert trace.activations[0] is X


@pytest.mark.parametrize(
    ("activation", "variance"), [("relu", 2 / 400), ("gelu", 2 / 400), ("tanh", 2 / 900)]
)
def test_initial_weights_follow_he_or_glorot_and_biases_are_zero(activation, variance):
    net = tr.MLP((400, 500), activation, seed=3)
    W = net.weights[0]
    assert W.var() == pytest.approx(variance, rel=0.02)  # six standard deviations
    assert abs(W.mean()) < 5 * np.sqrt(variance / W.size)
    assert not net.biases[0].any()


def test_the_seed_decides_and_both_dtypes_start_alike():
    a, b, c = tr.MLP((4, 3), seed=1), tr.MLP((4, 3), seed=1), tr.MLP((4, 3), seed=2)
    np.testing.assert_array_equal(a.params, b.params)
    assert (a.params != c.params).any()
    single = tr.MLP((4, 3), dtype="float32", seed=1)
    assert single.params.dtype == np.float32
    np.testing.assert_array_equal(single.params, a.params.astype(np.float32))
    by_generator = tr.MLP((4, 3), seed=np.random.default_rng(1))
    np.testing.assert_array_equal(a.params, by_generator.params)


def test_float32_in_and_out():
    net = tr.MLP((4, 3, 2), dtype="float32")
    assert net.forward(data()).dtype == np.float32
    assert {a.dtype for a in net.trace(data()).activations} == {np.dtype("float32")}


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, tr.MLP.copy, "pickle"])
def test_a_copy_is_whole_and_apart(clone):
    net = tr.MLP((4, 3, 2), "tanh", seed=1)
    other = pickle.loads(pickle.dumps(net)) if clone == "pickle" else clone(net)
    np.testing.assert_array_equal(other.forward(data()), net.forward(data()))
    if clone is not copy.copy:
        other.weights[0][:] = 0
        assert not other.params[:12].any()
        assert net.params[:12].all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_save_and_load_give_the_same_network(tmp_path, dtype):
    net = tr.MLP((4, 3, 2), "gelu", dtype, seed=1)
    path = tmp_path / "model.anything"
    net.save(path)
    loaded = tr.MLP.load(str(path))
    assert (loaded.sizes, loaded.activation, loaded.dtype) == ((4, 3, 2), "gelu", net.dtype)
    np.testing.assert_array_equal(loaded.params, net.params)


def saved(tmp_path, **changes):
    """The path of a file like `save` writes, with some entries changed or (None) left out."""
    content = {
        "format": "tinyreg MLP",
        "version": 1,
        "sizes": np.array([2, 1]),
        "activation": "relu",
        "params": np.zeros(3),
    }
    content |= changes
    path = tmp_path / "model.npz"
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return path


def test_the_helper_writes_a_good_file(tmp_path):
    assert tr.MLP.load(saved(tmp_path)).sizes == (2, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "another"}, "its format is 'another'"),
        ({"format": None}, "it has no 'format'"),
        ({"version": 2}, "its version is 2, this tinyreg reads 1"),
        ({"sizes": None}, "it has no 'sizes'"),
        ({"sizes": np.array([2, 2])}, r"params must have shape \(6,\), got \(3,\)"),
        ({"sizes": np.array([2.5, 1.0])}, r"sizes\[0\] must be an integer"),
        ({"sizes": np.array([10**9, 10**9])}, FOREIGN),
        ({"sizes": np.ones(10**5, int)}, "sizes must be at most 10000 numbers, got 100000"),
        ({"activation": "cube"}, "activation must be one of"),
        ({"params": np.array([0.0, np.nan, 0.0])}, "params must be finite"),
        ({"params": np.array(["a", "b", "c"])}, "params must be a dense array of real numbers"),
        ({"params": np.zeros(3, np.int64)}, "dtype must be one of float64, float32"),
        ({"params": np.array([None, 1, 2])}, FOREIGN),  # a pickle inside
    ],
)
def test_a_foreign_file_is_a_clear_error(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        tr.MLP.load(saved(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x93NUMPY", bytes(200)])
def test_a_file_that_is_no_archive_is_a_clear_error(tmp_path, content):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=FOREIGN):
        tr.MLP.load(path)


def test_a_damaged_file_is_a_clear_error(tmp_path):
    path = saved(tmp_path)
    content = path.read_bytes()
    for cut in (10, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=FOREIGN):
            tr.MLP.load(path)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.getinfo("params.npy")
    inside = info.header_offset + 200  # among the array's bytes: the checksum finds it
    for at in (inside, *range(len(content) - 400, len(content), 3)):  # and the archive's own tables
        path.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
        try:
            loaded = tr.MLP.load(path)
        except ValueError as e:
            assert "saved by MLP.save" in str(e)  # noqa: PT017
        else:
            assert not loaded.params.any()  # a byte that means nothing, such as a file time


def test_a_plain_array_file_is_a_clear_error(tmp_path):
    path = tmp_path / "model.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match=FOREIGN):
        tr.MLP.load(path)


def test_a_missing_file_is_reported_as_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        tr.MLP.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (((4,),), ValueError, r"sizes must have at least inputs and outputs, got \(4,\)"),
        (((),), ValueError, "sizes must have at least"),
        (((4, 0),), ValueError, r"sizes\[1\] must be an integer >= 1, got 0"),
        (((4, -1, 2),), ValueError, r"sizes\[1\] must be an integer >= 1, got -1"),
        (((4, 2.0),), TypeError, r"sizes\[1\] must be an integer >= 1, got float 2.0"),
        (((True, 2),), TypeError, r"sizes\[0\]"),
        (("44",), TypeError, "sizes must be a sequence, got str '44'"),
        ((np.array(4),), TypeError, "sizes must be a sequence, got an array of shape"),
        ((4,), TypeError, "sizes must be a sequence, got int 4"),
        (((4, 2), "cube"), ValueError, "activation must be one of relu, .* got 'cube'"),
        (((4, 2), None), TypeError, "activation must be one of relu, .* got NoneType None"),
        (((4, 2), "relu", "float16"), ValueError, "dtype must be one of float64, float32, got"),
        (((4, 2), "relu", "float64", -1), ValueError, "seed must be an integer >= 0, got -1"),
        (((4, 2), "relu", "float64", None), TypeError, "seed must be an integer"),
    ],
)
def test_a_bad_architecture_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        tr.MLP(*arguments)


class Sparse:
    """Stands for a sparse matrix, which NumPy wraps as a single object."""


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (np.ones((5, 3)), ValueError, r"X must have shape \(n_samples, 4\), got \(5, 3\)"),
        (np.ones(4), ValueError, r"X must have shape \(n_samples, 4\), got \(4,\)"),
        (np.ones((0, 4)), ValueError, "X must not be empty"),
        (np.array([[0, 1, np.nan, 2]]), ValueError, r"X must be finite .* got nan at \[0, 2\]"),
        (np.full((2, 4), np.inf), ValueError, r"got inf at \[0, 0\]"),
        (np.ones((5, 4), complex), TypeError, "X must be a dense array of real numbers"),
        (np.array([["a"] * 4]), TypeError, "X must be a dense array of real numbers"),
        (Sparse(), TypeError, "X must be a dense array of real numbers, got Sparse"),
        (None, TypeError, "X must be a dense array of real numbers, got NoneType"),
        ([[1.0, 2.0], [3.0]], ValueError, "X must be a rectangular array"),
        (np.ma.masked_less(np.eye(4), 0.5), ValueError, "X must not have masked entries"),
    ],
)
def test_bad_inputs_are_named(X, error, words):
    for run in (tr.MLP((4, 2)).forward, tr.MLP((4, 2)).trace):
        with pytest.raises(error, match=words):
            run(X)


def test_a_bad_number_far_down_is_found():
    X = np.zeros((10_000, 4))
    X[9_000, 3] = np.inf
    with pytest.raises(ValueError, match=r"got inf at \[9000, 3\]"):
        tr.MLP((4, 2)).forward(X)


def test_a_number_too_large_for_float32_is_refused_there():
    X = np.full((1, 4), 1e300)
    assert np.isfinite(tr.MLP((4, 2)).forward(X)).all()
    with pytest.raises(ValueError, match="X must be finite in float32"):
        tr.MLP((4, 2), dtype="float32").forward(X)


def test_bad_params_are_named_and_change_nothing():
    net = tr.MLP((4, 2))
    before = net.params.copy()
    with pytest.raises(ValueError, match=r"params must have shape \(10,\), got \(9,\)"):
        net.params = np.zeros(9)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"params must be finite in float64, got"):
            net.params = np.full(10, bad)
    with pytest.raises(TypeError, match="params must be a dense array of real numbers"):
        net.params = np.ones(10) * 1j
    with pytest.raises(TypeError, match="params must be a dense array of real numbers"):
        net.params = ["a"] * 10
    with pytest.raises(ValueError, match=r"dout must have the outputs' shape \(5, 2\)"):
        net.backward(net.trace(data()), np.zeros((5, 3)))
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("kind", ["integers", "list", "fortran", "strided", "read-only"])
def test_any_layout_of_x_gives_the_same_outputs(kind):
    X = np.round(3 * data())
    net = tr.MLP((4, 3, 2))
    expected = net.forward(X)
    wide = np.zeros((10, 8))
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    same = {
        "integers": X.astype(int),
        "list": X.tolist(),
        "fortran": np.asfortranarray(X),
        "strided": wide[::2, ::2],
        "read-only": read_only,
    }[kind]
    np.testing.assert_allclose(net.forward(same), expected, rtol=1e-14)


def test_an_upstream_gradient_may_be_a_list_and_must_have_the_outputs_shape():
    net = tr.MLP((2, 3, 2), "tanh", seed=1)
    trace = net.trace([[1.0, 2.0]])
    np.testing.assert_array_equal(
        net.backward(trace, [[1, 1]]), net.backward(trace, np.ones((1, 2)))
    )
    with pytest.raises(ValueError, match=r"dout must have the outputs' shape \(1, 2\), got \(\)"):
        net.backward(trace, sparse.csr_array(np.ones((1, 2))))


@pytest.mark.parametrize("sizes", [(2, 3, 3, 1), (2, 4, 1), (2, 1), (3, 3, 1)])
def test_a_trace_of_another_network_is_refused(sizes):
    net, other = tr.MLP((2, 3, 1)), tr.MLP(sizes)
    trace = other.trace(np.ones((4, sizes[0])))
    with pytest.raises(ValueError, match=r"trace must be one of a network of sizes \(2, 3, 1\)"):
        net.backward(trace, np.ones((4, 1)))
