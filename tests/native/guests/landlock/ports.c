/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: which ports of TCP may be bound and connected to. */
// since: 6.18
#include "native.h"
#include "landlock.h"
#include <netinet/in.h>
#include <sys/socket.h>

static void with(const char *what, int family, int type, u16 port, u16 length)
{
	struct sockaddr_in whole[2] = { { .sin_family = family, .sin_port = __builtin_bswap16(port) } };
	whole[0].sin_addr.s_addr = __builtin_bswap32(0x7f000001);
	int fd = MUST(socket, AF_INET, type, 0);
	print("%s %d %u: bind %s", what, type, port, result_name(SYS(bind, fd, whole, length)));
	print(", connect %s\n", result_name(SYS(connect, fd, whole, length)));
	MUST(close, fd);
}

static void rule(int set, u64 access, u64 port)
{
	u64 attr[2] = { access, port };
	MUST(landlock_add_rule, set, 2, attr, 0);
}

int main(void)
{
	int set = ruleset(0, BIND_TCP | CONNECT_TCP, 0);
	rule(set, BIND_TCP, 23451);
	rule(set, CONNECT_TCP, 23452);
	rule(set, BIND_TCP, 0);
	restrict_self(set);
	with("allowed", AF_INET, SOCK_STREAM, 23451, 16);
	with("to connect", AF_INET, SOCK_STREAM, 23452, 16);
	with("neither", AF_INET, SOCK_STREAM, 23453, 16);
	with("udp", AF_INET, SOCK_DGRAM, 23454, 16);
	with("short", AF_INET, SOCK_STREAM, 23451, 8);
	with("one byte", AF_INET, SOCK_STREAM, 23451, 1);
	with("unspecified", AF_UNSPEC, SOCK_STREAM, 23451, 16);
	with("any port", AF_INET, SOCK_STREAM, 0, 16);
	with("another family", AF_INET6, SOCK_STREAM, 23451, 28);
	return 0;
}
