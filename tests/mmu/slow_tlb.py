"""The TLB model once more: slow and obvious, dicts and lists, written from the manual and not from mmu.tlb.

Where the manual leaves a choice, this model does the same as the native one:

* Arrays are asked in the order of the geometry, those of level 1 first; inside an array page sizes from 4K up.  The
  first match ends the search: later arrays are not asked, and their counters and replacement state do not move.
* A hit that cannot be used (a store to a page whose D the entry does not know to be set; rights that do not allow the
  access) counts as a hit and touches; then all that is cached for the address is dropped, and a walk follows.
* Paging-structure caches take entries from completed walks only (a processor may cache those above the one that
  faulted).
* Pages of 4K whose PTEs, in one line, differ in nothing but frames that are in order are one entry in arrays that
  coalesce; a walk for any of them installs it, and what was there of them alone leaves.
* Nothing is prefetched, and no entry leaves but by replacement, an invalidation, a hit that could not be used,
  inclusion, or because its page is coalesced now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from mmu.geometry import Array, Geometry, IndexHash, Kinds, Replacement, StructureShape
from mmu.registers import CR4

SIZE_4K, SIZE_2M, SIZE_1G = 1, 2, 3
_64_BITS = (1 << 64) - 1
_PAGE_BYTES = 4096


def shift_of(level: int) -> int:
    """How many low bits of an address an entry of this level does not look at; for a leaf, the page's offset bits."""
    return 12 + 9 * (level - 1)


@dataclass(frozen=True)
class Entry:
    """A cached translation.

    ``size`` is the level of the leaf entry (1: 4K, 2: 2M, 3: 1G), ``number`` the page number of that size, ``frame``
    the physical address of the page; ``every`` (AND of R/W and U/S), ``xd`` (OR of XD), ``key`` and ``dirty`` are what
    rights are computed from.  ``whole``: the level of the page of which it
    is a piece, or 0.
    """

    size: int
    number: int
    pcid: int
    is_global: bool
    frame: int
    every: int = 0
    xd: int = 0
    key: int = 0
    dirty: bool = True
    whole: int = 0
    #: How many pages of 4K it is; ``number`` and ``frame`` are those of the first.
    pages: int = 1

    def covers(self, vaddr: int) -> bool:
        """Whether it translates the address."""
        return self.number <= vaddr >> shift_of(self.size) < self.number + self.pages

    @property
    def smashed(self) -> bool:
        """Whether it is a piece of a larger page."""
        return self.whole != 0

    def usable(self, pcid: int) -> bool:
        """Whether accesses with this PCID may use it."""
        return self.is_global or self.pcid == pcid

    def is_only_of(self, pcid: int) -> bool:
        """Whether it is of this PCID and not global."""
        return self.pcid == pcid and not self.is_global

    def same_page(self, other: Entry) -> bool:
        """Whether both translate the same page for the same address space."""
        if (self.size, self.number, self.pages) != (other.size, other.number, other.pages):
            return False
        return self.same_owner(other)

    def same_owner(self, other: Entry) -> bool:
        """Whether both are of one address space, or both global."""
        return self.is_global == other.is_global and (self.is_global or self.pcid == other.pcid)

    def within(self, other: Entry) -> bool:
        """Whether another one has all of its pages, of 4K."""
        if not self.same_owner(other) or (self.size, other.size) != (SIZE_4K, SIZE_4K):
            return self.same_page(other)
        return other.number <= self.number and self.number + self.pages <= other.number + other.pages

    def meets(self, other: Entry) -> bool:
        """Whether another one has one of its pages."""
        if not self.same_owner(other) or self.size != other.size:
            return False
        return self.number < other.number + other.pages and other.number < self.number + self.pages


@dataclass(frozen=True)
class Table:
    """A paging-structure entry that refers to a table: where that is, and the rights down to here."""

    level: int
    address: int
    every: int = 0
    xd: int = 0


@dataclass(frozen=True)
class Walk:
    """What a walk that did not fault found: the page, and the entries it read that refer to tables, top level first."""

    size: int
    frame: int
    is_global: bool = False
    every: int = 0
    xd: int = 0
    key: int = 0
    dirty: bool = True
    tables: tuple[Table, ...] = ()
    #: The next page, where its PTE is in the same line and was used before.
    following: Walk | None = None
    #: The eight PTEs of the line in which its PTE is, as the walk leaves them; none for a large page.
    line: tuple[int, ...] = ()


#: walk(vaddr, kind, start): a page walk from the table that ``start`` refers to (None: from CR3's); None: it faulted.
Walker = Callable[[int, Kinds, Table | None], Walk | None]
Unwanted = Callable[[Entry], bool]
#: unwanted(cache, key): whether what the cache holds under the key is to go.
UnwantedStructure = Callable[["SlowStructureCache", tuple[int, int]], bool]
#: allows(entry, kind): whether the current mode may do this with the page.
Allows = Callable[[Entry, Kinds], bool]


@dataclass(frozen=True)
class Outcome:
    """What became of an access.

    ``level``: where it hit (0: nowhere), ``array`` in which; ``walked``: a walk followed (with level > 0: because the
    hit could not be used), from the structure-cache entry of level ``start`` (0: from CR3); ``paddr`` is None if it
    faulted.
    """

    level: int
    array: str | None
    walked: bool
    start: int
    paddr: int | None


@dataclass
class SlowCounters:
    """Counts of an array; installs = evictions + invalidations + drops + entries held."""

    lookups: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    invalidations: int = 0
    installs: int = 0
    drops: int = 0  # entries that went because a hit could not be used, or for inclusion


@dataclass
class Way:
    """One place of a set: its entry, the times (0: never) that LRU and FIFO use, and the uses of LFU."""

    entry: Entry | None = None
    touched: int = 0
    installed: int = 0
    uses: int = 0


@dataclass
class Set:
    """The ways that one page number may be in, and the bits of the two PLRU policies."""

    ways: list[Way]
    tree: list[int] = field(default_factory=list)  # node n has children 2n and 2n + 1; 0: the victim is to the left
    used: list[int] = field(default_factory=list)


def _empty_set(ways: int) -> Set:
    return Set([Way() for _ in range(ways)], [0] * ways, [0] * ways)


class SlowArray:
    """One array: sets of ways, and its counters."""

    def __init__(self, shape: Array) -> None:
        if shape.sets < 1 or shape.sets & (shape.sets - 1):
            raise ValueError(f"{shape.name}: {shape.sets} sets are not a power of two")
        if shape.replacement == Replacement.TREE_PLRU and shape.ways & (shape.ways - 1):
            raise ValueError(f"{shape.name}: a tree needs a power of two of ways, not {shape.ways}")
        self.shape = shape
        #: The page sizes that may be here, as levels, smallest first; and the bits of ``shape.kinds``.
        self.sizes = [size for size in (SIZE_4K, SIZE_2M, SIZE_1G) if shape.page_sizes & (1 << (size - 1))]
        self.kinds = int(shape.kinds)
        self.sets = [_empty_set(shape.ways) for _ in range(shape.sets)]
        self.counters = SlowCounters()
        #: The PCIDs of which something may be held, the one that installed longest ago first.
        self.pcids: list[int] = []

    def places(self, number: int) -> list[tuple[Set, int]]:
        """The sets and ways in which what has this number may be."""
        index_bits = len(bin(self.shape.sets)) - 3
        low, upper = number % self.shape.sets, (number >> index_bits) % self.shape.sets
        if self.shape.index_hash != IndexHash.SKEWED:  # all ways of one set
            here = self.sets[low if self.shape.index_hash == IndexHash.LINEAR else low ^ upper]
            return [(here, way) for way in range(self.shape.ways)]
        places = []
        for way in range(self.shape.ways):
            places.append((self.sets[low ^ upper], way))
            upper = _skewed_once_more(upper, index_bits)
        return places

    def find(self, vaddr: int, pcid: int) -> tuple[Set, int] | None:
        """The set and the way that translate ``vaddr``."""
        for size in self.sizes:
            counts = {1, self.shape.coalesce} if size == SIZE_4K else {1}
            for pages in sorted(counts):  # alone before coalesced
                for here, index in self.places((vaddr >> shift_of(size)) // pages):
                    entry = here.ways[index].entry
                    if entry is not None and (entry.size, entry.pages) == (size, pages):
                        if entry.covers(vaddr) and entry.usable(pcid):
                            return here, index
        return None

    def remove(self, unwanted: Callable[[Entry], bool]) -> int:
        """Free the ways of all unwanted entries, leaving replacement state alone; returns how many there were."""
        removed = 0
        for one in self.sets:
            for way in one.ways:
                if way.entry is not None and unwanted(way.entry):
                    way.entry = None
                    removed += 1
        return removed

    def entries(self) -> Iterator[Entry]:
        """Every entry that is held."""
        for one in self.sets:
            for way in one.ways:
                if way.entry is not None:
                    yield way.entry


def _skewed_once_more(number: int, bits: int) -> int:
    """H(y_n, ..., y_1) = (y_n ^ y_1, y_n, ..., y_2), of Seznec's skewed caches."""
    if bits < 2:
        return number
    digits = [number >> bit & 1 for bit in reversed(range(bits))]  # y_n first
    moved = [digits[0] ^ digits[-1], *digits[:-1]]
    return sum(digit << bit for bit, digit in zip(reversed(range(bits)), moved, strict=True))


@dataclass
class HeldStructure:
    """What a way of a structure cache holds, how often and when it was used, and when it was installed."""

    key: tuple[int, int]
    table: Table
    installed: int
    touched: int
    uses: int = 1


class SlowStructureCache:
    """The cache of the paging-structure entries of one level: sets of ways."""

    def __init__(self, level: int, shape: StructureShape, now: Callable[[], int], randomly: Callable[[], int]) -> None:
        self.level, self.shape = level, shape
        self.now, self.randomly = now, randomly
        self.sets: list[list[HeldStructure | None]] = [[None] * shape.ways for _ in range(shape.sets)]
        self.counters = SlowCounters()

    def key(self, vaddr: int, pcid: int) -> tuple[int, int]:
        """What an entry is found by: the PCID and the address bits that select it."""
        return pcid, vaddr >> shift_of(self.level)

    def _set(self, key: tuple[int, int]) -> list[HeldStructure | None]:
        return self.sets[key[1] % self.shape.sets]

    def look_up(self, vaddr: int, pcid: int) -> Table | None:
        """Find, and touch."""
        self.counters.lookups += 1
        key = self.key(vaddr, pcid)
        for item in self._set(key):
            if item is not None and item.key == key:
                item.touched = self.now()
                item.uses += 1
                self.counters.hits += 1
                return item.table
        self.counters.misses += 1
        return None

    def install(self, vaddr: int, pcid: int, table: Table) -> None:
        """Put into the first free way, or in place of another."""
        key = self.key(vaddr, pcid)
        ways = self._set(key)
        if None in ways:
            way = ways.index(None)
        else:
            way = self._victim(ways)
            self.counters.evictions += 1
        time = self.now()
        ways[way] = HeldStructure(key, table, time, time)
        self.counters.installs += 1

    def _victim(self, ways: list[HeldStructure | None]) -> int:
        if self.shape.replacement == Replacement.RANDOM:
            return self.randomly() % len(ways)
        held = [item for item in ways if item is not None]
        return held.index(min(held, key=self.worth))

    def worth(self, item: HeldStructure) -> tuple[int, ...]:
        """Who has least is replaced first."""
        if self.shape.replacement == Replacement.FIFO:
            return (item.installed,)
        return (item.uses, item.touched) if self.shape.replacement == Replacement.LFU else (item.touched,)

    def held(self) -> list[HeldStructure]:
        """Everything, what is worth least first."""
        return sorted((item for ways in self.sets for item in ways if item is not None), key=self.worth)

    def invalidate(self, unwanted: Callable[[tuple[int, int]], bool]) -> None:
        """Forget all entries with an unwanted key."""
        for ways in self.sets:
            for way, item in enumerate(ways):
                if item is not None and unwanted(item.key):
                    ways[way] = None
                    self.counters.invalidations += 1


def always(entry: Entry, kind: Kinds) -> bool:
    """Everybody may do everything."""
    return True


class SlowTlb:
    """All translation caches of one logical processor."""

    def __init__(self, geometry: Geometry, seed: int = 1) -> None:
        self.geometry = geometry
        self.arrays = [SlowArray(shape) for shape in geometry.arrays]
        self.structures = {
            level: SlowStructureCache(level, geometry.structure(level), self._now, self._random)
            for level in sorted(geometry.structure_caches)
            if geometry.structure(level).entries
        }
        self.levels = 4  # of the tables; caches of higher levels are not asked
        self.time = 0
        self.random = seed or 1

    # ---- accesses

    def access(self, kind: Kinds, vaddr: int, pcid: int, walk: Walker, allows: Allows = always) -> Outcome:
        """Translate ``vaddr`` for one access (``kind`` is LOAD, STORE or FETCH)."""
        for level in (1, 2):
            for array in self._arrays(level, kind):
                entry = self._look_up(array, vaddr, pcid)
                if entry is None:
                    continue
                if not allows(entry, kind) or (kind == Kinds.STORE and not entry.dirty):
                    self._drop(vaddr, pcid)
                    start, paddr = self._walk(kind, vaddr, pcid, walk)
                    return Outcome(level, array.shape.name, True, start, paddr)
                if level == 2:
                    self._install_everywhere(1, kind, entry, vaddr)
                return Outcome(
                    level, array.shape.name, False, 0, _physical(entry.frame, entry.size, vaddr, entry.pages)
                )
        start, paddr = self._walk(kind, vaddr, pcid, walk)
        return Outcome(0, None, True, start, paddr)

    def _arrays(self, level: int, kind: Kinds) -> list[SlowArray]:
        bit = int(kind)
        return [array for array in self.arrays if array.shape.level == level and array.kinds & bit]

    def _look_up(self, array: SlowArray, vaddr: int, pcid: int) -> Entry | None:
        array.counters.lookups += 1
        found = array.find(vaddr, pcid)
        if found is None:
            array.counters.misses += 1
            return None
        array.counters.hits += 1
        self._touch(*found)
        return found[0].ways[found[1]].entry

    def _drop(self, vaddr: int, pcid: int) -> None:
        """Forget every translation of an address, of any page size, in all arrays."""
        for array in self.arrays:
            array.counters.drops += array.remove(lambda entry: _is_for(entry, vaddr) and entry.usable(pcid))

    def _walk(self, kind: Kinds, vaddr: int, pcid: int, walk: Walker) -> tuple[int, int | None]:
        start = None
        for level in sorted(self.structures):  # the deepest that knows the address
            if level > self.levels:
                break
            start = self.structures[level].look_up(vaddr, pcid)
            if start is not None:
                break
        start_level = 0 if start is None else start.level
        result = walk(vaddr, kind, start)
        if result is None:
            return start_level, None
        for table in result.tables:
            if table.level in self.structures:
                self.structures[table.level].install(vaddr, pcid, table)
        number = vaddr >> shift_of(result.size)
        entry = Entry(
            result.size, number, pcid, result.is_global, result.frame, result.every, result.xd, result.key, result.dirty
        )
        if self._is_coalesced(number, result.line):
            count = self.geometry.coalesce
            frame = result.frame - number % count * _PAGE_BYTES
            entry = replace(entry, number=number // count * count, frame=frame, pages=count)
        self._install_walked(kind, vaddr, entry)
        if self.geometry.prefetch_next and kind != Kinds.FETCH and result.following is not None:
            self._prefetch(kind, vaddr + (1 << shift_of(SIZE_4K)), pcid, result.following)
        return start_level, _physical(result.frame, result.size, vaddr)

    def _is_coalesced(self, number: int, line: tuple[int, ...]) -> bool:
        """Whether the PTEs of the page and of those beside it differ in nothing but the frames, which are in order."""
        count = self.geometry.coalesce
        if count == 1 or not line:
            return False
        first = number % 8 // count * count
        ptes = line[first : first + count]
        frames = [pte >> 12 & (1 << 40) - 1 for pte in ptes]
        attributes = {pte & ~(((1 << 40) - 1) << 12) for pte in ptes}
        return len(attributes) == 1 and frames[0] % count == 0 and frames == [frames[0] + n for n in range(count)]

    def _prefetch(self, kind: Kinds, vaddr: int, pcid: int, page: Walk) -> None:
        """A page that nobody asked for enters the second level, if no array has it."""
        if any(array.find(vaddr, pcid) for level in (1, 2) for array in self._arrays(level, kind)):
            return
        number = vaddr >> shift_of(SIZE_4K)
        entry = Entry(SIZE_4K, number, pcid, page.is_global, page.frame, page.every, page.xd, page.key, page.dirty)
        self._install_everywhere(2, kind, entry, vaddr)

    def _install_walked(self, kind: Kinds, vaddr: int, entry: Entry) -> None:
        at_1 = at_2 = entry = self._combined(vaddr, entry)
        if self.geometry.smash_1g and entry.size == SIZE_1G:
            number = vaddr >> shift_of(SIZE_2M)
            frame = entry.frame | (number % 512) << shift_of(SIZE_2M)
            at_2 = replace(entry, size=SIZE_2M, number=number, frame=frame, whole=SIZE_1G)
            if not any(SIZE_1G in array.sizes for array in self._arrays(1, kind)):
                at_1 = at_2
        self._install_everywhere(2, kind, at_2, vaddr)
        self._install_everywhere(1, kind, at_1, vaddr)

    def _combined(self, vaddr: int, entry: Entry) -> Entry:
        """As a combined mapping: of a page no larger than those of the second dimension."""
        nested = self.geometry.nested
        if nested is None or entry.size <= nested.page_level:
            return entry
        frame = _physical(entry.frame, entry.size, vaddr) & -(1 << shift_of(nested.page_level))
        size = nested.page_level
        return replace(entry, size=size, number=vaddr >> shift_of(size), frame=frame, whole=entry.size)

    def _install_everywhere(self, level: int, kind: Kinds, entry: Entry, vaddr: int) -> None:
        number = vaddr >> shift_of(entry.size)
        alone = entry
        if entry.pages > 1:
            alone = replace(entry, number=number, frame=entry.frame + (number - entry.number) * _PAGE_BYTES, pages=1)
        for array in self._arrays(level, kind):
            if entry.size in array.sizes:
                self._install(array, entry if array.shape.coalesce > 1 else alone)

    # ---- replacement

    def _install(self, array: SlowArray, entry: Entry) -> None:
        if array.shape.pcids and not entry.is_global:
            if entry.pcid in array.pcids:
                array.pcids.remove(entry.pcid)
            elif len(array.pcids) == array.shape.pcids:
                self._forget_pcid(array, array.pcids.pop(0))
            array.pcids.append(entry.pcid)
        if entry.pages > 1:  # those that are there alone leave
            array.counters.drops += array.remove(lambda other: other.pages == 1 and other.within(entry))
        places = array.places(entry.number // entry.pages)
        assert not any(other.meets(entry) for other in array.entries()), "it would have been a hit"
        ways = [one.ways[index] for one, index in places]
        free = [number for number, way in enumerate(ways) if way.entry is None]
        evicted = None
        if free:
            chosen = free[0]
        else:
            chosen = self._victim(array.shape.replacement, Set(ways, places[0][0].tree, places[0][0].used))
            evicted = ways[chosen].entry
            array.counters.evictions += 1
        here, index = places[chosen]
        here.ways[index].entry = entry
        array.counters.installs += 1
        here.ways[index].uses = 0
        self._touch(here, index)
        here.ways[index].installed = self.time
        if evicted is not None and self.geometry.inclusive and array.shape.level == 2:
            self._left_level_2(evicted)

    def _forget_pcid(self, array: SlowArray, pcid: int) -> None:
        """The array can tell no more PCIDs apart."""
        for one in list(array.entries()):
            if one.is_only_of(pcid):
                array.counters.evictions += array.remove(lambda entry, gone=one: entry is gone)  # type: ignore[misc]
                if self.geometry.inclusive and array.shape.level == 2:
                    self._left_level_2(one)

    def leave_pcid(self, pcid: int) -> None:
        """Another PCID has become the current one."""
        for array in self.arrays:
            if array.shape.pcids == 0:
                self._forget_pcid(array, pcid)

    def _left_level_2(self, evicted: Entry) -> None:
        """Keep inclusion: what no array of level 2 holds any more leaves level 1.

        A 1G page in level 1 stays, whatever becomes of the 2M pieces that it was smashed into.
        """
        level_2 = [entry for array in self.arrays if array.shape.level == 2 for entry in array.entries()]

        def uncovered(entry: Entry) -> bool:
            return entry.meets(evicted) and not any(entry.within(other) for other in level_2)

        for array in self.arrays:
            if array.shape.level == 1:
                array.counters.drops += array.remove(uncovered)

    def _now(self) -> int:
        self.time += 1
        return self.time

    def _touch(self, here: Set, index: int) -> None:
        here.ways[index].touched = self._now()
        here.ways[index].uses += 1
        count = len(here.ways)
        here.used[index] = 1
        if all(here.used):
            here.used = [int(way == index) for way in range(count)]
        if count & (count - 1) == 0:
            node, low, high = 1, 0, count
            while high - low > 1:
                middle = (low + high) // 2
                if index < middle:
                    here.tree[node] = 1
                    node, high = 2 * node, middle
                else:
                    here.tree[node] = 0
                    node, low = 2 * node + 1, middle

    def _victim(self, policy: Replacement, here: Set) -> int:
        indices = range(len(here.ways))
        if policy == Replacement.LRU:
            return min(indices, key=lambda index: here.ways[index].touched)
        if policy == Replacement.FIFO:
            return min(indices, key=lambda index: here.ways[index].installed)
        if policy == Replacement.LFU:
            return min(indices, key=lambda index: (here.ways[index].uses, here.ways[index].touched))
        if policy == Replacement.BIT_PLRU:
            return next((index for index in indices if not here.used[index]), 0)  # a single way is always in use
        if policy == Replacement.TREE_PLRU:
            node = 1
            while node < len(here.ways):
                node = 2 * node + here.tree[node]
            return node - len(here.ways)
        return self._random() % len(here.ways)

    def _random(self) -> int:
        """32 bits of xorshift64*."""
        x = self.random
        x ^= x >> 12
        x = (x ^ x << 25) & _64_BITS
        x ^= x >> 27
        self.random = x
        return (x * 2685821657736338717 & _64_BITS) >> 32

    # ---- invalidations (SDM vol. 3, 4.10.4.1)

    def _invalidate(self, unwanted: Unwanted, structure: UnwantedStructure) -> None:
        for array in self.arrays:
            array.counters.invalidations += array.remove(unwanted)
        for cache in self.structures.values():
            cache.invalidate(lambda key, cache=cache: structure(cache, key))  # type: ignore[misc]

    def invlpg(self, vaddr: int, pcid: int) -> None:
        """INVLPG with ``pcid`` current: the page, even a global one, and every structure-cache entry of the PCID."""
        self._invalidate(
            lambda entry: _is_for(entry, vaddr) and entry.usable(pcid),
            lambda cache, key: key[0] == pcid,
        )

    def page_fault(self, vaddr: int, pcid: int) -> None:
        """The delivery of a #PF: the page, and the structure-cache entries that the address would use."""
        self._invalidate(
            lambda entry: _is_for(entry, vaddr) and entry.usable(pcid),
            lambda cache, key: key == cache.key(vaddr, pcid),
        )

    def mov_cr3(self, pcid: int, pcide: bool, bit_63: bool = False) -> None:
        """MOV to CR3; ``pcid`` is bits 11:0 of the new value and counts only with CR4.PCIDE, as does bit 63."""
        if not pcide:
            pcid = 0
        elif bit_63:
            return
        self._invalidate(lambda entry: entry.is_only_of(pcid), lambda cache, key: key[0] == pcid)

    def invpcid(self, kind: int, pcid: int = 0, vaddr: int = 0) -> None:
        """INVPCID of one of the four types."""
        if kind == 0:
            self._invalidate(
                lambda entry: _is_for(entry, vaddr) and entry.is_only_of(pcid),
                lambda cache, key: key == cache.key(vaddr, pcid),
            )
        elif kind == 1:
            self._invalidate(lambda entry: entry.is_only_of(pcid), lambda cache, key: key[0] == pcid)
        elif kind == 2:
            self.flush_all()
        elif kind == 3:
            self._invalidate(lambda entry: not entry.is_global, lambda cache, key: True)
        else:
            raise ValueError(f"INVPCID has no type {kind}")

    def mov_cr4(self, old: int, new: int, pcid: int = 0) -> None:
        """MOV to CR4 with ``pcid`` current; a new SMEP is for what this PCID uses only."""
        self.levels = 5 if new & CR4.LA57 else 4
        set_now, cleared_now = new & ~old, old & ~new
        if (set_now | cleared_now) & (CR4.PGE | CR4.LA57) or cleared_now & CR4.PCIDE:
            self.flush_all()
        elif set_now & CR4.SMEP:
            self._invalidate(lambda entry: entry.usable(pcid), lambda cache, key: key[0] == pcid)

    def flush_all(self) -> None:
        """Everything, global or not, of every PCID."""
        self._invalidate(lambda entry: True, lambda cache, key: True)

    # ---- for tests

    def counters(self) -> dict[str, SlowCounters]:
        """A copy of the counters of each array."""
        return {array.shape.name: replace(array.counters) for array in self.arrays}

    def structure_counters(self) -> dict[int, SlowCounters]:
        """A copy of the counters of each paging-structure cache."""
        return {level: replace(cache.counters) for level, cache in self.structures.items()}

    def contents(self) -> dict[str, list[list[Entry | None]]]:
        """The entry in each way of each set of each array."""
        return {array.shape.name: [[way.entry for way in one.ways] for one in array.sets] for array in self.arrays}

    def structure_contents(self) -> dict[int, dict[tuple[int, int], Table]]:
        """By level what the structure caches hold, under (PCID, address bits), what goes first first."""
        return {level: {item.key: item.table for item in cache.held()} for level, cache in self.structures.items()}


def _is_for(entry: Entry, vaddr: int) -> bool:
    """Whether the entry is for the page of ``vaddr``: it covers the address, or is a piece of the 1G page that does."""
    if entry.whole and entry.number >> 9 * (entry.whole - entry.size) == vaddr >> shift_of(entry.whole):
        return True
    return entry.covers(vaddr)


def _physical(frame: int, size: int, vaddr: int, pages: int = 1) -> int:
    return frame | vaddr & ((pages << shift_of(size)) - 1)
