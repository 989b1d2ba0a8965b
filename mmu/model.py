"""TlbModel: the TLB model of one vCPU, built from a geometry, for Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from mmu.access import AccessCounts
from mmu.array_record import Held, TlbArray
from mmu.array_tags import PAGE_SHIFT
from mmu.cached_translation import CachedTranslation, described
from mmu.costs import COUNTED, TranslationCosts
from mmu.engine_sync import MAX_PIECES
from mmu.geometry import Array, Geometry, IndexHash, check_geometry
from mmu.latency import Latency
from mmu.lookup_lists import coalesced_before, lookup_lists, shared_kinds, small_pages
from mmu.nested_walk import NestedTables
from mmu.objectcode import Library, load
from mmu.registers import CR3_NO_FLUSH, CR4, PCID_MASK, Access, Refused
from mmu.second_dimension import SecondDimension
from mmu.shown import ShownInHex
from mmu.state import MmuState, Status
from mmu.structure_cache import StructureCache, held_tables, structure_memory
from mmu.walk import canonical
from mmu.ways import SPARE

if TYPE_CHECKING:
    from mmu.guard import Guard

Words = npt.NDArray[np.uint64]
_MAX_HINTS = 4096
#: Names of the walks that were completed, by page size.
_COMPLETED = ("walk_completed_4k", "walk_completed_2m", "walk_completed_1g")


#: The fields of records that count something.
_COUNTED: dict[type[ctypes.Structure], tuple[str, ...]] = {
    TlbArray: ("counts", "hits", "misses", "evictions", "invalidations", "drops"),
    StructureCache: ("lookups", "hits"),
    AccessCounts: tuple(name for name, _ in AccessCounts._fields_),
    NestedTables: ("walks", "loads", "tlb_hits", "cycles"),
    **COUNTED,
}


def _words_of(record: type[ctypes.Structure], name: str) -> range:
    """Which words of a record a field is."""
    field = getattr(record, name)
    return range(field.offset // 8, (field.offset + field.size) // 8)


def exact_library() -> Library:
    """The entry points of exact mode."""
    return load("mmu.exact")


class Invpcid(IntEnum):
    """The types of INVPCID (SDM vol. 2)."""

    INDIVIDUAL_ADDRESS = 0
    SINGLE_CONTEXT = 1
    ALL_INCLUDING_GLOBAL = 2
    ALL_BUT_GLOBAL = 3


def check_invpcid(state: MmuState, kind: int, pcid: int, vaddr: int) -> None:
    """:class:`mmu.registers.Refused` if INVPCID raises #GP(0) for this type and descriptor (SDM vol. 2)."""
    if kind not in tuple(Invpcid):
        raise Refused(f"#GP(0): there is no INVPCID of type {kind}")
    if pcid >> 12:
        raise Refused(f"#GP(0): bits 63:12 of the INVPCID descriptor are not 0: {pcid:#x}")
    if kind <= Invpcid.SINGLE_CONTEXT and pcid and not state.cr4 & CR4.PCIDE:
        raise Refused(f"#GP(0): INVPCID of PCID {pcid} without CR4.PCIDE")
    if kind == Invpcid.INDIVIDUAL_ADDRESS and not canonical(state, vaddr):
        raise Refused(f"#GP(0): INVPCID of {vaddr:#x}, which is not canonical")


@dataclass(frozen=True)
class ArrayCounters:
    """One array's statistics.

    A lookup is one access that asked the array.  An installed translation is still held, or has left by replacement
    (evictions), by an invalidation, or because a hit could not be used or for inclusion (drops).
    """

    lookups: int
    hits: int
    misses: int
    evictions: int
    invalidations: int
    installs: int
    drops: int


@dataclass(frozen=True, repr=False)
class Lookup(ShownInHex):
    """What became of an access: the TLB level where it hit (0: nowhere) and in which array; whether a walk followed
    (after a hit: because that could not be used), from the structure-cache entry of which level (0: from CR3); and
    the physical
    address, None if it faulted."""

    _hexadecimal: ClassVar[frozenset[str]] = frozenset(("paddr",))

    level: int
    array: str | None
    walked: bool
    start: int
    paddr: int | None


class TlbModel:
    """The translation caches of one vCPU; ``state`` holds its registers and the place of memory.

    Invalidating here is not enough where Unicorn runs: :class:`mmu.Mmu` has the same operations, and flushes Unicorn
    too.  What each operation invalidates is what SDM vol. 3, 4.10.4.1 demands, and no more.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
    >>> from mmu import Access, Mmu, PhysicalMemory
    >>> mmu = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20), tlb="textbook")
    >>> mmu.load_cr3(0x1000)
    >>> status = mmu.tlb.access(0x400000, Access.READ)      # a page fault, as nothing is mapped
    >>> mmu.tlb.array_counters()["L1D"].misses
    1
    """

    def __init__(
        self,
        state: MmuState,
        geometry: Geometry,
        seed: int = 0,
        guard: Guard | None = None,
        beside: TlbModel | None = None,
    ) -> None:
        """``guard`` keeps the exceptions of callbacks that the state leads to; ``beside`` is another vCPU's model."""
        check_geometry(geometry)
        self._guard = guard
        self.geometry = geometry
        #: Told when CR3 has been loaded.
        self.on_registers: Callable[[], None] | None = None
        self._state = state
        self._address = ctypes.addressof(state)
        self._library = exact_library()
        self._keep: list[npt.NDArray[Any]] = []
        self._arrays = (TlbArray * len(geometry.arrays))()
        self._counts = (AccessCounts * len(Access))()
        self._caches = (StructureCache * 6)()
        for record, array in zip(self._arrays, geometry.arrays, strict=True):
            self._make_array(record, array)
        self._make_structure_caches()
        state.tlb_number, state.tlb_arrays = len(geometry.arrays), ctypes.addressof(self._arrays)
        lists, shared = lookup_lists(geometry, ctypes.addressof(self._arrays)), shared_kinds(geometry)
        self._small = small_pages(geometry, ctypes.addressof(self._arrays))
        state.small_pages = ctypes.addressof(self._small)
        self._keep += [lists, shared]
        state.tlb_lists, state.tlb_shared = lists.ctypes.data, shared.ctypes.data
        state.access_counts = ctypes.addressof(self._counts)
        state.structure_caches = ctypes.addressof(self._caches)
        state.tlb_random = seed & 0xFFFF_FFFF_FFFF_FFFF or 1
        state.inclusive, state.smash_1g = geometry.inclusive, geometry.smash_1g
        state.prefetch_next, state.coalesce = geometry.prefetch_next, geometry.coalesce
        state.coalesced_before = coalesced_before(geometry)
        state.pieces, state.pieces_number = self._words(MAX_PIECES).ctypes.data, 0
        #: What translations cost; None if the geometry has no latency.
        self.costs: TranslationCosts | None = None
        #: The second dimension of paging; None if the geometry has none.
        self.second: SecondDimension | None = None
        if geometry.nested is not None:
            other = None if beside is None else beside.second
            self.second = SecondDimension(geometry.nested, state.ram_bytes, other)
            state.nested_level = geometry.nested.page_level
        if geometry.latency is not None:
            self.costs = TranslationCosts(state, geometry.latency, self.second)
        elif self.second is not None:
            self._without_latency = TranslationCosts(state, Latency(0), self.second)

    def _words(self, number: int) -> Words:
        words = np.zeros(number, dtype=np.uint64)
        self._keep.append(words)
        return words

    def _make_array(self, record: TlbArray, array: Array) -> None:
        hints = np.zeros(min(_MAX_HINTS, 2 << array.entries.bit_length()), dtype=np.uint32)
        self._keep.append(hints)
        record.tags = self._words(array.entries + SPARE).ctypes.data
        record.held = self._words(array.entries * (ctypes.sizeof(Held) // 8)).ctypes.data
        record.times = self._words(array.entries + SPARE).ctypes.data
        record.used = self._words(array.sets).ctypes.data
        record.hints, record.hint_mask = hints.ctypes.data, len(hints) - 1
        record.set_mask, record.ways, record.level = array.sets - 1, array.ways, array.level
        record.hash_shift = array.sets.bit_length() - 1 if array.index_hash != IndexHash.LINEAR else 0
        record.skewed = array.index_hash == IndexHash.SKEWED
        if array.coalesce > 1 or record.skewed:
            near = np.zeros(4 << array.entries.bit_length(), dtype=np.uint32)
            self._keep.append(near)
            record.near, record.near_mask = near.ctypes.data, len(near) - 1
        record.group_shift, record.group_bits = array.coalesce.bit_length() - 1, array.coalesce - 1 << PAGE_SHIFT
        if array.pcids is not None:
            record.pcids, record.contexts = array.pcids + 1, self._words(max(1, 2 * array.pcids)).ctypes.data
        record.kinds, record.page_sizes, record.replacement = array.kinds, array.page_sizes, array.replacement

    def _make_structure_caches(self) -> None:
        for level in self.geometry.structure_caches:
            cache, shape = self._caches[level], self.geometry.structure(level)
            self._keep += structure_memory(cache, shape.entries)
            cache.ways, cache.set_mask, cache.replacement = shape.ways, shape.sets - 1, shape.replacement

    # -- accesses --------------------------------------------------------------------------------------------------

    def access(self, vaddr: int, access: Access) -> int:
        """One access; returns a :class:`mmu.state.Status`, and the result is in the state."""
        status = int(self._library["model_access"](self._address, vaddr, int(access)))
        if self._guard is not None:
            self._guard.raise_failure()
        return status

    def accesses(self, vaddrs: Words, kinds: Words) -> None:
        """Many accesses: addresses, and :class:`Access` values, as uint64 arrays of one length."""
        if vaddrs.shape != kinds.shape or vaddrs.dtype != np.uint64 or kinds.dtype != np.uint64:
            raise ValueError("accesses wants two uint64 arrays of one length")
        vaddrs, kinds = np.ascontiguousarray(vaddrs), np.ascontiguousarray(kinds)
        self._library["model_accesses"](self._address, vaddrs.ctypes.data, kinds.ctypes.data, len(vaddrs))
        if self._guard is not None:
            self._guard.raise_failure()

    def lookup(self, vaddr: int, access: Access) -> Lookup | None:
        """One access, and its outcome; None if the address is not canonical."""
        status = self.access(vaddr, access)
        if status == Status.GENERAL_PROTECTION:
            return None
        last = self._state.last_access
        name = self._name(last.array) if last.level else None
        if last.walked:
            paddr = self._state.walked.paddr if status == Status.OK else None
            return Lookup(last.level, name, True, last.start, paddr)
        return Lookup(last.level, name, False, 0, int(self._library["found_address"](self._address, vaddr)))

    def _name(self, address: int) -> str:
        return self.geometry.arrays[(address - ctypes.addressof(self._arrays)) // ctypes.sizeof(TlbArray)].name

    # -- invalidation (SDM vol. 3, 4.10.4.1) -----------------------------------------------------------------------

    def invlpg(self, vaddr: int) -> None:
        """INVLPG: the address in the current PCID, global or not, and every structure-cache entry of that PCID."""
        self._library["model_invlpg"](self._address, vaddr)

    def page_fault(self, vaddr: int, pcid: int) -> None:
        """The delivery of a #PF: the address, global or not, and the structure-cache entries that it would use."""
        self._library["model_page_fault"](self._address, vaddr, pcid)

    def mov_cr3(self, value: int) -> None:
        """MOV to CR3: the state's cr3 and pcid change; bit 63 with CR4.PCIDE keeps what the new PCID had."""
        state = self._state
        pcide, old = bool(state.cr4 & CR4.PCIDE), state.pcid
        state.cr3 = value & ~CR3_NO_FLUSH
        state.pcid = value & PCID_MASK if pcide else 0
        if self.on_registers is not None:
            self.on_registers()
        if not (pcide and value & CR3_NO_FLUSH):
            self._library["invalidate_all"](self._address, state.pcid, 0, 0)
        if state.pcid != old:
            self._library["leave_context"](self._address, old)

    def invpcid(self, kind: Invpcid, pcid: int = 0, vaddr: int = 0) -> None:
        """INVPCID, its four types.  ValueError where it raises #GP(0)."""
        check_invpcid(self._state, kind, pcid, vaddr)
        if kind == Invpcid.INDIVIDUAL_ADDRESS:
            self._library["model_invpcid_address"](self._address, vaddr, pcid)
        elif kind == Invpcid.SINGLE_CONTEXT:
            self._library["invalidate_all"](self._address, pcid, 0, 0)
        else:
            self._library["invalidate_all"](self._address, 0, 1, int(kind == Invpcid.ALL_INCLUDING_GLOBAL))

    def mov_cr4(self, old: int, new: int) -> None:
        """MOV to CR4: the state's cr4 and pcid change.  Everything is invalidated if PGE or LA57 changes or PCIDE is
        cleared; if SMEP is set, the translations of the current PCID and the global ones.
        """
        state = self._state
        set_now, cleared_now = new & ~old, old & ~new
        state.cr4 = new
        state.pcid = state.cr3 & PCID_MASK if new & CR4.PCIDE else 0
        if (set_now | cleared_now) & (CR4.PGE | CR4.LA57) or cleared_now & CR4.PCIDE:
            self.flush_all()
        elif set_now & CR4.SMEP:
            self.flush_current()

    def flush_current(self) -> None:
        """Invalidate everything of the current PCID, and every global translation."""
        self._library["invalidate_all"](self._address, self._state.pcid, 0, 1)

    def flush_all(self) -> None:
        """Invalidate everything, global or not, of every PCID, as for a change of CR0.PG."""
        self._library["invalidate_all"](self._address, 0, 1, 1)

    # -- looking ---------------------------------------------------------------------------------------------------

    def array_counters(self) -> dict[str, ArrayCounters]:
        """Statistics by array."""
        counters = {}
        for array, record in zip(self.geometry.arrays, self._arrays, strict=True):
            counters[array.name] = ArrayCounters(
                lookups=record.hits + record.misses,
                hits=record.hits,
                misses=record.misses,
                evictions=record.evictions,
                invalidations=record.invalidations,
                installs=record.evictions + record.invalidations + record.drops + sum(record.counts),
                drops=record.drops,
            )
        return counters

    def structure_counters(self) -> dict[int, tuple[int, int]]:
        """(lookups, hits) of the structure cache of each level that has one."""
        return {level: (cache.lookups, cache.hits) for level, cache in enumerate(self._caches) if cache.entries}

    def counter_words(self) -> list[tuple[npt.NDArray[Any], list[int]]]:
        """The memory of all that is counted: records as rows of words, and which words of a row are counters."""
        records: list[tuple[Any, type[ctypes.Structure]]] = [
            (self._arrays, TlbArray), (self._caches, StructureCache), (self._counts, AccessCounts),
        ]  # fmt: skip
        if self.costs is not None:
            records += self.costs.records()
        if self.second is not None:
            records += self.second.records()
        found = []
        for memory, record in records:
            rows = np.frombuffer(memoryview(memory).cast("B"), np.uint64).reshape(len(memory), -1)
            found.append((rows, [at for name in _COUNTED[record] for at in _words_of(record, name)]))
        return found

    def structure_contents(self) -> dict[int, list[tuple[int, int, int]]]:
        """By level, least recently used first (LFU: least often; FIFO: installed first; over all sets): PCID, the
        address bits that select the entry, the table's address.
        """
        contents = {}
        for level in sorted(self.geometry.structure_caches):
            held = held_tables(self._caches[level])
            contents[level] = [(key >> 3 & PCID_MASK, key >> 16, table) for key, table in held]
        return contents

    def access_counters(self) -> dict[Access, dict[str, int]]:
        """The counts of the accesses of each kind, by outcome."""
        counters = {}
        for access in Access:
            counts = self.counts_of(access)
            counted = {"l1_hits": counts.l1_hits, "stlb_hits": counts.stlb_hits}
            counted |= zip(_COMPLETED, counts.walk_completed, strict=True)
            counted["walk_faults"] = counts.walk_faults
            counters[access] = counted | {"accesses": sum(counted.values())}
        return counters

    def counts_of(self, access: Access) -> AccessCounts:
        """What is counted of the accesses of a kind, as native code has it."""
        return self._counts[access]

    def contents(self) -> dict[str, list[CachedTranslation]]:
        """Every translation held, by array, in the order of sets and ways."""
        return {name: [entry for entry in entries if entry] for name, entries in self.places().items()}

    def places(self) -> dict[str, list[CachedTranslation | None]]:
        """As :meth:`contents`, with None for each way that is free."""
        places: dict[str, list[CachedTranslation | None]] = {}
        for array, record in zip(self.geometry.arrays, self._arrays, strict=True):
            tags = _records(ctypes.c_uint64, record.tags, array.entries)
            each = zip(tags, _records(Held, record.held, array.entries), strict=True)
            places[array.name] = [described(tag, held, array.coalesce) if tag else None for tag, held in each]
        return places


def _records(kind: Any, address: int, number: int) -> Any:
    """Consecutive records."""
    return (kind * number).from_address(address)
