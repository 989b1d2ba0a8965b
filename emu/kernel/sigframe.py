"""The frame that a signal handler finds on its stack, and the way back (arch/x86/kernel/signal_64.c).

struct rt_sigframe: the return address (restorer), struct ucontext (flags, link, stack_t, struct sigcontext,
sigset_t), siginfo_t. The floating-point state lies above it in XSAVE format, 64-byte aligned, and says so of itself in
bytes that FXSAVE leaves to software (struct _fpx_sw_bytes).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import TYPE_CHECKING

from emu.engine.fpu import FXSAVE_BYTES, with_initial
from emu.kernel.signal_state import NO_STACK, SS_AUTODISARM, UNBLOCKABLE, AltStack, SaFlags, SigAction, SigInfo
from emu.kernel.sigregs import SignalRegisters
from emu.kernel.task import Task
from emu.linux.errors import LinuxError
from mmu import unicorn_abi
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.objectcode import load
from mmu.registers import CR4, Access

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu

#: struct ucontext up to its sigset_t: uc_flags, uc_link, stack_t (ss_sp, ss_flags, a gap, ss_size), struct sigcontext
#: (R8 to R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, RFLAGS; cs, gs, fs, ss; err, trapno, oldmask, cr2, fpstate,
#: 8 reserved words), the mask.
_UCONTEXT = struct.Struct("<QQQIiQ18Q4H5Q64xQ")
_UC_BYTES = _UCONTEXT.size
#: The address of the restorer, which lies below it, and the ucontext up to the registers; what follows RFLAGS, with
#: siginfo_t.
_HEAD, _TAIL, _TAIL_AT = struct.Struct("<QQQQIiQ"), struct.Struct("<4H5Q64xQ128s"), 192
_FRAME_BYTES = _TAIL_AT + _TAIL.size
#: Of a ucontext: ss_sp, ss_flags, ss_size, fpstate, the mask.
_CONTEXT = struct.Struct("<16xQI4xQ184xQ64xQ")
#: In SignalRegisters: a signal, its action, and what else is in its frame.
_SIGNAL, _SIGNAL_AT = struct.Struct("<13Q"), SignalRegisters.handler.offset  # type: ignore[attr-defined]
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


def _frame_place(task: Task, rsp: int, flags: int) -> tuple[int, int] | None:
    """Where the floating-point state and the frame go (get_sigframe), or None where they leave the alternate stack."""
    stack = task.signals.alt_stack
    top, on_it = rsp - _RED_ZONE, stack.in_use(rsp)
    if flags & _ONSTACK and stack.mode(top & _WORD) == 0:
        top, on_it = stack.sp + stack.size, True
    fpstate = (top - _FPSTATE_BYTES) & -64 & _WORD
    frame = ((fpstate - _FRAME_BYTES & -16) - 8) & _WORD
    return None if on_it and not stack.holds(frame) else (fpstate, frame)


class SignalFrames:
    """Makes and takes back the frames of one CPU.  The registers, which are most of a frame, go natively."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        library = load("emu.kernel.sigregs")
        self._push, self._pop, self._whole_frame = (library[name].call for name in ("push", "pop", "whole_frame"))
        #: Whether the tables have four levels, which native code walks.
        self._walks = not cpu.mmu.state.cr4 & CR4.LA57
        self._info = ctypes.create_string_buffer(128)
        self._info_view = memoryview(self._info).cast("B")
        self._behind = ctypes.create_string_buffer(_BEHIND_IMAGE, len(_BEHIND_IMAGE))
        self._word = ctypes.c_uint64()
        env = unicorn_abi.cpu_state(cpu.uc)
        self._state = SignalRegisters(
            uc=unicorn_abi.handle(cpu.uc), reg_read=unicorn_abi.symbol_address("uc_reg_read"),
            reg_write=unicorn_abi.symbol_address("uc_reg_write"), word=ctypes.addressof(self._word),
            general=env + unicorn_abi.ENV_REGS, fpu=env + unicorn_abi.ENV_FPU, stack=env + unicorn_abi.ENV_FPREGS,
            mxcsr=env + unicorn_abi.ENV_MXCSR, xmm=env + unicorn_abi.ENV_XMM, behind=ctypes.addressof(self._behind),
            cleared=_CLEARED_FLAGS, changeable=_USER_FLAGS, mmu=ctypes.addressof(cpu.mmu.state),
            info=ctypes.addressof(self._info),
        )  # fmt: skip
        self._address = ctypes.addressof(self._state)
        self._bytes = memoryview(self._state).cast("B")

    @property
    def registers(self) -> SignalRegisters:
        """What native code knows: the signal of the last frame that was made here, and its action."""
        return self._state

    def setup(self, task: Task, info: SigInfo, action: SigAction, old_mask: int) -> bool:
        """Push the frame and point the CPU at the handler.  False if the stack cannot take it.

        The frame returns to ``task.rip``, which for a restarted call is its SYSCALL instruction; the engine's RIP is
        still behind it.
        """
        if not action.flags & _HAS_RESTORER:
            return False
        stack, (error, vector, cr2) = task.signals.alt_stack, task.fault_words
        packed = info.pack()
        _SIGNAL.pack_into(
            self._bytes, _SIGNAL_AT, action.handler, task.rip, info.signo, action.restorer, action.flags, old_mask,
            stack.sp, stack.size, stack.flags, error, vector, cr2, task.mm.task_size,
        )  # fmt: skip
        self._info_view[:] = packed
        if self._walks and self._whole_frame(self._address):
            task.rip = action.handler
            return True
        place = _frame_place(task, self._cpu.read("rsp"), action.flags)
        if place is None:
            return False
        fpstate, frame = place
        mm, length = task.mm, fpstate + _FPSTATE_BYTES - frame
        try:
            at = mm.window(frame, length, Access.WRITE)
            if at is not None:
                view, begin, host = mm.frames.ram.view, at, mm.frames.ram.host + at
            else:
                for address in (fpstate, fpstate + _FPSTATE_BYTES - 1, frame, frame + _FRAME_BYTES - 1):
                    mm.translate(address, Access.WRITE)
                buffer = ctypes.create_string_buffer(length)
                view, begin, host = memoryview(buffer).cast("B"), 0, ctypes.addressof(buffer)
        except LinuxError:
            return False
        _HEAD.pack_into(view, begin, action.restorer, _UC_FLAGS, 0, stack.sp, stack.flags, 0, stack.size)
        _TAIL.pack_into(
            view, begin + _TAIL_AT, _USER_CS, 0, 0, _USER_SS, error, vector, old_mask, cr2, fpstate, old_mask,
            packed,
        )  # fmt: skip
        state = self._state
        state.frame, state.image = host + _HEAD.size, host + fpstate - frame
        state.frame_at, state.context_at, state.info_at = frame, frame + 8, frame + 8 + _UC_BYTES
        self._push(self._address)
        if at is None:
            mm.write(fpstate, view[fpstate - frame :])
            mm.write(frame, view[:_FRAME_BYTES])
        else:
            mm.frames.stored(at >> PAGE_SHIFT)
        if stack.flags & SS_AUTODISARM:
            task.signals.alt_stack = NO_STACK
        task.rip = action.handler
        return True

    def restore(self, task: Task) -> int:
        """rt_sigreturn: restore the state saved in the frame; returns RAX.  LinuxError(EFAULT) if it cannot be read,
        and nothing is restored; if the floating-point state cannot, the other registers are.
        """
        rsp = self._cpu.read("rsp")
        at = task.mm.window(rsp, _UC_BYTES, Access.READ)
        if at is not None:
            ram = task.mm.frames.ram
            alt_sp, alt_flags, alt_size, fpstate, mask = _CONTEXT.unpack_from(ram.view, at)
            beside = fpstate - rsp  # in the same page, as it was made
            if beside >= 0 and (rsp & PAGE_SIZE - 1) + beside + _FPSTATE_BYTES <= PAGE_SIZE:
                state = self._state
                state.frame, state.image = ram.host + at + _HEAD.size - 8, ram.host + at + beside
                if self._pop(self._address):
                    task.signals.blocked = mask & ~UNBLOCKABLE
                    _restore_alt_stack(task, AltStack(alt_sp, alt_size, alt_flags), rsp)
                    self._cpu.blocks.flags_restored(state.rflags)
                    task.rip = state.rip
                    return self._cpu.read("rax")
        return _restore_frame(self._cpu, task, rsp)


def _restore_frame(cpu: Cpu, task: Task, rsp: int) -> int:
    """The same for any frame, also one that the program has made or changed."""
    (
        _, _, alt_sp, alt_flags, _, alt_size,
        r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, new_rsp, rip, flags,
        *_, fpstate, mask,
    ) = _UCONTEXT.unpack(task.mm.read(rsp, _UC_BYTES))  # fmt: skip
    task.signals.blocked = mask & ~UNBLOCKABLE
    bad = image = None
    try:
        image = _read_fpstate(task, fpstate) if fpstate else None
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


def _restore_alt_stack(task: Task, stack: AltStack, rsp: int) -> None:
    """Only a stack that may be set is; what may not leaves the one that is set (restore_altstack)."""
    if stack == task.signals.alt_stack:
        return
    try:
        task.signals.alt_stack = task.signals.alt_stack.replaced(stack, rsp)
    except LinuxError:
        return
