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
_EMPTY_TAGS = 0xFFFF
_ST, _XMM = 32, 160
_PHYSICAL = tuple(getattr(x86, f"UC_X86_REG_FP{n}") for n in range(8))


class Fpu:
    """Reads and writes all of it in one call."""

    def __init__(self, uc: Uc) -> None:
        self._image = ctypes.create_string_buffer(FXSAVE_BYTES)
        self._tags = ctypes.c_uint16()
        base = ctypes.addressof(self._image)
        # the status word comes first: the registers of the stack lie at its TOP
        where = {x86.UC_X86_REG_FPSW: base + 2, x86.UC_X86_REG_FPCW: base, x86.UC_X86_REG_MXCSR: base + 24}
        where[x86.UC_X86_REG_FPTAG] = ctypes.addressof(self._tags)
        where.update({register: base + _ST + 16 * n for n, register in enumerate(_PHYSICAL)})
        where.update({getattr(x86, f"UC_X86_REG_XMM{n}"): base + _XMM + 16 * n for n in range(16)})
        self._ids = (ctypes.c_int * len(where))(*where)
        self._pointers = (ctypes.c_void_p * len(where))(*where.values())
        engine = unicorn_abi.handle(uc)
        self._uc: Any = uc
        #: An exception has been unmasked, here or there.
        self.unmasks = False
        self._arguments = (engine, ctypes.addressof(self._ids), ctypes.addressof(self._pointers), len(where))

    def save(self) -> bytes:
        """An FXSAVE image of what is in the engine."""
        ctypes.memset(self._image, 0, FXSAVE_BYTES)
        unicorn_abi.reg_read_batch(*self._arguments)
        image = bytearray(self._image.raw)
        tags = self._tags.value
        image[4] = sum(1 << n for n in range(8) if (tags >> (2 * n)) & 3 != 3)
        struct.pack_into("<I", image, 28, _MXCSR_MASK)
        _turn(image, _top(image))
        return bytes(image)

    def load(self, image: bytes) -> None:
        """Put an FXSAVE image into the engine."""
        if image[0] & _X87_MASKS != _X87_MASKS or (image[24] | image[25] << 8) & _SSE_MASKS != _SSE_MASKS:
            self.unmasks = True
        turned = bytearray(image)
        _turn(turned, -_top(turned))
        turned[26:28] = b"\0\0"  # MXCSR has 16 bits
        self._image.raw = bytes(turned)
        self._tags.value = sum(3 << (2 * n) for n in range(8) if not image[4] >> n & 1)
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
        ctypes.memset(self._image, 0, FXSAVE_BYTES)
        struct.pack_into("<H", self._image, 0, INITIAL_FCW)
        struct.pack_into("<I", self._image, 24, INITIAL_MXCSR)
        self._tags.value = _EMPTY_TAGS
        unicorn_abi.reg_write_batch(*self._arguments)


def with_initial(image: bytes, *, x87: bool, sse: bool) -> bytes:
    """An FXSAVE image with one of its states, or both, as after a reset; MXCSR stays (XRSTOR, SDM vol. 1, 13.8)."""
    new = bytearray(image)
    if x87:
        new[:24], new[_ST:_XMM] = INITIAL_FCW.to_bytes(24, "little"), bytes(_XMM - _ST)
    if sse:
        new[_XMM : _XMM + 256] = bytes(256)
    return bytes(new)


def _top(image: bytearray) -> int:
    return image[3] >> 3 & 7


def _turn(image: bytearray, by: int) -> None:
    """FXSAVE stores ST(0) first, the engine has the registers by their physical numbers."""
    shift = by % 8 * 16
    stack = image[_ST:_XMM]
    image[_ST:_XMM] = stack[shift:] + stack[:shift]
