"""The access log: each access that the TLB model handles, and what its caches and the tables are told in between.

Native code appends records of three words to a buffer, which is emptied before it is full.  An access is

    its address, RIP, and process << 32 | vCPU << 16 | log2 of the page's size << 8 | kind of access

and a control (:class:`Op`) its operands ``a`` and ``b``, and vCPU << 16 | IS_CONTROL | op.

Before an access come the entries that a walk for it would read and that are not what the log has said of them, and
those that stand with its PTE in a line of 64 bytes, of which models coalesce or prefetch.  What
was said is kept in a memory of its own, where a reader of the log has it too: tables that are made of the log alone.  A
and D are not told where a reader that walks there sets them itself.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

from mmu.entries import ADDRESS, PS, A, D, P
from mmu.native import call1, cold, load64, native, store64
from mmu.registers import CR4, Access
from mmu.state import MmuState, fields


class Op(IntEnum):
    """What a control does; ``a`` and ``b`` are its operands, and the vCPU is the one whose caches it concerns.

    A shootdown is an invalidation on another vCPU than the one that has its turn.
    """

    TURN = 1  # the vCPU has its turn: the accesses that follow are its own
    CR3 = 2  # a: the new CR3 (its bits 11:0 are the PCID), b: address space; what it invalidates follows as a control
    INVLPG = 3  # a: address
    INVPCID = 4  # type 0.  a: address, b: PCID
    INVALIDATE = 5  # a: PCID, b: EVERY_PCID, GLOBALS
    PAGE_FAULT = 6  # what the delivery of a #PF invalidates.  a: address, b: PCID
    ENTRY = 7  # an entry of a page table is not what it was.  a: its physical address, b: the new value
    REGISTER = 8  # a: a Register, b: the new value; on every vCPU


#: Bits of ``b`` of INVALIDATE.
EVERY_PCID, GLOBALS = 1, 2


class Register(IntEnum):
    """The registers, besides CR3, that decide what a walk finds."""

    CR0 = 0
    CR4 = 1
    EFER = 2
    PKRU = 3
    CPL = 4
    MAXPHYADDR = 5


class AccessLog(ctypes.Structure):
    """The buffer.  Every field is a uint64."""

    records: int  # its address
    capacity: int  # in records
    head: int  # how many there are
    told: int  # host address of a memory as large as that of the machine: what the log has said of each entry

    _fields_ = fields(__annotations__)


RECORD_WORDS = 3
RECORD_BYTES = RECORD_WORDS * 8
#: A bit of a record's third word.
IS_CONTROL = 0x80
#: In ``event_mask``: accesses go to the log, so none may take a way on which it does not come.
LOGGED = 1
#: The most records of one fill or hook, and of one access or control.
_HEADROOM, _OF_ONE = 128, 16
_USED = A | D
_LINE_BYTES = 64
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


@native
def log_is_full(state: MmuState) -> bool:
    """Whether the next fill might not find room for its records."""
    if state.access_log == 0:
        return False
    log = AccessLog.from_address(state.access_log)
    return log.head + _HEADROOM > log.capacity


@native
def _append(log: AccessLog, first: int, second: int, third: int) -> None:
    at = log.records + log.head * RECORD_BYTES
    store64(at, first)
    store64(at + 8, second)
    store64(at + 16, third)
    log.head += 1


@native
def _make_room(state: MmuState, log: AccessLog) -> None:
    """Have the log emptied, if it is full to the last: where Python does many things, and no fill comes."""
    if log.head + _OF_ONE > log.capacity:
        call1(state.make_room, 0)


@cold
def note_control(state: MmuState, op: int, a: int, b: int) -> None:
    """Append a control of the vCPU that has the state."""
    log = AccessLog.from_address(state.access_log)
    _make_room(state, log)
    _append(log, a, b, state.cpu << 16 | IS_CONTROL | op)


@native
def _tell(state: MmuState, log: AccessLog, slot: int, entry: int, access: int, leaf: bool) -> None:
    """Say what an entry is, if that is not what was said."""
    said = load64(log.told + slot)
    if entry == said:
        return
    store64(log.told + slot, entry)
    changed = entry ^ said
    if changed | _USED == _USED and changed & said == 0:  # A, D, or both have come
        if changed & D == 0 or (leaf and access == Access.WRITE):
            return
    _append(log, slot, entry, state.cpu << 16 | IS_CONTROL | Op.ENTRY)


@native
def _tell_line(state: MmuState, log: AccessLog, slot: int, access: int) -> None:
    """Say what the entries are that stand with a PTE in its line."""
    at = slot & (_ALL_ONES ^ (_LINE_BYTES - 1))
    end = at + _LINE_BYTES
    while at < end:
        if at != slot:
            _tell(state, log, at, load64(state.ram + at), access, False)
        at += 8


@cold
def note_access(state: MmuState, vaddr: int, access: int) -> None:
    """Append an access, behind the entries of its path that have changed."""
    log = AccessLog.from_address(state.access_log)
    _make_room(state, log)
    level, table, size = 4, state.cr3 & ADDRESS, 0
    if state.cr4 & CR4.LA57 != 0:
        level = 5
    while level != 0:
        shift = 12 + 9 * (level - 1)
        slot = table | (((vaddr >> shift) & 511) << 3)
        if slot >= state.ram_bytes:
            break
        entry = load64(state.ram + slot)
        here = entry & P != 0
        leaf = here and (level == 1 or (level < 4 and entry & PS != 0))
        _tell(state, log, slot, entry, access, leaf)
        if not here:
            break
        if leaf:
            size = shift
            if level == 1:
                _tell_line(state, log, slot, access)
            break
        table = entry & ADDRESS
        level -= 1
    rip = load64(state.engine_rip) if state.engine_rip != 0 else 0
    _append(log, vaddr, rip, state.asid << 32 | state.cpu << 16 | size << 8 | access)
