"""Pages of a region lie in swap once, and come back for all who share it (mshare-observed.md 7, mshare.md 4)."""

from __future__ import annotations

import pytest

from tests.booted import MIB, UNIT, MakeMachine

OPEN = '@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd {unit}; @create fd 0 {size} RW OBJECT;'
MAP = "@w = mmap 8T {unit} RW MAP_SHARED|MAP_FIXED fd 0;"


def _script(level: str, size: str, text: str) -> str:
    return (OPEN + MAP + text).format(unit=max(UNIT[level], 8 * MIB), size=size)


@pytest.mark.parametrize("level", UNIT)
def test_pages_that_the_window_is_advised_of(machine: MakeMachine, level: str) -> None:
    """memory.swap of the posted selftests: of 2 MiB that were written more than nine tenths go to swap."""
    booted = machine(level=level, swap=16 * MIB)
    lines = booted.calls(
        _script(
            level,
            "2M",
            "@touch w 2M; store w 5; madvise w 2M 21; fork c; load w; store w+4K 9; load w+1M; end; @wait c;"
            "load w+4K; load w; load w+2M-4K",
        )
    )
    assert [line for line in lines if not line.startswith("c")] == [
        "store = 0", "madvise = 0", "load = 5", "store = 0", "load = 1", "load = 9", "load = 5", "load = 1",
    ]  # fmt: skip
    events = booted.kernel.mm_context.swap.events
    assert events["pswpout"] == 512 and events["pswpin"] == 4


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("swap", [0, 16 * MIB])
def test_what_a_debugger_writes_into_a_page_that_was_only_read(machine: MakeMachine, level: str, swap: int) -> None:
    booted = machine(level=level, swap=swap)
    text = (
        '@m = open "/proc/self/mem" O_RDWR 0; @x = mmap 0 4K RW PRIVATE|MAP_ANONYMOUS -1 0; @store x 7; load w;'
        "@lseek m w 0; write m x 1; madvise w 2M 21; load w"
    )
    assert booted.calls(_script(level, "2M", text)) == ["load = 0", "write = 1", "madvise = 0", "load = 7"]


@pytest.mark.parametrize("level", UNIT)
def test_a_region_that_does_not_fit(machine: MakeMachine, level: str) -> None:
    """As there 60 MiB of 64, here 6 of 8: a consumer reads what was written, and then the creator."""
    booted = machine(6 * MIB, level=level, swap=32 * MIB)
    lines = booted.calls(
        _script(
            level,
            "8M",
            "@touch w 8M; @store w 7; @store w+7M 8; @madvise w 8M 21;"
            "@fork c; load w; load w+7M; load w+3M; end; @wait c; load w; load w+7M; load w+3M",
        )
    )
    assert lines == ["load = 7", "load = 8", "load = 1"] * 2
    assert booted.kernel.mm_context.swap.events["pswpout"] >= 2048


def test_the_second_process_takes_no_fault(machine: MakeMachine) -> None:
    booted = machine(level="pmd", swap=16 * MIB)
    script = _script("pmd", "2M", "@touch w 2M; @madvise w 2M 21; @fork c; @touch w 2M; end; @wait c; @scan w 2M")
    result = booted.run_guest("calls", script)
    assert result.status == 0, result
    assert result.counts.major_faults == 512
    assert result.counts.minor_faults < 560


def test_the_process_accounts_for_nothing(machine: MakeMachine) -> None:
    booted = machine(level="pmd", swap=16 * MIB)
    task = booted.guest("calls", _script("pmd", "2M", "@touch w 2M; @madvise w 2M 21; @pause"))
    booted.run()
    assert (task.mm.rss_swap, booted.regions[0].host.rss_swap) == (0, 0)
    assert booted.regions[0].resident_bytes == 0
