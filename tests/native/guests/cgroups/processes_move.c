/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that are written to cgroup.procs, and what is in it then. */
// needs: root, cgroup2, proc
#include "cgroups.h"

int main(void)
{
	long me = SYS(getpid), pid;

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "b", 0755);
	PUT("a/cgroup.procs", "99999999");
	PUT("a/cgroup.procs", "99999999999");
	PUT("a/cgroup.procs", "abc");
	PUT("a/cgroup.procs", "1 2");
	PUT("a/cgroup.procs", "-1");
	PUT("a/cgroup.procs", "\n");
	PUT("a/cgroup.procs", "");
	pid = sleeper();
	MOVE("a/cgroup.procs", pid);
	see_numbers("a/cgroup.procs", pid);
	see_numbers("a/cgroup.threads", pid);
	see("a/cgroup.events");
	see("cgroup.events");
	SHOW(rmdir, "a");
	MOVE("b/cgroup.procs", pid);
	see_numbers("a/cgroup.procs", pid);
	see_numbers("b/cgroup.procs", pid);
	see("a/cgroup.events");
	see("b/cgroup.events");
	SHOW(rmdir, "a");
	PUT("b/cgroup.procs", "0\n");
	see_numbers("b/cgroup.procs", me);
	MUST(kill, pid, SIGKILL);
	reap(pid);
	see_numbers("b/cgroup.procs", me);
	PUT("../cgroup.procs", "0");
	see("b/cgroup.events");
	SHOW(rmdir, "b");
	remove_own_group();
	return 0;
}
