"""Page tables for a stream that has none: each page is mapped when it is first used, by a policy.

Pages are writable, executable, accessed and dirty from the start: what is counted depends on the TLB and on the size of
pages alone.  An address space has tables of its own; going from one to another loads CR3, without PCIDs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum

import numpy as np

from emu.lab.batch import CONTROL, Batch, Controls, Op, Register, StreamError, controls_of
from emu.lab.page_policy_loop import NO_MEMORY, REMEMBERED, Mapper
from mmu.host_array import HostArray
from mmu.memory import PAGE_SIZE, PhysicalMemory
from mmu.objectcode import load

#: The memory for tables: enough for those of 8 TiB of pages of 4K.
TABLE_BYTES = 16 << 30
_FIRST_PAGE = 1 << 40
#: So that the identity has room for the upper half of the address space.
_PHYSICAL_BITS = 52
_CONTROLS = 1 << 14


class PagePolicy(Enum):
    """What size pages have, and where they are."""

    FOUR_K = "4k"  # 4 KiB, one frame after the other
    THP = "thp"  # 2 MiB, one after the other: as if huge pages were there for everything
    ONE_G = "1g"  # 1 GiB
    IDENTITY = "identity"  # 4 KiB, at the physical address that is the virtual one

    @property
    def level(self) -> int:
        """The level of the entries that map pages."""
        return {PagePolicy.THP: 2, PagePolicy.ONE_G: 3}.get(self, 1)


class PageMapper:
    """Tells batches of the tables that they need."""

    def __init__(self, policy: PagePolicy) -> None:
        self.policy = policy
        self._ram = PhysicalMemory(TABLE_BYTES, huge_pages=False)
        self._controls = np.zeros(_CONTROLS, CONTROL)
        self._known = HostArray((REMEMBERED, 2), "Q")
        self._mapper = Mapper(
            ram=self._ram.host, ram_bytes=TABLE_BYTES, next_table=PAGE_SIZE, next_page=_FIRST_PAGE, leaf=policy.level,
            identity=policy is PagePolicy.IDENTITY, controls=self._controls.ctypes.data, capacity=_CONTROLS,
            known=self._known.address,
        )  # fmt: skip
        #: By address space: its PML4; and which is loaded.
        self._roots: dict[int, int] = {}
        self._loaded: int | None = None

    def mapped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches with controls.  :class:`StreamError` for an address that is not canonical."""
        shift = np.uint8(12 + 9 * (self.policy.level - 1))
        for batch in batches:
            controls = self._controls_for(batch)
            yield replace(batch, controls=controls, shift=np.broadcast_to(shift, len(batch)))

    def _controls_for(self, batch: Batch) -> Controls:
        vaddr = np.ascontiguousarray(batch.vaddr)
        changes = np.flatnonzero(np.diff(batch.space)) + 1
        made: list[Controls] = []
        if self._loaded is None:
            made.append(controls_of([(0, Op.REGISTER, 0, Register.MAXPHYADDR, _PHYSICAL_BITS)]))
        for begin, end in zip([0, *changes.tolist()], [*changes.tolist(), len(batch)], strict=True):
            if begin == end:
                continue
            space = int(batch.space[begin])
            if space != self._loaded:
                self._loaded = space
                root = self._root(space)
                made.append(controls_of([(begin, Op.CR3, 0, root, space), (begin, Op.INVALIDATE, 0, 0, 0)]))
            made += self._map(self._roots[space], vaddr.ctypes.data, begin, end)
        return np.concatenate(made) if made else np.zeros(0, CONTROL)

    def _root(self, space: int) -> int:
        if space not in self._roots:
            self._roots[space] = self._mapper.next_table
            self._mapper.next_table += PAGE_SIZE
        return self._roots[space]

    def _map(self, root: int, vaddrs: int, begin: int, end: int) -> Iterator[Controls]:
        mapper, native = self._mapper, load("emu.lab.page_policy_loop")["map_pages"]
        while begin < end:
            begin = native(ctypes.addressof(mapper), root, vaddrs, begin, end)
            yield self._controls[: mapper.made].copy()
            mapper.made = 0
            if mapper.refused == NO_MEMORY:
                raise StreamError(f"the stream uses more pages than {TABLE_BYTES >> 30} GiB of page tables map")
            if mapper.refused:
                raise StreamError(f"address {mapper.refused - 1:#x} of the stream is not canonical")
