"""Results of single calls that programs have met, each as Linux gives it: scripts of the guest ``calls``."""

from __future__ import annotations

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host

#: Script, and what it prints.  The descriptors of a first pipe are 3 and 4.
SCRIPTS = {
    "the reading end of a pipe without writers, opened again": (
        '@f = bytes 8; @b = bytes 16; @pipe2 f 0; @write 4 "x" 1; @close 4; g = open "/proc/self/fd/3" O_RDONLY;'
        "read g b 8; read g b 8",
        ["g = 4", "read = 1", "read = 0"],
    ),
    "the writing end of a pipe without readers, opened again": (
        '@f = bytes 8; @pipe2 f 0; @close 3; open "/proc/self/fd/4" O_WRONLY',
        ["open = 3"],
    ),
    "vmsplice of more than a pipe holds": (
        "@f = bytes 8; @pipe2 f 0; @p = mmap 0 256K RW PRIVATE -1 0; @v = words p+1 0x20000;"
        "vmsplice 4 v 1 0; vmsplice 4 v 1 2; @read 3 p 4096; vmsplice 4 v 1 0",
        ["vmsplice = 65535", "vmsplice = EAGAIN", "vmsplice = 4095"],
    ),
    "vmsplice without a reader": (
        "@f = bytes 8; @pipe2 f 0; @close 3; @v = words f 8; @fork c; @vmsplice 4 v 1 0; end; wait c",
        ["wait = killed SIGPIPE"],
    ),
    "mlock of a shared mapping that can only be written": (
        "@p = mmap 0 40K PROT_WRITE ANON -1 0; mlock p 40K; @q = mmap 0 40K PROT_WRITE PRIVATE -1 0; mlock q 40K;"
        "@r = mmap 0 40K PROT_NONE PRIVATE -1 0; mlock r 40K",
        ["mlock = 0", "mlock = 0", "mlock = ENOMEM"],
    ),
    "wait4 of the smallest number": (
        "wait4 -2147483648 0 0 0; wait4 -2147483647 0 0 0",
        ["wait4 = ESRCH", "wait4 = ECHILD"],
    ),
    "the smallest pipe": (
        "@f = bytes 8; @pipe2 f 0; fcntl 4 1031 0; fcntl 4 1032 0; fcntl 4 1031 0x80000001",
        ["fcntl = 4096", "fcntl = 4096", "fcntl = EINVAL"],
    ),
    "setpgid of a child in another session": (
        "@f = bytes 8; @b = bytes 8; @pipe2 f 0; @fork c; @syscall 112; @write 4 b 1; @pause; end; @read 3 b 1;"
        "syscall 109 c 0; syscall 109 c c; @kill c 9; @wait c",
        ["syscall = EPERM", "syscall = EPERM"],
    ),
    "setpgid of who leads a session": (
        "@fork c; @syscall 112; syscall 109 0 0; end; @wait c",
        ["syscall = EPERM"],
    ),
    "setpgid to groups and of processes that are not there": (
        "@fork c; @me = getpid; syscall 109 0 12345; syscall 109 0 0; syscall 109 me 0; syscall 109 0 me;"
        "syscall 109 0 -1; syscall 109 999999 0; end; @wait c",
        ["syscall = EPERM", "syscall = 0", "syscall = 0", "syscall = 0", "syscall = EINVAL", "syscall = ESRCH"],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_machine_gives_it(machine: MakeMachine, name: str) -> None:
    script, expected = SCRIPTS[name]
    assert machine().calls(script) == expected


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_host_gives_it(name: str) -> None:
    script, expected = SCRIPTS[name]
    outcome = native(guests.path("calls"), [script], timeout_s=10)
    assert outcome.stdout.splitlines() == expected
