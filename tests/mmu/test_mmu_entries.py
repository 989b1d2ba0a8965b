"""Paging-structure entries: one table of fields decides encode, decode and describe."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmu import entries
from mmu.entries import FIELDS, LEVELS, decode, describe, encode, fields_of, is_leaf, page_bytes, reserved_bits
from mmu.walk import reserved

KINDS = [(4, False), (3, False), (3, True), (2, False), (2, True), (1, True)]

#: SDM vol. 3, tables 4-15 to 4-20: the bits of each kind of entry that have a meaning, copied out by hand.
EVERYWHERE = {0, 1, 2, 3, 4, 5, 9, 10, 11, 63}
LEAF = EVERYWHERE | {6, 8, 59, 60, 61, 62}
BITS = {
    (4, False): EVERYWHERE | set(range(12, 52)),
    (3, False): EVERYWHERE | {7} | set(range(12, 52)),
    (3, True): LEAF | {7, 12} | set(range(30, 52)),
    (2, False): EVERYWHERE | {7} | set(range(12, 52)),
    (2, True): LEAF | {7, 12} | set(range(21, 52)),
    (1, True): LEAF | {7} | set(range(12, 52)),
}


def union(level: int, leaf: bool) -> int:
    return sum(field.mask for field in fields_of(level, leaf))


@pytest.mark.parametrize(("level", "leaf"), KINDS)
def test_the_fields_are_those_of_the_manual(level: int, leaf: bool) -> None:
    bits = [bit for field in fields_of(level, leaf) for bit in range(field.low, field.high + 1)]
    assert len(bits) == len(set(bits)), "no bit belongs to two fields"
    assert set(bits) == BITS[level, leaf]
    names = [field.name for field in fields_of(level, leaf)]
    assert len(names) == len(set(names)), "no name stands for two fields of one entry"


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(LEVELS), st.integers(0, 2**64 - 1))
def test_decode_then_encode(level: int, value: int) -> None:
    fields = decode(level, value)
    assert encode(level, **fields) == value & union(level, is_leaf(level, value))


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
def test_reserved_bits(maxphyaddr: int) -> None:
    """What people read, what the walk checks, and the manual's words agree."""
    high = {bit for bit in range(52) if bit >= maxphyaddr}
    for level, leaf in KINDS:
        low = {7} if level == 4 else set(range(13, 12 + 9 * (level - 1))) if leaf and level > 1 else set()
        expected = sum(1 << bit for bit in high | low)
        assert reserved_bits(level, leaf, maxphyaddr) == expected, (level, leaf)
        assert reserved(level, leaf, maxphyaddr) == expected, (level, leaf)


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
    ],
)
def test_describe(level: int, value: int, words: str) -> None:
    assert describe(level, value) == words


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(LEVELS), st.integers(0, 2**64 - 1))
def test_describe_names_every_set_flag(level: int, value: int) -> None:
    value |= 1
    leaf = is_leaf(level, value)
    said = describe(level, value).partition(": ")[2].split()
    assert {word for word in said if "=" not in word} == {
        field.name for field in fields_of(level, leaf) if field.low == field.high and value & field.mask
    } - {"PS"}
