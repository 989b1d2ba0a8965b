"""The entry point of the ``unimmu`` process, which imports next to nothing before Ctrl-C is dealt with."""

import _signal  # type: ignore[import-not-found]  # signal, which looks enumerations up, takes ten times as long
import gc
import os
import sys


class _WithoutPandas:
    """Finds no pandas where it is installed: pyarrow would import it, for 0.4 s, only to ask whether a number that it
    is given is a Series."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """What is asked first for a module."""
        if name == "pandas":
            raise ModuleNotFoundError("commands that read traces need no pandas", name=name)


def main() -> int:
    """The ``unimmu`` command.  A Ctrl-C while its modules are imported ends the process as the signal does by itself:
    at once, and without a traceback.  One that was ignored before stays so.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        # We compute no linear algebra: numpy need not start a thread for each CPU.  For C alone: a guest's environment
        # may be a copy of os.environ.
        os.putenv("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # there is no garbage while modules are imported, and looking for it is a tenth of the start
    from emu.cli.lean import import_basics

    import_basics()
    if sys.argv[1:2] == ["trace"]:
        sys.meta_path.insert(0, _WithoutPandas)
    bytecode = None
    if sys.argv[1:2] == ["run"]:
        from emu.cli.bytecode import Bytecode

        bytecode = Bytecode()
        bytecode.begin()
    from emu.cli import main as command

    return command.main(at_end=None if bytecode is None else bytecode.keep)


if __name__ == "__main__":
    main()
