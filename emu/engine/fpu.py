"""The x87 and SSE state of an engine, in the format of FXSAVE (SDM vol. 1, 10.5.1)."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

from unicorn import x86_const as x86

from mmu import unicorn_abi

if TYPE_CHECKING:
    from unicorn import Uc

FXSAVE_BYTES = 512
#: What FNINIT leaves in the control word, and the value of MXCSR after a reset: every exception is masked.
INITIAL_FCW, INITIAL_MXCSR = 0x37F, 0x1F80
_MXCSR_MASK = 0xFFFF
#: In the status word: an exception that is not masked is pending.
ES_AND_BUSY = 0x8080
_X87_MASKS, _SSE_MASKS = 0x3F, 0x1F80
_ST, _XMM = 32, 160
_STACK_BYTES = _XMM - _ST
#: Of 16 bytes for a register the last 6 mean nothing.
_STACK_MASK = sum(((1 << 80) - 1) << 128 * n for n in range(8))
_NO_STACK = bytes(_STACK_BYTES)
_TOP = 7 << 11
#: env.fpstt, env.fpus, env.fpuc, env.fptags.
_WORDS, _CONTROL_AT = struct.Struct("<IHH8s"), 6
#: The 16 XMM registers, each the lower part of a register of the engine; behind them it keeps nothing.
_XMM_REGISTERS = struct.Struct(f"16s{unicorn_abi.XMM_STRIDE - 16}x" * 16)
_NO_XMM = (bytes(16),) * 16
#: The control word, the status word and the abridged tag word; MXCSR and its mask; the x87 stack; the XMM registers.
_IMAGE = struct.Struct("<HHB19xII128s" + "16s" * 16 + "96x")
#: env.fptags by the abridged tag word, and back.
_TAGS = tuple(bytes(not valid >> n & 1 for n in range(8)) for valid in range(256))
_VALID = {tags: valid for valid, tags in enumerate(_TAGS)}
_ALL_EMPTY = _TAGS[0]


class Fpu:
    """Reads and writes all of it where the engine keeps it.

    The control words are written by calls, because the engine's arithmetic follows them; the rest is memory.
    """

    def __init__(self, uc: Uc) -> None:
        at = unicorn_abi.cpu_state(uc)
        self._uc: Any = uc
        #: An exception has been unmasked, here or there.
        self.unmasks = False
        self._words = memoryview((ctypes.c_char * _WORDS.size).from_address(at + unicorn_abi.ENV_FPU)).cast("B")
        self._mxcsr = ctypes.c_uint32.from_address(at + unicorn_abi.ENV_MXCSR)
        self._stack = memoryview((ctypes.c_char * _STACK_BYTES).from_address(at + unicorn_abi.ENV_FPREGS)).cast("B")
        stride = unicorn_abi.XMM_STRIDE
        self._xmm = memoryview((ctypes.c_char * (16 * stride)).from_address(at + unicorn_abi.ENV_XMM)).cast("B")
        self._controls = (ctypes.c_uint32 * 2)()
        control_words = ctypes.addressof(self._controls)
        self._ids = (ctypes.c_int * 2)(x86.UC_X86_REG_FPCW, x86.UC_X86_REG_MXCSR)
        self._pointers = (ctypes.c_void_p * 2)(control_words, control_words + 4)
        self._arguments = (unicorn_abi.handle(uc), ctypes.addressof(self._ids), ctypes.addressof(self._pointers), 2)

    def save(self) -> bytes:
        """An FXSAVE image of what is in the engine."""
        top, status, control, tags = _WORDS.unpack(self._words)
        top &= 7
        stack = (int.from_bytes(self._stack, "little") & _STACK_MASK).to_bytes(_STACK_BYTES, "little")
        if top:  # ST(0) comes first; the engine has the registers by their physical numbers
            stack = stack[16 * top :] + stack[: 16 * top]
        return _IMAGE.pack(
            control, status & ~_TOP | top << 11, _VALID[tags], self._mxcsr.value, _MXCSR_MASK, stack,
            *_XMM_REGISTERS.unpack(self._xmm),
        )  # fmt: skip

    def load(self, image: bytes) -> None:
        """Put an FXSAVE image into the engine."""
        control, status, valid, mxcsr, _, stack, *registers = _IMAGE.unpack_from(image)
        if control & _X87_MASKS != _X87_MASKS or mxcsr & _SSE_MASKS != _SSE_MASKS:
            self.unmasks = True
        top = status >> 11 & 7
        self._set_controls(control, mxcsr & _MXCSR_MASK)
        _WORDS.pack_into(self._words, 0, top, status & ~_TOP, control, _TAGS[valid])
        self._stack[:] = stack[_STACK_BYTES - 16 * top :] + stack[: _STACK_BYTES - 16 * top] if top else stack
        _XMM_REGISTERS.pack_into(self._xmm, 0, *registers)

    def _set_controls(self, control: int, mxcsr: int) -> None:
        if self._words[_CONTROL_AT] | self._words[_CONTROL_AT + 1] << 8 != control or self._mxcsr.value != mxcsr:
            self._controls[0], self._controls[1] = control, mxcsr
            unicorn_abi.reg_write_batch(*self._arguments)

    @property
    def control(self) -> int:
        """The control word of the x87."""
        return int(self._uc.reg_read(x86.UC_X86_REG_FPCW))

    @property
    def mxcsr(self) -> int:
        """MXCSR."""
        return int(self._uc.reg_read(x86.UC_X86_REG_MXCSR))

    @property
    def has_unmasked(self) -> bool:
        """Whether an exception is not masked."""
        return self.control & _X87_MASKS != _X87_MASKS or self.mxcsr & _SSE_MASKS != _SSE_MASKS

    @property
    def pending(self) -> bool:
        """Whether an x87 instruction has raised an exception that the next one reports."""
        return bool(self._uc.reg_read(x86.UC_X86_REG_FPSW) & ES_AND_BUSY)

    def pend(self, control: int) -> None:
        """What is flagged, and not masked by a new control word, is pending."""
        status = int(self._uc.reg_read(x86.UC_X86_REG_FPSW))
        if status & _X87_MASKS & ~control:
            self._uc.reg_write(x86.UC_X86_REG_FPSW, status | ES_AND_BUSY)

    def unmasked(self, *, simd: bool) -> int:
        """The exceptions that are flagged and not masked, in the order of the flags: of MXCSR, or of the x87."""
        image = self.save()
        control, flags = (image[24] >> 7 | image[25] << 1, image[24]) if simd else (image[0], image[2])
        return flags & ~control & 0x3F

    def reset(self) -> None:
        """As a program starts, and a signal handler: what FNINIT leaves, MXCSR after a reset, all else 0."""
        self._set_controls(INITIAL_FCW, INITIAL_MXCSR)
        _WORDS.pack_into(self._words, 0, 0, 0, INITIAL_FCW, _ALL_EMPTY)
        self._stack[:] = _NO_STACK
        _XMM_REGISTERS.pack_into(self._xmm, 0, *_NO_XMM)


def with_initial(image: bytes, *, x87: bool, sse: bool) -> bytes:
    """An FXSAVE image with one of its states, or both, as after a reset; MXCSR stays (XRSTOR, SDM vol. 1, 13.8)."""
    new = bytearray(image)
    if x87:
        new[:24], new[_ST:_XMM] = INITIAL_FCW.to_bytes(24, "little"), bytes(_XMM - _ST)
    if sse:
        new[_XMM : _XMM + 256] = bytes(256)
    return bytes(new)
