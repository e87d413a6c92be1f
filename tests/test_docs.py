"""The docstrings are the reference: what users call is documented whole, true to its signature and
with an example; everything else has a summary in one line."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
from functools import cache
from importlib.util import find_spec

import pytest

import tinyreg as tr
from tinyreg.explain.explanation import hand_example
from tinyreg.solvers.duality import duality_gap
from tinyreg.study.convergence import converge

MODULES = {
    info.name.removeprefix("tinyreg."): importlib.import_module(info.name)
    for info in pkgutil.walk_packages(tr.__path__, "tinyreg.")
    if info.name != "tinyreg.__main__"
    and (info.name != "tinyreg.estimators" or find_spec("sklearn"))
}
NEEDS_AN_EXTRA = {"Comparison.plot", "LambdaPath.plot"}  # matplotlib
CALLED_BY_FIT = {"DivergenceError.in_training"}


def own(module):
    """The functions and classes that a module defines, without the private ones."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
        and not name.startswith("_")
    }


def members(thing):
    """The public methods and properties that a class defines itself."""
    return [
        name
        for name, member in vars(thing).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, property | classmethod))
    ]


# What users call: the public names, and what stands behind a result or a command.
PUBLIC = {name: getattr(tr, name) for name in tr.__all__}
PUBLIC |= {f.__name__: f for f in (hand_example, duality_gap, converge)}
FUNCTIONS = [name for name, thing in PUBLIC.items() if inspect.isfunction(thing)]
CLASSES = [name for name, thing in PUBLIC.items() if inspect.isclass(thing)]
MEMBERS = [
    f"{name}.{member}"
    for name in CLASSES
    for member in members(PUBLIC[name])
    if f"{name}.{member}" not in CALLED_BY_FIT
]


def thing_of(name):
    owner, _, member = name.partition(".")
    return getattr(PUBLIC[owner], member) if member else PUBLIC[owner]


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


def takes_any_message(thing):
    """An exception without an __init__ of its own."""
    return (
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
    """A method's class with its bases, and the protocols that have the method."""
    owner, member = name.split(".")
    bases = [c for c in PUBLIC[owner].__mro__ if c.__module__.startswith("tinyreg.")]
    protocols = [
        thing
        for module in MODULES.values()
        for thing in own(module).values()
        if getattr(thing, "_is_protocol", False) and hasattr(thing, member)
    ]
    return [*bases, *(p for p in protocols if p not in bases)]


def of_core(name):
    """In the core a class has one example, which does not call all of its methods."""
    return PUBLIC[name.partition(".")[0]].__module__.startswith("tinyreg.core.")


def code_of(member):
    return member.fget if isinstance(member, property) else member


def assert_summary_in_one_line(thing):
    doc = inspect.getdoc(thing)
    assert doc, "no docstring"
    summary = doc.splitlines()[0]
    assert len(summary) <= 100
    assert summary.endswith((".", "?"))
    assert not doc.splitlines()[1:] or doc.splitlines()[1] == ""


# ------------------------------------------------------------ everything


@pytest.mark.parametrize("module", MODULES)
def test_a_module_and_what_it_shares_have_a_summary_in_one_line(module):
    assert_summary_in_one_line(MODULES[module])
    for thing in own(MODULES[module]).values():
        assert_summary_in_one_line(thing)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_method_has_a_summary_in_one_line(name):
    assert_summary_in_one_line(thing_of(name))


# ------------------------------------------------------------ what users call


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_what_is_documented_is_what_is_taken(name):
    thing = PUBLIC[name]
    if takes_any_message(thing):
        return
    documented = entries(thing.__doc__, "Parameters")
    if inspect.isclass(thing) and (dataclasses.is_dataclass(thing) or hasattr(thing, "_fields")):
        documented = documented or entries(thing.__doc__, "Attributes")
    assert sorted(documented) == sorted(arguments(thing))


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
    if inspect.signature(thing).return_annotation != "None":
        assert sections(thing.__doc__).get("Returns", "").strip()


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES, *tr.datasets.__all__])
def test_a_function_or_class_has_an_example(name):
    thing = PUBLIC.get(name) or getattr(tr.datasets, name)
    code = "".join(examples(thing))
    assert code if inspect.isclass(thing) else re.search(rf"\b{name}\b", code)


@pytest.mark.parametrize("name", [n for n in MEMBERS if not of_core(n) and n not in NEEDS_AN_EXTRA])
def test_a_method_is_called_in_an_example(name):
    member = name.partition(".")[2]
    code = "".join(line for module in MODULES.values() for line in examples(module, True))
    assert re.search(rf"\.{member}\b", code), f"no example calls .{member}"


def test_the_package_lists_its_public_names_in_reading_order():
    listed = re.findall(r"^    (\w+) +\S", tr.__doc__, flags=re.MULTILINE)
    assert listed == tr.__all__
    assert max(map(len, tr.__doc__.splitlines())) <= 88
    assert examples(tr)
