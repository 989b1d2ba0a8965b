"""Paging-structure entries: one table of fields decides encode, decode and describe."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu import CR4, Registers, entries
from mmu.entries import (
    FIELDS,
    LEVELS,
    EntryField,
    MemoryType,
    decode,
    describe,
    encode,
    fields_of,
    is_leaf,
    memory_type,
    page_bytes,
    reserved_bits,
    top_table_memory_type,
)
from mmu.registers import CR4_LONG_MODE, PAT_RESET

KINDS = [(5, False), (4, False), (3, False), (3, True), (2, False), (2, True), (1, True)]

#: SDM vol. 3, tables 4-14 to 4-20: the bits of each kind of entry that have a meaning, copied out by hand; the others
#: are ignored or reserved.
EVERYWHERE = {0, 1, 2, 3, 4, 5, 63}
LEAF = EVERYWHERE | {6, 8, 59, 60, 61, 62}
BITS = {
    (5, False): EVERYWHERE | set(range(12, 52)),
    (4, False): EVERYWHERE | set(range(12, 52)),
    (3, False): EVERYWHERE | {7} | set(range(12, 52)),
    (3, True): LEAF | {7, 12} | set(range(30, 52)),
    (2, False): EVERYWHERE | {7} | set(range(12, 52)),
    (2, True): LEAF | {7, 12} | set(range(21, 52)),
    (1, True): LEAF | {7} | set(range(12, 52)),
}
#: Those that must be 0 whatever MAXPHYADDR is.
RESERVED = {(5, False): {7}, (4, False): {7}, (3, True): set(range(13, 30)), (2, True): set(range(13, 21))}


def bits_of(fields: Iterable[EntryField]) -> set[int]:
    return {bit for field in fields for bit in range(field.low, field.high + 1)}


@pytest.mark.parametrize(("level", "leaf"), KINDS)
def test_the_fields_are_those_of_the_manual(level: int, leaf: bool) -> None:
    fields = fields_of(level, leaf)
    assert sum(field.mask for field in fields) == 2**64 - 1, "each bit belongs to exactly one field"
    assert bits_of(fields) == set(range(64))
    free = [field for field in fields if field.name.startswith(("AVL", "IGN"))]
    reserved = [field for field in fields if field.name == "RSVD"]
    assert bits_of(reserved) == RESERVED.get((level, leaf), set())
    assert bits_of(fields) - bits_of(free) - bits_of(reserved) == BITS[level, leaf]
    names = [field.name for field in fields]
    assert len(names) == len(set(names)), "no name stands for two fields of one entry"


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(LEVELS), st.integers(0, 2**64 - 1))
def test_decode_loses_nothing(level: int, value: int) -> None:
    assert encode(level, **decode(level, value)) == value


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_encode_then_decode(kind: tuple[int, bool], data: st.DataObject) -> None:
    level, leaf = kind
    wanted = {}
    for field in fields_of(level, leaf):
        number = data.draw(st.integers(0, field.mask >> field.low), label=field.name)
        wanted[field.name] = number << field.low if field.name == "ADDRESS" else number
    if "PS" in wanted:
        wanted["PS"] = int(leaf)
    entry = encode(level, **wanted)
    assert is_leaf(level, entry) == leaf
    assert decode(level, entry) == wanted


@pytest.mark.parametrize(("level", "leaf"), KINDS)
def test_each_field_stands_alone(level: int, leaf: bool) -> None:
    kind = {"PS": 1} if leaf and level > 1 else {}
    for field in fields_of(level, leaf):
        if field.name == "PS":
            continue
        full = field.mask if field.name == "ADDRESS" else field.mask >> field.low
        entry = encode(level, **{field.name: full}, **kind)
        assert entry & ~encode(level, **kind) == field.mask
        assert {name for name, value in decode(level, entry).items() if value} == {field.name, *kind}


@pytest.mark.parametrize(
    ("level", "values", "message"),
    [
        (4, dict(D=1), "PML4E that points to a table has no field D"),
        (4, dict(PS=1), "PML4E.*no field PS"),
        (4, dict(G=1), "PML4E.*no field G"),
        (3, dict(G=1), "PDPTE that points to a table has no field G"),
        (5, dict(PS=1), "PML5E.*no field PS"),
        (5, dict(PKEY=1), "PML5E that points to a table has no field PKEY"),
        (2, dict(PAT=1), "PDE that points to a table has no field PAT"),
        (2, dict(PKEY=1), "PDE that points to a table has no field PKEY"),
        (1, dict(PS=1), "PTE that maps a page has no field PS"),
        (1, dict(present=1), "no field present"),
        (1, dict(P=2), "P=0x2 does not fit bits 0:0 of a PTE"),
        (1, dict(P=-1), "does not fit"),
        (1, dict(PKEY=16), "PKEY=0x10 does not fit bits 62:59"),
        (1, dict(ADDRESS=0x1001), "ADDRESS=0x1001 does not fit bits 51:12"),
        (1, dict(ADDRESS=1 << 52), "does not fit"),
        (2, dict(PS=1, ADDRESS=0x1000), "ADDRESS=0x1000 does not fit bits 51:21 of a PDE"),
        (3, dict(PS=1, ADDRESS=0x200000), "ADDRESS=0x200000 does not fit bits 51:30 of a PDPTE"),
        (0, dict(P=1), "no paging-structure entry of level 0"),
        (6, dict(P=1), "no paging-structure entry of level 6"),
    ],
)
def test_what_encode_refuses(level: int, values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(level, **values)


def test_decode_refuses_a_level_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no paging-structure entry of level 7"):
        decode(7, 0)


def test_the_page_sizes() -> None:
    assert [page_bytes(level) for level in (1, 2, 3)] == [4 << 10, 2 << 20, 1 << 30]


def test_the_masks_of_the_walk_come_from_the_table() -> None:
    assert [int(m) for m in (entries.P, entries.RW, entries.US, entries.A, entries.D, entries.PS, entries.G)] == [
        1, 2, 4, 0x20, 0x40, 0x80, 0x100,
    ]  # fmt: skip
    assert (int(entries.XD), int(entries.ADDRESS)) == (1 << 63, 0x000F_FFFF_FFFF_F000)
    for name in ("P", "RW", "US", "A", "XD"):
        assert len({field.mask for field in FIELDS if field.name == name}) == 1, "one mask serves all levels"


@pytest.mark.parametrize("maxphyaddr", range(36, 53))
@pytest.mark.parametrize("nxe", [False, True])
@pytest.mark.parametrize("pages_1g", [False, True])
def test_reserved_bits(maxphyaddr: int, nxe: bool, pages_1g: bool) -> None:
    high = {bit for bit in range(52) if bit >= maxphyaddr} | (set() if nxe else {63})
    for level, leaf in KINDS:
        expected = high | RESERVED.get((level, leaf), set())
        if (level, leaf, pages_1g) == (3, True, False):
            expected |= {7}
        found = reserved_bits(level, leaf, maxphyaddr, nxe=nxe, pages_1g=pages_1g)
        assert found == sum(1 << bit for bit in expected), (level, leaf)
        amd = reserved_bits(level, leaf, maxphyaddr, nxe=nxe, pages_1g=pages_1g, upper_g_reserved=True)
        assert amd == found | (1 << 8 if level >= 4 else 0), "bit 8 of a PML5E and a PML4E, as AMD has it"


@pytest.mark.parametrize(
    ("level", "value", "words"),
    [
        (1, 0, "PTE not present"),
        (1, 0x1234_5678_0000, "PTE not present (software bits 0x123456780000)"),
        (1, encode(1, P=1, RW=1, US=1, ADDRESS=0x5000), "PTE 4K page at 0x5000: P RW US"),
        (1, encode(1, P=1, A=1, D=1, G=1, XD=1, PAT=1, ADDRESS=0x7000), "PTE 4K page at 0x7000: P A D PAT G XD"),
        (1, encode(1, P=1, AVL=5, PKEY=9), "PTE 4K page at 0x0: P AVL=5 PKEY=9"),
        (2, encode(2, P=1, RW=1, ADDRESS=0x5000), "PDE PT table at 0x5000: P RW"),
        (2, encode(2, P=1, PS=1, D=1, ADDRESS=0x400000), "PDE 2M page at 0x400000: P D"),
        (3, encode(3, P=1, US=1, PWT=1, PCD=1, ADDRESS=0x9000), "PDPTE PD table at 0x9000: P US PWT PCD"),
        (3, encode(3, P=1, PS=1, PAT=1, ADDRESS=1 << 30), "PDPTE 1G page at 0x40000000: P PAT"),
        (4, encode(4, P=1, A=1, ADDRESS=0x2000), "PML4E PDPT table at 0x2000: P A"),
        (5, encode(5, P=1, RW=1, XD=1, ADDRESS=0x3000), "PML5E PML4 table at 0x3000: P RW XD"),
        (5, 0x3081, "PML5E PML4 table at 0x3000: P RSVD"),
        (2, 0x40_6081, "PDE 2M page at 0x400000: P RSVD=3"),
        (2, 0x80_0000_5141 | 0x7FF << 52, "PDE PT table at 0x8000005000: P IGN6 IGN8 AVL_HIGH=0x7ff"),
        (1, encode(1, P=1, G=1, PKEY=15, AVL_HIGH=1), "PTE 4K page at 0x0: P G AVL_HIGH=1 PKEY=15"),
    ],
)
def test_describe(level: int, value: int, words: str) -> None:
    assert describe(level, value) == words


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(LEVELS), st.integers(0, 2**64 - 1))
def test_describe_names_every_field_that_is_set(level: int, value: int) -> None:
    value |= 1
    said = describe(level, value).partition(": ")[2].split()
    fields = {field.name for field in fields_of(level, is_leaf(level, value)) if value & field.mask}
    assert {word.partition("=")[0] for word in said} == fields - {"PS", "ADDRESS"}


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(LEVELS), st.integers(0, 2**64 - 1), st.none() | st.just(PAT_RESET))
def test_describe_never_raises(level: int, value: int, pat: int | None) -> None:
    words = describe(level, value, pat)
    assert words.startswith(entries.ENTRY_NAME[level])
    assert ("memory type" in words) == (pat is not None and bool(value & 1))


# ---- memory types


#: SDM vol. 3, table 11-12: which entry of the page attribute table each combination selects.
SELECTED = [(pat, pcd, pwt, 4 * pat + 2 * pcd + pwt) for pat, pcd, pwt in product((0, 1), repeat=3)]
EIGHT_TYPES = [MemoryType.WB, MemoryType.WT, MemoryType.UC_MINUS, MemoryType.UC, MemoryType.WC, MemoryType.WP,
               MemoryType.WC, MemoryType.WT]  # fmt: skip
PAT = sum(kind << 8 * n for n, kind in enumerate(EIGHT_TYPES))


@pytest.mark.parametrize(("pat", "pcd", "pwt", "entry"), SELECTED)
def test_what_the_bits_select(pat: int, pcd: int, pwt: int, entry: int) -> None:
    for level in (1, 2, 3):
        kind = {"PS": 1} if level > 1 else {}
        page = encode(level, P=1, PAT=pat, PCD=pcd, PWT=pwt, **kind)
        assert memory_type(level, page, PAT) == EIGHT_TYPES[entry]
        assert describe(level, page, PAT).endswith(f"; memory type {EIGHT_TYPES[entry]}")
    for level in (2, 3, 4, 5):  # bit 12 is an address bit of a table pointer, and bit 7 is PS or reserved
        table = encode(level, P=1, PCD=pcd, PWT=pwt, ADDRESS=0x1000)
        assert memory_type(level, table, PAT) == EIGHT_TYPES[2 * pcd + pwt]
    assert memory_type(4, 0x80, PAT) == MemoryType.WB


def test_the_page_attribute_table_after_reset() -> None:
    for pat, pcd, pwt, _ in SELECTED:
        words = str(memory_type(1, encode(1, PAT=pat, PCD=pcd, PWT=pwt), PAT_RESET))
        assert words == {(0, 0): "WB", (0, 1): "WT", (1, 0): "UC-", (1, 1): "UC"}[pcd, pwt]


def test_the_memory_type_of_the_top_table() -> None:
    for pcd, pwt in product((0, 1), repeat=2):
        cr3 = 0x1000 | pcd << 4 | pwt << 3
        assert top_table_memory_type(Registers(cr3=cr3, pat=PAT)) == EIGHT_TYPES[2 * pcd + pwt]
        with_pcid = Registers(cr3=cr3, cr4=CR4_LONG_MODE | CR4.PCIDE, pat=PAT)
        assert top_table_memory_type(with_pcid) == MemoryType.WB, "those bits are the PCID"


def test_a_memory_type_that_does_not_exist() -> None:
    with pytest.raises(ValueError):
        memory_type(1, 0, 0x0202_0202_0202_0202)
