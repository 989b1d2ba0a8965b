"""The registers, and the bits in them, that paging depends on (SDM vol. 3, 2.5 and 4.1)."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import ClassVar

from mmu.record import record
from mmu.shown import ShownInHex


class Access(IntEnum):
    """What an access does (SDM vol. 3, 4.6)."""

    READ = 0
    WRITE = 1
    FETCH = 2


class Rights(IntFlag):
    """What the current mode may do with a page."""

    READ = 1 << Access.READ
    WRITE = 1 << Access.WRITE
    EXECUTE = 1 << Access.FETCH


class CR0(IntEnum):
    """Control register 0, the bits of paging."""

    PE = 1 << 0
    WP = 1 << 16
    PG = 1 << 31


class CR4(IntEnum):
    """Control register 4, the bits of paging."""

    PSE = 1 << 4
    PAE = 1 << 5
    PGE = 1 << 7
    LA57 = 1 << 12
    PCIDE = 1 << 17
    SMEP = 1 << 20
    SMAP = 1 << 21
    PKE = 1 << 22
    PKS = 1 << 24
    LAM_SUP = 1 << 28


class EFER(IntEnum):
    """IA32_EFER, the bits of IA-32e mode."""

    SCE = 1 << 0
    LME = 1 << 8
    LMA = 1 << 10
    NXE = 1 << 11


#: What a 64-bit operating system sets before anything else.
CR0_LONG_MODE = CR0.PE | CR0.WP | CR0.PG
CR4_LONG_MODE = int(CR4.PAE)
EFER_LONG_MODE = EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE
#: IA32_PAT after reset: WB WT UC- UC, twice (SDM vol. 3, 11.12.4).
PAT_RESET = 0x0007_0406_0007_0406
#: Bit 63 of the source of MOV to CR3: with CR4.PCIDE, keep the translations of the new PCID.
CR3_NO_FLUSH = 1 << 63
PCID_MASK = 0xFFF


_NW, _CD = 1 << 29, 1 << 30
#: The bits of CR4 that some processor has in IA-32e mode, of those that are modelled or do not concern paging: all but
#: 15 and 26 to 63 (LAM_SUP and FRED are not offered).
CR4_KNOWN = 0x03FF_7FFF


def check_access(access: int) -> None:
    """ValueError for a kind of access that there is not."""
    if access not in (0, 1, 2):
        raise ValueError(f"an access is Access.READ, Access.WRITE or Access.FETCH, not {access!r}")


def check_linear(vaddr: int) -> None:
    """ValueError for a number that is no linear address: below 0, or of more than 64 bits."""
    if vaddr >> 64:
        raise ValueError(f"a linear address is a number of 64 bits, not {vaddr:#x}")


class Refused(ValueError):
    """A processor refuses this with #GP(0): the value that an instruction was given."""


def check_cr3(value: int, cr4: int, maxphyaddr: int) -> None:
    """:class:`Refused` if MOV to CR3 of this value raises #GP(0) (SDM vol. 2, MOV to control registers)."""
    if value & CR3_NO_FLUSH and not cr4 & CR4.PCIDE:
        raise Refused(f"#GP(0): CR3 {value:#x}: bit 63 needs CR4.PCIDE")
    if (value & ~CR3_NO_FLUSH) >> maxphyaddr:
        raise Refused(f"#GP(0): CR3 {value:#x} has bits set at or above MAXPHYADDR {maxphyaddr}")


def check_cr0(new: int) -> None:
    """:class:`Refused` if MOV to CR0 of ``new`` raises #GP(0) in IA-32e mode (SDM vol. 2, MOV to control registers)."""
    if new >> 32:
        raise Refused(f"#GP(0): CR0 {new:#x} has bits above 31 set")
    if not new & CR0.PG or not new & CR0.PE:
        raise Refused("#GP(0): CR0.PG and CR0.PE cannot be cleared in 64-bit mode")
    if new & _NW and not new & _CD:
        raise Refused("#GP(0): CR0.NW needs CR0.CD")


def check_efer(old: int, new: int) -> None:
    """:class:`Refused` if WRMSR of ``new`` to IA32_EFER raises #GP(0) in IA-32e mode (SDM vol. 3, 2.2.1)."""
    known = int(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE)
    if new & ~known:
        raise Refused(f"#GP(0): IA32_EFER {new:#x} has reserved bits set ({new & ~known:#x})")
    if (old ^ new) & EFER.LME:
        raise Refused("#GP(0): IA32_EFER.LME cannot be changed while paging is enabled")


def check_cr4(old: int, new: int, cr3: int) -> None:
    """:class:`Refused` if MOV to CR4 of ``new`` raises #GP(0) in IA-32e mode (SDM vol. 2, MOV to control registers)."""
    if new & ~CR4_KNOWN:
        raise Refused(f"#GP(0): CR4 {new:#x} has reserved bits set ({new & ~CR4_KNOWN:#x})")
    if not new & CR4.PAE:
        raise Refused("#GP(0): CR4.PAE cannot be cleared in IA-32e mode")
    if (old ^ new) & CR4.LA57:
        raise Refused("#GP(0): CR4.LA57 cannot be changed in IA-32e mode")
    if new & ~old & CR4.PCIDE and cr3 & PCID_MASK:
        raise Refused(f"#GP(0): CR4.PCIDE cannot be set while bits 11:0 of CR3 ({cr3:#x}) are not 0")


@record(frozen=True, repr=False)
class Registers(ShownInHex):
    """The state that decides a translation (SDM vol. 3, 4.1).

    ``cr3`` is the physical address of the top-level table, with PCD/PWT or, if CR4.PCIDE, the PCID in its low bits (and
    bit 63 as in the source of a MOV to CR3); ``cpl`` 0 to 3; ``ac`` is RFLAGS.AC; ``pkru`` and ``pkrs`` have two bits
    (AD, WD) a key.  ``implicit`` makes every data access an implicit supervisor access, as to a descriptor table,
    whatever ``cpl`` is.

    Facts in which processors differ: ``maxphyaddr`` in bits (36 to 52), ``pages_1g`` (CPUID.80000001H:EDX.Page1GB),
    ``upper_g_reserved``: bit 8 (G) of a PML5E or PML4E must be 0, as AMD has it (APM vol. 2, 5.3); Intel ignores it.

    Raises ValueError for a state that a processor would not let you load.

    >>> Registers(cr3=0x1000, cpl=0).levels
    4
    >>> Registers(cr3=0x1234_5000, cr4=CR4_LONG_MODE | CR4.PCIDE).pcid
    0
    """

    cr3: int
    cr0: int = CR0_LONG_MODE
    cr4: int = CR4_LONG_MODE
    efer: int = EFER_LONG_MODE
    cpl: int = 3
    ac: bool = False
    pkru: int = 0
    maxphyaddr: int = 48
    pkrs: int = 0
    pat: int = PAT_RESET
    pages_1g: bool = True
    implicit: bool = False
    upper_g_reserved: bool = False

    _hexadecimal: ClassVar[frozenset[str]] = frozenset(("cr3", "cr0", "cr4", "efer", "pkru", "pkrs", "pat"))

    def __post_init__(self) -> None:
        for name in ("cr3", "cr0", "cr4", "efer"):
            if getattr(self, name) >> 64:
                raise ValueError(f"{name} is a register of 64 bits, and {getattr(self, name):#x} does not fit")
        if not (self.cr0 & CR0.PG and self.cr0 & CR0.PE and self.cr4 & CR4.PAE and self.efer & EFER.LME):
            raise ValueError(
                "IA-32e paging needs CR0.PE, CR0.PG, CR4.PAE and EFER.LME; other paging modes are not modelled"
            )
        if self.cr4 & CR4.LAM_SUP:
            raise ValueError("linear-address masking (CR4.LAM_SUP) is not modelled")
        if not 0 <= self.cpl <= 3:
            raise ValueError(f"CPL is 0 to 3, not {self.cpl}")
        if not 36 <= self.maxphyaddr <= 52:
            raise ValueError(f"MAXPHYADDR is 36 to 52 bits, not {self.maxphyaddr}")
        check_cr3(self.cr3, self.cr4, self.maxphyaddr)
        if self.pkru >> 32 or self.pkrs >> 32:
            raise ValueError("PKRU and IA32_PKRS have 32 bits")
        if self.pat >> 64 or any((self.pat >> (8 * i)) & 0xFF not in (0, 1, 4, 5, 6, 7) for i in range(8)):
            raise ValueError(f"IA32_PAT {self.pat:#x} holds a memory type that does not exist")

    @property
    def levels(self) -> int:
        """4, or 5 with CR4.LA57."""
        return 5 if self.cr4 & CR4.LA57 else 4

    @property
    def pcid(self) -> int:
        """The current process-context identifier: 0 without CR4.PCIDE."""
        return self.cr3 & PCID_MASK if self.cr4 & CR4.PCIDE else 0
