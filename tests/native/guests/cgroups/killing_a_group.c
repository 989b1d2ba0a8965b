/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.kill ends every process of a group and of those below, frozen or not. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	long first, second, third;

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "a/b", 0755);
	first = sleeper(), second = sleeper(), third = sleeper();
	MOVE("a/cgroup.procs", first);
	MOVE("a/b/cgroup.procs", second);
	MOVE("cgroup.procs", third);
	PUT("a/cgroup.kill", "0");
	PUT("a/cgroup.kill", "2");
	PUT("a/cgroup.kill", "x");
	PUT("a/cgroup.kill", "");
	SHOW(open, "a/cgroup.kill", O_RDONLY | O_DIRECTORY);
	see("a/cgroup.kill");
	PUT("a/b/cgroup.freeze", "1");
	PUT("a/cgroup.kill", "1\n");
	reap(first);
	reap(second);
	see("a/cgroup.events");
	see("cgroup.events");
	SHOW(kill, third, 0);
	PUT("cgroup.kill", "1");
	reap(third);
	SHOW(rmdir, "a/b");
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
