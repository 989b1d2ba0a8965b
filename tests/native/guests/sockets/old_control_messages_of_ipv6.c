/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What RFC 2292 asked for: IPV6_2292PKTINFO and IPV6_2292HOPLIMIT come as control messages of those numbers. */
#include "native.h"
#include <netinet/in.h>
#include <sys/socket.h>

static void receive(const char *what, int from, int to, struct sockaddr_in6 *at)
{
	char text[8], control[256];
	struct iovec iov = { text, sizeof(text) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };

	MUST(sendto, from, "hi", 2, 0, at, sizeof(*at));
	MUST(recvmsg, to, &message, 0);
	print("%s: %d bytes of control\n", what, (int)message.msg_controllen);
	for (u64 at_byte = 0; at_byte < message.msg_controllen;) {
		struct cmsghdr *c = (struct cmsghdr *)(control + at_byte);

		at_byte += CMSG_ALIGN(c->cmsg_len);
		print("  level %d type %d length %d:", c->cmsg_level, c->cmsg_type, (int)c->cmsg_len);
		for (u64 i = 0; i < c->cmsg_len - sizeof(*c); i++)
			print(" %x", CMSG_DATA(c)[i]);
		print("\n");
	}
}

int main(void)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int on = 1, to = MUST(socket, AF_INET6, SOCK_DGRAM, 0), from = MUST(socket, AF_INET6, SOCK_DGRAM, 0);
	u32 size = sizeof(at);

	MUST(bind, to, &at, sizeof(at));
	MUST(getsockname, to, &at, &size);
	receive("none", from, to, &at);
	SHOW(setsockopt, to, IPPROTO_IPV6, 8, &on, sizeof(on));
	receive("hop limit", from, to, &at);
	SHOW(setsockopt, to, IPPROTO_IPV6, 2, &on, sizeof(on));
	receive("both", from, to, &at);
	SHOW(setsockopt, to, IPPROTO_IPV6, 51, &on, sizeof(on));
	SHOW(setsockopt, to, IPPROTO_IPV6, 49, &on, sizeof(on));
	receive("new ones too", from, to, &at);
	return 0;
}
