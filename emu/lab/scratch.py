"""Scratch files and directories that do not outlive whoever made them by long.

Who has one holds a lock on it (flock(2)), which goes with the process, however that ends.  So what is not locked is
nobody's, and the next one who makes something beside it removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DIRECTORY, _FILE = "unimmu-scratch-", ".unimmu-scratch"


@contextmanager
def scratch_directory() -> Iterator[str]:
    """A directory of its own, among the host's temporary files; it is removed behind the block.  OSError."""
    parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent, prefix=_DIRECTORY)
    while True:
        path = Path(tempfile.mkdtemp(prefix=_DIRECTORY, dir=parent))
        lock = _locked(path)
        if lock is not None:
            break
    try:
        yield str(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def scratch_file(beside: Path) -> Iterator[Path]:
    """An empty file beside another one, whose place it may take by a rename; else it is removed.  OSError."""
    while True:
        path = beside.with_name(f".{beside.name}.{os.urandom(4).hex()}{_FILE}")
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        lock = _locked(path)
        if lock is not None:
            break
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def remove_abandoned_files(directory: Path) -> None:
    """Remove the scratch files of a directory that nobody has any more."""
    _remove_abandoned(directory, suffix=_FILE)


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock; None if somebody took the new one for abandoned, and has removed it."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(lock), os.stat(path)):
            return lock
    os.close(lock)
    return None


def _remove_abandoned(directory: Path, prefix: str = "", suffix: str = "") -> None:
    for name in os.listdir(directory):
        if not name.startswith(prefix) or not name.endswith(suffix):
            continue
        path = directory / name
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # somebody else's, or gone
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except OSError:  # it is in use, or may not be removed
            continue
        finally:
            os.close(lock)
