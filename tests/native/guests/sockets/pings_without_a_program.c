/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw sockets of ICMP: the echo request and the answer of the kernel, filters, and who may have one. */
// needs: root
#include "net.h"
#include <linux/icmp.h>

static u16 sum(const void *data, int size)
{
	const u8 *bytes = data;
	u32 total = 0;

	for (int i = 0; i < size; i += 2)
		total += bytes[i] << 8 | bytes[i + 1];
	total = (total & 0xffff) + (total >> 16);
	return __builtin_bswap16(~(total + (total >> 16)));
}

static void receive(int fd)
{
	u8 data[64];
	struct sockaddr_in from = { 0 };
	int length = sizeof(from);
	long got = SYS(recvfrom, fd, data, sizeof(data), MSG_DONTWAIT, &from, &length);

	show("recvfrom", got);
	if (!failed(got)) {
		print("  from port %d, protocol %d, ttl %d; type %d, code %d:", from.sin_port, data[9], data[8], data[20], data[21]);
		for (int i = 24; i < got; i++)
			print(" %x", data[i]);
		print("\n");
	}
}

int main(void)
{
	struct {
		struct icmphdr head;
		char text[8];
	} echo = { .head = { .type = ICMP_ECHO }, .text = "abcdefg" };
	struct sockaddr_in to = local(0);
	u32 filter = 1 << ICMP_ECHO;
	int fd = MUST(socket, AF_INET, SOCK_RAW, IPPROTO_ICMP);

	SHOW(socket, AF_INET, SOCK_RAW, 0);
	echo.head.un.echo.sequence = 0x0100;
	echo.head.checksum = sum(&echo, sizeof(echo));
	SHOW(sendto, fd, &echo, sizeof(echo), 0, NULL, 0);
	SHOW(sendto, fd, &echo, sizeof(echo), 0, &to, sizeof(to));
	sleep_ms(10);
	receive(fd);
	receive(fd);
	receive(fd);
	SHOW(setsockopt, fd, 255, 1, &filter, sizeof(filter));
	SHOW(connect, fd, &to, sizeof(to));
	SHOW(write, fd, &echo, sizeof(echo));
	sleep_ms(10);
	receive(fd);
	receive(fd);
	echo.head.checksum++;
	SHOW(write, fd, &echo, sizeof(echo));
	sleep_ms(10);
	receive(fd);
	SHOW(listen, fd, 1);
	become(1000);
	SHOW(socket, AF_INET, SOCK_RAW, IPPROTO_ICMP);
	SHOW(socket, AF_PACKET, SOCK_RAW, 0);
	return 0;
}
