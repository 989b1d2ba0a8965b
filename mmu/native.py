"""Functions that are Python, and native code too.

A function marked :func:`native` and an entry point marked :func:`entry` are plain Python over integers and host
addresses. They run in two modes:

*native*: a child process compiles them with numba (:mod:`mmu.compiler`) and keeps the object code; this process only
loads that object with llvmlite and hands raw function pointers to Unicorn.  numba is never imported here.

*reference* (``NUMBA_DISABLE_JIT=1``): the very same functions run as Python behind ctypes callbacks, where a
breakpoint can stand inside the MMU.

In native mode every integer is a ``uint64``; in reference mode it is a Python ``int``.  ``U`` is the name of that
type.  No function may rely on wrap-around, and every literal that meets such an integer is written ``U(...)``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

#: True only in the child process that compiles.
BUILDING = os.environ.get("UNIMMU_NATIVE_BUILD") == "1"

F = TypeVar("F", bound=Callable[..., Any])

#: The parameter types of an entry point, by name.
CTYPES: dict[str, Any] = {
    "void": None,
    "bool": ctypes.c_bool,
    "i32": ctypes.c_int32,
    "u32": ctypes.c_uint32,
    "i64": ctypes.c_int64,
    "u64": ctypes.c_uint64,
}
#: A parameter: one of the names above, or a ctypes.Structure class for a pointer to such a record.
Parameter = str | type[ctypes.Structure]


def reference_mode() -> bool:
    """True where the user asked for plain Python (``NUMBA_DISABLE_JIT=1``)."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


class Entry:
    """An entry point: a function that C code can call, with its C types (``result`` first in ``signature``)."""

    def __init__(self, function: Callable[..., Any], signature: tuple[Parameter, ...]) -> None:
        self.function = function
        self.name = function.__name__
        self.signature = signature

    def prototype(self) -> Any:
        """The ctypes function type; records travel as addresses."""
        result, *parameters = self.signature
        assert isinstance(result, str)
        return ctypes.CFUNCTYPE(
            CTYPES[result], *(CTYPES[p] if isinstance(p, str) else ctypes.c_uint64 for p in parameters)
        )

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def entry(*signature: Parameter) -> Callable[[Callable[..., Any]], Entry]:
    """Mark a function as an entry point: ``@entry("bool", "u64", State)`` is ``bool f(uint64_t, State *)``."""

    def mark(function: Callable[..., Any]) -> Entry:
        return Entry(function, signature)

    return mark


if BUILDING and not TYPE_CHECKING:
    import numpy as np

    from mmu.compiler import (
        call1,
        call3,
        load8,
        load32,
        load64,
        njit,
        njit_cold,
        njit_inlined,
        store8,
        store32,
        store64,
    )

    U = np.uint64

    def native(function: F) -> F:
        """Mark a function that compiled code may call."""
        return njit(function)

    def inlined(function: F) -> F:
        """The same, for one that is worth inlining wherever it is called."""
        return njit_inlined(function)

    def cold(function: F) -> F:
        """The same, for one that is called seldom: it is never inlined."""
        return njit_cold(function)
else:
    U = int

    def native(function: F) -> F:
        """Mark a function that compiled code may call."""
        return function

    def inlined(function: F) -> F:
        """The same, for one that is worth inlining wherever it is called."""
        return function

    def cold(function: F) -> F:
        """The same, for one that is called seldom: it is never inlined."""
        return function

    def load64(address: int) -> int:
        """The uint64 at a host address."""
        return ctypes.c_uint64.from_address(address).value

    def store64(address: int, value: int) -> None:
        """Write the uint64 at a host address."""
        ctypes.c_uint64.from_address(address).value = value

    def load32(address: int) -> int:
        """The uint32 at a host address."""
        return ctypes.c_uint32.from_address(address).value

    def store32(address: int, value: int) -> None:
        """Write the uint32 at a host address."""
        ctypes.c_uint32.from_address(address).value = value

    def load8(address: int) -> int:
        """The byte at a host address."""
        return ctypes.c_uint8.from_address(address).value

    def store8(address: int, value: int) -> None:
        """Write the byte at a host address."""
        ctypes.c_uint8.from_address(address).value = value

    def call1(function: int, a: int) -> int:
        """Call the C function at a host address with one 64-bit argument."""
        return int(ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(function)(a))

    def call3(function: int, a: int, b: int, c: int) -> int:
        """Call the C function at a host address with three 64-bit arguments."""
        u64 = ctypes.c_uint64
        return int(ctypes.CFUNCTYPE(u64, u64, u64, u64)(function)(a, b, c))


__all__ = [
    "BUILDING",
    "Entry",
    "U",
    "call1",
    "call3",
    "cold",
    "entry",
    "inlined",
    "load8",
    "load32",
    "load64",
    "native",
    "reference_mode",
    "store8",
    "store32",
    "store64",
]
