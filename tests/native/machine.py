"""A guest in the machine: what it did, and the system calls that were seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from emu.fs.inode import Inode
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.linux.syscall import Syscall
from emu.testing import GuestMachine
from tests.native.guest import Guest
from tests.native.outcome import Outcome, describe, lines

_DIRECTORY = "/tmp/guest"


class Seen(Tracer):
    """Notes which calls succeeded and which failed, by name."""

    syscalls = True

    def __init__(self) -> None:
        self.succeeded: set[str] = set()
        self.failed: set[str] = set()

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        if call is not None:
            (self.failed if -4096 < result < 0 else self.succeeded).add(call.name)

    @property
    def calls(self) -> dict[str, list[str]]:
        """For a recording."""
        return {"succeeded": sorted(self.succeeded), "failed": sorted(self.failed)}


class Ran(NamedTuple):
    """What came of a run; ``findings`` are the audit's."""

    outcome: Outcome
    calls: dict[str, list[str]]
    findings: list[str]


def run(guest: Guest) -> Ran:
    """Run a guest in a machine of its own, in an empty directory on a tmpfs, and look what it left there."""
    machine = GuestMachine(modules={}, record=False, cpus=2 if "two cpus" in guest.needs else 1)
    machine.kernel.tracer = seen = Seen()
    machine.kernel.vfs.mkdir(_DIRECTORY, 0o755)
    path = machine.install(guest.program, f"/bin/{guest.source.stem}")
    task = machine.spawn(path, in_guest=True, cwd=_DIRECTORY, argv0=guest.source.stem)
    machine.finish()
    end = machine.ending(task)
    status, signal = (end, "") if isinstance(end, int) else (None, str(end))
    files = tuple(_files(machine, "root" in guest.needs))
    outcome = Outcome(lines(bytes(machine.out)), lines(bytes(machine.err)), status, signal, files)
    return Ran(outcome, seen.calls, machine.close())


def _files(machine: GuestMachine, owners: bool) -> Iterator[str]:
    top = machine.kernel.vfs.walker(None).resolve(_DIRECTORY).inode
    for path, inode in sorted(_below(top, ())):
        content: bytes | str = b""
        if inode.is_regular:
            content = machine.kernel.vfs.read_file("/".join((_DIRECTORY, *path)))
        elif inode.is_symlink:
            content = f"-> {inode.get_link(None)}"
        owner = (inode.uid, inode.gid) if owners else None
        yield describe("/".join(path), inode.mode, inode.nlink, owner, content)


def _below(directory: Inode, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Inode]]:
    for entry in list(directory.iterate()):
        inode = directory.lookup(entry.name)
        yield (*above, entry.name), inode
        if inode.is_directory:
            yield from _below(inode, (*above, entry.name))
