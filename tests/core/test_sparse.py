"""Sparse X: the same numbers as dense X to rounding, and memory by the number of nonzeros."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.checkpoint import told
from tinyreg.validate import check_features

FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr")
LOSSES = {"softmax": tr.SoftmaxCrossEntropy(), "squared": tr.SquaredError()}
EPS = {"float64": 2.3e-16, "float32": 1.2e-7}


def samples(seed=0, n=60, d=30):
    """A sparse table with an empty row and an all-zero column, and labels 0 to 2."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.1)
    dense[3], dense[:, 5] = 0, 0
    return sparse.csr_array(dense), dense, rng.integers(0, 3, n)


def problem(dtype="float64", loss="softmax", penalty=None, hidden=(7,)):
    net = tr.MLP((30, *hidden, 3 if loss == "softmax" else 1), "tanh", dtype=dtype, seed=1)
    return tr.Objective(net, LOSSES[loss], penalty)


def agrees(a, b, dtype="float64", factor=50):
    a, b = np.asarray(a), np.asarray(b)
    assert type(a) is np.ndarray
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=factor * EPS[dtype] * max(np.abs(b).max(), 1e-3))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_derivatives_are_those_of_the_dense_table(loss, dtype):
    X, dense, y = samples()
    F = problem(dtype, loss, tr.L1(1e-2))
    weight = np.random.default_rng(2).random(len(y))
    v = np.random.default_rng(3).normal(size=F.net.n_params)
    agrees(F.net.forward(X), F.net.forward(dense), dtype)
    for name in ("terms", "data_gradient", "gradient", "residual"):
        ask = getattr(F, name)
        of_sparse = ask(X, y, sample_weight=weight)
        agrees(of_sparse, ask(dense, y, sample_weight=weight), dtype)
    agrees(F.hessian_vector(X, y, v), F.hessian_vector(dense, y, v), dtype)
    agrees(F.example_gradients(X, y), F.example_gradients(dense, y), dtype)


def test_a_complex_step_passes_through_a_sparse_table():
    X, _, y = samples()
    F = problem()
    v = np.random.default_rng(1).normal(size=F.net.n_params)
    slope = F.value(X, y, F.net.params + 1e-30j * v).imag / 1e-30
    assert slope == pytest.approx(F.gradient(X, y) @ v, rel=1e-13)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format_is_taken(format, kind):
    X, dense, _ = samples()
    net = problem().net
    table = X.asformat(format)
    table = getattr(sparse, f"{format}_{kind}")(table)
    agrees(net.forward(table), net.forward(dense))
    assert table.format == format


@pytest.mark.parametrize(
    "change",
    [
        lambda X: sparse.csr_array((X > 0).astype(np.int8)),
        lambda X: sparse.csr_array(X > 0),
        lambda X: X.astype(np.float32),
        lambda X: sparse.csr_array(
            (X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape
        ),
        lambda X: X[:, ::-1],
        lambda X: X[:1],
    ],
    ids=["integers", "booleans", "float32", "64-bit indices", "columns turned", "one sample"],
)
def test_numbers_and_indices_of_any_kind_are_taken(change):
    X, _, y = samples()
    X, F = change(X), problem()
    agrees(F.gradient(X, y[: X.shape[0]]), F.gradient(X.toarray(), y[: X.shape[0]]))


def test_entries_of_one_place_are_added_and_the_table_given_stays_as_it_was():
    columns = np.array([2, 2, 9, 3])
    X = sparse.csr_array((np.ones(4), columns, np.array([0, 2, 4])), shape=(2, 30))
    X.data.flags.writeable = False
    before = X.data.copy(), X.indices.copy()
    F = problem()
    agrees(F.gradient(X, [0, 1]), F.gradient(X.toarray(), [0, 1]))
    np.testing.assert_array_equal(X.data, before[0])
    np.testing.assert_array_equal(X.indices, before[1])


def test_of_a_table_in_order_nothing_is_copied():
    X, _, _ = samples()
    for given in (X, sparse.csr_matrix(X)):
        assert np.shares_memory(check_features(given, 30, np.float64).data, given.data)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("penalty", "how"),
    [
        (tr.L1(3e-3), {"method": "proximal"}),
        (tr.L2(3e-3), {"method": "decoupled"}),
        (tr.L1(3e-3), {"method": "proximal", "variance_reduction": True}),
        (tr.GroupLasso(3e-3, axis=1), {"method": "proximal", "optimizer": tr.SGD(0.1, 0.9)}),
        (None, {"dropout": 0.3}),
    ],
)
def test_training_ends_where_it_ends_on_the_dense_table(penalty, how, dtype):
    X, dense, y = samples()
    ends = []
    for table in (X, dense):
        net = problem(dtype).net
        history = tr.fit(
            net, table, y, loss=LOSSES["softmax"], penalty=penalty, epochs=3, batch_size=16,
            validation_data=(table[:11], y[:11]), **how,
        )  # fmt: skip
        ends.append((net.params, history.total, history.validation_loss))
    for a, b in zip(*ends, strict=True):
        agrees(np.asarray(a), np.asarray(b), dtype, factor=1000)


@pytest.mark.parametrize("solver", ["fista", "ista", "lbfgs", "subgradient"])
def test_solvers_and_gaps_are_those_of_the_dense_table(solver):
    X, dense, y = samples()
    lam = 0.3 * tr.lambda_max(X, y, LOSSES["softmax"])
    assert lam == pytest.approx(0.3 * tr.lambda_max(dense, y, LOSSES["softmax"]), rel=1e-13)
    found = []
    for table in (X, dense):
        F = problem(penalty=tr.L1(lam), hidden=())
        found.append(tr.minimize(F, table, y, solver, tol=1e-4, max_iter=800))
    assert [r.success for r in found] == 2 * [solver != "subgradient"]
    assert found[0].fun == pytest.approx(found[1].fun, rel=1e-12)
    assert found[0].gap == pytest.approx(found[1].gap, rel=1e-6)


def test_a_compacted_network_takes_the_columns_of_a_sparse_table():
    X, _, _ = samples()
    net = problem().net
    net.weights[0][::2] = 0
    small, inputs = net.compact()
    agrees(small.forward(X[:, inputs]), net.forward(X))


def test_the_check_judges_the_gradient_of_a_sparse_table(monkeypatch):
    X, _, y = samples()
    F = problem("float32", penalty=tr.L1(1e-3))
    assert tr.check_gradients(F, X[:9], y[:9], precision=True).ok
    right = sparse.csc_array.__matmul__  # of xᵀ in xᵀ dz
    monkeypatch.setattr(sparse.csc_array, "__matmul__", lambda a, b: 2 * right(a, b))
    report = tr.check_gradients(F, X[:9], y[:9])
    assert [row["mismatch"] > 0 for row in report.rows] == [True, False, False, False]


def test_memory_goes_by_the_nonzeros():
    n, d = 20_000, 20_000  # 3.2 GB if it were dense
    rng = np.random.default_rng(0)
    X = sparse.csr_array((np.ones(3 * n), rng.integers(0, d, 3 * n), np.arange(0, 3 * n + 1, 3)))
    y = rng.integers(0, 2, n)
    net = tr.MLP((X.shape[1], 2))
    F = tr.Objective(net, tr.SoftmaxCrossEntropy(), tr.L1(1e-4))
    tracemalloc.start()
    try:
        tr.fit(net, X, y, loss=F.loss, penalty=F.penalty, method="proximal", batch_size=5000)
        tr.minimize(F, X, y, max_iter=3)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def with_entry(value, dtype=None):
    X, _, _ = samples()
    X.data[4] = value
    return X if dtype is None else X.astype(dtype)


def with_index(place, value, last=None):
    X, _, _ = samples()
    getattr(X, place)[7] = value
    if last is not None:
        getattr(X, place)[-1] = last
    return X


def outside(format, place, value):
    X = samples()[0].asformat(format)
    getattr(X, place)[7] = value
    return X


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (outside("coo", "row", 10**6), ValueError, "X: "),
        (outside("coo", "col", -7), ValueError, "X: "),
        (outside("csc", "indices", 60), ValueError, "X: "),
        (outside("lil", "rows", [30] * len(samples()[0].tolil().rows[7])), ValueError, "X: "),
        (with_entry(np.nan), ValueError, r"X must be finite in float32, got nan at \[\d+, \d+\]"),
        (with_entry(-1e39), ValueError, "X must be finite in float32, got -inf at"),
        (with_entry(1, complex), TypeError, "got a sparse array of shape .60, 30. and dtype comp"),
        (samples()[0].T, ValueError, r"X must have shape \(n_samples, 30\), got \(30, 60\)"),
        (sparse.csr_array((0, 30)), ValueError, r"X must have shape \(n_samples, 30\), got \(0,"),
        (with_index("indices", 30), ValueError, "X: "),
        (with_index("indices", -1), ValueError, "X: "),
        (with_index("indptr", 10**6), ValueError, "X: "),
        (with_index("indptr", 9, last=0), ValueError, "X: index pointers must not fall"),
    ],
)
def test_a_bad_sparse_table_is_refused_by_name(X, error, words):
    net = problem("float32").net
    before = net.params.copy()
    for run in (net.forward, lambda X: tr.fit(net, X, [0] * 60, loss=LOSSES["softmax"])):
        with pytest.raises(error, match=words):
            run(X)
    np.testing.assert_array_equal(net.params, before)


def test_sparse_targets_are_refused_in_one_line():
    X, _, y = samples()
    targets = sparse.csr_array(np.eye(3)[y])
    with pytest.raises((TypeError, ValueError), match="y ") as error:
        problem().value(X, targets)
    assert "\n" not in str(error.value)


def test_a_checkpoint_goes_on_for_the_same_sparse_table_only(tmp_path):
    X, _, y = samples()
    how = {"loss": LOSSES["softmax"], "checkpoint": tmp_path / "run.npz"}
    whole, broken = problem().net, problem().net
    tr.fit(whole, X, y, loss=LOSSES["softmax"], epochs=4)
    tr.fit(problem().net, X, y, epochs=2, **how)
    tr.fit(broken, sparse.csr_matrix(X), y, epochs=4, **how)
    np.testing.assert_array_equal(whole.params, broken.params)
    with pytest.raises(ValueError, match="another run: X was sparse"):
        tr.fit(problem().net, with_entry(5.0), y, epochs=5, **how)
    assert told(X) != told(X[:, ::-1])
