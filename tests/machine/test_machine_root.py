"""A directory of the host as the root of a machine: programs run from it, and map its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import guests
from emu.fs.bind import Bind
from emu.linux.caller import Credentials
from emu.machine import LaunchError
from emu.mm.pageflags import FrameKind
from tests.booted import MIB, Booted

PAGE = 4096
MakeMachine = Callable[..., Booted]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A root with the guests ``calls`` and ``hello`` in it and a file of 40 pages, each of which begins with its
    number.
    """
    for name in ("calls", "hello"):
        (tmp_path / name).write_bytes(guests.path(name).read_bytes())
        (tmp_path / name).chmod(0o755)
    (tmp_path / "f").write_bytes(b"".join(bytes([page]) * PAGE for page in range(40)))
    return tmp_path


def calls(m: Booted, script: str) -> list[str]:
    """Run a script of the guest ``calls`` that lies in the root."""
    outcome = m.outcome_of(m.spawn("/calls", [script], in_guest=True))
    assert (outcome.stderr, outcome.exit_status) == ("", 0), outcome
    return outcome.stdout.splitlines()


def test_a_program_is_run_from_the_root(machine: MakeMachine, top: Path) -> None:
    m = machine(root=str(top))
    assert m.outcome_of(m.spawn("/hello", in_guest=True)).stdout == "hello, world\n"


def test_a_private_mapping(machine: MakeMachine, top: Path) -> None:
    m = machine(root=str(top))
    printed = calls(
        m,
        '@f = open "/f" 0; @p = mmap 0 160K RW MAP_PRIVATE f 0; load p+20K; store p+20K 7; load p+20K; load p+156K;'
        "@b = bytes 8; pread f b 8 20480; load b",
    )
    assert printed == [
        "load = 0x505050505050505", "store = 0", "load = 7", "load = 0x2727272727272727", "pread = 8",
        "load = 0x505050505050505",
    ]  # fmt: skip


def test_a_shared_mapping_and_the_file_are_one(machine: MakeMachine, top: Path) -> None:
    before = (top / "f").read_bytes()
    m = machine(root=str(top))
    printed = calls(
        m,
        '@f = open "/f" O_RDWR; @p = mmap 0 160K RW MAP_SHARED f 0; store p+8K 1; @b = bytes 8; pread f b 8 8192;'
        'load b; @g = open "/f" 0; @q = mmap 0 160K PROT_READ MAP_SHARED g 0; load q+8K; load q+12K;'
        '@pwrite f "abcdefgh" 8 12288; load q+12K; load p+12K',
    )
    assert printed == [
        "store = 0", "pread = 8", "load = 1", "load = 1", "load = 0x303030303030303", "load = 0x6867666564636261",
        "load = 0x6867666564636261",
    ]  # fmt: skip
    assert (top / "f").read_bytes() == before


@pytest.mark.parametrize("options", [{}, {"cpus": 2, "tlb": "skylake-sp", "check_tlb": True}], ids=["plain", "tlb"])
def test_a_mapping_larger_than_memory_is_read_through(machine: MakeMachine, top: Path, options: dict[str, Any]) -> None:
    """Clean pages that are mapped are dropped too."""
    with (top / "large").open("wb") as file:
        for page in range(1024):
            file.write(page.to_bytes(8, "little") * (PAGE // 8))
    m = machine(memory=2 * MIB, root=str(top), **options)
    loads = "; ".join(f"load p+{page * 4}K" for page in range(0, 1024, 64))
    printed = calls(
        m, f'@f = open "/large" 0; @p = mmap 0 4M PROT_READ MAP_SHARED f 0; @b = bytes 4096; {loads}; {loads}'
    )
    assert [int(line.split()[-1], 0) for line in printed] == list(range(0, 1024, 64)) * 2


def test_memory_is_taken_from_clean_pages_before_a_process_is_killed(machine: MakeMachine, top: Path) -> None:
    (top / "large").write_bytes(bytes(3 * MIB))
    m = machine(memory=4 * MIB, root=str(top))
    printed = calls(
        m,
        '@f = open "/large" 0; @p = mmap 0 3M PROT_READ MAP_SHARED|MAP_POPULATE f 0;'
        "@q = mmap 0 2M RW ANON|MAP_POPULATE -1 0; store q+1M 5; load q+1M",
    )
    assert printed == ["store = 0", "load = 5"]


def test_a_page_that_cannot_be_read_is_a_bus_error(machine: MakeMachine, top: Path) -> None:
    m = machine(root=str(top))
    script = '@f = open "/f" 0; @p = mmap 0 160K PROT_READ MAP_SHARED f 0; load p; @mark 1; load p; load p+156K'
    task = m.spawn("/calls", [script], in_guest=True)
    m.run_until_mark(task, 1)
    (top / "f").write_bytes(b"short")
    assert m.outcome_of(task).stdout.splitlines()[-2:] == ["load = 0", "load = BUS_ADRERR"]


def test_the_working_directory_and_the_user(machine: MakeMachine, top: Path) -> None:
    (top / "d").mkdir()
    m = machine(root=str(top), hostname="box")
    script = '@b = bytes 400; syscall 79 b 64; text b; @open "new" 0101 0644; @syscall 63 b; text b+65; syscall 108'
    user = Credentials(0, 5, 0, 5)
    outcome = m.outcome_of(m.spawn("/calls", [script], in_guest=True, cwd="/d", credentials=user))
    assert outcome.stdout.splitlines() == ["syscall = 3", "text = /d", "text = box", "syscall = 5"]
    assert m.kernel.vfs.read_file("/d/new") == b"" and not (top / "d/new").exists()
    with pytest.raises(LaunchError, match="the working directory /none cannot be entered"):
        m.spawn("/calls", in_guest=True, cwd="/none")


def test_runs_are_alike(machine: MakeMachine, top: Path) -> None:
    figures = []
    for _ in range(2):
        m = machine(root=str(top))
        calls(m, '@f = open "/f" 0; @p = mmap 0 160K RW MAP_PRIVATE f 0; store p+20K 7; load p+100K')
        figures.append((m.counters, m.processes(), m.kernel.frames.used[FrameKind.CACHE]))
    assert figures[0] == figures[1]


def test_mappings_of_a_writable_directory_follow_what_is_written(machine: MakeMachine, top: Path) -> None:
    m = machine(binds=[Bind(str(top), "/mnt", writable=True)])
    printed = m.calls(
        '@f = open "/mnt/f" O_RDWR; @p = mmap 0 160K PROT_READ MAP_PRIVATE f 0; load p+8K; @pwrite f "abcdefgh" 8 8192;'
        "load p+8K; mmap 0 4K RW MAP_SHARED f 0; @ftruncate f 8K; load p+4K; load p+8K; @ftruncate f 12K; load p+8K;"
        '@pwrite f "hgfedcba" 8 12288; @q = mmap 0 16K PROT_READ MAP_PRIVATE f 0; load q+12K'
    )
    assert printed == [
        "load = 0x202020202020202", "load = 0x6867666564636261", "mmap = ENODEV", "load = 0x101010101010101",
        "load = BUS_ADRERR", "load = 0", "load = 0x6162636465666768",
    ]  # fmt: skip
    assert (top / "f").read_bytes()[12288:] == b"hgfedcba"
