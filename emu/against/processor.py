"""CPUID as the machine's processor answers it, for a program on a host whose CPUID can be made to fault."""

from __future__ import annotations

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as x86

from emu.cpu.cpu import CPU_MODEL

#: The instruction, and arch_prctl's code that makes it fault (ARCH_SET_CPUID; Intel's CPUID faulting).
CPUID, ARCH_SET_CPUID = b"\x0f\xa2", 0x1012
_AT = 0x1000
#: XSAVE and OSXSAVE in ECX of leaf 1.  The host's XSAVE stores what the host's XCR0 says, which is more than the
#: machine's leaf 13 has room for: a program does better to do without.
_FEATURES, _XSAVE = 1, 3 << 26
_REGISTERS = (x86.UC_X86_REG_EAX, x86.UC_X86_REG_EBX, x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX)


class Processor:
    """The processor that guests see."""

    def __init__(self) -> None:
        self._uc: Uc | None = None
        self._known: dict[tuple[int, int], tuple[int, int, int, int]] = {}

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """EAX, EBX, ECX and EDX; without XSAVE."""
        found = self._known.get((leaf, subleaf))
        if found is None:
            found = self._known[leaf, subleaf] = self._ask(leaf, subleaf)
        return found

    def _ask(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        if self._uc is None:
            self._uc = Uc(UC_ARCH_X86, UC_MODE_64)
            self._uc.ctl_set_cpu_model(CPU_MODEL)
            self._uc.mem_map(_AT, 0x1000)
            self._uc.mem_write(_AT, CPUID)
        uc = self._uc
        uc.reg_write(x86.UC_X86_REG_EAX, leaf)
        uc.reg_write(x86.UC_X86_REG_ECX, subleaf)
        uc.emu_start(_AT, _AT + len(CPUID))
        eax, ebx, ecx, edx = (int(uc.reg_read(register)) for register in _REGISTERS)
        return eax, ebx, ecx & ~_XSAVE if leaf == _FEATURES else ecx, edx
