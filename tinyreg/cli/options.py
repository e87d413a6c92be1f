"""The options that commands share, and what is made of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from tinyreg.core.layers import ACTIVATIONS
from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.optimizers import SGD, Adam
from tinyreg.core.penalties import L1, L2, ElasticNet, Penalty
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.study.comparison import TASKS

PENALTIES: dict[str, Callable[[float], Penalty]] = {
    "l1": L1,
    "l2": L2,
    "elasticnet": lambda lam: ElasticNet(lam, lam),
    "grouplasso": lambda lam: GroupLasso(lam, axis=1),
}
LOSSES: dict[str, Loss] = {
    "softmax": SoftmaxCrossEntropy(),
    "sigmoid": SigmoidCrossEntropy(),
    "squared": SquaredError(),
}
DTYPES = ("float64", "float32")


class Parser(argparse.ArgumentParser):
    """argparse, with its complaint in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Add: TypeAlias = Callable[..., argparse.Action]


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    example: str,
) -> Add:
    """A command, and what adds options to it."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n  {example}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser.add_argument


# Of several commands


def add_activation(add: Add, **default: str) -> None:
    """--activation."""
    names = ", ".join(ACTIVATIONS)
    help_text = f"{names} (default relu)"
    add("--activation", choices=ACTIVATIONS, metavar="NAME", help=help_text, **default)


def add_lam(add: Add) -> None:
    """--lam of `compare` and `check`."""
    add("--lam", type=float, default=1e-3, help="λ (elasticnet: of both parts; default 1e-3)")


def add_target(add: Add) -> None:
    """--target."""
    add("--target", metavar="COLUMN", help="column (CSV; default: the last) or array (NPZ; y)")


def integers(name: str, text: str) -> list[int]:
    """The numbers of an option such as --sizes 64,64,10."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} must be integers with commas between, got {text!r}") from None


def penalty(arguments: argparse.Namespace, lam: float) -> Penalty | None:
    """What --penalty says, with this λ."""
    return None if arguments.penalty == "none" else PENALTIES[arguments.penalty](lam)


# Of `compare` and `path`, which train


def add_data_options(add: Add) -> None:
    """What to train on."""
    add("--data", default="digits", metavar="FILE", help="digits (default), FILE.csv or FILE.npz")
    add_target(add)
    add("--task", choices=TASKS, help="default: regression for fractional targets")
    add("--test-share", type=float, default=0.2, help="share of samples held back (default 0.2)")


def add_network_options(add: Add) -> None:
    """What to train."""
    add("--hidden", default="64", metavar="N,...", help="hidden units (default 64; 0 for none)")
    add_activation(add, default="relu")
    add("--dtype", choices=DTYPES, default="float64", help="default float64")
    groups = "in grouplasso each input or unit with its outgoing weights is a group"
    add("--penalty", choices=PENALTIES, default="l1", help=f"default l1; {groups}")


def add_methods(add: Add, methods: Sequence[str], default: str) -> None:
    """--methods, of those that the command knows."""
    names = f"of {','.join(methods)} (default {default})"
    add("--methods", default=default, metavar="NAME,...", help=names)


def add_training_options(add: Add) -> None:
    """How to train."""
    add("--optimizer", choices=("adam", "sgd"), default="adam", help="default adam")
    add("--lr", type=float, help="learning rate (default: 1e-3 for adam, 0.1 for sgd)")
    add("--batch-size", type=int, default=32, help="default 32")
    add("--seeds", default="0,1,2", metavar="N,...", help="one run each (default 0,1,2)")


def training_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the network and of training as arguments of `compare` and `path`."""
    kind, lr = (Adam, 1e-3) if arguments.optimizer == "adam" else (SGD, 0.1)
    return {
        "optimizer": kind(lr if arguments.lr is None else arguments.lr),
        "hidden": [] if arguments.hidden == "0" else integers("--hidden", arguments.hidden),
        "seeds": integers("--seeds", arguments.seeds),
        "activation": arguments.activation,
        "batch_size": arguments.batch_size,
        "dtype": arguments.dtype,
    }


# Of `check` and `explain`, which take one network


def add_objective_options(add: Add) -> None:
    """Which network, new or saved, with which penalty."""
    add_activation(add)
    add("--dtype", choices=DTYPES, help="default float64")
    add("--model", metavar="FILE", help="a saved network in place of a new one")
    add("--penalty", choices=("none", *PENALTIES), default="l1", help="default l1")
    add_target(add)


def add_data(add: Add) -> None:
    """--data, which `check` and `explain` can do without."""
    add("--data", metavar="FILE", help="digits, FILE.csv or FILE.npz (default: digits if they fit)")


def network(arguments: argparse.Namespace) -> MLP:
    """The saved network, or a new one."""
    seed = getattr(arguments, "seed", None)  # which `tinyreg check` does not ask for
    if arguments.model is None:
        sizes = integers("--sizes", arguments.sizes or "64,64,10")
        activation, dtype = arguments.activation or "relu", arguments.dtype or "float64"
        return MLP(sizes, activation, dtype, 0 if seed is None else seed)
    for name in ("sizes", "activation", "dtype", "seed"):
        if getattr(arguments, name, None) is not None:
            raise ValueError(f"--{name} does not go with --model, which has its own")
    return MLP.load(arguments.model)
