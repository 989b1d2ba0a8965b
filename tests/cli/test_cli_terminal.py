"""The host's terminal is the guest's: keys that make signals, job control, the window's size, and the way out of a
guest that hangs.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from tests.cli.conftest import command, environment

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
#: Runs a command as a shell does: in a process group of its own, which has the terminal.  When it stops it goes on.
_SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        break
    print(f"[stopped by {os.WSTOPSIG(status)}]", flush=True)
    input()
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
print(f"[ended {os.waitstatus_to_exitcode(status)}]", flush=True)
"""


class Screen:
    """A terminal, and the command on it."""

    def __init__(self, *words: object) -> None:
        self._pid, self._master = pty.fork()
        if not self._pid:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):  # a run in the background may ignore them
                signal.signal(number, signal.SIG_DFL)
            os.chdir("/")  # a directory that the machine's /tmp hides would be told of, on the terminal
            words = (sys.executable, "-c", _SHELL, *command("run", *words))
            os.execve(sys.executable, [str(word) for word in words], environment())
        self.seen = ""

    def until(self, text: str) -> str:
        """What comes before the text, which is waited for."""
        while text not in self.seen:
            assert select.select([self._master], [], [], 60)[0], self.seen
            self._read()
        before, _, self.seen = self.seen.partition(text)
        return before

    def _read(self) -> str:
        self.seen += os.read(self._master, 1000).decode().replace("\r", "")
        return self.seen

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def close(self) -> None:
        os.close(self._master)
        os.waitpid(self._pid, 0)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    """The screens that a test opens."""
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.close()


def start(screens: list[Screen], *words: object) -> Screen:
    screens.append(Screen(*words))
    return screens[-1]


@pytest.mark.parametrize(("key", "status", "said"), [("\x03", 130, ""), ("\x1c", 131, "was killed by SIGQUIT")])
def test_a_key_ends_a_guest_that_has_no_handler(screens: list[Screen], key: str, status: int, said: str) -> None:
    screen = start(screens, "calls", "b = bytes 8; say 1; read 0 b 8")
    screen.until("say = 1\n")
    screen.type(key)
    assert said in screen.until(f"[ended {status}]")


def test_a_guest_that_waits_for_ever_waits_for_keys(screens: list[Screen]) -> None:
    screen = start(screens, "calls", "say 1; syscall 34")
    screen.until("say = 1\n")
    screen.type("\x03")
    assert "unimmu" not in screen.until("[ended 130]")


def test_keys_of_a_guest_that_wants_no_signals_come_in_their_order(screens: list[Screen]) -> None:
    screen = start(
        screens, "calls",
        "w = bytes 64; @ioctl 0 0x5401 w; @l = load w+12; @store w+12 l-11; ioctl 0 0x5402 w;"
        "b = bytes 8; @r = read 0 b 1; @read 0 b+r 1; @read 0 b+2 1; @read 0 b+3 1; load b; exit 3",
    )  # fmt: skip
    screen.until("ioctl = 0\n")
    screen.type("a\x03\x1a\x1c")
    screen.until(f"load = {int.from_bytes(b'a' + bytes((3, 26, 28)), 'little'):#x}\n")
    screen.until("[ended 3]")


@pytest.mark.parametrize("mode", ["stty -echo", "stty raw -echo"])
def test_a_guest_that_hangs_is_ended_by_ctrl_c_pressed_three_times(screens: list[Screen], mode: str) -> None:
    screen = start(screens, "--root", "/", "sh", "-c", f"trap '' INT; {mode}; echo hangs; while :; do :; done")
    screen.until("hangs")
    for _ in range(3):
        screen.type("\x03")
        time.sleep(0.55)  # over at least a second
    assert "unimmu: interrupted: 100 (sh) runs at " in screen.until("[ended 130]")


def test_unimmu_stops_with_what_it_runs(screens: list[Screen]) -> None:
    screen = start(screens, "calls", "b = bytes 8; say 1; read 0 b 8; text b")
    screen.until("say = 1\n")
    screen.type("\x1a")
    screen.until("[stopped by 20]\n")
    screen.type("\n")
    screen.until("\n")
    screen.type("more\n")
    screen.until("read = 5\ntext = more")
    screen.until("[ended 0]")


@needs_bash
def test_a_shell_is_usable_by_hand(screens: list[Screen]) -> None:
    screen = start(screens, "--root", "/", "--env", "PS1=: ", "bash", "--norc", "--noprofile", "--noediting")
    screen.until(": ")
    screen.type("trap 'stty size' WINCH; cat\n")
    screen.until("cat\n")
    screen.type("one\n")
    screen.until("one\none\n")
    screen.type("\x1a")
    screen.until("Stopped")
    screen.until(": ")
    screen.type("fg\n")
    screen.until("fg\ncat\n")
    screen.type("two\n")
    screen.until("two\ntwo\n")  # only then the terminal is its own
    screen.type("\x03")
    screen.until(": ")
    screen.resize(33, 99)
    screen.type("\n")
    screen.until("33 99\n")
    screen.type("exit 7\n")
    screen.until("[ended 7]")


@needs_bash
def test_a_job_that_sleeps_can_be_stopped(screens: list[Screen]) -> None:
    screen = start(screens, "--root", "/", "--env", "PS1=: ", "bash", "--norc", "--noprofile", "--noediting")
    screen.until(": ")
    screen.type("sh -c 'echo here; exec sleep 10000'\n")  # a key that comes before it is read would discard it
    screen.until("here\n")
    screen.type("\x1a")
    screen.until("Stopped")
    screen.until(": ")
    screen.type("kill %1; exit 5\n")
    screen.until("[ended 5]")
