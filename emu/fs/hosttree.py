"""A directory of the host and what lies in it, reached so that nothing else ever is.

Every object is opened beneath the descriptor of the tree's top directory, by names without ``/``, ``.`` and ``..``, and
no symbolic link of the host is ever followed: where openat2(2) exists, the kernel refuses them (RESOLVE_BENEATH,
RESOLVE_NO_SYMLINKS), else each name is one step with O_NOFOLLOW.  What a name leads to is looked at through O_PATH
before it is opened, so that no FIFO and no device is, even if names change meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emu.linux.errors import LinuxError

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: The longest name that is given to openat2 at once; PATH_MAX is 4096.
_LONGEST = 4000
#: How often a lookup is tried that a rename on the host disturbs (EAGAIN).
_ATTEMPTS = 32

#: File systems that show the state of the host's kernel, by f_type (include/uapi/linux/magic.h): reading in them has
#: effects, or shows the process that this machine runs in.
_KERNEL_STATE = {
    0x9FA0: "proc", 0x62656572: "sysfs", 0x64626720: "debugfs", 0x74726163: "tracefs", 0x73636673: "securityfs",
    0x27E0EB: "cgroup", 0x63677270: "cgroup2", 0xCAFE4A11: "bpf", 0xDE5E81E4: "efivarfs", 0x6165676C: "pstore",
    0x62656570: "configfs", 0x19800202: "mqueue", 0x42494E4D: "binfmt_misc", 0xF97CFF8C: "selinuxfs", 0x1CD1: "devpts",
    0x0187: "autofs", 0x6E736673: "nsfs", 0x65735543: "fusectl", 0x67596969: "rpc_pipefs", 0x50495045: "pipefs",
}  # fmt: skip


class _OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Descriptor:
    """A descriptor of the host, which is closed with the last reference to this at the latest."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close it now."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class HostObject(NamedTuple):
    """What a name leads to: its attributes, the target of a symbolic link, and whether it is a directory that shows the
    state of the host's kernel (/proc, /sys), of which nothing is seen.
    """

    status: os.stat_result
    target: bytes
    closed: bool


class HostEntry(NamedTuple):
    """A line of a host directory; ``kind`` is the S_IFMT part of the mode, 0 where only a look at it tells."""

    name: bytes
    ino: int
    kind: int


Names = Sequence[bytes]


class HostTree:
    """The tree below a directory of the host.  Errors of the host are LinuxErrors with its errno.

    ``beneath`` False does without openat2(2).
    """

    def __init__(self, directory: str, *, beneath: bool = True) -> None:
        """OSError if there is no such directory; ValueError if it belongs to the host's kernel, or /proc is missing."""
        self.directory = os.path.abspath(directory)
        if not os.path.isdir("/proc/self/fd"):
            raise ValueError(f"{directory}: files of the host can be opened only where /proc is mounted")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._held = Descriptor(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        self._top = self._held.fd
        #: Device number -> whether its file system shows the state of the host's kernel.
        self._kernels: dict[int, bool] = {}
        top = os.fstat(self._top)
        if self._is_kernel_state(self._top, top):
            self.close()
            raise ValueError(f"{directory}: belongs to a file system of the host's kernel, which no machine may see")
        self._has_openat2 = beneath and self._try_openat2()

    def close(self) -> None:
        """Let the host's directory go."""
        self._held.close()

    # Looking

    def look(self, names: Names) -> HostObject:
        """What is there, without opening it."""
        fd = self._open_beneath(names, _LOOK)
        try:
            found = os.fstat(fd)
            closed = self._is_kernel_state(fd, found)
            if closed and not stat.S_ISDIR(found.st_mode):
                raise LinuxError(errno.ENOENT)
            target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(found.st_mode) else b""
            return HostObject(found, target, closed)
        except OSError as error:
            raise linux_error(error) from None
        finally:
            os.close(fd)

    def entries(self, names: Names) -> list[HostEntry]:
        """What a directory holds, in the order of the names' bytes."""
        fd = self._open_beneath(names, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if self._is_kernel_state(fd, os.fstat(fd)):
                return []
            with os.scandir(fd) as found:
                return sorted(HostEntry(os.fsencode(entry.name), entry.inode(), _kind(entry)) for entry in found)
        except OSError as error:
            raise linux_error(error) from None
        finally:
            os.close(fd)

    def statvfs(self) -> os.statvfs_result:
        """How much room there is."""
        return os.fstatvfs(self._top)

    # Opening

    def open_regular(self, names: Names, flags: int = os.O_RDONLY) -> int:
        """A descriptor of a regular file; ESTALE if it has become something else.

        An access to be read leaves no trace on the host, where the host allows that (O_NOATIME).
        """
        looking = self._open_beneath(names, _LOOK)
        try:
            found = os.fstat(looking)
            if not stat.S_ISREG(found.st_mode) or self._is_kernel_state(looking, found):
                raise LinuxError(errno.ESTALE)
            flags |= os.O_CLOEXEC | os.O_NOCTTY
            link = f"/proc/self/fd/{looking}"  # the only name of just this object
            if flags & os.O_ACCMODE == os.O_RDONLY:
                try:
                    return os.open(link, flags | os.O_NOATIME)
                except PermissionError:  # somebody else's file
                    pass
            return os.open(link, flags)
        except OSError as error:
            raise linux_error(error) from None
        finally:
            os.close(looking)

    # Steps

    def _open_beneath(self, names: Names, flags: int) -> int:
        """Open an object with flags that have no effect on a FIFO or a device: O_PATH or O_DIRECTORY."""
        at, pieces = self._top, list(self._pieces(names))
        try:
            for piece in pieces[:-1]:
                below = self._step(at, piece, _STEP)
                if at != self._top:
                    os.close(at)
                at = below
            return self._step(at, pieces[-1], flags)
        except OSError as error:
            raise linux_error(error) from None
        finally:
            if at != self._top:
                os.close(at)

    def _pieces(self, names: Names) -> Iterator[bytes]:
        """The steps to an object: as many names as openat2 takes, or one by one."""
        self._check(names)
        if not names:
            yield b"."
        if not self._has_openat2:
            yield from names
            return
        piece = b""
        for name in names:
            if len(piece) + len(name) > _LONGEST:
                yield piece
                piece = b""
            piece = piece + b"/" + name if piece else name
        if piece:
            yield piece

    @staticmethod
    def _check(names: Names) -> None:
        for name in names:
            if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
                raise ValueError(f"HostTree: {name!r} is not the name of an entry")

    def _step(self, at: int, piece: bytes, flags: int) -> int:
        if not self._has_openat2:
            return os.open(piece, flags, dir_fd=at)
        how = _OpenHow(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
        for _ in range(_ATTEMPTS):
            fd: int = self._libc.syscall(_SYS_OPENAT2, at, piece, ctypes.byref(how), ctypes.sizeof(how))
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            if code not in (errno.EAGAIN, errno.EINTR):
                break
        raise OSError(code, os.strerror(code))

    def _try_openat2(self) -> bool:
        """Whether the kernel has openat2, and nothing (seccomp) forbids it."""
        self._has_openat2 = True
        try:
            os.close(self._step(self._top, b".", _STEP))
        except OSError:
            return False
        return True

    def _is_kernel_state(self, fd: int, found: os.stat_result) -> bool:
        known = self._kernels.get(found.st_dev)
        if known is None:
            buffer = ctypes.create_string_buffer(256)  # struct statfs, whose first field is f_type
            if self._libc.fstatfs(fd, buffer):
                raise OSError(ctypes.get_errno(), "fstatfs")
            known = self._kernels[found.st_dev] = int.from_bytes(buffer.raw[:8], "little") in _KERNEL_STATE
        return known


def _kind(entry: os.DirEntry[str]) -> int:
    """The kind that the listing says; 0 for what is rare."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0


def linux_error(error: OSError) -> Exception:
    """What the guest is told; where it is this process that has too little of something, the error itself."""
    ours = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS, errno.EBADF, None)
    return error if ours else LinuxError(error.errno or errno.EIO)
