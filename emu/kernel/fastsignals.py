"""System calls about signals, answered natively (:mod:`emu.kernel.fastcalls`): a signal that a task sends itself, the
return from its handler, and changes of the mask.
"""

from __future__ import annotations

from emu.engine.records import TrapState
from emu.kernel.fastreturn import done, is_syscall
from emu.kernel.faststate import FastState
from emu.kernel.sigregs import SignalRegisters, make_frame, take_frame
from emu.kernel.usermemory import NOWHERE, READABLE, WRITABLE, buffer, use
from emu.linux.cost import Cost
from mmu.entries import A, D
from mmu.native import load32, load64, native, store64
from mmu.state import MmuState

_SIGNAL = Cost.SIGNAL
_RAX, _RCX, _RDX, _RSP, _RSI, _RDI, _R10, _R11, _RIP = 0, 8, 16, 32, 48, 56, 80, 88, 128
_TF_AC = 1 << 8 | 1 << 18
_PAGE, _IN_PAGE, _LOW_32 = 4096, 0xFFF, 0xFFFF_FFFF
#: Of struct ucontext: ss_sp, ss_flags, ss_size, the registers from R8 on, with RIP and RFLAGS among them, fpstate, the
#: mask, all of it; and the floating-point state.
_SS_SP, _SS_FLAGS, _SS_SIZE, _REGISTERS, _UC_RIP, _UC_RFLAGS, _FPSTATE = 16, 24, 32, 40, 168, 176, 224
_MASK, _UC_BYTES, _FPSTATE_BYTES = 296, 304, 580
#: SIGKILL and SIGSTOP.
_UNBLOCKABLE = 1 << 8 | 1 << 18
_SIG_BLOCK, _SIG_UNBLOCK, _SIG_SETMASK, _MASK_BYTES = 0, 1, 2, 8


@native
def sigreturn(path: FastState, trap: TrapState, cost: int) -> bool:
    """Back from a handler, as :mod:`emu.kernel.sigframe` does it where a frame is in one page and as it was made."""
    state, rsp = MmuState.from_address(path.mmu), load64(trap.registers + _RSP)
    registers = SignalRegisters.from_address(path.registers)
    if path.signals == 0 or not is_syscall(path, load64(trap.registers + _RIP)):
        return False
    paddr = buffer(state, path.task_size, state.cr3, rsp, _UC_BYTES, READABLE)
    if paddr == NOWHERE:
        return False
    at = state.ram + paddr
    if load64(at + _SS_SP) != registers.alt_stack or load32(at + _SS_FLAGS) != registers.alt_flags:
        return False
    if load64(at + _SS_SIZE) != registers.alt_size or load64(at + _FPSTATE) < rsp:
        return False
    beside = load64(at + _FPSTATE) - rsp
    if beside > _PAGE or (rsp & _IN_PAGE) + beside + _FPSTATE_BYTES > _PAGE:
        return False
    if load64(at + _UC_RIP) >= path.task_size or load64(at + _UC_RFLAGS) & _TF_AC != 0:
        return False
    registers.frame, registers.image = at + _REGISTERS, at + beside
    if not take_frame(registers):
        return False
    use(state, state.cr3, rsp, A)
    store64(trap.registers + _RIP, registers.rip - 2)  # the engine goes on behind the instruction
    path.blocked = (load64(at + _MASK) | _UNBLOCKABLE) - _UNBLOCKABLE
    path.system_ns += cost
    path.answered += 1
    return True


@native
def sigprocmask(path: FastState, trap: TrapState, cost: int) -> bool:
    """The mask is read and changed where no signal is pending that a change could let through."""
    registers, state = trap.registers, MmuState.from_address(path.mmu)
    how, new, old = load64(registers + _RDI) & _LOW_32, load64(registers + _RSI), load64(registers + _RDX)
    if path.masks == 0 or load64(registers + _R10) != _MASK_BYTES or (how > _SIG_SETMASK and new != 0):
        return False
    before, mask = path.blocked, 0
    if new != 0:
        source = buffer(state, path.task_size, state.cr3, new, _MASK_BYTES, READABLE)
        if source == NOWHERE:
            return False
        mask = load64(state.ram + source)
    target = NOWHERE
    if old != 0:
        target = buffer(state, path.task_size, state.cr3, old, _MASK_BYTES, WRITABLE)
        if target == NOWHERE:
            return False
    if not done(path, trap, cost, 0):
        return False
    if new != 0:
        use(state, state.cr3, new, A)
        if how == _SIG_BLOCK:
            mask |= before
        elif how == _SIG_UNBLOCK:
            mask = (before | mask) - mask
        path.blocked = (mask | _UNBLOCKABLE) - _UNBLOCKABLE
    if old != 0:
        use(state, state.cr3, old, A | D)
        store64(state.ram + target, before)
    return True


@native
def kill(path: FastState, trap: TrapState, cost: int) -> bool:
    """A signal of the task to itself, the same as before, which is delivered at once."""
    general, registers = trap.registers, SignalRegisters.from_address(path.registers)
    signo, rip = load64(general + _RSI) & _LOW_32, load64(general + _RIP)
    if path.signals == 0 or path.self == 0 or load64(general + _RDI) & _LOW_32 != path.self:
        return False
    if signo != registers.signo or path.blocked >> (signo - 1) & 1 != 0 or registers.handler >= path.task_size:
        return False
    if path.system_ns + cost + _SIGNAL >= path.look_at or not is_syscall(path, rip):
        return False
    result, behind, flags = load64(general + _RAX), load64(general + _RCX), load64(general + _R11)
    registers.rip, registers.old_mask = rip + 2, path.blocked
    store64(general + _RAX, 0)
    store64(general + _RCX, rip + 2)
    store64(general + _R11, trap.rflags)
    if not make_frame(registers):
        store64(general + _RAX, result)
        store64(general + _RCX, behind)
        store64(general + _R11, flags)
        return False
    store64(general + _RIP, registers.handler - 2)  # the engine goes on behind the instruction
    path.blocked |= path.blocks
    path.system_ns += cost + _SIGNAL
    path.answered += 1
    return True
