"""A terminal and its job control: sessions, the foreground process group, hangup (drivers/tty/tty_jobctrl.c,
tty_io.c).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from emu.linux.errors import Interrupted, LinuxError
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.file import File

SIGHUP, SIGCONT, SIGTTIN, SIGTTOU, SIGWINCH = 1, 18, 21, 22, 28
#: struct winsize: rows, columns, and pixels of both.
WINSIZE = struct.Struct("=4H")


class Process(Protocol):
    """A process as a terminal knows it."""

    #: Its controlling terminal, and the foreground group that this had when it hung up, for a session's leader.
    tty: Tty | None
    tty_old_pgrp: int

    @property
    def tgid(self) -> int:
        """Its number."""

    @property
    def pgid(self) -> int:
        """Its group's."""

    @property
    def sid(self) -> int:
        """Its session's."""

    @property
    def leads_session(self) -> bool:
        """Whether it has made its session."""


class Jobs(Protocol):
    """What terminals need of a kernel."""

    def current(self) -> Process | None:
        """The process that makes a call; None for the machine's owner."""

    def may_administer(self) -> bool:
        """Whether it has CAP_SYS_ADMIN."""

    def ignores(self, signo: int) -> bool:
        """Whether the thread that makes a call blocks or ignores a signal."""

    def has_slept(self) -> bool:
        """Whether the call has slept already, and looks again."""

    def now_ns(self) -> int:
        """The machine's clock."""

    def orphaned(self, pgid: int, sid: int) -> bool:
        """Whether nobody is left who could continue a process group."""

    def signal_group(self, pgid: int, signo: int) -> bool:
        """Send a signal to a process group; whether there is one."""

    def signal_process(self, process: Process, signo: int) -> None:
        """Send a signal to a process."""

    def session_of_group(self, pgid: int) -> int | None:
        """The session of a process group; None if there is none of that number."""

    def processes(self) -> Iterable[Process]:
        """Every process."""

    def open_peer(self, name: str, flags: int) -> int:
        """Open a terminal by its name below /dev for the process that makes a call; its descriptor."""


class Tty:
    """One terminal."""

    #: Its name below /dev, and its device number.
    name = ""
    rdev = 0

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        #: The session that it controls and the foreground process group; 0: none.
        self.session = self.pgrp = 0
        self.winsize = bytes(WINSIZE.size)
        #: Woken when there may be input, room for output, or a hangup.
        self.input, self.output = WaitQueue(), WaitQueue()
        #: Whether only root may open it (TIOCEXCL).
        self.exclusive = False

    def open(self, path: Path, flags: int) -> File:
        """open(2)."""
        raise NotImplementedError(f"{self.name} has no open()")

    # -- job control -----------------------------------------------------------------------------------------------

    def check_change(self, signo: int) -> None:
        """A process of the background may not read (SIGTTIN), nor change the terminal (SIGTTOU): its group gets the
        signal, and the call starts again when it is continued (__tty_check_change).

        LinuxError(EIO) if the signal would do nothing: it is blocked or ignored, or the group is an orphan.
        """
        process = self.jobs.current()
        if process is None or process.tty is not self or self.pgrp in (0, process.pgid):
            return
        if self.jobs.ignores(signo):
            if signo == SIGTTIN:
                raise LinuxError(errno.EIO)
        elif self.jobs.orphaned(process.pgid, process.sid):
            raise LinuxError(errno.EIO)
        else:
            self.jobs.signal_group(process.pgid, signo)
            raise Interrupted

    def opened(self, *, readable: bool) -> None:
        """open(2) without O_NOCTTY: a session's leader without a terminal gets this one (tty_open_proc_set_tty)."""
        process = self.jobs.current()
        if process is not None and process.leads_session and process.tty is None and not self.session and readable:
            self._control(process)

    def _control(self, process: Process) -> None:
        self.session, self.pgrp, process.tty = process.sid, process.pgid, self

    def set_controlling(self, force: bool, *, readable: bool) -> None:
        """TIOCSCTTY.  LinuxError(EPERM)."""
        process = self.jobs.current()
        assert process is not None, "TIOCSCTTY: a call without a caller"
        if process.leads_session and process.tty is self and self.session == process.sid:
            return
        if not process.leads_session or process.tty is not None:
            raise LinuxError(errno.EPERM)
        if self.session:
            if not (force and self.jobs.may_administer()):
                raise LinuxError(errno.EPERM)
            self.leave_session()
        if not readable and not self.jobs.may_administer():
            raise LinuxError(errno.EPERM)
        self._control(process)

    def leave_session(self) -> None:
        """No process has it as its controlling terminal any more (session_clear_tty)."""
        for process in self.jobs.processes():
            if process.tty is self:
                process.tty = None
        self.session = self.pgrp = 0

    def give_up(self) -> None:
        """TIOCNOTTY.  LinuxError(ENOTTY) if it is not the caller's terminal."""
        self._check_own()
        process = self.jobs.current()
        if process is not None:
            disassociate(self.jobs, process, on_exit=False)

    def foreground(self) -> int:
        """TIOCGPGRP.  LinuxError(ENOTTY) if it is not the caller's terminal."""
        self._check_own()
        return self.pgrp

    def set_foreground(self, pgid: int) -> None:
        """TIOCSPGRP.  LinuxError(ENOTTY), (EINVAL), (ESRCH), (EPERM)."""
        process = self.jobs.current()
        assert process is not None, "TIOCSPGRP: a call without a caller"
        try:
            self.check_change(SIGTTOU)
        except LinuxError as error:
            if error.errno == errno.EIO:
                raise LinuxError(errno.ENOTTY) from None
            raise
        if process.tty is not self or self.session != process.sid:
            raise LinuxError(errno.ENOTTY)
        if pgid < 0:
            raise LinuxError(errno.EINVAL)
        session = self.jobs.session_of_group(pgid)
        if session is None:
            raise LinuxError(errno.ESRCH)
        if session != process.sid:
            raise LinuxError(errno.EPERM)
        self.pgrp = pgid

    def get_session(self) -> int:
        """TIOCGSID.  LinuxError(ENOTTY)."""
        self._check_own()
        if not self.session:
            raise LinuxError(errno.ENOTTY)
        return self.session

    def _check_own(self) -> None:
        process = self.jobs.current()
        if process is not None and process.tty is not self:
            raise LinuxError(errno.ENOTTY)

    def signal_foreground(self, signo: int) -> None:
        """A key or a new size sends a signal to the foreground process group."""
        if self.pgrp:
            self.jobs.signal_group(self.pgrp, signo)

    def hang_up(self) -> None:
        """The line is gone: the session's leader gets SIGHUP and SIGCONT, and nobody has the terminal any more
        (__tty_hangup).
        """
        for process in list(self.jobs.processes()):
            if process.tty is self:
                process.tty = None
                if process.leads_session and process.sid == self.session:
                    process.tty_old_pgrp = self.pgrp
                    self.jobs.signal_process(process, SIGHUP)
                    self.jobs.signal_process(process, SIGCONT)
        self.session = self.pgrp = 0
        self.input.wake_all()
        self.output.wake_all()

    # -- size ------------------------------------------------------------------------------------------------------

    def resize(self, size: bytes) -> None:
        """TIOCSWINSZ: the foreground hears of a change (tty_do_resize)."""
        if size != self.winsize:
            self.winsize = size
            self.signal_foreground(SIGWINCH)


def disassociate(jobs: Jobs, process: Process, *, on_exit: bool) -> None:
    """The leader of a session gives up its terminal, or ends: the foreground gets SIGHUP, and no process of the session
    has the terminal any more (disassociate_ctty).  Another process gives it up for itself.
    """
    if not process.leads_session:
        if not on_exit:
            process.tty = None
        return
    tty, process.tty = process.tty, None
    old, process.tty_old_pgrp = process.tty_old_pgrp, 0
    group = tty.pgrp if tty is not None else old if on_exit else 0
    if group:
        jobs.signal_group(group, SIGHUP)
        if tty is None or not on_exit:
            jobs.signal_group(group, SIGCONT)
    if tty is not None:
        tty.leave_session()
