"""Recording the access stream of an Mmu in exact mode, or of the machine around it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from emu.lab.batch import BATCH, CONTROL, Batch, Controls, Op, Register, joined
from mmu.access_log import IS_CONTROL, LOGGED, RECORD_WORDS, AccessLog, note_control
from mmu.entries import ADDRESS
from mmu.host_array import HostArray
from mmu.memory import PhysicalMemory
from mmu.registers import CR4, PCID_MASK, Registers

if TYPE_CHECKING:
    from emu.machine import Machine
    from mmu import Mmu

Words = npt.NDArray[np.uint64]
#: Records of the log.
_CAPACITY = 1 << 16


def register_values(registers: Registers) -> dict[Register, int]:
    """What the registers are that decide what a walk finds."""
    return {
        Register.CR0: registers.cr0, Register.CR4: registers.cr4, Register.EFER: registers.efer,
        Register.PKRU: registers.pkru, Register.CPL: registers.cpl, Register.MAXPHYADDR: registers.maxphyaddr,
    }  # fmt: skip


def record_machine(machine: Machine, write: Callable[[Batch], None]) -> StreamRecorder:
    """Record the accesses of a machine."""
    flusher = machine.kernel.flusher
    return StreamRecorder(machine.kernel.cpu.mmu, write, lambda: flusher.loaded)


class StreamRecorder:
    """Hands the accesses that an Mmu in exact mode models, in batches, to ``write``, from now on; to be finished.

    ValueError in filtered mode, in which nobody sees the accesses.  What is counted is the same with and without it.
    """

    def __init__(
        self, mmu: Mmu, write: Callable[[Batch], None], loaded: Callable[[], object | None] | None = None
    ) -> None:
        """``loaded()`` is the address space that the processor has loaded which has the state, None for none; by
        default there is one for each address of tables."""
        self._mmu = mmu
        if not mmu.tlbs:
            raise ValueError("there is nothing to record of each access where no TLB is modelled")
        self._space = loaded or self._tables
        self._state = state = mmu.state
        self._write = write
        self._records = HostArray((_CAPACITY, RECORD_WORDS), "Q")
        self._told = PhysicalMemory(mmu.ram.size, huge_pages=False)
        self._log = AccessLog(records=self._records.address, capacity=_CAPACITY, told=self._told.host)
        self._registers = register_values(mmu.registers)
        #: Address spaces by number.
        self._numbers: MutableMapping[Any, int] = {} if loaded is None else WeakKeyDictionary()
        self._last_number = 0
        #: By vCPU: the address space that is loaded, and its PCID; and which vCPU has made the last access.
        self._spaces = [0] * mmu.processors
        self._pcids = [0] * mmu.processors
        self._turn = -1
        self._batches: list[Batch] = []
        self._length = 0
        state.access_log = ctypes.addressof(self._log)
        state.event_mask |= LOGGED
        mmu.events.empty_log = self._drain
        for register, value in self._registers.items():
            note_control(state, Op.REGISTER, register, value)
        for cpu, model in enumerate(mmu.tlbs):
            model.on_registers = self._loaded
            with mmu.on(cpu):
                if self._space() is not None:
                    self._loaded()

    def finish(self) -> None:
        """Hand over what is left, and record no more."""
        if not self._state.access_log:
            return
        self._drain()
        self._state.access_log = 0
        self._state.event_mask &= ~LOGGED
        self._mmu.events.empty_log = None
        for model in self._mmu.tlbs:
            model.on_registers = None
        self._give()
        if register_values(self._mmu.registers) != self._registers:
            raise RuntimeError("control registers have changed while accesses were recorded, which is not built")

    def _tables(self) -> int:
        return self._state.cr3 & ADDRESS

    def _loaded(self) -> None:
        """CR3 of the vCPU that has the state has been loaded."""
        space = self._space()
        assert space is not None
        note_control(self._state, Op.CR3, self._state.cr3, self.number_of(space))

    def number_of(self, space: object) -> int:
        """The number of an address space in the stream."""
        number = self._numbers.get(space)
        if number is None:
            self._last_number += 1
            number = self._numbers[space] = self._last_number
        return number

    def _drain(self) -> None:
        """Take the records out of the log."""
        number, self._log.head = self._log.head, 0
        rows = self._records.array[:number].copy()
        third = rows[:, 2]
        controls = (third & np.uint64(IS_CONTROL)) != 0
        behind = np.cumsum(~controls)
        batch = self._batch(rows[~controls], self._controls(rows[controls], behind[controls]))
        if len(batch) or len(batch.controls):
            self._batches.append(batch)
            self._length += len(batch) + len(batch.controls)
            if self._length + _CAPACITY > BATCH:
                self._give()

    @staticmethod
    def _controls(rows: Words, at: npt.NDArray[np.intp]) -> Controls:
        controls = np.zeros(len(rows), CONTROL)
        controls["a"], controls["b"], controls["at"] = rows[:, 0], rows[:, 1], at
        controls["op"], controls["vcpu"] = rows[:, 2] & np.uint64(0x7F), rows[:, 2] >> np.uint64(16) & np.uint64(0xFF)
        return controls

    def _batch(self, rows: Words, controls: Controls) -> Batch:
        third = rows[:, 2]
        vcpu = (third >> np.uint64(16) & np.uint64(0xFF)).astype(np.uint8)
        space, pcid = self._by_vcpu(vcpu, controls)
        return Batch(
            vaddr=np.ascontiguousarray(rows[:, 0]),
            rip=np.ascontiguousarray(rows[:, 1]),
            kind=(third & np.uint64(3)).astype(np.uint8),
            shift=(third >> np.uint64(8) & np.uint64(0xFF)).astype(np.uint8),
            pid=(third >> np.uint64(32)).astype(np.int32),
            vcpu=vcpu,
            space=space,
            pcid=pcid,
            controls=self._with_turns(vcpu, controls),
        )

    def _by_vcpu(
        self, vcpu: npt.NDArray[np.uint8], controls: Controls
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """The address space and the PCID of each access: what its vCPU has loaded last."""
        space, pcid = np.zeros(len(vcpu), np.uint32), np.zeros(len(vcpu), np.uint16)
        for cpu in range(len(self._spaces)):
            own, begin = vcpu == cpu, 0
            loads = controls[(controls["op"] == Op.CR3) & (controls["vcpu"] == cpu)]
            for at, cr3, number in [*zip(loads["at"], loads["a"], loads["b"], strict=True), (len(vcpu), 0, 0)]:
                part = slice(begin, int(at))
                space[part][own[part]], pcid[part][own[part]] = self._spaces[cpu], self._pcids[cpu]
                if at < len(vcpu) or number:
                    self._spaces[cpu], self._pcids[cpu] = int(number), int(cr3) & self._pcid_mask
                begin = int(at)
        return space, pcid

    @property
    def _pcid_mask(self) -> int:
        return PCID_MASK if self._registers[Register.CR4] & CR4.PCIDE else 0

    def _with_turns(self, vcpu: npt.NDArray[np.uint8], controls: Controls) -> Controls:
        """With a control before each access that is another vCPU's than the one before."""
        if not len(vcpu):
            return controls
        before = np.concatenate(([self._turn], vcpu[:-1].astype(np.int64)))
        self._turn = int(vcpu[-1])
        at = np.flatnonzero(before != vcpu)
        turns = np.zeros(len(at), CONTROL)
        turns["at"], turns["op"], turns["vcpu"] = at, Op.TURN, vcpu[at]
        whole = np.concatenate((controls, turns))
        return whole[np.argsort(whole["at"], kind="stable")]

    def _give(self) -> None:
        """Hand over what there is, as one batch."""
        batches, self._batches, self._length = self._batches, [], 0
        if batches:
            self._write(joined(batches))
