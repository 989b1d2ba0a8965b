"""The entry points that C code calls: Unicorn's fill hook, and a walk for Python."""

from __future__ import annotations

from unicorn.unicorn_const import UC_MEM_FETCH, UC_MEM_READ, UC_MEM_WRITE

from mmu.entries import ADDRESS, D
from mmu.events import EventKind, PlainFill, commit, commit_fill, ring_is_full
from mmu.instruction import access_of, fetches_ahead, instruction_at, note_fetch
from mmu.native import call3, cold, entry, inlined, load8, load32, load64, native, store8, store32
from mmu.registers import CR4, Access
from mmu.state import CODE_VIEW_BYTES, CODE_VIEWS, CodeView, MmuState, Status
from mmu.unicorn_abi import TlbEntry
from mmu.walk import CAN_EXECUTE, CAN_READ, CAN_WRITE, data_rights, key_denies, page_rights, plain_walk, walk

#: While ``physmap_open`` is set, PHYSMAP + paddr is physical memory and nothing else; no guest can form such an
#: address.
PHYSMAP = 1 << 63
_ALL_RIGHTS = 7
_KEYS_OR_LA57 = CR4.LA57 | CR4.PKE | CR4.PKS
_LOW_32 = 0xFFFF_FFFF
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
_OFFSET = 0xFFF
_WRITE_EXECUTE = CAN_WRITE | CAN_EXECUTE


@entry("u64", MmuState, "u64", "u64")
def walk_once(state: MmuState, vaddr: int, access: int) -> int:
    """One walk; the result is in ``state``."""
    return walk(state, vaddr, access)


@entry("u64", MmuState, "u64")
def kind_of(state: MmuState, rip: int) -> int:
    """The :class:`mmu.instruction.Kind` of an instruction that the engine has fetched."""
    return instruction_at(state, rip)


@native
def answer_physmap(state: MmuState, vaddr: int, result: int) -> bool:
    """A fill while the physmap is open; nothing else is mapped then, and no access is an event of the guest."""
    if vaddr < PHYSMAP:
        state.status = Status.GENERAL_PROTECTION
        return False
    answer = TlbEntry.from_address(result)
    answer.paddr = (vaddr - PHYSMAP) & _PAGE_MASK
    answer.perms = _ALL_RIGHTS
    return True


@native
def view_of(state: MmuState, vaddr: int) -> int:
    """The host address of the CodeView of this page, or of another one that takes its place."""
    return state.code_views + ((vaddr >> 12) + load64(state.code_view) * 37 & CODE_VIEWS - 1) * CODE_VIEW_BYTES


@native
def _see_code(state: MmuState, vaddr: int, frame: int) -> None:
    view = CodeView.from_address(view_of(state, vaddr))
    if view.frame != frame or view.page != (vaddr >> 12) + 1 or view.space != load64(state.code_view):
        call3(state.on_code_view, vaddr, frame, 0)


@native
def grant(state: MmuState, vaddr: int, access: int, result: int, alone: bool) -> bool:
    """Answer a fill with the translation in ``state.walked``, under the rules of code coherence.

    A frame never has translated code while the TLB lets it be written without X, because Unicorn would not notice the
    write; with W and X in one entry it does, unless the frame is reached under another physical address too (not
    ``alone``). ``result`` is a ``uc_tlb_entry``: uint64 paddr, uint32 perms.
    """
    paddr, level, rights, epoch = state.walked.paddr, state.walked.level, state.walked.rights, state.epoch
    frame = paddr >> 12
    if paddr >= state.ram_bytes:
        state.status = Status.BUS
        return False
    coded = load8(state.has_code + frame) != 0
    if access != Access.FETCH and not coded:
        rights &= CAN_READ | CAN_WRITE  # X comes with a fetch, which marks the frame
        if rights & CAN_WRITE != 0:
            store32(state.written_epoch + frame * 4, epoch)
    elif access == Access.FETCH:
        if load32(state.written_epoch + frame * 4) == epoch & _LOW_32:
            state.status = Status.WRITTEN_CODE
            return False
        if not alone and load8(state.has_code + frame) == 2:  # its writable alias must be dropped first
            store8(state.has_code + frame, 1)
            state.status = Status.WRITTEN_CODE
            return False
        if state.code_views != 0:
            _see_code(state, vaddr, frame)
        if state.on_code != 0 and (state.cpl == 0 or state.watch_code != 0):
            call3(state.on_code, vaddr, frame, 0)
        note_fetch(state, vaddr, paddr)
        store8(state.has_code + frame, 1)
        if not alone:
            rights &= CAN_READ | CAN_EXECUTE
    elif alone and rights & _WRITE_EXECUTE == _WRITE_EXECUTE:
        pass  # W and X in one entry: Unicorn sees every store
    elif access == Access.WRITE:
        state.status = Status.CODE_WRITTEN
        return False
    else:
        rights &= CAN_READ  # only a write justifies dropping the code
    if rights & _WRITE_EXECUTE == _WRITE_EXECUTE:
        if state.code_views != 0 and load8(state.has_code + frame) != 2:
            call3(state.on_code_view, vaddr, frame, 1)
        store8(state.has_code + frame, 2)
        state.code_fetches += 1
    if rights & CAN_EXECUTE != 0:
        state.code_epoch = epoch
    if level != 1:
        state.large_epoch = epoch
    state.fills += 1
    commit(state, EventKind.FILL, access, level, 0, vaddr, paddr)
    answer = TlbEntry.from_address(result)
    answer.paddr = paddr & _PAGE_MASK
    answer.perms = rights
    return True


@inlined
def cr3_written(state: MmuState, access_type: int) -> bool:
    """Whether a guest at CPL 0 has written CR3 and nobody has seen the instruction: the engine has forgotten every
    translation then, and fetches."""
    if access_type != UC_MEM_FETCH or state.cpl != 0 or state.engine_cr3 == 0:
        return False
    if load64(state.engine_cr3) == state.cr3:
        return False
    state.status = Status.CR3_WRITTEN
    return True


@inlined
def _fill_plainly(state: MmuState, vaddr: int, access_type: int, result: int) -> bool:
    """The most frequent fill, in a few nanoseconds: a load or a store, a page of 4K, no event to record, nothing to
    set, no code in the frame.

    False, with nothing changed, for any other fill.
    """
    if state.event_mask != 0 or access_type > UC_MEM_WRITE or vaddr >> 47 != 0:
        return False
    found = plain_walk(state, vaddr)
    if found.every == 0:
        return False
    rights = data_rights(state, found.every)
    if state.cr4 & _KEYS_OR_LA57 != 0:
        if state.cr4 & CR4.LA57 != 0:
            return False
        rights &= _ALL_RIGHTS ^ key_denies(state, found.every, found.pte)
    if found.pte & D == 0:
        rights &= CAN_READ
    paddr = found.pte & ADDRESS
    frame = paddr >> 12
    if rights & (1 << (access_type - UC_MEM_READ)) == 0 or paddr >= state.ram_bytes:
        return False
    if rights & CAN_WRITE == 0 and access_of(state, access_type - UC_MEM_READ) != Access.READ:
        return False
    if load8(state.has_code + frame) != 0:
        return False
    if rights & CAN_WRITE != 0:
        store32(state.written_epoch + frame * 4, state.epoch)
    state.plain_fills += 1
    answer = TlbEntry.from_address(result)
    answer.paddr = paddr
    answer.perms = rights
    return True


@native
def _fill_recorded(state: MmuState, vaddr: int, access_type: int, result: int) -> bool:
    """The same while events are recorded that no filter chooses among, and there is room for them."""
    if state.event_mask == 0 or state.event_filter != 0 or access_type > UC_MEM_WRITE or vaddr >> 47 != 0:
        return False
    if state.physmap_open != 0 or state.cr4 & CR4.LA57 != 0 or ring_is_full(state):
        return False
    found = plain_walk(state, vaddr)
    if found.every == 0:
        return False
    rights = page_rights(state, found.every, found.any_xd)
    rights &= _ALL_RIGHTS ^ key_denies(state, found.every, found.pte)
    if found.pte & D == 0:
        rights &= CAN_READ | CAN_EXECUTE
    paddr = found.pte & ADDRESS
    frame, access = paddr >> 12, access_of(state, access_type - UC_MEM_READ)
    if rights & (1 << access) == 0 or paddr >= state.ram_bytes or load8(state.has_code + frame) != 0:
        return False
    if rights & CAN_WRITE != 0:
        store32(state.written_epoch + frame * 4, state.epoch)
    state.plain_fills += 1
    commit_fill(
        state,
        PlainFill(
            access, vaddr, paddr | (vaddr & _OFFSET), rights, found.pte, found.pde, found.pdpte, found.pml4e,
        ),
    )  # fmt: skip
    answer = TlbEntry.from_address(result)
    answer.paddr = paddr
    answer.perms = rights & (CAN_READ | CAN_WRITE)
    return True


@cold
def _fill_otherwise(state: MmuState, vaddr: int, access_type: int, result: int) -> bool:
    """Any other fill."""
    if _fill_recorded(state, vaddr, access_type, result):
        return True
    if state.physmap_open != 0:
        return answer_physmap(state, vaddr, result)
    if ring_is_full(state):
        state.status = Status.RING_FULL
        return False
    if cr3_written(state, access_type):
        return False
    access = access_of(state, access_type - UC_MEM_READ)
    state.access = access
    if access == Access.FETCH and state.holds_back != 0 and fetches_ahead(state, vaddr):
        return False
    if walk(state, vaddr, access) != Status.OK:
        if state.on_fault == 0 or call3(state.on_fault, state.fault_record, vaddr, access) == 0:
            return False
        if walk(state, vaddr, access) != Status.OK:
            return False
    return grant(state, vaddr, access, result, True)


@entry("bool", "u64", "u64", "i32", "u64", MmuState)
def fill(uc: int, vaddr: int, access_type: int, result: int, state: MmuState) -> bool:
    """UC_HOOK_TLB_FILL: walk the tables and answer, or refuse and leave the reason in ``state.status``."""
    return _fill_plainly(state, vaddr, access_type, result) or _fill_otherwise(state, vaddr, access_type, result)
