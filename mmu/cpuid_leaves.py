"""What CPUID returned, on another machine that made a dump of it, or on this host."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import sys
from collections.abc import Callable
from typing import NamedTuple


class CpuidResult(NamedTuple):
    """What CPUID returned."""

    eax: int
    ebx: int
    ecx: int
    edx: int


#: (leaf, sub-leaf) -> what CPUID returned there.
Leaves = dict[tuple[int, int], CpuidResult]


class CpuidError(ValueError):
    """The leaves do not describe TLBs, or CPUID cannot be read."""


#: EBX, ECX and EDX of leaf 0 on a processor of AMD's.
AUTHENTIC_AMD = (0x68747541, 0x444D4163, 0x69746E65)
#: The most sub-leaves of leaf 18h that are read; no processor has so many.
_MOST_SUBLEAVES = 255


def family_and_model(leaves: Leaves) -> tuple[int, int]:
    """Of leaf 1: family and model with their extensions."""
    eax = leaves[1, 0].eax
    return (eax >> 8 & 0xF) + (eax >> 20 & 0xFF), eax >> 4 & 0xF | eax >> 12 & 0xF0


# ---- dumps

_HEX = "([0-9A-Fa-f]{8})"
_INSTLATX64 = re.compile(rf"CPUID {_HEX}: {_HEX}-{_HEX}-{_HEX}-{_HEX}(?: \[SL ([0-9A-Fa-f]+)\])?")
_CPUID_R = re.compile(
    rf"\s*0x{_HEX} 0x([0-9A-Fa-f]+): eax=0x{_HEX} ebx=0x{_HEX} ecx=0x{_HEX} edx=0x{_HEX}",
)


def parse_dump(text: str) -> Leaves:
    """Read a dump of InstLatx64 ("CPUID 00000002: ...") or of ``cpuid -r`` ("0x00000002 0x00: eax=...").

    From a dump of several processors, the first is read.  Raises :class:`CpuidError` if there is no line of either
    kind.
    """
    leaves: Leaves = {}
    for line in text.splitlines():
        if found := _INSTLATX64.match(line.strip()):
            leaf, *values, subleaf = found.groups(default="0")
        elif found := _CPUID_R.match(line):
            leaf, subleaf, *values = found.groups()
        else:
            continue
        leaves.setdefault((int(leaf, 16), int(subleaf, 16)), CpuidResult(*(int(value, 16) for value in values)))
    if not leaves:
        raise CpuidError("this is not a CPUID dump: it has no line in the format of InstLatx64 or `cpuid -r`")
    return leaves


# ---- this host

#: void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
_CODE = bytes.fromhex(
    "53"  # push rbx, which the caller wants back
    "89f8 89f1"  # mov eax, edi; mov ecx, esi
    "4989d0"  # mov r8, rdx
    "0fa2"  # cpuid
    "418900 41895804 41894808 4189500c"  # mov [r8], eax; [r8+4], ebx; [r8+8], ecx; [r8+12], edx
    "5b c3"  # pop rbx; ret
)


def host_leaves() -> Leaves:
    """The leaves that this host's CPUID returns, on whichever processor this thread runs; a hypervisor may hide some.

    Raises :class:`CpuidError` where the instruction cannot be executed: not x86-64 Linux, or no executable mappings.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise CpuidError(f"CPUID can be read on x86-64 Linux only, not on {platform.machine()} {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    descriptor = os.memfd_create("cpuid", os.MFD_CLOEXEC)  # never a page that is writable and executable at once
    try:
        os.write(descriptor, _CODE)
        code = libc.mmap(None, len(_CODE), mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, descriptor, 0)
    finally:
        os.close(descriptor)
    if code == ctypes.c_void_p(-1).value:
        raise CpuidError(f"CPUID cannot be read: no executable mapping ({os.strerror(ctypes.get_errno())})")
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32))(code)

    def cpuid(leaf: int, subleaf: int) -> CpuidResult:
        out = (ctypes.c_uint32 * 4)()
        call(leaf, subleaf, out)
        return CpuidResult(*out)

    try:
        return _read_all(cpuid)
    finally:
        libc.munmap(code, len(_CODE))


def _read_all(cpuid: Callable[[int, int], CpuidResult]) -> Leaves:
    leaves: Leaves = {}
    highest, highest_extended = cpuid(0, 0).eax, cpuid(0x80000000, 0).eax
    for leaf in (0, 1, 2, 4, 0x18, 0x80000000, 0x80000005, 0x80000006, 0x80000019, 0x80000021):
        if leaf > (highest_extended if leaf >> 31 else highest):
            continue
        leaves[leaf, 0] = cpuid(leaf, 0)
        if leaf == 4:
            subleaf = 0
            while leaves[leaf, subleaf].eax & 0x1F:
                subleaf += 1
                leaves[leaf, subleaf] = cpuid(leaf, subleaf)
        elif leaf == 0x18:
            for subleaf in range(1, min(leaves[leaf, 0].eax, _MOST_SUBLEAVES) + 1):
                leaves[leaf, subleaf] = cpuid(leaf, subleaf)
    return leaves
