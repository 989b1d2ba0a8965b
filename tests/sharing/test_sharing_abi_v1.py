"""abi=v1, the first series alone (April 2022): what differs from its calls beside the file interface
(test_sharing_call_abi, whose tables hold here too), and the file system as it was then (spec/mshare.md, 1.1).
"""

from __future__ import annotations

import pytest

from emu.machine import Mount
from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import Table, expected, results
from tests.sharing.test_sharing_call_abi import ATTACHING, CHILD, CREATING, MAPPED, SHARED, UNLINKING
from tests.sharing.test_sharing_call_abi import FILES as CALL_FILES

UNDO = 'repeat 9\n@mshare_unlink "r"\nend'

#: Rows of the other tables that open mshare_info, make a file with open(2), or tell of windows as the third series
#: has them.
OTHERWISE = {
    "a name of the file interface",
    "the sysctl",
    "for reading only: rights come from the region",
    "a part cannot go",
    "several mappings, with holes between",
}

WINDOWS: Table = {
    "for reading only, of a creator that could read only": (
        '@q = mmap 4T u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; @store q 3; @mshare "q" q u O_RDONLY|O_CREAT 0600;'
        "load q;"
        'store q 4; @fork c; @munmap q u; mshare "q" q u O_RDWR 0600; mshare "q" q u O_RDONLY 0600; load q; end;'
        "@wait c;"
        'load q; @mshare_unlink "q"; @mshare_unlink "q"',
        "3 0 EPERM 0 SEGV_ACCERR 4",
    ),
    "for writing only, of such a creator: x86 reads what it can write": (
        '@store p 7; @mshare "s" p u O_WRONLY|O_CREAT 0600; @fork c; @munmap p u; mshare "s" p u O_WRONLY 0600; load p;'
        'store p 5; end; @wait c; load p; @mshare_unlink "s"; mshare_unlink "s"',
        "0 7 0 5 0",
    ),
    "rights of what was moved in": (
        "@munmap p u; @mmap p 8K RW PRIVATE|MAP_FIXED -1 0; @mmap p+1M 4K PROT_READ PRIVATE|MAP_FIXED -1 0; @store p 1;"
        'mshare "s" p u O_RDWR|O_CREAT 0600; load p; store p+4K 2; load p+8K; load p+1M; store p+1M 1;'
        'mshare_unlink "s"; load p',
        "0 1 0 SEGV_MAPERR 0 SEGV_ACCERR 0 1",
    ),
}
WINDOWS_SHARED: Table = {
    "for reading only: O_RDONLY is 0, so the window allows nothing": (
        f'{CHILD} mshare "r" p u O_RDONLY 0600; load p; store p 5; end; @wait c; load p',
        "0 SEGV_ACCERR SEGV_ACCERR 7",
    ),
    "for writing only, of a creator for both: O_WRONLY is no bit of O_RDWR": (
        f'{CHILD} mshare "r" p u O_WRONLY 0600; end; @wait c',
        "EPERM",
    ),
    "a part cannot go, and mprotect takes all or nothing": (
        "munmap p 4K; mprotect p 4K PROT_READ; mremap p u u+u 1; mprotect p u PROT_READ; load p; store p 1;"
        "mprotect p u RW; store p 1; load p",
        "EINVAL EINVAL EFAULT 0 7 SEGV_ACCERR 0 0 1",
    ),
}
ROOT: Table = {
    "a file comes from mshare() alone": (
        'open "/sys/fs/mshare/x" O_RDWR|O_CREAT 0600; mkdir "/sys/fs/mshare/d" 0755;'
        'mknod "/sys/fs/mshare/m" 0100600 0;'
        'mknod "/sys/fs/mshare/p" 010600 0; symlink "a" "/sys/fs/mshare/l"; open "/sys/fs/mshare/mshare_info" O_RDONLY',
        "EACCES EPERM EACCES EPERM EPERM ENOENT",
    ),
    "nothing can be done to one": (
        '@mshare "r" p u O_RDWR|O_CREAT 0600; unlink "/sys/fs/mshare/r"; rename "/sys/fs/mshare/r" "/sys/fs/mshare/s";'
        'link "/sys/fs/mshare/r" "/sys/fs/mshare/s"; rename "/tmp/no" "/sys/fs/mshare/r";'
        'open "/sys/fs/mshare/r" O_RDWR;'
        'open "/sys/fs/mshare/r" O_RDONLY|O_TRUNC; syscall 90 "/sys/fs/mshare/r" 0777;'
        'syscall 92 "/sys/fs/mshare/r" 1 1',
        "EPERM EPERM EPERM EXDEV EPERM EPERM EPERM EPERM",
    ),
    "the root": (
        '@s = bytes 144; syscall 4 "/sys/fs/mshare" s; @m = load s+24; @m = mod m 4096; say m; load s+8;'
        '@f = bytes 120; syscall 137 "/sys/fs/mshare" f; load f; load f+8',
        "0 493 1 0 0x4d534852 4096",
    ),
    "the sysctl": (
        '@f = open "/proc/sys/vm/mshare_size" O_RDONLY; @n = read f b 64; syscall 5 f st; @m = load st+24; mod m 65536;'
        ' open "/proc/sys/vm/mshare_size" O_RDWR',
        "0 33060 EACCES",
    ),
    "a name that is too long": (
        f'mshare "{"a" * 4096}" p u O_RDWR|O_CREAT 0600; mshare_unlink "{"a" * 4096}"',
        "ENAMETOOLONG ENAMETOOLONG",
    ),
    "pread starts over too": (
        '@mshare "r" p u O_RDWR|O_CREAT 0600; @f = open "/sys/fs/mshare/r" O_RDONLY; pread f b 16 8; load b;'
        "lseek f 0 0",
        "16 0x20000000000 ESPIPE",
    ),
}

TABLES: dict[str, tuple[Table, str]] = {
    "windows": (WINDOWS, MAPPED),
    "windows of a region": (WINDOWS_SHARED, SHARED),
    "the root": (ROOT, MAPPED),
    "making a region": (CREATING, MAPPED),
    "attaching": (ATTACHING, SHARED),
    "mshare_unlink": (UNLINKING, SHARED),
    "the file": (CALL_FILES, SHARED),
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", TABLES)
def test_the_first_series_alone(machine: MakeMachine, name: str, level: str) -> None:
    table, before = TABLES[name]
    if not name.startswith(("windows", "the root")):
        table = {row: texts for row, texts in table.items() if row not in OTHERWISE}
    undo = f'{UNDO}\nrepeat 2\n@mshare_unlink "q"\nend'
    assert results(machine(level=level, abi="v1"), table, before, undo) == expected(table, UNIT[level])


HUGE: Table = {
    "shared": (
        "@mmap p 4M RW ANON|MAP_FIXED|MAP_HUGETLB -1 0; @store p 7; @store p+2M 8;"
        'mshare "r" p u O_RDWR 0600; load p; store p+2M+8 9; @fork c; load p; @munmap p u; mshare "r" p u O_RDWR 0600;'
        " load p+2M+8; store p 5; end; @wait c; load p; load p+4M",
        "0 7 0 7 0 9 0 5 SEGV_MAPERR",
    ),
    "private": (
        "@mmap p 2M RW PRIVATE|MAP_FIXED|MAP_HUGETLB -1 0; @store p 7;"
        'mshare "r" p u O_RDWR 0600; load p; @fork c; store p 8; end; @wait c; load p',
        "0 7 0 8",
    ),
}


@pytest.mark.parametrize("level", UNIT)
def test_a_donor_with_huge_pages(machine: MakeMachine, level: str) -> None:
    """They go over as they are; level=pte has no tables to share for them."""
    booted = machine(level=level, abi="v1", hugepages=4)
    before = "@p = say 2T"
    table = HUGE
    if level == "pte":
        table = {row: (script.split("; load p;")[0] + "; load p", "EINVAL 7") for row, (script, _) in HUGE.items()}
    assert results(booted, table, before, UNDO) == expected(table, UNIT[level])


def test_every_mount_shows_the_same_instance(machine: MakeMachine) -> None:
    booted = machine(level="pte", abi="v1")
    script = (
        f'@mkdir "/tmp/m" 0755; mount "msharefs" "/tmp/m" "msharefs" 0 "level=pte,abi=v1"; @u = say 2M; {SHARED};'
        '@f = open "/tmp/m/r" O_RDONLY; read f b 16; load b; mount "msharefs" "/tmp" "msharefs" 0 "level=pud,abi=v1";'
        '@close f; umount2 "/tmp/m" 0; open "/sys/fs/mshare/r" O_RDONLY; mshare_unlink "r"'
    )
    assert [line.split(" = ")[1] for line in booted.calls(script)] == [
        "0", "16", "0x20000000000", "EINVAL", "0", "3", "0",
    ]  # fmt: skip


@pytest.mark.parametrize(("abi", "there"), [("v1", True), ("v3", True), ("v2", False), ("y1", False), ("y2", False)])
def test_which_instances_have_the_calls(machine: MakeMachine, abi: str, there: bool) -> None:
    script = (
        '@mmap 2T 2M RW ANON|MAP_FIXED -1 0; mshare "r" 2T 2M O_RDWR 0600; mshare_unlink "r";'
        'syscall 452 -100 "/" 0755 0'
    )
    with_calls = ["mshare = 0", "mshare_unlink = 0"]
    without = [
        "mshare = EBADF",
        "mshare_unlink = EFAULT",
    ]  # what their numbers are to later kernels: cachestat and fchmodat2
    for option, expect in ((None, there), ("on", True), ("off", False)):
        options = {} if option is None else {"syscalls": option}
        lines = machine(level="pte", abi=abi, mount_options=options).calls(script)
        assert lines[:2] == (with_calls if expect else without)
        asked = expect and (option == "on" or abi == "v1")
        assert lines[2] == ("syscall = EFAULT" if asked else "syscall = 0")


def test_the_instance_of_the_first_series_comes_first(machine: MakeMachine) -> None:
    """Where two instances have the calls, they act on the one with abi=v1."""
    mounts = [Mount("msharefs", "/sys/fs/mshare", "level=pte"), Mount("msharefs", "/mnt", "level=pte,abi=v1")]
    booted = machine(level="pte", mounts=mounts)
    script = (
        '@mmap 2T 2M RW ANON|MAP_FIXED -1 0; mshare "r" 2T 2M O_RDWR 0600; open "/mnt/r" O_RDONLY;'
        'open "/sys/fs/mshare/r" O_RDONLY; mshare_unlink "r"'
    )
    assert booted.calls(script) == ["mshare = 0", "open = 3", "open = ENOENT", "mshare_unlink = 0"]
    booted.kernel.vfs.umount("/mnt")
