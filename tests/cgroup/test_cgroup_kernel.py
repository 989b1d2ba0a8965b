"""Objects of the kernel, which the group pays for that has them made (mm/memcontrol.c, obj_cgroup_charge)."""

from __future__ import annotations

import pytest

from emu.audit import audit
from emu.mm.kmem import DENTRY, FILP, INODE, MM_STRUCT, PIPE, PIPE_PAGE, TASK_STRUCT, VM_AREA_STRUCT, XA_NODE
from tests.booted import Booted, MakeMachine
from tests.cgroup.groups import make, number, private, quietly, see, store

IN_A = quietly("a/cgroup.procs", "0")
KINDS = ("kernel", "kernel_stack", "pagetables", "sock", "slab_reclaimable", "slab_unreclaimable", "slab")


def between(machine: MakeMachine, script: str) -> tuple[Booted, dict[str, int]]:
    """What a script that runs in a group adds to each line between its marks 1 and 2."""
    booted = machine()
    make(booted, "a", controllers="+memory")
    task = booted.guest("calls", f"{IN_A}; {script}; mark 2; @pause")
    booted.run_until_mark(task, 1)
    before = {kind: number(booted, "a/memory.stat", kind) for kind in KINDS}
    booted.run_until_mark(task, 2)
    assert audit(booted.kernel) == []
    return booted, {kind: number(booted, "a/memory.stat", kind) - before[kind] for kind in KINDS}


def test_a_process_is_charged_with_its_stack_and_its_structures(machine: MakeMachine) -> None:
    booted, more = between(machine, "@fd = say 1; mark 1; @fork c; @pause; end; @sched_yield")
    assert more["kernel_stack"] == 16384
    assert more["slab_unreclaimable"] >= TASK_STRUCT + MM_STRUCT
    assert more["pagetables"] > 0 and more["slab"] == more["slab_unreclaimable"]
    assert more["kernel"] == more["slab"] + more["pagetables"] + more["kernel_stack"]
    total = number(booted, "a/memory.current")
    assert total >= sum(number(booted, "a/memory.stat", line) for line in ("anon", "file", "kernel"))
    assert total % 4096 == 0


@pytest.mark.parametrize(
    ("script", "least", "line"),
    [
        ("mark 1; @mmap 2T 4K 1 PRIVATE|MAP_FIXED -1 0; @mmap 3T 4K RW PRIVATE|MAP_FIXED -1 0", 2 * VM_AREA_STRUCT,
         "slab_unreclaimable"),
        ('mark 1; @open "/" 0; @open "/" 0', 2 * FILP, "slab_unreclaimable"),
        ("@f = bytes 8; mark 1; @pipe2 f 0", PIPE, "kernel"),
        ('@f = bytes 8; @pipe2 f 0; mark 1; @write 5 "x" 1; @write 4 "x" 1', PIPE_PAGE, "kernel"),
        ('@m = memfd_create "m" 0; mark 1; @write m "x" 1', XA_NODE, "slab_reclaimable"),
    ],
    ids=["mappings", "files", "a pipe", "a page of a pipe", "a page cache"],
)  # fmt: skip
def test_what_is_charged(machine: MakeMachine, script: str, least: int, line: str) -> None:
    _, more = between(machine, script)
    assert least <= more[line] < least + 4096
    assert more["kernel"] == more["slab"] + more["pagetables"] + more["kernel_stack"] or line == "kernel"


def test_bytes_of_sockets_are_told_apart(machine: MakeMachine) -> None:
    _, more = between(
        machine,
        "@s = syscall 41 2 2 0; @a = words 72058140458221570 0; @syscall 49 s a 16; @b = bytes 1K; mark 1;"
        "@syscall 44 s b 1K 0 a 16",
    )
    assert 1024 <= more["sock"] < 4096 and more["kernel"] == 0


def test_a_process_that_leaves_keeps_what_was_charged(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "b", controllers="+memory")
    booted.guest("calls", f"{IN_A}; @fork c; mark 1; {quietly('b/cgroup.procs', '0')}; mark 2; @pause; end; @pause")
    child = booted.run_until_mark(None, 1)
    before = see(booted, "a/memory.stat")
    booted.resume(child)
    booted.run_until_mark(None, 2)
    assert number(booted, "a/memory.stat", "slab_unreclaimable") > TASK_STRUCT + MM_STRUCT
    assert number(booted, "b/memory.stat", "kernel") == 0
    assert see(booted, "a/memory.stat").splitlines()[3] == before.splitlines()[3] == "kernel_stack 16384"
    booted.kill_all()
    assert number(booted, "a/memory.current") == 0
    assert audit(booted.kernel) == []


def test_a_limit_holds_for_processes(machine: MakeMachine) -> None:
    """A bomb of forks ends in its group."""
    booted = machine()
    make(booted, "a", controllers="+memory")
    store(booted, "a/memory.max", "1M")
    script = f"{IN_A}\nrepeat 60\n@fork c\n@pause\nend\n@sched_yield\nend\nsay 1"
    task = booted.guest("calls", script)
    booted.run_until_idle()
    assert number(booted, "a/memory.events", "oom_kill") > 0
    assert number(booted, "a/memory.current") <= 1 << 20
    assert not task.alive or booted.stdout
    assert audit(booted.kernel) == []


def test_a_limit_holds_for_mappings_and_files(machine: MakeMachine) -> None:
    for more in ('@open "/" 0', "@n = say n+8K; @mmap n 4K 1 PRIVATE|MAP_FIXED -1 0"):
        booted = machine()
        make(booted, "a", controllers="+memory")
        store(booted, "a/memory.max", "400K")
        outcome = booted.outcome("calls", f"{IN_A}\n@n = say 0x20000000000\nrepeat 2000\n{more}\nend\nsay 1")
        assert (outcome.signal, "say = 1" in outcome.stdout) == ("SIGKILL", False)
        assert number(booted, "a/memory.current") == 0 and number(booted, "a/memory.events", "oom_kill") == 1


def test_what_memory_stat_says_after_small_programs(machine: MakeMachine) -> None:
    booted = machine(swap=8 << 20)
    make(booted, "a", controllers="+memory")
    script = (
        f"{IN_A}; {private('p', '64K')}; @s = mmap 2T 32K RW MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED -1 0; @touch s 32K;"
        "@q = mmap 3T 40K RW PRIVATE|MAP_FIXED -1 0; mark 1; @touch q 40K; @mlock p 16K; @madvise q 40K 8;"
        "@madvise p+32K 32K 21"
    )
    task = booted.guest("calls", f"{script}; mark 2; @pause")
    booted.run_until_mark(task, 1)
    before = number(booted, "a/memory.stat", "pgfault")
    anon = number(booted, "a/memory.stat", "anon")
    booted.run_until_mark(task, 2)

    def stat(name: str) -> int:
        return number(booted, "a/memory.stat", name)

    assert stat("anon") == anon + (40 << 10) - (32 << 10)
    assert stat("shmem") == stat("file_mapped") == stat("file") == 32 << 10
    assert stat("unevictable") == 16 << 10
    assert stat("inactive_file") == 40 << 10 and stat("pglazyfree") == 10
    assert stat("inactive_anon") + stat("active_anon") == stat("anon") + stat("shmem") - (56 << 10)
    assert stat("pswpout") == 8 and number(booted, "a/memory.swap.current") == 32 << 10
    assert stat("pgfault") == before + 10
    booted.kernel.cgroups.memory.reclaim(booted.kernel.cgroups.memory.group_of(task), 1)
    assert stat("pglazyfreed") >= 1 and stat("pgsteal") >= 1


@pytest.mark.parametrize(
    ("script", "least"),
    [
        ('mark 1; @f = open "/tmp/a" O_RDWR|O_CREAT 0600', INODE + DENTRY),
        ('mark 1; @mkdir "/tmp/a" 0700', INODE + DENTRY),
        ('mark 1; @symlink "x" "/tmp/a"', DENTRY),
        ('@f = open "/tmp/a" O_RDWR|O_CREAT 0600; mark 1; @link "/tmp/a" "/tmp/b"', DENTRY),
    ],
    ids=["a file", "a directory", "a link to a name", "another name"],
)
def test_names_and_inodes_are_charged(machine: MakeMachine, script: str, least: int) -> None:
    booted, more = between(machine, script)
    assert least <= more["slab_reclaimable"] < least + 4096
    booted.kill_all()
    assert number(booted, "a/memory.stat", "slab_reclaimable") >= least  # it stays
    booted.calls('@rmdir "/tmp/a"; @unlink "/tmp/a"; @unlink "/tmp/b"')
    assert number(booted, "a/memory.current") == 0
    assert audit(booted.kernel) == []


def test_a_file_system_that_is_unmounted_gives_everything_back(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers="+memory")
    booted.calls(
        f'{IN_A}; @mkdir "/m" 0700; @syscall 165 "t" "/m" "tmpfs" 0 0; @mkdir "/m/d" 0700;'
        '@f = open "/m/d/f" O_RDWR|O_CREAT 0600; @close f; @syscall 166 "/m" 0'
    )
    booted.calls('@rmdir "/m"')
    assert number(booted, "a/memory.current") == 0
    assert audit(booted.kernel) == []


def test_who_is_not_in_a_group_does_it_no_harm(machine: MakeMachine) -> None:
    """What another writes into a pipe of the group is charged to it, whatever its limit is."""
    booted = machine()
    make(booted, "a", controllers="+memory")
    script = f"""
        @fork c; {IN_A}; @f = bytes 8; @pipe2 f 0; @fork d; @mark 1; @pause; end; @pause; end; @sched_yield; @pause
    """
    booted.guest("calls", script)
    member = booted.run_until_mark(None, 1)
    limit = number(booted, "a/memory.current")
    store(booted, "a/memory.max", str(limit))
    writer = booted.guest(
        "calls", f'@p = open "/proc/{member.pid}/fd/4" O_WRONLY; @b = bytes 4K; write p b 4K; write p b 4K'
    )
    booted.resume(member)
    booted.run_until_idle()
    assert booted.ending(writer) == 0 and booted.stdout.splitlines()[-2:] == ["write = 4096"] * 2
    assert limit < number(booted, "a/memory.current") <= limit + 3 * 4096
    assert number(booted, "a/memory.events", "oom") == 0 and member.alive
