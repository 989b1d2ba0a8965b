"""A native hook that does nothing: the least that any hook on memory accesses can cost."""

from __future__ import annotations

from mmu.native import entry


@entry("void", "u64", "i32", "u64", "i32", "i64", "u64")
def on_access(uc: int, access: int, address: int, size: int, value: int, data: int) -> None:
    """UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE."""
