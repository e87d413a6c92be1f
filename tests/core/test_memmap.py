"""Data that stays in a file trains just as data in memory does, whatever the view or the dtype."""

import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

import tinyreg as tr

SOFTMAX = tr.SoftmaxCrossEntropy()


@pytest.fixture
def table():
    return np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)


def mapped(folder, array, offset=0, mode="r"):
    path = folder / "X.dat"
    path.write_bytes(b"\0" * offset + array.tobytes())
    return np.memmap(path, array.dtype, mode, offset, array.shape)


VIEWS = {
    "all": lambda X: X,
    "some rows": lambda X: X[7:50],
    "every third row": lambda X: X[::3],
    "from the last row to the first": lambda X: X[::-1],
    "one row": lambda X: X[4:5],
    "some columns": lambda X: X[:, 2:9],
    "every second column": lambda X: X[:, ::2],
    "columns in reverse": lambda X: X[:, ::-1],
    "as an array": np.asarray,
    "transposed": lambda X: X.T,
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("offset", [0, 24, 5000])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_file_trains_as_that_of_the_array(tmp_path, table, view, offset, dtype):
    array = (100 * table).astype(dtype)
    nets = []
    for X in (VIEWS[view](array), VIEWS[view](mapped(tmp_path, array, offset))):
        nets.append(tr.MLP((X.shape[1], 3), seed=1))
        tr.fit(nets[-1], X, np.arange(len(X)) % 3, loss=SOFTMAX, epochs=2, batch_size=7)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_from_a_file_gives_the_same_bits(tmp_path, table, dtype, mode):
    y = np.random.default_rng(2).integers(0, 3, len(table))
    nets, histories = [], []
    for X in (table, mapped(tmp_path, table, mode=mode)):
        net = tr.MLP((12, 5, 3), dtype=dtype)
        settings = {"loss": SOFTMAX, "epochs": 3, "batch_size": 7}
        histories.append(tr.fit(net, X, y, validation_data=(X, y), **settings))
        nets.append(net)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    assert histories[0] == histories[1]


def test_changes_to_a_copy_on_write_array_are_kept(tmp_path, table):
    X = mapped(tmp_path, table, mode="c")
    X[:] = 1.0
    net = tr.MLP((12, 3), seed=1)
    before = net.forward(np.ones((60, 12)))
    objective = tr.Objective(net, SOFTMAX)
    y = np.zeros(60, int)
    assert objective.value(X, y) == SOFTMAX.value(before, y)
    tr.fit(net, X, y, loss=SOFTMAX, epochs=1)
    assert np.all(X == 1)


def test_changes_that_were_not_flushed_are_seen(tmp_path, table):
    X = mapped(tmp_path, table, mode="r+")
    X[:] = 2.0
    net = tr.MLP((12, 3), seed=1)
    np.testing.assert_array_equal(net.forward(X), net.forward(np.full((60, 12), 2.0)))


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_is_gone_is_read_by_its_mapping(tmp_path, table, how):
    X = mapped(tmp_path, table)
    if how == "deleted":
        (tmp_path / "X.dat").unlink()
    else:
        (tmp_path / "other").write_bytes((table + 1).tobytes())
        os.replace(tmp_path / "other", tmp_path / "X.dat")
    net = tr.MLP((12, 3), seed=1)
    np.testing.assert_array_equal(net.forward(X), net.forward(table))


def private_mapping(folder, table):
    (folder / "X.dat").write_bytes(table.tobytes())
    with open(folder / "X.dat", "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


@pytest.mark.parametrize(
    "make",
    [
        private_mapping,
        lambda folder, table: mmap.mmap(-1, table.nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),
        lambda folder, table: mmap.mmap(-1, table.nbytes),
    ],
    ids=["of a file", "private", "shared"],
)
def test_numbers_that_are_in_no_file_are_kept(tmp_path, table, make):
    X = np.ndarray(table.shape, table.dtype, buffer=make(tmp_path, table))
    X[:] = 2 * table
    y = np.zeros(60, int)
    nets = [tr.MLP((12, 3), dtype=dtype) for dtype in ("float32", "float64")]
    for net in nets:
        tr.Objective(net, SOFTMAX).value(X, y)
        tr.fit(net, X, y, loss=SOFTMAX, epochs=2)
        alone = tr.MLP((12, 3), dtype=net.dtype)
        tr.fit(alone, 2 * table, y, loss=SOFTMAX, epochs=2)
        np.testing.assert_array_equal(net.params, alone.params)
    np.testing.assert_array_equal(X, 2 * table)


@pytest.mark.parametrize(("dtype", "view"), [("float32", "X"), ("float64", "X[:, ::2]")])
def test_training_holds_no_more_of_a_file_than_some_batches(tmp_path, view, dtype):
    # RssAnon: what is the process's own. Pages of the file are the system's to drop.
    code = f"""
import numpy as np
import tinyreg as tr
X = np.memmap({str(tmp_path / "X.dat")!r}, np.float32, "w+", shape=(20_000, 500))
X[:] = np.linspace(-1, 1, 500, dtype=np.float32)
X.flush()
del X
X = np.memmap({str(tmp_path / "X.dat")!r}, np.float32, "r", shape=(20_000, 500))
X = {view}
y = np.arange(20_000) % 2
held = []
class Watched(tr.SGD):
    def step(self, *arguments):
        status = open("/proc/self/status").read()
        held.append(int(status.partition("RssAnon:")[2].split()[0]) / 1024)
        return super().step(*arguments)
fit = lambda n: tr.fit(
    tr.MLP((X.shape[1], 2), dtype={dtype!r}), X[:n], y[:n], loss=tr.SoftmaxCrossEntropy(),
    epochs=2, batch_size=256, validation_data=(X[:n], y[:n]), optimizer=Watched(0.1),
)
fit(300)
before = max(held)
fit(20_000)
print(max(held) - before)
"""
    if not os.access("/proc/self/status", os.R_OK):
        pytest.importorskip("no_proc", reason="needs Linux's /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 10  # MiB, of a file of 38


@pytest.mark.parametrize("net_dtype", ["float32", "float64"])
@pytest.mark.parametrize("file_dtype", ["float32", "float64", "uint8"])
def test_an_objective_of_a_file_is_that_of_the_array(tmp_path, table, net_dtype, file_dtype):
    array = np.abs(50 * table).astype(file_dtype)
    X, y = mapped(tmp_path, array), np.random.default_rng(3).integers(0, 3, 60)
    objective = tr.Objective(tr.MLP((12, 4, 3), "tanh", dtype=net_dtype), SOFTMAX, tr.L2(0.1))
    assert objective.value(X, y) == objective.value(array, y)
    gradient = objective.gradient(X, y)
    assert gradient.dtype == net_dtype
    np.testing.assert_array_equal(gradient, objective.gradient(array, y))
    np.testing.assert_array_equal(objective.net.forward(X), objective.net.forward(array))
    np.testing.assert_array_equal(
        objective.example_gradients(X, y), objective.example_gradients(array, y)
    )
    assert tr.check_gradients(objective, X, y).ok == tr.check_gradients(objective, array, y).ok
    assert tr.minimize(objective, X, y, max_iter=3).fun == pytest.approx(
        tr.minimize(tr.Objective(tr.MLP((12, 4, 3), "tanh", dtype=net_dtype), SOFTMAX,
                                 tr.L2(0.1)), array, y, max_iter=3).fun
    )  # fmt: skip


def test_a_number_that_is_not_finite_is_found_in_a_file(tmp_path, table):
    array = table.astype(np.float64)
    array[41, 3] = 1e300  # finite in float64, and too large for float32
    X, y = mapped(tmp_path, array), np.zeros(60, int)
    net = tr.MLP((12, 3), dtype="float32")
    with pytest.raises(ValueError, match=r"X must be finite in float32, got inf at \[41, 3\]"):
        tr.fit(net, X, y, loss=SOFTMAX)
