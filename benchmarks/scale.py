"""How long a study takes on 1 to 1,000 workers: a simulation from measured times and sizes.

    python -m benchmarks.scale [--quick]

The study is `path` on the digits: 10 λ × 20 seeds × 3 methods. Measured on this machine, a thread
each: a walk of each method, the first λ of one, the start of a worker, what the parent does before
the first task, and for each task (pickle it, unpickle its result, keep that in a file). The
simulation hands the tasks out in order: task i is ready when the parent has pickled those before
it, the next free worker takes it, and the parent takes the results one after the other. The real
study of 3 seeds on 1 and 2 workers is held against it first.

As `path` has it, a walk is one task and its λ come one after the other. The columns on the right
have each λ as a task of its own, from a new network with the epochs of the first λ: no walk to wait
for, but more work in all, and no warm start.
"""

from __future__ import annotations

import argparse
import heapq
import os
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from tempfile import TemporaryDirectory

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np

import tinyreg as tr
from tinyreg.files import write_arrays
from tinyreg.render.text import text_table
from tinyreg.study import path as module
from tinyreg.study import walk
from tinyreg.study.workers import Workers

METHODS = ("subgradient", "proximal", "decoupled")
LAMS = np.geomspace(1e-5, 1e-1, 10)
SEEDS = 20
WORKERS = (1, 2, 5, 10, 20, 50, 60, 100, 200, 500, 1000)
LONGER = 100


def study(seeds, executor=None, **how):
    """`path` on the digits, 60 % for training."""
    X, y, X_val, y_val = tr.datasets.train_test_split(*tr.load_digits(), 0.4)
    return tr.path(X, y, X_val, y_val, lams=LAMS, methods=METHODS, seeds=range(seeds),
                   optimizer=tr.Adam(1e-3), executor=executor, **how)  # fmt: skip


class Measured:
    """Seconds of a walk, of its first λ, of a worker's start and of the parent; bytes of a task."""

    def __init__(self, seeds, how):
        self.walks = {method: [] for method in METHODS}
        self.firsts = {method: [] for method in METHODS}
        self.packs, self.takes, self.sizes = [], [], []
        original, began = module.walk, time.perf_counter()
        module.walk = self._watched(original)
        try:
            study(seeds, **how)
        finally:
            module.walk = original
        whole = time.perf_counter() - began
        busy = sum(map(sum, self.walks.values())) + sum(self.packs) + sum(self.takes)
        self.before = whole - busy
        self.start = self._start()

    def _watched(self, original):
        """A walk by the clock; and what a parent would do for it."""

        def walked(task, *arguments):
            began = time.perf_counter()
            result = original(task, *arguments)
            self.walks[task.method].append(time.perf_counter() - began)
            self.firsts[task.method].append(result.points[0].seconds)
            began = time.perf_counter()
            sent = pickle.dumps((walk.lost, task))
            self.packs.append(time.perf_counter() - began)
            came = pickle.dumps(result)
            began = time.perf_counter()
            pickle.loads(came)
            with TemporaryDirectory() as folder:
                write_arrays(f"{folder}/run.npz", "a walk", 1, params=result.params)
            self.takes.append(time.perf_counter() - began)
            self.sizes.append((len(sent), len(came)))
            return result

        return walked

    @staticmethod
    def _start():
        """Seconds until a new process has imported the library and answers."""
        began = time.perf_counter()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(walk.with_lam, tr.L1(1.0), 0.5).result()
            return time.perf_counter() - began

    def simulate(self, seconds, workers, longer=1):
        """The whole study, and the share of the workers' time that is spent in tasks."""
        pack, take = np.median(self.packs), np.median(self.takes)
        free = [self.before + self.start] * min(workers, len(seconds))
        ends = []
        for i, own in enumerate(seconds):
            begins = max(heapq.heappop(free), self.before + (i + 1) * pack)
            ends.append(begins + longer * own)
            heapq.heappush(free, ends[-1])
        taken = 0.0
        for end in sorted(ends):
            taken = max(taken, end) + take
        return taken, longer * sum(seconds) / (taken * workers)


def tasks(of_method, n):
    """n tasks of each method, the measured times over and over."""
    return [s for method in METHODS for s in islice(cycle(of_method[method]), n)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the epochs")
    how = {"first_epochs": 4, "epochs": 2} if parser.parse_args().quick else {}
    print(machine_line(), "\n")
    measured = Measured(3, how)
    sent, came = np.median(measured.sizes, axis=0)
    alone = {method: np.mean(times) for method, times in measured.walks.items()}
    pack, take = 1e3 * np.median(measured.packs), 1e3 * np.median(measured.takes)
    print(
        f"measured: a walk {', '.join(f'{s:.2f} s ({m})' for m, s in alone.items())}\n"
        f"a worker's start {measured.start:.2f} s; the parent before the first task "
        f"{measured.before:.2f} s,\nfor each task {pack:.2f} ms to pickle {sent / 1024:.0f} KiB, "
        f"and {take:.2f} ms to take and keep {came / 1024:.0f} KiB\n"
    )

    rows = [["3 seeds", "seconds", "simulated"]]
    expected = study(3, **how)
    for workers in (1, 2):
        began = time.perf_counter()
        with Workers(workers) as pool:
            result = study(3, pool, **how)
        spent = time.perf_counter() - began
        for method in METHODS:  # the same numbers, wherever they were made
            assert (result.mean(method, "objective") == expected.mean(method, "objective")).all()
        simulated, _ = measured.simulate(tasks(measured.walks, 3), workers)
        rows.append([f"{workers} workers", f"{spent:.1f}", f"{simulated:.1f}"])
    print("\n".join(text_table(rows, rule=True)), "\n")

    whole, apart = tasks(measured.walks, SEEDS), tasks(measured.firsts, SEEDS * len(LAMS))
    first, _ = measured.simulate(whole, 1)
    both = "speed-up", "busy"
    headers = ["", f"{len(whole)} walks, s", *both, f"{LONGER} × longer: speed-up"]
    rows = [[*headers, f"{len(apart)} single λ, s", *both]]
    for workers in WORKERS:
        row = [f"{workers:,} workers"]
        for seconds in (whole, apart):
            took, busy = measured.simulate(seconds, workers)
            row += [f"{took:.1f}", f"{first / took:.1f}", f"{100 * busy:.0f} %"]
            if seconds is whole:
                one, many = (measured.simulate(whole, n, LONGER)[0] for n in (1, workers))
                row.append(f"{one / many:.1f}")
        rows.append(row)
    print("\n".join(text_table(rows, rule=True)), "\n")
    parent = measured.before + len(whole) * np.median(measured.packs + measured.takes)
    print(
        f"serial: the longest walk {max(whole):.2f} s, a worker's start {measured.start:.2f} s, "
        f"the parent {parent:.2f} s"
    )


if __name__ == "__main__":
    main()
