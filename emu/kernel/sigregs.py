"""The registers of a signal frame, natively: from the engine to the page in which the frame lies, and back.

:mod:`emu.kernel.sigframe` says what a frame is, where it goes, and what else is in it.
"""

from __future__ import annotations

import ctypes

from unicorn.x86_const import UC_X86_REG_FPCW, UC_X86_REG_MXCSR, UC_X86_REG_RFLAGS

from emu.kernel.usermemory import NOWHERE, WRITABLE, buffer, use
from mmu.entries import A, D
from mmu.native import call3, entry, load8, load32, load64, native, store8, store32, store64
from mmu.state import MmuState, fields


class SignalRegisters(ctypes.Structure):
    """What the entry points work on.  Every field is a uint64."""

    uc: int
    reg_read: int  # host address of uc_reg_read
    reg_write: int  # of uc_reg_write
    word: int  # of a word for these
    general: int  # of env.regs, in the order of their numbers, and RIP
    fpu: int  # of env.fpstt, env.fpus, env.fpuc, env.fptags
    stack: int  # of env.fpregs
    mxcsr: int
    xmm: int
    frame: int  # of RIP and the registers before it in struct sigcontext: R8
    image: int  # of the FXSAVE image
    behind: int  # of what lies behind the registers of such an image in a frame
    frame_at: int  # the handler's RSP, and its arguments
    info_at: int
    context_at: int
    cleared: int  # the flags that a handler starts without
    changeable: int  # those that sigreturn changes
    rflags: int  # what sigreturn has set
    mmu: int  # of the MmuState
    info: int  # of struct siginfo
    # what is known of a signal and its action
    handler: int
    rip: int  # where the frame returns to
    signo: int
    restorer: int
    flags: int
    old_mask: int
    alt_stack: int
    alt_size: int
    alt_flags: int
    error: int  # of the last exception
    vector: int
    cr2: int
    task_size: int

    _fields_ = fields(__annotations__)


_RAX, _RCX, _RDX, _RBX, _RSP, _RBP, _RSI, _RDI, _R8, _RIP = 0, 8, 16, 24, 32, 40, 48, 56, 64, 128
#: From R8 on, where struct sigcontext has them.
_AT_RDI, _AT_RSI, _AT_RBP, _AT_RBX, _AT_RDX, _AT_RAX, _AT_RCX, _AT_RSP, _AT_RIP, _AT_RFLAGS = range(64, 144, 8)
_X87_MASKS, _SSE_MASKS, _MXCSR = 0x3F, 0x1F80, 0xFFFF
_INITIAL_FCW, _INITIAL_MXCSR = 0x37F, 0x1F80
_STACK, _XMM, _BEHIND, _END = 32, 160, 464, 580
_XMM_STRIDE = 64
_TOP = 0x3800
#: SA_RESTORER, SA_ONSTACK, SS_AUTODISARM; UC_FP_XSTATE, UC_SIGCONTEXT_SS and UC_STRICT_RESTORE_SS; CS and SS.
_SA_RESTORER, _SA_ONSTACK, _SS_AUTODISARM = 0x0400_0000, 0x0800_0000, 1 << 31
_UC_FLAGS, _SEGMENTS = 7, 0x002B_0000_0000_0033
_RED_ZONE, _FRAME_BYTES, _LEAST_STACK = 128, 440, 0x1_0000


@native
def _copy(to: int, source: int, length: int) -> None:
    at = 0
    while at < length:
        store64(to + at, load64(source + at))
        at += 8


@native
def _fill(to: int, length: int) -> None:
    at = 0
    while at < length:
        store64(to + at, 0)
        at += 8


@native
def _read(state: SignalRegisters, register: int) -> int:
    store64(state.word, 0)
    call3(state.reg_read, state.uc, register, state.word)
    return load64(state.word)


@native
def _write(state: SignalRegisters, register: int, value: int) -> None:
    store64(state.word, value)
    call3(state.reg_write, state.uc, register, state.word)


@native
def _set_controls(state: SignalRegisters, control: int, mxcsr: int) -> None:
    """By calls, because the engine's arithmetic follows them."""
    if load32(state.fpu + 4) >> 16 != control:
        _write(state, UC_X86_REG_FPCW, control)
    if load32(state.mxcsr) != mxcsr:
        _write(state, UC_X86_REG_MXCSR, mxcsr)


@native
def _save_fpu(state: SignalRegisters, image: int) -> None:
    """As FXSAVE lays it out (SDM vol. 1, 10.5.1)."""
    top, words = load32(state.fpu) & 7, load32(state.fpu + 4)
    valid, n = 0, 0
    while n < 8:
        if load8(state.fpu + 8 + n) == 0:
            valid |= 1 << n
        register = state.stack + ((top + n) & 7) * 16
        store64(image + _STACK + n * 16, load64(register))
        store64(image + _STACK + n * 16 + 8, load64(register + 8) & 0xFFFF)
        n += 1
    status = ((words & 0xFFFF) | _TOP) - _TOP | top << 11
    store64(image, words >> 16 | status << 16 | valid << 32)
    _fill(image + 8, 16)
    store64(image + 24, load32(state.mxcsr) | _MXCSR << 32)
    n = 0
    while n < 16:
        _copy(image + _XMM + n * 16, state.xmm + n * _XMM_STRIDE, 16)
        n += 1
    _fill(image + _XMM + 256, _BEHIND - _XMM - 256)


@native
def _load_fpu(state: SignalRegisters, image: int) -> None:
    head = load64(image)
    top, n = head >> 27 & 7, 0
    _set_controls(state, head & 0xFFFF, load32(image + 24) & _MXCSR)
    store32(state.fpu, top)
    store32(state.fpu + 4, ((head >> 16 & 0xFFFF) | _TOP) - _TOP | (head & 0xFFFF) << 16)
    while n < 8:
        store8(state.fpu + 8 + n, (head >> 32 >> n & 1) ^ 1)
        _copy(state.stack + ((top + n) & 7) * 16, image + _STACK + n * 16, 16)
        n += 1
    n = 0
    while n < 16:
        _copy(state.xmm + n * _XMM_STRIDE, image + _XMM + n * 16, 16)
        n += 1


@native
def _reset_fpu(state: SignalRegisters) -> None:
    """As a handler starts: what FNINIT leaves, MXCSR after a reset, all else 0."""
    _set_controls(state, _INITIAL_FCW, _INITIAL_MXCSR)
    store32(state.fpu, 0)
    store32(state.fpu + 4, _INITIAL_FCW << 16)
    n = 0
    while n < 8:
        store8(state.fpu + 8 + n, 1)
        n += 1
    _fill(state.stack, 128)
    n = 0
    while n < 16:
        _fill(state.xmm + n * _XMM_STRIDE, 16)
        n += 1


@native
def save_registers(state: SignalRegisters) -> None:
    """Save every register into the frame, and give the handler those that it starts with."""
    general, frame, rflags = state.general, state.frame, _read(state, UC_X86_REG_RFLAGS)
    _copy(frame, general + _R8, 64)
    store64(frame + _AT_RDI, load64(general + _RDI))
    store64(frame + _AT_RSI, load64(general + _RSI))
    store64(frame + _AT_RBP, load64(general + _RBP))
    store64(frame + _AT_RBX, load64(general + _RBX))
    store64(frame + _AT_RDX, load64(general + _RDX))
    store64(frame + _AT_RAX, load64(general + _RAX))
    store64(frame + _AT_RCX, load64(general + _RCX))
    store64(frame + _AT_RSP, load64(general + _RSP))
    store64(frame + _AT_RIP, state.rip)
    store64(frame + _AT_RFLAGS, rflags)
    _save_fpu(state, state.image)
    _copy(state.image + _BEHIND, state.behind, _END - _BEHIND - 4)
    store32(state.image + _END - 4, load32(state.behind + _END - _BEHIND - 4))
    store64(general + _RAX, 0)
    store64(general + _RDI, state.signo)
    store64(general + _RSI, state.info_at)
    store64(general + _RDX, state.context_at)
    store64(general + _RSP, state.frame_at)
    store64(general + _RIP, state.handler)
    if rflags & state.cleared != 0:
        _write(state, UC_X86_REG_RFLAGS, (rflags | state.cleared) - state.cleared)
    _reset_fpu(state)


def saved_call(state: SignalRegisters) -> tuple[int, int, int]:
    """RDI, RSI and RAX in the frame that was made last."""
    rdi, rsi, rax = (load64(state.frame + at) for at in (_AT_RDI, _AT_RSI, _AT_RAX))
    return rdi, rsi, rax


@entry("void", SignalRegisters)
def push(state: SignalRegisters) -> None:
    """The same, for a frame that is to be completed."""
    save_registers(state)


@native
def _is_on_stack(state: SignalRegisters, address: int) -> bool:
    return state.alt_stack < address and address <= state.alt_stack + state.alt_size


@native
def _stack_top(state: SignalRegisters, rsp: int) -> int:
    """Under which address the frame goes (get_sigframe)."""
    top = rsp - _RED_ZONE
    if state.flags & _SA_ONSTACK == 0 or state.alt_size == 0 or _is_on_stack(state, top):
        return top
    return state.alt_stack + state.alt_size


@native
def make_frame(state: SignalRegisters) -> bool:
    """Make a whole frame, if it lies in one page that can be written; else nothing is done."""
    rsp = load64(state.general + _RSP)
    if state.flags & _SA_RESTORER == 0 or rsp < _LEAST_STACK or rsp >= state.task_size:
        return False
    if state.alt_flags & _SS_AUTODISARM != 0:
        return False
    top = _stack_top(state, rsp)
    if top < _LEAST_STACK:
        return False
    fpstate = ((top - _END) | 63) - 63
    frame = ((fpstate - _FRAME_BYTES) | 15) - 15 - 8
    mmu = MmuState.from_address(state.mmu)
    if (top != rsp - _RED_ZONE or _is_on_stack(state, rsp)) and not _is_on_stack(state, frame):
        return False
    paddr = buffer(mmu, state.task_size, mmu.cr3, frame, fpstate + _END - frame, WRITABLE)
    if paddr == NOWHERE:
        return False
    use(mmu, mmu.cr3, frame, A | D)
    at = mmu.ram + paddr
    store64(at, state.restorer)
    store64(at + 8, _UC_FLAGS)
    store64(at + 16, 0)
    store64(at + 24, state.alt_stack)
    store64(at + 32, state.alt_flags)
    store64(at + 40, state.alt_size)
    store64(at + 192, _SEGMENTS)
    store64(at + 200, state.error)
    store64(at + 208, state.vector)
    store64(at + 216, state.old_mask)
    store64(at + 224, state.cr2)
    store64(at + 232, fpstate)
    _fill(at + 240, 64)
    store64(at + 304, state.old_mask)
    _copy(at + 312, state.info, 128)
    state.frame, state.image = at + 48, at + fpstate - frame
    state.frame_at, state.context_at, state.info_at = frame, frame + 8, frame + 312
    save_registers(state)
    return True


@entry("bool", SignalRegisters)
def whole_frame(state: SignalRegisters) -> bool:
    """:func:`make_frame`, for who is in Python."""
    return make_frame(state)


@native
def _as_it_was_made(state: SignalRegisters) -> bool:
    """Whether the image says of itself what it did, and masks every exception: one that does not is not for us."""
    at = 0
    while at < _END - _BEHIND - 4:
        if load64(state.image + _BEHIND + at) != load64(state.behind + at):
            return False
        at += 8
    if load32(state.image + _END - 4) != load32(state.behind + _END - _BEHIND - 4):
        return False
    return load32(state.image) & _X87_MASKS == _X87_MASKS and load32(state.image + 24) & _SSE_MASKS == _SSE_MASKS


@native
def take_frame(state: SignalRegisters) -> bool:
    """Restore every register from the frame; False, and nothing is done, if its image is not as it was made."""
    if not _as_it_was_made(state):
        return False
    general, frame = state.general, state.frame
    _copy(general + _R8, frame, 64)
    store64(general + _RDI, load64(frame + _AT_RDI))
    store64(general + _RSI, load64(frame + _AT_RSI))
    store64(general + _RBP, load64(frame + _AT_RBP))
    store64(general + _RBX, load64(frame + _AT_RBX))
    store64(general + _RDX, load64(frame + _AT_RDX))
    store64(general + _RAX, load64(frame + _AT_RAX))
    store64(general + _RCX, load64(frame + _AT_RCX))
    store64(general + _RSP, load64(frame + _AT_RSP))
    state.rip = load64(frame + _AT_RIP)
    store64(general + _RIP, state.rip)
    before = _read(state, UC_X86_REG_RFLAGS)
    state.rflags = ((before | state.changeable) - state.changeable) | (load64(frame + _AT_RFLAGS) & state.changeable)
    if state.rflags != before:
        _write(state, UC_X86_REG_RFLAGS, state.rflags)
    _load_fpu(state, state.image)
    return True


@entry("bool", SignalRegisters)
def pop(state: SignalRegisters) -> bool:
    """:func:`take_frame`, for who is in Python."""
    return take_frame(state)
