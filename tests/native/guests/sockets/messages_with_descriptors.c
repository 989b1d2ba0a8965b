/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendmsg(2) and recvmsg(2): several pieces, SCM_RIGHTS, what is wrong with a header. */
#include "native.h"
#include <sys/socket.h>

int main(void)
{
	int s[2];
	char one[4] = "ab", two[4] = "cd", got[8] = "";
	struct iovec out[2] = { { one, 2 }, { two, 2 } }, in = { got, 8 };
	union { char room[CMSG_SPACE(4)]; struct cmsghdr head; } control;
	struct msghdr m = { .msg_iov = out, .msg_iovlen = 2 }, r = { .msg_iov = &in, .msg_iovlen = 1 };
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	put("file", "contents");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(sendmsg, s[0], &m, 0);
	SHOW(recvmsg, s[1], &r, 0);
	print("%s\n", got);
	control.head = (struct cmsghdr){ CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS };
	*(int *)CMSG_DATA(&control.head) = fd;
	m.msg_control = &control, m.msg_controllen = CMSG_LEN(4);
	SHOW(sendmsg, s[0], &m, 0);
	MUST(close, fd);
	memset(&control, 0, sizeof(control));
	r.msg_control = &control, r.msg_controllen = sizeof(control);
	SHOW(recvmsg, s[1], &r, MSG_CMSG_CLOEXEC);
	fd = *(int *)CMSG_DATA(&control.head);
	print("%d %d %d\n", (int)control.head.cmsg_len, control.head.cmsg_type, fd);
	SHOW(fcntl, fd, F_GETFD);
	SHOW(read, fd, got, 8);
	*(int *)CMSG_DATA(&control.head) = 99;
	SHOW(sendmsg, s[0], &m, 0);
	control.head.cmsg_len = 3;
	SHOW(sendmsg, s[0], &m, 0);
	m.msg_control = NULL, m.msg_controllen = 0;
	m.msg_iovlen = 1025;
	SHOW(sendmsg, s[0], &m, 0);
	m.msg_iovlen = 2;
	out[0].iov_base = NOWHERE;
	SHOW(sendmsg, s[0], &m, 0);
	SHOW(sendmsg, s[0], NOWHERE, 0);
	SHOW(sendmsg, 99, &m, 0);
	SHOW(sendmsg, 1, &m, 0);
	SHOW(recvmsg, s[1], NOWHERE, 0);
	SHOW(recvmsg, 99, &r, 0);
	SHOW(recvmsg, 1, &r, 0);
	SHOW(recvmsg, s[1], &r, MSG_DONTWAIT);
	return 0;
}
