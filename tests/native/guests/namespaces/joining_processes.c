/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setns(2) with a PID namespace, by its file and by a pidfd with several kinds; numbers in fdinfo and ioctls. */
// needs: root, proc, namespaces
#include "native.h"
#include <linux/nsfs.h>
#include <sys/utsname.h>

static void step(int fd) { MUST(write, fd, "x", 1); }
static void await(int fd) { char c; MUST(read, fd, &c, 1); }

#ifndef NS_GET_PID_FROM_PIDNS
#define NS_GET_PID_FROM_PIDNS _IOR(NSIO, 0x6, int)
#define NS_GET_TGID_FROM_PIDNS _IOR(NSIO, 0x7, int)
#define NS_GET_PID_IN_PIDNS _IOR(NSIO, 0x8, int)
#define NS_GET_TGID_IN_PIDNS _IOR(NSIO, 0x9, int)
#endif

int main(void)
{
	int ends[2], back[2];
	long pid, fd, ns, child;
	struct utsname uts;

	MUST(pipe, ends);
	MUST(pipe, back);
	pid = MUST(clone, CLONE_NEWPID | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		MUST(sethostname, "inside", 6);
		step(ends[1]);
		await(back[0]);
		SHOW(wait4, -1, NULL, __WALL, NULL);
		leave(0);
	}
	await(ends[0]);
	fd = MUST(pidfd_open, pid, 0);
	SHOW(setns, fd, 0);
	SHOW(setns, fd, CLONE_FS);
	SHOW(setns, fd, CLONE_NEWPID | CLONE_NEWUTS);
	MUST(uname, &uts);
	print("host %s\n", uts.nodename);
	SAY(SYS(getpid) > 1);
	ns = MUST(open, "/proc/self/ns/pid_for_children", O_RDONLY);
	SAY(SYS(ioctl, ns, NS_GET_PID_FROM_PIDNS, 1) == pid);
	SHOW(ioctl, ns, NS_GET_PID_IN_PIDNS, pid);
	SHOW(ioctl, ns, NS_GET_TGID_IN_PIDNS, pid);
	SHOW(ioctl, ns, NS_GET_PID_FROM_PIDNS, 99);
	SHOW(ioctl, ns, NS_GET_PID_IN_PIDNS, 1 << 30);
	child = MUST(fork);
	if (!child) {
		int own = MUST(open, "/proc/self/ns/mnt", O_RDONLY);

		print("joined: %ld, %ld\n", SYS(getpid), SYS(getppid));
		SHOW(setns, ns, CLONE_NEWPID);
		MUST(close, own);
		own = MUST(pidfd_open, 1, 0);
		SHOW(pidfd_send_signal, own, 0, NULL, 0);
		SHOW(setns, own, CLONE_NEWUTS | CLONE_NEWPID);
		leave(5);
	}
	reap(child);
	fd = SYS(clone, CLONE_NEWPID | CLONE_PIDFD | SIGCHLD, 0, &ends[0], 0, 0);
	if (!fd)
		leave(6);
	print("clone = %s\n", result_name(fd > 0 ? 0 : fd));
	step(back[1]);
	reap(pid);
	SHOW(setns, ns, 0); /* it has ended */
	SHOW(fork);
	return 0;
}
