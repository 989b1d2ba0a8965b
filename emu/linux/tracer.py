"""Who is told of what happens to memory: tables that are linked, TLBs that are shot down."""

from __future__ import annotations

from typing import Any


class EventTracer:
    """Base of every recorder, as memory management and modules know it.  This one records nothing."""

    #: Whether :meth:`event` does anything, so that callers need not gather the fields in vain.
    active = False

    def event(self, kind: str, **fields: Any) -> None:
        """An event, for instance a table that is linked; field values are ints, strings, None or lists of ints.

        Names that end with "addr", "entry", "before" or "after" are those of addresses and page-table entries; ``pid``
        is the process that it happened to.
        """
