"""The registers of a stopped task, as its tracer sees them (struct user; arch/x86/kernel/ptrace.c)."""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: struct user_regs_struct.
NAMES = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax",
    "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
REGS_BYTES = 8 * len(NAMES)
FP_BYTES = 512
#: FXSAVE image and XSAVE header; of the image these bytes are the kernel's, and say what XCR0 is: x87 and SSE.
XSTATE_BYTES = FP_BYTES + 64
_SW_AT, _XCR0 = 464, 3
#: The general registers in the order of their numbers, and RIP.
_GENERAL = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)), "rip",
)  # fmt: skip
_USER_CS, _USER_SS = 0x33, 0x2B
#: What a tracer may change of RFLAGS: CF PF AF ZF SF TF DF OF RF AC (FLAG_MASK).
_FLAG_MASK = 0x0005_0DD5
_SEGMENTS = {"cs": _USER_CS, "ss": _USER_SS, "ds": 0, "es": 0, "fs": 0, "gs": 0}
_MXCSR_AT, _MXCSR_MASK = 24, 0xFFFF
_WORD = (1 << 64) - 1
#: RAX in a call that waits: -ERESTARTSYS.
_RESTARTS = _WORD & -512


@contextlib.contextmanager
def _in_cpu(kernel: Kernel, task: Task) -> Iterator[Cpu]:
    """The registers of a stopped task are in the CPU meanwhile."""
    cpu = kernel.cpu
    mine = cpu.new_context_like_current()
    task.context.restore()
    try:
        yield cpu
        task.context.save()
    finally:
        mine.restore()


def read_regs(kernel: Kernel, task: Task) -> list[int]:
    """The registers, in the order of :data:`NAMES`."""
    with _in_cpu(kernel, task) as cpu:
        values = dict(zip(_GENERAL, cpu.general(), strict=True))
        values.update(_SEGMENTS, eflags=cpu.rflags, fs_base=cpu.fs_base, gs_base=cpu.gs_base)
    if task.ptrace is not None:
        values["orig_rax"] = task.ptrace.orig_rax & _WORD
    elif task.sleeping is not None and task.syscall is not None:
        values.update(orig_rax=task.syscall[0], rax=_RESTARTS)
    else:
        values["orig_rax"] = _WORD
    values["rip"] = task.rip
    return [values[name] for name in NAMES]


def write_regs(kernel: Kernel, task: Task, values: Sequence[int]) -> None:
    """Set the registers.  LinuxError(EIO) for a segment or a base that no program may have."""
    named = dict(zip(NAMES, values, strict=True))
    for name in ("fs_base", "gs_base"):
        if named[name] >= task.mm.task_size:
            raise LinuxError(errno.EIO)
    for name in ("cs", "ss"):
        if named[name] & 3 != 3:
            raise LinuxError(errno.EIO)
    with _in_cpu(kernel, task) as cpu:
        rflags = cpu.rflags & ~_FLAG_MASK | named["eflags"] & _FLAG_MASK
        cpu.set_general([named[name] for name in _GENERAL], rflags)
        cpu.fs_base, cpu.gs_base = named["fs_base"], named["gs_base"]
    task.rip = named["rip"]
    assert task.ptrace is not None
    number = named["orig_rax"]
    task.ptrace.orig_rax = number if number >> 63 == 0 else number - (1 << 64)


def read_fp(kernel: Kernel, task: Task) -> bytes:
    """The x87 and SSE state, as FXSAVE stores it."""
    with _in_cpu(kernel, task) as cpu:
        return cpu.fpu.save()


def write_fp(kernel: Kernel, task: Task, image: bytes) -> None:
    """Set it.  LinuxError(EINVAL) for an MXCSR that no CPU has."""
    if int.from_bytes(image[_MXCSR_AT : _MXCSR_AT + 4], "little") & ~_MXCSR_MASK:
        raise LinuxError(errno.EINVAL)
    with _in_cpu(kernel, task) as cpu:
        cpu.fpu.load(image)


def read_xstate(kernel: Kernel, task: Task) -> bytes:
    """The same, as XSAVE stores it."""
    image = bytearray(read_fp(kernel, task))
    struct.pack_into("<6Q", image, _SW_AT, _XCR0, 0, 0, 0, 0, 0)
    return bytes(image) + struct.pack("<8Q", _XCR0, *([0] * 7))


def write_xstate(kernel: Kernel, task: Task, data: bytes) -> None:
    """Set it.  LinuxError(EFAULT) if it is too short, (EINVAL) for states that there are not."""
    if len(data) < XSTATE_BYTES:
        raise LinuxError(errno.EFAULT)
    present, *reserved = struct.unpack_from("<8Q", data, FP_BYTES)
    if present & ~_XCR0 or any(reserved):
        raise LinuxError(errno.EINVAL)
    write_fp(kernel, task, data[:FP_BYTES])
