"""Page faults that are resolved natively, within the TLB fill: first accesses to private memory.

:mod:`emu.kernel.fastfaults` says where that is possible, and afterwards brings the kernel's own objects up to what was
done here.  Whatever is not quite as usual is left to the kernel, with nothing changed.
"""

from __future__ import annotations

import ctypes

from emu.hooks import TrapState, set_limit
from emu.kernel.faststate import FastState
from emu.linux.clock import KTIME_MAX, LOOKS
from emu.linux.cost import Cost
from emu.mm.frames import FrameKind
from mmu.faults import ErrorCode
from mmu.memory import PAGE_SIZE
from mmu.native import call3, entry, load8, load64, native, store8, store32, store64
from mmu.registers import Access
from mmu.state import MmuState, Status, fields

_ZERO_PAGE, _NEW_PAGE = Cost.FAULT, Cost.FAULT + Cost.PAGE
_READ, _WRITE = ErrorCode.US, ErrorCode.US | ErrorCode.WR
_ANON = FrameKind.ANON
#: So many ranges there may be.
RANGES = 8


class FaultRange(ctypes.Structure):
    """Addresses of private memory where the first access to a page needs nothing else.  Every field is a uint64."""

    start: int
    end: int
    read: int  # the entry of the zero page, or 0: for the kernel
    write: int  # the entry of a new page but for its frame, or 0

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
    taken: int  # how many have been taken
    zero_pages: int  # and how often the zero page was mapped
    counts: int  # host address of int32[]: the references of each frame
    kinds: int  # of uint8[]: its use

    _fields_ = fields(__annotations__)


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
    now, trap = state.clock + path.system_ns, TrapState.from_address(path.trap)
    left = path.turn_end - now if path.turn_end > now else 0
    limit = state.clock + left
    set_limit(trap, limit if limit < trap.limit else trap.limit)
    if limit + 1 < trap.aside:
        trap.aside = limit + 1
    path.look_at = path.system_ns + (left >> LOOKS) + 1 if left != 0 else KTIME_MAX


@native
def _may_pay(path: FastState, cost: int) -> bool:
    """Whether it is known what is left of the turn, or nobody looks yet."""
    return path.turn_end != 0 or path.system_ns + cost < path.look_at


@native
def _map_new_page(faults: FaultState, state: MmuState, slot: int, bits: int) -> bool:
    if faults.taken >= faults.frames:
        return False
    frame = faults.first + faults.taken if faults.first != 0 else load64(faults.listed + faults.taken * 8)
    if load8(state.has_code + frame) != 0:
        return False
    if faults.zeroing != 0:
        call3(faults.zeroing, state.ram + frame * PAGE_SIZE, 0, PAGE_SIZE)
    store32(faults.counts + frame * 4, 1)
    store8(faults.kinds + frame, _ANON)
    store64(state.ram + slot, (frame * PAGE_SIZE) | bits)
    faults.taken += 1
    return True


@entry("u64", FaultState, "u64", "u64")
def answer_fault(faults: FaultState, vaddr: int, access: int) -> int:
    """A walk has made a page fault, in a fill: 1 if there is a page now; else nothing has changed."""
    if faults.number == 0:
        return 0
    state, path = MmuState.from_address(faults.mmu), FastState.from_address(faults.path)
    walked, slot, at = state.walked, state.slots[1], _range_of(faults, vaddr)
    if state.status != Status.PAGE_FAULT or walked.level != 1 or at == 0 or load64(state.ram + slot) != 0:
        return 0
    if _near(vaddr, load64(state.engine_rip)):
        return 0
    found = FaultRange.from_address(at)
    if access == Access.WRITE and found.write != 0 and walked.error_code == _WRITE:
        if not _may_pay(path, _NEW_PAGE) or not _map_new_page(faults, state, slot, found.write):
            return 0
        _pays(path, state, _NEW_PAGE)
        return 1
    if access == Access.READ and found.read != 0 and walked.error_code == _READ:
        if not _may_pay(path, _ZERO_PAGE):
            return 0
        store64(state.ram + slot, found.read)
        faults.zero_pages += 1
        _pays(path, state, _ZERO_PAGE)
        return 1
    return 0
