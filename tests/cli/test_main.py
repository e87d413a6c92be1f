"""The command line, in a process of its own where streams matter."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

import tinyreg as tr
from tests.support.commands import QUICK, tinyreg
from tinyreg.cli.main import COMMANDS, main
from tinyreg.study.model import Model

PRINTS_JSON = {
    "compare": [*QUICK, "--methods", "none"],
    "check": ["--sizes", "4,3,2", "--batch", "3"],
    "explain": [],
    "path": ["--lams", "1e-3,1", "--hidden", "4", "--first-epochs", "1", "--epochs", "1"],
}


@pytest.fixture
def model(tmp_path):
    """A model of the digits."""
    path, net = tmp_path / "model.npz", tr.MLP((64, 10))
    Model(net, tr.SoftmaxCrossEntropy(), [f"x{i}" for i in range(64)]).save(path)
    return path


def test_in_a_process_there_is_no_traceback():
    done = tinyreg("compare", "--lam", "-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("tinyreg compare: error: lam must be a finite number >= 0, got -1.0\n")


def test_a_reader_that_leaves_early_is_no_error(model):
    command = f"{sys.executable} -m tinyreg predict --model {model} --data digits | true"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("encoding", "arguments"), [("ascii", ["compare", *QUICK]), ("cp1252", ["compare", "--help"])]
)
def test_a_narrow_terminal_loses_letters_and_no_results(encoding, arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tinyreg", *arguments],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"objective" in done.stdout


@pytest.fixture
def told(capsys):
    """What is printed before the process is left, and the exit status."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        return capsys.readouterr(), left.value.code or 0

    return run


def test_no_command_and_unknown_commands_are_status_2(told):
    for arguments in ([], ["compere"]):
        (_, err), status = told(*arguments)
        assert status == 2
        assert err.count("\n") == 1


def test_version_and_help(told):
    assert told("--version") == ((f"tinyreg {tr.__version__}\n", ""), 0)
    assert "compare" in told("--help")[0].out
    text = told("compare", "--help")[0].out
    assert "example:" in text
    assert "tinyreg path --lams" in told("path", "--help")[0].out
    for option in ("--data", "--lam", "--methods", "--out", "--json"):
        assert option in text


@pytest.mark.parametrize("columns", ["50", "80", "200"])
def test_help_has_an_example_and_fits_80_columns(told, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    for command in ([], *([name] for name in COMMANDS)):
        text = told(*command, "--help")[0].out
        assert max(map(len, text.splitlines())) <= 80
        example = text.partition("\nexample:\n  tinyreg ")[2].splitlines()
        assert example
        assert all(line.endswith(" \\") for line in example[:-1])


WRITES = {
    "explain": ["explain"],
    "check": ["check", "--sizes", "4,3,2"],
    "predict": ["predict", "--data", "digits", "--model"],
    "compare": ["compare", *QUICK, "--methods", "none"],
    "path": ["path", *PRINTS_JSON["path"], "--seeds", "0"],
    "help": ["--help"],
    "help of one": ["path", "--help"],
    "version": ["--version"],
}


def in_a_shell(arguments, streams, **variables):
    """The command with its streams as a shell sets them, and what each of them got."""
    command = shlex.join([sys.executable, "-m", "tinyreg", *arguments])
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | variables
    return subprocess.run(
        ["bash", "-c", f"{command} {streams}"], capture_output=True, env=env, timeout=120
    )


@pytest.mark.parametrize("what", WRITES)
def test_results_that_cannot_be_written_are_one_line_and_status_2(what, model, monkeypatch, capsys):
    arguments = [*WRITES[what], *([str(model)] if what == "predict" else [])]
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it where it is closed
    assert main(arguments) == 2
    sys.stdout.close()
    name = "tinyreg" if "--" in arguments[-1] else f"tinyreg {arguments[0]}"
    assert capsys.readouterr().err == f"{name}: error: standard output: Bad file descriptor\n"


CLOSED = "tinyreg explain: error: standard output: Bad file descriptor\n"
FULL = "tinyreg check: error: standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("what", "streams", "status", "told"),
    [
        ("explain", ">&-", 2, CLOSED),
        ("version", ">&-", 2, CLOSED.replace(" explain", "")),
        ("explain", "2>&-", 0, ""),
        ("explain", "<&-", 0, ""),
        ("check", "<&- >&- 2>&-", 2, ""),
        ("check", ">/dev/full", 2, FULL),
        ("explain", ">/dev/full 2>&1", 2, ""),
    ],
)
def test_closed_and_full_streams(what, streams, status, told):
    done = in_a_shell(WRITES[what], streams)
    assert (done.returncode, done.stderr.decode()) == (status, told)
    assert done.stdout[:11] == (b"A 2-2-2 net" if status == 0 else b"")


def test_an_error_does_not_go_where_results_go():
    assert in_a_shell(["explain", "--lr", "0"], "2>&-").stdout == b""


def test_help_is_no_success_on_a_full_disk_that_python_writes_to_at_once():
    assert in_a_shell(["--help"], ">/dev/full", PYTHONUNBUFFERED="1").returncode == 2


def test_without_standard_output_a_file_can_be_written(tmp_path):
    file = tmp_path / "pass.txt"
    done = in_a_shell(["explain", "--out", str(file)], "<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert file.read_text(encoding="utf-8").startswith("A 2-2-2 net")


@pytest.mark.parametrize(
    "variables", [{"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}], ids=str
)
def test_a_path_that_is_not_utf_8_is_shown_escaped(tmp_path, variables):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.csv")
    arguments = ["explain", "--sizes", "2,2", "--data", os.fsdecode(path)]
    done = in_a_shell(arguments, "", **variables)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.endswith(b"caf\\udce9.csv'\n")
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write("a,b,y\n" + "1,2,0\n2,1,1\n" * 9)
    except OSError:
        pytest.skip("this file system takes no such name")
    done = in_a_shell(arguments, "", **variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf?.csv" in done.stdout


@pytest.mark.parametrize("command", PRINTS_JSON)
def test_every_command_prints_json_alone_and_no_escape_off_a_terminal(command, capsys):
    assert main([command, *PRINTS_JSON[command], "--json"]) == 0
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), dict)
    assert err == ""
    assert main([command, *PRINTS_JSON[command]]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_that_it_takes(command, told, monkeypatch):
    text = told(command, "--help")[0].out
    example = re.search(r"^example:\n  tinyreg (.+)", text, re.MULTILINE | re.DOTALL)[1]
    example = example.replace("\\\n", " ").split()
    assert example[0] == command
    taken = []
    monkeypatch.setattr(f"tinyreg.cli.{command}.run", lambda arguments: taken.append(1) or 0)
    assert main(example) == 0
    assert taken == [1]


def test_a_terminal_sees_progress_and_no_colour():
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment["PYTHONIOENCODING"] = "utf-8"
    command = [sys.executable, "-m", "tinyreg", "compare", *QUICK, "--methods", "none"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # which is how the end of a terminal shows on Linux
            while part := os.read(ours, 4096):
                seen += part
    os.close(ours)
    assert process.returncode == 0
    assert b"epoch 2 of 2" in seen
    assert b"weights exactly 0" in seen
    assert not re.search(rb"\x1b\[[\d;]*m", seen)
