"""Random sequences of memory calls and accesses, in the machine and on the host: every result must be the same."""

from __future__ import annotations

import random

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.exhaustive import by_default
from tests.machine.native_host import ON_X86_LINUX, host_is, needs_host

pytestmark = needs_host

PAGES = 24
#: What was merged into one line: as Linux 6.10 and later do it.
MAPS = f"maps a {4 * PAGES}K" if ON_X86_LINUX and host_is(6, 10) else "say 0"
PROTECTIONS = ("PROT_NONE", "PROT_READ", "PROT_READ", "RW", "RW", "RW", "PROT_WRITE", "RWX", "PROT_READ|PROT_EXEC")
#: A page of nobody, where the arena begins: far from everything that the host's kernel places itself.
SETUP = """
@a = say 0x10000000000
@fd = memfd_create "x" 0; @ftruncate fd 48K; @pwrite fd "0123456789abcdef" 16 4088
@g = memfd_create "y" 0; @ftruncate g 8K; @pwrite g "fedcba9876543210" 16 4088
@z = open "/dev/zero" O_RDWR; @v = bytes 64
"""


class Writer:
    """Writes one script."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.children = 0

    def range(self) -> tuple[str, int]:
        first = self.random.randrange(PAGES)
        return f"a+{4 * first}K", 4 * self.random.randint(1, min(6, PAGES - first))

    def address(self) -> str:
        return f"a+{self.random.randrange(PAGES) * 4096 + self.random.choice((0, 8, 2040, 4088, 4092))}"

    def map(self) -> str:
        at, size = self.range()
        prot = self.random.choice(PROTECTIONS)
        kind = self.random.choice(
            ("PRIVATE|MAP_FIXED -1 0", "ANON|MAP_FIXED -1 0", "MAP_SHARED|MAP_FIXED fd 4K",
             "MAP_PRIVATE|MAP_FIXED fd 0", "PRIVATE|MAP_FIXED_NOREPLACE -1 0", "PRIVATE|MAP_FIXED|MAP_POPULATE -1 0",
             "MAP_PRIVATE|MAP_FIXED z 0", "MAP_SHARED|MAP_FIXED z 0")
        )  # fmt: skip
        return f"mmap {at} {size}K {prot} {kind}"

    def change(self) -> str:
        at, size = self.range()
        to, _ = self.range()
        kind = self.random.choice(
            ("munmap", "mprotect", "mprotect", "mremap", "madvise", "truncate", "mincore", "maps")
        )
        if kind == "mprotect":
            return f"mprotect {at} {size}K {self.random.choice(PROTECTIONS)}"
        if kind == "maps":
            return MAPS
        if kind == "mremap":
            return f"mremap {at} 4K {4 * self.random.randint(0, 2)}K {self.random.choice((0, 3))} {to}"
        if kind == "madvise":
            return f"madvise {at} {size}K {self.random.choice((0, 1, 4, 4, 10, 18))}"
        if kind == "mincore":
            return f"mincore {at} {size}K v; load v"
        if kind == "truncate":
            # never below where pwrite writes: a failed write there extends the file on newer kernels
            return f"ftruncate fd {self.random.choice((8, 9, 20, 36, 48, 48))}K"
        return f"munmap {at} {size}K"

    def access(self) -> str:
        at, value = self.address(), self.random.getrandbits(40) << 8 | 0xC3
        return self.random.choice(
            (f"load {at}", f"load {at}", f"store {at} {value}", f"store {at} {value}", f"pwrite g {at} 20 4090",
             f"read z {at} 5000", f"pread g {at} 100 4K", f"jump a+{self.random.randrange(PAGES) * 4}K")
        )  # fmt: skip

    def script(self, statements: int) -> str:
        for _ in range(statements):
            choice = self.random.random()
            if choice < 0.25:
                self.lines.append(self.map())
            elif choice < 0.4:
                self.lines.append(self.change())
            elif choice < 0.45 and self.children < 6:
                self.children += 1
                inner = [self.access() if self.random.random() < 0.7 else self.change() for _ in range(8)]
                self.lines += ["@fork c", *(s for s in inner if not s.startswith("jump")), "end", "wait c"]
            else:
                self.lines.append(self.access())
        # executing what is no code has results that depend on registers: only pages that begin with RET are called
        self.lines = [f"@store {s.split()[1]} 0xc3\n{s}" if s.startswith("jump") else s for s in self.lines]
        ends = [*(f"load a+{4 * n}K" for n in range(PAGES)), MAPS]
        return SETUP + "\n".join(self.lines + ends)


@pytest.mark.parametrize("seed", range(by_default(10, 24)))
def test_a_random_script_gives_the_same_results_on_the_host(machine: MakeMachine, seed: int) -> None:
    script = Writer(seed).script(120)
    # a page that is not writable may hold anything where it is called
    script = "\n".join(line for line in script.splitlines() if not line.startswith("jump") or seed % 4 == 0)
    here = machine().outcome("calls", script)
    there = native(guests.path("calls"), [script])
    assert with_statements(script, here.stdout) == with_statements(script, there.stdout)
    assert here == there


def with_statements(script: str, output: str) -> list[str]:
    """Each result beside its statement, for the reader of a failure (the statements of children stand in order too)."""
    printed = [s for line in script.splitlines() for s in line.split("; ") if s and not s.startswith(("@", "end"))]
    return [f"{statement:<60} {result}" for statement, result in zip(printed, output.splitlines(), strict=False)]
