"""`tinyreg explain`: one pass forward and one back, written out."""

from __future__ import annotations

import argparse
import json

from tinyreg.cli import data, options
from tinyreg.core.objective import Objective
from tinyreg.explain.explanation import explain
from tinyreg.explain.hand import hand_example
from tinyreg.validate import Array, check_integer


def add_to(commands: options.Commands) -> None:
    """Its options."""
    add = options.add_command(
        commands,
        "explain",
        run,
        "write one forward and one backward pass out, step by step",
        "Write one forward and one backward pass of a network out for a person: formulas, shapes "
        "and numbers, each gradient beside its central difference; then the penalty weight by "
        "weight, and a few steps by subgradient and by prox. Without --sizes, --model and --data: "
        "a 2-2-2 network that can be worked by hand.",
        "tinyreg explain --sizes 3,2,2 --activation tanh --penalty elasticnet --lam 0.5",
    )
    add("--sizes", metavar="N,...", help="units by layer, of a new network (64,64,10 with --data)")
    options.add_objective_options(add)
    loss = "default softmax; squared for the one worked by hand"
    add("--loss", choices=options.LOSSES, help=loss)
    lam = "λ (elasticnet: of both parts; default 1e-3; 0.5 for the one worked by hand)"
    add("--lam", type=float, help=lam)
    add("--seed", type=int, help="of a new network's weights (default 0)")
    options.add_data(add)
    add("--row", type=int, default=0, help="the sample, counted from 0 (default 0)")
    add("--lr", type=float, default=0.1, help="η of the prox and of the steps (default 0.1)")
    add("--steps", type=int, default=6, help="steps by subgradient and by prox (default 6)")
    add("--format", choices=("text", "markdown", "latex"), default="text", help="default text")
    add("--json", action="store_true", help="print the JSON in place of the text")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; 0."""
    objective, X, y, drawn = _example(arguments)
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


def _example(arguments: argparse.Namespace) -> tuple[Objective, Array, Array, str]:
    """An objective, samples for it, and where they are from."""
    by_hand = arguments.sizes is arguments.model is arguments.data is None
    lam = arguments.lam if arguments.lam is not None else 0.5 if by_hand else 1e-3
    penalty = options.penalty(arguments, lam)
    loss = options.LOSSES[arguments.loss or ("squared" if by_hand else "softmax")]
    if by_hand:
        for name in ("dtype", "seed", "target"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"--{name} goes with --sizes, --model or --data")
        example = hand_example(arguments.activation or "relu", loss, penalty)
        return *example, "made to be worked by hand"
    net = options.network(arguments)
    X, y, origin = data.samples(arguments, net, loss)
    drawn = f"row {arguments.row} of {origin}" if origin else "random normal numbers"
    return Objective(net, loss, penalty), X, y, drawn
