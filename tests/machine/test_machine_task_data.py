"""What is kept about tasks (priorities, scheduling classes, capabilities, personality), and calls that compare them and
set them apart: the same script, the same results as on a Linux host.
"""

from __future__ import annotations

import os

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host, skip_before

SCRIPTS = {
    "getpriority and setpriority": """
        @k = getpid; syscall 140 3 0; syscall 140 -1 0; syscall 140 0 0; syscall 140 0 99999999
        syscall 140 1 99999999; syscall 140 2 54321; syscall 141 0 0 5; syscall 140 0 0; syscall 141 0 0 100
        syscall 140 0 0; syscall 141 0 0 -100; syscall 140 0 0; syscall 141 3 0 0; syscall 141 0 99999999 0
        syscall 141 0 0 3; @fork c; syscall 140 0 0; end; wait c; @fork c; @setuid 12345; syscall 141 0 0 2
        syscall 141 0 0 4; syscall 140 0 0; syscall 140 2 0; syscall 141 0 k 5; end; wait c""",
    "sched_setscheduler and its relatives": """
        @k = getpid; @p = words 0; syscall 145 0; syscall 145 -1; syscall 145 99999999; syscall 143 0 p; load p
        syscall 143 0 NULL; syscall 143 -1 p; syscall 143 0 16; syscall 144 0 0 NULL; syscall 144 0 0 16
        syscall 144 -1 0 p; syscall 144 0 4 p; syscall 144 0 8 p; syscall 144 0 -1 p; syscall 144 0 1 p; @q = words 7
        syscall 144 0 0 q; syscall 144 0 2 q; syscall 145 0; syscall 143 0 p; load p; @t = bytes 16; syscall 148 0 t
        load t; load t+8; @fork c; syscall 145 0; end; wait c; syscall 142 0 q; @z = words 100; syscall 142 0 z
        @z = words 0; syscall 142 0 z; syscall 144 0 0x40000002 q; syscall 145 0; @fork c; syscall 145 0
        syscall 143 0 p; load p; end; wait c; syscall 144 0 3 z; syscall 145 0; syscall 144 0 5 z; syscall 145 0
        syscall 144 0 0 z; syscall 148 -1 t; syscall 148 0 16; syscall 148 99999999 t; syscall 146 0; syscall 146 1
        syscall 146 2; syscall 146 3; syscall 146 4; syscall 146 5; syscall 146 6; syscall 146 -1; syscall 147 0
        syscall 147 1; syscall 147 2; syscall 147 99; @fork c; @setuid 12345; syscall 144 0 1 q; syscall 144 0 3 z
        syscall 144 0 5 z; syscall 145 0; syscall 144 k 0 z; end; wait c""",
    "sched_setattr and sched_getattr": """
        @a = bytes 64; syscall 315 0 NULL 56 0; syscall 315 0 a 47 0; syscall 315 0 a 5000 0; syscall 315 0 a 56 1
        syscall 315 -1 a 56 0; syscall 315 99999999 a 56 0; syscall 315 0 a 48 0; load a; load a+8; load a+16
        @w = words 0x100000030 0 0x700000000 0 0 0 0; syscall 314 0 w 0; syscall 315 0 a 56 0; load a; load a+8
        load a+16; load a+32; @w = words 0x300000030 1 5 0 0 0 0; syscall 314 0 w 0; syscall 315 0 a 56 0; load a
        load a+8; load a+16; syscall 140 0 0; @w = words 0x300000010 0 0 0 0 0 0; syscall 314 0 w 0; load w
        @w = words 0x300001388 0 0 0 0 0 0; syscall 314 0 w 0; syscall 314 0 NULL 0; syscall 314 0 w 1
        syscall 314 -1 w 0; syscall 314 0 16 0; @w = words 0x900000030 0 0 0 0 0 0; syscall 314 0 w 0
        @w = words 0x30 0x1000 0 0 0 0 0; syscall 314 0 w 0; @w = words 0x000000048 0 0 0 0 0 0 0 1; syscall 314 0 w 0
        @w = words 0x000000048 0 0 0 0 0 0 0 0; syscall 314 0 w 0""",
    "ioprio_set and ioprio_get": """
        @k = getpid; syscall 252 1 0; syscall 252 0 0; syscall 252 4 0; syscall 252 1 99999999; syscall 251 1 0 0x4002
        syscall 252 1 0; syscall 251 1 0 0x8000; syscall 251 1 0 0x6000; syscall 252 1 0; syscall 251 1 0 1
        syscall 251 1 0 0; syscall 251 4 0 0x4000; syscall 251 1 0 0x2003; syscall 252 1 0; @fork c; syscall 252 1 0
        end; wait c; @fork c; @setuid 12345; syscall 251 1 0 0x2003; syscall 251 1 0 0x4003; syscall 251 1 k 0x4003
        end; wait c""",
    "capget and capset": """
        @h = words 0x20080522; @d = bytes 24; syscall 125 h d; @x = words 0x99; syscall 125 x d; load x
        syscall 125 x NULL; syscall 125 16 d; syscall 125 h 16; @n = words 0xffffffff20080522; syscall 125 n d
        @n = words 0x5f5e0ff20080522; syscall 125 n d; @o = words 0x19980330; syscall 125 o d; syscall 126 16 d
        syscall 126 h 16; @k = words 0x120080522; syscall 126 k d; @fork c; @setuid 12345; syscall 125 h d; load d
        load d+8; load d+16; syscall 126 h d; @d2 = words 1 1 0; syscall 126 h d2; end; wait c""",
    "kcmp": """
        @k = getpid; @f = open "/dev/null" 0; @g = dup f; @e = open "/dev/null" 0; syscall 312 k k 0 f g
        syscall 312 k k 0 f 99; syscall 312 k 99999999 1 0 0; syscall 312 k k 8 0 0; syscall 312 k k 1 0 0
        syscall 312 k k 2 0 0; syscall 312 k k 3 0 0; syscall 312 k k 4 0 0; syscall 312 k k 6 0 0
        syscall 312 k k 5 0 0; @fork c; syscall 312 k k 0 f g; @setuid 12345; syscall 312 k k 1 0 0; end; wait c""",
    "membarrier": """
        syscall 324 99 0 0; syscall 324 8 0 0; syscall 324 16 1 0; syscall 324 16 0 0; syscall 324 8 0 0
        syscall 324 32 0 0; syscall 324 64 0 0; syscall 324 32 0 0; syscall 324 1 0 0; syscall 324 4 0 0
        syscall 324 2 0 0; syscall 324 512 0 0; syscall 324 0 1 0; syscall 324 3 0 0""",
    "unshare, setns, personality": """
        syscall 272 0; syscall 272 0x400; syscall 272 0x200; syscall 272 0x600; syscall 272 0x1
        syscall 272 0x80000000; syscall 272 0x40000; syscall 272 0x100; syscall 308 99 0; @f = open "/dev/null" 0
        syscall 308 f 0; @fork c; @setuid 12345; syscall 272 0x4000000; syscall 272 0x20000; syscall 170 "x" 1
        syscall 171 "x" 1; syscall 170 "x" -1; end; wait c; syscall 170 "x" 65; syscall 171 "x" -1
        syscall 135 0xffffffff; syscall 135 0x40000; syscall 135 0xffffffff; @fork c; syscall 135 0xffffffff; end
        wait c; syscall 135 0; syscall 135 0xffffffff""",
    "setfsuid and setfsgid": """
        syscall 122 -1; syscall 123 -1; syscall 122 0; syscall 123 0; setuid 12345; syscall 122 -1; syscall 122 12345
        syscall 122 0; syscall 122 -1""",
    "syslog": """
        syscall 103 10 NULL 0; syscall 103 0 NULL 0; syscall 103 1 NULL 0; syscall 103 11 NULL 0
        syscall 103 -1 NULL 0; syscall 103 3 NULL 5; @b = bytes 16; syscall 103 3 b -1; syscall 103 3 b 0
        syscall 103 2 b 0; syscall 103 8 NULL 9; syscall 103 8 NULL 0""",
}  # fmt: skip
#: Scripts that only root can run to the end, and that a container without privileges would answer otherwise.
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="the machine's programs are root, and these tests are not")


@needs_host
@AS_ROOT
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str) -> None:
    skip_before((6, 12))
    assert machine().outcome("calls", SCRIPTS[name]) == native(guests.path("calls"), [SCRIPTS[name]])


def test_what_the_machine_is_called(machine: MakeMachine) -> None:
    """Not on the host, whose name this would change."""
    script = """
        syscall 170 "x" -1; syscall 170 16 3; syscall 170 "a\\0bc" 4; syscall 171 "home" 4; @u = bytes 400
        @syscall 63 u; text u+65; text u+325; @f = open "/proc/sys/kernel/domainname" 0; @b = bytes 16
        @read f b 16; text b"""
    assert machine().calls(script) == [
        "syscall = EINVAL", "syscall = EFAULT", "syscall = 0", "syscall = 0", "text = a", "text = home",
        "text = home", "",
    ]  # fmt: skip


def test_what_user_0_gives_up_is_shown(machine: MakeMachine) -> None:
    script = """
        @h = words 0x20080522; @d = words 0x100000001 0 0; syscall 126 h d; @e = bytes 24; syscall 125 h e; load e
        @d = words 0x300000003 0 0; syscall 126 h d; @fork c; @syscall 125 h e; load e; end; wait c"""
    booted = machine()
    assert booted.calls(script) == [
        "syscall = 0", "syscall = 0", "load = 0x100000001", "syscall = EPERM", "load = 0x100000001", "wait = 0",
    ]  # fmt: skip


def test_a_priority_is_shown(machine: MakeMachine) -> None:
    script = """@syscall 141 0 0 5; @f = open "/proc/self/stat" 0; @b = bytes 400; @read f b 400; text b; @p = words 9
        @syscall 144 0 1 p; @f = open "/proc/self/stat" 0; @read f b 400; text b"""
    ordinary, _, realtime, *_ = machine().calls(script)
    fields = [line.split(") ")[1].split() for line in (ordinary, realtime)]
    assert [(f[15], f[16], f[37], f[38]) for f in fields] == [("25", "5", "0", "0"), ("-10", "5", "9", "1")]
