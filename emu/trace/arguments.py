"""The arguments of one system call as strace prints them: some when it begins, some only once it has returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.argument import HEX, Argument, Ioctl, Shown, View
from emu.linux.likeness import Part
from emu.trace.peek import peek, peek_string

if TYPE_CHECKING:
    from emu.cpu import Cpu
    from emu.kernel.task import Task


class TaskView(View):
    """A process as its arguments are printed: looking changes nothing."""

    def __init__(self, task: Task, cpu: Cpu) -> None:
        self._task = task
        self._cpu = cpu

    def peek(self, address: int, length: int) -> bytes:
        """What the process would read, or less if the rest cannot be read."""
        return peek(self._task.mm, address, length)

    def string(self, address: int, limit: int) -> bytes | None:
        """The string there, cut at ``limit`` bytes; None if it cannot be read."""
        return peek_string(self._task.mm, address, limit)

    def stack_pointer(self) -> int:
        """RSP."""
        return self._cpu.read("rsp")

    def ioctl(self, fd: int, request: int) -> Ioctl | None:
        """What the file behind the descriptor says of a request."""
        files = self._task.files
        return files.get_any(fd).ioctl_row(request) if fd in iter(files) else None


class CallArguments:
    """The arguments of one call; those of a call that does not exist (``types`` is None) are six plain numbers."""

    def __init__(self, view: View, types: tuple[Argument, ...] | None, registers: tuple[int, ...]) -> None:
        self._view = view
        declared = (HEX,) * len(registers) if types is None else types
        registers += (0,) * (len(declared) - len(registers))
        #: Every argument, decoded.
        self.values = values = tuple([kind.width(value) for kind, value in zip(declared, registers, strict=True)])
        self._known = types is not None
        #: Those that are printed, with their positions.
        self.shown: list[tuple[int, Argument]] = []
        for at, kind in enumerate(declared):
            chosen = kind.chosen(at, values, view)
            if chosen is None:
                continue
            self.shown.append((at, chosen))
            if chosen is not kind:
                self.values = (*self.values[:at], chosen.width(registers[at]), *self.values[at + 1 :])

    @property
    def count(self) -> int:
        """How many arguments are shown."""
        return len(self.shown)

    def before(self) -> list[str]:
        """The arguments up to the first that the call itself is going to write."""
        call = Shown(self.values, self._view)
        texts = []
        for at, kind in self.shown:
            if kind.written:
                break
            texts.append(kind.text(at, call))
        return texts

    def after(self, done: int, result: int | None) -> list[str]:
        """The arguments from the ``done``-th on; ``result`` is None if the call did not return."""
        if done == len(self.shown):
            return []
        call = Shown(self.values, self._view, result)
        return [kind.text(at, call) for at, kind in self.shown[done:]]

    def given(self) -> list[Part]:
        """What is compared of the arguments with those in another run, when the call begins."""
        if not self._known:
            return []
        call = Shown(self.values, self._view)
        return [part for at, kind in self.shown for part in kind.given(at, call)]

    def got(self, result: int) -> list[Part]:
        """What is compared of what the call has written, with its result."""
        call = Shown(self.values, self._view, result)
        return (
            [] if call.failed or not self._known else [part for at, kind in self.shown for part in kind.got(at, call)]
        )
