"""What all benchmarks say first: the machine, the threads, the versions. And how threads are set.

Import it before NumPy: the number of threads is read once, when NumPy is loaded.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def thread_settings(default: int) -> dict[str, str]:
    """The environment that gives everyone as many threads as `--threads` says.

    Use: os.environ |= thread_settings(1), before NumPy is imported.
    """
    given = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else str(default)
    settings = {f"{name}_NUM_THREADS": given for name in ("OMP", "OPENBLAS", "MKL")}
    if given == "1":  # JAX has no number of threads: it is all cores, or this
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        settings["XLA_FLAGS"] = flags
    return settings


def processor() -> str:
    """The model's name, where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_line(*peers: str) -> str:
    """Machine, cores, threads, Python, NumPy, and the versions of the peers that are installed."""
    told = []
    for name in peers:
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"{processor()}, {os.cpu_count()} cores, {threads} thread{'s' * (threads != '1')}, "
        f"Python {platform.python_version()}, NumPy {version('numpy')}; "
        f"peers: {', '.join(told) or 'none'}"
    )
