"""Descriptors of events (eventfd, epoll): the same script, the same results as on a Linux host."""

from __future__ import annotations

from pathlib import Path

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host, skip_before

SCRIPTS = {
    "eventfd": """
        e = syscall 290 3 0x800; @b = words 5 7; write e b 8; @r = bytes 8; read e r 8; load r; read e r 8; read e r 7
        write e b 7; write e b 16; read e r 16; load r; @m = words -1; write e m 8; @m = words -2; write e m 8
        write e b 8; read e r 8; load r; write e b 0; read e r 0; write e b 16; write e 16 8; read e 16 8; write e b 8
        read e 16 8; read e r 8; pread e r 8 0; lseek e 5 0; ftruncate e 0; fallocate e 0 0 1; mmap 0 4K 1 1 e 0
        syscall 91 e 0600; s = syscall 290 3 0x801; read s r 8; load r; read s r 8; read s r 8; read s r 8
        syscall 290 0 0x40; syscall 284 1; syscall 284 -1; @d = open "/proc/self/fdinfo/5" 0; @x = bytes 256
        @read d x 255; field "/proc/self/fdinfo/5" "eventfd-count"; field "/proc/self/fdinfo/4" "eventfd-semaphore"
        field "/proc/self/fdinfo/3" "flags" """,
    "a read of an eventfd waits": """
        e = syscall 290 0 0; @b = words 5; @r = bytes 8; @n = words 0 5000000; @fork c; @syscall 35 n NULL
        @write e b 8; end; read e r 8; load r; wait c; @m = words -2; write e m 8; @fork c; @syscall 35 n NULL
        @read e r 8; end; write e b 8; wait c; read e r 8; load r""",
    "epoll_create and epoll_ctl refuse": """
        syscall 213 0; syscall 213 -1; p = syscall 213 1; syscall 291 1; q = syscall 291 0x80000; @f = open "/tmp" 0
        @e = syscall 290 0 0; @n = open "/dev/null" O_RDWR; @v = words 0x100000001 7; @o = open "/tmp" O_PATH
        syscall 233 p 1 f v; syscall 233 p 1 n v; syscall 233 p 1 99 v; syscall 233 99 1 e v; syscall 233 e 1 e v
        syscall 233 e 1 p v; syscall 233 p 1 p v; syscall 233 p 1 e 16; syscall 233 p 1 o v; syscall 233 p 2 e NULL
        syscall 233 p 3 e v; syscall 233 p 1 e v; syscall 233 p 1 e v; syscall 233 p 9 e v; syscall 233 p 0 e v
        syscall 233 p 3 e v; syscall 233 p 2 e NULL; syscall 233 p 2 e NULL; @x = words 0x10000001 0
        syscall 233 p 1 q x; syscall 233 p 1 e x; syscall 233 p 3 e x; syscall 233 p 3 e v; @y = words 0x50000001 0
        syscall 233 q 1 e y; @y = words 0x10000003 0; syscall 233 q 1 e y; @u = open "/dev/urandom" 0
        syscall 233 p 1 u v; @m = open "/proc/self/maps" 0; syscall 233 p 1 m v; @r = bytes 64; syscall 232 p r 0 0
        syscall 232 p r -1 0; syscall 232 p r 0x20000000 0; syscall 232 99 r 1 0; syscall 232 99 r 0 0
        syscall 232 e r 1 0; syscall 232 p -1 1 0; syscall 232 p 16 1 0; syscall 281 p r 1 0 16 8
        syscall 281 p r 1 0 r 7; syscall 281 p r 1 0 NULL 7; @t = words -1 0; syscall 441 p r 1 t NULL 8
        syscall 441 p r 1 16 NULL 8; @t = words 0 1000; syscall 441 p r 1 t NULL 8; read p r 8; write p r 8
        lseek p 1 0; ioctl p 0x5401 0""",
    "level, edge, one-shot": """
        p = syscall 291 0; e = syscall 290 0 0x800; @one = words 1; @r = bytes 64; @b = bytes 8
        @v = words 0x700000001 0; syscall 233 p 1 e v; syscall 232 p r 4 0; write e one 8; syscall 232 p r 4 0; load r
        load r+4; syscall 232 p r 4 0; read e b 8; syscall 232 p r 4 0; @v = words 0x780000001 0; syscall 233 p 3 e v
        write e one 8; syscall 232 p r 4 0; load r; syscall 232 p r 4 0; write e one 8; syscall 232 p r 4 0
        syscall 233 p 3 e v; syscall 232 p r 4 0; syscall 232 p r 4 0; read e b 8; syscall 232 p r 4 0
        @v = words 0x740000001 0; syscall 233 p 3 e v; write e one 8; syscall 232 p r 4 0; syscall 232 p r 4 0
        write e one 8; syscall 232 p r 4 0; syscall 233 p 3 e v; syscall 232 p r 4 0; syscall 232 p r 4 0
        @v = words 0x780000005 0; syscall 233 p 3 e v; syscall 232 p r 4 0; load r; syscall 232 p r 4 0; read e b 8
        syscall 232 p r 4 0; load r; close e; syscall 232 p r 4 0; syscall 233 p 2 e NULL""",
    "a pipe in an epoll set": """
        @q = bytes 8; pipe2 q 0x800; p = syscall 291 0; @v = words 0x380000001 0; @w = words 0x480000004 0
        @r = bytes 96; @b = bytes 4096; syscall 233 p 1 3 v; syscall 233 p 1 4 w; syscall 232 p r 4 0; load r
        write 4 b 4096; syscall 232 p r 4 0; load r; syscall 232 p r 4 0; write 4 b 1; syscall 232 p r 4 0; read 3 b 1
        syscall 232 p r 4 0; repeat 15; @write 4 b 4096; end; syscall 232 p r 4 0; write 4 b 4096; syscall 232 p r 4 0
        read 3 b 4096; syscall 232 p r 4 0; load r; load r+12; syscall 232 p r 4 0; read 3 b 4096; syscall 232 p r 4 0
        @fcntl 3 1031 4K; close 4; syscall 232 p r 4 0; load r; load r+12; syscall 232 p r 4 0; close 3
        syscall 232 p r 4 0""",
    "a duplicate keeps a file in the set": """
        p = syscall 291 0; e = syscall 290 1 0; d = dup e; @v = words 0x300000001 0; @r = bytes 64
        syscall 233 p 1 e v; close e; syscall 232 p r 4 0; load r; syscall 233 p 2 e NULL; syscall 233 p 1 d v
        syscall 232 p r 4 0; close d; syscall 232 p r 4 0""",
    "sets that watch sets": """
        a = syscall 291 0; b = syscall 291 0; c = syscall 291 0; d = syscall 291 0; e = syscall 291 0
        f = syscall 291 0; g = syscall 290 0 0; @v = words 0x300000001 0; @r = bytes 64; syscall 233 a 1 b v
        syscall 233 b 1 a v; syscall 233 b 1 c v; syscall 233 c 1 d v; syscall 233 d 1 e v; syscall 233 e 1 f v
        syscall 233 c 1 a v; syscall 233 d 1 g v; @o = words 1; syscall 232 a r 4 0; write g o 8; syscall 232 a r 4 0
        load r; syscall 232 b r 4 0; @q = bytes 8; read g q 8; syscall 232 a r 4 0; syscall 232 d r 4 0
        @z = words 0x100000003 0; syscall 7 z 1 0; write g o 8; syscall 7 z 1 0; load z""",
    "order of events, and fewer than there are": """
        p = syscall 291 0; @v = words 0x100000001 0; a = syscall 290 1 0; syscall 233 p 1 a v
        @v = words 0x200000001 0; b = syscall 290 1 0; syscall 233 p 1 b v; @v = words 0x300000001 0
        c = syscall 290 1 0; syscall 233 p 1 c v; @r = bytes 96; repeat 4; syscall 232 p r 2 0; load r; load r+12; end
        syscall 232 p r 9 0; load r; load r+12; load r+24""",
    "an event ends a wait": """
        p = syscall 291 0; e = syscall 290 0 0; @v = words 0x300000001 0; syscall 233 p 1 e v; @o = words 1
        @r = bytes 64; @n = words 0 5000000; @fork c; @syscall 35 n NULL; @write e o 8; end; syscall 232 p r 4 -1
        load r; wait c; syscall 281 p r 4 -1 NULL 8; @q = bytes 8; read e q 8; syscall 232 p r 4 1""",
    "so many paths lead up from a file": """
        e = syscall 290 1 0; q = syscall 291 0; @v = words 1; repeat 500; @p = syscall 291 0; @syscall 233 p 1 e v
        @syscall 233 q 1 p v; end; p = syscall 291 0; syscall 233 p 1 e v; syscall 233 q 1 p v; @r = bytes 16
        syscall 232 q r 1 0; syscall 233 p 1 q v""",
    "one of several sets is woken": """
        e = syscall 290 0 0; @v = words 0x10000001 0; p = syscall 291 0; q = syscall 291 0; syscall 233 p 1 e v
        syscall 233 q 1 e v; @r = bytes 16; @n = words 0 10000000; @fork a; @x = syscall 232 p r 1 200; @exit x; end
        @syscall 35 n NULL; @fork b; @x = syscall 232 q r 1 200; @exit x; end; @syscall 35 n NULL; @o = words 1
        @write e o 8; wait a; wait b""",
    "the last of several waiters is woken": """
        e = syscall 290 0 0; @v = words 0x80000001 0; p = syscall 291 0; syscall 233 p 1 e v; @r = bytes 16
        @n = words 0 10000000; @fork a; @x = syscall 232 p r 1 200; @exit x; end; @syscall 35 n NULL; @fork b
        @x = syscall 232 p r 1 200; @exit x; end; @syscall 35 n NULL; @o = words 1; @write e o 8; wait a; wait b""",
}  # fmt: skip

#: The version of Linux from which on a script's answers hold, where it is a recent one.
SINCE = {"eventfd": (6, 13), "epoll_create and epoll_ctl refuse": (6, 14), "sets that watch sets": (6, 17)}


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str, tmp_path: Path) -> None:
    skip_before(SINCE.get(name, (5, 11)))
    script = SCRIPTS[name].replace("UNIQUE", f"unimmu-{tmp_path.parent.name}-{tmp_path.name}"[-60:])
    assert machine().outcome("calls", script) == native(guests.path("calls"), [script])
