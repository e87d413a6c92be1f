"""The pages tell the truth: their Python runs and prints what they say, their commands exist."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tinyreg.cli.main import main

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "tinyreg/study/README.md", "tests/README.md", "benchmarks/README.md")
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
README, PITFALLS, TESTS, BENCHMARKS = PAGES.values()
# (marker, kind, text), and of Python (code, the output that stands directly below).
BLOCK = re.compile(r"^(?:<!-- ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
SPACE_OR_RULE = re.compile(r"[ -]+")


def marked(marker, page=README):
    """The code block that follows a marker."""
    (block,) = (text for found, _, text in BLOCK.findall(page) if found == marker)
    return block


def lines_of(kind, page):
    return [
        line
        for _, found, text in BLOCK.findall(page)
        if found == kind
        for line in text.splitlines()
    ]


def words(text):
    return NUMBER.sub("#", text).split()


def assert_alike(printed, stated, rel):
    """The same words, and numbers that differ by little: other machines add in another order."""
    assert words(printed) == words(stated)
    for a, b in zip(NUMBER.findall(printed), NUMBER.findall(stated), strict=True):
        last_digit = 10.0 ** -len(b.partition(".")[2])
        assert float(a) == pytest.approx(float(b), rel=rel, abs=2 * last_digit)


def assert_lines_of(stated, printed, key=str):
    """Each line stands in what was printed, in the same order."""
    lines = map(key, printed.splitlines())
    for line in stated.splitlines():
        assert key(line) in lines, line


# ------------------------------------------------------------ the pages


def test_the_readme_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_every_block_is_of_a_kind_that_a_test_runs():
    for page in PAGES.values():
        outputs = [output for _, output in CODE.findall(page)]
        for marker, kind, text in BLOCK.findall(page):
            assert kind in ("python", "text", "bash")
            # The tables of the benchmarks are not printed anew.
            assert kind != "text" or marker or text in outputs or page is BENCHMARKS, text
    # Both commands carry a marker, by which the continuous integration finds and runs them.
    assert lines_of("bash", README) == [
        marked("run: compare").rstrip("\n"),
        marked("run: test").rstrip("\n"),
        *marked("run: your data").splitlines(),
    ]


def test_the_commands_for_data_of_ones_own_run(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    rows = [f"{a},{b},{'big' if a > 1 else 'small'}" for a, b in X]
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("\n".join(["length,width,kind", *rows]))
    Path("new.csv").write_text("width,length\n0.5,2\n0.5,-2\n")
    quick = {
        "compare": ["--epochs", "60", "--seeds", "0", "--convergence", "0"],
        "path": ["--lams", "1e-2,1", "--seeds", "0", "--epochs", "1", "--first-epochs", "1"],
    }
    printed = []
    for line in marked("run: your data").splitlines():
        _, command, *options = line.partition(" #")[0].split()
        assert main([command, *options, *quick.get(command, [])]) == 0, line
        printed.append(capsys.readouterr().out)
    assert "always 'small', the commonest class" in printed[0]
    assert [row.rpartition(",")[2] for row in printed[1].splitlines()] == [
        "prediction", "big", "small"
    ]  # fmt: skip
    assert printed[2].startswith("input,norm\nlength,")
    assert "gap" in printed[3]


@pytest.mark.parametrize(
    ("name", "outputs"), [("README.md", 1), ("tinyreg/study/README.md", 12), ("tests/README.md", 0)]
)
def test_the_python_blocks_run_in_order_and_print_what_stands_below_them(name, outputs, capsys):
    names, checked = {}, 0
    for code, output in CODE.findall(PAGES[name]):
        if not all(map(find_spec, re.findall(r"^import (\w+)", code, re.MULTILINE))):
            continue  # a block for those who have that library
        exec(compile(code, name, "exec"), names)
        printed = capsys.readouterr().out
        if output:
            assert_alike(printed, output, rel=0.02)
            checked += 1
    assert checked == outputs


def test_every_link_leads_somewhere():
    for name, page in PAGES.items():
        for target in re.findall(r"\]\(([^)]+)\)", page):
            path, _, anchor = target.partition("#")
            if not path.startswith("http"):
                file = (ROOT / name).parent / path if path else ROOT / name
                assert file.exists(), (name, target)
                assert not anchor or anchor in anchors(file), (name, target)


def anchors(file):
    """Of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


# ------------------------------------------------------------ README


def test_explain_prints_the_lines_that_the_readme_shows(capsys):
    assert main(["explain"]) == 0
    printed = capsys.readouterr().out
    assert_lines_of(marked("output: explain"), printed)
    # The equation stands whole in the output.
    for paragraph in marked("output: explain").split("\n\n")[:2]:
        assert f"\n{paragraph}\n" in printed


@pytest.mark.slow
def test_the_main_job_prints_what_the_pages_show(capsys, tmp_path):
    command = marked("run: compare").split("tinyreg compare")[1].split()
    assert command == ["--out", "comparison"]
    assert main(["compare", "--out", str(tmp_path)]) == 0
    printed, stated = capsys.readouterr().out, marked("output: compare", BENCHMARKS)
    # Its network, checked as the README shows: where it stands is the run's own.
    assert main(["check", "--model", str(tmp_path / "proximal.npz")]) == 0
    checked = capsys.readouterr().out
    assert_lines_of(marked("output: check"), checked, key=words)
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


def test_the_readme_shows_lines_of_the_whole_comparison():
    assert_lines_of(marked("output: compare"), marked("output: compare", BENCHMARKS))


# ------------------------------------------------------------ the pitfalls, the tests, the results


def test_the_twelve_pitfalls_are_shown_each_with_what_it_prints():
    numbered = re.split(r"^\*\*(\d+)\. ", PITFALLS, flags=re.MULTILINE)
    assert numbered[1::2] == [str(i) for i in range(1, 13)]
    for text in numbered[2::2]:
        assert re.search(r"```python\n.+?```\n\n```text\n.+?```", text, re.DOTALL), text[:40]


def test_the_table_of_conventions_names_tests_that_exist():
    section = TESTS.partition("## The same thing elsewhere")[2].partition("\n## ")[0]
    named = re.findall(r"`(test_\w+)` \|$", section, flags=re.MULTILINE)
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(named) == len(rows) - 1  # all but the header
    files = (ROOT / "tests").rglob("test_*.py")
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    assert set(named) <= set(re.findall(r"^def (test_\w+)", code, flags=re.MULTILINE))


def test_the_path_prints_the_lines_that_the_benchmarks_show(capsys):
    quick = ["--lams", "1e-3,1", "--first-epochs", "1", "--epochs", "1", "--seeds", "0"]
    assert main(["path", "--hidden", "8", *quick]) == 0
    printed, stated = capsys.readouterr().out.split("\n\n")[-1], marked("output: path", BENCHMARKS)
    for text in (printed, stated):
        lines = text.strip().splitlines()
        assert (
            lines[0] == "mean test score at the smallest λ whose share of exact zeros is at least"
        )
        assert re.fullmatch(r"  subgradient  (\d\d %: never *){4}", lines[1])
        assert lines[2].startswith("  proximal     50 %: ")


def test_the_commands_that_run_the_tests_and_the_benchmarks_exist():
    commands = lines_of("bash", TESTS) + lines_of("bash", BENCHMARKS)
    modules = [match[1] for line in commands if (match := re.match(r"python -m (\S+)", line))]
    installs = [line for line in commands if re.match("(pip|apt-get) install ", line)]
    assert len(modules) + len(installs) == len(commands)
    assert {name for name in modules if not find_spec(name)} == set()
    scripts = {f"benchmarks.{path.stem}" for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(modules) == scripts - {"benchmarks.machine"} | {"pytest"}


def test_each_result_is_of_a_script_that_exists_and_has_a_table():
    sections = re.split(r"^## `(\w+)\.py`", BENCHMARKS, flags=re.MULTILINE)[1:]
    assert len(sections) >= 12
    for script, text in zip(sections[::2], sections[1::2], strict=True):
        assert (ROOT / "benchmarks" / f"{script}.py").exists()
        assert re.search(r"^-+(  -+)+$", text, flags=re.MULTILINE), script
