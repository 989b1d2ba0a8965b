/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a group say before anything is in it, and what they are. */
// needs: root, cgroup2
#include "cgroups.h"

static void mode_of(const char *path)
{
	struct stat status;

	if (!SYS(stat, path, &status))
		print("%s: %o %ld %ld\n", path, status.st_mode, (long)status.st_size, (long)status.st_blksize);
}

int main(void)
{
	enter_own_group();
	see("cgroup.type");
	see("cgroup.procs");
	see("cgroup.threads");
	see("cgroup.subtree_control");
	see("cgroup.events");
	see("cgroup.max.descendants");
	see("cgroup.max.depth");
	see("cgroup.freeze");
	see("cgroup.kill");
	mode_of(".");
	mode_of("cgroup.type");
	mode_of("cgroup.procs");
	mode_of("cgroup.controllers");
	mode_of("cgroup.events");
	mode_of("cgroup.stat");
	mode_of("cgroup.kill");
	mode_of("cgroup.freeze");
	SHOW(access, "cgroup.none", F_OK);
	SHOW(access, "../cgroup.events", F_OK);
	SHOW(access, "../cgroup.type", F_OK);
	SHOW(access, "../cgroup.kill", F_OK);
	remove_own_group();
	return 0;
}
