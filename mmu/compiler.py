"""The child process that turns :mod:`mmu.native` functions into object code: ``python -m mmu.compiler MODULE
DIRECTORY``.

This is the only module that imports numba.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

TYPES = {
    "void": types.void,
    "bool": types.boolean,
    "i32": types.int32,
    "u32": types.uint32,
    "i64": types.int64,
    "u64": types.uint64,
}


def njit(function: Callable[..., Any]) -> Any:
    """numba's njit with C semantics for division, and no index checks (we index nothing)."""
    return numba.njit(error_model="numpy", boundscheck=False)(function)


def njit_inlined(function: Callable[..., Any]) -> Any:
    """The same, always inlined into its callers."""
    return numba.njit(error_model="numpy", boundscheck=False, forceinline=True)(function)


def _memory_access(bits: int, numba_type: Any) -> tuple[Any, Any]:
    """(load, store) intrinsics for an integer of this width, widened to uint64 as in reference mode."""
    pointer = ir.IntType(bits).as_pointer()

    @intrinsic
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(builder.inttoptr(arguments[0], pointer))
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.uint64(types.uint64), codegen

    @intrinsic
    def store(typingctx: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            builder.store(value, builder.inttoptr(arguments[0], pointer))
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64), codegen

    return load, store


load64, store64 = _memory_access(64, types.uint64)
load32, store32 = _memory_access(32, types.uint32)
load8, store8 = _memory_access(8, types.uint8)


def _call(builder: Any, arguments: Any) -> Any:
    word = ir.IntType(64)
    function_type = ir.FunctionType(word, [word] * (len(arguments) - 1))
    return builder.call(builder.inttoptr(arguments[0], function_type.as_pointer()), arguments[1:])


@intrinsic
def call1(typingctx: Any, function: Any, a: Any) -> Any:
    """Call the C function at a host address with one 64-bit argument."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, arguments)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def call3(typingctx: Any, function: Any, a: Any, b: Any, c: Any) -> Any:
    """Call the C function at a host address with three 64-bit arguments."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, arguments)

    return types.uint64(types.uint64, types.uint64, types.uint64, types.uint64), codegen


def _record(structure: type[ctypes.Structure]) -> Any:
    return types.CPointer(numba.from_dtype(np.dtype(structure)))


def compile_entry(entry: Any) -> tuple[str, bytes]:
    """(symbol, object code) of one entry point."""
    result, *parameters = entry.signature
    records = [not isinstance(p, str) for p in parameters]
    names = [f"a{i}" for i in range(len(parameters))]
    passed = ", ".join(
        f"carray({name}, 1)[0]" if is_record else (name if p in ("bool", "u64") else f"U({name})")
        for name, is_record, p in zip(names, records, parameters, strict=True)
    )
    scope = {"carray": carray, "U": np.uint64, "body": njit_inlined(entry.function)}
    exec(f"def {entry.name}({', '.join(names)}):\n    return body({passed})\n", scope)
    signature = TYPES[result](*(_record(p) if r else TYPES[p] for p, r in zip(parameters, records, strict=True)))
    compiled = numba.cfunc(signature, error_model="numpy")(scope[entry.name])
    wrapper: Any = compiled  # where numba keeps the symbol and the object code is private to it
    return wrapper._wrapper_name, wrapper._library._get_compiled_object()


def main(module_name: str, directory: str) -> None:
    """Compile every entry point of a module; ``names.json`` tells the loader what is where."""
    from mmu.native import Entry

    module = importlib.import_module(module_name)
    out = pathlib.Path(directory)
    index = {}
    for name, value in vars(module).items():
        if isinstance(value, Entry):
            symbol, code = compile_entry(value)
            (out / f"{name}.o").write_bytes(code)
            index[name] = {"symbol": symbol, "sha256": hashlib.sha256(code).hexdigest()}
    (out / "names.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main(*sys.argv[1:])
