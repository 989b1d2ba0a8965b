"""The page walk: IA-32e paging with 4 or 5 levels and 4K, 2M and 1G pages (SDM vol. 3, 4.5 to 4.8).

    63     57 56    48 47    39 38    30 29    21 20    12 11         0
    | sign    | PML5   | PML4   | PDPT   | PD     | PT     | offset     |

Rights are the AND of R/W and U/S, and the OR of XD, over every level; then SMEP, SMAP and the page's protection key may
take some away.  The walk sets A in every entry it used, and D in the leaf on a write, only once the access is known to
be allowed.
"""

from __future__ import annotations

from typing import NamedTuple

from mmu.entries import ADDRESS, PS, RW, US, XD, A, D, P
from mmu.events import EventKind, commit, next_record
from mmu.faults import ErrorCode
from mmu.native import cold, inlined, load64, native, store64
from mmu.registers import CR0, CR4, EFER, Access
from mmu.state import MmuState, Status

# Rights of a translation, as Unicorn names them (UC_PROT_*)
CAN_READ, CAN_WRITE, CAN_EXECUTE = 1, 2, 4
CAN_DATA = CAN_READ | CAN_WRITE

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_USED = P | A


class WalkStart(NamedTuple):
    """The start of a walk: the level of the structure-cache entry that it uses (0: CR3), the level of the first entry
    to read, the table that holds that entry, and AND and OR of the entries above.
    """

    cached: int
    level: int
    table: int
    every: int
    any_xd: int


class PlainWalk(NamedTuple):
    """The result of a plain walk: the PTE, AND and OR of the four entries; an AND of 0 says that the walk was not
    plain.  The entries above are there where it began at CR3.
    """

    pte: int
    every: int
    any_xd: int
    pde: int
    pdpte: int
    pml4e: int


@native
def levels(state: MmuState) -> int:
    """How many levels the tables have."""
    return 5 if state.cr4 & CR4.LA57 != 0 else 4


@inlined
def root(state: MmuState) -> WalkStart:
    """The top of the tables."""
    return WalkStart(0, levels(state), state.cr3 & ADDRESS, RW | US | A, 0)


@inlined
def canonical(state: MmuState, vaddr: int) -> bool:
    """Whether the bits above the linear-address width are all equal to its highest bit."""
    if state.cr4 & CR4.LA57 != 0:
        high = vaddr >> 56
        return high == 0 or high == 0xFF  # compiled: no tuples here
    high = vaddr >> 47
    return high == 0 or high == 0x1FFFF  # compiled: no tuples here


@inlined
def user_mode(state: MmuState) -> bool:
    """Whether data accesses are user-mode accesses (SDM vol. 3, 4.6); fetches are wherever CPL is 3."""
    return state.cpl == 3 and state.implicit == 0


@native
def key_denies(state: MmuState, every: int, leaf: int) -> int:
    """The data rights that the page's protection key takes away (SDM vol. 3, 4.6.2)."""
    shift = ((leaf >> 59) & 15) * 2
    write_protect = state.cr0 & CR0.WP != 0
    if every & US != 0:
        if state.cr4 & CR4.PKE == 0:
            return 0
        bits = state.pkru >> shift
        write_protect = write_protect or user_mode(state)
    else:
        if state.cr4 & CR4.PKS == 0:
            return 0
        bits = state.pkrs >> shift
    if bits & 1 != 0:
        return CAN_DATA
    if bits & 2 != 0 and write_protect:
        return CAN_WRITE
    return 0


@inlined
def data_rights(state: MmuState, every: int) -> int:
    """The rights of the current mode to the page as data, without protection keys (SDM vol. 3, 4.6.1)."""
    user_page = every & US != 0
    writable = every & RW != 0
    if user_mode(state):
        if not user_page:
            return 0
    else:
        if user_page and state.cr4 & CR4.SMAP != 0 and (state.ac == 0 or state.implicit != 0):
            return 0
        writable = writable or state.cr0 & CR0.WP == 0
    return CAN_DATA if writable else CAN_READ


@native
def page_rights(state: MmuState, every: int, any_xd: int) -> int:
    """The rights of the current mode to the page, without protection keys (SDM vol. 3, 4.6.1)."""
    user_page = every & US != 0
    executable = any_xd & XD == 0 or state.efer & EFER.NXE == 0
    if state.cpl == 3:
        executable = executable and user_page
    elif user_page and state.cr4 & CR4.SMEP != 0:
        executable = False
    rights = data_rights(state, every)
    return rights | CAN_EXECUTE if executable else rights


@cold
def fault(state: MmuState, vaddr: int, access: int, level: int, cause: int, top: int) -> int:
    """Compose the error code: ``cause`` is P, RSVD and PK; W/R, U/S and I/D describe the access.

    What was read from level ``top`` down to ``level`` is kept.
    """
    code = cause
    if access == Access.WRITE:
        code |= ErrorCode.WR
    if user_mode(state) or (access == Access.FETCH and state.cpl == 3):
        code |= ErrorCode.US
    if access == Access.FETCH and (state.efer & EFER.NXE != 0 or state.cr4 & CR4.SMEP != 0):
        code |= ErrorCode.ID
    state.status = Status.PAGE_FAULT
    walked = state.walked
    walked.error_code = code
    walked.level = level
    walked.rights = 0
    failed = state.failed
    failed.top = top
    failed.lowest = level
    while top >= level:
        failed.slots[top] = state.slots[top]
        failed.values[top] = load64(state.ram + state.slots[top])
        top -= 1
    state.page_faults += 1
    commit(state, EventKind.WALK, access, level, code, vaddr, 0)
    commit(state, EventKind.FAULT, access, level, code, vaddr, 0)
    return Status.PAGE_FAULT


@cold
def _set_accessed_dirty(state: MmuState, vaddr: int, access: int, first: int, leaf_level: int) -> None:
    """Set A in each entry of the walk and, on a write, D in the leaf (SDM vol. 3, 4.8)."""
    level = first
    while level >= leaf_level:
        slot = state.slots[level]
        old = load64(state.ram + slot)
        new = old | A
        if access == Access.WRITE and level == leaf_level:
            new |= D
        if new != old and state.read_only == 0:
            store64(state.ram + slot, new)
            state.ad_updates += 1
            record = next_record(state)
            record.old = old
            record.new = new
            record.length = 8
            commit(state, EventKind.ACCESSED_DIRTY, access, level, 0, vaddr, slot)
        level -= 1


@native
def walk_from(state: MmuState, vaddr: int, access: int, start: WalkStart) -> int:
    """Walk and check, set A and D; the result is in ``state``.  Returns a Status."""
    ram, ram_bytes = state.ram, state.ram_bytes
    state.walks += 1
    state.status = Status.OK
    state.walked.error_code = 0
    recorded = state.event_mask != 0  # without events nobody reads the record, and the stores cost time
    if recorded:
        for word in range(5):
            next_record(state).entries[word] = 0
    level, table, every, any_xd = start.level, start.table, start.every, start.any_xd
    shift = 12 + 9 * (level - 1)
    while True:
        slot = table | (((vaddr >> shift) & 511) << 3)
        if slot >= ram_bytes:
            state.walk_loads += start.level - level
            state.status = Status.BUS
            return Status.BUS
        entry = load64(ram + slot)
        state.slots[level] = slot
        if recorded:
            next_record(state).entries[level - 1] = entry
        if entry & P == 0:
            state.walk_loads += start.level - level + 1
            return fault(state, vaddr, access, level, 0, start.level)
        leaf = level == 1 or (level < 4 and entry & PS != 0)
        if entry & state.reserved[level * 2 + (1 if leaf else 0)] != 0:
            state.walk_loads += start.level - level + 1
            return fault(state, vaddr, access, level, ErrorCode.P | ErrorCode.RSVD, start.level)
        every &= entry
        any_xd |= entry
        if leaf:
            break
        table = entry & ADDRESS
        level -= 1
        shift -= 9
    state.walk_loads += start.level - level + 1
    rights = page_rights(state, every, any_xd)
    denied = key_denies(state, every, entry)
    wanted = 1 << access
    if denied & wanted != 0:
        return fault(state, vaddr, access, level, ErrorCode.P | ErrorCode.PK, start.level)
    rights &= _ALL_ONES ^ denied
    if rights & wanted == 0:
        return fault(state, vaddr, access, level, ErrorCode.P, start.level)
    if access != Access.WRITE and entry & D == 0:
        rights &= CAN_READ | CAN_EXECUTE  # the first write must come back, to set D
    offset_mask = (1 << shift) - 1
    paddr = (entry & ADDRESS & (_ALL_ONES ^ offset_mask)) | (vaddr & offset_mask)
    walked = state.walked
    walked.paddr = paddr
    walked.level = level
    walked.every = every
    walked.any_xd = any_xd
    walked.leaf = entry
    walked.rights = rights
    if recorded:
        commit(state, EventKind.WALK, access, level, 0, vaddr, paddr)
    if every & A == 0 or (access == Access.WRITE and entry & D == 0):
        _set_accessed_dirty(state, vaddr, access, start.level, level)
    return Status.OK


@inlined
def plain_walk(state: MmuState, vaddr: int) -> PlainWalk:
    """The most frequent walk: four levels to a 4K page, with nothing to set in the tables above the leaf.

    Tests all entries at once; changes nothing if :func:`walk_from` must look more closely.
    """
    ram, ram_bytes = state.ram, state.ram_bytes
    slot = (state.cr3 & ADDRESS) | (((vaddr >> 39) & 511) << 3)
    if slot >= ram_bytes:
        return PlainWalk(0, 0, 0, 0, 0, 0)
    pml4e = load64(ram + slot)
    slot = (pml4e & ADDRESS) | (((vaddr >> 30) & 511) << 3)
    if slot >= ram_bytes:
        return PlainWalk(0, 0, 0, 0, 0, 0)
    pdpte = load64(ram + slot)
    slot = (pdpte & ADDRESS) | (((vaddr >> 21) & 511) << 3)
    if slot >= ram_bytes:
        return PlainWalk(0, 0, 0, 0, 0, 0)
    pde = load64(ram + slot)
    slot = (pde & ADDRESS) | (((vaddr >> 12) & 511) << 3)
    if slot >= ram_bytes:
        return PlainWalk(0, 0, 0, 0, 0, 0)
    pte = load64(ram + slot)
    every = pml4e & pdpte & pde & pte
    tables = pml4e | pdpte | pde
    if every & _USED != _USED or (tables & state.unusual) | (pte & state.reserved[3]) != 0:
        return PlainWalk(0, 0, 0, 0, 0, 0)
    return PlainWalk(pte, every, tables | pte, pde, pdpte, pml4e)


@inlined
def plain_walk_from(state: MmuState, vaddr: int, start: WalkStart) -> PlainWalk:
    """The same from where a walk begins; AND and OR with those of the entries above.  Not for five levels."""
    level, table, every, any_xd = start.level, start.table, start.every, start.any_xd
    shift = 12 + 9 * (level - 1)
    while level > 1:
        slot = table | (((vaddr >> shift) & 511) << 3)
        if slot >= state.ram_bytes:
            return PlainWalk(0, 0, 0, 0, 0, 0)
        entry = load64(state.ram + slot)
        if entry & _USED != _USED or entry & state.unusual != 0:
            return PlainWalk(0, 0, 0, 0, 0, 0)
        every &= entry
        any_xd |= entry
        table = entry & ADDRESS
        level -= 1
        shift -= 9
    slot = table | (((vaddr >> 12) & 511) << 3)
    if slot >= state.ram_bytes:
        return PlainWalk(0, 0, 0, 0, 0, 0)
    pte = load64(state.ram + slot)
    if pte & _USED != _USED or pte & state.reserved[3] != 0:
        return PlainWalk(0, 0, 0, 0, 0, 0)
    return PlainWalk(pte, every & pte, any_xd | pte, 0, 0, 0)


@inlined
def _walk_4k(state: MmuState, vaddr: int, access: int) -> bool:
    """A :func:`plain_walk` that is allowed, and with nothing to set in the leaf either.

    Of the result only paddr, level and rights are stored: every store costs time here.
    """
    found = plain_walk(state, vaddr)
    if found.every == 0:
        return False
    rights = page_rights(state, found.every, found.any_xd) & (_ALL_ONES ^ key_denies(state, found.every, found.pte))
    if found.pte & D == 0:
        rights &= CAN_READ | CAN_EXECUTE
    if rights & (1 << access) == 0:
        return False
    state.walks += 1
    state.walk_loads += 4
    state.status = Status.OK
    walked = state.walked
    walked.paddr = (found.pte & ADDRESS) | (vaddr & 0xFFF)
    walked.level = 1
    walked.rights = rights
    return True


@native
def walk(state: MmuState, vaddr: int, access: int) -> int:
    """Translate ``vaddr`` for ``access`` with the registers in ``state``.

    Returns a :class:`mmu.state.Status`; leaves the result in ``state``: paddr, level and rights, or status and
    error_code (while events are recorded, all that :func:`walk_from` leaves).
    """
    if not canonical(state, vaddr):
        state.walks += 1
        state.status = Status.GENERAL_PROTECTION
        state.walked.error_code = 0
        return Status.GENERAL_PROTECTION
    if state.event_mask == 0 and state.cr4 & CR4.LA57 == 0 and _walk_4k(state, vaddr, access):
        return Status.OK
    return walk_from(state, vaddr, access, root(state))
