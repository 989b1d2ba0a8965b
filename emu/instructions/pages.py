"""Where the code of each address space is, as the engine has fetched it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emu.engine.records import TrapState
from emu.instructions.opcodes import MODE_SHIFT, lengths
from emu.instructions.scan import LONGEST
from mmu import Mmu
from mmu.host_array import HostArray
from mmu.memory import PAGE_SIZE
from mmu.objectcode import load
from mmu.state import CODE_VIEW_BYTES, CODE_VIEWS, CodeView

if TYPE_CHECKING:
    from emu.instructions.instruction import Instruction

#: When so many pages are known, they are forgotten.
_MOST = 1 << 16
_PUSHF = 0x9C


class CodePages:
    """The frames of pages of code, by the ``code_id`` of the address space."""

    def __init__(self, mmu: Mmu, trap: TrapState) -> None:
        self._mmu, self._trap = mmu, trap
        #: By code_id and page.
        self.frames: dict[tuple[int, int], int] = {}
        #: Makes a new ``code_id`` for the address space that runs.
        self.renew: Callable[[], int] | None = None
        self._views = HostArray(CODE_VIEWS * CODE_VIEW_BYTES, "B")
        mmu.state.code_view = ctypes.addressof(trap) + TrapState.code_id.offset  # type: ignore[attr-defined]
        mmu.state.code_views = self._views.address
        self._measure = load("emu.instructions.scan")["measure"].call
        self._opcodes = lengths()
        self._plain = self._opcodes.address

    def seen(self, vaddr: int, frame: int) -> None:
        """The engine fetches a page of code from this frame."""
        space, page = self._trap.code_id, vaddr // PAGE_SIZE
        if self.frames.get((space, page), frame) != frame and self.renew is not None:
            self._trap.code_id = space = self.renew() | space >> MODE_SHIFT << MODE_SHIFT
        if len(self.frames) > _MOST:
            self.frames.clear()
            self._views.bytes[:] = bytes(len(self._views.bytes))
        self.frames[space, page] = frame
        number = (page + space * 37) % CODE_VIEWS
        view = CodeView.from_address(self._views.address + number * CODE_VIEW_BYTES)
        view.page, view.space, view.frame = page + 1, space, frame

    def read(self, paddr: int, last_frame: int, length: int) -> bytes:
        """So many bytes of code, of which the last ones may lie in another frame."""
        ram = self._mmu.ram
        here = min(length, PAGE_SIZE - paddr % PAGE_SIZE)
        code = ram.read(paddr, here)
        return code + ram.read(last_frame * PAGE_SIZE, length - here) if here < length else code

    def measure(self, code: bytes) -> int:
        """What :func:`emu.instructions.scan.measure` says of the first instruction."""
        buffer = ctypes.create_string_buffer(code, len(code))
        return int(self._measure(ctypes.addressof(buffer), len(code), self._plain))

    def code(self, address: int) -> bytes:
        """The bytes at an address that has been fetched, as many as an instruction can have, or fewer."""
        code, space = b"", self._trap.code_id
        while len(code) < LONGEST:
            at = address + len(code)
            frame = self.frames.get((space, at // PAGE_SIZE))
            if frame is None:
                break
            here = min(LONGEST - len(code), PAGE_SIZE - at % PAGE_SIZE)
            code += self._mmu.ram.read(frame * PAGE_SIZE + at % PAGE_SIZE, here)
        return code

    def instructions(self, address: int) -> Iterator[Instruction]:
        """What stands at an address that has been fetched, and what follows."""
        from emu.instructions.instruction import Instruction

        while code := self.code(address):
            found = self.measure(code)
            if found == 0:
                return
            instruction = Instruction(address, code, found)
            yield instruction
            address = instruction.end

    def is_pushf(self, address: int) -> bool:
        """Whether PUSHF stands there."""
        instruction = next(self.instructions(address), None)
        return instruction is not None and instruction.opcode_map == 0 and instruction.opcode == _PUSHF
