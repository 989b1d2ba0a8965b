"""``anonymous=on``: shared memory without a name is a region, and the program knows nothing of it."""

from __future__ import annotations

import pytest

from emu.kernel.task import Task
from emu.machine import Mount
from emu.mm.shared_tables import unit_of
from emu.testing import GuestMachine, assert_does_not_share_table, assert_same_frame, assert_shares_table

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LEVELS = ("pte", "pmd", "pud")
#: mmap with MAP_SHARED|MAP_ANONYMOUS.
MAP = "p = mmap 0 {length} RW MAP_SHARED|MAP_ANONYMOUS -1 0"
#: Not a multiple of any unit, as PostgreSQL's.
LENGTH = 5 * MIB + 12 * KIB


def machine_with(options: str) -> GuestMachine:
    return GuestMachine(mounts=[Mount("msharefs", "/sys/fs/mshare", options)])


def text_of(options: str, script: str) -> str:
    """What a script prints on a machine whose books are right afterwards."""
    machine = machine_with(options)
    out = machine.run_guest("calls", script).stdout
    assert machine.close() == []
    return out


def forked(machine: GuestMachine, level: str, length: int = LENGTH) -> tuple[Task, Task, int]:
    """A parent that has written its memory, a child that has read it, and where it is."""
    script = (
        f"{MAP.format(length=length)}; @touch p {length}; @store p 77; fork child; mark 2; @scan p {length}; mark 3"
    )
    parent = machine.guest(
        "calls", f"{script}; munmap p {length}; mark 4; end; mark 1; wait child; mark 5; load p; mark 6"
    )
    machine.run_until_mark(parent, 1)
    child = machine.run_until_mark(None, 2)
    (region,) = machine.kernel.reporters["regions"]()
    assert (region["level"], region["sharers"]) == (level, 2)
    with machine.expect(task=child, minor_faults=0, link_faults=-(-length // unit_of(level))):
        machine.run_until_mark(child, 3)
    start = next(vma.start for vma in parent.mm.vmas if getattr(vma.ops, "region", None))
    return parent, child, start


@pytest.mark.parametrize("level", LEVELS)
def test_a_child_links_the_memory_that_it_inherits(level: str) -> None:
    machine = machine_with(f"level={level},anonymous=on")
    parent, child, start = forked(machine, level)
    assert start % unit_of(level) == 0
    for at in (0, LENGTH - 4 * KIB & -4 * KIB):
        assert_shares_table(parent, child, start + at, level=level)
        assert_same_frame(parent, child, start + at)
    machine.run_until_mark(child, 4)  # munmap with the length that was asked for: all of it has gone
    assert not any(getattr(vma.ops, "region", None) for vma in child.mm.vmas)
    machine.resume(child)
    machine.run_until_mark(parent, 6)
    assert "load = 77" in machine.stdout
    assert [region["sharers"] for region in machine.kernel.reporters["regions"]()] == [1]
    machine.finish()
    assert machine.close() == []


def test_without_the_option_nothing_is_shared() -> None:
    machine = GuestMachine()
    script = f"{MAP.format(length='4M')}; @touch p 4M; fork child; @scan p 4M; mark 2; end; mark 1"
    parent = machine.guest("calls", script)
    machine.run_until_mark(parent, 1)
    child = machine.run_until_mark(None, 2)
    start = next(vma.start for vma in parent.mm.vmas if vma.length == 4 * MIB)
    assert_does_not_share_table(parent, child, start, level="pte")
    assert machine.kernel.reporters["regions"]() == []


def test_a_region_ends_with_its_last_window() -> None:
    machine = machine_with("anonymous=on")
    script = (
        f"{MAP.format(length='4M')}; @touch p 4M; munmap p 4M; p = mmap p 4M RW MAP_SHARED|MAP_ANONYMOUS -1 0; load p"
    )
    assert "munmap = 0" in machine.run_guest("calls", script).stdout
    ended = machine.kernel.reporters["regions"]()
    assert [region["peak_resident_bytes"] for region in ended] == [4 * MIB, 4 * KIB]
    assert machine.close() == []


def test_who_maps_less_than_a_table_or_privately_shares_nothing() -> None:
    machine = machine_with("level=pte,anonymous=on")
    machine.run_guest(
        "calls", f"{MAP.format(length='2044K')}; p = mmap 0 4M RW MAP_PRIVATE|MAP_ANONYMOUS -1 0; @touch p 4M"
    )
    assert machine.kernel.reporters["regions"]() == []
    assert machine.close() == []


def test_at_a_fixed_address_the_unit_must_be_free() -> None:
    place = "p = mmap {at} 4M RW MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED -1 0; store p 1; load p"
    inside = "q = mmap {at} 4K RW MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0"
    for script, regions in (
        (place.format(at="2T"), 1),
        (place.format(at=hex((2 << 40) + 4096)), 0),
        (inside.format(at=hex((2 << 40) + GIB - 4096)) + "; " + place.format(at="2T"), 0),
    ):
        machine = machine_with("anonymous=on")
        out = machine.run_guest("calls", script).stdout
        assert "load = 1" in out, out
        assert len(machine.kernel.reporters["regions"]()) == regions, script
        assert machine.close() == []


def test_nothing_comes_into_a_window_and_no_part_of_it_goes() -> None:
    at = hex((2 << 40) + 8 * MIB)  # behind the memory, but in its last unit
    script = f"""
        p = mmap 2T 4M RW MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED -1 0
        mmap {at} 4K RW MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0
        munmap p 4K
        mprotect p 4K PROT_READ
        munmap p 4M
        munmap p 4M"""
    lines = text_of("anonymous=on", script).split("\n")
    assert lines[1:6] == ["mmap = EINVAL", "munmap = EINVAL", "mprotect = EINVAL", "munmap = 0", "munmap = 0"]


def test_behind_the_memory_is_nothing_to_read() -> None:
    machine = machine_with("anonymous=on")
    result = machine.run_guest("calls", f"{MAP.format(length='4M')}; load p; @touch p 4100K")
    assert result.status == 139, result
    assert machine.close() == []


def test_memory_that_is_promised_is_what_was_asked_for() -> None:
    """Not the 512 GiB of a unit."""
    out = text_of(
        "level=pud,anonymous=on",
        'f = open "/proc/sys/vm/overcommit_memory" O_WRONLY; @write f "1" 1; ' + MAP.format(length="16M"),
    )
    assert "p = E" not in out
    strict = 'f = open "/proc/sys/vm/overcommit_memory" O_WRONLY; @write f "2" 1; '
    assert "p = ENOMEM" not in text_of("level=pud,anonymous=on", strict + MAP.format(length="16M"))
    assert "p = ENOMEM" in text_of("level=pud,anonymous=on", strict + MAP.format(length="16G"))
