"""The mount options: refusals, the options in /proc/mounts, and the options that a remount may change."""

from __future__ import annotations

import errno

import pytest

from emu.linux.errors import LinuxError
from emu.machine import Mount
from msharefs.abi import Generations
from msharefs.module import MOUNT_POINT
from msharefs.options import MountOptions, parse
from msharefs.quirks import Quirk
from tests.booted import UNIT, MakeMachine

SCRIPT = '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0644; @ftruncate fd 1G; '


def mounted(options: str) -> dict[str, object]:
    return {"mounts": [Mount("msharefs", MOUNT_POINT, options)]}


def test_no_option_is_the_default() -> None:
    assert parse("", Generations()) == MountOptions(level="pmd", abi="v3", owner="", tlb="", quirks=frozenset())


def test_a_switch_without_a_value_is_on_and_the_last_of_two_counts() -> None:
    assert parse("strict-fd,level=pte,level=pud", Generations()) == MountOptions(level="pud", strict_fd="on")
    assert parse("strict-fd,strict-fd=off", Generations()) == MountOptions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size=1G", "unknown parameter 'size' (there are: level, abi, owner"),
        ("level=p4d", "level=p4d: the levels are pte, pmd, pud"),
        ("level", "level=: the levels are pte, pmd, pud"),
        ("abi=v9", "abi=v9: the abis are "),
        ("owner=live", "owner=live: the values of owner are die, persist"),
        ("strict-fd=yes", "strict-fd=yes: the values of strict-fd are on, off"),
        ("quirk=none,y2k", "unknown parameter 'y2k'"),
        ("quirk=y2k", "quirk=y2k: the quirks are stale-munmap, mremap-window,"),
        ("stale-munmap", "unknown parameter 'stale-munmap'"),
        ("quirk=stale-munmap,strict-fd,mremap-window", "unknown parameter 'mremap-window'"),
        ("tlb=none", "tlb=none: the values of tlb are all, sharers, local"),
        ("strict_fd", "unknown parameter 'strict_fd'"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(LinuxError) as caught:
        parse(text, Generations())
    assert caught.value.errno == errno.EINVAL
    assert message in str(caught.value)


def test_quirks_are_a_list_or_repeated() -> None:
    both = frozenset({Quirk.STALE_MUNMAP, Quirk.MREMAP_WINDOW})
    for text in ("quirk=stale-munmap,mremap-window", "quirk=stale-munmap,level=pmd,quirk=mremap-window"):
        assert parse(text, Generations()) == MountOptions(quirks=both)
        assert parse("quirk=a1-leaks", Generations(), parse(text, Generations())).quirks == both | {Quirk.A1_LEAKS}
    assert parse("quirk=none,a1-leaks", Generations(), MountOptions(quirks=both)).quirks == {Quirk.A1_LEAKS}
    assert MountOptions(quirks=both).shown() == ",level=pmd,quirk=mremap-window,quirk=stale-munmap"
    assert parse(MountOptions(quirks=both).shown(), Generations()).quirks == both


def test_the_level_and_what_is_not_the_default_are_shown(machine: MakeMachine) -> None:
    shown = machine().kernel.vfs.mounts()
    assert "msharefs /sys/fs/mshare msharefs rw,relatime,level=pmd 0 0\n" in shown
    booted = machine(**mounted("strict-fd,level=pud,owner=persist"))
    shown = booted.kernel.vfs.mounts()
    assert "msharefs rw,relatime,level=pud,owner=persist,strict-fd=on 0 0\n" in shown


def test_a_remount_changes_what_it_names_but_neither_level_nor_interface(machine: MakeMachine) -> None:
    booted = machine(**mounted("owner=persist"))
    lines = booted.calls(
        "".join(
            f'mount "x" "/sys/fs/mshare" "msharefs" {flags} "{options}";'
            for flags, options in (
                (32, "strict-fd"),
                (33, ""),
                (32, "level=pmd"),
                (32, "level=pud"),
                (32, "strict-fd=maybe"),
            )
        )
        + 'open "/sys/fs/mshare/x" O_RDWR|O_CREAT 0600; mount "x" "/sys/fs/mshare" "msharefs" 32 "";'
    )
    assert lines == ["mount = 0", "mount = 0", "mount = 0", "mount = EINVAL", "mount = EINVAL", "open = 3", "mount = 0"]
    assert "msharefs rw,relatime,level=pmd,owner=persist,strict-fd=on 0 0\n" in booted.kernel.vfs.mounts()
    assert booted.logged == [
        "mount: level cannot change from pmd to pud",
        "mount: strict-fd=maybe: the values of strict-fd are on, off",
    ]


def test_the_last_remount_decides_what_the_owner_s_end_does(machine: MakeMachine) -> None:
    booted = machine(**mounted("owner=persist"))
    assert booted.calls(
        "@fork c; " + SCRIPT + "@create fd 0 4K RW OBJECT; end; @wait c;"
        '@fd = open "/sys/fs/mshare/r" O_RDWR; w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; store w 5; load w;'
        '@mount "x" "/sys/fs/mshare" "msharefs" 32 "owner=die";'
        '@fork c; @g = open "/sys/fs/mshare/s" O_RDWR|O_CREAT 0600; @ftruncate g 1G; end; @wait c;'
        '@g = open "/sys/fs/mshare/s" O_RDWR; mmap 0 1G RW MAP_SHARED g 0; load w'
    ) == ["w = 0x20000000000", "store = 0", "load = 5", "mmap = EINVAL", "load = 5"]


def test_a_strict_descriptor_for_reading_changes_nothing(machine: MakeMachine) -> None:
    script = SCRIPT + '@r = open "/sys/fs/mshare/r" O_RDONLY; create r 0 4K RW OBJECT; unmap r 0 4K; unmap fd 0 4K;'
    assert machine().calls(script) == ["create = 0", "unmap = 0", "unmap = 0"]
    assert machine(**mounted("strict-fd")).calls(script) == ["create = EACCES", "unmap = EACCES", "unmap = 0"]


def test_the_two_calls_can_be_turned_off(machine: MakeMachine) -> None:
    script = 'mshare "a" 1T 1G O_CREAT|O_RDWR 0600'
    assert machine().calls(script) == ["mshare = EINVAL"]
    assert machine(**mounted("syscalls=off")).calls(script) == ["mshare = EBADF"]  # cachestat(2)


def test_the_numbers_of_the_two_calls_are_those_of_later_ones_where_no_name_can_be(machine: MakeMachine) -> None:
    script = '@f = open "/x" O_RDWR|O_CREAT 0600; @b = bytes 64; syscall 451 f b b 0; syscall 451 -1 b b 0; '
    script += 'syscall 452 -100 "/x" 0700 0; mshare 7T 1T 1G O_RDWR 0600; mshare_unlink "x"'
    later = ["syscall = 0", "syscall = EBADF", "syscall = 0"]
    assert machine().calls(script) == [*later, "mshare = EFAULT", "mshare_unlink = EINVAL"]
    assert machine(**mounted("syscalls=on")).calls(script) == [
        "syscall = EINVAL", "syscall = EINVAL", "syscall = EFAULT", "mshare = EFAULT", "mshare_unlink = EINVAL",
    ]  # fmt: skip


STRICT = SCRIPT.replace("1G", "u") + "create fd 0 4K RW OBJECT; w = mmap 2T u PROT_READ MAP_SHARED|MAP_FIXED fd 0;"


@pytest.mark.parametrize("level", UNIT)
def test_a_window_must_allow_what_the_objects_allow(machine: MakeMachine, level: str) -> None:
    """strict-prot: the superset rule of the reviewers, held at mmap, CREATE_MAPPING and PROTECT."""
    booted = machine(**mounted(f"strict-prot,level={level}"))
    script = f"@u = say {UNIT[level]};" + STRICT + "@create fd 0 4K PROT_READ OBJECT;"
    assert booted.calls(
        script + "w = mmap 2T u PROT_READ MAP_SHARED|MAP_FIXED fd 0; load w; store w 1;"
        "create fd 4K 4K RW OBJECT; create fd 4K 4K PROT_NONE OBJECT; create fd 8K 4K PROT_READ OBJECT;"
        "@c = words 8K 4K RW; ioctl fd 0x40187820 c; munmap w u; ioctl fd 0x40187820 c;"
        "mmap 2T u PROT_READ MAP_SHARED|MAP_FIXED fd 0; w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; store w+8K 1"
    ) == [
        "create = 0", "w = EACCES",
        "w = 0x20000000000", "load = 0", "store = SEGV_ACCERR",
        "create = EACCES", "create = 0", "create = 0",
        "ioctl = EACCES", "munmap = 0", "ioctl = 0",
        "mmap = EACCES", "w = 0x20000000000", "store = 0",
    ]  # fmt: skip


def test_what_is_mapped_against_the_rule_stops_it_from_being_switched_on(machine: MakeMachine) -> None:
    booted = machine()
    assert booted.calls(
        "@u = say 1G;" + STRICT + 'mount "x" "/sys/fs/mshare" "x" 32 "strict-prot"; munmap w u;'
        'mount "x" "/sys/fs/mshare" "x" 32 "strict-prot"; mmap 2T u PROT_READ MAP_SHARED|MAP_FIXED fd 0'
    ) == ["create = 0", "w = 0x20000000000", "mount = EBUSY", "munmap = 0", "mount = 0", "mmap = EACCES"]


def test_the_calls_keep_to_the_rule(machine: MakeMachine) -> None:
    memory = "@p = mmap 1T 4K {} PRIVATE|MAP_FIXED -1 0;"
    attach = '@fork c; mshare "a" 1T 1G O_RDONLY 0; mshare "a" 1T 1G O_RDWR 0; end; @wait c;'
    booted = machine(**mounted("strict-prot"))
    assert booted.calls(memory.format("RWX") + 'mshare "a" 1T 1G O_CREAT|O_RDWR 0600') == ["mshare = EACCES"]
    assert booted.calls(memory.format("RW") + 'mshare "a" 1T 1G O_CREAT|O_RDWR 0600; munmap 1T 1G;' + attach) == [
        "mshare = 0", "munmap = 0", "mshare = EACCES", "mshare = 0",
    ]  # fmt: skip


def test_the_early_interfaces_keep_to_the_rule(machine: MakeMachine) -> None:
    open_r = '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600;'
    assert machine(**mounted("strict-prot,abi=v2")).calls(
        open_r + "w = mmap 1T 1G RW MAP_SHARED|MAP_FIXED fd 0; @fork c; munmap w 1G;"
        "mmap 1T 1G PROT_READ MAP_SHARED|MAP_FIXED fd 0; end; @wait c; mprotect w 4K PROT_READ; mprotect w 4K RWX"
    ) == ["w = 0x10000000000", "munmap = 0", "mmap = EACCES", "mprotect = EACCES", "mprotect = 0"]
    assert machine(**mounted("strict-prot,abi=y1")).calls(
        open_r + "@i = words 1T 1G; @ioctl fd 0x40107801 i; @c = words 1T 4K 0 0x3100000003 0xffffffff;"
        "ioctl fd 0x40287802 c; mmap 1T 1G PROT_READ MAP_SHARED|MAP_FIXED fd 0; mmap 1T 1G RW MAP_SHARED|MAP_FIXED fd 0"
    ) == ["ioctl = 0", "mmap = EACCES", "mmap = 0x10000000000"]
