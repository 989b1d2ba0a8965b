"""System V IPC: shared memory, semaphores, message queues.  The guest sysv prints the result of each call."""

from __future__ import annotations

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host


@needs_host
@pytest.mark.parametrize("part", ["shm", "sem", "msg"])
def test_every_call_as_on_the_host(machine: MakeMachine, part: str) -> None:
    assert machine().outcome("sysv", part) == native(guests.path("sysv"), [part])


@pytest.mark.parametrize("cpus", [2, 4])
def test_on_several_cpus(machine: MakeMachine, cpus: int) -> None:
    assert machine(cpus=cpus).outcome("sysv") == machine().outcome("sysv")


def numbers(lines: list[str]) -> list[int]:
    return [int(line.partition(" = ")[2]) for line in lines]


def test_each_part_of_an_attachment_counts(machine: MakeMachine) -> None:
    """munmap and mprotect make several mappings of one; shmdt takes those that are left (shm_nattch is 88 bytes in)."""
    booted = machine()
    said = booted.calls("""
        @m = syscall 29 0 0x4000 01600; @p = syscall 30 m 0 0; @d = bytes 112; store p+12K 4
        @syscall 31 m 2 d; load d+88
        @munmap p+4K 4K; @syscall 31 m 2 d; load d+88
        @mprotect p+8K 4K PROT_READ; @syscall 31 m 2 d; load d+88
        @q = syscall 30 m 0 0; @syscall 67 p; @syscall 31 m 2 d; load d+88; load q+12K
        load p; load p+12K; syscall 31 m 0 0; @syscall 31 m 2 d; load d+20; @syscall 67 q; syscall 31 m 2 d""")
    assert said[0] == "store = 0"
    assert numbers(said[1:6]) == [1, 2, 3, 1, 4]
    assert said[6:8] == ["load = SEGV_MAPERR", "load = SEGV_MAPERR"]
    assert numbers([said[8]]) == [0]
    assert numbers([said[9]])[0] & 0o1777 == 0o1600, "SHM_DEST"
    assert said[10] == "syscall = EINVAL"


def test_how_many_semaphores_there_are(machine: MakeMachine) -> None:
    """SEM_INFO (semaem is 36 bytes in): sets that are made and removed count, and one that is refused does not."""
    said = machine().calls("""
        @i = bytes 48; @a = syscall 64 0 7 0600; @b = syscall 64 5 11 01600; @syscall 66 0 0 19 i; load i+36
        syscall 64 5 12 01600; syscall 64 0 32001 0600; syscall 64 0 0 0600; @syscall 66 0 0 19 i; load i+36
        @syscall 66 a 0 0; @syscall 66 0 0 19 i; load i+36; @syscall 66 b 0 0; @syscall 66 0 0 19 i; load i+36""")
    assert said == [
        "load = 18",
        "syscall = EINVAL",
        "syscall = EINVAL",
        "syscall = EINVAL",
        "load = 18",
        "load = 11",
        "load = 0",
    ]


def test_a_process_that_ends_leaves_its_segments(machine: MakeMachine) -> None:
    """They are the machine's, with what is in them; its attachments end with it."""
    booted = machine()
    booted.calls("@m = syscall 29 0x77 8K 01640; @p = syscall 30 m 0 0; store p 42")
    assert booted.calls("@m = syscall 29 0x77 0 0; @p = syscall 30 m 0 0x1000; load p") == ["load = 42"]
    (segment,) = booted.kernel.ipc.shm
    assert (segment.attached, segment.size, segment.pages_present) == (0, 8192, 1)
    shown = booted.kernel.vfs.read_file("/proc/sysvipc/shm").decode().splitlines()[1].split()
    assert shown[:4] == ["119", "0", "640", "8192"]
    assert shown[6] == "0"


def test_two_processes_share_a_segment_of_huge_pages(machine: MakeMachine) -> None:
    booted = machine(hugepages=2)
    said = booted.calls("""
        @m = syscall 29 0 2M 05600; @p = syscall 30 m 0 0; store p+1M 5
        @fork c; load p+1M; store p+1M 6; end; @wait c; load p+1M; syscall 31 m 0 0; syscall 67 p; load p""")
    assert said == [
        "store = 0",
        "load = 5",
        "store = 0",
        "load = 6",
        "syscall = 0",
        "syscall = 0",
        "load = SEGV_MAPERR",
    ]
    assert booted.kernel.huge_pages.free == 2


def test_permissions(machine: MakeMachine) -> None:
    """Another user needs the permissions, and cannot remove it."""
    booted = machine()
    said = booted.calls("""
        @m = syscall 29 0x5 4K 01604; @s = syscall 64 0x5 1 01600; @q = syscall 68 0x5 01622; @b = words 1 2
        @setgid 7; @setuid 7; syscall 30 m 0 0; @p = syscall 30 m 0 0x1000; load p; store p 1; syscall 31 m 0 0
        syscall 66 s 0 12 0; syscall 66 s 0 0 0; syscall 71 q 0 0; syscall 69 q b 8 0; syscall 70 q b 8 0 0
        syscall 29 0x5 4K 06; syscall 64 0x5 1 04; syscall 68 0x5 02""")
    denied = "syscall = EACCES"
    assert said[:6] == [denied, "load = 0", "store = SEGV_ACCERR", "syscall = EPERM", denied, "syscall = EPERM"]
    assert said[6:10] == ["syscall = EPERM", "syscall = 0", denied, denied]
    assert said[10:] == [denied, "syscall = 0"]
