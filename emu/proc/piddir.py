"""/proc/<pid>, task, fd and fdinfo, and the files there that many programs ask for (fs/proc/base.c, fd.c)."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import DirectoryEntry, File
from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import MagicLink, SeekableFile, SeekableHandle, Text, TextFile, TextHandle
from emu.fs.superblock import SuperBlock
from emu.kernel.task import INIT_PID
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.mm.gup import read_remote, write_remote
from emu.proc.pidfile import LINK_SIZE, PidText, number_of, sees
from emu.proc.superblock import ProcSuperBlock
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller, Credentials
    from emu.linux.pidns import PidNamespace


class PidDirectory(FixedDirectory):
    """/proc/<pid>, and /proc/<pid>/task/<tid>."""

    def __init__(self, sb: ProcSuperBlock, task: Task, thread: bool = False) -> None:
        super().__init__(sb)
        self._sb = sb
        self.task = task
        #: The process that a descriptor of this directory stands for (pidfd_send_signal).
        self.process = None if thread else task.pid
        self._thread = thread
        self.uid, self.gid = task.credentials.euid, task.credentials.egid

    def permission(self, mask: int, who: Credentials) -> None:
        if not self._sb.shows(self.task, 1):
            raise LinuxError(errno.EPERM)
        super().permission(mask, who)

    def lookup(self, name: str) -> Inode:
        inode = self.entries.get(name)
        if inode is None:
            if name not in _ALWAYS:
                self._sb.complete()
            inode = self._make(name)
            if inode is None:
                raise LinuxError(errno.ENOENT)
            self.entries[name] = inode
        inode.uid, inode.gid = owner_of(self.task, inode)
        return inode

    def iterate(self) -> Iterable[DirectoryEntry]:
        self._sb.complete()
        sb = self._sb
        for name in sorted({*_ALWAYS, *sb.pid_files, *sb.pid_inodes, *sb.pid_directories}):
            try:
                self.lookup(name)
            except LinuxError:
                continue
        return super().iterate()

    def _make(self, name: str) -> Inode | None:
        """The file of this name (pid_revalidate, proc_pident_lookup)."""
        sb, task = self._sb, self.task
        if name in _ALWAYS:
            if name == "task":
                return None if self._thread else TaskDirectory(sb, task)
            return _ALWAYS[name](sb, task)
        row = sb.pid_files.get(name)
        if row is not None and (row.of_thread if self._thread else row.of_process):
            store = _not_written if row.store is None else partial(row.store, sb.kernel, task)
            if row.with_numbers is not None:
                text: Text = partial(row.with_numbers, sb.kernel, task, sb.pid_ns)
            else:
                assert row.text is not None, f"/proc/PID/{name} has no text"
                text = partial(row.text, sb.kernel, task)
            return PrivateText(sb, task, text) if row.private else TextFile(sb, text, row.mode, store=store)
        if name in sb.pid_inodes:
            return sb.pid_inodes[name](sb, sb.kernel, task)
        make = sb.pid_directories.get(name)
        return None if make is None else make(sb, task)


def owner_of(task: Task, inode: Inode) -> tuple[int, int]:
    """Who owns a file of /proc/PID: its user, or root while it may not be dumped (task_dump_owner)."""
    if task.mm.dumpable != 1 and inode.mode != stat.S_IFDIR | 0o555:
        return task.mm.root_user, task.mm.root_group
    return task.credentials.euid, task.credentials.egid


class MemHandle(SeekableHandle):
    """An open /proc/<pid>/mem."""

    unsigned_offset = True


class MemFile(SeekableFile):
    """/proc/<pid>/mem: the memory of a process as a debugger sees it, regardless of the rights of its mappings."""

    handle = MemHandle

    def __init__(self, sb: SuperBlock, task: Task) -> None:
        super().__init__(sb, self._read, 0o600, self._write)
        self.uid, self.gid = task.credentials.euid, task.credentials.egid
        self._task = task

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        if caller is not None and not may_access(caller, self._task):
            raise LinuxError(errno.EACCES)
        return super().open(path, flags, caller)

    # in pieces of a page, wherever they begin (mem_rw)

    def _read(self, count: int, pos: int) -> bytes:
        parts: list[bytes] = []
        while count > 0 and self._task.alive and not (parts and self._task.mm.stop.requested):
            try:
                part = read_remote(self._task.mm, pos, min(count, PAGE_SIZE), force=True)
            except LinuxError as error:
                if parts:
                    break
                raise _as_io_error(error) from None
            parts.append(part)
            pos, count = pos + len(part), count - len(part)
        return b"".join(parts)

    def _write(self, data: bytes, pos: int) -> int:
        done = 0
        while done < len(data) and self._task.alive and not (done and self._task.mm.stop.requested):
            try:
                done += write_remote(self._task.mm, pos + done, data[done : done + PAGE_SIZE], force=True)
            except LinuxError as error:
                if done:
                    break
                raise _as_io_error(error) from None
        return done


def _as_io_error(error: LinuxError) -> LinuxError:
    return LinuxError(errno.EIO if error.errno == errno.EFAULT else error.errno)


class TaskDirectory(FixedDirectory):
    """/proc/<pid>/task: one directory for each thread."""

    def __init__(self, sb: ProcSuperBlock, leader: Task) -> None:
        super().__init__(sb)
        self._sb = sb
        self._leader = leader
        self._threads: dict[int, PidDirectory] = {}

    def lookup(self, name: str) -> Inode:
        tasks = self._sb.kernel.tasks
        task = self._sb.task_of(number_of(name))
        if task is None or task.tgid != self._leader.tgid:
            raise LinuxError(errno.ENOENT)
        directory = self._threads.get(task.pid)
        if directory is None or directory.task is not task:
            self._threads = {pid: known for pid, known in self._threads.items() if pid in tasks or pid == INIT_PID}
            directory = self._threads[task.pid] = PidDirectory(self._sb, task, thread=True)
        return directory

    def iterate(self) -> Iterable[DirectoryEntry]:
        tasks = self._sb.kernel.tasks
        space = self._sb.pid_ns
        threads = [INIT_PID] if self._leader.pid == INIT_PID else tasks
        pids = sorted(sees(space, pid) for pid in threads if pid == INIT_PID or tasks[pid].tgid == self._leader.tgid)
        return [DirectoryEntry(str(pid), self.lookup(str(pid)).ino, stat.S_IFDIR) for pid in pids]


class OwnDirectory(FixedDirectory):
    """A directory of links to what a process has, which it may read itself whoever owns it (proc_fd_permission)."""

    def __init__(self, sb: ProcSuperBlock, task: Task) -> None:
        super().__init__(sb, 0o500, task.credentials.euid, task.credentials.egid)
        self._kernel = sb.kernel
        self._task = task

    def permission(self, mask: int, who: Credentials) -> None:
        reader = self._kernel.current
        if reader is None or reader.tgid != self._task.tgid:
            super().permission(mask, who)


class FdDirectory(OwnDirectory):
    """/proc/<pid>/fd: a link for each open file."""

    def __init__(self, sb: ProcSuperBlock, task: Task) -> None:
        super().__init__(sb, task)
        self._links: dict[int, tuple[File, MagicLink]] = {}

    def lookup(self, name: str) -> Inode:
        return self._link(number_of(name))

    def iterate(self) -> Iterable[DirectoryEntry]:
        return [DirectoryEntry(str(fd), self._link(fd).ino, stat.S_IFLNK) for fd in self._task.files]

    def create(self, name: str, owner: NewOwner) -> Inode:
        raise LinuxError(errno.ENOENT)

    def _link(self, fd: int) -> Inode:
        try:
            file = self._task.files.get_any(fd)
        except LinuxError:
            self._links.pop(fd, None)
            raise LinuxError(errno.ENOENT) from None
        known = self._links.get(fd)
        if known is not None and known[0] is file:
            return known[1]
        mode = 0o500 * file.readable | 0o300 * file.writable
        link = MagicLink(self.sb, lambda: file.path, mode, LINK_SIZE)
        self._links[fd] = (file, link)
        return link


class FdInfoDirectory(FixedDirectory):
    """/proc/<pid>/fdinfo: a text about each open file."""

    def __init__(self, sb: ProcSuperBlock, task: Task) -> None:
        super().__init__(sb, 0o555, task.credentials.euid, task.credentials.egid)
        self._kernel, self._space = sb.kernel, sb.pid_ns
        self._task = task

    def permission(self, mask: int, who: Credentials) -> None:
        """Only for who may look into the process (proc_fdinfo_permission)."""
        reader = self._kernel.current
        if reader is not None and not may_access(reader, self._task):
            raise LinuxError(errno.EACCES)
        super().permission(mask, who)

    def lookup(self, name: str) -> Inode:
        fd = number_of(name)
        try:
            self._task.files.get_any(fd)
        except LinuxError:
            raise LinuxError(errno.ENOENT) from None
        return TextFile(self.sb, lambda: _fdinfo(self._task, fd, self._space))

    def iterate(self) -> Iterable[DirectoryEntry]:
        return [DirectoryEntry(str(fd), self.lookup(str(fd)).ino, stat.S_IFREG) for fd in self._task.files]


def _exe(task: Task) -> Path:
    if task.exe is None:
        raise LinuxError(errno.ENOENT)
    return task.exe


def _fdinfo(task: Task, fd: int, space: PidNamespace | None) -> bytes:
    """seq_show() of fs/proc/fd.c.  LinuxError(ENOENT) if it has been closed."""
    from emu.kernel.pidfd import PidFd  # few programs have one

    try:
        file, cloexec = task.files.get_any(fd), task.files.cloexec(fd)
    except LinuxError:
        raise LinuxError(errno.ENOENT) from None
    flags = file.flags | (int(OpenFlags.CLOEXEC) if cloexec else 0)
    head = f"pos:\t{file.pos}\nflags:\t0{flags:o}\nmnt_id:\t{file.path.mount.id}\nino:\t{file.inode.ino}\n"
    own = file.show_numbers(space) if isinstance(file, PidFd) else file.show_fdinfo()
    return (head + own).encode()


def _cmdline(kernel: Kernel, task: Task) -> bytes:
    """The arguments as they are in memory now (get_mm_cmdline).  A program that has written over the end of the last
    one shows a title instead: one string, which may go on where the environment was.
    """
    mm = task.mm
    if not task.alive or mm.arg_end <= mm.arg_start:
        return b""
    try:
        if read_remote(mm, mm.arg_end - 1, 1, force=True) != b"\0":
            title, end, _ = read_remote(mm, mm.arg_start, PAGE_SIZE, force=True).partition(b"\0")
            return title + end
        return read_remote(mm, mm.arg_start, mm.arg_end - mm.arg_start, force=True)
    except LinuxError:  # nothing is there any more
        return b""


def _maps(kernel: Kernel, task: Task) -> bytes:
    from emu.proc.memory import maps

    return maps(kernel, task)


def _status(sb: ProcSuperBlock, task: Task) -> bytes:
    from emu.proc.status import status

    return status(sb.kernel, task, sb.pid_ns)


def _not_written(data: bytes) -> None:
    raise LinuxError(errno.EINVAL)


class MapsHandle(TextHandle):
    """An open /proc/<pid>/maps, which also answers questions."""

    inode: MapsFile

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        from emu.proc.mapquery import PROCMAP_QUERY, procmap_query

        if command != PROCMAP_QUERY:
            raise LinuxError(errno.ENOTTY)
        return procmap_query(self.inode.kernel, self.inode.task, caller, argument)


class PrivateText(TextFile):
    """A text about a process for those only who may look into it."""

    def __init__(self, sb: ProcSuperBlock, task: Task, text: Text) -> None:
        super().__init__(sb, text, store=_not_written)
        self.kernel, self.task = sb.kernel, task

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        """proc_maps_open().  LinuxError(EACCES)."""
        if caller is not None and not may_access(caller, self.task):
            raise LinuxError(errno.EACCES)
        return super().open(path, flags, caller)


class MapsFile(PrivateText):
    """/proc/<pid>/maps."""

    handle = MapsHandle


class PidLink(MagicLink):
    """/proc/<pid>/exe, cwd and root: only for who may look into the process (proc_pid_get_link)."""

    def __init__(self, sb: SuperBlock, task: Task, place: Callable[[], Path]) -> None:
        super().__init__(sb, place)
        self._task = task

    def get_link(self, caller: Caller[Path] | None) -> Path:
        if caller is not None and not may_access(caller, self._task):
            raise LinuxError(errno.EACCES)
        return super().get_link(caller)


def _text(make: PidText) -> Callable[[ProcSuperBlock, Task], Inode]:
    return lambda sb, task: TextFile(sb, partial(make, sb.kernel, task), store=_not_written)


#: What many programs ask for.
_ALWAYS: dict[str, Callable[[ProcSuperBlock, Task], Inode]] = {
    "cmdline": _text(_cmdline),
    "cwd": lambda sb, task: PidLink(sb, task, lambda: task.fs.cwd),
    "exe": lambda sb, task: PidLink(sb, task, lambda: _exe(task)),
    "fd": lambda sb, task: FdDirectory(sb, task),
    "fdinfo": lambda sb, task: FdInfoDirectory(sb, task),
    "maps": lambda sb, task: MapsFile(sb, task, partial(_maps, sb.kernel, task)),
    "mem": lambda sb, task: MemFile(sb, task),
    "root": lambda sb, task: PidLink(sb, task, lambda: task.fs.root),
    "status": lambda sb, task: TextFile(sb, partial(_status, sb, task), store=_not_written),
    "task": lambda sb, task: TaskDirectory(sb, task),
}
