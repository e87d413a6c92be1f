"""The engines that run a study's tasks: the same numbers on each, the data sent once, failures."""

import contextlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.study import sharing
from tinyreg.study.sharing import Shared

rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
PARTS = (X[:40], y[:40], X[40:], y[40:])
SETTINGS = {"hidden": (3,), "epochs": 2, "seeds": (0, 1), "methods": ["subgradient", "proximal"]}
STUDIES = {
    "path": (tr.path, SETTINGS | {"lams": [1e-3, 0.1], "first_epochs": 2}),
    "comparison": (tr.compare, SETTINGS | {"convergence": 2, "class_weight": "balanced"}),
}
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
every = pytest.mark.parametrize("study", STUDIES)
forks = pytest.mark.skipif(FORK is None, reason="Windows has no fork")


def run(study, parts=PARTS, **changes):
    function, settings = STUDIES[study]
    return function(*parts, **settings | changes)


def numbers(result):
    """All that a study returned, networks too, without the times."""

    def strip(value):
        if isinstance(value, dict):
            return {key: strip(v) for key, v in value.items() if "seconds" not in key}
        return [strip(v) for v in value] if isinstance(value, list) else value

    if hasattr(result, "networks"):
        params = {method: net.params.tolist() for method, net in result.networks.items()}
    else:
        params = {
            f"{method}, {lam}": theta.tolist()
            for method, walk in result.params.items()
            for lam, theta in walk.items()
        }
    return json.dumps([strip(result.to_dict()), params])


@pytest.fixture(scope="module")
def serial():
    return {study: numbers(run(study)) for study in STUDIES}


@pytest.fixture
def by_file(monkeypatch):
    """Data of any size go by a file."""
    monkeypatch.setattr(sharing, "SMALL", 0)


def pool(n=2):
    return ProcessPoolExecutor(n, mp_context=FORK)


def kept(folder):
    return sorted(path.name for path in (folder / "runs").iterdir())


# ------------------------------------------------------------ the same numbers


def processes(method):
    return lambda: ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method))


def loky():
    return pytest.importorskip("loky").ProcessPoolExecutor(2)


@contextlib.contextmanager
def dask():
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(processes=True, **settings) as client:
        yield client.get_executor()


@contextlib.contextmanager
def ray():
    ray = pytest.importorskip("ray")

    class Ray(Executor):
        def submit(self, function, /, *arguments, **more):
            return ray.remote(function).remote(*arguments, **more).future()

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield Ray()
    ray.shutdown()


ENGINES = {method: processes(method) for method in multiprocessing.get_all_start_methods()}
ENGINES |= {"threads": lambda: ThreadPoolExecutor(2), "loky": loky, "dask": dask}
FORMS = {
    "dense": np.asarray,
    "by columns": np.asfortranarray,
    "float32": np.float32,
    "csr": lambda X: sparse.csr_array(np.where(X > 0, X, 0)),
}


@pytest.fixture(
    scope="module",
    params=[
        *ENGINES,
        pytest.param(
            "ray", marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore")],
        ),
    ],
)  # fmt: skip
def engine(request):
    with (ENGINES | {"ray": ray})[request.param]() as executor:
        yield executor


@every
@pytest.mark.parametrize("form", FORMS)
def test_the_engine_does_not_change_the_numbers(engine, study, form, by_file):
    parts = [part if part.ndim == 1 else FORMS[form](part) for part in PARTS]
    changes = {"dtype": "float32" if form == "float32" else "float64"}
    assert numbers(run(study, parts, **changes, executor=engine)) == numbers(
        run(study, parts, **changes)
    )


def test_a_table_that_is_large_and_real_targets_go_by_file(engine, tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", shape=(400, 400))
    X[...] = np.random.default_rng(0).normal(size=X.shape)
    Y = np.array(X[:, :2])
    changes = {"task": "regression", "dtype": "float32", "seeds": (0,), "first_epochs": 1}
    for table in (X, np.array(X)):
        parts = (table[:350], Y[:350], table[350:], Y[350:])
        here = numbers(run("path", parts, **changes))
        assert numbers(run("path", parts, **changes, executor=engine)) == here


@pytest.mark.slow
@every
def test_mpi_does_not_change_the_numbers(study, serial):
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    command = [mpiexec, "--oversubscribe", "-n", "3", sys.executable, "-m", "mpi4py.futures"]
    root = {f"OMPI_ALLOW_RUN_AS_ROOT{end}": "1" for end in ("", "_CONFIRM")}
    top = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [*command, __file__, study], capture_output=True, text=True, check=True,
        env=os.environ | root | {"PYTHONPATH": top},
    )  # fmt: skip
    assert done.stdout.strip() == serial[study]


# ------------------------------------------------------------ what is sent


def sent(shared):
    """What a worker gets."""
    return pickle.loads(pickle.dumps(shared)).read()


def tables(tmp_path):
    """Arrays of which each lies in another way, and whether it is in a file of its own."""
    big = np.lib.format.open_memmap(tmp_path / "own.npy", "w+", shape=(30, 8))
    big[...] = np.random.default_rng(1).normal(size=big.shape)
    gone = np.memmap(tmp_path / "gone", ">f4", "w+", shape=(3, 2))
    os.unlink(tmp_path / "gone")
    X = np.array(big)
    return {
        "rows": (X, False),
        "columns": (np.asfortranarray(X), False),
        "every other row": (X[::2], False),
        "some columns": (np.asfortranarray(X)[3:20, ::3], False),
        "backwards": (X[::-1], False),
        "one sample": (X[:1], False),
        "bool": (X[:, 0] > 0, False),
        "float32": (X.astype(np.float32), False),
        "mapped": (big, True),
        "its rows": (big[5:20], True),
        "its columns": (big[2:, ::3], True),
        "as an array": (np.asarray(big)[4:], True),
        "backwards in the file": (big[::-1], False),
        "copy on write": (np.load(tmp_path / "own.npy", "c"), False),
        "of a file that is gone": (gone, False),
    }


def test_a_worker_sees_the_same_arrays_where_they_lie_and_cannot_write_to_them(tmp_path, by_file):
    for name, (array, own) in tables(tmp_path).items():
        shared = Shared([array, array])
        with shared.by_file(tmp_path, "x"):
            got, again = sent(shared)
            size = os.path.getsize(shared.file)
            assert len(pickle.dumps(shared)) < 1000
        assert got is again, name
        assert type(got) is type(array), name
        assert got.dtype == array.dtype, name
        np.testing.assert_array_equal(got, array, err_msg=name)
        assert np.argsort(np.abs(got.strides)).tolist() == np.argsort(
            np.abs(array.strides)
        ).tolist()  # fmt: skip
        assert size == (0 if own else array.nbytes), name
        with pytest.raises(ValueError, match="read-only"):
            got[...] = 0
    assert sorted(os.listdir(tmp_path)) == ["own.npy"]


def test_what_was_changed_in_a_mapped_file_is_written_for_other_machines(
    tmp_path, by_file, monkeypatch
):
    held, flushed = np.memmap(tmp_path / "X", "f8", "w+", shape=(5, 2)), []
    monkeypatch.setattr(np.memmap, "flush", lambda self: flushed.append(self))
    shared = Shared(held[1:])
    with shared.by_file(tmp_path, "x"):
        pickle.dumps(shared)
    assert flushed[0] is held


@forks
@pytest.mark.parametrize("mode", ["r", "c"])
@pytest.mark.parametrize(
    "view",
    [np.s_[:, ::2], np.s_[::-1], np.s_[:, ::-1], np.s_[:, 3:4], np.s_[::-1, 3:4], np.s_[5:, :2]],
    ids=str,
)
def test_views_of_a_mapped_file_give_the_serial_numbers(mode, view, tmp_path, by_file):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.normal(size=(300, 17)))
    table, labels = np.load(tmp_path / "X.npy", mmap_mode=mode)[view], np.arange(300) % 3
    parts = table[:200], labels[:200], table[200:], labels[200 : len(table)]
    how = {"seeds": (0,), "hidden": (), "methods": ["proximal"]}
    with pool(1) as executor:
        assert numbers(run("path", parts, **how, executor=executor)) == numbers(
            run("path", parts, **how)
        )


@pytest.mark.parametrize("size", [5, 3])
def test_a_mapped_file_that_was_replaced_is_not_read_by_name(size, tmp_path, by_file):
    np.save(tmp_path / "X.npy", np.ones((5, 2)))
    held = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.save(tmp_path / "new.npy", np.zeros((size, 2)))
    os.replace(tmp_path / "new.npy", tmp_path / "X.npy")
    shared = Shared(held)
    with shared.by_file(tmp_path, "x"):
        np.testing.assert_array_equal(sent(shared), np.ones((5, 2)))


@every
def test_what_has_ended_is_kept_where_the_news_of_it_fails(study, tmp_path):
    def hangs_up(line):
        if line.endswith("done"):
            raise BrokenPipeError

    with ThreadPoolExecutor(1) as executor, pytest.raises(BrokenPipeError):
        run(study, out=tmp_path, progress=hangs_up, executor=executor)
    assert f"{study}-subgradient-0.npz" in kept(tmp_path)


def test_few_data_go_with_each_task_and_no_file_is_written(tmp_path):
    shared = Shared((X, sparse.csr_array(X), None))
    with shared.by_file(tmp_path, "x"):
        dense, csr, none = sent(shared)
        assert os.path.getsize(shared.file) == 0
    assert none is None
    np.testing.assert_array_equal(dense, X)
    np.testing.assert_array_equal(csr.toarray(), X)


class Watched(Executor):
    """It sends each task as processes do, and looks at what is sent; it runs them here."""

    def __init__(self, folder, before=lambda file: None):
        self.folder, self.before, self.tasks, self.files = folder, before, [], set()

    def submit(self, function, /, *arguments):
        self.tasks.append(pickle.dumps((function, *arguments)))
        function, *arguments = pickle.loads(self.tasks[-1])
        for file in (self.folder / "runs").glob(".*.tmp"):
            self.files.add((file, file.stat().st_size, file.stat().st_mtime_ns))
            self.before(file)
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.mark.parametrize(
    ("study", "form"), [*(("path", form) for form in FORMS), ("comparison", "dense")]
)
def test_data_are_written_once_and_a_task_is_small(study, form, tmp_path):
    X = np.random.default_rng(0).normal(size=(500, 600))
    columns = [*map(FORMS[form], (X[:400], X[400:]))]
    parts = (columns[0], np.arange(400) % 3, columns[1], np.arange(100) % 3)
    watched = Watched(tmp_path)
    dtype = "float32" if form == "float32" else "float64"
    run(study, parts, out=tmp_path, executor=watched, epochs=1, dtype=dtype)
    assert len(watched.tasks) == 4 + (study == "comparison")
    assert max(map(len, watched.tasks)) < 3000
    ((file, size, _),) = watched.files
    held = [a for part in columns for a in ([part] if form != "csr" else [part.data, part.indices])]
    assert 0 <= size - sum(a.nbytes for a in held) < 20_000
    assert not file.exists()
    assert all(name.endswith(".npz") for name in kept(tmp_path))


@every
def test_threads_get_no_file(study, tmp_path, monkeypatch, by_file):
    monkeypatch.setattr(Shared, "__reduce__", None)
    with ThreadPoolExecutor(2) as executor:
        run(study, executor=executor)


@every
def test_what_a_killed_study_left_is_removed_by_the_next(study, tmp_path):
    shared = Shared(0)
    (tmp_path / "runs").mkdir()
    with shared.by_file(tmp_path / "runs", study):
        left = Path(shared.file)
    left.touch()
    run(study, out=tmp_path)
    assert not left.exists()


# ------------------------------------------------------------ failures

TRAP = {}  # of this process, and of those that are forked while it is set


class Trapped(tr.L1):
    """L1 whose prox does what TRAP says."""

    def prox(self, w, step):
        for trap in list(TRAP.values()):
            trap()
        return super().prox(w, step)


@pytest.fixture
def without_convergence(monkeypatch):
    """FISTA, which goes on from the end of a run, is not to meet the trap."""
    function, settings = STUDIES["comparison"]
    monkeypatch.setitem(STUDIES, "comparison", (function, settings | {"convergence": 0}))


def die():
    if multiprocessing.parent_process() is not None:
        os._exit(3)


class Odd(Exception):
    """One that goes into a pickle and not out again."""

    def __reduce_ex__(self, protocol):
        return refuse, ()


def refuse():
    raise TypeError("an odd pickle")


def odd():
    raise Odd("very odd")


def boom():
    raise KeyError("boom")


@pytest.fixture
def trap(monkeypatch, without_convergence):
    return lambda function: monkeypatch.setitem(TRAP, "it", function)


def ends_as_if_nothing_had_been(study, tmp_path, before):
    """The same call takes up what was kept."""
    TRAP.clear()
    lines = []
    result = run(study, penalty=Trapped(1e-3), out=tmp_path, progress=lines.append)
    assert len([line for line in lines if line.endswith("kept from before")]) == len(before)
    assert numbers(result) == numbers(run(study, penalty=Trapped(1e-3)))


@forks
@every
@pytest.mark.parametrize("out", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_is_named_and_what_ended_is_kept(study, out, workers, trap, tmp_path):
    trap(die)
    how = {"penalty": Trapped(1e-3), "out": tmp_path if out else None}
    with pool(workers) as executor:
        if study == "path":
            failed = run(study, **how, executor=executor).failures
            assert {(f.method, f.seed, f.reason.partition(":")[0]) for f in failed} == {
                ("proximal", seed, "the worker died") for seed in (0, 1)
            }
        else:
            told = pytest.raises(
                ChildProcessError, match=r"proximal, seed 0: the worker died: BrokenProcessPool: "
            )
            with told:
                run(study, **how, executor=executor)
    if out:
        seeds = (0, 1) if study == "path" else (0,)
        before = kept(tmp_path)
        assert {f"{study}-subgradient-{seed}.npz" for seed in seeds} <= set(before)
        assert all("proximal" not in name for name in before)
        ends_as_if_nothing_had_been(study, tmp_path, before)


class Deadly(tr.L1):
    """L1 whose prox ends the process, of a worker."""

    def prox(self, w, step):
        if "HERE" not in os.environ:
            os._exit(3)
        return super().prox(w, step)


@forks
@every
def test_a_run_whose_worker_of_dask_dies_is_made_again_here(
    study, monkeypatch, without_convergence
):
    """dask has an error of its own for that."""
    settings = pytest.importorskip("dask").config
    with settings.set({"distributed.scheduler.allowed-failures": 0}), dask() as executor:
        monkeypatch.setenv("HERE", "yes")  # in processes that are made from now on
        how = {"penalty": Deadly(1e-3), "seeds": (0,)}
        result = run(study, **how, executor=executor)
    assert numbers(result) == numbers(run(study, **how))


@forks
@every
def test_a_worker_that_is_killed_from_outside_changes_nothing(study, trap, tmp_path):
    armed, caught = tmp_path / "armed", tmp_path / "caught"

    def wait():
        with contextlib.suppress(OSError):  # for the first one that comes
            os.rename(armed, caught.with_suffix(f".{os.getpid()}"))
            time.sleep(60)

    def kill():
        while not (found := list(tmp_path.glob("caught.*"))):
            time.sleep(0.01)
        os.kill(int(found[0].suffix[1:]), signal.SIGKILL)

    armed.touch()
    trap(wait)
    killer = threading.Thread(target=kill)
    killer.start()
    with pool() as executor:
        result = run(study, penalty=Trapped(1e-3), executor=executor)
    killer.join()
    TRAP.clear()
    assert numbers(result) == numbers(run(study, penalty=Trapped(1e-3)))


@forks
@pytest.mark.parametrize("make", [None, lambda: ThreadPoolExecutor(1), pool])
@pytest.mark.parametrize(
    ("function", "error", "words"), [(boom, KeyError, "boom"), (odd, Exception, "very odd")]
)
def test_a_run_that_raises_does_so_alike_in_every_executor(
    make, function, error, words, trap, tmp_path
):
    trap(function)
    with make() if make else contextlib.nullcontext() as executor:
        told = pytest.raises(error, match=words)
        with told as caught:
            run("comparison", penalty=Trapped(1e-3), out=tmp_path, executor=executor)
    if make is pool:
        (note,) = caught.value.__notes__
        assert note.startswith("proximal, seed 0, in a worker:\nTraceback")
        assert f"in {function.__name__}\n" in note
        # By tblib, which dask imports, an odd error goes through as well.
        assert isinstance(caught.value, KeyError if function is boom else RuntimeError | Odd)
    before = kept(tmp_path)
    assert "comparison-subgradient-0.npz" in before
    assert all("proximal" not in name for name in before)
    ends_as_if_nothing_had_been("comparison", tmp_path, before)


class Backwards(Executor):
    """It begins with the task that came last."""

    def __init__(self, n):
        self.n, self.waiting = n, []

    def submit(self, function, /, *arguments):
        self.waiting.append((Future(), function, arguments))
        if len(self.waiting) == self.n:
            threading.Thread(target=self.work).start()
        return self.waiting[-1][0]

    def work(self):
        time.sleep(0.1)  # until the last one is submitted
        for future, function, arguments in self.waiting[::-1]:
            if future.set_running_or_notify_cancel():
                future.set_result(function(*arguments))


@forks
@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(2), pool, lambda: Backwards(7)])
def test_the_error_is_that_of_the_first_run_in_their_order(make):
    changes = {"optimizer": tr.SGD(1e200), "seeds": (3, 1, 2)}
    with pytest.raises(tr.DivergenceError) as here:
        run("comparison", **changes)
    with make() as executor, pytest.raises(tr.DivergenceError) as there:
        run("comparison", **changes, executor=executor)
    assert str(there.value) == str(here.value)
    assert str(here.value).startswith("subgradient, seed 3: training diverged")
    assert (there.value.epoch, there.value.batch) == (here.value.epoch, here.value.batch)


def test_runs_after_one_that_raised_are_not_begun_and_those_before_it_end(
    without_convergence, tmp_path
):
    begun, waiting = [], threading.Event()

    class Slow(tr.L1):
        def subgradient(self, w):
            waiting.wait(60)  # the first run
            return super().subgradient(w)

        def prox(self, w, step):
            begun.append(len(begun))
            threading.Timer(0.2, waiting.set).start()
            raise KeyError("boom")

    with ThreadPoolExecutor(2) as executor, pytest.raises(KeyError):
        run("comparison", penalty=Slow(1e-3), seeds=range(5), out=tmp_path, executor=executor)
    assert "comparison-subgradient-0.npz" in kept(tmp_path)
    assert len(begun) < 3


@forks
@every
def test_what_cannot_be_pickled_is_named_and_nothing_is_left(study, tmp_path):
    changes = {"optimizer": tr.SGD(lambda step: 0.1), "out": tmp_path}
    told = pytest.raises(
        TypeError, match=r"executor must be .* by pickle; got \w+ at subgradient, seed 0: .*lambda"
    )
    with pool(1) as executor, told:
        run(study, **changes, executor=executor)
    assert kept(tmp_path) == []
    with ThreadPoolExecutor(2) as executor:
        assert numbers(run(study, **changes, executor=executor)) == numbers(run(study, **changes))


@forks
@every
@pytest.mark.parametrize("make", [ThreadPoolExecutor, pool])
@pytest.mark.parametrize("out", [True, False])
def test_an_executor_that_cancels_is_told_and_nothing_that_ended_is_lost(
    study, make, out, tmp_path, serial
):
    executor, lines = make(1), []

    def stop(line):
        lines.append(line)
        executor.shutdown(wait=False, cancel_futures=True)

    how = {"out": tmp_path if out else None, "seeds": range(4), "progress": stop}
    if study == "path":
        result = run(study, **how, executor=executor)
        assert {f.reason for f in result.failures} == {"cancelled"}
        ended = 8 - len(result.failures)
    else:
        told = r"(subgradient|proximal), seed \d: cancelled by the executor"
        with pytest.raises(CancelledError, match=told):
            run(study, **how, executor=executor)
        ended = len(lines)
    executor.shutdown()
    assert 1 <= ended < 8
    if out:
        before = kept(tmp_path)
        assert len(before) == ended
        again = []
        result = run(study, **how | {"progress": again.append})
        assert len([line for line in again if line.endswith("kept from before")]) == len(before)
        assert numbers(result) == numbers(run(study, seeds=range(4)))


@forks
@every
@pytest.mark.parametrize("make", [ThreadPoolExecutor, pool])
def test_an_executor_that_was_shut_down_is_refused(study, make, tmp_path):
    executor = make(1)
    executor.shutdown()
    told = pytest.raises(
        ValueError, match=r"executor must be one that takes tasks, .*cannot schedule new futures"
    )
    with told:
        run(study, executor=executor, out=tmp_path)
    assert kept(tmp_path) == []
    with pytest.raises(TypeError, match="executor must be a PEP 3148 executor, got int 3"):
        run(study, executor=3)


@every
def test_a_worker_that_cannot_read_the_data_says_where_and_what_to_do(study, tmp_path, by_file):
    told = r"cannot read /.*\.tmp: .*; it must lie where all workers see it, as out= says"
    for spoil in (os.unlink, lambda file: os.truncate(file, 100)):
        with pytest.raises(OSError, match=told):
            run(study, out=tmp_path, executor=Watched(tmp_path, spoil))
        assert kept(tmp_path) == []


@forks
@every
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on files' sizes")
def test_a_full_disk_is_told_with_the_file(study, by_file):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pool(1) as executor, pytest.raises(OSError, match=r"File too large: .*\.tmp'"):
            run(study, executor=executor)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


if __name__ == "__main__":  # by mpiexec
    from mpi4py.futures import MPIPoolExecutor

    sharing.SMALL = 0
    with MPIPoolExecutor(2) as executor:
        print(numbers(run(sys.argv[1], executor=executor)))
