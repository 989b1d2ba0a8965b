"""The way back to the program from a system call that was answered natively (:mod:`emu.kernel.fastcalls`)."""

from __future__ import annotations

from emu.engine.records import TrapState
from emu.kernel.faststate import FastState
from emu.kernel.usermemory import NOWHERE, READABLE, translated
from mmu.native import load8, load64, native, store64
from mmu.state import MmuState

_RAX, _RCX, _R11, _RIP = 0, 8, 88, 128
_IN_PAGE = 0xFFF


@native
def is_syscall(path: FastState, rip: int) -> bool:
    """Whether the instruction is two bytes long, without prefixes."""
    if rip & _IN_PAGE == _IN_PAGE or rip >= path.task_size:
        return False
    state = MmuState.from_address(path.mmu)
    paddr = translated(state, state.cr3, rip, READABLE)
    return paddr != NOWHERE and load8(state.ram + paddr) == 0x0F and load8(state.ram + paddr + 1) == 0x05


@native
def returns(path: FastState, trap: TrapState, result: int) -> None:
    """What SYSRET leaves."""
    registers = trap.registers
    store64(registers + _RCX, load64(registers + _RIP) + 2)
    store64(registers + _R11, trap.rflags)
    store64(registers + _RAX, result)
    path.answered += 1


@native
def done(path: FastState, trap: TrapState, cost: int, result: int) -> bool:
    """Whether the call has this result, and costs so much: unless the instruction is longer than usual."""
    if not is_syscall(path, load64(trap.registers + _RIP)):
        return False
    path.system_ns += cost
    returns(path, trap, result)
    return True
