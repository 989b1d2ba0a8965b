"""A bare Uc in exact mode, and a log of every access with its exact address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as x86

from mmu import Access, EventKind, Mmu, PhysicalMemory
from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes
from mmu.model import TlbModel
from tests.mmu.guest import CODE, Guest
from tests.mmu.tables import Tables

R, W, X = Access.READ, Access.WRITE, Access.FETCH
PAGE = 0x1000


def tiny(
    ways: int = 4, *, level_2: int = 0, structures: dict[int, int] | None = None, inclusive: bool = False
) -> Geometry:
    """One set for data and one for code; perhaps a second level."""
    arrays = [
        Array("L1I", 1, Kinds.FETCH, PageSizes.ALL, 1, 4),
        Array("L1D", 1, Kinds.DATA, PageSizes.ALL, 1, ways),
    ]
    if level_2:
        arrays.append(Array("L2", 2, Kinds.ALL, PageSizes.ALL, 1, level_2))
    return Geometry("tiny", tuple(arrays), structures or {}, inclusive=inclusive)


def coalescing(number: int, hashing: IndexHash) -> Geometry:
    """Arrays of few entries that coalesce so many pages of 4K, but for the last one."""
    more: dict[str, Any] = {"index_hash": hashing, "coalesce": number}
    arrays = (
        Array("L1I", 1, Kinds.FETCH, PageSizes.ALL, 1, 4, **more),
        Array("L1D", 1, Kinds.DATA, PageSizes.ALL, 2, 2, **more),
        Array("L2", 2, Kinds.ALL, PageSizes.ALL, 4, 2, **more),
        Array("L2-plain", 2, Kinds.DATA, PageSizes.K4, 1, 2),
    )
    return Geometry(f"{number} coalesced", arrays, {2: 2})


@dataclass(frozen=True)
class Logged:
    """One ACCESS event."""

    access: Access
    vaddr: int
    level: int


class ExactGuest(Guest):
    """As Guest, with a TLB model."""

    def __init__(
        self,
        tlb: str | Geometry = "textbook",
        *,
        ram_bytes: int = 16 << 20,
        ring_capacity: int = 1 << 15,
        seed: int = 0,
        fast: bool | None = None,
    ) -> None:
        self.ram = PhysicalMemory(ram_bytes)
        self.tables = Tables(self.ram)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.mmu = Mmu(self.uc, self.ram, tlb=tlb, seed=seed, ring_capacity=ring_capacity, fast=fast)
        self.mmu.load_cr3(self.tables.cr3)
        self.mmu.events.enable(EventKind.ACCESS)

    @property
    def tlb(self) -> TlbModel:
        assert self.mmu.tlb is not None
        return self.mmu.tlb

    def log(self) -> list[Logged]:
        """The accesses since it was asked last."""
        events = self.mmu.events.drain()
        events = events[events["kind"] == EventKind.ACCESS]
        return [
            Logged(Access(access), vaddr, level)
            for access, vaddr, level in events[["access", "vaddr", "level"]].tolist()
        ]

    def data(self) -> list[tuple[Access, int]]:
        """The data accesses of the log, without their levels."""
        return [(one.access, one.vaddr) for one in self.log() if one.access != X]

    def code(self, *instructions: str, at: int = CODE) -> int:
        """Run these instructions; returns RAX."""
        self.program(*instructions)
        return self.run(at)

    def set(self, **registers: int) -> None:
        for name, value in registers.items():
            self.uc.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)

    def get(self, name: str) -> int:
        return int(self.uc.reg_read(getattr(x86, f"UC_X86_REG_{name.upper()}")))

    def u64(self, paddr: int) -> int:
        return self.ram.read_u64(paddr)


def rbx(address: int) -> str:
    """mov rbx, address"""
    return (b"\x48\xbb" + address.to_bytes(8, "little")).hex()


def touches(*addresses: int) -> str:
    """Loads RCX from each address in turn."""
    return "".join(rbx(address) + "488b0b" for address in addresses)
