"""The accesses of a trace as DynamoRIO's memtrace (drmemtrace), as far as drcachesim simulates from it.

Records are 12 bytes: type, size, value (trace_entry_t of clients/drcachesim/common/trace_entry.h).  Of the types these
are written: HEADER, THREAD, PID, INSTR, READ, WRITE, MARKER, FOOTER; of the markers VERSION, PAGE_SIZE, TIMESTAMP,
CPU_ID, and PHYSICAL_ADDRESS before VIRTUAL_ADDRESS, whenever a page is first used or has another frame.  An instruction
has one byte, because its length is not known.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from emu.trace.formats.accesses import AccessStream, Instruction, One
from emu.trace.formats.sink import Write
from emu.trace.schema import Schema
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

RECORD = struct.Struct("<HHQ")
#: TRACE_ENTRY_VERSION_KERNEL_PC: the last one in which instructions have neither encodings nor kinds of branches.
VERSION = 3


class Type(IntEnum):
    """trace_type_t."""

    READ = 0
    WRITE = 1
    INSTR = 10
    THREAD = 22
    PID = 24
    HEADER = 25
    FOOTER = 26
    MARKER = 28


class Marker(IntEnum):
    """trace_marker_type_t, which stands where other records have a size."""

    TIMESTAMP = 2
    CPU_ID = 3
    VERSION = 12
    PHYSICAL_ADDRESS = 15
    VIRTUAL_ADDRESS = 17
    PAGE_SIZE = 18


_TYPES = {Access.READ: Type.READ, Access.WRITE: Type.WRITE}
_NS_PER_US = 1000


class Memtrace(AccessStream):
    """Writes the records of all processes, as they ran."""

    def __init__(self, write: Write) -> None:
        super().__init__(write)
        self._ran: tuple[int, int, int] | None = None
        #: By page; drcachesim has one such map for all processes.
        self._frames: dict[int, int] = {}

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._put(Type.HEADER, 0, VERSION)
        self._put(Type.MARKER, Marker.VERSION, VERSION)

    def end(self) -> None:
        super().end()
        self._put(Type.FOOTER, 0, 0)
        self.flush()

    def instruction(self, one: Instruction) -> None:
        if self._ran != (one.pid, one.tid, one.cpu):
            self._put(Type.THREAD, 4, one.tid)
            self._put(Type.PID, 4, one.pid)
            if self._ran is None:
                self._put(Type.MARKER, Marker.PAGE_SIZE, PAGE_SIZE)
            self._ran = one.pid, one.tid, one.cpu
            self._put(Type.MARKER, Marker.TIMESTAMP, one.time // _NS_PER_US)
            self._put(Type.MARKER, Marker.CPU_ID, one.cpu)
        for access in one.accesses:
            self._page(access)
        self._put(Type.INSTR, 1, one.ip)
        for access in one.accesses:
            if access.kind != Access.FETCH:
                self._put(_TYPES[Access(access.kind)], access.size, access.vaddr)

    def _page(self, access: One) -> None:
        if access.paddr is None:
            return
        page, frame = access.vaddr >> PAGE_SHIFT, access.paddr >> PAGE_SHIFT
        if self._frames.get(page) != frame:
            self._frames[page] = frame
            self._put(Type.MARKER, Marker.PHYSICAL_ADDRESS, frame << PAGE_SHIFT)
            self._put(Type.MARKER, Marker.VIRTUAL_ADDRESS, page << PAGE_SHIFT)

    def _put(self, type: int, size: int, value: int) -> None:
        self._pieces.put(RECORD.pack(type, size, value))
