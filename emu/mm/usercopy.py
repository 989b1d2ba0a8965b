"""The kernel's access to user memory: copy_from_user, copy_to_user, strncpy_from_user."""

from __future__ import annotations

import errno
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError, NoPage
from emu.mm.flags import FaultResult
from emu.mm.pagetable import ADDRESS, PS, RW, US, A, D, P, span
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.frames import FrameAllocator
    from emu.mm.pagetable import PageTables

_PAGE_MASK, _HUGE_MASK = PAGE_SIZE - 1, span(2) - 1
#: Faults that an access may take: more than one if a table is linked first or a page is copied.
_ATTEMPTS = 8


_TO_READ, _TO_WRITE = P | US, P | US | RW
_WRITE = Access.WRITE


class UserCopy(ABC):
    """Reads and writes user addresses through the tables, faulting pages in as the kernel would.

    Every method raises LinuxError(EFAULT) for memory that the process could not access itself, and (ENOMEM) if memory
    runs out.
    """

    frames: FrameAllocator
    tables: PageTables
    task_size: int
    #: Called for resolved faults (a FaultResult and a number), to count them for the current task; whether these were
    #: exceptions of the kernel that copies, not pages that it brought in beforehand.
    on_kernel_fault: Callable[[int, int, bool], None] | None

    @abstractmethod
    def handle_fault(self, address: int, access: Access) -> FaultResult:
        """Resolve one page fault at a user address, or return the signal that it causes."""

    def count_kernel_fault(self, result: FaultResult, number: int = 1) -> None:
        """The kernel has taken faults that were resolved."""
        if self.on_kernel_fault is not None:
            self.on_kernel_fault(result, number, False)

    @abstractmethod
    def wait_userfault(self) -> None:
        """Wait until a program has resolved the last fault that it is to resolve.  LinuxError(EFAULT)."""

    def take_fault(self, result: FaultResult, *, copying: bool = False) -> None:
        """Count a fault that the kernel has taken, or wait for the program that resolves it, after which the access is
        tried again.  LinuxError(EFAULT, ENOMEM) if it was not resolved.
        """
        if result is FaultResult.RETRY:
            self.wait_userfault()
            return
        if not result.resolved:
            raise NoPage if result == FaultResult.OOM else LinuxError(errno.EFAULT)
        if self.on_kernel_fault is not None:
            self.on_kernel_fault(result, 1, copying)

    def translate(self, address: int, access: Access, fault: Callable[[], FaultResult] | None = None) -> int:
        """The physical address of a user address, after making the access possible: walk the tables, resolve the fault,
        and walk again.

        It is an access by the process, with accessed and dirty bits, unless ``fault`` is given, which resolves faults
        for another process.  LinuxError(EFAULT, ENOMEM).
        """
        if not 0 <= address < self.task_size:
            raise LinuxError(errno.EFAULT)
        needed, used = (_TO_WRITE, A | D) if access is _WRITE else (_TO_READ, A)
        q = self.frames.ram.qwords
        for _ in range(_ATTEMPTS):
            slot = self.tables.leaf_slot(address)
            if slot is not None:
                entry = q[slot]
                if entry & needed == needed:
                    if fault is None:
                        if entry & used != used:
                            q[slot] = entry | used
                    if entry & PS:
                        return (entry & ADDRESS & ~_HUGE_MASK) | (address & _HUGE_MASK)
                    return (entry & ADDRESS) | (address & _PAGE_MASK)
            self.take_fault(self.handle_fault(address, access) if fault is None else fault(), copying=fault is None)
        raise AssertionError(f"translate: {address:#x} stays inaccessible although every fault was resolved")

    def allowed(self, address: int, access: Access) -> int | None:
        """The physical address of a user address if the tables allow the access as they are, which is made then as
        :meth:`translate` does; else None.
        """
        slot = self.tables.leaf_slot(address)
        q = self.frames.ram.qwords
        needed, used = (_TO_WRITE, A | D) if access is _WRITE else (_TO_READ, A)
        if slot is None or q[slot] & needed != needed or q[slot] & PS:
            return None
        if q[slot] & used != used:
            q[slot] |= used
        return (q[slot] & ADDRESS) | (address & _PAGE_MASK)

    def window(self, address: int, length: int, access: Access) -> int | None:
        """The physical address of a range that lies in one page, as :meth:`translate` finds it; None if it lies in
        several.  Who stores there tells :meth:`FrameAllocator.stored`.
        """
        if (address & _PAGE_MASK) + length > PAGE_SIZE:
            return None
        return self.translate(address, access)

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes at a user address."""
        view = self.frames.ram.view
        if (address & _PAGE_MASK) + length <= PAGE_SIZE and length:
            paddr = self.translate(address, Access.READ)
            return bytes(view[paddr : paddr + length])
        parts = []
        end = address + length
        while address < end:
            step = min(PAGE_SIZE - (address & _PAGE_MASK), end - address)
            paddr = self.translate(address, Access.READ)
            parts.append(bytes(view[paddr : paddr + step]))
            address += step
        return b"".join(parts)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes at a user address; those before the first inaccessible page are stored even if it then fails."""
        length = len(data)
        if (address & _PAGE_MASK) + length <= PAGE_SIZE and length:
            paddr = self.translate(address, Access.WRITE)
            self.frames.ram.view[paddr : paddr + length] = data
            self.frames.stored(paddr >> PAGE_SHIFT)
            return
        source = memoryview(data)
        done = 0
        while done < len(source):
            step = min(PAGE_SIZE - (address & _PAGE_MASK), len(source) - done)
            paddr = self.translate(address, Access.WRITE)
            self.frames.write(paddr >> PAGE_SHIFT, paddr & _PAGE_MASK, source[done : done + step])
            done += step
            address += step

    def read_cstring(self, address: int, limit: int = 4096) -> bytes:
        """A NUL-terminated string without its NUL.  LinuxError(ENAMETOOLONG) if there is none within ``limit``
        bytes.
        """
        parts = []
        got = 0
        while got < limit:
            step = min(PAGE_SIZE - (address & _PAGE_MASK), limit - got)
            piece = self.read(address, step)
            at = piece.find(0)
            if at >= 0:
                parts.append(piece[:at])
                return b"".join(parts)
            parts.append(piece)
            got += step
            address += step
        raise LinuxError(errno.ENAMETOOLONG)

    def read_u32(self, address: int) -> int:
        """A 32-bit word."""
        return int.from_bytes(self.read(address, 4), "little")

    def read_u64(self, address: int) -> int:
        """A 64-bit word."""
        return int.from_bytes(self.read(address, 8), "little")

    def write_u32(self, address: int, value: int) -> None:
        """Store a 32-bit word."""
        data = (value & 0xFFFFFFFF).to_bytes(4, "little")
        if address & _PAGE_MASK > PAGE_SIZE - 4:
            self.write(address, data)
            return
        paddr = self.translate(address, Access.WRITE)
        self.frames.ram.view[paddr : paddr + 4] = data
        self.frames.stored(paddr >> PAGE_SHIFT)

    def write_u64(self, address: int, value: int) -> None:
        """Store a 64-bit word."""
        self.write(address, struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF))
