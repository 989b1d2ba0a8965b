/* SPDX-License-Identifier: GPL-2.0-or-later */
/* accept(2), recvfrom(2), sendto(2) and a receive time that is set. */
#include "native.h"
#include <sys/socket.h>
#include <sys/un.h>

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	struct sockaddr_un a = { AF_UNIX, "name" };
	struct timeval t = { 100, 0 };
	char byte;
	int s = MUST(socket, AF_UNIX, SOCK_STREAM, 0), pair[2];
	MUST(bind, s, &a, sizeof(a));
	MUST(listen, s, 1);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	handle(SIGUSR1, on_signal, 0);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(accept, s, NULL, NULL);
	SHOW(recvfrom, pair[0], &byte, 1, 0, NULL, NULL);
	SHOW(read, pair[0], &byte, 1);
	MUST(setsockopt, pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	handle(SIGUSR1, on_signal, SA_RESTART);
	SHOW(recvfrom, pair[0], &byte, 1, 0, NULL, NULL);
	end_child(pid);
	return 0;
}
