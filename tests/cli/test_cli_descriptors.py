"""Standard input, output and error are what they are on the host: the guest ``calls`` does the same here as natively,
whatever the shell has made them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import subprocess
import termios
import time
from pathlib import Path

import pytest

import guests
from tests.cli.conftest import command, environment, start

#: Kind, owner and size of a descriptor, its flags but O_LARGEFILE, position, poll(), terminal, and being opened again.
_LOOK = """
s = bytes 144; fstat {fd} s; load s+24; @f = fcntl {fd} 3; mod f 0x8000; lseek {fd} 0 1
p = words {fd}+0x{events}00000000; syscall 7 p 1 0; load p; ioctl {fd} 0x5413 s; ioctl {fd} 0x541b s
again = open "/dev/fd/{fd}" {mode}; lseek again 0 1; close again; syscall 21 "/proc/self/fd/{fd}" 0
"""
_READ = """
b = bytes 64; pread 0 b 4 1; text b; read 0 b 3; text b; lseek 0 0 1; write 0 "x" 1
fcntl 0 4 0x800; @m = fcntl 0 3; mod m 0x8000; read 0 b 60; text b; read 0 b 1
"""
_WRITE = """
write 1 "one\\n" 4; pwrite 1 "ONE" 3 0; ftruncate 1 200; lseek 1 0 2; read 1 s 1; syscall 74 1; lseek 1 0 1
d = open "/dev/stdout" 01001; lseek d 0 1; close d; d = open "/dev/stdout" 02; lseek d 0 2; close d
fcntl 1 4 0x400; @f = fcntl 1 3; mod f 0x8000; write 1 "two\\n" 4
"""
_IN = _LOOK.format(fd=0, events=1, mode=0x800) + _READ
_OUT = _LOOK.format(fd=1, events=4, mode=1) + _WRITE

_CASES = [
    ("<in >out", _IN), ("<in >out", _OUT), ("<in >>out", _OUT), ("<>in >out", _IN), ("<in 1<>out", _OUT),
    ("<in >out 2>&1", _OUT), ("</dev/null >out", _IN), ("</dev/zero >out", "b = bytes 8; read 0 b 8; load b"),
    ("<&- >out", _LOOK.format(fd=0, events=1, mode=0)), ("<in >&-", "write 1 s 1; say 1; exit 5"),
    ("<in >/dev/null", _OUT),
    ("<in | cat >out", _OUT), ("<in 2>&- >out", 'write 2 "x" 1; open "/dev/null" 0'),
]  # fmt: skip


@pytest.mark.parametrize(("redirection", "script"), _CASES)
def test_what_the_shell_has_made_of_them(tmp_path: Path, redirection: str, script: str) -> None:
    script = "; ".join(filter(None, script.splitlines()))
    results = []
    for words in ([str(guests.path("calls"))], command("run", "calls")):
        (tmp_path / "in").write_text("abcdefghijklmnopqrstuvwxyz\n")
        (tmp_path / "out").write_text("what was in the file before, which is longer\n" * 2)
        line = f"{shlex.join([*words, script])} {redirection}"
        ran = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"], cwd=tmp_path, env=environment(), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        results.append((ran, (tmp_path / "out").read_text(), (tmp_path / "in").read_text()))
    native, ours = results
    assert ours[1].splitlines() == native[1].splitlines()
    assert ours[2] == native[2]
    assert (ours[0].stderr, ours[0].returncode) == (native[0].stderr, native[0].returncode)


def test_the_offset_is_the_hosts(tmp_path: Path) -> None:
    """What one program leaves, the next one reads."""
    (tmp_path / "in").write_text("firstsecond")
    words = shlex.join(command("run", "calls", "@b = bytes 8; read 0 b 5; text b"))
    line = f"{{ {words}; cat; }} <in"
    ran = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "read = 5\ntext = first\nsecond"


def test_a_file_is_not_written_through_a_descriptor_that_only_reads(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("mine")
    words = shlex.join(
        command("run", "calls", 'open "/dev/stdin" 2; open "/proc/self/fd/0" 01001; chmod "/dev/stdin" 0')
    )
    ran = subprocess.run(
        ["bash", "-c", f"{words} <in"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert ran.stdout.splitlines() == ["open = EACCES", "open = EACCES", "chmod = EPERM"]
    assert (tmp_path / "in").read_text() == "mine"


def test_who_waits_for_input_does_not_block_others() -> None:
    script = "b = bytes 8; fork c; read 0 b 8; text b; end; say 7; wait c"
    with start("run", "calls", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "say = 7\n":
            lines.append(process.stdout.readline())
        process.stdin.write("late\n")
        process.stdin.flush()
        assert process.stdout.read().split() == ["read", "=", "5", "text", "=", "late", "wait", "=", "0"]
        assert process.wait(60) == 0


def test_a_wait_for_input_with_a_time_limit_takes_that_time() -> None:
    """A guest that polls its input does not see its time run away, and gets what comes meanwhile."""
    script = "p = words 0x100000000; syscall 7 p 1 20; syscall 7 p 1 60000; load p"
    with start("run", "calls", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        first = process.stdout.readline(), process.stdout.readline()
        process.stdin.write("x")
        process.stdin.flush()
        assert first[1] == "syscall = 0\n"
        assert process.stdout.readline() == "syscall = 1\n"
        assert process.wait(60) == 0


def test_epoll_is_told_of_input_each_time_that_it_comes() -> None:
    script = (
        "b = bytes 8; v = words 0x700000001 0; w = bytes 16; e = syscall 291 0; syscall 233 e 1 0 v; repeat 3;"
        " syscall 232 e w 1 60000; read 0 b 8; end; syscall 232 e w 1 0"
    )
    with start("run", "calls", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert [process.stdout.readline() for _ in range(5)][4] == "syscall = 0\n"
        for line in ("one", "four", ""):
            if line:
                process.stdin.write(line)
                process.stdin.flush()
            else:
                process.stdin.close()
            assert process.stdout.readline() == "syscall = 1\n"
            assert process.stdout.readline() == f"read = {len(line)}\n"
        assert process.stdout.read() == "syscall = 1\n"  # the end stays
        assert process.wait(60) == 0


def test_input_that_is_not_there_yet_and_nobody_waits() -> None:
    script = "b = bytes 8; fcntl 0 4 0x800; read 0 b 8; say 1; fcntl 0 4 0; read 0 b 8; read 0 b 8"
    with start("run", "calls", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[2:] == ["read = EAGAIN\n", "say = 1\n"]
        process.stdin.write("abc")
        process.stdin.close()
        assert process.stdout.read().splitlines() == ["fcntl = 0", "read = 3", "read = 0"]


def test_sendfile_into_a_pipe_that_fills() -> None:
    """Nothing is lost where a reader is slow: a short count, and the rest by the next call."""
    script = (
        '@f = open "/tmp/f" O_RDWR|O_CREAT 0600; @ftruncate f 300K; @fork c; repeat 40;'
        " @syscall 40 1 f 0 300K; end; end; @wait c"
    )
    with start("run", "calls", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        time.sleep(0.5)
        assert len(process.stdout.read()) == 300 << 10
        assert process.wait(60) == 0


class Screen:
    """A terminal, and the command on it."""

    def __init__(self, *words: object) -> None:
        self.master, self._slave = pty.openpty()
        self.before = termios.tcgetattr(self._slave)
        self._process = subprocess.Popen(
            command(*words), env=environment(), stdin=self._slave, stdout=self._slave, stderr=self._slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.seen = ""

    def until(self, text: str) -> None:
        while text not in self.seen:
            assert select.select([self.master], [], [], 20)[0], self.seen
            self.seen += os.read(self.master, 1000).decode().replace("\r", "")

    def end(self) -> int:
        """The exit status; the terminal has the modes that it had."""
        try:
            status = self._process.wait(60)
            assert termios.tcgetattr(self._slave) == self.before
            return status
        finally:
            self._process.kill()
            os.close(self.master)
            os.close(self._slave)


def test_a_terminal() -> None:
    screen = Screen(
        "run", "calls",
        "w = bytes 64; ioctl 0 0x5413 w; ioctl 0 0x5401 w; g = bytes 8; ioctl 0 0x540f g; load g; lseek 0 0 1;"
        'b = bytes 40; t = bytes 40; syscall 89 "/proc/self/fd/0" t 40; text t; open t 2; open "/dev/tty" 2;'
        'ioctl 0 0x5412 "x"; read 0 b 40; text b; read 0 b 40',
    )  # fmt: skip
    screen.until("ioctl = ENOTTY\n")
    assert "ioctl = 0\nload = 100\n" in screen.seen
    assert "text = /dev/pts/" in screen.seen and "open = 3\nopen = 4\n" in screen.seen
    os.write(screen.master, b"typed\n")
    screen.until("text = typed\n")
    os.write(screen.master, b"\x04")
    screen.until("read = 0\n")
    assert screen.end() == 0


def test_modes_of_a_terminal_are_given_back() -> None:
    """Without ICANON, ISIG and VINTR a guest reads single keys."""
    screen = Screen(
        "run", "calls",
        "w = bytes 64; @ioctl 0 0x5401 w; @l = load w+12; @store w+12 l-11; @k = load w+16; @store w+16 k-0x300;"
        "ioctl 0 0x5402 w; @ioctl 0 0x5401 w; @n = load w+16; say k-n;"
        "@m = load w+12; say l-m; b = bytes 8; read 0 b 8; exit 3",
    )  # fmt: skip
    screen.until("say = 768\nsay = 0x3000000000b\n")
    os.write(screen.master, b"\x03")
    screen.until("read = 1\n")
    assert screen.end() == 3
