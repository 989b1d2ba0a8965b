"""The engine's CR0, CR3 and CR4 and those of the Mmu are the same, whoever writes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unicorn import Uc, UcError
from unicorn.x86_const import UC_X86_REG_CR0, UC_X86_REG_CR3, UC_X86_REG_CR4, UC_X86_REG_RBX, UC_X86_REG_RCX

from mmu import CR0, CR4, Access, EventKind, GeneralProtection
from mmu.registers import CR3_NO_FLUSH, Refused
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, HLT, LOAD, OTHER_PADDR, STORE, Guest
from tests.mmu.tables import Tables

MOV_CR0_RCX, MOV_CR3_RCX, MOV_CR4_RCX, MOV_RCX_CR0 = "0f22c1", "0f22d9", "0f22e1", "0f20c1"
HERE, THERE = 0xAA, 0xBB


class TwoSpaces(Guest):
    """DATA is HERE in the tables that are loaded, and THERE in ``others``."""

    def __init__(self, tlb: str) -> None:
        super().__init__(tlb=tlb)
        self.others = Tables(self.ram, 0x8_0000)
        self.tables.map_page(DATA, DATA_PADDR)
        self.others.map_page(DATA, OTHER_PADDR)
        self.others.map_page(CODE, CODE_PADDR)
        self.ram.write_u64(DATA_PADDR, HERE)
        self.ram.write_u64(OTHER_PADDR, THERE)
        self.program(LOAD)

    def cr3(self) -> int:
        """What both say."""
        assert self.uc.reg_read(UC_X86_REG_CR3) == self.mmu.registers.cr3
        return self.mmu.registers.cr3


@pytest.fixture(params=["off", "textbook"])
def spaces(request: pytest.FixtureRequest) -> TwoSpaces:
    return TwoSpaces(request.param)


def test_cr0_is_that_of_long_mode(spaces: TwoSpaces) -> None:
    assert spaces.uc.reg_read(UC_X86_REG_CR0) & (CR0.PE | CR0.WP | CR0.PG) == CR0.PE | CR0.WP | CR0.PG
    assert spaces.uc.reg_read(UC_X86_REG_CR4) & CR4.PAE


def test_load_cr3_writes_the_engines(spaces: TwoSpaces) -> None:
    assert spaces.cr3() == spaces.tables.cr3
    spaces.mmu.load_cr3(spaces.others.cr3)
    assert spaces.cr3() == spaces.others.cr3


def test_registers_that_are_assigned(spaces: TwoSpaces) -> None:
    spaces.mmu.registers = replace(spaces.mmu.registers, cr3=spaces.others.cr3, cr4=CR4.PAE | CR4.PGE)
    assert spaces.cr3() == spaces.others.cr3 and spaces.uc.reg_read(UC_X86_REG_CR4) & CR4.PGE


def test_a_register_that_a_script_writes(spaces: TwoSpaces) -> None:
    assert spaces.run(rbx=DATA) == HERE
    spaces.uc.reg_write(UC_X86_REG_CR3, spaces.others.cr3)
    assert spaces.cr3() == spaces.others.cr3 and spaces.run(rbx=DATA) == THERE
    spaces.uc.reg_write_batch([(UC_X86_REG_RBX, DATA), (UC_X86_REG_CR3, spaces.tables.cr3)])
    assert spaces.cr3() == spaces.tables.cr3 and spaces.run() == HERE


def test_a_context_that_is_restored(spaces: TwoSpaces) -> None:
    assert spaces.run(rbx=DATA) == HERE
    context = spaces.uc.context_save()
    spaces.mmu.load_cr3(spaces.others.cr3)
    assert spaces.run(rbx=DATA) == THERE
    spaces.uc.context_restore(context)
    assert spaces.cr3() == spaces.tables.cr3 and spaces.run(rbx=DATA) == HERE


def test_a_context_of_another_cpl(spaces: TwoSpaces) -> None:
    kernel = spaces.uc.context_save()
    spaces.mmu.enter_user_mode()
    user = spaces.uc.context_save()
    for context, cpl in ((kernel, 0), (user, 3), (user, 3), (kernel, 0)):
        spaces.uc.context_restore(context)
        assert spaces.mmu.registers.cpl == cpl


@pytest.mark.parametrize("wrong", [0x1234, 1 << 30, CR3_NO_FLUSH | 0x1000])
def test_what_cannot_be_loaded_is_not(spaces: TwoSpaces, wrong: int) -> None:
    with pytest.raises(ValueError, match="CR3"):
        spaces.uc.reg_write(UC_X86_REG_CR3, wrong)
    assert spaces.cr3() == spaces.tables.cr3 and spaces.run(rbx=DATA) == HERE


def test_paging_is_not_switched_off(spaces: TwoSpaces) -> None:
    with pytest.raises(Refused, match=r"CR0\.PG"):
        spaces.uc.reg_write(UC_X86_REG_CR0, CR0.PE)
    assert spaces.uc.reg_read(UC_X86_REG_CR0) & CR0.PG


def guest_runs(spaces: TwoSpaces, code: str, **registers: int) -> None:
    """Code at CPL 0, which nobody was asked to watch."""
    spaces.run(rbx=DATA)
    spaces.ram.write(CODE_PADDR + 0x100, bytes.fromhex(code + HLT))
    spaces.mmu.code_written(CODE_PADDR >> 12)
    spaces.run(CODE + 0x100, rbx=DATA, **registers)


def test_a_guests_mov_to_cr3(spaces: TwoSpaces) -> None:
    guest_runs(spaces, LOAD + MOV_CR3_RCX + LOAD, rcx=spaces.others.cr3)
    assert spaces["rax"] == THERE and spaces.cr3() == spaces.others.cr3


def test_a_guests_mov_to_cr3_that_keeps_translations(spaces: TwoSpaces) -> None:
    """Bit 63 is never in CR3 (SDM vol. 2, MOV to control registers)."""
    spaces.mmu.load_cr4(spaces.mmu.registers.cr4 | CR4.PCIDE)
    guest_runs(spaces, MOV_CR3_RCX + LOAD, rcx=CR3_NO_FLUSH | spaces.others.cr3 | 1)
    assert spaces["rax"] == THERE and spaces.cr3() == spaces.others.cr3 | 1


def test_a_guests_mov_to_cr0(spaces: TwoSpaces) -> None:
    """A kernel clears WP to write its own read-only page, and sets it again."""
    spaces.tables.map_page(DATA, DATA_PADDR, RW=0)
    assert spaces.fails(rbx=DATA, start=write(spaces))[1] == Access.WRITE
    clear_wp = MOV_RCX_CR0 + "4881e1fffffeff" + MOV_CR0_RCX  # and rcx, ~WP
    guest_runs(spaces, clear_wp + STORE)
    assert spaces.ram.read_u64(DATA_PADDR) == spaces["rax"]
    assert not spaces.mmu.registers.cr0 & CR0.WP and not spaces.uc.reg_read(UC_X86_REG_CR0) & CR0.WP
    set_wp = MOV_RCX_CR0 + "4881c900000100" + MOV_CR0_RCX
    guest_runs(spaces, set_wp)
    assert spaces.mmu.registers.cr0 & CR0.WP
    assert spaces.fails(rbx=DATA, start=write(spaces))[1] == Access.WRITE


def write(spaces: TwoSpaces) -> int:
    spaces.ram.write(CODE_PADDR + 0x200, bytes.fromhex(STORE + HLT))
    return CODE + 0x200


@pytest.mark.parametrize(("code", "value", "reason"), [
    (MOV_CR0_RCX, int(CR0.PE), "CR0.PG"), (MOV_CR0_RCX, CR0.PE | CR0.PG | 1 << 29, "CR0.NW"),
    (MOV_CR0_RCX, CR0.PE | CR0.PG | 1 << 32, "31"),
])  # fmt: skip
def test_a_mov_to_cr0_that_a_processor_refuses(spaces: TwoSpaces, code: str, value: int, reason: str) -> None:
    with pytest.raises(UcError):
        guest_runs(spaces, code, rcx=value)
    failure = spaces.mmu.take_failure()
    assert failure is not None and isinstance(failure[0], GeneralProtection) and reason in str(failure[0])


def test_a_guests_mov_to_cr4(spaces: TwoSpaces) -> None:
    guest_runs(spaces, MOV_CR4_RCX, rcx=spaces.uc.reg_read(UC_X86_REG_CR4) | CR4.PGE)
    assert spaces.mmu.registers.cr4 & CR4.PGE


def test_code_that_writes_its_own_mov_is_seen_when_it_ends() -> None:
    """No hook stands where the instruction was written; the engine's register tells."""
    spaces = TwoSpaces("off")
    spaces.tables.map_page(CODE, CODE_PADDR)
    spaces.run(rbx=DATA)
    spaces.mmu.state.on_code = 0  # as for code that was not looked through
    guest_runs(spaces, MOV_CR3_RCX + LOAD, rcx=spaces.others.cr3)
    assert spaces.cr3() == spaces.others.cr3 and spaces.run(rbx=DATA) == THERE


def test_a_handler_that_switches_the_address_space(spaces: TwoSpaces) -> None:
    spaces.tables.unmap(DATA)

    def switch(_fault: object) -> bool:
        spaces.uc.reg_write(UC_X86_REG_CR3, spaces.others.cr3)
        return True

    spaces.mmu.on_page_fault = switch
    assert spaces.run(rbx=DATA) == THERE and spaces.cr3() == spaces.others.cr3


def test_what_is_no_change_is_no_event(spaces: TwoSpaces) -> None:
    spaces.mmu.events.enable(*EventKind)
    context = spaces.uc.context_save()
    before = spaces.mmu.counters
    spaces.uc.context_restore(context)
    spaces.uc.reg_write(UC_X86_REG_CR3, spaces.tables.cr3)
    spaces.uc.reg_write(UC_X86_REG_RCX, 7)
    assert spaces.mmu.counters == before and len(spaces.mmu.events) == 0


def test_each_processor_has_its_cr3() -> None:
    from unicorn import UC_ARCH_X86, UC_MODE_64

    from mmu import Mmu, PhysicalMemory

    mmu = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20), processors=2)
    mmu.load_cr3(0x1000)
    mmu.switch_to(1)
    assert mmu.uc.reg_read(UC_X86_REG_CR3) == 0
    mmu.load_cr3(0x2000)
    mmu.switch_to(0)
    assert mmu.uc.reg_read(UC_X86_REG_CR3) == mmu.registers.cr3 == 0x1000
