"""The host's own TLB counters beside those of the model: the same programs, under ``perf stat`` and in the machine.

The programs are static and touch pages of 4K only (transparent huge pages are off for them); what happens at user level
is counted, on the host with speculation, here without.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emu.bench.loops import program, touch
from emu.machine import Machine
from mmu.geometry import Geometry
from mmu.memory import PAGE_SIZE
from mmu.perf_amd import amd_names
from mmu.perf_events import perf_events

#: The names of perf that every processor may have, and those of Intel's since Skylake.
GENERIC = ("dTLB-loads", "dTLB-load-misses", "dTLB-stores", "dTLB-store-misses", "iTLB-load-misses")
INTEL = ("DTLB_LOAD_MISSES.STLB_HIT", "DTLB_LOAD_MISSES.WALK_COMPLETED", "DTLB_LOAD_MISSES.WALK_ACTIVE")
_AMD, _AMDS_DATA = "amdzen", "ls_l1_d_tlb_miss."
_TEXT, _DATA, _MOST_PAGES = 0x40_0000, 0x50_0000, 16384
_PR_SET_THP_DISABLE = 41
#: A program takes a tenth of a second; who waits longer waits for something else.
_SECONDS = 60


class NoCounters(Exception):
    """The host counts nothing; the message says why."""


@dataclass(frozen=True)
class Job:
    """A program: a sweep over pages, and how often."""

    name: str
    pages: int
    passes: int
    store: bool = False

    def elf(self) -> bytes:
        """The program's file."""
        code = touch(_DATA, self.pages, PAGE_SIZE, self.passes, store=self.store)
        return program(code, _TEXT, _DATA, _MOST_PAGES * PAGE_SIZE)


def jobs(*, quick: bool) -> list[Job]:
    """Sweeps of loads around the capacities of today's TLBs, and one of stores."""
    loads = 100_000 if quick else 1_000_000
    sweeps = [Job(f"loads of {pages} pages in turn", pages, max(4, loads // pages))
              for pages in (32, 256, 1024, 4096, _MOST_PAGES)]  # fmt: skip
    return [*sweeps, Job("stores to 4096 pages in turn", 4096, max(4, loads // 4096), store=True)]


@dataclass(frozen=True)
class Compared:
    """An event of a program: what the host counted, None where it has no such counter, and what the model did."""

    job: Job
    event: str
    host: int | None
    ours: int | None


def names_of(geometry: Geometry) -> tuple[str, ...]:
    """The events that perf knows on processors of this kind only: Intel's, or those of a Zen for data.

    >>> from mmu.presets import load_preset
    >>> names_of(load_preset("zen3"))[-1]
    'ls_l1_d_tlb_miss.all'
    """
    if not geometry.counters.startswith(_AMD):
        return INTEL
    names = amd_names(int(geometry.counters.removeprefix(_AMD)))
    return tuple(name for name in names if name.startswith(_AMDS_DATA))


def compare(geometry: Geometry, chosen: Sequence[Job]) -> tuple[list[Compared], str | None]:
    """Every event of every program, and why the host counted none, if so."""
    perf, why_not, names = shutil.which("perf"), None, names_of(geometry)
    if perf is None:
        why_not = "perf is not installed"
    rows: list[Compared] = []
    with tempfile.TemporaryDirectory() as room:
        for job in chosen:
            path = pathlib.Path(room) / "program"
            path.write_bytes(job.elf())
            path.chmod(0o755)
            host: dict[str, int] = {}
            if perf is not None and why_not is None:
                try:
                    host = {**_host(perf, path, GENERIC), **_specific(perf, path, names)}
                except NoCounters as error:
                    why_not = str(error)
            rows += _rows(job, names, host, _ours(path, geometry))
    return rows, why_not


def _rows(job: Job, names: Sequence[str], host: dict[str, int], ours: dict[str, int]) -> Iterator[Compared]:
    for event in (*GENERIC, *names):
        if event in host or event in ours:
            yield Compared(job, event, host.get(event), ours.get(event))


def _ours(path: pathlib.Path, geometry: Geometry) -> dict[str, int]:
    machine = Machine(256 << 20, tlb=geometry, modules={}, stdout=lambda data: None)
    machine.spawn(path)
    machine.run()
    return perf_events(machine.kernel.cpu.mmu)


def _specific(perf: str, path: pathlib.Path, names: Sequence[str]) -> dict[str, int]:
    """Events that perf knows on some processors only: nothing on others."""
    try:
        return _host(perf, path, names)
    except NoCounters:
        return {}


def _host(perf: str, path: pathlib.Path, events: Sequence[str]) -> dict[str, int]:
    """What perf counts of a program at user level; :class:`NoCounters` if that is none of these events."""
    out = path.with_name("perf.csv")
    out.unlink(missing_ok=True)
    command = [perf, "stat", "-x", ";", "-o", str(out), "-e", ",".join(f"{event}:u" for event in events), str(path)]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env={**os.environ, "LC_ALL": "C"},
            preexec_fn=_without_huge_pages, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCounters(f"perf: {error}") from None
    text = out.read_text() if out.exists() else ""
    found = parse(text, events)
    if not found:
        raise NoCounters(f"perf counts no TLB events on this host ({_why(text, ran.stderr, ran.returncode)})")
    return found


def _why(text: str, said: str, status: int) -> str:
    """Why nothing was counted: what perf wrote of the first event, or said, or its status."""
    for line in text.splitlines():
        fields = line.split(";")
        if len(fields) > 2:
            return f"{fields[2].removesuffix(':u')} is {fields[0]}"
    return next((line.strip() for line in said.splitlines() if "rror" in line), f"its status is {status}")


def _without_huge_pages() -> None:
    """In the child: no transparent huge pages, for it and what it runs."""
    ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def parse(text: str, events: Sequence[str]) -> dict[str, int]:
    """The counts in what ``perf stat -x ';'`` has written, of those events that were counted.

    >>> parse("1200;;dTLB-loads:u;5;100.00;;", ["dTLB-loads", "dTLB-stores"])
    {'dTLB-loads': 1200}
    """
    names = {event.lower(): event for event in events}
    found = {}
    for line in text.splitlines():
        fields = line.split(";")
        event = names.get(fields[2].removesuffix(":u").lower()) if len(fields) > 2 else None
        if event is not None and fields[0].isdecimal():
            found[event] = int(fields[0])
    return found
