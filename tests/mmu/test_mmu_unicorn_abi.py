"""The private parts of Unicorn: each is where it is said to be, and a wrong one is found out and named."""

from __future__ import annotations

import ctypes
import pathlib
import re

import pytest
import unicorn
from unicorn import UC_ARCH_X86, UC_HOOK_INTR, UC_MODE_64, Uc, UcError
from unicorn.x86_const import UC_X86_REG_RAX

from mmu import Mmu, PhysicalMemory, remembered, selftest, unicorn_abi, unicorn_proof
from mmu.unicorn_abi import Context, SpareContexts, UnicornMismatch, emu_start, handle
from tests.exhaustive import by_default

self_test = unicorn_proof.self_test.__wrapped__  # the test itself, without its memory

#: name: what the message calls it
OFFSETS = {
    "INVALID_ADDR": "uc_struct.invalid_addr",
    "CPU_STATE": "uc_struct.cpu",
    "CPU_UC": "uc_struct.cpu",
    "ENV_REGS": "env.regs",
    "TLB_WINDOW": "CPUTLBDesc.window_begin_ns",
    "TLB_VICTIMS": "CPUTLBDesc.vtable",
    "CONTEXT_ERROR_CODE": "env.error_code",
    "CONTEXT_OLD_EXCEPTION": "env.old_exception",
}


def finds(what: str) -> None:
    with pytest.raises(UnicornMismatch, match=rf"unicorn 2\.1\.4: {re.escape(what)} is not where unimmu expects it"):
        self_test()


def test_the_installed_unicorn_passes() -> None:
    self_test()


@pytest.mark.parametrize("name", OFFSETS)
def test_a_wrong_offset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every offset around the right one is refused, and none of them crashes the process."""
    right = getattr(unicorn_abi, name)
    for wrong in range(right - 0x100, right + 0x44, by_default(12, 4)):  # not beyond the end of a context
        if wrong != right:
            monkeypatch.setattr(unicorn_abi, name, wrong)
            finds(OFFSETS[name])
    monkeypatch.setattr(unicorn_abi, name, right)
    self_test()


@pytest.mark.parametrize("name", ["CONTEXT_ERROR_CODE", "CONTEXT_OLD_EXCEPTION"])
def test_a_general_register_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for wrong in range(0, 0xC0, 4):
        monkeypatch.setattr(unicorn_abi, name, wrong)
        finds(OFFSETS[name])


@pytest.mark.parametrize("too_much", [False, True])
def test_a_wrong_flush_function(monkeypatch: pytest.MonkeyPatch, too_much: bool) -> None:
    """One that does nothing, and one that forgets more than the page."""
    everything = unicorn_abi._prototype("tlb_flush_x86_64", None, ctypes.c_void_p)
    monkeypatch.setattr(unicorn_abi, "_flush_page", lambda cpu, vaddr: everything(cpu) if too_much else None)
    finds("tlb_flush_page")


def test_another_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unicorn, "__version__", "2.2.0")
    with pytest.raises(UnicornMismatch, match=r"unicorn 2\.2\.0: the release 2\.1\.4 is not where unimmu expects it"):
        self_test()


def test_a_symbol_that_is_not_exported() -> None:
    with pytest.raises(UnicornMismatch, match="does not export tlb_flush_nothing"):
        unicorn_abi._prototype("tlb_flush_nothing", None)


def test_an_mmu_is_not_attached_to_an_unknown_unicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unicorn_proof, "self_test", self_test)
    monkeypatch.setattr(unicorn_abi, "INVALID_ADDR", 0x580)
    with pytest.raises(UnicornMismatch):
        Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(4096))


def test_a_failed_raw_call_says_what_it_was() -> None:
    unicorn_abi.check(0, "nothing")
    with pytest.raises(UcError) as caught:
        unicorn_abi.check(unicorn.UC_ERR_ARG, "uc_something")
    assert caught.value.errno == unicorn.UC_ERR_ARG
    assert caught.value.__notes__ == ["uc_something"]


def test_contexts_cure_the_exception_in_flight() -> None:
    """Unicorn would deliver the second of two divide errors as a double fault (8)."""
    buffer = (ctypes.c_char * 0x1000)()
    buffer.value = bytes.fromhex("31c9f7f1")  # xor ecx, ecx; div ecx
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map_ptr(0, 0x1000, unicorn.UC_PROT_ALL, ctypes.addressof(buffer))
    uc.ctl_exits_enabled(True)
    seen: list[int] = []

    def on_interrupt(engine: Uc, number: int, _data: object) -> None:
        seen.append(number)
        engine.emu_stop()

    uc.hook_add(UC_HOOK_INTR, on_interrupt)
    context = Context(uc)
    for _ in range(3):
        emu_start(handle(uc), 0, 0, 0, 0)
        context.save()
        assert context.old_exception == 0
        context.exception_delivered()
        assert context.old_exception == -1
        context.restore()
    assert seen == [0, 0, 0]


def test_a_context_that_another_has_had_holds_all_that_is_saved() -> None:
    uc, spare = Uc(UC_ARCH_X86, UC_MODE_64), SpareContexts()
    uc.reg_write(UC_X86_REG_RAX, 1)
    first = Context(uc, spare)
    first.save()
    addresses = [first.address]
    assert spare.take() == 0
    del first
    uc.reg_write(UC_X86_REG_RAX, 2)
    second, third = Context(uc, spare), Context(uc, spare)
    second.save()
    assert second.address in addresses and third.address not in addresses
    uc.reg_write(UC_X86_REG_RAX, 3)
    third.save()
    for context, value in ((second, 2), (third, 3)):
        context.restore()
        assert uc.reg_read(UC_X86_REG_RAX) == value
    many = [Context(uc, spare) for _ in range(40)]
    del context, many
    kept = []
    while address := spare.take():
        kept.append(address)
    assert len(kept) == len(set(kept)) == 16 and not {second.address, third.address} & set(kept)
    assert all(map(spare.give, kept)) and not spare.give(0)


def test_the_general_registers_are_the_engine_s_own() -> None:
    """Read and written without a call; R15 is the last before RIP."""
    buffer = (ctypes.c_char * 0x1000)()
    buffer.value = bytes.fromhex("4c01f8 49ffc7 90 f4")  # add rax, r15; inc r15; nop; hlt
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map_ptr(0x5000, 0x1000, unicorn.UC_PROT_ALL, ctypes.addressof(buffer))
    registers = unicorn_abi.general_registers(uc)
    registers[0], registers[15] = 40, 2
    uc.emu_start(0x5000, 0)
    assert (registers[0], registers[15], registers[16]) == (42, 3, 0x5008)
    assert uc.reg_read(UC_X86_REG_RAX) == 42


def test_symbol_addresses() -> None:
    stop = unicorn_abi.symbol_address("uc_emu_stop")
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(stop)(handle(uc)) == 0


def test_a_library_that_has_passed_is_not_tested_again(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Unless the library, the test or what it looks for has changed."""
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(selftest, "reference_mode", lambda: False)
    monkeypatch.setattr(selftest, "remembered", remembered.remembered.__wrapped__)  # as in another process
    tmp_path.chmod(0o700)
    runs: list[int] = []
    monkeypatch.setattr(unicorn_proof, "self_test", lambda: runs.append(1))
    for _ in range(3):
        selftest.check_library()
    assert len(runs) == 1
    monkeypatch.setattr(unicorn_abi, "INVALID_ADDR", 0x580)
    selftest.check_library()
    assert len(runs) == 2
    for kept in tmp_path.iterdir():
        kept.write_bytes(b"damaged")
    selftest.check_library()
    assert len(runs) == 3
