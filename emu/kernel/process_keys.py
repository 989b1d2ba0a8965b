"""Which keys a process has: its keyrings, and what it may do with a key (security/keys/process_keys.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.ipc.key import ALL, KEYRING, LINK, POSSESSOR, READ, USER, VIEW, Key
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.ipc.keys import Keys
    from emu.kernel.task import Task

#: The special keyrings.
_THREAD, _PROCESS, _SESSION, _USER, _USER_SESSION, _GROUP, _REQKEY_AUTH, _REQUESTOR = range(-1, -9, -1)
#: What the owner of a key may do with it that does not possess it.
OWNED = VIEW << USER


def searched_rings(keys: Keys, task: Task) -> list[Key]:
    """The keyrings in which a thread's keys are looked for: without a session keyring, its user's
    (search_cred_keyrings_rcu).
    """
    group = task.group
    rings = [ring for ring in (task.thread_keyring, group.process_keyring, group.session_keyring) if ring is not None]
    if group.session_keyring is None:
        rings.append(keys.user_rings(task.credentials.uid)[1])
    return rings


def _possesses(keys: Keys, task: Task, key: Key) -> bool:
    """Whether a key can be found in the process's keyrings."""
    return key.is_found_from(searched_rings(keys, task), task.credentials)


def _special(keys: Keys, task: Task, number: int, *, create: bool) -> Key:
    """One of the process's own keyrings.  LinuxError(ENOKEY, EINVAL)."""
    group, who = task.group, task.credentials
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
            if create:
                join_session(keys, task, None)
            else:
                group.session_keyring = keys.user_rings(who.uid)[1].get()
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


def join_session(keys: Keys, task: Task, name: str | None) -> int:
    """The process gets another session keyring, a new one or one that has the name already; returns its number, or 0
    where it is the one that the process has.  LinuxError(EDQUOT, ENOMEM).
    """
    who, group = task.credentials, task.group
    shown = (VIEW | READ) << USER
    found = None if name is None else keys.find_ring(name, who)
    if found is not None:
        if found is group.session_keyring:
            return 0
        ring = found.get()
    elif name is None:
        ring = keys.make(KEYRING, "_ses", who.uid, who.gid, ALL << POSSESSOR | shown)
    else:
        ring = keys.make(KEYRING, name, who.uid, who.gid, ALL << POSSESSOR | shown | LINK << USER)
    keys.put(group.session_keyring)
    group.session_keyring = ring
    return ring.serial


def has_new_program(keys: Keys, task: Task) -> None:
    """execve(2): the keyrings of the thread and of the process are not the new program's."""
    keys.put(task.thread_keyring)
    keys.put(task.group.process_keyring)
    task.thread_keyring = task.group.process_keyring = None


def has_ended(keys: Keys, task: Task) -> None:
    """A thread has ended, and perhaps its process (exit_creds)."""
    group = task.group
    keys.put(task.thread_keyring)
    task.thread_keyring = None
    if not group.threads:
        keys.put(group.process_keyring)
        keys.put(group.session_keyring)
        group.process_keyring = group.session_keyring = None


def lookup(
    keys: Keys, task: Task, number: int, need: int, *, create: bool = False, partial: bool = False
) -> tuple[Key, bool]:
    """lookup_user_key(): the key, and whether the process possesses it.

    LinuxError(EINVAL, ENOKEY, EACCES, EKEYREVOKED, EKEYEXPIRED).
    """
    if number < 0:
        key, possessed = _special(keys, task, number, create=create), True
    else:
        if not number:
            raise LinuxError(errno.EINVAL)
        found = keys.all.get(number)
        if found is None:
            raise LinuxError(errno.ENOKEY)
        key, possessed = found, _possesses(keys, task, found)
    problem = keys.error_of(key)
    if problem and not partial:
        raise LinuxError(problem)
    if need and not key.allows(need, task.credentials, possessed):
        raise LinuxError(errno.EACCES)
    return key, possessed


def lookup_ring(keys: Keys, task: Task, number: int, need: int, *, create: bool = False) -> Key:
    """A keyring.  LinuxError(ENOTDIR) for another key."""
    key, _ = lookup(keys, task, number, need, create=create)
    if not key.is_ring:
        raise LinuxError(errno.ENOTDIR)
    return key
