"""Training on a file that memory need not hold: seconds and memory, beside the same data in memory.

    python -m benchmarks.large_file [--quick] [--gib 2] [--threads N]

Makes a file of float32 samples in a temporary folder, and trains a 784-64-10 network on it for one
epoch in batches of 32: from `np.memmap`, and from an array that holds all of it. Each run is a
process of its own. The faster of two, in turn, counts; the file was just written and read, so that
it is in the system's cache: what is measured is the way to the numbers, not the disk.

A third run of each, without a clock, reads every 20 ms what memory it has to itself
(/proc/self/smaps_rollup, Linux alone). `own` is what it has written, which the system has to keep
(Anonymous). `file` is the rest of Private_Clean and Private_Dirty: pages of the file that no other
process maps, which the system drops when memory is short. Own memory before training stands beside
the most that training came to; with a file the difference must not grow with the data.

A float64 network casts each batch. Its data in memory are cast before the clock starts, as `fit`
would otherwise hold both copies.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=2)

import numpy as np

import tinyreg as tr
from tinyreg.render.text import text_table

SIZES, BATCH, LAM = (784, 64, 10), 32, 1e-4
AIM = 1.3
MOST_MIB = 100  # that training on a file may add: a few numbers for each sample, and the batches


def make(path: Path, gib: float) -> int:
    """Write the file in pieces and read it once; the number of samples."""
    rng = np.random.default_rng(0)
    piece = rng.standard_normal((1000, SIZES[0]), np.float32)
    n_samples = int(gib * 2**30 / piece[0].nbytes)
    with path.open("wb") as file:
        for start in range(0, n_samples, len(piece)):
            file.write(piece[: n_samples - start])
    with path.open("rb") as file:
        while file.read(2**24):
            pass
    return n_samples


def memory() -> tuple[float, float]:
    """MiB that this process has to itself: its own, and pages of files."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    mib = {k: int(v) / 2**10 for k, v in re.findall(r"^(\w+): +(\d+) kB", rollup, re.MULTILINE)}
    own = mib["Anonymous"]
    return own, mib["Private_Clean"] + mib["Private_Dirty"] - own


class Watch(threading.Thread):
    """The most memory of either kind, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.file = 0.0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            own, file = memory()
            self.own, self.file = max(self.own, own), max(self.file, file)

    def stop(self) -> None:
        self.over.set()
        self.join()


def train(path: str, n_samples: int, source: str, dtype: str, watched: bool) -> dict[str, float]:
    """One epoch, in this process."""
    if source == "file":
        X = np.memmap(path, np.float32, "r", shape=(n_samples, SIZES[0]))
    else:
        X = np.fromfile(path, np.float32).reshape(n_samples, SIZES[0]).astype(dtype, copy=False)
    y = np.random.default_rng(1).integers(0, SIZES[-1], n_samples)
    net = tr.MLP(SIZES, dtype=dtype, seed=0)
    figures = {}
    if watched:
        figures["before"], _ = memory()
        watch = Watch()
        watch.start()
    began = time.perf_counter()
    history = tr.fit(
        net, X, y, loss=tr.SoftmaxCrossEntropy(), penalty=tr.L2(LAM), epochs=1, batch_size=BATCH
    )
    figures |= {"s": time.perf_counter() - began, "loss": history.total[-1]}
    if watched:
        watch.stop()
        figures |= {"own": watch.own, "file": watch.file}
    return figures


def in_own_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.large_file", "--run", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a file of 0.25 GiB")
    parser.add_argument("--gib", type=float, default=2.0, help="size of the file (default 2)")
    parser.add_argument("--threads", type=int, default=2, help="of NumPy (default 2)")
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        path, n_samples, source, dtype, watched = arguments.run
        print(json.dumps(train(path, int(n_samples), source, dtype, watched == "watched")))
        return

    gib = 0.25 if arguments.quick else arguments.gib
    print(machine_line())
    rows = [["network", "data", "s", "ratio", f"<= {AIM}", "own before", "own most", "file most"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.dat"
        n_samples = make(path, gib)
        print(f"\n{gib:g} GiB of float32, {n_samples:,} samples, 784-64-10, one epoch, batch 32")
        print("own, file: MiB of private memory, written by the process and mapped from the file\n")
        for dtype in ("float32", "float64"):
            seconds = {"memory": [], "file": []}
            losses = set()
            for source, own in [*seconds.items()] * 2:
                run = in_own_process(str(path), str(n_samples), source, dtype, "timed")
                own.append(run["s"])
                losses.add(run["loss"])
            assert len(losses) == 1, "not the same training"
            ratio = min(seconds["file"]) / min(seconds["memory"])
            verdict = [f"{ratio:.2f}", "met" if ratio <= AIM else "missed"]
            for source, told in (("memory", ["", ""]), ("file", verdict)):
                run = in_own_process(str(path), str(n_samples), source, dtype, "watched")
                added = run["own"] - run["before"]
                assert source == "memory" or added <= MOST_MIB, f"training added {added:.0f} MiB"
                mib = [f"{run[name]:,.0f}" for name in ("before", "own", "file")]
                rows.append([dtype, source, f"{min(seconds[source]):.1f}", *told, *mib])
    print("\n".join(text_table(rows, left=2, rule=True)))


if __name__ == "__main__":
    main()
