/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of AF_UNIX sockets: bound twice, by the kernel, abstract; backlogs that are full, and listeners that are shut. */
#include "net.h"

static int unix_socket(int kind)
{
	return MUST(socket, AF_UNIX, kind, 0);
}

int main(void)
{
	struct sockaddr_un name = { AF_UNIX, "\0native-backlog" }, file = { AF_UNIX, "file" }, got;
	int length = 2 + 15, size = sizeof(got), server = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);

	SHOW(listen, server, 1);
	SHOW(bind, server, &name, 2);
	SHOW(getsockname, server, &got, &size);
	print("  %d bytes, first %d\n", size, got.sun_path[0]);
	SHOW(bind, server, &name, 2);
	SHOW(bind, server, &name, length);
	SHOW(bind, server, &file, sizeof(file));
	SHOW(access, "file", F_OK);
	server = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
	SHOW(bind, server, &name, 1);
	SHOW(bind, server, &name, 111);
	SHOW(bind, server, &name, length);
	SHOW(bind, unix_socket(SOCK_STREAM), &name, length);
	SHOW(connect, unix_socket(SOCK_STREAM), &name, length);
	SHOW(listen, server, 0);
	SHOW(connect, unix_socket(SOCK_DGRAM), &name, length);
	SHOW(connect, unix_socket(SOCK_SEQPACKET), &name, length);
	int first = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
	SHOW(connect, first, &name, length);
	SHOW(connect, first, &name, length);
	SHOW(connect, unix_socket(SOCK_STREAM | SOCK_NONBLOCK), &name, length);
	SHOW(connect, server, &name, length);
	events(server);
	int accepted = DO(accept4, server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	SHOW(fcntl, accepted, F_GETFD);
	SHOW(fcntl, accepted, F_GETFL);
	SHOW(accept4, server, NULL, NULL, 1);
	SHOW(connect, first, &name, length);
	SHOW(accept, server, NULL, NULL);
	SHOW(shutdown, server, SHUT_RD);
	events(server);
	SHOW(accept, server, NULL, NULL);
	MUST(fcntl, server, F_SETFL, 0);
	SHOW(accept, server, NULL, NULL);
	SHOW(connect, unix_socket(SOCK_STREAM), &name, length);
	MUST(close, server);
	size = sizeof(got);
	SHOW(getpeername, first, &got, &size);
	print("  %d bytes\n", size);
	SHOW(connect, unix_socket(SOCK_STREAM), &name, length);
	SHOW(connect, unix_socket(SOCK_STREAM), &file, sizeof(file));
	put("plain", "");
	memcpy(file.sun_path, "plain", 6);
	SHOW(connect, unix_socket(SOCK_STREAM), &file, sizeof(file));
	SHOW(bind, unix_socket(SOCK_STREAM), &file, sizeof(file));
	return 0;
}
