"""Properties of the walk on random tables, random registers and random accesses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu import CR0, CR4, EFER, Access, BusError, GeneralProtection, PageFault, PhysicalMemory, Registers, Translation
from mmu.entries import memory_type, page_bytes
from mmu.registers import CR0_LONG_MODE, CR4_LONG_MODE, EFER_LONG_MODE, PAT_RESET, Rights
from mmu.state import Status
from mmu.translation import Walker, translate, translate_many
from tests.exhaustive import by_default
from tests.mmu.oracle import Answer, is_canonical, oracle
from tests.mmu.tables import Tables

RAM_BYTES = 4 << 30
CR3 = 0x1000
TABLE = {level: CR3 + 0x1000 * (5 - level) for level in (5, 4, 3, 2, 1)}
TYPES = (0, 1, 4, 5, 6, 7)

flags = st.booleans()
words64 = st.integers(0, 2**64 - 1)


@st.composite
def any_registers(draw: st.DrawFn, levels: int | None = None) -> Registers:
    """Any state that a processor can be in."""
    levels = levels or draw(st.sampled_from((4, 5)))
    cr4 = CR4_LONG_MODE | (CR4.LA57 if levels == 5 else 0)
    for bit in (CR4.PGE, CR4.PCIDE, CR4.SMEP, CR4.SMAP, CR4.PKE, CR4.PKS):
        cr4 |= bit * draw(flags)
    low = draw(st.integers(0, 0xFFF)) if cr4 & CR4.PCIDE else draw(st.sampled_from((0, 0x18)))
    return Registers(
        cr3=TABLE[levels] | low,
        cr0=CR0_LONG_MODE & ~(CR0.WP * draw(flags)),
        cr4=cr4,
        efer=EFER_LONG_MODE & ~(EFER.NXE * draw(flags)),
        cpl=draw(st.integers(0, 3)),
        ac=draw(flags),
        pkru=draw(st.integers(0, 2**32 - 1)),
        pkrs=draw(st.integers(0, 2**32 - 1)),
        maxphyaddr=draw(st.integers(36, 52)),
        pat=sum(draw(st.sampled_from(TYPES)) << 8 * n for n in range(8)),
        pages_1g=draw(flags),
        implicit=draw(flags),
    )


@st.composite
def canonical(draw: st.DrawFn, bits: int) -> int:
    return draw(st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)) & (1 << 64) - 1


@st.composite
def any_path(draw: st.DrawFn, registers: Registers) -> dict[int, int]:
    """An entry for each level, mostly a sound one; levels below a leaf are empty."""
    leaf = draw(st.sampled_from((1, 1, 2, 3)))
    entries = dict.fromkeys(range(1, 6), 0)
    for level in range(registers.levels, leaf - 1, -1):
        entry = draw(words64) & 0x7FF0_0000_0000_0F78 | 7  # what never faults, and P RW US
        entry &= ~draw(st.sampled_from((0, 0, 0, 0, 2, 4, 6, 1)))
        entry |= draw(st.sampled_from((0, 0, 0, 0, 1 << 63)))
        high = 1 << 51 if registers.maxphyaddr < 52 else 0
        entry |= draw(st.sampled_from((0, 0, 0, 0, 0, 0, 0, 1 << 7, 1 << 13, 1 << registers.maxphyaddr, high)))
        if level > leaf:
            entry = entry & ~(1 << 13) | TABLE[level - 1]
        else:
            size = page_bytes(level)
            entry |= draw(st.integers(0, RAM_BYTES // size - 1)) * size | (1 << 7 if level > 1 else 0)
        entries[level] = entry
    return entries


class Memory:
    """One path of tables; each example writes all of it."""

    def __init__(self) -> None:
        self.ram = PhysicalMemory(RAM_BYTES)
        self.walker = Walker(self.ram)

    def slots(self, vaddr: int) -> dict[int, int]:
        return {level: TABLE[level] + 8 * (vaddr >> (3 + 9 * level) & 511) for level in TABLE}

    def ask(self, entries: dict[int, int], vaddr: int, access: Access, registers: Registers) -> Answer | Translation:
        """The translation, or the fault and the entries afterwards."""
        slots = self.slots(vaddr)
        for level, slot in slots.items():
            self.ram.write_u64(slot, entries[level])
        try:
            return self.walker.translate(registers, vaddr, access)
        except PageFault as fault:
            return Answer(fault.error_code, None, {level: self.ram.read_u64(slot) for level, slot in slots.items()})


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory()


@settings(derandomize=True, deadline=None, max_examples=by_default(120, 400))
@given(st.data())
def test_random_trees(memory: Memory, data: st.DataObject) -> None:
    registers = data.draw(any_registers())
    entries = data.draw(any_path(registers))
    vaddr = data.draw(canonical(57 if registers.levels == 5 else 48))
    access = data.draw(st.sampled_from(Access))
    expected = oracle(entries, vaddr, access, registers)
    if expected.paddr is not None and expected.paddr >= RAM_BYTES:
        with pytest.raises(BusError):
            memory.ask(entries, vaddr, access, registers)
        return
    found = memory.ask(entries, vaddr, access, registers)
    after = {level: memory.ram.read_u64(slot) for level, slot in memory.slots(vaddr).items()}
    assert after == expected.entries
    if isinstance(found, Answer):
        assert found == expected
        return
    assert found.paddr == expected.paddr
    assert [step.value for step in found.steps] == [entries[k] for k in range(registers.levels, found.level - 1, -1)]
    check_translation(found, entries, registers)


def check_translation(found: Translation, entries: dict[int, int], registers: Registers) -> None:
    """The parts of a translation besides the address."""
    leaf = entries[found.level]
    assert found.page_size == page_bytes(found.level)
    assert found.is_global == bool(leaf >> 8 & 1 and registers.cr4 & CR4.PGE)
    assert found.key == leaf >> 59 & 15
    assert found.memory_type == memory_type(found.level, leaf, registers.pat)
    allowed = {access for access in Access if oracle(entries, found.vaddr, access, registers).error is None}
    assert found.rights == sum((Rights(1 << access) for access in allowed), Rights(0))


# ---- what was mapped is what is found


@st.composite
def mappings(draw: st.DrawFn, levels: int) -> dict[tuple[int, int], tuple[int, dict[str, int]]]:
    """(page, level) to (physical address, fields), none over another."""
    bits = 57 if levels == 5 else 48
    chosen: dict[tuple[int, int], tuple[int, dict[str, int]]] = {}
    taken: list[range] = []
    near = draw(canonical(bits))
    for _ in range(draw(st.integers(1, 12))):
        level = draw(st.sampled_from((1, 2, 3)))
        size = page_bytes(level)
        vaddr = draw(canonical(bits) | st.integers(-(1 << 22), 1 << 22).map(lambda n: near + n)) & (1 << 64) - 1 & -size
        region = range(vaddr, vaddr + size)
        if not is_canonical(vaddr, bits) or any(r.start < region.stop and region.start < r.stop for r in taken):
            continue
        taken.append(region)
        paddr = draw(st.integers(0, RAM_BYTES // size - 1)) * size
        fields = {name: draw(st.integers(0, 1)) for name in ("RW", "US", "XD", "G", "A", "D", "PWT", "PCD", "PAT")}
        chosen[vaddr, level] = paddr, fields | {"PKEY": draw(st.integers(0, 15))}
    return chosen


def map_all(tables: Tables, pages: dict[tuple[int, int], tuple[int, dict[str, int]]]) -> None:
    for (vaddr, level), (paddr, fields) in pages.items():
        tables.map_page(vaddr, paddr, level, **fields)


@settings(derandomize=True, deadline=None, max_examples=by_default(50, 150))
@given(st.sampled_from((4, 5)), st.data())
def test_translate_after_map(levels: int, data: st.DataObject) -> None:
    pages = data.draw(mappings(levels))
    tables = Tables(PhysicalMemory(RAM_BYTES), 0x8000_0000, levels)  # where no small page number is
    map_all(tables, pages)
    registers = Registers(cr3=tables.cr3, cr4=CR4_LONG_MODE | (CR4.LA57 if levels == 5 else 0), cpl=0)
    for (vaddr, level), (paddr, fields) in pages.items():
        offset = data.draw(st.integers(0, page_bytes(level) - 1))
        found = translate(tables.ram, registers, vaddr + offset)
        assert (found.paddr, found.level, found.page_size) == (paddr + offset, level, page_bytes(level))
        assert found.key == fields["PKEY"]
        assert bool(found.rights & Rights.WRITE) == bool(fields["RW"])
        assert bool(found.rights & Rights.EXECUTE) == (not fields["XD"])
    for vaddr, level in pages:
        tables.unmap(vaddr, level)
        with pytest.raises(PageFault):
            translate(tables.ram, registers, vaddr)


# ---- many at once


def one_by_one(ram: PhysicalMemory, registers: Registers, vaddrs: list[int], access: Access) -> list[tuple[int, ...]]:
    walker = Walker(ram)
    outcomes: list[tuple[int, ...]] = []
    for vaddr in vaddrs:
        try:
            found = walker.translate(registers, vaddr, access)
            outcomes.append((found.paddr, 0, Status.OK, found.level))
        except PageFault as fault:
            outcomes.append((0, fault.error_code, Status.PAGE_FAULT, walker.steps()[-1].level))
        except GeneralProtection:
            outcomes.append((0, 0, Status.GENERAL_PROTECTION, 0))
        except BusError:
            outcomes.append((0, 0, Status.BUS, 0))
    return outcomes


@settings(derandomize=True, deadline=None, max_examples=by_default(25, 60))
@given(st.sampled_from((4, 5)), st.sampled_from(Access), st.data())
def test_translate_many_is_translate(levels: int, access: Access, data: st.DataObject) -> None:
    pages = data.draw(mappings(levels))
    memories = []
    for _ in range(2):
        ram = PhysicalMemory(64 << 20)  # most pages lie outside
        map_all(Tables(ram, 0x100_0000, levels), pages)
        memories.append(ram)
    registers: Any = data.draw(any_registers(levels))
    registers = Registers(**(vars(registers) | dict(cr3=0x100_0000, maxphyaddr=48)))
    anywhere = st.sampled_from(sorted(page for page, _ in pages) or [0]).flatmap(
        lambda page: st.integers(page - 0x3000, page + 0x40_0000).map(lambda vaddr: vaddr & (1 << 64) - 1)
    )
    vaddrs = data.draw(st.lists(anywhere | words64, max_size=30))
    many = translate_many(memories[0], registers, np.array(vaddrs, dtype=np.uint64), access)
    assert many.tolist() == one_by_one(memories[1], registers, vaddrs, access)
    assert memories[0].read(0x100_0000, 0x10_0000) == memories[1].read(0x100_0000, 0x10_0000), "A and D"


def test_the_properties_meet_every_status() -> None:
    ram = PhysicalMemory(64 << 20)
    tables = Tables(ram)
    tables.map_page(0x1000, 0x9000)
    tables.map_page(0x2000, 1 << 30)
    tables.map_page(0x20_0000, 0x20_0000, level=2)
    vaddrs = [0x1008, 0x2000, 0x3000, 1 << 47, 0x20_1234]
    outcomes = translate_many(ram, Registers(cr3=tables.cr3, pat=PAT_RESET), np.array(vaddrs, dtype=np.uint64))
    assert outcomes.tolist() == [
        (0x9008, 0, Status.OK, 1),
        (0, 0, Status.BUS, 0),
        (0, 4, Status.PAGE_FAULT, 1),
        (0, 0, Status.GENERAL_PROTECTION, 0),
        (0x20_1234, 0, Status.OK, 2),
    ]
