"""Loading the entry points of a module: from the object cache (native mode) or as ctypes callbacks (reference mode)."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmu.codekey import key
from mmu.native import CTYPES, EntryPoint, entry_points, reference_mode

if TYPE_CHECKING:
    from mmu.guard import Guard


class CompileError(RuntimeError):
    """The native code could not be compiled or loaded; the message holds what the compiler said."""


class Function:
    """A loaded entry point: ``address`` for C, and callable from Python (records are given as addresses)."""

    def __init__(self, address: int, call: Any, keep: Any = None) -> None:
        self.address = address
        self.call = call
        self._keep = keep

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)


class Library:
    """The entry points of one module, by name.

    ``guards`` has the guard of each engine, by its address: in reference mode a hook may raise anything.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.functions: dict[str, Function] = {}
        self.guards: weakref.WeakValueDictionary[int, Guard] = weakref.WeakValueDictionary()
        self._keep: list[Any] = []

    def __getitem__(self, name: str) -> Function:
        return self.functions[name]


def _reference(module: ModuleType) -> Library:
    library = Library("reference")
    for name, entry in entry_points(module).items():
        call = _plain(entry)
        callback = entry.prototype()(_guarded(call, library))
        address = ctypes.cast(callback, ctypes.c_void_p).value
        assert address is not None
        library.functions[name] = Function(address, call, callback)
    return library


def _plain(entry: EntryPoint) -> Any:
    """The function as Python, with the conversions of its C types."""
    result, *parameters = entry.signature
    assert isinstance(result, str)
    convert = [(lambda a, c=CTYPES[p]: c(a).value) if isinstance(p, str) else p.from_address for p in parameters]
    function, result_type = entry.function, CTYPES[result]

    def call(*arguments: Any) -> Any:
        value = function(*(c(a) for c, a in zip(convert, arguments, strict=True)))
        return None if result_type is None else result_type(value).value

    return call


def _guarded(function: Any, library: Library) -> Any:
    """The function for C: Unicorn gives its hooks the engine first."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except BaseException as error:
            guard = library.guards.get(arguments[0])
            if guard is None:
                raise
            guard.fail(error)
            return 0

    return call


def cache_directory() -> pathlib.Path:
    """``$UNIMMU_CACHE_DIR``, or ``unimmu`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    chosen = os.environ.get("UNIMMU_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return pathlib.Path(base) / "unimmu" if base else pathlib.Path(os.path.expanduser("~")) / ".cache" / "unimmu"


def _compile(module: str, wanted: str, target: pathlib.Path) -> pathlib.Path:
    """Compile in a child process into ``target`` (atomically), or a temporary directory where that cannot be
    written.
    """
    print(f"unimmu: compiling {module} (once; kept in {target.parent}) ...", file=sys.stderr, flush=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=".compile-", dir=target.parent))
    except OSError as error:
        print(
            f"unimmu: {target.parent} cannot be written ({error.strerror}); compiling for this run only",
            file=sys.stderr,
        )
        work = target = pathlib.Path(tempfile.mkdtemp(prefix="unimmu-"))
    root = str(pathlib.Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("NUMBA_DISABLE_JIT", None)
    program = "import sys; from mmu.compiler import main; main(*sys.argv[1:])"
    command = [sys.executable, *["-O"] * sys.flags.optimize, "-c", program, module, wanted, str(work)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(work, ignore_errors=True)
        raise CompileError(f"compiling {module} failed:\n{done.stderr.strip()}")
    if work != target:
        try:
            work.rename(target)
        except OSError:  # somebody else was faster, or a broken one stands there
            if _read(target) is not None:
                shutil.rmtree(work)
            else:
                shutil.rmtree(target)
                work.rename(target)
    return target


def _read(directory: pathlib.Path) -> tuple[dict[str, str], bytes] | None:
    """The symbols of the entry points, and the object code; None where something is missing or damaged."""
    try:
        index: dict[str, Any] = json.loads((directory / "names.json").read_text())
        code = (directory / "code.o").read_bytes()
        if hashlib.sha256(code).hexdigest() != index["sha256"]:
            return None
        return dict(index["symbols"]), code
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # also JSON, but not ours
        return None


def _load_native(module: ModuleType) -> Library:
    import llvmlite.binding as llvm

    try:
        wanted = key(module)
    except ModuleNotFoundError as error:
        raise CompileError(str(error)) from None
    directory = cache_directory() / f"{module.__name__}-{wanted}"
    found = _read(directory)
    if found is None:
        compiled = _compile(module.__name__, wanted, directory)
        found = _read(compiled)
        if compiled != directory:
            shutil.rmtree(compiled)
    if found is None:
        raise CompileError(f"the object code of {module.__name__} in {directory} cannot be read back")
    symbols, code = found
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    library = Library("native")
    library._keep.append(engine)
    for name, entry in entry_points(module).items():
        address = engine.get_function_address(symbols[name])
        if not address:
            raise CompileError(f"{module.__name__}.{name} is missing from its object code in {directory}")
        library.functions[name] = Function(address, entry.prototype()(address))
    return library


@functools.cache
def load(module_name: str) -> Library:
    """The entry points of a module, in the mode that the environment asks for.  Raises :class:`CompileError`."""
    module = importlib.import_module(module_name)
    return _reference(module) if reference_mode() else _load_native(module)
