"""The declaration of a system call: one row, from which everything else is derived.

A row has the number, the name, the handler, the types of the arguments, what the result is, and what a signal does to a
call that waits.  The entry into the kernel (emu.kernel.entry) decodes and copies by the row, the printers print by it,
and docs/syscalls.md is generated from it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.linux.argument import Argument
from emu.linux.likeness import Likeness
from emu.linux.words import hexadecimal, octal

if TYPE_CHECKING:
    from emu.linux.wait import WaitQueue

#: What a handler returns: a result (>= 0), or a generator that yields what it waits for and returns the result.
Result = int | Generator["WaitQueue | tuple[WaitQueue | None, int | None]", None, int]
#: The six registers that hold arguments: RDI, RSI, RDX, R10, R8, R9.
Registers = tuple[int, int, int, int, int, int]


class Restart(Enum):
    """What a signal does to a call that waits (include/linux/errno.h; signal(7) says which call does what)."""

    #: The call starts again if the handler has SA_RESTART.
    SYS = "ERESTARTSYS"
    #: EINTR after any handler; it goes on if none runs.
    NOHAND = "ERESTARTNOHAND"
    #: EINTR after any handler; without a handler the call continues with the time that was left, which Linux keeps.
    BLOCK = "ERESTART_RESTARTBLOCK"
    #: EINTR after any signal.
    INTR = "EINTR"
    #: Only SIGKILL ends the wait.
    UNINTERRUPTIBLE = "killable only"


class RestartByTimeout:
    """Restart.SYS, and Restart.BLOCK if the argument at a position, a pointer to a timeout, is not NULL."""

    def __init__(self, position: int) -> None:
        self.position = position


class RestartByFlag:
    """Restart.NOHAND, which the same arguments do for, if the argument at a position has a flag; else Restart.BLOCK."""

    def __init__(self, position: int, flag: int) -> None:
        self.position, self.flag = position, flag


class Returned:
    """The meaning of a call's result."""

    def __init__(
        self, name: str, words: Callable[[int], str] = str, *, likeness: Likeness = Likeness.EXACT
    ) -> None:  # fmt: skip
        #: The result in the table of calls in docs/.
        self.name = name
        self._words = words
        #: How it compares with the result in another run.
        self.likeness = likeness

    def text(self, result: int, values: tuple[int, ...]) -> str:
        """A result that is not an error, as strace prints it; ``values`` are the arguments of the call."""
        return self._words(result)


ZERO, NUMBER, NEVER = Returned("0"), Returned("number"), Returned("does not return")
DESCRIPTOR, BYTES, IDENTITY = Returned("fd"), Returned("bytes"), Returned("id")
#: The number of a task or a process: the handler returns the machine's, and the caller gets its namespace's.
PROCESS = Returned("pid", likeness=Likeness.TASK)
AT_ADDRESS, PERMISSIONS = Returned("address", hexadecimal, likeness=Likeness.MAPPED), Returned("mode", octal)
#: How many descriptors are ready; 0 after a timeout.
READY = Returned("number ready", lambda result: str(result or "0 (Timeout)"))


class Syscall(NamedTuple):
    """One system call (numbers: arch/x86/entry/syscalls/syscall_64.tbl)."""

    number: int
    name: str
    #: ``handler(kernel, task, ...)`` with the values that the types of the arguments give.
    handler: Callable[..., Any]
    arguments: tuple[Argument, ...] = ()
    returns: Returned = ZERO
    #: None: the call never waits.
    restart: Restart | RestartByTimeout | RestartByFlag | None = None

    @property
    def in_registers(self) -> int:
        """How many registers hold arguments."""
        return sum(argument.in_register for argument in self.arguments)

    def restarts_as(self, registers: tuple[int, ...]) -> Restart | None:
        """What a signal does to this call with these arguments."""
        if isinstance(self.restart, RestartByTimeout):
            return Restart.BLOCK if registers[self.restart.position] else Restart.SYS
        if isinstance(self.restart, RestartByFlag):
            return Restart.NOHAND if registers[self.restart.position] & self.restart.flag else Restart.BLOCK
        return self.restart


def _shown(task: Any, result: Result) -> Result:
    """The number of a process as the caller's PID namespace has it."""
    if isinstance(result, int):
        shown: int = task.sees(result)
        return shown
    return _shown_later(task, result)


def _shown_later(task: Any, result: Generator[Any, None, int]) -> Generator[Any, None, int]:
    number = yield from result
    shown: int = task.sees(number)
    return shown


@lru_cache(maxsize=1024)
def _compiled(source: str, name: str) -> CodeType:
    """Once for all machines of a process."""
    return compile(source, name, "exec")


#: A system call, given its registers: the result or generator of its handler.  LinuxError if it fails.
Enter = Callable[[Any, Any, Registers], Any]


def compile_entry(call: Syscall) -> Enter:
    """The function that decodes the registers of a call, follows its pointers, calls the handler, and copies its result
    out.  It is made by exec() because the entry is the hot path of every program.  For ``fstat`` it is::

        def enter(kernel, task, registers):
            a, b, c, d, e, f = registers
            rb = handler(kernel, task, a if a <= 2147483647 else f1(a))
            f2(task.mm, b, rb)
            return 0
    """
    names: dict[str, Any] = {"handler": call.handler}

    def bind(function: Callable[..., Any]) -> str:
        name = f"f{len(names)}"
        names[name] = function
        return name

    passed, results, copies = ["kernel", "task"], [], []
    for register, argument in zip("abcdef", call.arguments, strict=False):
        if not isinstance(argument, Argument):
            kind = type(argument).__name__
            raise TypeError(f"{call.name}: a {kind} is no argument; In(), Out() or Pointer() takes what is in memory")
        expression = argument.passed(register, bind)
        if expression is not None:
            passed.append(expression)
        copy = argument.stored(register, f"r{register}", bind)
        if copy is not None:
            results.append(f"r{register}")
            copies.append(copy)
    called = f"handler({', '.join(passed)})"
    body = [f"{', '.join(results)} = {called}", *copies, "return 0"] if copies else [f"return {called}"]
    if call.returns is PROCESS:
        body = [f"result = {called}", f"return result if task.pid_ns is None else {bind(_shown)}(task, result)"]
    if call.arguments:
        body.insert(0, "a, b, c, d, e, f = registers")
    source = "\n ".join(["def enter(kernel, task, registers):", *body])
    exec(_compiled(source, f"<entry of {call.name}>"), names)
    enter: Enter = names["enter"]
    return enter
