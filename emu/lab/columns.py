"""Columns: the arrays of a batch as native code takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emu.lab.batch import FIELDS, Batch
from emu.lab.distances import CONTROL_BYTES, Accesses

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.lab.batch import Controls

_NAMES = ("vaddr", "kind", "space", "pcid", "vcpu", "shift")


class Columns(NamedTuple):
    """What analyses need of a batch, each array in a row (emu.lab.batch.FIELDS has the types)."""

    vaddr: npt.NDArray[np.uint64]
    kind: npt.NDArray[np.uint8]
    space: npt.NDArray[np.uint32]
    pcid: npt.NDArray[np.uint16]
    vcpu: npt.NDArray[np.uint8]
    shift: npt.NDArray[np.uint8]
    controls: Controls

    @classmethod
    def of(cls, batch: Batch) -> Columns:
        """Those of a batch, which may have one number for all accesses."""
        arrays: dict[str, npt.NDArray[Any]] = {
            name: np.ascontiguousarray(getattr(batch, name), FIELDS[name]) for name in _NAMES
        }
        return cls(**arrays, controls=np.ascontiguousarray(batch.controls))

    def record(self, taken: int = 0, done: int = 0) -> Accesses:
        """Where native code finds the accesses and the controls that are left, as long as the arrays are kept."""
        places = [array.ctypes.data + taken * array.itemsize for array in self[:6]]
        controls = self.controls.ctypes.data + done * CONTROL_BYTES
        return Accesses(*places, controls, len(self.controls) - done, taken)
