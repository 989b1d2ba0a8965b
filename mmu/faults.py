"""The exceptions that a translation raises, with the architectural error code."""

from __future__ import annotations

from enum import IntFlag

from mmu.registers import Access
from mmu.steps import WalkStep, failed_steps


class ErrorCode(IntFlag):
    """The page-fault error code (SDM vol. 3, 4.7)."""

    P = 1 << 0  # 0: an entry was not present; 1: the access was not allowed
    WR = 1 << 1
    US = 1 << 2
    RSVD = 1 << 3
    ID = 1 << 4
    PK = 1 << 5

    def describe(self) -> str:
        """In words: "user write to a page that is not present"."""
        who = "user" if self & self.US else "supervisor"
        what = "write" if self & self.WR else "fetch" if self & self.ID else "read"
        if self & self.RSVD:
            return f"{who} {what}: a reserved bit is set"
        if self & self.PK:
            return f"{who} {what}: not allowed by the protection key"
        return f"{who} {what}: " + ("not allowed" if self & self.P else "not present")


_ACCESS_OF = {0: Access.READ, 0x02: Access.WRITE, 0x10: Access.FETCH}


class PageFault(Exception):
    """#PF: ``vaddr`` is what CR2 would hold, ``error_code`` the code that is pushed.

    ``record`` is what the walk left of itself (:func:`mmu.steps.failed_steps`), if it was walked for here.
    """

    vector = 14

    def __init__(self, vaddr: int, error_code: int, record: bytes | None = None) -> None:
        # one of these is made for every page that a guest touches first: BaseException.__new__ has set args already
        self.vaddr = vaddr
        self.error_code = error_code
        self._record = record

    @property
    def steps(self) -> tuple[WalkStep, ...]:
        """The entries that the walk read until it ended, top level first, as they were then: the last one is why.

        In exact mode a walk begins behind what a paging-structure cache holds.
        """
        return () if self._record is None else failed_steps(self._record)

    @property
    def access(self) -> Access:
        """The access according to the error code (a fetch looks like a read unless EFER.NXE or CR4.SMEP is set)."""
        return _ACCESS_OF[self.error_code & 0x12]

    def __repr__(self) -> str:
        return f"PageFault({self.vaddr:#x}, {self.error_code:#x})"

    def __str__(self) -> str:
        return f"#PF at {self.vaddr:#x}, error code {self.error_code:#x} ({ErrorCode(self.error_code).describe()})"


class NotCanonical(Exception):
    """A linear address whose bits above its width are not all equal to its highest bit (SDM vol. 1, 3.3.7.1)."""

    vector: int
    mnemonic: str
    error_code = 0

    def __init__(self, vaddr: int) -> None:
        super().__init__(vaddr)
        self.vaddr = vaddr

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vaddr:#x})"

    def __str__(self) -> str:
        return f"{self.mnemonic}: {self.vaddr:#x} is not canonical"


class GeneralProtection(NotCanonical):
    """#GP(0): a linear address is not canonical; or an instruction was refused for the given ``reason``, and ``vaddr``
    is its address.
    """

    vector = 13
    mnemonic = "#GP"

    def __init__(self, vaddr: int, reason: str | None = None) -> None:
        super().__init__(vaddr)
        self.reason = reason

    def __repr__(self) -> str:
        return super().__repr__() if self.reason is None else f"GeneralProtection({self.vaddr:#x}, {self.reason!r})"

    def __str__(self) -> str:
        return super().__str__() if self.reason is None else f"#GP at {self.vaddr:#x}: {self.reason}"


class StackFault(NotCanonical):
    """#SS(0): a non-canonical access through the stack segment."""

    vector = 12
    mnemonic = "#SS"
