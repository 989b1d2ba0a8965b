"""PMD tables shared between mappings of the same huge pages, unasked (the module ``hugetlb_pmd``)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import msharefs.module
import sharing.hugetlb_pmd
from emu.kernel.task import Task
from emu.mm.pagetable import ADDRESS
from sharing.hugetlb_pmd import HugetlbPmd
from tests.booted import Booted, MakeMachine, Recorder, machine

__all__ = ["machine"]  # not the plugin's

POOL = 8
TIB = 1 << 40
MODULES = {"hugetlb_pmd": sharing.hugetlb_pmd.init, "msharefs": msharefs.module.init}
#: A file of 2 GiB whose pages nobody is promised, so that a few are enough.
FILE = '@m = memfd_create "m" 4; @ftruncate m 2G; @s = mmap 0 4K RW ANON -1 0; @store s 0'
MAP = "RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE m"

Start = Callable[..., Booted]


@pytest.fixture
def start(machine: MakeMachine) -> Start:
    """A machine with the module, in which a script runs until everybody pauses; its first lines make the file."""

    def run(script: str, **options: object) -> Booted:
        booted = machine(**{"modules": MODULES, "hugepages": POOL, **options})
        booted.guest("calls", f"{FILE}\n{script}\n@pause")
        booted.run(timeout_s=20)
        assert booted.stderr == "" and booted.audit() == []
        return booted

    return run


def module(booted: Booted) -> HugetlbPmd:
    (sharer,) = booted.kernel.mm_context.table_sharers
    assert isinstance(sharer, HugetlbPmd)
    return sharer


def pmd_table(task: Task, address: int) -> int | None:
    """The frame of the PMD table that translates the address for a process."""
    slot = task.mm.tables.entry_slot(address, 2)
    return None if slot is None else slot >> 9


def page(task: Task, address: int) -> int:
    """The physical address behind an address, 0 if nothing is mapped."""
    return task.mm.tables.pte(address) & ADDRESS


def sharers(n: int) -> str:
    """n processes map one GiB of the file, each at a different aligned GiB, and write a page and read one.
    Marks: 10k before process k does it, 10k + 1 after it.
    """
    warm = "@touch p 64K; @load p; @store p 1; @mark 999"
    work = f"1G {MAP} 0; @store w 1; @load w+1023M"
    lines = [
        f"@fork c; @await s {k}; {warm}; @mark {10 * k}; @w = mmap {2 + k}T {work}; @mark {10 * k + 1};"
        f"@store s {k + 1}; @pause; end"
        for k in range(1, n)
    ]
    first = f"{warm}; @mark 0; @w = mmap 2T {work}; @mark 1; @store s 1; @await s {n}"
    return "\n".join(["@p = mmap 0 64K RW PRIVATE -1 0", *lines, first])


@pytest.mark.parametrize("la57", [False, True], ids=["4-levels", "5-levels"])
def test_n_processes_have_one_pmd_table(start: Start, la57: bool) -> None:
    n = 5
    booted = start(sharers(n), la57=la57)
    tasks = booted.tasks
    assert len({pmd_table(task, (2 + k) * TIB) for k, task in enumerate(tasks)}) == 1
    assert len({page(task, (2 + k) * TIB) for k, task in enumerate(tasks)}) == 1
    assert len({page(task, (2 + k) * TIB + 1023 * (1 << 20)) for k, task in enumerate(tasks)}) == 1
    (table,) = module(booted).tables()
    assert table.owner.mm is tasks[0].mm and len(table.links) == n - 1
    assert booted.kernel.share_counts[table.frame] == n - 1
    text = booted.kernel.vfs.read_file("/sys/kernel/debug/hugetlb_pmd").decode()
    assert text.splitlines()[:3] == [
        f"table {table.frame << 12:#x} sharers {n}",
        f"  owner {tasks[0].pid} {2 * TIB:#x}",
        f"  link {tasks[1].pid} {3 * TIB:#x}",
    ]


@pytest.mark.parametrize("shared", [False, True], ids=["without the module", "with it"])
def test_bytes_of_page_tables(machine: MakeMachine, shared: bool) -> None:
    """A PUD page each; the PMD page each without the module, once with it.  The faults go too."""
    n = 5
    booted = machine(hugepages=POOL, **({"modules": MODULES} if shared else {}))
    recorder = Recorder(booted)
    booted.guest("calls", f"{FILE}\n{sharers(n)}\n@pause")
    booted.run(timeout_s=20)
    marks = recorder.marks
    assert marks[1].vm_pte_kb - marks[0].vm_pte_kb == 8
    for k in range(1, n):
        before, after = marks[10 * k], marks[10 * k + 1]
        assert after.vm_pte_kb - before.vm_pte_kb == (4 if shared else 8)
        assert after.tables_kb - before.tables_kb == (4 if shared else 8)
        # what is there already costs one link, instead of a fault a page
        assert after.since(before) == ((1, 0, 1) if shared else (2, 2, 0))
    assert booted.audit() == []


def test_what_one_faults_in_is_there_for_all(start: Start) -> None:
    booted = start(f"""
        @fork c; @v = mmap 5T 1G {MAP} 0; @load v; @store s 1; @await s 2; @mark 1; load v+4M; @mark 2; end
        @w = mmap 2T 1G {MAP} 0; @load w; @await s 1; @store w+4M 7; @store s 2; @wait c""")
    assert booted.stdout == "load = 7\n"


#: Mappings of the second process that do not fit the first one's, which is 1 GiB of the file from 0 at 2 TiB.
APART = {
    "an address that is not aligned to 1 GiB": "v = mmap 5T+2M 1G RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE m 0",
    "an offset that is not congruent": "v = mmap 5T 1G RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE m 2M",
    "not the whole GiB": "v = mmap 5T 1022M RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE m 0",
    "other rights": "v = mmap 5T 1G PROT_READ MAP_SHARED|MAP_FIXED|MAP_NORESERVE m 0",
    "a private mapping": "v = mmap 5T 1G RW MAP_PRIVATE|MAP_FIXED|MAP_NORESERVE m 0",
    "another GiB of the file": "v = mmap 5T 1G RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE m 1G",
    "another file": "n = memfd_create n 4; v = mmap 5T 1G RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE n 0",
}


@pytest.mark.parametrize("name", APART)
def test_not_shared(start: Start, name: str) -> None:
    statements = "; ".join(f"@{part.strip()}" for part in APART[name].replace(" n 4", ' "n" 4').split(";"))
    parent = f"@w = mmap 2T 1G {MAP} 0; @load w; @store s 1"
    booted = start(f"@fork c; @await s 1; {statements}; @load v; @pause; end; {parent}")
    first, second = booted.tasks
    assert module(booted).tables() == []
    at = 5 * TIB + (2 << 20) if "aligned" in name else 5 * TIB
    assert page(first, 2 * TIB) and page(second, at) and pmd_table(first, 2 * TIB) != pmd_table(second, at)


def test_a_larger_mapping_shares_each_gib_that_it_covers(start: Start) -> None:
    """2 GiB from an address that is not aligned: only the GiB in the middle is whole, and it shows another offset."""
    booted = start(f"""
        @fork c; @await s 1; @v = mmap 5T 2G {MAP} 0; @load v; @load v+1G; @pause; end
        @w = mmap 2T 2G {MAP} 0; @load w; @load w+1G; @store s 1""")
    assert len(module(booted).tables()) == 2
    booted = start(f"""
        @fork c; @await s 1; @v = mmap 6T-512M 2G {MAP} 0; @load v; @load v+512M; @load v+1536M; @pause; end
        @w = mmap 2T 2G {MAP} 0; @load w; @load w+512M; @load w+1G; @load w+1536M; @store s 1""")
    assert module(booted).tables() == []


def test_two_mappings_of_one_process(start: Start) -> None:
    booted = start(f"@w = mmap 2T 1G {MAP} 0; @store w 5; @v = mmap 5T 1G {MAP} 0; load v; munmap w 1G; load v; load w")
    assert booted.stdout == "load = 5\nmunmap = 0\nload = 5\nload = SEGV_MAPERR\n"
    assert module(booted).tables() == []


#: What a process does to its own mapping of what three processes share, and what it sees then.
LETTING_GO = {
    "munmap": ("munmap w 1G; load w", "0 SEGV_MAPERR"),
    "munmap of a page": ("munmap w 2M; load w; load w+4M", "0 SEGV_MAPERR 3"),
    "mprotect": ("mprotect w 1G PROT_READ; store w 9; load w; load w+4M", "0 SEGV_ACCERR 1 3"),
    "mprotect of a page": ("mprotect w 2M PROT_NONE; load w; load w+4M; store w+4M 3", "0 SEGV_ACCERR 3 0"),
    "mremap": ("mremap w 1G 1G 3 9T; load w; load 9T", "0x90000000000 SEGV_MAPERR 1"),
    "a mapping over it": ("mmap w 4M RW PRIVATE|MAP_FIXED -1 0; load w; load w+4M", "ADDRESS 0 3"),
    "DONTNEED": ("madvise w 4M 4; load w; load w+4M", "0 1 3"),
    "a mapping over it all": ("mmap w 1G RW PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0; load w", "ADDRESS 0"),
}


@pytest.mark.parametrize("who", [0, 1, 2], ids=["the owner", "the second", "the last"])
@pytest.mark.parametrize("name", LETTING_GO)
def test_letting_go_leaves_the_others(start: Start, name: str, who: int) -> None:
    deed, expected = LETTING_GO[name]
    loud = f"@await s 3; {deed}; @store s 4"
    scripts = [
        f"@await s {k}; @w = mmap {2 + k}T 1G {MAP} 0; @store w 1; @store w+4M 3; @store s {k + 1};"
        f"{loud if k == who else '@await s 4; @load w; @load w+4M'}"
        for k in range(3)
    ]
    booted = start(f"@fork c; {scripts[1]}; @pause; end; @fork c; {scripts[2]}; @pause; end; {scripts[0]}")
    results = [line.split(" = ")[1] for line in booted.stdout.splitlines()]
    wanted = [hex((2 + who) * TIB) if word == "ADDRESS" else word for word in expected.split()]
    assert results == wanted
    tasks = booted.tasks
    others = [(task, (2 + k) * TIB) for k, task in enumerate(tasks) if k != who]
    assert len({pmd_table(task, at) for task, at in others}) == 1 and len({page(task, at) for task, at in others}) == 1
    assert page(others[0][0], others[0][1])
    (table,) = module(booted).tables()
    again = name in ("DONTNEED", "mremap")  # whose next fault shares it again
    assert {table.owner.mm, *(link.mm for link in table.links.values())} == {
        task.mm for k, task in enumerate(tasks) if again or k != who
    }


def test_exit_of_the_owner(start: Start) -> None:
    booted = start(f"""
        @fork c; @w = mmap 2T 1G {MAP} 0; @store w 5; @store s 1; @await s 3; end
        @fork d; @await s 1; @v = mmap 5T 1G {MAP} 0; @load v; @store s 2; @pause; end
        @await s 2; @x = mmap 7T 1G {MAP} 0; @load x; @store s 3; wait c; load x; @store x+2M 6""")
    assert booted.stdout == "wait = 0\nload = 5\n"
    first, second = booted.tasks
    assert pmd_table(first, 7 * TIB) == pmd_table(second, 5 * TIB) and page(second, 5 * TIB + (2 << 20))
    (table,) = module(booted).tables()
    assert table.owner.mm is second.mm and first.mm.tables.tables[2] + second.mm.tables.tables[2] == 1 + 2 * 2


def test_truncation_and_holes_reach_everybody(start: Start) -> None:
    booted = start(f"""
        @fork c; @await s 1; @v = mmap 5T 1G {MAP} 0; @load v; @store s 2
        @await s 3; load v; load v+2M; load v+512M; @store s 4; @await s 5; load v; load v+512M; @store s 6; @pause; end
        @w = mmap 2T 1G {MAP} 0; @store w 1; @store w+2M 2; @store w+512M 3; @store s 1; @await s 2
        fallocate m 3 0 2M; @store s 3; @await s 4; ftruncate m 512M; @store s 5; @await s 6; load w+2M; load w+512M""")
    assert booted.stdout.splitlines() == [
        "fallocate = 0", "load = 0", "load = 2", "load = 3", "ftruncate = 0", "load = 0", "load = BUS_ADRERR",
        "load = 2", "load = BUS_ADRERR",
    ]  # fmt: skip
    assert len(module(booted).tables()) == 1


def test_fork_shares_with_the_parent(start: Start) -> None:
    booted = start(f"@w = mmap 2T 1G {MAP} 0; @store w 5; @fork c; load w; @store w 6; @pause; end; @await w 6")
    parent, child = booted.tasks
    assert booted.stdout == "load = 5\n" and pmd_table(parent, 2 * TIB) == pmd_table(child, 2 * TIB)


def test_a_region_is_left_alone(start: Start) -> None:
    """A region's tables are shared by its own rules, also where it shows the same file."""
    booted = start(f"""
        @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 1G
        create fd 0 1G RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE m; @w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @store w 4
        @v = mmap 5T 1G {MAP} 0; load v""")
    assert booted.stdout == "create = 0\nload = 4\n"
    (task,) = booted.tasks
    assert module(booted).tables() == [] and pmd_table(task, 2 * TIB) != pmd_table(task, 5 * TIB)


def test_links_are_told(start: Start, machine: MakeMachine) -> None:
    booted = machine(modules=MODULES, hugepages=POOL)
    recorder = Recorder(booted)
    booted.guest("calls", f"{FILE}\n@w = mmap 2T 1G {MAP} 0; @load w; @v = mmap 5T 1G {MAP} 0; @load v; @munmap w 1G")
    booted.finish()
    told = [(e["kind"], e["region"], hex(e["vaddr"]), e["sharers"]) for e in recorder.events]
    assert told == [("link", "/memfd:m (deleted)", hex(5 * TIB), 2), ("unlink", "/memfd:m (deleted)", hex(2 * TIB), 1)]


def test_the_audit_finds_a_link_that_is_gone(start: Start) -> None:
    booted = start(f"@w = mmap 2T 1G {MAP} 0; @load w; @v = mmap 5T 1G {MAP} 0; @load v")
    (task,) = booted.tasks
    slot = task.mm.tables.entry_slot(5 * TIB, 3)
    assert slot is not None
    entry, booted.ram.qwords[slot] = booted.ram.qwords[slot], 0
    found = booted.audit()
    booted.ram.qwords[slot] = entry
    frame = (entry & ADDRESS) >> 12
    assert f"table {frame << 12:#x} is linked 0 times and its share count is 1" in found
    assert any("the PUD entry of 0x50000000000 is 0x0" in finding for finding in found)


@pytest.mark.parametrize("deed", ["munmap w 1G", "mprotect w 1G PROT_NONE", "madvise w 1G 4"])
def test_no_vcpu_keeps_what_was_shared(machine: MakeMachine, deed: str) -> None:
    """On two vCPUs with modelled TLBs: after the owner let go, neither TLB knows more than the tables."""
    booted = machine(modules=MODULES, hugepages=POOL, cpus=2, tlb="skylake-sp", check_tlb=True)
    booted.guest(
        "calls",
        f"{FILE}\n@fork c; @await s 1; @v = mmap 5T 1G {MAP} 0; @load v; @store v+2M 2; @store s 2; @await s 3;"
        f"@load v; load v+2M; end; @w = mmap 2T 1G {MAP} 0; @store w 1; @store s 1; @await s 2; @load w+2M;"
        f"{deed}; @load w; @store s 3; @wait c",
    )
    booted.finish()
    assert sorted(booted.stdout.splitlines()) == ["load = 2", f"{deed.split()[0]} = 0"]
    assert booted.stale_translations() == []


def test_mshare_takes_no_table_over_that_others_use(machine: MakeMachine) -> None:
    booted = machine(modules=MODULES, hugepages=POOL)
    printed = booted.calls(
        f"{FILE}\n@p = mmap 4T 1G {MAP} 0; @store p 5; @fork c; load p; store p+2M 6; @store s 1; @await s 2; load p;"
        'end; @await s 1; mshare "r" p 1G O_RDWR|O_CREAT 0600; store p 9; @store s 2; @wait c; load p+2M; load p'
    )
    assert printed == ["load = 5", "store = 0", "mshare = 0", "store = 0", "load = 9", "load = 6", "load = 9"]
