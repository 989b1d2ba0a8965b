"""procfs: /proc/<pid>, /proc/sys and the texts about the machine (fs/proc)."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import DirectoryEntry, File
from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import LinkFile, MagicLink, SeekableFile, Store, SysctlSuperBlock, Text, TextFile, TextHandle
from emu.fs.superblock import FileSystemType, SuperBlock, parse_id, parse_options
from emu.kernel.task import INIT_PID
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.mm.gup import read_remote, write_remote
from emu.proc.pidfile import PidFile, PidText, sees

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller, Credentials
    from emu.linux.pidns import PidNamespace

PROC_MAGIC = 0x9FA0
PROC_OPTIONS = frozenset({"gid", "hidepid", "subset"})
#: hidepid by its words and numbers.
_HIDDEN = {0: "off", 1: "noaccess", 2: "invisible", 4: "ptraceable"}
_HIDEPID = {**{word: number for number, word in _HIDDEN.items()}, **{str(number): number for number in _HIDDEN}}
_INVISIBLE, _PTRACEABLE = 2, 4
#: Makes /proc/<pid>/NAME (pagemap).
PidInode = Callable[["ProcSuperBlock", "Kernel", "Task"], Inode]


class ProcSuperBlock(SysctlSuperBlock):
    """The one tree of procfs."""

    magic = PROC_MAGIC
    blksize = 1024
    names_are_given = True
    keeps_dentries = False

    def __init__(
        self,
        kernel: Kernel,
        fstype: FileSystemType,
        late: Callable[[Kernel], None],
        pid_ns: PidNamespace | None = None,
        first: ProcSuperBlock | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """``pid_ns``: whose processes it shows; ``first``: the tree of all, which has the other files."""
        super().__init__(kernel.vfs.resources, fstype)
        self.kernel = kernel
        self.pid_ns, self.first = pid_ns, first
        #: Nothing but processes is there (subset=pid), which of them who sees (hidepid), and the group that sees all.
        self.only_processes, self.hides, self.all_seeing = False, 0, 0
        self._set_options(options or {})
        self.pid_files: dict[str, PidFile] = {} if first is None else first.pid_files
        self.pid_inodes: dict[str, PidInode] = {} if first is None else first.pid_inodes
        self.pid_directories: dict[str, Callable[[ProcSuperBlock, Task], Inode]] = (
            {} if first is None else first.pid_directories
        )
        self._late: Callable[[Kernel], None] | None = late if first is None else None
        #: /proc/<pid>/net, the same for all.
        self.net: FixedDirectory = FixedDirectory(self) if first is None else first.net
        self.root: ProcRoot = ProcRoot(self)

    def _set_options(self, words: Mapping[str, str]) -> None:
        self.only_processes = self.only_processes or "subset" in words
        self.hides = _HIDEPID[words["hidepid"]] if "hidepid" in words else self.hides
        self.all_seeing = parse_id(words["gid"]) if "gid" in words else self.all_seeing

    def show_options(self) -> str:
        gid = f",gid={self.all_seeing}" if self.all_seeing else ""
        hides = f",hidepid={_HIDDEN[self.hides]}" if self.hides else ""
        return gid + hides + (",subset=pid" if self.only_processes else "")

    def remount(self, options: str) -> None:
        self._set_options(parse_proc_options(options))

    def task_of(self, number: int) -> Task | None:
        """The task that has a number here, if it is one that is shown."""
        task = self.kernel.find_task(number if self.pid_ns is None else self.pid_ns.find(number))
        return None if task is None or not self.shows(task, _INVISIBLE) else task

    def shows(self, task: Task, least: int) -> bool:
        """Whether a process is not hidden from who asks, where that begins with ``least`` (has_pid_permissions)."""
        reader = self.kernel.current
        if self.hides < least or reader is None:
            return True
        if self.hides != _PTRACEABLE and reader.credentials.in_group(self.all_seeing):
            return True
        return may_access(reader, task)

    def create_file(
        self, name: str, text: Text, mode: int = 0o444, size: int | None = None, store: Store | None = None
    ) -> None:
        """A text file; root may open one for writing that cannot be written (EIO), except a parameter (EACCES)."""
        if store is None and not name.startswith("sys/"):
            store = _no_write
        super().create_file(name, text, mode, size, store)

    def complete(self) -> None:
        """Add the files that not every program asks for, when the first does."""
        if self.first is not None:
            self.first.complete()
        if self._late is not None:
            late, self._late = self._late, None
            late(self.kernel)


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
            return self._directory(_number(name))
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
        leaders = [task for task in everyone if task.pid == task.tgid and self._sb.shows(task, _INVISIBLE)]
        numbers = (sees(space, task.pid) for task in leaders)
        return sorted(number for number in numbers if number)


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
            text = partial(row.text, sb.kernel, task)
            if row.with_numbers is not None:
                text = partial(row.with_numbers, sb.kernel, task, sb.pid_ns)
            return TextFile(sb, text, row.mode, store=store)
        if name in sb.pid_inodes:
            return sb.pid_inodes[name](sb, sb.kernel, task)
        make = sb.pid_directories.get(name)
        return None if make is None else make(sb, task)


def owner_of(task: Task, inode: Inode) -> tuple[int, int]:
    """Who owns a file of /proc/PID: its user, or root while it may not be dumped (task_dump_owner)."""
    if task.mm.dumpable != 1 and inode.mode != stat.S_IFDIR | 0o555:
        return task.mm.root_user, task.mm.root_group
    return task.credentials.euid, task.credentials.egid


class MemFile(SeekableFile):
    """/proc/<pid>/mem: the memory of a process as a debugger sees it, regardless of the rights of its mappings."""

    def __init__(self, sb: SuperBlock, task: Task) -> None:
        super().__init__(sb, self._read, 0o600, self._write)
        self.uid, self.gid = task.credentials.euid, task.credentials.egid
        self._task = task

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        if caller is not None and not may_access(caller, self._task):
            raise LinuxError(errno.EACCES)
        return super().open(path, flags, caller)

    def _read(self, count: int, pos: int) -> bytes:
        if not self._task.alive:
            return b""
        try:
            return read_remote(self._task.mm, pos, count, force=True)
        except LinuxError as error:
            raise LinuxError(errno.EIO if error.errno == errno.EFAULT else error.errno) from None

    def _write(self, data: bytes, pos: int) -> int:
        if not self._task.alive:
            return 0
        try:
            return write_remote(self._task.mm, pos, data, force=True)
        except LinuxError as error:
            raise LinuxError(errno.EIO if error.errno == errno.EFAULT else error.errno) from None


class TaskDirectory(FixedDirectory):
    """/proc/<pid>/task: one directory for each thread."""

    def __init__(self, sb: ProcSuperBlock, leader: Task) -> None:
        super().__init__(sb)
        self._sb = sb
        self._leader = leader
        self._threads: dict[int, PidDirectory] = {}

    def lookup(self, name: str) -> Inode:
        tasks = self._sb.kernel.tasks
        task = self._sb.task_of(_number(name))
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


class FdDirectory(FixedDirectory):
    """/proc/<pid>/fd: a link for each open file."""

    def __init__(self, sb: SuperBlock, task: Task) -> None:
        super().__init__(sb, 0o500, task.credentials.euid, task.credentials.egid)
        self._task = task
        self._links: dict[int, tuple[File, MagicLink]] = {}

    def lookup(self, name: str) -> Inode:
        return self._link(_number(name))

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
        link = MagicLink(self.sb, lambda: file.path, mode)
        self._links[fd] = (file, link)
        return link


class FdInfoDirectory(FixedDirectory):
    """/proc/<pid>/fdinfo: a text about each open file."""

    def __init__(self, sb: ProcSuperBlock, task: Task) -> None:
        super().__init__(sb, 0o555, task.credentials.euid, task.credentials.egid)
        self._space = sb.pid_ns
        self._task = task

    def lookup(self, name: str) -> Inode:
        fd = _number(name)
        try:
            self._task.files.get_any(fd)
        except LinuxError:
            raise LinuxError(errno.ENOENT) from None
        return TextFile(self.sb, lambda: _fdinfo(self._task, fd, self._space))

    def iterate(self) -> Iterable[DirectoryEntry]:
        return [DirectoryEntry(str(fd), self.lookup(str(fd)).ino, stat.S_IFREG) for fd in self._task.files]


class Procfs(FileSystemType):
    """The file system type ``proc``; every mount has a tree of its own, with the processes of a PID namespace.
    ``late`` adds what few programs ask for.
    """

    name = "proc"
    for_users = True
    options = PROC_OPTIONS

    def __init__(
        self,
        kernel: Kernel,
        late: Callable[[Kernel], None],
    ) -> None:
        self.tree = ProcSuperBlock(kernel, self, late)
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
        return ProcSuperBlock(kernel, self, lambda _: None, space, self.tree, words)


def parse_proc_options(options: str) -> dict[str, str]:
    """The options of a mount (proc_fs_parameters).  LinuxError(EINVAL)."""
    words = parse_options(options, PROC_OPTIONS)
    if words.get("subset", "pid") != "pid" or words.get("hidepid", "0") not in _HIDEPID:
        raise LinuxError(errno.EINVAL)
    if "gid" in words:
        parse_id(words["gid"])
    return words


def _number(name: str) -> int:
    """A decimal name; ENOENT for anything else, as for an unused number."""
    if not name.isascii() or not name.isdigit() or (name[0] == "0" and name != "0") or len(name) > 10:
        raise LinuxError(errno.ENOENT)
    return int(name)


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
    return b"".join(argument + b"\0" for argument in task.argv)


def _maps(kernel: Kernel, task: Task) -> bytes:
    from emu.proc.memory import maps

    return maps(kernel, task)


def _status(sb: ProcSuperBlock, task: Task) -> bytes:
    from emu.proc.status import status

    return status(sb.kernel, task, sb.pid_ns)


def _no_write(data: bytes) -> None:
    raise LinuxError(errno.EIO)


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


class MapsFile(TextFile):
    """/proc/<pid>/maps."""

    handle = MapsHandle

    def __init__(self, sb: ProcSuperBlock, task: Task) -> None:
        super().__init__(sb, partial(_maps, sb.kernel, task), store=_not_written)
        self.kernel, self.task = sb.kernel, task

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        """Only for who may look into the process (proc_maps_open).  LinuxError(EACCES)."""
        if caller is not None and not may_access(caller, self.task):
            raise LinuxError(errno.EACCES)
        return super().open(path, flags, caller)


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
    "maps": lambda sb, task: MapsFile(sb, task),
    "mem": lambda sb, task: MemFile(sb, task),
    "root": lambda sb, task: PidLink(sb, task, lambda: task.fs.root),
    "status": lambda sb, task: TextFile(sb, partial(_status, sb, task), store=_not_written),
    "task": lambda sb, task: TaskDirectory(sb, task),
}
