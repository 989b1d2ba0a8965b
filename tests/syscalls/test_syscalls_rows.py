"""The rows of the table of system calls: registers wrap in one place, and everything else is made of the rows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import emu.syscalls
from emu.linux import unistd
from emu.linux.argument import INT, S32, S64, U16, U32, U64, Ioctl, View
from emu.linux.caller import Credentials
from emu.linux.layout import TEXT
from emu.linux.syscall import Registers, Restart, RestartByTimeout, Syscall, compile_entry
from emu.linux.syscall_names import NAMES, name_of
from emu.syscalls import NUMBERS, all_tables, table_of
from emu.syscalls.__main__ import table
from emu.trace.arguments import CallArguments
from msharefs.abi_g4 import DescriptorCalls
from msharefs.calls import MshareCalls
from tests.booted import Booted

ROOT = Path(__file__).parents[2]


def rows() -> list[Syscall]:
    """Those of the kernel, and those of msharefs."""
    kernel: Any = SimpleNamespace(entry=SimpleNamespace())
    ours = (call for subject in all_tables() for call in subject)
    return [*ours, *MshareCalls(kernel, []).table, *DescriptorCalls([]).table]


ROWS = rows()


class Memory:
    """User memory that holds zeros, and short strings."""

    def read(self, address: int, length: int) -> bytes:
        return bytes(length)

    def write(self, address: int, data: bytes) -> None:
        raise AssertionError("a handler that was not run has nothing to store")

    def read_cstring(self, address: int, limit: int = 4096) -> bytes:
        return b"text"


class Nothing(View):
    """A process of which nothing can be read."""

    def peek(self, address: int, length: int) -> bytes:
        return b""

    def string(self, address: int, limit: int) -> bytes | None:
        return None

    def stack_pointer(self) -> int:
        return 0

    def ioctl(self, fd: int, request: int) -> Ioctl | None:
        return None


class Called(Exception):
    """The handler has been reached."""


def decoded(call: Syscall, registers: Registers) -> tuple[Any, ...]:
    """What the handler gets."""

    def handler(kernel: object, task: object, *arguments: object) -> object:
        raise Called(arguments)

    with pytest.raises(Called) as called:
        compile_entry(call._replace(handler=handler))(
            None, SimpleNamespace(mm=Memory(), credentials=Credentials(), pid_ns=None), registers
        )
    arguments = called.value.args[0]
    assert isinstance(arguments, tuple)
    return arguments


def shown(call: Syscall, registers: Registers) -> list[str]:
    """How strace prints the arguments, before the call and once it has returned 0."""
    arguments = CallArguments(Nothing(), call.arguments, registers[: call.in_registers])
    before = arguments.before()
    return before + arguments.after(len(before), 0)


def six(values: list[int]) -> Registers:
    a, b, c, d, e, f = (values + [0] * 6)[:6]
    return a, b, c, d, e, f


@pytest.mark.parametrize("call", ROWS, ids=lambda call: call.name)
def test_what_is_above_an_argument_is_not_looked_at(call: Syscall) -> None:
    for value in (0, 1, 2, 3, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFF9C, 0xFFFFFFFF):
        clean, dirty = [], []
        for argument in call.arguments:
            bits = 8 * argument.width.size
            clean.append(value & (1 << bits) - 1)
            dirty.append(clean[-1] | 0xDEADBEEFCAFEF00D << bits & (1 << 64) - 1)
        assert decoded(call, six(dirty)) == decoded(call, six(clean))
        assert shown(call, six(dirty)) == shown(call, six(clean))


def test_what_a_width_gives() -> None:
    for width, low, high in ((U16, 0, 2**16 - 1), (U32, 0, 2**32 - 1), (S32, -(2**31), 2**31 - 1)):
        for register in (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1):
            value = width(register)
            assert low <= value <= high and (value - register) % (1 << 8 * width.size) == 0
    assert U64((1 << 64) - 1) == (1 << 64) - 1 and S64((1 << 64) - 1) == -1


def test_numbers_and_names() -> None:
    """Each number once, and those without a row have their names elsewhere."""
    kernel = {call.number: call.name for subject in all_tables() for call in subject}
    assert len(kernel) == sum(len(subject) for subject in all_tables())
    assert [number for number in sorted(kernel) if number in NAMES] == [], (
        "these have rows now: take them out of emu/linux/syscall_names.py"
    )
    assert sorted(kernel.keys() | NAMES.keys()) == [*range(335), *range(424, 470)]
    assert (name_of(134), name_of(172), name_of(999)) == ("uselib", "iopl", "#999")


@pytest.mark.parametrize("subject", NUMBERS)
def test_a_subject_has_the_numbers_that_are_listed(subject: str) -> None:
    assert sorted(call.number for call in table_of(subject)) == sorted(NUMBERS[subject])


def test_every_subject_is_listed() -> None:
    modules = {
        path.stem for path in Path(emu.syscalls.__path__[0]).glob("*.py") if "\nTABLE" in path.read_text("utf-8")
    }
    assert modules == NUMBERS.keys()


def test_the_table_in_docs_is_current() -> None:
    assert (ROOT / "docs" / "syscalls.md").read_text("utf-8") == table(), (
        "run python -m emu.syscalls > docs/syscalls.md"
    )


# What a signal does: signal(7), "Interruption of system calls and library functions by signal handlers"

NEVER_STARTED_AGAIN = {
    "io_getevents", "io_pgetevents", "io_submit", "io_uring_enter",
    "poll", "select", "pselect6", "ppoll", "pause", "rt_sigsuspend", "rt_sigtimedwait", "nanosleep", "clock_nanosleep",
    "semop", "semtimedop", "msgsnd", "msgrcv",
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "restart_syscall",
}  # fmt: skip
STARTED_AGAIN = {
    "read", "readv", "write", "writev", "open", "openat", "wait4", "waitid", "flock", "fcntl", "futex",
}  # fmt: skip


def test_what_starts_again() -> None:
    classes = {call.name: call.restarts_as((0,) * 6) for call in ROWS}
    assert {name for name, kind in classes.items() if kind in (Restart.NOHAND, Restart.BLOCK, Restart.INTR)} == (
        NEVER_STARTED_AGAIN
    )
    assert {name for name, kind in classes.items() if kind is Restart.SYS} >= STARTED_AGAIN
    assert {name for name, kind in classes.items() if kind is Restart.UNINTERRUPTIBLE} == {
        "clone",
        "clone3",
        "vfork",
        "mremap",
    }


def test_a_wait_for_a_futex_starts_again_if_it_has_no_timeout() -> None:
    (futex,) = (call for call in ROWS if call.name == "futex")
    assert isinstance(futex.restart, RestartByTimeout)
    assert futex.restarts_as((0x1000, 0, 0, 0, 0, 0)) is Restart.SYS
    assert futex.restarts_as((0x1000, 0, 0, 0x2000, 0, 0)) is Restart.BLOCK


def test_a_call_that_waits_says_what_a_signal_does() -> None:
    def wait(kernel: object, task: object) -> Iterator[object]:
        yield None

    machine = Booted()
    machine.kernel.entry.register(Syscall(800, "wait", wait))
    with pytest.raises(AssertionError, match="wait waits, and its row does not say what a signal does"):
        machine.outcome("calls", "syscall 800")


def test_what_is_in_memory_is_no_argument() -> None:
    arguments: Any = (INT, TEXT)
    with pytest.raises(TypeError, match="toy: a String is no argument; In"):
        compile_entry(Syscall(800, "toy", print, arguments))


# No handler does it again


def modules() -> list[Path]:
    return sorted([*(ROOT / "emu" / "syscalls").glob("*.py"), *(ROOT / "msharefs").glob("*.py")])


def masks(tree: ast.AST) -> Iterator[int]:
    """The lines on which something is cut to 32 bits."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("s32", "s64", "u32"):
            yield node.lineno
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.BitAnd):
            sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
            if any(isinstance(side, ast.Constant) and side.value == 0xFFFFFFFF for side in sides):
                yield node.lineno


@pytest.mark.parametrize("path", modules(), ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_handler_cuts_a_register(path: Path) -> None:
    assert list(masks(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize("source", ["fd = s32(fd)", "flags & 0xFFFFFFFF", "0xFFFF_FFFF & x", "flags &= 0xFFFFFFFF"])
def test_a_cut_is_found(source: str) -> None:
    assert list(masks(ast.parse(source))) == [1]


def test_the_numbers_that_the_kernel_knows_have_the_names_of_their_rows() -> None:
    known = {name.removeprefix("NR_").lower(): number for name, number in vars(unistd).items() if name[:3] == "NR_"}
    rows = {call.name: call.number for call in ROWS}
    assert known and known == {name: rows.get(name) for name in known}
