"""The command line: `tinyreg compare`, `predict`, `check`, `explain` and `path`.

Results go to standard output, progress and errors to standard error. The exit status is 0; 1 where
a gradient failed its check or a walk broke off; 2 where an argument or a file is not as it should
be, or training diverged (one line, no traceback); 130 after Ctrl-C and 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import io
import math
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import tinyreg
from tinyreg.cli import check, compare, explain, path, predict
from tinyreg.cli.options import progress
from tinyreg.errors import DivergenceError
from tinyreg.study.workers import SIGNALS

COMMANDS = {
    "compare": compare,
    "predict": predict,
    "check": check,
    "explain": explain,
    "path": path,
}
PATIENCE = 3.0  # seconds


class Parser(argparse.ArgumentParser):
    """argparse, with its complaint in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of `argv`, sys.argv[1:] if left out, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks λ shows ? in its place
            stream.reconfigure(errors="replace")
    arguments = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        if argv is None:  # the process is ours
            _listen()
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except (ValueError, TypeError, OSError, MemoryError, DivergenceError) as e:
        if isinstance(e, OSError) and e.errno in (errno.EPIPE, errno.ENOSPC):
            # Python would complain, at exit, of what it could not write to standard output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(e, BrokenPipeError):  # the reader (head, say) has seen enough
            return 0
        progress("")
        message = " ".join(str(e).split())
        print(f"tinyreg {arguments.command}: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as e:
        signum = signal.Signals(*e.args or [signal.SIGINT])
        out = getattr(arguments, "out", None)
        kept = f"; the same command goes on from the finished runs in {out}" if out else ""
        progress("")
        print(f"tinyreg {arguments.command}: stopped by {signum.name}{kept}", file=sys.stderr)
        return 128 + signum
    finally:
        if argv is None:  # nothing is left to be stopped
            for one in SIGNALS:
                signal.signal(one, signal.SIG_IGN)


def _joined(argv: Sequence[str]) -> list[str]:
    """--x -1,2 as --x=-1,2: argparse would take -1,2 for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1].startswith("--") and re.match(r"-[\d.]", word):
            word = f"{joined.pop()}={word}"
        joined.append(word)
    return joined


def _listen() -> None:
    """Let Ctrl-C or SIGTERM end the work; a second one that follows at once changes nothing."""
    last = -math.inf

    def stop(signum: int, frame: Any) -> None:
        nonlocal last
        last, before = time.monotonic(), last
        if last > before + PATIENCE:
            raise KeyboardInterrupt(signum)

    for one in SIGNALS:
        signal.signal(one, stop)


def _parser() -> Parser:
    parser = Parser(prog="tinyreg", description=(tinyreg.__doc__ or "").partition("\n")[0])
    parser.add_argument("--version", action="version", version=f"tinyreg {tinyreg.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        of_command = commands.add_parser(
            name,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            epilog=f"example:\n  {command.EXAMPLE}\n",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        of_command.set_defaults(run=command.run)
        command.add_options(of_command.add_argument)
    return parser
