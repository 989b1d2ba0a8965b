"""Scripts of the guest ``calls`` in which processes or threads make any system call with any arguments."""

from __future__ import annotations

import random

from emu.linux.argument import ADDRESS, FD, OFFSET, PID, SIZE, Argument, Buffer, Pointer
from emu.linux.layout import Iovec, String
from emu.linux.syscall import Syscall
from emu.syscalls import all_tables
from tests.fuzz.numbers import edge
from tests.fuzz.player import FLAGS, KINDS

#: Those that end the process or the thread that reads the script, or take its stack away: fork, vfork, clone, exit.
_LEFT_OUT = frozenset({15, 56, 57, 58, 60, 231, 435})
CALLS: tuple[Syscall, ...] = tuple(call for table in all_tables() for call in table if call.number not in _LEFT_OUT)
#: execve, kill, tkill, tgkill, rt_sigqueueinfo, execveat: what ends all threads at once.
_ENDING = tuple(f"@syscall {number} " for number in (59, 62, 200, 234, 129, 297, 322))
#: What is there before: memory ``a`` of 64 KiB with all rights, ``b`` to store results in, ``r`` that can only be read;
#: descriptors of a file, a pipe, a region with an object, a window, a memfd, a directory.
BEFORE = """@a = mmap 0x10000000000 64K RWX PRIVATE|MAP_FIXED -1 0; @b = bytes 4096; @me = getpid
@f = bytes 8; @pipe2 f 04000; @d = open "/tmp" 0; @m = memfd_create "m" 2; @ftruncate m 16K
@o = open "/tmp/file" O_RDWR|O_CREAT 0644; @write o b 4096; @r = mmap 0 8K PROT_READ MAP_SHARED o 0
@g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0644; @ftruncate g 1G; @create g 8K 8K RW OBJECT
@w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED g 0; @t = words 0 1000; @v = words a 64 b 128 r 16 8 8; @s = words 1 2 3 4
"""
_POINTERS = ("a", "a+8", "a+4092", "a+64K-4", "a+64K", "b", "b", "b+4088", "r", "r+8K-1", "w+8K", "w+12K", "w", "t",
             "t", "v", "v", "s", "0", "1", "16", "0x7ffffffff000", "0x800000000000", "0xffffffffffffffff",
             "0x8000000000000000")  # fmt: skip
_PATHS = ("/tmp/file", "/tmp/x", "/tmp/d", "/tmp", "/", "", ".", "..", "/proc/self/maps", "/proc/self/mem", "/dev/null",
          "/proc/self/fd/3", "/proc/self/exe", "/dev/zero", "/sys/fs/mshare/r", "/sys/fs/mshare/q", "/bin/calls",
          "/proc/1/status", "/dev/fd/0", "/proc/self/smaps", "/proc/self/pagemap", "/tmp/file/x",
          "/etc/passwd")  # fmt: skip
_DESCRIPTORS = (
    "0",
    "1",
    "3",
    "4",
    "d",
    "m",
    "m",
    "o",
    "o",
    "g",
    "g",
    "-1",
    "-100",
    "99",
    "1023",
    "9",
    "10",
    "11",
    "12",
    "13",
)
_SIZES = ("0", "1", "8", "16", "24", "4096", "4K", "8K", "64K", "1G", "2G", "1T", "-1", "-4096", "0x8000000000000000")
_PIDS = ("0", "me", "me", "-1", "1", "99", "100", "101", "c", "0x80000000")


class Writer:
    """Writes statements."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def value(self, kind: Argument) -> str:
        """One that fits the type, or any."""
        chance = self.chance
        if chance.random() < 0.08:
            return str(edge(chance))
        if isinstance(kind, Pointer) and isinstance(kind.target, String):
            return f'"{chance.choice(_PATHS)}"' if chance.random() < 0.9 else chance.choice(_POINTERS)
        if kind is ADDRESS or isinstance(kind, Pointer | Buffer | Iovec):
            return chance.choice(_POINTERS)
        if kind in (SIZE, OFFSET):
            return chance.choice(_SIZES)
        if kind is FD or kind.name in ("fd", "dirfd"):
            return chance.choice(_DESCRIPTORS)
        if kind is PID:
            return chance.choice(_PIDS)
        number = chance.choice(KINDS.get(kind.name, FLAGS))
        if chance.random() < 0.15:
            number |= 1 << chance.randrange(32)
        return str(number)

    def call(self) -> str:
        """One call.  Registers of 64 bits are given where the call takes 32."""
        chance = self.chance
        call = chance.choice(CALLS)
        values = [self.value(kind) for kind in call.arguments]
        for at in range(len(values)):
            if chance.random() < 0.05 and values[at].isdigit():
                values[at] = str(int(values[at]) | chance.getrandbits(32) << 32)
        return f"@syscall {call.number} {' '.join(values)}".rstrip()

    def memory(self) -> str:
        """What pointers point at, or an access."""
        chance = self.chance
        if chance.random() < 0.2:
            return f"@load {chance.choice(_POINTERS)}"
        number = chance.choice((edge(chance), chance.randrange(32), 0x10000000000 + 8 * chance.randrange(8192)))
        return f"@store {chance.choice(_POINTERS[:9])} {number}"

    def statement(self) -> str:
        """One or the other."""
        return self.memory() if self.chance.random() < 0.25 else self.call()


def processes(chance: random.Random, number: int) -> str:
    """One child after the other; each makes some calls, and is ended by an alarm if it waits."""
    writer = Writer(chance)
    children = [
        f"@fork c; @syscall 37 2; {'; '.join(writer.statement() for _ in range(chance.randint(1, 12)))}; end; @wait c"
        for _ in range(number)
    ]
    return BEFORE + "@c = say 0\n" + "\n".join(children) + "\nsay 42"


def threads(chance: random.Random, number: int) -> str:
    """Several threads of one process, and a child from time to time; few calls end or replace the process."""
    writer, parts, names = Writer(chance), [], list[str]()

    def statement() -> str:
        while (text := writer.statement()).startswith(_ENDING) and chance.random() < 0.97:
            pass
        return text

    for _ in range(number):
        body = "; ".join(statement() for _ in range(chance.randint(5, 40)))
        if chance.random() < 0.2:
            parts.append(f"@fork c; @syscall 37 2; {body}; end")
        else:
            names.append(f"x{len(names)}")
            parts.append(f"@thread {names[-1]}; {body}; end")
    parts += [f"@join {name}" for name in names]
    return BEFORE + "@c = say 0; @syscall 37 5\n" + "\n".join(parts)
