"""System calls that are answered natively, within the engine, and the switch between two tasks that wait in turns.

:mod:`emu.kernel.fastpath` says when that is possible, and afterwards brings the kernel's own objects up to what was
done here.  Whatever is not quite as usual is left to the kernel, with nothing changed.
"""

from __future__ import annotations

from unicorn.x86_const import UC_X86_REG_CR3

from emu.engine.hooks import set_limit
from emu.engine.records import TrapState
from emu.kernel.fastreturn import done, is_syscall, returns
from emu.kernel.fastsignals import kill, sigprocmask, sigreturn
from emu.kernel.faststate import (
    CALLS,
    DESCRIPTORS,
    MOST_BYTES,
    NONBLOCKING,
    READ_END,
    WRITE_END,
    FastState,
    Party,
    PipeRecord,
    Run,
)
from emu.kernel.latecalls import REFUSED, expect_faults, maps_as_before, protects, protects_as_before, unmap, unmappable
from emu.kernel.usermemory import NOWHERE, READABLE, WRITABLE, buffer, translated, use
from emu.linux.cost import Cost
from emu.linux.unistd import (
    NR_CLOCK_GETTIME,
    NR_FUTEX,
    NR_KILL,
    NR_MMAP,
    NR_MPROTECT,
    NR_MUNMAP,
    NR_READ,
    NR_RT_SIGPROCMASK,
    NR_RT_SIGRETURN,
    NR_WRITE,
)
from mmu.engine_sync import begin_windows
from mmu.entries import A, D
from mmu.native import call3, entry, load8, load32, load64, native, store8, store32, store64
from mmu.state import MmuState, clock_of
from mmu.unicorn_abi import NEVER_NS, TLB_WINDOW_LOADS

#: FUTEX_WAIT, FUTEX_WAKE and FUTEX_WAIT_BITSET, all of private words; FUTEX_CLOCK_REALTIME.
_WAIT, _WAKE, _WAIT_BITSET, _REALTIME = 128, 129, 137, 256
_ANY_BIT = 0xFFFF_FFFF
_AGAIN = 0xFFFF_FFFF_FFFF_FFF5  # -EAGAIN
_SWITCH, _WAKE_UP = Cost.SWITCH, Cost.WAKE
_RAX, _RCX, _RDX, _RSP, _RSI, _RDI, _R8, _R9, _R10, _R11, _RIP = 0, 8, 16, 32, 48, 56, 64, 72, 80, 88, 128
_TF_AC = 1 << 8 | 1 << 18
#: Of struct rseq: rseq_cs, node_id, mm_cid, and its least size.
_RSEQ_CS, _NODE_ID, _CONCURRENCY_ID, _RSEQ_BYTES = 8, 20, 24, 32
_PAGE, _IN_PAGE, _LOW_32 = 4096, 0xFFF, 0xFFFF_FFFF
_POINTER = 0xFFFF_FFFF_FFFF_FFF8
_TIMESPEC_BYTES, _NS = 16, 1_000_000_000


@native
def _move(to: int, source: int, length: int) -> None:
    at = 0
    while at < length:
        store8(to + at, load8(source + at))
        at += 1


# -- clocks ------------------------------------------------------------------------------------------------------------


@native
def _clock_gettime(path: FastState, trap: TrapState, cost: int) -> bool:
    """What a clock says that counts what the task does."""
    registers, state = trap.registers, MmuState.from_address(path.mmu)
    vaddr = load64(registers + _RSI)
    if path.clocks == 0 or load64(registers + _RDI) & _LOW_32 != path.clockid:
        return False
    paddr = buffer(state, path.task_size, state.cr3, vaddr, _TIMESPEC_BYTES, WRITABLE)
    if paddr == NOWHERE or not done(path, trap, cost, 0):
        return False
    now = path.clock_began + clock_of(state) + path.system_ns
    use(state, state.cr3, vaddr, A | D)
    store64(state.ram + paddr, now // _NS)
    store64(state.ram + paddr + 8, now % _NS)
    return True


# -- calls of which the work is done later (emu.kernel.latework) -------------------------------------------------------


@native
def _mmap(path: FastState, trap: TrapState, cost: int) -> bool:
    if not maps_as_before(path, trap.registers) or not done(path, trap, cost, path.place):
        return False
    path.mapped = 1
    return True


@native
def _mprotect(path: FastState, trap: TrapState, cost: int) -> bool:
    if not protects_as_before(path, trap.registers):
        return False
    protects(path, trap.registers)
    if not done(path, trap, cost, 0):
        path.high = 0
        return False
    expect_faults(path)
    return True


@native
def _munmap(path: FastState, trap: TrapState, cost: int) -> bool:
    pages = unmappable(path, trap.registers, cost)
    if pages == REFUSED or not done(path, trap, cost, 0):
        return False
    unmap(path, pages)
    return True


@native
def _wake(path: FastState, trap: TrapState, cost: int) -> bool:
    """FUTEX_WAKE where somebody waits for that very word, and nobody else does for any."""
    registers = trap.registers
    if load64(registers + _RDI) != path.word or load64(registers + _RSI) & _LOW_32 != _WAKE:
        return False
    if path.word == 0 or not done(path, trap, cost, 1):
        return False
    path.word, path.woken = 0, 1
    return True


# -- pipes -------------------------------------------------------------------------------------------------------------


@native
def _end_of(me: Party, fd: int, end: int) -> int:
    """The entry of a descriptor that is this end of a pipe, or 0."""
    if fd >= DESCRIPTORS:
        return 0
    found = load64(me.descriptors + fd * 8)
    return found if found & end != 0 else 0


@native
def _write(path: FastState, trap: TrapState, me: Party, cost: int) -> bool:
    registers = trap.registers
    length, vaddr = load64(registers + _RDX), load64(registers + _RSI)
    found = _end_of(me, load64(registers + _RDI) & _LOW_32, WRITE_END)
    if found == 0 or length == 0 or length > MOST_BYTES:
        return False
    pipe = PipeRecord.from_address(found & _POINTER)
    if pipe.length != 0 or pipe.readers == 0:
        return False
    state = MmuState.from_address(path.mmu)
    paddr = buffer(state, path.task_size, me.cr3, vaddr, length, READABLE)
    if paddr == NOWHERE or not done(path, trap, cost, length):
        return False
    use(state, me.cr3, vaddr, A)
    _move(pipe.data, state.ram + paddr, length)
    pipe.length = length
    me.writes += 1
    me.bytes_written += length
    other = Party.from_address(path.other)
    if other.run == Run.SLEEPS and other.pipe == found & _POINTER:
        other.run = Run.WOKEN
    return True


@native
def _receive(path: FastState, me: Party, pipe: PipeRecord, vaddr: int, length: int) -> bool:
    """Take all that a pipe holds; False if that is not possible at once."""
    size = pipe.length
    if size == 0 or length < size:
        return False
    state = MmuState.from_address(path.mmu)
    paddr = buffer(state, path.task_size, me.cr3, vaddr, size, WRITABLE)
    if paddr == NOWHERE:
        return False
    use(state, me.cr3, vaddr, A | D)
    _move(state.ram + paddr, pipe.data, size)
    pipe.length = 0
    me.bytes_read += size
    return True


@native
def _read(path: FastState, trap: TrapState, me: Party, cost: int) -> bool:
    registers = trap.registers
    length, vaddr = load64(registers + _RDX), load64(registers + _RSI)
    found = _end_of(me, load64(registers + _RDI) & _LOW_32, READ_END)
    if found == 0 or length == 0 or vaddr >= path.task_size or path.task_size - vaddr < length:
        return False
    pipe = PipeRecord.from_address(found & _POINTER)
    if pipe.length == 0:
        if pipe.writers == 0 or found & NONBLOCKING != 0:
            return False
        return _sleep(path, trap, me, cost, found & _POINTER)
    size = pipe.length
    if not is_syscall(path, load64(registers + _RIP)) or not _receive(path, me, pipe, vaddr, length):
        return False
    me.reads += 1
    return done(path, trap, cost, size)


# -- words -------------------------------------------------------------------------------------------------------------


@native
def waits_for_word(operation: int, bits: int, timeout: int) -> bool:
    """Whether futex(2) with these arguments waits for a private word, with no end."""
    if timeout != 0:
        return False
    if (operation | _REALTIME) == (_WAIT_BITSET | _REALTIME):
        return bits == _ANY_BIT
    return operation == _WAIT


@native
def _futex(path: FastState, trap: TrapState, me: Party, cost: int) -> bool:
    registers = trap.registers
    vaddr, operation = load64(registers + _RDI), load64(registers + _RSI) & _LOW_32
    if path.futexes == 0 or vaddr & 3 != 0 or vaddr >= path.task_size:
        return False
    if operation == _WAKE:
        other = Party.from_address(path.other)
        waits = other.run == Run.SLEEPS and other.pipe == 0 and other.rdi == vaddr and other.cr3 == me.cr3
        if not done(path, trap, cost, 1 if waits else 0):
            return False
        if waits:
            other.run = Run.WOKEN
        return True
    if not waits_for_word(operation, load64(registers + _R9) & _LOW_32, load64(registers + _R10)):
        return False
    state = MmuState.from_address(path.mmu)
    paddr = translated(state, me.cr3, vaddr, READABLE)
    if paddr == NOWHERE:
        return False
    if load32(state.ram + paddr) != load64(registers + _RDX) & _LOW_32:
        if not done(path, trap, cost, _AGAIN):
            return False
    elif not _sleep(path, trap, me, cost, 0):
        return False
    use(state, me.cr3, vaddr, A)
    return True


# -- switching ---------------------------------------------------------------------------------------------------------


@native
def _can_tell(path: FastState, me: Party) -> bool:
    """Whether a task can be told at once that it has been away (emu.kernel.rseq): it is in no sequence."""
    if me.rseq == 0:
        return True
    state = MmuState.from_address(path.mmu)
    paddr = buffer(state, path.task_size, me.cr3, me.rseq, _RSEQ_BYTES, WRITABLE)
    return paddr != NOWHERE and load64(state.ram + paddr + _RSEQ_CS) == 0


@native
def _tell(state: MmuState, me: Party) -> None:
    """It is on CPU 0, in node 0, and no other thread of its process has a CPU."""
    if me.rseq != 0:
        at = state.ram + translated(state, me.cr3, me.rseq, WRITABLE)
        use(state, me.cr3, me.rseq, A | D)
        store64(at, 0)
        store32(at + _NODE_ID, 0)
        store32(at + _CONCURRENCY_ID, 0)


@native
def _save_call(trap: TrapState, me: Party, pipe: int) -> None:
    """A task sleeps in a call."""
    registers = trap.registers
    me.run, me.pipe, me.told = Run.SLEEPS, pipe, 0
    me.rip = load64(registers + _RIP) + 2
    me.number = load64(registers + _RAX) & _LOW_32
    me.rflags, me.rsp = trap.rflags, load64(registers + _RSP)
    me.rdi, me.rsi, me.rdx = load64(registers + _RDI), load64(registers + _RSI), load64(registers + _RDX)
    me.r10, me.r8, me.r9 = load64(registers + _R10), load64(registers + _R8), load64(registers + _R9)


@native
def _load_cr3(path: FastState, state: MmuState, uc: int, cr3: int) -> None:
    """As Mmu.load_cr3() does where no TLB is modelled."""
    state.cr3_loads += 1
    state.cr3 = cr3
    ends = state.cr3_loads % TLB_WINDOW_LOADS == 0
    begin_windows(path.windows, 0 if ends else NEVER_NS)
    store64(path.scratch, cr3)
    call3(path.reg_write, uc, UC_X86_REG_CR3, path.scratch)
    if ends:
        begin_windows(path.windows, NEVER_NS)
    state.epoch += 1


@native
def _end_turn(path: FastState, trap: TrapState, state: MmuState, me: Party) -> None:
    clock = clock_of(state)
    retired, system = clock - path.since, path.system_ns - path.system_since
    me.instructions += retired
    me.system_ns += system
    path.instructions += retired
    path.vcpu_ns += system
    path.since, path.system_since = clock, path.system_ns
    path.start = clock + trap.iterations + path.system_ns


@native
def _begin_turn(path: FastState, trap: TrapState, state: MmuState, me: Party) -> None:
    path.switches += 1
    path.system_ns += _SWITCH
    state.asid = me.asid
    clock = clock_of(state)
    set_limit(trap, clock + path.time_slice)
    path.turn_end = clock + path.system_ns + path.time_slice
    path.look_at = path.system_ns + (path.time_slice >> 3)
    trap.last_end, state.last_end, trap.last_clock = 0, 0, clock
    trap.code_id, trap.table, trap.rflags = me.code_id, me.table, me.rflags
    path.system_ns += _WAKE_UP
    me.run = Run.RUNS
    if me.told == 0:
        me.sleeps += 1


@native
def _sleep(path: FastState, trap: TrapState, me: Party, cost: int, pipe: int) -> bool:
    """The task waits; the other one goes on, if it is awake and finds what it has waited for."""
    other, state = Party.from_address(path.other), MmuState.from_address(path.mmu)
    if other.run != Run.WOKEN or path.switches >= path.most or me.code_id != trap.code_id:
        return False
    if trap.aside != 0 or trap.patched != 0 or not is_syscall(path, load64(trap.registers + _RIP)):
        return False
    if not _can_tell(path, other):
        return False
    result = 0
    if other.pipe != 0:
        source = PipeRecord.from_address(other.pipe)
        result = source.length
        if not _receive(path, other, source, other.rsi, other.rdx):
            return False
        if other.told == 0:
            other.reads += 1
    path.system_ns += cost
    path.answered += 1
    _save_call(trap, me, pipe)
    _end_turn(path, trap, state, me)
    uc = load64(path.scratch + 8)
    call3(path.context_save, uc, me.context, 0)
    call3(path.context_restore, uc, other.context, 0)
    _begin_turn(path, trap, state, other)
    _tell(state, other)
    if other.cr3 != me.cr3:
        _load_cr3(path, state, uc, other.cr3)
    store64(trap.registers + _RIP, other.rip - 2)  # the engine goes on behind the instruction
    returns(path, trap, result)
    path.current, path.other = path.other, path.current
    return True


@entry("u64", "u64", FastState, "u64")
def answer(uc: int, path: FastState, _nothing: int) -> int:
    """A system call, with RIP at the instruction: 1 if it has been answered; else nothing has changed."""
    trap = TrapState.from_address(path.trap)
    number = load64(trap.registers + _RAX) & _LOW_32
    if number >= CALLS or trap.rflags & _TF_AC != 0:
        return 0
    cost = load64(path.costs + number * 8)
    if path.system_ns + cost >= path.look_at:
        return 0
    known = load64(path.answers + number * 8)
    if known != 0:
        return 1 if done(path, trap, cost, known - 1) else 0
    if number == NR_RT_SIGPROCMASK:
        return 1 if sigprocmask(path, trap, cost) else 0
    if number == NR_RT_SIGRETURN:
        return 1 if sigreturn(path, trap, cost) else 0
    if number == NR_KILL:
        return 1 if kill(path, trap, cost) else 0
    if number == NR_CLOCK_GETTIME:
        return 1 if _clock_gettime(path, trap, cost) else 0
    if number == NR_MMAP:
        return 1 if _mmap(path, trap, cost) else 0
    if number == NR_MPROTECT:
        return 1 if _mprotect(path, trap, cost) else 0
    if number == NR_MUNMAP:
        return 1 if _munmap(path, trap, cost) else 0
    if path.current == 0:
        return 1 if number == NR_FUTEX and _wake(path, trap, cost) else 0
    store64(path.scratch + 8, uc)
    me = Party.from_address(path.current)
    if number == NR_FUTEX:
        return 1 if _futex(path, trap, me, cost) else 0
    if number == NR_READ:
        return 1 if _read(path, trap, me, cost) else 0
    return 1 if number == NR_WRITE and _write(path, trap, me, cost) else 0
