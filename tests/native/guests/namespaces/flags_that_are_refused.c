/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unshare(2) and clone(2): which flags exclude each other, and who may use them. */
// needs: root, namespaces
#include "native.h"

#define STACK 65536

static long flags(u64 wanted)
{
	long pid = SYS(clone, wanted, 0, 0, 0, 0);

	if (!pid)
		leave(0);
	if (pid > 0) {
		int status;
		SYS(wait4, pid, &status, __WALL, 0);
		pid = 0;
	}
	return pid;
}

#define FLAGS(wanted) show("clone(" #wanted ")", flags(wanted))

int main(void)
{
	SHOW(unshare, 0);
	SHOW(unshare, 0x10);
	SHOW(unshare, CLONE_PARENT);
	SHOW(unshare, CLONE_VFORK);
	SHOW(unshare, CLONE_THREAD);
	SHOW(unshare, CLONE_VM | CLONE_SIGHAND);
	FLAGS(CLONE_NEWNS | CLONE_FS | SIGCHLD);
	FLAGS(CLONE_NEWUSER | CLONE_FS | SIGCHLD);
	FLAGS(CLONE_NEWIPC | CLONE_SYSVSEM | SIGCHLD);
	FLAGS(CLONE_NEWIPC | SIGCHLD);
	FLAGS(CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD);
	FLAGS(CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM);
	FLAGS(CLONE_NEWUSER | CLONE_PARENT);
	SHOW(setns, -1, 0);
	SHOW(setns, 0, CLONE_NEWUTS);
	become(1000);
	SHOW(unshare, CLONE_NEWUTS);
	SHOW(unshare, CLONE_NEWIPC);
	SHOW(unshare, CLONE_NEWCGROUP);
	FLAGS(CLONE_NEWUTS | SIGCHLD);
	FLAGS(CLONE_NEWIPC | CLONE_SYSVSEM | SIGCHLD);
	FLAGS(CLONE_NEWUSER | CLONE_NEWUTS | SIGCHLD);
	SHOW(unshare, CLONE_NEWUSER | CLONE_NEWUTS);
	SHOW(sethostname, "mine", 4);
	SHOW(unshare, CLONE_NEWUSER);
	return 0;
}
