/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_PEERCRED and SCM_CREDENTIALS. */
#include "native.h"
#include <sys/socket.h>

int main(void)
{
	int s[2], on = 1, length = 12;
	struct { int pid, uid, gid; } who = { 0, 0, 0 };
	char byte = 'x';
	struct iovec v = { &byte, 1 };
	union { char room[CMSG_SPACE(12)]; struct cmsghdr head; } control;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	SHOW(getsockopt, s[0], SOL_SOCKET, SO_PEERCRED, &who, &length);
	SAY(who.pid == SYS(getpid));
	MUST(setsockopt, s[1], SOL_SOCKET, SO_PASSCRED, &on, 4);
	SHOW(write, s[0], "x", 1);
	SHOW(recvmsg, s[1], &m, 0);
	print("%d %d %d\n", (int)control.head.cmsg_len, control.head.cmsg_type, *(int *)CMSG_DATA(&control.head) == SYS(getpid));
	return 0;
}
