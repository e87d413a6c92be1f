"""Broken off at a random moment: what was finished is kept, and the end is that of an unbroken run.

All of it runs in one process that has imported everything, and in those that it forks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork"),
]
WAYS = {"SIGKILL": 5, "full disk": 2, "read-only folder": 1}
OF_COMMANDS = {"Ctrl-C": 1, "SIGTERM": 1}
CASES = [(what, way) for what in ("fit", "save", "compare", "path") for way in WAYS]
CASES += [(what, way) for what in ("compare", "path") for way in OF_COMMANDS]


@pytest.fixture(scope="module")
def tallies():
    command = [sys.executable, "-m", "tests.support.kills"]
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    top = Path(__file__).parent.parent
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=top, env=os.environ | one_thread
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("what", "way"), CASES)
def test_nothing_finished_is_lost_and_the_end_is_the_same(tallies, what, way):
    tally = tallies[what][way]
    assert tally["hits"] == (WAYS | OF_COMMANDS)[way]
    bad = {name: tally[name] for name in ("lost", "damaged", "orphans", "unclear")}
    assert bad == dict.fromkeys(bad, 0)
    assert tally["same"] == tally["ends"] > 0
    assert tally["leftovers"] == 0 or way == "SIGKILL"  # which nobody can clear up after
