/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals and messages between namespaces of processes and users: whose they are for who gets them. */
// needs: root, proc, namespaces
#include "native.h"
#include "idmap.h"
#include <sys/socket.h>

static struct { int fds[2]; } pairs;

static long tell(int fd)
{
	char c = 'x';
	struct iovec piece = { &c, 1 };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };

	return SYS(sendmsg, fd, &message, 0);
}

static long claim(int fd, int pid, u32 uid, u32 gid)
{
	char c = 'x', control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec piece = { &c, 1 };
	struct msghdr message = { NULL, 0, &piece, 1, control, sizeof(control), 0 };
	struct ucred who = { pid, uid, gid };
	struct cmsghdr *head = (void *)control;

	head->cmsg_len = CMSG_LEN(sizeof(who));
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_CREDENTIALS;
	memcpy(CMSG_DATA(head), &who, sizeof(who));
	return SYS(sendmsg, fd, &message, 0);
}

static struct ucred hear(int fd)
{
	char c, control[64];
	struct iovec piece = { &c, 1 };
	struct msghdr message = { NULL, 0, &piece, 1, control, sizeof(control), 0 };
	struct ucred who;

	MUST(recvmsg, fd, &message, 0);
	memcpy(&who, CMSG_DATA((struct cmsghdr *)control), sizeof(who));
	return who;
}

static siginfo_t taken(int signo)
{
	u64 set = SIGNAL_BIT(signo);
	siginfo_t info;

	MUST(rt_sigtimedwait, &set, &info, NULL, SIGSET_SIZE);
	return info;
}

int main(void)
{
	u64 set = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2);
	int one = 1, inner, outer, wait[2];
	long child, me;
	struct ucred who;
	siginfo_t info;
	u32 size = sizeof(who);
	siginfo_t queued;
	char c;

	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pairs.fds);
	outer = pairs.fds[0], inner = pairs.fds[1];
	MUST(setsockopt, outer, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	MUST(setsockopt, inner, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	MUST(rt_sigprocmask, SIG_BLOCK, &set, NULL, SIGSET_SIZE);
	MUST(pipe, wait);
	me = SYS(getpid);
	MUST(setresuid, 7, 7, 0);
	MUST(setresuid, -1, 0, -1);
	child = MUST(clone, CLONE_NEWPID | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		who = hear(inner);
		print("outer: pid %d, uid %u, gid %u\n", who.pid, who.uid, who.gid);
		info = taken(SIGUSR1);
		print("signal: pid %d, uid %u\n", info.si_pid, info.si_uid);
		put_map("/proc/self/setgroups", "deny");
		put_map("/proc/self/uid_map", "5 0 1");
		tell(inner);
		who = hear(inner);
		print("outer: pid %d, uid %u, gid %u\n", who.pid, who.uid, who.gid);
		info = taken(SIGUSR1);
		print("signal: pid %d, uid %u\n", info.si_pid, info.si_uid);
		info = taken(SIGUSR2);
		print("queued: code %d, pid %d, uid %u\n", info.si_code, info.si_pid, info.si_uid);
		tell(inner);
		MUST(read, wait[0], &c, 1);
		print("claims: %s", result_name(claim(inner, 1, 5, 65534)));
		print(" %s", result_name(claim(inner, 2, 5, 65534)));
		print(" %s\n", result_name(claim(inner, 1, 0, 65534)));
		MUST(getsockopt, inner, SOL_SOCKET, SO_PEERCRED, &who, &size);
		print("peer: pid %d, uid %u, gid %u\n", who.pid, who.uid, who.gid);
		leave(0);
	}
	MUST(setresuid, -1, 7, -1);
	tell(outer);
	SYS(setresuid, -1, 0, -1);
	MUST(kill, child, SIGUSR1);
	who = hear(outer);
	tell(outer);
	MUST(kill, child, SIGUSR1);
	memset(&queued, 0, sizeof(queued));
	queued.si_code = -1;
	queued.si_pid = 1234;
	queued.si_uid = 0;
	MUST(rt_sigqueueinfo, child, SIGUSR2, &queued);
	who = hear(outer);
	print("child's: %d, uid %u, gid %u\n", who.pid == child, who.uid, who.gid);
	MUST(write, wait[1], "xx", 2);
	MUST(waitid, P_PID, child, &info, WEXITED, NULL);
	print("child's end: %d, uid %u\n", info.si_pid == child, info.si_uid);
	SAY(me == SYS(getpid));
	return 0;
}
