/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TCP connection on 127.0.0.1: names, data, closing. */
#include "native.h"
#include <netinet/in.h>
#include <sys/socket.h>

int main(void)
{
	struct sockaddr_in a = { AF_INET, 0, { 0x0100007f }, { 0 } }, got;
	int length = sizeof(a);
	char text[8] = "";
	int s = MUST(socket, AF_INET, SOCK_STREAM, 0), c = MUST(socket, AF_INET, SOCK_STREAM, 0);
	SHOW(bind, s, &a, 4);
	SHOW(bind, s, &a, sizeof(a));
	SHOW(bind, s, &a, sizeof(a));
	SHOW(getsockname, s, &a, &length);
	SAY(a.sin_port != 0);
	SHOW(connect, c, &a, sizeof(a));
	SHOW(listen, s, 5);
	MUST(close, c);
	c = MUST(socket, AF_INET, SOCK_STREAM, 0);
	SHOW(getpeername, c, &got, &length);
	SHOW(connect, c, &a, 4);
	SHOW(connect, c, &a, sizeof(a));
	SHOW(connect, c, &a, sizeof(a));
	int n = SHOW(accept4, s, &got, &length, 0);
	print("%d %d\n", length, got.sin_addr.s_addr == a.sin_addr.s_addr);
	SHOW(write, c, "hello", 5);
	SHOW(read, n, text, 8);
	print("%s\n", text);
	SHOW(shutdown, c, SHUT_WR);
	SHOW(read, n, text, 8);
	SHOW(write, n, "back", 4);
	SHOW(read, c, text, 8);
	MUST(close, n);
	SHOW(read, c, text, 8);
	a.sin_family = 77;
	c = MUST(socket, AF_INET, SOCK_STREAM, 0);
	SHOW(connect, c, &a, sizeof(a));
	SHOW(bind, c, &a, sizeof(a));
	a = (struct sockaddr_in){ AF_INET, 0, { 0x04030201 }, { 0 } };
	SHOW(bind, c, &a, sizeof(a));
	SHOW(sendto, c, "x", 1, MSG_NOSIGNAL, NULL, 0);
	return 0;
}
