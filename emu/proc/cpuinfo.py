"""/proc/cpuinfo: what CPUID tells of the emulated CPU (arch/x86/kernel/cpu/proc.c)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc, x86_const

from emu.cpu.cpu import CPU_MODEL

#: cpuid
_CODE = bytes.fromhex("0fa2")
_AT = 0x1000
#: A word of feature bits: leaf, subleaf, register, and the names by bit (arch/x86/include/asm/cpufeatures.h).
_FEATURES = (
    (1, 0, 3, "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr"
     " sse sse2 ss ht tm ia64 pbe"),
    (0x80000001, 0, 3, "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm"
     " 3dnowext 3dnow"),
    (1, 0, 2, "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1"
     " sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor"),
    (0x80000001, 0, 2, "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop"
     " skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext"),
    (7, 0, 1, "fsgsbase tsc_adjust - bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed"
     " adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl"),
    (0xD, 1, 0, "xsaveopt xsavec xgetbv1 xsaves"),
)  # fmt: skip
#: What the kernel finds out besides.
_SYNTHETIC = "constant_tsc nopl nonstop_tsc cpuid"


class Leaf(NamedTuple):
    """EAX, EBX, ECX, EDX."""

    eax: int
    ebx: int
    ecx: int
    edx: int


class Identity(NamedTuple):
    """What /proc/cpuinfo says of each CPU."""

    vendor: str
    family: int
    model: int
    stepping: int
    name: str
    level: int
    flags: str
    clflush: int
    physical_bits: int


class Cpuid:
    """A CPU of the machine's model that executes CPUID."""

    def __init__(self) -> None:
        self._uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self._uc.ctl_set_cpu_model(CPU_MODEL)
        self._uc.mem_map(_AT, 0x1000)
        self._uc.mem_write(_AT, _CODE)

    def __call__(self, leaf: int, subleaf: int = 0) -> Leaf:
        """What it gives for EAX and ECX."""
        self._uc.reg_write(x86_const.UC_X86_REG_EAX, leaf)
        self._uc.reg_write(x86_const.UC_X86_REG_ECX, subleaf)
        self._uc.emu_start(_AT, _AT + len(_CODE))
        registers = (
            x86_const.UC_X86_REG_EAX, x86_const.UC_X86_REG_EBX, x86_const.UC_X86_REG_ECX, x86_const.UC_X86_REG_EDX,
        )  # fmt: skip
        return Leaf(*(int(self._uc.reg_read(register)) & 0xFFFFFFFF for register in registers))


def identity() -> Identity:
    """What CPUID says."""
    cpuid = Cpuid()
    first, version = cpuid(0), cpuid(1)
    vendor = struct.pack("<3I", first.ebx, first.edx, first.ecx).decode("ascii")
    name = b"".join(struct.pack("<4I", *cpuid(0x80000002 + number)) for number in range(3))
    family, model = version.eax >> 8 & 15, version.eax >> 4 & 15 | version.eax >> 12 & 0xF0
    most, extended = first.eax, cpuid(0x80000000).eax
    flags: list[str] = []
    for leaf, subleaf, register, names in _FEATURES:
        if leaf <= (extended if leaf >> 31 else most):
            word = cpuid(leaf, subleaf)[register]
            flags += [flag for bit, flag in enumerate(names.split()) if word >> bit & 1 and flag != "-"]
    return Identity(
        vendor, family, model, version.eax & 15, name.split(b"\0")[0].decode("ascii").strip(), most,
        f"{' '.join(flags)} {_SYNTHETIC}", (version.ebx >> 8 & 0xFF) * 8, 48,
    )  # fmt: skip


def cpuinfo(cpu: Identity, cpus: int, address_bits: int) -> bytes:
    """/proc/cpuinfo; there is no clock of the CPU but the instructions, of which a nanosecond has one."""
    return "".join(_entry(cpu, number, cpus, address_bits) for number in range(cpus)).encode()


def _entry(cpu: Identity, number: int, cpus: int, address_bits: int) -> str:
    fields: dict[str, object] = {
        "processor": number, "vendor_id": cpu.vendor, "cpu family": cpu.family, "model": cpu.model,
        "model name": cpu.name, "stepping": cpu.stepping, "cpu MHz": "1000.000", "physical id": 0, "siblings": cpus,
        "core id": number, "cpu cores": cpus, "apicid": number, "initial apicid": number, "fpu": "yes",
        "fpu_exception": "yes", "cpuid level": cpu.level, "wp": "yes", "flags": cpu.flags, "bugs": "",
        "bogomips": "2000.00", "clflush size": cpu.clflush, "cache_alignment": cpu.clflush,
        "address sizes": f"{cpu.physical_bits} bits physical, {address_bits} bits virtual", "power management": "",
    }  # fmt: skip
    tabs = {name: "\t\t" if len(name) < 8 else "\t" if len(name) < 16 else "" for name in fields}
    return "".join(f"{name}{tabs[name]}: {value}".rstrip(" ") + "\n" for name, value in fields.items()) + "\n"
