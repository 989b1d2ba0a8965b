"""What turns :mod:`mmu.native` functions into object code, in a child process: see :func:`main`.

This module and :mod:`mmu.intrinsics` alone import numba, and take only the LLVM code of each function from it.  numba
would optimise and assemble every function together with all that it calls, again for each of its callers; here a
module's entry points and all that they call are linked, optimised and assembled once, together.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import importlib
import inspect
import textwrap
from collections.abc import Collection
from enum import EnumType
from types import FunctionType
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

from mmu.codekey import key
from mmu.intrinsics import INTRINSICS
from mmu.linker import link
from mmu.native import EntryPoint, Inlining, entry_points, global_names, is_native, is_record

TYPES = {
    "void": types.void,
    "bool": types.boolean,
    "i32": types.int32,
    "u32": types.uint32,
    "i64": types.int64,
    "u64": types.uint64,
}


_OPTIONS: Any = {
    "error_model": "numpy",
    "boundscheck": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,  # an array inside a record is nobody's to free
}


class _PlainNumbers(ast.NodeTransformer):
    """A function's syntax tree with every integer in it a uint64, as all integers of native code are.

    numba takes a literal for an int64, compares one with a uint64 as two doubles, and adds them to one.  So literals
    become constants, and so do members of enumerations (``Status.OK``): names that no source can have, in ``scope``.
    """

    def __init__(self, scope: dict[str, Any]) -> None:
        self._scope = scope

    def _constant(self, node: ast.expr, value: int) -> ast.expr:
        name = f"<{value:#x}>"
        self._scope[name] = np.uint64(value)
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return self._constant(node, node.value) if type(node.value) is int else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        owner = self._scope.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if isinstance(owner, EnumType):
            return self._constant(node, int(getattr(owner, node.attr)))
        if is_record(owner) and node.attr == "from_address":
            name = f"<{owner.__module__}.{owner.__qualname__}>"
            self._scope[name] = _record(owner)
            return ast.copy_location(ast.Name(name, ast.Load()), node)
        self.generic_visit(node)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """SyntaxError for what is below 0 in Python, and not in native code."""
        if isinstance(node.op, ast.USub | ast.Invert):
            raise SyntaxError(f"native code has no numbers below 0: {ast.unparse(node)} in line {node.lineno}")
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """What only readers and type checkers look at goes: decorators, annotations, the docstring."""
        node.decorator_list, node.returns = [], None
        for argument in node.args.args:
            argument.annotation = None
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        self.generic_visit(node)
        return node


class _Functions:
    """The native functions of a module and all that they call, as numba has them, each made once."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}
        #: How the symbols of the functions begin that are to stay out of their callers.
        self.cold: list[str] = []

    def made(self, function: Any) -> Any:
        """numba's for a function that is marked as native."""
        if function not in self._made:
            self._made[function] = self._make(function)
        return self._made[function]

    def _make(self, function: Any) -> Any:
        """numba's njit with C semantics for division and for indices."""
        if function.inlining is Inlining.NEVER:
            names = (*function.__module__.split("."), function.__qualname__)
            self.cold.append("_ZN" + "".join(f"{len(name)}{name}" for name in names))
        # said for each, since a callee inherits its caller's options
        return numba.njit(**_OPTIONS, forceinline=function.inlining is Inlining.ALWAYS)(
            self._with_plain_numbers(function)
        )

    def _with_plain_numbers(self, function: Any) -> Any:
        lines, first_line = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        ast.increment_lineno(tree, first_line - 1)
        scope = {name: self._value(value) for name, value in global_names(function).items()}
        scope["__name__"] = function.__module__
        tree = ast.fix_missing_locations(_PlainNumbers(scope).visit(tree))
        exec(compile(tree, function.__code__.co_filename, "exec", dont_inherit=True), scope)
        return scope[function.__name__]

    def _value(self, value: Any) -> Any:
        """What a global name stands for in native code."""
        if isinstance(value, int) and not isinstance(value, bool):
            return np.uint64(value)
        if is_native(value):
            return self.made(value)
        return INTRINSICS[value] if isinstance(value, FunctionType) and value in INTRINSICS else value


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


@functools.cache
def _record(structure: type[ctypes.Structure]) -> Any:
    """What ``from_address`` of a record is in native code."""
    record = numba.from_dtype(np.dtype(structure))
    record.name = structure.__name__  # in place of a list of all fields, which would be part of every symbol

    @intrinsic
    def from_address(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return record(types.uint64), codegen

    return from_address


def _compile_entry(entry: EntryPoint, body: Any) -> str:
    """Have numba make the LLVM code of one entry point around its function; returns its symbol."""
    result, *parameters = entry.signature
    assert isinstance(result, str)
    scope: dict[str, Any] = {"body": body}
    passed = []
    for i, parameter in enumerate(parameters):
        scope[f"to_{i}"] = np.uint64 if isinstance(parameter, str) else _record(parameter)
        passed.append(f"a{i}" if parameter in ("bool", "u64") else f"to_{i}(a{i})")
    names = ", ".join(f"a{i}" for i in range(len(parameters)))
    exec(f"def {entry.name}({names}):\n    return body({', '.join(passed)})\n", scope)
    signature = TYPES[result](*(TYPES[p] if isinstance(p, str) else types.uint64 for p in parameters))
    return str(numba.cfunc(signature, error_model="numpy", forceinline=True)(scope[entry.name]).native_name)


def _prepare(module: Any, symbols: Collection[str], cold: list[str]) -> None:
    """Only the symbols are to be seen from outside; functions whose symbols begin as one of ``cold`` are marked."""
    for variable in module.global_variables:
        variable.linkage = "private"  # numba's environments, which nobody uses
    for function in module.functions:
        if not function.is_declaration and function.name not in symbols:
            function.linkage = "private"
        if any(function.name.startswith(beginning) for beginning in cold):
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


def main(module_name: str, wanted: str, name: str, fd: str) -> None:
    """Compile every entry point of a module, and write what a file ``name`` of the cache has to a descriptor.

    ``wanted`` is the key under which the code will be kept.  SystemExit if this process finds other sources.
    """
    module = importlib.import_module(module_name)
    if key(module) != wanted:
        raise SystemExit(f"the sources of {module_name} have changed since they were imported, or are others here")
    gatherer = cpu_target.target_context._internal_codegen = _Gatherer("unimmu")
    functions = _Functions()
    symbols = {
        entry_name: _compile_entry(entry, functions.made(entry.function))
        for entry_name, entry in entry_points(module).items()
    }
    whole = gatherer.take()
    _prepare(whole, symbols.values(), functions.cold)
    with open(int(fd), "wb") as out:
        out.write(link(_object_code(whole), symbols).pack(name))
