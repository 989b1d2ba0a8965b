"""The terminals of a machine: what they need of the kernel, and what opens them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from emu.fs import operations
from emu.fs.devfs import PTMX, TTY
from emu.fs.open import open_file
from emu.kernel.signal_state import SIG_IGN
from emu.kernel.task import INIT_PID
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.tty.devpts import Devpts

if TYPE_CHECKING:
    from emu.fs.console import Stream
    from emu.fs.dentry import Path
    from emu.fs.file import File
    from emu.fs.hostfile import HostDescriptor
    from emu.fs.vfs import Vfs
    from emu.kernel.jobctl import JobControl
    from emu.kernel.sched import Scheduler
    from emu.kernel.signals import Signals
    from emu.kernel.task import Task
    from emu.kernel.threadgroup import ThreadGroup
    from emu.linux.clock import Clock
    from emu.tty.host import HostTty
    from emu.tty.tty import Process


class KernelJobs:
    """The side of the kernel that terminals know."""

    def __init__(
        self,
        vfs: Vfs,
        scheduler: Scheduler,
        jobs: JobControl,
        signals: Signals,
        tasks: Mapping[int, Task],
        clock: Clock,
    ) -> None:
        self._vfs, self._scheduler, self._jobs, self._signals = vfs, scheduler, jobs, signals
        self._tasks, self._clock = tasks, clock

    @property
    def _task(self) -> Task | None:
        return self._scheduler.current

    def current(self) -> Process | None:
        """The process that makes a call."""
        return None if self._task is None else self._task.group

    def may_administer(self) -> bool:
        """Whether it has CAP_SYS_ADMIN."""
        return self._task is None or self._task.credentials.capable(SYS_ADMIN)

    def ignores(self, signo: int) -> bool:
        """Whether the thread that makes a call blocks or ignores a signal."""
        if self._task is None:
            return False
        signals = self._task.signals
        return bool(signals.blocked >> (signo - 1) & 1) or signals.actions[signo].handler == SIG_IGN

    def has_slept(self) -> bool:
        """Whether the call has slept already, and looks again."""
        return self._task is not None and self._task.sleeping is not None

    def now_ns(self) -> int:
        """The machine's clock."""
        return self._clock.now_ns()

    def orphaned(self, pgid: int, sid: int) -> bool:
        """Whether nobody is left who could continue a process group."""
        return self._jobs.orphaned(pgid, sid)

    def signal_group(self, pgid: int, signo: int) -> bool:
        """Send a signal to a process group; whether there is one."""
        return self._jobs.signal_group(pgid, signo)

    def signal_process(self, process: Process, signo: int) -> None:
        """Send a signal to a process."""
        self._signals.send_to_process(self._tasks[process.tgid], signo)

    def session_of_group(self, pgid: int) -> int | None:
        """The session of a process group; None if there is none of that number."""
        if pgid == INIT_PID:
            return INIT_PID
        return next((group.sid for group in self._jobs.members(pgid)), None)

    def processes(self) -> Iterable[ThreadGroup]:
        """Every process."""
        return self._jobs.processes()

    def open_peer(self, name: str, flags: int) -> int:
        """Open a terminal by its name below /dev for the process that makes a call; its descriptor."""
        task = self._task
        assert task is not None, "TIOCGPTPEER: a call without a caller"
        task.files.check_room()
        file = open_file(self._vfs.walker(None), f"/dev/{name}", flags & ~int(OpenFlags.CREAT), 0, None)
        return task.files.open(file, bool(flags & OpenFlags.CLOEXEC))


class Ttys:
    """Every terminal of a machine."""

    def __init__(self, vfs: Vfs, scheduler: Scheduler, jobs: KernelJobs) -> None:
        self._vfs, self._scheduler, self._jobs = vfs, scheduler, jobs
        resources = vfs.resources
        self._devpts = Devpts(resources, PTMX)
        vfs.register_filesystem(self._devpts)
        resources.register_device(PTMX, self._open_master)
        resources.register_device(TTY, self._open_controlling)
        #: Those of the host, by device number: of the standard streams.
        self.of_host: dict[int, HostTty] = {}

    def mount(self) -> None:
        """Mount /dev/pts."""
        self._vfs.mount("devpts", "/dev/pts", source="devpts")

    # -- pseudo-terminals ------------------------------------------------------------------------------------------

    def _open_master(self, path: Path, flags: int) -> File:
        """/dev/ptmx: a new pair.  LinuxError(ENOSPC)."""
        from emu.tty.pty import MasterFile, Pty  # with the line discipline: few runs have a terminal

        tree, task = self._devpts.tree, self._scheduler.current
        number = tree.free_number()
        pty = Pty(self._jobs, number, lambda gone: tree.leave(gone.number))
        file = MasterFile(path, flags, pty)
        uid = 0 if task is None else task.credentials.euid
        tree.enter(number, pty.rdev, uid, pty.open)
        return file

    def _open_controlling(self, path: Path, flags: int) -> File:
        """/dev/tty: the controlling terminal of the caller.  LinuxError(ENXIO) if it has none."""
        process = self._jobs.current()
        if process is None or process.tty is None:
            raise LinuxError(errno.ENXIO)
        return process.tty.open(path, flags | int(OpenFlags.NOCTTY))

    # -- the host's ------------------------------------------------------------------------------------------------

    def host_stream(self, host: HostDescriptor, fd: int, status: os.stat_result) -> Stream:
        """A standard stream that is a terminal of the host; it has its name of the host in /dev."""
        vfs, events = self._vfs, self._scheduler.host
        from emu.tty.host import HostTty, TerminalFile

        tty = self.of_host.get(status.st_rdev)
        if tty is None:
            tty = self.of_host[status.st_rdev] = HostTty(self._jobs, fd, host, events)
            self._name(tty, status)
        place = vfs.walker(None).resolve(f"/dev/{tty.name}")
        known = tty
        return lambda: TerminalFile.of_stream(place, host, events, known)

    def _name(self, tty: HostTty, status: os.stat_result) -> None:
        vfs = self._vfs
        directory, _, last = tty.name.rpartition("/")
        if directory == "pts" and last.isdigit():
            self._devpts.tree.enter(int(last), status.st_rdev, status.st_uid, tty.open)
            return
        vfs.mkdir(f"/dev/{directory}")
        try:
            operations.mknod(vfs.walker(None), f"/dev/{tty.name}", status.st_mode, status.st_rdev)
        except LinuxError as error:
            if error.errno != errno.EEXIST:
                raise
        vfs.resources.register_device(status.st_rdev, tty.open)

    def launched(self, group: ThreadGroup) -> None:
        """A process that the machine's owner starts: the first one's session has the host's terminal."""
        tty = next(iter(self.of_host.values()), None)
        if tty is not None and tty.session in (0, group.sid):
            tty.session, tty.pgrp, group.tty = group.sid, group.pgid, tty

    def restore(self) -> None:
        """Give terminals of the host the modes that they had before guests changed them."""
        for tty in self.of_host.values():
            tty.restore()

    def give_back(self) -> None:
        """After :meth:`restore`: the modes that guests had set, once more."""
        for tty in self.of_host.values():
            tty.give_back()

    # -- the end of processes --------------------------------------------------------------------------------------

    def leave(self, last: Task) -> None:
        """A process ends: with the leader of a session its terminal is free."""
        if last.group.leads_session:
            from emu.tty.tty import disassociate

            disassociate(self._jobs, last.group, on_exit=True)
