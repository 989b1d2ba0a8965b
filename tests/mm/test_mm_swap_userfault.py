"""Pages in swap and userfaultfd: protection stays with them, and UFFDIO_MOVE moves their entries."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from emu.audit import audit
from emu.kernel.sched import StopReason
from emu.linux.errors import LinuxError
from emu.mm.address_space import AddressSpace
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.pagetable import RW, UFFD_WP_BIT
from emu.mm.swapops import SWP_EXCLUSIVE, SWP_UFFD_WP, is_swapped
from emu.mm.uffdmove import move_pages
from emu.mm.uffdwp import uffd_wp_range
from emu.mm.userfault import UserfaultContext
from mmu.registers import Access
from tests.booted import MIB, Booted, MakeMachine

PLACE = 0x2000_0000
SCRIPT = f"@p = mmap {PLACE} 32K RW PRIVATE|MAP_FIXED -1 0; @touch p 16K; @madvise p 16K 21; {{more}} @pause"


@pytest.fixture
def booted(machine: MakeMachine) -> Iterator[Booted]:
    yield machine(16 * MIB, swap=MIB)


def registered(booted: Booted, more: str = "") -> tuple[AddressSpace, UserfaultContext]:
    """A process whose four pages lie in swap, and whose mapping is registered for write protection and moves."""
    booted.guest("calls", SCRIPT.format(more=more))
    assert booted.run(timeout_s=30) == StopReason.IDLE
    mm = booted.tasks[0].mm
    vma, context = mm.vmas.find(PLACE), UserfaultContext(mm, user_mode_only=False)
    assert vma is not None
    vma.uffd, vma.flags = context, vma.flags | VmFlags.UFFD_WP
    return mm, context


def test_protection_stays(booted: Booted) -> None:
    mm, _ = registered(booted)
    vma = mm.vmas.find(PLACE)
    assert vma is not None
    uffd_wp_range(mm, vma, PLACE, PLACE + 0x3000, on=True)
    assert [bool(mm.tables.pte(PLACE + (n << 12)) & SWP_UFFD_WP) for n in range(4)] == [True, True, True, False]
    uffd_wp_range(mm, vma, PLACE + 0x2000, PLACE + 0x3000, on=False)
    assert audit(booted.kernel) == []
    assert mm.handle_fault(PLACE, Access.READ) == FaultResult.MAJOR
    assert mm.tables.pte(PLACE) & (UFFD_WP_BIT | RW) == UFFD_WP_BIT
    assert mm.handle_fault(PLACE + 0x1000, Access.WRITE) == FaultResult.RETRY  # the monitor is to be told
    assert mm.tables.pte(PLACE + 0x1000) & (UFFD_WP_BIT | RW) == UFFD_WP_BIT
    assert mm.handle_fault(PLACE + 0x2000, Access.WRITE) == FaultResult.MAJOR
    assert mm.tables.pte(PLACE + 0x2000) & (UFFD_WP_BIT | RW) == RW
    assert audit(booted.kernel) == []
    vma.uffd, vma.flags = None, vma.flags & ~VmFlags.UFFD_WP
    uffd_wp_range(mm, vma, PLACE, PLACE + 0x4000, on=False)


def test_moves(booted: Booted) -> None:
    mm, context = registered(booted)
    before = mm.tables.pte(PLACE)
    assert is_swapped(before) and before & SWP_EXCLUSIVE
    assert move_pages(mm, context, PLACE + 0x5000, PLACE, 0x1000, holes=False) == 0x1000
    assert (mm.tables.pte(PLACE), mm.tables.pte(PLACE + 0x5000)) == (0, before)
    assert audit(booted.kernel) == []
    assert mm.read(PLACE + 0x5000, 1) == b"\x01"
    vma = mm.vmas.find(PLACE)
    assert vma is not None
    vma.uffd, vma.flags = None, vma.flags & ~VmFlags.UFFD_WP


def test_what_a_child_has_too_does_not_move(booted: Booted) -> None:
    mm, context = registered(booted, "@fork c; @pause; end; @sched_yield;")
    with pytest.raises(LinuxError) as refused:
        move_pages(mm, context, PLACE + 0x5000, PLACE, 0x1000, holes=False)
    assert refused.value.errno == errno.EBUSY
    assert audit(booted.kernel) == []
    vma = mm.vmas.find(PLACE)
    assert vma is not None
    vma.uffd, vma.flags = None, vma.flags & ~VmFlags.UFFD_WP
