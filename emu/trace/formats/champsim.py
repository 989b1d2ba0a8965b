"""The instructions of a trace as ChampSim's 64-byte records (struct input_instr of inc/trace_instruction.h).

ChampSim has one address space and no place for a process's number; registers and branches are not known, and are 0.
"""

from __future__ import annotations

import struct

from emu.trace.formats.accesses import AccessStream, Instruction
from mmu.registers import Access

#: ip; is_branch, branch_taken, 2 destination and 4 source registers; 2 addresses of stores; 4 of loads.
RECORD = struct.Struct("<Q8x2Q4Q")
_STORES, _LOADS = 2, 4


class ChampSim(AccessStream):
    """Writes a record an instruction, and more of the same one where it has more accesses."""

    def instruction(self, one: Instruction) -> None:
        stores = [access.vaddr for access in one.accesses if access.kind == Access.WRITE]
        loads = [access.vaddr for access in one.accesses if access.kind == Access.READ]
        while True:
            some, stores = stores[:_STORES], stores[_STORES:]
            others, loads = loads[:_LOADS], loads[_LOADS:]
            self._pieces.put(RECORD.pack(one.ip, *_filled(some, _STORES), *_filled(others, _LOADS)))
            if not stores and not loads:
                return


def _filled(addresses: list[int], count: int) -> list[int]:
    """ChampSim takes 0 for no access."""
    return addresses + [0] * (count - len(addresses))
