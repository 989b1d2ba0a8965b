"""The arrows between the packages: msharefs, sharing -> emu -> mmu, and what each may import from outside.

Every import counts: inside a function, under TYPE_CHECKING, and importlib.import_module with a constant name.
"""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mmu", "emu", "msharefs", "sharing", "guests")

# what a package may never import
FORBIDDEN = {
    "mmu": {"emu", "msharefs", "sharing", "guests", "tests"},
    "emu": {"msharefs", "sharing", "tests"},
    "msharefs": {"sharing", "tests"},
    "sharing": {"msharefs", "tests"},
    "guests": {"tests"},
}

# import name -> distribution: the whole list of outside libraries
LIBRARIES = {
    "unicorn": "unicorn",
    "capstone": "capstone",
    "elftools": "pyelftools",
    "numpy": "numpy",
    "numba": "numba",
    "llvmlite": "llvmlite",
    "sortedcontainers": "sortedcontainers",
    "pyarrow": "pyarrow",
    "rich": "rich",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
}


class Module(NamedTuple):
    name: str
    is_package: bool
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


class Import(NamedTuple):
    """`from base import member`, or `import base` where member is None; base is absolute."""

    base: str
    member: str | None
    line: int

    @property
    def root(self) -> str:
        return self.base.partition(".")[0]


def parse(name: str, source: str, *, is_package: bool = False) -> Module:
    return Module(name, is_package, ast.parse(source, name))


def modules_of(package: str) -> list[Module]:
    modules = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules.append(parse(name, path.read_text(encoding="utf-8"), is_package=is_package))
    return modules


def absolute_base(module: Module, node: ast.ImportFrom) -> str:
    """The module that a `from` names, its dots resolved as importlib does."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    climb = node.level - module.is_package
    parts = parts[: len(parts) - climb]
    return ".".join([*parts, node.module] if node.module else parts)


def imports_in(module: Module, nodes: Iterable[ast.AST]) -> Iterator[Import]:
    for node in nodes:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(alias.name, None, node.lineno)
            case ast.ImportFrom():
                for alias in node.names:
                    yield Import(absolute_base(module, node), alias.name, node.lineno)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, None, node.lineno)


def all_imports(module: Module) -> Iterator[Import]:
    return imports_in(module, ast.walk(module.tree))


def load_time_nodes(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes that run when the module is loaded: not the bodies of functions, not what only a type checker reads."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from load_time_nodes(node.orelse)
        else:
            yield from load_time_nodes(ast.iter_child_nodes(node))


def upward_imports(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.name}:{found.line} imports {found.base}"
        for module in modules
        for found in all_imports(module)
        if found.root in FORBIDDEN[module.package]
    ]


def unlisted_libraries(modules: Iterable[Module], listed: Iterable[str]) -> list[str]:
    known = {*listed, *PACKAGES, *sys.stdlib_module_names}
    return [
        f"{module.name}:{found.line} imports {found.base}"
        for module in modules
        for found in all_imports(module)
        if found.root not in known
    ]


def words(node: ast.AST) -> Iterator[str]:
    """Every identifier and string that stands in one node: names, attributes, arguments, constants."""
    for _, value in ast.iter_fields(node):
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, bytes):
                yield word.decode("latin-1")
            elif isinstance(word, str):
                yield word


def mentions(modules: Iterable[Module], word: str) -> list[str]:
    """Where code says `word`. Strings that stand alone as a statement are documentation and do not count."""
    found = []
    for module in modules:
        documentation = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and id(node) in documentation:
                continue
            if any(word in said.lower() for said in words(node)):
                found.append(f"{module.name}:{getattr(node, 'lineno', '?')} says {word}")
    return found


def load_time_cycle(modules: Iterable[Module]) -> list[str]:
    """The names along one cycle of load-time imports, or []."""
    modules = list(modules)
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        needs = graph.setdefault(module.name, set())
        for found in imports_in(module, load_time_nodes([module.tree])):
            submodule = f"{found.base}.{found.member}"
            target = submodule if submodule in names else found.base
            if target in names:
                needs.add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def outside_cli(modules: Iterable[Module]) -> list[Module]:
    """emu without its command, whose help has to name what it mounts."""
    return [module for module in modules if not f"{module.name}.".startswith("emu.cli.")]


# ---- the repository


@pytest.mark.parametrize("package", PACKAGES)
def test_there_is_something_to_check(package: str) -> None:
    assert modules_of(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down_only(package: str) -> None:
    assert upward_imports(modules_of(package)) == []


def test_emu_never_names_msharefs() -> None:
    assert mentions(outside_cli(modules_of("emu")), "msharefs") == []


def test_mmu_has_no_import_cycle() -> None:
    assert load_time_cycle(modules_of("mmu")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_only_listed_libraries_are_imported(package: str) -> None:
    assert unlisted_libraries(modules_of(package), LIBRARIES) == []


def test_imported_libraries_are_declared() -> None:
    """A library that is imported but not declared works only on the machine of whoever wrote the import."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    declared = {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0] for requirement in requirements}
    available = [name for name, distribution in LIBRARIES.items() if distribution in declared]
    assert unlisted_libraries([m for package in PACKAGES for m in modules_of(package)], available) == []


# ---- the checks themselves, on sources that break the rules


@pytest.mark.parametrize(
    "source",
    [
        "import emu",
        "import emu.mm.vma as vma",
        "from emu.kernel import errors",
        "def f():\n    from msharefs import region",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import guests",
        "import importlib\nimportlib.import_module('emu.machine')",
        "__import__('emu')",
    ],
)
def test_an_upward_import_is_found(source: str) -> None:
    assert len(upward_imports([parse("mmu.walk", source)])) == 1


def test_downward_imports_are_allowed() -> None:
    assert upward_imports([parse("emu.machine", "import mmu"), parse("msharefs.fs", "import emu, mmu")]) == []


@pytest.mark.parametrize(
    ("name", "is_package", "source", "base"),
    [
        ("mmu.walk", False, "from . import entries", "mmu"),
        ("mmu", True, "from . import entries", "mmu"),
        ("mmu", True, "from .walk import translate", "mmu.walk"),
        ("emu.mm.fault", False, "from ..linux.errors import LinuxError", "emu.linux.errors"),
    ],
)
def test_relative_imports_are_resolved(name: str, is_package: bool, source: str, base: str) -> None:
    assert [found.base for found in all_imports(parse(name, source, is_package=is_package))] == [base]


@pytest.mark.parametrize(
    "source",
    [
        "import msharefs",
        "from x import msharefs_init",
        "msharefs = 1",
        "kernel.msharefs()",
        "def mount_msharefs(): pass",
        "def f(*, msharefs): pass",
        "f(msharefs=1)",
        "kind = 'msharefs'",
        "kind = f'{a}: msharefs'",
        "MAGIC = b'msharefs'",
        "class MshareFS: pass",
    ],
)
def test_a_mention_is_found(source: str) -> None:
    assert len(mentions([parse("emu.machine", source)], "msharefs")) == 1


def test_documentation_is_no_mention() -> None:
    source = '"""msharefs"""\nclass A:\n    """msharefs"""\n    x: int\n    """msharefs"""\n# msharefs\n'
    assert mentions([parse("emu.machine", source)], "msharefs") == []


def test_only_the_command_may_say_msharefs() -> None:
    names = ["emu", "emu.client", "emu.cli", "emu.cli.demo"]
    assert [module.name for module in outside_cli(parse(name, "") for name in names)] == ["emu", "emu.client"]


@pytest.mark.parametrize(
    "back", ["from mmu.tlb import Tlb", "import mmu.tlb", "from . import tlb", "from mmu import tlb"]
)
def test_a_cycle_is_found(back: str) -> None:
    modules = [parse("mmu", "", is_package=True), parse("mmu.tlb", "from .walk import translate")]
    assert set(load_time_cycle([*modules, parse("mmu.walk", back)])) == {"mmu.tlb", "mmu.walk"}


@pytest.mark.parametrize("back", ["def f():\n    import mmu.tlb", "if TYPE_CHECKING:\n    import mmu.tlb"])
def test_a_late_import_makes_no_cycle(back: str) -> None:
    assert load_time_cycle([parse("mmu.tlb", "import mmu.walk"), parse("mmu.walk", back)]) == []


def test_an_unlisted_library_is_found() -> None:
    source = "import os, numpy\nfrom mmu import walk\ndef f():\n    import requests.adapters"
    assert unlisted_libraries([parse("emu.fs.hostfs", source)], LIBRARIES) == [
        "emu.fs.hostfs:4 imports requests.adapters"
    ]
