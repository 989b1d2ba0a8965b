"""Protocol buffers as bytes (protobuf.dev, "Encoding"): as much as is written here."""

from __future__ import annotations

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_WORD = (1 << 64) - 1


def varint(value: int) -> bytes:
    """A number, seven bits a byte; a negative one is that of 64 bits with the same bits."""
    value &= _WORD
    if value < 0x80:
        return _SMALL[value]
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


_SMALL = [bytes([value]) for value in range(0x80)]


def number(field: int, value: int) -> bytes:
    """A field of a type such as uint64, bool or an enum."""
    return varint(field << 3 | _VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A field of type fixed64."""
    return varint(field << 3 | _FIXED64) + value.to_bytes(8, "little")


def chunk(field: int, data: bytes) -> bytes:
    """A field that is text, bytes or another message."""
    return varint(field << 3 | _BYTES) + varint(len(data)) + data


def text(field: int, value: str) -> bytes:
    """A field of type string."""
    return chunk(field, value.encode("utf-8", "backslashreplace"))
