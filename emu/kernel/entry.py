"""Entries into the kernel from user mode: the loop of a turn, page faults and what becomes of exceptions
(arch/x86/entry).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from emu.cpu.trap import DR6_BS, SYSCALL_TRAP, Trap, TrapKind
from emu.instructions.raised import GP
from emu.kernel.fastpath import FastPath
from emu.kernel.signal_state import SiCode, Sig
from emu.kernel.syscall_entry import SystemCalls
from emu.kernel.task import Task, TaskState
from emu.kernel.traps import Traps
from emu.linux.cost import Cost
from emu.mm.flags import FaultResult
from mmu import Access, PageFault
from mmu.walk import canonical

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.kernel.kernel import Kernel

_FAULT = Cost.FAULT
#: From here on an address may not be canonical.
_NOT_CANONICAL = 1 << 47


class Entry(SystemCalls):
    """Runs one task in user mode and answers every trap."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, FastPath(kernel))
        self._traps = Traps(
            kernel.cpu, kernel.clock, kernel.signals, kernel.out_of_memory, log=kernel.log, log_once=kernel.log_once
        )
        self._back_to_user: Callable[[Task, Iterable[Task]], bool] | None = None
        kernel.cpu.mmu.on_page_fault, kernel.cpu.mmu.faults_have_steps = self._page_fault, False
        kernel.cpu.mmu.hold_back_fetches(self._may_fetch)
        kernel.cpu.blocks.pages.renew, kernel.cpu.blocks.say_once = self._new_code, kernel.log_once

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self, task: Task) -> None:
        """Run until the slice ends, the task sleeps or it ends.  Its registers are in the CPU."""
        cpu, kernel, fast_path = self._cpu, self._kernel, self.fast_path
        if fast_path.keeps_something:
            fast_path.turn_begins()
        cpu.last_end, task.last_end = task.last_end, 0
        if task.then is not None:
            then, task.then = task.then, None
            if not then():
                return
        if task.sleeping is not None:
            assert task.syscall is not None
            number = task.syscall[0]
            if not self.resume(task):
                return
            fast_path.pairs.resumed(task, number)
            if kernel.scheduler.yielded:
                kernel.scheduler.yielded = False
                return
        while True:
            signals = task.signals
            tracee = task.ptrace
            if signals.pending or signals.shared or signals.saved_mask is not None or tracee is not None:
                if not kernel.signals.deliver(task):
                    return
                if kernel.signals.made is not None:
                    fast_path.handler_entered(task, *kernel.signals.made)
                    kernel.signals.made = None
            if task.rseq_event:
                if self._back_to_user is None:
                    from emu.kernel.rseq import back_to_user  # not for programs without it

                    self._back_to_user = back_to_user
                if not self._back_to_user(task, kernel.scheduler.running):
                    self._traps.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP)
                    continue
            if task.rip >= _NOT_CANONICAL and not canonical(cpu.mmu.state, task.rip):
                # a frame or a handler asked for that, and IRET is where it shows
                self._traps.force(task, Sig.SEGV, SiCode.KERNEL, 0, GP)
                continue
            cpu.blocks.enter(task.mm.code_id, catches_faults=task.mm.catches_faults)
            fast = fast_path.ready and tracee is None
            try:
                steps = tracee is not None and (tracee.stepping or tracee.debug_registers.active)
                if tracee is not None and steps and not tracee.before_step():
                    continue
                if fast:
                    fast_path.begin(task)
                trap = self._step(cpu, task.rip) if steps else cpu.enter(task.rip)
            except BaseException:
                if fast_path.begun:
                    fast_path.end()
                task = kernel.scheduler.current or task
                task.rip, task.last_end = cpu.rip, cpu.last_end  # where it goes on
                raise
            if fast_path.begun:
                fast_path.end()
            if fast:
                task = kernel.scheduler.current or task
            kind = trap.kind
            if trap is SYSCALL_TRAP:
                if not self.system_call(task):
                    return
                if kernel.scheduler.yielded:
                    kernel.scheduler.yielded = False
                    return
            else:
                task.rip = cpu.rip
                if tracee is not None:
                    tracee.orig_rax = -1
                    if steps and trap.dr6 & DR6_BS and not tracee.after_step():
                        continue
                if kind == TrapKind.SLICE:
                    task.last_end = cpu.last_end
                    kernel.scheduler.slice_is_over()
                    return
                self._exception(task, trap)
                # killed for lack of memory, while other tasks may still use its address space; or the slice ended on
                # the way
                if task.state != TaskState.RUNNABLE or kernel.scheduler.slice_over:
                    return

    @staticmethod
    def _step(cpu: Cpu, rip: int) -> Trap:
        """One instruction of a task that a debugger steps, or watches."""
        from emu.cpu.stepping import single_step  # few tasks are traced

        return single_step(cpu, rip)

    # -- faults and exceptions -------------------------------------------------------------------------------------

    def _page_fault(self, fault: PageFault) -> bool:
        """A page fault within a TLB fill: resolve it there, so that the instruction never notices."""
        fast_path = self.fast_path
        begun = fast_path.begun
        mappings = fast_path.end() if begun else []
        task = self._kernel.scheduler.current
        assert task is not None
        usage = task.usage
        usage.hw_faults += 1
        tracer = self._kernel.tracer
        since = tracer.fault_begins(task.mm, fault.vaddr) if tracer.active else None
        result = task.mm.handle_fault(fault.vaddr, fault.access)
        clock = self._clock
        clock.system_ns += _FAULT
        if clock.system_ns >= clock.look_at:
            clock.look()
        if tracer.active:
            tracer.fault_ends(task.mm, fault.vaddr, fault.access, result, since)
        if result is FaultResult.MINOR:
            usage.min_flt += 1
            if fast_path.faults.possible:
                fast_path.goes_on(task, fault.vaddr, mappings)
            if begun and fast_path.masks:
                fast_path.begin(task)
        elif result is FaultResult.LINKED:
            usage.link_faults += 1
        elif result is FaultResult.MAJOR:
            usage.maj_flt += 1
        elif not result.resolved:
            task.fault_result = result
            return False
        return True

    def _may_fetch(self, vaddr: int) -> bool:
        """Whether a page of code can be brought in before the code in front of it has run."""
        if self.fast_path.begun:
            self.fast_path.end()
        task = self._kernel.scheduler.current
        vma = None if task is None else task.mm.vmas.find(vaddr)
        return vma is not None and vma.allows(Access.FETCH)

    def _new_code(self) -> int:
        """An address has other code than its address space had there before, or than another one has that it was
        forked from."""
        if self.fast_path.begun:
            self.fast_path.end()
        task = self._kernel.scheduler.current
        assert task is not None
        task.mm.renew_code()
        return task.mm.code_id

    def _exception(self, task: Task, trap: Trap) -> None:
        """Turn a trap that the guest caused into a signal."""
        if trap.kind == TrapKind.FAULT and trap.access == Access.FETCH and trap.fault is not None:
            if trap.fault.vaddr >> 12 != task.rip >> 12:
                # Unicorn fetches ahead while it translates: single-step towards the address to see whether it is
                # reached
                from emu.cpu.stepping import find_faulting_instruction

                try:
                    trap = find_faulting_instruction(self._cpu, task.rip, self._kernel.stop.look)
                finally:
                    if self.fast_path.begun:
                        self.fast_path.end()
                task.rip = self._cpu.rip
                if trap.kind == TrapKind.SYSCALL:
                    self.system_call(task)
                    return
                if trap.kind == TrapKind.SLICE:
                    self._kernel.scheduler.slice_is_over()
                    return
        if task.fault_result is FaultResult.RETRY:
            from emu.kernel.userfaultfd import sleep_in_fault  # hardly any program has one

            assert trap.fault is not None
            if sleep_in_fault(self._kernel.scheduler, task, trap.fault.vaddr):
                task.fault_result = None
                return
            task.fault_result = FaultResult.ADRERR
        self._traps.raise_signal(task, trap)
