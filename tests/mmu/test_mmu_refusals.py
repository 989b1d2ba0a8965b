"""Instructions that change paging state: those that a processor refuses with #GP(0), and those that it silently
ignores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mmu import Access, Mmu
from mmu.model import Invpcid
from mmu.registers import CR3_NO_FLUSH, CR4
from tests.mmu.exact_guest import ExactGuest, tiny
from tests.mmu.guest import DATA, DATA_PADDR, OTHER, OTHER_PADDR, Guest

NOT_CANONICAL = 1 << 47


def with_pcids(guest: Guest) -> Guest:
    registers = guest.mmu.registers
    guest.mmu.registers = replace(registers, cr4=registers.cr4 | CR4.PCIDE | CR4.PGE)
    return guest


@pytest.fixture(params=["filtered", "exact"])
def guest(request: pytest.FixtureRequest) -> Guest:
    """Without PCIDs."""
    guest = Guest() if request.param == "filtered" else ExactGuest(tiny(8))
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    return guest


def pcide_with_a_pcid(mmu: Mmu) -> None:
    mmu.load_cr3(0x1018)
    mmu.load_cr4(mmu.registers.cr4 | CR4.PCIDE)


REFUSED: dict[str, tuple[bool, Callable[[Mmu], None], str]] = {
    "INVPCID: a type that does not exist": (True, lambda m: m.invpcid(4), "type 4"),  # type: ignore[arg-type]
    "INVPCID: descriptor bit 12": (True, lambda m: m.invpcid(Invpcid.ALL_INCLUDING_GLOBAL, 1 << 12), "63:12"),
    "INVPCID 0: not canonical": (
        True, lambda m: m.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 1, NOT_CANONICAL), "not canonical",
    ),
    "INVPCID 0: a PCID without CR4.PCIDE": (False, lambda m: m.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 1), "PCIDE"),
    "INVPCID 1: a PCID without CR4.PCIDE": (False, lambda m: m.invpcid(Invpcid.SINGLE_CONTEXT, 1), "PCIDE"),
    "MOV to CR3: bit 63 without CR4.PCIDE": (False, lambda m: m.load_cr3(0x1000 | CR3_NO_FLUSH), "bit 63"),
    "MOV to CR3: above MAXPHYADDR": (True, lambda m: m.load_cr3(0x1000 | 1 << 50), "MAXPHYADDR"),
    "MOV to CR4: PCIDE with a PCID in CR3": (
        False, pcide_with_a_pcid, "CR3",
    ),
    "MOV to CR4: LA57 in IA-32e mode": (True, lambda m: m.load_cr4(m.registers.cr4 ^ CR4.LA57), "LA57"),
    "MOV to CR4: bit 15": (True, lambda m: m.load_cr4(m.registers.cr4 | 1 << 15), "reserved"),
    "MOV to CR4: LAM_SUP, which is not offered": (True, lambda m: m.load_cr4(m.registers.cr4 | 1 << 28), "reserved"),
    "MOV to CR4: bit 63": (True, lambda m: m.load_cr4(m.registers.cr4 | 1 << 63), "reserved"),
    "MOV to CR4: without PAE in IA-32e mode": (True, lambda m: m.load_cr4(m.registers.cr4 & ~CR4.PAE), "PAE"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(guest: Guest, what: str) -> None:
    """The message says #GP and why; nothing has changed."""
    pcids, instruction, why = REFUSED[what]
    if pcids:
        with_pcids(guest)
    cr4 = guest.mmu.registers.cr4
    with pytest.raises(ValueError, match=rf"^#GP\(0\): .*{why}"):
        instruction(guest.mmu)
    assert guest.mmu.registers.cr4 == cr4
    assert guest.mmu.registers.cr3 & ~0xFFF == guest.tables.cr3


def test_accepted(guest: Guest) -> None:
    """Similar instructions that are allowed."""
    mmu = guest.mmu
    mmu.invpcid(Invpcid.SINGLE_CONTEXT, 0)
    mmu.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 0, OTHER)
    mmu.load_cr4(mmu.registers.cr4 | CR4.PCIDE)
    mmu.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 0xFFF, DATA)
    mmu.invpcid(Invpcid.ALL_BUT_GLOBAL, 0, NOT_CANONICAL)  # the address counts for type 0 only
    mmu.load_cr3(guest.tables.cr3 | 0xFFF | CR3_NO_FLUSH)
    assert mmu.registers.cr3 == guest.tables.cr3 | 0xFFF
    mmu.load_cr4(mmu.registers.cr4 | CR4.PGE)  # PCIDE stays: CR3 may hold any PCID


def test_mov_to_cr4_counts_as_the_walk_sees_it(guest: Guest) -> None:
    """SMAP from now on: the page belongs to users."""
    guest.program("488b03")
    guest.run(rbx=DATA)
    guest.mmu.load_cr4(guest.mmu.registers.cr4 | CR4.SMAP)
    fault, access = guest.fails(rbx=DATA)
    assert (fault.vaddr, access, fault.error_code) == (DATA, Access.READ, 1)


# ---- what the model holds afterwards


def held(guest: ExactGuest) -> list[tuple[int, int | None]]:
    return [(entry.vaddr, entry.pcid) for entry in guest.tlb.contents()["L1D"]]


def filled() -> ExactGuest:
    """PCID 0 has DATA, and OTHER as a global page; PCID 1 has DATA."""
    guest = ExactGuest(tiny(8, structures={2: 4, 3: 4}))
    with_pcids(guest)
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.tables.map_page(OTHER, OTHER_PADDR, G=1)
    for vaddr in (DATA, OTHER):
        guest.tlb.access(vaddr, Access.READ)
    guest.mmu.load_cr3(guest.tables.cr3 | 1 | CR3_NO_FLUSH)
    guest.tlb.access(DATA, Access.READ)
    guest.mmu.load_cr3(guest.tables.cr3 | CR3_NO_FLUSH)
    assert sorted(held(guest), key=str) == sorted([(DATA, 0), (OTHER, None), (DATA, 1)], key=str)
    return guest


def test_invlpg_of_an_address_that_is_not_canonical_does_nothing() -> None:
    """Though its low bits are those of a page that is held (SDM vol. 2, INVLPG)."""
    guest = filled()
    before, structures = held(guest), guest.tlb.structure_contents()
    guest.mmu.invlpg(DATA | NOT_CANONICAL)
    guest.mmu.invlpg(DATA | 1 << 63)
    assert held(guest) == before and guest.tlb.structure_contents() == structures


INVALIDATIONS: dict[str, tuple[Callable[[Mmu], None], set[tuple[int, int | None]]]] = {
    "INVLPG of a global page": (lambda m: m.invlpg(OTHER), {(DATA, 0), (DATA, 1)}),
    "INVLPG in this PCID only": (lambda m: m.invlpg(DATA), {(OTHER, None), (DATA, 1)}),
    "INVPCID 0 leaves a global page": (
        lambda m: m.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 0, OTHER), {(DATA, 0), (OTHER, None), (DATA, 1)},
    ),
    "INVPCID 0 in another PCID": (
        lambda m: m.invpcid(Invpcid.INDIVIDUAL_ADDRESS, 1, DATA), {(DATA, 0), (OTHER, None)},
    ),
    "INVPCID 1": (lambda m: m.invpcid(Invpcid.SINGLE_CONTEXT, 1), {(DATA, 0), (OTHER, None)}),
    "INVPCID 2": (lambda m: m.invpcid(Invpcid.ALL_INCLUDING_GLOBAL), set()),
    "INVPCID 3": (lambda m: m.invpcid(Invpcid.ALL_BUT_GLOBAL), {(OTHER, None)}),
    "MOV to CR3": (lambda m: m.load_cr3(m.registers.cr3), {(OTHER, None), (DATA, 1)}),
    "MOV to CR3 with bit 63": (
        lambda m: m.load_cr3(m.registers.cr3 | CR3_NO_FLUSH), {(DATA, 0), (OTHER, None), (DATA, 1)},
    ),
    "MOV to CR4: SMEP set": (lambda m: m.load_cr4(m.registers.cr4 | CR4.SMEP), {(DATA, 1)}),
    "MOV to CR4: SMAP set": (
        lambda m: m.load_cr4(m.registers.cr4 | CR4.SMAP), {(DATA, 0), (OTHER, None), (DATA, 1)},
    ),
    "a range of many pages": (lambda m: m.flush_range(0, 1 << 47), {(DATA, 1)}),
    "MOV to CR4: PGE cleared": (lambda m: m.load_cr4(m.registers.cr4 & ~CR4.PGE), set()),
    "MOV to CR4: PCIDE cleared": (lambda m: m.load_cr4(m.registers.cr4 & ~CR4.PCIDE), set()),
    "MOV to CR4: nothing new": (lambda m: m.load_cr4(m.registers.cr4), {(DATA, 0), (OTHER, None), (DATA, 1)}),
}  # fmt: skip


@pytest.mark.parametrize("what", INVALIDATIONS)
def test_what_is_left_after(what: str) -> None:
    guest = filled()
    instruction, left = INVALIDATIONS[what]
    instruction(guest.mmu)
    assert set(held(guest)) == left
