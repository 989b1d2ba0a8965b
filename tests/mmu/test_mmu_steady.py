"""How often Unicorn asks for a translation depends on the guest alone, not on the host's clock."""

from __future__ import annotations

import ctypes
import time

import pytest
from unicorn import Uc, x86_const

from mmu import unicorn_abi
from tests.mmu.exact_guest import ExactGuest, tiny
from tests.mmu.guest import CODE, CODE_PADDR, Guest
from tests.mmu.test_mmu_exact_random import reference_guests

PAGES = 1024
FIRST = 0x1000_0000
#: rdx times: rbx = rsi, rcx = rdi; rcx times: load from rbx, rbx += rbp.  Then hlt.
SWEEPS = bytes.fromhex("4889f34889f9488b034801eb48ffc975f548ffca75eaf4")


def sweep(guest: Guest, first: int, pages: int, stride: int = 0x1000, times: int = 1) -> int:
    """Load from each of these addresses; how many fills that took."""
    before = guest.mmu.counters.fills
    for register, value in (("RSI", first), ("RDI", pages), ("RBP", stride), ("RDX", times)):
        guest.uc.reg_write(getattr(x86_const, f"UC_X86_REG_{register}"), value)
    guest.uc.emu_start(CODE, 0)
    return guest.mmu.counters.fills - before


def age(uc: Uc) -> None:
    """Let every window have begun long ago, as on a host that takes its time."""
    for index in range(unicorn_abi.MMU_INDICES):
        window = unicorn_abi.tlb_windows(uc) + index * unicorn_abi.TLB_WINDOW_STRIDE
        ctypes.c_int64.from_address(window).value = 0


def fills_of_a_sweep_after_idle_windows() -> int:
    """Grow Unicorn's cache, let windows of 100 ms end in which it is hardly used, and count the fills of two sweeps."""
    guest = Guest(tlb="off")
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.ram.write(CODE_PADDR, SWEEPS)
    for page in range(PAGES):
        guest.tables.map_page(FIRST + page * 0x1000, 0x20_0000)
    for _ in range(4):
        sweep(guest, FIRST, PAGES)
        guest.mmu.flush()
    for _ in range(3):
        time.sleep(0.11)
        sweep(guest, FIRST, 1)
        guest.mmu.flush()
    return sweep(guest, FIRST, PAGES, times=2)


def fills_after_small_processes(loads: int, aged: bool) -> int:
    """Grow Unicorn's cache, have small processes take turns, and count the fills of two sweeps."""
    guest = Guest(tlb="off")
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.ram.write(CODE_PADDR, SWEEPS)
    for page in range(PAGES):
        guest.tables.map_page(FIRST + page * 0x1000, 0x20_0000)
    for _ in range(4):
        sweep(guest, FIRST, PAGES)
        guest.mmu.flush()
    for _ in range(loads):
        sweep(guest, FIRST, 1)
        if aged:
            age(guest.uc)
        guest.mmu.load_cr3(guest.tables.cr3)
    return sweep(guest, FIRST, PAGES, times=2)


def test_loads_of_cr3_let_the_cache_shrink() -> None:
    """Otherwise each costs for ever what a large process has needed once: 0.4 ms in place of 2 us."""
    large, small = (fills_after_small_processes(loads, aged=False) for loads in (8, 3 * unicorn_abi.TLB_WINDOW_LOADS))
    assert large < PAGES * 1.2 < small
    assert fills_after_small_processes(3 * unicorn_abi.TLB_WINDOW_LOADS, aged=True) == small


def leave(uc: Uc) -> None:
    """In place of steady_tlb: Unicorn as it comes."""


def test_idle_time_does_not_change_the_number_of_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = fills_of_a_sweep_after_idle_windows()
    monkeypatch.setattr(unicorn_abi, "steady_tlb", leave)
    shrunk = fills_of_a_sweep_after_idle_windows()
    assert steady < PAGES * 1.2 < shrunk


def test_a_slow_host_changes_no_event_of_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why the reference mode once told something else than native code: between two flushes 100 ms had gone by."""
    flush, usual = unicorn_abi.flush_tlb, reference_guests()

    def late(uc: Uc) -> None:
        age(uc)
        flush(uc)

    monkeypatch.setattr(unicorn_abi, "flush_tlb", late)
    assert reference_guests() == usual
    monkeypatch.setattr(unicorn_abi, "steady_tlb", leave)
    assert reference_guests() != usual


def fills_after_a_flush_within_a_fill(steady: bool) -> int:
    """16 pages of a 1G page that all fall into one place of Unicorn's cache are asked for again and again, until their
    list is full and a fill empties the cache, which is hardly used.  Then the fills of two sweeps over 200 pages."""
    guest = ExactGuest(tiny(4))
    guest.mmu.events.enable()
    if not steady:
        guest.mmu.state.engine_windows = 0
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.tables.map_page(1 << 30, 0, level=3, D=1)
    guest.ram.write(CODE_PADDR, SWEEPS)
    age(guest.uc)
    epoch = guest.mmu.state.epoch
    assert sweep(guest, 1 << 30, 16, stride=1 << 20, times=65) > 1024
    assert guest.mmu.state.epoch == epoch + 1
    return sweep(guest, 1 << 30, 200, times=2)


def test_a_flush_within_a_fill_is_as_steady() -> None:
    assert fills_after_a_flush_within_a_fill(steady=True) <= 216 < fills_after_a_flush_within_a_fill(steady=False)
