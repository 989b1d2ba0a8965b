"""Keys: what a call on one costs where there are many, when they go, and that the audit recounts them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from emu.ipc.key import ALL, KEYRING, POSSESSOR, USER, USER_TYPE, Key
from emu.ipc.keys import Keys
from emu.linux.caller import Credentials
from tests.booted import Booted, MakeMachine

_PERM = ALL << POSSESSOR | ALL << USER
_GC_DELAY_S = 300


def steps_of(work: Callable[[], object]) -> int:
    """How many steps of Python's some work takes."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    gc.disable()  # finalizers of what is collected meanwhile are Python, too
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return steps


def add(keys: Keys, ring: Key, name: str, kind: str = USER_TYPE) -> Key:
    """add_key(2)."""
    made = keys.make(kind, name, 0, 0, _PERM, b"" if kind == KEYRING else b"x")
    keys.link(ring, made)
    keys.put(made)
    return made


def steps_of_calls(booted: Booted, many: int) -> dict[str, int]:
    """What each call takes where a keyring has so many keys."""
    keys, who = booted.kernel.keys, Credentials()
    ring = keys.make(KEYRING, "many", 0, 0, _PERM)
    for number in range(many):
        add(keys, ring, f"key {number}")
    some, others = ring.links[USER_TYPE, "key 7"], keys.make(KEYRING, "others", 0, 0, _PERM)
    steps = {
        "collect": steps_of(keys.collect),
        "add": steps_of(lambda: add(keys, ring, "another")),
        "store": steps_of(lambda: keys.store(some, b"other")),
        "possessed": steps_of(lambda: some.is_found_from([ring], who)),
        "search": steps_of(lambda: keys.search(ring, USER_TYPE, "none", who)),
        "link": steps_of(lambda: keys.link(others, ring)),
        "give away": steps_of(lambda: keys.give_to(some, 1000)),
        "expire": steps_of(lambda: keys.expire(some, 10)),
        "invalidate": steps_of(lambda: keys.invalidate(some)),
        "unlink": steps_of(lambda: keys.unlink(ring, ring.links[USER_TYPE, "key 9"])),
        "join": steps_of(lambda: keys.find_ring("nobody's", who)),
    }
    keys.put(others)
    keys.put(ring)
    assert len(keys.all) == 0 and not keys.users
    return steps


def test_no_call_looks_at_all_keys(machine: MakeMachine) -> None:
    few, many = (steps_of_calls(machine(), number) for number in (10, 1000))
    assert few == many and all(few.values())


def test_an_expired_key_goes_in_the_end(machine: MakeMachine) -> None:
    booted = machine()
    keys, clock = booted.kernel.keys, booted.kernel.clock
    ring = keys.make(KEYRING, "ring", 0, 0, _PERM)
    soon, later, never = (add(keys, ring, name) for name in ("soon", "later", "never"))
    keys.expire(soon, 1)
    keys.expire(later, 1)
    keys.expire(later, 2)
    for seconds, left in ((_GC_DELAY_S, {soon, later, never}), (1, {later, never}), (1, {never}), (1000, {never})):
        clock.pass_time(seconds * 1_000_000_000)
        keys.collect()
        assert set(ring.links.values()) == left and set(keys.all.values()) == {ring, *left}
    keys.put(ring)


def test_timeouts_that_are_set_again_and_again_are_not_kept(machine: MakeMachine) -> None:
    keys = machine().kernel.keys
    key = keys.make(USER_TYPE, "key", 0, 0, _PERM, b"x")
    for seconds in range(1, 1000):
        keys.expire(key, seconds)
    assert len(keys._expiring) < 10
    keys.put(key)


def test_what_only_a_keyring_had_goes_with_it(machine: MakeMachine) -> None:
    booted = machine()
    keys = booted.kernel.keys
    before = booted.kernel.frames.kmem.charged
    ring = outer = keys.make(KEYRING, "0", 0, 0, _PERM)
    for depth in range(1, 2000):
        ring = add(keys, ring, str(depth), KEYRING)
    assert len(keys.all) == 2000 and keys.users[0].keys == 2000
    keys.put(outer)
    assert not keys.all and booted.kernel.frames.kmem.charged == before


@pytest.mark.parametrize("what", ["holders", "keys", "bytes", "unused"])
def test_the_audit_finds_a_wrong_count(machine: MakeMachine, what: str) -> None:
    booted = machine()
    keys = booted.kernel.keys
    own, _ = keys.user_rings(0)
    assert booted.audit() == []
    counts, name = (own, what) if what == "holders" else (keys.users[0], what)
    if what == "unused":
        made = keys.make(USER_TYPE, "lost", 0, 0, _PERM, b"x")
        made.holders = 0
        assert any(f"{made.serial:#x}" in finding for finding in booted.audit())
        made.holders = 1
        keys.put(made)
    else:
        setattr(counts, name, getattr(counts, name) + 1)
        assert len(booted.audit()) == 1
        setattr(counts, name, getattr(counts, name) - 1)
    assert booted.audit() == []
