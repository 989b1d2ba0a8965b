"""Random entries on the way to a random address: mostly a page, with all that the format allows, and some errors."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mmu import Access, PageFault, PhysicalMemory, Registers
from mmu.translation import Walker

CR3 = 0x1000
TABLES = {4: CR3, 3: 0x11000, 2: 0x12000, 1: 0x13000}
RAM_BYTES = 4 << 30  # four 1G pages


@dataclass
class Tree:
    """One path in memory; ``entries`` by level."""

    ram: PhysicalMemory
    vaddr: int
    entries: dict[int, int]

    def __post_init__(self) -> None:
        self.slots = {level: TABLES[level] + 8 * (self.vaddr >> (3 + 9 * level) & 511) for level in self.entries}

    def write(self) -> None:
        for level, slot in self.slots.items():
            self.ram.write_u64(slot, self.entries[level])

    def read(self) -> list[int]:
        return [self.ram.read_u64(slot) for slot in self.slots.values()]

    def erase(self) -> None:
        for slot in self.slots.values():
            self.ram.write_u64(slot, 0)

    def translate(self, walker: Walker, registers: Registers, access: Access) -> tuple[str, list[int]]:
        """The physical address and the entries afterwards, or the fault."""
        self.write()
        try:
            paddr = walker.translate(registers, self.vaddr, access).paddr
        except PageFault as fault:
            return f"#PF {fault.error_code:#x}", []
        return f"{paddr:#x}", self.read()


def random_tree(rng: random.Random, ram: PhysicalMemory, maxphyaddr: int) -> Tree:
    """Not below the first PML4E, which is left for tests that need a page of code."""
    vaddr = rng.randrange(1 << 39, 1 << 48)
    if vaddr >> 47:
        vaddr |= 0xFFFF << 48
    leaf = rng.choices((1, 2, 3), (5, 3, 2))[0]
    entries = {}
    for level in (4, 3, 2, 1):
        entry = rng.getrandbits(64) & 0x7FF0_0000_0000_0F78  # PWT PCD A D G AVL PKEY and what is ignored
        for bit, chance in ((0, 0.97), (1, 0.8), (2, 0.8), (63, 0.1)):  # P RW US XD
            entry |= (rng.random() < chance) << bit
        if level > leaf:
            entry |= TABLES[level - 1]
        else:
            page_bytes = 1 << (3 + 9 * level)
            entry |= rng.randrange(RAM_BYTES // page_bytes) * page_bytes
        if level == leaf and level > 1:
            entry |= 1 << 7 | rng.getrandbits(1) << 12  # PS, PAT
        if rng.random() < 0.04:
            entry |= 1 << rng.choice([*range(maxphyaddr, 52), *(range(7, 30) if level == leaf else [7])])
        entries[level] = entry
    return Tree(ram, vaddr, entries)
