"""Accesses, pages and misses by function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emu.lab.distances import COLD, LEFT_OUT
from emu.lab.finding import Finding, Listing, percent
from emu.lab.lru_stack import LruStack

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.lab.batch import Batch
    from emu.lab.code_map import CodeMap
    from emu.lab.columns import Columns
    from emu.trace.stat.symbols import Elf

_ROWS = 30
_MASK_64 = (1 << 64) - 1
_DATA, _CODE = 0b011, 0b100
#: What is counted of each function.
_COUNTS = ("accesses", "pages", "data_misses", "code_misses")


class Image(NamedTuple):
    """An ELF file, and where it was loaded: what is added to its addresses."""

    elf: Elf
    base: int


class Code(NamedTuple):
    """What a stream says of mapped code, and who finds the file of a path here; None: there is none."""

    map: CodeMap
    find: Callable[[str], Elf | None]


class _Part(NamedTuple):
    """Where code is of a file: from, to, and what is added to the file's addresses."""

    begin: int
    end: int
    bias: int
    file: int


class ByFunction:
    """Which functions access, and miss in a fully associative LRU TLB of ``entries`` for data, and one for code.

    Functions are those of ``images``, in every process, and else of the files that were mapped (``code``).
    """

    def __init__(
        self, images: Sequence[Image], entries: int, *, code: Code | None = None, faults: bool = False
    ) -> None:
        self._entries, self._code = entries, code
        #: What each file is called, and it, if it is here, with symbols.
        self._files: list[tuple[str, Elf | None]] = [(elf.path, elf) for elf, _ in images]
        self._given = [_Part(base, base + elf.end, base, at) for at, (elf, base) in enumerate(images)]
        self._mapped: dict[tuple[str, str], int] = {}
        self._lacking: dict[str, str] = {}
        self._stacks = {kinds: LruStack(kinds, faults=faults) for kinds in (_DATA, _CODE)}
        self._pages = LruStack(invalidations=False, faults=faults)
        #: By its file and its place there, -1 where that is unknown, the number of each function; what is in no file
        #: is 0.
        self._numbers: dict[tuple[int, int], int] = {}
        self._counts = np.zeros((len(_COUNTS), 1), np.int64)

    def _parts(self, space: int) -> list[_Part]:
        """Where code is in an address space: what was given first, then what was mapped last."""
        if self._code is None:
            return self._given
        mapped = []
        for one in reversed(self._code.map.mappings(space)):
            file = self._file(one.path, one.build_id)
            elf = self._files[file][1]
            mapped.append(_Part(one.start, one.end, 0 if elf is None else elf.bias(one.start, one.offset), file))
        return [*self._given, *mapped]

    def _file(self, path: str, build_id: str) -> int:
        """The number of a file that was mapped."""
        assert self._code is not None
        key = path, build_id
        if key not in self._mapped:
            elf, lacks = self._code.find(path), ""
            if elf is None:
                lacks = "there is no such ELF file here"
            elif elf.stripped:
                lacks = "it is stripped"
            elif build_id and elf.build_id != build_id:
                lacks = "the file here has another build ID than what ran"
            if lacks:
                self._lacking.setdefault(path, lacks)
            self._mapped[key] = len(self._files)
            self._files.append((path, None if lacks else elf))
        return self._mapped[key]

    def _functions(self, rips: npt.NDArray[np.uint64], spaces: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The number of the function of each instruction."""
        numbers = np.zeros(len(rips), np.uint32)
        for space in np.unique(spaces).tolist():
            own = spaces == space
            known, back = np.unique(rips[own], return_inverse=True)
            found = np.zeros(len(known), np.uint32)
            for part in self._parts(space):
                inside = (known >= np.uint64(part.begin)) & (known < np.uint64(part.end)) & (found == 0)
                elf, given = self._files[part.file][1], part.file < len(self._given)
                bias = np.uint64(part.bias & _MASK_64)
                places = [-1] * int(inside.sum()) if elf is None else elf.places(known[inside] - bias).tolist()
                found[inside] = [
                    0 if place < 0 and given
                    else self._numbers.setdefault((part.file, place), len(self._numbers) + 1)
                    for place in places
                ]  # fmt: skip
            numbers[own] = found[back]
        return numbers

    def take(self, batch: Batch, columns: Columns) -> None:
        """Take the accesses of a batch, whose rips are known."""
        functions = self._functions(np.asarray(batch.rip), np.asarray(batch.space))
        size = len(self._numbers) + 1
        counts = np.zeros((len(_COUNTS), size), np.int64)
        counts[:, : self._counts.shape[1]] = self._counts
        distances = np.zeros(len(functions), np.uint64)
        self._pages.take(columns._replace(space=functions, controls=columns.controls[:0]), distances)
        counts[0] += np.bincount(functions[distances != LEFT_OUT], minlength=size)
        counts[1] += np.bincount(functions[distances == COLD], minlength=size)
        for row, stack in zip((2, 3), self._stacks.values(), strict=True):
            stack.take(columns, distances)
            missed = (distances >= np.uint64(self._entries)) & (distances != LEFT_OUT)
            counts[row] += np.bincount(functions[missed], minlength=size)
        self._counts = counts

    def finding(self) -> Finding:
        """Those with most misses."""
        names = [("(in none of the files)", "")]
        for file, place in self._numbers:
            path, elf = self._files[file]
            names.append(("(no symbols)" if elf is None or place < 0 else elf.name(place), path))
        found: list[dict[str, Any]] = [
            {"function": name, "file": path, **dict(zip(_COUNTS, counts, strict=True))}
            for (name, path), counts in zip(names, self._counts.T.tolist(), strict=True)
            if counts[0]
        ]
        found.sort(key=lambda one: (-one["data_misses"] - one["code_misses"], -one["accesses"], one["function"]))
        whole = sum(one["accesses"] for one in found)
        rows = [
            (
                one["function"], one["file"].rpartition("/")[2], f"{one['accesses']:,}",
                percent(one["accesses"], whole), *(f"{one[name]:,}" for name in _COUNTS[1:]),
            )
            for one in found[:_ROWS]
        ]  # fmt: skip
        headers = ("function", "file", "accesses", "of all", "pages", "data misses", "code misses")
        remark = (
            f"Misses are those of a fully associative LRU TLB of {self._entries:,} entries for data, and one for code;"
            " pages are those that the function touches."
        )
        remark += "".join(f" No symbols of {path}: {why}." for path, why in self._lacking.items())
        more = len(found) - len(rows)
        listing = Listing(f"{more:,} more are not listed" if more else "", headers, rows, words=2)
        return Finding("functions", "Functions with most misses", remark, [listing], [], {"functions": found})
