/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UDP: ports that nobody has, IP_RECVERR and MSG_ERRQUEUE, broadcast, shutdown, disconnecting. */
#include "net.h"

static void error_of(int fd)
{
	char control[128], data[16];
	struct sockaddr_in from = { 0 };
	struct iovec iov = { data, sizeof(data) };
	struct msghdr message = { &from, sizeof(from), &iov, 1, control, sizeof(control), 0 };
	long got = SYS(recvmsg, fd, &message, MSG_ERRQUEUE);

	show("recvmsg MSG_ERRQUEUE", got);
	if (!failed(got)) {
		struct cmsghdr *head = (void *)control;
		u8 *error = CMSG_DATA(head);

		print("  flags %x, port %d, %d/%d of %lu bytes:", message.msg_flags, __builtin_bswap16(from.sin_port),
		      head->cmsg_level, head->cmsg_type, head->cmsg_len);
		for (int i = 0; i < 16; i++)
			print(" %x", error[i]);
		print("\n");
	}
}

int main(void)
{
	int fd = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in nobody = local(1), all = local(9), none = { .sin_family = AF_UNSPEC };

	all.sin_addr.s_addr = __builtin_bswap32(0x7fffffff);
	SHOW(sendto, fd, "abc", 3, 0, &nobody, sizeof(nobody));
	GET(fd, SOL_SOCKET, SO_ERROR);
	error_of(fd);
	SET(fd, IPPROTO_IP, 11, 1);
	SHOW(sendto, fd, "abc", 3, 0, &nobody, sizeof(nobody));
	events(fd);
	error_of(fd);
	error_of(fd);
	events(fd);
	SET(fd, IPPROTO_IP, 11, 0);
	SHOW(write, fd, "a", 1);
	SHOW(sendto, fd, "a", 1, 0, &nobody, 8);
	SHOW(sendto, fd, "a", 1, MSG_OOB, &nobody, sizeof(nobody));
	SHOW(connect, fd, &nobody, sizeof(nobody));
	SHOW(write, fd, "a", 1);
	SHOW(write, fd, "a", 1);
	SHOW(write, fd, "a", 1);
	take(fd, 1, 0);
	take(fd, 1, 0);
	SHOW(connect, fd, &none, sizeof(none));
	SHOW(write, fd, "a", 1);
	SHOW(sendto, fd, "a", 1, 0, &all, sizeof(all));
	SET(fd, SOL_SOCKET, SO_BROADCAST, 1);
	SHOW(sendto, fd, "a", 1, 0, &all, sizeof(all));
	SHOW(shutdown, fd, SHUT_WR);
	SHOW(sendto, fd, "a", 1, 0, &all, sizeof(all));
	SHOW(connect, fd, &nobody, sizeof(nobody));
	SHOW(shutdown, fd, SHUT_RD);
	events(fd);
	take(fd, 1, 0);
	SHOW(recvfrom, fd, NULL, 0, 0, NULL, NULL);
	SHOW(listen, fd, 1);
	SHOW(accept, fd, NULL, NULL);
	return 0;
}
