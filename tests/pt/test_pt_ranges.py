"""Ranges: neighbours that look the same are one, and every kind of entry is told in words."""

from __future__ import annotations

import pytest

from emu.mm.swapops import GUARD_ENTRY, POISONED_ENTRY, UFFD_WP_ENTRY, swap_entry
from emu.trace.pt.ranges import range_line, range_size, ranges_of
from emu.trace.pt.sharing import find_sharing
from emu.trace.pt.tables import Mapped, PageTablesSnapshot
from emu.trace.pt.text import ranges_text, tree_text
from mmu.entries import encode
from tests.pt.conftest import by_hand

P5, PML4, PDPT, PD, PT = range(0x1000, 0x6000, 0x1000)
TABLE = {"P": 1, "RW": 1, "US": 1, "A": 1}
PROT_NONE = 1 << 8


def tables(pt: dict[int, int], **above: int) -> PageTablesSnapshot:
    """One process whose only PTE table is for 0x400000 on."""
    upper = {**TABLE, **above}
    return by_hand(
        {
            PML4: {0: encode(4, ADDRESS=PDPT, **upper)},
            PDPT: {0: encode(3, ADDRESS=PD, **TABLE)},
            PD: {2: encode(2, ADDRESS=PT, **TABLE)},
            PT: pt,
        },
        PML4,
    )


def page(address: int, **fields: int) -> int:
    return encode(1, **{"P": 1, "US": 1, "A": 1, "ADDRESS": address, **fields})


def shown(snapshot: PageTablesSnapshot) -> list[str]:
    found = ranges_of(snapshot, snapshot.spaces[0])
    return [" ".join(range_line(each, snapshot.levels).split()) for each in found]


def test_neighbours_with_the_same_bits_are_one_range_wherever_their_frames_are() -> None:
    snapshot = tables({0: page(0x9000), 1: page(0x7000), 2: page(0x8000), 4: page(0x6000)})
    assert shown(snapshot) == [
        "0x0000000000400000-0x0000000000403000 12K USR ro ACC x pte",
        "0x0000000000404000-0x0000000000405000 4K USR ro ACC x pte",
    ]


@pytest.mark.parametrize("field", ["RW", "A", "D", "G", "PAT", "PWT", "PCD", "XD", "US", "PKEY"])
def test_each_attribute_ends_a_range(field: str) -> None:
    one, other = page(0x6000, XD=0), page(0x7000, **{field: 0 if field in ("A", "US") else 1})
    assert len(shown(tables({0: one, 1: other}))) == 2


def test_every_bit_has_its_column() -> None:
    entry = page(0x6000, RW=1, PWT=1, PCD=1, PAT=1, G=1, D=1, XD=1, PKEY=5)
    assert shown(tables({0: entry}))[0].endswith("4K USR RW PWT PCD PAT GLB ACC DRT NX key=5 pte")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (swap_entry(0, 17), "in swap area 0, slot 17"),
        (swap_entry(2, 5) | 1 << 3, "in swap area 2, slot 5"),
        (encode(1, US=1, A=1, ADDRESS=0x6000) | PROT_NONE, "PROT_NONE: in memory, and nobody may use it"),
        (GUARD_ENTRY, "marker: guard page (MADV_GUARD_INSTALL)"),
        (POISONED_ENTRY, "marker: poisoned (UFFDIO_POISON)"),
        (UFFD_WP_ENTRY, "marker: uffd-wp"),
        (swap_entry(31, 0), "not present: software bits 0xfffffffffffffe00"),
    ],
)
def test_what_is_not_present_is_told_in_words(entry: int, words: str) -> None:
    assert shown(tables({0: entry})) == [f"0x0000000000400000-0x0000000000401000 4K {words} pte"]


def test_swapped_neighbours_are_one_range_whatever_their_slots() -> None:
    snapshot = tables({0: swap_entry(1, 40), 1: swap_entry(1, 12), 2: swap_entry(0, 13)})
    first, second = shown(snapshot)
    assert "8K 2 pages in swap, the first in swap area 1, slot 40" in first
    assert "in swap area 0, slot 13" in second


def test_large_pages_and_what_lies_between() -> None:
    snapshot = by_hand(
        {
            PML4: {0: encode(4, ADDRESS=PDPT, **TABLE)},
            PDPT: {
                0: encode(3, ADDRESS=PD, **TABLE),
                1: encode(3, PS=1, ADDRESS=1 << 30, PAT=1, **TABLE),
                2: encode(3, PS=1, ADDRESS=1 << 30, PAT=1, **TABLE),
            },
            PD: {3: encode(2, PS=1, ADDRESS=2 << 20, **TABLE), 5: encode(2, ADDRESS=PT, **TABLE)},
            PT: {511: page(0)},
        },
        PML4,
        memory=2 << 30,
    )
    assert shown(snapshot) == [
        "0x0000000000600000-0x0000000000800000 2M USR RW PSE ACC x pmd",
        "0x0000000000bff000-0x0000000000c00000 4K USR ro ACC x pte",
        "0x0000000040000000-0x00000000c0000000 2G USR RW PSE PAT ACC x pud",
    ]


def test_five_levels_and_the_upper_half() -> None:
    snapshot = by_hand(
        {
            P5: {1: encode(5, ADDRESS=PML4, **TABLE), 511: encode(5, ADDRESS=PML4, **TABLE)},
            PML4: {0: encode(4, ADDRESS=PDPT, **TABLE)},
            PDPT: {0: encode(3, ADDRESS=PD, **TABLE)},
            PD: {0: encode(2, ADDRESS=PT, **TABLE)},
            PT: {1: page(0)},
        },
        P5,
        levels=5,
    )
    low, high = shown(snapshot)
    assert low.startswith("0x0001000000001000-0x0001000000002000 4K")
    assert high.startswith("0xffff000000001000-0xffff000000002000 4K")


def test_what_entries_above_take_away_is_told() -> None:
    assert shown(tables({0: page(0, RW=1)}, RW=0)) == [
        "0x0000000000400000-0x0000000000401000 4K USR RW ACC x (ro by an entry above) pte"
    ]
    assert "(no user, NX by an entry above)" in shown(tables({0: page(0)}, US=0, XD=1))[0]


def test_holes_are_shown_where_they_are_asked_for() -> None:
    snapshot = tables({0: page(0), 2: page(0)})
    lines = list(ranges_text(snapshot, find_sharing(snapshot), snapshot.spaces, holes=True))
    assert [line.split()[0] for line in lines[1:]] == [
        "0x0000000000000000-0x0000000000400000",
        "0x0000000000400000-0x0000000000401000",
        "0x0000000000401000-0x0000000000402000",
        "0x0000000000402000-0x0000000000403000",
        "0x0000000000403000-0x0000800000000000",
    ]


def test_a_range_has_the_names_of_its_mappings() -> None:
    made = tables({0: page(0), 1: page(0)})
    named = by_hand(
        {at: {i: int(v) for i, v in enumerate(table.entries) if v} for at, table in made.tables.items()},
        PML4,
        mappings=(Mapped(0x400000, 0x401000, "r--p", "/bin/\x1bprog"), Mapped(0x401000, 0x402000, "r--p", "[heap]")),
    )
    line = list(ranges_text(named, find_sharing(named), named.spaces))[1]
    assert line.endswith("pte  /bin/\\x1bprog, [heap]")


def test_the_tree_has_every_entry_and_shortens_long_rows_of_tables() -> None:
    entries = {PT + 0x1000 * n: {0: page(0)} for n in range(6)}
    snapshot = by_hand(
        {
            PML4: {0: encode(4, ADDRESS=PDPT, **TABLE)},
            PDPT: {0: encode(3, ADDRESS=PD, **TABLE)},
            PD: {2 + n: encode(2, ADDRESS=PT + 0x1000 * n, **TABLE) for n in range(6)},
            **entries,
        },
        PML4,
    )
    assert list(tree_text(snapshot, find_sharing(snapshot), snapshot.spaces)) == [
        "process 100 (prog): PGD at 0x2000",
        "└─ [0] 0x0: PUD table at 0x3000",
        "   └─ [0] 0x0: PMD table at 0x4000",
        "      ├─ [2] 0x400000: PTE table at 0x5000",
        "      │  └─ [0] 0x400000-0x401000: USR ro ACC x",
        "      ├─ ... 4 more PTE tables",
        "      └─ [7] 0xe00000: PTE table at 0xa000",
        "         └─ [0] 0xe00000-0xe01000: USR ro ACC x",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [(4096, "4K"), (12 << 10, "12K"), (2 << 20, "2M"), (1 << 30, "1G"), (3 << 40, "3T"), (1 << 50, "1P")],
)
def test_sizes_are_ptdump_s(size: int, text: str) -> None:
    assert range_size(size) == text
