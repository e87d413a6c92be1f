"""`tinyreg compare`: several methods from one start on the same batches."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinyreg.cli import options
from tinyreg.core.network import MLP
from tinyreg.datasets.splits import train_test_split
from tinyreg.study.comparison import COMPARED, compare

SUMMARY = "train with no penalty, by subgradient and by prox, and hold the results side by side"
DESCRIPTION = (
    "Train the same network from the same start on the same batches by several methods, and "
    "report objective, scores, zeros and stationarity of each."
)
EXAMPLE = "tinyreg compare --lam 3e-3 --methods subgradient,proximal,naive --out comparison"


def add_options(add: options.Add) -> None:
    """Its options."""
    options.add_study_data(add)
    options.add_study_network(add)
    add("--lam", type=float, default=1e-3, help="λ (elasticnet: of both parts; default 1e-3)")
    options.add_training(add, COMPARED, "none,subgradient,proximal")
    add("--epochs", type=int, default=60, help="default 60")
    steps = "also run the full-batch solvers for so many steps (default 200; 0 for none)"
    add("--convergence", type=int, default=200, metavar="STEPS", help=steps)
    options.add_workers(add, "runs")
    options.add_output(add, "comparison", " and the first seed's models")


def run(arguments: Namespace) -> int:
    """Train, write, print; 0."""
    out = options.folder(arguments)
    data, task = options.load(arguments)
    split = train_test_split(
        data.X, data.y, arguments.test_share, arguments.split_seed, task == "classification"
    )
    parts, scaling, target_scaling = options.standardised(arguments, task, *split)
    with options.workers(arguments) as executor:
        comparison = compare(
            *parts, task=task, penalty=options.penalty(arguments, arguments.lam), executor=executor,
            convergence=arguments.convergence, out=out, fresh=arguments.fresh,
            **options.study_settings(arguments, data.y),
        )  # fmt: skip
    comparison.columns = data.columns
    if out is not None:
        command = {name: getattr(arguments, name) for name in options.OF_A_MODEL}
        command |= {"data": Path(arguments.data).name, "rows": data.X.shape[0]}
        own: dict[str, Any] = {"scaling": scaling, "target_scaling": target_scaling}
        for method in comparison.networks:
            model = comparison.model(method)
            own |= {"target": data.target, "settings": model.settings | {"command": command}}
            dataclasses.replace(model, **own).save(out / f"{method}.npz")
        for path in (out / f"{method}.npz" for method in {*COMPARED} - {*comparison.networks}):
            with suppress(OSError, ValueError):  # what an earlier call saved goes, no other file
                MLP.load(path)
                path.unlink()
    image_shape = (8, 8) if arguments.data == "digits" else None
    options.finish(arguments, comparison, out, "comparison", image_shape)
    return 0
