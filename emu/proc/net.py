"""/proc/net: the network's sockets, addresses and routes as text, and its parameters in /proc/sys/net (proc(5))."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emu.fs.pseudo import TextFile
from emu.net.address import AF_INET, AF_INET6, Endpoint, as_six, unmapped
from emu.net.inet import FIRST_PORT, IPPROTO_TCP, IPPROTO_UDP, LAST_PORT, InetSocket
from emu.net.netlink import NetlinkSocket
from emu.net.sock_diag import queues_of, state_of
from emu.net.socket import DEFAULT_BUFFER, MAX_BUFFER
from emu.net.tcp_state import TcpState
from emu.net.unix import UnixSocket
from emu.proc.superblock import ProcSuperBlock

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.net.namespace import NetNamespace

_TCP4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
_TCP6 = (
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when"
    " retrnsmt   uid  timeout inode\n"
)
_UDP4 = f" {_TCP4} ref pointer drops"
_UDP6 = _TCP6[:-1] + " ref pointer drops\n"
_DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|"
    "bytes    packets errs drop fifo colls carrier compressed\n"
    "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0"
    "          0\n"
)
_ROUTE = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
_NETLINK = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
_SNMP = (
    "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers"
    " OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates"
    " OutTransmits\nIp: 2 64" + " 0" * 18 + "\n"
    "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs"
    " RetransSegs InErrs OutRsts InCsumErrors\nTcp: 1 200 120000 -1" + " 0" * 11 + "\n"
    "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n"
    "Udp:" + " 0" * 9 + "\n"
)
#: Files that tell what there is none of: their first lines.
_ADDRESS6 = "00000000000000000000000000000001 01 80 10 80       lo\n"
_HEADS = {
    "arp": "IP address       HW type     Flags       HW address            Mask     Device\n",
    "packet": "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n",
    "raw": _TCP4 + " ref pointer drops\n", "raw6": _UDP6, "udplite": _UDP4.ljust(127) + "\n", "udplite6": _UDP6,
    "dev_mcast": "", "dev": _DEV, "snmp": _SNMP,
    "route": _ROUTE.ljust(127) + "\n",
    "ipv6_route": (
        "00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000"
        " 00000000 00000002 00000000 80200001       lo\n"
    ),
    "protocols": (
        "protocol  size sockets  memory press maxhdr  slab module     "
        "cl co di ac io in de sh ss gs se re bi br ha uh gp em\n"
    ),
}  # fmt: skip
#: Parameters that are shown and decide nothing; those that decide are read where they do.
_FIXED = {
    "core/rmem_default": DEFAULT_BUFFER, "core/wmem_default": DEFAULT_BUFFER, "core/rmem_max": MAX_BUFFER,
    "core/wmem_max": MAX_BUFFER, "core/optmem_max": 131072, "core/netdev_max_backlog": 1000, "core/busy_poll": 0,
    "unix/max_dgram_qlen": 10, "ipv4/ip_local_port_range": f"{FIRST_PORT}\t{LAST_PORT}", "ipv4/ip_forward": 0,
    "ipv4/tcp_rmem": "4096\t131072\t33554432", "ipv4/tcp_wmem": "4096\t16384\t4194304", "ipv4/tcp_syncookies": 1,
    "ipv4/tcp_fin_timeout": 60, "ipv4/tcp_keepalive_time": 7200, "ipv4/tcp_keepalive_intvl": 75,
    "ipv4/tcp_keepalive_probes": 9, "ipv4/tcp_max_syn_backlog": 128, "ipv4/tcp_congestion_control": "cubic",
    "ipv4/tcp_available_congestion_control": "reno cubic", "ipv4/tcp_fastopen": 1, "ipv4/tcp_tw_reuse": 2,
    "ipv4/tcp_timestamps": 1, "ipv4/tcp_sack": 1, "ipv4/tcp_window_scaling": 1, "ipv4/tcp_syn_retries": 6,
    "ipv4/tcp_retries2": 15, "ipv4/tcp_ecn": 2, "ipv4/ping_group_range": "1\t0", "ipv4/ip_default_ttl": 64,
    "ipv4/ip_nonlocal_bind": 0, "ipv4/ip_unprivileged_port_start": 1024, "ipv4/conf/all/forwarding": 0,
    "ipv4/conf/all/rp_filter": 0, "ipv4/conf/lo/forwarding": 0, "ipv6/bindv6only": 0,
    "ipv6/conf/all/disable_ipv6": 0, "ipv6/conf/default/disable_ipv6": 0, "ipv6/conf/lo/disable_ipv6": 0,
}  # fmt: skip


def init(kernel: Kernel) -> None:
    """/proc/net and /proc/sys/net."""
    procfs = kernel.vfs.procfs
    assert isinstance(procfs, ProcSuperBlock)
    directory = procfs.net
    texts: dict[str, Callable[[], str]] = {name: text.__str__ for name, text in _HEADS.items()}
    texts |= {
        "tcp": lambda: tcp(kernel.net, AF_INET), "tcp6": lambda: tcp(kernel.net, AF_INET6),
        "udp": lambda: udp(kernel.net, AF_INET), "udp6": lambda: udp(kernel.net, AF_INET6),
        "unix": lambda: unix(kernel.net), "netlink": lambda: netlink(kernel.net),
        "if_inet6": lambda: _ADDRESS6 if kernel.net.device.up else "",
        "sockstat": lambda: sockstat(kernel.net), "sockstat6": lambda: sockstat6(kernel.net),
    }  # fmt: skip
    for name, text in sorted(texts.items()):
        directory.add(name, TextFile(procfs, _encoded(text)))
    for name, value in _FIXED.items():
        procfs.add_sysctl(f"net/{name}", f"{value}\n".encode)

    def set_somaxconn(value: int) -> None:
        kernel.net.somaxconn = value

    procfs.add_number("net/core/somaxconn", lambda: kernel.net.somaxconn, set_somaxconn, 0, 0x7FFF_FFFF)


def _encoded(text: Callable[[], str]) -> Callable[[], bytes]:
    return lambda: text().encode("utf-8", "surrogateescape")


def _of_inet(net: NetNamespace, family: int, protocol: int) -> Iterator[InetSocket]:
    """The sockets of a protocol that have a port, those who listen first."""
    found = [each for each in net.open if isinstance(each, InetSocket) and each.local is not None]
    found = [each for each in found if (each.family, each.protocol) == (family, protocol)]
    yield from sorted(found, key=lambda each: each.backlog is None)


def _end(endpoint: Endpoint, family: int) -> str:
    """An address as the words of memory that hold it, and its port."""
    packed = unmapped(endpoint.ip).packed if family == AF_INET else as_six(endpoint.ip).packed
    return "".join(f"{word:08X}" for word in struct.unpack(f"<{len(packed) // 4}I", packed)) + f":{endpoint.port:04X}"


def _line(number: int, socket: InetSocket) -> str:
    """What the lines of TCP and UDP have in common."""
    assert socket.local is not None
    remote = socket.remote or Endpoint(socket.any_ip, 0)
    read, _ = queues_of(socket)
    inode = 0 if socket.listener is not None else socket.inode.ino
    return (
        f"{number:4}: {_end(socket.local, socket.family)} {_end(remote, socket.family)} {state_of(socket):02X} "
        f"00000000:{read:08X} 00:00000000 00000000 {socket.inode.uid:5} {0:8} {inode} "
    )


def tcp(net: NetNamespace, family: int) -> str:
    """/proc/net/tcp, tcp6."""
    lines = []
    for number, socket in enumerate(_of_inet(net, family, IPPROTO_TCP)):
        if state_of(socket) == TcpState.CLOSE:
            continue
        rest = "1 0000000000000000 " + ("100 0 0 10 0" if socket.backlog is not None else "20 0 0 10 -1")
        lines.append((_line(number, socket) + rest).ljust(149 if family == AF_INET else 0))
    return "\n".join([_TCP4.ljust(149) if family == AF_INET else _TCP6[:-1], *lines, ""])


def udp(net: NetNamespace, family: int) -> str:
    """/proc/net/udp, udp6."""
    lines = [
        (" " + _line(number, socket) + "2 0000000000000000 0").ljust(127 if family == AF_INET else 0)
        for number, socket in enumerate(_of_inet(net, family, IPPROTO_UDP))
    ]
    return "\n".join([_UDP4.ljust(127) if family == AF_INET else _UDP6[:-1], *lines, ""])


def unix(net: NetNamespace) -> str:
    """/proc/net/unix: Flags say who listens, St is of enum socket_state."""
    lines = ["Num       RefCount Protocol Flags    Type St Inode Path\n"]
    for socket in net.open:
        if not isinstance(socket, UnixSocket):
            continue
        waiting, listens = socket.listener is not None, socket.backlog is not None
        state = 2 if waiting else 3 if socket.connected else 1
        name = socket.name.rstrip(b"\0") if socket.name[:1] != b"\0" else socket.name.replace(b"\0", b"@")
        path = f" {name.decode('utf-8', 'surrogateescape')}" if name else ""
        lines.append(
            f"{0:016x}: {2 + (socket.peer is not None):08X} 00000000 {0x10000 * listens:08X} {socket.type:04X} "
            f"{state:02X} {0 if waiting else socket.inode.ino:5}{path}\n"
        )
    return "".join(lines)


def netlink(net: NetNamespace) -> str:
    """/proc/net/netlink."""
    found = [each for each in net.open if isinstance(each, NetlinkSocket)]
    return _NETLINK + "".join(
        f"{0:016x} {each.protocol:<3} {each.port:<10} {each.groups:08x} {0:<8} {0:<8} {0:<8} {2:<8} {0:<8} "
        f"{each.inode.ino:<8}\n"
        for each in found
    )


def _number_of(net: NetNamespace, family: int, protocol: int) -> int:
    return sum(1 for _ in _of_inet(net, family, protocol))


def sockstat(net: NetNamespace) -> str:
    """/proc/net/sockstat."""
    connections = sum(_number_of(net, family, IPPROTO_TCP) for family in (AF_INET, AF_INET6))
    return (
        f"sockets: used {len(net.open)}\n"
        f"TCP: inuse {_number_of(net, AF_INET, IPPROTO_TCP)} orphan 0 tw 0 alloc {connections} mem 0\n"
        f"UDP: inuse {_number_of(net, AF_INET, IPPROTO_UDP)} mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\n"
        "FRAG: inuse 0 memory 0\n"
    )


def sockstat6(net: NetNamespace) -> str:
    """/proc/net/sockstat6."""
    return (
        f"TCP6: inuse {_number_of(net, AF_INET6, IPPROTO_TCP)}\nUDP6: inuse {_number_of(net, AF_INET6, IPPROTO_UDP)}\n"
        "UDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
    )
