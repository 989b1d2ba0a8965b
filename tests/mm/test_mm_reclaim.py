"""Programs that need more memory than the machine has, and swap: they run to their end, with what they have stored."""

from __future__ import annotations

from pathlib import Path

import pytest

import guests
from emu.mm.pagetable import P
from emu.testing import GuestMachine
from tests.exhaustive import by_default
from tests.mm.random_memory import run, script

_MIB = 1 << 20


@pytest.mark.parametrize("seed", range(by_default(2, 6)))
def test_random_programs_in_too_little_memory(seed: int) -> None:
    plain, machine = run(script(seed), 64 * _MIB)
    assert machine.close() == []
    swapped, machine = run(script(seed), 3 * _MIB, swap=16 * _MIB)
    assert swapped == plain
    assert machine.kernel.mm_context.swap.events["pswpin"] > 100
    assert machine.close() == []


def test_the_same_in_the_swap_cache() -> None:
    plain, machine = run(script(1), 64 * _MIB)
    assert machine.close() == []
    machine = GuestMachine(3 * _MIB, modules={}, record=False, swap=16 * _MIB)
    assert machine.kernel.swap_device is not None
    machine.kernel.swap_device.synchronous = False
    result = machine.run_guest("calls", script(1))
    assert "\n".join(line for line in result.stdout.splitlines() if not line.startswith("c")) == plain
    assert machine.kernel.mm_context.swap.events["swap_ra"] > 10
    assert machine.close() == []


def test_several_processes_of_the_size_of_the_machine() -> None:
    """Each has as much as there is, and finds it again when all have written theirs."""
    script = "; ".join(
        f"fork c{n}; @p = mmap 2T 6M RW PRIVATE|MAP_FIXED -1 0; @touch p 6M; @store p {n + 10}; @store p+5M {n + 20};"
        f"@sched_yield; @touch p+1M 3M; load p; load p+5M; load p+2M; end"
        for n in range(3)
    )
    machine = GuestMachine(6 * _MIB, modules={}, record=False, swap=64 * _MIB)
    result = machine.run_guest("calls", f"{script}; @wait c0; @wait c1; @wait c2")
    lines = [line for line in result.stdout.splitlines() if line.startswith("load")]
    assert sorted(lines) == sorted(f"load = {v}" for n in range(3) for v in (n + 10, n + 20, 1))
    assert machine.close() == []


def test_a_memfd_that_is_larger_than_memory() -> None:
    script = (
        '@f = memfd_create "f" 0; @ftruncate f 8M; @p = mmap 2T 8M RW MAP_SHARED|MAP_FIXED f 0; @touch p 8M;'
        "@store p 7; @store p+7M 8; load p; load p+4M; load p+7M; @munmap p 8M;"
        "@q = mmap 2T 8M RW MAP_SHARED|MAP_FIXED f 0; load q+7M; load q+3M"
    )
    machine = GuestMachine(4 * _MIB, modules={}, record=False, swap=64 * _MIB)
    assert machine.run_guest("calls", script).stdout.split() == [
        "load",
        "=",
        "7",
        "load",
        "=",
        "1",
        "load",
        "=",
        "8",
        "load",
        "=",
        "8",
        "load",
        "=",
        "1",
    ]
    assert machine.close() == []


def test_locked_pages_stay() -> None:
    script = (
        "@p = mmap 2T 2M RW PRIVATE|MAP_FIXED -1 0; @touch p 2M; @mlock p 2M;"
        "@q = mmap 3T 8M RW PRIVATE|MAP_FIXED -1 0; @touch q 8M; @pause"
    )
    machine = GuestMachine(6 * _MIB, modules={}, record=False, swap=64 * _MIB)
    task = machine.spawn(guests.path("calls"), [script])
    machine.run(timeout_s=60)
    (vma,) = task.mm.vmas.overlapping(2 << 40, (2 << 40) + 1)
    assert task.mm.rss_swap > 512
    assert all(task.mm.tables.pte(at) & P for at in range(vma.start, vma.end, 4096))
    assert machine.close() == []


def test_memory_that_is_used_stays() -> None:
    """One page is read over and over while others are written once: it is never read from swap again."""
    script = "@p = mmap 2T 4K RW PRIVATE|MAP_FIXED -1 0; @store p 5; @q = mmap 3T 24M RW PRIVATE|MAP_FIXED -1 0;"
    script += "".join(f"@touch q+{n * 32}K 32K; @load p;" for n in range(768))
    machine = GuestMachine(6 * _MIB, modules={}, record=False, swap=64 * _MIB)
    assert machine.run_guest("calls", script + "load p").stdout == "load = 5\n"
    assert machine.kernel.mm_context.swap.events["pswpin"] < 40
    assert machine.close() == []


def test_pages_of_files_that_are_used_stay(tmp_path: Path) -> None:
    """A file of the host is read over and over while other memory is written once: it is hardly read again."""
    (tmp_path / "data").write_bytes(bytes(range(256)) * 8192)
    (tmp_path / "calls").write_bytes(Path(guests.path("calls")).read_bytes())
    (tmp_path / "calls").chmod(0o755)
    machine = GuestMachine(12 * _MIB, modules={}, record=False, swap=64 * _MIB, root=str(tmp_path))
    script = '@f = open "/data" 0; @d = mmap 4T 2M PROT_READ MAP_SHARED|MAP_FIXED f 0; @scan d 2M; minor;'
    script += "@p = mmap 2T 24M RW PRIVATE|MAP_FIXED -1 0;"
    script += "".join(f"@touch p+{n * 256}K 256K; @scan d 2M;" for n in range(96)) + "minor; load p; load p+20M"
    task = machine.spawn("/calls", [script], in_guest=True)
    result = machine.result_of(task)
    assert result.stdout.endswith("load = 1\nload = 1\n")
    faults = int(result.stdout.splitlines()[1].split(" = ")[1], 0)
    assert 6144 <= faults < 7000  # of the 6,144 pages that are written, and few of the file
    assert machine.kernel.mm_context.swap.events["pswpout"] > 3000
    assert machine.close() == []


def test_runs_are_the_same_each_time() -> None:
    def once() -> tuple[object, ...]:
        output, machine = run(script(3), 3 * _MIB, swap=16 * _MIB)
        kernel = machine.kernel
        told = output, dict(kernel.mm_context.swap.events), dict(kernel.reclaim.lru.events), kernel.clock.now_ns()
        machine.close()
        return told

    assert once() == once()


@pytest.mark.parametrize(
    "options",
    [{"cpus": 2}, {"la57": True}, {"tlb": "skylake-sp", "check_tlb": True, "cpus": 3}],
    ids=["2-vCPUs", "5-levels", "TLBs"],
)
def test_on_other_machines(options: dict[str, object]) -> None:
    """With a model of the TLB too no translation outlives the page that it led to."""
    plain, machine = run(script(0), 64 * _MIB)
    assert machine.close() == []
    swapped, machine = run(script(0), 4 * _MIB, swap=16 * _MIB, **options)
    assert swapped == plain
    assert machine.kernel.mm_context.swap.events["pswpin"] > 50
    assert "tlb" not in options or machine.stale_translations() == []
    assert machine.close() == []
