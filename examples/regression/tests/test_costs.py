"""What sharing costs and saves, with a prebuilt guest: `sharers MODE PROCESSES SIZE` touches an object and sleeps."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from emu.kernel.task import Task
from emu.testing import GuestMachine, assert_no_fault, assert_pagetable_bytes

KIB, MIB = 1 << 10, 1 << 20


def asleep(machine: GuestMachine, mode: str, processes: int, size: int = 4 * MIB) -> tuple[Task, int]:
    """`sharers` when all its processes have touched all pages: the parent, and the bytes of tables of the system."""
    parent = machine.guest("sharers", mode, processes, size, "write")
    machine.run_until_idle()
    return parent, machine.pagetable_bytes


@pytest.mark.unimmu(level="pmd")
def test_only_the_first_process_pays_for_pages(machine: GuestMachine) -> None:
    """The parent takes a minor fault for each of 1024 pages; the child links their table, and that is all."""
    with machine.expect(link_faults=2):  # one for each process
        parent, _ = asleep(machine, "mshare", 2)
    (child,) = machine.children_of(parent)
    assert child.usage.link_faults == 1
    assert parent.usage.min_flt - child.usage.min_flt >= 1024
    with assert_no_fault(machine, task=child):
        machine.send_signal(parent, 10)
        machine.finish()
    assert machine.stdout == "sharers: 2 processes, 1024 pages, sum ok\n"


@pytest.mark.unimmu(level="pmd")
def test_tables_are_paid_for_once(make_machine: Callable[..., GuestMachine]) -> None:
    """Without sharing each process adds tables for the whole object; with mshare it adds only its own few."""
    grown = {}
    for mode in ("plain", "mshare"):
        sizes = [asleep(make_machine(), mode, processes)[1] for processes in (1, 2, 3)]
        grown[mode] = [later - earlier for earlier, later in pairwise(sizes)]
    saved = 2 * 4 * KIB + 4 * KIB  # of 4 MiB: two PTE tables and the PMD table above them
    assert grown["plain"] == [grown["plain"][0]] * 2
    assert grown["mshare"] == [grown["plain"][0] - saved] * 2


@pytest.mark.unimmu(level="pmd")
def test_the_region_s_own_tables(machine: GuestMachine) -> None:
    asleep(machine, "mshare", 3)
    tables = 1 + 1 + 1 + 2  # PGD, PUD, PMD, and a PTE table for each 2 MiB
    assert_pagetable_bytes(machine.host_mm("sharers"), tables * 4 * KIB)
