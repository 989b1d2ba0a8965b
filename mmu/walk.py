"""The page walk: IA-32e 4-level paging with 4K, 2M and 1G pages (SDM vol. 3, 4.5 to 4.8).

    63          48 47    39 38    30 29    21 20    12 11         0
    | sign ext.   | PML4   | PDPT   | PD     | PT     | offset     |

Rights are the AND of R/W and U/S, and the OR of XD, over every level.  The walk sets A in every entry it used, and D
in the leaf on a write, only once the access is known to be allowed.
"""

from __future__ import annotations

from mmu.entries import ADDRESS, PS, RW, US, XD, A, D, P
from mmu.events import KIND_AD, KIND_FAULT, KIND_WALK, commit, next_record, words
from mmu.native import U, load64, native, store64
from mmu.registers import CR0, EFER, Access
from mmu.state import MmuState, Status

_OK, _PAGE_FAULT, _GP, _BUS = (U(s) for s in (Status.OK, Status.PAGE_FAULT, Status.GENERAL_PROTECTION, Status.BUS))
_READ, _WRITE, _FETCH = (U(a) for a in (Access.READ, Access.WRITE, Access.FETCH))
_WP, _NXE = U(CR0.WP), U(EFER.NXE)

# The page-fault error code (SDM vol. 3, 4.7)
PF_P, PF_WR, PF_US, PF_RSVD, PF_ID = U(1), U(2), U(4), U(8), U(16)

# Rights of a translation, as Unicorn names them (UC_PROT_*)
CAN_READ, CAN_WRITE, CAN_EXECUTE = U(1), U(2), U(4)

_ZERO, _ONE, _TWO, _THREE, _FOUR = U(0), U(1), U(2), U(3), U(4)
_EIGHT, _NINE, _TWELVE = U(8), U(9), U(12)
_INDEX = U(511)
_PS_OF_PML4E = U(1 << 7)
_ABOVE = U((1 << 52) - 1)
_ENTRY_OF_LEVEL_1 = U(64)  # byte offset in an event record
_NO_LOW_13 = U(0xFFFF_FFFF_FFFF_FFFF ^ 0x1FFF)


@native
def canonical(vaddr: int) -> bool:
    """Whether bits 63:47 are all equal (48-bit linear addresses)."""
    high = vaddr >> U(47)
    return high == _ZERO or high == U(0x1FFFF)


@native
def reserved(level: int, leaf: bool, maxphyaddr: int) -> int:
    """The reserved bits of a present entry; :func:`mmu.entries.reserved_bits` says the same for people."""
    bits = _ABOVE ^ ((_ONE << maxphyaddr) - _ONE)
    if level == _FOUR:
        bits |= _PS_OF_PML4E
    if leaf and level > _ONE:
        bits |= ((_ONE << (_TWELVE + _NINE * (level - _ONE))) - _ONE) & _NO_LOW_13
    return bits


@native
def _fault(state: MmuState, vaddr: int, access: int, level: int, cause: int) -> int:
    """Compose the error code: ``cause`` is P and RSVD; W/R, U/S and I/D describe the access."""
    code = cause
    if access == _WRITE:
        code |= PF_WR
    if state.cpl == _THREE:
        code |= PF_US
    if access == _FETCH and state.efer & _NXE != _ZERO:
        code |= PF_ID
    state.status = _PAGE_FAULT
    state.error_code = code
    state.level = level
    state.rights = _ZERO
    state.page_faults += _ONE
    commit(state, KIND_WALK, access, level, code, vaddr, _ZERO)
    commit(state, KIND_FAULT, access, level, code, vaddr, _ZERO)
    return _PAGE_FAULT


@native
def _rights(state: MmuState, every: int, any_xd: int) -> int:
    """What the current privilege level may do with the page (SDM vol. 3, 4.6.1)."""
    user = every & US != _ZERO
    rights = _ZERO
    if state.cpl == _THREE:
        if not user:
            return rights
        rights = CAN_READ
        if every & RW != _ZERO:
            rights |= CAN_WRITE
    else:
        rights = CAN_READ
        if every & RW != _ZERO or state.cr0 & _WP == _ZERO:
            rights |= CAN_WRITE
    if any_xd & XD == _ZERO or state.efer & _NXE == _ZERO:
        rights |= CAN_EXECUTE
    return rights


@native
def _set_accessed_dirty(state: MmuState, vaddr: int, access: int, leaf_level: int) -> None:
    """Set A in each entry of the walk and, on a write, D in the leaf (SDM vol. 3, 4.8)."""
    level = _FOUR
    while level >= leaf_level:
        slot = load64(state.slots + level * _EIGHT)
        old = load64(state.ram + slot)
        new = old | A
        if access == _WRITE and level == leaf_level:
            new |= D
        if new != old:
            store64(state.ram + slot, new)
            state.ad_updates += _ONE
            words(state, old, new, _EIGHT)
            commit(state, KIND_AD, access, level, _ZERO, vaddr, slot)
        level -= _ONE


@native
def walk(state: MmuState, vaddr: int, access: int) -> int:
    """Translate ``vaddr`` for ``access`` with the registers in ``state``.

    Returns a :class:`mmu.state.Status`; leaves the result in ``state``: paddr, level and rights, or status and
    error_code.
    """
    state.walks += _ONE
    state.status = _OK
    state.error_code = _ZERO
    if not canonical(vaddr):
        state.status = _GP
        return _GP
    record = next_record(state)
    for word in range(5):
        store64(record + _ENTRY_OF_LEVEL_1 + U(word) * _EIGHT, _ZERO)
    table = state.cr3 & ADDRESS
    every = RW | US | A
    any_xd = _ZERO
    level = _FOUR
    entry = _ZERO
    while True:
        shift = _TWELVE + _NINE * (level - _ONE)
        slot = table | (((vaddr >> shift) & _INDEX) << _THREE)
        if slot >= state.ram_bytes:
            state.status = _BUS
            return _BUS
        entry = load64(state.ram + slot)
        state.walk_loads += _ONE
        store64(record + _ENTRY_OF_LEVEL_1 + (level - _ONE) * _EIGHT, entry)
        store64(state.slots + level * _EIGHT, slot)
        if entry & P == _ZERO:
            return _fault(state, vaddr, access, level, _ZERO)
        leaf = level == _ONE or (level < _FOUR and entry & PS != _ZERO)
        must_be_zero = reserved(level, leaf, state.maxphyaddr)
        if state.efer & _NXE == _ZERO:
            must_be_zero |= XD
        if entry & must_be_zero != _ZERO:
            return _fault(state, vaddr, access, level, PF_P | PF_RSVD)
        every &= entry
        any_xd |= entry
        if leaf:
            break
        table = entry & ADDRESS
        level -= _ONE
    rights = _rights(state, every, any_xd)
    if rights & (_ONE << access) == _ZERO:
        return _fault(state, vaddr, access, level, PF_P)
    offset_mask = (_ONE << shift) - _ONE
    state.paddr = ((entry & ADDRESS) & (_NO_OFFSET ^ offset_mask)) | (vaddr & offset_mask)
    state.level = level
    if access == _WRITE or entry & D != _ZERO:
        state.rights = rights
    else:
        state.rights = rights & (CAN_READ | CAN_EXECUTE)  # the first write must come back, to set D
    commit(state, KIND_WALK, access, level, _ZERO, vaddr, state.paddr)
    if every & A == _ZERO or (access == _WRITE and entry & D == _ZERO):
        _set_accessed_dirty(state, vaddr, access, level)
    return _OK


_NO_OFFSET = U(0xFFFF_FFFF_FFFF_FFFF)
