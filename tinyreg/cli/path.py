"""`tinyreg path`: up a list of λ, from dense to sparse."""

from __future__ import annotations

import dataclasses
from argparse import Namespace

import numpy as np

from tinyreg.cli import options
from tinyreg.core.training import METHODS
from tinyreg.datasets.splits import train_test_split
from tinyreg.study.path import path

SUMMARY = "walk up λ from dense to sparse: what does a zero cost?"
DESCRIPTION = (
    "Train along an ascending list of λ, each from where the last one ended, and report score "
    "against sparsity for each method."
)
EXAMPLE = "tinyreg path --lams 1e-4:1e-1:13 --seeds 0,1,2,3 --workers 2 --out path"


def add_options(add: options.Add) -> None:
    """Its options."""
    options.add_study_data(add)
    add("--validation-share", type=float, default=0.2, help="of the training part (default 0.2)")
    options.add_study_network(add)
    lams = "N values from LOW to HIGH, or a list with commas (default 1e-5:1e-1:17)"
    add("--lams", default="1e-5:1e-1:17", metavar="LOW:HIGH:N", help=lams)
    options.add_training(add, METHODS, "subgradient,proximal")
    add("--first-epochs", type=int, default=40, help="at the first λ (default 40)")
    add("--epochs", type=int, default=20, help="at each later λ (default 20)")
    options.add_workers(add, "walks")
    options.add_output(add, "path")


def run(arguments: Namespace) -> int:
    """Train, write, print; 1 if a walk broke off."""
    out = options.folder(arguments)
    data, task = options.load(arguments)
    seed, classes = arguments.split_seed, task == "classification"
    X, y, X_test, y_test = train_test_split(
        data.X, data.y, arguments.test_share, seed, stratify=classes
    )
    try:
        X, y, X_val, y_val = train_test_split(
            X, y, arguments.validation_share, seed + 1, stratify=classes
        )
    except ValueError as e:
        raise ValueError(str(e).replace("test_share", "--validation-share")) from e
    parts, scaling, target_scaling = options.standardised(
        arguments, task, X, y, X_val, y_val, X_test, y_test
    )
    with options.workers(arguments) as executor:
        result = path(
            *parts, lams=_lams(arguments.lams), task=task, executor=executor, out=out,
            penalty=options.penalty(arguments, 1.0), first_epochs=arguments.first_epochs,
            fresh=arguments.fresh, **options.study_settings(arguments, data.y),
        )  # fmt: skip
    result.template = dataclasses.replace(
        result.template, columns=data.columns, target=data.target, scaling=scaling,
        target_scaling=target_scaling,
    )  # fmt: skip
    options.finish(arguments, result, out, "path")
    return 1 if result.failures else 0


def _lams(text: str) -> list[float]:
    try:
        if ":" not in text:
            return [float(lam) for lam in text.split(",")]
        low, high, number = text.split(":")
        if not 0 < float(low) < float(high):
            raise ValueError
        return [float(lam) for lam in np.geomspace(float(low), float(high), int(number))]
    except ValueError:
        wanted = "LOW:HIGH:N with 0 < LOW < HIGH, or numbers"
        raise ValueError(f"--lams must be {wanted}, got {text!r}") from None
