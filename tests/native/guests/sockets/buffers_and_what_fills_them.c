/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_SNDBUF and SO_RCVBUF, SIOCOUTQ, and the largest messages. */
#include "net.h"

static char data[300000];

static void queued(int fd)
{
	int size = -1;

	SYS(ioctl, fd, SIOCOUTQ, &size);
	print("  %d queued\n", size);
}

int main(void)
{
	static const int sizes[] = { 1, 193, 705, 1729, 3776, 3777, 5000, 36545, 100000 };

	for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++) {
		int s[2];

		print("kind %d\n", kind);
		for (u32 i = 0; i < COUNT(sizes); i++) {
			MUST(socketpair, AF_UNIX, kind, 0, s);
			print("%d", sizes[i]);
			show(" sendto", SYS(sendto, s[0], data, sizes[i], MSG_DONTWAIT, NULL, 0));
			queued(s[0]);
			SYS(recvfrom, s[1], data, 100, 0, NULL, NULL);
			queued(s[0]);
			MUST(close, s[0]);
			MUST(close, s[1]);
		}
		MUST(socketpair, AF_UNIX, kind, 0, s);
		SET(s[0], SOL_SOCKET, SO_SNDBUF, 0);
		GET(s[0], SOL_SOCKET, SO_SNDBUF);
		SET(s[0], SOL_SOCKET, SO_SNDBUF, 3000);
		GET(s[0], SOL_SOCKET, SO_SNDBUF);
		SET(s[0], SOL_SOCKET, SO_RCVBUF, 10);
		GET(s[0], SOL_SOCKET, SO_RCVBUF);
		SHOW(sendto, s[0], data, 6000 - 31, MSG_DONTWAIT, NULL, 0);
		SHOW(sendto, s[0], data, 6000 - 32, MSG_DONTWAIT, NULL, 0);
		SHOW(sendto, s[0], data, 1, MSG_DONTWAIT, NULL, 0);
		queued(s[0]);
		SHOW(sendto, s[0], data, 1, MSG_DONTWAIT, NULL, 0);
		events(s[0]);
	}
	return 0;
}
