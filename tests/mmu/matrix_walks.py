"""Our walk over a forest: the native code for all cases at once, the plain Python functions for one."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from mmu.batch import OUTCOME
from mmu.event_table import EVENT
from mmu.state import MmuState, Status
from mmu.translation import batch_library, load_registers
from mmu.walk import walk
from tests.mmu.matrix_cases import Forest, Setting


class _State:
    """An MmuState with what it points to."""

    def __init__(self, forest: Forest) -> None:
        self._record = np.zeros(1, dtype=EVENT)
        self.state = MmuState(
            ram=forest.ram.host,
            ram_bytes=forest.ram.size,
            ring=self._record.ctypes.data,
            ring_capacity=1,
        )


class NativeWalks(_State):
    """walk_many, one call a top table."""

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest)
        self._forest = forest
        self._outcomes = np.zeros(forest.size, dtype=OUTCOME)
        self._walk_many = batch_library()["walk_many"].call

    def run(self, setting: Setting) -> npt.NDArray[np.void]:
        """Walk for every case; the tables keep what that did to them."""
        forest, state, access = self._forest, self.state, int(setting.access)
        forest.restore()
        load_registers(state, setting.registers)
        address, vaddrs, outcomes = ctypes.addressof(state), forest.vaddrs.ctypes.data, self._outcomes.ctypes.data
        for cr3, start, end in forest.chunks:
            state.cr3 = cr3
            self._walk_many(address, vaddrs + 8 * start, end - start, access, outcomes + OUTCOME.itemsize * start)
        return self._outcomes


class ReferenceWalks(_State):
    """mmu.walk.walk, called as the Python function that it is."""

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest)
        self._forest = forest
        self._loaded: Setting | None = None

    def run(self, setting: Setting, case: int) -> tuple[int, int, int, int]:
        """Walk for one case: address, error code, status and level."""
        forest, state = self._forest, self.state
        if setting is not self._loaded:
            forest.restore()
            load_registers(state, setting.registers)
            self._loaded = setting
        state.cr3 = next(cr3 for cr3, start, end in forest.chunks if start <= case < end)
        status = walk(state, int(forest.vaddrs[case]), int(setting.access))
        if status == Status.OK:
            return state.walked.paddr, 0, status, state.walked.level
        return 0, state.walked.error_code, status, state.walked.level

    def entries(self, case: int) -> tuple[int, int]:
        """The two entries of a case as they are now."""
        tables = self._forest.tables()
        return int(tables[self._forest.directory_at[case]]), int(tables[self._forest.leaf_at[case]])
