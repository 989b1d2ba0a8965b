"""How records with addresses print: in hexadecimal."""

from __future__ import annotations

from typing import Any, ClassVar


class ShownInHex:
    """A dataclass or a record (``repr=False``) whose ``_hexadecimal`` fields print in hexadecimal."""

    _hexadecimal: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        from dataclasses import fields  # late: it takes long to import

        record: Any = self
        shown = (f"{field.name}={self._shown(field.name, getattr(self, field.name))}" for field in fields(record))
        return f"{type(self).__name__}({', '.join(shown)})"

    def _shown(self, name: str, value: Any) -> str:
        return f"{value:#x}" if name in self._hexadecimal and value is not None else repr(value)
