"""Damage to the cache of object code, and what stands in the place of its files and of its directory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmu import objectcode
from mmu.codecache import Image
from tests.fuzz.attack import Attack, Mended
from tests.fuzz.numbers import damaged, edge
from tests.fuzz.room import Finding, Room

_MODULE = "tiny_kept"
_SOURCE = """
from mmu.native import entry

@entry("u64", "u64")
def add_one(x):
    return x + 1
"""
_PROGRAM = f"from mmu.objectcode import load; assert load('{_MODULE}')['add_one'](40) == 41"
_TOP = Path(__file__).resolve().parents[3]
_VALUES: tuple[Any, ...] = (None, True, 0, -1, 1 << 80, 1.5, "", "x", "\n", [], {}, [{}], {"add_one": -1},
                            {"add_one": ""}, {"add_one": "0"}, {"add_one": True}, {"add_one": 0.5},
                            {"add_one": None}, {"add_one": 1 << 40}, {"add_one": 1 << 80}, {"": 0})  # fmt: skip


class Damage:
    """Does something to a file of a cache, or to the directory."""

    def __init__(self, chance: random.Random, file: Path) -> None:
        self.chance, self.file = chance, file

    def bytes(self) -> None:
        """Some of them, with the digest that was there: it no longer fits."""
        self.file.write_bytes(damaged(self.chance, self.file.read_bytes()))

    def index(self) -> None:
        """The index before the code, with the digest that belongs to it."""
        data = self.file.read_bytes()
        if Image.unpack(self.file.name, data) is None:
            return  # who gives damaged code the digest that belongs to it could as well run code of his own
        _, line, code = data.split(b"\n", 2)
        index = json.loads(line)
        index[self.chance.choice(("name", "offsets"))] = self.chance.choice(_VALUES)
        new = json.dumps(index).encode()
        if self.chance.random() < 0.3:
            new = self.chance.choice((b"", b"null", b"[]", b"[" * 90_000, b"9" * 9000, b"\xff", line[:-1]))
        rest = new + b"\n" + code
        self.file.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)

    def size(self) -> None:
        """Cut off, or longer, or sparse."""
        os.truncate(self.file, self.chance.choice((0, 1, 64, 65, 66, 1 << 24, (1 << 24) + 1, 1 << 25)))

    def place(self) -> None:
        """Something else in its place."""
        file, kept = self.file, self.file.parent.parent / "kept"
        shutil.copy(file, kept)
        file.unlink()
        things: tuple[Callable[[], object], ...] = (
            lambda: None, lambda: file.symlink_to(kept), lambda: file.symlink_to(file), lambda: file.symlink_to("/"),
            lambda: os.mkfifo(file), file.mkdir, lambda: (file / "x" / "y").mkdir(parents=True),
            lambda: file.symlink_to("/dev/zero"), lambda: file.symlink_to("/proc/self/mem"),
            lambda: os.link(kept, file),
        )  # fmt: skip
        self.chance.choice(things)()

    def rights(self) -> None:
        """Of the file."""
        self.file.chmod(self.chance.choice((0o000, 0o400, 0o602, 0o620, 0o666, 0o777, 0o4600, 0o200)))

    def directory(self) -> None:
        """Its mode, other files in it, or something else in its place."""
        cache = self.file.parent
        kind = self.chance.randrange(4)
        if kind == 0:
            cache.chmod(self.chance.choice((0o755, 0o777, 0o1777, 0o710, 0o500, 0o2700, edge(self.chance) & 0o777)))
        elif kind == 1:
            (cache / f".{self.file.name}.1.aaaaaaaa").write_bytes(self.chance.randbytes(50))
            (cache / "\udcff").mkdir()
        elif kind == 2:
            cache.rename(cache.with_name("moved"))
            cache.symlink_to("moved")
        else:
            shutil.rmtree(cache)
            self.chance.choice((lambda: None, cache.touch, lambda: os.mkfifo(cache)))()


class Cache(Attack):
    """What is loaded as native code."""

    name = "cache"
    target = "the cache of object code"
    means = "changed bytes, indexes, sizes, rights and kinds of its files and of its directory; links to elsewhere"
    cases = 200
    mended = (
        Mended(
            "an entry point that is not in the code was an error, or ended the process",
            "tests/mmu/test_mmu_codecache.py::test_what_is_damaged_or_foreign_is_compiled_again",
        ),
    )

    def prepare(self, room: Room) -> None:
        """Compile a module of one function."""
        self._original = room.directory / "cache"
        room.file(f"{_MODULE}.py", _SOURCE.encode())
        environment = {
            "PATH": os.environ["PATH"], "PYTHONPATH": f"{_TOP}{os.pathsep}{room.work}", "HOME": str(room.work),
            "UNIMMU_CACHE_DIR": str(self._original),
        }  # fmt: skip
        subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, check=True, stderr=subprocess.DEVNULL)
        (self._file,) = self._original.iterdir()
        self._module_directory = str(room.work)

    def run(self, chance: random.Random, room: Room) -> str:
        cache = room.work / "cache"
        shutil.copytree(self._original, cache)
        cache.chmod(0o700)
        file, good = cache / self._file.name, self._file.read_bytes()
        sys.path.insert(0, self._module_directory)
        os.environ["UNIMMU_CACHE_DIR"] = str(cache)
        compiled = self._patch(good)
        damage = Damage(chance, file)
        kinds = (damage.bytes, damage.bytes, damage.index, damage.index, damage.size, damage.place, damage.rights,
                 damage.directory)  # fmt: skip
        for _ in range(chance.choice((1, 1, 1, 2))):
            if file.is_file() and not file.is_symlink() and not cache.is_symlink():
                chance.choice(kinds)()
        said = [self._load(), self._load()]
        if not all(lines.startswith(("unimmu: ", "compiling ")) for lines in "".join(said).splitlines()):
            raise Finding(f"says {said}")
        if "for this run only" in said[0]:
            return "refused"
        self._check(file, good, said)
        return "compiled again" if compiled else "used"

    def _patch(self, good: bytes) -> list[str]:
        """Compiling is nothing but reading the original; returns what was compiled."""
        compiled: list[str] = []

        def compile_it(_module: object, _wanted: str, how: str) -> Image:
            compiled.append(how)
            print(f"compiling {how}", file=sys.stderr)
            made = Image.unpack(self._file.name, good)
            assert made is not None
            return made

        vars(objectcode)["_compiled"] = compile_it
        return compiled

    def _load(self) -> str:
        """What is said on the way."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            library = objectcode.load.__wrapped__(_MODULE)
        if library["add_one"](1) != 2:
            raise Finding("the function gives something else")
        return said.getvalue()

    def _check(self, file: Path, good: bytes, said: list[str]) -> None:
        """The file is there again, as good as new, for this user alone."""
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode) or file.read_bytes() != good or stat.S_IMODE(found.st_mode) & 0o022:
            raise Finding(f"is left as mode {found.st_mode:o}, size {found.st_size}")
        if said[1]:
            raise Finding(f"the second start says {said[1]}")
