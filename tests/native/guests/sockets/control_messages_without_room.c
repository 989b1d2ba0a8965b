/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control messages that do not fit, or cannot be stored: MSG_CTRUNC, and what becomes of the descriptors. */
#include "net.h"

static char control[256];
static char data[16];
static struct iovec iov = { data, sizeof(data) };

static void receive(int fd, void *where, u64 size)
{
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = where, .msg_controllen = size };

	show("recvmsg", SYS(recvmsg, fd, &message, MSG_DONTWAIT));
	print("  %lu bytes of control, flags %x\n", message.msg_controllen, message.msg_flags);
}

static void ended(int fd)
{
	char byte;

	show("  the other end of the pipe is gone", SYS(read, fd, &byte, 1));
}

static int carried(int to)
{
	int ends[2];

	MUST(pipe2, ends, O_NONBLOCK);
	show("send_fd", send_fd(to, ends[1]));
	MUST(close, ends[1]);
	return ends[0];
}

int main(void)
{
	int s[2];
	u64 sizes[] = { 0, 8, 16, 17, 19, 20, 24, 100 };

	for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++) {
		MUST(socketpair, AF_UNIX, kind, 0, s);
		for (u32 i = 0; i < COUNT(sizes); i++) {
			int end = carried(s[0]);

			receive(s[1], control, sizes[i]);
			ended(end);
			if (((struct cmsghdr *)control)->cmsg_type == SCM_RIGHTS)
				SYS(close, *(int *)CMSG_DATA((struct cmsghdr *)control));
			memset(control, 0, sizeof(control));
		}
		int end = carried(s[0]);
		receive(s[1], NOWHERE, 64);
		ended(end);
		end = carried(s[0]);
		receive(s[1], NULL, 64);
		ended(end);
		end = carried(s[0]);
		iov.iov_base = NOWHERE;
		receive(s[1], control, 64);
		iov.iov_base = data;
		receive(s[1], control, 64);
		ended(end);
		SET(s[1], SOL_SOCKET, SO_PASSCRED, 1);
		MUST(write, s[0], "c", 1);
		receive(s[1], control, 20);
		MUST(write, s[0], "c", 1);
		receive(s[1], control, 28);
		MUST(write, s[0], "c", 1);
		receive(s[1], control, 100);
	}
	return 0;
}
