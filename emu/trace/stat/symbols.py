"""The functions of an ELF file, by address."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt

SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
NOTYPE, FUNC, IFUNC = 0, 2, 10
SHF_EXECINSTR = 4
_PAGE = 4096
#: What is shown of a name at most.
_LONGEST_NAME = 1 << 14
#: Sections from here on are none (SHN_LORESERVE).
_NO_SECTION = 0xFF00


class SymbolsError(Exception):
    """This is no ELF file that has symbols, or a damaged one; the message is a line that says what is wrong."""


class Elf:
    """An ELF file, whose addresses are where it says, or with a base added where it is position-independent.

    :class:`SymbolsError` if it is none.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        from elftools.common.exceptions import ELFError

        self.path = fspath(path)
        try:
            with open(path, "rb") as file:
                self._read(file)
        except OSError as error:
            raise SymbolsError(f"{self.path}: {error.strerror}") from None
        except (ELFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError):
            raise SymbolsError(f"{self.path}: this is not an ELF file of x86-64, or a damaged one") from None

    def _read(self, file: Any) -> None:
        from elftools.elf.elffile import ELFFile

        elf = ELFFile(file)
        if elf["e_machine"] != "EM_X86_64" or elf["e_ident"]["EI_CLASS"] != "ELFCLASS64":
            raise ValueError
        loaded = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
        self.entry: int = elf["e_entry"]
        self.position_independent: bool = elf["e_type"] == "ET_DYN"
        self.interpreted = any(segment["p_type"] == "PT_INTERP" for segment in elf.iter_segments())
        #: Of each segment: what of the file is in it, and how far its addresses are above that.
        self._segments = [
            (range(one["p_offset"], one["p_offset"] + max(one["p_filesz"], 1)), one["p_vaddr"] - one["p_offset"])
            for one in loaded
        ]
        self.build_id = _build_id(elf)
        #: Behind its last byte in memory.
        self.end: int = max((segment["p_vaddr"] + segment["p_memsz"] for segment in loaded), default=0)
        table = elf.get_section_by_name(".symtab") or elf.get_section_by_name(".dynsym")
        self._names, found = b"", np.zeros(0, SYMBOL)
        if table is not None:
            data = content_of(table)
            self._names = content_of(elf.get_section(table["sh_link"]))
            code = {
                number: section["sh_addr"] + section["sh_size"]
                for number, section in enumerate(elf.iter_sections())
                if section["sh_flags"] & SHF_EXECINSTR and number < _NO_SECTION
            }
            found = _functions(np.frombuffer(data, SYMBOL, len(data) // SYMBOL.itemsize), code)
        self._begins, self._ends = found["value"], found["value"] + found["size"]
        self._name_at = found["name"]

    @property
    def stripped(self) -> bool:
        """Whether it names no function."""
        return not len(self._begins)

    def places(self, addresses: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        """For each address the number of the function that has it, -1 for none."""
        if self.stripped:
            return np.full(len(addresses), -1)
        at = np.searchsorted(self._begins, addresses, side="right") - 1
        return np.where((at >= 0) & (addresses < self._ends[at]), at, -1)

    def name(self, place: int) -> str:
        """The name of a function."""
        begin = int(self._name_at[place])
        return self._names[begin : begin + _LONGEST_NAME].partition(b"\0")[0].decode("utf-8", "replace")

    def begin(self, place: int) -> int:
        """The address of a function."""
        return int(self._begins[place])

    def bias(self, start: int, offset: int) -> int:
        """What is added to its addresses where what is at ``offset`` of the file is mapped at ``start``."""
        if not self.position_independent:
            return 0
        pages = ((range(there.start & -_PAGE, there.stop), above) for there, above in self._segments)
        return start - offset - next((above for there, above in pages if offset in there), 0)

    def base_from(self, rip: int) -> int | None:
        """Where it was loaded, if its entry is what ran at ``rip``; None if it cannot be."""
        base = rip - self.entry
        return base if base >= 0 and base % _PAGE == 0 else None


def content_of(section: Any) -> bytes:
    """What a file has of a section of symbols or of names; where it says that it is packed, it is damaged
    (SHF_COMPRESSED is for debugging sections), and where it has none of it (SHT_NOBITS), that may be of any size.
    """
    if section["sh_type"] == "SHT_NOBITS":
        return b""
    if section.compressed:
        raise ValueError
    return bytes(section.data())


def _build_id(elf: Any) -> str:
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_NOTE":
            for note in segment.iter_notes():
                if note["n_type"] == "NT_GNU_BUILD_ID":
                    return str(note["n_desc"])
    return ""


def _functions(symbols: npt.NDArray[Any], code: Mapping[int, int]) -> npt.NDArray[Any]:
    """Those that are functions, by address, one at each; a label that is none only where no function is.  ``code`` are
    sections, and where each ends."""
    kind = symbols["info"] & 15
    in_code = np.isin(symbols["section"], np.array([*code], np.uint16))
    functions = symbols[in_code & ((kind == FUNC) | (kind == IFUNC))]
    labels = symbols[in_code & (kind == NOTYPE) & (symbols["name"] != 0)]
    order = np.lexsort((functions["name"], -functions["size"].astype(np.int64), functions["value"]))
    functions = _first(functions[order])
    if len(functions) and len(labels):
        at = np.maximum(np.searchsorted(functions["value"], labels["value"], side="right") - 1, 0)
        before = functions[at]
        within = (labels["value"] >= before["value"]) & (
            labels["value"] < before["value"] + np.maximum(before["size"], np.uint64(1))
        )
        labels = labels[~within]
    both = np.concatenate([functions, labels])
    return _sized(_first(both[np.lexsort((both["name"], both["value"]))]), code)


def _first(symbols: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of those at one address the first."""
    _, first = np.unique(symbols["value"], return_index=True)
    return symbols[first]


def _sized(symbols: npt.NDArray[Any], code: Mapping[int, int]) -> npt.NDArray[Any]:
    """One that does not say its size reaches to the next, or to the end of its section."""
    last = np.array([code[section] for section in symbols["section"].tolist()], np.uint64)
    following = np.append(symbols["value"][1:], last[-1:])
    until = np.maximum(np.minimum(following, last), symbols["value"])
    sized = symbols.copy()
    sized["size"] = np.where(symbols["size"] == 0, until - symbols["value"], symbols["size"])
    return sized
