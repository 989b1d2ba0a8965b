"""Every part of Unicorn 2.1.4 that its Python class does not offer.

Offsets are those of the x86-64 Linux wheel of unicorn 2.1.4.  :func:`mmu.unicorn_proof.self_test` exercises each one on
a scratch engine and raises :class:`UnicornMismatch`, which names what it did not find, before anything relies on it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import unicorn
from unicorn import (
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_READ_AFTER,
    UC_HOOK_MEM_WRITE,
    UC_TLB_VIRTUAL,
    Uc,
    UcError,
    x86_const,
)
from unicorn.unicorn_const import UC_CTL_IO_WRITE, UC_CTL_TLB_FLUSH
from unicorn.unicorn_py3.unicorn import uclib

UNICORN_VERSION = "2.1.4"
#: ``uc_struct.invalid_addr``: the exact address of the access that ended emu_start with UC_ERR_EXCEPTION.
INVALID_ADDR = 0x588
#: ``uc_struct.emu_counter``: the instructions that an emu_start with a count has executed, that at which it stopped
#: included.
EMU_COUNTER = 0x558
#: How far before its code the TranslationBlock of a block is, where its ``pc``, ``size`` (2 bytes), ``tc.ptr`` and
#: ``tc.size`` are in it (:mod:`emu.inline.sites` compares them for each block), and how long at most that is with which
#: the code of a block begins that has a hook: RIP is stored.
TB_BEFORE_CODE, TB_PC, TB_SIZE, TB_CODE, TB_CODE_SIZE, STORES_RIP = 0xC0, 0, 0x14, 0x20, 0x28, 17
#: Where its ``jmp_reset_offset`` (2 of 2 bytes) and ``jmp_target_arg`` (2 of 8) are: from the beginning of the code, to
#: where a jump to a next block leads while that is not known, and where the distance is that its instruction has.
TB_RESETS, TB_JUMPS = 0x58, 0x60
#: ``uc_struct.tcg_ctx``: the TCGContext that the exported functions of the translator take.
TCG_CONTEXT = 0x300
#: ``uc_struct.no_exit_request``, a byte: where it is 1, the engine makes code that does not look behind each access to
#: memory whether emulation is to stop.
NO_EXIT_REQUEST = 0x7F2
#: ``uc_struct.cpu``: the CPUState that the exported softmmu functions take.
CPU_STATE = 0x1B8
#: ``CPUState.uc``, which points back: by which the self-test recognises a CPUState before it passes one to those
#: functions.
CPU_UC = 0x81A8
#: From the CPUState: ``env.regs`` (RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15), then ``env.eip``.
ENV_REGS = 0x8A50
#: From the CPUState: ``env.segs[R_FS].base``, ``env.segs[R_GS].base``.
ENV_FS_BASE, ENV_GS_BASE = ENV_REGS + 0x120, ENV_REGS + 0x138
ENV_RIP = ENV_REGS + 16 * 8
#: From the CPUState: ``env.fpstt`` (the TOP of the x87 stack, 4 bytes), then ``env.fpus`` (the status word without it),
#: ``env.fpuc`` and ``env.fptags`` (a byte a physical register: 1 where it is empty); ``env.fpregs``, 16 bytes each, of
#: which the last 6 mean nothing; ``env.mxcsr``; ``env.xmm_regs``.
ENV_FPU, ENV_FPREGS, ENV_MXCSR, ENV_XMM = (ENV_REGS + offset for offset in (0x25C, 0x270, 0x330, 0x338))
#: From one XMM register to the next.
XMM_STRIDE = 64
#: From the CPUState: ``env.cr[3]``.
ENV_CR3 = 0x8C10
#: From the CPUState: ``CPUTLBDesc.window_begin_ns`` of the first mmu index, and how far it is to the next of three.
TLB_WINDOW = 0x81F0
TLB_WINDOW_STRIDE = 0x2B8
MMU_INDICES = 3
#: From ``window_begin_ns``: ``large_page_addr`` (all ones where there is none), ``n_used_entries``, ``vindex`` (how
#: many have gone to the victims since the last flush) and ``vtable``, the victims.  An index of which both numbers are
#: 0 holds nothing.
TLB_LARGE = 0xFFFF_FFFF_FFFF_FFF0
TLB_USED, TLB_VICTIMS_MADE, TLB_VICTIMS, TLB_VICTIMS_END = 0x10, 0x18, 0x20, 0x220
#: From ``env.regs``, which the engine's code has in RBP: ``CPUTLBDescFast`` (mask, table) of the first mmu index, each
#: of 16 bytes; that of code at CPL 3 is the second.  The mask has the bytes of each entry but one.  A translation
#: there: what the page's address is for loads, stores and fetches (all ones: not allowed; TLB_NOT_DIRTY: a store is to
#: be told of), and what is added to an address for the host's.
TLB_MASK, TLB_TABLE = 0xFFFF_FFFF_FFFF_FFC0, 0xFFFF_FFFF_FFFF_FFC8
USER_INDEX, FIRST_TLB_ENTRIES, TLB_ENTRY_BYTES = 1, 256, 64
ENTRY_READ, ENTRY_WRITE, ENTRY_CODE, ENTRY_ADDEND, TLB_NOT_DIRTY = 0, 8, 0x10, 0x20, 1 << 10
#: The beginning, in nanoseconds, of a window that never ends.
NEVER_NS = 1 << 62
#: After so many loads of CR3 a window ends.
TLB_WINDOW_LOADS = 64
#: Contexts that are kept for the next ones.
_MOST_SPARE = 16
#: In a saved context: ``env.error_code`` and ``env.old_exception``.
CONTEXT_ERROR_CODE = 0x1530
CONTEXT_OLD_EXCEPTION = 0x15A0

#: ``uc_cb_tlbevent_t``: uc, vaddr, type, uc_tlb_entry *, user_data -> bool
FILL_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int32, ctypes.c_uint64, ctypes.c_uint64
)


class UnicornMismatch(RuntimeError):
    """The installed Unicorn is not the one whose internals are known."""


class TlbEntry(ctypes.Structure):
    """``uc_tlb_entry``: the answer of a fill hook."""

    paddr: int
    perms: int  # UC_PROT_*

    _fields_ = (("paddr", ctypes.c_uint64), ("perms", ctypes.c_uint32))


def _prototype(name: str, result: Any, *parameters: Any) -> Any:
    try:
        return ctypes.CFUNCTYPE(result, *parameters)((name, uclib))
    except AttributeError:
        raise UnicornMismatch(f"the Unicorn library does not export {name}") from None


_void_p, _u64, _size_t, _int = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_int
emu_start = _prototype("uc_emu_start", _int, _void_p, _u64, _u64, _u64, _size_t)
reg_read_batch = _prototype("uc_reg_read_batch", _int, _void_p, _void_p, _void_p, _int)
reg_write_batch = _prototype("uc_reg_write_batch", _int, _void_p, _void_p, _void_p, _int)
context_save = _prototype("uc_context_save", _int, _void_p, _void_p)
context_restore = _prototype("uc_context_restore", _int, _void_p, _void_p)
context_alloc = _prototype("uc_context_alloc", _int, _void_p, _void_p)
context_free = _prototype("uc_context_free", _int, _void_p)
reg_read = _prototype("uc_reg_read", _int, _void_p, _int, _void_p)
reg_write = _prototype("uc_reg_write", _int, _void_p, _int, _void_p)
_find_code = _prototype("helper_lookup_tb_ptr_x86_64", _void_p, _void_p)
_find_block = _prototype("tcg_tb_lookup_x86_64", _void_p, _void_p, _void_p)
_forget_block = _prototype("tb_phys_invalidate_x86_64", None, _void_p, _void_p, _u64)
_flush_page = _prototype("tlb_flush_page_x86_64", None, _void_p, _u64)
set_page = _prototype("tlb_set_page_x86_64", None, _void_p, _u64, _u64, _int, _int, _u64)


def symbol_address(name: str) -> int:
    """The host address of an exported function of the Unicorn library, for native code to call."""
    address = ctypes.cast(getattr(uclib, name), _void_p).value
    assert address is not None
    return address


def memory_functions() -> tuple[int, int]:
    """The host addresses of memset(3) and memcpy(3)."""
    libc = ctypes.CDLL(None)
    return ctypes.cast(libc.memset, _void_p).value or 0, ctypes.cast(libc.memcpy, _void_p).value or 0


def check(status: int, what: str) -> None:
    """Raise UcError if a raw call failed."""
    if status:
        error = UcError(status)
        error.add_note(what)
        raise error


def handle(uc: Uc) -> int:
    """``uc_struct *`` as an integer."""
    value: Any = uc._uch
    return int(value if isinstance(value, int) else value.value)


def hook_add(uc: Uc, kind: int, function: int, user_data: int, *extra: int, begin: int = 1, end: int = 0) -> int:
    """uc_hook_add with a raw function address; ``extra`` is the instruction of UC_HOOK_INSN.  Returns the hook's
    handle.
    """
    hook = ctypes.c_size_t()
    status = uclib.uc_hook_add(
        ctypes.c_void_p(handle(uc)),
        ctypes.byref(hook),
        ctypes.c_int(kind),
        ctypes.c_void_p(function),
        ctypes.c_void_p(user_data),
        ctypes.c_uint64(begin),
        ctypes.c_uint64(end),
        *(ctypes.c_int(e) for e in extra),
    )
    check(status, "uc_hook_add")
    told = getattr(uc, "_unimmu_hooked", None)
    if told is not None:
        told()
    told_of_memory = getattr(uc, "_unimmu_memory_hooked", None)
    if told_of_memory is not None and kind & (UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE | UC_HOOK_MEM_READ_AFTER):
        told_of_memory()
    return int(hook.value)


def hook_del(uc: Uc, hook: int) -> None:
    """uc_hook_del of a hook of :func:`hook_add`."""
    check(uclib.uc_hook_del(ctypes.c_void_p(handle(uc)), ctypes.c_size_t(hook)), "uc_hook_del")


def use_virtual_tlb(uc: Uc) -> None:
    """Switch to UC_TLB_VIRTUAL: translations come from the fill hooks."""
    engine: Any = uc  # the class makes its ctl_ methods at run time
    engine.ctl_set_tlb_mode(UC_TLB_VIRTUAL)


_ALL_ONES = (1 << 64) - 1
GeneralRegisters = ctypes.c_uint64 * 17


def general_registers(uc: Uc) -> Any:
    """RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15 RIP, where the engine keeps them: an array that reads and writes them.

    Ten times faster than the register calls.  RIP must be given to emu_start to have an effect.
    """
    return GeneralRegisters.from_address(cpu_state(uc) + ENV_REGS)


def cpu_state(uc: Uc) -> int:
    """The address of the engine's CPUState, which its exported softmmu functions take."""
    return ctypes.c_uint64.from_address(handle(uc) + CPU_STATE).value


def segment_bases(uc: Uc) -> dict[int, int]:
    """By the prefixes of FS (0x64) and GS (0x65), the host address where the engine keeps the base."""
    return {0x64: cpu_state(uc) + ENV_FS_BASE, 0x65: cpu_state(uc) + ENV_GS_BASE}


def tlb_windows(uc: Uc) -> int:
    """The address of the first of the engine's three TLB windows, TLB_WINDOW_STRIDE bytes from one to the next."""
    return cpu_state(uc) + TLB_WINDOW


def tlb_entries(uc: Uc) -> int:
    """How many translations of code at CPL 3 the engine can hold."""
    return ctypes.c_uint64.from_address(tlb_mask(uc, USER_INDEX)).value // 64 + 1


def tlb_mask(uc: Uc, index: int) -> int:
    """The host address of the mask of a translation cache."""
    return (cpu_state(uc) + ENV_REGS + TLB_MASK + index * 16) & _ALL_ONES


def steady_tlb(uc: Uc) -> None:
    """Make the size of Unicorn's translation cache depend on the guest alone.

    It shrinks at the end of a window of 100 ms of the host's clock, so that the number of fills would depend on how
    fast the host is.  A window that begins in the far future never ends; since growing, which happens in a flush,
    begins a new one, :func:`flush_tlb` sees to it each time.  In place of time, loads of CR3 end it, or each of them
    would empty for ever what one large process has needed.
    """
    first = tlb_windows(uc)
    engine: Any = uc
    engine._unimmu_windows = [
        ctypes.c_int64.from_address(first + index * TLB_WINDOW_STRIDE) for index in range(MMU_INDICES)
    ]


def _begin_windows(uc: Uc, begin: int) -> None:
    for window in getattr(uc, "_unimmu_windows", ()):
        window.value = begin


#: The number of the call of uc_ctl without an argument.
_FORGET = UC_CTL_IO_WRITE << 30 | UC_CTL_TLB_FLUSH


def flush_tlb(uc: Uc) -> None:
    """Forget every translation (and Unicorn's jump cache)."""
    _begin_windows(uc, NEVER_NS)
    engine: Any = uc
    check(uclib.uc_ctl(engine._uch, _FORGET), "uc_ctl(TLB_FLUSH)")


def write_cr3(uc: Uc, engine: int, word: int, loads: int) -> None:
    """Write CR3 of ``engine``, the handle of ``uc``, from the host address ``word``; where CR0.PG is set, the engine
    forgets every translation, as :func:`flush_tlb` has it.  ``loads``: how many there were, with this one.
    """
    ends = loads % TLB_WINDOW_LOADS == 0
    _begin_windows(uc, 0 if ends else NEVER_NS)
    if status := reg_write(engine, x86_const.UC_X86_REG_CR3, word):
        check(status, "uc_reg_write of CR3")
    if ends:
        _begin_windows(uc, NEVER_NS)


def flush_page(uc: Uc, vaddr: int) -> None:
    """Forget the translation of one page."""
    _flush_page(cpu_state(uc), vaddr)


def flush_pages(cpu: int, start: int, end: int) -> None:
    """The same for every page that has a byte in [start, end), given :func:`cpu_state`."""
    for vaddr in range(start & -4096, end, 4096):
        _flush_page(cpu, vaddr)


def forget_block(uc: Uc) -> bool:
    """Forget the one translated block that the engine would run next, at RIP; False if there is none.

    uc_ctl_remove_cache forgets every block that has a byte in common with it.
    """
    translator = ctypes.c_uint64.from_address(handle(uc) + TCG_CONTEXT).value
    block = _find_block(translator, _find_code(cpu_state(uc) + ENV_REGS))
    if block:
        _forget_block(translator, block, _ALL_ONES)
    return bool(block)


def look_at_accesses(uc: Uc, look: bool) -> None:
    """Whether code that the engine makes from now on looks, behind each access to memory, if emulation is to stop."""
    ctypes.c_uint8.from_address(handle(uc) + NO_EXIT_REQUEST).value = not look


def invalid_address(uc: Uc) -> int:
    """The first byte that the access which ended emu_start with UC_ERR_EXCEPTION could not reach."""
    return ctypes.c_uint64.from_address(handle(uc) + INVALID_ADDR).value


def instructions_counted(uc: Uc) -> int:
    """How many instructions the last emu_start with a count has executed; one more if it ended by the count."""
    return ctypes.c_size_t.from_address(handle(uc) + EMU_COUNTER).value


def _new_context(engine: int) -> int:
    """The host address of a new ``uc_context``."""
    pointer = ctypes.c_void_p()
    check(context_alloc(engine, ctypes.byref(pointer)), "uc_context_alloc")
    assert pointer.value is not None
    return pointer.value


class SpareContexts:
    """Contexts of one engine that nobody has any more: the next ones take no allocation."""

    def __init__(self) -> None:
        self._addresses: list[int] = []

    def take(self) -> int:
        """The host address of one, with any contents, or 0."""
        return self._addresses.pop() if self._addresses else 0

    def give(self, address: int) -> bool:
        """Keep one; False if there are enough."""
        if len(self._addresses) >= _MOST_SPARE:
            return False
        self._addresses.append(address)
        return True

    def __del__(self) -> None:
        for address in self._addresses:
            context_free(address)


class Context:
    """A saved register context (``uc_context``), with the two private words that matter."""

    def __init__(self, uc: Uc, spare: SpareContexts | None = None) -> None:
        """``spare`` has what others have had."""
        self._uc, self._spare = handle(uc), spare
        self.address = (spare.take() if spare is not None else 0) or _new_context(self._uc)

    def save(self) -> None:
        """Copy the engine's registers here."""
        if status := context_save(self._uc, self.address):
            check(status, "uc_context_save")

    def restore(self) -> None:
        """Copy these registers to the engine.  RIP is to be given to emu_start; the TLB is not touched."""
        if status := context_restore(self._uc, self.address):
            check(status, "uc_context_restore")

    @property
    def error_code(self) -> int:
        """The error code of the last exception."""
        return ctypes.c_uint32.from_address(self.address + CONTEXT_ERROR_CODE).value

    @property
    def old_exception(self) -> int:
        """The exception that Unicorn believes is still being delivered, or -1."""
        return ctypes.c_int32.from_address(self.address + CONTEXT_OLD_EXCEPTION).value

    def exception_delivered(self) -> None:
        """Clear "exception in flight", which UC_HOOK_INTR never does: the next #GP would arrive as a double fault."""
        ctypes.c_int32.from_address(self.address + CONTEXT_OLD_EXCEPTION).value = -1

    def __del__(self) -> None:
        if getattr(self, "address", 0):
            if self._spare is None or not self._spare.give(self.address):
                context_free(self.address)
            self.address = 0


def expect(condition: bool, what: str) -> None:
    """Raise :class:`UnicornMismatch` unless something is where it was expected."""
    if not condition:
        raise UnicornMismatch(
            f"unicorn {unicorn.__version__}: {what} is not where unimmu expects it; unimmu needs the unicorn "
            f"{UNICORN_VERSION} wheel for x86-64 Linux"
        )
