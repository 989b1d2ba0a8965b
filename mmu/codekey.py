"""The key of a module's object code: a digest of everything that determines the code, and of nothing else.

That is, from the entry points on: the bytecode of each native function that they reach, whether it is inlined, and the
values of the constants, enumerations and records that it names; then the compiler and its libraries, Unicorn, the
interpreter and the CPU.  No list of files is kept: a function that is not reached, a comment or a docstring makes no
difference.
"""

from __future__ import annotations

import ctypes
import dis
import hashlib
import importlib.util
import pathlib
import sys
from collections.abc import Iterator
from enum import EnumType
from types import CodeType, FunctionType, ModuleType
from typing import Any

import unicorn

from mmu import native
from mmu.native import EntryPoint, entry_points, global_names, is_native, is_record, is_result
from mmu.remembered import host_cpu


def key(module: ModuleType) -> str:
    """The key, 32 hexadecimal digits.

    TypeError if a native function names something that native code cannot hold; ModuleNotFoundError without numba.
    """
    digest = hashlib.sha256()
    here = pathlib.Path(__file__)
    compiler = [here.with_name(name) for name in ("native.py", "intrinsics.py", "compiler.py", "linker.py")]
    for path in (*compiler, *version_files()):
        digest.update(path.read_bytes())
    for fact in (unicorn.__version__, sys.version, host_cpu(), *facts(module)):
        digest.update(fact.encode() + b"\0")
    return digest.hexdigest()[:32]


def version_files() -> list[pathlib.Path]:
    """The files that tell the versions of the compiler and its library.  ModuleNotFoundError without them."""
    return [_version_file("numba"), _version_file("llvmlite")]


def _version_file(package: str) -> pathlib.Path:
    """The file that tells the version of a package of the compiler's, which takes long to import."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed; unimmu needs it once, to compile its hooks")
    return pathlib.Path(found.origin).with_name("_version.py")


def facts(module: ModuleType) -> Iterator[str]:
    """The input of the module's own part of the key: a line for each function, constant, enumeration and record."""
    seen: set[Any] = set()
    for name, entry in entry_points(module).items():
        yield f"{module.__name__}.{name}: {_signature(entry)}"
        yield from _facts_of_function(entry.function, seen)


def _signature(entry: EntryPoint) -> str:
    return ", ".join(p if isinstance(p, str) else _record(p) for p in entry.signature)


def _facts_of_function(function: Any, seen: set[Any]) -> Iterator[str]:
    """The lines of a function and of everything that it calls."""
    if function in seen:
        return
    seen.add(function)
    code, where = function.__code__, f"{function.__module__}.{function.__qualname__}"
    constants = ["docstring" if value == function.__doc__ else value for value in code.co_consts]
    if function.__closure__ or any(isinstance(value, CodeType) for value in constants):
        raise TypeError(f"{where} is native code and cannot have functions inside, nor be inside one")
    parts = (code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_argcount, function.__defaults__)
    yield f"{where} {function.inlining.value} {parts}"
    for name, value in global_names(function).items():
        if is_native(value):
            yield from _facts_of_function(value, seen)
        elif (constant := _constant(value)) is not None:
            yield f"{name} = {constant}"
        elif any(i.opname == "LOAD_GLOBAL" and i.argval == name for i in dis.get_instructions(code)):
            raise TypeError(f"{where} uses {name}, which native code cannot hold: {value!r}")


def _constant(value: Any) -> str | None:
    """A value that native code may name; None for any other value."""
    if isinstance(value, int):
        return f"{bool(value)}" if isinstance(value, bool) else f"{int(value)}"
    if isinstance(value, EnumType):
        return str({name: int(getattr(value, name)) for name in value.__members__})
    if is_record(value):
        return _record(value)
    if is_result(value):
        return f"{value.__name__} {value._fields}"
    if isinstance(value, FunctionType) and value.__module__ == native.__name__:
        return value.__name__
    return None


def _record(structure: type[ctypes.Structure]) -> str:
    """Its layout, with those of the records inside."""
    fields = [
        (name, _record(kind) if is_record(kind) else kind.__name__, getattr(structure, name).offset)
        for name, kind, *_ in structure._fields_
    ]
    return f"{structure.__name__} {ctypes.sizeof(structure)} {fields}"
