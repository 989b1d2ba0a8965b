"""The entry point that translates a whole array of addresses: one call from Python, one walk an address."""

from __future__ import annotations

import numpy as np

from mmu.native import U, entry, load64, store64
from mmu.state import MmuState, Status
from mmu.walk import walk

#: What became of one address: see :func:`mmu.translation.translate_many`.
OUTCOME: np.dtype[np.void] = np.dtype(
    [("paddr", "<u8"), ("error_code", "<u4"), ("status", "<u2"), ("level", "<u2")]
)  # fmt: skip
_OK, _PAGE_FAULT, _BUS = (U(s) for s in (Status.OK, Status.PAGE_FAULT, Status.BUS))
_ZERO, _EIGHT, _RECORD = U(0), U(8), U(OUTCOME.itemsize)
_STATUS_SHIFT, _LEVEL_SHIFT = U(32), U(48)

assert OUTCOME.itemsize == 16


@entry("void", MmuState, "u64", "u64", "u64", "u64")
def walk_many(state: MmuState, vaddrs: int, count: int, access: int, outcomes: int) -> None:
    """Walk for ``count`` addresses (uint64, at the host address ``vaddrs``); ``outcomes`` is an array of OUTCOME."""
    end = vaddrs + count * _EIGHT
    while vaddrs != end:
        status = walk(state, load64(vaddrs), access)
        paddr = _ZERO
        level = _ZERO
        error_code = _ZERO
        if status == _OK:
            paddr = state.paddr
            level = state.level
            if paddr >= state.ram_bytes:
                status = _BUS
                paddr = _ZERO
                level = _ZERO
        elif status == _PAGE_FAULT:
            error_code = state.error_code
            level = state.level
        store64(outcomes, paddr)
        store64(outcomes + _EIGHT, error_code | (status << _STATUS_SHIFT) | (level << _LEVEL_SHIFT))
        vaddrs += _EIGHT
        outcomes += _RECORD
