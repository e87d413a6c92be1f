"""A run ends where one of its callbacks says so, and early stopping says so as Keras does."""

import math

import numpy as np
import pytest

import tinyreg as tr


class Script:
    """A network's history, read from a list: what a callback is shown epoch after epoch."""

    def __init__(self, values, monitor):
        self.values, self.monitor = values, monitor

    def run(self, stopping):
        history, params = tr.History(), np.zeros(1)
        stopping.start(params)
        for epoch, value in enumerate(self.values, start=1):
            getattr(history, self.monitor).append(value)
            params[0] = epoch
            if stopping(epoch, history):
                history.stopped_epoch = epoch
                break
        stopping.finish()
        return history, params[0]


FALLING = [5.0, 4.0, 4.5, 3.9, 3.9, 4.2, 3.0, 9.0]


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "best", "stopped"),
    [
        (FALLING, 0, 0.0, 2, 3),
        (FALLING, 1, 0.0, 2, 3),
        (FALLING, 2, 0.0, 4, 6),  # an equal value is no better
        (FALLING, 3, 0.0, 7, None),
        (FALLING, 2, 0.5, 2, 4),  # 3.9 does not beat 4 by more than 0.5
        (FALLING, 5, 0.5, 7, None),
        ([3.0, 2.5, 2.0], 1, 0.5, 1, 2),  # nor does 2.5 beat 3
        ([1.0, 1.0], 0, 0.0, 1, 2),
        ([1.0], 0, 0.0, 1, None),
        ([math.inf, math.inf, 1.0], 2, 0.0, None, 2),
        ([math.inf, math.nan, 1.0], 3, 0.0, 3, None),
    ],
)
@pytest.mark.parametrize("monitor", ["validation_loss", "validation_score", "total"])
def test_the_best_epoch_and_the_last_one(values, patience, min_delta, best, stopped, monitor):
    sign = -1 if monitor == "validation_score" else 1
    script = Script([sign * value for value in values], monitor)
    history, params = script.run(tr.EarlyStopping(patience, min_delta, monitor))
    assert (history.best_epoch, history.stopped_epoch) == (best, stopped)
    assert params == (stopped or len(values))
    if best is not None:
        _, params = script.run(tr.EarlyStopping(patience, min_delta, monitor, restore_best=True))
        assert params == best


def test_the_defaults_are_those_of_keras():
    assert tr.EarlyStopping() == tr.EarlyStopping(
        patience=0, min_delta=0.0, monitor="validation_loss", restore_best=False
    )


@pytest.mark.parametrize("patience", [0, 1, 2, 4])
@pytest.mark.parametrize("min_delta", [0.0, 0.3])
@pytest.mark.parametrize("monitor", ["validation_loss", "validation_score"])
def test_keras_stops_and_restores_at_the_same_epochs(patience, min_delta, monitor, monkeypatch):
    pytest.importorskip("torch", reason="torch is in the bench extra")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    callbacks = pytest.importorskip("keras", reason="keras is in the bench extra").callbacks
    for seed in range(10):
        values = np.random.default_rng(seed).normal(size=12).round(1).tolist()
        ours = Script(values, monitor).run(
            tr.EarlyStopping(patience, min_delta, monitor, restore_best=True)
        )

        class Model:
            stop_training, epoch = False, 0

            def get_weights(self):
                return self.epoch

            def set_weights(self, epoch):
                self.epoch = epoch

        model = Model()
        theirs = callbacks.EarlyStopping(
            "value", min_delta, patience, restore_best_weights=True,
            mode="max" if monitor == "validation_score" else "min",
        )  # fmt: skip
        theirs.set_model(model)
        theirs.on_train_begin()
        for epoch, value in enumerate(values):
            model.epoch = epoch + 1
            theirs.on_epoch_end(epoch, {"value": value})
            if model.stop_training:
                break
        theirs.on_train_end()
        stopped = theirs.stopped_epoch + 1 if model.stop_training else None
        assert (ours[0].best_epoch, ours[0].stopped_epoch) == (theirs.best_epoch + 1, stopped)
        assert ours[1] == model.epoch


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"patience": -1}, ValueError, "patience"),
        ({"patience": 1.5}, TypeError, "patience"),
        ({"min_delta": -1e-3}, ValueError, "min_delta"),
        ({"min_delta": math.nan}, ValueError, "min_delta"),
        ({"monitor": "val_loss"}, ValueError, "monitor must be one of validation_loss"),
        ({"monitor": None}, TypeError, "monitor"),
        ({"restore_best": 1}, TypeError, "restore_best"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, error, name):
    with pytest.raises(error, match=name):
        tr.EarlyStopping(**arguments)


# In a run


def data(n=24):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(n, 3))
    return X, X[:, 0] - X[:, 1] + rng.normal(size=n)


def fit(callback, epochs=40, net=None, validation=True, **more):
    net = tr.MLP((3, 8, 1), "tanh", seed=1) if net is None else net
    X, y = data()
    settings = {"loss": tr.SquaredError(), "optimizer": tr.SGD(0.3), "batch_size": 6} | more
    pair = (X[16:], y[16:]) if validation else None
    history = tr.fit(
        net, X[:16], y[:16], epochs=epochs, callback=callback, validation_data=pair, **settings
    )
    return net, history


@pytest.mark.parametrize("monitor", ["validation_loss", "validation_score", "total"])
@pytest.mark.parametrize("restore_best", [False, True])
def test_a_stopped_run_is_the_longer_run_up_to_there(monitor, restore_best):
    _, whole = fit(None)
    net, history = fit(tr.EarlyStopping(2, 1e-3, monitor, restore_best))
    n = history.stopped_epoch
    assert 3 < n < 40
    assert history.total == whole.total[:n]
    assert history.best_epoch == n - 2
    at_end, _ = fit(None, epochs=history.best_epoch if restore_best else n)
    np.testing.assert_array_equal(net.params, at_end.params)


def test_the_best_network_is_restored_where_no_epoch_stopped_the_run_too():
    net, history = fit(tr.EarlyStopping(100, restore_best=True))
    assert history.stopped_epoch is None
    assert history.best_epoch == 1 + int(np.argmin(history.validation_loss)) < 40
    best, _ = fit(None, epochs=history.best_epoch)
    np.testing.assert_array_equal(net.params, best.params)


def test_one_stopping_serves_run_after_run():
    stopping = tr.EarlyStopping(2, restore_best=True)
    (a, first), (b, second) = fit(stopping), fit(stopping)
    assert first == second
    np.testing.assert_array_equal(a.params, b.params)


@pytest.mark.parametrize("answer", [True, np.True_])
def test_a_callback_that_returns_true_ends_the_run(answer):
    epochs = []
    for callback in (lambda e, h: answer if e == 3 else None, lambda e, h: e == 3 and answer):
        net, history = fit([lambda e, h: epochs.append(e), callback])
        assert history.stopped_epoch == len(history.total) == 3
        assert history.best_epoch is None
        np.testing.assert_array_equal(net.params, fit(None, epochs=3)[0].params)
    assert epochs == [1, 2, 3] * 2


@pytest.mark.parametrize("answer", [None, False, np.False_, 1, "stop", [True], np.ones(3)])
def test_nothing_but_true_ends_a_run(answer):
    assert fit(lambda epoch, history: answer, epochs=3)[1].stopped_epoch is None


def test_all_callbacks_are_called_in_the_epoch_in_which_the_first_stops_the_run():
    seen = []
    fit((lambda e, h: e == 2, lambda e, h: seen.append((e, len(h.total)))))
    assert seen == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("callback", "error", "wanted"),
    [
        (lambda: None, TypeError, r"callback must be a function of \(epoch, history\)"),
        (lambda epoch: None, TypeError, r"callback must be a function of \(epoch, history\)"),
        (lambda epoch, history, net: None, TypeError, "net"),
        (lambda epoch, *, history: None, TypeError, "callback must be a function"),
        ([lambda e, h: None, lambda e: None], TypeError, r"callback\[1\] must be a function"),
        (["stop"], TypeError, r"callback\[0\] must be a function"),
        (tr.EarlyStopping, TypeError, "callback must be a function"),
        (3, TypeError, "callback must be a function"),
        (tr.EarlyStopping(), ValueError, "monitors validation_loss, which needs validation_data"),
        ([tr.EarlyStopping(monitor="validation_score")], ValueError, r"callback\[0\] monitors"),
    ],
)
def test_a_callback_that_cannot_do_is_refused_before_the_first_step(callback, error, wanted):
    net = tr.MLP((3, 8, 1), seed=1)
    before = net.params.copy()
    with pytest.raises(error, match=wanted):
        fit(callback, net=net, validation=False)
    np.testing.assert_array_equal(net.params, before)


class Hidden:
    """A callable whose signature takes anything, and which then does not."""

    def __call__(self, *arguments):
        (lambda epoch: None)(*arguments)


def nan_at_step(n):
    return lambda step: math.nan if step == n else 0.1


@pytest.mark.parametrize("method", ["subgradient", "proximal", "decoupled", "naive"])
@pytest.mark.parametrize("optimizer", [tr.SGD, tr.Adam])
@pytest.mark.parametrize("step", [0, 3, 7])
def test_a_schedule_that_fails_on_the_way_leaves_the_network_as_it_was(method, optimizer, step):
    net = tr.MLP((3, 8, 1), seed=1)
    before = net.params.copy()
    for lr, error in (
        (nan_at_step(step), ValueError),
        (lambda n: None if n == step else 0.1, TypeError),
    ):
        with pytest.raises(error, match=rf"lr\({step}\)"):
            fit(None, net=net, method=method, optimizer=optimizer(lr), penalty=tr.L1(0.01))
        np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_a_callback_that_fails_so_on_the_way_leaves_the_network_as_it_was(error):
    def fails(epoch, history):
        if epoch == 2:
            raise error("no")

    for callback in (fails, Hidden()):
        net = tr.MLP((3, 8, 1), seed=1)
        before = net.params.copy()
        with pytest.raises((error, TypeError)):
            fit(callback, net=net)
        np.testing.assert_array_equal(net.params, before)


def test_what_else_a_callback_raises_leaves_the_network_where_it_is():
    def interrupts(epoch, history):
        if epoch == 2:
            raise KeyboardInterrupt

    net = tr.MLP((3, 8, 1), "tanh", seed=1)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupts, net=net)
    np.testing.assert_array_equal(net.params, fit(None, epochs=2)[0].params)
