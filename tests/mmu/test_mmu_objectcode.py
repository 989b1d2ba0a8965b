"""Object code: compiled once, loaded without numba, and once a process.  Its files: test_mmu_codecache.py."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc

from mmu import objectcode
from mmu.guard import Guard
from mmu.objectcode import CompileError, Library

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
    monkeypatch.setattr(objectcode, "_say_once", objectcode._say_once.__wrapped__)
    return tmp_path / "cache"


def run(directory: Path, program: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(directory)))
    environment = {**os.environ, "PYTHONPATH": path, "UNIMMU_CACHE_DIR": str(directory / "cache")}
    environment.pop("NUMBA_DISABLE_JIT", None)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=False)


def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectcode, "_compiled", lambda *_: pytest.fail("nothing had to be compiled"))


def works(library: Library) -> None:
    assert library["add_one_to_twice"](1) == 3


def kept_file(cache: Path) -> Path:
    """The one file that is there."""
    (file,) = cache.iterdir()
    assert file.name.startswith("tiny-")
    return file


# ---- what works


def test_a_cache_hit_imports_no_compiler(compiled: Path) -> None:
    program = "import sys; from mmu.objectcode import load; load('tiny'); print({'numba', 'llvmlite'} & {*sys.modules})"
    done = run(compiled, program)
    assert (done.stdout, done.stderr, done.returncode) == ("set()\n", "", 0)


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


def test_a_file_has_the_offsets_and_a_digest(tiny: Path) -> None:
    file = kept_file(tiny)
    digest, index, code = file.read_bytes().split(b"\n", 2)
    assert digest.decode() == hashlib.sha256(index + b"\n" + code).hexdigest()
    offsets = json.loads(index)["offsets"]
    assert sorted(offsets) == ["add_one_to_twice", "word_is"]
    assert len({*offsets.values()}) == 2 and all(0 <= at < len(code) for at in offsets.values())


def test_sources_that_changed_are_not_compiled(compiled: Path) -> None:
    """The child looks at the files; the key is that of what was imported before."""
    program = "from mmu.compiler import main; main('tiny', '0' * 32, 'tiny', '1')"
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
    assert list((tmp_path / "cache").iterdir()) == [], "nothing stays"


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
