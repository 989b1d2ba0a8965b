"""The engine's tables of helpers for loads and stores, in which ours (:mod:`mmu.helpers`) stand in exact mode.

The engine has one table for loads and one for stores, for all engines of the process; what it translates calls what
stands there.  So ours know for whom they are called: an engine that is not in exact mode gets what it always had.  That
all this is as expected is proven, once for each engine and each version of the code, by a program that runs both ways.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

from unicorn import UC_HOOK_MEM_READ, UC_HOOK_MEM_READ_AFTER, UC_HOOK_MEM_WRITE, Uc
from unicorn.unicorn_py3.unicorn import uclib

from mmu import unicorn_abi
from mmu.helper_places import ENGINES, MOST_MISSED, PATH_BYTES, PROBES, DataPath, Helpers, first_path_of
from mmu.host_array import HostArray
from mmu.objectcode import Library, executable, keep, load
from mmu.once import Once
from mmu.state import MmuState, WordArray

#: The engine's helpers, in the order of its tables.
_LOADS, _STORES = (
    tuple(f"helper_{name}_mmu_x86_64" for name in names)
    for names in (
        ("ret_ldub", "le_lduw", "le_ldul", "le_ldq"),
        ("ret_stb", "le_stw", "le_stl", "le_stq"),
    )
)
_OURS = ("load_1", "load_2", "load_4", "load_8", "store_1", "store_2", "store_4", "store_8")
#: Where in ``sys``, which nobody drops, it says which entries were changed.
_PLACES = "_unimmu_helper_places"
_TOLD_OF = UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE | UC_HOOK_MEM_READ_AFTER
_PAGE_MASK = -mmap.PAGESIZE


class Unproven(Exception):
    """Something is not as expected here; the message says what."""


class HelperTable:
    """Our helpers in the engine's tables, once a process."""

    def __init__(self) -> None:
        names = (*_LOADS, *_STORES)
        engines = [unicorn_abi.symbol_address(name) for name in names]
        self._places = _remembered_places() or [*_find(engines[:4]), *_find(engines[4:])]
        self._library: Library = load("mmu.helpers")
        self._paths = HostArray((ENGINES + PROBES) * PATH_BYTES, "B")
        #: Which engine has taken a record, by the record's number: what the engine's code passes.
        self.taken: dict[int, int] = {}
        self.record = Helpers(
            restore_state=unicorn_abi.symbol_address("cpu_restore_state_x86_64"),
            probe=unicorn_abi.symbol_address("probe_access_x86_64"),
            set_page=unicorn_abi.symbol_address("tlb_set_page_x86_64"), paths=self._paths.address,
        )  # fmt: skip
        # what a helper is given besides what the engine passes: a load has four arguments, a store five
        stubs = b"".join(
            (b"\x49\xb8" if number < 4 else b"\x49\xb9") + ctypes.addressof(self.record).to_bytes(8, "little")
            + b"\x48\xb8" + self._library[name].address.to_bytes(8, "little") + b"\xff\xe0" + b"\x90" * 10
            for number, name in enumerate(_OURS)
        )  # fmt: skip
        begin = executable(stubs)
        length = len(stubs) // len(_OURS)
        for number, engine in enumerate(engines):
            self.record.engines[number], self.record.ours[number] = engine, begin + number * length
        keep(self)  # whatever the engine has translated calls the stubs, which know the record
        self.put()
        setattr(sys, _PLACES, self._places)

    def put(self) -> None:
        """Have our helpers stand in the tables."""
        self._write(self.record.ours)

    def take_back(self) -> None:
        """Have the engine's own stand there again: for code that is translated from now on."""
        self._write(self.record.engines)

    def _write(self, helpers: WordArray) -> None:
        """Write the tables, which the loader has made read-only."""
        begin = min(self._places) & _PAGE_MASK
        length = max(self._places) + 8 - begin
        _protect(begin, length, mmap.PROT_READ | mmap.PROT_WRITE)
        for place, helper in zip(self._places, helpers, strict=True):
            ctypes.c_uint64.from_address(place).value = helper
        _protect(begin, length, mmap.PROT_READ)

    def paths(self) -> list[DataPath]:
        """All records of engines, of which those that are taken have ``env``."""
        return [self._path(number) for number in range(ENGINES + PROBES)]

    def take(self, uc: Uc, state: MmuState) -> DataPath | None:
        """One for this engine, until it is closed; None if none is free."""
        env = _env(uc)
        first = first_path_of(env)
        for number in range(first, first + PROBES):
            # look and take in one step: other threads take some at the same moment
            if self.taken.setdefault(number, env) == env:
                path = self._path(number)
                ctypes.memset(ctypes.addressof(path), 0, PATH_BYTES)
                path.state, path.env = ctypes.addressof(state), env
                # called before the engine is closed: of finalizers, the latest comes first
                weakref.finalize(uc, self._give_back, number, state)
                return path
        return None

    def _give_back(self, number: int, _state: MmuState) -> None:
        """The engine is closed; its state is kept until then."""
        self._path(number).env = 0
        self.taken.pop(number, None)

    def _path(self, number: int) -> DataPath:
        return DataPath.from_address(self._paths.address + number * PATH_BYTES)


def _env(uc: Uc) -> int:
    """What the engine's code passes to helpers."""
    return unicorn_abi.cpu_state(uc) + unicorn_abi.ENV_REGS


def _protect(begin: int, length: int, how: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(begin), ctypes.c_size_t(length), how) != 0:
        raise Unproven(f"the engine's tables cannot be written ({os.strerror(ctypes.get_errno())})")


def _remembered_places() -> list[int]:
    """The host addresses of the entries, if this module was imported before in this process, and dropped: then they
    hold helpers of ours.  Empty if not."""
    places: list[int] = getattr(sys, _PLACES, [])
    return places


def _find(helpers: list[int]) -> list[int]:
    """The host addresses of the table's entries that hold these helpers."""
    wanted = b"".join(address.to_bytes(8, "little") for address in helpers)
    found = []
    for begin, length in _data_of_library():
        data = ctypes.string_at(begin, length)
        at = data.find(wanted)
        while at >= 0:
            found.append(begin + at)
            at = data.find(wanted, at + 8)
    if len(found) != 1 or found[0] % 8:
        raise Unproven("the engine's table of helpers is not where it was expected")
    return [found[0] + 8 * number for number in range(len(helpers))]


def _data_of_library() -> list[tuple[int, int]]:
    """Where the engine's library has constant data in memory: begin and length."""
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            words = line.rstrip("\n").split(None, 5)
            if len(words) == 6 and words[5] == os.path.realpath(uclib._name) and words[1] == "r--p":
                begin, end = (int(word, 16) for word in words[0].split("-"))
                found.append((begin, end - begin))
    return found


@Once
def helper_table() -> HelperTable:
    """Put our helpers into the engine's tables.  :class:`Unproven`."""
    return HelperTable()


class FastPath:
    """Whether the data accesses of one engine in exact mode go through our helpers."""

    def __init__(self, uc: Uc, state: MmuState, table: HelperTable | None, why_not: str = "") -> None:
        #: Why a hook handles each access; "" if the helpers do what they can.
        self.why_not = why_not
        self._path: DataPath | None = None
        if table is not None:
            self._begin(uc, state, table)

    def _begin(self, uc: Uc, state: MmuState, table: HelperTable) -> None:
        self._path = table.take(uc, state)
        if self._path is None:
            self.why_not = "too many engines are in exact mode"
            return
        _watch_memory_hooks(uc, self._hooked)

    def _hooked(self) -> None:
        """Somebody wants to be told of accesses."""
        self.end("there is a memory hook that is not the MMU's own")

    def end(self, why: str) -> None:
        """From now on a hook handles each access."""
        self.why_not = why
        if self._path is not None:
            self._path.off = 1

    @property
    def places(self) -> int:
        """How many places in the engine's code call helpers that know them."""
        return 0 if self._path is None else self._path.places

    @property
    def missed(self) -> int:
        """How often a place was not as expected."""
        return 0 if self._path is None else self._path.missed

    @property
    def asked(self) -> int:
        """How many accesses from known places the engine was asked to make."""
        return 0 if self._path is None else self._path.asked

    @property
    def filled(self) -> int:
        """How many translations the engine was given without asking."""
        return 0 if self._path is None else self._path.filled

    def state(self) -> str:
        """In words for a user."""
        path = self._path
        if self.why_not or path is None:
            return f"a hook handles each access: {self.why_not}"
        if path.missed >= MOST_MISSED and path.off:
            return "a hook handles each access: the code that the engine makes of them is not as expected"
        made = f"{path.places - path.left:,} loads and stores in the engine's code go to the TLB model themselves"
        others = path.left + path.missed
        return made if not others else f"{made} (of {others:,} a hook handles each access)"


def _watch_memory_hooks(uc: Uc, told: Callable[[], object]) -> None:
    """Be told when a memory hook is installed from now on."""
    engine: Any = uc
    engine._unimmu_memory_hooked = told
    hook_add = engine.hook_add

    def add(htype: int, *arguments: Any, **named: Any) -> Any:
        if htype & _TOLD_OF:
            told()
        return hook_add(htype, *arguments, **named)

    engine.hook_add = add
