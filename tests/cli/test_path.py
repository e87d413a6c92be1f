"""`tinyreg path`: what it prints and writes, and what it refuses."""

import json
import re

import pytest

from tinyreg.cli.main import main

WALK = ["--hidden", "8", "--seeds", "0,1", "--first-epochs", "1", "--epochs", "1"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_path_prints_tables_and_writes_files(tmp_path, capsys, monkeypatch, workers):
    if workers == "2":
        monkeypatch.setattr("tinyreg.cli.options.find_spec", lambda name: None)  # no pictures
    options = [*WALK, "--lams", "1e-4,1e-2", "--workers", workers, "--out", str(tmp_path)]
    assert main(["path", *options]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("digits: 1150 training, 288 validation and 359 test samples\n")
    assert "mean test score at the smallest λ whose share of exact zeros is at least" in out
    content = json.loads((tmp_path / "path.json").read_text(encoding="utf-8"))
    assert len(content["points"]) == 8
    assert content["settings"]["lams"] == [1e-4, 1e-2]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {*re.findall(r"\d+\.\d+e-\d+", out)} <= {*re.findall(r"\d+\.\d+e-\d+", page)}
    assert "--lams 1e-4,1e-2" in page


def test_the_same_command_takes_the_walks_from_the_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tinyreg.cli.options.find_spec", lambda name: None)  # no pictures
    arguments = ["path", *WALK, "--lams", "1e-4,1e-2", "--out", str(tmp_path), "--json"]
    points = []
    for more in (["--workers", "2"], [], ["--fresh"]):
        assert main([*arguments, *more]) == 0
        points.append(json.loads(capsys.readouterr().out)["points"])
    assert points[0] == points[1]  # with their times: nothing was trained again
    assert points[1] != points[2]


def test_path_takes_a_range_of_lambda_and_a_table(csv_file, capsys):
    options = [*WALK, "--lams", "1e-3:1e-1:3", "--data", str(csv_file), "--target", "value"]
    text = csv_file.read_text().replace("yes", "1").replace("no", "0")
    csv_file.write_text(text)
    assert main(["path", *options, "--penalty", "elasticnet", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["lams"] == pytest.approx([1e-3, 1e-2, 1e-1])
    assert settings["loss"] == "SquaredError()"


def test_inputs_are_told_by_their_names_and_rare_classes_by_their_recall(csv_file, capsys):
    options = ["--hidden", "0", "--lams", "0.01,0.1,0.2", "--methods", "proximal"]
    lines = enumerate(csv_file.read_text().splitlines())
    rare = [line.rpartition(",")[0] for i, line in lines if "yes" not in line or i % 4 == 0]
    csv_file.write_text("\n".join(rare))
    assert main(["path", "--data", str(csv_file), *options, "--class-weight", "balanced"]) == 0
    out, _ = capsys.readouterr()
    assert "keeps 1 of 3 inputs: a\n" in out
    assert "class weights balanced" in out
    assert re.search(r"always 'no', the commonest class: 0\.\d+, balanced 0\.500\n", out)
    scores = []
    for seed in ("0", "0", "4"):
        arguments = ["path", "--data", str(csv_file), *options, "--split-seed", seed, "--json"]
        assert main(arguments) == 0
        content = json.loads(capsys.readouterr().out)
        scores.append(content["points"][0]["objective"])
        assert content["points"][0]["test_balanced"] > 0.8
    assert scores[0] == scores[1] != scores[2]


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
        ["--fresh"],
        ["--split-seed", "-1"],
        ["--class-weight", "10=2"],
    ],
    ids=" ".join,
)
def test_bad_paths_are_one_line_and_status_2(options, capsys):
    assert main(["path", *WALK, *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("tinyreg path: error: ")
