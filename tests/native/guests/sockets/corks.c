/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSG_MORE, TCP_CORK and UDP_CORK: what is sent waits for more, for 200 ms at most with TCP. */
#include "net.h"

int main(void)
{
	int s[2], fd = MUST(socket, AF_INET, SOCK_DGRAM, 0), from = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = local(0);

	tcp_pair(s);
	SHOW(sendto, s[0], "more", 4, MSG_MORE, NULL, 0);
	take(s[1], 20, 0);
	SHOW(sendto, s[0], "x", 1, 0, NULL, 0);
	sleep_ms(10);
	take(s[1], 20, 0);
	SHOW(sendto, s[0], "late", 4, MSG_MORE, NULL, 0);
	sleep_ms(500);
	take(s[1], 20, 0);
	SET(s[0], IPPROTO_TCP, 3, 1);
	SHOW(write, s[0], "ab", 2);
	SHOW(write, s[0], "cd", 2);
	take(s[1], 20, 0);
	SET(s[0], IPPROTO_TCP, 3, 0);
	sleep_ms(10);
	take(s[1], 20, 0);
	SHOW(sendto, s[0], "end", 3, MSG_MORE, NULL, 0);
	SHOW(shutdown, s[0], SHUT_WR);
	sleep_ms(10);
	take(s[1], 20, 0);
	take(s[1], 20, 0);
	take(s[1], 20, MSG_ERRQUEUE);
	MUST(bind, fd, &to, sizeof(to));
	to = local(port_of(fd));
	SHOW(sendto, from, "one", 3, MSG_MORE, &to, sizeof(to));
	SHOW(sendto, from, "two", 3, MSG_MORE, NULL, 0);
	take(fd, 20, 0);
	SHOW(sendto, from, "!", 1, 0, &to, sizeof(to));
	take(fd, 20, 0);
	take(fd, 20, 0);
	MUST(connect, from, &to, sizeof(to));
	SET(from, IPPROTO_UDP, 1, 1);
	SHOW(write, from, "c", 1);
	SHOW(write, from, "d", 1);
	take(fd, 20, 0);
	SET(from, IPPROTO_UDP, 1, 0);
	take(fd, 20, 0);
	SHOW(sendto, from, "gone", 4, MSG_MORE, NULL, 0);
	MUST(close, from);
	take(fd, 20, 0);
	return 0;
}
