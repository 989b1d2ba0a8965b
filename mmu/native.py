"""Functions that are Python, and native code too.

A function marked :func:`native` and an entry point marked :func:`entry` are plain Python over integers and host
addresses. They run in two modes:

*native*: a child process compiles them with numba (:mod:`mmu.compiler`) and keeps the object code; this process only
loads that object with llvmlite and hands raw function pointers to Unicorn.  numba is never imported here.

*reference* (``NUMBA_DISABLE_JIT=1``): the very same functions run as Python behind ctypes callbacks, where breakpoints
can be set inside the MMU.

In native mode every integer is a ``uint64``, each literal and each constant included: the compiler makes them so.  In
reference mode it is a Python ``int``.  No function may rely on wrap-around, nor on a number below 0.

A native function may name integer constants, members of enumerations, records (classes of ctypes, of which
``from_address`` is the one at a host address), results (classes made by NamedTuple), the functions at the end of this
module, and other native functions.  :mod:`mmu.codekey` refuses anything else.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from enum import Enum
from types import ModuleType
from typing import Any, TypeGuard, TypeVar

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
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


# -- marks -------------------------------------------------------------------------------------------------------------


class Inlining(Enum):
    """Whether a native function is inlined into its callers."""

    AS_LLVM_LIKES = "native"
    ALWAYS = "inlined"
    NEVER = "cold"


def _mark(function: F, inlining: Inlining) -> F:
    setattr(function, "inlining", inlining)  # noqa: B010 (a function has no such attribute of its own)
    return function


def native(function: F) -> F:
    """Mark a function that native code may call."""
    return _mark(function, Inlining.AS_LLVM_LIKES)


def inlined(function: F) -> F:
    """The same, for a function that is inlined wherever it is called."""
    return _mark(function, Inlining.ALWAYS)


def cold(function: F) -> F:
    """The same, for a function that is called seldom: never inlined, and paths that lead there count as unlikely."""
    return _mark(function, Inlining.NEVER)


def is_native(value: Any) -> bool:
    """Whether something is a function that is marked as native."""
    return isinstance(getattr(value, "inlining", None), Inlining)


def is_record(value: Any) -> TypeGuard[type[ctypes.Structure]]:
    """Whether something is the class of a record: memory at a host address, with named fields."""
    return isinstance(value, type) and issubclass(value, ctypes.Structure)


def is_result(value: Any) -> bool:
    """Whether something is the class of named results (a NamedTuple)."""
    return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")


class EntryPoint:
    """A function that C code can call, with its C types (``result`` first in ``signature``)."""

    def __init__(self, function: Callable[..., Any], signature: tuple[Parameter, ...]) -> None:
        self.function = inlined(function)
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


def entry(*signature: Parameter) -> Callable[[Callable[..., Any]], EntryPoint]:
    """Mark a function as an entry point: ``@entry("bool", "u64", State)`` is ``bool f(uint64_t, State *)``."""

    def mark(function: Callable[..., Any]) -> EntryPoint:
        return EntryPoint(function, signature)

    return mark


def entry_points(module: ModuleType) -> dict[str, EntryPoint]:
    """The entry points of a module, by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, EntryPoint)}


def global_names(function: Any) -> dict[str, Any]:
    """The values of the global names that a function uses, and its attribute names."""
    scope = function.__globals__
    return {name: scope[name] for name in function.__code__.co_names if name in scope}


# -- what native code does with addresses; the compiler has instructions for them --------------------------------------


def load64(address: int) -> int:
    """The uint64 at a host address."""
    return ctypes.c_uint64.from_address(address).value


def store64(address: int, value: int) -> None:
    """Write the uint64 at a host address."""
    ctypes.c_uint64.from_address(address).value = value


def stream64(address: int, value: int) -> None:
    """Write the uint64 at a host address past the caches: for what is not read again soon."""
    store64(address, value)


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


def equal8(address: int, value: int, mask: int) -> int:
    """Which of the 8 uint64 at a host address have this value where ``mask`` has bits: a bit for each."""
    return _equal(8, address, value, mask)


def equal16(address: int, value: int, mask: int) -> int:
    """The same of 16."""
    return _equal(16, address, value, mask)


def equal64(address: int, value: int, mask: int) -> int:
    """The same of 64."""
    return _equal(64, address, value, mask)


def _equal(number: int, address: int, value: int, mask: int) -> int:
    return sum(((load64(address + i * 8) ^ value) & mask == 0) << i for i in range(number))


def least8(address: int, lanes: int) -> int:
    """The least of those of the 8 uint64 at a host address that ``lanes`` has a bit for; all ones if there is none."""
    return _least(8, address, lanes)


def least16(address: int, lanes: int) -> int:
    """The same of 16."""
    return _least(16, address, lanes)


def least64(address: int, lanes: int) -> int:
    """The same of 64."""
    return _least(64, address, lanes)


def _least(number: int, address: int, lanes: int) -> int:
    return min((load64(address + i * 8) for i in range(number) if lanes >> i & 1), default=_ALL_ONES)


def lowest_bit(bits: int) -> int:
    """The number of the lowest bit that is set; 64 if none is."""
    return (bits & -bits).bit_length() - 1 if bits else 64


def call1(function: int, a: int) -> int:
    """Call the C function at a host address with one 64-bit argument."""
    return int(ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(function)(a))


def call3(function: int, a: int, b: int, c: int) -> int:
    """Call the C function at a host address with three 64-bit arguments."""
    u64 = ctypes.c_uint64
    return int(ctypes.CFUNCTYPE(u64, u64, u64, u64)(function)(a, b, c))


def call4(function: int, a: int, b: int, c: int, d: int) -> int:
    """Call the C function at a host address with four 64-bit arguments."""
    u64 = ctypes.c_uint64
    return int(ctypes.CFUNCTYPE(u64, u64, u64, u64, u64)(function)(a, b, c, d))


def call5(function: int, a: int, b: int, c: int, d: int, e: int) -> int:
    """Call the C function at a host address with five 64-bit arguments."""
    u64 = ctypes.c_uint64
    return int(ctypes.CFUNCTYPE(u64, u64, u64, u64, u64, u64)(function)(a, b, c, d, e))


def call6(function: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """Call the C function at a host address with six 64-bit arguments."""
    u64 = ctypes.c_uint64
    return int(ctypes.CFUNCTYPE(u64, u64, u64, u64, u64, u64, u64)(function)(a, b, c, d, e, f))


def prefetch(address: int) -> None:
    """Have the CPU fetch what is at a host address, which will be needed soon."""


def return_address() -> int:
    """Where the entry point that runs returns to, for one that is no callback: 0 in reference mode."""
    return 0


__all__ = [
    "EntryPoint",
    "Inlining",
    "call1",
    "call3",
    "call4",
    "call5",
    "call6",
    "cold",
    "entry",
    "entry_points",
    "equal8",
    "equal16",
    "equal64",
    "global_names",
    "inlined",
    "is_native",
    "is_record",
    "is_result",
    "least8",
    "least16",
    "least64",
    "load8",
    "load32",
    "load64",
    "lowest_bit",
    "native",
    "prefetch",
    "reference_mode",
    "return_address",
    "store8",
    "store32",
    "store64",
    "stream64",
]
