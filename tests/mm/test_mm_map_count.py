"""vm.max_map_count: refused wherever a call would leave more mappings than that, and nowhere else."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest

from emu.linux.errors import LinuxError
from emu.linux.mman import Advice, MapFlags, Prot
from emu.mm.address_space import AddressSpace
from emu.mm.flags import VmFlags
from emu.mm.madvise import do_madvise
from emu.mm.mlock import do_mlock
from emu.mm.mmap import do_brk, do_mmap, do_munmap
from emu.mm.mprotect import do_mprotect
from emu.mm.mremap import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, do_mremap
from emu.mm.uffdregister import register, unregister
from emu.mm.userfault import UserfaultContext
from emu.syscalls.mempolicy import set_policy
from mmu.memory import PAGE_SIZE
from tests.booted import MIB, Booted, MakeMachine

RW = Prot.READ | Prot.WRITE
BASE = 1 << 41
FIXED = MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.FIXED


Full = Callable[[int], AddressSpace]


@pytest.fixture
def booted(machine: MakeMachine) -> Booted:
    return machine(64 * MIB)


def pages(mm: AddressSpace) -> list[tuple[int, int, Prot]]:
    """Every mapping, in pages from BASE."""
    return [((vma.start - BASE) >> 12, (vma.end - BASE) >> 12, vma.prot) for vma in mm.vmas]


def errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except LinuxError as error:
        return error.errno
    return 0


@pytest.fixture
def full(booted: Booted) -> Iterator[Full]:
    """Makes an address space: pages 0-5 as one mapping, 8 and 10 by themselves, and room for so many mappings more."""
    made = []

    def make(room: int) -> AddressSpace:
        made.append(mm := AddressSpace(booted.kernel.mm_context, "full"))
        for first, number in ((0, 5), (8, 1), (10, 1)):
            do_mmap(mm, BASE + first * PAGE_SIZE, number * PAGE_SIZE, RW, FIXED)
        booted.kernel.mm_context.max_map_count = 3 + room
        return mm

    yield make
    for mm in made:
        mm.put()


def page(number: int) -> int:
    return BASE + number * PAGE_SIZE


@pytest.mark.parametrize("room", [0, 1, 2])
def test_rights_of_a_part(full: Full, room: int) -> None:
    mm = full(room)
    assert errno_of(lambda: do_mprotect(mm, page(1), PAGE_SIZE, Prot.READ)) == (0 if room == 2 else errno.ENOMEM)
    parts = {
        0: [(0, 5, RW)],
        1: [(0, 1, RW), (1, 5, RW)],  # the lower edge was cut before the upper one was refused
        2: [(0, 1, RW), (1, 2, Prot.READ), (2, 5, RW)],
    }
    assert pages(mm)[:-2] == parts[room]


def test_what_only_moves_a_border_needs_no_room(full: Full) -> None:
    mm = full(1)
    do_mprotect(mm, page(0), PAGE_SIZE, Prot.READ)
    do_mprotect(mm, page(1), PAGE_SIZE, Prot.READ)
    do_mprotect(mm, page(0), 5 * PAGE_SIZE, Prot.READ)
    assert pages(mm)[:-2] == [(0, 5, Prot.READ)]


def test_advice_and_locks(full: Full) -> None:
    mm = full(0)
    assert errno_of(lambda: do_madvise(mm, page(0), PAGE_SIZE, Advice.DONTDUMP)) == errno.ENOMEM
    assert errno_of(lambda: do_mlock(mm, page(0), PAGE_SIZE, VmFlags.LOCKED)) == errno.ENOMEM
    do_madvise(mm, page(8), PAGE_SIZE, Advice.DONTDUMP)
    do_madvise(mm, page(0), PAGE_SIZE, Advice.DONTNEED)
    assert len(mm.vmas) == 3


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_policy_of_a_part(full: Full, room: int) -> None:
    mm, bind = full(room), (2, 1)
    assert errno_of(lambda: set_policy(mm, page(1), page(2), bind)) == (0 if room == 2 else errno.ENOMEM)
    assert [vma.policy for vma in mm.vmas][:-2] == [[None], [None, None], [None, bind, None]][room]


def test_a_policy_that_only_moves_a_border(full: Full) -> None:
    mm, bind = full(1), (2, 1)
    for number in range(5):
        set_policy(mm, page(number), page(number + 1), bind)
    assert [vma.policy for vma in mm.vmas] == [bind, None, None]


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_part_that_is_registered_with_a_userfaultfd(full: Full, room: int) -> None:
    mm = full(room)
    context = UserfaultContext(mm, user_mode_only=True)
    missing = VmFlags.UFFD_MISSING
    error = 0 if room == 2 else errno.ENOMEM
    assert errno_of(lambda: register(mm, context, page(1), page(2), missing)) == error
    assert [vma.uffd for vma in mm.vmas][:-2] == [[None], [None, None], [None, context, None]][room]
    register(mm, context, page(8), page(9), missing)
    unregister(mm, context, page(8), page(9))


def test_a_part_that_is_registered_no_more(full: Full) -> None:
    mm = full(1)
    context = UserfaultContext(mm, user_mode_only=True)
    register(mm, context, page(0), page(5), VmFlags.UFFD_MISSING)
    assert errno_of(lambda: unregister(mm, context, page(1), page(2))) == errno.ENOMEM
    assert [vma.uffd for vma in mm.vmas] == [context, context, None, None]
    unregister(mm, context, page(0), page(5))
    assert pages(mm)[:-2] == [(0, 5, RW)]


def test_a_hole_in_the_middle(full: Full) -> None:
    mm = full(0)
    assert errno_of(lambda: do_munmap(mm, page(1), PAGE_SIZE)) == errno.ENOMEM
    assert errno_of(lambda: do_mmap(mm, page(3), PAGE_SIZE, RW, FIXED)) == errno.ENOMEM
    do_munmap(mm, page(0), PAGE_SIZE)
    do_munmap(mm, page(4), PAGE_SIZE)
    assert pages(mm)[:-2] == [(1, 4, RW)]


def test_one_mapping_more_than_the_limit(full: Full) -> None:
    mm = full(0)
    do_mmap(mm, page(12), PAGE_SIZE, RW, FIXED)
    assert errno_of(lambda: do_mmap(mm, page(14), PAGE_SIZE, RW, FIXED)) == errno.ENOMEM
    mm.start_brk = mm.brk_end = page(100)
    assert do_brk(mm, page(101)) == page(100)
    assert len(mm.vmas) == 4


@pytest.mark.parametrize(("room", "error"), [(5, errno.ENOMEM), (6, 0)])
def test_a_move_to_a_given_place(full: Full, room: int, error: int) -> None:
    mm = full(room)
    fixed, kept = MREMAP_FIXED | MREMAP_MAYMOVE, MREMAP_DONTUNMAP | MREMAP_MAYMOVE
    assert errno_of(lambda: do_mremap(mm, page(8), PAGE_SIZE, PAGE_SIZE, fixed, page(20))) == error
    assert errno_of(lambda: do_mremap(mm, page(10), PAGE_SIZE, PAGE_SIZE, kept, 0)) == error


@pytest.mark.parametrize(("room", "error"), [(3, errno.ENOMEM), (4, 0)])
def test_a_move_since_it_grows(full: Full, room: int, error: int) -> None:
    mm = full(room)
    assert errno_of(lambda: do_mremap(mm, page(0), PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE, 0)) == error


def test_the_limit_can_be_written(booted: Booted) -> None:
    lines = booted.calls('@fd = open "/proc/sys/vm/max_map_count" O_RDWR; write fd "10" 2')
    assert lines[0] == "write = 2"
    assert booted.kernel.mm_context.max_map_count == 10
