"""The floating-point state in a signal frame is in XSAVE format, which says what of it is restored."""

from __future__ import annotations

import pytest

from emu.engine.fpu import with_initial
from emu.testing.compiled import compile_guest
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host

#: The argument is the XSTATE_BV that the handler leaves; "magic" takes FP_XSTATE_MAGIC2 away, so that all is restored.
PROGRAM = """
#include "guest.h"

static char *what;

static void handler(int signo, void *info, void *context)
{
    u8 *fp = *(u8 **)((u8 *)context + 40 + 23 * 8);
    u32 size = *(u32 *)(fp + 480);
    (void)signo, (void)info;
    print("flags %d magic %x states %d marked %x behind %d\\n", (int)*(u64 *)context & 1, *(u32 *)(fp + 464),
          (int)*(u64 *)(fp + 472) & 3, *(u32 *)(fp + size), (int)(*(u32 *)(fp + 468) - size));
    if (what[0] == 'm')
        *(u32 *)(fp + size) = 0;
    *(u64 *)(fp + 512) = what[0] == 'm' ? 0 : what[0] - '0';
    if (what[0] == '9')
        *(u64 *)(fp + 528) = 1;
}

int main(int argc, char **argv, char **envp)
{
    u64 xmm = 0x1234567890;
    u16 control = 0x77f;
    long number = __NR_kill;
    (void)argc, (void)envp;
    what = argv[1];
    on_signal(10, handler, 4, 0);
    __asm__ volatile("movq %0, %%xmm7; fldcw %1; syscall; movq %%xmm7, %0; fnstcw %1"
                     : "+r"(xmm), "+m"(control), "+a"(number) : "D"(sys_getpid()), "S"(10L)
                     : "rcx", "r11", "memory", "xmm7");
    print("xmm7 %lx control %x\\n", xmm, control);
    return 0;
}
"""


@needs_host
@pytest.mark.parametrize("what", ["0", "1", "2", "3", "magic", "9"])
def test_what_of_the_frame_is_restored(machine: MakeMachine, what: str) -> None:
    program = compile_guest(PROGRAM)
    ours, hosts = machine().outcome(program, what), native(program, [what])
    assert ours == hosts
    assert "magic 46505853 states 3 marked 46505845 behind 4" in ours.stdout


def test_a_state_that_is_left_out_starts_anew() -> None:
    image = bytes(range(256)) * 2
    assert with_initial(image, x87=False, sse=False) == image
    without = with_initial(image, x87=True, sse=True)
    assert without[:24] == b"\x7f\x03" + bytes(22)
    assert without[24:32] == image[24:32], "MXCSR stays"
    assert without[32:416] == bytes(384)
    assert without[416:] == image[416:]
