"""The command line: `tinyreg compare`, `tinyreg check`, `tinyreg explain` and `tinyreg path`.

Results go to standard output, progress and errors to standard error. The exit status is 0; 1 where
a gradient failed its check or a walk broke off; 2 where an argument or a file is not as it should
be, or training diverged (one line, no traceback).
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import tinyreg
from tinyreg.cli import check, compare, explain, path
from tinyreg.cli.options import progress
from tinyreg.errors import DivergenceError

COMMANDS = {"compare": compare, "check": check, "explain": explain, "path": path}


class Parser(argparse.ArgumentParser):
    """argparse, with its complaint in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of `argv`, sys.argv[1:] if left out, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks λ shows ? in its place
            stream.reconfigure(errors="replace")
    arguments = _parser().parse_args(argv)
    try:
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
