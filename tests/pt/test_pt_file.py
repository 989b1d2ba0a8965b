"""A snapshot is read back as it was, and a file that is none is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from emu.mm.swapops import GUARD_ENTRY, swap_entry
from emu.trace.pt.file import BadSnapshot, from_json, to_json
from emu.trace.pt.tables import Mapped, PageTablesSnapshot
from mmu.entries import encode
from tests.pt.conftest import Sharing3, by_hand

PML4, PDPT, PD, PT = range(0x1000, 0x5000, 0x1000)


@pytest.fixture
def snapshot() -> PageTablesSnapshot:
    return by_hand(
        {
            PML4: {0: encode(4, P=1, ADDRESS=PDPT), 511: encode(4, P=1, ADDRESS=1 << 47)},
            PDPT: {0: encode(3, P=1, ADDRESS=PD)},
            PD: {0: encode(2, P=1, ADDRESS=PT), 1: encode(2, P=1, PS=1, ADDRESS=2 << 20)},
            PT: {
                0: swap_entry(3, 1),
                **{n: encode(1, P=1, XD=1, ADDRESS=0x7000 + n * 0x1000) for n in range(3, 512)},
                1: GUARD_ENTRY,
                2: GUARD_ENTRY,
            },
        },
        PML4,
        mappings=(Mapped(0x1000, 0x2000, "rw-p", "[heap] \x1b"),),
    )


def test_it_is_read_back_equal(snapshot: PageTablesSnapshot) -> None:
    assert from_json(to_json(snapshot)) == snapshot


@pytest.mark.parametrize("options", [{}, {"level": "pud"}, {"la57": True}])
def test_so_is_that_of_a_machine(sharers: Sharing3, options: dict[str, Any]) -> None:
    snapshot = sharers(**options)
    text = to_json(snapshot)
    assert from_json(text) == snapshot
    assert to_json(from_json(text)) == text


def test_pages_behind_each_other_are_one_row(snapshot: PageTablesSnapshot) -> None:
    rows = json.loads(to_json(snapshot))["tables"][hex(PT)]["entries"]
    assert rows[-1] == [3, hex(encode(1, P=1, XD=1, ADDRESS=0xA000)), 509]
    assert [row[0] for row in rows] == [0, 1, 2, 3], "guard pages are no pages"


def test_another_snapshot_is_not_equal(snapshot: PageTablesSnapshot) -> None:
    other = from_json(to_json(snapshot))
    other.tables[PT].entries[9] ^= np.uint64(1 << 6)
    assert other != snapshot
    assert snapshot != "a snapshot"


def changed(snapshot: PageTablesSnapshot, path: str, value: Any) -> str:
    document = json.loads(to_json(snapshot))
    at = document
    *way, last = path.split("/")
    for word in way:
        at = at[int(word) if isinstance(at, list) else word]
    at[int(last) if isinstance(at, list) else last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("unimmu_page_tables", 2, "its format is 2, and this unimmu reads 1"),
        ("memory_bytes", "64M", '"memory_bytes" is missing, or is not what it should be'),
        ("memory_bytes", -1, '"memory_bytes" is -1, which cannot be'),
        ("instructions", True, '"instructions" is True, which cannot be'),
        ("command", [1], '"command" holds something that is no text'),
        ("registers/cr4", "0x0", "the registers cannot be: IA-32e paging needs"),
        ("registers/cr0", "zero", "register cr0: 'zero' is no number of 64 bits"),
        ("registers/pat", None, "register pat: None is no number of 64 bits"),
        ("registers/cr4", "0x1020", "leads to 0x1000 as to a table of level 5, and that has level 4"),
        ("address_spaces/0/pids", [0], "a process number is no positive number"),
        ("address_spaces/0/cr3", "0x9000", "leads to 0x9000, and there is no such table"),
        ("address_spaces/0/cr3", "0x40000000", "outside memory"),
        ("address_spaces/0/mappings", [["0x2000", "0x1000", "r", ""]], "ends before it begins"),
        (
            "address_spaces/0/mappings",
            [["0x2000", "0x4000", "r", ""], ["0x3000", "0x5000", "r", ""]],
            "the mapping at 0x3000 begins before the one ahead of it ends",
        ),
        ("address_spaces/0/pids", [7, 7], "a process is in two address spaces"),
        ("address_spaces/0/mappings", [[1, 2]], "is not [start, end, rights, name]"),
        ("tables/0x2000/level", 0, "has no level"),
        ("tables/0x2000/entries", [[0, "0x9001"]], "entry 0 of the table at 0x2000 leads to 0x9000"),
        ("tables/0x2000/entries", [[0]], "an entry is not [index, value]"),
        ("tables/0x2000/entries", [[511, "0x1", 2]], "there are no 2 entries from 511 on"),
        ("tables/0x2000/entries", [[0, "0x0", 0]], "there are no 0 entries from 0 on"),
        ("tables/0x2000/entries", [[0, "0x10000000000000000"]], "is no number of 64 bits"),
        ("tables/0x2000/entries", [[0, "0xffffffffffffffff", 2]], "entry 1 has more than 64 bits"),
        ("tables/0x2000/entries", [[0, "0x3001"], [0, "0x3001"]], "entry 0 stands there twice"),
        ("tables/0x2001", {"level": 1, "entries": []}, "does not begin at a multiple of 4096"),
    ],
)
def test_a_file_that_is_wrong_is_refused(snapshot: PageTablesSnapshot, path: str, value: Any, why: str) -> None:
    with pytest.raises(BadSnapshot) as caught:
        from_json(changed(snapshot, path, value))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe{", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"{}", 'there is no "unimmu_page_tables"'),
        (b"[1]", 'there is no "unimmu_page_tables"'),
        (b'{"unimmu_page_tables": 1}', '"memory_bytes" is missing'),
    ],
)
def test_what_is_no_such_file_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(BadSnapshot, match=why):
        from_json(text)
