"""The registers, and the bits in them, that paging depends on (SDM vol. 3, 2.5 and 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag


class Access(IntEnum):
    """What an access does (SDM vol. 3, 4.6)."""

    READ = 0
    WRITE = 1
    FETCH = 2


class CR0(IntFlag):
    """Control register 0, the bits of paging."""

    PE = 1 << 0
    WP = 1 << 16
    PG = 1 << 31


class CR4(IntFlag):
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


class EFER(IntFlag):
    """IA32_EFER, the bits of IA-32e mode."""

    SCE = 1 << 0
    LME = 1 << 8
    LMA = 1 << 10
    NXE = 1 << 11


#: What a 64-bit operating system sets before anything else.
CR0_LONG_MODE = int(CR0.PE | CR0.WP | CR0.PG)
CR4_LONG_MODE = int(CR4.PAE)
EFER_LONG_MODE = int(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE)

#: Bits whose meaning this walker does not have yet: using them is an error, never a silent difference.
_UNSUPPORTED = CR4.LA57 | CR4.PCIDE | CR4.SMEP | CR4.SMAP | CR4.PKE | CR4.PKS


@dataclass(frozen=True)
class Registers:
    """The state that decides a translation.

    ``cr3`` is the physical address of the PML4 table (with PCD/PWT as on hardware); ``cpl`` 0 to 3; ``maxphyaddr`` in
    bits (36 to 52).
    Raises ValueError for a state that IA-32e 4-level paging does not have, or a feature that is not modelled.
    """

    cr3: int
    cr0: int = CR0_LONG_MODE
    cr4: int = CR4_LONG_MODE
    efer: int = EFER_LONG_MODE
    cpl: int = 3
    ac: bool = False
    pkru: int = 0
    maxphyaddr: int = 48

    def __post_init__(self) -> None:
        if not (self.cr0 & CR0.PG and self.cr0 & CR0.PE and self.cr4 & CR4.PAE and self.efer & EFER.LME):
            raise ValueError(
                "IA-32e paging needs CR0.PE, CR0.PG, CR4.PAE and EFER.LME; other paging modes are not modelled"
            )
        if self.cr4 & _UNSUPPORTED:
            raise ValueError(f"CR4 {CR4(self.cr4 & _UNSUPPORTED)!r} is not modelled")
        if self.pkru:
            raise ValueError("protection keys are not modelled: pkru must be 0")
        if not 0 <= self.cpl <= 3:
            raise ValueError(f"CPL is 0 to 3, not {self.cpl}")
        if not 36 <= self.maxphyaddr <= 52:
            raise ValueError(f"MAXPHYADDR is 36 to 52 bits, not {self.maxphyaddr}")
        if self.cr3 >> self.maxphyaddr:
            raise ValueError(f"CR3 {self.cr3:#x} has bits set at or above MAXPHYADDR {self.maxphyaddr}")
