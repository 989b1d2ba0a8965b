"""Random use of one region by three processes, against a model that is a dictionary."""

from __future__ import annotations

import random

import pytest

from tests.booted import UNIT, LinkChecker, MakeMachine

#: Pages that are used, around the start of each of two slots.
NEAR = 6
PROTECTIONS = {"RW": "rw", "PROT_READ": "r", "PROT_NONE": "", "PROT_WRITE": "rw"}


class Model:
    """The region's contents and the processes with a window; each operation returns (statement, expected output)."""

    def __init__(self, seed: int, unit: int) -> None:
        self.random = random.Random(seed)
        self.pages = [base + 4096 * n for base in (0, unit - 4096 * NEAR, unit) for n in range(NEAR)]
        self.rights: dict[int, str] = {}
        self.values: dict[int, int] = {}
        self.mapped = [False] * 3
        self.count = 0

    def _range(self) -> tuple[int, list[int]]:
        at = self.random.choice(self.pages)
        return at, [at + 4096 * n for n in range(self.random.randint(1, 8))]

    def create(self, _process: int) -> tuple[str, str]:
        at, pages = self._range()
        prot = self.random.choice(list(PROTECTIONS))
        for page in pages:
            self.rights[page] = PROTECTIONS[prot]
            self.values.pop(page, None)
        return f"create fd {at} {len(pages) * 4}K {prot} OBJECT", "create = 0"

    def unmap(self, _process: int) -> tuple[str, str]:
        at, pages = self._range()
        for page in pages:
            self.rights.pop(page, None)
            self.values.pop(page, None)
        return f"unmap fd {at} {len(pages) * 4}K", "unmap = 0"

    def window(self, process: int) -> tuple[str, str]:
        if self.mapped[process]:
            self.mapped[process] = False
            return "munmap w SIZE", "munmap = 0"
        self.mapped[process] = True
        return "mmap w SIZE RW MAP_SHARED|MAP_FIXED fd 0; say 0", f"mmap = {(2 + 2 * process) << 40:#x}\nsay = 0"

    def advise(self, process: int) -> tuple[str, str]:
        page = self.random.choice(self.pages)
        return f"madvise w+{page} 4K 4", "madvise = 0" if self.mapped[process] else "madvise = ENOMEM"

    def load(self, process: int) -> tuple[str, str]:
        page = self.random.choice(self.pages)
        return f"load w+{page}", f"load = {self._read(process, page)}"

    def _read(self, process: int, page: int) -> str:
        if not self.mapped[process] or page not in self.rights:
            return "SEGV_MAPERR"
        return str(self.values.get(page, 0)) if self.rights[page] else "SEGV_ACCERR"

    def store(self, process: int) -> tuple[str, str]:
        page = self.random.choice(self.pages)
        self.count += 1
        if not self.mapped[process] or page not in self.rights:
            return f"store w+{page} {self.count}", "store = SEGV_MAPERR"
        if "w" not in self.rights[page]:
            return f"store w+{page} {self.count}", "store = SEGV_ACCERR"
        self.values[page] = self.count
        return f"store w+{page} {self.count}", "store = 0"

    def child(self, process: int) -> tuple[str, str]:
        """A child uses the inherited window and goes."""
        page = self.random.choice(self.pages)
        seen = self._read(process, page)
        statement, printed = self.store(process)
        return f"@fork k; load w+{page}; {statement}; end; @wait k", f"load = {seen}\n{printed}"

    def step(self, process: int) -> tuple[str, str]:
        operations = (
            self.create,
            self.unmap,
            self.window,
            self.advise,
            self.child,
            *[self.load] * 6,
            *[self.store] * 6,
        )
        return self.random.choice(operations)(process)


def write(seed: int, unit: int, steps: int) -> tuple[str, str]:
    """A script in which three processes take turns, and its output."""
    model = Model(seed, unit)
    parts: list[list[str]] = [[f"@w = say {(2 + 2 * process)}T"] for process in range(3)]
    printed = []
    for turn in range(steps):
        process = model.random.randrange(3)
        statement, line = model.step(process)
        parts[process].append(f"@await s {turn}; {statement}; @store s {turn + 1}")
        printed.append(line)
    setup = '@s = mmap 0 4K RW ANON -1 0; @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd SIZE'
    first, second, third = ("\n".join(part) for part in parts)
    script = f"{setup}\n@fork b; {second}; end\n@fork c; {third}; end\n{first}\n@wait b; @wait c"
    return script.replace("SIZE", str(2 * unit)), "\n".join(printed) + "\n"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", UNIT)
def test_three_processes_use_a_region_at_random(machine: MakeMachine, level: str, seed: int) -> None:
    booted = machine(level=level)
    checker = LinkChecker(booted)
    script, expected = write(seed, booted.unit, 200)
    assert booted.outcome("calls", script) == (expected, "", 0, "")
    assert not +checker.linked
