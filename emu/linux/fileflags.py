"""The flag words and limits of the file system calls (include/uapi/linux, x86-64 values)."""

from __future__ import annotations

from enum import IntFlag

from emu.linux.words import Choice, Flags, named_bits, tested_often

PATH_MAX = 4096
NAME_MAX = 255
MAX_SYMLINKS = 40
#: The most that one read or write moves (include/linux/fs.h).
MAX_RW_COUNT = 0x7FFFF000
#: iovecs in one readv or writev.
IOV_MAX = 1024
#: A write of at most this many bytes to a pipe is atomic.
PIPE_BUF = 4096
PAGE_SIZE = 4096
#: The kernel moves guest data in pieces of at most this size, whatever count the guest passes.
CHUNK = 1 << 20
#: The largest file size and offset.
MAX_FILE_SIZE = (1 << 63) - 1


class OpenFlags(Flags, prefix="O_"):
    """open(2) flags."""

    RDONLY = 0
    WRONLY = 0o1
    RDWR = 0o2
    ACCMODE = 0o3
    CREAT = 0o100
    EXCL = 0o200
    NOCTTY = 0o400
    TRUNC = 0o1000
    APPEND = 0o2000
    NONBLOCK = 0o4000
    DSYNC = 0o10000
    ASYNC = 0o20000
    DIRECT = 0o40000
    LARGEFILE = 0o100000
    DIRECTORY = 0o200000
    NOFOLLOW = 0o400000
    NOATIME = 0o1000000
    CLOEXEC = 0o2000000
    SYNC = 0o4010000
    PATH = 0o10000000
    TMPFILE = 0o20200000

    @classmethod
    def names(cls) -> dict[int, str]:
        """All flags but the access mode, in strace's order."""
        bits = {bit: name for bit, name in super().names().items() if bit > cls.ACCMODE}
        first = {int(flag): bits.pop(flag) for flag in _SHOWN_FIRST}
        first |= {int(cls.SYNC): "O_SYNC", _SYNC_ALONE: "__O_SYNC"}
        directory = bits.pop(cls.DIRECTORY)
        del bits[cls.ASYNC]
        last = {int(cls.TMPFILE): "O_TMPFILE", _TMPFILE_ALONE: "__O_TMPFILE"}
        last |= {int(cls.DIRECTORY): directory, int(cls.ASYNC): "FASYNC"}
        return first | bits | last

    @classmethod
    def words(cls, value: int) -> str:
        mode = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & cls.ACCMODE]
        rest = value & ~int(cls.ACCMODE)
        return f"{mode}|{named_bits(rest, cls.names())}" if rest else mode

    @classmethod
    def descriptor_words(cls, value: int) -> str:
        """The flags of calls whose descriptors have no access mode (pipe2, dup3)."""
        return named_bits(value, cls.names(), prefix=cls.prefix)


#: What O_SYNC and O_TMPFILE have besides O_DSYNC and O_DIRECTORY.
_SYNC_ALONE, _TMPFILE_ALONE = 0o4000000, 0o20000000
_SHOWN_FIRST = (
    OpenFlags.CREAT, OpenFlags.EXCL, OpenFlags.NOCTTY, OpenFlags.TRUNC, OpenFlags.APPEND, OpenFlags.NONBLOCK,
)  # fmt: skip
#: The flags that F_SETFL may change.
SETFL_MASK = OpenFlags.APPEND | OpenFlags.NONBLOCK | OpenFlags.DIRECT | OpenFlags.NOATIME


class AtFlags(Flags, prefix="AT_"):
    """Flags of the *at() calls."""

    SYMLINK_NOFOLLOW = 0x100
    REMOVEDIR = 0x200
    EACCESS = 0x200
    SYMLINK_FOLLOW = 0x400
    NO_AUTOMOUNT = 0x800
    EMPTY_PATH = 0x1000
    RECURSIVE = 0x8000


#: dirfd that stands for the working directory.
AT_FDCWD = -100


class RenameFlags(Flags, prefix="RENAME_"):
    """renameat2(2) flags."""

    NOREPLACE = 1
    EXCHANGE = 2
    WHITEOUT = 4


class FallocateFlags(Flags, prefix="FALLOC_FL_"):
    """fallocate(2) modes; 0 is plain allocation."""

    KEEP_SIZE = 0x01
    PUNCH_HOLE = 0x02
    COLLAPSE_RANGE = 0x08
    ZERO_RANGE = 0x10
    INSERT_RANGE = 0x20
    UNSHARE_RANGE = 0x40
    WRITE_ZEROES = 0x80


class May(IntFlag):
    """The rights that permission() checks (MAY_EXEC and so on)."""

    NONE = 0
    EXEC = 1
    WRITE = 2
    READ = 4


class PollEvents(IntFlag):
    """poll(2) event bits."""

    IN = 0x001
    PRI = 0x002
    OUT = 0x004
    ERR = 0x008
    HUP = 0x010
    NVAL = 0x020
    RDNORM = 0x040
    RDBAND = 0x080
    WRNORM = 0x100
    WRBAND = 0x200
    RDHUP = 0x2000


@tested_often
class MountFlags(Flags, prefix="MS_"):
    """mount(2) flags."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    SYNCHRONOUS = 16
    REMOUNT = 32
    MANDLOCK = 64
    DIRSYNC = 128
    NOSYMFOLLOW = 256
    NOATIME = 1024
    NODIRATIME = 2048
    BIND = 4096
    MOVE = 8192
    REC = 16384
    SILENT = 32768
    POSIXACL = 1 << 16
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    KERNMOUNT = 1 << 22
    I_VERSION = 1 << 23
    STRICTATIME = 1 << 24
    LAZYTIME = 1 << 25
    SUBMOUNT = 1 << 26
    NOREMOTELOCK = 1 << 27
    NOSEC = 1 << 28
    BORN = 1 << 29
    ACTIVE = 1 << 30
    NOUSER = 1 << 31


class UmountFlags(Flags, prefix="MNT_"):
    """umount2(2) flags."""

    FORCE = 1
    DETACH = 2
    EXPIRE = 4
    NOFOLLOW = 8


class Whence(Choice, prefix="SEEK_"):
    """lseek(2) whence."""

    SET = 0
    CUR = 1
    END = 2
    DATA = 3
    HOLE = 4


def makedev(major: int, minor: int) -> int:
    """A device number as stat(2) shows it (new_encode_dev)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12


def major(device: int) -> int:
    """The major number of an encoded device number."""
    return (device >> 8) & 0xFFF


def minor(device: int) -> int:
    """The minor number of an encoded device number."""
    return (device & 0xFF) | (device >> 12) & 0xFFF00


def kernel_device(device: int) -> int:
    """A device number as the kernel itself has it (dev_t: major << 20 | minor)."""
    return major(device) << 20 | minor(device)
