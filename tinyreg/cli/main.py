"""The command line: `tinyreg compare`, `tinyreg check`, `tinyreg explain` and `tinyreg path`.

Results go to standard output, progress and errors to standard error. The exit status is 0; 1 where
a gradient failed its check or a walk broke off; 2 where an argument or a file is not as it should
be, or training diverged (one line, no traceback).
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np

import tinyreg
from tinyreg.checks.objective import check_gradients
from tinyreg.core.layers import ACTIVATIONS
from tinyreg.core.losses import (
    Loss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
    encode_labels,
)
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import SGD, Adam, Optimizer
from tinyreg.core.penalties import L1, L2, ElasticNet, GroupLasso, Penalty
from tinyreg.core.training import METHODS
from tinyreg.datasets.tables import load_digits, load_table, standardise, train_test_split
from tinyreg.errors import DivergenceError
from tinyreg.explain.explanation import explain, hand_example
from tinyreg.study.comparison import COMPARED, TASKS, Comparison, compare
from tinyreg.study.path import LambdaPath, path
from tinyreg.validate import Array, check_integer

PENALTIES = ("l1", "l2", "elasticnet", "grouplasso")
LOSSES: dict[str, Loss] = {
    "softmax": SoftmaxCrossEntropy(),
    "sigmoid": SigmoidCrossEntropy(),
    "squared": SquaredError(),
}


class Parser(argparse.ArgumentParser):
    """argparse, with its complaint in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        sys.argv[1:] if left out.

    Returns
    -------
    int
        As the module's docstring has it.

    Raises
    ------
    SystemExit
        From argparse: after --help or --version, or where the arguments are no such command.

    Examples
    --------
    >>> main(["compare", "--epochs", "0"])  # standard error says what is wrong
    2
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks λ shows ? in its place
            stream.reconfigure(errors="replace")
    parser = Parser(prog="tinyreg", description=(tinyreg.__doc__ or "").partition("\n")[0])
    parser.add_argument("--version", action="version", version=f"tinyreg {tinyreg.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_check(commands)
    _add_explain(commands)
    _add_path(commands)
    arguments = parser.parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader (head, say) has seen enough
        _discard_output()
        return 0
    except (ValueError, TypeError, OSError, MemoryError, DivergenceError) as e:
        if isinstance(e, OSError) and e.errno == errno.ENOSPC:
            _discard_output()
        message = " ".join(str(e).split())
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{clear}tinyreg {arguments.command}: error: {message}", file=sys.stderr)
        return 2


def _discard_output() -> None:
    """Keep Python from complaining, at exit, of what it could not write to standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _add_compare(commands: argparse._SubParsersAction[Parser]) -> None:
    add = _command(
        commands,
        "compare",
        run_compare,
        "train with no penalty, by subgradient and by prox, and hold the results side by side",
        "Train the same network from the same start on the same batches by several methods, and "
        "report objective, scores, zeros and stationarity of each.",
        "tinyreg compare --lam 3e-3 --methods subgradient,proximal,naive --out comparison",
    )
    _add_data_options(add)
    _add_network_options(add)
    add("--lam", type=float, default=1e-3, help="λ (elasticnet: of both parts; default 1e-3)")
    names = ",".join(COMPARED)
    default = "none,subgradient,proximal"
    add("--methods", default=default, metavar="NAME,...", help=f"of {names} (default {default})")
    _add_training_options(add)
    add("--epochs", type=int, default=60, help="default 60")
    add(
        "--convergence",
        type=int,
        default=200,
        metavar="STEPS",
        help="also run the full-batch solvers for so many steps (default 200; 0 for none)",
    )
    _add_output_options(add, "comparison", " and the first seed's networks")


def _add_path(commands: argparse._SubParsersAction[Parser]) -> None:
    add = _command(
        commands,
        "path",
        run_path,
        "walk up λ from dense to sparse: what does a zero cost?",
        "Train along an ascending list of λ, each from where the last one ended, and report score "
        "against sparsity for each method.",
        "tinyreg path --lams 1e-4:1e-1:13 --seeds 0,1,2,3 --workers 2 --out path",
    )
    _add_data_options(add)
    add("--validation-share", type=float, default=0.2, help="of the training part (default 0.2)")
    _add_network_options(add)
    add(
        "--lams",
        default="1e-5:1e-1:17",
        metavar="LOW:HIGH:N",
        help="N values from LOW to HIGH, or a list with commas (default 1e-5:1e-1:17)",
    )
    names = ",".join(METHODS)
    default = "subgradient,proximal"
    add("--methods", default=default, metavar="NAME,...", help=f"of {names} (default {default})")
    _add_training_options(add)
    add("--first-epochs", type=int, default=40, help="at the first λ (default 40)")
    add("--epochs", type=int, default=20, help="at each later λ (default 20)")
    add("--workers", type=int, default=1, help="processes to spread the walks over (default 1)")
    _add_output_options(add, "path")


def _add_check(commands: argparse._SubParsersAction[Parser]) -> None:
    add = _command(
        commands,
        "check",
        run_check,
        "check every gradient of a network against its own differences",
        "Check every coordinate of the gradient of a network, new or saved, and say where and why "
        "one is wrong. The exit status is 1 if one is.",
        "tinyreg check --sizes 64,32,10 --activation gelu --penalty elasticnet",
    )
    add("--sizes", metavar="N,...", help="units by layer (default 64,64,10)")
    _add_objective_options(add)
    add("--loss", choices=LOSSES, default="softmax", help="default softmax")
    add("--lam", type=float, default=1e-3, help="λ (elasticnet: of both parts; default 1e-3)")
    add("--data", metavar="FILE", help="digits, FILE.csv or FILE.npz (default: digits if they fit)")
    add("--batch", type=int, default=32, help="samples to check on (default 32)")
    add("--json", action="store_true", help="print the JSON in place of the table")


def _add_explain(commands: argparse._SubParsersAction[Parser]) -> None:
    add = _command(
        commands,
        "explain",
        run_explain,
        "write one forward and one backward pass out, step by step",
        "Write one forward and one backward pass of a network out for a person: formulas, shapes "
        "and numbers, each gradient beside its central difference; then the penalty weight by "
        "weight, and a few steps by subgradient and by prox. Without --sizes, --model and --data: "
        "a 2-2-2 network that can be worked by hand.",
        "tinyreg explain --sizes 3,2,2 --activation tanh --penalty elasticnet --lam 0.5",
    )
    add("--sizes", metavar="N,...", help="units by layer, of a new network (64,64,10 with --data)")
    _add_objective_options(add)
    add("--loss", choices=LOSSES, help="default softmax; squared for the one worked by hand")
    lam = "λ (elasticnet: of both parts; default 1e-3; 0.5 for the one worked by hand)"
    add("--lam", type=float, help=lam)
    add("--seed", type=int, help="of a new network's weights (default 0)")
    add("--data", metavar="FILE", help="digits, FILE.csv or FILE.npz (default: digits if they fit)")
    add("--row", type=int, default=0, help="the sample, counted from 0 (default 0)")
    add("--lr", type=float, default=0.1, help="η of the prox and of the steps (default 0.1)")
    add("--steps", type=int, default=6, help="steps by subgradient and by prox (default 6)")
    add("--format", choices=("text", "markdown", "latex"), default="text", help="default text")
    add("--json", action="store_true", help="print the JSON in place of the text")


Add: TypeAlias = Callable[..., argparse.Action]


def _command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    example: str,
) -> Add:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n  {example}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser.add_argument


def _add_objective_options(add: Add) -> None:
    names = ", ".join(ACTIVATIONS)
    add("--activation", choices=ACTIVATIONS, metavar="NAME", help=f"{names} (default relu)")
    add("--dtype", choices=("float64", "float32"), help="default float64")
    add("--model", metavar="FILE", help="a saved network in place of a new one")
    add("--penalty", choices=("none", *PENALTIES), default="l1", help="default l1")
    add("--target", metavar="COLUMN", help="column (CSV; default: the last) or array (NPZ; y)")


def _add_data_options(add: Add) -> None:
    add("--data", default="digits", metavar="FILE", help="digits (default), FILE.csv or FILE.npz")
    add("--target", metavar="COLUMN", help="column (CSV; default: the last) or array (NPZ; y)")
    add("--task", choices=TASKS, help="default: regression for fractional targets")
    add("--test-share", type=float, default=0.2, help="share of samples held back (default 0.2)")


def _add_network_options(add: Add) -> None:
    add("--hidden", default="64", metavar="N,...", help="hidden units (default 64; 0 for none)")
    names = ", ".join(ACTIVATIONS)
    add(
        "--activation",
        choices=ACTIVATIONS,
        default="relu",
        metavar="NAME",
        help=f"{names} (default relu)",
    )
    add("--dtype", choices=("float64", "float32"), default="float64", help="default float64")
    add(
        "--penalty",
        choices=PENALTIES,
        default="l1",
        help="default l1; in grouplasso each input or unit with its outgoing weights is a group",
    )


def _add_training_options(add: Add) -> None:
    add("--optimizer", choices=("adam", "sgd"), default="adam", help="default adam")
    add("--lr", type=float, help="learning rate (default: 1e-3 for adam, 0.1 for sgd)")
    add("--batch-size", type=int, default=32, help="default 32")
    add("--seeds", default="0,1,2", metavar="N,...", help="one run each (default 0,1,2)")


def _add_output_options(add: Add, name: str, more: str = "") -> None:
    add("--out", metavar="DIR", help=f"write {name}.json, {name}.png{more} there")
    add("--json", action="store_true", help="print the JSON in place of the table")


def run_compare(arguments: argparse.Namespace) -> int:
    """`tinyreg compare`."""
    out = _folder(arguments.out)
    X, y, task = _load(arguments.data, arguments.target, arguments.task)
    parts = train_test_split(X, y, arguments.test_share)
    comparison = compare(
        *_standardised(arguments, task, *parts),
        task=task,
        penalty=_penalty(arguments.penalty, arguments.lam),
        methods=arguments.methods.split(","),
        epochs=arguments.epochs,
        convergence=arguments.convergence,
        progress=_progress(),
        **_shared_settings(arguments),
    )
    comparison.settings |= _data_settings(arguments)
    if out is not None:
        for method, net in comparison.networks.items():
            net.save(out / f"{method}.npz")
    _finish(arguments, comparison, out, "comparison", _image_shape(arguments))
    return 0


def run_path(arguments: argparse.Namespace) -> int:
    """`tinyreg path`."""
    out = _folder(arguments.out)
    X, y, task = _load(arguments.data, arguments.target, arguments.task)
    X, y, X_test, y_test = train_test_split(X, y, arguments.test_share)
    try:
        X, y, X_val, y_val = train_test_split(X, y, arguments.validation_share, seed=1)
    except ValueError as e:
        raise ValueError(str(e).replace("test_share", "--validation-share")) from e
    workers = check_integer("--workers", arguments.workers, least=1)
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as executor:
        result = path(
            *_standardised(arguments, task, X, y, X_val, y_val, X_test, y_test),
            lams=_lams(arguments.lams),
            loss=SquaredError() if task == "regression" else SoftmaxCrossEntropy(),
            penalty=_penalty(arguments.penalty, 1.0),
            methods=arguments.methods.split(","),
            first_epochs=arguments.first_epochs,
            epochs=arguments.epochs,
            executor=executor,
            progress=_progress(),
            **_shared_settings(arguments),
        )
    result.settings |= _data_settings(arguments)
    _finish(arguments, result, out, "path")
    return 1 if result.failures else 0


def run_check(arguments: argparse.Namespace) -> int:
    """`tinyreg check`."""
    net, loss = _network(arguments), LOSSES[arguments.loss]
    batch = check_integer("--batch", arguments.batch, least=1)
    X, y, origin = _samples(arguments, net, loss, batch)
    objective = Objective(net, loss, _penalty(arguments.penalty, arguments.lam))
    report = check_gradients(objective, X, y, precision=net.dtype == np.float32)
    drawn = "samples, the first of " + origin if origin else "random normal samples"
    report.notes.append(f"data: {len(X)} {drawn}")
    if arguments.json:
        print(json.dumps({"ok": report.ok, "rows": report.rows, "notes": report.notes}))
    else:
        print(report)
    return 0 if report.ok else 1


def run_explain(arguments: argparse.Namespace) -> int:
    """`tinyreg explain`."""
    by_hand = arguments.sizes is arguments.model is arguments.data is None
    lam = arguments.lam if arguments.lam is not None else 0.5 if by_hand else 1e-3
    penalty = _penalty(arguments.penalty, lam)
    loss = LOSSES[arguments.loss or ("squared" if by_hand else "softmax")]
    if by_hand:
        for name in ("dtype", "seed", "target"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"--{name} goes with --sizes, --model or --data")
        objective, X, y = hand_example(arguments.activation or "relu", loss, penalty)
        drawn = "made to be worked by hand"
    else:
        net = _network(arguments)
        X, y, origin = _samples(arguments, net, loss)
        drawn = f"row {arguments.row} of {origin}" if origin else "random normal numbers"
        objective = Objective(net, loss, penalty)
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


def _network(arguments: argparse.Namespace) -> MLP:
    """The saved network, or a new one."""
    seed = getattr(arguments, "seed", None)  # which `tinyreg check` does not ask for
    if arguments.model is None:
        sizes = _integers("--sizes", arguments.sizes or "64,64,10")
        activation, dtype = arguments.activation or "relu", arguments.dtype or "float64"
        return MLP(sizes, activation, dtype, 0 if seed is None else seed)
    for name in ("sizes", "activation", "dtype", "seed"):
        if getattr(arguments, name, None) is not None:
            raise ValueError(f"--{name} does not go with --model, which has its own")
    return MLP.load(arguments.model)


def _samples(
    arguments: argparse.Namespace, net: MLP, loss: Loss, n: int | None = None
) -> tuple[Array, Array, str | None]:
    """Samples that fit the network, targets as the loss takes them, and where they are from.

    The first n, or all; without data n random ones, or one, from nowhere.
    """
    n_in, n_out = net.sizes[0], net.sizes[-1]
    data = arguments.data or ("digits" if (n_in, n_out) == (64, 10) else None)
    if data is None:
        if arguments.target is not None:
            raise ValueError(f"--target goes with --data, got {arguments.target}")
        n, rng = n or 1, np.random.default_rng(0)
        X: Array = rng.normal(size=(n, n_in))
        y: Array = rng.integers(0, max(n_out, 2 - isinstance(loss, SoftmaxCrossEntropy)), n)
    else:
        X, y, task = _load(data, arguments.target)
        if task == "classification":
            _, y = encode_labels(y=y)
        if data != "digits":
            (X,) = standardise(X)
        X, y = X[:n], y[:n]
    if not isinstance(loss, SoftmaxCrossEntropy) and y.dtype.kind == "i" and n_out > 1:
        y = np.eye(max(n_out, y.max() + 1))[y]  # a yes-or-no column for each class
    return X, y, data


def _shared_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "optimizer": _optimizer(arguments.optimizer, arguments.lr),
        "hidden": [] if arguments.hidden == "0" else _integers("--hidden", arguments.hidden),
        "seeds": _integers("--seeds", arguments.seeds),
        "activation": arguments.activation,
        "batch_size": arguments.batch_size,
        "dtype": arguments.dtype,
    }


def _data_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"data": arguments.data, "standardised": arguments.data != "digits"}


def _image_shape(arguments: argparse.Namespace) -> tuple[int, int] | None:
    return (8, 8) if arguments.data == "digits" else None


def _folder(name: str | None) -> Path | None:
    if name is None:
        return None
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ValueError(f"--out must be a folder, got {name!r}: {e.strerror}") from e
    return Path(name)


def _lams(text: str) -> list[float]:
    try:
        if ":" in text:
            low, high, number = text.split(":")
            if not 0 < float(low) < float(high):
                raise ValueError
            return [float(lam) for lam in np.geomspace(float(low), float(high), int(number))]
        return [float(lam) for lam in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--lams must be LOW:HIGH:N with 0 < LOW < HIGH, or numbers, got {text!r}"
        ) from None


def _penalty(name: str, lam: float) -> Penalty | None:
    if name == "none":
        return None
    if name == "elasticnet":
        return ElasticNet(lam, lam)
    if name == "grouplasso":
        return GroupLasso(lam, axis=1)
    return L1(lam) if name == "l1" else L2(lam)


def _optimizer(name: str, lr: float | None) -> Optimizer:
    if name == "adam":
        return Adam(1e-3 if lr is None else lr)
    return SGD(0.1 if lr is None else lr)


def _integers(name: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} must be integers with commas between, got {text!r}") from None


def _load(data: str, target: str | None, task: str | None = None) -> tuple[Array, Array, str]:
    if data == "digits":
        if target is not None:
            raise ValueError(f"--target goes with a file, not with digits, got {target}")
        X, y = load_digits()
    else:
        X, y = load_table(data, target)
    task = task or ("regression" if y.dtype.kind == "f" else "classification")
    if task == "regression" and y.dtype.kind == "U":
        raise ValueError(f"--task regression needs numbers in the target, got text such as {y[0]}")
    return X, y, task


def _standardised(arguments: argparse.Namespace, task: str, *parts: Array) -> list[Array]:
    """X, y, X_other, y_other, …: a table's columns come in any unit, a target to regress on too."""
    if arguments.data == "digits":
        return list(parts)
    features, targets = standardise(*parts[::2]), parts[1::2]
    if task == "regression":
        targets = standardise(*targets)
    return [array for pair in zip(features, targets, strict=True) for array in pair]


def _progress() -> Callable[[str], None] | None:
    """A line on standard error that is written over; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        return None
    return lambda text: print(f"\r\033[K{text}", end="\r", file=sys.stderr, flush=True)


def _finish(
    arguments: argparse.Namespace,
    result: Comparison | LambdaPath,
    out: Path | None,
    name: str,
    *plot_settings: Any,
) -> None:
    """Write the files, then print the result: a reader who hangs up early has them all the same."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    if out is not None:
        result.to_json(out / f"{name}.json")
        if find_spec("matplotlib") is None:
            note = f"wrote {out / name}.json; for the picture install tinyreg[plot]"
        else:
            result.plot(out / f"{name}.png", *plot_settings)
            note = f"wrote {out / name}.json and {out / name}.png"
        print(note, file=sys.stderr)
    print(json.dumps(result.to_dict()) if arguments.json else result)
