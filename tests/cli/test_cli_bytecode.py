"""The bytecode that a run keeps for the next one is used only if Python would import the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.cli.bytecode import PACKAGES
from mmu.unchanged import _MARGIN, stamp
from tests.cli.conftest import environment

ROOT = Path(__file__).resolve().parents[2]

#: Imports a package of two modules, says from where, and keeps them.
PROGRAM = """
import sys
from emu.cli import bytecode
from mmu import unchanged
bytecode.PACKAGES, unchanged._began = ("pkg",), lambda: 1 << 62
sys.argv = ["unimmu", *sys.argv[1:]]
kept = bytecode.Bytecode()
kept.begin()
import pkg.sub.inner, pkg.plain
for module in (pkg.plain, pkg.sub, pkg.sub.inner):
    print(type(module.__loader__).__name__.strip("_"), module.WHERE, module.__file__, module.__package__)
    print(module.__cached__, module.__spec__.name, getattr(module, "__path__", None), module.function())
kept.keep(int(sys.argv.pop()))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "path" / "pkg"
    (package / "sub").mkdir(parents=True)
    for name in ("__init__.py", "plain.py", "sub/__init__.py", "sub/inner.py"):
        (package / name).write_text(f"WHERE = {name!r}\n\ndef function():\n    return __name__\n")
    (tmp_path / "cache").mkdir(mode=0o700)
    return package


def run(package: Path, *words: str, status: int = 0, **more: str) -> str:
    """What it says of where the modules are from: "Loader", or what Python itself has."""
    path = os.pathsep.join((str(package.parent), str(ROOT)))
    given = {**environment(), "PYTHONPATH": path, "UNIMMU_CACHE_DIR": str(package.parents[1] / "cache"), **more}
    if "PYTHONDONTWRITEBYTECODE" not in more:
        given.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", PROGRAM, *(words or ("run", "hello")), str(status)]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    return done.stdout


def is_kept(said: str) -> bool:
    loaders = {line.split()[0] for line in said.splitlines()[::2]}
    assert len(loaders) == 1
    return loaders == {"Loader"}


def test_modules_are_as_python_makes_them(package: Path) -> None:
    """But for the loader, which has the code; files, packages and names are the same."""
    first = run(package)
    second = run(package)
    assert not is_kept(first) and is_kept(second)
    assert second.replace("Loader", "SourceFileLoader") == first


def test_files_of_python_elsewhere(package: Path, tmp_path: Path) -> None:
    """They are told where Python would have them now."""
    elsewhere = str(tmp_path / "elsewhere")
    for before, after in (("", elsewhere), (elsewhere, "")):
        run(package, PYTHONPYCACHEPREFIX=before)
        said = run(package, PYTHONPYCACHEPREFIX=after)
        assert is_kept(said) and all(line.startswith(after or str(package)) for line in said.splitlines()[1::2])
        (package / "plain.py").touch()


@pytest.mark.parametrize(
    "change",
    [
        lambda package: (package / "plain.py").write_text("WHERE = 'here'\n\ndef function():\n    return 'changed'\n"),
        lambda package: (package / "plain").mkdir() or (package / "plain" / "__init__.py").write_text(
            "WHERE = 'new'\n\ndef function():\n    return 'changed'\n"
        ),
    ],
    ids=["a source", "a package of the same name"],
)  # fmt: skip
def test_what_has_changed_is_imported_anew(package: Path, change: Callable[[Path], object]) -> None:
    run(package)
    time.sleep(0.01)  # the clock of a file system ticks every few ms
    change(package)
    said = run(package)
    assert not is_kept(said) and "changed" in said


def test_another_package_that_comes_first_is_imported(package: Path, tmp_path: Path) -> None:
    run(package)
    other = tmp_path / "other" / "pkg"
    other.parent.mkdir()
    package.rename(other)
    other.rename(package)  # the sources are the same, and so is the place
    other.mkdir()
    for name in ("__init__.py", "plain.py"):
        (other / name).write_text("WHERE = 'other'\n\ndef function():\n    return 'other'\n")
    (other / "sub").symlink_to(package / "sub")
    path = os.pathsep.join((str(other.parent), str(package.parent), str(ROOT)))
    said = run(package, PYTHONPATH=path)
    assert not is_kept(said) and said.splitlines()[1].endswith("other")


def test_damage(package: Path, tmp_path: Path) -> None:
    run(package)
    (file,) = (tmp_path / "cache").glob("modules-*")
    file.write_bytes(file.read_bytes()[:-1])
    assert not is_kept(run(package))
    assert is_kept(run(package)), "it is written again"


@pytest.mark.parametrize(
    ("words", "status", "more"),
    [
        (("run", "--stats", "hello"), 0, {}),
        (("run", "hello"), 1, {}),
        (("run", "hello"), 0, {"PYTHONDONTWRITEBYTECODE": "1"}),
    ],
    ids=["options import more", "an error may import less", "Python is to write no bytecode"],
)
def test_not_every_run_keeps_them(
    package: Path, tmp_path: Path, words: tuple[str, ...], status: int, more: dict[str, str]
) -> None:
    for _ in range(2):
        run(package, *words, status=status, **more)
    assert list((tmp_path / "cache").glob("modules-*")) == []


def test_a_cache_that_cannot_be_used_changes_nothing(package: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").chmod(0o777)
    assert not is_kept(run(package))
    assert not is_kept(run(package, UNIMMU_CACHE_DIR=str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def test_the_command_uses_them() -> None:
    program = """
import os, sys
leave = os._exit
def leave_later(status):
    print(type(sys.modules["emu.machine"].__loader__).__name__, flush=True)
    leave(status)
os._exit, sys.argv = leave_later, ["unimmu", "run", "hello"]
from emu.cli.entry import main
main()
"""
    given = environment()
    given.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", program]
    for _ in range(3):
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
        wait_until_sources_are_old()
    assert done.stdout == "hello, world\n_Loader\n"


def wait_until_sources_are_old() -> None:
    """A run keeps nothing of files that changed shortly before it: in a fresh checkout it has just made directories of
    bytecode in those of the sources.
    """
    sources = {path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    newest = max(max(stamp(str(path))[1:]) for path in sources | {path.parent for path in sources})
    time.sleep(max(0, newest + _MARGIN - time.time_ns()) / 1e9 + 0.02)  # a process's start is told in ticks of 10 ms
