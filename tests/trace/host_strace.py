"""A guest under the host's strace and under ours, in the same surroundings, and what is compared of the lines."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from emu.testing import GuestMachine
from emu.trace.leader import Pids
from emu.trace.strace import Options, Strace
from tests.native.guest import Guest

_TIMEOUT_S = 20
#: An empty directory of its own, which has the same name as in the machine.
_SCRIPT = (
    "ulimit -n 1024 -c 0; umask 022; ip link set lo up 2>/dev/null; "
    "mount -t tmpfs -o mode=1777 tmpfs /tmp && mkdir -m 755 /tmp/guest && "
    'cd /tmp/guest && echo "$3" > /proc/sys/kernel/ns_last_pid && exec strace -f -o "$1" -- "$2"'
)
#: The first process of the machine.
_FIRST_PID = 100
_NAMESPACES = ("--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--ipc", "--uts", "--net")
_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")

#: What is not the same on both sides, as a pattern of a line and what takes its place, with the reason.
UNLIKE: tuple[tuple[str, str, str], ...] = (
    (r"0x[0-9a-f]{5,16}\b", "ADDRESS", "addresses: both are random"),
    (
        r"^((?:clock_gettime|gettimeofday)\(.*)\{tv_sec=\d+, tv_[un]sec=\d+\}",
        r"\1TIME",
        "the machine's clock is its own",
    ),
    (r"(tv_[un]?sec)=\d{3,}", r"\1=TIME", "the machine's clock is its own"),
    (r"(ru_[us]time=\{tv_sec=)\d+, tv_usec=(\d+|TIME)", r"\1TIME, tv_usec=TIME", "usage"),
    (r"(si_[us]time)=\d+( /\* [\d.]+ s \*/)?", r"\1=TIME", "usage"),
    (r"\b((?:shm|msg|sem)_[acdors]time)=[1-9]\d*", r"\1=TIME", "the machine's clock is its own"),
    (r"BTRFS_IOC_CLONE(?:_RANGE)? or (FICLONE\w*)", r"\1", "strace does not know which file system a file is of"),
    (r"SNDCTL_TMR_\w+ or (TCSETSW?)", r"\1", "strace does not know which device a file is of"),
    (r"RENAME_\?\? ", "RENAME_??? ", "strace has two question marks there"),
    (r"(tms_\w+)=\d+", r"\1=TIME", "usage"),
    (r"^(execve\()\"[^\"]*\", \[.*", r"\1PROGRAM", "the path of the program, and what it gets from whom it starts it"),
    (r"(f_(?:blocks|bfree|bavail|files|ffree))=\d+", r"\1=N", "the size of a tmpfs depends on the memory"),
    (r"f_fsid=\{val=\[\w+, \w+\]\}", "f_fsid", "numbers of file systems"),
    (r"^(getrandom\()\"[^,]*", r"\1RANDOM", "random bytes"),
    (r"nodename=\"\w+\"", "nodename", "the name of the host"),
)


@cache
def why_not() -> str:
    """Why a guest cannot be traced on this host; empty if it can."""
    if shutil.which("strace") is None or shutil.which("unshare") is None:
        return "there is no strace, or no unshare, on this host"
    if os.geteuid() != 0:
        return "a directory is mounted, which needs root"
    ran = subprocess.run(
        ["unshare", *_NAMESPACES, "sh", "-c", "mount -t tmpfs tmpfs /tmp && exec strace -f true"],
        capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
    )  # fmt: skip
    return "" if ran.returncode == 0 else f"strace cannot trace in namespaces of its own here: {ran.stderr.strip()}"


@cache
def _own_processes() -> int:
    """How many processes strace starts before the program."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        log = _traced(Path(directory), Path("/bin/true"), _FIRST_PID - 1)
    return int(log.split()[0]) - _FIRST_PID


def on_host(guest: Guest) -> str:
    """The file of ``strace -f -o``, where processes have the numbers that they have in the machine."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        program = Path(shutil.copy(guest.program, Path(directory, guest.source.stem)))
        return _traced(Path(directory), program, _FIRST_PID - 1 - _own_processes())


def _traced(directory: Path, program: Path, last_pid: int) -> str:
    log = directory / "log"
    words = ["unshare", *_NAMESPACES, "sh", "-c", _SCRIPT, "sh", str(log), str(program), str(last_pid)]
    process = subprocess.Popen(  # in a session of its own, as guests signal their group
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, start_new_session=True
    )
    try:
        process.communicate(timeout=_TIMEOUT_S)
    finally:
        process.kill()  # and so all that is in the namespace
        process.wait()
    return log.read_text("utf-8", "replace")


def in_machine(guest: Guest) -> str:
    """The file of ``unimmu run --strace -o``."""
    machine = GuestMachine(modules={}, record=False, cpus=2 if "two cpus" in guest.needs else 1)
    lines: list[str] = []
    machine.kernel.tracer = Strace(machine.kernel, lines.append, Options(pids=Pids.ALWAYS))
    machine.kernel.vfs.mkdir("/tmp/guest", 0o755)
    path = machine.install(guest.program, f"/bin/{guest.source.stem}")
    machine.spawn(path, in_guest=True, cwd="/tmp/guest")
    machine.finish()
    machine.close()
    return "\n".join(lines)


def compared(log: str) -> list[list[str]]:
    """What is compared of a file: the lines of each process, in the order of their first ones, without those that say
    that a call is not finished yet: who runs when is another thing.  So is when a child ends: SIGCHLD comes last.
    """
    processes: dict[str, list[str]] = {}
    begun: dict[str, tuple[int, str]] = {}
    for match in filter(None, map(_LINE.fullmatch, log.splitlines())):
        pid, rest = match[1], match[2]
        lines = processes.setdefault(pid, [])
        resumed = _RESUMED.match(rest)
        if rest.endswith("<unfinished ...>"):
            begun[pid] = len(lines), rest.removesuffix("<unfinished ...>").rstrip()
            lines.append("")
        elif resumed and pid in begun:
            at, head = begun.pop(pid)
            closes = resumed[2].startswith((")", ",")) or head.endswith("(")
            lines[at] = head + ("" if closes else " ") + resumed[2]
        else:
            lines.append(rest)
    likened = [[_likened(line) for line in _heard_of(lines)] for lines in processes.values()]
    return [sorted(lines, key=lambda line: line.startswith("--- SIGCHLD")) for lines in likened]


def _heard_of(lines: list[str]) -> list[str]:
    """Without the call that a killed process was in, of which strace may have heard or not."""
    killed = "+++ killed by SIGKILL +++" in lines[-1:]
    return [
        line for at, line in enumerate(lines) if line and not (killed and at == len(lines) - 2 and line.endswith("= ?"))
    ]


def _likened(line: str) -> str:
    """A line without what is unlike."""
    line = re.sub(r" +", " ", line)
    for pattern, replaced, _ in UNLIKE:
        line = re.sub(pattern, replaced, line)
    return line
