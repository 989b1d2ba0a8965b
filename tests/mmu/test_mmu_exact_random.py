"""Random programs: exact mode ends as filtered mode does, and its log, given to the slow model, hits where it said."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unicorn import UcError

from mmu import Access, EventKind
from mmu.geometry import Geometry, IndexHash, Kinds
from mmu.nested import Nested
from mmu.presets import all_presets
from tests.exhaustive import by_default
from tests.mmu.exact_guest import ExactGuest, coalescing, tiny
from tests.mmu.guest import CODE, REGISTERS, Guest
from tests.mmu.slow_tlb import SlowTlb, Table, Walk, shift_of
from tests.mmu.traced_guest import ALIASES, FUNCTION_PADDR, LARGE, READ_ONLY, STACK, Kernel, between, instruction

ROOT = Path(__file__).resolve().parents[2]
GEOMETRIES: list[str | Geometry] = [
    "textbook", "none", "zen2", "skylake-sp:measured", tiny(1), tiny(2, level_2=3), tiny(2, level_2=4, inclusive=True),
    replace(tiny(2, level_2=4), prefetch_next=True), replace(tiny(2, level_2=8), nested=Nested(1, {2: 2})),
    coalescing(2, IndexHash.LINEAR), coalescing(4, IndexHash.SKEWED), "zen4",
]  # fmt: skip


def more(rng: random.Random) -> bytes:
    """What traced_guest does not: push and pop, SSE, bytes and words, copies of words, on pages that there are."""
    pages: list[int] = [*READ_ONLY, *ALIASES, *LARGE]
    address = rng.choice(pages) + rng.choice((0, 0x10, 0x7FF, 0xFF8, 0xFF9, 0xFFF))
    rbx = b"\x48\xbb" + address.to_bytes(8, "little")
    return rbx + bytes.fromhex(
        rng.choice((
            "f30f6f03f30f7f4310",  # movdqu xmm0, [rbx]; movdqu [rbx + 16], xmm0
            "ff33588f03", "0fb603008301000000", "668b036601430a", "f048ff03", "f0480fb113",
            "488b0b4889cf48894b08", "c60342", "480fab4308",
        ))
    )  # fmt: skip


def run(guest: Guest, seed: int, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run a random guest; returns its final state."""
    rng = random.Random(seed)
    kernel = Kernel(guest)
    guest.mmu.on_page_fault = kernel.on_page_fault
    failures = []
    for _ in range(20):
        guest.program(b"".join(rng.choice((instruction, more))(rng) for _ in range(20)).hex())
        try:
            guest.run(CODE, rsp=STACK + 0x800, rax=rng.getrandbits(64))
        except UcError:
            failure = guest.mmu.take_failure()
            assert failure is not None
            failures.append(f"{failure[0]} {failure[1].name} at {guest['rip']:#x}")
        check()
        between(rng, guest)
    return {
        "failures": failures,
        "faults": kernel.log,
        "registers": {name: guest[name] for name in REGISTERS},
        "memory": hashlib.sha256(guest.ram.read(FUNCTION_PADDR, guest.ram.size - FUNCTION_PADDR)).hexdigest(),
        "read only": hashlib.sha256(guest.ram.read(0x50_0000, 0x8000)).hexdigest(),
    }


@pytest.mark.parametrize("seed", range(by_default(len(GEOMETRIES), 36)))
def test_exact_mode_ends_as_filtered_mode_does(seed: int) -> None:
    exact = ExactGuest(GEOMETRIES[seed % len(GEOMETRIES)], seed=seed)
    exact.mmu.check_tlb()
    assert run(exact, seed) == run(Guest(), seed)
    assert exact.mmu.stale == []  # all invalidations were done


# ---- recorded traces


class Replay:
    """The log of an exact guest, lookup by lookup through the slow model.

    Walks are answered from what the log says was found: their WALK event follows the access.
    """

    def __init__(self, guest: ExactGuest, geometry: Geometry, seed: int) -> None:
        self.slow = SlowTlb(geometry, seed)
        self.guest = guest
        self.compared = 0
        guest.mmu.events.enable(EventKind.ACCESS, EventKind.WALK, EventKind.FAULT, EventKind.FLUSH, EventKind.CR3_LOAD)
        guest.mmu.events.subscribe(self.feed)
        self._pending: list[np.void] = []

    def feed(self, events: np.ndarray[Any, np.dtype[np.void]]) -> None:
        self._pending.extend(events)

    def finish(self) -> None:
        events, self._pending = self._pending, []
        for number, event in enumerate(events):
            kind = EventKind(int(event["kind"]))
            vaddr = int(event["vaddr"])
            if kind == EventKind.ACCESS:
                self._access(event, events[number + 1] if number + 1 < len(events) else None)
            elif kind == EventKind.FAULT:
                self.slow.page_fault(vaddr, 0)
            elif kind == EventKind.CR3_LOAD:
                self.slow.mov_cr3(0, False)
            elif kind == EventKind.FLUSH:
                self._flush(vaddr, int(event["length"]))

    def _flush(self, vaddr: int, length: int) -> None:
        if not length:
            self.slow.flush_all()
        elif length > 32 * 4096:
            self.slow.mov_cr3(0, False)
        else:
            for page in range(vaddr & -4096, vaddr + length, 4096):
                self.slow.invlpg(page, 0)

    def _access(self, event: np.void, following: np.void | None) -> None:
        vaddr, access = int(event["vaddr"]), Access(int(event["access"]))
        starts: list[Table | None] = []

        def walk(_vaddr: int, _kind: Kinds, start: Table | None) -> Walk | None:
            assert following is not None and int(following["kind"]) == EventKind.WALK
            assert int(following["vaddr"]) == vaddr
            starts.append(start)
            entries = [int(following[f"entry_{level}"]) for level in range(1, 6)]
            first = 4 if start is None else start.level - 1
            read = [level for level in range(1, 6) if entries[level - 1]]
            assert max(read, default=first) == first, "the walk began elsewhere"
            if int(following["error_code"]) or not int(following["paddr"]):
                return None
            size = int(following["level"])
            leaf = entries[size - 1]
            tables = tuple(Table(level, entries[level - 1] & 0xF_FFFF_FFFF_F000) for level in range(first, size, -1))
            dirty = bool(leaf & 0x40) or access == Access.WRITE
            return Walk(size, int(following["paddr"]) & -(1 << shift_of(size)), dirty=dirty, tables=tables)

        walked = following is not None and int(following["kind"]) == EventKind.WALK
        # whether a hit could be used is told by the log: nothing else is; a walk without a level may follow a hit
        outcome = self.slow.access(Kinds(1 << access), vaddr, 0, walk, lambda _entry, _kind: not walked)
        assert outcome.walked == walked
        if not walked:
            assert outcome.level == int(event["level"])
            assert outcome.paddr == int(event["paddr"])
        self.compared += 1


@pytest.mark.parametrize("seed", range(by_default(2, 8)))
@pytest.mark.parametrize("preset", ["textbook", "skylake-sp:measured", "zen2", "ice-lake-sp:cpuid", "none"])
def test_a_recorded_guest_replayed_through_the_slow_model(preset: str, seed: int) -> None:
    geometry = all_presets()[preset].geometry  # the log has no line of PTEs to coalesce
    geometry = replace(geometry, arrays=tuple(replace(array, coalesce=1) for array in geometry.arrays))
    guest = ExactGuest(geometry, seed=seed, ring_capacity=256)
    replay = Replay(guest, geometry, seed)

    def check() -> None:
        guest.mmu.events.flush()
        replay.finish()

    replay.slow.flush_all()
    run(guest, 100 + seed, check)
    guest.mmu.events.flush()
    replay.finish()
    assert replay.compared > 1000
    ours = {name: (c.hits, c.misses, c.evictions, c.invalidations, c.drops)
            for name, c in guest.tlb.array_counters().items()}  # fmt: skip
    theirs = {name: (c.hits, c.misses, c.evictions, c.invalidations, c.drops)
              for name, c in replay.slow.counters().items()}  # fmt: skip
    assert ours == theirs
    assert guest.tlb.structure_counters() == {
        level: (c.lookups, c.hits) for level, c in replay.slow.structure_counters().items()
    }
    for name, sets in replay.slow.contents().items():
        places = [entry for ways in sets for entry in ways]
        held = guest.tlb.places()[name]
        assert [one and one.paddr for one in held] == [one and one.frame for one in places]


def reference_guests() -> list[Any]:
    """A few short random guests, and every event of theirs."""
    told: list[Any] = []
    geometries: tuple[str | Geometry, ...] = (tiny(2, level_2=3, inclusive=True), "zen2", "none")
    for seed, geometry in enumerate(geometries):
        guest = ExactGuest(geometry, seed=seed)
        guest.mmu.events.enable(*EventKind)
        rng = random.Random(seed)
        kernel = Kernel(guest)
        guest.mmu.on_page_fault = kernel.on_page_fault
        for _ in range(4):
            guest.program(b"".join(rng.choice((instruction, more))(rng) for _ in range(8)).hex())
            try:
                guest.run(CODE, rsp=STACK + 0x800, rax=5)
            except UcError:
                guest.mmu.take_failure()
            between(rng, guest)
        told.append(guest.mmu.events.drain().tobytes().hex())
        told.append({name: vars(counters) for name, counters in guest.tlb.array_counters().items()})
    return told


def test_the_reference_mode_tells_the_same() -> None:
    code = (
        "import json; from mmu.model import exact_library;"
        "from tests.mmu.test_mmu_exact_random import reference_guests;"
        "print(json.dumps([exact_library().mode, reference_guests()]))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    mode, told = json.loads(done.stdout)
    assert mode == "reference"
    assert told == json.loads(json.dumps(reference_guests()))
    assert len(told[0]) > 10000
