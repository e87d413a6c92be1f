"""The options that commands share, and what is made of them."""

from __future__ import annotations

import json
import sys
from argparse import Action, Namespace
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tinyreg.core.layers import ACTIVATIONS
from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import SGD, Adam
from tinyreg.core.penalties import L1, L2, ElasticNet, Penalty
from tinyreg.datasets.digits import load_digits
from tinyreg.datasets.labels import encode_labels
from tinyreg.datasets.scaling import standardise
from tinyreg.datasets.tables import load_table
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.study.comparison import TASKS, Comparison
from tinyreg.study.path import LambdaPath
from tinyreg.study.store import check_folder
from tinyreg.validate import Array

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
DATA = "digits, FILE.csv or FILE.npz (default: digits if they fit)"
TARGET = "column (CSV; default: the last) or array (NPZ; y)"

Add: TypeAlias = Callable[..., Action]


def add_network_options(add: Add) -> None:
    """--activation and --dtype; None leaves the default to what takes them."""
    names = f"{', '.join(ACTIVATIONS)} (default relu)"
    add("--activation", choices=ACTIVATIONS, metavar="NAME", help=names)
    add("--dtype", choices=("float64", "float32"), help="default float64")


def given(arguments: Namespace, *names: str) -> dict[str, Any]:
    """Those of these options that the command has and that were given."""
    values = {name: getattr(arguments, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def integers(name: str, text: str) -> list[int]:
    """The numbers of an option such as --sizes 64,64,10."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} must be integers with commas between, got {text!r}") from None


def penalty(arguments: Namespace, lam: float) -> Penalty | None:
    """What --penalty says, with this λ."""
    return None if arguments.penalty == "none" else PENALTIES[arguments.penalty](lam)


def load(data: str, target: str | None, task: str | None = None) -> tuple[Array, Array, str]:
    """Features, targets and the task that they are for."""
    if data == "digits" and target is not None:
        raise ValueError(f"--target goes with a file, not with digits, got {target}")
    X, y = load_digits() if data == "digits" else load_table(data, target)
    task = task or ("regression" if y.dtype.kind == "f" else "classification")
    if task == "regression" and y.dtype.kind == "U":
        raise ValueError(f"--task regression needs numbers in the target, got text such as {y[0]}")
    return X, y, task


# Of `compare` and `path`, which train


def add_study_data(add: Add) -> None:
    """What to train on."""
    add("--data", default="digits", metavar="FILE", help="digits (default), FILE.csv or FILE.npz")
    add("--target", metavar="COLUMN", help=TARGET)
    add("--task", choices=TASKS, help="default: regression for fractional targets")
    add("--test-share", type=float, default=0.2, help="share of samples held back (default 0.2)")


def add_study_network(add: Add) -> None:
    """What to train."""
    add("--hidden", default="64", metavar="N,...", help="hidden units (default 64; 0 for none)")
    add_network_options(add)
    groups = "in grouplasso each input or unit with its outgoing weights is a group"
    add("--penalty", choices=PENALTIES, default="l1", help=f"default l1; {groups}")


def add_training(add: Add, methods: Sequence[str], default: str) -> None:
    """How to train: by these methods, or by the default ones."""
    names = f"of {','.join(methods)} (default {default})"
    add("--methods", default=default, metavar="NAME,...", help=names)
    add("--optimizer", choices=("adam", "sgd"), default="adam", help="default adam")
    add("--lr", type=float, help="learning rate (default: 1e-3 for adam, 0.1 for sgd)")
    add("--batch-size", type=int, default=32, help="default 32")
    add("--seeds", default="0,1,2", metavar="N,...", help="one run each (default 0,1,2)")


def add_output(add: Add, name: str, more: str = "") -> None:
    """--out, --fresh and --json."""
    kept = "the same command goes on from the finished runs in DIR/runs"
    add("--out", metavar="DIR", help=f"write {name}.json, {name}.png{more} there; {kept}")
    add("--fresh", action="store_true", help="begin anew, whatever DIR/runs holds")
    add("--json", action="store_true", help="print the JSON in place of the table")


def study_settings(arguments: Namespace) -> dict[str, Any]:
    """What `tinyreg.compare` and `tinyreg.path` both take."""
    kind, lr = (Adam, 1e-3) if arguments.optimizer == "adam" else (SGD, 0.1)
    return {
        "methods": arguments.methods.split(","),
        "optimizer": kind(lr if arguments.lr is None else arguments.lr),
        "hidden": [] if arguments.hidden == "0" else integers("--hidden", arguments.hidden),
        "seeds": integers("--seeds", arguments.seeds),
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "progress": progress,
        **given(arguments, "activation", "dtype"),
    }


def standardised(arguments: Namespace, task: str, *parts: Array) -> list[Array]:
    """X, y, X_other, y_other, …: a table's columns come in any unit, a target to regress on too."""
    arrays = list(parts)
    if arguments.data != "digits":
        arrays[::2] = standardise(*parts[::2])
        if task == "regression":
            arrays[1::2] = standardise(*parts[1::2])
    return arrays


def folder(arguments: Namespace) -> Path | None:
    """The folder of --out, made before any work."""
    if arguments.out is not None:
        return check_folder("--out", arguments.out)
    if arguments.fresh:
        raise ValueError("--fresh goes with --out")
    return None


def progress(text: str) -> None:
    """A line on standard error that the next one overwrites; nothing where that is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\r", file=sys.stderr, flush=True)


def finish(
    arguments: Namespace, result: Comparison | LambdaPath, out: Path | None, name: str, *plot: Any
) -> None:
    """Write the files, then print the result: a reader who hangs up early has them all the same."""
    result.settings |= {"data": arguments.data, "standardised": arguments.data != "digits"}
    progress("")
    if out is not None:
        result.to_json(out / f"{name}.json")
        if find_spec("matplotlib") is None:
            note = f"wrote {out / name}.json; for the picture install tinyreg[plot]"
        else:
            result.plot(out / f"{name}.png", *plot)
            note = f"wrote {out / name}.json and {out / name}.png"
        print(note, file=sys.stderr)
    print(json.dumps(result.to_dict()) if arguments.json else result)


# Of `check` and `explain`, which take one network


def add_objective_options(add: Add, loss: str = "", lam: str = "") -> None:
    """Which network, loss and penalty; the texts say of what else is a default."""
    add_network_options(add)
    add("--model", metavar="FILE", help="a saved network in place of a new one")
    add("--penalty", choices=("none", *PENALTIES), default="l1", help="default l1")
    add("--target", metavar="COLUMN", help=TARGET)
    add("--loss", choices=LOSSES, help=f"default softmax{loss}")
    add("--lam", type=float, help=f"λ (elasticnet: of both parts; default 1e-3{lam})")


def objective(arguments: Namespace) -> Objective:
    """That of the saved network, or of a new one."""
    own = given(arguments, "activation", "dtype", "seed")
    if arguments.model is None:
        net = MLP(integers("--sizes", arguments.sizes or "64,64,10"), **own)
    else:
        for name in given(arguments, "sizes", *own):
            raise ValueError(f"--{name} does not go with --model, which has its own")
        net = MLP.load(arguments.model)
    lam = 1e-3 if arguments.lam is None else arguments.lam
    return Objective(net, LOSSES[arguments.loss or "softmax"], penalty(arguments, lam))


def samples(
    arguments: Namespace, objective: Objective, n: int | None = None
) -> tuple[Array, Array, str | None]:
    """Samples that fit the network, targets as the loss takes them, and where they are from.

    The first n, or all; without data n random ones, or one, from nowhere.
    """
    n_in, n_out = objective.net.sizes[0], objective.net.sizes[-1]
    labels = isinstance(objective.loss, SoftmaxCrossEntropy)
    data = arguments.data or ("digits" if (n_in, n_out) == (64, 10) else None)
    if data is None:
        if arguments.target is not None:
            raise ValueError(f"--target goes with --data, got {arguments.target}")
        n, rng = n or 1, np.random.default_rng(0)
        X: Array = rng.normal(size=(n, n_in))
        y: Array = rng.integers(0, n_out if labels else max(n_out, 2), n)
    else:
        X, y, task = load(data, arguments.target)
        if task == "classification":
            _, y = encode_labels(y=y)
        if data != "digits":
            (X,) = standardise(X)
        X, y = X[:n], y[:n]
    if not labels and y.dtype.kind == "i" and n_out > 1:
        y = np.eye(max(n_out, y.max() + 1))[y]  # a yes-or-no column for each class
    return X, y, data
