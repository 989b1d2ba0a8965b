"""The key of object code: what decides the code changes it, and nothing else does."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from mmu.codekey import facts, key
from mmu.remembered import host_cpu

SOURCES = {
    "kt_hooks": '''
"""Entry points."""
from kt_helper import helped
from kt_words import Record, Colour
from mmu.native import entry

@entry("u64", "u64", Record)
def hook(x, record):
    """A docstring."""
    return helped(x) + record.b + Colour.RED

@entry("bool", "u32")
def other(x):
    return x == 1
''',
    "kt_helper": """
import kt_unrelated
from kt_deep import deep
from mmu.native import native

@native
def helped(x, more=2):
    return deep(x) + more  # a comment

@native
def not_reached(x):
    return x + 7

def of_python(x):
    return kt_unrelated.python_too(x)
""",
    "kt_deep": """
from kt_words import LIMIT, UNUSED
from mmu.native import cold, inlined, load32, load64

@inlined
def deep(x):
    return load64(x) + LIMIT
""",
    "kt_words": """
import ctypes
from enum import IntEnum

LIMIT = 12
UNUSED = 13

class Colour(IntEnum):
    RED = 1
    BLUE = 2

class Record(ctypes.Structure):
    _fields_ = [("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
""",
    "kt_unrelated": """
from mmu.native import native

@native
def nobody_calls_it(x):
    return x + 1

def python_too(x):
    return x + 1
""",
}

KeyOf = Callable[..., str]


@pytest.fixture
def key_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyOf:
    """The key of kt_hooks with one replacement in one source."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def imported(changed: str = "", old: str = "", new: str = "") -> str:
        for name, source in SOURCES.items():
            assert name != changed or old in source
            (tmp_path / f"{name}.py").write_text(source.replace(old, new) if name == changed else source)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        try:
            return key(importlib.import_module("kt_hooks"))
        finally:
            for name in SOURCES:
                sys.modules.pop(name, None)

    return imported


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("kt_hooks", "helped(x) +", "helped(x) ^"),
        ("kt_hooks", '"bool", "u32"', '"u64", "u32"'),
        ("kt_hooks", "def other", "def another"),
        ("kt_hooks", "x == 1", "x == 2"),
        ("kt_helper", "deep(x) + more", "deep(x) - more"),
        ("kt_helper", "more=2", "more=3"),
        ("kt_helper", "deep(x) + more", "deep(x + more)"),
        ("kt_deep", "load64(x) + LIMIT", "load64(x + LIMIT)"),
        ("kt_deep", "@inlined\ndef", "@cold\ndef"),
        ("kt_deep", "load64(x)", "load32(x)"),
        ("kt_words", "LIMIT = 12", "LIMIT = 12 + 1"),
        ("kt_words", "LIMIT = 12", "LIMIT = True"),
        ("kt_words", "RED = 1", "RED = 3"),
        ("kt_words", '"b", ctypes.c_uint64', '"b", ctypes.c_uint32'),
        ("kt_words", '("a", ctypes.c_uint64), ', ""),
    ],
)
def test_what_decides_the_code_changes_the_key(key_of: KeyOf, module: str, old: str, new: str) -> None:
    assert key_of(module, old, new) != key_of()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("kt_hooks", "A docstring.", "Another one."),
        ("kt_hooks", "Entry points.", "Hooks."),
        ("kt_helper", "  # a comment", "\n"),
        ("kt_helper", "x + 7", "x + 8"),
        ("kt_helper", "kt_unrelated.python_too(x)", "5"),
        ("kt_words", "UNUSED = 13", "UNUSED = 14"),
        ("kt_unrelated", "x + 1", "x + 2"),
    ],
)
def test_nothing_else_does(key_of: KeyOf, module: str, old: str, new: str) -> None:
    assert key_of(module, old, new) == key_of()


@pytest.mark.parametrize(
    ("module", "old", "new", "says"),
    [
        ("kt_words", "LIMIT = 12", "LIMIT = [12]", r"kt_deep\.deep uses LIMIT, .* cannot hold: \[12\]"),
        ("kt_deep", "load64(x)", "(lambda y: y)(x)", r"kt_deep\.deep is native code and cannot have functions inside"),
        ("kt_helper", "import native", "import native as inlined\nnative = lambda f: f", r"kt_hooks\.hook uses helped"),
    ],
)
def test_what_native_code_cannot_hold_is_refused(key_of: KeyOf, module: str, old: str, new: str, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        key_of(module, old, new)


def test_a_field_may_have_any_name(key_of: KeyOf) -> None:
    """The bytecode tells names of attributes and of globals alike at first sight."""
    assert key_of("kt_hooks", "from mmu.native import entry", "from mmu.native import entry\nb = []\nBLUE = {}")


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        ("unicorn", "__version__", "2.1.5"),
        ("sys", "version", "3.99.0 (main)"),
        ("mmu.codekey", "host_cpu", lambda: "another"),
    ],
)
def test_what_made_the_code_and_runs_it_is_in_the_key(
    key_of: KeyOf, monkeypatch: pytest.MonkeyPatch, owner: str, name: str, value: object
) -> None:
    before = key_of()
    monkeypatch.setattr(importlib.import_module(owner), name, value)
    assert key_of() != before


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_so_are_the_versions_of_the_compiler(
    key_of: KeyOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str
) -> None:
    before = key_of()
    (tmp_path / "_version.py").write_text("another")
    find_spec = importlib.util.find_spec
    another = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: another if name == package else find_spec(name))
    assert key_of() != before


def test_the_cpu_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells its features; without /proc the compiler does, in other words."""
    if os.path.exists("/proc/cpuinfo"):
        assert {"lm", "sse2", "fxsr"} <= {*host_cpu().split()}

    def no_proc(*_arguments: object, **_keywords: object) -> NoReturn:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_proc)
    assert "+sse2" in host_cpu.__wrapped__()


def test_our_own_hooks() -> None:
    """What a fill reaches, several calls deep, is in its key; the TLB model is in that of exact mode alone."""
    fill = "\n".join(facts(importlib.import_module("mmu.hooks")))
    exact = "\n".join(facts(importlib.import_module("mmu.exact")))
    for function in ("mmu.walk.walk_from", "mmu.events.commit", "mmu.hooks.grant"):
        assert f"\n{function} " in fill
        assert f"\n{function} " in exact
    assert "mmu.tlb." not in fill
    assert "\nmmu.tlb.install " in exact
    assert "\nReplacement = {" in exact
