"""Pages are moved so that free frames adjoin (mm/compaction.c): what they hold, and who maps them, stays."""

from __future__ import annotations

import random
from itertools import count

import pytest

from emu.audit import audit
from emu.kernel.sched import StopReason
from emu.kernel.task import Task
from emu.mm.pagetable import ADDRESS
from emu.mm.swapops import slot_of
from emu.testing import GuestMachine
from tests.booted import MIB, UNIT, Booted, MakeMachine
from tests.mm.random_memory import run, script

PLACE, SIZE = 2 << 40, 10 * MIB
#: Every second page of 10 MiB is free again.
HOLES = (
    "@p = mmap 2T 10M RW {kind}|MAP_FIXED -1 0; @touch p 10M\n@n = say p\nrepeat 1280\n@madvise n 4K {advice}\n"
    "@n = say n+8K\nend\n"
)
HUGE = "@h = mmap 4T 2M RW PRIVATE|MAP_FIXED -1 0; @madvise h 2M 14;"
PRIVATE = HOLES.format(kind="PRIVATE", advice=4)
HUGE_KB = "field /proc/meminfo AnonHugePages:"


def ready(booted: Booted, script: str) -> Task:
    task = booted.guest("calls", script + "@pause")
    assert booted.run(timeout_s=60) == StopReason.IDLE
    return task


def events(booted: Booted) -> dict[str, int]:
    text = booted.kernel.vfs.read_file("/proc/vmstat").decode()
    figures = {name: int(number) for name, number in (line.split() for line in text.splitlines())}
    names = ("compact_stall", "compact_success", "compact_fail", "pgmigrate_success", "compact_isolated")
    return {name: figures[name] for name in names}


def huge_frames(task: Task, place: int) -> bool:
    slot = task.mm.tables.entry_slot(place, 2)
    assert slot is not None
    return bool(task.mm.frames.ram.qwords[slot] & 0x80)


def no_block_is_free(booted: Booted) -> None:
    frames = booted.kernel.frames
    assert frames._end - frames._next < 512 and not frames._spare and not frames._worn


def test_a_fault_that_wants_a_huge_page_gets_one(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    parent = booted.guest(
        "calls", PRIVATE + f"mark 1\n{HUGE} @store h 7; mark 2; load h; load p+4K; load p+{SIZE - 4096}"
    )
    booted.run_until_mark(parent, 1)
    no_block_is_free(booted)
    before = events(booted)
    booted.run_until_mark(parent, 2)
    assert huge_frames(parent, 4 << 40)
    after = events(booted)
    assert (after["compact_stall"], after["compact_success"], after["compact_fail"]) == (1, 1, 0)
    moved = after["pgmigrate_success"] - before["pgmigrate_success"]
    assert 0 < moved <= 257 and after["compact_isolated"] == 2 * moved
    assert audit(booted.kernel) == []
    booted.finish()
    assert [line for line in booted.stdout.splitlines() if "load" in line] == ["load = 7", "load = 1", "load = 1"]


@pytest.mark.parametrize(("defrag", "advice", "expected"), [
    ("always", 0, True), ("defer", 14, False), ("madvise", 14, True), ("defer+madvise", 14, True), ("never", 14, False),
])  # fmt: skip
def test_a_setting_says_who_waits_for_that(machine: MakeMachine, defrag: str, advice: int, expected: bool) -> None:
    booted = machine(12 * MIB)
    thp = booted.kernel.mm_context.thp
    huge = HUGE if advice else HUGE.partition(";")[0] + ";"
    task = booted.guest("calls", PRIVATE + f"mark 1\n{huge} mark 2; @store h 7; mark 3; @pause")
    booted.run_until_mark(task, 1)
    no_block_is_free(booted)
    if not advice:
        booted.kernel.vfs.write_file("/sys/kernel/mm/transparent_hugepage/enabled", b"always")
    booted.run_until_mark(task, 2)
    thp.defrag = defrag
    booted.run_until_mark(task, 3)
    assert huge_frames(task, 4 << 40) is expected
    assert bool(events(booted)["compact_stall"]) is expected


@pytest.mark.parametrize("kind", ["PRIVATE", "MAP_SHARED|MAP_ANONYMOUS"])
def test_all_of_memory_is_compacted(machine: MakeMachine, kind: str) -> None:
    """Each page is found again by all who map it, with its rights and what has been stored in it."""
    booted = machine(16 * MIB)
    advice = 4 if kind == "PRIVATE" else 9
    stores = "; ".join(f"@store p+{4096 * n} {n}" for n in range(1, 2560, 97))
    task = ready(booted, HOLES.format(kind=kind, advice=advice) + f"{stores}; @fork c; @pause; end;")
    frames = booted.kernel.frames
    pages = range(1, 2560, 2)
    before = {page: (task.mm.read(PLACE + 4096 * page, 8), task.mm.tables.pte(PLACE + 4096 * page)) for page in pages}
    booted.kernel.vfs.write_file("/proc/sys/vm/compact_memory", b"1")
    assert audit(booted.kernel) == []
    moved = 0
    for page, (content, entry) in before.items():
        now = task.mm.tables.pte(PLACE + 4096 * page)
        assert (now & ~ADDRESS) | 0x20 == (entry & ~ADDRESS) | 0x20
        assert task.mm.read(PLACE + 4096 * page, 8) == content
        moved += now & ADDRESS != entry & ADDRESS
        for child in booted.children_of(task):
            assert child.mm.read(PLACE + 4096 * page, 8) == content
    assert moved > 400
    assert events(booted)["pgmigrate_success"] >= moved and events(booted)["compact_stall"] == 0
    heads = frames._freed.take_blocks()
    assert len(heads) >= 1
    frames._worn += heads


def test_programs_run_on_while_their_pages_move(machine: MakeMachine) -> None:
    """Memory is compacted again and again at random moments of a program that checks what it has stored, by itself."""
    booted = machine(12 * MIB, cpus=2)
    chance = random.Random(3)
    lines = [PRIVATE.replace("10M", "6M").replace("1280", "700"), "@fork c"]
    places = [PLACE + 4096 * (2 * chance.randrange(700) + 1) for _ in range(30)]
    for number, place in enumerate(places):
        lines += [
            f"@store {place} {number + 1}",
            'g = open "/proc/sys/vm/compact_memory" 1',
            '@write g "1" 1',
            "@close g",
        ]
        lines += [f"load {place}"]
    lines += ["@end" if False else "end", "@wait c"]
    output = booted.outcome("calls", "\n".join(lines)).stdout
    loads = [int(line.split(" = ")[1]) for line in output.splitlines() if line.startswith("load")]
    assert loads == list(range(1, 31))
    assert events(booted)["pgmigrate_success"] > 100


def test_what_something_else_holds_stays(machine: MakeMachine) -> None:
    booted = machine(16 * MIB)
    task = ready(booted, PRIVATE)
    frames = booted.kernel.frames
    held = [(task.mm.tables.pte(PLACE + 4096 * page) & ADDRESS) >> 12 for page in range(1, 200, 2)]
    for frame in held:
        frames.get(frame)
    booted.kernel.compaction.whole()
    assert [(task.mm.tables.pte(PLACE + 4096 * page) & ADDRESS) >> 12 for page in range(1, 200, 2)] == held
    for frame in held:
        frames.put(frame)


def test_huge_pages_of_the_pool(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    ready(booted, PRIVATE)
    no_block_is_free(booted)
    booted.kernel.huge_pages.resize(1)
    assert booted.kernel.huge_pages.total == 1
    assert audit(booted.kernel) == []


def test_madvise_collapse(machine: MakeMachine) -> None:
    booted = machine(12 * MIB)
    script = PRIVATE + "@h = mmap 4T 2M RW PRIVATE|MAP_FIXED -1 0; @touch h 8K; mark 1; madvise h 2M 25; mark 2; @pause"
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    no_block_is_free(booted)
    booted.run_until_mark(task, 2)
    assert "madvise = 0" in booted.stdout and huge_frames(task, 4 << 40)
    assert task.mm.read(4 << 40, 1) == b"\1"
    assert audit(booted.kernel) == []


def test_pages_stay_charged_to_their_group(machine: MakeMachine) -> None:
    from tests.cgroup.groups import make, number, quietly

    booted = machine(16 * MIB)
    make(booted, "a", controllers="+memory")
    ready(booted, quietly("a/cgroup.procs", "0") + ";" + PRIVATE)
    before = number(booted, "a/memory.stat", "anon")
    booted.kernel.compaction.whole()
    assert number(booted, "a/memory.stat", "anon") == before
    assert audit(booted.kernel) == []


@pytest.mark.parametrize("text", [b"0", b"2", b"x", b""])
def test_only_a_one_is_taken(machine: MakeMachine, text: bytes) -> None:
    booted = machine()
    lines = booted.calls(f'@f = open "/proc/sys/vm/compact_memory" 1; write f "{text.decode()}" {len(text)}')
    assert lines == ["write = EINVAL" if text else "write = 0"]
    assert events(booted)["pgmigrate_success"] == 0


@pytest.mark.parametrize(
    "options", [{}, {"cached": True}, {"cpus": 3, "tlb": "skylake-sp", "check_tlb": True}, {"la57": True}]
)
def test_random_programs_whose_pages_move_all_the_time(options: dict[str, object]) -> None:
    """Memory is compacted at every third call, beside swap: the programs find what they have stored."""
    program = script(7)
    plain, machine = run(program, 64 * MIB)
    assert machine.close() == []
    options = dict(options)
    cached = options.pop("cached", False)
    moving = GuestMachine(4 * MIB, modules={}, record=False, swap=16 * MIB, **options)  # type: ignore[arg-type]
    if cached:  # pages stay in the swap cache
        assert moving.kernel.swap_device is not None
        moving.kernel.swap_device.synchronous = False
    context, calls = moving.kernel.mm_context, count(1)
    balance = context.balance

    def compact_too() -> None:
        balance()
        if next(calls) % 3 == 0:
            moving.kernel.compaction.whole()

    context.balance = compact_too
    result = moving.run_guest("calls", program)
    assert "\n".join(line for line in result.stdout.splitlines() if not line.startswith("c")) == plain
    assert moving.kernel.frames.events["pgmigrate_success"] > 300
    assert "tlb" not in options or moving.stale_translations() == []
    assert moving.close() == []


@pytest.mark.parametrize("level", UNIT)
def test_pages_of_a_region_move_for_all_who_share_it(machine: MakeMachine, level: str) -> None:
    booted = machine(16 * MIB, level=level)
    unit = UNIT[level]
    region = (
        f'@u = say {unit}; @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd u;'
        "@create fd 0 2M RW OBJECT;"
        "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @touch w 1M; @store w+4K 5;"
        "@x = mmap 3T 2M RW PRIVATE|MAP_FIXED -1 0;"
        "@touch x 2M; @munmap x 1M; @fork c; @load w; @pause; end;"
    )
    task = ready(booted, region)
    (child,) = booted.children_of(task)
    before = (task.mm.tables.pte((2 << 40) + 4096) & ADDRESS) >> 12
    pages = [task.mm.tables.pte((2 << 40) + 4096 * page) & ADDRESS for page in range(256)]
    booted.kernel.compaction.whole()
    moved = [task.mm.tables.pte((2 << 40) + 4096 * page) & ADDRESS for page in range(256)]
    assert before and moved != pages and len(booted.regions) == 1
    for mm in (task.mm, child.mm):
        assert mm.read_u64((2 << 40) + 4096) == 5
        assert [mm.tables.pte((2 << 40) + 4096 * page) & ADDRESS for page in range(256)] == moved
    assert audit(booted.kernel) == []


def test_a_machine_without_memory_for_it_leaves_everything(machine: MakeMachine) -> None:
    """Where nothing is free no page moves, and a huge page is not made."""
    booted = machine(12 * MIB)
    task = booted.guest("calls", PRIVATE + f"mark 1\n{HUGE} mark 2; @store h 7; mark 3; @pause")
    booted.run_until_mark(task, 2)
    booted.take_frames(8)
    booted.run_until_mark(task, 3)
    assert not huge_frames(task, 4 << 40) and task.mm.read(4 << 40, 1) == b"\7"
    assert events(booted)["compact_fail"] == 1 and events(booted)["pgmigrate_success"] == 0
    booted.give_back_frames()


def test_pages_of_the_swap_cache_move(machine: MakeMachine) -> None:
    booted = machine(16 * MIB, swap=4 * MIB)
    assert booted.kernel.swap_device is not None
    booted.kernel.swap_device.synchronous = False
    task = ready(booted, PRIVATE + "@madvise p 128K 21; @load p+4K;")
    swap, tables = booted.kernel.mm_context.swap, task.mm.tables
    slots = [slot_of(tables.pte(PLACE + 4096 * page)) for page in range(3, 32, 2)]
    before = [swap.find(slot) for slot in slots]
    assert all(before)
    booted.kernel.compaction.whole()
    after = [swap.find(slot) for slot in slots]
    assert all(after) and not set(after) & set(before)
    assert audit(booted.kernel) == []
    assert all(task.mm.read(PLACE + 4096 * page, 1) == b"\1" for page in range(1, 32, 2))
    assert audit(booted.kernel) == []
