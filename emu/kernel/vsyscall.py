"""The vsyscall page: three calls at fixed addresses that old programs still make (arch/x86/entry/vsyscall).

As where Linux is started with vsyscall=xonly, nothing is mapped there: the fault of the call makes the kernel do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.vdso import VSYSCALL
from emu.linux.argument import LONG, UINT
from emu.linux.errors import LinuxError
from emu.linux.layout import TIMEVAL

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.kernel.task import Task
    from emu.linux.clock import Clock

_SPACING = 1024
_NS = 1_000_000_000


def emulate(cpu: Cpu, clock: Clock, task: Task) -> bool:
    """Do the call at the task's RIP and return from it (emulate_vsyscall); False if that is SIGSEGV."""
    number, odd = divmod(task.rip - VSYSCALL, _SPACING)
    if odd or number >= len(_CALLS):
        return False
    rsp, first, second = cpu.read("rsp"), cpu.read("rdi"), cpu.read("rsi")
    try:
        caller = task.mm.read_u64(rsp)
        result = _CALLS[number](clock, task, first, second)
    except LinuxError:
        return False
    task.rip = caller
    cpu.write("rax", result)
    cpu.write("rsp", rsp + 8)
    cpu.write("rip", caller)
    return True


def _gettimeofday(clock: Clock, task: Task, time: int, zone: int) -> int:
    if time:
        TIMEVAL.write(task.mm, time, clock.realtime_ns())
    if zone:
        task.mm.write(zone, bytes(8))
    return 0


def _time(clock: Clock, task: Task, where: int, _: int) -> int:
    seconds = clock.realtime_ns() // _NS
    if where:
        LONG.write(task.mm, where, seconds)
    return seconds


def _getcpu(clock: Clock, task: Task, cpu: int, node: int) -> int:
    if cpu:
        UINT.write(task.mm, cpu, task.cpu)
    if node:
        UINT.write(task.mm, node, 0)
    return 0


_CALLS = (_gettimeofday, _time, _getcpu)
