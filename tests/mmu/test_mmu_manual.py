"""Rules of SDM vol. 3, chapter 4, that are easily got wrong, each told by hand: priorities, the order of A and D, and
what one invalidation takes with it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from mmu import CR4, EFER, Access, EventKind, PageFault, PhysicalMemory, Registers, translate
from mmu.entries import is_leaf, page_bytes
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.model import Invpcid
from mmu.registers import CR3_NO_FLUSH, CR4_LONG_MODE, EFER_LONG_MODE
from tests.mmu.exact_guest import ExactGuest, tiny
from tests.mmu.guest import DATA, DATA_PADDR, LOAD, OTHER, OTHER_PADDR, STORE, Guest
from tests.mmu.tables import Tables

READ, WRITE, FETCH = Access
P, RW, US, A, D, RESERVED, XD = 1, 2, 4, 1 << 5, 1 << 6, 1 << 51, 1 << 63
VADDR = 0x7654_3210_FEDC
#: (levels of the tables, level of the leaf entry)
WALKS = [(levels, leaf) for levels in (4, 5) for leaf in (1, 2, 3)]
PAIRS = [(levels, leaf, upper, lower) for levels, leaf in WALKS
         for upper, lower in combinations(range(levels, leaf - 1, -1), 2)]  # fmt: skip


class Tree:
    """One page, and each entry on the way to it."""

    def __init__(self, levels: int, leaf: int) -> None:
        self.ram = PhysicalMemory(1 << 31)
        self.leaf = leaf
        tables = Tables(self.ram, levels=levels)
        tables.map_page(VADDR, 0x4000_0000, leaf)
        self.slots = {level: tables.slot(VADDR, level) for level in range(levels, leaf - 1, -1)}
        cr4 = CR4_LONG_MODE | (CR4.LA57 if levels == 5 else 0)
        self.registers = Registers(cr3=tables.cr3, cr4=cr4)

    def set(self, level: int, bits: int, clear: int = 0) -> None:
        slot = self.slots[level]
        self.ram.write_u64(slot, self.ram.read_u64(slot) & ~clear | bits)

    def entries(self) -> dict[int, int]:
        return {level: self.ram.read_u64(slot) for level, slot in self.slots.items()}

    def error(self, access: Access = READ, **registers: int) -> int | None:
        """The error code; after a fault no entry may have changed."""
        before = self.entries()
        try:
            translate(self.ram, replace(self.registers, **registers), VADDR, access)  # type: ignore[arg-type]
        except PageFault as fault:
            assert self.entries() == before
            return fault.error_code
        return None


# ---- which of two reasons counts


@pytest.mark.parametrize(("levels", "leaf", "upper", "lower"), PAIRS)
def test_the_upper_entry_decides(levels: int, leaf: int, upper: int, lower: int) -> None:
    """P before RSVD within an entry; an upper entry before a lower; and both before rights."""
    tree = Tree(levels, leaf)
    tree.set(upper, RESERVED, clear=P)
    assert tree.error(WRITE) == 0x6, "of an entry that is not present no bit is looked at"
    tree.set(lower, RESERVED)
    assert tree.error(WRITE) == 0x6
    tree.set(upper, P | RESERVED)
    tree.set(lower, 0, clear=P)
    assert tree.error(WRITE) == 0xF
    tree.set(upper, 0, clear=RESERVED | US | RW)
    assert tree.error(WRITE) == 0x6, "what the upper entry forbids is not asked before the page is known"
    tree.set(lower, P)
    assert tree.error(WRITE) == 0xF
    tree.set(lower, 0, clear=RESERVED)
    assert tree.error(WRITE) == 0x7


@pytest.mark.parametrize(("levels", "leaf"), WALKS)
def test_xd_without_nxe_is_a_reserved_bit_of_every_entry(levels: int, leaf: int) -> None:
    """For loads too; and I/D of the error code goes by NXE or SMEP, whatever the entry says."""
    no_nxe, smep = EFER_LONG_MODE & ~EFER.NXE, {"cr4": Tree(levels, leaf).registers.cr4 | CR4.SMEP}
    for level in range(levels, leaf - 1, -1):
        tree = Tree(levels, leaf)
        tree.set(level, XD)
        assert tree.error(FETCH) == 0x15
        for access, code in ((READ, 0xD), (WRITE, 0xF), (FETCH, 0xD)):
            assert tree.error(access, efer=no_nxe) == code
        assert tree.error(FETCH, efer=no_nxe, **smep) == 0x1D
        assert tree.error(READ) is None


@pytest.mark.parametrize(("levels", "leaf"), WALKS)
def test_smap_asks_every_level_whose_page_it_is(levels: int, leaf: int) -> None:
    for level in range(levels, leaf - 1, -1):
        tree = Tree(levels, leaf)
        state = {"cpl": 0, "cr4": tree.registers.cr4 | CR4.SMAP}
        assert tree.error(READ, **state) == 0x1 and tree.error(WRITE, **state) == 0x3
        assert tree.error(FETCH, **state) is None, "SMEP is for that"
        assert tree.error(WRITE, **state, ac=True) is None
        assert tree.error(WRITE, **state, ac=True, implicit=True) == 0x3
        assert tree.error(READ, **state | {"cpl": 3}, ac=True, implicit=True) == 0x1
        tree.set(level, 0, clear=US)
        assert tree.error(WRITE, **state) is None, "a supervisor page"
        assert tree.error(READ, **state | {"cpl": 3}, implicit=True) is None


# ---- A and D


@pytest.mark.parametrize("leaf", [1, 2, 3])
@pytest.mark.parametrize("instruction", [LOAD, STORE])
def test_a_is_set_from_the_top_down_and_d_in_the_leaf_alone(leaf: int, instruction: str) -> None:
    guest = Guest(2 << 30)
    page = 0x4000_0000 if leaf > 1 else DATA_PADDR
    guest.tables.map_page(VADDR & -page_bytes(leaf), page, leaf)
    guest.program(instruction)
    slots = [guest.tables.slot(VADDR, level) for level in range(4, leaf - 1, -1)]
    before = [guest.ram.read_u64(slot) for slot in slots]
    guest.mmu.events.enable(EventKind.ACCESSED_DIRTY)
    guest.run(rbx=VADDR & ~7)
    events = guest.mmu.events.drain()
    expected = [entry | A for entry in before]
    if instruction == STORE:
        expected[-1] |= D
    seen = [(slot, new) for slot, new in events[["paddr", "new"]].tolist() if slot in slots]
    assert seen == list(zip(slots, expected, strict=True)), "one update an entry: A and D of the leaf together"
    assert [guest.ram.read_u64(slot) for slot in slots] == expected


@pytest.mark.parametrize(("levels", "leaf"), WALKS)
def test_only_a_store_that_is_allowed_sets_d(levels: int, leaf: int) -> None:
    tree = Tree(levels, leaf)
    tree.set(levels, 0, clear=RW)
    assert tree.error(WRITE) == 0x7  # and error() has seen that nothing changed
    assert tree.error(READ) is None
    assert all(entry & (A | D) == A for entry in tree.entries().values())
    assert tree.error(WRITE, cpl=0, cr0=tree.registers.cr0 & ~(1 << 16)) is None
    assert {level: entry & D for level, entry in tree.entries().items()} == {
        level: D * (level == leaf) for level in tree.slots
    }


@pytest.fixture(params=["filtered", "exact"])
def engine(request: pytest.FixtureRequest) -> Guest:
    return Guest() if request.param == "filtered" else ExactGuest(tiny(8, level_2=16))


def test_a_store_through_a_clean_translation_walks_the_tables_as_they_are_now(engine: Guest) -> None:
    slot = engine.tables.map_page(DATA, DATA_PADDR)
    engine.program(LOAD)
    engine.run(rbx=DATA)
    assert engine.ram.read_u64(slot) & (A | D) == A
    engine.tables.map_page(DATA, OTHER_PADDR, A=1)
    engine.program(STORE)
    engine.run(rbx=DATA, rax=0x77)
    assert engine.ram.read_u64(slot) & D and engine.ram.read_u64(OTHER_PADDR) == 0x77
    assert engine.ram.read_u64(DATA_PADDR) == 0, "the store found the new frame, not the cached one"


def test_a_store_through_a_clean_translation_of_a_page_that_became_read_only(engine: Guest) -> None:
    slot = engine.tables.map_page(DATA, DATA_PADDR)
    engine.mmu.registers = replace(engine.mmu.registers, cpl=0)
    engine.program(LOAD)
    engine.run(rbx=DATA)
    engine.tables.map_page(DATA, DATA_PADDR, RW=0, A=1)
    engine.program(STORE)
    fault, access = engine.fails(rbx=DATA)
    assert (fault.error_code, access) == (0x3, WRITE)
    assert not engine.ram.read_u64(slot) & D


def test_a_cleared_d_is_set_again_only_after_an_invalidation(engine: Guest) -> None:
    slot = engine.tables.map_page(DATA, DATA_PADDR)
    engine.program(STORE)
    engine.run(rbx=DATA)
    engine.ram.write_u64(slot, engine.ram.read_u64(slot) & ~D)
    engine.run(rbx=DATA)
    assert not engine.ram.read_u64(slot) & D, "the TLB knows the page as dirty"
    engine.mmu.invlpg(DATA)
    engine.run(rbx=DATA)
    assert engine.ram.read_u64(slot) & D


# ---- what an invalidation takes with it


def held(guest: ExactGuest) -> set[tuple[int, int, int | None]]:
    return {(entry.vaddr, entry.page_size, entry.pcid) for entry in guest.tlb.contents()["L1D"]}


def structures(guest: ExactGuest, pcid: int) -> int:
    return sum(key[0] == pcid for keys in guest.tlb.structure_contents().values() for key in keys)


def two_contexts(leaf: int, **fields: int) -> ExactGuest:
    """A large page and a small one, read in PCIDs 0 and 1; PCID 0 is current."""
    guest = ExactGuest(tiny(16, structures={2: 8, 3: 8, 4: 8}), ram_bytes=2 << 30)
    registers = guest.mmu.registers
    guest.mmu.registers = replace(registers, cr4=registers.cr4 | CR4.PCIDE | CR4.PGE)
    guest.tables.map_page(0x80_0000_0000, 0x4000_0000, leaf, **fields)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    for pcid in (1, 0):
        guest.mmu.load_cr3(guest.tables.cr3 | pcid | CR3_NO_FLUSH)
        for vaddr in (0x80_0000_0000, OTHER):
            guest.tlb.access(vaddr, READ)
    return guest


@pytest.mark.parametrize("leaf", [2, 3])
def test_invlpg_of_any_4k_of_a_large_page(leaf: int) -> None:
    """The page goes, in this PCID; so do the structure-cache entries of this PCID, of all addresses."""
    for offset in (0, 0x5000 + 7, page_bytes(leaf) - 1):
        guest = two_contexts(leaf)
        size = page_bytes(leaf)
        before = structures(guest, 1)
        assert before > 0 and structures(guest, 0) > 0
        guest.mmu.invlpg(0x80_0000_0000 + offset)
        assert held(guest) == {(0x80_0000_0000, size, 1), (OTHER, 4096, 0), (OTHER, 4096, 1)}
        assert (structures(guest, 0), structures(guest, 1)) == (0, before)


@pytest.mark.parametrize("leaf", [2, 3])
def test_a_large_global_page(leaf: int) -> None:
    """One translation for all PCIDs: INVPCID of an address leaves it, MOV to CR3 leaves it, INVLPG takes it."""
    guest, size = two_contexts(leaf, G=1), page_bytes(leaf)
    page = (0x80_0000_0000, size, None)
    assert held(guest) == {page, (OTHER, 4096, 0), (OTHER, 4096, 1)}
    guest.mmu.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 0, 0x80_0000_0000)
    guest.mmu.load_cr3(guest.tables.cr3)
    guest.mmu.invpcid(Invpcid.SINGLE_CONTEXT, 1)
    assert held(guest) == {page}
    guest.mmu.invpcid(Invpcid.ALL_BUT_GLOBAL)
    assert held(guest) == {page}
    guest.mmu.invlpg(0x80_0000_0000 + size - 1)
    assert held(guest) == set()


def test_invpcid_of_an_address_takes_the_structures_of_that_address_only() -> None:
    guest = two_contexts(2)
    mine, others = structures(guest, 0), structures(guest, 1)
    guest.mmu.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 0, 0x80_0000_0000)
    assert structures(guest, 1) == others
    assert 0 < structures(guest, 0) < mine
    walks = guest.mmu.counters.walk_loads
    guest.tlb.access(OTHER + 0x1000, READ)
    assert guest.mmu.counters.walk_loads == walks + 1, "the PDE of the other address is still cached"


def test_a_1g_page_is_held_as_the_pieces_that_were_used() -> None:
    """Each 2M piece is a separate entry; INVLPG of any address drops them all, in this PCID."""
    arrays = (Array("L1I", 1, Kinds.FETCH, PageSizes.ALL, 1, 4),
              Array("L1D", 1, Kinds.DATA, PageSizes.K4 | PageSizes.M2, 1, 8))  # fmt: skip
    guest = ExactGuest(Geometry("smashing", arrays, {}, smash_1g=True), ram_bytes=3 << 30)
    guest.tables.map_page(0x80_0000_0000, 0x4000_0000, 3, D=1)
    guest.ram.write_u64(0x4000_0000 + (5 << 21), 55)
    guest.program(LOAD)
    assert guest.run(rbx=0x80_0000_0000 + (5 << 21)) == 55
    guest.run(rbx=0x80_0000_0000)
    assert held(guest) == {(0x80_0000_0000 + (n << 21), 2 << 20, 0) for n in (0, 5)}
    guest.tables.map_page(0x80_0000_0000, 0x8000_0000, 3, D=1)
    assert guest.run(rbx=0x80_0000_0000 + (5 << 21)) == 55, "stale, as on hardware"
    guest.mmu.invlpg(0x80_0000_0000 + (300 << 21) + 0x1234)
    assert held(guest) == set()
    assert guest.run(rbx=0x80_0000_0000 + (5 << 21)) == 0


def test_ps_of_a_pml4e_and_a_pml5e_is_reserved() -> None:
    """There are no pages so large."""
    for levels in (4, 5):
        for level in range(4, levels + 1):
            tree = Tree(levels, 1)
            tree.set(level, 1 << 7)
            assert not is_leaf(level, tree.entries()[level])
            assert tree.error(READ) == 0xD
