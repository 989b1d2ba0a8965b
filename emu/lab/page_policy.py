"""Page tables for a stream that has none: each page is mapped when it is first used, by a policy.

Pages are writable, executable, accessed and dirty from the start: what is counted depends on the TLB and on the size of
pages alone.  An address space has tables of its own; going from one to another loads CR3, without PCIDs.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from emu.lab.batch import CONTROL, Batch, Controls, Op, Register, StreamError, controls_of
from emu.lab.page_policy_loop import NO_FRAME, NO_MEMORY, NOT_CANONICAL, REMEMBERED, Mapper
from emu.trace.report.units import size_text
from mmu.host_array import HostArray
from mmu.memory import PAGE_SIZE, PhysicalMemory
from mmu.objectcode import load

#: The most memory for tables: enough for those of 8 TiB of pages of 4K.
TABLE_BYTES = 16 << 30
_FIRST_PAGE = 1 << 40
#: So that the identity has room for the upper half of the address space.
_PHYSICAL_BITS = 52
_CONTROLS = 1 << 14
_FIELD = re.compile(
    r"^\s*(page_size|virtual_address|physical_address)\s*:\s*(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})\s*$", re.M
)
_REFUSED = {
    NOT_CANONICAL: "address {:#x} of the stream is not canonical",
    NO_MEMORY: "at {:#x} the stream has used more pages than {} of page tables map",
    NO_FRAME: "it is not given where the page of {:#x} is",
}


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


@dataclass(frozen=True)
class Frames:
    """Where pages are, as the file that DynamoRIO writes beside a memtrace says (v2p.textproto)."""

    policy: PagePolicy
    pairs: npt.NDArray[np.uint64]  # virtual and physical address, a row a page, by rising virtual address

    @classmethod
    def read(cls, path: str) -> Frames:
        """A file with ``page_size``, and ``virtual_address`` and ``physical_address`` of each page, in bytes.
        :class:`StreamError` if it is none."""
        with open(path, encoding="utf-8", errors="replace") as file:
            fields = _FIELD.findall(file.read())
        if any(int(value, 0) >= 1 << 64 for _, value in fields):
            raise StreamError(f"{path}: an address of more than 64 bits")
        sizes = {int(value, 0) for name, value in fields if name == "page_size"}
        policies = {1 << 12 + 9 * (policy.level - 1): policy for policy in (*PagePolicy,)[:3]}
        if len(sizes) != 1 or not sizes <= policies.keys():
            raise StreamError(f"{path}: page_size is to be 4096, 2097152 or 1073741824, and not {sorted(sizes)}")
        (size,) = sizes
        virtual, physical = (
            np.array([int(value, 0) for name, value in fields if name == f"{kind}_address"], np.uint64)
            for kind in ("virtual", "physical")
        )
        if not len(virtual) or len(virtual) != len(physical):
            raise StreamError(f"{path}: {len(virtual)} virtual addresses and {len(physical)} physical ones")
        if ((virtual | physical) & np.uint64(size - 1)).any():
            raise StreamError(f"{path}: an address is no multiple of the page size, {size}")
        order = np.argsort(virtual)
        return cls(policies[size], np.ascontiguousarray(np.column_stack((virtual, physical))[order]))


class PageMapper:
    """Tells batches of the tables that they need."""

    def __init__(self, policy: PagePolicy, frames: Frames | None = None, memory_bytes: int = TABLE_BYTES) -> None:
        """``frames``: where pages are, and of what size, in place of the policy's order.  ``memory_bytes``: room for
        tables, whole pages; the host gives what is used of it."""
        if frames is not None:
            policy = frames.policy
        self.policy = policy
        self._frames = frames
        #: The page tables, which models may walk.
        self.tables = PhysicalMemory(memory_bytes, huge_pages=False)
        self.memory_bytes = memory_bytes
        self._controls = np.zeros(_CONTROLS, CONTROL)
        self._known = HostArray((REMEMBERED, 2), "Q")
        self._mapper = Mapper(
            ram=self.tables.host, ram_bytes=memory_bytes, next_table=PAGE_SIZE, next_page=_FIRST_PAGE,
            leaf=policy.level, identity=policy is PagePolicy.IDENTITY, controls=self._controls.ctypes.data,
            capacity=_CONTROLS, known=self._known.address, frames=0 if frames is None else frames.pairs.ctypes.data,
            frames_number=0 if frames is None else len(frames.pairs),
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
            if mapper.refused:
                address = ctypes.c_uint64.from_address(vaddrs + begin * 8).value
                raise StreamError(_REFUSED[mapper.refused].format(address, size_text(self.memory_bytes)))
