"""How strace writes arguments: whatever a program passes, and some values that the host's guests do not have."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from emu.kernel.signal_state import SigInfo
from emu.linux.argument import Ioctl, Shown, View
from emu.trace.arguments import CallArguments
from emu.trace.forms import result_of
from emu.trace.forms.addresses import address_words
from emu.trace.forms.commands import persona
from emu.trace.forms.form import bits_of, flags, names_of, one_of
from emu.trace.forms.processes import io_priority
from emu.trace.forms.times import date, limit
from emu.trace.words import given_siginfo
from tests.booted import Booted


class Memory(View):
    """Memory with any contents, or none."""

    def __init__(self, contents: Callable[[int], bytes]) -> None:
        self._contents = contents

    def peek(self, address: int, length: int) -> bytes:
        return self._contents(max(0, min(length, 1 << 16)))

    def string(self, address: int, limit: int) -> bytes | None:
        return self._contents(5) or None

    def stack_pointer(self) -> int:
        return 0x7000

    def ioctl(self, fd: int, request: int) -> Ioctl | None:
        return None


def memories(chance: random.Random) -> list[Memory]:
    return [
        Memory(lambda size: b""),
        Memory(bytes),
        Memory(chance.randbytes),
        Memory(lambda size: chance.randbytes(chance.randrange(size + 1))),
        Memory(lambda size: bytes(chance.choices((0, 0, 0, 1, 2, 3, 255), k=size))),
    ]


def registers(chance: random.Random, count: int) -> tuple[int, ...]:
    likely = (0, 1, 2, 3, 5, 8, 16, 0x7FFF0000, (1 << 64) - 1, (1 << 32) - 1)
    requests = (0x4200, 0x4201, 0x4202, 0x4203, 0x4206, 0x5401, 0x5413, 0x541B)
    return tuple(
        chance.choice((chance.choice(likely), chance.getrandbits(6), chance.getrandbits(64), chance.choice(requests)))
        for _ in range(count)
    )


@pytest.mark.parametrize("seed", range(12))
def test_any_arguments_of_any_call_can_be_shown(seed: int) -> None:
    chance = random.Random(seed)
    for call in Booted().kernel.entry.calls():
        for memory in memories(chance):
            shown = CallArguments(memory, call.arguments, registers(chance, call.in_registers), call.name)
            before, result = shown.before(), chance.choice((None, -22, 0, 1, 5, 64, 4096))
            after = shown.after(len(before), result)
            assert all(len(text) < 40_000 for text in before + after), call.name
            assert len(before) + len(after) == shown.count
            if result is not None and result >= 0:
                assert shown.result(result) or call.returns.text(result, shown.values)


def test_names() -> None:
    names = names_of("A_", "ONE - THREE", 1)
    assert names == {1: "A_ONE", 3: "A_THREE"}
    assert [one_of(names, "A_")(value) for value in (1, 2, 3)] == ["A_ONE", "0x2 /* A_??? */", "A_THREE"]
    bits = bits_of("B_", "X Y")
    assert [flags(bits, "B_")(value) for value in (0, 3, 5, 4)] == ["0", "B_X|B_Y", "B_X|0x4", "0x4 /* B_??? */"]


def test_numbers_in_words() -> None:
    assert [limit(value) for value in (7, 1024, 2048, (1 << 64) - 1)] == ["7", "1024", "2*1024", "RLIM64_INFINITY"]
    assert date(11) == " /* 1970-01-01T00:00:11+0000 */" and date(1 << 62) == ""
    assert io_priority(16387) == "IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 3)"
    assert persona(0x40000) == "PER_LINUX|ADDR_NO_RANDOMIZE" and persona(0xFFFFFFFF) == "0xffffffff"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x01\x00/tmp/s\0", '{sa_family=AF_UNIX, sun_path="/tmp/s"}'),
        (b"\x01\x00\0name", '{sa_family=AF_UNIX, sun_path=@"name"}'),
        (
            b"\x02\x00\x00\x50\x7f\0\0\x01" + bytes(8),
            '{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}',
        ),
        (
            b"\x0a\x00\x00\x50\0\0\0\0" + bytes(15) + b"\x01" + bytes(4),
            '{sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), '
            "sin6_scope_id=0}",
        ),
        (b"\x10\x00\0\0\x05\0\0\0\0\0\0\0", "{sa_family=AF_NETLINK, nl_pid=5, nl_groups=00000000}"),
        (b"\x02\x00\x00\x50", '{sa_family=AF_INET, sa_data="\\0P"}'),
    ],
)
def test_addresses_of_sockets(data: bytes, text: str) -> None:
    assert address_words(data) == text


def test_signals_in_memory() -> None:
    assert given_siginfo(bytes(128)) == "{}"
    data = b"\x0a\0\0\0" + bytes(4) + b"\xff\xff\xff\xff" + bytes(4) + b"\x05\0\0\0\x07\0\0\0\x09" + bytes(103)
    assert given_siginfo(data) == "{si_signo=SIGUSR1, si_code=SI_QUEUE, si_pid=5, si_uid=7, si_int=9, si_ptr=0x9}"


def test_the_times_of_a_child() -> None:
    info = SigInfo(17, 1, pid=5, uid=7, status=3, utime=123, stime=2)
    text = "si_pid=5, si_uid=7, si_status=3, si_utime=123 /* 1.23 s */, si_stime=2 /* 0.02 s */"
    assert given_siginfo(info.pack()) == f"{{si_signo=SIGCHLD, si_code=CLD_EXITED, {text}}}"


def test_results_that_say_more() -> None:
    nothing = Shown((0, 0, 0), Memory(lambda size: b""))
    assert result_of("poll", 0, nothing) == "0 (Timeout)"
    assert result_of("adjtimex", 5, nothing) == "5 (TIME_ERROR)"
    assert result_of("rt_sigtimedwait", 10, nothing) == "10 (SIGUSR1)"
    assert result_of("read", 5, nothing) is None
    assert result_of("fcntl", 1, Shown((3, 1, 0), Memory(bytes))) == "0x1 (flags FD_CLOEXEC)"
    assert result_of("membarrier", 3, nothing) == "0x3 (MEMBARRIER_CMD_GLOBAL|MEMBARRIER_CMD_GLOBAL_EXPEDITED)"
