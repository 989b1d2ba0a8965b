/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: SOCKET, BIND, LISTEN, ACCEPT, CONNECT, SEND, RECV, SENDMSG, RECVMSG, SHUTDOWN. */
// since: 6.18
#include "native.h"
#include "uring.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct ring ring;

int main(void)
{
	struct sockaddr_un name = { AF_UNIX, "socket" }, peer;
	u32 size = sizeof(peer);
	char text[32] = { 0 };
	setup(&ring, 16, 0);
	entry(&ring, IORING_OP_SOCKET, AF_UNIX, NULL, 0, SOCK_STREAM);
	go(&ring, 1);
	entry(&ring, OP_BIND, 4, &name, 0, sizeof(name));
	go(&ring, 1);
	entry(&ring, OP_LISTEN, 4, NULL, 5, 0);
	go(&ring, 1);
	entry(&ring, IORING_OP_ACCEPT, 4, &peer, 0, (u64)&size);
	go(&ring, 0);
	int client = MUST(socket, AF_UNIX, SOCK_STREAM, 0);
	entry(&ring, IORING_OP_CONNECT, client, &name, 0, sizeof(name));
	go(&ring, 2);
	int server = 6;
	entry(&ring, IORING_OP_RECV, server, text, 32, 0);
	go(&ring, 0);
	entry(&ring, IORING_OP_SEND, client, "over a socket", 13, 0);
	go(&ring, 2);
	print("%s\n", text);
	struct iovec out = { "a message", 9 }, in = { text, 32 };
	struct msghdr send = { .msg_iov = &out, .msg_iovlen = 1 }, receive = { .msg_iov = &in, .msg_iovlen = 1 };
	memset(text, 0, 32);
	entry(&ring, IORING_OP_SENDMSG, client, &send, 1, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_RECVMSG, server, &receive, 1, 0);
	go(&ring, 2);
	print("%s %d\n", text, receive.msg_flags);
	entry(&ring, IORING_OP_RECV, server, text, 32, 0)->msg_flags = MSG_DONTWAIT;
	go(&ring, 1);
	entry(&ring, IORING_OP_SHUTDOWN, client, NULL, SHUT_WR, 0);
	go(&ring, 1);
	entry(&ring, IORING_OP_RECV, server, text, 32, 0);
	entry(&ring, IORING_OP_SEND, client, "x", 1, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_SEND, 99, "x", 1, 0);
	entry(&ring, IORING_OP_SEND, 1, "x", 1, 0);
	entry(&ring, IORING_OP_CONNECT, client, &name, 0, sizeof(name));
	entry(&ring, IORING_OP_ACCEPT, client, NULL, 0, 0);
	go(&ring, 4);
	entry(&ring, IORING_OP_ACCEPT, 4, NULL, 0, 0)->ioprio = IORING_ACCEPT_MULTISHOT;
	go(&ring, 0);
	for (int n = 0; n < 2; n++) {
		int more = MUST(socket, AF_UNIX, SOCK_STREAM, 0);
		MUST(connect, more, &name, sizeof(name));
		SYS(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
		events(&ring);
	}
	return 0;
}
