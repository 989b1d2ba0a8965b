"""The VFS: registered file systems, the tree of mounts, and how other parts of the kernel reach files."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from emu.fs import mounting, operations
from emu.fs import open as vfs_open
from emu.fs.dentry import Path, d_path, is_reachable, unnamed_path
from emu.fs.file import File
from emu.fs.hugetlbfs import Hugetlbfs, HugetlbInode, HugetlbSuperBlock
from emu.fs.libfs import PseudoFsType
from emu.fs.mount import MountNamespace, MountTable, VfsMount
from emu.fs.namei import PathWalk
from emu.fs.open import open_unnamed
from emu.fs.pipe import Pipes
from emu.fs.pipefile import PIPEFS_MAGIC, PipeFile, PipeInode, open_end, open_fifo
from emu.fs.resources import Resources
from emu.fs.shmemfile import TmpfsInode
from emu.fs.superblock import FileSystemType
from emu.fs.tmpfs import ShmemType, TmpfsSuperBlock
from emu.linux.caller import Credentials, FsContext
from emu.linux.errors import LinuxError
from emu.linux.fileflags import CHUNK, PAGE_SIZE, MountFlags, OpenFlags, UmountFlags, major, minor
from emu.mm.hugetlb import HPAGE_SHIFT
from emu.mm.kmem import INODE, MOUNT

if TYPE_CHECKING:
    from emu.fs.pseudo import PseudoSuperBlock, SysctlSuperBlock
    from emu.linux.caller import Caller
    from emu.linux.namespace import UserNamespace


class Vfs:
    """One machine's trees of files. The root of the initial one is set by the first mount (on ``/``).

    ``places``: the working directories, roots and programs of processes, whose mounts are in use.
    """

    #: The single tree of each type, for modules that add files and mount points to it; set when the machine boots.
    sysfs: PseudoSuperBlock
    debugfs: PseudoSuperBlock
    procfs: SysctlSuperBlock

    def __init__(self, resources: Resources, places: Callable[[], Iterable[Path]]) -> None:
        self.resources = resources
        self._places = places
        self.filesystems: dict[str, FileSystemType] = {}
        self.mount_table = MountTable()
        #: The initial tree.
        self.mount_ns = MountNamespace(self.take_down)
        self.pipes = Pipes(resources.frames.total, resources.kmem)
        resources.register_fifo(lambda path, flags: open_fifo(self.pipes, path, flags))
        internal = (PseudoFsType("pipefs", PIPEFS_MAGIC), ShmemType(), Hugetlbfs())
        self._internal_types: dict[str, FileSystemType] = {fs.name: fs for fs in internal}
        self._internal = self.mount_table.internal

    def register_filesystem(self, fstype: FileSystemType) -> None:
        """Make a file system type known to mount(2); a name can be taken once."""
        if fstype.name in self.filesystems:
            raise ValueError(f"register_filesystem: {fstype.name} is registered already")
        self.filesystems[fstype.name] = fstype

    # Mounts

    def mount(
        self,
        fstype: str | FileSystemType,
        target: str | Path,
        options: str = "",
        source: str = "none",
        flags: int = 0,
        who: Credentials | None = None,
    ) -> VfsMount:
        """Mount a registered type on a directory; ENODEV for an unknown type. The first mount goes to ``/``.

        The kernel itself may mount a type that is not registered.
        """
        kind = self.filesystems.get(fstype) if isinstance(fstype, str) else fstype
        if kind is None:
            raise LinuxError(errno.ENODEV)
        if not self._mounted():
            mount = VfsMount(kind.mount(self.resources, options), source, flags, None)
            mount.ns, self.mount_ns.root = self.mount_ns, mount
            self.mount_table.add(mount)
            return mount
        path = self.walker(None).resolve(target) if isinstance(target, str) else target
        if not path.dentry.inode.is_directory:
            raise LinuxError(errno.ENOTDIR)
        at = self.mount_table.cross(path)
        ns = at.mount.ns
        if ns is None:
            raise LinuxError(errno.EINVAL)
        self.mount_table.check_number(1, ns)
        self.resources.kmem.reserve(MOUNT)
        sb = kind.mount(self.resources, options)
        if sb is at.mount.sb and at.dentry is at.mount.root:  # the same once more
            raise LinuxError(errno.EBUSY)
        if who is not None and not sb.active:
            sb.made_by(who, options)
        if flags & MountFlags.RDONLY and not sb.active:
            sb.read_only = True
        mount = VfsMount(sb, source, flags, None)
        if at.mount.group:
            from emu.fs import mounting  # few machines share mounts

            try:
                mounting.attach(self.mount_table, [mount], at, ns)
            except LinuxError:
                self.mount_table.count(mount)
                mount.release()
                raise
        else:
            mount.at, mount.ns = at, ns
            self.mount_table.add(mount)
        return mount

    @property
    def root(self) -> Path:
        """The top of the initial tree."""
        return self.mount_ns.root.root_path

    def copy_tree(self, ns: MountNamespace, user: UserNamespace | None) -> MountNamespace:
        """A tree like that of a namespace, of its own (copy_mnt_ns).  LinuxError(ENOMEM)."""

        made = MountNamespace(self.take_down, user)
        made.copies = mounting.clone_tree(self.mount_table, ns.root.root_path, recursive=True, unbindable=True)
        top, *others = made.copies.values()
        if user is not ns.user:
            for mount in made.copies.values():
                mount.group, mount.master = 0, mount.group or mount.master
            mounting.lock_tree([top, *others])
        made.root = top
        for mount in (top, *others):
            mount.ns = made
            self.mount_table.add(mount)
        return made

    def take_down(self, ns: MountNamespace) -> None:
        """A namespace has ended."""
        self._detach(ns.root)

    def umount(self, target: str | Path, flags: int = 0) -> None:
        """Take a mount out of the tree: EINVAL if ``target`` is not the root of one, EBUSY while it is in use.

        MNT_DETACH takes it out at once, with what is mounted inside; open files stay usable.
        """

        path = self.walker(None).resolve(target) if isinstance(target, str) else target
        mount = self._mount_at(path)
        if mount.at is None:
            raise LinuxError(errno.EBUSY)
        if flags & UmountFlags.DETACH:
            self._detach(mount, propagates=True)
            return
        going = [mount, *mounting.covered_by(self.mount_table, [mount])]
        if self.mount_table.children(mount) or any(each.pins or self._stands_in(each) for each in going):
            raise LinuxError(errno.EBUSY)
        if flags & UmountFlags.EXPIRE and not mount.expiring:
            mount.expiring = True
            raise LinuxError(errno.EAGAIN)
        mounting.take_out(self.mount_table, going)
        for each in going:
            each.release()

    def _shown(self, root: Path) -> Iterator[tuple[VfsMount, str]]:
        """The mounts of the tree in which a root is, those that can be reached from there, and where they are."""
        ns = root.mount.ns
        for mount in self.mount_table if ns is None else self.mount_table.of(ns):
            if is_reachable(mount.root_path, root):
                yield mount, _escape(d_path(mount.root_path, root))

    def mounts(self, root: Path | None = None) -> str:
        """The text of /proc/mounts: source, place, type, options."""
        return "".join(
            f"{_escape(mount.source)} {place} {mount.sb.fstype.name} {mount.options()} 0 0\n"
            for mount, place in self._shown(self.root if root is None else root)
        )

    def mountstats(self, root: Path) -> str:
        """The text of /proc/<pid>/mountstats."""
        lines = []
        for mount, place in self._shown(root):
            source = "no device" if mount.source == "none" else f"device {_escape(mount.source)}"
            lines.append(f"{source} mounted on {place} with fstype {mount.sb.fstype.name}\n")
        return "".join(lines)

    def mountinfo(self, root: Path) -> str:
        """The text of /proc/<pid>/mountinfo (proc_pid_mountinfo(5))."""
        lines, shown = [], list(self._shown(root))
        for mount, place in shown:
            parent = mount.id if mount.at is None else mount.at.mount.id
            device = f"{major(mount.sb.dev)}:{minor(mount.sb.dev)}"
            owned = f"{mount.sb.fstype.name} {_escape(mount.source)} {'ro' if mount.sb.read_only else 'rw'}"
            words = mount.propagation_words
            if mount.master:
                from emu.fs.propagation import dominating  # few mounts have one

                above = dominating(self.mount_table, mount, [each for each, _ in shown])
                words += f"propagate_from:{above} " if above not in (0, mount.master) else ""
            here = f"{mount.id} {parent} {device} {_escape(mount.root_name)} {place} {mount.flag_words()}"
            lines.append(f"{here} {words}- {owned}{mount.sb.show_options()}\n")
        return "".join(lines)

    def internal_mount(self, fstype: str | FileSystemType) -> VfsMount:
        """The internal mount of a type that is not in the tree (``pipefs``, ``shmem``), one for each type."""
        kind = self._internal_types[fstype] if isinstance(fstype, str) else fstype
        mount = self._internal.get(kind.name)
        if mount is None:
            sb = kind.mount(self.resources, "")
            sb.active += 1
            mount = self._internal[kind.name] = VfsMount(sb, kind.name, 0, None)
            mount.internal = True
        return mount

    @property
    def internal_mounts(self) -> Iterable[VfsMount]:
        """The internal mounts that there are."""
        return self._internal.values()

    def _mounted(self) -> bool:
        return hasattr(self.mount_ns, "root")

    def _mount_at(self, path: Path) -> VfsMount:
        if path.dentry is not path.mount.root:
            raise LinuxError(errno.EINVAL)
        return path.mount

    def _detach(self, top: VfsMount, *, propagates: bool = False) -> None:
        """Take a mount out of its tree with what is inside; and what has come elsewhere with it, if so wanted."""

        going = self.mount_table.tree(top)[::-1]
        if propagates:
            going += mounting.covered_by(self.mount_table, going)
        mounting.take_out(self.mount_table, going)
        for mount in going:
            mount.detached = True
            if not mount.pins:
                mount.release()

    def _stands_in(self, mount: VfsMount) -> bool:
        """Whether a process has its working directory, root or program there."""
        return any(place.mount is mount for place in self._places())

    # Names

    def walker(self, caller: Caller[Path] | None) -> PathWalk:
        """Path lookup on behalf of ``caller``, or (None) of the kernel itself, which passes every check."""
        if caller is None:
            return PathWalk(self.mount_table, FsContext(self.root, self.root, 0), Credentials())
        return PathWalk(self.mount_table, caller.fs, caller.credentials, caller)

    # Files for the kernel's own use

    def open(
        self, name: str, flags: int = OpenFlags.RDONLY, mode: int = 0o644, caller: Caller[Path] | None = None
    ) -> File:
        """Open a file for ``caller`` (None: for the kernel); the requester drops the reference."""
        return vfs_open.open_file(self.walker(caller), name, flags, mode)

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
        """Make a directory and any missing parents; no error if it exists."""
        walker = self.walker(None)
        done = ""
        for part in name.strip("/").split("/"):
            done += "/" + part
            try:
                operations.mkdir(walker, done, mode if done.strip("/") == name.strip("/") else 0o755)
            except LinuxError as error:
                if error.errno != errno.EEXIST:
                    raise

    def is_root(self, name: str) -> bool:
        """Whether a name leads to the top of the tree: what is mounted over that is seen by nobody who starts there."""
        return self.walker(None).resolve(name) == self.root

    def symlink(self, target: str, name: str) -> None:
        """Make a symbolic link ``name`` -> ``target``."""
        operations.symlink(self.walker(None), target, name)

    def pipe(self, flags: int = 0) -> tuple[File, File]:
        """A new pipe: its read end and its write end.  LinuxError(ENFILE, ENOMEM)."""
        mount = self.internal_mount("pipefs")
        pipe = self.pipes.new()
        inode = PipeInode(mount.sb, pipe)
        path = unnamed_path(mount, inode, f"pipe:[{inode.ino}]")
        kept = flags & (OpenFlags.NONBLOCK | OpenFlags.DIRECT)
        reader = open_end(PipeFile, path, OpenFlags.RDONLY | kept & OpenFlags.NONBLOCK, pipe)
        try:
            return reader, PipeFile(path, OpenFlags.WRONLY | kept, pipe)
        except LinuxError:
            reader.put()
            raise

    def anon_inode(self, name: str) -> Path:
        """The place of a file without an inode of its own (anon_inode_getfile)."""
        from emu.fs.anon import AnonFsType, AnonSuperBlock

        mount = self.internal_mount(AnonFsType())
        sb = mount.sb
        assert isinstance(sb, AnonSuperBlock)
        return unnamed_path(mount, sb.inode, f"anon_inode:{name}")

    def shmem_file_setup(self, name: str, size: int = 0, *, promised: bool = False) -> File:
        """An unnamed file of shared memory, open for reading and writing; it is freed with its last reference.
        ``promised``: all of it at once, so that there may be too little for that (LinuxError(ENOMEM)).
        """
        mount = self.internal_mount("shmem")
        sb = mount.sb
        assert isinstance(sb, TmpfsSuperBlock)
        pages = -(-size // PAGE_SIZE) if promised else None
        sb.resources.commit.charge(pages or 0)
        try:
            sb.new_inode()
        except LinuxError:
            sb.resources.commit.uncharge(pages or 0)
            raise
        inode = TmpfsInode(sb, 0o777, promised=pages)
        inode.nlink = 0
        if size:
            inode.truncate(size)
        return open_unnamed(inode, unnamed_path(mount, inode, f"/{name} (deleted)"), OpenFlags.RDWR, None)

    def hugetlb_file_setup(self, name: str, size: int = 0, *, promised: bool = False) -> File:
        """The same, of huge pages."""
        mount = self.internal_mount("hugetlbfs")
        sb = mount.sb
        assert isinstance(sb, HugetlbSuperBlock)
        sb.hold(INODE)
        inode = HugetlbInode(sb, 0o777)
        inode.nlink = 0
        if size:
            inode.grow(size)
        if promised:
            try:
                inode.page_cache.promise(0, size >> HPAGE_SHIFT)
            except LinuxError:
                inode.evict()
                raise
        return open_unnamed(inode, unnamed_path(mount, inode, f"/{name} (deleted)"), OpenFlags.RDWR, None)


def _escape(text: str) -> str:
    """White space and backslashes in a column of /proc/mounts as octal escapes."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in text)
