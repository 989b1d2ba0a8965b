"""System calls and signals in the format of strace -f: its lines (--strace), its table (-c), or both (-C)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.kernel.signal_state import Sig, SigInfo, signal_name
from emu.kernel.tracer import Tracer
from emu.linux.syscall import Restart
from emu.linux.syscall_names import name_of
from emu.linux.words import number_of_vars, quote, quote_list
from emu.trace.arguments import CallArguments, TaskView
from emu.trace.leader import Leader, Pids, Stamp
from emu.trace.peek import peek
from emu.trace.words import error_name, siginfo

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall
    from emu.trace.summary import Summary

#: Where strace's " = " stands if there is room.
_RESULT_COLUMN = 39
_EXECVE, _WAIT4, _WAITID = 59, 61, 247
#: The result of a call that a signal has interrupted, by what becomes of the call.
_INTERRUPTED = {
    Restart.SYS: "? ERESTARTSYS (To be restarted if SA_RESTART is set)",
    Restart.NOHAND: "? ERESTARTNOHAND (To be restarted if no handler)",
    Restart.BLOCK: "? ERESTART_RESTARTBLOCK (Interrupted by signal)",
}
_NOINTR = "? ERESTARTNOINTR (To be restarted)"


def everything(name_or_number: object) -> bool:
    """Hides nothing."""
    return True


@dataclass(frozen=True)
class Options:
    """What is shown, and how.  Stops and ends always are."""

    #: Which calls, by name, and which signals, by number.
    shows: Callable[[str], bool] = everything
    signals: Callable[[int], bool] = everything
    pids: Pids = Pids.WHILE_SEVERAL
    stamp: Stamp = Stamp.NONE
    #: Whether a line has the time since the one before it (-r), and the time that its call took (-T).
    relative: bool = False
    durations: bool = False
    #: Whether there are lines at all, and what counts the calls (-c, -C).
    prints: bool = True
    summary: Summary | None = None


@dataclass
class _Pending:
    """A system call that has begun: the text of its arguments as far as they were known then."""

    name: str
    arguments: CallArguments
    texts: list[str]
    leader: str
    #: When it began, and what the kernel had worked for its task then.
    began: int
    worked: int
    interrupted: str
    printed: bool = False
    rest: list[str] = field(default_factory=list)


class Strace(Tracer):
    """``write`` gets one line at a time, without its newline."""

    syscalls = True

    def __init__(self, kernel: Kernel, write: Callable[[str], None], options: Options = Options()) -> None:
        self._kernel = kernel
        self._write = write
        self._options = options
        self._leader = Leader(
            kernel.clock, pids=options.pids, stamp=options.stamp, relative=options.relative
        )  # fmt: skip
        #: Whether anybody wants to know what a call took.
        self._timed = options.durations or options.summary is not None
        self._pending: dict[int, _Pending] = {}
        #: Whose call stands on the line that is not finished yet.
        self._current: int | None = None
        #: Who is in a call, shown or not, and ignored signals that are told of when it returns, or another one begins.
        self._in_call: set[int] = set()
        self._later: dict[int, list[SigInfo]] = {}
        #: Whose call was interrupted and goes on with what is left of its time.
        self._resuming: set[int] = set()

    # -- system calls ----------------------------------------------------------------------------------------------

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        if self._later:
            self._tell_later(task)
        self._in_call.add(task.pid)
        name = call.name if call is not None else name_of(number).replace(f"#{number}", f"syscall_{number:#x}")
        resuming = task.pid in self._resuming
        self._resuming.discard(task.pid)
        if not self._options.shows("restart_syscall" if resuming else name):
            return
        self._break_line(task.pid)
        view = TaskView(task, self._kernel.cpu)
        shown = CallArguments(view, None if call is None else call.arguments, arguments, name)
        restart = None if call is None else call.restarts_as(arguments)
        interrupted = _INTERRUPTED.get(restart, _NOINTR) if restart is not None else _NOINTR
        began, worked = self._begin(task, number)
        self._pending[task.pid] = pending = _Pending(
            name, shown, [], self._leader.begin(task.pid), began, worked, interrupted
        )  # fmt: skip
        if resuming:
            pending.name, pending.texts, shown.shown = "restart_syscall", [f"<... resuming interrupted {name} ...>"], []
        else:
            pending.texts = shown.before()
        self._current = task.pid

    def _begin(self, task: Task, number: int) -> tuple[int, int]:
        """When a call began, and what the kernel had worked for its task then: before it has charged for the entry."""
        if not self._timed:
            return 0, 0
        cost = self._kernel.entry.entry_of(number)[1]
        return self._kernel.clock.now_ns() - cost, self._worked(task) - cost

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        self._in_call.discard(task.pid)
        pending = self._pending.pop(task.pid, None)
        if pending is not None:  # else the task has ended within the call, or it is not shown
            pending.rest = pending.arguments.after(len(pending.texts), result)
            if self._options.summary is not None:
                self._count(self._options.summary, task, number, pending, failed=-4096 < result < 0)
            self._finish_line(task.pid, pending, self._result(task, pending, call, result))
        if self._later and not task.signals.deliverable():  # else the one that is delivered first may be the last
            self._tell_later(task)

    def _result(self, task: Task, pending: _Pending, call: Syscall | None, result: int) -> str:
        if result >> 63 == 1:  # a whole register
            result -= 1 << 64
        if result == -errno.EINTR and task.signals.deliverable() and pending.interrupted is not _NOINTR:
            return pending.interrupted
        if -4096 < result < 0:
            return f"-1 {error_name(-result)} ({os.strerror(-result)})"
        if call is None:
            return str(result)
        return pending.arguments.result(result) or call.returns.text(result, pending.arguments.values)

    def _worked(self, task: Task) -> int:
        return task.usage.system_ns + self._kernel.scheduler.running_system_ns()

    def _count(self, summary: Summary, task: Task, number: int, pending: _Pending, *, failed: bool) -> None:
        if not pending.name.startswith("syscall_0x"):
            latency, work = self._kernel.clock.now_ns() - pending.began, self._worked(task) - pending.worked
            summary.count(number, pending.name, latency if summary.latency else work, failed=failed)

    def _finish_line(self, pid: int, pending: _Pending, result: str) -> None:
        if self._options.durations and result != "?":
            taken = self._kernel.clock.now_ns() - pending.began
            result += f" <{taken // 1_000_000_000}.{taken % 1_000_000_000 // 1000:06}>"
        if pending.printed:
            self._break_line(pid)
            line = f"{self._leader.begin(pid)}<... {pending.name} resumed>{', '.join(pending.rest)})"
        else:
            line = f"{pending.leader}{pending.name}({', '.join(pending.texts + pending.rest)})"
            self._current = None
        self._print(f"{line:<{_RESULT_COLUMN}} = {result}")

    def _break_line(self, pid: int | None) -> None:
        """Another process speaks (None: any): the line of the call that has not returned yet is printed as far as it
        goes.
        """
        if self._current is None or self._current == pid:
            return
        pending = self._pending[self._current]
        pending.printed = True
        comma = ", " if 0 < len(pending.texts) < pending.arguments.count else ""
        self._print(f"{pending.leader}{pending.name}({', '.join(pending.texts)}{comma} <unfinished ...>")
        self._current = None

    def _say(self, pid: int, text: str) -> None:
        """A line that is about no call."""
        self._break_line(None)
        self._print(self._leader.begin(pid) + text)

    def _print(self, line: str) -> None:
        if self._options.prints:
            self._write(line)

    # -- everything else -------------------------------------------------------------------------------------------

    def signal(self, task: Task, info: SigInfo) -> None:
        if info.signo == Sig.KILL:
            return  # as a tracer on Linux, strace hears of the end only
        pending = self._pending.get(task.pid)
        if pending is not None and info.signo == Sig.SYS and info.given and task.syscall is not None:
            del self._pending[task.pid]  # a filter has refused the call, whose number is what is left of it
            pending.rest = pending.arguments.after(len(pending.texts), None)
            self._finish_line(task.pid, pending, str(task.syscall[0]))
        elif pending is not None:
            if pending.interrupted is _INTERRUPTED[Restart.BLOCK]:
                self._resuming.add(task.pid)
            self._abandon(task.pid, pending.interrupted)
        self._in_call.discard(task.pid)
        self._tell(task, info)

    def ignored(self, task: Task, info: SigInfo) -> None:
        """strace hears of it when the call that the task is in returns, if it makes that; else at once."""
        returns = task is self._kernel.current or _ends_wait(task, info) or task.signals.deliverable()
        if task.pid in self._in_call and returns:
            self._later.setdefault(task.pid, []).append(info)
        else:
            self._tell(task, info)

    def _tell_later(self, task: Task) -> None:
        for info in self._later.pop(task.pid, ()):
            self._tell(task, info)

    def _tell(self, task: Task, info: SigInfo) -> None:
        if self._options.signals(info.signo):
            self._say(task.pid, f"--- {signal_name(info.signo)} {{{siginfo(info)}}} ---")

    def stopped(self, task: Task, signo: int) -> None:
        self._say(task.pid, f"--- stopped by {signal_name(signo)} ---")

    def fork(self, parent: Task, child: Task) -> None:
        self._leader.processes += 1
        if self._leader.tells_new_processes:
            self._print(f"strace: Process {child.pid} attached")

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        if task.pid not in self._in_call and self._options.shows("execve"):  # the first program: nobody called execve
            environment = peek(task.mm, task.mm.env_start, task.mm.env_end - task.mm.env_start)
            variables = f"[/* {number_of_vars(environment.count(0))} */]"
            line = f"{self._leader.begin(task.pid)}execve({quote(os.fsencode(path))}, {quote_list(argv)}, {variables})"
            taken = " <0.000000>" if self._options.durations else ""
            self._print(f"{line:<{_RESULT_COLUMN}} = 0{taken}")
            if self._options.summary is not None:
                self._options.summary.count(_EXECVE, "execve", 0, failed=False)

    def exit(self, task: Task, status: int) -> None:
        self._abandon(task.pid, "?")
        self._in_call.discard(task.pid)
        self._later.pop(task.pid, None)
        self._resuming.discard(task.pid)
        signo = status & 0x7F
        dumped = " (core dumped)" if status & 0x80 else ""
        how = f"killed by {signal_name(signo)}{dumped}" if signo else f"exited with {status >> 8}"
        self._say(task.pid, f"+++ {how} +++")
        self._leader.processes -= 1

    def supersede(self, task: Task, leader: Task) -> None:
        self._abandon(leader.pid, "?")
        self._say(leader.pid, f"+++ superseded by execve in pid {task.pid} +++")
        self._leader.processes -= 1
        self._in_call.discard(task.pid)
        self._in_call.add(leader.pid)
        self._later.pop(leader.pid, None)
        pending = self._pending.pop(task.pid, None)
        if pending is not None:
            self._pending[leader.pid] = pending
        if self._current == task.pid:
            self._current = leader.pid

    def _abandon(self, pid: int, result: str) -> None:
        """The call that the process is in will not return."""
        pending = self._pending.pop(pid, None)
        if pending is None:
            return
        left = len(pending.texts) < pending.arguments.count
        if result == "?" and left:
            pending.rest = [" <unfinished ...>"]
        else:
            pending.rest = pending.arguments.after(len(pending.texts), None)
        self._finish_line(pid, pending, result)


def _ends_wait(task: Task, info: SigInfo) -> bool:
    """Whether a signal comes with the end of a call that waits for children."""
    if info.signo != Sig.CHLD or task.syscall is None or task.syscall[0] not in (_WAIT4, _WAITID):
        return False
    number, registers = task.syscall
    wanted = registers[0] & 0xFFFFFFFF if number == _WAIT4 else registers[1] if registers[0] == 1 else -1
    return wanted in (info.pid, 0, 0xFFFFFFFF, -1) or wanted >> 31 == 1
