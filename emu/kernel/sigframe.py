"""The frame that a signal handler finds on its stack, and the way back (arch/x86/kernel/signal_64.c).

struct rt_sigframe: the return address (restorer), struct ucontext (flags, link, stack_t, struct sigcontext,
sigset_t), siginfo_t. The floating-point state lies above it in FXSAVE format, 16-byte aligned.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from unicorn import x86_const as x86

from emu.kernel.signal_state import UNBLOCKABLE, SaFlags, SigAction, SigInfo
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
_UCONTEXT_HEAD = struct.Struct("<QQQiiQ")  # uc_flags, uc_link, ss_sp, ss_flags, pad, ss_size
_SIGCONTEXT_TAIL = struct.Struct("<HHHHQQQQQ8Q")  # cs, gs, fs, ss, err, trapno, oldmask, cr2, fpstate, reserved
_FXSAVE_BYTES = 512
_UC_BYTES = 40 + 8 * 18 + _SIGCONTEXT_TAIL.size + 8
_FRAME_BYTES = 8 + _UC_BYTES + 128
_USER_CS, _USER_SS = 0x33, 0x2B
_UC_SIGCONTEXT_SS, _UC_STRICT_RESTORE_SS = 2, 4
_SS_ONSTACK, _SS_DISABLE = 1, 2
#: RFLAGS bits that a process may change by sigreturn: the arithmetic flags, TF, DF, RF, AC.
_USER_FLAGS = 0x0005_0DD5
_RED_ZONE = 128
_XMM = tuple(getattr(x86, f"UC_X86_REG_XMM{n}") for n in range(16))
_FP = tuple(getattr(x86, f"UC_X86_REG_FP{n}") for n in range(8))


def _on_alt_stack(task: Task, rsp: int) -> bool:
    sp, size, _ = task.signals.alt_stack
    return sp < rsp <= sp + size


def _save_fpu(cpu: Cpu) -> bytes:
    """An FXSAVE image of the x87 and SSE state."""
    uc = cpu.uc
    tag = int(uc.reg_read(x86.UC_X86_REG_FPTAG))
    abridged = sum(1 << n for n in range(8) if (tag >> (2 * n)) & 3 != 3)
    image = bytearray(_FXSAVE_BYTES)
    struct.pack_into(
        "<HHBBH", image, 0, uc.reg_read(x86.UC_X86_REG_FPCW), uc.reg_read(x86.UC_X86_REG_FPSW), abridged, 0, 0
    )
    struct.pack_into("<II", image, 24, uc.reg_read(x86.UC_X86_REG_MXCSR), 0xFFFF)
    for n, register in enumerate(_FP):
        mantissa, exponent = uc.reg_read(register)
        struct.pack_into("<QH", image, 32 + 16 * n, mantissa, exponent)
    for n, register in enumerate(_XMM):
        image[160 + 16 * n : 176 + 16 * n] = int(uc.reg_read(register)).to_bytes(16, "little")
    return bytes(image)


def _restore_fpu(cpu: Cpu, image: bytes) -> None:
    uc = cpu.uc
    control, status, abridged = struct.unpack_from("<HHB", image, 0)
    uc.reg_write(x86.UC_X86_REG_FPCW, control)
    uc.reg_write(x86.UC_X86_REG_FPSW, status)
    uc.reg_write(x86.UC_X86_REG_FPTAG, sum(3 << (2 * n) for n in range(8) if not abridged >> n & 1))
    uc.reg_write(x86.UC_X86_REG_MXCSR, struct.unpack_from("<I", image, 24)[0] & 0xFFFF)
    for n, register in enumerate(_FP):
        uc.reg_write(register, struct.unpack_from("<QH", image, 32 + 16 * n))
    for n, register in enumerate(_XMM):
        uc.reg_write(register, int.from_bytes(image[160 + 16 * n : 176 + 16 * n], "little"))


def setup_frame(cpu: Cpu, task: Task, info: SigInfo, action: SigAction, old_mask: int) -> bool:
    """Push the frame and point the CPU at the handler.  False if the stack cannot take it.

    The frame returns to ``task.rip``, which for a restarted call is its SYSCALL instruction; the engine's RIP is still
    behind it.
    """
    if not action.flags & SaFlags.RESTORER:
        return False
    registers = cpu.read_all()
    sp, size, flags = task.signals.alt_stack
    stack = registers["rsp"]
    if action.flags & SaFlags.ONSTACK and not flags & _SS_DISABLE and not _on_alt_stack(task, stack):
        top = sp + size
    else:
        top = stack - _RED_ZONE
    fpstate = (top - _FXSAVE_BYTES) & -64
    frame = ((fpstate - _FRAME_BYTES) & -16) - 8
    stack_flags = _SS_DISABLE if flags & _SS_DISABLE else (_SS_ONSTACK if _on_alt_stack(task, stack) else 0)
    content = struct.pack("<Q", action.restorer)
    content += _UCONTEXT_HEAD.pack(_UC_SIGCONTEXT_SS | _UC_STRICT_RESTORE_SS, 0, sp, stack_flags, 0, size)
    content += struct.pack("<18Q", *(registers[name] for name in _SIGCONTEXT), task.rip, registers["rflags"])
    error, vector, cr2 = task.fault_words
    content += _SIGCONTEXT_TAIL.pack(_USER_CS, 0, 0, _USER_SS, error, vector, old_mask, cr2, fpstate, *([0] * 8))
    content += struct.pack("<Q", old_mask)
    content += info.pack()
    try:
        task.mm.write(fpstate, _save_fpu(cpu))
        task.mm.write(frame, content)
    except LinuxError:
        return False
    at_info = frame + 8 + _UC_BYTES
    registers.update(rip=action.handler, rsp=frame, rdi=info.signo, rsi=at_info, rdx=frame + 8, rax=0)
    registers["rflags"] &= ~(0x400 | 0x100 | 0x10000)  # DF, TF, RF
    cpu.write_all(registers)
    task.rip = action.handler
    return True


def restore_frame(cpu: Cpu, task: Task) -> int:
    """rt_sigreturn: restore the state saved in the frame; returns RAX.  LinuxError(EFAULT) if it cannot be read."""
    registers = cpu.read_all()
    frame = registers["rsp"] - 8
    content = task.mm.read(frame + 8, _UC_BYTES)
    values = struct.unpack_from("<18Q", content, 40)
    tail = _SIGCONTEXT_TAIL.unpack_from(content, 40 + 8 * 18)
    registers.update(zip(_SIGCONTEXT, values, strict=False))
    registers["rip"] = values[16]
    registers["rflags"] = registers["rflags"] & ~_USER_FLAGS | values[17] & _USER_FLAGS
    fpstate = tail[8]
    image = task.mm.read(fpstate, _FXSAVE_BYTES) if fpstate else None
    (mask,) = struct.unpack_from("<Q", content, _UC_BYTES - 8)
    task.signals.blocked = mask & ~UNBLOCKABLE
    _, _, sp, stack_flags, _, size = _UCONTEXT_HEAD.unpack_from(content, 0)
    task.signals.alt_stack = (sp, size, stack_flags & ~_SS_ONSTACK)
    cpu.write_all(registers)
    if image is not None:
        _restore_fpu(cpu, image)
    task.rip = registers["rip"]
    return registers["rax"]
