"""Overcommit: how much memory has been promised, and how much may be (mm/util.c, __vm_enough_memory)."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Protocol

from emu.linux.errors import LinuxError
from mmu.memory import PAGE_SHIFT

#: The most that is kept back from one process in mode 2, so that others can continue (vm.user_reserve_kbytes).
_USER_RESERVE_PAGES = (128 << 20) >> PAGE_SHIFT

_ANY = 1 << 52


class Promisee(Protocol):
    """The requester of memory: an address space, with its present size in bytes."""

    total_bytes: int


class Overcommit(IntEnum):
    """vm.overcommit_memory."""

    GUESS = 0  # refuse only requests that obviously can never fit
    ALWAYS = 1
    NEVER = 2  # refuse requests beyond CommitLimit


class Commit:
    """The pages that a machine has promised (Committed_AS) of its ``total``, and of what it can swap."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.mode = Overcommit.GUESS
        #: vm.overcommit_ratio in percent, and vm.overcommit_kbytes, which takes precedence if it is not 0.
        self.ratio = 50
        self.kbytes = 0
        self.pages = 0
        #: The pages of swap areas.
        self.swap = 0

    @property
    def limit(self) -> int:
        """CommitLimit, in pages."""
        own = self.kbytes >> (PAGE_SHIFT - 10) if self.kbytes else self._total * self.ratio // 100
        return own + self.swap

    def set_mode(self, mode: int) -> None:
        """Write vm.overcommit_memory.  LinuxError(EINVAL) for a mode that does not exist."""
        if mode not in tuple(Overcommit):
            raise LinuxError(errno.EINVAL)
        self.mode = Overcommit(mode)

    def set_ratio(self, ratio: int) -> None:
        """Write vm.overcommit_ratio, which disables an absolute limit."""
        if ratio < 0:
            raise LinuxError(errno.EINVAL)
        self.ratio, self.kbytes = ratio, 0

    def set_kbytes(self, kbytes: int) -> None:
        """Write vm.overcommit_kbytes."""
        if kbytes < 0:
            raise LinuxError(errno.EINVAL)
        self.ratio, self.kbytes = 0, kbytes

    def charge(self, pages: int, mm: Promisee | None = None) -> None:
        """Promise pages; LinuxError(ENOMEM) if the mode refuses.  ``mm`` is the requester, if a process is."""
        if self.mode == Overcommit.GUESS and pages > self._total + self.swap:
            raise LinuxError(errno.ENOMEM)
        if self.mode == Overcommit.NEVER:
            reserve = 0 if mm is None else min((mm.total_bytes >> PAGE_SHIFT) // 32, _USER_RESERVE_PAGES)
            if self.pages + pages > self.limit - reserve:
                raise LinuxError(errno.ENOMEM)
        self.pages += pages

    @property
    def unquestioned(self) -> int:
        """The most pages that :meth:`charge` promises at once whatever else is promised."""
        return {Overcommit.GUESS: self._total + self.swap, Overcommit.ALWAYS: _ANY, Overcommit.NEVER: -1}[self.mode]

    def charge_singly(self, pages: int) -> None:
        """The same of pages that are promised one by one, as each is made (shmem_acct_blocks).  LinuxError(ENOMEM)."""
        if self.mode == Overcommit.NEVER and self.pages + pages > self.limit:
            raise LinuxError(errno.ENOMEM)
        self.pages += pages

    def uncharge(self, pages: int) -> None:
        """Take a promise back."""
        self.pages -= pages
        if self.pages < 0:
            raise AssertionError(f"Commit.uncharge: {-self.pages} pages more than were promised")
