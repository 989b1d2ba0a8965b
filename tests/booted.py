"""Machines for tests: small, with captured output, and audited in the end."""

from __future__ import annotations

import io
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import guests
import msharefs.module
from emu.fs.tmpfs import TmpfsSuperBlock
from emu.kernel.errors import LinuxError
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.machine import Machine, Mount
from emu.mm.frames import FrameKind
from emu.mm.pagetable import ADDRESS, LEVEL_OF, level_name
from msharefs.module import MOUNT_POINT
from msharefs.region import Region

MIB = 1 << 20
GIB = 1 << 30
UNIT = {"pte": 2 * MIB, "pmd": GIB, "pud": 512 * GIB}


class Outcome(NamedTuple):
    """What a program did, in the machine or on the host."""

    stdout: str
    stderr: str
    exit_status: int | None  # None if a signal ended it
    signal: str = ""


class Booted(Machine):
    """A machine whose output is kept and whose end is checked."""

    def __init__(self, memory: int = 64 * MIB, *, level: str = "pmd", stdin: str = "", **options: Any) -> None:
        self.out, self.err, self.logged = bytearray(), bytearray(), list[str]()
        options.setdefault("mounts", [Mount("msharefs", MOUNT_POINT, f"level={level}")])
        super().__init__(
            memory,
            modules={"msharefs": msharefs.module.init},
            stdin=io.BytesIO(stdin.encode()),
            stdout=self.out.extend,
            stderr=self.err.extend,
            log=self.logged.append,
            **options,
        )
        self.unit = UNIT[level]
        self._taken: list[int] = []

    # -- running ---------------------------------------------------------------------------------------------------

    def guest(self, name: str, *arguments: object, env: dict[str, str] | None = None) -> Task:
        """Start a prebuilt guest program."""
        return self.spawn(guests.path(name), [str(a) for a in arguments], env)

    def finish(self, timeout_s: float = 60) -> None:
        """Run until every process has ended; anything else fails the test."""
        reason = self.run(timeout_s=timeout_s)
        assert reason == StopReason.EXITED, f"{reason.value}; output so far:\n{self.stdout}{self.stderr}"

    def outcome(self, name: str | Path, *arguments: object) -> Outcome:
        """Run a prebuilt guest, or a program of the host, to its end."""
        program = name if isinstance(name, Path) else guests.path(name)
        return self.outcome_of(self.spawn(program, [str(a) for a in arguments]))

    def outcome_of(self, task: Task) -> Outcome:
        """Run everything to its end; what became of ``task`` and what was printed meanwhile."""
        printed, complained = len(self.out), len(self.err)
        self.finish()
        signo = task.exit_code & 0x7F
        return Outcome(
            self.out[printed:].decode(),
            self.err[complained:].decode(),
            None if signo else task.exit_code >> 8,
            signal.Signals(signo).name if signo else "",
        )

    def calls(self, script: str) -> list[str]:
        """Run a script of the guest ``calls`` to its end; the lines that it printed, and then those of its children."""
        outcome = self.outcome("calls", script)
        assert (outcome.stderr, outcome.exit_status) == ("", 0), outcome
        return outcome.stdout.splitlines()

    @property
    def stdout(self) -> str:
        """What programs have printed."""
        return self.out.decode()

    @property
    def stderr(self) -> str:
        """What programs have complained of."""
        return self.err.decode()

    # -- scarcity --------------------------------------------------------------------------------------------------

    def take_frames(self, left: int) -> None:
        """Take all frames but ``left``; the audit does not ask who has reserved frames."""
        frames = self.kernel.frames
        self._taken += [frames.alloc(FrameKind.RESERVED) for _ in range(frames.free - left)]

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
        windows = {vma.ops.region: None for mm in addresses for vma in mm.vmas if vma.ops and vma.ops.owns_tables}
        return list(windows)

    @property
    def pagetable_kb(self) -> int:
        """What /proc/meminfo calls PageTables."""
        return self.kernel.frames.used[FrameKind.PAGETABLE] * 4

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """End everything; whatever is wrong then, in sentences."""
        found = self.audit()
        self.kill_all()
        found += [f"after the last process: {finding}" for finding in self.audit()]
        try:
            self.kernel.vfs.umount(MOUNT_POINT)
        except LinuxError as error:
            found.append(f"umount {MOUNT_POINT}: {error}")
        found += [f"{mm.name} is left" for mm in self.kernel.mm_context.address_spaces.values()]
        used, files = self.kernel.frames.used, 0
        for mount in self.kernel.vfs.mount_table:
            if isinstance(mount.sb, TmpfsSuperBlock):
                files += mount.sb.used_blocks
        expected = {FrameKind.PAGETABLE: 0, FrameKind.ANON: 0, FrameKind.CACHE: files}
        found += [
            f"{used[kind]} frames of {kind.name} are left, {n} are right"
            for kind, n in expected.items()
            if used[kind] != n
        ]
        return found + [f"after everything: {finding}" for finding in self.audit()]


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
    """Keeps every event, and the marks of a script by number."""

    active = True

    def __init__(self, booted: Booted) -> None:
        self.booted = booted
        self.events: list[dict[str, Any]] = []
        self.marks: dict[int, Mark] = {}
        booted.kernel.tracer = self

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append({"kind": kind, **fields})

    def syscall_enter(self, task: Task, number: int, call: object, arguments: tuple[int, ...]) -> None:
        if number == 1_000_000:
            usage, mm = task.usage, task.mm
            self.marks[arguments[0]] = Mark(
                usage.hw_faults,
                usage.min_flt,
                usage.link_faults,
                self.booted.pagetable_kb,
                mm.tables.vm_pte_bytes >> 10,
                (mm.rss_anon + mm.rss_cache) << 2,
            )


class LinkChecker(Recorder):
    """Holds every event against memory and the share counts, at the moment when it is told."""

    def __init__(self, booted: Booted) -> None:
        super().__init__(booted)
        #: Links of each table, by its frame.
        self.linked: Counter[int] = Counter()

    def event(self, kind: str, **fields: Any) -> None:
        super().event(kind, **fields)
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
