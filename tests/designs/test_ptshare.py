"""ptshare (April 2023): spec/mshare.md, 1.3."""

from __future__ import annotations

import pytest

from emu.kernel.task import Task
from emu.mm.pageflags import FrameKind
from emu.testing import (
    GuestMachine,
    assert_does_not_share_table,
    assert_pagetable_bytes,
    assert_same_frame,
    assert_shares_table,
)

TIB, MIB = 1 << 40, 1 << 20
OPEN = '@m = open "/tmp/f" O_RDWR|O_CREAT 0600; @ftruncate m 8M'
#: mmap of the file's first 4 MiB at 2 TiB with MAP_SHARED | MAP_FIXED | MAP_SHARED_PT.
MAP = f"{OPEN}; p = mmap 2T 4M RW 0x200011 m 0"


def start(machine: GuestMachine, script: str, mark: int = 1) -> Task:
    """A process that has come to a mark."""
    return machine.run_until_mark(machine.guest("calls", f"{script}; @mark {mark}"), mark)


def shared_ranges(machine: GuestMachine) -> list[object]:
    found = machine.kernel.reporters["ptshare"]()
    assert isinstance(found, list)
    return found


def test_who_maps_the_same_range_shares_its_tables(machine: GuestMachine) -> None:
    a = start(machine, f"{MAP}; @touch p 4M")
    b = start(machine, f"{MAP}; @mark 0; @scan p 4M; @mark 1; @store p 77; @mark 2", 0)
    with machine.expect(task=b, minor_faults=0, link_faults=2):
        machine.run_until_mark(b, 1)
    for at in (0, 2 * MIB, 4 * MIB - 4096):
        assert_shares_table(a, b, 2 * TIB + at, level="pte")
        assert_does_not_share_table(a, b, 2 * TIB + at, level="pmd")
        assert_same_frame(a, b, 2 * TIB + at)
    machine.run_until_mark(b, 2)
    assert machine.host_mms[0].read(2 * TIB, 1) == b"M"


def test_table_bytes_do_not_grow_with_the_processes(machine: GuestMachine) -> None:
    plain: list[int] = []
    shared: list[int] = []
    for flags, found in (("0x11", plain), ("0x200011", shared)):
        for _ in range(3):
            before = machine.pagetable_bytes
            start(machine, f"{OPEN}; @p = mmap 2T 4M RW {flags} m 0; @touch p 4M")
            found.append(machine.pagetable_bytes - before)
        machine.finish()
    own = plain[0] - 4 * 4096  # of a process without the mapping: it adds a PUD, a PMD and two PTE tables
    assert plain == [plain[0]] * 3
    # the host mm: a PGD, a PUD, a PMD and two PTE tables, once; for each process its own PUD and PMD
    assert shared == [own + 2 * 4096 + 5 * 4096, own + 2 * 4096, own + 2 * 4096]


def test_the_host_mm_is_there_as_long_as_somebody_maps(machine: GuestMachine) -> None:
    a = start(machine, f"{MAP}; @touch p 8K")
    start(machine, f"{MAP}; @scan p 8K; @mark 1; @munmap p 4M; load p")
    (host,) = machine.host_mms
    assert_pagetable_bytes(host, 4 * 4096)
    assert shared_ranges(machine) == [
        {"name": "f", "level": "pte", "sharers": 2, "pagetable_bytes": 16384, "resident_bytes": 8192}
    ]
    machine.resume(a)
    machine.run_until_idle()
    assert not a.alive
    assert_pagetable_bytes(host, 4 * 4096)
    assert len(shared_ranges(machine)) == 1
    machine.finish()
    assert machine.host_mms == [] and shared_ranges(machine) == []
    assert "load = SEGV_MAPERR" in machine.stdout


#: mmap by a second process, and whether it shares with the first, which has RW at 2 TiB and 4 MiB of the file.
SECOND = {
    "the same": ("mmap 2T 4M RW 0x200011 m 0", True),
    "with more rights": ("mmap 2T 4M RWX 0x200011 m 0", True),
    "SHARED_VALIDATE": ("mmap 2T 4M RW 0x200013 m 0", True),
    "a hint that is free": ("mmap 2T 4M RW 0x200001 m 0", True),
    "without the flag": ("mmap 2T 4M RW 0x11 m 0", False),
    "with fewer rights": ("mmap 2T 4M PROT_READ 0x200011 m 0", False),
    "shorter": ("mmap 2T 2M RW 0x200011 m 0", False),
    "longer": ("mmap 2T 6M RW 0x200011 m 0", False),
    "elsewhere": ("mmap 3T 4M RW 0x200011 m 0", False),
    "another part of the file": ("mmap 2T 4M RW 0x200011 m 4M", False),
}


@pytest.mark.parametrize("name", SECOND)
def test_what_does_not_fit_is_an_ordinary_mapping(machine: GuestMachine, name: str) -> None:
    call, shares = SECOND[name]
    a = start(machine, f"{MAP}; @store p 1")
    b = start(machine, f"{OPEN}; p = {call}; load p; mod p 1T")
    at = (3 if name == "elsewhere" else 2) * TIB
    if shares:
        assert_shares_table(a, b, 2 * TIB, level="pte")
    else:
        assert_does_not_share_table(a, b, 2 * TIB, at, level="pte")
    if "another part" not in name:
        assert_same_frame(a, b, 2 * TIB, at)


#: Alone, these map too, but nothing that could be shared.
UNSHARED = {
    "the start is not aligned": "mmap 2T+4K 4M RW 0x200011 m 0",
    "the end is not aligned": "mmap 2T 4M-4K RW 0x200011 m 0",
    "no file": "mmap 2T 4M RW 0x200031 -1 0",
}


@pytest.mark.parametrize("name", UNSHARED)
def test_what_cannot_be_shared_is_an_ordinary_mapping(machine: GuestMachine, name: str) -> None:
    start(machine, f"{OPEN}; p = {UNSHARED[name]}; store p 1; load p")
    assert machine.host_mms == []
    assert machine.stdout.splitlines()[1:] == ["store = 0", "load = 1"]


#: Calls and their results, by one process that has the mapping p.
CALLS = {
    "private": ("mmap 6T 4M RW 0x200012 m 0", "EINVAL"),
    "private and anonymous": ("mmap 6T 4M RW 0x200032 -1 0", "EINVAL"),
    "SHARED_VALIDATE with an unknown flag": ("mmap 6T 4M RW 0x400013 m 0", "EOPNOTSUPP"),
    "munmap of a page": ("munmap p 4K; load p", "EINVAL 1"),
    "munmap of half": ("munmap p+2M 2M; load p", "EINVAL 1"),
    "munmap across its end": ("munmap p+2M 4M; load p", "EINVAL 1"),
    "munmap of all": ("munmap p 4M; load p", "0 SEGV_MAPERR"),
    "a mapping over a page": ("mmap p 4K RW PRIVATE|MAP_FIXED -1 0; load p", "EINVAL 1"),
    "a mapping over all": ("@mmap p 4M RW PRIVATE|MAP_FIXED -1 0; load p", "0"),
    "mremap": ("mremap p 4M 8M 1; mremap p 4M 2M 1; mremap p 4M 4M 3 8T; load p", "EFAULT EINVAL EINVAL 1"),
    "mprotect of a page": ("mprotect p 4K PROT_READ; load p; store p 2; store p+4K 3", "0 1 SEGV_ACCERR 0"),
    "mprotect and back": ("mprotect p 4M 0; load p; mprotect p 4M RW; store p 5; load p", "0 SEGV_ACCERR 0 0 5"),
    "truncated": ("ftruncate m 4K; load p; load p+4K", "0 1 BUS_ADRERR"),
    "a write to the file": ('pwrite m "A" 1 0; load p', "1 0x41"),
    "madvise DONTNEED": ("madvise p 4M 4; load p", "0 1"),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_on_a_shared_mapping(machine: GuestMachine, name: str) -> None:
    script, expected = CALLS[name]
    result = machine.run_guest("calls", f"{MAP.replace('; p =', '; @p =')}; @store p 1; {script}")
    assert [line.split(" = ")[1] for line in result.stdout.splitlines()] == [
        str(int(word, 0)) if word.startswith("0x") else word for word in expected.split()
    ]


def test_mprotect_by_one_is_seen_by_all(machine: GuestMachine) -> None:
    script = f"{MAP}; @store p 1; @fork c; @await p 2; store p 3; load p; @mark 3; end"
    a = start(machine, f"{script}; @load p; @mark 1; @store p 2; @mprotect p 4M PROT_READ; @mark 2; @wait c", 1)
    machine.run_until_mark(a, 2)
    child = machine.run_until_mark(None, 3)
    assert_shares_table(a, child, 2 * TIB, level="pte")
    assert machine.stdout.splitlines()[1:] == ["store = SEGV_ACCERR", "load = 2"]
    # who comes later gets the rights that the range has now
    result = machine.run_guest("calls", f"{MAP}; store p 4; mprotect p 4M RW; store p 4; load p")
    assert result.stdout.splitlines()[-4:] == ["store = SEGV_ACCERR", "mprotect = 0", "store = 0", "load = 4"]


@pytest.mark.unimmu(tlb="skylake-sp", cpus=2)
def test_a_change_reaches_the_other_cpu(machine: GuestMachine) -> None:
    """One reads in a loop, the other takes the right to write away and cuts the file; the audit looks at the TLBs."""
    reader = "@fork c; @on 7 0; @load p; @store p+8 1; @await p+16 1; end"
    a = start(machine, f"{MAP}; @store p 1; {reader}; @await p+8 1; @mark 1; @mprotect p 4M PROT_READ; @mark 2", 1)
    with machine.expect(shootdowns=1, ipis=1):
        machine.run_until_mark(a, 2)
    machine.run_guest("calls", f"{OPEN}; @ftruncate m 0", timeout_s=20)
    told = machine.events.where("shootdown", mm="host mm of f")
    assert [(event.reason, event.vaddr, event.length) for event in told] == [
        ("mprotect", 2 * TIB, 4 * MIB), ("unmap", 2 * TIB, 4 * MIB)
    ]  # fmt: skip
    (child,) = [process for process in machine.processes() if process["ppid"] == a.pid]
    assert child["exit_status"] == 128 + 7


def test_a_forked_child_shares_and_goes(machine: GuestMachine) -> None:
    child = "@fork c; load p; @store p 2; @mark 2; end"
    a = start(machine, f"{MAP}; @store p 1; {child}; @mark 1; @wait c; load p; @mark 3")
    b = machine.run_until_mark(None, 2)
    assert_shares_table(a, b, 2 * TIB, level="pte")
    assert b.usage.link_faults == 1
    machine.resume(b)
    machine.run_until_mark(a, 3)
    assert machine.stdout.splitlines()[1:] == ["load = 1", "load = 2"]
    assert machine.audit() == []


def test_execve_leaves_the_others_alone(machine: GuestMachine) -> None:
    a = start(machine, f"{MAP}; @store p 1")
    b = start(machine, f'{MAP}; @load p; @mark 1; @v = words "/bin/calls" "say 5; @mark 2" 0; execve "/bin/calls" v 0')
    assert_shares_table(a, b, 2 * TIB, level="pte")
    machine.run_until_mark(b, 2)
    assert machine.stdout.splitlines()[-1] == "say = 5"
    assert_does_not_share_table(a, b, 2 * TIB, level="pte")
    assert_pagetable_bytes(machine.host_mms[0], 4 * 4096)
    assert machine.audit() == []


def test_two_files_have_two_host_mms(machine: GuestMachine) -> None:
    script = MAP + '; @n = open "/tmp/g" O_RDWR|O_CREAT 0600; @ftruncate n 4M; q = mmap 4T 4M RW 0x200011 n 0;'
    a = start(machine, f"{script} @store p 1; @store q 2")
    b = start(machine, f"{script} @load p; @load q")
    assert len(machine.host_mms) == 2
    for at in (2 * TIB, 4 * TIB):
        assert_shares_table(a, b, at, level="pte")


def test_memory_runs_out_at_every_point(machine: GuestMachine) -> None:
    frames = machine.kernel.frames
    for left in range(14):
        a = machine.guest("calls", f"@v = say 1; @fork c; @mark 1; {MAP}; touch p 8K; munmap p 4M; end; @wait c")
        child = machine.run_until_mark(None, 1)
        taken = [frames.alloc(FrameKind.RESERVED) for _ in range(frames.free - left)]
        machine.resume(child)
        machine.run_until_idle()
        for frame in taken:
            frames.put(frame)
        machine.finish()
        assert a.exit_code == 0 and machine.audit() == [] and machine.host_mms == []


def test_memory_without_a_name_is_shared_where_the_sysctl_says_so(machine: GuestMachine) -> None:
    machine.kernel.vfs.write_file("/proc/sys/vm/ptshare_anonymous", b"1")
    memory = "p = mmap 0 4100K RW MAP_SHARED|MAP_ANONYMOUS -1 0; @touch p 4100K; @store p 77"
    script = (
        f"{memory}; fork child; mark 2; @scan p 4100K; mark 3; load p; munmap p 4100K; mark 4; end; mark 1; wait child"
    )
    parent = machine.guest("calls", script)
    machine.run_until_mark(parent, 1)
    child = machine.run_until_mark(None, 2)
    with machine.expect(task=child, minor_faults=0, link_faults=3):
        machine.run_until_mark(child, 3)
    assert len(shared_ranges(machine)) == 1
    start = next(vma.start for vma in parent.mm.vmas if vma.length == 6 * MIB)
    assert start % (2 * MIB) == 0
    for at in (0, 2 * MIB, 4 * MIB):
        assert_shares_table(parent, child, start + at, level="pte")
    machine.run_until_mark(child, 4)
    assert not any(vma.length == 6 * MIB for vma in child.mm.vmas)
    machine.finish()
    assert "load = 77" in machine.stdout and shared_ranges(machine) == []


def test_without_the_sysctl_memory_without_a_name_is_not_shared(machine: GuestMachine) -> None:
    start(machine, "p = mmap 0 4M RW MAP_SHARED|MAP_ANONYMOUS -1 0; @touch p 4M")
    assert shared_ranges(machine) == []


def test_a_futex_in_shared_tables_wakes_another_process(machine: GuestMachine) -> None:
    wait = "@t = words 0 1000000; @fork c; futex p+8K 0 0 0; end; @syscall 35 t 0; futex p+8K 1 1; wait c"
    for memory in (MAP, "p = mmap 0 4M RW MAP_SHARED|MAP_ANONYMOUS -1 0"):
        machine.kernel.vfs.write_file("/proc/sys/vm/ptshare_anonymous", b"1")
        result = machine.run_guest("calls", f"{memory}; {wait}")
        assert "futex = 1\n" in result.stdout, "the waiter is woken"
