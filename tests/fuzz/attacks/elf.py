"""ELF files of which headers or bytes were changed, and scripts with any first line."""

from __future__ import annotations

import random
import struct

import guests
from tests.fuzz.attack import Attack
from tests.fuzz.attacks.run import run_program
from tests.fuzz.numbers import damaged, edge
from tests.fuzz.room import Room

_BASES = ("hello", "hello_pie", "hello_musl", "hello_musl_pie", "cow", "threads", "pipes", "exec_self")
#: Offset and width of each field of the header, and of a program header.
_EHDR = ((0, 4), (4, 1), (5, 1), (6, 1), (7, 1), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (48, 4), (52, 2),
         (54, 2), (56, 2), (58, 2), (60, 2), (62, 2))  # fmt: skip
_PHDR = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8))
_PHDR_BYTES, _PT_INTERP = 56, 3
#: PT_NULL ... PT_TLS, and those of GNU.
_TYPES = (0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 0x6474E550, 0x6474E551, 0x6474E552, 0x6474E553, 0x70000000)


class Image:
    """A file that is being changed."""

    def __init__(self, chance: random.Random, data: bytes) -> None:
        self.chance, self.data = chance, bytearray(data)
        self._first, self._count = self._get(32, 8), self._get(56, 2)

    def change(self) -> None:
        """One thing of its headers."""
        chance = self.chance
        chance.choice(
            (self._segment, self._segment, self._segment, self._header, self._move, self._interpreter, self._type,
             self._near)
        )()  # fmt: skip

    def _put(self, at: int, width: int, value: int) -> None:
        if at + width <= len(self.data):
            self.data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")

    def _get(self, at: int, width: int) -> int:
        return int.from_bytes(self.data[at : at + width], "little")

    def _place(self) -> int:
        """Of one program header."""
        return self._first + _PHDR_BYTES * self.chance.randrange(max(1, self._count))

    def _header(self) -> None:
        at, width = self.chance.choice(_EHDR)
        self._put(at, width, edge(self.chance))

    def _segment(self) -> None:
        at, width = self.chance.choice(_PHDR)
        self._put(self._place() + at, width, edge(self.chance))

    def _near(self) -> None:
        """A little more or less than it was."""
        at, width = self.chance.choice(_PHDR[2:])
        at += self._place()
        self._put(at, width, self._get(at, width) + self.chance.choice((-4096, -16, -1, 1, 16, 4096, 1 << 21)))

    def _type(self) -> None:
        self._put(self._place(), 4, self.chance.choice(_TYPES))

    def _move(self) -> None:
        """One program header over another, or all of them elsewhere."""
        if self.chance.random() < 0.7:
            to, source = self._place(), self._place()
            self.data[to : to + _PHDR_BYTES] = self.data[source : source + _PHDR_BYTES]
        else:
            self._put(32, 8, self.chance.choice((0, 1, 64 + 8, len(self.data) - 56, len(self.data), 1 << 40)))

    def _interpreter(self) -> None:
        """A program header that asks for an interpreter."""
        name = self.chance.choice(
            (b"/bin/program\0", b"/bin/program", b"/bin/hello\0", b"\0", b"", b"/\0", b"/bin/\xff\n\0", b"x" * 5000,
             b"/proc/self/exe\0", b"/dev/zero\0", b"/tmp\0", b"/bin/interp\0")
        )  # fmt: skip
        at, place = len(self.data), self._place()
        self.data += name
        struct.pack_into("<IIQQQQQQ", self.data, place, _PT_INTERP, 4, at, 0, 0, len(name), len(name), 1)


def script(chance: random.Random) -> bytes:
    """A first line."""
    words = (b"/bin/hello", b"/bin/program", b"/bin/calls say", b"", b" ", b"\t", b"\0", b"/tmp", b"relative", b"\xff",
             b"/bin/interp", b"x" * 300)  # fmt: skip
    return b"#!" + b" ".join(chance.choice(words) for _ in range(chance.randrange(1, 4))) + chance.choice((b"\n", b""))


class Elf(Attack):
    """The loader, and what runs then."""

    name = "elf"
    target = "execve"
    means = "ELF files with changed headers, program headers, interpreters or bytes, and scripts with any first line"
    cases = 90

    def run(self, chance: random.Random, room: Room) -> str:
        base = guests.path(chance.choice(_BASES)).read_bytes()
        kind = chance.random()
        if kind < 0.07:
            data = script(chance)
        elif kind < 0.3:
            data = damaged(chance, base)
        else:
            image = Image(chance, base)
            for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
                image.change()
            data = bytes(image.data[: len(image.data) if chance.random() < 0.9 else chance.randrange(len(image.data))])
        room.file("program", data, 0o755)
        room.file("interp", damaged(chance, base) if chance.random() < 0.5 else base, 0o755)
        files = ("--file", "interp:/bin/interp", "--file", str(guests.path("hello")))
        return run_program(chance, room, files, "./program", "argument")
