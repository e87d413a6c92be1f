"""`tinyreg check`: what it passes, what it fails, what it refuses."""

import json

import numpy as np
import pytest

import tinyreg as tr
from tests.support.commands import QUICK
from tinyreg.cli.main import main
from tinyreg.study.model import Model

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


def test_check_takes_a_trained_network_at_its_own_zeros(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tinyreg.cli.options.find_spec", lambda name: None)  # no pictures
    arguments = ["compare", *QUICK, "--lam", "1e-2", "--methods", "proximal", "--out"]
    assert main([*arguments, str(tmp_path)]) == 0
    capsys.readouterr()
    model, bare = str(tmp_path / "proximal.npz"), str(tmp_path / "bare.npz")
    net = tr.MLP.load(model)
    net.save(bare)  # of which nothing else is known
    reports = []
    for file, more in ((model, []), (model, ["--batch", "32"]), (bare, ["--lam", "1e-2"])):
        assert main(["check", "--model", file, *more, "--json"]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    zeros = np.count_nonzero(net.weights[0] == 0)
    assert zeros > 10
    assert {report["rows"][0]["zeros"]["count"] for report in reports} == {zeros}
    assert {report["penalty"] for report in reports} == {
        tr.L1(1e-2).value(net.params[: net.n_weights])
    }
    assert [report["notes"][-1] for report in reports] == [
        "data: 1438 samples, all of the training part of digits",
        "data: 32 samples, the first of the training part of digits",
        "data: 32 samples, the first of digits",
    ]


def test_a_model_of_other_data_is_not_checked_on_the_digits(tmp_path, capsys):
    net = tr.MLP((64, 10))
    command = {"data": "images.csv", "rows": 9, "target": None, "penalty": "l2", "lam": 0.5}
    command |= {"test_share": 0.2, "split_seed": 0, "class_weight": None}
    settings = {"command": command}
    Model(net, tr.SquaredError(), [f"p{i}" for i in range(64)], settings=settings).save(
        tmp_path / "m.npz"
    )
    assert main(["check", "--model", str(tmp_path / "m.npz")]) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("32 random normal samples, no data of the model (see --data)")
    assert "gradient of SquaredError() of MLP((64, 10)" in out
    assert "penalty L2(lam=0.5)" in out


def test_a_model_of_the_digits_is_of_no_other_table_of_as_many_rows(tmp_path, capsys):
    command = {"data": "digits", "rows": 20, "target": None, "penalty": "l2", "lam": 0.5}
    command |= {"test_share": 0.2, "split_seed": 0, "class_weight": None}
    model = Model(
        tr.MLP((3, 2)), tr.SoftmaxCrossEntropy(), list("abc"), settings={"command": command}
    )
    model.save(tmp_path / "m.npz")
    np.savez(tmp_path / "t.npz", X=np.eye(20)[:, :3], y=np.arange(20) % 2)
    options = ["--model", str(tmp_path / "m.npz"), "--data", str(tmp_path / "t.npz")]
    assert main(["check", *options]) == 0
    assert capsys.readouterr().out.rstrip().endswith("other data than the model was trained on")


@pytest.mark.parametrize("loss", ["squared", "sigmoid"])
def test_a_target_for_each_output_is_asked_for_by_number(csv_file, capsys, loss):
    csv_file.write_text(csv_file.read_text().replace("yes", "1").replace("no", "0"))
    assert main(["check", "--sizes", "4,2", "--loss", loss, "--data", str(csv_file)]) == 2
    told = "the target of --data must have a column for each of the 2 outputs of this network"
    assert f"{told}, --target has 1" in capsys.readouterr().err


@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_check_takes_a_table(classes_file, capsys, loss):
    options = ["--sizes", "3,4,2", "--loss", loss, "--data", str(classes_file)]
    assert main(["check", *options]) == 0
    assert "32 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--sizes", "5"],
        ["--sizes", "5,x"],
        ["--sizes", "5,0"],
        ["--sizes", ""],  # as of a variable that is not set
        ["--sizes", "2,2", "--data", ""],
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
