"""Many cases of one attack, from a seed on: each in a process and a directory of its own."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import emu
import mmu
import msharefs
import sharing
from mmu.native import entry_points
from mmu.objectcode import load
from tests.fuzz.attack import Attack
from tests.fuzz.child import resident_kib, run_child
from tests.fuzz.room import Finding, Room

#: A case may run the command several times, each with a limit of its own.
_LIMIT_S = 400.0
#: For those who compile or measure.
_NOT_IMPORTED = ("mmu.compiler", "mmu.intrinsics", "emu.bench", "emu.testing.plugin")


@dataclass
class Tally:
    """What came of a number of cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    #: Seed -> what was found.
    findings: dict[int, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """How many there were."""
        return self.outcomes.total() + len(self.findings)

    def line(self, attack: Attack, first: int) -> str:
        """All of it in a line."""
        ends = ", ".join(f"{word} {n}" for word, n in sorted(self.outcomes.items(), key=lambda one: (-one[1], one[0])))
        found = f"{len(self.findings)} found" if self.findings else "nothing found"
        return f"{attack.name}: {self.cases} cases from seed {first} ({ends or 'none ended'}); {found}"


class Campaign:
    """Runs cases of one attack."""

    def __init__(self, attack: Attack, keep: Path | None = None) -> None:
        """``keep``: where the directories of cases that found something stay."""
        self.attack = attack
        self._keep = keep

    def run(self, seeds: Iterator[int], until: Callable[[], bool]) -> Tally:
        """Cases of these seeds, one after the other, until there are no more or ``until()`` holds."""
        tally = Tally()
        sys.dont_write_bytecode = True  # which is written beside the sources
        with tempfile.TemporaryDirectory(prefix="unimmu-fuzz-") as scratch:
            _import_all()
            self.attack.prepare(Room(Path(scratch) / "all"))
            gc.collect()
            gc.freeze()
            for seed in seeds:
                directory = Path(scratch) / str(seed)
                try:
                    tally.outcomes[self._case(seed, Room(directory))] += 1
                except Finding as finding:
                    tally.findings[seed] = str(finding)
                    if self._keep is not None:
                        _keep_files(directory, self._keep / f"{self.attack.name}-{seed}")
                shutil.rmtree(directory, ignore_errors=True)
                if until():
                    break
        return tally

    def _case(self, seed: int, room: Room) -> str:
        sys.stdout.flush()
        result = room.directory / "result"
        before = resident_kib()

        def deed() -> None:
            log = os.open(room.directory / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            for number in (1, 2):
                os.dup2(log, number)
            room.enter()
            word = self.attack.run(random.Random(f"{self.attack.name} {seed}"), room)
            result.write_text(word, "utf-8")

        end = run_child(deed, _LIMIT_S)
        log = (room.directory / "log").read_text("utf-8", "backslashreplace")
        if end.killed:
            raise Finding(f"does not end within {_LIMIT_S:g} seconds: {log[-3000:]}")
        room.check_nothing_outside()
        if end.status:
            raise Finding(f"ends with {end.status}: {log[-5000:]}")
        if end.left:
            raise Finding("leaves processes behind")
        most = before + (self.attack.memory_mib << 10)
        if end.peak_kib > most:
            raise Finding(f"takes {end.peak_kib >> 10} MiB of memory, more than {most >> 10}")
        return result.read_text("utf-8")


def _import_all() -> None:
    """What every case needs, so that each takes milliseconds: all modules, and all native code."""
    importlib.import_module("capstone")
    for package in (emu, mmu, msharefs, sharing):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and not module.name.startswith(_NOT_IMPORTED):
                if entry_points(importlib.import_module(module.name)):
                    load(module.name)


def _keep_files(directory: Path, to: Path) -> None:
    """Copy what can be copied: FIFOs and sockets cannot."""
    with contextlib.suppress(shutil.Error):
        shutil.copytree(directory, to, symlinks=True, dirs_exist_ok=True)


def deadline(hours: float) -> Callable[[], bool]:
    """Whether so many hours have passed from now on."""
    end = time.monotonic() + 3600 * hours
    return lambda: time.monotonic() >= end
