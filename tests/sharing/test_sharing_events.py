"""Links and unlinks: each is reported with its entries, which are the same as in memory."""

from __future__ import annotations

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.mm.pagetable import A
from tests.booted import UNIT, Booted, LinkChecker, MakeMachine

TIB = 1 << 40
A_REGION = '@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd SIZE; @create fd 0 8K RW OBJECT'
A_WINDOW = "@w = mmap 2T SIZE RW MAP_SHARED|MAP_FIXED fd 0"


def story(booted: Booted, script: str, lines: list[str] | None = None) -> list[str]:
    """Run a script to its end and return its links and unlinks; ``lines`` is its expected output."""
    checker = LinkChecker(booted)
    printed = booted.calls(script.replace("SIZE", str(booted.unit)))
    if lines is not None:
        assert printed == lines
    assert not +checker.linked, "something is still linked"
    assert booted.kernel.share_counts.items() == []
    return checker.story()


@pytest.mark.parametrize("level", UNIT)
def test_a_link_copies_the_entry_of_the_host_mm(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level)
    checker = LinkChecker(booted)
    booted.guest("calls", f"{A_REGION}; {A_WINDOW}; @store w 42; @pause".replace("SIZE", str(booted.unit)))
    assert booted.run() == StopReason.IDLE
    (event,), (task,), (region,) = checker.events, booted.tasks, booted.regions
    tables, host = task.mm.tables, region.host.tables
    link_level = {"pte": 2, "pmd": 3, "pud": 4}[level]
    slot, host_slot = tables.entry_slot(2 * TIB, link_level), host.entry_slot(region.host_base, link_level)
    assert slot is not None and host_slot is not None
    words = booted.ram.qwords
    assert event["entry_paddr"] == slot * 8 and event["host_entry_paddr"] == host_slot * 8
    assert words[slot] & ~A == event["after"] & ~A == words[host_slot] & ~A == event["host_entry"] & ~A
    assert event["pid"] == task.pid and event["sharers"] == 1
    # the same data through both trees
    assert task.mm.read_u64(2 * TIB) == region.host.read_u64(region.host_base) == 42


@pytest.mark.parametrize("level", UNIT)
def test_munmap_unlinks(machine: MakeMachine, level: str) -> None:
    text = f"{A_REGION}; {A_WINDOW}; @load w; munmap w SIZE; load w; {A_WINDOW}; load w"
    assert story(machine(level=level), text, ["munmap = 0", "load = SEGV_MAPERR", "load = 0"]) == [
        "link 0 a 2T", "unlink 0 a 2T", "link 0 a 2T", "unlink 0 a 2T",
    ]  # fmt: skip


def test_exit_and_a_deadly_signal_unlink(machine: MakeMachine) -> None:
    text = f"""{A_REGION}; {A_WINDOW}; @load w
        @fork c; @load w; end; @wait c; @fork d; @load w; @kill 102 9; end; @wait d"""
    assert story(machine(), text) == [
        "link 0 a 2T", "link 1 a 2T", "unlink 1 a 2T", "link 2 a 2T", "unlink 2 a 2T", "unlink 0 a 2T",
    ]  # fmt: skip


def test_execve_unlinks(machine: MakeMachine) -> None:
    booted = machine()
    path = booted.install(guests.path("hello"))
    text = f"""{A_REGION}; {A_WINDOW}; @load w
        @fork c; @load w; @a = words "hello" 0; execve "{path}" a 0; end; @wait c; load w"""
    assert story(booted, text, ["hello, world", "load = 0"]) == [
        "link 0 a 2T", "link 1 a 2T", "unlink 1 a 2T", "unlink 0 a 2T",
    ]  # fmt: skip


def test_the_creator_execs_and_the_region_lives_on(machine: MakeMachine) -> None:
    booted = machine()
    path = booted.install(guests.path("calls"))
    again = "load 2T; w = mmap 2T SIZE RW MAP_SHARED|MAP_FIXED 3 0; load w"
    text = f'{A_REGION}; {A_WINDOW}; @store w 7; @a = words "calls" "{again}" 0; execve "{path}" a 0'
    assert story(booted, text, ["load = SEGV_MAPERR", "w = 0x20000000000", "load = 7"]) == [
        "link 0 a 2T", "unlink 0 a 2T", "link 0 a 2T", "unlink 0 a 2T",
    ]  # fmt: skip


def test_fork_inherits_the_window_but_no_link(machine: MakeMachine) -> None:
    booted = machine()
    checker = LinkChecker(booted)
    text = f"{A_REGION}; {A_WINDOW}; @store w 5; @fork c; @pause; end; @pause"
    booted.guest("calls", text.replace("SIZE", str(booted.unit)))
    assert booted.run() == StopReason.IDLE
    parent, child = booted.tasks
    assert checker.story() == ["link 0 a 2T"]
    assert child.mm.tables.pte(2 * TIB) == 0 and parent.mm.tables.pte(2 * TIB) != 0
    assert booted.regions[0].sharers == 2
    assert child.mm.read_u64(2 * TIB) == 5  # as the kernel reads it for a system call: it links
    assert checker.story() == ["link 0 a 2T", "link 1 a 2T"]
    assert child.mm.tables.pte(2 * TIB) == parent.mm.tables.pte(2 * TIB)


def test_two_windows_on_one_region_in_one_process(machine: MakeMachine) -> None:
    text = f"""{A_REGION}; {A_WINDOW}; @v = mmap 4T SIZE RW MAP_SHARED|MAP_FIXED fd 0
        @store w 1; load v; @store v 2; load w
        munmap w SIZE; load v; load w; munmap v SIZE"""
    lines = ["load = 1", "load = 2", "munmap = 0", "load = 2", "load = SEGV_MAPERR", "munmap = 0"]
    assert story(machine(), text, lines) == [
        "link 0 a 2T", "link 0 a 4T", "unlink 0 a 2T", "unlink 0 a 4T",
    ]  # fmt: skip


@pytest.mark.parametrize("level", UNIT)
def test_two_regions_side_by_side(machine: MakeMachine, level: str) -> None:
    text = f"""{A_REGION}; {A_WINDOW}
        @gd = open "/sys/fs/mshare/b" O_RDWR|O_CREAT 0600; @ftruncate gd SIZE; @create gd 0 4K RW OBJECT
        @v = mmap w+SIZE SIZE RW MAP_SHARED|MAP_FIXED gd 0; @store w 1; @store v 2; load w; load v
        munmap w SIZE; load v; load w; v = mmap v SIZE RW MAP_SHARED|MAP_FIXED fd 0; load v; mod v 2T"""
    booted = machine(level=level)
    second, unit = "2T+1", booted.unit
    expected = ["load = 1", "load = 2", "munmap = 0", "load = 2", "load = SEGV_MAPERR", f"v = {2 * TIB + unit:#x}",
                "load = 1", f"mod = {unit:#x}"]  # fmt: skip
    assert story(booted, text, expected) == [
        "link 0 a 2T", f"link 0 b {second}", "unlink 0 a 2T", f"unlink 0 b {second}", f"link 0 a {second}",
        f"unlink 0 a {second}",
    ]  # fmt: skip


def test_every_slot_of_a_window_is_linked_by_itself(machine: MakeMachine) -> None:
    text = """
        @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 8M; @create fd 0 8M RW OBJECT
        @w = mmap 2T 8M RW MAP_SHARED|MAP_FIXED fd 0; @store w+6M 1; @store w+2M 1; @madvise w+6M 4K 4; load w+6M
        @mremap w 8M 8M 0; madvise w 4M 4; load w+2M; unmap fd 2M 2M; load w+2M; load w+6M"""
    lines = ["load = 1", "madvise = 0", "load = 1", "unmap = 0", "load = SEGV_MAPERR", "load = 1"]
    assert story(machine(level="pte"), text, lines) == [
        "link 0 a 2T+3", "link 0 a 2T+1", "unlink 0 a 2T+3", "link 0 a 2T+3", "unlink 0 a 2T+1", "link 0 a 2T+1",
        "unlink 0 a 2T+3", "unlink 0 a 2T+1",
    ]  # fmt: skip


def test_a_mapping_over_the_whole_window_replaces_it(machine: MakeMachine) -> None:
    text = f"""{A_REGION}; {A_WINDOW}; @store w 9
        @mmap w SIZE RW PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0; load w; munmap w SIZE"""
    assert story(machine(), text, ["load = 0", "munmap = 0"]) == ["link 0 a 2T", "unlink 0 a 2T"]


def test_the_name_goes_while_it_is_mapped(machine: MakeMachine) -> None:
    booted = machine()
    text = f"""{A_REGION}; {A_WINDOW}; @store w 3; unlink "/sys/fs/mshare/a"; @close fd; load w; store w+4K 4
        open "/sys/fs/mshare/a" O_RDWR; gd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600
        mmap 6T SIZE RW MAP_SHARED gd 0
        @fork c; load w; load w+4K; end; wait c; munmap w SIZE"""
    lines = ["unlink = 0", "load = 3", "store = 0", "open = ENOENT", "gd = 3", "mmap = EINVAL", "load = 3", "load = 4",
             "wait = 0", "munmap = 0"]  # fmt: skip
    assert story(booted, text, lines) == ["link 0 a 2T", "link 1 a 2T", "unlink 1 a 2T", "unlink 0 a 2T"]
    assert booted.regions == [] and len(booted.kernel.mm_context.address_spaces) == 1  # that of the new, empty region


@pytest.mark.parametrize("end", ["@exit 0", "@p = getpid; @kill p 9", "@store 0 1"])
def test_the_region_ends_with_its_creator(machine: MakeMachine, end: str) -> None:
    # the second process is the creator; the first has a window that is linked, and one more that is not
    booted = machine()
    text = f"""@s = mmap 0 4K RW ANON -1 0
        @fork c; {A_REGION}; {A_WINDOW}; @store w 1; @store s 1; @await s 2; @on 11 0; {end}; end
        @await s 1; @fd = open "/sys/fs/mshare/a" O_RDWR; {A_WINDOW}; load w; @store s 2; @wait c
        load w; load w+4K; mmap 4T SIZE RW MAP_SHARED|MAP_FIXED fd 0; unmap fd 0 8K; ftruncate fd SIZE
        create fd 0 4K RW OBJECT; load w; store w 8; load w; open "/sys/fs/mshare/a" O_RDWR"""
    lines = ["load = 1", "load = SEGV_MAPERR", "load = SEGV_MAPERR", "mmap = EINVAL", "unmap = 0", "ftruncate = EINVAL",
             "create = 0", "load = 0", "store = 0", "load = 8", "open = 4"]  # fmt: skip
    assert story(booted, text, lines) == ["link 1 a 2T", "link 0 a 2T", "unlink 1 a 2T", "unlink 0 a 2T"]


def test_ownership_is_not_inherited(machine: MakeMachine) -> None:
    text = f"""@s = mmap 0 4K RW ANON -1 0
        @fork c; {A_REGION}; {A_WINDOW}; @store w 1
        @fork d; load w; @store s 1; @await s 2; load w; @store s 3; end; @await s 1
        end; @wait c; @store s 2; @await s 3"""
    assert story(machine(), text, ["load = 1", "load = SEGV_MAPERR"]) == [
        "link 1 a 2T", "link 2 a 2T", "unlink 1 a 2T", "unlink 2 a 2T",
    ]  # fmt: skip


def test_a_spinning_sharer_is_killed_when_the_object_goes(machine: MakeMachine) -> None:
    text = f"""{A_REGION}; {A_WINDOW}; @s = mmap 0 4K RW ANON -1 0
        @fork c; @on 11 0; @load w; @store s 1; @await w 1; end
        @await s 1; unmap fd 0 8K; wait c; load w"""
    lines = ["unmap = 0", "wait = killed SIGSEGV", "load = SEGV_MAPERR"]
    assert story(machine(), text, lines)[:1] == ["link 1 a 2T"]
