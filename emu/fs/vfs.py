"""The VFS: registered file systems, the tree of mounts, and how other parts of the kernel reach files."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from emu.fs import open as vfs_open
from emu.fs import operations
from emu.fs.dentry import Dentry, Path
from emu.fs.fdtable import FsContext
from emu.fs.file import File
from emu.fs.hugetlbfs import Hugetlbfs
from emu.fs.mount import KEPT, Mount, MountTable
from emu.fs.namei import Walker
from emu.fs.pipe import DEFAULT_CAPACITY, Pipe, PipeFile, PipeFsType, PipeInode, open_fifo
from emu.fs.superblock import FileSystemType
from emu.fs.tmpfs import ShmemType, TmpfsInode, TmpfsSuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import CHUNK, PAGE_SIZE, MountFlags, OpenFlags, UmountFlags, makedev

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.proc.procfs import ProcSuperBlock
    from emu.proc.sysfs import SysfsSuperBlock

#: Pipes with a buffer of 64 KiB: 16384 pages in all.
MAX_FULL_PIPES = 1024
#: fs.mount-max, which is 100,000 on Linux.
MAX_MOUNTS = 10_000
#: Opens a device node.
DeviceOpen = Callable[[Path, int], File]


class Superuser:
    """The kernel itself as the one who asks: passes every check."""

    euid = 0
    egid = 0
    groups: tuple[int, ...] = ()


class Vfs:
    """One machine's tree of files. ``root`` is set by the first mount (on ``/``)."""

    root: Path
    #: The one tree of each, for modules that add files and mount points to it; set when the machine boots.
    sysfs: SysfsSuperBlock
    debugfs: SysfsSuperBlock
    procfs: ProcSuperBlock

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.filesystems: dict[str, FileSystemType] = {}
        self.mount_table = MountTable()
        self._devices: dict[int, DeviceOpen] = {}
        self._last_device = 0
        self._pipes: WeakSet[Pipe] = WeakSet()
        #: Open file descriptions in the whole machine, and the most there may be (fs.file-max: a tenth of memory at
        #: a KiB each, as on Linux).
        self.open_files = 0
        self.max_files = max(1024, kernel.frames.total * 4 // 10)
        #: Names in all file systems that guests can change: the host keeps them, so there is an end to it.
        self.names = 0
        self.max_names = max(1 << 16, kernel.frames.total)
        internal = (PipeFsType(), ShmemType(), Hugetlbfs())
        self._internal_types: dict[str, FileSystemType] = {fs.name: fs for fs in internal}
        self._internal: dict[str, Mount] = {}

    # Services for file systems

    def now(self) -> int:
        """The time of day in nanoseconds, for timestamps."""
        return self.kernel.clock.realtime_ns()

    def new_device_number(self) -> int:
        """A device number for a superblock without a device (get_anon_bdev)."""
        self._last_device += 1
        return makedev(0, self._last_device)

    def register_filesystem(self, fstype: FileSystemType) -> None:
        """Make a file system type known to mount(2); a name can be taken once."""
        if fstype.name in self.filesystems:
            raise ValueError(f"register_filesystem: {fstype.name} is registered already")
        self.filesystems[fstype.name] = fstype

    def register_device(self, rdev: int, opener: DeviceOpen) -> None:
        """What opening a character device node with this number gives."""
        self._devices[rdev] = opener

    def open_special(self, path: Path, flags: int) -> File:
        """Open a FIFO, a device or a socket node; ENXIO if nothing stands behind it."""
        inode = path.dentry.inode
        if stat.S_ISFIFO(inode.mode):
            return open_fifo(path, flags)
        opener = self._devices.get(inode.rdev) if stat.S_ISCHR(inode.mode) else None
        if opener is None:
            raise LinuxError(errno.ENXIO)
        return opener(path, flags)

    # Mounts

    def mount(self, fstype: str, target: str | Path, options: str = "", source: str = "none", flags: int = 0) -> Mount:
        """Mount a registered type on a directory; ENODEV for an unknown type. The first mount goes to ``/``."""
        kind = self.filesystems.get(fstype)
        if kind is None:
            raise LinuxError(errno.ENODEV)
        if not self._mounted():
            mount = Mount(kind.mount(self.kernel, options), source, flags, None)
            self.mount_table.add(mount)
            self.root = mount.root_path
            return mount
        path = self.walker(None).resolve(target) if isinstance(target, str) else target
        if not path.dentry.inode.is_directory:
            raise LinuxError(errno.ENOTDIR)
        if len(list(self.mount_table)) >= MAX_MOUNTS:
            raise LinuxError(errno.ENOSPC)
        mount = Mount(kind.mount(self.kernel, options), source, flags, self.mount_table.cross(path))
        self.mount_table.add(mount)
        return mount

    def remount(self, path: Path, flags: int, options: str = "") -> None:
        """MS_REMOUNT: change the flags and options of the mount whose root ``path`` is (EINVAL if it is none)."""
        mount = self._mount_at(path)
        mount.sb.remount(options)
        mount.flags = MountFlags(flags & KEPT)

    def umount(self, target: str | Path, flags: int = 0) -> None:
        """Take a mount out of the tree: EINVAL if ``target`` is no root of one, EBUSY while it is in use.

        MNT_DETACH takes it out at once, with what is mounted inside; open files stay usable.
        """
        path = self.walker(None).resolve(target) if isinstance(target, str) else target
        mount = self._mount_at(path)
        if mount.at is None:
            raise LinuxError(errno.EBUSY)
        if flags & UmountFlags.DETACH:
            self._detach(mount)
            return
        if mount.pins or self.mount_table.children(mount) or self._stands_in(mount):
            raise LinuxError(errno.EBUSY)
        self.mount_table.remove(mount)
        mount.release()

    def mounts(self, root: Path | None = None) -> str:
        """The text of /proc/mounts: source, place, type, options."""
        lines = []
        for mount in self.mount_table:
            place = self.path_string(mount.root_path, root)
            lines.append(f"{_escape(mount.source)} {_escape(place)} {mount.sb.fstype.name} {mount.options()} 0 0\n")
        return "".join(lines)

    def internal_mount(self, fstype: str) -> Mount:
        """The mount of a type that is in no tree (``pipefs``, ``shmem``)."""
        mount = self._internal.get(fstype)
        if mount is None:
            sb = self._internal_types[fstype].mount(self.kernel, "")
            sb.active = 1
            mount = self._internal[fstype] = Mount(sb, fstype, 0, None)
        return mount

    def _mounted(self) -> bool:
        return hasattr(self, "root")

    def _mount_at(self, path: Path) -> Mount:
        if path.dentry is not path.mount.root:
            raise LinuxError(errno.EINVAL)
        return path.mount

    def _detach(self, mount: Mount) -> None:
        for child in self.mount_table.children(mount):
            self._detach(child)
        self.mount_table.remove(mount)
        mount.detached = True
        if not mount.pins:
            mount.release()

    def _stands_in(self, mount: Mount) -> bool:
        """Whether a process has its working directory, root or program there."""
        for task in self.kernel.tasks.values():
            places: list[Path | None] = [task.exe, task.fs.cwd, task.fs.root] if task.alive else []
            if any(place is not None and place.mount is mount for place in places):
                return True
        return False

    # Names

    def walker(self, task: Task | None) -> Walker:
        """Path lookup on behalf of ``task``, or of the kernel itself."""
        if task is None:
            return Walker(self, FsContext(self.root, self.root, 0), Superuser())
        return Walker(self, task.fs, task.credentials, task)

    def path_string(self, path: Path, root: Path | None = None) -> str:
        """The name of a place as seen from ``root`` (d_path)."""
        dentry = path.dentry
        if dentry.label is not None:
            return dentry.label
        deleted = " (deleted)" if dentry.deleted else ""
        parts: list[str] = []
        place = path
        while place != root:
            mount, dentry = place
            if dentry is not mount.root:
                parts.append(dentry.name)
                place = Path(mount, dentry.parent)
            elif mount.at is not None and not mount.detached:
                place = mount.at
            else:
                break
        return "/" + "/".join(reversed(parts)) + deleted

    def is_reachable(self, path: Path, root: Path) -> bool:
        """Whether ``path`` is inside ``root`` (getcwd says "(unreachable)" otherwise)."""
        while path != root:
            mount, dentry = path
            if dentry is not mount.root:
                path = Path(mount, dentry.parent)
            elif mount.at is not None and not mount.detached:
                path = mount.at
            else:
                return False
        return True

    def unnamed_path(self, mount: Mount, inode: Inode, label: str) -> Path:
        """A place for an inode that has no name; ``label`` is what /proc/<pid>/fd shows."""
        return Path(mount, Dentry(label, inode, None, label))

    # Files for the kernel's own use

    def open(self, name: str, flags: int = OpenFlags.RDONLY, mode: int = 0o644, task: Task | None = None) -> File:
        """Open a file as ``task`` (None: as the kernel). The caller puts the reference."""
        return vfs_open.open_file(self.walker(task), name, flags, mode)

    def read_file(self, name: str, limit: int = 64 << 20) -> bytes:
        """The contents of a file, at most ``limit`` bytes."""
        file = self.open(name)
        try:
            pieces: list[bytes] = []
            while limit > 0 and (piece := file.read(min(CHUNK, limit))):
                pieces.append(piece)
                limit -= len(piece)
            return b"".join(pieces)
        finally:
            file.put()

    def write_file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Make (or replace) a file; ENOSPC if not all of it fits."""
        file = self.open(name, OpenFlags.WRONLY | OpenFlags.CREAT | OpenFlags.TRUNC, mode)
        try:
            view = memoryview(data)
            done = 0
            while done < len(data):
                written = file.write(bytes(view[done : done + CHUNK]))
                if not written:
                    raise LinuxError(errno.ENOSPC)
                done += written
        finally:
            file.put()

    def mkdir(self, name: str, mode: int = 0o755) -> None:
        """Make a directory, and those above it where they are missing; no error if it is there."""
        walker = self.walker(None)
        done = ""
        for part in name.strip("/").split("/"):
            done += "/" + part
            try:
                operations.mkdir(walker, done, mode if done.strip("/") == name.strip("/") else 0o755)
            except LinuxError as error:
                if error.errno != errno.EEXIST:
                    raise

    def symlink(self, target: str, name: str) -> None:
        """Make a symbolic link ``name`` -> ``target``."""
        operations.symlink(self.walker(None), target, name)

    def new_pipe(self) -> Pipe:
        """A pipe's buffer; beyond a number of pipes (pipe-user-pages-soft) only of one page, as on Linux."""
        pipe = Pipe(DEFAULT_CAPACITY if len(self._pipes) < MAX_FULL_PIPES else PAGE_SIZE)
        self._pipes.add(pipe)
        return pipe

    def pipe_room(self, pipe: Pipe) -> int:
        """How many bytes a pipe may be made to hold: all pipes together no more than there is memory
        (pipe-user-pages-hard).
        """
        others = sum(other.slots for other in self._pipes if other is not pipe)
        return max(0, self.kernel.frames.total - others) * PAGE_SIZE

    def pipe(self, flags: int = 0) -> tuple[File, File]:
        """A new pipe: its read end and its write end."""
        mount = self.internal_mount("pipefs")
        inode = PipeInode(mount.sb)
        inode.pipe = self.new_pipe()
        path = self.unnamed_path(mount, inode, f"pipe:[{inode.ino}]")
        kept = flags & OpenFlags.NONBLOCK
        reader = PipeFile(path, OpenFlags.RDONLY | kept, inode.pipe)
        return reader, PipeFile(path, OpenFlags.WRONLY | kept, inode.pipe)

    def shmem_file_setup(self, name: str, size: int = 0) -> File:
        """An unnamed file of shared memory, open for reading and writing; it is gone with its last reference."""
        mount = self.internal_mount("shmem")
        sb = mount.sb
        assert isinstance(sb, TmpfsSuperBlock)
        sb.new_inode()
        inode = TmpfsInode(sb, 0o777)
        inode.nlink = 0
        if size:
            inode.truncate(size)
        path = self.unnamed_path(mount, inode, f"/{name} (deleted)")
        return inode.open(path, OpenFlags.RDWR, None)


def _escape(text: str) -> str:
    """White space and backslashes in a column of /proc/mounts as octal escapes."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in text)
