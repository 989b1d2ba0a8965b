"""What a guest cannot break: no memory, no end, no sense.  Whatever happens, the machine stays whole."""

from __future__ import annotations

import random

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.linux.errors import LinuxError
from emu.linux.limits import Rlimit
from emu.machine import LaunchError
from emu.syscalls import all_tables
from emu.syscalls.limits import sys_setrlimit
from tests.booted import MIB, Booted, MakeMachine, Recorder
from tests.exhaustive import EXHAUSTIVE, by_default

# -- out of memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mib", [2, 3, 5, 8])
def test_a_process_that_takes_all_memory_is_killed(machine: MakeMachine, mib: int) -> None:
    booted = machine(mib * MIB)
    free = booted.kernel.frames.free
    outcome = booted.outcome("touch_pages", f"{mib * 1024 - 8}K")  # mmap lets it pass
    assert outcome == ("", "", None, "SIGKILL")
    assert [line.split(":")[0] for line in booted.logged] == ["out of memory"]
    assert free - booted.kernel.frames.free < 10  # the program's file is there now
    assert booted.outcome("fork_shared").stdout == "42\n"


def test_an_impossible_mapping_is_refused(machine: MakeMachine) -> None:
    assert machine(8 * MIB).outcome("touch_pages", "16M") == ("mmap: ENOMEM\n", "", 1, "")


def test_a_machine_that_is_too_small_for_the_program(machine: MakeMachine) -> None:
    booted = machine(1 * MIB)
    refused = []
    for left in range(24):
        booted.take_frames(left)
        try:
            booted.guest("hello")
            booted.finish()
        except LaunchError as error:
            assert "memory" in str(error) and error.status in (2, 126)
            refused.append(left)
        booted.give_back_frames()
        assert booted.audit() == []
        booted.install(guests.path("hello"))
    assert refused[:5] == [0, 1, 2, 3, 4] and 23 not in refused


class Hog(Recorder):
    """At ``mark 1`` takes all frames but ``left``."""

    def __init__(self, booted: Booted, left: int) -> None:
        super().__init__(booted)
        self.left = left

    def note_mark(self, task: Task, number: int) -> None:
        if number == 1:
            self.booted.take_frames(self.left)


REGION = (
    '@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 2G; @create fd 0 2G RW OBJECT|MAP_NORESERVE; '
)
#: What is there before memory becomes scarce, and what is done then, by a child whose end the parent tells.
SCENARIOS = {
    "anonymous memory": ("@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0", "touch p 24K"),
    "anonymous memory, first read": ("@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0", "scan p 24K; touch p 24K"),
    "shared memory": ("@p = mmap 2T 1M RW ANON|MAP_FIXED -1 0", "touch p 24K"),
    "a private copy of a file": (
        '@m = memfd_create "m" 0; @ftruncate m 64K; @p = mmap 2T 64K RW MAP_PRIVATE|MAP_FIXED m 0',
        "scan p 24K; touch p 24K",
    ),
    "copy on write": ("@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0; @touch p 24K", "touch p 24K"),
    "fork": ("@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0; @touch p 64K", "fork d; touch p 8K; end; wait d"),
    "execve": ("@a = words 1 0", 'execve "/bin/hello" NULL NULL'),
    "a file that grows": (
        '@f = open "/tmp/f" O_RDWR|O_CREAT 0600',
        'pwrite f "x" 1 0; pwrite f "y" 1 4K; pwrite f "z" 1 20M; ftruncate f 0',
    ),
    "a region": (
        "@n = say 1",
        REGION.replace("@", "")
        + "w = mmap 2T 2G RW MAP_SHARED|MAP_FIXED fd 0; touch w 16K; touch w+1G 8K; unmap fd 0 1G",
    ),
    "a link": (
        REGION + "@w = mmap 2T 2G RW MAP_SHARED|MAP_FIXED fd 0; @touch w 16K; @touch w+1G 4K; @munmap w 2G",
        "w = mmap 8T 2G RW MAP_SHARED|MAP_FIXED fd 0; scan w 16K; touch w+1G 16K; munmap w 2G",
    ),
    "mshare()": (
        "@p = mmap 2T 1G RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; @store p 1; @store p+4M 2; @store p+20M 3;"
        "@store p+512M 4; @munmap p+64M 2M;"
        " @mmap p+64M 2M RW PRIVATE|MAP_FIXED -1 0; @store p+64M 5",
        "@store p 1; @store p+4M 2; @store p+20M 3; @store p+512M 4; @store p+64M 5;"
        'mshare "r" p 1G O_RDWR|O_CREAT 0600; load p; load p+4M; load p+20M; load p+512M; load p+64M;'
        '@mshare_unlink "r"',
    ),
    "mremap": (
        "@p = mmap 2T 1M RW PRIVATE|MAP_FIXED -1 0; @touch p 4K; @touch p+512K 4K",
        "@q = mremap p 1M 2M 3 6T; load q; load q+512K; touch q 8K",
    ),
}


#: The level matters only where there is a region.
LEVELS = [
    (name, level)
    for name in SCENARIOS
    for level in ("pmd", "pte")
    if level == "pmd" or "mshare" in str(SCENARIOS[name])
]


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_memory_ends_at_every_point(name: str, level: str) -> None:
    before, action = SCENARIOS[name]
    script = f"@c = say 0; {before}\n@fork c; @mark 1; {action}; say 77; end; @wait c; @mark 2; say 88"
    # 77 is said when all is well; 88 always
    whole, *outputs = [_run_with_frames(left, name, level, script) for left in (200, 0)]
    for left in range(1, 16):
        if not EXHAUSTIVE and outputs[-2:] == [whole, whole]:
            break  # nothing fails any more
        outputs.append(_run_with_frames(left, name, level, script))
    assert ("say = 77" in whole or name == "execve") and "say = 88" in whole
    assert outputs[0] != whole
    refused = [output for output in outputs if "mshare = ENOMEM" in output]
    assert bool(refused) == (name == "mshare()")
    for output in refused:  # the caller keeps what it had
        assert "load = 1\nload = 2\nload = 3\nload = 4\nload = 5\n" in output


def _run_with_frames(left: int, name: str, level: str, script: str) -> str:
    """What is printed where memory has so many frames left at the script's first mark; all is as it should be then."""
    booted = Booted(4 * MIB, level=level)
    booted.install(guests.path("hello"))
    Hog(booted, left)
    if name == "mshare()":  # what was undone is to be seen
        booted.kernel.oom.relieve_call = lambda task: False  # type: ignore[method-assign]
    booted.guest("calls", script)
    assert booted.run(timeout_s=30) == StopReason.EXITED
    printed = booted.stdout
    assert booted.audit() == []
    booted.give_back_frames()
    assert booted.outcome("fork_shared").stdout == "42\n"
    assert booted.close() == [], f"{left} frames were left"
    return printed


# -- no end --------------------------------------------------------------------------------------------------------


def test_an_endless_loop_ends_with_the_time_limit(machine: MakeMachine) -> None:
    booted = machine()
    booted.guest("spin")
    assert booted.run(timeout_s=0.2) == StopReason.TIMEOUT


def test_two_that_wait_for_each_other_are_found_idle(machine: MakeMachine) -> None:
    booted = machine()
    booted.guest("calls", "@f = bytes 8; @pipe2 f 0; @b = bytes 8; @fork c; @read 3 b 8; end; @wait c")
    assert booted.run(timeout_s=20) == StopReason.IDLE
    assert len(booted.tasks) == 2


def test_the_stack_ends(machine: MakeMachine) -> None:
    booted = machine()
    assert booted.calls("recurse; @fork c; @on 11 0; @recurse; end; wait c; recurse") == [
        "recurse = SEGV_MAPERR", "wait = killed SIGSEGV", "recurse = SEGV_MAPERR",
    ]  # fmt: skip
    assert booted.processes()[0]["rss_bytes"] >= 7 * MIB  # RLIMIT_STACK is 8 MiB


def test_the_stack_takes_all_memory(machine: MakeMachine) -> None:
    booted = machine(6 * MIB)
    assert booted.calls("@fork c; recurse; end; wait c") == ["wait = killed SIGKILL"]


def test_a_fork_bomb_meets_the_limit_of_tasks(machine: MakeMachine) -> None:
    booted = machine()
    booted.kernel.pids.max_threads = 40
    booted.guest("calls", "repeat 100\n@fork c\n@pause\nend\n@say c\nend\nsay c")
    assert booted.run(timeout_s=30) == StopReason.IDLE or len(booted.tasks) > 1
    assert booted.stdout == "say = EAGAIN\n"
    assert len(booted.kernel.tasks) == 39  # those that sleep; the parent has ended


def test_the_sysctls_of_numbers_have_an_effect(machine: MakeMachine) -> None:
    booted = machine()
    write = booted.kernel.vfs.write_file
    write("/proc/sys/kernel/pid_max", b"301")
    booted.guest("calls", "repeat 400\n@fork c\nexit\nend\n@wait c\nend\nsay c")
    assert booted.run(timeout_s=60) == StopReason.EXITED
    number = int(booted.stdout.split()[-1])
    assert 100 <= number < 301  # numbers begin again
    write("/proc/sys/kernel/threads-max", b"20")
    for wrong in (b"19", b"1073741824"):
        with pytest.raises(LinuxError, match="EINVAL"):
            write("/proc/sys/kernel/threads-max", wrong)
    assert booted.kernel.vfs.read_file("/proc/sys/kernel/threads-max") == b"20\n"
    task = booted.spawn(guests.path("calls"), ["say 1"])
    write("/proc/sys/fs/nr_open", b"30000")
    assert sys_setrlimit(booted.kernel, task, Rlimit.NOFILE, (29999, 30000)) == 0
    with pytest.raises(LinuxError, match="EPERM"):
        sys_setrlimit(booted.kernel, task, Rlimit.NOFILE, (30001, 30001))


def test_a_fork_bomb_meets_the_limit_of_memory(machine: MakeMachine) -> None:
    booted = machine(4 * MIB)
    booted.guest("calls", "repeat 8\n@fork c\nsay 1\nend\nend")
    booted.guest("calls", "repeat 200\n@fork c\n@pause\nend\nend\nsay c")
    assert booted.run(timeout_s=30) == StopReason.IDLE
    assert "ENOMEM" not in booted.stdout  # a child is ended for each that is made when memory is out
    assert booted.kernel.oom.kills > 50 and len(booted.tasks) > 20


@pytest.mark.parametrize("flags", ["0x100011 0 16", "0x1000011 0 0 16", "0x1200011 0 0 16", "0x100011 0 -8"])
def test_clone_that_cannot_tell_the_pid(machine: MakeMachine, flags: str) -> None:
    # both go on after the call, and Linux does not mind an address that is none
    lines = machine().calls(f"c = syscall 56 {flags}; @wait4 -1 0 0; say 5")
    assert sorted(lines) == ["c = 0", "c = 101", "say = 5", "say = 5"]


# -- no sense ------------------------------------------------------------------------------------------------------


def test_unknown_system_calls_are_named_once(machine: MakeMachine) -> None:
    booted = machine()
    assert booted.calls("syscall 134; syscall 134; syscall 9999; syscall -1; syscall 9999") == ["syscall = ENOSYS"] * 5
    assert len(booted.logged) == 3
    assert "134 (uselib)" in booted.logged[0] and "ENOSYS" in booted.logged[0]


@pytest.mark.parametrize(
    "where", ["0", "0x1234", "0x10000000000", "0x7fffffffffff", "0xffff800000000000", "0x8000000000000000", "-1"]
)
def test_a_jump_to_nowhere(machine: MakeMachine, where: str) -> None:
    assert machine().calls(f"@fork c; @on 11 0; jump {where}; end; wait c") == ["wait = killed SIGSEGV"]


def test_damaged_programs(machine: MakeMachine) -> None:
    booted = machine()
    image = guests.path("hello").read_bytes()
    chance = random.Random(1)
    ran = refused = 0
    for _ in range(250):
        damaged = bytearray(image)
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(4, 64 + 5 * 56)
            damaged[at] = chance.choice((0, 1, 2, 3, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        booted.kernel.vfs.write_file(
            "/bin/damaged", bytes(damaged[: chance.choice((len(image), len(image), 300, 63))]), 0o755
        )
        try:
            booted.spawn("/bin/damaged", in_guest=True)
        except LaunchError as error:
            assert error.status == 126 and str(error)
            refused += 1
        else:
            booted.run(timeout_s=0.5)
            booted.kill_all()
            ran += 1
        assert booted.audit() == []
    assert ran > 20 and refused > 20


#: What would only wait, or end, or (mark) is no call.
_NOT_ALONE = {"exit", "exit_group", "pause", "clock_nanosleep", "vfork", "fork", "rt_sigreturn"}
_VALUES = (
    0, 1, 2, 3, 4, 5, 8, 16, 100, 4095, 4096, 65536, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 32) - 1, 1 << 40,
    (1 << 41) + 8, (1 << 47) - 4096, 1 << 47, 1 << 63, (1 << 63) - 1, (1 << 64) - 4096, (1 << 64) - 1,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(by_default(2, 6)))
def test_senseless_system_calls(machine: MakeMachine, seed: int) -> None:
    booted = machine(16 * MIB)
    chance = random.Random(seed)
    calls = [call for table in all_tables() for call in table if call.name not in _NOT_ALONE]
    numbers = [call.number for call in calls] + [451, 452]
    # descriptors 3 to 7, memory at 2 TiB with a path in it, a window at 4 TiB
    script = [
        'open "/tmp/f" O_RDWR|O_CREAT 0600; open "/dev/zero" O_RDWR; open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600;'
        ' @f = bytes 8; pipe2 f 0; p = mmap 2T 64K RW PRIVATE|MAP_FIXED -1 0; @store p 0x662f706d742f',
        "@ftruncate 5 1G; @create 5 0 8K RW OBJECT; @w = mmap 4T 1G RW MAP_SHARED|MAP_FIXED 5 0; store w 1",
    ]  # fmt: skip
    for number in numbers:
        for _ in range(2):
            values = [chance.choice((*_VALUES, 1 << 41, 1 << 41, 1 << 42, 3, 5)) for _ in range(6)]
            script.append(f"@fork c; @on 25 1; @on 11 1; @syscall {number} {' '.join(map(str, values))}; end")
    booted.guest("calls", "\n".join(["@on 17 1", *script]))
    booted.run(timeout_s=20)
    assert booted.audit() == []
    booted.kill_all()
    assert booted.outcome("fork_shared").stdout == "42\n"
