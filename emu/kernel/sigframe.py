"""The frame that a signal handler finds on its stack, and the way back (arch/x86/kernel/signal_64.c).

struct rt_sigframe: the return address (restorer), struct ucontext (flags, link, stack_t, struct sigcontext,
sigset_t), siginfo_t. The floating-point state lies above it in XSAVE format, 64-byte aligned, and says so of itself in
bytes that FXSAVE leaves to software (struct _fpx_sw_bytes).
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.fpu import FXSAVE_BYTES, with_initial
from emu.kernel.signal_state import SS_AUTODISARM, UNBLOCKABLE, AltStack, SaFlags, SigAction, SigInfo
from emu.kernel.task import Task
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.cpu import Cpu
    from emu.fpu import Fpu

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
_UC_FP_XSTATE, _UC_SIGCONTEXT_SS, _UC_STRICT_RESTORE_SS = 1, 2, 4
_UC_FLAGS = _UC_FP_XSTATE | _UC_SIGCONTEXT_SS | _UC_STRICT_RESTORE_SS
_WORD = 0xFFFF_FFFF_FFFF_FFFF
#: RFLAGS bits that a process may change by sigreturn: the arithmetic flags, TF, DF, RF, AC.
_USER_FLAGS = 0x0005_0DD5
_RED_ZONE = 128
#: Behind the FXSAVE image: XSTATE_BV, XCOMP_BV and six reserved words; then FP_XSTATE_MAGIC2.
_XSAVE_HEADER = struct.Struct("<8Q")
_MAGIC1, _MAGIC2 = 0x46505853, struct.pack("<I", 0x46505845)
_XSTATE_BYTES = FXSAVE_BYTES + _XSAVE_HEADER.size
#: The states that there are: x87 and SSE (XCR0).
_X87, _SSE = 1, 2
#: magic1, extended_size, xfeatures, xstate_size, in bytes 464 to 511 of the image.
_SW_BYTES, _SW_AT = struct.Struct("<IIQI28x"), 464
_SOFTWARE = _SW_BYTES.pack(_MAGIC1, _XSTATE_BYTES + len(_MAGIC2), _X87 | _SSE, _XSTATE_BYTES)


def _frame_place(task: Task, rsp: int, flags: int) -> tuple[int, int] | None:
    """Where the floating-point state and the frame go (get_sigframe), or None where they leave the alternate stack."""
    stack = task.signals.alt_stack
    top, on_it = rsp - _RED_ZONE, stack.in_use(rsp)
    if flags & SaFlags.ONSTACK and stack.mode(top & _WORD) == 0:
        top, on_it = stack.sp + stack.size, True
    fpstate = (top - _XSTATE_BYTES - len(_MAGIC2)) & -64 & _WORD
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
    content += _UCONTEXT_HEAD.pack(_UC_FLAGS, 0, stack.sp, stack.flags, 0, stack.size)
    content += struct.pack("<18Q", *(registers[name] for name in _SIGCONTEXT), task.rip, registers["rflags"])
    error, vector, cr2 = task.fault_words
    content += _SIGCONTEXT_TAIL.pack(_USER_CS, 0, 0, _USER_SS, error, vector, old_mask, cr2, fpstate, *([0] * 8))
    content += struct.pack("<Q", old_mask)
    content += info.pack()
    try:
        task.mm.write(fpstate, _xsave(cpu.fpu))
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
    image = _read_fpstate(task, fpstate) if fpstate else None
    _restore_alt_stack(task, content, registers["rsp"])
    cpu.write_all(registers)
    cpu.blocks.flags_restored(registers["rflags"])
    if image is None:
        cpu.fpu.reset()
    else:
        cpu.fpu.load(image)
    task.rip = registers["rip"]
    return registers["rax"]


def _xsave(fpu: Fpu) -> bytes:
    """The floating-point state as it lies in a frame (copy_fpstate_to_sigframe)."""
    image = fpu.save()
    return image[:_SW_AT] + _SOFTWARE + _XSAVE_HEADER.pack(_X87 | _SSE, *([0] * 7)) + _MAGIC2


def _read_fpstate(task: Task, at: int) -> bytes:
    """The FXSAVE image to restore (fpu__restore_sig): a state that XSTATE_BV leaves out starts anew; a frame that is
    not marked as one of XSAVE has the image alone.  LinuxError(EFAULT), also for a header that XRSTOR refuses.
    """
    image = task.mm.read(at, FXSAVE_BYTES)
    magic, extended, features, size = _SW_BYTES.unpack_from(image, _SW_AT)
    if magic != _MAGIC1 or not _XSTATE_BYTES <= size <= extended or size > _XSTATE_BYTES:
        return image
    if task.mm.read(at + size, len(_MAGIC2)) != _MAGIC2:
        return image
    present, *reserved = _XSAVE_HEADER.unpack(task.mm.read(at + FXSAVE_BYTES, _XSAVE_HEADER.size))
    if present & ~(_X87 | _SSE) or any(reserved):
        raise LinuxError(errno.EFAULT)
    return with_initial(image, x87=not present & features & _X87, sse=not present & features & _SSE)


def _restore_alt_stack(task: Task, content: bytes, rsp: int) -> None:
    """Only a stack that may be set is; what may not leaves the one that is set (restore_altstack)."""
    _, _, sp, flags, _, size = _UCONTEXT_HEAD.unpack_from(content, 0)
    try:
        task.signals.alt_stack = task.signals.alt_stack.replaced(AltStack(sp, size, flags), rsp)
    except LinuxError:
        return
