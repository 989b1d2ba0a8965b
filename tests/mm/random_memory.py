"""Random programs that use much memory, which they check by what they print."""

from __future__ import annotations

import random

from emu.testing import GuestMachine

_BASE, _PAGES = 0x2000_0000, 320
_KINDS = ("PRIVATE|MAP_ANONYMOUS", "MAP_SHARED|MAP_ANONYMOUS", "PRIVATE|MAP_ANONYMOUS")


def _place(area: int, page: int) -> int:
    return _BASE + (area << 24) + (page << 12)


def _operation(chance: random.Random) -> str:
    area, page = chance.randrange(3), chance.randrange(_PAGES)
    number = chance.randrange(1, 40)
    if page + number > _PAGES:
        page = _PAGES - number
    place, length = _place(area, page), number << 12
    kind = chance.choice(["store", "store", "load", "touch", "protect", "unneeded", "lock"])
    if kind == "store":
        return "; ".join(f"@store {_place(area, page + n)} {chance.randrange(1, 1 << 30)}" for n in range(number))
    if kind == "load":
        return "; ".join(f"load {_place(area, page + n)}" for n in range(number))
    if kind == "touch":
        return f"@touch {place} {length}"
    if kind == "protect":
        return f"@mprotect {place} {length} PROT_READ; load {place}; @mprotect {place} {length} RW"
    if kind == "lock":
        return f"@mlock {place} {length}; load {place}; @munlock {place} {length}"
    return f"@madvise {place} {length} 4"


def script(seed: int) -> str:
    """A program that makes, changes and looks at three areas, and so do its children."""
    chance = random.Random(seed)
    lines = [f"@a{n} = mmap {_place(n, 0)} {_PAGES << 12} RW {kind}|MAP_FIXED -1 0" for n, kind in enumerate(_KINDS)]
    lines += [f"@touch a{n} {_PAGES << 12}" for n in range(3)]
    for child in range(4):
        lines += [_operation(chance) for _ in range(8)]
        lines += [f"fork c{child}", *(_operation(chance) for _ in range(6)), f"end; @wait c{child}"]
    lines += [f"load {_place(area, page)}" for area in range(3) for page in range(0, _PAGES, 3)]
    return "; ".join(lines)


def run(script: str, memory: int, **options: object) -> tuple[str, GuestMachine]:
    """What a program prints in a machine of that size, which is to be closed."""
    machine = GuestMachine(memory, modules={}, record=False, **options)  # type: ignore[arg-type]
    result = machine.run_guest("calls", script)
    assert result.status == 0, result
    return "\n".join(line for line in result.stdout.splitlines() if not line.startswith("c")), machine
