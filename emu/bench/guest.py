"""Programs that are timed inside the machine."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import guests
from emu.bench.figure import seconds
from emu.bench.loops import program
from emu.kernel.sched import StopReason
from emu.machine import Machine

_TEXT, _DATA = 0x40_0000, 0x50_0000


class Timer:
    """A machine in which one program after the other runs."""

    def __init__(self, memory: int = 128 << 20, tlb: str = "off", *, engine_fast: bool | None = None) -> None:
        self.machine = Machine(memory, tlb=tlb, engine_fast=engine_fast, stdout=io.BytesIO(), stderr=io.BytesIO())

    def time(
        self,
        path: str,
        arguments: Sequence[str] = (),
        *,
        measure: Callable[[Callable[[], object]], float] = seconds,
    ) -> float:
        """From the program's first instruction to its end, in seconds.  ``path`` is one inside the machine."""
        task = self.machine.spawn(path, arguments, in_guest=True)
        reason: list[StopReason] = []
        taken = measure(lambda: reason.append(self.machine.run()))
        if reason != [StopReason.EXITED] or task.exit_code != 0:
            raise RuntimeError(f"bench: {path} {' '.join(arguments)} ended as {reason}, status {task.exit_code:#x}")
        return taken

    def install(self, guest: str) -> str:
        """Put a prebuilt guest program into the machine; its path there."""
        return self.machine.install(guests.path(guest))


class MachineLoop:
    """A loop of the bare engines as a process of the machine; ``loop`` makes it for an address of its data."""

    def __init__(self, loop: Callable[[int], bytes], tlb: str = "off", *, engine_fast: bool | None = None) -> None:
        self._timer = Timer(tlb=tlb, engine_fast=engine_fast)
        self._timer.machine.kernel.vfs.write_file("/loop", program(loop(_DATA), _TEXT, _DATA, 3 << 12), 0o755)

    def run(self, measure: Callable[[Callable[[], object]], float] = seconds) -> float:
        """Seconds from exec to exit."""
        return self._timer.time("/loop", measure=measure)
