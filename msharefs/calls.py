"""mshare(2) and mshare_unlink(2): the two system calls of the first series (Khalid Aziz, April 2022).

mshare() gives a name to a range of the caller, whose mappings move into the region; others attach to the name at the
same address; mshare_unlink() removes the name once all of them have called it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from enum import IntFlag
from functools import partial
from typing import TYPE_CHECKING, Any

from emu.fs.dentry import Path
from emu.fs.inode import NewOwner
from emu.linux.argument import ADDRESS, HEX, MODE, SIZE, Argument, Named
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.layout import PATHNAME, STRING
from emu.linux.mman import Prot
from emu.linux.syscall import Enter, Syscall, compile_entry
from emu.mm.flags import VmFlags
from emu.mm.pagetable import LEVEL_OF
from emu.mm.vma import MMAP_MIN_ADDR, Vma
from msharefs.abi_v1 import InfoV1File, RegionV1
from msharefs.filesystem import MshareSuperBlock
from msharefs.objects import check_window
from msharefs.quirks import Quirk, copy_and_leak
from msharefs.region import Region

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

NR_MSHARE, NR_MSHARE_UNLINK = 451, 452


class Oflag(IntFlag):
    """The flags of mshare(): those of open(2)."""

    WRONLY = 0o1
    RDWR = 0o2
    ACCMODE = 0o3
    CREAT = 0o100
    EXCL = 0o200


class MshareCalls:
    """mshare(2) and mshare_unlink(2)."""

    def __init__(self, kernel: Kernel, mounted: Sequence[MshareSuperBlock]) -> None:
        self._entry = kernel.entry
        self._mounted = mounted
        self.table = (
            Syscall(NR_MSHARE, "mshare", self.sys_mshare, (STRING, ADDRESS, SIZE, Named(OpenFlags), MODE)),
            Syscall(NR_MSHARE_UNLINK, "mshare_unlink", self.sys_mshare_unlink, (STRING,)),
        )

    def instance(self) -> MshareSuperBlock | None:
        """The instance that the calls act on: the one with ``abi=v1``, or else the first with the calls."""
        ready = [sb for sb in self._mounted if sb.has_calls]
        return next((sb for sb in ready if sb.options.abi == "v1"), ready[0] if ready else None)

    def register(self) -> None:
        """If no mounted instance has mshare(2), its numbers mean what they mean in later kernels (cachestat and
        fchmodat2).  If none asks for it by name, they mean that too where the first argument can be no name.  The calls
        of an interface exist once an instance with it has been mounted.
        """
        off = bool(self._mounted) and not any(sb.has_calls for sb in self._mounted)
        asked = any(sb.has_calls and (sb.options.syscalls or sb.options.abi == "v1") for sb in self._mounted)
        for call in self.table:
            self._entry.register(call, replace=True)
            if not asked and self._entry.has_replaced(call.number):
                later = partial(self._entry.replaced, call.number)
                self._entry.register(later() if off else _either(call, later), replace=True)
        for sb in self._mounted:
            for call in sb.abi.own_calls(self._mounted):
                self._entry.register(call, replace=True)

    def _superblock(self) -> MshareSuperBlock:
        """LinuxError: ENOENT if nothing is mounted, ENOSYS if no instance has the calls."""
        instance = self.instance()
        if instance is None:
            raise LinuxError(errno.ENOSYS if self._mounted else errno.ENOENT)
        return instance

    @staticmethod
    def _name(task: Task, address: int) -> str:
        """The name as getname() reads it: a whole name below the root, never a path to walk."""
        name = PATHNAME.read(task.mm, address)
        if not name:
            raise LinuxError(errno.ENOENT)
        return name

    def sys_mshare(self, kernel: Kernel, task: Task, name: int, addr: int, length: int, oflag: int, mode: int) -> int:
        """int mshare(const char *name, unsigned long addr, unsigned long len, int oflag, mode_t mode)."""
        sb = self._superblock()
        if (addr | length) % sb.unit:
            raise LinuxError(errno.EINVAL)
        text = self._name(task, name)
        inode = sb.root.entries.get(text)
        if inode is not None and oflag & (Oflag.CREAT | Oflag.EXCL):
            raise LinuxError(errno.EEXIST)
        if inode is None:
            self._create(kernel, sb, task, text, addr, length, oflag & Oflag.ACCMODE, mode)
        elif not isinstance(inode, RegionV1):
            raise LinuxError(errno.EINVAL)
        else:
            self._attach(kernel, sb, task, text, inode, addr, length, oflag & Oflag.ACCMODE)
        return 0

    def _create(
        self,
        kernel: Kernel,
        sb: MshareSuperBlock,
        task: Task,
        name: str,
        start: int,
        length: int,
        oflag: int,
        mode: int,
    ) -> None:
        end = start + length
        vmas = task.mm.vmas.overlapping(start, end) if length and end <= task.mm.task_size else []
        if not vmas or vmas[0].start < start or vmas[-1].end > end:
            raise LinuxError(errno.EINVAL)
        if any(not vma.ops.leaf_level for vma in vmas):  # windows
            raise LinuxError(errno.EINVAL)
        if any(vma.ops.leaf_level > LEVEL_OF[sb.level] for vma in vmas):
            kernel.log_once("level=pte shares PTE tables, and huge pages have none: mshare() of them needs pmd or pud")
            raise LinuxError(errno.EINVAL)
        rights = Prot.READ | Prot.WRITE
        if sb.options.strict_prot == "on" and any(vma.prot & ~rights for vma in vmas):
            raise LinuxError(errno.EACCES)
        region = sb.new_region(name, host_base=start)  # it outlives its creator
        region.size = length
        who = task.credentials
        owner = NewOwner(mode & 0o444 | 0o400, who.euid, who.egid)
        inode = RegionV1(sb, owner.mode, owner.uid, owner.gid, region, task, oflag)
        try:
            sb.root.add(name, inode)
        except LinuxError:
            sb.regions.abandon(region)
            raise
        try:
            file = _open(kernel, inode, name)  # everything that can fail comes before the memory moves
            try:
                self._take_over(sb, task, region, vmas)
            except LinuxError:
                file.put()
                raise
        except LinuxError:
            _remove_name(kernel, sb, inode, name)
            sb.regions.abandon(region)
            raise
        self._insert_window(task, inode, file, start, length, rights)

    @staticmethod
    def _take_over(sb: MshareSuperBlock, task: Task, region: Region, vmas: list[Vma]) -> None:
        """Give the caller's mappings to the region.  LinuxError(ENOMEM) leaves them with the caller."""
        if Quirk.A1_LEAKS in sb.options.quirks:
            copy_and_leak(region, task.mm, region.host_base, region.host_base + region.size, vmas)
        else:
            from emu.mm.handover import hand_over  # 1 ms; mshare() exists from the start, and few programs call it

            hand_over(task.mm, region.host, vmas)

    def _attach(
        self,
        kernel: Kernel,
        sb: MshareSuperBlock,
        task: Task,
        name: str,
        inode: RegionV1,
        start: int,
        length: int,
        oflag: int,
    ) -> None:
        if task.mm.vmas.overlapping(start, start + length) or not length or start + length > task.mm.task_size:
            raise LinuxError(errno.EINVAL)
        if oflag != oflag & inode.oflag:
            raise LinuxError(errno.EPERM)
        # O_RDONLY is 0: the posted code makes PROT_NONE of it. With abi=v1 nothing can be read then; beside the file
        # interface it is without effect, since rights come from the region's objects
        prot = Prot.NONE
        if oflag & Oflag.RDWR:
            prot = Prot.READ | Prot.WRITE
        elif oflag & Oflag.WRONLY:
            prot = Prot.WRITE
        check_window(inode.region, prot)
        task.mm.reserve_vmas()
        self._insert_window(task, inode, _open(kernel, inode, name), start, length, prot)
        inode.users += 1

    @staticmethod
    def _insert_window(task: Task, inode: RegionV1, file: InfoV1File, start: int, length: int, prot: Prot) -> None:
        flags = VmFlags.SHARED | VmFlags.DONTEXPAND
        task.mm.insert(Vma(start, start + length, prot, flags, file=file, ops=inode.ops))
        file.put()  # the VMA has its own reference

    def sys_mshare_unlink(self, kernel: Kernel, task: Task, name: int) -> int:
        """int mshare_unlink(const char *name)."""
        sb = self._superblock()
        text = self._name(task, name)
        inode = sb.root.entries.get(text)
        if not isinstance(inode, RegionV1):
            raise LinuxError(errno.EINVAL)
        inode.users -= 1
        if inode.users:
            if task is not inode.creator:
                start = inode.region.host_base
                for vma in task.mm.vmas.overlapping(start, start + inode.region.size):
                    if vma.ops is inode.ops:
                        task.mm.remove(vma)
            return 0
        _remove_name(kernel, sb, inode, text)
        inode.nlink -= 1
        inode.drop_if_unused()
        return 0


def _either(early: Syscall, later: Callable[[], Syscall]) -> Syscall:
    """A call that is the later kernel's where its first argument is a descriptor or AT_FDCWD, since no name is there:
    below the lowest address that can be mapped, or a negative ``int``.
    """
    enters: list[Enter] = []

    def enter(kernel: Kernel, task: Task, *registers: int) -> Any:
        if not enters:  # most programs make neither
            enters.extend(map(compile_entry, (early, later())))
        first = registers[0]
        is_number = first < MMAP_MIN_ADDR or first >> 31 == 1 or first >= 1 << 63
        return enters[is_number](kernel, task, (*registers, 0))  # type: ignore[arg-type]

    name, *others = early.arguments
    others += [HEX] * (5 - 1 - len(others))
    return early._replace(handler=enter, arguments=tuple(_Raw(argument) for argument in (name, *others)))


class _Raw(Argument):
    """An argument that is printed as another type says, and handed on as it is in the register."""

    def __init__(self, shown: Argument) -> None:
        self.name, self.text, self.chosen = shown.name, shown.text, shown.chosen  # type: ignore[method-assign]


def _open(kernel: Kernel, inode: RegionV1, name: str) -> InfoV1File:
    """The file of a window.  LinuxError(ENFILE) if the machine has as many open files as it can."""
    # for writing too: the file's mode does not limit the window's rights
    return InfoV1File(_place(kernel, inode, name), OpenFlags.RDWR)


def _remove_name(kernel: Kernel, sb: MshareSuperBlock, inode: RegionV1, name: str) -> None:
    """Remove the name from the root."""
    place = _place(kernel, inode, name)
    sb.root.remove(name)
    place.mount.root.drop(name)


def _place(kernel: Kernel, inode: RegionV1, name: str) -> Path:
    """The path of the region's file."""
    for mount in kernel.vfs.mount_table:
        if mount.sb is inode.sb:
            return kernel.vfs.walker(None).lookup(mount.root_path, name)
    raise LinuxError(errno.ENOENT)
