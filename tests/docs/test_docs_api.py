"""What users import is documented: each public name has a docstring, and the examples in docstrings run."""

from __future__ import annotations

import doctest
import enum
import importlib
import inspect
import runpy
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import guests.build
from emu.testing import GuestMachine
from tests.docs.pages import ROOT
from tests.docs.test_docs_commands import needs_installation

API: tuple[str, ...] = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["API"]
#: Whose every function and class that is no exception, no enumeration and no plain record shows how it is used.
SHOWN = ("mmu", "emu.machine", "emu.testing", "guests")
#: What nobody makes: they come out of something that has an example.
RESULTS = {"mmu.EventRing", "mmu.Translation", "mmu.WalkStep"}


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What a module exports: __all__, or the classes and functions that it defines."""
    for name in getattr(module, "__all__", vars(module).copy()):
        value = getattr(module, name)
        ours = getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
        if hasattr(module, "__all__") or (ours and (inspect.isclass(value) or inspect.isfunction(value))):
            yield name, value


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class."""
    for name, value in vars(owner).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, getattr(owner, name)


def has_words(value: Any) -> bool:
    """A docstring of its own: dataclasses and named tuples without one repeat their signature."""
    text = inspect.getdoc(value) or ""
    return bool(text) and not text.startswith(f"{getattr(value, '__name__', '')}(")


@pytest.mark.parametrize("name", API)
def test_every_public_name_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert has_words(module)
    for own, value in public(module):
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        assert has_words(value), f"{name}.{own}"
        if inspect.isclass(value):
            assert not [f"{own}.{member}" for member, it in members(value) if not has_words(it)], name


@pytest.mark.parametrize("name", SHOWN)
def test_what_users_call_has_an_example(name: str) -> None:
    for own, value in public(importlib.import_module(name)):
        if inspect.isclass(value) and issubclass(value, BaseException | enum.Enum):
            continue
        if (inspect.isclass(value) or inspect.isfunction(value)) and f"{name}.{own}" not in RESULTS:
            assert ">>> " in (inspect.getdoc(value) or ""), f"{name}.{own}"


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """What the examples of emu.testing go on from: those of the package's own docstring."""
    names: dict[str, Any] = {"GuestMachine": GuestMachine}
    package = importlib.import_module("emu.testing")
    (example,) = [test for test in doctest.DocTestFinder().find(package, globs=names) if test.name == "emu.testing"]
    doctest.DocTestRunner().run(example, clear_globs=False)
    return example.globs


def examples() -> list[doctest.DocTest]:
    homes = {getattr(value, "__module__", name) for name in API for _, value in public(importlib.import_module(name))}
    modules = {
        name for name in (*API, *homes) if name.partition(".")[0] in ("mmu", "emu", "msharefs", "sharing", "guests")
    }
    found = [test for name in sorted(modules) for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    return [test for test in found if test.examples]


@needs_installation
@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_example(example: doctest.DocTest, story: dict[str, Any]) -> None:
    if "compile_guest" in example.name and guests.build.compiler() is None:
        pytest.skip("there is no gcc on the PATH")
    if example.name.startswith("emu.testing."):
        example.globs = {**story, **example.globs}
    said: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(
        example, out=said.append
    )
    assert not failed.failed, "".join(said)


def test_what_each_file_is_about_is_found() -> None:
    """Its first sentence, behind however many lines of comment."""
    first_sentence = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["first_sentence"]
    about = {
        path: first_sentence(path) for folder in ("emu", "mmu", "examples") for path in (ROOT / folder).rglob("*.py")
    }
    assert about[ROOT / "emu" / "trace" / "batch.py"].startswith("Some events of a trace in their order")
    assert len([text for text in about.values() if text]) > 400
