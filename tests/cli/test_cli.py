"""The command line, run as a user runs it: in a process of its own where streams matter."""

import contextlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.cli.main import main

QUICK = ["--epochs", "2", "--hidden", "8", "--seeds", "0", "--convergence", "0"]


def tinyreg(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "tinyreg", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        timeout=120,
        **settings,
    )


@pytest.fixture
def csv_file(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)) * [1, 100, 0.01] + 5
    rows = [f"{a},{b},{c},{'yes' if a > 5 else 'no'},{2 * a + 0.01 * b + 0.5:.5f}" for a, b, c in X]
    path = tmp_path / "table.csv"
    path.write_text("a,b,c,class,value\n" + "\n".join(rows) + "\n")
    return path


def test_compare_prints_a_table_and_a_sentence_and_writes_files(tmp_path):
    done = tinyreg("compare", *QUICK, "--out", str(tmp_path / "new" / "folder"))
    assert done.returncode == 0
    assert done.stdout.startswith("digits: 1438 training and 359 test samples\n")
    assert "weights exactly 0" in done.stdout
    assert done.stdout.rstrip().endswith(".")
    content = json.loads((tmp_path / "new" / "folder" / "comparison.json").read_text("utf-8"))
    assert len(content["runs"]) == 3
    assert content["settings"]["data"] == "digits"
    # Nothing but the note of what was written: no progress off a terminal.
    assert done.stderr.startswith("wrote ")
    assert done.stderr.count("\n") == 1
    assert "\r" not in done.stderr


def test_the_picture_is_left_out_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tinyreg.cli.main.find_spec", lambda name: None)
    assert main(["compare", *QUICK, "--methods", "none", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "none.npz"}
    assert "install tinyreg[plot]" in capsys.readouterr().err


def test_the_picture_is_drawn_with_matplotlib(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    assert main(["compare", *QUICK, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_json_goes_to_standard_output_alone(capsys):
    assert main(["compare", *QUICK, "--json", "--methods", "proximal"]) == 0
    out, err = capsys.readouterr()
    assert [run["method"] for run in json.loads(out)["runs"]] == ["proximal"]
    assert err == ""


def test_progress_is_shown_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["compare", *QUICK, "--methods", "none"]) == 0
    out, err = capsys.readouterr()
    assert "epoch 2 of 2" in err
    assert "epoch 2 of 2" not in out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--penalty", "l2", "--lam", "0.25"], {"penalty": "L2(lam=0.25)"}),
        (["--penalty", "elasticnet", "--lam", "0.1"], {"penalty": "ElasticNet(l1=0.1, l2=0.1)"}),
        (["--penalty", "grouplasso"], {"penalty": repr(tr.GroupLasso(1e-3, axis=1))}),
        (["--hidden", "0"], {"sizes": [64, 10]}),
        (["--hidden", "5,4", "--activation", "tanh"], {"sizes": [64, 5, 4, 10]}),
        (["--optimizer", "sgd", "--lr", "0.02"], {"optimizer": tr.SGD(0.02)}),
        (["--optimizer", "sgd"], {"optimizer": tr.SGD(0.1)}),
        (["--lr", "0.01", "--dtype", "float32"], {"optimizer": tr.Adam(0.01), "dtype": "float32"}),
        (["--batch-size", "100", "--seeds", "3,1"], {"batch_size": 100, "seeds": [3, 1]}),
        (["--test-share", "0.5"], {"n_train": 899, "n_test": 898}),
    ],
)
def test_every_option_reaches_the_runs(capsys, options, expected):
    assert main(["compare", *QUICK, "--methods", "none", "--json", *options]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    for key, value in expected.items():
        assert settings[key] == (repr(value) if key == "optimizer" else value)


def test_a_table_of_ones_own_classifies_and_regresses(csv_file, capsys):
    text = csv_file.read_text().replace(",class,value", ",class")
    names = csv_file.with_name("names.csv")
    names.write_text("\n".join(line.rpartition(",")[0] for line in text.splitlines()[1:]))
    assert main(["compare", "--data", str(names), *QUICK, "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["task"], settings["sizes"]) == ("classification", [3, 8, 2])

    numbers = csv_file.with_name("numbers.csv")
    numbers.write_text(csv_file.read_text().replace("yes", "1").replace("no", "0"))
    options = ["--target", "value", "--hidden", "0", "--epochs", "60", "--lr", "0.01", "--json"]
    assert main(["compare", "--data", str(numbers), *options]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["settings"]["task"] == "regression"
    assert content["settings"]["standardised"] is True
    assert content["runs"][0]["test_score"] > 0.9


def test_an_npz_of_ones_own(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", X=rng.normal(size=(60, 4)), labels=np.arange(60) % 3)
    arguments = ["compare", "--data", str(tmp_path / "d.npz"), "--target", "labels", *QUICK]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["sizes"] == [4, 8, 3]


BAD = [
    ["--lam", "-1"],
    ["--lam", "nan"],
    ["--lam", "much"],
    ["--lr", "0"],
    ["--activation", "cube"],
    ["--methods", "prox"],
    ["--methods", ""],
    ["--penalty", "l0"],
    ["--optimizer", "lion"],
    ["--epochs", "0"],
    ["--batch-size", "0"],
    ["--hidden", "8,x"],
    ["--hidden", "-3"],
    ["--seeds", "0,0"],
    ["--seeds", "-1"],
    ["--dtype", "float16"],
    ["--test-share", "2"],
    ["--task", "regress"],
    ["--target", "a"],
    ["--data", "missing.csv"],
    ["--data", "."],
    ["--optimizer", "sgd", "--lr", "1e200"],
    ["--hidden", "1000000000000"],
    ["--out", "/dev/null"],
    ["--bogus"],
]


@pytest.mark.parametrize("options", BAD, ids=" ".join)
def test_bad_input_is_one_line_on_standard_error_and_status_2(options, capsys):
    try:
        status = main(["compare", *QUICK, *options])
    except SystemExit as e:
        status = e.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("tinyreg compare: error: ") or options == ["--bogus"]
    assert err.count("\n") == 1


def test_bad_columns_are_one_line_too(csv_file, capsys):
    for options in (["--target", "nope"], ["--target", "value"], ["--target", "9"]):
        assert main(["compare", "--data", str(csv_file), *options]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_in_a_process_there_is_no_traceback():
    done = tinyreg("compare", "--lam", "-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("tinyreg compare: error: lam must be a finite number >= 0, got -1.0\n")


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m tinyreg compare {' '.join(QUICK)} | true"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_narrow_terminal_loses_letters_and_no_results(encoding):
    for arguments in (["compare", *QUICK], ["compare", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "tinyreg", *arguments],
            capture_output=True,
            env=os.environ | {"PYTHONIOENCODING": encoding},
        )
        assert done.returncode == 0
        assert done.stderr == b""
        assert b"objective" in done.stdout


def test_text_targets_are_no_numbers_to_regress_on(csv_file, capsys):
    arguments = ["--data", str(csv_file), "--target", "class", "--task", "regression"]
    text = csv_file.read_text().splitlines()
    csv_file.write_text("\n".join(line.rpartition(",")[0] for line in text))
    assert main(["compare", *arguments[:2], *arguments[4:], *QUICK]) == 2
    assert "--task regression needs numbers in the target" in capsys.readouterr().err


def test_compare_prints_and_writes_the_convergence_of_the_solvers(tmp_path, capsys):
    arguments = ["compare", *QUICK[:-1], "5", "--methods", "proximal", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "subgradient, 1/√k" in capsys.readouterr().out
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    solvers = [curve["solver"] for curve in content["convergence"]["curves"]]
    assert solvers == ["subgradient, constant", "subgradient, 1/√k", "ista", "fista", "lbfgs"]


CHECKS = [
    [],
    ["--sizes", "5,4,3", "--activation", "gelu", "--penalty", "none"],
    ["--sizes", "5,4,1", "--loss", "sigmoid", "--penalty", "elasticnet", "--dtype", "float32"],
    ["--sizes", "5,4,3", "--loss", "sigmoid", "--penalty", "grouplasso", "--batch", "1"],
    ["--sizes", "4,2", "--loss", "squared", "--penalty", "l2", "--lam", "0.5"],
    ["--loss", "squared", "--data", "digits", "--batch", "3"],
]


@pytest.mark.parametrize("options", CHECKS, ids=" ".join)
def test_check_passes_what_is_right(options, capsys):
    assert main(["check", *options]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ok: gradient of ")
    assert "W1" in out
    drawn = "samples, the first of digits" if "--sizes" not in options else "random normal samples"
    assert out.rstrip().splitlines()[-1].startswith("data: ")
    assert out.rstrip().endswith(drawn)
    assert ("float32 gradient: off by" in out) == ("float32" in options)
    assert err == ""
    assert main(["check", *options, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sum(row["mismatch"] for row in rows) == 0


def test_check_fails_what_is_wrong_with_status_1(capsys, monkeypatch):
    right = tr.L1.subgradient
    monkeypatch.setattr(tr.L1, "subgradient", lambda self, w: 2 * right(self, w))
    assert main(["check", "--sizes", "5,4,3", "--lam", "0.1"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAILED: ")
    assert "a 2 too much" in out


def test_check_takes_a_trained_network_at_its_own_zeros(tmp_path, capsys):
    arguments = ["compare", *QUICK, "--lam", "1e-2", "--methods", "proximal", "--out"]
    assert main([*arguments, str(tmp_path)]) == 0
    capsys.readouterr()
    model = str(tmp_path / "proximal.npz")
    assert main(["check", "--model", model, "--lam", "1e-2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    zeros = np.count_nonzero(tr.MLP.load(model).weights[0] == 0)
    assert zeros > 10
    assert report["rows"][0]["zeros"]["count"] == zeros


@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_check_takes_a_table(csv_file, capsys, loss):
    text = [line.rpartition(",")[0] for line in csv_file.read_text().splitlines()]
    csv_file.write_text("\n".join(text))
    options = ["--sizes", "3,4,2", "--loss", loss, "--data", str(csv_file)]
    assert main(["check", *options]) == 0
    assert "32 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--sizes", "5"],
        ["--sizes", "5,x"],
        ["--sizes", "5,0"],
        ["--batch", "0"],
        ["--lam", "-1"],
        ["--loss", "hinge"],
        ["--model", "missing.npz"],
        ["--model", "missing.npz", "--sizes", "3,2"],
        ["--model", "missing.npz", "--dtype", "float32"],
        ["--data", "digits", "--sizes", "5,3"],
        ["--data", "digits", "--sizes", "64,1", "--loss", "sigmoid"],
    ],
    ids=" ".join,
)
def test_bad_checks_are_one_line_and_status_2(options, capsys):
    try:
        status = main(["check", *options])
    except SystemExit as e:
        status = e.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("tinyreg check: error: ")


WALK = ["--hidden", "8", "--seeds", "0,1", "--first-epochs", "1", "--epochs", "1"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_path_prints_tables_and_writes_files(tmp_path, capsys, workers):
    options = [*WALK, "--lams", "1e-4,1e-2", "--workers", workers, "--out", str(tmp_path)]
    assert main(["path", *options]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("digits: 1150 training, 288 validation and 359 test samples\n")
    assert "mean test score at the smallest λ whose share of exact zeros is at least" in out
    content = json.loads((tmp_path / "path.json").read_text(encoding="utf-8"))
    assert len(content["points"]) == 8
    assert content["settings"]["lams"] == [1e-4, 1e-2]


def test_path_takes_a_range_of_lambda_and_a_table(csv_file, capsys):
    options = [*WALK, "--lams", "1e-3:1e-1:3", "--data", str(csv_file), "--target", "value"]
    text = csv_file.read_text().replace("yes", "1").replace("no", "0")
    csv_file.write_text(text)
    assert main(["path", *options, "--penalty", "elasticnet", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["lams"] == pytest.approx([1e-3, 1e-2, 1e-1])
    assert settings["loss"] == "SquaredError()"


def test_a_walk_that_breaks_off_is_status_1(capsys):
    options = ["--optimizer", "sgd", "--lr", "1e200", "--lams", "0.1", "--seeds", "0"]
    assert main(["path", *WALK, *options, "--methods", "proximal"]) == 1
    assert "broke off: proximal, seed 0, λ = 0.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--lams", ""],
        ["--lams", "1:2"],
        ["--lams", "0.1,0.01"],
        ["--lams", "0,1"],
        ["--lams=-1:1:3"],
        ["--workers", "0"],
        ["--methods", "none"],
        ["--validation-share", "1"],
    ],
    ids=" ".join,
)
def test_bad_paths_are_one_line_and_status_2(options, capsys):
    assert main(["path", *WALK, *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("tinyreg path: error: ")


def test_no_command_and_unknown_commands_are_status_2():
    for arguments in ([], ["compere"]):
        done = tinyreg(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_version_and_help():
    assert tinyreg("--version").stdout == f"tinyreg {tr.__version__}\n"
    assert "compare" in tinyreg("--help").stdout
    text = tinyreg("compare", "--help").stdout
    assert "example:" in text
    assert "tinyreg path --lams" in tinyreg("path", "--help").stdout
    for option in ("--data", "--lam", "--methods", "--out", "--json"):
        assert option in text


COMMANDS = {
    "compare": [*QUICK, "--methods", "none"],
    "check": ["--sizes", "4,3,2", "--batch", "3"],
    "explain": [],
    "path": ["--lams", "1e-3,1", "--hidden", "4", "--first-epochs", "1", "--epochs", "1"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_json_alone_and_no_escape_off_a_terminal(command):
    done = tinyreg(command, *COMMANDS[command], "--json")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), dict)
    assert done.stderr == ""
    assert "\x1b" not in tinyreg(command, *COMMANDS[command]).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_that_it_takes(command, monkeypatch):
    text = tinyreg(command, "--help").stdout
    example = re.search(r"^example:\n  tinyreg (.+)$", text, re.MULTILINE)[1].split()
    assert example[0] == command
    taken = []
    monkeypatch.setattr(f"tinyreg.cli.main.run_{command}", lambda arguments: taken.append(1) or 0)
    assert main(example) == 0
    assert taken == [1]


@pytest.mark.parametrize("no_color", [None, "1"])
def test_a_terminal_sees_progress_and_no_colour(no_color):
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment |= {"PYTHONIOENCODING": "utf-8"} | ({"NO_COLOR": no_color} if no_color else {})
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
