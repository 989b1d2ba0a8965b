"""CPUID dumps: leaves with any values, lines with any bytes."""

from __future__ import annotations

import json
import random
import re

from tests.fuzz.attack import Attack
from tests.fuzz.attacks.run import ending
from tests.fuzz.numbers import damaged, edge
from tests.fuzz.room import Room
from tests.mmu.test_mmu_cpuid import GOLDEN_COVE, ICE_LAKE_SP, SKYLAKE_SP, ZEN_2, ZEN_3, ZEN_4, ZEN_5

_DUMPS = (SKYLAKE_SP, ICE_LAKE_SP, GOLDEN_COVE, ZEN_2, ZEN_3, ZEN_4, ZEN_5)
_REGISTER = re.compile("[0-9A-F]{8}(?=[- ])")
_LINE = re.compile(r"CPUID (\w+): (\w+)-(\w+)-(\w+)-(\w+) \[SL (\w+)\]")


def changed(chance: random.Random, dump: str) -> str:
    """With registers, leaves or sub-leaves of other values."""
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        found = list(_REGISTER.finditer(dump))
        if not found:
            break
        place = chance.choice(found)
        old, kind = int(place[0], 16), chance.random()
        if kind < 0.5:
            new = old ^ 1 << chance.randrange(32)
        elif kind < 0.7:
            new = old & ~(0xFF << (at := 8 * chance.randrange(4))) | chance.randrange(256) << at
        else:
            new = edge(chance) & 0xFFFFFFFF
        dump = f"{dump[: place.start()]}{new:08X}{dump[place.end() :]}"
    lines = dump.splitlines(keepends=True)
    if chance.random() < 0.3:
        lines.append(chance.choice(lines))
    if chance.random() < 0.2:
        del lines[chance.randrange(len(lines))]
    return "".join(lines)


def as_cpuid_r(dump: str) -> str:
    """In the format of `cpuid -r`."""
    return _LINE.sub(r"   0x\1 0x\6: eax=0x\2 ebx=0x\3 ecx=0x\4 edx=0x\5", dump)


class Dumps(Attack):
    """`unimmu presets --cpuid` and `unimmu run --tlb-from-cpuid`."""

    name = "dumps"
    target = "TLBs from CPUID"
    means = "dumps of seven processors with changed leaves, registers, lines and bytes, shown and used as a TLB"
    cases = 150

    def run(self, chance: random.Random, room: Room) -> str:
        dump = changed(chance, "".join(chance.sample(_DUMPS, chance.choice((1, 1, 1, 2)))))
        if chance.random() < 0.3:
            dump = as_cpuid_r(dump)
        data = dump.encode("ascii")
        name = room.file("dump", damaged(chance, data) if chance.random() < 0.3 else data)
        if chance.random() < 0.35:
            words = ("--tlb-from-cpuid", name, "--check-tlb", "--audit", "--json", "figures", "--timeout", "20")
            return self._used(room, words)
        as_json = chance.random() < 0.5
        ran = room.unimmu("presets", "--cpuid", name, *(["--json"] if as_json else []))
        if ran.err.count("\n") != (ran.status == 2):
            ran.wrong("a refusal is one line")
        if ran.status == 0 and as_json:
            json.loads(ran.out)
        return "refused" if ran.status else "shown"

    def _used(self, room: Room, words: tuple[str, ...]) -> str:
        ran = room.unimmu("run", *words, "hello")
        word = ending(ran, room)
        if word != "refused" and ran.out != "hello, world\n":
            ran.wrong("says something else")
        return word
