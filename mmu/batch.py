"""The entry point that translates a whole array of addresses: one call from Python, one walk an address."""

from __future__ import annotations

import ctypes
from typing import cast

import numpy as np

from mmu.native import entry, load64
from mmu.state import MmuState, Status, fields
from mmu.walk import walk


class WalkOutcome(ctypes.Structure):
    """The outcome for one address: see :func:`mmu.translation.translate_many`."""

    paddr: int
    error_code: int
    status: int
    level: int

    _fields_ = fields(__annotations__, error_code=ctypes.c_uint32, status=ctypes.c_uint16, level=ctypes.c_uint16)


#: The same for arrays of outcomes.
OUTCOME = cast("np.dtype[np.void]", np.dtype(WalkOutcome))
_BYTES = OUTCOME.itemsize

assert OUTCOME.itemsize == 16


@entry("void", MmuState, "u64", "u64", "u64", "u64")
def walk_many(state: MmuState, vaddrs: int, count: int, access: int, outcomes: int) -> None:
    """Walk for ``count`` addresses (uint64, at the host address ``vaddrs``); ``outcomes`` is an array of OUTCOME."""
    end = vaddrs + count * 8
    while vaddrs != end:
        outcome = WalkOutcome.from_address(outcomes)
        status = walk(state, load64(vaddrs), access)
        paddr, level, error_code = 0, 0, 0
        if status == Status.OK:
            if state.walked.paddr >= state.ram_bytes:
                status = Status.BUS
            else:
                paddr, level = state.walked.paddr, state.walked.level
        elif status == Status.PAGE_FAULT:
            error_code, level = state.walked.error_code, state.walked.level
        outcome.paddr = paddr
        outcome.error_code = error_code
        outcome.status = status
        outcome.level = level
        vaddrs += 8
        outcomes += _BYTES
