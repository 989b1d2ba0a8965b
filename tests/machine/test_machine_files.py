"""Scripts of system calls on files: the same results here as on a Linux host, line by line.

Each is a file in ``files/`` for the guest ``calls``.  On the host it runs as root, with mounts and IPC of its own and
an empty tmpfs on /dev/shm, so that nothing is left behind.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import guests
from tests.booted import MakeMachine
from tests.machine.native_host import needs_host, skip_before

SCRIPTS = sorted((Path(__file__).parent / "files").glob("*.calls"))
_APART = ("unshare", "--mount", "--ipc", "--", "sh", "-c", 'mount -t tmpfs x /dev/shm && exec "$0" "$1"')


def on_host(script: str) -> list[str]:
    """What the guest prints on the host."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("the script makes mounts and devices, and the host's user is not root")
    command = [*_APART, str(guests.path("calls")), script]
    done = subprocess.run(command, capture_output=True, timeout=60, env={"PATH": os.environ["PATH"]}, check=False)
    if done.returncode and b"unshare" in done.stderr:
        pytest.skip(f"no namespaces on the host: {done.stderr.decode().strip()}")
    assert (done.stderr, done.returncode) == (b"", 0)
    return done.stdout.decode().splitlines()


@needs_host
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, path: Path) -> None:
    script = path.read_text()
    since = re.search(r"From (\d+)\.(\d+)", script.splitlines()[0])
    assert since is not None, f"{path.name} does not say from which version of Linux on it holds"
    skip_before((int(since[1]), int(since[2])))
    here, there = machine().calls(script), on_host(script)
    if "in any order" in script.splitlines()[0]:  # of several processes at once
        here, there = sorted(here), sorted(there)
    assert here == there


def test_a_lease_ends_by_itself(machine: MakeMachine) -> None:
    """After lease-break-time; and there are none where leases-enable is 0."""
    script = """
        @set = words 0x10000000; @syscall 14 0 set 0 8; @a = open "/a" O_RDWR|O_CREAT 0666; @write a "hello" 5; @close a
        @t = open "/proc/sys/fs/lease-break-time" O_RDWR; @b = bytes 64; read t b 10; text b; pwrite t "1" 1 0
        rw = open "/a" O_RDONLY; fcntl rw 1024 1
        @fork c; @o = open "/a" O_RDONLY; read o b 5; end; wait c; fcntl rw 1025 0
        @fork c; @o = open "/a" O_WRONLY; write o "x" 1; end; wait c; fcntl rw 1025 0; fcntl rw 1024 2
        @le = open "/proc/sys/fs/leases-enable" O_RDWR; pwrite le "0" 1 0; fcntl rw 1024 0; pwrite le "1" 1 0
        fcntl rw 1024 0"""
    booted = machine()
    assert booted.calls(script) == [
        "read = 3", "text = 45", "", "pwrite = 1", "rw = 4", "fcntl = 0", "read = 5", "wait = 0", "fcntl = 0",
        "write = 1", "wait = 0", "fcntl = 2", "fcntl = EAGAIN", "pwrite = 1", "fcntl = EINVAL", "pwrite = 1",
        "fcntl = 0",
    ]  # fmt: skip
    assert booted.kernel.clock.now_ns() > 2_000_000_000
