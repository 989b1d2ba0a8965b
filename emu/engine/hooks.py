"""The machine's native hooks: the time slice, counted in instructions, the system-call trap, and the instructions that
the engine is not left alone with (:mod:`emu.instructions`).

A block with such an instruction inside is cut in pieces, so that each begins one.  What is counted, and where a slice
ends, is as if it were whole: the pieces behind the first one only go on.
"""

from __future__ import annotations

from unicorn.x86_const import UC_X86_REG_RFLAGS

from emu.engine.records import (
    BLOCK_BYTES,
    ENDS_REPEATING,
    FAR,
    GUARDED,
    INLINE_BLOCK_BYTES,
    NO_REGISTER,
    NOT_SPECIAL,
    NOT_STOPS,
    PLACES,
    REPEATS,
    STOPS,
    TABLE_ENTRIES,
    UNCAUGHT,
    CodeCopy,
    Count,
    Guards,
    Hit,
    HitKind,
    InlineBlock,
    KnownBlock,
    TrapReason,
    TrapState,
)
from mmu.native import call1, call3, cold, entry, inlined, load8, load64, native, return_address, store8, store64

#: No more is granted at a time than of so many instructions: another thread's wish to stop waits for that.
_MOST_LEFT = 1 << 20
_INSTRUCTIONS = ENDS_REPEATING - 1
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_LOW_56 = (1 << 56) - 1
#: Where RIP is behind the general registers.
RIP = 16 * 8


@inlined
def _slot(trap: TrapState, address: int) -> int:
    return trap.table + ((address ^ (address >> 15)) & (TABLE_ENTRIES - 1)) * BLOCK_BYTES


@native
def _clock(count: Count) -> int:
    """Instructions retired."""
    unused = count.unused
    return count.granted - (
        unused[0] + unused[1] + unused[2] + unused[3] + unused[4] + unused[5] + unused[6] + unused[7]
    )


@native
def set_limit(trap: TrapState, limit: int) -> None:
    """The slice ends when so many instructions are retired: code that counts itself may run most of those that are
    left before it asks."""
    count = Count.from_address(trap.count)
    clock, unused = _clock(count), count.unused
    left = limit - clock if limit > clock else 0
    if left > _MOST_LEFT:
        left = _MOST_LEFT
    often, seldom = (left * 3) >> 4, left >> 5  # an eighth is left for what the hook counts
    share, uncaught = often, seldom
    if count.last >= trap.count + UNCAUGHT:
        share, uncaught = seldom, often
    share &= trap.open
    uncaught &= trap.open_uncaught
    unused[0] = unused[1] = unused[2] = unused[3] = share
    unused[4] = unused[5] = unused[6] = unused[7] = uncaught
    count.granted, count.lent = clock + (share + uncaught) * PLACES, share | uncaught
    trap.limit = limit


@native
def _stop(uc: int, trap: TrapState, reason: int) -> None:
    """Code that counts itself asks again when it goes on: until then the clock is what is granted."""
    count = Count.from_address(trap.count)
    count.granted, unused = _clock(count), count.unused
    unused[0] = unused[1] = unused[2] = unused[3] = unused[4] = unused[5] = unused[6] = unused[7] = count.lent = 0
    trap.reason = reason
    call1(trap.emu_stop, uc)


@native
def _keep_to_limit(trap: TrapState) -> None:
    """More instructions have been counted, or the slice is shorter: no more may be granted than there are."""
    if Count.from_address(trap.count).granted > trap.limit:
        set_limit(trap, trap.limit)


@native
def _set_aside(trap: TrapState, goes_on: int) -> None:
    """Have the next block attended to, even if it is known; ``goes_on``: if it is there, it has been counted."""
    trap.aside = trap.limit + 1
    set_limit(trap, 0)
    trap.goes_on = goes_on
    store64(trap.fetched, goes_on)


@native
def _unpatch(trap: TrapState) -> None:
    """Put the guest's own code back: the piece is translated."""
    at, old, left = trap.patched_at, trap.patched_old, trap.patched
    while left != 0:
        store8(at, old & 0xFF)
        at, old, left = at + 1, old >> 8, left - 1
    trap.patched = 0


@native
def _equal(one: int, other: int, length: int) -> bool:
    i = 0
    while i < length:
        if load8(one + i) != load8(other + i):
            return False
        i += 1
    return True


@native
def _unchanged(at: int) -> bool:
    """Whether the code of a block is what it was."""
    if at == 0:
        return True
    copy = CodeCopy.from_address(at)
    if not _equal(copy.copy, copy.code, copy.length):
        return False
    return _equal(copy.copy + copy.length, copy.next_page, copy.next_length)


@native
def effective_address(hit: Hit, registers: int) -> int:
    """The linear address of the memory operand."""
    address = hit.displacement
    if hit.base != NO_REGISTER:
        address += load64(registers + hit.base * 8)
    if hit.index_register != NO_REGISTER:
        address = (address & _ALL_ONES) + ((load64(registers + hit.index_register * 8) * hit.scale) & _ALL_ONES)
    address &= hit.bits
    if hit.segment != 0:
        address += load64(hit.segment)
    return address & _ALL_ONES


@native
def _refused(uc: int, address: int, at: int, trap: TrapState) -> bool:
    hit = Hit.from_address(at)
    if hit.kind == HitKind.ALIGNED and effective_address(hit, trap.registers) & hit.mask == 0:
        return False
    if call3(hit.function, uc, at, address) == 0:
        return False
    return hit.otherwise == 0 or call3(hit.otherwise, uc, at, address) != 0


@inlined
def _count(trap: TrapState, instructions: int) -> None:
    Count.from_address(trap.count).granted += instructions
    _keep_to_limit(trap)


@inlined
def _ends_repeating(trap: TrapState, end: int) -> None:
    """The block that is counted ends with a repeated instruction, of which the engine runs each other iteration as a
    block."""
    trap.last_end = end
    trap.last_clock = _clock(Count.from_address(trap.count))


@inlined
def _count_repeated(trap: TrapState, instructions: int, end: int) -> None:
    """Count a block that ends with a repeated instruction: it is one, and one more of the slice for each iteration."""
    clock = _clock(Count.from_address(trap.count))
    if instructions & REPEATS != 0 and end == trap.last_end and clock == trap.last_clock:
        trap.iterations += 1
        if trap.limit > clock:
            trap.limit -= 1
            _keep_to_limit(trap)
        return
    _count(trap, instructions & _INSTRUCTIONS)
    _ends_repeating(trap, end)


@inlined
def _count_block(trap: TrapState, instructions: int, end: int) -> None:
    if instructions < ENDS_REPEATING:
        _count(trap, instructions)
    else:
        _count_repeated(trap, instructions, end)


@native
def _known(block: KnownBlock, address: int, key: int) -> bool:
    return block.address == address and block.key & NOT_SPECIAL == key and _unchanged(block.code)


@native
def _is_guarded(trap: TrapState, returns_to: int, block: KnownBlock) -> bool:
    """Whether the code that is about to run guards its aligned operands, if it is to: one that counts itself does."""
    if block.guards == 0 or returns_to == 0:
        return True
    guards = Guards.from_address(block.guards)
    if guards.returns_to == returns_to and load64(guards.first) & _LOW_56 == GUARDED:
        return True
    return call3(trap.guard, trap.inline_record, returns_to, _slot(trap, block.address)) != 0


@cold
def _attend(uc: int, address: int, size: int, trap: TrapState, returns_to: int) -> bool:
    """A block that is not known, or special, or before which something is to be done; whether it may count itself."""
    ahead = 0
    if trap.aside != 0:
        set_limit(trap, trap.aside - 1)
        trap.aside = 0
        if trap.patched != 0:
            _unpatch(trap)
        if trap.goes_on == address + 1:
            ahead = trap.ahead
        trap.goes_on = 0
    if trap.limit <= _clock(Count.from_address(trap.count)) and ahead == 0:
        _stop(uc, trap, TrapReason.SLICE)
        return False
    block = KnownBlock.from_address(_slot(trap, address))
    if not _known(block, address, (trap.code_id << 32) | size) or not _is_guarded(trap, returns_to, block):
        trap.returns_to = returns_to
        plain = trap.plain != 0 and call3(trap.plain, trap.plain_record, address, size) != 0
        if not plain and call3(trap.new_block, uc, address, size) == 0:
            trap.ahead = ahead
            _set_aside(trap, address + 1 if ahead != 0 else 0)
            store64(trap.fetched, address + 1)
            _stop(uc, trap, TrapReason.ANEW)
            return False
    trap.block = address
    trap.ahead = ahead
    refused = block.hit != 0 and _refused(uc, address, block.hit, trap)
    instructions = block.instructions & _INSTRUCTIONS
    if ahead == 0:
        _count_block(trap, block.instructions, address + size)
    elif instructions > ahead:
        _count(trap, instructions - ahead)
    if instructions > ahead:
        ahead = instructions
    if block.instructions & ENDS_REPEATING != 0:
        _ends_repeating(trap, address + size)
    if refused:
        _stop(uc, trap, TrapReason.REFUSED)
        return False
    if block.goes_on != 0:
        trap.ahead = ahead - block.before
        _set_aside(trap, block.goes_on & NOT_STOPS)
        if block.goes_on & STOPS != 0:
            _stop(uc, trap, TrapReason.DONE)
    return block.guards != 0 and block.code == 0


@inlined
def enter_block(uc: int, address: int, size: int, trap: TrapState, returns_to: int) -> bool:
    """Count the block's instructions, or stop before it; whether it is known, and may count itself."""
    block, count = KnownBlock.from_address(_slot(trap, address)), Count.from_address(trap.count)
    count.block = 0
    if count.granted >= trap.limit or block.address != address or block.key != (trap.code_id << 32) | size:
        return _attend(uc, address, size, trap, returns_to)
    trap.block = address
    _count_block(trap, block.instructions, address + size)
    return True


@entry("void", "u64", "u64", "u32", "u64")
def on_block(uc: int, address: int, size: int, record: int) -> None:
    """UC_HOOK_BLOCK: count the block's instructions, or stop before it where the slice is used up (an exact point).
    From then on a plain block counts itself.  ``record``: the host address of the TrapState, with FAR."""
    trap, returns_to = TrapState.from_address(record ^ FAR), return_address()
    if enter_block(uc, address, size, trap, returns_to) and trap.inline != 0:
        call3(trap.inline, trap.inline_record, returns_to, _slot(trap, address))


@entry("u64", Count)
def reached(count: Count) -> int:
    """A block that counts itself has taken more instructions than are unused: what the hook does.  The host address
    where it goes on once the engine has looked whether emulation is to stop."""
    block, trap = (
        InlineBlock.from_address(count.blocks + count.block * INLINE_BLOCK_BYTES),
        TrapState.from_address(count.trap),
    )
    goes_on, place = block.goes_on, block.unused
    count.last = place
    store64(place, (load64(place) + block.instructions) & _ALL_ONES)
    store64(trap.registers + RIP, block.address)
    enter_block(count.engine, block.address, block.size, trap, 0)
    if trap.reason == TrapReason.NONE:
        set_limit(trap, trap.limit)
    return goes_on


@entry("void", TrapState, "u64")
def limit_slice(trap: TrapState, limit: int) -> None:
    """Python's way to :func:`set_limit`."""
    set_limit(trap, limit)


@entry("void", TrapState, "u64")
def begin_slice(trap: TrapState, left: int) -> None:
    """A slice of so many instructions begins."""
    set_limit(trap, _clock(Count.from_address(trap.count)) + left)


@entry("void", "u64", TrapState)
def on_syscall(uc: int, trap: TrapState) -> None:
    """UC_HOOK_INSN for SYSCALL: save RFLAGS, and stop emulation unless the call is answered natively
    (:mod:`emu.kernel.fastcalls`); RIP will be behind the instruction."""
    call3(trap.reg_read, uc, UC_X86_REG_RFLAGS, trap.rflags_at)
    if trap.answer != 0 and call3(trap.answer, uc, trap.fast_path, 0) != 0:
        return
    _stop(uc, trap, TrapReason.SYSCALL)
