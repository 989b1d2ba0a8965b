"""Loading the entry points of a module: from the object cache (native mode) or as ctypes callbacks (reference mode)."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import mmap
import os
import pathlib
import sys
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmu.codecache import CacheUnusable, CodeCache, Image, cache_directory
from mmu.native import CTYPES, EntryPoint, entry_points, reference_mode
from mmu.once import Once
from mmu.remembered import remembered

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
        #: What the native code is kept under.
        self.key = ""
        self.functions: dict[str, Function] = {}
        self.guards: weakref.WeakValueDictionary[int, Guard] = weakref.WeakValueDictionary()

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


def _file_name(module_name: str, wanted: str) -> str:
    return f"{module_name}-{wanted}.code"


def _kept(module: ModuleType, wanted: str) -> Image:
    """The image of a module, out of the cache, or compiled now and put there."""
    name = _file_name(module.__name__, wanted)
    directory = cache_directory()
    if directory is None:
        _say_once("unimmu: there is no home directory to keep object code in; compiling for this run only")
        return _compiled(module, wanted, "for this run only")
    try:
        cache = CodeCache(directory)
    except CacheUnusable as why:
        _say_once(f"unimmu: {why}; compiling for this run only")
        return _compiled(module, wanted, "for this run only")
    with cache:
        found = cache.read(name)
        if found is None or not found.offsets.keys() >= entry_points(module).keys():
            found = _compiled(module, wanted, f"once; kept in {directory}")
            try:
                cache.write(name, found.pack(name))
            except OSError as error:
                _say_once(f"unimmu: {directory} cannot be written ({error.strerror}); compiling for this run only")
    return found


@Once
def _say_once(line: str) -> None:
    _say(line)


def _say(line: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # nobody listens
            print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)


def _compiled(module: ModuleType, wanted: str, how: str) -> Image:
    """Compile in a child process, which writes to memory that we share with it.  :class:`CompileError`."""
    import subprocess  # late: most runs compile nothing

    _say(f"unimmu: compiling {module.__name__} ({how}) ...")
    root = str(pathlib.Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # the child imports nothing out of the current directory
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NUMBA_DISABLE_JIT", None)
    program = "import sys; from mmu.compiler import main; main(*sys.argv[1:])"
    name = _file_name(module.__name__, wanted)
    with open(os.memfd_create("unimmu"), "rb") as out:
        fd = out.fileno()
        command = [sys.executable, *["-O"] * sys.flags.optimize, "-c", program, module.__name__, wanted, name, str(fd)]
        done = subprocess.run(
            command, env=environment, pass_fds=[fd], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
            errors="backslashreplace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            why = done.stderr.strip() or f"the compiler ended with status {done.returncode}"
            raise CompileError(f"compiling {module.__name__} failed:\n{why}")
        out.seek(0)
        made = Image.unpack(name, out.read())
    if made is None:
        raise CompileError(f"compiling {module.__name__} gave no object code:\n{done.stderr.strip()}")
    return made


def _load_native(module: ModuleType) -> Library:
    memory = remembered()
    known = None if memory is None else memory.image(module.__name__)
    wanted, made = _looked_for(module) if known is None else known
    start = executable(made.code)
    library = Library("native")
    library.key = wanted
    for name, entry in entry_points(module).items():
        address = start + made.offsets[name]
        library.functions[name] = Function(address, entry.prototype()(address))
    return library


def _looked_for(module: ModuleType) -> tuple[str, Image]:
    """The key of a module and its image, which are remembered from now on."""
    from mmu.codekey import key, version_files  # late: most runs remember them

    try:
        wanted = key(module)
        made = _kept(module, wanted)
    except ModuleNotFoundError as error:
        raise CompileError(str(error)) from None
    memory = remembered()
    if memory is not None:
        memory.keep_image(module.__name__, wanted, made, version_files())
    return wanted, made


def executable(code: bytes) -> int:
    """The address of memory that holds the code, to be read and executed only, while the process lasts: an engine may
    call it when the modules that loaded it are gone (pytester drops what a test has imported).  :class:`CompileError`.
    """
    flags, writable = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    memory = mmap.mmap(-1, len(code), flags=flags, prot=writable)
    memory.write(code)
    keep(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(len(code)), mmap.PROT_READ | mmap.PROT_EXEC) != 0:
        why = os.strerror(ctypes.get_errno())
        raise CompileError(f"this process may not make memory executable ({why}), and compiled hooks need that")
    return start


def keep(thing: object) -> None:
    """Have something last as long as the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@Once
def load(module_name: str) -> Library:
    """The entry points of a module, in the mode that the environment asks for.  Raises :class:`CompileError`.

    Each is loaded once a process: hooks have its addresses, and the engine that holds its code must not go.
    """
    module = importlib.import_module(module_name)
    return _reference(module) if reference_mode() else _load_native(module)
