/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AF_UNIX datagrams: boundaries, truncation, addresses, who is connected. */
#include "native.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un a = { AF_UNIX, "a" }, b = { AF_UNIX, "b" }, got;
	int length = sizeof(got);
	char text[8] = "";
	int x = MUST(socket, AF_UNIX, SOCK_DGRAM, 0), y = MUST(socket, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	SHOW(sendto, x, "hello", 5, 0, &a, sizeof(a));
	MUST(bind, x, &a, sizeof(a));
	MUST(bind, y, &b, sizeof(b));
	SHOW(sendto, x, "hello", 5, 0, NULL, 0);
	SHOW(sendto, x, "hello", 5, 0, &b, sizeof(b));
	SHOW(sendto, x, "", 0, 0, &b, sizeof(b));
	SHOW(recvfrom, y, text, 3, MSG_TRUNC, &got, &length);
	print("%s %d %s\n", text, length, got.sun_path);
	SHOW(recvfrom, y, text, 8, 0, NULL, NULL);
	SHOW(recvfrom, y, text, 8, 0, NULL, NULL);
	SHOW(connect, y, &a, sizeof(a));
	SHOW(sendto, y, "x", 1, 0, NULL, 0);
	SHOW(listen, y, 1);
	SHOW(accept, y, NULL, NULL);
	SHOW(connect, x, &b, sizeof(b));
	MUST(close, y);
	SHOW(sendto, x, "x", 1, 0, NULL, 0);
	static char big[300000];
	SHOW(sendto, x, big, sizeof(big), MSG_DONTWAIT, &a, sizeof(a));
	return 0;
}
