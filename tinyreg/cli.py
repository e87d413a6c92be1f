"""The command line: `tinyreg compare`.

Results go to standard output, progress and errors to standard error. The exit status is 0, or 2
where an argument or a file is not as it should be (one line, no traceback).
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import tinyreg
from tinyreg.comparison import COMPARED, TASKS, Comparison, compare
from tinyreg.datasets import load_digits, load_table, standardise, train_test_split
from tinyreg.errors import Array, DivergenceError
from tinyreg.layers import ACTIVATIONS
from tinyreg.optimizers import SGD, Adam, Optimizer
from tinyreg.penalties import L1, L2, ElasticNet, GroupLasso, Penalty

EXAMPLE = """example:
  tinyreg compare --lam 3e-3 --methods subgradient,proximal,naive --out comparison
"""


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
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks λ shows ? in its place
            stream.reconfigure(errors="replace")
    parser = Parser(prog="tinyreg", description=tinyreg.__doc__)
    parser.add_argument("--version", action="version", version=f"tinyreg {tinyreg.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(commands)
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
    parser = commands.add_parser(
        "compare",
        help="train with no penalty, by subgradient and by prox, and hold the results side by side",
        description="Train the same network from the same start on the same batches by several "
        "methods, and report objective, scores, zeros and stationarity of each.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_compare)
    add = parser.add_argument
    add("--data", default="digits", metavar="FILE", help="digits (default), FILE.csv or FILE.npz")
    add("--target", metavar="COLUMN", help="column (CSV; default: the last) or array (NPZ; y)")
    add("--test-share", type=float, default=0.2, help="share of samples held back (default 0.2)")
    add("--task", choices=TASKS, help="default: regression for fractional targets")
    add("--hidden", default="64", metavar="N,...", help="hidden units (default 64; 0 for none)")
    add(
        "--activation",
        choices=ACTIVATIONS,
        default="relu",
        metavar="NAME",
        help=", ".join(ACTIVATIONS),
    )
    add(
        "--penalty",
        choices=("l1", "l2", "elasticnet", "grouplasso"),
        default="l1",
        help="default l1; in grouplasso each input or unit with its outgoing weights is a group",
    )
    add("--lam", type=float, default=1e-3, help="λ (elasticnet: of both parts; default 1e-3)")
    add(
        "--methods",
        default="none,subgradient,proximal",
        metavar="NAME,...",
        help=f"of {','.join(COMPARED)} (default: the first three)",
    )
    add("--optimizer", choices=("adam", "sgd"), default="adam", help="default adam")
    add("--lr", type=float, help="learning rate (default: 1e-3 for adam, 0.1 for sgd)")
    add("--epochs", type=int, default=60, help="default 60")
    add("--batch-size", type=int, default=32, help="default 32")
    add("--seeds", default="0,1,2", metavar="N,...", help="one run each (default 0,1,2)")
    add("--dtype", choices=("float64", "float32"), default="float64", help="default float64")
    add("--out", metavar="DIR", help="write comparison.json and comparison.png there")
    add("--json", action="store_true", help="print the JSON in place of the table")


def run_compare(arguments: argparse.Namespace) -> int:
    """`tinyreg compare`."""
    settings = {
        "penalty": _penalty(arguments.penalty, arguments.lam),
        "optimizer": _optimizer(arguments.optimizer, arguments.lr),
        "hidden": [] if arguments.hidden == "0" else _integers("--hidden", arguments.hidden),
        "seeds": _integers("--seeds", arguments.seeds),
        "methods": arguments.methods.split(","),
        "activation": arguments.activation,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "dtype": arguments.dtype,
    }
    out = None if arguments.out is None else Path(arguments.out)
    X, y, task = _load(arguments)
    parts = train_test_split(X, y, arguments.test_share)
    if arguments.data != "digits":
        parts = _standardise(*parts, task)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ValueError(f"--out must be a folder, got {arguments.out!r}: {e.strerror}") from e

    comparison = compare(*parts, task=task, progress=_progress(arguments.epochs), **settings)
    comparison.settings["data"] = arguments.data
    comparison.settings["standardised"] = arguments.data != "digits"
    if out is not None:
        _write(comparison, out, (8, 8) if arguments.data == "digits" else None)
    print(json.dumps(comparison.to_dict()) if arguments.json else comparison)
    return 0


def _penalty(name: str, lam: float) -> Penalty:
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


def _load(arguments: argparse.Namespace) -> tuple[Array, Array, str]:
    if arguments.data == "digits":
        if arguments.target is not None:
            raise ValueError(f"--target goes with a file, not with digits, got {arguments.target}")
        X, y = load_digits()
    else:
        X, y = load_table(arguments.data, arguments.target)
    task = arguments.task or ("regression" if y.dtype.kind == "f" else "classification")
    if task == "regression" and y.dtype.kind == "U":
        raise ValueError(f"--task regression needs numbers in the target, got text such as {y[0]}")
    return X, y, task


def _standardise(
    X: Array, y: Array, X_test: Array, y_test: Array, task: str
) -> tuple[Array, Array, Array, Array]:
    """A table's columns come in any unit; so does a target to regress on."""
    X, X_test = standardise(X, X_test)
    if task == "regression":
        y, y_test = standardise(y, y_test)
    return X, y, X_test, y_test


def _progress(epochs: int) -> Callable[[str, int, int], None] | None:
    """A line on standard error that is written over; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        return None

    def show(method: str, seed: int, epoch: int) -> None:
        text = f"\rseed {seed}  {method:<12} epoch {epoch} of {epochs} "
        print(text, end="\r\033[K" if epoch == epochs else "", file=sys.stderr, flush=True)

    return show


def _write(comparison: Comparison, out: Path, image_shape: tuple[int, int] | None) -> None:
    comparison.to_json(out / "comparison.json")
    if find_spec("matplotlib") is None:
        print(
            f"wrote {out / 'comparison.json'}; for the picture install tinyreg[plot]",
            file=sys.stderr,
        )
        return
    comparison.plot(out / "comparison.png", image_shape)
    print(f"wrote {out / 'comparison.json'} and {out / 'comparison.png'}", file=sys.stderr)
