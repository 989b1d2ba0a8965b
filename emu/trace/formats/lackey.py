"""The accesses of a trace as valgrind's lackey prints them (``--trace-mem=yes``, lackey/lk_main.c).

``I`` has the instruction's first byte only, because its length is not known.  ``M``, for a modify, does not occur: what
reads and writes is one store here.
"""

from __future__ import annotations

from emu.trace.formats.accesses import AccessStream, Instruction
from mmu.registers import Access

_LINES = {Access.READ: " L %08x,%d\n", Access.WRITE: " S %08x,%d\n"}


class Lackey(AccessStream):
    """Writes a line for each instruction, and for each load and store."""

    def instruction(self, one: Instruction) -> None:
        lines = [_LINES[Access(access.kind)] % (access.vaddr, access.size)
                 for access in one.accesses if access.kind != Access.FETCH]  # fmt: skip
        self._pieces.put(f"I  {one.ip:08x},1\n{''.join(lines)}".encode())
