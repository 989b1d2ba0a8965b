"""Code coherence: after any change of code, by any path, the new code runs.

Unicorn keeps translated code by physical address and sees only stores through a translation that is both W and X (of
others, at most the first one); the rest is the MMU's to do.  The guest of most tests is a loop that rewrites a function
and calls it, so that stale code shows in a sum.
"""

from __future__ import annotations

import random

import pytest

from mmu import Access, Mmu, PageFault
from mmu.memory import PAGE_SIZE
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, HLT, LOAD, OTHER_PADDR, Guest, returns
from tests.mmu.tables import Tables

#: The function runs at FUNCTION and is written at ALIAS; both are the frame at PADDR.
FUNCTION, ALIAS, PADDR = 0x50_0000, 0x7000_0000_0000, 0x40_0000
STACK = DATA + 0x800
RX = dict(RW=0, XD=0)
RW = dict(RW=1, XD=1)
RWX = dict(RW=1, XD=0)

ROUNDS = 20
#: RSI += f() for RCX = ROUNDS ... 1, where the second store makes f return RCX.  The first one is there because Unicorn
#: itself notices the first store through a new translation.
REWRITE = "898a00080000 894a01"  # mov [rdx + 0x800], ecx; mov [rdx + 1], ecx: the immediate of "mov eax, imm32"
LOOP = (REWRITE, "ffd3", "4801c6", "48ffc9", "75ed")  # call rbx; add rsi, rax; dec rcx; jnz to the start
SUM = ROUNDS * (ROUNDS + 1) // 2


@pytest.fixture
def jit(guest: Guest) -> Guest:
    """The loop at CODE, a stack, and a function that returns 1000 until it is changed."""
    guest.ram.write(PADDR, returns(1000))
    guest.program(*LOOP)
    return guest


def rewrite_and_call(guest: Guest, *, function: int = FUNCTION, alias: int = ALIAS, rounds: int = ROUNDS) -> int:
    guest.run(rbx=function, rdx=alias, rcx=rounds, rsi=0, rsp=STACK)
    return guest["rsi"]


def call(guest: Guest, function: int = FUNCTION) -> int:
    """What the function returns."""
    guest.program("ffd3")  # call rbx
    return guest.run(rbx=function, rsp=STACK)


# ---- written through another address


@pytest.mark.parametrize("alias", [RW, RWX], ids=["RW", "RWX"])
@pytest.mark.parametrize("function", [RX, RWX], ids=["RX", "RWX"])
@pytest.mark.parametrize("dirty", [0, 1])
@pytest.mark.parametrize("already_run", [False, True])
def test_an_alias(jit: Guest, function: dict[str, int], alias: dict[str, int], dirty: int, already_run: bool) -> None:
    jit.tables.map_page(FUNCTION, PADDR, D=dirty, **function)
    jit.tables.map_page(ALIAS, PADDR, D=dirty, **alias)
    if already_run:
        assert call(jit) == 1000
        jit.program(*LOOP)
    assert rewrite_and_call(jit) == SUM


def test_the_test_sees_stale_code(jit: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the MMU only pretends to drop translated code, the loop tells."""
    monkeypatch.setattr(Mmu, "_drop_code", lambda mmu, frame: mmu.has_code.__setitem__(frame, 0))
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    jit.tables.map_page(ALIAS, PADDR, **RW)
    assert rewrite_and_call(jit) != SUM


def test_every_address_of_a_frame_runs_the_new_code(jit: Guest) -> None:
    addresses = [FUNCTION + 0x1000 * k for k in range(5)]
    for vaddr in addresses:
        jit.tables.map_page(vaddr, PADDR, **RX)
    jit.tables.map_page(ALIAS, PADDR, **RW)
    assert [call(jit, vaddr) for vaddr in addresses] == [1000] * 5
    for number in (1, 2, 3):
        jit.program(REWRITE)
        jit.run(rdx=ALIAS, rcx=number)
        assert [call(jit, vaddr) for vaddr in addresses] == [number] * 5


def test_a_large_page_over_the_code(jit: Guest) -> None:
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    jit.tables.map_page(ALIAS, PADDR, level=2, **RW)
    assert rewrite_and_call(jit) == SUM


def test_a_store_across_pages(jit: Guest) -> None:
    """Its first bytes are data; its last ones are the code of the next page."""
    jit.ram.write(PADDR, b"\x90\x90" + returns(1000))
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    jit.tables.map_page(ALIAS, DATA_PADDR + 0x1000, **RW)
    jit.tables.map_page(ALIAS + 0x1000, PADDR, **RW)
    for number in (5, 6, 7):
        jit.program("898a00040000", "48890a", "ffd3")  # mov [rdx + 0x400], ecx; mov [rdx], rcx; call rbx
        code = b"\0" + b"\x90\x90" + returns(number)
        jit.run(rbx=FUNCTION, rdx=ALIAS + 0xFFF, rcx=int.from_bytes(code[:8], "little"), rsp=STACK)
        assert jit["rax"] == number


def test_an_instruction_that_lies_on_two_pages(jit: Guest) -> None:
    """Its second half is rewritten through an alias of the second page, its first half through one of the first."""
    code = returns(1000)
    jit.ram.write(PADDR + 0x1000 - 3, code)
    for page in (0, 0x1000):
        jit.tables.map_page(FUNCTION + page, PADDR + page, **RX)
        jit.tables.map_page(ALIAS + page, PADDR + page, **RW)
    function = FUNCTION + 0x1000 - 3
    assert call(jit, function) == 1000
    jit.program("880e", "880a", "ffd3")  # mov [rsi], cl (for Unicorn to see); mov [rdx], cl; call rbx
    for number in range(1, 6):
        jit.run(rbx=function, rdx=ALIAS + 0x1000 + 1, rsi=ALIAS + 0x1800, rcx=number, rsp=STACK)  # the highest byte
        assert jit["rax"] == number << 24 | 1000
    for number in range(1, 6):
        jit.run(rbx=function, rdx=ALIAS + 0x1000 - 2, rsi=ALIAS + 0x800, rcx=number, rsp=STACK)  # the lowest
        assert jit["rax"] == 5 << 24 | 3 << 8 | number


def test_a_block_that_goes_on_in_the_next_page(jit: Guest) -> None:
    start = PADDR + 0x1000 - 4
    jit.ram.write(start, b"\x90" * 4 + returns(1000))
    for page in (0, 0x1000):
        jit.tables.map_page(FUNCTION + page, PADDR + page, **RX)
    jit.tables.map_page(ALIAS, PADDR + 0x1000, **RW)
    assert rewrite_and_call(jit, function=FUNCTION + 0x1000 - 4) == SUM


def test_code_that_rewrites_its_own_page(jit: Guest) -> None:
    """The writer runs in the frame whose translated code is dropped under its feet."""
    loop = bytes.fromhex("".join(LOOP) + HLT)
    jit.ram.write(PADDR + 0x100, loop)
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    jit.tables.map_page(ALIAS, PADDR, **RW)
    jit.run(FUNCTION + 0x100, rbx=FUNCTION, rdx=ALIAS, rcx=ROUNDS, rsi=0, rsp=STACK)
    assert jit["rsi"] == SUM


def test_another_address_space_writes(jit: Guest) -> None:
    """One process runs the code; another, which maps it at the same address without X, writes it."""
    writer = Tables(jit.ram, 0x80_0000)
    writer.map_page(CODE, CODE_PADDR, **RX)
    writer.map_page(FUNCTION, PADDR, **RW)
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    for number in (1000, 1, 2, 3):
        if number != 1000:
            jit.mmu.load_cr3(writer.cr3)
            jit.program(REWRITE)
            jit.run(rdx=FUNCTION, rcx=number)
            jit.mmu.load_cr3(jit.tables.cr3)
        assert call(jit) == number


# ---- pages that are now writable, now executable


def test_a_jit_that_flips_its_page(jit: Guest) -> None:
    """RW, RX, RW, RX with INVLPG after each change, and every function of the page is rewritten each time."""
    functions = [FUNCTION + 0x40 * k for k in range(4)]
    for flip in range(6):
        jit.tables.map_page(FUNCTION, PADDR, **RW)
        jit.mmu.invlpg(FUNCTION)
        jit.program(REWRITE, "c602b8", "c64205c3")  # and the opcodes: mov byte [rdx], 0xb8; mov byte [rdx + 5], 0xc3
        for k, function in enumerate(functions):
            jit.run(rdx=function, rcx=100 * flip + k)
        jit.tables.map_page(FUNCTION, PADDR, **RX)
        jit.mmu.invlpg(FUNCTION)
        assert [call(jit, function) for function in functions] == [100 * flip + k for k in range(4)]


def test_a_page_that_flips_inside_page_faults(jit: Guest) -> None:
    """The same within one run: a store to the page asks for RW, a jump to it for RX."""
    faults: list[str] = []

    def on_page_fault(fault: PageFault) -> bool:
        faults.append(str(fault.access.name))
        jit.tables.map_page(FUNCTION, PADDR, **(RX if fault.access.name == "FETCH" else RW))
        jit.mmu.invlpg(FUNCTION)
        return True

    jit.mmu.on_page_fault = on_page_fault
    assert rewrite_and_call(jit, alias=FUNCTION) == SUM
    assert faults == ["WRITE", "FETCH"] * ROUNDS


def test_rights_that_are_taken_are_gone(jit: Guest) -> None:
    """After the flip to RX a store must fault, also where the frame's code was dropped and translated anew."""
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    jit.tables.map_page(ALIAS, PADDR, **RW)
    assert rewrite_and_call(jit) == SUM
    jit.tables.map_page(ALIAS, PADDR, **RX)
    jit.mmu.invlpg(ALIAS)
    fault, _ = jit.fails(rbx=FUNCTION, rdx=ALIAS, rcx=1, rsp=STACK)
    assert isinstance(fault, PageFault) and (fault.vaddr, fault.error_code) == (ALIAS + 0x800, 3)


# ---- writable and executable at once


@pytest.mark.parametrize("dirty", [0, 1])
def test_a_page_with_all_rights(jit: Guest, dirty: int) -> None:
    jit.tables.map_page(FUNCTION, PADDR, D=dirty, **RWX)
    assert rewrite_and_call(jit, alias=FUNCTION) == SUM


def test_an_instruction_that_changes_the_next_one(jit: Guest) -> None:
    """In the same block (SDM vol. 3, 11.6: a processor checks whether a write may modify prefetched instructions)."""
    # mov [rdx + 4], ecx; mov eax, imm32; hlt
    jit.ram.write(PADDR, bytes.fromhex("894a04 b8e8030000 f4"))
    jit.tables.map_page(FUNCTION, PADDR, **RWX)
    for number in (1, 2, 3):
        assert jit.run(FUNCTION, rdx=FUNCTION, rcx=number) == number


def test_the_code_of_a_page_with_all_rights_is_kept(jit: Guest) -> None:
    """A store into such a page is seen by Unicorn itself: nothing has to be dropped or flushed."""
    jit.tables.map_page(FUNCTION, PADDR, **RWX)
    rewrite_and_call(jit, alias=FUNCTION)
    epoch = jit.mmu.state.epoch
    rewrite_and_call(jit, alias=FUNCTION)
    assert jit.mmu.state.epoch == epoch
    assert jit.mmu.has_code[PADDR >> 12]


# ---- written from outside


def test_host_writes(jit: Guest) -> None:
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    for number in (1000, 1, 2, 3):
        jit.ram.write(PADDR, returns(number))
        jit.mmu.code_written(PADDR >> 12)
        assert call(jit) == number


def test_without_being_told_the_mmu_cannot_know(jit: Guest) -> None:
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    assert call(jit) == 1000
    jit.ram.write(PADDR, returns(1))
    jit.mmu.flush()
    assert call(jit) == 1000
    jit.mmu.code_written(PADDR >> 12)
    assert call(jit) == 1


def test_code_written_is_for_one_frame(jit: Guest) -> None:
    for page in range(3):
        jit.ram.write(PADDR + 0x1000 * page, returns(page))
        jit.tables.map_page(FUNCTION + 0x1000 * page, PADDR + 0x1000 * page, **RX)
        assert call(jit, FUNCTION + 0x1000 * page) == page
    first = PADDR >> 12
    assert list(jit.mmu.has_code[first : first + 4]) == [1, 1, 1, 0]
    jit.mmu.code_written(first + 1)
    jit.mmu.code_written(first + 3)  # no code: nothing to do
    assert list(jit.mmu.has_code[first : first + 4]) == [1, 0, 1, 0]
    assert [call(jit, FUNCTION + 0x1000 * page) for page in range(3)] == [0, 1, 2]


def test_the_host_writes_within_a_page_fault(jit: Guest) -> None:
    """As a kernel does that reads a file page into a frame that held code: the frame is reused at another address."""
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    assert call(jit) == 1000

    def on_page_fault(fault: PageFault) -> bool:
        jit.tables.unmap(FUNCTION)
        jit.ram.discard(PADDR, PAGE_SIZE)
        jit.ram.write(PADDR, returns(44))
        jit.mmu.invlpg(FUNCTION)
        jit.mmu.code_written(PADDR >> 12)
        jit.tables.map_page(fault.vaddr, PADDR, **RX)
        return True

    jit.mmu.on_page_fault = on_page_fault
    assert call(jit, FUNCTION + 0x1000) == 44
    assert call(jit, FUNCTION) == 44


def test_the_window_on_physical_memory_is_closed_again(jit: Guest) -> None:
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    call(jit)
    jit.mmu.code_written(PADDR >> 12)
    assert jit.mmu.state.physmap_open == 0
    jit.program(LOAD)
    jit.fails(rbx=1 << 63 | PADDR)


# ---- all of it at once

CODE_PAGES = range(0x51_0000, 0x51_9000, 0x1000)
FRAMES = (0x41_0000, 0x41_1000, 0x41_2000)


@pytest.mark.parametrize("seed", range(20))
def test_random_writers_and_callers(guest: Guest, seed: int) -> None:
    """Three frames, each at three addresses with random rights; in any order, a call runs the code that was written
    last.

    A write to a page without W and a jump to one without X are page faults that flip the rights, as mprotect does.
    """
    rng = random.Random(seed)
    value = dict.fromkeys(FRAMES, 0)
    frame_of = {}
    for number, page in enumerate(CODE_PAGES):
        frame_of[page] = FRAMES[number % 3]
        guest.tables.map_page(page, frame_of[page], D=rng.randrange(2), **rng.choice((RX, RW, RWX)))
    for frame in FRAMES:
        guest.ram.write(frame, returns(0))

    def on_page_fault(fault: PageFault) -> bool:
        rights = RX if fault.access == Access.FETCH else RW
        guest.tables.map_page(fault.vaddr, frame_of[fault.vaddr], D=rng.randrange(2), **rights)
        guest.mmu.invlpg(fault.vaddr)
        return True

    guest.mmu.on_page_fault = on_page_fault
    for _ in range(10):
        program, expected = [], 0
        for _ in range(60):
            page = rng.choice(CODE_PAGES)
            mov_rbx = "48bb" + page.to_bytes(8, "little").hex()
            what = rng.randrange(4)
            if what == 0:  # mov dword [rbx + 1], number
                number = rng.randrange(1 << 31)
                program += [mov_rbx, "c74301", number.to_bytes(4, "little").hex()]
                value[frame_of[page]] = number
            elif what == 1:  # mov [rbx + 0x800], eax; mov eax, [rbx]
                program += [mov_rbx, "898300080000", "8b03"]
            else:  # call rbx; imul rsi, rsi, 31; add rsi, rax
                program += [mov_rbx, "ffd3", "486bf61f", "4801c6"]
                expected = (31 * expected + value[frame_of[page]]) % 2**64
        guest.program(*program)
        guest.run(rsi=0, rsp=STACK)
        assert guest["rsi"] == expected
        if rng.random() < 0.3:
            frame, number = rng.choice(FRAMES), rng.randrange(1 << 31)
            guest.ram.write(frame, returns(number))
            guest.mmu.code_written(frame >> 12)
            value[frame] = number


# ---- what it costs, and how long it lasts


def test_reading_code_drops_nothing(jit: Guest) -> None:
    """A program that reads its own code through a writable alias keeps its translation; the first store asks again."""
    jit.tables.map_page(FUNCTION, PADDR, D=1, **RX)
    jit.tables.map_page(ALIAS, PADDR, D=1, **RW)
    call(jit)
    jit.program(LOAD)
    jit.run(rbx=ALIAS)
    assert jit.mmu.has_code[PADDR >> 12]
    jit.program(REWRITE)
    jit.run(rdx=ALIAS, rcx=8)
    assert not jit.mmu.has_code[PADDR >> 12]
    assert call(jit) == 8


@pytest.mark.parametrize("dirty", [0, 1])
def test_a_read_of_code_grants_no_write(jit: Guest, dirty: int) -> None:
    """Without a flush in between: run it, read it through the alias, write it there, run it."""
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    jit.tables.map_page(ALIAS, PADDR, D=dirty, **RW)
    jit.program("ffd3", "8b02", REWRITE, "ffd3")  # call rbx; mov eax, [rdx]; ...; call rbx
    assert jit.run(rbx=FUNCTION, rdx=ALIAS, rcx=6, rsp=STACK) == 6


@pytest.mark.parametrize("flushes", [(1 << 32) - 3, (1 << 32) + 5, (1 << 33) - 1])
def test_after_more_flushes_than_32_bits_count(jit: Guest, flushes: int) -> None:
    """An hour of context switches."""
    jit.mmu.state.epoch = flushes
    jit.tables.map_page(FUNCTION, PADDR, **RX)
    jit.tables.map_page(ALIAS, PADDR, **RW)
    assert rewrite_and_call(jit) == SUM


@pytest.mark.parametrize("tlb", ["off", "textbook"])
@pytest.mark.parametrize("back", [0, 12])
def test_a_handler_that_moves_the_code_that_runs(tlb: str, back: int) -> None:
    """Copy on write of a page of code by its own store: what follows is fetched from the copy, across an edge too."""
    guest = Guest(tlb=tlb)
    guest.program("90")
    code = bytes.fromhex("c705010000002a000000" + "b800000000" + HLT)  # movl $42, 1(%rip); mov $0, %eax; hlt
    guest.ram.write(CODE_PADDR + 0x1000 - back, code)
    guest.tables.map_page(CODE, CODE_PADDR)
    guest.tables.map_page(CODE + 0x1000, CODE_PADDR + 0x1000, RW=0)

    def copy(fault: PageFault) -> bool:
        guest.ram.write(OTHER_PADDR, guest.ram.read(CODE_PADDR + 0x1000, 0x1000))
        guest.tables.map_page(fault.vaddr, OTHER_PADDR)
        return fault.error_code == 3

    guest.mmu.on_page_fault = copy
    assert guest.run(CODE + 0x1000 - back) == 42
    assert guest.mmu.take_failure() is None
