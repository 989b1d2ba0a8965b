"""The second dimension once more: the tables are followed as the manual says, and the caches are lists."""

from __future__ import annotations

from collections.abc import Callable

from mmu.nested import NESTED_LEVELS, Nested
from mmu.second_dimension import SecondDimension

READ, WRITE, EXECUTE, LARGE = 1, 2, 4, 1 << 7
ADDRESS = 0xF_FFFF_FFFF_F000


def shift_of(level: int) -> int:
    """How many low bits of an address an entry of this level does not look at."""
    return 12 + 9 * (level - 1)


class SlowNested:
    """``tables`` are those that the native model has walked already, so that every entry is there."""

    def __init__(self, nested: Nested, tables: SecondDimension) -> None:
        self.nested, self.tables = nested, tables
        self.walks = self.loads = self.tlb_hits = self.cycles = 0
        #: By level, 0 for pages: what is cached, the least recently used first.
        self.caches: dict[int, list[int]] = {level: [] for level in (0, 2, 3, 4)}

    def _entries(self, number: int) -> int:
        return self.nested.tlb if number == 0 else self.nested.structure_caches.get(number, 0)

    def _look_up(self, number: int, key: int) -> bool:
        held = self.caches[number]
        if key not in held:
            return False
        held.remove(key)
        held.append(key)
        return True

    def _install(self, number: int, key: int) -> None:
        if self._entries(number):
            held = self.caches[number]
            if len(held) == self._entries(number):
                held.pop(0)
            held.append(key)

    def path(self, gpaddr: int) -> dict[int, int]:
        """By level, where the entry for an address is; the tables map it to itself."""
        found, table = {}, self.tables.record.base
        for level, entry in self.tables.entries(gpaddr).items():
            found[level] = table + 8 * (gpaddr >> shift_of(level) & 511)
            assert entry & (READ | WRITE | EXECUTE) == READ | WRITE | EXECUTE
            last = level == self.nested.page_level
            assert bool(entry & LARGE) == (last and level > 1)
            table = entry & ADDRESS
        assert last and table == gpaddr & ADDRESS & -(1 << shift_of(level))
        return found

    def translate(self, gpaddr: int, load: Callable[[int], int]) -> int:
        """The cycles of the loads."""
        page = self.nested.page_level
        if self.nested.tlb and self._look_up(0, gpaddr >> shift_of(page)):
            self.tlb_hits += 1
            return 0
        self.walks += 1
        first = NESTED_LEVELS
        for level in range(page + 1, NESTED_LEVELS + 1):
            if self._entries(level) and self._look_up(level, gpaddr >> shift_of(level)):
                first = level - 1
                break
        path, cycles = self.path(gpaddr), 0
        for level in range(first, page - 1, -1):
            self.loads += 1
            cycles += load(path[level])
            self._install(0 if level == page else level, gpaddr >> shift_of(level))
        self.cycles += cycles
        return cycles
