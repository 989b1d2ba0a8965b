"""TlbModel: the TLB model of one vCPU, built from a geometry, for Python."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmu.access import STATS, STATS_WORDS
from mmu.array_record import (
    ARRAY_WORDS,
    COUNTS,
    DROPS,
    EVICTIONS,
    FACT_WORDS,
    FACTS,
    HASH_SHIFT,
    HINT_MASK,
    HINTS,
    HITS,
    INVALIDATIONS,
    KINDS,
    LEVEL,
    MAX_ARRAYS,
    META,
    MISSES,
    POLICY,
    SET_MASK,
    SIZES,
    TAGS,
    WAYS,
)
from mmu.engine_sync import MAX_PIECES
from mmu.entries import RW, XD, D
from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes, Replacement
from mmu.objectcode import Library, load
from mmu.registers import CR3_NO_FLUSH, CR4, PCID_MASK, Access, Refused
from mmu.state import MmuState, Status
from mmu.structure_cache import STRUCTURE_WORDS
from mmu.walk import canonical

if TYPE_CHECKING:
    from mmu.guard import Guard

Words = npt.NDArray[np.uint64]
_GLOBAL = 0x1000
_MAX_HINTS = 4096


def exact_library() -> Library:
    """The entry points of exact mode."""
    return load(
        "mmu.exact", "mmu.access", "mmu.array_record", "mmu.engine_sync", "mmu.entries", "mmu.events", "mmu.geometry",
        "mmu.hooks", "mmu.invalidation", "mmu.registers", "mmu.replacement", "mmu.state", "mmu.structure_cache",
        "mmu.tlb", "mmu.unicorn_abi", "mmu.walk",
    )  # fmt: skip


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

    A lookup is one access that asked the array.  What was installed is still there, or left by replacement
    (evictions), by an
    invalidation, or because a hit could not be used or for inclusion (drops).
    """

    lookups: int
    hits: int
    misses: int
    evictions: int
    invalidations: int
    installs: int
    drops: int


@dataclass(frozen=True)
class CachedTranslation:
    """One entry of an array: the page, its size in bytes, whose it is, and the frame it stands for.

    ``writable`` and ``executable`` are the AND and the OR over the entries of every level, whatever the registers say.
    ``smashed``: it is a 2M piece of a 1G page.
    """

    vaddr: int
    page_size: int
    pcid: int | None  # None: global
    paddr: int
    dirty: bool
    smashed: bool
    writable: bool
    executable: bool


@dataclass(frozen=True)
class Lookup:
    """What became of an access: the TLB level where it hit (0: nowhere) and in which array; whether a walk followed
    (after a hit: because that could not be used), from the structure-cache entry of which level (0: from CR3); and
    the physical
    address, None if it faulted."""

    level: int
    array: str | None
    walked: bool
    start: int
    paddr: int | None


class TlbModel:
    """The translation caches of one vCPU; ``state`` holds its registers and where memory is.

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

    def __init__(self, state: MmuState, geometry: Geometry, seed: int = 0, guard: Guard | None = None) -> None:
        """``guard`` has what callbacks raise that the state leads to."""
        _check_geometry(geometry)
        self._guard = guard
        self.geometry = geometry
        self._state = state
        self._address = ctypes.addressof(state)
        self._library = exact_library()
        self._keep: list[npt.NDArray[Any]] = []
        self._records = self._words(max(1, len(geometry.arrays)) * ARRAY_WORDS)
        self._stats = self._words(3 * STATS_WORDS)
        self._psc_words = {name: self._words(6) for name in ("psc", "psc_entries", "psc_lookups", "psc_hits")}
        for record, array in zip(self._rows(), geometry.arrays, strict=True):
            self._make_array(record, array)
        self._make_structure_caches()
        state.tlb_number, state.tlb_arrays = len(geometry.arrays), self._records.ctypes.data
        state.tlb_lists = self._lists().ctypes.data
        state.tlb_shared = self._shared().ctypes.data
        state.tlb_stats = self._stats.ctypes.data
        state.tlb_random = seed & 0xFFFF_FFFF_FFFF_FFFF or 1
        state.inclusive, state.smash_1g = geometry.inclusive, geometry.smash_1g
        state.pieces, state.pieces_number = self._words(MAX_PIECES).ctypes.data, 0

    def _words(self, number: int) -> Words:
        words = np.zeros(number, dtype=np.uint64)
        self._keep.append(words)
        return words

    def _rows(self) -> list[Words]:
        return [self._records[i * ARRAY_WORDS : (i + 1) * ARRAY_WORDS] for i in range(len(self.geometry.arrays))]

    def _make_array(self, record: Words, array: Array) -> None:
        hints = np.zeros(min(_MAX_HINTS, 2 << array.entries.bit_length()), dtype=np.uint32)
        self._keep.append(hints)
        shift = array.sets.bit_length() - 1 if array.index_hash == IndexHash.XOR else 0
        for at, value in (
            (TAGS, self._words(array.entries).ctypes.data), (FACTS, self._words(array.entries *
            FACT_WORDS).ctypes.data),
            (META, self._words(array.sets).ctypes.data), (HINTS, hints.ctypes.data), (HINT_MASK, len(hints) - 1),
            (SET_MASK, array.sets - 1), (WAYS, array.ways), (KINDS, array.kinds), (SIZES, array.page_sizes),
            (POLICY, array.replacement), (HASH_SHIFT, shift), (LEVEL, array.level),
        ):  # fmt: skip
            record[int(at) // 8] = int(value)

    def _make_structure_caches(self) -> None:
        state = self._state
        for level, entries in self.geometry.structure_caches.items():
            self._psc_words["psc"][level] = self._words(max(1, entries) * STRUCTURE_WORDS).ctypes.data
            self._psc_words["psc_entries"][level] = entries
        for name, words in self._psc_words.items():
            setattr(state, name, words.ctypes.data)

    def _lists(self) -> Words:
        """By access and level the records of the arrays to ask, in order."""
        lists = self._words(3 * 2 * (MAX_ARRAYS + 1)).reshape(3, 2, MAX_ARRAYS + 1)
        for access in Access:
            for level in (1, 2):
                asked = [row for row, array in zip(self._rows(), self.geometry.arrays, strict=True)
                         if array.level == level and array.kinds & (1 << access)]  # fmt: skip
                lists[access, level - 1, : len(asked)] = [row.ctypes.data for row in asked]
        return lists

    def _shared(self) -> Words:
        """By access and page level the kinds of access that find what a walk for such an access installs."""
        shared = self._words(3 * 4).reshape(3, 4)
        for access in Access:
            mine = [array for array in self.geometry.arrays if array.kinds & (1 << access)]
            for level in (1, 2, 3):
                size = PageSizes(1 << (level - 1))
                takers = [array for array in mine if array.page_sizes & size]
                if self.geometry.smash_1g and size == PageSizes.G1:
                    whole = [array for array in takers if array.level == 1]
                    pieces = [array for array in mine if array.page_sizes & PageSizes.M2]
                    takers = [*(whole or (a for a in pieces if a.level == 1)), *(a for a in pieces if a.level == 2)]
                shared[access, level] = sum(kind for kind in Kinds(7) if any(array.kinds & kind for array in takers))
        return shared

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
        """One access, and what became of it; None if the address is not canonical."""
        status = self.access(vaddr, access)
        if status == Status.GENERAL_PROTECTION:
            return None
        state = self._state
        level, walked, start = state.tlb_outcome & 0xFF, bool(state.tlb_outcome >> 8 & 1), state.tlb_outcome >> 16
        name = self._name(state.found_array) if level else None
        if walked:
            return Lookup(level, name, True, start, state.paddr if status == Status.OK else None)
        paddr = int(self._library["found_address"](self._address, vaddr))
        return Lookup(level, name, False, 0, paddr)

    def _name(self, record: int) -> str:
        return self.geometry.arrays[(record - self._records.ctypes.data) // (8 * ARRAY_WORDS)].name

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
        pcide = bool(state.cr4 & CR4.PCIDE)
        state.cr3 = value & ~CR3_NO_FLUSH
        state.pcid = value & PCID_MASK if pcide else 0
        if not (pcide and value & CR3_NO_FLUSH):
            self._library["invalidate_all"](self._address, state.pcid, 0, 0)

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
        """MOV to CR4: the state's cr4 and pcid change.  Everything goes where PGE or LA57 changes or PCIDE is cleared;
        where SMEP is set, what is of the current PCID, and what is global."""
        state = self._state
        set_now, cleared_now = new & ~old, old & ~new
        state.cr4 = new
        state.pcid = state.cr3 & PCID_MASK if new & CR4.PCIDE else 0
        if (set_now | cleared_now) & (CR4.PGE | CR4.LA57) or cleared_now & CR4.PCIDE:
            self.flush_all()
        elif set_now & CR4.SMEP:
            self.flush_current()

    def flush_current(self) -> None:
        """Everything of the current PCID, and every global translation."""
        self._library["invalidate_all"](self._address, self._state.pcid, 0, 1)

    def flush_all(self) -> None:
        """Everything, global or not, of every PCID: a change of CR0.PG, and the like."""
        self._library["invalidate_all"](self._address, 0, 1, 1)

    # -- looking ---------------------------------------------------------------------------------------------------

    def array_counters(self) -> dict[str, ArrayCounters]:
        """Statistics by array."""
        counters = {}
        for array, row in zip(self.geometry.arrays, self._rows(), strict=True):
            hits, misses, evictions, invalidations, drops = (
                int(row[int(at) // 8]) for at in (HITS, MISSES, EVICTIONS, INVALIDATIONS, DROPS)
            )
            held = sum(int(row[int(COUNTS) // 8 + size]) for size in range(3))
            installs = evictions + invalidations + drops + held
            counters[array.name] = ArrayCounters(hits + misses, hits, misses, evictions, invalidations, installs, drops)
        return counters

    def structure_counters(self) -> dict[int, tuple[int, int]]:
        """(lookups, hits) of the structure cache of each level that has one."""
        words = self._psc_words
        return {
            level: (int(words["psc_lookups"][level]), int(words["psc_hits"][level]))
            for level, entries in sorted(self.geometry.structure_caches.items())
            if entries
        }

    def structure_contents(self) -> dict[int, list[tuple[int, int, int]]]:
        """By level, least recently used first: PCID, the address bits that select the entry, the table's address."""
        held = {}
        for level, entries in sorted(self.geometry.structure_caches.items()):
            words = _at(int(self._psc_words["psc"][level]), entries * STRUCTURE_WORDS).reshape(-1, STRUCTURE_WORDS)
            rows = sorted((row for row in words.tolist() if row[0]), key=lambda row: row[4])
            held[level] = [(row[0] >> 3 & PCID_MASK, row[0] >> 16, row[1]) for row in rows]
        return held

    def access_counters(self) -> dict[Access, dict[str, int]]:
        """What became of the accesses of each kind."""
        rows = self._stats.reshape(3, STATS_WORDS)
        counters = {access: dict(zip(STATS, rows[access].tolist(), strict=False)) for access in Access}
        for counted in counters.values():
            counted["accesses"] = sum(counted.values())
        return counters

    def contents(self) -> dict[str, list[CachedTranslation]]:
        """Every translation held, by array, in the order of sets and ways."""
        return {name: [entry for entry in entries if entry] for name, entries in self.places().items()}

    def places(self) -> dict[str, list[CachedTranslation | None]]:
        """As :meth:`contents`, with None for each way that is free."""
        held: dict[str, list[CachedTranslation | None]] = {}
        for array, row in zip(self.geometry.arrays, self._rows(), strict=True):
            tags = _at(int(row[int(TAGS) // 8]), array.entries)
            facts = _at(int(row[int(FACTS) // 8]), array.entries * FACT_WORDS).reshape(-1, FACT_WORDS)
            held[array.name] = [_describe(int(tag), facts[i].tolist()) if tag else None for i, tag in enumerate(tags)]
        return held


def _at(address: int, number: int) -> Words:
    words: Words = np.zeros(0, dtype=np.uint64)
    if number:
        words = np.frombuffer(memoryview((ctypes.c_uint64 * number).from_address(address)).cast("B"), dtype=np.uint64)
    return words


def _describe(tag: int, facts: list[int]) -> CachedTranslation:
    level, context = tag >> 1 & 3, tag >> 3 & 0x1FFF
    vaddr = (tag >> 16) << (12 + 9 * (level - 1))
    if vaddr >> 56 & 1:
        vaddr |= 0xFE00_0000_0000_0000
    pcid = None if context == _GLOBAL else context
    frame, every, any_xd, leaf = facts[:4]
    return CachedTranslation(
        vaddr, 1 << (12 + 9 * (level - 1)), pcid, frame & ~1, bool(leaf & D), bool(frame & 1), bool(every & RW),
        not any_xd & XD,
    )  # fmt: skip


def _check_geometry(geometry: Geometry) -> None:
    """ValueError for what cannot be modelled."""
    if len(geometry.arrays) > MAX_ARRAYS:
        raise ValueError(f"{geometry.name}: {len(geometry.arrays)} arrays; at most {MAX_ARRAYS} are modelled")
    for array in geometry.arrays:
        if array.sets & (array.sets - 1) or not array.sets or not array.ways:
            raise ValueError(f"{array.name}: {array.sets} sets of {array.ways} ways; the sets must be a power of two")
        if array.level not in (1, 2):
            raise ValueError(f"{array.name}: level {array.level}; there are levels 1 and 2")
        if array.replacement == Replacement.TREE_PLRU and (array.ways & (array.ways - 1) or array.ways > 64):
            raise ValueError(f"{array.name}: tree-PLRU needs a power of two ways, at most 64, not {array.ways}")
        if array.replacement == Replacement.BIT_PLRU and array.ways > 64:
            raise ValueError(f"{array.name}: bit-PLRU is modelled for at most 64 ways, not {array.ways}")
    for level in geometry.structure_caches:
        if not 2 <= level <= 5:
            raise ValueError(f"{geometry.name}: there is no structure cache of level {level}")
