"""How strace writes one argument of a call: the parts of which the tables of this package are made."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from emu.linux.argument import S32, U32, Shown, View, shown_buffer
from emu.linux.fileflags import PAGE_SIZE, PATH_MAX
from emu.linux.words import hexadecimal, named_bits, pointer, quote, unknown

#: Members of an array that are shown.
MOST_SHOWN = 32
#: Of a structure: the text of a value, or None for a field that is not shown.
Words = Callable[[Any], str]
#: The text of the ``at``-th argument of a call.
Text = Callable[[int, Shown], str]


class Form(NamedTuple):
    """How an argument is written, and whether the call has to return before (strace prints what it has written)."""

    text: Text
    written: bool = False


#: Of a call, by position; None hides an argument that the call does not look at.
Forms = Mapping[int, Form | None]


class Record:
    """A structure in memory: the layout of the struct module, and its fields by name.

    ``rest``: whether strace leaves out further fields, with dots.
    """

    def __init__(self, layout: str, *fields: tuple[str, Words], rest: bool = False) -> None:
        self._struct = struct.Struct("<" + layout)
        self._fields = fields
        self._rest = ", ..." if rest else ""
        self.size = self._struct.size

    def words(self, values: tuple[Any, ...]) -> str:
        """The structure with these values; fields without a name are not shown."""
        fields = zip(self._fields, values, strict=False)
        shown = [f"{name}={words(value)}" for (name, words), value in fields if name]
        return "{" + ", ".join(shown) + self._rest + "}"

    def text_of(self, data: bytes) -> str:
        """The structure in these bytes."""
        return self.words(self._struct.unpack(data))

    def text_at(self, view: View, address: int) -> str | None:
        """The structure at an address; None if it cannot be read."""
        data = view.peek(address, self.size)
        return self.text_of(data) if len(data) == self.size else None


class Box(Record):
    """A number in memory, which is shown in brackets."""

    def __init__(self, layout: str, words: Words = str) -> None:
        super().__init__(layout)
        self._words = words

    def words(self, values: tuple[Any, ...]) -> str:
        return f"[{self._words(values[0])}]"


class Bare(Box):
    """A number that is a member of an array."""

    def words(self, values: tuple[Any, ...]) -> str:
        return self._words(values[0])


INT, UINT, LONG, ULONG = Box("i"), Box("I"), Box("q"), Box("Q")
PLACE = Box("Q", pointer)


# -- numbers -------------------------------------------------------------------------------------------------------


def number(words: Words) -> Form:
    """An argument that is not in memory."""
    return Form(lambda at, call: words(call.values[at]))


def signed(value: int) -> str:
    """The low half of a register as an ``int``."""
    return str(S32(value))


def unsigned(value: int) -> str:
    """The low half of a register as an ``unsigned int``."""
    return str(U32(value))


def hexed(value: int) -> str:
    """Hexadecimal digits, as strace has them of a number that it knows nothing of."""
    return hexadecimal(value)


SIGNED, UNSIGNED, DECIMAL, HEXED, ADDRESS = (number(words) for words in (signed, unsigned, str, hexed, pointer))


def escaped(data: bytes) -> str:
    """Bytes in quotation marks, each as a number."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def names_of(prefix: str, text: str, first: int = 0) -> dict[int, str]:
    """Names behind a prefix for the numbers from ``first`` on; ``-`` stands for a number without a name."""
    return {at: prefix + name for at, name in enumerate(text.split(), first) if name != "-"}


def bits_of(prefix: str, text: str, first: int = 0) -> dict[int, str]:
    """Names behind a prefix for the bits from bit ``first`` on."""
    return {1 << at: name for at, name in names_of(prefix, text, first).items()}


def one_of(names: Mapping[int, str], prefix: str) -> Words:
    """One of several numbers, by name."""
    return lambda value: names.get(U32(value)) or names.get(S32(value)) or unknown(value, prefix)


def flags(names: Mapping[int, str], prefix: str, zero: str = "0") -> Words:
    """Bits by their names."""
    return lambda value: named_bits(value, names, zero, prefix)


# -- memory --------------------------------------------------------------------------------------------------------


def pointed(record: Record, view: View, address: int) -> str:
    """A structure, or its address if it cannot be read."""
    return (record.text_at(view, address) if address else None) or pointer(address)


def owner(value: int) -> str:
    """A user or a group; -1 stands for none."""
    return "-1" if U32(value) == U32.largest else str(U32(value))


def given(record: Record) -> Form:
    """A pointer to a structure that the call reads."""
    return Form(lambda at, call: pointed(record, call.view, call.values[at]))


def got(record: Record) -> Form:
    """A pointer to a structure that the call writes."""

    def text(at: int, call: Shown) -> str:
        return pointer(call.values[at]) if call.failed else pointed(record, call.view, call.values[at])

    return Form(text, written=True)


def changed(record: Record) -> Form:
    """A pointer to a structure that the call reads and writes: shown as the call leaves it."""
    return Form(lambda at, call: pointed(record, call.view, call.values[at]), written=True)


def beyond(view: View, address: int, known: int, size: int) -> str:
    """What is in a structure of ``size`` bytes behind those that are known, unless it is all zeros."""
    if size <= known:
        return ""
    size = min(size, PAGE_SIZE)
    data = view.peek(address + known, size - known)
    if not any(data) and len(data) == size - known:
        return ""
    if not data:
        return f", ... /* {address + known:#x} */"
    cut = "..." if size - known > MOST_SHOWN else ""
    return f", /* bytes {known}..{size - 1} */ {escaped(data[:MOST_SHOWN])}{cut}"


def listed(record: Record, view: View, address: int, count: int) -> str:
    """An array of structures, or its address if it cannot be read."""
    if not address:
        return "NULL"
    shown = min(max(count, 0), MOST_SHOWN)
    data = view.peek(address, shown * record.size)
    whole = len(data) // record.size
    if shown and not whole:
        return pointer(address)
    texts = [record.text_of(data[at : at + record.size]) for at in range(0, whole * record.size, record.size)]
    if whole < shown:
        texts.append(f"... /* {address + whole * record.size:#x} */")
    elif count > shown:
        texts.append("...")
    return f"[{', '.join(texts)}]"


def array(record: Record, count: Callable[[Shown], int], *, written: bool = False, most: int = 1 << 32) -> Form:
    """A pointer to an array of so many structures; of more than ``most`` the call reads none."""

    def text(at: int, call: Shown) -> str:
        if count is not result and count(call) == 0 and call.values[at]:
            return "[]"
        if (written and call.failed) or count(call) > most:
            return pointer(call.values[at])
        return listed(record, call.view, call.values[at], count(call))

    return Form(text, written)


def argument(at: int) -> Callable[[Shown], int]:
    """The number of members that an argument gives."""
    return lambda call: S32(call.values[at])


def result(call: Shown) -> int:
    """The number of members that the call returns."""
    return max(call.result or 0, 0)


def buffer(length: int | Callable[[Shown], int]) -> Form:
    """Bytes that the call reads, whose number is another argument."""

    def text(at: int, call: Shown) -> str:
        size = call.values[length] if isinstance(length, int) else length(call)
        return shown_buffer(call.view, call.values[at], size) if call.values[at] else "NULL"

    return Form(text)


def filled(length: Callable[[Shown], int] = result) -> Form:
    """Bytes that the call has written; as many as it returns, unless ``length`` says otherwise."""

    def text(at: int, call: Shown) -> str:
        if call.failed or not call.values[at]:
            return pointer(call.values[at])
        return shown_buffer(call.view, call.values[at], length(call))

    return Form(text, written=True)


def string(limit: int | None = 32) -> Form:
    """A string that the call reads."""
    return Form(lambda at, call: string_at(call.view, call.values[at], limit))


def string_at(view: View, address: int, limit: int | None = 32) -> str:
    """A string, or its address if it cannot be read."""
    found = view.string(address, PATH_MAX) if address else None
    return pointer(address) if found is None else quote(found, min(limit or PATH_MAX, PATH_MAX - 1))


def text_field(limit: int | None = None) -> Words:
    """A string in an array of characters."""
    return lambda data: quote(data.partition(b"\0")[0], limit)
