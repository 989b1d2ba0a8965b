"""The arguments of one system call as strace prints them: some when it begins, some only once it has returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.argument import HEX, Argument, Ioctl, Shown, View
from emu.linux.likeness import Part
from emu.trace.forms import CALLS, UNBUILT, Form, before_of, forms_of, result_of
from emu.trace.peek import peek, peek_string

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
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
    """The arguments of one call; those of a call that does not exist (``types`` is None) are six plain numbers, unless
    Linux has it and is built without it here.

    ``name``: the call's, by which strace's forms of its arguments are found; without one they are as the row has them.
    """

    def __init__(
        self, view: View, types: tuple[Argument, ...] | None, registers: tuple[int, ...], name: str = ""
    ) -> None:
        self._view = view
        self._name = name if types is not None else ""
        declared = (HEX,) * len(registers) if types is None else types
        registers += (0,) * (len(declared) - len(registers))
        #: Every argument, decoded.
        self.values = values = tuple([kind.width(value) for kind, value in zip(declared, registers, strict=True)])
        self._known = types is not None
        self._chosen: list[tuple[int, Argument]] = []
        for at, kind in enumerate(declared):
            chosen = kind.chosen(at, values, view)
            if chosen is None:
                continue
            self._chosen.append((at, chosen))
            if chosen is not kind:
                self.values = (*self.values[:at], chosen.width(registers[at]), *self.values[at + 1 :])
        #: Those that are printed, with their positions.
        self.shown: list[tuple[int, Argument | Form]] = list(self._chosen)
        self._before: dict[int, str] = {}
        if self._name in CALLS:
            self._take_forms()
        if types is None and name in UNBUILT:
            self.shown = [*enumerate(UNBUILT[name])]

    def _take_forms(self) -> None:
        """Print arguments as strace's forms have them."""
        forms = forms_of(self._name, self.values, self._view)
        if forms:
            chosen = [(at, forms.get(at, kind)) for at, kind in self._chosen]
            self.shown = [(at, form) for at, form in chosen if form is not None]
        call = Shown(self.values, self._view)
        self._before = {at: form.text(at, call) for at, form in before_of(self._name).items() if form is not None}

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
        call = Shown(self.values, self._view, result, self._before)
        return [kind.text(at, call) for at, kind in self.shown[done:]]

    def result(self, found: int) -> str | None:
        """What the call has returned; None where its row says how that is written."""
        if self._name not in CALLS:
            return None
        return result_of(self._name, found, Shown(self.values, self._view, found, self._before))

    def given(self) -> list[Part]:
        """What is compared of the arguments with those in another run, when the call begins."""
        if not self._known:
            return []
        call = Shown(self.values, self._view)
        return [part for at, kind in self._chosen for part in kind.given(at, call)]

    def got(self, result: int) -> list[Part]:
        """What is compared of what the call has written, with its result."""
        call = Shown(self.values, self._view, result)
        return (
            [] if call.failed or not self._known else [part for at, kind in self._chosen for part in kind.got(at, call)]
        )
