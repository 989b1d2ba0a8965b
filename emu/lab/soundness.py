"""What a recorded stream must be for native code to read it: a file may be damaged, or made to do harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emu.lab.batch import Op, Register
from mmu.memory import MAX_BYTES, PAGE_SIZE
from mmu.record import replace
from mmu.registers import Registers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from emu.lab.batch import Controls

#: Rows of a row group, at most: who reads has memory for so many.
MOST_ROWS = 1 << 22
#: Loads of registers besides CR3 between the accesses of a batch, at most.  A run that is recorded has six, at its
#: beginning; each concerns all vCPUs of all models.
_MOST_REGISTERS = 1 << 10
_OPS = np.zeros(256, np.bool_)
_OPS[[*Op]] = True
#: Of ``access`` of the file's format, the bits of the kind, those of all sizes of pages, and where these begin.
_KIND, _SIZES, _SIZE_SHIFT = 3, 7, 2


def check_facts(facts: Mapping[str, str]) -> None:
    """ValueError if what is said of the machine cannot be."""
    memory = facts.get("memory_bytes", str(PAGE_SIZE))
    if not memory.isdecimal() or len(memory) > 20 or int(memory) % PAGE_SIZE or not 0 < int(memory) <= MAX_BYTES:
        raise ValueError(f"the machine had no memory of {memory:.60} bytes")
    seed = facts.get("seed", "0")
    if len(seed) > 20 or not seed.removeprefix("-").isdecimal():
        raise ValueError(f"{seed:.60} is no seed")


def check_batch(
    pages: npt.NDArray[np.uint64], controls: Controls, columns: Mapping[str, npt.NDArray[Any]], rows: int
) -> None:
    """ValueError unless the ``rows`` accesses are of pages that there are, and the controls between them ones that
    can be done.  ``columns`` are those that were read, as in the file."""
    if rows and "page" in columns and int(columns["page"].max()) >= len(pages):
        raise ValueError(f"an access is of page {int(columns['page'].max())} of {len(pages)}")
    if rows and "access" in columns and not _are_known(columns["access"]):
        raise ValueError("an access is of no kind that there is, or its page of no size")
    if not len(controls):
        return
    at = controls["at"]
    if at[-1] > rows or (at[1:] < at[:-1]).any():
        raise ValueError(f"controls are not in the order of the {rows} accesses")
    if not _OPS[controls["op"]].all():
        raise ValueError("a control does nothing that is known")
    if (controls["a"][controls["op"] == Op.ENTRY] & np.uint64(7)).any():
        raise ValueError("an entry of a page table is not at a multiple of 8")
    registers = controls[controls["op"] == Op.REGISTER]
    if len(registers) > _MOST_REGISTERS:
        most = _MOST_REGISTERS
        raise ValueError(f"registers are loaded {len(registers)} times; no more than {most} times are believed")
    for control in registers:
        _check_register(int(control["a"]), int(control["b"]))


def _are_known(access: npt.NDArray[np.uint8]) -> bool:
    """Whether each ``access`` says a kind, and one size of pages or none; most often all say the same size."""
    sizes = int(np.bitwise_or.reduce(access)) >> _SIZE_SHIFT
    if sizes > _SIZES or (access & np.uint8(_KIND)).max() == _KIND:
        return False
    if sizes & (sizes - 1):
        each = access >> np.uint8(_SIZE_SHIFT)
        return not (each & (each - np.uint8(1))).any()
    return True


def _check_register(number: int, value: int) -> None:
    """ValueError unless a processor that pages in IA-32e mode may have the value in that register."""
    try:
        changed: dict[str, Any] = {Register(number).name.lower(): value}
        replace(Registers(cr3=0), **changed)
    except ValueError as error:
        raise ValueError(f"register {number} cannot be {value:#x}: {error}") from None
