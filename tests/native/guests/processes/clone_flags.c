/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clone(2): which flags go only together, and which number the parent is told. */
#include "native.h"

int main(void)
{
	int tid = 0, status;
	SHOW(clone, CLONE_SIGHAND, 0, 0, 0, 0);
	SHOW(clone, CLONE_THREAD, 0, 0, 0, 0);
	SHOW(clone, CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0);
	SHOW(clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0);
	SHOW(clone, CLONE_PIDFD | CLONE_PARENT_SETTID, 0, &tid, 0, 0);
	SHOW(clone, CLONE_PIDFD | CLONE_DETACHED, 0, &tid, 0, 0);
	long pid = MUST(clone, CLONE_PARENT_SETTID | SIGCHLD, 0, &tid, 0, 0);
	if (!pid)
		leave(3);
	SAY(tid == pid);
	reap(pid);
	pid = MUST(clone, CLONE_CHILD_SETTID | SIGCHLD, 0, 0, &tid, 0);
	if (!pid) {
		SAY(tid == SYS(getpid));
		leave(4);
	}
	reap(pid);
	pid = MUST(clone, 0, 0, 0, 0, 0);
	if (!pid)
		leave(5);
	SHOW(wait4, pid, &status, 0, NULL);
	SAY(SYS(wait4, pid, &status, __WCLONE, NULL) == pid);
	u64 set = 1 << (SIGUSR2 - 1), pending;
	MUST(rt_sigprocmask, SIG_BLOCK, &set, NULL, 8);
	pid = MUST(clone, SIGUSR2, 0, 0, 0, 0);
	if (!pid)
		leave(6);
	SAY(SYS(wait4, pid, &status, __WCLONE, NULL) == pid);
	MUST(rt_sigpending, &pending, 8);
	SAY(pending == set);
	return 0;
}
