"""Runs that are broken off at random moments: what is lost; and what a checkpoint costs.

    python -m benchmarks.kills [--quick] [--times 100] [--threads N]

`fit` with a checkpoint after every epoch, `MLP.save`, `tinyreg compare --out` and `tinyreg path
--out --workers 2`, each in a process of its own, are killed (SIGKILL) at moments drawn uniformly
from the time that they need, one to four times, taken up by the same call after each, and then run
to their end. A tenth as often the disk becomes full at such a moment (RLIMIT_FSIZE: no file grows
beyond 1000 bytes any more), the folder is read-only from the beginning (and root another user), the
process group gets Ctrl-C, or the process SIGTERM.

  lost       finished work that was not there afterwards: epochs, saves, runs
  damaged    times that a file under its own name could not be read, or was of two networks
  orphans    times that a worker outlived its parent
  unclear    times that the exit status was another than -9, 2, 130, 143, or not one line was said
  leftovers  temporary files in the end: of a kill within a write that nobody cleared up after
  same       ends that equal the unbroken run's in every bit (but for seconds), with nothing of what
             was finished done twice

The script fails if any of the first four is not 0, or an end is not the same.

Then what a checkpoint costs with Adam: the time of an epoch and of the save after it, both medians,
in one run; what a save allocates (tracemalloc) beyond what the run holds; and the time that a call
takes to find that the run is finished, the hash of its data included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import tracemalloc
from importlib import import_module
from pathlib import Path

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np

import tinyreg as tr
from tests.support.kills import (
    CTRL_C,
    FULL,
    KILLED,
    READ_ONLY,
    TERMINATED,
    Fit,
    Save,
    Study,
    Tally,
    survive,
)
from tinyreg.checkpoint import Checkpoint
from tinyreg.render.text import text_table

with contextlib.suppress(ImportError):  # before the forks, so that kills hit the drawing
    import_module("matplotlib.backends.backend_agg")

STUDY = ("--hidden", "16", "--seeds", "0,1,2")
SUBJECTS = {
    "fit, checkpoint": Fit((64, 64, 10), n=1000, epochs=8),
    "MLP.save": Save((784, 128, 10), saves=15),
    "compare --out": Study("compare", *STUDY, "--epochs", "10", "--convergence", "20"),
    "path --out": Study(
        "path", *STUDY, "--first-epochs", "10", "--epochs", "5", "--lams", "1e-4:1e-2:4",
        "--workers", "2",
    ),
}  # fmt: skip
COLUMNS = ("lost", "damaged", "orphans", "unclear", "leftovers", "ends", "same")


def broken_off(times: int) -> bool:
    """Print the table; whether all is as it should be."""
    rows, tallies = [["what", "broken off by", "times", *COLUMNS]], []
    for name, subject in SUBJECTS.items():
        ways = [KILLED, FULL, READ_ONLY]
        ways += [CTRL_C, TERMINATED] if isinstance(subject, Study) else []
        for way in ways:
            tally: Tally = survive(subject, times if way is KILLED else -(-times // 10), way)
            tallies.append(tally)
            counts = [f"{getattr(tally, column)}" for column in COLUMNS]
            rows.append([name, way.name, f"{tally.hits}", *counts])
    print("\n".join(text_table(rows, left=2, rule=True)))
    return all(tally.ok for tally in tallies)


class Clock:
    """In place of `Checkpoint.save`: the seconds and the memory of each."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peak = 0
        self.save = Checkpoint.save

    def __call__(self, *arguments: object, **settings: object) -> None:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        began = time.perf_counter()
        self.save(*arguments, **settings)
        self.seconds.append(time.perf_counter() - began)
        self.peak = max(self.peak, tracemalloc.get_traced_memory()[1] - before)


def cost(sizes, X, y, batch_size: int, epochs: int) -> list[str]:
    """A row: epochs and saves by the clock, then one epoch more with tracemalloc."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"

        def run(epochs, path):
            net, ends = tr.MLP(sizes), [time.perf_counter()]
            tr.fit(
                net, X, y, loss=tr.SoftmaxCrossEntropy(), penalty=tr.L2(1e-4), epochs=epochs,
                batch_size=batch_size, checkpoint=path,
                callback=lambda *_: ends.append(time.perf_counter()),
            )  # fmt: skip
            return net, ends

        clock = Clock()
        Checkpoint.save = lambda *arguments, **settings: clock(*arguments, **settings)
        net, ends = run(epochs, path)
        # From one callback to the next: a save, which is part of the end of an epoch, and an epoch.
        saves = clock.seconds[1:]
        spent = np.median(np.diff(ends)[1:] - saves[:-1])
        began = time.perf_counter()
        run(epochs, path)
        taken_up = time.perf_counter() - began
        tracemalloc.start()
        run(epochs + 1, path)
        tracemalloc.stop()
        Checkpoint.save = clock.save
        save, size = float(np.median(saves)), path.stat().st_size
    return [
        "-".join(map(str, sizes)), f"{net.n_params:,}", f"{len(X):,}", f"{1e3 * spent:,.1f}",
        f"{1e3 * save:,.1f}", f"{100 * save / spent:.0f} %", f"{size / 2**20:.2f}",
        f"{clock.peak / 2**20:.1f}", f"{1e3 * taken_up:,.0f}",
    ]  # fmt: skip


def costs(quick: bool) -> None:
    head = [
        "Adam on", "parameters", "samples", "ms/epoch", "ms/save", "share", "MiB on disk",
        "MiB to save", "ms if finished",
    ]  # fmt: skip
    rows = [head, cost((64, 64, 10), *tr.load_digits(), 32, 5 if quick else 60)]
    rng = np.random.default_rng(0)
    n = 1000 if quick else 10_000
    X, y = rng.normal(size=(n, 784)), rng.integers(0, 10, n)
    rows.append(cost((784, 1024, 1024, 10), X, y, 128, 3 if quick else 8))
    print("\n".join(text_table(rows, left=1, rule=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ten kills each, fewer epochs")
    parser.add_argument("--times", type=int, help="kills of each (default 100)")
    parser.add_argument("--threads", type=int, default=1, help="of NumPy (default 1)")
    arguments = parser.parse_args()
    print(f"{machine_line()}\n")
    fine = broken_off(arguments.times or (10 if arguments.quick else 100))
    print()
    costs(arguments.quick)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
