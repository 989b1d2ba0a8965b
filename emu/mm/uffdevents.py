"""Changes of registered mappings that a monitor asked to be told of: fork, mremap, discarding and munmap
(userfaultfd_event_wait_completion of fs/userfaultfd.c).  Who makes the change goes on when the event has been read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.mm.flags import UFFD_FLAGS
from emu.mm.userfault import Event, Features, UserfaultContext, Waiting, message

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


def tell(mm: AddressSpace, context: UserfaultContext, event: Event, *words: int) -> None:
    """Tell of a change and wait until that has been read; not if the process is being killed, or nobody listens any
    more.  NoIntr if the run is to end.
    """
    if context.released:
        return
    waiting = Waiting(0, message(event, *words))
    context.add_event(waiting)
    try:
        mm.context.wait_event(waiting)
    finally:
        context.forget(waiting)
        context.changing -= 1


def removed(mm: AddressSpace, vma: Vma, start: int, end: int) -> bool:
    """Pages are about to be discarded (userfaultfd_remove); whether somebody was told, so that mappings may have
    changed meanwhile.
    """
    if vma.uffd is None or not vma.uffd.has(Features.EVENT_REMOVE):
        return False
    tell(mm, vma.uffd, Event.REMOVE, start, end)
    return True


def note_unmapped(mm: AddressSpace, start: int, end: int) -> None:
    """[start, end) is about to be unmapped: :func:`complete` tells of it (userfaultfd_unmap_prep)."""
    contexts = dict.fromkeys(vma.uffd for vma in mm.vmas.overlapping(start, end) if vma.uffd is not None)
    for context in contexts:
        if context is not None and context.has(Features.EVENT_UNMAP):
            mm.unmapped.append((context, start, end))


def complete(mm: AddressSpace) -> None:
    """Tell of what was unmapped and moved, now that this is done."""
    while mm.moved:
        context, old, new, length = mm.moved.pop(0)
        tell(mm, context, Event.REMAP, old, new, length)
    while mm.unmapped:
        context, start, end = mm.unmapped.pop(0)
        tell(mm, context, Event.UNMAP, start, end)


def dup(child: AddressSpace) -> list[tuple[UserfaultContext, UserfaultContext]]:
    """After fork: mappings whose userfaultfd wants to know of it have one of their own in the child (dup_userfaultfd);
    returns both of each.
    """
    pairs: dict[UserfaultContext, UserfaultContext] = {}
    for vma in child.vmas:
        if vma.uffd is None:
            continue
        made = pairs.get(vma.uffd)
        if made is None:
            made = UserfaultContext(child, user_mode_only=vma.uffd.user_mode_only)
            made.features = vma.uffd.features
            pairs[vma.uffd] = made
        vma.uffd = made
    return list(pairs.items())


def dup_complete(
    parent: AddressSpace, child: AddressSpace, pairs: list[tuple[UserfaultContext, UserfaultContext]]
) -> None:
    """Tell each monitor of its new userfaultfd (dup_userfaultfd_complete); one that nobody takes is released."""
    for context, made in pairs:
        waiting = Waiting(0, message(Event.FORK), made=(made, child))
        if not context.released:
            context.add_event(waiting)
            try:
                parent.context.wait_event(waiting)
            finally:
                context.forget(waiting)
                context.changing -= 1
        if not waiting.taken:
            for vma in child.vmas:
                if vma.uffd is made:
                    vma.uffd, vma.flags = None, vma.flags & ~UFFD_FLAGS
