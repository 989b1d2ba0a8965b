"""The calls on a region that no posting has: one change of rights, or one advice, for every sharer at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emu.kernel.task import Task
from emu.machine import Mount
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import A, D
from emu.mm.tlbflush import Flushed
from msharefs.module import MOUNT_POINT
from tests.booted import UNIT, Booted, MakeMachine, Recorder

PROTECT, ADVISE = 0x40187820, 0x40187821
REGION = '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0644; @ftruncate fd u; @create fd 0 64K RW OBJECT;'
WINDOW = REGION + "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
SHARERS = 5


def protect(offset: str, size: str, prot: str, fd: str = "fd") -> str:
    return f"@c = words {offset} {size} {prot}; ioctl {fd} {PROTECT:#x} c;"


def advise(offset: str, size: str, advice: int, fd: str = "fd") -> str:
    return f"@c = words {offset} {size} {advice}; ioctl {fd} {ADVISE:#x} c;"


def results(booted: Booted, script: str) -> str:
    return " ".join(line.split(" = ", 1)[1] for line in booted.calls(f"@u = say {booted.unit};{script}"))


class Tables(Recorder):
    """Keeps every table's entries, and the flushes so far, at each mark."""

    def __init__(self, booted: Booted) -> None:
        super().__init__(booted)
        self.flushes: list[str] = []
        self.at_mark: dict[int, tuple[dict[int, Any], int]] = {}
        flush_range = booted.kernel.flusher.flush_range

        def counted(
            mm: Flushed, start: int, end: int, reason: str = "", mapped: tuple[int, int] | None = None
        ) -> tuple[int, ...]:
            self.flushes.append(mm.name)
            return flush_range(mm, start, end, reason, mapped)

        booted.kernel.flusher.flush_range = counted  # type: ignore[method-assign]

    def note_mark(self, task: Task, number: int) -> None:
        super().note_mark(task, number)
        frames = self.booted.kernel.frames
        tables = np.flatnonzero(frames.kinds == FrameKind.PAGETABLE).tolist()
        words = self.booted.ram.words
        entries = {frame: words[frame << 9 : (frame + 1) << 9] & ~np.uint64(A | D) for frame in tables}
        self.at_mark[number] = entries, len(self.flushes)

    def changed(self, first: int, last: int) -> tuple[list[tuple[int, int]], list[str]]:
        """(frame, number of changed entries) of each table that changed between two marks; whose flushes were there."""
        (before, start), (after, end) = self.at_mark[first], self.at_mark[last]
        assert before.keys() == after.keys()
        different = [(frame, int((before[frame] != after[frame]).sum())) for frame in before]
        return [(frame, number) for frame, number in different if number], self.flushes[start:end]


@pytest.mark.parametrize("level", UNIT)
def test_one_entry_and_one_flush_change_every_sharer(machine: MakeMachine, level: str) -> None:
    """What databases asked for: an mprotect that reaches thousands of processes at once."""
    booted = machine(level=level)
    seen = Tables(booted)
    child = (
        "@fork c{n}; @v = mmap {at}T u RW MAP_SHARED|MAP_FIXED fd 0; @store v+8K {n}; @await v+32K 1;"
        "store v+8K 9; load v+8K; store v+12K 1; end;"
    )
    lines = booted.calls(
        f"@u = say {booted.unit};{WINDOW}"
        + "".join(child.format(n=n, at=2 * n + 2) for n in range(1, SHARERS))
        + "repeat 20; @sched_yield; end; @touch w 16K; @mark 1;"
        + protect("8K", "4K", "PROT_READ")
        + "mark 2; @store w+32K 1; store w+8K 9; load w+8K;"
        + "".join(f"@wait c{n};" for n in range(1, SHARERS))
    )
    assert lines.count("store = SEGV_ACCERR") == SHARERS
    assert lines.count("store = 0") == SHARERS - 1
    changed, flushes = seen.changed(1, 2)
    assert len(changed) == 1 and changed[0][1] == 1, "one entry of one shared table, whatever the number of sharers"
    assert flushes == ["host mm of r"]


def test_several_objects_are_one_flush(machine: MakeMachine) -> None:
    booted = machine()
    seen = Tables(booted)
    script = WINDOW + "@create fd 8K 8K RW OBJECT; @touch w 64K; @mark 1;" + protect("4K", "32K", "PROT_READ")
    script += "@mark 2; store w 1; store w+4K 1; store w+8K 1; store w+32K 1; store w+36K 1"
    assert results(booted, script) == "0 0 SEGV_ACCERR SEGV_ACCERR SEGV_ACCERR 0"
    changed, flushes = seen.changed(1, 2)
    assert ([number for _, number in changed], flushes) == ([8], ["host mm of r"])


def test_what_is_not_there_needs_no_flush(machine: MakeMachine) -> None:
    booted = machine()
    seen = Tables(booted)
    assert results(booted, f"{WINDOW} @load w; @mark 1; {protect('16K', '8K', 'PROT_NONE')} @mark 2; load w+16K") == (
        "0 SEGV_ACCERR"
    )
    assert seen.changed(1, 2) == ([], [])


RIGHTS = {
    "PROT_NONE": "SEGV_ACCERR SEGV_ACCERR SEGV_ACCERR",
    "PROT_READ": "195 SEGV_ACCERR SEGV_ACCERR",
    "PROT_WRITE": "195 0 SEGV_ACCERR",
    "RW": "195 0 SEGV_ACCERR",
    "PROT_READ|PROT_EXEC": "195 SEGV_ACCERR 0",
    "RWX": "195 0 0",
}


def test_rights(machine: MakeMachine) -> None:
    for prot, expected in RIGHTS.items():
        script = f"{WINDOW} @store w+4K 195; {protect('4K', '4K', prot)} load w+4K; store w+4K 195; jump w+4K; load w;"
        again = protect("4K", "4K", "RW") + 'store w+4K 5; load w+4K; @unlink "/sys/fs/mshare/r"'
        assert results(machine(), script + again) == f"0 {expected} 0 0 0 5", prot


ERRORS = {
    "bad ranges": (
        protect("1", "4K", "0") + protect("u", "4K", "0") + protect("0", "0", "0") + protect("u-4K", "8K", "0")
        + protect("0", "u+4K", "0") + protect("0-4K", "8K", "0") + protect("4K", "0-4K", "0"),
        "EINVAL " * 7,
    ),
    "rights that there are not": (protect("0", "4K", "8") + protect("0", "4K", "0x1000000"), "EINVAL EINVAL"),
    "a hole: nothing changes": (
        protect("32K", "64K", "0") + "store w+32K 1; " + protect("1M", "4K", "0"),
        "ENOMEM 0 ENOMEM",
    ),
    "a file that may not be written": (
        '@m = open "/tmp/f" O_RDWR|O_CREAT 0600; @ftruncate m 8K; @r = open "/tmp/f" O_RDONLY;'
        "@create fd 64K 8K PROT_READ MAP_SHARED|MAP_FIXED r; @create fd 72K 8K PROT_READ MAP_SHARED|MAP_FIXED m;"
        + protect("64K", "8K", "RW") + protect("60K", "20K", "RW") + protect("72K", "8K", "RW")
        + "store w+72K 1; store w+64K 1",
        "EACCES EACCES 0 0 SEGV_ACCERR",
    ),
    "a size that ends within a page": (protect("0", "5000", "0") + "load w+4K; load w+8K", "0 SEGV_ACCERR 0"),
    "pointers": (f"ioctl fd {PROTECT:#x} 0; ioctl fd {ADVISE:#x} -8", "EFAULT EFAULT"),
    "advice that there is not": (advise("0", "4K", 8) + advise("0", "4K", 10) + advise("0", "4K", 99), "EINVAL " * 3),
    "advice on a hole, and on no range": (
        advise("32K", "64K", 4) + advise("1", "4K", 4) + advise("0", "0", 4),
        "ENOMEM EINVAL EINVAL",
    ),
}  # fmt: skip


def test_errors(machine: MakeMachine) -> None:
    booted = machine()
    found = {name: results(booted, f'{WINDOW}{s};@unlink "/sys/fs/mshare/r"') for name, (s, _) in ERRORS.items()}
    assert found == {name: expected.strip() for name, (_, expected) in ERRORS.items()}


def test_unsized_and_read_only(machine: MakeMachine) -> None:
    fresh = REGION.split("@ftruncate")[0]
    assert results(machine(), fresh + protect("0", "4K", "0")) == "EINVAL"
    script = REGION + '@r = open "/sys/fs/mshare/r" O_RDONLY;'
    script += protect("0", "4K", "0", "r") + advise("0", "4K", 4, "r")
    assert results(machine(), script) == "0 0"
    strict = machine(mounts=[Mount("msharefs", MOUNT_POINT, "strict-fd")])
    assert results(strict, script) == "EACCES EACCES"


@pytest.mark.parametrize("level", UNIT)
def test_advice(machine: MakeMachine, level: str) -> None:
    """DONTNEED: everybody faults again and finds the same; REMOVE: zeros; POPULATE: nobody faults."""
    booted = machine(level=level)
    seen = Tables(booted)
    two = WINDOW + "@v = mmap 8T u RW MAP_SHARED|MAP_FIXED fd 0; @store w 1; @store w+4K 2; @load v; @mark 1;"
    assert results(booted, two + advise("0", "64K", 4) + "mark 2; load v; load w+4K; mark 3") == "0 0 1 2 0"
    assert seen.changed(1, 2)[1] == ["host mm of r"]
    assert seen.marks[3].since(seen.marks[2]) == (1, 1, 0), "the fault maps the neighbours too"
    assert results(booted, '@unlink "/sys/fs/mshare/r";' + two + advise("0", "4K", 9) + "load v; load w+4K") == "0 0 2"
    for advice in (22, 23):
        script = '@unlink "/sys/fs/mshare/r";' + WINDOW + advise("0", "64K", advice) + "mark 4; scan w 64K; mark 5"
        assert results(booted, script) == "0 0 0 0"
        assert seen.marks[5].since(seen.marks[4]) == (1, 0, 1), "one link, no page"
    for advice in (0, 1, 2, 3, 14, 15, 20, 21):
        assert results(booted, '@unlink "/sys/fs/mshare/r";' + two + advise("0", "64K", advice) + "load v") == "0 1"


def test_advice_that_cannot_be_followed(machine: MakeMachine) -> None:
    booted = machine(memory=8 << 20)
    script = (
        '@m = memfd_create "m" 0; @ftruncate m 4K; @create fd 64K 8K RW MAP_SHARED|MAP_FIXED m;'
        + advise("64K", "8K", 22)
        + '@r = open "/bin/calls" O_RDONLY; @create fd 128K 4K PROT_READ MAP_SHARED|MAP_FIXED r;'
        + advise("128K", "4K", 9)
    )
    assert results(booted, WINDOW + script) == "EFAULT EACCES"


def test_who_populates_more_than_there_is_is_killed(machine: MakeMachine) -> None:
    """As with memory of its own: it has the most of all that could be killed."""
    booted = machine(memory=8 << 20)
    script = "@create fd 1M 512M RW MAP_SHARED|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE;" + advise("1M", "512M", 23)
    assert booted.outcome("calls", f"@u = say {booted.unit};" + WINDOW + script).signal == "SIGKILL"


@pytest.mark.parametrize("level", ["pmd", "pud"])
def test_huge_pages(machine: MakeMachine, level: str) -> None:
    """One entry of 2 MiB; a part of a huge page is EINVAL, and nothing has changed then."""
    booted = machine(level=level, hugepages=4)
    seen = Tables(booted)
    huge = WINDOW + "@create fd 2M 4M RW OBJECT|MAP_HUGETLB; @store w+2M 7; @store w+4M 8;"
    parts = protect("2M", "4K", "PROT_READ") + protect("60K", "3M", "0") + advise("3M", "1M", 4) + advise("2M", "4K", 9)
    assert results(booted, f"{huge} {parts} store w+2M 7; store w 1") == "EINVAL ENOMEM EINVAL EINVAL 0 0"
    script = huge + "@mark 1;" + protect("2M", "2M", "PROT_READ") + "@mark 2; store w+2M 1; load w+3M-8; store w+4M 9;"
    more = advise("2M", "4M", 4) + "load w+2M; load w+4M;" + advise("4M", "2M", 9) + "load w+4M"
    again = '@unlink "/sys/fs/mshare/r";'
    assert results(booted, again + script + more) == "0 SEGV_ACCERR 0 0 0 7 9 0 0"
    changed, flushes = seen.changed(1, 2)
    assert ([number for _, number in changed], flushes) == ([1], ["host mm of r"])
    populate = again + WINDOW + "@create fd 2M 4M RW OBJECT|MAP_HUGETLB;" + advise("2M", "4M", 23)
    assert results(booted, populate + "@mark 3; scan w+2M 4M; @mark 4") == "0 0"
    assert seen.marks[4].since(seen.marks[3])[1] == 0
