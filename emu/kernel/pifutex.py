"""Futexes with priority inheritance: the word holds the owner's number, and the kernel gives it to the next waiter
(kernel/futex/pi.c, requeue.c).

Nobody is boosted: priorities decide only in which order waiters get the lock.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from emu.kernel.futex import OWNER_DIED, TID_MASK, WAITERS, Futexes, Key, PiState, PiWaiter, Waiter
from emu.linux.errors import Interrupted, LinuxError, NoIntr

if TYPE_CHECKING:
    from emu.kernel.task import Task


def acquire(
    futexes: Futexes, task: Task, waiter_of: Task, address: int, key: Key, *, waiters: bool = False
) -> PiState | None:
    """Take the lock for ``waiter_of`` if it is free: None; else what it must wait for (futex_lock_pi_atomic).

    ``waiters``: others will wait for it too.  LinuxError(EDEADLK, EINVAL, ESRCH, EFAULT).
    """
    word = task.mm.read_u32(address)
    tid = word & TID_MASK
    if tid == waiter_of.vpid:
        raise LinuxError(errno.EDEADLK)
    state = futexes.pi.get(key)
    if state is not None:
        return _attached(state, word)
    if not tid:
        task.mm.write_u32(address, word & OWNER_DIED | waiter_of.vpid | (WAITERS if waiters else 0))
        return None
    task.mm.write_u32(address, word | WAITERS)
    owner = futexes.tasks.get(task.means(tid))
    if owner is None or not owner.alive:
        raise LinuxError(errno.ESRCH)
    return PiState(key, owner)


def _attached(state: PiState, word: int) -> PiState:
    """The word must say who owns the lock (attach_to_pi_state)."""
    tid = word & TID_MASK
    if tid != state.owner.vpid and (tid or not word & OWNER_DIED):
        raise LinuxError(errno.EINVAL)
    return state


def block(futexes: Futexes, state: PiState, waiter: PiWaiter) -> None:
    """Queue a waiter.  LinuxError(EDEADLK) if the owner waits, through others, for this task."""
    owner: Task | None = state.owner
    while owner is not None:
        if owner is waiter.task:
            raise LinuxError(errno.EDEADLK)
        blocked = next((s for s in futexes.pi.values() if any(w.task is owner for w in s.waiters)), None)
        owner = None if blocked is None else blocked.owner
    futexes.pi[state.key] = state
    state.add(waiter)


def give_up(futexes: Futexes, state: PiState, waiter: PiWaiter) -> None:
    """A waiter waits no longer."""
    if waiter in state.waiters:
        state.waiters.remove(waiter)
        if not state.waiters and futexes.pi.get(state.key) is state:
            del futexes.pi[state.key]


def lock_pi(
    futexes: Futexes, task: Task, address: int, key: Key, deadline: int | None
) -> int | Generator[Any, None, int]:
    """FUTEX_LOCK_PI."""
    state = acquire(futexes, task, task, address, key)
    if state is None:
        return 0
    waiter = PiWaiter(task, address)
    block(futexes, state, waiter)
    return _wait_for_lock(futexes, state, waiter, deadline)


def _wait_for_lock(
    futexes: Futexes, state: PiState, waiter: PiWaiter, deadline: int | None
) -> Generator[Any, None, int]:
    try:
        while not waiter.granted:
            if deadline is not None and futexes.clock.now_ns() >= deadline:
                raise LinuxError(errno.ETIMEDOUT)
            try:
                yield (waiter.queue, deadline)
            except Interrupted:
                if not waiter.granted:
                    raise NoIntr from None
        return 0
    finally:
        give_up(futexes, state, waiter)


def trylock_pi(futexes: Futexes, task: Task, address: int, key: Key) -> int:
    """FUTEX_TRYLOCK_PI."""
    if acquire(futexes, task, task, address, key) is not None:
        raise LinuxError(errno.EAGAIN)
    return 0


def unlock_pi(futexes: Futexes, task: Task, address: int, key: Key) -> int:
    """FUTEX_UNLOCK_PI: the first waiter gets the lock."""
    if task.mm.read_u32(address) & TID_MASK != task.vpid:
        raise LinuxError(errno.EPERM)
    state = futexes.pi.get(key)
    if state is None:
        if futexes.waits_at(key):
            raise LinuxError(errno.EINVAL)
        task.mm.write_u32(address, 0)
    elif state.owner is not task:
        raise LinuxError(errno.EINVAL)
    else:
        task.mm.write_u32(address, WAITERS | state.waiters[0].task.vpid)
        _grant(futexes, state)
    return 0


def _grant(futexes: Futexes, state: PiState) -> None:
    waiter = state.waiters[0]
    state.owner = waiter.task
    give_up(futexes, state, waiter)
    waiter.granted = True
    waiter.queue.wake_all()


def exit_pi_states(futexes: Futexes, task: Task) -> None:
    """A task ends: each lock that it still owns goes to the first who waits for it, and the word says why
    (exit_pi_state_list).
    """
    for state in [state for state in futexes.pi.values() if state.owner is task]:
        waiter = state.waiters[0]
        try:
            word = waiter.task.mm.read_u32(waiter.address)
            waiter.task.mm.write_u32(waiter.address, WAITERS | OWNER_DIED | waiter.task.vpid | word & OWNER_DIED)
        except LinuxError:
            pass  # the waiter has unmapped it: the lock is its own affair
        _grant(futexes, state)


@dataclass(eq=False)
class RequeueWaiter(Waiter):
    """It waits at one word to be given the lock of another (FUTEX_WAIT_REQUEUE_PI)."""

    requeued_only: ClassVar[bool] = True
    task: Task | None = None
    target: Key = None
    address: int = 0
    #: What it waits for since it was requeued, and as whom.
    blocked: tuple[PiState, PiWaiter] | None = None


def wait_requeue_pi(futexes: Futexes, waiter: RequeueWaiter, deadline: int | None) -> Generator[Any, None, int]:
    """FUTEX_WAIT_REQUEUE_PI: sleep until requeued, and then until the lock is there.

    LinuxError(ETIMEDOUT), (EAGAIN) if it was woken in another way, or a signal came after it was requeued.
    """
    futexes.add(waiter)
    try:
        while not waiter.woken and waiter.blocked is None:
            if deadline is not None and futexes.clock.now_ns() >= deadline:
                raise LinuxError(errno.ETIMEDOUT)
            try:
                yield (waiter.queue, deadline)
            except Interrupted:
                if not waiter.woken and waiter.blocked is None:
                    raise NoIntr from None
        if waiter.blocked is None:
            return 0
        return (yield from _wait_for_lock(futexes, *waiter.blocked, deadline))
    except NoIntr:
        if waiter.blocked is None:
            raise
        raise LinuxError(errno.EAGAIN) from None
    finally:
        futexes.discard(waiter)
        if waiter.blocked is not None:
            give_up(futexes, *waiter.blocked)


def cmp_requeue_pi(futexes: Futexes, task: Task, source: Key, address: int, target: Key, most: int) -> int:
    """FUTEX_CMP_REQUEUE_PI: the first waiter gets the lock if it is free, ``most`` others wait for it from now on;
    returns how many these are.
    """
    done = 0
    for waiter in futexes.waits_at(source)[: most + 1]:
        if not isinstance(waiter, RequeueWaiter) or waiter.target != target:
            raise LinuxError(errno.EINVAL)
        assert waiter.task is not None
        state = acquire(futexes, task, waiter.task, address, target, waiters=bool(most))
        if state is None:
            futexes.discard(waiter)
            waiter.woken = True
        else:
            blocked = PiWaiter(waiter.task, waiter.address)
            block(futexes, state, blocked)
            futexes.discard(waiter)
            waiter.blocked = (state, blocked)
        waiter.queue.wake_all()
        done += 1
    return done
