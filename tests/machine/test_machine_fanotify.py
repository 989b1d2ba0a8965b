"""fanotify and landlock: that nothing is left over (the rest is in tests/native)."""

from __future__ import annotations

from tests.booted import Booted

GROUP = '@f = syscall 300 2 0; @syscall 301 f 1 0x08000028 -100 "/tmp"'


def test_events_that_nobody_reads_are_given_back() -> None:
    machine = Booted()
    charged = []
    for _ in range(2):
        script = '@a = open "/tmp/a" O_RDWR|O_CREAT 0600; @close a; @unlink "/tmp/a"'
        machine.calls(f"{GROUP}; repeat 20; {script}; end; syscall 301 f 1 0x20 -100 0x10")
        charged.append((machine.kernel.frames.kmem.charged, machine.kernel.vfs.resources.open_files))
    assert charged[0] == charged[1]
    assert not machine.kernel.vfs.resources.fanotify
    assert machine.kernel.vfs.resources.file_watches == 0


def test_a_group_that_has_not_been_closed_ends_with_its_process() -> None:
    machine = Booted()
    machine.calls(f'{GROUP}; @fork c; @open "/tmp/x" O_RDWR|O_CREAT 0600; @pause; end; @sched_yield; kill c 9; wait c')
    assert not machine.kernel.vfs.resources.fanotify
