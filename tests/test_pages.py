"""The README tells the truth: its Python runs and prints what it says, its commands exist."""

import ast
import re
from pathlib import Path

import pytest

from tinyreg.cli.main import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
SPACE_OR_RULE = re.compile(r"[ -]+")


def marked(marker):
    """The code block that follows a marker."""
    match = re.search(rf"^<!-- {marker} -->\n```\w+\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert match, f"the README has no block marked {marker}"
    return match[1]


def assert_alike(printed, stated, rel):
    """The same words, and numbers that differ by little: other machines add in another order."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", stated).split()
    for a, b in zip(NUMBER.findall(printed), NUMBER.findall(stated), strict=True):
        last_digit = 10.0 ** -len(b.partition(".")[2])
        assert float(a) == pytest.approx(float(b), rel=rel, abs=2 * last_digit)


def test_every_block_is_of_a_kind_that_a_test_runs():
    assert {kind for kind, _ in BLOCKS} == {"python", "text", "bash"}
    # Both bash blocks carry a marker, by which the continuous integration finds and runs them.
    assert [text for kind, text in BLOCKS if kind == "bash"] == [
        marked("run: compare"),
        marked("run: test"),
    ]


def test_the_python_blocks_run_in_order_and_print_what_stands_below_them(capsys):
    names = {}
    checked = 0
    for (kind, code), (next_kind, output) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind == "python":
            exec(compile(code, "README.md", "exec"), names)
            for name in re.findall(r"^def (test_\w+)", code, flags=re.MULTILINE):
                names[name]()
                checked += 1
            if next_kind == "text":
                assert_alike(capsys.readouterr().out, output, rel=0.02)
                checked += 1
    assert checked >= 16


def test_explain_prints_the_lines_that_the_readme_shows(capsys):
    assert main(["explain"]) == 0
    printed = capsys.readouterr().out
    # The step table hangs together with its columns; each paragraph stands whole in the output.
    for paragraph in marked("output: explain").rstrip("\n").split("\n\n"):
        assert f"\n{paragraph}\n" in printed


def test_the_ten_pitfalls_are_shown_each_with_what_it_prints():
    section = README.partition("## Pitfalls")[2].partition("\n## ")[0]
    numbered = re.split(r"^\*\*(\d+)\. ", section, flags=re.MULTILINE)
    assert numbered[1::2] == [str(i) for i in range(1, 11)]
    for text in numbered[2::2]:
        assert re.search(r"```python\n.+?```\n\n```text\n.+?```", text, re.DOTALL), text[:40]


def test_each_command_of_the_results_exists_and_has_a_table():
    results = README.partition("\n## Results\n")[2].partition("\n## ")[0]
    commands = re.split(r"^`python (benchmarks/\w+\.py)`", results, flags=re.MULTILINE)[1:]
    assert len(commands) >= 8
    for script, text in zip(commands[::2], commands[1::2], strict=True):
        assert (Path(__file__).parent.parent / script).exists()
        assert re.search(r"^\|.+\|\n\|[-|]+\|\n\|.+\|$", text, flags=re.MULTILINE), script


@pytest.mark.slow
def test_the_main_job_prints_what_the_readme_shows(capsys, tmp_path):
    command = marked("run: compare").split("tinyreg compare")[1].split()
    assert command == ["--out", "comparison"]
    assert main(["compare", "--out", str(tmp_path)]) == 0
    printed, stated = capsys.readouterr().out, marked("output: compare")
    # Its network, checked as the README shows: where it stands is the run's own.
    assert main(["check", "--model", str(tmp_path / "proximal.npz")]) == 0
    checked = capsys.readouterr().out
    shown = marked("output: check")
    assert NUMBER.sub("#", checked.splitlines()[0]) == NUMBER.sub("#", shown.splitlines()[0])
    assert "penalised weights at 0, −∇L a subgradient of the penalty at" in shown
    assert "penalised weights at 0, −∇L a subgradient of the penalty at" in checked
    # Times and spreads are the machine's and the run's own, and the early steps of L-BFGS-B on a
    # network (F_best, and so the distances from it) depend on rounding.
    for text in (printed, stated):
        solvers = text.partition("full batch")[2]
        assert solvers.count("subgradient") == 2
        assert "F_best" in solvers
    printed, stated = (text.partition("full batch")[0] for text in (printed, stated))
    for line in ("milliseconds", "speed-up", "stationarity"):
        printed, stated = (
            re.sub(rf"^{line}.*$", line, text, flags=re.MULTILINE) for text in (printed, stated)
        )
    printed, stated = (
        SPACE_OR_RULE.sub(" ", re.sub(r"± [\d.]+", "±", text)) for text in (printed, stated)
    )
    assert_alike(printed, stated, rel=0.05)


def test_the_path_prints_the_lines_that_the_readme_shows(capsys):
    quick = ["--lams", "1e-3,1", "--first-epochs", "1", "--epochs", "1", "--seeds", "0"]
    assert main(["path", "--hidden", "8", *quick]) == 0
    printed, stated = capsys.readouterr().out.split("\n\n")[-1], marked("output: path")
    for text in (printed, stated):
        lines = text.strip().splitlines()
        assert (
            lines[0] == "mean test score at the smallest λ whose share of exact zeros is at least"
        )
        assert re.fullmatch(r"  subgradient  (\d\d %: never *){4}", lines[1])
        assert lines[2].startswith("  proximal     50 %: ")


def test_each_module_imports_only_from_those_above_it():
    order = re.findall(r"^\| \[`(\w+)\.py`\]", README, flags=re.MULTILINE)
    package = Path(__file__).parent.parent / "tinyreg"
    for place, module in enumerate(order):
        tree = ast.parse((package / f"{module}.py").read_text(encoding="utf-8"))
        # Not those inside functions (pictures) or under TYPE_CHECKING: they run when asked for.
        imported = {
            node.module.removeprefix("tinyreg.")
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinyreg.")
        }
        assert imported <= set(order[:place]), module


def test_the_map_names_every_module():
    package = Path(__file__).parent.parent / "tinyreg"
    linked = set(re.findall(r"\]\((tinyreg/\w+\.py)\)", README))
    modules = {f"tinyreg/{path.name}" for path in package.glob("*.py")}
    assert linked == modules - {"tinyreg/__init__.py", "tinyreg/__main__.py"}


def test_every_link_leads_somewhere():
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (root / target).exists(), target


def test_the_table_of_conventions_names_tests_that_exist():
    section = README.partition("## The same thing elsewhere")[2].partition("\n## ")[0]
    named = re.findall(r"`(test_\w+)` \|$", section, flags=re.MULTILINE)
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(named) == len(rows) - 1  # all but the header
    tests = Path(__file__).parent
    files = [tests / "test_agreement.py", tests / "test_solvers.py"]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    assert set(named) <= set(re.findall(r"^def (test_\w+)", code, flags=re.MULTILINE))
