"""`tinyreg check`: every coordinate of a gradient against its own difference."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np

from tinyreg.checks.objective import check_gradients
from tinyreg.cli import options
from tinyreg.validate import check_integer

SUMMARY = "check every gradient of a network against its own differences"
DESCRIPTION = (
    "Check every coordinate of the gradient of a network, new or saved, and say where and why "
    "one is wrong. The exit status is 0 only if all were judged and are right."
)
EXAMPLE = "tinyreg check --sizes 64,32,10 --activation gelu --penalty elasticnet"


def add_options(add: options.Add) -> None:
    """Its options."""
    add("--sizes", metavar="N,...", help="units by layer (default 64,64,10)")
    options.add_objective_options(add)
    add("--data", metavar="FILE", help=options.DATA)
    add("--batch", type=int, default=32, help="samples to check on (default 32)")
    add("--json", action="store_true", help="print the JSON in place of the table")


def run(arguments: Namespace) -> int:
    """Print the report; 1 unless all is right."""
    objective = options.objective(arguments)
    batch = check_integer("--batch", arguments.batch, least=1)
    X, y, origin = options.samples(arguments, objective, batch)
    report = check_gradients(objective, X, y, precision=objective.net.dtype == np.float32)
    drawn = "samples, the first of " + origin if origin else "random normal samples"
    report.notes.append(f"data: {len(X)} {drawn}")
    if arguments.json:
        print(json.dumps({"ok": report.ok, "rows": report.rows, "notes": report.notes}))
    else:
        print(report)
    return 0 if report.ok else 1
