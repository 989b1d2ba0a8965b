"""The targets of system-call pointers: structures, strings, arrays."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from emu.linux.argument import S64, Argument, In, Pointer, Scalar, Shown, Target, View, compared, shown_buffer
from emu.linux.caller import UserMemory
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE, PATH_MAX
from emu.linux.likeness import Likeness, Part
from emu.linux.words import STRING_LIMIT, pointer, quote

_MAX_SHOWN = 32
#: UIO_MAXIOV, and more bytes than any memory has.
_MAX_PIECES, _ALL = 1024, 1 << 63
_NS = 1_000_000_000
_LETTERS = {(2, False): "H", (4, True): "i", (4, False): "I", (8, True): "q", (8, False): "Q"}


class Opaque(Target):
    """A target that the handler reads or writes in its own way."""

    def __init__(self, name: str) -> None:
        self.name = name


class Layout(Target):
    """A structure as the struct module writes it: a tuple of its fields.  Printed as its address.

    ``likeness``: how its fields compare with those of another run: all, or ``fields``, by name, at their positions.
    """

    def __init__(
        self, name: str, layout: str, *, likeness: Likeness = Likeness.FREE, fields: Mapping[str, int] | None = None
    ) -> None:
        self.name = name
        self.likeness = likeness
        self._compared = fields
        self._struct = struct.Struct("<" + layout)
        #: In bytes.
        self.size = self._struct.size
        self.pack, self.unpack = self._struct.pack, self._struct.unpack

    def read(self, memory: UserMemory, address: int) -> Any:
        return self.unpack(memory.read(address, self.size))

    def write(self, memory: UserMemory, address: int, value: Any) -> None:
        memory.write(address, self.pack(*value))

    def check_size(self, size: int, first: int | None = None) -> None:
        """The size that a program knows of a structure that grows; its ``first`` version may have been shorter.
        LinuxError(E2BIG, EINVAL).
        """
        if size > PAGE_SIZE:
            raise LinuxError(errno.E2BIG)
        if size < (self.size if first is None else first):
            raise LinuxError(errno.EINVAL)

    def read_sized(self, memory: UserMemory, address: int, size: int, first: int | None = None) -> Any:
        """Read a structure of such a size: what a shorter one does not have is 0, and what is not known of a longer one
        must be 0 (copy_struct_from_user).  LinuxError(E2BIG, EINVAL).
        """
        self.check_size(size, first)
        data = memory.read(address, size)
        if any(data[self.size :]):
            raise LinuxError(errno.E2BIG)
        return self.unpack(data[: self.size].ljust(self.size, b"\0"))

    def read_array(self, memory: UserMemory, address: int, count: int) -> list[tuple[Any, ...]]:
        """Read ``count`` consecutive structures; for 0 no memory is read."""
        return list(self._struct.iter_unpack(memory.read(address, count * self.size))) if count else []

    def text_at(self, view: View, address: int) -> str | None:
        data = view.peek(address, self.size)
        return self.words(self.unpack(data)) if len(data) == self.size else None

    def words(self, values: tuple[Any, ...]) -> str:
        """Its fields as strace prints them."""
        raise NotImplementedError

    def parts_at(self, view: View, address: int) -> Iterable[Part]:
        data = view.peek(address, self.size)
        return self.parts(self.unpack(data)) if len(data) == self.size else ()

    def parts(self, values: tuple[Any, ...]) -> Iterable[Part]:
        """What is compared of its fields."""
        if self.likeness is Likeness.FREE:
            return ()
        fields = {f"{self.name}[{n}]": n for n in range(len(values))} if self._compared is None else self._compared
        return [Part(name, self.likeness, values[at]) for name, at in fields.items()]


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

    def parts(self, values: tuple[Any, ...]) -> Iterable[Part]:
        fields = zip(self._fields.items(), values, strict=True)
        return [Part(name, field.likeness, value) for (name, field), value in fields]


_TIME = Scalar("long", S64, likeness=Likeness.FREE)
#: Programs give negative ones by mistake, and strace takes them to be unsigned.
_FRACTION = Scalar("long", S64, lambda value: str(value & 0xFFFFFFFFFFFFFFFF), likeness=Likeness.FREE)


class Time(Struct):
    """A time in seconds and fractions; handlers get it in nanoseconds."""

    def __init__(self, name: str, fraction: str, ns: int, *, carries: bool = False) -> None:
        super().__init__(name, tv_sec=_TIME, **{fraction: _FRACTION})
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
        return None if text is None else quote(text, min(self._shown or PATH_MAX, PATH_MAX - 1))

    def parts_at(self, view: View, address: int) -> Iterable[Part]:
        text = view.string(address, PATH_MAX)
        return () if text is None else (Part(self.name, Likeness.EXACT, text),)


class PathName(String):
    """A path (getname): a ``str``, which can represent every byte string."""

    def __init__(self) -> None:
        super().__init__("path", shown=None)

    def read(self, memory: UserMemory, address: int) -> str:
        return memory.read_cstring(address, PATH_MAX).decode("utf-8", "surrogateescape")


class Array(Pointer):
    """An array of structures, whose bytes are compared; the next argument says how many."""

    def __init__(self, kind: Layout) -> None:
        super().__init__(Opaque(kind.name))
        self._size = kind.size

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        yield from super().given(at, call)
        address, count = call.values[at : at + 2]
        yield Part(self.name, Likeness.EXACT, call.view.peek(address, compared(self._size * count)))


class Iovec(Argument):
    """An array of buffers; the next argument says how many."""

    def __init__(self, *, written: bool = False) -> None:
        self.written = written
        self.name = "iovec *, buffers written" if written else "iovec *"

    def text(self, at: int, call: Shown) -> str:
        address, count = call.values[at], call.values[at + 1]
        filled = -1 if call.failed else call.result
        if not self.written:
            filled = None
        if not address:
            return pointer(address)
        return self.pieces(call.view, address, count, filled) or pointer(address)

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        if not self.written:
            yield buffers(call.view, call.values[at], call.values[at + 1])

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        if self.written:
            yield buffers(call.view, call.values[at], call.values[at + 1], max(call.result or 0, 0))

    @staticmethod
    def pieces(view: View, address: int, count: int, filled: int | None) -> str | None:
        """The buffers, of which ``filled`` bytes hold data (None: all; negative: the call has failed, and only their
        addresses are shown); None if they cannot be read.
        """
        texts = []
        for n in range(min(count, _MAX_SHOWN)):
            data = view.peek(address + 16 * n, 16)
            if len(data) < 16:
                return None
            base, length = struct.unpack("<2Q", data)
            unused = not base or (filled is not None and filled < 0)
            held = length if filled is None else min(length, max(filled, 0))
            filled = None if filled is None else filled - held
            shown = pointer(base) if unused else shown_buffer(view, base, held)
            texts.append(f"{{iov_base={shown}, iov_len={length}}}")
        return "[" + ", ".join(texts) + (", ...]" if count > _MAX_SHOWN else "]")


def buffers(view: View, address: int, pieces: int, count: int = _ALL) -> Part:
    """The bytes of all the buffers of an iovec, which are compared as one; ``count``: the first of them."""
    vector = view.peek(address, PIECE.size * max(0, min(pieces, _MAX_PIECES)))
    found, left = b"", count
    for base, length in struct.iter_unpack("<2Q", vector[: len(vector) // PIECE.size * PIECE.size]):
        found += view.peek(base, compared(min(length, left)))
        left -= min(length, left)
    return Part("buffers", Likeness.EXACT, found)


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
