"""Files of /proc/PID that tools read: stat, environ, auxv, mountinfo; and /proc/loadavg."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import guests
from tests.booted import Booted

MakeMachine = Callable[..., Booted]


def test_stat(machine: MakeMachine) -> None:
    m = machine()
    task = m.spawn(guests.path("calls"), ["on 10 1; @fork c; @pause; end; @mark 1; touch 0 0"], {"A": "b"})
    m.run_until_mark(task, 1)
    head, _, rest = m.kernel.vfs.read_file(f"/proc/{task.pid}/stat").decode().partition(") ")
    fields = ["", *head.split(" (", 1), *rest.split()]
    assert fields[1:8] == [str(task.pid), "calls", "S", "1", str(task.pid), str(task.pid), "0"]
    assert len(fields) - 1 == 52 and rest.endswith("\n")
    mm = task.mm
    assert int(fields[10]) == task.usage.min_flt > 0
    assert [int(fields[number]) for number in (20, 23, 24)] == [1, mm.total_bytes, mm.rss_anon + mm.rss_cache]
    assert int(fields[33]) >> 9 & 1 == 1  # SIGUSR1 is ignored
    assert [int(fields[number]) for number in (48, 49, 50)] == [mm.arg_start, mm.arg_end, mm.env_start]
    child = m.kernel.vfs.read_file(f"/proc/{task.pid + 1}/stat").decode().split()
    assert child[3] == str(task.pid) and int(child[21]) >= 0
    m.kill_all()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the host has no /proc")
def test_stat_has_as_many_fields_as_on_the_host(machine: MakeMachine) -> None:
    m = machine()
    task = m.spawn(guests.path("calls"), ["pause"])
    ours = m.kernel.vfs.read_file(f"/proc/{task.pid}/stat").decode()
    theirs = Path("/proc/self/stat").read_text()
    assert len(ours.rpartition(")")[2].split()) == len(theirs.rpartition(")")[2].split())
    m.kill_all()


def test_environment_and_auxiliary_vector(machine: MakeMachine) -> None:
    m = machine()
    task = m.spawn(guests.path("calls"), ["pause"], {"A": "b", "LONG": "x" * 5000})
    read = m.kernel.vfs.read_file
    assert read(f"/proc/{task.pid}/environ") == b"A=b\0LONG=" + b"x" * 5000 + b"\0"
    assert read(f"/proc/{task.pid}/auxv") == task.mm.auxv != b""
    assert read(f"/proc/{task.pid}/cgroup") == b"0::/\n"
    m.kill_all()


def test_mountinfo_and_loadavg(machine: MakeMachine, tmp_path: Path) -> None:
    m = machine(root=str(tmp_path))
    task = m.spawn(guests.path("calls"), ["pause"])
    lines = [line.split() for line in m.kernel.vfs.read_file(f"/proc/{task.pid}/mountinfo").decode().splitlines()]
    root, dev, shm = lines[:3]
    assert root[3:7] == ["/", "/", "rw,relatime", "-"] and root[7:9] == ["overlay", "overlay"]
    assert root[9] == f"rw,lowerdir={tmp_path},upperdir=tmpfs,workdir=tmpfs"
    assert (dev[1], shm[1]) == (root[0], dev[0])  # each with the number of the mount that it is in
    assert len({line[0] for line in lines}) == len(lines)
    assert m.kernel.vfs.read_file("/proc/loadavg") == b"1.00 1.00 1.00 1/1 %d\n" % task.pid
    m.kill_all()
