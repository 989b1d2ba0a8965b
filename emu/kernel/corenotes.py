"""The notes of a core file: what it says of the process and of each thread (fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.fs.dentry import d_path
from emu.fs.file import file_of
from emu.kernel.signal_state import mask_of
from emu.kernel.usage import Usage
from emu.kernel.user_regs import read_fp, read_regs, read_xstate
from emu.linux.errors import LinuxError
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task

_PRSTATUS, _FPREGSET, _PRPSINFO, _AUXV = 1, 2, 3, 6
_SIGINFO, _FILE, _XSTATE = 0x53494749, 0x46494C45, 0x202
#: si_signo, si_code, si_errno, pr_cursig, pr_sigpend, pr_sighold, four numbers, four times; then registers, pr_fpvalid.
_STATUS = struct.Struct("<3ih2x2Q4i8q")
#: pr_state, pr_sname, pr_zomb, pr_nice, pr_flag, pr_uid, pr_gid, four numbers, pr_fname, pr_psargs.
_INFO = struct.Struct("<BcBb4xQ2I4i16s80s")
#: PF_RANDOMIZE, and that a core is being dumped or a signal has ended it (PF_SIGNALED, PF_DUMPCORE).
_FLAGS = 0x400600
_STATES = "RSDTZW"
_PSARGS = 80


def notes(kernel: Kernel, task: Task, info: SigInfo) -> bytes:
    """All of them; ``task`` is the thread that the signal ends, and comes first."""
    found = [
        _note("CORE", _PRSTATUS, _prstatus(kernel, task, info.signo)),
        _note("CORE", _PRPSINFO, _prpsinfo(task)),
        _note("CORE", _SIGINFO, info.pack()),
        _note("CORE", _AUXV, task.mm.auxv),
        _note("CORE", _FILE, _files(task)),
        *_floating_point(kernel, task),
    ]
    for thread in task.group.threads.values():
        if thread is not task:
            found.append(_note("CORE", _PRSTATUS, _prstatus(kernel, thread, info.signo)))
            found += _floating_point(kernel, thread)
    return b"".join(found)


def _note(name: str, kind: int, data: bytes) -> bytes:
    owner = name.encode() + b"\0"
    head = struct.pack("<3I", len(owner), len(data), kind)
    return head + owner + bytes(-len(owner) % 4) + data + bytes(-len(data) % 4)


def _floating_point(kernel: Kernel, task: Task) -> Iterator[bytes]:
    yield _note("CORE", _FPREGSET, read_fp(kernel, task))
    yield _note("LINUX", _XSTATE, read_xstate(kernel, task))


def _times(usage: Usage) -> tuple[int, ...]:
    return tuple(part for ns in (usage.instructions, usage.system_ns) for part in divmod(ns // 1000, 1_000_000))


def _numbers(task: Task) -> tuple[int, ...]:
    """As the process itself sees them."""
    return tuple(map(task.sees, (task.pid, task.ppid, task.pgid, task.sid)))


def _prstatus(kernel: Kernel, task: Task, signo: int) -> bytes:
    group = task.group
    own = group.usage() if task is group.leader else task.usage
    registers = read_regs(kernel, task)
    return _STATUS.pack(
        signo, 0, 0, signo, mask_of(task.signals.pending), task.signals.blocked, *_numbers(task),
        *_times(own), *_times(group.children_usage),
    ) + struct.pack(f"<{len(registers)}Qi4x", *registers, 1)  # fmt: skip


def _prpsinfo(task: Task) -> bytes:
    letter, mm, who = task.state_letter, task.mm, task.credentials
    try:
        arguments = mm.read(mm.arg_start, min(mm.arg_end - mm.arg_start, _PSARGS - 1))
    except LinuxError:
        arguments = b""
    return _INFO.pack(
        max(0, _STATES.find(letter)), letter.encode(), letter == "Z", task.scheduling.nice, _FLAGS, who.uid, who.gid,
        *_numbers(task), task.comm.encode("utf-8", "surrogateescape")[:15],
        arguments.replace(b"\0", b" "),
    )  # fmt: skip


def _files(task: Task) -> bytes:
    """Which parts of which files are mapped where."""
    places, names = [], []
    for vma in task.mm.vmas:
        file = file_of(vma)
        if file is not None:
            places.append(struct.pack("<3Q", vma.start, vma.end, vma.pgoff))
            names.append(d_path(file.path, task.fs.root).encode("utf-8", "surrogateescape") + b"\0")
    return struct.pack("<2Q", len(places), PAGE_SIZE) + b"".join(places) + b"".join(names)
