"""Requests of ioctl about page faults, namespaces, events and interfaces, as strace writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from emu.linux.argument import U32, Shown
from emu.linux.words import pointer, quote
from emu.syscalls.types import clone_words
from emu.trace.forms.addresses import address_words
from emu.trace.forms.form import (
    SIGNED,
    UINT,
    ULONG,
    Form,
    Record,
    Words,
    bits_of,
    flags,
    given,
    got,
    hexed,
    one_of,
    pointed,
)

# -- userfaultfd(2) ------------------------------------------------------------------------------------------------

_FEATURES = bits_of(
    "UFFD_FEATURE_", "PAGEFAULT_FLAG_WP EVENT_FORK EVENT_REMAP EVENT_REMOVE MISSING_HUGETLBFS MISSING_SHMEM "
    "EVENT_UNMAP SIGBUS THREAD_ID MINOR_HUGETLBFS MINOR_SHMEM EXACT_ADDRESS WP_HUGETLBFS_SHMEM WP_UNPOPULATED POISON "
    "WP_ASYNC MOVE",
)  # fmt: skip
_MODES = bits_of("UFFDIO_REGISTER_MODE_", "MISSING WP MINOR")
_features, _modes = flags(_FEATURES, "UFFD_FEATURE_"), flags(_MODES, "UFFDIO_REGISTER_MODE_")
_UFFDIO = {
    0: "REGISTER", 1: "UNREGISTER", 2: "WAKE", 3: "COPY", 4: "ZEROPAGE", 5: "MOVE", 6: "WRITEPROTECT", 7: "CONTINUE",
    8: "POISON", 0x3F: "API",
}  # fmt: skip
_RANGE = Record("QQ", ("start", hexed), ("len", hexed))
_UFFD_API = 0xAA


def _uffdio(value: int) -> str:
    """The requests that there are, as bits."""
    names = [f"1<<_UFFDIO_{name}" for bit, name in _UFFDIO.items() if value >> bit & 1]
    rest = value & ~sum(1 << bit for bit in _UFFDIO)
    return "|".join([*names, *([f"{rest:#x}"] if rest or not names else [])])


def _api(at: int, call: Shown) -> str:
    """struct uffdio_api: the features that are asked for, and with success those that there are."""
    data = call.view.peek(call.values[at], 24) if call.values[at] else b""
    if len(data) < 24:
        return pointer(call.values[at])
    api, features, requests = struct.unpack("<3Q", data)
    before = call.before.get(at, _features(features))
    shown = f"api={api:#x}, features={before}"
    if call.failed:
        return f"{{{shown}}}"
    return f"{{{shown} => features={_features(features)}, ioctls={_uffdio(requests)}}}"


def asked_features(at: int, call: Shown) -> str:
    """What an UFFDIO_API asks for, before the kernel writes what there is."""
    data = call.view.peek(call.values[at], 24) if call.values[at] else b""
    return _features(int.from_bytes(data[8:16], "little")) if len(data) == 24 else ""


class _Filling:
    """A request that works on pages: what it is told, and with success how much it did."""

    def __init__(self, layout: str, *fields: tuple[str, Words], told: str, words: Words = hexed) -> None:
        self._record, self._told, self._words = Record(layout, *fields), told, words

    def text(self, at: int, call: Shown) -> str:
        text = pointed(self._record, call.view, call.values[at])
        data = call.view.peek(call.values[at] + self._record.size, 8) if text.startswith("{") else b""
        if call.failed or len(data) < 8:
            return text
        return f"{text[:-1]}, {self._told}={self._words(int.from_bytes(data, 'little'))}}}"


def _filling(*names: str, modes: dict[int, str], prefix: str, told: str) -> Form:
    fields: list[tuple[str, Words]] = [(name, hexed) for name in names]
    filling = _Filling("Q" * (len(names) + 1), *fields, ("mode", flags(modes, prefix)), told=told)
    return Form(filling.text, written=True)


class _OnRange(Record):
    """A range, and a number behind it."""

    def __init__(self, name: str, words: Words) -> None:
        super().__init__("3Q")
        self._name, self._words = name, words

    def words(self, values: tuple[Any, ...]) -> str:
        return f"{{range={_RANGE.words(values[:2])}, {self._name}={self._words(values[2])}}}"


class _RangeFilling(_Filling):
    """The same of a range."""

    def __init__(self, modes: dict[int, str], prefix: str, told: str, words: Words = hexed) -> None:
        super().__init__("3Q", told=told, words=words)
        self._record = _OnRange("mode", flags(modes, prefix))


_REGISTER = _RangeFilling(_MODES, "UFFDIO_REGISTER_MODE_", "ioctls", _uffdio)
_ZEROPAGE = _RangeFilling({1: "UFFDIO_ZEROPAGE_MODE_DONTWAKE"}, "UFFDIO_ZEROPAGE_", "zeropage")
_CONTINUE = _RangeFilling(
    {1: "UFFDIO_CONTINUE_MODE_DONTWAKE", 2: "UFFDIO_CONTINUE_MODE_WP"}, "UFFDIO_CONTINUE_", "mapped"
)
_POISON = _RangeFilling({1: "UFFDIO_POISON_MODE_DONTWAKE"}, "UFFDIO_POISON_", "updated")
_COPY_MODES = {1: "UFFDIO_COPY_MODE_DONTWAKE", 2: "UFFDIO_COPY_MODE_WP"}
_MOVE_MODES = {1: "UFFDIO_MOVE_MODE_DONTWAKE", 2: "UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES"}
_PROTECT_MODES = {1: "UFFDIO_WRITEPROTECT_MODE_WP", 2: "UFFDIO_WRITEPROTECT_MODE_DONTWAKE"}
UFFDIO_API = 0xC018AA3F
_OF_FAULTS = {
    UFFDIO_API: Form(_api, written=True),
    0xC020AA00: Form(_REGISTER.text, written=True), 0x8010AA01: given(_RANGE), 0x8010AA02: given(_RANGE),
    0xC028AA03: _filling("dst", "src", "len", modes=_COPY_MODES, prefix="UFFDIO_COPY_", told="copy"),
    0xC020AA04: Form(_ZEROPAGE.text, written=True),
    0xC028AA05: _filling("dst", "src", "len", modes=_MOVE_MODES, prefix="UFFDIO_MOVE_", told="move"),
    0xC018AA06: given(_OnRange("mode", flags(_PROTECT_MODES, "UFFDIO_WRITEPROTECT_"))),
    0xC020AA07: Form(_CONTINUE.text, written=True), 0xC020AA08: Form(_POISON.text, written=True),
}  # fmt: skip

# -- namespaces(7), perf_event_open(2), PAGEMAP_SCAN ---------------------------------------------------------------

_NSTYPE = 0xB703
_OF_NAMESPACES: dict[int, Form | None] = {0xB701: None, 0xB702: None, _NSTYPE: None, 0xB704: got(UINT)}
_OF_EVENTS: dict[int, Form | None] = {
    0x2402: SIGNED, 0x40082404: given(ULONG), 0x80082407: got(ULONG), 0x2405: SIGNED,
}  # fmt: skip
_CATEGORIES = flags(
    bits_of("PAGE_IS_", "WPALLOWED WRITTEN FILE PRESENT SWAPPED PFNZERO HUGE SOFT_DIRTY GUARD"), "PAGE_IS_"
)
_SCAN_FLAGS = flags({1: "PM_SCAN_WP_MATCHING", 2: "PM_SCAN_CHECK_WPASYNC"}, "PM_SCAN_")
_SCAN = Record(
    "12Q", ("size", str), ("flags", _SCAN_FLAGS), ("start", hexed), ("end", hexed), ("walk_end", hexed),
    ("vec", pointer), ("vec_len", str), ("max_pages", str), ("category_inverted", _CATEGORIES),
    ("category_mask", _CATEGORIES), ("category_anyof_mask", _CATEGORIES), ("return_mask", _CATEGORIES),
)  # fmt: skip
_PAGEMAP_SCAN = 0xC0606610


def result(found: int, call: Shown) -> str | None:
    """What a request returns that is not just a number."""
    if U32(call.values[1]) == _NSTYPE and found > 0:
        return f"{found} ({clone_words(found)})"
    return None


# -- interfaces ----------------------------------------------------------------------------------------------------

_INTERFACE = bits_of(
    "IFF_", "UP BROADCAST DEBUG LOOPBACK POINTOPOINT NOTRAILERS RUNNING NOARP PROMISC ALLMULTI MASTER SLAVE "
    "MULTICAST PORTSEL AUTOMEDIA DYNAMIC",
)  # fmt: skip
_KINDS = one_of({1: "ARPHRD_ETHER", 772: "ARPHRD_LOOPBACK"}, "ARPHRD_")
_IFREQ_SIZE, _NAME_SIZE = 40, 16


def _int(data: bytes) -> int:
    return int.from_bytes(data[:4], "little", signed=True)


def _hardware(data: bytes) -> str:
    return f"{{sa_family={_KINDS(int.from_bytes(data[:2], 'little'))}, sa_data={data[2:8].hex(':')}}}"


def _interface_flags(data: bytes) -> str:
    return flags(_INTERFACE, "IFF_")(int.from_bytes(data[:2], "little"))


def _address(data: bytes) -> str:
    return address_words(data[:16])


def _number(data: bytes) -> str:
    return str(_int(data))


#: Requests about an interface: the field of struct ifreq, and what it holds; of the others the kernel writes it.
_IFREQ: dict[int, tuple[str, Callable[[bytes], str]]] = {
    0x8913: ("ifr_flags", _interface_flags), 0x8915: ("ifr_addr", _address), 0x8917: ("ifr_dstaddr", _address),
    0x8919: ("ifr_broadaddr", _address), 0x891B: ("ifr_netmask", _address), 0x891D: ("ifr_metric", _number),
    0x8921: ("ifr_mtu", _number), 0x8933: ("ifr_ifindex", _number), 0x8927: ("ifr_hwaddr", _hardware),
    0x8942: ("ifr_qlen", _number),
}  # fmt: skip
_SETS = {
    0x8914: 0x8913, 0x8916: 0x8915, 0x8918: 0x8917, 0x891A: 0x8919, 0x891C: 0x891B, 0x891E: 0x891D, 0x8922: 0x8921,
    0x8924: 0x8927, 0x8943: 0x8942,
}  # fmt: skip
_SIOCGIFNAME, _SIOCGIFCONF = 0x8910, 0x8912


def _ifreq(call: Shown, at: int) -> tuple[str, bytes] | None:
    data = call.view.peek(call.values[at], _IFREQ_SIZE) if call.values[at] else b""
    if len(data) < _IFREQ_SIZE:
        return None
    return f"ifr_name={quote(data[:_NAME_SIZE].partition(bytes(1))[0])}", data[_NAME_SIZE:]


def _interface_name(at: int, call: Shown) -> str:
    """struct ifreq of SIOCGIFNAME: the number of an interface, and with success its name."""
    found = _ifreq(call, at)
    if found is None:
        return pointer(call.values[at])
    return f"{{ifr_ifindex={_int(found[1])}{'' if call.failed else ', ' + found[0]}}}"


def _asked(at: int, call: Shown) -> str:
    """struct ifreq: the name of an interface, and with success what is known of it."""
    found = _ifreq(call, at)
    if found is None:
        return pointer(call.values[at])
    field, words = _IFREQ[U32(call.values[1])]
    return f"{{{found[0]}}}" if call.failed else f"{{{found[0]}, {field}={words(found[1])}}}"


def _set(at: int, call: Shown) -> str:
    """struct ifreq: the name of an interface, and what it shall have."""
    found = _ifreq(call, at)
    if found is None:
        return pointer(call.values[at])
    field, words = _IFREQ[_SETS[U32(call.values[1])]]
    return f"{{{found[0]}, {field}={words(found[1])}}}"


def _room(length: int) -> str:
    whole, rest = divmod(length, _IFREQ_SIZE)
    return f"{length} /* {whole} * sizeof(struct ifreq){f' + {rest}' if rest else ''} */" if length else "0"


def room_for_interfaces(at: int, call: Shown) -> str:
    """How much a struct ifconf has room for, before the kernel says how much it has written."""
    data = call.view.peek(call.values[at], 4) if call.values[at] else b""
    return _room(_int(data)) if len(data) == 4 else ""


def _interfaces(at: int, call: Shown) -> str:
    """struct ifconf: the interfaces that have an address."""
    data = call.view.peek(call.values[at], 16) if call.values[at] else b""
    if len(data) < 16:
        return pointer(call.values[at])
    length, place = struct.unpack("<i4xQ", data)
    before = call.before.get(at, _room(length))
    text = before if before == _room(length) else f"{before} => {_room(length)}"
    if call.failed or not place:
        return f"{{ifc_len={text}, ifc_buf={pointer(place)}}}"
    shown = []
    for number in range(max(length, 0) // _IFREQ_SIZE):
        one = call.view.peek(place + number * _IFREQ_SIZE, _IFREQ_SIZE)
        if len(one) == _IFREQ_SIZE:
            name = quote(one[:_NAME_SIZE].partition(bytes(1))[0])
            shown.append(f"{{ifr_name={name}, ifr_addr={address_words(one[16:32])}}}")
    return f"{{ifc_len={text}, ifc_buf=[{', '.join(shown)}]}}"


#: The third argument by the request; None for one that is not looked at.
REQUESTS: dict[int, Form | None] = {
    **_OF_FAULTS, **_OF_NAMESPACES, **_OF_EVENTS,
    _PAGEMAP_SCAN: Form(lambda at, call: pointed(_SCAN, call.view, call.values[at]), written=True),
    _SIOCGIFNAME: Form(_interface_name, written=True), _SIOCGIFCONF: Form(_interfaces, written=True),
    **dict.fromkeys(_IFREQ, Form(_asked, written=True)), **dict.fromkeys(_SETS, Form(_set)),
}  # fmt: skip
#: What is looked at when a request begins, as the kernel changes it.
BEFORE: dict[int, Form] = {UFFDIO_API: Form(asked_features), _SIOCGIFCONF: Form(room_for_interfaces)}
