"""The entry point of the ``unimmu`` process, which imports next to nothing before Ctrl-C is dealt with."""

import _signal  # type: ignore[import-not-found]  # signal, which looks enumerations up, takes ten times as long


def main() -> int:
    """The ``unimmu`` command.  A Ctrl-C while its modules are imported ends the process as the signal does by itself:
    at once, and without a traceback.  One that was ignored before stays so.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from emu.cli import main as command

    return command.main()
