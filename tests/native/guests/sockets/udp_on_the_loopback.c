/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UDP datagrams on 127.0.0.1. */
#include "native.h"
#include <netinet/in.h>
#include <sys/socket.h>

int main(void)
{
	struct sockaddr_in a = { AF_INET, 0, { 0x0100007f }, { 0 } }, got;
	int length = sizeof(a);
	char text[8] = "";
	int x = MUST(socket, AF_INET, SOCK_DGRAM, 0), y = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	MUST(bind, x, &a, sizeof(a));
	MUST(getsockname, x, &a, &length);
	SHOW(sendto, y, "hello", 5, 0, &a, sizeof(a));
	SHOW(recvfrom, x, text, 3, MSG_TRUNC, &got, &length);
	print("%s %d\n", text, length);
	SHOW(sendto, x, "back", 4, 0, &got, length);
	SHOW(recvfrom, y, text, 8, 0, NULL, NULL);
	SHOW(sendto, y, "x", 1, 0, NULL, 0);
	SHOW(connect, y, &a, sizeof(a));
	SHOW(sendto, y, "x", 1, 0, NULL, 0);
	SHOW(recvfrom, x, text, 8, MSG_DONTWAIT, NULL, NULL);
	SHOW(recvfrom, x, text, 8, MSG_DONTWAIT, NULL, NULL);
	SHOW(listen, x, 1);
	SHOW(accept, x, NULL, NULL);
	static char big[70000];
	SHOW(sendto, y, big, 70000, 0, NULL, 0);
	SHOW(sendto, y, "x", 1, MSG_OOB, NULL, 0);
	return 0;
}
