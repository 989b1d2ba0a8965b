/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clone3(2) with set_tid: numbers in a PID namespace and those around it. */
// needs: root, namespaces
#include "native.h"
#include <linux/sched.h>

static long chosen(u64 flags, int *tids, u64 count)
{
	struct clone_args args;
	long pid;
	int status;

	memset(&args, 0, sizeof(args));
	args.flags = flags;
	args.exit_signal = SIGCHLD;
	args.set_tid = (u64)tids;
	args.set_tid_size = count;
	pid = SYS(clone3, &args, sizeof(args));
	if (!pid) {
		print("made: %ld, %ld\n", SYS(getpid), SYS(getppid));
		leave(0);
	}
	if (pid > 0)
		MUST(wait4, pid, &status, 0, NULL);
	return pid;
}

static void inside(void)
{
	int tids[4] = { 50, 0, 0, 0 };

	show("chosen", chosen(0, tids, 1));
	show("next", chosen(0, NULL, 0));
	tids[0] = 1;
	show("first in another", chosen(CLONE_NEWPID, tids, 1));
	tids[0] = 5;
	show("not the first in another", chosen(CLONE_NEWPID, tids, 1));
	tids[0] = 1;
	tids[1] = 70;
	show("in both", chosen(CLONE_NEWPID, tids, 2));
	tids[0] = 0;
	show("none", chosen(0, tids, 1));
	tids[0] = -1;
	show("negative", chosen(0, tids, 1));
	tids[0] = 1;
	show("in use", chosen(0, tids, 1));
	tids[0] = 1 << 30;
	show("too large", chosen(0, tids, 1));
	tids[0] = 80;
	show("too many", chosen(0, tids, 33));
	show("half", chosen(0, NULL, 1));
	show("half", chosen(0, tids, 0));
	MUST(setresuid, 1000, 1000, 1000);
	show("without rights", chosen(0, tids, 1));
	show("by a user", chosen(CLONE_NEWUSER | CLONE_NEWPID, tids, 1));
	tids[0] = 1;
	show("by a user, the first", chosen(CLONE_NEWUSER | CLONE_NEWPID, tids, 1));
}

int main(void)
{
	long pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);

	if (!pid) {
		inside();
		leave(0);
	}
	reap(pid);
	return 0;
}
