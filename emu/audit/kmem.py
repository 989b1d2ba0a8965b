"""The charges of the kernel's own objects, checked against a count of the objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from emu.audit.books import Books
from emu.fs.file import File, file_of
from emu.fs.libfs import SimpleDirectory
from emu.ipc.mqueuetype import MqueueType
from emu.linux.namespace import LateNamespace
from emu.mm.frameusers import FrameHolder
from emu.mm.kmem import FD, FILP, INODE, LINK, MOUNT, SIGQUEUE, VM_AREA_STRUCT, XA_NODE, Kmem
from emu.mm.kmemaccount import STACKS, THREAD_SIZE, Account
from emu.mm.pagecache import PageCache
from emu.mm.shared_tables import Window
from emu.mm.shmem import SharedAnonymous

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.fs.superblock import SuperBlock
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace


def check_kmem(books: Books, kernel: Kernel, spaces: list[AddressSpace], caches: list[FrameHolder]) -> None:
    """Count every object, and compare the sum with what is charged."""
    kmem, resources = kernel.frames.kmem, kernel.vfs.resources
    spaces_of_ipc = {task.ns.ipc for task in kernel.tasks.values()} | {kernel.namespaces.initial.ipc}
    spaces_of_ipc |= {other for other in kernel.namespaces.others if isinstance(other, LateNamespace)}
    ipcs = [space.made for space in spaces_of_ipc if space.kind == "ipc" and space.made is not None]
    files = _open_files(kernel, spaces) | {segment.file for ipc in ipcs for segment in ipc.shm}
    found = sum(mm.charged + VM_AREA_STRUCT * len(mm.vmas) for mm in spaces)
    found += _windows(spaces) + _tasks(kernel) + _caches(caches) + kernel.vfs.pipes.charged + kmem.sleeping
    found += sum(ipc.charged for ipc in ipcs)
    keys = kernel.__dict__.get("keys")
    found += 0 if keys is None else keys.charged
    groups = kernel.__dict__.get("cgroups")
    found += 0 if groups is None else groups.charged
    found += sum(file.charged - FILP for file in files) + FILP * resources.open_files
    inodes = {file.inode for file in files}
    found += sum(inode.locks.charged for inode in inodes if inode.locks is not None)
    mounts = {*kernel.vfs.mount_table, *(file.path.mount for file in files)}
    for kind in kernel.vfs.filesystems.values():
        if isinstance(kind, MqueueType):
            mounts.update(kind.mounts.values())
    found += MOUNT * len(mounts.difference(kernel.vfs.internal_mounts))
    found += sum(_instance(sb, inodes) for sb in {mount.sb for mount in mounts})
    # files that only a sleeping call knows, and those of whoever asked for the audit, are in no table
    if found > kmem.charged or (found < kmem.charged and len(files) == resources.open_files):
        books.say(f"{kmem.charged} bytes of kernel objects are charged, and there are {found}")
    if kernel.frames.memcg is not None:
        superblocks = {mount.sb for mount in (*mounts, *kernel.vfs.internal_mounts)}
        paid = [each for sb in superblocks for each in sb.paid.items()]
        objects = chain(_of_spaces(spaces), _of_tasks(kernel), _of_files(kernel, files, caches), paid)
        _accounts(books, kernel, objects, complete=len(files) == resources.open_files)
    sleeps = any(task.sleeping is not None for task in kernel.tasks.values())
    if kmem.sleeping and not sleeps:
        books.say(f"{kmem.sleeping} bytes are charged for calls that sleep, and none does")


def _accounts(books: Books, kernel: Kernel, objects: Iterable[tuple[Kmem, int]], *, complete: bool) -> None:
    """Count the objects that groups pay for, each where it is charged and with its size, and compare the sums with what
    groups count.
    """
    sums: Counter[tuple[object, str]] = Counter()
    for kmem, size in objects:
        if isinstance(kmem, Account):
            sums[kmem.group, kmem.kind] += size
    for task in kernel.tasks.values():
        if task.stacked and isinstance(task.kmem, Account):
            sums[task.kmem.group, STACKS] += THREAD_SIZE
    for group in kernel.cgroups.memory.control.groups:
        for kind, size in group.kernel.items():
            if (there := sums[group, kind]) > size or (there < size and complete):
                books.say(f"group {group.name} counts {size} bytes of {kind}, and its objects take {there}")


def _of_spaces(spaces: list[AddressSpace]) -> Iterator[tuple[Kmem, int]]:
    windows = {vma.private_data for mm in spaces for vma in mm.vmas if isinstance(vma.private_data, Window)}
    for window in windows:
        yield window.mm.kmem, LINK * (1 + len(window.linked))
    for mm in spaces:
        yield mm.kmem, mm.charged
        for vma in mm.vmas:
            yield vma.kmem, VM_AREA_STRUCT


def _of_tasks(kernel: Kernel) -> Iterator[tuple[Kmem, int]]:
    tasks = kernel.tasks.values()
    for task in tasks:
        yield task.kmem, task.charged
    for pending in [task.signals.pending for task in tasks] + [group.pending for group in {t.group for t in tasks}]:
        yield pending.kmem, SIGQUEUE * len(pending)
    for table in {task.files for task in tasks if task.alive}:
        yield table.kmem, FD * len(table)


def _of_files(kernel: Kernel, files: set[File], caches: list[FrameHolder]) -> Iterator[tuple[Kmem, int]]:
    for file in files:
        yield file.kmem, file.struct_size
        yield file.kept_kmem, file.charged - file.struct_size
    for pipe in kernel.vfs.pipes:
        yield pipe.kmem, pipe.charged
    for cache in caches:
        if isinstance(cache, PageCache):
            yield cache.kmem, XA_NODE * cache.nodes
        if isinstance(cache, SharedAnonymous) and cache.mappings:
            yield cache.kmem, INODE


def _open_files(kernel: Kernel, spaces: list[AddressSpace]) -> set[File]:
    files = {file for task in kernel.tasks.values() if task.alive for file in task.files.files}
    mapped = {file_of(vma) for mm in spaces for vma in mm.vmas}
    return files | {file for file in mapped if file is not None}


def _windows(spaces: list[AddressSpace]) -> int:
    windows = {vma.private_data for mm in spaces for vma in mm.vmas if isinstance(vma.private_data, Window)}
    return sum(LINK * (1 + len(window.linked)) for window in windows)


def _tasks(kernel: Kernel) -> int:
    tasks = kernel.tasks.values()
    queues = [task.signals.pending for task in tasks] + [group.pending for group in {task.group for task in tasks}]
    tables = {task.files for task in tasks if task.alive}
    found = sum(task.charged for task in tasks) + SIGQUEUE * sum(map(len, queues))
    found += sum(group.timers.charged for group in {task.group for task in tasks} if group.timers is not None)
    return found + FD * sum(map(len, tables))


def _caches(caches: list[FrameHolder]) -> int:
    nodes = sum(cache.nodes for cache in caches if isinstance(cache, PageCache))
    return XA_NODE * nodes + INODE * sum(
        isinstance(cache, SharedAnonymous) and bool(cache.mappings) for cache in caches
    )


def _instance(sb: SuperBlock, opened: set[Inode]) -> int:
    """The names and inodes of one file system's instance."""
    found, pending = 0, list(sb.tops)
    inodes = {inode for inode in opened if inode.sb is sb}
    while pending:
        inode = pending.pop()
        inodes.add(inode)
        if isinstance(inode, SimpleDirectory):
            found += inode.names_charged
            pending += inode.entries.values()
    return found + sum(inode.charged for inode in inodes)
