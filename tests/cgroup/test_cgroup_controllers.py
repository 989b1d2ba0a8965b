"""Which groups have which controllers, and where processes may be then (cgroup-v2.rst, "Controlling Controllers",
"No Internal Process Constraint", "Delegation").
"""

from __future__ import annotations

import pytest

from emu.linux.errors import LinuxError
from tests.booted import Booted, MakeMachine
from tests.cgroup.groups import TOP, make, number, put, quietly, see, store

BOTH = "+memory +pids"


def files(booted: Booted, group: str, controller: str) -> set[str]:
    """The files of a controller that a group has."""
    inode = booted.kernel.vfs.walker(None).resolve(f"{TOP}/{group}").inode
    return {entry.name for entry in inode.iterate() if entry.name.startswith(f"{controller}.")}


def test_controllers_come_and_go_with_what_the_parent_gives(machine: MakeMachine) -> None:
    booted = machine()
    booted.kernel.vfs.mkdir(f"{TOP}/a/b")
    assert see(booted, "cgroup.controllers") == "memory pids\n"
    assert see(booted, "a/cgroup.controllers") == ""
    store(booted, "cgroup.subtree_control", "+pids +memory")
    assert see(booted, "cgroup.subtree_control") == "memory pids\n"
    assert see(booted, "a/cgroup.controllers") == "memory pids\n"
    assert see(booted, "a/b/cgroup.controllers") == ""
    assert "memory.max" in files(booted, "a", "memory")
    assert files(booted, "a/b", "memory") == {"memory.pressure"}
    assert files(booted, "", "memory") == {"memory.pressure", "memory.stat", "memory.numa_stat", "memory.reclaim"}
    store(booted, "cgroup.subtree_control", "-memory")
    assert files(booted, "a", "memory") == {"memory.pressure"}
    assert "pids.max" in files(booted, "a", "pids")


@pytest.mark.parametrize(
    ("group", "text", "error"),
    [
        ("a/b", "+memory", "ENOENT"),  # its parent does not give it
        ("", "-memory", "EBUSY"),  # a child gives it
        ("a", "memory", "EINVAL"),
        ("a", "+cpu", "EINVAL"),
        ("a", "+memory +cpu", "EINVAL"),
    ],
)
def test_what_cannot_be_given(machine: MakeMachine, group: str, text: str, error: str) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    booted.kernel.vfs.mkdir(f"{TOP}/a/b")
    if not group:
        store(booted, "a/cgroup.subtree_control", "+memory")
    with pytest.raises(LinuxError, match=error):
        store(booted, f"{group}/cgroup.subtree_control".lstrip("/"), text)


def test_no_processes_where_children_have_controllers_of_domains(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b", controllers=BOTH)
    lines = booted.calls(
        f"{put('a/cgroup.procs', '0')}; {put('a/b/cgroup.procs', '0')}; {put('a/b/cgroup.subtree_control', '+memory')};"
        f"{put('a/b/cgroup.subtree_control', '+pids')}; {put('a/cgroup.subtree_control', '-memory')};"
        f"{put('a/cgroup.procs', '0')}"
    )
    answers = [line.partition(" = ")[2] for line in lines]
    assert answers == ["EBUSY", "1", "EBUSY", "5", "7", "EBUSY"]


def test_threaded_controllers_need_no_empty_group(machine: MakeMachine) -> None:
    """A domain with processes whose children have only controllers that may be threaded is a thread root."""
    booted = machine()
    make(booted, "a", controllers="+pids")
    lines = booted.calls(
        f"{put('a/cgroup.procs', '0')}; {put('a/cgroup.subtree_control', '+pids')}; mark 1;"
        f'mkdir "{TOP}/a/b" 0755; {put("a/b/cgroup.procs", "0")}'
    )
    assert lines[:2] == ["write = 1", "write = 5"]
    assert lines[-2:] == ["mkdir = 0", "write = EOPNOTSUPP"]


def test_threaded_groups_have_threaded_controllers_only(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", controllers=BOTH)
    booted.kernel.vfs.mkdir(f"{TOP}/a/b")
    store(booted, "a/b/cgroup.type", "threaded")
    with pytest.raises(LinuxError, match="ENOTSUP"):
        store(booted, "a/cgroup.subtree_control", "+memory")
    store(booted, "a/cgroup.subtree_control", "+pids")
    assert see(booted, "a/b/cgroup.controllers") == "pids\n"
    assert see(booted, "a/cgroup.type") == "domain threaded\n"


def test_domain_controllers_forbid_threaded_children(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b", controllers=BOTH)
    with pytest.raises(LinuxError, match="ENOTSUP"):
        store(booted, "a/b/cgroup.type", "threaded")


def test_the_root_of_a_namespace_is_the_delegaters_affair(machine: MakeMachine) -> None:
    """nsdelegate: limits of the namespace's root are not for who is in it, and nothing leaves it."""
    booted = machine()
    make(booted, "a", "a/b", "c", controllers="+pids")
    script = f"""
        @fork child; {quietly("a/b/cgroup.procs", "0")}; @syscall 272 0x2000000
        {put("a/b/pids.max", "9")}; mkdir "{TOP}/a/b/d" 0755
        {put("a/b/d/cgroup.procs", "0")}; {put("c/cgroup.procs", "0")}; {put("a/b/cgroup.procs", "0")}
        end; wait child
    """
    lines = booted.calls(script)
    answers = [line.partition(" = ")[2] for line in lines]
    assert answers == ["EPERM", "0", "1", "ENOENT", "1", "0"]


def test_controllers_are_counted(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b", "c", controllers=BOTH)
    booted.kernel.vfs.mkdir(f"{TOP}/c/d")
    assert number(booted, "cgroup.stat", "nr_descendants") == 4
    assert number(booted, "cgroup.stat", "nr_subsys_memory") == 4
    assert number(booted, "c/cgroup.stat", "nr_subsys_memory") == 1
    assert number(booted, "c/d/cgroup.stat", "nr_subsys_memory") == 0
    text = booted.kernel.vfs.read_file("/proc/cgroups").decode()
    assert text == "#subsys_name\thierarchy\tnum_cgroups\tenabled\npids\t0\t4\t1\n"


def test_time_is_counted_here_and_above(machine: MakeMachine) -> None:
    booted = machine()
    make(booted, "a", "a/b")
    booted.calls(f"{quietly('a/b/cgroup.procs', '0')}; @p = mmap 0 1M RW PRIVATE -1 0; repeat 50; @touch p 1M; end")
    above, below = (number(booted, f"{name}/cpu.stat", "usage_usec") for name in ("a", "a/b"))
    assert above == below > 0
    booted.calls(f'rmdir "{TOP}/a/b"')
    assert number(booted, "a/cpu.stat", "usage_usec") == above


def test_options_of_the_mount(machine: MakeMachine) -> None:
    booted = machine()
    vfs = booted.kernel.vfs
    assert (
        "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot" in vfs.mounts()
    )
    booted.kernel.vfs.mkdir("/mnt")
    assert booted.calls(
        'mount "none" "/mnt" "cgroup2" 0 "what"; mount "none" "/mnt" "cgroup2" 0 "pids_localevents"'
    ) == [
        "mount = EINVAL",
        "mount = 0",
    ]
    assert "noexec,relatime,pids_localevents 0 0" in vfs.mounts()
    assert booted.calls(f'mkdir "/mnt/a" 0755; rmdir "{TOP}/a"; umount2 "/mnt" 0') == [
        "mkdir = 0",
        "rmdir = 0",
        "umount2 = 0",
    ]
