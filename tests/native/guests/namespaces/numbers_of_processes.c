/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWPID: what numbers those inside and outside see; groups, sessions, waiting, orphans. */
// needs: root, namespaces
#include "native.h"

static void step(int fd) { MUST(write, fd, "x", 1); }
static void await(int fd) { char c; MUST(read, fd, &c, 1); }

static int inside(void)
{
	int status, ends[2];
	long pid, orphan;
	siginfo_t info;

	print("init: pid %ld, tid %ld, ppid %ld, group %ld, session %ld\n", SYS(getpid), SYS(gettid), SYS(getppid),
	      SYS(getpgid, 0), SYS(getsid, 0));
	SHOW(setsid);
	SHOW(getpgid, 0);
	SHOW(getpgid, 1);
	SHOW(getpgid, 2);
	SHOW(kill, 2, 0);
	MUST(pipe, ends);
	pid = MUST(fork);
	if (!pid) {
		print("child: pid %ld, ppid %ld, group %ld\n", SYS(getpid), SYS(getppid), SYS(getpgid, 0));
		SHOW(setpgid, 0, 0);
		SHOW(getpgid, 0);
		orphan = MUST(fork);
		if (!orphan) {
			await(ends[0]);
			print("orphan: pid %ld, ppid %ld, group %ld\n", SYS(getpid), SYS(getppid), SYS(getpgid, 0));
			leave(4);
		}
		leave(3);
	}
	SHOW(waitid, P_PID, pid, &info, WEXITED | WNOWAIT, NULL);
	print("waitid: pid %d, status %d\n", info.si_pid, info.si_status);
	SHOW(wait4, 77, &status, 0, NULL);
	SHOW(wait4, -1, &status, 0, NULL);
	SAY(WEXITSTATUS(status));
	SHOW(kill, -2, 0);
	step(ends[1]);
	SHOW(wait4, -2, &status, 0, NULL);
	SAY(WEXITSTATUS(status));
	SHOW(wait4, -1, &status, 0, NULL);
	SHOW(kill, -1, 0);
	SHOW(getpriority, PRIO_PROCESS, 1);
	SHOW(getpriority, PRIO_PROCESS, 5);
	SHOW(sched_getscheduler, 1);
	SHOW(sched_getscheduler, 5);
	return 7;
}

int main(void)
{
	long pid, other;
	int status, ends[2];

	MUST(pipe, ends);
	pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		leave(inside());
	reap(pid);
	SAY(pid > 1);
	SHOW(unshare, CLONE_NEWPID);
	SHOW(unshare, CLONE_NEWPID);
	SAY(SYS(getpid) > 1);
	SHOW(clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0);
	pid = MUST(fork);
	if (!pid) {
		print("first: %ld %ld\n", SYS(getpid), SYS(getppid));
		SHOW(clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		step(ends[1]);
		SYS(pause);
	}
	await(ends[0]);
	other = MUST(fork);
	if (!other) {
		print("second: %ld %ld\n", SYS(getpid), SYS(getppid));
		step(ends[1]);
		SYS(pause);
	}
	await(ends[0]);
	SHOW(kill, pid, SIGKILL);
	MUST(waitid, P_PID, other, NULL, WEXITED | WNOWAIT, NULL);
	SHOW(wait4, pid, &status, WNOHANG, NULL); /* it waits for the other */
	MUST(wait4, other, &status, 0, NULL);
	SAY(WTERMSIG(status) == SIGKILL);
	reap(pid);
	SHOW(fork);
	return 0;
}
