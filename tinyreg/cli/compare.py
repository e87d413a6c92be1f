"""`tinyreg compare`: several methods from one start on the same batches."""

from __future__ import annotations

import argparse

from tinyreg.cli import data, options, output
from tinyreg.datasets.splits import train_test_split
from tinyreg.study.comparison import COMPARED, compare


def add_to(commands: options.Commands) -> None:
    """Its options."""
    add = options.add_command(
        commands,
        "compare",
        run,
        "train with no penalty, by subgradient and by prox, and hold the results side by side",
        "Train the same network from the same start on the same batches by several methods, and "
        "report objective, scores, zeros and stationarity of each.",
        "tinyreg compare --lam 3e-3 --methods subgradient,proximal,naive --out comparison",
    )
    options.add_data_options(add)
    options.add_network_options(add)
    options.add_lam(add)
    options.add_methods(add, COMPARED, "none,subgradient,proximal")
    options.add_training_options(add)
    add("--epochs", type=int, default=60, help="default 60")
    steps = "also run the full-batch solvers for so many steps (default 200; 0 for none)"
    add("--convergence", type=int, default=200, metavar="STEPS", help=steps)
    output.add_output_options(add, "comparison", " and the first seed's networks")


def run(arguments: argparse.Namespace) -> int:
    """Train, write, print; 0."""
    out = output.folder(arguments.out)
    X, y, task = data.load(arguments.data, arguments.target, arguments.task)
    parts = train_test_split(X, y, arguments.test_share)
    comparison = compare(
        *data.standardised(arguments, task, *parts),
        task=task,
        penalty=options.penalty(arguments, arguments.lam),
        methods=arguments.methods.split(","),
        epochs=arguments.epochs,
        convergence=arguments.convergence,
        progress=output.progress(),
        **options.training_settings(arguments),
    )
    if out is not None:
        for method, net in comparison.networks.items():
            net.save(out / f"{method}.npz")
    image_shape = (8, 8) if arguments.data == "digits" else None
    output.finish(arguments, comparison, out, "comparison", image_shape)
    return 0
