"""The machine for tests: guests, marks, events, and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.kernel.task import TaskState
from emu.linux.event_kind import EventError, Field, Kind, Type
from emu.mm.frames import FrameKind
from emu.testing import GuestMachine, MmuEvents, counts
from emu.trace.schema import KINDS

TIB = 1 << 40


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


def test_a_machine_that_does_not_end(machine: GuestMachine) -> None:
    machine.guest("calls", "mark 5; pause")
    with pytest.raises(AssertionError, match="should run to its end, but every process waits") as caught:
        machine.finish()
    assert "  process 100 (calls): waits in pause" in str(caught.value).splitlines()
    machine.guest("spin")
    with pytest.raises(AssertionError, match="but the time limit was reached"):
        machine.finish(timeout_s=0.01)


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
    assert set(machine.events.kinds) <= {"exec", "fault", "flush", "exit"} and len(machine.events.faults)
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
    with pytest.raises(ValueError, match="no module mounts a file system that takes the options level=pmd"):
        GuestMachine(level="pmd", modules={})
    with pytest.raises(ValueError, match="without level="):
        assert machine.unit
    assert repr(machine) == "<GuestMachine 64 MiB>"


def test_a_guest_has_the_name_that_it_is_given(machine: GuestMachine, tmp_path: Path) -> None:
    assert machine.guest("hello", name="greeter").comm == "greeter"
    machine.finish()
