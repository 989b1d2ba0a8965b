"""The targets of system-call pointers: structures, strings, arrays."""

from __future__ import annotations

import errno
import struct
from typing import Any

from emu.linux.argument import LONG, Argument, In, Pointer, Scalar, Shown, Target, View, shown_buffer
from emu.linux.caller import UserMemory
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PATH_MAX
from emu.linux.words import STRING_LIMIT, pointer, quote

_MAX_SHOWN = 32
_NS = 1_000_000_000
_LETTERS = {(2, False): "H", (4, True): "i", (4, False): "I", (8, True): "q", (8, False): "Q"}


class Opaque(Target):
    """A target that the handler reads or writes in its own way."""

    def __init__(self, name: str) -> None:
        self.name = name


class Layout(Target):
    """A structure as the struct module writes it: a tuple of its fields.  Printed as its address."""

    def __init__(self, name: str, layout: str) -> None:
        self.name = name
        self._struct = struct.Struct("<" + layout)
        #: In bytes.
        self.size = self._struct.size
        self.pack, self.unpack = self._struct.pack, self._struct.unpack

    def read(self, memory: UserMemory, address: int) -> Any:
        return self.unpack(memory.read(address, self.size))

    def write(self, memory: UserMemory, address: int, value: Any) -> None:
        memory.write(address, self.pack(*value))

    def read_array(self, memory: UserMemory, address: int, count: int) -> list[tuple[Any, ...]]:
        """Read ``count`` consecutive structures; for 0 no memory is read."""
        return list(self._struct.iter_unpack(memory.read(address, count * self.size))) if count else []

    def text_at(self, view: View, address: int) -> str | None:
        data = view.peek(address, self.size)
        return self.words(self.unpack(data)) if len(data) == self.size else None

    def words(self, values: tuple[Any, ...]) -> str:
        """Its fields as strace prints them."""
        raise NotImplementedError


class Struct(Layout):
    """A structure of typed fields with the alignment of C; printed field by field, except those whose name begins with
    ``_``.
    """

    prints = True

    def __init__(self, name: str, **fields: Scalar) -> None:
        self._fields = fields
        layout, end = "", 0
        for field in fields.values():
            padding = -end % field.size
            layout += "x" * padding + _LETTERS[field.size, field.width.signed]
            end += padding + field.size
        widest = max(field.size for field in fields.values())
        super().__init__(name, layout + "x" * (-end % widest))

    def words(self, values: tuple[Any, ...]) -> str:
        fields = zip(self._fields.items(), values, strict=True)
        texts = [f"{name}={field.words(value)}" for (name, field), value in fields if name[0] != "_"]
        return "{" + ", ".join(texts) + "}"


class Time(Struct):
    """A time in seconds and fractions; handlers get it in nanoseconds."""

    def __init__(self, name: str, fraction: str, ns: int, *, carries: bool = False) -> None:
        super().__init__(name, tv_sec=LONG, **{fraction: LONG})
        #: Nanoseconds of a unit of the fraction.
        self._ns = ns
        #: Whether a fraction may be more than a second.
        self._carries = carries

    def read(self, memory: UserMemory, address: int) -> int:
        """A timeout or a deadline.  LinuxError(EINVAL) if it is negative or the fraction is a second or more."""
        return self.decode(memory.read(address, self.size))

    def write(self, memory: UserMemory, address: int, value: int) -> None:
        memory.write(address, self.encode(value))

    def decode(self, data: bytes) -> int:
        """The time in the bytes of the structure.  LinuxError(EINVAL)."""
        seconds, fraction = self.unpack(data)
        if seconds < 0 or fraction < 0 or (fraction * self._ns >= _NS and not self._carries):
            raise LinuxError(errno.EINVAL)
        return int(seconds) * _NS + int(fraction) * self._ns

    def encode(self, value: int) -> bytes:
        """The bytes of the structure."""
        return self.pack(value // _NS, value % _NS // self._ns)


class String(Target):
    """A NUL-terminated string; printed up to ``shown`` bytes."""

    prints = True

    def __init__(self, name: str, limit: int = PATH_MAX, *, shown: int | None = STRING_LIMIT) -> None:
        self.name = name
        self._limit = limit
        self._shown = shown

    def read(self, memory: UserMemory, address: int) -> Any:
        """Its bytes; LinuxError(ENAMETOOLONG) beyond the limit."""
        return memory.read_cstring(address, self._limit)

    def write(self, memory: UserMemory, address: int, value: Any) -> None:
        """Store the bytes and a NUL."""
        memory.write(address, value + b"\0")

    def text_at(self, view: View, address: int) -> str | None:
        text = view.string(address, PATH_MAX)
        return None if text is None else quote(text, self._shown)


class PathName(String):
    """A path (getname): a ``str``, which can represent every byte string."""

    def __init__(self) -> None:
        super().__init__("path", shown=None)

    def read(self, memory: UserMemory, address: int) -> str:
        return memory.read_cstring(address, PATH_MAX).decode("utf-8", "surrogateescape")


class Iovec(Argument):
    """An array of buffers; the next argument says how many."""

    def __init__(self, *, written: bool = False) -> None:
        self.written = written
        self.name = "iovec *, buffers written" if written else "iovec *"

    def text(self, at: int, call: Shown) -> str:
        address, count = call.values[at], call.values[at + 1]
        filled = max(call.result or 0, 0) if self.written else None
        if not address and not self.written:
            return pointer(address)
        return self._pieces(call.view, address, count, filled) or pointer(address)

    @staticmethod
    def _pieces(view: View, address: int, count: int, filled: int | None) -> str | None:
        """``filled`` bytes of the buffers hold data; None: all."""
        texts = []
        for n in range(min(count, _MAX_SHOWN)):
            data = view.peek(address + 16 * n, 16)
            if len(data) < 16:
                return None
            base, length = struct.unpack("<2Q", data)
            held = length if filled is None else min(length, filled)
            filled = None if filled is None else filled - held
            unused = not base or (filled is not None and not held)
            shown = pointer(base) if unused else shown_buffer(view, base, held)
            texts.append(f"{{iov_base={shown}, iov_len={length}}}")
        return "[" + ", ".join(texts) + (", ...]" if count > _MAX_SHOWN else "]")


TIMESPEC, TIMEVAL = Time("timespec", "tv_nsec", 1), Time("timeval", "tv_usec", 1000, carries=True)
PATHNAME, TEXT = PathName(), String("string")
#: A path that is read before anything else happens; the handler gets a ``str``.
PATH = In(PATHNAME)
#: A path that the handler reads itself, since Linux checks other arguments first or AT_EMPTY_PATH allows NULL.
LATE_PATH = Pointer(PATHNAME)
STRING = Pointer(TEXT)
#: An iovec: address, length.
PIECE = Layout("iovec", "QQ")
IOVEC, FILLED_IOVEC = Iovec(), Iovec(written=True)
