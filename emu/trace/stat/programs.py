"""Which program each event ran in, and which of its functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os.path import basename
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.trace.stat.image import Image, Mapping
from emu.trace.stat.symbols import Elf
from emu.trace.stat.timeline import NONE, Change, Timeline

_MASK_64 = (1 << 64) - 1
NO_SYMBOLS = "(no symbols)"
_ANOTHER = "the file here has another build ID than what ran; --elf FILE names it"
#: By this path a program executes itself.
_ITSELF = "/proc/self/exe"

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


class Function(NamedTuple):
    """Its name, and the file that it is in."""

    name: str
    path: str


class Programs:
    """The images of a trace, as its exec and fork events tell; ``command`` ran where no event tells."""

    COLUMNS = ("event", "pid", "rip", "other_tid", "detail")

    def __init__(self, command: Sequence[str], find: Find, given: Sequence[Given] = ()) -> None:
        self._find, self._given = find, given
        self._line = Timeline()
        self._path = command[0] if command else ""
        #: The image of processes of which no event tells what they run.
        self._first: int | None = None
        self.images: list[Image] = []
        #: The file of each path and build ID that is mapped, and why one has no names.
        self._files: dict[tuple[str, str], Elf | None] = {}
        self._lacking: dict[str, str] = {}
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
        unknown = found == NONE
        if unknown.any() or not self.images:
            if self._first is None:
                executed = self.images and self.images[0].executed
                self._first = 0 if executed else self._image(self._path)
            np.copyto(found, self._first, where=unknown)
        if not all(image.settled for image in self.images):
            rips = np.asarray(rows.column("rip").fill_null(0))
            for number, image in enumerate(self.images):
                if not image.settled:
                    image.learn(rips[(found == number) & (rips != 0)])
        return found

    def _changes(self, rows: pa.RecordBatch) -> Iterator[Change]:
        now = dict(self._line.now)
        for at, row in told(rows, ("exec", "fork", "mmap"), ["pid", "other_tid", "detail"]):
            pid = row["pid"] or 0
            if row["event"] == "exec":
                path = _path(row["detail"])
                again = path == _ITSELF and pid in now
                changed = Change(at, pid, self._image(self.images[now[pid]].path if again else path))
            elif row["event"] == "mmap":
                number = self._map(now.get(pid), Mapping.told(row["detail"]))
                if number is None:
                    continue
                changed = Change(at if pid in now else 0, pid, number)  # it ran before the recording
            elif pid in now and row["other_tid"]:
                changed = Change(at, row["other_tid"], now[pid])
            else:
                continue
            now[changed.key] = changed.value
            yield changed

    def _map(self, number: int | None, mapping: Mapping | None) -> int | None:
        """A process with this image maps code; the number of the image that it has then, if that is another."""
        if mapping is None or (number is not None and mapping in self.images[number].mappings):
            return None
        if number is None:  # what it has executed was not recorded
            self.images.append(Image(self._path, None, executed=False, mappings=[mapping]))
            return len(self.images) - 1
        image = self.images[number]
        if image.has_room(mapping):
            image.map(mapping)
            if image.elf is None and mapping.path == image.program != image.path:
                self._find_program(image, mapping)
            if image.is_another(mapping):
                self._lacking.setdefault(image.path, _ANOTHER)
            return None
        self.images.append(image.with_mapping(mapping))
        return len(self.images) - 1

    def _find_program(self, image: Image, mapping: Mapping) -> None:
        """The path that execve was given is one from a working directory, or a script's: the first code that is mapped
        says which file it is."""
        given = self._given_for(mapping.path)
        elf = self._find(mapping.path) if given is None else given.elf
        image.path, image.given = mapping.path, given is not None
        if elf is not None:
            image.elf, image.base = elf, elf.bias(mapping.start, mapping.offset)

    def _image(self, path: str) -> int:
        given = self._given_for(path)
        if given is None:
            self.images.append(Image(path, self._find(path)))
        else:
            self.images.append(Image(path, given.elf, given.base, given=True))
        return len(self.images) - 1

    def _given_for(self, path: str) -> Given | None:
        given = next((one for one in self._given if basename(one.elf.path) == basename(path)), None)
        if given is not None:
            given.used = True
        return given

    def functions(self, image: int, rips: npt.NDArray[np.uint64]) -> tuple[list[Function], npt.NDArray[np.intp]]:
        """Functions, and which of them has each address in an image."""
        own = self.images[image]
        found, places = [Function(NO_SYMBOLS, own.path)], np.zeros(len(rips), np.intp)

        def name(low: int, high: int, elf: Elf | None, bias: int, path: str) -> None:
            here = np.flatnonzero((places == 0) & (rips >= np.uint64(low)) & (rips < np.uint64(high)))
            if elf is None:
                places[here] = len(found)
                found.append(Function(NO_SYMBOLS, path))
                return
            inside = elf.places(rips[here] - np.uint64(bias & _MASK_64))
            for place in set(inside[inside >= 0].tolist()):
                places[here[inside == place]] = len(found)
                found.append(Function(elf.name(place), path))

        for given in self._given:
            if given.anywhere and not given.used:
                name(given.base or 0, _MASK_64, given.elf, given.base or 0, own.path)
        if own.elf is not None and own.base is not None:
            name(own.base, _MASK_64, own.elf, own.base, own.path)
        for mapping in own.mappings:
            if not np.any((rips >= np.uint64(mapping.start)) & (rips < np.uint64(mapping.end))):
                continue
            elf = None if mapping.path == own.program else self._file(mapping)
            if elf is not None:
                name(mapping.start, mapping.end, elf, elf.bias(mapping.start, mapping.offset), mapping.path)
            name(mapping.start, mapping.end, None, 0, own.path if mapping.path == own.program else mapping.path)
        return found, places

    def _file(self, mapping: Mapping) -> Elf | None:
        """The file that is mapped, with symbols."""
        key = mapping.path, mapping.build_id
        if key in self._files:
            return self._files[key]
        given = self._given_for(mapping.path)
        elf, lacks = (self._find(mapping.path) if given is None else given.elf), ""
        if elf is None:
            lacks = "there is no such ELF file here; --elf FILE says where it is"
        elif elf.stripped:
            lacks = "it is stripped; --elf FILE says where it is with symbols"
        elif given is None and mapping.symbols(elf) is None:
            lacks = _ANOTHER
        if lacks:
            self._lacking.setdefault(mapping.path, lacks)
        self._files[key] = None if lacks else elf
        return self._files[key]

    @property
    def sources(self) -> dict[str, str]:
        """By path the file here whose symbols are used."""
        images = {
            image.path: image.elf.path
            for image in self.images
            if image.elf is not None and image.base is not None and not image.elf.stripped
        }
        return images | {path: elf.path for (path, _), elf in self._files.items() if elf is not None}

    def remarks(self) -> Iterator[str]:
        """Why functions have no names."""
        executed = [image for image in self.images if image.executed]
        told = {image.path for image in self.images if not image.executed}
        for path in dict.fromkeys(image.path for image in executed if image.path not in told):
            own = [image for image in executed if image.path == path]
            if own[0].elf is None:
                yield f"no symbols of {path}: there is no such ELF file here; --elf FILE says where it is"
            elif own[0].elf.stripped:
                yield f"no symbols of {path}: it is stripped; --elf FILE says where it is with symbols"
            elif path in self._lacking:
                continue
            elif any(image.other for image in own) and not own[0].given:
                yield f"no symbols of {path}: what ran began elsewhere than the file of that path; --elf FILE names it"
            elif any(image.base is None for image in own):
                yield f"no symbols of {path}: it is not known where it was loaded; --elf FILE@BASE says so"
        yield from (f"no symbols of {path}: {why}" for path, why in self._lacking.items())
        for given in self._given:
            if not given.used and not given.anywhere:
                yield f"{given.elf.path} is no program of this trace: --elf {given.elf.path}@BASE says where it is"


class Execution(NamedTuple):
    """A process executes the program at ``path`` or, if not ``executed``, maps code of that file; or, where the path is
    None, makes the ``child``.
    """

    pid: int
    path: str | None
    child: int
    executed: bool = False


def executions(rows: pa.RecordBatch) -> Iterator[tuple[int, Execution]]:
    """What the exec, mmap and fork events of these rows tell, and where."""
    for at, row in told(rows, ("exec", "fork", "mmap"), ["pid", "other_tid", "detail"]):
        pid = row["pid"] or 0
        if row["event"] != "fork":
            yield at, Execution(pid, _path(row["detail"]), 0, executed=row["event"] == "exec")
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
