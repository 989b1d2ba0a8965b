"""Objects of the kernel are charged, and every way to make one knows what to do without memory."""

from __future__ import annotations

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.mm.kmem import RESERVE
from tests.booted import MIB, Booted, MakeMachine, Recorder
from tests.exhaustive import by_default

REGION = '@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 2M; @create fd 0 2M RW OBJECT|MAP_NORESERVE'
PIPE = "@f = bytes 8; @pipe2 f O_NONBLOCK; @b = bytes 8K"
LOCK = "@l = words {kind} {start} {length} 0; fcntl fd 6 l"

#: What is there before memory ends, and what is done then.
SCENARIOS = {
    "mappings": (
        "@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0; @touch p 1M",
        """mmap 0 4K RW PRIVATE -1 0; mmap 0 4K RW ANON -1 0; mprotect p+8K 4K PROT_READ; munmap p+64K 4K
        mremap p+128K 4K 4K 3 4T; mlock p+256K 4K; madvise p+512K 4K 10; mmap p+768K 4K PROT_READ OBJECT -1 0""",
    ),
    "descriptors": ("@a = words 1 0", "dup 1; dup2 1 50; fcntl 1 0 60; close 50; dup2 1 1"),
    "files": (
        "@b = bytes 8",
        """open "/etc/passwd" O_RDONLY; f = open "/tmp/a" O_RDWR|O_CREAT 0600; mkdir "/tmp/d" 0700
        link "/tmp/a" "/tmp/b"; symlink "/to/somewhere" "/tmp/s"
        rename "/tmp/s" "/tmp/d/a_longer_name_than_it_had_before_it_was_renamed"
        mknod "/tmp/fifo" 010600 0; p = open "/tmp/fifo" O_RDWR; memfd_create "m" 0; open "/tmp" 020200002 0600
        unlink "/tmp/a"; unlink "/tmp/b"; rmdir "/tmp/d"; unlink "/tmp/fifo"; mount "t" "/tmp" "tmpfs" 0 NULL""",
    ),
    "pages of a file": (
        '@m = memfd_create "m" 0; @b = bytes 8',
        "pwrite m b 8 0; pwrite m b 8 4M; fallocate m 0 8M 4M; pwrite m b 8 20M; ftruncate m 8; pwrite m b 8 4M",
    ),
    "pipes": (PIPE, "write 4 b 8K; write 4 b 100; read 3 b 5000; write 4 b 5000; read 3 b 8K; @f = bytes 8; pipe2 f 0"),
    "locks": (
        '@fd = open "/tmp/a" O_RDWR|O_CREAT 0600',
        "; ".join(LOCK.format(kind=kind, start=start, length=4) for kind, start in ((1, 0), (1, 8), (0, 2), (2, 9)))
        + "; syscall 73 fd 2",
    ),
    "processes": ("@a = words 1 0", "fork d; end; wait d; thread t; say 5; end; join t; setgroups 2 a"),
    "event files": (
        "@v = words 1 0; @x = bytes 8; @k = getpid",
        """e = syscall 290 0 0; p = syscall 291 0; syscall 233 p 1 e v; i = syscall 294 0x800
        syscall 254 i "/tmp" 0xfff
        mkdir "/tmp/d" 0700; rmdir "/tmp/d"; read i x 8; t = syscall 283 1 0; syscall 222 1 NULL x; q = syscall 434 k 0
        syscall 289 -1 v 8 0; close p; close e; close i; close q; syscall 226 0""",
    ),
    "execve": ("@a = words 1 0", 'execve "/bin/hello" NULL NULL'),
    "signals": ("@on 36 1", "kill 0 17; kill 0 36"),
    "listings": (
        '@b = bytes 8K; @d = open "/etc" O_RDONLY; @m = open "/proc/self/maps" O_RDONLY',
        "syscall 217 d b 8K; read m b 8K",
    ),
    "regions": (
        REGION,
        """w = mmap 2T 2M RW MAP_SHARED|MAP_FIXED fd 0; touch w 8K; munmap w 2M
        g = open "/sys/fs/mshare/b" O_RDWR|O_CREAT 0600; ftruncate g 2M; create g 0 2M RW OBJECT; close g""",
    ),
}  # fmt: skip


#: What is left to the kernel's objects, in the end as much as they want.
FEW_BYTES, MORE_BYTES = [0, 100, 1100, 2500, 9000, 22000, MIB], [600, 1500, 4500, 17000, 30000, 50000]


class Scarcity(Recorder):
    """At ``mark 1`` the kernel's objects may take ``left`` bytes more; at ``mark 2`` that is over."""

    def __init__(self, booted: Booted, left: int) -> None:
        super().__init__(booted)
        self.left = left

    def note_mark(self, task: Task, number: int) -> None:
        if number == 1:
            self.booted.take_reserve(self.left)
        else:
            self.booted.give_back_reserve()


@pytest.mark.parametrize("name", SCENARIOS)
def test_objects_end_at_every_point(name: str) -> None:
    before, action = SCENARIOS[name]
    script = f"{before}\n@fork c; @mark 1; {action}; say 77; end; @wait c; @mark 2; say 88"
    outputs = []
    for left in by_default(FEW_BYTES, [*FEW_BYTES[:-1], *MORE_BYTES, MIB]):
        booted = Booted(16 * MIB, level="pte")
        booted.install(guests.path("hello"))
        Scarcity(booted, left)
        booted.guest("calls", script)
        assert booted.run(timeout_s=30) == StopReason.EXITED
        outputs.append(booted.stdout)
        assert booted.audit() == []
        assert booted.outcome("fork_shared").stdout == "42\n"
        assert booted.close() == [], f"{left} bytes were left"
    assert ("say = 77" in outputs[-1] or name == "execve") and "say = 88" in outputs[-1]
    assert outputs[0] != outputs[-1] or name == "signals"  # of which one of each number always finds room


def test_the_audit_counts_the_charges(machine: MakeMachine) -> None:
    booted = machine()
    kmem = booted.kernel.frames.kmem
    booted.guest("spin")
    kmem.charge(1)
    (finding,) = booted.audit()
    assert "bytes of kernel objects are charged, and there are" in finding
    kmem.uncharge(1)
    with kmem.held(10):
        (finding,) = booted.audit()
    assert finding == "10 bytes are charged for calls that sleep, and none does"
    assert booted.audit() == []
    booted.kill_all()


def test_what_objects_take_of_memory_is_slab(machine: MakeMachine) -> None:
    booted = machine()
    kmem = booted.kernel.frames.kmem
    fields = "; ".join(f'field "/proc/meminfo" "{name}"' for name in ("Slab", "SUnreclaim", "MemFree"))
    assert booted.calls(fields)[:2] == ["field = 0", "field = 0"]
    free, more = booted.kernel.frames.free, RESERVE + 8 * MIB - kmem.charged
    kmem.charge(more)
    assert free - booted.kernel.frames.free == kmem.pages == 8 * MIB >> 12
    booted.calls(fields)
    kmem.uncharge(more)
    slab, unreclaimable, _ = booted.calls(fields)
    assert slab == unreclaimable == f"field = {kmem.pages << 2}", "the host has not got it back either"


def test_cancelled_timers_are_forgotten(machine: MakeMachine) -> None:
    booted = machine()
    booted.calls("@repeat 2000; @syscall 37 1000; end; @syscall 37 0")
    assert len(booted.kernel.clock._timers) < 600
