"""Thrift's compact protocol as bytes (its specification, "Thrift Compact protocol encoding"): as much as is written
here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from emu.trace.formats.protobuf import varint


class Kind(IntEnum):
    """The type of a field's value."""

    TRUE = 1
    FALSE = 2
    I8 = 3
    I16 = 4
    I32 = 5
    I64 = 6
    BINARY = 8
    LIST = 9
    STRUCT = 12


class Value(NamedTuple):
    """A value and its type."""

    kind: Kind
    data: bytes


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def true_or_false(value: bool) -> Value:
    """A bool, whose type says which."""
    return Value(Kind.TRUE if value else Kind.FALSE, b"")


def i8(value: int) -> Value:
    """An i8."""
    return Value(Kind.I8, value.to_bytes(1, "little", signed=True))


def i16(value: int) -> Value:
    """An i16."""
    return Value(Kind.I16, _zigzag(value))


def i32(value: int) -> Value:
    """An i32, or an enum."""
    return Value(Kind.I32, _zigzag(value))


def i64(value: int) -> Value:
    """An i64."""
    return Value(Kind.I64, _zigzag(value))


def binary(value: bytes | str) -> Value:
    """Bytes, or text."""
    data = value.encode() if isinstance(value, str) else value
    return Value(Kind.BINARY, varint(len(data)) + data)


def several(values: Sequence[Value], kind: Kind) -> Value:
    """A list of values of one kind."""
    head = min(len(values), 15) << 4 | kind
    many = varint(len(values)) if len(values) >= 15 else b""
    return Value(Kind.LIST, bytes([head]) + many + b"".join(value.data for value in values))


def struct(fields: Mapping[int, Value | None]) -> Value:
    """A struct with these fields by number, which rise; without those that are None."""
    made, before = bytearray(), 0
    for number, value in fields.items():
        if value is not None:
            step = number - before
            made += bytes([step << 4 | value.kind]) if step < 16 else bytes([value.kind]) + _zigzag(number)
            made += value.data
            before = number
    return Value(Kind.STRUCT, bytes(made) + b"\0")
