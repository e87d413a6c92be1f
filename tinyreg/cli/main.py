"""The command line: `tinyreg compare`, `tinyreg check`, `tinyreg explain` and `tinyreg path`.

Results go to standard output, progress and errors to standard error. The exit status is 0; 1 where
a gradient failed its check or a walk broke off; 2 where an argument or a file is not as it should
be, or training diverged (one line, no traceback).
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence

import tinyreg
from tinyreg.cli import check, compare, explain, path
from tinyreg.cli.options import Parser
from tinyreg.errors import DivergenceError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        sys.argv[1:] if left out.

    Returns
    -------
    int
        The exit status, as the module's docstring has it.

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
    for command in (compare, check, explain, path):
        command.add_to(commands)
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
