"""What turns :mod:`mmu.native` functions into object code, in a child process: see :func:`main`.

This is the only module that imports numba, and it takes only the LLVM code of each function from it.  numba would
optimise and assemble every function together with all that it calls, again for each of its callers; here a module's
entry points and all that they call are linked, optimised and assembled once, together.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import pathlib
from collections.abc import Callable, Collection
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import newpassmanagers
from numba import types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.registry import cpu_target
from numba.extending import intrinsic

TYPES = {
    "void": types.void,
    "bool": types.boolean,
    "i32": types.int32,
    "u32": types.uint32,
    "i64": types.int64,
    "u64": types.uint64,
}


_OPTIONS: Any = {"error_model": "numpy", "boundscheck": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
#: How the symbols of the functions begin that are to stay out of their callers.
_COLD: list[str] = []


def njit(function: Callable[..., Any]) -> Any:
    """numba's njit with C semantics for division, and no index checks (we index nothing)."""
    return numba.njit(**_OPTIONS, forceinline=False)(function)  # said, for a callee inherits its caller's options


def njit_inlined(function: Callable[..., Any]) -> Any:
    """The same, always inlined into its callers."""
    return numba.njit(**_OPTIONS, forceinline=True)(function)


def njit_cold(function: Callable[..., Any]) -> Any:
    """The same, never inlined; paths that lead there are laid out as unlikely ones."""
    names = (*function.__module__.split("."), function.__qualname__)
    _COLD.append("_ZN" + "".join(f"{len(name)}{name}" for name in names))
    return njit(function)


class _LlvmCode(JITCodeLibrary):
    """What numba takes for a compiled function: here just its LLVM code, as numba made it."""

    def add_ir_module(self, ir_module: ir.Module) -> None:
        """numba asks that the wrapper which C calls stay apart from the function; that is a call for nothing."""
        for function in ir_module.functions:
            for block in function.blocks:
                for instruction in block.instructions:
                    if isinstance(instruction, ir.CallInstr):
                        instruction.attributes.discard("noinline")
        JITCodeLibrary.add_ir_module(self, ir_module)

    def _optimize_functions(self, _module: Any) -> None:
        pass

    def finalize(self) -> None:
        """Nothing is linked, optimised or assembled for this function alone."""
        self._finalized = True
        self.codegen.modules.append(self._final_module)

    def get_pointer_to_function(self, _name: str) -> int:
        """Nobody calls it in this process; being asked means that the function is complete."""
        if not self._finalized:
            self.finalize()
        return 0


class _Gatherer(JITCPUCodegen):
    """numba's code generator: here it only keeps the LLVM code of all functions."""

    _library_class = _LlvmCode

    def __init__(self, name: str) -> None:
        JITCPUCodegen.__init__(self, name)
        self.modules: list[Any] = []

    def set_env(self, _name: str, _environment: Any) -> None:
        """The environment serves Python exceptions; our functions raise none."""

    def take(self) -> Any:
        """All functions gathered so far, in one module."""
        whole, *others = self.modules
        for module in others:
            whole.link_in(module)
        self.modules = []
        return whole


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


@intrinsic
def record_at(typingctx: Any, pointer: Any) -> Any:
    """The record that a pointer points to."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return pointer.dtype(pointer), codegen


def _record(structure: type[ctypes.Structure]) -> Any:
    record = numba.from_dtype(np.dtype(structure))
    record.name = structure.__name__  # in place of a list of all fields, which would be part of every symbol
    return types.CPointer(record)


def _compile_entry(entry: Any) -> str:
    """Have numba make the LLVM code of one entry point; returns its symbol."""
    result, *parameters = entry.signature
    records = [not isinstance(p, str) for p in parameters]
    names = [f"a{i}" for i in range(len(parameters))]
    passed = ", ".join(
        f"record_at({name})" if is_record else (name if p in ("bool", "u64") else f"U({name})")
        for name, is_record, p in zip(names, records, parameters, strict=True)
    )
    scope = {"record_at": record_at, "U": np.uint64, "body": njit_inlined(entry.function)}
    exec(f"def {entry.name}({', '.join(names)}):\n    return body({passed})\n", scope)
    signature = TYPES[result](*(_record(p) if r else TYPES[p] for p, r in zip(parameters, records, strict=True)))
    return str(numba.cfunc(signature, error_model="numpy", forceinline=True)(scope[entry.name]).native_name)


def _prepare(module: Any, symbols: Collection[str]) -> None:
    """Only the symbols are to be called from outside; cold functions are marked."""
    for function in module.functions:
        if not function.is_declaration and function.name not in symbols:
            function.linkage = "internal"
        if any(function.name.startswith(beginning) for beginning in _COLD):
            function.add_function_attribute("cold")
            function.add_function_attribute("noinline")


def _object_code(module: Any) -> bytes:
    """Optimise and assemble a module.  RuntimeError if it calls what is not in it."""
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, reloc="pic",
        codemodel="small",
    )  # fmt: skip
    builder = newpassmanagers.create_pass_builder(machine, newpassmanagers.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(module, builder)
    missing = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if missing:
        raise RuntimeError(f"compiled functions cannot call {', '.join(missing)}")
    code: bytes = machine.emit_object(module)
    return code


def main(module_name: str, directory: str) -> None:
    """Compile every entry point of a module; ``names.json`` tells the loader their symbols in ``code.o``."""
    from mmu.native import Entry

    gatherer = cpu_target.target_context._internal_codegen = _Gatherer("unimmu")
    symbols = {
        name: _compile_entry(value)
        for name, value in vars(importlib.import_module(module_name)).items()
        if isinstance(value, Entry)
    }
    whole = gatherer.take()
    _prepare(whole, symbols.values())
    code = _object_code(whole)
    out = pathlib.Path(directory)
    (out / "code.o").write_bytes(code)
    (out / "names.json").write_text(json.dumps({"symbols": symbols, "sha256": hashlib.sha256(code).hexdigest()}))
