/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AF_INET6 and IPv4: mapped addresses, IPV6_V6ONLY, ports that both want. */
#include "net.h"

static struct sockaddr_in6 six(int port, int last, int mapped)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };

	address.sin6_port = __builtin_bswap16(port);
	address.sin6_addr.s6_addr[15] = last;
	if (mapped) {
		address.sin6_addr.s6_addr[10] = address.sin6_addr.s6_addr[11] = 0xff;
		address.sin6_addr.s6_addr[12] = 127;
	}
	return address;
}

static void named(const char *what, struct sockaddr_in6 *address)
{
	print("  %s family %d:", what, address->sin6_family);
	for (int i = 0; i < 16; i++)
		print(" %x", address->sin6_addr.s6_addr[i]);
	print("\n");
}

int main(void)
{
	int server = MUST(socket, AF_INET6, SOCK_STREAM, 0), only = MUST(socket, AF_INET6, SOCK_STREAM, 0), size;
	struct sockaddr_in6 any = six(0, 0, 0), from;

	GET(server, IPPROTO_IPV6, 26);
	SHOW(bind, server, &any, 20);
	SET(server, IPPROTO_IPV6, 26, 0);
	SHOW(bind, server, &any, sizeof(any));
	SET(server, IPPROTO_IPV6, 26, 1);
	MUST(listen, server, 5);
	int port = port_of(server);
	struct sockaddr_in four = local(port);
	struct sockaddr_in6 own = six(port, 1, 0), mapped = six(port, 1, 1);
	SHOW(connect, MUST(socket, AF_INET, SOCK_STREAM, 0), &four, sizeof(four));
	size = sizeof(from);
	MUST(accept, server, &from, &size);
	named("accepted", &from);
	int client = MUST(socket, AF_INET6, SOCK_STREAM, 0);
	SHOW(connect, client, &own, sizeof(own));
	size = sizeof(from);
	int accepted = MUST(accept, server, &from, &size);
	named("accepted", &from);
	size = sizeof(from);
	MUST(getsockname, accepted, &from, &size);
	named("here", &from);
	client = MUST(socket, AF_INET6, SOCK_STREAM, 0);
	SHOW(connect, client, &mapped, sizeof(mapped));
	size = sizeof(from);
	MUST(getsockname, client, &from, &size);
	named("here", &from);
	SHOW(connect, MUST(socket, AF_INET6, SOCK_STREAM, 0), &four, sizeof(four));
	SHOW(bind, MUST(socket, AF_INET, SOCK_STREAM, 0), &four, sizeof(four));
	SET(only, IPPROTO_IPV6, 26, 1);
	any.sin6_port = own.sin6_port;
	SHOW(bind, only, &any, sizeof(any));
	SHOW(bind, only, &mapped, sizeof(mapped));
	any.sin6_port = 0;
	SHOW(bind, only, &any, sizeof(any));
	MUST(listen, only, 5);
	four = local(port_of(only));
	SHOW(connect, MUST(socket, AF_INET, SOCK_STREAM, 0), &four, sizeof(four));
	SHOW(bind, MUST(socket, AF_INET, SOCK_STREAM, 0), &four, sizeof(four));
	int udp = MUST(socket, AF_INET6, SOCK_DGRAM, 0);
	SHOW(connect, udp, &four, sizeof(four));
	size = sizeof(from);
	MUST(getpeername, udp, &from, &size);
	named("peer", &from);
	SET(udp, IPPROTO_IPV6, 26, 1);
	return 0;
}
