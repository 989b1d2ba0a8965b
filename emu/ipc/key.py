"""A key, and a keyring, which has links to others (include/linux/key.h)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emu.mm.kmem import KEY_LINK, KEY_STRUCT

if TYPE_CHECKING:
    from emu.linux.caller import Credentials

#: KEY_NEED_*, one group of bits of a key's permissions.
VIEW, READ, WRITE, SEARCH, LINK, SETATTR = 1, 2, 4, 8, 0x10, 0x20
ALL = 0x3F
POSSESSOR, USER, GROUP = 24, 16, 8
PERMISSIONS = 0x3F3F3F3F
#: Types that programs may use.
KEYRING, USER_TYPE, LOGON = "keyring", "user", "logon"
TYPES = frozenset({KEYRING, USER_TYPE, LOGON})
#: How deep a search goes into keyrings in a keyring (KEYRING_SEARCH_MAX_DEPTH).
DEEPEST = 6
#: KEYQUOTA_LINK_BYTES: what a place in a keyring counts.
LINK_QUOTA = 4


class Key:
    """A key; a keyring has links to others, by type and description."""

    def __init__(self, serial: int, kind: str, description: str, uid: int, gid: int, perm: int) -> None:
        self.serial = serial
        self.kind = kind
        self.description = description
        self.uid, self.gid, self.perm = uid, gid, perm
        self.payload = b""
        self.links: dict[tuple[str, str], Key] = {}
        #: Those of the links that are keyrings.
        self.nested: dict[tuple[str, str], Key] = {}
        #: The keyrings with a link to it, and how many others hold it.
        self.rings: dict[Key, None] = {}
        self.holders = 0
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
        """What it counts with for its user's quota, in bytes (quotalen)."""
        return len(self.description) + 1 + len(self.payload) + LINK_QUOTA * len(self.links)

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

    def around(self) -> set[Key]:
        """Itself, and the keyrings from which it can be reached, each once, by however many ways."""
        found = level = {self}
        for _ in range(DEEPEST + 1):
            level = {ring for key in level for ring in key.rings} - found
            found = found | level
        return found

    def is_found_from(self, rings: Sequence[Key], who: Credentials) -> bool:
        """Whether a search that begins in one of these keyrings, which are possessed, finds it: it, and each keyring on
        the way, can be searched.
        """
        found = level = {self} if self.allows(SEARCH, who, True) else set()
        for _ in range(DEEPEST + 2):
            if any(ring in level for ring in rings):
                return True
            level = {ring for key in level for ring in key.rings if ring.allows(SEARCH, who, True)} - found
            found = found | level
        return False

    @property
    def is_too_deep(self) -> bool:
        """Whether there are more keyrings in one another inside it than a search goes through."""
        level = {self}
        for _ in range(DEEPEST + 1):
            level = {ring for key in level for ring in key.nested.values()}
        return bool(level)

    def get(self) -> Key:
        """One more holds it (:meth:`emu.ipc.keys.Keys.put`)."""
        self.holders += 1
        return self

    def put_in(self, key: Key) -> None:
        """Have a link to a key, in place of one with its name."""
        old = self.links.get(key.place)
        if old is not None:
            del old.rings[self]
        self.links[key.place] = key
        key.rings[self] = None
        if key.is_ring:
            self.nested[key.place] = key

    def take_out(self, place: tuple[str, str]) -> Key:
        """Have no link of this name any more; returns the key."""
        key = self.links.pop(place)
        self.nested.pop(place, None)
        del key.rings[self]
        return key
