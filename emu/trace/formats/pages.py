"""Parquet's files (its specification: README.md, Encodings.md, parquet.thrift), written as quickly as events come.

A column of a row group is one page with a dictionary before it, or, where that is no shorter, with plain values, or
with the differences of numbers.  pyarrow, which writes any table, takes 0.4 µs for the columns of an event.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.columns import COLUMNS, Column, arrow_schema
from emu.trace.encoder import Encoded
from emu.trace.formats.protobuf import varint
from emu.trace.formats.thrift import Kind, Value, binary, i8, i16, i32, i64, several, struct, true_or_false
from mmu.host_array import HostArray
from mmu.objectcode import load

MAGIC = b"PAR1"


class _Type(IntEnum):
    """A physical type."""

    INT32 = 1
    INT64 = 2
    BYTE_ARRAY = 6


class _Encoding(IntEnum):
    PLAIN = 0
    RLE = 3
    DELTA_BINARY_PACKED = 5
    RLE_DICTIONARY = 8


_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_OPTIONAL = 1
_ZSTD = 6
#: parquet.thrift: ConvertedType.
_CONVERTED = {"uint8": 11, "uint16": 12, "uint32": 13, "uint64": 14, "dict": 0, "string": 0}
_SIGNED = ("int32", "int64")


def _physical(column: Column) -> _Type:
    if column.type in ("dict", "string"):
        return _Type.BYTE_ARRAY
    return _Type.INT64 if column.type in ("uint64", "int64") else _Type.INT32


class _Page(NamedTuple):
    """A page with its header."""

    data: bytes
    #: Its size as it would be without compression.
    plain: int


class Pages:
    """Makes row groups of columns, and what a file ends with.

    ``sought`` are columns by whose least and largest values readers leave row groups out.
    """

    def __init__(self, most: int, sought: Sequence[str]) -> None:
        """``most``: rows of a group."""
        self._codec = pa.Codec("zstd", compression_level=1)
        self._sought = sought
        self._packed = HostArray(most * 9 + 4096, "B")
        library = load("emu.trace.packing")
        self._bits, self._indices, self._deltas = (
            library[name].call for name in ("pack_bits", "pack_indices", "pack_deltas")
        )
        self._groups: list[Value] = []
        self._rows = 0
        #: Pages of columns that have nothing, by their rows.
        self._empty: dict[int, _Page] = {}

    def group(self, at: int, columns: Sequence[Encoded]) -> bytes:
        """A row group, which begins ``at`` this place of the file."""
        pieces: list[bytes] = []
        chunks: list[Value] = []
        start, plain = at, 0
        for encoded in columns:
            dictionary, page, encodings = self._chunk(encoded)
            pages = [each for each in (dictionary, page) if each is not None]
            size, whole = sum(len(each.data) for each in pages), sum(each.plain for each in pages)
            behind = at + (0 if dictionary is None else len(dictionary.data))
            metadata = {
                1: i32(_physical(encoded.column)),
                2: several([*map(i32, encodings)], Kind.I32),
                3: several([binary(encoded.column.name)], Kind.BINARY),
                4: i32(_ZSTD),
                5: i64(encoded.rows),
                6: i64(whole),
                7: i64(size),
                9: i64(behind),
                11: None if dictionary is None else i64(at),
                12: self._statistics(encoded),
            }
            chunks.append(struct({2: i64(0), 3: struct(metadata)}))
            pieces += [each.data for each in pages]
            at, plain = at + size, plain + whole
        rows = columns[0].rows
        ordinal = i16(len(self._groups)) if len(self._groups) < 1 << 15 else None
        self._groups.append(
            struct(
                {
                    1: several(chunks, Kind.STRUCT),
                    2: i64(plain),
                    3: i64(rows),
                    5: i64(start),
                    6: i64(at - start),
                    7: ordinal,
                }
            )
        )
        self._rows += rows
        return b"".join(pieces)

    def _chunk(self, encoded: Encoded) -> tuple[_Page | None, _Page, Sequence[_Encoding]]:
        count, rows = len(encoded.values), encoded.rows
        if not count:
            if rows not in self._empty:
                self._empty[rows] = self._data(rows, self._levels(encoded), _Encoding.PLAIN)
            return None, self._empty[rows], (_Encoding.PLAIN, _Encoding.RLE)
        levels = self._levels(encoded)
        address = encoded.values.ctypes.data
        if encoded.dictionary is None:
            deltas = self._taken(self._deltas(address, count, self._packed.address))
            return None, self._data(rows, levels + deltas, _Encoding.DELTA_BINARY_PACKED), (
                _Encoding.RLE, _Encoding.DELTA_BINARY_PACKED,
            )  # fmt: skip
        distinct = len(encoded.dictionary)
        width = max(1, (distinct - 1).bit_length())
        if not isinstance(encoded.dictionary, list):
            bits = 8 * (8 if _physical(encoded.column) == _Type.INT64 else 4)
            if distinct * bits + count * width >= count * bits:
                values = _plain(encoded.column, encoded.dictionary[encoded.values])
                return None, self._data(rows, levels + values, _Encoding.PLAIN), (_Encoding.PLAIN, _Encoding.RLE)
            known = _plain(encoded.column, encoded.dictionary)
        else:
            known = b"".join(len(text).to_bytes(4, "little") + text for text in encoded.dictionary)
        if distinct == 1:
            indices = varint(count << 1) + b"\0"  # a run of the first
        else:
            indices = self._taken(self._indices(address, count, width, self._packed.address))
        page = self._data(rows, levels + bytes([width]) + indices, _Encoding.RLE_DICTIONARY)
        head = {7: struct({1: i32(distinct), 2: i32(_Encoding.PLAIN), 3: true_or_false(False)})}
        dictionary = self._page(_DICTIONARY_PAGE, known, head)
        return dictionary, page, (_Encoding.PLAIN, _Encoding.RLE, _Encoding.RLE_DICTIONARY)

    def _levels(self, encoded: Encoded) -> bytes:
        """Which rows have a value."""
        packed = self._taken(self._bits(encoded.valid.ctypes.data, encoded.rows, self._packed.address))
        return len(packed).to_bytes(4, "little") + packed

    def _taken(self, size: int) -> bytes:
        return bytes(self._packed.bytes[:size])

    def _data(self, rows: int, content: bytes, encoding: _Encoding) -> _Page:
        head = {1: i32(rows), 2: i32(encoding), 3: i32(_Encoding.RLE), 4: i32(_Encoding.RLE)}
        return self._page(_DATA_PAGE, content, {5: struct(head)})

    def _page(self, kind: int, content: bytes, head: Mapping[int, Value]) -> _Page:
        compressed: bytes = self._codec.compress(content, asbytes=True)
        header = struct({1: i32(kind), 2: i32(len(content)), 3: i32(len(compressed)), **head}).data
        return _Page(header + compressed, len(header) + len(content))

    def _statistics(self, encoded: Encoded) -> Value | None:
        if encoded.column.name not in self._sought:
            return None
        nulls = i64(encoded.rows - len(encoded.values))
        numbers: Any = encoded.values if encoded.dictionary is None else encoded.dictionary
        if not len(numbers):
            return struct({3: nulls})
        most, least = (binary(_plain(encoded.column, np.array([each]))) for each in (numbers.max(), numbers.min()))
        return struct({3: nulls, 5: most, 6: least})

    def end(self, at: int, metadata: Mapping[bytes, bytes], writer: str) -> bytes:
        """The footer, which begins ``at`` this place of the file."""
        arrow = base64.b64encode(arrow_schema().with_metadata(dict(metadata)).serialize().to_pybytes())
        pairs = [struct({1: binary(key), 2: binary(value)}) for key, value in metadata.items()]
        pairs.append(struct({1: binary("ARROW:schema"), 2: binary(arrow)}))
        root = struct({3: i32(0), 4: binary("schema"), 5: i32(len(COLUMNS))})
        order = struct({1: struct({})})  # TypeDefinedOrder
        elements = several([root, *map(_element, COLUMNS)], Kind.STRUCT)
        groups, told = several(self._groups, Kind.STRUCT), several(pairs, Kind.STRUCT)
        orders = several([order] * len(COLUMNS), Kind.STRUCT)
        footer = struct(
            {1: i32(2), 2: elements, 3: i64(self._rows), 4: groups, 5: told, 6: binary(writer), 7: orders}
        ).data
        return footer + len(footer).to_bytes(4, "little") + MAGIC


def _plain(column: Column, numbers: npt.NDArray[Any]) -> bytes:
    """Numbers one after the other."""
    return numbers.astype(np.uint64 if _physical(column) == _Type.INT64 else np.uint32).tobytes()


def _element(column: Column) -> Value:
    """A column of the schema."""
    logical = None
    if column.type in ("dict", "string"):
        logical = struct({1: struct({})})
    elif column.type not in _SIGNED:
        logical = struct({10: struct({1: i8(int(column.type[4:])), 2: true_or_false(False)})})
    converted = _CONVERTED.get(column.type)
    return struct({
        1: i32(_physical(column)), 3: i32(_OPTIONAL), 4: binary(column.name),
        6: None if converted is None else i32(converted), 10: logical,
    })  # fmt: skip
