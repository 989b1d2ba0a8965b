"""Loads and stores by our own helpers (mmu.helpers), from places as the engine makes them, and from others."""

from __future__ import annotations

import ctypes
import struct
from itertools import product
from typing import Any

import numpy as np

from mmu import CR4, Access, EventKind
from mmu.helper_places import (
    ENGINES,
    FIRST_PIECE,
    LAST_PIECE,
    NO_ACCESS,
    PATH_BYTES,
    PROBES,
    DataPath,
    Helpers,
    first_path_of,
)
from tests.mmu.hook_world import ADDRESSES, INSTRUCTIONS, ODD, UPPER, Call, HookWorld

#: Of an engine: its code, 16 KiB, then the end of its TLB, registers, translations, and memory of the guest.
_WORDS = np.zeros(4096, dtype=np.uint64)
_PATHS = np.zeros((ENGINES + PROBES) * PATH_BYTES, dtype=np.uint8)
_RECORD = np.zeros(ctypes.sizeof(Helpers), dtype=np.uint8)
_CODE = int(_WORDS.ctypes.data)
_ENV, _TABLE, _MEMORY = _CODE + 0x4000, _CODE + 0x5000, _CODE + 0x6000
_SIZES = (1, 2, 4, 8)
_MMU_INDEX = 1
#: All ones: nothing is allowed.
_NONE = 2**64 - 1


def helpers(world: HookWorld, call: Call) -> None:
    """Places of loads and stores of each size, of which one byte is wrong or none; then accesses from known ones."""
    _WORDS[:], _PATHS[:] = 0, 0
    record = _record(world)
    number = first_path_of(_ENV) + 2
    path = DataPath.from_address(record.paths + number * PATH_BYTES)
    path.env, path.state = _ENV, ctypes.addressof(world.state)
    world.state.check = 0
    at, known = ctypes.addressof(record), number << 16 | _MMU_INDEX
    for (helper, rip), before in product(product(range(8), (*INSTRUCTIONS, UPPER)), (0, 100)):
        world.rip[0] = rip
        oi = helper % 4 << 4 | _MMU_INDEX
        for wrong in (None, *range(before, before + 60, 7)):
            code, back, _ = place(record, helper, oi, before)
            if wrong is not None:
                code[wrong] ^= 1
            ctypes.memmove(_CODE, bytes(code), len(code))
            _access(world, call, at, helper, ADDRESSES[0], oi, back)
            world.calls.append((bytes(_WORDS[:64]), bytes(path)))
    assert path.places > path.missed // 8 > 0
    for marks, (vaddr, helper) in product((0, NO_ACCESS, FIRST_PIECE, LAST_PIECE), product(ADDRESSES, range(8))):
        for events, late in ((0, 0), (1, 0), (0, 5)):
            world.events.enable(*(EventKind if events else ()))
            world.state.late_page, world.state.unsure = late, late
            world.state.next_piece, world.state.piece_rip = vaddr, 1 << 63
            _translate(vaddr, helper)
            _access(world, call, at, helper, vaddr, known | marks | helper % 4 << 4, _CODE + 50)
            state = world.state
            world.calls.append((state.next_piece, state.piece_rip, bytes(_WORDS[0xC00:0xC10]), bytes(path)))
    world.state.late_page = world.state.unsure = path.filled = 0
    world.state.engine_windows = world.windows.ctypes.data
    for vaddr, helper in product(ADDRESSES, range(8)):
        ctypes.memset(_TABLE, 0xFF, 256)  # it holds nothing
        _access(world, call, at, helper, vaddr, known | helper % 4 << 4, _CODE + 50)
        world.calls.append((world.state.unsure, bytes(path)))
    assert bool(path.filled) != bool(world.state.cr4 & CR4.LA57)
    path.off = 1
    _access(world, call, at, 3, ADDRESSES[0], known, _CODE + 50)


def _record(world: HookWorld) -> Helpers:
    record = Helpers.from_buffer(_RECORD.data)
    record.restore_state, record.probe = world.function("restore_state", 3), world.function("probe", 6)
    record.set_page = world.function("set_page", 6)
    record.paths = _PATHS.ctypes.data
    for number in range(8):
        record.engines[number] = world.function(f"engine's {number}", 4 if number < 4 else 5, result=ODD)
        record.ours[number] = _CODE + 0x3000 + 16 * number
    return record


def place(record: Helpers, helper: int, oi: int, before: int) -> tuple[bytearray, int, int]:
    """The engine's code of a load or a store, behind another access or none; where the main path goes on, and where the
    slow path has ``oi``."""
    code = bytearray(before)
    if before:
        code[before - 30 : before - 21] = b"\xe9\0\0\0\0" + bytes.fromhex("48037720")
    code += bytes.fromhex("48c1ef06 48237dd0 48037dd8 488d7307 4881e600f0ffff")
    code += bytes.fromhex("483b7708" if helper >= 4 else "483b37") + bytes.fromhex("488bf3")
    code += b"\xe9" + struct.pack("<i", 4 + 3 + 20) + bytes.fromhex("48037720 488b1e")
    back = _CODE + len(code)
    code += bytes(20) + bytes.fromhex("488bfd")
    if helper >= 4:
        code += bytes.fromhex("498bd4")
    code += (b"\xb9" if helper >= 4 else b"\xba") + struct.pack("<I", oi)
    where = _CODE + len(code) - 4
    code += bytes.fromhex("4c8d05" if helper >= 4 else "488d0d") + struct.pack("<i", back - (_CODE + len(code) + 7))
    if helper >= 4:
        code += b"\x41\x50"
    code += b"\xe9" if helper >= 4 else b"\xe8"
    code += struct.pack("<i", record.ours[helper] - (_CODE + len(code) + 4))
    return code, back, where


def _translate(vaddr: int, helper: int) -> None:
    """Have the engine hold the translation of a page, for loads or for stores, in one of its four places."""
    page = vaddr & ~0xFFF
    tlb = _ENV - 0x40 + 16 * _MMU_INDEX
    ctypes.c_uint64.from_address(tlb).value, ctypes.c_uint64.from_address(tlb + 8).value = 0xC0, _TABLE
    entry = (ctypes.c_uint64 * 8).from_address(_TABLE + (vaddr >> 6 & 0xC0))
    entry[0], entry[1], entry[2] = (page, _NONE, _NONE) if helper < 4 else (_NONE, page | 0x400, _NONE)
    entry[4] = (_MEMORY - vaddr) & _NONE


def _access(world: HookWorld, call: Call, record: int, helper: int, vaddr: int, oi: int, back: int) -> Any:
    name = f"{'load' if helper < 4 else 'store'}_{_SIZES[helper % 4]}"
    values = () if helper < 4 else (UPPER + Access.WRITE,)
    return call(name, _ENV, vaddr, *values, oi, back, record)
