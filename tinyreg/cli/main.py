"""The command line: `tinyreg compare`, `predict`, `check`, `explain` and `path`.

Results go to standard output, progress and errors to standard error. The exit status is 0; 1 where
a gradient failed its check or a walk broke off; 2 where an argument or a file is not as it should
be, training diverged, or results could not be written (one line, no traceback); 130 after Ctrl-C
and 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import math
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

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
UNWRITABLE = (errno.EBADF, errno.EIO, errno.ENOSPC)  # of a file there is a name as well
COLUMNS = 80  # of --help, also where a terminal has more
EXAMPLE = "tinyreg compare --data digits --out comparison"


class Parser(argparse.ArgumentParser):
    """argparse, with its complaint in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        print(message, end="", file=file)  # argparse's own says nothing where this fails


class Help(argparse.HelpFormatter):
    """Paragraphs are filled; one with indented lines stands as it is."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, COLUMNS) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.strip().split("\n\n")
        return "\n\n".join(p if "  " in p else textwrap.fill(p, width) for p in parts) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of `argv`, sys.argv[1:] if left out, and return the exit status."""
    _open_streams()
    told, words = "tinyreg", sys.argv[1:] if argv is None else argv
    try:
        try:
            arguments = _parser().parse_args(_joined(words))
        finally:  # --help leaves from here
            sys.stdout.flush()
        told, arguments.line = f"tinyreg {arguments.command}", shlex.join(["tinyreg", *words])
        if argv is None:  # the process is ours
            _listen()
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except (ValueError, TypeError, OSError, MemoryError, DivergenceError) as e:
        _let_go(sys.stdout)
        if isinstance(e, BrokenPipeError):  # the reader (head, say) has seen enough
            return 0
        message = " ".join(str(e).split())
        if isinstance(e, OSError) and e.filename is None and e.errno in UNWRITABLE:
            message = f"standard output: {e.strerror}"
        with contextlib.suppress(OSError):
            progress("")
            print(f"{told}: error: {message}", file=sys.stderr)
        _let_go(sys.stderr)
        return 2
    except KeyboardInterrupt as e:
        signum = signal.Signals(*e.args or [signal.SIGINT])
        out = getattr(arguments, "out", None)
        kept = f"; the same command goes on from the finished runs in {out}" if out else ""
        progress("")
        print(f"{told}: stopped by {signum.name}{kept}", file=sys.stderr)
        return 128 + signum
    finally:
        if argv is None:  # nothing is left to be stopped
            for one in SIGNALS:
                signal.signal(one, signal.SIG_IGN)


def _let_go(stream: TextIO) -> None:
    """Python would complain, at exit, of what it could not write."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_streams() -> None:
    """Let each stream be there, a closed one too, and take any letter.

    A closed stream would leave its number to the next file that is opened. Writing to the one that
    stands for standard output fails, as it should, for it is opened for reading.
    """
    sys.stdin = sys.stdin or os.fdopen(os.open(os.devnull, os.O_RDONLY))
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    # A terminal that lacks λ shows ? in its place; messages show what no path in UTF-8 has.
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


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
    told: dict[str, Any] = {"formatter_class": Help}
    summary = (tinyreg.__doc__ or "").partition("\n")[0]
    parser = Parser(prog="tinyreg", description=summary, epilog=_example(EXAMPLE), **told)
    parser.add_argument("--version", action="version", version=f"tinyreg {tinyreg.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        told |= {"help": command.SUMMARY, "description": command.DESCRIPTION}
        of_command = commands.add_parser(name, epilog=_example(command.EXAMPLE), **told)
        of_command.set_defaults(run=command.run)
        command.add_options(of_command.add_argument)
    return parser


def _example(command: str) -> str:
    """The command as a shell takes it, in lines that fit."""
    parts = re.sub("(--[^ ]+) (?!-)", "\\1\xa0", command)  # no line ends between option and value
    lines = textwrap.wrap(parts, COLUMNS - 10, break_on_hyphens=False, break_long_words=False)
    return "example:\n  " + " \\\n      ".join(lines).replace("\xa0", " ")
