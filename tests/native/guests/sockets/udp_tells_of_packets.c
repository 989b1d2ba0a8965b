/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP_PKTINFO, RECVTTL, RECVTOS and their like of IPv6; TTL and TOS by option and by control message. */
#include "net.h"

static void receive(int fd)
{
	char control[256], data[16];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };

	message.msg_controllen = sizeof(control);
	show("recvmsg", SYS(recvmsg, fd, &message, MSG_DONTWAIT));
	for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head && message.msg_controllen; ) {
		u8 *body = CMSG_DATA(head);

		print("  %d/%d:", head->cmsg_level, head->cmsg_type);
		for (u32 i = 0; i < head->cmsg_len - sizeof(*head); i++)
			print(" %x", body[i]);
		print("\n");
		head = (void *)((char *)head + ((head->cmsg_len + 7) & ~7UL));
		if ((char *)head >= control + message.msg_controllen)
			break;
	}
}

static void send_with(int fd, void *to, int length, int level, int type, int value)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { CMSG_LEN(sizeof(int)), level, type } };
	struct iovec iov = { "c", 1 };
	struct msghdr message = { to, length, &iov, 1, &control, sizeof(control), 0 };

	memcpy(CMSG_DATA(&control.head), &value, sizeof(value));
	print("%d/%d %d ", level, type, value);
	show("sendmsg", SYS(sendmsg, fd, &message, 0));
}

int main(void)
{
	int fd = MUST(socket, AF_INET, SOCK_DGRAM, 0), from = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in any = local(0), to;
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };

	MUST(bind, fd, &any, sizeof(any));
	to = local(port_of(fd));
	SET(fd, IPPROTO_IP, 8, 1);
	SET(fd, IPPROTO_IP, 12, 1);
	SET(fd, IPPROTO_IP, 13, 1);
	MUST(sendto, from, "a", 1, 0, &to, sizeof(to));
	receive(fd);
	SET(from, IPPROTO_IP, 2, 33);
	SET(from, IPPROTO_IP, 2, 0);
	SET(from, IPPROTO_IP, 2, 256);
	SET(from, IPPROTO_IP, 1, 0x28);
	MUST(sendto, from, "a", 1, 0, &to, sizeof(to));
	receive(fd);
	send_with(from, &to, sizeof(to), IPPROTO_IP, 2, 77);
	receive(fd);
	send_with(from, &to, sizeof(to), IPPROTO_IP, 2, 0);
	send_with(from, &to, sizeof(to), IPPROTO_IP, 99, 1);
	fd = MUST(socket, AF_INET6, SOCK_DGRAM, 0);
	MUST(bind, fd, &six, sizeof(six));
	six.sin6_port = __builtin_bswap16(port_of(fd));
	six.sin6_addr.s6_addr[15] = 1;
	SET(fd, IPPROTO_IPV6, 49, 1);
	SET(fd, IPPROTO_IPV6, 51, 1);
	SET(fd, IPPROTO_IPV6, 66, 1);
	from = MUST(socket, AF_INET6, SOCK_DGRAM, 0);
	MUST(sendto, from, "a", 1, 0, &six, sizeof(six));
	receive(fd);
	send_with(from, &six, sizeof(six), IPPROTO_IPV6, 52, 5);
	receive(fd);
	send_with(from, &six, sizeof(six), IPPROTO_IPV6, 67, -1);
	receive(fd);
	send_with(from, &six, sizeof(six), IPPROTO_IPV6, 52, 256);
	to.sin_port = six.sin6_port;
	from = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	MUST(sendto, from, "a", 1, 0, &to, sizeof(to));
	receive(fd);
	return 0;
}
