"""Each system call of the machine succeeds in one guest at least, and fails in one."""

from __future__ import annotations

from emu.linux.syscall import Syscall
from emu.testing import GuestMachine
from tests.native.guest import all_guests
from tests.native.outcome import Recording

#: Calls that cannot succeed, or not here, and why.
NEVER_SUCCEEDS = {
    "quotactl_fd": "no file system has quotas",
    "pause": "its only result is EINTR",
    "rt_sigsuspend": "its only result is EINTR",
    "pkey_alloc": "the CPU has no keys to give",
    "pkey_free": "no key can have been allocated",
    "map_shadow_stack": "the CPU has no shadow stacks",
    "io_cancel": "EINPROGRESS is its success",
    **dict.fromkeys(("lsm_get_self_attr", "lsm_set_self_attr"), "no security module here has an attribute"),
    "bpf": "there are no types of programs and maps",
    **dict.fromkeys(("acct", "clock_settime"), "would change the host"),
}
#: Calls that cannot fail, and why.
NEVER_FAILS = {
    **dict.fromkeys(("exit", "exit_group"), "does not return"),
    **dict.fromkeys(("getpid", "getppid", "gettid", "getpgrp"), "everybody has a number"),
    **dict.fromkeys(("getuid", "geteuid", "getgid", "getegid"), "everybody has ids"),
    **dict.fromkeys(("setfsuid", "setfsgid"), "the id before, whether or not it changed"),
    **dict.fromkeys(("sched_yield", "sync", "munlockall"), "takes nothing, and always works"),
    **dict.fromkeys(("umask", "personality", "alarm"), "every value will do, and the one before is the result"),
    "modify_ldt": "its errors are numbers of 32 bits, which are none for a 64-bit program",
    "brk": "the end of the heap, changed or not",
    "set_tid_address": "the address is not looked at before the end",
    "rt_sigreturn": "its result is what RAX was; a bad frame is SIGSEGV",
}


def _calls() -> dict[str, Syscall]:
    entry = GuestMachine(modules={}, record=False).kernel.entry
    return {call.name: call for number in range(1024) if (call := entry.lookup(number)) is not None}


def test_each_call_succeeds_and_fails_somewhere() -> None:
    seen: dict[str, set[str]] = {"succeeded": set(), "failed": set()}
    for guest in all_guests():
        if guest.name == "system/every_call_refused":  # by a filter, not by the calls
            continue
        for kind, names in Recording.load(guest.recording.read_text("utf-8")).calls.items():
            seen[kind] |= set(names)
    calls = set(_calls())
    assert sorted(calls - seen["succeeded"] - set(NEVER_SUCCEEDS)) == [], "no guest in which these succeed"
    assert sorted(calls - seen["failed"] - set(NEVER_FAILS)) == [], "no guest in which these fail"
    assert not seen["succeeded"] & set(NEVER_SUCCEEDS), "these do succeed"
    assert not seen["failed"] & set(NEVER_FAILS), "these do fail"
    assert set(NEVER_SUCCEEDS) | set(NEVER_FAILS) <= calls


def test_there_are_many_guests() -> None:
    assert len(all_guests()) >= 200
