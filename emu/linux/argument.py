"""What the registers of a system call hold: the types that the rows of the table are made of.

A type is everything that is known of such an argument, in one place: how much of the register counts, what the handler
gets for it, what is copied from the program's memory and to it, and how strace prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.linux.caller import UserMemory
from emu.linux.fileflags import AT_FDCWD, OpenFlags
from emu.linux.words import Choice, Flags, hexadecimal, named_bits, octal, pointer, quote, unknown

_MAX_SHOWN = 32


class View:
    """The process that calls, as who prints the call looks at it: nothing is faulted in, nothing changes."""

    def peek(self, address: int, length: int) -> bytes:
        """What the process would read, or less if the rest cannot be read."""
        raise NotImplementedError

    def string(self, address: int, limit: int) -> bytes | None:
        """The string there, cut at ``limit`` bytes; None if it cannot be read."""
        raise NotImplementedError

    def stack_pointer(self) -> int:
        """RSP."""
        raise NotImplementedError

    def ioctl(self, fd: int, request: int) -> Ioctl | None:
        """What the file behind the descriptor says of a request."""
        raise NotImplementedError


class Shown:
    """A call that is being printed."""

    def __init__(self, values: tuple[int, ...], view: View, result: int | None = None) -> None:
        #: All its arguments, decoded.
        self.values = values
        self.view = view
        #: None before the call returns, or if it does not return.
        self.result = result

    @property
    def failed(self) -> bool:
        """What the call should have written is not there."""
        return self.result is None or self.result < 0


class Width:
    """How much of a register counts: C's ``int`` is the low 32 bits, whatever a program left in those above."""

    __slots__ = ("size", "signed", "largest", "_mask")

    def __init__(self, size: int, *, signed: bool = False) -> None:
        self.size = size
        self.signed = signed
        self._mask = (1 << 8 * size) - 1
        #: Up to this a register's value is the argument's as it is.
        self.largest = self._mask >> signed

    def __call__(self, register: int) -> int:
        """The argument that a register holds."""
        value = register & self._mask
        return value - self._mask - 1 if value > self.largest else value


U16, S32, U32 = Width(2), Width(4, signed=True), Width(4)
S64, U64 = Width(8, signed=True), Width(8)

#: Makes a function known to the code that decodes a row; the name that it has there.
Bind = Callable[[Callable[..., Any]], str]


class Argument:
    """A type of argument."""

    #: What the table of calls in docs/ says.
    name: str
    width = U64
    #: It is in a register; what is not is only printed.
    in_register = True
    #: The call writes what it points at, so that it is printed once the call has returned.
    written = False

    def passed(self, register: str, bind: Bind) -> str | None:
        """What the handler gets for it, as an expression of the variable ``register``; None: nothing."""
        return register

    def stored(self, register: str, value: str, bind: Bind) -> str | None:
        """A statement that copies out what the handler returned; None if the handler does all that itself."""
        return None

    def chosen(self, at: int, values: tuple[int, ...], view: View) -> Argument | None:
        """The type as which it is printed, here that of the ``at``-th argument; None if the call does not look at
        it.
        """
        return self

    def text(self, at: int, call: Shown) -> str:
        """The ``at``-th argument of a call as strace prints it."""
        raise NotImplementedError


class Target:
    """What a pointer points at: a Scalar, or what emu.linux.layout has."""

    #: What the table of calls in docs/ says.
    name: str
    #: Whether who prints a pointer to it prints this, and not only the address.
    prints = False

    def read(self, memory: UserMemory, address: int) -> Any:
        """One from the program's memory (copy_from_user)."""
        raise NotImplementedError

    def write(self, memory: UserMemory, address: int, value: Any) -> None:
        """Store one in the program's memory (copy_to_user)."""
        raise NotImplementedError

    def text_at(self, view: View, address: int) -> str | None:
        """The one at an address as strace prints it; None if it cannot be read."""
        raise NotImplementedError


class Scalar(Argument, Target):
    """A number, in a register or in memory."""

    def __init__(self, name: str, width: Width, words: Callable[[int], str] = str, *, prints: bool = False) -> None:
        self.name = name
        self.width = width
        #: The number as strace prints it.
        self.words = words
        self.prints = prints

    @property
    def size(self) -> int:
        """In bytes."""
        return self.width.size

    def passed(self, register: str, bind: Bind) -> str | None:
        width = self.width
        if width is U64:
            return register
        return f"{register} if {register} <= {width.largest} else {bind(width)}({register})"

    def text(self, at: int, call: Shown) -> str:
        return self.words(call.values[at])

    def unpack(self, data: bytes) -> int:
        """The number that some bytes are."""
        return int.from_bytes(data, "little", signed=self.width.signed)

    def read(self, memory: UserMemory, address: int) -> int:
        return self.unpack(memory.read(address, self.width.size))

    def write(self, memory: UserMemory, address: int, value: int) -> None:
        memory.write(address, value.to_bytes(self.width.size, "little", signed=self.width.signed))

    def text_at(self, view: View, address: int) -> str | None:
        data = view.peek(address, self.width.size)
        return self.words(self.unpack(data)) if len(data) == self.width.size else None


class Named(Scalar):
    """Flags or a choice, by their names."""

    def __init__(self, kind: type[Flags] | type[Choice], width: Width = U32) -> None:
        super().__init__(f"{kind.prefix}*", width, kind.words)


class Bits(Scalar):
    """A few flags that one call has for itself: ``Bits("MS_", ASYNC=1, SYNC=4)``; ``zero`` stands for none of them."""

    def __init__(self, prefix: str, *, name: str = "", zero: str = "0", width: Width = U32, **flags: int) -> None:
        names = {bit: prefix + flag for flag, bit in flags.items()}
        super().__init__(name or f"{prefix}*", width, lambda value: named_bits(value, names, zero))


class OneOf(Scalar):
    """One of a few numbers (an ``int``), likewise."""

    def __init__(self, prefix: str, **numbers: int) -> None:
        names = {number: prefix + name for name, number in numbers.items()}
        super().__init__(f"{prefix}*", S32, lambda value: names.get(value) or unknown(value, prefix))


class Pointer(Argument):
    """A pointer that the handler gets as an address: it copies itself, at the time when Linux does, through
    ``target.read`` and ``target.write``.
    """

    def __init__(self, target: Target, *, written: bool = False, null: bool = False, shown: bool = True) -> None:
        self.target = target
        #: Whether what it points at is printed, and not only the address.
        self.shown = shown and target.prints
        self.written = written and self.shown
        #: Whether it may be NULL.
        self.null = null
        self.name = f"{target.name} *" + (", written" if written else "") + (", may be NULL" if null else "")

    def text(self, at: int, call: Shown) -> str:
        address = call.values[at]
        if not address or not self.shown or (self.written and call.failed):
            return pointer(address)
        return self.target.text_at(call.view, address) or pointer(address)


class Ioctl:
    """A request of ioctl(2) that a kind of file knows: its name, and the structure that its argument points at."""

    def __init__(self, name: str, target: Target, *, written: bool = False) -> None:
        self.name = name
        self.target = target
        self.argument = Pointer(target, written=written)


class In(Pointer):
    """A pointer that is followed before anything else happens: the handler gets what is there, None for NULL."""

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
    """Bytes whose number the next argument says; if they are ``written``, the result is how many."""

    def __init__(self, *, written: bool = False) -> None:
        self.written = written
        self.name = "buffer, written" if written else "buffer"

    def text(self, at: int, call: Shown) -> str:
        address = call.values[at]
        if not self.written:
            return shown_buffer(call.view, address, call.values[at + 1])
        if not address or call.failed:
            return pointer(address)
        return shown_buffer(call.view, address, call.result or 0)


class Sometimes(Argument):
    """An argument that the call looks at only for some values of the one before it."""

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
    """A register that is not printed, or with another one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def chosen(self, at: int, values: tuple[int, ...], view: View) -> Argument | None:
        return None


def shown_buffer(view: View, address: int, length: int) -> str:
    """The first of ``length`` bytes, or their address if they cannot be read."""
    data = view.peek(address, min(length, _MAX_SHOWN))
    if not data and length:
        return pointer(address)
    return quote(data, cut=length > len(data))


def _directory(fd: int) -> str:
    return "AT_FDCWD" if fd == AT_FDCWD else str(fd)


INT, UINT = Scalar("int", S32), Scalar("unsigned int", U32)
LONG, SIZE = Scalar("long", S64), Scalar("size", U64)
#: An offset in a file.
OFFSET = Scalar("offset", S64)
FD, DIRFD = Scalar("fd", S32), Scalar("dirfd", S32, _directory)
PID = Scalar("pid", S32)
#: A user or a group; -1 changes nothing.
ID = Scalar("id", U32, lambda value: str(value if value <= S32.largest else S32(value)))
#: An address that nothing more is known of.
ADDRESS = Scalar("address", U64, pointer)
HEX, HEX32 = Scalar("unsigned long", U64, hexadecimal), Scalar("unsigned int", U32, hexadecimal)
#: Permission bits (umode_t).
MODE = Scalar("mode", U16, octal)
#: Flags of open(2), of a call that makes descriptors of its own kind (pipe2, dup3).
DESCRIPTOR_FLAGS = Scalar("O_*", U32, OpenFlags.descriptor_words)
BUFFER, FILLED = Buffer(), Buffer(written=True)
