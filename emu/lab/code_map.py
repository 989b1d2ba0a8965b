"""Where code of files was mapped in each address space of a stream, so that functions have names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emu.lab.batch import StreamError
from emu.trace.stat.image import Mapping as MappedFile

#: The key of it among the facts of a stream.
FACT = "code"


class CodeMap:
    """The mappings of executable parts of files, by number of the address space; of two that overlap, the later one
    comes last.

    >>> code = CodeMap()
    >>> code.add(1, MappedFile(0x401000, 0x402000, 0x1000, "/bin/gups", ""))
    >>> code.copy(1, 2)
    >>> CodeMap.of({FACT: code.to_text()}).mappings(2)[0].path
    '/bin/gups'
    """

    def __init__(self) -> None:
        self._spaces: dict[int, tuple[MappedFile, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._spaces)

    def add(self, space: int, mapping: MappedFile) -> None:
        """Code is mapped in an address space; once more, if it was mapped so before."""
        held = self._spaces.get(space, ())
        if mapping not in held:
            self._spaces[space] = (*held, mapping)

    def copy(self, space: int, child: int) -> None:
        """An address space is made that has what another one has."""
        if space in self._spaces and space != child:
            self._spaces[child] = self._spaces[space]

    def mappings(self, space: int) -> tuple[MappedFile, ...]:
        """Those of an address space."""
        return self._spaces.get(space, ())

    def to_text(self) -> str:
        """As the facts of a stream have it: what is mapped, and which of that the same address spaces have."""
        numbers: dict[MappedFile, int] = {}
        same: dict[tuple[int, ...], list[int]] = {}
        for space, mappings in self._spaces.items():
            chosen = tuple(numbers.setdefault(mapping, len(numbers)) for mapping in mappings)
            same.setdefault(chosen, []).append(space)
        told = [
            {"start": hex(one.start), "length": one.end - one.start, "offset": one.offset, "path": one.path,
             "build_id": one.build_id}
            for one in numbers
        ]  # fmt: skip
        return json.dumps({"mappings": told, "spaces": [[spaces, chosen] for chosen, spaces in same.items()]})

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> CodeMap:
        """What the facts of a stream say; nothing where they do not.  :class:`StreamError` for what makes no sense."""
        code = cls()
        try:
            held = json.loads(facts.get(FACT, "{}"))
            mappings = [_mapping(one) for one in held.get("mappings", ())]
            for spaces, chosen in held.get("spaces", ()):
                own = tuple(mappings[_number(at)] for at in chosen)
                code._spaces.update((_number(space), own) for space in spaces)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise StreamError("what the stream says of mapped code makes no sense") from None
        return code


def _mapping(fields: Any) -> MappedFile:
    found = MappedFile.of(fields)
    if found is None:
        raise ValueError
    return found


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value
