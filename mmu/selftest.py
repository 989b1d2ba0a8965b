"""The self-test of Unicorn's private parts, once for each library: that one has passed is kept with the object code."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence

import unicorn
from unicorn.unicorn_py3.unicorn import uclib

from mmu import unicorn_abi
from mmu.codecache import CacheUnusable, CodeCache, Image, cache_directory
from mmu.native import reference_mode
from mmu.remembered import remembered

#: What switches off, for everybody who is not told, all that stands on what the engine's code looks like.
VARIABLE = "UNIMMU_ENGINE_FAST"


def is_wanted(asked: bool | None) -> bool:
    """Whether the engine's code is to be changed where that makes it faster: what was asked for, or what the
    environment says."""
    return os.environ.get(VARIABLE, "on") != "off" if asked is None else asked


def check_library() -> None:
    """:func:`mmu.unicorn_proof.self_test`, unless this very library has passed this very test before.

    The library is known by its inode, its size and its times, the test by its source and by what it looks for.
    :class:`mmu.unicorn_abi.UnicornMismatch`.
    """
    wanted = {name: value for name, value in vars(unicorn_abi).items() if name.isupper() and isinstance(value, int)}
    sources = unicorn_abi.__file__, str(pathlib.Path(unicorn_abi.__file__).with_name("unicorn_proof.py"))
    once_for_library("unicorn", sources, str(wanted), _self_test)


def _self_test() -> None:
    from mmu import unicorn_proof  # late: most libraries have passed it

    unicorn_proof.self_test()


def once_for_library(name: str, sources: Sequence[str], facts: str, test: Callable[[], object]) -> None:
    """Call a test that raises if this library fails it, unless it has passed before: the test of this name, whose
    source is in these files, about these facts."""
    memory = remembered()
    if memory is not None and memory.has_passed(name, facts):
        return
    kept = None if reference_mode() else _name(name, sources, facts)
    if kept is None or not _kept(kept):
        test()
        if kept is not None:
            _keep(kept)
    if memory is not None:
        memory.keep_passed(name, facts)


def _name(name: str, sources: Sequence[str], facts: str) -> str | None:
    """The name of the file that says so; None where the library or the source cannot be looked at."""
    import hashlib  # late: most runs remember that it has passed

    try:
        found = os.stat(uclib._name)
        text = b"".join(pathlib.Path(source).read_bytes() for source in sources)
    except OSError:
        return None
    library = (unicorn.__version__, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return f"{name}-{hashlib.sha256(f'{library} {facts}'.encode() + text).hexdigest()[:32]}.passed"


def _kept(name: str) -> bool:
    directory = cache_directory()
    if directory is None or not directory.is_dir():
        return False
    try:
        with CodeCache(directory) as cache:
            return cache.read(name) is not None
    except CacheUnusable:
        return False


def _keep(name: str) -> None:
    directory = cache_directory()
    if directory is None or not directory.is_dir():
        return  # it is made when there is code to be kept
    try:
        with CodeCache(directory) as cache:
            cache.write(name, Image({}, b"").pack(name))
    except (CacheUnusable, OSError):
        pass
