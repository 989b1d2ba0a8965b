"""TLB geometry from CPUID: a dump, or this host's.

Intel: leaf 18h (deterministic address translation parameters) or, before it, the descriptors of leaf 2.  AMD: leaves
80000005h, 80000006h and 80000019h, with 80000021h for the unit of the sizes, and 0 and 1 for which Zen it is.  Leaf 4
is about caches only.  CPUID says nothing of replacement, index hashes, coalesced pages, inclusion and paging-structure
caches: those are assumptions, of a Zen those of its preset (:mod:`mmu.zen`), and the geometry's provenance says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from mmu.cpuid_descriptors import DESCRIPTORS, FULL, NO_TLBS_HERE, NOT_GIVEN
from mmu.cpuid_leaves import CpuidError, CpuidResult, Leaves
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.zen import with_assumptions, zen_of

#: Sizes of the paging-structure caches, PML5E to PDE, which CPUID does not report: those of the simulator ChampSim.
ASSUMED_STRUCTURE_CACHES = {5: 2, 4: 4, 3: 8, 2: 32}

_ASSUMPTIONS: tuple[str, ...] = (
    "CPUID does not tell: replacement (LRU assumed), index hash (linear assumed), inclusion (neither assumed)",
    "paging-structure caches: CPUID does not tell; sizes of the simulator ChampSim",
)


# ---- geometry


@dataclass(frozen=True)
class _Found:
    """An array before it gets its final name, and its source in CPUID."""

    array: Array
    source: str


def from_cpuid(leaves: Leaves, name: str = "cpuid") -> Geometry:
    """The TLBs that the leaves describe; ``provenance`` says which leaf each array is from.

    Raises :class:`CpuidError` if they describe none: hypervisors often hide these leaves.
    """
    notes: list[str] = []
    zen = None
    if any(leaves.get((0x80000005, 0), (0, 0))[:2]):
        found = list(_amd(leaves, notes))
        zen, note = zen_of(leaves)
        notes += [note] if note is not None else []
    elif _leaf_18h(leaves):
        found = _merged(list(_leaf_18h(leaves)))
    else:
        found = list(_leaf_2(leaves, notes))
    if not found:
        raise CpuidError(
            "no TLB is described: leaf 18h, the descriptors of leaf 2, and leaves 80000005h and 80000006h are all "
            "missing or empty (hypervisors may hide them)" + "".join(f"; {note}" for note in notes)
        )
    arrays = _named([one.array for one in found])
    lines = [f"{array.name}: {one.source}" for array, one in zip(arrays, found, strict=True)]
    geometry, assumptions = Geometry(name, tuple(arrays), dict(ASSUMED_STRUCTURE_CACHES)), _ASSUMPTIONS
    if zen is not None:
        geometry, assumptions = with_assumptions(geometry, zen)
    return replace(geometry, provenance="\n".join([*lines, *notes, *assumptions]))


def _array(name: str, level: int, kinds: Kinds, page_sizes: PageSizes, entries: int, ways: int) -> tuple[Array, str]:
    """An array whose number of sets is a power of two, and a note if its ways had to be changed for that."""
    if ways in (FULL, NOT_GIVEN):
        note = ", associativity not given: fully associative assumed" if ways == NOT_GIVEN else ""
        return Array(name, level, kinds, page_sizes, 1, entries), note
    sets = entries // ways
    if sets == 0:
        raise CpuidError(f"{name}: {entries} entries cannot be {ways}-way")
    while sets & (sets - 1) or entries % sets:
        sets -= 1
    note = f", {entries} entries {ways}-way: {entries // sets} ways assumed, for a power of two of sets"
    return Array(name, level, kinds, page_sizes, sets, entries // sets), note if sets * ways != entries else ""


_SIZE_NAMES = {PageSizes.K4: "4K", PageSizes.M2: "2M", PageSizes.G1: "1G"}


def _named(arrays: list[Array]) -> list[Array]:
    """Append page sizes to the names of arrays with the same name, except one that holds 4K pages and others."""
    named: list[Array] = []
    for array in arrays:
        name = array.name
        mixed = PageSizes.K4 in array.page_sizes and array.page_sizes != PageSizes.K4
        if sum(other.name == array.name for other in arrays) > 1 and not mixed:
            name += "".join(f"-{text}" for size, text in _SIZE_NAMES.items() if size in array.page_sizes)
        taken = sum(re.sub(r"#\d+$", "", other.name) == name for other in named)
        named.append(replace(array, name=f"{name}#{taken + 1}" if taken else name))
    return named


def _base_name(level: int, kinds: Kinds) -> str:
    if level == 2:
        return {Kinds.FETCH: "L2I", Kinds.ALL: "STLB"}.get(kinds, "L2D")
    return {Kinds.FETCH: "L1I", Kinds.LOAD: "L1D-load", Kinds.STORE: "L1D-store", Kinds.ALL: "L1"}.get(kinds, "L1D")


# ---- Intel

#: No processor has a TLB with more entries: a leaf with more does not describe a TLB.
_MOST_ENTRIES = 1 << 20
_TYPES = {1: Kinds.DATA, 2: Kinds.FETCH, 3: Kinds.ALL, 4: Kinds.LOAD, 5: Kinds.STORE}


def _leaf_18h(leaves: Leaves) -> list[_Found]:
    """Each sub-leaf is an array: EBX ways and page sizes, ECX sets, EDX type and level."""
    found = []
    for subleaf in sorted(subleaf for leaf, subleaf in leaves if leaf == 0x18):
        value = leaves[0x18, subleaf]
        kind = value.edx & 0x1F
        if kind == 0:
            continue
        if kind not in _TYPES:
            raise CpuidError(f"leaf 18h, sub-leaf {subleaf}: type {kind} is not known")
        level = value.edx >> 5 & 7
        if level not in (1, 2):
            raise CpuidError(f"leaf 18h, sub-leaf {subleaf}: a TLB of level {level} cannot be modelled")
        sizes = PageSizes((value.ebx & 3) | (value.ebx >> 1 & 4))  # bits: 4K, 2M, 4M, 1G; 64-bit mode has no 4M pages
        if not sizes:
            continue
        ways = value.ebx >> 16
        if not 0 < ways * value.ecx <= _MOST_ENTRIES:
            raise CpuidError(
                f"leaf 18h, sub-leaf {subleaf}: {value.ecx} sets of {ways} ways; a TLB has 1 to {_MOST_ENTRIES} entries"
            )
        shape, note = _array(_base_name(level, _TYPES[kind]), level, _TYPES[kind], sizes, ways * value.ecx, ways)
        found.append(_Found(shape, f"CPUID leaf 18h, sub-leaf {subleaf}{note}"))
    return sorted(found, key=lambda one: one.array.level)


def _merged(found: list[_Found]) -> list[_Found]:
    """Join arrays of one level that differ only in the page sizes beside 4K.

    The model puts a page into every array that takes it; the processor puts a 4K page into one of these.
    """
    result: list[_Found] = []
    for one in found:
        for index, other in enumerate(result):
            twin = replace(one.array, page_sizes=other.array.page_sizes)
            if twin == other.array and one.array.page_sizes & other.array.page_sizes:
                array = replace(
                    other.array, page_sizes=one.array.page_sizes | other.array.page_sizes, ways=2 * one.array.ways
                )
                result[index] = _Found(array, f"{other.source}, merged with {one.source}, which shares page sizes")
                break
        else:
            result.append(one)
    return result


def _leaf_2(leaves: Leaves, notes: list[str]) -> Iterator[_Found]:
    """A byte an array, or two; a register with bit 31 set is empty, and EAX's lowest byte is not a descriptor."""
    value = leaves.get((2, 0))
    if value is None:
        return
    parts = [value.eax & ~0xFF, value.ebx, value.ecx, value.edx]
    given = [part >> shift & 0xFF for part in parts if not part >> 31 for shift in (0, 8, 16, 24)]
    if NO_TLBS_HERE in given:
        notes.append("leaf 2 has descriptor FE: the TLBs are in leaf 18h, which is missing")
    found = []
    for byte in sorted(set(given) & DESCRIPTORS.keys()):
        for one in DESCRIPTORS[byte]:
            if not one.page_sizes:
                notes.append(f"CPUID leaf 2, descriptor {byte:02X} left out: 4M pages do not exist in 64-bit mode")
                continue
            level = 2 if one.behind & set(given) else one.level
            base = _base_name(level, one.kinds)
            shape, note = _array(base, level, one.kinds, one.page_sizes, one.entries, one.ways)
            found.append(_Found(shape, f"CPUID leaf 2, descriptor {byte:02X}{note}"))
    yield from sorted(found, key=lambda one: (one.array.level, one.array.kinds != Kinds.FETCH, one.array.page_sizes))


# ---- AMD

#: The four-bit associativity codes of leaves 80000006h and 80000019h (APM vol. 3, appendix E); 0: there is no such TLB.
_AMD_WAYS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 16, 10: 32, 11: 48, 12: 64, 13: 96, 14: 128, 15: FULL}


class _Field(NamedTuple):
    """A field of an AMD leaf: the number of entries and of ways."""

    page_size: PageSizes
    entries: int
    ways: int
    source: str


def _amd_field(value: int, data: bool, page_size: PageSizes, source: str, unit: int = 1) -> _Field | None:
    """A half of a register of 80000006h or 80000019h: size in bits 11:0, associativity code in bits 15:12."""
    half = value >> 16 if data else value & 0xFFFF
    code, entries = half >> 12, (half & 0xFFF) * unit
    if code == 0 or entries == 0:
        return None
    if code not in _AMD_WAYS:
        raise CpuidError(f"{source}: associativity code {code:X}h is not that of a TLB")
    return _Field(page_size, entries, _AMD_WAYS[code], source)


def _amd_byte_field(value: int, data: bool, page_size: PageSizes, source: str) -> _Field | None:
    """A half of a register of 80000005h: size in bits 7:0, ways in bits 15:8, FFh for fully associative."""
    half = value >> 16 if data else value & 0xFFFF
    ways, entries = half >> 8, half & 0xFF
    if ways == 0 or entries == 0:
        return None
    return _Field(page_size, entries, FULL if ways == 0xFF else ways, source)


def _amd(leaves: Leaves, notes: list[str]) -> Iterator[_Found]:
    nothing = CpuidResult(0, 0, 0, 0)
    first, second = leaves[0x80000005, 0], leaves.get((0x80000006, 0), nothing)
    giant = leaves.get((0x80000019, 0), nothing)
    if not any(giant):
        notes.append("CPUID leaf 80000019h is missing or empty (hypervisors may hide it): no array holds 1G pages")
    unit = 32 if leaves.get((0x80000021, 0), nothing).eax >> 14 & 1 else 1
    if (0x80000021, 0) not in leaves:
        notes.append("CPUID leaf 80000021h is missing: sizes of the second level are taken as entries, not units of 32")
    for data in (False, True):
        level_1 = (
            _amd_byte_field(first.ebx, data, PageSizes.K4, "CPUID leaf 80000005h EBX"),
            _amd_byte_field(first.eax, data, PageSizes.M2, "CPUID leaf 80000005h EAX"),
            _amd_field(giant.eax, data, PageSizes.G1, "CPUID leaf 80000019h EAX"),
        )
        yield from _amd_arrays(1, data, level_1, lambda a, b: a == b)
    for data in (False, True):
        times = f" (in units of {unit})" if unit > 1 else ""
        level_2 = (
            _amd_field(second.ebx, data, PageSizes.K4, f"CPUID leaf 80000006h EBX{times}", unit),
            _amd_field(second.eax, data, PageSizes.M2, f"CPUID leaf 80000006h EAX{times}", unit),
        )
        yield from _amd_arrays(2, data, level_2, lambda a, b: a[0] == b[0])
        yield from _amd_arrays(
            2, data, (_amd_field(giant.ebx, data, PageSizes.G1, f"CPUID leaf 80000019h EBX{times}", unit),), None
        )


_Same = Callable[[tuple[int, int], tuple[int, int]], bool]


def _amd_arrays(level: int, data: bool, fields: tuple[_Field | None, ...], same: _Same | None) -> Iterator[_Found]:
    """CPUID has a field a page size; fields that are the ``same`` are taken for one array that the page sizes share."""
    groups: list[list[_Field]] = []
    for one in fields:
        if one is None:
            continue
        for group in groups:
            if same is not None and same((one.entries, one.ways), (group[0].entries, group[0].ways)):
                group.append(one)
                break
        else:
            groups.append([one])
    for group in groups:
        sizes = PageSizes(0)
        for one in group:
            sizes |= one.page_size
        kinds = Kinds.DATA if data else Kinds.FETCH
        shape, note = _array(f"L{level}{'DI'[not data]}", level, kinds, sizes, group[0].entries, group[0].ways)
        shared = ": equal sizes, taken for one array" if len(group) > 1 else ""
        others = "".join(
            f"; {one.ways} ways for {_SIZE_NAMES[one.page_size]}" for one in group[1:] if one.ways != group[0].ways
        )
        yield _Found(shape, ", ".join(dict.fromkeys(one.source for one in group)) + shared + others + note)
