"""``unimmu run --root`` and what goes with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import guests
from tests.cli.conftest import Unimmu

PYTHON = Path("/usr/bin/python3")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A root with a program in its PATH, and a place to stand in."""
    top = tmp_path / "top"
    (top / "usr/bin").mkdir(parents=True)
    (top / "home/me").mkdir(parents=True)
    (top / "etc").mkdir()
    (top / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nme:x:1234:55:Me:/home/me:/bin/sh\n")
    for name in ("usr/bin/calls", "home/me/here"):
        (top / name).write_bytes(guests.path("calls").read_bytes())
        (top / name).chmod(0o755)
    return top


CWD = "@b = bytes 400; @syscall 79 b 400; text b"


def test_a_program_is_found_as_a_shell_finds_it(unimmu: Unimmu, top: Path) -> None:
    for name in ("calls", "/usr/bin/calls", "/home/me/../me/here", "home/me/here"):
        assert unimmu("run", "--root", top, name, "say 5").out == "say = 5\n"
    missing = unimmu("run", "--root", top, "none")
    assert missing.status == 127 and "none: no such program in /usr/local/sbin:/usr/local/bin" in missing.err
    missing = unimmu("run", "--root", top, "/usr/bin/none")
    assert (missing.status, missing.err) == (127, f"unimmu run: /usr/bin/none: no such file in {top}\n")
    (top / "plain").write_text("text")
    for name, what in (
        ("/plain", "is not executable (chmod +x makes it so)"), ("/usr", "is a directory"),
        ("/dev/null", "is not a regular file"),
    ):  # fmt: skip
        ran = unimmu("run", "--root", top, name)
        assert (ran.status, ran.err) == (126, f"unimmu run: {name}: {what}\n")
    assert unimmu("run", "--root", top, "hello").out == "hello, world\n"  # one that comes with unimmu
    assert not (top / "tmp").exists() and not (top / "proc").exists()


def test_scripts(unimmu: Unimmu, top: Path) -> None:
    for name, interpreter in (("good", "/usr/bin/calls say 3"), ("bad", "/bin/none")):
        (top / name).write_text(f"#!{interpreter}\n")
        (top / name).chmod(0o755)
    ran = unimmu("run", "--root", top, "/good")
    assert ran.out == "say = 3\n"
    ran = unimmu("run", "--root", top, "/bad")
    assert (ran.status, ran.err) == (127, "unimmu run: /bad: its interpreter /bin/none is missing (a script)\n")


def test_it_starts_where_we_are(unimmu: Unimmu, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top / "home/me")
    assert unimmu("run", "--root", top, "./here", CWD).out == "text = /home/me\n"
    assert unimmu("run", "--root", "../..", "--cwd", "/etc", "calls", CWD).out == "text = /etc\n"
    monkeypatch.chdir(top.parent)
    assert unimmu("run", "--root", top, "calls", CWD).out == "text = /\n"
    said = "unimmu run: --cwd /nowhere: cannot be entered in the machine: No such file or directory\n"
    assert unimmu("run", "--root", top, "--cwd", "/nowhere", "calls") == (2, "", said)
    (top / "home/me").chmod(0o700)
    monkeypatch.chdir(top / "home/me")
    ran = unimmu("run", "--root", top, "--uid", 1234, "--cwd", "/home/me", "calls", CWD)
    assert ran.status == 2 and ran.err.startswith("unimmu run: --cwd /home/me: cannot be entered")
    said = "unimmu run: user 1234 cannot enter the working directory /home/me: Permission denied; --cwd PATH starts "
    ran = unimmu("run", "--root", top, "--uid", 1234, "calls", CWD)
    assert ran.status == 2 and ran.err.startswith(said) and ran.err.count("\n") == 1


@pytest.fixture
def hidden(top: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory, with a program, that the machine's own /tmp hides; we are in it."""
    hidden = top / "tmp/new"
    hidden.mkdir(parents=True)
    (hidden / "prog").write_bytes(guests.path("calls").read_bytes())
    (hidden / "prog").chmod(0o755)
    monkeypatch.chdir(hidden)
    return hidden


def test_a_directory_that_the_machine_hides_is_told_of(
    unimmu: Unimmu, top: Path, hidden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = f"--bind {hidden}:/tmp/new shows"
    ran = unimmu("run", "--root", top, "calls", CWD)
    said = f"unimmu run: the program starts in the machine's /, since /tmp is its own; {bind} the directory here\n"
    assert ran == (0, "text = /\n", said)
    for name in ("./prog", "/tmp/new/prog", "../new/prog"):
        said = f"unimmu run: {name}: no such file in the machine, whose /tmp is its own; {bind} it\n"
        assert unimmu("run", "--root", top, name) == (127, "", said)
    words = ("--root", top, "--bind", f"{hidden}:/tmp/new")
    assert unimmu("run", *words, "./prog", CWD) == (0, "text = /tmp/new\n", "")
    assert unimmu("run", "--root", top, "--cwd", "/", "calls", CWD) == (0, "text = /\n", "")
    assert unimmu("run", "--root", top, "./none").err == f"unimmu run: ./none: no such file in {top}\n"
    monkeypatch.chdir(hidden.parent)
    ran = unimmu("run", "--root", top, "calls", CWD)
    assert ran.out == "text = /tmp\n" and ran.err.startswith("unimmu run: the program starts in the machine's /tmp, ")
    (top / "proc/x").mkdir(parents=True)
    monkeypatch.chdir(top / "proc/x")
    said = "unimmu run: the program starts in the machine's /, since /proc is its own; --cwd says where else\n"
    assert unimmu("run", "--root", top, "calls", CWD) == (0, "text = /\n", said)


def test_user_group_and_name(unimmu: Unimmu, top: Path) -> None:
    ids = "syscall 102; syscall 107; syscall 104; syscall 108"
    for words, expected in (
        ((), [0, 0, 0, 0]), (("--uid", 1234), [1234, 1234, 55, 55]), (("--uid", 9), [9, 9, 9, 9]),
        (("--uid", 1234, "--gid", 7), [1234, 1234, 7, 7]), (("--gid", 7), [0, 0, 7, 7]),
    ):  # fmt: skip
        ran = unimmu("run", "--root", top, *words, "calls", ids)
        assert ran.out == "".join(f"syscall = {number}\n" for number in expected)
    assert unimmu("run", "--uid", 5, "calls", "syscall 102").out == "syscall = 5\n"  # without a root too
    name = "@b = bytes 400; @syscall 63 b; text b+65"
    assert unimmu("run", "--hostname", "box", "calls", name).out == "text = box\n"
    assert unimmu("run", "calls", name).out == "text = unimmu\n"


def test_a_bound_directory_cannot_be_changed(unimmu: Unimmu, top: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/f").write_text("bound")
    script = '@b = bytes 8; @f = open "/mnt/a/f" 0; @read f b 8; text b; open "/mnt/a/new" 0101 0644; unlink "/mnt/a/f"'
    expected = "text = bound\nopen = EROFS\nunlink = EROFS\n"
    bind = f"{tmp_path}/other:/mnt/a"
    assert unimmu("run", "--root", top, "--bind", bind, "calls", script).out == expected
    assert unimmu("run", "--bind", bind, "calls", script).out == expected  # without a root too
    ran = unimmu("run", "--root", top, "--bind", f"{bind}:rw", "calls", script)
    assert ran.out == "text = bound\nopen = 4\nunlink = 0\n" and os.listdir(tmp_path / "other") == ["new"]


def test_what_cannot_be_a_root_or_bound(unimmu: Unimmu, top: Path) -> None:
    for words, says in (
        (("--root", top / "none"), "No such file or directory"), (("--root", "/proc"), "the host's kernel"),
        (("--root", top / "etc/passwd"), "Not a directory"), (("--bind", "/x"), "expected HOST:/GUEST/PATH"),
        (("--bind", f"{top}/none:/mnt"), "No such file or directory"), (("--uid", "me"), "not a whole number"),
    ):  # fmt: skip
        ran = unimmu("run", *words, "hello")
        assert ran.status == 2 and says in ran.err and ran.err.count("\n") == 1, ran
    for target in ("etc/passwd", "nowhere"):
        (top / "dev").unlink(missing_ok=True)
        (top / "dev").symlink_to(target)
        ran = unimmu("run", "--root", top, "hello")
        says = "/dev in the root is no directory"
        assert ran.status == 2 and says in ran.err and ran.err.count("\n") == 1, ran


@pytest.mark.skipif(not PYTHON.exists(), reason="the host has no /usr/bin/python3")
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="not an x86-64 host")
def test_python_of_the_host(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--root", "/", "--audit", PYTHON, "-c", "import json; print(json.dumps({'a': [1, 2.5, None]}))")
    assert (ran.status, ran.out) == (0, '{"a": [1, 2.5, null]}\n'), ran.err
