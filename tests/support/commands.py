"""The command line, run as a user runs it: in a process of its own."""

import os
import subprocess
import sys

QUICK = ["--epochs", "2", "--hidden", "8", "--seeds", "0", "--convergence", "0"]


def tinyreg(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "tinyreg", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        timeout=120,
        **settings,
    )
