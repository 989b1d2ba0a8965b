"""Machine code that blocks which count themselves jump to (:mod:`emu.inline.sites`), near the engine's own::

    too few are unused        a load of 16 bytes           a store of 16 bytes
    mov rdi, count            test sil, 15                 test sil, 15
    call [rdi+reached]        jne 1f                       jne 1f
    mov rdi, engine           jmp load                     jmp store
    xor esi, esi              1: mov rdx, rcx              1: mov rdx, r8
    push rax                  mov esi, 13                  mov esi, 13
    jmp check                 jmp raise_exception          jmp raise_exception

``reached`` answers where the block goes on: there the engine's ``check`` returns, and by that it finds which block
stops.  In the others RDI has the engine's CPU, RSI the address, RCX or R8 where in the block's code the access is.

And PALIGNR, of which the C library copies, in place of the engine's loop over bytes; one for each immediate operand, as
RSI and RDX point to the operands.  What was stored there as two times 8 bytes is loaded so.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import Any

from emu.hooks import Count
from emu.inline.sites import PALIGNR_BYTES, PALIGNR_NUMBER

#: The engine's code lies within so much; a jump reaches so far.
_ROOM, _REACH = 1 << 28, 1 << 31
_GENERAL_PROTECTION = 13
_FAILED = (1 << 64) - 1


class Stubs:
    """The stubs of one engine."""

    def __init__(
        self, near: int, *, engine: int, count: int, check: int, load: int, store: int, raise_exception: int
    ) -> None:
        """``near`` is a host address in the engine's code.  OSError where there is no memory near that."""
        call = b"\x48\xbf" + count.to_bytes(8, "little")
        call += b"\xff\x57" + bytes([Count.reached.offset])  # type: ignore[attr-defined]
        reached = call + b"\x48\xbf" + engine.to_bytes(8, "little") + b"\x31\xf6\x50" + _jump(check)
        refuse = b"\xbe" + _GENERAL_PROTECTION.to_bytes(4, "little") + _jump(raise_exception)
        loads = _if_aligned(load) + b"\x48\x89\xca" + refuse
        stores = _if_aligned(store) + b"\x4c\x89\xc2" + refuse
        shifts = b"".join(map(_palignr, range(PALIGNR_NUMBER)))
        self.palignr = _executable_near(near, shifts + reached + loads + stores, self)
        self.reached = self.palignr + len(shifts)
        self.load = self.reached + len(reached)
        self.store = self.load + len(loads)


def _jump(target: int) -> bytes:
    """A jump to any host address, which stands behind it."""
    return b"\xff\x25\0\0\0\0" + target.to_bytes(8, "little")


def _if_aligned(target: int) -> bytes:
    """A jump where RSI is a multiple of 16."""
    jump = _jump(target)
    return b"\x40\xf6\xc6\x0f\x75" + bytes([len(jump)]) + jump


def _palignr(distance: int) -> bytes:
    # movq xmm0, [rsi]; movhps xmm0, [rsi+8]; movq xmm1, [rdx]; movhps xmm1, [rdx+8]; palignr; movdqu [rsi], xmm0; ret
    code = bytes.fromhex("f30f7e06 0f164608 f30f7e0a 0f164a08 660f3a0fc1") + bytes([distance])
    return (code + bytes.fromhex("f30f7f06c3")).ljust(PALIGNR_BYTES, b"\xcc")


def _executable_near(near: int, code: bytes, owner: object) -> int:
    """The host address of the code, in memory that is given back when its owner goes."""
    libc = _libc()
    anonymous, writable = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    begin = near & -mmap.PAGESIZE
    steps = (begin + sign * step * _ROOM for step in range(1, 7) for sign in (1, -1))
    for hint in chain((0,), steps, _gaps(near, len(code))):
        at = libc.mmap(max(hint, 0), len(code), writable, anonymous, -1, 0)
        if at == _FAILED:
            raise OSError(ctypes.get_errno(), "mmap")
        if abs(at - near) < _REACH - _ROOM:
            ctypes.memmove(at, code, len(code))
            if libc.mprotect(at, len(code), mmap.PROT_READ | mmap.PROT_EXEC) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
            weakref.finalize(owner, libc.munmap, at, len(code)).atexit = False
            return int(at)
        libc.munmap(at, len(code))
    raise OSError("no memory is near the engine's code")


def _gaps(near: int, size: int) -> Iterator[int]:
    """Where there is room near that, once many engines have taken what is there; looked for only when asked."""
    pages, end = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, 1 << 16
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        for line in maps:
            first, last = (int(word, 16) for word in line.split(" ", 1)[0].split("-"))
            for at in (first - pages, end):
                if end <= at and at + pages <= first and abs(at - near) < _REACH - _ROOM:
                    yield at
                    break
            end = last


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    address, size = ctypes.c_void_p, ctypes.c_size_t
    libc.mmap.restype = address
    libc.mmap.argtypes = address, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
    libc.mprotect.argtypes = address, size, ctypes.c_int
    libc.munmap.argtypes = address, size
    return libc
