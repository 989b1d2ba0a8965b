"""Cutting a block in pieces: the engine is to translate a jump where a listed instruction is."""

from __future__ import annotations

import ctypes

from emu.engine.records import TrapState
from emu.instructions.block import Block, Patch, Steps
from emu.instructions.opcodes import lengths
from mmu import Mmu, unicorn_abi
from mmu.memory import PAGE_SIZE
from mmu.objectcode import load

_LONGEST_JUMP = 8


class Cuts:
    """Cuts blocks; at most one cut is in the guest's memory, until the piece before it begins."""

    def __init__(self, mmu: Mmu, trap: TrapState) -> None:
        self._mmu, self._trap = mmu, trap
        self._plain = lengths()
        self._library = load("emu.instructions.scan")
        self._look, self._measure = self._library["look_through"].call, self._library["measure"].call

    def instructions(self, code: bytes, length: int) -> int:
        """How many instructions the first so many bytes of some code are."""
        buffer = ctypes.create_string_buffer(code, len(code))
        found: int = self._look(ctypes.addressof(buffer), length, self._plain.address)
        return found

    def cut(self, block: Block, offset: int, skipped: int, begins: int) -> Patch | Steps | None:
        """Have the engine translate the code before this offset, or a jump over the so many bytes that are executed
        here; ``begins`` is the physical address of the cut.  Returns what is to be done before the block is entered.
        """
        room = PAGE_SIZE - begins % PAGE_SIZE
        ends = self._ends(begins, room)
        ends.add(block.size - offset)  # the engine ends a block behind an instruction that it does not know
        jump = next((n for n in range(2, min(room, _LONGEST_JUMP) + 1) if n not in ends), None)
        if jump is None and offset:
            return Steps(block.address + offset)
        block.goes_on = block.address + offset + skipped
        if jump is None:
            block.stops = True
            return None
        block.size = offset + jump
        new = b"\x2e" * (jump - 2) + b"\xeb" + (skipped - jump).to_bytes(1, "little", signed=True)
        return Patch(self._mmu.ram.host + begins, self._mmu.ram.read(begins, jump), new)

    def _ends(self, begins: int, room: int) -> set[int]:
        """Where instructions end, from the first one on."""
        at, ends = 0, set()
        while at < min(room, _LONGEST_JUMP):
            found = self._measure(self._mmu.ram.host + begins + at, room - at, self._plain.address)
            if found == 0:
                break
            at += found & 0xFF
            ends.add(at)
        return ends

    def apply(self, patch: Patch) -> None:
        """Put the jump where it goes, and forget the block, before which the engine has stopped."""
        unicorn_abi.forget_block(self._mmu.uc)
        ctypes.memmove(patch.host, patch.new, len(patch.new))
        trap = self._trap
        trap.patched_at, trap.patched = patch.host, len(patch.new)
        trap.patched_old = int.from_bytes(patch.old, "little")

    def take_back(self) -> None:
        """Put the guest's code back: the piece did not begin."""
        trap = self._trap
        if trap.patched:
            old = trap.patched_old.to_bytes(8, "little")[: trap.patched]
            ctypes.memmove(trap.patched_at, old, trap.patched)
            trap.patched = 0
