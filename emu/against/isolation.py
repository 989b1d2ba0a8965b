"""A place of its own for the program that runs on Linux: namespaces, and a file tree in which it changes nothing of the
host.

The tree is the root's, as the lower layer of an overlay whose upper layer is a tmpfs (without ``--root`` a tmpfs with
what the machine has), with /dev, /proc, /sys and /tmp as the machine has them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import resource
import signal
import socket
import stat
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from emu.against.ptrace import libc_call
from emu.kernel.pid import FIRST_PID
from emu.linux.limits import INFINITY, INIT_RLIMITS

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_RDONLY, _NOSUID, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PIVOT_ROOT = 155
_ADDR_NO_RANDOMIZE = 0x0040000
_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
#: What is mounted somewhere in the root and is no file system with files of its own.
_FIGURES = frozenset({
    "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "bpf", "pstore",
    "mqueue", "hugetlbfs", "configfs", "fusectl", "binfmt_misc", "autofs", "efivarfs", "nsfs", "rpc_pipefs",
})  # fmt: skip


class NotIsolated(Exception):
    """This host does not let the program run in namespaces of its own; the message says what failed."""


@dataclass
class Entry:
    """A file, directory or link of the tree that a machine without a root has."""

    path: str
    mode: int
    data: bytes = b""
    mtime_ns: int = 0


@dataclass
class Start:
    """How the program is to start."""

    program: str
    argv: Sequence[bytes]
    environment: dict[bytes, bytes]
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    hostname: str = "unimmu"
    cpus: int = 1
    #: The directory of the host that is seen as ``/``; None: the tree holds ``entries``.
    root: str | None = None
    entries: Sequence[Entry] = ()
    #: (directory of the host, where it is seen), which cannot be changed.
    binds: Sequence[tuple[str, str]] = field(default_factory=list)


def _mount(source: str, target: str, fstype: str | None, flags: int = 0, options: str | None = None) -> None:
    try:
        words = (os.fsencode(source), os.fsencode(target), None if fstype is None else fstype.encode())
        libc_call("mount", *words, flags, None if options is None else os.fsencode(options))
    except OSError as error:
        raise NotIsolated(f"mount of {fstype or source} on {target}: {error.strerror}") from None


def may_isolate() -> None:
    """:class:`NotIsolated` if this host is not Linux on x86-64, or lets no process have namespaces of its own."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotIsolated(f"it is {platform.machine()} {sys.platform}, not x86-64 Linux")
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            leave_host()
        except NotIsolated as error:
            os.write(tells, str(error).encode())
        os._exit(0)
    os.close(tells)
    with os.fdopen(told, "rb") as file:
        failed = file.read().decode()
    os.waitpid(child, 0)
    if failed:
        raise NotIsolated(failed)


def unshare(flags: int) -> None:
    """unshare(2)."""
    try:
        libc_call("unshare", flags)
    except OSError as error:
        names = {_NEWUSER: "user", _NEWNS: "mount", _NEWPID: "pid", _NEWIPC: "ipc", _NEWUTS: "uts", _NEWNET: "net"}
        wanted = ", ".join(name for flag, name in names.items() if flags & flag)
        raise NotIsolated(f"namespaces of its own ({wanted}): {error.strerror}") from None


def leave_host() -> None:
    """In the process whose child is to be the first of the new pid namespace: leave the host's mounts and pids."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(_NEWNS | _NEWPID | (0 if uid == 0 else _NEWUSER))
    if uid != 0:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    _mount("none", "/", None, _REC | _PRIVATE)


def die_with_parent() -> None:
    """Be killed when the process that made this one ends."""
    libc_call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def map_users(pid: int) -> None:
    """From outside: every user and group of a process's new user namespace is the host's."""
    for name in ("uid_map", "gid_map"):
        _write(f"/proc/{pid}/{name}", f"0 0 {0xFFFFFFFF}")


def build_tree(start: Start) -> None:
    """In the first process of the pid namespace: mount the tree, and make it the root.  What is not of it is gone."""
    unshare(_NEWNS)  # its parent still needs the host's /proc
    with contextlib.suppress(OSError):  # who was called with less priority, and is not root, keeps it
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    scratch = "/tmp" if os.path.isdir("/tmp") else "/mnt"
    lower = None if start.root is None else os.path.realpath(start.root)
    mounts = [] if lower is None else _mounts_below(lower)
    lowers = [(_opened(path), path) for path in ([] if lower is None else [lower, *mounts])]
    sources = [(_opened(host), guest) for host, guest in start.binds]
    _mount("scratch", scratch, "tmpfs", 0, "mode=755")
    top = f"{scratch}/root"
    os.mkdir(top)
    if lower is None or not _real_root():
        _mount("rootfs", top, "tmpfs", _NOSUID, "mode=755")
    if lower is None:
        _make_entries(top, start.entries)
    elif _real_root():
        for fd, path in lowers:
            _overlay(scratch, f"/proc/self/fd/{fd}", top + path.removeprefix("" if lower == "/" else lower))
    else:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            places = [line.split()[4].replace("\\040", " ") for line in file]
        _overlay_pieces(scratch, f"/proc/self/fd/{lowers[0][0]}", lower, top, places)
    for fd, guest in sources:
        os.makedirs(top + guest, exist_ok=True)
        _bind(f"/proc/self/fd/{fd}", top + guest)
    _mount_figures(top, scratch, start.cpus)
    for fd, _ in (*sources, *lowers):
        os.close(fd)
    os.chdir(top)
    libc_call("syscall", _PIVOT_ROOT, b".", b".")
    libc_call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def _opened(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


def _bind(source: str, target: str) -> None:
    """Show a file or a directory at another place, where it cannot be changed."""
    _mount(source, target, None, _BIND)
    _mount("none", target, None, _BIND | _REMOUNT | _RDONLY | _NOSUID)


def _overlay(scratch: str, lower: str, target: str) -> None:
    """A directory of the host, with changes that stay in the scratch file system."""
    number = len(os.listdir(scratch))
    upper, work = f"{scratch}/{number}.upper", f"{scratch}/{number}.work"
    os.mkdir(upper)
    os.mkdir(work)
    how = os.stat(lower)
    os.chmod(upper, stat.S_IMODE(how.st_mode))
    with contextlib.suppress(OSError):  # in a user namespace of one user
        os.chown(upper, how.st_uid, how.st_gid)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _mount("overlay", target, "overlay", _NOSUID, options + ("" if _real_root() else ",userxattr"))


def _overlay_pieces(scratch: str, lower: str, path: str, target: str, mounts: Sequence[str]) -> None:
    """Without the host's root, no directory can be overlaid in which something is mounted: then what is in it is, piece
    by piece.
    """
    inside = f"{path.rstrip('/')}/"
    for name in os.listdir(lower):
        source, there, here = f"{lower}/{name}", f"{target}/{name}", inside + name
        if os.path.islink(source):
            os.symlink(os.readlink(source), there)
        elif os.path.isdir(source):
            os.mkdir(there)
            if here in ("/dev", "/proc", "/sys", "/tmp") or not os.access(source, os.R_OK | os.X_OK):
                continue
            if any(mount.startswith(f"{here}/") for mount in mounts):
                _overlay_pieces(scratch, source, here, there, mounts)
            else:
                _overlay(scratch, source, there)
        elif os.path.isfile(source):
            open(there, "xb").close()
            _bind(source, there)


def _real_root() -> bool:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def _mounts_below(root: str) -> list[str]:
    """Other file systems with files that are mounted in the root, by path."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.split()
            path = words[4].replace("\\040", " ")
            fstype = words[words.index("-") + 1]
            inside = path != root and path.startswith(f"{root.rstrip('/')}/")
            hidden = path.startswith(tuple(f"{root.rstrip('/')}/{name}/" for name in ("dev", "proc", "sys", "tmp")))
            if inside and not hidden and fstype not in _FIGURES and os.path.isdir(path):
                found.append(path)
    return list(dict.fromkeys(path for path in found if path not in ("/tmp", "/dev/shm")))


def _show_cpus(scratch: str, directory: str, cpus: int) -> None:
    """As many CPUs as the machine has."""
    path = f"{scratch}/cpus"
    with open(path, "x", encoding="ascii") as file:
        file.write("0\n" if cpus == 1 else f"0-{cpus - 1}\n")
    for name in ("online", "possible", "present"):
        if os.path.exists(f"{directory}/{name}"):
            _bind(path, f"{directory}/{name}")


def _mount_figures(top: str, scratch: str, cpus: int) -> None:
    """/dev, /proc, /sys and /tmp, as the machine has them."""
    for name in ("dev", "proc", "sys", "tmp"):
        os.makedirs(f"{top}/{name}", exist_ok=True)
    _mount("proc", f"{top}/proc", "proc", _NOSUID)
    _write(f"{top}/proc/sys/kernel/ns_last_pid", str(FIRST_PID - 1))
    for path in ("sys", "sysrq-trigger", "irq", "bus", "fs"):
        with contextlib.suppress(NotIsolated):  # not every kernel has each of them
            _bind(f"{top}/proc/{path}", f"{top}/proc/{path}")
    with contextlib.suppress(NotIsolated):  # it needs the namespace's own network: then there is none
        _mount("sysfs", f"{top}/sys", "sysfs", _NOSUID | _RDONLY)
        _show_cpus(scratch, f"{top}/sys/devices/system/cpu", cpus)
    devices = [(name, os.open(f"/dev/{name}", os.O_PATH)) for name in _DEVICES if os.path.exists(f"/dev/{name}")]
    _mount("devtmpfs", f"{top}/dev", "tmpfs", _NOSUID, "mode=755")
    for name, fd in devices:
        open(f"{top}/dev/{name}", "xb").close()
        _bind(f"/proc/self/fd/{fd}", f"{top}/dev/{name}")  # its attributes are the host's: none can be changed
        os.close(fd)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{top}/dev/{name}")
    for name, fstype, options in (
        ("shm", "tmpfs", "mode=1777"), ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620"),
    ):  # fmt: skip
        os.mkdir(f"{top}/dev/{name}")
        _mount(fstype, f"{top}/dev/{name}", fstype, _NOSUID, options)
    open(f"{top}/dev/ptmx", "xb").close()
    _mount(f"{top}/dev/pts/ptmx", f"{top}/dev/ptmx", None, _BIND)
    _mount("tmpfs", f"{top}/tmp", "tmpfs", _NOSUID, "mode=1777")


def _make_entries(top: str, entries: Sequence[Entry]) -> None:
    for entry in entries:
        path = top + entry.path
        if stat.S_ISDIR(entry.mode):
            os.makedirs(path, exist_ok=True)
        elif stat.S_ISLNK(entry.mode):
            os.symlink(entry.data, os.fsencode(path))
            continue
        else:
            with open(path, "xb") as file:
                file.write(entry.data)
        os.chmod(path, stat.S_IMODE(entry.mode))
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def enter_namespaces() -> bool:
    """The other namespaces, of a user namespace of their own if it is the host's root who asks: then :func:`map_users`
    must follow, and the result is true.
    """
    root = _real_root()
    unshare(_NEWNS | _NEWIPC | _NEWUTS | _NEWNET | (_NEWUSER if root else 0))
    return root


def settle(start: Start) -> None:
    """In the new namespaces: a name, a network of loopback only."""
    socket.sethostname(start.hostname)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack_from("16xH", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[0]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
    cpus = sorted(os.sched_getaffinity(0))[: start.cpus]
    os.sched_setaffinity(0, cpus)


def become_program(start: Start) -> None:
    """In the child that is to be the program: everything that execve(2) hands on, as the machine's first task has it.
    OSError if execve fails.
    """
    os.setsid()
    os.umask(0o022)
    for number, (soft, hard) in INIT_RLIMITS.items():
        limit = tuple(resource.RLIM_INFINITY if value == INFINITY else value for value in (soft, hard))
        with contextlib.suppress(OSError, ValueError):  # the host's own limit is lower
            resource.setrlimit(int(number), (limit[0], limit[1]))
    os.setgroups([]) if _may_set_groups() else None
    os.setresgid(start.gid, start.gid, start.gid)
    os.setresuid(start.uid, start.uid, start.uid)
    ctypes.CDLL(None).personality(_ADDR_NO_RANDOMIZE)
    os.chdir(start.cwd)
    os.execve(start.program, list(start.argv), start.environment)


def _may_set_groups() -> bool:
    with open("/proc/self/setgroups", encoding="ascii") as file:
        return file.read().strip() == "allow"


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise NotIsolated(f"{path}: {error.strerror}") from None
