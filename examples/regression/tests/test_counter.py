"""A program of ours, compiled by the test: guests/counter.c."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emu.testing import GuestMachine, GuestResult, assert_shares_table

COUNTER = (Path(__file__).parents[1] / "guests" / "counter.c").read_text()


@pytest.mark.unimmu(level=["pte", "pmd", "pud"])
def test_every_increment_counts(run_guest: Callable[..., GuestResult]) -> None:
    result = run_guest(COUNTER, 5)
    assert (result.stdout, result.status) == ("5000\n", 0)


@pytest.mark.unimmu(level="pmd", cpus=2, tlb="skylake-sp")
def test_it_holds_on_two_cpus_with_modelled_tlbs(run_guest: Callable[..., GuestResult]) -> None:
    """The audit afterwards also says whether any CPU used a stale translation."""
    assert run_guest(COUNTER, 3).stdout == "3000\n"


@pytest.mark.unimmu(level="pmd")
def test_two_children_count_through_one_table(machine: GuestMachine) -> None:
    """Stop two children at unimmu_mark(1), wherever each has mapped the region, and look at their page tables."""
    machine.guest(COUNTER, 2, name="counter")
    a = machine.run_until_mark(None, 1)
    b = machine.run_until_mark(None, 1)
    (at_a,), (at_b,) = ([link.vaddr for link in machine.events.links.where(pid=task.pid)] for task in (a, b))
    assert_shares_table(a, b, at_a, at_b, level="pmd")
