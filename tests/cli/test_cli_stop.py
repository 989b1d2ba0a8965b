"""--timeout ends a run whatever the guest does: every row of slow.c, output without an end; and so does one Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emu.testing.compiled import compile_guest
from tests.cli.conftest import command, environment

SLOW = Path(__file__).with_name("slow.c")
_ROWS = 44
#: So many of them in one process, which is started for these.
_TOGETHER = 11
EXHAUSTIVE = os.environ.get("UNIMMU_EXHAUSTIVE", "0") not in ("", "0")
_LIMIT_S = "2" if EXHAUSTIVE else "0.2"
#: Rows that may end by themselves first: SIGSEGV, a sleep for ever, exit, nobody left to wake.
_OWN_ENDING = {18: 139, 23: 125, 27: 139, 35: 0, 40: 125}
#: What is said when a row has used up the machine's memory, which a fast host does within the limit, and how it ends.
_OUT_OF_MEMORY = "unimmu: out of memory: killed process"
_OOM_ENDINGS = (137, 125)

KILOBYTES = (
    1_500_000, 2_500_000, 3_500_000, 3_600_000, 3_700_000, 3_800_000, 4_000_000, 4_200_000, 4_400_000,
)  # fmt: skip

_SPAM = """
#include "guest.h"
int main(int argc, char **argv, char **envp) { static char b[65536]; for (;;) sys_write(1, b, sizeof b); }
"""

#: The command; a byte on stdout says that it has begun.
_STARTS = """
import _signal, os
from emu.cli import entry
def told(*arguments, signal=_signal.signal):
    _signal.signal = signal
    signal(*arguments)
    os.write(1, b".")
_signal.signal = told
entry.main()
"""


#: Runs rows of slow.c, one after the other, and says on stderr which, and how each ended.
_RUNS_ROWS = """
import sys
from emu.cli.main import main
program, limit, *rows = sys.argv[1:]
for row in rows:
    words = ["--timeout", limit, "--audit", "--file", f"{program}:/bin/slow"]
    print("row", row, file=sys.stderr, flush=True)
    print("status", main(["run", *words, program, row]), file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("first", range(0, _ROWS, _TOGETHER))
def test_the_time_limit_ends_it(first: int) -> None:
    program = compile_guest(SLOW.read_text(), SLOW)
    rows = [str(row) for row in range(first, min(first + _TOGETHER, _ROWS))]
    # what hangs hangs for ever: the four minutes are for a host that is busy with other things
    ran = subprocess.run(
        [sys.executable, "-c", _RUNS_ROWS, program, _LIMIT_S, *rows], env=environment(), capture_output=True, text=True,
        timeout=240, check=True,
    )  # fmt: skip
    told = re.findall(r"^row (\d+)\n(.*?)^status (\d+)\n", ran.stderr, re.MULTILINE | re.DOTALL)
    assert [row for row, _, _ in told] == rows
    for row, said, status in told:
        endings = _OOM_ENDINGS if _OUT_OF_MEMORY in said else (_OWN_ENDING.get(int(row)),)
        assert int(status) in (124, *endings), (row, said)
        assert "audit: every table and every frame is accounted for" in said, (row, said)
        assert "Traceback" not in said, (row, said)


def test_output_that_nobody_reads() -> None:
    program = compile_guest(_SPAM)
    words = command("run", "--timeout", "0.5", program)
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        try:
            assert ran.wait(60) == 124
        finally:
            ran.kill()


@pytest.mark.parametrize("delay_ms", [0, 2, 5, 10, 20, 40, 80, 120, 160, 200, 300, 400])
def test_one_interruption_suffices_at_any_moment(delay_ms: int) -> None:
    words = [sys.executable, "-c", _STARTS, "run", "spin", "1000000000000"]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        try:
            assert ran.stdout is not None and ran.stderr is not None and ran.stdout.read(1)
            time.sleep(delay_ms / 1000)
            ran.send_signal(signal.SIGINT)
            assert ran.wait(60) in (130, -signal.SIGINT)
            assert b"Traceback" not in ran.stderr.read()
        finally:
            ran.kill()


_DISPOSES = """
import os, signal, sys, time, weakref
import emu.cli.main as command
class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
def main(words, interruptions):
    thing = Thing()
    if words:
        weakref.finalize(thing, os.kill, os.getpid(), signal.SIGINT)
        Thing.__del__ = lambda self: None
    del thing
    time.sleep(60)
command._main = main
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.exit(command._until_interrupted(sys.argv[1:]))
"""


@pytest.mark.parametrize("how", [[], ["finalize"]])
def test_an_interruption_while_an_object_is_disposed_of(how: list[str]) -> None:
    """What is raised there would be printed and lost."""
    ran = subprocess.run([sys.executable, "-c", _DISPOSES, *how], env=environment(), capture_output=True, timeout=50)
    assert (ran.returncode, ran.stderr) == (130, b"")


@pytest.mark.parametrize("kilobytes", KILOBYTES if EXHAUSTIVE else KILOBYTES[::2])
def test_too_little_address_space(kilobytes: int) -> None:
    words = ["bash", "-c", f'ulimit -v {kilobytes}; exec "$@"', "-", *command("run", "hello")]
    ran = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode:
        assert ran.returncode == 70
        assert ran.stderr.startswith("unimmu run: the engine needs ") and ran.stderr.count("\n") == 1
