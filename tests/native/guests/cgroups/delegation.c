/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A group that belongs to another user: he makes groups in it and moves his processes within it, and not out of it. */
// needs: root, cgroup2
#include "cgroups.h"

static void delegated(void)
{
	long pid = MUST(fork);
	struct stat status;

	if (pid) {
		reap(pid);
		return;
	}
	become(1234);
	SHOW(mkdir, "not_mine", 0755);
	SHOW(mkdir, "mine/a", 0755);
	SHOW(mkdir, "mine/b", 0755);
	SHOW(stat, "mine/a/cgroup.procs", &status);
	print("%o %d %d\n", status.st_mode, status.st_uid, status.st_gid);
	PUT("mine/a/cgroup.procs", "0");
	PUT("mine/b/cgroup.procs", "0");
	PUT("cgroup.procs", "0");
	PUT("mine/cgroup.max.depth", "1");
	PUT("mine/a/cgroup.max.depth", "1");
	PUT("mine/b/cgroup.freeze", "0");
	PUT("mine/cgroup.procs", "0");
	SHOW(rmdir, "mine/a");
	SHOW(rmdir, "mine/b");
	SHOW(rmdir, "mine");
	pid = sleeper();
	SHOW(mkdir, "mine/c", 0755);
	MOVE("mine/c/cgroup.procs", pid);
	end_child(pid);
	SHOW(rmdir, "mine/c");
	leave(0);
}

int main(void)
{
	enter_own_group();
	MUST(chmod, ".", 0755);
	SHOW(mkdir, "mine", 0755);
	SHOW(chown, "mine", 1234, 1234);
	delegated();
	SHOW(chown, "mine/cgroup.procs", 1234, 1234);
	PUT("mine/cgroup.procs", "0"); /* who is in it moves within it */
	delegated();
	PUT("../cgroup.procs", "0");
	SHOW(rmdir, "mine");
	remove_own_group();
	return 0;
}
