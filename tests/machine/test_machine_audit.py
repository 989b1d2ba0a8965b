"""The audit's own tests: the books are falsified on purpose, and the audit reports exactly what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from emu.kernel.sched import StopReason
from emu.mm.address_space import AddressSpace
from emu.mm.flags import VmFlags
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import ADDRESS, PROTNONE, RW, UFFD_WP_BIT, US, XD, P
from emu.mm.swapops import GUARD_ENTRY, UFFD_WP_ENTRY, marker, swap_entry
from emu.mm.userfault import UserfaultContext
from tests.booted import Booted, MakeMachine

#: Where the program below has what; the window is at 2 TiB.
PRIVATE, READ_ONLY, SHARED, NO_ACCESS, SECOND = (0x100_0000_0000 + n * 0x10_0000 for n in range(5))
WINDOW = 1 << 41
SCRIPT = f"""
@s = mmap {SHARED} 8K RW ANON|MAP_FIXED -1 0; @store s 1
@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 2G; @create fd 0 8K RW OBJECT
@create fd 1G 4K RW OBJECT
@w = mmap {WINDOW} 2G RW MAP_SHARED|MAP_FIXED fd 0; @store w 1; @store w+1G 1
@fork c; @load w; @store s 2; @pause; end
@p = mmap {PRIVATE} 16K RW PRIVATE|MAP_FIXED -1 0; @store p 1; @load p+4K; @store p+8K 1
@r = mmap {READ_ONLY} 4K RW PRIVATE|MAP_FIXED -1 0; @store r 1; @mprotect r 4K PROT_READ
@n = mmap {NO_ACCESS} 4K RW PRIVATE|MAP_FIXED -1 0; @store n 1; @mprotect n 4K PROT_NONE
@q = mmap {SECOND} 4K RWX PRIVATE|MAP_FIXED -1 0; @store q 1
@pause
"""


class State(NamedTuple):
    """A machine in which two processes sleep, with names for what the corruptions need."""

    booted: Booted
    mm: AddressSpace
    child: AddressSpace
    host: AddressSpace

    def slot(self, address: int, level: int = 1, mm: AddressSpace | None = None) -> int:
        """Where the entry of an address is."""
        slot = (mm or self.mm).tables.entry_slot(address, level)
        assert slot is not None
        return slot

    def frame(self, address: int, level: int = 1, mm: AddressSpace | None = None) -> int:
        """The frame that an entry points at."""
        return (self.booted.ram.qwords[self.slot(address, level, mm)] & ADDRESS) >> 12

    def entry(self, address: int) -> int:
        """The PTE of an address."""
        return int(self.booted.ram.qwords[self.slot(address)])

    def poke(self, slot: int, value: int) -> Callable[[], None]:
        """Write an entry; the result puts it back."""
        words = self.booted.ram.qwords
        old, words[slot] = words[slot], value
        return lambda: words.__setitem__(slot, old)

    def change(self, address: int, clear: int = 0, set_: int = 0) -> Callable[[], None]:
        """Change bits of a PTE."""
        slot = self.slot(address)
        return self.poke(slot, self.booted.ram.qwords[slot] & ~clear | set_)


def asleep(booted: Booted) -> State:
    booted.guest("calls", SCRIPT)
    assert booted.run(timeout_s=30) == StopReason.IDLE
    parent, child = booted.tasks
    (region,) = booted.regions
    return State(booted, parent.mm, child.mm, region.host)


Corruption = Callable[[State], tuple[Callable[[], object], list[str]]]
CORRUPTIONS: dict[str, Corruption] = {}


def corruption(function: Corruption) -> Corruption:
    """Each does its damage and returns how to undo it and what the audit must say."""
    CORRUPTIONS[function.__name__.replace("_", " ")] = function
    return function


@corruption
def a_pte_maps_another_frame(state: State) -> tuple[Callable[[], object], list[str]]:
    was, now = state.frame(PRIVATE), state.frame(SECOND)
    undo = state.change(PRIVATE, ADDRESS, now << 12)
    return undo, [
        f"frame {was:#x} (ANON) has 1 references, and none was found: leaked",
        f"frame {now:#x} (ANON) has 1 references, and 2 were found",
    ]


@corruption
def a_pte_maps_a_table(state: State) -> tuple[Callable[[], object], list[str]]:
    was, table = state.frame(PRIVATE), state.mm.tables.pgd_frame
    undo = state.change(PRIVATE, ADDRESS, table << 12)
    anon = state.mm.rss_anon
    return undo, [
        f"calls: the PTE of {PRIVATE:#x} lets a private mapping write to frame {table:#x}, which others can see",
        f"calls: the PTE of {PRIVATE:#x} maps frame {table:#x}, which is PAGETABLE",
        f"calls accounts for {anon} anonymous and {state.mm.rss_cache} cached pages, and maps {anon - 1} and"
        f" {state.mm.rss_cache}",
        f"frame {was:#x} (ANON) has 1 references, and none was found: leaked",
        f"frame {table:#x} (PAGETABLE) has 1 references, and 2 were found",
    ]


@corruption
def a_pte_maps_what_is_no_memory(state: State) -> tuple[Callable[[], object], list[str]]:
    was, anon, cached = state.frame(PRIVATE), state.mm.rss_anon, state.mm.rss_cache
    undo = state.change(PRIVATE, ADDRESS, 1 << 40)
    return undo, [
        f"calls: the PTE of {PRIVATE:#x} maps {1 << 40:#x}, outside memory",
        f"calls accounts for {anon} anonymous and {cached} cached pages, and maps {anon - 1} and {cached}",
        f"frame {was:#x} (ANON) has 1 references, and none was found: leaked",
    ]


@corruption
def a_pte_without_a_vma(state: State) -> tuple[Callable[[], object], list[str]]:
    vma = state.mm.vmas.find(SECOND)
    assert vma is not None
    commit, promised = state.mm.context.commit, vma.length >> 12
    state.mm.vmas.remove(vma)
    commit.pages -= promised

    def undo() -> None:
        state.mm.vmas.add(vma)
        commit.pages += promised

    return undo, [f"calls: the PTE of {SECOND:#x} is set, but no VMA covers it"]


@corruption
def promises_that_nobody_has(state: State) -> tuple[Callable[[], object], list[str]]:
    commit = state.mm.context.commit
    commit.pages += 7

    def undo() -> None:
        commit.pages -= 7

    return undo, [f"{commit.pages} pages are accounted for as promised, and {commit.pages - 7} are"]


@corruption
def a_writable_pte_in_a_read_only_vma(state: State) -> tuple[Callable[[], object], list[str]]:
    undo = state.change(READ_ONLY, set_=RW)
    return undo, [f"calls: the PTE of {READ_ONLY:#x} allows writes, but its VMA does not"]


@corruption
def an_executable_pte_in_a_vma_without_exec(state: State) -> tuple[Callable[[], object], list[str]]:
    return state.change(PRIVATE, XD), [f"calls: the PTE of {PRIVATE:#x} allows execution, but its VMA does not"]


@corruption
def a_pte_of_the_kernel(state: State) -> tuple[Callable[[], object], list[str]]:
    return state.change(PRIVATE, US), [f"calls: the PTE of {PRIVATE:#x} is not for user mode"]


@corruption
def a_pte_that_lost_its_present_bit(state: State) -> tuple[Callable[[], object], list[str]]:
    text = "is not present although its VMA allows <Prot.READ|WRITE: 3>"
    return state.change(PRIVATE, P, PROTNONE), [f"calls: the PTE of {PRIVATE:#x} {text}"]


@corruption
def a_pte_that_maps_nothing_any_more(state: State) -> tuple[Callable[[], object], list[str]]:
    entry, anon, cached = state.entry(PRIVATE) & ~P, state.mm.rss_anon, state.mm.rss_cache
    return state.change(PRIVATE, P), [
        f"calls: the PTE of {PRIVATE:#x} maps nothing and is no marker: {entry:#x}",
        f"calls accounts for {anon} anonymous and {cached} cached pages, and maps {anon - 1} and {cached}",
        f"frame {state.frame(PRIVATE):#x} (ANON) has 1 references, and none was found: leaked",
    ]


@corruption
def a_marker_that_says_nothing(state: State) -> tuple[Callable[[], object], list[str]]:
    empty = PRIVATE + (3 << 12)
    text = f"maps nothing and is no marker: {marker(8):#x}"
    return state.poke(state.slot(empty), marker(8)), [f"calls: the PTE of {empty:#x} {text}"]


@corruption
def a_marker_of_a_swap_file(state: State) -> tuple[Callable[[], object], list[str]]:
    empty, entry = PRIVATE + (3 << 12), swap_entry(0, 5)
    text = f"maps nothing and is no marker: {entry:#x}"
    return state.poke(state.slot(empty), entry), [f"calls: the PTE of {empty:#x} {text}"]


@corruption
def a_guard_without_a_vma(state: State) -> tuple[Callable[[], object], list[str]]:
    above = PRIVATE + (4 << 12)
    return state.poke(state.slot(above), GUARD_ENTRY), [
        f"calls: the PTE of {above:#x} is a marker, but no VMA covers it"
    ]


@corruption
def a_guard_that_fork_would_lose(state: State) -> tuple[Callable[[], object], list[str]]:
    vma, empty = state.mm.vmas.find(SHARED), SHARED + (1 << 12)
    assert vma is not None and vma.anon_vma is None
    return state.poke(state.slot(empty), GUARD_ENTRY), [
        f"calls: the PTE of {empty:#x} is a guard, but fork would not copy it"
    ]


@corruption
def a_guard_where_none_can_be(state: State) -> tuple[Callable[[], object], list[str]]:
    vma, empty = state.mm.vmas.find(PRIVATE), PRIVATE + (3 << 12)
    assert vma is not None
    flags, vma.flags = vma.flags, vma.flags | VmFlags.DONTEXPAND
    unset = state.poke(state.slot(empty), GUARD_ENTRY)

    def undo() -> None:
        unset()
        vma.flags = flags

    return undo, [f"calls: the PTE of {empty:#x} is a guard, which its VMA cannot have"]


@corruption
def a_protection_that_nobody_asked_for(state: State) -> tuple[Callable[[], object], list[str]]:
    text = "is write-protected by a userfaultfd, but its VMA is not registered"
    return state.change(READ_ONLY, set_=UFFD_WP_BIT), [f"calls: the PTE of {READ_ONLY:#x} {text}"]


@corruption
def a_protected_pte_that_allows_writes(state: State) -> tuple[Callable[[], object], list[str]]:
    vma, context = state.mm.vmas.find(PRIVATE), UserfaultContext(state.mm, user_mode_only=False)
    assert vma is not None
    vma.uffd, vma.flags = context, vma.flags | VmFlags.UFFD_WP
    unset = state.change(PRIVATE, set_=UFFD_WP_BIT)

    def undo() -> None:
        unset()
        vma.uffd, vma.flags = None, vma.flags & ~VmFlags.UFFD_WP

    return undo, [f"calls: the PTE of {PRIVATE:#x} is write-protected by a userfaultfd, but allows writes"]


@corruption
def a_protected_place_that_nobody_asked_for(state: State) -> tuple[Callable[[], object], list[str]]:
    empty = PRIVATE + (3 << 12)
    text = "is write-protected by a userfaultfd, with which its VMA is not registered"
    return state.poke(state.slot(empty), UFFD_WP_ENTRY), [f"calls: the PTE of {empty:#x} {text}"]


@corruption
def a_vma_registered_with_nothing(state: State) -> tuple[Callable[[], object], list[str]]:
    vma = state.mm.vmas.find(PRIVATE)
    assert vma is not None
    flags, vma.flags = vma.flags, vma.flags | VmFlags.UFFD_MISSING
    return lambda: setattr(vma, "flags", flags), [
        f"calls: the VMA at {PRIVATE:#x} says both that it is registered with a userfaultfd and that it is not"
    ]


@corruption
def a_vma_registered_with_anothers_userfaultfd(state: State) -> tuple[Callable[[], object], list[str]]:
    vma, context = state.mm.vmas.find(PRIVATE), UserfaultContext(state.child, user_mode_only=False)
    assert vma is not None
    vma.uffd, vma.flags = context, vma.flags | VmFlags.UFFD_MISSING

    def undo() -> None:
        vma.uffd, vma.flags = None, vma.flags & ~VmFlags.UFFD_MISSING

    return undo, [f"calls: the VMA at {PRIVATE:#x} is registered with a userfaultfd that is not its own"]


@corruption
def a_present_pte_under_prot_none(state: State) -> tuple[Callable[[], object], list[str]]:
    return state.change(NO_ACCESS, PROTNONE, P), [
        f"calls: the PTE of {NO_ACCESS:#x} is present although its VMA allows nothing",
    ]


@corruption
def a_pte_that_is_present_and_prot_none(state: State) -> tuple[Callable[[], object], list[str]]:
    return state.change(PRIVATE, 0, PROTNONE), [
        f"calls: the PTE of {PRIVATE:#x} says both that it is present and that nothing is allowed",
    ]


@corruption
def a_writable_zero_page(state: State) -> tuple[Callable[[], object], list[str]]:
    return state.change(PRIVATE + 0x1000, set_=RW), [
        f"calls: the PTE of {PRIVATE + 0x1000:#x} maps the zero page writable",
    ]


@corruption
def a_special_pte_that_maps_a_counted_page(state: State) -> tuple[Callable[[], object], list[str]]:
    zero = state.booted.kernel.frames.zero_frame
    frame, anon, cached = state.frame(READ_ONLY), state.mm.rss_anon, state.mm.rss_cache
    assert frame != zero
    return state.change(READ_ONLY, set_=1 << 9), [
        f"calls: the PTE of {READ_ONLY:#x} is special, but does not map the zero page",
        f"calls accounts for {anon} anonymous and {cached} cached pages, and maps {anon - 1} and {cached}",
        f"frame {frame:#x} (ANON) has 1 references, and none was found: leaked",
    ]


@corruption
def a_shared_mapping_that_shows_another_page(state: State) -> tuple[Callable[[], object], list[str]]:
    was, now = state.frame(SHARED), state.frame(WINDOW)
    return state.change(SHARED, ADDRESS, now << 12), [
        f"calls: the PTE of {SHARED:#x} maps frame {now:#x}, but the file has another page there",
        f"frame {was:#x} (CACHE) has 3 references, and 2 were found",
        f"frame {now:#x} (CACHE) has 2 references, and 3 were found",
    ]


@corruption
def a_private_mapping_that_writes_to_a_page_of_two(state: State) -> tuple[Callable[[], object], list[str]]:
    frame = state.frame(PRIVATE)
    state.booted.kernel.frames.get(frame)
    return lambda: state.booted.kernel.frames.put(frame), [
        f"calls: the PTE of {PRIVATE:#x} lets a private mapping write to frame {frame:#x}, which others can see",
        f"frame {frame:#x} (ANON) has 2 references, and 1 were found",
    ]


@corruption
def a_leaked_frame(state: State) -> tuple[Callable[[], object], list[str]]:
    frame = state.booted.kernel.frames.alloc(FrameKind.ANON)
    return lambda: state.booted.kernel.frames.put(frame), [
        f"frame {frame:#x} (ANON) has 1 references, and none was found: leaked",
    ]


@corruption
def a_leaked_table(state: State) -> tuple[Callable[[], object], list[str]]:
    frames = state.booted.kernel.frames
    before = frames.used[FrameKind.PAGETABLE]
    frame = frames.alloc(FrameKind.PAGETABLE)
    return lambda: frames.put(frame), [
        f"{(before + 1) * 4096} bytes of page tables are accounted for, and {before * 4096} are reachable",
        f"frame {frame:#x} (PAGETABLE) has 1 references, and none was found: leaked",
    ]


@corruption
def a_link_that_was_cleared(state: State) -> tuple[Callable[[], object], list[str]]:
    table, host = state.frame(WINDOW, 3), state.booted.ram.qwords[state.slot(1 << 39, 3, state.host)]
    return state.poke(state.slot(WINDOW, 3), 0), [
        f"calls: the link at {WINDOW:#x} is 0x0, the entry of host mm of a is {host:#x},"
        f" and table {table << 12:#x} was linked",
        f"table {table << 12:#x} is linked 1 times and its share count is 2",
    ]


@corruption
def a_link_to_the_table_of_another_slot(state: State) -> tuple[Callable[[], object], list[str]]:
    words, second = state.booted.ram.qwords, WINDOW + (1 << 30)
    entry, host = words[state.slot(second, 3)], words[state.slot(1 << 39, 3, state.host)]
    table, other = state.frame(WINDOW, 3), state.frame(second, 3)
    return state.poke(state.slot(WINDOW, 3), entry), [
        f"calls: the link at {WINDOW:#x} is {entry:#x}, the entry of host mm of a is {host:#x},"
        f" and table {table << 12:#x} was linked",
        f"table {table << 12:#x} is linked 1 times and its share count is 2",
        f"table {other << 12:#x} is linked 2 times and its share count is 1",
    ]


@corruption
def a_link_with_other_rights(state: State) -> tuple[Callable[[], object], list[str]]:
    slot, host = state.slot(WINDOW, 3), state.booted.ram.qwords[state.slot(1 << 39, 3, state.host)]
    entry, table = state.booted.ram.qwords[slot] & ~RW, state.frame(WINDOW, 3)
    return state.poke(slot, entry), [
        f"calls: the link at {WINDOW:#x} is {entry:#x}, the entry of host mm of a is {host:#x},"
        f" and table {table << 12:#x} was linked",
    ]


@corruption
def a_share_count_that_is_one_too_high(state: State) -> tuple[Callable[[], object], list[str]]:
    table, counts = state.frame(WINDOW, 3), state.booted.kernel.share_counts
    counts.inc(table)
    return lambda: counts.dec(table), [f"table {table << 12:#x} is linked 2 times and its share count is 3"]


@corruption
def a_share_count_that_is_one_too_low(state: State) -> tuple[Callable[[], object], list[str]]:
    table, counts = state.frame(WINDOW, 3), state.booted.kernel.share_counts
    counts.dec(table)
    return lambda: counts.inc(table), [f"table {table << 12:#x} is linked 2 times and its share count is 1"]


@corruption
def a_freed_table_that_is_still_linked(state: State) -> tuple[Callable[[], object], list[str]]:
    frames, table = state.booted.kernel.frames, state.frame(WINDOW, 3)
    tables = frames.used[FrameKind.PAGETABLE]
    frames.put(table)

    def undo() -> None:
        words = [state.booted.ram.qwords[(table << 9) + n] for n in range(512)]
        assert frames.alloc(FrameKind.PAGETABLE) == table
        for n, word in enumerate(words):
            state.booted.ram.qwords[(table << 9) + n] = word

    return undo, [
        f"table {table << 12:#x} of host mm of a is FREE with 0 references",
        f"{(tables - 1) * 4096} bytes of page tables are accounted for, and {tables * 4096} are reachable",
        f"frame {table:#x} (FREE) has 0 references, and 1 were found",
    ]


@corruption
def a_link_outside_any_window(state: State) -> tuple[Callable[[], object], list[str]]:
    entry, table = state.booted.ram.qwords[state.slot(WINDOW, 3)], state.frame(WINDOW, 3)
    at = WINDOW + (5 << 30)
    return state.poke(state.slot(at, 3), entry), [
        f"calls (pud entry for {at:#x}) points at table {table << 12:#x}, which host mm of a owns already",
    ]


@corruption
def a_table_entry_that_points_nowhere(state: State) -> tuple[Callable[[], object], list[str]]:
    return state.poke(state.slot(7 << 39, 4), 1 << 45 | 7), [
        f"calls (pgd entry for {7 << 39:#x}) points at {1 << 45:#x}, outside memory",
    ]


@corruption
def a_wrong_number_of_resident_pages(state: State) -> tuple[Callable[[], object], list[str]]:
    anon, cached = state.child.rss_anon, state.child.rss_cache
    state.child.rss_anon += 1
    return lambda: setattr(state.child, "rss_anon", anon), [
        f"calls accounts for {anon + 1} anonymous and {cached} cached pages, and maps {anon} and {cached}",
    ]


@corruption
def a_wrong_number_of_tables(state: State) -> tuple[Callable[[], object], list[str]]:
    tables = state.host.tables.tables
    tables[1] -= 1
    return lambda: tables.__setitem__(1, 2), ["host mm of a accounts for 1 pte tables and has 2"]


@corruption
def a_wrong_number_of_bytes(state: State) -> tuple[Callable[[], object], list[str]]:
    used = state.booted.kernel.frames.used
    tables = used[FrameKind.PAGETABLE]
    used[FrameKind.PAGETABLE] += 2
    return lambda: used.__setitem__(FrameKind.PAGETABLE, tables), [
        f"{(tables + 2) * 4096} bytes of page tables are accounted for, and {tables * 4096} are reachable",
        f"{tables + 2} frames are accounted for as PAGETABLE, and {tables} are",
    ]


@corruption
def a_flush_that_nobody_made(state: State) -> tuple[Callable[[], object], list[str]]:
    obligation = state.mm.obligation(PRIVATE, PRIVATE + 0x1000)
    return obligation.flush, ["1 changes of page tables were neither flushed nor declared to need no flush"]


@corruption
def an_object_that_does_not_know_its_mapping(state: State) -> tuple[Callable[[], object], list[str]]:
    vma = state.mm.vmas.find(SHARED)
    assert vma is not None and vma.page_cache is not None
    mappings = vma.page_cache.mappings
    del mappings[vma]
    return lambda: mappings.__setitem__(vma, state.mm), [
        f"calls maps an object at {SHARED:#x} that does not list the mapping",
    ]


@corruption
def a_mapping_whose_address_space_has_died(state: State) -> tuple[Callable[[], object], list[str]]:
    context = state.mm.context
    dead = AddressSpace(context, "dead")
    vma = state.mm.vmas.find(SHARED)
    assert vma is not None and vma.page_cache is not None
    mappings, copy = vma.page_cache.mappings, vma.copy(vma.start, vma.end)
    dead.put()
    mappings[copy] = dead
    return lambda: mappings.pop(copy), [
        f"an object is mapped at {SHARED:#x} of dead, an address space that has died",
    ]


@corruption
def a_mapping_that_its_address_space_does_not_know(state: State) -> tuple[Callable[[], object], list[str]]:
    vma = state.mm.vmas.find(SHARED)
    assert vma is not None and vma.page_cache is not None
    mappings, copy = vma.page_cache.mappings, vma.copy(vma.start, vma.end)
    mappings[copy] = state.mm
    return lambda: mappings.pop(copy), [
        f"an object is mapped at {SHARED:#x} of calls, which does not know of it",
    ]


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    """One machine for all: each corruption is undone, and in the end nothing is left of them."""
    made = asleep(Booted())
    yield made
    assert made.booted.close() == []


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_audit_says_what_is_wrong(state: State, name: str) -> None:
    assert state.booted.audit() == []
    undo, expected = CORRUPTIONS[name](state)
    try:
        found = state.booted.audit()
    finally:
        undo()
    assert sorted(found) == sorted(expected)
    assert state.booted.audit() == []


def test_a_long_list_of_findings_is_cut(machine: MakeMachine) -> None:
    booted = machine()
    frames = [booted.kernel.frames.alloc(FrameKind.ANON) for _ in range(1000)]
    found = booted.audit()
    for frame in frames:
        booted.kernel.frames.put(frame)
    assert len(found) == 100 and all("leaked" in finding for finding in found)
