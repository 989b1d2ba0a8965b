"""Memory policies and places of pages, as strace writes them."""

from __future__ import annotations

import errno
import struct

from emu.linux.argument import U32, Shown
from emu.linux.mman import MapFlags
from emu.linux.words import pointer
from emu.trace.forms.form import (
    MOST_SHOWN,
    Bare,
    Box,
    Form,
    Forms,
    argument,
    array,
    flags,
    got,
    names_of,
    number,
    one_of,
)

_MODES = names_of("MPOL_", "DEFAULT PREFERRED BIND INTERLEAVE LOCAL PREFERRED_MANY WEIGHTED_INTERLEAVE")
_KNOWN = {at: name for at, name in _MODES.items() if at < 6}
_MODE_FLAGS = {0x8000: "MPOL_F_STATIC_NODES", 0x4000: "MPOL_F_RELATIVE_NODES", 0x2000: "MPOL_F_NUMA_BALANCING"}
_MOST_WORDS = 512


def _mode(value: int) -> str:
    """A policy with its flags."""
    value = U32(value)
    kinds, mode = value & 0xE000, value & ~0xE000
    names = [name for bit, name in _MODE_FLAGS.items() if kinds & bit]
    if mode in _KNOWN:
        return "|".join([_KNOWN[mode], *names])
    return "|".join([*names, f"{mode:#x}"]) if names else f"{mode:#x} /* MPOL_??? */"


def _nodes(count_at: int, *, written: bool = False) -> Form:
    """A mask of nodes: as many bits as another argument says."""

    def text(at: int, call: Shown) -> str:
        address, count = call.values[at], call.values[count_at]
        words = (count + 63) // 64
        if not words and address:
            return "[]"
        if (written and call.failed) or not address or words > _MOST_WORDS * 64:
            return pointer(address)
        data = call.view.peek(address, 8 * min(words, MOST_SHOWN))
        if words and len(data) < 8:
            return pointer(address)
        texts = [f"{word:#018x}" if word else "0" * 16 for (word,) in struct.iter_unpack("<Q", data[: len(data) & ~7])]
        return f"[{', '.join(texts)}{', ...' if words > MOST_SHOWN else ''}]"

    return Form(text, written)


def _node(value: int) -> str:
    """A node, or why there is none."""
    return f"-{errno.errorcode.get(-value, str(-value))}" if value < 0 else str(value)


_MOVE = flags({1: "MPOL_MF_STRICT", 2: "MPOL_MF_MOVE", 4: "MPOL_MF_MOVE_ALL"}, "MPOL_")
_SET_MODE = number(_mode)
FORMS: dict[str, Forms] = {
    "remap_file_pages": {4: number(MapFlags.words)},
    "set_mempolicy": {0: _SET_MODE, 1: _nodes(2)},
    "mbind": {2: _SET_MODE, 3: _nodes(4), 5: number(lambda value: _MOVE(U32(value)))},
    "get_mempolicy": {0: got(Box("i", one_of(_KNOWN, "MPOL_"))), 1: _nodes(2, written=True)},
    "migrate_pages": {2: _nodes(1), 3: _nodes(1)},
    "move_pages": {
        2: array(Bare("Q", pointer), argument(1)), 3: array(Bare("i"), argument(1)),
        4: array(Bare("i", _node), argument(1), written=True),
    },
}  # fmt: skip
