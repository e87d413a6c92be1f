"""The rules of the house: its rooms, who may import whom, and how long the core may be.

The README lists rooms and modules. Each rule is a function of the parsed modules that returns what
breaks it; the last tests show that it can be broken.
"""

import ast
import graphlib
import re
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "tinyreg"

README = (TESTS.parent / "README.md").read_text(encoding="utf-8")
LISTED = re.search(r"<!-- the house -->\n```text\n(.*?)\n```", README, re.DOTALL)[1]
ROOMS = dict(re.findall(r"^  (\w+)/ +(.*?)(?: +[A-Z ]+)?$", LISTED, re.MULTILINE))
# In the order of the README.
MODULES = []
for line in LISTED.splitlines()[1:]:
    folder, of_room, _ = line.strip().partition("/")
    names = ROOMS[folder].split() if of_room else re.findall(r"(\w+)\.py", line)
    MODULES += [f"{folder}.{name}" if of_room else name for name in names]
# Beside its own modules.
GROUND = ("errors", "validate", "files", "checkpoint")
LOWER = (*GROUND, "core", "sparsity", "solvers", "checks", "datasets", "render")
UPPER = (*LOWER, "study", "explain", "estimators")
MAY_IMPORT = {
    "ground": GROUND,
    "core": GROUND,
    "sparsity": (*GROUND, "core"),
    "solvers": (*GROUND, "core"),
    "checks": (*GROUND, "core", "render.document", "render.text"),
    "datasets": (*GROUND, "core"),
    "render": (*GROUND, "core"),
    "study": UPPER,
    "explain": UPPER,
    "estimators": LOWER,
    "notebook": UPPER,
    "cli": (*UPPER, "__init__"),
    "__init__": (*UPPER, "notebook"),
    "__main__": ("cli",),
}
NEEDED = {"numpy", "scipy", "tinyreg"} | sys.stdlib_module_names
OWN_NEEDS = {"estimators": {"sklearn"}}
OPTIONAL = {"matplotlib", "sklearn"}
MOST_LINES = 1200


def parsed(root):
    """{"core.layers": its syntax tree, …} of all modules under a folder."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): ast.parse(path.read_bytes())
        for path in sorted(root.rglob("*.py"))
    }


def room(module):
    return "ground" if module in GROUND else module.partition(".")[0]


def imports(module, tree):
    """(statement, the full name of what it imports) for each import in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ["tinyreg", *module.split(".")][: -node.level] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            yield from ((node, f"{start}.{alias.name}") for alias in node.names)


def imported(modules, module):
    """The modules of the package that one of them imports; of a room as such, its __init__."""
    found = set()
    for _, name in imports(module, modules[module]):
        if name.partition(".")[0] == "tinyreg":
            parts = [*name.split(".")[1:], "__init__"]
            places = (".".join([*parts[:n], *end]) for n in (2, 1, 0) for end in ([], ["__init__"]))
            found.add(next(place for place in places if place in modules))
    return found


# ------------------------------------------------------------ the rules


def misplaced(modules):
    """Modules that the README does not list, and those that it lists and that do not exist."""
    packages = {"__init__", "__main__", *(f"{name}.__init__" for name in ROOMS)}
    return sorted({*packages, *MODULES} ^ set(modules))


def trespasses(modules):
    """Imports from a room that this one may not import from."""
    return [
        f"{module} imports {other}"
        for module in modules
        for other in sorted(imported(modules, module))
        if not {other, room(other)} & {room(module), *MAY_IMPORT[room(module)]}
    ]


def too_early(modules, order):
    """Imports of a module that the reader has not come to yet."""
    return [
        f"{module} imports {other}"
        for place, module in enumerate(order)
        for other in sorted(imported(modules, module) - {"__init__", *order[:place]})
    ]


def circles(modules):
    try:
        graphlib.TopologicalSorter({m: imported(modules, m) for m in modules}).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(reversed(error.args[1]))]
    return []


def detours(modules):
    """Names that come from a room's __init__ and not from the module that defines them."""
    return [
        f"{module} imports from {other}"
        for module in modules
        for other in imported(modules, module)
        if other.endswith(".__init__")
    ]


def hidden_imports(modules):
    """Imports in functions or under a condition (TYPE_CHECKING, say) of what is always there."""
    return [
        f"{module}, line {node.lineno}: {name}"
        for module, tree in modules.items()
        for node, name in imports(module, tree)
        if node not in tree.body and name.partition(".")[0] not in OPTIONAL
    ]


def unmet_needs(modules):
    """Imports at the top of a module of what may not be there."""
    return [
        f"{module}, line {node.lineno}: {name}"
        for module, tree in modules.items()
        for node, name in imports(module, tree)
        if node in tree.body and name.partition(".")[0] not in NEEDED | OWN_NEEDS.get(module, set())
    ]


def lines_of_core(root):
    """How many lines of core/ are not blank, docstrings and comments included."""
    return sum(
        bool(line.strip())
        for path in (root / "core").glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    )


@pytest.fixture(scope="module")
def house():
    return parsed(PACKAGE)


def test_the_readme_lists_every_module_in_its_room(house):
    assert misplaced(house) == []
    assert {*map(room, MODULES)} == {*MAY_IMPORT} - {"__init__", "__main__"}


def test_in_the_order_of_the_readme_each_module_imports_only_from_those_before_it(house):
    assert too_early(house, [module for module in MODULES if module in house]) == []


def test_a_room_imports_only_from_the_rooms_that_it_may_know(house):
    assert trespasses(house) == []


def test_no_modules_import_each_other_in_a_circle(house):
    assert circles(house) == []


def test_a_name_is_imported_from_the_module_that_defines_it(house):
    assert detours(house) == []


def test_only_optional_packages_are_imported_within_a_function_or_under_a_condition(house):
    assert hidden_imports(house) == []


def test_nothing_but_numpy_and_scipy_is_needed(house):
    assert unmet_needs(house) == []


def test_the_core_is_read_in_half_an_hour():
    lines = lines_of_core(PACKAGE)
    assert lines <= MOST_LINES, f"core/ has {lines} lines that are not blank, of {MOST_LINES}"


def test_the_tests_mirror_the_rooms_and_import_no_other_test():
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders <= {*MAY_IMPORT, "browser", "support"}
    for path in TESTS.rglob("*.py"):
        for _, name in imports(path.stem, ast.parse(path.read_bytes())):
            assert name.partition(".")[0] != "tests" or name.startswith("tests.support."), path


# ------------------------------------------------------------ each of them can be broken


@pytest.mark.parametrize(
    ("rule", "files", "told"),
    [
        (misplaced, {"core/extra.py": ""}, "core.extra"),
        (misplaced, {"blocks.py": ""}, "blocks"),
        (trespasses, {"core/layers.py": "from tinyreg.render.text import table",
                      "render/text.py": ""}, "core.layers imports render.text"),
        (trespasses, {"validate.py": "from tinyreg.core import layers",
                      "core/layers.py": ""}, "validate imports core.layers"),
        (trespasses, {"solvers/proximal.py": "from ..sparsity import groups",
                      "sparsity/groups.py": ""}, "solvers.proximal imports sparsity.groups"),
        (trespasses, {"checks/report.py": "from tinyreg.render.plots import draw",
                      "render/plots.py": ""}, "checks.report imports render.plots"),
        (trespasses, {"study/path.py": "import tinyreg.cli.main",
                      "cli/main.py": ""}, "study.path imports cli.main"),
        (trespasses, {"core/layers.py": "import tinyreg",
                      "__init__.py": ""}, "core.layers imports __init__"),
        (trespasses, {"core/network.py": "def f():\n    from tinyreg.study.path import path",
                      "study/path.py": ""}, "core.network imports study.path"),
        (circles, {"core/layers.py": "from tinyreg.core.losses import a",
                   "core/losses.py": "from .layers import b"}, "core.layers"),
        (detours, {"study/path.py": "from tinyreg.datasets import load_digits",
                   "datasets/__init__.py": ""}, "study.path imports from datasets.__init__"),
        (hidden_imports, {"errors.py": "def f():\n    import math"}, "errors, line 2: math"),
        (hidden_imports, {"render/plots.py": "if TYPE_CHECKING:\n    from tinyreg import core"},
         "render.plots, line 2: tinyreg.core"),
        (unmet_needs, {"render/text.py": "import sklearn",
                       "estimators.py": "import sklearn"}, "render.text, line 1: sklearn"),
        (unmet_needs, {"render/plots.py": "import matplotlib"}, "render.plots, line 1: matplotlib"),
    ],
)  # fmt: skip
def test_a_rule_names_what_breaks_it(rule, files, told, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (broken,) = [line for line in rule(parsed(tmp_path)) if told in line]
    assert told in broken


def test_a_module_that_comes_too_early_is_named(tmp_path):
    (tmp_path / "files.py").write_text("from tinyreg.validate import check")
    (tmp_path / "validate.py").write_text("import math")
    modules = parsed(tmp_path)
    assert too_early(modules, ["validate", "files"]) == []
    assert too_early(modules, ["files", "validate"]) == ["files imports validate"]


def test_blank_lines_do_not_count_and_comments_do(tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "layers.py").write_text('"""Layers."""\n\n# why\nx = 1\n  \n')
    (tmp_path / "errors.py").write_text("x = 1\n")
    assert lines_of_core(tmp_path) == 3
