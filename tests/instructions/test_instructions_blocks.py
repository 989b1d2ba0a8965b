"""Blocks that are cut in pieces: nothing shows it, whoever writes the code, and whoever else runs it."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu.instructions import blocks, hits, listed
from emu.instructions.__main__ import listed_opcodes, opcodes_of, rows_by_mode
from emu.instructions.catalogue import Catalogue
from emu.instructions.opcodes import MAPS, Mode, lengths
from emu.instructions.row import Row
from emu.instructions.scan import LONGEST
from emu.instructions.table import ROWS, SUBJECTS
from mmu.objectcode import load
from tests.booted import Booted, MakeMachine
from tests.instructions.pieces_of_code import build
from tests.machine.inline_programs import Program

#: MOVUPS and MOVAPS of [rsp+1], and RET: of the first nothing is listed, the second one is refused.
HARMLESS, MISALIGNED = (int.from_bytes(bytes.fromhex(code), "little") for code in ("0f10442401c3", "0f28442401c3"))
OPTIONS = pytest.mark.parametrize("options", [{}, {"tlb": "textbook"}, {"cpus": 2, "turn": 300}])


DIFFERENT = ("call", "xbegin", "ud0", "ud1", "bnd jmp", "bnd call", "ret")
LEGACY = rb"[\x26\x2e\x36\x3e\x64-\x67\xf0\xf2\xf3]"


@OPTIONS
@pytest.mark.parametrize("first", [HARMLESS, MISALIGNED])
def test_code_that_is_written_anew(machine: MakeMachine, options: dict[str, Any], first: int) -> None:
    second = HARMLESS + MISALIGNED - first
    script = (
        f"@p = mmap 0 8K RWX PRIVATE -1 0; @store p {first}; jump p; jump p; @store p {second}; jump p; jump p;"
        f"@store p {first}; jump p; @mprotect p 4K RW; @store p {second}; @mprotect p 4K PROT_READ|PROT_EXEC; jump p"
    )
    refused = ["0" if each == HARMLESS else "X" for each in (first, first, second, second, first, second)]
    got = machine(**options).calls(script)
    assert ["X" if "SIGSEGV" in line else "0" for line in got] == refused, got


@OPTIONS
def test_code_of_two_processes_at_one_address(machine: MakeMachine, options: dict[str, Any]) -> None:
    """The child writes its copy before it runs it, and the parent runs its own again, while both take turns."""
    script = (
        f"@p = mmap 0 4K RWX PRIVATE -1 0; @store p {HARMLESS}; jump p;"
        f"@fork c; @store p {MISALIGNED}; repeat 3; jump p; @sched_yield; end; end;"
        "repeat 3; jump p; @sched_yield; end; @wait c; jump p"
    )
    got = machine(**options).calls(script)
    assert sum("SIGSEGV" in line for line in got) == 3 and sum("SIGSEGV" not in line for line in got) == 5, got


@OPTIONS
def test_code_that_somebody_else_writes(machine: MakeMachine, options: dict[str, Any]) -> None:
    """Through another mapping of the same page, which has no X."""
    script = (
        '@fd = open "/tmp/code" O_RDWR|O_CREAT 0700; @ftruncate fd 4K; @w = mmap 0 4K RW MAP_SHARED fd 0;'
        f"@x = mmap 0 4K PROT_READ|PROT_EXEC MAP_SHARED fd 0; @store w {HARMLESS}; jump x; "
        f"@store w {MISALIGNED}; jump x; @store w {HARMLESS}; jump x"
    )
    got = machine(**options).calls(script)
    assert ["SIGSEGV" in line for line in got] == [False, True, False], got


def story(booted: Booted, path: Path) -> tuple[Any, ...]:
    """Everything that depends on which instructions were counted, and when."""
    tasks = [booted.spawn(path) for _ in range(2)]
    booted.run(timeout_s=60)
    counters = booted.counters
    return counters, [task.usage.instructions for task in tasks], [task.usage.involuntary_switches for task in tasks]


LOOP = "b9f40100000f284310 83c001 0f284b20 0f284b30 90 8cd0 8ed0 83c001 0f294340 ffc9 75e5"


@pytest.mark.parametrize("options", [{"turn": 37}, {"cpus": 2, "turn": 53}, {"cpus": 2, "turn": 53, "tlb": "textbook"}])
def test_counts_and_slices_are_those_of_whole_blocks(
    machine: MakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    code = LOOP.replace("8cd0 8ed0", "8cd0 9090")
    cut = story(machine(**options), build(tmp_path, code))
    monkeypatch.setattr(blocks, "with_listed", lambda mode: lengths())
    assert story(machine(**options), build(tmp_path, code)) == cut


def test_an_instruction_that_is_executed_here_counts_once(machine: MakeMachine, tmp_path: Path) -> None:
    """A loop of 500 turns, of 10 instructions each; 3 before it, and 3 behind."""
    booted = machine(tlb="off")
    task = booted.spawn(build(tmp_path, LOOP))
    booted.run(timeout_s=60)
    assert task.exit_code == 0 and task.usage.instructions == 500 * 10 + 3 + 3


def test_the_digits_are_those_of_the_table() -> None:
    now = {mode: listed_opcodes(mode) for mode in (Mode(0), *Mode)}
    assert now == listed.LISTED, "run python -m emu.instructions"
    subjects = [(each, opcodes_of(rows)) for each, rows in rows_by_mode().items()]
    assert subjects == [*listed.SUBJECTS.items()], "run python -m emu.instructions"
    assert tuple(name for name, rows in SUBJECTS.items() if any(row.locked for row in rows)) == listed.LOCKED


@pytest.mark.parametrize("mode", range(8))
def test_a_row_is_found_by_its_opcode(mode: int) -> None:
    """And by LOCK: all that count in the mode, in the order of the table."""
    catalogue, by_opcode = Catalogue(), defaultdict[tuple[int, int], list[Row]](list)
    for row in ROWS:
        for number in {(opcode.opcode_map, opcode.opcode) for opcode in row.opcodes if row.counts(mode)}:
            by_opcode[number].append(row)
    for number in product(range(MAPS), range(256)):
        assert catalogue._of_opcode(*number, mode) == by_opcode[number], number
    assert catalogue._locked == [row for row in ROWS if row.locked]


def test_every_row_says_what_is_wrong_and_where_its_test_is() -> None:
    root = Path(__file__).resolve().parents[2]
    for row in ROWS:
        assert row.name and row.wrong and (root / row.test).is_file(), row.name


def test_lengths_are_those_that_capstone_finds() -> None:
    """Of instructions by chance.  We decode as the engine does, for which 66 matters to a near branch, a REX prefix
    counts wherever it stands, and UD0 and UD1 have operands."""
    capstone = pytest.importorskip("capstone")
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    measure, table = load("emu.instructions.scan")["measure"], lengths()
    draw, wrong = random.Random(7), []
    code = np.zeros(LONGEST, dtype=np.uint8)
    compared = 0
    for _ in range(20000):
        bytes_ = draw.choice((b"", b"\x66", b"\x0f", b"\x48", b"\xf3\x0f", b"\x66\x0f\x38")) + draw.randbytes(LONGEST)
        code[:] = list(bytes_[:LONGEST])
        found = measure(code.ctypes.data, LONGEST, table.address)
        theirs = next(decoder.disasm_lite(bytes_[:LONGEST], 0), None)
        if theirs is None or found == 0 or found >> 33 or theirs[2][0] in "vj" or theirs[2] in DIFFERENT:
            continue
        if re.match(LEGACY + rb"*[\x40-\x4f]+" + LEGACY, bytes_):
            continue
        compared += 1
        if theirs[1] != found & 0xFF:
            wrong.append((bytes_.hex(), theirs[1:], found & 0xFF))
    assert compared > 10000 and not wrong, wrong[:10]


def test_most_programs_need_no_table(machine: MakeMachine) -> None:
    booted = machine()
    booted.outcome("hello")
    assert booted.kernel.cpu.blocks.hits is None
    booted.outcome("fpu")
    assert isinstance(booted.kernel.cpu.blocks.hits, hits.Hits)


def test_too_much_is_forgotten(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_BLOCKS", 20)
    assert machine().outcome("fpu").exit_status == 0


@OPTIONS
def test_code_that_is_mapped_over_other_code(machine: MakeMachine, options: dict[str, Any]) -> None:
    """Without a page in between that is not mapped: of memory, of a file, and the first file again."""
    fixed = "4K PROT_READ|PROT_EXEC MAP_PRIVATE|MAP_FIXED"
    script = (
        '@a = open "/tmp/a" O_RDWR|O_CREAT 0700; @ftruncate a 4K; @w = mmap 0 4K RW MAP_SHARED a 0;'
        f"@store w {MISALIGNED};"
        f"@p = mmap 0 4K RWX PRIVATE -1 0; @store p {HARMLESS}; jump p; jump p; @mmap p {fixed} a 0; jump p; jump p;"
        f"@mmap p 4K RWX MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0; @store p {HARMLESS}; jump p;"
        f"@mmap p {fixed} a 0; jump p"
    )
    got = machine(**options).calls(script)
    assert ["SIGSEGV" in line for line in got] == [False, False, True, True, False, True], got


@OPTIONS
def test_code_of_a_program_that_runs_again(machine: MakeMachine, options: dict[str, Any]) -> None:
    """Each run has code of its own at the same address; what is known of the program's own code holds meanwhile."""
    booted = machine(**options)
    for code in (HARMLESS, MISALIGNED, MISALIGNED, HARMLESS):
        got = booted.calls(f"@p = mmap 0 4K RWX PRIVATE -1 0; @store p {code}; jump p; jump p")
        assert ["SIGSEGV" in line for line in got] == [code == MISALIGNED] * 2, got
    assert len(booted.kernel.mm_context.programs) == 1


#: mmap(NULL, 64 MiB, RW, PRIVATE|ANONYMOUS|NORESERVE), and stores to all of it to its end: MOVUPS, of which nothing is
#: listed, and in the next block MOVAPS, which is.
FILL = (
    "31ffbe00000004ba0300000041ba2240000049c7c0ffffffff4531c9b8090000000f05"
    "488db0000000040f11004883c040eb00a9ff0f000075040f2940f00f2940e04839f075e3"
)


def test_a_page_of_code_that_its_own_fault_has_dropped(machine: MakeMachine, tmp_path: Path) -> None:
    """Memory is short: a store's fault takes the page of a file that the code around it is in, and the next block of
    that page is to be cut in pieces."""
    build(tmp_path, FILL)
    booted = machine(16 << 20, root=str(tmp_path))
    outcome = booted.outcome_of(booted.spawn("/program", in_guest=True))
    assert outcome.signal == "SIGKILL", outcome


def test_what_the_native_hook_compares_stays(tmp_path: Path) -> None:
    """A process and its child know one block of code that can change; the copy with which the parent's is compared was
    freed when the child's was made, and the host's process ended by SIGSEGV in every third run.
    """
    (tmp_path / "program").write_bytes(Program(20013).build())
    script = (
        "import sys; from emu.machine import Machine\n"
        "for _ in range(4): m = Machine(32 << 20, modules={}); m.spawn(sys.argv[1]); m.run()"
    )
    ran = subprocess.run([sys.executable, "-c", script, tmp_path / "program"], check=False)
    assert ran.returncode == 0
