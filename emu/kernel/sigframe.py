"""The frame that a signal handler finds on its stack, and the way back (arch/x86/kernel/signal_64.c).

struct rt_sigframe: the return address (restorer), struct ucontext (flags, link, stack_t, struct sigcontext,
sigset_t), siginfo_t. The floating-point state lies above it in FXSAVE format, 16-byte aligned.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emu.fpu import FXSAVE_BYTES
from emu.kernel.signal_state import SS_AUTODISARM, UNBLOCKABLE, AltStack, SaFlags, SigAction, SigInfo
from emu.kernel.task import Task
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.cpu import Cpu

_SIGCONTEXT = (
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "rdi",
    "rsi",
    "rbp",
    "rbx",
    "rdx",
    "rax",
    "rcx",
    "rsp",
)
_UCONTEXT_HEAD = struct.Struct("<QQQIiQ")  # uc_flags, uc_link, ss_sp, ss_flags, pad, ss_size
_SIGCONTEXT_TAIL = struct.Struct("<HHHHQQQQQ8Q")  # cs, gs, fs, ss, err, trapno, oldmask, cr2, fpstate, reserved
_UC_BYTES = 40 + 8 * 18 + _SIGCONTEXT_TAIL.size + 8
_FRAME_BYTES = 8 + _UC_BYTES + 128
_USER_CS, _USER_SS = 0x33, 0x2B
_UC_SIGCONTEXT_SS, _UC_STRICT_RESTORE_SS = 2, 4
_WORD = 0xFFFF_FFFF_FFFF_FFFF
#: RFLAGS bits that a process may change by sigreturn: the arithmetic flags, TF, DF, RF, AC.
_USER_FLAGS = 0x0005_0DD5
_RED_ZONE = 128


def _frame_place(task: Task, rsp: int, flags: int) -> tuple[int, int] | None:
    """Where the floating-point state and the frame go (get_sigframe), or None where they leave the alternate stack."""
    stack = task.signals.alt_stack
    top, on_it = rsp - _RED_ZONE, stack.in_use(rsp)
    if flags & SaFlags.ONSTACK and stack.mode(top & _WORD) == 0:
        top, on_it = stack.sp + stack.size, True
    fpstate = (top - FXSAVE_BYTES) & -64 & _WORD
    frame = ((fpstate - _FRAME_BYTES & -16) - 8) & _WORD
    return None if on_it and not stack.holds(frame) else (fpstate, frame)


def setup_frame(cpu: Cpu, task: Task, info: SigInfo, action: SigAction, old_mask: int) -> bool:
    """Push the frame and point the CPU at the handler.  False if the stack cannot take it.

    The frame returns to ``task.rip``, which for a restarted call is its SYSCALL instruction; the engine's RIP is still
    behind it.
    """
    if not action.flags & SaFlags.RESTORER:
        return False
    registers = cpu.read_all()
    stack = task.signals.alt_stack
    place = _frame_place(task, registers["rsp"], action.flags)
    if place is None:
        return False
    fpstate, frame = place
    content = struct.pack("<Q", action.restorer)
    content += _UCONTEXT_HEAD.pack(_UC_SIGCONTEXT_SS | _UC_STRICT_RESTORE_SS, 0, stack.sp, stack.flags, 0, stack.size)
    content += struct.pack("<18Q", *(registers[name] for name in _SIGCONTEXT), task.rip, registers["rflags"])
    error, vector, cr2 = task.fault_words
    content += _SIGCONTEXT_TAIL.pack(_USER_CS, 0, 0, _USER_SS, error, vector, old_mask, cr2, fpstate, *([0] * 8))
    content += struct.pack("<Q", old_mask)
    content += info.pack()
    try:
        task.mm.write(fpstate, cpu.fpu.save())
        task.mm.write(frame, content)
    except LinuxError:
        return False
    at_info = frame + 8 + _UC_BYTES
    registers.update(rip=action.handler, rsp=frame, rdi=info.signo, rsi=at_info, rdx=frame + 8, rax=0)
    registers["rflags"] &= ~(0x400 | 0x100 | 0x10000)  # DF, TF, RF
    cpu.write_all(registers)
    cpu.fpu.reset()
    if stack.flags & SS_AUTODISARM:
        task.signals.alt_stack = AltStack()
    task.rip = action.handler
    return True


def restore_frame(cpu: Cpu, task: Task) -> int:
    """rt_sigreturn: restore the state saved in the frame; returns RAX.  LinuxError(EFAULT) if it cannot be read."""
    registers = cpu.read_all()
    content = task.mm.read(registers["rsp"], _UC_BYTES)
    values = struct.unpack_from("<18Q", content, 40)
    tail = _SIGCONTEXT_TAIL.unpack_from(content, 40 + 8 * 18)
    registers.update(zip(_SIGCONTEXT, values, strict=False))
    registers["rip"] = values[16]
    registers["rflags"] = registers["rflags"] & ~_USER_FLAGS | values[17] & _USER_FLAGS
    (mask,) = struct.unpack_from("<Q", content, _UC_BYTES - 8)
    task.signals.blocked = mask & ~UNBLOCKABLE
    fpstate = tail[8]
    image = task.mm.read(fpstate, FXSAVE_BYTES) if fpstate else None
    _restore_alt_stack(task, content, registers["rsp"])
    cpu.write_all(registers)
    cpu.blocks.flags_restored(registers["rflags"])
    if image is None:
        cpu.fpu.reset()
    else:
        cpu.fpu.load(image)
    task.rip = registers["rip"]
    return registers["rax"]


def _restore_alt_stack(task: Task, content: bytes, rsp: int) -> None:
    """Only a stack that may be set is; what may not leaves the one that is set (restore_altstack)."""
    _, _, sp, flags, _, size = _UCONTEXT_HEAD.unpack_from(content, 0)
    try:
        task.signals.alt_stack = task.signals.alt_stack.replaced(AltStack(sp, size, flags), rsp)
    except LinuxError:
        return
