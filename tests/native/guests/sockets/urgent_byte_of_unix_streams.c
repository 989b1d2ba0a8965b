/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSG_OOB of AF_UNIX streams: where reads end, SO_OOBINLINE, SIOCATMARK, SIGURG. */
#include "net.h"

static int urgent;

static void on_urgent(void)
{
	urgent++;
}

static void state(int fd)
{
	int mark = -1, size = -1;

	SYS(ioctl, fd, SIOCATMARK, &mark);
	SYS(ioctl, fd, FIONREAD, &size);
	print("  mark %d, %d bytes, SIGURG %d\n", mark, size, urgent);
	events(fd);
}

int main(void)
{
	handle(SIGURG, on_urgent, 0);
	for (int inline_ = 0; inline_ < 2; inline_++) {
		int s[2];

		print("inline %d\n", inline_);
		urgent = 0;
		MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
		MUST(setsockopt, s[1], SOL_SOCKET, SO_OOBINLINE, &inline_, sizeof(inline_));
		MUST(fcntl, s[1], F_SETOWN, SYS(getpid));
		SHOW(sendto, s[0], "", 0, MSG_OOB, NULL, 0);
		take(s[1], 1, MSG_OOB);
		SHOW(sendto, s[0], "abX", 3, MSG_OOB, NULL, 0);
		SHOW(sendto, s[0], "cd", 2, 0, NULL, 0);
		state(s[1]);
		take(s[1], 20, MSG_PEEK);
		take(s[1], 20, MSG_PEEK | MSG_OOB);
		take(s[1], 20, 0);
		state(s[1]);
		take(s[1], 1, MSG_OOB);
		state(s[1]);
		take(s[1], 20, 0);
		take(s[1], 20, 0);
		SHOW(sendto, s[0], "Y", 1, MSG_OOB, NULL, 0);
		SHOW(sendto, s[0], "Z", 1, MSG_OOB, NULL, 0);
		take(s[1], 20, 0);
		take(s[1], 20, MSG_OOB);
		state(s[1]);
	}
	for (int kind = SOCK_DGRAM; kind <= SOCK_SEQPACKET; kind += SOCK_SEQPACKET - SOCK_DGRAM) {
		int s[2], mark;

		MUST(socketpair, AF_UNIX, kind, 0, s);
		SHOW(sendto, s[0], "a", 1, MSG_OOB, NULL, 0);
		take(s[1], 1, MSG_OOB);
		SHOW(ioctl, s[1], SIOCATMARK, &mark);
	}
	return 0;
}
