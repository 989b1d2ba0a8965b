"""The proof that the private parts of Unicorn are where :mod:`mmu.unicorn_abi` says: each is tried on an engine."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

import unicorn
from unicorn import UC_ARCH_X86, UC_HOOK_INTR, UC_HOOK_MEM_READ, UC_HOOK_TLB_FILL, UC_MODE_64, Uc, x86_const
from unicorn.unicorn_const import UC_ERR_EXCEPTION

from mmu import unicorn_abi as abi
from mmu.guard import Guard
from mmu.once import Once

_ALL_ONES = (1 << 64) - 1
#: How far the wall clock may have been set since an engine was made.
_CLOCK_SLACK_NS = 3600 * 10**9


@Once
def self_test() -> None:
    """Exercise every private offset and symbol once a process.

    :class:`mmu.unicorn_abi.UnicornMismatch` if one is not as expected.
    """
    abi.expect(unicorn.__version__ == abi.UNICORN_VERSION, f"the release {abi.UNICORN_VERSION}")
    _test_translation()
    _test_exceptions()
    _test_registers()
    _test_fpu()
    _test_tlb_windows()
    _test_victims()
    _test_counter()
    _test_blocks()
    _test_stops()


def _peek(address: int) -> int | None:
    """The word at a host address, or None where no memory is: the kernel looks (EFAULT), so nothing can crash."""
    reader, writer = os.pipe()
    try:
        if ctypes.CDLL(None).write(writer, ctypes.c_void_p(address), ctypes.c_size_t(8)) != 8:
            return None
        return int.from_bytes(os.read(reader, 8), sys.byteorder)
    finally:
        os.close(reader)
        os.close(writer)


def _scratch(code: bytes, buffer: Any) -> Uc:
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    buffer[: len(code)] = code
    uc.mem_map_ptr(0, len(buffer), unicorn.UC_PROT_ALL, ctypes.addressof(buffer))
    uc.ctl_exits_enabled(True)
    return uc


def _test_translation() -> None:
    """invalid_addr holds the byte that faulted; tlb_flush_page makes exactly that page be asked for again."""
    buffer = (ctypes.c_char * 0x4000)()
    # mov rax,[0x1000]; mov rax,[0x2000]; nop; mov rax,[0x7ffd]
    uc = _scratch(bytes.fromhex("488b042500100000488b04250020000090488b0425fd7f0000"), buffer)
    abi.use_virtual_tlb(uc)
    uc.ctl_set_exits([16])
    asked: list[int] = []

    def answer(_uc: int, vaddr: int, _kind: int, result: int, _data: int) -> bool:
        asked.append(vaddr)
        entry = abi.TlbEntry.from_address(result)
        entry.paddr, entry.perms = vaddr & 0x3000, unicorn.UC_PROT_ALL
        return vaddr < 0x8000

    guard = Guard(uc)
    abi.hook_add(uc, UC_HOOK_TLB_FILL, guard.pointer(abi.FILL_CALLBACK, answer), 0)
    abi.check(guard.start(0), "uc_emu_start")
    abi.expect(asked == [0, 0x1000, 0x2000], "the TLB fill hook")
    asked.clear()
    pointer = abi.cpu_state(uc)
    abi.expect(_peek(pointer + abi.CPU_UC) == abi.handle(uc), "uc_struct.cpu")
    abi.flush_page(uc, 0x2000)
    abi.check(guard.start(0), "uc_emu_start")
    abi.expect(asked == [0x2000], "tlb_flush_page")
    uc.ctl_set_exits([])
    status = guard.start(17)
    abi.expect(status == UC_ERR_EXCEPTION and abi.invalid_address(uc) == 0x8000, "uc_struct.invalid_addr")


def _test_exceptions() -> None:
    """A divide error sets old_exception; #GP leaves its error code; both are read from a saved context."""
    buffer = (ctypes.c_char * 0x1000)()
    # xor ecx,ecx; div ecx; nop; mov eax,0x2b; mov ds,eax (no GDT: #GP; the error code is the selector without its RPL)
    uc = _scratch(bytes.fromhex("31c9f7f190b82b0000008ed8"), buffer)
    seen: list[int] = []

    def interrupt(engine: Uc, number: int, _data: Any) -> None:
        seen.append(number)
        engine.emu_stop()

    uc.hook_add(UC_HOOK_INTR, interrupt)
    context = abi.Context(uc)
    context.save()
    before = context.old_exception
    guard = Guard(uc)
    abi.check(guard.start(0), "uc_emu_start")
    context.save()
    abi.expect(seen == [0] and (before, context.old_exception) == (-1, 0), "env.old_exception")
    context.exception_delivered()
    context.restore()
    abi.check(guard.start(5), "uc_emu_start")
    context.save()
    abi.expect(seen == [0, 13] and context.error_code == 0x28, "env.error_code")


def _test_registers() -> None:
    """env.regs, env.eip and env.cr[3] hold what uc_reg_write wrote; read through /proc/self/mem, which cannot crash."""
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    names = ("RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", *(f"R{n}" for n in range(8, 16)), "RIP")
    values = [0x1122334455660000 + n for n in range(len(names))]
    for name, value in zip(names, values, strict=True):
        uc.reg_write(getattr(x86_const, f"UC_X86_REG_{name}"), value)
    uc.reg_write(x86_const.UC_X86_REG_CR3, 0x1122_3344_5000)
    for prefix, name in ((0x64, "FS_BASE"), (0x65, "GS_BASE")):
        uc.reg_write(getattr(x86_const, f"UC_X86_REG_{name}"), 0x1122_3344_0000 + prefix)
        abi.expect(_peek(abi.segment_bases(uc)[prefix]) == 0x1122_3344_0000 + prefix, f"the base of {name[:2]}")
    abi.expect(_peek(abi.cpu_state(uc) + abi.ENV_CR3) == 0x1122_3344_5000, "env.cr[3]")
    found = _memory(abi.cpu_state(uc) + abi.ENV_REGS, 8 * len(names))
    abi.expect(found == b"".join(v.to_bytes(8, "little") for v in values), "env.regs")


def _memory(address: int, length: int) -> bytes:
    """Bytes at a host address, read through /proc/self/mem, which cannot crash; none where no memory is."""
    try:
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(length)
    except OSError:
        return b""


def _test_fpu() -> None:
    """The x87 and SSE registers hold what uc_reg_write wrote; the status word lies there without TOP."""
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    written = {"FPSW": 0x3A45, "FPCW": 0x0C7F, "FPTAG": 0xFCFF, "MXCSR": 0x5FA0}
    written.update({f"XMM{n}": 0x1122_3344_5566_7788_99AA_BBCC_DDEE_FF00 + n for n in range(16)})
    for name, value in written.items():
        uc.reg_write(getattr(x86_const, f"UC_X86_REG_{name}"), value)
    for n in range(8):
        uc.reg_write(getattr(x86_const, f"UC_X86_REG_FP{n}"), (0x1122_3344_5566_7788 + n, 0x4000 + n))
    at = abi.cpu_state(uc)
    abi.expect(_memory(at + abi.ENV_FPU, 8) == (0x0C7F_0245_0000_0007).to_bytes(8, "little"), "env.fpuc")
    abi.expect(_memory(at + abi.ENV_FPU + 8, 8) == b"\1\1\1\1\0\1\1\1", "env.fptags")
    abi.expect(_memory(at + abi.ENV_MXCSR, 4) == (0x5FA0).to_bytes(4, "little"), "env.mxcsr")
    for n in range(8):
        stack = (0x4000 + n) << 64 | 0x1122_3344_5566_7788 + n
        abi.expect(_memory(at + abi.ENV_FPREGS + 16 * n, 10) == stack.to_bytes(10, "little"), "env.fpregs")
    for n in range(16):
        abi.expect(
            _memory(at + abi.ENV_XMM + abi.XMM_STRIDE * n, 16) == written[f"XMM{n}"].to_bytes(16, "little"),
            "env.xmm_regs",
        )


def _test_tlb_windows() -> None:
    """Three TLB windows have begun when the engine was made."""
    buffer = (ctypes.c_char * 0x1000)()
    uc = _scratch(b"\x90", buffer)
    now = time.time_ns()
    first = abi.cpu_state(uc) + abi.TLB_WINDOW
    begun = [_peek(first + index * abi.TLB_WINDOW_STRIDE) for index in range(abi.MMU_INDICES)]
    abi.expect(all(at is not None and abs(now - at) < _CLOCK_SLACK_NS for at in begun), "CPUTLBDesc.window_begin_ns")
    masks = [_peek(abi.tlb_mask(uc, index)) for index in range(abi.MMU_INDICES)]
    abi.expect(masks == [(abi.FIRST_TLB_ENTRIES - 1) * abi.TLB_ENTRY_BYTES] * abi.MMU_INDICES, "CPUTLBDescFast.mask")


def _test_victims() -> None:
    """Of two pages that have one place in a TLB, the first becomes a victim; tlb_set_page gives the engine a page."""
    buffer = (ctypes.c_char * 0x1000)()
    uc: Any = _scratch(bytes.fromhex("488b042500100000488b042500101000488b04250020000090"), buffer)
    abi.use_virtual_tlb(uc)  # mov rax, [0x1000]; mov rax, [0x101000]; mov rax, [0x2000]; nop
    uc.ctl_set_exits([24])
    asked: list[int] = []

    def answer(_uc: int, vaddr: int, _kind: int, result: int, _data: int) -> bool:
        asked.append(vaddr)
        entry = abi.TlbEntry.from_address(result)
        entry.paddr, entry.perms = 0, unicorn.UC_PROT_ALL
        return True

    guard = Guard(uc)
    abi.hook_add(uc, UC_HOOK_TLB_FILL, guard.pointer(abi.FILL_CALLBACK, answer), 0)
    index = abi.MMU_INDICES - 1  # that of code at CPL 0
    abi.set_page(abi.cpu_state(uc), 0x2000, 0, unicorn.UC_PROT_READ, index, len(buffer))
    abi.check(guard.start(0), "uc_emu_start")
    abi.expect(asked == [0, 0x1000, 0x101000], "tlb_set_page")
    for each in range(abi.MMU_INDICES):
        used = each == index
        first, stored = (0x1000, 0x1000 | abi.TLB_NOT_DIRTY) if used else (_ALL_ONES, _ALL_ONES)
        for offset, value in (
            (abi.TLB_LARGE, _ALL_ONES),
            (abi.TLB_USED, 3 * used),
            (abi.TLB_VICTIMS_MADE, used),
            (abi.TLB_VICTIMS + abi.ENTRY_READ, first),
            (abi.TLB_VICTIMS + abi.ENTRY_WRITE, stored),
            (abi.TLB_VICTIMS_END - abi.TLB_ENTRY_BYTES, _ALL_ONES),
        ):
            at = (abi.tlb_windows(uc) + each * abi.TLB_WINDOW_STRIDE + offset) & _ALL_ONES
            abi.expect(_peek(at) == value, "CPUTLBDesc.vtable")


def _test_stops() -> None:
    """Where the code looks for a stop that a load has asked for, it goes back before it; where not, to the block's
    end."""
    for look, counted in ((True, 0), (False, 1)):
        buffer = (ctypes.c_char * 0x1000)()
        uc: Any = _scratch(bytes.fromhex("488b042500080000ffc1ebf4"), buffer)  # mov rax, [0x800]; inc ecx; jmp 0
        abi.look_at_accesses(uc, look)
        uc.hook_add(UC_HOOK_MEM_READ, lambda engine, *_: engine.emu_stop())
        abi.check(Guard(uc).start(0), "uc_emu_start")
        abi.expect(uc.reg_read(x86_const.UC_X86_REG_RCX) == counted, "uc_struct.no_exit_request")


def _test_blocks() -> None:
    """Of two blocks that overlap one is forgotten."""
    buffer = (ctypes.c_char * 0x1000)()
    uc = _scratch(b"\x90" * 8 + b"\xf4", buffer)  # HLT: an exit would forget the block that has its end there
    for begin in (0, 2):
        abi.check(abi.emu_start(abi.handle(uc), begin, 0, 0, 0), "uc_emu_start")
    found = []
    for begin in (0, 0, 2, 4):
        uc.reg_write(x86_const.UC_X86_REG_RIP, begin)
        found.append(abi.forget_block(uc))
    abi.expect(found == [True, False, True, False], "uc_struct.tcg_ctx")


def _test_counter() -> None:
    """emu_counter has counted three instructions; and one more when the count was reached."""
    buffer = (ctypes.c_char * 0x1000)()
    uc = _scratch(b"\x90" * 8, buffer)
    for exit_, count, counted in ((3, 0x1234, 3), (8, 5, 6)):
        uc.ctl_set_exits([exit_])
        abi.check(abi.emu_start(abi.handle(uc), 0, 0, 0, count), "uc_emu_start")
        abi.expect(_peek(abi.handle(uc) + abi.EMU_COUNTER) == counted, "uc_struct.emu_counter")
        uc.ctl_flush_tb()
