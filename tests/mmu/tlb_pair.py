"""The native model and the slow one, each on separate memory, doing the same: they must agree on everything.

The slow model gets its walks and its rights from tests/mmu/oracle.py, so that it uses nothing of mmu.walk.
"""

from __future__ import annotations

import random
from dataclasses import astuple, replace

import numpy as np

from mmu import CR4, Access, PhysicalMemory, Registers
from mmu.event_table import EVENT
from mmu.geometry import Geometry, Kinds
from mmu.latency import Latency
from mmu.model import Invpcid, Lookup, TlbModel
from mmu.registers import CR3_NO_FLUSH, PCID_MASK
from mmu.state import MmuState
from mmu.translation import load_registers
from tests.mmu.oracle import key_forbids, mode_allows, reserved_bit_is_set
from tests.mmu.slow_costs import SlowCosts
from tests.mmu.slow_nested import SlowNested
from tests.mmu.slow_tlb import Entry, Outcome, SlowTlb, Table, Walk, shift_of
from tests.mmu.tables import Tables

RAM_BYTES = 4 << 20
P, RW, US, A, D, PS, G, XD = 1 << 0, 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 63
ADDRESS = 0xF_FFFF_FFFF_F000


class SlowSide:
    """The slow model over a memory: walks by hand, from the manual."""

    def __init__(self, ram: PhysicalMemory, geometry: Geometry, registers: Registers, seed: int) -> None:
        self.ram, self.registers = ram, registers
        self.tlb = SlowTlb(geometry, seed)
        self.tlb.levels = registers.levels
        self.walks = self.loads = 0
        self.reads: list[int] = []
        timed = geometry.latency or (None if geometry.nested is None else Latency(0))
        self.costs = None if timed is None else SlowCosts(timed)

    def access(self, vaddr: int, access: Access) -> Outcome:
        self.reads = []
        outcome = self.tlb.access(Kinds(1 << access), vaddr, self.registers.pcid, self._walk, self._allows)
        if self.costs is not None:
            self.costs.access(access, outcome.level, outcome.walked, outcome.start, self.reads, outcome.paddr)
        return outcome

    def _allowed(self, path: list[int], access: Access) -> bool:
        registers = self.registers
        user = registers.cpl == 3 and not (registers.implicit and access != Access.FETCH)
        return mode_allows(path, access, user, registers) and not key_forbids(path, access, user, registers)

    def _allows(self, entry: Entry, kind: Kinds) -> bool:
        as_leaf = entry.every | entry.xd | entry.key << 59 | P
        return self._allowed([as_leaf], Access(kind.bit_length() - 1))

    def _walk(self, vaddr: int, kind: Kinds, start: Table | None) -> Walk | None:
        access = Access(kind.bit_length() - 1)
        registers, ram = self.registers, self.ram
        level, table = registers.levels, registers.cr3 & ADDRESS
        every, xd = RW | US, 0
        if start is not None:
            level, table, every, xd = start.level - 1, start.address, start.every, start.xd
        self.walks += 1
        slots, tables = [], []
        while True:
            slot = table + 8 * (vaddr >> shift_of(level) & 511)
            entry = ram.read_u64(slot)
            self.loads += 1
            self.reads.append(slot)
            maps_a_page = level == 1 or (level < 4 and bool(entry & PS))
            if not entry & P or reserved_bit_is_set(level, entry, maps_a_page, registers):
                return None
            slots.append(slot)
            above = every, xd
            every, xd = every & entry, xd | entry & XD
            if maps_a_page:
                break
            table = entry & ADDRESS
            tables.append(Table(level, table, every, xd))
            level -= 1
        key = entry >> 59 & 15
        if not self._allowed([every | xd | key << 59 | P], access):
            return None
        for slot in slots:
            ram.write_u64(slot, ram.read_u64(slot) | A)
        if access == Access.WRITE:
            ram.write_u64(slots[-1], ram.read_u64(slots[-1]) | D)
        frame = entry & ADDRESS & -(1 << shift_of(level))
        is_global = bool(entry & G and registers.cr4 & CR4.PGE)
        dirty = bool(entry & D) or access == Access.WRITE
        following: Walk | None = None
        line: tuple[int, ...] = ()
        if level == 1:
            following = self._following(slots[-1], *above)
            line = tuple(ram.read_u64((slots[-1] & -64) + 8 * n) for n in range(8))
        return Walk(level, frame, is_global, every, xd, key, dirty, tuple(tables), following, line)

    def _following(self, slot: int, every: int, xd: int) -> Walk | None:
        """The page of the next PTE, if that is in the same line of 64 bytes, present, and has A set."""
        if slot // 8 % 8 == 7:
            return None
        entry = self.ram.read_u64(slot + 8)
        if entry & (P | A) != P | A or reserved_bit_is_set(1, entry, True, self.registers):
            return None
        is_global = bool(entry & G and self.registers.cr4 & CR4.PGE)
        return Walk(1, entry & ADDRESS, is_global, every & entry, xd | entry & XD, entry >> 59 & 15, bool(entry & D))


class Pair:
    """Both models; every operation is done by both, and every access is compared."""

    def __init__(
        self, geometry: Geometry, *, seed: int = 0, levels: int = 4, pcide: bool = True, pge: bool = True
    ) -> None:
        cr4 = Registers(cr3=0).cr4 | (CR4.PCIDE if pcide else 0) | (CR4.PGE if pge else 0)
        self.registers = Registers(cr3=0x1000, cr4=cr4 | (CR4.LA57 if levels == 5 else 0), cpl=0)
        self.ram, slow_ram = PhysicalMemory(RAM_BYTES), PhysicalMemory(RAM_BYTES)
        self._record = np.zeros(1, dtype=EVENT)
        self.state = MmuState(ram=self.ram.host, ram_bytes=RAM_BYTES, ring=self._record.ctypes.data, ring_capacity=1)
        self.state.ram_bytes = 1 << (52 if geometry.nested is None else 37)  # data pages need no memory
        load_registers(self.state, self.registers)
        self.model = TlbModel(self.state, geometry, seed)
        self.slow = SlowSide(slow_ram, geometry, self.registers, seed)
        if self.slow.costs is not None and self.model.second is not None:
            self.slow.costs.second = SlowNested(self.model.second.nested, self.model.second)
        self.rams = (self.ram, slow_ram)
        self.outcomes: list[Lookup] = []
        self._load(self.registers)

    def _load(self, registers: Registers) -> None:
        load_registers(self.state, registers)
        self.state.pcid = registers.pcid
        self.registers = self.slow.registers = registers

    def access(self, vaddr: int, access: Access = Access.READ) -> Lookup:
        ours = self.model.lookup(vaddr, access)
        theirs = self.slow.access(vaddr, access)
        assert ours is not None
        assert vars(ours) == vars(theirs), f"{access.name} {vaddr:#x}"
        self.outcomes.append(ours)
        return ours

    def mode(self, **changes: object) -> None:
        """CPL, AC, PKRU: nothing is invalidated."""
        self._load(replace(self.registers, **changes))  # type: ignore[arg-type]

    def invlpg(self, vaddr: int) -> None:
        self.model.invlpg(vaddr)
        self.slow.tlb.invlpg(vaddr, self.registers.pcid)

    def page_fault(self, vaddr: int) -> None:
        self.model.page_fault(vaddr, self.registers.pcid)
        self.slow.tlb.page_fault(vaddr, self.registers.pcid)

    def mov_cr3(self, cr3: int, *, keep: bool = False) -> None:
        pcide, old = bool(self.registers.cr4 & CR4.PCIDE), self.registers.pcid
        self.model.mov_cr3(cr3 | (CR3_NO_FLUSH if keep else 0))
        self.slow.tlb.mov_cr3(cr3 & PCID_MASK, pcide, keep)
        self.registers = self.slow.registers = replace(self.registers, cr3=cr3)
        if self.registers.pcid != old:
            self.slow.tlb.leave_pcid(old)
        assert (self.state.cr3, self.state.pcid) == (cr3, self.registers.pcid)

    def mov_cr4(self, new: int) -> None:
        old, pcid = self.registers.cr4, self.registers.pcid if new & CR4.PCIDE else 0
        self.model.mov_cr4(old, new)
        self.slow.tlb.mov_cr4(old, new, pcid)
        self._load(replace(self.registers, cr4=new))

    def invpcid(self, kind: int, pcid: int = 0, vaddr: int = 0) -> None:
        self.model.invpcid(Invpcid(kind), pcid, vaddr)
        self.slow.tlb.invpcid(kind, pcid, vaddr)

    def check(self) -> None:
        """Counters, contents, memory: all equal."""
        model, slow = self.model, self.slow.tlb
        ours = {name: vars(counters) for name, counters in model.array_counters().items()}
        assert ours == {name: vars(counters) for name, counters in slow.counters().items()}
        assert model.structure_counters() == {
            level: (counters.lookups, counters.hits) for level, counters in slow.structure_counters().items()
        }
        assert (self.state.walks, self.state.walk_loads) == (self.slow.walks, self.slow.loads)
        self._check_costs()
        for name, sets in slow.contents().items():
            places = [entry for ways in sets for entry in ways]
            for ours_at, theirs in zip(model.places()[name], places, strict=True):
                assert (ours_at is None) == (theirs is None)
                if ours_at is None or theirs is None:
                    continue
                shift = shift_of(theirs.size)
                assert ours_at.vaddr >> shift == theirs.number & (1 << 64 - shift) - 1
                assert (ours_at.page_size, ours_at.paddr) == (theirs.pages << shift, theirs.frame)
                assert ours_at.pcid == (None if theirs.is_global else theirs.pcid)
                assert (ours_at.dirty, ours_at.smashed) == (theirs.dirty, theirs.smashed)
                assert ours_at.coalesced == (theirs.pages > 1)
        held = model.structure_contents()
        for level, expected in slow.structure_contents().items():
            mask = (1 << 57 - shift_of(level)) - 1
            theirs_held = [(pcid, bits & mask, table.address) for (pcid, bits), table in expected.items()]
            assert held[level] == theirs_held
        assert np.array_equal(self.rams[0].words, self.rams[1].words)

    def _check_costs(self) -> None:
        ours, slow = self.model.costs, self.slow.costs
        if self.model.second is not None:
            assert slow is not None and slow.second is not None
            theirs = slow.second
            counts = (theirs.walks, theirs.loads, theirs.tlb_hits, theirs.cycles)
            assert astuple(self.model.second.counts) == counts
            if ours is None:
                return
        if ours is None or slow is None:
            assert ours is None and slow is None
            return
        cycles = {access: (each.stlb_hits, each.walks) for access, each in ours.cycles().items()}
        assert cycles == {access: (slow.stlb[access], slow.walks[access]) for access in Access}
        for nested in (False, True):
            for name, counted in ours.loads(nested=nested).items():
                assert counted == (slow.answered[name, nested, False], slow.answered[name, nested, True]), name
        assert sum(map(sum, ours.loads().values())) == self.state.walk_loads


GIB, MIB2 = 1 << 30, 1 << 21
_HIGH = 0xFFFF_8000_0000_0000


class Trace:
    """A random trace over two address spaces with pages of all sizes, interleaved with everything that may happen."""

    def __init__(self, pair: Pair, seed: int, *, pages: int = 24, groups: bool = False) -> None:
        """``groups``: of the pages of 4K, most are mapped in groups of eight, which may be coalesced."""
        self.pair, self.rng, self.groups = pair, random.Random(seed), groups
        rng = self.rng
        small = [0x40_0000 + 0x1000 * rng.randrange(64) for _ in range(pages)]
        scattered = [rng.randrange(1 << 10) << 21 | rng.randrange(512) << 12 for _ in range(6)]
        large = [8 * GIB + MIB2 * rng.randrange(40) for _ in range(pages // 2)]
        huge = [GIB * rng.randrange(64, 70) for _ in range(pages // 6)]
        high = [_HIGH + 0x1000 * rng.randrange(64) for _ in range(4)] + [_HIGH + 8 * GIB + MIB2 * rng.randrange(8)]
        self.where = [(vaddr, 1) for vaddr in {*small, *scattered}]
        self.where += [(vaddr, 2) for vaddr in {*large}] + [(vaddr, 3) for vaddr in {*huge}]
        self.where += [(vaddr, 2 if vaddr >= _HIGH + 8 * GIB else 1) for vaddr in {*high}]
        self.spaces = [[Tables(ram, cr3, pair.registers.levels) for ram in pair.rams] for cr3 in (0x1000, 0x20_0000)]
        for space in range(2):
            for vaddr, level in self.where:
                self._map(space, vaddr, level, self._fields())
            for vaddr in range(0x40_0000, 0x44_0000, 0x8000) if groups else ():
                self._map_group(space, vaddr)
        self.space = 0

    def _map_group(self, space: int, vaddr: int) -> None:
        """Eight pages side by side, perhaps with one that stands out."""
        rng, fields = self.rng, self._fields() | {"P": 1, "A": 1}
        paddr = rng.randrange(1 << 5) << 30 | rng.randrange(16) << 15 | rng.choice((0, 0, 0, 0x4000, 0x1000))
        for n in range(8):
            for tables in self.spaces[space]:
                tables.map_page(vaddr + 0x1000 * n, paddr + 0x1000 * n, 1, **fields)
        self.where += [(vaddr + 0x1000 * n, 1) for n in range(8) if (vaddr + 0x1000 * n, 1) not in self.where]
        if rng.random() < 0.3:
            self._map(space, vaddr + 0x1000 * rng.randrange(8), 1, self._fields())

    def _fields(self) -> dict[str, int]:
        rng = self.rng
        return {
            "RW": int(rng.random() < 0.8), "US": int(rng.random() < 0.8), "G": int(rng.random() < 0.2),
            "XD": int(rng.random() < 0.2), "P": int(rng.random() < 0.93), "D": int(rng.random() < 0.3),
        }  # fmt: skip

    def _map(self, space: int, vaddr: int, level: int, fields: dict[str, int]) -> None:
        paddr = self.rng.randrange(1 << 5) << 30 | self.rng.randrange(16) << 21 | self.rng.randrange(16) << 12
        for tables in self.spaces[space]:
            tables.map_page(vaddr, paddr & -(1 << shift_of(level)), level, **fields)

    def _address(self) -> int:
        vaddr, level = self.rng.choice(self.where)
        return vaddr + self.rng.randrange(1 << shift_of(level))

    def _pcid(self) -> int:
        return self.rng.choice((0, 1, 2, 3)) if self.pair.registers.cr4 & CR4.PCIDE else 0

    def step(self) -> None:
        rng, pair = self.rng, self.pair
        if rng.random() < 0.9:
            access = rng.choice((Access.READ, Access.READ, Access.WRITE, Access.FETCH))
            vaddr = self._address()
            if pair.access(vaddr, access).paddr is None and rng.random() < 0.7:
                pair.page_fault(vaddr)
            return
        self._disturb(rng.randrange(12))

    def _disturb(self, what: int) -> None:
        rng, pair = self.rng, self.pair
        if what == 0:
            pair.invlpg(self._address())
        elif what in (1, 2):  # another mapping, with INVLPG or without
            vaddr, level = rng.choice(self.where)
            if self.groups and 0x40_0000 <= vaddr < 0x44_0000 and rng.random() < 0.5:
                self._map_group(self.space, vaddr & ~0x7FFF)
            else:
                self._map(self.space, vaddr, level, self._fields())
            if what == 1:
                pair.invlpg(vaddr)
        elif what == 3:
            pair.invpcid(0, self._pcid(), self._address())
        elif what == 4 and rng.random() < 0.3:
            pair.invpcid(rng.choice((1, 2, 3)), self._pcid())
        elif what in (5, 6, 7):
            self.space = rng.randrange(2)
            pcid = self._pcid()
            keep = bool(pair.registers.cr4 & CR4.PCIDE) and rng.random() < 0.8
            pair.mov_cr3(self.spaces[self.space][0].cr3 | pcid, keep=keep)
        elif what == 8 and rng.random() < 0.2:
            pair.mov_cr4(pair.registers.cr4 ^ rng.choice((CR4.PGE, CR4.SMEP, CR4.SMAP)))
        elif what in (9, 10):
            pair.mode(cpl=rng.choice((0, 3)), ac=rng.random() < 0.5)
        elif what == 11:
            pair.page_fault(self._address())

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        self.pair.check()
