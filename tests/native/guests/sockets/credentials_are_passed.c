/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_PASSCRED and SCM_CREDENTIALS: who is told of whom, and who may claim what. */
// needs: root
#include "net.h"

static int me;

static void receive(int fd)
{
	char control[64] = "", data[8];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = 64 };
	struct ucred *who = (void *)CMSG_DATA((struct cmsghdr *)control);

	show("recvmsg", SYS(recvmsg, fd, &message, MSG_DONTWAIT));
	if (message.msg_controllen)
		print("  pid %s, uid %d, gid %d\n", who->pid == me ? "mine" : who->pid ? "another" : "0", who->uid, who->gid);
}

static void claim(int fd, int pid, u32 uid, u32 gid)
{
	struct ucred who = { pid, uid, gid };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(who))];
	} control = { .head = { CMSG_LEN(sizeof(who)), SOL_SOCKET, SCM_CREDENTIALS } };
	struct iovec iov = { "c", 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };

	message.msg_controllen = sizeof(control);
	memcpy(CMSG_DATA(&control.head), &who, sizeof(who));
	show("claim", SYS(sendmsg, fd, &message, 0));
}

int main(void)
{
	int s[2];

	me = SYS(getpid);
	MUST(socketpair, AF_UNIX, SOCK_DGRAM, 0, s);
	MUST(write, s[0], "before", 6);
	SET(s[1], SOL_SOCKET, SO_PASSCRED, 1);
	GET(s[1], SOL_SOCKET, SO_PASSCRED);
	receive(s[1]);
	MUST(write, s[0], "after", 5);
	receive(s[1]);
	long pid = MUST(fork);
	if (!pid) {
		MUST(write, s[0], "child", 5);
		leave(0);
	}
	reap(pid);
	receive(s[1]);
	claim(s[0], 1, 7, 8);
	receive(s[1]);
	become(1000);
	claim(s[0], me, 1000, 1000);
	receive(s[1]);
	claim(s[0], 1, 1000, 1000);
	claim(s[0], me, 0, 1000);
	claim(s[0], me, 1000, 0);
	return 0;
}
