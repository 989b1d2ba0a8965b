"""The instructions that stand for functions of :mod:`mmu.native`, as numba's intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mmu import native


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


@intrinsic
def stream64(typingctx: Any, address: Any, value: Any) -> Any:
    """A store of a uint64 that leaves the caches alone (MOVNTI and its like)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored = builder.store(arguments[1], builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), codegen


_WORD = ir.IntType(64)


def _words(number: int, value: int) -> Any:
    """A vector of a constant."""
    return ir.Constant(ir.VectorType(_WORD, number), [value] * number)


def _loaded(builder: Any, address: Any, number: int) -> Any:
    """So many uint64 at an address, side by side."""
    return builder.load(builder.inttoptr(address, ir.VectorType(_WORD, number).as_pointer()), align=8)


def _repeated(builder: Any, value: Any, number: int) -> Any:
    """A value so often."""
    vector, index = ir.VectorType(_WORD, number), ir.IntType(32)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(index, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(index, number), [0] * number))


def _comparison(number: int) -> Any:
    @intrinsic
    def equal(typingctx: Any, address: Any, value: Any, mask: Any) -> Any:
        """Which of so many uint64 have a value where a mask has bits, as bits."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, value, mask = arguments
            differs = builder.xor(_loaded(builder, address, number), _repeated(builder, value, number))
            differs = builder.and_(differs, _repeated(builder, mask, number))
            found = builder.bitcast(builder.icmp_unsigned("==", differs, _words(number, 0)), ir.IntType(number))
            return found if number == 64 else builder.zext(found, _WORD)

        return types.uint64(types.uint64, types.uint64, types.uint64), codegen

    return equal


def _minimum(number: int) -> Any:
    @intrinsic
    def least(typingctx: Any, address: Any, lanes: Any) -> Any:
        """The least of those of so many uint64 that a bit is set for."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, lanes = arguments
            lanes = lanes if number == 64 else builder.trunc(lanes, ir.IntType(number))
            chosen = builder.bitcast(lanes, ir.VectorType(ir.IntType(1), number))
            values = builder.select(chosen, _loaded(builder, address, number), _words(number, 0xFFFF_FFFF_FFFF_FFFF))
            kind = ir.FunctionType(_WORD, [values.type])
            name = f"llvm.vector.reduce.umin.v{number}i64"
            return builder.call(builder.module.declare_intrinsic(name, (), kind), [values])

        return types.uint64(types.uint64, types.uint64), codegen

    return least


@intrinsic
def lowest_bit(typingctx: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set; 64 if none is."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), codegen


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
def call4(typingctx: Any, function: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Call the C function at a host address with four 64-bit arguments."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, arguments)

    return types.uint64(types.uint64, types.uint64, types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def call5(typingctx: Any, function: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """Call the C function at a host address with five 64-bit arguments."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, arguments)

    return types.uint64(*[types.uint64] * 6), codegen


@intrinsic
def call6(typingctx: Any, function: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """Call the C function at a host address with six 64-bit arguments."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, arguments)

    return types.uint64(*[types.uint64] * 7), codegen


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Have the CPU fetch what is at a host address, into all its caches."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        to_read, into_all, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(function, [builder.inttoptr(arguments[0], pointer), to_read, into_all, data])
        return context.get_dummy_value()

    return types.void(types.uint64), codegen


@intrinsic
def return_address(typingctx: Any) -> Any:
    """Where the function returns to that this one ends up in when everything has been inlined: an entry point."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(8).as_pointer(), [ir.IntType(32)])
        function = builder.module.declare_intrinsic("llvm.returnaddress", fnty=kind)
        return builder.ptrtoint(builder.call(function, [ir.Constant(ir.IntType(32), 0)]), ir.IntType(64))

    return types.uint64(), codegen


#: Of functions of :mod:`mmu.native`, the instructions that stand for them.
INTRINSICS: dict[Any, Any] = {
    native.load8: load8,
    native.load32: load32,
    native.load64: load64,
    native.store8: store8,
    native.store32: store32,
    native.store64: store64,
    native.stream64: stream64,
    native.equal8: _comparison(8),
    native.equal16: _comparison(16),
    native.equal64: _comparison(64),
    native.least8: _minimum(8),
    native.least16: _minimum(16),
    native.least64: _minimum(64),
    native.lowest_bit: lowest_bit,
    native.call1: call1,
    native.call3: call3,
    native.call4: call4,
    native.call5: call5,
    native.call6: call6,
    native.prefetch: prefetch,
    native.return_address: return_address,
}
