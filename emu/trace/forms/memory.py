"""Memory policies and places of pages, as strace writes them."""

from __future__ import annotations

import errno
import struct

from emu.linux.argument import U32, Shown, View
from emu.linux.mman import MapFlags
from emu.linux.words import pointer
from emu.trace.forms.form import (
    HEXED,
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
        words = (count + 62) // 64 if count else 0
        if not count and address:
            return "[]"
        if not words or (written and call.failed) or not address or words > _MOST_WORDS * 64:
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
_RIGHTS = {1: "PKEY_DISABLE_ACCESS", 2: "PKEY_DISABLE_WRITE", 4: "PKEY_DISABLE_EXECUTE"}
_SYNC = {4: "MS_SYNC", 1: "MS_ASYNC", 2: "MS_INVALIDATE"}
_ASKED = {1: "MPOL_F_NODE", 2: "MPOL_F_ADDR", 4: "MPOL_F_MEMS_ALLOWED"}
_MOVE_PAGES = {2: "MPOL_MF_MOVE", 4: "MPOL_MF_MOVE_ALL"}
_MAYMOVE_FIXED = 3


def mremap(values: tuple[int, ...], view: View) -> Forms:
    """mremap(2), which looks at an address only where the mapping may and must move."""
    return {} if values[3] & _MAYMOVE_FIXED == _MAYMOVE_FIXED else {4: None}


COMMANDS = {"mremap": mremap}
FORMS: dict[str, Forms] = {
    "memfd_secret": {0: number(flags({0o2000000: "O_CLOEXEC"}, ""))},
    "pkey_alloc": {1: number(flags(_RIGHTS, "PKEY_"))},
    "msync": {2: number(lambda value: flags(_SYNC, "MS_")(U32(value)))},
    "remap_file_pages": {4: number(MapFlags.words)},
    "set_mempolicy": {0: _SET_MODE, 1: _nodes(2)},
    "mbind": {2: _SET_MODE, 3: _nodes(4), 5: number(lambda value: _MOVE(U32(value)))},
    "set_mempolicy_home_node": {3: HEXED},
    "get_mempolicy": {
        4: number(flags(_ASKED, "MPOL_")), 0: got(Box("i", one_of(_KNOWN, "MPOL_"))), 1: _nodes(2, written=True),
    },
    "migrate_pages": {2: _nodes(1), 3: _nodes(1)},
    "move_pages": {
        2: array(Bare("Q", pointer), argument(1)), 3: array(Bare("i"), argument(1)),
        4: array(Bare("i", _node), argument(1), written=True),
        5: number(lambda value: flags(_MOVE_PAGES, "MPOL_")(U32(value))),
    },
}  # fmt: skip
