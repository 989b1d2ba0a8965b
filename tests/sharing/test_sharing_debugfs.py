"""/sys/kernel/debug/mshare: the counts of a region, while it lives and after."""

from __future__ import annotations

import pytest

from tests.booted import UNIT, Booted, MakeMachine

REGION = (
    '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd u+u; @create fd 0 16K RW OBJECT;'
    '@m = open "/tmp/file" O_RDWR|O_CREAT 0600; @ftruncate m 64K; @pwrite m "x" 1 0;'
    "@create fd u 8K PROT_READ MAP_SHARED|MAP_FIXED m; @w = mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0;"
)
#: Prints the file, line by line, from a child that shares nothing with the region's windows but the inherited one.
SHOW = '@d = open "/sys/kernel/debug/mshare" O_RDONLY; @b = bytes 4000; @read d b 4000; text b; @close d;'


def shown(booted: Booted, script: str) -> list[str]:
    """What the file says at the script's end."""
    lines = booted.calls(f"@u = say {booted.unit};{script}{SHOW}")
    return "\n".join(lines).removeprefix("text = ").splitlines()


@pytest.mark.parametrize("level", UNIT)
def test_a_region_that_lives(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level)
    lines = shown(
        booted,
        REGION + "@touch w 8K; @load w+u; @fork c; @load w; @touch w+8K 4K; @p = mmap 0 4K RW PRIVATE -1 0; pause; end;"
        "@sched_yield; @sched_yield; @kill c SIGKILL; @sched_yield;",
    )
    unit = UNIT[level]
    (region,) = booted.kernel.reporters["regions"]()
    tables = region["peak_pagetable_bytes"]
    assert lines[:3] == [
        f"r: level {level}, abi v3, {2 * unit} bytes",
        "  owner 100 (die)",
        "  sharers 1 (at most 2): 100",
    ]
    assert f"  pagetable {tables} bytes (at most {tables})" in lines
    assert "  resident 16384 bytes (at most 16384)" in lines
    assert "  links 3, unlinks 1" in lines
    assert "  faults: link 3, populate 4" in lines
    assert [line.split(" at ")[1] for line in lines if " table 0x" in line] == [
        "+0x0: shared 1 times, made by 100",
        f"+{unit:#x}: shared 1 times, made by 100",
    ]
    assert lines[-4:] == [
        "  object +0x0-0x4000 rw- anonymous, shared",
        f"  object +{unit:#x}-{unit + 0x2000:#x} r-- /tmp/file",
        "  populated by 100: 3 pages",
        "  populated by 101: 1 pages",
    ]


def test_regions_that_are_orphaned_and_that_have_ended(machine: MakeMachine) -> None:
    booted = machine()
    lines = shown(
        booted,
        f"@fork c; {REGION} @touch w 16K; end; @wait c;"
        '@g = open "/sys/fs/mshare/s" O_RDWR|O_CREAT 0600; @unlink "/sys/fs/mshare/s"; @close g;',
    )
    assert lines[:5] == [
        "r: level pmd, abi v3, 2147483648 bytes, orphaned",
        "  owner 101 (die)",
        "  sharers 0 (at most 1)",
        "  pagetable 4096 bytes (at most 16384)",
        "  resident 0 bytes (at most 16384)",
    ]
    assert "s: level pmd, abi v3, 0 bytes, ended" in lines
    assert not [line for line in lines if "object" in line or " table 0x" in line]


def test_only_root_looks_into_debugfs(machine: MakeMachine) -> None:
    assert machine().calls('@setuid 1000; open "/sys/kernel/debug/mshare" O_RDONLY') == ["open = EACCES"]
    assert machine().calls('open "/sys/kernel/debug/mshare" O_RDWR; open "/sys/kernel/debug/x" O_RDONLY|O_CREAT 0') == [
        "open = EACCES",
        "open = EACCES",
    ]


@pytest.mark.parametrize("level", UNIT)
def test_the_report_on_an_enormous_region_is_quick(machine: MakeMachine, level: str) -> None:
    """It walks the tables that there are, not the slots that there could be."""
    booted = machine(level=level)
    booted.guest(
        "calls",
        '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 0x4000000000000000;'
        "@create fd 96T 64K RW OBJECT; @c = words 96T 64K 23; @ioctl fd 0x40187821 c; @create fd 0 4K RW OBJECT;"
        "@c = words 0 4K 23; @ioctl fd 0x40187821 c; @pause",
    )
    booted.run()
    (region,) = booted.kernel.reporters["regions"]()
    tables = region["shared_tables"]
    assert [(t["region_offset"], t["share_count"], t["made_by"]) for t in tables] == [(0, 0, 100), (96 << 40, 0, 100)]
