"""The docstrings are the reference: whole, true to the signatures, each with an example."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
from functools import cache

import pytest

import tinyreg as tr

MODULES = {
    info.name: importlib.import_module(f"tinyreg.{info.name}")
    for info in pkgutil.iter_modules(tr.__path__)
    if info.name != "__main__"
}
# Modules that are public as a whole, but for what only their neighbours use.
WHOLE = (
    "layers", "losses", "penalties", "network", "objective", "optimizers", "sparsity", "datasets",
)  # fmt: skip
HELPERS = {
    "forward_pass", "outputs", "backward_pass",  # network
    "Data", "OfMatrix", "Piece",  # objective
    "SGDState", "AdamState", "learning_rate",  # optimizers
    "check_penalty_type", "encode_labels",  # penalties, losses
}  # fmt: skip
MORE = ("duality.duality_gap", "convergence.converge", "explain.hand_example", "cli.main")

NEEDS_AN_EXTRA = {"Comparison.plot", "LambdaPath.plot"}  # matplotlib


def own(module):
    """The functions and classes that a module defines, without the private ones."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
        and not name.startswith("_")
    }


def public():
    """Every public function and class, by its name."""
    things = {name: getattr(tr, name) for name in tr.__all__}
    for module in WHOLE:
        things |= {k: thing for k, thing in own(MODULES[module]).items() if k not in HELPERS}
    for name in MORE:
        module, name = name.split(".")
        things[name] = getattr(MODULES[module], name)
    return things


PUBLIC = public()
FUNCTIONS = [name for name, thing in PUBLIC.items() if inspect.isfunction(thing)]
CLASSES = [name for name, thing in PUBLIC.items() if inspect.isclass(thing)]
MEMBERS = [
    f"{name}.{member}"
    for name in CLASSES
    for member, thing in vars(PUBLIC[name]).items()
    if not member.startswith("_")
    and (inspect.isfunction(thing) or isinstance(thing, property | classmethod))
]
# The pairs that stand side by side as formulas: the module says once what they take and return.
ELEMENTWISE = {f.__name__ for pair in MODULES["layers"].ACTIVATIONS.values() for f in pair}
ELEMENTWISE |= {"dropout_forward", "dropout_backward"}


def thing_of(name):
    owner, _, member = name.partition(".")
    return getattr(PUBLIC[owner], member) if member else PUBLIC[owner]


def module_of(thing):
    return inspect.getmodule(thing)


@cache
def sections(doc):
    """{"": what comes first, "Parameters": …, …}."""
    parts = re.split(r"^([A-Z]\w+)\n-+$", inspect.cleandoc(doc or ""), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(doc, *names):
    """The names that stand before a colon in some sections."""
    found = []
    for name in names:
        for line in sections(doc).get(name, "").splitlines():
            if match := re.match(r"(\*?\w+(?:, \*?\w+)*) :( |$)", line):
                found += match[1].replace("*", "").split(", ")
    return found


def arguments(thing):
    """The names in a signature that a reader has to know."""
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]


def is_free_of_arguments(thing):
    """A protocol is never called; an exception without an __init__ of its own takes any message."""
    return getattr(thing, "_is_protocol", False) or (
        inspect.isclass(thing)
        and issubclass(thing, Exception)
        and not inspect.isfunction(thing.__init__)
    )


def examples(thing, recurse=False):
    """The lines of code in one docstring, and with `recurse` in those of a class's methods."""
    finder = doctest.DocTestFinder(recurse=recurse)
    found = finder.find(thing, getattr(thing, "__name__", "property"), globs={})
    return [example.source for test in found for example in test.examples]


def relatives(name):
    """A method's class with its bases, and the protocols of their module that have the method."""
    owner, member = name.split(".")
    bases = [c for c in PUBLIC[owner].__mro__ if c.__module__.startswith("tinyreg.")]
    protocols = [
        thing
        for thing in own(module_of(PUBLIC[owner])).values()
        if getattr(thing, "_is_protocol", False) and hasattr(thing, member)
    ]
    return [*bases, *(p for p in protocols if p not in bases)]


def code_of(member):
    return member.fget if isinstance(member, property) else member


@pytest.mark.parametrize("name", [*PUBLIC, *MEMBERS])
def test_a_public_name_has_a_summary_in_one_line(name):
    doc = inspect.getdoc(thing_of(name))
    assert doc, "no docstring"
    summary = doc.splitlines()[0]
    assert len(summary) <= 100
    assert summary.endswith(".")
    assert not doc.splitlines()[1:] or doc.splitlines()[1] == ""


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_what_is_documented_is_what_is_taken(name):
    thing = PUBLIC[name]
    if is_free_of_arguments(thing):
        return
    documented = entries(thing.__doc__, "Parameters")
    if name in ELEMENTWISE:
        documented = entries(module_of(thing).__doc__, "Elementwise")
        assert set(arguments(thing)) <= set(documented)
        return
    if inspect.isclass(thing) and (dataclasses.is_dataclass(thing) or hasattr(thing, "_fields")):
        documented = documented or entries(thing.__doc__, "Attributes")
    assert documented == arguments(thing)


@pytest.mark.parametrize("name", MEMBERS)
def test_what_a_method_takes_stands_in_its_docstring_or_in_that_of_its_class(name):
    code = code_of(thing_of(name))
    mine = entries(code.__doc__, "Parameters")
    assert set(mine) <= set(arguments(code))
    for thing in relatives(name):
        mine += entries(thing.__doc__, "Parameters", "Attributes", "Notes")
    assert set(arguments(code)) <= set(mine)


@pytest.mark.parametrize("name", CLASSES)
def test_what_a_class_says_of_its_methods_is_what_they_take(name):
    codes = [code_of(thing_of(member)) for member in MEMBERS if member.startswith(f"{name}.")]
    taken = {argument for code in codes for argument in arguments(code)}
    assert set(entries(PUBLIC[name].__doc__, "Notes")) <= taken


@pytest.mark.parametrize("name", CLASSES)
def test_an_attribute_in_the_docstring_exists(name):
    thing = PUBLIC[name]
    for attribute in entries(thing.__doc__, "Attributes"):
        assert (
            hasattr(thing, attribute)
            or attribute in thing.__annotations__
            or re.search(rf"self\.{attribute}\b.* = ", inspect.getsource(thing))
        ), attribute


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_function_returns_is_said(name):
    thing = PUBLIC[name]
    if name not in ELEMENTWISE and inspect.signature(thing).return_annotation != "None":
        assert sections(thing.__doc__).get("Returns", "").strip()


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_a_function_or_class_has_an_example(name):
    thing = PUBLIC[name]
    if name.endswith("_forward") and not examples(thing):  # that of its partner calls both
        backward = getattr(module_of(thing), name.replace("_forward", "_backward"))
        assert f"{name}(" in "".join(examples(backward))
    elif inspect.isclass(thing):
        assert examples(thing)
    else:
        assert re.search(rf"\b{name}\b", "".join(examples(thing)))


@pytest.mark.parametrize("name", MEMBERS)
def test_a_method_is_called_in_an_example(name):
    owner, member = name.split(".")
    module = module_of(PUBLIC[owner])
    if name in NEEDS_AN_EXTRA:
        return
    code = examples(module) + [e for thing in relatives(name) for e in examples(thing, True)]
    assert re.search(rf"\.{member}\b", "".join(code)), f"no example calls .{member}"


def test_the_package_lists_its_public_names_in_reading_order():
    listed = re.findall(r"^    (\w+) +\S", tr.__doc__, flags=re.MULTILINE)
    assert listed == tr.__all__
    assert max(map(len, tr.__doc__.splitlines())) <= 88
    assert examples(tr)


@pytest.mark.parametrize("module", MODULES)
def test_what_modules_share_has_a_docstring(module):
    assert MODULES[module].__doc__
    assert [name for name, thing in own(MODULES[module]).items() if not thing.__doc__] == []
