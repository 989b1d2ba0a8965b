/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_REUSEADDR and SO_REUSEPORT: who may bind what, and who gets what then. */
#include "net.h"

static int bound(int kind, int port, int reuse, int share)
{
	struct sockaddr_in address = local(port);
	int fd = MUST(socket, AF_INET, kind, 0);

	MUST(setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
	MUST(setsockopt, fd, SOL_SOCKET, SO_REUSEPORT, &share, sizeof(share));
	print("reuse %d, share %d", reuse, share);
	show(": bind", SYS(bind, fd, &address, sizeof(address)));
	return fd;
}

int main(void)
{
	for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++) {
		print("kind %d\n", kind);
		int fd = bound(kind, 0, 1, 0), port = port_of(fd);

		bound(kind, port, 0, 0);
		bound(kind, port, 1, 0);
		bound(kind, port, 0, 1);
		if (kind == SOCK_STREAM)
			SHOW(listen, fd, 1);
		bound(kind, port, 1, 0);
		fd = bound(kind, 0, 0, 1);
		port = port_of(fd);
		bound(kind, port, 0, 0);
		bound(kind, port, 0, 1);
		SHOW(bind, fd, &(struct sockaddr_in){ .sin_family = AF_INET }, sizeof(struct sockaddr_in));
	}
	int one = bound(SOCK_DGRAM, 0, 0, 1), two = bound(SOCK_DGRAM, port_of(one), 0, 1), got[2] = { 0, 0 };
	struct sockaddr_in to = local(port_of(one));
	char byte;
	for (int i = 0; i < 64; i++) {
		int from = MUST(socket, AF_INET, SOCK_DGRAM, 0);

		MUST(sendto, from, "a", 1, 0, &to, sizeof(to));
		MUST(close, from);
	}
	sleep_ms(10);
	while (SYS(recvfrom, one, &byte, 1, MSG_DONTWAIT, NULL, NULL) == 1)
		got[0]++;
	while (SYS(recvfrom, two, &byte, 1, MSG_DONTWAIT, NULL, NULL) == 1)
		got[1]++;
	SAY(got[0] + got[1]);
	SAY(got[0] > 5 && got[1] > 5);
	return 0;
}
