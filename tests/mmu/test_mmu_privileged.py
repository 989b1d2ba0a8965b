"""INVLPG and MOV to CR3, executed by a guest at CPL 0, take effect on the modelled TLB."""

from __future__ import annotations

import pytest

from mmu.privileged import candidates
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, HLT, LOAD, OTHER_PADDR, Guest

INVLPG_RBX = "0f013b"
MOV_CR3_RCX = "0f22d9"
OLD, NEW = 0x1111, 0x2222


def guest_with_a_stale_translation(code: str, *, watched: bool) -> Guest:
    """The page of DATA is in the TLB with its old frame, and the tables say another; ``code`` is what is run next."""
    guest = Guest(tlb="textbook")
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.ram.write_u64(DATA_PADDR, OLD)
    guest.ram.write_u64(OTHER_PADDR, NEW)
    guest.ram.write(CODE_PADDR, bytes.fromhex(LOAD + HLT))
    guest.ram.write(CODE_PADDR + 0x100, bytes.fromhex(code + LOAD + HLT))
    if watched:
        guest.mmu.watch_privileged_instructions()
    guest.run(rbx=DATA)
    guest.tables.map_page(DATA, OTHER_PADDR)
    return guest


def loaded_by(code: str, *, watched: bool = True) -> int:
    guest = guest_with_a_stale_translation(code, watched=watched)
    guest.run(CODE + 0x100, rbx=DATA, rcx=guest.tables.cr3)
    return guest["rax"]


def test_without_an_invalidation_the_old_frame_is_read() -> None:
    assert loaded_by("90") == OLD


def test_invlpg() -> None:
    assert loaded_by(INVLPG_RBX) == NEW


def test_mov_to_cr3() -> None:
    assert loaded_by(MOV_CR3_RCX) == NEW


def test_mov_to_cr3_of_what_a_processor_refuses() -> None:
    guest = guest_with_a_stale_translation(MOV_CR3_RCX, watched=True)
    with pytest.raises(ValueError, match=r"^#GP\(0\): CR3 0x8000000000001000: bit 63 needs CR4.PCIDE"):
        guest.run(CODE + 0x100, rbx=DATA, rcx=1 << 63 | guest.tables.cr3)
    assert guest["rip"] == CODE + 0x100
    assert guest.mmu.registers.cr3 == guest.tables.cr3


def test_they_go_unseen_unless_they_are_watched_for() -> None:
    assert loaded_by(INVLPG_RBX, watched=False) == OLD


def test_candidates_are_the_opcodes_with_their_prefixes() -> None:
    page = bytes.fromhex("90" + "41" + "0f013b" + "90" + "0f22d9" + "90" + "0f22d8" + "0f22e0" + "0f01f8")
    assert sorted(candidates(page)) == [1, 2, 6, 10]
