"""Places in the engine's code from which it calls a helper for a load or a store (:mod:`mmu.helpers`): what they look
like, what they are, and to which engine they belong.

What the instruction is that makes the access (:class:`mmu.instruction.Kind`) depends on RIP, which is not known before
the engine looks it up.  So the first call from each place finds that out, and changes what the place passes from then
on in ``oi``, the engine's number of the kind of access: in its upper half is the number of the engine's
:class:`DataPath`, below that a mark.  The place goes with the code.

    main path                                  slow path
        mov rdi, vaddr                             mov rdi, rbp               # env
        shr rdi, 6                                 mov edx, oi                # for a store ecx, and rdx is the value
        and rdi, [rbp+mask]                        lea rcx, [back]            # for a store r8
        add rdi, [rbp+table]                       call helper                # for a store push r8; jmp helper
        lea rsi, [vaddr+size-1]                    mov register, rax
        and rsi, ~0xfff                            jmp back
        cmp rsi, [rdi]
        mov rsi, vaddr
        jmp slow path
        add rsi, [rdi+0x20]
        mov register, [rsi]
    back:
"""

from __future__ import annotations

import ctypes

from mmu.instruction import Kind, code_at, instruction_at
from mmu.native import call3, load8, load32, load64, native, store32
from mmu.state import MmuState, WordArray, fields
from mmu.unicorn_abi import ENV_REGS, TLB_MASK, TLB_TABLE

#: How many engines can be in exact mode at once, and how far from its place the record of one may be.
ENGINES, PROBES = 1 << 10, 8
#: After so many places that are not as expected, and none that is, there are no more attempts.
MOST_MISSED = 1000
#: What a place says of itself: its load is no access, as the instruction is going to write there; the engine is to make
#: the access, ever; it accesses the first 8 bytes of an operand of 16, of which it has told then, or the others.
NO_ACCESS, ENGINE_MAKES_IT, FIRST_PIECE, LAST_PIECE = 1 << 12, 1 << 13, 1 << 14, 1 << 15
#: Where in ``oi`` the number of the DataPath is, and what is the engine's own.
PATH_SHIFT, ENGINES_OWN = 16, NO_ACCESS - 1
FIRST_PATH = 1 << PATH_SHIFT
#: In what is the engine's own: the mmu index, the logarithm of the size, and a bit for a load with sign.
MMU_INDEX, KNOWN_KINDS = 0xF, 0x7F
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_UPPER = 0xFFFF_FFFF_0000_0000
#: So far apart at most are the accesses to the pieces of an operand in the engine's code; two blocks are farther apart.
_NEAR = 128
#: In a call by the engine's table of constants, how far that can be.
_TABLE_REACH = 1 << 20


class DataPath(ctypes.Structure):
    """An engine in exact mode.  Every field is a uint64."""

    env: int  # what its code passes: the address of its general registers
    state: int  # host address of the MmuState
    off: int  # the engine's helpers are to make every access
    places: int  # how many in its code are known
    left: int  # how many of these are left to the engine
    missed: int  # how many were not as expected
    asked: int  # how many accesses from known places the engine was asked to make
    filled: int  # how many translations it was given without asking (mmu.helper_fills)

    _fields_ = fields(__annotations__)


PATH_BYTES = ctypes.sizeof(DataPath)


class Helpers(ctypes.Structure):
    """What our helpers know, once a process.  Every field is a uint64, or an array of uint64."""

    engines: WordArray  # host addresses of the engine's helpers: loads of 1, 2, 4 and 8 bytes, stores
    ours: WordArray  # and of what stands in the engine's tables in their place
    restore_state: int  # host address of cpu_restore_state
    probe: int  # of probe_access
    set_page: int  # and of tlb_set_page
    paths: int  # of DataPath[ENGINES + PROBES]; the first one is none

    _fields_ = fields(__annotations__, engines=ctypes.c_uint64 * 8, ours=ctypes.c_uint64 * 8)


# -- engines -----------------------------------------------------------------------------------------------------------


@native
def first_path_of(env: int) -> int:
    """The number of the DataPath at which a search for that of an engine begins."""
    return 1 + ((env >> 4) ^ (env >> 14)) % (ENGINES - 1)


@native
def path_at(helpers: Helpers, number: int) -> DataPath:
    """A DataPath by its number."""
    return DataPath.from_address(helpers.paths + number * PATH_BYTES)


@native
def path_of(helpers: Helpers, env: int) -> int:
    """The number of the engine's DataPath; 0 for an engine that has none."""
    number = first_path_of(env)
    end = number + PROBES
    while number < end:
        if path_at(helpers, number).env == env:
            return number
        number += 1
    return 0


# -- places in the engine's code ---------------------------------------------------------------------------------------


@native
def _signed(number: int) -> int:
    """A 32-bit number with its sign."""
    return number | _UPPER if number >> 31 != 0 else number


@native
def _reads_table(end: int, oi: int) -> bool:
    """Whether the code before ``end`` looks the page up in the engine's translations where we do."""
    at, beginning = end, end - 32
    table = (TLB_TABLE + (oi & MMU_INDEX) * 16) & 0xFF
    mask = (TLB_MASK + (oi & MMU_INDEX) * 16) & 0xFF
    while at > beginning:  # and rdi, [rbp+mask]; add rdi, [rbp+table]
        if load32(at) == 0x007D_2348 | mask << 24 and load32(at + 4) == 0x007D_0348 | table << 24:
            return load8(at - 4) == 0x48 and load8(at - 3) == 0xC1 and load8(at - 2) == 0xEF and load8(at - 1) == 6
        at -= 1
    return False


@native
def _slow_path(back: int, oi: int, stores: bool) -> int:
    """Where the slow path of the access begins behind which the main path goes on at ``back``; 0 if that is not as
    expected."""
    length: int = 2
    while length <= 6:
        at = back - length - 4
        if load32(at) == 0x2077_0348 and load8(at - 5) == 0xE9:  # add rsi, [rdi+0x20], behind jmp
            compared = at - 8  # behind it: mov rsi, vaddr
            if stores:
                if load32(compared - 4) != 0x0877_3B48 or not _reads_table(compared - 12, oi):
                    return 0
            elif load32(compared - 4) >> 8 != 0x37_3B48 or not _reads_table(compared - 11, oi):
                return 0
            return (at + _signed(load32(at - 4))) & _ALL_ONES
        length += 1
    return 0


@native
def _goes_to(at: int, near: int, far: int, function: int) -> bool:
    """Whether a call or a jump stands there to this function: of one opcode, or of the other by the engine's table of
    constants."""
    if load8(at) == near:
        return (at + 5 + _signed(load32(at + 1))) & _ALL_ONES == function
    if load8(at) != 0xFF or load8(at + 1) != far or load32(at + 2) >= _TABLE_REACH:
        return False
    return load64(at + 6 + load32(at + 2)) == function


@native
def _place_of_load(slow: int, back: int, oi: int, helper: int) -> int:
    """Where the slow path of a load has ``oi``; 0 if it is not as expected."""
    if load32(slow) != 0xBAFD_8B48 or load32(slow + 4) != oi:  # mov rdi, rbp; mov edx, oi
        return 0
    at = slow + 8
    if load32(at) & 0xFF_FFFF != 0x0D_8D48 or (at + 7 + _signed(load32(at + 3))) & _ALL_ONES != back:
        return 0
    return slow + 4 if _goes_to(at + 7, 0xE8, 0x15, helper) else 0


@native
def _place_of_store(slow: int, back: int, oi: int, helper: int) -> int:
    """Where the slow path of a store has ``oi``; 0 if it is not as expected."""
    if load32(slow) & 0xFF_FFFF != 0xFD_8B48:
        return 0
    at, end = slow + 3, slow + 8  # mov rdx, value, in one of the engine's ways
    while at < end:
        if load8(at) == 0xB9 and load32(at + 1) == oi:
            lea = at + 5
            if load32(lea) & 0xFF_FFFF == 0x05_8D4C and (lea + 7 + _signed(load32(lea + 3))) & _ALL_ONES == back:
                if load8(lea + 7) == 0x41 and load8(lea + 8) == 0x50 and _goes_to(lea + 9, 0xE9, 0x25, helper):
                    return at + 1
        at += 1
    return 0


@native
def rip_at(helpers: Helpers, env: int, state: MmuState, back: int) -> int:
    """Have the engine look RIP up, by a place in its code."""
    call3(helpers.restore_state, env - ENV_REGS, back, 0)
    return load64(state.engine_rip)


@native
def _is_last_piece(helpers: Helpers, env: int, state: MmuState, back: int, rip: int) -> bool:
    """Whether the access before the one that goes on at ``back`` is the same instruction's."""
    at, end = back - 11, back - _NEAR
    while at > end and (load32(at) != 0x2077_0348 or load8(at - 5) != 0xE9):
        at -= 1
    if at == end:
        return False
    before = rip_at(helpers, env, state, at + 5)
    rip_at(helpers, env, state, back)
    return before == rip


@native
def _mark_of(helpers: Helpers, env: int, state: MmuState, back: int, helper: int) -> int:
    """What a place is to say of itself."""
    rip = load64(state.engine_rip)
    kind, stores = instruction_at(state, rip), helper >= 4
    if kind & Kind.WIDE != 0 and (helper == 3 or helper == 7):
        return LAST_PIECE if _is_last_piece(helpers, env, state, back, rip) else FIRST_PIECE
    if kind & (Kind.WIDE | Kind.TEN) != 0:
        return ENGINE_MAKES_IT
    return NO_ACCESS if kind & Kind.UPDATES != 0 and not stores else 0


@native
def learn(helpers: Helpers, env: int, oi: int, back: int, helper: int, path: DataPath, number: int) -> None:
    """A call from a place that is not known: have it known from now on.

    ``helper`` is the number of the helper that was called, of which the stores begin at 4.
    """
    state = MmuState.from_address(path.state)
    if code_at(state, rip_at(helpers, env, state, back)) == 0:
        return
    slow, place, ours = _slow_path(back, oi, helper >= 4), 0, helpers.ours[helper]
    if slow != 0:
        place = _place_of_store(slow, back, oi, ours) if helper >= 4 else _place_of_load(slow, back, oi, ours)
    if place == 0:
        path.missed += 1
        if path.missed >= MOST_MISSED and path.places == 0:
            path.off = 1
        return
    mark = _mark_of(helpers, env, state, back, helper)
    if mark == ENGINE_MAKES_IT:
        path.left += 1
    store32(place, number << PATH_SHIFT | mark | oi)
    path.places += 1
