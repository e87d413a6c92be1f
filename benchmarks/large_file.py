"""Training on a file that memory need not hold: seconds and memory, beside the same data in memory.

    python benchmarks/large_file.py [--quick] [--gib 2] [--threads N]

Makes a file of float32 samples in a temporary folder, and trains a 784-64-10 network on it for one
epoch in batches of 32: from `np.memmap`, and from an array that holds all of it. Each run is a
process of its own, twice in turn, and the faster one counts. The file was just written and read,
so that it is in the system's cache: what is measured is the way to the numbers, not the disk. The
memory is the largest that the process had, before training and after.

A float64 network casts each batch. Its data in memory are cast before the clock starts, as `fit`
would otherwise hold both copies.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=2)

import numpy as np

import tinyreg as tr
from tinyreg.render.table import text_table

SIZES, BATCH, LAM = (784, 64, 10), 32, 1e-4
AIM = 1.3


def make(path: Path, gib: float) -> int:
    """Write the file in pieces and read it once; the number of samples.

    The pieces are small, because a new process counts the most memory of its parent as its own.
    """
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


def resident() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def train(path: str, n_samples: int, source: str, dtype: str) -> dict[str, float]:
    """One epoch, in this process."""
    if source == "file":
        X = np.memmap(path, np.float32, "r", shape=(n_samples, SIZES[0]))
    else:
        X = np.fromfile(path, np.float32).reshape(n_samples, SIZES[0]).astype(dtype, copy=False)
    y = np.random.default_rng(1).integers(0, SIZES[-1], n_samples)
    net = tr.MLP(SIZES, dtype=dtype, seed=0)
    before, began = resident(), time.perf_counter()
    history = tr.fit(
        net, X, y, loss=tr.SoftmaxCrossEntropy(), penalty=tr.L2(LAM), epochs=1, batch_size=BATCH
    )
    spent = time.perf_counter() - began
    return {"s": spent, "before": before, "after": resident(), "loss": history.total[-1]}


def in_own_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--run", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a file of 0.25 GiB")
    parser.add_argument("--gib", type=float, default=2.0, help="size of the file (default 2)")
    parser.add_argument("--threads", type=int, default=2, help="of NumPy (default 2)")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        path, n_samples, source, dtype = arguments.run
        print(json.dumps(train(path, int(n_samples), source, dtype)))
        return

    gib = 0.25 if arguments.quick else arguments.gib
    print(machine_line())
    rows = [["network", "data", "s", "ratio", f"<= {AIM}", "MiB before", "MiB after"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.dat"
        n_samples = make(path, gib)
        print(f"\n{gib:g} GiB of float32, {n_samples:,} samples, 784-64-10, one epoch, batch 32\n")
        for dtype in ("float32", "float64"):
            runs = {"memory": [], "file": []}
            for _ in range(2):
                for source, own in runs.items():
                    own.append(in_own_process(str(path), str(n_samples), source, dtype))
            best = {source: min(own, key=lambda run: run["s"]) for source, own in runs.items()}
            assert best["file"]["loss"] == best["memory"]["loss"], "not the same training"
            ratio = best["file"]["s"] / best["memory"]["s"]
            verdict = [f"{ratio:.2f}", "met" if ratio <= AIM else "missed"]
            for source, told in (("memory", ["", ""]), ("file", verdict)):
                run = best[source]
                memory = f"{run['before']:,.0f}", f"{run['after']:,.0f}"
                rows.append([dtype, source, f"{run['s']:.1f}", *told, *memory])
    print("\n".join(text_table(rows, left=2, rule=True)))


if __name__ == "__main__":
    main()
