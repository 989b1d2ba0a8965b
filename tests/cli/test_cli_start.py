"""What a plain run imports: nothing that it does not use, since a warm start is to be quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import guests
from tests.cli.conftest import environment

#: Every package from outside the standard library that a plain run may import.
THIRD_PARTY = {"unicorn"}
#: unicorn asks for them (importlib.resources of old Pythons), or a .pth file of setuptools puts them there.
HARMLESS = {"importlib_resources", "_distutils_hack", "pkg_resources", "setuptools", "sitecustomize", "usercustomize"}
#: Parts that are large and that a run has no use for.
NEVER = (
    "numba", "llvmlite", "numpy", "rich", "capstone", "elftools", "pyarrow",
    "emu.trace.recorder", "emu.trace.schema", "emu.trace.strace", "emu.trace.view", "emu.linux.event_kind",
    "emu.cli.demo", "emu.cli.bench", "emu.cli.trace", "emu.cli.presets", "emu.cli.tlb",
    "mmu.cpuid", "mmu.exact", "mmu.model", "mmu.perf_events", "mmu.presets",
    "mmu.tlb",
    "emu.kernel.sigframe", "emu.audit", "emu.mm.stale", "mmu.batch", "mmu.geometry",
    "mmu.stale", "mmu.codekey", "mmu.compiler", "emu.cli.running.report", "emu.trace.report", "emu.linux.syscall_names",
    "guests.build",
)  # fmt: skip
#: Of the standard library: each takes as long as twenty modules of ours, and unicorn would import some of them.
SLOW = (
    "dataclasses", "inspect", "ast", "dis", "tokenize", "importlib.resources", "importlib.metadata", "tempfile",
    "zipfile", "shutil", "hashlib", "json", "email", "subprocess", "asyncio", "gettext", "locale", "urllib.parse",
    "ipaddress",
)  # fmt: skip
#: Each subject of system calls is one of them: all tables are there from the start.
MOST_OF_OUR_OWN = 258
#: Of kernel modules, where they are installed: what each needs to register itself.
MOST_OF_KERNEL_MODULES = 22

PROGRAM = """
import sys
from emu.cli.lean import import_basics
import_basics()
from emu.cli.main import main
status = main(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(status)
"""


def modules_after(*words: object) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)], env=environment(), capture_output=True, text=True, check=True
    )
    return set(ran.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def plain() -> set[str]:
    """Of the third run: the first may have to compile, and the second to look for what that has made."""
    for _ in range(2):
        modules_after("run", guests.path("hello"))
    return modules_after("run", guests.path("hello"))


def test_only_these_libraries(plain: set[str]) -> None:
    ours = {"emu", "mmu", "msharefs", "sharing", "guests"}
    known = set(sys.stdlib_module_names) | THIRD_PARTY | HARMLESS | ours | {"__main__", "__mp_main__"}
    roots = {name.partition(".")[0] for name in plain}
    foreign = {root for root in roots - known if not root.startswith(("__editable__", "_"))}
    assert foreign == set()


@pytest.mark.parametrize("module", [*NEVER, *SLOW])
def test_never(plain: set[str], module: str) -> None:
    assert {name for name in plain if name == module or name.startswith(f"{module}.")} == set()


def test_not_more_of_our_own_than_needed(plain: set[str]) -> None:
    for roots, most in ((("emu", "mmu", "guests"), MOST_OF_OUR_OWN), (("msharefs", "sharing"), MOST_OF_KERNEL_MODULES)):
        own = sorted(name for name in plain if name.partition(".")[0] in roots)
        assert len(own) <= most, own


def test_figures_need_no_numpy(plain: set[str], tmp_path: Path) -> None:
    """``plain``: the code has been looked for, which takes json and hashlib."""
    found = modules_after("run", "--stats", "--json", tmp_path / "out.json", guests.path("hello"))
    assert {"numpy", "hashlib"} & found == set()


def test_help_starts_no_machine() -> None:
    assert {"unicorn", "numpy", "llvmlite"} & modules_after("run", "--help") == set()
    assert {"unicorn", "numpy", "emu.machine"} & modules_after("--version") == set()
