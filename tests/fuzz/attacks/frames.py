"""Signal frames: handlers on stacks that are none, and returns to states that nobody was in."""

from __future__ import annotations

import random
import struct

from tests.fuzz.attack import Attack
from tests.fuzz.attacks.run import run_program
from tests.fuzz.code import BASE, Code
from tests.fuzz.numbers import damaged, edge
from tests.fuzz.room import Room

#: Parts of struct ucontext (asm/ucontext.h): the 18 registers from r8 to rflags, the pointer to the FXSAVE area, the
#: mask; a siginfo comes behind it.
_REGISTERS, _RSP, _RIP, _FLAGS, _FPSTATE, _MASK, _SIZE = 40, 160, 168, 176, 224, 296, 304
_SIGINFO_BYTES = 128
#: The floating-point state: an FXSAVE image that says of itself that a header and a mark follow (asm/sigcontext.h).
_XSAVE = struct.pack(
    "<H22xI436xIIQI28xQ56xI", 0x37F, 0x1F80, 0x46505853, 512 + 64 + 4, 3, 512 + 64, 3, 0x46505845
)  # fmt: skip
#: Handled: faults, and what the section sends itself.
_SIGNALS = (4, 5, 7, 8, 10, 11, 12, 14, 17)
#: ud2, hlt, int3, int1, a division by zero, a load, a store, a jump and a push to nowhere, in, a misaligned movaps,
#: cli, int 0x80, fwait, popf with all flags.
_RAISING = tuple(map(bytes.fromhex, (
    "0f0b", "f4", "cc", "f1", "31c9f7f1", "31c08b00", "31c08900", "31c0ffe0", "31e450", "e410", "0f28042501004000",
    "fa", "cd80", "9b", "6aff9d90",
)))  # fmt: skip


class Program:
    """A program of sections; in each, a child does something evil."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.code = chance, Code()
        start = self.code.jump()
        self._restorer = self.code.here
        self.code.call(15)
        self._end = self.code.here
        self.code.call(231, 1)
        self._handler = self.code.raw(b"\xc3")
        self._frames = [self._frame() for _ in range(12)]
        self.code.land(start)

    def build(self, sections: int) -> bytes:
        """The ELF file."""
        for _ in range(sections):
            jump = self.code.fork()
            for _ in range(self.chance.randint(1, 7)):
                self._deed()
            self.code.call(231, 0)
            self.code.reap(jump)
        self.code.call(231, 42)
        return self.code.elf()

    def _somewhere(self) -> int:
        """An address, of code or of a stack."""
        mine = (self._handler, self._restorer, self._end, BASE, BASE + 0x8000, BASE + 0x12000, *self._frames[:2])
        return self.chance.choice(mine) if self.chance.random() < 0.6 else edge(self.chance)

    def _frame(self) -> int:
        """A ucontext that returns to somewhere, with changes; returns its address."""
        chance = self.chance
        self.code.align(64)
        fpstate = self.code.raw(damaged(chance, _XSAVE)[: len(_XSAVE)].ljust(len(_XSAVE), b"\xff"))
        self.code.align(16)
        content = bytearray(_SIZE + _SIGINFO_BYTES)
        for at in range(_REGISTERS, _RSP, 8):
            struct.pack_into("<Q", content, at, chance.choice((0, 15, edge(chance))))
        struct.pack_into("<QQQ", content, _RSP, BASE + 0x12000, self._end, 0x202)
        struct.pack_into("<HHHH", content, _FLAGS + 8, 0x33, 0, 0, 0x2B)
        struct.pack_into("<Q", content, _FPSTATE, chance.choice((0, fpstate, fpstate, fpstate + 8, edge(chance))))
        for _ in range(chance.randrange(4)):
            at = chance.choice((0, 8, 16, 24, 32, _RSP, _RIP, _RIP, _FLAGS, _FLAGS + 8, _FPSTATE, _MASK))
            struct.pack_into("<Q", content, at, chance.choice((edge(chance), chance.getrandbits(64))))
        if chance.random() < 0.3:
            content[:] = damaged(chance, bytes(content))[: len(content)].ljust(len(content), b"\0")
        return self.code.raw(bytes(content))

    def _deed(self) -> None:
        chance, code = self.chance, self.code
        deed = chance.randrange(9)
        if deed == 0:
            code.stack(chance.choice((*self._frames, self._somewhere())))
            code.call(15)
        elif deed == 1:
            code.stack(self._somewhere() & chance.choice((-1, -16, -8)))
        elif deed in (2, 3):
            flags = 0x4000000 * (chance.random() < 0.9) | chance.choice((0, 4, 0x8000000, 0x40000000, 0x80000000,
                    0x10000000, 0x8000004, chance.getrandbits(32)))  # fmt: skip
            handler = chance.choice((self._handler, self._handler, self._end, 0, 1, self._somewhere()))
            restorer = chance.choice((self._restorer, self._restorer, self._somewhere()))
            action = self.code.data(handler, flags, restorer, chance.choice((0, 0, edge(chance))))
            code.call(13, chance.choice((*_SIGNALS, chance.randrange(70))), action, 0, 8)
        elif deed == 4:
            flags = chance.choice((0, 0, 2, 1, 0x80000000, chance.getrandbits(32)))
            size = chance.choice((2048, 8192, 0, 600, edge(chance)))
            code.call(131, self.code.data(self._somewhere(), flags, size), chance.choice((0, BASE + 0x12000)))
        elif deed == 5:
            code.call(14, chance.randrange(4), self.code.data(chance.choice((0, edge(chance)))), 0, 8)
        elif deed == 6:
            code.call(39)
            code.raw(b"\x89\xc7\xbe" + struct.pack("<I", chance.choice(_SIGNALS)) + b"\xb8\x3e\0\0\0\x0f\x05")  # kill
        else:
            code.raw(chance.choice(_RAISING))


class Frames(Attack):
    """Delivery of signals, and rt_sigreturn."""

    name = "frames"
    target = "signal frames"
    means = (
        "30 children that set handlers, alternate stacks and rsp anywhere, fault, send themselves signals, and return "
        "through frames with any registers, flags and floating-point state"
    )
    cases = 50

    def run(self, chance: random.Random, room: Room) -> str:
        room.file("program", Program(chance).build(30), 0o755)
        return run_program(chance, room, ("--strace", "-o", "calls.txt"), "./program")
