"""The entry points that C code calls: Unicorn's fill hook, and a walk for Python."""

from __future__ import annotations

from mmu.events import KIND_FILL, commit, ring_is_full
from mmu.native import U, entry, load8, load32, store8, store32, store64
from mmu.registers import Access
from mmu.state import MmuState, Status
from mmu.walk import CAN_EXECUTE, CAN_READ, CAN_WRITE, walk

#: A fetch from PHYSMAP + paddr sees physical memory while ``physmap_open`` is set; no guest can form such an address.
PHYSMAP = 1 << 63
_PHYSMAP = U(PHYSMAP)
_ALL_RIGHTS = U(7)
_ZERO, _ONE, _FOUR, _TWELVE = U(0), U(1), U(4), U(12)
_UC_MEM_READ = U(16)
_OK, _BUS = U(Status.OK), U(Status.BUS)
_RING_FULL, _CODE_WRITTEN, _WRITTEN_CODE = (U(s) for s in (Status.RING_FULL, Status.CODE_WRITTEN, Status.WRITTEN_CODE))
_WRITE, _FETCH = U(Access.WRITE), U(Access.FETCH)
_LOW_32 = U(0xFFFF_FFFF)
_PAGE_MASK = U(0xFFFF_FFFF_FFFF_F000)
_WRITE_EXECUTE = CAN_WRITE | CAN_EXECUTE


@entry("u64", MmuState, "u64", "u64")
def walk_once(state: MmuState, vaddr: int, access: int) -> int:
    """One walk; the result is in ``state``."""
    return walk(state, vaddr, access)


@entry("bool", "u64", "u64", "i32", "u64", MmuState)
def fill(uc: int, vaddr: int, access_type: int, result: int, state: MmuState) -> bool:
    """UC_HOOK_TLB_FILL: walk the tables and answer, or say no and leave the reason in ``state.status``.

    ``result`` is a ``uc_tlb_entry``: uint64 paddr, uint32 perms.  The rules of code coherence: a frame never has
    translated code while the TLB lets it be written without X, because Unicorn would not notice the write.
    """
    if state.physmap_open != _ZERO and vaddr >= _PHYSMAP:
        store64(result, (vaddr - _PHYSMAP) & _PAGE_MASK)
        store32(result + U(8), _ALL_RIGHTS)
        return True
    if ring_is_full(state):
        state.status = _RING_FULL
        return False
    access = access_type - _UC_MEM_READ
    if walk(state, vaddr, access) != _OK:
        return False
    frame = state.paddr >> _TWELVE
    if state.paddr >= state.ram_bytes:
        state.status = _BUS
        return False
    rights = state.rights
    coded = load8(state.has_code + frame) != _ZERO
    if access == _FETCH:
        if load32(state.written_epoch + frame * _FOUR) == state.epoch & _LOW_32:
            state.status = _WRITTEN_CODE
            return False
        store8(state.has_code + frame, _ONE)
    elif coded and rights & _WRITE_EXECUTE == _WRITE_EXECUTE:
        pass  # W and X in one entry: Unicorn sees every store
    else:
        rights &= CAN_READ | CAN_WRITE  # X comes with a fetch, which marks the frame
        if coded and access == _WRITE:
            state.status = _CODE_WRITTEN
            return False
        if coded:
            rights &= CAN_READ  # only a write is worth dropping the code for
        elif rights & CAN_WRITE != _ZERO:
            store32(state.written_epoch + frame * _FOUR, state.epoch)
    if state.level != _ONE:
        state.large_epoch = state.epoch
    state.fills += _ONE
    commit(state, KIND_FILL, access, state.level, _ZERO, vaddr, state.paddr)
    store64(result, state.paddr & _PAGE_MASK)
    store32(result + U(8), rights)
    return True
