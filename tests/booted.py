"""Machines for tests: small, with captured output, and audited in the end."""

from __future__ import annotations

import errno
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import guests
import msharefs.module
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.linux.errors import LinuxError
from emu.mm.kmem import RESERVE
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import ADDRESS, LEVEL_OF, level_name
from emu.testing import GuestMachine
from emu.trace.schema import Schema
from msharefs.region import Region
from msharefs.window import WindowOperations

MIB = 1 << 20
GIB = 1 << 30
#: Seconds of host time that a machine may take on a busy host: pytest gives a test 300.
PATIENCE_S = 250.0
UNIT = {"pte": 2 * MIB, "pmd": GIB, "pud": 512 * GIB}


class Outcome(NamedTuple):
    """What a program did, in the machine or on the host."""

    stdout: str
    stderr: str
    exit_status: int | None  # None if a signal ended it
    signal: str = ""


class Booted(GuestMachine):
    """The machine of the pytest plugin, with msharefs whether or not it is installed, and what our own tests need."""

    def __init__(self, memory: int = 64 * MIB, **options: Any) -> None:
        self._taken: list[int] = []
        super().__init__(
            memory,
            **{
                "modules": {"msharefs": msharefs.module.init},
                "record": False,
                "check_tlb": False,
                "timeout_s": PATIENCE_S,
                **options,
            },
        )

    # -- running ---------------------------------------------------------------------------------------------------

    def outcome(self, name: str | Path, *arguments: object) -> Outcome:
        """Run a prebuilt guest, or a program of the host, to its end."""
        program = name if isinstance(name, Path) else guests.path(name)
        return self.outcome_of(self.spawn(program, [str(a) for a in arguments]))

    def outcome_of(self, task: Task) -> Outcome:
        """Run everything to its end; returns the outcome of ``task`` and the output."""
        result = self.result_of(task)
        return Outcome(result.stdout, result.stderr, result.status, result.signal)

    def calls(self, script: str) -> list[str]:
        """Run a script of the guest ``calls`` to its end; the lines that it printed, and then those of its children."""
        outcome = self.outcome("calls", script)
        assert (outcome.stderr, outcome.exit_status) == ("", 0), outcome
        return outcome.stdout.splitlines()

    # -- scarcity --------------------------------------------------------------------------------------------------

    def take_frames(self, left: int) -> None:
        """Take all frames but ``left``; the audit does not check the owners of reserved frames."""
        frames = self.kernel.frames
        self._taken += [frames.alloc(FrameKind.RESERVED) for _ in range(frames.free - left)]

    def take_reserve(self, left: int) -> None:
        """Let the kernel's objects take only so many more bytes; no frame pays for further ones."""

        def refuse(least: int, most: int) -> int:
            raise LinuxError(errno.ENOMEM)

        kmem = self.kernel.frames.kmem
        kmem._room, kmem._take = kmem.charged + left, refuse

    def give_back_reserve(self) -> None:
        """Undo that."""
        frames = self.kernel.frames
        frames.kmem._room, frames.kmem._take = RESERVE + (frames.kmem.pages << 12), frames.withdraw

    def give_back_frames(self) -> None:
        """Undo that."""
        for frame in self._taken:
            self.kernel.frames.put(frame)
        self._taken.clear()

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def regions(self) -> list[Region]:
        """The regions that exist, oldest first."""
        addresses = self.kernel.mm_context.address_spaces.values()
        windows = [vma.ops for mm in addresses for vma in mm.vmas if isinstance(vma.ops, WindowOperations)]
        return list(dict.fromkeys(window.region for window in windows))

    @property
    def pagetable_kb(self) -> int:
        """What /proc/meminfo calls PageTables."""
        return self.pagetable_bytes >> 10


MakeMachine = Callable[..., Booted]


@pytest.fixture
def machine() -> Iterator[MakeMachine]:
    """Makes machines of 64 MiB with msharefs (``memory=``, ``level=``, ``stdin=`` and what Machine takes); each is
    audited, and its processes are ended, when the test is over.
    """
    made: list[Booted] = []

    def make(memory: int = 64 * MIB, **options: Any) -> Booted:
        made.append(Booted(memory, **options))
        return made[-1]

    yield make
    found = [finding for booted in made for finding in booted.close()]
    assert not found, "\n".join(found)


class Mark(NamedTuple):
    """What stood on the counters when the guest ``calls`` came to a ``mark``."""

    hardware: int  # page-fault exceptions of the process
    minor: int
    link: int
    tables_kb: int  # of the whole system: PageTables in /proc/meminfo
    vm_pte_kb: int  # of the process
    vm_rss_kb: int

    def since(self, earlier: Mark) -> tuple[int, int, int]:
        """Faults since then: hardware, minor, link."""
        return self.hardware - earlier.hardware, self.minor - earlier.minor, self.link - earlier.link


class Recorder(Tracer):
    """Keeps every event, each of which must be as the schema declares it, and the marks of a script by number."""

    active = True

    def __init__(self, booted: Booted) -> None:
        self.booted = booted
        self.events: list[dict[str, Any]] = []
        self.schema = Schema(booted.kernel.event_kinds)
        self.marks: dict[int, Mark] = {}
        booted.kernel.tracer = self
        booted.marks.listeners.append(self.note_mark)

    def event(self, kind: str, *, pid: int | None = None, **fields: Any) -> None:
        self.schema[kind].encode(fields)
        self.events.append({"kind": kind, "pid": pid, **fields})

    def note_mark(self, task: Task, number: int) -> None:
        usage, mm = task.usage, task.mm
        self.marks[number] = Mark(
            usage.hw_faults,
            usage.min_flt,
            usage.link_faults,
            self.booted.pagetable_kb,
            mm.tables.vm_pte_bytes >> 10,
            (mm.rss_anon + mm.rss_cache) << 2,
        )


class LinkChecker(Recorder):
    """Checks every event against memory and the share counts at the moment when it is reported."""

    def __init__(self, booted: Booted) -> None:
        super().__init__(booted)
        #: Links of each table, by its frame.
        self.linked: Counter[int] = Counter()

    def event(self, kind: str, *, pid: int | None = None, **fields: Any) -> None:
        super().event(kind, pid=pid, **fields)
        words = self.booted.ram.qwords
        entry_paddr, before, after = fields["entry_paddr"], fields["before"], fields["after"]
        assert words[entry_paddr >> 3] == after
        if kind == "link":
            assert before == 0
            assert after == fields["host_entry"] == words[fields["host_entry_paddr"] >> 3]
            table, change = (after & ADDRESS) >> 12, 1
        else:
            assert kind == "unlink" and after == 0
            table, change = (before & ADDRESS) >> 12, -1
            assert before & 1 and fields["host_entry"] is None
        self.linked[table] += change
        assert self.linked[table] == self.booted.kernel.share_counts[table] >= 0
        assert fields["length"] == UNIT[fields["level"]] and fields["vaddr"] % fields["length"] == 0
        levels = self.booted.kernel.mm_context.levels
        assert fields["entry_level"] == level_name(LEVEL_OF[fields["level"]] + 1, levels)

    def story(self) -> list[str]:
        """The events in short: ``link 0 a 2T+1`` is process 0 (the first), region a, the second slot at 2 TiB."""
        lines = []
        for event in self.events:
            base, rest = divmod(event["vaddr"], 1 << 40)
            slot = f"+{rest // event['length']}" if rest else ""
            lines.append(f"{event['kind']} {event['pid'] - 100} {event['region']} {base}T{slot}")
        return lines


def native(program: Path, arguments: Sequence[object] = (), *, timeout_s: float = 60, **options: Any) -> Outcome:
    """Run a program on the host, with an empty environment."""
    command = [str(program), *(str(a) for a in arguments)]
    done = subprocess.run(command, capture_output=True, timeout=timeout_s, env={}, check=False, **options)
    code = done.returncode
    return Outcome(
        done.stdout.decode(),
        done.stderr.decode(),
        code if code >= 0 else None,
        signal.Signals(-code).name if code < 0 else "",
    )
