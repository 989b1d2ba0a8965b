"""A guest on the host, and how far the host can be held to what was recorded on another one."""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.native.guest import Guest
from tests.native.outcome import Outcome, describe, lines, version_of


@cache
def _has_namespaces() -> bool:
    """Whether namespaces of every kind may be made here: not in a chroot, nor where a container forbids it."""
    kinds = ("--user", "--mount", "--uts", "--ipc", "--net", "--pid", "--time", "--cgroup")
    try:
        return all(
            subprocess.run(
                ["unshare", kind, *(("--fork",) if kind == "--pid" else ()), "true"], capture_output=True, check=False
            ).returncode == 0
            for kind in kinds
        )  # fmt: skip
    except FileNotFoundError:
        return False


def _has_place_for_swap() -> bool:
    """Whether files of /var/tmp can be swapped to, and nothing is so far."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = [kind for where, kind in mounts if where in ("/", "/var", "/var/tmp")]
    none = len(Path("/proc/swaps").read_text().splitlines()) == 1
    return os.geteuid() == 0 and none and kinds[-1:] == ["ext4"]


_HUGE_PAGES = {"enabled": "madvise", "hugepages-2048kB/enabled": "inherit", "hugepages-64kB/enabled": "never"}


def _chosen(name: str) -> str:
    """The word that is chosen in a file about transparent huge pages; empty if there are none."""
    try:
        words = Path("/sys/kernel/mm/transparent_hugepage", name).read_text("ascii").split()
    except OSError:
        return ""
    return next((word.strip("[]") for word in words if word.startswith("[")), "")


#: What a guest may need, and whether this host has it.
NEEDS: dict[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "two cpus": lambda: len(os.sched_getaffinity(0)) >= 2,
    "proc": lambda: os.path.exists("/proc/self/stat"),
    "sys": lambda: os.path.exists("/sys/kernel"),
    "no swap": lambda: len(Path("/proc/swaps").read_text().splitlines()) == 1,
    "swap": _has_place_for_swap,
    "namespaces": _has_namespaces,
    "cgroup2": lambda: any(line.split()[2] == "cgroup2" for line in Path("/proc/mounts").read_text().splitlines()),
    "transparent huge pages": lambda: all(_chosen(name) == word for name, word in _HUGE_PAGES.items()),
    "an idle cpu": lambda: os.getloadavg()[0] < len(os.sched_getaffinity(0)) / 2,
}
#: Those up to CAP_AUDIT_READ, but for CAP_SYS_RESOURCE: no guest stands on that or on younger ones.
_CAPABILITIES = (1 << 38) - 1 & ~(1 << 24)
_TIMEOUT_S = 20


def release() -> str:
    """The version of the host's kernel."""
    return os.uname().release.split("-")[0]


def why_not(guest: Guest) -> str:
    """Why a guest cannot be run on this host; empty if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the host is no x86-64 Linux"
    if version_of(release()) < guest.since:
        return f"the host's Linux {release()} is older than {guest.since[0]}.{guest.since[1]}"
    missing = [need for need in guest.needs if not NEEDS[need]()]
    return f"the host lacks: {', '.join(missing)}" if missing else ""


def peculiarities(recorded: tuple[int, int]) -> str:
    """Why this host may answer otherwise than the kernel of a recording; empty if it may not."""
    found = []
    if version_of(release()) != recorded:
        found.append(f"it is Linux {release()}")
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    if status.get("Seccomp", "0").strip() != "0":
        found.append("seccomp filters its system calls")
    if os.geteuid() == 0 and int(status["CapEff"], 16) & _CAPABILITIES != _CAPABILITIES:
        found.append("its root lacks capabilities")
    if niceness := os.getpriority(os.PRIO_PROCESS, 0):
        found.append(f"programs start with a niceness of {niceness}")
    if _pipe_size() < 65536:
        found.append("its pipes are small, as this user has very many")
    if _place() is None:
        found.append("it has no tmpfs that programs can be run from in /dev/shm")
    return ", ".join(found)


def _pipe_size() -> int:
    """What a new pipe holds: less than 64 KiB where fs.pipe-user-pages-soft is reached."""
    ends = os.pipe()
    try:
        return fcntl.fcntl(ends[0], fcntl.F_GETPIPE_SZ)
    finally:
        for end in ends:
            os.close(end)


def run(guest: Guest) -> Outcome:
    """Run a guest in an empty directory of its own, on a tmpfs if there is one, and look what it left there."""
    with tempfile.TemporaryDirectory(dir=_place(), ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o755)
        with _limits_of_the_machine():
            process = subprocess.Popen(
                [guest.source.stem], executable=guest.program, cwd=directory, env={}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0, umask=0o022,
            )  # fmt: skip
        out, err, code = _end(process)
        status, name = (code, "") if code >= 0 else (None, _signal_name(-code))
        return Outcome(lines(out), lines(err), status, name, _files(Path(directory), "root" in guest.needs))


def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes, int]:
    """Output and status of a process that ends, or is ended in time; nothing of its group is left."""
    try:
        out, err = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        out, err = error.stdout or b"", (error.stderr or b"") + f"no end after {_TIMEOUT_S} s\n".encode()
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    return out, err, process.returncode


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _place() -> str | None:
    """A tmpfs, which is what /tmp is in the machine."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if where == "/dev/shm" and kind == "tmpfs" and "noexec" not in options and os.access(where, os.W_OK):
            return where
    return None


@contextmanager
def _limits_of_the_machine() -> Iterator[None]:
    """Meanwhile, a child inherits what it has in the machine, whatever runs the tests: limits, no ignored signals."""
    kinds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 1024}
    before = {kind: resource.getrlimit(kind) for kind in kinds}
    ignored = [s for s in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT) if signal.getsignal(s) is signal.SIG_IGN]
    try:
        for kind, (_, hard) in before.items():
            wanted = kinds[kind]
            resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
        for number in ignored:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for kind, limits in before.items():
            resource.setrlimit(kind, limits)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def _files(top: Path, owners: bool) -> tuple[str, ...]:
    found = []
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        content: bytes | str = b""
        if stat.S_ISREG(info.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(info.st_mode):
            content = f"-> {os.readlink(path)}"
        owner = (info.st_uid, info.st_gid) if owners else None
        found.append(describe(str(path.relative_to(top)), info.st_mode, info.st_nlink, owner, content))
    return tuple(found)
