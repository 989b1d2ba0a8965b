"""The region of interest of a run: between two counts of instructions, within a function, or between marks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from emu.instructions.watch import Mark, Watch, mark_of
from emu.kernel.tracer import Tracer
from mmu import GeneralProtection, PageFault
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.instructions.instruction import Instruction
    from emu.kernel.kernel import Kernel
    from mmu import Mmu

MARKER = "marker"
#: Numbers of instructions; no run has one of more digits.
_CLOCKS = re.compile(r"([0-9]{0,30})\.\.([0-9]{0,30})")
#: The most of a mark's text that is kept.
_MOST = 4096


class NoRegion(ValueError):
    """There can be no such region; the message says why."""


class RegionAsked(NamedTuple):
    """What is asked for: one of these."""

    text: str
    #: From how many instructions on, and up to how many (None: to the end).
    clocks: tuple[int, int | None] | None = None
    #: A function, of a file or (where that is empty) of the program.
    function: str = ""
    file: str = ""

    @property
    def marks(self) -> bool:
        """Whether programs mark it."""
        return self.clocks is None and not self.function

    @classmethod
    def parse(cls, text: str) -> RegionAsked:
        """``FROM..TO``, ``marker``, ``FUNCTION`` or ``FILE:FUNCTION``.  :class:`NoRegion`.

        >>> RegionAsked.parse("1000..").clocks, RegionAsked.parse("libc.so.6:qsort").function
        ((1000, None), 'qsort')
        """
        if text == MARKER:
            return cls(text)
        counts = _CLOCKS.fullmatch(text)
        if counts is not None:
            begin, end = int(counts[1] or 0), int(counts[2]) if counts[2] else None
            if text == ".." or (end is not None and end <= begin):
                raise NoRegion(f"{text!r}: expected FROM..TO with TO above FROM, of which one may be missing")
            return cls(text, clocks=(begin, end))
        file, _, function = text.rpartition(":")
        if not function:
            raise NoRegion(f"{text!r}: expected FROM..TO, FUNCTION, FILE:FUNCTION or {MARKER}")
        return cls(text, function=function, file=file)


class WatchedRegion:
    """A region that is watched for in a machine which is about to run."""

    #: Who is to be told of processes, if anybody is.
    tracer: Tracer | None = None

    def __init__(self, kernel: Kernel, asked: RegionAsked) -> None:
        self.asked = asked
        self._kernel, self._region = kernel, kernel.region
        kernel.scheduler.turns_are_seen = True

    @property
    def text(self) -> str:
        """What was asked for."""
        return self.asked.text

    def never(self) -> str:
        """Why it was not entered."""
        raise NotImplementedError

    def still(self) -> str | None:
        """What is to be said where it was not left."""
        return None

    def remark(self) -> str | None:
        """What is to be said of it when the run is over, if anything."""
        if not self._region.entered:
            return f"the region {self.text} was never entered: {self.never()}"
        return self.still()

    def _settle(self) -> None:
        """Before the region changes within emulation: bring the kernel's figures up to date."""
        fast_path = self._kernel.entry.fast_path
        if fast_path.begun:
            fast_path.end()


class CountedRegion(WatchedRegion):
    """Between two counts of instructions, of all processes; at the first block of code that begins there or later."""

    def __init__(self, kernel: Kernel, asked: RegionAsked) -> None:
        super().__init__(kernel, asked)
        assert asked.clocks is not None
        begin, self._end = asked.clocks
        if begin:
            kernel.region.set_inside(False)
            kernel.cpu.set_alarm(begin, self._begins)
        else:
            self._begins()

    def never(self) -> str:
        return f"{self._kernel.cpu.clock:,} instructions were run"

    def _begins(self) -> None:
        self._settle()
        self._region.enter()
        self._region.set_inside(True)
        if self._end is not None:
            self._kernel.cpu.set_alarm(self._end, self._ends)

    def _ends(self) -> None:
        self._settle()
        self._region.set_inside(False)


class MarkedRegion(WatchedRegion):
    """Between marks of programs."""

    def __init__(self, kernel: Kernel, asked: RegionAsked) -> None:
        super().__init__(kernel, asked)
        kernel.region.switch(False)
        kernel.cpu.blocks.watch(Watch(told_mark=self._marked))

    def never(self) -> str:
        return "no program came to a mark that begins it (docs/tracing.md)"

    def still(self) -> str | None:
        return f"{self.text}: the region has no end: it reaches to that of the run" if self._region.on else None

    def _marked(self, instruction: Instruction) -> None:
        self._settle()
        cpu, mark = self._kernel.cpu, mark_of(instruction)
        self._region.ahead = cpu.trap.ahead
        if mark is Mark.BEGIN:
            self._region.begin()
        elif mark is Mark.END:
            self._region.end()
        else:
            self._text(cpu.general()[instruction.memory.base])
        self._region.ahead = 0

    def _text(self, address: int) -> None:
        task, tracer = self._kernel.scheduler.current, self._kernel.tracer
        if task is None or not tracer.active:
            return
        text = text_at(self._kernel.cpu.mmu, address)
        tracer.event("mark", pid=task.tgid, text=text.decode("utf-8", "backslashreplace"))


def text_at(mmu: Mmu, address: int) -> bytes:
    """The text at an address up to its end, or as far as it can be reached without a page fault."""
    text = b""
    while b"\0" not in text and len(text) < _MOST:
        at = address + len(text)
        try:
            text += mmu.read(at, PAGE_SIZE - at % PAGE_SIZE)
        except (PageFault, GeneralProtection):
            break
    return text[:_MOST].partition(b"\0")[0]
