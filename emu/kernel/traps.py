"""Exceptions: what the CPU raised in user mode, as signals (arch/x86/kernel/traps.c, arch/x86/mm/fault.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu.trap import DR6_BS, Trap, TrapKind
from emu.instructions.raised import AC, DB, GP, MF, OF, SS, UD, XM
from emu.kernel.signal_state import (
    BUS_ADRALN,
    BUS_ADRERR,
    FPE_FLTDIV,
    FPE_FLTINV,
    FPE_FLTOVF,
    FPE_FLTRES,
    FPE_FLTUND,
    FPE_INTDIV,
    ILL_ILLOPN,
    SEGV_ACCERR,
    SEGV_MAPERR,
    TRAP_BRKPT,
    TRAP_TRACE,
    SiCode,
    Sig,
    SigInfo,
)
from emu.kernel.vdso import VSYSCALL
from emu.linux.cost import Cost
from emu.mm.flags import FaultResult
from mmu import Access, GeneralProtection, PageFault
from mmu.faults import ErrorCode

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.kernel.signals import Signals
    from emu.kernel.task import Task
    from emu.linux.clock import Clock

_TRAP = Cost.TRAP
_DIVIDE_ERROR, _BREAKPOINT, _PAGE_FAULT = 0, 3, 14


class Traps:
    """Makes signals of exceptions.

    ``out_of_memory`` ends a task for which there is no page; ``log`` and ``log_once`` tell the user.
    """

    def __init__(
        self,
        cpu: Cpu,
        clock: Clock,
        signals: Signals,
        out_of_memory: Callable[[Task], None],
        *,
        log: Callable[[str], None],
        log_once: Callable[[str], None],
    ) -> None:
        self._cpu = cpu
        self._clock = clock
        self._signals = signals
        self._out_of_memory = out_of_memory
        self._log, self._log_once = log, log_once
        #: Extensions of which the user was told that there is none.
        self._missing: set[str] = set()

    def raise_signal(self, task: Task, trap: Trap) -> None:
        """The signal of a trap that the guest caused."""
        if trap.kind == TrapKind.FAULT:
            assert trap.fault is not None
            if trap.access == Access.FETCH and task.rip >> 12 == VSYSCALL >> 12 and trap.fault.vaddr == task.rip:
                self._vsyscall(task)
                return
            self._unresolved_fault(task, trap.fault, trap.access)
        elif trap.kind == TrapKind.INVALID_OPCODE:
            self._say_what_is_missing(task)
            self.force(task, Sig.ILL, ILL_ILLOPN, task.rip, UD)
        else:
            self._vector(task, trap)

    def _vsyscall(self, task: Task) -> None:
        from emu.kernel.vsyscall import emulate  # hardly any program has it called

        task.fault_result = None
        if not emulate(self._cpu, self._clock, task):
            self.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP)

    def _unresolved_fault(self, task: Task, fault: PageFault | GeneralProtection, access: Access) -> None:
        if isinstance(fault, GeneralProtection):
            if access != Access.FETCH and self._cpu.is_on_stack(fault.vaddr):
                self.force(task, Sig.BUS, SiCode.KERNEL, 0, SS)
            else:
                self.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP)
            return
        result, task.fault_result = task.fault_result, None
        signals = {
            FaultResult.MAPERR: (Sig.SEGV, SEGV_MAPERR),
            FaultResult.ACCERR: (Sig.SEGV, SEGV_ACCERR),
            FaultResult.ADRERR: (Sig.BUS, BUS_ADRERR),
            FaultResult.HWPOISON: (Sig.BUS, BUS_ADRERR),  # as without CONFIG_MEMORY_FAILURE
        }
        if result == FaultResult.OOM:
            self._out_of_memory(task)
            return
        assert result in signals, f"a fault at {fault.vaddr:#x} ended as {result!r}"
        signo, code = signals[FaultResult(result)]
        # sanitize_error_code(): a fault on the kernel's half never reveals whether something is mapped there
        error_code = fault.error_code | (ErrorCode.P if fault.vaddr >= task.mm.task_size else 0)
        self.force(task, signo, code, fault.vaddr, _PAGE_FAULT, error_code, fault.vaddr)

    def _vector(self, task: Task, trap: Trap) -> None:
        rip, vector = task.rip, trap.vector
        if vector == _DIVIDE_ERROR:
            self.force(task, Sig.FPE, FPE_INTDIV, rip, vector)
        elif vector == DB:
            self.force(task, Sig.TRAP, TRAP_TRACE if trap.dr6 & DR6_BS else TRAP_BRKPT, rip, vector)
        elif vector == _BREAKPOINT:
            self.force(task, Sig.TRAP, SiCode.KERNEL, 0, vector)
        elif vector == OF:
            self.force(task, Sig.SEGV, SiCode.KERNEL, 0, vector)
        elif vector == SS:
            self.force(task, Sig.BUS, SiCode.KERNEL, 0, vector, trap.error_code)
        elif vector == AC:
            self.force(task, Sig.BUS, BUS_ADRALN, 0, vector)
        elif vector in (MF, XM):
            self.force(task, Sig.FPE, _float_code(self._cpu.fpu.unmasked(simd=vector == XM)), rip, vector)
        elif vector == 0x80:
            self._log_once("int 0x80: 32-bit system calls are not supported")
            self.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP)
        else:
            self.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP, trap.error_code)

    def _say_what_is_missing(self, task: Task) -> None:
        """Who is refused an instruction of a newer CPU is told, once for each extension."""
        from emu.instructions.extension import missing_extension

        code = self._cpu.blocks.pages.code(task.rip)
        missing = missing_extension(code, task.rip) if code else None
        if missing is not None and missing[1] not in self._missing:
            self._missing.add(missing[1])
            self._log(
                f"{task.comm} executes {missing[0]!r}, which needs {missing[1]}: the emulated CPU has none (SIGILL)"
            )

    def force(
        self, task: Task, signo: int, code: int, address: int, vector: int, error_code: int = 0, cr2: int | None = None
    ) -> None:
        """Send the signal of an exception, which cannot be blocked; the task sees vector, error code and CR2."""
        self._clock.charge(_TRAP)
        task.fault_words = (error_code, vector, task.fault_words[2] if cr2 is None else cr2)
        self._signals.force(task, SigInfo(signo, code, address=address))


def _float_code(flags: int) -> int:
    """si_code for floating-point exceptions, as the flags of MXCSR and the status word (fpu__exception_code)."""
    for flag, code in ((0x01, FPE_FLTINV), (0x04, FPE_FLTDIV), (0x08, FPE_FLTOVF), (0x12, FPE_FLTUND)):
        if flags & flag:
            return code
    return FPE_FLTRES
