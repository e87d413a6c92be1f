"""Runs that SIGKILL ends at random moments, and what they leave. Shared by tests and benchmark.

Each run is a process of its own, forked from one that has imported everything: so that a kill hits
the work and not Python as it starts. It counts what it has finished in memory that outlives it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tinyreg as tr
from tests.support.checkpoints import epochs_in
from tinyreg.cli import options
from tinyreg.cli.main import main
from tinyreg.files import read_arrays
from tinyreg.study.store import KIND, VERSION, Store

MOST_IN_A_ROW = 4  # kills of a run, before it may end
LIMIT = 1000  # bytes of a file on a full disk
HEARD = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 5.0  # seconds for a worker to see that its parent is gone


@contextlib.contextmanager
def failing_in_one_line():
    """As the commands do it."""
    try:
        yield
    except OSError as e:
        print(e, file=sys.stderr, flush=True)
        os._exit(2)


# ------------------------------------------------------------ what is broken off


class Fit:
    """`fit` with a checkpoint after every epoch; what is finished are epochs."""

    def __init__(self, sizes=(3, 4, 2), n=20, epochs=30):
        rng = np.random.default_rng(0)
        self.X, self.y = rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], n)
        self.sizes, self.epochs = sizes, epochs

    def run(self, folder, done):
        def count(epoch, history):
            assert epoch > done[0], "an epoch was done twice"
            done[0] = epoch - 1  # those before are in the file

        with failing_in_one_line():
            history, _ = self._fit(folder, count)
        done[0] = len(history.total)

    def _fit(self, folder, *callbacks):
        net = tr.MLP(self.sizes, seed=1)
        history = tr.fit(
            net, self.X, self.y, loss=tr.SoftmaxCrossEntropy(), penalty=tr.L1(1e-3),
            method="proximal", dropout=0.2, epochs=self.epochs, batch_size=8,
            callback=[tr.EarlyStopping(99, monitor="total", restore_best=True), *callbacks],
            checkpoint=folder / "run.npz",
        )  # fmt: skip
        return history, net

    def kept(self, folder):
        path = folder / "run.npz"
        return epochs_in(path) if path.exists() else 0

    def end(self, folder):
        history, net = self._fit(folder)
        return history, net.params.tobytes()


class Save:
    """`MLP.save` to one path, again and again; each network holds nothing but its number."""

    def __init__(self, sizes=(30, 40, 2), saves=30):
        self.sizes, self.saves = sizes, saves

    def run(self, folder, done):
        net = tr.MLP(self.sizes)
        for number in range(int(done[0]) + 1, self.saves + 1):
            net.params[...] = number
            with failing_in_one_line():
                net.save(folder / "net.npz")
            done[0] = number

    def kept(self, folder):
        if not (folder / "net.npz").exists():
            return 0
        numbers = np.unique(tr.MLP.load(folder / "net.npz").params)
        if len(numbers) != 1:
            raise ValueError("parts of two networks")
        return int(numbers[0])

    def end(self, folder):
        return (folder / "net.npz").read_bytes()


class Study:
    """A command with --out; what is finished are its runs."""

    def __init__(self, command, *options):
        self.command, self.options = command, options

    def run(self, folder, done):
        keep = Store.keep

        def counted(*arguments, **settings):
            keep(*arguments, **settings)
            done[0] += 1

        Store.keep = counted
        sys.argv = ["tinyreg", self.command, *self.options, "--out", str(folder)]
        return main()

    def kept(self, folder):
        """The files that a reader finds have to be whole, all of them."""
        for path in folder.glob("*.npz"):
            tr.MLP.load(path)
        for path in folder.glob("*.json"):
            json.loads(path.read_text(encoding="utf-8"))
        for path in folder.glob("*.png"):
            if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
                raise ValueError("half a picture")
        runs = list((folder / "runs").glob("*.npz"))
        for path in runs:
            read_arrays(path, KIND, ("settings", "content", "params"), VERSION)
        return len(runs)

    def end(self, folder):
        networks = {path.name: path.read_bytes() for path in folder.glob("*.npz")}
        (document,) = folder.glob("*.json")
        content = json.loads(document.read_text(encoding="utf-8"))
        return networks, without_seconds(content)


def without_seconds(content):
    """A JSON document less what a clock has measured."""
    if isinstance(content, dict):
        items = content.items()
        return {key: without_seconds(value) for key, value in items if "seconds" not in key}
    return [*map(without_seconds, content)] if isinstance(content, list) else content


# ------------------------------------------------------------ how it is broken off


@dataclass(frozen=True)
class Way:
    """What is done in the process as it begins, and to it when the moment has come; its status."""

    name: str
    status: int
    begin: Callable[[Path, float], object] = lambda folder, seconds: None
    end: Callable[[int], object] = lambda pid: None


def _fill_the_disk(folder, seconds):
    """No file grows beyond so many bytes any more; what is said to the user is shorter."""
    limits = LIMIT, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    signal.signal(signal.SIGALRM, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))


def _lock(folder, seconds):
    """Root, for whom there are no permissions, is somebody else from here on."""
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.setuid(65534)


def _deaf(folder, seconds):
    """A signal that comes before the command listens is not heard at all."""
    for one in HEARD:
        signal.signal(one, signal.SIG_IGN)


KILLED = Way("SIGKILL", -signal.SIGKILL, end=lambda pid: os.kill(pid, signal.SIGKILL))
FULL = Way("full disk", 2, begin=_fill_the_disk)
READ_ONLY = Way("read-only folder", 2, begin=_lock)
CTRL_C = Way("Ctrl-C", 130, _deaf, lambda pid: os.killpg(pid, signal.SIGINT))
TERMINATED = Way("SIGTERM", 143, _deaf, lambda pid: os.kill(pid, signal.SIGTERM))


@contextlib.contextmanager
def forked(run: Callable[[], object], stderr: str | Path = os.devnull) -> Iterator[int]:
    """The number of a process, and of its group, that does nothing but this."""
    pid = os.fork()
    if pid == 0:
        status, own = 1, os.fdopen(os.dup(2), "w")
        try:
            os.setpgid(0, 0)
            for number, name in ((1, os.devnull), (2, stderr)):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
            status = int(run() or 0)
        except BaseException:
            traceback.print_exc(file=own)
            own.flush()
        finally:
            os._exit(status)
    with contextlib.suppress(OSError):  # both of them, so that it is done whoever comes first
        os.setpgid(pid, pid)
    yield pid


def outlived(group: int) -> bool:
    """Whether processes of this group are left, which are then ended."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-group, os.WNOHANG)
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.002)
    os.killpg(group, signal.SIGKILL)
    return True


def adopt_orphans() -> None:
    """Let ended processes whose parent is gone be ours to clear away: init may take seconds."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


# ------------------------------------------------------------ what became of it


@dataclass
class Tally:
    """What came of so many times."""

    hits: int = 0
    lost: int = 0  # of what was finished
    damaged: int = 0  # times that a file could not be read
    orphans: int = 0  # times that a worker outlived its parent
    unclear: int = 0  # times that the status was another, or what was said was not one line
    leftovers: int = 0  # temporary files in the end
    ends: int = 0
    same: int = 0  # bit for bit as where the unbroken run ended, with nothing done twice

    @property
    def ok(self) -> bool:
        bad = self.lost + self.damaged + self.orphans + self.unclear
        return bad == 0 < self.same == self.ends


def survive(subject, times: int, way: Way = KILLED, seed: int = 0) -> Tally:
    """Break runs off at random moments, each a few times, and then let it come to its end."""
    adopt_orphans()
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as top:

        def fresh(name):
            folder, done = Path(top) / str(name), np.frombuffer(mmap.mmap(-1, 8), np.int64)
            folder.mkdir()
            return folder, done, lambda: subject.run(folder, done)

        Path(top).chmod(0o755)
        folder, done, run = fresh("unbroken")
        began = time.monotonic()
        assert to_the_end(run), "the unbroken run failed"
        seconds = time.monotonic() - began
        total, unbroken = int(done[0]), subject.end(folder)
        while tally.hits < times and tally.ends < 20 * times:  # a run may be faster than a hit
            kept, (folder, done, run) = 0, fresh(tally.ends)
            for _ in range(min(rng.randint(1, MOST_IN_A_ROW), times - tally.hits)):
                moment = rng.uniform(0, seconds * (1 - kept / total))
                break_off(run, way, folder, moment, tally)
                try:
                    kept = subject.kept(folder)
                except ValueError:
                    tally.damaged += 1
                    kept = 0
                tally.lost += max(int(done[0]) - kept, 0)
                done[0] = kept
            tally.ends += 1
            if to_the_end(run) and done[0] == subject.kept(folder) == total:
                tally.same += subject.end(folder) == unbroken
            tally.leftovers += len([*folder.rglob(".*.tmp")])
    return tally


def break_off(run, way: Way, folder: Path, seconds: float, tally: Tally) -> None:
    """Run it in a process of its own, which may be at its end before its moment has come."""

    def begun():
        way.begin(folder, seconds)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        return run()

    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)  # until it has begun
    with tempfile.NamedTemporaryFile() as said, forked(begun, said.name) as pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        time.sleep(seconds)
        way.end(pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        folder.chmod(0o755)
        tally.orphans += outlived(pid)
        lines = [line for line in said.read().decode().splitlines() if line[:6] != "wrote "]
    tally.hits += status != 0
    if status not in (0, way.status) or (status > 0 and len(lines) != 1):
        tally.unclear += 1
        print(f"{way.name}, status {status}:", *lines, sep="\n", file=sys.stderr)


def to_the_end(run) -> bool:
    """Whether it came there."""
    with forked(run) as pid:
        return os.waitpid(pid, 0)[1] == 0


# ------------------------------------------------------------ small ones, for the tests


STUDY = ("--hidden", "4", "--seeds", "0,1", "--epochs", "1")
SUBJECTS = {
    "fit": Fit(),
    "save": Save(),
    "compare": Study("compare", *STUDY, "--convergence", "0"),
    "path": Study("path", *STUDY, "--first-epochs", "1", "--lams", "1e-3,1e-2", "--workers", "2"),
}
TIMES = {KILLED: 5, FULL: 2, READ_ONLY: 1}
OF_COMMANDS = {CTRL_C: 1, TERMINATED: 1}


def tallies() -> dict[str, dict[str, Tally]]:
    """What came of each way, for each subject."""
    options.find_spec = lambda name: None  # no pictures, which take longer than the rest
    os.fsync = lambda descriptor: None  # what a process has written survives its end
    of = {}
    for name, subject in SUBJECTS.items():
        ways = TIMES | OF_COMMANDS if isinstance(subject, Study) else TIMES
        of[name] = {way.name: survive(subject, times, way) for way, times in ways.items()}
    return of


if __name__ == "__main__":
    print(json.dumps(tallies(), default=vars))
