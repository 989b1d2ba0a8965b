"""Machine code of any bytes: instructions of every map, prefix and operand, some of which write over the next ones."""

from __future__ import annotations

import random
import struct

from tests.fuzz.attack import Attack, Mended
from tests.fuzz.attacks.run import run_program
from tests.fuzz.code import BASE, Code
from tests.fuzz.numbers import edge
from tests.fuzz.room import Room

_PREFIXES = (b"\x66", b"\xf2", b"\xf3", b"\xf0", b"\x64", b"\x65", b"\x67", b"\x2e", b"\x9b")
#: mov r64, imm64 of rax, rcx, rdx, rbx, rbp, rsi, rdi, r8 to r15.
_LOADS = (*(bytes((0x48, 0xB8 + r)) for r in (0, 1, 2, 3, 5, 6, 7)), *(bytes((0x49, 0xB8 + r)) for r in range(8)))
#: x87, SSE, AVX, BMI, CET, string and system instructions that have been wrong, or are rare.
_RARE = tuple(map(bytes.fromhex, (
    "d9f1", "d9f8", "d9f5", "d9fb", "dff1", "dbe2", "dbe3", "9bdbe3", "d9e4", "df18", "df30", "db7c2400", "0fae0424",
    "0fae0c24", "0fae1424", "0fae1c24", "0fc7f0", "0fc7f8", "0f01d0", "0f01f9", "0fa2", "0f31", "0f33", "0f05", "0f34",
    "f30fae38", "0fae38", "660fae38", "f30f1efa", "0f0b", "0fb9c0", "0fffc0", "f1", "cc", "cd03", "cd80", "cd0d", "ce",
    "f4", "fa", "fb", "e410", "ec", "6c", "f36e", "9c9d", "6aff9d", "cf", "48cf", "cb", "48cb", "c8100001", "c9", "d7",
    "f3a4", "f348a5", "f3aa", "f2ae", "f3a6", "f3ac", "8ed0", "8ec0", "8ee0", "0fb20424", "0fb50424", "0f00c0",
    "0f0100", "0f20c0", "0f22d8", "0f23c0", "0f30", "0f32", "0f09", "0f0100d8", "660f3800c1", "660f38f0c1",
    "f20f38f1c1", "660f3a63c100", "660f3a60c100", "660f3a41c1ff", "660f3a44c111", "f30fb8c1", "f30fbcc1", "f30fbdc1",
    "c4e27af7c1",
    "c4e268f2c1", "c5fc58c1", "62f17c4858c1", "c5f877", "0f77", "0f0fc19e", "0f18c0", "0f0d00", "0f1f8000000000", "90",
    "0fc70c24", "480fc70c24", "f0480fc70c24", "0fb00c24", "f00fc10c24", "f0ff0424", "f0f71c24", "870424", "0f6fc1",
)))  # fmt: skip
#: Of one process.
_MOST_SIGNALS = 60


class Program:
    """A program of sections; in each, a child runs instructions."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.code = chance, Code()

    def build(self, sections: int) -> bytes:
        """The ELF file."""
        for _ in range(sections):
            jump = self.code.fork()
            if self.chance.random() < 0.3:
                self._handle()
            self.code.stack(BASE + 0x14000)
            for load in _LOADS:
                self.code.raw(load + struct.pack("<Q", self._register()))
            for _ in range(self.chance.choice((3, 10, 40))):
                self.code.raw(self._instruction())
            self.code.call(231, 0)
            self.code.reap(jump)
        self.code.call(231, 42)
        return self.code.elf()

    def _handle(self) -> None:
        """Handlers that step over a byte of what faults; the last one ends the process."""
        left = self.code.data(_MOST_SIGNALS)
        jump = self.code.jump()
        restorer = self.code.raw(b"\xb8\x0f\0\0\0\x0f\x05")
        handler = self.code.here
        self.code.raw(b"\x48\xff\x0d" + struct.pack("<i", left - handler - 7) + b"\x78\x09")  # dec [left]; js
        self.code.raw(b"\x48\x83\x82\xa8\0\0\0\x01\xc3")  # add qword [rdx + 168], 1, which is rip; ret
        self.code.call(231, 0)
        self.code.land(jump)
        action = self.code.data(handler, 0x4000004, restorer, 0)
        for signal in (4, 5, 7, 8, 11):
            self.code.call(13, signal, action, 0, 8)

    def _register(self) -> int:
        """The stack, the code that follows, a small number, or any."""
        chance = self.chance
        return chance.choice(
            (BASE + 0x14000 + 8 * chance.randrange(-64, 64), BASE + 0x14000, self.code.here + chance.randrange(400),
             chance.randrange(70), edge(chance))
        )  # fmt: skip

    def _instruction(self) -> bytes:
        chance = self.chance
        kind = chance.random()
        if kind < 0.25:
            return chance.choice(_RARE)
        prefixes = b"".join(chance.choice(_PREFIXES) for _ in range(chance.choice((0, 0, 0, 1, 1, 2))))
        if chance.random() < 0.5:
            prefixes += bytes((0x40 + chance.randrange(16),))
        if kind < 0.5:
            opcode = bytes((chance.randrange(256),))
        elif kind < 0.75:
            opcode = b"\x0f" + bytes((chance.randrange(256),))
        elif kind < 0.85:
            opcode = chance.choice((b"\x0f\x38", b"\x0f\x3a")) + bytes((chance.randrange(256),))
        elif kind < 0.93:
            opcode = bytes((0xD8 + chance.randrange(8),))
        else:
            return chance.choice((b"\xc5", b"\xc4", b"\x62", b"\x8f")) + chance.randbytes(5)
        return prefixes + opcode + self._operands()

    def _operands(self) -> bytes:
        """ModRM, SIB, displacement and immediate: registers, memory at a register, on the stack or nearby."""
        chance = self.chance
        register = chance.randrange(8) << 3
        return chance.choice(
            (bytes((0xC0 | register | chance.randrange(8),)), bytes((register | chance.choice((0, 1, 2, 3, 6, 7)),)),
             bytes((0x44 | register, 0x24, chance.randrange(256))),
             bytes((0x05 | register, chance.randrange(64), 0, 0, 0)),
             bytes((0x80 | register | chance.choice((0, 1, 2, 3, 5, 6, 7)),)) + chance.randbytes(1) + b"\0\0\0")
        ) + chance.choice((b"", b"", chance.randbytes(1), chance.randbytes(4)))  # fmt: skip


class Instructions(Attack):
    """The engine, the scan of blocks, and exceptions."""

    name = "code"
    target = "instructions"
    means = (
        "15 children that run up to 40 instructions of any opcode, prefix and operand, which also write into the code"
    )
    cases = 40
    mended = (
        Mended(
            "an instruction that the engine does not know, at the end of a block that is cut, was translated for ever",
            "tests/instructions/test_instructions_refused.py::test_how_it_ends",
        ),
        Mended(
            "an undefined x87 instruction, while exceptions are unmasked, was executed by the host's processor",
            "tests/instructions/test_instructions_unmasked.py::test_how_it_ends",
        ),
    )

    def run(self, chance: random.Random, room: Room) -> str:
        room.file("program", Program(chance).build(15), 0o755)
        return run_program(chance, room, (), "./program")
