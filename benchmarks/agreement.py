"""tinyreg beside PyTorch, Keras and scikit-learn: how far apart, after 200 steps and in a gradient.

    python -m benchmarks.agreement

Every contender starts from the same parameters and takes the same batches
(tests/support/frameworks.py). A figure is the largest difference of two numbers over the largest
number. All are of float64, but for the two columns of float32: Keras from tinyreg in float32, and
tinyreg in float32 from tinyreg in float64, the yardstick for it. A peer that is not installed is
left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)


from tests.support import frameworks
from tests.support.frameworks import CASES, OPTIMIZERS, Case, largest_difference
from tinyreg.core.layers import ACTIVATIONS
from tinyreg.render.text import text_table


def show(title: str, rows: list[list[str]]) -> None:
    print(f"\n{title}\n")
    print("\n".join(text_table(rows, rule=True)))


def number(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def training(case: Case, installed: set[str]) -> list[str]:
    torch = number(frameworks.torch_difference(case)) if "torch" in case.peers else ""
    keras = ["", ""]
    if {"torch", "keras"} <= installed and "keras" in case.peers:
        keras = [number(frameworks.keras_difference(case, t)) for t in ("float64", "float32")]
    told = f"{case.optimizer}, {case.told}"
    return [told, torch, *keras, number(frameworks.rounding(case))]


def gradients() -> list[list[str]]:
    rows = [
        [f"layer: {name}", number(largest_difference(*pair))]
        for name, pair in frameworks.layer_pairs().items()
    ]
    for kind, names, pairs in (
        ("loss", frameworks.LOSSES, frameworks.loss_pairs),
        ("penalty", frameworks.PENALTIES, frameworks.penalty_pairs),
    ):
        rows += [
            [f"{kind}: {name}", number(largest_difference(*pairs(name)["gradient"]))]
            for name in names
        ]
    for activation in ACTIVATIONS:
        worst = max(
            largest_difference(*frameworks.network_pair(activation, loss, penalty, dropout))
            for loss in frameworks.LOSSES
            for penalty in frameworks.PENALTIES
            for dropout in (False, True)
        )
        rows.append([f"network: {activation}, with each loss and penalty", number(worst)])
    return rows


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    installed = {name for name in ("torch", "keras", "sklearn") if importlib.util.find_spec(name)}
    print(machine_line("torch", "keras", "scikit-learn"))
    if "torch" in installed:
        header = ["", "PyTorch", "Keras", "Keras, float32", "(tinyreg, float32)"]
        show(
            f"parameters after {frameworks.STEPS} steps",
            [header, *(training(case, installed) for case in CASES)],
        )
    if "sklearn" in installed:
        rows = [
            [name, *(number(frameworks.sklearn_difference(name, task)) for task in (False, True))]
            for name in OPTIMIZERS
        ]
        show(
            "parameters after 240 batches of 24, L2 by alpha",
            [["", "MLPClassifier", "MLPRegressor, 3 outputs"], *rows],
        )
    if "torch" in installed:
        show("gradients", [["", "PyTorch"], *gradients()])


if __name__ == "__main__":
    main()
