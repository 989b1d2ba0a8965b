"""A run ends when it is told to, whatever the guest does: between two blocks of code, and within calls that work on
much memory.  The machine can be audited then, and goes on where it stopped.
"""

from __future__ import annotations

import pytest

from emu.kernel.sched import StopReason
from emu.linux.stop import Stop
from emu.testing.compiled import compile_guest
from tests.booted import MakeMachine
from tests.exhaustive import by_default

_WRITE = '@m = mmap 0 16M RW PRIVATE|MAP_ANONYMOUS -1 0; d = open "/tmp/out" O_RDWR|O_CREAT 0600; write d m 16M; getpid'
_MIB = 1 << 20

#: Code that never arrives at the page that the engine fetches ahead of it.
_FETCHED_AHEAD = """
#include "guest.h"
int main(int argc, char **argv, char **envp)
{
    u8 *m = (u8 *)must(sys_mmap(0, 8192, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
    sys_munmap((u64)m + 4096, 4096);
    u8 *p = m + 4096 - %d;
    static const u8 code[] = { %s };
    memcpy(p, code, sizeof code);
    ((void (*)(void))p)();
    return 0;
}
"""


@pytest.mark.parametrize("code", [(0xEB, 0xFE), (0x90, 0xEB, 0xFD), (0x74, 0xFE, 0xEB, 0xFC)], ids=["jmp", "nop", "jz"])
@pytest.mark.parametrize("cpus", by_default([2], [1, 2]))
def test_a_loop_before_a_page_that_cannot_be_fetched(machine: MakeMachine, code: tuple[int, ...], cpus: int) -> None:
    booted = machine(cpus=cpus)
    task = booted.guest(compile_guest(_FETCHED_AHEAD % (len(code), ", ".join(map(str, code)))))
    assert booted.run(timeout_s=0.3) == StopReason.TIMEOUT
    assert booted.run(timeout_s=0.1) == StopReason.TIMEOUT
    assert task.alive
    booted.kill_all()


#: A thread writes into a pipe from a page that a program is to fill, and nobody does.
_FAULT_THAT_WAITS = """
#include "guest.h"
int main(int argc, char **argv, char **envp)
{
    u64 api[3] = { 0xaa }, uffd = must(syscall3(323, 0, 0, 0), "userfaultfd");
    must(sys_ioctl(uffd, 0xc018aa3f, api), "UFFDIO_API");
    u8 *m = (u8 *)must(sys_mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
    u64 range[4] = { (u64)m, 4096, 1, 0 };
    must(sys_ioctl(uffd, 0xc020aa00, range), "UFFDIO_REGISTER");
    int ends[2];
    must(sys_pipe2(ends, 0), "pipe2");
    return sys_write(ends[1], m, 1);
}
"""


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_fault_in_a_call_that_nobody_resolves(machine: MakeMachine, cpus: int) -> None:
    booted = machine(cpus=cpus)
    task = booted.guest(compile_guest(_FAULT_THAT_WAITS))
    assert booted.run(timeout_s=5) == StopReason.IDLE
    booted.guest("spin")
    assert booted.run(timeout_s=0.1) == StopReason.TIMEOUT
    assert booted.run(timeout_s=0.1) == StopReason.TIMEOUT
    assert task.alive
    booted.kill_all()


def test_a_call_that_works_on_much_ends_with_what_it_has_done(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted = machine()
    task = booted.guest("calls", _WRITE)
    pieces = 0

    def look(stop: Stop) -> bool:
        nonlocal pieces
        pieces += 1
        if pieces == 2:
            stop.request()
        return stop.requested

    monkeypatch.setattr(Stop, "look", look)
    assert booted.run() == StopReason.CONDITION
    assert booted.audit() == []
    assert task.alive
    written, pid = booted.result_of(task).stdout.splitlines()[-2:]
    assert (written, pid) == (f"write = {2 * _MIB:#x}", "getpid = 100")
