/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each call says of each kind of socket that nothing was done with. */
#include "native.h"
#include <netinet/in.h>
#include <sys/socket.h>

static char text[128];
#define TRY(name, ...) print(" %s", result_name(SYS(name, ##__VA_ARGS__)))

int main(void)
{
	static const int kinds[][2] = { { AF_UNIX, SOCK_STREAM }, { AF_UNIX, SOCK_DGRAM }, { AF_UNIX, SOCK_SEQPACKET }, { AF_INET, SOCK_STREAM }, { AF_INET, SOCK_DGRAM }, { AF_INET6, SOCK_STREAM }, { AF_INET6, SOCK_DGRAM } };
	for (u32 i = 0; i < COUNT(kinds); i++) {
		int s = MUST(socket, kinds[i][0], kinds[i][1] | SOCK_NONBLOCK, 0), length = sizeof(text), value = 0;
		struct sockaddr none = { AF_UNSPEC, { 0 } };
		struct pollfd p = { s, POLLIN | POLLOUT, 0 };
		u16 family = kinds[i][0];

		print("%d %d:", kinds[i][0], kinds[i][1]);
		TRY(poll, &p, 1, 0);
		print(" %x", p.revents);
		TRY(accept, s, NULL, NULL);
		TRY(getpeername, s, text, &length);
		length = sizeof(text);
		TRY(getsockname, s, text, &length);
		print(" %d", length);
		TRY(recvfrom, s, text, 1, 0, NULL, NULL);
		TRY(sendto, s, text, 1, MSG_NOSIGNAL, NULL, 0);
		TRY(sendto, s, text, 0, MSG_NOSIGNAL, NULL, 0);
		TRY(read, s, text, 1);
		TRY(shutdown, s, 0);
		TRY(shutdown, s, 1);
		TRY(connect, s, &family, 2);
		TRY(connect, s, &family, 1);
		TRY(connect, s, &none, sizeof(none));
		TRY(bind, s, &none, sizeof(none));
		TRY(bind, s, &none, 2);
		TRY(ioctl, s, 0x541b, &value);
		TRY(ioctl, s, 0x5411, &value);
		TRY(setsockopt, s, SOL_SOCKET, SO_KEEPALIVE, &value, 4);
		TRY(setsockopt, s, SOL_SOCKET, SO_RCVBUF, &value, 4);
		length = 4;
		TRY(getsockopt, s, SOL_SOCKET, SO_ERROR, &value, &length);
		print(" %d", value);
		TRY(fcntl, s, F_GETFL);
		TRY(lseek, s, 0, 0);
		TRY(close, s);
		print("\n");
	}
	return 0;
}
