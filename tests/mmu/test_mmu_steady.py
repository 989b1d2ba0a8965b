"""How often Unicorn asks for a translation depends on the guest alone, not on the host's clock."""

from __future__ import annotations

import time

import pytest
from unicorn import Uc, x86_const

from mmu import unicorn_abi
from tests.mmu.guest import CODE, CODE_PADDR, Guest

PAGES = 1024
FIRST = 0x1000_0000
#: rdx times: rbx = rsi, rcx = rdi; rcx times: load from rbx, next page.  Then hlt.
SWEEPS = bytes.fromhex("4889f34889f9488b034881c30010000048ffc975f148ffca75e6f4")


def fills_of_a_sweep_after_idle_windows() -> int:
    """Grow Unicorn's cache, let windows of 100 ms end in which it is hardly used, and count the fills of two sweeps."""
    guest = Guest(tlb="off")
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.ram.write(CODE_PADDR, SWEEPS)
    for page in range(PAGES):
        guest.tables.map_page(FIRST + page * 0x1000, 0x20_0000)

    def sweep(pages: int, times: int = 1) -> None:
        for register, value in (("RSI", FIRST), ("RDI", pages), ("RDX", times)):
            guest.uc.reg_write(getattr(x86_const, f"UC_X86_REG_{register}"), value)
        guest.uc.emu_start(CODE, 0)

    for _ in range(4):
        sweep(PAGES)
        guest.mmu.flush()
    for _ in range(3):
        time.sleep(0.11)
        sweep(1)
        guest.mmu.flush()
    before = guest.mmu.counters.fills
    sweep(PAGES, times=2)
    return guest.mmu.counters.fills - before


def test_idle_time_does_not_change_the_number_of_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = fills_of_a_sweep_after_idle_windows()

    def leave(uc: Uc) -> None:
        """Unicorn as it comes."""

    monkeypatch.setattr(unicorn_abi, "steady_tlb", leave)
    shrunk = fills_of_a_sweep_after_idle_windows()
    assert steady < PAGES * 1.2 < shrunk
