"""Machine code that blocks which count themselves jump to (:mod:`emu.inline.sites`), near the engine's own::

    too few are unused        a load of 16 bytes           a store of 16 bytes
    mov rdi, count            test sil, 15                 test sil, 15
    call [rdi+reached]        jne 1f                       jne 1f
    mov rdi, engine           push rax                     push rax
    xor esi, esi              call load                    call store
    push rax                  pop rdi                      pop rdi
    jmp check                 xor edi, edi                 xor edi, edi
                              ret                          ret
                              1: mov rdx, rcx              1: mov rdx, r8
                              mov esi, 13                  mov esi, 13
                              jmp raise_exception          jmp raise_exception

``reached`` answers where the block goes on: there the engine's ``check`` returns, and by that it finds which block
stops.  In the others RDI has the engine's CPU, RSI the address, RCX or R8 where in the block's code the access is; the
0 that they leave in RDI is for :mod:`emu.inline.halves`.

What finds the code where an indirect jump or a return leads, ``find``, as the engine's own function does where its
table of blocks has it, and else that function.  It is there only if the engine's is the one that is known, byte for
byte: it shows where all is that is looked at.

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

from emu.engine.records import Count
from emu.inline.sites import PALIGNR_BYTES, PALIGNR_NUMBER

#: The engine's code lies within so much; a jump reaches so far.
_ROOM, _REACH = 1 << 28, 1 << 31
_GENERAL_PROTECTION = 13
_FAILED = (1 << 64) - 1
#: helper_lookup_tb_ptr up to where it calls another function, and its fields behind which ``env`` begins: an index of
#: the CPU that blocks are marked with, and what is traced.
_FINDS = bytes.fromhex(
    "4154554889fd53488b87d876ffff448b8744f7ffff488b90d8000000488bb0800000008b888800000041c1e0184801d681e100310700"
    "0b88b00000004889f048c1e8064831f04889c383e03f48c1eb0681e3c00f000009d889c3488b84dfe876ffff4885c07439483b307534"
    "483b5008752e3b481075298b781c483bbd38f7ffff751d8b781881e7ffff0eff4139f8750f5b488b40205d415cc3"
)
_CLUSTER, _TRACED = 0x8BC, 0x8C8


class Stubs:
    """The stubs of one engine."""

    def __init__(
        self, near: int, *, engine: int, count: int, check: int, load: int, store: int, raise_exception: int,
        find: int, env: int,
    ) -> None:  # fmt: skip
        """``near`` is a host address in the engine's code, ``env`` that of its registers.  OSError where there is no
        memory near that."""
        call = b"\x48\xbf" + count.to_bytes(8, "little")
        call += b"\xff\x57" + bytes([Count.reached.offset])  # type: ignore[attr-defined]
        reached = call + b"\x48\xbf" + engine.to_bytes(8, "little") + b"\x31\xf6\x50" + _jump(check)
        refuse = b"\xbe" + _GENERAL_PROTECTION.to_bytes(4, "little") + _jump(raise_exception)
        loads = _if_aligned(load) + b"\x48\x89\xca" + refuse
        stores = _if_aligned(store) + b"\x4c\x89\xc2" + refuse
        shifts = b"".join(map(_palignr, range(PALIGNR_NUMBER)))
        finds = _find(find, env) if ctypes.string_at(find, len(_FINDS)) == _FINDS else b""
        self.palignr = _executable_near(near, shifts + reached + loads + stores + finds, self)
        self.reached = self.palignr + len(shifts)
        self.load = self.reached + len(reached)
        self.store = self.load + len(loads)
        #: 0 where there is none.
        self.find = self.store + len(stores) if finds else 0


def _jump(target: int) -> bytes:
    """A jump to any host address, which stands behind it."""
    return b"\xff\x25\0\0\0\0" + target.to_bytes(8, "little")


def _if_aligned(target: int) -> bytes:
    """A call where RSI is a multiple of 16, and a return with 0 in RDI."""
    calls = b"\x50\xff\x15\x02\0\0\0\xeb\x08" + target.to_bytes(8, "little") + b"\x5f\x31\xff\xc3"
    return b"\x40\xf6\xc6\x0f\x75" + bytes([len(calls)]) + calls


def _palignr(distance: int) -> bytes:
    # movq xmm0, [rsi]; movhps xmm0, [rsi+8]; movq xmm1, [rdx]; movhps xmm1, [rdx+8]; palignr; movdqu [rsi], xmm0; ret
    code = bytes.fromhex("f30f7e06 0f164608 f30f7e0a 0f164a08 660f3a0fc1") + bytes([distance])
    return (code + bytes.fromhex("f30f7f06c3")).ljust(PALIGNR_BYTES, b"\xcc")


def _find(other: int, env: int) -> bytes:
    """RDI has the engine's ``env``; the answer is in RAX."""
    marks = ctypes.c_uint64.from_address(env - _TRACED).value << 32
    marks |= ctypes.c_uint32.from_address(env - _CLUSTER).value << 24 & 0xFF00_0000
    # mov r8, [rdi+cs.base]; mov rsi, [rdi+eip]; mov ecx, [rdi+eflags]; add rsi, r8
    code = bytes.fromhex("4c8b87d8000000 488bb780000000 8b8f88000000 4c01c6")
    # mov eax, esi; shr eax, 6; xor eax, esi; mov edx, eax; and eax, 63; shr edx, 6; and edx, 0xfc0; or eax, edx
    code += bytes.fromhex("89f0 c1e806 31f0 89c2 83e03f c1ea06 81e2c00f0000 09d0")
    # mov rax, [rdi+rax*8+tb_jmp_cache]; and ecx, flags of a block; or ecx, [rdi+hflags]; mov rdx, marks
    code += bytes.fromhex("488b84c7e876ffff 81e100310700 0b8fb0000000 48ba") + (marks & _FAILED).to_bytes(8, "little")
    # test rax, rax; cmp [rax], rsi; cmp [rax+8], r8; cmp [rax+16], ecx
    compared = (bytes.fromhex(each) for each in ("4885c0", "483930", "4c394008", "394810"))
    tests = [each + bytes([0x74 if number == 0 else 0x75]) for number, each in enumerate(compared)]
    # mov rcx, [rax+24]; and rcx, ~(what does not count); cmp rcx, rdx
    tests.append(bytes.fromhex("488b4818 4881e1ffff0eff 4839d175"))
    answer = bytes.fromhex("488b4020c3")  # mov rax, [rax+32]; ret
    ahead = len(answer)
    for test in reversed(tests):
        answer = test + bytes([ahead]) + answer
        ahead = len(answer)
    return code + answer + _jump(other)


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
