"""`tinyreg check`: every coordinate of a gradient against its own difference."""

from __future__ import annotations

import argparse
import json

import numpy as np

from tinyreg.checks.objective import check_gradients
from tinyreg.cli import data, options
from tinyreg.core.objective import Objective
from tinyreg.validate import check_integer


def add_to(commands: options.Commands) -> None:
    """Its options."""
    add = options.add_command(
        commands,
        "check",
        run,
        "check every gradient of a network against its own differences",
        "Check every coordinate of the gradient of a network, new or saved, and say where and why "
        "one is wrong. The exit status is 1 if one is.",
        "tinyreg check --sizes 64,32,10 --activation gelu --penalty elasticnet",
    )
    add("--sizes", metavar="N,...", help="units by layer (default 64,64,10)")
    options.add_objective_options(add)
    add("--loss", choices=options.LOSSES, default="softmax", help="default softmax")
    options.add_lam(add)
    options.add_data(add)
    add("--batch", type=int, default=32, help="samples to check on (default 32)")
    add("--json", action="store_true", help="print the JSON in place of the table")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; 1 unless all is right."""
    net, loss = options.network(arguments), options.LOSSES[arguments.loss]
    batch = check_integer("--batch", arguments.batch, least=1)
    X, y, origin = data.samples(arguments, net, loss, batch)
    objective = Objective(net, loss, options.penalty(arguments, arguments.lam))
    report = check_gradients(objective, X, y, precision=net.dtype == np.float32)
    drawn = "samples, the first of " + origin if origin else "random normal samples"
    report.notes.append(f"data: {len(X)} {drawn}")
    if arguments.json:
        print(json.dumps({"ok": report.ok, "rows": report.rows, "notes": report.notes}))
    else:
        print(report)
    return 0 if report.ok else 1
