"""INVLPG, INVPCID and MOV to CR3 and CR4, executed by a guest at CPL 0, take effect on the modelled TLB."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unicorn.x86_const import UC_X86_REG_CR0, UC_X86_REG_CR4, UC_X86_REG_R11

from mmu import CR4, Access, GeneralProtection, PageFault
from mmu.privileged import candidates
from mmu.registers import CR4_LONG_MODE, EFER, Refused
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, HLT, LOAD, OTHER, OTHER_PADDR, Guest

INVLPG_RBX = "0f013b"
MOV_CR3_RCX = "0f22d9"
INVLPG_R11 = "0f013b"  # behind REX.B
MOV_CR4_RCX, MOV_RCX_CR4 = "0f22e1", "0f20e1"
MOV_RAX_CR3 = "0f20d8"
WRMSR, LMSW_AX, LMSW_RBX = "0f30", "0f01f0", "0f0133"
IA32_EFER = 0xC000_0080
INVPCID_RCX_RBX, INVPCID_RCX_RDX = "660f38820b", "660f38820a"
OLD, NEW = 0x1111, 0x2222
DESCRIPTOR_PADDR = 0x40_0000


def guest_with_a_stale_translation(code: str, *, watched: bool) -> Guest:
    """The page of DATA is in the TLB with its old frame, but the tables map another; ``code`` runs next."""
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


# ---- what is refused


@pytest.mark.parametrize(
    ("code", "registers", "reason"),
    [
        (MOV_CR3_RCX, {"rcx": 1 << 63 | 0x1000}, "bit 63 needs CR4.PCIDE"),
        (MOV_CR3_RCX, {"rcx": 1 << 52 | 0x1000}, "MAXPHYADDR"),
        (MOV_CR4_RCX, {"rcx": CR4_LONG_MODE | CR4.LA57}, "LA57"),
        (MOV_CR4_RCX, {"rcx": 0}, "PAE"),
        (MOV_CR4_RCX, {"rcx": CR4_LONG_MODE | 1 << 31}, "reserved"),
        (INVPCID_RCX_RBX, {"rcx": 4}, "type 4"),
        (INVPCID_RCX_RBX, {"rcx": 0}, "without CR4.PCIDE"),
        (WRMSR, {"rcx": IA32_EFER, "rax": 0x501 | 1 << 20, "rdx": 0}, "reserved"),
        (WRMSR, {"rcx": IA32_EFER, "rax": 0x401, "rdx": 0}, "LME"),
    ],
)
def test_what_a_processor_refuses_is_the_guests_failure(code: str, registers: dict[str, int], reason: str) -> None:
    """#GP(0), as one for an address: no exception of ours; and the guest can go on."""
    guest = guest_with_a_stale_translation(code, watched=True)
    guest.ram.write(DATA_PADDR, (7).to_bytes(8, "little") + bytes(8))  # what the TLB holds: a descriptor of PCID 7
    before = guest.mmu.registers
    failure, access = guest.fails(CODE + 0x100, rbx=DATA, **registers)
    assert isinstance(failure, GeneralProtection) and access == Access.FETCH
    assert failure.vaddr == guest["rip"] == CODE + 0x100
    assert failure.reason is not None and reason in failure.reason and reason in str(failure)
    assert guest.mmu.registers == before
    assert guest.mmu.take_failure() is None
    assert guest.run(CODE, rbx=DATA) == 7


@pytest.mark.parametrize("code", [INVLPG_RBX, MOV_CR3_RCX, MOV_CR4_RCX, INVPCID_RCX_RBX, MOV_RAX_CR3, LMSW_AX])
def test_at_another_cpl_they_are_refused(code: str) -> None:
    guest = guest_with_a_stale_translation(code, watched=True)
    guest.mmu.registers = replace(guest.mmu.registers, cpl=3)
    failure, _ = guest.fails(CODE + 0x100, rbx=DATA, rcx=guest.tables.cr3)
    assert isinstance(failure, GeneralProtection) and "at CPL 3" in str(failure)


def test_what_python_asks_for_is_pythons_to_handle() -> None:
    guest = Guest(tlb="textbook")
    with pytest.raises(Refused, match=r"^#GP\(0\): CR3"):
        guest.mmu.load_cr3(1 << 63)
    assert guest.mmu.take_failure() is None


def test_a_page_fault_of_an_invpcid() -> None:
    guest = guest_with_a_stale_translation(INVPCID_RCX_RBX, watched=True)
    failure, access = guest.fails(CODE + 0x100, rbx=OTHER, rcx=2)
    assert isinstance(failure, PageFault) and (failure.vaddr, failure.error_code, access) == (OTHER, 0, Access.READ)


# ---- INVPCID, CR4, and where code may lie


@pytest.mark.parametrize(("kind", "seen"), [(0, NEW), (1, NEW), (2, NEW), (3, NEW)])
def test_invpcid(kind: int, seen: int) -> None:
    guest = guest_with_a_stale_translation(INVPCID_RCX_RDX, watched=True)
    guest.tables.map_page(OTHER, DESCRIPTOR_PADDR)
    guest.ram.write(DESCRIPTOR_PADDR, bytes(8) + DATA.to_bytes(8, "little"))
    assert guest.run(CODE + 0x100, rbx=DATA, rcx=kind, rdx=OTHER) == seen


def test_invpcid_of_another_address_leaves_it() -> None:
    guest = guest_with_a_stale_translation(INVPCID_RCX_RDX, watched=True)
    guest.tables.map_page(OTHER, DESCRIPTOR_PADDR)
    guest.ram.write(DESCRIPTOR_PADDR, bytes(8) + OTHER.to_bytes(8, "little"))
    assert guest.run(CODE + 0x100, rbx=DATA, rcx=0, rdx=OTHER) == OLD


def test_a_kernel_toggles_pge_as_kernels_do() -> None:
    """mov rcx, cr4; xor rcx, PGE; mov cr4, rcx: it reads what the Mmu has, and everything goes."""
    guest = guest_with_a_stale_translation(MOV_RCX_CR4 + "4881f180000000" + MOV_CR4_RCX, watched=True)
    assert guest.run(CODE + 0x100, rbx=DATA) == NEW
    assert guest.mmu.registers.cr4 == CR4_LONG_MODE | CR4.PGE | guest.uc.reg_read(UC_X86_REG_CR4) & ~CR4.PGE


def test_cr3_is_read_as_it_was_loaded() -> None:
    guest = guest_with_a_stale_translation(MOV_RAX_CR3 + HLT, watched=True)
    assert guest.run(CODE + 0x100) == guest.tables.cr3


def test_code_that_is_reached_by_another_address_is_watched_too() -> None:
    guest = guest_with_a_stale_translation(INVLPG_RBX, watched=True)
    guest.tables.map_page(OTHER, CODE_PADDR)
    assert guest.run(OTHER + 0x100, rbx=DATA) == NEW


@pytest.mark.parametrize("code", ["41" + INVLPG_R11, INVLPG_RBX, INVPCID_RCX_RBX])
def test_an_instruction_that_crosses_pages(code: str) -> None:
    length = len(code) // 2
    for first in range(1, length):
        guest = guest_with_a_stale_translation("90", watched=True)
        guest.tables.map_page(CODE + 0x1000, CODE_PADDR + 0x1000)
        guest.ram.write(CODE_PADDR + 0x1000 - first, bytes.fromhex(code + LOAD + HLT))
        guest.mmu.code_written(CODE_PADDR >> 12)
        guest.uc.reg_write(UC_X86_REG_R11, DATA)
        start = CODE + 0x1000 - first
        if code == INVPCID_RCX_RBX:
            guest.ram.write(DATA_PADDR, bytes(16))
            guest.ram.write_u64(OTHER_PADDR, NEW)
        assert guest.run(start, rbx=DATA, rcx=2) == NEW, first


@pytest.mark.parametrize("code", [INVLPG_RBX, MOV_CR3_RCX])
def test_at_cpl_0_nobody_has_to_ask(code: str) -> None:
    assert loaded_by(code, watched=False) == NEW


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_wrmsr_of_efer(tlb: str) -> None:
    """Without NXE bit 63 of an entry is reserved; LMA is not changed by a write."""
    guest = Guest(tlb=tlb)
    guest.tables.map_page(DATA, DATA_PADDR, XD=1)
    guest.program(WRMSR, LOAD)
    before = guest.mmu.registers
    fault, access = guest.fails(rbx=DATA, rcx=IA32_EFER, rax=EFER.SCE | EFER.LME, rdx=0)
    assert (fault.vaddr, access) == (DATA, Access.READ)
    assert isinstance(fault, PageFault) and fault.error_code & 8
    assert guest.mmu.registers == replace(before, efer=EFER.SCE | EFER.LME | EFER.LMA)


def test_wrmsr_of_another_register_is_the_engines() -> None:
    guest = Guest()
    guest.program(WRMSR)
    before = guest.mmu.registers
    guest.run(rcx=0xC000_0081, rax=0x123, rdx=0)  # IA32_STAR
    engine: Any = guest.uc
    assert engine.msr_read(0xC000_0081) == 0x123 and guest.mmu.registers == before


@pytest.mark.parametrize("code", [LMSW_AX, LMSW_RBX])
def test_lmsw(code: str) -> None:
    """MP, EM and TS; PE cannot be cleared, and no other bit changes."""
    guest = Guest()
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.ram.write(DATA_PADDR, b"\xfa\xff")
    guest.program(code)
    before = guest.mmu.registers
    guest.run(rax=0xFFFA, rbx=DATA)
    assert guest.mmu.registers == replace(before, cr0=before.cr0 | 0xA)
    assert guest.uc.reg_read(UC_X86_REG_CR0) & 0xE == 0xA and guest["rip"] == CODE + 4


def test_candidates_are_the_opcodes_with_their_prefixes() -> None:
    page = bytes.fromhex("90" + "41" + "0f013b" + "90" + "0f22d9" + "90" + "0f22d8" + "0f22e0" + "0f01f8" + "0f22c0")
    assert sorted(set(candidates(page))) == [1, 2, 6, 10, 13, 19]
    assert sorted(candidates(bytes.fromhex("900f30" + "0f0133" + "0f01f0" + "0f013a"))) == [1, 3, 6, 8, 9]
    for tail in ("66", "660f", "660f38", "660f3882", "0f22", "410f01"):
        assert 1 in candidates(bytes.fromhex("90" + tail)), tail
