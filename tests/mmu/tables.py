"""Page tables for tests."""

from __future__ import annotations

from mmu import PhysicalMemory
from mmu.entries import encode, is_leaf

ADDRESS = 0xF_FFFF_FFFF_F000


class Tables:
    """A top table at ``cr3``, of four levels or five; those below it take the frames that follow, one by one."""

    def __init__(self, ram: PhysicalMemory, cr3: int = 0x1000, levels: int = 4) -> None:
        self.ram = ram
        self.cr3, self.levels = cr3, levels
        self._next_table = cr3 + 0x1000

    def slot(self, vaddr: int, level: int = 1) -> int:
        """The physical address of the entry of this level for ``vaddr``; makes the tables on the way, open to all."""
        table = self.cr3
        for upper in range(self.levels, level, -1):
            slot = table + 8 * (vaddr >> (12 + 9 * (upper - 1)) & 511)
            if not self.ram.read_u64(slot):
                self.ram.write_u64(slot, encode(upper, P=1, RW=1, US=1, ADDRESS=self._next_table))
                self._next_table += 0x1000
            entry = self.ram.read_u64(slot)
            assert not is_leaf(upper, entry), f"{vaddr:#x} lies in a large page"
            table = entry & ADDRESS
        return table + 8 * (vaddr >> (12 + 9 * (level - 1)) & 511)

    def map_page(self, vaddr: int, paddr: int, level: int = 1, **fields: int) -> int:
        """Map a page (RW and US unless ``fields`` say otherwise); returns the physical address of its entry."""
        slot = self.slot(vaddr, level)
        fields = {"P": 1, "RW": 1, "US": 1, "ADDRESS": paddr} | ({"PS": 1} if level > 1 else {}) | fields
        self.ram.write_u64(slot, encode(level, **fields))
        return slot

    def unmap(self, vaddr: int, level: int = 1) -> None:
        """Clear the entry of a page."""
        self.ram.write_u64(self.slot(vaddr, level), 0)
