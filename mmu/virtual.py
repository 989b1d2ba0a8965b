"""Virtual addresses, for who writes a script: read, write, translate, and hooks that tell both addresses.

``uc.mem_read``, ``uc.mem_write`` and Unicorn's own memory hooks speak physical addresses.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from unicorn import UC_HOOK_CODE, UC_HOOK_MEM_READ_AFTER, UC_HOOK_MEM_WRITE, UC_PROT_ALL
from unicorn import x86_const as x86
from unicorn.unicorn_const import UC_MEM_WRITE

from mmu import unicorn_abi
from mmu.control import Control
from mmu.faults import GeneralProtection, PageFault
from mmu.host_array import HostArray
from mmu.instruction import Kind, operand_bytes
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, BusError
from mmu.privileged import PrivilegedInstructions, accessed
from mmu.registers import Access
from mmu.translation import Translation, Walker
from mmu.windows import WINDOW_SHIFT, WINDOWS

_IN_WINDOW = (1 << WINDOW_SHIFT) - 1
_LONGEST = 15
_ALL_ONES = (1 << 64) - 1
_u64, _i32 = ctypes.c_uint64, ctypes.c_int32
_MEMORY = ctypes.CFUNCTYPE(None, _u64, _i32, _u64, _i32, ctypes.c_int64, _u64)
_CODE = ctypes.CFUNCTYPE(None, _u64, _u64, ctypes.c_uint32, _u64)


class HookedAccess(NamedTuple):
    """What a hook is told: where, in both addresses; how many bytes; what was read, is to be written, or is executed
    (little-endian); and the address of the instruction.

    >>> HookedAccess(0x506000, 0x102000, 8, 0xAA, Access.READ, 0x400000)
    HookedAccess(vaddr=0x506000, paddr=0x102000, size=8, value=0xaa, access=<Access.READ: 0>, rip=0x400000)
    """

    vaddr: int
    paddr: int
    size: int
    value: int
    access: Access
    rip: int

    def __repr__(self) -> str:
        return (
            f"HookedAccess(vaddr={self.vaddr:#x}, paddr={self.paddr:#x}, size={self.size}, value={self.value:#x}, "
            f"access={self.access!r}, rip={self.rip:#x})"
        )


Told = Callable[[HookedAccess], object]


class Hook:
    """A hook that was added; :meth:`remove` takes it away."""

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove: Callable[[], None] | None = remove

    def remove(self) -> None:
        """Tell no more.  Nothing happens the second time."""
        if self._remove is not None:
            remove, self._remove = self._remove, None
            remove()


class _MemoryHook:
    """One function that is told of accesses to [begin, end)."""

    def __init__(self, memory: VirtualMemory, told: Told, begin: int, end: int) -> None:
        self._memory, self._told, self._begin, self._end = memory, told, begin, end
        #: The first piece of an operand of 16 bytes, or of 10.
        self._first: HookedAccess | None = None
        #: A store into two pages of which the second one has a fault to come.
        self._waiting: HookedAccess | None = None

    def on_access(self, _uc: int, kind: int, paddr: int, size: int, value: int, _data: int) -> None:
        memory = self._memory
        first, self._first, self._waiting = self._first, None, None
        access = Access.WRITE if kind == UC_MEM_WRITE else Access.READ
        rip = int(memory.uc.reg_read(x86.UC_X86_REG_RIP))
        instruction = memory.instruction_at(rip)
        if access == Access.READ and instruction & Kind.UPDATES:
            return  # the store that follows is the access
        vaddr = memory.virtual_address(paddr)
        told = HookedAccess(vaddr, paddr & _IN_WINDOW, size, value & (1 << 8 * size) - 1, access, rip)
        if first is not None and (first.access, first.rip, first.vaddr + 8 & _ALL_ONES) == (access, rip, vaddr):
            told = first._replace(size=8 + size, value=first.value | told.value << 64)
        elif operand_bytes(instruction, size) != size:
            self._first = told
            return
        if self._begin <= told.vaddr < self._end:
            self._tell(told)

    def _tell(self, told: HookedAccess) -> None:
        last = told.vaddr + told.size - 1 & _ALL_ONES
        crosses = last >> PAGE_SHIFT != told.vaddr >> PAGE_SHIFT
        if told.access == Access.WRITE and crosses and not self._memory.reaches(last, Access.WRITE):
            self._waiting = told
        else:
            self._told(told)

    def filled(self, page: int) -> None:
        """A fault in this page is mended."""
        told = self._waiting
        if told is not None and (told.vaddr >> PAGE_SHIFT) + 1 == page >> PAGE_SHIFT:
            self._waiting = None
            self._told(told)


class VirtualMemory(Control):
    """What the guest sees at its own addresses, through the tables and the registers of the moment."""

    _privileged: PrivilegedInstructions
    _fill: Any
    starts_again: bool

    if TYPE_CHECKING:  # which Mmu has

        def code_written(self, frame: int) -> None: ...

        def _hook_fills(self) -> None: ...

        def instruction_at(self, rip: int) -> int: ...

    def _begin_virtual(self) -> None:
        self._looking, self._storing = Walker(self.ram, marks=False), Walker(self.ram)
        self._memory_hooks: list[_MemoryHook] = []
        #: The page of an ``until`` that can be fetched, the epoch and the CPL.
        self._end: tuple[int, int, int] | None = None

    # -- access ----------------------------------------------------------------------------------------------------

    def translate(self, vaddr: int, access: Access = Access.READ) -> Translation:
        """Where an address leads now, for an access at the current CPL.

        Looks at the tables, whatever a TLB holds; changes and counts nothing, and asks no handler.  Raises
        :class:`PageFault`, :class:`GeneralProtection` for an address that is not canonical, and :class:`BusError` for
        tables or a page outside memory.
        """
        return self._looking.translate(self.registers, vaddr, access)

    def reaches(self, vaddr: int, access: Access) -> bool:
        """Whether :meth:`translate` succeeds."""
        try:
            self.translate(vaddr, access)
        except (PageFault, GeneralProtection, BusError):
            return False
        return True

    def can_end_in(self, vaddr: int) -> bool:
        """Whether code can be fetched there; looked up once a flush: who steps through a program has one ``until``."""
        asked = vaddr >> PAGE_SHIFT, self.state.epoch, self.state.cpl
        if self._end != asked and self.reaches(vaddr, Access.FETCH):
            self._end = asked
        return self._end == asked

    def read(self, vaddr: int, length: int) -> bytes:
        """``length`` bytes at a virtual address; raises what :meth:`translate` does, for the first byte that cannot be
        read."""
        return b"".join(self.ram.read(self.translate(start).paddr, size) for start, size in _in_pages(vaddr, length))

    def write(self, vaddr: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes at a virtual address, as a store of the guest's: A and D are set, and code that was translated
        from there is dropped.  Raises what :meth:`translate` does, and then nothing has been stored."""
        data = bytes(data)
        registers, pieces = self.registers, list(_in_pages(vaddr, len(data)))
        for start, _ in pieces:
            self._looking.translate(registers, start, Access.WRITE)
        at = 0
        for start, size in pieces:
            paddr = self._storing.translate(registers, start, Access.WRITE).paddr
            self.ram.write(paddr, data[at : at + size])
            self.code_written(paddr >> PAGE_SHIFT)
            at += size

    def access(self, vaddr: int, access: Access) -> int:
        """The physical address of an access that the guest makes here and now: A and D are set, and a modelled TLB sees
        it.  Raises what :meth:`translate` does."""
        return accessed(self, vaddr, access)

    @property
    def decoder(self) -> Any:
        """Capstone, for 64-bit code."""
        return self._privileged.decoder

    # -- hooks -----------------------------------------------------------------------------------------------------

    def add_memory_hook(self, told: Told, *, begin: int = 0, end: int = 1 << 64) -> Hook:
        """``told(access)`` is called for each load (behind it, with what was read) and each store (before it) that
        begins in the virtual addresses [``begin``, ``end``), with a :class:`HookedAccess`.

        Once for each access, in filtered and in exact mode, whatever other addresses the frame has.  An access of two
        pages is told once, with its first address, when both can be reached.  An instruction that reads its operand and
        then writes it makes one store.  One of 16 bytes is told as a whole, a store when the engine has made its first
        half; what FXSAVE, XSAVE, FNSAVE, FNSTENV and their counterparts transfer is told in the engine's pieces.  Not
        within emulation.

        The first hook makes filtered mode's fills slower, since each page of a frame gets a physical window of its own.
        """
        self._check_idle()
        self._open_windows()
        hook = _MemoryHook(self, told, begin, end)
        pointer = self.guard.pointer(_MEMORY, hook.on_access)
        handles = [
            unicorn_abi.hook_add(self.uc, kind, pointer, 0) for kind in (UC_HOOK_MEM_READ_AFTER, UC_HOOK_MEM_WRITE)
        ]
        self._memory_hooks.append(hook)

        def remove() -> None:
            self._memory_hooks.remove(hook)
            for handle in handles:
                unicorn_abi.hook_del(self.uc, handle)

        return Hook(remove)

    def add_code_hook(self, told: Told, *, begin: int = 0, end: int = 1 << 64) -> Hook:
        """``told(access)`` is called before each instruction that begins in [``begin``, ``end``): ``access`` is FETCH,
        ``paddr`` is where the engine has fetched it from, ``value`` its bytes.  Not within emulation."""
        self._check_idle()
        engine: Any = self.uc
        self.state.watch_code = 1

        def on_code(_uc: int, address: int, size: int, _data: int) -> None:
            if begin <= address < end:
                size = min(size, _LONGEST)
                code = self._privileged.fetched(address, size)
                paddr = self._privileged.fetched_from(address)
                told(HookedAccess(address, paddr, size, int.from_bytes(code, "little"), Access.FETCH, address))

        handle = unicorn_abi.hook_add(self.uc, UC_HOOK_CODE, self.guard.pointer(_CODE, on_code), 0)
        engine.ctl_flush_tb()  # what was translated before calls no hook
        self._forget_engine()
        return Hook(lambda: unicorn_abi.hook_del(self.uc, handle))

    def _check_idle(self) -> None:
        if self.guard.runs:
            raise RuntimeError("a hook is added before emu_start, not within it")

    def _forget_engine(self) -> None:
        unicorn_abi.flush_tlb(self.uc)
        self.state.epoch += 1

    def virtual_address(self, paddr: int) -> int:
        """The virtual address for which the engine makes an access at this one, which has its window in it."""
        page = self._page_of.view[(paddr >> WINDOW_SHIFT) * self.ram.frames + ((paddr & _IN_WINDOW) >> PAGE_SHIFT)]
        return int(page - 1) * PAGE_SIZE + paddr % PAGE_SIZE

    def _open_windows(self) -> None:
        """From here on a physical address tells its page, in filtered mode too."""
        from mmu.model import exact_library

        if self.state.windows:
            return
        self._make_windows(WINDOWS)
        for k in range(1, WINDOWS):
            self.map_window(k)
        exact_library().guards[unicorn_abi.handle(self.uc)] = self.guard
        self.state.engine_cpu = unicorn_abi.cpu_state(self.uc)
        self._fill = exact_library()["fill_in_windows"]
        self._hook_fills()
        self._forget_engine()

    def _make_windows(self, number: int) -> None:
        state = self.state
        self._page_of = HostArray(number * self.ram.frames, "Q")
        state.page_of, state.frames, state.windows = self._page_of.address, self.ram.frames, number
        state.engine_flush_page = unicorn_abi.symbol_address("tlb_flush_page_x86_64")

    def map_window(self, k: int) -> None:
        """Memory is at the physical window k."""
        uc: Any = self.uc
        uc.mem_map_ptr(k << WINDOW_SHIFT, self.ram.size, UC_PROT_ALL, ctypes.c_void_p(self.ram.host))


def _in_pages(vaddr: int, length: int) -> Iterator[tuple[int, int]]:
    """The parts of a range by page: start and size."""
    if length < 0 or vaddr < 0 or vaddr + length > 1 << 64:
        raise ValueError(f"[{vaddr:#x}, {vaddr + length:#x}) is no range of addresses of 64 bits")
    end = vaddr + length
    while vaddr < end:
        size = min(end - vaddr, PAGE_SIZE - vaddr % PAGE_SIZE)
        yield vaddr, size
        vaddr += size
