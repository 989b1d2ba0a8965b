"""The house stands on floors: each imports only from those below it, and packages that belong together are listed by
name.

Every import counts: inside a function, under TYPE_CHECKING, and importlib.import_module with a constant name.
"""

from __future__ import annotations

import ast
import gc
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mmu", "emu", "msharefs", "sharing", "guests")

# From the ground up: who stands on a floor imports nobody who stands beside or above it (docs/architecture.md).
FLOORS: tuple[tuple[str, ...], ...] = (
    ("mmu.record",),
    ("guests", "mmu", "emu", "emu.linux"),
    ("emu.mm", "emu.engine", "emu.arithmetic"),
    ("emu.instructions",),
    ("emu.inline",),
    ("emu.fs", "emu.cpu"),
    ("emu.ipc", "emu.net", "emu.tty"),
    ("emu.kernel",),
    ("emu.syscalls", "emu.proc", "emu.audit", "msharefs", "sharing"),
    ("emu.boot",),
    ("emu.machine",),
    ("emu.trace",),
    ("emu.lab",),
    ("emu.bench",),
    ("emu.against",),
    ("emu.cli",),
    ("emu.testing",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# The circles that there are: another one, or a larger one, needs a reason here; each stays within its room.
CIRCLES: tuple[set[str], ...] = (
    # structs that point at each other (include/linux/fs.h)
    {"emu.fs.dentry", "emu.fs.file", "emu.fs.inode", "emu.fs.mount", "emu.fs.resources", "emu.fs.superblock"},
    # a system call is handed the kernel, and may end its task; who runs out of memory is ended by the kernel
    {
        f"emu.kernel.{name}"
        for name in (
            "entry", "exit", "fastpairs", "fastpath", "kernel", "oom", "oomreport", "syscall_entry",
        )
    },
    # a CPU goes by steps where a block cannot be cut
    {"emu.cpu.cpu", "emu.cpu.stepping"},
    # threads and their process point at each other (task_struct, signal_struct)
    {"emu.kernel.task", "emu.kernel.threadgroup"},
    # an address space has mappings, which have operations and a page cache, and each of these is told of both; it grows
    # its stacks and ends
    {
        f"emu.mm.{name}"
        for name in (
            "address_space", "exitmm", "hugememory", "memory", "ordinary", "pagecache", "stackgrowth", "swapin",
            "context", "cow", "failedfault", "hugepmd", "hugesplit", "thpfault", "vma", "vmatree", "vmops", "zap",
        )
    },
)  # fmt: skip

# import name -> distribution: the whole list of outside libraries
LIBRARIES = {
    "unicorn": "unicorn",
    "capstone": "capstone",
    "elftools": "pyelftools",
    "numpy": "numpy",
    "numba": "numba",
    "llvmlite": "llvmlite",
    "pyarrow": "pyarrow",
    "pandas": "pandas",
    "polars": "polars",
    "rich": "rich",
    "distributed": "distributed",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
}


class Import(NamedTuple):
    """`from base import member`, or `import base` where member is None; base is absolute."""

    base: str
    member: str | None
    line: int

    @property
    def root(self) -> str:
        return self.base.partition(".")[0]


class Module(NamedTuple):
    name: str
    is_package: bool
    source: str
    imports: list[Import]

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


def parse(name: str, source: str, *, is_package: bool = False) -> Module:
    package = name if is_package else name.rpartition(".")[0]
    return Module(name, is_package, source, list(imports_in(ast.walk(ast.parse(source, name)), package)))


def modules_of(package: str) -> list[Module]:
    modules = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules.append(parse(name, path.read_text(encoding="utf-8"), is_package=is_package))
    return modules


def absolute_base(node: ast.ImportFrom, package: str) -> str:
    """The module that a `from` in a package names, its dots resolved as importlib does."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, node.module] if node.module else parts)


def imports_in(nodes: Iterable[ast.AST], package: str) -> Iterator[Import]:
    for node in nodes:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(alias.name, None, node.lineno)
            case ast.ImportFrom():
                for alias in node.names:
                    yield Import(absolute_base(node, package), alias.name, node.lineno)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, None, node.lineno)


def room_of(name: str) -> str | None:
    """Where a module stands: the longest name of FLOORS that it, or a package that it is in, has."""
    while name not in FLOOR_OF or name == "emu":
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def target(found: Import, names: Iterable[str]) -> str:
    """The module that an import names: the member, if that is one."""
    member = f"{found.base}.{found.member}"
    return member if member in names or member in FLOOR_OF else found.base


def homeless(modules: Iterable[Module]) -> list[str]:
    return [module.name for module in modules if module.name != "emu" and room_of(module.name) is None]


def upward_imports(modules: Iterable[Module]) -> list[str]:
    """Imports of the tests, and of packages above or beside."""
    modules = list(modules)
    names = {module.name for module in modules}
    wrong = []
    for module in modules:
        here = room_of(module.name) or module.package
        for found in module.imports:
            named = target(found, names)
            there = room_of(named) or found.root
            if there == "tests" or (there in FLOOR_OF and there != here and FLOOR_OF[there] >= FLOOR_OF[here]):
                wrong.append(f"{module.name}:{found.line} imports {found.base}")
    return wrong


def unlisted_libraries(modules: Iterable[Module], listed: Iterable[str]) -> list[str]:
    known = {*listed, *PACKAGES, *sys.stdlib_module_names}
    return [
        f"{module.name}:{found.line} imports {found.base}"
        for module in modules
        for found in module.imports
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
        if word not in module.source.lower():
            continue
        tree = ast.parse(module.source)
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) in documentation:
                continue
            if any(word in said.lower() for said in words(node)):
                found.append(f"{module.name}:{getattr(node, 'lineno', '?')} says {word}")
    return found


def circles(modules: Iterable[Module]) -> list[set[str]]:
    """Every set of modules each of which needs, over any number of others, each other one."""
    modules = list(modules)
    names = {module.name for module in modules}
    needs = {module.name: {target(found, names) for found in module.imports} & names for module in modules}
    reached = {name: set(chain.from_iterable(_walk(needs, name))) for name in names}
    found: list[set[str]] = []
    for name in sorted(names):
        if name in reached[name] and not any(name in circle for circle in found):
            found.append({other for other in reached[name] if name in reached[other]})
    return [circle for circle in found if len(circle) > 1]


def _walk(needs: dict[str, set[str]], name: str) -> Iterator[set[str]]:
    """What a module needs, then what that needs, and so on."""
    seen: set[str] = set()
    front = needs[name]
    while front:
        yield front
        seen |= front
        front = set(chain.from_iterable(needs[other] for other in front)) - seen


def crossing(circle: set[str]) -> bool:
    """Whether a circle goes through more than one room."""
    return len({room_of(name) for name in circle}) > 1


def outside_cli(modules: Iterable[Module]) -> list[Module]:
    """emu without its command, whose help has to name the file systems that it mounts."""
    return [module for module in modules if not f"{module.name}.".startswith("emu.cli.")]


# ---- the repository


def test_there_is_something_to_check(house: list[Module]) -> None:
    assert {module.package for module in house} == set(PACKAGES)


@pytest.fixture(scope="module")
def house() -> list[Module]:
    gc.disable()  # it would look through the trees again and again
    try:
        return [module for package in PACKAGES for module in modules_of(package)]
    finally:
        gc.enable()


def test_every_module_stands_on_a_floor(house: list[Module]) -> None:
    assert homeless(house) == []


def test_imports_go_down_only(house: list[Module]) -> None:
    assert upward_imports(house) == []


def test_there_are_only_the_circles_that_are_known(house: list[Module]) -> None:
    found = circles(house)
    assert [circle for circle in found if crossing(circle)] == []
    assert sorted(found, key=min) == sorted(CIRCLES, key=min)


def test_emu_never_names_msharefs(house: list[Module]) -> None:
    assert mentions(outside_cli(module for module in house if module.package == "emu"), "msharefs") == []


def test_only_listed_libraries_are_imported(house: list[Module]) -> None:
    assert unlisted_libraries(house, LIBRARIES) == []


def test_imported_libraries_are_declared(house: list[Module]) -> None:
    """A library that is imported but not declared works only on the machine of its author."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    declared = {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0] for requirement in requirements}
    available = [name for name, distribution in LIBRARIES.items() if distribution in declared]
    assert unlisted_libraries(house, available) == []


# ---- the checks themselves, on sources that break the rules


@pytest.mark.parametrize(
    "source",
    [
        "import emu",
        "import emu.mm.vma as vma",
        "from emu import kernel",
        "from emu.kernel import errors",
        "def f():\n    from msharefs import region",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import guests",
        "import importlib\nimportlib.import_module('emu.machine')",
        "__import__('emu')",
        "from tests import booted",
    ],
)
def test_an_upward_import_is_found(source: str) -> None:
    assert len(upward_imports([parse("mmu.walk", source)])) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("emu.mm.zap", "if TYPE_CHECKING:\n    from emu.fs.file import File"),
        ("emu.fs.file", "from emu.kernel.task import Task"),
        ("emu.kernel.kernel", "def f():\n    from emu import boot"),
        ("emu.syscalls.files", "import emu.proc.memory"),
        ("msharefs.module", "from emu.syscalls import all_tables"),
        ("sharing.ptshare", "import msharefs.region"),
        ("emu.machine", "from emu.trace.recorder import Recorder"),
        ("emu.trace.view", "from emu.lab.stream import Batch"),
        ("emu.bench.loops", "from emu.against import compare"),
        ("emu.cli.run", "import emu.testing"),
    ],
)
def test_a_look_up_or_aside_is_found(name: str, source: str) -> None:
    assert len(upward_imports([parse(name, source)])) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("emu.machine", "import mmu, emu.boot, emu.kernel.kernel"),
        ("msharefs.filesystem", "import mmu\nfrom emu.fs import superblock"),
        ("emu.cpu", "from emu.engine.records import TrapState"),
        ("emu.kernel.entry", "from emu.cpu import Trap\nfrom emu.kernel import task"),
        ("emu.testing", "from emu import __name__"),
        ("emu.bench.guest", "import guests"),
    ],
)
def test_downward_imports_are_allowed(name: str, source: str) -> None:
    assert upward_imports([parse(name, source)]) == []


def test_a_module_without_a_floor_is_found() -> None:
    assert homeless(parse(name, "") for name in ("emu.attic", "emu.mm.vma", "emu", "mmu.walk")) == ["emu.attic"]


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
    assert [found.base for found in parse(name, source, is_package=is_package).imports] == [base]


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
    "back",
    [
        "from mmu.tlb import Tlb",
        "import mmu.tlb",
        "from . import tlb",
        "from mmu import tlb",
        "def f():\n    import mmu.tlb",
        "if TYPE_CHECKING:\n    import mmu.tlb",
    ],
)
def test_a_circle_is_found(back: str) -> None:
    modules = [parse("mmu", "", is_package=True), parse("mmu.tlb", "from .walk import translate")]
    assert circles([*modules, parse("mmu.walk", back)]) == [{"mmu.tlb", "mmu.walk"}]


def test_circles_that_meet_are_one_and_others_are_not() -> None:
    arrows = {"a": "b", "b": "a, c", "c": "b", "d": "a, e", "e": "f", "f": "e"}
    sources = [parse(f"mmu.{name}", f"from mmu import {needs}") for name, needs in arrows.items()]
    assert circles(sources) == [{"mmu.a", "mmu.b", "mmu.c"}, {"mmu.e", "mmu.f"}]


def test_a_way_down_is_no_circle() -> None:
    assert circles([parse("mmu.tlb", "import mmu.walk"), parse("mmu.walk", "import mmu.entries")]) == []


def test_a_circle_through_two_rooms_is_found() -> None:
    assert crossing({"emu.mm.vma", "emu.fs.file"}) and crossing({"emu.cpu", "emu.engine.hooks"})
    assert not crossing({"emu.fs.inode", "emu.fs.file"})


def test_an_unlisted_library_is_found() -> None:
    source = "import os, numpy\nfrom mmu import walk\ndef f():\n    import requests.adapters"
    assert unlisted_libraries([parse("emu.fs.hostfs", source)], LIBRARIES) == [
        "emu.fs.hostfs:4 imports requests.adapters"
    ]
