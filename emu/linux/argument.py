"""The types of system-call arguments, of which the rows of the system-call table are made.

A type says everything about an argument in one place: how many bits of the register count, what the handler gets, what
is copied from and to the program's memory, how strace prints it, and how it compares with the same argument of another
run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from emu.linux.caller import UserMemory
from emu.linux.fileflags import AT_FDCWD, OpenFlags
from emu.linux.likeness import Likeness, Part
from emu.linux.words import Choice, Flags, hexadecimal, named_bits, octal, pointer, quote, unknown

_MAX_SHOWN = 32
#: What a call moves at most (MAX_RW_COUNT is 2 GiB): more of a buffer is not compared.
_MAX_COMPARED = 16 << 20


class View:
    """A printer's view of the calling process: reading it faults nothing in and changes nothing."""

    def peek(self, address: int, length: int) -> bytes:
        """The bytes that the process would read, or fewer if the rest cannot be read."""
        raise NotImplementedError

    def string(self, address: int, limit: int) -> bytes | None:
        """The string at the address, cut at ``limit`` bytes; None if it cannot be read."""
        raise NotImplementedError

    def stack_pointer(self) -> int:
        """RSP."""
        raise NotImplementedError

    def ioctl(self, fd: int, request: int) -> Ioctl | None:
        """The declaration of an ioctl request by the file behind the descriptor."""
        raise NotImplementedError


class Shown:
    """A call that is being printed."""

    def __init__(
        self, values: tuple[int, ...], view: View, result: int | None = None, before: Mapping[int, str] | None = None
    ) -> None:
        #: All its arguments, decoded.
        self.values = values
        self.view = view
        #: None before the call returns, or if it does not return.
        self.result = result
        #: By position, what some arguments pointed at when the call began.
        self.before = before or {}

    @property
    def failed(self) -> bool:
        """The output of the call cannot be read."""
        return self.result is None or self.result < 0


class Width:
    """How much of a register counts: C's ``int`` is the low 32 bits, whatever a program left in those above."""

    __slots__ = ("size", "signed", "largest", "_mask")

    def __init__(self, size: int, *, signed: bool = False) -> None:
        self.size = size
        self.signed = signed
        self._mask = (1 << 8 * size) - 1
        #: The largest register value that is the argument's value unchanged.
        self.largest = self._mask >> signed

    def __call__(self, register: int) -> int:
        """The argument that a register holds."""
        value = register & self._mask
        return value - self._mask - 1 if value > self.largest else value


U16, S32, U32 = Width(2), Width(4, signed=True), Width(4)
S64, U64 = Width(8, signed=True), Width(8)

#: Makes a function available to the code that decodes a row; returns its name there.
Bind = Callable[[Callable[..., Any]], str]


class Argument:
    """A type of argument."""

    #: The type in the table of calls in docs/.
    name: str
    width = U64
    #: Whether the argument is in a register; one that is not is only printed.
    in_register = True
    #: Whether the call writes what the argument points at, which is then printed once the call has returned.
    written = False

    def passed(self, register: str, bind: Bind) -> str | None:
        """The value for the handler, as an expression of the variable ``register``; None: the handler gets nothing."""
        return register

    def stored(self, register: str, value: str, bind: Bind) -> str | None:
        """A statement that copies out what the handler returned; None if the handler copies out itself."""
        return None

    def chosen(self, at: int, values: tuple[int, ...], view: View) -> Argument | None:
        """The type to print the ``at``-th argument as; None if the call does not look at it."""
        return self

    def text(self, at: int, call: Shown) -> str:
        """The ``at``-th argument of a call as strace prints it."""
        raise NotImplementedError

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        """What is compared of the ``at``-th argument when a call begins."""
        return ()

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        """What is compared of what a call that has not failed wrote where its ``at``-th argument points."""
        return ()


class Target:
    """The target of a pointer: a Scalar, or a type of emu.linux.layout."""

    #: The type in the table of calls in docs/.
    name: str
    #: Whether a pointer to it is printed as its target, not only as the address.
    prints = False

    def read(self, memory: UserMemory, address: int) -> Any:
        """Read a value from the program's memory (copy_from_user)."""
        raise NotImplementedError

    def write(self, memory: UserMemory, address: int, value: Any) -> None:
        """Store a value in the program's memory (copy_to_user)."""
        raise NotImplementedError

    def text_at(self, view: View, address: int) -> str | None:
        """The value at an address as strace prints it; None if it cannot be read."""
        raise NotImplementedError

    def parts_at(self, view: View, address: int) -> Iterable[Part]:
        """What is compared of the value at an address; nothing if it cannot be read."""
        return ()


class Scalar(Argument, Target):
    """A number, in a register or in memory."""

    def __init__(
        self, name: str, width: Width, words: Callable[[int], str] = str, *, prints: bool = False,
        likeness: Likeness = Likeness.EXACT,
    ) -> None:  # fmt: skip
        self.name = name
        self.width = width
        self.likeness = likeness
        #: The number as strace prints it.
        self.words = words
        self.prints = prints

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.width.size

    def passed(self, register: str, bind: Bind) -> str | None:
        width = self.width
        if width is U64:
            return register
        return f"{register} if {register} <= {width.largest} else {bind(width)}({register})"

    def text(self, at: int, call: Shown) -> str:
        return self.words(call.values[at])

    def unpack(self, data: bytes) -> int:
        """The number that the bytes encode."""
        return int.from_bytes(data, "little", signed=self.width.signed)

    def read(self, memory: UserMemory, address: int) -> int:
        width = self.width  # as unpack() does
        return int.from_bytes(memory.read(address, width.size), "little", signed=width.signed)

    def write(self, memory: UserMemory, address: int, value: int) -> None:
        memory.write(address, value.to_bytes(self.width.size, "little", signed=self.width.signed))

    def text_at(self, view: View, address: int) -> str | None:
        data = view.peek(address, self.width.size)
        return self.words(self.unpack(data)) if len(data) == self.width.size else None

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        return (Part(self.name, self.likeness, call.values[at]),)

    def parts_at(self, view: View, address: int) -> Iterable[Part]:
        data = view.peek(address, self.width.size)
        return (Part(self.name, self.likeness, self.unpack(data)),) if len(data) == self.width.size else ()


class OwnerId(Scalar):
    """A user ("uid") or a group ("gid") as the caller's user namespace numbers it, for the handler the machine's;
    -1 changes nothing.  LinuxError(EINVAL) for one that it does not have.
    """

    def __init__(self, kind: str) -> None:
        super().__init__("id", U32, lambda value: "-1" if value == U32.largest else str(value))
        self._kind = kind

    def passed(self, register: str, bind: Bind) -> str | None:
        plain = super().passed(register, bind)
        kind = self._kind

        def down(task: Any, value: int) -> int:
            found: int = task.credentials.down(kind, value)
            return found

        return f"({plain}) if task.credentials.user_ns is None else {bind(down)}(task, {plain})"


class ProcessId(Scalar):
    """The number of a task or a process (negative: of a group) as the caller's PID namespace has it; the handler gets
    the machine's.
    """

    def __init__(self) -> None:
        super().__init__("pid", S32, likeness=Likeness.TASK)

    def passed(self, register: str, bind: Bind) -> str | None:
        plain = super().passed(register, bind)
        return f"({plain}) if task.pid_ns is None else task.means({plain})"


class Named(Scalar):
    """Flags, or one of several values, printed by name."""

    def __init__(self, kind: type[Flags] | type[Choice], width: Width = U32) -> None:
        super().__init__(f"{kind.prefix}*", width, kind.words)


class Bits(Scalar):
    """A few flags of a single call: ``Bits("MS_", ASYNC=1, SYNC=4)``; ``zero`` stands for none of them."""

    def __init__(self, prefix: str, *, name: str = "", zero: str = "0", width: Width = U32, **flags: int) -> None:
        names = {bit: prefix + flag for flag, bit in flags.items()}
        super().__init__(name or f"{prefix}*", width, lambda value: named_bits(value, names, zero, prefix))


class OneOf(Scalar):
    """One of a few numbers (an ``int``) of a single call."""

    def __init__(self, prefix: str, **numbers: int) -> None:
        names = {number: prefix + name for name, number in numbers.items()}
        super().__init__(f"{prefix}*", S32, lambda value: names.get(value) or unknown(value, prefix))


class Pointer(Argument):
    """A pointer that the handler gets as an address: the handler itself copies through ``target.read`` and
    ``target.write``, at the time when Linux does.
    """

    def __init__(self, target: Target, *, written: bool = False, null: bool = False, shown: bool = True) -> None:
        self.target = target
        #: Whether its target is printed, not only the address.
        self.shown = shown and target.prints
        self.written = written and self.shown
        #: Whether the call writes its target, printed or not.
        self.fills = written
        #: Whether the pointer may be NULL.
        self.null = null
        self.name = f"{target.name} *" + (", written" if written else "") + (", may be NULL" if null else "")

    def text(self, at: int, call: Shown) -> str:
        address = call.values[at]
        if not address or not self.shown or (self.written and call.failed):
            return pointer(address)
        return self.target.text_at(call.view, address) or pointer(address)

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        address = call.values[at]
        yield Part(self.name, Likeness.PLACE, address)
        if address and not self.fills:
            yield from self.target.parts_at(call.view, address)

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        address = call.values[at]
        return self.target.parts_at(call.view, address) if address and self.fills else ()


class Ioctl:
    """An ioctl(2) request of a kind of file: its name, and the structure that its argument points at."""

    def __init__(self, name: str, target: Target, *, written: bool = False) -> None:
        self.name = name
        self.target = target
        self.argument = Pointer(target, written=written)


class In(Pointer):
    """A pointer that is followed before anything else happens: the handler gets its target, None for NULL."""

    def __init__(self, target: Target, *, null: bool = False) -> None:
        super().__init__(target, null=null)

    def passed(self, register: str, bind: Bind) -> str | None:
        copied = f"{bind(self.target.read)}(task.mm, {register})"
        return f"{copied} if {register} else None" if self.null else copied


class Out(Pointer):
    """A pointer to what the handler returns; the result of the call is then 0."""

    def __init__(self, target: Target, *, null: bool = False) -> None:
        super().__init__(target, written=True, null=null)

    def passed(self, register: str, bind: Bind) -> str | None:
        return None

    def stored(self, register: str, value: str, bind: Bind) -> str | None:
        copy = f"{bind(self.target.write)}(task.mm, {register}, {value})"
        return f"if {register}: {copy}" if self.null else copy


class Buffer(Argument):
    """Bytes, whose number is the next argument; if the call writes them (``written``), its result is how many."""

    def __init__(self, *, written: bool = False, likeness: Likeness = Likeness.EXACT) -> None:
        self.written = written
        self._likeness = likeness
        self.name = "buffer, written" if written else "buffer"

    def text(self, at: int, call: Shown) -> str:
        address = call.values[at]
        if not self.written:
            return shown_buffer(call.view, address, call.values[at + 1])
        if not address or call.failed:
            return pointer(address)
        return shown_buffer(call.view, address, min(call.result or 0, call.values[at + 1]))

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        if not self.written and call.values[at]:
            yield Part(self.name, self._likeness, call.view.peek(call.values[at], compared(call.values[at + 1])))

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        if self.written and call.values[at]:
            yield Part(self.name, self._likeness, call.view.peek(call.values[at], compared(call.result or 0)))


class Sometimes(Argument):
    """An argument that the call looks at only for some values of the argument before it."""

    def __init__(self, argument: Argument, when: Callable[[int], object]) -> None:
        self.name = f"{argument.name}, or unused"
        self.width = argument.width
        self._argument = argument
        self._when = when

    def passed(self, register: str, bind: Bind) -> str | None:
        return self._argument.passed(register, bind)

    def chosen(self, at: int, values: tuple[int, ...], view: View) -> Argument | None:
        return self._argument if self._when(values[at - 1]) else None


class Unused(Argument):
    """A register that is not printed, or is printed with another one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def chosen(self, at: int, values: tuple[int, ...], view: View) -> Argument | None:
        return None


def compared(count: int) -> int:
    """As many bytes of a buffer of ``count`` are compared, which may be more than there are."""
    return max(0, min(count, _MAX_COMPARED))


def shown_buffer(view: View, address: int, length: int) -> str:
    """The first of ``length`` bytes, or their address if they cannot be read."""
    if not address:
        return pointer(address)
    data = view.peek(address, min(length, _MAX_SHOWN))
    if len(data) < min(length, _MAX_SHOWN):
        return pointer(address)
    return quote(data, cut=length > len(data))


def _directory(fd: int) -> str:
    return "AT_FDCWD" if fd == AT_FDCWD else str(fd)


INT, UINT = Scalar("int", S32), Scalar("unsigned int", U32)
LONG, SIZE = Scalar("long", S64), Scalar("size", U64)
#: An offset in a file.
OFFSET = Scalar("offset", S64)
FD, DIRFD = Scalar("fd", S32), Scalar("dirfd", S32, _directory)
PID = ProcessId()
#: A user and a group; -1 changes nothing.  The last is for who looks at the namespace himself.
UID, GID = OwnerId("uid"), OwnerId("gid")
ID = Scalar("id", U32, UID.words)
#: An address of unknown contents.
ADDRESS = Scalar("address", U64, pointer, likeness=Likeness.PLACE)
#: The address of a mapping, or of a place in one.
MAPPING = Scalar("address", U64, pointer, likeness=Likeness.MAPPED)
HEX, HEX32 = Scalar("unsigned long", U64, hexadecimal), Scalar("unsigned int", U32, hexadecimal)
#: Permission bits (umode_t).
MODE = Scalar("mode", U16, octal)
#: Flags of open(2), of a call that makes descriptors of its own kind (pipe2, dup3).
DESCRIPTOR_FLAGS = Scalar("O_*", U32, OpenFlags.descriptor_words)
BUFFER, FILLED = Buffer(), Buffer(written=True)
#: Milliseconds to wait: none (0), or for ever (negative).
WAIT_MS = Scalar("int", S32, likeness=Likeness.WAIT)
