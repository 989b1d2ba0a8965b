"""The region of interest: the parts of a run that are recorded and counted."""

from __future__ import annotations

from collections.abc import Callable


class Region:
    """Whether what happens now is within the region; without one, everything is.

    Two say so, and both must: a switch, which is /sys/kernel/tracing/tracing_on, and the marks of programs
    (:meth:`begin`, :meth:`end`); and whoever watches the code that runs (:meth:`set_inside`).

    >>> region = Region()
    >>> region.on_change.append(lambda: print(region.on))
    >>> region.switch(False)
    False
    >>> region.begin(); region.begin(); region.end(); region.end()
    True
    False
    >>> region.entered
    1
    """

    def __init__(self) -> None:
        #: Whether it is on.
        self.on = True
        self.switched_on = True
        self._inside = True
        #: How many begins there were without an end.
        self._depth = 0
        #: How often it was entered: a switch from one thread to another within it is none.
        self.entered = 0
        #: How many instructions of the block that runs, from here on, have been counted already.
        self.ahead = 0
        #: Called when it begins or ends.
        self.on_change: list[Callable[[], object]] = []
        #: Called before, each time that it is entered.
        self.on_enter: Callable[[], object] = lambda: None

    def enter(self) -> None:
        """It is about to be entered."""
        self.entered += 1
        self.on_enter()

    def switch(self, on: bool) -> None:
        """Begin or end it, however many begins there were."""
        if on and not self.switched_on:
            self.enter()
        self._depth, self.switched_on = int(on), on
        self._look()

    def begin(self) -> None:
        """Begin it, within another such pair perhaps."""
        self._depth += 1
        if not self.switched_on:
            self.enter()
            self.switched_on = True
            self._look()

    def end(self) -> None:
        """Undo a begin; one without it does nothing."""
        if self._depth:
            self._depth -= 1
            self.switched_on = self._depth > 0
            self._look()

    def set_inside(self, inside: bool) -> None:
        """Whether the code that runs now is within it."""
        self._inside = inside
        self._look()

    def _look(self) -> None:
        on = self.switched_on and self._inside
        if on != self.on:
            self.on = on
            for call in self.on_change:
                call()
