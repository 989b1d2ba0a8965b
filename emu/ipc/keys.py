"""Keys and keyrings, which the kernel keeps for programs (security/keys)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.mm.kmem import KEY_LINK, KEY_STRUCT

if TYPE_CHECKING:
    from emu.linux.caller import Credentials
    from emu.linux.clock import Clock
    from emu.mm.kmem import Kmem

#: KEY_NEED_*, one group of bits of a key's permissions.
VIEW, READ, WRITE, SEARCH, LINK, SETATTR = 1, 2, 4, 8, 0x10, 0x20
ALL = 0x3F
POSSESSOR, USER, GROUP = 24, 16, 8
PERMISSIONS = 0x3F3F3F3F
#: Types that programs may use.
KEYRING, USER_TYPE, LOGON = "keyring", "user", "logon"
TYPES = frozenset({KEYRING, USER_TYPE, LOGON})
_MOST_PAYLOAD = 32767
_DEEPEST = 6
#: /proc/sys/kernel/keys: keys and bytes of a user, and of root.
_MAX_KEYS, _MAX_BYTES, _ROOT_MAX_KEYS, _ROOT_MAX_BYTES = 200, 20000, 1_000_000, 25_000_000
#: KEYQUOTA_LINK_BYTES: what a place in a keyring counts.
_LINK_QUOTA = 4
_NS = 1_000_000_000


class Key:
    """A key; a keyring has links to others, by type and description."""

    def __init__(self, serial: int, kind: str, description: str, uid: int, gid: int, perm: int) -> None:
        self.serial = serial
        self.kind = kind
        self.description = description
        self.uid, self.gid, self.perm = uid, gid, perm
        self.payload = b""
        self.links: dict[tuple[str, str], Key] = {}
        self.revoked = self.invalid = False
        #: On the machine's clock, in ns.
        self.expires: int | None = None

    @property
    def is_ring(self) -> bool:
        """Whether it is a keyring."""
        return self.kind == KEYRING

    @property
    def place(self) -> tuple[str, str]:
        """By what a keyring knows it."""
        return self.kind, self.description

    @property
    def charged(self) -> int:
        """What it takes on the host."""
        return KEY_STRUCT + 2 * len(self.description) + len(self.payload) + KEY_LINK * len(self.links)

    @property
    def quota(self) -> int:
        """What it counts with for its user's quota, in bytes."""
        return len(self.description) + 1 + len(self.payload) + _LINK_QUOTA * len(self.links)

    def allows(self, need: int, who: Credentials, possessed: bool) -> bool:
        """key_task_permission()."""
        if self.uid == who.fsuid:
            perm = self.perm >> USER
        elif self.perm >> GROUP & ALL and who.in_group(self.gid):
            perm = self.perm >> GROUP
        else:
            perm = self.perm
        if possessed:
            perm |= self.perm >> POSSESSOR
        return not need & ~perm

    def inside(self) -> set[Key]:
        """Itself, and what can be reached from it; each once, by however many ways."""
        found = level = {self}
        for _ in range(_DEEPEST):
            level = {key for ring in level for key in ring.links.values()} - found
            found = found | level
        return found


class Keys:
    """All keys of a machine."""

    def __init__(self, clock: Clock, kmem: Kmem, first: int) -> None:
        self._clock = clock
        self._kmem = kmem
        self._next = first
        self.all: dict[int, Key] = {}
        #: ``_uid.N`` and ``_uid_ses.N``.
        self._of_users: dict[int, tuple[Key, Key]] = {}

    @property
    def charged(self) -> int:
        """What all keys take on the host."""
        return sum(key.charged for key in self.all.values())

    def make(self, kind: str, description: str, uid: int, gid: int, perm: int, payload: bytes = b"") -> Key:
        """A new key, in no keyring yet.  LinuxError(EDQUOT, ENOMEM)."""
        self._next += 1
        key = Key(self._next, kind, description, uid, gid, perm)
        key.payload = payload
        self._check_quota(uid, 1, key.quota)
        self._kmem.charge(key.charged)
        self.all[key.serial] = key
        return key

    def _check_quota(self, uid: int, keys: int, size: int) -> None:
        own = [key for key in self.all.values() if key.uid == uid]
        most_keys, most_bytes = (_MAX_KEYS, _MAX_BYTES) if uid else (_ROOT_MAX_KEYS, _ROOT_MAX_BYTES)
        if len(own) + keys > most_keys or sum(key.quota for key in own) + size > most_bytes:
            raise LinuxError(errno.EDQUOT)

    def store(self, key: Key, payload: bytes) -> None:
        """Give a key another payload.  LinuxError(EDQUOT, ENOMEM)."""
        more = len(payload) - len(key.payload)
        if more > 0:
            self._check_quota(key.uid, 0, more)
        self._kmem.charge(more)
        key.payload = payload
        key.expires = None

    def sweep(self, anchors: set[Key]) -> None:
        """Forget what nobody can reach (key_gc): it is in no keyring, or no longer valid."""
        live: set[Key] = set()
        pending = [*anchors, *(key for pair in self._of_users.values() for key in pair)]
        while pending:
            key = pending.pop()
            if key in live:
                continue
            live.add(key)
            for place, linked in list(key.links.items()):
                if linked.invalid:
                    self._take_out(key, place)
                else:
                    pending.append(linked)
        for key in [key for key in self.all.values() if key not in live]:
            self._kmem.uncharge(key.charged)
            del self.all[key.serial]

    def user_rings(self, uid: int) -> tuple[Key, Key]:
        """The user's keyring, and the user's session keyring, which has a link to it."""
        pair = self._of_users.get(uid)
        if pair is None:
            perm = (ALL & ~SETATTR) << POSSESSOR | ALL << USER
            own = self.make(KEYRING, f"_uid.{uid}", uid, 0xFFFE, perm)
            session = self.make(KEYRING, f"_uid_ses.{uid}", uid, 0xFFFE, perm)
            self.link(session, own)
            pair = self._of_users[uid] = own, session
        return pair

    def error_of(self, key: Key) -> int:
        """Why a key cannot be used, 0 if it can (key_validate)."""
        if key.invalid:
            return errno.ENOKEY
        if key.revoked:
            return errno.EKEYREVOKED
        if key.expires is not None and key.expires <= self._clock.now_ns():
            return errno.EKEYEXPIRED
        return 0

    def expire(self, key: Key, seconds: int) -> None:
        """KEYCTL_SET_TIMEOUT; 0 takes the timeout away."""
        key.expires = self._clock.now_ns() + seconds * _NS if seconds else None

    def search(self, ring: Key, kind: str, description: str, who: Credentials) -> Key | None:
        """Find a key in a keyring and those inside.  LinuxError for one that is there and cannot be used."""
        return self._search(ring, kind, description, who, 0, {})

    def _search(
        self, ring: Key, kind: str, description: str, who: Credentials, depth: int, seen: dict[Key, int]
    ) -> Key | None:
        """``seen``: how deep keyrings were from which nothing came; nothing more comes from one as deep."""
        if seen.get(ring, depth + 1) <= depth:
            return None
        seen[ring] = depth
        problem = 0
        found = ring.links.get((kind, description))
        if found is not None and found.allows(SEARCH, who, True):
            problem = self.error_of(found)
            if not problem:
                return found
        if depth < _DEEPEST:
            for key in ring.links.values():
                if key.is_ring and key is not found and not self.error_of(key) and key.allows(SEARCH, who, True):
                    try:
                        inner = self._search(key, kind, description, who, depth + 1, seen)
                    except LinuxError as error:
                        problem = problem or error.errno
                        continue
                    if inner is not None:
                        return inner
        if problem:
            raise LinuxError(problem)
        return None

    def link(self, ring: Key, key: Key) -> None:
        """Put a key into a keyring, in place of one with its name.  LinuxError(EDEADLK, EDQUOT, ENOMEM)."""
        if key.is_ring and ring in key.inside():
            raise LinuxError(errno.EDEADLK)
        if key.place not in ring.links:
            self._check_quota(ring.uid, 0, _LINK_QUOTA)
            self._kmem.charge(KEY_LINK)
        ring.links[key.place] = key

    def unlink(self, ring: Key, key: Key) -> None:
        """Take a key out of a keyring.  LinuxError(ENOENT)."""
        if ring.links.get(key.place) is not key:
            raise LinuxError(errno.ENOENT)
        self._take_out(ring, key.place)

    def _take_out(self, ring: Key, place: tuple[str, str]) -> None:
        del ring.links[place]
        self._kmem.uncharge(KEY_LINK)

    def clear(self, ring: Key) -> None:
        """Take every key out of a keyring."""
        self._kmem.uncharge(KEY_LINK * len(ring.links))
        ring.links.clear()


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
