/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: SEND_ZC and SENDMSG_ZC give a second event when the buffer is free again. */
// since: 6.18
#include "native.h"
#include "uring.h"
#include <netinet/in.h>
#include <sys/socket.h>

static struct ring ring;

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	u32 size = sizeof(a);
	char text[32] = { 0 };
	int pair[2];
	a.sin_addr.s_addr = __builtin_bswap32(0x7f000001);
	setup(&ring, 8, 0);
	int listener = MUST(socket, AF_INET, SOCK_STREAM, 0), client = MUST(socket, AF_INET, SOCK_STREAM, 0);
	MUST(bind, listener, &a, size);
	MUST(getsockname, listener, &a, &size);
	MUST(listen, listener, 1);
	MUST(connect, client, &a, size);
	int server = MUST(accept, listener, NULL, NULL);
	entry(&ring, IORING_OP_SEND_ZC, client, "no copy", 7, 0);
	go(&ring, 2);
	struct iovec out = { "message", 7 };
	struct msghdr message = { .msg_iov = &out, .msg_iovlen = 1 };
	entry(&ring, IORING_OP_SENDMSG_ZC, client, &message, 1, 0);
	go(&ring, 2);
	SHOW(read, server, text, 32);
	print("%s\n", text);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	entry(&ring, IORING_OP_SEND_ZC, pair[0], "no copy", 7, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_SEND_ZC, 99, "no copy", 7, 0);
	go(&ring, 1);
	entry(&ring, IORING_OP_SEND_ZC, 1, "no copy", 7, 0);
	go(&ring, 1);
	MUST(shutdown, client, SHUT_WR);
	entry(&ring, IORING_OP_SEND_ZC, client, "no copy", 7, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_SEND_ZC, client, "x", 1, 0)->ioprio = 1 << 9;
	go(&ring, 1);
	return 0;
}
