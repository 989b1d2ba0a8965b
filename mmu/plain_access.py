"""The most frequent accesses: of user mode to pages of 4K, of which nobody wants to know more than that they were made.

They change and count what :func:`mmu.access.access_once` does, and leave every other access to it; ``last_access`` and
``walked`` of the state are left as they were.
"""

from __future__ import annotations

from typing import NamedTuple

from mmu.access import count_first_level_hits, count_level_2_hit, count_small_page, walk_missed
from mmu.array_record import Found, TlbArray, held_at, hint_of, is_of, tag_at
from mmu.array_tags import level_of, tag_of
from mmu.coalescing import is_coalesced
from mmu.entries import ADDRESS, RW, US, XD, A, D, P
from mmu.geometry import Replacement
from mmu.native import inlined, load32, load64, native
from mmu.registers import CR4, EFER, Access
from mmu.replacement import touch
from mmu.state import MmuState
from mmu.structure_cache import cache_structure_entry, find_table, note_use, structure_cache, table_at
from mmu.tlb import Leaf, arrays_for, install_small, leaf_of, missed_in, prefetch_next, uncount_missed

_USED = P | A


class Above(NamedTuple):
    """The table that holds a PTE, and AND and OR of the entries above."""

    table: int
    every: int
    any_xd: int


@inlined
def is_plain(state: MmuState) -> bool:
    """Whether accesses are user mode's, rights are those of the entries alone, and nobody watches or asks what
    translations cost."""
    if state.cpl != 3 or state.cr4 & CR4.PKE != 0 or state.efer & EFER.NXE == 0:
        return False
    return state.event_mask | state.check | state.walk_cost == 0


@inlined
def held_first(state: MmuState, vaddr: int, access: int) -> Found:
    """Where the first array of the first level holds the page, of 4K, if that is where it was found last."""
    address = load64(arrays_for(state, access, 1))
    if address == 0:
        return Found(0, 0)
    array = TlbArray.from_address(address)
    if array.present & 1 == 0 or array.twice != 0:
        return Found(0, 0)
    index = load32(hint_of(array, vaddr, 1))
    tag = tag_at(array, index)
    if not is_of(array, tag, tag_of(vaddr, 1, state.pcid)):
        return Found(0, 0)
    return Found(address, index)


@inlined
def user_may(access: int, every: int, any_xd: int, leaf: int) -> bool:
    """Whether user mode may access a page so, by AND and OR of all entries; no store before the leaf has D."""
    if access == Access.FETCH:
        return every & US != 0 and any_xd & XD == 0
    if access == Access.WRITE:
        return every & (US | RW) == US | RW and leaf & D != 0
    return every & US != 0


@inlined
def _may_use(found: Found, access: int) -> bool:
    held = held_at(TlbArray.from_address(found.array), found.place)
    return user_may(access, held.every, held.any_xd, held.leaf)


@inlined
def touch_often(state: MmuState, array: TlbArray, index: int, vaddr: int, level: int, count: int) -> None:
    """Note several uses of a way; of most policies the second one says no more than the first."""
    touch(state, array, index, vaddr, level, False)
    if array.replacement == Replacement.LFU:
        while count > 1:
            touch(state, array, index, vaddr, level, False)
            count -= 1


@inlined
def hit_first(state: MmuState, vaddr: int, access: int, count: int) -> bool:
    """``count`` accesses that find the page where :func:`held_first` looks.  False, with nothing changed, if it is not
    there, or may not be used."""
    found = held_first(state, vaddr, access)
    if found.array == 0 or not _may_use(found, access):
        return False
    array = TlbArray.from_address(found.array)
    array.hits += count
    touch_often(state, array, found.place, vaddr, 1, count)
    count_first_level_hits(state, access, count)
    return True


@native
def missed_first(state: MmuState, vaddr: int, access: int) -> bool:
    """An access to a page that the first level does not hold: the second level does, as one of 4K, or nothing does.
    False, with nothing changed, for any other."""
    first = arrays_for(state, access, 1)
    found = missed_in(state, first, vaddr)
    if found.array != 0:
        uncount_missed(first, found.array)
        return False
    second = arrays_for(state, access, 2)
    found = missed_in(state, second, vaddr)
    if found.array != 0:
        if _hit_second(state, vaddr, access, found):
            return True
        uncount_missed(first, 0)
        uncount_missed(second, found.array)
        return False
    if not _walked(state, vaddr, access):
        walk_missed(state, vaddr, access)
    return True


@inlined
def _walked(state: MmuState, vaddr: int, access: int) -> bool:
    """A walk to a page of 4K that begins with the PTE or the PDE, and has nothing to set; false, with nothing changed,
    if it is another one."""
    pdes = structure_cache(state, 2)
    cached = find_table(pdes, vaddr, 2, state.pcid)
    if cached == 0:
        return _walked_from_pdpte(state, vaddr, access)
    above = table_at(pdes, cached - 1)
    pte = usable_pte(state, vaddr, access, above.table, above.every, above.any_xd)
    if pte == 0:
        return False
    pdes.lookups += 1
    pdes.hits += 1
    note_use(state, pdes, cached - 1, False)
    state.walk_loads += 1
    _count_and_install(state, vaddr, access, above.table, above.every, above.any_xd, pte)
    return True


@native
def _walked_from_pdpte(state: MmuState, vaddr: int, access: int) -> bool:
    """The same where the walk begins below the PDPTE, with the PDE."""
    above = table_above(state, vaddr)
    if above.table == 0:
        return False
    pte = usable_pte(state, vaddr, access, above.table, above.every, above.any_xd)
    if pte == 0:
        return False
    pdes, pdptes = structure_cache(state, 2), structure_cache(state, 3)
    if pdes.entries != 0:
        pdes.lookups += 1
    pdptes.lookups += 1
    pdptes.hits += 1
    state.walk_loads += 2
    keep_table_above(state, vaddr, above)
    _count_and_install(state, vaddr, access, above.table, above.every, above.any_xd, pte)
    return True


@inlined
def table_above(state: MmuState, vaddr: int) -> Above:
    """The table that a plain PDE refers to, which is read since no structure cache has it, but that of PDPTEs the table
    it stands in; none (0) where something else is to be done."""
    pdptes = structure_cache(state, 3)
    cached = find_table(pdptes, vaddr, 3, state.pcid)
    if cached == 0:
        return Above(0, 0, 0)
    above = table_at(pdptes, cached - 1)
    slot = above.table | (((vaddr >> 21) & 511) << 3)
    if slot >= state.ram_bytes:
        return Above(0, 0, 0)
    pde = load64(state.ram + slot)
    if pde & _USED != _USED or pde & state.unusual != 0:
        return Above(0, 0, 0)
    return Above(pde & ADDRESS, (above.every & pde) | A, above.any_xd | pde)


@inlined
def keep_table_above(state: MmuState, vaddr: int, above: Above) -> None:
    """The walk is made: the structure caches keep the PDE, and note the use of the PDPTE."""
    pdptes = structure_cache(state, 3)
    note_use(state, pdptes, find_table(pdptes, vaddr, 3, state.pcid) - 1, False)
    cache_structure_entry(state, vaddr, 2, above.table, above.every, above.any_xd)


@inlined
def usable_pte(state: MmuState, vaddr: int, access: int, table: int, every: int, any_xd: int) -> int:
    """The PTE in a table, below entries with this AND and OR; 0 if it may not be used, or has something to set."""
    slot = table | (((vaddr >> 12) & 511) << 3)
    if slot >= state.ram_bytes:
        return 0
    pte = load64(state.ram + slot)
    if pte & _USED != _USED or pte & state.reserved[3] != 0:
        return 0
    return pte if user_may(access, every & pte, any_xd | pte, pte) else 0


@inlined
def _count_and_install(state: MmuState, vaddr: int, access: int, table: int, every: int, any_xd: int, pte: int) -> None:
    """The walk has read the PTE in a table, below entries with this AND and OR."""
    state.walks += 1
    state.slots[1] = slot = table | (((vaddr >> 12) & 511) << 3)
    coalesced = 1 if state.coalesce > 1 and is_coalesced(state) else 0
    count_small_page(state, access, coalesced)
    leaf = Leaf(1, pte & ADDRESS, every & pte, any_xd | pte, pte, coalesced)
    install_small(state, arrays_for(state, access, 2), vaddr, leaf)
    install_small(state, arrays_for(state, access, 1), vaddr, leaf)
    if state.prefetch_next != 0 and access != Access.FETCH:
        prefetch_next(state, access, vaddr, slot, every, any_xd)


@inlined
def _hit_second(state: MmuState, vaddr: int, access: int, found: Found) -> bool:
    """An access that finds the page in the second level, if it is one of 4K there, and may be used."""
    array = TlbArray.from_address(found.array)
    if level_of(tag_at(array, found.place)) != 1 or not _may_use(found, access):
        return False
    array.hits += 1
    touch(state, array, found.place, vaddr, 1, False)
    count_level_2_hit(state, access, found)
    install_small(state, arrays_for(state, access, 1), vaddr, leaf_of(found, vaddr))
    return True
