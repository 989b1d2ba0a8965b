"""System calls and signals in the format of strace -f, every line with its process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.kernel.signal_state import Sig, SigInfo, signal_name
from emu.kernel.tracer import Tracer
from emu.linux.syscall_names import name_of
from emu.linux.words import number_of_vars, quote, quote_list
from emu.trace.arguments import CallArguments, TaskView
from emu.trace.peek import peek
from emu.trace.words import siginfo

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall

#: Where strace's " = " stands if there is room.
_RESULT_COLUMN = 39


@dataclass
class _Pending:
    """A system call that has begun: the text of its arguments as far as they were known then."""

    name: str
    arguments: CallArguments
    texts: list[str]
    printed: bool = False
    rest: list[str] = field(default_factory=list)


class Strace(Tracer):
    """``write`` gets one line at a time, without its newline.

    ``shows`` says by name which calls are printed; signals, stops and ends always are.
    """

    syscalls = True

    def __init__(
        self, kernel: Kernel, write: Callable[[str], None], shows: Callable[[str], bool] = lambda name: True
    ) -> None:
        self._kernel = kernel
        self._write = write
        self._shows = shows
        self._pending: dict[int, _Pending] = {}
        #: Whose call stands on the line that is not finished yet.
        self._current: int | None = None

    # -- system calls ----------------------------------------------------------------------------------------------

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        name = call.name if call is not None else name_of(number).replace(f"#{number}", f"syscall_{number:#x}")
        if not self._shows(name):
            return
        self._break_line(task.pid)
        view = TaskView(task, self._kernel.cpu)
        shown = CallArguments(view, None if call is None else call.arguments, arguments)
        self._pending[task.pid] = _Pending(name, shown, shown.before())
        self._current = task.pid

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        pending = self._pending.pop(task.pid, None)
        if pending is None:  # the task has ended within the call, or it is not shown
            return
        pending.rest = pending.arguments.after(len(pending.texts), result)
        self._finish_line(task.pid, pending, _result(pending, call, result))

    def _finish_line(self, pid: int, pending: _Pending, result: str) -> None:
        if pending.printed:
            self._break_line(pid)
            line = f"<... {pending.name} resumed>{', '.join(pending.rest)})"
        else:
            line = f"{pending.name}({', '.join(pending.texts + pending.rest)})"
            self._current = None
        self._say(pid, line, result)

    def _break_line(self, pid: int | None) -> None:
        """Another process speaks (None: any): the line of the call that has not returned yet is printed as far as it
        goes.
        """
        if self._current is None or self._current == pid:
            return
        pending = self._pending[self._current]
        pending.printed = True
        comma = ", " if 0 < len(pending.texts) < pending.arguments.count else ""
        self._say(self._current, f"{pending.name}({', '.join(pending.texts)}{comma} <unfinished ...>")
        self._current = None

    def _say(self, pid: int, text: str, result: str | None = None) -> None:
        line = f"[pid {pid}] {text}"
        self._write(line if result is None else f"{line:<{_RESULT_COLUMN}} = {result}")

    # -- everything else -------------------------------------------------------------------------------------------

    def signal(self, task: Task, info: SigInfo) -> None:
        if info.signo == Sig.KILL:
            return  # as a tracer on Linux, strace hears of the end only
        self._abandon(task.pid, "? ERESTARTSYS (To be restarted)")
        self._break_line(task.pid)
        self._say(task.pid, f"--- {signal_name(info.signo)} {{{siginfo(info)}}} ---")

    def stopped(self, task: Task, signo: int) -> None:
        self._break_line(None)
        self._say(task.pid, f"--- stopped by {signal_name(signo)} ---")

    def continued(self, task: Task, info: SigInfo) -> None:
        self._break_line(None)
        self._say(task.pid, f"--- {signal_name(info.signo)} {{{siginfo(info)}}} ---")

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        if task.pid not in self._pending and self._shows("execve"):  # the first program: nobody called execve for it
            environment = peek(task.mm, task.mm.env_start, task.mm.env_end - task.mm.env_start)
            variables = number_of_vars(environment.count(0))
            line = f"execve({quote(os.fsencode(path))}, {quote_list(argv)}, [/* {variables} */])"
            self._say(task.pid, line, "0")

    def exit(self, task: Task, status: int) -> None:
        self._abandon(task.pid, "?")
        self._break_line(task.pid)
        signo = status & 0x7F
        how = f"killed by {signal_name(signo)}" if signo else f"exited with {status >> 8}"
        self._say(task.pid, f"+++ {how} +++")

    def supersede(self, task: Task, leader: Task) -> None:
        self._abandon(leader.pid, "?")
        self._break_line(leader.pid)
        self._say(leader.pid, f"+++ superseded by execve in pid {task.pid} +++")
        pending = self._pending.pop(task.pid, None)
        if pending is not None:
            self._pending[leader.pid] = pending
        if self._current == task.pid:
            self._current = leader.pid

    def _abandon(self, pid: int, result: str) -> None:
        """The call that the process is in will not return."""
        pending = self._pending.pop(pid, None)
        if pending is not None:
            pending.rest = pending.arguments.after(len(pending.texts), None)
            self._finish_line(pid, pending, result)


def _result(pending: _Pending, call: Syscall | None, result: int) -> str:
    if -4096 < result < 0:
        return f"-1 {errno.errorcode.get(-result, str(-result))} ({os.strerror(-result)})"
    return str(result) if call is None else call.returns.text(result, pending.arguments.values)
