/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another user reads the files of a group, and changes nothing; file system, and what the kernel says of it. */
// needs: root, cgroup2, proc, sys
#include "cgroups.h"

int main(void)
{
	struct statfs fs;
	long pid;

	enter_own_group();
	SHOW(statfs, ".", &fs);
	print("%lx %ld %ld\n", (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_namelen);
	see("/sys/kernel/cgroup/delegate");
	see("/sys/kernel/cgroup/features");
	pid = MUST(fork);
	if (!pid) {
		become(1234);
		see("cgroup.procs");
		see("cgroup.type");
		see("cgroup.kill");
		PUT("cgroup.kill", "1");
		PUT("cgroup.freeze", "1");
		PUT("cgroup.type", "threaded");
		PUT("cgroup.procs", "0");
		PUT("cgroup.subtree_control", "+memory");
		SHOW(mkdir, "a", 0755);
		SHOW(chmod, "cgroup.procs", 0666);
		leave(0);
	}
	reap(pid);
	remove_own_group();
	return 0;
}
