"""The machine for tests: guests, marks, events, and its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import guests.build
import msharefs.module
from emu.kernel.sched import StopReason
from emu.kernel.task import TaskState
from emu.linux.event_kind import EventError, Field, Kind, Type
from emu.machine import Mount
from emu.mm.pageflags import FrameKind
from emu.testing import GuestMachine, MmuEvents, assert_no_fault, counts
from emu.trace.schema import KINDS

TIB = 1 << 40
MODULES = {"msharefs": msharefs.module.init}


def test_a_prebuilt_guest(machine: GuestMachine) -> None:
    result = machine.run_guest("hello")
    assert (result.stdout, result.stderr, result.status, result.signal) == ("hello, world\n", "", 0, "")
    assert result.counts.minor_faults and result.counts.instructions > 10
    assert str(result) == "exit status 0\nstdout:\nhello, world\nstderr:\n"


def test_a_guest_that_a_signal_ends(machine: GuestMachine) -> None:
    result = machine.run_guest("calls", "@p = getpid; kill p 9")
    assert (result.status, result.signal) == (None, "SIGKILL")


def test_how_processes_have_ended(machine: GuestMachine) -> None:
    a, b, c = (machine.guest("calls", script) for script in ("exit 3", "p = getpid; kill p 15", "pause"))
    assert machine.ending(a) is None
    machine.run_until_idle()
    assert [machine.ending(task) for task in (a, b, c)] == [3, "SIGTERM", None]


def test_memory_may_be_said_in_words() -> None:
    assert GuestMachine("16M", modules={}).ram.size == 16 << 20
    with pytest.raises(ValueError, match=r"^memory: 'lots' is not a size"):
        GuestMachine("lots")


def test_a_program_that_is_not_there(machine: GuestMachine) -> None:
    with pytest.raises(ValueError, match="'helo' is no file, no C program and no prebuilt guest \\(these are: calls, "):
        machine.run_guest("helo")


def test_marks_stop_and_release(machine: GuestMachine) -> None:
    a = machine.guest("calls", "mark 1; say 1; mark 2; say 2; mark 3; say 3")
    b = machine.guest("calls", "say 10; mark 3; say 20")
    assert machine.run_until_mark(a, 2) is a
    assert machine.stdout == "mark = 0\nsay = 1\n"
    machine.run_until_mark(a, 3)
    # b came to the same mark, was not waited for there, and ended
    assert sorted(machine.stdout.splitlines()) == sorted(
        ["mark = 0", "say = 1", "mark = 0", "say = 2", "say = 10", "mark = 0", "say = 20"]
    )
    assert (a.state, b.alive) == (TaskState.SLEEPING, False)
    machine.finish()
    assert machine.stdout.endswith("mark = 0\nsay = 3\n")
    assert [mark.number for mark in machine.marks.passed if mark.task is a] == [1, 2, 3]


@pytest.mark.parametrize(
    ("script", "mistake"),
    [
        ("say 1; p = mapp 0 4K", "no such operation: mapp"),
        ("fork c; p = mmap 0 4K RW PRIVAT -1 0; end; wait", "no such name: PRIVAT"),
    ],
)
def test_a_script_with_a_mistake_fails_its_test(script: str, mistake: str) -> None:
    machine = GuestMachine()
    machine.guest("calls", script)
    machine.run()
    assert machine.close() == [f"a script of calls was not run to its end: {mistake}"]


def test_a_signal_in_a_script_is_no_mistake() -> None:
    machine = GuestMachine()
    assert machine.run_guest("calls", "@p = getpid; kill p 11").status == 139
    assert machine.close() == []


def test_others_stay_where_they_stand(machine: GuestMachine) -> None:
    a, b = (machine.guest("calls", "mark 1; say 7; mark 2") for _ in range(2))
    machine.run_until_mark(a, 1)
    machine.run_until_mark(b, 1)
    assert machine.run_until_mark(b, 2) is b
    assert machine.stdout.count("say = 7") == 1
    machine.resume(a)
    machine.run_until_idle()
    assert not a.alive and b.alive
    machine.send_signal(b, 9)
    machine.run_until_idle()
    assert b.exit_code == 9


def test_a_mark_that_does_not_come(machine: GuestMachine) -> None:
    a = machine.guest("calls", "say 1; @fork c; pause; end; @sched_yield; @p = getpid; @on 10 0; kill p 10")
    with pytest.raises(AssertionError) as caught:
        machine.run_until_mark(a, 9)
    assert str(caught.value).splitlines() == [
        "process 100 (calls) should come to mark 9, but it was killed by SIGUSR1.", "",
        "  process 101 (calls): waits in pause", "stdout so far:", "say = 1",
    ]  # fmt: skip


def test_a_mark_that_was_passed_before_it_was_waited_for(machine: GuestMachine) -> None:
    a = machine.guest("calls", "mark 1; pause")
    b = machine.guest("calls", "mark 2; mark 3; pause")
    machine.run_until_mark(b, 2)
    says = (
        r"^process 100 \(calls\) should come to mark 1, but every .*; process 100 \(calls\) came past that mark earlier"
    )
    with pytest.raises(AssertionError, match=says):
        machine.run_until_mark(a, 1)
    with pytest.raises(AssertionError) as caught:
        machine.run_until_mark(b, 2)  # it did stop there
    assert "came past" not in str(caught.value)


def test_a_machine_that_does_not_end(machine: GuestMachine) -> None:
    machine.guest("calls", "mark 5; pause")
    with pytest.raises(AssertionError, match="should run to its end, but every process waits") as caught:
        machine.finish()
    assert "  process 100 (calls): waits in pause" in str(caught.value).splitlines()
    machine.guest("spin")
    with pytest.raises(AssertionError, match=r"but the time limit was reached: 0\.01 seconds of host time"):
        machine.finish(timeout_s=0.01)


def ends(machine: GuestMachine, doing: Callable[[], object]) -> list[str]:
    """The lines of the AssertionError with which a machine for tests ends a run."""
    with pytest.raises(AssertionError) as caught:
        doing()
    return str(caught.value).splitlines()


@pytest.mark.unimmu(max_instructions=3_000_000)
def test_an_endless_guest_ends_at_a_limit_with_what_it_was_doing(make_machine: Callable[..., GuestMachine]) -> None:
    said = []
    for _ in range(2):
        machine = make_machine()
        machine.guest("calls", "say 1; pause")
        spin = machine.guest("spin")
        said.append(ends(machine, machine.finish))
    assert said[0] == said[1]
    assert said[0] == [
        "the machine should run to its end, but 3,000,000 instructions were not enough (max_instructions).", "",
        "  process 100 (calls): waits in pause",
        f"  process 101 (spin): runs at {spin.rip:#x}: jmp {spin.rip:#x}, after 3,000,000 instructions",
        "stdout so far:", "say = 1",
    ]  # fmt: skip
    words = "3,000,000 instructions were not enough (max_instructions)."
    assert ends(machine, machine.run_until_idle)[0] == f"every process should wait or end, but {words}"
    assert ends(machine, machine.run)[0] == f"the machine should stop by itself, but {words}"
    assert ends(machine, lambda: machine.run_until_mark(spin, 1))[0] == (
        f"process 101 (spin) should come to mark 1, but {words}"
    )
    assert machine.run(until=lambda: True) == StopReason.CONDITION


@pytest.mark.unimmu(max_guest_s=60)
def test_a_guest_that_sleeps_for_ever_ends_at_a_limit_of_guest_time(machine: GuestMachine) -> None:
    sleeper = machine.guest("calls", "t = words 10 0; repeat 100; @syscall 35 t 0; end")
    lines = ends(machine, machine.finish)
    assert lines[0] == "the machine should run to its end, but 60 seconds of its clock were not enough (max_guest_s)."
    assert lines[2] == "  process 100 (calls): is in nanosleep"
    assert 59e9 < machine.kernel.clock.now_ns() < 71e9 and sleeper.alive


def test_there_is_a_limit_of_every_kind_by_default(make_machine: Callable[..., GuestMachine]) -> None:
    limits = make_machine().limits
    assert (limits.instructions, limits.guest_s, limits.timeout_s) == (500_000_000, 3600.0, 60.0)
    with pytest.raises(ValueError, match="max_guest_s should be above 0, and is 0"):
        make_machine(max_guest_s=0)
    machine = make_machine(timeout_s=0.01)
    machine.guest("spin")
    assert ends(machine, machine.finish)[0].endswith("0.01 seconds of host time (timeout_s).")
    assert machine.run(timeout_s=0.01) == StopReason.TIMEOUT  # who says so is told so
    assert ends(machine, machine.run)[0].endswith("0.01 seconds of host time (timeout_s).")


@pytest.mark.skipif(guests.build.compiler() is None, reason="there is no gcc on the PATH")
@pytest.mark.unimmu(max_instructions=100_000)
def test_where_a_compiled_guest_runs_has_a_name(machine: GuestMachine) -> None:
    source = '#include "guest.h"\n__attribute__((noinline)) void for_ever(void) { for (;;) __asm__ volatile(""); }\n'
    machine.guest(source + "int main(int c, char **v, char **e) { for_ever(); return 0; }", name="looper")
    assert " (for_ever+0x" in ends(machine, machine.finish)[2]


def test_an_expectation_without_with_is_wrong_in_the_end(machine: GuestMachine) -> None:
    machine.expect(link_faults=1)
    assert_no_fault(machine)
    with machine.expect(link_faults=0):
        machine.run_guest("hello")
    with pytest.raises(AssertionError), machine.expect(hardware_faults=0):
        machine.run_guest("hello")
    here = [re.sub(r"^.*/(\w+\.py):\d+: ", r"\1 ", line) for line in machine.close()]
    assert here == [
        "test_plugin_machine.py the expectation of 1 link fault was made without `with`, so nothing was checked",
        "test_plugin_machine.py the expectation of no hardware faults was made without `with`, so nothing was checked",
    ]


def test_an_expectation_that_is_not_left_is_wrong_in_the_end(machine: GuestMachine) -> None:
    machine.expect(link_faults=1).__enter__()
    assert machine.close() == []  # a fixture may still leave it
    (line,) = machine.unfinished()
    assert line.endswith("the expectation of 1 link fault was entered and never left, so nothing was checked")
    assert machine.unfinished() == []


def test_a_block_in_which_nobody_runs_checks_nothing(machine: GuestMachine) -> None:
    task = machine.guest("hello")
    for expectation in (machine.expect(minor_faults=0, page_faults=0), assert_no_fault(machine, task=task)):
        with pytest.raises(AssertionError, match=r"^no process has run meanwhile, so nothing was checked"), expectation:
            assert machine.walk(task, 0)
    with machine.expect(instructions=0, link_faults=0), machine.expect(flushes=0):
        assert machine.walk(task, 0)


def test_what_assert_no_fault_runs_can_be_called(machine: GuestMachine) -> None:
    task = machine.guest("hello")
    with pytest.raises(TypeError, match=r"cannot be called; a process goes into task="):
        assert_no_fault(machine, task)  # type: ignore[call-overload]


def test_a_result_is_true_if_the_guest_succeeded(machine: GuestMachine) -> None:
    assert machine.run_guest("hello")
    failed = machine.run_guest("calls", "exit 3")
    assert not failed and repr(failed) == "GuestResult(stdout='', stderr='', status=3, signal='')"
    assert not machine.run_guest("calls", "@p = getpid; kill p 9")


def test_events_can_be_filtered(machine: GuestMachine, mmu_events: MmuEvents) -> None:
    machine.run_guest(
        "calls",
        '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 1G; @create fd 0 8K RW OBJECT;'
        "@w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @store w 7; @munmap w 1G",
    )
    assert machine.events is mmu_events
    (link,) = mmu_events.links
    assert (link.kind, link.pid, link.vaddr, link.length, link.region) == ("link", 100, 2 * TIB, 1 << 30, "r")
    assert link.after == link.host_entry != link.before == 0
    assert len(mmu_events.unlinks) == 1
    walks = mmu_events.where("walk", vaddr=2 * TIB + 100)
    # two that fault (populate, link), and the one that ends
    assert [sorted(walk.entries) for walk in walks] == [[4], [4], [1, 2, 3, 4]]
    assert walks[-1].access == "write" and "error_code" not in walks[-1].fields
    assert [fault.error_code for fault in mmu_events.faults.where(vaddr=2 * TIB)] == [6, 6]
    assert mmu_events.fills.where(test=lambda fill: fill.vaddr == 2 * TIB)[0].paddr == walks[-1].paddr
    assert len(mmu_events.where("walk", pid=100)) == len(mmu_events.walks) and not mmu_events.where(pid=7)
    assert len(mmu_events.flushes) == len(mmu_events.where("flush"))
    assert set(mmu_events[:1].kinds) <= {"exec"} and repr(mmu_events[:1]) == "<1 events: 1 exec>"
    assert str(link).startswith("100 link: the PMD table at ") and "region r is linked at" in str(link)
    assert str(mmu_events.where("shootdown")) == "no events"
    with pytest.raises(AttributeError, match="a link event has no field 'wrong'; it has region, level"):
        assert link.wrong


def test_a_question_that_no_event_could_answer_is_an_error(mmu_events: MmuEvents) -> None:
    with pytest.raises(EventError, match=r"there is no kind 'wlak'; the kinds are access, .*, walk$"):
        mmu_events.where("wlak")
    with pytest.raises(EventError, match=r"there is no field 'before' of a walk event; the fields are access, .*"):
        mmu_events.where("walk", before=5)
    with pytest.raises(EventError, match=r"there is no field 'vadr' of an event; the fields are access, .*"):
        mmu_events.where(vadr=5)
    with pytest.raises(EventError, match=r"^pid should be a number, and is '100'; a process's is task.pid$"):
        mmu_events.where("walk", pid="100")  # type: ignore[arg-type]
    with pytest.raises(EventError, match="link: level should be pte or pmd or pud, and is 2"):
        mmu_events.links.where("link", level=2)
    assert not mmu_events.where("access", tlb_level=None) and not mmu_events.where("access", tlb_level=2)
    assert not mmu_events.where(level="pmd") and not mmu_events.where(level=1, error_code=4)


def test_events_that_a_module_declares() -> None:
    machine = GuestMachine(modules={"mover": lambda kernel: kernel.event_kinds.append(MIGRATE)})
    events = machine.record_all()
    machine.kernel.tracer.event("migrate", pid=7, vaddr=0x5000, nodes=[0, 1])
    (event,) = events.where("migrate", nodes=[0, 1])
    assert (event.pid, event.vaddr, event.nodes, str(event)) == (
        7,
        0x5000,
        [0, 1],
        "7 migrate: vaddr 0x5000, nodes 0, 1",
    )
    with pytest.raises(EventError, match="migrate: nodes is missing"):
        machine.kernel.tracer.event("migrate", pid=7, vaddr=0x5000)
    assert machine.close() == []


MIGRATE = Kind.of(
    "migrate", "a page moves",
    Field("vaddr", Type.HEX, "the page", "virtual address"), Field("nodes", Type.NUMBERS, "from where, and where to"),
)  # fmt: skip


def test_figures_are_explained_by_events_that_there_are() -> None:
    assert {kind for kinds in counts._EXPLAINED_BY.values() for kind in kinds} <= {kind.name for kind in KINDS}


def test_few_events_are_recorded_unless_all_are_wanted(machine: GuestMachine) -> None:
    machine.run_guest("hello")
    assert set(machine.events.kinds) <= {"exec", "mmap", "fault", "flush", "exit"} and len(machine.events.faults)
    machine.record_all(syscalls=True)
    machine.run_guest("hello")
    assert len(machine.events.walks) and len(machine.events.where("syscall_enter", name="write")) == 1


def test_what_is_left_over_is_found(machine: GuestMachine) -> None:
    machine.kernel.frames.alloc(FrameKind.ANON)
    found = machine.close()
    assert len(found) == 2
    assert "references, and none was found: leaked" in found[0]
    assert found[1] == "after everything: 1 frames of ANON are in use, 0 should be"
    assert machine.close() == []


def test_options_are_for_what_modules_mount(machine: GuestMachine) -> None:
    with pytest.raises(ValueError, match="no module mounts a file system that could take level=pmd"):
        GuestMachine(level="pmd", modules={})
    with pytest.raises(ValueError, match=r"^level=pmd is not in force, but level=pte$"):
        GuestMachine(level="pmd", mount_options={"level": "pte"}, modules=MODULES)
    own = [Mount("msharefs", "/sys/fs/mshare", "abi=y2")]
    with pytest.raises(ValueError, match=r"^mounts take the place of every file system that could take level=pte$"):
        GuestMachine(level="pte", mounts=own, modules=MODULES)
    assert GuestMachine(abi="y2", mounts=own, modules=MODULES).abi == "y2"


def test_the_level_is_the_one_in_force(machine: GuestMachine) -> None:
    assert (machine.level, machine.abi, machine.unit) == ("pmd", "v3", 1 << 30)
    assert repr(machine) == "<GuestMachine 64 MiB pmd v3>"
    other = GuestMachine(mount_options={"level": "pte", "abi": "y2"}, modules=MODULES)
    assert (other.level, other.abi, other.unit) == ("pte", "y2", 2 << 20)
    bare = GuestMachine("16M", modules={})
    assert (bare.level, bare.abi, repr(bare)) == (None, None, "<GuestMachine 16 MiB>")
    with pytest.raises(ValueError, match="no file system that is mounted in this machine has a level"):
        assert bare.unit


def test_a_guest_has_the_name_that_it_is_given(machine: GuestMachine, tmp_path: Path) -> None:
    assert machine.guest("hello", name="greeter").comm == "greeter"
    machine.finish()
