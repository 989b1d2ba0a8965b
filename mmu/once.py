"""What is made once a process, also where several threads ask for it at the same moment."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Once(Generic[R]):
    """A function whose result is made once for each argument, by whoever asks first; the others wait for it.

    functools.cache alone would call it in each of these threads, and forget all results but one.  What raises is
    called again by the next one who asks.

    >>> @Once
    ... def made(name):
    ...     print("making", name)
    ...     return name.upper()
    >>> made("a"), made("a")
    making a
    ('A', 'A')
    """

    def __init__(self, function: Callable[..., R]) -> None:
        self.__wrapped__ = function
        functools.update_wrapper(self, function)
        self._results: dict[Any, R] = {}
        # a handler of a signal may come in between and ask for the same
        self._lock = threading.RLock()

    def made(self, *arguments: Any) -> R | None:
        """The result for these arguments, if there is one."""
        return self._results.get(arguments)

    def __call__(self, *arguments: Any) -> R:
        if arguments in self._results:
            return self._results[arguments]
        with self._lock:
            if arguments in self._results:
                return self._results[arguments]
            return self._results.setdefault(arguments, self.__wrapped__(*arguments))
