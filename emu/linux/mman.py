"""The flags of mmap(2) and mprotect(2) (include/uapi/asm-generic/mman.h, x86-64 values)."""

from __future__ import annotations

from emu.linux.words import Choice, Flags, huge_bits, tested_often, unknown


@tested_often
class Prot(Flags, prefix="PROT_", zero="PROT_NONE"):
    """PROT_* (asm-generic/mman-common.h)."""

    NONE = 0
    READ = 1
    WRITE = 2
    EXEC = 4
    SEM = 8
    GROWSDOWN = 0x0100_0000
    GROWSUP = 0x0200_0000


@tested_often
class MapFlags(Flags, prefix="MAP_"):
    """MAP_* (asm-generic/mman.h, asm/mman.h)."""

    SHARED = 0x01
    PRIVATE = 0x02
    SHARED_VALIDATE = 0x03
    DROPPABLE = 0x08
    TYPE = 0x0F
    FIXED = 0x10
    ANONYMOUS = 0x20
    MAP_32BIT = 0x40
    ABOVE4G = 0x80
    GROWSDOWN = 0x100
    DENYWRITE = 0x800
    EXECUTABLE = 0x1000
    LOCKED = 0x2000
    NORESERVE = 0x4000
    POPULATE = 0x8000
    NONBLOCK = 0x10000
    STACK = 0x20000
    HUGETLB = 0x40000
    SYNC = 0x80000
    FIXED_NOREPLACE = 0x100000

    @classmethod
    def words(cls, value: int) -> str:
        kind, rest = value & cls.TYPE, value & ~int(cls.TYPE)
        names = {0: "MAP_FILE", 1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE", 8: "MAP_DROPPABLE"}
        name = names.get(kind) or unknown(kind, cls.prefix)
        return "|".join([name, *huge_bits(rest & 0xFFFFFFFF, cls.names(), cls.prefix)])

    @classmethod
    def names(cls) -> dict[int, str]:
        """In strace's order."""
        bits = super().names()
        return {bit: bits.pop(bit) for bit in map(int, _SHOWN_FIRST)} | bits


_SHOWN_FIRST = (
    MapFlags.FIXED, MapFlags.ANONYMOUS, MapFlags.MAP_32BIT, MapFlags.ABOVE4G, MapFlags.NORESERVE, MapFlags.POPULATE,
    MapFlags.NONBLOCK,
)  # fmt: skip


class Advice(Choice, prefix="MADV_"):
    """MADV_*."""

    NORMAL = 0
    RANDOM = 1
    SEQUENTIAL = 2
    WILLNEED = 3
    DONTNEED = 4
    FREE = 8
    REMOVE = 9
    DONTFORK = 10
    DOFORK = 11
    MERGEABLE = 12
    UNMERGEABLE = 13
    HUGEPAGE = 14
    NOHUGEPAGE = 15
    DONTDUMP = 16
    DODUMP = 17
    WIPEONFORK = 18
    KEEPONFORK = 19
    COLD = 20
    PAGEOUT = 21
    POPULATE_READ = 22
    POPULATE_WRITE = 23
    DONTNEED_LOCKED = 24
    COLLAPSE = 25
    GUARD_INSTALL = 102
    GUARD_REMOVE = 103
