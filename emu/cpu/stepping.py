"""Going instruction by instruction, with RFLAGS.TF."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu.trap import SYSCALL_TRAP, Trap, TrapKind
from emu.engine.records import TrapReason
from emu.instructions.raised import DB

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu

_TF = 1 << 8


def step_to(cpu: Cpu, rip: int, until: int) -> Trap | None:
    """Go to another address instruction by instruction; the trap that came before, if one did."""
    while rip != until:
        trap = _one_step(cpu, rip)
        rip = cpu.rip
        if trap.kind != TrapKind.EXCEPTION or trap.vector != DB:
            return trap
    return None


def single_step(cpu: Cpu, rip: int) -> Trap:
    """Run one instruction at ``rip``, and then raise a debug exception, unless something else needs the kernel.
    The guest sees RFLAGS.TF in what PUSHF pushes, as where a debugger steps.
    """
    return _one_step(cpu, rip, hidden=False)


def _one_step(cpu: Cpu, rip: int, *, hidden: bool = True) -> Trap:
    """One instruction, with RFLAGS.TF, which the guest does not see behind a SYSCALL, and if it is ``hidden`` not
    in what PUSHF pushes either.
    """
    pushes = hidden and cpu.blocks.pages.is_pushf(rip)
    cpu.mmu.state.crossing = rip
    cpu.rflags |= _TF
    trap = cpu.enter(rip)
    cpu.rflags &= ~_TF
    cpu.trap.rflags &= ~_TF
    if cpu.trap.reason == TrapReason.SYSCALL:  # the engine raises the debug exception too
        return SYSCALL_TRAP
    if pushes and trap.kind == TrapKind.EXCEPTION and trap.vector == DB:
        at = cpu.read("rsp") + 1
        cpu.mmu.write(at, bytes([cpu.mmu.read(at, 1)[0] & ~(_TF >> 8)]))
    return trap


def find_faulting_instruction(cpu: Cpu, rip: int, look: Callable[[], object] = lambda: None) -> Trap:
    """Single-step (RFLAGS.TF) from ``rip`` until a trap other than the step itself.

    For a fetch that failed while Unicorn translated ahead: the fault is real only once execution gets there, which
    may be never: ``look``, which may end the slice, is called before each step.
    """
    while True:
        look()
        trap = _one_step(cpu, rip)
        rip = cpu.rip
        if trap.kind != TrapKind.EXCEPTION or trap.vector != DB:
            return trap
