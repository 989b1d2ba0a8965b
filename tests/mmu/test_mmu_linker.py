"""Linking of object code into an image: what it does is seen in every native hook; here is what it refuses."""

from __future__ import annotations

import ctypes
import mmap

import llvmlite.binding as llvm
import pytest

from mmu.linker import link

ADD = "define i64 @add(i64 %a, i64 %b) { %s = add i64 %a, %b ret i64 %s }"
TABLE = """
@table = private unnamed_addr constant [4 x i64] [i64 2, i64 3, i64 5, i64 7]
define i64 @prime(i64 %n) { %p = getelementptr [4 x i64], ptr @table, i64 0, i64 %n %v = load i64, ptr %p ret i64 %v }
define i64 @sum(i64 %n) { %a = call i64 @prime(i64 %n) %b = call i64 @prime(i64 0) %s = add i64 %a, %b ret i64 %s }
"""


def object_code(program: str) -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(reloc="pic", codemodel="small", opt=0)
    code: bytes = machine.emit_object(llvm.parse_assembly(program))
    return code


def call(code: bytes, offset: int, *arguments: int) -> int:
    memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + offset
    return int(ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * len(arguments))(at)(*arguments))


def test_two_functions() -> None:
    image = link(object_code(ADD + ADD.replace("add", "mul")), {"plus": "add", "times": "mul"})
    assert image.offsets.keys() == {"plus", "times"}
    assert call(image.code, image.offsets["plus"], 20, 22) == 42
    assert call(image.code, image.offsets["times"], 6, 7) == 42


def test_code_reaches_its_constants_and_functions() -> None:
    image = link(object_code(TABLE), {"prime": "prime", "sum": "sum"})
    assert [call(image.code, image.offsets["prime"], n) for n in range(4)] == [2, 3, 5, 7]
    assert call(image.code, image.offsets["sum"], 3) == 9


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("@x = global i64 1 define ptr @f() { ret ptr @x }", "cannot keep data"),
        ("@x = internal global i64 0 define void @f() { store volatile i64 1, ptr @x ret void }", "cannot keep data"),
        ("declare void @g() define void @f() { call void @g() ret void }", "cannot reach 'g'"),
        ("@x = external global i64 define i64 @f() { %v = load i64, ptr @x ret i64 %v }", "cannot reach 'x'"),
        ("@x = external thread_local global i64 define ptr @f() { ret ptr @x }", "cannot reach"),
        ("define void @g() { ret void } @t = constant ptr @g define ptr @f() { ret ptr @t }", "cannot keep data"),
    ],
)
def test_what_does_not_stand_alone_is_refused(program: str, says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        link(object_code(program), {"f": "f"})
