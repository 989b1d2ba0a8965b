"""ptrace(2): what a stop says of the task that is traced: its signals, its system call, its filters."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.kernel.ptrace import Tracee
from emu.kernel.ptracestops import Event
from emu.kernel.seccomp import MODE_FILTER, Filter
from emu.kernel.signal_state import UNBLOCKABLE, Sig, SigInfo
from emu.kernel.traced import StopKind
from emu.kernel.user_regs import (
    NAMES,
    read_regs,
)
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.syscalls.ptracerequest import SIGINFO_BYTES, SIGSET_BYTES, Request, caller_of

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

_AUDIT_ARCH_X86_64 = 0xC000_003E
_SYSGOOD = Sig.TRAP | 0x80
_INFO_NONE, _INFO_ENTRY, _INFO_EXIT, _INFO_SECCOMP = range(4)
_PEEKSIGINFO_SHARED = 1
_FILTER_FLAG_LOG = 2


def event_message(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_GETEVENTMSG."""
    caller_of(kernel).mm.write_u64(data, tracee.message)
    return 0


def get_siginfo(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_GETSIGINFO."""
    info = tracee.given_info or tracee.info
    if info is None:
        raise LinuxError(errno.EINVAL)
    caller_of(kernel).mm.write(data, info.pack())
    return 0


def set_siginfo(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_SETSIGINFO."""
    words = caller_of(kernel).mm.read(data, SIGINFO_BYTES)
    if tracee.info is None:
        raise LinuxError(errno.EINVAL)
    signo, _, code = struct.unpack_from("<iii", words)
    if tracee.kind is StopKind.SIGNAL:
        tracee.given_info = SigInfo(signo, code, given=words)
    return 0


def peek_siginfo(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """The signals that are pending, from a place in their queue on."""
    memory, signals = caller_of(kernel).mm, tracee.task.signals
    offset, flags, number = struct.unpack("<QIi", memory.read(address, 16))
    if flags & ~_PEEKSIGINFO_SHARED or number < 0:
        raise LinuxError(errno.EINVAL)
    queue = signals.shared if flags & _PEEKSIGINFO_SHARED else signals.pending
    shown = queue[offset : offset + number]
    for at, info in enumerate(shown):
        try:
            memory.write(data + at * SIGINFO_BYTES, info.pack())
        except LinuxError:
            if not at:
                raise
            return at
    return len(shown)


def signal_mask(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_GETSIGMASK, PTRACE_SETSIGMASK."""
    if address != SIGSET_BYTES:
        raise LinuxError(errno.EINVAL)
    memory, signals = caller_of(kernel).mm, tracee.task.signals
    if request == Request.GETSIGMASK:
        memory.write_u64(data, signals.blocked if signals.saved_mask is None else signals.saved_mask)
    else:
        signals.blocked, signals.saved_mask = memory.read_u64(data) & ~UNBLOCKABLE, None
    return 0


def syscall_info(kernel: Kernel, tracee: Tracee, request: int, size: int, data: int) -> int:
    """PTRACE_GET_SYSCALL_INFO, whose result is the size of all that there is to tell.  Of a call it tells with
    PTRACE_O_TRACESYSGOOD only.
    """
    regs = dict(zip(NAMES, read_regs(kernel, tracee.task), strict=True))
    kind, more = _INFO_NONE, b""
    call = [regs[name] for name in ("orig_rax", "rdi", "rsi", "rdx", "r10", "r8", "r9")]
    named = tracee.info is not None and tracee.info.code == _SYSGOOD
    if named and tracee.kind is StopKind.ENTRY:
        kind = _INFO_ENTRY
        more = struct.pack("<7Q", *call)
    elif tracee.info is not None and tracee.info.code == Sig.TRAP | Event.SECCOMP << 8:
        kind = _INFO_SECCOMP
        more = struct.pack("<7QI", *call, tracee.message)
    elif named and tracee.kind is StopKind.EXIT:
        kind, value = _INFO_EXIT, regs["rax"]
        more = struct.pack("<QB", value, value > (1 << 64) - 4096)
    words = struct.pack("<B3xIQQ", kind, _AUDIT_ARCH_X86_64, regs["rip"], regs["rsp"]) + more
    caller_of(kernel).mm.write(data, words[:size])
    return len(words)


def _filter_of(kernel: Kernel, tracee: Tracee, number: int) -> Filter:
    """The tracee's ``number``-th filter, the oldest first (get_nth_filter).  LinuxError(EACCES, EINVAL, ENOENT)."""
    caller, theirs = caller_of(kernel), tracee.task.seccomp
    if not caller.credentials.capable(SYS_ADMIN) or caller.seccomp is not None:
        raise LinuxError(errno.EACCES)
    if theirs is None or theirs.mode != MODE_FILTER:
        raise LinuxError(errno.EINVAL)
    if number >= len(theirs.filters):
        raise LinuxError(errno.ENOENT)
    return theirs.filters[number]


def get_filter(kernel: Kernel, tracee: Tracee, request: int, number: int, data: int) -> int:
    """PTRACE_SECCOMP_GET_FILTER: how many instructions, and with an address these too."""
    program = _filter_of(kernel, tracee, number).instructions
    if data:
        caller_of(kernel).mm.write(data, b"".join(struct.pack("<HBBI", *instruction) for instruction in program))
    return len(program)


def filter_flags(kernel: Kernel, tracee: Tracee, request: int, size: int, data: int) -> int:
    """PTRACE_SECCOMP_GET_METADATA: a struct seccomp_metadata, in which is the number of a filter."""
    size, memory = min(size, 16), caller_of(kernel).mm
    if size < 8:
        raise LinuxError(errno.EINVAL)
    number = memory.read_u64(data)
    found = _filter_of(kernel, tracee, number)
    memory.write(data, struct.pack("<QQ", number, _FILTER_FLAG_LOG if found.logs else 0)[:size])
    return size
