#!/bin/sh
# Guess:   with detail switched on, the access of an operand (CS_AC_READ, CS_AC_WRITE) tells a load from a store: MOVNTI,
#          STMXCSR and VPMASKMOVD to memory write it, CMPXCHG and CMPXCHG16B read and write it, and LEA touches nothing.
# Reality: each of these memory operands is CS_AC_READ and nothing else, that of LEA too. For CMPXCHG regs_access() names no
#          register as written either, where RAX and RFLAGS are; for CMPXCHG16B it does, and the memory stays a read.
#          XADD, BTS and XCHG, and the plain stores, are as guessed.
# Why it matters: tracers, taint trackers and race detectors ask the disassembler which instructions store. They take the
#          instruction that every lock is made of for a load, and non-temporal stores too. Ask the memory hook instead.
# Seen with capstone 5.0.9 from PyPI (cs_version 5.0), Python 3.11.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install capstone==5.0.9
"$directory/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from capstone import CS_AC_READ, CS_AC_WRITE, CS_ARCH_X86, CS_MODE_64, Cs
from capstone.x86 import X86_OP_MEM

STORES_SAID_TO_READ = {
    "480fc307": "movnti [rdi], rax",
    "0fae18": "stmxcsr [rax]",
    "c4e27d8e00": "vpmaskmovd [rax], ymm0, ymm0",
    "f0480fb11f": "lock cmpxchg [rdi], rbx",
    "480fc70f": "cmpxchg16b [rdi]",
}
AS_GUESSED = {
    "480fc107": ("xadd [rdi], rax", CS_AC_READ | CS_AC_WRITE),
    "480fab07": ("bts [rdi], rax", CS_AC_READ | CS_AC_WRITE),
    "488707": ("xchg [rdi], rax", CS_AC_READ | CS_AC_WRITE),
    "488907": ("mov [rdi], rax", CS_AC_WRITE),
    "aa": ("stosb", CS_AC_WRITE),
}
decoder = Cs(CS_ARCH_X86, CS_MODE_64)
decoder.detail = True


def decode(code):
    (instruction,) = decoder.disasm(bytes.fromhex(code), 0x1000)
    return instruction


def access(code):
    (memory,) = (operand for operand in decode(code).operands if operand.type == X86_OP_MEM)
    return memory.access


print(f"capstone {version('capstone')}")
for code, name in STORES_SAID_TO_READ.items():
    print(f"{name:32} access {access(code)}")
    assert access(code) == CS_AC_READ, name
print(f"{'lea rax, [rbx]':32} access {access('488d03')}")
assert access("488d03") == CS_AC_READ
for code, (name, expected) in AS_GUESSED.items():
    print(f"{name:32} access {access(code)}")
    assert access(code) == expected, name
compare = decode("f0480fb11f")
print("registers that lock cmpxchg is said to write:", [compare.reg_name(number) for number in compare.regs_access()[1]])
assert compare.regs_access()[1] == []
PYTHON
