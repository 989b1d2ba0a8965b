"""The kernel's access to user memory: copy_from_user, copy_to_user, strncpy_from_user."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.pagetable import ADDRESS, PS, RW, US, A, D, P, span
from emu.mm.vma import FaultResult
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.frames import FrameAllocator
    from emu.mm.pagetable import PageTables

_PAGE_MASK = PAGE_SIZE - 1


class UserCopy:
    """Reads and writes user addresses through the tables, faulting pages in as the kernel would.

    Every method raises LinuxError(EFAULT) for what the process could not access itself, and (ENOMEM) where memory ran
    out on the way.
    """

    frames: FrameAllocator
    tables: PageTables
    task_size: int
    #: Told of each fault that was resolved (a FaultResult), so that it can be counted for the current task.
    on_kernel_fault: Callable[[int, int], None] | None

    def _locate(self, address: int, access: Access) -> int:
        """The physical address of a user address, after making the access possible."""
        if not 0 <= address < self.task_size:
            raise LinuxError(errno.EFAULT)
        needed = P | US | (RW if access == Access.WRITE else 0)
        q = self.frames.ram.qwords
        for _ in range(8):
            slot = self.tables.entry_slot(address, 1)
            if slot is not None:
                pte = q[slot]
                if pte & needed == needed:
                    used = pte | (A | D if access == Access.WRITE else A)
                    if used != pte:
                        q[slot] = used
                    return (pte & ADDRESS) | (address & _PAGE_MASK)
            elif (slot := self.tables.entry_slot(address, 2)) is not None:
                pte = q[slot]
                if pte & (needed | PS) == needed | PS:
                    q[slot] = pte | (A | D if access == Access.WRITE else A)
                    return (pte & ADDRESS & -span(2)) | (address & (span(2) - 1))
            result = self._fault(address, access)
            if not result.resolved:
                raise LinuxError(errno.ENOMEM if result == FaultResult.OOM else errno.EFAULT)
            if self.on_kernel_fault is not None:
                self.on_kernel_fault(result, 1)
        raise AssertionError(f"UserCopy: {address:#x} stays inaccessible although every fault was resolved")

    def _fault(self, address: int, access: Access) -> FaultResult:
        from emu.mm.address_space import AddressSpace
        from emu.mm.fault import handle_mm_fault

        assert isinstance(self, AddressSpace)
        return handle_mm_fault(self, address, access)

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes at a user address."""
        view = self.frames.ram.view
        if (address & _PAGE_MASK) + length <= PAGE_SIZE and length:
            paddr = self._locate(address, Access.READ)
            return bytes(view[paddr : paddr + length])
        parts = []
        end = address + length
        while address < end:
            step = min(PAGE_SIZE - (address & _PAGE_MASK), end - address)
            paddr = self._locate(address, Access.READ)
            parts.append(bytes(view[paddr : paddr + step]))
            address += step
        return b"".join(parts)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes at a user address; those before the first inaccessible page are stored even if it then fails."""
        source = memoryview(data)
        done = 0
        while done < len(source):
            step = min(PAGE_SIZE - (address & _PAGE_MASK), len(source) - done)
            paddr = self._locate(address, Access.WRITE)
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
        self.write(address, struct.pack("<I", value & 0xFFFFFFFF))

    def write_u64(self, address: int, value: int) -> None:
        """Store a 64-bit word."""
        self.write(address, struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF))
