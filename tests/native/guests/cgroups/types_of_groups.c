/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.type: domains, threaded groups, and what that does to others. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	long pid = sleeper();

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	PUT("a/cgroup.type", "domain");
	PUT("a/cgroup.type", "thread");
	PUT("a/cgroup.type", "");
	PUT("a/cgroup.type", "threaded\n");
	PUT("a/cgroup.type", "threaded");
	see("cgroup.type");
	see("a/cgroup.type");
	SHOW(mkdir, "b", 0755);
	SHOW(mkdir, "a/deep", 0755);
	see("b/cgroup.type");
	see("a/deep/cgroup.type");
	MOVE("b/cgroup.procs", pid);
	MOVE("b/cgroup.threads", pid);
	MOVE("a/cgroup.threads", pid);
	MOVE("a/cgroup.procs", pid);
	see("a/cgroup.procs");
	see_numbers("cgroup.procs", pid);
	see_numbers("a/cgroup.threads", pid);
	see_numbers("cgroup.threads", pid);
	MOVE("../cgroup.threads", pid);
	PUT("a/cgroup.kill", "1");
	SHOW(rmdir, "a");
	PUT("a/deep/cgroup.type", "threaded");
	MOVE("a/deep/cgroup.threads", pid);
	MOVE("cgroup.threads", pid);
	see_numbers("cgroup.threads", pid);
	PUT("b/cgroup.type", "threaded");
	MOVE("b/cgroup.threads", pid);
	MOVE("../cgroup.procs", pid);
	SHOW(rmdir, "a/deep");
	SHOW(rmdir, "a");
	see("cgroup.type");
	SHOW(rmdir, "b");
	see("cgroup.type");
	MOVE("cgroup.procs", pid);
	SHOW(mkdir, "c", 0755);
	PUT("c/cgroup.type", "threaded");
	MOVE("c/cgroup.procs", pid);
	MUST(kill, pid, SIGKILL);
	reap(pid);
	SHOW(rmdir, "c");
	remove_own_group();
	return 0;
}
