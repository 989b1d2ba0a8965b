"""Keys: who has each, and what each user's count with, checked against a count of the keyrings."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from emu.audit.books import Books

if TYPE_CHECKING:
    from emu.ipc.key import Key
    from emu.kernel.kernel import Kernel


def check_keys(books: Books, kernel: Kernel) -> None:
    """Count who holds each key, which keyrings have a link to it, and what each user has."""
    keys = kernel.__dict__.get("keys")
    if keys is None:
        return
    holders: Counter[Key | None] = Counter(ring for pair in keys.of_users.values() for ring in pair)
    holders.update(task.thread_keyring for task in kernel.tasks.values())
    for group in {task.group for task in kernel.tasks.values()}:
        holders.update((group.process_keyring, group.session_keyring))
    links = Counter(key for ring in keys.all.values() for key in ring.links.values())
    for key in {*keys.all.values(), *links, *holders} - {None}:
        if (key.holders, len(key.rings)) != (holders[key], links[key]):
            books.say(
                f"key {key.serial:#x} counts {key.holders} holders and {len(key.rings)} keyrings, and there are "
                f"{holders[key]} and {links[key]}"
            )
        if key.serial not in keys.all or not (key.holders or key.rings):
            books.say(f"key {key.serial:#x} is known, and nobody has it, or the other way round")
    counted = {uid: (user.keys, user.bytes) for uid, user in keys.users.items()}
    owned: dict[int, tuple[int, int]] = {}
    for key in keys.all.values():
        number, size = owned.get(key.uid, (0, 0))
        owned[key.uid] = number + 1, size + key.quota
    if counted != owned:
        books.say(f"keys and their bytes by user are counted as {counted}, and there are {owned}")
