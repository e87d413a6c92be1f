"""`tinyreg explain --format html`, and `--out` for every format."""

import json

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.cli.main import main
from tinyreg.datasets.scaling import Scaling
from tinyreg.explain.explanation import hand_example
from tinyreg.study.model import Model

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*options, status=0):
        assert main(["explain", *options]) == status
        return capsys.readouterr()

    return run


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("form", ["text", "markdown", "latex", "html"])
def test_out_holds_what_would_have_been_printed(form, options, run, tmp_path):
    path = tmp_path / "pass.out"
    path.write_text("old")
    printed, _ = run("--format", form, *options)
    assert run("--format", form, *options, "--out", "pass.out") == ("", "")
    assert path.read_text(encoding="utf-8") == printed
    assert [file.name for file in tmp_path.iterdir()] == ["pass.out"]
    if options:
        json.loads(printed)


def test_the_page_is_that_of_the_explanation(run):
    page, _ = run("--format", "html")
    objective, X, y = hand_example()
    own = tr.explain(objective, X, y)
    own.sections[0].pieces.append("The sample: made to be worked by hand.")
    assert page == own.html()


@pytest.mark.parametrize(
    ("out", "message"),
    [(".", "directory"), ("none/pass.html", "No such file"), ("", "directory")],
)
def test_what_cannot_be_written_is_told_in_one_line(out, message, run, tmp_path):
    printed, error = run("--format", "html", "--out", out, status=2)
    assert (printed, error.count("\n")) == ("", 1)
    assert error.startswith("tinyreg explain: error: ")
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_a_file_stays_as_it_was_when_the_options_are_wrong(run, tmp_path):
    (tmp_path / "pass.html").write_text("old")
    run("--format", "html", "--out", "pass.html", "--lr", "-1", status=2)
    assert (tmp_path / "pass.html").read_text() == "old"


def test_a_saved_model_and_a_row_make_a_page_and_no_name_becomes_a_tag(run, tmp_path):
    columns = [f"a{EVIL}", "b<i>", "&amp;"]
    net = tr.MLP((3, 5, 2), seed=1)
    Model(
        net,
        tr.SoftmaxCrossEntropy(),
        columns,
        classes=np.array(["ant", f"<b>{EVIL}"]),
        scaling=Scaling(np.array([1.0, 2.0, 3.0]), np.ones(3)),
        target=f"kind{EVIL}",
    ).save(tmp_path / "model.npz")
    lines = [",".join([*columns, f"kind{EVIL}"]), f"1,2,3.5,<b>{EVIL}", "2,3,4,ant"]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    options = ["--model", "model.npz", "--data", "table.csv", "--row", "0", "--lam", "0.01"]
    page, _ = run(*options, "--format", "html")
    assert page.count("<script") == 2  # its own, and its data
    assert page.count("</script>") == 2
    for tag in ("<i>", "<b>"):
        assert tag not in page
    assert "&lt;i&gt;" in page
    assert "&amp;amp;" in page
