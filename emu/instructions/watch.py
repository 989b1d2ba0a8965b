"""Instructions before which somebody wants to be told: those at certain places, and marks that programs make.

A mark is a NOP of seven bytes, ``nopl DISPLACEMENT(%reg)`` (SDM vol. 2: NOP r/m32, 0F 1F /0), which accesses no memory
and changes no register on any processor.  Compilers and assemblers pad code with it too, always with a displacement
of 0; that of a mark is three letters, and one that says which mark it is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from enum import IntEnum

from emu.instructions.hits import Listed
from emu.instructions.instruction import NO_REGISTER, Instruction
from emu.instructions.opcodes import Follows, lengths
from emu.instructions.row import Refuse
from mmu.host_array import HostArray
from mmu.objectcode import load

_LETTERS = b"UNI"
_MAP, _OPCODE = 1, 0x1F
_LOW_32 = 0xFFFF_FFFF


class Mark(IntEnum):
    """Which mark it is: its displacement."""

    BEGIN = int.from_bytes(_LETTERS + b"B", "little")
    END = int.from_bytes(_LETTERS + b"E", "little")
    #: The register has the address of a text.
    TEXT = int.from_bytes(_LETTERS + b"T", "little")


def mark_of(instruction: Instruction) -> Mark | None:
    """The mark that an instruction is.

    >>> code = bytes.fromhex("0f1f80554e4942")
    >>> mark_of(Instruction(0x1000, code, 7 | 1 << 8 | _MAP << 16)).name
    'BEGIN'
    """
    if (instruction.opcode_map, instruction.opcode) != (_MAP, _OPCODE) or not instruction.is_memory:
        return None
    memory = instruction.memory
    if memory.base == NO_REGISTER or memory.index_register != NO_REGISTER or memory.segment:
        return None
    number = memory.displacement & _LOW_32
    return Mark(number) if number in tuple(Mark) else None


class Watch:
    """Where somebody wants to be told.

    ``places(address, size)`` gives the addresses of a block at which ``told`` is called, and ``told_mark`` is called at
    each mark; either may be None.  Both are called before the instruction runs, within emulation.
    """

    def __init__(
        self,
        places: Callable[[int, int], list[int]] | None = None,
        told: Callable[[Instruction], None] | None = None,
        told_mark: Callable[[Instruction], None] | None = None,
    ) -> None:
        self._places, self._told, self._told_mark = places, told, told_mark
        self._measure = load("emu.instructions.scan")["measure"]
        self._lengths = lengths()

    @property
    def has_places(self) -> bool:
        """Whether it wants to know of each block where it is."""
        return self._places is not None

    def has_place_in(self, address: int, size: int) -> bool:
        """Whether it has a place in a block of code."""
        return self._places is not None and bool(self._places(address, size))

    def list_marks(self, table: HostArray) -> None:
        """Have blocks with what may be a mark be looked through (:mod:`emu.instructions.opcodes`)."""
        if self._told_mark is not None:
            table.view[_MAP, _OPCODE] |= int(Follows.LISTED_MEMORY)

    def add(self, listed: list[Listed], address: int, code: bytes) -> list[Listed]:
        """The listed instructions of a block, and those that are watched, in their order."""
        places = [] if self._places is None else self._places(address, len(code))
        marks = self._told_mark is not None and _LETTERS in code
        if not places and not marks:
            return listed
        by_offset, added = {each.offset: each for each in listed}, list[Listed]()
        for instruction in self._instructions(address, code):
            told = self._told if instruction.address in places else None
            if told is None and marks and mark_of(instruction) is not None:
                told = self._told_mark
            known = by_offset.get(instruction.address - address)
            if known is not None:
                known.told = told
                if isinstance(known.action, Refuse):
                    break  # what follows is no code of this block
            elif told is not None:
                added.append(Listed(instruction.address - address, instruction, None, told))
        return sorted([*listed, *added], key=lambda each: each.offset)

    def _instructions(self, address: int, code: bytes) -> Iterator[Instruction]:
        buffer, offset = ctypes.create_string_buffer(code, len(code)), 0
        while offset < len(code):
            found = self._measure(ctypes.addressof(buffer) + offset, len(code) - offset, self._lengths.address)
            if found == 0 or found >> 33:
                return
            yield Instruction(address + offset, code[offset:], found)
            offset += found & 0xFF
