"""The keys that the kernel keeps for programs (security/keys): who has how many, and which go when nobody has them."""

from __future__ import annotations

import errno
import heapq
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.ipc.key import ALL, DEEPEST, KEYRING, LINK_QUOTA, LOGON, POSSESSOR, SEARCH, SETATTR, TYPES, USER, Key
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.mm.kmem import KEY_LINK

if TYPE_CHECKING:
    from emu.linux.caller import Credentials
    from emu.linux.clock import Clock
    from emu.mm.kmem import Kmem

_MOST_PAYLOAD = 32767
#: /proc/sys/kernel/keys: keys and bytes of a user, and of root.
_MAX_KEYS, _MAX_BYTES, _ROOT_MAX_KEYS, _ROOT_MAX_BYTES = 200, 20000, 1_000_000, 25_000_000
_NS = 1_000_000_000
#: How long a key that has expired stays in its keyrings (/proc/sys/kernel/keys/gc_delay).
_GC_DELAY_NS = 300 * _NS


class KeyUser:
    """What the keys of one user come to (struct key_user)."""

    def __init__(self, uid: int) -> None:
        self.keys = self.bytes = 0
        self._most = (_MAX_KEYS, _MAX_BYTES) if uid else (_ROOT_MAX_KEYS, _ROOT_MAX_BYTES)

    def check(self, keys: int, size: int) -> None:
        """LinuxError(EDQUOT) where so many more are too many."""
        most_keys, most_bytes = self._most
        if self.keys + keys > most_keys or self.bytes + size > most_bytes:
            raise LinuxError(errno.EDQUOT)


class Keys:
    """All keys of a machine.  One goes when no keyring has a link to it, and nobody else holds it."""

    def __init__(self, clock: Clock, kmem: Kmem, first: int) -> None:
        self._clock = clock
        self._kmem = kmem
        self._next = first
        self.all: dict[int, Key] = {}
        #: Keyrings by their names, oldest first.
        self._rings: defaultdict[str, dict[Key, None]] = defaultdict(dict)
        self.users: dict[int, KeyUser] = {}
        #: ``_uid.N`` and ``_uid_ses.N``.
        self.of_users: dict[int, tuple[Key, Key]] = {}
        #: When keys go that expire, soonest first: the time, and the number of the key.
        self._expiring: list[tuple[int, int]] = []

    @property
    def charged(self) -> int:
        """What all keys take on the host."""
        return sum(key.charged for key in self.all.values())

    def _check_quota(self, uid: int, keys: int, size: int) -> None:
        (self.users.get(uid) or KeyUser(uid)).check(keys, size)

    def _count(self, uid: int, keys: int, size: int) -> None:
        """A user has so many keys and bytes more, or less."""
        user = self.users.setdefault(uid, KeyUser(uid))
        user.keys += keys
        user.bytes += size
        if not user.keys:
            del self.users[uid]

    # -- coming and going --------------------------------------------------------------------------------------------

    def make(self, kind: str, description: str, uid: int, gid: int, perm: int, payload: bytes = b"") -> Key:
        """A new key, which the caller holds (:meth:`put`).  LinuxError(EDQUOT, ENOMEM)."""
        self._next += 1
        key = Key(self._next, kind, description, uid, gid, perm)
        key.payload, key.holders = payload, 1
        self._check_quota(uid, 1, key.quota)
        self._kmem.charge(key.charged)
        self._count(uid, 1, key.quota)
        self.all[key.serial] = key
        if key.is_ring:
            self._rings[description][key] = None
        return key

    def put(self, key: Key | None) -> None:
        """One less does (key_put)."""
        if key is not None:
            key.holders -= 1
            self._drop_unused([key])

    def _drop_unused(self, keys: list[Key]) -> None:
        """Those of the keys go that nobody has, and what only these had (key_gc_unused_keys)."""
        while keys:
            key = keys.pop()
            if key.holders or key.rings or key.serial not in self.all:
                continue
            del self.all[key.serial]
            self._kmem.uncharge(key.charged)
            self._count(key.uid, -1, -key.quota)
            if key.is_ring:
                self._forget_name(key)
                keys += [key.take_out(place) for place in list(key.links)]

    def _forget_name(self, ring: Key) -> None:
        named = self._rings[ring.description]
        del named[ring]
        if not named:
            del self._rings[ring.description]

    def collect(self) -> None:
        """Keys go that expired long ago (key_gc_timer).  For the beginning of a call."""
        now, expiring = self._clock.now_ns(), self._expiring
        while expiring and expiring[0][0] <= now:
            due, serial = heapq.heappop(expiring)
            key = self.all.get(serial)
            if key is not None and key.expires is not None and key.expires + _GC_DELAY_NS == due:
                self._take_out_everywhere(key)

    def invalidate(self, key: Key) -> None:
        """KEYCTL_INVALIDATE: it goes out of each keyring."""
        key.invalid = True
        self._take_out_everywhere(key)

    def _take_out_everywhere(self, key: Key) -> None:
        for ring in list(key.rings):
            self._take_out(ring, key.place)
        self._drop_unused([key])

    # -- changes -----------------------------------------------------------------------------------------------------

    def store(self, key: Key, payload: bytes) -> None:
        """Give a key another payload.  LinuxError(EDQUOT, ENOMEM)."""
        more = len(payload) - len(key.payload)
        if more > 0:
            self._check_quota(key.uid, 0, more)
        self._kmem.charge(more)
        self._count(key.uid, 0, more)
        key.payload = payload
        key.expires = None

    def give_to(self, key: Key, uid: int) -> None:
        """It counts for another user from now on (keyctl_chown_key).  LinuxError(EDQUOT)."""
        if uid != key.uid:
            self._check_quota(uid, 1, key.quota)
            self._count(uid, 1, key.quota)
            self._count(key.uid, -1, -key.quota)
            key.uid = uid

    def expire(self, key: Key, seconds: int) -> None:
        """KEYCTL_SET_TIMEOUT; 0 takes the timeout away."""
        key.expires = self._clock.now_ns() + seconds * _NS if seconds else None
        if key.expires is None:
            return
        if len(self._expiring) > 2 * len(self.all):  # most of them are of keys that have gone, or another time
            times = [(at, each.expires) for at, each in self.all.items()]
            self._expiring = [(expires + _GC_DELAY_NS, at) for at, expires in times if expires is not None]
            heapq.heapify(self._expiring)
        else:
            heapq.heappush(self._expiring, (key.expires + _GC_DELAY_NS, key.serial))

    def link(self, ring: Key, key: Key) -> None:
        """Put a key into a keyring, in place of one with its name.  LinuxError(EDEADLK, ELOOP, EDQUOT, ENOMEM)."""
        if key.is_ring:
            if key in ring.around():
                raise LinuxError(errno.EDEADLK)
            if key.is_too_deep:
                raise LinuxError(errno.ELOOP)
        old = ring.links.get(key.place)
        if old is None:
            self._check_quota(ring.uid, 0, LINK_QUOTA)
            self._kmem.charge(KEY_LINK)
            self._count(ring.uid, 0, LINK_QUOTA)
        ring.put_in(key)
        if old is not None:
            self._drop_unused([old])

    def unlink(self, ring: Key, key: Key) -> None:
        """Take a key out of a keyring.  LinuxError(ENOENT)."""
        if ring.links.get(key.place) is not key:
            raise LinuxError(errno.ENOENT)
        self._take_out(ring, key.place)
        self._drop_unused([key])

    def _take_out(self, ring: Key, place: tuple[str, str]) -> Key:
        self._kmem.uncharge(KEY_LINK)
        self._count(ring.uid, 0, -LINK_QUOTA)
        return ring.take_out(place)

    def clear(self, ring: Key) -> None:
        """Take every key out of a keyring."""
        self._drop_unused([self._take_out(ring, place) for place in list(ring.links)])

    # -- finding -----------------------------------------------------------------------------------------------------

    def user_rings(self, uid: int) -> tuple[Key, Key]:
        """The user's keyring, and the user's session keyring, which has a link to it.  LinuxError(EDQUOT, ENOMEM)."""
        pair = self.of_users.get(uid)
        if pair is None:
            perm = (ALL & ~SETATTR) << POSSESSOR | ALL << USER
            made: list[Key] = []
            try:
                for name in (f"_uid.{uid}", f"_uid_ses.{uid}"):
                    made.append(self.make(KEYRING, name, uid, 0xFFFE, perm))
                own, session = made
                self.link(session, own)
            except LinuxError:
                for key in made:
                    self.put(key)
                raise
            pair = self.of_users[uid] = own, session
        return pair

    def find_ring(self, name: str, who: Credentials) -> Key | None:
        """The oldest keyring of a name that may be searched (find_keyring_by_name)."""
        named = self._rings.get(name, ())
        return next((ring for ring in named if ring.allows(SEARCH, who, False)), None)

    def error_of(self, key: Key) -> int:
        """Why a key cannot be used, 0 if it can (key_validate)."""
        if key.invalid:
            return errno.ENOKEY
        if key.revoked:
            return errno.EKEYREVOKED
        if key.expires is not None and key.expires <= self._clock.now_ns():
            return errno.EKEYEXPIRED
        return 0

    def search(self, ring: Key, kind: str, description: str, who: Credentials, *, possessed: bool = True) -> Key | None:
        """Find a key in a keyring, which is ``possessed`` or not, and those inside.  LinuxError for one that is there
        and cannot be used, and EACCES for a keyring that may not be searched.
        """
        if not ring.allows(SEARCH, who, possessed):
            raise LinuxError(errno.EACCES)
        return self._search(ring, (kind, description), lambda key: key.allows(SEARCH, who, possessed), 0, {})

    def _search(
        self, ring: Key, place: tuple[str, str], allowed: Callable[[Key], bool], depth: int, seen: dict[Key, int]
    ) -> Key | None:
        """``seen``: how deep keyrings were from which nothing came; nothing more comes from one as deep."""
        if seen.get(ring, depth + 1) <= depth:
            return None
        seen[ring] = depth
        problem = 0
        found = ring.links.get(place)
        if found is not None:
            problem = self.error_of(found) or (0 if allowed(found) else errno.EACCES)
            if not problem:
                return found
        if depth < DEEPEST:
            for key in ring.nested.values():
                if key is not found and not self.error_of(key) and allowed(key):
                    try:
                        inner = self._search(key, place, allowed, depth + 1, seen)
                    except LinuxError as error:
                        problem = problem or error.errno
                        continue
                    if inner is not None:
                        return inner
        if problem:
            raise LinuxError(problem)
        return None


def check_payload(kind: str, description: str, payload: bytes) -> None:
    """What each type takes (its preparse operation).  LinuxError(ENODEV, EINVAL)."""
    if kind not in TYPES:
        raise LinuxError(errno.ENODEV)
    if kind == KEYRING:
        if payload:
            raise LinuxError(errno.EINVAL)
        return
    if not 0 < len(payload) <= _MOST_PAYLOAD:
        raise LinuxError(errno.EINVAL)
    if kind == LOGON and description.find(":") < 1:
        raise LinuxError(errno.EINVAL)


def may_administer(who: Credentials) -> bool:
    """Whether keys of others may be given away."""
    return who.capable(SYS_ADMIN)
