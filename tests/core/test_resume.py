"""`fit(..., resume=memory)`: several calls are one run."""

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.checkpoint import Memory
from tinyreg.core.training import History

rng = np.random.default_rng(0)
X, y = rng.normal(size=(23, 5)), rng.normal(size=23)  # the last batch holds 3


def net_and_memory(optimizer, dtype="float64"):
    net = tr.MLP((5, 4, 1), dtype=dtype, seed=1)
    return net, Memory.new(net.params, optimizer, 7, History())


@pytest.mark.parametrize(
    ("optimizer", "how"),
    [
        (tr.SGD(0.05, momentum=0.9), {"method": "proximal", "penalty": tr.L1(0.01)}),
        (tr.SGD(lambda k: 0.1 / (1 + k)), {"penalty": tr.L2(0.01), "dropout": 0.3}),
        (tr.Adam(0.01), {"method": "proximal", "penalty": tr.L1(0.01)}),
        (tr.Adam(0.01), {"method": "proximal", "variance_reduction": True, "penalty": tr.L1(0.01)}),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ten_calls_of_an_epoch_are_one_run_of_ten(optimizer, how, dtype):
    how = how | {"loss": tr.SquaredError(), "optimizer": optimizer, "batch_size": 4}
    whole = tr.MLP((5, 4, 1), dtype=dtype, seed=1)
    history = tr.fit(whole, X, y, epochs=10, seed=7, **how)
    net, memory = net_and_memory(optimizer, dtype)
    for epoch in range(1, 11):
        tr.fit(net, X, y, epochs=epoch, resume=memory, **how)
    assert np.array_equal(net.params, whole.params)
    assert memory.history == history


def test_each_call_may_bring_other_samples():
    sgd = tr.SGD(0.1, momentum=0.5)
    net, memory = net_and_memory(sgd)
    for epoch, rows in enumerate((slice(0, 10), slice(10, 11), slice(11, 23)), start=1):
        tr.fit(net, X[rows], y[rows], loss=tr.SquaredError(), optimizer=sgd, epochs=epoch,
               batch_size=50, resume=memory)  # fmt: skip
    by_hand = tr.MLP((5, 4, 1), seed=1)
    u = np.zeros(by_hand.n_params)
    for rows in (slice(0, 10), slice(10, 11), slice(11, 23)):
        u = 0.5 * u + tr.Objective(by_hand, tr.SquaredError()).data_gradient(X[rows], y[rows])
        by_hand.params = by_hand.params - 0.1 * u
    np.testing.assert_allclose(net.params, by_hand.params, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"resume": {}}, TypeError, "resume must be a Memory, got"),
        ({"resume": "memory", "checkpoint": "run.npz"}, ValueError, "resume does not go with it"),
        ({"resume": "memory", "epochs": 1}, ValueError, "epochs must be .*2"),
    ],
)
def test_a_bad_memory_is_refused_before_any_work(how, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net, memory = net_and_memory(tr.Adam())
    own = {"loss": tr.SquaredError(), "optimizer": tr.Adam()}
    tr.fit(net, X, y, epochs=2, resume=memory, **own)
    before = net.params.copy()
    if how["resume"] == "memory":
        how = how | {"resume": memory}
    with pytest.raises(error, match=message):
        tr.fit(net, X, y, **{"epochs": 3, **own, **how})
    assert np.array_equal(net.params, before)
    assert len(memory.history.total) == 2
    assert not list(tmp_path.iterdir())
