"""The page walk: IA-32e paging with 4 or 5 levels and 4K, 2M and 1G pages (SDM vol. 3, 4.5 to 4.8).

    63     57 56    48 47    39 38    30 29    21 20    12 11         0
    | sign    | PML5   | PML4   | PDPT   | PD     | PT     | offset     |

Rights are the AND of R/W and U/S, and the OR of XD, over every level; then SMEP, SMAP and the page's protection key may
take some away.  The walk sets A in every entry it used, and D in the leaf on a write, only once the access is known to
be allowed.
"""

from __future__ import annotations

from mmu.entries import ADDRESS, PS, RW, US, XD, A, D, P
from mmu.events import KIND_AD, KIND_FAULT, KIND_WALK, commit, next_record, words
from mmu.native import U, cold, inlined, load64, native, store64
from mmu.registers import CR0, CR4, EFER, Access
from mmu.state import MmuState, Status

_OK, _PAGE_FAULT, _GP, _BUS = (U(s) for s in (Status.OK, Status.PAGE_FAULT, Status.GENERAL_PROTECTION, Status.BUS))
_READ, _WRITE, _FETCH = (U(a) for a in (Access.READ, Access.WRITE, Access.FETCH))
_WP, _NXE, _LA57 = U(CR0.WP), U(EFER.NXE), U(CR4.LA57)
_SMEP, _SMAP, _PKE, _PKS = U(CR4.SMEP), U(CR4.SMAP), U(CR4.PKE), U(CR4.PKS)

# The page-fault error code (SDM vol. 3, 4.7)
PF_P, PF_WR, PF_US, PF_RSVD, PF_ID, PF_PK = U(1), U(2), U(4), U(8), U(16), U(32)

# Rights of a translation, as Unicorn names them (UC_PROT_*)
CAN_READ, CAN_WRITE, CAN_EXECUTE = U(1), U(2), U(4)
CAN_DATA = CAN_READ | CAN_WRITE

_ZERO, _ONE, _TWO, _THREE, _FOUR, _FIVE = U(0), U(1), U(2), U(3), U(4), U(5)
_EIGHT, _NINE, _TWELVE = U(8), U(9), U(12)
_INDEX = U(511)
_ALL_ONES = U(0xFFFF_FFFF_FFFF_FFFF)
_LOW_16_OF_48, _LOW_7_OF_57 = U(0x1FFFF), U(0xFF)
_KEY_SHIFT, _KEY = U(59), U(15)
_ENTRIES = U(64)  # byte offset of the entry of level 1 in an event record
EVERY_START = RW | US | A
_USED = P | A
_SHIFT_4, _SHIFT_3, _SHIFT_2 = U(39), U(30), U(21)
_OFFSET = U(0xFFF)


@native
def levels(state: MmuState) -> int:
    """How many levels the tables have."""
    return _FIVE if state.cr4 & _LA57 != _ZERO else _FOUR


@inlined
def canonical(state: MmuState, vaddr: int) -> bool:
    """Whether the bits above the linear-address width are all equal to its highest bit."""
    if state.cr4 & _LA57 != _ZERO:
        high = vaddr >> U(56)
        return high == _ZERO or high == _LOW_7_OF_57  # compiled: no tuples here
    high = vaddr >> U(47)
    return high == _ZERO or high == _LOW_16_OF_48  # compiled: no tuples here


@inlined
def user_mode(state: MmuState) -> bool:
    """Whether data accesses are user-mode accesses (SDM vol. 3, 4.6); fetches are wherever CPL is 3."""
    return state.cpl == _THREE and state.implicit == _ZERO


@native
def key_denies(state: MmuState, every: int, leaf: int) -> int:
    """The data rights that the page's protection key takes away (SDM vol. 3, 4.6.2)."""
    shift = ((leaf >> _KEY_SHIFT) & _KEY) * _TWO
    write_protect = state.cr0 & _WP != _ZERO
    if every & US != _ZERO:
        if state.cr4 & _PKE == _ZERO:
            return _ZERO
        bits = state.pkru >> shift
        write_protect = write_protect or user_mode(state)
    else:
        if state.cr4 & _PKS == _ZERO:
            return _ZERO
        bits = state.pkrs >> shift
    if bits & _ONE != _ZERO:
        return CAN_DATA
    if bits & _TWO != _ZERO and write_protect:
        return CAN_WRITE
    return _ZERO


@inlined
def data_rights(state: MmuState, every: int) -> int:
    """What the current mode may do with the page as data, protection keys apart (SDM vol. 3, 4.6.1)."""
    user_page = every & US != _ZERO
    writable = every & RW != _ZERO
    if user_mode(state):
        if not user_page:
            return _ZERO
    else:
        if user_page and state.cr4 & _SMAP != _ZERO and (state.ac == _ZERO or state.implicit != _ZERO):
            return _ZERO
        writable = writable or state.cr0 & _WP == _ZERO
    return CAN_DATA if writable else CAN_READ


@native
def page_rights(state: MmuState, every: int, any_xd: int) -> int:
    """What the current mode may do with the page, protection keys apart (SDM vol. 3, 4.6.1)."""
    user_page = every & US != _ZERO
    executable = any_xd & XD == _ZERO or state.efer & _NXE == _ZERO
    if state.cpl == _THREE:
        executable = executable and user_page
    elif user_page and state.cr4 & _SMEP != _ZERO:
        executable = False
    rights = data_rights(state, every)
    return rights | CAN_EXECUTE if executable else rights


@cold
def fault(state: MmuState, vaddr: int, access: int, level: int, cause: int) -> int:
    """Compose the error code: ``cause`` is P, RSVD and PK; W/R, U/S and I/D describe the access."""
    code = cause
    if access == _WRITE:
        code |= PF_WR
    if user_mode(state) or (access == _FETCH and state.cpl == _THREE):
        code |= PF_US
    if access == _FETCH and (state.efer & _NXE != _ZERO or state.cr4 & _SMEP != _ZERO):
        code |= PF_ID
    state.status = _PAGE_FAULT
    state.error_code = code
    state.level = level
    state.rights = _ZERO
    state.page_faults += _ONE
    commit(state, KIND_WALK, access, level, code, vaddr, _ZERO)
    commit(state, KIND_FAULT, access, level, code, vaddr, _ZERO)
    return _PAGE_FAULT


@cold
def _set_accessed_dirty(state: MmuState, vaddr: int, access: int, first: int, leaf_level: int) -> None:
    """Set A in each entry of the walk and, on a write, D in the leaf (SDM vol. 3, 4.8)."""
    level = first
    while level >= leaf_level:
        slot = load64(state.slots + level * _EIGHT)
        old = load64(state.ram + slot)
        new = old | A
        if access == _WRITE and level == leaf_level:
            new |= D
        if new != old and state.read_only == _ZERO:
            store64(state.ram + slot, new)
            state.ad_updates += _ONE
            words(state, old, new, _EIGHT)
            commit(state, KIND_AD, access, level, _ZERO, vaddr, slot)
        level -= _ONE


@native
def walk_from(state: MmuState, vaddr: int, access: int, first: int, table: int, every: int, any_xd: int) -> int:
    """Walk from the table at ``table``, whose entries are of level ``first``.

    ``every`` and ``any_xd`` come from the levels above.
    """
    ram, ram_bytes, slots, reserved = state.ram, state.ram_bytes, state.slots, state.reserved
    state.walks += _ONE
    state.status = _OK
    state.error_code = _ZERO
    record = _ZERO
    if state.event_mask != _ZERO:  # where nothing is recorded nobody looks at the record, and the stores cost time
        record = next_record(state) + _ENTRIES
        for word in range(5):
            store64(record + U(word) * _EIGHT, _ZERO)
    level = first
    shift = _TWELVE + _NINE * (level - _ONE)
    while True:
        slot = table | (((vaddr >> shift) & _INDEX) << _THREE)
        if slot >= ram_bytes:
            state.walk_loads += first - level
            state.status = _BUS
            return _BUS
        entry = load64(ram + slot)
        store64(slots + level * _EIGHT, slot)
        if record != _ZERO:
            store64(record + (level - _ONE) * _EIGHT, entry)
        if entry & P == _ZERO:
            state.walk_loads += first - level + _ONE
            return fault(state, vaddr, access, level, _ZERO)
        leaf = level == _ONE or (level < _FOUR and entry & PS != _ZERO)
        if entry & load64(reserved + (level * _TWO + (_ONE if leaf else _ZERO)) * _EIGHT) != _ZERO:
            state.walk_loads += first - level + _ONE
            return fault(state, vaddr, access, level, PF_P | PF_RSVD)
        every &= entry
        any_xd |= entry
        if leaf:
            break
        table = entry & ADDRESS
        level -= _ONE
        shift -= _NINE
    state.walk_loads += first - level + _ONE
    rights = page_rights(state, every, any_xd)
    denied = key_denies(state, every, entry)
    wanted = _ONE << access
    if denied & wanted != _ZERO:
        return fault(state, vaddr, access, level, PF_P | PF_PK)
    rights &= _ALL_ONES ^ denied
    if rights & wanted == _ZERO:
        return fault(state, vaddr, access, level, PF_P)
    if access != _WRITE and entry & D == _ZERO:
        rights &= CAN_READ | CAN_EXECUTE  # the first write must come back, to set D
    offset_mask = (_ONE << shift) - _ONE
    paddr = (entry & ADDRESS & (_ALL_ONES ^ offset_mask)) | (vaddr & offset_mask)
    state.paddr = paddr
    state.level = level
    state.every = every
    state.any = any_xd
    state.leaf = entry
    state.rights = rights
    if record != _ZERO:
        commit(state, KIND_WALK, access, level, _ZERO, vaddr, paddr)
    if every & A == _ZERO or (access == _WRITE and entry & D == _ZERO):
        _set_accessed_dirty(state, vaddr, access, first, level)
    return _OK


@inlined
def plain_walk(state: MmuState, vaddr: int) -> tuple[int, int, int]:
    """The walk that is made most: four levels to a 4K page, with nothing to set in the tables above the leaf.

    Tests all entries at once.  Returns the leaf, and the AND and the OR of all entries; the AND is 0, and nothing has
    changed, where :func:`walk_from` must look more closely.
    """
    ram, ram_bytes, reserved = state.ram, state.ram_bytes, state.reserved
    slot = (state.cr3 & ADDRESS) | (((vaddr >> _SHIFT_4) & _INDEX) << _THREE)
    if slot >= ram_bytes:
        return _ZERO, _ZERO, _ZERO
    pml4e = load64(ram + slot)
    slot = (pml4e & ADDRESS) | (((vaddr >> _SHIFT_3) & _INDEX) << _THREE)
    if slot >= ram_bytes:
        return _ZERO, _ZERO, _ZERO
    pdpte = load64(ram + slot)
    slot = (pdpte & ADDRESS) | (((vaddr >> _SHIFT_2) & _INDEX) << _THREE)
    if slot >= ram_bytes:
        return _ZERO, _ZERO, _ZERO
    pde = load64(ram + slot)
    slot = (pde & ADDRESS) | (((vaddr >> _TWELVE) & _INDEX) << _THREE)
    if slot >= ram_bytes:
        return _ZERO, _ZERO, _ZERO
    pte = load64(ram + slot)
    every = pml4e & pdpte & pde & pte
    tables = pml4e | pdpte | pde
    if every & _USED != _USED or (tables & load64(reserved)) | (pte & load64(reserved + _EIGHT)) != _ZERO:
        return _ZERO, _ZERO, _ZERO
    return pte, every, tables | pte


@inlined
def _walk_4k(state: MmuState, vaddr: int, access: int) -> bool:
    """A :func:`plain_walk` that is allowed, and with nothing to set in the leaf either.

    Of the result only paddr, level and rights are left: every store counts here.
    """
    pte, every, any_xd = plain_walk(state, vaddr)
    if every == _ZERO:
        return False
    rights = page_rights(state, every, any_xd) & (_ALL_ONES ^ key_denies(state, every, pte))
    if pte & D == _ZERO:
        rights &= CAN_READ | CAN_EXECUTE
    if rights & (_ONE << access) == _ZERO:
        return False
    state.walks += _ONE
    state.walk_loads += _FOUR
    state.status = _OK
    state.paddr = (pte & ADDRESS) | (vaddr & _OFFSET)
    state.level = _ONE
    state.rights = rights
    return True


@native
def walk(state: MmuState, vaddr: int, access: int) -> int:
    """Translate ``vaddr`` for ``access`` with the registers in ``state``.

    Returns a :class:`mmu.state.Status`; leaves the result in ``state``: paddr, level and rights, or status and
    error_code (while events are recorded, all that :func:`walk_from` leaves).
    """
    if not canonical(state, vaddr):
        state.walks += _ONE
        state.status = _GP
        state.error_code = _ZERO
        return _GP
    if state.event_mask == _ZERO and state.cr4 & _LA57 == _ZERO and _walk_4k(state, vaddr, access):
        return _OK
    return walk_from(state, vaddr, access, levels(state), state.cr3 & ADDRESS, EVERY_START, _ZERO)
