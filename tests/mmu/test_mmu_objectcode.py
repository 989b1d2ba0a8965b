"""The object cache: compiled once, loaded without numba, compiled again where it is damaged."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc

from mmu import objectcode
from mmu.guard import Guard
from mmu.objectcode import CompileError, Library, cache_directory

ROOT = Path(__file__).resolve().parents[2]
load = objectcode.load.__wrapped__  # without its memory

TINY = """
from mmu.native import cold, entry, load64

@cold
def twice(x):
    return x + x

@entry("u64", "u64")
def add_one_to_twice(x):
    return twice(x) + 1

@entry("bool", "u64", "u32")
def word_is(address, value):
    return load64(address) == value
"""


@pytest.fixture(autouse=True)
def native_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny.py and a cache that holds it, made by another process."""
    directory = tmp_path_factory.mktemp("tiny")
    (directory / "tiny.py").write_text(TINY)
    done = run(directory, "from mmu.objectcode import load; assert load('tiny')['add_one_to_twice'](20) == 41")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"unimmu: compiling tiny (once; kept in {directory / 'cache'}) ...\n"
    return directory


@pytest.fixture
def tiny(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in this process: a private cache to damage, and tiny to be imported."""
    shutil.copytree(compiled / "cache", tmp_path / "cache")
    monkeypatch.syspath_prepend(compiled)
    monkeypatch.setenv("PYTHONPATH", str(compiled))
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(directory: Path, program: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(directory)))
    environment = {**os.environ, "PYTHONPATH": path, "UNIMMU_CACHE_DIR": str(directory / "cache")}
    environment.pop("NUMBA_DISABLE_JIT", None)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=False)


def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectcode, "_compile", lambda *_: pytest.fail("nothing had to be compiled"))


def works(library: Library) -> None:
    assert library["add_one_to_twice"](1) == 3


def entry_directory(cache: Path) -> Path:
    (directory,) = cache.iterdir()
    assert directory.name.startswith("tiny-")
    return directory


# ---- what works


def test_a_cache_hit_imports_no_numba(compiled: Path) -> None:
    done = run(compiled, "import sys; from mmu.objectcode import load; load('tiny'); print('numba' in sys.modules)")
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)


def test_the_mmu_itself_imports_no_numba() -> None:
    program = "import sys; import mmu; mmu.Walker(mmu.PhysicalMemory(4096)); print('numba' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_loaded_function(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_compiler(monkeypatch)
    library = load("tiny")
    assert library.mode == "native"
    assert sorted(library.functions) == ["add_one_to_twice", "word_is"]
    assert library["add_one_to_twice"](2**63) == 1, "native integers wrap"
    word = ctypes.c_uint64(7)
    assert library["word_is"](ctypes.addressof(word), 7) is True
    assert library["word_is"](ctypes.addressof(word), 8) is False


def test_the_index_tells_the_symbols_and_the_digest(tiny: Path) -> None:
    directory = entry_directory(tiny)
    index = json.loads((directory / "names.json").read_text())
    assert sorted(path.name for path in directory.iterdir()) == ["code.o", "names.json"]
    assert sorted(index["symbols"]) == ["add_one_to_twice", "word_is"]
    assert "add_one_to_twice" in index["symbols"]["add_one_to_twice"]
    assert index["sha256"] == hashlib.sha256((directory / "code.o").read_bytes()).hexdigest()


def test_sources_that_changed_are_not_compiled(compiled: Path) -> None:
    """The child looks at the files; the key is that of the modules imported before."""
    program = "from mmu.compiler import main; main('tiny', '0' * 32, '.')"
    done = run(compiled, program)
    assert done.returncode == 1
    assert done.stderr == "the sources of tiny have changed since they were imported, or are others here\n"


def test_an_interpreter_that_drops_docstrings(tmp_path: Path) -> None:
    """Its bytecode is another, and so must be that of the child that compiles."""
    (tmp_path / "tiny.py").write_text(TINY)
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    environment = {**os.environ, "PYTHONPATH": path, "UNIMMU_CACHE_DIR": str(tmp_path / "cache")}
    command = [
        sys.executable,
        "-OO",
        "-c",
        "from mmu.objectcode import load; print(load('tiny')['add_one_to_twice'](4))",
    ]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "9\n", done.stderr


# ---- a damaged cache


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Any] = {
    "a flipped bit": lambda d: flip(d / "code.o"),
    "a short object": lambda d: (d / "code.o").write_bytes((d / "code.o").read_bytes()[:100]),
    "an empty object": lambda d: (d / "code.o").write_bytes(b""),
    "no object": lambda d: (d / "code.o").unlink(),
    "no index": lambda d: (d / "names.json").unlink(),
    "an empty index": lambda d: (d / "names.json").write_text(""),
    "half an index": lambda d: (d / "names.json").write_text((d / "names.json").read_text()[:40]),
    "an index of bytes": lambda d: (d / "names.json").write_bytes(b"\xff\xfe\0"),
    "an index of nothing": lambda d: (d / "names.json").write_text("{}"),
    "an index that is a list": lambda d: (d / "names.json").write_text("[]"),
    "an index that is null": lambda d: (d / "names.json").write_text("null"),
    "an index of numbers": lambda d: (d / "names.json").write_text('{"symbols": 1, "sha256": 2}'),
    "no digest": lambda d: (d / "names.json").write_text('{"symbols": {"word_is": "x"}}'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_noticed(tiny: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """Whatever is wrong, the answer is to compile."""
    DAMAGE[damage](entry_directory(tiny))

    class Compiling(Exception):
        pass

    def compile_it(*_: object) -> None:
        raise Compiling

    monkeypatch.setattr(objectcode, "_compile", compile_it)
    with pytest.raises(Compiling):
        load("tiny")


def test_a_damaged_object_is_compiled_again(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    directory = entry_directory(tiny)
    flip(directory / "code.o")
    works(load("tiny"))
    assert capfd.readouterr().err == f"unimmu: compiling tiny (once; kept in {tiny}) ...\n"
    assert entry_directory(tiny) == directory, "nothing is left of the damaged one or of the work"
    works(load("tiny"))
    assert capfd.readouterr().err == ""


def pretend_to_compile(monkeypatch: pytest.MonkeyPatch, good: Path, *, meanwhile: Any = None) -> None:
    """The compiler's child process is replaced by a copy of what it made before."""

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        for path in good.iterdir():
            shutil.copy(path, command[-1])
        if meanwhile is not None:
            meanwhile()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


def test_two_processes_compile_at_once(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one takes what the faster one has put there."""
    directory = entry_directory(tiny)
    good = tmp_path / "good"
    directory.rename(good)

    def other_process() -> None:
        shutil.copytree(good, directory)
        (directory / "of the other").touch()

    pretend_to_compile(monkeypatch, good, meanwhile=other_process)
    works(load("tiny"))
    assert [path.name for path in tiny.iterdir()] == [directory.name]
    assert (directory / "of the other").exists()


# ---- a cache that cannot be written


def test_an_unwritable_cache_serves_this_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Below a regular file not even root can make a directory."""
    (tmp_path / "file").write_text("")
    cache, temporary = tmp_path / "file" / "cache", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(cache))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    pretend_to_compile(monkeypatch, entry_directory(tiny))
    works(load("tiny"))
    said = capfd.readouterr().err
    assert f"unimmu: {cache} cannot be written (Not a directory); compiling for this run only\n" in said
    assert list(temporary.iterdir()) == [], "nothing is left behind"


def test_an_unwritable_cache_for_real(tmp_path: Path) -> None:
    """As a user meets it: the whole MMU, another process, and it works."""
    (tmp_path / "cache").write_text("a file, not a directory")
    done = run(tmp_path, "import mmu; print(mmu.Walker(mmu.PhysicalMemory(4096)))")
    assert done.returncode == 0, done.stderr
    assert "compiling mmu.hooks" in done.stderr
    assert f"unimmu: {tmp_path / 'cache'} cannot be written (File exists); compiling for this run only" in done.stderr


# ---- errors


def test_an_error_of_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_hooks.py").write_text(
        'from mmu.native import entry\n@entry("u64", "u64")\ndef bad(x):\n    return x.no_such_attribute\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(CompileError, match="compiling broken_hooks failed:") as caught:
        load("broken_hooks")
    assert "Unknown attribute 'no_such_attribute'" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == [], "no work directory stays"


def test_compiled_code_cannot_call_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception could not cross Unicorn's frames, and numba is not loaded to raise it."""
    (tmp_path / "raising_hooks.py").write_text(
        'from mmu.native import entry\n@entry("u64", "u64")\ndef bad(x):\n'
        "    if x == 7:\n        raise ValueError('seven')\n    return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(CompileError, match=r"compiled functions cannot call .*numba_gil_ensure"):
        load("raising_hooks")


def test_without_numba(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else find_spec(name))
    with pytest.raises(CompileError, match="numba is not installed; unimmu needs it once"):
        load("tiny")


# ---- where the cache is


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"UNIMMU_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/unimmu"),
        ({"HOME": "/h"}, "/h/.cache/unimmu"),
        ({"UNIMMU_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/unimmu"),
    ],
)
def test_the_cache_directory(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], directory: str) -> None:
    for name in ("UNIMMU_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_directory() == Path(directory)


# ---- reference mode


def test_reference_mode_is_python(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    no_compiler(monkeypatch)
    library = load("tiny")
    assert library.mode == "reference"
    assert library["add_one_to_twice"](20) == 41
    assert library["add_one_to_twice"].address


def test_an_exception_in_reference_mode(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised where Python called; what cannot cross C goes to the guard of the engine that called."""
    module = importlib.import_module("tiny")

    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    library = load("tiny")

    def bad(_x: int) -> int:
        raise ZeroDivisionError("in a hook")

    monkeypatch.setattr(module, "twice", bad)
    function = library["add_one_to_twice"]
    with pytest.raises(ZeroDivisionError, match="in a hook"):
        function(20)
    guard = library.guards[20] = Guard(Uc(UC_ARCH_X86, UC_MODE_64))
    assert ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(function.address)(20) == 0
    with pytest.raises(ZeroDivisionError, match="in a hook"):
        guard.raise_failure()
    guard.raise_failure()
