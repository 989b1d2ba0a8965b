"""The host CPU as an oracle: one access in a virtual machine that consists of page tables and ten instructions.

The machine's memory is a :class:`mmu.PhysicalMemory`, so that our walk sees the same tables at the same addresses.  An
access runs in long mode with the case's own tables.  Every exception goes, by an interrupt stack, to a stub that holds
HLT: its address tells the vector.  What keeps the machine alive lies in two windows whose tables no case touches.

A hypervisor that shadows the guest's tables does not see what the host writes to tables it has walked: each case gets
table pages that have never been used, and when memory is used up, a new machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmu import CR0, CR4, EFER, Access, PhysicalMemory, Registers
from mmu.entries import RW, US, A, D, P
from tests.mmu.paging_cases import DESCRIPTOR, OFFSET, Case, Features

MEMORY_BYTES = 64 << 20
# Physical memory: one page each, then the tables of the windows, the targets, and the tables of the cases.
GDT, IDT, TSS, STUBS, STACK, CODE = range(0x1000, 0x7000, 0x1000)
WINDOW_TABLES, FIXED_PML4 = 0x8000, 0xF000
TARGETS = 2 << 20  # 2 MiB, 2 MiB aligned, at bits 29:21 of 1
TARGET_4K = TARGETS + 0x155_000
CASE_TABLES = 4 << 20
# Linear memory.  With 5 levels the windows stay where they are, below the first and the last PML5E.
SUPERVISOR = 0xFFFF_C100_0000_0000
USER = 0x0000_4000_0000_0000

CODE_0, STACK_0, CODE_3, STACK_3, TSS_SELECTOR, LDT_SELECTOR = 0x08, 0x10, 0x23, 0x1B, 0x28, 0x38
HLT = b"\xf4"
WRPKRU = b"\x0f\x01\xef"  # PKRU = EAX
#: The access to [RDI]; the last one loads FS from the LDT, which lies there: an implicit supervisor read.
INSTRUCTIONS = {
    Access.READ: b"\x48\x8b\x07",  # mov rax, [rdi]
    Access.WRITE: b"\x48\x89\x1f",  # mov [rdi], rbx
    Access.FETCH: b"\xff\xe7",  # jmp rdi
    "implicit": b"\x8e\xe6",  # mov fs, esi
}
WITH_PKRU = 0x200
WRITTEN = 0x5752_4954_5445_4E21
MOV_EAX = 0xB8
AC = 1 << 18
PAGE_FAULT, GENERAL_PROTECTION = 14, 13


class Unavailable(Exception):
    """There is no KVM here, or none that runs this machine; the reason in words."""


# ---- the ABI of /dev/kvm (Documentation/virt/kvm/api.rst)


class Segment(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_uint64),
        ("limit", ctypes.c_uint32),
        ("selector", ctypes.c_uint16),
        *((name, ctypes.c_uint8) for name in ("type", "present", "dpl", "db", "s", "l", "g", "avl", "unusable", "pad")),
    )


class DescriptorTable(ctypes.Structure):
    _fields_ = (("base", ctypes.c_uint64), ("limit", ctypes.c_uint16), ("padding", ctypes.c_uint16 * 3))


class Sregs(ctypes.Structure):
    _fields_ = (
        *((name, Segment) for name in ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")),
        *((name, DescriptorTable) for name in ("gdt", "idt")),
        *((name, ctypes.c_uint64) for name in ("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base")),
        ("interrupt_bitmap", ctypes.c_uint64 * 4),
    )


REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", *(f"r{n}" for n in range(8, 16)), "rip", "rflags")


class Regs(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in REGISTERS)


def _iowr(number: int, structure: int, direction: int) -> int:
    return direction << 30 | structure << 16 | 0xAE << 8 | number


_TO_KERNEL, _FROM_KERNEL = 1, 2
GET_API_VERSION, CREATE_VM, CHECK_EXTENSION, GET_VCPU_MMAP_SIZE = (_iowr(n, 0, 0) for n in (0, 1, 3, 4))
CREATE_VCPU, SET_TSS_ADDR, RUN = (_iowr(n, 0, 0) for n in (0x41, 0x47, 0x80))
GET_SUPPORTED_CPUID = _iowr(0x05, 8, _TO_KERNEL | _FROM_KERNEL)
SET_CPUID2 = _iowr(0x90, 8, _TO_KERNEL)
SET_USER_MEMORY_REGION = _iowr(0x46, 32, _TO_KERNEL)
GET_REGS, SET_REGS = _iowr(0x81, ctypes.sizeof(Regs), _FROM_KERNEL), _iowr(0x82, ctypes.sizeof(Regs), _TO_KERNEL)
GET_SREGS, SET_SREGS = _iowr(0x83, ctypes.sizeof(Sregs), _FROM_KERNEL), _iowr(0x84, ctypes.sizeof(Sregs), _TO_KERNEL)
API_VERSION, CAP_USER_MEMORY, EXIT_HLT = 12, 3, 5
EXIT_REASON_OFFSET, EXIT_DATA_OFFSET = 8, 32
CPUID_ENTRIES = 256


def _flat(selector: int, kind: int, code: bool) -> Segment:
    return Segment(0, 0xFFFF_FFFF, selector, kind, 1, selector & 3, not code, 1, code, 1)


# ---- what an access came to


@dataclass(frozen=True)
class Outcome:
    """A vector with its error code and CR2 (#PF); or the physical address and the entries afterwards, from the top."""

    vector: int | None = None
    error_code: int = 0
    cr2: int = 0
    paddr: int = 0
    entries: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.vector is None:
            return f"{self.paddr:#x}, entries {' '.join(f'{entry:#x}' for entry in self.entries)}"
        return f"vector {self.vector}, error code {self.error_code:#x}, CR2 {self.cr2:#x}"


class Placed:
    """A case in memory: the address and the value of each of its entries, top level first."""

    def __init__(self, ram: PhysicalMemory, case: Case, first_table: int) -> None:
        self.ram = ram
        self.cr3 = table = first_table
        self.slots: list[int] = []
        self.values: list[int] = []
        lowest = min(case.entries)
        for level, flags in case.entries.items():
            self.slots.append(table + 8 * (case.vaddr >> (3 + 9 * level) & 511))
            table += 0x1000
            target = {1: TARGET_4K, 2: TARGETS, 3: 0}[level] if level == lowest else table
            self.values.append(flags | target)
        self.end = table

    def write(self) -> None:
        for slot, value in zip(self.slots, self.values, strict=True):
            self.ram.write_u64(slot, value)

    def read(self) -> tuple[int, ...]:
        return tuple(self.ram.read_u64(slot) for slot in self.slots)


# ---- the machine


class Kvm:
    """A virtual machine with one vCPU.  Raises :class:`Unavailable`."""

    def __init__(self) -> None:
        self._exit = contextlib.ExitStack()
        try:
            self._kvm = self._owned(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
            if (version := fcntl.ioctl(self._kvm, GET_API_VERSION, 0)) != API_VERSION:
                raise Unavailable(f"/dev/kvm speaks version {version} of its interface, not {API_VERSION}")
            if not fcntl.ioctl(self._kvm, CHECK_EXTENSION, CAP_USER_MEMORY):
                raise Unavailable("/dev/kvm cannot use this process's memory")
            self._cpuid = bytearray(struct.pack("<II", CPUID_ENTRIES, 0) + bytes(40 * CPUID_ENTRIES))
            fcntl.ioctl(self._kvm, GET_SUPPORTED_CPUID, self._cpuid)
            self.features = self._features()
            self._machine = contextlib.ExitStack()
            self._new_machine()
            if self.features.la57 and not self._takes_la57():
                self.features = replace(self.features, la57=False)
        except OSError as error:
            self.close()
            raise Unavailable(f"/dev/kvm: {error.strerror}") from None
        except Unavailable:
            self.close()
            raise

    def _takes_la57(self) -> bool:
        """Whether a vCPU can have 5 levels: a KVM without nested paging may list the feature and refuse it."""
        sregs = self._sregs
        sregs.cr0, sregs.cr3, sregs.cr4 = CR0.PE | CR0.PG | 0x10, FIXED_PML4, CR4.PAE | CR4.LA57
        sregs.efer = EFER.LME | EFER.LMA
        sregs.cs, sregs.ss = self._segments[0]
        try:
            fcntl.ioctl(self._vcpu, SET_SREGS, sregs)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        return True

    def close(self) -> None:
        if hasattr(self, "_machine"):
            self._machine.close()
        self._exit.close()

    def _owned(self, descriptor: int, machine: bool = False) -> int:
        (self._machine if machine else self._exit).callback(os.close, descriptor)
        return descriptor

    def _features(self) -> Features:
        count = struct.unpack_from("<I", self._cpuid)[0]
        leaves: dict[tuple[int, int], list[int]] = {}
        for index in range(count):
            function, subleaf, _, *registers = struct.unpack_from("<7I", self._cpuid, 8 + 40 * index)
            leaves.setdefault((function, subleaf), registers)
        nothing = [0, 0, 0, 0]
        _, ebx, ecx, _ = leaves.get((7, 0), nothing)
        edx = leaves.get((0x8000_0001, 0), nothing)[3]
        maxphyaddr = leaves.get((0x8000_0008, 0), [36])[0] & 0xFF
        return Features(
            maxphyaddr=maxphyaddr,
            nx=bool(edx >> 20 & 1),
            pages_1g=bool(edx >> 26 & 1),
            smep=bool(ebx >> 7 & 1),
            smap=bool(ebx >> 20 & 1),
            pku=bool(ecx >> 3 & 1),
            la57=bool(ecx >> 16 & 1),
            amd=struct.pack("<3I", *(leaves[0, 0][i] for i in (1, 3, 2))) in (b"AuthenticAMD", b"HygonGenuine"),
        )

    def _new_machine(self) -> None:
        self._machine.close()
        vm = self._owned(fcntl.ioctl(self._kvm, CREATE_VM, 0), machine=True)
        fcntl.ioctl(vm, SET_TSS_ADDR, 0x7FFF_D000)  # an Intel without unrestricted guests wants three pages
        self.ram = PhysicalMemory(MEMORY_BYTES)
        fcntl.ioctl(vm, SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, self.ram.size, self.ram.host))
        self._vcpu = self._owned(fcntl.ioctl(vm, CREATE_VCPU, 0), machine=True)
        fcntl.ioctl(self._vcpu, SET_CPUID2, self._cpuid)
        size = fcntl.ioctl(self._kvm, GET_VCPU_MMAP_SIZE, 0)
        self._run = mmap.mmap(self._vcpu, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._machine.callback(self._run.close)
        self._next_table = CASE_TABLES
        self._write_descriptors()
        self._write_code()
        self._write_windows()
        self._set_segments()

    def _write_descriptors(self) -> None:
        """GDT: code and stack of CPL 0, stack and code of CPL 3, TSS.  IDT: each vector to its stub, on stack 1."""
        for selector, descriptor in (
            (CODE_0, 0x00AF_9B00_0000_FFFF),
            (STACK_0, 0x00CF_9300_0000_FFFF),
            (STACK_3, 0x00CF_F300_0000_FFFF),
            (CODE_3, 0x00AF_FB00_0000_FFFF),
        ):
            self.ram.write_u64(GDT + (selector & ~7), descriptor)
        for vector in range(32):
            stub = SUPERVISOR + STUBS + 16 * vector
            gate = struct.pack("<HHBBHII", stub & 0xFFFF, CODE_0, 1, 0x8E, stub >> 16 & 0xFFFF, stub >> 32, 0)
            self.ram.write(IDT + 16 * vector, gate)
            self.ram.write(STUBS + 16 * vector, HLT)
        for rsp in (4, 36):  # RSP0 and IST1
            self.ram.write(TSS + rsp, struct.pack("<Q", SUPERVISOR + STACK + 0x1000))

    def _write_code(self) -> None:
        """The instructions that make the access, and in each target frame some that tell its number."""
        for index, instruction in enumerate(INSTRUCTIONS.values()):
            self.ram.write(CODE + 32 * index, instruction + HLT)
            self.ram.write(CODE + 32 * index + WITH_PKRU, WRPKRU + instruction + HLT)
        for frame in range(TARGETS >> 12, (TARGETS >> 12) + 512):
            self.ram.write((frame << 12) + OFFSET, struct.pack("<BIBH", MOV_EAX, frame, HLT[0], 0))
            # as a descriptor: data, writable, accessed, DPL 3, with the frame as its base
            descriptor = 0x00CF_F300_0000_FFFF | (frame & 0xFF_FFFF) << 16 | frame >> 24 << 56
            self.ram.write_u64((frame << 12) + OFFSET + DESCRIPTOR, descriptor)
        self._markers = self.ram.words[(TARGETS + OFFSET) // 8 : (TARGETS + (2 << 20)) // 8 : 512]
        self._pristine = self._markers.copy()

    def _write_windows(self) -> None:
        """The first seven pages twice: for the supervisor, and the page of code for the user.  A and D are set."""
        table = WINDOW_TABLES
        self._window_entries: list[tuple[int, int]] = []  # index in the PML4, value
        for base, rights, pages in ((SUPERVISOR, int(RW), range(GDT, CODE + 1, 0x1000)), (USER, int(US), (CODE,))):
            rights |= int(P | A)
            self._window_entries.append((base >> 39 & 511, table | rights))
            for _ in range(2):  # indices are 0 in PDPT and PD
                self.ram.write_u64(table, table + 0x1000 | rights)
                table += 0x1000
            for page in pages:
                self.ram.write_u64(table + (page >> 9), page | rights | int(D))
            table += 0x1000
        for index, entry in self._window_entries:
            self.ram.write_u64(FIXED_PML4 + 8 * index, entry)

    def _set_segments(self) -> None:
        self._sregs = Sregs()
        fcntl.ioctl(self._vcpu, GET_SREGS, self._sregs)
        self._segments = {
            0: (_flat(CODE_0, 11, True), _flat(STACK_0, 3, False)),
            3: (_flat(CODE_3, 11, True), _flat(STACK_3, 3, False)),
        }
        self._sregs.tr = Segment(SUPERVISOR + TSS, 0x67, TSS_SELECTOR, 11, 1)
        self._sregs.gdt = DescriptorTable(SUPERVISOR + GDT, 0x3F)
        self._sregs.idt = DescriptorTable(SUPERVISOR + IDT, 0x1FF)
        self._regs = Regs()

    # ---- one case

    def place(self, case: Case) -> Placed:
        """Separate tables for a case, and the windows in its top level."""
        if self._next_table + 0x5000 > MEMORY_BYTES:
            self._new_machine()
        placed = Placed(self.ram, case, self._next_table)
        self._next_table = placed.end
        if case.cr4 & CR4.LA57:
            windows = [(index, FIXED_PML4 | int(P | RW | US | A)) for index in (0, 511)]
        else:
            windows = self._window_entries
        for index, entry in windows:
            slot = placed.cr3 + 8 * index
            assert slot != placed.slots[0], f"{case}: the address lies in a window"
            self.ram.write_u64(slot, entry)
        return placed

    def registers(self, case: Case, placed: Placed) -> Registers:
        """The same controls for our walk."""
        return Registers(
            cr3=placed.cr3,
            cr0=case.cr0,
            cr4=case.cr4,
            efer=case.efer,
            cpl=case.cpl,
            ac=case.ac,
            pkru=case.pkru,
            maxphyaddr=self.features.maxphyaddr,
            pages_1g=self.features.pages_1g,
            implicit=case.implicit,
            upper_g_reserved=self.features.amd,
        )

    def run(self, case: Case, placed: Placed) -> Outcome:
        """Make the access.  The tables must have been written, and never been used."""
        kind = list(INSTRUCTIONS).index("implicit" if case.implicit else case.access)
        instruction = (SUPERVISOR if case.cpl == 0 else USER) + CODE + 32 * kind
        if case.cr4 & CR4.PKE:
            instruction += WITH_PKRU
        self._load(case, placed.cr3, instruction)
        while True:
            try:
                fcntl.ioctl(self._vcpu, RUN, 0)
                break
            except InterruptedError:
                continue
        reason = struct.unpack_from("<I", self._run, EXIT_REASON_OFFSET)[0]
        if reason != EXIT_HLT:
            data = struct.unpack_from("<4Q", self._run, EXIT_DATA_OFFSET)
            raise RuntimeError(f"{case}: KVM_RUN ended with reason {reason}, {' '.join(f'{word:#x}' for word in data)}")
        fcntl.ioctl(self._vcpu, GET_REGS, self._regs)
        fcntl.ioctl(self._vcpu, GET_SREGS, self._sregs)
        if case.cr4 & CR4.PKE:
            instruction += len(WRPKRU)
        return self._outcome(case, placed, instruction, list(INSTRUCTIONS.values())[kind])

    def _load(self, case: Case, cr3: int, instruction: int) -> None:
        sregs, regs = self._sregs, self._regs
        sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4 = case.cr0 | 0x10, 0, cr3, case.cr4  # ET is always 1
        sregs.efer = case.efer | int(EFER.LMA)
        sregs.cs, sregs.ss = self._segments[case.cpl]
        sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss
        sregs.ldt = Segment(case.vaddr, 0xFFF, LDT_SELECTOR, 2, 1) if case.implicit else Segment(unusable=1)
        fcntl.ioctl(self._vcpu, SET_SREGS, sregs)
        ctypes.memset(ctypes.addressof(regs), 0, ctypes.sizeof(regs))
        regs.rip, regs.rflags, regs.rsp = instruction, 2 | (AC if case.ac else 0), SUPERVISOR + STACK + 0x800
        regs.rdi, regs.rbx, regs.rax, regs.rsi = case.vaddr, WRITTEN, case.pkru, 7  # 7: the LDT's first, RPL 3
        fcntl.ioctl(self._vcpu, SET_REGS, regs)

    def _outcome(self, case: Case, placed: Placed, instruction: int, code: bytes) -> Outcome:
        """Where the CPU halted tells how the access ended."""
        fetched = case.access == Access.FETCH
        done = case.vaddr + 5 if fetched else instruction + len(code)  # the HLT that follows
        rip, vector = self._regs.rip, None
        if 0 <= rip - 1 - (SUPERVISOR + STUBS) < 32 * 16:
            vector = (rip - 1 - (SUPERVISOR + STUBS)) // 16
            error_code, pushed = struct.unpack("<QQ", self.ram.read(STACK + 0x1000 - 48, 16))
            if vector == PAGE_FAULT:
                assert pushed == (case.vaddr if fetched else instruction), f"{case}: #PF pushed RIP {pushed:#x}"
                return Outcome(vector, error_code, self._sregs.cr2)
            if not (vector == GENERAL_PROTECTION and case.cpl == 3 and pushed == done):  # HLT at CPL 3
                return Outcome(vector, error_code)
        elif rip != done + 1:
            raise RuntimeError(f"{case}: halted at {rip:#x}")
        return Outcome(paddr=self._frame(case) << 12 | case.vaddr & 0xFFF, entries=placed.read())

    def _frame(self, case: Case) -> int:
        """Which frame the access went to."""
        if case.implicit:
            return int(self._sregs.fs.base)
        if case.access == Access.WRITE:
            changed = np.flatnonzero(self._markers != self._pristine)
            assert len(changed) == 1 and self._markers[changed[0]] == WRITTEN, f"{case}: wrote markers {changed}"
            self._markers[changed[0]] = self._pristine[changed[0]]
            return (TARGETS >> 12) + int(changed[0])
        if case.access == Access.FETCH:
            return int(self._regs.rax)
        opcode, frame, hlt, _ = struct.unpack("<BIBH", struct.pack("<Q", self._regs.rax))
        assert (opcode, hlt) == (MOV_EAX, HLT[0]), f"{case}: read {self._regs.rax:#x}"
        return int(frame)


def modules() -> str:
    """The kernel modules behind /dev/kvm, and whether the CPU walks the guest's tables itself (nested paging)."""
    found = []
    for module in sorted(Path("/sys/module").glob("kvm_*")):
        nested = [p.read_text().strip() for name in ("npt", "ept") if (p := module / "parameters" / name).exists()]
        found.append(module.name + (f" with nested paging {nested[0]}" if nested else " without nested paging"))
    return ", ".join(found) or "kvm"
