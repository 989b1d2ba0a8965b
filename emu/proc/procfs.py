"""procfs: its type, and the top of a tree (fs/proc/root.c)."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import DirectoryEntry
from emu.fs.inode import Inode
from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import LinkFile
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.kernel.task import INIT_PID
from emu.linux.errors import LinuxError
from emu.proc.piddir import PidDirectory
from emu.proc.pidfile import number_of, sees
from emu.proc.superblock import INVISIBLE, PROC_OPTIONS, ProcSuperBlock, parse_proc_options

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.kernel.kernel import Kernel
    from emu.linux.caller import Caller


class ProcRoot(FixedDirectory):
    """/proc itself: fixed entries, then one directory for each process."""

    def __init__(self, sb: ProcSuperBlock) -> None:
        super().__init__(sb)
        self._sb = sb
        self._pids: dict[int, PidDirectory] = {}
        self.add("self", LinkFile(sb, partial(_self_link, sb)))
        self.add("thread-self", LinkFile(sb, partial(_thread_self_link, sb)))
        self.add("net", LinkFile(sb, lambda _: "self/net"))

    def lookup(self, name: str) -> Inode:
        if name.isdigit():
            return self._directory(number_of(name))
        first = self._sb.first
        if first is not None and (name not in self.entries or name == "net"):
            if self._sb.only_processes:
                raise LinuxError(errno.ENOENT)
            return first.root.lookup(name)
        if name not in self.entries or name == "sys":
            self._sb.complete()
        return super().lookup(name)

    def iterate(self) -> Iterable[DirectoryEntry]:
        self._sb.complete()
        own = super().iterate()
        yield from (entry for entry in own if entry.name != "net" or not self._sb.only_processes)
        if self._sb.first is not None and not self._sb.only_processes:
            others = FixedDirectory.iterate(self._sb.first.root)
            yield from (entry for entry in others if entry.name not in self.entries)
        for number in self._leaders():
            yield DirectoryEntry(str(number), self._directory(number).ino, stat.S_IFDIR)

    def _directory(self, pid: int) -> PidDirectory:
        tasks = self._sb.kernel.tasks
        task = self._sb.task_of(pid)
        for gone in [known for known in self._pids if known not in tasks and known != INIT_PID]:
            del self._pids[gone]
        if task is None:
            raise LinuxError(errno.ENOENT)
        directory = self._pids.get(task.pid)
        if directory is None or directory.task is not task:
            directory = self._pids[task.pid] = PidDirectory(self._sb, task)
        return directory

    def _leaders(self) -> list[int]:
        """The numbers of the processes that are here."""
        space = self._sb.pid_ns
        everyone = self._sb.kernel.with_init() if space is None else self._sb.kernel.tasks.values()
        leaders = [task for task in everyone if task.pid == task.tgid and self._sb.shows(task, INVISIBLE)]
        numbers = (sees(space, task.pid) for task in leaders)
        return sorted(number for number in numbers if number)


class Procfs(FileSystemType):
    """The file system type ``proc``; every mount has a tree of its own, with the processes of a PID namespace.
    ``late`` adds what few programs ask for.
    """

    name = "proc"
    for_users = True
    options = PROC_OPTIONS

    def __init__(self, kernel: Kernel, late: Callable[[Kernel], None]) -> None:
        self.tree = ProcSuperBlock(kernel, self, late, ProcRoot)
        self._mounted = False

    def check_options(self, options: str) -> None:
        parse_proc_options(options)

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        kernel = self.tree.kernel
        words = parse_proc_options(options)
        space = None if kernel.current is None else kernel.current.pid_ns
        if not self._mounted and space is None and not words:
            self._mounted = True
            return self.tree
        return ProcSuperBlock(kernel, self, lambda _: None, ProcRoot, space, self.tree, words)


def _self_link(sb: ProcSuperBlock, caller: Caller[Path] | None) -> str:
    number = 0 if caller is None else sees(sb.pid_ns, caller.tgid)
    if not number:
        raise LinuxError(errno.ENOENT)
    return str(number)


def _thread_self_link(sb: ProcSuperBlock, caller: Caller[Path] | None) -> str:
    number = 0 if caller is None else sees(sb.pid_ns, caller.tgid)
    if caller is None or not number:
        raise LinuxError(errno.ENOENT)
    return f"{number}/task/{sees(sb.pid_ns, caller.pid)}"
