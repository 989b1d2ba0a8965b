"""Instructions that native code executes, on an engine that is a table of registers."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unicorn import x86_const as x86

from emu.engine.records import NO_REGISTER, Hit
from emu.instructions.executed import engine as names
from emu.instructions.executed.build import FUNCTIONS
from emu.instructions.executed.engine import Engine
from emu.instructions.executed.masks import Loaded
from emu.instructions.executed.operation import Code, packed
from tests.mmu.hook_world import ODD, UPPER, Call, HookWorld

_U64 = ctypes.c_uint64
_BYTES = {names.FPSW: 2, names.FPCW: 2, names.FPTAG: 2, names.FOP: 2, names.FCS: 2, names.FDS: 2, names.MXCSR: 4}
_WHOLE = {**{x86.UC_X86_REG_FP0 + n: 10 for n in range(8)}, **{x86.UC_X86_REG_XMM0 + n: 16 for n in range(16)}}
_EXTENDED = (
    (0, 0), (0x8000, 0), (0x3FFF, 1 << 63), (0xBFFF, 1 << 63), (0x3FFE, UPPER | 1 << 63), (0xBFFD, ODD << 10 | 1 << 63),
    (0x4000, 0xC90FDAA22168C235), (0x403D, 2**64 - 2), (0x403E, 1 << 63), (0x7FFF, 1 << 63), (0xFFFF, 3 << 62 | ODD),
    (0x7FFF, 1 << 63 | ODD), (0, ODD), (0x3FFF, ODD), (0x7FFE, 2**64 - 1), (0x1234, UPPER), (0x401C, UPPER),
)  # fmt: skip


class FakeEngine:
    """Registers by Unicorn's number; memory is that of this process, but for addresses below 4096."""

    def __init__(self, world: HookWorld) -> None:
        self.registers: dict[int, bytearray] = {}
        at = world.scratch.ctypes.data
        self.hit, self.engine = Hit.from_address(at), Engine.from_address(at + 16 * 8)
        self.memory = at + 40 * 8
        self._keep = [
            ctypes.CFUNCTYPE(_U64, *[_U64] * n)(function)
            for n, function in ((3, self._read), (3, self._write), (4, self._translate))
        ]
        self._keep += [ctypes.CFUNCTYPE(_U64, *[_U64] * 3)(self._load_of(size)) for size in (1, 2, 4, 8)]
        self._keep += [ctypes.CFUNCTYPE(_U64, *[_U64] * 3)(self._store_of(size)) for size in (1, 2, 4, 8)]
        for field, function in zip(FUNCTIONS, self._keep, strict=True):
            setattr(self.engine, field, ctypes.cast(function, ctypes.c_void_p).value)
        self.engine.registers = world.registers_of_guest.ctypes.data
        self.engine.invalid_address, self.engine.word = at + 36 * 8, at + 38 * 8
        self.hit.engine, self.hit.index_register, self.hit.bits = at + 16 * 8, NO_REGISTER, 2**64 - 1

    def _register(self, number: int) -> bytearray:
        size = _BYTES.get(number, _WHOLE.get(number, 8))
        return self.registers.setdefault(number, bytearray(size))

    def _read(self, _uc: int, number: int, at: int) -> int:
        register = bytes(self._register(number))
        ctypes.memmove(at, register, len(register))
        return 0

    def _write(self, _uc: int, number: int, at: int) -> int:
        register = self._register(number)
        register[:] = ctypes.string_at(at, len(register))
        return 0

    def _translate(self, _uc: int, vaddr: int, _protection: int, _result: int) -> int:
        return 12 if vaddr < 4096 else 1 << 32  # an int, with anything in the upper half

    @staticmethod
    def _load_of(size: int) -> Any:
        return lambda _env, vaddr, _: (
            int.from_bytes(ctypes.string_at(vaddr, size), "little") | (ODD << 8 * size) % 2**64
        )

    @staticmethod
    def _store_of(size: int) -> Any:
        def store(_env: int, vaddr: int, value: int) -> int:
            ctypes.memmove(vaddr, value.to_bytes(8, "little"), size)
            return 0

        return store

    def set(self, number: int, value: int) -> None:
        register = self._register(number)
        register[:] = value.to_bytes(len(register), "little")

    def fpu(self, control: int, status: int, tags: int, draw: random.Random) -> None:
        """All of the x87 FPU."""
        for number, value in ((names.FPCW, control), (names.FPSW, status), (names.FPTAG, tags)):
            self.set(number, value)
        for n in range(8):
            exponent, mantissa = draw.choice(_EXTENDED)
            self.set(x86.UC_X86_REG_FP0 + n, exponent << 64 | mantissa)


@contextmanager
def _engine(world: HookWorld) -> Iterator[FakeEngine]:
    world.scratch[:] = 0
    yield FakeEngine(world)
    world.scratch[:] = 0  # the functions are elsewhere each time


def _execute(world: HookWorld, call: Call, fake: FakeEngine, number: int, base: int) -> None:
    fake.hit.number, fake.hit.base, fake.hit.displacement = number, NO_REGISTER, base
    call("execute", UPPER, world.scratch.ctypes.data, UPPER)
    world.calls.append(("registers", {key: bytes(value) for key, value in fake.registers.items()}))
    world.calls.append(("memory", ctypes.string_at(fake.memory, 64), tuple(world.registers_of_guest.tolist())))


def x87(world: HookWorld, call: Call) -> None:
    """Every instruction, on values of all kinds, in every rounding mode."""
    draw = random.Random(1)
    with _engine(world) as fake:
        for code in range(Code.FSIN, Code.FXAM + 1):
            for n in range(60):
                tags = draw.choice((0, 0, 0xC000, 0x0003, 0xFFFF))
                fake.fpu(0x340 | n % 4 << 10 | draw.choice((0x3F, 0x3F, 0)), draw.randrange(8) << 11, tags, draw)
                _execute(world, call, fake, packed(Code(code)), 0)


def stores(world: HookWorld, call: Call) -> None:
    """The same with an operand in memory, which may be out of reach."""
    draw = random.Random(2)
    numbers = [packed(Code.FISTTP, bits=bits) for bits in (16, 32, 64)] + [packed(Code.FBSTP), packed(Code.FNSTENV)]
    with _engine(world) as fake:
        for number in numbers:
            for n in range(60):
                fake.fpu(0x37F | n % 4 << 10, draw.randrange(8) << 11, draw.choice((0, 0, 0xC000, 0xFFFF)), draw)
                _execute(world, call, fake, number, 8 if n % 16 == 15 else fake.memory + n % 5)


def sse(world: HookWorld, call: Call) -> None:
    """Strings, dot products, and sums of neighbours."""
    draw = random.Random(3)
    with _engine(world) as fake:
        for code in range(Code.PCMPESTRM, Code.MMX + 1):
            for n in range(64):
                for register in range(16):
                    word = draw.choice((UPPER, ODD, draw.getrandbits(64), 0x3F80_0000_C000_0001, 0x4142_0043_4445_4646))
                    fake.set(x86.UC_X86_REG_XMM0 + register, word << 64 | draw.choice((word, draw.getrandbits(64))))
                fake.fpu(0x37F, 0x1800, 0xFFFF, draw)
                fake.set(names.MXCSR, 0x1F80 | n % 4 << 13 | draw.choice((0, 0x40, 0x8000)))
                world.registers_of_guest[0], world.registers_of_guest[2] = draw.choice((UPPER, 5, ODD)), 2**64 - 3
                immediate = draw.choice((1, 2, 3, 5, 6, 7)) if code >= Code.HORIZONTAL else draw.getrandbits(8)
                memory = code < Code.HORIZONTAL and n % 3 == 0
                number = packed(
                    Code(code), first=n % 8, second=n % 5, memory=memory, immediate=immediate, wide=n % 2 == 0
                )
                aligned = (fake.memory + 15) & -16
                _execute(world, call, fake, number, 8 if n % 16 == 15 else aligned + n % 2)


def integers(world: HookWorld, call: Call) -> None:
    """LOCK NEG and CMPXCHG."""
    with _engine(world) as fake:
        for value in (0, 1, ODD, UPPER, 2**64 - 1, 1 << 63, 1 << 31, 0x80):
            for bits in (8, 16, 32, 64):
                fake.set(names.RFLAGS, 0x246)
                _U64.from_address(fake.memory).value = value
                _execute(world, call, fake, packed(Code.NEG, bits=bits), fake.memory)
            for other in (value, UPPER):
                world.registers_of_guest[0], world.registers_of_guest[1] = value, other
                world.registers_of_guest[3] = ODD
                _execute(world, call, fake, packed(Code.CMPXCHG, first=1, second=3), 0)
        _execute(world, call, fake, packed(Code.NEG, bits=8), 5)


def masks(world: HookWorld, call: Call) -> None:
    """Control words with every exception masked and with one that is not, and words out of reach."""
    with _engine(world) as fake:
        fake.engine.ram = fake.memory & -4096
        world.registers_of_guest[4] = fake.memory
        for kind in Loaded:
            for value in (0x37F, 0x37E, 0x1F80, 0x1F00, 0x11F80, 0x4_037F, UPPER, ODD):
                for at, mxcsr in ((fake.memory, 0x1F80), (fake.memory, 0x1F00), (fake.memory + 3, 0x1F80), (8, 0)):
                    _U64.from_address(fake.memory).value = value
                    _U64.from_address(fake.memory + 24).value = mxcsr
                    fake.hit.number, fake.hit.base, fake.hit.displacement = kind | 16 << 8, NO_REGISTER, at
                    call("check", UPPER, world.scratch.ctypes.data, UPPER)


def crossing(world: HookWorld, call: Call) -> None:
    """Stores within a page and across its end, into memory that is there and into none."""
    with _engine(world) as fake:
        for number in (10, 16):
            for offset in (0, 4080, 4081, 4087, 4095):
                for page in (fake.memory & -4096, 0x8000, UPPER & -4096):
                    fake.hit.number, fake.hit.base, fake.hit.displacement = number, NO_REGISTER, page + offset
                    call("check", UPPER, world.scratch.ctypes.data, UPPER)
