"""SHA-256 without OpenSSL, which hashlib loads, and which takes as long as a tenth of our own modules."""

from __future__ import annotations

import importlib
from typing import Any


def _find() -> Any:
    for name in ("_sha2", "_sha256"):  # since Python 3.12, and before
        try:
            return importlib.import_module(name).sha256
        except ImportError:
            pass
    import hashlib  # a build that leaves both out

    return hashlib.sha256


_new = _find()


def sha256(data: bytes = b"") -> Any:
    """A hash object, as hashlib.sha256() gives it."""
    return _new(data)


def sha256_hex(data: bytes) -> str:
    """The digest of the data in hexadecimal digits."""
    return str(_new(data).hexdigest())
