"""Page faults that are resolved natively, within the TLB fill: first accesses to private memory, and copies on write.

:mod:`emu.kernel.fastfaults` says where that is possible, and afterwards brings the kernel's own objects up to what was
done here.  Whatever is not quite as usual is left to the kernel, with nothing changed.
"""

from __future__ import annotations

import ctypes

from emu.engine.hooks import set_limit
from emu.engine.records import TrapState
from emu.kernel.faststate import FastState
from emu.linux.clock import KTIME_MAX, LOOKS
from emu.linux.cost import Cost
from emu.mm.flags import Resolution
from emu.mm.pageflags import PG_MAYBE_SHARED, PG_SWAPCACHE, FrameKind
from emu.mm.pagetable import ADDRESS, RW, SPECIAL, UFFD_WP_BIT, A, D
from mmu.events import EventKind, commit, next_record, say_resolved
from mmu.faults import ErrorCode
from mmu.memory import PAGE_SIZE
from mmu.native import call3, entry, load8, load32, load64, native, store8, store32, store64
from mmu.registers import Access
from mmu.state import MmuState, Status, clock_of, fields

_FAULT, _PAGE = Cost.FAULT, Cost.PAGE
_READ, _WRITE, _PROTECTED = ErrorCode.US, ErrorCode.US | ErrorCode.WR, ErrorCode.US | ErrorCode.WR | ErrorCode.P
_ANON, _CACHE = FrameKind.ANON, FrameKind.CACHE
_PAGE_SHIFT, _PAGE_MASK = 12, 0xFFFF_FFFF_FFFF_F000
_NOT_SHARED = 0xFF - PG_MAYBE_SHARED
#: So many ranges there may be.
RANGES = 8


class FaultRange(ctypes.Structure):
    """Addresses of private memory where faults need nothing else.  Every field is a uint64."""

    start: int
    end: int
    read: int  # the entry of the zero page, or 0: for the kernel
    write: int  # the entry of a new page but for its frame, or 0
    copy: int  # the same of a copy

    _fields_ = fields(__annotations__)


RANGE_BYTES = ctypes.sizeof(FaultRange)


class FaultState(ctypes.Structure):
    """What the entry point works on.  Every field is a uint64."""

    path: int  # host address of the FastState, which has the clock
    mmu: int  # of the MmuState
    ranges: int  # of FaultRange[]
    number: int  # of these; 0: nothing is answered
    # the frames that are next
    first: int  # the first of so many in a row, or 0
    listed: int  # host address of uint64[]: which they are else
    frames: int  # how many
    zeroing: int  # host address of memset(), or 0: they are zero
    # what has been done
    taken: int  # how many frames have been taken
    zero_pages: int  # and how often the zero page was mapped
    copies: int  # of those taken, how many are copies of private pages
    cached: int  # and of pages of the page cache
    kept: int  # and how many pages were not copied, as nobody else has them
    # where things are
    counts: int  # host address of int32[]: the references of each frame
    kinds: int  # of uint8[]: its use
    flags: int  # of uint8[]: PG_*
    copying: int  # host address of memcpy()
    flush_page: int  # of tlb_flush_page()
    engine_cpu: int  # its first argument
    recorded: int  # whether events are, as the recorder wants them
    idle_ns: int  # the time that is nobody's work, as the clock has it

    _fields_ = fields(__annotations__)


#: What has been done, as a part of the record in words.
DONE = slice(FaultState.taken.offset // 8, FaultState.kept.offset // 8 + 1)  # type: ignore[attr-defined]


@native
def _range_of(faults: FaultState, vaddr: int) -> int:
    """The host address of the range of an address, or 0."""
    at, left = faults.ranges, faults.number
    while left != 0:
        found = FaultRange.from_address(at)
        if found.start <= vaddr and vaddr < found.end:
            return at
        at, left = at + RANGE_BYTES, left - 1
    return 0


@native
def _near(one: int, other: int) -> bool:
    """Whether two addresses may be in the same page, or in neighbouring ones."""
    return one <= other + PAGE_SIZE and other <= one + PAGE_SIZE


@native
def _pays(path: FastState, state: MmuState, cost: int) -> None:
    """The kernel has worked: as :meth:`emu.linux.clock.Clock.charge`."""
    path.system_ns += cost
    if path.system_ns < path.look_at:
        return
    clock, trap = clock_of(state), TrapState.from_address(path.trap)
    now = clock + path.system_ns
    left = path.turn_end - now if path.turn_end > now else 0
    limit = clock + left
    set_limit(trap, limit if limit < trap.limit else trap.limit)
    if limit + 1 < trap.aside:
        trap.aside = limit + 1
    path.look_at = path.system_ns + (left >> LOOKS) + 1 if left != 0 else KTIME_MAX


@native
def _may_pay(path: FastState, cost: int) -> bool:
    """Whether it is known what is left of the turn, or nobody looks yet."""
    return path.turn_end != 0 or path.system_ns + cost < path.look_at


@native
def _next_frame(faults: FaultState, state: MmuState) -> int:
    """The frame that is next, or 0."""
    if faults.taken >= faults.frames:
        return 0
    frame = faults.first + faults.taken if faults.first != 0 else load64(faults.listed + faults.taken * 8)
    return frame if load8(state.has_code + frame) == 0 else 0


@native
def _take(faults: FaultState, state: MmuState, frame: int, slot: int, bits: int) -> None:
    """Map the next frame."""
    store32(faults.counts + frame * 4, 1)
    store8(faults.kinds + frame, _ANON)
    store64(state.ram + slot, (frame << _PAGE_SHIFT) | bits)
    faults.taken += 1


@native
def _map_new_page(faults: FaultState, path: FastState, state: MmuState, slot: int, bits: int) -> Resolution:
    """do_anonymous_page()"""
    frame = _next_frame(faults, state)
    if frame == 0 or bits == 0 or not _may_pay(path, _FAULT + _PAGE):
        return Resolution.UNKNOWN
    if faults.zeroing != 0:
        call3(faults.zeroing, state.ram + (frame << _PAGE_SHIFT), 0, PAGE_SIZE)
    _take(faults, state, frame, slot, bits)
    _pays(path, state, _FAULT + _PAGE)
    return Resolution.DEMAND_ZERO


@native
def _map_zero_page(faults: FaultState, path: FastState, state: MmuState, slot: int, entry: int) -> Resolution:
    if entry == 0 or not _may_pay(path, _FAULT):
        return Resolution.UNKNOWN
    store64(state.ram + slot, entry)
    faults.zero_pages += 1
    _pays(path, state, _FAULT)
    return Resolution.ZERO_PAGE


@native
def _forget(faults: FaultState, state: MmuState, vaddr: int) -> None:
    """As Mmu.flush_range() does with one page."""
    state.flushes += 1
    if state.event_mask != 0:
        next_record(state).length = PAGE_SIZE
        commit(state, EventKind.FLUSH, 0, 0, 0, vaddr & _PAGE_MASK, 0)
    call3(faults.flush_page, faults.engine_cpu, vaddr & _PAGE_MASK, 0)


@native
def _keep(faults: FaultState, path: FastState, state: MmuState, vaddr: int, slot: int, frame: int) -> Resolution:
    """The page is this process's alone (wp_page_reuse)."""
    if not _may_pay(path, _FAULT):
        return Resolution.UNKNOWN
    store64(state.ram + slot, load64(state.ram + slot) | RW | D | A)
    store8(faults.flags + frame, load8(faults.flags + frame) & _NOT_SHARED)
    _forget(faults, state, vaddr)
    faults.kept += 1
    _pays(path, state, _FAULT)
    return Resolution.REUSE


@native
def _write_protected(
    faults: FaultState, path: FastState, state: MmuState, vaddr: int, slot: int, bits: int
) -> Resolution:
    """do_wp_page()"""
    entry = load64(state.ram + slot)
    if bits == 0 or entry & (RW | UFFD_WP_BIT) != 0 or state.large_epoch == state.epoch:
        return Resolution.UNKNOWN
    old = (entry & ADDRESS) >> _PAGE_SHIFT
    kind, count = load8(faults.kinds + old), load32(faults.counts + old * 4)
    if entry & SPECIAL == 0:
        if load8(faults.flags + old) & PG_SWAPCACHE != 0:
            return Resolution.UNKNOWN
        if kind == _ANON and count == 1:
            return _keep(faults, path, state, vaddr, slot, old)
        if count < 2 or (kind != _ANON and kind != _CACHE):
            return Resolution.UNKNOWN
    frame = _next_frame(faults, state)
    if frame == 0 or not _may_pay(path, _FAULT + _PAGE):
        return Resolution.UNKNOWN
    call3(faults.copying, state.ram + (frame << _PAGE_SHIFT), state.ram + (old << _PAGE_SHIFT), PAGE_SIZE)
    _take(faults, state, frame, slot, bits)
    if entry & SPECIAL == 0:
        store32(faults.counts + old * 4, count - 1)
        if kind == _ANON:
            faults.copies += 1
        else:
            faults.cached += 1
    _pays(path, state, _PAGE)
    _forget(faults, state, vaddr)
    _pays(path, state, _FAULT)
    return Resolution.COW


@entry("u64", FaultState, "u64", "u64")
def answer_fault(faults: FaultState, vaddr: int, access: int) -> int:
    """A walk has made a page fault, in a fill: 1 if there is a page now; else nothing has changed."""
    if faults.number == 0:
        return 0
    state, path = MmuState.from_address(faults.mmu), FastState.from_address(faults.path)
    walked, slot, at = state.walked, state.slots[1], _range_of(faults, vaddr)
    if state.status != Status.PAGE_FAULT or walked.level != 1 or at == 0 or _near(vaddr, load64(state.engine_rip)):
        return 0
    found, done = FaultRange.from_address(at), Resolution.UNKNOWN
    if access == Access.WRITE and walked.error_code == _PROTECTED:
        done = _write_protected(faults, path, state, vaddr, slot, found.copy)
    elif load64(state.ram + slot) != 0:
        return 0
    elif access == Access.WRITE and walked.error_code == _WRITE:
        done = _map_new_page(faults, path, state, slot, found.write)
    elif access == Access.READ and walked.error_code == _READ:
        done = _map_zero_page(faults, path, state, slot, found.read)
    if done == Resolution.UNKNOWN:
        return 0
    if faults.recorded != 0:
        say_resolved(state, done)
        state.kernel_ns = path.system_ns + faults.idle_ns
    return 1
