"""Wrong use of the library is refused at once, in one line that says what is wrong; addresses print in hexadecimal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from unicorn import UC_ARCH_ARM64, UC_ARCH_X86, UC_HOOK_INTR, UC_MODE_32, UC_MODE_64, UC_MODE_ARM, Uc
from unicorn.x86_const import UC_X86_REG_CS, UC_X86_REG_R11, UC_X86_REG_RCX, UC_X86_REG_RIP

from mmu import Access, GeneralProtection, Mmu, PageFault, PhysicalMemory, Registers, translate, translate_many
from mmu.stale import StaleHit
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, LOAD, Guest

RAM = PhysicalMemory(1 << 20)
HERE = Registers(cr3=0x1000)


def engine() -> Uc:
    return Uc(UC_ARCH_X86, UC_MODE_64)


def mapped_before() -> Uc:
    uc = engine()
    uc.mem_map(0x1000, 0x1000)
    return uc


def with_an_mmu() -> Uc:
    uc = engine()
    Mmu(uc, PhysicalMemory(1 << 20))
    return uc


def mmu() -> Mmu:
    return Mmu(engine(), PhysicalMemory(1 << 20))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an ARM engine": (lambda: Mmu(Uc(UC_ARCH_ARM64, UC_MODE_ARM), RAM), "needs a Uc"),
    "a 32-bit engine": (lambda: Mmu(Uc(UC_ARCH_X86, UC_MODE_32), RAM), "needs a Uc"),
    "no engine": (lambda: Mmu(RAM, engine()), "takes a unicorn.Uc"),  # type: ignore[arg-type]
    "a second Mmu": (lambda: Mmu(with_an_mmu(), RAM), "has an Mmu already"),
    "memory mapped before": (lambda: Mmu(mapped_before(), RAM), "memory at 0x1000 to 0x1fff already"),
    "a seed below 0": (lambda: Mmu(engine(), RAM, tlb="textbook", seed=-1), "seed"),
    "a letter for an access": (lambda: translate(RAM, HERE, 0, "r"), "Access.READ"),  # type: ignore[arg-type]
    "a number for an access": (lambda: translate(RAM, HERE, 0, 3), "Access.READ"),  # type: ignore[arg-type]
    "many, and a letter": (
        lambda: translate_many(RAM, HERE, np.zeros(1, np.uint64), "r"),  # type: ignore[arg-type]
        "Access.READ",
    ),
    "an address below 0": (lambda: translate(RAM, HERE, -1), "64 bits, not -0x1"),
    "an address of 65 bits": (lambda: translate(RAM, HERE, 1 << 64), "64 bits"),
    "many, one below 0": (lambda: translate_many(RAM, HERE, np.array([0, -1])), "64 bits, not -0x1"),
    "an unaligned CR3": (lambda: mmu().load_cr3(0x1234), "CR3 0x1234 is not aligned"),
    "CR3 outside memory": (lambda: mmu().load_cr3(1 << 20), "CR3 0x100000 lies outside"),
    "registers with CR3 outside memory": (lambda: setattr(mmu(), "registers", Registers(cr3=1 << 20)), "lies outside"),
    "CR3 below 0": (lambda: mmu().load_cr3(-0x1000), "CR3 -0x1000"),
    "a register below 0": (lambda: Registers(cr3=-0x1000), "cr3 is a register of 64 bits"),
    "a range below 0": (lambda: mmu().flush_range(0, -1), "not 0x0 and -0x1"),
    "a page below 0": (lambda: mmu().invlpg(-1), "not -0x1000"),
    "a processor below 0": (lambda: mmu().switch_to(-1), "there is no -1"),
    "counters of a processor that is not": (lambda: mmu().counters_of(1), "there is no 1"),
    "a length below 0": (lambda: RAM.read(0x1000, -4), "outside memory"),
    "a word that is not aligned": (lambda: RAM.read_u64(0x1001), "0x1001 is not aligned"),
    "a word to store that is not aligned": (lambda: RAM.write_u64(0x1001, 0), "0x1001 is not aligned"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_use_is_refused_in_one_line(what: str) -> None:
    wrong, said = REFUSED[what]
    with pytest.raises((ValueError, TypeError)) as caught:
        wrong()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_guest_may_load_what_a_processor_takes() -> None:
    """MOV to CR3 ignores bits 11:5 and 2:0 without CR4.PCIDE (SDM vol. 3, 4.5.2)."""
    guest = Guest()
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.ram.write_u64(DATA_PADDR, 9)
    guest.mmu.mov_to_cr3(guest.tables.cr3 | 0xFE7)
    guest.program(LOAD)
    assert guest.run(rbx=DATA) == 9


def test_pcd_and_pwt_are_no_part_of_the_address() -> None:
    made = mmu()
    made.load_cr3(0x1018)
    assert made.registers.cr3 == 0x1018


def test_addresses_print_in_hexadecimal() -> None:
    guest = Guest()
    guest.tables.map_page(DATA, DATA_PADDR)
    found = translate(guest.ram, guest.mmu.registers, DATA + 8)
    assert "vaddr=0x800008, paddr=0x200008, page_size=0x1000, level=1" in repr(found)
    assert repr(found.steps[0]).startswith("WalkStep(level=4, paddr=0x1000, value=0x")
    assert repr(HERE).startswith("Registers(cr3=0x1000, cr0=0x80010001, cr4=0x20, efer=0xd01, cpl=3, ac=False")
    assert repr(PageFault(0x506000, 6)) == "PageFault(0x506000, 0x6)"
    assert repr(GeneralProtection(1 << 63)) == "GeneralProtection(0x8000000000000000)"
    assert repr(GeneralProtection(0x4000, "no")) == "GeneralProtection(0x4000, 'no')"
    hit = StaleHit(0x506000, Access.READ, 0x102000, None, asid=0, cpu=0, clock=10)
    assert "vaddr=0x506000, access=<Access.READ: 0>, cached_paddr=0x102000, fresh_paddr=None, asid=0" in repr(hit)
    assert repr(RAM) == "PhysicalMemory(0x100000)"
    assert repr(guest.mmu) == "<Mmu of PhysicalMemory(0x1000000): filtered, CR3 0x1000, CPL 0>"


def test_lookups_print_in_hexadecimal() -> None:
    guest = Guest(tlb="textbook")
    guest.tables.map_page(DATA, DATA_PADDR)
    assert guest.mmu.tlb is not None
    assert "paddr=0x200000" in repr(guest.mmu.tlb.lookup(DATA, Access.READ))


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_one_call_leads_to_cpl_3(tlb: str) -> None:
    guest = Guest(tlb=tlb)
    guest.tables.map_page(DATA, DATA_PADDR, US=0)
    guest.ram.write(0, b"first frame")
    guest.program(LOAD)
    guest.run(rbx=DATA)
    kept = dict.fromkeys((UC_X86_REG_RCX, UC_X86_REG_R11, UC_X86_REG_RIP), 305419896)
    for register, value in kept.items():
        guest.uc.reg_write(register, value)
    guest.mmu.enter_user_mode()
    assert guest.mmu.registers.cpl == guest.uc.reg_read(UC_X86_REG_CS) & 3 == 3
    assert {register: guest.uc.reg_read(register) for register in kept} == kept
    assert guest.ram.read(0, 11) == b"first frame" and guest.mmu.take_failure() is None
    fault, _ = guest.fails(rbx=DATA)
    assert (fault.vaddr, fault.error_code) == (DATA, 5), "a page of the supervisor's, and user mode asks"


def test_at_cpl_3_the_engine_refuses_privileged_instructions() -> None:
    guest = Guest()
    guest.program("")  # HLT
    seen: list[tuple[int, int]] = []

    def interrupt(uc: Uc, number: int, _data: Any) -> None:
        seen.append((number, guest["rip"]))
        uc.emu_stop()

    guest.uc.hook_add(UC_HOOK_INTR, interrupt)
    guest.mmu.enter_user_mode()
    guest.run()
    assert seen == [(13, CODE)]
    assert guest.ram.read(CODE_PADDR, 1) == b"\xf4"
