"""Loads and stores by our own helpers: what they are told by hooks, engines beside each other, and when hooks stay."""

from __future__ import annotations

import ctypes
import gc
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from unicorn import UC_ARCH_X86, UC_HOOK_MEM_READ, UC_MODE_64, Uc, UcError
from unicorn import x86_const as x86

import mmu.helper_proof
from mmu import EventKind, Mmu, PhysicalMemory, unicorn_abi
from mmu.engine_held import drop_in_engine, engine_may_hold
from mmu.helper_places import ENGINES, PROBES
from mmu.helper_proof import begin_fast_path
from mmu.helper_table import HelperTable, Unproven, helper_table
from mmu.native import load64
from mmu.perf_events import perf_events
from mmu.unicorn_abi import FIRST_TLB_ENTRIES, MMU_INDICES, TLB_USED, TLB_WINDOW_STRIDE
from tests.exhaustive import by_default
from tests.mmu.exact_guest import ExactGuest, tiny
from tests.mmu.guest import CODE, CODE_PADDR, DATA, DATA_PADDR, HLT, OTHER_PADDR, REGISTERS
from tests.mmu.test_mmu_exact_random import GEOMETRIES, more
from tests.mmu.traced_guest import STACK, Kernel, between, instruction

#: 1: mov rax, [rbx]; add [rbx+8], rax; movups xmm0, [rbx+16]; movups [rbx+32], xmm0; dec rcx; jne 1b
LOOP = "488b0348014308 0f104310 0f114320 48ffc9 75ec"


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UNIMMU_ENGINE_FAST", "NUMBA_DISABLE_JIT"):
        monkeypatch.delenv(name, raising=False)


def guest(fast: bool, geometry: Any = "textbook", seed: int = 0) -> ExactGuest:
    return ExactGuest(geometry, seed=seed, fast=fast)


def looping(fast: bool = True) -> ExactGuest:
    made = guest(fast)
    made.mmu.events.enable()
    made.tables.map_page(DATA, DATA_PADDR, XD=1)
    made.program(LOOP)
    return made


def turn(one: ExactGuest, turns: int) -> None:
    one.run(CODE, rbx=DATA, rcx=turns)


def seen(one: ExactGuest) -> tuple[Any, ...]:
    """All that is to be the same."""
    counters = {name: vars(counts) for name, counts in one.tlb.array_counters().items()}
    held = one.tlb.places(), one.tlb.structure_contents()
    return counters, one.tlb.access_counters(), vars(one.mmu.counters), held, one.ram.read(0, one.ram.size)


def path(one: ExactGuest) -> Any:
    assert one.mmu.fast_path is not None
    return one.mmu.fast_path


class Walker:
    """A random guest, step by step."""

    def __init__(self, seed: int, geometry: Any, *, fast: bool, events: bool) -> None:
        self.guest = guest(fast, geometry, seed)
        self.guest.mmu.events.enable(*(EventKind if events else ()))
        self._rng, self.kernel = random.Random(seed), Kernel(self.guest)
        self.guest.mmu.on_page_fault = self.kernel.on_page_fault
        self.told: list[Any] = []

    def step(self) -> None:
        rng, one = self._rng, self.guest
        one.program(b"".join(rng.choice((instruction, more))(rng) for _ in range(20)).hex())
        for _ in range(2):  # the second time all places are known
            try:
                one.run(CODE, rsp=STACK + 0x800, rax=rng.getrandbits(64))
            except UcError:
                failure = one.mmu.take_failure()
                self.told.append((str(failure), one["rip"]))
        self.told.append((one.mmu.events.drain().tobytes(), {name: one[name] for name in REGISTERS}))
        between(rng, one)


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("seed", by_default([0, 1, 2, 6, 7, 8], range(14)))  # with seed + 3: every geometry
def test_random_programs_in_engines_that_take_turns(seed: int, events: bool) -> None:
    """Two engines by our helpers, two by hooks: each step of one is followed by one of another."""
    first, second = (GEOMETRIES[(seed + n) % len(GEOMETRIES)] for n in (0, 3))
    walkers = [
        Walker(seed + n, geometry, fast=fast, events=events)
        for n, geometry in enumerate((first, second))
        for fast in (False, True)
    ]
    for _ in range(by_default(5, 8)):
        for walker in walkers:
            walker.step()
    for slow, fast in (walkers[:2], walkers[2:]):
        assert slow.told == fast.told
        assert slow.kernel.log == fast.kernel.log
        assert seen(slow.guest) == seen(fast.guest)
        assert path(fast.guest).places > 100
        assert not path(fast.guest).missed
        assert path(slow.guest).places == 0


def test_known_places_are_no_work_for_the_engine() -> None:
    one, other = looping(), looping(fast=False)
    for each in (one, other):
        turn(each, 10)
    asked = path(one).asked
    for each in (one, other):
        turn(each, 1000)
    assert path(one).asked - asked < 3  # behind a fill
    assert seen(one) == seen(other)
    assert perf_events(one.mmu)["dTLB-loads"] == 2020
    assert path(one).state() == "7 loads and stores in the engine's code go to the TLB model themselves"
    assert path(other).state() == "a hook handles each access: as was asked for"


def striding(fast: bool, opcode: str, geometry: Any) -> ExactGuest:
    """Pages of which two each have a frame in common."""
    one = guest(fast, geometry)
    one.mmu.events.enable()
    for page in range(3000):
        one.tables.map_page(DATA + page * 0x1000, 0x40_0000 + page % 1500 * 0x1000, XD=1, A=1, D=page % 7 != 0)
    one.program(f"{opcode} 4801f3 48ffc9 75f5")  # 1: mov rax, [rbx] (or the other way); add rbx, rsi; dec rcx; jne 1b
    return one


@pytest.mark.parametrize("geometry", ["skylake-sp", *GEOMETRIES], ids=str)
@pytest.mark.parametrize("opcode", ["488b03", "488903"], ids=["load", "store"])
def test_a_page_that_nobody_holds_is_no_work_for_the_engine(opcode: str, geometry: Any) -> None:
    """It is given the translation; also where pages have one place in its TLB, and come back from its victims."""
    one, other = (striding(fast, opcode, geometry) for fast in (True, False))
    for each in (one, other):
        for first, pages, stride in (
            (0, 3000, 1),
            (1, 12, 256),
            (2, 12, 256),
            (0, 3000, 1),
            (7, 400, 7),
            (3, 3000, -1),
        ):
            each.run(CODE, rbx=DATA + (first if stride > 0 else first + pages - 4) * 0x1000, rcx=pages - first,
                     rsi=stride * 0x1000 & (1 << 64) - 1)  # fmt: skip
    assert seen(one) == seen(other)
    assert path(one).filled > (5000 if one.tlb.geometry.coalesce == 1 else 500)  # coalesced with others, it is held
    assert path(other).filled == 0


def bare() -> tuple[Uc, list[int]]:
    """An engine without an Mmu that runs the loop, with a memory hook."""
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map(0x10_0000, 0x2000)
    uc.mem_write(0x10_0000, bytes.fromhex(LOOP + HLT))
    told: list[int] = []
    uc.hook_add(UC_HOOK_MEM_READ, lambda _uc, _type, address, *_: told.append(address))
    return uc, told


def test_a_bare_engine_beside_has_its_hooks() -> None:
    one, (uc, told) = looping(), bare()
    turn(one, 10)
    for register, value in ((x86.UC_X86_REG_RBX, 0x10_1000), (x86.UC_X86_REG_RCX, 3)):
        uc.reg_write(register, value)
    uc.emu_start(0x10_0000, 0)
    assert told == [0x10_1000, 0x10_1008, 0x10_1010, 0x10_1018] * 3
    before = perf_events(one.mmu)["dTLB-loads"]
    turn(one, 10)
    assert perf_events(one.mmu)["dTLB-loads"] == before + 20


def test_a_memory_hook_of_the_users_is_called() -> None:
    one, other = looping(), looping(fast=False)
    told: list[list[int]] = [[], []]
    for each, log in zip((one, other), told, strict=True):
        turn(each, 10)
        each.uc.hook_add(UC_HOOK_MEM_READ, lambda _uc, _type, address, size, *_, log=log: log.append((address, size)))
        turn(each, 10)
    assert told[0] == told[1]
    assert len(told[0]) == 40
    assert path(one).state() == "a hook handles each access: there is a memory hook that is not the MMU's own"
    assert seen(one) == seen(other)


def test_a_memory_hook_of_the_mmus_is_told_of_all() -> None:
    one, told = looping(), list[tuple[int, int]]()
    turn(one, 10)
    one.mmu.add_memory_hook(lambda access: told.append((access.vaddr, access.size)))
    turn(one, 1)
    assert told == [(DATA, 8), (DATA + 8, 8), (DATA + 16, 16), (DATA + 32, 16)]
    assert path(one).why_not


def test_hooks_stay_where_there_was_one_before() -> None:
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.hook_add(UC_HOOK_MEM_READ, lambda *_: None)
    made = Mmu(uc, PhysicalMemory(1 << 20), tlb="textbook")
    assert made.fast_path is not None
    assert made.fast_path.state() == "a hook handles each access: there was a hook before the MMU's own"


def test_filtered_mode_has_no_such_thing() -> None:
    assert Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20)).fast_path is None


def test_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIMMU_ENGINE_FAST", "off")
    made = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20), tlb="textbook")
    assert made.fast_path is not None
    assert made.fast_path.why_not == "as was asked for"


def test_what_cannot_be_proven_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_make: Any) -> HelperTable:
        raise Unproven("it is another engine")

    monkeypatch.setattr(mmu.helper_proof, "proven_table", fails)
    one = looping()
    turn(one, 10)
    assert path(one).state() == "a hook handles each access: it is another engine"
    assert perf_events(one.mmu)["dTLB-loads"] == 20


def test_a_proof_that_fails_leaves_the_engine_its_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that is translated then calls none of ours."""
    table, trial = helper_table(), mmu.helper_proof.Trial
    run_rest = trial.run_rest
    monkeypatch.setattr(mmu.helper_proof, "once_for_library", lambda _name, _source, _facts, test: test())
    monkeypatch.setattr(trial, "run_rest", lambda one: (*run_rest(one), one.fast is not None))
    try:
        with pytest.raises(Unproven, match=r"^loads and stores by our own helpers have come to .*, not to "):
            mmu.helper_proof.proven_table.__wrapped__(Mmu)
        one = looping()
        turn(one, 10)
        assert path(one).places == 0
        assert perf_events(one.mmu)["dTLB-loads"] == 20
    finally:
        table.put()


def test_code_that_is_not_as_expected_is_left_alone() -> None:
    """Of a helper that is expected elsewhere no place is found; after a thousand of them nobody looks."""
    record, one, other = helper_table().record, looping(), looping(fast=False)
    ours = list(record.ours)
    record.ours[:] = [0] * 8
    try:
        for each in (one, other):
            turn(each, 400)
    finally:
        record.ours[:] = ours
    assert path(one).state() == "a hook handles each access: the code that the engine makes of them is not as expected"
    assert path(one).missed == 1000
    assert seen(one) == seen(other)


def test_the_stale_translation_detector_sees_each_hit() -> None:
    one = looping()
    turn(one, 10)
    one.mmu.check_tlb()
    one.tables.map_page(DATA, OTHER_PADDR, XD=1)  # nobody has flushed
    turn(one, 3)
    assert len(one.mmu.stale) == 12


@pytest.fixture
def little_garbage() -> Iterator[None]:
    """``gc.collect()`` looks at what is made from now on; all that this process has takes 0.2 s each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.mark.usefixtures("little_garbage")
def test_an_engine_that_is_closed_leaves_its_place() -> None:
    """More engines than there is room for, one after the other."""
    for _ in range(40):
        one = looping()
        turn(one, 2)
        assert path(one).places
        del one
        gc.collect()
    table = helper_table()
    held = sum(bool(each.env) for each in table.paths())
    many = [looping() for _ in range(5)]
    assert sum(bool(each.env) for each in table.paths()) == held + 5
    del many
    gc.collect()
    assert sum(bool(each.env) for each in table.paths()) == held


def test_no_room_for_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    one = looping(fast=False)
    monkeypatch.setattr(helper_table(), "taken", dict.fromkeys(range(ENGINES + PROBES), 1))
    found = begin_fast_path(Mmu, one.uc, one.mmu.state, True)
    assert found.state() == "a hook handles each access: too many engines are in exact mode"


def test_each_takes_a_place_of_its_own_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads whose engines are to have the same place, each of which has found one before any has written to it."""
    engines = [looping(fast=False) for _ in range(4)]
    table, together, memset, cleared = helper_table(), threading.Barrier(len(engines)), ctypes.memset, []

    def wait_and_clear(address: int, value: int, size: int) -> int:
        cleared.append(address)
        together.wait(60)
        return memset(address, value, size)

    def begin(one: ExactGuest) -> None:
        begin_fast_path(Mmu, one.uc, one.mmu.state, True)

    monkeypatch.setattr("mmu.helper_table.first_path_of", lambda _env: ENGINES - 1)
    monkeypatch.setattr(ctypes, "memset", wait_and_clear)
    threads = [threading.Thread(target=begin, args=(one,)) for one in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(cleared)) == len(engines)
    states = [each.state for each in table.paths() if each.env]
    assert all(states.count(ctypes.addressof(one.mmu.state)) == 1 for one in engines)


def test_code_that_changes_itself_and_what_it_says() -> None:
    """A store into the page that runs: the load behind it becomes one that is going to be written, and so no access."""
    told = []
    for fast in (False, True):
        one = guest(fast, tiny(4))
        one.tables.map_page(DATA, DATA_PADDR, XD=1)
        # mov [rip+1], al; 1: mov rcx, [rbx] (48 8b 0b; with 01 in place of 8b: add [rbx], rcx); dec rdx; jne 1b
        one.program("880501000000 488b0b 48ffca 75f8")
        one.tables.map_page(CODE, CODE_PADDR, A=1)
        for opcode in (0x8B, 0x01, 0x8B, 0x01, 0x29):
            one.run(CODE, rbx=DATA, rax=opcode, rdx=5, rcx=3)
        told.append((one.log(), seen(one)))
    assert told[0] == told[1]


def test_a_page_leaves_the_engine_as_by_its_own_flush() -> None:
    """An eviction takes it out of the engine's table, and from among its victims, and the engine counts both."""
    pages, left = range(DATA, DATA + 0x3000, 0x1000), []
    for drops in (False, True):
        one = looping()
        for page in (*pages, DATA + (FIRST_TLB_ENTRIES << 12)):  # the last one takes the place of the first
            one.tables.map_page(page, OTHER_PADDR, XD=1)
            one.run(CODE, rbx=page, rcx=1)
        state, first = one.mmu.state, unicorn_abi.tlb_windows(one.uc)
        for page in pages:
            if drops:
                assert drop_in_engine(state, page >> 12)
            else:
                unicorn_abi.flush_page(one.uc, page)
            assert not engine_may_hold(state, page >> 12)
        windows = (first + index * TLB_WINDOW_STRIDE for index in range(MMU_INDICES))
        left.append([load64(window + TLB_USED) for window in windows])
        fills = one.mmu.counters.fills
        one.run(CODE, rbx=DATA, rcx=1)
        left.append([one.mmu.counters.fills - fills])
    assert left[:2] == left[2:]
    assert not drop_in_engine(state, (1 << 52) - 1)
