"""The states of a TCP connection (include/net/tcp_states.h), and how far connect(2) is."""

from __future__ import annotations

from enum import IntEnum


class TcpState(IntEnum):
    """include/net/tcp_states.h."""

    ESTABLISHED = 1
    SYN_SENT = 2
    FIN_WAIT2 = 5
    CLOSE = 7
    CLOSE_WAIT = 8
    LISTEN = 10


class Connecting(IntEnum):
    """How far connect(2) is (socket_state)."""

    UNCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2


#: The states of a connection.
CONNECTED = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2)
