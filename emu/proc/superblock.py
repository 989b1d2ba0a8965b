"""The super block of procfs: what a mount of it shows, and to whom (fs/proc/root.c, base.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from emu.fs.inode import Inode
from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import Store, SysctlSuperBlock, Text
from emu.fs.superblock import FileSystemType, parse_id, parse_options
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.proc.pidfile import PidFile

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.pidns import PidNamespace

PROC_MAGIC = 0x9FA0
PROC_OPTIONS = frozenset({"gid", "hidepid", "subset"})
#: hidepid by its words and numbers.
_HIDDEN = {0: "off", 1: "noaccess", 2: "invisible", 4: "ptraceable"}
_HIDEPID = {**{word: number for number, word in _HIDDEN.items()}, **{str(number): number for number in _HIDDEN}}
#: From which hidepid on a process is not to be seen, and where nobody's group lets him see all.
INVISIBLE, _PTRACEABLE = 2, 4
#: Makes /proc/<pid>/NAME (pagemap).
PidInode = Callable[["ProcSuperBlock", "Kernel", "Task"], Inode]


class ProcSuperBlock(SysctlSuperBlock):
    """A tree of procfs; ``root`` makes its top."""

    magic = PROC_MAGIC
    blksize = 1024
    names_are_given = True
    keeps_dentries = False

    def __init__(
        self,
        kernel: Kernel,
        fstype: FileSystemType,
        late: Callable[[Kernel], None],
        root: Callable[[ProcSuperBlock], FixedDirectory],
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
        self.root: FixedDirectory = root(self)

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
        return None if task is None or not self.shows(task, INVISIBLE) else task

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


def parse_proc_options(options: str) -> dict[str, str]:
    """The options of a mount (proc_fs_parameters).  LinuxError(EINVAL)."""
    words = parse_options(options, PROC_OPTIONS)
    if words.get("subset", "pid") != "pid" or words.get("hidepid", "0") not in _HIDEPID:
        raise LinuxError(errno.EINVAL)
    if "gid" in words:
        parse_id(words["gid"])
    return words


def _no_write(data: bytes) -> None:
    raise LinuxError(errno.EIO)
