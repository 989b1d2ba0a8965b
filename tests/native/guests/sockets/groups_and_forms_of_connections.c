/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MCAST_JOIN_GROUP of a listening socket is not passed on; IPV6_ADDRFORM makes a connection one of AF_INET. */
#include "net.h"

int main(void)
{
	struct {
		u32 device;
		u32 unused;
		struct sockaddr_storage group;
	} request = { .device = 1 };
	struct sockaddr_in *group = (void *)&request.group, to, any = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_storage name;
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int server = listener(5), client = MUST(socket, AF_INET, SOCK_STREAM, 0), size = sizeof(name);

	group->sin_family = AF_INET;
	group->sin_addr.s_addr = __builtin_bswap32(0xe0000063);
	SHOW(setsockopt, server, IPPROTO_IP, 42, &request, sizeof(request));
	SHOW(setsockopt, server, IPPROTO_IP, 42, &request, sizeof(request));
	to = local(port_of(server));
	MUST(connect, client, &to, sizeof(to));
	int accepted = MUST(accept, server, NULL, NULL);
	SHOW(setsockopt, accepted, IPPROTO_IP, 45, &request, sizeof(request));
	SHOW(setsockopt, server, IPPROTO_IP, 45, &request, sizeof(request));
	SHOW(setsockopt, server, IPPROTO_IP, 45, &request, 100);
	SHOW(setsockopt, server, IPPROTO_IP, 35, &request, 12);
	SHOW(setsockopt, server, IPPROTO_IPV6, 1, &(int){ AF_INET }, sizeof(int));
	server = MUST(socket, AF_INET6, SOCK_STREAM, 0);
	MUST(bind, server, &six, sizeof(six));
	MUST(listen, server, 5);
	to = local(port_of(server));
	client = MUST(socket, AF_INET, SOCK_STREAM, 0);
	MUST(connect, client, &to, sizeof(to));
	accepted = MUST(accept, server, NULL, NULL);
	SET(server, IPPROTO_IPV6, 1, AF_INET);
	SET(accepted, IPPROTO_IPV6, 1, AF_INET6);
	GET(accepted, IPPROTO_IPV6, 1);
	SET(accepted, IPPROTO_IPV6, 1, AF_INET);
	GET(accepted, SOL_SOCKET, SO_DOMAIN);
	GET(accepted, IPPROTO_IPV6, 1);
	SHOW(getsockname, accepted, &name, &size);
	print("  %d bytes, family %d\n", size, name.ss_family);
	SHOW(write, client, "z", 1);
	sleep_ms(10);
	take(accepted, 9, 0);
	SHOW(connect, accepted, &nobody, sizeof(nobody));
	SHOW(bind, accepted, &any, sizeof(any));
	SHOW(listen, accepted, 1);
	to = local(port_of(accepted));
	SHOW(connect, MUST(socket, AF_INET, SOCK_STREAM, 0), &to, sizeof(to));
	return 0;
}
