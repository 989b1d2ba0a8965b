"""Random calls on mappings of huge pages in several processes: shared memory stays coherent, and the audit finds
nothing after every step, with and without the sharing of PMD tables.
"""

from __future__ import annotations

import random

import pytest

import msharefs.module
import sharing.hugetlb_pmd
from emu.fs.hugetlbfs import HugetlbFile
from emu.linux.errors import LinuxError
from emu.linux.mman import MapFlags, Prot
from emu.mm.address_space import AddressSpace
from emu.mm.fork import dup_mm
from emu.mm.hugetlb import HPAGE_SIZE
from emu.mm.mmap import do_mmap, do_munmap
from emu.mm.mprotect import do_mprotect
from emu.mm.mremap import do_mremap
from tests.booted import GIB, Booted, MakeMachine

POOL = 12
STEPS = 150
RW = Prot.READ | Prot.WRITE
#: Where mappings begin: some aligned to 1 GiB, some not.
PLACES = (8 * GIB, 16 * GIB, 24 * GIB, 32 * GIB + HPAGE_SIZE, 40 * GIB)
#: Pages that are touched, by their number in the file: a file has 1 GiB and 4 pages.
NUMBERS = (0, 1, 2, 511, 512, 515)
LENGTH = GIB + 4 * HPAGE_SIZE


class Actor:
    """Does one random thing at a time, and remembers what the file must hold."""

    def __init__(self, booted: Booted, seed: int) -> None:
        self.kernel, self.rng = booted.kernel, random.Random(seed)
        file = self.kernel.vfs.hugetlb_file_setup("memfd:m", LENGTH)
        assert isinstance(file, HugetlbFile)
        self.file = file
        self.spaces = [AddressSpace(self.kernel.mm_context, "first")]
        #: What has been written to the file's pages through shared mappings.
        self.written: dict[int, int] = {}

    def step(self) -> None:
        deeds = {self.map: 3, self.touch: 20, self.unmap: 1, self.protect: 1, self.fork: 2, self.exit: 1, self.move: 1,
                 self.drop: 1, self.punch: 1, self.truncate: 1, self.resize: 1}  # fmt: skip
        (deed,) = self.rng.choices(list(deeds), list(deeds.values()))
        try:
            deed(self.rng.choice(self.spaces))
        except LinuxError:  # as a process would see it: no page, no memory, no such range
            pass

    def map(self, mm: AddressSpace) -> None:
        kind = self.rng.choice((MapFlags.SHARED, MapFlags.SHARED, MapFlags.SHARED, MapFlags.PRIVATE))
        flags = kind | MapFlags.FIXED | self.rng.choice((MapFlags.NORESERVE, MapFlags(0)))
        prot = self.rng.choice((RW, RW, RW, RW, Prot.READ))
        if self.rng.random() < 0.2:
            do_mmap(mm, self.rng.choice(PLACES), 4 * HPAGE_SIZE, prot, flags, self.file, 0)
        else:
            do_mmap(mm, self.rng.choice(PLACES), LENGTH, prot, flags | MapFlags.NORESERVE, self.file, 0)

    def touch(self, mm: AddressSpace) -> None:
        number, place, value = self.rng.choice(NUMBERS), self.rng.choice(PLACES), self.rng.randrange(1, 1 << 60)
        address = place + number * HPAGE_SIZE + 8 * self.rng.randrange(1000)
        offset = address % HPAGE_SIZE
        vma = mm.vmas.find(address)
        if vma is None or vma.start != place or vma.pgoff:
            return
        key = number * HPAGE_SIZE + offset
        if self.rng.random() < 0.5 and vma.prot & Prot.WRITE:
            mm.write_u64(address, value)
            assert mm.read_u64(address) == value
            if vma.shared:
                self.written[key] = value
        else:
            found = mm.read_u64(address)
            assert not vma.shared or found == self.written.get(key, 0)

    def unmap(self, mm: AddressSpace) -> None:
        start = self.rng.choice(PLACES) + self.rng.choice((0, HPAGE_SIZE))
        do_munmap(mm, start, self.rng.choice((LENGTH, 2 * HPAGE_SIZE)))

    def protect(self, mm: AddressSpace) -> None:
        length = self.rng.choice((LENGTH, GIB, 2 * HPAGE_SIZE, 4096))
        do_mprotect(mm, self.rng.choice(PLACES), length, self.rng.choice((RW, Prot.READ, Prot.NONE)))

    def fork(self, mm: AddressSpace) -> None:
        if len(self.spaces) < 4:
            self.spaces.append(dup_mm(mm, "child"))

    def exit(self, mm: AddressSpace) -> None:
        if len(self.spaces) > 1:
            self.spaces.remove(mm)
            mm.put()

    def move(self, mm: AddressSpace) -> None:
        do_mremap(mm, self.rng.choice(PLACES), LENGTH, LENGTH, 3, self.rng.choice(PLACES))

    def drop(self, mm: AddressSpace) -> None:
        for vma in list(mm.vmas):
            vma.ops.zap(mm, vma, vma.start, min(vma.end, vma.start + 4 * HPAGE_SIZE))

    def punch(self, _mm: AddressSpace) -> None:
        number = self.rng.choice(NUMBERS)
        self.file.fallocate(3, number * HPAGE_SIZE, HPAGE_SIZE)
        self._forget(number, number + 1)

    def truncate(self, _mm: AddressSpace) -> None:
        if self.rng.random() < 0.3:
            self.file.inode.truncate(self.rng.choice((0, 2, 512)) * HPAGE_SIZE)
            self._forget(self.file.inode.size // HPAGE_SIZE, 1 << 20)
        self.file.inode.truncate(LENGTH)

    def resize(self, _mm: AddressSpace) -> None:
        self.kernel.huge_pages.resize(self.rng.choice((POOL, POOL, 4, 0)))

    def _forget(self, first: int, last: int) -> None:
        for key in [key for key in self.written if first <= key // HPAGE_SIZE < last]:
            del self.written[key]

    def end(self) -> None:
        for mm in self.spaces:
            mm.put()
        self.file.put()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "hugetlb_pmd"])
def test_random_calls(machine: MakeMachine, shared: bool, seed: int) -> None:
    modules = {"msharefs": msharefs.module.init}
    if shared:
        modules["hugetlb_pmd"] = sharing.hugetlb_pmd.init
    booted = machine(hugepages=POOL, modules=modules)
    actor = Actor(booted, seed)
    for step in range(STEPS):
        actor.step()
        assert booted.audit() == [], f"after step {step}"
    actor.end()
    booted.kernel.huge_pages.resize(POOL)
    pool = booted.kernel.huge_pages
    assert (pool.total, pool.free, pool.reserved, pool.surplus) == (POOL, POOL, 0, 0)
