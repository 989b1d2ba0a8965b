"""The call interface of the first series, mshare(2) and mshare_unlink(2): spec/mshare.md, 1.1.

Each row is a script for the guest ``calls`` and its results.  ``p`` is a mapping of one unit at 2 TiB, ``u`` the unit;
where a table says so, it has been made the region ``r`` already.
"""

from __future__ import annotations

import pytest

from tests.booted import UNIT, Booted, MakeMachine

Table = dict[str, tuple[str, str]]

MAPPED = "@p = mmap 2T u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; @store p 7; @st = bytes 144; @b = bytes 64"
SHARED = MAPPED + '; @mshare "r" p u O_RDWR|O_CREAT|O_EXCL 0600'
#: A child in whose place the region can be attached.
CHILD = "@fork c; @munmap p u;"


def results(booted: Booted, table: Table, before: str) -> dict[str, str]:
    """The results of every row, each in a new process with a new region."""
    found = {}
    for name, (script, _) in table.items():
        after = '@repeat 9\n@mshare_unlink "r"\nend'.replace("@repeat", "repeat")
        lines = booted.calls(f"@u = say {booted.unit}; {before}\n{script}\n{after}")
        found[name] = " ".join(line.split(" = ", 1)[1] for line in lines)
    return found


def expected(table: Table, unit: int) -> dict[str, str]:
    """The expected results, with U for the unit."""
    return {
        name: " ".join(hex(unit) if word == "U" else word for word in result.split())
        for name, (_, result) in table.items()
    }


CREATING: Table = {
    "made, and the mapping's content is the region's": (
        'mshare "r" p u O_RDWR|O_CREAT 0600; load p; store p 8; load p',
        "0 7 0 8",
    ),
    "even without O_CREAT": ('mshare "r" p u O_RDWR 0600; load p', "0 7"),
    "misaligned": (
        'mshare "r" p+4K u O_RDWR|O_CREAT 0600; mshare "r" p u-4K O_RDWR|O_CREAT 0600;'
        'mshare "r" p+1 u O_RDWR|O_CREAT 0600;'
        'mshare "r" p 4K O_RDWR|O_CREAT 0600; load p',
        "EINVAL EINVAL EINVAL EINVAL 7",
    ),
    "alignment comes before the name": ("mshare 7T p+4K u O_RDWR 0600", "EINVAL"),
    "bad names": (
        'mshare 7T p u O_RDWR 0600; mshare 7T+16 p u O_RDWR 0600; mshare "" p u O_RDWR 0600;'
        "@n = mmap 0 8K RW PRIVATE -1 0;"
        '@repeat 0\nend\n@z = open "/dev/zero" O_RDONLY; mshare_unlink 7T; mshare_unlink 7T+16; mshare_unlink ""',
        "EFAULT EFAULT ENOENT EFAULT EFAULT ENOENT",
    ),
    "nothing is mapped there": (
        'mshare "r" 8T u O_RDWR|O_CREAT 0600; mshare "r" 8T 0 O_RDWR 0600; mshare "r" 256T u O_RDWR 0600',
        "EINVAL " * 3,
    ),
    "a mapping across the range's edges": (
        '@munmap p u; @mmap p-4K 8K RW PRIVATE|MAP_FIXED -1 0; mshare "r" p u O_RDWR|O_CREAT 0600; @munmap p-4K 8K;'
        '@q = mmap p+u-4K 8K RW PRIVATE|MAP_FIXED -1 0; store q+4K 3; mshare "r" p u O_RDWR|O_CREAT 0600; load q+4K',
        "EINVAL 0 EINVAL 3",
    ),
    "several mappings, with holes between": (
        "@munmap p u; @mmap p+4K 8K RW PRIVATE|MAP_FIXED -1 0; @mmap p+1M 4K PROT_READ PRIVATE|MAP_FIXED -1 0;"
        "@store p+4K 1;"
        'mshare "r" p u O_RDWR|O_CREAT 0600; load p; load p+4K; load p+8K; store p+8K 2; load p+12K; load p+1M;'
        "store p+1M 1; load p+u-8",
        "0 SEGV_MAPERR 1 0 0 SEGV_MAPERR 0 SEGV_ACCERR SEGV_MAPERR",
    ),
    "private memory becomes common to all": (
        '@munmap p u; @mmap p 8K RW PRIVATE|MAP_FIXED -1 0; store p 1; mshare "r" p u O_RDWR 0600; @fork c;'
        "store p 2; store p+4K 3; end;"
        "@wait c; load p; load p+4K",
        "0 0 0 0 2 3",
    ),
    "memory that another process has too": (
        "@munmap p u; @mmap p 8K RW PRIVATE|MAP_FIXED -1 0; @store p 1; @s = mmap 0 4K RW ANON -1 0;"
        '@fork c; @store s 1; @await s 2; load p; end; @await s 1; mshare "r" p u O_RDWR 0600; store p 2; @store s 2;'
        "@wait c; load p",
        "0 0 1 2",
    ),
    "a file": (
        '@munmap p u; @m = memfd_create "m" 0; @ftruncate m 4K; @pwrite m "A" 1 0;'
        "@mmap p 8K RW MAP_SHARED|MAP_FIXED m 0;"
        'mshare "r" p u O_RDWR 0600; load p; store p 66; @pread m b 1 0; load b; load p+4K; ftruncate m 0; load p',
        "0 65 0 66 BUS_ADRERR 0 BUS_ADRERR",
    ),
    "several units": (
        '@mmap p u+u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; @store p+u 5; mshare "r" p u+u O_RDWR 0600; load p+u',
        "0 5",
    ),
    "the name is no path": (
        'mshare "x/y" p u O_RDWR 0600; mshare "x/y" p u O_EXCL 0600; mshare_unlink "x/y"; mshare_unlink "x/y"',
        "0 EEXIST 0 EINVAL",
    ),
    "a window of a region": (
        'mshare "r" p u O_RDWR|O_CREAT 0600; mshare "s" p u O_RDWR|O_CREAT 0600; load p',
        "0 EINVAL 7",
    ),
    "a name of the file interface": (
        '@f = open "/sys/fs/mshare/f" O_RDWR|O_CREAT 0600; mshare "f" p u O_RDWR 0600;'
        'mshare "f" p u O_RDWR|O_CREAT 0600;'
        'mshare_unlink "f"; unlink "/sys/fs/mshare/f"; mshare "mshare_info" p u O_RDWR 0600;'
        'mshare_unlink "mshare_info"; load p',
        "EINVAL EEXIST EINVAL 0 EINVAL EINVAL 7",
    ),
}

ATTACHING: Table = {
    "a name that exists, with O_CREAT or O_EXCL": (
        'mshare "r" p u O_RDWR|O_CREAT 0600; mshare "r" p u O_RDWR|O_EXCL 0600;'
        'mshare "r" p u O_RDWR|O_CREAT|O_EXCL 0600',
        "EEXIST EEXIST EEXIST",
    ),
    "where something is mapped": ('mshare "r" p u O_RDWR 0600', "EINVAL"),
    "another process reads and writes": (
        f'{CHILD} load p; mshare "r" p u O_RDWR 0600; load p; store p 9; end; @wait c; load p',
        "SEGV_MAPERR 0 7 0 9",
    ),
    "nothing, or too much": (
        f'{CHILD} mshare "r" p 0 O_RDWR 0600; mshare "r" 128T-u u+u O_RDWR 0600; end; @wait c',
        "EINVAL EINVAL",
    ),
    "for reading only: rights come from the region": (
        f'{CHILD} mshare "r" p u O_RDONLY 0600; load p; store p 5; end; @wait c; load p',
        "0 7 0 5",
    ),
    "with more than the creator has": (
        '@q = mmap 4T u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; @mshare "q" q u O_RDONLY|O_CREAT 0600; @munmap q u;'
        'mshare "q" q u O_RDWR 0600;'
        'mshare "q" q u O_WRONLY 0600; mshare "q" q u O_RDONLY 0600; @mshare_unlink "q"; @mshare_unlink "q"',
        "EPERM EPERM 0",
    ),
    "at another address: nothing of the region is there": (
        f'{CHILD} mshare "r" 6T u O_RDWR 0600; load 6T; end; @wait c',
        "0 SEGV_MAPERR",
    ),
    "twice": ('@munmap p u; mshare "r" p u O_RDWR 0600; mshare "r" p u O_RDWR 0600; load p', "0 EINVAL 7"),
    "after fork without attaching": ("@fork c; load p; store p 3; end; @wait c; load p", "7 0 3"),
    "munmap and attach again": ('munmap p u; load p; mshare "r" p u O_RDWR 0600; load p', "0 SEGV_MAPERR 0 7"),
    "a part cannot go": (
        "munmap p 4K; mprotect p u PROT_READ; mprotect p 4K PROT_READ; mremap p u u+u 1; store p 1",
        "EINVAL EINVAL EINVAL EFAULT 0",
    ),
    "another user": (
        f'{CHILD} @setuid 1000; mshare "r" p u O_RDWR 0600; store p 4; open "/sys/fs/mshare/r" O_RDONLY; end;'
        f"@wait c; load p",
        "0 0 EACCES 4",
    ),
}

UNLINKING: Table = {
    "a name that is not there": ('mshare_unlink "nothing"', "EINVAL"),
    "the last one takes the file; the mapping stays": (
        'mshare_unlink "r"; open "/sys/fs/mshare/r" O_RDONLY; load p; mshare_unlink "r"; munmap p u; load p',
        "0 ENOENT 7 EINVAL 0 SEGV_MAPERR",
    ),
    "one of two: the caller loses its mapping, unless it is the creator": (
        f'{CHILD} @mshare "r" p u O_RDWR 0600; mshare_unlink "r"; load p; open "/sys/fs/mshare/r" O_RDONLY; end;'
        f"@wait c; load p;"
        'mshare_unlink "r"; open "/sys/fs/mshare/r" O_RDONLY',
        "0 SEGV_MAPERR 3 7 0 ENOENT",
    ),
    "the creator first": (
        f'@s = mmap 0 4K RW ANON -1 0; {CHILD} @mshare "r" p u O_RDWR 0600; @store s 1; @await s 2; store p 5;'
        f'mshare_unlink "r"; load p; end;'
        '@await s 1; mshare_unlink "r"; load p; @store s 2; @wait c; load p; open "/sys/fs/mshare/r" O_RDONLY',
        "0 7 0 0 5 5 ENOENT",
    ),
    "the name is free for another region": (
        'mshare_unlink "r"; @q = mmap 4T u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; mshare "r" q u O_RDWR 0600;'
        "store q 1; load p; load q",
        "0 0 0 7 1",
    ),
    "a dead creator: the region lives on": (
        'mshare_unlink "r"; @fork c; @q = mmap 4T u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; @store q 3;'
        '@mshare "r" q u O_RDWR 0600; end; @wait c;'
        'f = open "/sys/fs/mshare/r" O_RDONLY; read f b 16; load b; load b+8; mshare "r" 4T u O_RDWR 0600; load 4T;'
        "store 4T+4K 1;"
        'mshare_unlink "r"; mshare_unlink "r"; mshare_unlink "r"',
        "0 3 16 0x40000000000 U 0 3 0 0 0 EINVAL",
    ),
    "execve and exit give back the mapping, not the count": (
        f'{CHILD} @mshare "r" p u O_RDWR 0600; @store p 2; end; @wait c; load p; mshare_unlink "r";'
        f'mshare_unlink "r"; mshare_unlink "r"',
        "2 0 0 EINVAL",
    ),
}

FILES: Table = {
    "its content": (
        'f = open "/sys/fs/mshare/r" O_RDONLY; read f b 64; load b; load b+8; read f b 64; read f b 8; read f b 1;'
        "load b; lseek f 0 0; lseek f 8 0",
        "3 16 0x20000000000 U 16 8 1 0x20000000000 ESPIPE ESPIPE",
    ),
    "reading nothing, or to nowhere": (
        '@f = open "/sys/fs/mshare/r" O_RDONLY; read f b 0; read f 16 16',
        "EFAULT EFAULT",
    ),
    "its size and mode": (
        '@f = open "/sys/fs/mshare/r" O_RDONLY; syscall 5 f st; load st+48; @n = load st+24; mod n 65536',
        "0 16 33024",
    ),
    "it is immutable": (
        'open "/sys/fs/mshare/r" O_RDWR; open "/sys/fs/mshare/r" O_WRONLY; open "/sys/fs/mshare/r" O_RDONLY|O_TRUNC;'
        'unlink "/sys/fs/mshare/r"; rename "/sys/fs/mshare/r" "/sys/fs/mshare/s";'
        'link "/sys/fs/mshare/r" "/sys/fs/mshare/s";'
        'truncate "/sys/fs/mshare/r" 0; syscall 90 "/sys/fs/mshare/r" 0777',
        "EPERM " * 8,
    ),
    "no ioctl, no mapping": (
        '@f = open "/sys/fs/mshare/r" O_RDONLY; ioctl f UNMAP b; mmap 0 u PROT_READ MAP_SHARED f 0',
        "ENOTTY ENODEV",
    ),
    "the sysctl": (
        'f = open "/proc/sys/vm/mshare_size" O_RDONLY; @n = read f b 64;'
        '@i = open "/sys/fs/mshare/mshare_info" O_RDONLY; @c = bytes 64;'
        '@k = read i c 64; say n-k; @b1 = load b; @c1 = load c; say b1-c1; open "/proc/sys/vm/mshare_size" O_RDWR',
        "3 0 0 EACCES",
    ),
}

TABLES: dict[str, tuple[Table, str]] = {
    "making a region": (CREATING, MAPPED),
    "attaching": (ATTACHING, SHARED),
    "mshare_unlink": (UNLINKING, SHARED),
    "the file": (FILES, SHARED),
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", TABLES)
def test_the_call_interface(machine: MakeMachine, name: str, level: str) -> None:
    table, before = TABLES[name]
    assert results(machine(level=level), table, before) == expected(table, UNIT[level])


def test_without_a_mounted_msharefs(machine: MakeMachine) -> None:
    booted = machine(mounts=[])
    booted.kernel.vfs.umount("/sys/fs/mshare")
    lines = booted.calls(
        'p = mmap 2T 1G RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; mshare "r" p 1G O_RDWR|O_CREAT 0600; mshare_unlink "r"'
    )
    assert lines[1:] == ["mshare = ENOENT", "mshare_unlink = ENOENT"]
    booted.kernel.vfs.mount("msharefs", "/sys/fs/mshare", "level=pte", source="msharefs")
    assert booted.calls('mmap 2T 2M RW ANON|MAP_FIXED -1 0; mshare "r" 2T 2M O_RDWR 0600; mshare_unlink "r"')[1:] == [
        "mshare = 0", "mshare_unlink = 0",
    ]  # fmt: skip


@pytest.mark.parametrize("level", UNIT)
def test_without_room_for_an_open_file_nothing_moves(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level)
    script = f'@u = say {booted.unit}; {MAPPED}; @mark 1; mshare "r" p u O_RDWR|O_CREAT 0600; load p; mshare_unlink "r"'
    task = booted.guest("calls", script)
    booted.run_until_mark(task, 1)
    resources = booted.kernel.vfs.resources
    before, resources.max_files = resources.max_files, resources.open_files
    booted.finish()
    assert booted.stdout.splitlines() == ["mshare = ENFILE", "load = 7", "mshare_unlink = EINVAL"]
    resources.max_files = before
