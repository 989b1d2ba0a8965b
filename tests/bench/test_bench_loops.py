"""The measured loops do what they say, on every engine alike."""

from __future__ import annotations

import struct

import capstone
import pytest
from unicorn import x86_const as x86

import msharefs.module
from emu.bench.engines import Bare, NativelyHooked, OwnWalker, PythonHooked, WithMmu
from emu.bench.exact import exact_helpers, exact_mode, walks_from_python
from emu.bench.guest import MachineLoop, Timer
from emu.bench.hardware import counting
from emu.bench.hugepages import huge_faults
from emu.bench.kernel import HOOK, traps
from emu.bench.loops import (
    CODE,
    COMPUTE_INSTRUCTIONS,
    DATA,
    branches,
    chase,
    compute,
    copies,
    count_down,
    doubles,
    touch,
)
from emu.bench.scale import PAGES as SCALE_PAGES
from emu.bench.scale import FarEnd, populate
from emu.bench.sharers import MeasuredRegion
from mmu.memory import PAGE_SIZE
from mmu.perf_events import perf_events

MEMORY = DATA + 64 * PAGE_SIZE
PAGES = 32
ENGINES = (Bare, OwnWalker, WithMmu, NativelyHooked, PythonHooked)
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


def test_a_turn_of_the_pointer_chase() -> None:
    assert turn(chase(DATA, 5)) == ["mov rbx, qword ptr [rbx]", "dec rcx", f"jne {CODE + 10:#x}"]


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


@pytest.mark.parametrize("engine", [Bare, WithMmu])
def test_the_loop_with_branches_counts_steps(engine: type[Bare]) -> None:
    def steps(number: int) -> int:
        return 0 if number == 1 else 1 + steps(3 * number + 1 if number % 2 else number // 2)

    subject = engine(MEMORY)
    subject.load(branches(30))
    subject.run()
    to_one_again = 3  # 1, 4, 2, 1
    assert subject.uc.reg_read(x86.UC_X86_REG_RDX) == sum(steps(n) for n in range(2, 31)) + to_one_again


def test_the_loop_of_doubles_adds_products_up() -> None:
    subject = Bare(MEMORY)
    subject.ram.write(DATA, struct.pack("<dd", 1.5, 4))
    subject.load(doubles(DATA, 10))
    subject.run()
    assert struct.unpack("<d", subject.ram.read(DATA + 16, 8)) == (60.0,)


def test_the_loop_of_copies_copies() -> None:
    subject = Bare(MEMORY)
    source = bytes(n * 7 & 0xFF for n in range(2048))
    subject.ram.write(DATA + 8, source)
    subject.load(copies(DATA, 3))
    subject.run()
    assert subject.ram.read(DATA + PAGE_SIZE, 2049) == source + b"\0"


def test_counting_is_timed_both_ways() -> None:
    measurement = counting(1, 300)
    assert [figure.name for figure in measurement.figures] == [
        "branches_machine_ratio", "branches_hook_ratio", "doubles_machine_ratio", "doubles_hook_ratio",
        "copies_machine_ratio", "copies_hook_ratio",
    ]  # fmt: skip
    assert {len(rounds) for rounds in measurement.rounds.values()} == {1}


def test_the_compute_loop_as_a_process() -> None:
    loop = MachineLoop(lambda data: compute(data, 1000))
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


def test_faults_of_huge_pages_are_counted_in_small_ones() -> None:
    small, huge, ratio = huge_faults(1, 8).figures
    assert (small.unit, huge.unit, ratio.unit) == ("µs", "µs", "") and ratio.aim is not None
    assert small.value > 0 and ratio.value == pytest.approx(huge.value / small.value)


def test_a_pass_of_stores_writes_every_page() -> None:
    subject = WithMmu(MEMORY)
    subject.load(bytes.fromhex("b8") + (7).to_bytes(4, "little") + touch(DATA, PAGES, PAGE_SIZE, 1, store=True))
    subject.run()
    assert [subject.ram.read_u64(DATA + page * PAGE_SIZE) for page in range(PAGES + 1)] == [7] * PAGES + [0]


def test_the_figures_of_helpers_and_hooks() -> None:
    measurement = exact_helpers(1, 5_000)
    assert [figure.name for figure in measurement.figures] == [
        "exact_helpers_gain",
        "exact_run_gain",
        "exact_missing_ns",
        "exact_chase_ns",
    ]
    assert all(figure.aim and figure.value > 0 for figure in measurement.figures)


def test_the_figures_of_exact_mode() -> None:
    measurement = exact_mode(1, 20_000)
    aims = {figure.name for figure in measurement.figures if figure.aim}
    assert aims == {"exact_native_ratio", "exact_python_ratio", "exact_maccesses"}
    assert all(figure.value > 0 for figure in walks_from_python(1, 5_000).figures)


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_the_far_end_of_a_large_memory(tlb: str) -> None:
    subject = FarEnd(16, tlb)
    subject.load(touch(DATA, SCALE_PAGES, PAGE_SIZE, 2))
    subject.ram.write_u64(subject.ram.size - PAGE_SIZE, 0x1234)
    subject.run()
    assert subject.uc.reg_read(x86.UC_X86_REG_RAX) == 0x1234, "what the last page holds"
    if tlb != "off":
        assert perf_events(subject.mmu)["dTLB-loads"] == 2 * SCALE_PAGES


def test_sharers_by_the_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.machine.find_modules", lambda: {"msharefs": msharefs.module.init})
    region = MeasuredRegion(100, 20)
    counts = region.machine.kernel.share_counts
    assert [count for _, count in counts.items()] == [100]
    for _ in range(2):
        for step, shared in (("attach", 100), ("link", 120), ("detach", 100)):
            assert region.time(step) > 0
            assert [count for _, count in counts.items()] == [shared], step
    assert region.machine.audit() == []


def test_address_spaces_by_the_hundred() -> None:
    timer = Timer()
    before = len(timer.machine.kernel.mm_context.address_spaces)
    populate(timer, 100)
    spaces = list(timer.machine.kernel.mm_context.address_spaces.values())
    assert len(spaces) == before + 100
    assert [mm.rss_anon for mm in spaces[-100:]] == [1] * 100
    assert timer.machine.audit() == []
