"""The rows of the tables on three vCPUs with modelled TLBs: the same answers, and no stale translation is ever used."""

from __future__ import annotations

import pytest

from emu.machine import Mount
from msharefs.module import MOUNT_POINT
from tests.booted import Booted, MakeMachine
from tests.exhaustive import in_turn
from tests.sharing import test_sharing_abi_la57 as generations
from tests.sharing import test_sharing_la57 as interface
from tests.sharing.tables import Table, expected, results


def hold(booted: Booted, table: Table, before: str, after: str) -> None:
    before = f"@d = say {len(str(booted.unit)) + 1}; {before}"
    assert results(booted, table, before, after) == expected(table, booted.unit)
    assert booted.stale_translations() == []
    if "@fork" in before + "".join(script for script, _ in table.values()):
        assert booted.kernel.scheduler.vcpus[1].instructions


#: tlb=all at every level, and tlb=sharers at one. With tlb=local a reader would spin on its stale page for ever.
WHO_IS_TOLD = [("pte", "all"), ("pmd", "all"), ("pud", "all"), ("pmd", "sharers")]


@pytest.mark.parametrize(("name", "way"), in_turn(interface.TABLES, WHO_IS_TOLD, 2))
def test_the_file_interface(machine: MakeMachine, name: str, way: tuple[str, str]) -> None:
    level, told = way
    table, before = interface.TABLES[name]
    mounts = [Mount("msharefs", MOUNT_POINT, f"level={level},tlb={told}")]
    booted = machine(level=level, mounts=mounts, cpus=3, tlb="skylake-sp", check_tlb=True)
    hold(booted, table, before, generations.UNLINK)


@pytest.mark.parametrize("name", generations.CASES)
def test_the_other_generations(machine: MakeMachine, name: str) -> None:
    abi, table, before, after = generations.CASES[name]
    table = {row: texts for row, texts in table.items() if row not in generations.FOUR_LEVELS}
    hold(machine(level="pmd", abi=abi, cpus=3, tlb="skylake-sp", check_tlb=True), table, before, after)
