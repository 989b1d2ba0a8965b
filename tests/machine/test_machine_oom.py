"""Who is killed where no memory is left, and what the kernel says of it (mm/oom_kill.c)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from emu.kernel.sched import StopReason
from tests.booted import MIB, Booted, MakeMachine

#: A child takes 8 MiB and waits; then the parent takes more, until there is none.
BIG = (
    "@f = mmap 5T 4K RW MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED -1 0;"
    "@fork big; {child} @p = mmap 2T 8M RW PRIVATE|MAP_FIXED -1 0; @touch p 8M; {more} @store f 1; @pause; end;"
    "@await f 1;"
)
SMALL = "@q = mmap 3T 7M RW PRIVATE|MAP_FIXED -1 0; @touch q 7M; load q; wait big"
KILLED = "wait = killed SIGKILL"


def big(child: str = "", more: str = "") -> str:
    return BIG.format(child=child, more=more)


def adjusted(value: int) -> str:
    return f'@a = open "/proc/self/oom_score_adj" 1; @write a "{value}" {len(str(value))}; @close a;'


def run(booted: Booted, script: str) -> tuple[Sequence[str], int | None, str]:
    outcome = booted.outcome("calls", script)
    return outcome.stdout.splitlines(), outcome.exit_status, outcome.signal


def the_parent_is_killed(booted: Booted, script: str) -> None:
    """And the child waits on."""
    parent = booted.guest("calls", script)
    assert booted.run(timeout_s=30) == StopReason.IDLE
    assert (parent.alive, parent.exit_code) == (False, 9)
    assert [task.pid for task in booted.tasks if task.alive] == [101]


def log_of(booted: Booted) -> str:
    return b"".join(booted.kernel.printk._lines).decode()


def test_the_largest_process_is_killed_for_another(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    assert run(booted, big() + SMALL) == (["load = 1", KILLED], 0, "")
    text = re.sub(r"<(\d)>\[ +\d+\.\d{6}\]", r"<\1>", log_of(booted))
    assert "Call Trace" not in text and text.startswith(
        "<4> calls invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, "
        "oom_score_adj=0\n<4> CPU: 0 UID: 0 PID: 100 Comm: calls Not tainted 6.18.0-unimmu #1 PREEMPT(full) \n"
    )
    assert re.search(r"<4> Mem-Info:\n<4> active_anon:\d+ inactive_anon:\d+ isolated_anon:0\n", text)
    assert "\n<4> 3072 pages RAM\n" in text
    assert re.search(
        r"<6> Tasks state \(memory values in pages\):\n"
        r"<6> \[  pid  \]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents "
        r"oom_score_adj name\n"
        r"<6> \[    100\]     0   100 +\d+ +\d+ +\d+ +0 +\d+ +\d+ +0             0 calls\n"
        r"<6> \[    101\]     0   101 +\d+ +\d+ +\d+ +0 +\d+ +\d+ +0             0 calls\n",
        text,
    )
    assert re.search(
        r"<6> oom-kill:constraint=CONSTRAINT_NONE,nodemask=\(null\),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,"
        r"task=calls,pid=101,uid=0\n"
        r"<3> Out of memory: Killed process 101 \(calls\) total-vm:\d+kB, anon-rss:8\d\d\dkB, file-rss:0kB, "
        r"shmem-rss:\d+kB, UID:0 pgtables:\d+kB oom_score_adj:0\n$",
        text,
    )
    assert booted.logged[0].startswith("out of memory: killed process 101 (calls)")


#: What show_mem() of Linux 6.18 prints, with each number as 9.
MEM_INFO = """
active_anon:9 inactive_anon:9 isolated_anon:9
 active_file:9 inactive_file:9 isolated_file:9
 unevictable:9 dirty:9 writeback:9
 slab_reclaimable:9 slab_unreclaimable:9
 mapped:9 shmem:9 pagetables:9
 sec_pagetables:9
 kernel_misc_reclaimable:9
 free:9 free_pcp:9 free_cma:9
Node 9 active_anon:9kB inactive_anon:9kB active_file:9kB inactive_file:9kB unevictable:9kB isolated(anon):9kB\
 isolated(file):9kB mapped:9kB dirty:9kB writeback:9kB shmem:9kB shmem_thp:9kB shmem_pmdmapped:9kB anon_thp:9kB\
 writeback_tmp:9kB kernel_stack:9kB pagetables:9kB sec_pagetables:9kB all_unreclaimable? yes Balloon:9kB
Node 9 DMA free:9kB boost:9kB min:9kB low:9kB high:9kB reserved_highatomic:9KB free_highatomic:9KB active_anon:9kB\
 inactive_anon:9kB active_file:9kB inactive_file:9kB unevictable:9kB writepending:9kB present:9kB managed:9kB\
 mlocked:9kB free_pcp:9kB local_pcp:9kB free_cma:9kB
lowmem_reserve[]: 9 9 9 9 9
Node 9 DMA: 9*9kB 9*9kB 9*9kB 9*9kB 9*9kB 9*9kB 9*9kB 9*9kB 9*9kB 9*9kB 9*9kB = 9kB
Node 9 hugepages_total=9 hugepages_free=9 hugepages_surp=9 hugepages_size=9kB
9 total pagecache pages
9 pages in swap cache
Free swap  = 9kB
Total swap = 9kB
9 pages RAM
9 pages HighMem/MovableOnly
9 pages reserved
"""


def test_the_report_tells_of_memory_as_linux_does(machine: MakeMachine) -> None:
    booted = machine(12 * MIB, swap=MIB)
    run(booted, big() + SMALL)
    lines = [line.partition("] ")[2] for line in log_of(booted).splitlines()]
    found = "\n".join(lines[lines.index("Mem-Info:") + 1 : lines.index("Tasks state (memory values in pages):")])
    assert re.sub(r"\d+", "9", found.replace("(M) ", "")) == MEM_INFO.strip()
    (anon,) = re.findall(r"^active_anon:(\d+) inactive_anon:(\d+)", found, re.MULTILINE)
    tasks = [line.split() for line in lines if re.match(r"\[ +\d+\]", line)]
    assert sum(map(int, anon)) >= sum(int(row[6]) for row in tasks) > 2000
    assert f"Total swap = {1024 - 4}kB" in lines and f"{12 << 8} pages RAM" in lines


def test_a_flood_of_reports_is_cut(machine: MakeMachine) -> None:
    """Of those within five seconds ten are printed; who is killed is told each time."""
    booted = machine(4 * MIB)
    booted.guest(
        "calls", "repeat 40\n@fork c\n@p = mmap 0 192K RW PRIVATE -1 0\n@touch p 192K\n@pause\nend\n@sched_yield\nend"
    )
    booted.run(timeout_s=60)
    log = log_of(booted)
    assert log.count("Killed process") == booted.kernel.oom.kills > 20
    assert log.count("invoked oom-killer") == log.count("oom-kill:constraint") == 10


def test_who_may_not_be_killed_is_not(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    the_parent_is_killed(booted, big(adjusted(-1000)) + SMALL)


def test_who_is_to_be_killed_first_is(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    script = f"@fork first; {adjusted(1000)} @pause; end; " + big() + SMALL + "; wait first"
    assert run(booted, script) == (["load = 1", KILLED, KILLED], 0, "")
    killed = re.findall(r"Killed process (\d+)", log_of(booted))
    assert killed == ["101", "102"]


def test_the_one_that_asks_is_killed_where_that_is_wanted(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    booted.kernel.oom.kill_allocating_task = 1
    the_parent_is_killed(booted, big() + SMALL)
    assert "Out of memory (oom_kill_allocating_task): Killed process 100" in log_of(booted)


@pytest.mark.parametrize(("setting", "kind"), [(1, "system-wide"), (2, "compulsory")])
def test_the_machine_ends_where_that_is_wanted(machine: MakeMachine, setting: int, kind: str) -> None:
    booted = machine(12 * MIB)
    booted.kernel.oom.panic_on_oom = setting
    assert run(booted, big() + SMALL) == ([], None, "SIGKILL")
    assert log_of(booted).endswith(f"Kernel panic - not syncing: Out of memory: {kind} panic_on_oom is enabled\n")
    assert all(not task.alive for task in booted.kernel.tasks.values())


def test_the_machine_ends_where_nobody_may_be_killed(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    assert run(booted, adjusted(-1000) + big() + SMALL) == ([], None, "SIGKILL")
    assert log_of(booted).endswith("Kernel panic - not syncing: System is deadlocked on memory\n")


#: What needs pages in a call, and what it says if all is well.
CALLS = {
    "writing to a file": (
        '@m = memfd_create "m" 0; @b = mmap 4T 256K RW PRIVATE|MAP_FIXED -1 0\n@touch b 256K\nrepeat 28\n'
        "write m b 256K\nend\n", ["write = 262144"] * 28,
    ),
    "fallocate": ('@m = memfd_create "m" 0; fallocate m 0 0 7M', ["fallocate = 0"]),
    "populating": ("@q = mmap 3T 7M RW PRIVATE|MAP_FIXED|MAP_POPULATE -1 0; @mincore q 7M v; load q", ["load = 0"]),
    "locking": ("@q = mmap 3T 7M RW PRIVATE|MAP_FIXED -1 0; mlock q 7M", ["mlock = 0"]),
    "advice": ("@q = mmap 3T 7M RW PRIVATE|MAP_FIXED -1 0; madvise q 7M 23", ["madvise = 0"]),
    "copying out": (
        '@z = open "/dev/zero" 0; @q = mmap 3T 7M RW PRIVATE|MAP_FIXED -1 0; read z q 7M', ["read = 0x700000"],
    ),
    "page tables of a fork": (
        "@q = mmap 3T 2G RW PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0\n@n = say 0\nrepeat 450\n@touch q+n 4K\n"
        "@n = say n+2M\nend\n@fork d; say 5; end; @wait d", ["say = 5"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_goes_on_after_another_process_was_killed(machine: MakeMachine, name: str) -> None:
    booted = machine(12 * MIB)
    script, expected = CALLS[name]
    assert run(booted, big() + f"@v = bytes 4K; {script}; wait big") == ([*expected, KILLED], 0, "")
    assert booted.kernel.oom.kills == 1


@pytest.mark.parametrize("name", [name for name in CALLS if "fork" not in name])
def test_who_asks_in_a_call_is_killed_if_it_is_the_largest(machine: MakeMachine, name: str) -> None:
    """It returns from no call any more."""
    booted = machine(7 * MIB)
    script, _ = CALLS[name]
    lines, status, _ = run(booted, f"@v = bytes 4K; @fork c; {script}; say 9; end; wait c; say 1")
    assert [line for line in lines if "write" not in line] == [KILLED, "say = 1"] and status == 0
    assert all(line == "write = 262144" for line in lines if "write" in line)
    assert booted.kernel.oom.kills == 1


def test_no_limit_and_no_wish_for_much_at_once_kills(machine: MakeMachine) -> None:
    """Overcommit, RLIMIT_AS, and what is more than eight pages at a time fail."""
    booted = machine(8 * MIB)
    script = "mmap 0 64M RW PRIVATE -1 0; @l = words 1M 1M; @setrlimit 9 l; mmap 0 8M RW PRIVATE -1 0"
    assert run(booted, script)[0] == ["mmap = ENOMEM"] * 2
    assert booted.kernel.oom.kills == 0


def test_what_lies_in_swap_counts(machine: MakeMachine) -> None:
    booted = machine(12 * MIB, swap=4 * MIB)
    script = big(more="@madvise p 3M 21;") + SMALL.replace("7M", "8M")
    lines, status, _ = run(
        booted, script.replace("load q;", "load q; @r = mmap 4T 4M RW PRIVATE|MAP_FIXED -1 0; @touch r 4M;")
    )
    assert (lines, status) == (["load = 1", KILLED], 0)
    assert booted.kernel.mm_context.swap.events["pswpout"] > 700
    assert re.search(r"\[    101\].* [1-9]\d\d+             0 calls", log_of(booted))


def test_syslog_reads_it(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    script = big() + SMALL.replace("wait big", "@munmap q 7M; @b = bytes 8192; syscall 103 3 b 8192; syscall 103 9 0 0")
    lines, status, _ = run(booted, script + "; @syscall 103 5 0 0; syscall 103 3 b 8192; @wait big")
    assert status == 0 and lines[0] == "load = 1"
    sizes = [int(line.split(" = ")[1], 0) for line in lines[1:]]
    assert sizes[0] == sizes[1] > 1000 and sizes[2] == 0


def test_somebody_is_killed_while_the_run_ends(machine: MakeMachine) -> None:
    """What the report counts looks whether the run is to end (a time limit, Ctrl-C); the one to be killed is."""
    booted = machine()
    task = booted.guest("calls", "@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0; @touch p 1M; @pause")
    assert booted.run(timeout_s=30) == StopReason.IDLE
    booted.kernel.stop.request()
    booted.kernel.out_of_memory(task)
    assert "killed process" in "".join(booted.logged).lower()
