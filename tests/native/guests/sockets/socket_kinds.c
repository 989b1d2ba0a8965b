/* SPDX-License-Identifier: GPL-2.0-or-later */
/* socket(2) and socketpair(2): families, kinds, protocols, flags. */
#include "native.h"
#include <sys/socket.h>

int main(void)
{
	int fds[2];
	SHOW(socket, AF_UNIX, SOCK_STREAM, 0);
	SHOW(socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	SHOW(socket, AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
	SHOW(socket, AF_UNIX, 99, 0);
	SHOW(socket, AF_UNIX, SOCK_STREAM | 0x1000, 0);
	SHOW(socket, AF_UNIX, SOCK_STREAM, 99);
	SHOW(socket, 99, SOCK_STREAM, 0);
	SHOW(socket, -1, SOCK_STREAM, 0);
	SHOW(socket, AF_INET, SOCK_STREAM, 0);
	SHOW(socket, AF_INET, SOCK_STREAM, 17);
	SHOW(socket, AF_INET, SOCK_DGRAM, 6);
	SHOW(socketpair, AF_INET, SOCK_STREAM, 0, fds);
	SHOW(socketpair, AF_UNIX, 99, 0, fds);
	SHOW(socketpair, 99, SOCK_STREAM, 0, fds);
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, NOWHERE);
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, fds);
	SHOW(fcntl, fds[0], F_GETFD);
	SHOW(lseek, fds[0], 0, SEEK_CUR);
	return 0;
}
