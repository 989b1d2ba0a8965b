"""A CPU around one Uc: registers, contexts, and running at CPL 3 until something needs the kernel."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unicorn import (
    UC_ARCH_X86,
    UC_ERR_EXCEPTION,
    UC_ERR_INSN_INVALID,
    UC_HOOK_BLOCK,
    UC_HOOK_INSN,
    UC_HOOK_INTR,
    UC_MODE_64,
    Uc,
    UcError,
)
from unicorn import x86_const as x86

from emu.cpu.slices import Slices
from emu.cpu.trap import DR6_BS, SLICE_TRAP, SYSCALL_TRAP, Trap, TrapKind
from emu.engine.records import FAR, INLINE_BLOCK_BYTES, Count, InlineBlock, TrapReason, TrapState
from emu.inline.inlining import Inlining, watch_hooks
from emu.inline.proof import Unproven, prove
from emu.instructions.block import Patch, Steps
from emu.instructions.blocks import Blocks
from emu.instructions.raised import DB, GP, UD, Raised
from mmu import GeneralProtection, Mmu, PhysicalMemory, unicorn_abi
from mmu.engine_tlb import EngineTlb
from mmu.hooks import PHYSMAP
from mmu.objectcode import load
from mmu.record import replace
from mmu.registers import CR4, Access
from mmu.selftest import is_wanted

if TYPE_CHECKING:
    from mmu.geometry import Geometry

#: No RDRAND, no RDSEED (they could not be made deterministic), and everything that x86-64-v2 requires.
CPU_MODEL = x86.UC_CPU_X86_SANDYBRIDGE

#: The engine's buffer for translated code, which is emptied when it is full: self-modifying code would fill any.
CODE_BUFFER = 128 << 20
#: That buffer, three of the engine's own size for the self-test (DEFAULT_CODE_GEN_BUFFER_SIZE), and a rest.
_ENGINE_ROOM = CODE_BUFFER + (3 << 30) + (128 << 20)
_u32, _u64 = ctypes.c_uint32, ctypes.c_uint64
# The callbacks of Unicorn, whose last argument is user data.
_INTERRUPT = ctypes.CFUNCTYPE(None, _u64, _u32, _u64)
_READ_TSC = ctypes.CFUNCTYPE(ctypes.c_int, _u64, _u64)
_NO_REASON, _SYSCALL = int(TrapReason.NONE), int(TrapReason.SYSCALL)


class AddressSpaceTooSmall(Exception):
    """The host process may not have the address space that the engine needs (``ulimit -v``)."""


def _make_sure_of_room() -> None:
    """Unicorn ends the process itself where it gets no room for the code that it translates."""
    try:
        mmap.mmap(-1, _ENGINE_ROOM, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ).close()
    except OSError:
        raise AddressSpaceTooSmall(
            f"the engine needs {_ENGINE_ROOM >> 20} MiB more address space than this process may have (ulimit -v)"
        ) from None


class Cpu(Slices):
    """The engine on which all vCPUs take turns."""

    def __init__(
        self,
        ram: PhysicalMemory,
        entry_frame: int,
        *,
        tlb: str | Geometry = "off",
        seed: int = 0,
        la57: bool = False,
        cpus: int = 1,
        fast: bool | None = None,
    ) -> None:
        """``entry_frame`` is a free frame that is used once, for the instruction that enters CPL 3; ``tlb`` as for
        :class:`mmu.Mmu`; with ``la57`` the tables have 5 levels; ``cpus`` are its logical processors.
        ``fast``: blocks count themselves (:mod:`emu.inline.sites`), if they can; None for what the environment says.
        """
        _make_sure_of_room()
        uc = Uc(UC_ARCH_X86, UC_MODE_64)
        uc.ctl_set_cpu_model(CPU_MODEL)
        uc.ctl_set_tcg_buffer_size(CODE_BUFFER)
        uc.ctl_exits_enabled(True)
        super().__init__(Mmu(uc, ram, tlb=tlb, seed=seed, processors=cpus, fast=fast, fetch_hook=False))
        self.guard = self.mmu.guard
        self.guard.stop_soon = self.end_slice
        self.guard.signals_wait_in(Cpu.enter)
        if la57:
            self.mmu.registers = replace(self.mmu.registers, cr4=self.mmu.registers.cr4 | CR4.LA57)
        self._count = Count.from_address(self.trap.count)
        self._vector: int | None = None
        #: The time-stamp counter.
        self.read_tsc: Callable[[], int] = lambda: self.clock
        self._template = self._enter_cpl3(entry_frame)
        self._install_hooks()
        self._vector_context = self.new_context_like_current()
        #: Whether blocks count themselves.
        self.inlining = Inlining(uc, self.guard, self.trap, self._library, self.trap.plain_record)
        #: Whether native code does what it can.
        self.fast = is_wanted(fast)
        self._inline(self.fast)
        #: Whether code looks for a stop behind each access to memory: no hook of the machine's own asks for one there.
        self._hooks_stop_anywhere = self.mmu.tlb is not None
        unicorn_abi.look_at_accesses(uc, self._hooks_stop_anywhere)
        watch_hooks(uc, self._hooked)
        self._engine_tlb = EngineTlb(self.mmu)

    # -- set-up ----------------------------------------------------------------------------------------------------

    def _install_hooks(self) -> None:
        trap = self.trap
        trap.reg_read = unicorn_abi.symbol_address("uc_reg_read")
        trap.rflags_at = ctypes.addressof(trap) + TrapState.rflags.offset  # type: ignore[attr-defined]
        trap.emu_stop = unicorn_abi.symbol_address("uc_emu_stop")
        trap.registers = ctypes.addressof(self._env)
        #: The code that has run.
        self.blocks = Blocks(self.mmu, trap, self._env, self.fpu)
        pointer = self.guard.pointer
        self._library.guards[self._engine] = self.guard
        at, on_block = ctypes.addressof(trap), self._library["on_block"]
        if self.mmu.tlb is not None:
            modelled = load("emu.engine.exact_hooks")
            modelled.guards[self._engine] = self.guard
            on_block = modelled["on_modelled_block"]
        unicorn_abi.hook_add(self.uc, UC_HOOK_BLOCK, on_block.address, at | FAR)
        unicorn_abi.hook_add(self.uc, UC_HOOK_INSN, self._library["on_syscall"].address, at, x86.UC_X86_INS_SYSCALL)
        unicorn_abi.hook_add(self.uc, UC_HOOK_INTR, pointer(_INTERRUPT, self._on_interrupt), 0)
        for prototype, function, instruction in (
            (_READ_TSC, self._on_rdtsc, x86.UC_X86_INS_RDTSC),
            (_READ_TSC, self._on_rdtscp, x86.UC_X86_INS_RDTSCP),
        ):
            unicorn_abi.hook_add(self.uc, UC_HOOK_INSN, pointer(prototype, function), 0, instruction)

    def _inline(self, wanted: bool) -> None:
        """Have blocks guard their aligned operands, and count themselves if that is wanted, if it is proven that they
        can."""
        inlining, blocks = self.inlining, self.blocks
        if self.mmu.tlb is not None:
            inlining.why_not = "in exact mode each fetch goes through the TLB model"
            return
        try:
            prove(self._library)
        except Unproven as error:
            inlining.why_not = str(error)
            return
        blocks.guard = inlining.guards
        inlining.begin_to_guard()
        if not wanted:
            inlining.why_not = "as was asked for"
            return
        blocks.counts_inline, blocks.is_full, blocks.on_forgotten = True, inlining.is_full, inlining.forgotten
        blocks.open()
        inlining.begin()

    def _hooked(self) -> None:
        """Somebody installs a hook, which may stop emulation anywhere."""
        if self._hooks_stop_anywhere:
            return
        self._hooks_stop_anywhere = True
        unicorn_abi.look_at_accesses(self.uc, True)
        if self.blocks.counts_inline:
            self.inlining.end("there is a hook that is not the machine's own")
            self.blocks.counts_inline = False
            self.blocks.open()
        self.enter = self._enter_anew  # type: ignore[method-assign]

    def _enter_anew(self, rip: int) -> Trap:
        """Enter once the engine has forgotten the code that counts itself."""
        del self.enter
        self.blocks.forget()
        return self.enter(rip)

    def _enter_cpl3(self, frame: int) -> unicorn_abi.Context:
        """Run SYSRETQ once, the only way to CPL 3 without a GDT, and keep the context it leaves (flat user
        segments).
        """
        mmu = self.mmu
        uc: Any = self.uc  # the class makes its msr_ methods at run time
        # mov eax,1; cpuid; xor ecx,ecx; sysretq
        mmu.ram.write(frame << 12, bytes.fromhex("b8010000000fa231c9480f07"))
        uc.msr_write(0xC0000080, uc.msr_read(0xC0000080) | 1)  # IA32_EFER.SCE
        uc.msr_write(0xC0000081, 0x0023_0010 << 32)  # IA32_STAR: user CS 0x33, SS 0x2b
        uc.reg_write(x86.UC_X86_REG_R11, 0x202)
        mmu.state.physmap_open = 1
        status = self.guard.start(PHYSMAP + (frame << 12))
        mmu.state.physmap_open = 0
        mmu.take_failure()
        if status != UC_ERR_EXCEPTION or uc.reg_read(x86.UC_X86_REG_CS) & 3 != 3:
            raise unicorn_abi.UnicornMismatch(f"SYSRETQ did not lead to CPL 3 (emu_start said {status})")
        #: CPUID.1:EDX, which programs get as AT_HWCAP.
        self.hwcap = int(uc.reg_read(x86.UC_X86_REG_EDX))
        mmu.ram.write(frame << 12, bytes(12))
        mmu.code_written(frame)
        mmu.state.cpl = 3
        mmu.state.clock = 0
        self.set_general((0,) * 17, 0x202)
        self.fpu.reset()  # the engine has zeros, which unmask every exception and cut precision to 24 bits
        context = unicorn_abi.Context(uc)
        context.save()
        return context

    def load_fresh(self, rsp: int) -> None:
        """The state in which a new program starts: all registers 0 but RSP, x87 and SSE as Linux has them."""
        self._template.restore()
        self.write("rsp", rsp)

    def fresh_context(self, rsp: int) -> unicorn_abi.Context:
        """A context in that state."""
        current = unicorn_abi.Context(self.uc, self._spare_contexts)
        current.save()
        self.load_fresh(rsp)
        context = unicorn_abi.Context(self.uc, self._spare_contexts)
        context.save()
        current.restore()
        return context

    # -- hooks -----------------------------------------------------------------------------------------------------

    def _on_interrupt(self, _uc: int, vector: int, _data: int) -> None:
        if self._vector is None:
            self._vector = vector
        self.uc.emu_stop()

    def _on_rdtsc(self, _uc: int, _data: int) -> int:
        count = self.read_tsc()
        env = self._env  # as uc_reg_write() would, in a tenth of the time
        env[0], env[2] = count & 0xFFFFFFFF, count >> 32 & 0xFFFFFFFF
        return 1

    def _on_rdtscp(self, uc: int, data: int) -> int:
        self.uc.reg_write(x86.UC_X86_REG_RCX, self.mmu.processor)  # IA32_TSC_AUX, as Linux sets it on node 0
        return self._on_rdtsc(uc, data)

    # -- registers -------------------------------------------------------------------------------------------------

    def is_on_stack(self, vaddr: int) -> bool:
        """Whether the instruction at RIP, which has this operand, makes the access to the stack (SS)."""
        from emu.instructions.branch import uses_stack  # few guests get there

        instruction = next(self.blocks.pages.instructions(self.rip), None)
        return instruction is not None and uses_stack(instruction, vaddr, self._env[4])

    def syscall_return(self, result: int, rip: int) -> None:
        """What SYSRET leaves: the result in RAX, RIP in RCX, RFLAGS (of the last system call) in R11."""
        env = self._env_words
        env[0] = result & 0xFFFFFFFFFFFFFFFF
        env[1] = rip
        env[11] = self.trap.rflags

    # -- running ---------------------------------------------------------------------------------------------------

    def slice_is_over(self) -> None:
        """A slice was used up."""
        if self.mmu.tlb is None:  # whose own size counts
            self._engine_tlb.turn_is_over(self.clock)

    def enter(self, rip: int) -> Trap:
        """Run at ``rip`` until something needs the kernel.  Raises what a callback raised."""
        trap = self.trap
        while True:
            trap.reason = _NO_REASON
            status = unicorn_abi.emu_start(self._engine, rip, 0, 0, 0)
            if status != 0 or self.guard.failure is not None or self._vector is not None:
                return self._explain(status)
            reason = trap.reason
            if reason == _SYSCALL:
                return SYSCALL_TRAP
            if reason == TrapReason.SLICE:
                if self._slice_end and self._goes_on():
                    rip = self.rip
                    continue
                return SLICE_TRAP
            if reason == TrapReason.REFUSED:
                return self._refused()
            if reason == TrapReason.DONE:
                rip = trap.goes_on - 1
            elif reason == TrapReason.ANEW:
                rip = self.rip
                stopped = self._anew(rip)
                if stopped is not None:
                    return stopped
                rip = self.rip
            else:
                return self._explain(status)

    def _anew(self, rip: int) -> Trap | None:
        """Prepare to enter a block again; the trap that came before its next piece, if one did."""
        pending, self.blocks.pending = self.blocks.pending, None
        if isinstance(pending, Steps):
            self._forget_what_is_ahead()
            from emu.cpu.stepping import step_to  # blocks seldom end so near to the end of a page

            return step_to(self, rip, pending.until)
        if isinstance(pending, Patch):
            self.blocks.patch(rip, pending)
        elif pending is not None:
            self.blocks.forget()
        return None

    def _refused(self) -> Trap:
        """An instruction that is not executed."""
        hits = self.blocks.hits
        assert hits is not None and hits.refusal is not None
        (refusal, instruction), hits.refusal = hits.refusal, None
        if not isinstance(refusal, Raised):
            return Trap(TrapKind.FAULT, fault=refusal.fault, access=refusal.access)
        if refusal.vector == UD:
            return Trap(TrapKind.INVALID_OPCODE)
        if refusal.trap:
            self.write("rip", instruction.end)
        return Trap(TrapKind.EXCEPTION, vector=refusal.vector, error_code=refusal.error_code)

    def _forget_what_is_ahead(self) -> None:
        """The block that was counted does not go on: what was set aside is the budget again."""
        trap = self.trap
        self.blocks.cuts.take_back()
        if trap.aside:
            self._limit_slice(self._trap_at, trap.aside - 1)
            trap.aside = 0
        trap.goes_on = self.mmu.state.fetched = 0

    def _explain(self, status: int) -> Trap:
        if self.mmu.starts_again:
            self.mmu.starts_again = False
            if status == UC_ERR_EXCEPTION and self._vector is None and self.guard.failure is None:
                self._forget_what_is_ahead()
                return self.enter(self.rip)
        if self.guard.failure is not None:
            trap = self.trap
            if trap.goes_on:  # it will be counted once more
                state = self.mmu.state
                trap.aside = max(trap.aside, state.clock + 1)
                state.clock -= trap.ahead
            self._vector = None
            self._forget_what_is_ahead()
            self.blocks.pending = None
            self.blocks.forget()  # that which could not be done to its end
            self.mmu.take_failure()
        self._forget_what_is_ahead()
        if self._vector is not None:
            return self._exception(self._vector)
        failure = self.mmu.take_failure()
        if failure is not None:
            fault, access = failure
            if access == Access.FETCH and isinstance(fault, GeneralProtection) and fault.vaddr == self.rip:
                self._back_to_branch()
                return Trap(TrapKind.EXCEPTION, vector=GP)
            return Trap(TrapKind.FAULT, fault=failure[0], access=failure[1])
        if status == UC_ERR_INSN_INVALID:
            return Trap(TrapKind.INVALID_OPCODE)
        raise UcError(status)

    def _exception(self, vector: int) -> Trap:
        """The first exception of this entry."""
        self._vector = None
        self.mmu.take_failure()
        context = self._vector_context
        context.save()
        error_code = context.error_code
        context.exception_delivered()
        context.restore()
        return Trap(TrapKind.EXCEPTION, vector=vector, error_code=error_code, dr6=DR6_BS if vector == DB else 0)

    @property
    def _last_block(self) -> int:
        """The address of the block that was counted last."""
        number = self._count.block
        if number == 0:
            return self.trap.block
        return InlineBlock.from_address(self._count.blocks + number * INLINE_BLOCK_BYTES).address

    def _back_to_branch(self) -> None:
        """The guest has branched to an address that is not canonical: it is still at the branch."""
        from emu.instructions.branch import is_branch, undo  # few guests do

        branch = next((each for each in self.blocks.pages.instructions(self._last_block) if is_branch(each)), None)
        if branch is not None:
            undo(branch, self._env)
            self.write("rip", branch.address)
