"""The interface for reporting memory events: tables that are linked, TLBs that are shot down."""

from __future__ import annotations

from typing import Any


class EventTracer:
    """Base of every recorder, as memory management and modules see it.  This one records nothing."""

    #: Whether :meth:`event` does anything; if not, callers need not gather the fields.
    active = False

    def event(self, kind: str, *, pid: int | None = None, **fields: Any) -> None:
        """An event, for instance a table that is linked, with the fields that the row of its kind declares
        (:mod:`emu.linux.event_kind`); ``pid`` is the process that the event concerns.
        """

    def populated(self, host: Any, address: int, pid: int) -> None:
        """A process has had a page put into the tables of an address space that others share; called only where
        :attr:`active` is set."""
