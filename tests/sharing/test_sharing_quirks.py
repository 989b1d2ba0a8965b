"""The postings' defects, each a switch: what a guest sees with it, and that the audit or the detector says so.

Without the switch the same script is clean.  None of them may break the emulator: the machine ends, and only the audit
complains.
"""

from __future__ import annotations

import pytest

from emu.machine import Mount
from msharefs.module import MOUNT_POINT
from msharefs.quirks import FOUND_BY, Quirk
from tests.booted import UNIT, Booted

REGION = '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0644; @ftruncate fd u; @create fd 0 1M RW OBJECT;'
WINDOW = REGION + "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
#: The script, what it prints without and with the quirk, and what the report must say with it.
CASES: dict[Quirk, tuple[str, str, str, str]] = {
    Quirk.STALE_MUNMAP: (
        WINDOW + "@touch w 1M; @load w; @store w+1020K 7; munmap w u; load w; load w+1020K",
        "0 SEGV_MAPERR SEGV_MAPERR",
        "0 SEGV_MAPERR 7",
        "reads 0x200000ff000 at",
    ),
    Quirk.MREMAP_WINDOW: (
        WINDOW + "@store w 5; @store w+4K 6; mremap w u u 3 8T; load w; load 8T; load 8T+4K; store 8T+8K 1; load 8T",
        "EINVAL 5 SEGV_MAPERR SEGV_MAPERR SEGV_MAPERR SEGV_MAPERR",
        "0x80000000000 SEGV_MAPERR 5 6 0 5",
        "leaked",
    ),
    Quirk.Y0_STALE_LINK: (
        WINDOW + "@store w 5; munmap w u; load w; store w 6; munmap w u; mmap w u RW MAP_SHARED|MAP_FIXED fd 0; load w;"
        "munmap w u; load w",
        "0 SEGV_MAPERR SEGV_MAPERR 0 0x20000000000 5 0 SEGV_MAPERR",
        "0 5 0 0 0x20000000000 6 0 6",
        "which host mm of r owns already",
    ),
    Quirk.UNINIT_VMFLAGS: (
        REGION
        + "@create fd 0 4K PROT_READ OBJECT; @create fd 4K 4K PROT_READ OBJECT; @create fd 8K 4K PROT_READ OBJECT;"
        "@create fd 12K 4K PROT_READ OBJECT; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
        "store w 1; store w+4K 1; store w+8K 1; store w+12K 1",
        "SEGV_ACCERR SEGV_ACCERR SEGV_ACCERR SEGV_ACCERR",
        "SEGV_ACCERR 0 0 SEGV_ACCERR",
        "the object at 0x1000 is rw",
    ),
    Quirk.A1_LEAKS: (
        "@p = mmap 2T 64K RW PRIVATE|MAP_FIXED -1 0; @touch p 64K; @store p 5;"
        'mshare "a" 2T u O_CREAT|O_RDWR 0600; load p; load p+4K',
        "0 5 1",
        "0 5 1",
        "leaked",
    ),
    Quirk.ZERO_PAGE_WRITE: (
        "@p = mmap 2T 64K RW PRIVATE|MAP_FIXED -1 0; @z = mmap 0 4K RW PRIVATE -1 0; @touch p 4K;"
        '@mshare "a" 2T u O_CREAT|O_RDWR 0600; load p+8K; store p+8K 7; load p+8K; load z; load p+12K',
        "0 0 7 0 0",
        "0 0 7 7 7",
        "the zero page, which backs every untouched page, is not zero",
    ),
    Quirk.THREAD_OWNER: (
        f"@thread t; {WINDOW} @store w 7; end; @join t; load w; mmap 8T u RW MAP_SHARED|MAP_FIXED fd 0; load w",
        "7 0x80000000000 7",
        "SEGV_MAPERR EINVAL SEGV_MAPERR",
        "",
    ),
    Quirk.FORKED_WINDOW: (
        '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0644; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @store w 7;'
        "@fork c; load w; store w+4K 8; end; @wait c; load w; load w+4K",
        "7 0 7 8",
        "BUS_ADRERR BUS_ADRERR 7 0",
        "",
    ),
}  # fmt: skip
#: The interface of a case that is not the third series'.
ABI = {Quirk.FORKED_WINDOW: "v2"}


def ran(case: Quirk, level: str, quirk: Quirk | None) -> tuple[str, Booted]:
    """What a case prints, and its machine after the end of the process that ran it (its region still has a name)."""
    script = CASES[case][0]
    options = f"level={level},abi={ABI.get(case, 'v3')}" + (f",quirk={quirk}" if quirk else "")
    watched = quirk is None or FOUND_BY[quirk] == "detector"
    tlb = "skylake-sp" if watched else "off"
    booted = Booted(mounts=[Mount("msharefs", MOUNT_POINT, options)], tlb=tlb, check_tlb=watched)
    # an end that keeps the tables until the audit has seen them
    lines = booted_calls(booted, f"@u = say {UNIT[level]};{script}")
    return " ".join(line.split(" = ", 1)[1] for line in lines), booted


def booted_calls(booted: Booted, script: str) -> list[str]:
    """Run a script to its last line, and leave the process asleep there."""
    booted.guest("calls", script + "; @pause")
    booted.run()
    assert booted.stderr == ""
    return booted.stdout.splitlines()


def findings(booted: Booted) -> list[str]:
    return booted.audit() + booted.kernel.flusher.stale_findings()


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("quirk", Quirk)
def test_without_the_switch_it_is_not_there(quirk: Quirk, level: str) -> None:
    _, clean, _, _ = CASES[quirk]
    printed, booted = ran(quirk, level, None)
    assert printed == clean
    assert findings(booted) == []
    assert booted.close() == []


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("quirk", Quirk)
def test_with_the_switch_it_is_there_and_found(quirk: Quirk, level: str) -> None:
    _, _, broken, finding = CASES[quirk]
    printed, booted = ran(quirk, level, quirk)
    assert printed == broken
    found = findings(booted)
    if FOUND_BY[quirk] == "program":
        assert found == []  # the books are right: only the program misses its region
    else:
        assert any(finding in line for line in found), found
    booted.close()  # complains of what is left, and raises nothing
    assert not booted.kernel.tasks


#: What may follow: other mappings in the range, fork, the end of the region before that of its sharers, execve.
ABUSE = {
    "memory over it": "munmap w u; p = mmap w 64K RW PRIVATE|MAP_FIXED -1 0; store p 1; load p; munmap p 64K; load p",
    "the moved window goes": "mremap w u u 3 8T; load 8T; store 8T+64K 1; munmap 8T u; load 8T; load w",
    "moved twice, with another sharer": (
        "@fork c; await w+128K 1; store w 2; load w+4K; munmap w u; end;"
        "mremap w u u 3 8T; mremap 8T u u 3 16T; store 16T+128K 1; store w+128K 1; kill c SIGKILL; wait c; load 16T"
    ),
    "the region ends first": (
        'munmap w u; unlink "/sys/fs/mshare/r"; close fd; load w; store w 1; mmap 0 1M RW PRIVATE|MAP_POPULATE -1 0'
    ),
    "another region in its place": (
        'munmap w u; @g = open "/sys/fs/mshare/s" O_RDWR|O_CREAT 0600; @ftruncate g u; @create g 0 2M RW OBJECT;'
        "mmap w u RW MAP_SHARED|MAP_FIXED g 0; store w 3; store w+1M 4; load w; load w+1M; munmap w u; load w"
    ),
    "fork": (
        "@fork c; store w+8K 1; munmap w u; load w; @fork d; load w; store w 1; end; wait d; end; munmap w u; wait c"
    ),
    "execve": 'munmap w u; @a = words "x" "say 1" 0; execve "/bin/calls" a 0',
    "unmapped in the region": "munmap w u; unmap fd 0 u; load w; create fd 0 4K RW OBJECT; load w; mmap 0 u RW 1 fd 0",
    "the objects' rights change": (
        "@c = words 0 64K PROT_READ; ioctl fd 0x40187820 c; store w 1; load w; munmap w u; load w"
    ),
}  # fmt: skip


@pytest.mark.parametrize("quirk", Quirk)
def test_whatever_follows_the_machine_ends(quirk: Quirk) -> None:
    for level in UNIT if quirk in (Quirk.Y0_STALE_LINK, Quirk.MREMAP_WINDOW) else ("pmd",):
        for name, script in ABUSE.items():
            booted = Booted(8 << 20, mounts=[Mount("msharefs", MOUNT_POINT, f"level={level},quirk={quirk}")])
            task = booted.guest("calls", f"@u = say {UNIT[level]};{WINDOW}@store w 5;{script}")
            booted.run()
            booted.audit()
            booted.close()
            assert not booted.kernel.tasks, (name, level)
            assert task.exit_code in (0, 9), (name, level, booted.stderr)


#: mshare-observed.md, section 10: what each row reads at the first and at the last page that was touched.
TOUCHED = WINDOW + "@touch w 1M; @load w; @store w+1020K 7;"
READ = "load w; load w+1020K;"
STALE_READS = {
    "munmap, then read at once": (f"{TOUCHED} munmap w u; {READ}", "0 SEGV_MAPERR 7", "0 1 7"),
    "after a fork, which flushes all": (
        f"{TOUCHED} munmap w u; @fork c; end; @wait c; {READ}",
        "0 SEGV_MAPERR SEGV_MAPERR",
        "0 SEGV_MAPERR SEGV_MAPERR",
    ),
    "control: UNMAP in the region": (
        f"{TOUCHED} unmap fd 0 u; {READ}",
        "0 SEGV_MAPERR SEGV_MAPERR",
        "0 SEGV_MAPERR SEGV_MAPERR",
    ),
    "control: munmap of other memory": (
        f"{TOUCHED} @p = mmap 0 4K RW PRIVATE -1 0; @store p 1; munmap p 4K; load p",
        "0 SEGV_MAPERR",
        "0 SEGV_MAPERR",
    ),
}


@pytest.mark.parametrize("la57", [False, True], ids=["4-levels", "5-levels"])
@pytest.mark.parametrize("row", STALE_READS)
def test_what_a_munmap_leaves_in_the_tlb(row: str, la57: bool) -> None:
    """With 4 levels the slot's first page is flushed, and with 5 nothing."""
    script, four, five = STALE_READS[row]
    for quirk, expected in ((",quirk=stale-munmap", five if la57 else four), ("", "0 SEGV_MAPERR SEGV_MAPERR")):
        options = f"level=pud{quirk}"
        booted = Booted(mounts=[Mount("msharefs", MOUNT_POINT, options)], la57=la57, tlb="skylake-sp", check_tlb=True)
        lines = booted_calls(booted, f"@u = say 512G;{script}")
        assert [line.split(" = ", 1)[1] for line in lines] == expected.split()[: len(lines)]
        found = booted.kernel.flusher.stale_findings()
        assert bool(found) == ("7" in expected)
        booted.close()


#: A defect with an interface of its own: mshare-observed.md, section 13, for abi=v2; and rfc3.
EARLIER = {
    ("v2", Quirk.Y0_STALE_LINK): (
        "@store w 5; @store w+4K 6; munmap w u; load w; store w+4K 7; load w+8K;"
        "w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; load w; load w+4K; munmap w u; load w+4K",
        "0 5 0 SEGV_MAPERR 0x20000000000 5 7 0 7",
        "which host mm of r owns already",
    ),
    ("v2", Quirk.ZERO_PAGE_WRITE): (
        "@z = mmap 0 8K RW PRIVATE -1 0; load w+8K; store w+8K 7; load w+12K; load z; @fork c; load z+4K; end; @wait c",
        "0 0 7 7 7",
        "the zero page, which backs every untouched page, is not zero",
    ),
    ("rfc3", Quirk.Y0_STALE_LINK): (
        "@store w 5; munmap w u; load w; store w 6; load w",
        "0 5 0 6",
        "which host mm of r owns already",
    ),
}
OPEN = '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600;'
MADE = {
    "v2": OPEN + "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;",
    "rfc3": OPEN + "@set_size fd 2T u; @create_at fd 2T 64K RW OBJECT; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;",
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize(("abi", "quirk"), EARLIER)
def test_with_the_interface_that_had_it(abi: str, quirk: Quirk, level: str) -> None:
    script, broken, finding = EARLIER[abi, quirk]
    booted = Booted(mounts=[Mount("msharefs", MOUNT_POINT, f"level={level},abi={abi},quirk={quirk}")])
    lines = booted_calls(booted, f"@u = say {UNIT[level]};{MADE[abi]}{script}")
    assert " ".join(line.split(" = ", 1)[1] for line in lines) == broken
    found = findings(booted)
    assert any(finding in line for line in found), found
    booted.close()


def test_a_huge_page_where_a_link_was_left() -> None:
    """What the hardware would make of it no posting says; it must come to an end."""
    booted = Booted(
        mounts=[Mount("msharefs", MOUNT_POINT, f"level=pte,quirk={Quirk.Y0_STALE_LINK}")], hugepages=2, memory=32 << 20
    )
    script = WINDOW.replace("u;", "2M;").replace(" u ", " 2M ") + "@store w 5; munmap w 2M;"
    script += "h = mmap 2T 2M RW ANON|MAP_FIXED|MAP_HUGETLB -1 0; load h; load h+1M; store h+1M 1"
    printed = booted.calls(script)
    assert printed == ["munmap = 0", "h = 0x20000000000", "load = 5", "load = BUS_ADRERR", "store = BUS_ADRERR"]
    booted.close()
