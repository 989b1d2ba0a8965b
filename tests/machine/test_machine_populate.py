"""Filling whole tables at once gives exactly what one fault after the other gives; frames and page caches in bulk."""

from __future__ import annotations

import contextlib
import errno
import random
import zlib

import numpy as np
import pytest

from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.mm import ordinary as populate_module
from emu.mm.address_space import AddressSpace
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.frames import FrameAllocator
from emu.mm.freeframes import FreeFrames
from emu.mm.gup import populate
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import FrameKind
from emu.mm.vma import Vma
from mmu import Access, PhysicalMemory
from mmu.memory import PAGE_SIZE
from tests.booted import MIB, Booted, MakeMachine
from tests.exhaustive import by_default

BASE = 0x10_0000_0000
RW, R = Prot.READ | Prot.WRITE, Prot.READ


def populate_range(mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> FaultResult | None:
    return vma.ops.populate(mm, vma, start, end, access)


class Room:
    """A file system with room for a number of pages."""

    def __init__(self, pages: int) -> None:
        self.left = pages

    def charge(self, pages: int) -> None:
        if pages > self.left:
            raise LinuxError(errno.ENOSPC)
        self.left -= pages


class Scenario:
    """A random run of populating, touching and unmapping; the same seed gives the same run."""

    def __init__(self, booted: Booted, seed: int) -> None:
        self.rng = random.Random(seed)
        self.booted = booted
        self.faults: list[int] = []
        self.mms = [self.new_mm("a"), self.new_mm("b")]
        frames = booted.kernel.frames
        self.rooms = [Room(1 << 20), Room(self.rng.randrange(3000))]
        sizes = [self.rng.randrange(1, 6 * MIB) for _ in self.rooms]
        self.caches = [PageCache(frames, size, room.charge) for size, room in zip(sizes, self.rooms, strict=True)]
        self.next = BASE

    def new_mm(self, name: str) -> AddressSpace:
        mm = AddressSpace(self.booted.kernel.mm_context, name)
        mm.on_kernel_fault = lambda result, number, copying: self.faults.extend([result] * number)
        return mm

    def place(self) -> tuple[int, int]:
        """Where the next mapping lies, and how long it is: some share tables, some do not begin at a round address."""
        pages = self.rng.choice((1, 15, 16, 100, 512, 513, 1000, 1500))
        self.next += self.rng.choice((0, 1, 7, 16, 100, 512)) * PAGE_SIZE
        start = self.next
        self.next += pages * PAGE_SIZE
        return start, pages * PAGE_SIZE

    def step(self) -> None:
        mm = self.rng.choice(self.mms)
        acts = (self.anonymous, self.anonymous, self.cached, self.cached, self.touch, self.unmap, self.drop)
        self.rng.choice(acts)(mm)

    def anonymous(self, mm: AddressSpace) -> None:
        start, length = self.place()
        kind = self.rng.choice((MapFlags.PRIVATE, MapFlags.PRIVATE, MapFlags.SHARED))
        flags = kind | MapFlags.ANONYMOUS | MapFlags.FIXED | MapFlags.POPULATE
        do_mmap(mm, start, length, self.rng.choice((RW, R, Prot.NONE, RW | Prot.EXEC)), flags)

    def cached(self, mm: AddressSpace) -> None:
        start, length = self.place()
        flags = self.rng.choice((VmFlags.SHARED, VmFlags.NONE))
        cache = self.rng.choice(self.caches)
        prot, pgoff = self.rng.choice((RW, R)), self.rng.randrange(900)
        vma = Vma(start, start + length, prot, flags, page_cache=cache, pgoff=pgoff)
        mm.insert(vma)
        if self.rng.random() < 0.3:  # some pages are there already
            at = start + self.rng.randrange(length >> 12) * PAGE_SIZE
            populate_range(mm, vma, at, min(at + 3 * PAGE_SIZE, vma.end), Access.READ)
        populate(mm, vma, vma.start, vma.end)

    def touch(self, mm: AddressSpace) -> None:
        """Pages of an object that come to be in the middle, and a part of a mapping that is populated anew."""
        cache = self.caches[0]
        for _ in range(5):
            with contextlib.suppress(LinuxError):
                cache.get_page(self.rng.randrange(max(cache.end_index, 1)))
        if len(mm.vmas):
            vma = self.rng.choice(list(mm.vmas))
            low, high = sorted(self.rng.randrange(vma.start, vma.end + 1, PAGE_SIZE) for _ in range(2))
            populate_range(mm, vma, low, high, self.rng.choice((Access.READ, Access.WRITE)))

    def unmap(self, mm: AddressSpace) -> None:
        if len(mm.vmas):
            vma = self.rng.choice(list(mm.vmas))
            do_munmap(mm, self.rng.randrange(vma.start, vma.end, PAGE_SIZE), self.rng.randrange(1, 4 * MIB))

    def drop(self, mm: AddressSpace) -> None:
        cache = self.rng.choice(self.caches)
        first = self.rng.randrange(1500)
        cache.punch(first, first + self.rng.randrange(1, 1500))

    def picture(self) -> list[object]:
        """Everything that must not depend on how it came about: all of memory, and all books."""
        frames = self.booted.kernel.frames
        return [
            zlib.crc32(self.booted.ram.view[: frames.high_water << 12]), frames.high_water, frames.free,
            frames.counts.tobytes(), frames.kinds.tobytes(), list(frames.used),
            [sorted(cache.pages()) for cache in self.caches], [room.left for room in self.rooms],
            [(mm.rss_anon, mm.rss_cache, dict(mm.tables.tables)) for mm in self.mms],
            [[(vma.start, vma.end, vma.anon_vma is None) for vma in mm.vmas] for mm in self.mms],
            [result for result in self.faults if result == FaultResult.MINOR],
        ]  # fmt: skip

    def end(self) -> None:
        for mm in self.mms:
            mm.put()
        for cache in self.caches:
            cache.release()


@pytest.mark.parametrize("seed", range(by_default(2, 6)))
def test_whole_tables_are_filled_as_single_faults_would(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    memory = 16 * MIB if seed % 3 == 0 else 48 * MIB  # in the small one memory runs out
    runs = [Scenario(machine(memory), seed) for _ in range(2)]
    for number in range(40):
        runs[0].step()
        with monkeypatch.context() as patch:
            patch.setattr(populate_module, "_WORTHWHILE", 1 << 30)
            runs[1].step()
        assert runs[0].picture() == runs[1].picture(), f"step {number}"
    assert all(run.booted.audit() == [] for run in runs)
    for run in runs:
        run.end()


def test_a_fresh_mapping_is_filled_without_a_single_fault(
    machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted = machine()
    mm = AddressSpace(booted.kernel.mm_context, "fresh")
    faults: list[tuple[int, int]] = []
    mm.on_kernel_fault = lambda result, number, copying: faults.append((result, number))
    monkeypatch.setattr(AddressSpace, "handle_fault", lambda *_: pytest.fail("a fault of its own"))
    for number, kind in enumerate((MapFlags.PRIVATE, MapFlags.SHARED)):
        at = BASE + number * 8 * MIB
        do_mmap(mm, at, 5 * MIB, RW, kind | MapFlags.ANONYMOUS | MapFlags.FIXED | MapFlags.POPULATE)
    assert faults == [(FaultResult.MINOR, 512), (FaultResult.MINOR, 512), (FaultResult.MINOR, 256)] * 2
    mm.put()


def test_populate_stops_where_memory_ends(machine: MakeMachine) -> None:
    booted = machine(8 * MIB)
    mm = AddressSpace(booted.kernel.mm_context, "big")
    vma = Vma(BASE, BASE + 16 * MIB, RW)
    mm.insert(vma)
    assert populate_range(mm, vma, vma.start, vma.end, Access.WRITE) == FaultResult.OOM
    assert booted.kernel.frames.free == 0 and mm.rss_anon > 1000
    mm.put()


def test_reads_of_a_huge_hole_map_the_zero_page(machine: MakeMachine) -> None:
    booted = machine(16 * MIB)
    mm = AddressSpace(booted.kernel.mm_context, "hole")
    flags = MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.FIXED | MapFlags.POPULATE | MapFlags.NORESERVE
    do_mmap(mm, BASE, 1 << 30, R, flags)
    assert mm.rss_anon == mm.rss_cache == 0 and mm.tables.tables[1] == 8  # no more pages than there is memory
    assert booted.audit() == []
    mm.put()


# -- frames ------------------------------------------------------------------------------------------------------------


def allocator(mib: int) -> tuple[FrameAllocator, list[int]]:
    """A frame allocator, and the frames that it reports as written."""
    written: list[int] = []
    ram = PhysicalMemory(mib * MIB)
    return FrameAllocator(ram, written.append, lambda frames: written.extend(frames.tolist())), written


@pytest.mark.parametrize("seed", range(by_default(2, 4)))
def test_frames_in_bulk_are_those_of_single_calls(seed: int) -> None:
    rng = random.Random(seed)
    (many, told), (single, told_singly) = allocator(32), allocator(32)
    held: list[int] = []
    for _ in range(60):
        number = rng.choice((1, 5, 700, 3000))
        if rng.random() < 0.55:
            got = many.alloc_many(FrameKind.ANON, number).tolist()
            assert got == [single.alloc(FrameKind.ANON) for _ in range(min(number, single.free))]
            held += got
        else:
            number = min(number, len(held))
            rng.shuffle(held)
            gone, held = held[:number], held[number:]
            for frames in (many, single):
                frames.put_many(np.array(gone, dtype=np.int64))
        assert many.free == single.free and told == told_singly
        assert many.used == single.used and (many.counts == single.counts).all() and (many.kinds == single.kinds).all()


def test_frames_that_are_used_again_are_zero() -> None:
    frames, _ = allocator(32)
    held = frames.alloc_many(FrameKind.ANON, 4000)
    for frame in held.tolist():
        frames.write(frame, 100, b"dirt")
    frames.put_many(held)
    for frame in [*frames.alloc_many(FrameKind.ANON, 1000).tolist(), frames.alloc(FrameKind.ANON)]:
        assert not any(frames.read(frame, 0, PAGE_SIZE))


def test_the_host_gets_many_freed_frames_back() -> None:
    ram = PhysicalMemory(1 << 30)
    free = FreeFrames(ram)
    ram.write(5 << 12, b"dirt")
    free.push(3)
    free.push_many(np.arange(4, 100_000, dtype=np.int64))
    assert not any(ram.read(5 << 12, 4)), "its memory was given back"
    assert len(free) == 99_997
    assert free.pop_many(2).tolist() == [4, 5] and free.pop() == 6
    free.push(5)
    assert (free.pop(), free.pop()) == (5, 7)
    assert free.pop_many(1 << 20).tolist() == [*range(8, 100_000), 3] and len(free) == 0


def test_scattered_frames_stay_with_the_machine() -> None:
    ram = PhysicalMemory(1 << 30)
    free = FreeFrames(ram)
    free.push_many(np.arange(0, 200_000, 2, dtype=np.int64))
    ram.write(4 << 12, b"dirt")
    assert free.pop_many(3).tolist() == [0, 2, 4]
    assert not any(ram.read(4 << 12, 4)), "zeroed when it was taken"


# -- page caches -------------------------------------------------------------------------------------------------------


def test_a_page_cache_against_a_dict() -> None:
    frames, _ = allocator(64)
    cache, model, rng = PageCache(frames, 1 << 40), dict[int, int](), random.Random(7)
    for _ in range(400):
        index = rng.choice((0, 511, 512, 5000, 1 << 30)) + rng.randrange(600)
        match rng.randrange(5):
            case 0:
                model[index] = cache.get_page(index)
            case 1:
                got, fresh = cache.get_many(index, 40)
                assert fresh.tolist() == [i not in model for i in range(index, index + 40)]
                model.update(zip(range(index, index + 40), got.tolist(), strict=True))
            case 2:
                last = index + rng.choice((1, 30, 600, 1 << 40))
                if rng.random() < 0.2:
                    cache.punch(index, last)
                    model = {i: frame for i, frame in model.items() if not index <= i < last}
            case 3:
                assert cache.find(index) == model.get(index)
                assert cache.find_many(index, 700).tolist() == [model.get(i, 0) for i in range(index, index + 700)]
                some = sorted({index, *model, index + 100_000})
                assert cache.find_each(np.array(some)).tolist() == [model.get(i, 0) for i in some]
            case _:
                assert cache.next_page(index) == min((i for i in model if i >= index), default=None)
        assert cache.nr_pages == len(model)
    assert dict(cache.pages()) == model
    assert sorted(frame for batch in cache.frames_in_batches() for frame in batch.tolist()) == sorted(model.values())
    assert frames.used[FrameKind.CACHE] == len(model)
    cache.release()
    assert frames.used[FrameKind.CACHE] == 0


@pytest.mark.parametrize("room", [Room(10), None])
def test_many_pages_or_none(room: Room | None) -> None:
    frames, _ = allocator(1)
    cache = PageCache(frames, 1 << 30, None if room is None else room.charge)
    cache.get_page(3)
    with pytest.raises(LinuxError) as refused:
        cache.get_many(0, 1000)
    assert refused.value.errno == (errno.ENOMEM if room is None else errno.ENOSPC)
    assert list(cache.pages()) == [(3, cache.find(3))] and frames.used[FrameKind.CACHE] == 1
    assert room is None or room.left == 9
