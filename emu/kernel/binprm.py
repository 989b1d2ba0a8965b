"""Opening the program that execve names, and following #! lines to the one that is loaded (fs/exec.c,
fs/binfmt_script.c).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.notify import OPEN_EXEC, Notice
from emu.kernel.elf import NotExecutable
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May
from mmu.record import record

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: What the kernel looks at of a file to tell its format (BINPRM_BUF_SIZE), and how many interpreters have interpreters.
_BUF_SIZE, _MAX_DEPTH = 256, 5
_OPEN = int(Notice.OPEN)
_SPACES, _TERMINATORS = b" \t", b" \t\0"


class ExeFile:
    """The program of an address space, which nobody can open for writing meanwhile (exe_file)."""

    def __init__(self, file: File) -> None:
        self._file = file
        self.get()

    def get(self) -> ExeFile:
        """One more address space has it: LinuxError(ETXTBSY) never, since it is denied already."""
        self._file.get()
        self._file.inode.write_count -= 1
        return self

    def put(self) -> None:
        """An address space is gone."""
        self._file.inode.write_count += 1
        self._file.put()


@record(eq=False, repr=False)
class Program:
    """A file to execute (linux_binprm), opened; whoever has it calls :meth:`close`."""

    #: The name by which it was called: for AT_EXECFN, and for an interpreter.
    filename: str
    file: File
    comm: str
    #: Nobody can open it by that name after execve: its descriptor is closed then.
    unreachable: bool = False

    def close(self) -> None:
        """Others may write to the file again."""
        allow_write(self.file)


def allow_write(file: File) -> None:
    """Close a file that :func:`open_exec` opened."""
    file.inode.write_count += 1
    file.put()


def open_exec(kernel: Kernel, task: Task, path: Path) -> File:
    """Open a file to execute it; nobody can open it for writing until :func:`allow_write` (do_open_execat).

    LinuxError(EACCES) if it is none that may be executed, (ETXTBSY) if somebody can write to it.
    """
    inode = path.inode
    if inode.is_symlink:
        raise LinuxError(errno.ELOOP)
    if not inode.is_regular or not inode.mode & 0o111 or path.noexec:
        raise LinuxError(errno.EACCES)
    inode.permission(int(May.EXEC), task.credentials)
    domain = task.credentials.landlock
    if domain is not None:
        domain.check_open(path, 0, execute=True)
    if inode.write_count > 0:
        raise LinuxError(errno.ETXTBSY)
    file = inode.open(path, 0, task)
    inode.write_count -= 1
    path.notify(_OPEN, OPEN_EXEC)
    return file


def open_program(kernel: Kernel, task: Task, name: str) -> Program:
    """Open the program with this name."""
    file = open_exec(kernel, task, kernel.vfs.walker(task).resolve(name))
    return Program(name, file, name.rsplit("/", 1)[-1][:15])


def find_interpreter(
    kernel: Kernel, task: Task, program: Program, argv: list[bytes]
) -> tuple[File, list[bytes], bytes]:
    """Follow #! lines: the file to load, which the caller closes, its arguments, and how it begins.  LinuxError(ELOOP,
    ENOEXEC), and what opening the interpreter gives.
    """
    file, name = program.file, program.filename
    file.get()
    file.inode.write_count -= 1
    for _ in range(_MAX_DEPTH + 1):
        try:
            head = file.pread(_BUF_SIZE, 0)
            script = parse_script(head)
            if script is None:
                return file, argv, head
            if program.unreachable:
                raise LinuxError(errno.ENOENT)
            argv = [*script, name.encode("utf-8", "surrogateescape"), *argv[1:]]
            name = script[0].decode("utf-8", "surrogateescape")
            following = _open_interpreter(kernel, task, name)
        except BaseException:
            allow_write(file)
            raise
        allow_write(file)
        file = following
    allow_write(file)
    raise LinuxError(errno.ELOOP)


def parse_script(head: bytes) -> Sequence[bytes] | None:
    """Interpreter and argument, if there is one, of a script that begins so; None if it is none (load_script).

    NotExecutable where no interpreter is named, or where its name is cut off.
    """
    if head[:2] != b"#!":
        return None
    line, newline, _ = head[2:].ljust(_BUF_SIZE - 2, b"\0").partition(b"\n")
    if not newline:
        named = line.lstrip(_SPACES)
        if named and not any(byte in _TERMINATORS for byte in named):
            raise NotExecutable("a script whose first line is longer than 255 bytes")
        line = line[:-1]
    line = line.strip(_SPACES)
    end = next((at for at, byte in enumerate(line) if byte in _TERMINATORS), len(line))
    if not line:
        raise NotExecutable("a script without an interpreter")
    argument = line[end:].lstrip(_SPACES) if line[end : end + 1] != b"\0" else b""
    return [line[:end], argument.partition(b"\0")[0]] if argument else [line[:end]]


def _open_interpreter(kernel: Kernel, task: Task, name: str) -> File:
    try:
        return open_exec(kernel, task, kernel.vfs.walker(task).resolve(name or "."))
    except LinuxError as error:
        raise LinuxError(error.errno, f"its interpreter {name} is missing (a script)") from None
