"""`tinyreg explain`: one pass forward and one back, written out."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np

from tinyreg.cli import options
from tinyreg.core.losses import SoftmaxCrossEntropy
from tinyreg.core.objective import Objective
from tinyreg.datasets.arrays import unnamed
from tinyreg.explain.explanation import explain, hand_example
from tinyreg.explain.sample import prepared
from tinyreg.explain.weights import read_network
from tinyreg.files import replacing
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
    of_x = "; with --x the class, or a number for each output"
    options.add_objective_options(add, squared, "; 0.5 for the one worked by hand", of_x)
    add("--seed", type=int, help="of a new network's weights (default 0)")
    add("--x", metavar="NUMBERS", help="a sample of your own, with its --target, see above")
    add("--data", metavar="FILE", help=options.DATA)
    add("--row", type=int, default=0, help="the sample, counted from 0 (default 0)")
    add("--no-standardise", action="store_true", help="take the columns of --data as they stand")
    add("--lr", type=float, default=0.1, help="η of the prox and of the steps (default 0.1)")
    add("--steps", type=int, default=6, help="steps by subgradient and by prox (default 6)")
    formats = ("text", "markdown", "latex", "html")
    add("--format", choices=formats, default="text", help="html is a page; default text")
    add("--json", action="store_true", help="print the JSON in place of the text")
    add("--out", dest="file", metavar="FILE", help="write it there in place of printing")


def run(arguments: Namespace) -> int:
    """Print or write the explanation; 0."""
    by_hand = arguments.sizes is arguments.weights is arguments.model is arguments.data is None
    _refuse_what_does_not_go_together(arguments, by_hand)
    row, model = check_integer("--row", arguments.row, least=0), options.model(arguments)
    objective = _objective(arguments, model, by_hand)
    raw, drawn = _samples(arguments, objective, model, by_hand)
    if row >= raw.X.shape[0]:
        wanted = f"below {raw.X.shape[0]}, the number of samples"
        raise ValueError(f"--row must be {wanted}, got {row}")
    X, y, whose = raw.X[row : row + 1], raw.y[row : row + 1], {"model": raw.model}
    if raw.origin in (None, "digits"):
        (X, y), whose = prepared(raw.model, X, y), {}
    with np.errstate(over="ignore", invalid="ignore"):  # an error says so, in one line
        explanation = explain(objective, X, y, lr=arguments.lr, steps=arguments.steps, **whose)
    explanation.sections[0].pieces.append(f"The sample: {drawn}.".replace("`", "'"))
    if arguments.json:
        told = json.dumps(explanation.to_dict()) + "\n"
    else:
        told = getattr(explanation, arguments.format)()
    if arguments.file is None:
        print(told, end="")
    else:
        with replacing(arguments.file) as file:
            file.write(told.encode(errors="backslashreplace"))
    return 0


def _refuse_what_does_not_go_together(arguments: Namespace, by_hand: bool) -> None:
    if arguments.weights is not None:
        for name in options.given(arguments, "sizes", "model", "seed"):
            raise ValueError(f"--{name} does not go with --weights")
    if arguments.x is not None and arguments.data is not None:
        raise ValueError("--x does not go with --data")
    if arguments.x is not None and arguments.target is None:
        raise ValueError("--x goes with --target, what the outputs should be")
    if arguments.no_standardise and arguments.data in (None, "digits"):
        raise ValueError("--no-standardise goes with --data and a file")
    if arguments.target is not None and arguments.x is None and arguments.data in (None, "digits"):
        told = "--x, a sample of your own, or with --data FILE and --sizes (or --model)"
        raise ValueError(f"--target goes with {told}")
    for name in options.given(arguments, "dtype", "seed") if by_hand else ():
        raise ValueError(f"--{name} goes with --sizes, --weights, --model or --data")


def _objective(arguments: Namespace, model: Model | None, by_hand: bool) -> Objective:
    if arguments.no_standardise and model is not None:
        raise ValueError("--no-standardise does not go with a model, which has its own scaling")
    net, own = None, options.given(arguments, "activation", "dtype")
    if by_hand:
        net = hand_example(**own)[0].net
        arguments.lam = 0.5 if arguments.lam is None else arguments.lam
    elif arguments.weights is not None:
        net = read_network(arguments.weights, **own)
    if by_hand or (arguments.x is not None and model is None):
        arguments.loss = arguments.loss or "squared"
    return options.objective(arguments, model, net)


def _samples(
    arguments: Namespace, objective: Objective, model: Model | None, by_hand: bool
) -> tuple[options.Raw, str]:
    """The rows, and where the one that is shown is from."""
    if arguments.x is not None:
        return _own_sample(arguments, objective, model), "given by --x and --target"
    if by_hand:
        bare = Model(objective.net, objective.loss, unnamed(2))
        return options.Raw(bare, *hand_example()[1:], None), "made to be worked by hand"
    raw = options.raw(arguments, objective, model)
    drawn = f"row {arguments.row} of {raw.origin}" if raw.origin else "random normal numbers"
    if raw.origin in (None, "digits"):
        return raw, drawn
    how = f"scaled by the columns of all its {raw.X.shape[0]} rows"
    if model is not None:
        how = "scaled as the data that the model was trained on"
    return raw, f"{drawn}, {how if raw.model.scaling else 'as it stands'}"


def _own_sample(arguments: Namespace, objective: Objective, model: Model | None) -> options.Raw:
    """The sample of --x and --target, in the units of the model's data where there is a model."""
    net, x = objective.net, options.numbers("--x", arguments.x)
    if len(x) != net.sizes[0]:
        raise ValueError(f"--x must have {net.sizes[0]} numbers, one for each input, got {len(x)}")
    y = _target(arguments.target, objective, model)
    bare = Model(net, objective.loss, unnamed(len(x)))
    return options.Raw(model or bare, np.array([x]), y, "--x" if model else None)


def _target(text: str, objective: Objective, model: Model | None) -> Array:
    """One class, (1,), or a number for each output, (1, K)."""
    n_out = objective.net.sizes[-1]
    classes = model.classes if model is not None and n_out > 1 else None
    names = [] if classes is None else [str(name) for name in classes.tolist()]
    if classes is not None and text in names:
        return classes[[names.index(text)]]
    if isinstance(objective.loss, SoftmaxCrossEntropy) and "," not in text:
        if names:
            raise ValueError(f"--target must be one of {', '.join(names)}, got {text!r}")
        y = np.array(options.numbers("--target", text, int))
    else:
        y = np.array([options.numbers("--target", text)])
        if y.shape[1] != n_out:
            wanted = f"{n_out} numbers, one for each output (or a class, with --loss softmax)"
            raise ValueError(f"--target must have {wanted}, got {y.shape[1]}")
    with named("--target"):
        objective.loss.check_targets(y, 1, n_out, np.float64)
    return y
