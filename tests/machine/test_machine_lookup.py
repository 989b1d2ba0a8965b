"""openat2, execveat: the same script, the same results as on a Linux host."""

from __future__ import annotations

from pathlib import Path

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host, skip_before

SCRIPTS = {
    "openat2 refuses": """
        @h = words 0 0 0 0 0; syscall 437 -100 "/tmp" h 23; syscall 437 -100 "/tmp" h 5000
        syscall 437 -100 "/tmp" 16 24; @x = words 0 0 0 1; syscall 437 -100 "/tmp" x 32; syscall 437 -100 "/tmp" h 40
        syscall 437 -100 16 h 24; syscall 437 99 "x" h 24; syscall 437 -100 "" h 24; @x = words 0x40000000 0 0
        syscall 437 -100 "/tmp" x 24; @x = words 0x100000000 0 0; syscall 437 -100 "/tmp" x 24; @x = words 0 0600 0
        syscall 437 -100 "/tmp" x 24; @x = words 0x42 0100600 0; syscall 437 -100 "/tmp/none/x" x 24
        @x = words 0 0 0x40; syscall 437 -100 "/tmp" x 24; @x = words 0 0 0x18; syscall 437 -100 "/tmp" x 24
        @x = words 0x200002 0 0; syscall 437 -100 "/tmp" x 24; @x = words 0x210000 0 0
        p = syscall 437 -100 "/tmp" x 24; @x = words 0x42 0600 0x20; syscall 437 -100 "/tmp/none/x" x 24
        @x = words 0x410000 0600 0; syscall 437 -100 "/tmp" x 24""",
    "openat2 stays within bounds": """
        @mkdir "UNIQUE" 0755; @mkdir "UNIQUE/d" 0755; @open "UNIQUE/f" O_RDWR|O_CREAT 0600
        @open "UNIQUE/d/g" O_RDWR|O_CREAT 0600; @symlink "../f" "UNIQUE/d/up"; @symlink "/etc" "UNIQUE/abs"
        @symlink "d/g" "UNIQUE/in"; @symlink "../../.." "UNIQUE/d/out"; @symlink "/f" "UNIQUE/root"
        @d = open "UNIQUE" 0; @e = open "UNIQUE/d" 0; @b = words 0 0 8; syscall 437 d "f" b 24
        syscall 437 d "d/g" b 24; syscall 437 d "d/up" b 24; syscall 437 e "up" b 24; syscall 437 d ".." b 24
        syscall 437 d "d/../f" b 24; syscall 437 d "d/../../x" b 24; syscall 437 d "abs" b 24
        syscall 437 d "/etc" b 24; syscall 437 d "in" b 24; syscall 437 d "d/out" b 24; syscall 437 -100 "/etc" b 24
        @r = words 0 0 0x10; syscall 437 d "f" r 24; syscall 437 d "/f" r 24; syscall 437 d "../../f" r 24
        syscall 437 d "d/out/f" r 24; syscall 437 d "root" r 24; syscall 437 d "abs" r 24; syscall 437 e "up" r 24
        syscall 437 d "/none" r 24; syscall 437 d "/.." r 24; @s = words 0 0 4; syscall 437 d "f" s 24
        syscall 437 d "in" s 24; syscall 437 d "d/up" s 24; @s = words 0x220000 0 4; syscall 437 d "in" s 24
        @s = words 0x20000 0 4; syscall 437 d "in" s 24; @m = words 0 0 2; syscall 437 d "in" m 24
        syscall 437 -100 "/proc/self/exe" m 24; syscall 437 -100 "/proc/self/cwd" m 24
        syscall 437 -100 "/proc/self/exe" s 24; @p = open "/proc/self" 0; syscall 437 p "exe" b 24
        syscall 437 p "exe" r 24; @v = words 0 0 1; syscall 437 -100 "/proc/self/status" v 24; syscall 437 d "f" v 24
        @t = open "/" 0; syscall 437 t "proc" v 24; syscall 437 t "proc/self" v 24; syscall 437 p "exe" v 24
        @c = words 0x42 0600 8; syscall 437 d "new" c 24; syscall 437 d "../new" c 24; syscall 437 d "abs/new" c 24
        @c = words 0xc2 0600 0; syscall 437 d "new" c 24; unlink "UNIQUE/f"; unlink "UNIQUE/new"; unlink "UNIQUE/d/g"
        unlink "UNIQUE/d/up"; unlink "UNIQUE/d/out"; unlink "UNIQUE/abs"; unlink "UNIQUE/in"; unlink "UNIQUE/root"
        rmdir "UNIQUE/d"; rmdir "UNIQUE" """,
    "execveat": """
        @a = words "calls" "say 5" 0; @e = words 0; syscall 322 -100 "/proc/self/exe" a e 1; syscall 322 -100 "" a e 0
        syscall 322 99 "x" a e 0; syscall 322 -100 "/none" a e 0; syscall 322 -100 16 a e 0
        syscall 322 -100 "/tmp" a e 0; syscall 322 -100 "/proc/self/exe" a e 0x100
        syscall 322 -100 "/proc/self/exe" 16 e 0; syscall 322 -100 "/proc/self/exe" a e 0x10000
        f = open "/proc/self/exe" 0; @n = open "/dev/null" 0; syscall 322 n "" a e 0x1000
        syscall 322 n "x" a e 0x1000; @fork c; syscall 322 f "" a e 0x1000; end; wait c; @d = open "/proc/self" 0
        @fork c; syscall 322 d "exe" a e 0; end; wait c; @p = open "/proc/self/exe" O_PATH
        syscall 322 p "" a e 0x1000""",
    "name_to_handle_at refuses": """
        @h = words 128 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0; @m = words 0; syscall 303 -100 "/tmp" h m 0x8000
        syscall 303 99 "x" h m 0; syscall 303 -100 "/none" h m 0; syscall 303 -100 16 h m 0; syscall 303 -100 "" h m 0
        syscall 303 -100 "/proc/self/status" h m 0""",
}  # fmt: skip
#: The version of Linux from which on a script's answers hold.
SINCE = {"execveat": (6, 14)}


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str, tmp_path: Path) -> None:
    skip_before(SINCE.get(name, (5, 12)))
    script = SCRIPTS[name].replace("UNIQUE", f"/tmp/unimmu-{tmp_path.parent.name}-{tmp_path.name[-40:]}")
    assert machine().outcome("calls", script) == native(guests.path("calls"), [script])
