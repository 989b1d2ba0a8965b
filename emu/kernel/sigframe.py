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
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.cpu import Cpu
    from emu.fpu import Fpu

#: struct ucontext up to its sigset_t: uc_flags, uc_link, stack_t (ss_sp, ss_flags, a gap, ss_size), struct sigcontext
#: (R8 to R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, RFLAGS; cs, gs, fs, ss; err, trapno, oldmask, cr2, fpstate,
#: 8 reserved words), the mask.
_UCONTEXT = struct.Struct("<QQQIiQ18Q4H5Q64xQ")
_UC_BYTES = _UCONTEXT.size
#: The address of the restorer, which lies below that, and siginfo_t above.
_FRAME = struct.Struct(f"<Q{_UCONTEXT.format[1:]}128s")
_FRAME_BYTES = _FRAME.size
_USER_CS, _USER_SS = 0x33, 0x2B
_UC_FP_XSTATE, _UC_SIGCONTEXT_SS, _UC_STRICT_RESTORE_SS = 1, 2, 4
_UC_FLAGS = _UC_FP_XSTATE | _UC_SIGCONTEXT_SS | _UC_STRICT_RESTORE_SS
_ONSTACK, _HAS_RESTORER = int(SaFlags.ONSTACK), int(SaFlags.RESTORER)
_WORD = 0xFFFF_FFFF_FFFF_FFFF
#: RFLAGS bits that a process may change by sigreturn: the arithmetic flags, TF, DF, RF, AC.
_USER_FLAGS = 0x0005_0DD5
#: Those that a handler starts without: DF, TF, RF.
_CLEARED_FLAGS = 0x0001_0500
_RED_ZONE = 128
#: Behind the FXSAVE image: XSTATE_BV, XCOMP_BV and six reserved words; then FP_XSTATE_MAGIC2.
_XSAVE_HEADER = struct.Struct("<8Q")
_MAGIC1, _MAGIC2 = 0x46505853, struct.pack("<I", 0x46505845)
_XSTATE_BYTES = FXSAVE_BYTES + _XSAVE_HEADER.size
_FPSTATE_BYTES = _XSTATE_BYTES + len(_MAGIC2)
#: The states that there are: x87 and SSE (XCR0).
_X87, _SSE = 1, 2
#: magic1, extended_size, xfeatures, xstate_size, in bytes 464 to 511 of the image.
_SW_BYTES, _SW_AT = struct.Struct("<IIQI28x"), 464
#: What follows the registers in a frame: those bytes, the header, the end.
_BEHIND_IMAGE = (
    _SW_BYTES.pack(_MAGIC1, _FPSTATE_BYTES, _X87 | _SSE, _XSTATE_BYTES)
    + _XSAVE_HEADER.pack(_X87 | _SSE, *([0] * 7))
    + _MAGIC2
)
_NO_IMAGE = bytes(FXSAVE_BYTES)


def _frame_place(task: Task, rsp: int, flags: int) -> tuple[int, int] | None:
    """Where the floating-point state and the frame go (get_sigframe), or None where they leave the alternate stack."""
    stack = task.signals.alt_stack
    top, on_it = rsp - _RED_ZONE, stack.in_use(rsp)
    if flags & _ONSTACK and stack.mode(top & _WORD) == 0:
        top, on_it = stack.sp + stack.size, True
    fpstate = (top - _FPSTATE_BYTES) & -64 & _WORD
    frame = ((fpstate - _FRAME_BYTES & -16) - 8) & _WORD
    return None if on_it and not stack.holds(frame) else (fpstate, frame)


def setup_frame(cpu: Cpu, task: Task, info: SigInfo, action: SigAction, old_mask: int) -> bool:
    """Push the frame and point the CPU at the handler.  False if the stack cannot take it.

    The frame returns to ``task.rip``, which for a restarted call is its SYSCALL instruction; the engine's RIP is still
    behind it.
    """
    if not action.flags & _HAS_RESTORER:
        return False
    rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, _ = cpu.general()
    rflags = cpu.rflags
    stack = task.signals.alt_stack
    place = _frame_place(task, rsp, action.flags)
    if place is None:
        return False
    fpstate, frame = place
    length = fpstate + _FPSTATE_BYTES - frame
    try:
        at = task.mm.window(frame, length, Access.WRITE)
        buffer, begin = (bytearray(length), 0) if at is None else (task.mm.frames.ram.view, at)
        _FRAME.pack_into(
            buffer, begin, action.restorer,
            _UC_FLAGS, 0, stack.sp, stack.flags, 0, stack.size,
            r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, task.rip, rflags,
            _USER_CS, 0, 0, _USER_SS, *task.fault_words[:2], old_mask, task.fault_words[2], fpstate,
            old_mask, info.pack(),
        )  # fmt: skip
        _xsave(cpu.fpu, buffer, begin + fpstate - frame)
        if at is None:
            task.mm.write(fpstate, buffer[fpstate - frame :])
            task.mm.write(frame, buffer[:_FRAME_BYTES])
        else:
            task.mm.frames.stored(at >> PAGE_SHIFT)
    except LinuxError:
        return False
    handler, at_info = action.handler, frame + 8 + _UC_BYTES
    cpu.set_general(
        (0, rcx, frame + 8, rbx, frame, rbp, at_info, info.signo, r8, r9, r10, r11, r12, r13, r14, r15, handler),
        rflags & ~_CLEARED_FLAGS,
    )
    cpu.fpu.reset()
    if stack.flags & SS_AUTODISARM:
        task.signals.alt_stack = AltStack()
    task.rip = action.handler
    return True


def restore_frame(cpu: Cpu, task: Task) -> int:
    """rt_sigreturn: restore the state saved in the frame; returns RAX.  LinuxError(EFAULT) if it cannot be read, and
    nothing is restored; if the floating-point state cannot, the other registers are.
    """
    rsp = cpu.read("rsp")
    at = task.mm.window(rsp, _UC_BYTES, Access.READ)
    memory = task.mm.frames.ram.view
    (
        _, _, alt_sp, alt_flags, _, alt_size,
        r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, new_rsp, rip, flags,
        *_, fpstate, mask,
    ) = _UCONTEXT.unpack(task.mm.read(rsp, _UC_BYTES)) if at is None else _UCONTEXT.unpack_from(memory, at)  # fmt: skip
    task.signals.blocked = mask & ~UNBLOCKABLE
    beside = at - rsp if at is not None and fpstate >> PAGE_SHIFT == rsp >> PAGE_SHIFT else None
    bad = image = None
    try:
        image = _read_fpstate(task, fpstate, beside) if fpstate else None
    except LinuxError as error:
        bad, rax, task.registers_replaced = error, 0, True
    _restore_alt_stack(task, AltStack(alt_sp, alt_size, alt_flags), rsp)
    rflags = cpu.rflags & ~_USER_FLAGS | flags & _USER_FLAGS
    cpu.set_general((rax, rcx, rdx, rbx, new_rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rip), rflags)
    cpu.blocks.flags_restored(rflags)
    if image is None:
        cpu.fpu.reset()
    else:
        cpu.fpu.load(image)
    task.rip = rip
    if bad is not None:
        raise bad
    return int(rax)


def _xsave(fpu: Fpu, buffer: bytearray | memoryview, at: int) -> None:
    """The floating-point state as it lies in a frame (copy_fpstate_to_sigframe)."""
    buffer[at : at + FXSAVE_BYTES] = _NO_IMAGE
    fpu.save_at(buffer, at)
    buffer[at + _SW_AT : at + _FPSTATE_BYTES] = _BEHIND_IMAGE


def _read_fpstate(task: Task, at: int, beside: int | None) -> bytes:
    """The FXSAVE image to restore (fpu__restore_sig): a state that XSTATE_BV leaves out starts anew; a frame that is
    not marked as one of XSAVE has the image alone.  LinuxError(EFAULT), also for a header that XRSTOR refuses.

    ``beside``: how far the physical addresses of its page lie behind the virtual ones, if that is known.
    """
    if beside is None:
        paddr = task.mm.window(at, _FPSTATE_BYTES, Access.READ)
    else:
        paddr = None if (at & PAGE_SIZE - 1) + _FPSTATE_BYTES > PAGE_SIZE else at + beside
    if paddr is None:
        image = task.mm.read(at, FXSAVE_BYTES)
    else:
        view = task.mm.frames.ram.view
        image = bytes(view[paddr : paddr + FXSAVE_BYTES])
        if view[paddr + _SW_AT : paddr + _FPSTATE_BYTES] == _BEHIND_IMAGE:  # as it was made
            return image
    magic, extended, features, size = _SW_BYTES.unpack_from(image, _SW_AT)
    if magic != _MAGIC1 or not _XSTATE_BYTES <= size <= extended or size > _XSTATE_BYTES:
        return image
    if task.mm.read(at + size, len(_MAGIC2)) != _MAGIC2:
        return image
    present, *reserved = _XSAVE_HEADER.unpack(task.mm.read(at + FXSAVE_BYTES, _XSAVE_HEADER.size))
    if present & ~(_X87 | _SSE) or any(reserved):
        raise LinuxError(errno.EFAULT)
    return with_initial(image, x87=not present & features & _X87, sse=not present & features & _SSE)


def _restore_alt_stack(task: Task, stack: AltStack, rsp: int) -> None:
    """Only a stack that may be set is; what may not leaves the one that is set (restore_altstack)."""
    if stack == task.signals.alt_stack:
        return
    try:
        task.signals.alt_stack = task.signals.alt_stack.replaced(stack, rsp)
    except LinuxError:
        return
