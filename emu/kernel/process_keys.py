"""Which keys a process has: its keyrings, and what it may do with a key (security/keys/process_keys.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.ipc.keys import ALL, KEYRING, LINK, POSSESSOR, READ, SEARCH, USER, VIEW, Key, Keys
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: The special keyrings.
_THREAD, _PROCESS, _SESSION, _USER, _USER_SESSION, _GROUP, _REQKEY_AUTH, _REQUESTOR = range(-1, -9, -1)
#: What the owner of a key may do with it that does not possess it.
OWNED = VIEW << USER


def reachable_keys(kernel: Kernel) -> Keys:
    """The keys, without those that nobody can reach any more."""
    keys = kernel.keys
    alive = [task for task in kernel.tasks.values() if task.alive]
    rings = [task.thread_keyring for task in alive]
    rings += [ring for task in alive for ring in (task.group.process_keyring, task.group.session_keyring)]
    keys.sweep({ring for ring in rings if ring is not None})
    return keys


def searched_rings(kernel: Kernel, task: Task) -> list[Key]:
    """The keyrings in which a thread's keys are looked for: without a session keyring, its user's
    (search_cred_keyrings_rcu).
    """
    group = task.group
    rings = [ring for ring in (task.thread_keyring, group.process_keyring, group.session_keyring) if ring is not None]
    if group.session_keyring is None:
        rings.append(kernel.keys.user_rings(task.credentials.uid)[1])
    return rings


def _possesses(kernel: Kernel, task: Task, key: Key) -> bool:
    """Whether a key can be found in the process's keyrings."""
    return any(key in ring.inside() for ring in searched_rings(kernel, task))


def _special(kernel: Kernel, task: Task, number: int, *, create: bool) -> Key:
    """One of the process's own keyrings.  LinuxError(ENOKEY, EINVAL)."""
    keys, group, who = kernel.keys, task.group, task.credentials
    perm = ALL << POSSESSOR | OWNED
    if number == _THREAD:
        if task.thread_keyring is None and create:
            task.thread_keyring = keys.make(KEYRING, "_tid", who.uid, who.gid, perm)
        found = task.thread_keyring
    elif number == _PROCESS:
        if group.process_keyring is None and create:
            group.process_keyring = keys.make(KEYRING, "_pid", who.uid, who.gid, perm)
        found = group.process_keyring
    elif number == _SESSION:
        if group.session_keyring is None:
            group.session_keyring = join_session(kernel, task, None) if create else keys.user_rings(who.uid)[1]
        found = group.session_keyring
    elif number in (_USER, _USER_SESSION):
        found = keys.user_rings(who.uid)[number == _USER_SESSION]
    elif number in (_REQKEY_AUTH, _REQUESTOR):
        found = None
    else:
        raise LinuxError(errno.EINVAL)
    if found is None:
        raise LinuxError(errno.ENOKEY)
    return found


def join_session(kernel: Kernel, task: Task, name: str | None) -> Key:
    """A session keyring: a new one, or one that has the name already."""
    who, keys = task.credentials, kernel.keys
    shown = (VIEW | READ) << USER
    if name is None:
        return keys.make(KEYRING, "_ses", who.uid, who.gid, ALL << POSSESSOR | shown)
    for key in keys.all.values():
        if key.is_ring and key.description == name and key.allows(SEARCH, who, False):
            return key
    return keys.make(KEYRING, name, who.uid, who.gid, ALL << POSSESSOR | shown | LINK << USER)


def lookup(
    kernel: Kernel, task: Task, number: int, need: int, *, create: bool = False, partial: bool = False
) -> tuple[Key, bool]:
    """lookup_user_key(): the key, and whether the process possesses it.

    LinuxError(EINVAL, ENOKEY, EACCES, EKEYREVOKED, EKEYEXPIRED).
    """
    keys = reachable_keys(kernel)
    if number < 0:
        key, possessed = _special(kernel, task, number, create=create), True
    else:
        if not number:
            raise LinuxError(errno.EINVAL)
        found = keys.all.get(number)
        if found is None:
            raise LinuxError(errno.ENOKEY)
        key, possessed = found, _possesses(kernel, task, found)
    problem = keys.error_of(key)
    if problem and not partial:
        raise LinuxError(problem)
    if need and not key.allows(need, task.credentials, possessed):
        raise LinuxError(errno.EACCES)
    return key, possessed


def lookup_ring(kernel: Kernel, task: Task, number: int, need: int, *, create: bool = False) -> Key:
    """A keyring.  LinuxError(ENOTDIR) for another key."""
    key, _ = lookup(kernel, task, number, need, create=create)
    if not key.is_ring:
        raise LinuxError(errno.ENOTDIR)
    return key
