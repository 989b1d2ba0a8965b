"""What Python raises inside a callback of an engine comes out where the engine was entered.

An exception cannot cross the engine's own frames: ctypes would print and drop what a callback raises, and the guest
would go on.  A callback of ours (:meth:`Guard.pointer`) therefore keeps it, stops the engine and answers something
harmless; :meth:`Guard.raise_failure` raises it again behind the engine.

Python calls the handlers of signals between any two instructions of Python, also where a callback has not reached its
``try`` yet, or has left it.  So while a guard is entered (``with guard``), what a handler raises while the engine runs
(:meth:`Guard.signals_wait_in` says where that is) is kept too: the callback that it came in goes on undisturbed, the
engine stops where that is exact, and it is raised at the end of the ``with``.  Elsewhere a handler raises where it is
called, as ever.  Only the main thread has handlers; what was installed before is called, and is installed again in the
end.

Engines may run in several threads, one guard for each; what one has installed in the main thread passes on all that is
of other threads.  There a callback that has no room to begin is told by the hook of before, as ever: the room that
``with`` makes sure of is what keeps this from happening.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal, which looks enumerations up, takes ten times as long
import ctypes
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from unicorn import Uc
from unicorn.unicorn_py3.unicorn import uclib

from mmu.record import field, record

_SIGNALS = tuple(int(number) for number in sorted(signal.valid_signals()))
#: Python frames that a callback needs before it can keep what is raised.
_ROOM = 20


def _make_sure_of(frames: int) -> None:
    """RecursionError if there is no room for so many frames of Python."""
    if frames:
        _make_sure_of(frames - 1)


@record(eq=False, repr=False)
class _Entered:
    """A ``with`` that is entered: what it has installed."""

    numbers: list[int] = field(default_factory=list)
    hooks: bool = False


class Guard:
    """Keeps what is raised in the callbacks of one engine."""

    def __init__(self, uc: Uc) -> None:
        self._uc: Any = uc
        #: Ends emulation for a signal, where that is exact; uc_emu_stop does it where nobody knows how.
        self.stop_soon: Callable[[], object] | None = None
        #: Whether an access that is being resolved is not to be made: a signal ends emulation, and uc_emu_stop would do
        #: so only behind the access, with RIP before it.
        self.refuses = False
        #: What a callback has raised, and what a handler of a signal has.
        self.failure: BaseException | None = None
        self.interruption: BaseException | None = None
        self._callbacks: list[Any] = []
        #: What we stand in for: handlers by signal, and sys.unraisablehook.
        self._handlers: dict[int, Any] = {}
        self._hook: Callable[[Any], object] = sys.unraisablehook
        self._thread = 0
        #: Every ``with`` that is entered: where there is one, the engine runs.
        self.runs: list[_Entered] = []
        #: Whether signals wait in these functions and in what they call.
        self._waiting = {function.__code__: True for function in (Guard.start, Guard.__enter__, Guard.__exit__)}

    # -- callbacks -------------------------------------------------------------------------------------------------

    def pointer(self, prototype: Any, function: Callable[..., Any], failed: int = 0) -> int:
        """A C function that calls ``function``, and answers ``failed`` where that raises."""

        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self.fail(error)
                return failed

        callback = prototype(guarded)
        self._callbacks.append(callback)
        return ctypes.cast(callback, ctypes.c_void_p).value or 0

    def fail(self, error: BaseException) -> None:
        """A callback raised this; of several the first is kept."""
        if self.failure is None:
            self.failure = error
        if self.stop_soon is not None:
            self.stop_soon()  # code that does not look for a stop
        uclib.uc_emu_stop(self._uc._uch)

    def raise_failure(self) -> None:
        """Raise what a callback has raised, if any did."""
        if self.failure is not None:
            error, self.failure = self.failure, None
            raise error

    def raise_interruption(self) -> None:
        """Raise what the handler of a signal has raised, if any did."""
        if self.interruption is not None:
            error, self.interruption, self.refuses = self.interruption, None, False
            raise error

    def signals_wait_in(self, function: Any, *, wait: bool = True) -> None:
        """Within this function, and what it calls, what handlers of signals raise is kept; with ``wait`` false not.

        The innermost function counts.  Nothing is paid for that until a signal comes.
        """
        self._waiting[function.__code__] = wait

    # -- running ---------------------------------------------------------------------------------------------------

    def start(self, begin: int) -> int:
        """uc_emu_start; its status.  Raises what was raised within."""
        with self:
            status = int(uclib.uc_emu_start(self._uc._uch, begin, 0, 0, 0))
            self.raise_failure()
        return status

    def __enter__(self) -> Guard:
        run = _Entered()
        try:
            _make_sure_of(_ROOM)
            self.runs.append(run)
            if threading.current_thread() is threading.main_thread():
                self._install(run)
        except BaseException:
            self._leave(run)
            raise
        return self

    def _install(self, run: _Entered) -> None:
        if sys.unraisablehook != self._unraisable:
            self._thread, self._hook = threading.get_ident(), sys.unraisablehook
            run.hooks = True
            sys.unraisablehook = self._unraisable
        for number in _SIGNALS:
            handler = _signal.getsignal(number)
            if callable(handler) and handler != self._on_signal:
                self._handlers[number] = handler
                run.numbers.append(number)
                _signal.signal(number, self._on_signal)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._leave(self.runs[-1])
        self.raise_interruption()

    def _leave(self, run: _Entered) -> None:
        """Put back what was there, except where somebody has put another one in its place."""
        try:
            if run.hooks and sys.unraisablehook == self._unraisable:
                sys.unraisablehook = self._hook
            run.hooks = False
            while run.numbers:
                number = run.numbers[-1]  # SIGINT, whose handler raises, is the last or nearly so
                if _signal.getsignal(number) == self._on_signal:
                    _signal.signal(number, self._handlers[number])
                run.numbers.pop()
        finally:
            if run.numbers:
                self._leave(run)
            elif run in self.runs:
                self.runs.remove(run)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers[number]
        while isinstance(outer := getattr(handler, "__self__", None), Guard):  # an engine in a callback of another one
            handler = outer._handlers[number]
        if not self._signals_wait(frame):
            handler(number, frame)
            return
        try:
            handler(number, frame)
        except BaseException as error:
            self._interrupt(error)

    def _signals_wait(self, frame: FrameType | None) -> bool:
        while frame is not None:
            wait = self._waiting.get(frame.f_code)
            if wait is not None:
                return wait
            frame = frame.f_back
        return False

    def _interrupt(self, error: BaseException) -> None:
        if self.interruption is not None and self.interruption is not error:
            error.__context__ = self.interruption
        self.interruption = error
        if self.stop_soon is not None:
            self.stop_soon()
        else:
            self.refuses = True
            uclib.uc_emu_stop(self._uc._uch)

    def _unraisable(self, what: Any) -> None:
        """sys.unraisablehook, for what is left: a callback that could not even begin, a hook of the user's whose
        result is none, and a Ctrl-C that came in a ``__del__``.
        """
        error = what.exc_value
        if error is None or threading.get_ident() != self._thread:
            self._hook(what)
        elif "ctypes callback function" in (what.err_msg or "") and self._signals_wait(sys._getframe()):
            if self._uc._hook_exception is None:  # Unicorn's own wrapper keeps it there, and then returns None
                self.fail(error)
        elif not isinstance(error, Exception):
            self._interrupt(error)
        else:
            self._hook(what)
