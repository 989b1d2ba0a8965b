/* SPDX-License-Identifier: GPL-2.0-or-later */
/* connect(2) of TCP that may not wait: made, refused, and waiting for room; a listener that is shut. */
#include "net.h"

static int patient(void)
{
	return MUST(socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

int main(void)
{
	int server = listener(0), fd = patient(), other = patient();
	struct sockaddr_in to = local(port_of(server)), none = local(1);

	events(fd);
	SHOW(connect, fd, &to, sizeof(to));
	sleep_ms(20);
	events(fd);
	SHOW(connect, fd, &to, sizeof(to));
	SHOW(connect, fd, &to, sizeof(to));
	SHOW(connect, other, &to, sizeof(to));
	SHOW(connect, other, &to, sizeof(to));
	events(other);
	SHOW(write, other, "a", 1);
	take(other, 1, 0);
	fd = patient();
	SHOW(connect, fd, &none, sizeof(none));
	sleep_ms(20);
	events(fd);
	SHOW(connect, fd, &none, sizeof(none));
	SHOW(connect, fd, &none, sizeof(none));
	sleep_ms(20);
	GET(fd, SOL_SOCKET, SO_ERROR);
	GET(fd, SOL_SOCKET, SO_ERROR);
	take(fd, 1, 0);
	SHOW(connect, fd, &to, 2);
	SHOW(connect, fd, &to, 129);
	to.sin_family = 77;
	SHOW(connect, patient(), &to, sizeof(to));
	to.sin_family = AF_INET;
	SHOW(shutdown, server, SHUT_WR);
	SHOW(shutdown, server, SHUT_RD);
	MUST(fcntl, server, F_SETFL, O_NONBLOCK);
	SHOW(accept, server, NULL, NULL);
	SHOW(connect, MUST(socket, AF_INET, SOCK_STREAM, 0), &to, sizeof(to));
	SHOW(listen, server, 1);
	SHOW(connect, MUST(socket, AF_INET, SOCK_STREAM, 0), &to, sizeof(to));
	return 0;
}
