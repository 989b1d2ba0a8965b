/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories are groups; nothing else can be made, renamed or removed. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	struct stat status;

	enter_own_group();
	SHOW(open, "file", O_WRONLY | O_CREAT, 0644);
	SHOW(mknod, "file", S_IFREG | 0644, 0);
	SHOW(mknod, "fifo", S_IFIFO | 0644, 0);
	SHOW(symlink, "x", "link");
	SHOW(link, "cgroup.procs", "link");
	SHOW(unlink, "cgroup.procs");
	SHOW(rmdir, "cgroup.procs");
	SHOW(rename, "cgroup.procs", "procs");
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "cgroup.procs", 0755);
	SHOW(mkdir, "cgroup.mine", 0700);
	SHOW(stat, "cgroup.mine", &status);
	print("%o %ld\n", status.st_mode, (long)status.st_nlink);
	SHOW(mkdir, "two\nlines", 0755);
	SHOW(rename, "a", "b");
	SHOW(unlink, "a");
	SHOW(rmdir, "a");
	SHOW(rmdir, "a");
	SHOW(rmdir, "cgroup.mine");
	SHOW(truncate, "cgroup.procs", 5);
	SHOW(chmod, "cgroup.procs", 0600);
	SHOW(chown, "cgroup.procs", 1, 2);
	SHOW(stat, "cgroup.procs", &status);
	print("%o %d %d\n", status.st_mode, status.st_uid, status.st_gid);
	remove_own_group();
	return 0;
}
