"""Numbers that a double cannot hold: every hook does with them what Python does.

numba compares a uint64 with a Python int as two doubles, and adds the two to a double.  The compiler therefore makes
each literal a uint64; here every entry point there is runs natively and as Python, on addresses of the upper half and
above 2**53, over the same memory.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import sys
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from emu.engine.records import (
    BLOCK_BYTES,
    FAR,
    INLINE_BLOCK_BYTES,
    SPECIAL,
    STOPS,
    TABLE_ENTRIES,
    CodeCopy,
    Count,
    Hit,
    HitKind,
    InlineBlock,
    KnownBlock,
)
from emu.inline.sites import Inline
from emu.instructions.listed import with_listed
from emu.instructions.opcodes import MODE_SHIFT, lengths
from emu.instructions.plain import MOST_NOTED, NOTED_BYTES, WRITABLE, PlainBlocks
from emu.kernel.faststate import FastState, Party, PipeRecord
from emu.kernel.faultfill import RANGE_BYTES, FaultRange, FaultState
from emu.kernel.sigregs import SignalRegisters
from emu.mm.entrystate import EntryWork
from emu.mm.swapops import POISONED_ENTRY
from emu.trace.encoder import Encoder
from mmu import Access, EventKind, objectcode
from mmu.event_table import EVENT_COLUMNS
from mmu.events import HEADROOM
from mmu.hooks import PHYSMAP
from mmu.native import entry_points
from mmu.objectcode import CompileError, Library, _reference
from mmu.said import Said
from mmu.state import CODE_VIEW_BYTES, CODE_VIEWS, CodeView, MmuState
from mmu.unicorn_abi import TB_BEFORE_CODE, TB_CODE, TB_CODE_SIZE, TB_JUMPS, TB_PC, TB_RESETS, TB_SIZE
from mmu.windows import WINDOW_SHIFT
from tests.mmu.executed_stories import crossing, integers, masks, sse, stores, x87
from tests.mmu.helper_story import helpers
from tests.mmu.hook_world import ADDRESSES, INSTRUCTIONS, ODD, UPPER, Call, HookWorld

ROOT = Path(__file__).resolve().parents[2]
_EXECUTED = tuple(
    f"emu.instructions.executed.{name}" for name in ("crossing", "integer", "masks", "sse", "stores", "x87")
)
MODULES = (
    "emu.bench.empty", "emu.engine.exact_hooks", "emu.engine.hooks", "emu.inline.guards", "emu.inline.sites",
    *_EXECUTED, "emu.instructions.plain", "emu.instructions.scan", "emu.kernel.fastcalls", "emu.kernel.faultfill",
    "emu.kernel.sigregs", "emu.mm.entrywork", "emu.mm.pagecopy", "emu.trace.encoding", "emu.trace.packing",
    "emu.trace.told", "mmu.batch", "mmu.exact", "mmu.helpers", "mmu.hooks", "mmu.said",
)  # fmt: skip
load = objectcode.load.__wrapped__  # without its memory, which may have the other mode
#: Every opcode of two maps, then chance.
CODE = np.random.default_rng(1).integers(0, 256, 4096, dtype=np.uint8)
CODE[:1024:4] = CODE[1025:2049:4] = range(256)
CODE[1024:2048:4] = 0x0F
TABLE, LISTED = lengths(), with_listed(0)
VIEWS = np.zeros(CODE_VIEWS * CODE_VIEW_BYTES, dtype=np.uint8)
_UC = UPPER + 6  # nobody looks there


@pytest.fixture(autouse=True)
def native_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)


def everywhere(world: HookWorld) -> list[tuple[int, Access]]:
    return [(vaddr, access) for vaddr in ADDRESSES for access in Access]


def walks(world: HookWorld, call: Call) -> None:
    """Each walk and each fill, with events and without; then again, with A and D set."""
    state = ctypes.addressof(world.state)
    for kinds in ((), (), tuple(EventKind)):
        world.events.enable(*kinds)
        for vaddr, access in everywhere(world):
            call("walk_once", state, vaddr, access)
            call("fill", _UC, vaddr, 16 + access, world.scratch.ctypes.data, state)
            world.calls.append(tuple(world.scratch[:2].tolist()))
    world.state.physmap_open = 1
    for vaddr in (*ADDRESSES, PHYSMAP + ODD, PHYSMAP - 1):
        call("fill", _UC, vaddr, 16, world.scratch.ctypes.data, state)
        world.calls.append(tuple(world.scratch[:2].tolist()))


def instructions(world: HookWorld, call: Call) -> None:
    """What instructions do: code that was fetched, and code that the tables lead to, known and not."""
    state = ctypes.addressof(world.state)
    for _ in range(2):
        for rip in (*INSTRUCTIONS, *INSTRUCTIONS, *ADDRESSES):
            call("kind_of", state, rip)
        call("fill", _UC, INSTRUCTIONS[0], 16 + Access.FETCH, world.scratch.ctypes.data, state)


def batches(world: HookWorld, call: Call) -> None:
    """All addresses in one call, for each kind of access."""
    world.scratch[: len(ADDRESSES)] = ADDRESSES
    for access in Access:
        found = world.scratch[len(ADDRESSES) :].ctypes.data
        call("walk_many", ctypes.addressof(world.state), world.scratch.ctypes.data, len(ADDRESSES), access, found)
        world.calls.append(tuple(world.scratch.tolist()))


def modelled(world: HookWorld, call: Call) -> None:
    """The TLB model without Unicorn: translations of one page under PCIDs that differ in one bit of a large tag."""
    state = ctypes.addressof(world.state)
    world.events.enable(*EventKind)
    for pcid in (1, 2, 3, 1, 0xFFF, 0xFFE):
        world.state.pcid = pcid
        for vaddr, access in everywhere(world):
            if call("model_access", state, vaddr, access) == 0 and not world.state.last_access.walked:
                call("found_address", state, vaddr)
        call("model_invlpg", state, UPPER + 0x20_1000)
        call("model_page_fault", state, ODD, pcid)
        call("model_invpcid_address", state, UPPER, pcid ^ 1)
        call("leave_context", state, pcid)
    world.events.enable()
    world.scratch[:6] = UPPER, ODD, UPPER - 1, Access.READ, Access.WRITE, Access.FETCH
    addresses = world.scratch.ctypes.data
    call("model_accesses", state, addresses, addresses + 3 * 8, 3)
    for every_pcid, globals_too in ((0, 0), (0, 1), (1, 0), (1, 1)):
        call("invalidate_all", state, 0xFFF, every_pcid, globals_too)
        for vaddr, access in everywhere(world):
            call("model_access", state, vaddr, access)


def exact(world: HookWorld, call: Call) -> None:
    """What Unicorn calls in exact mode: a fill, then the access at the physical address that it was given."""
    state, result = ctypes.addressof(world.state), world.scratch.ctypes.data
    for again in range(4):
        world.events.enable(*(EventKind if again else ()))
        world.rip[0] = (0, *INSTRUCTIONS)[again]
        for vaddr, access in everywhere(world):
            if not call("fill_exact", _UC, vaddr, 16 + access, result, state):
                world.state.epoch += 1  # as after a flush: code may be executed that was written before
                if not call("fill_exact", _UC, vaddr, 16 + access, result, state):
                    continue
            paddr = int(world.scratch[0]) | vaddr & 0xFFF
            assert paddr >> WINDOW_SHIFT < 8
            if access == Access.FETCH:
                call("on_fetch", _UC, vaddr, 16, state)
            else:
                call("on_memory", _UC, 16 + access, paddr, 16, ODD, state)


def windows(world: HookWorld, call: Call) -> None:
    """Filtered mode with memory hooks: each page of a frame has a window of its own."""
    state, result = ctypes.addressof(world.state), world.scratch.ctypes.data
    for again in range(4):
        world.events.enable(*(EventKind if again else ()))
        world.rip[0] = (0, *INSTRUCTIONS)[again]
        for vaddr, access in everywhere(world):
            call("fill_in_windows", _UC, vaddr, 16 + access, result, state)
            world.calls.append(tuple(world.scratch[:2].tolist()))
            world.state.epoch += 1


def slices(world: HookWorld, call: Call) -> None:
    """Blocks and system calls of the machine, with a limit and a count that no double holds."""
    trap, count = ctypes.addressof(world.trap), Count.from_address(world.trap.count)
    made = InlineBlock.from_address(count.blocks + INLINE_BLOCK_BYTES)
    for limit in (2**64 - 1, ODD + 1, ODD, ODD - 1, 0):
        for code_id in (7, 8, 2**32 - 1):
            call("begin_slice", trap, 5)
            call("limit_slice", trap, limit)
            world.trap.code_id = code_id
            for address in (*ADDRESSES, *ADDRESSES):
                call("on_block", _UC, address, 16, trap | FAR)
                made.address, made.size, made.instructions, made.goes_on = address, 16, 5, UPPER
                made.unused = ctypes.addressof(count.unused) + address % 8 * 8
                count.block, count.granted = 1, ODD + sum(count.unused)
                ctypes.c_uint64.from_address(made.unused).value -= 5
                call("reached", world.trap.count)
    world.trap.returns_to = 0  # which is another one for Python
    call("on_syscall", _UC, trap)


def modelled_blocks(world: HookWorld, call: Call) -> None:
    """Blocks of the machine in exact mode, again and again, with events and without, at two CPLs."""
    state, trap = world.state, world.trap
    trap.count = ctypes.addressof(state) + MmuState.granted.offset  # type: ignore[attr-defined]
    state.check, trap.returns_to = 0, 0
    for cpl, events, limit in product((3, 0), (False, True), (2**64 - 1, ODD, 0)):
        state.cpl, trap.limit = cpl, limit
        world.events.enable(*(EventKind if events else ()))
        for address in (*ADDRESSES[:9], UPPER, UPPER, UPPER + 0xFF8, UPPER + 0xFF8, 0x40_0001):  # canonical ones
            call("on_modelled_block", _UC, address, 16, ctypes.addressof(trap) | FAR)


def inline(world: HookWorld, call: Call) -> None:
    """Calls of the hook as the engine makes them, and others; blocks of which much or little is known."""
    world.scratch[:], VIEWS[:] = 0, 0
    words, base = world.scratch, int(world.scratch.ctypes.data)
    begin = base + TB_BEFORE_CODE
    record, block = Inline.from_address(base + 64 * 8), KnownBlock.from_address(base + 94 * 8)
    record.trap, record.hook, record.check = ctypes.addressof(world.trap), begin + 0x1234, begin - 0x1234
    record.blocks, record.plain = Count.from_address(world.trap.count).blocks, base + 104 * 8
    record.stubs, record.palignr, record.shifts = begin - 0x5678, begin - 0x2345, begin + 0x4567
    record.find, record.finds = begin + 0x6789, begin - 0x4567
    PlainBlocks.from_address(record.plain).code_views = VIEWS.ctypes.data  # of no page
    made = []
    places, behind = (0x401000, UPPER, begin + 77), (-9, -5)
    for engine, count, address, size in product((0x55AA, UPPER), (0x1234, UPPER), places, (9, 300)):
        for instructions, code_id in ((5, 7), (0x80, 7), (0, 7), (5, 4 << MODE_SHIFT), (5, 1 << MODE_SHIFT)):
            record.engine, record.count, record.number, world.trap.code_id = engine, count, 3, code_id
            block.address, block.key, block.instructions = address, size, instructions
            text, returns_to = site(begin, record, address, size)
            for distance in (5, 31, 32):
                text += b"\xb9" + struct.pack("<I", distance) + b"\xe8"
                text += struct.pack("<i", record.palignr - (begin + len(text) + 4))
            text += b"\x48\x8b\xfd\xe8" + struct.pack("<i", record.find - (begin + len(text) + 8)) + b"\xff\xe0"
            branch = len(text)  # jne 1f; nop; jmp; 4 bytes; nop; 1: jmp
            text += bytes.fromhex("0f8510000000 6690 e944332211 00000000 666690 e988776655")
            for wrong in (None, returns_to - begin - 1, returns_to - begin + 11, *range(branch, branch + 9), *behind):
                words[:64] = 0
                words[TB_PC // 8], words[TB_CODE // 8], words[TB_CODE_SIZE // 8] = address, begin, len(text)
                words[TB_RESETS // 8] = len(text) << 16
                words[TB_JUMPS // 8 : TB_JUMPS // 8 + 2] = branch + 9, len(text) - 4
                ctypes.c_uint16.from_address(base + TB_SIZE).value = size
                changed = bytearray(text)
                if wrong is not None:
                    changed[wrong] ^= 1
                ctypes.memmove(begin, bytes(changed), len(changed))
                made.append(call("count_inline", base + 64 * 8, returns_to, ctypes.addressof(block)))
                world.calls.append(tuple(words[:64].tolist()))
    assert 0 < sum(made) < len(made)
    assert 0 < record.found <= sum(made)


def site(begin: int, record: Inline, address: int, size: int) -> tuple[bytes, int]:
    """The code that the engine makes there, and where it goes on behind the hook."""
    if address < 1 << 31:  # RIP is stored
        code = b"\x48\xc7\x85\x80\0\0\0" + struct.pack("<I", address)
    else:
        code = b"\x48\xbb" + struct.pack("<Q", address) + b"\x48\x89\x9d\x80\0\0\0"
    for register, value in ((7, record.engine), (6, address), (2, size), (1, record.trap | FAR)):
        code += loaded(begin + len(code), register, value)
    code += b"\xe8" + struct.pack("<i", record.hook - (begin + len(code) + 5))
    returns_to = begin + len(code)
    code += loaded(begin + len(code), 7, record.engine) + b"\x33\xf6"
    code += b"\xe8" + struct.pack("<i", record.check - (begin + len(code) + 5))
    return code, returns_to


#: lea rsi, [rbx+7]; and rsi, ...; cmp rsi, [rdi]; mov rsi, rbx; jne; and of a store from R12.
_LOADS = "488d73074881e600f0ffff483b37488bf30f85", "498d7424074881e600f0ffff483b7708498bf40f85"
#: add rsi, [rdi+0x20]; mov r13, [rsi]; mov [rbp+0x378], r13; add rbx, 8; and the second access, but for its end; and
#: of the store: ...; mov [rsi], r13; mov r13, [rbp+0x380]; lea r14, [r12+8]; ...
_SECOND = (
    "48037720 4c8b2e 4c89ad78030000 4883c308"
    "488bfb 48c1ef06 48237dd0 48037dd8 488d7307 4881e600f0ffff 483b37 488bf3 0f85",
    "48037720 4c892e 4c8bad80030000 4d8d742408"
    "498bfe 48c1ef06 48237dd0 48037dd8 498d7607 4881e600f0ffff 483b7708 498bf6 0f85",
)
#: mov rdi, rbp; mov edx, 0x31; lea rcx, [...]; call; and mov rdi, rbp; mov rdx, r13; mov ecx, 0x31; lea r8, [...]; ...
_SLOW = "488bfdba31000000488d0d00000000e8", "488bfd498bd5b9310000004c8d05000000004150e9"


def guarding(world: HookWorld, call: Call) -> None:
    """A load and a store behind the call of the hook, as the engine makes them, and with one byte otherwise."""
    world.scratch[:] = 0
    words, base = world.scratch, int(world.scratch.ctypes.data)
    begin, guards = base + TB_BEFORE_CODE, base + 112 * 8
    record, block = Inline.from_address(base + 64 * 8), KnownBlock.from_address(base + 94 * 8)
    record.trap, record.hook, record.check = ctypes.addressof(world.trap), begin + 0x1234, begin - 0x1234
    record.engine, record.stubs, record.load, record.store = 0x55AA, begin - 0x5678, begin + 0x2345, begin + 0x3456
    record.load_aligned, record.store_aligned = begin - 0x6789, begin - 0x789A
    record.other_load, record.other_store = begin + 0x3457, begin + 0x2347
    block.address, block.key, block.guards = 0x401000, SPECIAL | 9, guards
    text, returns_to = site(begin, record, block.address, 9)
    record.shortens = 1
    jumps, ends = [], []
    for access, second in zip(_LOADS, _SECOND, strict=True):
        text += bytes.fromhex(access) + bytes(4)
        jumps.append(len(text))
        text += bytes.fromhex(second) + bytes(4) + bytes.fromhex("48037720")
        ends.append(len(text))
    made = bytearray(text)
    for end, slow, target in zip(jumps, _SLOW, (record.load, record.store), strict=True):
        struct.pack_into("<i", made, end - 4, len(made) - end)
        made += bytes.fromhex(slow)
        made += struct.pack("<i", target - (begin + len(made) + 4))
    behind = b"\0\0" + leb(ends[0]) + b"\3\x74" + leb(ends[1] - ends[0])
    done = []
    for offsets in ((0, 3), (3,), (0, 2), (0, 3, 4)):
        for wrong in (None, *range(returns_to - begin, len(made), 3)):
            words[:64] = 0
            words[112:122] = len(offsets), 1, ODD, ODD, *offsets, *[ODD] * (6 - len(offsets))
            words[TB_PC // 8], words[TB_CODE // 8], words[TB_CODE_SIZE // 8] = block.address, begin, len(made)
            ctypes.c_uint16.from_address(base + TB_SIZE).value = 9
            changed = made + behind
            if wrong is not None:
                changed[wrong] ^= 0x80
            ctypes.memmove(begin, bytes(changed), len(changed))
            done.append(call("guard_operands", base + 64 * 8, returns_to, ctypes.addressof(block)))
            world.calls.append((bytes(words[:64]), record.shortened))
    assert sum(done) >= 2
    assert sum(done) < record.shortened < 2 * len(done)


def leb(value: int) -> bytes:
    """A number that the engine tells behind its code."""
    return bytes([value & 0x7F | 0x80, value >> 7])


def loaded(at: int, register: int, value: int) -> bytes:
    """The instruction that loads a constant."""
    if value < 1 << 32:
        return bytes([0xB8 + register]) + struct.pack("<I", value)
    if abs(value - at) < 1 << 30:
        return bytes([0x48, 0x8D, register * 8 + 5]) + struct.pack("<i", value - (at + 7))
    return bytes([0x48, 0xB8 + register]) + struct.pack("<Q", value)


def pieces(world: HookWorld, call: Call) -> None:
    """Blocks that are cut, with hits and copies of their code, of which one has changed."""
    trap, record = ctypes.addressof(world.trap), world.trap
    words = world.scratch.ctypes.data
    world.scratch[:] = 0
    hit, copy = Hit.from_address(words), CodeCopy.from_address(words + 16 * 8)
    hit.kind, hit.function, hit.mask, hit.base, hit.index_register = HitKind.ALIGNED, world.refuse, 15, 4, 5
    hit.scale, hit.displacement, hit.bits = 8, UPPER, 2**64 - 1
    copy.copy, copy.code, copy.length = words + 32 * 8, words + 40 * 8, 20
    record.code_id = 7
    for address in (UPPER, ODD):
        for special in (
            {"hit": words},
            {"code": words + 16 * 8},
            {"goes_on": UPPER, "before": 3},
            {"goes_on": UPPER | STOPS},
        ):
            number = (address ^ (address >> 15)) & (TABLE_ENTRIES - 1)
            block = KnownBlock.from_address(record.table + number * BLOCK_BYTES)
            ctypes.memset(ctypes.addressof(block), 0, BLOCK_BYTES)
            block.address, block.key, block.instructions = address, 7 << 32 | 16 | SPECIAL, 5
            for name, value in special.items():
                setattr(block, name, value)
            for odd in (0, 1):
                world.registers_of_guest[4], world.scratch[41] = UPPER + odd, odd
                record.limit, record.aside = ODD, 0
                record.patched, record.patched_at, record.patched_old = 3, words + 50 * 8, UPPER
                call("on_block", _UC, address, 16, trap | FAR)
                call("on_block", _UC, UPPER - 1, 16, trap | FAR)
    record.returns_to = 0  # which is another one for Python


def decoding(world: HookWorld, call: Call) -> None:
    """Instructions of every opcode, and of chance."""
    for start in range(0, 4000, 3):
        call("measure", CODE.ctypes.data + start, start % 17, TABLE.address)
    for start in range(0, 4000, 50):
        call("find_listed", CODE.ctypes.data, start, start + 40, LISTED.address)
        call("look_through", CODE.ctypes.data + start, 40, LISTED.address)


def plain(world: HookWorld, call: Call) -> None:
    """Blocks of any length, in pages of which the frame is known, is another space's, or has code that is written."""
    world.scratch[:] = 0
    noted = 0x4_0000  # in memory, where nothing else is
    views, has_code = VIEWS, world.scratch[63:]
    views[:] = 0
    record = PlainBlocks.from_address(world.scratch.ctypes.data)
    record.trap, record.ram, record.has_code = ctypes.addressof(world.trap), CODE.ctypes.data, has_code.ctypes.data
    record.code_views, record.listing, record.mode = views.ctypes.data, LISTED.address, 0
    record.noted = world.ram.host + noted
    assert MOST_NOTED * NOTED_BYTES + noted <= world.ram.size
    world.trap.code_id = space = 7
    for address in (UPPER, ODD):
        number = ((address >> 12) + space * 37) % CODE_VIEWS
        view = CodeView.from_address(views.ctypes.data + number * CODE_VIEW_BYTES)
        view.page, view.space, view.frame = (address >> 12) + 1, space, 0
        for code, mode, other in ((0, 0, 0), (WRITABLE, 0, 0), (0, 1, 0), (0, 0, 1)):
            has_code[0], record.mode, view.space = code, mode, space + other
            for start in range(0, 4096, 50):
                call("plain_block", ctypes.addressof(record), (address & -4096) + start, start % 61)
        view.space, record.mode, record.number = space, 0, MOST_NOTED - 3
        for start in range(0, 4096, 50):
            call("plain_block", ctypes.addressof(record), (address & -4096) + start, start % 7)


def signals(world: HookWorld, call: Call) -> None:
    """Registers to a frame and back: each TOP, control words that are new and not, flags to be cleared and not."""
    at, draw = 0xA_0000, np.random.default_rng(5)
    world.ram.words[at >> 3 : (at >> 3) + 0x800] = draw.integers(0, 2**64, 0x800, dtype=np.uint64)
    base = world.ram.host + at
    record = SignalRegisters.from_address(base)
    record.reg_read, record.reg_write, record.word = world.trap.reg_read, world.refuse, base + 0x180
    record.general, record.behind, record.rip, record.handler = base + 0x1000, base + 0x200, UPPER, ODD
    record.fpu, record.stack, record.mxcsr, record.xmm = (base + 0x1000 + n for n in (0x25C, 0x270, 0x330, 0x338))
    record.frame, record.image, record.changeable = base + 0x3008, base + 0x3200, 0x50DD5
    for top in range(8):
        record.cleared = 0x10500 if top & 1 else 2**64 - 1
        if top & 2:
            world.ram.words[(at + 0x1330) >> 3] = 0x1F80
            world.ram.words[(at + 0x1260) >> 3] = 0x37F << 16
        world.ram.words[(at + 0x1258) >> 3] = top << 32
        call("push", base)
        call("pop", base)
        world.ram.words[(at + 0x3200) >> 3] |= 0x3F
        world.ram.words[(at + 0x3218) >> 3] |= 0x1F80
        call("pop", base)
        world.ram.words[(at + 0x208) >> 3] ^= ODD
        call("pop", base)
    record.mmu, record.info, record.restorer, record.task_size = ctypes.addressof(world.state), base, ODD, 1 << 47
    for flags, stack in ((0, 0), (0x0400_0000, 0), (0x0C00_0000, 0x40_0000), (0x0C00_0000, 1 << 40)):
        record.flags, record.alt_stack, record.alt_size, record.old_mask = flags, stack, 0x1000, UPPER
        for rsp in (0x40_0FF0, 0x40_0800, UPPER):
            world.ram.words[(at + 0x1020) >> 3] = rsp
            call("whole_frame", base)


def answers(world: HookWorld, call: Call) -> None:
    """Calls that are answered, with numbers that no double holds, and two tasks that wait for each other."""
    at, code, state = 0xB_0000, 0x40_0000, world.state
    world.ram.words[at >> 3 : (at >> 3) + 0x400] = 0
    world.ram.write(0x8_0000, bytes.fromhex("0f05"))
    base, registers = world.ram.host + at, world.registers_of_guest
    path, parties = FastState.from_address(base), [Party.from_address(base + 0x200 * n) for n in (1, 2)]
    pipe = PipeRecord.from_address(base + 0x600)
    path.trap, path.mmu, path.scratch = ctypes.addressof(world.trap), ctypes.addressof(state), base + 0x700
    path.answers, path.costs, path.windows, path.window_number = base + 0x800, base + 0x800, base + 0x700, 0
    path.context_save = path.context_restore = path.reg_write = world.refuse
    path.task_size, path.look_at, path.futexes, path.most, path.time_slice = 1 << 47, 2**64 - 1, 1, 3, ODD
    pipe.readers, pipe.writers, pipe.data = 1, 1, base + 0x1800
    for n, party in enumerate(parties):
        party.descriptors, party.cr3, party.code_id = base + 0x7C0, state.cr3, 7
        party.run, party.rip, party.rdi, party.rsi, party.rdx = n, code + 2, 0, code + 0x100, 1000
        party.pipe, party.rseq, party.told = ctypes.addressof(pipe), code + 0x200, n
    world.trap.code_id, world.trap.limit = 7, ODD
    ctypes.c_uint64.from_address(base + 0x7C0).value = ctypes.addressof(pipe) | 3
    made = [
        (62, 5, 10, 0),
        (15, 0, 0, 0),
        (39, 0, 0, 0),
        (1, 0, code + 8, 9),
        (0, 0, code + 16, 9),
        (0, 0, code + 16, 9),
        (1, 1, 0, 0),
    ]
    made += [(202, code + 64, operation, value) for operation in (129, 128, 137) for value in (0, 1)]
    for current, known in ((0, 0), (0, ODD), (1, 0), (1, 0), (1, 0)):
        ctypes.c_uint64.from_address(base + 0x800 + 39 * 8).value = known
        if current:
            path.current = path.current or ctypes.addressof(parties[0])
            path.other = path.other or ctypes.addressof(parties[1])
        for number, first, second, third in made:
            path.system_ns, path.word = ODD, code + 64
            registers[0], registers[7], registers[6], registers[2], registers[16] = number, first, second, third, code
            registers[9] = 2**32 - 1
            call("answer", _UC, base, 0)


def page_faults(world: HookWorld, call: Call) -> None:
    """First accesses to pages, and copies on write, with frames in a row and listed ones, until none is left or the
    turn is over."""
    at, state = 0xB_0000, world.state
    world.ram.words[at >> 3 : (at >> 3) + 0x400] = 0
    base = world.ram.host + at
    path, faults = FastState.from_address(base), FaultState.from_address(base + 0x200)
    ranges = [FaultRange.from_address(base + 0x300 + RANGE_BYTES * n) for n in (0, 1)]
    path.trap, path.system_ns, path.look_at = ctypes.addressof(world.trap), ODD, ODD + 2000
    faults.path, faults.mmu = base, ctypes.addressof(state)
    faults.ranges, faults.listed, faults.counts, faults.kinds = base + 0x300, base + 0x400, base + 0x800, base + 0xE00
    faults.flags, faults.flush_page, faults.copying, faults.engine_cpu = base + 0x1000, world.refuse, world.refuse, ODD
    for each in ranges:
        each.copy = 1 << 63 | 0x67
    ranges[0].start, ranges[0].end, ranges[0].write = ODD, ODD + 0x1000, 1 << 63 | 0x67
    ranges[1].start, ranges[1].end, ranges[1].read, ranges[1].write = UPPER, 2**64 - 1, 1 << 63 | 0x225, 0x67
    world.ram.words[(at + 0x400) >> 3 : (at + 0x418) >> 3] = 0xD1, 0xD3, 0xD2
    state.clock, state.status, state.walked.level, world.rip[0] = ODD, 1, 1, UPPER + 0x5_0000
    for first, zeroing, turn_end in ((0xD4, 0, 0), (0, world.refuse, 2 * ODD + 9000), (0, world.refuse, ODD)):
        faults.first, faults.zeroing, path.turn_end, faults.frames, faults.taken = first, zeroing, turn_end, 3, 0
        world.trap.limit, world.trap.aside = 2**64 - 1, 2**64 - 1
        for number, vaddr, access in product((0, 2), ADDRESSES, (Access.READ, Access.WRITE)):
            faults.number, state.walked.error_code, state.slots[1] = number, 4 | access << 1, at + 0x900
            world.ram.words[(at + 0x900) >> 3] = 0
            call("answer_fault", base + 0x200, vaddr, access)
            call("answer_fault", base + 0x200, vaddr, access)
        state.walked.error_code, faults.taken = 7, 0
        for kind, references, bits in product((3, 4), (1, 2), (0x25, 0x225, 0x425, 1 << 63 | 0x25)):
            ctypes.c_uint8.from_address(faults.kinds + 0xE0).value = kind
            ctypes.c_uint8.from_address(faults.flags + 0xE0).value = 0x20
            ctypes.c_uint32.from_address(faults.counts + 4 * 0xE0).value = references
            for _ in range(2):
                world.ram.words[(at + 0x900) >> 3] = 0xE0 << 12 | bits
                call("answer_fault", base + 0x200, UPPER + 0x1000 * references, Access.WRITE)


def copies(world: HookWorld, call: Call) -> None:
    """Pages stored in another order, with some of zeros among them: four together and the rest singly."""
    pages, host = world.ram.words.reshape(-1, 512), world.ram.host
    pages[0xC0:0xE0] = 0
    for frame in (0xC1, 0xC2, 0xC3, 0xC4, 0xC6, 0xC8):
        pages[frame] = UPPER + np.arange(512, dtype=np.uint64) * np.uint64(ODD & 0xFFFF_FFFF) + np.uint64(frame)
    pages[0xC5, 511] = ODD  # the last word of a page of zeros
    pages[0xB0, :7] = 4, 2, 1, 3, 5, 7, 6  # which pages
    pages[0xB1, :7] = 8, 3, 2, 9, 1, 0, 4  # and where to
    indices, places, zeros = (host + (frame << 12) for frame in (0xB0, 0xB1, 0xB2))
    for number in (0, 1, 3, 4, 5, 7):
        pages[0xB2] = 2**64 - 1
        call("store_pages", host + (0xD0 << 12), places, host + (0xC0 << 12), indices, number, zeros)


def entries(world: HookWorld, call: Call) -> None:
    """Entries are copied to tables of a child, as far as it has any, tables under two entries of the PGD are cleared,
    and the empty ones freed."""
    words, host = world.ram.words.reshape(-1, 512), world.ram.host
    words[0xA0:0xE0] = 0
    words[0xA0, [1, 2]], words[0xA1, 3], words[0xA4, 511] = (
        [0xA1 << 12 | 7, 0xA4 << 12 | 7],
        0xA2 << 12 | 7,
        0xA5 << 12 | 7,
    )
    words[0xA2, [4, 5]], words[0xA5, 0] = [0xA3 << 12 | 7, 1 << 63 | 0xC0 << 12 | 0x87], 0xA6 << 12 | 7
    bits = (0x67, 0x27, 0x225, 0x101, 1 << 63 | 0x25, 0x64)
    for n in range(24):
        words[0xA3, 20 * n] = (0xD0 + n % 12) << 12 | bits[n % len(bits)]
    words[0xA3, 500:504] = 2**64 - 0x400, 31 << 59 | ODD << 9 & 2**59 - 1, UPPER & ~0x101, POISONED_ENTRY
    counts, kinds, flags, marked = (host + (frame << 12) for frame in (0xB0, 0xB1, 0xB2, 0xB3))
    for n in range(12):
        ctypes.c_uint32.from_address(counts + 4 * (0xD0 + n)).value = 1 + n % 3
        ctypes.c_uint8.from_address(kinds + 0xD0 + n).value = 3 + n % 2
        ctypes.c_uint8.from_address(flags + 0xD0 + n).value = (0, 2, 4, 6, 0x42, 0x31)[n // 2]
    for frame in range(0xA1, 0xA7):
        ctypes.c_uint32.from_address(counts + 4 * frame).value = 1
        ctypes.c_uint8.from_address(kinds + frame).value = 2
    work = EntryWork.from_address(host + (0xBC << 12))
    work.ram, work.counts, work.kinds, work.flags, work.levels, work.kinds_freed = host, counts, kinds, flags, 4, marked
    work.freed_frames, work.left_frames = host + (0xB4 << 12), host + (0xB8 << 12)
    work.ranges, work.cleared = host + (0xBD << 12), host + (0xBE << 12)
    state = ctypes.addressof(work)
    start, whole = 1 << 39 | 3 << 30 | 4 << 21, 1 << 41

    def told(name: str, *arguments: int) -> None:
        call(name, state, *arguments)
        world.calls.append(tuple(getattr(work, field) for field, _ in EntryWork._fields_[5:16]))

    words[0xBD, :12] = (
        start, start + (1 << 21), 2**64 - 3, 2**64 - 0x21, start + 0x2000, start + 0x5000, 2**64 - 1, 2**64 - 0x61,
        511 << 39, (511 << 39) + 0x3000, 0, 0,
    )  # fmt: skip
    for n, parent, entry in ((0, 0xA7, 0), (1, 0xA7, 1), (2, 0xA8, 3), (3, 0xA9, 4)):
        if n:
            words[parent, entry] = (parent + 1) << 12 | 7
        told("copy_ranges", 0xA0, 0xA7, 3)
    told("free_tables", 0xA0, 0, whole, 0, 1 << 57)
    for options, number in ((0, 41), (1, 121), (6, 201), (3, 501), (7, 512)):
        told("clear_entries", 0xA0, start, start + (number << 12), options)
    told("free_tables", 0xA0, start, start + 0x1000, start + 0x1000, 1 << 57)
    told("free_tables", 0xA0, start, start + 0x1000, 0, start + (1 << 30))
    words[0xBD, :9] = 0, whole, 4, start, start + 0x1000, 0, 1 << 46, 1 << 47, 7
    words[0xBD, 9:12] = start, start + (1 << 21), 6
    told("clear_ranges", 0xA0, 3)
    told("clear_ranges", 0xA7, 4)
    told("clear_ranges", 0xA7, 0)
    told("free_tables", 0xA0, 0, whole, 0, 1 << 57)
    told("clear_entries", 0xA0, 0, whole, 4)


@cache
def encoder() -> Encoder:
    """One, so that its addresses are the same in both modes."""
    return Encoder(5, 4096, plain=("seq", "clock"))


def encoded(world: HookWorld, call: Call) -> None:
    """Records of every kind, whose values are of the upper half, many or few; with values that are given."""
    made, chance = encoder(), np.random.default_rng(2)
    made.clear()
    state, places, numbers = ctypes.addressof(made._state), np.array([1, 64, 299], np.uint32), np.array([ODD, 5, UPPER])
    call("begin_anew", state, 0)
    host, words = world.ram.host, world.ram.words
    at, kinds, told = (host + (frame << 12) for frame in (0xC1, 0xB0, 0xB2))
    for count in (0, 1, 300, 301, 800):
        records = words[0xC1 << 9 :].view(np.uint8)[: count * EVENT_COLUMNS.itemsize].view(EVENT_COLUMNS)
        records.view(np.uint8)[:] = chance.integers(0, 256, records.nbytes, np.uint8)
        records["kind"], records["level"] = chance.integers(1, 19, count), chance.integers(0, 6, count)
        for name in ("rights", "length", "asid", "entry_2", "entry_4"):
            records[name] *= chance.integers(0, 2, count, records[name].dtype)
        records["new"] |= np.uint64((1 << 64) - 4096) * chance.integers(0, 2, count, np.uint64)
        records["cr3"] &= np.uint64(0xFFF)
        if count == 300:
            for column in made._states[3:12]:
                column.given_rows, column.given_values, column.given = places.ctypes.data, numbers.ctypes.data, 3
        made._look(at, count, kinds, told)
        call("encode", state, at, kinds, count, made.rows)
        made.rows += count
        for each, column in zip(made._arrays, made._states, strict=True):
            known = each[2].bytes[: column.distinct * 8].tobytes()
            size = 8 if column.is_plain else 4
            world.calls.append((each[0].bytes.tobytes(), each[1].bytes[: column.count * size].tobytes(), known))


def calls(world: HookWorld, call: Call) -> None:
    """Calls among other events, the same ones again and again, with and without arguments."""
    chance, host, words = np.random.default_rng(4), world.ram.host, world.ram.words
    known, at, kinds, told, rows, found = (host + (frame << 12) for frame in (0xA0, 0xC1, 0xB2, 0xB3, 0xB4, 0xB6))
    words[0xA0 << 9 : 0xB0 << 9] = 0
    records = words[0xC1 << 9 :].view(np.uint8)[: 300 * EVENT_COLUMNS.itemsize].view(EVENT_COLUMNS)
    for _ in range(4):
        records.view(np.uint8)[:] = 0
        records["kind"], records["error_code"] = chance.integers(6, 19, 300), chance.integers(0, 3, 300)
        for name, values in (("entry_1", (0, ODD, UPPER)), ("entry_5", (0, 1, 2)), ("old", (ODD, UPPER, UPPER + 1))):
            records[name] = np.array(values, np.uint64)[chance.integers(0, 3, 300)]
        call("look", at, 300, kinds, told)
        many = int((records["kind"] >= EventKind.NOTE).sum())
        call("find_calls", known, at, told, many, rows, found)
        new = words[0xB6 << 9 : (0xB6 << 9) + int((records["kind"] == 16).sum())]
        for place in np.flatnonzero(new == np.arange(len(new)) * 2 + 1).tolist():
            row = int(words[0xB4 << 9 :].view(np.uint32)[place])
            call("keep_call", known, at + row * EVENT_COLUMNS.itemsize, place * 4 + 2)


@cache
def said() -> Said:
    """One, so that its address is the same in both modes."""
    return Said()


def saying(world: HookWorld, call: Call) -> None:
    """Events with words of the upper half, at times that wrap, until there is no room."""
    made, state = said(), world.state
    made.state, at = ctypes.addressof(state), ctypes.addressof(made)
    state.kernel_ns = (1 << 64) - 3
    for number in range(100):
        made.kind, made.vaddr, made.paddr, made.old, made.new = number % 20, ODD + number, UPPER, number, UPPER + number
        made.length, made.asid, made.tid, made.code, made.size = ODD, number, 7, number * 3, number % 7
        for word in range(6):
            made.words[word] = UPPER * (number & 1) + word
        call("note", at)
        call("emit", at)
    world.events.enable()
    state.ring_tail = 0
    state.ring_head = state.ring_capacity - HEADROOM + 1
    call("note", at)
    call("emit", at)


def packed(world: HookWorld, call: Call) -> None:
    """Indices of every width, bits and differences, in runs and without."""
    host, words = world.ram.host, world.ram.words
    taken, given, chance = host + (0xB0 << 12), host + (0xC0 << 12), np.random.default_rng(3)
    for width in range(1, 33):
        many = np.repeat(chance.integers(0, 1 << width, 700, np.uint32), chance.integers(1, 30, 700))
        words[0xC0 << 9 : (0xC0 << 9) + 500] = many[:1000].astype(np.uint32).view(np.uint64)
        call("pack_indices", given, 991, width, taken)
    for runs in (0, 1, 3, 20, 200):
        bits = np.packbits(np.arange(4096) * chance.integers(0, 2, 4096) > runs * 20)
        words[0xC0 << 9 : (0xC0 << 9) + 64] = bits.view(np.uint64)
        call("pack_bits", given, 4090, taken)
    for bits_ in range(65):
        words[0xC0 << 9 : (0xC0 << 9) + 300] = chance.integers(0, (1 << bits_) - 1, 300, np.uint64, endpoint=True)
        call("pack_deltas", given, 1 + bits_ * 4, taken)


def nothing(world: HookWorld, call: Call) -> None:
    call("on_access", _UC, 16, UPPER, 8, ODD, ODD)


STORIES: dict[Callable[[HookWorld, Call], None], str] = {
    walks: "mmu.hooks", instructions: "mmu.hooks", batches: "mmu.batch", modelled: "mmu.exact", exact: "mmu.exact",
    windows: "mmu.exact", modelled_blocks: "emu.engine.exact_hooks",
    slices: "emu.engine.hooks", pieces: "emu.engine.hooks", decoding: "emu.instructions.scan",
    plain: "emu.instructions.plain", inline: "emu.inline.sites", guarding: "emu.inline.guards", helpers: "mmu.helpers",
    nothing: "emu.bench.empty", signals: "emu.kernel.sigregs", answers: "emu.kernel.fastcalls",
    page_faults: "emu.kernel.faultfill",
    copies: "emu.mm.pagecopy", entries: "emu.mm.entrywork", encoded: "emu.trace.encoding",
    packed: "emu.trace.packing", saying: "mmu.said", calls: "emu.trace.told",
    **dict(zip((crossing, integers, masks, sse, stores, x87), _EXECUTED, strict=True)),
}  # fmt: skip


def both(module: str) -> tuple[Library, Library]:
    native, reference = load(module), _reference(importlib.import_module(module))
    assert (native.mode, reference.mode) == ("native", "reference")
    return native, reference


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_hooks_do_what_python_does(story: Callable[[HookWorld, Call], None], levels: int) -> None:
    world = HookWorld(levels)
    (native, native_end), (reference, reference_end) = (world.told(library, story) for library in both(STORIES[story]))
    for ours, theirs in zip(native, reference, strict=True):
        assert ours == theirs
    for ours_at, theirs_at in zip(native_end, reference_end, strict=True):
        assert np.array_equal(ours_at, theirs_at)


LITERALS = """
import ctypes
from enum import IntEnum

from mmu.native import entry, load64, native

LIMIT = 9007199254740993


class Limits(IntEnum):
    ODD = 9007199254740993
    ONE = 1


class Record(ctypes.Structure):
    word: int
    _fields_ = (("word", ctypes.c_uint64),)


@entry("bool", "u64")
def equals_a_literal(x):
    return x == 9007199254740993


@entry("bool", "u64")
def is_below_a_literal(x):
    return x < 9007199254740993


@entry("bool", "u64")
def equals_a_constant(x):
    return x == LIMIT


@entry("bool", "u64")
def is_above_a_member(x):
    return x > Limits.ODD


@native
def half(x, rest=1):
    return (x + rest) >> Limits.ONE


@entry("u64", "u64")
def half_of_the_next(x):
    return half(x) | 0


@entry("u64", "u64")
def page_of_the_one_before(x):
    return (x - 1) & 0xFFFF_FFFF_FFFF_F000


@entry("u64", "u64")
def bit_of_the_last_digit(x):
    return 1 << (x & 63)


@entry("u64", "u64", "u64")
def word_of_page(table, x):
    return load64(table + ((x >> 12) % 4) * 8)


@entry("u64", "u64")
def four_times(x):
    total = 0
    for i in range(4):
        total += (x >> 2) + i
    return total


@entry("bool", Record)
def record_is_odd(record):
    record.word += 1
    record.word -= 1
    return record.word == 9007199254740993


@entry("bool", "u64", "i32", "u32")
def widths(x, signed, unsigned):
    return x - 1 == 9007199254740992 or signed + x == 9007199254740993 or unsigned == 4294967295
"""


def test_literals_are_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison, a sum, a shift and a table lookup with each kind of number that stands in a source."""
    (tmp_path / "literals.py").write_text(LITERALS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path / "cache"))
    native, reference = both("literals")
    table = np.array([ODD, UPPER, 1, 2**64 - 1], dtype=np.uint64)
    numbers = sorted({n for vaddr in ADDRESSES for n in (vaddr - 1, vaddr, vaddr + 1) if n < 2**64 - 4})
    for name in entry_points(importlib.import_module("literals")):
        for x in numbers:
            cell = ctypes.c_uint64(x)
            arguments = {
                "word_of_page": (table.ctypes.data, x),
                "record_is_odd": (ctypes.addressof(cell),),
                "widths": (x, 1, 2**32 - 1 - x % 2),
            }.get(name, (x,))
            assert native[name](*arguments) == reference[name](*arguments), (name, hex(x))
            assert cell.value == x


@pytest.mark.parametrize("expression", ["-1", "~x", "x + -2"])
def test_numbers_below_zero_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str) -> None:
    (tmp_path / "negative.py").write_text(
        f'from mmu.native import entry\n\n@entry("u64", "u64")\ndef f(x):\n    return {expression}\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(CompileError, match=r"SyntaxError: native code has no numbers below 0: .* in line 5$"):
        load("negative")
    sys.modules.pop("negative")


def test_every_entry_point_is_in_a_story() -> None:
    called = set()
    for story, module in STORIES.items():
        for calls, _ in [HookWorld(5).told(load(module), story)]:
            called |= {(module, name) for name, *_ in calls if name in entry_points(importlib.import_module(module))}
    there = {(module, name) for module in MODULES for name in entry_points(importlib.import_module(module))}
    assert called == there


def test_every_module_with_entry_points_is_listed() -> None:
    """The laboratory's loops run both ways in tests/lab, over streams of their own."""
    marked = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("mmu", "emu", "msharefs", "sharing")
        for path in (ROOT / package).rglob("*.py")
        if "\n@entry(" in path.read_text() and not path.is_relative_to(ROOT / "emu" / "lab")
    ]
    assert sorted(marked) == sorted(MODULES)
