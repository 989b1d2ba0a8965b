"""pidfd: the same script, the same results as on a Linux host."""

from __future__ import annotations

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host, skip_before

SCRIPTS = {
    "pidfd_open and its descriptor": """
        @k = getpid; syscall 434 0 0; syscall 434 -1 0; syscall 434 99999999 0; syscall 434 k 1; p = syscall 434 k 0
        q = syscall 434 k 0x880; @b = bytes 64; read p b 8; write p b 8; pread p b 8 0; lseek p 0 0; fcntl p 1 0
        fcntl q 3 0; syscall 91 p 0700; @z = words 0x100000003; syscall 7 z 1 0; @d = open "/proc/self/fdinfo/3" 0
        @x = bytes 256; r = syscall 291 0; @v = words 0x100000001 0; syscall 233 r 1 p v; syscall 232 r b 2 0""",
    "pidfd_send_signal": """
        @k = getpid; @fork c; @pause; end; p = syscall 434 c 0; syscall 424 p 0 0 0; syscall 424 p 65 0 0
        syscall 424 p 0 0 1; syscall 424 p 0 0 8; syscall 424 p 0 0 3; syscall 424 0 0 0 0; syscall 424 99 0 0 0
        @q = words 0 0xffffffff 0 0 0 0 0 0 0 0 0 0 0 0 0 0; syscall 424 p 0 q 0; syscall 424 p 9 q 0
        syscall 424 p 0 16 0; @q = words 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0; syscall 424 p 0 q 0; @s = syscall 434 k 0
        syscall 424 s 0 q 0; d = open "/proc/self" O_RDONLY; syscall 424 d 0 0 0; t = open "/tmp" O_RDONLY
        syscall 424 t 0 0 0; syscall 424 -10000 0 0 0; syscall 424 p 15 0 0; wait c; syscall 424 p 15 0 0""",
    "the end of a process": """
        @fork c; @pause; end; p = syscall 434 c 0; n = syscall 434 c 0x800; @z = words 0x100000003; @b = bytes 128
        syscall 7 z 1 0; syscall 247 3 p b 0x1000005 0; load b; syscall 247 3 0 b 4 0; syscall 247 3 99 b 4 0
        syscall 247 3 -1 b 4 0; syscall 247 3 n b 4 0; syscall 424 p 15 0 0; syscall 7 z 1 -1; load z
        syscall 247 3 p b 0x1000004 0; load b; load b+24; syscall 7 z 1 0; @e = syscall 434 c 0; syscall 424 p 0 0 0
        syscall 247 3 n b 4 0; syscall 7 z 1 0; load z; syscall 424 p 0 0 0; syscall 247 3 p b 4 0; syscall 434 c 0
        syscall 438 p 0 0; field "/proc/self/fdinfo/3" "Pid" """,
    "pidfd_getfd": """
        @k = getpid; @f = syscall 290 7 0; @fork c; @pause; end; p = syscall 434 c 0; syscall 438 p 0 1
        syscall 438 p 99 0; syscall 438 99 0 0; syscall 438 0 0 0; g = syscall 438 p f 0; fcntl g 1 0; @b = bytes 8
        read g b 8; load b; @o = words 1; write f o 8; read g b 8; load b; @fork d; @setuid 1000; syscall 424 p 0 0 0
        syscall 438 p 0 0; end; wait d; kill c 9; wait c""",
    "a descriptor of a child from clone3": """
        @f = words 0; @a = words 0x5000 f 0 0 17 0 0 0 0 0 0; @b = bytes 128; @c = clone3 a 88; load f
        syscall 247 3 3 b 4 0; load b+24; @a = words 0x5000 16 0 0 17 0 0 0 0 0 0; clone3 a 88
        syscall 56 0x105011 0 f 0 0""",
}  # fmt: skip


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str) -> None:
    skip_before((6, 16))
    assert machine().outcome("calls", SCRIPTS[name]) == native(guests.path("calls"), [SCRIPTS[name]])
