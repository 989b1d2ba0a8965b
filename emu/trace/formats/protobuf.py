"""Protocol buffers as bytes (protobuf.dev, "Encoding"): as much as is written here."""

from __future__ import annotations

from functools import lru_cache

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_WORD = (1 << 64) - 1


def varint(value: int) -> bytes:
    """A number, seven bits a byte; a negative one is that of 64 bits with the same bits."""
    return _SMALL[value] if 0 <= value < 0x80 else _large(value & _WORD)


@lru_cache(1 << 14)
def _large(value: int) -> bytes:
    """The same, and the same numbers come again and again: addresses, entries, tracks."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


_SMALL = tuple(bytes([value]) for value in range(0x80))
_FIELDS = range(64)
_NUMBERS, _FIXED, _CHUNKS = (
    tuple(varint(field << 3 | wire_type) for field in _FIELDS) for wire_type in (_VARINT, _FIXED64, _BYTES)
)


def number(field: int, value: int) -> bytes:
    """A field of a type such as uint64, bool or an enum."""
    return _NUMBERS[field] + (_SMALL[value] if 0 <= value < 0x80 else _large(value & _WORD))


def fixed64(field: int, value: int) -> bytes:
    """A field of type fixed64."""
    return _FIXED[field] + value.to_bytes(8, "little")


def chunk(field: int, data: bytes) -> bytes:
    """A field that is text, bytes or another message."""
    return _CHUNKS[field] + varint(len(data)) + data


def text(field: int, value: str) -> bytes:
    """A field of type string."""
    return chunk(field, value.encode("utf-8", "backslashreplace"))
