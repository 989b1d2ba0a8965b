"""The measured loops do what they say, on every engine alike."""

from __future__ import annotations

import capstone
import pytest
from unicorn import x86_const as x86

from emu.bench.engines import Bare, OwnWalker, WithMmu
from emu.bench.guest import MachineLoop
from emu.bench.kernel import HOOK, traps
from emu.bench.loops import CODE, COMPUTE_INSTRUCTIONS, DATA, compute, count_down, touch
from mmu.memory import PAGE_SIZE

MEMORY = DATA + 64 * PAGE_SIZE
PAGES = 32
ENGINES = (Bare, OwnWalker, WithMmu)
REGISTERS = (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDI, x86.UC_X86_REG_R8, x86.UC_X86_REG_R9, x86.UC_X86_REG_R10)


def instructions(code: bytes) -> list[str]:
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = list(disassembler.disasm(code, CODE))
    assert sum(len(i.bytes) for i in found) == len(code), "every byte is code"
    return [f"{i.mnemonic} {i.op_str}" for i in found]


def turn(code: bytes) -> list[str]:
    """The instructions from the last jump's target up to the jump."""
    listing = instructions(code)
    return listing[-_length(code) :]


def _length(code: bytes) -> int:
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = list(disassembler.disasm(code, CODE))
    target = int(found[-1].op_str, 16)
    return sum(i.address >= target for i in found)


def test_a_turn_of_the_compute_loop() -> None:
    loop = turn(compute(DATA, 5))
    assert len(loop) == COMPUTE_INSTRUCTIONS
    assert sum("ptr" in line for line in loop) == 4, "two loads and two stores"


def test_a_turn_of_the_touch_loop() -> None:
    inner = touch(DATA, 5, PAGE_SIZE, 2)[:-9]  # without the outer loop's count and jump
    assert turn(inner) == ["mov rax, qword ptr [rbx]", "add rbx, rsi", "dec rcx", f"jne {CODE + 20:#x}"]


@pytest.mark.parametrize("engine", ENGINES)
def test_registers_and_memory_are_the_same_everywhere(engine: type[Bare]) -> None:
    results = []
    for kind in (Bare, engine):
        subject = kind(MEMORY)
        subject.load(compute(DATA, 1000))
        assert subject.run() > 0
        registers = [subject.uc.reg_read(register) for register in REGISTERS]
        results.append((registers, subject.ram.read(DATA, 3 * PAGE_SIZE)))
    assert results[0] == results[1]
    assert any(results[0][1])


@pytest.mark.parametrize("engine", ENGINES)
def test_touch_reads_every_page(engine: type[Bare]) -> None:
    subject = engine(MEMORY)
    subject.load(touch(DATA, PAGES, PAGE_SIZE, 3))
    subject.ram.write_u64(DATA + (PAGES - 1) * PAGE_SIZE, 0x1234)
    subject.run()
    assert subject.uc.reg_read(x86.UC_X86_REG_RAX) == 0x1234, "what the last page holds"
    assert subject.uc.reg_read(x86.UC_X86_REG_RBX) == DATA + PAGES * PAGE_SIZE


def test_touch_fills_each_page_once_while_the_tlb_holds_it() -> None:
    subject = WithMmu(MEMORY)
    subject.load(touch(DATA, PAGES, PAGE_SIZE, 3))
    subject.run()
    assert subject.mmu.counters.fills == PAGES + 1, "the pages, and the code"


@pytest.mark.parametrize("engine", ENGINES)
def test_code_can_be_replaced(engine: type[Bare]) -> None:
    subject = engine(MEMORY)
    for turns in (3, 5):
        subject.load(count_down(turns) + bytes.fromhex("b8") + turns.to_bytes(4, "little"))  # mov eax, turns
        subject.run()
        assert subject.uc.reg_read(x86.UC_X86_REG_RAX) == turns


def test_the_compute_loop_as_a_process() -> None:
    loop = MachineLoop(1000)
    assert loop.run() > 0
    (process,) = loop._timer.machine.processes()
    setup_and_exit = 2 + 3
    assert (process["exit_status"], process["instructions"]) == (0, 1000 * COMPUTE_INSTRUCTIONS + setup_and_exit)
    assert loop.run() > 0, "as often as wanted"
    assert loop._timer.machine.audit() == []


def test_traps_are_counted_in_hooks() -> None:
    measurement = traps(1, 200)
    assert {figure.name: figure.unit for figure in measurement.figures} == {
        "hook_us": "µs",
        "getpid_us": "µs",
        "getpid_hooks": "",
        "fault_us": "µs",
        "fault_hooks": "",
    }
    assert measurement.figures[0].what == HOOK
    assert {len(rounds) for rounds in measurement.rounds.values()} == {1}
