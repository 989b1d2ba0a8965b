"""``unimmu pt``: moments, places to write to, files of tables, and one line where something is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import guests
from emu.trace.pt.file import from_json
from tests.cli.conftest import Ran, Unimmu, start, unimmu

__all__ = ["unimmu"]

SHARERS = ("sharers", "mshare", 3, 6 << 20)


def head(ran: Ran) -> str:
    assert ran.status == 0, ran.err
    return ran.out.splitlines()[0]


def test_the_program_s_output_is_not_between_the_tables(unimmu: Unimmu) -> None:
    ran = unimmu("pt", "hello")
    assert head(ran) == "page tables of hello: process 100 (hello) is about to end, after 235 instructions"
    assert ran.err == "hello, world\n"
    assert "0x0000000000401000-0x0000000000402000        4K USR ro " in ran.out
    assert ran.out.splitlines()[-1] == "in all 28 KiB in 7 tables; nothing is shared"


def test_many_that_are_the_same_take_a_line(unimmu: Unimmu) -> None:
    lines = unimmu("pt", "sharers", "mshare", 20, 6 << 20).out.splitlines()
    headings = [line for line in lines if line.startswith("---[ ")]
    assert [line.partition(":")[0] for line in headings] == [
        "---[ process 100 (sharers)", "---[ process 101 (sharers)", "---[ processes 102-119", "---[ host mm of sharers",
        "---[ shared tables ]---", "---[ KiB of page tables ]---",
    ]  # fmt: skip
    assert headings[2] == "---[ processes 102-119: the same as process 101 (sharers) ]---"
    shared = lines[lines.index("---[ shared tables ]---") + 1 :]
    assert shared[0].endswith("3 tables below it belong to processes 100-119 and host mm of sharers")
    assert re.fullmatch(r"    process 100: by the pud entry at 0x[0-9a-f]+, for 0x20000000000", shared[1])
    assert shared[2] == "    processes 101-119: by 19 other pud entries, for 0x20000000000"
    assert re.fullmatch(r" +40 +16 +56  each of processes 100-119", shared[6])
    assert len(lines) < 40
    one = unimmu("pt", "--pid", 110, "sharers", "mshare", 20, 6 << 20).out
    assert "---[ process 110 (sharers): PGD at 0x" in one and "the same as" not in one


@pytest.mark.parametrize(
    ("at", "when"),
    [
        ("exit", "process 100 (hello) is about to end, after 235 instructions"),
        ("end", "every process has ended, after 235 instructions"),
        ("100", "100 instructions have run, after 100 instructions"),
        ("syscall:write", "process 100 (hello) is about to do write, after 218 instructions"),
    ],
)
def test_moments(unimmu: Unimmu, at: str, when: str) -> None:
    assert head(unimmu("pt", "--at", at, "hello")) == f"page tables of hello: {when}"


def test_the_n_th_system_call(unimmu: Unimmu) -> None:
    program = "@getpid; @getpid; mmap 0 4096 3 0x22 -1 0; @getpid"
    first, third = (head(unimmu("pt", "--at", f"syscall:getpid:{n}", "calls", program)) for n in (1, 3))
    assert "is about to do getpid, after" in first
    assert "is about to do getpid (number 3 of these), after" in third


def test_counts_of_instructions_end_between_two_of_them(unimmu: Unimmu) -> None:
    """Of a process that runs for long: the turn ends where the count is reached, or at the next block."""
    found = []
    for number in (1, 1000, 50_001):
        said = re.search(r"after ([\d,]+) instructions", head(unimmu("pt", "--at", number, "spin")))
        assert said is not None
        found.append(int(said[1].replace(",", "")) - number)
    assert all(0 <= late < 64 for late in found), found


def test_a_moment_that_does_not_come(unimmu: Unimmu) -> None:
    ran = unimmu("pt", "--at", "syscall:mmap", "hello")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == (
        "unimmu pt: the moment of --at did not come: after 235 instructions every process has ended"
    )


def test_processes_that_wait_are_shown(unimmu: Unimmu) -> None:
    ran = unimmu("pt", *SHARERS)
    assert "every process waits" in head(ran)
    assert ran.out.count("shared  /sys/fs/mshare/sharers") == 3
    assert "PMD table at" in ran.out
    assert "belong to processes 100-102 and host mm of sharers" in ran.out
    only = unimmu("pt", "--pid", 101, *SHARERS)
    assert "---[ process 101 (sharers)" in only.out
    assert "---[ process 100 (sharers)" not in only.out


def test_swap_and_guard_pages_of_a_run(unimmu: Unimmu) -> None:
    program = (
        "@a = mmap 0 0x8000 3 0x22 -1 0; @store a 7; @store a+0x1000 7; @store a+0x2000 7;"
        "@madvise a 0x1000 21; @madvise a+0x4000 0x2000 102; @mprotect a+0x2000 0x1000 0"
    )
    ran = unimmu("pt", "--swap", "1M", "--at", "exit", "calls", program)
    assert ran.status == 0, ran.err
    assert "in swap area 0, slot" in ran.out
    assert "8K marker: guard page (MADV_GUARD_INSTALL)" in ran.out
    assert "PROT_NONE: in memory, and nobody may use it" in ran.out


def test_five_levels_and_huge_pages(unimmu: Unimmu) -> None:
    program = "@a = mmap 0 0x200000 3 0x40022 -1 0; @store a 7"
    ran = unimmu("pt", "--la57", "--hugepages", 2, "calls", program)
    assert re.search(r"2M USR RW +PSE +ACC DRT NX +pmd", ran.out), ran.out
    walked = unimmu("pt", "--la57", "--walk", "100:0", "calls", program)
    assert "Step 1: PGD table (PML5)" in walked.out


def test_a_file_of_tables_is_shown_as_the_run_was(unimmu: Unimmu, tmp_path: Path) -> None:
    saved = tmp_path / "tables"
    live = unimmu("pt", "--save", saved, *SHARERS)
    from_json(saved.read_text())
    again = unimmu("pt", saved)
    assert again.out == live.out
    assert again.err == ""
    copy = tmp_path / "again.json"
    assert unimmu("pt", "--save", copy, "--tree", saved).status == 0
    assert copy.read_text() == saved.read_text()
    walked = unimmu("pt", "--walk", "101:0x20000000123:w", saved)
    assert "The physical address of 0x20000000123 is" in walked.out
    assert "The byte there" not in walked.out, "a file has tables, and no data"


def test_a_walk_of_a_run_ends_with_the_byte(unimmu: Unimmu) -> None:
    ran = unimmu("pt", "--walk", "100:0x401000:x", "--walk", "100:0x401000:w", "hello")
    code = ran.out[ran.out.index("The byte there is") :].splitlines()[0]
    data = bytes.fromhex(code[code.index("on: ") + 4 : code.index(")")])
    assert data in guests.path("hello").read_bytes()
    assert "the error code is 0x7" in ran.out


def test_pages_and_pictures(unimmu: Unimmu, tmp_path: Path) -> None:
    page, picture, walk = (tmp_path / name for name in ("t.html", "t.svg", "w.svg"))
    ran = unimmu("pt", "--html", page, "--svg", picture, "--walk", "100:0x401000", "--walk", "100:0", "hello")
    assert ran.status == 2, "one picture has no room for two walks"
    assert not page.exists()
    assert unimmu("pt", "--html", page, "--svg", picture, *SHARERS).status == 0
    assert page.read_text().startswith("<!doctype html>")
    assert picture.read_text().startswith("<svg")
    assert unimmu("pt", "--svg", walk, "--walk", "100:0x401000", "hello").status == 0
    assert "PML4E 0 at" in walk.read_text()
    assert unimmu("pt", "--dot", *SHARERS).out.startswith("digraph")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a program is needed, or a file of --save"),
        (("--at", "noon", "hello"), "'noon' is none of end, exit, a number of instructions, syscall:NAME"),
        (("--at", "syscall:", "hello"), "is none of end, exit"),
        (("--at", "syscall:write:0", "hello"), "is none of end, exit"),
        (("--at", "syscall:nosuch", "hello"), "--at syscall:nosuch: there is no such system call"),
        (("--walk", "100", "hello"), "'100' is not PID:ADDRESS"),
        (("--walk", "100:0x1:q", "hello"), "is not PID:ADDRESS"),
        (("--walk", "100:0x10000000000000000", "hello"), "is not PID:ADDRESS"),
        (("--walk", "7:0", "hello"), "--walk 7: there is no such process at that moment (there are 100)"),
        (("--pid", "7", "hello"), "--pid 7: there is no such process"),
        (("--tree", "--dot", "hello"), "--tree and --dot exclude each other"),
        (
            ("--html", "/nonexistent/x.html", "hello"),
            "--html /nonexistent/x.html: cannot be written: No such file or directory",
        ),
        (("--save", "same", "--svg", "same", "hello"), "--save same: --svg same writes to the same file"),
        (("--tlb", "zen4", "--tlb-from-cpuid", "host", "hello"), "exclude each other"),
        (("--mem", "7", "hello"), "--mem 7"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(unimmu: Unimmu, words: tuple[str, ...], said: str) -> None:
    ran = unimmu("pt", *words)
    assert ran.status == 2
    assert ran.out == ""
    assert said in ran.err.splitlines()[-1]


def test_files_that_are_none(unimmu: Unimmu, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"unimmu_page_tables": 1}')
    assert unimmu("pt", broken).err == f'unimmu pt: {broken}: "memory_bytes" is missing, or is not what it should be\n'
    broken.write_text("")
    assert "it is not JSON" in unimmu("pt", broken).err
    assert unimmu("pt", broken, "argument").err.endswith("nothing is run: the argument 'argument' has no use\n")
    assert unimmu("pt", "--at", "end", broken).err.endswith("nothing is run: --at has no use\n")
    assert unimmu("pt", tmp_path / "missing").status == 127
    assert unimmu("pt", tmp_path).status == 126


def test_a_run_that_takes_too_long(unimmu: Unimmu) -> None:
    ran = unimmu("pt", "--timeout", "0.3", "spin")
    assert (ran.status, ran.err) == (124, "unimmu pt: stopped by --timeout before the moment of --at came\n")


def test_a_full_disk() -> None:
    process = start("pt", "--save", "/dev/full", "hello", stderr=-1, stdout=-1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 74
    assert err.splitlines()[-1] == "unimmu pt: --save /dev/full: No space left on device; the file is not complete"
    assert out == ""
