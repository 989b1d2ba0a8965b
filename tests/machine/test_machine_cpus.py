"""Several vCPUs: where tasks run, that results do not depend on it, and that the same input gives the same trace."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from emu.kernel.sched import TIME_SLICE, TURN
from emu.machine import Machine
from emu.proc.system import cpu_list
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.recorder import Recorder
from tests.booted import Booted, MakeMachine
from tests.exhaustive import by_default
from tests.machine.test_machine_native import SCRIPTS, without_pids

COMMANDS = (
    "cow", "exec_self", "faults", "fork_shared", "hello", "hello_musl one two", "hello_musl_pie", "pipes", "procinfo",
    "timeslice", "spin 300000", "touch_pages 1M", "getpid_loop 500", "sharers plain 3 256K wrong", "mshare_donor",
    "mshare_call_donor", "region_stress 3 2 64K", "region_churn 2 3 2",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_does_the_same_on_any_number_of_cpus(machine: MakeMachine, command: str) -> None:
    name, *arguments = command.split()
    alone = machine().outcome(name, *arguments)
    others = ((2, None), (4, None), (4, 333))
    for cpus, turn in by_default((others[COMMANDS.index(command) % 2], others[2]), others):
        assert machine(cpus=cpus, turn=turn).outcome(name, *arguments) == alone, (cpus, turn)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_the_same_on_four_cpus(machine: MakeMachine, name: str) -> None:
    """The scripts whose results are compared with the host's."""
    script = SCRIPTS[name].replace("UNIQUE", "x")
    alone, several = (machine(cpus=cpus, turn=turn).outcome("calls", script) for cpus, turn in ((1, None), (4, 200)))
    assert without_pids(several.stdout) == without_pids(alone.stdout)
    assert several[1:] == alone[1:]


@pytest.mark.parametrize("command", ["mshare_donor", "region_stress 3 1 16K", "cow"])
def test_and_with_a_modelled_tlb_none_of_them_stale(machine: MakeMachine, command: str) -> None:
    name, *arguments = command.split()
    alone = machine().outcome(name, *arguments)
    several = machine(cpus=3, turn=1000, tlb="skylake-sp", check_tlb=True)
    assert several.outcome(name, *arguments) == alone
    assert several.stale_translations() == []


def trace(booted: Booted, *command: object) -> bytes:
    lines: list[bytes] = []
    booted.kernel.tracer = recorder = Recorder(booted, JsonLines(lines.append), command=["x"], seed=0, version="0")
    booted.outcome(str(command[0]), *command[1:])
    recorder.finish()
    return b"".join(lines)


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_two_runs_on_four_cpus_leave_the_same_trace(machine: MakeMachine, tlb: str) -> None:
    first, second = (trace(machine(cpus=4, turn=500, tlb=tlb), "region_churn", 3, 2, 2) for _ in range(2))
    assert first == second
    assert b'"cpus":4' in first.splitlines()[0]
    for line in first.splitlines()[1:]:
        assert b'"cpu":' in line
    for cpu, kind in ((0, b"shootdown"), (1, b"link"), (3, b"link"), (1, b"cr3_load"), (3, b"cr3_load")):
        assert re.search(rb'"cpu":%d,"rip":"\w+","event":"%s"' % (cpu, kind), first)


def test_one_cpu_leaves_no_word_of_cpus(machine: MakeMachine) -> None:
    assert b'"cpu' not in trace(machine(), "mshare_donor")


# -- where tasks run -----------------------------------------------------------------------------------------------


def where(booted: Booted) -> list[int]:
    """The vCPU of each living process, by pid."""
    return [task.cpu for task in booted.tasks]


def test_a_new_task_goes_to_the_least_loaded(machine: MakeMachine) -> None:
    booted = machine(cpus=3)
    for _ in range(7):
        booted.guest("spin")
    assert where(booted) == [0, 1, 2, 0, 1, 2, 0]
    booted.send_signal(booted.tasks[1], 9)
    booted.send_signal(booted.tasks[4], 9)
    booted.run(timeout_s=0.02)
    booted.guest("spin")
    assert where(booted)[-1] == 1


def test_an_idle_cpu_takes_a_waiting_task_that_may_run_there(machine: MakeMachine) -> None:
    booted = machine(cpus=2)
    first, short, pinned, waiting = (booted.guest("spin", n) for n in (10**7, 1000, 10**7, 10**7))
    pinned.affinity = 0b01
    assert [task.cpu for task in (first, short, pinned, waiting)] == [0, 1, 0, 1]
    booted.kernel.scheduler.set_affinity(waiting, 0b01)
    assert waiting.cpu == 0
    waiting.affinity = 0b11
    booted.run(until=lambda: not short.alive and booted.kernel.cpu.clock > 200_000)
    assert [task.cpu for task in (first, pinned, waiting)] == [0, 0, 1]


def test_a_woken_task_stays_where_it_ran(machine: MakeMachine) -> None:
    booted = machine(cpus=4)
    lines = booted.calls("""@f = bytes 16; @pipe2 f 0; @n = bytes 8; @b = bytes 8
        @fork c; @syscall 309 n 0; load n; @read 3 b 1; @syscall 309 n 0; load n; end
        @repeat 200; @sched_yield; end; @write 4 "x" 1; @wait c""")
    assert lines == ["load = 1", "load = 1"]


@pytest.mark.parametrize("turn", [None, 5000])
def test_turns_are_as_long_as_asked_for(machine: MakeMachine, turn: int | None) -> None:
    booted = machine(cpus=2, turn=turn)
    for _ in range(2):
        booted.guest("spin", 1_000_000)
    seen = list[int]()

    def look() -> bool:
        seen.append(booted.kernel.cpu.clock)
        return len(seen) > 40

    booted.run(until=look)
    turns = [after - before for before, after in pairwise(seen)]
    assert all((turn or TURN) <= n < (turn or TURN) + 50 for n in turns[4:]), turns
    assert [vcpu.switches for vcpu in booted.kernel.scheduler.vcpus] == [1, 1]


def test_a_time_slice_lasts_over_many_turns(machine: MakeMachine) -> None:
    """Three tasks on two CPUs: those that share one change once a time slice, not once a turn."""
    booted = machine(cpus=2)
    tasks = [booted.guest("spin") for _ in range(3)]
    booted.run(until=lambda: booted.kernel.cpu.clock > 7.5 * TIME_SLICE)
    assert [vcpu.switches for vcpu in booted.kernel.scheduler.vcpus] == [4, 1]
    assert tasks[0].usage.involuntary_switches == 2
    assert sum(task.usage.instructions for task in tasks) == booted.kernel.cpu.clock


# -- what a program sees of it -------------------------------------------------------------------------------------


def test_affinity(machine: MakeMachine) -> None:
    booted = machine(cpus=4)
    lines = booted.calls("""@m = bytes 16; @n = bytes 8
        syscall 204 0 16 m; load m; syscall 204 0 4 m; syscall 204 0 9 m
        @four = words 4; syscall 203 0 8 four; syscall 309 n 0; load n; syscall 204 0 8 m; load m
        @none = words 0xf0; syscall 203 0 8 none; syscall 203 0 8 0; syscall 203 9999 8 four; syscall 204 9999 8 m
        @all = words -1; syscall 203 0 1 all; syscall 204 0 8 m; load m; syscall 309 n 0; load n
        @fork c; @five = words 2; @p = getpid; syscall 203 p 8 five; syscall 309 n 0; load n; syscall 204 0 8 m; load m
        end; @wait c""")
    values = [line.split(" = ")[1] for line in lines]
    assert values == [
        "8", "15", "EINVAL", "EINVAL",
        "0", "0", "2", "8", "4",
        "EINVAL", "EFAULT", "ESRCH", "ESRCH",
        "0", "8", "15", "0", "2",
        "0", "0", "1", "8", "2",
    ]  # fmt: skip


def test_affinity_of_another_process(machine: MakeMachine) -> None:
    """A process that spins on CPU 1 is moved by its parent, which is allowed to; another user is not."""
    booted = machine(cpus=3)
    lines = booted.calls("""@talk = mmap 0 4K RW ANON -1 0; @n = bytes 8
        @fork c; @store talk 1; @await talk+8 1; @syscall 309 n 0; load n; end
        @await talk 1; @third = words 4; syscall 203 c 8 third; @store talk+8 1; @wait c
        @p = getpid; @fork d; @setuid 1000; syscall 203 p 8 third; end; @wait d""")
    assert lines == ["syscall = 0", "load = 2", "syscall = EPERM"]


def test_the_files_about_cpus(machine: MakeMachine) -> None:
    booted = machine(cpus=4)
    vfs = booted.kernel.vfs

    def text(path: str) -> str:
        return vfs.read_file(path).decode()

    task = booted.guest("spin")
    booted.guest("spin")
    booted.run(until=lambda: booted.kernel.cpu.clock > 40 * 10_000_000 // 10)
    for name in ("online", "possible", "present"):
        assert text(f"/sys/devices/system/cpu/{name}") == "0-3\n"
    assert text("/proc/cpuinfo").count("processor\t:") == 4
    lines = dict(line.split(" ", 1) for line in text("/proc/stat").splitlines())
    ticks = [lines[f"cpu{n}"].split() for n in range(4)]
    assert [int(t[0]) for t in ticks] == [v.instructions // 10_000_000 for v in booted.kernel.scheduler.vcpus]
    assert lines["cpu"].split()[0] == str(sum(int(t[0]) for t in ticks))
    assert (lines["ctxt"], lines["processes"], lines["procs_running"]) == ("2", "2", "2")
    task.affinity = 0b1011
    status = text(f"/proc/{task.pid}/status")
    assert "Cpus_allowed:\tb\n" in status and "Cpus_allowed_list:\t0-1,3\n" in status


def test_cpu_lists() -> None:
    assert [cpu_list(mask) for mask in (0, 1, 2, 3, 0b1101, 0xFF)] == ["", "0", "1", "0-1", "0,2-3", "0-7"]


@pytest.mark.parametrize(("cpus", "turn"), [(0, None), (65, None), (2, 0)])
def test_numbers_that_cannot_be(cpus: int, turn: int | None) -> None:
    with pytest.raises(ValueError, match="CPU"):
        Machine(cpus=cpus, turn=turn)


def test_the_figures_of_each_cpu_add_up(machine: MakeMachine) -> None:
    booted = machine(cpus=3, turn=1000, tlb="textbook")
    booted.outcome("region_churn", 2, 3, 2)
    mmu, vcpus = booted.kernel.cpu.mmu, booted.kernel.scheduler.vcpus
    each = [mmu.counters_of(cpu) for cpu in range(3)]
    for name in ("fills", "walks", "flushes", "cr3_loads"):
        assert getattr(mmu.counters, name) == sum(getattr(one, name) for one in each)
        assert all(getattr(one, name) for one in each)
    assert sum(vcpu.instructions for vcpu in vcpus) == booted.kernel.cpu.clock
    assert all(vcpu.instructions for vcpu in vcpus)
