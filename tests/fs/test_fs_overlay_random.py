"""Random calls on a machine whose root is a directory of the host, and the same calls by the host on a copy of it: same
results, same files in the end.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.fs.bind import Bind
from emu.fs.hostroot import HostFiles
from emu.linux.fileflags import OpenFlags as O
from tests.fs.machine import Machine

PAGE = 4096
NAMES = ("a", "b", "c", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "x", "x/a", "x/b", "n", "n/a")
STEPS = 250
#: What a tree can be mounted on in the machine: results are the same but for these.
AS_OVERLAY, AS_BIND = "overlay", "bind"


class World:
    """A tree for the machine, and a copy for the host."""

    def __init__(self, top: Path, how: str) -> None:
        self.how = how
        self.copy = top / "copy"
        original = top / "original"
        for tree in (original, self.copy):
            for directory in ("d/e", "x"):
                (tree / directory).mkdir(parents=True)
            for number, name in enumerate(("a", "d/a", "d/e/a", "x/b")):
                (tree / name).write_bytes(bytes([65 + number]) * (number * 3000 + 5))
            os.link(tree / "a", tree / "d/b")
            (tree / "c").symlink_to("d/e/a")
        self.original = original
        self.before = contents_of_host(original)
        self.m = Machine(root=str(original) if how == AS_OVERLAY else None)
        if how == AS_BIND:
            HostFiles(self.m.vfs, self.m.log_once).bind(Bind(str(original), "/mnt", writable=True))
        self.prefix = "/" if how == AS_OVERLAY else "/mnt/"

    def both(self, call: str, here: tuple[object, ...], there: Callable[[], object]) -> int:
        """The machine's result; the host's must be the same."""
        mine = self.m.call(call, *here)
        try:
            there()
            theirs = 0
        except OSError as error:
            theirs = -(error.errno or 0)
        assert min(mine, 0) == theirs, (call, here, errno.errorcode.get(-mine), errno.errorcode.get(-theirs))
        return mine


def contents_of_host(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        s = path.lstat()
        name = str(path.relative_to(top))
        if stat.S_ISDIR(s.st_mode):
            found[name] = stat.S_IMODE(s.st_mode)
        else:
            content = os.readlink(path) if path.is_symlink() else path.read_bytes()
            found[name] = content, s.st_nlink, stat.S_IMODE(s.st_mode)
    return found


def contents_of_machine(world: World) -> dict[str, object]:
    m, found = world.m, dict[str, object]()
    walker = m.vfs.walker(None)
    ahead = [""]
    while ahead:
        directory = ahead.pop()
        inode = walker.resolve(world.prefix + directory).inode
        for entry in inode.iterate():
            name = f"{directory}/{entry.name}" if directory else entry.name
            if name in ("dev", "proc", "sys", "tmp"):
                continue
            child = walker.resolve(world.prefix + name, follow=False).inode
            assert child.kind == entry.kind
            if child.is_directory:
                ahead.append(name)
                found[name] = stat.S_IMODE(child.mode)
            else:
                content = child.get_link(None) if child.is_symlink else m.vfs.read_file(world.prefix + name)
                found[name] = content, child.getattr().nlink, stat.S_IMODE(child.mode)
    return dict(sorted(found.items()))


def step(world: World, rng: random.Random) -> None:
    """One call."""
    name, other = rng.choice(NAMES), rng.choice(NAMES)
    here, there = world.prefix + name, world.copy / name
    match rng.randrange(12):
        case 0 | 1:
            write(world, rng, here, there)
        case 2:
            world.both("unlink", (here,), lambda: os.unlink(there))
        case 3:
            world.both("mkdir", (here, 0o755), lambda: os.mkdir(there, 0o755))
        case 4:
            world.both("rmdir", (here,), lambda: os.rmdir(there))
        case 5 | 6 | 7:
            rename(world, name, other)
        case 8:
            new = world.copy / other
            world.both("link", (here, world.prefix + other), lambda: os.link(there, new, follow_symlinks=False))
        case 9:
            target = rng.choice(("a", "d/e/a", "x", "nowhere"))
            world.both("symlink", (target, here), lambda: os.symlink(target, there))
        case 10:
            mode = rng.choice((0o600, 0o755, 0o711))
            if not there.is_symlink():
                world.both("chmod", (here, mode), lambda: os.chmod(there, mode))
        case 11:
            size = rng.choice((0, 1, 5, PAGE, PAGE + 1, 3 * PAGE))
            world.both("truncate", (here, size), lambda: os.truncate(there, size))


def write(world: World, rng: random.Random, here: str, there: Path) -> None:
    """Open a file, perhaps make it, and write somewhere."""
    flags = rng.choice(
        (O.WRONLY, O.RDWR | O.CREAT, O.WRONLY | O.CREAT | O.EXCL, O.WRONLY | O.TRUNC, O.RDONLY | O.CREAT)
    )
    at, data = rng.choice((0, 3, PAGE - 2, 2 * PAGE, 9000)), bytes([97 + rng.randrange(26)]) * rng.choice((1, 10, 5000))
    opened: list[int] = []
    try:
        fd = world.both("open", (here, flags, 0o644), lambda: opened.append(os.open(there, int(flags), 0o644)))
        if fd >= 0:
            world.both("pwrite64", (fd, data, len(data), at), lambda: os.pwrite(opened[0], data, at))
            world.m.call("close", fd)
    finally:
        for known in opened:
            os.close(known)


def rename(world: World, name: str, other: str) -> None:
    """A directory that comes from the host cannot be renamed in an overlay (EXDEV): then the host does not either."""
    source, target = world.copy / name, world.copy / other
    here = (world.prefix + name, world.prefix + other)
    if world.how == AS_OVERLAY and source.is_dir() and not source.is_symlink():
        mine = world.m.call("rename", *here)
        if mine == -errno.EXDEV:
            return
        try:
            os.rename(source, target)
            theirs = 0
        except OSError as error:
            theirs = -(error.errno or 0)
        assert mine == theirs
        return
    world.both("rename", here, lambda: os.rename(source, target))


@pytest.mark.parametrize("how", [AS_OVERLAY, AS_BIND])
@pytest.mark.parametrize("seed", range(8))
def test_random_calls(tmp_path: Path, seed: int, how: str) -> None:
    world, rng = World(tmp_path, how), random.Random(f"{how} {seed}")
    for _ in range(STEPS):
        step(world, rng)
    assert contents_of_machine(world) == contents_of_host(world.copy)
    if how == AS_OVERLAY:
        assert contents_of_host(world.original) == world.before
    else:
        assert contents_of_host(world.original) == contents_of_host(world.copy)
    shutil.rmtree(tmp_path)
