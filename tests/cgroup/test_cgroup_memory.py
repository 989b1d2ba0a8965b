"""Who pays for memory (cgroup-v2.rst "Memory", "Memory Ownership"; mm/memcontrol.c)."""

from __future__ import annotations

import pytest

from emu.linux.errors import LinuxError
from emu.mm.pageflags import FrameKind
from tests.booted import MIB, MakeMachine
from tests.cgroup.groups import make, number, private, put, quietly, see, store

BOTH = "+memory +pids"
IN_A = quietly("a/cgroup.procs", "0")
IN_B = quietly("b/cgroup.procs", "0")
KIB = 1 << 10


def anon(size: str) -> str:
    """Touch private memory at ``p``."""
    return private("p", size)


def test_a_run_without_groups_keeps_nothing(machine: MakeMachine) -> None:
    booted = machine()
    booted.calls(private("p", "64K"))
    assert booted.kernel.frames.memcg is None
    assert "cgroups" not in booted.kernel.__dict__


def test_a_group_without_the_controller_has_no_charges(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a")
    booted.calls(f"{IN_A}; {anon('64K')}")
    assert booted.kernel.frames.memcg is None
    with pytest.raises(LinuxError, match="ENOENT"):
        see(booted, "a/memory.current")


def test_private_pages_and_tables_are_charged(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    task = booted.guest("calls", f"{IN_A}; mark 1; {anon('4M')}; mark 2; @munmap p 4M; mark 3")
    booted.run_until_mark(task, 1)
    before = number(booted, "a/memory.current")
    booted.run_until_mark(task, 2)
    assert (
        number(booted, "a/memory.current") - before == 4 * MIB + 2 * 4 * KIB + 4 * KIB
    )  # and of objects of the kernel
    assert number(booted, "a/memory.stat", "anon") >= 4 * MIB
    assert number(booted, "a/memory.stat", "pagetables") == 8 * KIB
    booted.run_until_mark(task, 3)
    assert number(booted, "a/memory.current") == before
    booted.finish()
    assert number(booted, "a/memory.current") == 0
    assert number(booted, "a/memory.peak") >= 4 * MIB


def test_pages_stay_where_they_are_charged(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "b", controllers=BOTH)
    script = f"{IN_A}; {anon('1M')}; {IN_B}; mark 1; {private('q', '512K')}; mark 2; @munmap p 1M; mark 3"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    assert (number(booted, "a/memory.current") >= MIB, number(booted, "b/memory.current")) == (True, 0)
    a = number(booted, "a/memory.current")
    booted.run_until_mark(task, 2)
    assert number(booted, "b/memory.stat", "anon") == 512 * KIB
    booted.run_until_mark(task, 3)
    assert a - number(booted, "a/memory.current") >= MIB


def test_the_first_who_touches_a_shared_page_pays(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "b", controllers=BOTH)
    script = (
        f"@p = mmap 0 1M RW ANON -1 0; {IN_A}; @touch p 512K; fork child; {IN_B}; @touch p 1M; end; wait child; mark 1"
    )
    booted.run_until_mark(booted.guest("calls", script), 1)
    assert number(booted, "a/memory.stat", "shmem") == 512 * KIB
    assert number(booted, "b/memory.stat", "shmem") == 512 * KIB
    booted.finish()
    assert number(booted, "b/memory.current") == 0


def test_files_are_charged_to_who_writes_them_and_outlive_him(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    booted.calls(f'{IN_A}; @fd = open "/tmp/f" O_RDWR|O_CREAT 0600; @b = bytes 64K; @write fd b 64K')
    assert number(booted, "a/memory.current") == 64 * KIB + 4096  # a node of the page cache
    assert number(booted, "a/memory.stat", "file") == 64 * KIB
    booted.calls('@unlink "/tmp/f"')
    assert number(booted, "a/memory.current") == 0


def test_copies_of_a_child_are_its_groups(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "b", controllers=BOTH)
    script = f"{IN_A}; {anon('1M')}; @fork child; {IN_B}; @touch p 256K; mark 1; @pause; end; @pause"
    task = booted.guest("calls", script)
    child = booted.run_until_mark(None, 1)
    assert child is not task
    assert number(booted, "b/memory.stat", "anon") == 256 * KIB


def test_what_a_removed_group_has_stays_with_those_above(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b", controllers=BOTH)
    booted.calls(
        f'{quietly("a/b/cgroup.procs", "0")}; @fd = open "/tmp/f" O_RDWR|O_CREAT 0600; @b = bytes 64K; @write fd b 64K'
    )
    assert booted.calls('rmdir "/sys/fs/cgroup/a/b"') == ["rmdir = 0"]
    assert number(booted, "a/memory.current") == 64 * KIB + 4096  # a node of the page cache
    assert number(booted, "a/cgroup.stat", "nr_dying_descendants") == 1
    assert number(booted, "a/cgroup.stat", "nr_dying_subsys_memory") == 1
    booted.calls('@unlink "/tmp/f"')
    assert number(booted, "a/memory.current") == 0
    assert number(booted, "a/cgroup.stat", "nr_dying_descendants") == 0


def test_another_process_writes_into_memory_that_its_owner_pays(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "b", controllers=BOTH)
    script = f"""
        @p = mmap 0 64K RW PRIVATE -1 0; {IN_A}
        @fork child; {IN_B}; @pause; end
        @sched_yield
        @b = bytes 64K; @one = words b 64K; @two = words p 64K
        process_vm_writev child one 1 two 1 0
        mark 1
    """
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    assert booted.stdout.splitlines()[-1] == "process_vm_writev = 65536"
    assert number(booted, "b/memory.stat", "anon") >= 64 * KIB


def test_huge_pages_are_charged_as_so_many(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    huge = "@p = mmap 0x200000000 2M RW PRIVATE|MAP_FIXED -1 0; @madvise p 2M 14; store p 1"
    script = f"{IN_A}; mark 1; {huge}; mark 2; @munmap p 2M; mark 3"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    before = number(booted, "a/memory.current")
    booted.run_until_mark(task, 2)
    assert number(booted, "a/memory.current") - before >= 2 * MIB
    booted.run_until_mark(task, 3)
    assert number(booted, "a/memory.current") == before


def test_stat_and_numa_stat_have_their_lines(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    lines = see(booted, "a/memory.stat").splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["anon", "file", "kernel", "kernel_stack", "pagetables"]
    assert [line.split()[0] for line in lines[-4:]] == [
        "thp_fault_alloc", "thp_collapse_alloc", "thp_swpout", "thp_swpout_fallback",
    ]  # fmt: skip
    assert see(booted, "a/memory.numa_stat").splitlines()[0] == "anon N0=0"
    assert number(booted, "memory.stat", "pagetables") == booted.kernel.frames.used[FrameKind.PAGETABLE] << 12


def test_faults_are_counted(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    booted.calls(f"{IN_A}; {anon('256K')}")
    assert 64 <= number(booted, "a/memory.stat", "pgfault") < 100


@pytest.mark.parametrize("name", ["min", "low", "high", "max"])
@pytest.mark.parametrize(
    ("text", "kept"),
    [("0", "0\n"), ("max", "max\n"), ("1M\n", "1048576\n"), ("4097", "4096\n"), ("0x2000", "8192\n"), ("8k", "8192\n")],
)
def test_limits_are_whole_pages(machine: MakeMachine, name: str, text: str, kept: str) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    store(booted, f"a/memory.{name}", text)
    assert see(booted, f"a/memory.{name}") == kept


@pytest.mark.parametrize("text", ["x", "-1", "1MB", "max 1", "1 2"])
def test_other_limits_are_refused(machine: MakeMachine, text: str) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    for name in ("min", "low", "high", "max"):
        with pytest.raises(LinuxError, match="EINVAL"):
            store(booted, f"a/memory.{name}", text)


def test_every_open_file_may_have_a_peak_of_its_own(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    booted.calls(f"{IN_A}; {anon('1M')}")
    script = f"""
        @fd = open "/sys/fs/cgroup/a/memory.peak" O_RDWR; @b = bytes 16
        write fd "reset" 5
        {put("a/cgroup.procs", "0").replace("fd", "fe")}; {anon("128K")}; @munmap p 128K
        mark 1
    """
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    (handle,) = [file for file in task.files.files if file.path.dentry.name == "memory.peak"]
    assert 128 * KIB <= int(handle.pread(16, 0)) < 512 * KIB
    assert number(booted, "a/memory.peak") >= MIB
