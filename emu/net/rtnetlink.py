"""NETLINK_ROUTE: what there is to know of the machine's network: lo, its addresses and routes (rtnetlink(7))."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from emu.linux.capability import NET_ADMIN
from emu.linux.errors import LinuxError
from emu.net.address import AF_INET, AF_INET6, AF_UNSPEC, BROADCAST4, LOOPBACK4, LOOPBACK6
from emu.net.device import IFF_UP, LO, LO_INDEX, LO_MTU, LO_QUEUE, LO_TYPE, Device
from emu.net.netlink import Answer, Request, attribute, attributes

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller
    from emu.net.network import Network

RTM_NEWLINK, RTM_GETLINK, RTM_SETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 19, 20, 22
RTM_NEWROUTE, RTM_GETROUTE, RTM_GETNEIGH, RTM_NEWRULE, RTM_GETRULE = 24, 26, 30, 32, 34
RTM_NEWNSID, RTM_GETNSID = 88, 90
RTM_NEWQDISC, RTM_GETQDISC, RTM_GETTCLASS, RTM_GETTFILTER = 36, 38, 42, 46
#: Requests for what there is none of here: neighbours, classes, filters, address labels, multicast, netconf and so on.
_NONE_OF = frozenset({RTM_GETNEIGH, RTM_GETTCLASS, RTM_GETTFILTER, 58, 62, 66, 74, 82, 86, 90})
_LAST_KIND = 123
_IFINFO, _IFADDR, _RTMSG = struct.Struct("<BxHiII"), struct.Struct("<BBBBI"), struct.Struct("<8BI")
_IFLA_IFNAME, _RTA_DST = 3, 1
_FOREVER = 0xFFFF_FFFF
_TABLE_LOCAL, _TABLE_MAIN, _TABLE_DEFAULT = 255, 254, 253
_SCOPE_HOST, _SCOPE_LINK = 254, 253
_RTN_UNICAST, _RTN_LOCAL, _RTN_BROADCAST = 1, 2, 3


def _u32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def link(device: Device) -> Answer:
    """RTM_NEWLINK of lo (rtnl_fill_ifinfo)."""
    head = _IFINFO.pack(AF_UNSPEC, LO_TYPE, LO_INDEX, device.flags, 0)
    numbers = (
        (4, LO_MTU),
        (50, 0),
        (51, 0),
        (27, 0),
        (30, 0),
        (61, 0),
        (31, 1),
        (40, 0xFFFF),
        (41, 65536),
        (58, 65536),
    )
    sizes = ((63, 65536), (64, 65536), (59, 524280), (60, 0xFFFF), (66, 0), (32, 1))
    state, discipline = b"\0" if device.up else b"\2", b"noqueue\0" if device.configured else b"noop\0"
    parts = [
        attribute(_IFLA_IFNAME, LO + b"\0"), attribute(13, _u32(LO_QUEUE)), attribute(16, state), attribute(17, b"\0"),
        attribute(67, b"\1"), *(attribute(kind, _u32(value)) for kind, value in (*numbers, *sizes)),
        attribute(33, b"\1"), *(attribute(kind, _u32(0)) for kind in (35, 47, 48)), attribute(68, bytes(2)),
        attribute(69, bytes(2)), attribute(39, b"\0"), attribute(1, bytes(6)), attribute(2, bytes(6)),
        attribute(23, bytes(200)), attribute(7, bytes(96)), attribute(43, attribute(2, b"\0")),
        attribute(6, discipline), attribute(14, bytes(32)),
    ]  # fmt: skip
    return Answer(RTM_NEWLINK, head + b"".join(parts))


def address(family: int) -> Answer:
    """RTM_NEWADDR of lo's address of a family (inet_fill_ifaddr, inet6_fill_ifaddr)."""
    lifetimes = attribute(6, _u32(_FOREVER, _FOREVER, 0, 0))
    flags = attribute(8, _u32(0x80))
    if family == AF_INET:
        ip = LOOPBACK4.packed
        head = _IFADDR.pack(AF_INET, 8, 0x80, _SCOPE_HOST, LO_INDEX)
        return Answer(
            RTM_NEWADDR, head + attribute(1, ip) + attribute(2, ip) + attribute(3, LO + b"\0") + flags + lifetimes
        )
    head = _IFADDR.pack(AF_INET6, 128, 0x80, _SCOPE_HOST, LO_INDEX)
    return Answer(RTM_NEWADDR, head + attribute(1, LOOPBACK6.packed) + lifetimes + flags + attribute(11, b"\1"))


def _route4(destination: bytes, bits: int, kind: int, scope: int) -> Answer:
    head = _RTMSG.pack(AF_INET, bits, 0, 0, _TABLE_LOCAL, 2, scope, kind, 0)
    ends = attribute(_RTA_DST, destination) + attribute(7, LOOPBACK4.packed)
    return Answer(RTM_NEWROUTE, head + attribute(15, _u32(_TABLE_LOCAL)) + ends + attribute(4, _u32(LO_INDEX)))


def _routes(family: int) -> Iterator[Answer]:
    if family in (AF_UNSPEC, AF_INET):
        yield _route4(bytes((127, 0, 0, 0)), 8, _RTN_LOCAL, _SCOPE_HOST)
        yield _route4(LOOPBACK4.packed, 32, _RTN_LOCAL, _SCOPE_HOST)
        yield _route4(BROADCAST4.packed, 32, _RTN_BROADCAST, _SCOPE_LINK)
    if family in (AF_UNSPEC, AF_INET6):
        head = _RTMSG.pack(AF_INET6, 128, 0, 0, _TABLE_LOCAL, 2, 0, _RTN_LOCAL, 0)
        rest = attribute(6, _u32(0)) + attribute(4, _u32(LO_INDEX)) + attribute(12, bytes(32)) + attribute(20, b"\0")
        table = attribute(15, _u32(_TABLE_LOCAL))
        yield Answer(RTM_NEWROUTE, head + table + attribute(_RTA_DST, LOOPBACK6.packed) + rest)


def _route_to(request: Request, uid: int) -> Answer:
    """RTM_GETROUTE of one destination.  LinuxError(ENETUNREACH)."""
    family, given = request.body[0], attributes(request.body[_RTMSG.size :])
    destination = given.get(_RTA_DST, b"")
    if family == AF_INET and destination[:1] in (b"\x7f", b""):
        head = _RTMSG.pack(AF_INET, 32, 0, 0, _TABLE_MAIN, 0, 0, _RTN_LOCAL, 0x80000200)
        ends = attribute(_RTA_DST, destination or bytes(4)) + attribute(4, _u32(LO_INDEX))
        ends += attribute(7, LOOPBACK4.packed) + attribute(25, _u32(uid)) + attribute(12, _u32(2, *[0] * 7))
        return Answer(RTM_NEWROUTE, head + attribute(15, _u32(_TABLE_MAIN)) + ends)
    if family == AF_INET6 and destination == LOOPBACK6.packed:
        return next(_routes(AF_INET6))
    raise LinuxError(errno.ENETUNREACH)


def _rules(family: int) -> Iterator[Answer]:
    """The rules that there are without any: look at the tables local, main and, for IPv4, default."""
    tables = ((_TABLE_LOCAL, None), (_TABLE_MAIN, 32766), (_TABLE_DEFAULT, 32767))
    for own, number in ((AF_INET, 3), (AF_INET6, 2)):
        for table, priority in tables[:number] if family in (AF_UNSPEC, own) else ():
            head = _RTMSG.pack(own, 0, 0, 0, table, 0, 0, 1, 0)
            rest = attribute(15, _u32(table)) + attribute(14, _u32(_FOREVER)) + attribute(21, b"\2")
            yield Answer(RTM_NEWRULE, head + rest + (attribute(6, _u32(priority)) if priority else b""))


def _qdisc() -> Answer:
    head = struct.pack("<BxxxiIII", 0, LO_INDEX, 0, _FOREVER, 2)
    basic = attribute(1, bytes(16)) + attribute(3, bytes(20))
    return Answer(RTM_NEWQDISC, head + attribute(1, b"noqueue\0") + attribute(12, b"\0") + attribute(7, basic)
                  + attribute(3, bytes(40)))  # fmt: skip


def _links(device: Device, request: Request) -> Iterator[Answer]:
    if request.dumps:
        yield link(device)
        return
    if len(request.body) < _IFINFO.size:
        raise LinuxError(errno.EINVAL)
    index = _IFINFO.unpack_from(request.body)[2]
    name = attributes(request.body[_IFINFO.size :]).get(_IFLA_IFNAME, b"").rstrip(b"\0")
    if not index and not name:
        raise LinuxError(errno.EINVAL)
    if (index and index != LO_INDEX) or (not index and name != LO):
        raise LinuxError(errno.ENODEV)
    yield link(device)


def _set_link(device: Device, request: Request, told: Callable[[str], None]) -> None:
    """lo is taken up or down.  LinuxError(ENODEV, EOPNOTSUPP)."""
    if len(request.body) >= _IFINFO.size:
        _, _, index, flags, change = _IFINFO.unpack_from(request.body)
        name = attributes(request.body[_IFINFO.size :]).get(_IFLA_IFNAME, LO).rstrip(b"\0")
        if (index or LO_INDEX) == LO_INDEX and name == LO:
            if not (flags ^ device.flags) & change & ~IFF_UP:
                if change & IFF_UP or not change:
                    device.set_up(bool(flags & IFF_UP) if change else device.up)
                return
        elif index:
            raise LinuxError(errno.ENODEV)
    told("the network of the machine cannot be changed: EOPNOTSUPP")
    raise LinuxError(errno.EOPNOTSUPP)


def rtnetlink(net: Network) -> Callable[[Caller[Path] | None, Request], Iterator[Answer]]:
    """The kernel's side in a network, which says once what is missing."""
    device, told = net.device, net.tell

    def answer(caller: Caller[Path] | None, request: Request) -> Iterator[Answer]:
        kind = request.kind
        if kind > _LAST_KIND:
            raise LinuxError(errno.EOPNOTSUPP)
        family = request.body[0] if request.body else AF_UNSPEC
        if kind % 4 != 2:  # not RTM_GET*
            if caller is None or not caller.credentials.capable_in(NET_ADMIN, net.user):
                raise LinuxError(errno.EPERM)
            if kind not in (RTM_NEWLINK, RTM_SETLINK):
                told("the network of the machine cannot be changed: EOPNOTSUPP")
                raise LinuxError(errno.EOPNOTSUPP)
            _set_link(device, request, told)
            return iter(())
        if kind == RTM_GETLINK:
            return iter(list(_links(device, request)))
        if not request.dumps:
            if kind == RTM_GETNSID:  # no other network has a number here (NETNSA_NSID_NOT_ASSIGNED)
                return iter((Answer(RTM_NEWNSID, bytes(4) + attribute(1, _u32(_FOREVER))),))
            if kind == RTM_GETROUTE and len(request.body) >= _RTMSG.size:
                if not device.configured:
                    raise LinuxError(errno.ENETUNREACH)
                return iter((_route_to(request, 0 if caller is None else caller.credentials.euid),))
            raise LinuxError(errno.EOPNOTSUPP)
        if kind == RTM_GETADDR:
            there = [*([AF_INET] if device.configured else []), *([AF_INET6] if device.up else [])]
            return iter([address(own) for own in there if family in (AF_UNSPEC, own)])
        if kind == RTM_GETROUTE:
            found = (AF_INET, AF_INET6) if device.up else (AF_INET,) if device.configured else ()
            return chain.from_iterable(_routes(own) for own in found if family in (AF_UNSPEC, own))
        if kind == RTM_GETRULE:
            return _rules(family)
        if kind == RTM_GETQDISC:
            return iter((_qdisc(),))
        if kind in _NONE_OF:
            return iter(())
        raise LinuxError(errno.EOPNOTSUPP)

    return answer
