"""Threads: clone(2) with CLONE_THREAD, here and on a Linux host, on one vCPU and on several."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

import guests
from emu.kernel.kernel import Kernel
from emu.trace.leader import Pids
from emu.trace.strace import Options, Strace
from guests import build
from tests.booted import Booted, MakeMachine, Recorder, native
from tests.machine.native_host import host_is, needs_host

CPUS = (1, 2, 4)
COMMANDS = ("threads", "threads 9 300", "threads 1 10", "pthreads", "pthreads 9 50")


@needs_host
@pytest.mark.parametrize("cpus", CPUS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_with_threads_does_what_it_does_on_the_host(machine: MakeMachine, command: str, cpus: int) -> None:
    name, *arguments = command.split()
    assert machine(cpus=cpus, turn=5000).outcome(name, *arguments) == native(guests.path(name), arguments)


@needs_host
@pytest.mark.skipif(build.compiler() is None, reason="there is no gcc to build guest programs with")
def test_static_glibc(machine: MakeMachine, tmp_path: Path) -> None:
    """glibc makes threads with clone3, and gives each a robust list."""
    try:
        build.build(tmp_path, names=["pthreads_glibc"])
    except build.BuildError as error:
        pytest.skip(f"the host cannot link a static glibc program: {error}")
    booted, program = machine(cpus=2), tmp_path / "pthreads_glibc"
    kernel: Kernel = booted.kernel
    lines: list[str] = []
    kernel.tracer = Strace(kernel, lines.append, Options(pids=Pids.ALWAYS))
    assert booted.outcome(program, 5, 50) == native(program, [5, 50])
    assert sum("clone3(" in line and "resumed" not in line for line in lines) == 5


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_a_mutex_and_a_condition_with_modelled_tlbs(machine: MakeMachine, cpus: int) -> None:
    """The books are right whenever one looks."""
    booted = machine(cpus=cpus, turn=700, tlb="skylake-sp", check_tlb=True)
    task = booted.guest(guests.path("pthreads"), 6, 20)

    def later(most: int) -> bool:
        return booted.kernel.cpu.clock > most

    for instructions in range(30_000, 150_000, 30_000):
        booted.run(until=partial(later, instructions))
        assert booted.audit() == []
    booted.run()
    expected = "pthreads: 6 threads, counter 120, results 55, destroyed 21, once 1, mine 7\n"
    assert (booted.stdout, task.exit_code, booted.stale_translations()) == (expected, 0, [])


@pytest.mark.parametrize("cpus", [2, 4])
def test_no_translation_is_stale_where_threads_run_at_once(machine: MakeMachine, cpus: int) -> None:
    """Exact mode: the modelled TLB of each vCPU is the authority, and every hit is checked against the tables."""
    booted = machine(cpus=cpus, turn=300, tlb="textbook", check_tlb=True)
    assert booted.outcome("threads", 4, 200).exit_status == 0
    assert booted.stale_translations() == []
    assert booted.kernel.flusher.shootdowns.report()["sent"] > 20


# -- scripts -------------------------------------------------------------------------------------------------------

TABLE = {
    "memory, descriptors and handlers are shared": (
        """@x = bytes 16; thread_ = say 1; @thread t; @store x 5; @fd = open "/dev/null" O_RDONLY; @on SIGUSR1 1; end
        join t; load x; close fd; close fd; @p = getpid; kill p SIGUSR1; say 2""",
        "1 0 5 0 EBADF 0 2",
    ),
    "exit ends one thread, exit_group all": (
        """@x = bytes 8; @fork c; @thread t; @syscall 60 3; end; join t; @exit 4; end; wait c
        @fork c; @thread t; @exit 9; end; @await x 1; end; wait c""",
        "0 4 9",
    ),
    "a leader that ends first stays until the last thread has gone": (
        """@s = mmap 0 4K RW ANON -1 0; @fork c; @thread t; @await s 2; @syscall 60 7; end; @store s 1
        @syscall 60 3; end; @await s 1; @repeat 20; @sched_yield; end; syscall 61 c NULL 1; kill c 0; store s 2; wait c
        kill c 0""",
        "0 0 0 7 ESRCH",
    ),
    "a signal of one thread ends all": (
        """@x = bytes 8; @fork c; @on SIGSEGV 0; @thread t; @store 0 1; end; @await x 1; end; wait c
        @fork c; @thread t; @p = getpid; @kill p SIGTERM; end; @await x 1; end; wait c""",
        "killed SIGSEGV killed SIGTERM",
    ),
    "pending signals are of one thread, or of the process": (
        """@m = words 0x200; @z = words 0 0; @q = bytes 8; @a = bytes 8; @p = getpid; @syscall 14 0 m NULL 8
        @thread t; @await a 1; @syscall 127 q 8; load q; @store a 2; @await a 3; @syscall 127 q 8; load q
        syscall 128 m NULL z 8; syscall 128 m NULL z 8; syscall 128 m NULL z 8; @store a 4; end
        syscall 234 p t SIGUSR1; @syscall 127 q 8; load q; @store a 1; @await a 2; kill p SIGUSR1; @syscall 127 q 8
        load q; @store a 3; @await a 4; join t; @syscall 127 q 8; load q; syscall 234 p p+9999 SIGUSR1
        syscall 200 0 9""",
        "0 0 512 0 512 512 10 10 EAGAIN 0 0 ESRCH EINVAL",
    ),
    "a signal to the process goes to a thread that waits for it": (
        """@m = words 0x200; @a = bytes 8; @p = getpid; @syscall 14 0 m NULL 8
        @thread t; @store a 1; @r = syscall 128 m NULL NULL 8; say r; end; @await a 1; @repeat 20; @sched_yield; end
        kill p SIGUSR1; @join t; say 1""",
        None,
    ),
    "execve by a thread": (
        """@fork c; @p = getpid; @thread t; @a = words "x" "@p = getpid; @t = syscall 186; say p-t; exit 6" 0
        @execve "/proc/self/exe" a 0; end; @pause; end; wait c""",
        "0 6",
    ),
    "fork by a thread copies that thread": (
        """@thread u; @pause; end
        @thread t; @fork c; field "/proc/self/status" "Threads"; end; @wait c; end; @join t""",
        "1",
    ),
    "any thread waits for the children of all": (
        """@x = bytes 8; @thread t; @fork c; @exit 5; end; end; join t; wait c
        @fork c; @exit 6; end; @thread t; wait c; end; join t""",
        "0 5 6 0",
    ),
    "clone refuses": (
        """syscall 56 0x10011; syscall 56 0x10111; syscall 56 0x811; syscall 56 0x10811
        syscall 56 0x80011 0 0 0 -1; syscall 435 16 64""",
        "EINVAL EINVAL EINVAL EINVAL EPERM EFAULT",
    ),
    "clone3": (
        """@a = words 0 0 0 0 17 0 0 0 0 0 0 0; syscall 435 a 8; syscall 435 a 5000; @store a+88 1; syscall 435 a 96
        @store a 0x400000; syscall 435 a 64; @store a 17; syscall 435 a 64; @store a 0; @store a+32 65; syscall 435 a 64
        @store a+32 17; @store a+40 64K; syscall 435 a 64; @store a+40 0; @store a+48 64K; syscall 435 a 64
        @store a 0x10900; @store a+48 0; syscall 435 a 64""",
        "EINVAL E2BIG E2BIG EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL",
    ),
    "a thread that ends holding a robust futex": (
        """@e = words 0 0; @h = words e 8 0; @store e h
        @thread t; @me = syscall 186; @store e+8 me|0x80000000; syscall 273 h 24; end; join t; load e+8""",
        "0 0 0xc0000000",
    ),
    "the number of a thread": (
        """@w = words 7; @p = getpid
        @thread t; @q = getpid; say q-p; @me = syscall 186; @s = syscall 218 w; say s-me; end
        await w 0""",
        "0 0 0",
    ),
}  # fmt: skip


def values(lines: list[str]) -> str:
    return " ".join(line.split(" = ", 1)[1] for line in lines)


@pytest.mark.parametrize("cpus", CPUS)
@pytest.mark.parametrize("name", [name for name, (_, expected) in TABLE.items() if expected is not None])
def test_what_threads_do(machine: MakeMachine, name: str, cpus: int) -> None:
    script, expected = TABLE[name]
    outcome = machine(cpus=cpus).outcome("calls", script)
    assert (values(outcome.stdout.splitlines()), outcome.stderr, outcome.exit_status) == (expected, "", 0)


@needs_host
@pytest.mark.skipif(not host_is(6, 0), reason="an older host gives the leader's exit status, not the last thread's")
@pytest.mark.parametrize("name", TABLE)
def test_what_threads_do_on_the_host(machine: MakeMachine, name: str) -> None:
    script, _ = TABLE[name]
    here, there = machine(cpus=2).outcome("calls", script), native(guests.path("calls"), [script])
    assert sorted(here.stdout.splitlines()) == sorted(there.stdout.splitlines())
    assert here[1:] == there[1:]


# -- what only the machine shows -----------------------------------------------------------------------------------


def test_every_thread_counts(machine: MakeMachine) -> None:
    booted = machine()
    lines = booted.calls(
        "@x = bytes 8; @l = words 2 2; @syscall 160 6 l; @setuid 1000; @thread t; @await x 1; end;"
        "thread u; @say 0; end; @store x 1; join t"
    )
    assert lines == ["u = EAGAIN", "join = 0"]
    (process,) = booted.processes()
    assert (process["pid"], process["threads"], process["exit_status"]) == (100, 2, 0)


def test_a_process_uses_what_its_threads_use(machine: MakeMachine) -> None:
    booted = machine(cpus=2)
    booted.calls("@fork c; @thread t; @p = mmap 0 400K RW PRIVATE -1 0; @touch p 400K; end; @join t; end; @wait c")
    child = next(process for process in booted.processes() if process["pid"] == 101)
    assert child["threads"] == 2 and child["minor_faults"] >= 100
    assert sum(process["instructions"] for process in booted.processes()) == booted.kernel.cpu.clock


def test_proc(machine: MakeMachine) -> None:
    booted = machine()
    task = booted.guest("calls", "@thread t; @pause; end; @thread u; @syscall 60 0; end; @join u; @syscall 60 0")
    booted.run()
    assert [leader.pid for leader in booted.tasks] == [100] and booted.tasks[0] is task and not task.alive

    def fields(path: str) -> dict[str, str]:
        lines = booted.kernel.vfs.read_file(path).decode().splitlines()
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}

    names = [entry.name for entry in booted.kernel.vfs.open("/proc/100/task").inode.iterate()]
    assert [name for name in names if name.isdigit()] == ["100", "101"]
    leader, thread = fields("/proc/100/status"), fields("/proc/100/task/101/status")
    wanted = ("Tgid", "Pid", "Threads", "State")
    assert [leader[name] for name in wanted] == ["100", "100", "2", "Z (zombie)"]
    assert [thread[name] for name in wanted] == ["100", "101", "2", "S (sleeping)"]
    booted.send_signal(task, 15)
    booted.run()
    assert task.exit_code == 15 and not booted.kernel.tasks


def strace(booted: Booted, script: str) -> list[str]:
    lines: list[str] = []
    kernel: Kernel = booted.kernel
    kernel.tracer = Strace(kernel, lines.append, Options(pids=Pids.ALWAYS))
    booted.outcome("calls", script)
    return lines


def test_strace_names_threads(machine: MakeMachine) -> None:
    lines = strace(machine(), '@thread t; @a = words "x" 0; @execve "/bin/calls" a 0; end; @pause')
    assert any("clone(" in line and "CLONE_THREAD" in line and line.endswith("= 101") for line in lines)
    superseded = lines.index("100   +++ superseded by execve in pid 101 +++")
    assert any(line.startswith("101   execve(") for line in lines[:superseded])
    assert lines[superseded + 1].startswith("100   <... execve resumed>")
    assert lines[-1] == "100   +++ exited with 0 +++"


def test_a_trace_has_threads(machine: MakeMachine) -> None:
    """System calls and exits under the thread's number, what happens to memory under the process's."""
    booted = machine()
    recorder = Recorder(booted)
    booted.calls('@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0644; @ftruncate fd 1G; @create fd 0 64K RW OBJECT;'
                 "@thread t; @w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @store w 7; end; @join t")  # fmt: skip
    assert {event["pid"] for event in recorder.events if event["kind"] in ("link", "unlink")} == {100}


PAGES = "@p = mmap 0 256K RW PRIVATE -1 0; @touch p 256K; @x = bytes 8; @a = words 1; @b = words 2; @syscall 203 0 8 a"
OTHER = "@thread t; @syscall 203 0 8 b; @store x 1; @await x 2; end; @await x 1"


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ("@munmap p 4K", [(0, [1], 1, "unmap")]),
        ("@munmap p 136K", [(0, [1], None, "unmap")]),
        ("@mprotect p 8K PROT_READ", [(0, [1], 2, "mprotect")]),
        ("@madvise p 8K 4", [(0, [1], 2, "unmap")]),
        ("@mprotect p 4K PROT_READ; @mprotect p 4K RW; @store p 1", [(0, [1], 1, "mprotect")] * 2),
        ("@fork c; end; @wait c; @store p 1", [(0, [1], None, "fork")]),
    ],
)
@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_the_vcpus_of_other_threads_are_told(
    machine: MakeMachine, calls: str, told: list[tuple[Any, ...]], tlb: str
) -> None:
    """Each change by the thread on CPU 0 goes to CPU 1, where another runs, and not to CPU 2, where none does."""
    booted = machine(cpus=3, tlb=tlb, check_tlb=tlb != "off")
    recorder = Recorder(booted)
    booted.calls(f"{PAGES}; {OTHER}; @mark 1; {calls}; @mark 2; @store x 2; @join t")
    events = [e for e in recorder.events if e["kind"] == "shootdown" and e["reason"] != "exit"]
    found = [(e["sender"], e["receivers"], e["pages"], e["reason"]) for e in events]
    assert [e for e in found if e[3] != "copy on write"] == told, found
    assert booted.stale_translations() == []
