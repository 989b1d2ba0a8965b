"""What a real kernel with the third series did (spec/mshare-observed.md, section 9), at level=pud."""

from __future__ import annotations

import pytest

from tests.booted import GIB, MIB, UNIT, Booted, MakeMachine, Mark, Recorder
from tests.exhaustive import by_default

WINDOW = 1 << 41
#: Of the object's pages the creator writes each one up to here, and then one in each 2 MiB, which makes every table;
#: the rest is the same again.
DENSE = by_default(32 * MIB, GIB)
#: How many pages that is.
WRITTEN = DENSE // 4096 + (GIB - DENSE) // (2 * MIB)


def over_object(verb: str, access: str) -> str:
    """Statements that ``touch`` or ``scan`` those pages."""
    rest = f"; @q = say w+{DENSE}; repeat {WRITTEN - DENSE // 4096}; {access}; @q = mod q+2M 1024T; end"
    return f"@{verb} w {DENSE}" + (rest if DENSE < GIB else "")


TOUCH, SCAN = over_object("touch", "@store q 1"), over_object("scan", "@load q")
#: A 1 GiB object that every process touches. By the number of processes, as observed, in kB:
#: unshared (VmPTE of each, page tables of the system), mshare (the same two).
OBSERVED = {
    1: (2092, 2056, 36, 2060),
    2: (2092, 4152, 36, 2100),
    4: (2092, 8344, 36, 2180),
    8: (2092, 16728, 36, 2340),
    16: (2092, 33500, 36, 2660),
}
#: What a process had for itself there: VmPTE, and the growth of the system's tables for each further process.
OBSERVED_OWN_VM_PTE, OBSERVED_OWN = 36, 40


def mshare_object(unit: int, size: int, *, memfd: bool = False) -> str:
    """Statements that make a region with an object in it, and map it as ``w``."""
    region = -(-size // unit) * unit
    file = f'@m = memfd_create "m" 0; @ftruncate m {size}; ' if memfd else ""
    flags = "MAP_SHARED|MAP_FIXED m" if memfd else "OBJECT|MAP_NORESERVE"
    return (
        f'{file}@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd {region};'
        f"create fd 0 {size} RW {flags}\n"
        f"@w = mmap {WINDOW} {region} RW MAP_SHARED|MAP_FIXED fd 0\n"
    )


def plain_object(size: int) -> str:
    """The same with plain MAP_SHARED."""
    return f"@w = mmap {WINDOW} {size} RW ANON|MAP_FIXED|MAP_NORESERVE -1 0\n"


def script(make: str, write: str, work: dict[int, str]) -> str:
    """The creator makes an object and writes it; then one process after the other does its work on it and stays.

    Marks: 0 before there is an object, 5 and 1 before and after the creator's work, 10n and 10n + 1 around that of
    process n, and 10n + 2 when n processes are there.
    """
    lines = [
        "@s = mmap 0 4K RW ANON -1 0; @p = mmap 0 4K RW PRIVATE -1 0; @store s 1; @touch p 4K; @mark 99; @mark 0",
        make,
        f"@mark 5; {write}; @mark 1",
    ]
    for n, statements in work.items():
        lines.append(
            f"@fork c; @q = say 0; @touch p 4K; @scan p 4K; @mark 98; @mark {10 * n}; {statements}; @mark {10 * n + 1};"
            f" @store s {n}; @pause; end; @await s {n}; @mark {10 * n + 2}"
        )
    return "\n".join([*lines, "@pause"])


def run(booted: Booted, make: str, write: str, work: dict[int, str]) -> dict[int, Mark]:
    """Until all processes sleep: the marks."""
    recorder = Recorder(booted)
    booted.guest("calls", script(make, write, work))
    booted.run_until_idle()
    assert booted.stdout in ("", "create = 0\n") and booted.stderr == "" and len(booted.tasks) == 1 + len(work)
    return recorder.marks


def own_kb(marks: dict[int, Mark]) -> int:
    """What one process has for itself: its PGD, and what VmPTE counts."""
    return marks[0].vm_pte_kb + 4


def done(marks: dict[int, Mark], n: int) -> Mark:
    """What process n (1 is the creator) had when its work was done."""
    return marks[1] if n == 1 else marks[10 * n + 1]


def growth_kb(marks: dict[int, Mark], n: int) -> int:
    """How much the page tables of the system have grown when n processes are there and have done their work."""
    return marks[1 if n == 1 else 10 * n + 2].tables_kb - marks[0].tables_kb


def test_one_gib_through_mshare(machine: MakeMachine) -> None:
    booted = machine(1200 * MIB, level="pud")
    # once a process has its link, further pages cost nothing: those after the fourth look at one of them
    work = {2: SCAN, 3: TOUCH, 4: SCAN, **dict.fromkeys(range(5, 17), "@scan w 4K")}
    marks = run(booted, mshare_object(booted.unit, GIB), TOUCH, work)
    for n, (_, _, vm_pte_kb, system_kb) in OBSERVED.items():
        assert growth_kb(marks, n) - own_kb(marks) * (n - 1) == system_kb - OBSERVED_OWN * (n - 1) == 2060
        assert done(marks, n).vm_pte_kb - marks[0].vm_pte_kb == vm_pte_kb - OBSERVED_OWN_VM_PTE == 0

    assert marks[1].since(marks[5]) == (WRITTEN + 1, WRITTEN, 1)  # creator: hardware, minor, link faults
    for n in range(2, 17):  # consumers, whether they read or write
        assert marks[10 * n + 1].since(marks[10 * n]) == (1, 0, 1)
        assert marks[10 * n + 1].vm_rss_kb == marks[10 * n].vm_rss_kb
    assert marks[1].vm_rss_kb == marks[5].vm_rss_kb

    (region,) = booted.regions
    assert region.host.tables.tables == {4: 1, 3: 1, 2: 1, 1: 512}
    figures = meminfo(booted)
    assert 0 <= figures["Shmem"] - 4 * WRITTEN < 200  # the program's own file is in the page cache too
    assert figures["PageTables"] == booted.pagetable_kb


def test_one_gib_without_mshare(machine: MakeMachine) -> None:
    booted = machine(1200 * MIB)
    marks = run(booted, plain_object(GIB), TOUCH, {2: SCAN, 3: TOUCH})
    for n in (1, 2):
        vm_pte_kb, system_kb, _, _ = OBSERVED[n]
        assert growth_kb(marks, n) - own_kb(marks) * (n - 1) == system_kb - OBSERVED_OWN * (n - 1) == 2056 * n
        assert done(marks, n).vm_pte_kb - marks[0].vm_pte_kb == vm_pte_kb - OBSERVED_OWN_VM_PTE == 2056
        assert done(marks, n).vm_rss_kb - marks[5 if n == 1 else 10 * n].vm_rss_kb == 4 * WRITTEN
    assert marks[1].since(marks[5]) == (WRITTEN, WRITTEN, 0)
    around = WRITTEN - DENSE // 4096 * 15 // 16
    assert marks[21].since(marks[20]) == (around, around, 0)  # a read maps 16 pages around the fault
    assert marks[31].since(marks[30]) == (WRITTEN, WRITTEN, 0)  # a write does not


#: 64 MiB: kB of tables that the region has, and what each process needs above the links, and link faults of each.
SIXTY_FOUR_MIB = {
    "pud": (4 * (32 + 1 + 1 + 1), 0, 1),
    "pmd": (4 * (32 + 1 + 1 + 1), 4, 1),  # a PUD table of its own
    "pte": (4 * (32 + 1 + 1 + 1), 8, 32),  # a PUD and a PMD table
}


@pytest.mark.parametrize("memfd", [False, True], ids=["anonymous", "memfd"])
@pytest.mark.parametrize("level", UNIT)
def test_64_mib_through_mshare(machine: MakeMachine, level: str, memfd: bool) -> None:
    size = 64 * MIB
    booted = machine(100 * MIB, level=level)
    make = mshare_object(booted.unit, size, memfd=memfd)
    marks = run(booted, make, f"@touch w {size}", {2: f"@touch w {size}", 3: f"@scan w {size}", 4: f"@scan w {size}"})
    region_kb, above_kb, links = SIXTY_FOUR_MIB[level]
    pages = size // 4096
    for n in (1, 2, 4):
        assert growth_kb(marks, n) - own_kb(marks) * (n - 1) == region_kb + above_kb * n
        assert done(marks, n).vm_pte_kb - marks[0].vm_pte_kb == above_kb
    assert marks[1].since(marks[5]) == (pages + links, pages, links)
    for n in (2, 3, 4):
        assert marks[10 * n + 1].since(marks[10 * n]) == (links, 0, links)

    booted.kill_all()
    assert booted.calls('unlink "/sys/fs/mshare/a"') == ["unlink = 0"]
    assert booted.pagetable_kb == 0 and meminfo(booted)["Shmem"] < 200  # the program's own file, which stays


def meminfo(booted: Booted) -> dict[str, int]:
    lines = booted.kernel.vfs.read_file("/proc/meminfo").decode().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def test_64_mib_without_mshare(machine: MakeMachine) -> None:
    size = 64 * MIB
    marks = run(machine(100 * MIB), plain_object(size), f"@touch w {size}", {2: f"@scan w {size}"})
    for n in (1, 2):
        assert done(marks, n).vm_pte_kb - marks[0].vm_pte_kb == 176 - 40
