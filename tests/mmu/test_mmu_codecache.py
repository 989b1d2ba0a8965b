"""The cache of object code: whose files are loaded, what becomes of damaged ones, and several starts at once."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmu import objectcode
from mmu.codecache import MAX_BYTES, CacheUnusable, CodeCache, Image, cache_directory
from mmu.objectcode import Library
from tests.exhaustive import by_default

ROOT = Path(__file__).resolve().parents[2]
load = objectcode.load.__wrapped__  # without its memory
ME = os.geteuid()

TINY = """
from mmu.native import entry

@entry("u64", "u64")
def add_one(x):
    return x + 1
"""
COMPILING = "unimmu: compiling tiny_kept (once; kept in {}) ...\n"


@pytest.fixture(autouse=True)
def native_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)


def start(home: Path, **environment: str) -> subprocess.Popen[str]:
    """Another process that loads tiny_kept and calls what is in it; it stands in ``home``."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join((str(ROOT), str(home))), **environment}
    program = "from mmu.objectcode import load; print(load('tiny_kept')['add_one'](40))"
    return subprocess.Popen(
        [sys.executable, "-c", program], env=given, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny_kept.py and a cache that holds it."""
    directory = tmp_path_factory.mktemp("kept")
    (directory / "tiny_kept.py").write_text(TINY)
    process = start(directory, UNIMMU_CACHE_DIR=str(directory / "cache"))
    assert process.communicate() == ("41\n", COMPILING.format(directory / "cache"))
    return directory


@pytest.fixture
def cache(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that cache; tiny_kept can be imported, and compiling it again is nothing but reading the original."""
    shutil.copytree(compiled / "cache", tmp_path / "cache")
    monkeypatch.syspath_prepend(compiled)
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(objectcode, "_say_once", objectcode._say_once.__wrapped__)
    (original,) = (compiled / "cache").iterdir()

    def compile_it(_module: object, _wanted: str, how: str) -> Image:
        objectcode._say(f"compiling {how}")
        made = Image.unpack(original.name, original.read_bytes())
        assert made is not None
        return made

    monkeypatch.setattr(objectcode, "_compiled", compile_it)
    return tmp_path / "cache"


def kept_file(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def works(library: Library) -> bool:
    return bool(library["add_one"](1) == 2)


# ---- damaged and foreign files


def sealed(rest: bytes) -> bytes:
    """With the digest that belongs to it."""
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def index_of(file: Path, index: bytes) -> None:
    """Another index before the same code, and the digest is right."""
    file.write_bytes(sealed(index + b"\n" + file.read_bytes().split(b"\n", 2)[2]))


def with_values(**changed: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        index = json.loads(file.read_bytes().split(b"\n", 2)[1])
        index_of(file, json.dumps(index | changed).encode())

    return change


def in_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(file: Path) -> None:
        file.unlink()
        make(file)

    return replace


def a_link(file: Path) -> None:
    """To what would be good."""
    elsewhere = file.parent.parent / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def a_directory(file: Path) -> None:
    file.mkdir()
    (file / "code.o").write_bytes(b"x")


def a_socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(file.parent)  # the name of a socket is short
        try:
            one.bind(file.name)
        finally:
            os.chdir(here)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip,
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "more at the end": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "only the digest": lambda file: file.write_bytes(file.read_bytes()[:65]),
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(5000)),
    "huge": lambda file: os.truncate(file, MAX_BYTES + 1),
    "sparse, and of terabytes": lambda file: os.truncate(file, 1 << 42),
    "no index": lambda file: index_of(file, b""),
    "an index that is no JSON": lambda file: index_of(file, b"\xff\xfe"),
    "an index that is a list": lambda file: index_of(file, b"[]"),
    "an index that is null": lambda file: index_of(file, b"null"),
    "an index of nothing": lambda file: index_of(file, b"{}"),
    "an index that is deep": lambda file: index_of(file, b"[" * 100_000),
    "a number of too many digits": lambda file: index_of(file, b"1" * 10_000),
    "offsets that are a number": with_values(offsets=1),
    "an offset that is a text": with_values(offsets={"add_one": "1"}),
    "an offset that is null": with_values(offsets={"add_one": None}),
    "an offset that is true": with_values(offsets={"add_one": True}),
    "an offset before the code": with_values(offsets={"add_one": -1}),
    "an offset behind the code": with_values(offsets={"add_one": 1 << 20}),
    "offsets of others": with_values(offsets={"another": 0}),
    "the file of another key": with_values(name="tiny_kept-00000000000000000000000000000000.code"),
    "a name that is a list": with_values(name=[]),
    "a link": a_link,
    "a link to nowhere": in_place(lambda file: file.symlink_to("/nowhere")),
    "a link to itself": in_place(lambda file: file.symlink_to(file)),
    "a directory": in_place(a_directory),
    "a FIFO": in_place(os.mkfifo),
    "a socket": in_place(a_socket),
    "a file that others can write": lambda file: file.chmod(0o602),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_or_foreign_is_compiled_again(
    cache: Path, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    """Whatever stands in the place of a file; the next start finds a good one, and nothing else is left."""
    file = kept_file(cache)
    DAMAGE[damage](file)
    assert works(load("tiny_kept"))
    assert capfd.readouterr().err == f"compiling once; kept in {cache}\n"
    assert kept_file(cache) == file
    assert stat.S_ISREG(file.lstat().st_mode)
    assert works(load("tiny_kept"))
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(ME != 0, reason="only root can give a file to somebody else")
def test_a_file_of_another_user(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.chown(kept_file(cache), 12345, 12345)
    assert works(load("tiny_kept"))
    assert capfd.readouterr().err == f"compiling once; kept in {cache}\n"
    assert kept_file(cache).stat().st_uid == ME


def test_a_link_is_replaced_and_not_written_through(cache: Path) -> None:
    file, precious = kept_file(cache), cache.parent / "precious"
    precious.write_text("precious")
    file.unlink()
    file.symlink_to(precious)
    assert works(load("tiny_kept"))
    assert precious.read_text() == "precious"


# ---- the directory


def test_it_is_made_for_this_user_alone(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        assert works(load("tiny_kept"))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]
    assert stat.S_IMODE(kept_file(tmp_path / "a" / "b").stat().st_mode) == 0o600


def refused(cache: Path, capfd: pytest.CaptureFixture[str], why: str) -> None:
    """The program works, and the directory is as it was."""
    before = sorted(cache.iterdir()) if cache.is_dir() else None
    assert works(load("tiny_kept"))
    said = f"unimmu: {why}; compiling for this run only\n"
    assert capfd.readouterr().err == said + "compiling for this run only\n"
    assert (sorted(cache.iterdir()) if cache.is_dir() else None) == before


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o710, 0o701, 0o1777])
def test_one_that_is_open_to_others_is_refused(cache: Path, capfd: pytest.CaptureFixture[str], mode: int) -> None:
    cache.chmod(mode)
    refused(cache, capfd, f"{cache} is open to other users (mode {mode:04o}, and should be 0700)")
    assert stat.S_IMODE(cache.stat().st_mode) == mode


@pytest.mark.skipif(ME != 0, reason="only root can give a directory to somebody else")
def test_one_of_another_user_is_refused(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.chown(cache, 12345, 12345)
    refused(cache, capfd, f"{cache} belongs to another user (12345)")


def test_one_that_is_a_link_is_refused(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    elsewhere = cache.with_name("elsewhere")
    cache.rename(elsewhere)
    cache.symlink_to(elsewhere)
    refused(cache, capfd, f"{cache} is a symbolic link")


def test_one_that_is_a_link_to_nowhere_is_not_made(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(cache)
    cache.symlink_to(cache.with_name("nowhere"))
    refused(cache, capfd, f"{cache} is a symbolic link")
    assert not cache.with_name("nowhere").exists()


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_one_that_is_no_directory(
    cache: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path], object]
) -> None:
    shutil.rmtree(cache)
    make(cache)
    refused(cache, capfd, f"{cache} is not a directory")


def test_one_that_cannot_be_made(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Below a regular file not even root can make a directory."""
    below = kept_file(cache) / "cache"
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(below))
    refused(below, capfd, f"{below} cannot be used (Not a directory)")


def test_a_file_that_cannot_be_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kept_file(cache).unlink()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        library = load("tiny_kept")
    assert works(library)
    assert "cannot be written (No space left on device); compiling for this run only" in capfd.readouterr().err
    assert list(cache.iterdir()) == []


def test_our_own_of_earlier_times_is_closed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was made with mode 0755.  One that others can write may have anything in it."""
    monkeypatch.delenv("UNIMMU_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    ours = cache.rename(cache.with_name("unimmu"))
    ours.chmod(0o755)
    assert works(load("tiny_kept"))
    assert capfd.readouterr().err == ""
    assert stat.S_IMODE(ours.stat().st_mode) == 0o700
    ours.chmod(0o775)
    refused(ours, capfd, f"{ours} is open to other users (mode 0775, and should be 0700)")


def test_what_was_looked_at_is_what_is_read(cache: Path) -> None:
    """Another directory that comes under its name afterwards changes nothing."""
    name = kept_file(cache).name
    with CodeCache(cache) as opened:
        cache.rename(cache.with_name("away"))
        cache.mkdir(0o777)
        (cache / name).write_bytes(Image({"add_one": 0}, b"evil").pack(name))
        found = opened.read(name)
        opened.write("more", b"data")
    assert found is not None and found.code != b"evil"
    assert (cache.with_name("away") / "more").read_bytes() == b"data"


def test_no_descriptor_is_left(cache: Path) -> None:
    before = os.listdir("/proc/self/fd")
    load("tiny_kept")
    cache.chmod(0o777)
    with pytest.raises(CacheUnusable):
        CodeCache(cache)
    assert os.listdir("/proc/self/fd") == before


# ---- where it is


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"UNIMMU_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/unimmu"),
        ({"HOME": "/h"}, "/h/.cache/unimmu"),
        ({"UNIMMU_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/unimmu"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/unimmu"),
        ({"HOME": "relative"}, None),
        ({}, "/of/the/password/file/.cache/unimmu"),
        ({"HOME": ""}, "/of/the/password/file/.cache/unimmu"),
    ],
)
def test_the_cache_directory(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], directory: str | None
) -> None:
    for name in ("UNIMMU_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    user = pwd.struct_passwd(("me", "x", ME, ME, "", "/of/the/password/file", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(pwd, "getpwnam", lambda _: user)
    assert cache_directory() == (Path(directory) if directory else None)


def test_a_user_without_a_home(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is kept, and least of all in the current directory."""
    for name in ("UNIMMU_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_: object) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    assert cache_directory() is None
    assert works(load("tiny_kept"))
    said = "unimmu: there is no home directory to keep object code in; compiling for this run only\n"
    assert capfd.readouterr().err == said + "compiling for this run only\n"
    assert list(here.iterdir()) == []


# ---- as a user meets it


def test_an_open_directory_for_real(compiled: Path, tmp_path: Path) -> None:
    """The whole way: a compiler in another process, and what it made is nowhere afterwards."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    (tmp_path / "tmp").mkdir()
    process = start(compiled, UNIMMU_CACHE_DIR=str(tmp_path / "cache"), TMPDIR=str(tmp_path / "tmp"))
    out, err = process.communicate()
    assert out == "41\n"
    assert err.splitlines() == [
        f"unimmu: {tmp_path / 'cache'} is open to other users (mode 0777, and should be 0700); compiling for this run "
        "only",
        "unimmu: compiling tiny_kept (for this run only) ...",
    ]
    assert [*(tmp_path / "cache").iterdir(), *(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize("at_once", by_default([3], [2, 8]))
def test_starts_at_once_with_an_empty_cache(compiled: Path, tmp_path: Path, at_once: int) -> None:
    """Every one of them works, and one file is there in the end."""
    cache = tmp_path / "cache"
    processes = [start(compiled, UNIMMU_CACHE_DIR=str(cache)) for _ in range(at_once)]
    for process in processes:
        out, err = process.communicate()
        assert (out, process.returncode) == ("41\n", 0), err
        assert err in ("", COMPILING.format(cache))
    file = kept_file(cache)
    assert Image.unpack(file.name, file.read_bytes()) is not None


def test_the_compiler_takes_nothing_out_of_the_current_directory(compiled: Path, tmp_path: Path) -> None:
    for name in ("ast", "numba", "textwrap"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken out of the current directory')")
    program = f"import os; os.chdir({str(tmp_path)!r}); from mmu.objectcode import load; load('tiny_kept')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(compiled)))}
    environment["UNIMMU_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=environment, cwd=compiled, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, COMPILING.format(tmp_path / "cache"))


def test_the_directory_is_read_by_one_user_alone(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """As another user the same directory is another's."""
    monkeypatch.setattr(os, "geteuid", lambda: ME + 1)
    with pytest.raises(CacheUnusable, match=f"belongs to another user \\({ME}\\)"):
        CodeCache(cache)
