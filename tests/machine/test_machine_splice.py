"""splice, tee, sync_file_range and getdents: the same script, the same results as on a Linux host."""

from __future__ import annotations

from pathlib import Path

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host, skip_before

SCRIPTS = {
    "splice refuses": """
        @q = bytes 8; pipe2 q 0; @r = bytes 8; pipe2 r 0; @f = open "UNIQUE" O_RDWR|O_CREAT|O_EXCL 0600
        @write f "abcdefgh" 8; @o = words 0; @z = open "/dev/zero" O_RDWR; @d = open "/tmp" 0; @e = syscall 290 0 0
        @a = open "UNIQUE" O_RDWR|02000; syscall 275 99 0 98 0 0 99; syscall 275 99 0 4 0 1 0
        syscall 275 3 0 99 0 1 0; syscall 275 3 0 6 0 1 16; syscall 275 3 o 6 0 1 0; syscall 275 f 0 6 o 1 0
        syscall 275 4 0 6 0 1 0; syscall 275 3 0 5 0 1 0; syscall 275 f 0 f 0 1 0; syscall 275 3 0 4 0 1 0
        syscall 275 f 16 4 0 1 0; @n = words -1; syscall 275 f n 4 0 1 0; syscall 275 d 0 4 0 1 0
        syscall 275 e 0 4 0 1 0; @write 4 "xyz" 3; syscall 275 3 0 a 0 3 0; syscall 275 3 0 e 0 3 0
        syscall 275 3 0 d 0 3 0; syscall 275 3 0 f n 3 0; syscall 275 5 0 4 0 1 2; syscall 275 5 0 6 0 1 0
        syscall 276 99 4 1 0; syscall 276 3 f 1 0; syscall 276 f 6 1 0; syscall 276 3 4 1 0; syscall 276 3 6 1 16
        syscall 276 3 6 0 0; syscall 276 4 6 1 0; syscall 276 5 4 1 2; syscall 277 99 0 0 0; syscall 277 f 0 0 8
        syscall 277 f -1 0 0; syscall 277 f 0 -1 0; syscall 277 f 0 0 7; syscall 277 3 0 0 0; syscall 277 z 0 0 0
        syscall 277 d 0 0 0; unlink "UNIQUE" """,
    "between a pipe and a file": """
        @q = bytes 8; pipe2 q 0; @f = open "UNIQUE" O_RDWR|O_CREAT|O_EXCL 0600; @unlink "UNIQUE"
        @g = open "/tmp" 0x410002 0600; @b = bytes 8192; @write f "abcdefghij" 10; @o = words 2
        syscall 275 f o 4 0 5 0; load o; lseek f 0 1; read 3 b 20; text b; @lseek f 4 0; syscall 275 f 0 4 0 100 0
        lseek f 0 1; syscall 275 f 0 4 0 100 0; @o = words 3; syscall 275 3 0 g o 4 0; load o; lseek g 0 1
        syscall 275 3 0 g 0 100 0; lseek g 0 1; @pread g b 20 0; load b; fstat g b; load b+48; syscall 275 3 0 g 0 1 2
        ftruncate f 128K; @o = words 4000; syscall 275 f o 4 0 128K 0; load o; ioctl 3 0x541b b; load b
        syscall 275 f o 4 0 1 2; syscall 275 3 0 g 0 10000 0; ioctl 3 0x541b b; @z = open "/dev/zero" O_RDWR
        syscall 275 3 0 z 0 100K 0; syscall 275 z 0 4 0 5000 0; ioctl 3 0x541b b; load b; @n = open "/dev/null" O_RDWR
        syscall 275 n 0 4 0 50 0; syscall 275 3 0 n 0 100K 0; close 4; syscall 275 3 0 g 0 10 0""",
    "between pipes": """
        @q = bytes 8; pipe2 q 0; @r = bytes 8; pipe2 r 0; @b = bytes 64; @write 4 "hello" 6; syscall 276 3 6 100 0
        syscall 276 3 6 2 0; syscall 275 3 0 6 0 3 0; read 3 b 64; text b; read 5 b 64; text b; text b+6; load b+8
        syscall 275 3 0 6 0 3 2; syscall 276 3 6 3 2; @fcntl 6 1031 4K; @write 6 "x" 1; @write 4 "y" 1
        syscall 275 3 0 6 0 1 2; syscall 276 3 6 1 2; read 3 b 9; close 4; @read 5 b 64; syscall 275 3 0 6 0 1 0
        syscall 276 3 6 1 0; @on 13 1; pipe2 q 0; @write 7 "abc" 3; close 5; syscall 275 4 0 6 0 3 0
        syscall 276 4 6 3 0; read 4 b 9""",
    "a splice waits": """
        @q = bytes 8; pipe2 q 0; @r = bytes 8; pipe2 r 0; @b = bytes 64; @n = words 0 5000000; @fork c
        @syscall 35 n NULL; @write 4 "hello" 6; end; syscall 275 3 0 6 0 100 0; wait c; read 5 b 64; text b; @fork c
        @syscall 35 n NULL; @write 4 "again" 6; end; syscall 276 3 6 100 0; wait c; read 3 b 64; text b; @fork c
        @syscall 35 n NULL; @write 4 "third" 6; end; @f = open "/tmp" 0x410002 0600; syscall 275 3 0 f 0 100 0; wait c
        @read 5 b 64; @fcntl 6 1031 4K; @lseek f 0 0; @write 6 "x" 1; @fork c; @syscall 35 n NULL; @read 5 b 64; end
        syscall 275 f 0 6 0 9 0; @lseek f 0 0; read 5 b 64; wait c""",
    "getdents": """
        @mkdir "UNIQUE" 0700; d = open "UNIQUE" 0; @b = bytes 512; syscall 78 d b 23; syscall 78 d b 512; load b+16
        load b+40; text b+18; syscall 78 d b 512; syscall 78 99 b 512; syscall 78 0 b 512; lseek d 0 0
        syscall 78 d 16 512; rmdir "UNIQUE" """,
}  # fmt: skip


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str, tmp_path: Path) -> None:
    skip_before((6, 9))
    script = SCRIPTS[name].replace("UNIQUE", f"/tmp/unimmu-{tmp_path.parent.name}-{tmp_path.name[-40:]}")
    assert machine().outcome("calls", script) == native(guests.path("calls"), [script])
