"""`tinyreg explain`: one pass forward and one back, written out."""

from __future__ import annotations

import json
import math
from argparse import Namespace

import numpy as np

from tinyreg.cli import options
from tinyreg.core.losses import SoftmaxCrossEntropy
from tinyreg.core.objective import Objective
from tinyreg.explain.explanation import explain, hand_example
from tinyreg.explain.sample import prepared
from tinyreg.explain.weights import read_network
from tinyreg.study.model import Model
from tinyreg.validate import Array, check_integer, named

SUMMARY = "write one forward and one backward pass out, step by step"
DESCRIPTION = """\
Write one forward and one backward pass of a network out for a person: formulas, shapes and
numbers, each gradient beside its central difference; then the penalty weight by weight, and a
few steps by subgradient and by prox. Without --sizes, --weights, --model and --data: a 2-2-2
network that can be worked by hand.

The numbers can be your own: --x 1,2 --target 0.5 is a sample, with a number for each output, or
the class with the softmax loss. --weights takes an NPZ file with arrays W1, b1, W2, b2, ... or
lines such as

  W1 = 0.1 -1; 0.9 0.25    # a row for each input, a column for each unit
  b1 = 0.1 0               # zeros if left out
"""
EXAMPLE = "tinyreg explain --sizes 3,2,1 --x 1,0,2 --target 0.5 --activation tanh --lam 0.5"


def add_options(add: options.Add) -> None:
    """Its options."""
    add("--sizes", metavar="N,...", help="units by layer, of a new network (64,64,10 with --data)")
    add("--weights", metavar="FILE", help="weights and biases of a network of your own, see above")
    squared = "; squared with --x, and for the one worked by hand"
    options.add_objective_options(add, squared, "; 0.5 for the one worked by hand")
    add("--seed", type=int, help="of a new network's weights (default 0)")
    add("--x", metavar="NUMBERS", help="a sample of your own, with its --target, see above")
    add("--data", metavar="FILE", help=options.DATA)
    add("--row", type=int, default=0, help="the sample, counted from 0 (default 0)")
    add("--no-standardise", action="store_true", help="take the columns of --data as they stand")
    add("--lr", type=float, default=0.1, help="η of the prox and of the steps (default 0.1)")
    add("--steps", type=int, default=6, help="steps by subgradient and by prox (default 6)")
    add("--format", choices=("text", "markdown", "latex"), default="text", help="default text")
    add("--json", action="store_true", help="print the JSON in place of the text")


def run(arguments: Namespace) -> int:
    """Print the explanation; 0."""
    _refuse_what_does_not_go_together(arguments)
    row, model = check_integer("--row", arguments.row, least=0), options.model(arguments)
    if arguments.sizes is arguments.weights is arguments.model is arguments.data is None:
        objective, raw, drawn = _by_hand(arguments)
    else:
        objective, raw, drawn = _from_options(arguments, model)
    if row >= raw.X.shape[0]:
        wanted = f"below {raw.X.shape[0]}, the number of samples"
        raise ValueError(f"--row must be {wanted}, got {row}")
    X, y = raw.X[row : row + 1], raw.y[row : row + 1]
    settings = {"lr": arguments.lr, "steps": arguments.steps}
    if raw.origin in (None, "digits"):
        explanation = explain(objective, *prepared(raw.model, X, y), **settings)
    else:
        explanation = explain(objective, X, y, **settings, model=raw.model)
    explanation.sections[0].pieces.append(f"The sample: {drawn}.".replace("`", "'"))
    if arguments.json:
        print(json.dumps(explanation.to_dict()))
    else:
        print(getattr(explanation, arguments.format)(), end="")
    return 0


def _refuse_what_does_not_go_together(arguments: Namespace) -> None:
    if arguments.weights is not None:
        for name in options.given(arguments, "sizes", "model", "seed"):
            raise ValueError(f"--{name} does not go with --weights")
    if arguments.x is not None and arguments.data is not None:
        raise ValueError("--x does not go with --data")
    if arguments.x is not None and arguments.target is None:
        raise ValueError("--x goes with --target, what the outputs should be")
    if arguments.no_standardise and arguments.data in (None, "digits"):
        raise ValueError("--no-standardise goes with --data and a file")


def _by_hand(arguments: Namespace) -> tuple[Objective, options.Raw, str]:
    for name in options.given(arguments, "dtype", "seed", *["target"] * (arguments.x is None)):
        raise ValueError(f"--{name} goes with --sizes, --weights, --model or --data")
    loss = options.LOSSES[arguments.loss or "squared"]
    lam = 0.5 if arguments.lam is None else arguments.lam
    settings = options.given(arguments, "activation")
    objective, X, y = hand_example(loss=loss, penalty=options.penalty(arguments, lam), **settings)
    if arguments.x is not None:
        return objective, *_own_sample(arguments, objective, None)
    raw = options.Raw(Model(objective.net, loss, ["x0", "x1"]), X, y, None)
    return objective, raw, "made to be worked by hand"


def _from_options(arguments: Namespace, model: Model | None) -> tuple[Objective, options.Raw, str]:
    """The objective, the samples, and where the row is from."""
    if arguments.no_standardise and model is not None:
        raise ValueError("--no-standardise does not go with a model, which has its own scaling")
    if arguments.x is not None and model is None:
        arguments.loss = arguments.loss or "squared"
    own = options.given(arguments, "activation", "dtype")
    net = None if arguments.weights is None else read_network(arguments.weights, **own)
    objective = options.objective(arguments, model, net)
    if arguments.x is not None:
        return objective, *_own_sample(arguments, objective, model)
    raw = options.raw(arguments, objective, model)
    drawn = f"row {arguments.row} of {raw.origin}" if raw.origin else "random normal numbers"
    if raw.origin in (None, "digits"):
        return objective, raw, drawn
    if raw.model.scaling is None:
        drawn += ", as it stands"
    elif model is None:
        drawn += f", scaled by the columns of all its {raw.X.shape[0]} rows"
    else:
        drawn += ", scaled as the data that the model was trained on"
    return objective, raw, drawn


def _own_sample(
    arguments: Namespace, objective: Objective, model: Model | None
) -> tuple[options.Raw, str]:
    """The sample of --x and --target, in the units of the model's data where there is a model."""
    net, x = objective.net, _numbers("--x", arguments.x)
    if len(x) != net.sizes[0]:
        raise ValueError(f"--x must have {net.sizes[0]} numbers, one for each input, got {len(x)}")
    y = _target(arguments.target, objective, model)
    columns = [f"x{i}" for i in range(len(x))]
    whose, origin = (Model(net, objective.loss, columns), None) if model is None else (model, "--x")
    return options.Raw(whose, np.array([x]), y, origin), "given by --x and --target"


def _target(text: str, objective: Objective, model: Model | None) -> Array:
    """One class, (1,), or a number for each output, (1, K)."""
    n_out, labels = objective.net.sizes[-1], isinstance(objective.loss, SoftmaxCrossEntropy)
    classes = None if model is None or n_out == 1 else model.classes
    names = [] if classes is None else [str(name) for name in classes.tolist()]
    if classes is not None and text in names:
        return classes[[names.index(text)]]
    if labels and "," not in text:
        if names:
            raise ValueError(f"--target must be one of {', '.join(names)}, got {text!r}")
        y = np.array(options.integers("--target", text))
    else:
        y = np.array([_numbers("--target", text)])
        if y.shape[1] != n_out:
            wanted = f"{n_out} numbers, one for each output (or a class, with --loss softmax)"
            raise ValueError(f"--target must have {wanted}, got {y.shape[1]}")
    with named("--target"):
        objective.loss.check_targets(y, 1, n_out, np.float64)
    return y


def _numbers(name: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} must be finite numbers with commas between, got {text!r}")
    return numbers
