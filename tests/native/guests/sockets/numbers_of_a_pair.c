/* SPDX-License-Identifier: GPL-2.0-or-later */
/* socketpair(2) writes its two numbers before it makes the sockets, and says last what is wrong with those. */
#include "native.h"
#include <sys/socket.h>

static int two[2];

static void tell(void)
{
	print("  numbers %d %d\n", two[0], two[1]);
	two[0] = two[1] = -1;
}

int main(void)
{
	struct rlimit limit = { 6, 6 };

	two[0] = two[1] = -1;
	SHOW(socketpair, AF_INET, SOCK_STREAM, 0, two);
	tell();
	SHOW(socketpair, 99, SOCK_STREAM, 0, two);
	tell();
	SHOW(socketpair, AF_UNIX, 99, 0, two);
	tell();
	SHOW(socketpair, AF_UNIX, SOCK_STREAM | 0x100000, 0, two);
	tell();
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 7, two);
	tell();
	SHOW(socketpair, 99, SOCK_STREAM, 0, NOWHERE);
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, NOWHERE);
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, two);
	tell();
	MUST(close, 3);
	SHOW(socketpair, AF_UNIX, SOCK_DGRAM, 0, two);
	tell();
	MUST(setrlimit, RLIMIT_NOFILE, &limit);
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, two);
	tell();
	MUST(close, 3);
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, two);
	tell();
	SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, NOWHERE);
	return 0;
}
