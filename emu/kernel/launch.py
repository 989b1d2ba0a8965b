"""Starting a program from outside of the machine: a file of the host is copied in, and becomes a process."""

from __future__ import annotations

import errno
import pathlib
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.fs import operations
from emu.fs.fdtable import FdTable
from emu.kernel.binprm import open_program
from emu.kernel.exec import do_execve
from emu.kernel.task import Task
from emu.kernel.threadgroup import ThreadGroup
from emu.linux.caller import Credentials, FsContext
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May
from emu.mm.address_space import AddressSpace
from emu.mm.kmem import FD, FILP, MM_STRUCT, TASK_STRUCT

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel


class LaunchError(Exception):
    """A program cannot be started; ``status`` is what a shell would exit with (126: not executable, 127: not found)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class CwdError(LaunchError):
    """A program cannot be started since its working directory cannot be entered, for ``reason``."""

    def __init__(self, program: object, cwd: str, reason: str) -> None:
        super().__init__(f"{program}: the working directory {cwd} cannot be entered: {reason}", 2)
        self.cwd, self.reason = cwd, reason


def install(kernel: Kernel, host_path: str | pathlib.Path, guest_path: str | None = None) -> str:
    """Copy a host file into the machine (None: to /bin/NAME), with mode 755; its path there.  LaunchError.

    A file that is there already, just so, stays: what runs from it goes on, and its code need not be translated again.
    """
    source = pathlib.Path(host_path)
    target = guest_path or f"/bin/{source.name}"
    try:
        if source.is_dir():
            raise LaunchError(f"{host_path}: is a directory", 126)
        data = source.read_bytes()
    except FileNotFoundError:
        raise LaunchError(f"{host_path}: no such file", 127) from None
    except OSError as error:
        raise LaunchError(f"{host_path}: {error.strerror}", 126) from None
    if _is_there(kernel, target, data):
        return target
    try:
        kernel.vfs.mkdir(target.rsplit("/", 1)[0] or "/")
        kernel.vfs.write_file(target, data, 0o755)
        walker = kernel.vfs.walker(None)
        path = walker.resolve(target)
        if stat.S_IMODE(path.inode.mode) != 0o755:  # it was there with another one
            operations.chmod(walker, path, 0o755)
    except LinuxError as error:
        if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
            raise LaunchError(f"{host_path}: does not fit into the machine's memory ({error.words})", 2) from None
        raise LaunchError(f"{host_path}: cannot become {target} in the machine: {error.words}", 2) from None
    return target


def _is_there(kernel: Kernel, target: str, data: bytes) -> bool:
    """Whether copying would change nothing but times."""
    try:
        inode = kernel.vfs.walker(None).resolve(target).inode
        same = (inode.mode, inode.uid, inode.gid, inode.size) == (stat.S_IFREG | 0o755, 0, 0, len(data))
        return same and inode.xattrs is None and inode.acl is None and kernel.vfs.read_file(target) == data
    except LinuxError:
        return False


def launch(
    kernel: Kernel,
    streams: Callable[[FdTable], object],
    path: str,
    argv: Sequence[bytes],
    envp: Sequence[bytes],
    *,
    program: object,
    credentials: Credentials,
    cwd: str,
) -> Task:
    """A new process with the program at ``path``, which is ``program`` to the user; ``streams`` gives it its first
    descriptors.  LaunchError; CwdError where its working directory is the reason.
    """
    task = _new_task(kernel, streams, credentials)
    try:
        if cwd != "/":
            _enter(kernel, task, cwd)
    except LinuxError as error:
        _discard(kernel, task)
        raise CwdError(program, cwd, error.words) from None
    try:
        opened = open_program(kernel, task, path)
        try:
            do_execve(kernel, task, opened, argv, envp)
        finally:
            opened.close()
    except LinuxError as error:
        _discard(kernel, task)
        raise LaunchError(f"{program}: {_explain(error)}", 127 if error.errno == errno.ENOENT else 126) from None
    kernel.tracer.exec(task, path, task.argv)
    kernel.scheduler.add(task)
    return task


def _enter(kernel: Kernel, task: Task, name: str) -> None:
    path = kernel.vfs.walker(task).resolve(f"{name}/")
    path.inode.permission(int(May.EXEC), task.credentials)
    task.fs.cwd = path


def _new_task(kernel: Kernel, streams: Callable[[FdTable], object], credentials: Credentials) -> Task:
    pid = kernel.pids.new()
    kmem = kernel.frames.kmem
    files = FdTable(kmem)
    try:
        kmem.reserve(TASK_STRUCT + MM_STRUCT + 4 * (FD + FILP))
        streams(files)
        mm = AddressSpace(kernel.mm_context, "init")
    except LinuxError as error:
        files.put()
        raise LaunchError(f"the machine has not enough memory for another process ({error.words})", 2) from None
    kmem.charge_reserved(TASK_STRUCT)
    root = kernel.vfs.root
    task = Task(
        pid=pid, group=ThreadGroup(tgid=pid, ppid=1, pgid=pid, sid=pid, launched=True), mm=mm, files=files,
        fs=FsContext(root, root), context=kernel.cpu.fresh_context(0), ns=kernel.namespaces.initial,
        credentials=credentials,
    )  # fmt: skip
    kernel.tasks[pid] = task
    kernel.ttys.launched(task.group)
    return task


def _discard(kernel: Kernel, task: Task) -> None:
    task.files.put()
    task.mm.put()
    del kernel.tasks[task.pid]
    task.free()


def _explain(error: LinuxError) -> str:
    if error.errno == errno.ENOMEM:
        return "not enough memory in the machine (see --mem)"
    return error.words
