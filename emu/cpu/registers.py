"""The registers of the engine, and contexts: what a task has of them while another one runs."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Sequence

from unicorn import Uc
from unicorn import x86_const as x86

from emu.engine.fpu import Fpu
from mmu import unicorn_abi

_u64 = ctypes.c_uint64
#: The general registers by name, in the order of their numbers, and RIP.
GENERAL: dict[str, int] = {
    name: number
    for number, name in enumerate(
        ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)), "rip")
    )
}
#: RAX, of which a call looks at 32 bits, RDX, RSI, RDI, R8, R9, R10 and RIP among the general registers.
_ARGUMENTS = struct.Struct("<I12xQ24xQQQQQ40xQ")


class RegisterFile:
    """Reads and writes the registers where the engine has them."""

    def __init__(self, uc: Uc) -> None:
        self.uc = uc
        self._engine = unicorn_abi.handle(uc)
        self._env = unicorn_abi.general_registers(uc)
        self._env_bytes = memoryview(self._env).cast("B")
        #: Gives the number of a system call, RDX, RSI, RDI, R8, R9, R10, and RIP behind the instruction.
        self.syscall_words = functools.partial(_ARGUMENTS.unpack_from, self._env_bytes)
        self._env_words = self._env_bytes.cast("Q")
        bases = unicorn_abi.segment_bases(uc)
        self._fs_base, self._gs_base = (_u64.from_address(bases[prefix]) for prefix in (0x64, 0x65))
        self._flags = _u64()
        self._flags_call = self._engine, x86.UC_X86_REG_RFLAGS, ctypes.addressof(self._flags)
        #: The x87 and SSE state.
        self.fpu = Fpu(uc)
        self._spare_contexts = unicorn_abi.SpareContexts()

    def read(self, name: str) -> int:
        """One general register, or RIP."""
        return int(self._env[GENERAL[name]])

    def write(self, name: str, value: int) -> None:
        """Set one general register, or RIP, which takes effect when the CPU is entered there."""
        self._env[GENERAL[name]] = value & 0xFFFFFFFFFFFFFFFF

    @property
    def rflags(self) -> int:
        """RFLAGS, which the engine computes."""
        unicorn_abi.reg_read(*self._flags_call)
        return self._flags.value

    @rflags.setter
    def rflags(self, value: int) -> None:
        self._flags.value = value
        unicorn_abi.reg_write(*self._flags_call)

    def general(self) -> list[int]:
        """Every general register, in the order of their numbers, and RIP."""
        values: list[int] = self._env[:]
        return values

    def set_general(self, values: Sequence[int], rflags: int) -> None:
        """Set every general register, RIP and RFLAGS."""
        self._env[:] = values
        self.rflags = rflags

    @property
    def rip(self) -> int:
        """Where the guest is."""
        return int(self._env[16])

    def syscall_registers(self) -> tuple[int, int, tuple[int, int, int, int, int, int]]:
        """RIP behind the SYSCALL instruction, its number, and its six arguments."""
        number, rdx, rsi, rdi, r8, r9, r10, rip = self.syscall_words()
        return rip, number, (rdi, rsi, rdx, r10, r8, r9)

    @property
    def stack_pointer(self) -> int:
        """RSP."""
        return int(self._env[4])

    @property
    def fs_base(self) -> int:
        """The base of FS: thread-local storage."""
        return self._fs_base.value

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self._fs_base.value = value

    @property
    def gs_base(self) -> int:
        """The base of GS."""
        return self._gs_base.value

    @gs_base.setter
    def gs_base(self, value: int) -> None:
        self._gs_base.value = value

    def new_context_like_current(self) -> unicorn_abi.Context:
        """A context with the registers that are in the CPU now."""
        context = self.new_context()
        context.save()
        return context

    def new_context(self) -> unicorn_abi.Context:
        """A context with nothing in it yet (:meth:`save_child`)."""
        return unicorn_abi.Context(self.uc, self._spare_contexts)

    def save_child(self, context: unicorn_abi.Context, rsp: int, fs_base: int | None) -> None:
        """Save the registers of a child that goes on where its maker is: RAX is 0, and RSP and the base of FS are its
        own if they are given (not 0, not None).
        """
        env = self._env_words
        result, stack, base = env[0], env[4], self._fs_base.value
        env[0] = 0
        if rsp:
            env[4] = rsp
        if fs_base is not None:
            self._fs_base.value = fs_base
        context.save()
        env[0], env[4], self._fs_base.value = result, stack, base
