"""What an instruction does with its memory operand: an access, a fault and a walk are what they are on a processor.

Each row says which access SDM vol. 2 gives the operand.  The operand is at [rbx]; strings are at [rsi] and [rdi].
"""

from __future__ import annotations

from itertools import product
from typing import Any, TypeVar

import pytest
from capstone import CS_AC_READ, CS_AC_WRITE, CS_ARCH_X86, CS_MODE_64, Cs
from capstone.x86_const import X86_OP_MEM
from unicorn import x86_const as x86

from mmu import Access, PageFault
from mmu.entries import A, D
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.opcodes import PREFIX, STRING, WIDE_SHIFT, WIDE_WITH_REX_W, OpcodeMap, opcode_table
from mmu.virtual import HookedAccess
from tests.mmu.exact_guest import ExactGuest, R, W, X
from tests.mmu.guest import CODE, DATA, DATA_PADDR, OTHER, OTHER_PADDR, Guest

G = TypeVar("G", bound=Guest)

#: Name, code, and its accesses to DATA, of this many bytes.  One that reads and writes has one, W.
FORMS = """
incl (%rbx)                  ff03                 W 4
decq (%rbx)                  48ff0b               W 8
lock incl (%rbx)             f0ff03               W 4
incb (%rbx)                  fe03                 W 1
addl %eax,(%rbx)             0103                 W 4
addb %al,(%rbx)              0003                 W 1
addw $1,(%rbx)               66830301             W 2
addq $0x12345,(%rbx)         48810345230100       W 8
lock addq %rax,(%rbx)        f0480103             W 8
orb $0,(%rbx)                800b00               W 1
adcl %eax,(%rbx)             1103                 W 4
sbbl $1,(%rbx)               831b01               W 4
andl %eax,(%rbx)             2103                 W 4
subq %rax,(%rbx)             482903               W 8
xorb %al,(%rbx)              3003                 W 1
cmpl %eax,(%rbx)             3903                 R 4
cmpl $1,(%rbx)               833b01               R 4
cmpb $1,(%rbx)               803b01               R 1
cmpl (%rbx),%eax             3b03                 R 4
testl %eax,(%rbx)            8503                 R 4
testl $1,(%rbx)              f70301000000         R 4
testb $1,(%rbx)              f60301               R 1
notl (%rbx)                  f713                 W 4
notb (%rbx)                  f613                 W 1
negl (%rbx)                  f71b                 W 4
lock notq (%rbx)             f048f713             W 8
lock negq (%rbx)             f048f71b             W 8
mull (%rbx)                  f723                 R 4
imull (%rbx),%eax            0faf03               R 4
imull $3,(%rbx),%eax         6b0303               R 4
xchgl %eax,(%rbx)            8703                 W 4
xchgb %al,(%rbx)             8603                 W 1
cmpxchgl %ecx,(%rbx)         0fb10b               W 4
cmpxchgb %cl,(%rbx)          0fb00b               W 1
lock cmpxchgq %rcx,(%rbx)    f0480fb10b           W 8
cmpxchg8b (%rbx)             0fc70b               W 8
lock cmpxchg8b (%rbx)        f00fc70b             W 8
cmpxchg16b (%rbx)            480fc70b             W 16
lock cmpxchg16b (%rbx)       f0480fc70b           W 16
xaddl %eax,(%rbx)            0fc103               W 4
lock xaddb %al,(%rbx)        f00fc003             W 1
btsl $3,(%rbx)               0fba2b03             W 4
btsl %ecx,(%rbx)             0fab0b               W 4
lock btsl %ecx,(%rbx)        f00fab0b             W 4
btrq $3,(%rbx)               480fba3303           W 8
btrl %ecx,(%rbx)             0fb30b               W 4
btcw $3,(%rbx)               660fba3b03           W 2
btcl %ecx,(%rbx)             0fbb0b               W 4
btl $3,(%rbx)                0fba2303             R 4
btl %ecx,(%rbx)              0fa30b               R 4
shll $1,(%rbx)               d123                 W 4
shlb $1,(%rbx)               d023                 W 1
shrl $3,(%rbx)               c12b03               W 4
sarl %cl,(%rbx)              d33b                 W 4
rolb $3,(%rbx)               c00303               W 1
rorb %cl,(%rbx)              d20b                 W 1
rcll $1,(%rbx)               d113                 W 4
rcrq $3,(%rbx)               48c11b03             W 8
shldl $3,%eax,(%rbx)         0fa40303             W 4
shrdq %cl,%rax,(%rbx)        480fad03             W 8
setc (%rbx)                  0f9203               W 1
setbe (%rbx)                 0f9603               W 1
movl %eax,(%rbx)             8903                 W 4
movl $1,(%rbx)               c70301000000         W 4
movb $1,(%rbx)               c60301               W 1
movl (%rbx),%eax             8b03                 R 4
movzbl (%rbx),%eax           0fb603               R 1
movslq (%rbx),%rax           486303               R 4
movnti %eax,(%rbx)           0fc303               W 4
movw %ds,(%rbx)              8c1b                 W 2
cmovnel (%rbx),%eax          0f4503               R 4
addl (%rbx),%eax             0303                 R 4
xorb (%rbx),%al              3203                 R 1
lodsl (%rsi)                 ad                   R 4
incq (%r12)                  49ff0424             W 8
incl %fs:(%rbx)              64ff03               W 4
incl (%ebx)                  67ff03               W 4
addl $1,0x10(%rbx,%rcx,1)    83440b1001           W 4
movaps %xmm0,(%rbx)          0f2903               W 16
movaps (%rbx),%xmm0          0f2803               R 16
movdqu %xmm0,(%rbx)          f30f7f03             W 16
movdqu (%rbx),%xmm0          f30f6f03             R 16
paddd (%rbx),%xmm0           660ffe03             R 16
movq %xmm0,(%rbx)            660fd603             W 8
movss %xmm0,(%rbx)           f30f1103             W 4
movhps %xmm0,(%rbx)          0f1703               W 8
movhps (%rbx),%xmm0          0f1603               R 8
pextrb $1,%xmm0,(%rbx)       660f3a140301         W 1
pinsrb $1,(%rbx),%xmm0       660f3a200301         R 1
movntdq %xmm0,(%rbx)         660fe703             W 16
fstl (%rbx)                  dd13                 W 8
fstpt (%rbx)                 db3b                 W 10
fistpll (%rbx)               df3b                 W 8
fldl (%rbx)                  dd03                 R 8
fldt (%rbx)                  db2b                 R 10
fadds (%rbx)                 d803                 R 4
fildl (%rbx)                 db03                 R 4
fnstcw (%rbx)                d93b                 W 2
fldcw (%rbx)                 d92b                 R 2
fnstsw (%rbx)                dd3b                 W 2
stmxcsr (%rbx)               0fae1b               W 4
ldmxcsr (%rbx)               0fae13               R 4
crc32l (%rbx),%eax           f20f38f103           R 4
bsfl (%rbx),%eax             0fbc03               R 4
popcntl (%rbx),%eax          f30fb803             R 4
"""
ROWS = [(line[28:].split()[0], line[28:].split()[1], int(line.split()[-1])) for line in FORMS.strip().splitlines()]
#: Two operands: name, code, accesses to DATA and OTHER in order.
TWO_OPERANDS = {
    "push [rbx]": ("ff33", [(R, DATA), (W, OTHER - 8)]),
    "pop [rbx]": ("8f03", [(R, OTHER), (W, DATA)]),
    "movsq": ("48a5", [(R, DATA), (W, OTHER)]),
    "cmpsq": ("48a7", [(R, OTHER), (R, DATA)]),
    "stosq": ("48ab", [(W, OTHER)]),
    "scasq": ("48af", [(R, OTHER)]),
    "rep movsq": ("f348a5", [(R, DATA), (W, OTHER), (R, DATA + 8), (W, OTHER + 8)]),
}
#: What has pieces of several sizes: only that its page has one fault, of a store.
IN_PIECES = {
    "fnstenv": "d933", "fnsave": "dd33", "fxsave": "0fae03", "xsave": "0fae23", "xsaveopt": "0fae33", "sgdt": "0f0103",
}  # fmt: skip


def prepared(guest: G, code: str) -> G:
    """Every operand at DATA, which is not mapped, but those of RDI and RSP, which are at OTHER."""
    for name in ("RAX", "RCX", "RDX"):
        guest.uc.reg_write(getattr(x86, f"UC_X86_REG_{name}"), 0)
    for name, address in (("RBX", DATA), ("RSI", DATA), ("R12", DATA), ("RDI", OTHER), ("RSP", OTHER)):
        guest.uc.reg_write(getattr(x86, f"UC_X86_REG_{name}"), address)
    guest.tables.map_page(OTHER, OTHER_PADDR)
    guest.tables.map_page(OTHER - 0x1000, OTHER_PADDR + 0x1000)
    guest.tables.map_page(DATA, DATA_PADDR, P=0)
    guest.program(code)
    guest.mmu.flush()
    return guest


def map_when_asked(guest: Guest, **fields: int) -> list[tuple[int, int]]:
    """Have each fault at DATA mended; the faults, with their error codes."""
    seen: list[tuple[int, int]] = []

    def handler(fault: PageFault) -> bool:
        seen.append((fault.vaddr, fault.error_code))
        guest.tables.map_page(DATA, DATA_PADDR, **fields)
        return True

    guest.mmu.on_page_fault = handler
    return seen


def marks(guest: Guest) -> int:
    return guest.ram.read_u64(guest.tables.slot(DATA)) & (A | D)


TLBS = pytest.mark.parametrize("tlb", ["off", "textbook", "none"])


@TLBS
def test_a_page_that_is_not_there_faults_once(tlb: str) -> None:
    guest = Guest(tlb=tlb)
    for code, access, _ in ROWS:
        prepared(guest, code)
        seen = map_when_asked(guest)
        before = guest.mmu.counters
        guest.run()
        counted = guest.mmu.counters
        assert seen == [(DATA, 2 if access == "W" else 0)], code
        assert counted.page_faults - before.page_faults == 1, code
        if tlb == "off":
            assert counted.walks - before.walks == 3, f"{code}: the code's, one that faults, and the access's"
        assert marks(guest) == (A | D if access == "W" else A), code


@TLBS
def test_a_page_that_cannot_be_written_faults_once(tlb: str) -> None:
    guest = Guest(tlb=tlb)
    for code, access, _ in ROWS:
        prepared(guest, code)
        guest.tables.map_page(DATA, DATA_PADDR, RW=0)
        seen = map_when_asked(guest)
        guest.run()
        assert seen == ([(DATA, 3)] if access == "W" else []), code


def test_a_clean_page_is_walked_for_once() -> None:
    guest = Guest()
    for code, access, _ in ROWS:
        prepared(guest, code)
        guest.tables.map_page(DATA, DATA_PADDR)
        before = guest.mmu.counters
        guest.run()
        assert guest.mmu.counters.walks - before.walks == 2, f"{code}: the code's, and one"
        assert marks(guest) == (A | D if access == "W" else A), code


@TLBS
def test_what_is_written_in_pieces_faults_once_too(tlb: str) -> None:
    guest = Guest(tlb=tlb)
    for name, code in IN_PIECES.items():
        prepared(guest, code)
        seen = map_when_asked(guest)
        guest.run(rax=3)
        assert seen == [(DATA, 2)], name


@pytest.mark.parametrize("tlb", ["textbook", "none", "zen4"])
def test_the_model_is_asked_once(tlb: str) -> None:
    guest = ExactGuest(tlb)
    for code, access, _ in ROWS:
        prepared(guest, code)
        guest.tables.map_page(DATA, DATA_PADDR)
        for _ in range(2):
            guest.run()
            assert [(kind.name[0], vaddr & -32) for kind, vaddr in guest.data()] == [(access, DATA)], code


@pytest.mark.parametrize("tlb", ["off", "textbook"])
def test_a_hook_is_told_once(tlb: str) -> None:
    guest = Guest(tlb=tlb)
    told: list[HookedAccess] = []
    guest.mmu.add_memory_hook(told.append)
    for code, access, size in ROWS:
        prepared(guest, code)
        guest.tables.map_page(DATA, DATA_PADDR)
        told.clear()
        guest.run()
        assert [(each.access.name[0], each.size) for each in told] == [(access, size)], code


@pytest.mark.parametrize(("code", "expected"), TWO_OPERANDS.values(), ids=TWO_OPERANDS)
@pytest.mark.parametrize("tlb", ["textbook", "none"])
def test_two_operands_are_two_accesses(tlb: str, code: str, expected: list[tuple[Access, int]]) -> None:
    guest = prepared(ExactGuest(tlb), code)
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.run(rcx=2)
    assert guest.data() == expected


def test_the_model_has_a_store_where_stores_have_an_array_of_their_own() -> None:
    """Loads find nothing of what a read-modify-write has installed."""
    arrays = [Array(f"L1{kind.name}", 1, kind, PageSizes.ALL, 1, 4) for kind in (Kinds.LOAD, Kinds.STORE, Kinds.FETCH)]
    guest = prepared(ExactGuest(Geometry("apart", tuple(arrays), {})), "480103" + "480103" + "488b03")
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.run()
    counted = guest.tlb.array_counters()
    assert [(counted[name].hits, counted[name].misses) for name in ("L1LOAD", "L1STORE")] == [(0, 1), (1, 1)]


# ---- string instructions


@pytest.mark.parametrize("code", ["f3aa", "f3a4", "f348ab", "f2ae", "f366a5"])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_a_repeated_instruction_is_fetched_once(code: str, count: int) -> None:
    guest = prepared(ExactGuest(), "90" + code + "eb00")  # nop; ...; jmp +0
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.run(rcx=count, rax=1)
    code_bytes = len(code) // 2
    assert [one.vaddr for one in guest.log() if one.access == X] == [CODE, CODE + 1 + code_bytes, CODE + 3 + code_bytes]


def test_a_loop_around_a_repeated_instruction_fetches_it_each_turn() -> None:
    guest = prepared(ExactGuest(), "b902000000" + "f3aa" + "ffca" + "75f5")  # mov ecx, 2; rep stosb; dec edx; jnz
    guest.run(rdx=5)
    fetched = [one.vaddr for one in guest.log() if one.access == X]
    assert fetched == [at for _ in range(5) for at in (CODE, CODE + 7)] + [CODE + 11]


# ---- the opcode map

#: Where capstone says something else than the manual, or knows what the engine lacks.
WRITES_UNSAID = {
    "rol", "ror", "rcl", "rcr", "cmpxchg", "cmpxchg8b", "cmpxchg16b", "xsave", "xsave64", "xsaveopt", "xsaveopt64",
    "xsavec", "xsavec64", "xsaves", "xsaves64",
}  # fmt: skip
NOT_IN_TWO_PIECES = {
    "fbld", "fbstp", "lcall", "ljmp", "sgdt", "sidt", "lgdt", "lidt", "bndldx", "bndstx", "bndmov", "bndcl", "bndcu",
    "bndcn", "invept", "invvpid", "invpcid", "sha1nexte", "sha1msg1", "sha1msg2", "sha256rnds2", "sha256msg1",
    "sha256msg2", "sha1rnds4", "gf2p8mulb", "gf2p8affineqb", "gf2p8affineinvqb",
}  # fmt: skip
#: What no prefix belongs to; capstone ignores it.
WITHOUT_PREFIX = {
    "unpcklps", "unpckhps", "movaps", "andps", "andnps", "orps", "xorps", "shufps", "rsqrtps", "rcpps", "cvtdq2ps",
    "comisd",
}  # fmt: skip
_PREFIXES, _ESCAPES = (b"", b"\x66", b"\xf3", b"\xf2"), (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")
_OTHER_TABLES = {OpcodeMap.ONE_BYTE: {0x0F, 0x62, 0xC4, 0xC5}, OpcodeMap.TWO_BYTES: {0x0F, 0x38, 0x3A}}


def test_the_opcode_map_is_what_capstone_says() -> None:
    decoder: Any = Cs(CS_ARCH_X86, CS_MODE_64)
    decoder.detail = True
    table, compared = opcode_table().view, 0
    for opcode_map, prefix, opcode, reg, rex in product(OpcodeMap, range(4), range(256), range(8), (b"", b"\x48")):
        entry = table[opcode_map, prefix, opcode]
        if entry & (PREFIX | STRING) or opcode in _OTHER_TABLES.get(opcode_map, ()):
            continue
        code = _PREFIXES[prefix] + rex + _ESCAPES[opcode_map] + bytes([opcode, reg << 3 | 3]) + bytes(8)
        instruction = next(decoder.disasm(code, 0), None)
        if instruction is None or (prefix and instruction.mnemonic in WITHOUT_PREFIX):
            continue
        operands = [operand for operand in instruction.operands if operand.type == X86_OP_MEM]
        updates = any(operand.access == CS_AC_READ | CS_AC_WRITE for operand in operands)
        wide = any(operand.size in (10, 16) for operand in operands)
        assert updates == bool(entry >> reg & 1) or instruction.mnemonic in WRITES_UNSAID, (code.hex(), instruction)
        ours = bool(entry >> WIDE_SHIFT + reg & 1) and (rex != b"" or not entry & WIDE_WITH_REX_W)
        assert wide == ours or instruction.mnemonic in NOT_IN_TWO_PIECES, (code.hex(), instruction)
        compared += 1
    assert compared > 20_000
