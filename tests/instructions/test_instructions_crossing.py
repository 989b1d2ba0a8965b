"""Stores across the end of a page, where the next page cannot be written: nothing of them is stored."""

from __future__ import annotations

import pytest

from emu.testing.compiled import compile_guest
from tests.booted import MakeMachine

#: The argument is how the next page is protected.  For each store: the fault's code and place, and whether the first
#: page has changed; then that it is made where both pages can be written.
PROGRAM = """
#include "guest.h"

static u8 *page, *seen;
static u64 saved[8], code;

static void handler(int signo, u8 *info, u8 *context)
{
    (void)signo;
    seen = *(u8 **)(info + 16);
    code = *(u64 *)(context + 40 + 19 * 8);
    *(u64 *)(context + 40 + 16 * 8) = saved[0]; /* RIP: behind the store */
}

#define STORE(name, offset, text)                                                                      \\
    do {                                                                                               \\
        u8 changed = 0, *at = page + 4096 - (offset);                                                  \\
        for (int i = 0; i < 4096; i++)                                                                 \\
            page[i] = 0x5a;                                                                            \\
        seen = 0;                                                                                      \\
        __asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, %1; fninit; fld1; " text "; 1: fninit"    \\
                         : : "r"(at), "m"(saved[0]) : "rax", "rdi", "memory", "xmm0");                        \\
        for (int i = 0; i < 4096; i++)                                                                 \\
            changed |= page[i] != 0x5a;                                                                \\
        if (seen)                                                                                      \\
            print(name " code %lu at %ld changed %d\\n", code, (long)(seen - page) - 4096, changed);   \\
        else                                                                                           \\
            print(name " stored, changed %d\\n", changed);                                             \\
    } while (0)

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)envp;
    page = (u8 *)must(sys_mmap(0, 8192, 3, 0x22, -1, 0), "mmap");
    page[4096] = 0;
    if (argv[1][0] != '3')
        must(sys_mprotect(page + 4096, 4096, argv[1][0] - '0'), "mprotect");
    on_signal(11, handler, 4, 0);
    STORE("movdqu", 8, "movdqu %%xmm0, (%0)");
    STORE("movups", 15, "movups %%xmm0, (%0)");
    STORE("movupd", 1, "movupd %%xmm0, (%0)");
    STORE("movdqu within", 16, "movdqu %%xmm0, (%0)");
    STORE("fstp", 8, "fstpt (%0)");
    STORE("fstp", 9, "fstpt (%0)");
    STORE("fxsave", 64, "fxsave (%0)");
    STORE("fnsave", 20, "fnsave (%0)");
    STORE("fnstenv", 8, "fnstenv (%0)");
    STORE("maskmovdqu", 4, "mov %0, %%rdi; pcmpeqd %%xmm0, %%xmm0; maskmovdqu %%xmm0, %%xmm0");
    STORE("maskmovdqu", 12, "mov %0, %%rdi; pcmpeqd %%xmm0, %%xmm0; maskmovdqu %%xmm0, %%xmm0");
    STORE("maskmovq", 4, "mov %0, %%rdi; emms; pcmpeqd %%mm0, %%mm0; maskmovq %%mm0, %%mm0");
    return 0;
}
"""
CROSSING = (
    ("movdqu", 0), ("movups", 0), ("movupd", 0), ("movdqu within", None), ("fstp", 0), ("fstp", 0), ("fxsave", 447),
    ("fnsave", 87), ("fnstenv", 19), ("maskmovdqu", 4), ("maskmovdqu", 0), ("maskmovq", 0),
)  # fmt: skip


def faults(code: int) -> str:
    lines = []
    for name, place in CROSSING:
        told = "stored, changed 1" if place is None else f"code {code} at {place} changed 0"
        lines.append(f"{name} {told}\n")
    return "".join(lines)


@pytest.mark.parametrize("tlb", ["off", "skylake-sp"])
@pytest.mark.parametrize(("prot", "code"), [(0, 6), (1, 7), (3, None)])
def test_nothing_is_stored(machine: MakeMachine, prot: int, code: int | None, tlb: str) -> None:
    """CR2 is the first byte that cannot be written, or the last one of an operand that is long."""
    said = machine(tlb=tlb).outcome(compile_guest(PROGRAM), prot).stdout
    assert said == ("".join(f"{name} stored, changed 1\n" for name, _ in CROSSING) if code is None else faults(code))
