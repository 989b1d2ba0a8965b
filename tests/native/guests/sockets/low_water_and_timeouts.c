/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_RCVLOWAT, SO_RCVTIMEO and SO_SNDTIMEO: also of read(2), write(2), accept(2); signals end a call with a timeout. */
#include "net.h"

static void on_alarm(void)
{
}

int main(void)
{
	struct timeval soon = { 0, 30000 }, later = { 5, 0 }, wrong = { 0, 1000000 };
	struct sockaddr_un name = { AF_UNIX, "listener" };
	char data[4096];
	int s[2];

	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	SET(s[1], SOL_SOCKET, SO_RCVLOWAT, 5);
	GET(s[1], SOL_SOCKET, SO_RCVLOWAT);
	MUST(write, s[0], "abc", 3);
	events(s[1]);
	take(s[1], 9, 0);
	SHOW(setsockopt, s[1], SOL_SOCKET, SO_RCVTIMEO, &wrong, sizeof(wrong));
	SHOW(setsockopt, s[1], SOL_SOCKET, SO_RCVTIMEO, &soon, 8);
	SHOW(setsockopt, s[1], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	MUST(write, s[0], "abc", 3);
	SHOW(recvfrom, s[1], data, 9, 0, NULL, NULL);
	SHOW(recvfrom, s[1], data, 9, 0, NULL, NULL);
	SHOW(read, s[1], data, 9);
	MUST(write, s[0], "abcdefgh", 8);
	SHOW(recvfrom, s[1], data, 2, 0, NULL, NULL);
	SHOW(recvfrom, s[1], data, 9, 0, NULL, NULL);
	SHOW(setsockopt, s[0], SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon));
	while (SYS(write, s[0], data, sizeof(data)) > 0)
		;
	SHOW(write, s[0], data, 1);
	SHOW(sendto, s[0], data, 1, 0, NULL, 0);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	MUST(setsockopt, s[1], SOL_SOCKET, SO_RCVTIMEO, &later, sizeof(later));
	handle(SIGUSR1, on_alarm, SA_RESTART);
	long child = signals_from_a_child(SIGUSR1);
	SHOW(read, s[1], data, 1);
	SHOW(recvfrom, s[1], data, 1, 0, NULL, NULL);
	end_child(child);
	int server = MUST(socket, AF_UNIX, SOCK_STREAM, 0);
	MUST(bind, server, &name, sizeof(name));
	MUST(listen, server, 0);
	MUST(setsockopt, server, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	SHOW(accept, server, NULL, NULL);
	return 0;
}
