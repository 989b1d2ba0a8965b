/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
/* SECCOMP_FILTER_FLAG_NEW_LISTENER: another process answers calls, lets them be made, and gives descriptors. */
#include "native.h"
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)

static long listen(u64 flags)
{
	struct sock_filter code[] = { LOAD(nr), IF(__NR_getpgid), RETURN(SECCOMP_RET_USER_NOTIF), IF(__NR_dup),
				      RETURN(SECCOMP_RET_USER_NOTIF), RETURN(SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { COUNT(code), code };

	return SHOW(seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &program);
}

static long fd;

static long asks(long number, long argument)
{
	long pid = MUST(fork);

	if (!pid) {
		long result;

		MUST(close, fd);
		result = number == __NR_dup ? SYS(dup, argument) : SYS(getpgid, argument);

		print("the call gives %s%ld\n", failed(result) ? "error " : "", result);
		leave(0);
	}
	return pid;
}

static void receive(struct seccomp_notif *got, long pid)
{
	memset(got, 0, sizeof(*got));
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_RECV, got);
	print("call %d, flags %u, argument %d, %s\n", got->data.nr, got->flags, (int)got->data.args[0],
	      got->pid == pid ? "of the child" : "of somebody else");
}

int main(void)
{
	struct seccomp_notif got;
	struct seccomp_notif_resp answer = { 0 };
	struct seccomp_notif_addfd add = { 0 };
	struct seccomp_notif_sizes sizes;
	struct pollfd poll = { .events = POLLIN | POLLOUT };
	u32 action = SECCOMP_RET_USER_NOTIF;
	u64 wrong = 5;
	long pid;

	MUST(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	SHOW(seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
	SHOW(seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
	listen(SECCOMP_FILTER_FLAG_TSYNC);
	fd = listen(0);
	listen(0);
	poll.fd = fd;
	SHOW(poll, &poll, 1, 0);
	pid = asks(__NR_getpgid, 7);
	SHOW(poll, &poll, 1, -1);
	print("events %x\n", poll.revents);
	receive(&got, pid);
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_RECV, &got);
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_RECV, NOWHERE);
	SHOW(poll, &poll, 1, 0);
	print("events %x\n", poll.revents);
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &got.id);
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &wrong);
	answer.id = wrong;
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	answer.id = got.id;
	answer.flags = 2;
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	answer.val = 1;
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	answer.flags = 0;
	answer.val = 4711;
	MUST(ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	reap(pid);
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);

	pid = asks(__NR_getpgid, -1);
	receive(&got, pid);
	answer = (struct seccomp_notif_resp){ .id = got.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
	MUST(ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	reap(pid);

	pid = asks(__NR_getpgid, 0);
	receive(&got, pid);
	answer = (struct seccomp_notif_resp){ .id = got.id, .error = -EXDEV };
	MUST(ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	reap(pid);

	/* a descriptor for the child, at a place and as the answer */
	pid = asks(__NR_dup, 0);
	receive(&got, pid);
	add.id = got.id;
	add.srcfd = 1;
	add.newfd = 77;
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
	add.flags = SECCOMP_ADDFD_FLAG_SETFD;
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
	add.srcfd = 99;
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
	add.srcfd = 1;
	add.flags = SECCOMP_ADDFD_FLAG_SEND;
	add.newfd = 0;
	MUST(ioctl, fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
	reap(pid);
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	/* who is killed does not wait any more */
	pid = asks(__NR_getpgid, 0);
	receive(&got, pid);
	MUST(kill, pid, SIGKILL);
	MUST(wait4, pid, 0, 0, 0);
	SHOW(ioctl, fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &got.id);
	SHOW(ioctl, fd, 12345, 0);

	/* nobody listens any more */
	pid = asks(__NR_getpgid, 0);
	receive(&got, pid);
	MUST(close, fd);
	reap(pid);
	SHOW(getpgid, 0);
	return 0;
}
