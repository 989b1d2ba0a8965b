"""Which program each event ran in, and which of its functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os.path import basename
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.kernel.layout import ELF_ET_DYN_BASE
from emu.trace.stat.symbols import Elf
from emu.trace.stat.timeline import NONE, Change, Timeline

#: How far above ELF_ET_DYN_BASE the kernel puts programs (MMAP_RND_BITS), and the largest of them.
_RANDOM = 1 << 41
NO_SYMBOLS = "(no symbols)"

#: The ELF file of a program that was executed by this path; None: there is none at hand.
Find = Callable[[str], Elf | None]


@dataclass
class Given:
    """An ELF file that the user names, and where it was loaded, if that was said."""

    elf: Elf
    base: int | None = None
    used: bool = False

    @property
    def anywhere(self) -> bool:
        """Whether its addresses are known, whatever program has it."""
        return self.base is not None or not self.elf.position_independent


@dataclass
class Image:
    """A program in one process since one execve, and in those that it forked since."""

    path: str
    elf: Elf | None
    #: What is added to the addresses of the file; None as long as nobody knows.
    base: int | None = None
    settled: bool = field(default=False)

    def __post_init__(self) -> None:
        if self.elf is None or not self.elf.position_independent or self.base is not None:
            self.base, self.settled = self.base or 0, True

    def learn(self, rips: npt.NDArray[np.uint64]) -> None:
        """Find the base from where it ran first: at its entry."""
        assert self.elf is not None
        if self.elf.interpreted:
            here = (rips >= np.uint64(ELF_ET_DYN_BASE)) & (rips < np.uint64(ELF_ET_DYN_BASE + _RANDOM))
            rips = rips[here]
        if not len(rips):
            return
        low, bases = int(rips.min()), (self.elf.base_from(rip) for rip in dict.fromkeys(rips[:_TRIED].tolist()))
        self.base = next((b for b in bases if b is not None and b <= low < b + self.elf.end), None)
        self.settled = True


#: Instructions among which the entry is sought: a program's own resolvers of functions may run before.
_TRIED = 1 << 12


class Programs:
    """The images of a trace, as its exec and fork events tell; ``command`` ran where no event tells."""

    COLUMNS = ("event", "pid", "rip", "other_tid", "detail")

    def __init__(self, command: Sequence[str], find: Find, given: Sequence[Given] = ()) -> None:
        self._find, self._given = find, given
        self._line = Timeline()
        self._path = command[0] if command else ""
        self.images: list[Image] = []
        self._known: tuple[pa.RecordBatch | None, npt.NDArray[np.int64]] = (None, np.zeros(0, np.int64))

    def images_of(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """The number of the image of each row; the batches of a trace are given in their order, each any number of
        times."""
        if self._known[0] is not rows:
            self._known = rows, self._find_images(rows)
        return self._known[1]

    def _find_images(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        pids = np.asarray(rows.column("pid").fill_null(0)).astype(np.uint64)
        found = self._line.values(pids, list(self._changes(rows)))
        if not len(self.images):
            self._image(self._path)
        np.copyto(found, 0, where=found == NONE)
        if not all(image.settled for image in self.images):
            rips = np.asarray(rows.column("rip").fill_null(0))
            for number, image in enumerate(self.images):
                if not image.settled:
                    image.learn(rips[(found == number) & (rips != 0)])
        return found

    def _changes(self, rows: pa.RecordBatch) -> Iterator[Change]:
        now = dict(self._line.now)
        for at, (pid, path, child) in executions(rows):
            if path is not None:
                changed = Change(at, pid, self._image(path))
            elif pid in now:
                changed = Change(at, child, now[pid])
            else:
                continue
            now[changed.key] = changed.value
            yield changed

    def _image(self, path: str) -> int:
        given = next((one for one in self._given if basename(one.elf.path) == basename(path)), None)
        if given is None:
            self.images.append(Image(path, self._find(path)))
        else:
            given.used = True
            self.images.append(Image(path, given.elf, given.base))
        return len(self.images) - 1

    def functions(self, image: int, rips: npt.NDArray[np.uint64]) -> list[str]:
        """The name of the function of each address in an image."""
        own = self.images[image]
        names = np.full(len(rips), NO_SYMBOLS, object)
        everywhere = [one for one in self._given if one.anywhere and not one.used]
        files: list[tuple[Elf | None, int | None]] = [(one.elf, one.base or 0) for one in everywhere]
        for elf, base in [*files, (own.elf, own.base)]:
            if elf is None or base is None:
                continue
            left = np.flatnonzero((names == NO_SYMBOLS) & (rips >= np.uint64(base)))
            places = elf.places(rips[left] - np.uint64(base))
            for place in set(places[places >= 0].tolist()):
                names[left[places == place]] = elf.name(place)
        return list(names)

    def remarks(self) -> Iterator[str]:
        """Why functions have no names."""
        for path in dict.fromkeys(image.path for image in self.images):
            own = [image for image in self.images if image.path == path]
            if own[0].elf is None:
                yield f"no symbols of {path}: there is no such ELF file here; --elf FILE says where it is"
            elif own[0].elf.stripped:
                yield f"no symbols of {path}: it is stripped; --elf FILE says where it is with symbols"
            elif any(image.base is None for image in own):
                yield f"no symbols of {path}: it is not known where it was loaded; --elf {path}@BASE says so"
        for given in self._given:
            if not given.used and not given.anywhere:
                yield f"{given.elf.path} is no program of this trace: --elf {given.elf.path}@BASE says where it is"


class Execution(NamedTuple):
    """A process executes the program at ``path``; or, where that is None, makes the ``child``."""

    pid: int
    path: str | None
    child: int


def executions(rows: pa.RecordBatch) -> Iterator[tuple[int, Execution]]:
    """What the exec and fork events of these rows tell, and where."""
    for at, row in told(rows, ("exec", "fork"), ["pid", "other_tid", "detail"]):
        pid = row["pid"] or 0
        if row["event"] == "exec":
            yield at, Execution(pid, _path(row["detail"]), 0)
        elif row["other_tid"]:
            yield at, Execution(pid, None, row["other_tid"])


def told(rows: pa.RecordBatch, kinds: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of these few kinds: where each is, its kind, and these columns."""
    names = rows.column("event").dictionary
    wanted = [at for at, name in enumerate(names.to_pylist()) if name in kinds]
    if not wanted:
        return
    places = np.flatnonzero(np.isin(np.asarray(rows.column("event").indices.fill_null(-1)), wanted))
    chosen = rows.select(["event", *columns]).take(pa.array(places))
    yield from zip(places.tolist(), chosen.to_pylist(), strict=True)


def _path(detail: str | None) -> str:
    try:
        path = json.loads(detail or "")["path"]
    except (ValueError, LookupError, TypeError, RecursionError):
        path = ""
    return path if isinstance(path, str) else ""
