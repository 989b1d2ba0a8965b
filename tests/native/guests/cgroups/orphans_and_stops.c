/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stopped process in a group that is frozen and thawed; and a thread's end in a group. */
// needs: root, cgroup2
#include "cgroups.h"

static int status_of(long pid)
{
	int status = 0;
	long found = SYS(wait4, pid, &status, WNOHANG | WUNTRACED | WCONTINUED, NULL);

	return found == pid ? status : -1;
}

int main(void)
{
	long pid = sleeper();

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	MOVE("a/cgroup.procs", pid);
	SHOW(kill, pid, SIGSTOP);
	sleep_ms(20);
	print("%x\n", status_of(pid));
	PUT("a/cgroup.freeze", "1");
	sleep_ms(20);
	see("a/cgroup.events");
	SHOW(kill, pid, SIGCONT);
	sleep_ms(20);
	print("%x\n", status_of(pid));
	PUT("a/cgroup.freeze", "0");
	sleep_ms(20);
	see("a/cgroup.events");
	SHOW(kill, pid, SIGTERM);
	reap(pid);
	see("a/cgroup.events");
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
