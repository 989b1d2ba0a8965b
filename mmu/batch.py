"""The entry point that translates a whole array of addresses: one call from Python, one walk an address."""

from __future__ import annotations

import numpy as np

from mmu.native import entry, load64, store64
from mmu.state import MmuState, Status
from mmu.walk import walk

#: What became of one address: see :func:`mmu.translation.translate_many`.
OUTCOME: np.dtype[np.void] = np.dtype(
    [("paddr", "<u8"), ("error_code", "<u4"), ("status", "<u2"), ("level", "<u2")]
)  # fmt: skip
_RECORD = OUTCOME.itemsize

assert OUTCOME.itemsize == 16


@entry("void", MmuState, "u64", "u64", "u64", "u64")
def walk_many(state: MmuState, vaddrs: int, count: int, access: int, outcomes: int) -> None:
    """Walk for ``count`` addresses (uint64, at the host address ``vaddrs``); ``outcomes`` is an array of OUTCOME."""
    end = vaddrs + count * 8
    while vaddrs != end:
        status = walk(state, load64(vaddrs), access)
        paddr = 0
        level = 0
        error_code = 0
        if status == Status.OK:
            paddr = state.paddr
            level = state.level
            if paddr >= state.ram_bytes:
                status = Status.BUS
                paddr = 0
                level = 0
        elif status == Status.PAGE_FAULT:
            error_code = state.error_code
            level = state.level
        store64(outcomes, paddr)
        store64(outcomes + 8, error_code | (status << 32) | (level << 48))
        vaddrs += 8
        outcomes += _RECORD
