"""Cases as small C programs, each named after the behaviour and run by every interface and level that it fits.

Their heads in guests/src say what they must print.  The ways that need no module run on the host too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import guests
from emu.testing import GuestMachine, GuestResult
from tests.booted import native

LEVELS = ["pte", "pmd", "pud"]
RunGuest = Callable[..., GuestResult]


def must_print(name: str) -> str:
    """What the head of the source says."""
    source = (Path(guests.__file__).parent / "src" / f"{name}.c").read_text()
    head = re.search(r"\* Prints:\n(.*?)\n \*/", source, re.DOTALL)
    assert head is not None, f"{name}.c does not say what it prints"
    return "".join(line.removeprefix(" *   ") + "\n" for line in head[1].splitlines())


def check(run_guest: RunGuest, name: str, *arguments: str) -> None:
    result = run_guest(name, *arguments)
    assert (result.stdout, result.stderr, result.status) == (must_print(name), "", 0), result


ANYWHERE = ["concurrent_populate", "exec_in_the_middle"]


@pytest.mark.parametrize("name", [*ANYWHERE, "several_windows", "unlink_while_mapped"])
@pytest.mark.parametrize("way", ["plain", "ptshare"])
def test_files(run_guest: RunGuest, name: str, way: str) -> None:
    check(run_guest, name, way)


@pytest.mark.parametrize("name", [*ANYWHERE, "several_windows", "unlink_while_mapped"])
def test_on_the_host(name: str, tmp_path: Path) -> None:
    done = native(guests.path(name), ["plain"], cwd=tmp_path)
    assert (done.stdout, done.stderr, done.exit_status) == (must_print(name), "", 0), done


@pytest.mark.unimmu(level=LEVELS, abi=["y2", "v3"])
@pytest.mark.parametrize("name", [*ANYWHERE, "several_windows", "unlink_while_mapped", "unmapped_under_reader"])
def test_the_file_interface(run_guest: RunGuest, name: str) -> None:
    check(run_guest, name, "file")


@pytest.mark.unimmu(level=LEVELS, abi="v3")
def test_a_file_in_two_regions_and_mapped_plainly(run_guest: RunGuest) -> None:
    check(run_guest, "file_three_ways")


@pytest.mark.unimmu(level=LEVELS, abi=["rfc3", "y1"])
@pytest.mark.parametrize("name", [*ANYWHERE, "unlink_while_mapped", "unmapped_under_reader"])
def test_the_ioctl_interface(machine: GuestMachine, name: str) -> None:
    if (machine.abi, name) == ("rfc3", "unmapped_under_reader"):
        pytest.skip("abi=rfc3 (September 2024) has no ioctl that unmaps")
    check(machine.run_guest, name, "ioctl")


@pytest.mark.unimmu(level=LEVELS, abi="v2")
@pytest.mark.parametrize("name", ANYWHERE)
def test_the_interface_of_the_second_series(run_guest: RunGuest, name: str) -> None:
    check(run_guest, name, "v2")


@pytest.mark.unimmu(level=LEVELS, abi="v1")
@pytest.mark.parametrize("name", ANYWHERE)
def test_the_calls_of_the_first_series(run_guest: RunGuest, name: str) -> None:
    check(run_guest, name, "v1")


@pytest.mark.unimmu(level=["pte", "pmd"], tlb="skylake-sp", cpus=2)
@pytest.mark.parametrize("name", [*ANYWHERE, "several_windows", "unlink_while_mapped", "unmapped_under_reader"])
def test_on_two_cpus_with_modelled_tlbs(run_guest: RunGuest, name: str) -> None:
    """No CPU ever uses a translation that the tables no longer bear out: the audit would say so."""
    check(run_guest, name, "file")


@pytest.mark.unimmu(tlb="skylake-sp", cpus=2)
@pytest.mark.parametrize("name", [*ANYWHERE, "several_windows", "unlink_while_mapped"])
def test_ptshare_on_two_cpus_with_modelled_tlbs(run_guest: RunGuest, name: str) -> None:
    check(run_guest, name, "ptshare")


@pytest.mark.unimmu(la57=True, level=LEVELS, abi="v3")
@pytest.mark.parametrize("name", ["concurrent_populate", "unmapped_under_reader"])
def test_with_five_levels(run_guest: RunGuest, name: str) -> None:
    check(run_guest, name, "file")


@pytest.mark.unimmu(level=LEVELS, abi="g4")
def test_the_calls_of_2026(run_guest: RunGuest) -> None:
    check(run_guest, "concurrent_populate", "g4")


#: Which interfaces let a region end with the process that made it.
OWNERS = {"v1": "v1", "v2": "v2", "rfc3": "ioctl", "y1": "ioctl", "y2": "file", "v3": "file"}


@pytest.mark.unimmu(level=LEVELS, abi=list(OWNERS))
def test_the_owner_dies(machine: GuestMachine) -> None:
    assert machine.abi is not None
    ending = "SIGSEGV" if machine.abi == "v3" else "the range is still there"
    result = machine.run_guest("owner_death", OWNERS[machine.abi])
    assert result.stdout.splitlines() == ["owner_death: attached while it lived: ok", f"owner_death: {ending}"], result
    assert (result.stderr, result.status) == ("", 0)


@pytest.mark.parametrize("way", ["plain", "ptshare"])
def test_a_file_outlives_who_made_it(run_guest: RunGuest, way: str) -> None:
    result = run_guest("owner_death", way)
    assert result.stdout.splitlines()[-1] == "owner_death: the range is still there"


def test_each_head_is_read() -> None:
    assert must_print("concurrent_populate") == "concurrent_populate: 4 processes filled 256 pages, all right\n"


@pytest.mark.unimmu(abi="g4")
def test_a_case_that_needs_a_name_refuses_g4(run_guest: RunGuest) -> None:
    """Regions of abi=g4 have none: it is a mistake of usage, not an endless wait for a child that has failed."""
    result = run_guest("owner_death", "g4")
    assert result.status == 2 and "plain|ptshare|file|ioctl|v2|v1\n" in result.stdout + result.stderr
