"""The file system, row by row as a real kernel with the third series answered: mshare-observed.md, section 1.

mount and umount, mshare_info, files and directories.  ``fd`` is a fresh region file, ``u`` the unit.
"""

from __future__ import annotations

import pytest

from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import FRESH, Table, expected, results

#: stat(2) and fstat(2) of what follows; mode and uid, links, inode number, size and blocks are then at these places.
MODE, NLINK, INO, SIZE, BLOCKS = "load st+24", "load st+16", "load st+8", "load st+48", "load st+64"
STAT = "@syscall 4"
ROOT, INFO, R = '"/sys/fs/mshare"', '"/sys/fs/mshare/mshare_info"', '"/sys/fs/mshare/r"'
NAME_255 = "n" * 255

AGAIN = f'mount "msharefs" {ROOT} "msharefs" 0 OPTIONS'
MAPPED = (
    f"@fd = open {R} O_RDWR|O_CREAT 0600; @ftruncate fd u; @create fd 0 8K RW OBJECT;"
    "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @close fd;"
)

MOUNTING: Table = {
    "the mount point before mounting": (
        f"umount2 {ROOT} 0; {STAT} {ROOT} st; {MODE}; open {R} O_RDWR|O_CREAT 0600; mkdir {R} 0700;"
        f"{AGAIN}; {STAT} {ROOT} st; {MODE}",
        "0 0o40555 EACCES EPERM 0 0o40777",
    ),
    "options": (
        'mkdir "/tmp/m" 0755; mount "x" "/tmp/m" "msharefs" 0 "size=1G"; mount "x" "/tmp/m" "msharefs" 0 "level=p4d";'
        'mount "x" "/tmp/m" "nofs" 0 0; mount "x" "/tmp/none" "msharefs" 0 0; rmdir "/tmp/m"',
        "0 EINVAL EINVAL ENODEV ENOENT 0",
    ),
    "another user": (
        f'@fork c; @setuid 1000; mount "x" {ROOT} "msharefs" 0 0; umount2 {ROOT} 0; end; wait c',
        "EPERM EPERM 0",
    ),
    "a second mount is another instance": (
        '@mkdir "/tmp/m" 0755; mount "x" "/tmp/m" "msharefs" 0 "level=pte"; g = open "/tmp/m/g" O_RDWR|O_CREAT 0600;'
        'open "/sys/fs/mshare/g" O_RDWR; ftruncate g 2M; create g 0 4K RW OBJECT;'
        "w = mmap 2T 2M RW MAP_SHARED|MAP_FIXED g 0; store w 1; load w; munmap w 2M; @close g;"
        'umount2 "/tmp/m" 0; rmdir "/tmp/m"',
        "0 3 ENOENT 0 0 0x20000000000 0 1 0 0 0",
    ),
    "MS_RDONLY": (
        '@mkdir "/tmp/m" 0755; mount "x" "/tmp/m" "msharefs" 1 0; open "/tmp/m/g" O_RDWR|O_CREAT 0600;'
        'mkdir "/tmp/m/d" 0700; umount2 "/tmp/m" 0; rmdir "/tmp/m"',
        "0 EROFS EROFS 0 0",
    ),
    "statfs": (
        f"syscall 137 {ROOT} st; load st; load st+8; load st+16; load st+24; load st+32; load st+40; load st+48;"
        f"load st+64; load st+72; @fd = open {ROOT} O_RDONLY; @st = bytes 144; syscall 138 fd st; load st",
        "0 0x4d534852 4096 0 0 0 0 0 255 4096 0 0x4d534852",
    ),
    "the root": (f"{STAT} {ROOT} st; {MODE}; {NLINK}; {INO}; {SIZE}; {BLOCKS}", "0o40777 2 1 0 0"),
    "the root is not sticky": (
        'g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT 0600; @fork c; @setuid 1000; unlink "/sys/fs/mshare/g"; '
        "end; wait c",
        "3 0 0",
    ),
    "umount while a file is open": (
        f"fd = open {R} O_RDWR|O_CREAT 0600; umount2 {ROOT} 0; close fd; umount2 {ROOT} 0; {AGAIN}; open {R} O_RDWR",
        "3 EBUSY 0 0 0 ENOENT",
    ),
    "umount while a file is mapped only": (
        f"{MAPPED} umount2 {ROOT} 0; store w 5; munmap w u; umount2 {ROOT} 0; {AGAIN}",
        "EBUSY 0 0 0 0",
    ),
    "MNT_DETACH: the mapping keeps working": (
        f"{MAPPED} @store w 5; umount2 {ROOT} 2; load w; store w+4K 6; load w+4K; open {R} O_RDWR; munmap w u; load w;"
        f"{AGAIN}; open {R} O_RDWR",
        "0 5 0 6 ENOENT 0 SEGV_MAPERR 0 ENOENT",
    ),
    "umount with region files that nobody uses": (
        f'{MAPPED} @store w 5; @munmap w u; mkdir "/sys/fs/mshare/d" 0700; umount2 {ROOT} 0; {AGAIN};'
        f'open {R} O_RDWR; open "/sys/fs/mshare/d" O_RDONLY; fd = open {R} O_RDWR|O_CREAT 0600; ftruncate fd u;'
        f"unlink {R}",
        "0 0 0 ENOENT ENOENT 3 0 0",
    ),
    "umount by name of what is no mount point, and other flags": (
        'umount2 "/tmp" 0; umount2 "/sys/fs/mshare/mshare_info" 0; umount2 "/none" 0; umount2 "/sys/fs/mshare" 0x100',
        "EINVAL EINVAL ENOENT EINVAL",
    ),
}
INFORMATION: Table = {
    "stat": (f"{STAT} {INFO} st; {MODE}; {NLINK}; {INO}; {SIZE}; {BLOCKS}", "0o100444 1 2 0 0"),
    "reading": (
        f"@b = bytes 64; i = open {INFO} O_RDONLY; read i b 63; read i b 63; pread i b 4 3; pread i b 4 99;"
        "lseek i 5 0; lseek i 0 2; lseek i -1 1; read i b 8",
        "4 N 0 4 0 N N N 0",
    ),
    "its name": (
        f'unlink {INFO}; rename {INFO} "/sys/fs/mshare/x"; rename {R} {INFO}; rename {INFO} {R};'
        f'link {INFO} "/sys/fs/mshare/l"; {STAT} {INFO} st; {NLINK}; unlink "/sys/fs/mshare/l"; {STAT} {INFO} st;'
        f"{NLINK}; mkdir {INFO} 0700; rmdir {INFO}; open {INFO} O_RDWR|O_CREAT|O_EXCL 0600;"
        'open "/sys/fs/mshare/mshare_info/" 0',
        "EPERM EPERM EPERM EPERM 0 2 0 1 EEXIST ENOTDIR EEXIST ENOTDIR",
    ),
    "for writing": (
        f'i = open {INFO} O_RDWR|O_TRUNC; write i "1" 1; pwrite i "1" 1 0; ftruncate i 0; truncate {INFO} 5;'
        f"{STAT} {INFO} st; {SIZE}; @b = bytes 64; read i b 63",
        "4 EINVAL EINVAL 0 0 0 N",
    ),
    "ioctl and mmap": (
        f"i = open {INFO} O_RDONLY; ioctl i 1 0; ioctl i CREATE_MAPPING 0; mmap 0 4K PROT_READ MAP_SHARED i 0;"
        "mmap 0 4K PROT_READ MAP_PRIVATE i 0",
        "4 ENOTTY ENOTTY ENODEV ENODEV",
    ),
    "chmod, chown": (
        f"syscall 90 {INFO} 0400; {STAT} {INFO} st; {MODE}; syscall 92 {INFO} 7 8; load st+24; syscall 92 {INFO} 0 0;"
        f"syscall 90 {INFO} 0444",
        "0 0o100400 0 0o100400 0 0",
    ),
    "another user": (f"@fork c; @setuid 1000; open {INFO} O_RDONLY; open {INFO} O_RDWR; end; wait c", "4 EACCES 0"),
}
FILES: Table = {
    "a new file": (
        f'@syscall 95 022; g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT|O_EXCL 0666; {STAT} "/sys/fs/mshare/g" st;'
        f'{MODE}; {NLINK}; {SIZE}; {BLOCKS}; open "/sys/fs/mshare/g" O_RDWR|O_CREAT|O_EXCL 0600;'
        'unlink "/sys/fs/mshare/g"',
        "4 0o100644 1 0 0 EEXIST 0",
    ),
    "long names": (
        f'g = open "/sys/fs/mshare/{NAME_255}" O_RDWR|O_CREAT 0600; unlink "/sys/fs/mshare/{NAME_255}";'
        f'open "/sys/fs/mshare/{NAME_255}n" O_RDWR|O_CREAT 0600',
        "4 0 ENAMETOOLONG",
    ),
    "reading and writing": (
        "@b = bytes 64; @v = words b 8; read fd b 8; pread fd b 8 0; write fd b 8; pwrite fd b 8 0; syscall 19 fd v 1;"
        "syscall 20 fd v 1; syscall 74 fd; syscall 75 fd",
        "EINVAL " * 8,
    ),
    "lseek": ("lseek fd 0 0; lseek fd 5 1; lseek fd 0 2; lseek fd 0 3; lseek fd 0 4", "ESPIPE " * 5),
    "readahead, fadvise": ("syscall 187 fd 0 4096; syscall 221 fd 0 4096 3; syscall 221 fd 0 4096 4", "0 0 0"),
    "poll: always ready": (
        "@p = words fd|0x500000000 0; syscall 7 p 1 0; @r = load p; say r-fd-0x5000500000000", "1 0",
    ),
    "posix_fallocate, and times": (
        f"fallocate fd 0 0 u; @t = words 5 7 9 11; syscall 280 -100 {R} t 0; {STAT} {R} st; load st+72; load st+80;"
        "load st+88; load st+96",
        "0 0 5 7 9 11",
    ),
    "flock, fcntl lock, O_APPEND": (
        "@l = words 1 0 0 0; syscall 73 fd 2; syscall 73 fd 8; syscall 72 fd 6 l; syscall 72 fd 4 02000;"
        "syscall 72 fd 4 0",
        "0 0 0 0 0",
    ),
    "O_DIRECT, O_TMPFILE": (
        f"open {R} O_RDWR|040000; open {ROOT} O_RDWR|020200000 0600",
        "EINVAL EOPNOTSUPP",
    ),
    "sendfile from it, copy_file_range": (
        '@t = open "/tmp/t" O_RDWR|O_CREAT 0600; syscall 40 t fd 0 100; syscall 326 fd 0 t 0 100 0; @unlink "/tmp/t"',
        "EINVAL EXDEV",
    ),
    "extended attributes": (
        f'@b = bytes 64; syscall 188 {R} "user.a" b 4 0; syscall 188 {R} "trusted.a" b 4 0;'
        f'syscall 188 {R} "security.a" b 4 0; syscall 191 {R} "user.a" b 4; syscall 191 {R} "trusted.a" b 4;'
        f'syscall 191 {R} "security.a" b 4; syscall 194 {R} b 64',
        "EOPNOTSUPP " * 6 + "0",
    ),
    "a junk POSIX ACL": (f'syscall 188 {R} "system.posix_acl_access" "x" 1 0', "EINVAL"),
    "chmod, chown, utimensat": (
        f"syscall 90 {R} 0640; {STAT} {R} st; {MODE}; syscall 92 {R} 1 2; syscall 92 {R} 0 0; syscall 280 -100 {R} 0 0;"
        "syscall 91 fd 0600; syscall 93 fd 0 0",
        "0 0o100640 0 0 0 0 0",
    ),
    "hard links": (
        f'link {R} "/sys/fs/mshare/s"; {STAT} {R} st; {NLINK}; unlink {R}; open {R} O_RDWR;'
        f'{STAT} "/sys/fs/mshare/s" st; {NLINK}; g = open "/sys/fs/mshare/s" O_RDWR; ftruncate g u;'
        f'rename "/sys/fs/mshare/s" {R}',
        "0 2 0 ENOENT 1 4 0 0",
    ),
    "other kinds of files": (
        'symlink "x" "/sys/fs/mshare/l"; mknod "/sys/fs/mshare/p" 0010600 0; mknod "/sys/fs/mshare/s" 0140600 0;'
        'mknod "/sys/fs/mshare/c" 0020600 0x103; mknod "/sys/fs/mshare/b" 0060600 0x700;'
        'mknod "/sys/fs/mshare/q" 0100600 0; g = open "/sys/fs/mshare/q" O_RDWR; ftruncate g u;'
        "create g 0 4K RW OBJECT; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED g 0; store w 1; load w;"
        'unlink "/sys/fs/mshare/q"',
        "EPERM EPERM EPERM EPERM EPERM 0 4 0 0 0 1 0",
    ),
    "rename": (
        f'rename {R} "/sys/fs/mshare/a"; @g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT 0600; @ftruncate g u;'
        'rename "/sys/fs/mshare/a" "/sys/fs/mshare/g"; open "/sys/fs/mshare/a" O_RDWR;'
        f'rename "/sys/fs/mshare/g" {R}; rename "/sys/fs/mshare/none" "/sys/fs/mshare/y"; rename {R} "/tmp/r";'
        "@ftruncate fd u+u; @syscall 5 fd st; load st+16; say u+u-u-u",
        "0 0 ENOENT 0 ENOENT EXDEV 1 0",
    ),
    "renameat2": (
        '@g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT 0600; @ftruncate g u;'
        f'syscall 316 -100 {R} -100 "/sys/fs/mshare/g" 2; @syscall 5 g st; @h = open {R} O_RDWR; ftruncate h u;'
        f'syscall 316 -100 {R} -100 "/sys/fs/mshare/g" 1; syscall 316 -100 {R} -100 "/sys/fs/mshare/h" 1;'
        f'syscall 316 -100 "/sys/fs/mshare/h" -100 {R} 4; syscall 316 -100 "/sys/fs/mshare/h" -100 {R} 0;'
        'unlink "/sys/fs/mshare/g"',
        "0 EINVAL EEXIST 0 EINVAL 0 0",
    ),
    "unlink": ('unlink "/sys/fs/mshare/none"; @mkdir "/sys/fs/mshare/d" 0700; unlink "/sys/fs/mshare/d";'
               'rmdir "/sys/fs/mshare/d"', "ENOENT EISDIR 0"),
    "directories": (
        f'@syscall 95 022; mkdir "/sys/fs/mshare/d" 0777; {STAT} "/sys/fs/mshare/d" st; {MODE}; {NLINK};'
        f'{STAT} {ROOT} st; {NLINK}; mkdir "/sys/fs/mshare/d" 0700; rename "/sys/fs/mshare/d" "/sys/fs/mshare/e";'
        'rmdir "/sys/fs/mshare/d"; @close = open "/sys/fs/mshare/e/f" O_RDWR|O_CREAT 0600; rmdir "/sys/fs/mshare/e";'
        f'unlink "/sys/fs/mshare/e/f"; rmdir "/sys/fs/mshare/e"; {STAT} {ROOT} st; {NLINK}; rmdir {ROOT}',
        "0 0o40755 2 3 EEXIST 0 ENOENT ENOTEMPTY 0 0 2 EBUSY",
    ),
    "in a subdirectory": (
        '@mkdir "/sys/fs/mshare/d" 0700; g = open "/sys/fs/mshare/d/r" O_RDWR|O_CREAT 0600; ftruncate g u;'
        "create g 0 4K RW OBJECT; w = mmap 2T u RW MAP_SHARED|MAP_FIXED g 0; store w 7; load w;"
        'open "/sys/fs/mshare/d/mshare_info" O_RDONLY; unlink "/sys/fs/mshare/d/r"; load w; rmdir "/sys/fs/mshare/d"',
        "4 0 0 0x20000000000 0 7 ENOENT 0 7 0",
    ),
    "ioctl before there is a size, and generic ones": (
        "@b = bytes 64; ioctl fd CREATE_MAPPING b; ioctl fd 0x1234 0; ioctl fd 0x5401 b; ioctl fd 0x541b b; load b;"
        "@ftruncate fd u; ioctl fd 0x5401 b; ioctl fd 0x1234 0",
        "EINVAL EINVAL EINVAL 0 0 ENOTTY ENOTTY",
    ),
}  # fmt: skip
TABLES = {"mshare_info": INFORMATION, "files and directories": FILES}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("level", UNIT)
def test_the_file_system(machine: MakeMachine, name: str, level: str) -> None:
    assert results(machine(level=level), TABLES[name], FRESH) == expected(TABLES[name], UNIT[level])


@pytest.mark.parametrize("la57", [False, True], ids=["4-levels", "5-levels"])
@pytest.mark.parametrize("level", UNIT)
def test_mount_and_umount(machine: MakeMachine, level: str, la57: bool) -> None:
    booted = machine(level=level, la57=la57)
    table = {name: (script.replace("OPTIONS", f'"level={level}"'), r) for name, (script, r) in MOUNTING.items()}
    assert results(booted, table, "@st = bytes 144", after="") == expected(table, UNIT[level])
    vfs = booted.kernel.vfs
    assert f"msharefs /sys/fs/mshare msharefs rw,relatime,level={level} 0 0\n" in vfs.mounts()
    assert "nodev\tmsharefs\n" in vfs.read_file("/proc/filesystems").decode()
    assert vfs.read_file("/sys/fs/mshare/mshare_info") == f"{UNIT[level]}\n".encode()


#: Rows that size a region, or use one, as the third series does.
USING = {
    "posix_fallocate, and times", "hard links", "other kinds of files", "renameat2", "in a subdirectory",
    "ioctl before there is a size, and generic ones", "a second mount is another instance",
    "umount while a file is mapped only", "MNT_DETACH: the mapping keeps working",
    "umount with region files that nobody uses",
}  # fmt: skip
#: Where a file can be read, since reading tells its range.
READING = {"reading and writing", "sendfile from it, copy_file_range"}


@pytest.mark.parametrize("abi", ["v2", "rfc3", "y1", "y2"])
def test_the_file_system_of_the_earlier_postings(machine: MakeMachine, abi: str) -> None:
    """As that of the third series (mshare-observed.md, 13: statfs, root, mshare_info; mshare.md, 1.6)."""
    level = "pud"
    elsewhere = USING | (READING if abi == "v2" else set())
    for table, before, after in ((INFORMATION, FRESH, f"@unlink {R}"), (FILES, FRESH, f"@unlink {R}"),
                                 (MOUNTING, "@st = bytes 144", "")):  # fmt: skip
        rows = {
            name: (script.replace("OPTIONS", f'"level={level},abi={abi}"'), result)
            for name, (script, result) in table.items()
            if name not in elsewhere
        }
        assert results(machine(level=level, abi=abi), rows, before, after) == expected(rows, UNIT[level])
