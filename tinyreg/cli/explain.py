"""`tinyreg explain`: one pass forward and one back, written out."""

from __future__ import annotations

import json
from argparse import Namespace

from tinyreg.cli import options
from tinyreg.core.objective import Objective
from tinyreg.explain.explanation import explain, hand_example
from tinyreg.validate import Array, check_integer

SUMMARY = "write one forward and one backward pass out, step by step"
DESCRIPTION = (
    "Write one forward and one backward pass of a network out for a person: formulas, shapes "
    "and numbers, each gradient beside its central difference; then the penalty weight by "
    "weight, and a few steps by subgradient and by prox. Without --sizes, --model and --data: "
    "a 2-2-2 network that can be worked by hand."
)
EXAMPLE = "tinyreg explain --sizes 3,2,2 --activation tanh --penalty elasticnet --lam 0.5"


def add_options(add: options.Add) -> None:
    """Its options."""
    add("--sizes", metavar="N,...", help="units by layer, of a new network (64,64,10 with --data)")
    by_hand = "for the one worked by hand"
    options.add_objective_options(add, f"; squared {by_hand}", f"; 0.5 {by_hand}")
    add("--seed", type=int, help="of a new network's weights (default 0)")
    add("--data", metavar="FILE", help=options.DATA)
    add("--row", type=int, default=0, help="the sample, counted from 0 (default 0)")
    add("--lr", type=float, default=0.1, help="η of the prox and of the steps (default 0.1)")
    add("--steps", type=int, default=6, help="steps by subgradient and by prox (default 6)")
    add("--format", choices=("text", "markdown", "latex"), default="text", help="default text")
    add("--json", action="store_true", help="print the JSON in place of the text")


def run(arguments: Namespace) -> int:
    """Print the explanation; 0."""
    if arguments.sizes is arguments.model is arguments.data is None:
        objective, X, y = _by_hand(arguments)
        drawn = "made to be worked by hand"
    else:
        objective = options.objective(arguments)
        X, y, origin = options.samples(arguments, objective)
        drawn = f"row {arguments.row} of {origin}" if origin else "random normal numbers"
    row = check_integer("--row", arguments.row, least=0)
    if row >= len(X):
        raise ValueError(f"--row must be below {len(X)}, the number of samples, got {row}")
    X, y = X[row : row + 1], y[row : row + 1]
    explanation = explain(objective, X, y, lr=arguments.lr, steps=arguments.steps)
    explanation.sections[0].pieces.append(f"The sample: {drawn}.".replace("`", "'"))
    if arguments.json:
        print(json.dumps(explanation.to_dict()))
    else:
        print(getattr(explanation, arguments.format)(), end="")
    return 0


def _by_hand(arguments: Namespace) -> tuple[Objective, Array, Array]:
    for name in options.given(arguments, "dtype", "seed", "target"):
        raise ValueError(f"--{name} goes with --sizes, --model or --data")
    loss = options.LOSSES[arguments.loss or "squared"]
    penalty = options.penalty(arguments, 0.5 if arguments.lam is None else arguments.lam)
    return hand_example(loss=loss, penalty=penalty, **options.given(arguments, "activation"))
