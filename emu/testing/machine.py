"""GuestMachine: a small machine for a test, with captured output, that is audited in the end."""

from __future__ import annotations

import io
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from emu.cli.arguments import parse_size
from emu.fs.tmpfs import TmpfsSuperBlock
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.linux.errors import LinuxError
from emu.machine import Machine
from emu.mm.address_space import AddressSpace
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import LEVEL_OF, span
from emu.mm.shmempages import all_objects
from emu.testing.compiled import Source, program_of
from emu.testing.counts import Counts, Expectation, counts_of_machine
from emu.testing.doing import doing, doings, ending_of
from emu.testing.events import MANY, EventLog, MmuEvents
from emu.testing.limits import DEFAULT_GUEST_S, DEFAULT_INSTRUCTIONS, DEFAULT_TIMEOUT_S, Limits, Watch
from emu.testing.marks import Marks
from emu.testing.walks import Step, name_of, walk_of

DEFAULT_MEMORY = 64 << 20


@dataclass(frozen=True)
class GuestResult:
    """What became of a program: what was printed while it ran, and how it ended.

    >>> result = GuestMachine().run_guest("calls", "say 42; exit 3")
    >>> result.stdout, result.status, result.signal, result.counts.link_faults
    ('say = 42\\n', 3, '', 0)
    """

    stdout: str
    stderr: str
    #: The exit status; None if a signal ended it.
    status: int | None
    #: The signal's name, such as "SIGSEGV"; empty if none did.
    signal: str
    #: What the whole machine counted meanwhile.
    counts: Counts = field(repr=False)
    task: Task = field(repr=False)

    def __bool__(self) -> bool:
        """Whether it ended with status 0: ``assert machine.run_guest("hello")``."""
        return self.status == 0

    def __str__(self) -> str:
        end = f"killed by {self.signal}" if self.signal else f"exit status {self.status}"
        return f"{end}\nstdout:\n{self.stdout}stderr:\n{self.stderr}"


class GuestMachine(Machine):
    """A machine whose output is kept, whose events are recorded and whose end is checked: what the fixture ``machine``
    gives.  Without pytest, :meth:`close` does what the fixture does when the test is over.

    >>> machine = GuestMachine("16M", level="pte")
    >>> machine.run_guest("hello").stdout, machine.unit, machine.close()
    ('hello, world\\n', 2097152, [])

    ``level`` (of the tables that are shared: "pte", "pmd", "pud") and ``abi`` go to the file systems that modules
    mount, as mount options of these names, and so does what is in ``mount_options``; None leaves the choice to them.
    ``memory`` is a number of bytes, or text such as "256M".  The rest is as for :class:`Machine`.
    With a modelled TLB the stale-translation detector runs too, and what it finds is wrong in the end, unless
    ``check_tlb`` is given: then its findings are the test's affair (:meth:`stale_translations`).  Without ``record``,
    events are recorded only from the moment on when somebody first asks for them.

    Whatever runs the machine ends with an AssertionError that says what every process is doing, when all of them
    together have retired ``max_instructions``, when the machine's clock has gone on by ``max_guest_s`` seconds, or
    after ``timeout_s`` seconds of host time.
    """

    def __init__(
        self,
        memory: int | str = DEFAULT_MEMORY,
        *,
        level: str | None = None,
        abi: str | None = None,
        stdin: str = "",
        mount_options: Mapping[str, str] | None = None,
        record: bool = True,
        max_instructions: int = DEFAULT_INSTRUCTIONS,
        max_guest_s: float = DEFAULT_GUEST_S,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        **options: Any,
    ) -> None:
        self.limits = Limits(max_instructions, max_guest_s, timeout_s)
        self.out, self.err, self.logged = bytearray(), bytearray(), list[str]()
        wanted = {"level": level, "abi": abi, **(mount_options or {})}
        self._tlb_is_audited = "check_tlb" not in options and options.get("tlb", "off") != "off"
        options.setdefault("check_tlb", self._tlb_is_audited)
        super().__init__(
            memory_size(memory),
            stdin=io.BytesIO(stdin.encode()),
            stdout=self.out.extend,
            stderr=self.err.extend,
            log=self.logged.append,
            mount_options={name: value for name, value in wanted.items() if value is not None},
            **options,
        )
        for name, chosen in (("level", level), ("abi", abi)):
            if chosen is not None and self._option(name) != chosen:
                raise ValueError(f"{name}={chosen} is not in force, but {name}={self._option(name)}")
        self.marks = Marks(self.kernel)
        self._expectations: list[Expectation] = []
        self._has_scripts = False
        self._log = EventLog(self) if record else None
        self.closed = False

    # -- programs --------------------------------------------------------------------------------------------------

    def guest(
        self, program: Source, *arguments: object, env: Mapping[str, str] | None = None, name: str | None = None
    ) -> Task:
        """Start a guest: the path of a program, the name of a prebuilt guest, or the text of a C program.

        ``name`` is what it is called in the machine.  :class:`NoCompiler`, which pytest and unittest take for a skip,
        if there is C and no compiler.
        """
        __tracebackhide__ = True
        file = program_of(program)
        path = self.install(file, f"/bin/{name or file.name}")
        self._has_scripts |= program == "calls"
        return self.spawn(path, [str(a) for a in arguments], env, in_guest=True)

    def run_guest(
        self,
        program: Source,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout_s: float | None = None,
    ) -> GuestResult:
        """Run a guest to its end, and every other process too."""
        __tracebackhide__ = True
        return self.result_of(self.guest(program, *arguments, env=env, name=name), timeout_s)

    def result_of(self, task: Task, timeout_s: float | None = None) -> GuestResult:
        """Run everything to its end; returns what became of ``task``, and what was printed meanwhile."""
        __tracebackhide__ = True
        printed, complained, before = len(self.out), len(self.err), counts_of_machine(self)
        self.finish(timeout_s)
        end = self.ending(task)
        return GuestResult(
            self.out[printed:].decode("utf-8", "replace"),
            self.err[complained:].decode("utf-8", "replace"),
            end if isinstance(end, int) else None,
            end if isinstance(end, str) else "",
            counts_of_machine(self).since(before),
            task,
        )

    # -- running ---------------------------------------------------------------------------------------------------

    def finish(self, timeout_s: float | None = None) -> None:
        """Run until every process has ended; AssertionError if one waits for ever or a limit is reached."""
        __tracebackhide__ = True
        self.marks.release_all()
        reason, why = self._run(None, timeout_s)
        if reason != StopReason.EXITED:
            raise AssertionError(self._stuck(f"the machine should run to its end, but {why}"))

    def run_until_mark(self, task: Task | None, number: int, timeout_s: float | None = None) -> Task:
        """Run until ``task`` (None: any process) comes to ``unimmu_mark(number)``, and stop it there; returns it.

        It stands there until it is waited for at another mark, :meth:`resume` or :meth:`finish`; processes that stand
        at other marks stay.  AssertionError if it never comes.
        """
        __tracebackhide__ = True
        if task is not None:
            self.marks.release(task)
        before = len(self.marks.passed)
        self.marks.wait_for(task, number)
        arrived = lambda: self.marks.arrived is not None or (task is not None and not task.alive)  # noqa: E731
        _, why = self._run(arrived, timeout_s)
        if self.marks.arrived is None:
            who = "a process" if task is None else name_of(task)
            if task is not None and not task.alive:
                why = doing(self, self.marks, task)
            if passed := self.marks.passed_unnoticed(task, number, before):
                why += f"; {name_of(passed)} came past that mark earlier, when nobody waited for it there"
            raise AssertionError(self._stuck(f"{who} should come to mark {number}, but {why}"))
        return self.marks.arrived

    def run_until_idle(self, timeout_s: float | None = None) -> None:
        """Run until every process waits (in pause(2), for a child, at a mark) or has ended."""
        __tracebackhide__ = True
        reason, why = self._run(None, timeout_s)
        if reason not in (StopReason.IDLE, StopReason.EXITED):
            raise AssertionError(self._stuck(f"every process should wait or end, but {why}"))

    def run(
        self,
        until: Callable[[], bool] | None = None,
        timeout_s: float | None = None,
        *,
        interrupted: Callable[[], bool] | None = None,
    ) -> StopReason:
        """As :meth:`Machine.run`, but for the limits of a machine for tests: AssertionError when one is reached, other
        than a ``timeout_s`` that is given here.
        """
        __tracebackhide__ = True
        reason, why = self._run(until or interrupted, timeout_s)
        if why and (reason == StopReason.CONDITION or (reason == StopReason.TIMEOUT and timeout_s is None)):
            raise AssertionError(self._stuck(f"the machine should stop by itself, but {why}"))
        return reason

    def _run(self, until: Callable[[], bool] | None, timeout_s: float | None) -> tuple[StopReason, str]:
        """Run within the limits: why it stopped, and in words (none where ``until()`` holds)."""
        watch, reached = Watch(self, self.limits), ""

        def stop() -> bool:
            nonlocal reached
            if until is not None and until():
                return True
            reached = watch.reached()
            return bool(reached)

        seconds = self.limits.timeout_s if timeout_s is None else timeout_s
        reason = super().run(stop, seconds)
        if reason == StopReason.TIMEOUT:
            return reason, f"{reason.value}: {seconds:g} seconds of host time (timeout_s)"
        return reason, reached if reason == StopReason.CONDITION else reason.value

    def resume(self, task: Task) -> None:
        """Let a process that stands at a mark go on, when the machine next runs."""
        self.marks.release(task)

    def children_of(self, task: Task) -> list[Task]:
        """The living children of a process, oldest first."""
        return [child for _, child in sorted(task.children.items()) if child.group.alive]

    def ending(self, task: Task) -> int | str | None:
        """How a process has ended: its exit status, or the name of the signal that ended it; None while it lives."""
        return ending_of(task)

    def _stuck(self, sentence: str) -> str:
        lines = [f"{sentence}.", "", *(f"  {line}" for line in doings(self, self.marks))]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            lines += [f"{name} so far:", text.rstrip()] if text else []
        return "\n".join(lines)

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def stdout(self) -> str:
        """What programs have printed on stdout."""
        return self.out.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """What programs have printed on stderr."""
        return self.err.decode("utf-8", "replace")

    @property
    def level(self) -> str | None:
        """The level of the tables that are shared ("pte", "pmd", "pud"), as the first mounted file system with such an
        option has it; None if there is none.
        """
        return self._option("level")

    @property
    def abi(self) -> str | None:
        """The interface generation, likewise."""
        return self._option("abi")

    def _option(self, name: str) -> str | None:
        values = (mount.sb.option(name) for mount in self.kernel.vfs.mount_table)
        return next((value for value in values if value is not None), None)

    @property
    def unit(self) -> int:
        """The bytes that an entry covers which links a table of :attr:`level`: what is shared is aligned to them."""
        if self.level is None:
            raise ValueError("no file system that is mounted in this machine has a level, and so there is no unit")
        return span(LEVEL_OF[self.level] + 1)

    @property
    def events(self) -> MmuEvents:
        """What was recorded: faults, flushes and the kernel's events; after :meth:`record_all` walks and fills too."""
        return self._recording.events

    @property
    def _recording(self) -> EventLog:
        if self._log is None:
            self._log = EventLog(self)
        return self._log

    def record_all(self, *, syscalls: bool = False) -> MmuEvents:
        """From now on, record walks, fills and A/D updates as well (and system calls)."""
        self._recording.record(MANY, syscalls=syscalls)
        return self.events

    @property
    def counts(self) -> Counts:
        """What has been counted so far."""
        return counts_of_machine(self)

    def expect(self, *, task: Task | None = None, **figures: int) -> Expectation:
        """``with machine.expect(link_faults=1, minor_faults=0):`` exactly these are counted meanwhile, of the machine
        or of one process; AssertionError otherwise.  One that is never entered is wrong in the end (:meth:`close`).
        """
        expectation = Expectation(self, lambda: self.events, task, figures)
        self._expectations.append(expectation)
        return expectation

    def unfinished(self) -> list[str]:
        """A sentence for each expectation that was never entered, or was entered and is not left; each once."""
        made, self._expectations = self._expectations, []
        return [one.complaint for one in made if one.is_unused or one.is_open]

    def walk(self, task: Task, vaddr: int) -> tuple[Step, ...]:
        """The entries that translate an address for a process, top level first."""
        return walk_of(task, vaddr).steps

    @property
    def host_mms(self) -> list[AddressSpace]:
        """The address spaces that own shared tables, oldest first; no process runs in them."""
        return [mm for mm in self.kernel.mm_context.address_spaces.values() if mm.shared_tables]

    def host_mm(self, name: str) -> AddressSpace:
        """The address space that owns the shared tables of what is called ``name``: a region, or a file.

        ValueError if there is none, or more than one.
        """
        found = [mm for mm in self.host_mms if mm.name == f"host mm of {name}"]
        if len(found) != 1:
            names = ", ".join(mm.name for mm in self.host_mms) or "none"
            raise ValueError(f"there are {len(found)} host mms of {name!r} (host mms: {names})")
        return found[0]

    @property
    def pagetable_bytes(self) -> int:
        """Of the whole machine: PageTables in /proc/meminfo."""
        return self.kernel.frames.used[FrameKind.PAGETABLE] << 12

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """End everything; returns whatever is wrong then, in sentences."""
        if self.closed:
            return []
        self.closed = True
        unused = [one for one in self._expectations if one.is_unused]
        self._expectations = [one for one in self._expectations if one.is_open]
        found = [one.complaint for one in unused] + self._refused_scripts() + self.audit()
        if self._tlb_is_audited:
            found += self.stale_translations()
        self.marks.release_all()
        self.kill_all()
        found += self._news(found, "after the last process")
        for _, path, _ in self.kernel.default_mounts:
            try:
                self.kernel.vfs.umount(path)
            except LinuxError as error:
                found.append(f"umount {path}: {error}")
        found += [f"{mm.name} is left" for mm in self.kernel.mm_context.address_spaces.values()]
        return found + self._news(found, "after everything") + self._left()

    def _refused_scripts(self) -> list[str]:
        """What ``calls`` did not understand, in any process: what stands after the mistake was never run."""
        told = re.findall(r"^calls: (?!an unexpected SIG)(.*)", self.stderr, re.MULTILINE) if self._has_scripts else []
        return [f"a script of calls was not run to its end: {complaint}" for complaint in told]

    def _news(self, known: list[str], when: str) -> list[str]:
        """What the audit finds beyond what is known."""
        return [f"{when}: {finding}" for finding in self.audit() if not any(finding in old for old in known)]

    def _swapped_again(self) -> int:
        """How many frames more than pages files have: pages that lie in swap have none, or are in the swap cache."""
        swap = self.kernel.mm_context.swap
        return swap.cached - sum(len(cache.swapped) for cache in all_objects(self.kernel.frames))

    def _left(self) -> list[str]:
        """Frames that nobody can use any more."""
        frames, files = self.kernel.frames, self.kernel.ipc.shm.frames
        if frames.reclaimer is not None:  # pages of the host's files
            frames.reclaimer.unmapped(frames.total)
        used = frames.used
        for mount in self.kernel.vfs.mount_table:
            if isinstance(mount.sb, TmpfsSuperBlock):
                files += mount.sb.used_blocks
        files += self._swapped_again()
        right = {FrameKind.PAGETABLE: 0, FrameKind.ANON: 0, FrameKind.CACHE: files}
        return [
            f"after everything: {used[kind]} frames of {kind.name} are in use, {n} should be"
            for kind, n in right.items()
            if used[kind] != n
        ]

    def __repr__(self) -> str:
        if not hasattr(self, "marks"):
            return "<GuestMachine not made yet>"
        return f"<GuestMachine {' '.join(filter(None, (f'{self.ram.size >> 20} MiB', self.level, self.abi)))}>"


def memory_size(value: int | str) -> int:
    """A number of bytes, or a size as ``unimmu run --mem`` takes it ("256M"); ValueError for other text."""
    if isinstance(value, int):
        return value
    try:
        return parse_size(value)
    except ArgumentTypeError as error:
        raise ValueError(f"memory: {error}") from None
