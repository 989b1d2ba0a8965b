"""Each type of argument, in calls that an outside module registers: what the handler gets, and the line of --strace."""

from __future__ import annotations

import errno
import re
import struct
from typing import Any

import pytest

from emu.kernel.kernel import Kernel
from emu.kernel.task import Task
from emu.linux.argument import (
    ADDRESS,
    BUFFER,
    DESCRIPTOR_FLAGS,
    DIRFD,
    FD,
    FILLED,
    HEX,
    HEX32,
    ID,
    INT,
    LONG,
    MODE,
    OFFSET,
    PID,
    S32,
    SIZE,
    UINT,
    Argument,
    Bits,
    In,
    Named,
    OneOf,
    Out,
    Pointer,
    Sometimes,
    Unused,
)
from emu.linux.fileflags import AtFlags, OpenFlags, Whence
from emu.linux.layout import (
    FILLED_IOVEC,
    IOVEC,
    LATE_PATH,
    PATH,
    STRING,
    TEXT,
    TIMESPEC,
    TIMEVAL,
    Layout,
    Opaque,
    Struct,
)
from emu.linux.syscall import AT_ADDRESS, BYTES, PERMISSIONS, READY, ZERO, Restart, Returned, Syscall
from emu.syscalls.types import ARGV, ENVP, FILE_MODE, SIGNAL, SIGSET, WAIT_STATUS
from emu.trace.strace import Strace
from tests.booted import Booted
from tests.trace.test_trace_strace import calls

PAIR = Struct("pair", number=INT, _hidden=UINT, size=SIZE)
NUMBERS = Layout("numbers", "iI")


class Toy:
    """A module with one call, number 700, whose handler notes what it gets."""

    def __init__(self, arguments: tuple[Argument, ...], returns: Returned = ZERO, result: object = 0) -> None:
        self.got: list[tuple[Any, ...]] = []
        self._row = Syscall(700, "toy", self.handler, arguments, returns)
        self._result = result

    def handler(self, kernel: Kernel, task: Task, *arguments: Any) -> Any:
        """toy(2)."""
        self.got.append(arguments)
        return self._result

    def init(self, kernel: Kernel) -> None:
        """fs_initcall."""
        kernel.entry.register(self._row)


def run(toy: Toy, script: str) -> tuple[list[str], str]:
    """The lines of --strace about the call, and what the script printed."""
    machine, lines = Booted(), list[str]()
    toy.init(machine.kernel)
    machine.kernel.tracer = Strace(machine.kernel, lines.append)
    outcome = machine.outcome("calls", script)
    assert machine.audit() == []
    shown = [line for line in lines if "toy(" in line]
    return [re.sub(r"\) += ", ") = ", line) for line in shown], outcome.stdout


#: A type, the register, what the handler gets, how it is printed.
SCALARS: list[tuple[Argument, int | str, Any, str]] = [
    (INT, 0x1_FFFF_FFFE, -2, "-2"),
    (UINT, 0x1_FFFF_FFFE, 0xFFFF_FFFE, "4294967294"),
    (LONG, -5, -5, "-5"),
    (SIZE, 5, 5, "5"),
    (OFFSET, -5, -5, "-5"),
    (FD, 0x7_0000_0003, 3, "3"),
    (DIRFD, 0x7_FFFF_FF9C, -100, "AT_FDCWD"),
    (DIRFD, 5, 5, "5"),
    (PID, 0xFFFF_FFFF, -1, "-1"),
    (ID, -1, 0xFFFF_FFFF, "-1"),
    (ID, 0x9_0000_03E8, 1000, "1000"),
    (ADDRESS, 0, 0, "NULL"),
    (ADDRESS, 0x1000, 0x1000, "0x1000"),
    (HEX, 0x12_0000_0034, 0x12_0000_0034, "0x1200000034"),
    (HEX32, 0x12_0000_0034, 0x34, "0x34"),
    (MODE, 0x7_0001_01FF, 0o777, "0777"),
    (FILE_MODE, 0x100_0000_11B6, 0o10666, "S_IFIFO|0666"),
    (SIGNAL, 0x1_0000_0009, 9, "SIGKILL"),
    (Named(OpenFlags), 0x1_0000_0042, 0o102, "O_RDWR|O_CREAT"),
    (Named(AtFlags), 0x1_8000_0100, 0x8000_0100, "AT_SYMLINK_NOFOLLOW|0x80000000"),
    (Named(Whence), 0x1_0000_0002, 2, "SEEK_END"),
    (Named(Whence, S32), -7, -7, "0xfffffff9 /* SEEK_??? */"),
    (OneOf("P_", ALL=0), 0xFFFF_FFFF, -1, "0xffffffff /* P_??? */"),
    (Bits("A_", ONE=1, FOUR=4, zero="A_NONE"), 0x1_0000_0000, 0, "A_NONE"),
    (Bits("A_", ONE=1, FOUR=4, zero="A_NONE"), 7, 7, "A_ONE|A_FOUR|0x2"),
    (DESCRIPTOR_FLAGS, 0x80800, 0o2004000, "O_NONBLOCK|O_CLOEXEC"),
    (PATH, '"/a/b"', "/a/b", '"/a/b"'),
    (In(TEXT), '"five"', b"five", '"five"'),
    (In(TIMESPEC), "t", 2_000_000_003, "{tv_sec=2, tv_nsec=3}"),
    (In(TIMEVAL), "t", 2_000_003_000, "{tv_sec=2, tv_usec=3}"),
    (In(TIMESPEC, null=True), 0, None, "NULL"),
    (In(PAIR), "p", (7, 0, 9), "{number=7, size=9}"),
    (In(NUMBERS), "p", (7, 0), "ADDRESS"),
    (In(SIGSET), "p", 7, "[HUP INT QUIT]"),
    (In(WAIT_STATUS), "p", 7, "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGBUS}]"),
    (In(ARGV), "v", [b"five"], '["five"]'),
    (In(ENVP), "v", [b"five"], "ADDRESS /* 1 var */"),
]


@pytest.mark.parametrize(("kind", "register", "value", "shown"), SCALARS, ids=lambda kind: getattr(kind, "name", None))
def test_what_a_handler_gets(kind: Argument, register: int | str, value: Any, shown: str) -> None:
    toy = Toy((kind, SIZE))
    # t: 2 and 3; p: an int 7, nothing, and 9; s: a string; v: a vector with it
    start = "@t = words 2 3; @p = words 7 9; @s = words 0x65766966 0; @v = words s 0"
    lines, _ = run(toy, f"{start}; syscall 700 {register} 99")
    assert toy.got == [(value, 99)]
    assert [re.sub(r"0x4\w{5}", "ADDRESS", line) for line in lines] == [f"toy({shown}, 99) = 0"]


def test_memory_that_is_not_there() -> None:
    """EFAULT before the handler, and addresses in the line."""
    toy = Toy((PATH, In(PAIR), SIZE))
    lines, printed = run(toy, "syscall 700 16 32 5")
    assert toy.got == [] and printed == "syscall = EFAULT\n"
    assert lines == ["toy(0x10, 0x20, 5) = -1 EFAULT (Bad address)"]


def test_a_time_that_is_none() -> None:
    toy = Toy((In(TIMESPEC),))
    assert run(toy, "@t = words 1 1000000000; syscall 700 t; @t = words -1 0; syscall 700 t") == (
        [
            "toy({tv_sec=1, tv_nsec=1000000000}) = -1 EINVAL (Invalid argument)",
            "toy({tv_sec=-1, tv_nsec=0}) = -1 EINVAL (Invalid argument)",
        ],
        "syscall = EINVAL\nsyscall = EINVAL\n",
    )
    assert toy.got == []


def test_what_is_copied_out() -> None:
    """In the order of the arguments; they are printed when they are there."""
    toy = Toy((Out(PAIR), INT, Out(INT, null=True), Out(TIMESPEC)), result=((1, 0, 2), -3, 4_000_000_005))
    script = (
        "@p = bytes 16; @n = bytes 8; @t = bytes 16; syscall 700 p 6 n t; load p; load p+8; load n; load t; load t+8"
    )
    lines, printed = run(toy, script)
    assert toy.got == [(6,)]
    assert [line.partition(", 6, ")[0] for line in lines] == ["toy({number=1, size=2}"]
    assert lines[0].endswith(", {tv_sec=4, tv_nsec=5}) = 0")
    assert printed == "syscall = 0\nload = 1\nload = 2\nload = 0xfffffffd\nload = 4\nload = 5\n"
    lines, printed = run(toy, "@p = bytes 16; syscall 700 p 6 0 16")
    assert printed == "syscall = EFAULT\n" and re.fullmatch(r"toy\(0x\w+, 6, NULL, 0x10\) = -1 EFAULT .*", lines[0])


def test_a_string_that_is_copied_out() -> None:
    lines, printed = run(Toy((Out(TEXT),), result=b"name"), "@s = words -1 -1; syscall 700 s; text s")
    assert lines == ['toy("name") = 0'] and printed == "syscall = 0\ntext = name\n"


def test_what_a_handler_copies_itself() -> None:
    class Copying(Toy):
        def handler(self, kernel: Kernel, task: Task, *arguments: Any) -> Any:
            source, target = arguments
            PAIR.write(task.mm, target, tuple(reversed(PAIR.read(task.mm, source))))
            return 0

    toy = Copying((Pointer(PAIR), Pointer(PAIR, written=True)))
    lines, _ = run(toy, "@p = words 7 9; @q = bytes 16; syscall 700 p q")
    assert lines == ["toy({number=7, size=9}, {number=9, size=7}) = 0"]


def test_late_pointers_are_addresses() -> None:
    toy = Toy((LATE_PATH, STRING, Pointer(PAIR, shown=False), Pointer(Opaque("thing")), Pointer(NUMBERS)))
    lines, _ = run(toy, '@p = words 7 9; syscall 700 "/a" 16 p p p')
    assert len(toy.got) == 1 and all(isinstance(value, int) for value in toy.got[0])
    assert re.fullmatch(r'toy\("/a", 0x10, (0x\w+), \1, \1\) = 0', lines[0])


def test_buffers() -> None:
    """The argument behind one says how long it is, and of one that is filled the result how much of it."""
    toy = Toy((BUFFER, SIZE, FILLED, SIZE), BYTES, 2)
    lines, _ = run(toy, 'syscall 700 "in" 2 "output" 6; syscall 700 16 2 0 6')
    assert lines == ['toy("in", 2, "ou", 6) = 2', "toy(0x10, 2, NULL, 6) = 2"]
    failing = Toy((FILLED, SIZE), BYTES, -errno.EIO)
    lines, _ = run(failing, 'syscall 700 "output" 6')
    assert re.fullmatch(r"toy\(0x\w+, 6\) = -1 EIO \(Input/output error\)", lines[0])


def test_iovecs() -> None:
    toy = Toy((IOVEC, SIZE, FILLED_IOVEC, SIZE), BYTES, 3)
    script = "@a = words 0x6f7774656e6f; @v = words a 3 a+3 3; syscall 700 v 2 v 2; syscall 700 16 1 0 1"
    lines, _ = run(toy, script)
    once = '[{iov_base="one", iov_len=3}, {iov_base="two", iov_len=3}]'
    assert lines[0].startswith(f'toy({once}, 2, [{{iov_base="one", iov_len=3}}, {{iov_base="", iov_len=3}}], 2) = 3')
    assert lines[1] == "toy(0x10, 1, NULL, 1) = 3"


def test_arguments_that_are_not_looked_at() -> None:
    toy = Toy((UINT, Unused("nothing"), UINT, Sometimes(MODE, lambda flags: flags & 1)))
    lines, _ = run(toy, "syscall 700 1 2 0 0x10000001ed; syscall 700 1 2 1 0x10000001ed")
    assert toy.got == [(1, 2, 0, 0o755), (1, 2, 1, 0o755)]
    assert lines == ["toy(1, 0) = 0", "toy(1, 1, 0755) = 0"]


@pytest.mark.parametrize(
    ("returns", "result", "text"),
    [
        (ZERO, 0, "0"),
        (AT_ADDRESS, 0x1000, "0x1000"),
        (PERMISSIONS, 0o22, "022"),
        (READY, 0, "0 (Timeout)"),
        (READY, 2, "2"),
    ],
)
def test_results(returns: Returned, result: int, text: str) -> None:
    lines, _ = run(Toy((), returns, result), "syscall 700")
    assert lines == [f"toy() = {text}"]


def test_a_structure_is_laid_out_as_c_does() -> None:
    mixed = Struct("mixed", a=MODE, b=SIZE, c=INT)
    assert mixed.size == struct.calcsize("HQi0Q")
    assert mixed.pack(1, 2, 3) == struct.pack("HQi4x", 1, 2, 3)


@pytest.mark.parametrize("restart", list(Restart)[:4])
def test_the_row_says_whether_a_call_starts_again(restart: Restart) -> None:
    """read(2) under two signals whose handlers have SA_RESTART."""
    machine = Booted()
    read = machine.kernel.entry.lookup(0)
    assert read is not None
    machine.kernel.entry.register(read._replace(restart=restart), replace=True)
    first = "1" if restart is Restart.SYS else "EINTR"
    assert machine.outcome("restart", "pair", 1, 1).stdout == f"read: {first}, handlers 2\n"


# The two that look at what other arguments say


def test_the_argument_of_fcntl_is_what_the_command_says() -> None:
    assert calls("syscall 72 1 0 0x1000000005")[-1] == "fcntl(1, F_DUPFD, 5) = 5"
    assert calls("syscall 72 1 0x500000004 0x7700000801")[-1] == "fcntl(1, F_SETFL, O_WRONLY|O_NONBLOCK) = 0"
    assert (
        calls("syscall 72 1 99 0x1000000005")[-1]
        == "fcntl(1, 0x63 /* F_??? */, 0x1000000005) = -1 EINVAL (Invalid argument)"
    )


def test_a_mode_that_is_wider_than_a_mode() -> None:
    """The register of mknod's mode has 64 bits, the mode has 16."""
    assert calls('syscall 133 "/tmp/x" 0x100000011b6 0')[-1] == 'mknod("/tmp/x", S_IFIFO|0666) = 0'
