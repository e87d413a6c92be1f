"""The same path on every engine that is installed: the same numbers, what is sent, what it takes.

    python -m benchmarks.engines [--rows N] [--epochs N]

Six walks over one table, on two workers. First it is asserted that the results are those of the
serial run, bit for bit but for the times. Bytes are those of a pickled task, as it would be with
the data in it and as it is; the file is written once. Memory is the peak of the sum of PSS
(/proc/*/smaps_rollup) over the process that calls `path` and all its descendants, less that of the
same call on 100 rows, over the bytes of the data and of one copy for each worker. Seconds are those
of `path` over the serial run's, clusters having been started before.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)
os.environ |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

import numpy as np
from scipy import sparse

import tinyreg as tr
from tinyreg.render.text import text_table
from tinyreg.study.sharing import Shared

WORKERS = 2
COLUMNS, FEW = 528, 100
MODES = {"dense": None, "memmap": "r", "csr": None}
AIM = 1.3
OF_MPI = ("-m", "mpi4py.futures")
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or ""
ON_ALL = ("serial", "processes, spawn")
HEAD = ["engine", "data", "identical", "task before", "task", "file", "memory", f"<= {AIM}", "time"]


def pool(method: str) -> Callable[[], Executor]:
    context = multiprocessing.get_context(method)
    return lambda: ProcessPoolExecutor(WORKERS, mp_context=context)


def loky() -> Executor:
    import loky

    return loky.ProcessPoolExecutor(WORKERS)


def dask() -> Executor:
    from distributed import Client

    return Client(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
    ).get_executor()


def mpi() -> Executor:
    from mpi4py.futures import MPIPoolExecutor

    return MPIPoolExecutor(WORKERS)


def ray() -> Executor:
    import ray

    class Ray(Executor):
        def submit(self, function, /, *arguments, **more):
            return ray.remote(function).remote(*arguments, **more).future()

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    return Ray()


# name: what must be installed, how it is made
ENGINES: dict[str, tuple[str, Callable[[], Any]]] = {
    "serial": ("numpy", nullcontext),
    "threads": ("numpy", lambda: ThreadPoolExecutor(WORKERS)),
    **{
        f"processes, {method}": ("numpy", pool(method))
        for method in multiprocessing.get_all_start_methods()
    },
    "loky": ("loky", loky),
    "dask.distributed": ("distributed", dask),
    "mpi4py.futures": ("mpi4py", mpi),
    "ray": ("ray", ray),
}


def write(kind: str, rows: int, path: Path) -> None:
    """A table of random numbers; a sparse one has about as many bytes."""
    rng = np.random.default_rng(0)
    if kind != "csr":
        return np.save(path, rng.standard_normal((rows, COLUMNS)))
    rows *= 5
    columns = 60 * np.arange(70) + rng.integers(0, 60, (rows, 70))
    starts = 70 * np.arange(rows + 1, dtype=np.int32)
    parts = rng.standard_normal(columns.size), columns.ravel().astype(np.int32), starts
    return sparse.save_npz(path, sparse.csr_array(parts), compressed=False)


def read(kind: str, path: Path) -> Any:
    return sparse.load_npz(path) if kind == "csr" else np.load(path, MODES[kind])


def walked(kind: str, path: Path, epochs: int, executor: Executor | None) -> tuple[float, str]:
    """Seconds, and the numbers of the path without its times."""
    X = read(kind, path)
    y = np.arange(X.shape[0]) % 4
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        result = tr.path(
            X, y, X[:FEW], y[:FEW], lams=[1e-3], hidden=(16,), first_epochs=epochs,
            seeds=(0, 1, 2), task="classification", executor=executor, out=out,
        )  # fmt: skip
        seconds = time.perf_counter() - began
    points = [{k: v for k, v in vars(p).items() if k != "seconds"} for p in result.points]
    assert len(points) == 6, result.failures
    return seconds, json.dumps(points)


class Scales(Executor):
    """It weighs a task, and runs it here."""

    def submit(self, function, /, *arguments):
        data = arguments[1].setup.data
        self.before = len(pickle.dumps(Shared(data.read())))
        self.after = len(pickle.dumps((function, *arguments)))
        self.file = os.path.getsize(data.file)
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


def family(top: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [top]
    for one in found:
        found += children.get(one, [])
    return found


def memory(processes: list[int]) -> int:
    """Their PSS: what several share is counted once."""
    total = 0
    for one in processes:
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def measured(engine: str, kind: str, path: Path, epochs: int) -> tuple[int, float, str]:
    """(peak bytes, seconds, numbers) of one call, in a process of its own."""
    command = ["-m", "benchmarks.engines", "--one", engine, kind, str(path)]
    command += ["--epochs", str(epochs)]
    command = [sys.executable, *(OF_MPI if engine == "mpi4py.futures" else ()), *command]
    if engine == "mpi4py.futures":
        command = [MPIEXEC, "--oversubscribe", "-n", str(WORKERS + 1), *command]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory(family(process.pid)))
            time.sleep(0.01)
        assert process.returncode == 0, " ".join(command)
        out.seek(0)
        seconds, numbers = out.read().splitlines()[-2:]
    return peak, float(seconds), numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # engine, kind, path
    arguments = parser.parse_args()
    if arguments.one:
        engine, kind, path = arguments.one
        with ENGINES[engine][1]() as executor:
            print(*walked(kind, Path(path), arguments.epochs, executor), sep="\n")
        return
    print(machine_line("loky", "distributed", "mpi4py", "ray"))
    print(f"\n{arguments.rows:,} × {COLUMNS} float64, {WORKERS} workers\n")
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(text_table([HEAD, *rows(arguments, Path(folder))], left=1, rule=True)))


def rows(arguments: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """Of the table: each engine on the dense one, and one pool on all kinds."""
    paths = {kind: folder / f"{kind}.{'npz' if kind == 'csr' else 'npy'}" for kind in MODES}
    for kind, path in paths.items():
        write(kind, arguments.rows, path)
    write("dense", FEW, folder / "few.npy")
    expected, weights = {}, {}
    for engine, (needed, _) in ENGINES.items():
        if find_spec(needed) is None or (needed == "mpi4py" and not MPIEXEC):
            continue
        idle, _, _ = measured(engine, "dense", folder / "few.npy", 1)
        for kind in MODES if engine in ON_ALL else ["dense"]:
            epochs = 1 if kind == "csr" else arguments.epochs
            peak, seconds, numbers = measured(engine, kind, paths[kind], epochs)
            if kind not in expected:
                walked(kind, paths[kind], 1, scales := Scales())
                expected[kind], weights[kind] = (seconds, numbers), scales
            assert numbers == expected[kind][1], f"{engine}, {kind}: not the serial numbers"
            sent = [f"{getattr(weights[kind], name):,}" for name in ("before", "after", "file")]
            copies = 1 if engine in ("serial", "threads") else 1 + WORKERS
            share = (peak - idle) / (copies * weights[kind].before)
            verdict = "met" if share <= AIM else "missed"
            told = [*sent, f"{share:.2f}", verdict]
            if copies == 1:  # where nothing is sent
                told = ["-", "-", "-", f"{share:.2f}", "-"]
            yield [engine, kind, "yes", *told, f"{seconds / expected[kind][0]:.2f}"]


if __name__ == "__main__":
    main()
