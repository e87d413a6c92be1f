"""`tinyreg compare`: its options reach the runs, its results the screen and the files."""

import json
import re
import shlex
import sys
from base64 import b64encode
from html import escape
from importlib.util import find_spec

import numpy as np
import pytest

import tinyreg as tr
from tests.support.commands import QUICK
from tinyreg.cli.main import main


def test_compare_prints_a_table_and_a_sentence_and_writes_files(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert main(["compare", *QUICK, "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("digits: 1438 training and 359 test samples\n")
    assert "weights exactly 0" in out
    assert out.rstrip().endswith(".")
    content = json.loads((folder / "comparison.json").read_text("utf-8"))
    assert len(content["runs"]) == 3
    assert content["settings"]["data"] == "digits"
    # Nothing but the note of what was written: no progress off a terminal.
    assert err.startswith("wrote ")
    assert err.count("\n") == 1
    assert "\r" not in err
    page = (folder / "report.html").read_text("utf-8")
    assert {*re.findall(r"\d+\.\d+", out)} <= {*re.findall(r"\d+\.\d+", page)}
    assert escape(shlex.join(["tinyreg", "compare", *QUICK, "--out", str(folder)])) in page
    if find_spec("matplotlib") is not None:
        picture = (folder / "comparison.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert b64encode(picture).decode() in page
        assert re.search(r'<img [^>]*alt="Objective F[^"]*proximal', page)


def test_the_picture_is_left_out_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tinyreg.cli.options.find_spec", lambda name: None)
    assert main(["compare", *QUICK, "--methods", "none", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "comparison.json", "none.npz", "report.html", "runs"
    }  # fmt: skip
    assert "<img" not in (tmp_path / "report.html").read_text("utf-8")
    assert "install tinyreg[plot]" in capsys.readouterr().err


def test_json_goes_to_standard_output_alone(capsys):
    assert main(["compare", *QUICK, "--json", "--methods", "proximal"]) == 0
    out, err = capsys.readouterr()
    assert [run["method"] for run in json.loads(out)["runs"]] == ["proximal"]
    assert err == ""


def test_workers_do_not_change_what_is_told(tmp_path, classes_file, capsys, monkeypatch):
    monkeypatch.setattr("tinyreg.cli.options.find_spec", lambda name: None)  # no pictures
    options = [*QUICK, "--data", str(classes_file), "--convergence", "1", "--json"]
    options += ["--out", str(tmp_path)]
    contents = []
    for workers in ("1", "2"):
        assert main(["compare", *options, "--fresh", "--workers", workers]) == 0
        contents.append(json.loads(capsys.readouterr().out))
    assert [c["settings"] for c in contents] == [contents[0]["settings"]] * 2
    runs = [[(r["method"], r["objective"], r["history"]["total"]) for r in c["runs"]]
            for c in contents]  # fmt: skip
    assert runs[0] == runs[1]
    assert main(["compare", *options]) == 0
    assert json.loads(capsys.readouterr().out) == contents[1]  # with its times: all was kept


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
        (["--class-weight", "balanced"], {"class_weight": "balanced"}),
        (["--class-weight", "3=2,8=0.5"], {"class_weight": "{3: 2.0, 8: 0.5}"}),
    ],
)
def test_every_option_reaches_the_runs(capsys, options, expected):
    assert main(["compare", *QUICK, "--methods", "none", "--json", *options]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    for key, value in expected.items():
        assert settings[key] == (repr(value) if key == "optimizer" else value)


def test_another_split_holds_other_samples_back(capsys):
    arguments = ["compare", *QUICK, "--methods", "none", "--json", "--split-seed"]
    scores = []
    for seed in ("0", "0", "1"):
        assert main([*arguments, seed]) == 0
        scores.append(json.loads(capsys.readouterr().out)["runs"][0]["objective"])
    assert scores[0] == scores[1] != scores[2]


def test_a_table_of_ones_own_classifies_and_regresses(csv_file, classes_file, capsys):
    classes_file.write_text(classes_file.read_text().partition("\n")[2])  # without names
    assert main(["compare", "--data", str(classes_file), *QUICK, "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["task"], settings["sizes"]) == ("classification", [3, 8, 2])

    csv_file.write_text(csv_file.read_text().replace("yes", "1").replace("no", "0"))
    options = [*QUICK, "--target", "value", "--hidden", "0", "--epochs", "60", "--lr", "0.01"]
    arguments = ["compare", "--data", str(csv_file), *options, "--methods", "proximal", "--json"]
    assert main(arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["settings"]["task"] == "regression"
    assert content["settings"]["standardised"] is True
    assert content["runs"][0]["test_score"] > 0.9
    assert main([*arguments, "--lam", "0.2"]) == 0
    kept = json.loads(capsys.readouterr().out)["inputs"]["proximal"]
    assert {"a"} <= {*kept} < {"a", "b", "c", "class"}


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
    ["--workers", "0"],
    ["--batch-size", "0"],
    ["--hidden", "8,x"],
    ["--hidden", "-3"],
    ["--seeds", "0,0"],
    ["--seeds", "-1"],
    ["--dtype", "float16"],
    ["--test-share", "2"],
    ["--task", "regress"],
    ["--split-seed", "-1"],
    ["--class-weight", "10=2"],
    ["--class-weight", "balance"],
    ["--target", "a"],
    ["--data", "missing.csv"],
    ["--data", "."],
    ["--optimizer", "sgd", "--lr", "1e200"],
    ["--hidden", "1000000000000"],
    ["--out", "/dev/null"],
    ["--out", "/dev/null/below"],
    ["--fresh"],
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


def test_text_targets_are_no_numbers_to_regress_on(classes_file, capsys):
    arguments = ["compare", "--data", str(classes_file), "--task", "regression", *QUICK]
    assert main(arguments) == 2
    told = "--task regression: the target must be a dense array of real numbers"
    assert told in capsys.readouterr().err


def test_compare_prints_and_writes_the_convergence_of_the_solvers(
    tmp_path, classes_file, capsys, monkeypatch
):
    monkeypatch.setattr("tinyreg.cli.options.find_spec", lambda name: None)  # no pictures
    options = ["--data", str(classes_file), "--methods", "proximal", "--out", str(tmp_path)]
    assert main(["compare", *QUICK[:-1], "5", *options]) == 0
    assert "subgradient, 1/√k" in capsys.readouterr().out
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    solvers = [curve["solver"] for curve in content["convergence"]["curves"]]
    assert solvers == ["subgradient, constant", "subgradient, 1/√k", "ista", "fista", "lbfgs"]


def test_the_same_command_goes_on_from_the_finished_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tinyreg.cli.options.find_spec", lambda name: None)  # no pictures
    arguments = ["compare", *QUICK, "--json", "--out", str(tmp_path)]
    assert main([*arguments, "--methods", "none,proximal"]) == 0
    first = json.loads(capsys.readouterr().out)["runs"]
    np.savez(tmp_path / "naive.npz", mine=1)
    before = [tr.MLP.load(tmp_path / f"{method}.npz").params for method in ("none", "proximal")]
    assert main([*arguments, "--methods", "proximal,subgradient"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert runs[0] == first[1]  # with its times: it was not made again
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [
        "naive.npz", "proximal.npz", "subgradient.npz",
    ]  # fmt: skip
    np.testing.assert_array_equal(tr.MLP.load(tmp_path / "proximal.npz").params, before[1])
    assert main([*arguments, "--methods", "proximal", "--fresh"]) == 0
    (again,) = json.loads(capsys.readouterr().out)["runs"]
    assert again["history"] == runs[0]["history"]
    assert again["seconds"] != runs[0]["seconds"]
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["naive.npz", "proximal.npz"]
