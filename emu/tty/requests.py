"""The ioctl requests of terminals (include/uapi/asm-generic/ioctls.h)."""

from __future__ import annotations

TCGETS, TCSETS, TCSETSW, TCSETSF = 0x5401, 0x5402, 0x5403, 0x5404
TCSBRK, TCXONC, TCFLSH = 0x5409, 0x540A, 0x540B
TIOCEXCL, TIOCNXCL, TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCOUTQ, TIOCSTI = range(0x540C, 0x5413)
TIOCGWINSZ, TIOCSWINSZ = 0x5413, 0x5414
FIONREAD, TIOCPKT, TIOCNOTTY, TIOCSETD, TIOCGETD, TCSBRKP = 0x541B, 0x5420, 0x5422, 0x5423, 0x5424, 0x5425
TIOCGSID, TIOCVHANGUP, TIOCGPTPEER = 0x5429, 0x5437, 0x5441
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TIOCGPTN, TIOCSPTLCK, TIOCGDEV = 0x80045430, 0x40045431, 0x80045432
TIOCSIG, TIOCGPKT, TIOCGPTLCK, TIOCGEXCL = 0x40045436, 0x80045438, 0x80045439, 0x80045440

#: Requests that change modes: the size of their structure, and whether input is discarded first.
SET_MODES = {
    TCSETS: (36, False), TCSETSW: (36, False), TCSETSF: (36, True),
    TCSETS2: (44, False), TCSETSW2: (44, False), TCSETSF2: (44, True),
}  # fmt: skip
GET_MODES = {TCGETS: 36, TCGETS2: 44}
#: Requests that a process of the background may not make (tty_ioctl, n_tty_ioctl_helper).
CHANGES = frozenset({*SET_MODES, TCSBRK, TCSBRKP, TCXONC, TCFLSH, TIOCSETD})
TCIFLUSH, TCOFLUSH, TCIOFLUSH = range(3)
TCOOFF, TCOON, TCIOFF, TCION = range(4)
#: Control bytes of packet mode.
PKT_FLUSHREAD, PKT_FLUSHWRITE, PKT_STOP, PKT_START, PKT_NOSTOP, PKT_DOSTOP = 1, 2, 4, 8, 16, 32
#: Those that ask for the number of a group or a session.
OF_PROCESSES = frozenset({TIOCGPGRP, TIOCGSID})
