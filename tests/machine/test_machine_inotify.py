"""inotify: the same happenings, the same events as on a Linux host."""

from __future__ import annotations

from pathlib import Path

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host, skip_before

#: Each is followed by a read of the events, of which the first three and a name are shown.
HAPPENINGS = """
    w = syscall 254 i "." 0xfff; f = open "a" O_RDWR|O_CREAT 0644; write f "hello" 5; pread f b 5 0; read f b 5
    ftruncate f 2; syscall 91 f 0600; syscall 93 f 0 0; syscall 285 f 0 0 100; close f
    v = syscall 254 i "a" 0xfff; g = open "a" 0; read g b 5; close g; o = open "a" O_RDWR|O_TRUNC; close o
    o = open "a" O_PATH; chmod "a" 0644; link "a" "b"; rename "a" "c"; unlink "b"; mkdir "d" 0755
    rename "c" "d/c"; rename "d/c" "c"; symlink "x" "s"; unlink "s"; mknod "p" 0010644 0; syscall 132 "c" NULL
    syscall 254 i "d" 0xfff; d = open "d" 0; syscall 217 d b 4096; close d; rename "d" "e"; chmod "e" 0700
    n = open "e/x" O_RDWR|O_CREAT 0644; close n; unlink "e/x"; rmdir "e"; y = open "y" O_RDWR|O_CREAT 0600
    close y; rename "y" "c"; truncate "c" 5; unlink "c"; q = open "q" O_RDWR|O_CREAT 0600
    z = open "z" O_RDWR|O_CREAT 0600; write q "abc" 3; syscall 40 z q zero 3; syscall 326 q zero z zero 2 0
    syscall 316 -100 "q" -100 "z" 2; unlink "q"; close q; close z; unlink "z"; unlink "p"; syscall 255 i w
    syscall 255 i w; syscall 255 i 99; syscall 80 ".."; rmdir "UNIQUE"
"""
SCRIPTS = {
    "what happens": '@b = bytes 8192; @r = bytes 512; @zero = words 0; @mkdir "UNIQUE" 0755; @syscall 80 "UNIQUE"; '
    + "i = syscall 294 0x800; "
    + "; ".join(
        f"{step.strip()}; read i r 512; load r; load r+32; load r+64; text r+16"
        for step in HAPPENINGS.replace("\n", ";").split(";")
        if step.strip()
    ),
    "the descriptor": """
        syscall 294 1; syscall 253; i = syscall 294 0x80800; @r = bytes 512; read i r 512; write i r 8; lseek i 1 0
        pread i r 8 0; fcntl i 3 0; ioctl i 0x541b r; load r; ioctl i 0x5401 r; @mkdir "UNIQUE" 0700
        @f = open "UNIQUE/file" O_RDWR|O_CREAT 0600; syscall 254 i "UNIQUE" 0; syscall 254 i "UNIQUE" 0x10000
        syscall 254 99 "UNIQUE" 1; syscall 254 f "UNIQUE" 1; syscall 254 i "UNIQUE/none" 1; syscall 254 i 16 1
        syscall 254 i "UNIQUE/file" 0x1000020; syscall 254 i "UNIQUE" 0x30000020
        syscall 254 i "UNIQUE/file" 0x80000020; @o = open "UNIQUE/file" 0; @o = open "UNIQUE/file" 0; ioctl i 0x541b r
        load r; read i r 15; read i r 31; load r; load r+4; read i r 31; load r; load r+4
        syscall 254 i "UNIQUE/file" 0x20; syscall 254 i "UNIQUE/file" 0x20000001
        syscall 254 i "UNIQUE/file" 0x10000001; @o = open "UNIQUE/file" 0; @pread o r 1 0; @write f "x" 1
        @pread o r 1 0; read i r 512; load r; load r+16; @z = words 0x100000003; syscall 7 z 1 0; p = syscall 291 0
        @v = words 0x700000001 0; syscall 233 p 1 i v; syscall 232 p r 1 0; @open "UNIQUE/file" 0; syscall 232 p r 1 0
        close i; unlink "UNIQUE/file"; rmdir "UNIQUE" """,
    "more events than the queue holds": """
        @mkdir "UNIQUE" 0700; @open "UNIQUE/a" O_RDWR|O_CREAT 0600; @open "UNIQUE/b" O_RDWR|O_CREAT 0600
        i = syscall 294 0x800; syscall 254 i "UNIQUE" 4; @r = mmap 0 1M RW ANON -1 0; repeat 8300
        @chmod "UNIQUE/a" 0600; @chmod "UNIQUE/b" 0600; end; ioctl i 0x541b r; load r; read i r 524304; load r+524288
        load r+524296; read i r 100; @unlink "UNIQUE/a"; @unlink "UNIQUE/b"; @rmdir "UNIQUE" """,
    "a read waits": """
        @mkdir "UNIQUE" 0700; i = syscall 253; syscall 254 i "UNIQUE" 0x100; @r = bytes 64; @n = words 0 5000000
        @fork c; @syscall 35 n NULL; @mkdir "UNIQUE/d" 0700; end; read i r 64; load r; text r+16; wait c
        rmdir "UNIQUE/d"; rmdir "UNIQUE" """,
}  # fmt: skip


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str, tmp_path: Path) -> None:
    skip_before((6, 9))
    script = SCRIPTS[name].replace("UNIQUE", f"/tmp/unimmu-{tmp_path.parent.name}-{tmp_path.name[-40:]}")
    assert machine().outcome("calls", script) == native(guests.path("calls"), [script])


def test_the_end_of_a_mount(machine: MakeMachine) -> None:
    """IN_UNMOUNT and IN_IGNORED."""
    script = """
        @mkdir "/mnt" 0700; @mount "x" "/mnt" "tmpfs" 0 NULL; i = syscall 294 0x800; syscall 254 i "/mnt" 0xfff
        umount2 "/mnt" 0; @r = bytes 64; read i r 64; load r; load r+16; @mkdir "/mnt/d" 0700; read i r 64"""
    assert machine().calls(script) == [
        "i = 3", "syscall = 1", "umount2 = 0", "read = 32", "load = 0x200000000001", "load = 0x800000000001",
        "read = EAGAIN",
    ]  # fmt: skip


def test_watches_and_instances_are_limited(machine: MakeMachine) -> None:
    script = """
        @mkdir "/w" 0700; @i = syscall 294 0; @syscall 254 i "/" 1; syscall 254 i "/w" 1; syscall 254 i "/" 2
        syscall 255 i 1; syscall 254 i "/w" 1; syscall 254 i "/" 1; @l = words 4096 4096; @setrlimit 7 l
        repeat 127; @syscall 294 0; end
        syscall 294 0; close i; syscall 294 0"""
    booted = machine()
    booted.kernel.vfs.resources.max_file_watches = 1
    lines = booted.calls(script)
    assert lines == [
        "syscall = ENOSPC",
        "syscall = 1",
        "syscall = 0",
        "syscall = 2",
        "syscall = ENOSPC",
        "syscall = EMFILE",
        "close = 0",
        "syscall = 3",
    ]
