"""Every interface generation under 5-level paging, where level=pud links P4D entries: the same answers."""

from __future__ import annotations

import pytest

from tests.booted import UNIT, MakeMachine
from tests.exhaustive import in_turn
from tests.sharing import test_sharing_abi_g4 as g4
from tests.sharing import test_sharing_abi_ioctls as ioctls
from tests.sharing import test_sharing_abi_v1 as v1
from tests.sharing import test_sharing_abi_v2 as v2
from tests.sharing.tables import Table, expected, results

LEVEL = "pud"
UNLINK = '@unlink "/sys/fs/mshare/r"'

CASES: dict[str, tuple[str, Table, str, str]] = {
    **{f"v1: {name}": ("v1", *v1.TABLES[name], v1.UNDO) for name in ("windows", "windows of a region", "the root")},
    **{f"v2: {name}": ("v2", *tables, UNLINK) for name, tables in v2.TABLES.items()},
    **{name: (name.partition(":")[0], *tables, UNLINK) for name, tables in ioctls.TABLES.items()},
    **{f"y2: {name}": ("y2", *tables, UNLINK) for name, tables in ioctls.Y2_TABLES.items()},
    **{f"g4: {name}": ("g4", *tables, "") for name, tables in g4.TABLES.items()},
}
#: Rows that count on the end of 4-level paging.
FOUR_LEVELS = {"private, or too long", "ranges"}


@pytest.mark.parametrize(("name", "level"), in_turn(CASES, ["pte", "pmd"], 1, always=[LEVEL]))
def test_the_same_answers(machine: MakeMachine, name: str, level: str) -> None:
    abi, table, before, after = CASES[name]
    table = {row: texts for row, texts in table.items() if row not in FOUR_LEVELS}
    before = f"@d = say {len(str(UNIT[level])) + 1}; {before}"
    assert results(machine(level=level, abi=abi, la57=True), table, before, after) == expected(table, UNIT[level])


@pytest.mark.parametrize("abi", ["rfc3", "y1"])
def test_a_region_above_4_level_addresses(machine: MakeMachine, abi: str) -> None:
    """Its address is far up in every process."""
    booted = machine(level=LEVEL, abi=abi, la57=True)
    assert booted.calls(
        '@b = bytes 64; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; set_size fd 512T 512G;'
        "create_at fd 512T 8K RW OBJECT; w = mmap 512T 512G RW MAP_SHARED fd 0; store w 7;"
        '@fork c; load w; end; @wait c; unlink "/sys/fs/mshare/r"'
    ) == ["set_size = 0", "create_at = 0", "w = 0x2000000000000", "store = 0", "load = 7", "unlink = 0"]
