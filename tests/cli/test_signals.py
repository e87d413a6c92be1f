"""Ctrl-C, SIGTERM and SIGKILL: what ends, what is said, what is kept."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.commands import QUICK

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
# With two workers and one task, so that one of them waits.
ENDLESS = ["--workers", "2", "--seeds", "0", "--methods", "proximal"]
COMMANDS = {
    "path": [*ENDLESS, "--lams", "1e-4", "--first-epochs", "100000"],
    "compare": [*ENDLESS, "--convergence", "0", "--epochs", "100000"],
}


def start(*arguments, **environment):
    command = [sys.executable, "-m", "tinyreg", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, start_new_session=True, env=os.environ | environment)


def until(condition):
    """The first true value of a condition, for which we wait as long as any machine may need."""
    for _ in range(6000):
        if value := condition():
            return value
        time.sleep(0.01)
    raise TimeoutError


def alive(group):
    """The processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("signals", "to_all", "status", "told"),
    [
        ([signal.SIGINT] * 3, True, 130, "stopped by SIGINT"),  # as a terminal sends Ctrl-C
        ([signal.SIGTERM, signal.SIGINT], False, 143, "stopped by SIGTERM"),
        ([signal.SIGKILL], False, -9, None),
    ],
)
def test_a_study_that_is_stopped_leaves_one_line_and_no_worker(
    command, signals, to_all, status, told, tmp_path
):
    process = start(command, *COMMANDS[command], TMPDIR=str(tmp_path))
    until(lambda: len(alive(process.pid)) >= 3)
    try:
        for number in signals:
            (os.killpg if to_all else os.kill)(process.pid, number)
            time.sleep(0.02)
        assert (process.communicate(timeout=60), process.returncode) == (
            ("", f"tinyreg {command}: {told}\n" if told else ""), status,
        )  # fmt: skip
        until(lambda: not alive(process.pid))
        assert not (told and os.listdir(tmp_path))  # the file of the data
    finally:  # an endless process is not to outlive its test
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_comparison_that_is_stopped_keeps_its_runs_and_says_where(tmp_path):
    arguments = ["compare", *QUICK, "--epochs", "100", "--out", str(tmp_path)]
    process = start(*arguments)
    first = until(lambda: list((tmp_path / "runs").glob("*.npz")))
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert re.fullmatch(r"tinyreg compare: stopped by SIGTERM; the same command goes on .*\n", err)
    assert str(tmp_path) in err
    assert set(first) <= set((tmp_path / "runs").iterdir())
    assert not (tmp_path / "comparison.json").exists()
