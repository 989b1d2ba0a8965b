"""What the processor does with one access, written from the manual (SDM vol. 3, 4.5 to 4.8) and not from mmu.walk."""

from __future__ import annotations

from dataclasses import dataclass

from mmu import Access, Registers


@dataclass(frozen=True)
class Answer:
    """``error`` None and an address, or an error code; and the entries afterwards."""

    error: int | None
    paddr: int | None
    entries: dict[int, int]


def is_canonical(vaddr: int, bits: int) -> bool:
    signed = vaddr - (1 << 64) if vaddr >> 63 else vaddr
    return -(1 << (bits - 1)) <= signed < 1 << (bits - 1)


def reserved_bit_is_set(level: int, entry: int, maps_a_page: bool, registers: Registers) -> bool:
    must_be_zero = list(range(registers.maxphyaddr, 52))
    if level in (5, 4):
        must_be_zero.append(7)
    if level == 3 and maps_a_page:
        must_be_zero += range(13, 30)
        if not registers.pages_1g:
            must_be_zero.append(7)
    if level == 2 and maps_a_page:
        must_be_zero += range(13, 21)
    if not registers.efer & 1 << 11:
        must_be_zero.append(63)
    return any(entry >> bit & 1 for bit in must_be_zero)


def key_forbids(path: list[int], access: Access, user_access: bool, registers: Registers) -> bool:
    """Section 4.6.2; the key is in bits 62:59 of the entry that maps the page."""
    if access == Access.FETCH:
        return False
    user_address = all(entry >> 2 & 1 for entry in path)
    enabled = registers.cr4 >> (22 if user_address else 24) & 1
    if not enabled:
        return False
    key = path[-1] >> 59 & 0b1111
    register = registers.pkru if user_address else registers.pkrs
    access_disable, write_disable = register >> 2 * key & 1, register >> 2 * key + 1 & 1
    if access_disable:
        return True
    if not write_disable or access != Access.WRITE:
        return False
    wp = bool(registers.cr0 & 1 << 16)
    return wp or (user_address and user_access)


def mode_allows(path: list[int], access: Access, user_access: bool, registers: Registers) -> bool:
    """Section 4.6.1."""
    user_address = all(entry >> 2 & 1 for entry in path)
    writable = all(entry >> 1 & 1 for entry in path)
    execute_disable = bool(registers.efer & 1 << 11) and any(entry >> 63 for entry in path)
    wp, smep, smap = (bool(register >> bit & 1) for register, bit in (
        (registers.cr0, 16), (registers.cr4, 20), (registers.cr4, 21)))  # fmt: skip
    if user_access:
        if not user_address:
            return False
        return {Access.READ: True, Access.WRITE: writable, Access.FETCH: not execute_disable}[access]
    if access == Access.FETCH:
        return not execute_disable and not (smep and user_address)
    if user_address and smap and (registers.implicit or not registers.ac):
        return False
    return access == Access.READ or writable or not wp


def oracle(entries: dict[int, int], vaddr: int, access: Access, registers: Registers) -> Answer:
    """``entries`` holds the entry of each level on the way (none below a leaf counts); the address is canonical."""
    nxe, smep = bool(registers.efer & 1 << 11), bool(registers.cr4 & 1 << 20)
    user_access = registers.cpl == 3 and not (registers.implicit and access != Access.FETCH)
    error = 0
    if access == Access.WRITE:
        error |= 1 << 1
    if user_access:
        error |= 1 << 2
    if access == Access.FETCH and (nxe or smep):
        error |= 1 << 4
    top = 5 if registers.cr4 & 1 << 12 else 4
    path = []
    for level in range(top, 0, -1):
        entry = entries[level]
        if not entry & 1:
            return Answer(error, None, entries)
        maps_a_page = level == 1 or (level in (2, 3) and bool(entry & 1 << 7))
        if reserved_bit_is_set(level, entry, maps_a_page, registers):
            return Answer(error | 1 << 0 | 1 << 3, None, entries)
        path.append(entry)
        if maps_a_page:
            break
    if key_forbids(path, access, user_access, registers):
        return Answer(error | 1 << 0 | 1 << 5, None, entries)
    if not mode_allows(path, access, user_access, registers):
        return Answer(error | 1 << 0, None, entries)
    offset_bits = {1: 12, 2: 21, 3: 30}[level]
    page = entry & (1 << 52) - 1 & ~((1 << offset_bits) - 1)
    after = dict(entries)
    for used in range(top, level - 1, -1):
        after[used] |= 1 << 5
    if access == Access.WRITE:
        after[level] |= 1 << 6
    return Answer(None, page + vaddr % (1 << offset_bits), after)
