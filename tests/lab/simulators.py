"""ChampSim and DynamoRIO's drcachesim as TLBs: what each reads, how it is run, and what its output says.

Neither is part of this repository, nor of its tests: who has a build of one names it to
:mod:`tests.lab.compare_simulators`.  What is written here follows their public sources: ChampSim's
inc/trace_instruction.h and its option ``--json``; drcachesim's trace_entry.h, options.cpp and tlb_simulator.cpp.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from emu.lab.batch import Batch
from emu.trace.formats.memtrace import RECORD, VERSION, Marker, Type
from mmu.registers import Access


class ComparisonError(Exception):
    """What there is cannot be compared; one line says why."""


class Counts(NamedTuple):
    """Hits and misses of an array."""

    hits: int
    misses: int


class Simulator(ABC):
    """One of them, in a directory that its files go to."""

    #: What people call it, and the end of the names of its traces.
    name: ClassVar[str]
    suffix: ClassVar[str]
    #: Our word for each array that is compared, and its.
    arrays: ClassVar[dict[str, str]]
    #: What differs between the two for reasons that are no fault, in a sentence.
    caution: ClassVar[str]

    def __init__(self, binary: Path, directory: Path) -> None:
        self.binary = binary
        self.directory = directory
        self.trace = directory / f"stream{self.suffix}"

    def write(self, batches: Iterable[Batch]) -> int:
        """Write its trace; returns how many loads and stores are in it."""
        number = 0
        with self.trace.open("wb") as file:
            file.write(self._head())
            for batch in batches:
                records, some = self._records(batch)
                file.write(records)
                number += some
            file.write(self._tail())
        return number

    @abstractmethod
    def geometry(self) -> str:
        """What ``unimmu tlb sim --tlb`` takes for the same geometry."""

    @abstractmethod
    def command(self, accesses: int) -> list[str]:
        """The command that simulates the trace."""

    @abstractmethod
    def read(self, printed: str) -> dict[str, Counts]:
        """What it has counted, by our word for the array.  :class:`ComparisonError` if that is not to be understood."""

    @abstractmethod
    def _records(self, batch: Batch) -> tuple[bytes, int]: ...

    def _head(self) -> bytes:
        return b""

    def _tail(self) -> bytes:
        return b""


class ChampSim(Simulator):
    """A core of which the TLBs are a part: each load of the trace waits for the one before, since loads that wait for
    the same page are one in its queues.  It tells stores from loads in its data caches only, so all are loads here, and
    all are of one instruction."""

    name, suffix = "ChampSim", ".champsim"
    arrays: ClassVar = {"DTLB": "DTLB", "STLB": "STLB"}
    caution = "its time is that of a whole core, of which the TLBs are a part"

    _RECORD = np.dtype([
        ("ip", "<u8"), ("is_branch", "u1"), ("branch_taken", "u1"), ("destination_registers", "u1", 2),
        ("source_registers", "u1", 4), ("destination_memory", "<u8", 2), ("source_memory", "<u8", 4),
    ])  # fmt: skip
    _IP = 0x40_1000
    #: Neither 6, the stack pointer, nor 25 and 26, flags and instruction pointer, which make branches.
    _REGISTER = 1
    _KINDS = ("LOAD", "RFO", "WRITE", "TRANSLATION", "PREFETCH")

    def geometry(self) -> str:
        return "champsim"

    def command(self, accesses: int) -> list[str]:
        instructions = ["--warmup-instructions", "0", "--simulation-instructions", str(accesses)]
        return [str(self.binary), *instructions, str(self.trace), "--json", str(self._json)]

    def read(self, printed: str) -> dict[str, Counts]:
        try:
            # what has been simulated since the warm-up is the last phase
            counted = json.loads(self._json.read_bytes())[-1]["roi"]
            return {ours: self._counts(counted[f"cpu0_{theirs}"]) for ours, theirs in self.arrays.items()}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ComparisonError(
                f"{self.name}: its --json is not understood: {type(error).__name__}: {error}"
            ) from None

    @property
    def _json(self) -> Path:
        return self.directory / "champsim.json"

    def _counts(self, array: dict[str, Any]) -> Counts:
        """Of all kinds of access; each is a number, or one for each core."""
        hits, misses = (
            sum(int(np.sum(array[kind][what])) for kind in self._KINDS if kind in array) for what in ("hit", "miss")
        )
        return Counts(hits, misses)

    def _records(self, batch: Batch) -> tuple[bytes, int]:
        vaddrs = batch.vaddr[(batch.kind != Access.FETCH) & (batch.vaddr != 0)]  # 0 is no address to it
        records = np.zeros(len(vaddrs), self._RECORD)
        records["ip"] = self._IP
        records["destination_registers"][:, 0] = records["source_registers"][:, 0] = self._REGISTER
        records["source_memory"][:, 0] = vaddrs
        return records.tobytes(), len(vaddrs)


class Drcachesim(Simulator):
    """DynamoRIO's TLB simulator.  Each TLB of its has the policy that ``policy`` names; LFU, its default, evicts of
    several that were used as seldom the one in the first way, and ours the one used longest ago."""

    name, suffix = "drcachesim", ".memtrace"
    arrays: ClassVar = {"L1I": "L1I", "L1D": "L1D", "LL": "LL"}
    caution = "its time has that of reading the trace in it, as ours has"

    #: Sets and ways by default (options.cpp: TLB_L1I_entries and the like), and their options.
    _SHAPES: ClassVar = {"L1I": (1, 32, "L1I"), "L1D": (1, 32, "L1D"), "LL": (256, 4, "L2")}
    _LEVELS: ClassVar = {
        "L1I": (1, '["fetch"]'),
        "L1D": (1, '["load", "store"]'),
        "LL": (2, '["load", "store", "fetch"]'),
    }
    _TYPES: ClassVar = {Access.READ: Type.READ, Access.WRITE: Type.WRITE, Access.FETCH: Type.INSTR}
    _RECORD = np.dtype([("type", "<u2"), ("size", "<u2"), ("value", "<u8")])
    _SECTION = re.compile(r"^\s+(L1I|L1D|LL) stats:\s+Hits:\s+([\d.,']+)\s+Misses:\s+([\d.,']+)", re.MULTILINE)
    _ID = 100

    def __init__(self, binary: Path, directory: Path, policy: str = "lru") -> None:
        super().__init__(binary, directory)
        self.policy = policy

    def geometry(self) -> str:
        lines = ["[drcachesim]", 'title = "drcachesim by default"', "structure_caches = {}", 'structure_source = ""']
        lines += ["cautions = []"]
        for name, (level, kinds) in self._LEVELS.items():
            sets, ways, _ = self._SHAPES[name]
            lines += ["[[drcachesim.arrays]]", f'name = "{name}"', f"level = {level}", f"kinds = {kinds}"]
            lines += ['page_sizes = ["4K"]', f"sets = {sets}", f"ways = {ways}", f'replacement = "{self.policy}"']
            lines += ['source = "its options"']
        path = self.directory / "drcachesim.toml"
        path.write_text("\n".join(lines) + "\n", encoding="ascii")
        return str(path)

    def command(self, accesses: int) -> list[str]:
        shapes = [
            word
            for sets, ways, option in self._SHAPES.values()
            for word in (f"-TLB_{option}_entries", str(sets * ways), f"-TLB_{option}_assoc", str(ways))
        ]
        words = ["-t", "drcachesim", "-infile", str(self.trace), "-simulator_type", "TLB", "-cores", "1"]
        return [str(self.binary), *words, *shapes, "-TLB_replace_policy", self.policy.upper()]

    def read(self, printed: str) -> dict[str, Counts]:
        _, _, results = printed.partition("TLB simulation results:")
        found = {name: Counts(_number(hits), _number(misses)) for name, hits, misses in self._SECTION.findall(results)}
        if found.keys() != self.arrays.keys():
            last = (printed.strip().splitlines() or ["nothing was printed"])[-1]
            raise ComparisonError(f"{self.name}: what it prints is not understood: {last[:200]}")
        return found

    def _head(self) -> bytes:
        first = [(Type.HEADER, 0, VERSION), (Type.MARKER, Marker.VERSION, VERSION), (Type.THREAD, 4, self._ID)]
        rest = [(Type.PID, 4, self._ID), (Type.MARKER, Marker.PAGE_SIZE, 4096), (Type.MARKER, Marker.TIMESTAMP, 0)]
        return b"".join(RECORD.pack(*record) for record in (*first, *rest, (Type.MARKER, Marker.CPU_ID, 0)))

    def _tail(self) -> bytes:
        return RECORD.pack(Type.FOOTER, 0, 0)

    def _records(self, batch: Batch) -> tuple[bytes, int]:
        records = np.zeros(len(batch), self._RECORD)
        records["type"] = _of_kind(batch.kind, self._TYPES)
        records["size"] = 1
        records["value"] = batch.vaddr
        return records.tobytes(), int((batch.kind != Access.FETCH).sum())


def _of_kind(kinds: npt.NDArray[np.uint8], types: dict[Access, Type]) -> npt.NDArray[np.uint16]:
    """The type of each access."""
    table = np.array([types[Access(kind)] for kind in range(len(types))], np.uint16)
    return table[kinds]


def _number(text: str) -> int:
    """A whole number, as a locale groups its digits."""
    return int(re.sub(r"\D", "", text))
