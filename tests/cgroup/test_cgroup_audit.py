"""The audit knows groups; and nothing is lost where memory runs out on the way."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from emu.audit import audit
from emu.linux.errors import LinuxError
from emu.mm.memcontrol import MOST_GROUPS, MemCgroup, MemControl
from tests.booted import Booted, MakeMachine
from tests.cgroup.groups import make, number, private, quietly

BOTH = "+memory +pids"
IN_A = quietly("a/cgroup.procs", "0")


def charged(booted: Booted) -> tuple[MemControl, MemCgroup]:
    """A group with pages, and who keeps it."""
    make(booted, "a", controllers=BOTH)
    task = booted.guest("calls", f"{IN_A}; @fork c; @pause; end; {private('p', '64K')}; mark 1; @pause")
    booted.run_until_mark(task, 1)
    memory = booted.kernel.cgroups.memory
    return memory.control, memory.group_of(task)


def one_more(control: MemControl, group: MemCgroup) -> None:
    group.add(1)


def only_above(control: MemControl, group: MemCgroup) -> None:
    group.usage += 1


def moved(control: MemControl, group: MemCgroup) -> None:
    frame = int(control.owners.nonzero()[0][0])
    control.owners[frame] = 0


def unknown(control: MemControl, group: MemCgroup) -> None:
    frame = int(control.owners.nonzero()[0][0])
    control.owners[frame] = 77


def gone(control: MemControl, group: MemCgroup) -> None:
    control._groups[group.number] = None


def less_than_nothing(control: MemControl, group: MemCgroup) -> None:
    group.kernel["sock"] -= 8
    group.kernel["slab_unreclaimable"] += 8


def more_objects(control: MemControl, group: MemCgroup) -> None:
    control.charge_kernel(group, "slab_unreclaimable", 8)


def fewer_objects(control: MemControl, group: MemCgroup) -> None:
    control.uncharge_kernel(group, "slab_unreclaimable", 8)


def another_kind(control: MemControl, group: MemCgroup) -> None:
    control.charge_kernel(group, "slab_unreclaimable", -16)
    control.charge_kernel(group, "slab_reclaimable", 16)


def a_page_of_objects(control: MemControl, group: MemCgroup) -> None:
    group.kernel["kernel_stack"] += 4096


def of_a_free_frame(control: MemControl, group: MemCgroup) -> None:
    control.owners[-1] = group.number
    group.add(1)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (one_more, "group /a counts \\d+ pages, and \\d+ are charged to it"),
        (only_above, "group /a counts \\d+ pages here and below"),
        (moved, "group /a counts \\d+ pages, and \\d+ are charged to it"),
        (unknown, "1 frames are charged to group 77, which there is not"),
        (gone, "\\d+ frames are charged to group 1, which is gone"),
        (less_than_nothing, "group /a has less than nothing of an object of the kernel"),
        (more_objects, "group /a counts \\d+ bytes of slab_unreclaimable, and its objects take \\d+"),
        (fewer_objects, "group /a counts \\d+ bytes of slab_unreclaimable, and its objects take \\d+"),
        (another_kind, "group /a counts \\d+ bytes of slab_reclaimable, and its objects take \\d+"),
        (a_page_of_objects, "group /a counts \\d+ pages, and \\d+ are charged to it"),
        (of_a_free_frame, "frame 0x\\w+, which is FREE, is charged to a group"),
    ],
)
def test_wrong_charges_are_found(
    machine: MakeMachine, harm: Callable[[MemControl, MemCgroup], None], said: str
) -> None:
    booted = machine()
    control, group = charged(booted)
    owners, local, usage = control.owners.copy(), group.local, group.usage
    kernel, pages = group.kernel.copy(), group.kernel_pages
    assert audit(booted.kernel) == []
    harm(control, group)
    found = audit(booted.kernel)
    assert any(re.search(said, finding) for finding in found), found
    control.owners[:] = owners
    control._groups[1] = group
    group.local, group.usage, group.kernel, group.kernel_pages = local, usage, kernel, pages
    assert audit(booted.kernel) == []


#: What has objects of the kernel made.
OBJECTS = """
    @f = bytes 8; pipe2 f 0; write 5 "x" 1; @r = open "/" 0; @d = dup r; @m = memfd_create "m" 0; write m "x" 5000
    @p = mmap 2T 8K RW PRIVATE|MAP_FIXED -1 0; mprotect p 4K 1; munmap p 4K; @q = mmap 3T 8K RW ANON|MAP_FIXED -1 0
    @e = open "/tmp/e" O_RDWR|O_CREAT 0600; @mkdir "/tmp/d" 0700; @symlink "x" "/tmp/d/s"; @rename "/tmp/e" "/tmp/d/e"
    @link "/tmp/d/e" "/tmp/f"; @unlink "/tmp/f"; @unlink "/tmp/d/e"; @unlink "/tmp/d/s"; @rmdir "/tmp/d"
    @unlink "/tmp/e"; @s = syscall 41 1 5 0; @kill 0 0
    fork c; @open "/" 0; mmap 0 4K RW PRIVATE -1 0; end; @wait c; @mremap q 8K 16K 1
"""


class Refusing:
    """The charge with this number finds no room in the group, and nobody is killed for it."""

    def __init__(self, booted: Booted, nth: int) -> None:
        self.calls, self.nth = 0, nth
        memory = booted.kernel.cgroups.memory
        self._plain = memory.control._has_room
        memory.control._has_room = self.has_room  # type: ignore[method-assign]
        memory.relieve = lambda task: False  # type: ignore[method-assign]
        booted.kernel.oom.relieve_call = lambda task: False  # type: ignore[method-assign]

    def has_room(self, group: MemCgroup, pages: int) -> bool:
        self.calls += 1
        return self.calls != self.nth and self._plain(group, pages)


def test_each_charge_fails_once_and_nothing_leaks(machine: MakeMachine) -> None:
    nth, most = 1, 1
    while nth <= most:
        booted = machine()
        make(booted, "a", controllers=BOTH)
        task = booted.guest("calls", f"{IN_A}; @fork first; mark 1\n{OBJECTS}\nmark 2; @pause; end; @pause")
        child = booted.run_until_mark(None, 1)
        refusing = Refusing(booted, nth)
        booted.resume(child)
        booted.run_until_idle()
        assert audit(booted.kernel) == [], nth
        booted.kill_all()
        most = max(most, refusing.calls)
        refusing.nth = 0
        booted.calls('@unlink "/tmp/f"; @unlink "/tmp/d/e"; @unlink "/tmp/d/s"; @rmdir "/tmp/d"; @unlink "/tmp/e"')
        assert number(booted, "a/memory.current") == 0, nth
        assert task.pid and audit(booted.kernel) == [], nth
        nth += 1
    assert most > 20


def test_charges_of_groups_are_found(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    booted.kernel.cgroups.charged += 1
    assert any("kernel objects" in finding for finding in audit(booted.kernel))
    booted.kernel.cgroups.charged -= 1


def test_mkdir_without_memory_leaves_nothing(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    kmem = booted.kernel.frames.kmem
    before = kmem.charged
    booted.take_reserve(0)
    with pytest.raises(LinuxError, match="ENOMEM"):
        booted.kernel.vfs.mkdir("/sys/fs/cgroup/b")
    booted.give_back_reserve()
    assert kmem.charged == before
    assert "b" not in booted.kernel.cgroups.root.children
    booted.kernel.vfs.mkdir("/sys/fs/cgroup/b")


def test_there_are_only_so_many_groups(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    monkeypatch.setattr("emu.mm.memcontrol.MOST_GROUPS", 1)
    before = booted.kernel.frames.kmem.charged
    with pytest.raises(LinuxError, match="ENOSPC"):
        booted.kernel.vfs.mkdir("/sys/fs/cgroup/b")
    assert booted.kernel.frames.kmem.charged == before
    assert MOST_GROUPS == 65535


@pytest.mark.parametrize("pages", range(12))
def test_a_limit_that_is_met_anywhere_leaks_nothing(machine: MakeMachine, pages: int) -> None:
    """The group fills up at each page that these calls take in turn; the machine's audit is at the end."""
    booted = machine()
    make(booted, "a", controllers=BOTH)
    work = """
        @p = mmap 0x200000000 64K RW PRIVATE|MAP_FIXED -1 0; @store p 1; @load p+8K; @store p+8K 1
        @q = mmap 0x300000000 64K RW ANON|MAP_FIXED -1 0; @store q 1
        @fd = open "/tmp/f" O_RDWR|O_CREAT 0600; @write fd p 12K
        @f = mmap 0x400000000 64K RW PRIVATE|MAP_FIXED fd 0; @store f 1
        @fork child; @store p 2; end; @wait child; @mremap p 64K 128K 1; @munmap q 64K
    """
    task = booted.guest("calls", f"{IN_A}; mark 1; {work}; mark 2; @pause")
    booted.run_until_mark(task, 1)
    limit = number(booted, "a/memory.current") + (pages << 12)
    booted.kernel.vfs.write_file("/sys/fs/cgroup/a/memory.max", str(limit).encode())
    booted.run_until_idle()
    assert str(booted.ending(task) or "SIGKILL") == "SIGKILL"
    assert audit(booted.kernel) == []


def test_who_ends_gives_everything_back(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    for _ in range(3):
        booted.calls(f"{IN_A}; {private('p', '1M')}; @fork child; @touch p 1M; end; @wait child")
    assert number(booted, "a/memory.current") == 0
    booted.calls('rmdir "/sys/fs/cgroup/a"')
    assert booted.kernel.cgroups.charged == 0
