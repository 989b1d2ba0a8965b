"""The directory of one case, and the command ``unimmu`` run in it, with what must hold for every run."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mmu.codecache import cache_directory
from tests.fuzz.child import End, resident_kib, run_child
from tests.fuzz.guard import confine

#: Beyond memory of the machine itself: what the engine, its code and the kernel's objects may take.
HOST_MIB = 256
#: No case takes this long, even on a machine that does ten other things.
LIMIT_S = 120.0
#: A run with --timeout T takes at most this CPU time more than 1.1 T; a busy machine does not count.
MARGIN_S = 3.0
#: The documented exit statuses: of `unimmu run` also whatever the guest ends with.
_OF_ALL = frozenset({0, 2, 74, 130, 141})
_FINDING = re.compile(r"^unimmu: (?:audit|check-tlb): (?!every ).*$", re.MULTILINE)
_OUTSIDE = ".outside"


class Finding(Exception):
    """Something is wrong; the message says what."""


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    words: Sequence[str]
    status: int
    out: str
    err: str
    end: End

    def wrong(self, what: str) -> NoReturn:
        """Finding, with all that is known."""
        shown = "".join(f"\n  {name}: {text[-3000:]!r}" for name, text in (("out", self.out), ("err", self.err)))
        raise Finding(f"{what}\n  unimmu {self.words!r}: status {self.status}{shown}")


class Room:
    """A directory with ``work``, where a case runs; ``home`` is beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.work = directory / "work"
        self.work.mkdir(parents=True)
        (directory / "home").mkdir()
        self._cache = cache_directory()  # it may be in use already, whatever becomes of HOME

    def file(self, name: str, data: bytes, mode: int = 0o644) -> str:
        """Make a file in ``work``; returns its name there."""
        path = self.work / name
        path.write_bytes(data)
        path.chmod(mode)
        return name

    def enter(self) -> None:
        """From now on this process works here, and cannot write elsewhere."""
        os.chdir(self.work)
        os.environ.clear()
        os.environ.update(PATH="/usr/bin:/bin", HOME=str(self.directory / "home"), TMPDIR=str(self.directory / "home"))
        confine(self.directory, self._cache, self._note)

    def _note(self, what: str) -> None:
        with open(self.directory / _OUTSIDE, "a", encoding="utf-8", errors="backslashreplace") as notes:
            notes.write(f"{what}\n")

    def check_nothing_outside(self) -> None:
        """Finding if somebody tried."""
        notes = self.directory / _OUTSIDE
        if notes.exists() and (text := notes.read_text("utf-8")):
            raise Finding(f"writes outside of its directory: {text}")

    # -- the command -----------------------------------------------------------------------------------------------

    def unimmu(
        self, *words: str, stdin: bytes = b"", memory_mib: int = 64, limit_s: float | None = None,
        interrupt_s: float | None = None,
    ) -> Ran:  # fmt: skip
        """Run the command here, as a process of its own: it ends by itself, with a documented status and without a
        traceback, takes no more memory than ``memory_mib`` and a constant, and leaves nothing behind.

        ``limit_s``: its ``--timeout``.  ``interrupt_s``: when Ctrl-C comes.
        """
        self.file("../stdin", stdin)
        before = resident_kib()
        end = run_child(lambda: self._command(words), LIMIT_S, interrupt_s=interrupt_s)
        out, err = ((self.directory / name).read_text("utf-8", "backslashreplace") for name in ("stdout", "stderr"))
        ran = Ran(words, end.status, out, err, end)
        self.check_nothing_outside()
        self._judge(ran, before + ((memory_mib + HOST_MIB) << 10), limit_s)
        return ran

    def _command(self, words: Sequence[str]) -> NoReturn:
        from emu.cli.main import main

        for number, (name, flags) in enumerate(
            [("stdin", os.O_RDONLY), *((n, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for n in ("stdout", "stderr"))]
        ):
            fd = os.open(self.directory / name, flags, 0o600)
            os.dup2(fd, number)
            os.close(fd)
        os.closerange(3, 100)
        self.enter()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        gc.collect()
        sys.argv = ["unimmu", *words]
        main()
        raise AssertionError("the command returns")

    def _judge(self, ran: Ran, most_kib: int, limit_s: float | None) -> None:
        end = ran.end
        if end.killed:
            ran.wrong(f"does not end within {LIMIT_S:g} seconds")
        if ran.status < 0:
            ran.wrong(f"the process is killed by {signal.Signals(-ran.status).name}")
        if end.left:
            ran.wrong("leaves processes behind")
        if "Traceback (most recent call last)" in ran.err or "this is a bug in unimmu" in ran.err:
            ran.wrong("a traceback")
        if found := _FINDING.search(ran.err):
            ran.wrong(f"a finding: {found[0]}")
        if ran.status not in _OF_ALL and ran.words[:1] != ("run",):
            ran.wrong("an exit status that is not documented")
        if end.peak_kib > most_kib:
            ran.wrong(f"takes {end.peak_kib >> 10} MiB of memory, more than {most_kib >> 10}")
        if limit_s is not None and end.cpu_s > 1.1 * limit_s + MARGIN_S:
            ran.wrong(f"takes {end.cpu_s:.1f} s of CPU time with --timeout {limit_s:g}")
