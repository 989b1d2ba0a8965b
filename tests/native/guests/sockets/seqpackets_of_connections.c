/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SOCK_SEQPACKET: boundaries, ends, addresses that do not matter. */
#include "net.h"

int main(void)
{
	struct sockaddr_un name = { AF_UNIX, "\0seq" };
	int server = MUST(socket, AF_UNIX, SOCK_SEQPACKET, 0), client = MUST(socket, AF_UNIX, SOCK_SEQPACKET, 0), size;

	SHOW(write, client, "a", 1);
	take(client, 1, 0);
	events(client);
	MUST(bind, server, &name, 6);
	MUST(listen, server, 1);
	SHOW(sendto, client, "a", 1, 0, &name, 6);
	SHOW(connect, client, &name, 6);
	int accepted = MUST(accept, server, NULL, NULL);
	SHOW(sendto, client, "one", 3, MSG_EOR, &name, 6);
	SHOW(sendto, client, "", 0, 0, NULL, 0);
	SHOW(write, client, "three", 5);
	SHOW(ioctl, accepted, FIONREAD, &size);
	SAY(size);
	take(accepted, 2, MSG_PEEK | MSG_TRUNC);
	take(accepted, 2, 0);
	take(accepted, 9, 0);
	take(accepted, 9, MSG_WAITALL);
	take(accepted, 9, 0);
	SHOW(shutdown, client, SHUT_WR);
	take(accepted, 9, 0);
	SHOW(write, accepted, "late", 4);
	MUST(close, accepted);
	take(client, 9, 0);
	take(client, 9, 0);
	events(client);
	return 0;
}
