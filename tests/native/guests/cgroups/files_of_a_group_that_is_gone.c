/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open files, and directories that one stands in, of a group that has been removed. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	char text[64];
	int procs, depth, dir;

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	procs = MUST(open, "a/cgroup.procs", O_RDWR);
	depth = MUST(open, "a/cgroup.max.depth", O_RDWR);
	dir = MUST(open, "a", O_RDONLY | O_DIRECTORY);
	SHOW(read, depth, text, sizeof(text));
	SHOW(rmdir, "a");
	SHOW(pread64, depth, text, sizeof(text), 0);
	SHOW(write, depth, "1", 1);
	SHOW(write, procs, "0", 1);
	SHOW(openat, dir, "cgroup.procs", O_RDONLY);
	SHOW(mkdirat, dir, "b", 0755);
	SHOW(getdents64, dir, text, sizeof(text));
	SHOW(fchmod, procs, 0600);
	SHOW(mkdir, "a", 0755);
	SHOW(pread64, depth, text, sizeof(text), 0);
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
