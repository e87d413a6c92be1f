"""The options that commands share, and what is made of them."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import sys
from argparse import Action, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tinyreg.core.layers import ACTIVATIONS
from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import SGD, Adam
from tinyreg.core.penalties import L1, L2, ElasticNet, Penalty
from tinyreg.datasets.arrays import unnamed
from tinyreg.datasets.digits import load_digits
from tinyreg.datasets.labels import class_of_each, encode_labels, task_of
from tinyreg.datasets.scaling import Scaling
from tinyreg.datasets.tables import Table, read_table
from tinyreg.files import load_npz, replacing
from tinyreg.render.html import picture
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.study.comparison import Comparison
from tinyreg.study.model import Model
from tinyreg.study.path import LambdaPath
from tinyreg.study.report import report
from tinyreg.study.runs import TASKS
from tinyreg.study.store import check_folder
from tinyreg.study.workers import Workers
from tinyreg.validate import Array, check_choice, check_integer

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
FILES = (
    "FILE.csv, FILE.npz (arrays X and y, or a matrix of scipy.sparse.save_npz), "
    "FILE.svm (svmlight, with scikit-learn)"
)
DATA = f"digits or {FILES} (default: digits if they fit)"
TARGET = "column (CSV; default: the last), array (NPZ; y) or, of save_npz, a file of targets"
OF_A_MODEL = ("target", "penalty", "lam", "test_share", "split_seed", "class_weight")

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


def numbers(name: str, text: str, kind: type = float) -> list[Any]:
    """The finite numbers of an option such as --sizes 64,64,10."""
    with suppress(ValueError, OverflowError):
        found = [kind(part) for part in text.split(",")]
        if all(map(math.isfinite, found)):
            return found
    wanted = "integers" if kind is int else "finite numbers"
    raise ValueError(f"{name} must be {wanted} with commas between, got {text!r}")


def penalty(arguments: Namespace, lam: float) -> Penalty | None:
    """What --penalty says, with this λ."""
    kind = check_choice("--penalty", arguments.penalty or "l1", ("none", *PENALTIES))
    return None if kind == "none" else PENALTIES[kind](lam)


def table(arguments: Namespace, data: str, model: Model | None = None) -> Table:
    """The digits or a file; of a file for a model the columns that it takes, and its target."""
    if data != "digits":
        target, columns = (model.target or None, model.columns) if model else (None, None)
        target = target if arguments.target is None else arguments.target
        found = read_table(data, target, columns)
        return found._replace(y=found.y[:, 0]) if found.y.shape[1:] == (1,) else found
    if arguments.target is not None:
        raise ValueError(f"--target goes with a file, not with digits, got {arguments.target}")
    X, y = load_digits()
    return Table(X, y, unnamed(X.shape[1]), "digit")


# Of `compare` and `path`, which train


def add_study_data(add: Add) -> None:
    """What to train on."""
    add("--data", default="digits", metavar="FILE", help=f"digits (default) or {FILES}")
    add("--target", metavar="COLUMN", help=TARGET)
    add("--task", choices=TASKS, help="default: what the target is, where that is sure")
    add("--test-share", type=float, default=0.2, help="share of samples held back (default 0.2)")
    add("--split-seed", type=int, default=0, help="of what is held back (default 0)")
    weights = "balanced, or CLASS=WEIGHT,...: how much samples of a class count (default 1)"
    add("--class-weight", metavar="WEIGHTS", help=weights)


def load(arguments: Namespace) -> tuple[Table, str]:
    """The data of --data, and the task that they are for."""
    data = table(arguments, arguments.data)
    return data, arguments.task or task_of(data.y, f"the target {data.target!r}")


def class_weight(text: str, y: Array) -> str | dict[Any, float]:
    """What --class-weight says: "balanced", or a weight for each class of y that it names."""
    if text == "balanced":
        return text
    classes = {str(label): label for label in class_of_each(y)[0].tolist()}
    pairs = [part.rpartition("=")[::2] for row in csv.reader([text]) for part in row]
    with suppress(KeyError, ValueError):
        weights = {classes[name]: float(weight) for name, weight in pairs}
        if len(weights) == len(pairs) > 0:
            return weights
    wanted = "balanced, or CLASS=WEIGHT with commas between, classes of the target and each once"
    raise ValueError(f"--class-weight must be {wanted}, got {text!r}")


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


def add_workers(add: Add, tasks: str) -> None:
    """--workers."""
    add(
        "--workers",
        type=int,
        default=1,
        help=f"processes for the {tasks} (default 1); best with OMP_NUM_THREADS=1",
    )


def workers(arguments: Namespace) -> AbstractContextManager[Executor | None]:
    """The processes of --workers; None where one is enough, which is this one."""
    n = check_integer("--workers", arguments.workers, least=1)
    return Workers(n) if n > 1 else nullcontext()


def study_settings(arguments: Namespace, y: Array) -> dict[str, Any]:
    """What `tinyreg.compare` and `tinyreg.path` both take; y are all targets."""
    weight = arguments.class_weight
    kind, lr = (Adam, 1e-3) if arguments.optimizer == "adam" else (SGD, 0.1)
    return {
        "methods": arguments.methods.split(","),
        "optimizer": kind(lr if arguments.lr is None else arguments.lr),
        "hidden": [] if arguments.hidden == "0" else numbers("--hidden", arguments.hidden, int),
        "seeds": numbers("--seeds", arguments.seeds, int),
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "class_weight": None if weight is None else class_weight(weight, y),
        "progress": progress,
        **given(arguments, "activation", "dtype"),
    }


def standardised(
    arguments: Namespace, task: str, *parts: Array
) -> tuple[list[Array], Scaling | None, Scaling | None]:
    """X, y, X_other, y_other, … on one scale, and the scaling of X and of y, None if as they were.

    A table's columns come in any unit, and so does a target to regress on.
    """
    if arguments.data == "digits":
        return [*parts], None, None
    of_X, of_y = Scaling.of(parts[0]), None
    if task == "regression":
        of_y = Scaling.of(parts[1], "--task regression: the target")
    scalings = [of_X, of_y] * (len(parts) // 2)
    scaled = [s.apply(part) if s else part for s, part in zip(scalings, parts, strict=True)]
    return scaled, of_X, of_y


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
        shown, note = "", "; for the picture install tinyreg[plot]"
        if find_spec("matplotlib") is not None:
            words = result.plot(out / f"{name}.png", *plot)
            shown, note = picture((out / f"{name}.png").read_bytes(), words), f", {name}.png"
        with replacing(out / "report.html") as file:
            page = report(result.document(), result.settings, shown, arguments.line)
            file.write(page.encode(errors="backslashreplace"))
        print(f"wrote {out / name}.json, report.html{note}", file=sys.stderr)
    print(json.dumps(result.to_dict()) if arguments.json else result)


# Of `check` and `explain`, which take one network


class Raw(NamedTuple):
    """Samples as they stand in a file, and the network with what makes its numbers of them."""

    model: Model
    X: Array
    y: Array
    origin: str | None  # the digits or a file; None for random numbers


def add_objective_options(add: Add, loss: str = "", lam: str = "", target: str = "") -> None:
    """Which network, loss and penalty; the texts say of what else is a default."""
    own = "or the model's own"
    add_network_options(add)
    add("--model", metavar="FILE", help="a saved network in place of a new one")
    add("--penalty", choices=("none", *PENALTIES), help=f"default l1, {own}")
    add("--target", metavar="COLUMN", help=f"{TARGET}, {own}{target}")
    add("--loss", choices=LOSSES, help=f"default softmax{loss}, {own}")
    add("--lam", type=float, help=f"λ (elasticnet: of both parts; default 1e-3{lam}, {own})")


def model(arguments: Namespace) -> Model | None:
    """That of --model; None without it, and where the file holds a network alone."""
    if arguments.model is None:
        return None
    for name in given(arguments, "sizes", "activation", "dtype", "seed"):
        raise ValueError(f"--{name} does not go with --model, which has its own")
    MLP.load(arguments.model)
    return Model.load(arguments.model) if "model" in load_npz(arguments.model, ()) else None


def command_of(model: Model | None) -> dict[str, Any]:
    """The options with which `tinyreg compare` trained a model, and what it read; {} of others."""
    command = model.settings.get("command") if model else None
    known = {*OF_A_MODEL, "data", "rows"}
    return command if isinstance(command, dict) and known <= command.keys() else {}


def objective(arguments: Namespace, model: Model | None, net: MLP | None = None) -> Objective:
    """That of the saved model, of a given network, or of a new one."""
    if net is None and arguments.model is not None:
        net = model.net if model else MLP.load(arguments.model)
    elif net is None:
        own = given(arguments, "activation", "dtype", "seed")
        sizes = "64,64,10" if arguments.sizes is None else arguments.sizes
        net = MLP(numbers("--sizes", sizes, int), **own)
    trained = {"penalty": "l1", "lam": 1e-3} | command_of(model)
    chosen = Namespace(**trained | given(arguments, "penalty", "lam"))
    loss = model.loss if model and arguments.loss is None else LOSSES[arguments.loss or "softmax"]
    return Objective(net, loss, penalty(chosen, chosen.lam))


def raw(arguments: Namespace, objective: Objective, model: Model | None, n: int = 1) -> Raw:
    """All rows of --data, or of the digits if they fit, for an objective's network; else n random.

    A model has its own scaling and classes. For another network the columns are scaled by these
    rows, and so are targets to regress on, but with --no-standardise.
    """
    net, loss, (n_in, *_, n_out) = objective.net, objective.loss, objective.net.sizes
    softmax, squared = (isinstance(loss, L) for L in (SoftmaxCrossEntropy, SquaredError))
    of_digits = command_of(model).get("data", "digits") == "digits" and (n_in, n_out) == (64, 10)
    data = ("digits" if of_digits else None) if arguments.data is None else arguments.data
    if data is None:
        if arguments.target is not None:
            raise ValueError(f"--target goes with --data, got {arguments.target}")
        rng, k = np.random.default_rng(0), n_out if softmax else max(n_out, 2)
        X, y = rng.normal(size=(n, n_in)), rng.integers(0, k, n)
        classes = np.arange(n_out) if softmax or n_out > 1 else None
        return Raw(Model(net, loss, unnamed(n_in), classes), X, y, None)
    X, y, columns, target = table(arguments, data, model)
    if X.shape[1] != n_in:
        other = "" if model or arguments.sizes else f"; --sizes {X.shape[1]},... makes another"
        raise ValueError(
            f"--data must have {n_in} columns for this network, got {X.shape[1]}{other}"
        )
    if model is not None:
        return Raw(dataclasses.replace(model, loss=loss), X, y, data)
    classes, scaling, target_scaling = None, None, None
    if y.ndim == 1 and y.dtype.kind in "iubU":
        if softmax or n_out > 1:
            classes = _classes(y, n_out)
        elif not squared or y.dtype.kind == "U":
            _, y = encode_labels(y=y)
    if classes is None and not softmax and y[0].size != n_out:
        wanted = f"a column for each of the {n_out} outputs of this network"
        raise ValueError(f"the target of --data must have {wanted}, --target has {y[0].size}")
    if data != "digits" and not getattr(arguments, "no_standardise", False):
        scaling = Scaling.of(X)
        target_scaling = Scaling.of(y) if squared and classes is None else None
    return Raw(Model(net, loss, columns, classes, scaling, target_scaling, target), X, y, data)


def _classes(y: Array, n_out: int) -> Array:
    """What the outputs stand for, given all labels."""
    classes, _ = encode_labels(y=y)
    if y.dtype.kind != "U" and classes[0] >= 0 and classes[-1] < n_out:
        return np.arange(n_out)
    if len(classes) != n_out:
        came = f"the target has {len(classes)}"
        raise ValueError(f"--data must have {n_out} classes for this network's outputs, {came}")
    return classes
