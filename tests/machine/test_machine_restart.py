"""System calls that a signal interrupts: with SA_RESTART they start again, here as on a Linux host."""

from __future__ import annotations

import pytest

import guests
from emu.trace.leader import Pids
from emu.trace.strace import Options, Strace
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host

EXPECTED = """read: 1, handlers 1
read without SA_RESTART: EINTR, handlers 1
wait4: 7, handlers 1
waitid: 7, handlers 1
futex: woken, handlers 1
read in a handler: 1, then 1, handlers 2
reads of 3 threads: 3, handlers 3
two at once: 21
"""


#: Of ``restart stop``.
STOPPED = """pause: EINTR, handlers 1
rt_sigsuspend over an ignored signal: EINTR, handlers 1
nanosleep: 0, in time, handlers 0
clock_nanosleep: 0, in time, handlers 0
poll without data: 0, in time, handlers 0
poll: 1, handlers 0
ppoll over an ignored signal: 1, handlers 0
select: 1, handlers 0
futex with a timeout: ETIMEDOUT, in time, handlers 0
read: 1, handlers 0
nanosleep and a handler: EINTR, handlers 1
what was left: ok
poll and a handler: EINTR, handlers 1
futex with a timeout and a handler: EINTR, handlers 1
data before the signal: 1, handlers 1
"""


@needs_host
def test_what_the_host_does() -> None:
    assert native(guests.path("restart")) == (EXPECTED, "", 0, "")
    assert native(guests.path("restart"), ["stop"]) == (STOPPED, "", 0, "")


@pytest.mark.parametrize("options", [{}, *({"cpus": n, "turn": 700} for n in (1, 2, 4))])
def test_calls_go_on_where_no_handler_runs(machine: MakeMachine, options: dict[str, object]) -> None:
    assert machine(**options).outcome("restart", "stop") == (STOPPED, "", 0, "")


def test_a_call_that_goes_on_under_strace(machine: MakeMachine) -> None:
    """The call is shown again after the signal, as the one that goes on with it."""
    booted = machine()
    lines: list[str] = []
    booted.kernel.tracer = Strace(booted.kernel, lines.append, Options(pids=Pids.ALWAYS))
    assert booted.outcome("restart", "stop").stdout == STOPPED
    first = [line for line in lines if line.startswith("100 ")]
    at = next(i for i, line in enumerate(first) if "SIGSTOP" in line and "nanosleep" in first[i - 1])
    assert first[at + 1] == "100   --- stopped by SIGSTOP ---"
    again = next(line for line in first[at + 2 :] if "SIGCONT" not in line)
    assert again.startswith("100   restart_syscall(<... resuming interrupted nanosleep ...> <unfinished ...>")


@pytest.mark.parametrize("options", [{}, {"tlb": "textbook"}, *({"cpus": n, "turn": 700} for n in (1, 2, 4))])
def test_calls_start_again(machine: MakeMachine, options: dict[str, object]) -> None:
    assert machine(**options).outcome("restart") == (EXPECTED, "", 0, "")


def test_under_strace(machine: MakeMachine) -> None:
    """The call is shown twice: to be restarted, and with its result after the handler."""
    booted = machine()
    lines: list[str] = []
    booted.kernel.tracer = Strace(booted.kernel, lines.append, Options(pids=Pids.ALWAYS))
    assert booted.outcome("restart").stdout == EXPECTED
    first = [line for line in lines if line.startswith("100 ")]
    at = next(i for i, line in enumerate(first) if "? ERESTARTSYS" in line)
    returned = next(i for i, line in enumerate(first) if i > at and "rt_sigreturn(" in line)
    assert first[at + 1].startswith("100   --- SIGUSR1 ")
    assert first[returned + 1].startswith("100   read(3")
    assert returned > at


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_first_of_several_signals_decides(machine: MakeMachine, first: int, second: int) -> None:
    """handle_signal() looks at SA_RESTART of the signal that is delivered first; the others find a handler to
    interrupt, and no call.
    """
    expected = "1" if first else "EINTR"
    assert machine().outcome("restart", "pair", first, second).stdout == f"read: {expected}, handlers 2\n"
