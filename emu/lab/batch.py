"""The access stream: every load, store and fetch of a run in its order, and what happened to translations in between.

A stream comes in batches, so that memory is flat in its length.  A batch has one row an access, in numpy arrays of one
length, and controls: what happened before the access of a given index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmu.access_log import EVERY_PCID, GLOBALS, Op, Register

#: Accesses of a batch, at most.
BATCH = 1 << 18


class StreamError(ValueError):
    """A file that is no access stream, or a damaged one; one line says which, and what is wrong."""


#: A control: ``at`` is the index in its batch of the access before which it happened (that behind the last one at the
#: end).
CONTROL = np.dtype([("a", "<u8"), ("b", "<u8"), ("at", "<u4"), ("op", "u1"), ("vcpu", "u1"), ("unused", "<u2")])
Controls = npt.NDArray[Any]

#: The arrays of a batch and their types.
FIELDS: dict[str, Any] = {
    "vaddr": np.uint64,
    "kind": np.uint8,
    "rip": np.uint64,
    "pid": np.int32,
    "space": np.uint32,
    "pcid": np.uint16,
    "vcpu": np.uint8,
    "shift": np.uint8,
}


@dataclass(frozen=True, eq=False)
class Batch:
    """Accesses, one a row, and the controls between them.

    >>> from mmu.registers import Access
    >>> one = Batch.of(vaddr=[0x401000, 0x7FFF_0000_0008], kind=[Access.FETCH, Access.WRITE], pid=100)
    >>> len(one), one.kind.tolist(), one.pid.tolist(), one.space.tolist()
    (2, [2, 1], [100, 100], [0, 0])
    """

    vaddr: npt.NDArray[np.uint64]
    kind: npt.NDArray[np.uint8]  # mmu.registers.Access: 0 load, 1 store, 2 fetch
    rip: npt.NDArray[np.uint64]  # of the instruction
    pid: npt.NDArray[np.int32]  # of the process (Linux's tgid)
    space: npt.NDArray[np.uint32]  # the address space: threads have one together
    pcid: npt.NDArray[np.uint16]
    vcpu: npt.NDArray[np.uint8]
    shift: npt.NDArray[np.uint8]  # log2 of the page's size: 12, 21 or 30; 0 where nobody knows (or it was a fault)
    controls: Controls

    def __post_init__(self) -> None:
        length = len(self.vaddr)
        for name, kind in FIELDS.items():
            array = getattr(self, name)
            if array.shape != (length,) or array.dtype != kind:
                raise ValueError(f"{name} of a batch of {length}: {array.dtype} of shape {array.shape}")

    def __len__(self) -> int:
        return len(self.vaddr)

    def part(self, begin: int, end: int) -> Batch:
        """The accesses from ``begin`` up to and without ``end``, with the controls before each; the last part has those
        behind the last access too."""
        at = self.controls["at"]
        controls = self.controls[(at >= begin) & ((at < end) | (end == len(self)))].copy()
        controls["at"] -= begin
        return Batch(**{name: getattr(self, name)[begin:end] for name in FIELDS}, controls=controls)

    @classmethod
    def of(cls, controls: Controls | None = None, **given: Any) -> Batch:
        """A batch of these arrays; what is one number is that for each access, and what is missing is 0."""
        length = max((len(value) for value in given.values() if np.ndim(value)), default=0)
        columns = {}
        for name, kind in FIELDS.items():
            value = given.pop(name, 0)
            columns[name] = (
                np.ascontiguousarray(value, kind) if np.ndim(value) else np.broadcast_to(kind(value), length)
            )
        if given:
            raise TypeError(f"a batch has no {next(iter(given))}")
        return cls(**columns, controls=np.zeros(0, CONTROL) if controls is None else controls)


def controls_of(rows: Sequence[tuple[int, Op, int, int, int]]) -> Controls:
    """Controls: ``(at, op, vcpu, a, b)`` each, in their order."""
    controls = np.zeros(len(rows), CONTROL)
    for control, (at, op, vcpu, a, b) in zip(controls, rows, strict=True):
        control["at"], control["op"], control["vcpu"], control["a"], control["b"] = at, op, vcpu, a, b
    return controls


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of several that follow each other."""
    if len(batches) == 1:
        return batches[0]
    columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in FIELDS}
    controls, at = [], 0
    for batch in batches:
        moved = batch.controls.copy()
        moved["at"] += at
        controls.append(moved)
        at += len(batch)
    return Batch(**columns, controls=np.concatenate(controls))


__all__ = [
    "BATCH",
    "CONTROL",
    "EVERY_PCID",
    "FIELDS",
    "GLOBALS",
    "Batch",
    "Controls",
    "Op",
    "Register",
    "StreamError",
    "controls_of",
    "joined",
]
