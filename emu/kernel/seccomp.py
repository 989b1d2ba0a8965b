"""seccomp: which system calls a thread may still make (kernel/seccomp.c), and classic BPF (net/core/filter.c)."""

from __future__ import annotations

import errno
import struct
from array import array
from typing import NamedTuple

from emu.linux.errors import LinuxError
from emu.linux.unistd import NR_EXIT, NR_READ, NR_RT_SIGRETURN, NR_WRITE

MODE_STRICT, MODE_FILTER = 1, 2
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW = (
    0x80000000, 0, 0x30000, 0x50000, 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000,
)  # fmt: skip
ACTIONS = (KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, USER_NOTIF, TRACE, LOG, ALLOW)
_ACTION, _DATA = 0xFFFF0000, 0xFFFF
_STRICT = frozenset({NR_READ, NR_WRITE, NR_EXIT, NR_RT_SIGRETURN})
_MAX_ERRNO = 4095
AUDIT_ARCH_X86_64 = 0xC000003E
SECCOMP_DATA = struct.Struct("<iIQ6Q")
_WORD = 0xFFFF_FFFF
# codes: class, size and mode, operation, source
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_K, _X = 0, 8
_IMM, _ABS, _MEM, _LEN = 0x00, 0x20, 0x60, 0x80
_ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _NEG, _XOR = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0xA0
_JA, _JEQ, _JGT, _JGE, _JSET = 0x00, 0x10, 0x20, 0x30, 0x40
_ARITHMETIC = (_ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _XOR)
#: Every code that a filter may have (seccomp_check_filter): BPF_LD|BPF_W|BPF_ABS, the lengths, and the arithmetic.
_ALLOWED = frozenset(
    {
        _LD | _ABS, _LD | _LEN, _LDX | _LEN, _LD | _IMM, _LDX | _IMM, _LD | _MEM, _LDX | _MEM, _ST, _STX,
        _RET | _K, _RET | 0x10, _ALU | _NEG, _JMP | _JA, _MISC, _MISC | 0x80,
        *(_ALU | operation | source for operation in _ARITHMETIC for source in (_K, _X)),
        *(_JMP | operation | source for operation in (_JEQ, _JGT, _JGE, _JSET) for source in (_K, _X)),
    }
)  # fmt: skip
_SCRATCH = 16


class Instruction(NamedTuple):
    """struct sock_filter."""

    code: int
    jt: int
    jf: int
    k: int


class Filter(NamedTuple):
    """A checked program: the fields of its instructions, each by itself, which takes the least memory."""

    codes: bytes
    jt: bytes
    jf: bytes
    k: array[int]
    #: Who is asked about calls (SECCOMP_FILTER_FLAG_NEW_LISTENER).
    listener: object = None
    #: SECCOMP_FILTER_FLAG_LOG.
    logs: bool = False

    @property
    def instructions(self) -> list[Instruction]:
        """The program as it was given."""
        return [Instruction(*fields) for fields in zip(self.codes, self.jt, self.jf, self.k, strict=True)]

    @staticmethod
    def of(program: list[Instruction]) -> Filter:
        """LinuxError(EINVAL) for a program that is not allowed."""
        check_program(program)
        codes, jt, jf, k = zip(*program, strict=True)
        return Filter(bytes(codes), bytes(jt), bytes(jf), array("I", k))

    def run(self, data: bytes) -> int:
        """The action for a call, which struct seccomp_data describes."""
        a = x = 0
        memory = [0] * _SCRATCH
        codes, jts, jfs, ks = self.codes, self.jt, self.jf, self.k
        at = 0
        while True:
            code, k = codes[at], ks[at]
            jt, jf = jts[at], jfs[at]
            at += 1
            kind = code & 7
            if kind == _RET:
                return a if code & 0x10 else k
            if kind == _JMP:
                at += _jump(code, jt, jf, k, a, x)
            elif kind == _ALU:
                a = _compute(code, a, x if code & _X else k)
            elif kind in (_LD, _LDX):
                value = _load(code & 0xE0, k, memory, data)
                a, x = (value, x) if kind == _LD else (a, value)
            elif kind in (_ST, _STX):
                memory[k] = a if kind == _ST else x
            elif code & 0x80:
                a = x
            else:
                x = a


def _jump(code: int, jt: int, jf: int, k: int, a: int, x: int) -> int:
    operation, other = code & 0xF0, x if code & _X else k
    if operation == _JA:
        return k
    if operation == _JEQ:
        holds = a == other
    elif operation == _JGT:
        holds = a > other
    elif operation == _JGE:
        holds = a >= other
    else:
        holds = bool(a & other)
    return jt if holds else jf


def _load(mode: int, k: int, memory: list[int], data: bytes) -> int:
    if mode == _ABS:
        return int.from_bytes(data[k : k + 4], "little")
    return memory[k] if mode == _MEM else len(data) if mode == _LEN else k


def _compute(code: int, a: int, other: int) -> int:
    operation = code & 0xF0
    if operation == _ADD:
        a += other
    elif operation == _SUB:
        a -= other
    elif operation == _MUL:
        a *= other
    elif operation == _DIV:
        a = a // other if other else 0
    elif operation == _OR:
        a |= other
    elif operation == _AND:
        a &= other
    elif operation == _LSH:
        a <<= other & 31
    elif operation == _RSH:
        a >>= other & 31
    elif operation == _NEG:
        a = -a
    else:
        a ^= other
    return a & _WORD


def check_program(program: list[Instruction]) -> None:
    """LinuxError(EINVAL) for a program that might not end well (bpf_check_classic, seccomp_check_filter)."""
    length = len(program)
    for at, (code, jt, jf, k) in enumerate(program):
        good = code in _ALLOWED
        kind, operation = code & 7, code & 0xF0
        if kind == _JMP:
            good = good and at + 1 + (k if operation == _JA else max(jt, jf)) < length
        elif kind == _ALU and not code & _X:
            good = good and not (operation == _DIV and k == 0) and not (operation in (_LSH, _RSH) and k >= 32)
        elif kind in (_ST, _STX) or (kind in (_LD, _LDX) and code & 0xE0 == _MEM):
            good = good and k < _SCRATCH
        elif code == _LD | _ABS:
            good = k % 4 == 0 and k + 4 <= SECCOMP_DATA.size
        if not good:
            raise LinuxError(errno.EINVAL)
    if program[-1].code & 7 != _RET:
        raise LinuxError(errno.EINVAL)


class Seccomp(NamedTuple):
    """What holds for a thread: strict mode, or filters, the last of which came last."""

    mode: int
    filters: tuple[Filter, ...] = ()

    def action(self, number: int, registers: tuple[int, ...], rip: int) -> int:
        """What is to become of a call: the strictest action of all filters, with its data."""
        if self.mode == MODE_STRICT:
            return ALLOW if number in _STRICT else KILL_THREAD
        return self._strictest(seccomp_data(number, registers, rip))[0]

    def listener(self, data: bytes) -> object:
        """Who is asked about the call that the data describes; None: nobody."""
        found = self._strictest(data)[1]
        return None if found is None else found.listener

    def _strictest(self, data: bytes) -> tuple[int, Filter | None]:
        found, by = ALLOW, None
        for one in reversed(self.filters):
            result = one.run(data)
            if _strictness(result) < _strictness(found):
                found, by = result, one
        return found, by


def seccomp_data(number: int, registers: tuple[int, ...], rip: int) -> bytes:
    """struct seccomp_data."""
    return SECCOMP_DATA.pack(number - (number >> 31 << 32), AUDIT_ARCH_X86_64, rip, *registers)


def _strictness(action: int) -> int:
    """Actions compare as signed numbers."""
    action &= _ACTION
    return action - (action >> 31 << 32)


def refused(action: int) -> int | None:
    """The result of a call that a filter answers itself; None: it has to be ended by a signal."""
    kind = action & _ACTION
    if kind == ERRNO:
        return -min(action & _DATA, _MAX_ERRNO)
    if kind in (TRACE, USER_NOTIF):  # nobody traces, nobody listens
        return -errno.ENOSYS
    return None
