"""A run that is broken off and taken up again ends as if it had never been broken off."""

import itertools
import os
import random
import tempfile
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinyreg as tr
from tests.support.checkpoints import epochs_in
from tinyreg.core import training
from tinyreg.files import temporary_stem
from tinyreg.solvers.schedules import cosine, inverse_sqrt

EPOCHS, BATCHES = 5, 3  # 20 samples in batches of 8
SIZES = (3, 4, 2)


def data(seed=0, n=20):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.integers(0, 2, n)


WEIGHTS = np.random.default_rng(3).random(20)
HELD_OUT = data(1, 9)
L1 = tr.L1(0.02)
STEEP = {"optimizer": tr.SGD(5.0), "validation_data": HELD_OUT}  # epochs 2 to 4 are worse than 1


def stopping(patience, **settings):
    return lambda: tr.EarlyStopping(patience, **settings)


# A callback with a memory is made for each call.
RUNS = {
    "SGD": {"optimizer": tr.SGD(0.1)},
    "SGD, cosine": {"optimizer": tr.SGD(cosine(0.3, EPOCHS * BATCHES))},
    "momentum": {"optimizer": tr.SGD(0.1, 0.9)},
    "momentum, 1/√t, prox": {
        "optimizer": tr.SGD(inverse_sqrt(0.1), 0.9), "penalty": L1, "method": "proximal",
    },
    "Nesterov, a penalty for each layer": {
        "optimizer": tr.SGD(0.1, 0.9, nesterov=True), "method": "proximal",
        "penalty": [L1 + tr.L2(0.1), tr.GroupLasso(0.02, axis=1)], "bias_penalty": L1,
    },
    "Nesterov, decoupled": {
        "optimizer": tr.SGD(cosine(0.1, 9), 0.5, nesterov=True), "penalty": tr.L2(0.1),
        "method": "decoupled",
    },
    "the optimizer left out, naive": {"penalty": L1, "method": "naive"},
    "Adam, cosine, prox": {
        "optimizer": tr.Adam(cosine(0.05, 15)), "penalty": L1, "method": "proximal",
    },
    "Adam, decoupled, float32": {
        "dtype": "float32", "optimizer": tr.Adam(0.02), "penalty": tr.L2(0.1),
        "method": "decoupled",
    },
    "dropout": {"optimizer": tr.Adam(0.02), "dropout": 0.3, "seed": 7},
    "dropout, momentum, float32": {
        "dtype": "float32", "optimizer": tr.SGD(inverse_sqrt(0.1), 0.9), "dropout": 0.5,
    },
    "sample weights, validation data": {"sample_weight": WEIGHTS, "validation_data": HELD_OUT},
    "variance reduction": {
        "variance_reduction": True, "optimizer": tr.SGD(0.1), "penalty": L1, "method": "proximal",
    },
    "variance reduction, Adam, float32": {
        "dtype": "float32", "variance_reduction": True, "optimizer": tr.Adam(0.02),
    },
    "early stopping in epoch 4": STEEP | {"callback": stopping(3)},
    "early stopping in epoch 3, at its best": STEEP | {"callback": stopping(2, restore_best=True)},
    "early stopping that lets it end": STEEP | {"callback": stopping(7, restore_best=True)},
    "all of it": {
        "dtype": "float32", "optimizer": tr.SGD(cosine(1.0, 15), 0.5), "dropout": 0.2,
        "sample_weight": WEIGHTS, "validation_data": HELD_OUT, "penalty": L1, "method": "proximal",
        "callback": stopping(2, monitor="validation_score", restore_best=True),
    },
}  # fmt: skip
STOPPED = [name for name in RUNS if name.startswith("early stopping in")]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """The tests of files.py hold that what is written is on the disk; no machine crashes here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def network(dtype="float64", **settings):
    return tr.MLP(SIZES, "tanh", dtype, seed=5)


def fit(net, path, *callbacks, X=None, y=None, dtype=None, callback=None, **settings):
    """With these callbacks beside that of the settings."""
    all_of_them = [*callbacks, callback()] if callback else list(callbacks)
    settings = {"loss": tr.SoftmaxCrossEntropy(), "epochs": EPOCHS, "batch_size": 8} | settings
    X, y = data()[0] if X is None else X, data()[1] if y is None else y
    return tr.fit(net, X, y, callback=all_of_them, checkpoint=path, **settings)


class Break:
    """A callback that breaks the run off in one epoch."""

    def __init__(self, at, error=RuntimeError):
        self.at, self.error = at, error

    def __call__(self, epoch, history):
        if epoch == self.at:
            raise self.error


def assert_same_end(net, history, whole, whole_history):
    assert net.params.tobytes() == whole.params.tobytes()
    assert history == whole_history


# ------------------------------------------------------------ going on


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_broken_off_in_any_epoch_ends_as_an_unbroken_one(tmp_path, name, every):
    settings = RUNS[name]
    whole = network(**settings)
    whole_history = fit(whole, None, **settings)
    for at in range(1, len(whole_history.total) + 1):
        path = tmp_path / f"{at}.npz"
        error = KeyboardInterrupt if at % 2 else RuntimeError
        net = network(**settings)
        with pytest.raises(error):
            fit(net, path, Break(at, error), checkpoint_every=every, **settings)
        assert net.params.tobytes() == network(**settings).params.tobytes()
        again = network(**settings) if (at + every // 2) % 2 else net  # as in a new process, or not
        history = fit(again, path, checkpoint_every=every, **settings)
        assert_same_end(again, history, whole, whole_history)


def test_the_runs_above_are_all_different_and_the_early_ones_stop_as_they_say():
    ends = {}
    for name, settings in RUNS.items():
        net = network(**settings)
        history = fit(net, None, **settings)
        ends[name] = history.best_epoch, history.stopped_epoch, net.params.tobytes()
    assert [end[:2] for end in ends.values()][-4:-1] == [(1, 4), (1, 3), (5, None)]
    assert len(set(ends.values())) == len(RUNS)
    best = network()
    fit(best, None, epochs=1, **STEEP)
    assert ends["early stopping in epoch 3, at its best"][2] == best.params.tobytes()


@pytest.mark.parametrize("name", ["SGD", "dropout", "all of it"])
def test_a_run_may_be_broken_off_in_every_epoch_after_the_other(tmp_path, name):
    settings, path = RUNS[name], tmp_path / "run.npz"
    whole, net = network(**settings), network(**settings)
    whole_history = fit(whole, None, **settings)
    for at in range(1, len(whole_history.total) + 1):
        with pytest.raises(RuntimeError):
            fit(net, path, Break(at), **settings)
        with pytest.raises(RuntimeError):
            fit(net, path, Break(at), **settings)
    assert_same_end(net, fit(net, path, **settings), whole, whole_history)


@pytest.mark.parametrize("number", range(15))
def test_a_run_broken_off_in_mid_epoch_goes_on_from_the_epoch_before(tmp_path, number, monkeypatch):
    path, steps = tmp_path / "run.npz", itertools.count()
    settings = RUNS["dropout"] | {"optimizer": tr.SGD(lambda step: 0.3 / (step + 1), 0.9)}
    whole = network()
    whole_history = fit(whole, None, **settings)

    def breaks(*arguments, step=training.step):
        if next(steps) == number:
            raise RuntimeError("broken off")
        step(*arguments)

    monkeypatch.setattr(training, "step", breaks)
    net = network()
    with pytest.raises(RuntimeError, match="broken off"):
        fit(net, path, **settings)
    np.testing.assert_array_equal(net.params, network().params)
    assert epochs_in(path) == number // BATCHES
    assert_same_end(net, fit(net, path, **settings), whole, whole_history)


@pytest.mark.parametrize("name", RUNS)
def test_three_epochs_and_two_more_are_five(tmp_path, name):
    settings, path = RUNS[name], tmp_path / "run.npz"
    whole = network(**settings)
    whole_history = fit(whole, None, **settings)
    net = network(**settings)
    fit(net, path, epochs=3, **settings)
    of_three = network(**settings)
    fit(of_three, None, epochs=3, **settings)
    assert net.params.tobytes() == of_three.params.tobytes()
    (tmp_path / "copy.npz").write_bytes(path.read_bytes())
    assert_same_end(net, fit(net, path, **settings), whole, whole_history)
    fresh = network(**settings)
    history = fit(fresh, tmp_path / "copy.npz", **settings)
    assert_same_end(fresh, history, whole, whole_history)


def test_what_killed_writes_have_left_is_cleared_up_and_nothing_else(tmp_path):
    long = "a name of more than forty characters, that is, [of fifty] and "
    path, other = tmp_path / f"{long}1.npz", tmp_path / f"{long}2.npz"
    kept = other.with_name(f".{temporary_stem(other.name)}-0123456789abcdef.tmp")
    left = other.with_name(f".{temporary_stem(path.name)}-0123456789abcdef.tmp")
    for file in (kept, left):
        file.write_bytes(b"PK")
    fit(network(), path, epochs=1)
    assert sorted(tmp_path.iterdir()) == sorted([kept, path])


def test_the_optimizer_left_out_is_adam(tmp_path):
    fit(network(), tmp_path / "run.npz", epochs=1, optimizer=None)
    fit(network(), tmp_path / "run.npz", epochs=2, optimizer=tr.Adam())


def test_what_does_not_change_the_run_may_change(tmp_path):
    path, settings = tmp_path / "run.npz", RUNS["momentum"]
    whole, net, epochs = network(), network(), []
    whole_history = fit(whole, None, **settings)
    fit(net, path, epochs=2, checkpoint_every=2, **settings)
    X, y = data()

    def watch(epoch, history):
        epochs.append(epoch)

    more = {"X": X.tolist(), "y": y.astype(np.int8), "checkpoint_every": 4}
    history = fit(net, str(path), watch, **more, **settings)
    assert_same_end(net, history, whole, whole_history)
    assert epochs == [3, 4, 5]


def test_data_in_a_file_are_the_same_data(tmp_path):
    path, settings = tmp_path / "run.npz", RUNS["Adam, cosine, prox"] | {"batch_size": 700}
    X, y = data(n=3000)  # more than are hashed at once
    X.tofile(tmp_path / "X.dat")
    mapped = np.memmap(tmp_path / "X.dat", X.dtype, "r", shape=X.shape)
    whole, net = network(), network()
    whole_history = fit(whole, None, X=X, y=y, **settings)
    with pytest.raises(RuntimeError):
        fit(net, path, Break(3), X=mapped, y=y, **settings)
    assert_same_end(net, fit(net, path, X=X, y=y, **settings), whole, whole_history)
    X[2500, 1] += 1e-9
    with pytest.raises(ValueError, match="another run: X was"):
        fit(net, path, X=X, y=y, **settings)


@pytest.mark.parametrize("every", [1, 2, 3, 4, 9])
def test_the_file_is_written_after_each_so_many_epochs_and_at_the_end(tmp_path, every):
    path, written = tmp_path / "run.npz", []

    def watch(epoch, history):
        written.append(epochs_in(path))

    fit(network(), path, watch, checkpoint_every=every)
    assert written == [every * (epoch // every) for epoch in range(EPOCHS)]
    assert epochs_in(path) == EPOCHS


# ------------------------------------------------------------ finished runs


@pytest.mark.parametrize("name", ["SGD", "dropout", "early stopping that lets it end", *STOPPED])
def test_a_finished_run_returns_at_once(tmp_path, monkeypatch, name):
    settings, path = RUNS[name], tmp_path / "run.npz"
    whole = network(**settings)
    whole_history = fit(whole, path, **settings)
    content = path.read_bytes()

    def forbidden(*arguments):
        raise AssertionError("a gradient, or a value, of a run that is finished")

    monkeypatch.setattr(training, "backward_pass", forbidden)
    monkeypatch.setattr(training, "forward_pass", forbidden)
    epochs = 50 if name in STOPPED else EPOCHS
    for net in (network(**settings), whole):
        history = fit(net, path, forbidden, epochs=epochs, **settings)
        assert_same_end(net, history, whole, whole_history)
    assert path.read_bytes() == content


def test_fewer_epochs_than_the_file_has_are_refused(tmp_path):
    path, net = tmp_path / "run.npz", network()
    fit(net, path)
    content, other = path.read_bytes(), network()
    with pytest.raises(ValueError, match=r"^epochs must be an integer >= 5, got 4$"):
        fit(other, path, epochs=4)
    np.testing.assert_array_equal(other.params, network().params)
    assert path.read_bytes() == content


# ------------------------------------------------------------ other runs


def changed(array, index):
    array = array.copy()
    array[index] = 1 - array[index]
    return array


def halving(step):
    return 0.1 * 0.5**step


def halving_in_the_end(step):
    return 0.1 * 0.5**step if step > 3 else 0.1


halving_in_the_end.__qualname__ = halving.__qualname__
X, Y = data()[0], np.eye(2)[data()[1]]  # of either kind of cross-entropy
X_OUT, Y_OUT = HELD_OUT[0], np.eye(2)[HELD_OUT[1]]
BASE = {
    "X": X, "y": Y, "optimizer": tr.SGD(5.0), "penalty": L1, "method": "proximal",
    "validation_data": (X_OUT, Y_OUT), "callback": stopping(3),
}  # fmt: skip
OTHER = {
    "net": {"sizes": (3, 5, 2)},
    "net, activation": {"activation": "relu"},
    "net, dtype": {"dtype": "float32"},
    "params": {"params": np.linspace(-1, 1, 26)},
    "X": {"X": changed(X, (13, 2))},
    "y": {"y": changed(Y, 19)},
    "loss": {"loss": tr.SigmoidCrossEntropy()},
    "penalty": {"penalty": tr.L1(0.02 + 1e-17)},
    "penalty, each": {"penalty": [L1, L1]},
    "bias_penalty": {"bias_penalty": tr.L2(0.02)},
    "method": {"method": "subgradient"},
    "variance_reduction": {"variance_reduction": True},
    "optimizer": {"optimizer": tr.SGD(5.0, 0.1)},
    "optimizer, kind": {"optimizer": tr.Adam(5.0)},
    "optimizer, schedule": {"optimizer": tr.SGD(halving)},
    "batch_size": {"batch_size": 9},
    "seed": {"seed": 1},
    "sample_weight": {"sample_weight": WEIGHTS},
    "dropout": {"dropout": 1e-9},
    "validation_data": {"validation_data": (X_OUT, changed(Y_OUT, 0))},
    "validation_data, X": {"validation_data": (changed(X_OUT, (8, 0)), Y_OUT)},
    "validation_data, none": {"validation_data": None, "callback": stopping(3, monitor="total")},
    "callback": {"callback": stopping(4)},
    "callback, its words": {"callback": stopping(3, restore_best=True)},
    "callback, none": {"callback": None},
}


def assert_refused(path, net, name, **settings):
    """The file is of another run: this is said, by name, and nothing has changed."""
    content, params = path.read_bytes(), net.params.copy()
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        fit(net, path, **settings)
    told = f"checkpoint {os.fspath(path)!r} is of another run: {name} was "
    assert str(caught.value).startswith(told)
    assert " and is " in str(caught.value)
    np.testing.assert_array_equal(net.params, params)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_another_run_is_refused_with_what_is_different(tmp_path, name):
    path, settings = tmp_path / "run.npz", BASE | OTHER[name]
    with pytest.raises(RuntimeError):
        fit(network(), path, Break(2), **BASE)
    net = tr.MLP(
        settings.pop("sizes", SIZES), settings.pop("activation", "tanh"),
        settings.pop("dtype", "float64"), seed=5,
    )  # fmt: skip
    net.params = settings.pop("params", net.params)
    assert_refused(path, net, name.partition(",")[0], **settings)


def test_of_several_differences_the_first_is_named(tmp_path):
    path = tmp_path / "run.npz"
    fit(network(), path, epochs=1)
    assert_refused(path, network(), "X", X=data(9)[0], seed=4, dropout=0.5)


@pytest.mark.parametrize("first", [halving, halving_in_the_end])
def test_a_schedule_is_known_by_its_values(tmp_path, first):
    path = tmp_path / "run.npz"
    fit(network(), path, epochs=3, optimizer=tr.SGD(first))
    for other in (halving, halving_in_the_end):
        if other is not first:
            optimizer = tr.SGD(other)
            assert_refused(path, network(), "lr", optimizer=optimizer)
    fit(network(), path, optimizer=tr.SGD(first))


def test_a_schedule_is_known_by_its_value_at_the_first_step_too(tmp_path):
    path = tmp_path / "run.npz"
    for lr in (0.1, 0.2):
        settings = {"epochs": 1, "batch_size": 20, "optimizer": tr.SGD(lambda step, lr=lr: lr)}
        if lr == 0.1:
            fit(network(), path, **settings)
    assert_refused(path, network(), "lr", **settings)


def test_a_schedule_that_differs_in_one_step_is_another(tmp_path):
    path = tmp_path / "run.npz"
    fit(network(), path, epochs=3, optimizer=tr.SGD(lambda step: 0.1))
    for n in range(9):
        other = tr.SGD(lambda step, n=n: 0.2 if step == n else 0.1)
        assert_refused(path, network(), "lr", optimizer=other)
    # What it will do in later epochs is its own affair.
    fit(network(), path, optimizer=tr.SGD(lambda step: 0.2 if step > 8 else 0.1))


class Weighted(tr.SoftmaxCrossEntropy):
    """Its repr does not tell its attribute."""

    def __init__(self, factor):
        self.factor = factor

    def per_sample(self, outputs, targets):
        return self.factor * super().per_sample(outputs, targets)


@dataclass(frozen=True)
class Each(tr.L1):
    """A λ for each weight, of which a long repr shows the ends only."""

    factors: np.ndarray = field(default_factory=lambda: np.ones(4000))


def test_the_middle_of_a_long_array_in_a_penalty_is_a_setting_too(tmp_path):
    path, other = tmp_path / "run.npz", np.ones(4000)
    other[2000] = 2.0
    assert repr(Each(0.1)) == repr(Each(0.1, other))
    fit(network(), path, epochs=1, penalty=Each(0.1))
    assert_refused(path, network(), "penalty", penalty=Each(0.1, other))
    fit(network(), path, penalty=Each(0.1))


def test_what_the_repr_of_an_object_hides_is_a_setting_too(tmp_path):
    path = tmp_path / "run.npz"
    fit(network(), path, epochs=1, loss=Weighted(1.0))
    assert_refused(path, network(), "loss", loss=Weighted(2.0))
    fit(network(), path, loss=Weighted(1.0))


# ------------------------------------------------------------ files that are no checkpoint


def content(path):
    """What lies beside a path: names, and what files hold."""
    folder = path.parent if isinstance(path, Path) and path.parent.is_dir() else None
    return folder and {p: p.is_file() and p.read_bytes() for p in folder.iterdir()}


def assert_untouched(path, error, words, **settings):
    """One line, before the first step, with nothing changed."""
    net, before = network(), content(path)
    with pytest.raises(error, match=words) as caught:
        fit(net, path, optimizer=Forbidden(), **settings)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(net.params, network().params)
    assert content(path) == before


class Forbidden:
    """An optimizer that takes no step."""

    def __repr__(self):
        return repr(tr.SGD(5.0))

    def start(self, params):
        return tr.SGD(5.0).start(params)

    def step(self, params, gradient, state, *prox):
        raise AssertionError("a step was taken")


@pytest.mark.parametrize("content", [b"", b"epoch,loss\n1,0.5\n", b"PK\x03\x04", bytes(999)])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    assert_untouched(path, ValueError, "^checkpoint must be a file that fit wrote, got '.*run.npz'")


def test_a_saved_network_is_no_checkpoint(tmp_path):
    path = tmp_path / "net.npz"
    network().save(path)
    assert_untouched(path, ValueError, r"^checkpoint must be .*net.npz'.*'tinyreg MLP'$")


def test_a_folder_is_no_checkpoint(tmp_path):
    (tmp_path / "run").mkdir()
    assert_untouched(tmp_path / "run", ValueError, "^checkpoint must be .*run'.*a folder$")


@pytest.mark.parametrize("value", [3, b"run.npz", True, ["run.npz"]])
def test_what_is_no_path_is_refused(value):
    assert_untouched(value, TypeError, "^checkpoint must be a path, got ")


def test_a_place_where_no_file_can_be_is_named(tmp_path):
    (tmp_path / "file").write_text("text")
    assert_untouched(tmp_path / "none" / "x.npz", FileNotFoundError, r"none/x\.npz'$")
    assert_untouched(tmp_path / "file" / "x.npz", NotADirectoryError, r"file/x\.npz'$")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path, part):
    path = tmp_path / "run.npz"
    with pytest.raises(RuntimeError):
        fit(network(), path, Break(3), optimizer=tr.SGD(5.0))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert_untouched(path, ValueError, "^checkpoint must be a file that fit wrote, got '.*run.npz'")


def test_a_damaged_checkpoint_is_refused_or_goes_on_as_if_whole(tmp_path):
    path, settings = tmp_path / "run.npz", RUNS["dropout"]
    whole = network()
    whole_history = fit(whole, None, **settings)
    with pytest.raises(RuntimeError):
        fit(network(), path, Break(3), **settings)
    content, refused = path.read_bytes(), 0
    positions = range(0, len(content), 61)
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 0x15
        path.write_bytes(damaged)
        net, error = network(), None
        try:
            history = fit(net, path, **settings)
        except ValueError as e:
            error = str(e)
        if error is None:
            assert_same_end(net, history, whole, whole_history)
        else:
            assert error.startswith("checkpoint must be a file that fit wrote")
            np.testing.assert_array_equal(net.params, network().params)
            refused += 1
    assert refused > len(positions) / 2


@pytest.fixture
def protected():
    """A folder whose permissions hold for root too, who is somebody else meanwhile."""
    if not hasattr(os, "seteuid"):
        pytest.skip("Windows has no such permissions")
    user, nobody = os.geteuid(), 65534
    with tempfile.TemporaryDirectory() as folder:
        if user == 0:
            os.chown(folder, nobody, -1)
            os.seteuid(nobody)
        yield Path(folder)
        os.chmod(folder, 0o700)
        os.seteuid(user)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_or_file_that_is_read_only_is_named_before_the_first_step(protected, there):
    path, settings = protected / "run.npz", {"optimizer": tr.SGD(5.0)}
    if there:
        with pytest.raises(RuntimeError):
            fit(network(), path, Break(3), **settings)
        path.chmod(0o400)
        assert_untouched(path, PermissionError, "run.npz'$")
        path.chmod(0o600)
    protected.chmod(0o500)
    assert_untouched(path, PermissionError, "run.npz'$")
    protected.chmod(0o700)
    fit(network(), path, **settings)
    for place, mode in ((path, 0o400), (protected, 0o500)):  # it need not be written any more
        place.chmod(mode)
        fit(network(), path, **settings)


# ------------------------------------------------------------ a full disk


@pytest.mark.parametrize("limit", [0, 100, 3000])
@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_full_disk_leaves_the_old_checkpoint_from_which_the_next_call_goes_on(
    tmp_path, epoch, limit
):
    resource = pytest.importorskip("resource", reason="Windows has no such limits")
    settings, path = RUNS["dropout"], tmp_path / "run.npz"
    whole, net, sizes = network(), network(), []
    whole_history = fit(whole, None, **settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(now, history):
        if now == epoch + 1:
            sizes.append(path.read_bytes())
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    try:
        with pytest.raises(OSError, match=r"run\.npz'$") as caught:
            fit(net, path, fill, **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(sizes[0]) > limit
    assert caught.value.filename == str(path)
    np.testing.assert_array_equal(net.params, network().params)
    assert os.listdir(tmp_path) == ["run.npz"]
    assert path.read_bytes() == sizes[0]
    assert epochs_in(path) == epoch
    assert_same_end(net, fit(net, path, **settings), whole, whole_history)


# ------------------------------------------------------------ optimizers of one's own


class Own:
    """An optimizer with a state as `make` makes it and a step along what `move` returns."""

    def __init__(self, make, move):
        self.make, self.move = make, move

    def start(self, params):
        return self.make(params)

    def step(self, params, gradient, state, *prox):
        params -= 0.1 * self.move(state, gradient)
        return 0.1


@dataclass
class Buffer:
    u: np.ndarray
    steps: int = 0
    last: float | None = None
    past: tuple = ()


Pair = namedtuple("Pair", ["m", "u"])


def in_place(u, gradient):
    u *= 0.9
    u += gradient
    return u


def of_dataclass(state, gradient):
    state.steps, state.last = state.steps + 1, float(gradient[0])
    assert isinstance(state.past, tuple)
    state.past = (*state.past[-2:], (state.last, gradient.copy()))
    return in_place(state.u, gradient) / state.steps + state.past[0][0] * state.past[0][1]


def of_dict(state, gradient):
    state["a.b"] += 1
    if state["late"] is None:
        state["late"] = {"array": gradient.copy(), "number": gradient[0], "yes": True}
    if state["a.b"] == 6:
        state.pop("early", None)
    late = state["late"]
    before = late["number"]  # a NumPy number, beside which float32 does not stay what it is
    late["number"] += np.float64(gradient[1])
    late["array"] = in_place(late["array"], gradient)
    return late["array"] * before + ("early" in state)


def of_list(state, gradient):
    state.append(gradient.copy())
    del state[:-4]
    return sum(state)


def of_tuple(state, gradient):
    state[0].append(1)
    return in_place(state[1], gradient) / len(state[0])


def of_generator(state, gradient):
    return gradient * state["rng"].random(dtype=np.float32) * state["old"].random()


STATES = {
    "None": (lambda params: None, lambda state, gradient: gradient),
    "an array": (np.zeros_like, in_place),
    "a matrix of the other order": (
        lambda params: np.zeros((len(params), 2), order="F"),
        lambda state, gradient: in_place(state[:, 1], gradient),
    ),
    "θ itself": (lambda params: {"θ": params}, lambda state, gradient: gradient + state["θ"]),
    "a dataclass": (lambda params: Buffer(np.zeros_like(params)), of_dataclass),
    "a namespace": (lambda params: SimpleNamespace(**vars(Buffer(0 * params))), of_dataclass),
    "a dict": (lambda params: {"a.b": 0, "late": None, "early": 3.5}, of_dict),
    "a list": (lambda params: [], of_list),
    "a tuple": (lambda params: ([], np.zeros_like(params)), of_tuple),
    "a named tuple": (lambda params: Pair([], np.zeros_like(params)), of_tuple),
    "generators": (
        lambda params: {
            "rng": np.random.default_rng(3),
            "old": np.random.Generator(np.random.MT19937(3)),
        },
        of_generator,
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", STATES)
def test_an_optimizer_may_keep_its_state_in(tmp_path, name, dtype):
    settings = {"optimizer": Own(*STATES[name]), "dtype": dtype}
    whole = network(**settings)
    whole_history = fit(whole, None, **settings)
    for at in range(1, EPOCHS + 1):
        path, net = tmp_path / f"{at}.npz", network(**settings)
        with pytest.raises(RuntimeError):
            fit(net, path, Break(at), **settings)
        assert_same_end(net, fit(net, path, **settings), whole, whole_history)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("state.x", lambda: {"x": lambda: 3}),
        ("state.x", lambda: SimpleNamespace(x=random.Random(3))),
        ("state.x[1]", lambda: {"x": [0.0, np.array([None])]}),
        ("state.x", lambda: {"x": iter([1, 2])}),
        ("state.x", lambda: {"x": {1, 2}}),
        ("state.x", lambda: {"x": 1j}),
        ("state.x", lambda: {"x": np.random.RandomState(3)}),
        ("state.x", lambda: {"x": {3: 0.0}}),  # not a text
        ("state", lambda: np),
        ("state", lambda: Buffer),
        ("state", lambda: len),
        ("state", lambda: (n for n in (1, 2))),
    ],
)
def test_a_state_that_cannot_be_kept_is_named_before_the_first_step(tmp_path, name, made):
    class Refused(Forbidden):
        def start(self, params):
            return made()

    net = network()
    with pytest.raises(TypeError, match=r"^checkpoint can keep [^\n]+$") as caught:
        fit(net, tmp_path / "run.npz", optimizer=Refused())
    assert f"; {name} is " in str(caught.value)
    assert os.listdir(tmp_path) == []
    np.testing.assert_array_equal(net.params, network().params)


def test_an_object_that_was_made_during_the_run_is_said_to_be_lost(tmp_path):
    def move(state, gradient):
        state["x"] = Buffer(gradient)
        return gradient

    path, settings = tmp_path / "run.npz", {"optimizer": Own(lambda params: {"x": None}, move)}
    with pytest.raises(RuntimeError):
        fit(network(), path, Break(3), **settings)
    net = network()
    with pytest.raises(TypeError, match="Buffer"):
        fit(net, path, **settings)
    np.testing.assert_array_equal(net.params, network().params)


# ------------------------------------------------------------ callbacks of one's own


class Averaging:
    """The mean of θ over the epochs, which the network has in the end; it may prune on the way."""

    def __repr__(self):
        return "Averaging()"

    def start(self, params):
        self.params, self.sum, self.n, self.seen = params, np.zeros_like(params), 0, []

    def __call__(self, epoch, history):
        self.params[np.abs(self.params) < 0.1] = 0
        self.sum += self.params
        self.n += 1
        self.seen.append([epoch, history.total[-1]])

    def finish(self):
        self.params[...] = self.sum / self.n


def test_a_callback_with_a_memory_has_it_back(tmp_path):
    settings = RUNS["momentum"] | {"callback": Averaging}
    whole = network()
    whole_history = fit(whole, None, **settings)
    for at in range(1, EPOCHS + 1):
        path, net = tmp_path / f"{at}.npz", network()
        with pytest.raises(RuntimeError):
            fit(net, path, Break(at), **settings)
        assert_same_end(net, fit(net, path, **settings), whole, whole_history)
