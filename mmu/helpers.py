"""The functions that the engine's code calls for its loads and stores, in exact mode: ours, in place of the engine's.

Where there are memory hooks, the engine makes each access by calling a helper, by a table of them
(:mod:`mmu.helper_table`); its own finds the translation, looks RIP up, calls the hooks, and makes the access.  Ours are
given the virtual address, and know what the place is that calls (:mod:`mmu.helper_places`).  Where the engine holds the
translation of the page, they have the model handle the access as the hook would (:func:`mmu.exact.on_memory`), and make
it; else the engine's helper does all that it ever did.
"""

from __future__ import annotations

from mmu.access import count_first_level
from mmu.array_record import TlbArray
from mmu.engine_held import place_in_engine
from mmu.engine_sync import catch_up
from mmu.exact import access_translated, drain_if_full, filled_access_is_over, note_size
from mmu.helper_fills import ACCESSED, IS_TO_ASK, fill_at_once
from mmu.helper_places import (
    ENGINE_MAKES_IT,
    ENGINES_OWN,
    FIRST_PATH,
    FIRST_PIECE,
    KNOWN_KINDS,
    LAST_PIECE,
    MMU_INDEX,
    NO_ACCESS,
    PATH_SHIFT,
    DataPath,
    Helpers,
    learn,
    path_at,
    path_of,
    rip_at,
)
from mmu.native import (
    call4,
    call5,
    call6,
    cold,
    entry,
    inlined,
    load8,
    load32,
    load64,
    native,
    store8,
    store32,
    store64,
)
from mmu.plain_access import held_first
from mmu.registers import Access
from mmu.replacement import touch
from mmu.state import MmuState
from mmu.unicorn_abi import ENTRY_ADDEND, ENTRY_CODE, ENTRY_READ, ENTRY_WRITE, TLB_NOT_DIRTY

_NOT_COUNTED = NO_ACCESS | LAST_PIECE
_MARKED = _NOT_COUNTED | FIRST_PIECE
_OFFSET, _PAGE = 0xFFF, 0x1000
_PAGE_MASK = 0xFFFF_FFFF_FFFF_F000
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
#: No guest can form such an address: there is no piece to come; and the instruction that has made one is looked up when
#: somebody asks.
_NOWHERE = 1 << 63
_NOT_LOOKED_UP = 1 << 63


@inlined
def _hits(state: MmuState, vaddr: int, access: int) -> bool:
    """The most frequent access, counted: the first array of the first level holds the page, of 4K, and no event is to
    be recorded.

    False, with nothing changed, for any other access.
    """
    if state.event_mask != 0:
        return False
    found = held_first(state, vaddr, access)
    if found.array == 0:
        return False
    array = TlbArray.from_address(found.array)
    array.hits += 1
    touch(state, array, found.place, vaddr, 1, False)
    count_first_level(state, access)
    return True


@inlined
def _translation(env: int, vaddr: int, oi: int) -> int:
    """The host address of the engine's translation of this page, or of another one that takes its place."""
    return place_in_engine(env, oi & MMU_INDEX, vaddr)


@inlined
def _may_load(held: int, vaddr: int) -> bool:
    """Whether the engine holds the translation of this page, for loads."""
    return load64(held + ENTRY_READ) == vaddr & _PAGE_MASK


@inlined
def _may_store(held: int, vaddr: int) -> bool:
    """The same for stores, to a page that is not executable: so the frame has no code (:func:`mmu.hooks.grant`), and
    nobody asks whether it is dirty."""
    if load64(held + ENTRY_CODE) != _ALL_ONES:
        return False
    return load64(held + ENTRY_WRITE) | TLB_NOT_DIRTY == vaddr & _PAGE_MASK | TLB_NOT_DIRTY


@inlined
def _is_forgotten(held: int) -> bool:
    """Whether the engine has been made to forget this translation."""
    return load64(held + ENTRY_READ) & load64(held + ENTRY_WRITE) & load64(held + ENTRY_CODE) == _ALL_ONES


@inlined
def _host(held: int, vaddr: int) -> int:
    """The host address of what is at ``vaddr``."""
    return (vaddr + load64(held + ENTRY_ADDEND)) & _ALL_ONES


@inlined
def _crosses(vaddr: int, oi: int, size: int) -> bool:
    """Whether the operand may go on in the next page."""
    if size == 8 and oi & FIRST_PIECE != 0:
        return vaddr & _OFFSET > _PAGE - 16
    return size != 1 and vaddr & _OFFSET > _PAGE - size


@inlined
def _note_piece(state: MmuState, vaddr: int, oi: int, size: int) -> None:
    """Note where the rest of the operand is."""
    if size == 8 and oi & FIRST_PIECE != 0:
        state.next_piece, state.piece_rip = vaddr + 8, _NOT_LOOKED_UP
    else:
        state.next_piece = _NOWHERE


@native
def _is_engines(path: DataPath, state: MmuState, vaddr: int, oi: int, size: int) -> bool:
    """Whether the engine is to make this access whatever it holds."""
    if path.off | state.check | state.second_page | (oi & ENGINE_MAKES_IT) != 0:
        return True
    return _crosses(vaddr, oi, size)


@native
def _ask(helpers: Helpers, path: DataPath, env: int, vaddr: int, access: int, oi: int, back: int) -> bool:
    """Have the engine hold a translation of the page, if it can; whether the model has handled the access, too."""
    state, index = MmuState.from_address(path.state), oi & MMU_INDEX
    if oi & _MARKED == 0:
        done = fill_at_once(helpers, state, vaddr, access, index)
        if done != IS_TO_ASK:
            path.filled += 1
            return done == ACCESSED
    state.offset = vaddr & _OFFSET
    call6(helpers.probe, env, vaddr, 0, access, index, back)
    return False


@cold
def _prepare_events(helpers: Helpers, env: int, state: MmuState, back: int, size: int) -> None:
    """Events of an access will follow, which say where and of how many bytes it is."""
    note_size(state, rip_at(helpers, env, state, back), size)
    drain_if_full(state)


@cold
def _any_load(helpers: Helpers, env: int, vaddr: int, oi: int, back: int, size: int) -> int:
    """Any other load, as the engine and the memory hook have it: where there is no translation the engine asks for it,
    and when the access has made it forget that, again.  Returns the host address to load from, with the access done; 0
    if the engine is to do it all.
    """
    if oi < FIRST_PATH:
        return 0
    path = path_at(helpers, oi >> PATH_SHIFT)
    state = MmuState.from_address(path.state)
    if _is_engines(path, state, vaddr, oi, size):
        return 0
    held, accessed = _translation(env, vaddr, oi), False
    if not _may_load(held, vaddr):
        accessed = _ask(helpers, path, env, vaddr, Access.READ, oi, back)
        held = _translation(env, vaddr, oi)
        if not accessed and not _may_load(held, vaddr):
            return 0
    if oi & LAST_PIECE != 0:
        state.next_piece = _NOWHERE
        return _host(held, vaddr)
    host = _host(held, vaddr)
    if accessed:
        state.next_piece = _NOWHERE
    elif oi & NO_ACCESS != 0:
        catch_up(state)
    else:
        _note_piece(state, vaddr, oi, size)
        if state.event_mask != 0:
            _prepare_events(helpers, env, state, back, size)
        catch_up(state)
        access_translated(state, vaddr, Access.READ, state.unsure == 0)
        if state.unsure != 0:
            filled_access_is_over(state)
    if not _is_forgotten(held):
        return host
    call6(helpers.probe, env, vaddr, 0, Access.READ, oi & MMU_INDEX, back)
    return _host(_translation(env, vaddr, oi), vaddr)


@cold
def _any_store(helpers: Helpers, env: int, vaddr: int, oi: int, back: int, size: int) -> int:
    """The same for a store."""
    if oi < FIRST_PATH:
        return 0
    path = path_at(helpers, oi >> PATH_SHIFT)
    state = MmuState.from_address(path.state)
    if _is_engines(path, state, vaddr, oi, size):
        return 0
    held, page = _translation(env, vaddr, oi), (vaddr >> 12) + 1
    if load64(held + ENTRY_WRITE) | TLB_NOT_DIRTY != vaddr & _PAGE_MASK | TLB_NOT_DIRTY:
        if _ask(helpers, path, env, vaddr, Access.WRITE, oi, back):
            state.next_piece = _NOWHERE
            return _host(_translation(env, vaddr, oi), vaddr)
        held = _translation(env, vaddr, oi)
    if not _may_store(held, vaddr):
        return 0
    host = _host(held, vaddr)
    if oi & LAST_PIECE != 0:
        state.next_piece = _NOWHERE
        return host
    _note_piece(state, vaddr, oi, size)
    if state.event_mask != 0:
        _prepare_events(helpers, env, state, back, size)
    if state.late_page != page:
        catch_up(state)
    state.busy_page = page
    access_translated(state, vaddr, Access.WRITE, state.unsure == 0)
    state.busy_page = 0
    if state.unsure != 0:
        filled_access_is_over(state)
    return host


@inlined
def _loaded_from(helpers: Helpers, env: int, vaddr: int, oi: int, back: int, size: int) -> int:
    """The host address to load from, with the access done; 0 if the engine is to do it all."""
    if oi >= FIRST_PATH:
        path = path_at(helpers, oi >> PATH_SHIFT)
        state, held = MmuState.from_address(path.state), _translation(env, vaddr, oi)
        if _may_load(held, vaddr) and not _crosses(vaddr, oi, size):
            if path.off | state.late_page | state.check | state.unsure | (oi & ENGINE_MAKES_IT) == 0:
                if oi & _NOT_COUNTED != 0:
                    if oi & LAST_PIECE != 0:
                        state.next_piece = _NOWHERE
                    return _host(held, vaddr)
                if _hits(state, vaddr, Access.READ):
                    _note_piece(state, vaddr, oi, size)
                    return _host(held, vaddr)
    return _any_load(helpers, env, vaddr, oi, back, size)


@inlined
def _stored_to(helpers: Helpers, env: int, vaddr: int, oi: int, back: int, size: int) -> int:
    """The same for a store."""
    if oi >= FIRST_PATH:
        path = path_at(helpers, oi >> PATH_SHIFT)
        state, held = MmuState.from_address(path.state), _translation(env, vaddr, oi)
        if _may_store(held, vaddr) and not _crosses(vaddr, oi, size):
            if path.off | state.late_page | state.check | state.unsure | (oi & ENGINE_MAKES_IT) == 0:
                if oi & LAST_PIECE != 0:
                    state.next_piece = _NOWHERE
                    return _host(held, vaddr)
                if _hits(state, vaddr, Access.WRITE):
                    _note_piece(state, vaddr, oi, size)
                    return _host(held, vaddr)
    return _any_store(helpers, env, vaddr, oi, back, size)


@native
def _before_engine(helpers: Helpers, env: int, vaddr: int, oi: int, back: int, helper: int) -> None:
    """The engine is going to make an access."""
    number = oi >> PATH_SHIFT if oi >= FIRST_PATH else path_of(helpers, env)
    if number == 0:
        return
    path = path_at(helpers, number)
    if oi >= FIRST_PATH:
        path.asked += 1
    elif path.off == 0 and oi <= KNOWN_KINDS:
        learn(helpers, env, oi, back, helper, path, number)
    state = MmuState.from_address(path.state)
    if state.next_piece == vaddr and state.piece_rip == _NOT_LOOKED_UP:
        state.piece_rip = rip_at(helpers, env, state, back)


@cold
def _engine_loads(helpers: Helpers, env: int, vaddr: int, oi: int, back: int, helper: int) -> int:
    _before_engine(helpers, env, vaddr, oi, back, helper)
    return call4(helpers.engines[helper], env, vaddr, oi & ENGINES_OWN, back)


@cold
def _engine_stores(helpers: Helpers, env: int, vaddr: int, value: int, oi: int, back: int, helper: int) -> None:
    _before_engine(helpers, env, vaddr, oi, back, helper)
    call5(helpers.engines[helper], env, vaddr, value, oi & ENGINES_OWN, back)


@entry("u64", "u64", "u64", "u32", "u64", Helpers)
def load_1(env: int, vaddr: int, oi: int, back: int, helpers: Helpers) -> int:
    """A load of a byte."""
    host = _loaded_from(helpers, env, vaddr, oi, back, 1)
    return load8(host) if host != 0 else _engine_loads(helpers, env, vaddr, oi, back, 0)


@entry("u64", "u64", "u64", "u32", "u64", Helpers)
def load_2(env: int, vaddr: int, oi: int, back: int, helpers: Helpers) -> int:
    """A load of 2 bytes."""
    host = _loaded_from(helpers, env, vaddr, oi, back, 2)
    return load8(host) | load8(host + 1) << 8 if host != 0 else _engine_loads(helpers, env, vaddr, oi, back, 1)


@entry("u64", "u64", "u64", "u32", "u64", Helpers)
def load_4(env: int, vaddr: int, oi: int, back: int, helpers: Helpers) -> int:
    """A load of 4 bytes."""
    host = _loaded_from(helpers, env, vaddr, oi, back, 4)
    return load32(host) if host != 0 else _engine_loads(helpers, env, vaddr, oi, back, 2)


@entry("u64", "u64", "u64", "u32", "u64", Helpers)
def load_8(env: int, vaddr: int, oi: int, back: int, helpers: Helpers) -> int:
    """A load of 8 bytes."""
    host = _loaded_from(helpers, env, vaddr, oi, back, 8)
    return load64(host) if host != 0 else _engine_loads(helpers, env, vaddr, oi, back, 3)


@entry("void", "u64", "u64", "u64", "u32", "u64", Helpers)
def store_1(env: int, vaddr: int, value: int, oi: int, back: int, helpers: Helpers) -> None:
    """A store of a byte."""
    host = _stored_to(helpers, env, vaddr, oi, back, 1)
    if host != 0:
        store8(host, value & 0xFF)
    else:
        _engine_stores(helpers, env, vaddr, value, oi, back, 4)


@entry("void", "u64", "u64", "u64", "u32", "u64", Helpers)
def store_2(env: int, vaddr: int, value: int, oi: int, back: int, helpers: Helpers) -> None:
    """A store of 2 bytes."""
    host = _stored_to(helpers, env, vaddr, oi, back, 2)
    if host != 0:
        store8(host, value & 0xFF)
        store8(host + 1, (value >> 8) & 0xFF)
    else:
        _engine_stores(helpers, env, vaddr, value, oi, back, 5)


@entry("void", "u64", "u64", "u64", "u32", "u64", Helpers)
def store_4(env: int, vaddr: int, value: int, oi: int, back: int, helpers: Helpers) -> None:
    """A store of 4 bytes."""
    host = _stored_to(helpers, env, vaddr, oi, back, 4)
    if host != 0:
        store32(host, value)
    else:
        _engine_stores(helpers, env, vaddr, value, oi, back, 6)


@entry("void", "u64", "u64", "u64", "u32", "u64", Helpers)
def store_8(env: int, vaddr: int, value: int, oi: int, back: int, helpers: Helpers) -> None:
    """A store of 8 bytes."""
    host = _stored_to(helpers, env, vaddr, oi, back, 8)
    if host != 0:
        store64(host, value)
    else:
        _engine_stores(helpers, env, vaddr, value, oi, back, 7)
