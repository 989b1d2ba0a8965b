"""Random programs that run both ways (tests.machine.both_ways), with what makes counting inside code hard: jumps into
the middle of blocks, indirect ones, calls and returns, code that changes itself, operands across pages, strings with
REP, modes, signals, forks and changes of rights; with short turns too.

``python -m tests.machine.inline_programs --seconds 3600`` goes on with other seeds, and says which one differs;
``--guests`` runs every guest of tests/native in place of them, ``--tlb`` has them in exact mode.
"""

from __future__ import annotations

import argparse
import random
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.exhaustive import by_default
from tests.machine.both_ways import compare, compare_guards
from tests.native.guest import all_guests

#: Where a program is cut off that takes longer: some fork, or fault, again and again.
MOST_INSTRUCTIONS = by_default(6_000, 30_000)
TEXT, CODE, DATA, TABLE = 0x40_0000, 0x50_0000, 0x60_0000, 0x70_0000
_PAGE = 0x1000
#: RAX, RCX, RDX, RSI, RDI and R8 to R13: RBX has DATA, R14 what a child differs in, R15 how much is left.
_FREE = (0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13)
_SIGSEGV, _SIGBUS, _SIGALRM, _SIGFPE = 11, 7, 14, 8


#: Prefix, opcode and immediate operand of loads, stores and arithmetic of 16 bytes; the first ones need not be aligned.
_SSE = (
    ("", "0f10", ""), ("", "0f11", ""), ("f3", "0f6f", ""), ("f3", "0f7f", ""), ("f2", "0f59", ""), ("", "0f28", ""),
    ("", "0f29", ""), ("66", "0f58", ""), ("66", "0fef", ""), ("66", "0f7f", ""), ("66", "0f6f", ""),
    ("66", "0fe7", ""), ("66", "0f70", "1b"), ("", "0fc6", "4e"), ("66", "0f3817", ""), ("66", "0f3800", ""),
    ("66", "0f3a0f", "05"), ("66", "0fd4", ""), ("", "0f5c", ""), ("", "0fc2", "01"), ("f3", "0f16", ""),
    ("66", "0f382a", ""),
)  # fmt: skip


class Program:
    """The bytes of one, by its seed: units of a few instructions each, of which many end with a jump to another."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._units: list[int] = []
        #: (place of the distance of a jump, number of the unit); bytes that are an operand, which stores may change.
        self._jumps: list[tuple[int, int]] = []
        self._operands: list[int] = []
        self._code = bytearray()
        self._at = TEXT
        self.number = self._random.randrange(20, 60)
        self.catches = self._random.random() < 0.4
        self.options: dict[str, Any] = self._random.choice(
            [{}, {"turn": self._random.randrange(1, 2000)}, {"turn": (1, self._random.randrange(2, 200))},
             {"cpus": 2, "turn": self._random.randrange(1, 500)}]
        )  # fmt: skip

    # -- instructions ----------------------------------------------------------------------------------------------

    def _put(self, *parts: str | bytes) -> None:
        for part in parts:
            self._code += bytes.fromhex(part) if isinstance(part, str) else part

    def _rex(self, reg: int, rm: int, wide: int = 1) -> bytes:
        return bytes([0x40 | wide << 3 | (reg >> 3) << 2 | rm >> 3])

    def _reg(self) -> int:
        return self._random.choice(_FREE)

    def _in_data(self) -> bytes:
        """A displacement from RBX; often across pages, and aligned half the time."""
        at = self._random.choice((self._random.randrange(0, 2 * _PAGE - 64), _PAGE - self._random.randrange(1, 16)))
        return struct.pack("<i", at & -16 if self._random.random() < 0.5 else at)

    def _alu(self) -> None:
        one, other = self._reg(), self._reg()
        opcode = self._random.choice((0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x89))
        self._put(self._rex(one, other, self._random.randrange(2)), bytes([opcode, 0xC0 | (one & 7) << 3 | other & 7]))

    def _shift(self) -> None:
        reg, kind = self._reg(), self._random.choice((0, 1, 4, 5, 7))
        self._put(self._rex(0, reg), bytes([0xC1, 0xC0 | kind << 3 | reg & 7, self._random.randrange(64)]))

    def _memory(self) -> None:
        reg, opcode = self._reg(), self._random.choice((0x8B, 0x89, 0x88, 0x8A, 0x03, 0x01, 0x31, 0x87))
        self._put(self._rex(reg, 3, self._random.randrange(2)), bytes([opcode, 0x83 | (reg & 7) << 3]), self._in_data())

    def _sse(self) -> None:
        prefix, opcode, immediate = self._random.choice(_SSE)
        at = self._in_data()
        if not self.catches or self._random.random() < 0.9:
            at = bytes([at[0] & 0xF0]) + at[1:]
        register, form = self._random.randrange(8) << 3, self._random.randrange(3)
        self._put(prefix, opcode)
        if form == 0:
            self._put(bytes([0x83 | register]), at)  # [rbx+...]
        else:
            address = DATA + struct.unpack("<i", at)[0]
            if form == 1:
                self._put(bytes([0x04 | register, 0x25]), struct.pack("<i", address))
            else:  # [rip+...]
                end = self._at + len(self._code) + 5 + len(immediate) // 2
                self._put(bytes([0x05 | register]), struct.pack("<i", address - end))
        self._put(immediate)

    def _constant(self) -> None:
        reg = self._reg()
        self._put(self._rex(0, reg), bytes([0xC7, 0xC0 | reg & 7]))
        self._operands.append(self._at + len(self._code))
        self._put(struct.pack("<i", self._random.randrange(-(2**31), 2**31)))

    def _string(self) -> None:
        self._put(
            "b9", struct.pack("<I", self._random.randrange(40)), "488db3", self._in_data(), "488dbb", self._in_data()
        )
        self._put(self._random.choice(("f3a4", "f3aa", "f348a5", "f3ab", "f3a6", "f2ae", "a4", "ab")))

    def _stack(self) -> None:
        self._put(self._random.choice(("9c9d", "5058", "e80000000058", "6a0558", "488d642410488d6424f0", "c8100000c9")))

    def _special(self) -> None:
        self._put(self._random.choice(("0f31", "31c00fa24889ddbb00006000", "d9e8ddd8", "dbe3", "fcf5f9", "f30fb8c1")))

    def _mode(self) -> None:
        """LDMXCSR: exceptions are masked, or one of them is not."""
        control = self._random.choice((0x1F80, 0x1F80, 0x1D80, 0x0F80))
        self._put("c74424f0", struct.pack("<I", control), "0fae5424f0")

    def _alignment(self) -> None:
        self._put("9c", "81342400000400", "9d")

    def _modify(self) -> None:
        """Store into an operand in code that may be written; in code that may not, where faults are caught."""
        places = [at for at in self._operands if at >= CODE or (self.catches and self._random.random() < 0.05)]
        if places:
            self._put("c60425", struct.pack("<IB", self._random.choice(places), self._random.randrange(256)))

    def _call(self) -> None:
        number = self._random.choice((39, 24, 186, 102))  # getpid, sched_yield, gettid, getuid
        self._put("b8", struct.pack("<I", number), "0f05")

    def _protect(self) -> None:
        """mprotect of a page of code."""
        at, rights = self._random.choice(
            ((TEXT + _PAGE, 5), (CODE, 7), (CODE, 5 if self.catches else 7), (DATA, 7), (DATA, 3))
        )
        self._put("bf", struct.pack("<I", at), "be00100000ba", struct.pack("<I", rights), "b80a0000000f05")

    def _timer(self) -> None:
        """setitimer(ITIMER_REAL), in microseconds."""
        first, again = self._random.randrange(1, 30), self._random.choice((0, self._random.randrange(1, 20)))
        for offset, value in ((0, 0), (8, again), (16, 0), (24, first)):
            self._put("48c7442480"[:8] + f"{0x80 + offset:02x}", struct.pack("<I", value))
        self._put("31ff", "488d742480", "31d2", "b8260000000f05")

    def _fork(self) -> None:
        """A child differs in R14, and has little left."""
        self._put(
            "b8390000000f05",
            "85c0",
            "7507",
            "49ffc6",
            "49c1ef02",
        )  # fork; 1: inc r14; shr r15, 2

    _KINDS = (
        (_alu, 30), (_shift, 8), (_memory, 25), (_sse, 12), (_constant, 10), (_string, 5), (_stack, 6), (_special, 4),
        (_mode, 1), (_alignment, 0.3), (_modify, 8), (_call, 3), (_protect, 1.5), (_timer, 1), (_fork, 0.6),
    )  # fmt: skip

    # -- the program -----------------------------------------------------------------------------------------------

    def _jump(self, opcode: str, unit: int) -> None:
        self._put(opcode)
        self._jumps.append((self._at + len(self._code), unit))
        self._put(bytes(4))

    def _indirect(self) -> None:
        """To the unit that R15 says: jmp rax, a return, or a call, of which the return address is dropped."""
        self._put("4489f8", "83e03f", "8b0485", struct.pack("<I", TABLE))
        self._put(*self._random.choice((("ffe0",), ("50", "c3"), ("e801000000", "90", "48890424", "c3"))))

    def _unit(self, exit_unit: int) -> None:
        self._units.append(self._at + len(self._code))
        kinds, weights = zip(*self._KINDS, strict=True)
        for kind in self._random.choices(kinds, weights, k=self._random.randrange(1, 9)):
            kind(self)
        if self._random.random() < 0.6:
            self._put("49ffcf")  # dec r15
            self._jump("0f88", exit_unit)  # js
            if self._random.random() < 0.3:
                self._indirect()
            else:
                opcode = self._random.choice(("e9", *(f"0f8{n:x}" for n in range(16))))
                self._jump(opcode, self._random.randrange(self.number))

    def build(self) -> bytes:
        """The ELF file."""
        text, units = self.number // 2, self.number
        self._start()
        for _ in range(text):
            self._unit(units)
        self._jump("e9", text)
        first, self._code, self._at = self._code, bytearray(), CODE
        for _ in range(units - text):
            self._unit(units)
        self._put("49ffcf")
        self._jump("0f89", self._random.randrange(units))
        self._units.append(CODE + len(self._code))
        self._put("4489f0", "83e07f", "89c7", "b8e70000000f05")  # exit_group(r14 & 127)
        for place, unit in self._jumps:
            code, base = (first, TEXT) if place < CODE else (self._code, CODE)
            struct.pack_into("<i", code, place - base, self._units[unit] - (place + 4))
        table = struct.pack("<64I", *(self._units[n % units] for n in range(64)))
        data = self._random.randbytes(3 * _PAGE)
        return elf(((TEXT, 5, bytes(first)), (CODE, 7, bytes(self._code)), (DATA, 6, data), (TABLE, 4, table)))

    def _start(self) -> None:
        self._put("bb00006000", "49c7c7", struct.pack("<I", self._random.randrange(20, 600)), "4531f6")
        signals = (_SIGALRM, *((_SIGSEGV, _SIGBUS, _SIGFPE) if self.catches else ()))
        self._put("e9")
        over = len(self._code)
        self._put(bytes(4))
        # the handler (RDI: signal; RDX: ucontext): after a fault go on with the unit that R15 says, one less to go
        handler = self._at + len(self._code)
        self._put("83ff0e", "7416", "488b4260", "83e03f", "8b0485", struct.pack("<I", TABLE))
        self._put("488982a8000000", "90")
        self._put("48ff4a60", "c3")
        restorer = self._at + len(self._code)
        self._put("b80f0000000f05")
        struct.pack_into("<i", self._code, over, len(self._code) - over - 4)
        action = struct.pack("<QQQQ", handler, 0x4400_0004 | 0x4000_0000, restorer, 0)
        self._put("4881ec00010000")
        for n in range(4):
            self._put("48b8", action[8 * n : 8 * n + 8], "48894424", bytes([8 * n]))
        for signal in signals:
            self._put("bf", struct.pack("<I", signal), "4889e6", "31d2", "41ba08000000", "b80d0000000f05")


def elf(segments: tuple[tuple[int, int, bytes], ...]) -> bytes:
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, segments[0][0], 64, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    offset, headers, body = _PAGE, b"", b""
    for address, flags, content in segments:
        content = content.ljust(-(-len(content) // _PAGE) * _PAGE, b"\0")
        headers += struct.pack(
            "<IIQQQQQQ", 1, flags, offset + len(body), address, address, len(content), len(content), _PAGE
        )
        body += content
    return (header + headers).ljust(_PAGE, b"\0") + body


def hold(seed: int, directory: Path, **options: Any) -> Any:
    """AssertionError where the program of this seed runs otherwise; ``options`` as for compare."""
    program = Program(seed)
    path = directory / f"program{seed}"
    path.write_bytes(program.build())
    path.chmod(0o755)
    if not options:
        compare_guards(path, most=MOST_INSTRUCTIONS, **program.options)
    return compare(path, most=MOST_INSTRUCTIONS, **program.options, **options)


def _guests(**options: Any) -> None:
    for guest in all_guests():
        try:
            for each in (compare,) if options else (compare, compare_guards):
                each(guest.program, cpus=2 if "two cpus" in guest.needs else 1, **options)
        except AssertionError as error:
            print(f"{guest.name}: {error}"[:400], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guests", action="store_true")
    parser.add_argument("--tlb", default="off", help="a preset: in exact mode")
    parser.add_argument("--no-events", action="store_true")
    arguments = parser.parse_args()
    options = {"tlb": arguments.tlb, "events": not arguments.no_events}
    if arguments.guests:
        _guests(**options)
        return
    end, seed = time.monotonic() + arguments.seconds, arguments.seed
    instructions = 0
    with tempfile.TemporaryDirectory() as directory:
        while time.monotonic() < end:
            try:
                instructions += hold(seed, Path(directory), **options).clock[0]
            except AssertionError as error:
                print(f"seed {seed}: {error}"[:400], flush=True)
            (Path(directory) / f"program{seed}").unlink()
            seed += 1
    print(f"{seed - arguments.seed} programs, {instructions:,} instructions")


if __name__ == "__main__":
    main()
