"""Races of msharefs: processes on several vCPUs with short turns make, use and end regions, in every generation."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from emu.kernel.sched import StopReason
from msharefs.abi import Generations
from tests.booted import MIB, UNIT, Booted, LinkChecker
from tests.fuzz.attack import Attack
from tests.fuzz.attacks.handlers import close
from tests.fuzz.room import Finding, Room

_INSTRUCTIONS = 20_000_000
_PROTECTIONS = ("RW", "RW", "RW", "PROT_READ", "PROT_NONE", "PROT_WRITE", "PROT_EXEC|PROT_READ")
_OBJECTS = ("OBJECT", "OBJECT", "ANON", "MAP_SHARED|MAP_FIXED m", "MAP_SHARED|MAP_FIXED m 4K", "PRIVATE")
#: What makes a region that all of them use; ``k`` is a page of their own, in which nothing depends on the region.
_MAKING = {
    "v1": '@x = mmap 4T u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; @mshare "r" x u O_RDWR|O_CREAT 0666; @g = say -1',
    "g4": "@g = mshare_create 0; @ftruncate g u+u",
    "rfc3": '@g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0666; @set_size g 0 u+u',
    "y1": '@g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0666; @set_size g 4T u+u',
}
_BY_FILE = '@g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0666; @ftruncate g u+u'


class Writer:
    """Writes what one process does."""

    def __init__(self, chance: random.Random, abi: str) -> None:
        self.chance, self.abi = chance, abi

    def _page(self) -> str:
        chance = self.chance
        return f"{chance.choice(('0', 'u', 'u-4K', 'u-8K'))}+{4 * chance.randrange(5)}K"

    def _range(self) -> str:
        return f"{self._page()} {4 * self.chance.choice((1, 1, 2, 4, 16))}K"

    def _window(self) -> str:
        """Where it is, or would be."""
        return self.chance.choice(("w", "w", "w", "4T", "6T", "6T+u"))

    def access(self) -> str:
        """A load or a store."""
        at = f"{self._window()}+{self._page()}"
        return f"@load {at}" if self.chance.random() < 0.5 else f"@store {at} {self.chance.randrange(1000)}"

    def window(self) -> str:
        """One more or one less."""
        chance, size = self.chance, self.chance.choice(("u", "u+u", "u+u"))
        at = chance.choice(("2T", "4T", "6T"))
        if self.abi == "v1":
            return chance.choice(
                ('@mshare "r" 4T u O_RDWR 0666', '@mshare "r" 4T u O_RDONLY 0666', "@munmap 4T u",
                 '@mshare_unlink "r"', '@mshare "q" 6T u O_RDWR|O_CREAT 0666', '@mshare_unlink "q"', "@munmap 6T u")
            )  # fmt: skip
        if self.abi == "g4":
            return chance.choice(
                (f"@w = mshare_attach g 0 {size} {at} 1", "@mshare_detach w", f"@w = mshare_attach g u u {at} 1",
                 "@h = mshare_create 0", "@close h", f"@munmap w {size}")
            )  # fmt: skip
        return chance.choice(
            (f"@w = mmap {at} {size} RW MAP_SHARED|MAP_FIXED g 0", f"@munmap w {size}", f"@munmap {at} {size}",
             f"@w = mmap {at} {size} PROT_READ MAP_SHARED|MAP_FIXED g 0", f"@mremap w {size} {size} 3 {at}",
             f"@mprotect w {size} PROT_READ", f"@mmap {at} {size} RW ANON|MAP_FIXED|MAP_NORESERVE -1 0")
        )  # fmt: skip

    def contents(self) -> str:
        """A change of what the region holds, or of its rights."""
        chance, prot, kind = self.chance, self.chance.choice(_PROTECTIONS), self.chance.choice(_OBJECTS)
        where = self._range()
        if self.abi == "g4":
            return chance.choice(
                (f"@place g {where} {prot} {kind}", f"@mshare_unmap g {where}", f"@mshare_protect g {where} {prot}",
                 f"@mshare_advise g {where} {chance.choice((4, 9, 22, 23, 21))}")
            )  # fmt: skip
        if self.abi in ("v1", "v2"):
            return f"@madvise w+{where} {chance.choice((4, 9, 10, 22, 23))}"
        at = f"4T+{where}" if self.abi in ("rfc3", "y1") else where
        create, unmap = ("create_at", "unmap_at") if self.abi in ("rfc3", "y1") else ("create", "unmap")
        return chance.choice(
            (f"@{create} g {at} {prot} {kind}", f"@{create} g {at} RW OBJECT", f"@{unmap} g {at}",
             f"@a = words {where} {chance.choice((1, 3, 3))}; @ioctl g 0x40187820 a",
             f"@a = words {where} {chance.choice((4, 9, 22, 23))}; @ioctl g 0x40187821 a")
        )  # fmt: skip

    def life(self) -> str:
        """Files, children, the ends of things."""
        chance = self.chance
        return chance.choice(
            ('@unlink "/sys/fs/mshare/r"', '@g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0666; @ftruncate g u',
             "@close g", "@dup2 g 20", f"@fork c; {self.access()}; {self.contents()}; {self.access()}; end",
             f"@fork c; {self.window()}; {self.access()}; end; @wait c", "@exit 3", '@execve "/bin/spin" 0 0',
             f"@thread x; {self.access()}; {self.contents()}; end", "@sched_yield", "@kill p 9", "@truncate m 4K",
             f"@ftruncate m {chance.choice((0, 4, 8))}K", "@madvise w u 4",
             '@rename "/sys/fs/mshare/r" "/sys/fs/mshare/q"')
        )  # fmt: skip

    def part(self, statements: int) -> str:
        """All that one process does."""
        kinds = (self.access, self.access, self.access, self.window, self.contents, self.contents, self.life)
        lines = [self.chance.choice(kinds)() for _ in range(statements)]
        return "\n".join(["@w = say 2T", self.window(), *lines])


def script(chance: random.Random, abi: str, unit: int) -> str:
    """Several processes that begin with one region, and each go on as they like."""
    setup = (
        f'@u = say {unit}; @m = memfd_create "m" 0; @ftruncate m 8K; @p = say 1000; {_MAKING.get(abi, _BY_FILE)}\n'
        "@create g 0 16K RW OBJECT; @create_at g 4T 16K RW OBJECT; @place g 0 16K RW OBJECT; @w = say 4T"
    )
    children = "\n".join(
        f"@fork p; {Writer(chance, abi).part(chance.randint(5, 30))}\nend" for _ in range(chance.randint(2, 5))
    )
    return f"{setup}\n{children}\n{Writer(chance, abi).part(20)}"


class Checker(LinkChecker):
    """Looks at links only."""

    def event(self, kind: str, *, pid: int | None = None, **fields: Any) -> None:
        if kind in ("link", "unlink"):
            super().event(kind, pid=pid, **fields)
            self.events.clear()


class Races(Attack):
    """Every generation, every level, one to four vCPUs."""

    name = "races"
    target = "msharefs"
    means = (
        "3 to 6 processes and their children on 1 to 4 vCPUs with turns of 20 to 2,000 instructions, which make, map, "
        "use, change and end regions; every generation, level and flushing policy; modelled TLBs"
    )
    cases = 45
    tlbs: ClassVar = ("off", "off", "textbook", "skylake-sp")

    def run(self, chance: random.Random, room: Room) -> str:
        abi, level, tlb = chance.choice(list(Generations())), chance.choice(list(UNIT)), chance.choice(self.tlbs)
        options = {"tlb": chance.choice(("all", "sharers")), "owner": chance.choice(("die", "persist"))}
        if chance.random() < 0.3:
            options[chance.choice(("strict-prot", "strict-fd"))] = "on"
        booted = Booted(
            chance.choice((8, 64)) * MIB, level=level, abi=abi, mount_options=options, cpus=chance.randint(1, 4),
            turn=chance.choice((20, 100, 333, 2000)), tlb=tlb, check_tlb=tlb != "off", la57=chance.random() < 0.2,
            max_instructions=_INSTRUCTIONS, max_guest_s=1e30, seed=chance.getrandbits(16),
        )  # fmt: skip
        checker = Checker(booted)
        booted.guest("calls", script(chance, abi, booted.unit))
        limited = booted.kernel.cpu
        reason = booted.run(lambda: limited.clock > _INSTRUCTIONS // 2)
        if found := booted.audit() + booted.stale_translations():
            raise Finding(f"{abi}, {level}: {found}")
        close(booted)
        if checker.linked.total() or any(checker.linked.values()):
            raise Finding(f"{abi}, {level}: tables stay linked: {checker.linked}")
        word = {StopReason.EXITED: "ended", StopReason.IDLE: "waits for ever"}.get(reason, "stopped")
        return f"{abi} {word}"
