/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multicast on lo: joining, leaving, and who gets what. */
#include "net.h"

int main(void)
{
	int one = MUST(socket, AF_INET, SOCK_DGRAM, 0), two = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	int from = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in any = { .sin_family = AF_INET }, to;
	struct ip_mreqn group = { { 0 }, { 0 }, 1 };
	struct ip_mreq old;
	u32 lo = __builtin_bswap32(INADDR_LOOPBACK);

	MUST(setsockopt, one, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	MUST(setsockopt, two, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	MUST(bind, one, &any, sizeof(any));
	any.sin_port = __builtin_bswap16(port_of(one));
	MUST(bind, two, &any, sizeof(any));
	to = any;
	to.sin_addr.s_addr = group.imr_multiaddr.s_addr = __builtin_bswap32(0xef010203);
	old.imr_multiaddr = group.imr_multiaddr;
	old.imr_interface.s_addr = lo;
	SHOW(setsockopt, one, IPPROTO_IP, 35, &group, sizeof(group));
	SHOW(setsockopt, one, IPPROTO_IP, 35, &group, sizeof(group));
	SHOW(setsockopt, two, IPPROTO_IP, 35, &old, sizeof(old));
	SHOW(setsockopt, two, IPPROTO_IP, 35, &old, 4);
	SHOW(setsockopt, from, IPPROTO_IP, 32, &lo, sizeof(lo));
	SHOW(sendto, from, "m", 1, 0, &to, sizeof(to));
	sleep_ms(10);
	take(one, 9, 0);
	take(two, 9, 0);
	SHOW(setsockopt, one, IPPROTO_IP, 36, &group, sizeof(group));
	SHOW(setsockopt, one, IPPROTO_IP, 36, &group, sizeof(group));
	SHOW(sendto, from, "n", 1, 0, &to, sizeof(to));
	sleep_ms(10);
	take(two, 9, 0);
	group.imr_multiaddr.s_addr = lo;
	SHOW(setsockopt, one, IPPROTO_IP, 35, &group, sizeof(group));
	group.imr_multiaddr = old.imr_multiaddr;
	group.imr_ifindex = 9999;
	SHOW(setsockopt, one, IPPROTO_IP, 35, &group, sizeof(group));
	SHOW(connect, MUST(socket, AF_INET, SOCK_STREAM, 0), &to, sizeof(to));
	return 0;
}
