"""Changes of credentials: what follows from other user ids, and what a new program gets (security/commoncap.c)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from emu.kernel.signal_state import Sig
from emu.linux.caller import SCOPE_SIGNAL
from emu.linux.capability import ALL_CAPABILITIES, FS_CAPABILITIES, KEEP_CAPS, KILL, NO_SETUID_FIXUP, NOROOT, SETUID

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials

_SET_IDS = stat.S_ISUID | stat.S_ISGID
_DUMPABLE, _NOT_DUMPABLE = 1, 0


class NewProgram(NamedTuple):
    """The credentials of a new program, whether its libraries are to trust nobody (AT_SECURE), and whether it has a
    set-ID bit that counts.
    """

    credentials: Credentials
    secure: bool
    set_ids: bool


def changed(task: Task, old: Credentials) -> None:
    """A task has other credentials than ``old``: whoever gains or changes effective ids cannot be dumped any more, and
    hears nothing of its parent's end (commit_creds).
    """
    new = task.credentials
    ids = (old.euid, old.egid, old.fsuid, old.fsgid) != (new.euid, new.egid, new.fsuid, new.fsgid)
    if ids or _gains(new, old):
        task.mm.dumpable = _NOT_DUMPABLE
        task.pdeath_signal = 0


def _gains(new: Credentials, old: Credentials) -> bool:
    """Whether somebody has rights that the old credentials did not have: not in a user namespace that these have made
    (cred_cap_issubset).
    """
    ns = new.user_ns
    if ns is old.user_ns:
        return bool(new.permitted & ~old.permitted)
    while ns is not None:
        if ns.parent is old.user_ns and ns.owner == old.euid:
            return False
        ns = ns.parent
    return True


def fix_user_change(new: Credentials, old: Credentials) -> None:
    """Capabilities after a change of user ids: who gives up user 0 gives them up (cap_task_fix_setuid)."""
    if new.securebits & NO_SETUID_FIXUP:
        return
    root = old.root
    before, after = (old.uid, old.euid, old.suid), (new.uid, new.euid, new.suid)
    if root in before and root not in after:
        if not new.securebits & KEEP_CAPS:
            new.permitted = new.effective = 0
        new.ambient = 0
    if old.euid == root and new.euid != root:
        new.effective = 0
    if old.euid != root and new.euid == root:
        new.effective = new.permitted


def fix_file_user_change(new: Credentials, old_fsuid: int) -> None:
    """Capabilities for files after setfsuid(2)."""
    if new.securebits & NO_SETUID_FIXUP:
        return
    root = new.root
    if old_fsuid == root and new.fsuid != root:
        new.effective &= ~FS_CAPABILITIES
    elif old_fsuid != root and new.fsuid == root:
        new.effective |= new.permitted & FS_CAPABILITIES


def _knows_owner(who: Credentials, inode: Inode) -> bool:
    """Whether the owner and the group of a file have numbers in a user namespace."""
    return who.up("uid", inode.uid) is not None and who.up("gid", inode.gid) is not None


def exec_credentials(old: Credentials, inode: Inode, *, set_ids: bool, unsafe: bool) -> NewProgram:
    """What a program gets (cap_bprm_creds_from_file).  ``set_ids``: set-ID bits count there; ``unsafe``: somebody could
    lead the program who may not have its rights, so that it gets no more than there were.  Capabilities of files do not
    count.
    """
    new = old.__copy__()
    bits = False
    if set_ids and inode.mode & _SET_IDS and not old.no_new_privs and _knows_owner(old, inode):
        if inode.mode & stat.S_ISUID:
            new.euid, bits = inode.uid, True
        if inode.mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP:
            new.egid, bits = inode.gid, True
    changed_ids = (new.euid, new.egid) != (old.euid, old.egid)
    root = new.root
    by_root = not new.securebits & NOROOT and root in (new.uid, new.euid)
    if by_root:
        new.permitted = (new.bounding | new.inheritable) & ALL_CAPABILITIES
    else:
        new.ambient = 0 if changed_ids else new.ambient
        new.permitted = new.ambient
    all_effective = not new.securebits & NOROOT and new.euid == root
    other_ids = (new.euid, new.egid) != (old.uid, old.gid)
    if unsafe and (other_ids or new.permitted & ~old.permitted):
        if not old.capable_here(SETUID):
            new.euid, new.egid = new.uid, new.gid
        new.permitted &= old.permitted
    new.effective = new.permitted if all_effective else new.ambient
    if changed_ids:
        new.ambient = 0
    new.suid = new.fsuid = new.euid
    new.sgid = new.fsgid = new.egid
    new.securebits &= ~KEEP_CAPS
    return NewProgram(new, other_ids, bits)


def may_signal(task: Task, target: Task, signo: int) -> bool:
    """Whether a task may send a signal to another: of its process, of its user, or SIGCONT in its session
    (check_kill_permission).
    """
    mine, theirs = task.credentials, target.credentials
    if task.group is target.group:
        return True
    if mine.landlock is not None and mine.landlock.is_scoped(theirs.landlock, SCOPE_SIGNAL):
        return False
    if mine.capable_in(KILL, theirs.user_ns):
        return True
    if not {mine.uid, mine.euid}.isdisjoint((theirs.uid, theirs.suid)):
        return True
    return signo == Sig.CONT and task.sid == target.sid
